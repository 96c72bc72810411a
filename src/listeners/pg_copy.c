/* pg_copy.c - the COPY statement: what it says, and COPY … TO STDOUT.
 *
 *   COPY t [(column, …)] FROM STDIN [options]        pg_copy_in.c
 *   COPY t [(column, …)] TO STDOUT [options]         a query with another notation of rows
 *   COPY (query) TO STDOUT [options]
 *
 * Options in both of PostgreSQL's spellings: WITH (FORMAT csv, HEADER, DELIMITER ';', …) and the
 * old CSV HEADER DELIMITER AS ';'. Files of the server are nobody's business here. */
#include "listeners/pg_copy_priv.h"
#include <string.h>

/* ---- words ---- */

static struct token peek(const struct lexer *lexer)
{
    struct lexer copy = *lexer;
    struct token token;
    struct why why = WHY_NONE;
    if (lex_next(&copy, &token, &why)) token.kind = TOKEN_END;
    return token;
}

static bool accept(struct lexer *lexer, const char *word)
{
    struct token token = peek(lexer);
    if (token.kind == TOKEN_END || !token_is(&token, word)) return false;
    (void)lex_next(lexer, &token, NULL);
    return true;
}

static enum err expected(const struct lexer *lexer, const char *what, struct why *why)
{
    return why_at(why, ERR_SYNTAX, peek(lexer).position, "syntax error in COPY: %s was expected",
                  what);
}

static bool take_string(struct lexer *lexer, char *out, size_t out_bytes)
{
    struct token token = peek(lexer);
    struct arena arena;
    struct str text;
    if (token.kind != TOKEN_STRING) return false;
    (void)lex_next(lexer, &token, NULL);
    arena_init(&arena, NULL);
    bool good = lex_text(&token, &arena, &text) && str_copy(out, out_bytes, text);
    arena_free(&arena);
    return good;
}

static enum err take_char(struct lexer *lexer, const char *what, char *c, struct why *why)
{
    char text[8];
    (void)accept(lexer, "as");
    if (!take_string(lexer, text, sizeof text)) return expected(lexer, "a string", why);
    if (strlen(text) != 1 || strchr("\n\r", text[0]))
        return why_set(why, ERR_INVALID, "COPY %s must be one byte", what);
    *c = text[0];
    return ERR_OK;
}

/* ---- options ---- */

static bool take_off(struct lexer *lexer)
{
    return accept(lexer, "false") || accept(lexer, "off") || accept(lexer, "0");
}

static void set_format(struct pg_copy *copy, enum pg_copy_format format)
{
    pg_copy_defaults(format, &copy->reader.options);
}

static enum err take_option(struct lexer *lexer, struct pg_copy *copy, struct why *why)
{
    struct pg_copy_options *o = &copy->reader.options;
    char text[PG_COPY_NULL_BYTES];
    if (accept(lexer, "header")) {
        o->header_must_match = accept(lexer, "match");
        o->has_header = o->header_must_match || !take_off(lexer);
        if (!accept(lexer, "true") && !accept(lexer, "on")) (void)accept(lexer, "1");
        return ERR_OK;
    }
    if (accept(lexer, "delimiter") || accept(lexer, "delimiters"))
        return take_char(lexer, "delimiter", &o->delimiter, why);
    if (accept(lexer, "quote")) return take_char(lexer, "quote", &o->quote, why);
    if (accept(lexer, "escape")) return take_char(lexer, "escape", &o->escape, why);
    if (accept(lexer, "null")) {
        (void)accept(lexer, "as");
        if (!take_string(lexer, o->null, sizeof o->null))
            return expected(lexer, "a string of at most 63 bytes", why);
        return ERR_OK;
    }
    if (accept(lexer, "encoding")) {
        if (!take_string(lexer, text, sizeof text)) return expected(lexer, "a string", why);
        return str_is_nocase(str_of(text), "utf8") || str_is_nocase(str_of(text), "utf-8")
                   ? ERR_OK
                   : why_set(why, ERR_UNSUPPORTED, "COPY: only the encoding UTF8 is offered");
    }
    if (accept(lexer, "freeze")) {
        (void)take_off(lexer);
        return ERR_OK; /* how rows lie inside is nobody's to choose */
    }
    return expected(lexer, "FORMAT, HEADER, DELIMITER, NULL, QUOTE, ESCAPE or ENCODING", why);
}

/* The format first, wherever it stands: it decides what the others begin with. */
static enum err find_format(struct lexer lexer, struct pg_copy *copy, struct why *why)
{
    struct token token;
    enum err err;
    set_format(copy, PG_COPY_TEXT);
    while (!(err = lex_next(&lexer, &token, why)) && token.kind != TOKEN_END) {
        bool is_format = token_is(&token, "format");
        char text[16] = "";
        if (is_format && take_string(&lexer, text, sizeof text)) {
            token.kind = TOKEN_NAME;
            token.text = str_of(text);
        } else if (is_format && lex_next(&lexer, &token, NULL)) {
            break;
        }
        if (token_is(&token, "csv")) set_format(copy, PG_COPY_CSV);
        if (token_is(&token, "binary")) set_format(copy, PG_COPY_BINARY);
    }
    return err;
}

