/* timetext.h - times and durations to and from text.
 *
 * A time is int64 nanoseconds since 1970-01-01T00:00:00Z without leap seconds (1677…2262). Text
 * form: RFC 3339. Thread: any; nothing allocates; the system's time zone is never used. */
#ifndef BASE_TIMETEXT_H
#define BASE_TIMETEXT_H

#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define TIME_NS_PER_US  INT64_C(1000)
#define TIME_NS_PER_MS  INT64_C(1000000)
#define TIME_NS_PER_S   INT64_C(1000000000)
#define TIME_NS_PER_DAY (INT64_C(86400) * TIME_NS_PER_S)

enum { TIME_TEXT_BYTES = 36 };

/* "2026-11-21T03:04:05.123Z": up to 9 digits, trailing zeros trimmed. Returns the length;
 * terminated. */
size_t time_format(int64_t time_ns, char out[TIME_TEXT_BYTES]);
/* The same text, appended. */
void buf_add_time(struct buf *buf, int64_t time_ns);

/* RFC 3339 with 'T', 't' or a space; zone 'Z' or ±hh:mm (absent: UTC); seconds and the time of day
 * may be absent ("2026-11-21"). More than 9 fraction digits are cut. False when malformed or out of
 * range. */
bool time_parse(struct str text, int64_t *time_ns);

/* Civil date of a day number (days since 1970-01-01) and back; proleptic Gregorian calendar. Month
 * 1 to 12, day of month 1 to 31; one that the month does not have counts on into the next. */
void time_civil(int64_t day, int *year, unsigned *month, unsigned *day_of_month);
int64_t time_day(int year, unsigned month, unsigned day_of_month);

/* Durations: a list of <integer><unit>: ns us ms s m h d w ("1h30m", "500ms"). False when
 * malformed, negative or out of range. */
bool duration_parse(struct str text, int64_t *duration_ns);
/* The same form, largest units first ("1h30m", "0s"); weeks as days, and a negative one, which is
 * not read back, with a minus in front. */
void buf_add_duration(struct buf *buf, int64_t duration_ns);

#endif
