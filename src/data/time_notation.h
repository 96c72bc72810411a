/* time_notation.h - how a file writes its times, and reading them.
 *
 * Loggers, spreadsheets and databases each write times in their own way. A notation is named by a
 * short text, which the command line finds out and shows, and the node is told:
 *   ""                     found out for each value: ISO, or an epoch number by its magnitude
 *   "iso"                  RFC 3339, "YYYY-MM-DD hh:mm:ss[.f]" or "YYYY-MM-DD"
 *   "s" "ms" "us" "ns"     a number of these since 1970, fractions too
 *   "DD.MM.YYYY hh:mm:ss"  a pattern; YYYY YY MM Mon DD hh mm ss AM Z stand for what they look
 *                          like (Z: an offset or "Z"), all else for itself. A fraction may follow
 *                          the seconds, and numbers of two digits may have one.
 * Texts without an offset are wall clock times of `zone`; at an hour that comes twice the first one
 * is meant. Used by CSV import on both sides. Thread: any; one owner, as the last stretch of the
 * zone is remembered. */
#ifndef DATA_TIME_NOTATION_H
#define DATA_TIME_NOTATION_H

#include "base/zone.h"

enum time_notation_kind {
    TIME_NOTATION_AUTO = 0,
    TIME_NOTATION_ISO,
    TIME_NOTATION_EPOCH,
    TIME_NOTATION_PATTERN,
};

enum { TIME_NOTATION_BYTES_MAX = 64 };

struct time_notation {
    enum time_notation_kind kind;
    int64_t unit_ns; /* EPOCH: of the numbers */
    char pattern[TIME_NOTATION_BYTES_MAX];
    const struct zone *zone;     /* borrowed; NULL = UTC */
    struct zone_stretch stretch; /* of the zone, used last; from == to at first */
};

/* Reads a notation's name into a notation of UTC. Errors: INVALID. */
enum err time_notation_parse(struct str name, struct time_notation *notation, struct why *why);

/* One time. False: not in this notation, no day of the calendar, or out of range (1677…2262). With
 * AUTO, numbers below 10^8 are none: what counts rows or cycles is no date, "s" says otherwise. */
bool time_notation_read(struct time_notation *notation, struct str text, int64_t *time_ns);

#endif
