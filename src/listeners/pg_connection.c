/* pg_connection.c - one connection: bytes in, messages to the state that it is in, bytes out.
 *
 * Input is looked at where the stream has it, and only what cannot be used yet is copied; output is
 * gathered and sent when nothing more is to be done at once. Between messages both buffers are
 * gone. A connection is freed when it has no stream, nobody is inside it and nothing that runs for
 * it will come back. */
#include "listeners/pg_priv.h"
#include "base/timetext.h"
#include <string.h>

static bool is_current(const struct pg_connection *c)
{
    return c && c->magic == PG_CONNECTION_MAGIC;
}

void pg_enter(struct pg_connection *c)
{
    MUST(is_current(c));
    c->entered++;
}

static void free_input(struct pg_connection *c)
{
    buf_free(&c->in);
    budget_give(&c->server->memory, c->in_taken);
    c->in_taken = 0;
}

/* ---- out ---- */

void pg_flush(struct pg_connection *c)
{
    MUST(is_current(c));
    struct buf out = c->out;
    c->out = BUF_EMPTY;
    bool failed = buf_failed(&out);
    if (c->stream && !failed && out.size) failed = os_stream_write(c->stream, out.at, out.size);
    buf_free(&out);
    if (failed) pg_cut(c);
}

bool pg_send(struct pg_connection *c, struct str bytes)
{
    pg_flush(c);
    if (!c->stream) return false;
    if (bytes.size && os_stream_write(c->stream, bytes.at, bytes.size)) {
        pg_cut(c);
        return false;
    }
    return c->stream && os_stream_queued(c->stream) > PG_QUEUED_BYTES;
}

void pg_cut(struct pg_connection *c)
{
    MUST(is_current(c) && c->entered);
    if (!c->stream) return;
    os_stream_close(&c->stream);
    c->deadline_ns = 0;
    /* What runs sees it at its next chunk; what waits for the peer ends now. */
    struct pg_portal *running = c->session ? c->session->running : NULL;
    if (running) pg_portal_cancel(running);
    pg_copy_gone(c);
}

void pg_fatal(struct pg_connection *c, const char *sqlstate, const char *text)
{
    pg_report(&c->out, 'E', "FATAL", sqlstate, str_of(text), STR(""), 0);
    metric_add(c->server->service->context, METRIC_PG_ERRORS, 1);
    c->state = PG_STATE_CLOSING;
    c->deadline_ns = context_mono_ns(c->server->service->context) + 5 * TIME_NS_PER_S;
    pg_flush(c);
    if (c->stream && os_stream_queued(c->stream) == 0) pg_cut(c);
}

/* ---- in: each state takes messages in its own way ---- */

/* The sender hears why, and goes on. */
static void refuse_long(struct pg_connection *c, const struct pg_message *message)
{
    struct why why = WHY_NONE;
    pg_error(c, pg_check_size(message, &why), &why, STR(""), 0);
    if (message->kind == PG_QUERY)
        pg_ready(&c->out, c->session->transaction);
    else
        c->state = PG_STATE_SKIP;
}

/* Before READY only START (and the login's own kind of message) says anything. */
static void take_ready(struct pg_connection *c, const struct pg_message *message)
{
    if (message->bytes) {
        refuse_long(c, message);
        return;
    }
    switch (message->kind) {
    case PG_QUERY: {
        struct reader r = reader_of(message->body.at, message->body.size);
        struct str text = pg_read_text(&r);
        if (!reader_ok(&r) || reader_left(&r))
            pg_fatal(c, "08P01", "invalid message format: Query");
        else
            pg_simple_start(c, text);
        break;
    }
    case PG_TERMINATE: pg_cut(c); break;
    case PG_COPY_DATA: /* of a COPY that has failed: what was on its way */
    case PG_COPY_DONE:
    case PG_COPY_FAIL: break;
    case PG_STARTUP:
    case PG_PASSWORD:
    case PG_MESSAGE_KINDS: pg_fatal(c, "08P01", "unexpected message"); break;
    case PG_BIND:
    case PG_CLOSE:
    case PG_DESCRIBE:
    case PG_EXECUTE:
    case PG_FLUSH:
    case PG_FUNCTION:
    case PG_PARSE:
    case PG_SYNC: pg_extended(c, message); break;
    }
}

static void take_skip(struct pg_connection *c, const struct pg_message *message)
{
    if (message->kind == PG_TERMINATE) {
        pg_cut(c);
    } else if (message->kind == PG_SYNC) {
        c->state = PG_STATE_READY;
        pg_extended(c, message);
    }
}

static void (*const steps[PG_STATE_COUNT])(struct pg_connection *c,
                                           const struct pg_message *message) = {
    [PG_STATE_START] = pg_login_start, [PG_STATE_SASL] = pg_login_sasl,
    [PG_STATE_PROOF] = pg_login_proof, [PG_STATE_PASSWORD] = pg_login_password,
    [PG_STATE_READY] = take_ready,     [PG_STATE_SKIP] = take_skip,
    [PG_STATE_COPY] = pg_copy_message, /* CHECKING, BUSY: nothing is taken; CLOSING: all thrown away
                                        */
};

