/* pg_wire.c - see pg_wire.h. */
#include "listeners/pg_wire.h"
#include <stdio.h>
#include <string.h>

/* ---- the stream of messages ---- */

static const struct {
    char letter;
    uint32_t bytes_max;
    const char *name;
} messages[PG_MESSAGE_KINDS] = {
#define X(symbol, letter, bytes, name) [PG_##symbol] = {letter, bytes, name},
    PG_MESSAGE_TABLE(X)
#undef X
};

/* The packet before there are letters: its length, which counts itself, and its body. */
static enum err read_startup(struct pg_reader *reader, struct reader r, size_t *used,
                             struct pg_message *message, struct why *why)
{
    if (reader_left(&r) < 4) return ERR_OK;
    uint32_t size = reader_be32(&r);
    if (size < 8 || size > PG_STARTUP_BYTES_MAX)
        return why_set(why, ERR_PROTOCOL, "this is not PostgreSQL's protocol");
    if (reader_left(&r) < size - 4) return ERR_OK;
    *message = (struct pg_message){PG_STARTUP, reader_str(&r, size - 4), true};
    *used = size;
    (void)reader;
    return ERR_OK;
}

static enum pg_message_kind kind_of(char letter)
{
    enum pg_message_kind kind = PG_STARTUP + 1;
    while (kind < PG_MESSAGE_KINDS && messages[kind].letter != letter) kind++;
    return kind;
}

/* What has arrived of a CopyData's body. */
static void read_piece(struct pg_reader *reader, struct reader *r, struct pg_message *message)
{
    size_t size = reader_left(r) < reader->copy_left ? reader_left(r) : reader->copy_left;
    *message = (struct pg_message){PG_COPY_DATA, reader_str(r, size), size == reader->copy_left};
    reader->copy_left -= (uint32_t)size;
}

static bool may_be_thrown(enum pg_message_kind kind, uint32_t bytes)
{
    return (kind == PG_QUERY || kind == PG_PARSE || kind == PG_BIND) &&
           bytes <= PG_THROWN_BYTES_MAX;
}

static void throw_away(struct pg_reader *reader, struct reader *r, struct pg_message *message)
{
    size_t size = reader_left(r) < reader->long_left ? reader_left(r) : reader->long_left;
    reader_skip(r, size);
    reader->long_left -= (uint32_t)size;
    *message =
        (struct pg_message){reader->long_kind, STR(""), reader->long_left == 0, reader->long_bytes};
}

enum err pg_check_size(const struct pg_message *message, struct why *why)
{
    if (!message->bytes) return ERR_OK;
    return why_set(why, ERR_LIMIT,
                   "a %s message of %u bytes is too long: it may have %u; send fewer rows at a "
                   "time, or use COPY",
                   messages[message->kind].name, message->bytes, messages[message->kind].bytes_max);
}

enum err pg_read(struct pg_reader *reader, const void *bytes, size_t size, size_t *used,
                 struct pg_message *message, struct why *why)
{
    struct reader r = reader_of(bytes, size);
    *used = 0;
    if (!reader->is_started) return read_startup(reader, r, used, message, why);
    if (size == 0) return ERR_OK;
    if (reader->copy_left == 0 && reader->long_left == 0) {
        if (size < 5) return ERR_OK;
        char letter = (char)reader_u8(&r);
        uint32_t length = reader_be32(&r);
        enum pg_message_kind kind = kind_of(letter);
        if (kind == PG_MESSAGE_KINDS)
            return why_set(why, ERR_PROTOCOL, "invalid frontend message type %d",
                           (unsigned char)letter);
        bool is_long = length >= 4 && length - 4 > messages[kind].bytes_max;
        if (length < 4 || (is_long && !may_be_thrown(kind, length - 4)))
            return why_set(why, ERR_PROTOCOL, "invalid length %u of a %s message; the limit is %u",
                           length, messages[kind].name, messages[kind].bytes_max);
        if (is_long) {
            reader->long_kind = kind;
            reader->long_left = reader->long_bytes = length - 4;
        } else if (kind == PG_COPY_DATA) {
            reader->copy_left = length - 4;
        } else {
            if (reader_left(&r) < length - 4) return ERR_OK;
            *message = (struct pg_message){kind, reader_str(&r, length - 4), true};
            *used = reader_offset(&r);
            return ERR_OK;
        }
    }
    if (reader->long_left)
        throw_away(reader, &r, message);
    else
        read_piece(reader, &r, message);
    *used = reader_offset(&r);
    return ERR_OK;
}

