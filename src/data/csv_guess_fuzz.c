/* csv_guess_fuzz.c - property: whatever a file holds, guessing ends; columns have names, types and
 * samples; what was found out fits itself: the same hints, given, are found again, and each value
 * of the sample is read by its column's type. */
/* covers: src/data/csv_guess.c src/data/csv_value.c */
#include "data/csv_guess.h"
#include <stdlib.h>
#include <string.h>

#define CLAIM(is_true) ((is_true) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

/* Every field is a value of its column's type: so says the guess. */
static void values_are_read(const struct csv_guess *g, const struct csv_hints *hints,
                            struct str text, struct arena *arena)
{
    static struct csv_reader reader;
    struct csv_rules rules = {.decimal_comma = hints->decimal_comma};
    reader = (struct csv_reader){.format = g->format};
    CLAIM(time_notation_parse(STR("iso"), &rules.cell, NULL) == ERR_OK);
    bool is_header = g->has_header;
    for (uint64_t rows = 0; text.size && rows < CSV_GUESS_ROWS_MAX;) {
        size_t used;
        enum err err = csv_read(&reader, text, g->is_all, arena, &used, NULL);
        if (!used) return;
        text = (struct str){text.at + used, text.size - used};
        if (err || csv_is_blank(&reader)) continue;
        for (size_t i = 0; !is_header && i < g->column_count && i < reader.field_count; i++) {
            struct value v;
            const struct csv_field *f = &reader.fields[i];
            enum type type = g->columns[i].type;
            if (type == TYPE_TEXT || (!f->is_quoted && csv_is_missing(str_trim(f->text)))) continue;
            CLAIM(csv_value_read(f, type, &rules, arena, &v) == ERR_OK);
        }
        rows += !is_header;
        is_header = false;
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct arena arena;
    struct csv_guess g, again;
    struct why why = WHY_NONE;
    if (size < 1) return 0;
    struct str text = {(const char *)bytes + 1, size - 1};
    struct csv_hints hints = {.decimal_comma = bytes[0] & 1, .no_header = bytes[0] & 2};
    bool is_all = bytes[0] & 4;
    arena_init(&arena, NULL);
    if (csv_guess(text, is_all, &hints, &arena, &g, &why)) {
        CLAIM(why.text[0]);
    } else {
        CLAIM(g.column_count > 0 && g.header_bytes <= text.size);
        CLAIM(g.time < (int)g.column_count && g.device < (int)g.column_count);
        CLAIM(g.time < 0 || g.time_format);
        for (size_t i = 0; i < g.column_count; i++)
            CLAIM(g.columns[i].name && g.columns[i].sample && g.columns[i].type);
        values_are_read(&g, &hints, text, &arena);
        hints.delimiter = g.format.delimiter;
        CLAIM(csv_guess(text, is_all, &hints, &arena, &again, &why) == ERR_OK);
        CLAIM(again.column_count == g.column_count && again.time == g.time);
    }
    arena_free(&arena);
    return 0;
}
