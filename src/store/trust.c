/* trust.c - is the wall clock to be believed; see trust.h.
 *
 * Two questions at each look: has the wall clock moved by what the monotonic one says (a minute of
 * stepping is allowed, and one in a hundred of the time passed), and is it within a day of where
 * trusted time should be. Both must be so. After a start the first has no answer yet, and the last
 * trusted time that the manifest kept is asked instead.
 *
 * Called by: flush.c and open_parts.c. Pure: no clock is read here.
 * Invariant: trusted time goes back only when an operator confirms it. */
#include "store/trust.h"

#define SECOND_NS ((int64_t)1000000000)
#define DAY_NS    (86400 * SECOND_NS)
#define FLOOR_NS  (1767225600 * SECOND_NS) /* 2026-01-01: no node runs this program earlier */
#define CEILING_NS                                                                                 \
    (FLOOR_NS + 8 * 365 * DAY_NS) /* a first start that late is believed only when confirmed */
#define STEP_NS (60 * SECOND_NS)  /* what a correct clock may be stepped by */

static bool near(int64_t a, int64_t b, int64_t by)
{
    int64_t difference;
    if (__builtin_sub_overflow(a, b, &difference)) return false;
    return difference <= by && difference >= -by;
}

static bool may_begin(int64_t wall_ns)
{
    return wall_ns >= FLOOR_NS && wall_ns <= CEILING_NS;
}

static void take(struct trust *t, int64_t wall_ns, int64_t mono_ns)
{
    t->trusted = true;
    if (wall_ns > t->time_ns) t->time_ns = wall_ns;
    t->time_mono_ns = mono_ns;
}

void trust_begin(struct trust *t, int64_t known_ns, int64_t wall_ns, int64_t mono_ns)
{
    *t = (struct trust){.time_ns = known_ns,
                        .time_mono_ns = mono_ns,
                        .last_wall_ns = wall_ns,
                        .last_mono_ns = mono_ns};
    if (known_ns == INT64_MIN ? may_begin(wall_ns) : near(wall_ns, known_ns, DAY_NS))
        take(t, wall_ns, mono_ns);
}

void trust_look(struct trust *t, int64_t wall_ns, int64_t mono_ns)
{
    int64_t passed = mono_ns - t->last_mono_ns;
    bool moved_along = near(wall_ns - passed, t->last_wall_ns, STEP_NS + passed / 100);
    int64_t due_ns; /* where trusted time should be by now; the manifest may say anything */
    bool has_due = t->time_ns != INT64_MIN &&
                   !__builtin_add_overflow(t->time_ns, mono_ns - t->time_mono_ns, &due_ns);
    bool in_place =
        has_due ? near(wall_ns, due_ns, DAY_NS) : t->time_ns == INT64_MIN && may_begin(wall_ns);
    t->last_wall_ns = wall_ns;
    t->last_mono_ns = mono_ns;
    if (moved_along && in_place)
        take(t, wall_ns, mono_ns);
    else
        t->trusted = false;
}

void trust_confirm(struct trust *t, int64_t wall_ns, int64_t mono_ns)
{
    *t = (struct trust){true, wall_ns, mono_ns, wall_ns, mono_ns};
}
