/* parallel.c - see parallel.h. */
#include "sql/parallel.h"
#include "sql/func.h"
#include "sql/rowbuf.h"
#include "sql/sql_priv.h"
#include <string.h>

enum { HELPERS_MAX = 15, SHARE_OF_MEMORY = 8 };

enum ticket_state { TICKET_WAITS, TICKET_BEGUN, TICKET_RETURNED };

/* What is given to another task; both hold it. Returned before its turn it outlives the helper, and
 * is not read any more. */
struct ticket {
    _Atomic int state;
    _Atomic unsigned refs;
    struct helper *helper;
};

struct helper {
    struct parallel *parallel;
    struct ticket *ticket; /* NULL: not called, or returned */
    struct sql_context context;
    struct sql_statement *statement;
    struct run *run;
    struct sql_stats stats;
    struct op keep; /* streaming: behind its groups */
    struct rowbuf rows;
    struct arena heads;
    bool has_rows;
    size_t handed_on;
    enum err err;
    struct why why;
};

struct parallel {
    struct run *run;
    struct str text;
    struct sql_scan_share share;
    _Atomic unsigned at_work;
    bool is_over, is_left; /* nobody is at work any more; parallel_leave said false */
    enum err err;          /* of the statement's own step when it left */
    size_t helper_count, merged;
    struct vector *columns; /* of a chunk handed on */
    struct helper helpers[];
};

/* ---- which statements ---- */

/* Whose results do not depend on the order of rows, nor on the series. */
static bool takes_any_order(const struct aggregate *a)
{
    static enum err (*const adds[])(void *, const struct agg_run *, struct arena *) = {
        agg_count_add,  agg_sum_i_add,  agg_sum_u_add,     agg_sum_d_add, agg_stddev_add,
        agg_min_i_add,  agg_max_i_add,  agg_min_u_add,     agg_max_u_add, agg_min_d_add,
        agg_max_d_add,  agg_min_b_add,  agg_max_b_add,     agg_min_s_add, agg_max_s_add,
        agg_values_add, agg_hll_add,    agg_ddsketch_add,  agg_pair_add,  agg_moments_add,
        agg_means_add,  agg_spread_add, agg_histogram_add,
    };
    for (size_t i = 0; i < sizeof adds / sizeof adds[0]; i++)
        if (a->add == adds[i]) return true;
    return false;
}

/* The same for everybody who computes it. */
static bool is_plain(const struct expr *e)
{
    if (!e) return true;
    if (e->query || (e->function && e->function->flags & FN_RANDOM)) return false;
    for (size_t i = 0; i < e->arg_count; i++)
        if (!is_plain(e->args[i])) return false;
    return true;
}

static bool is_shareable(const struct plan *plan)
{
    bool stops_early = plan->has_limit && plan->order_count == 0;
    if (plan->from != FROM_TABLE || !plan->grouped || plan->nothing || stops_early ||
        plan->is_side || !plan->table.has_series || plan->request.newest_first ||
        plan->series_count > 0 || plan->over_count > 0 || plan->fill.on ||
        plan->window.kind > WINDOW_TUMBLE || plan->window.needs_order)
        return false;
    for (size_t i = 0; i < plan->filter_count; i++)
        if (!is_plain(plan->filters[i])) return false;
    for (size_t i = 0; i < plan->key_count; i++)
        if (!is_plain(plan->keys[i].expr)) return false;
    for (size_t i = 0; i < plan->agg_count; i++) {
        const struct agg_call *call = &plan->aggs[i];
        if (!is_plain(call->arg) || !is_plain(call->second)) return false;
        if (!plan->streaming && (call->distinct || !takes_any_order(call->aggregate))) return false;
    }
    return is_plain(plan->having);
}

