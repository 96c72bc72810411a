/* parse_stmt.c - the list of statements, and all of them but SELECT. */
#include "sql/parse_priv.h"
#include "base/timetext.h"

/* ---- INSERT ---- */

static struct ast_column *add_column(struct parser *p, struct ast_column **columns, size_t *count,
                                     size_t *capacity)
{
    if (p->err || !parse_grow(p, columns, *count, capacity, sizeof **columns)) return NULL;
    struct ast_column *column = &(*columns)[(*count)++];
    column->position = p->token.position;
    column->qualifier = column->new_name = column->unit = column->comment = STR("");
    return column;
}

static void parse_insert_columns(struct parser *p, struct ast_insert *insert)
{
    size_t capacity = 0;
    parse_expect(p, "(");
    do {
        struct ast_column *column =
            add_column(p, &insert->columns, &insert->column_count, &capacity);
        if (!column) return;
        column->name = parse_name(p, "a column's name");
        if (parse_accept(p, ".")) {
            column->qualifier = column->name;
            column->name = parse_name(p, "a label's name");
        }
    } while (parse_accept(p, ","));
    parse_expect(p, ")");
}

void parse_insert(struct parser *p, struct ast_insert *insert)
{
    size_t capacity = 0;
    parse_expect(p, "into");
    insert->into = parse_relation(p);
    if (!parse_is(p, "(")) parse_fail_expected(p, "\"(\" and the list of columns");
    parse_insert_columns(p, insert);
    if (parse_is(p, "select") || parse_is(p, "with") || parse_is(p, "(")) {
        insert->query = parse_query(p);
        return;
    }
    if (!parse_is(p, "values")) parse_fail_expected(p, "\"VALUES\" or \"SELECT\"");
    parse_advance(p);
    do {
        if (p->err ||
            !parse_grow(p, &insert->rows, insert->row_count, &capacity, sizeof *insert->rows))
            return;
        struct ast_list *row = &insert->rows[insert->row_count++];
        int32_t position = p->token.position;
        parse_expect(p, "(");
        parse_expressions(p, row);
        parse_expect(p, ")");
        if (row->count != insert->column_count)
            parse_fail(p, ERR_SYNTAX, position,
                       "this row has %zu values, but the list of columns has %zu", row->count,
                       insert->column_count);
    } while (parse_accept(p, ","));
    if (parse_is(p, "on") || parse_is(p, "returning"))
        parse_fail(
            p, ERR_UNSUPPORTED, p->token.position,
            "ON CONFLICT and RETURNING are not in this version; a row with the same device and time is updated");
}

/* ---- CREATE, ALTER, DROP ---- */

/* name type [UNIT 'x'] [COMMENT 'y'] [NULL] */
static void parse_column_definition(struct parser *p, struct ast_column *column)
{
    column->position = p->token.position;
    column->name = parse_name(p, "a column's name");
    column->type = parse_type(p);
    for (;;) {
        if (parse_accept(p, "unit"))
            column->unit = parse_string(p, "the unit as a string");
        else if (parse_accept(p, "comment"))
            column->comment = parse_string(p, "the comment as a string");
        else if (!parse_accept(p, "null"))
            break;
    }
    if (parse_is(p, "primary") || parse_is(p, "not") || parse_is(p, "default") ||
        parse_is(p, "unique"))
        parse_fail(
            p, ERR_UNSUPPORTED, p->token.position,
            "constraints and defaults do not exist here: a row's key is always (device, time)");
}

