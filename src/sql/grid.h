/* grid.h - time cut into windows of equal width: fixed ones (10 s), calendar ones (a day, a month)
 * and both as a time zone's wall clock shows them.
 *
 * One structure stands behind TUMBLE, HOP, INTERVAL, time_bucket, date_bin and date_trunc, so all
 * of them agree. Windows cover time without gaps or overlaps, whatever a zone's clock does: a day
 * is 23 or 25 hours long when the clock changes; an hour of the night in which it is set back
 * appears twice, as with PostgreSQL's date_trunc. */
#ifndef SQL_GRID_H
#define SQL_GRID_H

#include "base/zone.h"
#include "sql/expr.h"

struct time_grid {
    int64_t width_ns; /* > 0, or 0 and … */
    int32_t months;   /* … > 0: calendar months */
    int64_t offset_ns;
    const struct zone *zone; /* borrowed; NULL: UTC */
    struct str zone_name;    /* "" for UTC */
};

/* The window that holds `time_ns`: *start ≤ time < *end. Windows that reach out of the range of
 * times end at INT64_MIN or INT64_MAX. */
void grid_bounds(const struct time_grid *grid, int64_t time_ns, int64_t *start, int64_t *end);

/* A width as text: "10 s", "1h30m", "1 month", "1mo", "1n", "2 years", "1y". Weeks count from
 * Monday. False: it is none. */
bool grid_parse_width(struct str text, struct time_grid *grid);
/* A grid of a fixed width; widths of whole weeks begin on Mondays. */
struct time_grid grid_of_width(int64_t width_ns);

/* A zone by its name: a fixed offset, or what `load` gives (sql.h, zone_load). Errors: INVALID with
 * an example, NO_MEMORY, BUDGET. */
enum err zone_read(const struct sql_context *context, struct str name, struct arena *arena,
                   struct zone *zone, struct why *why);

/* The zones that a statement has asked for so far. */
struct zones {
    const struct sql_context *context;
    struct arena *arena;
    size_t count, capacity;
    struct named_zone {
        struct str name;
        struct zone zone;
    } * *items;
};

/* In `arena`; NULL: no memory, which zones_find reports. */
struct zones *zones_new(const struct sql_context *context, struct arena *arena);

/* The zone of a name; "" gives the statement's own (context->zone). *zone is NULL for UTC. Errors:
 * INVALID with an example, NO_MEMORY. */
enum err zones_find(struct eval *eval, struct str name, int32_t position, const struct zone **zone);

/* The grid that a call of time_bucket, date_bin or date_trunc speaks about, when its arguments but
 * the time are constants. *is_grid false: another call, or not constant. */
enum err grid_of_call(struct eval *eval, const struct expr *e, struct time_grid *grid,
                      bool *is_grid);

#endif
