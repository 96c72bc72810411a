/* sink_cursor_fuzz.c - property: whatever a cursor's file holds, reading it ends, and what it gives
 * is a place that is written and read again as the same place.
 *
 * The checksum is mended first, so that mutations reach what it covers; bytes with a checksum of
 * their own are tried as they are, too. */
/* covers: src/sinks/cursor.c */
#include "base/hash.h"
#include "base/mem.h"
#include "sinks/sinks.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void try_one(struct str text)
{
    static struct store_place place, again; /* large */
    char printed[SINK_CURSOR_BYTES_MAX];
    memset(&place, 0, sizeof place);
    memset(&again, 0, sizeof again);
    if (!sink_cursor_parse(text, &place)) return;
    if (memchr(place.device, '\n', strlen(place.device))) abort();
    size_t size = sink_cursor_print(&place, printed);
    if (!sink_cursor_parse((struct str){printed, size}, &again)) abort();
    if (place.position != again.position || place.up_to != again.up_to ||
        place.time_ns != again.time_ns || strcmp(place.device, again.device) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    try_one((struct str){(const char *)bytes, size});
    char *text = mem_alloc(size + 32);
    if (!text) abort();
    if (size) memcpy(text, bytes, size);
    int more = snprintf(text + size, 32, "crc %" PRIu32 "\n", hash_crc32c(0, bytes, size));
    try_one((struct str){text, size + (size_t)more});
    mem_free(text);
    return 0;
}
