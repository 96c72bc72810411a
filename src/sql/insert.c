/* insert.c - INSERT: checked and bound at prepare, turned into a batch on demand.
 *
 * A row belongs to a device, so the column `device` must be given; `time` defaults to the
 * statement's time; `label.name` sets labels. A column that is not listed stays absent (an earlier
 * value is kept); NULL is written as NULL. */
#include "sql/sql_priv.h"
#include <string.h>

enum target_kind { TARGET_TIME, TARGET_DEVICE, TARGET_LABEL, TARGET_COLUMN };

struct target {
    enum target_kind kind;
    const struct column *column;
    struct str label;
};

static enum err no_column(struct sql_statement *s, const struct ast_column *c, struct why *why)
{
    const struct schema *schema = s->table.schema;
    const char **names = arena_zero(&s->arena, schema->column_count + 2, sizeof *names);
    if (!names) return expr_no_memory(s->context->budget, why);
    for (uint32_t i = 0; i < schema->column_count; i++) names[i] = schema->columns[i].name;
    names[schema->column_count] = "time";
    names[schema->column_count + 1] = "device";
    int near = str_nearest(c->name, names, schema->column_count + 2);
    return why_at(why, ERR_NO_COLUMN, c->position,
                  "column \"%.*s\" does not exist in table %s%s%s%s", (int)c->name.size, c->name.at,
                  schema->name,
                  near < 0 ? "; ALTER TABLE … ADD COLUMN makes it" : "; did you mean \"",
                  near < 0 ? "" : names[near], near < 0 ? "" : "\"?");
}

static enum err find_target(struct sql_statement *s, const struct ast_column *c,
                            struct target *target, struct why *why)
{
    *target = (struct target){TARGET_COLUMN, NULL, c->name};
    if (c->qualifier.size > 0 && !str_is(c->qualifier, "label"))
        return why_at(why, ERR_SYNTAX, c->position,
                      "only labels are written with a dot: label.%.*s", (int)c->name.size,
                      c->name.at);
    if (c->qualifier.size > 0) {
        target->kind = TARGET_LABEL;
        return ERR_OK;
    }
    target->kind = str_is(c->name, "time")     ? TARGET_TIME
                   : str_is(c->name, "device") ? TARGET_DEVICE
                                               : TARGET_COLUMN;
    if (target->kind != TARGET_COLUMN) return ERR_OK;
    if (str_is(c->name, "quality") || str_is(c->name, "received"))
        return why_at(why, ERR_READ_ONLY, c->position, "%.*s is given by the system",
                      (int)c->name.size, c->name.at);
    target->column = schema_find(s->table.schema, c->name);
    return target->column ? ERR_OK : no_column(s, c, why);
}

static enum err find_targets(struct sql_statement *s, struct target *targets, struct why *why)
{
    const struct ast_insert *insert = &s->tree.insert;
    bool device = false;
    for (size_t i = 0; i < insert->column_count; i++) {
        const struct ast_column *c = &insert->columns[i];
        enum err err = find_target(s, c, &targets[i], why);
        if (err) return err;
        for (size_t j = 0; j < i; j++)
            if (str_equal(insert->columns[j].name, c->name) &&
                str_equal(insert->columns[j].qualifier, c->qualifier))
                return why_at(why, ERR_SYNTAX, c->position, "column \"%.*s\" is listed twice",
                              (int)c->name.size, c->name.at);
        device = device || targets[i].kind == TARGET_DEVICE;
    }
    if (!device)
        return why_at(
            why, ERR_INVALID, insert->into.position,
            "a row needs a device: add the column device, as in INSERT INTO %s (device, …) VALUES ('press01', …)",
            s->table.schema->name);
    return ERR_OK;
}

/* What a parameter that stands alone in a row becomes. */
static void note_parameters(struct sql_statement *s, const struct target *targets)
{
    const struct ast_insert *insert = &s->tree.insert;
    for (size_t i = 0; s->context->param_types && i < insert->row_count; i++)
        for (size_t j = 0; j < insert->column_count; j++) {
            const struct ast *tree = insert->rows[i].items[j];
            if (tree->kind == AST_PARAM && tree->value.i <= (int64_t)s->context->param_count)
                s->context->param_types[tree->value.i - 1] =
                    targets[j].kind == TARGET_TIME ? TYPE_TIMESTAMP
                    : targets[j].column            ? targets[j].column->type
                                                   : TYPE_TEXT;
        }
}

enum err insert_prepare(struct sql_statement *s, struct why *why)
{
    const struct ast_insert *insert = &s->tree.insert;
    enum err err = bind_table(s->context, &s->arena, &insert->into, &s->table, why);
    if (err) return err;
    if (!s->table.has_series)
        return why_at(why, ERR_READ_ONLY, insert->into.position,
                      "%s is a system table; it cannot be written", s->table.schema->name);
    if (insert->row_count > BATCH_ROWS_MAX)
        return why_at(why, ERR_LIMIT, insert->into.position,
                      "%zu rows in one INSERT, the limit is %d", insert->row_count, BATCH_ROWS_MAX);
    struct target *targets = arena_zero(&s->arena, insert->column_count, sizeof *targets);
    if (!targets) return expr_no_memory(s->context->budget, why);
    s->access = (struct sql_access){insert->into.schema.at, s->table.schema->name, true};
    s->access_count = 1;
    err = find_targets(s, targets, why);
    if (!err) note_parameters(s, targets);
    return err;
}

