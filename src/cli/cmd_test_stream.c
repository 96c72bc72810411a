/* cmd_test_stream.c - `millrace test-stream [NAME] TOPIC`: what a Stream would make of a message,
 * without storing anything.
 *
 * The Stream is one of the node's, or one of a file that was not applied yet (-f); the payload
 * comes from a file or the standard input. Rows are shown as a table; what would become a dead
 * letter instead says why, and is a failure, so that scripts can try their messages. */
#include "cli/api.h"
#include "data/type.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the document ---- */

static bool is_meant(const struct doc *doc, const char *name)
{
    bool is_stream = resource_kind_of(doc_text(doc_get(doc, "kind"))) == KIND_STREAM;
    return is_stream && (!name || str_is(doc_text(doc_find(doc, "metadata.name")), name));
}

/* The Stream of a file: the one called `name`, or the only one. NULL after saying why. */
static const struct doc *from_file(struct api *api, const char *name)
{
    const struct cli_args *args = api->args;
    struct api_documents documents = {0};
    const struct doc *found = NULL;
    size_t count = 0;
    if (!api_read_files(api, args->repeated, args->repeated_count, &documents)) return NULL;
    for (size_t i = 0; i < documents.count; i++) {
        if (!is_meant(documents.items[i], name)) continue;
        found = documents.items[i];
        count++;
    }
    api_documents_free(&documents); /* the trees are the arena's */
    if (count == 1) return found;
    (void)cli_fail(args, CLI_FAILED,
                   count ? "%s has several Streams: name one, before the topic"
                         : "%s has no such Stream",
                   args->repeated[0]);
    return NULL;
}

static const struct doc *from_node(struct api *api, const char *name)
{
    struct buf path = BUF_EMPTY;
    api_path(&path, KIND_STREAM, api_namespace(api->args), name);
    const struct doc *doc = api_call(api, "GET", &path, API_JSON, NULL, STR(""));
    buf_free(&path);
    if (!doc) (void)api_fail(api);
    return doc;
}

/* ---- the answer ---- */

enum { COLUMNS_MAX = 200 };

/* The columns of all rows, in the order in which they come. */
struct titles {
    struct str names[COLUMNS_MAX];
    bool is_label[COLUMNS_MAX];
    size_t count;
};

static void add_titles(struct titles *t, const struct doc *map, bool is_label)
{
    for (size_t i = 0; map && i < map->count; i++) {
        size_t k = 0;
        while (k < t->count &&
               (t->is_label[k] != is_label || !str_equal(t->names[k], map->items[i].key)))
            k++;
        if (k < t->count || t->count == COLUMNS_MAX) continue;
        t->is_label[t->count] = is_label;
        t->names[t->count++] = map->items[i].key;
    }
}

static const char *const fixed[] = {"table", "device", "time"};
enum { FIXED = sizeof fixed / sizeof fixed[0] };

static struct doc *text_cell(struct api *api, const struct doc *value)
{
    struct buf out = BUF_EMPTY;
    if (value && value->kind != DOC_STRING) doc_write_json(&out, value);
    struct str text = !value                      ? STR("-")
                      : value->kind == DOC_STRING ? doc_text(value)
                                                  : buf_str(&out);
    struct doc *cell = doc_new_string(&api->arena, text);
    buf_free(&out);
    return cell;
}

static bool add_title(struct api *api, struct doc *list, struct str name, bool is_label)
{
    struct buf title = BUF_EMPTY;
    struct doc *column = doc_new(&api->arena, DOC_MAP);
    if (is_label) buf_add_text(&title, "label.");
    buf_add_str(&title, name);
    bool ok = column && !buf_failed(&title) &&
              doc_set(&api->arena, column, "name", doc_new_string(&api->arena, buf_str(&title))) &&
              doc_append(&api->arena, list, column);
    buf_free(&title);
    return ok;
}

static bool add_row(struct api *api, struct doc *list, const struct titles *t,
                    const struct doc *row)
{
    struct doc *cells = doc_new(&api->arena, DOC_LIST), *out = doc_new(&api->arena, DOC_MAP);
    const struct doc *labels = doc_get(row, "labels"), *columns = doc_get(row, "columns");
    bool ok = cells && out;
    for (size_t i = 0; i < FIXED && ok; i++)
        ok = doc_append(&api->arena, cells, text_cell(api, doc_get(row, fixed[i])));
    for (size_t i = 0; i < t->count && ok; i++) {
        const struct doc *from = t->is_label[i] ? labels : columns, *value = NULL;
        for (size_t k = 0; from && k < from->count; k++)
            if (str_equal(from->items[k].key, t->names[i])) value = from->items[k].value;
        ok = doc_append(&api->arena, cells, text_cell(api, value));
    }
    return ok && doc_set(&api->arena, out, "cells", cells) && doc_append(&api->arena, list, out);
}

