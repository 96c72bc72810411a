/* func_json.c - JSON in text columns: looking into it by path, checking, building.
 *
 * A text is walked, not read into a tree: a path is mostly short and the text is looked at once.
 * All steps go through one cursor that fails once and stays failed; nesting is bounded, so no text
 * can exhaust the stack. What is no JSON gives NULL. */
#include "sql/func_priv.h"
#include "base/num.h"
#include <string.h>

enum { JSON_NESTING_MAX = 64 };

struct cursor {
    struct str text;
    size_t at;
    bool failed;
};

static bool is_one_of(char c, const char *set)
{
    return c && strchr(set, c);
}

static void blanks(struct cursor *c)
{
    while (c->at < c->text.size && is_one_of(c->text.at[c->at], " \t\r\n")) c->at++;
}

static char peek(struct cursor *c)
{
    blanks(c);
    return c->at < c->text.size && !c->failed ? c->text.at[c->at] : 0;
}

static bool take(struct cursor *c, char wanted)
{
    if (peek(c) != wanted) return false;
    c->at++;
    return true;
}

/* The string's inside, escapes not resolved. */
static struct str take_string(struct cursor *c)
{
    struct str s = {"", 0};
    if (!take(c, '"')) {
        c->failed = true;
        return s;
    }
    size_t from = c->at;
    for (; c->at < c->text.size && c->text.at[c->at] != '"'; c->at++) {
        if ((unsigned char)c->text.at[c->at] < 0x20) c->failed = true;
        if (c->text.at[c->at] == '\\') c->at++;
    }
    if (c->at >= c->text.size) {
        c->failed = true;
        return s;
    }
    return (struct str){c->text.at + from, c->at++ - from};
}

static void skip(struct cursor *c, int depth);

static void skip_members(struct cursor *c, char end, bool keys, int depth)
{
    c->at++;
    if (take(c, end)) return;
    do {
        if (keys) {
            peek(c);
            (void)take_string(c);
            if (!take(c, ':')) c->failed = true;
        }
        skip(c, depth + 1);
    } while (!c->failed && take(c, ','));
    if (!take(c, end)) c->failed = true;
}

static void skip_scalar(struct cursor *c)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++) {
        size_t size = strlen(words[i]);
        if (c->text.size - c->at >= size && memcmp(c->text.at + c->at, words[i], size) == 0) {
            c->at += size;
            return;
        }
    }
    size_t from = c->at;
    double d;
    while (c->at < c->text.size && is_one_of(c->text.at[c->at], "0123456789+-.eE")) c->at++;
    if (!num_parse_double((struct str){c->text.at + from, c->at - from}, &d)) c->failed = true;
}

/* Moves behind a value of any kind. */
static void skip(struct cursor *c, int depth)
{
    char first = peek(c);
    if (depth > JSON_NESTING_MAX || first == 0) c->failed = true;
    if (c->failed) return;
    if (first == '{')
        skip_members(c, '}', true, depth);
    else if (first == '[')
        skip_members(c, ']', false, depth);
    else if (first == '"')
        (void)take_string(c);
    else
        skip_scalar(c);
}

static struct str take_value(struct cursor *c)
{
    peek(c);
    size_t from = c->at;
    skip(c, 0);
    return c->failed ? (struct str){NULL, 0} : (struct str){c->text.at + from, c->at - from};
}

static bool is_json(struct str text)
{
    struct cursor c = {text, 0, false};
    skip(&c, 0);
    blanks(&c);
    return !c.failed && c.at == text.size;
}

/* ---- steps: at is NULL when there is no such member ---- */

static struct str member(struct str object, struct str key)
{
    struct cursor c = {object, 0, false};
    if (!take(&c, '{') || take(&c, '}')) return (struct str){NULL, 0};
    do {
        peek(&c);
        struct str name = take_string(&c);
        if (!take(&c, ':')) c.failed = true;
        struct str value = take_value(&c);
        if (c.failed) break;
        if (str_equal(name, key)) return value;
    } while (take(&c, ','));
    return (struct str){NULL, 0};
}

