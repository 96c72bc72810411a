/* live_wish.c - see live_wish.h. */
#include "listeners/live_wish.h"
#include "resource/doc.h"
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 2048 }; /* of a path and a name that exist; a longer wish fits nothing */

void live_wishes_init(struct live_wishes *wishes)
{
    *wishes = (struct live_wishes){.count = 0};
    arena_init(&wishes->arena, NULL);
    map_init(&wishes->index);
}

void live_wishes_free(struct live_wishes *wishes)
{
    arena_free(&wishes->arena);
    map_free(&wishes->index);
    live_wishes_init(wishes);
}

static bool make_key(char key[KEY_BYTES], struct str device, struct str table, struct str *out)
{
    if (device.size + table.size + 1 > KEY_BYTES) return false;
    if (device.size) memcpy(key, device.at, device.size);
    key[device.size] = 0;
    if (table.size) memcpy(key + device.size + 1, table.at, table.size);
    *out = (struct str){key, device.size + 1 + table.size};
    return true;
}

static int compare(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static enum err read_wish(struct live_wishes *wishes, const struct doc *doc, struct live_wish *wish,
                          struct why *why)
{
    const struct doc *columns = doc_get(doc, "columns");
    wish->device = doc_text(doc_get(doc, "device"));
    wish->table = doc_text(doc_get(doc, "table"));
    if (!columns) return ERR_OK;
    if (columns->kind != DOC_LIST)
        return why_set(why, ERR_INVALID, "subscribe: columns must be a list");
    wish->columns = arena_alloc(&wishes->arena, (columns->count + 1) * sizeof *wish->columns);
    if (!wish->columns) return ERR_NO_MEMORY;
    for (size_t i = 0; i < columns->count; i++)
        wish->columns[wish->column_count++] = doc_text(columns->items[i].value);
    qsort(wish->columns, wish->column_count, sizeof *wish->columns, compare);
    return ERR_OK;
}

static enum err note(struct live_wishes *wishes, struct live_wish *wish)
{
    char text[KEY_BYTES];
    struct str key;
    if (!make_key(text, wish->device, wish->table, &key)) return ERR_OK;
    wishes->kinds[(wish->device.size ? 2 : 0) + (wish->table.size ? 1 : 0)] = true;
    return map_get(&wishes->index, key) ? ERR_OK : map_put(&wishes->index, key, wish, NULL);
}

static enum err read_all(struct live_wishes *wishes, struct str message, struct why *why)
{
    struct doc *doc = NULL;
    enum err err = doc_read_json(message, &wishes->arena, &doc, why);
    if (err) return err;
    const struct doc *list = doc_get(doc, "subscribe");
    if (list && str_is(doc_text(list), "*")) {
        wishes->everything = true;
        return ERR_OK;
    }
    if (!list || list->kind != DOC_LIST || list->count > LIVE_WISHES_MAX)
        return why_set(
            why, ERR_INVALID,
            "send {\"subscribe\": \"*\"} or a list of at most %d {device, table, columns}",
            LIVE_WISHES_MAX);
    wishes->items = arena_zero(&wishes->arena, list->count + 1, sizeof *wishes->items);
    if (!wishes->items) return ERR_NO_MEMORY;
    for (size_t i = 0; i < list->count && !err; i++) {
        err = read_wish(wishes, list->items[i].value, &wishes->items[i], why);
        if (!err) err = note(wishes, &wishes->items[i]);
    }
    wishes->count = list->count;
    return err;
}

enum err live_wishes_read(struct live_wishes *wishes, struct str message, struct why *why)
{
    live_wishes_free(wishes);
    enum err err = read_all(wishes, message, why);
    if (err) live_wishes_free(wishes);
    return err;
}

const struct live_wish *live_wishes_find(const struct live_wishes *wishes, struct str device,
                                         struct str table)
{
    const struct live_wish *found = NULL;
    char text[KEY_BYTES];
    struct str key;
    for (unsigned kind = 0; kind < 4; kind++) {
        if (!wishes->kinds[kind] ||
            !make_key(text, kind & 2 ? device : STR(""), kind & 1 ? table : STR(""), &key))
            continue;
        const struct live_wish *wish = map_get(&wishes->index, key);
        if (wish && (!found || wish < found)) found = wish;
    }
    return found;
}

bool live_wish_has(const struct live_wish *wish, const char *column)
{
    struct str name = str_of(column);
    return wish->column_count == 0 || bsearch(&name, wish->columns, wish->column_count,
                                              sizeof *wish->columns, compare) != NULL;
}
