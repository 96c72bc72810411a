/* protobuf.c - messages by their types into trees (protobuf.h). As deep as a tree may be, so that
 * reading types in types may call itself. */
#include "stream/protobuf.h"
#include "base/hash.h"
#include "base/timetext.h"
#include "data/protowire.h"
#include <string.h>

enum { MEMBERS_FEW = 16 }; /* a map that has so many is looked through, a larger one has an index */

/* Where a map has the member of a field, or which of a oneof's. A map is known by its first member:
 * that stays the first as long as the map is one. */
struct member_slot {
    const struct payload *first; /* NULL: free */
    const void *what;            /* a field's name, or a oneof */
    struct payload *node;
};

struct message_reader {
    struct payload_maker maker;
    struct why *why;
    struct member_slot *slots; /* in the arena; of all large maps and all oneofs */
    size_t slot_count, used;   /* slot_count: a power of two, or 0 */
};

static enum err no_message(const struct message_reader *r, const struct protobuf_message *type,
                           const char *what)
{
    return why_set(r->why, ERR_SYNTAX, "no message %.*s: %s", (int)(type->name.size - 1),
                   type->name.at + 1, what);
}

static enum err add_node(struct message_reader *r, struct payload *parent, struct payload **node)
{
    enum err err = payload_add(&r->maker, parent, node);
    if (err != ERR_LIMIT) return err;
    return why_set(r->why, err, "more than %d values in one message", PAYLOAD_NODES_MAX);
}

