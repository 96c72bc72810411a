/* show.c - SHOW TABLES, SHOW FUNCTIONS, DESCRIBE: lists of texts. */
#include "sql/func.h"
#include "sql/reference.h"
#include "sql/sql_priv.h"
#include "sql/parse.h"
#include <string.h>

/* ---- rows of texts ---- */

enum err sql_list_columns(struct sql_statement *s, const char *const *names, size_t count,
                          struct why *why)
{
    s->columns = arena_zero(&s->arena, count, sizeof *s->columns);
    if (!s->columns) return expr_no_memory(s->context->budget, why);
    s->column_count = count;
    for (size_t i = 0; i < count; i++)
        s->columns[i] = (struct sql_result_column){names[i], TYPE_TEXT, ""};
    return ERR_OK;
}

enum err text_rows_begin(struct text_rows *rows)
{
    struct sql_statement *s = rows->statement;
    MUST(s->column_count <= 8);
    rows->count = 0;
    for (size_t i = 0; i < s->column_count; i++)
        if (vector_make(&rows->columns[i], &s->arena, TYPE_TEXT, SQL_CHUNK_ROWS, true, false))
            return expr_no_memory(s->context->budget, rows->why);
    return ERR_OK;
}

static enum err flush(struct text_rows *rows)
{
    size_t columns = rows->statement->column_count;
    if (rows->count == 0) return ERR_OK;
    for (size_t i = 0; i < columns; i++) rows->columns[i].count = rows->count;
    rows->stats->rows_out += rows->count;
    enum err err =
        rows->sink->rows(rows->sink->context, rows->columns, columns, NULL, rows->count, rows->why);
    rows->count = 0;
    return err;
}

enum err text_rows_add(struct text_rows *rows, const struct text_row *row)
{
    MUST(rows->statement->column_count <= TEXT_ROWS_COLUMNS_MAX);
    for (size_t i = 0; i < rows->statement->column_count; i++) {
        struct value v = {
            .type = TYPE_TEXT, .is_null = row->cell[i] == NULL, .s = str_of(row->cell[i])};
        vector_set(&rows->columns[i], rows->count, &v);
    }
    return ++rows->count == SQL_CHUNK_ROWS ? flush(rows) : ERR_OK;
}

enum err text_rows_end(struct text_rows *rows)
{
    return flush(rows);
}

/* ---- SHOW TABLES ---- */

static enum err show_tables(struct sql_statement *s, struct text_rows *rows)
{
    const struct sql_catalog *catalog = s->context->catalog;
    enum err err = ERR_OK;
    for (size_t i = 0; i < catalog->count && !err; i++) {
        struct sql_table_name *names = NULL;
        size_t count = 0;
        err = catalog->source[i].ops->list_tables(catalog->source[i].context, s->context->ns,
                                                  &s->arena, &names, &count);
        if (err) return expr_no_memory(s->context->budget, rows->why);
        for (size_t n = 0; n < count && !err; n++)
            err = text_rows_add(
                rows, &(struct text_row){{names[n].schema, names[n].name, names[n].description}});
    }
    return err;
}

/* ---- SHOW FUNCTIONS ---- */

static const char *types_of(struct sql_statement *s, const char *letters)
{
    struct buf buf = BUF_EMPTY;
    reference_add_types(&buf, letters);
    const char *text =
        buf_failed(&buf) ? NULL : arena_strdup(&s->arena, buf.at ? buf.at : "", buf.size);
    buf_free(&buf);
    return text;
}

static enum err show_functions(struct sql_statement *s, struct text_rows *rows)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < reference_count() && !err; i++) {
        struct reference_row r = reference_at(i);
        if (strcmp(r.kind, "statement") == 0) continue;
        const char *arguments = types_of(s, r.args), *gives = types_of(s, (char[]){r.result, 0});
        if (!arguments || !gives) return expr_no_memory(s->context->budget, rows->why);
        err = text_rows_add(rows, &(struct text_row){{r.name, arguments, gives, r.kind, r.help,
                                                      r.help_zh, r.example, r.answer}});
    }
    return err;
}

