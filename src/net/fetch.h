/* fetch.h - a document of another server over HTTPS, read whole.
 *
 * The client is libcurl, in lib/fetch.so, which is loaded by the first who asks: a node that
 * fetches nothing needs none of it. Only https, never redirected, and the server's certificate is
 * checked: what is fetched are such things as keys that decide who gets in.
 *
 * Thread: any that may block, one at a time for a struct fetch. */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include "base/str.h"
#include "os/os.h"

struct fetch_library;

struct fetch {
    const struct fetch_library *library; /* NULL: not loaded yet */
};

struct fetch_request {
    const char *url;               /* "https://…" */
    const char *ca_file;           /* PEM; NULL = the system's */
    const char *accept;            /* "application/json" */
    size_t bytes_max;              /* more is refused */
    int64_t timeout_ns;            /* of all of it */
    const _Atomic bool *cancelled; /* looked at about once a second; NULL = never */
};

/* Appends the document to `out`. Errors: UNSUPPORTED (no library), CONNECT (no connection, no
 * trusted certificate, another status than 200), TIMEOUT, LIMIT (too large), CANCELLED, NO_MEMORY;
 * each with what the other side said. */
enum err fetch_get(struct fetch *fetch, struct os *os, const struct fetch_request *request,
                   struct buf *out, struct why *why);

#endif
