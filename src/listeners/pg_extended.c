/* pg_extended.c - the extended query protocol: Parse, Bind, Describe, Execute, Close, Sync.
 *
 * Parse has the engine parse and bind the statement once, with NULL for every parameter: so what is
 * wrong with it is said at Parse, the types that parameters take from their places are known, and
 * so are the columns. Bind and Execute have it parsed and bound again with the values, which costs
 * some microseconds and keeps nothing of the engine's between messages. After an error everything
 * up to Sync is thrown away. */
#include "listeners/pg_priv.h"
#include "base/num.h"
#include <string.h>

/* ---- statements ---- */

struct pg_statement *pg_statement_find(struct pg_session *s, struct str name)
{
    struct pg_statement *st = s->statements;
    while (st && !str_is(name, st->name)) st = st->next;
    return st;
}

static void free_statement(struct pg_statement *st)
{
    for (size_t i = 0; i < st->column_count; i++) mem_free(st->columns[i].name);
    mem_free(st->columns);
    mem_free(st->text);
    mem_free(st);
}

void pg_statement_drop(struct pg_session *s, struct pg_statement *statement)
{
    struct pg_statement **link = &s->statements;
    while (*link && *link != statement) link = &(*link)->next;
    MUST(*link == statement && s->statement_count > 0);
    *link = statement->next;
    s->statement_count--;
    for (struct pg_portal *p = s->portals; p; p = p->next)
        if (p->statement == statement) p->statement = NULL;
    free_statement(statement);
}

static enum err fail(struct pg_connection *c, enum err err, const struct why *why, struct str text)
{
    pg_error(c, err, why, text, 0);
    c->state = PG_STATE_SKIP;
    return err;
}

static void fail_text(struct pg_connection *c, const char *sqlstate, const char *text)
{
    pg_error_text(c, sqlstate, text);
    c->state = PG_STATE_SKIP;
}

void pg_extended_next(struct pg_connection *c, bool failed)
{
    pg_resume(c, failed ? PG_STATE_SKIP : PG_STATE_READY);
}

/* The highest $n of a text. */
static enum err count_params(struct str text, size_t *count, struct why *why)
{
    struct lexer lexer = {text, 0};
    struct token token;
    enum err err;
    *count = 0;
    do {
        uint64_t n;
        err = lex_next(&lexer, &token, why);
        if (err || token.kind != TOKEN_PARAM) continue;
        struct str digits = {token.text.at + 1, token.text.size - 1};
        if (!num_parse_u64(digits, &n) || n == 0 || n > PG_PARAMS_MAX)
            return why_at(why, ERR_LIMIT, token.position, "parameters are numbered from $1 to $%d",
                          PG_PARAMS_MAX);
        if (n > *count) *count = (size_t)n;
    } while (!err && token.kind != TOKEN_END);
    return err;
}

/* ---- Parse ---- */

static struct pg_statement *statement_new(struct str name, struct str text)
{
    struct pg_statement *st = mem_alloc_zero(1, sizeof *st);
    if (st) st->text = mem_alloc(text.size + 1);
    if (!st || !st->text) {
        mem_free(st);
        return NULL;
    }
    (void)str_copy(st->name, sizeof st->name, name);
    if (text.size) memcpy(st->text, text.at, text.size);
    st->text[text.size] = 0;
    st->size = text.size;
    return st;
}

/* What the engine said: columns, and types of the parameters that the client left open. */
static enum err take_description(struct pg_statement *st, struct pg_portal *p)
{
    const struct query *q = &p->query;
    st->has_rows = q->verb == SQL_SELECT;
    for (size_t i = 0; i < st->param_count; i++)
        if (!st->params[i]) st->params[i] = pg_type_of(q->param_types[i])->oid;
    size_t count = st->has_rows ? q->column_count : 0;
    st->columns = mem_alloc_zero(count ? count : 1, sizeof *st->columns);
    if (!st->columns) return ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        st->columns[i].name = mem_strdup(q->columns[i].name);
        st->columns[i].type = pg_type_of_column(q->columns[i].type, q->columns[i].unit);
        if (!st->columns[i].name) return ERR_NO_MEMORY;
        st->column_count = i + 1;
    }
    st->is_described = true;
    return ERR_OK;
}

