/* http_message.c - see http_message.h.
 *
 * A head is parsed twice over: first by check_lines, which knows nothing but lines and refuses
 * every form that two readers might understand differently, then by http_parser, whose view of
 * method, target, version and connection flags is used. What decides where a request ends (Host,
 * Content-Length, Transfer-Encoding) is judged here from the plain header list and not by the
 * library, and so is chunked framing: the library skips whatever stands in a chunk extension, bare
 * line feeds included. */
#include "net/http_message.h"
#include "base/num.h"
#include <http_parser.h>
#include <string.h>

enum { TRAILER_BYTES_MAX = 4096, CHUNK_DIGITS_MAX = 8 /* chunks below 4 GiB */ };

static const struct http_fault_info fault_infos[HTTP_FAULT_COUNT] = {
#define X(symbol, status, code, text) {status, ERR_##code, text},
    HTTP_FAULT_TABLE(X)
#undef X
};

const struct http_fault_info *http_fault_info(enum http_fault fault)
{
    MUST((unsigned)fault < HTTP_FAULT_COUNT);
    return &fault_infos[fault];
}

/* ---- lines ---- */

enum http_fault http_head_end(const char *bytes, size_t size, size_t *scanned, size_t *end)
{
    MUST(*scanned <= size);
    *end = 0;
    while (*scanned < size) {
        const char *lf = memchr(bytes + *scanned, '\n', size - *scanned);
        if (!lf) {
            *scanned = size;
            break;
        }
        size_t at = (size_t)(lf - bytes);
        if (at == 0 || bytes[at - 1] != '\r') return HTTP_FAULT_BARE_LF;
        *scanned = at + 1;
        if (at >= 3 && bytes[at - 2] == '\n') {
            *end = at + 1;
            break;
        }
    }
    if ((*end ? *end : size) > HTTP_HEADER_BYTES_MAX) return HTTP_FAULT_HEAD_SIZE;
    return HTTP_FAULT_NONE;
}

/* tchar of RFC 9110 section 5.6.2. */
static bool is_token_char(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
    return c && strchr("!#$%&'*+-.^_`|~", c);
}

static bool has_control(struct str line)
{
    for (size_t i = 0; i < line.size; i++) {
        unsigned char c = (unsigned char)line.at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return true;
    }
    return false;
}

/* Exactly METHOD SP TARGET SP VERSION: a lenient reader would see another target. */
static enum http_fault check_request_line(struct str line)
{
    size_t spaces = 0;
    for (size_t i = 0; i < line.size; i++) {
        spaces += line.at[i] == ' ';
        if (line.at[i] == '\t' || (unsigned char)line.at[i] >= 0x80) return HTTP_FAULT_REQUEST_LINE;
    }
    if (spaces != 2 || line.at[0] == ' ' || line.at[line.size - 1] == ' ')
        return HTTP_FAULT_REQUEST_LINE;
    const char *version = memrchr(line.at, ' ', line.size);
    size_t version_size = (size_t)(line.at + line.size - version - 1);
    if (version_size != 8 || memcmp(version + 1, "HTTP/", 5) != 0) return HTTP_FAULT_REQUEST_LINE;
    if (memcmp(version + 6, "1.0", 3) != 0 && memcmp(version + 6, "1.1", 3) != 0)
        return HTTP_FAULT_VERSION;
    return HTTP_FAULT_NONE;
}

static enum http_fault check_header_line(struct str line)
{
    if (line.at[0] == ' ' || line.at[0] == '\t') return HTTP_FAULT_FOLDED;
    size_t name = 0;
    while (name < line.size && is_token_char(line.at[name])) name++;
    if (name == 0 || name == line.size || line.at[name] != ':') return HTTP_FAULT_HEADER_NAME;
    return HTTP_FAULT_NONE;
}

