/* pg_command.c - the statements that concern the session and never reach the engine.
 *
 * One table: the words a statement begins with, its tag, its function. A transaction block is a
 * state that clients rely on (after an error they must roll back), but nothing is held back or
 * undone: ROLLBACK warns when something was written since BEGIN. */
#include "listeners/pg_priv.h"
#include "base/num.h"
#include <stdio.h>
#include <string.h>

/* ---- words ---- */

static struct token next(struct pg_call *call)
{
    struct token token;
    struct why why = WHY_NONE;
    if (lex_next(&call->lexer, &token, &why)) token.kind = TOKEN_END;
    return token;
}

bool pg_accept(struct pg_call *call, const char *word)
{
    struct lexer before = call->lexer;
    struct token token = next(call);
    if (token.kind != TOKEN_END && token_is(&token, word)) return true;
    call->lexer = before;
    return false;
}

bool pg_at_end(struct pg_call *call)
{
    struct lexer before = call->lexer;
    bool is_end = next(call).kind == TOKEN_END;
    call->lexer = before;
    return is_end;
}

enum err pg_expected(struct pg_call *call, const char *what, struct why *why)
{
    struct token token = next(call);
    return why_at(why, ERR_SYNTAX, token.position, "syntax error: %s was expected%s", what,
                  token.kind == TOKEN_END ? " at the end" : " here");
}

bool pg_take_text(struct pg_call *call, char *out, size_t out_bytes)
{
    struct lexer before = call->lexer;
    struct token token = next(call);
    struct arena arena;
    struct str text = token.text;
    bool good = token.kind != TOKEN_END && token.kind != TOKEN_SYMBOL;
    bool is_word =
        token.kind == TOKEN_NAME || token.kind == TOKEN_QUOTED || token.kind == TOKEN_STRING;
    arena_init(&arena, NULL);
    if (good && is_word) good = lex_text(&token, &arena, &text);
    good = good && str_copy(out, out_bytes, text);
    arena_free(&arena);
    if (!good) call->lexer = before;
    return good;
}

/* ---- rows of commands ---- */

static void add_columns(struct pg_call *call, const char *const *names, size_t count)
{
    struct pg_column columns[3];
    char copies[3][64];
    MUST(count <= 3);
    if (!call->wants_columns) return;
    for (size_t i = 0; i < count; i++) {
        (void)str_copy(copies[i], sizeof copies[i], str_of(names[i]));
        columns[i] = (struct pg_column){copies[i], pg_type_of(TYPE_TEXT)};
    }
    pg_row_description(&call->c->out, columns, count, NULL);
}

static void add_row(struct pg_call *call, const char *const *values, size_t count)
{
    struct buf *out = &call->c->out;
    size_t begun = pg_begin(out, 'D');
    pg_add_16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        size_t value = pg_begin_value(out);
        buf_add_text(out, values[i]);
        pg_end_value(out, value);
    }
    pg_end(out, begun);
}

/* ---- transactions ---- */

static const char *const modes[] = {
    "isolation",   "level",       "serializable", "repeatable", "read",       "committed",
    "uncommitted", "only",        "write",        "not",        "deferrable", ",",
    "work",        "transaction", "and",          "no",         "chain"};

static enum err run_begin(struct pg_call *call, struct why *why)
{
    struct pg_session *s = call->c->session;
    bool any = true;
    while (any) {
        any = false;
        for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
            any |= pg_accept(call, modes[i]);
    }
    if (!pg_at_end(call)) return pg_expected(call, "a transaction mode", why);
    if (s->transaction != 'I')
        pg_notice(call->c, "WARNING", "25001", "there is already a transaction in progress");
    s->transaction = s->transaction == 'E' ? 'E' : 'T';
    if (s->transaction == 'T') s->written = 0;
    return ERR_OK;
}

static void warn_written(struct pg_call *call)
{
    struct pg_session *s = call->c->session;
    char text[160];
    if (!s->written) return;
    snprintf(
        text, sizeof text,
        "nothing was undone: this server has no transactions, and %llu row(s) or table(s) were "
        "written since BEGIN",
        (unsigned long long)s->written);
    pg_notice(call->c, "WARNING", "01000", text);
}

static void end_block(struct pg_call *call)
{
    struct pg_session *s = call->c->session;
    if (s->transaction == 'I')
        pg_notice(call->c, "WARNING", "25P01", "there is no transaction in progress");
    s->transaction = 'I';
    s->written = 0;
    pg_settings_end_block(s, &call->c->out);
    /* Cursors end with their block, unless they were declared WITH HOLD. */
    for (struct pg_portal *p = s->portals, *after; p; p = after) {
        after = p->next;
        if (!p->is_held) pg_portal_drop(s, p);
    }
}

