/* bind_name.c - what a name means: a column, a label or a pseudo column of a table; a column of a
 * sub-query; of one side of a join; of the query around this one.
 *
 * Looking for a name and making an input of it are apart: first every side is asked (find_…), so
 * that an ambiguous name is an error and a query inside another can ask outwards; then the one that
 * has it gives an input, which appears in the request of its scan. */
#include "sql/bind_priv.h"
#include <string.h>

static const struct {
    const char *name;
    enum input_kind kind;
} reserved_columns[] = {{"time", INPUT_TIME},
                        {"device", INPUT_DEVICE},
                        {"received", INPUT_RECEIVED},
                        {"quality", INPUT_QUALITY}};
enum { RESERVED_COUNT = sizeof reserved_columns / sizeof reserved_columns[0] };

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
        [INPUT_SERIES] = {"", TYPE_NONE},
        [INPUT_QUALITY] = {"quality", TYPE_TEXT},
        [INPUT_COLUMN_QUALITY] = {"quality", TYPE_TEXT},
    };
    struct input input = {kind, kinds[kind].type, kinds[kind].name, "", 0, 0};
    if (column) input.slot = add_request_column(b, column->id);
    if (column && kind == INPUT_COLUMN)
        input.type = column->type, input.name = column->name, input.unit = column->unit;
    if (label) input.slot = add_request_label(b, label), input.name = label;
    b->plan->request.want_time |= kind == INPUT_TIME;
    b->plan->request.want_device |= kind == INPUT_DEVICE;
    b->plan->request.want_received |= kind == INPUT_RECEIVED;
    return input;
}

/* Adds the input to the plan or finds it there; gives the expression that reads it. */
static struct expr *add_input(struct binder *b, const struct input *input, int32_t position)
{
    struct plan *plan = b->plan;
    size_t i = 0;
    while (i < plan->input_count &&
           (plan->inputs[i].kind != input->kind || plan->inputs[i].slot != input->slot ||
            plan->inputs[i].side != input->side))
        i++;
    if (i == plan->input_count) {
        if (!bind_grow(b, &plan->inputs, i, &plan->input_capacity, sizeof *plan->inputs))
            return NULL;
        plan->inputs[plan->input_count++] = *input;
    }
    struct expr *e = bind_memory(b, expr_input(b->arena, (uint32_t)i, input->type, position));
    if (e) e->unit = input->unit;
    return e;
}

struct expr *bind_input(struct binder *b, enum input_kind kind, const struct column *column,
                        const char *label, int32_t position)
{
    if (b->plan->from != FROM_TABLE) { /* a pseudo column by its name, whatever has it */
        struct ast name = {.kind = AST_NAME,
                           .position = position,
                           .text = str_of(kind == INPUT_DEVICE ? "device" : "time"),
                           .qualifier = STR(""),
                           .schema = STR("")};
        MUST(kind == INPUT_TIME || kind == INPUT_DEVICE);
        return bind_column_name(b, &name);
    }
    struct input input = new_input(b, kind, column, label);
    struct expr *e = b->err ? NULL : add_input(b, &input, position);
    if (e) e->series_constant = kind == INPUT_DEVICE || kind == INPUT_LABEL;
    return e;
}

struct expr *bind_made_input(struct binder *b, enum input_kind kind, enum type type, uint32_t slot,
                             int32_t position)
{
    struct input input = {kind, type, "window", "", slot, INPUT_NO_SIDE};
    MUST(b->plan->from == FROM_TABLE || b->plan->from == FROM_QUERY);
    return add_input(b, &input, position);
}

/* A column of a sub-query or of a set. Rows that still come by series keep the meaning of time and
 * device. */
static struct expr *bind_output_input(struct binder *b, uint32_t output, int32_t position)
{
    const struct plan *plan = b->plan, *query = plan->query;
    if (plan->from != FROM_QUERY) { /* SET, VALUES: the inputs are there already */
        MUST(output < plan->input_count);
        const struct input *input = &plan->inputs[output];
        struct expr *e = bind_memory(b, expr_input(b->arena, output, input->type, position));
        return e;
    }
    const struct expr *from = query->outputs[output];
    struct input input = {INPUT_COLUMN, from->type, plan->names[output], from->unit, output, 0};
    bool is_time = strcmp(input.name, "time") == 0 && from->type == TYPE_TIMESTAMP;
    bool is_device = strcmp(input.name, "device") == 0 && from->type == TYPE_TEXT;
    if (plan->table.has_series && is_time) input.kind = INPUT_TIME;
    if (plan->table.has_series && is_device) input.kind = INPUT_DEVICE;
    struct expr *e = add_input(b, &input, position);
    if (!e) return NULL;
    e->is_duration = from->is_duration;
    e->series_constant = plan->table.has_series && from->series_constant;
    return e;
}

