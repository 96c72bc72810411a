/* store_clock_testlib.h - for tests of what time removes: a store whose wall clock the test sets.
 */
#ifndef STORE_CLOCK_TESTLIB_H
#define STORE_CLOCK_TESTLIB_H

#include "store/store_testlib.h"

#define DAY_NS   SEAL_PARTITION_NS
#define START_NS ((int64_t)1800000000 * 1000000000) /* 2027 */

/* The world whose clock is taken. */
static struct world *shifted;
static inline int64_t shifted_wall(struct os *os)
{
    (void)os;
    return shifted->shift_ns + shifted->real->ops->mono_ns(shifted->real);
}

/* From here on the wall clock shows `now_ns`. */
static inline void set_clock(struct world *w, int64_t now_ns)
{
    w->shift_ns = now_ns - w->real->ops->mono_ns(w->real);
}

/* The store is opened anew on a world whose wall clock the test sets. The world is the real one's
 * struct with other operations: they are what it consists of for everybody but os/. */
static inline void take_clock(struct world *w, int64_t now_ns)
{
    store_close(w->store);
    shifted = w;
    w->ops = *w->real->ops;
    w->ops.wall_ns = shifted_wall;
    w->real->ops = &w->ops;
    set_clock(w, now_ns);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/*", w->folder);
    assert_int_equal(system(command), 0);
    open_store(w);
}

static inline struct schema *table_kept_for(struct world *w, int64_t retention_ns)
{
    struct schema *s = schema_new("default", "t", 0);
    assert_int_equal(schema_add_column(s, 0, "a", TYPE_BIGINT, 0, "", "", NULL), ERR_OK);
    assert_int_equal(schema_add_column(s, 0, "b", TYPE_DOUBLE, 0, "", "", NULL), ERR_OK);
    s->retention_ns = retention_ns;
    return define(w, s);
}

#endif
