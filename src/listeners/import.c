/* import.c - see import.h: the way of one request.
 *
 * The table is made or widened first. Then a worker turns a chunk of the body into a batch while
 * the batches before it are on their way to the log, at most IMPORT_OPEN_MAX. Where there is no
 * memory for a batch, the request waits until one of its own has been stored, or, when none is on
 * its way, in the room that all writers share (loop/room.h). A column that proves too narrow is
 * widened when all batches before that row have been stored. After the last batch the answer is
 * sent. */
#include "listeners/import.h"
#include "listeners/ingest.h"
#include <stdio.h>
#include <string.h>

/* One batch on its way. */
struct import_append {
    struct store_append append; /* first */
    struct import *import;
    uint64_t rows;
};

static void advance(struct import *import);
static void prepare(struct import *import);

static void note_error(struct import *import, enum err err, const struct why *why)
{
    if (import->err) return;
    import->err = err;
    import->why = why ? *why : WHY_NONE;
}

/* ---- the end ---- */

static void import_free(struct import *import)
{
    MUST(!import->is_working && !import->open_count && !import->wait.room);
    batch_release(import->batch);
    schema_release(import->schema);
    schema_release(import->wanted);
    arena_free(&import->scratch);
    buf_free(&import->errors);
    buf_free(&import->widened);
    mem_free(import);
}

static void reply(struct import *import)
{
    struct buf out = BUF_EMPTY;
    buf_printf(&out, "{\"rows\":%llu,\"refused\":%llu,\"errors\":[",
               (unsigned long long)import->stored, (unsigned long long)import->refused);
    buf_add_str(&out, buf_str(&import->errors));
    buf_add_char(&out, ']');
    if (import->widened.size) {
        buf_add_text(&out, ",\"widened\":[");
        buf_add_str(&out, buf_str(&import->widened));
        buf_add_char(&out, ']');
    }
    if (import->refused)
        buf_printf(&out, ",\"error\":{\"code\":\"INVALID\",\"message\":\"%llu rows refused\"}",
                   (unsigned long long)import->refused);
    buf_add_char(&out, '}');
    if (buf_failed(&out) || buf_failed(&import->errors))
        http_reply_error(import->exchange, ERR_NO_MEMORY, NULL);
    else
        http_reply_buf(import->exchange, import->refused ? 400 : 200, "application/json", &out);
    buf_free(&out);
}

static void finish(struct import *import)
{
    metric_add(import->service->context, METRIC_ROWS_REFUSED, import->refused);
    if (import->err)
        http_reply_error(import->exchange, import->err, &import->why);
    else
        reply(import);
    import_free(import);
}

/* ---- batches ---- */

static void on_appended(struct completion *done)
{
    struct import_append *one = (struct import_append *)(void *)done;
    struct import *import = one->import;
    import->open_count--;
    import->is_waiting = false; /* memory has come back */
    if (done->err)
        note_error(import, done->err, &done->why);
    else
        import->stored += one->rows;
    batch_release(one->append.batch);
    mem_free(one);
    advance(import);
}

static void append_batch(struct import *import)
{
    struct import_append *one =
        import->batch && import->batch_rows && !import->err ? mem_alloc_zero(1, sizeof *one) : NULL;
    if (!one) {
        if (import->batch && import->batch_rows) note_error(import, ERR_NO_MEMORY, NULL);
        batch_release(import->batch);
        import->batch = NULL;
        return;
    }
    one->import = import;
    one->rows = import->batch_rows;
    one->append.batch = import->batch;
    one->append.ack = store_ack_of(import->schema);
    one->append.wait_limit_ns = SERVICE_HEAD_WAIT_NS;
    import->batch = NULL;
    import->open_count++;
    completion_init(&one->append.completion, import->service->context->main, on_appended);
    store_append(import->service->store, &one->append);
}

static void run_on_worker(struct job *job)
{
    struct import *import = (struct import *)(void *)((char *)job - offsetof(struct import, job));
    struct why why = WHY_NONE;
    import->batch = batch_new(import->schema, import->service->in_flight);
    enum err err = import->batch ? import_read_rows(import, &why) : ERR_NO_MEMORY;
    import->batch_rows = import->batch ? import->batch->row_count : 0;
    if (import->batch_rows && !err) err = batch_seal(import->batch);
    arena_free(&import->scratch); /* who waits holds nothing */
    completion_finish(&import->back, err, &why);
}

