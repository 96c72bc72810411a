/* http_body.c - the request's body in memory: bounded, budgeted, gunzipped as it arrives.
 *
 * What a body takes is reserved before it is read: the length that it announces, or step by step
 * where it announces none. Who finds no room waits (loop/room.h), and its connection is not
 * read beyond HTTP_PENDING_BYTES: so the peer is slowed down by TCP and not refused. An announced
 * body waits before its first byte and thus holds nothing; of two that grow step by step each may
 * hold what the other waits for, and then the time limit of the room decides. The reservation is a
 * number: memory itself grows with the bytes that came. Small bodies, which statements are, take
 * from another budget and wait for nobody.
 *
 * Gzip is undone piece by piece into the same bounded buffer, so a small body that would become a
 * huge one stops at the limit, and the compressed form is never kept.
 *
 * Called by the connection and the exchange. Invariants: body_taken is what the exchange has of
 * body_budget; body.size ≤ body_limit; while it waits, the state is ROOM. */
#include "net/http_priv.h"
#include <string.h>
#define ZLIB_CONST /* its input is const, as it should be */
#include <zlib.h>

enum {
    BODY_BYTES_MIN = 4096,
    BODY_SMALL_BYTES = 16 * 1024,
    BODY_STEP_BYTES = 1024 * 1024, /* reserved at once where no length is known */
    GZIP_STEP_BYTES = 16 * 1024,
    GZIP_FACTOR = 8, /* rows as text are seldom packed better */
};

struct http_gzip {
    z_stream z;
    bool is_done;
};

static void *zlib_alloc(void *opaque, unsigned count, unsigned size)
{
    (void)opaque;
    return mem_alloc_zero(count, size);
}

static void zlib_free(void *opaque, void *p)
{
    (void)opaque;
    mem_free(p);
}

/* ---- room ---- */

/* Until it is `taken` in all. */
static enum err take(struct http_exchange *x, size_t taken)
{
    MUST(x->body_budget || taken == 0);
    if (taken <= x->body_taken) return ERR_OK;
    enum err err = budget_take(x->body_budget, taken - x->body_taken);
    if (!err) x->body_taken = taken;
    return err;
}

/* Answers like a handler: from here on the exchange is held, so that a connection which breaks
 * while the answer is written leaves it to http_reply to free. */
static void refuse_body(struct http_exchange *x, enum err err, const struct why *why)
{
    MUST(err && x->connection->state == HTTP_STATE_ROOM && !x->wait.room);
    x->connection->state = HTTP_STATE_BUSY;
    if (err == ERR_BUDGET || err == ERR_BUSY) http_add_header(x, "Retry-After", "1");
    http_reply_error(x, err, why);
}

static void on_room(struct room_wait *wait, enum err err, const struct why *why);

/* Waits until `taken` in all can be had. */
static void wait_for(struct http_exchange *x, size_t taken)
{
    struct http_connection *c = x->connection;
    struct room *room = &c->server->room;
    struct why why = WHY_NONE;
    MUST(taken > x->body_taken && !x->wait.room && x->body_budget == &c->server->bodies);
    size_t most = room_limit_bytes(room), need = taken - x->body_taken;
    enum err err = ERR_OK;
    x->wait_bytes = taken;
    c->state = HTTP_STATE_ROOM;
    http_wait_set(c, HTTP_WAIT_NONE);
    if (taken > most) {
        metric_add(c->server->context, METRIC_ROOM_REFUSED, 1);
        err = why_set(&why, ERR_LIMIT,
                      "the body is larger than the %zu KiB that there are for bodies; send it in "
                      "smaller pieces, or raise memory: (it is %zu KiB)",
                      most / 1024, c->server->context->memory.limit_bytes / 1024);
    }
    if (!err) err = room_wait(room, &x->wait, need, on_room, &why);
    if (err) refuse_body(x, err, &why);
}

static void on_room(struct room_wait *wait, enum err err, const struct why *why)
{
    struct http_exchange *x =
        (struct http_exchange *)(void *)((char *)wait - offsetof(struct http_exchange, wait));
    struct http_connection *c = x->connection;
    MUST(c->state == HTTP_STATE_ROOM);
    http_connection_enter(c);
    if (err)
        refuse_body(x, err, why);
    else if (take(x, x->wait_bytes))
        wait_for(x, x->wait_bytes); /* another was faster */
    else
        http_exchange_body_read(x);
    http_connection_leave(c);
}

bool http_exchange_body_reserve(struct http_exchange *x)
{
    struct http_connection *c = x->connection;
    struct http_server *server = c->server;
    size_t want = c->reader.is_chunked ? BODY_STEP_BYTES : c->reader.left;
    if (x->is_gzip) want = want < SIZE_MAX / GZIP_FACTOR ? want * GZIP_FACTOR : SIZE_MAX;
    bool is_known = !c->reader.is_chunked && !x->is_gzip;
    size_t most = room_limit_bytes(&server->room);
    if (!is_known && want > most) want = most; /* a guess is no reason to refuse */
    if (want > x->body_limit) want = x->body_limit;
    bool is_small = want <= BODY_SMALL_BYTES;
    x->body_budget = is_small ? &server->memory : &server->bodies;
    if (is_small || (!room_is_asked(&server->room) && !take(x, want))) return true;
    wait_for(x, want);
    return false;
}

