/* time_notation.c - see time_notation.h. ISO is base/timetext.h's business; here are the zone that
 * it leaves out, numbers, and patterns, which are walked piece by piece beside the text. */
#include "data/time_notation.h"
#include "base/num.h"
#include "base/timetext.h"
#include <string.h>

static const struct {
    const char *name;
    int64_t ns;
} units[] = {{"s", TIME_NS_PER_S}, {"ms", TIME_NS_PER_MS}, {"us", TIME_NS_PER_US}, {"ns", 1}};
enum { UNIT_COUNT = sizeof units / sizeof units[0] };

enum { SECONDS_PER_DAY = 86400 };

/* ---- zones ---- */

/* A wall clock time as if it were UTC → UTC. The stretch used last answers where it must be the
 * right one: a day after its beginning no earlier stretch can show the same time. */
static bool from_wall(struct time_notation *n, int64_t wall_ns, int64_t *time_ns)
{
    int64_t seconds = wall_ns / TIME_NS_PER_S, rest = wall_ns % TIME_NS_PER_S, utc, ns;
    if (!n->zone) {
        *time_ns = wall_ns;
        return true;
    }
    if (rest < 0) {
        seconds--;
        rest += TIME_NS_PER_S;
    }
    const struct zone_stretch *s = &n->stretch;
    utc = seconds - s->offset;
    bool is_known = s->from < s->to && utc < s->to &&
                    (s->from == INT64_MIN || utc - SECONDS_PER_DAY >= s->from);
    if (!is_known) {
        utc = zone_to_utc(n->zone, seconds);
        n->stretch = zone_at(n->zone, utc);
    }
    if (__builtin_mul_overflow(utc, TIME_NS_PER_S, &ns)) return false;
    return !__builtin_add_overflow(ns, rest, time_ns);
}

/* ---- numbers ---- */

/* mantissa × 10^exponent units in ns, what is below one cut off. */
static bool scale(struct num_decimal d, int64_t unit_ns, int64_t *ns)
{
    if (d.mantissa > INT64_MAX) return false;
    __int128 v = (__int128)d.mantissa * unit_ns;
    for (; d.exponent > 0 && v <= INT64_MAX; d.exponent--) v *= 10;
    for (; d.exponent < 0 && v; d.exponent++) v /= 10;
    if (v > INT64_MAX) return false;
    *ns = d.negative ? -(int64_t)v : (int64_t)v;
    return true;
}

/* Seconds since 1970 have 9 to 11 digits for all times that matter, the finer units 3 more each. */
static int64_t unit_of_magnitude(struct num_decimal d)
{
    double v = (double)d.mantissa;
    for (int32_t e = d.exponent; e > 0 && v < 1e20; e--) v *= 10;
    for (int32_t e = d.exponent; e < 0 && v > 1e-3; e++) v /= 10;
    if (v < 1e8) return 0;
    return v < 1e11 ? TIME_NS_PER_S : v < 1e14 ? TIME_NS_PER_MS : v < 1e17 ? TIME_NS_PER_US : 1;
}

static bool read_number(struct str text, int64_t unit_ns, int64_t *time_ns)
{
    struct num_decimal d;
    if (!num_parse_decimal(text, &d)) return false;
    if (!unit_ns) unit_ns = unit_of_magnitude(d);
    return unit_ns && scale(d, unit_ns, time_ns);
}

/* ---- ISO ---- */

static bool has_offset(struct str text)
{
    for (size_t i = 10; i < text.size; i++)
        if (strchr("Zz+-", text.at[i]) && text.at[i]) return true;
    return false;
}

static bool read_iso(struct time_notation *n, struct str text, int64_t *time_ns)
{
    int64_t wall;
    if (!time_parse(text, &wall)) return false;
    if (n->zone && !has_offset(text)) return from_wall(n, wall, time_ns);
    *time_ns = wall;
    return true;
}

/* ---- patterns ---- */

/* What a pattern has read. */
struct pieces {
    int year, month, day, hour, minute, second;
    int64_t fraction_ns, offset_s;
    bool has_offset, has_half, is_afternoon;
};