static void forget_description(struct pg_statement *st)
{
    for (size_t i = 0; i < st->column_count; i++) mem_free(st->columns[i].name);
    mem_free(st->columns);
    st->columns = NULL;
    st->column_count = 0;
    st->is_described = false;
}

static void on_parsed(struct pg_portal *p)
{
    struct pg_connection *c = p->connection;
    struct pg_statement *st = p->statement;
    forget_description(st);
    enum err err = take_description(st, p);
    pg_portal_free(p);
    if (err) {
        struct why why = WHY_NONE;
        pg_error(c, err, &why, STR(""), 0);
        if (st->is_new) pg_statement_drop(c->session, st);
        pg_next(c, true);
        return;
    }
    st->after_description(c, st);
    pg_next(c, false);
}

/* With NULL for a parameter an engine may refuse what it would take with a value; that is then said
 * at Execute. What no value can mend is said now. */
static bool is_final(enum err err)
{
    return err != ERR_TYPE && err != ERR_INVALID && err != ERR_RANGE;
}

static void on_not_parsed(struct pg_portal *p, enum err err, const struct why *why)
{
    struct pg_connection *c = p->connection;
    struct pg_statement *st = p->statement;
    if (!is_final(err) && st->param_count && st->is_new) {
        st->after_description(c, st);
        err = ERR_OK;
    } else {
        /* In a simple query the position would count in another text. */
        pg_error(c, err, why, c->session->simple ? STR("") : str_of(p->text), 0);
        if (st->is_new) pg_statement_drop(c->session, st);
    }
    pg_portal_free(p);
    pg_next(c, err != ERR_OK);
}

enum err pg_statement_describe(struct pg_connection *c, struct pg_statement *st, bool is_new,
                               void (*after)(struct pg_connection *, struct pg_statement *))
{
    struct pg_portal *p = pg_portal_new(c, (struct str){st->text, st->size});
    st->is_new = is_new;
    st->after_description = after;
    if (!p) return ERR_NO_MEMORY;
    p->statement = st;
    p->prepared = on_parsed;
    p->done = on_not_parsed;
    p->query.param_count = st->param_count;
    p->query.are_params_open = true;
    for (size_t i = 0; i < st->param_count; i++) {
        const struct pg_type *type = pg_type_find(st->params[i]);
        bool is_number = st->params[i] == 1700; /* a double may stand wherever a number may */
        p->query.params[i] = (struct value){.type = is_number ? TYPE_DOUBLE
                                                    : type    ? type->type
                                                              : TYPE_TEXT,
                                            .is_null = true};
    }
    pg_portal_prepare(p);
    return ERR_OK;
}

/* The same for a message. */
static void describe_statement(struct pg_connection *c, struct pg_statement *st, bool is_new,
                               void (*after)(struct pg_connection *, struct pg_statement *))
{
    struct why why = WHY_NONE;
    enum err err = pg_statement_describe(c, st, is_new, after);
    if (err) fail(c, err, &why, STR(""));
}

static void answer_parse(struct pg_connection *c, struct pg_statement *st)
{
    st->is_new = false;
    pg_empty(&c->out, '1');
}

enum err pg_statement_make(struct pg_connection *c, const struct pg_parse *parse,
                           struct pg_statement **made, struct why *why)
{
    struct pg_session *s = c->session;
    struct lexer lexer = {parse->text, 0};
    struct str text = {parse->text.at, 0}, more;
    bool found, found_more = false;
    size_t count = 0;
    bool good = pg_split(&lexer, &text, &found, why) &&
                (!found || pg_split(&lexer, &more, &found_more, why));
    enum err err = good ? ERR_OK : ERR_SYNTAX;
    if (!str_is_utf8(parse->text)) err = why_set(why, ERR_SYNTAX, "the text is not UTF-8");
    if (!err && found_more)
        err = why_set(why, ERR_SYNTAX, "cannot insert multiple commands into a prepared statement");
    if (!err) err = count_params(text, &count, why);
    if (!err && parse->name.size >= PG_NAME_BYTES)
        err = why_set(why, ERR_LIMIT, "the name of a statement is longer than 63 bytes");
    if (!err && s->statement_count >= PG_STATEMENTS_MAX)
        err = why_set(why, ERR_LIMIT, "more than %d prepared statements; close some",
                      PG_STATEMENTS_MAX);
    struct pg_statement *st = err ? NULL : statement_new(parse->name, text);
    if (!err && !st) err = ERR_NO_MEMORY;
    if (err) return err;
    st->command = found ? pg_command_find(text) : NULL;
    if (st->command) count = 0; /* the $1 in a PREPARE are its statement's */
    st->param_count = count > parse->type_count ? count : parse->type_count;
    memcpy(st->params, parse->types, parse->type_count * sizeof parse->types[0]);
    for (size_t i = 0; i < parse->type_count; i++)
        if (st->params[i] == 705) st->params[i] = 0; /* "unknown" */
    st->next = s->statements;
    s->statements = st;
    s->statement_count++;
    *made = st;
    return ERR_OK;
}

