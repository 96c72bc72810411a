/* resources.c - create, replace, patch, delete.
 *
 * Changes pass one by one through a queue: checked against the registry as it is at their turn,
 * made durable, then put into the registry (which tells the collector and the watches), then
 * answered. So what a client was told is on disk, and two changes never cross. */
#include "listeners/resources_priv.h"
#include "base/num.h"
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
    {ERR_BUSY, 429, "TooManyRequests"},
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
    http_reply(exchange, reason.status, "application/json", buf_str(&out));
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
    return true;
}

bool resources_allowed(struct http_exchange *exchange, enum access_verb verb,
                       const struct resource_target *target)
{
    struct why why = WHY_NONE;
    enum err err = access_check(api_identity(exchange), verb, resource_kinds[target->kind].name,
                                target->ns, target->name, &why);
    if (err) resources_fail(exchange, target, err, &why, NULL);
    return !err;
}

void resources_write_document(struct buf *out, const struct resource *resource)
{
    if (!resource_write_json(out, resource)) out->failed = true;
}

/* ---- the change queue ---- */

/* Who changed what, also when it was refused. */
static void note(struct change *change, enum err err, const struct why *why)
{
    const struct identity *who = api_identity(change->exchange);
    struct audit_entry entry = {.user = str_of(who->user),
                                .verb = str_of(access_verb_name(change->verb)),
                                .kind = str_of(resource_kinds[change->target.kind].name),
                                .ns = change->target.ns,
                                .path = change->target.name,
                                .outcome = err ? str_of(why_text(why, err)) : STR("ok")};
    struct service *service = change->resources->service;
    if (!change->dry_run && audit_append(service->audit, &entry))
        diag(service->context, DIAG_ERROR, "resources", "the audit log takes no lines");
}

static void finish(struct change *change, enum err err, const struct why *why)
{
    struct http_exchange *exchange = change->exchange;
    note(change, err, why);
    struct buf out = BUF_EMPTY;
    if (err) {
        resources_fail(exchange, &change->target, err, why, &change->problems);
    } else if (change->verb == VERB_DELETE) {
        buf_add_text(
            &out,
            "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\",\"details\":{"
            "\"group\":\"millrace.io\",\"kind\":");
        buf_add_json(&out, str_of(resource_kinds[change->target.kind].plural));
        buf_add_text(&out, ",\"name\":");
        buf_add_json(&out, change->target.name);
        buf_add_text(&out, "}}");
        http_reply(exchange, 200, "application/json", buf_str(&out));
    } else {
        resources_write_document(&out, change->resource);
        http_reply(exchange, change->verb == VERB_CREATE ? 201 : 200, "application/json",
                   buf_str(&out));
    }
    buf_free(&out);
    resource_release(change->resource);
    resource_release(change->old);
    mem_free(change);
}

static void next_change(struct resources *r);

static void on_durable(struct completion *c)
{
    struct change *change = (struct change *)(void *)((char *)c - offsetof(struct change, persist));
    struct resources *r = change->resources;
    struct registry *registry = r->service->registry;
    enum err err = c->err;
    if (!err && change->verb == VERB_DELETE)
        (void)registry_remove(registry, change->target.kind, change->target.ns,
                              change->target.name);
    else if (!err)
        err = registry_restore(registry, resource_share(change->resource));
    r->current = NULL;
    finish(change, err, &c->why);
    next_change(r);
}

/* The document to become, read from what the client sent and what there is. */
static enum err read_document(struct change *change, const struct resource *old, struct doc **doc,
                              struct why *why)
{
    struct arena *arena = http_arena(change->exchange);
    struct doc *body = NULL;
    enum err err = doc_read_json(http_request_of(change->exchange)->body, arena, &body, why);
    if (err) return err;
    if (!change->is_patch) {
        *doc = body;
        return ERR_OK;
    }
    struct doc *now = resource_document(old, arena);
    *doc = now ? doc_merge_patch(arena, now, body) : NULL;
    return *doc ? ERR_OK : ERR_NO_MEMORY;
}

/* The client's resourceVersion, when it sent one, must be the current. */
static enum err check_version(const struct doc *doc, const struct resource *old, struct why *why)
{
    struct str given = doc_text(doc_find(doc, "metadata.resourceVersion"));
    uint64_t version;
    if (!given.size) return ERR_OK;
    if (!num_parse_u64(given, &version))
        return why_set(why, ERR_INVALID, "metadata.resourceVersion is not a version");
    if (!old || version == old->version) return ERR_OK;
    return why_set(
        why, ERR_CONFLICT,
        "the object has been modified (resourceVersion is %llu, not %llu); apply your changes "
        "to the latest version and try again",
        (unsigned long long)old->version, (unsigned long long)version);
}

static enum err check_owner(const struct resource *old, struct why *why)
{
    if (!old || old->owner != OWNER_FILE) return ERR_OK;
    return why_set(why, ERR_READ_ONLY, "%s %.*s belongs to the file %s: change it there",
                   resource_kinds[old->kind].name, (int)old->name.size, old->name.at, old->file);
}

static enum err check_names(struct change *change, const struct resource *now, struct why *why)
{
    struct resource_target *t = &change->target;
    if (now->kind != t->kind)
        return why_set(why, ERR_INVALID, "the document is a %s, the path says %s",
                       resource_kinds[now->kind].name, resource_kinds[t->kind].plural);
    if (t->name.size && !str_equal(now->name, t->name))
        return why_set(why, ERR_INVALID, "metadata.name is %.*s, the path says %.*s",
                       (int)now->name.size, now->name.at, (int)t->name.size, t->name.at);
    if (!str_equal(now->ns, t->ns))
        return why_set(why, ERR_INVALID, "metadata.namespace is %.*s, the path says %.*s",
                       (int)now->ns.size, now->ns.at, (int)t->ns.size, t->ns.at);
    t->name = now->name;
    return ERR_OK;
}

