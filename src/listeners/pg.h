/* pg.h - the PostgreSQL listener: frontend/backend protocol 3.0, so that psql, drivers and
 * dashboards find here the database that they know.
 *
 * Source of all facts about the protocol: PostgreSQL documentation, chapter "Frontend/Backend
 * Protocol" (versions 15 to 17).
 *
 * What it owns: the listening socket, every connection with its session (settings, prepared
 * statements, portals) and the bytes that are on their way. What it borrows: the service bundle and
 * the TLS configuration. Statements run through query.h, COPY writes through batches of its own.
 *
 * Life of a connection, one state at a time (pg_priv.h has the list, pg_connection.c what each
 * takes):
 *
 *   START     the first packet: start-up, or a request for TLS (then START again inside it), for
 *             GSSAPI (refused) or for cancelling another connection's statement (done, closed)
 *   SASL      SCRAM-SHA-256: the client's first message
 *   PROOF     … and its last one
 *   PASSWORD  a token in clear text, for the user name `token` only (docs/decisions.md)
 *   CHECKING  the login is being judged; nothing is read
 *   READY     messages are taken, one after the other
 *   BUSY      a statement runs; what arrives is kept, up to a limit, then the peer is stopped
 *   SKIP      after an error of the extended protocol: everything up to Sync is thrown away
 *   COPY      rows come in as CopyData
 *   CLOSING   the last message is on its way
 *
 * While a connection idles in READY it holds no buffer. There are no transactions behind BEGIN and
 * COMMIT: each statement counts at once, and ROLLBACK says so when something was written.
 *
 * Everything runs on the main loop; statements and COPY's rows on workers. */
#ifndef LISTENERS_PG_H
#define LISTENERS_PG_H

#include "listeners/service.h"

enum {
    PG_CONNECTIONS_MAX = 256,     /* more are refused with SQLSTATE 53300 and counted */
    PG_LOGIN_SECONDS = 20,        /* from connecting to being logged in, TLS included */
    PG_WRITE_SECONDS = 60,        /* a peer that takes nothing of its answer for so long is cut */
    PG_STATEMENTS_MAX = 256,      /* prepared statements of one connection */
    PG_PORTALS_MAX = 64,          /* portals and cursors of one connection */
    PG_CURSOR_IDLE_SECONDS = 600, /* a half-read answer is given up then: it pins memory */
};

struct pg_server;
struct tls_config;

/* Listens. `tls` borrowed (may be NULL: TLS is then refused); `tls_only`: nobody logs in without
 * it; `bound` receives the real port. Errors: ADDRESS_IN_USE, NO_MEMORY. */
enum err pg_server_start(struct service *service, const struct os_address *address,
                         struct tls_config *tls, bool tls_only, struct pg_server **server,
                         struct os_address *bound, struct why *why);
/* Moves it: who is connected stays, and is told nothing. Errors: as door_move's; then nothing else
 * has changed. */
enum err pg_server_listen(struct pg_server *server, const struct os_address *address,
                          struct tls_config *tls, bool tls_only, struct os_address *bound,
                          struct why *why);
/* Tells every client that the node stops and closes; what a worker still holds is freed when it has
 * come back to the main loop. NULL allowed. */
void pg_server_stop(struct pg_server *server);

#endif
