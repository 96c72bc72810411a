/* cmd_apply.c - `millrace apply` and `millrace delete`: documents to the node and away.
 *
 * What a file says becomes the document: what it no longer says goes (but what is secret and not
 * given stays). Every document gets the annotation millrace.io/apply-set with the files it came
 * from; `--prune` deletes what carries the same set and stands in the files no more, so two folders
 * never prune each other's documents. All files are read and checked before the first is sent. */
#include "cli/api.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char set_key[] = "millrace.io/apply-set";

/* ---- which document ---- */

struct target {
    enum resource_kind kind;
    char ns[256], name[256]; /* ns "" for cluster-wide kinds */
};

static struct target target_of(const struct api *api, const struct doc *doc)
{
    struct target t = {.kind = KIND_CONNECTION};
    char kind[64];
    struct str ns = doc_text(doc_find(doc, "metadata.namespace"));
    (void)str_copy(kind, sizeof kind, doc_text(doc_get(doc, "kind")));
    t.kind = (enum resource_kind)resource_kind_of(str_of(kind)); /* checked when it was read */
    (void)str_copy(t.name, sizeof t.name, doc_text(doc_find(doc, "metadata.name")));
    if (resource_kinds[t.kind].namespaced)
        (void)str_copy(t.ns, sizeof t.ns, ns.size ? ns : str_of(api_namespace(api->args)));
    return t;
}

static struct doc *call(struct api *api, const char *method, const struct target *t, bool named,
                        struct str body)
{
    struct buf path = BUF_EMPTY;
    api_path(&path, t->kind, t->ns[0] ? t->ns : NULL, named ? t->name : NULL);
    bool is_change = strcmp(method, "GET") != 0;
    if (is_change && cli_value(api->args, "--dry-run")) buf_add_text(&path, "?dryRun=All");
    struct doc *doc = api_call(api, method, &path, API_JSON, "application/json", body);
    buf_free(&path);
    return doc;
}

static void say(const struct api *api, const struct target *t, const char *what)
{
    printf("%s/%s %s%s\n", resource_kinds[t->kind].singular, t->name, what,
           cli_value(api->args, "--dry-run") ? " (dry run)" : "");
}

static int complain(struct api *api, const struct target *t)
{
    return cli_fail(api->args, CLI_FAILED, "%s/%s: %s", resource_kinds[t->kind].singular, t->name,
                    api->message);
}

/* ---- apply ---- */

/* The files as they were named, so that the same command finds the same set. */
static bool name_set(const struct cli_args *args, char out[1024])
{
    size_t size = 0;
    for (size_t i = 0; i < args->repeated_count; i++) {
        char *whole = realpath(args->repeated[i], NULL);
        int n = snprintf(out + size, 1024 - size, "%s%s", size ? ":" : "",
                         whole ? whole : args->repeated[i]);
        free(whole); /* realpath's */
        if (n < 0 || (size += (size_t)n) >= 1024) return false;
    }
    return true;
}

static bool add_set(struct api *api, struct doc *doc, const struct target *t, const char *set)
{
    struct arena *arena = &api->arena;
    struct doc *metadata = doc_get(doc, "metadata"),
               *annotations = doc_get(metadata, "annotations");
    if (!annotations) annotations = doc_new(arena, DOC_MAP);
    return annotations && annotations->kind == DOC_MAP &&
           doc_set(arena, annotations, set_key, doc_new_string(arena, str_of(set))) &&
           doc_set(arena, metadata, "annotations", annotations) &&
           (!t->ns[0] ||
            doc_set(arena, metadata, "namespace", doc_new_string(arena, str_of(t->ns))));
}

/* Whether nothing but the version differs, which a new status raises, too. */
static bool is_same(struct api *api, const struct doc *before, const struct doc *now)
{
    struct doc *was = doc_copy(&api->arena, doc_get(before, "metadata")),
               *is = doc_copy(&api->arena, doc_get(now, "metadata"));
    struct doc *any = doc_new_string(&api->arena, STR(""));
    return was && is && any && doc_set(&api->arena, was, "resourceVersion", any) &&
           doc_set(&api->arena, is, "resourceVersion", any) && doc_equal(was, is);
}

static int apply_one(struct api *api, struct doc *doc, const char *set)
{
    struct target t = target_of(api, doc);
    struct buf body = BUF_EMPTY;
    if (!add_set(api, doc, &t, set)) {
        (void)str_copy(api->message, sizeof api->message,
                       STR("metadata.annotations must be a map of texts"));
        return complain(api, &t);
    }
    const struct doc *before = call(api, "GET", &t, true, (struct str){0});
    if (!before && api->status != 404) return complain(api, &t);
    doc_write_json(&body, doc);
    const struct doc *now = before ? call(api, "PUT", &t, true, buf_str(&body))
                                   : call(api, "POST", &t, false, buf_str(&body));
    buf_free(&body);
    if (!now) return complain(api, &t);
    say(api, &t, !before ? "created" : is_same(api, before, now) ? "unchanged" : "configured");
    struct str secret = doc_text(doc_find(now, "status.token"));
    if (!before && secret.size)
        fprintf(stderr, "token (shown once): %.*s\n", (int)secret.size, secret.at);
    return CLI_OK;
}

