/* physics.c - see physics.h.
 *
 * Why first-order lags everywhere: each quantity moves towards where its causes push it, at a rate
 * of its own. That is stable for any step shorter than the lag (10 ms against 150 ms at least),
 * cannot run away, and looks like a plant. The furnace alone is second order, controller against
 * burner lag, so that it overshoots as furnaces do.
 *
 * Invariant: with commanded fields in range every quantity stays within the bounds that
 * physics_test.c states. */
#include "physics.h"
#include <assert.h>
#include <math.h>

#define STEP_S (PLANT_STEP_MS / 1000.0)
#define PI     3.14159265358979323846
#define DAY_S  86400.0

/* The plant's own random numbers (SplitMix64, Steele et al. 2014), so that a seed replays it. Gives
 * 0 <= r < 1. */
static double random_unit(struct plant *plant)
{
    uint64_t z = plant->random += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* Noise of a sensor, -size..size. */
static double noise(struct plant *plant, double size)
{
    return (random_unit(plant) * 2 - 1) * size;
}

/* Where `value` is one step later on its way to `target` with time constant `lag_s`. */
static double approach(double value, double target, double lag_s)
{
    assert(lag_s > STEP_S);
    return value + (target - value) * STEP_S / lag_s;
}

/* ---- the hall ---- */

/* Outside: 8 °C before dawn, 20 °C in the afternoon. */
static double outside_c(double day_s)
{
    return 14 + 6 * sin(2 * PI * (day_s / DAY_S - 0.375));
}

/* Where the hall's temperature would settle: the weather, the building, and the machines' waste
 * heat. */
static double hall_target_c(const struct plant *plant)
{
    double target = outside_c(plant->day_s) + 4;
    for (size_t i = 0; i < PLANT_PRESSES; i++)
        target += 0.02 * (plant->press[i].temperature_c - 20);
    return target + 0.003 * plant->furnace.temperature_c;
}

/* Air of about constant moisture: the warmer, the drier relatively. */
static double humidity_at(double temperature_c)
{
    return 45 * exp(-0.055 * (temperature_c - 22));
}

static void step_hall(struct plant *plant)
{
    struct hall *hall = &plant->hall;
    hall->temperature_c = approach(hall->temperature_c, hall_target_c(plant), 1200);
    hall->humidity_percent =
        approach(hall->humidity_percent, humidity_at(hall->temperature_c), 300);
}

/* ---- the pump ---- */

static void step_pump(struct plant *plant)
{
    struct pump *pump = &plant->pump;
    assert(pump->set_speed_rpm >= 0 && pump->set_speed_rpm <= 3000);
    pump->speed_rpm = approach(pump->speed_rpm, pump->set_speed_rpm, 3);
    /* Affinity laws: flow goes with the speed, head with its square. */
    double ratio = pump->speed_rpm / 1450, square = ratio * ratio;
    pump->flow_m3h = 40 * ratio * (1 + noise(plant, 0.004));
    pump->suction_bar = 1.2 - 0.15 * square + noise(plant, 0.005);
    pump->discharge_bar = 1.2 + 4.3 * square * (1 + noise(plant, 0.003));
    pump->bearing_c = approach(pump->bearing_c, plant->hall.temperature_c + 26 * square, 240);
}

/* ---- the presses ---- */

static double stroke_period_s(size_t index)
{
    return 4 + 0.5 * (double)index;
}

/* What the valve asks of the oil at this point of the stroke: close, press, hold, release. */
static double stroke_pressure_bar(double phase_s)
{
    if (phase_s < 0.8) return 35;
    if (phase_s < 2.2) return 185;
    return 8;
}

/* Counts down to the next pause or to its end. */
static void step_press_duty(struct plant *plant, struct press *press)
{
    press->until_change_s -= STEP_S;
    if (press->until_change_s <= 0) {
        press->running = !press->running;
        press->until_change_s =
            press->running ? 90 + 120 * random_unit(plant) : 8 + 15 * random_unit(plant);
    }
    if (!press->enabled) press->running = false;
    if (!press->running) press->phase_s = 0;
}

static void step_press(struct plant *plant, size_t index)
{
    struct press *press = &plant->press[index];
    step_press_duty(plant, press);
    double target_bar = 2;
    if (press->running) {
        press->phase_s += STEP_S;
        target_bar = stroke_pressure_bar(press->phase_s);
        if (press->phase_s >= stroke_period_s(index)) {
            press->phase_s = 0;
            press->strokes++;
            press->temperature_c += 0.45; /* the stroke's work ends as heat */
        }
    }
    press->pressure_bar = approach(press->pressure_bar, target_bar, 0.15);
    press->current_a = (press->running ? 6 : 1.5) + 0.11 * press->pressure_bar + noise(plant, 0.15);
    double cooling = 0.25 + 0.75 * plant->pump.flow_m3h / 40;
    press->temperature_c = approach(press->temperature_c, plant->hall.temperature_c, 420 / cooling);
}

/* ---- the furnace ---- */

/* PI controller; the integral stands still while the valve is at an end, so it cannot wind up. */
static void step_controller(struct furnace *furnace)
{
    double error_c = furnace->set_point_c - furnace->temperature_c;
    double wanted = 0.5 * error_c + furnace->integral_percent;
    furnace->valve_percent = fmin(100, fmax(0, wanted));
    if (wanted == furnace->valve_percent) furnace->integral_percent += 0.5 * error_c * STEP_S / 45;
    furnace->integral_percent = fmin(100, fmax(0, furnace->integral_percent));
}

static void step_furnace(struct plant *plant)
{
    struct furnace *furnace = &plant->furnace;
    assert(furnace->set_point_c >= 20 && furnace->set_point_c <= 1100);
    furnace->door_s = fmod(furnace->door_s + STEP_S, 300);
    furnace->door_open = furnace->door_s >= 280;
    step_controller(furnace);
    furnace->burner_percent = approach(furnace->burner_percent, furnace->valve_percent, 6);
    double loss = furnace->door_open ? 2 : 1;
    double settles_c = plant->hall.temperature_c + 13 * furnace->burner_percent / loss;
    furnace->temperature_c = approach(furnace->temperature_c, settles_c, 150 / loss);
}

/* ---- the plant ---- */

void plant_init(struct plant *plant, uint64_t seed, double day_s)
{
    assert(plant && day_s >= 0 && day_s <= DAY_S);
    *plant = (struct plant){.day_s = day_s, .random = seed};
    plant->pump =
        (struct pump){.set_speed_rpm = 1450, .speed_rpm = 1450, .flow_m3h = 40, .bearing_c = 46};
    plant->furnace = (struct furnace){
        .set_point_c = 850, .temperature_c = 700, .integral_percent = 55, .burner_percent = 55};
    for (size_t i = 0; i < PLANT_PRESSES; i++)
        plant->press[i] = (struct press){.enabled = true,
                                         .running = true,
                                         .temperature_c = 45 + 3 * (double)i,
                                         .phase_s = (double)i,
                                         .until_change_s = 60 + 120 * random_unit(plant)};
    plant->hall.temperature_c = hall_target_c(plant);
    plant->hall.humidity_percent = humidity_at(plant->hall.temperature_c);
}

void plant_step(struct plant *plant)
{
    assert(plant && plant->day_s >= 0 && plant->day_s <= DAY_S);
    plant->day_s = fmod(plant->day_s + STEP_S, DAY_S);
    step_hall(plant);
    step_pump(plant);
    for (size_t i = 0; i < PLANT_PRESSES; i++) step_press(plant, i);
    step_furnace(plant);
}
