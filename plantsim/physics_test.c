/* physics_test.c - claims about the plant's physics and its register map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "physics.h"
#include "registers_priv.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_PER_S = 1000 / PLANT_STEP_MS };

static void run_s(struct plant *plant, unsigned seconds)
{
    for (unsigned i = 0; i < seconds * STEPS_PER_S; i++) plant_step(plant);
}

/* The run's seed, or 1 when the program is started by hand. */
static uint64_t test_seed(void)
{
    const char *text = getenv("MILLRACE_TEST_SEED");
    return text ? strtoull(text, NULL, 10) : 1;
}

static void assert_within(double value, double low, double high)
{
    if (!(value >= low && value <= high)) fail_msg("%g is outside %g..%g", value, low, high);
}

static void every_quantity_stays_within_its_bounds_for_a_day(void **state)
{
    (void)state;
    struct plant plant;
    plant_init(&plant, test_seed(), 0);
    for (unsigned i = 0; i < 86400u * STEPS_PER_S; i++) {
        plant_step(&plant);
        for (size_t p = 0; p < PLANT_PRESSES; p++) {
            assert_within(plant.press[p].temperature_c, 5, 100);
            assert_within(plant.press[p].pressure_bar, 0, 190);
            assert_within(plant.press[p].current_a, 0, 30);
        }
        assert_within(plant.hall.temperature_c, 5, 40);
        assert_within(plant.hall.humidity_percent, 10, 100);
        assert_within(plant.pump.flow_m3h, 39, 41);
        assert_within(plant.furnace.temperature_c, 600, 950);
        assert_within(plant.furnace.valve_percent, 0, 100);
    }
}

static void strokes_only_grow_and_only_while_running(void **state)
{
    (void)state;
    struct plant plant;
    plant_init(&plant, test_seed(), 40000);
    uint32_t first = plant.press[0].strokes;
    for (unsigned i = 0; i < 600u * STEPS_PER_S; i++) {
        uint32_t before = plant.press[0].strokes;
        plant_step(&plant);
        uint32_t grown = plant.press[0].strokes - before;
        assert_true(grown == 0 || (grown == 1 && plant.press[0].running));
    }
    assert_within(plant.press[0].strokes - first, 100, 150); /* 4 s a stroke, less the pauses */
}

static void a_disabled_press_stands_still_and_cools_down(void **state)
{
    (void)state;
    struct plant plant;
    plant_init(&plant, 1, 40000);
    run_s(&plant, 600);
    double warm_c = plant.press[0].temperature_c;
    uint32_t strokes = plant.press[0].strokes;
    plant.press[0].enabled = false;
    run_s(&plant, 1200);
    assert_int_equal(plant.press[0].strokes, strokes);
    assert_true(plant.press[0].temperature_c < warm_c - 15);
    assert_true(plant.press[1].strokes > 100);
}

static void less_cooling_water_makes_the_presses_hotter(void **state)
{
    (void)state;
    struct plant plant;
    plant_init(&plant, 1, 40000);
    run_s(&plant, 1200);
    double before_c = plant.press[1].temperature_c;
    plant.pump.set_speed_rpm = 300;
    run_s(&plant, 1200);
    assert_true(plant.pump.flow_m3h < 10);
    assert_true(plant.press[1].temperature_c > before_c + 15);
}

static void the_furnace_overshoots_a_little_and_reaches_its_set_point(void **state)
{
    (void)state;
    struct plant plant;
    plant_init(&plant, 1, 40000);
    plant.furnace.set_point_c = 900;
    double highest_c = 0;
    for (unsigned i = 0; i < 270u * STEPS_PER_S; i++) { /* until the door opens first */
        plant_step(&plant);
        highest_c = fmax(highest_c, plant.furnace.temperature_c);
    }
    assert_within(highest_c, 901, 935);
    run_s(&plant, 300); /* the same point of the door's next cycle */
    assert_within(plant.furnace.temperature_c, 890, 910);
}

static void the_open_door_cools_the_furnace(void **state)
{
    (void)state;
    struct plant plant;
    plant_init(&plant, 1, 40000);
    run_s(&plant, 279);
    double closed_c = plant.furnace.temperature_c;
    assert_false(plant.furnace.door_open);
    run_s(&plant, 16);
    assert_true(plant.furnace.door_open);
    assert_true(plant.furnace.temperature_c < closed_c - 10);
}

