/* server.h - a Modbus TCP server for many clients and units, on one thread.
 *
 * The protocol is libmodbus' (modbus_reply), on purpose: Millrace's own codec is tested against it.
 * Here is only what libmodbus leaves to its user: accepting, cutting the byte stream into frames,
 * choosing the unit, refusing what libmodbus would trust. Source: Modbus Messaging on TCP/IP
 * Implementation Guide 1.0b, section 3.1.3 (MBAP header); Modbus Application Protocol 1.1b3,
 * section 6 (functions). */
#ifndef PLANTSIM_SERVER_H
#define PLANTSIM_SERVER_H
#include "arrival_log.h"
#include "registers.h"

struct server;

/* Listens on an IPv4 address.
 *   host   borrows: dotted
 *   port   0: any free one, see server_port
 *   units  borrows until server_close: who answers
 *   log    borrows until server_close; may be NULL
 * Gives NULL with errno set when the address is wrong (EINVAL), taken, or memory is short. */
struct server *server_open(const char *host, uint16_t port, struct units *units,
                           struct arrival_log *log);

uint16_t server_port(const struct server *server);

/* Answers what arrives within `timeout_ms` (0: what is there now), and returns after the first
 * answers. */
void server_poll(struct server *server, int timeout_ms);

/* Closes all connections and frees (takes `server`, which may be NULL). */
void server_close(struct server *server);

#endif
