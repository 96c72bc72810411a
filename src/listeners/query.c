/* query.c - see query.h. */
#include "listeners/query.h"
#include "listeners/list_source.h"
#include "listeners/zone_file.h"
#include "sql/grid.h"
#include "listeners/ingest.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* ---- on the worker ---- */

static enum err write_rows(void *context, const struct vector *columns, size_t column_count,
                           const uint16_t *selection, uint32_t row_count, struct why *why)
{
    struct query *q = context;
    struct value values[SCHEMA_COLUMNS_MAX / 4];
    MUST(column_count <= sizeof values / sizeof values[0]);
    for (uint32_t i = 0; i < row_count; i++) {
        for (size_t c = 0; c < column_count; c++)
            values[c] = vector_get(&columns[c], selection ? selection[i] : i);
        q->format->row(q, &q->answer, values, column_count);
        q->rows++;
    }
    if (!buf_failed(&q->answer)) return ERR_OK;
    return why_set(why, ERR_LIMIT,
                   "the answer is larger than %d MiB: use LIMIT, or a narrower WHERE",
                   QUERY_ANSWER_BYTES_MAX >> 20);
}

static enum access_verb needed_verb(enum sql_verb verb, bool writes)
{
    if (!writes) return VERB_QUERY;
    switch (verb) {
    case SQL_CREATE_TABLE: return VERB_CREATE;
    case SQL_CREATE_VIEW: return VERB_CREATE;
    case SQL_DROP_VIEW: return VERB_DELETE;
    case SQL_ALTER_TABLE: return VERB_UPDATE;
    case SQL_DROP_TABLE: return VERB_DELETE;
    case SQL_CHECKPOINT: return VERB_UPDATE;
    case SQL_DELETE: return VERB_DELETE; /* of the whole table: more than the right to add rows */
    case SQL_SELECT:
    case SQL_INSERT: break;
    }
    return VERB_INGEST;
}

/* System tables show only what the identity may see, so the right to query anything opens them. A
 * bare name is the user's table if there is one, as for the binder. */
static bool is_system_table(const struct query *q, const struct sql_access *access)
{
    if (access->writes || strcmp(access->schema, "public") == 0) return false;
    if (strcmp(access->schema, "sys") == 0 || strcmp(access->schema, "pg_catalog") == 0 ||
        strcmp(access->schema, "information_schema") == 0)
        return true;
    struct schema *own = store_find_table(q->service->store, q->ns, str_of(access->table));
    schema_release(own);
    return !own;
}

/* Replacing is changing. Both rights are needed then, for who asks does not know which it is. */
static enum err check_view_rights(struct query *q, struct why *why)
{
    const struct sql_view *view = sql_view_of(q->statement);
    enum access_verb verb = needed_verb(sql_verb_of(q->statement), true);
    enum err err = access_check(q->identity, verb, "View", q->ns, str_of(view->name), STR(""), why);
    if (!err && view->or_replace)
        err =
            access_check(q->identity, VERB_UPDATE, "View", q->ns, str_of(view->name), STR(""), why);
    return err;
}

/* The right to the tables; rows and devices are looked at one by one where it is not whole: by the
 * guard when reading, below when writing. */
static enum err check_rights(struct query *q, struct why *why)
{
    const struct sql_access *accesses;
    size_t count = sql_accesses(q->statement, &accesses);
    enum sql_verb verb = sql_verb_of(q->statement);
    if (verb == SQL_CHECKPOINT) /* the node works, not a table */
        return access_check(q->identity, VERB_UPDATE, "Node", STR(""), STR(""), STR(""), why);
    bool ddl = verb != SQL_SELECT && verb != SQL_INSERT && verb != SQL_CREATE_VIEW;
    for (size_t i = 0; i < count; i++) {
        enum access_verb need = needed_verb(verb, accesses[i].writes);
        struct str name = is_system_table(q, &accesses[i]) ? STR("") : str_of(accesses[i].table);
        enum access_scope scope = access_scope(q->identity, need, "Table", q->ns, name);
        if (scope == ACCESS_ALL || (scope == ACCESS_SOME && !ddl)) continue;
        enum err err = access_check(q->identity, need, "Table", q->ns, str_of(accesses[i].table),
                                    STR(""), why);
        if (err) return err;
    }
    if (verb == SQL_CREATE_VIEW || verb == SQL_DROP_VIEW) return check_view_rights(q, why);
    return ERR_OK;
}

