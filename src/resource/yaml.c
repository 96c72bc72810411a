/* yaml.c - YAML text into document trees, over libyaml's event parser.
 *
 * The event parser bounds what a text can do: no aliases means no exponential growth, and depth and
 * node count are limited here. */
#include "base/map.h"
#include "base/num.h"
#include "resource/doc.h"
#include <string.h>
#include <yaml.h>

struct yaml_in {
    yaml_parser_t parser;
    const char *file;
    struct arena *arena;
    struct why *why;
    size_t nodes;
};

static enum err trouble(struct yaml_in *in, enum err err, const yaml_mark_t *mark, const char *text)
{
    return why_at(in->why, err, (int32_t)mark->index, "%s:%zu:%zu: %s", in->file, mark->line + 1,
                  mark->column + 1, text);
}

static enum err next_event(struct yaml_in *in, yaml_event_t *event)
{
    if (yaml_parser_parse(&in->parser, event)) return ERR_OK;
    const char *text = in->parser.problem ? in->parser.problem : "cannot be read";
    if (in->parser.error == YAML_MEMORY_ERROR) return ERR_NO_MEMORY;
    return trouble(in, ERR_SYNTAX, &in->parser.problem_mark, text);
}

static size_t count_digits(struct str s, size_t from)
{
    size_t at = from;
    while (at < s.size && s.at[at] >= '0' && s.at[at] <= '9') at++;
    return at - from;
}

/* What JSON takes for a number too (RFC 8259 section 6): the literal is written as it is. Whole
 * numbers beyond 64 bits are texts, since no JSON reader here takes them. */
static bool is_number(struct str s)
{
    size_t at = s.size && s.at[0] == '-' ? 1 : 0, digits = count_digits(s, at);
    int64_t whole;
    double d;
    if (digits == 0 || (digits > 1 && s.at[at] == '0')) return false;
    if ((at += digits) == s.size) return num_parse_i64(s, &whole);
    if (s.at[at] == '.') {
        if ((digits = count_digits(s, at + 1)) == 0) return false;
        at += digits + 1;
    }
    if (at < s.size && (s.at[at] | 0x20) == 'e') {
        at += at + 1 < s.size && (s.at[at + 1] == '+' || s.at[at + 1] == '-') ? 2 : 1;
        if ((digits = count_digits(s, at)) == 0) return false;
        at += digits;
    }
    return at == s.size && num_parse_double(s, &d);
}

static enum err scalar(struct yaml_in *in, const yaml_event_t *event, struct doc **out)
{
    struct str text = {(const char *)event->data.scalar.value, event->data.scalar.length};
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    struct doc *doc = doc_new_string(in->arena, text);
    if (!doc) return ERR_NO_MEMORY;
    if (plain && (text.size == 0 || str_is(text, "null") || str_is(text, "~"))) {
        doc->kind = DOC_NULL;
        doc->text = (struct str){0};
    } else if (plain && (str_is(text, "true") || str_is(text, "false"))) {
        doc->kind = DOC_BOOL;
        doc->b = text.size == 4;
        doc->text = (struct str){0};
    } else if (plain && is_number(text)) {
        doc->kind = DOC_NUMBER;
    }
    if (!str_is_utf8(text)) return trouble(in, ERR_SYNTAX, &event->start_mark, "not UTF-8");
    if (memchr(text.at, 0, text.size))
        return trouble(in, ERR_SYNTAX, &event->start_mark, "a NUL character inside a text");
    *out = doc;
    return ERR_OK;
}

static enum err node(struct yaml_in *in, yaml_event_t *event, unsigned depth, struct doc **out);

enum { KEYS_LOOKED_THROUGH = 32 }; /* a map of more keys has an index of them while it is read */

/* Takes note of the map's next key. */
static enum err note_key(struct map *index, const struct doc *map, struct str key, bool *is_there)
{
    size_t from = index->count ? map->count : 0; /* the first time: all that are there */
    enum err err = ERR_OK;
    *is_there = false;
    if (map->count < KEYS_LOOKED_THROUGH) {
        for (size_t i = 0; i < map->count; i++) *is_there |= str_equal(map->items[i].key, key);
        return ERR_OK;
    }
    for (size_t i = from; i < map->count && !err; i++)
        err = map_put(index, map->items[i].key, map->items[i].value, NULL);
    *is_there = map_get(index, key) != NULL;
    return err ? err : map_put(index, key, (void *)(uintptr_t)map, NULL);
}

static enum err map_entry(struct yaml_in *in, yaml_event_t *key_event, unsigned depth,
                          struct doc *map, struct map *index)
{
    bool is_there;
    if (key_event->type != YAML_SCALAR_EVENT)
        return trouble(in, ERR_SYNTAX, &key_event->start_mark, "a key must be plain text");
    char key[256];
    struct str text = {(const char *)key_event->data.scalar.value, key_event->data.scalar.length};
    if (!str_copy(key, sizeof key, text) || strlen(key) != text.size || !str_is_utf8(text))
        return trouble(in, ERR_SYNTAX, &key_event->start_mark, "a key is too long or not text");
    enum err err = note_key(index, map, text, &is_there);
    if (err) return err;
    if (is_there)
        return trouble(in, ERR_SYNTAX, &key_event->start_mark, "the key stands here twice");
    yaml_event_t event;
    struct doc *value = NULL;
    err = next_event(in, &event);
    if (err) return err;
    err = node(in, &event, depth + 1, &value);
    yaml_event_delete(&event);
    if (!err && !doc_add_key(in->arena, map, text, value)) err = ERR_NO_MEMORY;
    return err;
}

