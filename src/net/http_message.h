/* http_message.h - the bytes of an HTTP/1 request: head and body framing, without I/O.
 *
 * This is the one place that knows HTTP/1's grammar, and the one that sees http_parser. It is
 * stricter than the library, because every tolerance here is a way to smuggle a request past a
 * proxy that reads the same bytes otherwise (RFC 9112 section 11.2): no bare LF or CR, no folded
 * lines, no space before a colon, one Host, one Content-Length or one "Transfer-Encoding: chunked"
 * and never both, no chunk extensions.
 *
 * Thread: any; nothing in here allocates. */
#ifndef NET_HTTP_MESSAGE_H
#define NET_HTTP_MESSAGE_H

#include "net/http.h"

/* What can be wrong with a request: X(symbol, HTTP status, error code, text). Every fault ends the
 * connection, since the place where the next request begins is no longer certain. */
/* clang-format off */
#define HTTP_FAULT_TABLE(X)                                                                                       \
    X(NONE,            200, OK,          "")                                                                      \
    X(BARE_LF,         400, INVALID,     "a line of the request does not end with CR LF")                         \
    X(CONTROL,         400, INVALID,     "a control character in the request's head")                             \
    X(REQUEST_LINE,    400, INVALID,     "the request line is not METHOD SP TARGET SP HTTP/1.x")                   \
    X(FOLDED,          400, INVALID,     "a header line begins with white space (obsolete line folding)")         \
    X(HEADER_NAME,     400, INVALID,     "a header has no valid name before its colon")                           \
    X(SYNTAX,          400, INVALID,     "the request's head is malformed")                                       \
    X(METHOD,          501, UNSUPPORTED, "this method is not known")                                              \
    X(VERSION,         505, UNSUPPORTED, "only HTTP/1.0 and HTTP/1.1 are spoken here")                            \
    X(HEAD_SIZE,       431, LIMIT,       "request line and headers are larger than 16 KiB")                       \
    X(HEADER_COUNT,    431, LIMIT,       "more than 100 headers")                                                 \
    X(NO_HOST,         400, INVALID,     "the Host header is missing")                                            \
    X(TWO_HOSTS,       400, INVALID,     "more than one Host header")                                             \
    X(BAD_HOST,        400, INVALID,     "the Host header is not a host")                                         \
    X(TWO_LENGTHS,     400, INVALID,     "more than one Content-Length header")                                   \
    X(BAD_LENGTH,      400, INVALID,     "Content-Length is not a decimal number")                                \
    X(LENGTH_AND_CODING, 400, INVALID,   "Content-Length and Transfer-Encoding in one request")                   \
    X(TWO_CODINGS,     400, INVALID,     "more than one Transfer-Encoding header")                                \
    X(CODING,          501, UNSUPPORTED, "the only transfer coding known is chunked")                             \
    X(CODING_VERSION,  400, INVALID,     "Transfer-Encoding in an HTTP/1.0 request")                              \
    X(CHUNK,           400, INVALID,     "a chunk of the body is malformed")                                      \
    X(TRAILER,         431, LIMIT,       "the trailer after the body is larger than 4 KiB")                       \
    X(TARGET,          400, INVALID,     "the request's target is not a path")                                    \
    X(PATH,            400, INVALID,     "the path is not percent-encoded UTF-8 without NUL")                     \
    X(EXPECT,          417, UNSUPPORTED, "the only expectation known is 100-continue")                            \
    X(CONTENT_CODING,  415, UNSUPPORTED, "the only content coding known is gzip")                                 \
    X(GZIP,            400, INVALID,     "the body is not whole gzip data")                                       \
    X(BODY_SIZE,       413, LIMIT,       "the body is larger than this path allows")                              \
    X(BODY_MEMORY,     503, BUDGET,      "no memory for this body now; try again")                                \
    X(SLOW_HEAD,       408, TIMEOUT,     "the request's headers did not arrive in time")                          \
    X(SLOW_BODY,       408, TIMEOUT,     "the request's body arrives too slowly")                                 \
    X(CONNECTIONS,     503, BUSY,        "too many connections; try again")
/* clang-format on */

enum http_fault {
#define X(symbol, status, code, text) HTTP_FAULT_##symbol,
    HTTP_FAULT_TABLE(X)
#undef X
        HTTP_FAULT_COUNT
};

struct http_fault_info {
    int status;
    enum err code;
    const char *text;
};
const struct http_fault_info *http_fault_info(enum http_fault fault);

/* The head of a request, as slices of the bytes parsed. */
struct http_head {
    struct str method, target;
    unsigned minor_version; /* 0 or 1 */
    size_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
    uint64_t content_length; /* 0 when absent */
    bool is_chunked, keep_alive, upgrade;
    bool expects_continue;
    bool is_gzip, is_snappy; /* Content-Encoding */
};

/* Finds the end of a head: `*end` is the offset behind its empty line, or 0 when it is not there
 * yet. `*scanned` is where the search goes on with more bytes (0 at first). Lines that end with a
 * bare LF are refused as soon as seen. */
enum http_fault http_head_end(const char *bytes, size_t size, size_t *scanned, size_t *end);

/* Parses a whole head (with its empty line). Borrows the bytes. */
enum http_fault http_head_parse(const char *bytes, size_t size, struct http_head *head);

/* The value of the header in a list, or an empty slice with at == NULL. */
struct str http_header_find(const struct http_header *headers, size_t count, const char *name);
/* Whether a comma-separated header value holds the token (ASCII case-insensitive). */
bool http_list_has(struct str list, const char *token);

/* ---- body framing ---- */

enum http_chunk_state {
    HTTP_CHUNK_SIZE,    /* in the digits */
    HTTP_CHUNK_SIZE_LF, /* CR seen behind them */
    HTTP_CHUNK_DATA,
    HTTP_CHUNK_DATA_CR,
    HTTP_CHUNK_DATA_LF,
    HTTP_CHUNK_TRAILER,    /* at the begin of a line */
    HTTP_CHUNK_TRAILER_IN, /* inside one */
    HTTP_CHUNK_TRAILER_LF, /* CR seen behind one */
    HTTP_CHUNK_END_LF,     /* CR seen at the begin of a line */
    HTTP_CHUNK_DONE,
};

struct http_body_reader {
    bool is_chunked, is_done;
    enum http_chunk_state state;
    uint64_t left; /* of the body, or of the chunk */
    unsigned digits;
    size_t trailer_bytes;
};

void http_body_begin(struct http_body_reader *reader, const struct http_head *head);
/* Reads on: gives at most one slice of content (`data`, may be empty) and the number of bytes used;
 * call again until is_done or all bytes are used. */
enum http_fault http_body_read(struct http_body_reader *reader, const char *bytes, size_t size,
                               size_t *used, struct str *data);

#endif