/* As api_print_table has it. */
static bool print_rows(struct api *api, const struct doc *rows)
{
    static struct titles titles; /* large */
    struct doc *table = doc_new(&api->arena, DOC_MAP), *columns = doc_new(&api->arena, DOC_LIST),
               *list = doc_new(&api->arena, DOC_LIST);
    bool ok = table && columns && list;
    titles.count = 0;
    for (size_t i = 0; i < rows->count; i++) {
        add_titles(&titles, doc_get(rows->items[i].value, "labels"), true);
        add_titles(&titles, doc_get(rows->items[i].value, "columns"), false);
    }
    for (size_t i = 0; i < FIXED && ok; i++) ok = add_title(api, columns, str_of(fixed[i]), false);
    for (size_t i = 0; i < titles.count && ok; i++)
        ok = add_title(api, columns, titles.names[i], titles.is_label[i]);
    for (size_t i = 0; i < rows->count && ok; i++)
        ok = add_row(api, list, &titles, rows->items[i].value);
    ok = ok && doc_set(&api->arena, table, "columnDefinitions", columns) &&
         doc_set(&api->arena, table, "rows", list);
    if (ok) api_print_table(table, true, true);
    return ok;
}

static int report(struct api *api, const struct doc *answer)
{
    const struct doc *rows = doc_get(answer, "rows"), *error = doc_get(answer, "error");
    if (cli_value(api->args, "--json")) {
        struct buf out = BUF_EMPTY;
        doc_write_json(&out, answer);
        printf("%.*s\n", (int)out.size, out.size ? out.at : "");
        buf_free(&out);
    } else if (rows && rows->count && !print_rows(api, rows)) {
        return cli_fail(api->args, CLI_FAILED, "out of memory");
    }
    struct str text = doc_text(error);
    if (error)
        return cli_fail(api->args, CLI_FAILED, "the message would be a dead letter: %.*s",
                        (int)text.size, text.at);
    if (!rows || !rows->count) fprintf(stderr, "no rows: the Stream leaves the message out\n");
    return CLI_OK;
}

/* ---- the question ---- */

static int ask(struct api *api, const struct doc *stream, const char *topic, struct str payload)
{
    struct buf body = BUF_EMPTY, path = BUF_EMPTY;
    buf_add_text(&body, "{\"name\":");
    buf_add_json(&body, doc_text(doc_find(stream, "metadata.name")));
    buf_add_text(&body, ",\"spec\":");
    doc_write_json(&body, doc_get(stream, "spec"));
    buf_add_text(&body, ",\"topic\":");
    buf_add_json(&body, str_of(topic));
    buf_add_text(&body, ",\"payloadBase64\":");
    value_add_json(&body, &(struct value){.type = TYPE_BYTES, .s = payload});
    buf_add_char(&body, '}');
    buf_add_text(&path, "/v1/streams/test?ns=");
    api_add_segment(&path, api_namespace(api->args));
    const struct doc *answer = buf_failed(&body) ? NULL
                                                 : api_call(api, "POST", &path, API_JSON,
                                                            "application/json", buf_str(&body));
    buf_free(&body);
    buf_free(&path);
    return answer ? report(api, answer) : api_fail(api);
}

int cli_test_stream(const struct cli_args *args)
{
    const char *name = args->word_count == 2 ? args->words[0] : NULL,
               *topic = args->words[args->word_count - 1], *file = cli_value(args, "--payload");
    struct buf payload = BUF_EMPTY;
    struct api api;
    if (!name && !args->repeated_count)
        return cli_fail(args, CLI_USAGE,
                        "name a Stream of the node before the topic, or give -f FILE");
    if (!cli_read_file(file && strcmp(file, "-") != 0 ? file : "/dev/stdin", &payload)) {
        buf_free(&payload);
        return cli_fail(args, CLI_FAILED, "%s cannot be read: %m",
                        file ? file : "the standard input");
    }
    if (!api_open(&api, args)) {
        buf_free(&payload);
        return CLI_FAILED;
    }
    const struct doc *stream = args->repeated_count ? from_file(&api, name) : from_node(&api, name);
    int code = stream ? ask(&api, stream, topic, buf_str(&payload)) : CLI_FAILED;
    api_close(&api);
    buf_free(&payload);
    return code;
}
