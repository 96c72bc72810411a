/* doc.c - see doc.h: reading values, building and comparing trees. yaml.c and json.c make trees
 * from text. */
#include "resource/doc.h"
#include "base/map.h"
#include "base/num.h"
#include <stdio.h>
#include <string.h>

struct doc *doc_get(const struct doc *doc, const char *key)
{
    if (!doc || doc->kind != DOC_MAP) return NULL;
    for (size_t i = 0; i < doc->count; i++)
        if (str_is(doc->items[i].key, key)) return doc->items[i].value;
    return NULL;
}

struct doc *doc_find(const struct doc *doc, const char *path)
{
    struct str rest = str_of(path), piece;
    const struct doc *at = doc;
    while (at && str_split(&rest, '.', &piece)) {
        char key[256];
        at = str_copy(key, sizeof key, piece) ? doc_get(at, key) : NULL;
    }
    return (struct doc *)(uintptr_t)at;
}

struct str doc_text(const struct doc *doc)
{
    return doc && (doc->kind == DOC_STRING || doc->kind == DOC_NUMBER) ? doc->text
                                                                       : (struct str){"", 0};
}

/* ---- building ---- */

struct doc *doc_new(struct arena *arena, enum doc_kind kind)
{
    struct doc *doc = arena_zero(arena, 1, sizeof *doc);
    if (doc) doc->kind = kind;
    return doc;
}

struct doc *doc_new_string(struct arena *arena, struct str text)
{
    struct doc *doc = doc_new(arena, DOC_STRING);
    char *own = doc ? arena_strdup(arena, text.at, text.size) : NULL;
    if (!own) return NULL;
    doc->text = (struct str){own, text.size};
    return doc;
}

struct doc *doc_new_int(struct arena *arena, int64_t value)
{
    struct doc *doc = doc_new(arena, DOC_NUMBER);
    char *text = doc ? arena_printf(arena, "%lld", (long long)value) : NULL;
    if (!text) return NULL;
    doc->text = str_of(text);
    return doc;
}

/* The items array doubles inside the arena. */
static struct doc_item *add_item(struct arena *arena, struct doc *doc)
{
    size_t count = doc->count;
    if ((count & (count - 1)) == 0) {
        struct doc_item *items = arena_alloc(arena, (count ? 2 * count : 1) * sizeof *items);
        if (!items) return NULL;
        if (count) memcpy(items, doc->items, count * sizeof *items);
        doc->items = items;
    }
    return &doc->items[doc->count++];
}

bool doc_append(struct arena *arena, struct doc *list, struct doc *value)
{
    MUST(list->kind == DOC_LIST);
    struct doc_item *item = value ? add_item(arena, list) : NULL;
    if (item) *item = (struct doc_item){.value = value};
    return item != NULL;
}

bool doc_add_key(struct arena *arena, struct doc *map, struct str key, struct doc *value)
{
    char *own = value ? arena_strdup(arena, key.at, key.size) : NULL;
    struct doc_item *item = own ? add_item(arena, map) : NULL;
    if (item) *item = (struct doc_item){{own, key.size}, value};
    return item != NULL;
}

bool doc_set_key(struct arena *arena, struct doc *map, struct str key, struct doc *value)
{
    if (!value) return false;
    for (size_t i = 0; i < map->count; i++) {
        if (!str_equal(map->items[i].key, key)) continue;
        map->items[i].value = value;
        return true;
    }
    return doc_add_key(arena, map, key, value);
}

bool doc_set(struct arena *arena, struct doc *map, const char *key, struct doc *value)
{
    MUST(map->kind == DOC_MAP);
    return doc_set_key(arena, map, str_of(key), value);
}

void doc_remove(struct doc *map, const char *key)
{
    if (!map || map->kind != DOC_MAP) return;
    size_t kept = 0;
    for (size_t i = 0; i < map->count; i++)
        if (!str_is(map->items[i].key, key)) map->items[kept++] = map->items[i];
    /* The array is larger than add_item expects at this count, never smaller. */
    map->count = kept;
}

struct doc *doc_copy(struct arena *arena, const struct doc *doc)
{
    struct doc *copy = doc_new(arena, doc->kind);
    if (!copy) return NULL;
    copy->b = doc->b;
    copy->line = doc->line;
    copy->column = doc->column;
    char *text = arena_strdup(arena, doc->text.at, doc->text.size);
    if (!text) return NULL;
    copy->text = (struct str){text, doc->text.size};
    for (size_t i = 0; i < doc->count; i++) {
        struct doc *value = doc_copy(arena, doc->items[i].value);
        bool ok = doc->kind == DOC_MAP ? doc_add_key(arena, copy, doc->items[i].key, value)
                                       : doc_append(arena, copy, value);
        if (!ok) return NULL;
    }
    return copy;
}

/* ---- two trees side by side ---- */

enum { KEYS_FEW = 32 }; /* more are not looked through for each key of another map */

/* Finds keys of a map. */
struct finder {
    const struct doc *map; /* NULL, or no map: nothing is found */
    struct map index;      /* key → value; empty: there are few, or there is no memory for it */
};

static void finder_init(struct finder *f, const struct doc *map)
{
    *f = (struct finder){.map = map && map->kind == DOC_MAP ? map : NULL};
    map_init(&f->index);
    if (!map || !f->map || map->count <= KEYS_FEW) return;
    for (size_t i = map->count; i-- > 0;) {
        if (!map_put(&f->index, map->items[i].key, map->items[i].value, NULL)) continue;
        map_free(&f->index);
        return;
    }
}