static enum err run_commit(struct pg_call *call, struct why *why)
{
    (void)why;
    call->tag = call->c->session->transaction == 'E' ? "ROLLBACK" : "COMMIT";
    if (call->c->session->transaction == 'E') warn_written(call);
    end_block(call);
    return ERR_OK;
}

static enum err run_rollback(struct pg_call *call, struct why *why)
{
    struct pg_session *s = call->c->session;
    (void)pg_accept(call, "work");
    (void)pg_accept(call, "transaction");
    warn_written(call);
    if (!pg_accept(call, "to")) {
        end_block(call);
        return ERR_OK;
    }
    if (s->transaction == 'I')
        return why_set(why, ERR_INVALID,
                       "ROLLBACK TO SAVEPOINT can only be used in transaction blocks");
    s->transaction = 'T';
    return ERR_OK;
}

static enum err run_savepoint(struct pg_call *call, struct why *why)
{
    return call->c->session->transaction == 'I'
               ? why_set(why, ERR_INVALID, "SAVEPOINT can only be used in transaction blocks")
               : ERR_OK;
}

static enum err run_nothing(struct pg_call *call, struct why *why)
{
    (void)call;
    (void)why;
    return ERR_OK;
}

/* ---- settings ---- */

static void report(struct pg_call *call, enum pg_setting setting, const char *note)
{
    struct pg_session *s = call->c->session;
    pg_parameter_status(&call->c->out, pg_setting_name(setting),
                        pg_setting_get(&s->settings, setting));
    if (note) pg_notice(call->c, "WARNING", "01000", note);
}

static enum err set_value(struct pg_call *call, const char *name, bool is_local, struct why *why)
{
    struct pg_session *session = call->c->session;
    char text[512] = "", part[256];
    size_t size = 0;
    const char *note;
    do {
        bool minus = pg_accept(call, "-");
        (void)pg_accept(call, "+");
        if (!pg_take_text(call, part, sizeof part)) return pg_expected(call, "a value", why);
        size += (size_t)snprintf(text + size, sizeof text - size, "%s%s%s", size ? ", " : "",
                                 minus ? "-" : "", part);
        if (size >= sizeof text) return why_set(why, ERR_LIMIT, "the value is too long");
    } while (pg_accept(call, ","));
    if (!pg_at_end(call)) return pg_expected(call, "the end of the statement", why);
    int setting = pg_setting_find(str_of(name));
    if (setting < 0 && strchr(name, '.')) return ERR_OK; /* an extension's: nobody's here */
    if (setting < 0)
        return why_set(why, ERR_NOT_FOUND, "unrecognized configuration parameter \"%s\"", name);
    if (is_local && session->transaction == 'I') {
        pg_notice(call->c, "WARNING", "25P01", "SET LOCAL can only be used in transaction blocks");
        return ERR_OK;
    }
    enum err err =
        is_local ? pg_setting_set_local(session, (enum pg_setting)setting, str_of(text), &note, why)
                 : pg_setting_set(session, (enum pg_setting)setting, str_of(text), &note, why);
    if (!err) report(call, (enum pg_setting)setting, note);
    return err;
}

/* A setting's name: words joined by dots. */
static bool take_setting(struct pg_call *call, char *name, size_t name_bytes)
{
    if (!pg_take_text(call, name, name_bytes)) return false;
    while (pg_accept(call, ".")) {
        size_t size = strlen(name);
        if (size + 2 >= name_bytes) return false;
        name[size] = '.';
        if (!pg_take_text(call, name + size + 1, name_bytes - size - 1)) return false;
    }
    return true;
}

static enum err run_set(struct pg_call *call, struct why *why)
{
    char name[128];
    if (pg_accept(call, "session") && pg_accept(call, "characteristics")) return ERR_OK;
    bool is_local = pg_accept(call, "local");
    if (pg_accept(call, "transaction")) return ERR_OK;
    if (pg_accept(call, "time")) {
        if (!pg_accept(call, "zone")) return pg_expected(call, "ZONE", why);
        (void)pg_accept(call, "interval");
        return set_value(call, "TimeZone", is_local, why);
    }
    if (pg_accept(call, "names")) return set_value(call, "client_encoding", is_local, why);
    if (pg_accept(call, "role") || pg_accept(call, "authorization"))
        return why_set(why, ERR_UNSUPPORTED, "another role cannot be taken on; log in as its user");
    if (!take_setting(call, name, sizeof name)) return pg_expected(call, "a setting's name", why);
    if (!pg_accept(call, "to") && !pg_accept(call, "=")) return pg_expected(call, "TO or =", why);
    return set_value(call, name, is_local, why);
}

