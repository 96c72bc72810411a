/* request.c - see request.h: one table of options, one of content formats.
 *
 * Critical options that are not in the table are refused by the library before they get here, all
 * but the conditional ones (If-Match, If-None-Match), which it knows and we do not honour. Others
 * are what RFC 7252 calls elective: left alone. */
#include "coap/request.h"
#include "base/hash.h"
#include "base/reader.h"
#include "mqtt/topic.h"
#include <string.h>

enum option_number {
    OPTION_IF_MATCH = 1,
    OPTION_ETAG = 4,
    OPTION_IF_NONE_MATCH = 5,
    OPTION_OBSERVE = 6,
    OPTION_URI_PATH = 11,
    OPTION_CONTENT_FORMAT = 12,
    OPTION_URI_QUERY = 15,
    OPTION_ACCEPT = 17,
    OPTION_BLOCK2 = 23,
    OPTION_BLOCK1 = 27,
};

/* Content-Formats of RFC 7252 section 12.3, RFC 8428 and RFC 7049 and the names MQTT 5.0 gives
 * them. */
static const struct {
    uint16_t number;
    const char *name;
} formats[] = {
    {0, "text/plain"},
    {40, "application/link-format"},
    {41, "application/xml"},
    {42, "application/octet-stream"},
    {47, "application/exi"},
    {50, "application/json"},
    {60, "application/cbor"},
    {110, "application/senml+json"},
    {112, "application/senml+cbor"},
};
enum { FORMAT_COUNT = sizeof formats / sizeof formats[0] };

const char *coap_format_name(uint16_t format)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++)
        if (formats[i].number == format) return formats[i].name;
    return NULL;
}

uint16_t coap_format_of(struct str name)
{
    struct str type;
    (void)str_split(&name, ';', &type); /* "text/plain; charset=utf-8" */
    for (size_t i = 0; i < FORMAT_COUNT; i++)
        if (str_is_nocase(str_trim(type), formats[i].name)) return formats[i].number;
    return COAP_NO_FORMAT;
}

/* ---- options ---- */

/* What is read besides the request itself. */
struct reading {
    struct coap_request *request;
    size_t topic_size, path_count;
    struct why *why;
};

static enum coap_code refuse(struct reading *r, enum coap_code code, const char *text)
{
    (void)why_set(r->why, ERR_INVALID, "%s", text);
    return code;
}

/* RFC 7252 section 3.2. False: longer than `most` bytes. */
static bool take_uint(struct str value, size_t most, uint32_t *number)
{
    struct reader reader = reader_of(value.at, value.size);
    if (value.size > most) return false;
    MUST(most <= 4);
    *number = (uint32_t)reader_be(&reader, value.size);
    return true;
}

static enum coap_code take_path(struct reading *r, struct str level)
{
    struct coap_request *q = r->request;
    if (r->path_count++ == 0)
        return str_is(level, "ps") ? 0 : refuse(r, COAP_CODE_NOT_FOUND, "topics are under /ps/");
    if (level.size && (memchr(level.at, '/', level.size) || memchr(level.at, 0, level.size)))
        return refuse(r, COAP_CODE_BAD_REQUEST, "a level of a topic holds no slash");
    if (r->topic_size + level.size + 2 > sizeof q->topic)
        return refuse(r, COAP_CODE_BAD_REQUEST, "the topic is too long");
    if (r->path_count > 2) q->topic[r->topic_size++] = '/';
    if (level.size) memcpy(q->topic + r->topic_size, level.at, level.size);
    r->topic_size += level.size;
    q->topic[r->topic_size] = 0;
    return 0;
}