static void the_same_seed_gives_the_same_plant(void **state)
{
    (void)state;
    struct plant a, b, c;
    plant_init(&a, 7, 1000);
    plant_init(&b, 7, 1000);
    plant_init(&c, 8, 1000);
    run_s(&a, 400);
    run_s(&b, 400);
    run_s(&c, 400);
    assert_memory_equal(&a.press, &b.press, sizeof a.press);
    assert_true(a.press[0].current_a != c.press[0].current_a);
}

/* ---- the register map ---- */

static void rows_lie_within_their_unit_and_do_not_overlap(void **state)
{
    (void)state;
    static bool used[6][4][UNIT_REGISTERS];
    for (size_t i = 0; i < register_rows_count; i++) {
        const struct register_row *row = &register_rows[i];
        static const uint32_t digit[] = {
            [AREA_COIL] = 0, [AREA_DISCRETE] = 1, [AREA_HOLDING] = 4, [AREA_INPUT] = 3};
        assert_int_equal(row->number / 100000, digit[row->area]);
        for (unsigned w = 0; w < register_codes[row->code].words; w++) {
            size_t at = row->number % 100000 - 1 + w;
            assert_in_range(row->unit, 1, 5);
            assert_in_range(at, 0, UNIT_REGISTERS - 1);
            assert_false(used[row->unit][row->area][at]);
            used[row->unit][row->area][at] = true;
        }
    }
}

static const struct register_row *row_named(const char *name)
{
    for (size_t i = 0; i < register_rows_count; i++)
        if (strcmp(register_rows[i].name, name) == 0) return &register_rows[i];
    fail_msg("no row %s", name);
    return NULL;
}

static void values_are_coded_as_the_map_says(void **state)
{
    (void)state;
    struct plant plant;
    struct units units;
    plant_init(&plant, 1, 40000);
    plant.ticks = 0x12345678;
    plant.pump.flow_m3h = 1.5; /* 0x3FC00000 */
    plant.hall.temperature_c = -3.26;
    assert_true(units_open(&units, &plant));
    assert_int_equal(units.map[1]->tab_registers[10], 0x1234);
    assert_int_equal(units.map[1]->tab_registers[11], 0x5678);
    assert_int_equal(units.map[3]->tab_registers[0], 0x0000);
    assert_int_equal(units.map[3]->tab_registers[1], 0x3FC0);
    assert_int_equal((int16_t)units.map[2]->tab_input_registers[0], -33);
    units_close(&units);
}

static void commands_are_obeyed_within_their_range(void **state)
{
    (void)state;
    static const struct {
        double written, obeyed;
    } cases[] = {{700, 700}, {9000, 3000}, {-1, 0}, {NAN, 0}, {INFINITY, 3000}};
    const struct register_row *speed = row_named("pump speed set point");
    struct plant plant;
    struct units units;
    plant_init(&plant, 1, 40000);
    assert_true(units_open(&units, &plant));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        register_write(units.map[3], speed, cases[i].written);
        units_obey(&units, &plant);
        assert_true(plant.pump.set_speed_rpm == cases[i].obeyed);
    }
    units_close(&units);
}

static void no_physics_writes_the_free_registers(void **state)
{
    (void)state;
    struct plant plant;
    struct units units;
    plant_init(&plant, 1, 40000);
    assert_true(units_open(&units, &plant));
    units.map[1]->tab_registers[0] = 4242;
    units.map[1]->tab_bits[0] = 1;
    for (int i = 0; i < 1000; i++) {
        units_obey(&units, &plant);
        plant_step(&plant);
        units_publish(&units, &plant);
    }
    assert_int_equal(units.map[1]->tab_registers[0], 4242);
    assert_int_equal(units.map[1]->tab_bits[0], 1);
    units_close(&units);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_quantity_stays_within_its_bounds_for_a_day),
        cmocka_unit_test(strokes_only_grow_and_only_while_running),
        cmocka_unit_test(a_disabled_press_stands_still_and_cools_down),
        cmocka_unit_test(less_cooling_water_makes_the_presses_hotter),
        cmocka_unit_test(the_furnace_overshoots_a_little_and_reaches_its_set_point),
        cmocka_unit_test(the_open_door_cools_the_furnace),
        cmocka_unit_test(the_same_seed_gives_the_same_plant),
        cmocka_unit_test(rows_lie_within_their_unit_and_do_not_overlap),
        cmocka_unit_test(values_are_coded_as_the_map_says),
        cmocka_unit_test(commands_are_obeyed_within_their_range),
        cmocka_unit_test(no_physics_writes_the_free_registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
