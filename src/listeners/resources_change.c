/* resources_change.c - create, replace, patch, delete.
 *
 * Changes pass one by one through a queue: checked against the registry as it is at their turn,
 * written into the audit log, made durable, put into the registry (which tells the collector and
 * the watches), then answered. So what a client was told is on disk, nothing is done that the audit
 * log does not show, and two changes never cross. A password is made a verifier on a worker before
 * its change joins the queue. */
#include "listeners/resources_priv.h"
#include "listeners/bridges.h"
#include "listeners/streams.h"
#include "sinks/sinks.h"
#include "base/num.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

/* Who changes what, and what became of it ("ok": it is done next; a failure after it has a line of
 * its own). */
static struct audit_entry entry_of(const struct change *change, const char *outcome)
{
    const struct identity *who = api_identity(change->exchange);
    return (struct audit_entry){.user = str_of(who->user),
                                .verb = str_of(access_verb_name(change->verb)),
                                .kind = str_of(resource_kinds[change->target.kind].name),
                                .ns = change->target.ns,
                                .path = change->target.name,
                                .outcome = str_of(outcome)};
}

static void note_failure(struct change *change, enum err err, const struct why *why)
{
    struct audit_entry entry = entry_of(change, why_text(why, err));
    struct service *service = change->resources->service;
    if (change->dry_run) return;
    /* What the log says is done, and is not, always has its line. */
    enum err noted = change->is_announced
                         ? audit_append(service->audit, &entry)
                         : audit_rate_add(&service->refusals, service->audit, &entry,
                                          context_mono_ns(service->context));
    if (noted) diag(service->context, DIAG_ERROR, "resources", "the audit log takes no lines");
}

static void finish(struct change *change, enum err err, const struct why *why)
{
    struct http_exchange *exchange = change->exchange;
    if (err) note_failure(change, err, why);
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
        http_reply_buf(exchange, 200, "application/json", &out);
    } else {
        resources_write_document(&out, change->resource, change->secret);
        http_reply_buf(exchange, change->verb == VERB_CREATE ? 201 : 200, "application/json", &out);
    }
    buf_free(&out);
    resource_release(change->resource);
    resource_release(change->old);
    OPENSSL_cleanse(change->secret, sizeof change->secret);
    mem_free(change);
}

static void on_settled(struct completion *c)
{
    struct change *change = (struct change *)(void *)((char *)c - offsetof(struct change, settled));
    struct resources *r = change->resources;
    finish(change, c->err, &c->why);
    resources_turn_end(r);
}

/* On disk: now it holds. A Table is answered when it can be used. */
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
    completion_init(&change->settled, r->service->context->main, on_settled);
    if (!err && change->target.kind == KIND_TABLE)
        r->service->settle_tables(r->service->node, &change->settled);
    else
        completion_finish(&change->settled, err, &c->why);
}