static const struct protobuf_field *find_field(const struct protobuf_message *type, uint32_t number)
{
    size_t low = 0, high = type->field_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (type->fields[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < type->field_count && type->fields[low]->number == number ? type->fields[low]
                                                                          : NULL;
}

/* ---- plain values ---- */

static enum protowire_type wire_of(enum protobuf_type type)
{
    switch (type) {
    case PROTOBUF_DOUBLE:
    case PROTOBUF_FIXED64:
    case PROTOBUF_SFIXED64: return PROTOWIRE_FIXED64;
    case PROTOBUF_FLOAT:
    case PROTOBUF_FIXED32:
    case PROTOBUF_SFIXED32: return PROTOWIRE_FIXED32;
    case PROTOBUF_STRING:
    case PROTOBUF_BYTES:
    case PROTOBUF_MESSAGE:
    case PROTOBUF_GROUP: return PROTOWIRE_BYTES;
    default: return PROTOWIRE_VARINT;
    }
}

/* The name of an enum's value; of a number without one, the number as a text. */
static enum err enum_text(struct message_reader *r, const struct protobuf_enum *e, int32_t number,
                          struct value *v)
{
    *v = (struct value){.type = TYPE_TEXT};
    for (const struct protobuf_enum_value *i = e->first; i; i = i->next)
        if (i->number == number) {
            v->s = i->name;
            return ERR_OK;
        }
    v->s = str_of(arena_printf(r->maker.arena, "%d", number));
    return v->s.size ? ERR_OK : ERR_NO_MEMORY;
}

static int64_t undo_zigzag(uint64_t bits)
{
    return (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
}

/* The bits of a number as its type says. */
static enum err number_value(struct message_reader *r, const struct protobuf_field *f,
                             uint64_t bits, struct value *v)
{
    uint32_t low = (uint32_t)bits;
    float single;
    *v = (struct value){.type = TYPE_BIGINT, .i = (int64_t)bits};
    switch (f->type) {
    case PROTOBUF_DOUBLE: v->type = TYPE_DOUBLE; break; /* the same bits */
    case PROTOBUF_FLOAT:
        memcpy(&single, &low, sizeof single);
        *v = (struct value){.type = TYPE_DOUBLE, .d = (double)single};
        break;
    case PROTOBUF_UINT64:
    case PROTOBUF_FIXED64: v->type = TYPE_UBIGINT; break;
    case PROTOBUF_UINT32:
    case PROTOBUF_FIXED32: v->i = (int64_t)low; break;
    case PROTOBUF_INT32:
    case PROTOBUF_SFIXED32: v->i = (int32_t)low; break;
    case PROTOBUF_SINT32:
    case PROTOBUF_SINT64: v->i = undo_zigzag(bits); break;
    case PROTOBUF_BOOL: *v = (struct value){.type = TYPE_BOOL, .b = bits != 0}; break;
    case PROTOBUF_ENUM: return enum_text(r, f->values, (int32_t)low, v);
    default: break; /* INT64, SFIXED64 */
    }
    return ERR_OK;
}

static bool text_value(const struct protobuf_field *f, struct str bytes, struct value *v)
{
    *v = (struct value){.type = f->type == PROTOBUF_STRING ? TYPE_TEXT : TYPE_BYTES, .s = bytes};
    return f->type != PROTOBUF_STRING || str_is_utf8(bytes);
}

/* ---- messages ---- */

static enum err read_message(struct message_reader *r, const struct protobuf_message *type,
                             struct str bytes, struct payload *into, unsigned depth);

static struct member_slot *find_slot(const struct message_reader *r, const struct payload *first,
                                     const void *what)
{
    const void *key[2] = {first, what};
    size_t at = hash_64(key, sizeof key) & (r->slot_count - 1);
    while (r->slots[at].first && (r->slots[at].first != first || r->slots[at].what != what))
        at = (at + 1) & (r->slot_count - 1);
    return &r->slots[at];
}

static enum err put_slot(struct message_reader *r, const struct payload *first, const void *what,
                         struct payload *node)
{
    if (r->used * 2 >= r->slot_count) {
        struct message_reader before = *r;
        r->slot_count = before.slot_count ? before.slot_count * 2 : 64;
        r->slots = arena_zero(r->maker.arena, r->slot_count, sizeof *r->slots);
        if (!r->slots) return ERR_NO_MEMORY;
        for (size_t i = 0; i < before.slot_count; i++)
            if (before.slots[i].first)
                *find_slot(r, before.slots[i].first, before.slots[i].what) = before.slots[i];
    }
    struct member_slot *slot = find_slot(r, first, what);
    r->used += !slot->first;
    *slot = (struct member_slot){first, what, node};
    return ERR_OK;
}

static struct payload *get_slot(const struct message_reader *r, const struct payload *map,
                                const void *what)
{
    return r->slot_count && map->first ? find_slot(r, map->first, what)->node : NULL;
}

/* The member of a field that is in no oneof; NULL: it has not come. Names are compared by their
 * place. */
static struct payload *find_member(const struct message_reader *r, const struct payload *map,
                                   const struct protobuf_field *f)
{
    if (map->count >= MEMBERS_FEW) return get_slot(r, map, f->name.at);
    struct payload *p = map->first;
    while (p && p->key.at != f->name.at) p = p->next;
    return p;
}

static enum err add_member(struct message_reader *r, struct payload *map,
                           const struct protobuf_field *f, struct payload **node)
{
    enum err err = add_node(r, map, node);
    if (err) return err;
    (*node)->key = f->name;
    if (map->count < MEMBERS_FEW) return ERR_OK;
    struct payload *from = map->count == MEMBERS_FEW ? map->first : *node;
    for (struct payload *p = from; p && !err; p = p->next)
        err = put_slot(r, map->first, p->key.at, p);
    return err;
}

/* Of a oneof only what came last is there: another of its fields takes the member over. */
static enum err oneof_member(struct message_reader *r, const struct protobuf_message *type,
                             struct payload *map, const struct protobuf_field *f,
                             struct payload **node)
{
    const void *oneof = &type->oneofs[f->oneof - 1];
    *node = get_slot(r, map, oneof);
    if (!*node) {
        enum err err = add_member(r, map, f, node);
        return err ? err : put_slot(r, map->first, oneof, *node);
    }
    if ((*node)->key.at != f->name.at)
        **node = (struct payload){.key = f->name, .next = (*node)->next};
    return ERR_OK;
}

/* The member of a field, made at its first use. */
static enum err member(struct message_reader *r, const struct protobuf_message *type,
                       struct payload *map, const struct protobuf_field *f, struct payload **node)
{
    if (f->oneof) return oneof_member(r, type, map, f, node);
    *node = find_member(r, map, f);
    if (*node) return ERR_OK;
    enum err err = add_member(r, map, f, node);
    if (err) return err;
    bool is_map = f->message && f->message->is_map_entry;
    if (f->is_repeated) (*node)->kind = is_map ? PAYLOAD_MAP : PAYLOAD_LIST;
    return ERR_OK;
}

/* seconds and nanos as one time. */
static void make_time(struct payload *p)
{
    const struct payload *s = payload_member(p, STR("seconds")),
                         *n = payload_member(p, STR("nanos"));
    int64_t ns = 0;
    bool good = !s || (s->value.type == TYPE_BIGINT &&
                       !__builtin_mul_overflow(s->value.i, TIME_NS_PER_S, &ns));
    good = good &&
           (!n || (n->value.type == TYPE_BIGINT && !__builtin_add_overflow(ns, n->value.i, &ns)));
    p->kind = PAYLOAD_VALUE;
    p->first = p->last = NULL;
    p->count = 0;
    p->value = good ? (struct value){.type = TYPE_TIMESTAMP, .i = ns}
                    : (struct value){.type = TYPE_NONE, .is_null = true};
}

/* A wrapper is what stands in it. */
static void unwrap(struct payload *p)
{
    const struct payload *v = payload_member(p, STR("value"));
    bool is_plain = v && v->kind == PAYLOAD_VALUE;
    p->value = is_plain ? v->value : (struct value){.type = TYPE_NONE, .is_null = true};
    p->kind = PAYLOAD_VALUE;
    p->first = p->last = NULL;
    p->count = 0;
}

/* A message of a message; one that comes again is merged into what is there. */
static enum err take_message(struct message_reader *r, const struct protobuf_field *f,
                             struct str bytes, struct payload *node, unsigned depth)
{
    MUST(f->message); /* protobuf_schema_read has found it */
    if (node->kind ==
        PAYLOAD_VALUE) { /* fresh, or a time or wrapper, which the later one replaces */
        node->kind = PAYLOAD_MAP;
        node->value = (struct value){.type = TYPE_NONE};
    }
    enum err err = read_message(r, f->message, bytes, node, depth + 1);
    if (!err && f->message->is_timestamp) make_time(node);
    if (!err && f->message->is_wrapper) unwrap(node);
    return err;
}

/* {key = 1, value = 2} becomes a member with the key's text. */
static enum err take_map_entry(struct message_reader *r, const struct protobuf_field *f,
                               struct str bytes, struct payload *map, unsigned depth)
{
    struct payload entry = {.kind = PAYLOAD_MAP}, *node = NULL;
    const struct protobuf_field *key_field = find_field(f->message, 1),
                                *value_field = find_field(f->message, 2);
    if (!key_field || !value_field) return no_message(r, f->message, "a map without key or value");
    enum err err = read_message(r, f->message, bytes, &entry, depth + 1);
    if (!err) err = add_node(r, map, &node);
    if (err) return err;
    const struct payload *key = payload_member(&entry, key_field->name),
                         *value = payload_member(&entry, value_field->name);
    struct buf text = BUF_EMPTY;
    if (key && key->kind == PAYLOAD_VALUE) value_add_text(&text, &key->value);
    const char *own = arena_dup(r->maker.arena, text.size ? text.at : "", text.size);
    struct payload *next = node->next;
    node->value = (struct value){.type = TYPE_NONE, .is_null = true};
    if (value) *node = *value;
    node->next = next;
    node->key = (struct str){own, text.size};
    buf_free(&text);
    return own ? ERR_OK : ERR_NO_MEMORY;
}

/* Numbers one behind the other. */
static enum err take_packed(struct message_reader *r, const struct protobuf_message *type,
                            const struct protobuf_field *f, struct str bytes, struct payload *list)
{
    struct reader in = reader_of(bytes.at, bytes.size);
    enum protowire_type wire = wire_of(f->type);
    struct payload *node = NULL;
    enum err err = ERR_OK;
    while (!err && reader_left(&in)) {
        uint64_t bits = wire == PROTOWIRE_VARINT    ? reader_varint(&in)
                        : wire == PROTOWIRE_FIXED64 ? reader_le64(&in)
                                                    : reader_le32(&in);
        if (!reader_ok(&in)) return no_message(r, type, "a list of numbers is damaged");
        err = add_node(r, list, &node);
        if (!err) err = number_value(r, f, bits, &node->value);
    }
    return err;
}

static enum err take_field(struct message_reader *r, const struct protobuf_message *type,
                           const struct protobuf_field *f, const struct protowire_field *wire,
                           struct payload *into, unsigned depth)
{
    struct payload *node = NULL;
    enum protowire_type wanted = wire_of(f->type);
    if (f->type == PROTOBUF_GROUP) return ERR_OK;
    enum err err = member(r, type, into, f, &node);
    if (err) return err;
    if (f->is_repeated && wanted != PROTOWIRE_BYTES && wire->type == PROTOWIRE_BYTES)
        return take_packed(r, type, f, wire->bytes, node);
    if (wire->type != wanted) return no_message(r, type, "a field is of another wire type");
    if (f->is_repeated && f->message && f->message->is_map_entry)
        return take_map_entry(r, f, wire->bytes, node, depth);
    if (f->is_repeated) err = add_node(r, node, &node);
    if (err) return err;
    if (f->type == PROTOBUF_MESSAGE) return take_message(r, f, wire->bytes, node, depth);
    if (wanted != PROTOWIRE_BYTES) return number_value(r, f, wire->bits, &node->value);
    return text_value(f, wire->bytes, &node->value) ? ERR_OK
                                                    : no_message(r, type, "a text is not UTF-8");
}

/* What proto3 leaves out because it is zero. */
static enum err add_zeros(struct message_reader *r, const struct protobuf_message *type,
                          struct payload *into)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct protobuf_field *f = type->fields[i];
        struct payload *node = NULL;
        if (!f->has_zero || f->type == PROTOBUF_GROUP || find_member(r, into, f)) continue;
        enum err err = add_member(r, into, f, &node);
        bool is_text = f->type == PROTOBUF_STRING || f->type == PROTOBUF_BYTES;
        if (!err && is_text)
            (void)text_value(f, (struct str){"", 0}, &node->value);
        else if (!err)
            err = number_value(r, f, 0, &node->value);
        if (err) return err;
    }
    return ERR_OK;
}

static enum err read_message(struct message_reader *r, const struct protobuf_message *type,
                             struct str bytes, struct payload *into, unsigned depth)
{
    struct reader in = reader_of(bytes.at, bytes.size);
    struct protowire_field wire = {0};
    enum err err = ERR_OK;
    if (depth > PAYLOAD_DEPTH_MAX)
        return why_set(r->why, ERR_LIMIT, "nested too deeply (%d levels are allowed)",
                       PAYLOAD_DEPTH_MAX);
    while (!err && protowire_next(&in, &wire)) {
        const struct protobuf_field *f = find_field(type, wire.number);
        if (f) err = take_field(r, type, f, &wire, into, depth);
    }
    if (!err && !reader_ok(&in))
        err = no_message(r, type,
                         wire.type == PROTOWIRE_GROUP_BEGIN || wire.type == PROTOWIRE_GROUP_END
                             ? "it has a group, and groups are not read"
                             : "the bytes are damaged");
    return err ? err : add_zeros(r, type, into);
}

enum err protobuf_read(const struct protobuf_message *type, struct str bytes, struct arena *arena,
                       struct payload **root, struct why *why)
{
    struct message_reader r = {.maker = {.arena = arena}, .why = why};
    MUST(type && type->fields);
    enum err err = add_node(&r, NULL, root);
    if (err) return err;
    (*root)->kind = PAYLOAD_MAP;
    return read_message(&r, type, bytes, *root, 0);
}
