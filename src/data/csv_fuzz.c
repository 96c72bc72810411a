/* csv_fuzz.c - property: whatever the bytes, the reader comes on and ends; it reads the same when
 * they come in two pieces; a row that is written reads back as itself; an error has a text. */
/* covers: src/data/csv.c */
#include "data/csv.h"
#include <stdlib.h>
#include <string.h>

#define CLAIM(is_true) ((is_true) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static const struct csv_format formats[] = {{',', '"', '"', false},
                                            {';', '"', '\\', false},
                                            {'\t', '\'', '\'', false},
                                            {' ', '"', '"', true}};

static bool same_rows(const struct csv_reader *a, const struct csv_reader *b)
{
    if (a->field_count != b->field_count || a->next_line != b->next_line) return false;
    for (size_t i = 0; i < a->field_count; i++)
        if (!str_equal(a->fields[i].text, b->fields[i].text) ||
            a->fields[i].is_quoted != b->fields[i].is_quoted)
            return false;
    return true;
}

/* The first `cut` bytes alone give no row or the same one. */
static void in_pieces(const struct csv_reader *before, const struct csv_reader *row,
                      struct str bytes, size_t cut, size_t used, struct arena *arena)
{
    static struct csv_reader part;
    size_t part_used;
    part = *before;
    if (csv_read(&part, (struct str){bytes.at, cut}, false, arena, &part_used, NULL)) return;
    if (part_used) CLAIM(part_used == used && same_rows(&part, row));
    if (!part_used) CLAIM(part.next_line == before->next_line);
}

static void there_and_back(const struct csv_reader *row, struct arena *arena)
{
    static struct csv_reader again;
    struct buf out = BUF_EMPTY;
    size_t used;
    if (row->field_count == 0) return;
    for (size_t i = 0; i < row->field_count; i++) {
        if (i) buf_add_char(&out, row->format.delimiter);
        csv_add(&out, row->format, row->fields[i].text, row->fields[i].is_quoted);
    }
    buf_add_char(&out, '\n');
    again = (struct csv_reader){.format = row->format, .next_line = 1};
    CLAIM(csv_read(&again, buf_str(&out), false, arena, &used, NULL) == ERR_OK);
    CLAIM(used == out.size && again.field_count == row->field_count);
    for (size_t i = 0; i < row->field_count; i++)
        CLAIM(str_equal(again.fields[i].text, row->fields[i].text));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    static struct csv_reader row, before;
    struct arena arena;
    if (size < 2) return 0;
    struct str rest = {(const char *)bytes + 2, size - 2};
    arena_init(&arena, NULL);
    row = (struct csv_reader){.format = formats[bytes[0] % 4]};
    while (rest.size) {
        struct why why = WHY_NONE;
        size_t used;
        before = row;
        enum err err = csv_read(&row, rest, true, &arena, &used, &why);
        CLAIM(used > 0 && used <= rest.size);
        if (err) {
            CLAIM(why.text[0] && row.field_count == 0);
        } else {
            in_pieces(&before, &row, rest, bytes[1] % rest.size, used, &arena);
            there_and_back(&row, &arena);
        }
        rest = (struct str){rest.at + used, rest.size - used};
        if (arena.taken_bytes > 1024 * 1024) arena_reset(&arena);
    }
    arena_free(&arena);
    return 0;
}