/* The document to become, from what the client sent and what there is. */
static enum err make_document(struct change *change, const struct resource *old, struct doc **doc)
{
    struct arena *arena = http_arena(change->exchange);
    struct service *service = change->resources->service;
    struct doc *now = change->is_patch ? resource_stored(old, arena) : NULL;
    if (change->is_patch)
        *doc = now ? doc_merge_patch(arena, now, change->body) : NULL;
    else
        *doc = doc_copy(arena, change->body);
    if (!*doc) return ERR_NO_MEMORY;
    /* A patch that moves a Bridge takes no password along (identities_complete). */
    if (change->is_patch && change->target.kind == KIND_BRIDGE &&
        doc_find(change->body, "spec.endpoint") && !doc_find(change->body, "spec.password") &&
        !str_equal(doc_text(doc_find(*doc, "spec.endpoint")),
                   doc_text(doc_find(now, "spec.endpoint"))))
        doc_remove(doc_get(*doc, "spec"), "password");
    return identities_complete(service, change->target.kind, old, change->verifier, *doc, arena,
                               change->secret);
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

/* A document that vanished from its file may be changed and deleted: nobody else does. */
static enum err check_owner(const struct change *change, const struct resource *old,
                            struct why *why)
{
    const struct registry *registry = change->resources->service->registry;
    if (old && old->owner == OWNER_NODE)
        return why_set(why, ERR_READ_ONLY, "%s %.*s belongs to the node itself",
                       resource_kinds[old->kind].name, (int)old->name.size, old->name.at);
    if (!old || old->owner != OWNER_FILE || registry_has_vanished(registry, old)) return ERR_OK;
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

static const struct resource *find(const struct change *change)
{
    const struct resource_target *t = &change->target;
    if (!t->name.size) return NULL;
    return registry_get(change->resources->service->registry, t->kind, t->ns, t->name);
}

/* The right to do this with the document as it is and as it becomes: nothing is moved into or out
 * of what somebody may reach. */
static enum err check_rights(const struct change *change, const struct resource *old,
                             const struct resource *now, struct why *why)
{
    struct service *service = change->resources->service;
    const struct identity *who = api_identity(change->exchange);
    enum access_verb verb = !old ? VERB_CREATE : change->verb;
    const struct resource *both[] = {old, now};
    for (size_t i = 0; i < 2; i++) {
        char path[1024];
        if (!both[i]) continue;
        enum err err = access_check(who, verb, resource_kinds[both[i]->kind].name, both[i]->ns,
                                    both[i]->name, resource_path(service, both[i], path), why);
        if (err) return err;
    }
    enum err err = bridges_allow(who, now, why);
    if (!err) err = sinks_allow(who, now, why);
    if (!err) err = streams_allow(who, now, why);
    return err ? err : identities_allow(service, who, old, now, why);
}

/* What other parts say to the document. */
static enum err check_content(struct change *change, struct why *why)
{
    struct service *service = change->resources->service;
    collect_check(service->context, service->registry, change->resource, &change->problems);
    identities_check(change->resource, &change->problems);
    bridges_check(change->resource, &change->problems);
    sinks_check(change->resource, &change->problems);
    if (change->resource->kind == KIND_TABLE)
        service->check_table(service->node, change->resource, &change->problems);
    const struct problem *p = change->problems.first;
    if (!p) return ERR_OK;
    return why_set(why, ERR_INVALID, "%s \"%.*s\" is invalid: %s: %s",
                   resource_kinds[change->target.kind].name, (int)change->target.name.size,
                   change->target.name.at, p->path, p->text);
}

/* As Kubernetes has it: the path's namespace is that of a document that names none. */
static enum err fill_namespace(const struct change *change, struct doc *doc)
{
    struct arena *arena = http_arena(change->exchange);
    struct doc *metadata = doc_get(doc, "metadata");
    struct str ns = change->target.ns;
    if (!ns.size || !metadata || metadata->kind != DOC_MAP || doc_get(metadata, "namespace"))
        return ERR_OK;
    struct doc *text = doc_new_string(arena, ns);
    return text && doc_set(arena, metadata, "namespace", text) ? ERR_OK : ERR_NO_MEMORY;
}

static enum err build(struct change *change, struct why *why)
{
    const struct resource *old = find(change);
    struct doc *doc = NULL;
    if (!old && (change->is_patch || change->verb == VERB_DELETE))
        return why_set(why, ERR_NOT_FOUND, "%s \"%.*s\" not found",
                       resource_kinds[change->target.kind].plural, (int)change->target.name.size,
                       change->target.name.at);
    if (change->verb == VERB_DELETE) {
        enum err err = check_rights(change, old, NULL, why);
        if (!err) err = check_owner(change, old, why);
        if (!err) change->old = resource_share(old);
        return err;
    }
    /* Before anything of the document there is shows in an answer. */
    if (old && !resources_visible(change->resources->service, api_identity(change->exchange),
                                  change->verb, old))
        return check_rights(change, old, NULL, why);
    enum err err = make_document(change, old, &doc);
    if (!err) err = fill_namespace(change, doc);
    if (!err) err = resource_read(doc, "", &change->resource, &change->problems, why);
    if (!err) err = check_names(change, change->resource, why);
    if (err) return err;
    old = find(change);
    if (old && change->verb == VERB_CREATE)
        return why_set(why, ERR_EXISTS, "%s \"%.*s\" already exists",
                       resource_kinds[old->kind].plural, (int)old->name.size, old->name.at);
    err = check_rights(change, old, change->resource, why);
    if (!err) err = check_owner(change, old, why);
    if (!err) err = check_content(change, why);
    return err ? err : check_version(doc, old, why);
}

static void on_audited(struct completion *c)
{
    struct change *change = (struct change *)(void *)((char *)c - offsetof(struct change, audited));
    struct resources *r = change->resources;
    enum err err = c->err ? c->err : r->service->stopping ? ERR_CANCELLED : ERR_OK;
    change->is_announced = !c->err;
    if (err) {
        finish(change, err, &c->why);
        resources_turn_end(r);
        return;
    }
    change->persist.resource = change->verb == VERB_DELETE ? change->old : change->resource;
    change->persist.remove = change->verb == VERB_DELETE;
    completion_init(&change->persist.completion, r->service->context->main, on_durable);
    persist_submit(r->service->persist, &change->persist);
}

/* What it says is so already: shows that. */
static void show_unchanged(struct change *change)
{
    struct resource *same = resource_share(find(change));
    resource_release(change->resource);
    change->resource = same;
    change->target.name = same->name;
}

/* In a node that stops, none is begun any more. */
static void begin_change(struct resources_turn *turn)
{
    struct change *change = (struct change *)turn;
    struct resources *r = change->resources;
    struct why why = WHY_NONE;
    enum err err = r->service->stopping ? ERR_CANCELLED : build(change, &why);
    bool changes = !err && (change->verb == VERB_DELETE ||
                            registry_prepare(r->service->registry, change->resource));
    if (!err && !changes) show_unchanged(change);
    if (err || !changes || change->dry_run) {
        finish(change, err, &why);
        resources_turn_end(r);
        return;
    }
    struct audit_entry entry = entry_of(change, "ok");
    completion_init(&change->audited, r->service->context->main, on_audited);
    audit_append_durable(r->service->audit, &entry, &change->audited);
}

bool resources_is_busy(const struct resources *resources)
{
    return resources->current != NULL;
}

/* ---- turns ---- */

static void choose_next(struct resources *r)
{
    if (r->is_choosing) return; /* a turn that ended as it began: the loop below goes on */
    r->is_choosing = true;
    while (r->first && !r->current) {
        struct resources_turn *turn = r->current = r->first;
        r->first = turn->next;
        if (!r->first) r->last = NULL;
        turn->begin(turn);
    }
    r->is_choosing = false;
}

void resources_turn_wait(struct resources *r, struct resources_turn *turn)
{
    MUST(turn->begin);
    turn->next = NULL;
    if (r->last)
        r->last->next = turn;
    else
        r->first = turn;
    r->last = turn;
    choose_next(r);
}

void resources_turn_end(struct resources *r)
{
    MUST(r->current);
    r->current = NULL;
    choose_next(r);
}

static void join_queue(struct change *change)
{
    change->turn.begin = begin_change;
    resources_turn_wait(change->resources, &change->turn);
}

/* ---- a password becomes a verifier ---- */

static void has_verifier(struct job *job)
{
    join_queue((struct change *)(void *)((char *)job - offsetof(struct change, job)));
}

static void make_verifier(struct job *job) /* on a worker */
{
    struct change *change = (struct change *)(void *)((char *)job - offsetof(struct change, job));
    struct scram_verifier verifier;
    scram_make(str_of(change->password), change->salt, SCRAM_ITERATIONS, &verifier);
    scram_print(&verifier, change->verifier);
    OPENSSL_cleanse(change->password, sizeof change->password);
    change->job.run = has_verifier;
    loop_post(change->resources->service->context->main, &change->job);
}

/* True: the change joins the queue when its verifier is there. A password that cannot be used stays
 * in the document, where it is refused. */
static bool start_verifier(struct change *change)
{
    struct context *context = change->resources->service->context;
    struct str password = doc_text(doc_find(change->body, "spec.password"));
    if (change->target.kind != KIND_USER || !password.size) return false;
    if (!str_copy(change->password, sizeof change->password, password)) return false;
    context->os->ops->random(context->os, change->salt, sizeof change->salt);
    change->job.run = make_verifier;
    pool_post(context->workers, &change->job);
    return true;
}

/* What is refused before it comes to the queue leaves a line too. */
static void note_forbidden(struct http_exchange *exchange, struct service *service,
                           const struct resource_target *target, enum access_verb verb)
{
    const struct identity *who = api_identity(exchange);
    const char *kind = resource_kinds[target->kind].name;
    if (access_scope(who, verb, kind, target->ns, target->name)) return;
    struct audit_entry entry = {.user = str_of(who->user),
                                .verb = str_of(access_verb_name(verb)),
                                .kind = str_of(kind),
                                .ns = target->ns,
                                .path = target->name,
                                .outcome = STR("forbidden")};
    if (audit_rate_add(&service->refusals, service->audit, &entry,
                       context_mono_ns(service->context)))
        diag(service->context, DIAG_ERROR, "resources", "the audit log takes no lines");
}

void resources_submit(struct http_exchange *exchange, struct service *service,
                      const struct resource_target *target, enum access_verb verb, bool is_patch)
{
    struct str dry_run;
    struct why why = WHY_NONE;
    struct doc *body = NULL;
    note_forbidden(exchange, service, target, verb);
    if (!resources_allowed(exchange, verb, target)) return;
    enum err err = verb == VERB_DELETE ? ERR_OK
                                       : doc_read_json(http_request_of(exchange)->body,
                                                       http_arena(exchange), &body, &why);
    struct change *change = err ? NULL : mem_alloc_zero(1, sizeof *change);
    if (!change) {
        resources_fail(exchange, target, err ? err : ERR_NO_MEMORY, &why, NULL);
        return;
    }
    change->resources = service->resources;
    change->exchange = exchange;
    change->target = *target;
    change->verb = verb;
    change->is_patch = is_patch;
    change->body = body;
    change->dry_run = http_query(exchange, "dryRun", &dry_run);
    problems_init(&change->problems, http_arena(exchange));
    if (!start_verifier(change)) join_queue(change);
}
