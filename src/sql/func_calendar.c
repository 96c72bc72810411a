/* func_calendar.c - functions of the wall clock: parts of a date, months forward and back,
 * differences, texts. A zone that is not named is the statement's (context->zone). */
#include "sql/func_priv.h"
#include "sql/grid.h"
#include "sql/parse.h"
#include "base/num.h"
#include "base/timetext.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct civil {
    int year;
    unsigned month, day;
    int64_t day_number; /* since 1970-01-01 */
    int64_t within_ns;  /* of the day */
};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static struct civil civil_of(int64_t local_ns)
{
    struct civil c = {.day_number = floor_div(local_ns, TIME_NS_PER_DAY)};
    c.within_ns = local_ns % TIME_NS_PER_DAY;
    c.within_ns += c.within_ns < 0 ? TIME_NS_PER_DAY : 0;
    time_civil(c.day_number, &c.year, &c.month, &c.day);
    return c;
}

static int64_t offset_ns(const struct zone *zone, int64_t utc_ns)
{
    return zone ? zone_at(zone, floor_div(utc_ns, TIME_NS_PER_S)).offset * TIME_NS_PER_S : 0;
}

/* What the zone's wall clock shows; at the very ends of time it stands still. */
static int64_t local_of(const struct zone *zone, int64_t utc_ns)
{
    int64_t shift = offset_ns(zone, utc_ns), local;
    if (!__builtin_add_overflow(utc_ns, shift, &local)) return local;
    return shift < 0 ? INT64_MIN : INT64_MAX;
}

static bool to_utc(const struct zone *zone, int64_t local_ns, int64_t *utc_ns)
{
    int64_t second = floor_div(local_ns, TIME_NS_PER_S), rest = local_ns % TIME_NS_PER_S;
    rest += rest < 0 ? TIME_NS_PER_S : 0;
    if (zone) second = zone_to_utc(zone, second);
    return !__builtin_mul_overflow(second, TIME_NS_PER_S, utc_ns) &&
           !__builtin_add_overflow(*utc_ns, rest, utc_ns);
}

/* The zone of argument `at`, else the statement's; looked up once when constant. */
static enum err zone_of(struct eval *eval, const struct expr *e, const struct vector *args,
                        uint32_t row, size_t at, const struct zone **zone)
{
    return zones_find(eval, e->arg_count > at ? TEXT(at) : STR(""), e->position, zone);
}

/* ---- parts ---- */

enum part {
    PART_EPOCH,
    PART_CENTURY,
    PART_DECADE,
    PART_YEAR,
    PART_ISOYEAR,
    PART_QUARTER,
    PART_MONTH,
    PART_WEEK,
    PART_DAY,
    PART_DOW,
    PART_ISODOW,
    PART_DOY,
    PART_HOUR,
    PART_MINUTE,
    PART_SECOND,
    PART_MILLISECOND,
    PART_MICROSECOND,
    PART_COUNT
};

static const char *const parts[PART_COUNT] = {
    "epoch", "century", "decade", "year", "isoyear", "quarter", "month",       "week",       "day",
    "dow",   "isodow",  "doy",    "hour", "minute",  "second",  "millisecond", "microsecond"};

/* The ISO 8601 week belongs to the year of its Thursday. */
static int64_t iso_week(const struct civil *c, int *iso_year)
{
    int64_t thursday = c->day_number - ((c->day_number + 3) % 7 + 7) % 7 + 3;
    unsigned month, day;
    time_civil(thursday, iso_year, &month, &day);
    return (thursday - time_day(*iso_year, 1, 1)) / 7 + 1;
}

/* The parts that are whole numbers. */
static int64_t whole_part_of(const struct civil *c, enum part part)
{
    int iso_year;
    switch (part) {
    case PART_CENTURY: return (c->year + 99) / 100;
    case PART_DECADE: return c->year / 10;
    case PART_YEAR: return c->year;
    case PART_ISOYEAR: return (void)iso_week(c, &iso_year), iso_year;
    case PART_QUARTER: return (c->month + 2) / 3;
    case PART_MONTH: return c->month;
    case PART_WEEK: return iso_week(c, &iso_year);
    case PART_DAY: return c->day;
    case PART_DOW: return ((c->day_number + 4) % 7 + 7) % 7;
    case PART_ISODOW: return ((c->day_number + 3) % 7 + 7) % 7 + 1;
    case PART_DOY: return c->day_number - time_day(c->year, 1, 1) + 1;
    case PART_HOUR: return c->within_ns / (3600 * TIME_NS_PER_S);
    default: MUST(part == PART_MINUTE); return c->within_ns / (60 * TIME_NS_PER_S) % 60;
    }
}

