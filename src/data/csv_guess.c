/* csv_guess.c - see csv_guess.h. The sample is read a few times: once for each delimiter that might
 * be, once for the types, once for the times. */
#include "data/csv_guess.h"
#include "base/num.h"
#include <string.h>

enum { DELIMITER_ROWS = 100 }; /* so many rows tell which it is */

struct sample {
    struct csv_reader reader;
    struct str rest;
    bool is_all;
    struct arena *arena;
};

/* The next row that is not blank; false: none is left whole. Rows that are wrong are passed over.
 */
static bool next_row(struct sample *s)
{
    size_t used;
    while (s->rest.size) {
        enum err err = csv_read(&s->reader, s->rest, s->is_all, s->arena, &used, NULL);
        if (!used) return false;
        s->rest = (struct str){s->rest.at + used, s->rest.size - used};
        if (!err && !csv_is_blank(&s->reader)) return true;
    }
    return false;
}

static void begin(struct sample *s, struct str head, bool is_all, struct csv_format format)
{
    s->reader.format = format;
    s->reader.next_line = 0;
    s->rest = head;
    s->is_all = is_all;
}

/* ---- the delimiter ---- */

static struct csv_format format_of(char delimiter)
{
    return (struct csv_format){delimiter, '"', '"', delimiter == ' '};
}

/* Fields that all rows have, without an empty one at the end; 0: not equally many. */
static size_t width_with(struct sample *s, struct str head, bool is_all, char delimiter)
{
    size_t width = 0;
    begin(s, head, is_all, format_of(delimiter));
    for (unsigned row = 0; row < DELIMITER_ROWS && next_row(s); row++) {
        const struct csv_reader *r = &s->reader;
        size_t fields = r->field_count;
        if (row == 0) width = fields;
        bool is_tail = fields == width + 1 && !r->fields[width].text.size;
        if (fields != width && !is_tail) return 0;
    }
    return width;
}

static struct csv_format find_format(struct sample *s, struct str head, bool is_all,
                                     const struct csv_hints *hints)
{
    static const char usual[] = {',', ';', '\t', '|'};
    char best = ',';
    size_t most = 1;
    if (hints->delimiter) return format_of(hints->delimiter);
    for (size_t i = 0; i < sizeof usual; i++) {
        size_t width = width_with(s, head, is_all, usual[i]);
        if (width > most) {
            most = width;
            best = usual[i];
        }
    }
    /* Texts have blanks, so these are the last resort. */
    if (most == 1 && width_with(s, head, is_all, ' ') > 1) best = ' ';
    return format_of(best);
}

/* ---- types ---- */

static bool fits_bool(struct str text, struct csv_rules *rules)
{
    (void)rules;
    return str_is_nocase(text, "true") || str_is_nocase(text, "false");
}

static bool is_name_of_digits(struct str text)
{
    return text.size > 1 && text.at[0] == '0' && text.at[1] >= '0' && text.at[1] <= '9';
}

static bool fits_bigint(struct str text, struct csv_rules *rules)
{
    int64_t v;
    (void)rules;
    return !is_name_of_digits(text) && num_parse_i64(text, &v);
}

static bool fits_ubigint(struct str text, struct csv_rules *rules)
{
    uint64_t v;
    (void)rules;
    return !is_name_of_digits(text) && num_parse_u64(text, &v);
}

static bool fits_double(struct str text, struct csv_rules *rules)
{
    struct csv_field field = {text, false};
    struct value v;
    return !is_name_of_digits(text) &&
           csv_value_read(&field, TYPE_DOUBLE, rules, NULL, &v) == ERR_OK && !v.is_null;
}

static bool fits_timestamp(struct str text, struct csv_rules *rules)
{
    int64_t v;
    return time_notation_read(&rules->cell, text, &v);
}

/* As our own exports write bytes and arrays; whatever else reads as one is a text. */
static bool fits_bytes(struct str text, struct csv_rules *rules)
{
    uint64_t byte;
    (void)rules;
    if (!str_starts(text, "\\x") || text.size % 2) return false;
    for (size_t i = 2; i < text.size; i += 2)
        if (!num_parse_hex((struct str){text.at + i, 2}, &byte)) return false;
    return true;
}

