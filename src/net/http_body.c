/* http_body.c - the request's body in memory: bounded, budgeted, gunzipped as it arrives.
 *
 * Memory grows with the bytes that came, never with the length that was announced. Gzip is undone
 * piece by piece into the same bounded buffer, so a small body that would become a huge one stops
 * at the limit, and the compressed form is never kept. */
#include "net/http_priv.h"
#include <string.h>
#define ZLIB_CONST /* its input is const, as it should be */
#include <zlib.h>

enum { BODY_BYTES_MIN = 4096, GZIP_STEP_BYTES = 16 * 1024 };

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

/* Makes room for `more` bytes: the budget first, then the memory. */
static enum http_fault reserve(struct http_exchange *x, size_t more)
{
    struct buf *body = &x->body;
    if (more > x->body_limit - body->size) return HTTP_FAULT_BODY_SIZE;
    size_t want = body->size + more, capacity = body->capacity ? body->capacity : BODY_BYTES_MIN;
    if (want <= body->capacity) return HTTP_FAULT_NONE;
    while (capacity < want) capacity *= 2;
    if (budget_take(&x->connection->server->memory, capacity - x->body_taken))
        return HTTP_FAULT_BODY_MEMORY;
    x->body_taken = capacity;
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
    return cut ? HTTP_FAULT_GZIP : HTTP_FAULT_NONE;
}

void http_exchange_body_free(struct http_exchange *x)
{
    (void)http_exchange_body_end(x);
    buf_free(&x->body);
    budget_give(&x->connection->server->memory, x->body_taken);
    x->body_taken = 0;
}
