/* pg_portal.c - running one statement for a PostgreSQL client.
 *
 * A portal is a query (query.h) whose rows are written as messages on a worker, in parts of bounded
 * size; each part crosses the main loop to the peer, and the next one is made when the peer has
 * room. A row limit does not stop the engine inside a chunk of rows: what was made beyond it stays
 * in the answer, as whole messages, for the next Execute or FETCH. */
#include "listeners/pg_priv.h"
#include <string.h>

/* ---- columns ---- */

static bool is_binary(const struct pg_portal *p, size_t column)
{
    if (!p || !p->format_count) return false;
    size_t at = p->format_count == 1 ? 0 : column;
    return at < p->format_count && p->formats[at * 2 + 1];
}

static const struct pg_type **types_of(struct pg_portal *p)
{
    struct query *q = &p->query;
    if (p->types) return p->types;
    p->types = arena_alloc(&p->arena, (q->column_count + 1) * sizeof(struct pg_type *));
    for (size_t i = 0; p->types && i < q->column_count; i++)
        p->types[i] = pg_type_of_column(q->columns[i].type, q->columns[i].unit);
    return p->types;
}

static void add_column(struct buf *out, const char *name, const struct pg_type *type, bool binary)
{
    pg_add_text(out, str_of(name));
    pg_add_32(out, 0); /* of no table: expressions and columns look the same */
    pg_add_16(out, 0);
    pg_add_32(out, type->oid);
    pg_add_16(out, (uint16_t)type->size);
    pg_add_32(out, UINT32_MAX); /* no modifier */
    pg_add_16(out, binary && type->binary);
}

void pg_row_description(struct buf *out, const struct pg_column *columns, size_t count,
                        const struct pg_portal *formats)
{
    size_t begun = pg_begin(out, 'T');
    pg_add_16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++)
        add_column(out, columns[i].name, columns[i].type, is_binary(formats, i));
    pg_end(out, begun);
}

static void describe(struct pg_portal *p, struct buf *out)
{
    struct query *q = &p->query;
    size_t begun = pg_begin(out, 'T');
    pg_add_16(out, (uint16_t)q->column_count);
    for (size_t i = 0; i < q->column_count; i++)
        add_column(out, q->columns[i].name, p->types[i], is_binary(p, i));
    pg_end(out, begun);
}

enum err pg_portal_describe(struct pg_portal *p, struct buf *out, bool or_none, struct why *why)
{
    MUST(p->state != PORTAL_NEW);
    bool has_rows = p->query.verb == SQL_SELECT;
    if (has_rows && !types_of(p)) return why_set(why, ERR_NO_MEMORY, "no memory for the columns");
    if (has_rows)
        describe(p, out);
    else if (or_none)
        pg_empty(out, 'n');
    return ERR_OK;
}

/* ---- rows, on a worker ---- */

static struct pg_portal *portal_of(struct query *q)
{
    return (struct pg_portal *)q;
}

static void begin_rows(struct query *q, struct buf *out)
{
    struct pg_portal *p = portal_of(q);
    if (q->verb != SQL_SELECT) return;
    if (!types_of(p))
        out->failed = true;
    else if (p->format)
        p->format->begin(p, out);
    else if (p->wants_columns)
        describe(p, out);
}

static void add_row(struct query *q, struct buf *out, const struct value *values, size_t count)
{
    struct pg_portal *p = portal_of(q);
    if (q->verb != SQL_SELECT || out->failed) return;
    if (p->format) {
        p->format->row(p, out, values, count);
        return;
    }
    size_t begun = pg_begin(out, 'D');
    pg_add_16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        if (values[i].is_null) {
            pg_add_null(out);
            continue;
        }
        size_t value = pg_begin_value(out);
        if (is_binary(p, i) && p->types[i]->binary)
            p->types[i]->binary(out, &values[i]);
        else
            p->types[i]->text(&p->connection->session->style, out, &values[i]);
        pg_end_value(out, value);
    }
    pg_end(out, begun);
}

static void end_rows(struct query *q, struct buf *out)
{
    struct pg_portal *p = portal_of(q);
    if (q->verb == SQL_SELECT && p->format) p->format->end(p, out);
}

static const struct query_format row_format = {"postgres", "", begin_rows, add_row, end_rows, NULL};

/* ---- to the peer ---- */

