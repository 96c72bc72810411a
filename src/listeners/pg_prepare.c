/* pg_prepare.c - PREPARE, EXECUTE, DEALLOCATE and DISCARD as statements, by either query protocol.
 *
 * What PREPARE makes stands in the same list as what the protocol's Parse makes, so each may
 * execute or forget the other's, as in PostgreSQL. The arguments of EXECUTE are any expressions
 * without columns: they are asked of the engine first, as a SELECT of one row whose values become
 * the parameters of the statement proper. So an EXECUTE is two portals, one behind the other, in no
 * list: `arguments` gives no message to the client, the second one gives everything. */
#include "listeners/pg_priv.h"
#include "sql/parse.h"
#include <stdio.h>
#include <string.h>

/* ---- lists in brackets ---- */

/* The texts between commas up to the closing bracket, which is taken; the opening one is. */
struct pieces {
    struct str items[PG_PARAMS_MAX];
    size_t count;
};

static bool opens(const struct token *token)
{
    return token_is(token, "(") || token_is(token, "[");
}

static bool closes(const struct token *token)
{
    return token_is(token, ")") || token_is(token, "]");
}

static enum err take_pieces(struct pg_call *call, struct pieces *pieces, struct why *why)
{
    struct token token;
    const char *begun = NULL;
    int depth = 0;
    for (bool is_last = false; !is_last;) {
        enum err err = lex_next(&call->lexer, &token, why);
        if (err) return err;
        if (token.kind == TOKEN_END)
            return why_at(why, ERR_SYNTAX, token.position, "\")\" was expected at the end");
        is_last = depth == 0 && token_is(&token, ")");
        bool is_end = is_last || (depth == 0 && token_is(&token, ","));
        if (!is_end) {
            if (!begun) begun = token.text.at;
            depth += opens(&token) - closes(&token);
            continue;
        }
        if (!begun)
            return why_at(why, ERR_SYNTAX, token.position,
                          "a type or value was expected before \"%.1s\"", token.text.at);
        if (pieces->count == PG_PARAMS_MAX)
            return why_at(why, ERR_LIMIT, token.position, "a statement takes at most %d parameters",
                          PG_PARAMS_MAX);
        pieces->items[pieces->count++] =
            (struct str){begun, (size_t)(call->text.at + token.position - begun)};
        begun = NULL;
    }
    return ERR_OK;
}

/* ---- PREPARE name [(type, …)] AS statement ---- */

static void answer_prepare(struct pg_connection *c, struct pg_statement *st)
{
    st->is_new = false;
    pg_command_complete(&c->out, "PREPARE");
}

static enum err read_types(struct pg_call *call, struct pg_parse *parse, struct why *why)
{
    struct pieces pieces = {.count = 0};
    enum err err = pg_accept(call, "(") ? take_pieces(call, &pieces, why) : ERR_OK;
    for (size_t i = 0; i < pieces.count && !err; i++) {
        struct str text = str_trim(pieces.items[i]);
        enum type type;
        if (str_is_nocase(text, "unknown")) continue;
        err = sql_parse_type(text, &type, why);
        if (err) why->position = -1; /* it counted in the piece */
        if (!err) parse->types[i] = pg_type_of(type)->oid;
    }
    parse->type_count = pieces.count;
    return err;
}

enum err pg_prepare_run(struct pg_call *call, struct why *why)
{
    struct pg_connection *c = call->c;
    struct pg_parse parse = {0};
    struct pg_statement *st;
    char name[PG_NAME_BYTES];
    if (!pg_take_text(call, name, sizeof name)) return pg_expected(call, "a statement's name", why);
    parse.name = str_of(name);
    enum err err = read_types(call, &parse, why);
    if (err) return err;
    if (!pg_accept(call, "as")) return pg_expected(call, "AS and a statement", why);
    parse.text = (struct str){call->text.at + call->lexer.at, call->text.size - call->lexer.at};
    if (pg_statement_find(c->session, parse.name)) {
        call->sqlstate = "42P05";
        return why_set(why, ERR_EXISTS,
                       "prepared statement \"%s\" exists already; DEALLOCATE forgets it", name);
    }
    if (!str_trim(parse.text).size) return pg_expected(call, "a statement", why);
    err = pg_statement_make(c, &parse, &st, why);
    if (err) why->position = -1;
    if (err) return err;
    if (st->command) {
        why_set(why, ERR_UNSUPPORTED,
                "%s cannot be prepared; what gives or changes rows can: SELECT, INSERT, DELETE",
                st->command->tag);
        pg_statement_drop(c->session, st);
        return ERR_UNSUPPORTED;
    }
    for (size_t i = 0; i < parse.type_count; i++)
        if (parse.types[i]) st->declared |= UINT64_C(1) << i;
    err = pg_statement_describe(c, st, true, answer_prepare);
    if (err) pg_statement_drop(c->session, st);
    call->is_later = !err;
    return err;
}

