/* mapping_csv.c - messages that are lines of CSV: each line becomes a small object, whose members
 * are named by the header, by the document, or c1, c2, …; from there on it is a row like any other.
 *
 * A field's own look says what it is: nothing at all or a word such as NULL is no value, true and
 * false are bools, what reads as a number is one, the rest is text; what stands in quotes is text.
 * A column's `type` in the document is asked first where the look misleads (serial numbers). */
#include "base/num.h"
#include "stream/mapping_priv.h"
#include <stdio.h>

struct csv_message {
    struct taking *taking;
    struct csv_reader *reader;
    struct str rest;
    size_t name_count;
    struct str *names; /* in the scratch */
};

static enum err next_line(struct csv_message *in, bool *found)
{
    struct csv_reader *r = in->reader;
    *found = false;
    while (in->rest.size) {
        size_t used = 0;
        enum err err = csv_read(r, in->rest, true, in->taking->scratch, &used, in->taking->why);
        if (err) return why_wrap(in->taking->why, err, "line %llu", (unsigned long long)r->line);
        if (!used) break;
        in->rest = (struct str){in->rest.at + used, in->rest.size - used};
        *found = !csv_is_blank(r);
        if (*found) return ERR_OK;
    }
    return ERR_OK;
}

static enum err read_names(struct csv_message *in)
{
    const struct mapping *m = in->taking->mapping;
    bool found = false;
    in->name_count = m->csv_column_count;
    in->names = m->csv_columns;
    if (!m->csv_header) return ERR_OK;
    enum err err = next_line(in, &found);
    if (err || !found || m->csv_column_count) return err; /* the document's names count */
    in->name_count = in->reader->field_count;
    in->names = arena_alloc(in->taking->scratch, (in->name_count + 1) * sizeof(struct str));
    if (!in->names) return ERR_NO_MEMORY;
    for (size_t i = 0; i < in->name_count; i++) in->names[i] = str_trim(in->reader->fields[i].text);
    return ERR_OK;
}

static enum err name_of(struct csv_message *in, size_t i, struct str *name)
{
    if (i < in->name_count) {
        *name = in->names[i];
        return ERR_OK;
    }
    if (in->name_count)
        return why_set(
            in->taking->why, ERR_INVALID, "line %llu has %zu fields, there are %zu names",
            (unsigned long long)in->reader->line, in->reader->field_count, in->name_count);
    *name = str_of(arena_printf(in->taking->scratch, "c%zu", i + 1));
    return name->at && name->size ? ERR_OK : ERR_NO_MEMORY;
}

static enum err read_field(struct taking *t, const struct csv_field *field, struct payload *node)
{
    struct value *v = &node->value;
    struct str text = str_trim(field->text);
    if (!field->is_quoted && csv_is_missing(text)) {
        *v = (struct value){.type = TYPE_NONE, .is_null = true};
        return ERR_OK;
    }
    if (!str_is_utf8(field->text)) return why_set(t->why, ERR_INVALID, "a text is not UTF-8");
    *v = (struct value){.type = TYPE_TEXT, .s = field->text};
    if (field->is_quoted) return ERR_OK;
    node->literal = text;
    if (num_parse_i64(text, &v->i)) {
        v->type = TYPE_BIGINT;
    } else if (num_parse_double(text, &v->d)) {
        v->type = TYPE_DOUBLE;
    } else if (str_is_nocase(text, "true") || str_is_nocase(text, "false")) {
        *v = (struct value){.type = TYPE_BOOL, .b = str_is_nocase(text, "true")};
        node->literal = (struct str){0};
    } else {
        *v = (struct value){.type = TYPE_TEXT, .s = field->text};
        node->literal = (struct str){0};
    }
    return ERR_OK;
}

static enum err make_row(struct csv_message *in, struct payload **row)
{
    struct payload_maker maker = {.arena = in->taking->scratch};
    struct payload *node = NULL;
    enum err err = payload_add(&maker, NULL, row);
    if (err) return err;
    (*row)->kind = PAYLOAD_MAP;
    for (size_t i = 0; i < in->reader->field_count && !err; i++) {
        err = payload_add(&maker, *row, &node);
        if (!err) err = name_of(in, i, &node->key);
        if (!err) err = read_field(in->taking, &in->reader->fields[i], node);
    }
    return err;
}

enum err mapping_take_csv(struct taking *t)
{
    struct csv_message in = {.taking = t, .rest = t->message->payload};
    in.reader = arena_zero(t->scratch, 1, sizeof *in.reader);
    if (!in.reader) return ERR_NO_MEMORY;
    in.reader->format = t->mapping->csv;
    enum err err = read_names(&in);
    for (bool found = true; !err && found;) {
        struct payload *row = NULL;
        err = next_line(&in, &found);
        if (err || !found) break;
        err = make_row(&in, &row);
        t->root = row;
        if (!err) err = mapping_add_row(t, row);
    }
    return err;
}