/* INSERT: the right to each device, by its absolute path. */
static enum err check_devices(struct query *q, const struct batch *batch, struct why *why)
{
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < batch->device_count && !err; i++)
        err = access_check(q->identity, VERB_INGEST, "Table", q->ns, str_of(batch->schema->name),
                           batch->devices[i].path, why);
    return err;
}

static int64_t mono_of(void *clock)
{
    struct os *os = clock;
    return os->ops->mono_ns(os);
}

static int64_t limit_of(const struct query *q)
{
    int64_t most = q->service->statement_limit_ns;
    return q->limit_ns && q->limit_ns < most ? q->limit_ns : most;
}

/* ---- other tasks of a statement ---- */

struct helper_job {
    struct job job;
    void (*begin)(void *work);
    void *work;
};

static void run_helper(struct job *job)
{
    struct helper_job *helper = (struct helper_job *)(void *)job;
    helper->begin(helper->work);
    mem_free(helper);
}

static bool call_helper(void *tasks, void (*begin)(void *work), void *work)
{
    struct query *q = tasks;
    struct helper_job *helper = mem_alloc_zero(1, sizeof *helper);
    if (!helper) return false;
    *helper = (struct helper_job){.job.run = run_helper, .begin = begin, .work = work};
    pool_post(q->pool, &helper->job);
    return true;
}

static void go_on(void *tasks)
{
    struct query *q = tasks;
    pool_post(q->pool, &q->job);
}

static void set_context(struct query *q)
{
    struct service *s = q->service;
    q->catalog = (struct sql_catalog){.count = 4};
    q->guard = (struct guard){s->store, q->identity};
    q->catalog.source[0].ops = &guard_source;
    q->catalog.source[0].context = &q->guard;
    q->catalog.source[1].ops = &list_source_sys;
    q->catalog.source[1].context = q->sys;
    q->pg.service = s;
    q->pg.identity = q->identity;
    q->pg.ns = q->ns;
    q->catalog.source[2].ops = &list_source_pg;
    q->catalog.source[2].context = &q->pg;
    q->catalog.source[3].ops = &view_source;
    q->catalog.source[3].context = q->sys;
    q->context = (struct sql_context){
        .catalog = &q->catalog,
        .ns = q->ns,
        .budget = &q->budget,
        .device_prefix = s->node_path,
        .batch_budget = s->in_flight,
        .now_ns = context_wall_ns(s->context),
        .mono_ns = mono_of,
        .clock = s->context->os,
        .zone = q->zone,
        .zone_load = zone_file_read,
        .zone_context = s->context->os,
        .deadline_mono_ns = context_mono_ns(s->context) + limit_of(q),
        .cancelled = &q->completion.cancelled,
        .param_count = q->param_count,
        .params = q->params,
        .param_types = q->param_types,
        .are_params_open = q->are_params_open,
        .functions = &pg_functions,
        .session = &q->pg,
        .call = call_helper,
        .wake = go_on,
        .tasks = q,
        .helpers_max = s->context->os->ops->processor_count(s->context->os) - 1,
        .helper_rows = s->helper_rows,
    };
}

static bool part_is_full(void *context)
{
    const struct query *q = context;
    return q->answer.size >= (q->part_bytes ? q->part_bytes : QUERY_PART_BYTES);
}

/* A zone that the statement does not use must be one all the same. */
static enum err check_zone(struct query *q, struct why *why)
{
    struct arena arena;
    struct zone zone;
    if (!q->zone.size) return ERR_OK;
    arena_init(&arena, &q->budget);
    enum err err = zone_read(&q->context, q->zone, &arena, &zone, why);
    arena_free(&arena);
    return err;
}

