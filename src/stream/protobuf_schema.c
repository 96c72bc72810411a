/* protobuf_schema.c - a FileDescriptorSet into types (protobuf.h).
 *
 * Descriptors are messages themselves, so they are read by the same walk over fields. Types are
 * gathered first, file by file, with their full names; then each field finds the type that it
 * names, which may stand in a later file. */
#include "data/protowire.h"
#include "stream/protobuf.h"
#include <stdio.h>
#include <string.h>

struct set_reader {
    struct protobuf_schema *schema;
    struct why *why;
    bool is_proto3; /* the file that is being read */
};

static enum err no_set(const struct set_reader *s, const char *what)
{
    return why_set(s->why, ERR_INVALID, "no FileDescriptorSet: %s", what);
}

/* "scope.name" in the arena. */
static enum err full_name(struct set_reader *s, struct str scope, struct str name, struct str *out)
{
    if (scope.size + name.size > PROTOBUF_NAME_BYTES_MAX)
        return why_set(s->why, ERR_LIMIT, "a type's name is longer than %d bytes",
                       PROTOBUF_NAME_BYTES_MAX);
    char *made = arena_alloc(s->schema->arena, scope.size + name.size + 1);
    if (!made) return ERR_NO_MEMORY;
    memcpy(made, scope.at, scope.size);
    made[scope.size] = '.';
    memcpy(made + scope.size + 1, name.at, name.size);
    *out = (struct str){made, scope.size + name.size + 1};
    return str_is_utf8(name) && name.size ? ERR_OK : no_set(s, "a type without a name");
}

/* The text of field 1: a name. Errors: INVALID when the whole is damaged. */
static enum err name_of(const struct set_reader *s, struct str text, struct str *name)
{
    struct reader in = reader_of(text.at, text.size);
    struct protowire_field f;
    *name = (struct str){"", 0};
    while (protowire_next(&in, &f))
        if (f.number == 1 && f.type == PROTOWIRE_BYTES) *name = f.bytes;
    return reader_ok(&in) ? ERR_OK : no_set(s, "a descriptor is damaged");
}

/* ---- enums ---- */

static enum err read_enum_value(struct set_reader *s, struct str text, struct protobuf_enum *e)
{
    struct reader in = reader_of(text.at, text.size);
    struct protowire_field f;
    struct protobuf_enum_value *v = arena_zero(s->schema->arena, 1, sizeof *v);
    if (!v) return ERR_NO_MEMORY;
    while (protowire_next(&in, &f)) {
        if (f.number == 1 && f.type == PROTOWIRE_BYTES) v->name = f.bytes;
        if (f.number == 2 && f.type == PROTOWIRE_VARINT) v->number = (int32_t)f.bits;
    }
    *e->last = v;
    e->last = &v->next;
    return v->name.size && str_is_utf8(v->name) ? ERR_OK : no_set(s, "a value without a name");
}

static enum err read_enum(struct set_reader *s, struct str text, struct str scope)
{
    struct reader in = reader_of(text.at, text.size);
    struct protowire_field f;
    struct str name;
    struct protobuf_enum *e = arena_zero(s->schema->arena, 1, sizeof *e);
    if (!e) return ERR_NO_MEMORY;
    e->last = &e->first;
    enum err err = name_of(s, text, &name);
    if (!err) err = full_name(s, scope, name, &e->name);
    while (!err && protowire_next(&in, &f))
        if (f.number == 2 && f.type == PROTOWIRE_BYTES) err = read_enum_value(s, f.bytes, e);
    e->next = s->schema->enums;
    s->schema->enums = e;
    return err;
}

/* ---- messages ---- */

static void take_field_part(struct protobuf_field *made, const struct protowire_field *f,
                            bool *has_presence)
{
    bool is_text = f->type == PROTOWIRE_BYTES;
    switch (f->number) {
    case 1:
        if (is_text) made->name = f->bytes;
        break;
    case 3: made->number = (uint32_t)f->bits; break;
    case 4: made->is_repeated = f->bits == 3; break;
    case 5: made->type = (enum protobuf_type)(f->bits <= 18 ? f->bits : 0); break;
    case 6:
        if (is_text) made->type_name = f->bytes;
        break;
    case 9: /* of a oneof */
        made->oneof = f->bits < PROTOBUF_FIELDS_MAX ? (uint32_t)f->bits + 1 : UINT32_MAX;
        *has_presence = true;
        break;
    case 17: *has_presence = true; break; /* proto3's optional */
    default: break;
    }
}

