/* func_regex.c - functions of regular expressions (regex.h). A constant pattern is compiled once a
 * chunk. */
#include "sql/func_priv.h"
#include "sql/regex.h"
#include <string.h>

struct matcher {
    struct arena arena; /* of the compiled pattern */
    struct regex *regex;
    bool fixed; /* pattern and flags are constants */
    struct str flags;
};

/* Makes the matcher of a row; `extra` is "i" for the operators that fold. */
static enum err prepare(struct matcher *m, struct eval *eval, const struct expr *e,
                        const struct vector *args, uint32_t row, size_t flags_at, const char *extra)
{
    struct why why = WHY_NONE;
    if (m->regex && m->fixed) return ERR_OK;
    m->flags = e->arg_count > flags_at ? TEXT(flags_at) : str_of(extra);
    m->fixed = args[1].is_constant && (e->arg_count <= flags_at || args[flags_at].is_constant);
    arena_reset(&m->arena);
    enum err err = regex_compile(TEXT(1), m->flags, &m->arena, &m->regex, &why);
    if (!err) return ERR_OK;
    m->regex = NULL;
    if (err == ERR_NO_MEMORY) return expr_no_memory(eval->budget, eval->why);
    return func_fail(eval, e, err, "%s", why.text);
}

static enum err spend(void *eval, uint64_t steps)
{
    return eval_spend(eval, steps);
}

static enum err search(struct matcher *m, struct eval *eval, struct str text, size_t from,
                       bool *found, struct str groups[REGEX_GROUPS_MAX])
{
    struct arena scratch;
    const struct regex_watch watch = {spend, eval};
    arena_init(&scratch, eval->budget);
    enum err err = regex_match(m->regex, text, from, &scratch, &watch, found, groups);
    arena_free(&scratch);
    return err == ERR_NO_MEMORY ? expr_no_memory(eval->budget, eval->why) : err;
}

static enum err each_like(struct eval *eval, const struct expr *e, const struct vector *args,
                          const struct view *view, struct vector *out, const char *extra,
                          bool wanted)
{
    struct matcher m = {.regex = NULL};
    struct str groups[REGEX_GROUPS_MAX];
    enum err err = ERR_OK;
    arena_init(&m.arena, eval->budget);
    EACH_ROW(row)
    {
        bool found = false;
        err = prepare(&m, eval, e, args, row, 2, extra);
        if (!err) err = search(&m, eval, TEXT(0), 0, &found, groups);
        if (err) break;
        out->b[row] = found == wanted;
    }
    arena_free(&m.arena);
    return err;
}

KERNEL(regexp_like_tt)
{
    return each_like(eval, e, args, view, out, "", true);
}
KERNEL(regexp_ilike_tt)
{
    return each_like(eval, e, args, view, out, "i", true);
}
KERNEL(regexp_not_like_tt)
{
    return each_like(eval, e, args, view, out, "", false);
}
KERNEL(regexp_not_ilike_tt)
{
    return each_like(eval, e, args, view, out, "i", false);
}

/* The first group of the first match, or the match when the pattern has no group; NULL: none. */
KERNEL(regexp_substr_tt)
{
    struct matcher m = {.regex = NULL};
    struct str groups[REGEX_GROUPS_MAX];
    enum err err = ERR_OK;
    arena_init(&m.arena, eval->budget);
    EACH_ROW(row)
    {
        bool found = false;
        err = prepare(&m, eval, e, args, row, 2, "");
        if (!err) err = search(&m, eval, TEXT(0), 0, &found, groups);
        if (err) break;
        struct str hit =
            found ? groups[regex_group_count(m.regex) > 0 ? 1 : 0] : (struct str){NULL, 0};
        out->s[row] = hit.at ? hit : STR("");
        if (!hit.at) func_set_null(e, out, row);
    }
    arena_free(&m.arena);
    return err;
}

KERNEL(regexp_count_tt)
{
    struct matcher m = {.regex = NULL};
    struct str groups[REGEX_GROUPS_MAX];
    enum err err = ERR_OK;
    arena_init(&m.arena, eval->budget);
    EACH_ROW(row)
    {
        struct str s = TEXT(0);
        bool found = true;
        int64_t count = 0;
        err = prepare(&m, eval, e, args, row, 2, "");
        for (size_t at = 0; at <= s.size && !err && found;) {
            err = search(&m, eval, s, at, &found, groups);
            if (err || !found) break;
            count++;
            at = (size_t)(groups[0].at - s.at) + (groups[0].size ? groups[0].size : 1);
        }
        if (err) break;
        out->i[row] = count;
    }
    arena_free(&m.arena);
    return err;
}

/* \1 … \9 are groups, \& the match, \\ a backslash. */
static void add_replacement(struct buf *buf, struct str with, const struct str *groups,
                            size_t count)
{
    for (size_t i = 0; i < with.size; i++) {
        char next = i + 1 < with.size ? with.at[i + 1] : 0;
        if (with.at[i] != '\\' || next == 0) {
            buf_add_char(buf, with.at[i]);
            continue;
        }
        i++;
        size_t group = next >= '1' && next <= '9' ? (size_t)(next - '0') : 0;
        if (next == '&' || group > 0) {
            if (group <= count && groups[group].at) buf_add_str(buf, groups[group]);
        } else {
            buf_add_char(buf, next);
        }
    }
}

static enum err replace_all(struct matcher *m, struct eval *eval, struct str s, struct str with,
                            struct buf *buf)
{
    struct str groups[REGEX_GROUPS_MAX];
    bool all = m->flags.size > 0 && memchr(m->flags.at, 'g', m->flags.size), found = true;
    size_t done = 0;
    for (size_t at = 0; at <= s.size && found && buf->size <= FUNC_TEXT_BYTES_MAX;) {
        enum err err = search(m, eval, s, at, &found, groups);
        if (err) return err;
        if (!found) break;
        size_t hit = (size_t)(groups[0].at - s.at);
        buf_add(buf, s.at + done, hit - done);
        add_replacement(buf, with, groups, regex_group_count(m->regex));
        done = hit + groups[0].size;
        at = groups[0].size ? done : done + 1;
        if (!all) break;
    }
    buf_add(buf, s.at + done, s.size - done);
    return ERR_OK;
}

KERNEL(regexp_replace_ttt)
{
    struct matcher m = {.regex = NULL};
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    arena_init(&m.arena, eval->budget);
    EACH_ROW(row)
    {
        err = prepare(&m, eval, e, args, row, 3, "");
        if (!err) err = replace_all(&m, eval, TEXT(0), TEXT(2), &buf);
        if (!err) err = func_put(eval, e, out, row, &buf);
        if (err) break;
    }
    buf_free(&buf);
    arena_free(&m.arena);
    return err;
}