static bool is_aborted(struct pg_connection *c, const struct pg_command *command)
{
    if (c->session->transaction != 'E' || (command && command->in_failed)) return false;
    fail_text(c, "25P02",
              "current transaction is aborted, commands ignored until end of transaction block");
    return true;
}

static void take_parse(struct pg_connection *c, struct str body)
{
    struct pg_session *s = c->session;
    struct pg_parse parse = {0};
    struct why why = WHY_NONE;
    enum err err = pg_read_parse(body, &parse, &why);
    if (err) {
        fail(c, err, &why, STR(""));
        return;
    }
    struct pg_statement *old = pg_statement_find(s, parse.name);
    if (old && parse.name.size) {
        fail_text(c, "42P05", "a prepared statement of this name exists already");
        return;
    }
    if (old) pg_statement_drop(s, old);
    struct pg_statement *st;
    err = pg_statement_make(c, &parse, &st, &why);
    if (err) {
        fail(c, err, &why, parse.text);
        return;
    }
    if (is_aborted(c, st->command)) {
        pg_statement_drop(s, st);
        return;
    }
    if (st->command || !st->size) {
        st->is_described = true;
        answer_parse(c, st);
    } else {
        describe_statement(c, st, true, answer_parse);
    }
}

/* ---- Bind ---- */

static enum err read_params(struct pg_portal *p, const struct pg_statement *st,
                            const struct pg_bind *bind, struct why *why)
{
    enum err err = ERR_OK;
    p->query.param_count = bind->param_count;
    for (size_t i = 0; i < bind->param_count && !err; i++) {
        struct value *value = &p->query.params[i];
        uint32_t oid = st->params[i];
        const struct pg_type *type = pg_type_find(oid);
        *value = (struct value){.type = type ? type->type : TYPE_TEXT, .is_null = true};
        if (bind->params[i].is_null) continue;
        size_t size = bind->params[i].bytes.size;
        char *copy = arena_dup(&p->arena, size ? bind->params[i].bytes.at : "", size);
        if (!copy) return why_set(why, ERR_NO_MEMORY, "no memory for a parameter");
        err = pg_param_read(oid, bind->params[i].is_binary, (struct str){copy, size}, &p->arena,
                            value, why);
        if (err) why_wrap(why, err, "parameter $%zu", i + 1);
    }
    return err;
}

static enum err make_portal(struct pg_connection *c, const struct pg_bind *bind, struct why *why)
{
    struct pg_session *s = c->session;
    struct pg_statement *st = pg_statement_find(s, bind->statement);
    if (!st)
        return why_set(why, ERR_NOT_FOUND, "prepared statement \"%.*s\" does not exist",
                       (int)bind->statement.size, bind->statement.at);
    if (bind->param_count != st->param_count)
        return why_set(
            why, ERR_PROTOCOL,
            "bind message supplies %zu parameters, but the prepared statement requires %zu",
            bind->param_count, st->param_count);
    if (bind->portal.size >= PG_NAME_BYTES)
        return why_set(why, ERR_LIMIT, "the name of a portal is longer than 63 bytes");
    struct pg_portal *old = pg_portal_find(s, bind->portal);
    if (old && bind->portal.size)
        return why_set(why, ERR_EXISTS, "portal \"%.*s\" exists already", (int)bind->portal.size,
                       bind->portal.at);
    if (old) pg_portal_drop(s, old);
    if (s->portal_count >= PG_PORTALS_MAX)
        return why_set(why, ERR_LIMIT, "more than %d portals; close some", PG_PORTALS_MAX);
    struct pg_portal *p = pg_portal_new(c, (struct str){st->text, st->size});
    if (!p) return why_set(why, ERR_NO_MEMORY, "no memory for a portal");
    (void)str_copy(p->name, sizeof p->name, bind->portal);
    p->command = st->command;
    if (!bind->portal.size && st->is_described && !st->name[0]) p->statement = st;
    p->format_count = bind->format_count;
    p->formats = arena_dup(&p->arena, bind->formats, bind->format_count * 2);
    enum err err = p->formats ? read_params(p, st, bind, why) : ERR_NO_MEMORY;
    if (err) {
        pg_portal_free(p);
        return err;
    }
    pg_portal_keep(p);
    return ERR_OK;
}