static enum err build(struct change *change, struct why *why)
{
    struct registry *registry = change->resources->service->registry;
    const struct resource *old =
        change->target.name.size
            ? registry_get(registry, change->target.kind, change->target.ns, change->target.name)
            : NULL;
    struct doc *doc = NULL;
    if (!old && (change->is_patch || change->verb == VERB_DELETE))
        return why_set(why, ERR_NOT_FOUND, "%s \"%.*s\" not found",
                       resource_kinds[change->target.kind].plural, (int)change->target.name.size,
                       change->target.name.at);
    enum err err = check_owner(old, why);
    if (err) return err;
    if (change->verb == VERB_DELETE) {
        change->old = resource_share(old);
        return ERR_OK;
    }
    err = read_document(change, old, &doc, why);
    if (!err) err = resource_read(doc, "", &change->resource, &change->problems, why);
    if (!err) err = check_names(change, change->resource, why);
    if (err) return err;
    collect_check(change->resources->service->context, registry, change->resource,
                  &change->problems);
    if (change->problems.first)
        return why_set(why, ERR_INVALID, "%s \"%.*s\" is invalid: %s: %s",
                       resource_kinds[change->target.kind].name, (int)change->target.name.size,
                       change->target.name.at, change->problems.first->path,
                       change->problems.first->text);
    old = registry_get(registry, change->target.kind, change->target.ns, change->target.name);
    if (old && change->verb == VERB_CREATE)
        return why_set(why, ERR_EXISTS, "%s \"%.*s\" already exists",
                       resource_kinds[old->kind].plural, (int)old->name.size, old->name.at);
    return check_version(doc, old, why);
}

/* Takes the next change to its turn. */
static void next_change(struct resources *r)
{
    while (r->first && !r->current) {
        struct change *change = r->first;
        struct why why = WHY_NONE;
        r->first = change->next;
        if (!r->first) r->last = NULL;
        enum err err = build(change, &why);
        bool changes = !err && (change->verb == VERB_DELETE ||
                                registry_prepare(r->service->registry, change->resource));
        if (!err && !changes) { /* what it says is so already: show that */
            const struct resource *now = registry_get(r->service->registry, change->target.kind,
                                                      change->target.ns, change->target.name);
            struct resource *same = resource_share(now);
            resource_release(change->resource);
            change->resource = same;
            change->target.name = same->name;
        }
        if (err || !changes || change->dry_run) {
            finish(change, err, &why);
            continue;
        }
        r->current = change;
        change->persist.resource = change->verb == VERB_DELETE ? change->old : change->resource;
        change->persist.remove = change->verb == VERB_DELETE;
        completion_init(&change->persist.completion, r->service->context->main, on_durable);
        persist_submit(r->service->persist, &change->persist);
    }
}

static void submit(struct http_exchange *exchange, struct service *service,
                   const struct resource_target *target, enum access_verb verb, bool is_patch)
{
    struct resources *r = service->resources;
    struct str dry_run;
    if (!resources_allowed(exchange, verb, target)) return;
    struct change *change = mem_alloc_zero(1, sizeof *change);
    if (!change) {
        resources_fail(exchange, target, ERR_NO_MEMORY, NULL, NULL);
        return;
    }
    change->resources = r;
    change->exchange = exchange;
    change->target = *target;
    change->verb = verb;
    change->is_patch = is_patch;
    change->dry_run = http_query(exchange, "dryRun", &dry_run);
    problems_init(&change->problems, http_arena(exchange));
    if (r->last)
        r->last->next = change;
    else
        r->first = change;
    r->last = change;
    next_change(r);
}

/* ---- handlers ---- */

void resources_collection(struct http_exchange *exchange, void *arg)
{
    struct resource_target target;
    const struct http_request *request = http_request_of(exchange);
    if (!resources_target(exchange, true, false, &target)) return;
    if (str_is(request->method, "POST"))
        submit(exchange, arg, &target, VERB_CREATE, false);
    else
        resources_list(exchange, arg, &target);
}

void resources_object(struct http_exchange *exchange, void *arg)
{
    struct resource_target target;
    const struct http_request *request = http_request_of(exchange);
    struct str type = http_header(request, "content-type");
    if (!resources_target(exchange, true, true, &target)) return;
    if (str_is(request->method, "PUT")) {
        submit(exchange, arg, &target, VERB_UPDATE, false);
    } else if (str_is(request->method, "DELETE")) {
        submit(exchange, arg, &target, VERB_DELETE, false);
    } else if (!str_is(request->method, "PATCH")) {
        resources_get(exchange, arg, &target);
    } else if (str_starts(type, "application/merge-patch+json")) {
        submit(exchange, arg, &target, VERB_UPDATE, true);
    } else {
        struct why why = WHY_NONE;
        why_set(&why, ERR_UNSUPPORTED,
                "the patch type '%.*s' is not supported: use application/merge-patch+json",
                (int)type.size, type.at ? type.at : "");
        resources_fail(exchange, &target, ERR_UNSUPPORTED, &why, NULL);
    }
}

enum err resources_start(struct service *service, struct resources **out, struct why *why)
{
    (void)why;
    struct resources *r = mem_alloc_zero(1, sizeof *r);
    if (!r) return ERR_NO_MEMORY;
    r->service = service;
    registry_watch_all(service->registry, resources_on_change, r);
    *out = r;
    return ERR_OK;
}

void resources_stop(struct resources *r)
{
    if (!r) return;
    resources_end_watches(r);
    mem_free(r);
}