static enum coap_code take_query(struct reading *r, struct str query)
{
    struct coap_request *q = r->request;
    struct {
        const char *name;
        char *to;
        size_t size;
        bool *is_given;
    } const keys[] = {
        {"u", q->user, sizeof q->user, &q->has_user},
        {"p", q->password, sizeof q->password, &q->has_password},
        {"token", q->password, sizeof q->password, &q->has_password},
    };
    struct str name;
    (void)str_split(&query, '=', &name);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (!str_is(name, keys[i].name)) continue;
        if (*keys[i].is_given)
            return refuse(r, COAP_CODE_BAD_REQUEST, "who asks stands there twice");
        *keys[i].is_given = true;
        struct str value = query.at ? query : STR("");
        if (!(value.size && memchr(value.at, 0, value.size)) &&
            str_copy(keys[i].to, keys[i].size, value))
            return 0;
        return refuse(r, COAP_CODE_UNAUTHORIZED, "no such user or password");
    }
    return refuse(r, COAP_CODE_BAD_REQUEST, "queries are u=, p= and token=");
}

static enum coap_code take_format(struct reading *r, struct str value)
{
    uint32_t number;
    if (!take_uint(value, 2, &number) || !coap_format_name((uint16_t)number))
        return refuse(r, COAP_CODE_UNSUPPORTED_FORMAT, "this content format is not known");
    r->request->format = (uint16_t)number;
    return 0;
}

static enum coap_code take_accept(struct reading *r, struct str value)
{
    uint32_t number;
    if (!take_uint(value, 2, &number) || number == COAP_NO_FORMAT)
        return refuse(r, COAP_CODE_BAD_OPTION, "Accept has two bytes");
    r->request->accept = (uint16_t)number;
    return 0;
}

static enum coap_code take_observe(struct reading *r, struct str value)
{
    uint32_t number;
    /* Elective: what is not known is as if it were not there. */
    if (take_uint(value, 3, &number) && number <= 1)
        r->request->observe = number ? COAP_OBSERVE_END : COAP_OBSERVE_BEGIN;
    return 0;
}

static enum coap_code take_block(struct reading *r, struct str value, struct coap_block *block)
{
    uint32_t number;
    if (!take_uint(value, 3, &number) || (number & 7) == 7)
        return refuse(r, COAP_CODE_BAD_OPTION, "the block option is not valid");
    block->is_given = true;
    block->number = number >> 4;
    block->has_more = number >> 3 & 1;
    block->exponent = number & 7;
    return 0;
}

static enum coap_code take_up(struct reading *r, struct str value)
{
    return take_block(r, value, &r->request->up);
}

static enum coap_code take_down(struct reading *r, struct str value)
{
    return take_block(r, value, &r->request->down);
}

static enum coap_code take_condition(struct reading *r, struct str value)
{
    (void)value;
    return refuse(r, COAP_CODE_BAD_OPTION, "conditions are not honoured here");
}

static const struct {
    enum option_number number;
    enum coap_code (*take)(struct reading *r, struct str value);
} takers[] = {
    {OPTION_IF_MATCH, take_condition},
    {OPTION_IF_NONE_MATCH, take_condition},
    {OPTION_OBSERVE, take_observe},
    {OPTION_URI_PATH, take_path},
    {OPTION_CONTENT_FORMAT, take_format},
    {OPTION_URI_QUERY, take_query},
    {OPTION_ACCEPT, take_accept},
    {OPTION_BLOCK2, take_down},
    {OPTION_BLOCK1, take_up},
};

static enum coap_code take_option(struct reading *r, const struct coap_library_option *option)
{
    for (size_t i = 0; i < sizeof takers / sizeof takers[0]; i++)
        if (takers[i].number == option->number) return takers[i].take(r, option->value);
    return 0;
}

