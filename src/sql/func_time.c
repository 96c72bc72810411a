/* func_time.c - functions of time. All of them count in UTC; windows are aligned to
 * 1970-01-01T00:00:00Z. */
#include "sql/func.h"
#include "sql/grid.h"
#include "sql/parse.h"
#include "base/timetext.h"

#define KERNEL(NAME)                                                                               \
    enum err NAME(struct eval *eval, const struct expr *e, const struct vector *args,              \
                  const struct view *view, struct vector *out)

/* ---- calendar fields ---- */

enum { GRID_ARGS_MAX = 4 };

/* What date_trunc cuts to. */
static const struct {
    const char *name;
    int64_t ns;
    int32_t months; /* or of so many months */
} fields[] = {
    {"microsecond", TIME_NS_PER_US, 0},
    {"millisecond", TIME_NS_PER_MS, 0},
    {"second", TIME_NS_PER_S, 0},
    {"minute", 60 * TIME_NS_PER_S, 0},
    {"hour", 3600 * TIME_NS_PER_S, 0},
    {"day", TIME_NS_PER_DAY, 0},
    {"week", 7 * TIME_NS_PER_DAY, 0},
    {"month", 0, 1},
    {"quarter", 0, 3},
    {"year", 0, 12},
    {"decade", 0, 120},
};
enum { FIELD_COUNT = sizeof fields / sizeof fields[0], TRUNC_FIELDS = FIELD_COUNT };

static int find_field(struct str name, int count)
{
    for (int i = 0; i < count; i++)
        if (str_is_nocase(name, fields[i].name)) return i;
    return -1;
}

static enum err no_field(struct eval *eval, const struct expr *e, struct str name, int count)
{
    const char *names[FIELD_COUNT];
    for (int i = 0; i < count; i++) names[i] = fields[i].name;
    int near = str_nearest(name, names, (size_t)count);
    return why_at(eval->why, ERR_INVALID, e->position, "%s: \"%.*s\" is not a unit of time; %s%s%s",
                  e->function->name, name.size > 40 ? 40 : (int)name.size, name.at,
                  near < 0 ? "there are second, minute, hour, day, week, month, year"
                           : "did you mean \"",
                  near < 0 ? "" : names[near], near < 0 ? "" : "\"?");
}

/* ---- windows: time_bucket, date_bin, date_trunc ---- */

static enum err bad_width(struct eval *eval, const struct expr *e, struct str text)
{
    return why_at(eval->why, ERR_INVALID, e->args[0]->position,
                  "%s: '%.*s' is not a width such as '10 s', '5 minutes', '1 day', '1 month'",
                  e->function->name, text.size > 60 ? 60 : (int)text.size, text.at);
}

/* What stands behind the time: a zone, an origin or an offset, told apart by type, texts by look.
 */
static enum err refine_grid(struct eval *eval, const struct expr *e, const struct value *v,
                            size_t i, struct str *zone, struct time_grid *grid)
{
    int64_t ns;
    (void)e, (void)i;
    if (v->type == TYPE_TIMESTAMP) {
        grid->offset_ns = v->i;
    } else if (v->type == TYPE_BIGINT) {
        grid->offset_ns += v->i;
    } else if (sql_parse_interval(v->s, &ns)) {
        grid->offset_ns += ns;
    } else if (time_parse(v->s, &ns)) {
        grid->offset_ns = ns;
    } else {
        *zone = v->s;
    }
    (void)eval;
    return ERR_OK;
}

static enum err first_of_grid(struct eval *eval, const struct expr *e, const struct value *v,
                              struct time_grid *grid)
{
    if (e->function->kernel == date_trunc_any) {
        int i = find_field(v->s, TRUNC_FIELDS);
        if (i < 0) return no_field(eval, e, v->s, TRUNC_FIELDS);
        if (fields[i].months)
            *grid = (struct time_grid){.months = fields[i].months};
        else
            *grid = grid_of_width(fields[i].ns);
    } else if (v->type == TYPE_TEXT) {
        if (!grid_parse_width(v->s, grid)) return bad_width(eval, e, v->s);
    } else if (v->i <= 0) {
        return why_at(eval->why, ERR_RANGE, e->position, "%s: the width must be greater than zero",
                      e->function->name);
    } else {
        *grid = grid_of_width(v->i);
    }
    return ERR_OK;
}

/* The grid that the arguments but the time describe. */
static enum err make_grid(struct eval *eval, const struct expr *e, const struct value *values,
                          struct time_grid *grid)
{
    struct str zone = STR("");
    enum err err = first_of_grid(eval, e, &values[0], grid);
    for (size_t i = 2; i < e->arg_count && !err; i++)
        err = refine_grid(eval, e, &values[i], i, &zone, grid);
    if (!err) err = zones_find(eval, zone, e->position, &grid->zone);
    if (grid->zone)
        grid->zone_name =
            zone.size > 0 || !eval->zones->context ? zone : eval->zones->context->zone;
    return err;
}

enum err grid_of_call(struct eval *eval, const struct expr *e, struct time_grid *grid,
                      bool *is_grid)
{
    struct value values[GRID_ARGS_MAX] = {{0}};
    *is_grid = false;
    if (e->function->kernel != time_bucket_any && e->function->kernel != date_trunc_any)
        return ERR_OK;
    MUST(e->arg_count <= GRID_ARGS_MAX);
    for (size_t i = 0; i < e->arg_count; i++) {
        if (i == 1) continue;
        if (e->args[i]->kind != EXPR_CONST) return ERR_OK;
        values[i] = expr_value(e->args[i]);
        if (values[i].is_null) return ERR_OK;
    }
    *is_grid = true;
    return make_grid(eval, e, values, grid);
}

/* Bounds of the windows of all rows. Neighbouring rows mostly lie in the same window. */
static enum err each_bound(struct eval *eval, const struct expr *e, const struct vector *args,
                           const struct view *view, struct vector *out, bool is_end)
{
    struct time_grid grid = {0};
    int64_t start = 0, end = 0; /* no time lies in it */
    bool fixed = true;
    for (size_t i = 0; i < e->arg_count; i++) fixed = fixed && (i == 1 || args[i].is_constant);
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        if (vector_is_null(out, row)) continue;
        if (grid.width_ns + grid.months == 0 || !fixed) {
            struct value values[GRID_ARGS_MAX] = {{0}};
            for (size_t i = 0; i < e->arg_count; i++) values[i] = vector_get(&args[i], row);
            enum err err = make_grid(eval, e, values, &grid);
            if (err) return err;
            start = end = 0;
        }
        int64_t time = args[1].i[vector_at(&args[1], row)];
        if (time < start || time >= end) grid_bounds(&grid, time, &start, &end);
        out->i[row] = is_end ? end : start;
    }
    return ERR_OK;
}

KERNEL(time_bucket_any)
{
    return each_bound(eval, e, args, view, out, false);
}
KERNEL(time_bucket_end_any)
{
    return each_bound(eval, e, args, view, out, true);
}
KERNEL(date_trunc_any)
{
    return each_bound(eval, e, args, view, out, false);
}

KERNEL(now_)
{
    (void)e, (void)args;
    for (uint32_t r = 0; r < view->count; r++) out->i[r] = eval->now_ns;
    return ERR_OK;
}
