/* insert.c - INSERT: checked and bound at prepare, turned into batches on demand.
 *
 * VALUES makes one batch; INSERT … SELECT runs its query, pausing whenever a batch is full.
 *
 * A row belongs to a device, so the column `device` must be given; `time` defaults to the
 * statement's time; `label.name` sets labels. A column that is not listed stays absent (an earlier
 * value is kept); NULL is written as NULL. */
#include "sql/sql_priv.h"
#include "sql/op.h"
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

static enum type type_of_target(const struct target *target)
{
    return target->kind == TARGET_TIME ? TYPE_TIMESTAMP
           : target->column            ? target->column->type
                                       : TYPE_TEXT;
}

/* The rights to what the query reads, and to the table that is written. */
static enum err join_accesses(struct sql_statement *s, struct why *why)
{
    size_t count = s->plans.access_count;
    struct sql_access *all = arena_zero(&s->arena, count + 1, sizeof *all);
    if (!all) return expr_no_memory(s->context->budget, why);
    for (size_t i = 0; i < count; i++) all[i] = s->plans.accesses[i];
    all[count] = s->access;
    s->accesses = all;
    s->access_count = count + 1;
    return ERR_OK;
}

static enum err prepare_query(struct sql_statement *s, const struct target *targets,
                              struct why *why)
{
    const struct ast_insert *insert = &s->tree.insert;
    enum err err = bind_query(s->context, &s->arena, insert->query, &s->plans, why);
    if (err) return err;
    if (s->plans.root->visible_count != insert->column_count)
        return why_at(why, ERR_SYNTAX, insert->query->position,
                      "this query has %zu columns, but the list of columns has %zu",
                      s->plans.root->visible_count, insert->column_count);
    enum type *types = arena_zero(&s->arena, insert->column_count, sizeof *types);
    if (!types) return expr_no_memory(s->context->budget, why);
    for (size_t i = 0; i < insert->column_count; i++) types[i] = type_of_target(&targets[i]);
    err = bind_outputs_to(s->context, &s->arena, &s->plans, types, why);
    s->insert_goes_on = true;
    return err ? err : join_accesses(s, why);
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
    if (err) return err;
    if (insert->query) return prepare_query(s, targets, why);
    note_parameters(s, targets);
    return ERR_OK;
}

/* ---- one row ---- */

struct row {
    struct value time, device;
    struct label *labels;
    uint32_t label_count;
    struct value *values; /* of the columns, in the order of the list */
};

