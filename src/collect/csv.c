/* csv.c - see csv.h. */
#include "collect/csv.h"
#include <string.h>

static enum err take_quoted(struct str *rest, uint32_t *line, struct arena *arena,
                            struct str *field, struct why *why)
{
    uint32_t began = *line;
    bool has_doubled = false;
    size_t i = 1;
    for (;; i++) {
        if (i >= rest->size)
            return why_set(why, ERR_SYNTAX, "line %u: a quote is not closed", began);
        if (rest->at[i] == '\n') ++*line;
        if (rest->at[i] != '"') continue;
        if (i + 1 >= rest->size || rest->at[i + 1] != '"') break;
        has_doubled = true;
        i++;
    }
    *field = (struct str){rest->at + 1, i - 1};
    *rest = (struct str){rest->at + i + 1, rest->size - i - 1};
    if (!has_doubled) return ERR_OK;
    char *copy = arena_strdup(arena, field->at, field->size);
    if (!copy) return ERR_NO_MEMORY;
    size_t n = 0;
    for (size_t k = 0; k < field->size; k++) {
        copy[n++] = field->at[k];
        if (field->at[k] == '"') k++;
    }
    *field = (struct str){copy, n};
    return ERR_OK;
}

static void take_plain(struct str *rest, struct str *field)
{
    size_t n = 0;
    while (n < rest->size && rest->at[n] != ',' && rest->at[n] != '\n') n++;
    *field = (struct str){rest->at, n};
    *rest = (struct str){rest->at + n, rest->size - n};
    if (field->size && field->at[field->size - 1] == '\r') field->size--;
}

static enum err take_row(struct str *rest, uint32_t *line, struct arena *arena, struct csv_row *row,
                         struct why *why)
{
    row->field_count = 0;
    row->line = *line;
    for (;;) {
        struct str field = {rest->at, 0};
        enum err err = ERR_OK;
        if (row->field_count == CSV_FIELDS_MAX)
            return why_set(why, ERR_SYNTAX, "line %u: more than %d fields", row->line,
                           CSV_FIELDS_MAX);
        if (rest->size && rest->at[0] == '"')
            err = take_quoted(rest, line, arena, &field, why);
        else
            take_plain(rest, &field);
        if (err) return err;
        row->fields[row->field_count++] = field;
        if (rest->size && rest->at[0] == '\r') *rest = (struct str){rest->at + 1, rest->size - 1};
        if (!rest->size) return ERR_OK;
        char end = rest->at[0];
        *rest = (struct str){rest->at + 1, rest->size - 1};
        if (end == '\n') break;
        if (end != ',')
            return why_set(why, ERR_SYNTAX, "line %u: text behind a closing quote", *line);
    }
    ++*line;
    return ERR_OK;
}

enum err csv_next(struct str *rest, uint32_t *line, struct arena *arena, struct csv_row *row,
                  bool *has_row, struct why *why)
{
    static const char mark[] = "\xEF\xBB\xBF";
    *has_row = false;
    if (!*line) { /* the mark means nothing but at the very beginning */
        *line = 1;
        if (str_starts(*rest, mark)) *rest = (struct str){rest->at + 3, rest->size - 3};
    }
    while (rest->size) {
        enum err err = take_row(rest, line, arena, row, why);
        if (err) return err;
        if (row->field_count == 1 && !str_trim(row->fields[0]).size) continue;
        *has_row = true;
        return ERR_OK;
    }
    return ERR_OK;
}

void csv_add(struct buf *out, struct str field, bool is_first)
{
    bool needs_quotes = false;
    for (size_t i = 0; i < field.size; i++)
        needs_quotes |=
            field.at[i] == ',' || field.at[i] == '"' || field.at[i] == '\n' || field.at[i] == '\r';
    if (!is_first) buf_add_char(out, ',');
    if (!needs_quotes) {
        buf_add_str(out, field);
        return;
    }
    buf_add_char(out, '"');
    for (size_t i = 0; i < field.size; i++) {
        if (field.at[i] == '"') buf_add_char(out, '"');
        buf_add_char(out, field.at[i]);
    }
    buf_add_char(out, '"');
}
