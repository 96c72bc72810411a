/* prometheus_fuzz.c - property: whatever the bytes, packed or not, reading ends, every text of a
 * row is inside the message, and an error has a text. The first byte says whether Snappy is before
 * it. */
/* covers: src/data/prometheus.c src/data/snappy.c */
#include "base/hash.h"
#include "data/prometheus.h"
#include "data/snappy.h"
#include <stdlib.h>

enum { LIMIT = 1 << 20 };

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static uint64_t look_at(const struct line *row)
{
    uint64_t sum = hash_64(row->measurement.at, row->measurement.size);
    for (uint32_t i = 0; i < row->tag_count; i++)
        sum += hash_64(row->tags[i].key.at, row->tags[i].key.size) +
               hash_64(row->tags[i].value.at, row->tags[i].value.size);
    if (row->field_count != 1 || !row->has_time) abort();
    return sum;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    static struct line row;
    struct arena arena;
    struct prometheus_rows in;
    struct why why = WHY_NONE;
    struct str message = {(const char *)bytes + 1, size ? size - 1 : 0};
    uint64_t sum = 0;
    size_t rows = 0;
    if (size == 0) return 0;
    arena_init(&arena, NULL);
    enum err err = bytes[0] & 1 ? snappy_decode(message, LIMIT, &arena, &message, &why) : ERR_OK;
    if (err && !why.text[0]) abort();
    if (err) message.size = 0;
    prometheus_rows_init(&in, message);
    for (bool found = true; found; rows++) {
        why = WHY_NONE;
        err = prometheus_rows_next(&in, &row, &found, &why);
        if (err && !why.text[0]) abort();
        if (err == ERR_SYNTAX && (found || !in.is_over)) abort();
        if (!err && found) sum += look_at(&row);
        if (rows > message.size + 1) abort(); /* it does not come on */
    }
    arena_free(&arena);
    volatile uint64_t used = sum;
    (void)used;
    return 0;
}
