/* line_fuzz.c - property: whatever the bytes, every text of a parsed line is inside the input or
 * the arena, and an error has a text. */
/* covers: src/data/line.c */
#include "base/hash.h"
#include "data/line.h"
#include <stdlib.h>

/* Reads every byte, so that the sanitizer sees it. */
static uint64_t hash_of(struct str text)
{
    return hash_64(text.at, text.size);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    static struct line line;
    struct arena arena;
    struct str rest = {(const char *)bytes, size}, text;
    uint64_t sum = 0;
    arena_init(&arena, NULL);
    line.known = 0;
    while (size && str_split(&rest, '\n', &text)) {
        struct why why = WHY_NONE;
        if (line_parse(text, 1, &arena, &line, &why)) {
            if (!why.text[0]) abort();
            continue;
        }
        for (uint32_t i = 0; i < line.tag_count; i++)
            sum += hash_of(line.tags[i].key) + hash_of(line.tags[i].value);
        for (uint32_t i = 0; i < line.field_count; i++) sum += hash_of(line.fields[i].key);
        for (uint32_t i = 0; i < line.field_count; i++)
            if (line.fields[i].value.type == TYPE_TEXT) sum += hash_of(line.fields[i].value.s);
        for (uint32_t i = 1; i < line.tag_count; i++)
            if (str_compare(line.tags[i - 1].key, line.tags[i].key) >= 0) abort();
    }
    arena_free(&arena);
    volatile uint64_t used = sum;
    (void)used;
    return 0;
}