static enum err run_reset(struct pg_call *call, struct why *why)
{
    char name[128];
    const char *note;
    if (pg_accept(call, "time") && pg_accept(call, "zone"))
        (void)str_copy(name, sizeof name, STR("TimeZone"));
    else if (pg_accept(call, "all") || pg_accept(call, "role") || pg_accept(call, "session"))
        name[0] = 0;
    else if (!take_setting(call, name, sizeof name))
        return pg_expected(call, "a setting's name", why);
    struct pg_session *s = call->c->session;
    if (!name[0]) {
        pg_settings_reset(s);
        pg_settings_report(&s->settings, &call->c->out);
    }
    if (!name[0] || strchr(name, '.')) return ERR_OK;
    int setting = pg_setting_find(str_of(name));
    if (setting < 0)
        return why_set(why, ERR_NOT_FOUND, "unrecognized configuration parameter \"%s\"", name);
    enum err err = pg_setting_set(s, (enum pg_setting)setting, (struct str){0}, &note, why);
    if (!err) report(call, (enum pg_setting)setting, NULL);
    return err;
}

/* SHOW of what is a setting: its column is named after it. SHOW TABLES is the engine's. */
static int setting_shown(struct pg_call *call)
{
    char name[128];
    if (pg_accept(call, "time") && pg_accept(call, "zone")) return PG_SETTING_TIME_ZONE;
    if (pg_accept(call, "transaction") && pg_accept(call, "isolation") && pg_accept(call, "level"))
        return PG_SETTING_ISOLATION_NOW;
    if (pg_accept(call, "session") && pg_accept(call, "authorization"))
        return PG_SETTING_SESSION_AUTHORIZATION;
    return take_setting(call, name, sizeof name) ? pg_setting_find(str_of(name)) : -1;
}

static const char *column_of_show(struct pg_call *call)
{
    int setting = setting_shown(call);
    return setting < 0 ? "setting" : pg_setting_name((enum pg_setting)setting);
}

static enum err run_show(struct pg_call *call, struct why *why)
{
    static const char *const all[] = {"name", "setting"};
    const struct pg_settings *settings = &call->c->session->settings;
    (void)why;
    if (pg_accept(call, "all")) {
        add_columns(call, all, 2);
        for (int i = 0; i < PG_SETTING_COUNT; i++)
            add_row(call,
                    (const char *const[]){pg_setting_name((enum pg_setting)i),
                                          pg_setting_get(settings, (enum pg_setting)i)},
                    2);
        return ERR_OK;
    }
    int setting = setting_shown(call);
    MUST(setting >= 0); /* pg_command_find has looked */
    const char *name = pg_setting_name((enum pg_setting)setting),
               *value = pg_setting_get(settings, (enum pg_setting)setting);
    add_columns(call, &name, 1);
    add_row(call, &value, 1);
    return ERR_OK;
}

/* ---- cursors ---- */

static void on_not_declared(struct pg_portal *p, enum err err, const struct why *why)
{
    struct pg_connection *c = p->connection;
    pg_error(c, err, why, STR(""), 0);
    pg_portal_free(p);
    pg_next(c, true);
}

static void on_declared(struct pg_portal *p)
{
    struct pg_connection *c = p->connection;
    if (p->query.verb != SQL_SELECT) {
        struct why why = WHY_NONE;
        enum err err = why_set(&why, ERR_INVALID,
                               "a cursor is of rows: DECLARE … CURSOR FOR SELECT …; what changes "
                               "something is run without one");
        on_not_declared(p, err, &why);
        return;
    }
    pg_command_complete(&c->out, "DECLARE CURSOR");
    p->done = NULL;
    pg_portal_keep(p);
    pg_next(c, false);
}

