/* zone.h - time zones: what a wall clock in Shanghai or New York shows at an instant, and back.
 *
 * A zone is read from the bytes of a TZif file (RFC 8536), the form in which every Linux keeps the
 * IANA database below /usr/share/zoneinfo. Why not libc: localtime_r knows one zone at a time,
 * taken from an environment variable, which threads cannot share. Who reads the file is the
 * caller's business; nothing here touches the world. Seconds count from 1970-01-01T00:00:00Z.
 * Thread: a zone is never changed after zone_parse. */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H

#include "base/mem.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    ZONE_NAME_BYTES_MAX = 64,
    ZONE_FILE_BYTES_MAX = 64 << 10, /* the largest in the database has 4 KiB */
    ZONE_TRANSITIONS_MAX = 4096,
    ZONE_TYPES_MAX = 256,
};

/* One of the two days a year on which a rule of the form "M3.2.0/2" changes the clock. */
struct zone_rule {
    char kind; /* 'M' month.week.weekday, 'J' day 1…365 without leap days, 'N' day 0…365 */
    int month, week, day;
    int32_t seconds; /* of the local day; may be negative or beyond 24 h */
};

struct zone {
    size_t transition_count;
    const int64_t *at;     /* [transition_count] ascending, UTC seconds */
    const int32_t *offset; /* [transition_count] of local time from UTC since then, in seconds */
    int32_t first_offset;  /* before the first transition */
    /* After the last transition (the file's footer, a POSIX TZ string). */
    bool has_rule, has_summer;
    int32_t standard, summer;
    struct zone_rule to_summer, to_standard;
};

/* A stretch of time with one offset: from ≤ t < to; INT64_MIN and INT64_MAX are open ends. */
struct zone_stretch {
    int64_t from, to;
    int32_t offset;
};

/* Reads a TZif file; its arrays live in `arena`. Errors: CORRUPT (why says where), NO_MEMORY. */
enum err zone_parse(const void *bytes, size_t size, struct arena *arena, struct zone *zone,
                    struct why *why);

/* Gives a zone without transitions. A zone that needs no file: "UTC", "GMT", "Z", "+08:00",
 * "-0330", "+8". False: another name. */
bool zone_fixed(struct str name, struct zone *zone);

/* Whether the name may be asked of the database: letters, digits, "_", "-", "+" and "/" inside, no
 * "." at all, so that it cannot leave the folder. */
bool zone_name_is_safe(struct str name);

/* The stretch that holds the instant: from ≤ utc_s < to. `utc_s` as of a time in nanoseconds
 * (timetext.h): years −9999 to 9999 and more, so no calendar arithmetic overflows. */
struct zone_stretch zone_at(const struct zone *zone, int64_t utc_s);

/* The first instant at which the wall clock shows `local_s` (seconds as if it were UTC) or, where
 * the clock leaps over it, the instant of the leap. */
int64_t zone_to_utc(const struct zone *zone, int64_t local_s);

#endif
