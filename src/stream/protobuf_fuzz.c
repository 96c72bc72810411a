/* protobuf_fuzz.c - property: whatever a descriptor set and a message say, reading both ends, the
 * tree has no more nodes than it may and its texts lie in the input or the arena; an error has a
 * text. The input: two bytes of length, the set, the message, which is read as each of its types.
 */
/* covers: src/stream/protobuf.c src/stream/protobuf_schema.c */
#include "base/hash.h"
#include "base/reader.h"
#include "stream/protobuf.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

enum { TYPES_READ = 8 };

static uint64_t walk(const struct payload *p, size_t *nodes)
{
    uint64_t sum = hash_64(p->key.at, p->key.size);
    bool is_slice = p->kind == PAYLOAD_VALUE && !p->value.is_null &&
                    (p->value.type == TYPE_TEXT || p->value.type == TYPE_BYTES);
    if (++*nodes > 2 * PAYLOAD_NODES_MAX) abort();
    if (is_slice) sum += hash_64(p->value.s.at, p->value.s.size);
    uint32_t count = 0;
    for (const struct payload *i = p->first; i; i = i->next, count++) sum += walk(i, nodes);
    if (count != p->count) abort();
    return sum;
}

static void read_as(const struct protobuf_message *type, struct str message)
{
    struct arena arena;
    struct payload *root = NULL;
    struct why why = WHY_NONE;
    size_t nodes = 0;
    arena_init(&arena, NULL);
    enum err err = protobuf_read(type, message, &arena, &root, &why);
    if (err && !why.text[0]) abort();
    volatile uint64_t sum = err ? 0 : walk(root, &nodes);
    (void)sum;
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct reader in = reader_of(bytes, size);
    struct arena arena;
    struct protobuf_schema *schema = NULL;
    struct why why = WHY_NONE;
    size_t wanted = reader_be16(&in), left = reader_left(&in);
    struct str set = reader_str(&in, wanted < left ? wanted : left);
    struct str message = {(const char *)in.at, reader_left(&in)};
    arena_init(&arena, NULL);
    enum err err = protobuf_schema_read(set, &arena, &schema, &why);
    if (err && !why.text[0]) abort();
    int count = 0;
    for (const struct protobuf_message *m = err ? NULL : schema->messages; m; m = m->next)
        if (count++ < TYPES_READ) read_as(m, message);
    arena_free(&arena);
    return 0;
}
