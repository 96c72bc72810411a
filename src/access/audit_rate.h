/* audit_rate.h - lines of the audit log that somebody can cause as often as he likes: requests that
 * are refused, and logins that are accepted.
 *
 * The log keeps a fixed number of files, so a line for each would push out what was done by those
 * who may. Each user has AUDIT_RATE_LINES of them a minute; the others are counted, and the minute
 * ends with one line for each user and verb of which there were more: nothing is dropped uncounted.
 * A program that is killed loses the counts of one minute at most, never a line. (What a stranger
 * causes before he is anybody is limited over all names: login_lines.h.) Main loop only. */
#ifndef ACCESS_AUDIT_RATE_H
#define ACCESS_AUDIT_RATE_H

#include "access/access.h"
#include "access/audit.h"

enum {
    AUDIT_RATE_LINES = 20,         /* a minute, of each user */
    AUDIT_RATE_BUCKETS = 256,      /* of users, by hash: those of one share its lines */
    AUDIT_RATE_SUMS = 16,          /* users and verbs that are told by name; others together */
    AUDIT_RATE_DETAIL_BYTES = 512, /* of such a line; the rest is cut */
};

struct audit_rate_sum {
    uint64_t count; /* 0 = free */
    char user[ACCESS_USER_BYTES], verb[16];
};

/* All zero = nothing seen yet. */
struct audit_rate {
    int64_t minute_began_ns;
    uint8_t lines[AUDIT_RATE_BUCKETS]; /* in this minute; at most AUDIT_RATE_LINES */
    struct audit_rate_sum sums[AUDIT_RATE_SUMS];
    uint64_t others;     /* counted for nobody by name */
    const char *outcome; /* of the summed lines; a literal */
};

/* Writes the entry, or counts it. Errors: those of audit_append. */
enum err audit_rate_add(struct audit_rate *rate, struct audit *audit,
                        const struct audit_entry *entry, int64_t mono_ns);
/* When a minute is over: writes what was counted in it; to be called about once a second. Errors:
 * those of audit_append; what could not be written stays counted. */
enum err audit_rate_tick(struct audit_rate *rate, struct audit *audit, int64_t mono_ns);
/* Writes what was counted, before the end. Errors: the same. */
enum err audit_rate_flush(struct audit_rate *rate, struct audit *audit);

#endif
