/* cmd_get.c - `millrace get`, `watch`, `describe` and `explain`: documents as kubectl shows them.
 */
#include "cli/api.h"
#include <stdio.h>
#include <string.h>

enum output { OUT_TABLE, OUT_WIDE, OUT_YAML, OUT_JSON, OUT_NAME, OUT_COUNT };
static const char *const output_names[OUT_COUNT] = {"table", "wide", "yaml", "json", "name"};

static int read_output(const struct cli_args *args, enum output *output)
{
    const char *given = cli_value(args, "-o");
    *output = OUT_TABLE;
    for (int i = 0; given && i < OUT_COUNT; i++) {
        if (strcmp(given, output_names[i]) != 0) continue;
        *output = (enum output)i;
        return CLI_OK;
    }
    if (!given) return CLI_OK;
    int nearest = str_nearest(str_of(given), output_names, OUT_COUNT);
    return cli_fail(args, CLI_USAGE, "-o %s: must be table, wide, yaml, json or name%s%s%s", given,
                    nearest >= 0 ? "; did you mean " : "",
                    nearest >= 0 ? output_names[nearest] : "", nearest >= 0 ? "?" : "");
}

/* ---- what is asked for ---- */

struct query {
    struct api api;
    enum resource_kind kind;
    enum output output;
    char kind_text[64];
    const char *name;   /* NULL = a list */
    struct str version; /* watch: of the list that was shown */
    size_t shown;
};

/* "KIND [NAME]" or "KIND/NAME". */
static int read_query(struct query *q, const struct cli_args *args)
{
    const char *slash = strchr(args->words[0], '/');
    struct str kind = slash ? (struct str){args->words[0], (size_t)(slash - args->words[0])}
                            : str_of(args->words[0]);
    (void)str_copy(q->kind_text, sizeof q->kind_text, kind);
    q->name = slash ? slash + 1 : args->word_count > 1 ? args->words[1] : NULL;
    if (slash && args->word_count > 1)
        return cli_fail(args, CLI_USAGE, "either KIND NAME or KIND/NAME, not both");
    int found = api_kind(args, q->kind_text);
    if (found < 0) return CLI_USAGE;
    q->kind = (enum resource_kind)found;
    return CLI_OK;
}

static void make_path(struct query *q, struct buf *path, bool is_list)
{
    const struct cli_args *args = q->api.args;
    bool all = cli_value(args, "-A") != NULL;
    const char *selector = cli_value(args, "-l");
    api_path(path, q->kind, all ? NULL : api_namespace(args), is_list ? NULL : q->name);
    char sign = '?';
    if (is_list && q->name) {
        buf_add_text(path, "?fieldSelector=metadata.name%3D");
        api_add_segment(path, q->name);
        sign = '&';
    }
    if (is_list && selector) {
        buf_printf(path, "%clabelSelector=", sign);
        api_add_segment(path, selector);
    }
}

/* ---- printing ---- */

static void print_name(const struct query *q, const struct doc *doc)
{
    struct str name = doc_text(doc_find(doc, "metadata.name"));
    printf("%s/%.*s\n", resource_kinds[q->kind].singular, (int)name.size, name.at);
}

static void print_document(struct query *q, const struct doc *doc)
{
    struct buf out = BUF_EMPTY;
    if (q->output == OUT_NAME) {
        print_name(q, doc);
    } else {
        if (q->output == OUT_YAML && q->shown) buf_add_text(&out, "---\n");
        if (q->output == OUT_YAML)
            doc_write_yaml(&out, doc, 0);
        else
            doc_write_json(&out, doc);
        if (q->output == OUT_JSON) buf_add_char(&out, '\n');
        printf("%.*s", (int)out.size, out.at);
    }
    q->shown++;
    buf_free(&out);
}

static void print_answer(struct query *q, const struct doc *answer)
{
    const struct doc *items = doc_get(answer, "items");
    if (q->output == OUT_TABLE || q->output == OUT_WIDE) {
        const struct doc *rows = doc_get(answer, "rows");
        if (rows && rows->count)
            api_print_table(answer, q->output == OUT_WIDE, true);
        else
            fprintf(stderr, "No %s found.\n", resource_kinds[q->kind].plural);
    } else if (q->output == OUT_JSON || !items) {
        print_document(q, answer);
    } else {
        for (size_t i = 0; i < items->count; i++) print_document(q, items->items[i].value);
    }
}

