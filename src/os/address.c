/* address.c - addresses from text and back. See address.h.
 *
 * Texts come from settings, documents, and (os_peer_…) from what a stream says of its other side; a
 * name is never resolved here. What is loopback decides who may get in without TLS, so it is told
 * by the numeric address, and of names only "localhost" counts. Owns nothing; any thread. */
#include "os/address.h"
#include "base/num.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum err os_address_tcp(struct str text, struct os_address *address, struct why *why)
{
    struct str host = text, port = {0};
    const char *colon = NULL;
    for (size_t i = 0; i < text.size; i++)
        if (text.at[i] == ':') colon = text.at + i;
    int shown = (int)(text.size > 80 ? 80 : text.size);
    if (!colon || colon[-(colon > text.at)] == ':')
        return why_set(why, ERR_INVALID,
                       "'%.*s': a port is missing (HOST:PORT, IPv6 as [ADDRESS]:PORT)", shown,
                       text.at);
    host.size = (size_t)(colon - text.at);
    port = (struct str){colon + 1, text.size - host.size - 1};
    if (host.size >= 2 && host.at[0] == '[' && host.at[host.size - 1] == ']') {
        host.at++;
        host.size -= 2;
    }
    uint64_t number;
    if (!num_parse_u64(port, &number) || number > 65535)
        return why_set(why, ERR_INVALID, "'%.*s': the port is not a number from 0 to 65535", shown,
                       text.at);
    *address = (struct os_address){.kind = OS_ADDRESS_TCP, .port = (uint16_t)number};
    if (host.size == 0 || !str_copy(address->host, sizeof address->host, host))
        return why_set(why, ERR_INVALID, "'%.*s': the host is missing or too long", shown, text.at);
    return ERR_OK;
}

/* ---- serial lines ---- */

static bool one_of(uint64_t value, const uint32_t *list)
{
    while (*list && *list != value) list++;
    return *list != 0;
}

/* The speeds that a kernel knows by a constant (termios(3)). */
static const uint32_t bauds[] = {300,   600,    1200,   2400,   4800,   9600,   19200,   38400,
                                 57600, 115200, 230400, 460800, 500000, 921600, 1000000, 0};

/* One "key=value" of the query; gives what is wrong, NULL when nothing is. */
static const char *set_serial(struct os_address *address, struct str key, struct str value)
{
    static const uint32_t stops[] = {1, 2, 0}, datas[] = {7, 8, 0};
    uint64_t number = 0;
    bool is_number = num_parse_u64(value, &number);
    if (str_is(key, "parity")) {
        address->parity = str_is(value, "none") ? 'N' : str_is(value, "even") ? 'E' : 'O';
        return address->parity == 'O' && !str_is(value, "odd") ? "parity is none, even or odd"
                                                               : NULL;
    }
    if (str_is(key, "baud")) {
        address->baud = (uint32_t)number;
        return is_number && one_of(number, bauds)
                   ? NULL
                   : "baud is 300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, "
                     "460800, 500000, 921600 or 1000000";
    }
    if (str_is(key, "stop")) {
        address->stop_bits = (uint8_t)number;
        return is_number && one_of(number, stops) ? NULL : "stop is 1 or 2";
    }
    if (str_is(key, "data")) {
        address->data_bits = (uint8_t)number;
        return is_number && one_of(number, datas) ? NULL : "data is 7 or 8";
    }
    return "there are baud, parity, stop and data";
}

enum err os_address_serial(struct str text, struct os_address *address, struct why *why)
{
    struct str rest = text, path = {0}, pair;
    *address = (struct os_address){
        .kind = OS_ADDRESS_SERIAL, .baud = 9600, .data_bits = 8, .stop_bits = 1, .parity = 'E'};
    (void)str_split(&rest, '?', &path);
    int shown = (int)(text.size > 80 ? 80 : text.size);
    if (!path.size || path.at[0] != '/' || !str_copy(address->host, sizeof address->host, path))
        return why_set(why, ERR_INVALID,
                       "'%.*s': the path of the line is missing, such as rtu:///dev/ttyUSB0", shown,
                       text.at);
    while (rest.size && str_split(&rest, '&', &pair)) {
        struct str value = pair, key = {0};
        (void)str_split(&value, '=', &key);
        const char *wrong = set_serial(address, key, value);
        if (wrong)
            return why_set(why, ERR_INVALID, "'%.*s': %s", (int)(pair.size > 60 ? 60 : pair.size),
                           pair.at, wrong);
    }
    return ERR_OK;
}

int64_t os_address_character_ns(const struct os_address *address)
{
    unsigned bits = 1u + address->data_bits + (address->parity != 'N') + address->stop_bits;
    return address->kind == OS_ADDRESS_SERIAL && address->baud
               ? (int64_t)bits * 1000000000 / address->baud
               : 0;
}

bool os_address_is_loopback(const struct os_address *address)
{
    if (address->kind != OS_ADDRESS_TCP) return true;
    return strncmp(address->host, "127.", 4) == 0 || strcmp(address->host, "::1") == 0 ||
           strcmp(address->host, "localhost") == 0;
}

bool os_peer_is_loopback(const char *peer)
{
    struct os_address address;
    if (strcmp(peer, "unix") == 0) return true;
    return !os_address_tcp(str_of(peer), &address, NULL) && os_address_is_loopback(&address);
}

bool os_peer_host(const char *peer, char *host, size_t host_bytes)
{
    struct os_address address;
    struct in6_addr six;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* ::ffff:10.0.0.7 */
    MUST(peer && host_bytes >= INET6_ADDRSTRLEN);
    if (strcmp(peer, "unix") == 0) return str_copy(host, host_bytes, STR("unix"));
    if (os_address_tcp(str_of(peer), &address, NULL)) return false;
    if (inet_pton(AF_INET6, address.host, &six) != 1)
        return str_copy(host, host_bytes, str_of(address.host));
    if (memcmp(&six, mapped, sizeof mapped) == 0)
        return inet_ntop(AF_INET, six.s6_addr + sizeof mapped, host, (socklen_t)host_bytes) != NULL;
    memset(six.s6_addr + 8, 0, 8);
    return inet_ntop(AF_INET6, &six, host, (socklen_t)host_bytes) != NULL;
}

bool os_address_equal(const struct os_address *a, const struct os_address *b)
{
    return a->kind == b->kind && a->port == b->port && strcmp(a->host, b->host) == 0;
}

void os_address_print(const struct os_address *address, char *out, size_t out_bytes)
{
    bool ipv6 = strchr(address->host, ':') != NULL;
    if (address->kind != OS_ADDRESS_TCP)
        snprintf(out, out_bytes, "%s", address->host);
    else
        snprintf(out, out_bytes, ipv6 ? "[%s]:%u" : "%s:%u", address->host, address->port);
}