/* The inside of a list or map up to its end event. */
static enum err entries(struct yaml_in *in, unsigned depth, struct doc *doc, struct map *index)
{
    yaml_event_type_t end =
        doc->kind == DOC_LIST ? YAML_SEQUENCE_END_EVENT : YAML_MAPPING_END_EVENT;
    for (;;) {
        yaml_event_t event;
        struct doc *value = NULL;
        enum err err = next_event(in, &event);
        if (err) return err;
        if (event.type == end) {
            yaml_event_delete(&event);
            return ERR_OK;
        }
        if (doc->kind == DOC_MAP) {
            err = map_entry(in, &event, depth, doc, index);
        } else {
            err = node(in, &event, depth + 1, &value);
            if (!err && !doc_append(in->arena, doc, value)) err = ERR_NO_MEMORY;
        }
        yaml_event_delete(&event);
        if (err) return err;
    }
}

static enum err collection(struct yaml_in *in, unsigned depth, struct doc *doc)
{
    struct map index;
    map_init(&index);
    enum err err = entries(in, depth, doc, &index);
    map_free(&index);
    return err;
}

static enum err node(struct yaml_in *in, yaml_event_t *event, unsigned depth, struct doc **out)
{
    const yaml_mark_t mark = event->start_mark;
    enum err err = ERR_OK;
    if (depth > DOC_DEPTH_MAX)
        return trouble(in, ERR_LIMIT, &mark, "nested too deeply (32 levels are allowed)");
    if (++in->nodes > DOC_NODES_MAX)
        return trouble(in, ERR_LIMIT, &mark, "too many values (200,000 are allowed)");
    if (event->type == YAML_ALIAS_EVENT)
        return trouble(in, ERR_SYNTAX, &mark,
                       "aliases (*name) are not supported: write the value out");
    if (event->type == YAML_SCALAR_EVENT) {
        err = scalar(in, event, out);
    } else {
        *out = doc_new(in->arena, event->type == YAML_SEQUENCE_START_EVENT ? DOC_LIST : DOC_MAP);
        err = *out ? collection(in, depth, *out) : ERR_NO_MEMORY;
    }
    if (err) return err;
    MUST(*out);
    (*out)->line = (uint32_t)mark.line + 1;
    (*out)->column = (uint32_t)mark.column + 1;
    return ERR_OK;
}

/* Gives each document to `use`. */
static enum err stream(struct yaml_in *in, enum err (*use)(void *arg, struct doc *doc), void *arg)
{
    for (;;) {
        yaml_event_t event;
        enum err err = next_event(in, &event);
        if (err) return err;
        bool done = event.type == YAML_STREAM_END_EVENT;
        bool is_node = event.type == YAML_SCALAR_EVENT || event.type == YAML_SEQUENCE_START_EVENT ||
                       event.type == YAML_MAPPING_START_EVENT || event.type == YAML_ALIAS_EVENT;
        struct doc *doc = NULL;
        in->nodes = 0;
        if (is_node) err = node(in, &event, 0, &doc);
        yaml_event_delete(&event);
        /* An empty document (a trailing "---") is no document. */
        if (!err && doc && doc->kind != DOC_NULL) err = use(arg, doc);
        if (err || done) return err;
    }
}

static enum err read_stream(struct str text, const char *file, struct arena *arena,
                            enum err (*use)(void *arg, struct doc *doc), void *arg, struct why *why)
{
    struct yaml_in in = {.file = file, .arena = arena, .why = why};
    if (text.size > DOC_FILE_BYTES_MAX)
        return why_set(why, ERR_LIMIT, "%s: larger than %d MiB", file, DOC_FILE_BYTES_MAX >> 20);
    if (!yaml_parser_initialize(&in.parser)) return ERR_NO_MEMORY;
    yaml_parser_set_input_string(&in.parser, (const unsigned char *)(text.at ? text.at : ""),
                                 text.size);
    enum err err = stream(&in, use, arg);
    yaml_parser_delete(&in.parser);
    return err;
}

struct gathering {
    struct arena *arena;
    struct doc *list;
};

static enum err gather(void *arg, struct doc *doc)
{
    struct gathering *g = arg;
    return doc_append(g->arena, g->list, doc) ? ERR_OK : ERR_NO_MEMORY;
}

enum err doc_read_yaml(struct str text, const char *file, struct arena *arena, struct doc ***docs,
                       size_t *count, struct why *why)
{
    struct gathering g = {arena, doc_new(arena, DOC_LIST)};
    enum err err = g.list ? read_stream(text, file, arena, gather, &g, why) : ERR_NO_MEMORY;
    if (err) return err;
    *docs = arena_alloc(arena, g.list->count * sizeof **docs);
    if (!*docs) return ERR_NO_MEMORY;
    for (size_t i = 0; i < g.list->count; i++) (*docs)[i] = g.list->items[i].value;
    *count = g.list->count;
    return ERR_OK;
}

struct handing {
    struct arena arena;
    enum err (*use)(void *arg, const struct doc *doc);
    void *arg;
};

static enum err hand(void *arg, struct doc *doc)
{
    struct handing *h = arg;
    enum err err = h->use(h->arg, doc);
    arena_reset(&h->arena);
    return err;
}

enum err doc_each_yaml(struct str text, const char *file,
                       enum err (*use)(void *arg, const struct doc *doc), void *arg,
                       struct why *why)
{
    struct handing h = {.use = use, .arg = arg};
    arena_init(&h.arena, NULL);
    enum err err = read_stream(text, file, &h.arena, hand, &h, why);
    arena_free(&h.arena);
    return err;
}