bool http_exchange_body_has_room(struct http_exchange *x, size_t size)
{
    bool is_known = !x->connection->reader.is_chunked && !x->is_gzip;
    MUST(x->body.size <= x->body_limit);
    size_t left = x->body_limit - x->body.size;
    if (x->is_gzip) size *= GZIP_FACTOR;
    if (size > left) size = left;
    if (is_known || x->body_budget != &x->connection->server->bodies ||
        x->body.size + size <= x->body_taken)
        return true;
    size_t least = x->body.size + size, want = x->body.size + BODY_STEP_BYTES;
    size_t most = room_limit_bytes(&x->connection->server->room);
    if (want > x->body_limit) want = x->body_limit;
    if (want > most) want = most; /* a step is no reason to refuse */
    if (want < least) want = least;
    if (!take(x, want)) return true;
    wait_for(x, want);
    return false;
}

/* Makes room for `more` bytes: the budget first, then the memory. */
static enum http_fault reserve(struct http_exchange *x, size_t more)
{
    struct buf *body = &x->body;
    MUST(body->size <= x->body_limit);
    if (more > x->body_limit - body->size) return HTTP_FAULT_BODY_SIZE;
    size_t want = body->size + more, capacity = body->capacity ? body->capacity : BODY_BYTES_MIN;
    if (want <= body->capacity) return HTTP_FAULT_NONE;
    while (capacity < want) capacity *= 2;
    if (capacity > x->body_taken && want <= x->body_taken) capacity = x->body_taken;
    if (take(x, capacity)) return HTTP_FAULT_BODY_MEMORY;
    return buf_reserve(body, capacity - body->size) ? HTTP_FAULT_NONE : HTTP_FAULT_BODY_MEMORY;
}

static enum http_fault add_plain(struct http_exchange *x, const void *bytes, size_t size)
{
    enum http_fault fault = reserve(x, size);
    if (!fault) buf_add(&x->body, bytes, size);
    return fault;
}

static enum http_fault gzip_open(struct http_exchange *x)
{
    x->gzip = mem_alloc_zero(1, sizeof *x->gzip);
    if (!x->gzip) return HTTP_FAULT_BODY_MEMORY;
    x->gzip->z.zalloc = zlib_alloc;
    x->gzip->z.zfree = zlib_free;
    if (inflateInit2(&x->gzip->z, 15 + 16) == Z_OK)
        return HTTP_FAULT_NONE; /* 16: the gzip wrapping only */
    mem_free(x->gzip);
    x->gzip = NULL;
    return HTTP_FAULT_BODY_MEMORY;
}

static enum http_fault add_gzip(struct http_exchange *x, struct str data)
{
    if (!x->gzip) {
        enum http_fault fault = gzip_open(x);
        if (fault) return fault;
    }
    struct http_gzip *g = x->gzip;
    Bytef out[GZIP_STEP_BYTES];
    g->z.next_in = (const Bytef *)data.at;
    g->z.avail_in = (uInt)data.size;
    do {
        if (g->is_done) { /* a further member (RFC 1952 section 2.2) */
            if (g->z.avail_in == 0) break;
            if (inflateReset(&g->z) != Z_OK) return HTTP_FAULT_GZIP;
            g->is_done = false;
        }
        g->z.next_out = out;
        g->z.avail_out = sizeof out;
        int result = inflate(&g->z, Z_NO_FLUSH);
        if (result == Z_MEM_ERROR) return HTTP_FAULT_BODY_MEMORY;
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
            return HTTP_FAULT_GZIP;
        g->is_done = result == Z_STREAM_END;
        enum http_fault fault = add_plain(x, out, sizeof out - g->z.avail_out);
        if (fault) return fault;
    } while (g->z.avail_in > 0 || g->z.avail_out == 0);
    return HTTP_FAULT_NONE;
}

enum http_fault http_exchange_body_add(struct http_exchange *x, struct str data)
{
    if (data.size == 0) return HTTP_FAULT_NONE;
    return x->is_gzip ? add_gzip(x, data) : add_plain(x, data.at, data.size);
}

enum http_fault http_exchange_body_end(struct http_exchange *x)
{
    bool cut = x->gzip && !x->gzip->is_done;
    if (x->gzip) {
        (void)inflateEnd(&x->gzip->z);
        mem_free(x->gzip);
        x->gzip = NULL;
    }
    x->request.body = buf_str(&x->body);
    if (x->body_taken > x->body.capacity) { /* it was shorter than expected */
        budget_give(x->body_budget, x->body_taken - x->body.capacity);
        x->body_taken = x->body.capacity;
    }
    return cut ? HTTP_FAULT_GZIP : HTTP_FAULT_NONE;
}

void http_exchange_body_free(struct http_exchange *x)
{
    (void)http_exchange_body_end(x);
    buf_free(&x->body);
    budget_give(x->body_budget, x->body_taken);
    x->body_taken = 0;
}