/* `at`: where it is looked for first. */
static struct doc *find_key(const struct finder *f, struct str key, size_t at)
{
    const struct doc *map = f->map;
    if (!map) return NULL;
    if (at < map->count && str_equal(map->items[at].key, key)) return map->items[at].value;
    if (f->index.count) return map_get(&f->index, key);
    for (size_t i = 0; i < map->count; i++)
        if (str_equal(map->items[i].key, key)) return map->items[i].value;
    return NULL;
}

static bool merge_into(struct arena *arena, struct doc *result, const struct finder *target,
                       const struct finder *patch)
{
    for (size_t i = 0; target->map && i < target->map->count; i++) {
        const struct doc_item *item = &target->map->items[i];
        const struct doc *change = find_key(patch, item->key, i);
        if (change && change->kind == DOC_NULL) continue;
        struct doc *value =
            change ? doc_merge_patch(arena, item->value, change) : doc_copy(arena, item->value);
        if (!doc_add_key(arena, result, item->key, value)) return false;
    }
    for (size_t i = 0; i < patch->map->count; i++) {
        const struct doc_item *item = &patch->map->items[i];
        MUST(item->value);
        if (item->value->kind == DOC_NULL || find_key(target, item->key, i)) continue;
        if (!doc_add_key(arena, result, item->key, doc_merge_patch(arena, NULL, item->value)))
            return false;
    }
    return true;
}

struct doc *doc_merge_patch(struct arena *arena, const struct doc *target, const struct doc *patch)
{
    if (patch->kind != DOC_MAP) return doc_copy(arena, patch);
    struct doc *result = doc_new(arena, DOC_MAP);
    struct finder of_target, of_patch;
    if (!result) return NULL;
    finder_init(&of_target, target);
    finder_init(&of_patch, patch);
    bool is_done = merge_into(arena, result, &of_target, &of_patch);
    map_free(&of_target.index);
    map_free(&of_patch.index);
    return is_done ? result : NULL;
}

static bool items_equal(const struct doc *a, const struct doc *b)
{
    struct finder of_b;
    bool is_equal = true;
    finder_init(&of_b, b);
    for (size_t i = 0; i < a->count && is_equal; i++) {
        const struct doc *other =
            a->kind == DOC_MAP ? find_key(&of_b, a->items[i].key, i) : b->items[i].value;
        is_equal = other && doc_equal(a->items[i].value, other);
    }
    map_free(&of_b.index);
    return is_equal;
}

bool doc_equal(const struct doc *a, const struct doc *b)
{
    if (!a || !b) return a == b;
    if (a->kind != b->kind || a->count != b->count) return false;
    if (a->kind == DOC_BOOL) return a->b == b->b;
    return str_equal(a->text, b->text) && items_equal(a, b);
}

/* ---- writing ---- */

void doc_write_json(struct buf *out, const struct doc *doc)
{
    switch (doc->kind) {
    case DOC_NULL: buf_add_text(out, "null"); return;
    case DOC_BOOL: buf_add_text(out, doc->b ? "true" : "false"); return;
    case DOC_JSON:
    case DOC_NUMBER: buf_add_str(out, doc->text); return;
    case DOC_STRING: buf_add_json(out, doc->text); return;
    case DOC_LIST:
    case DOC_MAP: break;
    }
    bool map = doc->kind == DOC_MAP;
    buf_add_char(out, map ? '{' : '[');
    for (size_t i = 0; i < doc->count; i++) {
        if (i) buf_add_char(out, ',');
        if (map) {
            buf_add_json(out, doc->items[i].key);
            buf_add_char(out, ':');
        }
        doc_write_json(out, doc->items[i].value);
    }
    buf_add_char(out, map ? '}' : ']');
}

/* A string that YAML would read back as the same string without quotes. */
static bool is_plain(struct str s)
{
    static const char *const words[] = {"true", "false", "null", "~"};
    if (s.size == 0 || s.size > 200) return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (str_is_nocase(s, words[i])) return false;
    struct num_decimal n;
    double d;
    if (num_parse_decimal(s, &n) || num_parse_double(s, &d)) return false;
    for (size_t i = 0; i < s.size; i++) {
        unsigned char c = (unsigned char)s.at[i];
        bool letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!letter && (i == 0 || i + 1 == s.size || !strchr("-./", c))) return false;
    }
    return true;
}

static void add_scalar(struct buf *out, const struct doc *doc)
{
    if (doc->kind == DOC_STRING && is_plain(doc->text))
        buf_add_str(out, doc->text);
    else
        doc_write_json(out, doc);
}

void doc_write_yaml(struct buf *out, const struct doc *doc, unsigned indent)
{
    bool nested = doc->kind == DOC_MAP || doc->kind == DOC_LIST;
    if (!nested || doc->count == 0) {
        add_scalar(out, doc);
        buf_add_char(out, '\n');
        return;
    }
    for (size_t i = 0; i < doc->count; i++) {
        const struct doc *value = doc->items[i].value;
        bool deep = (value->kind == DOC_MAP || value->kind == DOC_LIST) && value->count;
        if (i) buf_printf(out, "%*s", (int)indent, "");
        if (doc->kind == DOC_MAP) {
            struct doc key = {.kind = DOC_STRING, .text = doc->items[i].key};
            add_scalar(out, &key);
            buf_add_char(out, ':');
            if (deep)
                buf_printf(out, "\n%*s", (int)indent + 2, "");
            else
                buf_add_char(out, ' ');
        } else {
            buf_add_text(out, "- ");
        }
        doc_write_yaml(out, value, indent + 2);
    }
}