static int accept_of(const struct query *q)
{
    return q->output == OUT_TABLE || q->output == OUT_WIDE ? API_TABLE : API_JSON;
}

static int show(struct query *q)
{
    struct buf path = BUF_EMPTY;
    make_path(q, &path, !q->name);
    const struct doc *answer = api_call(&q->api, "GET", &path, accept_of(q), NULL, (struct str){0});
    buf_free(&path);
    if (!answer) return api_fail(&q->api);
    q->version = doc_text(doc_find(answer, "metadata.resourceVersion"));
    print_answer(q, answer);
    return CLI_OK;
}

/* ---- watching ---- */

/* One {"type","object"} line. */
static bool use_event(void *arg, struct str line)
{
    struct query *q = arg;
    struct arena arena;
    struct doc *event = NULL;
    arena_init(&arena, NULL);
    if (!doc_read_json(line, &arena, &event, NULL)) {
        const struct doc *object = doc_get(event, "object");
        bool gone = str_is(doc_text(doc_get(event, "type")), "DELETED");
        if (accept_of(q) == API_JSON)
            print_document(q, object);
        else
            api_print_table(object, q->output == OUT_WIDE, false);
        if (gone && q->output != OUT_JSON) puts("(deleted)");
        fflush(stdout);
    }
    arena_free(&arena);
    return true;
}

/* From the list on; begun again where the node lets it (it cuts slow watchers). */
static int follow(struct query *q)
{
    struct buf path = BUF_EMPTY;
    struct client_answer answer = {0};
    struct why why = WHY_NONE;
    make_path(q, &path, true);
    buf_printf(&path, "%cwatch=true&resourceVersion=%.*s",
               memchr(path.at, '?', path.size) ? '&' : '?', (int)q->version.size, q->version.at);
    const char *target = buf_cstr(&path);
    enum err err = target ? client_stream(q->api.client, target,
                                          accept_of(q) == API_TABLE
                                              ? "application/json;as=Table;v=v1;g=meta.k8s.io"
                                              : "application/json",
                                          use_event, q, &answer, &why)
                          : ERR_NO_MEMORY;
    if (err)
        (void)str_copy(q->api.message, sizeof q->api.message, str_of(why_text(&why, err)));
    else if (answer.status != 200)
        client_error_text(&answer, q->api.message, sizeof q->api.message);
    else
        (void)str_copy(q->api.message, sizeof q->api.message, STR("the node ended the watch"));
    client_answer_free(&answer);
    buf_free(&path);
    return api_fail(&q->api);
}

static int run(const struct cli_args *args, bool watch)
{
    struct query q = {0};
    int code = read_output(args, &q.output);
    if (!code) code = read_query(&q, args);
    if (code) return code;
    if (!api_open(&q.api, args)) return CLI_FAILED;
    code = show(&q);
    fflush(stdout);
    if (!code && watch) code = follow(&q);
    api_close(&q.api);
    return code;
}

int cli_get(const struct cli_args *args)
{
    return run(args, cli_value(args, "--watch") != NULL);
}

int cli_watch(const struct cli_args *args)
{
    return run(args, true);
}

/* ---- describe ---- */

/* "roundTripMs" → "Round Trip Ms". */
static void print_key(struct str key, int indent)
{
    printf("%*s", indent, "");
    for (size_t i = 0; i < key.size; i++) {
        char c = key.at[i];
        bool is_upper = c >= 'A' && c <= 'Z';
        if (i == 0 && c >= 'a' && c <= 'z') c = (char)(c - 32);
        if (i > 0 && is_upper) putchar(' ');
        putchar(c);
    }
    putchar(':');
}

static void print_tree(const struct doc *doc, int indent);

