/* resources_watch.c - `?watch=true`: a stream of {"type","object"} lines, one a change.
 *
 * The last WATCH_HISTORY changes are kept, so that a client that lists and then watches from that
 * version misses nothing; an older version is answered with 410 Gone, as Kubernetes does, and the
 * client lists again. A client that does not read is cut off: it comes back and lists. */
#include "base/num.h"
#include "listeners/resources_priv.h"
#include <string.h>

static void send_event(struct watch *w, const char *type, const struct resource *r)
{
    struct buf out = BUF_EMPTY;
    bool wait = false;
    buf_printf(&out, "{\"type\":\"%s\",\"object\":", type);
    if (w->table)
        resources_write_table(&out, r, !w->first_table_sent,
                              context_wall_ns(w->resources->service->context));
    else
        resources_write_document(&out, r, "");
    w->first_table_sent = true;
    buf_add_text(&out, "}\n");
    http_send(w->exchange, buf_str(&out), &wait);
    w->slow |= wait;
    buf_free(&out);
}

/* Selected, and the watcher's to see. */
static bool is_shown(const struct watch *w, const struct resource *r)
{
    return resources_selected(&w->selector, r, &w->target) &&
           resources_visible(w->resources->service, w->identity, VERB_WATCH, r);
}

static void tell(struct watch *w, const struct resource *old, const struct resource *now)
{
    bool was = old && is_shown(w, old);
    bool is = now && is_shown(w, now);
    if (is)
        send_event(w, was ? "MODIFIED" : "ADDED", now);
    else if (was)
        send_event(w, "DELETED", old);
}

static void unlink_watch(struct watch *w)
{
    struct watch **at = &w->resources->watches;
    while (*at != w) at = &(*at)->next;
    *at = w->next;
    w->resources->watch_count--;
}

static void end_watch(struct watch *w, enum err err)
{
    struct http_exchange *exchange = w->exchange;
    unlink_watch(w);
    identity_release(w->identity);
    mem_free(w);
    http_end(exchange, err);
}

static void on_gone(void *arg)
{
    struct watch *w = arg;
    w->gone = true;
    if (!w->busy) end_watch(w, ERR_CLOSED);
}

void resources_on_change(void *arg, const struct resource *old, const struct resource *now)
{
    struct resources *r = arg;
    struct event *event = &r->history[r->event_count++ % WATCH_HISTORY];
    resource_release(event->old);
    resource_release(event->now);
    *event = (struct event){.version = registry_version(r->service->registry),
                            .old = old ? resource_share(old) : NULL,
                            .now = now ? resource_share(now) : NULL};
    struct watch *next;
    for (struct watch *w = r->watches; w; w = next) {
        next = w->next;
        bool was_slow = w->slow;
        w->busy = true;
        tell(w, old, now);
        w->busy = false;
        if (w->gone || (was_slow && w->slow)) end_watch(w, w->gone ? ERR_CLOSED : ERR_BUSY);
    }
}

void resources_recheck(struct resources *r)
{
    struct watch *next;
    for (struct watch *w = r->watches; w; w = next) {
        next = w->next;
        struct identity *now = access_renew(r->service->access, w->identity);
        bool holds = now && access_scope(now, VERB_WATCH, resource_kinds[w->target.kind].name,
                                         w->target.ns, w->target.name) != ACCESS_NONE;
        identity_release(holds ? w->identity : now);
        if (holds)
            w->identity = now;
        else if (w->busy)
            w->gone = true; /* who sends ends it */
        else
            end_watch(w, ERR_UNAUTHENTICATED);
    }
}

static void on_drained(void *arg)
{
    ((struct watch *)arg)->slow = false;
}

/* The oldest version from which a watch can be continued. */
static uint64_t oldest_version(const struct resources *r)
{
    if (r->event_count < WATCH_HISTORY) return registry_first_version(r->service->registry);
    return r->history[r->event_count % WATCH_HISTORY].version;
}

static void send_since(struct watch *w, uint64_t version)
{
    struct resources *r = w->resources;
    uint64_t first = r->event_count > WATCH_HISTORY ? r->event_count - WATCH_HISTORY : 0;
    for (uint64_t i = first; i < r->event_count; i++) {
        const struct event *event = &r->history[i % WATCH_HISTORY];
        if (event->version > version) tell(w, event->old, event->now);
    }
}

static void send_all(struct watch *w)
{
    size_t at = 0;
    for (struct resource *r;
         (r = registry_next(w->resources->service->registry, w->target.kind, &at));)
        if (is_shown(w, r)) send_event(w, "ADDED", r);
}

void resources_watch(struct http_exchange *exchange, struct service *service,
                     const struct resource_target *target, const struct resource_selector *selector)
{
    struct resources *r = service->resources;
    struct str text = {0};
    struct why why = WHY_NONE;
    uint64_t version = 0;
    enum err err = ERR_OK;
    if (http_query(exchange, "resourceVersion", &text) && text.size &&
        !num_parse_u64(text, &version))
        err = why_set(&why, ERR_INVALID, "resourceVersion=%.*s is not a version", (int)text.size,
                      text.at);
    if (!err && version && version < oldest_version(r))
        err = why_set(&why, ERR_GONE, "too old resource version: %llu (%llu)",
                      (unsigned long long)version, (unsigned long long)oldest_version(r));
    if (!err && r->watch_count >= WATCHES_MAX)
        err = why_set(&why, ERR_BUSY, "too many watches (%d)", WATCHES_MAX);
    struct watch *w = err ? NULL : mem_alloc_zero(1, sizeof *w);
    if (!err && !w) err = ERR_NO_MEMORY;
    if (err) {
        resources_fail(exchange, target, err, &why, NULL);
        return;
    }
    *w = (struct watch){.next = r->watches,
                        .resources = r,
                        .exchange = exchange,
                        .identity = identity_share(api_identity(exchange)),
                        .target = *target,
                        .selector = *selector,
                        .table = resources_wants_table(http_request_of(exchange))};
    r->watches = w;
    r->watch_count++;
    w->busy = true;
    http_on_gone(exchange, on_gone, w);
    http_on_drained(exchange, on_drained, w);
    http_begin(exchange, 200, "application/json");
    if (version)
        send_since(w, version);
    else
        send_all(w);
    w->busy = false;
    if (w->gone) end_watch(w, ERR_CLOSED);
}

void resources_end_watches(struct resources *r)
{
    while (r->watches) end_watch(r->watches, ERR_OK);
    for (size_t i = 0; i < WATCH_HISTORY; i++) {
        resource_release(r->history[i].old);
        resource_release(r->history[i].now);
    }
}