static void take_bind(struct pg_connection *c, struct str body)
{
    struct pg_bind bind;
    struct why why = WHY_NONE;
    enum err err = pg_read_bind(body, &bind, &why);
    struct pg_statement *st = err ? NULL : pg_statement_find(c->session, bind.statement);
    if (st && is_aborted(c, st->command)) return;
    if (!err) err = make_portal(c, &bind, &why);
    if (err == ERR_NOT_FOUND) {
        fail_text(c, "26000", why.text);
    } else if (err) {
        fail(c, err, &why, STR(""));
    } else {
        pg_empty(&c->out, '2');
    }
}

/* ---- Describe ---- */

static void describe_command(struct pg_connection *c, const struct pg_command *command,
                             struct str text, const struct pg_portal *formats)
{
    struct pg_call call = {.c = c, .text = text};
    const struct pg_statement *st = command ? pg_command_rows(command, &call) : NULL;
    if (st && st->has_rows) {
        pg_row_description(&c->out, st->columns, st->column_count, formats);
        return;
    }
    const char *name = command && command->column ? command->column(&call) : NULL;
    if (!name) {
        pg_empty(&c->out, 'n');
        return;
    }
    char copy[128];
    (void)str_copy(copy, sizeof copy, str_of(name));
    struct pg_column column = {copy, pg_type_of(TYPE_TEXT)};
    pg_row_description(&c->out, &column, 1, NULL);
}

static void answer_describe(struct pg_connection *c, struct pg_statement *st)
{
    size_t begun = pg_begin(&c->out, 't');
    pg_add_16(&c->out, (uint16_t)st->param_count);
    for (size_t i = 0; i < st->param_count; i++)
        pg_add_32(&c->out, st->params[i] ? st->params[i] : pg_type_of(TYPE_TEXT)->oid);
    pg_end(&c->out, begun);
    if (st->command || !st->size)
        describe_command(c, st->command, (struct str){st->text, st->size}, NULL);
    else if (st->has_rows)
        pg_row_description(&c->out, st->columns, st->column_count, NULL);
    else
        pg_empty(&c->out, 'n');
}

static void on_portal_prepared(struct pg_portal *p)
{
    struct pg_connection *c = p->connection;
    struct why why = WHY_NONE;
    enum err err = pg_portal_describe(p, &c->out, true, &why);
    if (err) pg_error(c, err, &why, STR(""), 0);
    pg_extended_next(c, err != ERR_OK);
}

static void on_done(struct pg_portal *p, enum err err, const struct why *why)
{
    struct pg_connection *c = p->connection;
    if (err) pg_error(c, err, why, str_of(p->text), 0);
    if (err) pg_portal_drop(c->session, p);
    pg_extended_next(c, err != ERR_OK);
}

static void describe_portal(struct pg_connection *c, struct pg_portal *p)
{
    struct why why = WHY_NONE;
    if (p->command || !p->query.text.size) {
        describe_command(c, p->command, str_of(p->text), p);
    } else if (p->state == PORTAL_NEW && p->statement) {
        /* Parsed a moment ago: the columns are known. */
        if (p->statement->has_rows)
            pg_row_description(&c->out, p->statement->columns, p->statement->column_count, p);
        else
            pg_empty(&c->out, 'n');
    } else if (p->state == PORTAL_NEW) {
        p->prepared = on_portal_prepared;
        p->done = on_done;
        pg_portal_prepare(p);
    } else if (pg_portal_describe(p, &c->out, true, &why)) {
        fail(c, ERR_NO_MEMORY, &why, STR(""));
    }
}

