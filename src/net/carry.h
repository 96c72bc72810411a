/* carry.h - streams of one task whose sockets are served by others.
 *
 * A task that serves ten thousand clients does two kinds of work for each: what its protocol asks
 * for, and moving bytes, where TLS costs most (a handshake takes a millisecond and more, in which
 * nobody else is served). Carriers take over the second kind: each is a loop that owns sockets,
 * does their TLS, and hands the bytes over a channel (loop/channel.h) whose other end is a stream
 * of the home's loop like any other. A client stays with one carrier, so its bytes keep their
 * order.
 *
 *   socket ⇄ [TLS] ⇄ carrier's loop ⇄ channel ⇄ home's loop
 *
 * Bounds: a carrier reads no more from a socket when CARRY_BYTES_MAX wait for the home, and no more
 * from the home when so many wait for the socket: then the home's os_stream_queued grows, as it
 * would without a carrier. What the home closes is written to the end before the socket is closed,
 * for CARRY_END_MS at most.
 *
 * Tasks: all of this is called on the home's task, which the carriers end before: they post to its
 * loop while they run. */
#ifndef NET_CARRY_H
#define NET_CARRY_H

#include "loop/channel.h"
#include "net/tls.h"

enum {
    CARRIERS_MAX = 16,
    CARRY_BYTES_MAX = 256 * 1024,
    CARRY_END_MS = 5000,
    CARRY_NAME_BYTES = 256,
};

struct carriers;
struct carrier;

/* NULL: no memory. No loop runs yet. */
struct carriers *carriers_new(struct os *os);
/* One of the first `count` ≤ CARRIERS_MAX with the fewest streams; those that do not run yet are
 * started. NULL: count is 0, or none can be started: the home serves the socket itself. */
struct carrier *carriers_pick(struct carriers *carriers, unsigned count);
/* Ends all loops. Every stream of theirs has been closed by the home; what is not written yet is
 * dropped. NULL allowed. */
void carriers_free(struct carriers *carriers);

/* Gives a stream on `home`, the calling task's loop, whose socket (takes it, also on failure) is
 * joined to the carrier's loop. `tls` (shares a copy of its own: takes it, also on failure; NULL =
 * plain) is the server's. `peer` is copied. The stream is owned like any other; os_stream_pause
 * (false) has it read. Errors: NO_MEMORY. */
enum err carry(struct carrier *carrier, struct loop *home, struct os_socket *socket,
               struct tls_config *tls, const char *peer, struct os_stream **stream);
/* As tls_peer_subject and tls_peer_psk, of a stream that carry gave, once something was read from
 * it.
 */
bool carried_peer_subject(const struct os_stream *stream, struct tls_subject *subject);
bool carried_peer_psk(const struct os_stream *stream, char *out, size_t out_bytes);

#endif