/* ---- fields ---- */

struct str pg_read_text(struct reader *r)
{
    const uint8_t *end = reader_left(r) ? memchr(r->at, 0, reader_left(r)) : NULL;
    size_t size = end ? (size_t)(end - r->at) : reader_left(r);
    struct str text = reader_str(r, size);
    reader_skip(r, 1); /* fails where there was no end */
    return text;
}

bool pg_read_parameter(struct reader *r, struct str *name, struct str *value)
{
    *name = pg_read_text(r);
    if (!reader_ok(r) || name->size == 0) return false;
    *value = pg_read_text(r);
    return reader_ok(r);
}

static enum err malformed(struct why *why, enum pg_message_kind kind)
{
    return why_set(why, ERR_PROTOCOL, "invalid message format: %s", messages[kind].name);
}

static enum err too_many(struct why *why)
{
    return why_set(why, ERR_LIMIT, "a statement may have at most %d parameters", PG_PARAMS_MAX);
}

enum err pg_read_parse(struct str body, struct pg_parse *parse, struct why *why)
{
    struct reader r = reader_of(body.at, body.size);
    parse->name = pg_read_text(&r);
    parse->text = pg_read_text(&r);
    parse->type_count = reader_be16(&r);
    if (reader_ok(&r) && parse->type_count > PG_PARAMS_MAX) return too_many(why);
    for (size_t i = 0; reader_ok(&r) && i < parse->type_count; i++)
        parse->types[i] = reader_be32(&r);
    return reader_ok(&r) && reader_left(&r) == 0 ? ERR_OK : malformed(why, PG_PARSE);
}

/* A list of format codes, each 0 or 1; NULL: malformed. */
static const uint8_t *read_formats(struct reader *r, size_t *count)
{
    *count = reader_be16(r);
    const uint8_t *codes = reader_take(r, *count * 2);
    for (size_t i = 0; codes && i < *count; i++)
        if (codes[2 * i] || codes[2 * i + 1] > 1) return NULL;
    return codes;
}

enum err pg_read_bind(struct str body, struct pg_bind *bind, struct why *why)
{
    struct reader r = reader_of(body.at, body.size);
    size_t code_count;
    bind->portal = pg_read_text(&r);
    bind->statement = pg_read_text(&r);
    const uint8_t *codes = read_formats(&r, &code_count);
    bind->param_count = reader_be16(&r);
    if (!codes || !reader_ok(&r)) return malformed(why, PG_BIND);
    if (bind->param_count > PG_PARAMS_MAX) return too_many(why);
    if (code_count > 1 && code_count != bind->param_count) return malformed(why, PG_BIND);
    for (size_t i = 0; i < bind->param_count; i++) {
        uint32_t size = reader_be32(&r);
        bind->params[i].is_null = size == UINT32_MAX;
        bind->params[i].is_binary = code_count && codes[(code_count == 1 ? 0 : i * 2) + 1];
        bind->params[i].bytes = bind->params[i].is_null ? STR("") : reader_str(&r, size);
    }
    bind->formats = read_formats(&r, &bind->format_count);
    return bind->formats && reader_ok(&r) && reader_left(&r) == 0 ? ERR_OK
                                                                  : malformed(why, PG_BIND);
}

enum err pg_read_target(struct str body, char *kind, struct str *name, struct why *why)
{
    struct reader r = reader_of(body.at, body.size);
    *kind = (char)reader_u8(&r);
    *name = pg_read_text(&r);
    bool good = reader_ok(&r) && reader_left(&r) == 0 && (*kind == 'S' || *kind == 'P');
    return good ? ERR_OK : malformed(why, PG_DESCRIBE);
}