static enum http_fault check_lines(const char *bytes, size_t size)
{
    enum http_fault fault = HTTP_FAULT_NONE;
    bool first = true;
    for (size_t at = 0; !fault && at < size;) {
        const char *lf = memchr(bytes + at, '\n', size - at);
        if (!lf || lf == bytes + at || lf[-1] != '\r') return HTTP_FAULT_BARE_LF;
        struct str line = {bytes + at, (size_t)(lf - bytes) - at - 1};
        at = (size_t)(lf - bytes) + 1;
        if (line.size == 0) return first || at != size ? HTTP_FAULT_SYNTAX : HTTP_FAULT_NONE;
        if (has_control(line)) return HTTP_FAULT_CONTROL;
        fault = first ? check_request_line(line) : check_header_line(line);
        first = false;
    }
    return fault ? fault : HTTP_FAULT_SYNTAX;
}

/* ---- http_parser's view ---- */

struct collector {
    struct http_head *head;
    bool in_value, too_many, complete;
};

/* A slice may come in pieces; pieces of one slice are neighbours, because the head is parsed in one
 * go. */
static void extend(struct str *slice, const char *at, size_t size)
{
    if (!slice->at) slice->at = at;
    slice->size = (size_t)(at + size - slice->at);
}

static int on_url(http_parser *p, const char *at, size_t size)
{
    extend(&((struct collector *)p->data)->head->target, at, size);
    return 0;
}

static int on_field(http_parser *p, const char *at, size_t size)
{
    struct collector *c = p->data;
    struct http_head *h = c->head;
    if (c->in_value || h->header_count == 0) {
        if (h->header_count == HTTP_HEADERS_MAX) {
            c->too_many = true;
            return 1;
        }
        h->headers[h->header_count++] = (struct http_header){0};
    }
    c->in_value = false;
    extend(&h->headers[h->header_count - 1].name, at, size);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t size)
{
    struct collector *c = p->data;
    MUST(c->head->header_count > 0);
    c->in_value = true;
    extend(&c->head->headers[c->head->header_count - 1].value, at, size);
    return 0;
}

/* 2 = no body and an upgrade, whatever the headers say: the library is done with this message. */
static int on_complete(http_parser *p)
{
    struct collector *c = p->data;
    c->complete = true;
    c->head->keep_alive = p->http_minor ? !(p->flags & F_CONNECTION_CLOSE)
                                        : (p->flags & F_CONNECTION_KEEP_ALIVE) != 0;
    c->head->upgrade = (p->flags & F_UPGRADE) && (p->flags & F_CONNECTION_UPGRADE);
    return 2;
}

static enum http_fault run_library(const char *bytes, size_t size, struct http_head *head)
{
    http_parser parser;
    http_parser_settings settings;
    struct collector collector = {.head = head};
    http_parser_init(&parser, HTTP_REQUEST);
    http_parser_settings_init(&settings);
    parser.data = &collector;
    settings.on_url = on_url;
    settings.on_header_field = on_field;
    settings.on_header_value = on_value;
    settings.on_headers_complete = on_complete;
    (void)http_parser_execute(&parser, &settings, bytes, size);
    enum http_errno code = HTTP_PARSER_ERRNO(&parser);
    if (collector.too_many) return HTTP_FAULT_HEADER_COUNT;
    if (collector.complete) return HTTP_FAULT_NONE;
    return code == HPE_INVALID_METHOD ? HTTP_FAULT_METHOD : HTTP_FAULT_SYNTAX;
}

/* ---- what decides the request's meaning and length ---- */

struct str http_header_find(const struct http_header *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (str_is_nocase(headers[i].name, name)) return headers[i].value;
    return (struct str){NULL, 0};
}

bool http_list_has(struct str list, const char *token)
{
    struct str piece;
    while (str_split(&list, ',', &piece))
        if (str_is_nocase(str_trim(piece), token)) return true;
    return false;
}

static enum http_fault see_host(struct http_head *head, struct str value)
{
    (void)head;
    if (value.size == 0) return HTTP_FAULT_BAD_HOST;
    for (size_t i = 0; i < value.size; i++)
        if (!value.at[i] || strchr(" \t/?#@\\<>\"^`{|},", value.at[i])) return HTTP_FAULT_BAD_HOST;
    return HTTP_FAULT_NONE;
}

