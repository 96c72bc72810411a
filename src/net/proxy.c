/* proxy.c - a PROXY header, read. See proxy.h. Section numbers are those of proxy-protocol.txt.
 *
 * The whole header is measured before anything of it is read, and addresses are read within its own
 * length: what lies behind it are the client's bytes and no part of it, whatever the header says of
 * its family. Called by the broker's arrival; owns nothing. */
#include "net/proxy.h"
#include "base/reader.h"
#include <stdio.h>
#include <string.h>

static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n"; /* 2.2 */

enum { VERSION = 2, COMMAND_LOCAL = 0, COMMAND_PROXY = 1, PREFIX_BYTES = 16 };

static void read_ipv4(struct reader *r, char *out, size_t out_bytes)
{
    const uint8_t *b = reader_take(r, 4);
    if (b) snprintf(out, out_bytes, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
}

/* RFC 5952 sections 4.1 to 4.3: no leading zeros, the longest run of zero groups as "::". */
static void read_ipv6(struct reader *r, char *out, size_t out_bytes)
{
    unsigned group[8];
    int best = -1, best_count = 1;
    for (int i = 0; i < 8; i++) group[i] = (unsigned)reader_be(r, 2);
    for (int i = 0, count; i < 8; i += count + 1) {
        for (count = 0; i + count < 8 && !group[i + count]; count++) {
        }
        if (count <= best_count) continue;
        best = i;
        best_count = count;
    }
    size_t n = 0;
    for (int i = 0; i < 8 && n < out_bytes; i++) {
        if (i == best) {
            n += (size_t)snprintf(out + n, out_bytes - n, i ? ":" : "::");
            i += best_count - 1;
        } else {
            n += (size_t)snprintf(out + n, out_bytes - n, i < 7 ? "%x:" : "%x", group[i]);
        }
    }
}

/* What families say about where the client is; those that are not listed say nothing to us. */
static const struct {
    uint8_t family; /* address family and protocol */
    size_t address_bytes;
    void (*read)(struct reader *r, char *out, size_t out_bytes);
} families[] = {{0x11, 4, read_ipv4}, {0x21, 16, read_ipv6}};

enum err proxy_read(const void *bytes, size_t size, struct proxy_header *header, struct why *why)
{
    struct reader r = reader_of(bytes, size);
    size_t known = size < sizeof signature ? size : sizeof signature;
    MUST((bytes || !size) && header);
    *header = (struct proxy_header){0};
    if (memcmp(bytes, signature, known) != 0)
        return why_set(
            why, ERR_PROTOCOL,
            "it does not begin with a PROXY header of version 2, as mqtt.proxy asks for");
    if (size < PREFIX_BYTES) return ERR_BUSY;
    reader_skip(&r, sizeof signature);
    unsigned version = reader_u8(&r), family = reader_u8(&r);
    size_t length = (size_t)reader_be(&r, 2);
    if (version >> 4 != VERSION || (version & 15) > COMMAND_PROXY)
        return why_set(why, ERR_PROTOCOL, "a PROXY header of another version or command (0x%02x)",
                       version);
    header->size = PREFIX_BYTES + length;
    if (header->size > PROXY_HEADER_MAX)
        return why_set(why, ERR_PROTOCOL, "a PROXY header of %zu bytes; the limit is %d",
                       header->size, PROXY_HEADER_MAX);
    if (size < header->size) return ERR_BUSY;
    if ((version & 15) == COMMAND_LOCAL) return ERR_OK;
    struct reader addresses = reader_of(r.at, length);
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        if (family != families[i].family) continue;
        families[i].read(&addresses, header->source.host, sizeof header->source.host);
        reader_skip(&addresses, families[i].address_bytes); /* where it went to */
        header->source.port = (uint16_t)reader_be(&addresses, 2);
        header->source.kind = OS_ADDRESS_TCP;
        reader_skip(&addresses, 2);
        header->has_source = true;
    }
    return reader_ok(&addresses)
               ? ERR_OK
               : why_set(why, ERR_PROTOCOL, "a PROXY header shorter than its addresses");
}