static void take_describe(struct pg_connection *c, struct str body)
{
    char kind;
    struct str name;
    struct why why = WHY_NONE;
    enum err err = pg_read_target(body, &kind, &name, &why);
    if (err) {
        fail(c, err, &why, STR(""));
        return;
    }
    struct pg_statement *st = kind == 'S' ? pg_statement_find(c->session, name) : NULL;
    struct pg_portal *p = kind == 'P' ? pg_portal_find(c->session, name) : NULL;
    if (!st && !p) {
        fail_text(c, kind == 'S' ? "26000" : "34000",
                  kind == 'S' ? "prepared statement does not exist" : "portal does not exist");
    } else if (p) {
        describe_portal(c, p);
    } else if (st->command || !st->size || (st->is_described && !st->name[0])) {
        answer_describe(c, st);
    } else {
        describe_statement(c, st, false, answer_describe); /* tables may have changed since */
    }
}

/* ---- Execute, Close, Sync ---- */

static void run_command(struct pg_connection *c, struct pg_portal *p)
{
    struct why why = WHY_NONE;
    struct pg_call call = {.c = c, .portal = p};
    const struct pg_command *command = p->command;
    /* The command may end portals, this one too: it works on a copy of the text. */
    char *text = mem_strdup(p->text);
    call.text = str_of(text);
    enum err err = text ? pg_command_run(command, &call, &why) : ERR_NO_MEMORY;
    if (err) pg_error_as(c, call.sqlstate, err, &why, call.text, 0);
    if (err) c->state = PG_STATE_SKIP;
    mem_free(text);
}

static void take_execute(struct pg_connection *c, struct str body)
{
    struct str name;
    uint32_t row_limit;
    struct why why = WHY_NONE;
    enum err err = pg_read_execute(body, &name, &row_limit, &why);
    if (err) {
        fail(c, err, &why, STR(""));
        return;
    }
    struct pg_portal *p = pg_portal_find(c->session, name);
    if (!p) {
        fail_text(c, "34000", "portal does not exist");
        return;
    }
    if (is_aborted(c, p->command) || !pg_session_renew(c)) return;
    if (p->state == PORTAL_NEW) { /* bound before, begun now */
        identity_release(p->query.identity);
        p->query.identity = identity_share(c->session->identity);
    }
    if (p->command) {
        run_command(c, p);
    } else if (!p->query.text.size) {
        pg_empty(&c->out, 'I');
    } else {
        p->done = on_done;
        pg_portal_run(p, row_limit);
    }
}

static void take_close(struct pg_connection *c, struct str body)
{
    char kind;
    struct str name;
    struct why why = WHY_NONE;
    enum err err = pg_read_target(body, &kind, &name, &why);
    if (err) {
        fail(c, err, &why, STR(""));
        return;
    }
    struct pg_statement *st = kind == 'S' ? pg_statement_find(c->session, name) : NULL;
    struct pg_portal *p = kind == 'P' ? pg_portal_find(c->session, name) : NULL;
    if (st) pg_statement_drop(c->session, st);
    if (p) pg_portal_drop(c->session, p);
    pg_empty(&c->out, '3');
}

void pg_extended(struct pg_connection *c, const struct pg_message *message)
{
    struct pg_session *s = c->session;
    switch (message->kind) {
    case PG_PARSE:
        if (pg_session_renew(c)) take_parse(c, message->body);
        break;
    case PG_BIND:
        if (pg_session_renew(c)) take_bind(c, message->body);
        break;
    case PG_DESCRIBE: take_describe(c, message->body); break;
    case PG_EXECUTE: take_execute(c, message->body); break;
    case PG_CLOSE: take_close(c, message->body); break;
    case PG_FLUSH: pg_flush(c); break;
    case PG_SYNC:
        if (s->transaction == 'I') pg_portals_end(s, false);
        pg_ready(&c->out, s->transaction);
        break;
    case PG_FUNCTION:
        pg_error_text(c, "0A000", "function calls by message are not offered; use SELECT");
        pg_ready(&c->out, s->transaction);
        break;
    default: MUST(false);
    }
}