/* Sends whole messages of the answer, up to the row limit. True: the limit is reached. */
static bool give_rows(struct pg_portal *p, bool *is_slow)
{
    struct buf *answer = &p->query.answer;
    size_t end = p->row_limit ? p->sent : answer->size;
    struct reader r = reader_of(answer->at + p->sent, answer->size - p->sent);
    while (p->row_limit && p->row_count < p->row_limit && reader_left(&r)) {
        p->row_count += reader_u8(&r) == 'D';
        reader_skip(&r, reader_be32(&r) - 4);
        MUST(reader_ok(&r)); /* we wrote them */
        end = p->sent + reader_offset(&r);
    }
    *is_slow = false;
    if (end > p->sent)
        *is_slow = pg_send(p->connection, (struct str){answer->at + p->sent, end - p->sent});
    p->sent = end;
    if (p->sent == answer->size) {
        buf_clear(answer);
        p->sent = 0;
    }
    return p->row_limit && p->row_count == p->row_limit;
}

static void is_over(struct pg_portal *p, enum pg_portal_state state, enum err err,
                    const struct why *why)
{
    struct pg_session *s = p->connection->session;
    MUST(s->running == p);
    s->running = NULL;
    p->state = state;
    p->waits = false;
    p->done(p, err, why);
}

static void complete(struct pg_portal *p)
{
    struct pg_connection *c = p->connection;
    struct query *q = &p->query;
    char tag[64];
    MUST(q->rows >= p->given || q->verb != SQL_SELECT);
    if (!p->row_limit || q->verb != SQL_SELECT) p->row_count = q->rows - p->given;
    p->given += p->row_count;
    if (q->verb != SQL_SELECT && c->session->transaction != 'I')
        c->session->written += q->verb == SQL_INSERT || q->verb == SQL_DELETE ? q->rows : 1;
    pg_tag(p->tag_word ? str_of(p->tag_word) : str_of(p->text), p->row_count, tag);
    if (!p->is_quiet) pg_command_complete(&c->out, tag);
    is_over(p, PORTAL_OVER, ERR_OK, NULL);
}

static void suspend(struct pg_portal *p)
{
    struct pg_connection *c = p->connection;
    char tag[64];
    p->given += p->row_count;
    p->paused_ns = context_mono_ns(p->query.service->context);
    if (p->tag_word) {
        pg_tag(str_of(p->tag_word), p->row_count, tag);
        pg_command_complete(&c->out, tag);
    } else {
        pg_empty(&c->out, 's');
    }
    is_over(p, PORTAL_PAUSED, ERR_OK, NULL);
}

static void go_on(struct pg_portal *p)
{
    p->connection->held++;
    p->waits = false;
    query_continue(&p->query);
}

static const struct why cancelled = {-1, "canceling statement due to user request"};

static void on_part(struct query *q)
{
    struct pg_portal *p = portal_of(q);
    struct pg_connection *c = p->connection;
    bool is_slow;
    pg_enter(c);
    c->held--;
    bool is_full = give_rows(p, &is_slow);
    if (!c->stream || atomic_load(&q->completion.cancelled))
        is_over(p, PORTAL_OVER, ERR_CANCELLED, &cancelled);
    else if (is_full)
        suspend(p);
    else if (is_slow)
        p->waits = true;
    else
        go_on(p);
    pg_leave(c);
}

static void on_prepared(struct query *q)
{
    struct pg_portal *p = portal_of(q);
    struct pg_connection *c = p->connection;
    pg_enter(c);
    c->held--;
    MUST(c->session->running == p);
    c->session->running = NULL;
    p->state = PORTAL_PREPARED;
    p->paused_ns = context_mono_ns(q->service->context);
    q->on_prepared = NULL;
    p->prepared(p);
    pg_leave(c);
}

static void on_done(struct completion *done)
{
    struct pg_portal *p = (struct pg_portal *)(void *)done;
    struct pg_connection *c = p->connection;
    bool is_slow;
    pg_enter(c);
    c->held--;
    p->is_finished = true;
    if (done->err) {
        is_over(p, PORTAL_OVER, done->err, &done->why);
    } else {
        bool is_full = give_rows(p, &is_slow);
        if (is_full && p->query.answer.size > p->sent)
            suspend(p);
        else
            complete(p);
    }
    pg_leave(c);
}

/* ---- what the ways of running ask for ---- */

