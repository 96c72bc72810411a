/* ddl.c - CREATE, ALTER and DROP TABLE: checked here, carried out by the registry (see sql.h). */
#include "sql/sql_priv.h"
#include <stdio.h>
#include <string.h>

static enum err no_memory(struct sql_statement *s, struct why *why)
{
    return expr_no_memory(s->context->budget, why);
}

static enum err check_name(struct str name, const char *what, int32_t position, struct why *why)
{
    enum err err = schema_check_name(name, what, why);
    if (err && why) why->position = position;
    return err;
}

static enum err copy_columns(struct sql_statement *s, struct why *why)
{
    const struct ast_ddl *tree = &s->tree.ddl;
    struct sql_ddl_column *columns = arena_zero(&s->arena, tree->column_count, sizeof *columns);
    if (!columns) return no_memory(s, why);
    for (size_t i = 0; i < tree->column_count; i++) {
        const struct ast_column *from = &tree->columns[i];
        columns[i] = (struct sql_ddl_column){
            arena_strdup(&s->arena, from->name.at, from->name.size),
            arena_strdup(&s->arena, from->new_name.at, from->new_name.size),
            arena_strdup(&s->arena, from->unit.at, from->unit.size),
            arena_strdup(&s->arena, from->comment.at, from->comment.size), from->type};
        const struct sql_ddl_column *c = &columns[i];
        if (!c->name || !c->new_name || !c->unit || !c->description) return no_memory(s, why);
    }
    s->ddl.columns = columns;
    s->ddl.column_count = tree->column_count;
    return ERR_OK;
}

/* New columns: good names, none twice, none that is there already. */
static enum err check_new_columns(struct sql_statement *s, struct why *why)
{
    const struct ast_ddl *tree = &s->tree.ddl;
    for (size_t i = 0; i < tree->tag_count; i++) {
        const struct ast_column *tag = &tree->tags[i];
        enum err err = check_name(tag->name, "label", tag->position, why);
        for (size_t j = 0; j < tree->column_count && !err; j++)
            if (str_equal(tree->columns[j].name, tag->name))
                err = why_at(why, ERR_EXISTS, tag->position, "\"%.*s\" is a column already",
                             (int)tag->name.size, tag->name.at);
        if (err) return err;
    }
    for (size_t i = 0; i < tree->column_count; i++) {
        const struct ast_column *c = &tree->columns[i];
        enum err err = check_name(c->name, "column", c->position, why);
        if (err) return err;
        bool twice = s->table.schema && schema_find(s->table.schema, c->name);
        for (size_t j = 0; j < i; j++) twice = twice || str_equal(tree->columns[j].name, c->name);
        if (twice)
            return why_at(why, ERR_EXISTS, c->position, "column \"%.*s\" exists already",
                          (int)c->name.size, c->name.at);
    }
    return ERR_OK;
}

static enum err find_old_column(struct sql_statement *s, const struct ast_column *c,
                                const struct column **column, struct why *why)
{
    const struct schema *schema = s->table.schema;
    *column = schema_find(schema, c->name);
    if (*column) return ERR_OK;
    const char **names = arena_zero(&s->arena, schema->column_count, sizeof *names);
    if (!names) return no_memory(s, why);
    for (uint32_t i = 0; i < schema->column_count; i++) names[i] = schema->columns[i].name;
    int near = str_nearest(c->name, names, schema->column_count);
    return why_at(why, ERR_NO_COLUMN, c->position,
                  "column \"%.*s\" does not exist in table %s%s%s%s", (int)c->name.size, c->name.at,
                  schema->name, near < 0 ? "" : "; did you mean \"", near < 0 ? "" : names[near],
                  near < 0 ? "" : "\"?");
}

static enum err check_rename(struct sql_statement *s, struct why *why)
{
    const struct ast_column *c = &s->tree.ddl.columns[0];
    const struct column *column;
    enum err err = find_old_column(s, c, &column, why);
    if (!err) err = check_name(c->new_name, "column", c->position, why);
    if (!err && schema_find(s->table.schema, c->new_name))
        return why_at(why, ERR_EXISTS, c->position, "column \"%.*s\" exists already",
                      (int)c->new_name.size, c->new_name.at);
    return err;
}

static enum err check_comment(struct sql_statement *s, struct why *why)
{
    const struct ast_ddl *tree = &s->tree.ddl;
    const struct column *column;
    s->ddl.description = arena_strdup(&s->arena, tree->comment.at, tree->comment.size);
    if (!s->ddl.description) return no_memory(s, why);
    return tree->column_count ? find_old_column(s, &tree->columns[0], &column, why) : ERR_OK;
}

/* Types may only widen: what is stored must keep its meaning. */
static enum err check_type_change(struct sql_statement *s, struct why *why)
{
    static const enum type widenings[][2] = {{TYPE_BIGINT, TYPE_DOUBLE},
                                             {TYPE_UBIGINT, TYPE_DOUBLE},
                                             {TYPE_BOOL, TYPE_BIGINT},
                                             {TYPE_BOOL, TYPE_DOUBLE}};
    const struct ast_column *c = &s->tree.ddl.columns[0];
    const struct column *column;
    enum err err = find_old_column(s, c, &column, why);
    if (err || column->type == c->type) return err;
    for (size_t i = 0; i < sizeof widenings / sizeof widenings[0]; i++)
        if (widenings[i][0] == column->type && widenings[i][1] == c->type) return ERR_OK;
    return why_at(why, ERR_TYPE, c->position,
                  "column %s is %s and cannot become %s: only bigint and ubigint to double, "
                  "bool to bigint or double are possible; add a new column instead",
                  column->name, type_name(column->type), type_name(c->type));
}

