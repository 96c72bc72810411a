/* sql.c - see sql.h: preparing, describing, running and closing statements. */
#include "sql/sql_priv.h"
#include "sql/op.h"
#include "sql/parse.h"

/* ---- SELECT ---- */

static enum err result_columns(struct sql_statement *s, struct why *why)
{
    const struct plan *plan = s->plans.root;
    s->columns = arena_zero(&s->arena, plan->visible_count, sizeof *s->columns);
    if (!s->columns) return expr_no_memory(s->context->budget, why);
    s->column_count = plan->visible_count;
    for (size_t i = 0; i < plan->visible_count; i++)
        s->columns[i] = (struct sql_result_column){plan->output_names[i], plan->outputs[i]->type,
                                                   plan->outputs[i]->unit};
    return ERR_OK;
}

enum err sql_bind_query(struct sql_statement *s, struct why *why)
{
    enum err err = bind_query(s->context, &s->arena, s->tree.select, &s->plans, why);
    s->accesses = s->plans.accesses;
    s->access_count = s->plans.access_count;
    return err;
}

static enum err select_prepare(struct sql_statement *s, struct why *why)
{
    enum err err = sql_bind_query(s, why);
    if (err) return err;
    return result_columns(s, why);
}

static enum err select_step(struct sql_statement *s, const struct sql_sink *sink,
                            struct sql_stats *stats, enum sql_progress *progress, struct why *why)
{
    enum err err = ERR_OK;
    *progress = SQL_DONE;
    if (!s->run)
        err = run_open(s->context, s->plans.root, s->text, false, sink, stats, why, &s->run);
    if (!err) err = run_step(s->run, progress);
    if (*progress != SQL_DONE) return ERR_OK;
    run_close(s->run);
    s->run = NULL;
    return err;
}

static enum err checkpoint_prepare(struct sql_statement *s, struct why *why)
{
    (void)s; /* touches no relation */
    (void)why;
    return ERR_OK;
}

/* ---- the kinds of statements ---- */

static const struct {
    enum sql_verb verb;
    enum err (*prepare)(struct sql_statement *s, struct why *why);
    /* Short lists come whole; NULL: see sql_step. */
    enum err (*run)(struct sql_statement *s, const struct sql_sink *sink, struct sql_stats *stats,
                    struct why *why);
} kinds[] = {
    [AST_SELECT] = {SQL_SELECT, select_prepare, NULL},
    [AST_EXPLAIN] = {SQL_SELECT, explain_prepare, explain_run},
    [AST_SHOW_TABLES] = {SQL_SELECT, show_prepare, show_run},
    [AST_SHOW_FUNCTIONS] = {SQL_SELECT, show_prepare, show_run},
    [AST_DESCRIBE] = {SQL_SELECT, show_prepare, show_run},
    [AST_INSERT] = {SQL_INSERT, insert_prepare, NULL},
    [AST_DELETE] = {SQL_DELETE, delete_prepare, NULL},
    [AST_CREATE_VIEW] = {SQL_CREATE_VIEW, view_prepare, NULL},
    [AST_DROP_VIEW] = {SQL_DROP_VIEW, view_prepare, NULL},
    [AST_CREATE] = {SQL_CREATE_TABLE, ddl_prepare, NULL},
    [AST_ALTER] = {SQL_ALTER_TABLE, ddl_prepare, NULL},
    [AST_DROP] = {SQL_DROP_TABLE, ddl_prepare, NULL},
    [AST_CHECKPOINT] = {SQL_CHECKPOINT, checkpoint_prepare, NULL},
};

static void check(const struct sql_statement *s)
{
    MUST(s && s->magic == SQL_STATEMENT_MAGIC);
}

enum err sql_prepare(const struct sql_context *context, struct str text,
                     struct sql_statement **statement, struct why *why)
{
    MUST(context && statement);
    *statement = NULL;
    struct sql_statement *s = mem_alloc_zero(1, sizeof *s);
    if (!s) return why_set(why, ERR_NO_MEMORY, "out of memory; try again when less is under way");
    s->magic = SQL_STATEMENT_MAGIC;
    s->context = context;
    arena_init(&s->arena, context->budget);
    enum err err;
    /* The tree borrows from the text, which the caller may drop: a copy. */
    char *copy =
        text.size <= AST_TEXT_BYTES_MAX ? arena_strdup(&s->arena, text.at, text.size) : NULL;
    s->text = (struct str){copy, copy ? text.size : 0};
    if (text.size > AST_TEXT_BYTES_MAX)
        err = why_at(why, ERR_LIMIT, 0, "the statement has %zu bytes, the limit is %d", text.size,
                     AST_TEXT_BYTES_MAX);
    else if (!copy)
        err = expr_no_memory(context->budget, why);
    else
        err = sql_parse(s->text, &s->arena, &s->tree, why);
    if (err == ERR_NO_MEMORY) err = expr_no_memory(context->budget, why);
    if (!err) {
        s->verb = kinds[s->tree.verb].verb;
        err = kinds[s->tree.verb].prepare(s, why);
    }
    if (err) {
        sql_close(s);
        return err;
    }
    *statement = s;
    return ERR_OK;
}

void sql_close(struct sql_statement *s)
{
    if (!s) return;
    check(s);
    run_close(s->run);
    plans_close(s->context, &s->plans);
    plans_close(s->context, &s->counting);
    bind_close_table(s->context, &s->table);
    arena_free(&s->arena);
    s->magic = 0;
    mem_free(s);
}

enum sql_verb sql_verb_of(const struct sql_statement *s)
{
    check(s);
    return s->verb;
}

size_t sql_accesses(const struct sql_statement *s, const struct sql_access **accesses)
{
    check(s);
    *accesses = s->accesses ? s->accesses : &s->access;
    return s->access_count;
}

size_t sql_columns(const struct sql_statement *s, const struct sql_result_column **columns)
{
    check(s);
    *columns = s->columns;
    return s->column_count;
}

enum err sql_step(struct sql_statement *s, const struct sql_sink *sink, struct sql_stats *stats,
                  enum sql_progress *progress, struct why *why)
{
    check(s);
    MUST(s->verb == SQL_SELECT && stats);
    if (!kinds[s->tree.verb].run) return select_step(s, sink, stats, progress, why);
    *progress = SQL_DONE;
    return kinds[s->tree.verb].run(s, sink, stats, why);
}

enum err sql_ddl_of(const struct sql_statement *s, const struct sql_ddl **ddl)
{
    check(s);
    if (s->verb != SQL_CREATE_TABLE && s->verb != SQL_ALTER_TABLE && s->verb != SQL_DROP_TABLE)
        return ERR_INVALID;
    *ddl = &s->ddl;
    return ERR_OK;
}

const struct schema *sql_target(const struct sql_statement *s)
{
    check(s);
    MUST(s->verb == SQL_INSERT || s->verb == SQL_DELETE);
    return s->verb == SQL_INSERT ? s->table.schema : s->plans.root->table.schema;
}

bool sql_merges(const struct sql_statement *s)
{
    check(s);
    return s->tree.merges;
}

bool sql_confirms_clock(const struct sql_statement *s)
{
    check(s);
    return s->tree.confirms_clock;
}