static enum err read_options(struct lexer *lexer, struct pg_copy *copy, struct why *why)
{
    char text[16];
    enum err err = find_format(*lexer, copy, why);
    (void)accept(lexer, "with");
    bool in_brackets = accept(lexer, "(");
    while (!err && peek(lexer).kind != TOKEN_END && !(in_brackets && accept(lexer, ")"))) {
        if (accept(lexer, ",") || accept(lexer, "csv") || accept(lexer, "binary")) continue;
        if (accept(lexer, "format")) {
            if (!take_string(lexer, text, sizeof text) && !accept(lexer, "text") &&
                !accept(lexer, "csv") && !accept(lexer, "binary"))
                err = expected(lexer, "text, csv or binary", why);
            continue;
        }
        err = take_option(lexer, copy, why);
    }
    if (!err && peek(lexer).kind != TOKEN_END) err = expected(lexer, "the end", why);
    if (!err && copy->reader.options.format == PG_COPY_BINARY && copy->reader.options.has_header)
        err = why_set(why, ERR_INVALID, "COPY: a binary file has no header");
    bool is_csv = copy->reader.options.format == PG_COPY_CSV;
    if (!err && is_csv && copy->reader.options.delimiter == copy->reader.options.quote)
        err = why_set(why, ERR_INVALID, "COPY delimiter and quote must be different");
    return err;
}

/* ---- COPY … TO STDOUT ---- */

static struct pg_copy *copy_of(struct pg_portal *p)
{
    return p->format_arg;
}

static void add_answer(struct buf *out, char letter, bool is_binary, size_t columns)
{
    size_t begun = pg_begin(out, letter);
    buf_add_char(out, is_binary);
    pg_add_16(out, (uint16_t)columns);
    for (size_t i = 0; i < columns; i++) pg_add_16(out, is_binary);
    pg_end(out, begun);
}

void pg_copy_answer_in(struct buf *out, bool is_binary, size_t columns)
{
    add_answer(out, 'G', is_binary, columns);
}

static void add_delimiter(const struct pg_copy_options *o, struct buf *out, size_t column)
{
    if (column) buf_add_char(out, o->delimiter);
}

static void add_field(const struct pg_copy_options *o, struct buf *out, struct str text)
{
    if (o->format == PG_COPY_CSV)
        csv_add(out, pg_copy_csv_format(o), text, str_is(text, o->null) || str_is(text, "\\."));
    else
        pg_copy_add_text(o, out, text);
}

static void begin_out(struct pg_portal *p, struct buf *out)
{
    const struct pg_copy_options *o = &copy_of(p)->reader.options;
    add_answer(out, 'H', o->format == PG_COPY_BINARY, p->query.column_count);
    if (o->format == PG_COPY_BINARY) {
        size_t begun = pg_begin(out, 'd');
        buf_add(out, pg_copy_signature, sizeof pg_copy_signature);
        pg_add_32(out, 0);
        pg_add_32(out, 0);
        pg_end(out, begun);
    } else if (o->has_header) {
        size_t begun = pg_begin(out, 'd');
        for (size_t i = 0; i < p->query.column_count; i++) {
            add_delimiter(o, out, i);
            add_field(o, out, str_of(p->query.columns[i].name));
        }
        buf_add_char(out, '\n');
        pg_end(out, begun);
    }
}

static void add_binary(struct pg_portal *p, struct buf *out, const struct value *values,
                       size_t count)
{
    pg_add_16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        if (values[i].is_null) {
            pg_add_null(out);
            continue;
        }
        size_t value = pg_begin_value(out);
        if (p->types[i]->binary)
            p->types[i]->binary(out, &values[i]);
        else
            value_add_text(out, &values[i]);
        pg_end_value(out, value);
    }
}

static void row_out(struct pg_portal *p, struct buf *out, const struct value *values, size_t count)
{
    struct pg_copy *copy = copy_of(p);
    const struct pg_copy_options *o = &copy->reader.options;
    size_t begun = pg_begin(out, 'd');
    for (size_t i = 0; o->format != PG_COPY_BINARY && i < count; i++) {
        add_delimiter(o, out, i);
        if (values[i].is_null) {
            buf_add_text(out, o->null);
            continue;
        }
        buf_clear(&copy->scratch);
        p->types[i]->text(&p->connection->session->style, &copy->scratch, &values[i]);
        if (buf_failed(&copy->scratch)) out->failed = true;
        add_field(o, out, buf_str(&copy->scratch));
    }
    if (o->format == PG_COPY_BINARY)
        add_binary(p, out, values, count);
    else
        buf_add_char(out, '\n');
    pg_end(out, begun);
}

static void end_out(struct pg_portal *p, struct buf *out)
{
    if (copy_of(p)->reader.options.format == PG_COPY_BINARY) {
        size_t begun = pg_begin(out, 'd');
        pg_add_16(out, UINT16_MAX);
        pg_end(out, begun);
    }
    pg_empty(out, 'c');
}

