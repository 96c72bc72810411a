/* bind_call.c - which overload a call means, and what its arguments must be converted to.
 *
 * Each conversion has a cost; the overload with the smallest sum wins, the first of equals. Texts
 * written as literals (and parameters) may become anything they can be read as, as in PostgreSQL:
 * that is how `time > '2026-11-21'` and `time_bucket('10 s', time)` work. */
#include "sql/bind_priv.h"
#include "sql/parse.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

enum {
    COST_NULL = 1,
    COST_LITERAL_SIGN = 1,
    COST_WIDEN = 2,
    COST_UNDURATION = 3,
    COST_PARSE = 4,
    COST_PARSE_FAILS = 40
};

char bind_letter(const struct expr *e)
{
    static const char letters[TYPE_COUNT] = {
        [TYPE_BOOL] = 'b', [TYPE_BIGINT] = 'i', [TYPE_UBIGINT] = 'u',   [TYPE_DOUBLE] = 'd',
        [TYPE_TEXT] = 't', [TYPE_BYTES] = 'y',  [TYPE_TIMESTAMP] = 'T', [TYPE_DOUBLES] = 'v'};
    return e->is_duration ? 'D' : letters[e->type];
}

const char *bind_type_text(const struct expr *e)
{
    return e->is_duration ? "duration" : type_name(e->type);
}

/* Reads a text literal as the wanted type. */
static bool parse_literal(struct str text, char letter, struct value *value)
{
    *value = (struct value){.type = function_letter_type(letter)};
    text = str_trim(text);
    if (letter == 'D') return sql_parse_interval(text, &value->i);
    if (letter == 'v') return false;
    return value_parse(text, value->type, value, NULL) == ERR_OK && !value->is_null;
}

static bool is_text_literal(const struct expr *e)
{
    return e->kind == EXPR_CONST && e->is_literal && e->type == TYPE_TEXT && !e->constant.null[0];
}

/* Arrays are texts here, so their items are, too: where a number is wanted, one is read from it. */
static bool is_array_item(const struct expr *e)
{
    return e->kind == EXPR_CALL && e->type == TYPE_TEXT &&
           strcmp(e->function->name, "subscript") == 0;
}

int bind_convert_cost(const struct expr *from, char letter)
{
    struct value value;
    char have = bind_letter(from);
    bool is_literal = from->kind == EXPR_CONST && from->is_literal;
    if (letter == '.' || letter == 'A' || have == letter) return 0;
    if (from->type == TYPE_NONE) return COST_NULL;
    if (is_text_literal(from))
        return parse_literal(expr_value(from).s, letter, &value) ? COST_PARSE : COST_PARSE_FAILS;
    if (is_literal && from->constant.null[0]) return COST_NULL;
    if (have == 'i' && letter == 'u' && from->kind == EXPR_CONST && expr_value(from).i >= 0)
        return COST_LITERAL_SIGN;
    if ((have == 'i' || have == 'u') && letter == 'd') return COST_WIDEN;
    if (is_array_item(from) && (letter == 'i' || letter == 'd')) return COST_PARSE;
    if (have == 'D' && letter == 'i') return COST_UNDURATION;
    if (have == 'D' && letter == 'd') return COST_UNDURATION + COST_WIDEN;
    return -1;
}

static struct expr *convert_literal(struct binder *b, struct expr *from, char letter)
{
    struct value value = {.type = function_letter_type(letter), .is_null = true};
    if (from->param && b->context->param_types)
        b->context->param_types[from->param - 1] = letter == 'D' ? TYPE_TEXT : value.type;
    bool is_null = from->type == TYPE_NONE || from->constant.null[0];
    if (!is_null && !parse_literal(expr_value(from).s, letter, &value)) {
        struct str text = expr_value(from).s;
        return bind_fail(b, ERR_INVALID, from->position, "'%.*s' is not a %s",
                         text.size > 60 ? 60 : (int)text.size, text.at,
                         letter == 'D' ? "duration such as '10 s', '5 minutes', '1 day'"
                                       : type_name(value.type));
    }
    struct expr *e = bind_memory(b, expr_constant(b->arena, &value, from->position));
    if (e) e->is_duration = letter == 'D';
    return e;
}

