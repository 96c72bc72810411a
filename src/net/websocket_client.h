/* websocket_client.h - a stream of bytes in binary messages of WebSocket (RFC 6455), as a client,
 * on top of another stream: TCP, or TLS over it (tls.h).
 *
 * How messages are cut says nothing, as in MQTT over WebSocket (MQTT 5.0 section 6). The server's
 * answer is read strictly: status 101, its three headers, the sub-protocol that was asked for.
 * Thread: the stream's. */
#ifndef NET_WEBSOCKET_CLIENT_H
#define NET_WEBSOCKET_CLIENT_H

#include "os/os.h"

/* Takes `below`, also on failure. The owner is set with os_stream_own at once; on_open comes when
 * the server has agreed; there is no limit of time in here. `host` as in the header Host, `path`
 * with its query. Errors: NO_MEMORY. */
enum err websocket_wrap_client(struct os *os, struct os_task *task, const char *host,
                               const char *path, const char *protocol, struct os_stream *below,
                               struct os_stream **stream);

enum { WEBSOCKET_HEAD_BYTES_MAX = 8 * 1024, WEBSOCKET_ACCEPT_BYTES = 32 };

/* Whether a server's head (with its empty line) agrees. Errors: CONNECT with what it says instead.
 * Any thread. */
enum err websocket_read_answer(struct str head, const char *accept, const char *protocol,
                               struct why *why);
/* Sec-WebSocket-Accept for a key of 24 bytes (section 4.2.2). Any thread. */
void websocket_accept_value(const char *key, char out[WEBSOCKET_ACCEPT_BYTES]);

#endif