/* "[1,null,2.5]" */
static bool fits_doubles(struct str text, struct csv_rules *rules)
{
    double d;
    struct str piece;
    (void)rules;
    if (text.size < 2 || text.at[0] != '[' || text.at[text.size - 1] != ']') return false;
    struct str rest = str_trim((struct str){text.at + 1, text.size - 2});
    if (rest.size && rest.at[rest.size - 1] == ',') return false;
    while (rest.size && str_split(&rest, ',', &piece)) {
        piece = str_trim(piece);
        if (!str_is(piece, "null") && !num_parse_double(piece, &d)) return false;
    }
    return true;
}

/* The narrowest first. */
static const struct {
    enum type type;
    bool (*fits)(struct str text, struct csv_rules *rules);
} candidates[] = {{TYPE_BOOL, fits_bool},           {TYPE_BIGINT, fits_bigint},
                  {TYPE_UBIGINT, fits_ubigint},     {TYPE_DOUBLE, fits_double},
                  {TYPE_TIMESTAMP, fits_timestamp}, {TYPE_BYTES, fits_bytes},
                  {TYPE_DOUBLES, fits_doubles}};
enum { CANDIDATE_COUNT = sizeof candidates / sizeof candidates[0] };

static enum err look_at(struct csv_guess_column *c, const struct csv_field *field,
                        struct csv_rules *rules, struct arena *arena)
{
    struct str text = str_trim(field->text);
    if (csv_is_missing(text)) {
        c->missing++;
        return ERR_OK;
    }
    if (!c->sample) {
        size_t size = text.size > 40 ? 40 : text.size;
        while (size && !str_is_utf8((struct str){text.at, size})) size--;
        c->sample = arena_strdup(arena, text.at, size);
        if (!c->sample) return ERR_NO_MEMORY;
    }
    for (unsigned i = 0; i < CANDIDATE_COUNT; i++)
        if (c->fits & 1u << i && !candidates[i].fits(text, rules)) c->fits &= ~(1u << i);
    return ERR_OK;
}

static enum err find_types(struct sample *s, struct csv_guess *g, const struct csv_hints *hints)
{
    struct csv_rules rules = {.decimal_comma = hints->decimal_comma};
    enum err err = time_notation_parse(STR("iso"), &rules.cell, NULL);
    for (size_t i = 0; i < g->column_count; i++) g->columns[i].fits = (1u << CANDIDATE_COUNT) - 1;
    while (g->rows < CSV_GUESS_ROWS_MAX && !err && next_row(s)) {
        g->rows++;
        for (size_t i = 0; i < g->column_count && i < s->reader.field_count && !err; i++)
            err = look_at(&g->columns[i], &s->reader.fields[i], &rules, s->arena);
    }
    for (size_t i = 0; i < g->column_count && !err; i++) {
        struct csv_guess_column *c = &g->columns[i];
        c->type = TYPE_TEXT;
        for (unsigned n = CANDIDATE_COUNT; n-- > 0 && c->sample;)
            if (c->fits & 1u << n) c->type = candidates[n].type;
        if (!c->sample) c->sample = "";
    }
    return err;
}

/* ---- the header ---- */

static bool looks_like_header(const struct csv_reader *r)
{
    struct csv_rules rules = {0};
    for (size_t i = 0; i < r->field_count; i++) {
        struct str text = str_trim(r->fields[i].text);
        if (fits_double(text, &rules) || fits_timestamp(text, &rules)) return false;
    }
    return true;
}

