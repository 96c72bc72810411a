/* physics.h - the demo plant's machines as one set of equations: three presses, their hall, a pump
 * and a furnace.
 *
 * The numbers belong together: each press stroke heats its oil, the pump's flow carries that heat
 * away, presses and furnace warm the hall, the hall is what everything cools down to, and warm air
 * is relatively drier. So whoever turns the pump down sees the presses get hot.
 *
 * Sans I/O: no clock, no registers, no allocation; the caller steps it. Same seed and start, same
 * plant. Thread: any; a call touches only its arguments. */
#ifndef PLANTSIM_PHYSICS_H
#define PLANTSIM_PHYSICS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PLANT_PRESSES = 3, PLANT_STEP_MS = 10 };

/* A hydraulic press that works in strokes and now and then stands still for a change of tools. */
struct press {
    bool enabled;          /* commanded: may work */
    bool running;          /* does work right now */
    uint32_t strokes;      /* since the start; wraps */
    double temperature_c;  /* of the oil */
    double pressure_bar;   /* of the oil */
    double current_a;      /* of the pump motor */
    double phase_s;        /* into the present stroke */
    double until_change_s; /* running: until the next pause; standing: until the pause ends */
};

struct hall {
    double temperature_c;
    double humidity_percent; /* relative */
};

/* A centrifugal cooling water pump with a speed controller. */
struct pump {
    double set_speed_rpm; /* commanded, 0..3000 */
    double speed_rpm;
    double flow_m3h;
    double suction_bar, discharge_bar;
    double bearing_c;
};

/* A gas furnace under a PI controller; its door opens for 20 s every five minutes. */
struct furnace {
    double set_point_c; /* commanded, 20..1100 */
    double temperature_c;
    double valve_percent;  /* what the controller asks for */
    double burner_percent; /* what burns: follows the valve */
    double integral_percent;
    bool door_open;
    double door_s; /* into the door's cycle */
};

struct plant {
    double day_s; /* seconds since local midnight: drives the weather */
    uint64_t random;
    struct press press[PLANT_PRESSES];
    struct hall hall;
    struct pump pump;
    struct furnace furnace;
    /* Not physics, but published with it; set by the caller. */
    uint32_t ticks;      /* wall time in units of 10 ms, modulo 2^32 */
    double replay_c;     /* recorded machine temperature */
    uint32_t replay_row; /* its row in the recording, from 0 */
};

/* Puts `plant` (borrows) into a warm, running state.
 *   seed    chooses noise and pauses
 *   day_s   seconds since midnight, 0..86400 */
void plant_init(struct plant *plant, uint64_t seed, double day_s);

/* Moves `plant` (borrows) on by PLANT_STEP_MS. Commanded fields must be within their ranges. */
void plant_step(struct plant *plant);

#endif
