/* bind_expr.c - names, literals and trees; what a call means is bind_call.c's. */
#include "sql/bind_priv.h"
#include <stdio.h>
#include <string.h>

void *bind_fail(struct binder *b, enum err err, int32_t position, const char *format, ...)
{
    if (b->err) return NULL;
    char text[WHY_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    b->err = why_at(b->why, err, position, "%s", text);
    return NULL;
}

void *bind_memory(struct binder *b, void *memory)
{
    if (!memory && !b->err) b->err = expr_no_memory(b->context->budget, b->why);
    return memory;
}

bool bind_grow(struct binder *b, void *items_pointer, size_t count, size_t *capacity,
               size_t item_bytes)
{
    if (count < *capacity) return true;
    size_t next = *capacity ? *capacity * 2 : 8;
    void *old, *grown = bind_memory(b, arena_zero(b->arena, next, item_bytes));
    if (!grown) return false;
    memcpy(&old, items_pointer, sizeof old);
    if (count) memcpy(grown, old, count * item_bytes);
    memcpy(items_pointer, &grown, sizeof grown);
    *capacity = next;
    return true;
}

/* ---- inputs ---- */

static uint32_t add_request_column(struct binder *b, uint16_t id)
{
    struct sql_scan_request *request = &b->plan->request;
    for (size_t i = 0; i < request->column_count; i++)
        if (request->columns[i] == id) return (uint32_t)i;
    uint16_t *ids =
        bind_memory(b, arena_alloc(b->arena, (request->column_count + 1) * sizeof *ids));
    if (!ids) return 0;
    if (request->column_count) memcpy(ids, request->columns, request->column_count * sizeof *ids);
    ids[request->column_count] = id;
    request->columns = ids;
    return (uint32_t)request->column_count++;
}

static uint32_t add_request_label(struct binder *b, const char *label)
{
    struct sql_scan_request *request = &b->plan->request;
    for (size_t i = 0; i < request->label_count; i++)
        if (strcmp(request->labels[i], label) == 0) return (uint32_t)i;
    const char **labels =
        bind_memory(b, arena_alloc(b->arena, (request->label_count + 1) * sizeof *labels));
    if (!labels) return 0;
    if (request->label_count)
        memcpy(labels, request->labels, request->label_count * sizeof *labels);
    labels[request->label_count] = label;
    request->labels = labels;
    return (uint32_t)request->label_count++;
}

static struct input new_input(struct binder *b, enum input_kind kind, const struct column *column,
                              const char *label)
{
    static const struct {
        const char *name;
        enum type type;
    } kinds[] = {
        [INPUT_TIME] = {"time", TYPE_TIMESTAMP},
        [INPUT_DEVICE] = {"device", TYPE_TEXT},
        [INPUT_RECEIVED] = {"received", TYPE_TIMESTAMP},
        [INPUT_COLUMN] = {"", TYPE_NONE},
        [INPUT_LABEL] = {"", TYPE_TEXT},
        [INPUT_WINDOW] = {"window", TYPE_BIGINT},
        [INPUT_QUALITY] = {"quality", TYPE_TEXT},
        [INPUT_COLUMN_QUALITY] = {"quality", TYPE_TEXT},
    };
    struct input input = {kind, kinds[kind].type, kinds[kind].name, "", 0};
    if (column) input.slot = add_request_column(b, column->id);
    if (column && kind == INPUT_COLUMN)
        input.type = column->type, input.name = column->name, input.unit = column->unit;
    if (label) input.slot = add_request_label(b, label), input.name = label;
    b->plan->request.want_time |= kind == INPUT_TIME;
    b->plan->request.want_device |= kind == INPUT_DEVICE;
    b->plan->request.want_received |= kind == INPUT_RECEIVED;
    return input;
}

struct expr *bind_input(struct binder *b, enum input_kind kind, const struct column *column,
                        const char *label, int32_t position)
{
    struct plan *plan = b->plan;
    struct input input = new_input(b, kind, column, label);
    size_t i = 0;
    while (i < plan->input_count &&
           (plan->inputs[i].kind != kind || plan->inputs[i].slot != input.slot))
        i++;
    if (i == plan->input_count) {
        if (!bind_grow(b, &plan->inputs, i, &plan->input_capacity, sizeof *plan->inputs))
            return NULL;
        plan->inputs[plan->input_count++] = input;
    }
    struct expr *e = bind_memory(b, expr_input(b->arena, (uint32_t)i, input.type, position));
    if (!e) return NULL;
    e->unit = input.unit;
    e->series_constant = kind == INPUT_DEVICE || kind == INPUT_LABEL;
    return e;
}

/* ---- names ---- */

static bool names_table(const struct binder *b, struct str qualifier)
{
    if (!b->select || !b->plan) return false;
    return str_equal(qualifier, b->select->from.alias) ||
           str_equal(qualifier, b->select->from.name);
}

static const char *find_label(const struct sql_table *table, struct str name)
{
    for (size_t i = 0; i < table->label_count; i++)
        if (str_is(name, table->labels[i])) return table->labels[i];
    return NULL;
}

static const struct {
    const char *name;
    enum input_kind kind;
} reserved_columns[] = {{"time", INPUT_TIME},
                        {"device", INPUT_DEVICE},
                        {"received", INPUT_RECEIVED},
                        {"quality", INPUT_QUALITY}};
enum { RESERVED_COUNT = sizeof reserved_columns / sizeof reserved_columns[0] };

static struct expr *fail_unknown_name(struct binder *b, const struct ast *tree)
{
    const struct sql_table *table = &b->plan->table;
    const struct schema *schema = table->schema;
    size_t count = 0, total = RESERVED_COUNT + schema->column_count + table->label_count;
    const char **names = bind_memory(b, arena_alloc(b->arena, total * sizeof *names));
    if (!names) return NULL;
    for (uint32_t i = 0; i < schema->column_count; i++) names[count++] = schema->columns[i].name;
    for (size_t i = 0; i < table->label_count; i++) names[count++] = table->labels[i];
    for (size_t i = 0; table->has_series && i < RESERVED_COUNT; i++)
        names[count++] = reserved_columns[i].name;
    int near = str_nearest(tree->text, names, count);
    return bind_fail(
        b, ERR_NO_COLUMN, tree->position, "column \"%.*s\" does not exist in table %s%s%s%s",
        tree->text.size > 80 ? 80 : (int)tree->text.size, tree->text.at, schema->name,
        near < 0 ? "" : "; did you mean \"", near < 0 ? "" : names[near], near < 0 ? "" : "\"?");
}

static struct expr *null_text(struct binder *b, int32_t position)
{
    struct value null = {.type = TYPE_TEXT, .is_null = true};
    return bind_memory(b, expr_constant(b->arena, &null, position));
}

/* A name among the table's columns; a column hides a label, `label.x` names the label. */
static struct expr *bind_column_name(struct binder *b, const struct ast *tree)
{
    const struct sql_table *table = &b->plan->table;
    bool wants_label =
        table->has_series && str_is(tree->qualifier, "label") && !names_table(b, tree->qualifier);
    if (tree->qualifier.size > 0 && !wants_label && !names_table(b, tree->qualifier))
        return bind_fail(b, ERR_NO_TABLE, tree->position,
                         "\"%.*s\" is not a table of this statement; write %s.%.*s or label.%.*s",
                         (int)tree->qualifier.size, tree->qualifier.at, b->plan->table.schema->name,
                         (int)tree->text.size, tree->text.at, (int)tree->text.size, tree->text.at);
    for (size_t i = 0; table->has_series && !wants_label && i < RESERVED_COUNT; i++)
        if (str_is(tree->text, reserved_columns[i].name))
            return bind_input(b, reserved_columns[i].kind, NULL, NULL, tree->position);
    const struct column *column = wants_label ? NULL : schema_find(table->schema, tree->text);
    if (column) return bind_input(b, INPUT_COLUMN, column, NULL, tree->position);
    const char *label = find_label(table, tree->text);
    if (label) return bind_input(b, INPUT_LABEL, NULL, label, tree->position);
    /* No device has this label (yet): asked for by its full name it is NULL everywhere. */
    return wants_label ? null_text(b, tree->position) : fail_unknown_name(b, tree);
}

struct expr *bind_name(struct binder *b, const struct ast *tree)
{
    if (b->place == PLACE_GROUP) return bind_group_name(b, tree);
    if (b->place == PLACE_NOTHING || !b->plan->has_table)
        return bind_fail(b, ERR_NO_COLUMN, tree->position,
                         "column \"%.*s\": there is no table to take it from here%s",
                         tree->text.size > 80 ? 80 : (int)tree->text.size, tree->text.at,
                         tree->quoted ? "; texts stand in single quotes" : "");
    if (bind_window_name(tree) != NOT_A_WINDOW_NAME &&
        !schema_find(b->plan->table.schema, tree->text))
        return bind_fail(b, ERR_GROUPING, tree->position,
                         "%.*s can only be selected, and only with a window: WINDOW TUMBLE(10s)",
                         (int)tree->text.size, tree->text.at);
    return bind_column_name(b, tree);
}

/* quality(column) */
struct expr *bind_quality_call(struct binder *b, const struct ast *tree)
{
    const struct ast *arg = tree->arg_count == 1 ? tree->args[0] : NULL;
    if (b->place == PLACE_GROUP)
        return bind_fail(b, ERR_GROUPING, tree->position,
                         "quality(…) must be in GROUP BY or inside an aggregate");
    const struct column *column = NULL;
    if (arg && arg->kind == AST_NAME && b->place != PLACE_NOTHING && b->plan->has_table)
        column = schema_find(b->plan->table.schema, arg->text);
    if (!column && arg && arg->kind == AST_NAME)
        return bind_name(b, arg)
                   ? bind_fail(b, ERR_TYPE, arg->position, "quality(…) takes a column of values")
                   : NULL;
    if (!column)
        return bind_fail(b, ERR_TYPE, tree->position, "quality(…) takes one column's name");
    return bind_input(b, INPUT_COLUMN_QUALITY, column, NULL, tree->position);
}

/* ---- trees ---- */

static struct expr *bind_literal(struct binder *b, const struct ast *tree)
{
    struct expr *e = bind_memory(b, expr_constant(b->arena, &tree->value, tree->position));
    if (!e) return NULL;
    e->is_literal = true;
    e->is_duration = tree->is_duration;
    return e;
}

static struct expr *bind_param(struct binder *b, const struct ast *tree)
{
    if (tree->value.i > (int64_t)b->context->param_count)
        return bind_fail(b, ERR_INVALID, tree->position,
                         "$%lld: the statement was given %zu parameters", (long long)tree->value.i,
                         b->context->param_count);
    struct expr *e = bind_memory(
        b, expr_constant(b->arena, &b->context->params[tree->value.i - 1], tree->position));
    if (e) e->is_literal = true;
    return e;
}

static struct expr *bind_tree_call(struct binder *b, const struct ast *tree)
{
    bool is_fill;
    struct expr *fill = bind_fill_call(b, tree, &is_fill);
    if (is_fill) return fill;
    if (aggregate_exists(tree->text)) return bind_aggregate(b, tree);
    if (str_is(tree->text, "quality")) return bind_quality_call(b, tree);
    if (bind_window_name(tree) != NOT_A_WINDOW_NAME) { /* eKuiper's window_start() */
        struct ast name = {
            .kind = AST_NAME, .position = tree->position, .text = tree->text, .qualifier = STR("")};
        return bind_name(b, &name);
    }
    if (tree->distinct)
        return bind_fail(b, ERR_SYNTAX, tree->position, "DISTINCT belongs into aggregates only");
    struct expr **args = bind_memory(b, arena_zero(b->arena, tree->arg_count, sizeof *args));
    for (size_t i = 0; args && i < tree->arg_count; i++) {
        if (tree->args[i]->kind == AST_STAR)
            return bind_fail(b, ERR_SYNTAX, tree->args[i]->position,
                             "\"*\" is an argument of count only");
        args[i] = bind_expr(b, tree->args[i]);
        if (!args[i]) return NULL;
    }
    if (!args) return NULL;
    char name[64];
    (void)str_copy(name, sizeof name, tree->text);
    return bind_call(b, name, args, tree->arg_count, tree->position);
}

struct expr *bind_expr(struct binder *b, const struct ast *tree)
{
    if (b->err || !tree) return NULL;
    if (b->place == PLACE_GROUP && tree->kind != AST_LITERAL) {
        int key = bind_find_key(b, tree);
        if (key >= 0) {
            const struct expr *from = b->plan->keys[key].expr;
            struct expr *e =
                bind_memory(b, expr_input(b->arena, (uint32_t)key, from->type, tree->position));
            if (!e) return NULL;
            e->is_duration = from->is_duration;
            e->unit = from->unit;
            return e;
        }
    }
    switch (tree->kind) {
    case AST_LITERAL: return bind_literal(b, tree);
    case AST_PARAM: return bind_param(b, tree);
    case AST_NAME: return bind_name(b, tree);
    case AST_STAR:
        return bind_fail(b, ERR_SYNTAX, tree->position,
                         "\"*\" stands alone in a select list or in count(*)");
    case AST_CALL: return bind_tree_call(b, tree);
    case AST_CAST: {
        struct expr *from = bind_expr(b, tree->args[0]);
        return from ? bind_cast(b, from, tree->type, tree->position) : NULL;
    }
    }
    return NULL;
}

struct expr *bind_condition(struct binder *b, const struct ast *tree, const char *where)
{
    struct expr *e = bind_expr(b, tree);
    if (!e) return NULL;
    if (bind_convert_cost(e, 'b') < 0)
        return bind_fail(b, ERR_TYPE, tree->position, "%s wants a condition, this is %s", where,
                         bind_type_text(e));
    return bind_convert(b, e, 'b');
}