static enum err run_declare(struct pg_call *call, struct why *why)
{
    struct pg_connection *c = call->c;
    char name[PG_NAME_BYTES];
    bool is_held = false;
    if (!pg_take_text(call, name, sizeof name)) return pg_expected(call, "a cursor's name", why);
    while (pg_accept(call, "binary") || pg_accept(call, "insensitive") ||
           pg_accept(call, "asensitive") || pg_accept(call, "no") || pg_accept(call, "scroll"))
        ;
    if (!pg_accept(call, "cursor")) return pg_expected(call, "CURSOR", why);
    if (pg_accept(call, "with"))
        is_held = pg_accept(call, "hold");
    else if (pg_accept(call, "without"))
        (void)pg_accept(call, "hold");
    if (!pg_accept(call, "for")) return pg_expected(call, "FOR", why);
    if (c->session->transaction == 'I' && !is_held)
        return why_set(why, ERR_INVALID, "DECLARE CURSOR can only be used in transaction blocks");
    if (pg_portal_find(c->session, str_of(name)))
        return why_set(why, ERR_EXISTS, "cursor \"%s\" exists already", name);
    if (c->session->portal_count >= PG_PORTALS_MAX)
        return why_set(why, ERR_LIMIT, "more than %d cursors; close some", PG_PORTALS_MAX);
    struct str query = {call->text.at + call->lexer.at, call->text.size - call->lexer.at};
    struct pg_portal *p = pg_portal_new(c, query);
    if (!p) return why_set(why, ERR_NO_MEMORY, "no memory for a cursor");
    (void)str_copy(p->name, sizeof p->name, str_of(name));
    p->is_cursor = true;
    p->is_held = is_held;
    p->tag_word = "fetch";
    p->prepared = on_declared;
    p->done = on_not_declared;
    call->is_later = true;
    pg_portal_prepare(p);
    return ERR_OK;
}

static void on_fetched(struct pg_portal *p, enum err err, const struct why *why)
{
    struct pg_connection *c = p->connection;
    if (err) pg_error(c, err, why, STR(""), 0);
    if (err) pg_portal_drop(c->session, p);
    pg_next(c, err != ERR_OK);
}

/* FETCH [NEXT | FORWARD] [n | ALL] [FROM | IN] name. */
static enum err run_fetch(struct pg_call *call, struct why *why)
{
    struct pg_connection *c = call->c;
    char name[PG_NAME_BYTES];
    uint64_t count = 1;
    bool is_all = false;
    if (pg_accept(call, "prior") || pg_accept(call, "backward") || pg_accept(call, "first") ||
        pg_accept(call, "last") || pg_accept(call, "absolute") || pg_accept(call, "relative") ||
        pg_accept(call, "-"))
        return why_set(why, ERR_UNSUPPORTED, "a cursor only goes forward here");
    if (!pg_accept(call, "next")) (void)pg_accept(call, "forward");
    struct lexer before = call->lexer;
    struct token token = next(call);
    if (token.kind == TOKEN_INTEGER && num_parse_u64(token.text, &count))
        ;
    else if (token_is(&token, "all"))
        is_all = true;
    else
        call->lexer = before;
    if (!pg_accept(call, "from")) (void)pg_accept(call, "in");
    if (!pg_take_text(call, name, sizeof name)) return pg_expected(call, "a cursor's name", why);
    struct pg_portal *p = pg_portal_find(c->session, str_of(name));
    /* What Bind made is the protocol's, and perhaps not prepared yet. */
    if (!p || !p->is_cursor)
        return why_set(why, ERR_NOT_FOUND, "cursor \"%s\" does not exist", name);
    if (call->wants_columns) {
        enum err err = pg_portal_describe(p, &c->out, false, why);
        if (err) return err;
    }
    if (count == 0) {
        call->tag = "FETCH 0";
        return ERR_OK;
    }
    p->done = on_fetched;
    call->is_later = true;
    pg_portal_run(p, is_all ? 0 : count);
    return ERR_OK;
}

static enum err run_close(struct pg_call *call, struct why *why)
{
    struct pg_session *s = call->c->session;
    char name[PG_NAME_BYTES];
    if (pg_accept(call, "all")) {
        for (struct pg_portal *p = s->portals, *after; p; p = after) {
            after = p->next;
            if (p->is_cursor) pg_portal_drop(s, p);
        }
        return ERR_OK;
    }
    if (!pg_take_text(call, name, sizeof name)) return pg_expected(call, "a cursor's name", why);
    struct pg_portal *p = pg_portal_find(s, str_of(name));
    if (!p) return why_set(why, ERR_NOT_FOUND, "cursor \"%s\" does not exist", name);
    pg_portal_drop(s, p);
    return ERR_OK;
}

/* ---- the list ---- */