static enum err read_field(struct set_reader *s, struct str text, struct protobuf_message *m)
{
    struct reader in = reader_of(text.at, text.size);
    struct protowire_field f;
    bool has_presence = !s->is_proto3;
    if (++s->schema->field_count > PROTOBUF_FIELDS_MAX)
        return why_set(s->why, ERR_LIMIT, "more than %d fields", PROTOBUF_FIELDS_MAX);
    struct protobuf_field *made = arena_zero(s->schema->arena, 1, sizeof *made);
    if (!made) return ERR_NO_MEMORY;
    while (protowire_next(&in, &f)) take_field_part(made, &f, &has_presence);
    if (!made->name.size || !str_is_utf8(made->name) || !made->number || !made->type)
        return no_set(s, "a field without name, number or type");
    made->has_zero = !has_presence && !made->is_repeated && made->type != PROTOBUF_MESSAGE;
    made->next = m->first;
    m->first = made;
    m->field_count++;
    return ERR_OK;
}

/* MessageOptions: map_entry is field 7. */
static bool is_map_entry(struct str options)
{
    struct reader in = reader_of(options.at, options.size);
    struct protowire_field f;
    bool found = false;
    while (protowire_next(&in, &f)) found |= f.number == 7 && f.bits;
    return found;
}

/* Messages of one field, `value`, which make a plain value one that may be absent (wrappers.proto).
 */
static bool is_wrapper(struct str name)
{
    static const char *const wrapped[] = {"Double", "Float", "Int64",  "UInt64", "Int32",
                                          "UInt32", "Bool",  "String", "Bytes"};
    char full[64];
    for (size_t i = 0; i < sizeof wrapped / sizeof wrapped[0]; i++) {
        snprintf(full, sizeof full, ".google.protobuf.%sValue", wrapped[i]);
        if (str_is(name, full)) return true;
    }
    return false;
}

/* As deep as types stand in types. */
static enum err read_message(struct set_reader *s, struct str text, struct str scope,
                             unsigned depth)
{
    struct reader in = reader_of(text.at, text.size);
    struct protowire_field f;
    struct str name;
    if (depth > PROTOBUF_NESTING_MAX || ++s->schema->message_count > PROTOBUF_MESSAGES_MAX)
        return why_set(s->why, ERR_LIMIT, "more than %d messages, or %d in each other",
                       PROTOBUF_MESSAGES_MAX, PROTOBUF_NESTING_MAX);
    struct protobuf_message *m = arena_zero(s->schema->arena, 1, sizeof *m);
    if (!m) return ERR_NO_MEMORY;
    enum err err = name_of(s, text, &name);
    if (!err) err = full_name(s, scope, name, &m->name);
    m->is_timestamp = str_is(m->name, ".google.protobuf.Timestamp");
    m->is_wrapper = is_wrapper(m->name);
    m->next = s->schema->messages;
    s->schema->messages = m;
    while (!err && protowire_next(&in, &f)) {
        if (f.type != PROTOWIRE_BYTES) continue;
        switch (f.number) {
        case 2: err = read_field(s, f.bytes, m); break;
        case 3: err = read_message(s, f.bytes, m->name, depth + 1); break;
        case 4: err = read_enum(s, f.bytes, m->name); break;
        case 7: m->is_map_entry = is_map_entry(f.bytes); break;
        default: break;
        }
    }
    return err;
}

/* ---- files ---- */

static enum err read_file(struct set_reader *s, struct str text)
{
    struct reader in = reader_of(text.at, text.size);
    struct protowire_field f;
    struct str package = {"", 0}, scope = {"", 0};
    s->is_proto3 = false;
    while (protowire_next(&in, &f)) { /* these stand before and behind the types */
        if (f.number == 2 && f.type == PROTOWIRE_BYTES) package = f.bytes;
        if (f.number == 12) s->is_proto3 = str_is(f.bytes, "proto3");
    }
    if (!reader_ok(&in)) return no_set(s, "a file is damaged");
    enum err err = package.size ? full_name(s, scope, package, &scope) : ERR_OK;
    in = reader_of(text.at, text.size);
    while (!err && protowire_next(&in, &f)) {
        if (f.type != PROTOWIRE_BYTES) continue;
        if (f.number == 4) err = read_message(s, f.bytes, scope, 0);
        if (f.number == 5) err = read_enum(s, f.bytes, scope);
    }
    return err;
}

