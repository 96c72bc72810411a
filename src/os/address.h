/* address.h - where a stream leads: parsed from text such as "tcp://10.0.0.7:502". */
#ifndef OS_ADDRESS_H
#define OS_ADDRESS_H

#include "base/err.h"
#include "base/str.h"
#include <stdint.h>

enum os_address_kind { OS_ADDRESS_TCP = 1, OS_ADDRESS_UNIX, OS_ADDRESS_SERIAL };

enum { OS_HOST_BYTES = 256 };

struct os_address {
    enum os_address_kind kind;
    char
        host[OS_HOST_BYTES]; /* TCP: name, IPv4, or IPv6 without brackets; UNIX, SERIAL: the path */
    uint16_t port;           /* TCP; 0 only when listening: any free one */
    uint32_t baud;           /* SERIAL */
    uint8_t data_bits, stop_bits;
    char parity; /* 'N', 'E', 'O' */
};

/* Reads "HOST:PORT", "[::1]:PORT" (IPv6 in brackets). Errors: INVALID says what is missing. */
enum err os_address_tcp(struct str text, struct os_address *address, struct why *why);
/* Reads "/dev/ttyUSB0?baud=9600&parity=even&stop=1&data=8"; what is left out is as shown. Parity:
 * none, even, odd. Errors: INVALID names the part and what it may be. */
enum err os_address_serial(struct str text, struct os_address *address, struct why *why);
/* How long one character takes, start, parity and stop bits included. */
int64_t os_address_character_ns(const struct os_address *address);
/* True for 127.0.0.0/8, ::1, "localhost" and Unix sockets. */
bool os_address_is_loopback(const struct os_address *address);
/* The same of what os_stream_peer says: such an address with a port, or "unix". */
bool os_peer_is_loopback(const char *peer);
/* What somebody is counted by, of what os_stream_peer says: an IPv4 address, or the first 64 bits
 * of an IPv6 one ("2001:db8:0:7::"), as those of one customer are; "unix". False: it has no
 * address. */
bool os_peer_host(const char *peer, char *host, size_t host_bytes);
/* Of the same kind, host and port; two of kind 0 are equal. */
bool os_address_equal(const struct os_address *a, const struct os_address *b);
/* "127.0.0.1:502", "[::1]:502", a path. */
void os_address_print(const struct os_address *address, char *out, size_t out_bytes);

#endif