enum coap_code coap_request_read(uint8_t method, const struct coap_library_option *options,
                                 size_t count, struct coap_request *request, struct why *why)
{
    struct reading r = {.request = request, .why = why};
    enum coap_code code = 0;
    memset(request, 0, sizeof *request);
    request->format = request->accept = COAP_NO_FORMAT;
    request->down.exponent = request->up.exponent = COAP_BLOCK_EXPONENT;
    request->method = (enum coap_method)method;
    if (method < COAP_METHOD_GET || method > COAP_METHOD_DELETE)
        return refuse(&r, COAP_CODE_METHOD_NOT_ALLOWED, "GET, PUT, POST and DELETE are known");
    for (size_t i = 0; i < count && !code; i++) code = take_option(&r, &options[i]);
    if (code) return code;
    struct str topic = {request->topic, r.topic_size};
    if (r.path_count < 2) return refuse(&r, COAP_CODE_NOT_FOUND, "topics are under /ps/");
    if (!mqtt_text_is_valid(str_of(request->user)))
        return refuse(&r, COAP_CODE_UNAUTHORIZED, "no such user or password");
    if (!topic_name_is_valid(topic) || !mqtt_text_is_valid(topic) || str_starts(topic, "$share/"))
        return refuse(&r, COAP_CODE_BAD_REQUEST,
                      "this is no topic: UTF-8 without wildcards, not empty");
    if (request->down.is_given && request->down.exponent > COAP_BLOCK_EXPONENT)
        return refuse(&r, COAP_CODE_BAD_OPTION, "the block option is not valid");
    return 0;
}

/* ---- answers ---- */

static void add_option(struct coap_library_reply *reply, enum option_number number,
                       const uint8_t *bytes, size_t size)
{
    size_t i = reply->option_count++;
    MUST(i < COAP_LIBRARY_REPLY_OPTIONS && size <= sizeof reply->options[i].bytes);
    MUST(i == 0 || reply->options[i - 1].number <= number);
    reply->options[i].number = (uint16_t)number;
    reply->options[i].size = (uint8_t)size;
    memcpy(reply->options[i].bytes, bytes, size);
}

/* As few bytes as hold it: none for 0. */
static void add_uint(struct coap_library_reply *reply, enum option_number number, uint32_t value)
{
    uint8_t bytes[4];
    size_t size = 0;
    for (int shift = 24; shift >= 0; shift -= 8)
        if (size || value >> shift) bytes[size++] = (uint8_t)(value >> shift);
    add_option(reply, number, bytes, size);
}

static void add_block(struct coap_library_reply *reply, enum option_number number,
                      const struct coap_block *block)
{
    add_uint(reply, number, block->number << 4 | (block->has_more ? 8u : 0) | block->exponent);
}

void coap_reply_code(struct coap_library_reply *reply, enum coap_code code, const char *text,
                     const struct coap_block *up)
{
    memset(reply, 0, sizeof *reply);
    reply->code = (uint8_t)code;
    if (up && up->is_given) add_block(reply, OPTION_BLOCK1, up);
    reply->payload = str_of(text);
}

void coap_reply_content(struct coap_library_reply *reply, const struct coap_content *content,
                        const struct coap_block *down, uint16_t accept)
{
    struct str value = content->value;
    struct coap_block block = *down;
    size_t offset = (size_t)block.number << (block.exponent + 4);
    memset(reply, 0, sizeof *reply);
    if (accept != COAP_NO_FORMAT && content->format != COAP_NO_FORMAT &&
        accept != content->format) {
        coap_reply_code(reply, COAP_CODE_NOT_ACCEPTABLE, "the message has another content format",
                        NULL);
        return;
    }
    if (offset && offset >= value.size) {
        coap_reply_code(reply, COAP_CODE_BAD_OPTION, "there is no such block (any more)", NULL);
        return;
    }
    size_t size = value.size - offset;
    block.has_more = size > coap_block_bytes(&block);
    if (block.has_more) size = coap_block_bytes(&block);
    reply->code = COAP_CODE_CONTENT;
    /* By it a client sees that two blocks are of the same message. */
    uint64_t tag = hash_64(value.at, value.size);
    add_option(reply, OPTION_ETAG, (const uint8_t *)&tag, sizeof tag);
    if (content->is_observed) add_uint(reply, OPTION_OBSERVE, content->sequence & 0xffffff);
    if (content->format != COAP_NO_FORMAT) add_uint(reply, OPTION_CONTENT_FORMAT, content->format);
    if (block.is_given || block.has_more) add_block(reply, OPTION_BLOCK2, &block);
    reply->payload = (struct str){value.at + offset, size};
}
