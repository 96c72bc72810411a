/* pg_wire_fuzz.c - properties of what is read from PostgreSQL clients: messages never reach outside
 * the bytes given and are the same in whatever pieces these come; rows of COPY too; what a
 * parameter was read as can be written in both forms; a SCRAM exchange ends with a proof or an
 * error that has a text.
 *
 * The first byte chooses what is exercised, the second how the rest is cut into pieces. */
/* covers: src/listeners/pg_wire.c src/listeners/pg_copy_text.c src/listeners/pg_type.c */
/* covers: src/access/scram_server.c */
#include "access/scram_server.h"
#include "base/hash.h"
#include "listeners/pg_copy_text.h"
#include "listeners/pg_type.h"
#include "listeners/pg_wire.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static bool is_inside(struct str part, const void *bytes, size_t size)
{
    const char *from = bytes;
    return part.size == 0 || (part.at >= from && part.at + part.size <= from + size);
}

static void take_apart(const struct pg_message *m)
{
    struct why why = WHY_NONE;
    struct pg_parse parse = {0};
    struct pg_bind bind;
    struct str name, value;
    char kind;
    uint32_t limit;
    struct reader r = reader_of(m->body.at, m->body.size);
    enum err err = ERR_OK;
    switch (m->kind) {
    case PG_STARTUP:
        (void)reader_be32(&r);
        while (pg_read_parameter(&r, &name, &value))
            if (!is_inside(value, m->body.at, m->body.size)) abort();
        break;
    case PG_PARSE: err = pg_read_parse(m->body, &parse, &why); break;
    case PG_BIND:
        err = pg_read_bind(m->body, &bind, &why);
        for (size_t i = 0; !err && i < bind.param_count; i++)
            if (!is_inside(bind.params[i].bytes, m->body.at, m->body.size)) abort();
        for (size_t i = 0; !err && i < bind.format_count; i++) (void)pg_bind_is_binary(&bind, i);
        break;
    case PG_DESCRIBE: err = pg_read_target(m->body, &kind, &name, &why); break;
    case PG_EXECUTE: err = pg_read_execute(m->body, &name, &limit, &why); break;
    default: break;
    }
    if (err && !why.text[0]) abort();
}

/* Gives a hash over the messages that were read when at most `piece` more bytes arrive at a time.
 */
static uint64_t read_messages(const unsigned char *bytes, size_t size, size_t piece, bool is_open)
{
    struct pg_reader reader = {.is_started = is_open};
    uint64_t seen = 0;
    size_t at = 0, end = 0;
    while (end < size || at < end) {
        struct why why = WHY_NONE;
        struct pg_message m = {0};
        size_t used;
        enum err err = pg_read(&reader, bytes + at, end - at, &used, &m, &why);
        if (err && !why.text[0]) abort();
        if (err) return seen ^ 1;
        if (used > end - at) abort();
        if (used == 0 && end == size) break;
        if (used == 0) {
            end += piece < size - end ? piece : size - end;
            continue;
        }
        if (!is_inside(m.body, bytes + at, used)) abort();
        if (m.kind != PG_COPY_DATA && m.is_last)
            seen = seen * 31 + hash_64(m.body.at, m.body.size) + m.kind;
        take_apart(&m);
        reader.is_started = true;
        at += used;
    }
    return seen;
}

/* What we write is a row of whole messages, whatever texts are in it. */
static void write_messages(const unsigned char *bytes, size_t size)
{
    struct str text = {(const char *)bytes, size};
    struct buf out = BUF_EMPTY;
    char tag[32];
    (void)str_copy(tag, sizeof tag, text);
    pg_report(&out, 'E', "ERROR", "42601", text, text, pg_position(text, (int32_t)(size / 2)));
    pg_parameter_status(&out, "application_name", tag);
    pg_command_complete(&out, tag);
    size_t begun = pg_begin(&out, 'D'), value;
    pg_add_16(&out, 2);
    pg_add_null(&out);
    value = pg_begin_value(&out);
    pg_add_64(&out, size);
    pg_end_value(&out, value);
    pg_end(&out, begun);
    pg_empty(&out, '1');
    pg_ready(&out, 'I');
    struct reader r = reader_of(out.at, out.size);
    while (reader_ok(&r) && reader_left(&r)) {
        (void)reader_u8(&r);
        reader_skip(&r, reader_be32(&r) - 4);
    }
    if (!reader_ok(&r)) abort();
    buf_free(&out);
}

