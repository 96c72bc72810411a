/* series.h - functions that follow the rows of a device: diff, cumulative sums, moving averages,
 * time in a state.
 *
 * They stand in a SELECT without groups, or inside an aggregate: SELECT time, diff(counter) …,
 * max(derivative(temperature)) …. An operator behind the filter (op_series.c) runs them chunk by
 * chunk and hands their results on as further columns; a state of plain bytes goes from chunk to
 * chunk and starts anew with each device. So they see the rows that WHERE leaves, in order of time,
 * and no expression but they keeps anything between rows. */
#ifndef SQL_SERIES_H
#define SQL_SERIES_H

#include "sql/expr.h"

enum { SERIES_STATE_BYTES_MAX = 64, SERIES_WINDOW_MAX = 10000 };

struct series_run {
    const struct vector *value; /* maybe constant */
    const int64_t *time;        /* of the rows; NULL: they have none */
    const struct view *view;
    const struct value *params;
    struct arena *memory; /* until the device changes */
};

struct series_function {
    const char *name, *args; /* letters as in agg.h: one argument, then behind '|' constants */
    char result;
    bool needs_time;
    /* Fills out (its NULLs are all set beforehand) for the rows of the view. */
    enum err (*run)(void *state, const struct series_run *run, struct vector *out);
    const char *help, *help_zh, *example, *answer;
};

const struct series_function *series_table(size_t *count);
bool series_exists(struct str name);

#endif