static enum err name_columns(struct sample *s, struct csv_guess *g)
{
    const struct csv_reader *r = &s->reader;
    g->column_count = r->field_count;
    if (!g->format.joins_delimiters && !g->has_header)
        while (g->column_count > 1 && !r->fields[g->column_count - 1].text.size) g->column_count--;
    g->columns = arena_zero(s->arena, g->column_count, sizeof *g->columns);
    if (!g->columns) return ERR_NO_MEMORY;
    for (size_t i = 0; i < g->column_count; i++) {
        struct str name = str_trim(r->fields[i].text);
        g->columns[i].name = g->has_header ? arena_strdup(s->arena, name.at, name.size)
                                           : arena_printf(s->arena, "c%zu", i + 1);
        if (!g->columns[i].name) return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

/* ---- time and device ---- */

static int find_column(const struct csv_guess *g, struct str name)
{
    for (size_t i = 0; i < g->column_count; i++)
        if (name.size && str_is_nocase(name, g->columns[i].name)) return (int)i;
    return -1;
}

/* The column that was given, or the first of the usual names. */
static enum err find_named(const struct csv_guess *g, struct str given, const char *const *usual,
                           int *found, struct why *why)
{
    *found = find_column(g, given);
    if (given.size && *found < 0)
        return why_set(why, ERR_INVALID, "there is no column \"%.*s\"", (int)given.size, given.at);
    for (size_t i = 0; usual[i] && *found < 0; i++) *found = find_column(g, str_of(usual[i]));
    return ERR_OK;
}

/* Whether the column's values are times of the notation, but for one in a hundred: such a row is
 * refused later, and told. */
static bool has_times(struct sample *s, const struct csv_guess *g, int column, struct str name,
                      struct str head)
{
    struct time_notation notation;
    uint64_t rows = 0, odd = 0;
    int64_t time_ns;
    if (time_notation_parse(name, &notation, NULL)) return false;
    begin(s, head, g->is_all, g->format);
    if (g->has_header) (void)next_row(s); /* it was there before */
    while (rows++ < CSV_GUESS_ROWS_MAX && next_row(s)) {
        if (s->reader.field_count <= (size_t)column) continue;
        struct str text = str_trim(s->reader.fields[column].text);
        odd += text.size && !time_notation_read(&notation, text, &time_ns);
    }
    return odd <= rows / 100;
}

/* A day before a month is never guessed: 01.02. may be either. */
static const char *find_notation(struct sample *s, const struct csv_guess *g, struct str head)
{
    static const char *const notations[] = {"iso", "auto", "YYYY/MM/DD hh:mm:ss",
                                            "YYYY/MM/DD hh:mm", "YYYYMMDDThhmmssZ"};
    for (size_t i = 0; i < sizeof notations / sizeof notations[0]; i++)
        if (has_times(s, g, g->time, str_of(notations[i]), head)) return notations[i];
    return NULL;
}

static enum err find_time(struct sample *s, struct csv_guess *g, const struct csv_hints *hints,
                          struct str head, struct why *why)
{
    static const char *const usual[] = {"time", "timestamp", "datetime", "date_time",
                                        "date", "ts",        "_time",    NULL};
    enum err err = find_named(g, hints->time, usual, &g->time, why);
    if (err) return err;
    for (size_t i = 0; i < g->column_count && g->time < 0; i++)
        if (g->columns[i].type == TYPE_TIMESTAMP) g->time = (int)i;
    if (g->time < 0) return ERR_OK;
    if (hints->time_format.size) {
        g->time_format = arena_strdup(s->arena, hints->time_format.at, hints->time_format.size);
        return g->time_format ? ERR_OK : ERR_NO_MEMORY;
    }
    g->time_format = find_notation(s, g, head);
    if (g->time_format) return ERR_OK;
    if (!hints->time.size) { /* a name and no more: it is a column like others */
        g->time = -1;
        return ERR_OK;
    }
    return why_set(why, ERR_INVALID,
                   "column \"%s\" holds times like '%s'; name their notation, such as "
                   "\"DD.MM.YYYY hh:mm:ss\", s or ms",
                   g->columns[g->time].name, g->columns[g->time].sample);
}

static enum err guess_all(struct sample *s, struct str head, const struct csv_hints *hints,
                          struct csv_guess *g, struct why *why)
{
    static const char *const devices[] = {"device", "device_id", "machine", "machine_id", NULL};
    g->format = find_format(s, head, g->is_all, hints);
    begin(s, head, g->is_all, g->format);
    if (!next_row(s)) return why_set(why, ERR_INVALID, "there is no row in it");
    g->has_header = !hints->no_header && looks_like_header(&s->reader);
    if (g->has_header) {
        g->header_bytes = (size_t)(s->rest.at - head.at);
        g->header_lines = s->reader.next_line - 1;
    } else if (str_starts(head, "\xEF\xBB\xBF")) {
        g->header_bytes = 3;
    }
    enum err err = name_columns(s, g);
    if (!err && !g->has_header) begin(s, head, g->is_all, g->format);
    if (!err) err = find_types(s, g, hints);
    if (!err) err = find_time(s, g, hints, head, why);
    if (!err) err = find_named(g, hints->device, devices, &g->device, why);
    return err;
}

enum err csv_guess(struct str head, bool is_all, const struct csv_hints *hints, struct arena *arena,
                   struct csv_guess *g, struct why *why)
{
    struct sample *s = mem_alloc_zero(1, sizeof *s);
    *g = (struct csv_guess){.is_all = is_all, .time = -1, .device = -1};
    if (!s) return ERR_NO_MEMORY;
    s->arena = arena;
    enum err err = guess_all(s, head, hints, g, why);
    mem_free(s);
    return err;
}