/* ---- finding ---- */

static bool names_plan(const struct plan *plan, struct str schema, struct str qualifier)
{
    if (schema.size > 0 && !str_is(schema, "public") && !str_is(schema, "sys") &&
        !str_is(schema, "pg_catalog") && !str_is(schema, "information_schema"))
        return false;
    /* Another name hides the table's own where there may be two of it. */
    return str_equal(qualifier, plan->alias) ||
           (!plan->is_side && str_equal(qualifier, plan->name));
}

static const char *find_label(const struct sql_table *table, struct str name)
{
    for (size_t i = 0; i < table->label_count; i++)
        if (str_is(name, table->labels[i])) return table->labels[i];
    return NULL;
}

static bool names_label(const struct ast *tree)
{
    return str_is(tree->qualifier, "label");
}

/* A name among a table's columns; a column hides a label, `label.x` names the label. */
static enum found find_in_table(const struct plan *plan, const struct ast *tree,
                                struct column_ref *ref)
{
    const struct sql_table *table = &plan->table;
    bool qualified = tree->qualifier.size > 0 && names_plan(plan, tree->schema, tree->qualifier);
    bool wants_label = !qualified && table->has_series && names_label(tree) &&
                       (tree->schema.size == 0 || names_plan(plan, STR(""), tree->schema));
    if (tree->qualifier.size > 0 && !qualified && !wants_label) return FOUND_NONE;
    for (size_t i = 0; table->has_series && !wants_label && i < RESERVED_COUNT; i++) {
        if (!str_is(tree->text, reserved_columns[i].name)) continue;
        ref->kind = reserved_columns[i].kind;
        return FOUND_ONE;
    }
    ref->column = wants_label ? NULL : schema_find(table->schema, tree->text);
    ref->kind = ref->column ? INPUT_COLUMN : INPUT_LABEL;
    if (ref->column) return FOUND_ONE;
    ref->label = find_label(table, tree->text);
    /* No device has this label (yet): asked for by its full name it is NULL everywhere. */
    ref->is_null = wants_label && !ref->label;
    return ref->label || wants_label ? FOUND_ONE : FOUND_NONE;
}

static enum found find_in_names(const struct plan *plan, const struct ast *tree,
                                struct column_ref *ref)
{
    size_t count = plan->from == FROM_QUERY ? plan->query->visible_count : plan->visible_count;
    size_t hits = 0;
    if (tree->qualifier.size > 0 && !names_plan(plan, tree->schema, tree->qualifier))
        return FOUND_NONE;
    for (size_t i = 0; i < count; i++) {
        if (!str_is(tree->text, plan->names[i])) continue;
        if (hits++ == 0) ref->output = (uint32_t)i;
    }
    return hits == 0 ? FOUND_NONE : hits == 1 ? FOUND_ONE : FOUND_MANY;
}

static enum found find_in_side(const struct plan *plan, const struct ast *tree,
                               struct column_ref *ref)
{
    *ref = (struct column_ref){0};
    if (plan->from == FROM_TABLE) return find_in_table(plan, tree, ref);
    return plan->from == FROM_ONE_ROW ? FOUND_NONE : find_in_names(plan, tree, ref);
}

static bool is_merged(const struct join *join, struct str name)
{
    for (size_t i = 0; i < join->name_count; i++)
        if (str_equal(join->names[i], name)) return true;
    return false;
}

/* Among the sides of a join. Columns merged by USING are one: that of the side that always has
 * it. */
enum found bind_find_in_join(const struct plan *plan, const struct join *join,
                             const struct ast *tree, struct column_ref *ref)
{
    if (!join->left) {
        enum found found = find_in_side(plan->sides[join->first], tree, ref);
        ref->side = join->first;
        return found;
    }
    struct column_ref right;
    enum found in_left = bind_find_in_join(plan, join->left, tree, ref);
    enum found in_right = bind_find_in_join(plan, join->right, tree, &right);
    bool merged = tree->qualifier.size == 0 && is_merged(join, tree->text);
    if (in_left && in_right && merged && in_left == FOUND_ONE && in_right == FOUND_ONE) {
        ref->is_merged = join->kind == JOIN_FULL;
        ref->join = join;
        return FOUND_ONE;
    }
    /* A label that nobody has is found everywhere; one that somebody has is meant. */
    if (in_left == FOUND_ONE && in_right == FOUND_ONE && ref->is_null != right.is_null) {
        if (ref->is_null) *ref = right;
        return FOUND_ONE;
    }
    if (in_left && in_right) return ref->is_null ? FOUND_ONE : FOUND_MANY;
    if (in_right) *ref = right;
    return in_left ? in_left : in_right;
}