static uint64_t read_copy(const unsigned char *bytes, size_t size, size_t piece, unsigned format)
{
    static struct pg_copy_reader reader;
    struct arena arena;
    uint64_t seen = 0;
    size_t at = 0, end = 0;
    memset(&reader, 0, sizeof reader);
    pg_copy_defaults(format % 3, &reader.options);
    arena_init(&arena, NULL);
    while (!reader.is_over) {
        struct why why = WHY_NONE;
        size_t used;
        bool has_row;
        enum err err = pg_copy_read(&reader, (struct str){(const char *)bytes + at, end - at},
                                    end == size, &arena, &used, &has_row, &why);
        if (err) {
            if (!why.text[0]) abort();
            seen ^= 1;
            break;
        }
        if (used > end - at || (has_row && !used)) abort();
        for (size_t i = 0; has_row && i < reader.field_count; i++)
            seen = seen * 31 + hash_64(reader.fields[i].bytes.at, reader.fields[i].bytes.size) +
                   reader.fields[i].is_null;
        if (has_row) seen = seen * 31 + reader.line;
        at += used;
        if (used == 0 && end == size) break;
        if (used == 0) end += piece < size - end ? piece : size - end;
    }
    arena_free(&arena);
    return seen;
}

static void read_params(const unsigned char *bytes, size_t size)
{
    struct arena arena;
    struct zone zone = {.first_offset = 3600};
    struct pg_style style = {&zone};
    struct reader r = reader_of(bytes, size);
    arena_init(&arena, NULL);
    while (reader_left(&r) > 3 && reader_ok(&r)) {
        const struct pg_type *type = &pg_types[reader_u8(&r) % pg_type_count];
        bool is_binary = reader_u8(&r) & 1;
        struct str field = reader_str(&r, reader_u8(&r));
        struct value v = {0};
        struct why why = WHY_NONE;
        if (!reader_ok(&r)) break;
        if (pg_param_read(type->oid, is_binary, field, &arena, &v, &why)) {
            if (!why.text[0]) abort();
            continue;
        }
        struct buf out = BUF_EMPTY;
        const struct pg_type *back = pg_type_of(v.type);
        back->text(&style, &out, &v);
        back->binary(&out, &v);
        buf_free(&out);
    }
    arena_free(&arena);
}

static void exchange(const unsigned char *bytes, size_t size)
{
    static const uint8_t random[SCRAM_NONCE_RANDOM] = "0123456789abcdefg";
    static struct scram_server x;
    struct scram_verifier verifier = {.iterations = 4096};
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    uint8_t proof[SCRAM_KEY_BYTES];
    const unsigned char *cut = memchr(bytes, '\n', size);
    struct str first = {(const char *)bytes, cut ? (size_t)(cut - bytes) : size},
               last = {first.at + first.size + (cut != NULL), size - first.size - (cut != NULL)};
    enum err err = scram_server_first(&x, first, size & 1, size & 2, &verifier, random, &out, &why);
    if (!err) err = scram_server_last(&x, last, STR("binding"), proof, &why);
    if (!err) scram_server_sign(&x, &verifier, &out);
    if (!err && scram_proof_fits(&verifier, (struct str){x.auth, x.auth_size}, proof)) abort();
    if (err && !why.text[0]) abort();
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    if (size < 2) return 0;
    unsigned what = bytes[0] % 8;
    size_t piece = (size_t)bytes[1] + 1;
    bytes += 2;
    size -= 2;
    if (what < 2 && read_messages(bytes, size, piece, what == 1) !=
                        read_messages(bytes, size, size + 1, what == 1))
        abort();
    if (what >= 2 && what < 5 &&
        read_copy(bytes, size, piece, what - 2) != read_copy(bytes, size, size + 1, what - 2))
        abort();
    if (what == 5) read_params(bytes, size);
    if (what == 6) exchange(bytes, size);
    if (what == 7) write_messages(bytes, size);
    return 0;
}