struct expr *bind_convert(struct binder *b, struct expr *from, char letter)
{
    char have = bind_letter(from);
    enum type to = function_letter_type(letter);
    if (b->err || letter == '.' || have == letter) return b->err ? NULL : from;
    if (from->kind == EXPR_CONST && (from->type == TYPE_NONE || is_text_literal(from) ||
                                     (from->is_literal && from->constant.null[0])))
        return convert_literal(b, from, letter);
    if (from->type == to) { /* a duration read as the number it is, or the reverse */
        struct expr *copy = bind_memory(b, arena_dup(b->arena, from, sizeof *from));
        if (copy) copy->is_duration = letter == 'D';
        return copy;
    }
    struct expr *e = bind_cast(b, from, to, from->position);
    if (e) e->unit = from->unit;
    return e;
}

struct expr *bind_cast(struct binder *b, struct expr *from, enum type type, int32_t position)
{
    if (b->err) return NULL;
    if (from->type == type && !from->is_duration) return from;
    if (from->type == TYPE_NONE) {
        struct value null = {.type = type, .is_null = true};
        return bind_memory(b, expr_constant(b->arena, &null, position));
    }
    if (from->type == type) return bind_convert(b, from, 'i');
    if (from->param && from->type == TYPE_TEXT && b->context->param_types)
        b->context->param_types[from->param - 1] = type; /* $1::bigint: sent as such next time */
    const struct function *cast = cast_find(from->type, type);
    if (!cast)
        return bind_fail(b, ERR_TYPE, position, "%s cannot be cast to %s", bind_type_text(from),
                         type_name(type));
    struct expr **args = bind_memory(b, arena_alloc(b->arena, sizeof *args));
    if (!args) return NULL;
    args[0] = from;
    struct expr *e = bind_memory(b, expr_call(b->arena, cast, type, args, 1, position));
    if (!e) return NULL;
    enum err err = expr_fold(b->arena, &b->eval, &e);
    if (err) b->err = err;
    return err ? NULL : e;
}

char bind_unify(struct expr **args, size_t count)
{
    static const char order[] = {'i', 'u', 'd', 'b', 'T', 'D', 't', 'y', 'v'};
    int best_cost = -1;
    char best = 0;
    bool any = false;
    for (size_t i = 0; i < count; i++) any = any || args[i]->type != TYPE_NONE;
    if (!any) return 't';
    for (size_t o = 0; o < sizeof order; o++) {
        int cost = 0, one = 0;
        bool exact = false;
        for (size_t i = 0; i < count && one >= 0; i++) {
            one = bind_convert_cost(args[i], order[o]);
            cost += one;
            exact = exact || bind_letter(args[i]) == order[o];
        }
        bool fits = one >= 0 && (exact || order[o] == 'd');
        if (fits && (best_cost < 0 || cost < best_cost)) best_cost = cost, best = order[o];
    }
    return best;
}

/* ---- overloads ---- */

/* The letter of argument `i` in "ii", "tA*", …; 0: too many. */
static char letter_at(const char *args, size_t i)
{
    size_t at = 0;
    for (size_t n = 0; n < i && args[at]; n++)
        if (args[at + 1] != '*') at++;
    return args[at] == '*' ? 0 : args[at];
}

static bool count_fits(const char *args, size_t count)
{
    size_t at_least = 0;
    bool more = false;
    for (const char *c = args; *c; c++)
        if (*c == '*')
            more = true, at_least--;
        else
            at_least++;
    return count >= at_least && (more || count == at_least);
}

static int overload_cost(const struct function *f, struct expr **args, size_t count)
{
    int total = 0;
    if (!count_fits(f->args, count)) return -1;
    for (size_t i = 0; i < count; i++) {
        int cost = bind_convert_cost(args[i], letter_at(f->args, i));
        if (cost < 0) return -1;
        total += cost;
    }
    return total;
}