enum err parallel_new(struct run *run, struct str text, struct sql_scan_request *request)
{
    const struct sql_context *context = run->context;
    const struct plan *plan = run->plan;
    const struct sql_source *source = plan->table.source;
    if (!context->call || !context->helpers_max || !text.size || run->analyze ||
        !source->scan_rows || !is_shareable(plan))
        return ERR_OK;
    uint64_t rows = source->scan_rows(context->catalog->source[plan->table.source_at].context,
                                      run->root->snapshots[plan->table.source_at],
                                      (struct sql_table *)(uintptr_t)&plan->table, request);
    uint64_t count = rows / context->helper_rows;
    if (count > context->helpers_max) count = context->helpers_max;
    if (count > HELPERS_MAX) count = HELPERS_MAX;
    if (!count) return ERR_OK;
    struct parallel *p = mem_alloc_zero(1, sizeof *p + count * sizeof p->helpers[0]);
    if (!p) return ERR_NO_MEMORY;
    p->run = run;
    p->text = text;
    p->helper_count = count;
    atomic_init(&p->at_work, 1);
    for (size_t i = 0; i < count; i++) p->helpers[i].parallel = p;
    request->share = &p->share;
    run->parallel = p;
    return ERR_OK;
}

/* ---- a helper ---- */

static enum err keep_rows(struct op *op, const struct rows *rows)
{
    struct helper *h = (struct helper *)(void *)((char *)op - offsetof(struct helper, keep));
    enum err err = rowbuf_add(&h->rows, rows);
    return err ? run_no_memory(op->run) : ERR_OK;
}

/* Room for what its groups give. */
static enum err make_rows(struct helper *h, const struct plan *plan)
{
    size_t count = GROUP_KEYS_MAX + plan->agg_count;
    arena_init(&h->heads, h->context.budget);
    enum type *types = arena_zero(&h->heads, count, sizeof *types); /* NONE: 0 */
    if (!types) return ERR_NO_MEMORY;
    for (size_t i = 0; i < plan->key_count; i++) types[i] = plan->keys[i].expr->type;
    for (size_t i = 0; i < plan->agg_count; i++) types[GROUP_KEYS_MAX + i] = plan->aggs[i].type;
    h->has_rows = true;
    return rowbuf_init(&h->rows, h->context.budget, &h->heads, types, count);
}

/* Looked at before each series is taken. */
static bool declines(void *context)
{
    struct helper *h = context;
    size_t held = h->run ? group_bytes(h->run->group) + h->rows.arena.taken_bytes : 0;
    return held > h->context.budget->limit_bytes / SHARE_OF_MEMORY;
}

static enum err help(struct helper *h)
{
    struct parallel *p = h->parallel;
    h->context = *p->run->context;
    h->context.call = NULL;
    h->context.param_types = NULL;
    enum err err = sql_prepare(&h->context, p->text, &h->statement, &h->why);
    const struct plan *plan = err ? NULL : h->statement->plans.root;
    if (err || plan->table.schema != p->run->plan->table.schema)
        return ERR_OK; /* the table was changed meanwhile: then without this helper */
    if ((err = make_rows(h, plan))) return err;
    h->keep = (struct op){.push = keep_rows};
    err = run_open_helper(p->run, &h->context, plan, &p->share, declines, h, &h->keep, &h->stats,
                          &h->why, &h->run);
    if (!err) err = scan_push(h->run);
    if (!err && plan->streaming) err = op_finish(h->run->first);
    if (err == ERR_BUDGET || err == ERR_NO_MEMORY) err = run_no_memory(h->run);
    return err;
}

static void end_work(struct parallel *p)
{
    const struct sql_context *context = p->run->context;
    void (*wake)(void *) = context->wake;
    void *tasks = context->tasks;
    if (atomic_fetch_sub(&p->at_work, 1) == 1) wake(tasks); /* who goes on may free all of it */
}

static void release_ticket(struct ticket *ticket)
{
    if (atomic_fetch_sub(&ticket->refs, 1) == 1) mem_free(ticket);
}

static void begin(void *work)
{
    struct ticket *ticket = work;
    int waits = TICKET_WAITS;
    if (atomic_compare_exchange_strong(&ticket->state, &waits, TICKET_BEGUN)) {
        struct helper *h = ticket->helper;
        h->err = help(h);
        if (h->err) atomic_store(&h->parallel->share.is_over, true);
        end_work(h->parallel);
    }
    release_ticket(ticket);
}

void parallel_call(struct run *run)
{
    struct parallel *p = run->parallel;
    for (size_t i = 0; p && i < p->helper_count; i++) {
        struct ticket *ticket = mem_alloc_zero(1, sizeof *ticket);
        if (!ticket) return;
        ticket->helper = &p->helpers[i];
        atomic_init(&ticket->refs, 2);
        p->helpers[i].ticket = ticket;
        atomic_fetch_add(&p->at_work, 1);
        if (run->context->call(run->context->tasks, begin, ticket)) continue;
        p->helpers[i].ticket = NULL;
        atomic_fetch_sub(&p->at_work, 1);
        mem_free(ticket);
        return;
    }
}