/* Parses and binds. */
static enum err prepare_statement(struct query *q, struct why *why)
{
    set_context(q);
    metric_add(q->service->context, METRIC_STATEMENTS, 1);
    q->pg.context = &q->context;
    q->pg.sys = q->sys;
    enum err err = pg_catalog_open(&q->pg, q->text, &q->budget);
    if (!err && !q->is_zone_known) err = check_zone(q, why);
    if (!err) err = sql_prepare(&q->context, q->text, &q->statement, why);
    if (!err) q->verb = sql_verb_of(q->statement);
    if (!err) err = check_rights(q, why);
    if (!err) q->column_count = sql_columns(q->statement, &q->columns);
    return err;
}

/* DELETE: what the store shall forget. */
static enum err begin_delete(struct query *q, struct why *why)
{
    struct sql_delete what;
    enum err err = sql_delete_of(q->statement, &what, why);
    if (err) return err;
    q->rows = what.rows;
    q->delete = (struct store_delete){.table_id = sql_target(q->statement)->table_id};
    q->delete.ranges = mem_alloc_zero(what.count + 1, sizeof *q->delete.ranges);
    if (!q->delete.ranges) return ERR_NO_MEMORY;
    q->delete.count = what.count;
    for (size_t i = 0; i < what.count; i++)
        q->delete.ranges[i] = (struct store_range){.device = what.ranges[i].device,
                                                   .from_ns = what.ranges[i].from_ns,
                                                   .to_ns = what.ranges[i].to_ns};
    return ERR_OK;
}

/* Begins what is prepared. A SELECT's rows are left to run_select. */
static enum err begin_statement(struct query *q, struct why *why)
{
    q->is_begun = true;
    if (q->verb == SQL_INSERT || q->verb == SQL_CHECKPOINT) return ERR_OK;
    if (q->verb == SQL_DELETE) return begin_delete(q, why);
    if (q->verb == SQL_CREATE_VIEW || q->verb == SQL_DROP_VIEW) {
        q->view.view = sql_view_of(q->statement);
        return ERR_OK;
    }
    if (q->verb != SQL_SELECT) return sql_ddl_of(q->statement, &q->change.ddl);
    if (q->column_count > SCHEMA_COLUMNS_MAX / 4)
        return why_set(why, ERR_LIMIT,
                       "the statement has %zu result columns; %d are allowed: name those needed",
                       q->column_count, SCHEMA_COLUMNS_MAX / 4);
    if (q->format->begin) q->format->begin(q, &q->answer);
    q->sink = (struct sql_sink){write_rows, q, q->on_part ? part_is_full : NULL};
    return ERR_OK;
}

/* INSERT: the batch, or the next one of INSERT … SELECT; NULL when there are no rows. */
static enum err make_batch(struct query *q, struct why *why)
{
    q->may_repeat = !sql_insert_goes_on(q->statement);
    enum err err = sql_insert_batch(q->statement, &q->append.batch, why);
    if (!err && q->append.batch) err = check_devices(q, q->append.batch, why);
    if (!err) return ERR_OK;
    batch_release(q->append.batch);
    q->append.batch = NULL;
    return err;
}

/* Rows until the part is full or all are there. `*waits`: go_on will run it again, perhaps it has
 * already: the query is not to be touched. */
static enum err run_select(struct query *q, bool *waits, struct why *why)
{
    enum err err = ERR_OK;
    enum sql_progress progress;
    do {
        err = sql_step(q->statement, &q->sink, &q->stats, &progress, why);
        *waits = progress == SQL_WAITS;
        if (*waits) return ERR_OK;
        q->is_done = progress == SQL_DONE;
    } while (!q->is_done && !(q->on_part && part_is_full(q)));
    if (q->is_done) metric_add(q->service->context, METRIC_STATEMENT_HELPERS, q->stats.helpers);
    if (!err && q->is_done && q->format->end) q->format->end(q, &q->answer);
    if (!err && buf_failed(&q->answer)) err = ERR_NO_MEMORY; /* the beginning, or the end */
    return err;
}

static void back_on_main(struct completion *c);