static enum found find_name(const struct binder *b, const struct ast *tree, struct column_ref *ref)
{
    const struct plan *plan = b->plan;
    if (!plan || !plan->has_table) return FOUND_NONE;
    if (plan->from != FROM_JOIN) return find_in_side(plan, tree, ref);
    return bind_find_in_join(plan, b->scope ? b->scope : plan->join, tree, ref);
}

/* "press.device" and "device" are one column where press is the only table; "label.device", "b.n"
 * beside "a.n", and the same name of the query around this one are others. */
bool bind_same_name(const struct binder *b, const struct ast *x, const struct ast *y)
{
    struct column_ref one, other;
    if (!str_equal(x->text, y->text)) return false;
    enum found found = find_name(b, x, &one);
    if (found != find_name(b, y, &other)) return false;
    if (found != FOUND_ONE) /* not of this query, or no column of it yet */
        return str_equal(x->qualifier, y->qualifier) && str_equal(x->schema, y->schema);
    return one.side == other.side && one.kind == other.kind && one.column == other.column &&
           one.label == other.label && one.output == other.output && one.is_null == other.is_null &&
           one.is_merged == other.is_merged;
}

/* ---- from what was found to an expression ---- */

static struct expr *null_text(struct binder *b, int32_t position)
{
    struct value null = {.type = TYPE_TEXT, .is_null = true};
    return bind_memory(b, expr_constant(b->arena, &null, position));
}

static struct expr *bind_plain_ref(struct binder *b, const struct column_ref *ref, int32_t position)
{
    if (ref->is_null) return null_text(b, position);
    if (b->plan->from != FROM_TABLE) return bind_output_input(b, ref->output, position);
    return bind_input(b, ref->kind, ref->column, ref->label, position);
}

/* The side's input becomes one of the join's. Rows of a join come in no series' order, so nothing
 * is constant in a series any more. */
static struct expr *bind_side_ref(struct binder *b, const struct column_ref *ref, int32_t position)
{
    struct plan *plan = b->plan, *side = plan->sides[ref->side];
    b->plan = side;
    struct expr *inner = bind_plain_ref(b, ref, position);
    b->plan = plan;
    if (!inner || inner->kind != EXPR_INPUT) return inner;
    struct input input = side->inputs[inner->input];
    input.slot = inner->input;
    input.side = (uint32_t)ref->side;
    struct expr *e = add_input(b, &input, position);
    if (e) e->is_duration = inner->is_duration;
    return e;
}

/* A column merged by FULL JOIN … USING: that of either side. */
static struct expr *bind_merged(struct binder *b, const struct column_ref *ref,
                                const struct ast *tree)
{
    const struct join *halves[] = {ref->join->left, ref->join->right};
    struct expr **args = bind_memory(b, arena_zero(b->arena, 2, sizeof *args));
    for (size_t i = 0; args && i < 2; i++) {
        args[i] = bind_join_name(b, halves[i], tree);
        if (!args[i]) return NULL;
    }
    return args ? bind_call(b, "coalesce", args, 2, tree->position) : NULL;
}

static struct expr *fail_ambiguous(struct binder *b, const struct ast *tree)
{
    const struct plan *plan = b->plan;
    const char *holders[2] = {"", ""};
    size_t count = 0;
    struct column_ref ref;
    for (size_t i = 0; plan->from == FROM_JOIN && i < plan->side_count && count < 2; i++)
        if (find_in_side(plan->sides[i], tree, &ref)) holders[count++] = plan->sides[i]->alias.at;
    int size = tree->text.size > 80 ? 80 : (int)tree->text.size;
    if (count < 2)
        return bind_fail(b, ERR_AMBIGUOUS, tree->position,
                         "column \"%.*s\" is there more than once; give them names with AS", size,
                         tree->text.at);
    return bind_fail(b, ERR_AMBIGUOUS, tree->position,
                     "column \"%.*s\" is in %s and in %s; write %s.%.*s or %s.%.*s", size,
                     tree->text.at, holders[0], holders[1], holders[0], size, tree->text.at,
                     holders[1], size, tree->text.at);
}

