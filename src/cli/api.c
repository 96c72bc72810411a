/* api.c - see api.h. */
#include "cli/api.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool api_open(struct api *api, const struct cli_args *args)
{
    *api = (struct api){.args = args, .client = client_open(args)};
    arena_init(&api->arena, NULL);
    return api->client != NULL;
}

void api_close(struct api *api)
{
    client_close(api->client);
    arena_free(&api->arena);
}

int api_kind(const struct cli_args *args, const char *name)
{
    const char *names[3 * KIND_COUNT];
    size_t count = 0;
    char lower[64];
    if (str_copy(lower, sizeof lower, str_of(name)))
        for (char *p = lower; *p; p++)
            if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
    int kind = resource_kind_of(str_of(lower));
    if (kind >= 0) return kind;
    for (int k = 0; k < KIND_COUNT; k++) {
        names[count++] = resource_kinds[k].plural;
        names[count++] = resource_kinds[k].singular;
    }
    int nearest = str_nearest(str_of(lower), names, count);
    struct buf all = BUF_EMPTY;
    for (int k = 0; k < KIND_COUNT; k++)
        buf_printf(&all, "%s%s",
                   k == 0               ? ""
                   : k + 1 < KIND_COUNT ? ", "
                                        : " and ",
                   resource_kinds[k].plural);
    const char *kinds = buf_cstr(&all);
    (void)cli_fail(args, CLI_USAGE, "'%s' is not a kind%s%s%s; there are %s", name,
                   nearest >= 0 ? "; did you mean " : "", nearest >= 0 ? names[nearest] : "",
                   nearest >= 0 ? "?" : "", kinds ? kinds : "many");
    buf_free(&all);
    return -1;
}

/* Everything but unreserved characters (RFC 3986 section 2.3) is percent-encoded. */
void api_add_segment(struct buf *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~", c);
        if (plain)
            buf_add_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

void api_path(struct buf *out, enum resource_kind kind, const char *ns, const char *name)
{
    buf_add_text(out, "/apis/millrace.io/v1/");
    if (resource_kinds[kind].namespaced && ns) {
        buf_add_text(out, "namespaces/");
        api_add_segment(out, ns);
        buf_add_char(out, '/');
    }
    buf_add_text(out, resource_kinds[kind].plural);
    if (!name) return;
    buf_add_char(out, '/');
    api_add_segment(out, name);
}

const char *api_namespace(const struct cli_args *args)
{
    const char *given = cli_value(args, "-n");
    return given ? given : "default";
}

struct doc *api_call(struct api *api, const char *method, struct buf *path, int accept,
                     const char *content_type, struct str body)
{
    struct client_answer answer = {0};
    struct why why = WHY_NONE;
    struct doc *doc = NULL;
    const char *target = buf_cstr(path);
    api->status = 0;
    enum err err =
        target ? client_request(api->client, method, target,
                                accept == API_TABLE ? "application/json;as=Table;v=v1;g=meta.k8s.io"
                                                    : "application/json",
                                body.size ? content_type : NULL, body, &answer, &why)
               : ERR_NO_MEMORY;
    if (!err) api->status = answer.status;
    if (!err && answer.status < 300)
        err = doc_read_json(buf_str(&answer.body), &api->arena, &doc, &why);
    else if (!err)
        client_error_text(&answer, api->message, sizeof api->message);
    if (err) (void)str_copy(api->message, sizeof api->message, str_of(why_text(&why, err)));
    client_answer_free(&answer);
    return err ? NULL : doc;
}

int api_fail(struct api *api)
{
    return cli_fail(api->args, CLI_FAILED, "%s", api->message);
}

/* ---- files ---- */

static bool read_stdin(struct buf *out)
{
    size_t n;
    do {
        if (!buf_reserve(out, 65536)) return false;
        n = fread(out->at + out->size, 1, 65536, stdin);
        out->size += n;
    } while (n > 0);
    return !ferror(stdin);
}

/* The same checks as the node's, so far as they need no node. */
static bool check_document(struct api *api, const struct doc *doc, const char *file)
{
    struct problems problems;
    struct resource *resource = NULL;
    struct why why = WHY_NONE;
    problems_init(&problems, &api->arena);
    enum err err = resource_read(doc, file, &resource, &problems, &why);
    resource_release(resource);
    if (err) (void)cli_fail(api->args, CLI_USAGE, "%s", why_text(&why, err));
    return !err;
}

static bool read_file(struct api *api, const char *path, struct api_documents *documents)
{
    struct buf text = BUF_EMPTY;
    struct doc **docs = NULL;
    size_t count = 0;
    struct why why = WHY_NONE;
    bool is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "stdin" : path;
    bool ok = is_stdin ? read_stdin(&text) : cli_read_file(path, &text);
    if (!ok) {
        (void)cli_fail(api->args, CLI_USAGE, "%s: %s", name, strerror(errno));
        buf_free(&text);
        return false;
    }
    enum err err = doc_read_yaml(buf_str(&text), name, &api->arena, &docs, &count, &why);
    buf_free(&text);
    if (err) (void)cli_fail(api->args, CLI_USAGE, "%s", why_text(&why, err));
    for (size_t i = 0; !err && i < count; i++) {
        if (!check_document(api, docs[i], name)) return false;
        err = mem_grow(&documents->items, &documents->capacity, documents->count + 1,
                       sizeof *documents->items);
        if (!err) documents->items[documents->count++] = docs[i];
    }
    return !err;
}

static int is_manifest(const struct dirent *entry)
{
    const char *end = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && end &&
           (strcmp(end, ".yaml") == 0 || strcmp(end, ".yml") == 0 || strcmp(end, ".json") == 0);
}

static bool read_folder(struct api *api, const char *path, struct api_documents *documents)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, is_manifest, alphasort);
    bool ok = count >= 0;
    if (!ok) (void)cli_fail(api->args, CLI_USAGE, "%s: %s", path, strerror(errno));
    if (count == 0)
        ok = cli_fail(api->args, CLI_USAGE, "%s: no *.yaml, *.yml or *.json in it", path) == CLI_OK;
    for (int i = 0; i < count; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        if (ok) ok = read_file(api, file, documents);
        free(names[i]); /* scandir's */
    }
    free(names);
    return ok;
}