static struct expr *fail_function(struct binder *b, const char *name, struct expr **args,
                                  size_t count, int32_t position)
{
    if (strcmp(name, "generate_series") == 0 || strcmp(name, "unnest") == 0)
        return bind_fail(b, ERR_UNSUPPORTED, position,
                         "%s gives many rows: it stands in FROM, as in SELECT x FROM %s AS q(x)",
                         name,
                         name[0] == 'u' ? "unnest(ARRAY['a', 'b'])" : "generate_series(1, 9)");
    size_t total, known = 0;
    const struct function *table = function_table(&total);
    char types[160] = "";
    size_t used = 0;
    for (size_t i = 0; i < count && used < 100; i++)
        used += (size_t)snprintf(types + used, sizeof types - used, "%s%s", i ? ", " : "",
                                 bind_type_text(args[i]));
    const char **names = bind_memory(b, arena_alloc(b->arena, (total + 64) * sizeof *names));
    if (!names) return NULL;
    for (size_t i = 0; i < total; i++) {
        bool is_operator = table[i].flags & FN_OPERATOR;
        if (strcmp(table[i].name, name) == 0 && is_operator)
            return bind_fail(b, ERR_TYPE, position, "operator \"%s\" does not take %s%s", name,
                             types,
                             strstr(types, "timestamp") && strstr(types, "int")
                                 ? "; add a duration such as 1h to a time"
                                 : "");
        if (strcmp(table[i].name, name) == 0)
            return bind_fail(b, ERR_NO_FUNCTION, position, "%s does not take (%s); for example: %s",
                             name, types, table[i].example);
        if (!is_operator) names[known++] = table[i].name;
    }
    size_t aggregates;
    const struct aggregate *more = aggregate_table(&aggregates);
    for (size_t i = 0; i < aggregates && i < 64; i++) names[known++] = more[i].name;
    int near = str_nearest(str_of(name), names, known);
    return bind_fail(b, ERR_NO_FUNCTION, position, "function \"%s\" does not exist%s%s%s", name,
                     near < 0 ? "; SHOW FUNCTIONS lists them" : "; did you mean \"",
                     near < 0 ? "" : names[near], near < 0 ? "" : "\"?");
}

/* The best of one list; a better one than `*cost` (-1: none yet) replaces it. */
static const struct function *find_in(const struct function *table, size_t total, const char *name,
                                      struct expr **args, size_t count, int *best_cost)
{
    const struct function *best = NULL;
    for (size_t i = 0; i < total; i++) {
        if (strcmp(table[i].name, name) != 0) continue;
        int cost = overload_cost(&table[i], args, count);
        if (cost >= 0 && (*best_cost < 0 || cost < *best_cost)) best = &table[i], *best_cost = cost;
    }
    return best;
}

static const struct function *find_overload(const struct binder *b, const char *name,
                                            struct expr **args, size_t count)
{
    size_t total;
    int cost = -1;
    const struct function *table = function_table(&total);
    const struct sql_functions *more = b->context->functions;
    const struct function *best = find_in(table, total, name, args, count, &cost), *other = NULL;
    if (more) other = find_in(more->rows, more->count, name, args, count, &cost);
    return other ? other : best;
}

/* CASE: every second argument is a condition, the others are values of one type. */
static bool is_condition(const struct function *f, size_t i, size_t count)
{
    return f->special == special_case && i % 2 == 0 && i + 1 < count;
}

/* Converts the arguments; gives the letter of A, or 0 after an error. */
static char convert_args(struct binder *b, const struct function *f, struct expr **args,
                         size_t count, int32_t position)
{
    char common = 't';
    struct expr **values = bind_memory(b, arena_alloc(b->arena, count * sizeof *values));
    size_t value_count = 0;
    if (!values) return 0;
    for (size_t i = 0; i < count; i++)
        if (letter_at(f->args, i) == 'A' && !is_condition(f, i, count))
            values[value_count++] = args[i];
    if (value_count) common = bind_unify(values, value_count);
    if (!common) {
        bind_fail(b, ERR_TYPE, position, "%s mixes types that do not fit together: %s and %s",
                  f->name, bind_type_text(values[0]), bind_type_text(values[value_count - 1]));
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        char letter = letter_at(f->args, i);
        if (letter == 'A') letter = is_condition(f, i, count) ? 'b' : common;
        if (bind_convert_cost(args[i], letter) < 0)
            bind_fail(b, ERR_TYPE, args[i]->position, "%s wants a condition here, this is %s",
                      f->name, bind_type_text(args[i]));
        args[i] = b->err ? NULL : bind_convert(b, args[i], letter);
        if (!args[i]) return 0;
    }
    return common;
}

struct expr *bind_call(struct binder *b, const char *name, struct expr **args, size_t count,
                       int32_t position)
{
    if (b->err) return NULL;
    const struct function *f = find_overload(b, name, args, count);
    if (!f) return fail_function(b, name, args, count, position);
    char common = convert_args(b, f, args, count, position);
    if (!common) return NULL;
    char letter = f->result == 'A' ? common : f->result;
    struct expr *e =
        bind_memory(b, expr_call(b->arena, f, function_letter_type(letter), args, count, position));
    if (!e) return NULL;
    e->is_duration = letter == 'D';
    enum err err = expr_fold(b->arena, &b->eval, &e);
    if (err) b->err = err;
    return err ? NULL : e;
}