struct expr *bind_ref(struct binder *b, const struct column_ref *ref, const struct ast *tree)
{
    if (ref->is_merged) return bind_merged(b, ref, tree);
    return b->plan->from == FROM_JOIN ? bind_side_ref(b, ref, tree->position)
                                      : bind_plain_ref(b, ref, tree->position);
}

struct expr *bind_join_name(struct binder *b, const struct join *join, const struct ast *tree)
{
    struct column_ref ref;
    enum found found = bind_find_in_join(b->plan, join, tree, &ref);
    if (found == FOUND_MANY) return fail_ambiguous(b, tree);
    return found ? bind_ref(b, &ref, tree) : bind_fail_unknown(b, tree);
}

/* ---- names nobody knows ---- */

static size_t name_count(const struct plan *plan)
{
    if (plan->from == FROM_TABLE)
        return RESERVED_COUNT + plan->table.schema->column_count + plan->table.label_count;
    if (plan->from == FROM_QUERY) return plan->query->visible_count;
    size_t count = plan->from == FROM_ONE_ROW ? 0 : plan->visible_count;
    for (size_t i = 0; plan->from == FROM_JOIN && i < plan->side_count; i++)
        count += name_count(plan->sides[i]);
    return count;
}

static size_t list_names(const struct plan *plan, const char **names)
{
    size_t count = 0;
    if (plan->from == FROM_JOIN) {
        for (size_t i = 0; i < plan->side_count; i++)
            count += list_names(plan->sides[i], names + count);
    } else if (plan->from != FROM_TABLE) {
        size_t total = name_count(plan);
        for (; count < total; count++) names[count] = plan->names[count];
    } else {
        const struct sql_table *table = &plan->table;
        for (uint32_t i = 0; i < table->schema->column_count; i++)
            names[count++] = table->schema->columns[i].name;
        for (size_t i = 0; i < table->label_count; i++) names[count++] = table->labels[i];
        for (size_t i = 0; table->has_series && i < RESERVED_COUNT; i++)
            names[count++] = reserved_columns[i].name;
    }
    return count;
}

static bool qualifier_is_known(const struct plan *plan, const struct ast *tree)
{
    if (names_plan(plan, tree->schema, tree->qualifier)) return true;
    for (size_t i = 0; plan->from == FROM_JOIN && i < plan->side_count; i++)
        if (names_plan(plan->sides[i], tree->schema, tree->qualifier)) return true;
    return false;
}

static struct expr *fail_qualifier(struct binder *b, const struct ast *tree)
{
    const struct plan *plan = b->plan;
    const char *names[JOIN_SIDES_MAX] = {0};
    size_t count = 0;
    for (size_t i = 0; plan->from == FROM_JOIN && i < plan->side_count; i++)
        names[count++] = plan->sides[i]->alias.at;
    int near = str_nearest(tree->qualifier, names, count);
    const char *table = near >= 0 ? names[near] : count ? names[0] : plan->alias.at;
    return bind_fail(b, ERR_NO_TABLE, tree->position,
                     "\"%.*s\" is not a table of this statement; write %s.%.*s or label.%.*s",
                     (int)tree->qualifier.size, tree->qualifier.at, table, (int)tree->text.size,
                     tree->text.at, (int)tree->text.size, tree->text.at);
}

struct expr *bind_fail_unknown(struct binder *b, const struct ast *tree)
{
    const struct plan *plan = b->plan;
    if (tree->qualifier.size > 0 && !qualifier_is_known(plan, tree)) return fail_qualifier(b, tree);
    const char **names =
        bind_memory(b, arena_alloc(b->arena, (name_count(plan) + 1) * sizeof *names));
    if (!names) return NULL;
    int near = str_nearest(tree->text, names, list_names(plan, names));
    const char *where = plan->from == FROM_TABLE ? plan->table.schema->name : plan->alias.at;
    bool has_where = plan->from != FROM_JOIN && where && where[0];
    return bind_fail(b, ERR_NO_COLUMN, tree->position, "column \"%.*s\" does not exist%s%s%s%s%s",
                     tree->text.size > 80 ? 80 : (int)tree->text.size, tree->text.at,
                     has_where ? " in table " : "", has_where ? where : "",
                     near < 0 ? "" : "; did you mean \"", near < 0 ? "" : names[near],
                     near < 0 ? "" : "\"?");
}