static void run_on_worker(struct job *job)
{
    struct query *q = (struct query *)(void *)((char *)job - offsetof(struct query, job));
    struct context *context = q->service->context;
    struct why *why = &q->run_why;
    enum err err = ERR_OK;
    bool waits = false;
    if (!q->is_timed) q->part_start_ns = context_mono_ns(context);
    q->is_timed = true;
    bool is_fresh = !q->statement;
    if (is_fresh) err = prepare_statement(q, why);
    if (!err && !q->is_begun && !(is_fresh && q->on_prepared)) err = begin_statement(q, why);
    if (!err && q->is_begun && q->verb == SQL_SELECT) err = run_select(q, &waits, why);
    if (waits) return;
    q->is_timed = false;
    if (!err && q->is_begun && q->verb == SQL_INSERT) err = make_batch(q, why);
    int64_t spent = context_mono_ns(context) - q->part_start_ns;
    q->run_ns += spent;
    q->part_end_ns = q->part_start_ns + spent;
    metric_add(context, METRIC_STATEMENT_NS, (uint64_t)spent);
    if (err) metric_add(context, METRIC_STATEMENT_ERRORS, 1);
    completion_finish(&q->append.completion, err, why); /* borrowed for the way back */
}

/* ---- on the main loop ---- */

static void finish(struct query *q, enum err err, const struct why *why)
{
    sys_snapshot_free(q->sys);
    q->sys = NULL;
    completion_finish(&q->completion, err, why);
}

/* INSERT and DDL answer like a SELECT with one row. What could not be told was done all the same.
 */
static void finish_with_count(struct query *q)
{
    struct why why = WHY_NONE;
    q->count_column = (struct sql_result_column){"rows", TYPE_BIGINT, ""};
    uint64_t rows = q->rows;
    struct value value = {.type = TYPE_BIGINT, .i = (int64_t)rows};
    q->columns = &q->count_column;
    q->column_count = 1;
    q->rows = 0;
    if (q->format->begin) q->format->begin(q, &q->answer);
    q->format->row(q, &q->answer, &value, 1);
    q->rows = 1;
    if (q->format->end) q->format->end(q, &q->answer);
    q->rows = rows;
    enum err err = buf_failed(&q->answer) ? ERR_NO_MEMORY : ERR_OK;
    if (err)
        why_set(&why, err,
                "the statement was carried out (%llu rows), but there is no memory for its answer",
                (unsigned long long)rows);
    finish(q, err, &why);
}

static void post(struct query *q);

static void on_appended(struct completion *c)
{
    struct query *q = (struct query *)(void *)((char *)c - offsetof(struct query, append));
    if (!c->err && sql_insert_goes_on(q->statement)) { /* INSERT … SELECT: the next batch */
        q->append.batch = NULL;
        q->context.deadline_mono_ns += context_mono_ns(q->service->context) - q->part_end_ns;
        post(q);
        return;
    }
    if (c->err)
        finish(q, c->err, &c->why);
    else
        finish_with_count(q);
}

static const char *changed_table(const struct query *q)
{
    if (q->view.view) return q->view.view->name;
    if (q->change.ddl) return q->change.ddl->table;
    return q->verb == SQL_DELETE && q->delete.ranges ? sql_target(q->statement)->name : "";
}

static bool changes_view(const struct query *q)
{
    return q->verb == SQL_CREATE_VIEW || q->verb == SQL_DROP_VIEW;
}

/* Who changes which table, and what became of it ("ok": it is done next; a failure after it has a
 * line of its own). */
static struct audit_entry entry_of(const struct query *q, const char *outcome)
{
    const char *kind = q->verb == SQL_CHECKPOINT ? "Node" : changes_view(q) ? "View" : "Table";
    return (struct audit_entry){.user = str_of(q->identity->user),
                                .verb = str_of(access_verb_name(needed_verb(q->verb, true))),
                                .kind = str_of(kind),
                                .ns = q->ns,
                                .path = str_of(changed_table(q)),
                                .detail = q->text,
                                .outcome = str_of(outcome)};
}

/* What the audit log promised did not happen. The store closes after the audit log; a change that
 * it answers that late leaves no line. */
static void note(struct query *q, const char *outcome)
{
    struct audit_entry entry = entry_of(q, outcome);
    if (q->service->audit && audit_append(q->service->audit, &entry))
        diag(q->service->context, DIAG_ERROR, "query", "the audit log takes no lines");
}