static bool take_digits(struct str *text, size_t least, size_t most, int *value)
{
    size_t i = 0;
    int v = 0;
    for (; i < most && i < text->size && text->at[i] >= '0' && text->at[i] <= '9'; i++)
        v = v * 10 + (text->at[i] - '0');
    if (i < least) return false;
    *text = (struct str){text->at + i, text->size - i};
    *value = v;
    return true;
}

static bool take_year(struct str *text, struct pieces *p)
{
    return take_digits(text, 4, 4, &p->year);
}
static bool take_short_year(struct str *text, struct pieces *p)
{
    if (!take_digits(text, 2, 2, &p->year)) return false;
    p->year += p->year < 70 ? 2000 : 1900; /* as POSIX strptime has it, from 1970 on */
    return true;
}
static bool take_month(struct str *text, struct pieces *p)
{
    return take_digits(text, 1, 2, &p->month);
}
static bool take_day(struct str *text, struct pieces *p)
{
    return take_digits(text, 1, 2, &p->day);
}
static bool take_hour(struct str *text, struct pieces *p)
{
    return take_digits(text, 1, 2, &p->hour);
}
static bool take_minute(struct str *text, struct pieces *p)
{
    return take_digits(text, 2, 2, &p->minute);
}

static bool take_second(struct str *text, struct pieces *p)
{
    int digit;
    int64_t worth = TIME_NS_PER_S / 10;
    if (!take_digits(text, 2, 2, &p->second)) return false;
    if (text->size < 2 || (text->at[0] != '.' && text->at[0] != ',')) return true;
    if (text->at[1] < '0' || text->at[1] > '9') return true; /* the pattern's own */
    *text = (struct str){text->at + 1, text->size - 1};
    for (; take_digits(text, 1, 1, &digit); worth /= 10) p->fraction_ns += digit * worth;
    return true;
}

static bool take_month_name(struct str *text, struct pieces *p)
{
    static const char *const names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                        "jul", "aug", "sep", "oct", "nov", "dec"};
    for (int i = 0; i < 12 && text->size >= 3; i++) {
        if (!str_is_nocase((struct str){text->at, 3}, names[i])) continue;
        *text = (struct str){text->at + 3, text->size - 3};
        p->month = i + 1;
        return true;
    }
    return false;
}

static bool take_half(struct str *text, struct pieces *p)
{
    if (text->size < 2) return false;
    struct str half = {text->at, 2};
    p->has_half = true;
    p->is_afternoon = str_is_nocase(half, "pm");
    *text = (struct str){text->at + 2, text->size - 2};
    return p->is_afternoon || str_is_nocase(half, "am");
}

static bool take_offset(struct str *text, struct pieces *p)
{
    int hours, minutes = 0;
    p->has_offset = true;
    if (text->size == 0) return false;
    char sign = text->at[0];
    *text = (struct str){text->at + 1, text->size - 1};
    if (sign == 'Z' || sign == 'z') return true;
    if ((sign != '+' && sign != '-') || !take_digits(text, 2, 2, &hours)) return false;
    if (text->size && text->at[0] == ':') *text = (struct str){text->at + 1, text->size - 1};
    (void)take_digits(text, 2, 2, &minutes); /* "+08" */
    p->offset_s = (int64_t)(hours * 60 + minutes) * (sign == '-' ? -60 : 60);
    return hours < 24 && minutes < 60;
}

/* Longer names come before those they begin with. */
static const struct {
    const char *name;
    bool (*take)(struct str *text, struct pieces *p);
    unsigned bit; /* what of a date it gives */
} pattern_pieces[] = {
    {"YYYY", take_year, 1}, {"YY", take_short_year, 1}, {"Mon", take_month_name, 2},
    {"MM", take_month, 2},  {"DD", take_day, 4},        {"hh", take_hour, 0},
    {"mm", take_minute, 0}, {"ss", take_second, 0},     {"AM", take_half, 0},
    {"Z", take_offset, 0},
};
enum { PIECE_COUNT = sizeof pattern_pieces / sizeof pattern_pieces[0] };

/* The piece that a pattern begins with, or PIECE_COUNT. */
static size_t find_piece(const char *pattern)
{
    size_t i = 0;
    while (i < PIECE_COUNT &&
           strncmp(pattern, pattern_pieces[i].name, strlen(pattern_pieces[i].name)) != 0)
        i++;
    return i;
}

