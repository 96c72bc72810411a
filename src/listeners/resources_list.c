/* resources_list.c - GET of a collection: a list of documents, or kubectl's table of them.
 *
 * What is listed is what there was when it was asked for: documents are immutable, and the list
 * holds a share of each. It is written in slices, between which the loop serves others: ten
 * thousand documents take a tenth of a second. A list of one slice is answered whole, so that an
 * error can still be told; a longer one is streamed, and held up while the peer is slow.
 *
 * Main loop. A listing ends with its exchange: by its last slice, for want of memory, or when the
 * peer has gone. Invariant: unless it runs, it either waits for the peer or its job is posted. */
#include "listeners/resources_priv.h"
#include <stdlib.h>
#include <string.h>

enum { SLICE_ITEMS = 256, SLICE_BYTES = 64 * 1024 };

struct listing {
    struct job job; /* first */
    struct loop *main;
    struct http_exchange *exchange;
    struct resources_form form;
    struct resource **items; /* shares, in the exchange's arena; from `next` on still ours */
    size_t count, next;
    bool waits; /* for the peer */
    struct buf out;
};

static int compare_names(const void *a, const void *b)
{
    const struct resource *x, *y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    int order = str_compare(x->ns, y->ns);
    return order ? order : str_compare(x->name, y->name);
}

/* Shares of all selected resources in order of namespace and name, in the exchange's arena. */
static bool gather(struct http_exchange *exchange, const struct service *service,
                   const struct resource_target *target, const struct resource_selector *selector,
                   struct resource ***list, size_t *count)
{
    size_t at = 0, total = 0;
    for (; registry_next(service->registry, target->kind, &at);) total++;
    *list = arena_alloc(http_arena(exchange), total * sizeof **list);
    *count = at = 0;
    if (!*list) return false;
    for (struct resource *r; (r = registry_next(service->registry, target->kind, &at));)
        if (resources_selected(selector, r, target) &&
            resources_visible(service, api_identity(exchange), VERB_LIST, r))
            (*list)[(*count)++] = resource_share(r);
    if (*count) qsort(*list, *count, sizeof **list, compare_names);
    return true;
}

/* The next ones, up to the end of a slice, each let go; and the end of the list behind the last. */
static void write_slice(struct listing *l)
{
    size_t end = l->next + SLICE_ITEMS < l->count ? l->next + SLICE_ITEMS : l->count;
    while (l->next < end && l->out.size < SLICE_BYTES) {
        if (l->next) buf_add_char(&l->out, ',');
        resources_add_to_list(&l->out, &l->form, l->items[l->next]);
        resource_release(l->items[l->next++]);
    }
    if (l->next == l->count) buf_add_text(&l->out, "]}");
}

static void end(struct listing *l, enum err err)
{
    struct http_exchange *exchange = l->exchange;
    while (l->next < l->count) resource_release(l->items[l->next++]);
    buf_free(&l->out);
    mem_free(l);
    http_end(exchange, err);
}

static void go_on(struct job *job)
{
    struct listing *l = (struct listing *)job;
    bool wait = false;
    MUST(!l->waits);
    if (http_is_gone(l->exchange)) {
        end(l, ERR_CANCELLED);
        return;
    }
    if (!l->out.size) write_slice(l);
    if (buf_failed(&l->out)) {
        end(l, ERR_NO_MEMORY);
        return;
    }
    http_send(l->exchange, buf_str(&l->out), &wait);
    buf_clear(&l->out);
    if (l->next == l->count)
        end(l, ERR_OK);
    else if (wait && !http_is_gone(l->exchange))
        l->waits = true;
    else
        loop_post(l->main, &l->job);
}

/* The peer has read what was sent, or has gone. */
static void on_woken(void *arg)
{
    struct listing *l = arg;
    if (!l->waits) return;
    l->waits = false;
    loop_post(l->main, &l->job);
}

/* Takes `list`. */
static void answer(struct http_exchange *exchange, const struct service *service,
                   const struct resource_target *target, struct resource **list, size_t count)
{
    struct listing *l = mem_alloc_zero(1, sizeof *l);
    if (!l) {
        for (size_t i = 0; i < count; i++) resource_release(list[i]);
        struct why why = WHY_NONE;
        resources_fail(exchange, target, ERR_NO_MEMORY, &why, NULL);
        return;
    }
    *l = (struct listing){.job.run = go_on,
                          .main = service->context->main,
                          .exchange = exchange,
                          .form = {target->kind, resources_wants_table(http_request_of(exchange)),
                                   true, context_wall_ns(service->context)},
                          .items = list,
                          .count = count,
                          .out = BUF_EMPTY};
    resources_begin_list(&l->out, &l->form, registry_version(service->registry));
    write_slice(l);
    if (l->next == l->count || buf_failed(&l->out)) {
        http_reply_buf(exchange, 200, "application/json", &l->out);
        while (l->next < l->count) resource_release(l->items[l->next++]);
        buf_free(&l->out);
        mem_free(l);
        return;
    }
    http_on_gone(exchange, on_woken, l);
    http_on_drained(exchange, on_woken, l);
    http_begin(exchange, 200, "application/json");
    loop_post(l->main, &l->job);
}

void resources_list(struct http_exchange *exchange, struct service *service,
                    const struct resource_target *target)
{
    struct resource_selector selector;
    struct str watch;
    struct why why = WHY_NONE;
    struct resource **list;
    size_t count;
    bool wants_watch =
        http_query(exchange, "watch", &watch) && (str_is(watch, "true") || str_is(watch, "1"));
    if (!resources_allowed(exchange, wants_watch ? VERB_WATCH : VERB_LIST, target)) return;
    enum err err = resources_selector(exchange, &selector, &why);
    if (!err && wants_watch) {
        resources_watch(exchange, service, target, &selector);
        return;
    }
    if (!err && !gather(exchange, service, target, &selector, &list, &count)) err = ERR_NO_MEMORY;
    if (err) {
        resources_fail(exchange, target, err, &why, NULL);
        return;
    }
    answer(exchange, service, target, list, count);
}
