/* line_server.h - line protocol over TCP: lines in, nothing out. For senders that only know how to
 * open a socket and print. */
#ifndef LISTENERS_LINE_SERVER_H
#define LISTENERS_LINE_SERVER_H

#include "listeners/service.h"

struct line_server;

/* `tls` NULL: plain, and the rows are written as the user `anonymous`; else each client shows a
 * certificate (the configuration has a CA) whose common name is its user; a name that is no User's,
 * or a disabled one's, has the rights of `anonymous`. `service` and `tls` are borrowed until the
 * last connection is gone, some turns after line_server_stop. At most 256 connections; more are
 * closed at once and counted. Main loop. Errors: ADDRESS_IN_USE… name the address. */
enum err line_server_start(struct service *service, const struct os_address *address,
                           struct tls_config *tls, struct line_server **server,
                           struct os_address *bound, struct why *why);
/* Moves it: who is connected goes on as he came. Errors: as door_move's; then nothing else has
 * changed. */
enum err line_server_listen(struct line_server *server, const struct os_address *address,
                            struct tls_config *tls, struct os_address *bound, struct why *why);
/* Certificates are judged more strictly now (tls_config_is_stricter): who came with one is sent
 * away; whole lines that are here are still stored. NULL allowed. Main loop. */
void line_server_recheck_certificates(struct line_server *server);
/* Stops listening and reading; whole lines that are here are still stored while the workers run,
 * but those that wait because they could not be stored at first are lost, and counted. NULL
 * allowed. */
void line_server_stop(struct line_server *server);

#endif
