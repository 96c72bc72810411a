/* grid.c - see grid.h. */
#include "sql/grid.h"
#include "sql/parse.h"
#include "base/num.h"
#include "base/timetext.h"
#include <string.h>

enum { ZONES_MAX = 64, MONTHS_MAX = 120000 };
#define WEEK_NS      (7 * TIME_NS_PER_DAY)
#define MONDAY_NS    (4 * TIME_NS_PER_DAY) /* 1970-01-05 */
#define LOCAL_MAX_NS (INT64_MAX - 2 * TIME_NS_PER_DAY)

static int64_t floor_to(int64_t t, int64_t width)
{
    int64_t rest = t % width, start;
    if (rest < 0) rest += width;
    return __builtin_sub_overflow(t, rest, &start) ? INT64_MIN : start;
}

static int64_t add_or_limit(int64_t a, int64_t b)
{
    int64_t sum;
    if (!__builtin_add_overflow(a, b, &sum)) return sum;
    return b < 0 ? INT64_MIN : INT64_MAX;
}

static int64_t second_of(int64_t ns)
{
    return ns / TIME_NS_PER_S - (ns % TIME_NS_PER_S < 0);
}

/* ---- the wall clock ---- */

static int64_t local_of(const struct time_grid *grid, int64_t time_ns, int64_t *shift_ns)
{
    *shift_ns = grid->zone ? zone_at(grid->zone, second_of(time_ns)).offset * TIME_NS_PER_S : 0;
    return add_or_limit(time_ns, *shift_ns);
}

static int64_t utc_of(const struct time_grid *grid, int64_t local_ns)
{
    if (!grid->zone || local_ns == INT64_MIN || local_ns == INT64_MAX) return local_ns;
    int64_t second = second_of(local_ns), utc = zone_to_utc(grid->zone, second), ns;
    bool leapt = utc + zone_at(grid->zone, utc).offset != second; /* no such time of day */
    if (__builtin_mul_overflow(utc, TIME_NS_PER_S, &ns)) return utc < 0 ? INT64_MIN : INT64_MAX;
    return leapt ? ns : add_or_limit(ns, local_ns - second * TIME_NS_PER_S);
}

/* A bound of the window around a time with this shift. Where the clock changed by a multiple of the
 * width the bounds go on evenly; else they stand where the wall clock says, at the first of two
 * instants that show the same (in Havana the clock goes back at one, to midnight). */
static int64_t bound_of(const struct time_grid *grid, int64_t local_ns, int64_t shift_ns)
{
    int64_t even = add_or_limit(local_ns, -shift_ns), there;
    if (!grid->zone || even == INT64_MIN || even == INT64_MAX) return even;
    int64_t first = utc_of(grid, local_ns);
    local_of(grid, even, &there);
    if (there == shift_ns) local_of(grid, first, &there);
    return (there - shift_ns) % grid->width_ns == 0 ? even : first;
}

static int64_t month_start(int64_t month) /* since year 0 */
{
    int64_t ns, year = month / 12;
    int64_t day = time_day((int)year, (unsigned)(month % 12) + 1, 1);
    if (__builtin_mul_overflow(day, TIME_NS_PER_DAY, &ns)) return day < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

static void month_bounds(const struct time_grid *grid, int64_t time_ns, int64_t *start,
                         int64_t *end)
{
    int64_t shift, local = add_or_limit(local_of(grid, time_ns, &shift), -grid->offset_ns);
    int year;
    unsigned month, day;
    time_civil(floor_to(local, TIME_NS_PER_DAY) / TIME_NS_PER_DAY, &year, &month, &day);
    int64_t number = ((int64_t)year * 12 + month - 1) / grid->months * grid->months;
    int64_t from = month_start(number), to = month_start(number + grid->months);
    *start = utc_of(grid, from == INT64_MIN ? from : add_or_limit(from, grid->offset_ns));
    *end = utc_of(grid, to == INT64_MAX ? to : add_or_limit(to, grid->offset_ns));
}

void grid_bounds(const struct time_grid *grid, int64_t time_ns, int64_t *start, int64_t *end)
{
    MUST(grid->width_ns > 0 || grid->months > 0);
    if (grid->months > 0) {
        month_bounds(grid, time_ns, start, end);
    } else {
        int64_t shift, local = local_of(grid, time_ns, &shift);
        int64_t phase = grid->offset_ns % grid->width_ns;
        int64_t from = floor_to(add_or_limit(local, -phase), grid->width_ns);
        if (from != INT64_MIN) from = add_or_limit(from, phase);
        *start = bound_of(grid, from, shift);
        *end = from == INT64_MIN
                   ? add_or_limit(floor_to(INT64_MIN + grid->width_ns, grid->width_ns), phase)
                   : bound_of(grid, add_or_limit(from, grid->width_ns), shift);
    }
    if (*start > time_ns) *start = time_ns; /* only at the very ends of time */
    if (*end <= time_ns) *end = add_or_limit(time_ns, 1);
}

/* ---- widths ---- */

struct time_grid grid_of_width(int64_t width_ns)
{
    bool weeks = width_ns % WEEK_NS == 0;
    return (struct time_grid){.width_ns = width_ns, .offset_ns = weeks ? MONDAY_NS : 0};
}

bool grid_parse_width(struct str text, struct time_grid *grid)
{
    static const struct {
        const char *name;
        int32_t months;
    } units[] = {{"month", 1},    {"months", 1}, {"mon", 1},   {"mons", 1},
                 {"mo", 1},       {"n", 1},      {"q", 3},     {"quarter", 3},
                 {"quarters", 3}, {"y", 12},     {"year", 12}, {"years", 12}};
    int64_t ns, amount = 0;
    text = str_trim(text);
    if (sql_parse_interval(text, &ns)) {
        if (ns <= 0) return false;
        *grid = grid_of_width(ns);
        return true;
    }
    size_t digits = 0;
    while (digits < text.size && text.at[digits] >= '0' && text.at[digits] <= '9') digits++;
    if (!num_parse_i64((struct str){text.at, digits}, &amount) || amount < 1) return false;
    struct str unit = str_trim((struct str){text.at + digits, text.size - digits});
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!str_is_nocase(unit, units[i].name) || amount > MONTHS_MAX / units[i].months) continue;
        *grid = (struct time_grid){.months = (int32_t)amount * units[i].months};
        return true;
    }
    return false;
}

