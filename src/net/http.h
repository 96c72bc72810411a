/* http.h - the HTTP server: requests in, responses out, over any byte stream.
 *
 * The route table decides who answers; a handler gets a whole request and answers now or later,
 * from the main loop. Protocol (HTTP/1.1 today, HTTP/2 behind the same types later), keep-alive,
 * limits and time-outs are in here. Everything runs on the listener's loop.
 *
 * Life of an exchange: headers parsed → route found → (body collected up to the route's limit) →
 * handler → the answer with http_reply, or http_begin + http_send… + http_end for a stream → the
 * next request of the connection. Requests on one connection are answered in order; pipelined ones
 * wait. */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "loop/context.h"
#include "net/tls.h"

enum {
    HTTP_HEADERS_MAX = 100,
    HTTP_HEADER_BYTES_MAX = 16 * 1024, /* request line and headers together */
    HTTP_BODY_BYTES_MAX = 32 * 1024 * 1024,
    HTTP_CONNECTIONS_MAX = 1024, /* per server; more are refused with 503 and counted */
    HTTP_HEADER_SECONDS = 10,    /* a request's headers must be whole by then */
    HTTP_IDLE_SECONDS = 75,
    HTTP_PARAMS_MAX = 4,
};

struct http_server;
struct http_exchange;

struct http_header {
    struct str name, value; /* name as sent */
};

/* A parsed request; lives until the exchange's end. */
struct http_request {
    struct str method; /* "GET" */
    struct str target; /* as sent */
    struct str path;   /* percent-decoded, without query; checked UTF-8, no NUL */
    struct str query;  /* raw, without '?' */
    size_t header_count;
    const struct http_header *headers;
    struct str body; /* whole; Content-Encoding gzip was undone (within the limit) */
    struct str params[HTTP_PARAMS_MAX]; /* what the route's {} segments matched */
    bool is_tls;
    const char *peer; /* "127.0.0.1:41234" */
};

/* The value of the first header of that name (ASCII case-insensitive), borrowed, or an empty slice
 * (at NULL). */
struct str http_header(const struct http_request *request, const char *name);
/* A percent-decoded query parameter in the exchange's arena; false when absent. */
bool http_query(struct http_exchange *exchange, const char *name, struct str *value);
/* The same of a body of type application/x-www-form-urlencoded. */
bool http_form(struct http_exchange *exchange, const char *name, struct str *value);

/* One way in. Method "*" = any; GET serves HEAD too. Path segments: literal, "{}" (one segment, not
 * empty, becomes a param), or a last "{*}" (the rest, with slashes, may be empty). From the left, a
 * literal segment wins over {}, and {} over {*}; among equals the first of the table. The path
 * decides before the method: when the best pattern has no route for the method, the answer is 405
 * with Allow (204 to OPTIONS). A "%2F" never separates segments. */
struct http_route {
    const char *method, *path;
    /* Is given the exchange: it answers, now or later, exactly once. */
    void (*handle)(struct http_exchange *exchange, void *arg);
    size_t body_limit; /* bytes; larger bodies are answered 413 before they are read */
    unsigned flags;    /* the caller's own (e.g. "no login needed") */
    const char *help;  /* for the generated reference */
    bool takes_snappy; /* Content-Encoding: snappy is let through; the handler undoes it */
};

/* Called when the head is whole and before any of the body is read, so that strangers cost no
 * memory: true = go on; false = it has answered itself (401, 403…), or will later either answer or
 * call http_resume (a password is checked on a worker). request->body is empty here. May be NULL.
 */
typedef bool http_guard(struct http_exchange *exchange, const struct http_route *route, void *arg);

struct http_server_config {
    const struct http_route *routes; /* static, ended by a NULL path */
    http_guard *guard;
    void *arg; /* of guard and handlers */
    /* Answers errors made in here (404, 405, 413, 431, 400…) as JSON {"error":{"code","message"}}.
     */
};

/* Thread: `loop`'s. `tls` NULL = plain. Errors: ADDRESS_IN_USE, TLS… name the address. */
enum err http_server_start(struct context *context, struct loop *loop,
                           const struct os_address *address, struct tls_config *tls,
                           const struct http_server_config *config, struct http_server **server,
                           struct os_address *bound, struct why *why);
/* Moves it: who is connected stays. `bound` receives where it listens then. Errors: as door_move's.
 */
enum err http_server_listen(struct http_server *server, const struct os_address *address,
                            struct os_address *bound, struct why *why);
/* Stops listening, ends open connections (answers under way are cut). NULL allowed. Exchanges that
 * handlers hold outlive it: so do context and loop, until the last of them was answered. */