/* ---- DESCRIBE ---- */

static enum err describe(struct sql_statement *s, struct text_rows *rows)
{
    static const struct text_row fixed[] = {
        {{"time", "timestamp", "", "of the measurement (UTC)"}},
        {{"device", "text", "", "path of the device"}},
        {{"quality", "text", "",
          "worst quality among the columns read; quality(column) gives one"}},
        {{"received", "timestamp", "", "when the row came to its node"}},
    };
    const struct sql_table *table = &s->table;
    enum err err = ERR_OK;
    for (size_t i = 0; table->has_series && i < 4 && !err; i++)
        err = text_rows_add(rows, &fixed[i]);
    for (uint32_t i = 0; i < table->schema->column_count && !err; i++) {
        const struct column *c = &table->schema->columns[i];
        err = text_rows_add(
            rows, &(struct text_row){{c->name, type_name(c->type), c->unit, c->description}});
    }
    for (size_t i = 0; table->has_series && i < table->label_count && !err; i++)
        err = text_rows_add(
            rows, &(struct text_row){{table->labels[i], "text", "", "label of the device"}});
    return err;
}

/* A view's columns are those of its query. */
static enum err describe_view(struct sql_statement *s, struct text_rows *rows)
{
    const struct plan *plan = s->plans.root;
    enum err err = ERR_OK;
    for (size_t i = 0; i < plan->visible_count && !err; i++)
        err = text_rows_add(
            rows, &(struct text_row){{plan->output_names[i], type_name(plan->outputs[i]->type),
                                      plan->outputs[i]->unit, "column of the view"}});
    return err;
}

static enum err describe_view_prepare(struct sql_statement *s, struct str text, struct why *why)
{
    static const char *const columns[] = {"column", "type", "unit", "description"};
    enum err err = sql_parse_view(text, &s->arena, s->tree.relation.position, &s->tree.select, why);
    if (!err) err = sql_bind_query(s, why);
    return err ? err : sql_list_columns(s, columns, 4, why);
}

/* ---- the three ---- */

enum err show_prepare(struct sql_statement *s, struct why *why)
{
    static const char *const tables[] = {"schema", "name", "description"};
    static const char *const functions[] = {"name", "arguments", "result",  "kind",
                                            "help", "help_zh",   "example", "answer"};
    static const char *const columns[] = {"column", "type", "unit", "description"};
    if (s->tree.verb == AST_SHOW_TABLES) return sql_list_columns(s, tables, 3, why);
    if (s->tree.verb == AST_SHOW_FUNCTIONS) return sql_list_columns(s, functions, 8, why);
    struct str view = {0};
    enum err err = bind_find_table(s->context, &s->arena, &s->tree.relation, &s->table, why);
    if (!err && !s->table.schema)
        err = bind_find_view(s->context, &s->arena, &s->tree.relation, &view, why);
    if (!err && !s->table.schema && view.at) return describe_view_prepare(s, view, why);
    if (!err && !s->table.schema)
        err = bind_table(s->context, &s->arena, &s->tree.relation, &s->table, why);
    if (err) return err;
    s->access = (struct sql_access){s->tree.relation.schema.at, s->table.schema->name, false};
    s->access_count = 1;
    return sql_list_columns(s, columns, 4, why);
}

enum err show_run(struct sql_statement *s, const struct sql_sink *sink, struct sql_stats *stats,
                  struct why *why)
{
    struct text_rows rows = {.statement = s, .sink = sink, .stats = stats, .why = why};
    enum err err = text_rows_begin(&rows);
    if (err) return err;
    if (s->tree.verb == AST_SHOW_TABLES)
        err = show_tables(s, &rows);
    else
        err = s->tree.verb == AST_DESCRIBE && s->plans.root ? describe_view(s, &rows)
              : s->tree.verb == AST_DESCRIBE                ? describe(s, &rows)
                                                            : show_functions(s, &rows);
    return err ? err : text_rows_end(&rows);
}
