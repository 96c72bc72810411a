/* ingest.c - see ingest.h: rounds and pieces, and what they wait for. What becomes of one line is
 * ingest_rows.c, how lines are read ingest_notation.c.
 *
 * On a worker, a round reads every line and fills one batch a table. A line that needs a table or
 * column which is not there waits, and so do all later lines of its table, because of two lines
 * with the same time the later one counts. What is missing is then defined on the main loop, one
 * after the other, and the next round takes the lines that waited: the text is read again, which is
 * rare and saves a list of them. A line with an error is counted, told and left out; the others are
 * kept.
 *
 * A round goes in pieces. A piece ends when it has taken its share of memory or finds none; its
 * batches are sent, and the next piece is read while they are on their way, at most
 * INGEST_OPEN_MAX. A piece that found no memory lets go of all that it holds before it waits, so
 * that those who wait together cannot keep each other from going on. */
#include "listeners/ingest_priv.h"
#include <stdio.h>
#include <string.h>

enum {
    INGEST_OPEN_MAX = 4,
    FRUITLESS_MAX = 10, /* waits without a row; all there is was asked for in most of them */
};

static void refuse(struct ingest *in, uint64_t number, const struct why *why, enum err err)
{
    in->refused++;
    if (in->format->on_refused) in->format->on_refused(in, why, err);
    if (in->refused > INGEST_ERRORS_SHOWN) return;
    buf_printf(&in->errors, "%s%s %llu: %s", in->errors.size ? "\n" : "", in->format->unit,
               (unsigned long long)number, why_text(why, err));
    if (!in->shows_text) return;
    struct str shown = {in->row.at, in->row.size < 200 ? in->row.size : 200};
    while (shown.size && !str_is_utf8(shown)) shown.size--; /* cut at a whole character */
    buf_add_text(&in->errors, ": ");
    buf_add_json(&in->errors, shown);
}

/* One round over the text, or the next piece of it. What cannot be read is told in the first. */
static void read_rows(struct ingest *in)
{
    bool is_first = in->rounds == 0;
    if (!in->is_cut) in->format->begin(in);
    in->is_cut = in->is_lacking = false;
    struct why why = WHY_NONE; /* large: made anew only behind an error */
    for (;;) {
        bool found = false;
        struct ingest_place before = in->at;
        enum err err = in->format->next(in, &found, &why);
        if (!found && !err) break;
        bool is_told = err && !is_first;
        bool may_wait = !err || err == ERR_NO_MEMORY;
        if (!err) err = ingest_take_line(in, in->line, in->at.number, &why);
        if (may_wait && ingest_is_lack(err)) {
            in->at = before;
            in->is_cut = true;
            in->is_lacking = err != ERR_BUSY;
            break;
        }
        in->lines += is_first;
        if (err && !is_told) refuse(in, in->at.number, &why, err);
        if (err && !found) break;
        if (err) why = WHY_NONE;
        if (in->scratch.taken_bytes > 1024 * 1024) arena_reset(&in->scratch);
    }
    arena_free(&in->scratch);
}

/* ---- the way through ---- */

static void refresh(struct ingest *in)
{
    for (size_t i = 0; i < in->table_count; i++) {
        struct ingest_table *t = &in->tables[i];
        schema_release(t->schema);
        schema_release(t->wanted);
        t->wanted = NULL;
        t->from = t->waits_from ? t->waits_from : UINT64_MAX;
        t->waits_from = 0;
        t->schema = store_find_table(in->service->store, in->ns, str_of(t->name));
        memset(t->at, 0, sizeof t->at);
    }
}

static void note_error(struct ingest *in, enum err err, const struct why *why)
{
    if (in->append_err || !err) return;
    in->append_err = err;
    in->append_why = why ? *why : WHY_NONE;
}

static void advance(struct ingest *in);