static double part_of(int64_t utc_ns, int64_t local_ns, enum part part)
{
    struct civil c = civil_of(local_ns);
    double second_ns = (double)(c.within_ns % (60 * TIME_NS_PER_S));
    switch (part) {
    case PART_EPOCH: return (double)utc_ns / 1e9;
    case PART_SECOND: return second_ns / 1e9; /* with their fraction, as PostgreSQL */
    case PART_MILLISECOND: return second_ns / 1e6;
    case PART_MICROSECOND: return second_ns / 1e3;
    default: return (double)whole_part_of(&c, part);
    }
}

static enum err find_part(struct eval *eval, const struct expr *e, struct str name, enum part *part)
{
    struct str one = {name.at, name.size > 1 && (name.at[name.size - 1] | 32) == 's' ? name.size - 1
                                                                                     : name.size};
    for (size_t i = 0; i < PART_COUNT; i++)
        if (str_is_nocase(name, parts[i]) || str_is_nocase(one, parts[i]))
            return *part = (enum part)i, ERR_OK;
    int near = str_nearest(name, parts, PART_COUNT);
    return func_fail(
        eval, e, ERR_INVALID, "\"%.*s\" is no part of a time; %s%s%s",
        name.size > 40 ? 40 : (int)name.size, name.at,
        near < 0 ? "there are year, month, week, day, dow, doy, hour, minute, second, epoch…"
                 : "did you mean \"",
        near < 0 ? "" : parts[near], near < 0 ? "" : "\"?");
}

KERNEL(date_part_tT)
{
    EACH_ROW(row)
    {
        enum part part = PART_DAY;
        const struct zone *zone;
        enum err err = find_part(eval, e, TEXT(0), &part);
        if (!err) err = zone_of(eval, e, args, row, 2, &zone);
        if (err) return err;
        int64_t t = INTEGER(1);
        out->d[row] = part_of(t, local_of(zone, t), part);
    }
    return ERR_OK;
}

static enum err whole_part(struct eval *eval, const struct expr *e, const struct vector *args,
                           const struct view *view, struct vector *out, enum part part)
{
    EACH_ROW(row)
    {
        const struct zone *zone;
        enum err err = zone_of(eval, e, args, row, 1, &zone);
        if (err) return err;
        int64_t t = INTEGER(0);
        out->i[row] = (int64_t)part_of(t, local_of(zone, t), part);
    }
    return ERR_OK;
}

#define PART(NAME, WHICH)                                                                          \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        return whole_part(eval, e, args, view, out, WHICH);                                        \
    }
PART(year_T, PART_YEAR)
PART(month_T, PART_MONTH)
PART(day_T, PART_DAY)
PART(hour_T, PART_HOUR)
PART(minute_T, PART_MINUTE)
PART(second_T, PART_SECOND)
PART(weekday_T, PART_ISODOW)

/* ---- moving ---- */

/* "1 month 2 days", "1 day", "90 minutes": months apart from the rest. */
static bool parse_calendar(struct str text, int64_t *months, int64_t *ns)
{
    static const struct {
        const char *name;
        int64_t months;
    } units[] = {{"y", 12},     {"year", 12},   {"years", 12},  {"month", 1},
                 {"months", 1}, {"mon", 1},     {"mons", 1},    {"mo", 1},
                 {"n", 1},      {"quarter", 3}, {"quarters", 3}};
    struct buf rest = BUF_EMPTY;
    bool good = true;
    *months = *ns = 0;
    text = str_trim(text);
    while (text.size > 0 && good) {
        size_t digits = text.at[0] == '-', letters;
        int64_t amount, unit = 0;
        while (digits < text.size && text.at[digits] >= '0' && text.at[digits] <= '9') digits++;
        good = num_parse_i64((struct str){text.at, digits}, &amount) &&
               amount > -100000 * INT64_C(1000000000) && amount < 100000 * INT64_C(1000000000);
        struct str behind = str_trim((struct str){text.at + digits, text.size - digits});
        for (letters = 0; letters < behind.size &&
                          ((behind.at[letters] | 32) >= 'a' && (behind.at[letters] | 32) <= 'z');)
            letters++;
        struct str name = {behind.at, letters};
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
            if (str_is_nocase(name, units[i].name)) unit = units[i].months;
        if (unit && good && amount > -1000000 && amount < 1000000)
            *months += amount * unit;
        else if (unit)
            good = false;
        else
            buf_add(&rest, text.at, (size_t)(behind.at + letters - text.at)),
                buf_add_char(&rest, ' ');
        text = str_trim((struct str){behind.at + letters, behind.size - letters});
    }
    if (good && rest.size > 0) good = sql_parse_interval(buf_str(&rest), ns);
    good = good && !buf_failed(&rest);
    buf_free(&rest);
    return good;
}