/* ---- the query around this one ---- */

static bool is_known(const struct binder *b, const struct ast *tree)
{
    struct column_ref ref;
    for (; b; b = b->parent)
        if (find_name(b, tree, &ref)) return true;
    return false;
}

/* A name of the query around this one becomes a parameter: its expression there, a constant here
 * that is set before each run. */
static struct expr *bind_outer_name(struct binder *b, const struct ast *tree)
{
    MUST(b->parent && b->outers);
    struct outers *outers = b->outers;
    struct binder *parent = b->parent;
    struct expr *outer = bind_expr(parent, tree);
    if (!outer) {
        b->err = parent->err;
        return NULL;
    }
    if (outer->kind == EXPR_CONST) return outer;
    for (size_t i = 0; i < outers->count; i++)
        if (expr_same(outers->values[i], outer)) return outers->params[i];
    size_t capacity = outers->capacity;
    if (!bind_grow(b, &outers->values, outers->count, &outers->capacity, sizeof *outers->values) ||
        !bind_grow(b, &outers->params, outers->count, &capacity, sizeof *outers->params))
        return NULL;
    struct value null = {.type = outer->type, .is_null = true};
    struct expr *param = bind_memory(b, expr_constant(b->arena, &null, tree->position));
    if (!param) return NULL;
    param->kind = EXPR_PARAM;
    param->is_duration = outer->is_duration;
    param->unit = outer->unit;
    outers->values[outers->count] = outer;
    outers->params[outers->count++] = param;
    return param;
}

/* ---- names ---- */

struct expr *bind_column_name(struct binder *b, const struct ast *tree)
{
    struct column_ref ref;
    enum found found = find_name(b, tree, &ref);
    if (found == FOUND_MANY) return fail_ambiguous(b, tree);
    if (found && !ref.is_null) return bind_ref(b, &ref, tree);
    if (is_known(b->parent, tree)) return bind_outer_name(b, tree);
    return found ? bind_ref(b, &ref, tree) : bind_fail_unknown(b, tree);
}

bool bind_has_name(const struct binder *b, struct str name)
{
    struct ast tree = {.kind = AST_NAME, .text = name, .qualifier = STR(""), .schema = STR("")};
    struct column_ref ref;
    return find_name(b, &tree, &ref) != FOUND_NONE;
}

struct expr *bind_name(struct binder *b, const struct ast *tree)
{
    struct column_ref ref;
    bool is_outer = b->parent && !find_name(b, tree, &ref) && is_known(b->parent, tree);
    if (is_outer && b->place != PLACE_GROUP) return bind_outer_name(b, tree);
    if (b->place == PLACE_GROUP) return bind_group_name(b, tree);
    if (b->place == PLACE_NOTHING || !b->plan->has_table)
        return bind_fail(b, ERR_NO_COLUMN, tree->position,
                         "column \"%.*s\": there is no table to take it from here%s",
                         tree->text.size > 80 ? 80 : (int)tree->text.size, tree->text.at,
                         tree->quoted ? "; texts stand in single quotes" : "");
    if (bind_window_name(tree) != NOT_A_WINDOW_NAME && !bind_has_name(b, tree->text))
        return bind_fail(b, ERR_GROUPING, tree->position,
                         "%.*s can only be selected, and only with a window: WINDOW TUMBLE(10s)",
                         (int)tree->text.size, tree->text.at);
    return bind_column_name(b, tree);
}

/* quality(column) */
struct expr *bind_quality_call(struct binder *b, const struct ast *tree)
{
    const struct ast *arg = tree->arg_count == 1 ? tree->args[0] : NULL;
    struct column_ref ref = {0};
    if (b->place == PLACE_GROUP)
        return bind_fail(b, ERR_GROUPING, tree->position,
                         "quality(…) must be in GROUP BY or inside an aggregate");
    enum found found = FOUND_NONE;
    if (arg && arg->kind == AST_NAME && b->place != PLACE_NOTHING) found = find_name(b, arg, &ref);
    if ((found != FOUND_ONE || !ref.column) && arg && arg->kind == AST_NAME)
        return bind_name(b, arg)
                   ? bind_fail(b, ERR_TYPE, arg->position, "quality(…) takes a column of values")
                   : NULL;
    if (!ref.column)
        return bind_fail(b, ERR_TYPE, tree->position, "quality(…) takes one column's name");
    ref.kind = INPUT_COLUMN_QUALITY;
    return bind_ref(b, &ref, tree);
}
