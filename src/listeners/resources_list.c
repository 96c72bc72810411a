/* resources_list.c - GET of a collection: a list of documents, or kubectl's table of them.
 *
 * What is listed is what there was when it was asked for: documents are immutable, and the list
 * holds a share of each. It is written in slices (slices.h): ten thousand documents take a tenth of
 * a second. Main loop. */
#include "listeners/resources_priv.h"
#include "listeners/slices.h"
#include <stdlib.h>
#include <string.h>

enum { SLICE_ITEMS = 256 };

struct listing {
    struct slices slices; /* first */
    struct resources_form form;
    struct resource **items; /* shares, in the exchange's arena; from `next` on still ours */
    size_t count, next;
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
static bool write_slice(struct slices *slices)
{
    struct listing *l = (struct listing *)slices;
    struct buf *out = &slices->out;
    size_t end = l->next + SLICE_ITEMS < l->count ? l->next + SLICE_ITEMS : l->count;
    while (l->next < end && out->size < SLICE_BYTES) {
        if (l->next) buf_add_char(out, ',');
        resources_add_to_list(out, &l->form, l->items[l->next]);
        resource_release(l->items[l->next++]);
    }
    if (l->next == l->count) buf_add_text(out, "]}");
    return l->next < l->count;
}

static void free_listing(struct slices *slices)
{
    struct listing *l = (struct listing *)slices;
    while (l->next < l->count) resource_release(l->items[l->next++]);
    mem_free(l);
}

/* Takes `list`. */
static void answer(struct http_exchange *exchange, const struct service *service,
                   const struct resource_target *target, struct resource **list, size_t count)
{
    struct listing *l = mem_alloc_zero(1, sizeof *l);
    if (!l) {
        struct why why = WHY_NONE;
        for (size_t i = 0; i < count; i++) resource_release(list[i]);
        resources_fail(exchange, target, ERR_NO_MEMORY, &why, NULL);
        return;
    }
    l->slices = (struct slices){.write = write_slice, .free = free_listing, .exchange = exchange};
    l->form =
        (struct resources_form){target->kind, resources_wants_table(http_request_of(exchange)),
                                true, context_wall_ns(service->context)};
    l->items = list;
    l->count = count;
    resources_begin_list(&l->slices.out, &l->form, registry_version(service->registry));
    slices_answer(&l->slices, service->context->main);
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