static const struct pg_command commands[] = {
    {"begin", "BEGIN", false, run_begin, NULL},
    {"start transaction", "START TRANSACTION", false, run_begin, NULL},
    {"commit", "COMMIT", true, run_commit, NULL},
    {"end", "COMMIT", true, run_commit, NULL},
    {"rollback", "ROLLBACK", true, run_rollback, NULL},
    {"abort", "ROLLBACK", true, run_rollback, NULL},
    {"savepoint", "SAVEPOINT", false, run_savepoint, NULL},
    {"release", "RELEASE", false, run_savepoint, NULL},
    {"set", "SET", false, run_set, NULL},
    {"reset", "RESET", false, run_reset, NULL},
    {"show", "SHOW", false, run_show, column_of_show},
    {"discard", "DISCARD", false, pg_discard_run, NULL},
    {"prepare", "PREPARE", false, pg_prepare_run, NULL},
    {"execute", "EXECUTE", false, pg_execute_run, NULL, pg_execute_rows},
    {"deallocate", "DEALLOCATE", false, pg_deallocate_run, NULL},
    {"declare", "DECLARE CURSOR", false, run_declare, NULL},
    {"fetch", "FETCH", false, run_fetch, NULL},
    {"close", "CLOSE CURSOR", false, run_close, NULL},
    {"copy", "COPY", false, pg_copy_run, NULL},
    {"unlisten", "UNLISTEN", false, run_nothing, NULL},
};

/* Behind the command's words, or NULL. */
static const struct pg_command *match(struct pg_call *call)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        struct str rest = str_of(commands[i].words), word;
        bool fits = true;
        call->lexer = (struct lexer){call->text, 0};
        while (fits && str_split(&rest, ' ', &word)) {
            char text[32];
            (void)str_copy(text, sizeof text, word);
            fits = pg_accept(call, text);
        }
        if (fits) return &commands[i];
    }
    return NULL;
}

const struct pg_command *pg_command_find(struct str text)
{
    struct pg_call call = {.text = text};
    const struct pg_command *command = match(&call);
    if (!command || command->run != run_show) return command;
    struct lexer words = call.lexer;
    if (pg_accept(&call, "all")) return command;
    call.lexer = words;
    return setting_shown(&call) >= 0 ? command : NULL;
}

const struct pg_statement *pg_command_rows(const struct pg_command *command, struct pg_call *call)
{
    const struct pg_command *found = match(call);
    MUST(found == command);
    return command->rows ? command->rows(call) : NULL;
}

enum err pg_command_run(const struct pg_command *command, struct pg_call *call, struct why *why)
{
    const struct pg_command *found = match(call);
    MUST(found == command);
    call->tag = command->tag;
    enum err err = command->run(call, why);
    if (!err && !call->is_later) pg_command_complete(&call->c->out, call->tag);
    return err;
}

/* ---- tags of the engine's statements ---- */

static const struct {
    const char *words, *tag;
    bool counts;
} tags[] = {
    {"select", "SELECT", true},
    {"with", "SELECT", true},
    {"values", "SELECT", true},
    {"fetch", "FETCH", true},
    {"insert", "INSERT 0", true},
    {"delete", "DELETE", true},
    {"update", "UPDATE", true},
    {"copy", "COPY", true},
    {"show", "SHOW", false},
    {"describe", "SHOW", false},
    {"desc", "SHOW", false},
    {"explain", "EXPLAIN", false},
    {"comment", "COMMENT", false},
    {"checkpoint", "CHECKPOINT", false},
    {"vacuum", "VACUUM", false},
    {"confirm", "CONFIRM CLOCK", false},
    {"create table", "CREATE TABLE", false},
    {"create stable", "CREATE TABLE", false},
    {"create", "CREATE", false},
    {"alter", "ALTER TABLE", false},
    {"drop table", "DROP TABLE", false},
    {"drop", "DROP", false},
};

void pg_tag(struct str text, uint64_t rows, char tag[64])
{
    struct pg_call call = {.text = text};
    (void)str_copy(tag, 64, STR("SELECT"));
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        struct str rest = str_of(tags[i].words), word;
        bool fits = true;
        call.lexer = (struct lexer){text, 0};
        (void)pg_accept(&call, "(");
        while (fits && str_split(&rest, ' ', &word)) {
            char one[32];
            (void)str_copy(one, sizeof one, word);
            fits = pg_accept(&call, one);
        }
        if (!fits) continue;
        if (tags[i].counts)
            snprintf(tag, 64, "%s %llu", tags[i].tag, (unsigned long long)rows);
        else
            snprintf(tag, 64, "%s", tags[i].tag);
        return;
    }
}
