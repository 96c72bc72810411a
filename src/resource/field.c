/* field.c - see field.h. One small reader per field type, found through a table. */
#include "resource/field.h"
#include "base/num.h"
#include "base/timetext.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void problems_init(struct problems *problems, struct arena *arena)
{
    *problems = (struct problems){.arena = arena};
    problems->last = &problems->first;
}

void problem_add(struct problems *problems, const char *path, const struct doc *at,
                 const char *format, ...)
{
    char text[WHY_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    problems->count++;
    if (problems->count > PROBLEMS_MAX) return;
    struct problem *p = arena_zero(problems->arena, 1, sizeof *p);
    char *own_path = p ? arena_strdup(problems->arena, path, strlen(path)) : NULL;
    char *own_text = own_path ? arena_strdup(problems->arena, text, strlen(text)) : NULL;
    if (!own_text) {
        problems->no_memory = true;
        return;
    }
    *p = (struct problem){.path = own_path, .text = own_text};
    if (at) {
        p->line = at->line;
        p->column = at->column;
    }
    *problems->last = p;
    problems->last = &p->next;
}

struct site {
    const struct field *field;
    const struct doc *doc;
    const char *path;
    struct problems *problems;
};

typedef void read_field(const struct site *site, void *to);

static const char *kind_name(const struct doc *doc)
{
    static const char *const names[] = {
        [DOC_NULL] = "null",     [DOC_BOOL] = "true/false", [DOC_NUMBER] = "a number",
        [DOC_STRING] = "a text", [DOC_LIST] = "a list",     [DOC_MAP] = "a map",
        [DOC_JSON] = "text",
    };
    return names[doc->kind];
}

static void wrong_kind(const struct site *s, const char *wanted)
{
    problem_add(s->problems, s->path, s->doc, "must be %s, not %s", wanted, kind_name(s->doc));
}

static bool in_range(const struct site *s, double value)
{
    const struct field *f = s->field;
    if ((f->min == 0 && f->max == 0) || (value >= f->min && value <= f->max)) return true;
    char low[NUM_DOUBLE_BYTES], high[NUM_DOUBLE_BYTES];
    num_format_double(f->min, low);
    num_format_double(f->max, high);
    const char *unit = f->type == FIELD_DURATION ? " s" : f->unit && f->unit[0] ? f->unit : "";
    problem_add(s->problems, s->path, s->doc, "%.*s is out of range: %s to %s%s",
                (int)s->doc->text.size, s->doc->text.at, low, high, unit);
    return false;
}

static void read_bool(const struct site *s, void *to)
{
    if (s->doc->kind != DOC_BOOL) {
        wrong_kind(s, "true or false");
        return;
    }
    *(bool *)to = s->doc->b;
}

static void read_int(const struct site *s, void *to)
{
    int64_t value;
    if (s->doc->kind != DOC_NUMBER || !num_parse_i64(s->doc->text, &value)) {
        wrong_kind(s, "a whole number");
        return;
    }
    if (in_range(s, (double)value)) *(int64_t *)to = value;
}

static void read_double(const struct site *s, void *to)
{
    double value;
    if (s->doc->kind != DOC_NUMBER || !num_parse_double(s->doc->text, &value)) {
        wrong_kind(s, "a number");
        return;
    }
    if (in_range(s, value)) *(double *)to = value;
}

/* A path, column or label: the characters that topics and SQL need for themselves are refused. */
static void check_name(const struct site *s, struct str name)
{
    for (size_t i = 0; i < name.size; i++) {
        unsigned char c = (unsigned char)name.at[i];
        if (c >= 0x20 && c != 0x7f && !strchr("+#\"", c)) continue;
        problem_add(s->problems, s->path, s->doc, "the character at byte %zu is not allowed here",
                    i);
        return;
    }
    if (name.size > 255) problem_add(s->problems, s->path, s->doc, "longer than 255 bytes");
}

/* A copy of `text`, terminated; shared with the same field's last one where they are equal (of a
 * device's thousand points nearly all have one type). */
static struct str keep(const struct site *s, struct str text)
{
    size_t slot = (uintptr_t)s->field / sizeof *s->field % PROBLEMS_RECENT;
    struct str *recent = &s->problems->recent[slot];
    if (recent->at && str_equal(*recent, text)) return *recent;
    const char *own = arena_strdup(s->problems->arena, text.at, text.size);
    if (!own) {
        s->problems->no_memory = true;
        return STR("");
    }
    return *recent = (struct str){own, text.size};
}

static void read_string(const struct site *s, void *to)
{
    if (s->doc->kind != DOC_STRING && s->doc->kind != DOC_NUMBER) {
        wrong_kind(s, "a text");
        return;
    }
    if (s->field->flags & FIELD_NAME) check_name(s, s->doc->text);
    if (s->field->flags & FIELD_REQUIRED && s->doc->text.size == 0)
        problem_add(s->problems, s->path, s->doc, "must not be empty");
    *(struct str *)to = keep(s, s->doc->text);
}

static void read_duration(const struct site *s, void *to)
{
    int64_t ns;
    if (s->doc->kind != DOC_STRING || !duration_parse(s->doc->text, &ns)) {
        problem_add(s->problems, s->path, s->doc,
                    "must be a duration such as 500ms, 10s, 5m, 1h or 90d");
        return;
    }
    if (in_range(s, (double)ns / 1e9)) *(int64_t *)to = ns;
}

static void read_enum(const struct site *s, void *to)
{
    size_t count = 0;
    struct buf names = BUF_EMPTY;
    /* A choice may look like a number, such as a version. */
    bool is_text = s->doc->kind == DOC_STRING || s->doc->kind == DOC_NUMBER;
    for (; s->field->choices[count]; count++) {
        if (is_text && str_is(s->doc->text, s->field->choices[count])) {
            *(int *)to = (int)count;
            buf_free(&names);
            return;
        }
        buf_printf(&names, "%s%s", count ? ", " : "", s->field->choices[count]);
    }
    int nearest =
        s->doc->kind == DOC_STRING ? str_nearest(s->doc->text, s->field->choices, count) : -1;
    const char *all = buf_cstr(&names);
    problem_add(s->problems, s->path, s->doc, "'%.*s' is not one of %s%s%s%s",
                (int)s->doc->text.size, s->doc->text.at ? s->doc->text.at : "",
                all ? all : "the choices", nearest >= 0 ? "; did you mean " : "",
                nearest >= 0 ? s->field->choices[nearest] : "", nearest >= 0 ? "?" : "");
    buf_free(&names);
}

static void read_strings(const struct site *s, void *to)
{
    struct field_strings *out = to;
    if (s->doc->kind != DOC_LIST) {
        wrong_kind(s, "a list of texts");
        return;
    }
    out->items = arena_alloc(s->problems->arena, s->doc->count * sizeof *out->items);
    if (!out->items) {
        s->problems->no_memory = true;
        return;
    }
    for (size_t i = 0; i < s->doc->count; i++) {
        const struct doc *item = s->doc->items[i].value;
        if (item->kind != DOC_STRING && item->kind != DOC_NUMBER)
            problem_add(s->problems, s->path, item, "item %zu must be a text, not %s", i + 1,
                        kind_name(item));
        out->items[out->count++] = keep(s, item->text);
    }
}

static void read_doc(const struct site *s, void *to)
{
    struct doc *copy = doc_copy(s->problems->arena, s->doc);
    if (!copy) s->problems->no_memory = true;
    *(struct doc **)to = copy;
}

static void read_map(const struct site *s, void *to)
{
    if (s->doc->kind != DOC_MAP) {
        wrong_kind(s, "a map");
        return;
    }
    for (size_t i = 0; i < s->doc->count; i++) {
        const struct doc *value = s->doc->items[i].value;
        if (value->kind == DOC_MAP || value->kind == DOC_LIST)
            problem_add(s->problems, s->path, value, "%.*s: must be a plain value, not %s",
                        (int)s->doc->items[i].key.size, s->doc->items[i].key.at, kind_name(value));
    }
    read_doc(s, to);
}

static void read_object(const struct site *s, void *to)
{
    field_bind(s->field->sub, s->doc, s->path, to, s->problems);
}

static void read_list(const struct site *s, void *to)
{
    struct field_list *out = to;
    if (s->doc->kind != DOC_LIST) {
        wrong_kind(s, "a list");
        return;
    }
    uint32_t *lines = arena_zero(s->problems->arena, s->doc->count, sizeof *lines);
    out->items = arena_zero(s->problems->arena, s->doc->count, s->field->sub_bytes);
    out->lines = lines;
    if (!out->items || !lines) {
        s->problems->no_memory = true;
        return;
    }
    out->count = s->doc->count;
    for (size_t i = 0; i < s->doc->count; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s[%zu]", s->path, i);
        lines[i] = s->doc->items[i].value->line;
        field_bind(s->field->sub, s->doc->items[i].value, path,
                   (char *)out->items + i * s->field->sub_bytes, s->problems);
    }
}

static read_field *const readers[] = {
    [FIELD_BOOL] = read_bool,       [FIELD_INT] = read_int,           [FIELD_DOUBLE] = read_double,
    [FIELD_STRING] = read_string,   [FIELD_DURATION] = read_duration, [FIELD_ENUM] = read_enum,
    [FIELD_STRINGS] = read_strings, [FIELD_MAP] = read_map,           [FIELD_OBJECT] = read_object,
    [FIELD_LIST] = read_list,       [FIELD_DOC] = read_doc,
};

/* A default is text in the field's own form; it goes through the same reader. */
static void set_default(const struct site *s, void *to)
{
    const struct field *f = s->field;
    if (f->flags & FIELD_NULLABLE) *(double *)to = NAN;
    if (f->type == FIELD_OBJECT) field_bind(f->sub, NULL, s->path, to, s->problems);
    if (f->type == FIELD_STRING && !f->default_text) *(struct str *)to = STR("");
    if (!f->default_text) return;
    struct str text = str_of(f->default_text);
    bool number = f->type == FIELD_INT || f->type == FIELD_DOUBLE;
    struct doc value = {.kind = f->type == FIELD_BOOL ? DOC_BOOL
                                : number              ? DOC_NUMBER
                                                      : DOC_STRING,
                        .b = str_is(text, "true"),
                        .text = text};
    struct site site = {f, &value, s->path, s->problems};
    readers[f->type](&site, to);
}

static void check_unknown(const struct field *fields, const struct doc *doc, const char *path,
                          struct problems *problems)
{
    const char *names[64];
    size_t count = 0;
    while (count < 64 && fields[count].name) {
        names[count] = fields[count].name;
        count++;
    }
    for (size_t i = 0; i < doc->count; i++) {
        struct str key = doc->items[i].key;
        size_t at = 0;
        while (at < count && !str_is(key, names[at])) at++;
        if (at < count) continue;
        /* Looking for it takes a while, and only the first problems are told. */
        int nearest = problems->count < PROBLEMS_MAX ? str_nearest(key, names, count) : -1;
        char where[512];
        snprintf(where, sizeof where, "%s%s%.*s", path, path[0] ? "." : "",
                 (int)(key.size > 200 ? 200 : key.size), key.at);
        problem_add(problems, where, doc->items[i].value, "unknown key '%.*s'%s%s%s", (int)key.size,
                    key.at, nearest >= 0 ? "; did you mean '" : "",
                    nearest >= 0 ? names[nearest] : "", nearest >= 0 ? "'?" : "");
    }
}

void field_bind(const struct field *fields, const struct doc *doc, const char *path, void *out,
                struct problems *problems)
{
    if (doc && doc->kind == DOC_NULL) doc = NULL;
    if (doc && doc->kind != DOC_MAP) {
        problem_add(problems, path, doc, "must be a map, not %s", kind_name(doc));
        return;
    }
    if (doc) check_unknown(fields, doc, path, problems);
    for (const struct field *f = fields; f->name; f++) {
        char where[512];
        snprintf(where, sizeof where, "%s%s%s", path, path[0] ? "." : "", f->name);
        const struct doc *value = doc_get(doc, f->name);
        void *to = (char *)out + f->offset;
        struct site site = {f, value, where, problems};
        bool absent = !value || (value->kind == DOC_NULL && f->type != FIELD_DOC);
        if (absent && f->flags & FIELD_REQUIRED)
            problem_add(problems, where, doc, "is required: %s", f->help_en);
        if (absent || f->type == FIELD_OBJECT) set_default(&site, to);
        if (!absent && f->flags & FIELD_NULLABLE) *(double *)to = NAN;
        if (!absent) readers[f->type](&site, to);
    }
}