static void on_appended(struct completion *c)
{
    struct ingest_append *one = (struct ingest_append *)c;
    struct ingest *in = one->ingest;
    note_error(in, c->err, &c->why);
    MUST(in->open_appends > 0 && !one->append.batch);
    mem_free(one);
    in->open_appends--;
    /* Memory has come back. While the next piece is read, the worker says what it lacks. */
    if (in->state != INGEST_READING) in->is_lacking = false;
    advance(in);
}

static struct ingest_append *take_sealed(struct ingest *in)
{
    struct ingest_append *first = in->sealed;
    in->sealed = NULL;
    in->sealed_tail = &in->sealed;
    return first;
}

/* Main loop: the piece's batches go to the log. */
static void send_piece(struct ingest *in)
{
    if (in->append_err) return; /* ingest_free lets them go */
    for (struct ingest_append *one = take_sealed(in), *next; one; one = next) {
        next = one->next;
        in->open_appends++;
        completion_init(&one->append.completion, in->service->context->main, on_appended);
        store_append(in->service->store, &one->append);
    }
}

static void next_define(struct ingest *in);

static void on_defined(struct completion *c)
{
    struct ingest *in = (struct ingest *)(void *)((char *)c - offsetof(struct ingest, define));
    schema_release(in->define.result);
    in->define.result = NULL;
    /* A conflict means that another writer was faster: what it made is looked at in the next round.
     */
    if (c->err != ERR_CONFLICT && c->err != ERR_EXISTS) note_error(in, c->err, &c->why);
    /* The store answers until it is closed, and no longer knows any table then. */
    if (in->service->stopping) note_error(in, ERR_CANCELLED, NULL);
    in->define_at++;
    next_define(in);
}

static void read_piece(struct ingest *in);

/* Main loop: defines the next table that needs it; after the last, the next round. */
static void next_define(struct ingest *in)
{
    struct context *context = in->service->context;
    for (; in->define_at < in->table_count && !in->append_err; in->define_at++) {
        struct ingest_table *t = &in->tables[in->define_at];
        if (!t->wanted) continue;
        in->define.schema = t->wanted;
        in->define.drop = false;
        t->wanted = NULL;
        completion_init(&in->define.completion, context->main, on_defined);
        store_define(in->service->store, &in->define);
        return;
    }
    if (in->append_err) {
        in->state = INGEST_OVER;
        advance(in);
        return;
    }
    refresh(in);
    in->rounds++;
    read_piece(in);
}

/* Main loop. */
static void on_read(struct completion *c)
{
    struct ingest *in = (struct ingest *)(void *)((char *)c - offsetof(struct ingest, define));
    bool waits = false;
    note_error(in, c->err, &c->why);
    send_piece(in);
    for (size_t i = 0; i < in->table_count; i++) waits |= in->tables[i].waits_from != 0;
    in->define_at = 0;
    if (in->is_cut) {
        in->state = INGEST_CUT;
        advance(in);
    } else if (waits && !in->append_err) {
        in->state = INGEST_DEFINING;
        next_define(in);
    } else {
        in->state = INGEST_OVER;
        advance(in);
    }
}

static void read_on_worker(struct job *job)
{
    struct ingest *in = (struct ingest *)(void *)((char *)job - offsetof(struct ingest, job));
    enum err err = ERR_OK;
    in->piece_bytes = 0;
    in->piece_rows = 0;
    read_rows(in);
    for (size_t i = 0; i < in->table_count; i++) { /* the next round has other schemas */
        enum err own = ingest_seal(in, &in->tables[i]);
        if (own) err = own;
    }
    completion_finish(&in->define.completion, err, NULL); /* borrowed for the way back */
}

/* Main loop. */
static void read_piece(struct ingest *in)
{
    in->state = INGEST_READING;
    completion_init(&in->define.completion, in->service->context->main, on_read);
    in->job.run = read_on_worker;
    if (!in->service->context->intake) { /* the node stops */
        note_error(in, ERR_CANCELLED, NULL);
        in->state = INGEST_OVER;
        advance(in);
        return;
    }
    pool_post(in->service->context->intake, &in->job);
}