/* One window of '1m,1h'. */
static void add_rollup(struct parser *p, struct ast_ddl *ddl, struct str text, int32_t position)
{
    const int64_t second = 1000000000, day = 86400 * second;
    int64_t every;
    if (!duration_parse(str_trim(text), &every) || every <= 0 || every % second || day % every) {
        parse_fail(p, ERR_SYNTAX, position,
                   "a rollup's windows are whole seconds and a day is a whole number of them: "
                   "'1m', '1m,1h'; '' for none");
        return;
    }
    for (size_t i = 0; i < ddl->rollup_count; i++)
        if (ddl->rollups_ns[i] == every)
            parse_fail(p, ERR_SYNTAX, position, "such windows stand here twice");
    if (ddl->rollup_count == SCHEMA_ROLLUPS_MAX)
        parse_fail(p, ERR_LIMIT, position, "more than %d rollups", SCHEMA_ROLLUPS_MAX);
    else
        ddl->rollups_ns[ddl->rollup_count++] = every;
}

static void parse_rollups(struct parser *p, struct ast_ddl *ddl)
{
    int32_t position = p->token.position;
    struct str rest = parse_string(p, "the lengths of windows as a string");
    ddl->sets_rollups = true;
    ddl->rollup_count = 0;
    while (!p->err && str_trim(rest).size) {
        size_t size = 0;
        while (size < rest.size && rest.at[size] != ',') size++;
        add_rollup(p, ddl, (struct str){rest.at, size}, position);
        if (size < rest.size) size++;
        rest = (struct str){rest.at + size, rest.size - size};
    }
}

/* (retention = '90d', rollups = '1m,1h') */
static void parse_options(struct parser *p, struct ast_ddl *ddl)
{
    parse_expect(p, "(");
    do {
        bool retention = parse_is(p, "retention");
        if (!retention && !parse_is(p, "rollups"))
            parse_fail_expected(p, "\"RETENTION\" or \"ROLLUPS\"");
        parse_advance(p);
        parse_expect(p, "=");
        if (retention)
            ddl->retention_ns = parse_duration(p, "a duration");
        else
            parse_rollups(p, ddl);
        ddl->sets_retention |= retention;
    } while (parse_accept(p, ",") && !p->err);
    parse_expect(p, ")");
}

/* CREATE STABLE names the rows' time as its first column; every table has that one. */
static void parse_time_column(struct parser *p)
{
    int32_t position = p->token.position;
    struct str name = parse_name(p, "a column's name");
    if (p->err) return;
    if (!str_is(name, "time") || parse_type(p) != TYPE_TIMESTAMP)
        parse_fail(p, ERR_UNSUPPORTED, position,
                   "the first column of a stable is the rows' time, which is called time here: "
                   "time timestamp, …");
    parse_expect(p, ",");
}

/* TAGS (name type, …): labels, which come with the devices and are texts. */
static void parse_tags(struct parser *p, struct ast_ddl *ddl)
{
    size_t capacity = 0;
    parse_expect(p, "tags");
    parse_expect(p, "(");
    do {
        struct ast_column *tag = add_column(p, &ddl->tags, &ddl->tag_count, &capacity);
        if (!tag) return;
        parse_column_definition(p, tag);
    } while (parse_accept(p, ","));
    parse_expect(p, ")");
}

void parse_create(struct parser *p, struct ast_ddl *ddl)
{
    size_t capacity = 0;
    bool is_stable = parse_accept(p, "stable");
    if (!is_stable) parse_expect(p, "table");
    if (parse_accept2(p, "if", "not")) {
        parse_expect(p, "exists");
        ddl->if_exists = true;
    }
    ddl->table = parse_relation(p);
    if (parse_is(p, "using"))
        parse_fail(
            p, ERR_UNSUPPORTED, p->token.position,
            "a device has no table of its own here, it comes with its first row: INSERT INTO "
            "the stable (time, device, label.NAME, …) VALUES (…)");
    parse_expect(p, "(");
    if (is_stable) parse_time_column(p);
    do {
        struct ast_column *column = add_column(p, &ddl->columns, &ddl->column_count, &capacity);
        if (!column) return;
        parse_column_definition(p, column);
    } while (parse_accept(p, ","));
    if (!parse_is(p, ")")) parse_fail_expected(p, "\",\", \")\", UNIT or COMMENT");
    parse_advance(p);
    if (is_stable) parse_tags(p, ddl);
    if (parse_accept(p, "with")) parse_options(p, ddl);
}