static int64_t length_of(struct str array)
{
    struct cursor c = {array, 0, false};
    int64_t n = 0;
    if (!take(&c, '[')) return -1;
    if (take(&c, ']')) return 0;
    do {
        (void)take_value(&c);
        n++;
    } while (!c.failed && take(&c, ','));
    return c.failed || !take(&c, ']') ? -1 : n;
}

/* Counted from 0; negative from the end. */
static struct str element(struct str array, int64_t index)
{
    struct cursor c = {array, 0, false};
    if (index < 0) index += length_of(array);
    if (index < 0 || !take(&c, '[')) return (struct str){NULL, 0};
    if (take(&c, ']')) return (struct str){NULL, 0};
    do {
        struct str value = take_value(&c);
        if (c.failed || index-- == 0) return value;
    } while (take(&c, ','));
    return (struct str){NULL, 0};
}

/* "a.b[0]", "$.a.b[0]", "a.0" */
static struct str by_path(struct str json, struct str path)
{
    size_t at = path.size > 0 && path.at[0] == '$' ? 1 : 0;
    while (at < path.size && json.at) {
        int64_t index;
        if (path.at[at] == '.') {
            at++;
            continue;
        }
        bool bracket = path.at[at] == '[';
        size_t from = at + bracket, to = from;
        while (to < path.size &&
               (bracket ? path.at[to] != ']' : path.at[to] != '.' && path.at[to] != '['))
            to++;
        struct str step = {path.at + from, to - from};
        if (bracket && step.size > 1 && (step.at[0] == '\'' || step.at[0] == '"'))
            json = member(json, (struct str){step.at + 1, step.size - 2});
        else if (num_parse_i64(step, &index))
            json = element(json, index);
        else
            json = member(json, step);
        at = to + bracket;
    }
    return json;
}

/* ---- results ---- */

static void add_code_point(struct buf *buf, uint32_t c)
{
    if (c < 0x80) {
        buf_add_char(buf, (char)c);
        return;
    }
    int n = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    buf_add_char(buf, (char)((0xF00 >> (n + 1)) | (c >> (6 * n))));
    while (n-- > 0) buf_add_char(buf, (char)(0x80 | ((c >> (6 * n)) & 0x3F)));
}

static uint32_t hex4(struct str s, size_t at)
{
    uint32_t c = 0;
    for (size_t i = at; i < at + 4; i++) {
        char d = i < s.size ? s.at[i] : '0';
        c = c << 4 | (uint32_t)(d <= '9' ? d - '0' : (d | 32) - 'a' + 10);
    }
    return c & 0xFFFF;
}

/* The text of a string without its quotes and escapes. */
static void add_unescaped(struct buf *buf, struct str s)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    for (size_t i = 0; i < s.size; i++) {
        if (s.at[i] != '\\' || i + 1 == s.size) {
            buf_add_char(buf, s.at[i]);
            continue;
        }
        char c = s.at[++i];
        const char *known = c ? strchr(from, c) : NULL;
        if (c == 'u') {
            uint32_t code = hex4(s, i + 1);
            i += 4;
            bool pair = code >= 0xD800 && code < 0xDC00 && i + 6 < s.size && s.at[i + 1] == '\\' &&
                        s.at[i + 2] == 'u';
            if (pair) code = 0x10000 + ((code & 0x3FF) << 10) + (hex4(s, i + 3) & 0x3FF), i += 6;
            if (code >= 0xD800 && code < 0xE000) code = 0xFFFD; /* half of a pair */
            add_code_point(buf, code);
        } else {
            buf_add_char(buf, known ? to[known - from] : c);
        }
    }
}