void http_server_stop(struct http_server *server);
/* Open ones, and those that a handler still holds an exchange of. */
size_t http_server_connections(const struct http_server *server);

/* ---- inside a handler, and later on the same loop ---- */

/* A guard that returned false and did not answer lets the exchange go on. Takes it: the handler may
 * have answered when it returns, or the peer may have gone and the exchange with it. */
void http_resume(struct http_exchange *exchange);

/* Borrowed until the exchange ends. */
const struct http_request *http_request_of(const struct http_exchange *exchange);
struct arena *http_arena(struct http_exchange *exchange); /* freed with the exchange */
void *http_user(const struct http_exchange *exchange);    /* what the guard left: the identity */
/* Takes `user`; released with the exchange, or when another is set. */
void http_set_user(struct http_exchange *exchange, void *user, void (*release)(void *user));
/* The peer went away: the exchange is kept until the handler answers (the answer is dropped).
 * `on_gone` may be used to cancel work; it may come inside http_begin or http_send, never inside or
 * after the call that ends the exchange. http_server_stop makes every exchange gone; a handler may
 * answer after it all the same. */
bool http_is_gone(const struct http_exchange *exchange);
void http_on_gone(struct http_exchange *exchange, void (*on_gone)(void *arg), void *arg);

/* Adds a header to the answer; before reply/begin. Name and value are copied; CR and LF in a value
 * are refused. */
void http_add_header(struct http_exchange *exchange, const char *name, const char *value);
/* As http_reply_error for what has no enum err: the message is the whole text. */
void http_reply_status(struct http_exchange *exchange, int status, const char *code,
                       const char *message);
/* The whole answer; ends the exchange (do not use it after). `body` copied. */
void http_reply(struct http_exchange *exchange, int status, const char *content_type,
                struct str body);
/* The same with what was gathered in `body`: when that ran out of memory, no part of it is sent,
 * but NO_MEMORY, or, where `status` tells of an error already, that alone. */
void http_reply_buf(struct http_exchange *exchange, int status, const char *content_type,
                    const struct buf *body);
/* {"error":{"code":"NO_TABLE","message":…,"position":…}} with the error's status. */
void http_reply_error(struct http_exchange *exchange, enum err err, const struct why *why);
/* A streamed answer (chunked). http_send copies; `*wait` true = the peer is slow: send no more
 * until `on_drained` was called (or the exchange is gone). http_end ends the exchange; with an
 * error the connection is cut so that the peer sees that the answer is not whole. */
void http_begin(struct http_exchange *exchange, int status, const char *content_type);
void http_send(struct http_exchange *exchange, struct str bytes, bool *wait);
void http_on_drained(struct http_exchange *exchange, void (*on_drained)(void *arg), void *arg);
void http_end(struct http_exchange *exchange, enum err err);

/* ---- WebSocket (RFC 6455) ---- */

/* The connection's; its owner may use it until on_closed. Thread: the listener's loop. */
struct websocket;
/* Static. Any may be NULL; on_message and on_bytes exclude each other. */
struct websocket_events {
    void (*on_message)(void *owner, bool is_text, struct str message); /* ≤ 1 MiB; borrowed */
    void (*on_drained)(void *owner);
    void (*on_closed)(
        void *owner); /* no further event; the owner must not use the socket any more */
    /* Set instead of on_message by who sees a stream of bytes: what binary messages hold, of any
     * size, as it comes and unbuffered; text is refused (1003). */
    void (*on_bytes)(void *owner, struct str bytes);
};
/* Turns a GET exchange with the right headers into a WebSocket (NULL and a 400 answer otherwise);
 * either way the exchange is over. Headers added before (Sec-WebSocket-Protocol, Set-Cookie) go out
 * with the 101. Events never come before it returns. Pings every 30 s; a peer silent for 90 s is
 * closed. What the guard set with http_set_user is released here: the owner takes its own share. */
struct websocket *websocket_accept(struct http_exchange *exchange,
                                   const struct websocket_events *events, void *owner);
/* Sends one message, copied. False when more than `limit` bytes are queued (the caller drops or
 * waits for on_drained) or when the socket closes; on_closed may come inside the call. */
bool websocket_send(struct websocket *socket, bool is_text, struct str message, size_t limit);
/* What was sent and is not yet with the kernel. */
size_t websocket_queued(const struct websocket *socket);
/* Stops and resumes reading: back-pressure towards the peer, whose silence does not count then. */
void websocket_pause(struct websocket *socket, bool paused);
/* The closing handshake (RFC 6455 section 7.1.2): `code` 1000 to 4999, `reason` at most 123 bytes.
 */
void websocket_close(struct websocket *socket, int code,
                     const char *reason); /* on_closed follows, or
                                                  came inside the call */

#endif