static void parse_alter_add(struct parser *p, struct ast_ddl *ddl)
{
    size_t capacity = 0;
    do {
        parse_accept(p, "column");
        struct ast_column *column = add_column(p, &ddl->columns, &ddl->column_count, &capacity);
        if (!column) return;
        parse_column_definition(p, column);
        if (!parse_accept(p, ",")) return;
    } while (parse_accept(p, "add"));
    parse_fail_expected(p, "\"ADD\"");
}

void parse_alter(struct parser *p, struct ast_ddl *ddl)
{
    size_t capacity = 0;
    parse_expect(p, "table");
    ddl->if_exists = parse_accept2(p, "if", "exists");
    ddl->table = parse_relation(p);
    if (parse_accept(p, "add")) {
        ddl->alter = ALTER_ADD;
        parse_alter_add(p, ddl);
        return;
    }
    if (parse_accept(p, "set")) {
        ddl->alter = ALTER_SET;
        parse_options(p, ddl);
        return;
    }
    bool rename = parse_accept(p, "rename");
    if (!rename && !parse_accept(p, "alter")) {
        parse_fail_expected(p, "\"ADD\", \"RENAME\", \"ALTER\" or \"SET\"");
        return;
    }
    parse_accept(p, "column");
    struct ast_column *column = add_column(p, &ddl->columns, &ddl->column_count, &capacity);
    if (!column) return;
    column->name = parse_name(p, "a column's name");
    ddl->alter = rename ? ALTER_RENAME : ALTER_TYPE;
    if (rename) {
        parse_expect(p, "to");
        column->new_name = parse_name(p, "the new name");
    } else {
        if (parse_accept(p, "set")) parse_expect(p, "data");
        parse_expect(p, "type");
        column->type = parse_type(p);
    }
}

void parse_drop(struct parser *p, struct ast_ddl *ddl)
{
    parse_expect(p, "table");
    ddl->if_exists = parse_accept2(p, "if", "exists");
    ddl->table = parse_relation(p);
}

/* ---- the list of statements: the first word decides ---- */

static void statement_select(struct parser *p, struct ast_statement *s)
{
    s->select = parse_query(p);
}

static void statement_explain(struct parser *p, struct ast_statement *s)
{
    parse_advance(p);
    s->analyze = parse_accept(p, "analyze");
    s->select = parse_query(p);
}

/* SELECT * FROM schema.name */
static struct ast_select *parse_select_all(struct parser *p, struct str schema, struct str name)
{
    struct ast_select *select = parse_zero(p, 1, sizeof *select);
    struct ast_item *item = parse_zero(p, 1, sizeof *item);
    struct ast *star = parse_zero(p, 1, sizeof *star);
    struct ast_from *from = parse_zero(p, 1, sizeof *from);
    if (!select || !item || !star || !from) return NULL;
    *star = (struct ast){.kind = AST_STAR, .position = p->token.position, .depth = 1};
    star->schema = star->qualifier = item->alias = STR("");
    item->tree = star;
    from->relation = (struct ast_relation){schema, name, name, p->token.position};
    from->position = p->token.position;
    select->items = item;
    select->item_count = 1;
    select->from = from;
    return select;
}

static void statement_show(struct parser *p, struct ast_statement *s)
{
    parse_advance(p);
    if (parse_accept(p, "functions")) {
        s->verb = AST_SHOW_FUNCTIONS;
    } else if (parse_is(p, "health")) { /* SELECT * FROM sys.health */
        s->verb = AST_SELECT;
        s->select = parse_select_all(p, STR("sys"), STR("health"));
        parse_advance(p);
    } else if (!parse_accept(p, "tables")) {
        parse_fail_expected(p, "\"TABLES\", \"FUNCTIONS\" or \"HEALTH\"");
    }
}

static void statement_describe(struct parser *p, struct ast_statement *s)
{
    parse_advance(p);
    parse_accept(p, "table");
    s->relation = parse_relation(p);
}

