/* pg_simple.c - the simple query protocol: a text with any number of statements, one after the
 * other.
 *
 * The whole text is cut into statements before the first one runs, so a string without an end
 * spoils nothing. An error ends the rest of the text. Statements before it have counted: there is
 * no transaction around them (pg.h). */
#include "listeners/pg_priv.h"
#include <string.h>

struct pg_simple {
    char *text; /* owned */
    size_t size;
    struct lexer lexer;
    struct str statement; /* the one at work */
    bool any;             /* there was a statement */
    /* A statement may be over before it was left to itself: the loop then goes on, without
     * recursion. */
    bool is_looping, is_back, has_failed;
};

void pg_simple_free(struct pg_connection *c)
{
    struct pg_simple *simple = c->session->simple;
    c->session->simple = NULL;
    if (!simple) return;
    mem_free(simple->text);
    mem_free(simple);
}

bool pg_split(struct lexer *lexer, struct str *statement, bool *found, struct why *why)
{
    struct token token;
    *found = false;
    for (;;) {
        if (lex_next(lexer, &token, why)) return false;
        bool is_end = token.kind == TOKEN_END || token_is(&token, ";");
        if (!is_end && !*found) *statement = (struct str){token.text.at, 0};
        if (!is_end) *found = true;
        if (is_end && *found)
            statement->size = (size_t)(lexer->text.at + token.position - statement->at);
        if ((is_end && *found) || token.kind == TOKEN_END) return true;
    }
}

static struct str whole_of(const struct pg_simple *simple)
{
    return (struct str){simple->text, simple->size};
}

static uint32_t offset_of(const struct pg_simple *simple)
{
    return (uint32_t)(simple->statement.at - simple->text);
}

static void on_done(struct pg_portal *p, enum err err, const struct why *why)
{
    struct pg_connection *c = p->connection;
    const struct pg_simple *simple = c->session->simple;
    if (err) pg_error(c, err, why, whole_of(simple), offset_of(simple));
    pg_portal_free(p);
    pg_simple_next(c, err != ERR_OK);
}

/* Begins a statement; false: it failed at once. */
static bool begin_statement(struct pg_connection *c, bool *is_later)
{
    struct pg_simple *simple = c->session->simple;
    const struct pg_command *command = pg_command_find(simple->statement);
    struct why why = WHY_NONE;
    enum err err = ERR_OK;
    const char *sqlstate = NULL;
    *is_later = true;
    if (c->session->transaction == 'E' && !(command && command->in_failed)) {
        pg_error_text(
            c, "25P02",
            "current transaction is aborted, commands ignored until end of transaction block");
        return false;
    }
    if (command) {
        struct pg_call call = {
            .c = c, .text = simple->statement, .offset = offset_of(simple), .wants_columns = true};
        err = pg_command_run(command, &call, &why);
        *is_later = call.is_later;
        sqlstate = call.sqlstate;
    } else {
        struct pg_portal *p = pg_portal_new(c, simple->statement);
        if (p) {
            p->done = on_done;
            p->wants_columns = true;
            pg_portal_run(p, 0);
        } else {
            err = why_set(&why, ERR_NO_MEMORY, "no memory for a statement");
        }
    }
    if (err) pg_error_as(c, sqlstate, err, &why, whole_of(simple), offset_of(simple));
    return !err;
}

static void finish(struct pg_connection *c)
{
    struct pg_session *s = c->session;
    bool any = s->simple->any;
    pg_simple_free(c);
    if (!any) pg_empty(&c->out, 'I');
    if (s->transaction == 'I') pg_portals_end(s, false);
    pg_ready(&c->out, s->transaction);
    pg_resume(c, PG_STATE_READY);
}

void pg_simple_next(struct pg_connection *c, bool failed)
{
    struct pg_simple *simple = c->session->simple;
    if (simple->is_looping) {
        simple->is_back = true;
        simple->has_failed = failed;
        return;
    }
    simple->is_looping = true;
    while (!failed && c->stream) {
        bool found, is_later = false;
        bool good = pg_split(&simple->lexer, &simple->statement, &found, NULL);
        MUST(good); /* pg_simple_start has tried */
        if (!found) break;
        simple->any = true;
        simple->is_back = false;
        failed = !begin_statement(c, &is_later);
        if (failed || !is_later) continue;
        if (!simple->is_back) {
            simple->is_looping = false;
            return;
        }
        failed = simple->has_failed;
    }
    finish(c);
}

void pg_simple_start(struct pg_connection *c, struct str text)
{
    struct pg_session *s = c->session;
    struct why why = WHY_NONE;
    struct lexer lexer = {text, 0};
    struct str statement;
    bool found = true, good = true;
    if (!pg_session_renew(c)) return;
    /* A new Query ends what the unnamed portal had. */
    struct pg_portal *unnamed = pg_portal_find(s, STR(""));
    if (unnamed) pg_portal_drop(s, unnamed);
    if (!str_is_utf8(text)) good = why_at(&why, ERR_SYNTAX, -1, "the text is not UTF-8") == ERR_OK;
    while (good && found) good = pg_split(&lexer, &statement, &found, &why);
    struct pg_simple *simple = good ? mem_alloc_zero(1, sizeof *simple) : NULL;
    char *copy = simple ? mem_dup(text.size ? text.at : "", text.size) : NULL;
    if (!copy) {
        mem_free(simple);
        pg_error(c, good ? ERR_NO_MEMORY : ERR_SYNTAX, &why, text, 0);
        pg_ready(&c->out, s->transaction);
        return;
    }
    simple->text = copy;
    simple->size = text.size;
    simple->lexer = (struct lexer){{copy, text.size}, 0};
    s->simple = simple;
    c->state = PG_STATE_BUSY;
    pg_simple_next(c, false);
}