/* Refused changes leave a line as well. */
static void note_forbidden(struct query *q)
{
    struct service *service = q->service;
    struct audit_entry entry = entry_of(q, "forbidden");
    if (service->audit && audit_rate_add(&service->refusals, service->audit, &entry,
                                         context_mono_ns(service->context)))
        diag(service->context, DIAG_ERROR, "query", "the audit log takes no lines");
}

static void end_change(struct query *q, const struct completion *c)
{
    if (!c->err) {
        finish_with_count(q);
        return;
    }
    note(q, why_text(&c->why, c->err));
    finish(q, c->err, &c->why);
}

static void on_deleted(struct completion *c)
{
    struct query *q = (struct query *)(void *)((char *)c - offsetof(struct query, delete));
    end_change(q, c);
}

static void on_changed(struct completion *c)
{
    struct query *q = (struct query *)(void *)((char *)c - offsetof(struct query, change));
    end_change(q, c);
}

static void on_view_changed(struct completion *c)
{
    struct query *q = (struct query *)(void *)((char *)c - offsetof(struct query, view));
    end_change(q, c);
}

static void on_checkpoint(struct completion *c)
{
    struct query *q = (struct query *)(void *)((char *)c - offsetof(struct query, flush));
    if (!c->err) {
        finish_with_count(q);
        return;
    }
    if (q->flush.confirm_time) note(q, why_text(&c->why, c->err));
    finish(q, c->err, &c->why);
}

static void start_checkpoint(struct query *q)
{
    q->flush.merge = sql_merges(q->statement);
    q->flush.confirm_time = sql_confirms_clock(q->statement);
    completion_init(&q->flush.completion, q->service->context->main, on_checkpoint);
    store_flush(q->service->store, &q->flush);
}

/* A change of a table is done when the audit log shows it. */
static void on_audited(struct completion *c)
{
    struct query *q = (struct query *)(void *)((char *)c - offsetof(struct query, audited));
    bool is_refused = !c->err && q->service->stopping;
    if (is_refused) note(q, err_text(ERR_CANCELLED));
    if (c->err || is_refused) {
        finish(q, c->err ? c->err : ERR_CANCELLED, &c->why);
        return;
    }
    if (q->verb == SQL_CHECKPOINT) {
        start_checkpoint(q);
        return;
    }
    if (q->verb == SQL_DELETE) {
        completion_init(&q->delete.completion, q->service->context->main, on_deleted);
        store_delete(q->service->store, &q->delete);
        return;
    }
    if (changes_view(q)) {
        completion_init(&q->view.completion, q->service->context->main, on_view_changed);
        q->view.service = q->service;
        q->view.ns = q->ns;
        view_change_start(&q->view);
        return;
    }
    completion_init(&q->change.completion, q->service->context->main, on_changed);
    q->change.ns = q->ns;
    q->service->change_table(q->service->node, &q->change);
}

static void start_change(struct query *q)
{
    struct audit_entry entry = entry_of(q, "ok");
    completion_init(&q->audited, q->service->context->main, on_audited);
    audit_append_durable(q->service->audit, &entry, &q->audited);
}

/* ---- INSERT without memory for its rows ---- */

enum { WAITS_MAX = 10 };

static void on_room(struct room_wait *wait, enum err err, const struct why *why)
{
    struct query *q = (struct query *)(void *)((char *)wait - offsetof(struct query, wait));
    q->context.deadline_mono_ns += context_mono_ns(q->service->context) - q->part_end_ns;
    if (err)
        finish(q, err, why);
    else
        post(q);
}

/* A SELECT that is under way for INSERT cannot be run again, and is told. */
static bool may_wait(const struct query *q, enum err err)
{
    return err && q->is_begun && q->verb == SQL_INSERT && q->may_repeat &&
           sql_insert_lacks(q->statement);
}

