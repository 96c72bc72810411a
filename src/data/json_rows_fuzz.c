/* json_rows_fuzz.c - property: whatever the bytes, the reader ends, every text of a row is inside
 * the input or the arena, and an error has a text. */
/* covers: src/data/json_rows.c */
#include "base/hash.h"
#include "data/json_rows.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

/* Reads every byte, so that the sanitizer sees it. */
static uint64_t hash_of(struct str text)
{
    return text.size ? hash_64(text.at, text.size) : 0;
}

static uint64_t look_at(const struct line *row)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < row->tag_count; i++) sum += hash_of(row->tags[i].value);
    for (uint32_t i = 0; i < row->field_count; i++) {
        const struct line_field *field = &row->fields[i];
        bool is_slice = field->value.type == TYPE_TEXT || field->value.type == TYPE_DOUBLES;
        sum += hash_of(field->key);
        if (is_slice && !field->value.is_null) sum += hash_of(field->value.s);
        if (field->value.type == TYPE_DOUBLES && field->value.s.size % sizeof(double)) abort();
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    static struct line row;
    struct arena arena;
    struct json_rows in;
    uint64_t sum = 0;
    size_t rows = 0;
    arena_init(&arena, NULL);
    json_rows_init(&in, (struct str){(const char *)bytes, size});
    for (bool found = true; found; rows++) {
        struct why why = WHY_NONE;
        enum err err = json_rows_next(&in, &arena, &row, &found, &why);
        if (err && !why.text[0]) abort();
        if (!err && found) sum += look_at(&row);
        if (err == ERR_SYNTAX && !in.is_over) abort();
        if (err) found = !in.is_over;
        if (rows > size + 1) abort(); /* it does not come on */
    }
    arena_free(&arena);
    volatile uint64_t used = sum;
    (void)used;
    return 0;
}
