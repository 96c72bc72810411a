/* timetext.c - see timetext.h. The calendar arithmetic counts eras of 400 years beginning on 1
 * March, so that the leap day is the last of its year and no table of month lengths is needed. */
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

enum { DAYS_PER_ERA = 146097, DAYS_TO_1970 = 719468 };

int64_t time_day(int year, unsigned month, unsigned day_of_month)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year =
        (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day_of_month - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
}

void time_civil(int64_t day, int *year, unsigned *month, unsigned *day_of_month)
{
    int64_t z = day + DAYS_TO_1970;
    int64_t era = (z >= 0 ? z : z - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    int64_t day_of_era = z - era * DAYS_PER_ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153; /* 0 = March */
    *day_of_month = (unsigned)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (unsigned)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = (int)(year_of_era + era * 400 + (*month <= 2));
}

size_t time_format(int64_t time_ns, char out[TIME_TEXT_BYTES])
{
    int64_t day = time_ns / TIME_NS_PER_DAY, rest = time_ns % TIME_NS_PER_DAY;
    if (rest < 0) {
        day--;
        rest += TIME_NS_PER_DAY;
    }
    int year;
    unsigned month, day_of_month;
    time_civil(day, &year, &month, &day_of_month);
    int64_t seconds = rest / TIME_NS_PER_S, fraction = rest % TIME_NS_PER_S;
    int n =
        snprintf(out, TIME_TEXT_BYTES, "%04d-%02u-%02uT%02d:%02d:%02d", year, month, day_of_month,
                 (int)(seconds / 3600), (int)(seconds / 60 % 60), (int)(seconds % 60));
    if (fraction) {
        n += snprintf(out + n, (size_t)(TIME_TEXT_BYTES - n), ".%09d", (int)fraction);
        while (out[n - 1] == '0') n--;
    }
    out[n++] = 'Z';
    out[n] = 0;
    return (size_t)n;
}

void buf_add_time(struct buf *buf, int64_t time_ns)
{
    char text[TIME_TEXT_BYTES];
    buf_add(buf, text, time_format(time_ns, text));
}

/* Takes exactly `digits` digits off `text`. */
static bool take_number(struct str *text, unsigned digits, int *value)
{
    if (text->size < digits) return false;
    int v = 0;
    for (unsigned i = 0; i < digits; i++) {
        unsigned digit = (unsigned)(text->at[i] - '0');
        if (digit > 9) return false;
        v = v * 10 + (int)digit;
    }
    text->at += digits;
    text->size -= digits;
    *value = v;
    return true;
}

static bool take_char(struct str *text, const char *any_of)
{
    if (text->size == 0 || !text->at[0] || !strchr(any_of, text->at[0])) return false;
    text->at++, text->size--;
    return true;
}

static bool take_date(struct str *text, int64_t *day)
{
    int year, month, day_of_month;
    if (!take_number(text, 4, &year) || !take_char(text, "-") || !take_number(text, 2, &month) ||
        !take_char(text, "-") || !take_number(text, 2, &day_of_month))
        return false;
    if (month < 1 || month > 12 || day_of_month < 1) return false;
    *day = time_day(year, (unsigned)month, (unsigned)day_of_month);
    int back_year; /* 31 April comes back as 1 May */
    unsigned back_month, back_day;
    time_civil(*day, &back_year, &back_month, &back_day);
    return back_month == (unsigned)month && back_day == (unsigned)day_of_month;
}

static void take_fraction(struct str *text, int64_t *fraction_ns)
{
    int64_t scale = TIME_NS_PER_S / 10;
    for (; text->size && text->at[0] >= '0' && text->at[0] <= '9'; text->at++, text->size--) {
        *fraction_ns += (text->at[0] - '0') * scale;
        scale /= 10;
    }
}

static bool take_time_of_day(struct str *text, int64_t *ns)
{
    int hour, minute, second = 0;
    int64_t fraction = 0;
    if (!take_number(text, 2, &hour) || !take_char(text, ":") || !take_number(text, 2, &minute))
        return false;
    if (take_char(text, ":")) {
        if (!take_number(text, 2, &second)) return false;
        if (take_char(text, ".,")) {
            if (text->size == 0 || text->at[0] < '0' || text->at[0] > '9') return false;
            take_fraction(text, &fraction);
        }
    }
    if (hour > 23 || minute > 59 || second > 60) return false;
    *ns = ((int64_t)(hour * 60 + minute) * 60 + second) * TIME_NS_PER_S + fraction;
    return true;
}

static bool take_zone(struct str *text, int64_t *offset_ns)
{
    *offset_ns = 0;
    if (text->size == 0 || take_char(text, "Zz")) return text->size == 0;
    bool west = text->at[0] == '-';
    int hour, minute = 0;
    if (!take_char(text, "+-") || !take_number(text, 2, &hour)) return false;
    take_char(text, ":");
    if (text->size && !take_number(text, 2, &minute)) return false;
    if (text->size || hour > 23 || minute > 59) return false;
    *offset_ns = (int64_t)(hour * 60 + minute) * 60 * TIME_NS_PER_S * (west ? -1 : 1);
    return true;
}

bool time_parse(struct str text, int64_t *time_ns)
{
    int64_t day, of_day = 0, offset = 0;
    if (!take_date(&text, &day)) return false;
    if (text.size && (!take_char(&text, "Tt ") || !take_time_of_day(&text, &of_day))) return false;
    if (!take_zone(&text, &offset)) return false;
    /* The first day of the range begins before it. */
    __int128 ns = (__int128)day * TIME_NS_PER_DAY + of_day - offset;
    if (ns < INT64_MIN || ns > INT64_MAX) return false;
    *time_ns = (int64_t)ns;
    return true;
}

static const struct {
    const char *name;
    int64_t ns;
} units[] = {
    {"w", 7 * TIME_NS_PER_DAY},  {"d", TIME_NS_PER_DAY},
    {"h", 3600 * TIME_NS_PER_S}, {"m", 60 * TIME_NS_PER_S},
    {"s", TIME_NS_PER_S},        {"ms", TIME_NS_PER_MS},
    {"us", TIME_NS_PER_US},      {"ns", 1},
};
enum { UNIT_COUNT = sizeof units / sizeof units[0] };

bool duration_parse(struct str text, int64_t *duration_ns)
{
    int64_t total = 0;
    if (text.size == 0) return false;
    while (text.size) {
        int64_t v = 0;
        size_t digits = 0, letters = 0;
        for (; digits < text.size && text.at[digits] >= '0' && text.at[digits] <= '9'; digits++)
            if (__builtin_mul_overflow(v, 10, &v) ||
                __builtin_add_overflow(v, text.at[digits] - '0', &v))
                return false;
        while (digits + letters < text.size && text.at[digits + letters] >= 'a' &&
               text.at[digits + letters] <= 'z')
            letters++;
        struct str unit = {text.at + digits, letters};
        size_t i = 0;
        while (i < UNIT_COUNT && !str_is(unit, units[i].name)) i++;
        if (digits == 0 || i == UNIT_COUNT || __builtin_mul_overflow(v, units[i].ns, &v) ||
            __builtin_add_overflow(total, v, &total))
            return false;
        text.at += digits + letters;
        text.size -= digits + letters;
    }
    *duration_ns = total;
    return true;
}

void buf_add_duration(struct buf *buf, int64_t duration_ns)
{
    if (duration_ns < 0) {
        buf_add_char(buf, '-');
        duration_ns = duration_ns == INT64_MIN ? INT64_MAX : -duration_ns;
    }
    if (duration_ns == 0) buf_add_text(buf, "0s");
    for (size_t i = 1; i < UNIT_COUNT; i++) { /* weeks are read, not written */
        if (duration_ns < units[i].ns) continue;
        buf_add_i64(buf, duration_ns / units[i].ns);
        buf_add_text(buf, units[i].name);
        duration_ns %= units[i].ns;
    }
}