bool api_read_files(struct api *api, const char *const *files, size_t count,
                    struct api_documents *documents)
{
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        struct stat info;
        bool is_folder = stat(files[i], &info) == 0 && S_ISDIR(info.st_mode);
        ok =
            is_folder ? read_folder(api, files[i], documents) : read_file(api, files[i], documents);
    }
    return ok;
}

void api_documents_free(struct api_documents *documents)
{
    mem_free(documents->items);
    *documents = (struct api_documents){0};
}

/* ---- tables ---- */

/* Characters as a terminal counts them, nearly: one per code point. */
static size_t width_of(struct str text)
{
    size_t width = 0;
    for (size_t i = 0; i < text.size; i++) width += ((unsigned char)text.at[i] & 0xc0) != 0x80;
    return width;
}

static bool is_shown(const struct doc *column, bool wide)
{
    return wide || str_is(doc_text(doc_get(column, "priority")), "0");
}

static void print_cell(struct str text, size_t width, bool is_last)
{
    if (!text.size) text = STR("-");
    cli_print_safely(stdout, text);
    if (!is_last) printf("%*s", (int)(width - width_of(text) + 3), "");
}

enum { TABLE_COLUMNS_MAX = 32 };

void api_print_table(const struct doc *table, bool wide, bool with_header)
{
    const struct doc *columns = doc_get(table, "columnDefinitions"), *rows = doc_get(table, "rows");
    size_t widths[TABLE_COLUMNS_MAX] = {0}, last = 0;
    char heads[TABLE_COLUMNS_MAX][64];
    if (!columns || !rows) return;
    size_t count = columns->count < TABLE_COLUMNS_MAX ? columns->count : TABLE_COLUMNS_MAX;
    for (size_t c = 0; c < count; c++) {
        const struct doc *column = columns->items[c].value;
        (void)str_copy(heads[c], sizeof heads[c], doc_text(doc_get(column, "name")));
        for (char *p = heads[c]; *p; p++)
            if (*p >= 'a' && *p <= 'z') *p = (char)(*p - 32);
        widths[c] = width_of(str_of(heads[c]));
        if (is_shown(column, wide)) last = c;
        for (size_t r = 0; r < rows->count; r++) {
            const struct doc *cells = doc_get(rows->items[r].value, "cells");
            size_t width =
                cells && c < cells->count ? width_of(doc_text(cells->items[c].value)) : 0;
            if (width > widths[c]) widths[c] = width;
        }
    }
    for (size_t r = with_header ? 0 : 1; r <= rows->count; r++) {
        const struct doc *cells = r ? doc_get(rows->items[r - 1].value, "cells") : NULL;
        for (size_t c = 0; c < count; c++) {
            if (!is_shown(columns->items[c].value, wide)) continue;
            struct str text = !r                          ? str_of(heads[c])
                              : cells && c < cells->count ? doc_text(cells->items[c].value)
                                                          : STR("");
            print_cell(text, widths[c], c == last);
        }
        putchar('\n');
    }
}
