/* sessions.h - who is connected: the list behind sys.sessions.
 *
 * Every listener keeps one entry in each of its connections (or, over HTTP, in each statement) and
 * says on demand what it is; nothing is copied until somebody asks. Main loop. */
#ifndef LISTENERS_SESSIONS_H
#define LISTENERS_SESSIONS_H

#include "listeners/service.h"

struct session_row {
    struct str user, address, ns, statement; /* borrowed until the next turn; "" = none */
    int64_t statement_ns;                    /* wall clock when it began; 0 = none runs */
};

struct session {
    struct session *next, **link; /* link NULL: in no list */
    const char *kind;             /* "postgres"; static */
    int64_t since_ns;             /* wall clock */
    void (*describe)(const struct session *session, struct session_row *row);
};

/* Into the list until session_remove, and before the list's end; the struct is the caller's, and in
 * no list yet. `describe` says what it is just now. */
void session_add(struct service *service, struct session *session, const char *kind,
                 void (*describe)(const struct session *session, struct session_row *row));
void session_remove(struct session *session); /* nothing when it was never added */

#endif
