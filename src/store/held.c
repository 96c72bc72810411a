/* held.c - rows for which the head has no room yet: they wait, in their order, before they are
 * written to the log.
 *
 * Room comes from three sides: a frozen head was written to parts, a reader let go of an old one,
 * another part of the node gave memory back. The first is told (run_done in flush.c), the others
 * come from any task: so while somebody waits the log task looks again every few milliseconds.
 * Waiting rows make a flush due, however little the head holds, so that what they wait for comes.
 * They are bounded by their writers' budgets, and each by its wait_limit_ns: a statement that
 * inserts what it reads may itself be the reader that they wait for.
 *
 * All functions: log task. */
#include "store/store_priv.h"
#include "base/timetext.h"

enum {
    HELD_LOOK_MS = 10,
    SURELY_FACTOR = 16, /* a head takes no more than this for a byte of a batch, or only where it
                           holds as much already */
};

/* ---- room ---- */

/* Near the limit what the rows will take is reckoned, since few rows of many devices take many
 * times their own size; far from it more than they can take is free, and reckoning is spared. It is
 * right only for the head as it is: rows that are framed and not in it yet come first. */
enum err held_reserve(struct store *store, struct store_append *append, bool is_first,
                      struct why *why)
{
    MUST(append->head_bytes == 0);
    const struct batch *batch = append->batch;
    size_t limit = store->head_limit_bytes, used = atomic_load(&store->head_budget.used_bytes);
    size_t surely = SURELY_FACTOR * batch->size_bytes;
    bool is_far = used + surely <= limit / 2;
    if (is_far && !budget_take(&store->head_budget, surely)) {
        append->head_bytes = surely;
        return ERR_OK;
    }
    if (!is_first) return ERR_BUDGET;
    size_t need = head_need(store_writer_head(store), batch);
    /* With nothing else in it the head may take what it has in reserve. */
    bool is_alone = used <= limit / 16, fits = is_alone || used + need <= limit;
    if (is_alone && used + need > limit + limit / 2)
        return why_set(why, ERR_LIMIT,
                       "these %u rows need %zu KiB in the head, which has %zu KiB; send fewer at "
                       "once, or raise memory:",
                       batch->row_count, need / 1024, limit / 1024);
    if (!fits || budget_take(&store->head_budget, need))
        return why_set(why, ERR_BUDGET,
                       "the head is full (%zu bytes); writing goes on when rows were moved to disk",
                       limit);
    append->head_bytes = need;
    return ERR_OK;
}

void held_give_back(struct store *store, struct store_append *append)
{
    budget_give(&store->head_budget, append->head_bytes);
    append->head_bytes = 0;
}

/* ---- waiting ---- */

bool held_may_wait(struct store *store)
{
    return store->held_timer && context_mono_ns(store->context) >= store->flush_retry_ns;
}

void held_add(struct store *store, struct store_append *first)
{
    int64_t now = context_mono_ns(store->context);
    MUST(first && !store->held == !store->held_last);
    if (store->held)
        store->held_last->next = first;
    else
        store->held = first;
    for (store->held_last = first;; store->held_last = store->held_last->next) {
        struct store_append *append = store->held_last;
        if (!append->held_ns) metric_add(store->context, METRIC_HEAD_WAITS, 1);
        if (!append->held_ns) append->held_ns = now;
        if (!append->next) break;
    }
}

void held_look_later(struct store *store)
{
    if (store->held_timer_set || !store->held_timer) return;
    store->held_timer_set = true;
    store->context->os->ops->timer_set(store->held_timer, HELD_LOOK_MS * TIME_NS_PER_MS);
}

/* Takes one out of the list. Deletes that came behind it stay where they are: behind the one before
 * it, or, when there is none, their turn is now. */
static void take_out(struct store *store, struct store_append *previous,
                     struct store_append *append)
{
    struct store_delete *behind = append->behind;
    MUST((previous ? previous->next : store->held) == append);
    append->behind = NULL;
    *(previous ? &previous->next : &store->held) = append->next;
    if (store->held_last == append) store->held_last = previous;
    struct store_delete **tail = previous ? &previous->behind : NULL;
    while (tail && *tail) tail = &(*tail)->next;
    if (tail)
        *tail = behind;
    else
        delete_run_all(store, behind);
}

static void expire(struct store *store)
{
    int64_t now = context_mono_ns(store->context);
    struct store_append *previous = NULL, *next;
    for (struct store_append *append = store->held; append; append = next) {
        struct why why = WHY_NONE;
        int64_t waited = now - append->held_ns;
        next = append->next;
        if (!append->wait_limit_ns || waited < append->wait_limit_ns) {
            previous = append;
            continue;
        }
        take_out(store, previous, append);
        metric_add(store->context, METRIC_HEAD_REFUSED, 1);
        why_set(&why, ERR_BUDGET,
                "no room came free in %d s among the %zu KiB for rows that are not in parts yet: "
                "the disk is slow, or statements read old rows for long; send again later, or "
                "raise memory:",
                (int)(waited / TIME_NS_PER_S), store->head_limit_bytes / 1024);
        store_refuse(store, append, ERR_BUDGET, &why);
    }
}

void held_on_timer(void *arg)
{
    struct store *store = arg;
    store->held_timer_set = false;
    if (store->closing) return;
    expire(store);
    if (store->held) store_release_held(store, ERR_OK, NULL);
}

void store_release_held(struct store *store, enum err err, const struct why *why)
{
    struct store_append *first = store->held, *last = store->held_last, *next;
    MUST(!first == !last && (!last || !last->next));
    store->held = store->held_last = NULL;
    if (!first) return;
    if (!err) {
        last->next = store->arrived;
        if (!store->arrived) store->arrived_last = last;
        store->arrived = first;
        store_after_jobs(store);
        return;
    }
    struct store_delete *behind = NULL, **tail = &behind;
    for (struct store_append *append = first; append; append = next) {
        struct why full = WHY_NONE;
        next = append->next;
        *tail = append->behind;
        while (*tail) tail = &(*tail)->next;
        why_set(&full, err, "the head is full, and its rows could not be moved to disk: %s",
                why_text(why, err));
        metric_add(store->context, METRIC_HEAD_REFUSED, 1);
        store_refuse(store, append, err, &full);
    }
    delete_run_all(store, behind);
}