/* ---- one row ---- */

struct row {
    struct value time, device;
    struct label *labels;
    uint32_t label_count;
    struct value *values; /* of the columns, in the order of the list */
};

static enum err value_of(struct sql_statement *s, const struct target *target,
                         const struct ast *tree, struct value *value, struct why *why)
{
    enum type type = target->kind == TARGET_TIME ? TYPE_TIMESTAMP
                     : target->column            ? target->column->type
                                                 : TYPE_TEXT;
    enum err err = bind_value(s->context, &s->arena, tree, type, value, why);
    if (err || !value->is_null || target->kind == TARGET_COLUMN) return err;
    if (target->kind == TARGET_LABEL) return ERR_OK;
    return why_at(why, ERR_INVALID, tree->position, "%s cannot be NULL",
                  target->kind == TARGET_TIME ? "time" : "device");
}

static int compare_labels(const struct label *a, const struct label *b)
{
    return str_compare(a->key, b->key);
}

/* Keeps the labels sorted by key, as batches want them. */
static void add_label(struct row *row, struct str key, struct str value)
{
    struct label label = {key, value};
    uint32_t at = row->label_count++;
    for (; at > 0 && compare_labels(&row->labels[at - 1], &label) > 0; at--)
        row->labels[at] = row->labels[at - 1];
    row->labels[at] = label;
}

static enum err read_row(struct sql_statement *s, const struct target *targets,
                         const struct ast_list *list, struct row *row, struct why *why)
{
    row->label_count = 0;
    row->time = (struct value){.type = TYPE_TIMESTAMP, .i = s->context->now_ns};
    for (size_t i = 0; i < list->count; i++) {
        struct value value = {0};
        enum err err = value_of(s, &targets[i], list->items[i], &value, why);
        if (err) return err;
        switch (targets[i].kind) {
        case TARGET_TIME: row->time = value; break;
        case TARGET_DEVICE: row->device = value; break;
        case TARGET_LABEL:
            if (!value.is_null) add_label(row, targets[i].label, value.s);
            break;
        case TARGET_COLUMN: row->values[i] = value; break;
        }
    }
    if (row->device.s.size == 0)
        return why_at(why, ERR_INVALID, list->items[0]->position,
                      "the device is empty; a row needs one");
    return ERR_OK;
}

/* "press01" → "acme/plant1/press01", unless it has the prefix already. */
static enum err absolute_path(struct sql_statement *s, struct str *path, struct why *why)
{
    struct str prefix = s->context->device_prefix;
    bool absolute = path->size > prefix.size &&
                    memcmp(path->at, prefix.size ? prefix.at : "", prefix.size) == 0 &&
                    path->at[prefix.size] == '/';
    if (prefix.size == 0 || absolute) return ERR_OK;
    char *joined = arena_printf(&s->arena, "%.*s/%.*s", (int)prefix.size, prefix.at,
                                (int)path->size, path->at);
    if (!joined) return expr_no_memory(s->context->budget, why);
    *path = str_of(joined);
    return ERR_OK;
}

static enum err add_row(struct sql_statement *s, const struct target *targets, size_t count,
                        struct row *row, struct batch *batch, struct why *why)
{
    uint32_t device;
    enum err err = absolute_path(s, &row->device.s, why);
    if (err) return err;
    err = batch_add_device(batch, row->device.s, row->labels, row->label_count, &device);
    if (!err) err = batch_begin_row(batch, device, row->time.i);
    for (size_t i = 0; i < count && !err; i++)
        if (targets[i].kind == TARGET_COLUMN)
            err = batch_set(batch, targets[i].column, &row->values[i]);
    if (err == ERR_NO_MEMORY || err == ERR_BUDGET) return expr_no_memory(s->context->budget, why);
    return err ? why_wrap(why, err, "device %.*s", (int)row->device.s.size, row->device.s.at)
               : ERR_OK;
}

enum err sql_insert_batch(struct sql_statement *s, struct batch **batch, struct why *why)
{
    MUST(s && s->magic == SQL_STATEMENT_MAGIC && s->verb == SQL_INSERT);
    const struct ast_insert *insert = &s->tree.insert;
    struct target *targets = arena_zero(&s->arena, insert->column_count, sizeof *targets);
    struct row row = {.labels = arena_zero(&s->arena, insert->column_count, sizeof *row.labels),
                      .values = arena_zero(&s->arena, insert->column_count, sizeof *row.values)};
    *batch = NULL;
    if (!targets || !row.labels || !row.values) return expr_no_memory(s->context->budget, why);
    enum err err = find_targets(s, targets, why);
    if (err) return err;
    struct batch *made = batch_new(s->table.schema, s->context->batch_budget);
    if (!made) return expr_no_memory(s->context->budget, why);
    for (size_t i = 0; i < insert->row_count && !err; i++) {
        err = read_row(s, targets, &insert->rows[i], &row, why);
        if (!err) err = add_row(s, targets, insert->column_count, &row, made, why);
    }
    if (!err && batch_seal(made)) err = expr_no_memory(s->context->budget, why);
    if (err)
        batch_release(made);
    else
        *batch = made;
    return err;
}
