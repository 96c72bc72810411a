/* http_route.c - targets and the route table.
 *
 * The target is cut at its slashes first and each segment is percent-decoded after that, so that
 * "%2F" inside a segment is a character of a name and no separator. Dot segments mean nothing here:
 * they match no literal, and no path ever reaches a file system. */
#include "net/http_priv.h"
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

struct str http_percent_decode(struct arena *arena, struct str text, bool plus)
{
    const struct str bad = {NULL, 0};
    char *out = arena_alloc(arena, text.size + 1);
    if (!out) return bad;
    size_t n = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.at[i];
        if (c == '%') {
            if (text.size - i < 3) return bad;
            int high = hex_digit(text.at[i + 1]), low = hex_digit(text.at[i + 2]);
            if (high < 0 || low < 0) return bad;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out[n++] = c;
    }
    out[n] = 0;
    return (struct str){out, n};
}

/* The path and query of any form of target (RFC 9112 section 3.2); at == NULL: none. */
static struct str origin_form(struct str target, bool is_options)
{
    if (target.size && target.at[0] == '/') return target;
    if (is_options && str_is(target, "*")) return target;
    bool absolute = (target.size > 7 && str_is_nocase((struct str){target.at, 7}, "http://")) ||
                    (target.size > 8 && str_is_nocase((struct str){target.at, 8}, "https://"));
    if (!absolute) return (struct str){NULL, 0};
    const char *end = target.at + target.size;
    const char *at = (const char *)memchr(target.at, ':', target.size) + 3;
    while (at < end && *at != '/' && *at != '?') at++;
    if (at == end) return STR("/");
    if (*at == '?') return (struct str){NULL, 0}; /* "http://host?x": nobody sends it */
    return (struct str){at, (size_t)(end - at)};
}

/* Appends one decoded segment to the path, which has room. */
static bool add_segment(struct http_exchange *x, struct str raw, char *path, size_t *size)
{
    struct str text = http_percent_decode(&x->arena, raw, false);
    if (!text.at || !str_is_utf8(text) || memchr(text.at, 0, text.size)) return false;
    path[(*size)++] = '/';
    memcpy(path + *size, text.at, text.size);
    if (x->segment_count < HTTP_SEGMENTS_MAX) {
        x->segments[x->segment_count++] = (struct str){path + *size, text.size};
    } else { /* the last one swallows the rest: only {*} can still match */
        struct str *last = &x->segments[HTTP_SEGMENTS_MAX - 1];
        last->size = (size_t)(path + *size + text.size - last->at);
    }
    *size += text.size;
    return true;
}

enum http_fault http_target_decode(struct http_exchange *x)
{
    struct http_request *r = &x->request;
    struct str rest = origin_form(r->target, str_is(r->method, "OPTIONS"));
    if (!rest.at || memchr(rest.at, '#', rest.size)) return HTTP_FAULT_TARGET;
    const char *mark = memchr(rest.at, '?', rest.size);
    if (mark) {
        r->query = (struct str){mark + 1, (size_t)(rest.at + rest.size - mark - 1)};
        rest.size = (size_t)(mark - rest.at);
    }
    if (rest.at[0] != '/') { /* "*" */
        r->path = rest;
        return HTTP_FAULT_NONE;
    }
    char *path = arena_alloc(&x->arena, rest.size + 1);
    if (!path) return HTTP_FAULT_BODY_MEMORY;
    size_t size = 0;
    for (size_t at = 1; at <= rest.size;) {
        const char *slash = at < rest.size ? memchr(rest.at + at, '/', rest.size - at) : NULL;
        size_t end = slash ? (size_t)(slash - rest.at) : rest.size;
        if (!add_segment(x, (struct str){rest.at + at, end - at}, path, &size))
            return HTTP_FAULT_PATH;
        at = end + 1;
    }
    path[size] = 0;
    r->path = (struct str){path, size};
    return HTTP_FAULT_NONE;
}

/* ---- the table ---- */

/* How well a pattern fits: two bits a segment from the left (3 literal, 2 {}, 1 {*}), 0 = not at
 * all. */