/* ---- zones ---- */

static enum err fail_zone(struct str name, const struct why *inner, struct why *why)
{
    return why_set(
        why, ERR_INVALID,
        "the time zone \"%.*s\" is not known%s%s; write it like 'Asia/Shanghai', 'UTC' or '+08:00'",
        name.size > ZONE_NAME_BYTES_MAX ? ZONE_NAME_BYTES_MAX : (int)name.size, name.at,
        inner->text[0] ? ": " : "", inner->text);
}

enum err zone_read(const struct sql_context *context, struct str name, struct arena *arena,
                   struct zone *zone, struct why *why)
{
    struct buf bytes = {.limit = ZONE_FILE_BYTES_MAX};
    struct why inner = WHY_NONE;
    char file[ZONE_NAME_BYTES_MAX + 1];
    if (zone_fixed(name, zone)) return ERR_OK;
    if (!zone_name_is_safe(name) || !context || !context->zone_load)
        return fail_zone(name, &inner, why);
    (void)str_copy(file, sizeof file, name);
    enum err err = context->zone_load(context->zone_context, file, &bytes);
    if (!err) err = zone_parse(bytes.at, bytes.size, arena, zone, &inner);
    buf_free(&bytes);
    if (!err || err == ERR_NO_MEMORY || err == ERR_BUDGET) return err;
    return fail_zone(name, &inner, why);
}

struct zones *zones_new(const struct sql_context *context, struct arena *arena)
{
    struct zones *zones = arena_zero(arena, 1, sizeof *zones);
    if (zones) *zones = (struct zones){.context = context, .arena = arena};
    return zones;
}

enum err zones_find(struct eval *eval, struct str name, int32_t position, const struct zone **zone)
{
    struct zones *zones = eval->zones;
    *zone = NULL;
    if (!zones) return expr_no_memory(eval->budget, eval->why);
    if (name.size == 0 && zones->context) name = zones->context->zone;
    if (name.size == 0 || str_is_nocase(name, "utc")) return ERR_OK;
    for (size_t i = 0; i < zones->count; i++)
        if (str_equal(zones->items[i]->name, name)) return *zone = &zones->items[i]->zone, ERR_OK;
    if (zones->count == ZONES_MAX)
        return why_at(eval->why, ERR_LIMIT, position, "a statement may name at most %d time zones",
                      ZONES_MAX);
    if (!zones->items) zones->items = arena_zero(zones->arena, ZONES_MAX, sizeof *zones->items);
    struct named_zone *made = arena_zero(zones->arena, 1, sizeof *made);
    char *copy = arena_strdup(zones->arena, name.at, name.size);
    if (!zones->items || !made || !copy) return expr_no_memory(eval->budget, eval->why);
    enum err err = zone_read(zones->context, name, zones->arena, &made->zone, eval->why);
    if (err == ERR_NO_MEMORY || err == ERR_BUDGET) return expr_no_memory(eval->budget, eval->why);
    if (err && eval->why) eval->why->position = position;
    if (err) return err;
    made->name = (struct str){copy, name.size};
    zones->items[zones->count++] = made;
    *zone = &made->zone;
    return ERR_OK;
}
