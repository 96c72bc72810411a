/* http_priv.h - what the parts of the HTTP server share: server, connection, exchange.
 *
 * Who owns what: the server owns its connections, a connection its stream and at most one exchange
 * (or, after an upgrade, one WebSocket), an exchange its arena and body. An exchange that was
 * handed to a handler outlives its stream and even http_server_stop: connection and server stay as
 * shells until the handler has answered.
 *
 * Re-entrancy: handlers answer inside our calls and streams report inside our writes. Every way in
 * is therefore between http_connection_enter and _leave; memory is freed and pipelined input is
 * looked at only when the outermost one leaves.
 *
 * Who frees an exchange follows from the connection's state. In GUARD and BUSY somebody holds it:
 * it is freed when he answers, whatever happens to the connection. In HEAD, BODY and ROOM nobody
 * does, and it goes with the connection. So whoever answers brings the connection into one of the
 * first two before.
 *
 * Invariants: a connection is in the list of its `wait`, and in no other; with a stream or without,
 * it stays while it has an exchange or a socket, or is entered; in_taken ≥ what `in` holds; the
 * state SOCKET has a socket, and only it. */
#ifndef NET_HTTP_PRIV_H
#define NET_HTTP_PRIV_H

#include "loop/room.h"
#include "net/door.h"
#include "net/http.h"
#include "net/http_message.h"

enum {
    HTTP_SERVER_MAGIC = 0x68747073,
    HTTP_CONNECTION_MAGIC = 0x68747063,
    HTTP_EXCHANGE_MAGIC = 0x68747078,
    HTTP_PENDING_BYTES =
        16 * 1024, /* input kept while an exchange is under way; then the peer is paused */
    HTTP_QUEUED_BYTES = 256 * 1024,  /* output queued before a streamed answer must wait */
    HTTP_DISCARD_BYTES = 256 * 1024, /* unwanted body read over to keep the connection */
    HTTP_COMBINE_BYTES = 32 * 1024,  /* answers up to here go out in one write with their head */
    HTTP_SEGMENTS_MAX = 32,
    HTTP_BODIES_SHARE_PERCENT = 25, /* of the node's memory: bodies that are not small */
};

/* What a connection may wait for: X(symbol, seconds). Within a kind all waits are equally long, so
 * a list in the order of arrival is sorted by deadline and one timer serves the whole server. */
#define HTTP_WAIT_TABLE(X)                                                                         \
    X(NONE, 0)                                                                                     \
    X(HEAD, HTTP_HEADER_SECONDS)                                                                   \
    X(IDLE, HTTP_IDLE_SECONDS)                                                                     \
    X(BODY, 30)                                                                                    \
    X(WRITE, 60)                                                                                   \
    X(LINGER, 2)                                                                                   \
    X(SOCKET, 30)

enum http_wait {
#define X(symbol, seconds) HTTP_WAIT_##symbol,
    HTTP_WAIT_TABLE(X)
#undef X
        HTTP_WAIT_COUNT
};

enum http_state {
    HTTP_STATE_HEAD,    /* between requests, or inside a head */
    HTTP_STATE_GUARD,   /* the guard takes its time */
    HTTP_STATE_BODY,    /* collecting */
    HTTP_STATE_ROOM,    /* no memory for the body: not read until there is some */
    HTTP_STATE_BUSY,    /* the handler has it */
    HTTP_STATE_DISCARD, /* answered before the body was read: reading over it */
    HTTP_STATE_FULL,    /* answered, but the peer reads too slowly to begin the next */
    HTTP_STATE_FLUSH,   /* closes when all is written */
    HTTP_STATE_LINGER, /* answered and done, but the peer still sends: closing now could destroy the
                          answer */
    HTTP_STATE_SOCKET, /* a WebSocket */
    HTTP_STATE_COUNT
};

struct http_connection {
    unsigned magic; /* HTTP_CONNECTION_MAGIC while it lives */
    struct http_server *server;
    struct os_stream *stream; /* NULL: gone */
    struct http_connection *previous, *next;
    struct http_connection *wait_previous, *wait_next; /* of the server's list of `wait` */
    enum http_wait wait;
    enum http_state state;
    int64_t deadline_ns; /* monotonic; of `wait` */
    struct buf in;       /* bytes not yet used; no memory while idle */
    size_t in_taken;     /* of the budget */
    size_t scanned;      /* of `in`, by http_head_end */
    size_t progress;     /* of the body or of the queue since the wait began */
    size_t discard_left; /* DISCARD: bytes that are still read over */
    /* Of the request under way; is_done between requests. */
    struct http_body_reader reader;
    struct http_exchange *exchange; /* NULL: none */
    struct websocket *socket;       /* NULL: it speaks HTTP */
    unsigned entered;               /* calls of ours on the stack */
    /* held: a WebSocket's owner does not want to read on */
    bool is_paused, is_held, close_after, skipped_blank, was_served, is_tls;
};

struct http_wait_list {
    struct http_connection *first, *last;
};

struct http_server {
    unsigned magic;          /* HTTP_SERVER_MAGIC while it lives */
    struct context *context; /* borrowed, as the next */
    struct loop *loop;
    struct http_server_config config;
    struct tls_config *tls;
    struct door door;
    bool is_running; /* until http_server_stop */
    struct os_timer *timer;
    int64_t timer_ns; /* when it fires; INT64_MAX = not set */
    struct http_connection *connections;
    size_t connection_count; /* of `connections` */
    struct http_wait_list waits[HTTP_WAIT_COUNT];
    struct budget memory; /* heads, kept input, small bodies */
    struct budget bodies; /* beside it: those that are not small */
    struct room room;     /* where they wait for memory */
    int64_t date_s;       /* the wall clock's second that `date` shows; -1 = none */
    char date[40];
};