static unsigned month_days(int year, unsigned month)
{
    int64_t next = month == 12 ? time_day(year + 1, 1, 1) : time_day(year, month + 1, 1);
    return (unsigned)(next - time_day(year, month, 1));
}

enum { MONTHS_MAX = 12 * 600 }; /* more than lie between the ends of time */

/* The same time of day so many months on; the last day of a month that has no such day. */
static bool add_months(const struct zone *zone, int64_t utc_ns, int64_t months, int64_t *result)
{
    struct civil c = civil_of(local_of(zone, utc_ns));
    if (months < -MONTHS_MAX || months > MONTHS_MAX) return false;
    int64_t month = (int64_t)c.year * 12 + c.month - 1 + months;
    int year = (int)floor_div(month, 12);
    unsigned of_year = (unsigned)(month - (int64_t)year * 12) + 1;
    unsigned days = month_days(year, of_year), day = c.day < days ? c.day : days;
    int64_t local;
    return !__builtin_mul_overflow(time_day(year, of_year, day), TIME_NS_PER_DAY, &local) &&
           !__builtin_add_overflow(local, c.within_ns, &local) && to_utc(zone, local, result);
}

static enum err move(struct eval *eval, const struct expr *e, const struct vector *args,
                     const struct view *view, struct vector *out, int sign)
{
    EACH_ROW(row)
    {
        const struct zone *zone;
        int64_t months = 0, ns = 0, t = INTEGER(0);
        enum err err = zone_of(eval, e, args, row, 2, &zone);
        if (err) return err;
        if (args[1].type != TYPE_TEXT)
            ns = INTEGER(1);
        else if (!parse_calendar(TEXT(1), &months, &ns))
            return func_fail(
                eval, e, ERR_INVALID,
                "'%.*s' is no span of time; write it like '1 month', '2 days 3 hours', '1 year'",
                TEXT(1).size > 40 ? 40 : (int)TEXT(1).size, TEXT(1).at);
        bool good = months == 0 || add_months(zone, t, sign * months, &t);
        good = good &&
               !(sign > 0 ? __builtin_add_overflow(t, ns, &t) : __builtin_sub_overflow(t, ns, &t));
        if (!good) return func_fail(eval, e, ERR_RANGE, "the result is outside 1677 … 2262");
        out->i[row] = t;
    }
    return ERR_OK;
}

KERNEL(date_add_Tt)
{
    return move(eval, e, args, view, out, 1);
}
KERNEL(date_subtract_Tt)
{
    return move(eval, e, args, view, out, -1);
}

/* Whole units from one time to another, as the calendar counts: months and years by date. */
KERNEL(date_diff_tTT)
{
    EACH_ROW(row)
    {
        struct time_grid grid;
        const struct zone *zone;
        char text[48];
        int64_t from = INTEGER(1), to = INTEGER(2), n;
        enum err err = zone_of(eval, e, args, row, 3, &zone);
        if (err) return err;
        int size = TEXT(0).size > 31 ? 31 : (int)TEXT(0).size;
        (void)snprintf(text, sizeof text, "1 %.*s", size, TEXT(0).at);
        if (!grid_parse_width(str_of(text), &grid))
            return func_fail(
                eval, e, ERR_INVALID,
                "'%.*s' is no unit of time; there are second, minute, hour, day, week, month, year",
                size, TEXT(0).at);
        if (grid.months == 0) {
            if (__builtin_sub_overflow(to, from, &n))
                return func_fail(eval, e, ERR_RANGE, "the times are too far apart");
            out->i[row] = n / grid.width_ns;
            continue;
        }
        struct civil a = civil_of(local_of(zone, from)), b = civil_of(local_of(zone, to));
        n = ((int64_t)b.year - a.year) * 12 + (int64_t)b.month - a.month;
        bool short_of = b.day < a.day || (b.day == a.day && b.within_ns < a.within_ns);
        bool beyond = b.day > a.day || (b.day == a.day && b.within_ns > a.within_ns);
        n -= n > 0 && short_of;
        n += n < 0 && beyond;
        out->i[row] = n / grid.months;
    }
    return ERR_OK;
}

