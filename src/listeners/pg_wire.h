/* pg_wire.h - PostgreSQL's messages: bytes into messages, messages into fields, and back.
 *
 * Sans I/O. A reader is given whatever has arrived and says how much of it one message took; what a
 * message must have at least and may have at most is checked before anything is kept of it. Texts
 * and bodies are slices of the caller's bytes. Thread: any; nothing allocates but the buffers that
 * are written to. Source: PostgreSQL documentation, "Message Formats". */
#ifndef LISTENERS_PG_WIRE_H
#define LISTENERS_PG_WIRE_H

#include "base/reader.h"
#include "base/str.h"

enum {
    PG_STARTUP_BYTES_MAX = 10000, /* as PostgreSQL: whoever is not logged in gets no memory */
    PG_LOGIN_BYTES_MAX = 4096,    /* of a message of SASL or a password */
    PG_TEXT_BYTES_MAX = 1024 * 1024 + 1024, /* of Query and Parse: the engine's limit and a name */
    PG_BIND_BYTES_MAX = 8 * 1024 * 1024,
    PG_THROWN_BYTES_MAX = 1024 * 1024 * 1024, /* as PostgreSQL; what says more is no client of it */
    PG_SMALL_BYTES_MAX = 4096,
    PG_PROTOCOL_3 = 196608,
    PG_REQUEST_CANCEL = 80877102,
    PG_REQUEST_SSL = 80877103,
    PG_REQUEST_GSS = 80877104,
    PG_PARAMS_MAX = 64, /* of a statement, = QUERY_PARAMS_MAX */
};

/* ---- messages from the client ---- */

/* X(symbol, letter, largest body in bytes, name). Bodies of CopyData are handed on in pieces, so
 * their size needs no limit. */
#define PG_MESSAGE_TABLE(X)                                                                        \
    X(BIND, 'B', PG_BIND_BYTES_MAX, "Bind")                                                        \
    X(CLOSE, 'C', PG_SMALL_BYTES_MAX, "Close")                                                     \
    X(COPY_DATA, 'd', INT32_MAX, "CopyData")                                                       \
    X(COPY_DONE, 'c', 0, "CopyDone")                                                               \
    X(COPY_FAIL, 'f', PG_SMALL_BYTES_MAX, "CopyFail")                                              \
    X(DESCRIBE, 'D', PG_SMALL_BYTES_MAX, "Describe")                                               \
    X(EXECUTE, 'E', PG_SMALL_BYTES_MAX, "Execute")                                                 \
    X(FLUSH, 'H', 0, "Flush")                                                                      \
    X(FUNCTION, 'F', PG_SMALL_BYTES_MAX, "FunctionCall")                                           \
    X(PARSE, 'P', PG_TEXT_BYTES_MAX, "Parse")                                                      \
    X(PASSWORD, 'p', PG_LOGIN_BYTES_MAX, "Password")                                               \
    X(QUERY, 'Q', PG_TEXT_BYTES_MAX, "Query")                                                      \
    X(SYNC, 'S', 0, "Sync")                                                                        \
    X(TERMINATE, 'X', 0, "Terminate")

enum pg_message_kind {
    PG_STARTUP, /* the packet without a letter */
#define X(symbol, letter, bytes, name) PG_##symbol,
    PG_MESSAGE_TABLE(X)
#undef X
        PG_MESSAGE_KINDS
};

struct pg_message {
    enum pg_message_kind kind;
    struct str body; /* of COPY_DATA: what has arrived of it */
    bool is_last;    /* the message ends here; false: of COPY_DATA, or of what is too long */
    uint32_t bytes;  /* of what was too long to keep, and was thrown away; 0: `body` has it all */
};

/* Where a stream of messages stands; all zero = before the first packet. */
struct pg_reader {
    bool is_started;    /* packets have letters now */
    uint32_t copy_left; /* bytes of a CopyData begun that are still to come */
    /* The same of a Query, Parse or Bind that is longer than may be, and what it had in all. */
    uint32_t long_left, long_bytes;
    enum pg_message_kind long_kind;
};