static void on_worked(struct completion *done)
{
    struct import *import = (struct import *)(void *)((char *)done - offsetof(struct import, back));
    bool is_lacking =
        (done->err == ERR_NO_MEMORY || done->err == ERR_BUDGET) && import->batch_rows == 0;
    import->is_working = false;
    import->is_waiting = is_lacking;
    if (import->batch_rows) import->fruitless = 0;
    if (done->err && !is_lacking) note_error(import, done->err, &done->why);
    append_batch(import);
    advance(import);
}

static void on_room(struct room_wait *wait, enum err err, const struct why *why)
{
    struct import *import = (struct import *)(void *)((char *)wait - offsetof(struct import, wait));
    import->is_waiting = false;
    if (err) note_error(import, err, why);
    advance(import);
}

/* As ingest.c does it: asking for more each time, until all there is was not enough. */
static void wait_for_room(struct import *import)
{
    struct why why = WHY_NONE;
    size_t all = import->service->in_flight->limit_bytes;
    bool again = import->fruitless++ > 0;
    if (!again) import->need_bytes = service_piece_bytes(import->service);
    if (again) import->need_bytes = import->need_bytes < all / 2 ? import->need_bytes * 2 : all;
    enum err err = ERR_OK;
    if (import->fruitless > IMPORT_FRUITLESS_MAX) {
        err = service_row_too_large(import->service, &why);
        metric_add(import->service->context, METRIC_ROOM_REFUSED, 1);
    }
    if (!err)
        err = room_wait(import->service->room, &import->wait, import->need_bytes, on_room, &why);
    if (!err) return;
    import->is_waiting = false;
    note_error(import, err, &why);
    advance(import);
}

/* What waits for others' memory is dropped; what is on its way goes on. */
static void on_gone(void *arg)
{
    struct import *import = arg;
    if (!import->wait.room) return;
    room_leave(&import->wait);
    import->is_waiting = false;
    advance(import);
}

static void start_work(struct import *import)
{
    struct context *context = import->service->context;
    import->is_working = true;
    completion_init(&import->back, context->main, on_worked);
    import->job.run = run_on_worker;
    pool_post(context->intake, &import->job);
}

/* Whatever has changed: what is next? */
static void advance(struct import *import)
{
    if (import->is_working || import->wait.room) return;
    if (!import->service->context->intake) note_error(import, ERR_CANCELLED, NULL);
    if (http_is_gone(import->exchange)) note_error(import, ERR_CLOSED, NULL);
    if (import->is_waiting && import->open_count) return; /* memory comes back with an answer */
    bool may = import->open_count < IMPORT_OPEN_MAX;
    if (!import->err && import->widen_id) {
        if (!import->open_count) prepare(import);
        return;
    }
    if (!import->err && import->rest.size) {
        if (!may) return;
        if (import->is_waiting)
            wait_for_room(import);
        else
            start_work(import);
        return;
    }
    if (import->open_count == 0) finish(import);
}

/* ---- the beginning ---- */

static void on_defined(struct completion *done)
{
    struct import *import =
        (struct import *)(void *)((char *)done - offsetof(struct import, define));
    schema_release(import->define.result);
    import->define.result = NULL;
    /* A conflict means that another writer was faster: what it made is looked at again. */
    if (done->err && done->err != ERR_CONFLICT && done->err != ERR_EXISTS)
        note_error(import, done->err, &done->why);
    if (import->service->stopping) note_error(import, ERR_CANCELLED, NULL);
    if (import->err)
        finish(import);
    else
        prepare(import);
}

static void prepare(struct import *import)
{
    struct why why = WHY_NONE;
    enum err err = import_bind(import, &why);
    if (err) {
        note_error(import, err, &why);
        finish(import);
        return;
    }
    if (!import->wanted) {
        advance(import);
        return;
    }
    import->define.schema = import->wanted;
    import->define.drop = false;
    import->wanted = NULL;
    completion_init(&import->define.completion, import->service->context->main, on_defined);
    store_define(import->service->store, &import->define);
}

void api_import(struct http_exchange *exchange, void *arg)
{
    struct import *import = mem_alloc_zero(1, sizeof *import);
    struct why why = WHY_NONE;
    if (!import) {
        http_reply_error(exchange, ERR_NO_MEMORY, NULL);
        return;
    }
    import->exchange = exchange;
    import->service = arg;
    import->why = WHY_NONE;
    arena_init(&import->scratch, import->service->in_flight);
    enum err err = import_plan(import, &why);
    if (err) {
        note_error(import, err, &why);
        finish(import);
        return;
    }
    http_on_gone(exchange, on_gone, import);
    /* Behind those that wait, or they might wait for ever. */
    import->is_waiting = room_is_asked(import->service->room);
    prepare(import);
}