static void on_room(struct room_wait *wait, enum err err, const struct why *why)
{
    struct ingest *in = (struct ingest *)(void *)((char *)wait - offsetof(struct ingest, wait));
    MUST(in->state == INGEST_WAITING);
    note_error(in, err, why);
    in->state = INGEST_CUT;
    if (err)
        advance(in);
    else
        read_piece(in);
}

/* Nothing of its own is on its way: it stands in line. Each time that not even one row got through
 * it asks for more; who was given all there is again and again (others may be faster) and still has
 * not enough never will have. */
static void wait_for_room(struct ingest *in)
{
    struct why why = WHY_NONE;
    size_t all = in->service->in_flight->limit_bytes;
    enum err err = ERR_OK;
    if (in->piece_rows || !in->need_bytes) {
        in->need_bytes = service_piece_bytes(in->service);
        in->fruitless = 0;
    } else {
        in->need_bytes = in->need_bytes < all / 2 ? in->need_bytes * 2 : all;
        if (++in->fruitless > FRUITLESS_MAX) err = service_row_too_large(in->service, &why);
    }
    if (err) metric_add(in->service->context, METRIC_ROOM_REFUSED, 1);
    in->state = INGEST_WAITING;
    if (!err) err = room_wait(in->service->room, &in->wait, in->need_bytes, on_room, &why);
    if (!err) return;
    note_error(in, err, &why);
    in->state = INGEST_OVER;
    advance(in);
}

/* Main loop. Whatever has changed: what is next? */
static void advance(struct ingest *in)
{
    if (in->append_err && in->state == INGEST_CUT) in->state = INGEST_OVER;
    if (in->state == INGEST_CUT) {
        if (in->is_lacking && in->open_appends) return;
        if (in->open_appends >= INGEST_OPEN_MAX) return;
        if (in->is_lacking)
            wait_for_room(in);
        else
            read_piece(in);
        return;
    }
    if (in->state != INGEST_OVER || in->open_appends) return;
    if (in->append_err && !in->errors.size)
        buf_printf(&in->errors, "%s", why_text(&in->append_why, in->append_err));
    completion_finish(&in->completion, in->append_err, &in->append_why);
}

void ingest_start(struct ingest *in)
{
    struct context *context = in->service->context;
    MUST(in->completion.done && in->format);
    arena_init(&in->scratch, in->service->in_flight);
    in->append_why = WHY_NONE;
    in->sealed_tail = &in->sealed;
    if (!in->now_ns) in->now_ns = context_wall_ns(context);
    /* Rows define tables, so their namespace must be one that a document can have. */
    struct why why = WHY_NONE;
    enum err err = resource_check_namespace(in->ns, &why);
    if (!err) in->line = mem_alloc(sizeof *in->line);
    if (!in->line) {
        completion_finish(&in->completion, err ? err : ERR_NO_MEMORY, &why);
        return;
    }
    if (!room_is_asked(in->service->room)) {
        read_piece(in);
        return;
    }
    in->state = INGEST_CUT; /* behind those that wait, or they might wait for ever */
    in->is_lacking = true;
    advance(in);
}

void ingest_cancel(struct ingest *in)
{
    if (in->state != INGEST_WAITING) return;
    room_leave(&in->wait);
    in->state = INGEST_CUT;
    note_error(in, ERR_CLOSED, NULL);
    advance(in);
}

void ingest_on_gone(void *ingest)
{
    ingest_cancel(ingest);
}

void ingest_free(struct ingest *in)
{
    for (size_t i = 0; i < in->table_count; i++) {
        schema_release(in->tables[i].schema);
        schema_release(in->tables[i].wanted);
        batch_release(in->tables[i].batch);
    }
    MUST(!in->wait.room && !in->open_appends);
    for (struct ingest_append *one = take_sealed(in), *next; one; one = next) {
        next = one->next;
        batch_release(one->append.batch);
        mem_free(one);
    }
    mem_free(in->tables);
    mem_free(in->line);
    arena_free(&in->scratch);
    buf_free(&in->errors);
}