static void wait_for_room(struct query *q)
{
    struct why why = WHY_NONE;
    struct service *service = q->service;
    size_t all = service->in_flight->limit_bytes, need = service_piece_bytes(service);
    enum err err = ERR_OK;
    for (unsigned i = 0; i < q->waits; i++) need = need < all / 2 ? need * 2 : all;
    if (q->waits++ == WAITS_MAX)
        err = why_set(&why, ERR_LIMIT,
                      "the rows need more than the %zu KiB that there are for rows on their way to "
                      "the log; insert fewer at once, or raise memory:",
                      all / 1024);
    if (!err) err = room_wait(service->room, &q->wait, need, on_room, &why);
    if (err) finish(q, err, &why);
}

static void back_on_main(struct completion *c)
{
    struct query *q = (struct query *)(void *)((char *)c - offsetof(struct query, append));
    struct loop *main = q->service->context->main;
    if (may_wait(q, c->err)) {
        wait_for_room(q);
        return;
    }
    if (c->err == ERR_FORBIDDEN && q->verb != SQL_SELECT) note_forbidden(q);
    if (!c->err && !q->is_begun) {
        q->on_prepared(q);
    } else if (!c->err && q->verb == SQL_SELECT && !q->is_done) {
        q->on_part(q);
    } else if (c->err || q->verb == SQL_SELECT) {
        finish(q, c->err, &c->why);
    } else if (q->verb == SQL_INSERT && !q->append.batch) {
        finish_with_count(q);
    } else if (q->verb == SQL_INSERT) {
        q->rows += q->append.batch->row_count;
        q->append.ack = store_ack_of(q->append.batch->schema);
        q->append.wait_limit_ns = SERVICE_HEAD_WAIT_NS;
        completion_init(&q->append.completion, main, on_appended);
        store_append(q->service->store, &q->append);
    } else if (q->verb == SQL_CHECKPOINT && !sql_confirms_clock(q->statement)) {
        start_checkpoint(q);
    } else {
        start_change(q);
    }
}

/* Hands over to a worker, whose way back is back_on_main. */
static void post(struct query *q)
{
    completion_init(&q->append.completion, q->service->context->main, back_on_main);
    q->job.run = run_on_worker;
    q->pool = q->service->context->workers;
    if (q->pool)
        pool_post(q->pool, &q->job);
    else
        finish(q, ERR_CANCELLED, NULL); /* the node stops */
}

void query_continue(struct query *q)
{
    MUST(q->statement && !q->is_done);
    /* The time limit is the statement's own: waiting for the reader does not count. */
    int64_t now = context_mono_ns(q->service->context);
    q->context.deadline_mono_ns += now - q->part_end_ns;
    if (q->is_limit_of_part && q->is_begun) q->context.deadline_mono_ns = now + limit_of(q);
    post(q);
}

void query_cancel(struct query *q)
{
    struct why why = WHY_NONE;
    atomic_store(&q->completion.cancelled, true);
    if (!q->wait.room) return;
    MUST(loop_is_current(q->service->context->main));
    room_leave(&q->wait);
    finish(q, why_set(&why, ERR_CANCELLED, "the statement was cancelled"), &why);
}

/* Another task has told what the system tables show of it. */
static void on_asked(void *arg, enum err err, const struct why *why)
{
    struct query *q = arg;
    if (err)
        finish(q, err, why);
    else
        post(q);
}

void query_start(struct query *q)
{
    struct service *s = q->service;
    MUST(q->completion.done && q->format && q->identity && !q->statement);
    MUST(loop_is_current(s->context->main) && q->param_count <= QUERY_PARAMS_MAX);
    budget_init(&q->budget, "statement", s->statements, s->statement_limit_bytes);
    q->answer.limit = QUERY_ANSWER_BYTES_MAX;
    q->run_why = WHY_NONE;
    q->sys = sys_snapshot_take(s, q->text, q->identity);
    if (!q->sys) {
        finish(q, ERR_NO_MEMORY, NULL);
        return;
    }
    if (!sys_snapshot_ask(q->sys, on_asked, q)) post(q);
}

void query_free(struct query *q)
{
    mem_free(q->delete.ranges);
    q->delete.ranges = NULL;
    sql_close(q->statement);
    q->statement = NULL;
    pg_catalog_close(&q->pg);
    sys_snapshot_free(q->sys);
    q->sys = NULL;
    if (q->format && q->format->free) q->format->free(q);
    buf_free(&q->answer);
}