static void print_value(const struct doc *value, int indent)
{
    if (value->kind == DOC_MAP || value->kind == DOC_LIST) {
        putchar('\n');
        print_tree(value, indent + 2);
    } else if (value->kind == DOC_BOOL) {
        puts(value->b ? "  true" : "  false");
    } else {
        printf("  %.*s\n", (int)value->text.size, value->text.at ? value->text.at : "");
    }
}

static void print_tree(const struct doc *doc, int indent)
{
    for (size_t i = 0; i < doc->count; i++) {
        const struct doc *value = doc->items[i].value;
        if (doc->kind == DOC_MAP)
            print_key(doc->items[i].key, indent);
        else
            printf("%*s-", indent, "");
        print_value(value, indent);
    }
}

int cli_describe(const struct cli_args *args)
{
    struct query q = {.output = OUT_JSON};
    int code = read_query(&q, args);
    if (code) return code;
    if (!api_open(&q.api, args)) return CLI_FAILED;
    struct buf path = BUF_EMPTY;
    make_path(&q, &path, !q.name);
    const struct doc *answer = api_call(&q.api, "GET", &path, API_JSON, NULL, (struct str){0});
    buf_free(&path);
    const struct doc *items = doc_get(answer, "items");
    if (!answer)
        code = api_fail(&q.api);
    else if (!items)
        print_tree(answer, 0);
    for (size_t i = 0; items && i < items->count; i++) {
        if (i) putchar('\n');
        print_tree(items->items[i].value, 0);
    }
    api_close(&q.api);
    return code;
}

/* ---- explain ---- */

static void explain_fields(const struct field *fields)
{
    for (const struct field *f = fields; f->name; f++) {
        printf("  %-14s %s%s%s%s%s\n", f->name, f->help_en,
               f->flags & FIELD_REQUIRED ? " (required)" : "", f->default_text ? " (default: " : "",
               f->default_text ? f->default_text : "", f->default_text ? ")" : "");
        for (size_t i = 0; f->type == FIELD_ENUM && f->choices[i]; i++)
            printf("  %-14s   %s\n", "", f->choices[i]);
    }
}

/* Finds "spec.points.address" below a kind's fields; NULL after printing what there is. */
static const struct field *find_field(const struct cli_args *args, const struct field *fields,
                                      struct str path)
{
    const struct field *found = NULL;
    struct str piece;
    if (str_starts(path, "spec.")) path = (struct str){path.at + 5, path.size - 5};
    while (str_split(&path, '.', &piece)) {
        const char *names[64];
        size_t count = 0;
        found = NULL;
        for (const struct field *f = fields; f && f->name && count < 64; f++) {
            names[count++] = f->name;
            if (str_is(piece, f->name)) found = f;
        }
        int nearest = found ? -1 : str_nearest(piece, names, count);
        if (!found) {
            (void)cli_fail(args, CLI_USAGE, "there is no field '%.*s'%s%s%s", (int)piece.size,
                           piece.at, nearest >= 0 ? "; did you mean " : "",
                           nearest >= 0 ? names[nearest] : "", nearest >= 0 ? "?" : "");
            return NULL;
        }
        fields = found->sub;
    }
    return found;
}

int cli_explain(const struct cli_args *args)
{
    const char *dot = strchr(args->words[0], '.');
    char name[64];
    (void)str_copy(name, sizeof name,
                   dot ? (struct str){args->words[0], (size_t)(dot - args->words[0])}
                       : str_of(args->words[0]));
    int kind = api_kind(args, name);
    if (kind < 0) return CLI_USAGE;
    const struct kind_info *info = &resource_kinds[kind];
    bool is_whole = !dot || strcmp(dot + 1, "spec") == 0;
    if (is_whole) {
        printf("%s: %s\nFields of spec:\n", info->name, info->help_en);
        explain_fields(info->fields);
        return CLI_OK;
    }
    const struct field *field = find_field(args, info->fields, str_of(dot + 1));
    if (!field) return CLI_USAGE;
    printf("%s: %s\n", args->words[0], field->help_en);
    if (field->sub) explain_fields(field->sub);
    for (size_t i = 0; field->type == FIELD_ENUM && field->choices[i]; i++)
        printf("  %s\n", field->choices[i]);
    return CLI_OK;
}
