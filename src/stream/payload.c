/* payload.c - see payload.h. The reader of JSON keeps its own stack of what is open, so that no
 * text can make it run out of the program's. */
#include "stream/payload.h"
#include "data/json_text.h"
#include <math.h>
#include <string.h>

/* ---- the tree ---- */

enum err payload_add(struct payload_maker *maker, struct payload *list, struct payload **node)
{
    MUST(!list || list->kind != PAYLOAD_VALUE);
    if (maker->nodes == PAYLOAD_NODES_MAX) return ERR_LIMIT;
    struct payload *fresh = arena_zero(maker->arena, 1, sizeof *fresh);
    if (!fresh) return ERR_NO_MEMORY;
    maker->nodes++;
    if (list) {
        *(list->last ? &list->last->next : &list->first) = fresh;
        list->last = fresh;
        list->count++;
    }
    *node = fresh;
    return ERR_OK;
}

const struct payload *payload_member(const struct payload *map, struct str key)
{
    const struct payload *found = NULL;
    if (!map || map->kind != PAYLOAD_MAP) return NULL;
    for (const struct payload *p = map->first; p; p = p->next)
        if (str_equal(p->key, key)) found = p;
    return found;
}

const struct payload *payload_item(const struct payload *list, uint64_t index)
{
    if (!list || list->kind != PAYLOAD_LIST || index >= list->count) return NULL;
    const struct payload *p = list->first;
    while (index-- > 0) p = p->next;
    return p;
}

enum err payload_doubles(const struct payload *list, struct arena *arena, struct value *value)
{
    if (list->kind != PAYLOAD_LIST) return ERR_TYPE;
    double *out = arena_alloc(arena, (list->count + 1) * sizeof *out);
    size_t n = 0;
    if (!out) return ERR_NO_MEMORY;
    for (const struct payload *p = list->first; p; p = p->next) {
        if (p->kind != PAYLOAD_VALUE) return ERR_TYPE;
        const struct value *v = &p->value;
        switch (v->type) {
        case TYPE_NONE: out[n++] = (double)NAN; break;
        case TYPE_BIGINT: out[n++] = (double)v->i; break;
        case TYPE_UBIGINT: out[n++] = (double)v->u; break;
        case TYPE_DOUBLE: out[n++] = v->d; break;
        default: return ERR_TYPE;
        }
    }
    *value = (struct value){.type = TYPE_DOUBLES, .s = {(const char *)out, n * sizeof *out}};
    return ERR_OK;
}

/* ---- JSON ---- */

struct json_tree {
    const char *start, *at, *end;
    struct payload_maker maker;
    struct why *why;
    size_t depth;
    struct payload *open[PAYLOAD_DEPTH_MAX];
};

static enum err no_json(const struct json_tree *in, const char *what)
{
    return why_at(in->why, ERR_SYNTAX, (int32_t)(in->at - in->start), "byte %zu: %s",
                  (size_t)(in->at - in->start) + 1, what);
}

static void skip_space(struct json_tree *in)
{
    while (in->at < in->end &&
           (*in->at == ' ' || *in->at == '\n' || *in->at == '\t' || *in->at == '\r'))
        in->at++;
}

static bool take_char(struct json_tree *in, char c)
{
    skip_space(in);
    if (in->at == in->end || *in->at != c) return false;
    in->at++;
    return true;
}

static bool take_word(struct json_tree *in, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, word, size) != 0) return false;
    in->at += size;
    return true;
}

static enum err take_text(struct json_tree *in, struct str *out)
{
    const char *what = NULL;
    skip_space(in);
    enum err err = json_take_text(&in->at, in->end, in->maker.arena, out, &what);
    return err == ERR_SYNTAX ? no_json(in, what) : err;
}

static enum err take_scalar(struct json_tree *in, struct payload *node)
{
    struct value *v = &node->value;
    bool is_whole = false;
    *v = (struct value){.type = TYPE_BOOL};
    if (in->at < in->end && *in->at == '"') {
        v->type = TYPE_TEXT;
        return take_text(in, &v->s);
    }
    if (take_word(in, "null")) {
        *v = (struct value){.type = TYPE_NONE, .is_null = true};
        return ERR_OK;
    }
    if ((v->b = take_word(in, "true")) || take_word(in, "false")) return ERR_OK;
    if (!json_take_number(&in->at, in->end, &node->literal, &is_whole))
        return no_json(in, "a value is expected");
    if (!json_number_value(node->literal, is_whole, v))
        return no_json(in, "a number out of the range of double");
    return ERR_OK;
}

/* A value, or the beginning of a list or object, which is open then. */
static enum err take_value(struct json_tree *in, struct payload **made)
{
    struct payload *list = in->depth ? in->open[in->depth - 1] : NULL;
    struct str key = {0};
    if (list && list->kind == PAYLOAD_MAP) {
        enum err err = take_text(in, &key);
        if (err) return err;
        if (!take_char(in, ':')) return no_json(in, "':' is expected");
    }
    enum err err = payload_add(&in->maker, list, made);
    if (err == ERR_LIMIT)
        return why_set(in->why, err, "more than %d values in one message", PAYLOAD_NODES_MAX);
    if (err) return err;
    (*made)->key = key;
    bool is_map = take_char(in, '{');
    if (!is_map && !take_char(in, '[')) return take_scalar(in, *made);
    if (in->depth == PAYLOAD_DEPTH_MAX)
        return no_json(in, "nested too deeply (32 levels are allowed)");
    (*made)->kind = is_map ? PAYLOAD_MAP : PAYLOAD_LIST;
    in->open[in->depth++] = *made;
    return ERR_OK;
}

static bool take_end(struct json_tree *in)
{
    if (!take_char(in, in->open[in->depth - 1]->kind == PAYLOAD_MAP ? '}' : ']')) return false;
    in->depth--;
    return true;
}

enum err payload_read_json(struct str text, struct arena *arena, struct payload **root,
                           struct why *why)
{
    if (!text.size) text.at = ""; /* which may be no place at all */
    struct json_tree in = {.start = text.at,
                           .at = text.at,
                           .end = text.at + text.size,
                           .maker = {.arena = arena},
                           .why = why};
    struct payload *made = NULL;
    enum err err = take_value(&in, root);
    bool is_fresh = true; /* what is open has no child yet */
    while (!err && in.depth) {
        if (take_end(&in)) {
            is_fresh = false;
            continue;
        }
        if (!is_fresh && !take_char(&in, ','))
            return no_json(&in, "',' or the end of a list or object is expected");
        size_t depth = in.depth;
        err = take_value(&in, &made);
        is_fresh = in.depth > depth;
    }
    if (err) return err;
    skip_space(&in);
    return in.at == in.end ? ERR_OK : no_json(&in, "something stands behind the value");
}