/* Takes one message (or piece of CopyData) off the bytes. OK with *used 0: more bytes are needed.
 * `*message` borrows from them. A Query, Parse or Bind that is too long comes without its body, so
 * that its sender hears why and goes on; pieces before its end are nothing to act upon (neither
 * COPY_DATA nor is_last). Errors: PROTOCOL with the reason; nothing can be read after it. */
enum err pg_read(struct pg_reader *reader, const void *bytes, size_t size, size_t *used,
                 struct pg_message *message, struct why *why);

/* LIMIT with the reason, for a message whose body was thrown away. */
enum err pg_check_size(const struct pg_message *message, struct why *why);

/* A text ended by a zero byte; fails without one. */
struct str pg_read_text(struct reader *r);

/* The next pair of a start-up packet (behind its version): false at the end, or `r` failed. */
bool pg_read_parameter(struct reader *r, struct str *name, struct str *value);

struct pg_parse {
    struct str name, text;
    size_t type_count;
    uint32_t types[PG_PARAMS_MAX]; /* object ids; 0 = not said */
};
struct pg_bind {
    struct str portal, statement;
    size_t param_count;
    struct {
        bool is_null, is_binary;
        struct str bytes;
    } params[PG_PARAMS_MAX];
    size_t format_count;    /* of the result: 0 = all text, 1 = for all, else one a column */
    const uint8_t *formats; /* 2 bytes each, 0 or 1 */
};
/* Errors: PROTOCOL (malformed), LIMIT (more than PG_PARAMS_MAX). */
enum err pg_read_parse(struct str body, struct pg_parse *parse, struct why *why);
enum err pg_read_bind(struct str body, struct pg_bind *bind, struct why *why);
/* Describe and Close: `*kind` 'S' or 'P'. */
enum err pg_read_target(struct str body, char *kind, struct str *name, struct why *why);
enum err pg_read_execute(struct str body, struct str *portal, uint32_t *row_limit, struct why *why);
static inline bool pg_bind_is_binary(const struct pg_bind *b, size_t column)
{
    return b->format_count && b->formats[(b->format_count == 1 ? 0 : column * 2) + 1];
}

/* ---- messages to the client ---- */

void pg_add_16(struct buf *out, uint16_t value);
void pg_add_32(struct buf *out, uint32_t value);
void pg_add_64(struct buf *out, uint64_t value);
void pg_add_text(struct buf *out, struct str text); /* and a zero byte; cut at one inside */
/* A message is begun, filled and ended; its length is written then. */
size_t pg_begin(struct buf *out, char letter);
void pg_end(struct buf *out, size_t begun);
/* A value of a row: -1 for NULL, else begun, filled and ended like a message. */
static inline void pg_add_null(struct buf *out)
{
    pg_add_32(out, UINT32_MAX);
}
size_t pg_begin_value(struct buf *out);
static inline void pg_end_value(struct buf *out, size_t begun)
{
    if (out->failed) return;
    uint32_t size = (uint32_t)(out->size - begun - 4);
    for (unsigned i = 0; i < 4; i++) out->at[begun + i] = (char)(size >> (24 - 8 * i));
}

void pg_empty(struct buf *out, char letter);                /* a message without a body */
void pg_command_complete(struct buf *out, const char *tag); /* "SELECT 3" */
void pg_parameter_status(struct buf *out, const char *name, const char *value);
void pg_ready(struct buf *out, char status); /* 'I', 'T' or 'E' */
/* Error ('E') or notice ('N'). `position` counts characters from 1, 0 = none; `hint` may be empty.
 */
void pg_report(struct buf *out, char letter, const char *severity, const char *sqlstate,
               struct str text, struct str hint, unsigned position);
/* The character (from 1) at a byte offset of a text; 0 for a negative offset. */
unsigned pg_position(struct str text, int32_t offset);

#endif