struct http_gzip;

struct http_exchange {
    unsigned magic;                     /* HTTP_EXCHANGE_MAGIC until it was answered */
    struct http_connection *connection; /* whose `exchange` it is; a shell when is_gone */
    struct http_request request;
    struct arena arena; /* the head's copy, and what handlers put there */
    const struct http_route *route;
    size_t body_limit;          /* bytes, unpacked: the route's, at most HTTP_BODY_BYTES_MAX */
    struct buf body;            /* unpacked */
    size_t body_taken;          /* of its budget … */
    struct budget *body_budget; /* … which is set when it begins */
    struct room_wait wait;      /* for memory for it … */
    size_t wait_bytes;          /* … of this size */
    struct http_gzip *gzip;     /* NULL: not packed, or not begun */
    struct buf added;           /* header lines of the answer */
    void *user;                 /* with release_user: owned */
    void (*release_user)(void *user);
    void (*on_gone)(void *arg);
    void *on_gone_arg;
    void (*on_drained)(void *arg);
    void *on_drained_arg;
    struct str segments[HTTP_SEGMENTS_MAX]; /* of the decoded path */
    size_t segment_count;
    bool is_http10, is_head, is_gzip, is_snappy, expects_continue, upgrade;
    /* The stream is gone; the head was sent; the answer goes in chunks. */
    bool is_gone, is_begun, is_chunked;
};

/* ---- http_connection.c ---- */

/* Takes the stream, also on failure (no memory), which closes it. */
void http_connection_accept(struct http_server *server, struct os_stream *stream, bool is_tls);
/* Every way in; http_connection_leave follows. */
void http_connection_enter(struct http_connection *c);
/* Looks at input that waits, frees what is over. `c` may be gone afterwards. */
void http_connection_leave(struct http_connection *c);
/* Ends the stream now; a pending exchange is told. */
void http_connection_cut(struct http_connection *c);
/* Entered. False: the connection was cut, and its exchange or socket told, which may have freed
 * them. */
bool http_connection_write(struct http_connection *c, const void *bytes, size_t size);
/* Answers a fault, frees the exchange (nobody holds it) and closes after it. Entered. */
void http_connection_fault(struct http_connection *c, enum http_fault fault);
/* The exchange was answered in full (or is cut); decides what the connection does next. */
void http_connection_next(struct http_connection *c);
/* A deadline has passed; it stands in no list. `c` may be gone afterwards. */
void http_connection_expire(struct http_connection *c);

/* ---- http_server.c ---- */

/* Begins to wait, from now on and for as long as the table says; NONE ends it. */
void http_wait_set(struct http_connection *c, enum http_wait wait);
/* Links and unlinks; the last unlinked connection of a stopped server frees it. */
void http_server_add(struct http_server *server, struct http_connection *c);
void http_server_remove(struct http_server *server, struct http_connection *c);
/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7); made once a second. */
const char *http_server_date(struct http_server *server);

/* ---- http_exchange.c ---- */

/* A head is whole: makes the exchange, finds its route, asks the guard, begins its body. */
void http_exchange_begin(struct http_connection *c, const char *bytes, size_t size);
/* There is memory for the body: reads it. */
void http_exchange_body_read(struct http_exchange *x);
/* Hands over to the handler. */
void http_exchange_dispatch(struct http_exchange *x);
/* The stream is gone. */
void http_exchange_gone(struct http_exchange *x);
/* Frees it, answered or not; its connection has none then. */
void http_exchange_free(struct http_exchange *x);

/* ---- http_answer.c ---- */

const char *http_status_text(int status);
/* Adds the status line and the headers of an answer, its empty line included. `body_size` < 0: none
 * is announced. */
void http_answer_head(struct http_exchange *x, struct buf *out, int status,
                      const char *content_type, int64_t body_size);

/* ---- http_body.c ---- */

/* Reserves memory for the body that the head announces. False: there is none now, and
 * http_exchange_body_read is called when there is, unless it is refused or the peer goes; or there
 * never will be, and it was refused. */
bool http_exchange_body_reserve(struct http_exchange *x);
/* Whether `size` more bytes as sent may be added now; false: as above, they are kept meanwhile. */
bool http_exchange_body_has_room(struct http_exchange *x, size_t size);
/* Content as sent, borrowed. Faults: GZIP, BODY_SIZE, BODY_MEMORY. */
enum http_fault http_exchange_body_add(struct http_exchange *x, struct str data);
/* It is whole: request.body is set. Faults: GZIP (cut). */
enum http_fault http_exchange_body_end(struct http_exchange *x);
/* Gives memory and budget back; also of one that has none. */
void http_exchange_body_free(struct http_exchange *x);

/* ---- http_route.c ---- */

/* Percent-decodes the target into path and query and cuts the path into segments. */
enum http_fault http_target_decode(struct http_exchange *x);
/* Finds the route for path and method, and its params. NULL: `*allow` holds the methods that would
 * do, or is empty when no route has this path. */
const struct http_route *http_route_find(struct http_exchange *x, struct buf *allow);
/* Percent-decodes into the arena; '+' is a space if `plus`. NULL at = malformed or no memory. */
struct str http_percent_decode(struct arena *arena, struct str text, bool plus);

/* ---- websocket.c ---- */

/* What the connection tells its socket; each may free it (then the connection's `socket` is NULL).
 */
void websocket_input(struct websocket *socket, const char *bytes, size_t size);
void websocket_drained(struct websocket *socket);
void websocket_tick(struct websocket *socket);
void websocket_gone(struct websocket *socket);

#endif
