/* func_time.c - functions of time. All of them count in UTC; windows are aligned to
 * 1970-01-01T00:00:00Z. */
#include "sql/func_time.h"
#include "base/timetext.h"

#define KERNEL(NAME)                                                                               \
    enum err NAME(struct eval *eval, const struct expr *e, const struct vector *args,              \
                  const struct view *view, struct vector *out)

int64_t time_bucket_start(int64_t time_ns, int64_t width_ns)
{
    MUST(width_ns > 0);
    int64_t rest = time_ns % width_ns;
    if (rest < 0) rest += width_ns;
    int64_t start;
    return __builtin_sub_overflow(time_ns, rest, &start) ? INT64_MIN : start;
}

KERNEL(time_bucket_DT)
{
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        if (vector_is_null(out, row)) continue;
        int64_t width = args[0].i[vector_at(&args[0], row)];
        if (width <= 0)
            return why_at(eval->why, ERR_RANGE, e->position,
                          "time_bucket: the width must be greater than zero");
        out->i[row] = time_bucket_start(args[1].i[vector_at(&args[1], row)], width);
    }
    return ERR_OK;
}

/* ---- calendar fields ---- */

enum field { FIELD_NS, FIELD_MONTH, FIELD_QUARTER, FIELD_YEAR, FIELD_WEEK, FIELD_EPOCH, FIELD_DOW };

static const struct {
    const char *name;
    enum field field;
    int64_t ns, modulo; /* FIELD_NS: the unit, and how many make the next one */
} fields[] = {
    {"microsecond", FIELD_NS, TIME_NS_PER_US, 60000000},
    {"millisecond", FIELD_NS, TIME_NS_PER_MS, 60000},
    {"second", FIELD_NS, TIME_NS_PER_S, 60},
    {"minute", FIELD_NS, 60 * TIME_NS_PER_S, 60},
    {"hour", FIELD_NS, 3600 * TIME_NS_PER_S, 24},
    {"day", FIELD_NS, TIME_NS_PER_DAY, 0},
    {"week", FIELD_WEEK, 0, 0},
    {"month", FIELD_MONTH, 0, 0},
    {"quarter", FIELD_QUARTER, 0, 0},
    {"year", FIELD_YEAR, 0, 0},
    {"epoch", FIELD_EPOCH, 0, 0},
    {"dow", FIELD_DOW, 0, 0},
};
enum { FIELD_COUNT = sizeof fields / sizeof fields[0], TRUNC_FIELDS = FIELD_COUNT - 2 };

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

static int64_t day_of(int64_t time_ns)
{
    return time_bucket_start(time_ns, TIME_NS_PER_DAY) / TIME_NS_PER_DAY;
}

static int64_t truncate(int64_t time_ns, int i)
{
    int year;
    unsigned month, day;
    if (fields[i].field == FIELD_NS) return time_bucket_start(time_ns, fields[i].ns);
    int64_t number = day_of(time_ns);
    time_civil(number, &year, &month, &day);
    switch (fields[i].field) {
    case FIELD_WEEK:
        number -= (number % 7 + 7 + 3) % 7;
        break; /* 1970-01-01 was a Thursday; weeks begin on Monday */
    case FIELD_MONTH: number = time_day(year, month, 1); break;
    case FIELD_QUARTER: number = time_day(year, (month - 1) / 3 * 3 + 1, 1); break;
    default: number = time_day(year, 1, 1); break;
    }
    int64_t ns;
    return __builtin_mul_overflow(number, TIME_NS_PER_DAY, &ns) ? INT64_MIN : ns;
}

KERNEL(date_trunc_tT)
{
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        if (vector_is_null(out, row)) continue;
        struct str unit = args[0].s[vector_at(&args[0], row)];
        int i = find_field(unit, TRUNC_FIELDS);
        if (i < 0) return no_field(eval, e, unit, TRUNC_FIELDS);
        out->i[row] = truncate(args[1].i[vector_at(&args[1], row)], i);
    }
    return ERR_OK;
}

static double part_of_time(int64_t time_ns, int i)
{
    int year;
    unsigned month, day;
    int64_t number = day_of(time_ns),
            within = time_ns - time_bucket_start(time_ns, TIME_NS_PER_DAY);
    time_civil(number, &year, &month, &day);
    switch (fields[i].field) {
    case FIELD_NS:
        if (fields[i].modulo == 0) return day;
        if (fields[i].modulo >= 60000 ||
            fields[i].ns == TIME_NS_PER_S) /* with their fraction, as PostgreSQL */
            return (double)(within % (60 * TIME_NS_PER_S)) / (double)fields[i].ns;
        number = within / fields[i].ns % fields[i].modulo;
        return (double)number;
    case FIELD_MONTH: return month;
    case FIELD_QUARTER: month = (month - 1) / 3 + 1; return month;
    case FIELD_YEAR: return year;
    case FIELD_EPOCH: return (double)time_ns / 1e9;
    case FIELD_DOW: return (double)((number % 7 + 7 + 4) % 7);
    case FIELD_WEEK: { /* ISO 8601: the week of the year that holds this week's Thursday */
        int64_t thursday = number - (number % 7 + 7 + 3) % 7 + 3;
        time_civil(thursday, &year, &month, &day);
        number = (thursday - time_day(year, 1, 1)) / 7 + 1;
        return (double)number;
    }
    }
    return 0;
}

KERNEL(date_part_tT)
{
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        if (vector_is_null(out, row)) continue;
        struct str unit = args[0].s[vector_at(&args[0], row)];
        int i = find_field(unit, FIELD_COUNT);
        if (i < 0) return no_field(eval, e, unit, FIELD_COUNT);
        out->d[row] = part_of_time(args[1].i[vector_at(&args[1], row)], i);
    }
    return ERR_OK;
}

KERNEL(now_)
{
    (void)e, (void)args;
    for (uint32_t r = 0; r < view->count; r++) out->i[r] = eval->now_ns;
    return ERR_OK;
}