/* The instant that the pieces name, still by the wall clock. */
static bool join(const struct pieces *p, int64_t *wall_ns)
{
    int hour = p->hour, year;
    unsigned month, day;
    if (p->has_half && (hour < 1 || hour > 12)) return false;
    if (p->has_half) hour = hour % 12 + (p->is_afternoon ? 12 : 0);
    if (p->month < 1 || p->month > 12 || p->day < 1 || hour > 23 || p->minute > 59 ||
        p->second > 60)
        return false;
    int64_t number = time_day(p->year, (unsigned)p->month, (unsigned)p->day);
    time_civil(number, &year, &month, &day); /* 31 April comes back as 1 May */
    if (month != (unsigned)p->month || day != (unsigned)p->day) return false;
    int64_t of_day = ((int64_t)(hour * 60 + p->minute) * 60 + p->second) * TIME_NS_PER_S;
    /* The first day of the range begins before it. */
    __int128 ns = (__int128)number * TIME_NS_PER_DAY + of_day + p->fraction_ns;
    if (ns < INT64_MIN || ns > INT64_MAX) return false;
    *wall_ns = (int64_t)ns;
    return true;
}

static bool read_pattern(struct time_notation *n, struct str text, int64_t *time_ns)
{
    struct pieces p = {.year = 1970, .month = 1, .day = 1};
    int64_t wall;
    for (const char *at = n->pattern; *at;) {
        size_t i = find_piece(at);
        if (i == PIECE_COUNT) {
            if (text.size == 0 || text.at[0] != *at) return false;
            text = (struct str){text.at + 1, text.size - 1};
            at++;
            continue;
        }
        if (!pattern_pieces[i].take(&text, &p)) return false;
        at += strlen(pattern_pieces[i].name);
    }
    if (text.size || !join(&p, &wall)) return false;
    if (!p.has_offset) return from_wall(n, wall, time_ns);
    return !__builtin_sub_overflow(wall, p.offset_s * TIME_NS_PER_S, time_ns);
}

/* ---- public ---- */

enum err time_notation_parse(struct str name, struct time_notation *n, struct why *why)
{
    unsigned has = 0;
    *n = (struct time_notation){.kind = TIME_NOTATION_AUTO};
    if (name.size == 0 || str_is(name, "auto")) return ERR_OK;
    if (str_is(name, "iso")) {
        n->kind = TIME_NOTATION_ISO;
        return ERR_OK;
    }
    for (size_t i = 0; i < UNIT_COUNT; i++) {
        if (!str_is(name, units[i].name)) continue;
        n->kind = TIME_NOTATION_EPOCH;
        n->unit_ns = units[i].ns;
        return ERR_OK;
    }
    n->kind = TIME_NOTATION_PATTERN;
    bool fits = str_copy(n->pattern, sizeof n->pattern, name);
    for (const char *at = n->pattern; fits && *at;) {
        size_t i = find_piece(at);
        if (i < PIECE_COUNT) has |= pattern_pieces[i].bit;
        at += i < PIECE_COUNT ? strlen(pattern_pieces[i].name) : 1;
    }
    if (fits && has == 7) return ERR_OK;
    return why_set(why, ERR_INVALID,
                   "time notation '%.*s': must be auto, iso, s, ms, us, ns or a pattern with year, "
                   "month and day, such as DD.MM.YYYY hh:mm:ss",
                   (int)(name.size > 80 ? 80 : name.size), name.at);
}

bool time_notation_read(struct time_notation *n, struct str text, int64_t *time_ns)
{
    switch (n->kind) {
    case TIME_NOTATION_AUTO: return read_iso(n, text, time_ns) || read_number(text, 0, time_ns);
    case TIME_NOTATION_ISO: return read_iso(n, text, time_ns);
    case TIME_NOTATION_EPOCH: MUST(n->unit_ns > 0); return read_number(text, n->unit_ns, time_ns);
    case TIME_NOTATION_PATTERN: return read_pattern(n, text, time_ns);
    }
    return false;
}