/* ---- EXECUTE name [(value, …)] ---- */

struct execution {
    char name[PG_NAME_BYTES];
    bool wants_columns;
    size_t format_count;
    const uint8_t *formats; /* of the client's portal */
    size_t count;
    struct value *values; /* of the arguments; with the texts in the portal's arena */
};

static enum err no_statement(struct pg_call *call, const char *name, struct why *why)
{
    call->sqlstate = "26000";
    return why_set(why, ERR_NOT_FOUND,
                   "prepared statement \"%s\" does not exist; PREPARE makes it, for this "
                   "connection only",
                   name);
}

/* The result of the SELECT of the arguments, instead of messages. On a worker. */
static void no_bytes(struct pg_portal *p, struct buf *out)
{
    (void)p;
    (void)out;
}

static void keep_values(struct pg_portal *p, struct buf *out, const struct value *values,
                        size_t count)
{
    struct execution *x = p->format_arg;
    MUST(count == x->count);
    for (size_t i = 0; i < count; i++) {
        x->values[i] = values[i];
        bool has_bytes = values[i].type == TYPE_TEXT || values[i].type == TYPE_BYTES ||
                         values[i].type == TYPE_DOUBLES;
        if (values[i].is_null || !has_bytes || !values[i].s.size) continue;
        x->values[i].s.at = arena_dup(&p->arena, values[i].s.at, values[i].s.size);
        if (!x->values[i].s.at) out->failed = true;
    }
}

static const struct pg_row_format arguments_format = {no_bytes, keep_values, no_bytes};

static void on_executed(struct pg_portal *p, enum err err, const struct why *why)
{
    struct pg_connection *c = p->connection;
    if (err) pg_error(c, err, why, STR(""), 0);
    pg_portal_free(p);
    pg_next(c, err != ERR_OK);
}

/* Copies a value with its bytes. */
static bool set_param(struct pg_portal *p, size_t i, const struct value *value)
{
    bool has_bytes =
        value->type == TYPE_TEXT || value->type == TYPE_BYTES || value->type == TYPE_DOUBLES;
    p->query.params[i] = *value;
    if (value->is_null || !has_bytes) return true;
    p->query.params[i].s.at = arena_dup(&p->arena, value->s.size ? value->s.at : "", value->s.size);
    return p->query.params[i].s.at != NULL;
}

/* The statement proper. */
static enum err begin_statement(struct pg_connection *c, const struct execution *x, struct why *why)
{
    const struct pg_statement *st = pg_statement_find(c->session, str_of(x->name));
    MUST(st); /* nothing else was taken from the client meanwhile */
    struct pg_portal *p = pg_portal_new(c, (struct str){st->text, st->size});
    bool good = p != NULL;
    if (good) {
        p->done = on_executed;
        p->wants_columns = x->wants_columns;
        p->format_count = x->format_count;
        p->formats = arena_dup(&p->arena, x->format_count ? x->formats : (const uint8_t *)"",
                               x->format_count * 2);
        p->query.param_count = x->count;
        good = p->formats != NULL;
    }
    for (size_t i = 0; good && i < x->count; i++) good = set_param(p, i, &x->values[i]);
    if (!good) {
        pg_portal_free(p);
        return why_set(why, ERR_NO_MEMORY, "no memory for a statement");
    }
    pg_portal_run(p, 0);
    return ERR_OK;
}

static void on_arguments(struct pg_portal *p, enum err err, const struct why *why)
{
    struct pg_connection *c = p->connection;
    struct why own = WHY_NONE;
    if (!err && !c->stream) err = ERR_CANCELLED;
    if (!err) {
        err = begin_statement(c, p->format_arg, &own);
        why = &own;
    }
    if (err) pg_error(c, err, why, STR(""), 0);
    pg_portal_free(p);
    if (err) pg_next(c, true);
}

/* SELECT (a), CAST((b) AS type): as the types that the statement wants. One that it took from its
 * place is no reason to make a text of a value: then the place itself decides. */