struct pg_portal *pg_portal_new(struct pg_connection *c, struct str text)
{
    struct pg_portal *p = mem_alloc_zero(1, sizeof *p);
    char *copy = p ? mem_alloc(text.size + 1) : NULL;
    if (!copy) {
        mem_free(p);
        return NULL;
    }
    if (text.size) memcpy(copy, text.at, text.size);
    copy[text.size] = 0;
    p->connection = c;
    p->text = copy;
    arena_init(&p->arena, &c->server->memory);
    p->query.service = c->server->service;
    p->query.identity = identity_share(c->session->identity);
    p->query.text = (struct str){copy, text.size};
    p->query.ns = str_of(c->session->ns);
    p->query.format = &row_format;
    p->query.limit_ns = c->session->settings.statement_timeout_ns;
    /* A copy: the session may take another zone while a cursor rests. */
    struct str zone = pg_settings_zone(&c->session->settings);
    p->query.zone =
        (struct str){zone.size ? arena_dup(&p->arena, zone.at, zone.size) : "", zone.size};
    p->query.is_zone_known = true;
    if (!p->query.zone.at) {
        pg_portal_free(p);
        return NULL;
    }
    p->query.pg.session = c->session;
    p->query.pg.pid = c->pid;
    p->query.on_part = on_part;
    completion_init(&p->query.completion, c->server->service->context->main, on_done);
    return p;
}

void pg_portal_free(struct pg_portal *p)
{
    if (!p) return;
    MUST(p->connection->session->running != p);
    query_free(&p->query);
    identity_release(p->query.identity);
    arena_free(&p->arena);
    mem_free(p->text);
    mem_free(p);
}

void pg_portal_keep(struct pg_portal *p)
{
    struct pg_session *s = p->connection->session;
    MUST(s->portal_count < PG_PORTALS_MAX && !p->next);
    p->next = s->portals;
    s->portals = p;
    s->portal_count++;
}

struct pg_portal *pg_portal_find(struct pg_session *s, struct str name)
{
    struct pg_portal *p = s->portals;
    while (p && !str_is(name, p->name)) p = p->next;
    return p;
}

void pg_portal_drop(struct pg_session *s, struct pg_portal *portal)
{
    struct pg_portal **link = &s->portals;
    while (*link && *link != portal) link = &(*link)->next;
    MUST(*link == portal && portal != s->running && s->portal_count > 0);
    *link = portal->next;
    s->portal_count--;
    pg_portal_free(portal);
}

void pg_portals_end(struct pg_session *s, bool cursors_too)
{
    for (struct pg_portal *p = s->portals, *next; p; p = next) {
        next = p->next;
        if (cursors_too || !p->is_cursor) pg_portal_drop(s, p);
    }
}

static void begin(struct pg_portal *p)
{
    struct pg_connection *c = p->connection;
    MUST(!c->session->running && p->done);
    c->session->running = p;
    c->session->running_ns = context_wall_ns(c->server->service->context);
    c->state = PG_STATE_BUSY;
}

void pg_portal_prepare(struct pg_portal *p)
{
    MUST(p->state == PORTAL_NEW && p->prepared);
    begin(p);
    p->query.on_prepared = on_prepared;
    p->connection->held++;
    query_start(&p->query);
}

void pg_portal_run(struct pg_portal *p, uint64_t row_limit)
{
    bool is_slow;
    begin(p);
    p->row_limit = row_limit;
    p->row_count = 0;
    p->query.part_bytes = row_limit ? 1 : 0;
    switch (p->state) {
    case PORTAL_NEW:
        p->state = PORTAL_RUNNING;
        p->connection->held++;
        query_start(&p->query);
        break;
    case PORTAL_PREPARED:
        p->state = PORTAL_RUNNING;
        go_on(p);
        break;
    case PORTAL_PAUSED:
        p->state = PORTAL_RUNNING;
        if (give_rows(p, &is_slow) && (p->query.answer.size > p->sent || !p->is_finished))
            suspend(p);
        else if (p->is_finished)
            complete(p);
        else if (is_slow)
            p->waits = true;
        else
            go_on(p);
        break;
    case PORTAL_OVER: complete(p); break;
    case PORTAL_RUNNING: MUST(false);
    }
}

void pg_portal_drained(struct pg_portal *p)
{
    if (p->waits) go_on(p);
}

void pg_portal_cancel(struct pg_portal *p)
{
    query_cancel(&p->query);
    if (p->waits) is_over(p, PORTAL_OVER, ERR_CANCELLED, &cancelled);
}