static bool is_applied(const struct api *api, const struct api_documents *documents,
                       const struct target *t)
{
    for (size_t i = 0; i < documents->count; i++) {
        struct target other = target_of(api, documents->items[i]);
        if (other.kind == t->kind && strcmp(other.ns, t->ns) == 0 &&
            strcmp(other.name, t->name) == 0)
            return true;
    }
    return false;
}

/* Deletes documents of a kind that carry the set and stand in no file of it any more. */
static int prune_kind(struct api *api, enum resource_kind kind,
                      const struct api_documents *documents, const char *set)
{
    struct buf path = BUF_EMPTY;
    api_path(&path, kind, NULL, NULL);
    const struct doc *list = api_call(api, "GET", &path, API_JSON, NULL, (struct str){0});
    buf_free(&path);
    if (!list && api->status == 403) return CLI_OK; /* not ours to see, so not ours to prune */
    if (!list) return api_fail(api);
    const struct doc *items = doc_get(list, "items");
    int code = CLI_OK;
    for (size_t i = 0; items && i < items->count; i++) {
        const struct doc *item = items->items[i].value;
        const struct doc *annotations = doc_find(item, "metadata.annotations");
        struct target t = target_of(api, item);
        if (!str_is(doc_text(doc_get(annotations, set_key)), set) || is_applied(api, documents, &t))
            continue;
        if (call(api, "DELETE", &t, true, (struct str){0}))
            say(api, &t, "pruned");
        else
            code = complain(api, &t);
    }
    return code;
}

static void show_progress(size_t done, size_t total)
{
    enum { WORTH_SHOWING = 50 };
    if (total < WORTH_SHOWING || !isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\r%zu of %zu documents%s", done, total, done == total ? "\n" : "");
}

int cli_apply(const struct cli_args *args)
{
    struct api api;
    struct api_documents documents = {0};
    char set[1024];
    if (!args->repeated_count)
        return cli_fail(args, CLI_USAGE,
                        "name a file, a folder or -: millrace apply -f plant.yaml");
    if (!name_set(args, set)) return cli_fail(args, CLI_USAGE, "the files' paths are too long");
    int code = api_open(&api, args) ? CLI_OK : CLI_FAILED;
    if (!code && !api_read_files(&api, args->repeated, args->repeated_count, &documents))
        code = CLI_USAGE;
    bool is_sent = !code;
    for (size_t i = 0; is_sent && i < documents.count; i++) {
        if (apply_one(&api, documents.items[i], set)) code = CLI_FAILED;
        show_progress(i + 1, documents.count);
    }
    /* After a failure nothing is deleted: what stands in its place may be what failed. */
    for (int k = 0; k < KIND_COUNT && !code && cli_value(args, "--prune"); k++)
        code = prune_kind(&api, (enum resource_kind)k, &documents, set);
    api_documents_free(&documents);
    api_close(&api);
    return code;
}

/* ---- delete ---- */

static int delete_one(struct api *api, const struct target *t)
{
    if (call(api, "DELETE", t, true, (struct str){0})) {
        say(api, t, "deleted");
        return CLI_OK;
    }
    if (api->status == 404 && cli_value(api->args, "--ignore-not-found")) return CLI_OK;
    return complain(api, t);
}

static int delete_named(struct api *api)
{
    const struct cli_args *args = api->args;
    int kind = api_kind(args, args->words[0]), code = CLI_OK;
    if (kind < 0) return CLI_USAGE;
    for (size_t i = 1; i < args->word_count; i++) {
        struct target t = {.kind = (enum resource_kind)kind};
        if (resource_kinds[kind].namespaced)
            (void)str_copy(t.ns, sizeof t.ns, str_of(api_namespace(args)));
        (void)str_copy(t.name, sizeof t.name, str_of(args->words[i]));
        if (delete_one(api, &t)) code = CLI_FAILED;
    }
    return code;
}

static int delete_files(struct api *api)
{
    struct api_documents documents = {0};
    int code = CLI_OK;
    if (!api_read_files(api, api->args->repeated, api->args->repeated_count, &documents))
        code = CLI_USAGE;
    for (size_t i = code ? 0 : documents.count; i-- > 0;) { /* what was made last goes first */
        struct target t = target_of(api, documents.items[i]);
        if (delete_one(api, &t)) code = CLI_FAILED;
    }
    api_documents_free(&documents);
    return code;
}

int cli_delete(const struct cli_args *args)
{
    struct api api;
    bool by_file = args->repeated_count > 0;
    if (by_file == (args->word_count > 0) || args->word_count == 1)
        return cli_fail(
            args, CLI_USAGE,
            "say what to delete: millrace delete KIND NAME…, or millrace delete -f FILE");
    if (!api_open(&api, args)) return CLI_FAILED;
    int code = by_file ? delete_files(&api) : delete_named(&api);
    api_close(&api);
    return code;
}
