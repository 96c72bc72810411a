/* address.c - see address.h. */
#include "os/address.h"
#include "base/num.h"
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

bool os_address_is_loopback(const struct os_address *address)
{
    if (address->kind != OS_ADDRESS_TCP) return true;
    return strncmp(address->host, "127.", 4) == 0 || strcmp(address->host, "::1") == 0 ||
           strcmp(address->host, "localhost") == 0;
}

void os_address_print(const struct os_address *address, char *out, size_t out_bytes)
{
    bool ipv6 = strchr(address->host, ':') != NULL;
    if (address->kind != OS_ADDRESS_TCP)
        snprintf(out, out_bytes, "%s", address->host);
    else
        snprintf(out, out_bytes, ipv6 ? "[%s]:%u" : "%s:%u", address->host, address->port);
}