static enum http_fault see_length(struct http_head *head, struct str value)
{
    for (size_t i = 0; i < value.size; i++)
        if (value.at[i] < '0' || value.at[i] > '9') return HTTP_FAULT_BAD_LENGTH;
    bool good = value.size <= 18 && num_parse_u64(value, &head->content_length);
    return good ? HTTP_FAULT_NONE : HTTP_FAULT_BAD_LENGTH;
}

static enum http_fault see_coding(struct http_head *head, struct str value)
{
    if (!str_is_nocase(value, "chunked")) return HTTP_FAULT_CODING;
    if (head->minor_version == 0) return HTTP_FAULT_CODING_VERSION;
    head->is_chunked = true;
    return HTTP_FAULT_NONE;
}

static enum http_fault see_expect(struct http_head *head, struct str value)
{
    if (!str_is_nocase(value, "100-continue")) return HTTP_FAULT_EXPECT;
    head->expects_continue = head->minor_version > 0; /* RFC 9110 section 10.1.1 */
    return HTTP_FAULT_NONE;
}

static enum http_fault see_content_coding(struct http_head *head, struct str value)
{
    if (value.size == 0 || str_is_nocase(value, "identity")) return HTTP_FAULT_NONE;
    head->is_snappy = str_is_nocase(value, "snappy"); /* for the routes that take it */
    if (head->is_snappy) return HTTP_FAULT_NONE;
    if (!str_is_nocase(value, "gzip") && !str_is_nocase(value, "x-gzip"))
        return HTTP_FAULT_CONTENT_CODING;
    head->is_gzip = true;
    return HTTP_FAULT_NONE;
}

/* The headers that this server acts on; at most one of each. */
static const struct {
    const char *name;
    enum http_fault twice;
    enum http_fault (*see)(struct http_head *head, struct str value);
} framing[] = {
    {"Host", HTTP_FAULT_TWO_HOSTS, see_host},
    {"Content-Length", HTTP_FAULT_TWO_LENGTHS, see_length},
    {"Transfer-Encoding", HTTP_FAULT_TWO_CODINGS, see_coding},
    {"Expect", HTTP_FAULT_EXPECT, see_expect},
    {"Content-Encoding", HTTP_FAULT_CONTENT_CODING, see_content_coding},
};
enum {
    SEEN_HOST = 1,
    SEEN_LENGTH = 2,
    SEEN_CODING = 4,
    FRAMING_COUNT = sizeof framing / sizeof framing[0]
};

static enum http_fault check_framing(struct http_head *head)
{
    unsigned seen = 0;
    for (size_t i = 0; i < head->header_count; i++) {
        struct http_header *h = &head->headers[i];
        h->value = str_trim(h->value);
        for (size_t k = 0; k < FRAMING_COUNT; k++) {
            if (!str_is_nocase(h->name, framing[k].name)) continue;
            if (seen & 1u << k) return framing[k].twice;
            seen |= 1u << k;
            enum http_fault fault = framing[k].see(head, h->value);
            if (fault) return fault;
        }
    }
    if (!(seen & SEEN_HOST) && head->minor_version > 0) return HTTP_FAULT_NO_HOST;
    if ((seen & SEEN_LENGTH) && (seen & SEEN_CODING)) return HTTP_FAULT_LENGTH_AND_CODING;
    if (!head->is_chunked && head->content_length == 0) head->expects_continue = false;
    return HTTP_FAULT_NONE;
}

enum http_fault http_head_parse(const char *bytes, size_t size, struct http_head *head)
{
    *head = (struct http_head){0};
    enum http_fault fault = check_lines(bytes, size);
    if (fault) return fault;
    const char *space = memchr(bytes, ' ', size);
    const char *line_end = memchr(bytes, '\r', size);
    MUST(space && line_end && line_end - bytes > 4);
    head->method = (struct str){bytes, (size_t)(space - bytes)};
    head->minor_version = line_end[-1] == '1';
    fault = run_library(bytes, size, head);
    if (fault == HTTP_FAULT_SYNTAX) { /* the library also refuses some of what is judged here, with
                                         less to say */
        enum http_fault clearer = check_framing(head);
        return clearer && clearer != HTTP_FAULT_NO_HOST ? clearer : fault;
    }
    if (fault) return fault;
    /* What the library calls the target must be what stands between the spaces. */
    if (head->target.at != space + 1 || head->target.at[head->target.size] != ' ')
        return HTTP_FAULT_SYNTAX;
    return check_framing(head);
}