/* ---- from and to numbers ---- */

KERNEL(to_timestamp_d)
{
    EACH_ROW(row)
    {
        double ns = NUMBER(0) * 1e9;
        if (!(fabs(ns) < 9.2e18))
            return func_fail(eval, e, ERR_RANGE, "%g seconds are outside 1677 … 2262", NUMBER(0));
        int64_t whole = (int64_t)floor(NUMBER(0));
        out->i[row] = whole * TIME_NS_PER_S + (int64_t)nearbyint((NUMBER(0) - (double)whole) * 1e9);
    }
    return ERR_OK;
}

KERNEL(epoch_T)
{
    EACH_ROW(row) out->d[row] = (double)INTEGER(0) / 1e9;
    return ERR_OK;
}

KERNEL(epoch_ms_T)
{
    EACH_ROW(row) out->i[row] = floor_div(INTEGER(0), TIME_NS_PER_MS);
    return ERR_OK;
}

KERNEL(make_timestamp_iiiiid)
{
    EACH_ROW(row)
    {
        const struct zone *zone;
        int64_t y = INTEGER(0), mo = INTEGER(1), d = INTEGER(2), h = INTEGER(3), mi = INTEGER(4),
                utc = 0;
        double s = NUMBER(5);
        enum err err = zone_of(eval, e, args, row, 6, &zone);
        if (err) return err;
        bool good = y >= 1678 && y <= 2261 && mo >= 1 && mo <= 12 && d >= 1 &&
                    d <= month_days((int)y, (unsigned)mo) && h >= 0 && h < 24 && mi >= 0 &&
                    mi < 60 && s >= 0 && s < 60;
        if (!good || !to_utc(zone,
                             time_day((int)y, (unsigned)mo, (unsigned)d) * TIME_NS_PER_DAY +
                                 (h * 3600 + mi * 60) * TIME_NS_PER_S + (int64_t)nearbyint(s * 1e9),
                             &utc))
            return func_fail(eval, e, ERR_RANGE, "there is no such time");
        out->i[row] = utc;
    }
    return ERR_OK;
}

/* What the zone's wall clock shows, as a time of its own: for reading, not for comparing. */
KERNEL(timezone_tT)
{
    EACH_ROW(row)
    {
        const struct zone *zone;
        enum err err = zones_find(eval, TEXT(0), e->position, &zone);
        if (err) return err;
        out->i[row] = local_of(zone, INTEGER(1));
    }
    return ERR_OK;
}

KERNEL(today_)
{
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        const struct zone *zone;
        struct time_grid day = grid_of_width(TIME_NS_PER_DAY);
        int64_t end;
        enum err err = zone_of(eval, e, args, row, 0, &zone);
        if (err) return err;
        day.zone = zone;
        grid_bounds(&day, eval->now_ns, &out->i[row], &end);
    }
    return ERR_OK;
}

/* ---- to_char ---- */

static const char *const month_names[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};
static const char *const day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};