/* Whether the value may stand there. */
static enum err check_value(const struct target *target, const struct value *value,
                            int32_t position, struct why *why)
{
    bool needed = target->kind == TARGET_TIME || target->kind == TARGET_DEVICE;
    if (!value->is_null || !needed) return ERR_OK;
    return why_at(why, ERR_INVALID, position, "%s cannot be NULL",
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

static void begin_row(struct sql_statement *s, struct row *row)
{
    row->label_count = 0;
    row->time = (struct value){.type = TYPE_TIMESTAMP, .i = s->context->now_ns};
}

static void put_value(struct row *row, const struct target *target, size_t i, struct value value)
{
    switch (target->kind) {
    case TARGET_TIME: row->time = value; break;
    case TARGET_DEVICE: row->device = value; break;
    case TARGET_LABEL:
        if (!value.is_null) add_label(row, target->label, value.s);
        break;
    case TARGET_COLUMN: row->values[i] = value; break;
    }
}

static enum err check_row(const struct row *row, int32_t position, struct why *why)
{
    if (row->device.s.size > 0) return ERR_OK;
    return why_at(why, ERR_INVALID, position, "the device is empty; a row needs one");
}

static enum err read_row(struct sql_statement *s, const struct target *targets,
                         const struct ast_list *list, struct row *row, struct why *why)
{
    begin_row(s, row);
    for (size_t i = 0; i < list->count; i++) {
        struct value value = {0};
        const struct ast *tree = list->items[i];
        enum err err =
            bind_value(s->context, &s->arena, tree, type_of_target(&targets[i]), &value, why);
        if (!err) err = check_value(&targets[i], &value, tree->position, why);
        if (err) return err;
        put_value(row, &targets[i], i, value);
    }
    return check_row(row, list->items[0]->position, why);
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
    if (err == ERR_NO_MEMORY || err == ERR_BUDGET) {
        s->insert_lacks = true;
        return why_set(why, err, "no memory for more rows on their way to the log; try again");
    }
    return err ? why_wrap(why, err, "device %.*s", (int)row->device.s.size, row->device.s.at)
               : ERR_OK;
}

/* ---- INSERT … SELECT ---- */

enum { INSERT_BATCH_ROWS = 16384, INSERT_BATCH_BYTES = 4 << 20 };

struct filling {
    struct sql_statement *s;
    const struct target *targets;
    struct row *row;
    struct batch *batch;
};

static enum err take_rows(void *context, const struct vector *columns, size_t column_count,
                          const uint16_t *selection, uint32_t row_count, struct why *why)
{
    struct filling *filling = context;
    int32_t position = filling->s->tree.insert.query->position;
    enum err err = ERR_OK;
    for (uint32_t k = 0; k < row_count && !err; k++) {
        begin_row(filling->s, filling->row);
        for (size_t c = 0; c < column_count && !err; c++) {
            struct value value = vector_get(&columns[c], selection ? selection[k] : k);
            value.quality = QUALITY_GOOD; /* a NULL becomes a written one */
            err = check_value(&filling->targets[c], &value, position, why);
            if (!err) put_value(filling->row, &filling->targets[c], c, value);
        }
        if (!err) err = check_row(filling->row, position, why);
        if (!err)
            err = add_row(filling->s, filling->targets, column_count, filling->row, filling->batch,
                          why);
    }
    return err;
}

static bool batch_is_full(void *context)
{
    const struct filling *filling = context;
    return filling->batch->row_count >= INSERT_BATCH_ROWS ||
           filling->batch->size_bytes >= INSERT_BATCH_BYTES;
}

static enum err fill_from_query(struct sql_statement *s, const struct target *targets,
                                struct row *row, struct batch *batch, struct why *why)
{
    struct filling filling = {s, targets, row, batch};
    enum err err = ERR_OK;
    enum sql_progress progress = SQL_GOES_ON;
    s->insert_sink = (struct sql_sink){take_rows, &filling, batch_is_full};
    if (!s->run)
        err = run_open(s->context, s->plans.root, (struct str){0}, false, &s->insert_sink,
                       &s->insert_stats, why, &s->run);
    if (!err) run_set_why(s->run, why);
    while (!err && progress != SQL_DONE && !batch_is_full(&filling))
        err = run_step(s->run, &progress);
    if (!err && progress != SQL_DONE) return ERR_OK;
    s->insert_goes_on = false;
    run_close(s->run);
    s->run = NULL;
    return err;
}

bool sql_insert_lacks(const struct sql_statement *s)
{
    MUST(s && s->magic == SQL_STATEMENT_MAGIC);
    return s->insert_lacks;
}

bool sql_insert_goes_on(const struct sql_statement *s)
{
    MUST(s && s->magic == SQL_STATEMENT_MAGIC);
    return s->insert_goes_on;
}

enum err sql_insert_batch(struct sql_statement *s, struct batch **batch, struct why *why)
{
    MUST(s && s->magic == SQL_STATEMENT_MAGIC && s->verb == SQL_INSERT);
    const struct ast_insert *insert = &s->tree.insert;
    struct target *targets = arena_zero(&s->arena, insert->column_count, sizeof *targets);
    struct row row = {.labels = arena_zero(&s->arena, insert->column_count, sizeof *row.labels),
                      .values = arena_zero(&s->arena, insert->column_count, sizeof *row.values)};
    *batch = NULL;
    s->insert_lacks = false;
    if (!targets || !row.labels || !row.values) return expr_no_memory(s->context->budget, why);
    enum err err = find_targets(s, targets, why);
    if (err) return err;
    struct batch *made = batch_new(s->table.schema, s->context->batch_budget);
    if (!made) return expr_no_memory(s->context->budget, why);
    if (insert->query) err = fill_from_query(s, targets, &row, made, why);
    for (size_t i = 0; i < insert->row_count && !err; i++) {
        err = read_row(s, targets, &insert->rows[i], &row, why);
        if (!err) err = add_row(s, targets, insert->column_count, &row, made, why);
    }
    if (!err && made->row_count == 0 && insert->query) {
        batch_release(made); /* no rows: nothing to write */
        return ERR_OK;
    }
    if (!err && batch_seal(made)) err = expr_no_memory(s->context->budget, why);
    if (err)
        batch_release(made);
    else
        *batch = made;
    return err;
}