static void statement_insert(struct parser *p, struct ast_statement *s)
{
    parse_advance(p);
    parse_insert(p, &s->insert);
}

static struct ast *name_tree(struct parser *p, const char *name, int32_t position)
{
    struct ast *tree = parse_zero(p, 1, sizeof *tree);
    if (tree)
        *tree = (struct ast){.kind = AST_NAME,
                             .position = position,
                             .depth = 1,
                             .schema = STR(""),
                             .qualifier = STR(""),
                             .text = str_of(name)};
    return tree;
}

/* What stands behind DELETE FROM, as a query for device and `second`. */
static struct ast_select *delete_query(struct parser *p, struct ast *second)
{
    struct str schema = {"", 0};
    int32_t position = p->token.position;
    struct str table = parse_name(p, "a table's name");
    if (parse_accept(p, ".")) schema = table, table = parse_name(p, "a table's name");
    struct ast_select *select = parse_select_all(p, schema, table);
    if (!select) return NULL;
    select->from->relation.position = position;
    parse_alias(p, select->from);
    if (parse_is(p, "using") || parse_is(p, "returning"))
        parse_fail(
            p, ERR_UNSUPPORTED, p->token.position,
            "DELETE takes FROM and WHERE; a condition may hold a query: WHERE device IN (SELECT …)");
    if (parse_accept(p, "where")) select->where = parse_expression(p);
    select->items = parse_zero(p, 2, sizeof *select->items);
    struct ast *device = name_tree(p, "device", position);
    if (!select->items || !device || !second) return NULL;
    select->items[0] = (struct ast_item){device, STR("")};
    select->items[1] = (struct ast_item){second, STR("")};
    select->item_count = 2;
    return select;
}

/* DELETE FROM t WHERE …: the query that finds device and time of its rows, and the same as a count
 * by device. Names are bound to columns in the tree, so each query has a tree of its own. */
static void statement_delete(struct parser *p, struct ast_statement *s)
{
    parse_advance(p);
    parse_expect(p, "from");
    const struct parser before = *p;
    int32_t position = p->token.position;
    s->select = delete_query(p, name_tree(p, "time", position));
    if (p->err) return;
    *p = before;
    struct ast *count = parse_zero(p, 1, sizeof *count), *star = parse_zero(p, 1, sizeof *star);
    struct ast **args = parse_zero(p, 1, sizeof(struct ast *));
    struct ast_order *order = parse_zero(p, 1, sizeof *order);
    if (!count || !star || !args || !order) return;
    *star = (struct ast){
        .kind = AST_STAR, .position = position, .depth = 1, .qualifier = STR(""), .text = STR("")};
    args[0] = star;
    *count = (struct ast){.kind = AST_CALL,
                          .position = position,
                          .depth = 2,
                          .text = STR("count"),
                          .arg_count = 1,
                          .args = args};
    struct ast_select *counting = delete_query(p, count);
    if (!counting || !parse_list_add(p, &counting->group_by, name_tree(p, "device", position)))
        return;
    order->tree = name_tree(p, "device", position);
    counting->order = order;
    counting->order_count = 1;
    s->counting = counting;
}

/* CREATE [OR REPLACE] VIEW [IF NOT EXISTS] name AS query: the query's text is kept. */
static void parse_view(struct parser *p, struct ast_statement *s)
{
    s->verb = AST_CREATE_VIEW;
    parse_expect(p, "view");
    if (parse_accept2(p, "if", "not")) {
        parse_expect(p, "exists");
        s->view.if_exists = true;
    }
    s->view.name = parse_relation(p);
    if (parse_is(p, "("))
        parse_fail(p, ERR_UNSUPPORTED, p->token.position,
                   "the columns get their names in the query: SELECT a AS b");
    parse_expect(p, "as");
    int32_t from = p->token.position;
    s->select = parse_query(p);
    if (p->err) return;
    int32_t to = p->token.position;
    s->view.query = str_trim((struct str){p->lexer.text.at + from, (size_t)(to - from)});
}

