/* resources.c - what a request of the resource API is about, whether it is allowed, and answers in
 * Kubernetes' form. */
#include "listeners/resources_priv.h"
#include <stdio.h>
#include <string.h>

/* ---- Status answers ---- */

struct reason {
    enum err err;
    int status;
    const char *reason;
};

static const struct reason reasons[] = {
    {ERR_NOT_FOUND, 404, "NotFound"},          {ERR_EXISTS, 409, "AlreadyExists"},
    {ERR_CONFLICT, 409, "Conflict"},           {ERR_INVALID, 422, "Invalid"},
    {ERR_SYNTAX, 400, "BadRequest"},           {ERR_FORBIDDEN, 403, "Forbidden"},
    {ERR_READ_ONLY, 403, "Forbidden"},         {ERR_GONE, 410, "Expired"},
    {ERR_LIMIT, 413, "RequestEntityTooLarge"}, {ERR_UNSUPPORTED, 415, "UnsupportedMediaType"},
    {ERR_BUSY, 429, "TooManyRequests"},        {ERR_UNAUTHENTICATED, 401, "Unauthorized"},
};

static struct reason reason_of(enum err err)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].err == err) return reasons[i];
    return (struct reason){err, err_http_status(err), "InternalError"};
}

static void add_causes(struct buf *out, const struct problems *problems)
{
    buf_add_text(out, ",\"causes\":[");
    for (const struct problem *p = problems->first; p; p = p->next) {
        if (p != problems->first) buf_add_char(out, ',');
        buf_add_text(out, "{\"reason\":\"FieldValueInvalid\",\"message\":");
        buf_add_json(out, str_of(p->text));
        buf_add_text(out, ",\"field\":");
        buf_add_json(out, str_of(p->path));
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

void resources_fail(struct http_exchange *exchange, const struct resource_target *target,
                    enum err err, const struct why *why, const struct problems *problems)
{
    struct reason reason = reason_of(err);
    struct buf out = BUF_EMPTY;
    buf_printf(
        &out,
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"reason\":\"%s\","
        "\"code\":%d,\"message\":",
        reason.reason, reason.status);
    buf_add_json(&out, str_of(why_text(why, err)));
    buf_add_text(&out, ",\"details\":{");
    if (target) {
        buf_add_text(&out, "\"group\":\"millrace.io\",\"kind\":");
        buf_add_json(&out, str_of(resource_kinds[target->kind].plural));
        buf_add_text(&out, ",\"name\":");
        buf_add_json(&out, target->name);
        if (problems && problems->first) add_causes(&out, problems);
    }
    buf_add_text(&out, "}}");
    http_reply_buf(exchange, reason.status, "application/json", &out);
    buf_free(&out);
}

bool resources_target(struct http_exchange *exchange, bool has_ns, bool has_name,
                      struct resource_target *target)
{
    const struct http_request *request = http_request_of(exchange);
    size_t at = has_ns ? 1 : 0;
    struct str plural = request->params[at];
    int kind = -1;
    for (int k = 0; k < KIND_COUNT; k++)
        if (str_is(plural, resource_kinds[k].plural)) kind = k;
    if (kind < 0) {
        struct why why = WHY_NONE;
        const char *names[KIND_COUNT];
        for (int k = 0; k < KIND_COUNT; k++) names[k] = resource_kinds[k].plural;
        int nearest = str_nearest(plural, names, KIND_COUNT);
        why_set(&why, ERR_NOT_FOUND, "there is no resource type '%.*s'%s%s%s", (int)plural.size,
                plural.at, nearest >= 0 ? "; did you mean " : "",
                nearest >= 0 ? names[nearest] : "", nearest >= 0 ? "?" : "");
        resources_fail(exchange, NULL, ERR_NOT_FOUND, &why, NULL);
        return false;
    }
    *target = (struct resource_target){.kind = (enum resource_kind)kind};
    if (has_ns) target->ns = request->params[0];
    if (has_name) target->name = request->params[at + 1];
    /* Objects are addressed where their kind lives. */
    bool is_list = !has_ns && !has_name;
    if (resource_kinds[kind].namespaced == has_ns || is_list) return true;
    struct why why = WHY_NONE;
    why_set(&why, ERR_NOT_FOUND, "%s %s: use /apis/millrace.io/v1/%s%s",
            resource_kinds[kind].plural,
            has_ns ? "belong to no namespace" : "belong to a namespace",
            has_ns ? "" : "namespaces/NAMESPACE/", resource_kinds[kind].plural);
    resources_fail(exchange, NULL, ERR_NOT_FOUND, &why, NULL);
    return false;
}

bool resources_allowed(struct http_exchange *exchange, enum access_verb verb,
                       const struct resource_target *target)
{
    const char *kind = resource_kinds[target->kind].name;
    const struct identity *who = api_identity(exchange);
    struct why why = WHY_NONE;
    /* A name that is not there yet, or of which the path is not known yet, is looked at again. */
    if (access_scope(who, verb, kind, target->ns, target->name)) return true;
    enum err err =
        access_check(who, verb, kind, target->ns, target->name, (struct str){"", 0}, &why);
    MUST(err);
    resources_fail(exchange, target, err, &why, NULL);
    return false;
}

bool resources_visible(const struct service *service, const struct identity *identity,
                       enum access_verb verb, const struct resource *r)
{
    char path[1024];
    return access_check(identity, verb, resource_kinds[r->kind].name, r->ns, r->name,
                        resource_path(service, r, path), NULL) == ERR_OK;
}

void resources_write_document(struct buf *out, const struct resource *resource, const char *secret)
{
    struct arena arena;
    if (!secret[0]) {
        if (!resource_write_json(out, resource)) out->failed = true;
        return;
    }
    arena_init(&arena, NULL);
    struct doc *doc = resource_document(resource, &arena), *status = doc_get(doc, "status");
    if (!status) status = doc_new(&arena, DOC_MAP);
    bool ok = doc && status && doc_set(&arena, doc, "status", status) &&
              doc_set(&arena, status, "token", doc_new_string(&arena, str_of(secret)));
    if (ok)
        doc_write_json(out, doc);
    else
        out->failed = true;
    arena_free(&arena);
}

/* ---- handlers ---- */

static void collection(struct http_exchange *exchange, struct service *service,
                       const struct resource_target *target)
{
    struct str method = http_request_of(exchange)->method;
    if (str_is(method, "POST"))
        resources_submit(exchange, service, target, VERB_CREATE, false);
    else if (str_is(method, "GET") || str_is(method, "HEAD"))
        resources_list(exchange, service, target);
    else
        http_reply_status(exchange, 405, "METHOD_NOT_ALLOWED",
                          "a collection takes GET and POST; name the object");
}

static void object(struct http_exchange *exchange, struct service *service,
                   const struct resource_target *target)
{
    const struct http_request *request = http_request_of(exchange);
    struct str type = http_header(request, "content-type");
    if (str_is(request->method, "PUT")) {
        resources_submit(exchange, service, target, VERB_UPDATE, false);
    } else if (str_is(request->method, "DELETE")) {
        resources_submit(exchange, service, target, VERB_DELETE, false);
    } else if (str_is(request->method, "GET") || str_is(request->method, "HEAD")) {
        resources_get(exchange, service, target);
    } else if (!str_is(request->method, "PATCH")) {
        http_reply_status(exchange, 405, "METHOD_NOT_ALLOWED",
                          "an object takes GET, PUT, PATCH and DELETE");
    } else if (str_starts(type, "application/merge-patch+json")) {
        resources_submit(exchange, service, target, VERB_UPDATE, true);
    } else {
        struct why why = WHY_NONE;
        why_set(&why, ERR_UNSUPPORTED,
                "the patch type '%.*s' is not supported: use application/merge-patch+json",
                (int)type.size, type.at ? type.at : "");
        resources_fail(exchange, target, ERR_UNSUPPORTED, &why, NULL);
    }
}

void resources_collection(struct http_exchange *exchange, void *arg)
{
    struct resource_target target;
    if (resources_target(exchange, true, false, &target)) collection(exchange, arg, &target);
}

void resources_object(struct http_exchange *exchange, void *arg)
{
    struct resource_target target;
    if (resources_target(exchange, true, true, &target)) object(exchange, arg, &target);
}

void resources_all(struct http_exchange *exchange, void *arg)
{
    struct resource_target target;
    if (!resources_target(exchange, false, false, &target)) return;
    bool is_post = str_is(http_request_of(exchange)->method, "POST");
    if (!is_post || !resource_kinds[target.kind].namespaced) {
        collection(exchange, arg, &target);
        return;
    }
    struct why why = WHY_NONE;
    why_set(&why, ERR_INVALID,
            "%s belong to a namespace: use /apis/millrace.io/v1/namespaces/NAMESPACE/%s",
            resource_kinds[target.kind].plural, resource_kinds[target.kind].plural);
    resources_fail(exchange, &target, ERR_INVALID, &why, NULL);
}

void resources_cluster_object(struct http_exchange *exchange, void *arg)
{
    struct resource_target target;
    if (resources_target(exchange, false, true, &target)) object(exchange, arg, &target);
}

enum err resources_start(struct service *service, struct resources **out, struct why *why)
{
    (void)why;
    struct resources *r = mem_alloc_zero(1, sizeof *r);
    if (!r) return ERR_NO_MEMORY;
    r->service = service;
    registry_watch_status(service->registry, resources_on_change, r);
    *out = r;
    return ERR_OK;
}

void resources_stop(struct resources *r)
{
    if (!r) return;
    resources_end_watches(r);
    mem_free(r);
}
