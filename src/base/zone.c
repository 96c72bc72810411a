/* zone.c - TZif files read, and questions answered by them. See zone.h.
 *
 * The file says twice what it says, in 32 and in 64 bits; only the second is kept, where there is
 * one (RFC 8536 section 3). Its transitions end in some year, and from then on the footer's rule
 * holds. The bytes are the operating system's, or whatever lies in their place: every size is
 * checked against a named limit before it is used, and a file that is not whole is refused.
 *
 * Owns nothing: arrays lie in the caller's arena. Invariants of a zone: `at` ascends strictly;
 * every offset lies within ±26 h; zone_at gives a stretch that holds the instant, so that
 * zone_to_utc, which walks from stretch to stretch, moves on with each. */
#include "base/zone.h"
#include "base/reader.h"
#include "base/timetext.h"
#include <string.h>

enum { DAY_S = 86400, OFFSET_MAX_S = 26 * 3600 };

/* ---- the footer: POSIX TZ strings such as "CET-1CEST,M3.5.0,M10.5.0/3" ---- */

/* A cursor over the text; like the byte reader it fails once and stays failed. */
struct text {
    struct str rest;
    bool failed;
};

static char peek(const struct text *t)
{
    return t->rest.size > 0 && !t->failed ? t->rest.at[0] : 0;
}

static bool take(struct text *t, char c)
{
    if (peek(t) != c || c == 0) return false;
    t->rest.at++, t->rest.size--;
    return true;
}

static int number(struct text *t, int most)
{
    int n = 0, digits = 0;
    for (; peek(t) >= '0' && peek(t) <= '9' && digits < 4; digits++) {
        n = n * 10 + (peek(t) - '0');
        take(t, peek(t));
    }
    if (digits == 0 || n > most) t->failed = true;
    return n;
}

/* "CEST" or "<+0330>"; the name itself is of no use here. */
static void skip_name(struct text *t)
{
    size_t letters = 0;
    if (take(t, '<')) {
        while (peek(t) && peek(t) != '>') take(t, peek(t));
        if (!take(t, '>')) t->failed = true;
        return;
    }
    for (; (peek(t) >= 'A' && peek(t) <= 'Z') || (peek(t) >= 'a' && peek(t) <= 'z'); letters++)
        take(t, peek(t));
    if (letters < 3) t->failed = true;
}

/* [+-]hh[:mm[:ss]] in seconds; hours up to `most` (24; 167 in rules, RFC 8536 §3.3.1). */
static int32_t clock_of(struct text *t, int most)
{
    int sign = take(t, '-') ? -1 : (take(t, '+'), 1);
    int seconds = number(t, most) * 3600;
    if (take(t, ':')) seconds += number(t, 59) * 60;
    if (take(t, ':')) seconds += number(t, 59);
    return sign * seconds;
}

static struct zone_rule rule_of(struct text *t)
{
    struct zone_rule rule = {.kind = 'N', .seconds = 2 * 3600};
    if (take(t, 'M')) {
        rule.kind = 'M';
        rule.month = number(t, 12);
        if (!take(t, '.')) t->failed = true;
        rule.week = number(t, 5);
        if (!take(t, '.')) t->failed = true;
        rule.day = number(t, 6);
        if (rule.month < 1 || rule.week < 1) t->failed = true;
    } else {
        if (take(t, 'J')) rule.kind = 'J';
        rule.day = number(t, 365);
    }
    if (take(t, '/')) rule.seconds = clock_of(t, 167);
    return rule;
}

static bool parse_footer(struct str footer, struct zone *zone)
{
    struct text t = {footer, false};
    if (footer.size == 0) return true; /* the last transition holds for ever */
    zone->has_rule = true;
    skip_name(&t);
    zone->standard = -clock_of(&t, 24); /* POSIX counts westwards */
    if (peek(&t) == 0) return !t.failed;
    zone->has_summer = true;
    skip_name(&t);
    zone->summer = zone->standard + 3600;
    if (peek(&t) != ',') zone->summer = -clock_of(&t, 24);
    if (!take(&t, ',')) t.failed = true;
    zone->to_summer = rule_of(&t);
    if (!take(&t, ',')) t.failed = true;
    zone->to_standard = rule_of(&t);
    return !t.failed && t.rest.size == 0;
}