static enum err arguments_text(const struct pg_statement *st, const struct pieces *pieces,
                               struct buf *text)
{
    buf_add_text(text, "SELECT ");
    for (size_t i = 0; i < pieces->count; i++) {
        const struct pg_type *type = pg_type_find(st->params[i]);
        bool is_declared = st->declared >> i & 1;
        bool is_cast = type && type->type != TYPE_NONE && (is_declared || type->type != TYPE_TEXT);
        if (i) buf_add_text(text, ", ");
        buf_add_text(text, is_cast ? "CAST((" : "(");
        buf_add_str(text, pieces->items[i]);
        if (is_cast) buf_printf(text, "\n) AS %s)", type_name(type->type));
        if (!is_cast) buf_add_text(text, "\n)");
    }
    return buf_failed(text) ? ERR_NO_MEMORY : ERR_OK;
}

static enum err ask_arguments(struct pg_call *call, const struct pg_statement *st,
                              const struct pieces *pieces, const struct execution *begun,
                              struct why *why)
{
    struct buf text = BUF_EMPTY;
    enum err err = arguments_text(st, pieces, &text);
    struct pg_portal *p = err ? NULL : pg_portal_new(call->c, buf_str(&text));
    struct execution *x = p ? arena_zero(&p->arena, 1, sizeof *x) : NULL;
    buf_free(&text);
    if (x) {
        *x = *begun;
        x->count = pieces->count;
        x->values = arena_zero(&p->arena, pieces->count, sizeof *x->values);
        if (begun->format_count)
            x->formats = arena_dup(&p->arena, begun->formats, begun->format_count * 2);
    }
    if (!x || !x->values || (x->format_count && !x->formats)) {
        pg_portal_free(p);
        return why_set(why, ERR_NO_MEMORY, "no memory for a statement");
    }
    p->format = &arguments_format;
    p->format_arg = x;
    p->is_quiet = true;
    p->done = on_arguments;
    pg_portal_run(p, 0);
    return ERR_OK;
}

enum err pg_execute_run(struct pg_call *call, struct why *why)
{
    struct execution x = {.wants_columns = call->wants_columns};
    struct pieces pieces = {.count = 0};
    if (!pg_take_text(call, x.name, sizeof x.name))
        return pg_expected(call, "a statement's name", why);
    const struct pg_statement *st = pg_statement_find(call->c->session, str_of(x.name));
    if (!st) return no_statement(call, x.name, why);
    enum err err = ERR_OK;
    if (pg_accept(call, "(")) err = take_pieces(call, &pieces, why);
    if (err) return err;
    if (!pg_at_end(call)) return pg_expected(call, "the end of the statement", why);
    if (st->command || !st->size)
        return why_set(why, ERR_UNSUPPORTED, "\"%s\" concerns the session; write it out", x.name);
    if (pieces.count != st->param_count)
        return why_set(why, ERR_SYNTAX, "prepared statement \"%s\" takes %zu parameter(s), not %zu",
                       x.name, st->param_count, pieces.count);
    if (call->portal) {
        x.format_count = call->portal->format_count;
        x.formats = call->portal->formats;
    }
    call->is_later = true;
    err = pieces.count ? ask_arguments(call, st, &pieces, &x, why)
                       : begin_statement(call->c, &x, why);
    if (err) call->is_later = false;
    return err;
}

const struct pg_statement *pg_execute_rows(struct pg_call *call)
{
    char name[PG_NAME_BYTES];
    return pg_take_text(call, name, sizeof name) ? pg_statement_find(call->c->session, str_of(name))
                                                 : NULL;
}

/* ---- forgetting ---- */

static void forget_all(struct pg_session *s)
{
    while (s->statements) pg_statement_drop(s, s->statements);
}

enum err pg_deallocate_run(struct pg_call *call, struct why *why)
{
    struct pg_session *s = call->c->session;
    char name[PG_NAME_BYTES];
    (void)pg_accept(call, "prepare");
    if (pg_accept(call, "all")) {
        forget_all(s);
        call->tag = "DEALLOCATE ALL";
        return ERR_OK;
    }
    if (!pg_take_text(call, name, sizeof name)) return pg_expected(call, "a statement's name", why);
    struct pg_statement *st = pg_statement_find(s, str_of(name));
    if (!st) return no_statement(call, name, why);
    pg_statement_drop(s, st);
    return ERR_OK;
}

enum err pg_discard_run(struct pg_call *call, struct why *why)
{
    struct pg_session *s = call->c->session;
    if (pg_accept(call, "all")) {
        pg_portals_end(s, true);
        forget_all(s);
        pg_settings_reset(s);
        pg_settings_report(&s->settings, &call->c->out);
        call->tag = "DISCARD ALL";
        return ERR_OK;
    }
    char what[32];
    if (!pg_take_text(call, what, sizeof what)) return pg_expected(call, "ALL", why);
    return ERR_OK; /* plans, sequences, temporary tables: there are none */
}
