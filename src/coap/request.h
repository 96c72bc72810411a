/* request.h - what a CoAP request asks for, and what its answer looks like: sans I/O.
 *
 * Paths are /ps/LEVEL/LEVEL… (after draft-ietf-core-coap-pubsub): the options after the first are
 * the topic's levels. Who asks stands in the query: u= and p=, or token=.
 *
 * Sources: RFC 7252 sections 5.4, 5.10, 12.3; RFC 7641 section 2; RFC 7959 section 2. Thread: any.
 */
#ifndef COAP_REQUEST_H
#define COAP_REQUEST_H

#include "base/err.h"
#include "coap/coap_library.h"
#include "mqtt/broker.h"

/* X(symbol, class, detail) */
#define COAP_CODE_TABLE(X)                                                                         \
    X(DELETED, 2, 2)                                                                               \
    X(CHANGED, 2, 4)                                                                               \
    X(CONTENT, 2, 5)                                                                               \
    X(CONTINUE, 2, 31)                                                                             \
    X(BAD_REQUEST, 4, 0)                                                                           \
    X(UNAUTHORIZED, 4, 1)                                                                          \
    X(BAD_OPTION, 4, 2)                                                                            \
    X(FORBIDDEN, 4, 3)                                                                             \
    X(NOT_FOUND, 4, 4)                                                                             \
    X(METHOD_NOT_ALLOWED, 4, 5)                                                                    \
    X(NOT_ACCEPTABLE, 4, 6)                                                                        \
    X(ENTITY_INCOMPLETE, 4, 8)                                                                     \
    X(TOO_LARGE, 4, 13)                                                                            \
    X(UNSUPPORTED_FORMAT, 4, 15)                                                                   \
    X(INTERNAL, 5, 0)                                                                              \
    X(UNAVAILABLE, 5, 3)                                                                           \
    X(TIMEOUT, 5, 4)
enum coap_code {
#define X(symbol, class, detail) COAP_CODE_##symbol = class * 32 + detail,
    COAP_CODE_TABLE(X)
#undef X
};

enum coap_method { COAP_METHOD_GET = 1, COAP_METHOD_POST, COAP_METHOD_PUT, COAP_METHOD_DELETE };

enum {
    COAP_TOPIC_BYTES = 1024,
    COAP_BODY_BYTES = 64 * 1024, /* the longest payload, in however many blocks */
    COAP_BLOCK_EXPONENT = 6,     /* 1,024 bytes: what fits into a datagram of 1,280 */
    COAP_NO_FORMAT = 0xffff,
};

/* RFC 7959 section 2.2. */
struct coap_block {
    bool is_given, has_more;
    uint32_t number;
    uint8_t exponent; /* of its size: 16 << exponent, at most COAP_BLOCK_EXPONENT */
};
static inline size_t coap_block_bytes(const struct coap_block *block)
{
    return (size_t)16 << block->exponent;
}

enum coap_observe { COAP_OBSERVE_NO, COAP_OBSERVE_BEGIN, COAP_OBSERVE_END };

struct coap_request {
    enum coap_method method;
    char topic[COAP_TOPIC_BYTES];
    char user[ACCESS_USER_BYTES], password[BROKER_PASSWORD_BYTES];
    bool has_user, has_password;
    uint16_t format, accept; /* COAP_NO_FORMAT = not given */
    enum coap_observe observe;
    struct coap_block up, down; /* Block1, Block2 */
};

/* Reads a request's method and options. 0, or the code of the refusal, with a text for the client.
 */
enum coap_code coap_request_read(uint8_t method, const struct coap_library_option *options,
                                 size_t count, struct coap_request *request, struct why *why);

/* "application/json" for 50; NULL = not known here. And back: COAP_NO_FORMAT = not known. */
const char *coap_format_name(uint16_t format);
uint16_t coap_format_of(struct str name);

/* What an answer with content is made of. */
struct coap_content {
    struct str value;
    uint16_t format;
    bool is_observed;
    uint32_t sequence; /* when it is */
};
/* The answer to a GET: its block of the value, or 4.02, 4.06. The payload lies in the value. */
void coap_reply_content(struct coap_library_reply *reply, const struct coap_content *content,
                        const struct coap_block *down, uint16_t accept);
/* A code with a text for people ("" = none; borrowed), and the block of the request that it answers
 * (NULL or not given = none). */
void coap_reply_code(struct coap_library_reply *reply, enum coap_code code, const char *text,
                     const struct coap_block *up);

#endif
