/* path.c - see path.h. */
#include "stream/path.h"
#include "base/num.h"
#include <string.h>

/* ---- reading paths ---- */

struct path_text {
    struct str all, rest;
    struct why *why;
};

static enum err no_path(const struct path_text *in, const char *what)
{
    return why_set(in->why, ERR_INVALID, "'%.*s', byte %zu: %s", (int)in->all.size, in->all.at,
                   in->all.size - in->rest.size + 1, what);
}

static bool take(struct path_text *in, char c)
{
    if (!in->rest.size || in->rest.at[0] != c) return false;
    in->rest = (struct str){in->rest.at + 1, in->rest.size - 1};
    return true;
}

/* Up to the first of the bytes in `ends`, or to the end. */
static struct str take_until(struct path_text *in, const char *ends)
{
    size_t n = 0;
    while (n < in->rest.size && !(in->rest.at[n] && strchr(ends, in->rest.at[n]))) n++;
    struct str taken = {in->rest.at, n};
    in->rest = (struct str){in->rest.at + n, in->rest.size - n};
    return taken;
}

/* ['it''s'] is the key it's. */
static enum err take_quoted(struct path_text *in, char quote, struct arena *arena, struct str *key)
{
    const char ends[] = {quote, 0};
    char *out = arena_alloc(arena, in->rest.size + 1);
    size_t n = 0;
    if (!out) return ERR_NO_MEMORY;
    for (;;) {
        struct str piece = take_until(in, ends);
        memcpy(out + n, piece.at, piece.size);
        n += piece.size;
        if (!take(in, quote)) return no_path(in, "a quote does not end");
        if (!take(in, quote)) break;
        out[n++] = quote;
    }
    *key = (struct str){out, n};
    return ERR_OK;
}

static enum err take_bracket(struct path_text *in, bool may_each, struct arena *arena,
                             struct path_step *step)
{
    enum err err = ERR_OK;
    if (take(in, '*')) {
        step->kind = PATH_EACH;
        if (!may_each) return no_path(in, "[*] is for paths of rows");
    } else if (take(in, '\'')) {
        err = take_quoted(in, '\'', arena, &step->key);
    } else if (take(in, '"')) {
        err = take_quoted(in, '"', arena, &step->key);
    } else {
        step->kind = PATH_INDEX;
        if (!num_parse_u64(take_until(in, "]"), &step->index))
            return no_path(in, "[0], ['name'] or [*] is expected");
    }
    if (err) return err;
    return take(in, ']') ? ERR_OK : no_path(in, "']' is expected");
}

enum err path_read(struct str text, bool may_each, struct arena *arena, struct path *path,
                   struct why *why)
{
    struct path_text in = {text, text, why};
    *path = (struct path){.is_set = true};
    path->of_row = take(&in, '@');
    if (!path->of_row && !take(&in, '$'))
        return no_path(&in, "a path begins with $ (the message) or @ (the row)");
    while (in.rest.size) {
        if (path->count == PATH_STEPS_MAX) return no_path(&in, "a path of more than 16 steps");
        struct path_step *step = &path->steps[path->count++];
        *step = (struct path_step){.kind = PATH_KEY};
        if (take(&in, '[')) {
            enum err err = take_bracket(&in, may_each, arena, step);
            if (err) return err;
            continue;
        }
        if (!take(&in, '.')) return no_path(&in, "'.' or '[' is expected");
        step->key = take_until(&in, ".[");
        if (!step->key.size) return no_path(&in, "a name is expected behind '.'");
    }
    return ERR_OK;
}

/* ---- following them ---- */

static const struct payload *go(const struct payload *at, const struct path_step *step)
{
    return step->kind == PATH_KEY ? payload_member(at, step->key) : payload_item(at, step->index);
}

const struct payload *path_find(const struct path *path, const struct payload *message,
                                const struct payload *row)
{
    const struct payload *at = path->of_row ? row : message;
    for (size_t i = 0; i < path->count && at; i++) {
        MUST(path->steps[i].kind != PATH_EACH);
        at = go(at, &path->steps[i]);
    }
    return at;
}

/* As deep as the path has steps. */
static enum err each_from(const struct path *path, size_t step, const struct payload *at,
                          enum err (*use)(void *arg, const struct payload *row), void *arg)
{
    for (; step < path->count && at && path->steps[step].kind != PATH_EACH; step++)
        at = go(at, &path->steps[step]);
    if (!at) return ERR_OK;
    if (step == path->count) return use(arg, at);
    enum err err = ERR_OK;
    if (at->kind == PAYLOAD_VALUE) return ERR_OK;
    for (const struct payload *p = at->first; p && !err; p = p->next)
        err = each_from(path, step + 1, p, use, arg);
    return err;
}