/* One pattern of to_char at the front of `f`; its size, 0: none. */
static size_t put_pattern(struct buf *buf, struct str f, const struct civil *c, int64_t utc_ns)
{
    static const char *const names[] = {"YYYY", "YY", "MM", "DDD", "DD",    "HH24", "HH12", "HH",
                                        "MI",   "SS", "MS", "US",  "Month", "Mon",  "Day",  "Dy",
                                        "IW",   "ID", "Q",  "AM",  "PM",    "D"};
    size_t i = 0, count = sizeof names / sizeof names[0];
    while (i < count && !str_starts(f, names[i])) i++;
    if (i == count) return 0;
    int64_t hour = c->within_ns / (3600 * TIME_NS_PER_S),
            second_ns = c->within_ns % (60 * TIME_NS_PER_S);
    int minute = (int)(c->within_ns / (60 * TIME_NS_PER_S) % 60), iso_year;
    int dow = (int)((c->day_number % 7 + 11) % 7);
    switch (i) {
    case 0: buf_printf(buf, "%04d", c->year); break;
    case 1: buf_printf(buf, "%02d", c->year % 100); break;
    case 2: buf_printf(buf, "%02u", c->month); break;
    case 3: buf_printf(buf, "%03d", (int)(c->day_number - time_day(c->year, 1, 1) + 1)); break;
    case 4: buf_printf(buf, "%02u", c->day); break;
    case 5: buf_printf(buf, "%02d", (int)hour); break;
    case 6:
    case 7: buf_printf(buf, "%02d", (int)((hour + 11) % 12 + 1)); break;
    case 8: buf_printf(buf, "%02d", minute); break;
    case 9: buf_printf(buf, "%02d", (int)(second_ns / TIME_NS_PER_S)); break;
    case 10: buf_printf(buf, "%03d", (int)(second_ns % TIME_NS_PER_S / TIME_NS_PER_MS)); break;
    case 11: buf_printf(buf, "%06d", (int)(second_ns % TIME_NS_PER_S / TIME_NS_PER_US)); break;
    case 12: buf_add_text(buf, month_names[c->month - 1]); break;
    case 13: buf_add(buf, month_names[c->month - 1], 3); break;
    case 14: buf_add_text(buf, day_names[dow]); break;
    case 15: buf_add(buf, day_names[dow], 3); break;
    case 16: buf_printf(buf, "%02d", (int)iso_week(c, &iso_year)); break;
    case 17: buf_printf(buf, "%d", dow == 0 ? 7 : dow); break;
    case 18: buf_printf(buf, "%u", (c->month + 2) / 3); break;
    case 19:
    case 20: buf_add_text(buf, hour < 12 ? "AM" : "PM"); break;
    default: buf_printf(buf, "%d", dow + 1); break;
    }
    (void)utc_ns;
    return strlen(names[i]);
}

KERNEL(to_char_Tt)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    EACH_ROW(row)
    {
        const struct zone *zone;
        struct str f = TEXT(1);
        err = zone_of(eval, e, args, row, 2, &zone);
        if (err) break;
        struct civil c = civil_of(local_of(zone, INTEGER(0)));
        while (f.size > 0) {
            size_t size = put_pattern(&buf, f, &c, INTEGER(0));
            if (size == 0 && f.at[0] == '"') { /* "text" stands for itself */
                for (size = 1; size < f.size && f.at[size] != '"'; size++)
                    buf_add_char(&buf, f.at[size]);
                if (size < f.size) size++;
            } else if (size == 0) {
                buf_add_char(&buf, f.at[0]);
                size = 1;
            }
            f.at += size, f.size -= size;
        }
        err = func_put(eval, e, out, row, &buf);
        if (err) break;
    }
    buf_free(&buf);
    return err;
}

/* Numbers: 9 and 0 are digits (0 forces them), "." the point, "," groups of thousands. */
KERNEL(to_char_dt)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    EACH_ROW(row)
    {
        struct str f = TEXT(1);
        const char *point = memchr(f.at, '.', f.size);
        int decimals = 0, zeros = 0;
        char digits[400];
        for (size_t i = 0; i < f.size; i++) {
            bool digit = f.at[i] == '9' || f.at[i] == '0';
            if (digit && point && f.at + i > point) decimals++;
            if (f.at[i] == '0' && (!point || f.at + i < point) && zeros == 0)
                for (size_t j = i; j < f.size && (!point || f.at + j < point); j++)
                    zeros += f.at[j] == '9' || f.at[j] == '0';
        }
        int n = snprintf(digits, sizeof digits, "%0*.*f", 0, decimals > 30 ? 30 : decimals,
                         fabs(NUMBER(0)));
        const char *dot = memchr(digits, '.', (size_t)n);
        int whole = dot ? (int)(dot - digits) : n;
        bool negative = NUMBER(0) < 0 && strspn(digits, "0.") < (size_t)n,
             groups = memchr(f.at, ',', f.size) != NULL;
        if (negative) buf_add_char(&buf, '-');
        for (int i = whole; i < zeros && zeros < 64; i++) buf_add_char(&buf, '0');
        for (int i = 0; i < n; i++) {
            if (groups && i > 0 && i < whole && (whole - i) % 3 == 0) buf_add_char(&buf, ',');
            buf_add_char(&buf, digits[i]);
        }
        err = func_put(eval, e, out, row, &buf);
        if (err) break;
    }
    buf_free(&buf);
    return err;
}