/* The local second of the year's change, as if local time were UTC. */
static int64_t rule_second(const struct zone_rule *rule, int year)
{
    int64_t day;
    if (rule->kind == 'M') {
        day = time_day(year, (unsigned)rule->month, 1);
        int64_t next = rule->month == 12 ? time_day(year + 1, 1, 1)
                                         : time_day(year, (unsigned)rule->month + 1, 1);
        int64_t weekday = ((day + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
        day += (rule->day - weekday + 7) % 7 + 7 * (rule->week - 1);
        while (day >= next) day -= 7; /* week 5 is the last */
    } else {
        int64_t first = time_day(year, 1, 1);
        bool leap = time_day(year + 1, 1, 1) - first == 366;
        day = first + rule->day;
        if (rule->kind == 'J') day -= !(leap && rule->day >= 60);
    }
    return day * DAY_S + rule->seconds;
}

/* The stretch around `utc_s` by rule: the changes of three years lie around it. */
static struct zone_stretch rule_at(const struct zone *zone, int64_t utc_s)
{
    struct zone_stretch s = {INT64_MIN, INT64_MAX, zone->standard};
    int year;
    unsigned month, day;
    if (!zone->has_summer) return s;
    int64_t day_number = utc_s / DAY_S - (utc_s % DAY_S < 0);
    time_civil(day_number, &year, &month, &day);
    for (int y = year - 1; y <= year + 1; y++) {
        int64_t change[2] = {rule_second(&zone->to_summer, y) - zone->standard,
                             rule_second(&zone->to_standard, y) - zone->summer};
        int32_t offset[2] = {zone->summer, zone->standard};
        for (int i = 0; i < 2; i++) {
            if (change[i] <= utc_s && change[i] >= s.from) s.from = change[i], s.offset = offset[i];
            if (change[i] > utc_s && change[i] < s.to) s.to = change[i];
        }
    }
    return s;
}

/* ---- the file ---- */

struct header {
    uint8_t version;
    size_t is_ut, is_std, leaps, transitions, types, letters;
};

static bool read_header(struct reader *r, struct header *h)
{
    struct str magic = reader_str(r, 4);
    if (!str_is(magic, "TZif")) return false;
    h->version = (uint8_t)reader_be(r, 1);
    reader_skip(r, 15);
    h->is_ut = (size_t)reader_be(r, 4);
    h->is_std = (size_t)reader_be(r, 4);
    h->leaps = (size_t)reader_be(r, 4);
    h->transitions = (size_t)reader_be(r, 4);
    h->types = (size_t)reader_be(r, 4);
    h->letters = (size_t)reader_be(r, 4);
    return reader_ok(r) && h->transitions <= ZONE_TRANSITIONS_MAX && h->types >= 1 &&
           h->types <= ZONE_TYPES_MAX && h->leaps <= ZONE_TRANSITIONS_MAX &&
           h->letters <= ZONE_FILE_BYTES_MAX && h->is_ut <= ZONE_TYPES_MAX &&
           h->is_std <= ZONE_TYPES_MAX;
}

static size_t body_bytes(const struct header *h, size_t time_bytes)
{
    return h->transitions * (time_bytes + 1) + h->types * 6 + h->letters +
           h->leaps * (time_bytes + 4) + h->is_std + h->is_ut;
}

static enum err read_body(struct reader *r, const struct header *h, size_t time_bytes,
                          struct arena *arena, struct zone *zone)
{
    int32_t offsets[ZONE_TYPES_MAX];
    int64_t *at = arena_zero(arena, h->transitions + 1, sizeof *at);
    int32_t *offset = arena_zero(arena, h->transitions + 1, sizeof *offset);
    if (!at || !offset) return ERR_NO_MEMORY;
    for (size_t i = 0; i < h->transitions; i++) {
        uint64_t bits = reader_be(r, time_bytes);
        at[i] = time_bytes == 4 ? (int32_t)(uint32_t)bits : (int64_t)bits;
        if (i > 0 && at[i] <= at[i - 1]) return ERR_CORRUPT;
    }
    const uint8_t *types = reader_take(r, h->transitions);
    for (size_t i = 0; i < h->types; i++) {
        offsets[i] = (int32_t)(uint32_t)reader_be(r, 4);
        if (offsets[i] < -OFFSET_MAX_S || offsets[i] > OFFSET_MAX_S) return ERR_CORRUPT;
        reader_skip(r, 2);
    }
    for (size_t i = 0; types && i < h->transitions; i++) {
        if (types[i] >= h->types) return ERR_CORRUPT;
        offset[i] = offsets[types[i]];
    }
    reader_skip(r, h->letters + h->leaps * (time_bytes + 4) + h->is_std + h->is_ut);
    if (!reader_ok(r)) return ERR_CORRUPT;
    zone->transition_count = h->transitions;
    zone->at = at;
    zone->offset = offset;
    zone->first_offset = offsets[0];
    return ERR_OK;
}

static enum err read_file(struct reader *r, struct arena *arena, struct zone *zone)
{
    struct header h;
    if (!read_header(r, &h)) return ERR_CORRUPT;
    if (h.version < '2') return read_body(r, &h, 4, arena, zone);
    reader_skip(r, body_bytes(&h, 4)); /* what follows says the same in 64 bits */
    if (!read_header(r, &h)) return ERR_CORRUPT;
    enum err err = read_body(r, &h, 8, arena, zone);
    if (err) return err;
    struct str footer = reader_str(r, reader_left(r));
    if (footer.size < 2 || footer.at[0] != '\n' || footer.at[footer.size - 1] != '\n')
        return ERR_CORRUPT;
    footer = (struct str){footer.at + 1, footer.size - 2};
    return parse_footer(footer, zone) ? ERR_OK : ERR_CORRUPT;
}

enum err zone_parse(const void *bytes, size_t size, struct arena *arena, struct zone *zone,
                    struct why *why)
{
    MUST((bytes || !size) && arena && zone);
    struct reader r = reader_of(bytes, size);
    *zone = (struct zone){0};
    enum err err = size > ZONE_FILE_BYTES_MAX ? ERR_CORRUPT : read_file(&r, arena, zone);
    if (err == ERR_CORRUPT)
        return why_set(why, err, "not a time zone file (TZif), wrong near byte %zu",
                       reader_offset(&r));
    return err;
}

bool zone_fixed(struct str name, struct zone *zone)
{
    *zone = (struct zone){0};
    if (str_is_nocase(name, "utc") || str_is_nocase(name, "gmt") || str_is_nocase(name, "z"))
        return true;
    if (name.size < 2 || (name.at[0] != '+' && name.at[0] != '-')) return false;
    struct text t = {{name.at + 1, name.size - 1}, false};
    bool packed = name.size == 5 && !memchr(name.at, ':', 5); /* -0330 */
    int hours = number(&t, packed ? 9999 : 23), minutes = 0;
    if (packed)
        minutes = hours % 100, hours /= 100;
    else if (take(&t, ':'))
        minutes = number(&t, 59);
    if (t.failed || t.rest.size > 0 || hours > 23 || minutes > 59) return false;
    zone->first_offset = (hours * 3600 + minutes * 60) * (name.at[0] == '-' ? -1 : 1);
    return true;
}

bool zone_name_is_safe(struct str name)
{
    if (name.size == 0 || name.size > ZONE_NAME_BYTES_MAX || name.at[0] == '/') return false;
    for (size_t i = 0; i < name.size; i++) {
        char c = name.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '_' && c != '-' && c != '+' && c != '/') return false;
    }
    return true;
}

/* ---- questions ---- */

struct zone_stretch zone_at(const struct zone *zone, int64_t utc_s)
{
    MUST(zone && zone->transition_count <= ZONE_TRANSITIONS_MAX);
    size_t low = 0, high = zone->transition_count; /* at[low - 1] ≤ utc_s < at[high] */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->at[middle] <= utc_s)
            low = middle + 1;
        else
            high = middle;
    }
    size_t count = zone->transition_count;
    struct zone_stretch s = {INT64_MIN, low < count ? zone->at[low] : INT64_MAX,
                             zone->first_offset};
    if (low > 0) s.from = zone->at[low - 1], s.offset = zone->offset[low - 1];
    if (low < count || !zone->has_rule) return s;
    struct zone_stretch by_rule = rule_at(zone, utc_s);
    if (by_rule.from < s.from) by_rule.from = s.from;
    return by_rule;
}

int64_t zone_to_utc(const struct zone *zone, int64_t local_s)
{
    int64_t at = local_s > INT64_MIN + OFFSET_MAX_S ? local_s - OFFSET_MAX_S : INT64_MIN;
    for (;;) {
        struct zone_stretch s = zone_at(zone, at);
        int64_t utc;
        if (__builtin_sub_overflow(local_s, (int64_t)s.offset, &utc))
            return s.offset > 0 ? INT64_MIN : INT64_MAX;
        if (utc < s.from) utc = s.from;
        if (utc < s.to || s.to == INT64_MAX) return utc;
        MUST(s.to > at);
        at = s.to;
    }
}