/* ---- the types that fields name ---- */

static const struct protobuf_message *find_message(const struct protobuf_schema *schema,
                                                   struct str name)
{
    const struct protobuf_message *m = schema->messages;
    while (m && !str_equal(m->name, name)) m = m->next;
    return m;
}

static enum err resolve_field(struct set_reader *s, struct protobuf_field *f)
{
    if (f->type == PROTOBUF_MESSAGE) f->message = find_message(s->schema, f->type_name);
    if (f->type == PROTOBUF_ENUM) {
        f->values = s->schema->enums;
        while (f->values && !str_equal(f->values->name, f->type_name)) f->values = f->values->next;
    }
    bool needs = f->type == PROTOBUF_MESSAGE || f->type == PROTOBUF_ENUM;
    if (!needs || f->message || f->values) return ERR_OK;
    return why_set(s->why, ERR_INVALID,
                   "field %.*s is of type %.*s, which is not there (protoc --include_imports puts "
                   "all of them in)",
                   (int)f->name.size, f->name.at, (int)f->type_name.size, f->type_name.at);
}

/* Fields sorted by number, each once: the last one of a number counts. */
static enum err resolve(struct set_reader *s, struct protobuf_message *m)
{
    size_t count = 0;
    m->fields = arena_zero(s->schema->arena, m->field_count + 1, sizeof m->fields[0]);
    m->oneofs = arena_zero(s->schema->arena, m->field_count + 1, sizeof m->oneofs[0]);
    if (!m->fields || !m->oneofs) return ERR_NO_MEMORY;
    for (struct protobuf_field *f = m->first; f; f = f->next) {
        enum err err = resolve_field(s, f);
        if (!err && f->oneof > m->field_count)
            err = no_set(s, "a field is of a oneof that is not there");
        if (err) return err;
        size_t at = 0; /* the list has the last one first, so mostly they come in front */
        while (at < count && m->fields[at]->number < f->number) at++;
        if (at < count && m->fields[at]->number == f->number) continue;
        memmove(&m->fields[at + 1], &m->fields[at], (count++ - at) * sizeof m->fields[0]);
        m->fields[at] = f;
        if (!f->oneof) continue;
        f->next_of_oneof = m->oneofs[f->oneof - 1];
        m->oneofs[f->oneof - 1] = f;
    }
    m->field_count = count;
    return ERR_OK;
}

enum err protobuf_schema_read(struct str set, struct arena *arena, struct protobuf_schema **out,
                              struct why *why)
{
    struct reader in = reader_of(set.at, set.size);
    struct protowire_field f;
    struct protobuf_schema *schema = arena_zero(arena, 1, sizeof *schema);
    struct set_reader s = {.schema = schema, .why = why};
    enum err err = schema ? ERR_OK : ERR_NO_MEMORY;
    if (err) return err;
    MUST(set.size <= PROTOBUF_SET_BYTES_MAX);
    schema->arena = arena;
    while (!err && protowire_next(&in, &f))
        if (f.number == 1 && f.type == PROTOWIRE_BYTES) err = read_file(&s, f.bytes);
    if (!err && (!reader_ok(&in) || !schema->messages)) err = no_set(&s, "it holds no message");
    for (struct protobuf_message *m = schema->messages; m && !err; m = m->next)
        err = resolve(&s, m);
    *out = schema;
    return err;
}

const struct protobuf_message *protobuf_find(const struct protobuf_schema *schema, struct str name)
{
    if (name.size && name.at[0] == '.') name = (struct str){name.at + 1, name.size - 1};
    for (const struct protobuf_message *m = schema->messages; m; m = m->next)
        if (str_equal((struct str){m->name.at + 1, m->name.size - 1}, name)) return m;
    return NULL;
}