static void statement_create(struct parser *p, struct ast_statement *s)
{
    parse_advance(p);
    s->view.or_replace = parse_accept2(p, "or", "replace");
    if (s->view.or_replace || parse_is(p, "view")) {
        parse_view(p, s);
        return;
    }
    parse_create(p, &s->ddl);
}

static void statement_alter(struct parser *p, struct ast_statement *s)
{
    parse_advance(p);
    parse_alter(p, &s->ddl);
}

static void statement_drop(struct parser *p, struct ast_statement *s)
{
    parse_advance(p);
    if (parse_accept(p, "view")) {
        s->verb = AST_DROP_VIEW;
        s->view.if_exists = parse_accept2(p, "if", "exists");
        s->view.name = parse_relation(p);
        return;
    }
    parse_drop(p, &s->ddl);
}

/* COMMENT ON TABLE t IS '…' | NULL, COMMENT ON COLUMN t.c IS …: the description in the table's
 * document. */
static void statement_comment(struct parser *p, struct ast_statement *s)
{
    size_t capacity = 0;
    s->ddl.alter = ALTER_COMMENT;
    parse_advance(p);
    parse_expect(p, "on");
    struct ast_column *column = NULL;
    if (parse_accept(p, "column")) {
        struct str parts[3];
        int32_t positions[3];
        size_t count = 0;
        do {
            positions[count] = p->token.position;
            parts[count++] = parse_name(p, "a table's and a column's name, as in press.t");
        } while (count < 3 && parse_accept(p, "."));
        if (count == 1) parse_expect(p, ".");
        if (p->err) return;
        s->ddl.table = (struct ast_relation){.schema = count == 3 ? parts[0] : STR(""),
                                             .name = parts[count - 2],
                                             .alias = STR(""),
                                             .position = positions[count - 2]};
        column = add_column(p, &s->ddl.columns, &s->ddl.column_count, &capacity);
        if (!column) return;
        column->name = parts[count - 1];
        column->position = positions[count - 1];
    } else if (parse_accept(p, "table")) {
        s->ddl.table = parse_relation(p);
    } else {
        parse_fail_expected(p, "\"TABLE\" or \"COLUMN\"");
    }
    parse_expect(p, "is");
    struct str text =
        parse_accept(p, "null") ? STR("") : parse_string(p, "the comment as a string, or NULL");
    if (column) column->comment = text;
    s->ddl.comment = text;
}

static void statement_checkpoint(struct parser *p, struct ast_statement *s)
{
    s->merges = parse_is(p, "vacuum");
    parse_advance(p);
}

static void statement_confirm(struct parser *p, struct ast_statement *s)
{
    parse_advance(p);
    parse_expect(p, "clock");
    s->confirms_clock = true;
}

/* They never come here by a protocol that has sessions. */
static void statement_session(struct parser *p, struct ast_statement *s)
{
    (void)s;
    parse_fail(p, ERR_UNSUPPORTED, p->token.position,
               "prepared statements belong to a session, which an HTTP request has not; send "
               "{\"query\": \"… $1 …\", \"params\": […]}, or connect as to PostgreSQL "
               "(listen.postgres)");
}

