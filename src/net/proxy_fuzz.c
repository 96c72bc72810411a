/* proxy_fuzz.c - property: what is accepted lies inside the bytes, has an address that reads back
 * as one, and a shorter piece of it asks for more; what is refused has a text. */
/* covers: src/net/proxy.c */
#include "net/proxy.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct proxy_header header, piece;
    struct why why = WHY_NONE;
    enum err err = proxy_read(bytes, size, &header, &why);
    if (err && err != ERR_BUSY && (err != ERR_PROTOCOL || !why.text[0])) abort();
    if (err) return 0;
    if (header.size > size) abort();
    for (size_t i = 0; i < header.size; i++)
        if (proxy_read(bytes, i, &piece, NULL) != ERR_BUSY) abort();
    char text[OS_HOST_BYTES + 8];
    struct os_address again;
    if (!header.has_source) return 0;
    os_address_print(&header.source, text, sizeof text);
    if (os_address_tcp(str_of(text), &again, NULL) || again.port != header.source.port) abort();
    return 0;
}