static uint64_t match(const struct http_exchange *x, const char *pattern,
                      struct str params[HTTP_PARAMS_MAX])
{
    struct str rest = str_of(pattern + 1), piece;
    uint64_t rank = 0;
    size_t i = 0, param_count = 0;
    bool more = true;
    for (; more; i++) {
        const char *slash = memchr(rest.at, '/', rest.size);
        piece = (struct str){rest.at, slash ? (size_t)(slash - rest.at) : rest.size};
        more = slash != NULL;
        if (more) rest = (struct str){slash + 1, (size_t)(rest.at + rest.size - slash - 1)};
        if (i >= x->segment_count) return 0;
        struct str have = x->segments[i];
        unsigned fit = 3;
        if (str_is(piece, "{*}")) {
            have.size = (size_t)(x->request.path.at + x->request.path.size - have.at);
            fit = 1;
        } else if (str_is(piece, "{}")) {
            if (have.size == 0) return 0;
            fit = 2;
        } else if (!str_equal(piece, have)) {
            return 0;
        }
        MUST(fit == 3 || param_count < HTTP_PARAMS_MAX);
        if (fit < 3) params[param_count++] = have;
        rank |= (uint64_t)fit << (62 - 2 * i);
        if (fit == 1) return rank;
    }
    return i == x->segment_count ? rank : 0;
}

static void add_allowed(struct buf *allow, const char *method)
{
    struct str have = buf_str(allow);
    if (have.size && http_list_has(have, method)) return;
    if (have.size) buf_add_text(allow, ", ");
    buf_add_text(allow, method);
    if (strcmp(method, "GET") == 0) buf_add_text(allow, ", HEAD");
}

static bool serves(const struct http_route *route, const struct http_exchange *x)
{
    struct str method = x->request.method;
    return str_is(method, route->method) || str_is(STR("*"), route->method) ||
           (x->is_head && strcmp(route->method, "GET") == 0);
}

/* The path decides first, then the method: a POST to a path that only GET knows is a 405 even when
 * a broader pattern would take the POST. */
const struct http_route *http_route_find(struct http_exchange *x, struct buf *allow)
{
    const struct http_route *best = NULL;
    uint64_t best_rank = 0;
    for (const struct http_route *r = x->connection->server->config.routes; r->path; r++) {
        struct str params[HTTP_PARAMS_MAX] = {0};
        uint64_t rank = match(x, r->path, params);
        if (rank == 0 || rank < best_rank) continue;
        if (rank > best_rank) {
            best = NULL;
            buf_clear(allow);
        }
        best_rank = rank;
        add_allowed(allow, r->method);
        if (best || !serves(r, x)) continue;
        best = r;
        memcpy(x->request.params, params, sizeof params);
    }
    if (best_rank && !best) add_allowed(allow, "OPTIONS");
    return best;
}

/* ---- what handlers ask ---- */

struct str http_header(const struct http_request *request, const char *name)
{
    return http_header_find(request->headers, request->header_count, name);
}

/* One value of "name=value&name=value", percent-decoded. */
static bool find_pair(struct http_exchange *x, struct str rest, const char *name, struct str *value)
{
    struct str pair;
    MUST(x->magic == HTTP_EXCHANGE_MAGIC);
    while (str_split(&rest, '&', &pair)) {
        const char *equals = pair.size ? memchr(pair.at, '=', pair.size) : NULL;
        struct str key = {pair.at, equals ? (size_t)(equals - pair.at) : pair.size};
        key = http_percent_decode(&x->arena, key, true);
        if (!key.at || !str_is(key, name)) continue;
        struct str raw = {"", 0};
        if (equals) raw = (struct str){equals + 1, (size_t)(pair.at + pair.size - equals - 1)};
        *value = http_percent_decode(&x->arena, raw, true);
        return value->at != NULL;
    }
    return false;
}

bool http_query(struct http_exchange *x, const char *name, struct str *value)
{
    return find_pair(x, x->request.query, name, value);
}

bool http_form(struct http_exchange *x, const char *name, struct str *value)
{
    return find_pair(x, x->request.body, name, value);
}