/* ---- body framing ---- */

void http_body_begin(struct http_body_reader *r, const struct http_head *head)
{
    *r = (struct http_body_reader){.is_chunked = head->is_chunked};
    if (!head->is_chunked) r->left = head->content_length;
    r->is_done = !head->is_chunked && r->left == 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static enum http_fault size_char(struct http_body_reader *r, char c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        if (++r->digits > CHUNK_DIGITS_MAX) return HTTP_FAULT_CHUNK;
        r->left = r->left << 4 | (uint64_t)digit;
        return HTTP_FAULT_NONE;
    }
    if (c != '\r' || r->digits == 0) return HTTP_FAULT_CHUNK;
    r->state = HTTP_CHUNK_SIZE_LF;
    return HTTP_FAULT_NONE;
}

/* Trailer fields are read over: nothing in them may change a request that was already judged. */
static enum http_fault trailer_char(struct http_body_reader *r, char c)
{
    if (++r->trailer_bytes > TRAILER_BYTES_MAX) return HTTP_FAULT_TRAILER;
    bool at_begin = r->state == HTTP_CHUNK_TRAILER;
    if (c == '\n' || c == 0) return HTTP_FAULT_CHUNK;
    if (c == '\r')
        r->state = at_begin ? HTTP_CHUNK_END_LF : HTTP_CHUNK_TRAILER_LF;
    else
        r->state = HTTP_CHUNK_TRAILER_IN;
    return HTTP_FAULT_NONE;
}

/* One character of the framing (never of the data). */
static enum http_fault chunk_char(struct http_body_reader *r, char c)
{
    static const struct {
        char wanted;
        enum http_chunk_state next;
    } fixed[] = {
        [HTTP_CHUNK_SIZE_LF] = {'\n', HTTP_CHUNK_DATA},
        [HTTP_CHUNK_DATA_CR] = {'\r', HTTP_CHUNK_DATA_LF},
        [HTTP_CHUNK_DATA_LF] = {'\n', HTTP_CHUNK_SIZE},
        [HTTP_CHUNK_TRAILER_LF] = {'\n', HTTP_CHUNK_TRAILER},
        [HTTP_CHUNK_END_LF] = {'\n', HTTP_CHUNK_DONE},
    };
    if (r->state == HTTP_CHUNK_SIZE) return size_char(r, c);
    if (r->state == HTTP_CHUNK_TRAILER || r->state == HTTP_CHUNK_TRAILER_IN)
        return trailer_char(r, c);
    MUST(r->state <= HTTP_CHUNK_END_LF && fixed[r->state].wanted);
    if (c != fixed[r->state].wanted) return HTTP_FAULT_CHUNK;
    r->state = fixed[r->state].next;
    r->digits = 0;
    if (r->state == HTTP_CHUNK_DATA && r->left == 0) r->state = HTTP_CHUNK_TRAILER;
    r->is_done = r->state == HTTP_CHUNK_DONE;
    return HTTP_FAULT_NONE;
}

enum http_fault http_body_read(struct http_body_reader *r, const char *bytes, size_t size,
                               size_t *used, struct str *data)
{
    MUST(!r->is_done);
    size_t at = 0;
    *data = (struct str){bytes, 0};
    enum http_fault fault = HTTP_FAULT_NONE;
    while (r->is_chunked && at < size && !fault && !r->is_done && r->state != HTTP_CHUNK_DATA)
        fault = chunk_char(r, bytes[at++]);
    if (!fault && !r->is_done && (!r->is_chunked || r->state == HTTP_CHUNK_DATA)) {
        size_t n = size - at < r->left ? size - at : (size_t)r->left;
        *data = (struct str){bytes + at, n};
        r->left -= n;
        at += n;
        if (r->left == 0 && r->is_chunked) r->state = HTTP_CHUNK_DATA_CR;
        if (r->left == 0 && !r->is_chunked) r->is_done = true;
    }
    *used = at;
    return fault;
}
