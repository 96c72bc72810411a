/* login_lines.h - which logins get a line of their own in the audit log.
 *
 * Anybody can cause refused logins, as many as he likes, and the audit log keeps a fixed number of
 * files: a line for each would push out what was done by those who may. So a minute holds at most
 * LOGIN_LINES_A_MINUTE lines of refused logins; the others, and those that were turned away because
 * too many came at once (no password was looked at), are counted into one line at its end.
 * Accepted logins have AUDIT_RATE_LINES for each user (audit_rate.h): a device that connects again
 * and again, or anybody where no login is asked for. Main loop only. */
#ifndef ACCESS_LOGIN_LINES_H
#define ACCESS_LOGIN_LINES_H

#include "access/audit_rate.h"

enum {
    LOGIN_LINES_A_MINUTE = 60,
    LOGIN_LINE_USER_BYTES = 64, /* of the name that a stranger sent; the rest is cut */
};

/* All zero = nothing seen yet. */
struct login_lines {
    int64_t minute_began_ns;
    unsigned line_count;           /* of refused logins in this minute */
    uint64_t refused, turned_away; /* counted, not yet in a line */
    struct audit_rate accepted;
};

struct login_line {
    int64_t mono_ns;
    struct str user, peer; /* borrowed during the call */
    /* OK = let in; BUSY = turned away; CANCELLED = the node stops, nobody was told anything. */
    enum err err;
};

/* Writes the line of one login, or counts it; of one that was cancelled nothing, `audit` may then
 * be NULL: it comes when the log is closed. Errors: those of audit_append. */
enum err login_lines_add(struct login_lines *lines, struct audit *audit,
                         const struct login_line *line);
/* When a minute is over: writes what was counted in it; to be called about once a second. Errors:
 * those of audit_append; the counts are then kept. */
enum err login_lines_tick(struct login_lines *lines, struct audit *audit, int64_t mono_ns);
/* Writes what was counted, before the end. Errors: the same. */
enum err login_lines_flush(struct login_lines *lines, struct audit *audit);

#endif