static const struct {
    const char *word;
    enum ast_verb verb;
    void (*parse)(struct parser *p, struct ast_statement *s);
} statements[] = {
    {"select", AST_SELECT, statement_select},
    {"with", AST_SELECT, statement_select},
    {"values", AST_SELECT, statement_select},
    {"(", AST_SELECT, statement_select},
    {"explain", AST_EXPLAIN, statement_explain},
    {"show", AST_SHOW_TABLES, statement_show},
    {"describe", AST_DESCRIBE, statement_describe},
    {"desc", AST_DESCRIBE, statement_describe},
    {"insert", AST_INSERT, statement_insert},
    {"delete", AST_DELETE, statement_delete},
    {"create", AST_CREATE, statement_create},
    {"alter", AST_ALTER, statement_alter},
    {"drop", AST_DROP, statement_drop},
    {"comment", AST_ALTER, statement_comment},
    {"checkpoint", AST_CHECKPOINT, statement_checkpoint},
    {"vacuum", AST_CHECKPOINT, statement_checkpoint},
    {"confirm", AST_CHECKPOINT, statement_confirm},
    {"prepare", AST_SELECT, statement_session},
    {"execute", AST_SELECT, statement_session},
    {"deallocate", AST_SELECT, statement_session},
};
enum { STATEMENT_COUNT = sizeof statements / sizeof statements[0] };

static void fail_statement(struct parser *p)
{
    const char *names[STATEMENT_COUNT];
    for (size_t i = 0; i < STATEMENT_COUNT; i++) names[i] = statements[i].word;
    int near =
        p->token.kind == TOKEN_NAME ? str_nearest(p->token.text, names, STATEMENT_COUNT) : -1;
    if (near < 0)
        parse_fail_expected(
            p, "SELECT, INSERT, DELETE, CREATE, ALTER, DROP, SHOW, DESCRIBE or EXPLAIN");
    else
        parse_fail(p, ERR_SYNTAX, p->token.position,
                   "\"%.*s\" is not a statement; did you mean \"%s\"?", (int)p->token.text.size,
                   p->token.text.at, names[near]);
}

/* Fills the two tokens. */
static void begin(struct parser *p)
{
    p->next.kind = TOKEN_SYMBOL; /* anything but the end, so that they get filled */
    p->err = lex_next(&p->lexer, &p->next, p->why);
    if (!p->err) parse_advance(p);
}

static enum err parse_at(struct str text, struct arena *arena, struct ast_statement *statement,
                         int32_t everywhere, struct why *why)
{
    struct parser p = {.lexer = {text, 0}, .arena = arena, .why = why, .everywhere = everywhere};
    *statement = (struct ast_statement){0};
    if (text.size > AST_TEXT_BYTES_MAX)
        return why_at(why, ERR_LIMIT, 0, "the statement has %zu bytes, the limit is %d", text.size,
                      AST_TEXT_BYTES_MAX);
    if (!str_is_utf8(text)) return why_at(why, ERR_SYNTAX, 0, "the statement is not UTF-8 text");
    begin(&p);
    if (p.err) return p.err;
    size_t i = 0;
    while (i < STATEMENT_COUNT && !parse_is(&p, statements[i].word)) i++;
    if (i < STATEMENT_COUNT) {
        statement->verb = statements[i].verb;
        statements[i].parse(&p, statement);
    } else {
        fail_statement(&p);
    }
    parse_accept(&p, ";");
    if (!p.err && p.token.kind != TOKEN_END) parse_fail_expected(&p, "the end of the statement");
    return p.err;
}

enum err sql_parse(struct str text, struct arena *arena, struct ast_statement *statement,
                   struct why *why)
{
    return parse_at(text, arena, statement, -1, why);
}

enum err sql_parse_type(struct str text, enum type *type, struct why *why)
{
    struct arena arena;
    struct parser p = {.lexer = {text, 0}, .arena = &arena, .why = why, .everywhere = -1};
    arena_init(&arena, NULL);
    begin(&p);
    *type = parse_type(&p);
    if (!p.err && p.token.kind != TOKEN_END) parse_fail_expected(&p, "the end of the type");
    arena_free(&arena);
    return p.err;
}

enum err sql_parse_view(struct str text, struct arena *arena, int32_t position,
                        struct ast_select **select, struct why *why)
{
    struct ast_statement statement;
    enum err err = parse_at(text, arena, &statement, position, why);
    if (err) return err;
    if (statement.verb != AST_SELECT)
        return why_at(why, ERR_INVALID, position, "the view is no SELECT");
    *select = statement.select;
    return ERR_OK;
}