/* Takes messages while the state takes any; gives how many bytes are done with. */
static size_t consume(struct pg_connection *c, const uint8_t *bytes, size_t size)
{
    size_t used = 0;
    while (c->stream && used < size) {
        if (c->state == PG_STATE_CLOSING) return size;
        if (!steps[c->state]) break;
        struct why why = WHY_NONE;
        struct pg_message message;
        size_t n = 0;
        enum err err = pg_read(&c->reader, bytes + used, size - used, &n, &message, &why);
        if (err) {
            pg_fatal(c, err_sqlstate(err), why_text(&why, err));
            return size;
        }
        if (n == 0) break;
        used += n;
        if (!message.is_last && message.kind != PG_COPY_DATA) continue; /* thrown away */
        bool was_tls = c->is_tls;
        steps[c->state](c, &message);
        /* What came in clear text behind the request for TLS is somebody else's (CVE-2021-23214).
         */
        if (c->is_tls != was_tls && used < size) pg_cut(c);
        if (c->out.size > PG_OUT_BYTES) pg_flush(c);
    }
    return used;
}

static void keep(struct pg_connection *c, const uint8_t *bytes, size_t size)
{
    if (c->in.size + size > c->in_taken) {
        size_t more = c->in.size + size - c->in_taken;
        if (budget_take(&c->server->memory, more)) {
            pg_fatal(c, "53200", "no memory for a message; try a smaller one, or later");
            return;
        }
        c->in_taken += more;
    }
    buf_add(&c->in, bytes, size);
    if (buf_failed(&c->in)) pg_cut(c);
}

static void consume_kept(struct pg_connection *c)
{
    if (!c->stream || c->in.size == 0) return;
    /* The bytes must stay in place while messages borrow from them. */
    struct buf in = c->in;
    size_t taken = c->in_taken;
    c->in = BUF_EMPTY;
    c->in_taken = 0;
    size_t used = consume(c, (const uint8_t *)in.at, in.size);
    MUST(c->in.size == 0);
    c->in = in;
    c->in_taken = taken;
    if (!c->stream || used == in.size)
        free_input(c);
    else
        buf_drop_front(&c->in, used);
}

/* The peer is stopped while nothing can be taken and enough is kept. */
static void set_pause(struct pg_connection *c)
{
    if (!c->stream) return;
    bool takes = steps[c->state] || c->state == PG_STATE_CLOSING;
    bool pause = !takes && c->in.size > PG_KEPT_BYTES;
    if (pause == c->is_paused) return;
    c->is_paused = pause;
    os_stream_pause(c->stream, pause);
}

static void free_connection(struct pg_connection *c)
{
    struct pg_server *server = c->server;
    pg_session_free(c);
    pg_login_free(c);
    free_input(c);
    buf_free(&c->out);
    c->magic = 0;
    pg_server_remove(server, c);
    mem_free(c);
}

void pg_leave(struct pg_connection *c)
{
    MUST(is_current(c) && c->entered);
    if (c->entered == 1) consume_kept(c);
    if (c->entered == 1) pg_flush(c);
    if (c->entered == 1) set_pause(c);
    if (--c->entered || c->stream || c->held) return;
    free_connection(c);
}

void pg_resume(struct pg_connection *c, enum pg_state state)
{
    MUST(c->entered); /* pg_leave takes what was kept */
    if (c->state != PG_STATE_CLOSING) c->state = state;
}

/* ---- what the stream says ---- */

static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct pg_connection *c = owner;
    pg_enter(c);
    size_t used = c->in.size || c->entered > 1 ? 0 : consume(c, bytes, size);
    if (c->stream && used < size) keep(c, bytes + used, size - used);
    pg_leave(c);
}

static void on_drained(void *owner)
{
    struct pg_connection *c = owner;
    pg_enter(c);
    c->queued_before = 0;
    struct pg_portal *running = c->session ? c->session->running : NULL;
    if (c->state == PG_STATE_CLOSING)
        pg_cut(c);
    else if (running)
        pg_portal_drained(running);
    pg_leave(c);
}

static void on_closed(void *owner, enum err err, const char *text)
{
    struct pg_connection *c = owner;
    (void)err;
    (void)text; /* peers come and go: no line in the diagnostics for each */
    pg_enter(c);
    pg_cut(c);
    pg_leave(c);
}

static const struct os_stream_events stream_events = {
    .on_read = on_read, .on_drained = on_drained, .on_closed = on_closed};

void pg_use_stream(struct pg_connection *c, struct os_stream *stream)
{
    c->stream = stream;
    os_stream_own(stream, &stream_events, c);
}

void pg_connection_accept(struct pg_server *server, struct os_stream *stream)
{
    struct pg_connection *c = mem_alloc_zero(1, sizeof *c);
    if (!c) {
        os_stream_close(&stream);
        return;
    }
    c->magic = PG_CONNECTION_MAGIC;
    c->connected_ns = context_wall_ns(server->service->context);
    c->deadline_ns = context_mono_ns(server->service->context) + PG_LOGIN_SECONDS * TIME_NS_PER_S;
    pg_server_add(server, c);
    pg_use_stream(c, stream);
}
