/* func_array.c - regular expressions as operators, and the little of arrays that tools' catalogue
 * queries need.
 *
 * An array is a text as PostgreSQL prints it, {a,b,NULL}: enough for = ANY(…), array_to_string and
 * ARRAY[…]. */
#include "sql/func.h"
#include <string.h>

/* ---- IS DISTINCT FROM: NULL is a value ---- */

enum err kernel_is_distinct(struct eval *eval, const struct expr *e, const struct vector *args,
                            const struct view *view, struct vector *out)
{
    (void)eval, (void)e;
    for (uint32_t k = 0; k < view->selected; k++) {
        uint32_t row = view_row(view, k);
        bool a_null = args[0].type == TYPE_NONE || vector_is_null(&args[0], row);
        bool b_null = args[1].type == TYPE_NONE || vector_is_null(&args[1], row);
        if (a_null || b_null) {
            out->b[row] = a_null != b_null;
            continue;
        }
        struct value a = vector_get(&args[0], row), b = vector_get(&args[1], row);
        out->b[row] = value_compare(&a, &b) != 0;
    }
    return ERR_OK;
}

/* ---- arrays as texts ---- */

struct item {
    bool is_null;
    struct str text; /* quotes taken off, escapes still in it */
};

/* The next item of "{a,"b c",NULL}"; `rest` begins behind "{" or a comma. False at the end. */
static bool next_item(struct str *rest, struct item *item)
{
    size_t at = 0, end;
    while (at < rest->size && rest->at[at] == ' ') at++;
    if (at >= rest->size || rest->at[at] == '}') return false;
    bool quoted = rest->at[at] == '"';
    size_t from = at + quoted;
    for (at = from; at < rest->size; at++) {
        char c = rest->at[at];
        if (c == '\\' && at + 1 < rest->size)
            at++;
        else if (quoted ? c == '"' : c == ',' || c == '}')
            break;
    }
    end = at < rest->size ? at : rest->size;
    item->text = (struct str){rest->at + from, end - from};
    if (!quoted) item->text = str_trim(item->text);
    item->is_null = !quoted && str_is_nocase(item->text, "null");
    if (quoted && at < rest->size) at++;
    while (at < rest->size && rest->at[at] != ',' && rest->at[at] != '}') at++;
    if (at < rest->size && rest->at[at] == ',') at++;
    *rest = (struct str){rest->at + at, rest->size - at};
    return true;
}

static struct str inside(struct str array)
{
    array = str_trim(array);
    if (array.size > 0 && array.at[0] == '{') array.at++, array.size--;
    return array;
}

static bool item_equals(const struct item *item, struct str text)
{
    size_t at = 0;
    for (size_t i = 0; i < item->text.size; i++, at++) {
        if (item->text.at[i] == '\\' && i + 1 < item->text.size) i++;
        if (at >= text.size || text.at[at] != item->text.at[i]) return false;
    }
    return at == text.size;
}

bool array_take_item(const struct value *array, size_t *at, struct arena *scratch,
                     struct value *item, bool *failed)
{
    *item = (struct value){.type = array->type == TYPE_DOUBLES ? TYPE_DOUBLE : TYPE_TEXT};
    if (array->type == TYPE_DOUBLES) {
        if (*at + sizeof item->d > array->s.size) return false;
        memcpy(&item->d, array->s.at + *at, sizeof item->d);
        *at += sizeof item->d;
        return true;
    }
    struct str rest = inside(array->s);
    struct item found;
    const char *end = rest.at + rest.size;
    if (*at) rest = (struct str){array->s.at + *at, (size_t)(end - array->s.at) - *at};
    if (!next_item(&rest, &found)) return false;
    *at = (size_t)(rest.at - array->s.at);
    item->is_null = found.is_null;
    if (found.is_null) return true;
    char *text = arena_alloc(scratch, found.text.size);
    *failed = !text;
    if (!text) return false;
    item->s = (struct str){text, 0};
    for (size_t i = 0; i < found.text.size; i++) {
        if (found.text.at[i] == '\\' && i + 1 < found.text.size) i++;
        text[item->s.size++] = found.text.at[i];
    }
    return true;
}

/* x = ANY(array) */
enum err any_equal_tt(struct eval *eval, const struct expr *e, const struct vector *args,
                      const struct view *view, struct vector *out)
{
    struct buf buf = BUF_EMPTY;
    bool failed = false;
    (void)e;
    for (uint32_t k = 0; k < view->selected && !failed; k++) {
        uint32_t row = view_row(view, k);
        if (args[0].type == TYPE_NONE || vector_is_null(out, row)) continue;
        struct str rest = inside(args[1].s[vector_at(&args[1], row)]);
        struct value wanted = vector_get(&args[0], row);
        struct item item;
        bool found = false;
        buf_clear(&buf);
        value_add_text(&buf, &wanted);
        failed = buf_failed(&buf);
        while (!found && next_item(&rest, &item))
            found = !item.is_null && item_equals(&item, buf_str(&buf));
        out->b[row] = found;
    }
    buf_free(&buf);
    return failed ? expr_no_memory(eval->budget, eval->why) : ERR_OK;
}