static const struct pg_row_format format_out = {begin_out, row_out, end_out};

static void on_out_done(struct pg_portal *p, enum err err, const struct why *why)
{
    struct pg_connection *c = p->connection;
    if (err) pg_error(c, err, why, STR(""), 0);
    pg_portal_free(p);
    pg_copy_free(c);
    pg_next(c, err != ERR_OK);
}

/* Nothing has run yet. */
static void on_out_prepared(struct pg_portal *p)
{
    struct why why = WHY_NONE;
    if (p->query.verb == SQL_SELECT) {
        pg_portal_run(p, 0);
        return;
    }
    enum err err = why_set(&why, ERR_INVALID,
                           "COPY (…) TO is of rows: COPY (SELECT …) TO STDOUT; what changes "
                           "something is run without it");
    on_out_done(p, err, &why);
}

static enum err start_out(struct pg_call *call, struct pg_copy *copy, struct str query,
                          struct why *why)
{
    struct pg_portal *p = pg_portal_new(call->c, query);
    if (!p) return why_set(why, ERR_NO_MEMORY, "no memory for COPY");
    p->format = &format_out;
    p->format_arg = copy;
    p->done = on_out_done;
    p->prepared = on_out_prepared;
    p->tag_word = "copy";
    call->is_later = true;
    pg_portal_prepare(p);
    return ERR_OK;
}

/* ---- the statement ---- */

/* "(query)": moves behind the bracket that closes. */
static enum err take_query(struct lexer *lexer, struct str *query, struct why *why)
{
    struct token token;
    unsigned depth = 1;
    size_t from = lexer->at;
    while (depth) {
        enum err err = lex_next(lexer, &token, why);
        if (err) return err;
        if (token.kind == TOKEN_END) return expected(lexer, "\")\"", why);
        depth += token_is(&token, "(") ? 1 : 0;
        depth -= token_is(&token, ")") ? 1 : 0;
    }
    *query = (struct str){lexer->text.at + from, (size_t)token.position - from};
    return ERR_OK;
}

/* table [(column, …)], kept as the text that a query takes. */
static enum err take_table(struct lexer *lexer, struct pg_copy *copy, struct why *why)
{
    struct token token = peek(lexer);
    const char *from = token.text.at;
    if (token.kind != TOKEN_NAME && token.kind != TOKEN_QUOTED)
        return expected(lexer, "a table's name", why);
    do {
        (void)lex_next(lexer, &token, NULL);
        copy->table_token = token = (struct token){token.kind, token.position, token.text};
    } while (accept(lexer, ".") && (token = peek(lexer), true));
    copy->table = (struct str){
        from, (size_t)(copy->table_token.text.at + copy->table_token.text.size - from)};
    copy->columns = STR("");
    if (!accept(lexer, "(")) return ERR_OK;
    return take_query(lexer, &copy->columns, why);
}

static enum err parse_copy(struct pg_call *call, struct pg_copy *copy, struct str *query,
                           bool *is_in, struct why *why)
{
    struct lexer *lexer = &call->lexer;
    enum err err;
    *query = STR("");
    if (accept(lexer, "binary")) return expected(lexer, "a table's name", why);
    if (accept(lexer, "("))
        err = take_query(lexer, query, why);
    else
        err = take_table(lexer, copy, why);
    if (err) return err;
    *is_in = query->size == 0 && accept(lexer, "from");
    if (!*is_in && !accept(lexer, "to"))
        return expected(lexer, query->size ? "TO" : "FROM or TO", why);
    if (!accept(lexer, *is_in ? "stdin" : "stdout"))
        return why_at(why, ERR_UNSUPPORTED, peek(lexer).position,
                      "COPY works with %s only; psql's \\copy reads and writes files of the client",
                      *is_in ? "STDIN" : "STDOUT");
    return read_options(lexer, copy, why);
}

enum err pg_copy_run(struct pg_call *call, struct why *why)
{
    struct pg_session *s = call->c->session;
    struct str query;
    bool is_in = false;
    MUST(!s->copy);
    struct pg_copy *copy = s->copy = mem_alloc_zero(1, sizeof *copy);
    if (!copy) return why_set(why, ERR_NO_MEMORY, "no memory for COPY");
    copy->connection = call->c;
    arena_init(&copy->arena, &call->c->server->memory);
    enum err err = parse_copy(call, copy, &query, &is_in, why);
    if (!err && is_in) {
        err = pg_copy_start_in(call, copy, why);
    } else if (!err) {
        if (!query.size) {
            char *text = arena_printf(&copy->arena, "SELECT %.*s FROM %.*s",
                                      copy->columns.size ? (int)copy->columns.size : 1,
                                      copy->columns.size ? copy->columns.at : "*",
                                      (int)copy->table.size, copy->table.at);
            query = str_of(text);
            if (!text) err = why_set(why, ERR_NO_MEMORY, "no memory for COPY");
        }
        if (!err) err = start_out(call, copy, query, why);
    }
    if (err) pg_copy_free(call->c);
    return err;
}