enum err pg_read_execute(struct str body, struct str *portal, uint32_t *row_limit, struct why *why)
{
    struct reader r = reader_of(body.at, body.size);
    *portal = pg_read_text(&r);
    *row_limit = reader_be32(&r);
    if (*row_limit > INT32_MAX) *row_limit = 0; /* negative: as PostgreSQL, all */
    return reader_ok(&r) && reader_left(&r) == 0 ? ERR_OK : malformed(why, PG_EXECUTE);
}

/* ---- writing ---- */

static void add_be(struct buf *out, uint64_t value, unsigned size)
{
    char bytes[8];
    for (unsigned i = 0; i < size; i++) bytes[i] = (char)(value >> (8 * (size - 1 - i)));
    buf_add(out, bytes, size);
}

void pg_add_16(struct buf *out, uint16_t value)
{
    add_be(out, value, 2);
}
void pg_add_32(struct buf *out, uint32_t value)
{
    add_be(out, value, 4);
}
void pg_add_64(struct buf *out, uint64_t value)
{
    add_be(out, value, 8);
}

void pg_add_text(struct buf *out, struct str text)
{
    const char *zero = text.size ? memchr(text.at, 0, text.size) : NULL;
    buf_add(out, text.at, zero ? (size_t)(zero - text.at) : text.size);
    buf_add_char(out, 0);
}

size_t pg_begin(struct buf *out, char letter)
{
    buf_add_char(out, letter);
    size_t begun = out->size;
    pg_add_32(out, 0);
    return begun;
}

void pg_end(struct buf *out, size_t begun)
{
    if (buf_failed(out)) return;
    MUST(out->size >= begun + 4);
    uint32_t size = (uint32_t)(out->size - begun);
    for (unsigned i = 0; i < 4; i++) out->at[begun + i] = (char)(size >> (24 - 8 * i));
}

size_t pg_begin_value(struct buf *out)
{
    size_t begun = out->size;
    pg_add_32(out, 0);
    return begun;
}

void pg_empty(struct buf *out, char letter)
{
    pg_end(out, pg_begin(out, letter));
}

void pg_command_complete(struct buf *out, const char *tag)
{
    size_t begun = pg_begin(out, 'C');
    pg_add_text(out, str_of(tag));
    pg_end(out, begun);
}

void pg_parameter_status(struct buf *out, const char *name, const char *value)
{
    size_t begun = pg_begin(out, 'S');
    pg_add_text(out, str_of(name));
    pg_add_text(out, str_of(value));
    pg_end(out, begun);
}

void pg_ready(struct buf *out, char status)
{
    size_t begun = pg_begin(out, 'Z');
    buf_add_char(out, status);
    pg_end(out, begun);
}

static void add_field(struct buf *out, char code, struct str text)
{
    buf_add_char(out, code);
    pg_add_text(out, text);
}

void pg_report(struct buf *out, char letter, const char *severity, const char *sqlstate,
               struct str text, struct str hint, unsigned position)
{
    size_t begun = pg_begin(out, letter);
    char number[16];
    add_field(out, 'S', str_of(severity));
    add_field(out, 'V', str_of(severity)); /* the same, never translated */
    add_field(out, 'C', str_of(sqlstate));
    add_field(out, 'M', text);
    if (hint.size) add_field(out, 'H', hint);
    if (position) {
        snprintf(number, sizeof number, "%u", position);
        add_field(out, 'P', str_of(number));
    }
    buf_add_char(out, 0);
    pg_end(out, begun);
}

unsigned pg_position(struct str text, int32_t offset)
{
    if (offset < 0) return 0;
    unsigned characters = 1;
    for (size_t i = 0; i < text.size && i < (size_t)offset; i++)
        characters += (text.at[i] & 0xc0) != 0x80; /* UTF-8: first bytes */
    return characters;
}