static enum err put_text(struct eval *eval, struct vector *out, uint32_t row, struct buf *buf)
{
    char *copy = buf_failed(buf) ? NULL : arena_dup(&eval->scratch, buf->at, buf->size);
    if (!copy && (buf_failed(buf) || buf->size > 0)) {
        buf_free(buf);
        return expr_no_memory(eval->budget, eval->why);
    }
    out->s[row] = (struct str){copy, buf->size};
    buf_clear(buf);
    return ERR_OK;
}

static void add_item(struct buf *buf, const struct item *item)
{
    for (size_t i = 0; i < item->text.size; i++) {
        if (item->text.at[i] == '\\' && i + 1 < item->text.size) i++;
        buf_add_char(buf, item->text.at[i]);
    }
}

/* array_to_string(array, separator): NULLs are left out. */
enum err array_to_string_tt(struct eval *eval, const struct expr *e, const struct vector *args,
                            const struct view *view, struct vector *out)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    (void)e;
    for (uint32_t k = 0; k < view->selected && !err; k++) {
        uint32_t row = view_row(view, k);
        if (vector_is_null(out, row)) continue;
        struct str rest = inside(args[0].s[vector_at(&args[0], row)]);
        struct item item;
        for (bool any = false; next_item(&rest, &item);) {
            if (item.is_null) continue;
            if (any) buf_add_str(&buf, args[1].s[vector_at(&args[1], row)]);
            add_item(&buf, &item);
            any = true;
        }
        err = put_text(eval, out, row, &buf);
    }
    buf_free(&buf);
    return err;
}

/* The item of PostgreSQL's int2vector and oidvector, "0 2 1", which count from 0. */
static bool vector_item(struct str rest, int64_t n, struct buf *buf)
{
    struct str item = {NULL, 0};
    for (int64_t i = 0; i <= n; i++)
        if (!str_split(&rest, ' ', &item)) return false;
    buf_add_str(buf, item);
    return n >= 0;
}

/* array[n], counted from 1: NULL beyond its ends. */
enum err subscript_ti(struct eval *eval, const struct expr *e, const struct vector *args,
                      const struct view *view, struct vector *out)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    (void)e;
    memset(out->null, 1, view->count);
    for (uint32_t k = 0; k < view->selected && !err; k++) {
        uint32_t row = view_row(view, k);
        if (args[0].type == TYPE_NONE || vector_is_null(&args[0], row) ||
            vector_is_null(&args[1], row))
            continue;
        struct str whole = args[0].s[vector_at(&args[0], row)], rest = inside(whole);
        struct item item = {.is_null = true};
        int64_t n = args[1].i[vector_at(&args[1], row)];
        if (whole.size && whole.at[0] != '{') {
            if (!vector_item(whole, n, &buf)) continue;
        } else {
            bool found = n >= 1;
            for (int64_t i = 0; found && i < n; i++) found = next_item(&rest, &item);
            if (!found || item.is_null) continue;
            add_item(&buf, &item);
        }
        out->null[row] = 0;
        err = put_text(eval, out, row, &buf);
    }
    buf_free(&buf);
    return err;
}

void array_add_item(struct buf *buf, const struct value *value)
{
    buf_add_char(buf, buf->size ? ',' : '{');
    if (value->is_null) {
        buf_add_text(buf, "NULL");
        return;
    }
    struct buf text = BUF_EMPTY;
    value_add_text(&text, value);
    bool quoted = text.size == 0 || str_is_nocase(buf_str(&text), "null");
    for (size_t i = 0; i < text.size; i++)
        quoted = quoted || strchr("{},\" \\\t\n", text.at[i]) != NULL;
    if (quoted) buf_add_char(buf, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (quoted && (text.at[i] == '"' || text.at[i] == '\\')) buf_add_char(buf, '\\');
        buf_add_char(buf, text.at[i]);
    }
    if (quoted) buf_add_char(buf, '"');
    buf->failed = buf->failed || text.failed;
    buf_free(&text);
}

/* ARRAY[a, b, …] */
enum err array_any(struct eval *eval, const struct expr *e, const struct vector *args,
                   const struct view *view, struct vector *out)
{
    struct buf buf = BUF_EMPTY;
    enum err err = ERR_OK;
    for (uint32_t k = 0; k < view->selected && !err; k++) {
        uint32_t row = view_row(view, k);
        for (size_t i = 0; i < e->arg_count; i++) {
            struct value v = {.is_null = true};
            if (args[i].type != TYPE_NONE) v = vector_get(&args[i], row);
            array_add_item(&buf, &v);
        }
        if (e->arg_count == 0) buf_add_char(&buf, '{');
        buf_add_char(&buf, '}');
        err = put_text(eval, out, row, &buf);
    }
    buf_free(&buf);
    return err;
}