/* What options say was checked while they were read. */
static enum err check_set(struct sql_statement *s, struct why *why)
{
    (void)why;
    MUST(s->tree.ddl.sets_retention || s->tree.ddl.sets_rollups);
    return ERR_OK;
}

/* The table that ALTER and DROP mean. Missing with IF EXISTS: fine, and schema stays NULL. */
static enum err find_table(struct sql_statement *s, struct why *why)
{
    const struct ast_relation *relation = &s->tree.ddl.table;
    struct why missing = WHY_NONE;
    enum err err = bind_table(s->context, &s->arena, relation, &s->table, &missing);
    if (err == ERR_NO_TABLE && s->tree.ddl.if_exists) return ERR_OK;
    if (err && why) *why = missing;
    if (!err && !s->table.has_series)
        return why_at(why, ERR_READ_ONLY, relation->position,
                      "%s is a system table; it cannot be changed", s->table.schema->name);
    return err;
}

static enum err check_action(struct sql_statement *s, struct why *why)
{
    const struct ast_ddl *tree = &s->tree.ddl;
    if (s->tree.verb == AST_CREATE) {
        s->ddl.action = DDL_CREATE;
        enum err err = check_name(tree->table.name, "table", tree->table.position, why);
        return err ? err : check_new_columns(s, why);
    }
    enum err err = find_table(s, why);
    if (err) return err;
    static const struct {
        unsigned action;
        enum err (*check)(struct sql_statement *s, struct why *why);
    } alters[] = {
        [ALTER_ADD] = {DDL_ADD_COLUMN, check_new_columns},
        [ALTER_RENAME] = {DDL_RENAME_COLUMN, check_rename},
        [ALTER_TYPE] = {DDL_SET_TYPE, check_type_change},
        [ALTER_COMMENT] = {DDL_COMMENT, check_comment},
        [ALTER_SET] = {DDL_SET, check_set},
    };
    bool drops = s->tree.verb == AST_DROP;
    s->ddl.action = drops ? DDL_DROP : alters[tree->alter].action;
    return drops || !s->table.schema ? ERR_OK : alters[tree->alter].check(s, why);
}

enum err ddl_prepare(struct sql_statement *s, struct why *why)
{
    const struct ast_ddl *tree = &s->tree.ddl;
    const struct ast_relation *relation = &tree->table;
    if (relation->schema.size > 0 && !str_is(relation->schema, "public"))
        return why_at(why, ERR_READ_ONLY, relation->position,
                      "tables are created and changed in schema public only");
    enum err err = check_action(s, why);
    if (!err) err = copy_columns(s, why);
    if (err) return err;
    s->ddl.table = relation->name.at;
    s->ddl.if_exists = s->tree.verb != AST_CREATE && tree->if_exists;
    s->ddl.if_not_exists = s->tree.verb == AST_CREATE && tree->if_exists;
    s->ddl.sets_retention = tree->sets_retention;
    s->ddl.sets_rollups = tree->sets_rollups;
    s->ddl.retention_ns = tree->retention_ns;
    s->ddl.rollup_count = tree->rollup_count;
    s->ddl.rollups_ns = tree->rollups_ns;
    s->access = (struct sql_access){"public", relation->name.at, true};
    s->access_count = 1;
    return ERR_OK;
}

/* ---- views ---- */

static enum err check_view_query(struct sql_statement *s, struct why *why)
{
    enum err err = sql_bind_query(s, why);
    const struct plan *plan = s->plans.root;
    for (size_t i = 0; !err && i < plan->visible_count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(plan->output_names[i], plan->output_names[j]) == 0)
                return why_at(why, ERR_EXISTS, s->tree.select->position,
                              "the view would have two columns \"%s\"; give them names with AS",
                              plan->output_names[i]);
    return err;
}

enum err view_prepare(struct sql_statement *s, struct why *why)
{
    const struct ast_relation *name = &s->tree.view.name;
    bool creates = s->tree.verb == AST_CREATE_VIEW;
    if (name->schema.size > 0 && !str_is(name->schema, "public"))
        return why_at(why, ERR_READ_ONLY, name->position, "views are in schema public only");
    enum err err = check_name(name->name, "view", name->position, why);
    struct sql_table table = {0};
    if (!err) err = bind_find_table(s->context, &s->arena, name, &table, why);
    bool is_table = table.schema && table.has_series;
    bind_close_table(s->context, &table);
    if (!err && is_table)
        err = why_at(why, creates ? ERR_EXISTS : ERR_INVALID, name->position, "%.*s is a table%s",
                     (int)name->name.size, name->name.at, creates ? "" : "; DROP TABLE removes it");
    if (!err && creates && s->context->param_count > 0)
        err = why_at(why, ERR_INVALID, name->position, "a view has no parameters");
    if (!err && creates) err = check_view_query(s, why);
    s->view = (struct sql_view){.name = name->name.at,
                                .query = s->tree.view.query,
                                .or_replace = s->tree.view.or_replace,
                                .if_not_exists = creates && s->tree.view.if_exists,
                                .if_exists = !creates && s->tree.view.if_exists};
    return err;
}

const struct sql_view *sql_view_of(const struct sql_statement *s)
{
    MUST(s && s->magic == SQL_STATEMENT_MAGIC);
    MUST(s->verb == SQL_CREATE_VIEW || s->verb == SQL_DROP_VIEW);
    return &s->view;
}