/* ---- the statement's own step ---- */

/* Those that have not begun are not needed any more. */
static void return_tickets(struct parallel *p)
{
    for (size_t i = 0; i < p->helper_count; i++) {
        struct ticket *ticket = p->helpers[i].ticket;
        int waits = TICKET_WAITS;
        p->helpers[i].ticket = NULL;
        if (!ticket) continue;
        if (atomic_compare_exchange_strong(&ticket->state, &waits, TICKET_RETURNED))
            atomic_fetch_sub(&p->at_work, 1);
        release_ticket(ticket);
    }
}

bool parallel_leave(struct run *run, enum err err)
{
    struct parallel *p = run->parallel;
    if (!p || p->is_over) return true;
    if (err)
        atomic_store(&p->share.is_over, true);
    else if (!run->is_scanned)
        atomic_store(&p->share.is_private, true);
    p->err = err;
    p->is_left = true;
    return_tickets(p);
    if (atomic_fetch_sub(&p->at_work, 1) > 1) return false;
    p->is_left = false;
    p->is_over = true;
    return true;
}

bool parallel_is_back(struct run *run, enum err *err)
{
    struct parallel *p = run->parallel;
    if (!p || !p->is_left) return false;
    p->is_left = false;
    p->is_over = true;
    *err = p->err;
    return true;
}

static void add_stats(struct sql_scan_stats *to, const struct sql_scan_stats *from)
{
    to->rows += from->rows;
    to->parts += from->parts;
    to->blocks += from->blocks;
    to->bytes += from->bytes;
    to->summaries += from->summaries;
    to->passed_by += from->passed_by;
    to->spans += from->spans;
    to->damaged += from->damaged;
}

enum err parallel_merge(struct run *run, struct op *group)
{
    struct parallel *p = run->parallel;
    enum err err = ERR_OK;
    for (; p && p->merged < p->helper_count && !err; p->merged++) {
        struct helper *h = &p->helpers[p->merged];
        if (h->err) {
            if (run->why) *run->why = h->why;
            return h->err;
        }
        if (!h->run) continue;
        scan_close(h->run);
        add_stats(&run->stats->scan, &h->stats.scan);
        run->stats->helpers++;
        if (!run->plan->streaming) err = group_take(group, h->run->group);
    }
    return err;
}

enum err parallel_hand_on(struct run *run, struct op *next)
{
    struct parallel *p = run->parallel;
    enum err err = ERR_OK;
    if (!p || !run->plan->streaming) return ERR_OK;
    if (!p->columns)
        p->columns =
            arena_zero(run->arena, GROUP_KEYS_MAX + run->plan->agg_count, sizeof *p->columns);
    if (!p->columns) return run_no_memory(run);
    for (size_t i = 0; i < p->helper_count && !err; i++) {
        struct helper *h = &p->helpers[i];
        while (h->has_rows && h->handed_on < h->rows.count && !err && !run->paused &&
               !run->enough) {
            size_t left = h->rows.count - h->handed_on;
            uint32_t count = left < SQL_CHUNK_ROWS ? (uint32_t)left : SQL_CHUNK_ROWS;
            rowbuf_slice(&h->rows, h->handed_on, count, p->columns);
            arena_reset(&run->eval.scratch);
            struct rows rows = {.view = {count, NULL, count},
                                .columns = p->columns,
                                .column_count = h->rows.column_count};
            h->handed_on += count;
            err = run_check(run);
            if (!err) err = op_push(next, &rows);
        }
    }
    return err;
}

void parallel_free(struct run *run)
{
    struct parallel *p = run->parallel;
    if (!p) return;
    MUST(p->is_over || atomic_load(&p->at_work) == 1);
    for (size_t i = 0; i < p->helper_count; i++) {
        struct helper *h = &p->helpers[i];
        run_close(h->run);
        if (h->has_rows) {
            rowbuf_free(&h->rows);
            arena_free(&h->heads);
        }
        sql_close(h->statement);
    }
    mem_free(p);
    run->parallel = NULL;
}