enum err path_each(const struct path *path, const struct payload *message,
                   enum err (*use)(void *arg, const struct payload *row), void *arg)
{
    MUST(path->is_set && !path->of_row);
    return each_from(path, 0, message, use, arg);
}

/* ---- templates ---- */

static enum err read_braces(struct path_text *in, struct arena *arena, struct template_part *part)
{
    struct str inner = take_until(in, "}");
    struct why why = WHY_NONE;
    if (!take(in, '}')) return no_path(in, "a { does not end");
    if (str_is(inner, "#")) {
        part->kind = TEMPLATE_REST;
    } else if (str_is(inner, "*")) {
        part->kind = TEMPLATE_WILD;
    } else if (num_parse_u64(inner, &part->level) && part->level) {
        part->kind = TEMPLATE_LEVEL;
    } else {
        part->kind = TEMPLATE_PATH;
        enum err err = path_read(inner, false, arena, &part->path, &why);
        if (err == ERR_INVALID)
            return why_set(in->why, err,
                           "{%.*s}: {1} (a level of the topic), {*}, {#} or {$.path} is expected",
                           (int)inner.size, inner.at);
        return err;
    }
    return ERR_OK;
}

enum err template_read(struct str text, struct arena *arena, struct template *made, struct why *why)
{
    struct path_text in = {text, text, why};
    *made = (struct template){.parts = arena_zero(arena, TEMPLATE_PARTS_MAX, sizeof *made->parts)};
    if (!made->parts) return ERR_NO_MEMORY;
    while (in.rest.size) {
        if (made->count == TEMPLATE_PARTS_MAX) return no_path(&in, "more than 16 parts");
        struct template_part *part = &made->parts[made->count++];
        if (!take(&in, '{')) {
            part->text = take_until(&in, "{");
        } else if (take(&in, '{')) {
            part->text = STR("{");
        } else {
            enum err err = read_braces(&in, arena, part);
            if (err) return err;
        }
    }
    return ERR_OK;
}

/* Appends levels of the topic with slashes between. */
static void add_level(struct buf *out, bool *any, struct str level)
{
    if (*any) buf_add_char(out, '/');
    buf_add_str(out, level);
    *any = true;
}

/* The levels that the filter's wildcards, or its # alone, stand for. */
static bool add_wild(struct buf *out, const struct template_source *s, bool plus)
{
    struct str filter = s->filter, topic = s->topic, want, have;
    bool any = false;
    while (str_split(&filter, '/', &want)) {
        if (str_is(want, "#")) {
            while (str_split(&topic, '/', &have)) add_level(out, &any, have);
            break;
        }
        if (!str_split(&topic, '/', &have)) break;
        if (plus && str_is(want, "+")) add_level(out, &any, have);
    }
    return any;
}

static bool add_nth(struct buf *out, struct str topic, uint64_t number)
{
    struct str level = {0};
    for (; number > 0; number--)
        if (!str_split(&topic, '/', &level)) return false;
    buf_add_str(out, level);
    return level.size > 0;
}

static bool add_found(struct buf *out, const struct payload *p)
{
    if (!p || p->kind != PAYLOAD_VALUE || p->value.is_null) return false;
    if (p->literal.size)
        buf_add_str(out, p->literal);
    else
        value_add_text(out, &p->value);
    return true;
}

enum err template_fill(const struct template *made, const struct template_source *s,
                       struct arena *arena, struct str *out, struct why *why)
{
    struct buf text = BUF_EMPTY;
    bool good = true;
    size_t i = 0;
    if (made->count == 1 && made->parts[0].kind == TEMPLATE_TEXT) {
        *out = made->parts[0].text;
        return ERR_OK;
    }
    for (; i < made->count && good; i++) {
        const struct template_part *part = &made->parts[i];
        switch (part->kind) {
        case TEMPLATE_TEXT: buf_add_str(&text, part->text); break;
        case TEMPLATE_LEVEL: good = add_nth(&text, s->topic, part->level); break;
        case TEMPLATE_WILD: good = add_wild(&text, s, true); break;
        case TEMPLATE_REST: good = add_wild(&text, s, false); break;
        case TEMPLATE_PATH: good = add_found(&text, path_find(&part->path, s->message, s->row));
        }
    }
    const char *own =
        buf_failed(&text) ? NULL : arena_dup(arena, text.at ? text.at : "", text.size);
    *out = (struct str){own, text.size};
    buf_free(&text);
    if (!good)
        return why_set(why, ERR_NOT_FOUND, "there is nothing for part %zu of the template", i);
    return own ? ERR_OK : ERR_NO_MEMORY;
}
