/* keys.c - see keys.h: open addressing with linear probing over XXH3. */
#include "sql/keys.h"
#include "base/hash.h"
#include <string.h>

static bool grow_slots(struct keys *keys)
{
    size_t count = keys->slot_count ? keys->slot_count * 2 : 64;
    uint32_t *slots = arena_zero(keys->arena, count, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < keys->count; i++) {
        size_t at = keys->entries[i].hash & (count - 1);
        while (slots[at]) at = (at + 1) & (count - 1);
        slots[at] = (uint32_t)i + 1;
    }
    keys->slots = slots;
    keys->slot_count = count;
    return true;
}

static bool grow_entries(struct keys *keys)
{
    size_t capacity = keys->capacity ? keys->capacity * 2 : 32;
    struct key_entry *entries = arena_alloc(keys->arena, capacity * sizeof *entries);
    if (!entries) return false;
    if (keys->count) memcpy(entries, keys->entries, keys->count * sizeof *entries);
    keys->entries = entries;
    keys->capacity = capacity;
    return true;
}

bool keys_find(const struct keys *keys, struct str bytes, size_t *index)
{
    if (keys->slot_count == 0) return false;
    uint64_t hash = hash_64(bytes.at, bytes.size);
    size_t at = hash & (keys->slot_count - 1);
    for (; keys->slots[at]; at = (at + 1) & (keys->slot_count - 1)) {
        const struct key_entry *entry = &keys->entries[keys->slots[at] - 1];
        if (entry->hash != hash || entry->size != bytes.size) continue;
        if (bytes.size > 0 && memcmp(entry->bytes, bytes.at, bytes.size) != 0) continue;
        *index = keys->slots[at] - 1;
        return true;
    }
    return false;
}

bool keys_find_or_add(struct keys *keys, struct str bytes, size_t *index, bool *added)
{
    *added = false;
    if (keys_find(keys, bytes, index)) return true;
    if (keys->count * 2 >= keys->slot_count && !grow_slots(keys)) return false;
    uint64_t hash = hash_64(bytes.at, bytes.size);
    size_t at = hash & (keys->slot_count - 1);
    while (keys->slots[at]) at = (at + 1) & (keys->slot_count - 1);
    if (keys->count == keys->capacity && !grow_entries(keys)) return false;
    if (keys->count >= UINT32_MAX - 1) return false;
    uint8_t *copy = arena_dup(keys->arena, bytes.at, bytes.size);
    if (!copy) return false;
    keys->entries[keys->count] = (struct key_entry){hash, copy, (uint32_t)bytes.size, 0, NULL};
    *index = keys->count++;
    keys->slots[at] = (uint32_t)keys->count;
    *added = true;
    return true;
}

void keys_encode(struct buf *key, const struct vector *v, uint32_t row)
{
    bool null = v->type == TYPE_NONE || vector_is_null(v, row);
    buf_add_char(key, null ? 1 : 0);
    if (null) return;
    uint32_t at = vector_at(v, row);
    if (type_bytes(v->type) == 0) {
        MUST(v->s[at].size <= UINT32_MAX);
        buf_add_le32(key, (uint32_t)v->s[at].size);
        buf_add(key, v->s[at].at, v->s[at].size);
    } else if (v->type == TYPE_BOOL) {
        buf_add_char(key, (char)v->b[at]);
    } else {
        uint64_t bits = v->u[at];
        if (v->type == TYPE_DOUBLE && v->d[at] == 0) bits = 0; /* -0.0 */
        buf_add_le64(key, bits);
    }
}

struct value keys_decode(struct str *key, enum type type)
{
    struct value value = {.type = type};
    size_t size = type_bytes(type);
    MUST(key->size >= 1);
    value.is_null = key->at[0] != 0;
    key->at++, key->size--;
    if (value.is_null) return value;
    if (size == 0) { /* a slice: its size, then its bytes */
        uint32_t length = 0;
        for (int i = 3; i >= 0; i--) length = length << 8 | (uint8_t)key->at[i];
        value.s = (struct str){key->at + 4, length};
        size = 4 + (size_t)length;
    } else if (type == TYPE_BOOL) {
        value.b = key->at[0] != 0;
    } else {
        for (int i = 7; i >= 0; i--) value.u = value.u << 8 | (uint8_t)key->at[i];
    }
    MUST(key->size >= size);
    key->at += size;
    key->size -= size;
    return value;
}
