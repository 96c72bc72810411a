/* proxy.h - who a connection really comes from, when a load balancer stands in between.
 *
 * PROXY protocol, version 2 (HAProxy's proxy-protocol.txt): the balancer begins every connection
 * with a header that names the client's address. It is believed, so it may be read only where
 * nobody but the balancer can connect. Sans I/O. Thread: any. */
#ifndef NET_PROXY_H
#define NET_PROXY_H

#include "os/address.h"

enum { PROXY_HEADER_MAX = 2048 }; /* with all extensions; longer ones are refused */

struct proxy_header {
    size_t size;     /* of the whole header: the client's bytes follow */
    bool has_source; /* false: the balancer's own connection, such as a health check, or not IP */
    struct os_address source; /* TCP */
};

/* Errors: BUSY = more bytes are needed; PROTOCOL says what is wrong. Extensions are skipped. */
enum err proxy_read(const void *bytes, size_t size, struct proxy_header *header, struct why *why);

#endif