/* `unquoted`: strings without quotes, null as NULL. */
static enum err give(struct eval *eval, const struct expr *e, struct vector *out, uint32_t row,
                     struct str json, bool unquoted)
{
    out->s[row] = STR("");
    if (!json.at || (unquoted && str_is(json, "null"))) {
        func_set_null(e, out, row);
        return ERR_OK;
    }
    if (!unquoted || json.at[0] != '"') {
        out->s[row] = json;
        return ERR_OK;
    }
    struct buf buf = BUF_EMPTY;
    add_unescaped(&buf, (struct str){json.at + 1, json.size - 2});
    enum err err = func_put(eval, e, out, row, &buf);
    buf_free(&buf);
    return err;
}

#define JSON_KERNEL(NAME, FOUND, UNQUOTED)                                                         \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        EACH_ROW(row)                                                                              \
        {                                                                                          \
            struct str json = TEXT(0);                                                             \
            enum err err = give(eval, e, out, row, FOUND, UNQUOTED);                               \
            if (err) return err;                                                                   \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }
JSON_KERNEL(json_extract_tt, by_path(json, TEXT(1)), false)
JSON_KERNEL(json_value_tt, by_path(json, TEXT(1)), true)
JSON_KERNEL(json_member_tt, member(json, TEXT(1)), false)
JSON_KERNEL(json_member_text_tt, member(json, TEXT(1)), true)
JSON_KERNEL(json_element_ti, element(json, INTEGER(1)), false)
JSON_KERNEL(json_element_text_ti, element(json, INTEGER(1)), true)

KERNEL(json_valid_t)
{
    EACH_ROW(row) out->b[row] = is_json(TEXT(0));
    return ERR_OK;
}

KERNEL(json_array_length_t)
{
    EACH_ROW(row)
    {
        int64_t n = length_of(TEXT(0));
        out->i[row] = n < 0 ? 0 : n;
        if (n < 0) func_set_null(e, out, row);
    }
    return ERR_OK;
}

KERNEL(json_type_t)
{
    EACH_ROW(row)
    {
        struct cursor c = {TEXT(0), 0, false};
        char first = peek(&c);
        bool good = is_json(TEXT(0));
        out->s[row] = first == '{'                   ? STR("object")
                      : first == '['                 ? STR("array")
                      : first == '"'                 ? STR("string")
                      : first == 't' || first == 'f' ? STR("boolean")
                      : first == 'n'                 ? STR("null")
                                                     : STR("number");
        if (!good) func_set_null(e, out, row);
    }
    return ERR_OK;
}

/* json_object(k, v, …) and json_array(v, …). */
static enum err build(struct eval *eval, const struct expr *e, const struct vector *args,
                      const struct view *view, struct vector *out, bool object)
{
    struct buf buf = BUF_EMPTY;
    enum err err = object && e->arg_count % 2
                       ? func_fail(eval, e, ERR_INVALID,
                                   "it takes pairs: json_object('mode', mode, 't', temperature)")
                       : ERR_OK;
    for (uint32_t k = 0; k < view->selected && !err; k++) {
        uint32_t row = view_row(view, k);
        buf_add_char(&buf, object ? '{' : '[');
        for (size_t i = 0; i < e->arg_count; i++) {
            bool key = object && i % 2 == 0,
                 null = args[i].type == TYPE_NONE || vector_is_null(&args[i], row);
            struct value v = {.is_null = true};
            if (!null) v = vector_get(&args[i], row);
            if (i > 0) buf_add_char(&buf, object && !key ? ':' : ',');
            if (key && (null || v.type != TYPE_TEXT))
                err = func_fail(eval, e, ERR_INVALID, "names of members are texts, not NULL");
            else if (null)
                buf_add_text(&buf, "null");
            else
                value_add_json(&buf, &v);
        }
        buf_add_char(&buf, object ? '}' : ']');
        if (!err) err = func_put(eval, e, out, row, &buf);
    }
    buf_free(&buf);
    return err;
}

KERNEL(json_object_any)
{
    return build(eval, e, args, view, out, true);
}
KERNEL(json_array_any)
{
    return build(eval, e, args, view, out, false);
}
