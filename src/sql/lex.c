/* lex.c - see lex.h.
 *
 * Why by hand: the language has one oddity that generators handle badly (a number with a unit glued
 * to it is a duration, 1e5 is not), and every error needs the byte where it happened. Names may
 * hold any byte above 0x7F, so a column called 温度 needs no quotes. */
#include "sql/lex.h"
#include "base/num.h"
#include "sql/grid.h"
#include "base/timetext.h"
#include <string.h>

/* Operators and punctuation, longest first: the first that fits is taken. */
static const char *const symbols[] = {
    "->>", "->", "!~~*", "!~*", "!~~", "~~*", "!~", "~~", "~*", "<>", "<=", ">=",
    "!=",  "||", "&",    "|",   "::",  "(",   ")",  ",",  ";",  ".",  "+",  "-",
    "*",   "/",  "%",    "^",   "=",   "<",   ">",  "[",  "]",  "~",
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_name_byte(char c)
{
    return is_name_start(c) || is_digit(c) || c == '$' || c == '@';
}

static char byte_at(const struct lexer *lexer, size_t at)
{
    return at < lexer->text.size ? lexer->text.at[at] : 0;
}

/* Moves behind a block comment; they nest, as in PostgreSQL. */
static enum err skip_block_comment(struct lexer *lexer, struct why *why)
{
    size_t start = lexer->at;
    unsigned depth = 0;
    do {
        if (lexer->at + 1 >= lexer->text.size)
            return why_at(why, ERR_SYNTAX, (int32_t)start,
                          "this comment has no end: \"*/\" is missing");
        char a = byte_at(lexer, lexer->at), b = byte_at(lexer, lexer->at + 1);
        bool opens = a == '/' && b == '*', closes = a == '*' && b == '/';
        depth = opens ? depth + 1 : closes ? depth - 1 : depth;
        lexer->at += opens || closes ? 2 : 1;
    } while (depth > 0);
    return ERR_OK;
}

static enum err skip_blanks(struct lexer *lexer, struct why *why)
{
    for (;;) {
        char c = byte_at(lexer, lexer->at), next = byte_at(lexer, lexer->at + 1);
        if (lexer->at >= lexer->text.size) return ERR_OK;
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
            lexer->at++;
        } else if (c == '-' && next == '-') {
            while (lexer->at < lexer->text.size && lexer->text.at[lexer->at] != '\n') lexer->at++;
        } else if (c == '/' && next == '*') {
            enum err err = skip_block_comment(lexer, why);
            if (err) return err;
        } else {
            return ERR_OK;
        }
    }
}

/* Moves behind a quoted run; a doubled quote stands for itself. */
static enum err take_quoted(struct lexer *lexer, char quote, struct why *why)
{
    size_t start = lexer->at++;
    for (;;) {
        const char *from = lexer->text.at + lexer->at;
        const char *end = memchr(from, quote, lexer->text.size - lexer->at);
        if (!end)
            return why_at(why, ERR_SYNTAX, (int32_t)start,
                          "this %s has no end: the closing %c is missing",
                          quote == '"' ? "name" : "string", quote);
        lexer->at += (size_t)(end - from) + 1;
        if (byte_at(lexer, lexer->at) != quote) return ERR_OK;
        lexer->at++;
    }
}

/* E'…': a backslash takes the byte behind it along. */
static enum err take_escaped(struct lexer *lexer, struct why *why)
{
    size_t start = lexer->at;
    for (lexer->at += 2; lexer->at < lexer->text.size; lexer->at++) {
        char c = byte_at(lexer, lexer->at), next = byte_at(lexer, lexer->at + 1);
        if (c == '\\' || (c == '\'' && next == '\'')) {
            lexer->at++;
        } else if (c == '\'') {
            lexer->at++;
            return ERR_OK;
        }
    }
    lexer->at = lexer->text.size;
    return why_at(why, ERR_SYNTAX, (int32_t)start,
                  "this string has no end: the closing ' is missing");
}

/* The exponent of a number, if there is one at `at`: its size, else 0. */
static size_t exponent_size(const struct lexer *lexer, size_t at)
{
    char c = byte_at(lexer, at);
    if (c != 'e' && c != 'E') return 0;
    size_t size = 1;
    c = byte_at(lexer, at + 1);
    if (c == '+' || c == '-') size++;
    if (!is_digit(byte_at(lexer, at + size))) return 0;
    while (is_digit(byte_at(lexer, at + size))) size++;
    return size;
}

static enum err take_number(struct lexer *lexer, struct token *token, struct why *why)
{
    size_t start = lexer->at;
    token->kind = TOKEN_INTEGER;
    while (is_digit(byte_at(lexer, lexer->at))) lexer->at++;
    if (byte_at(lexer, lexer->at) == '.') {
        token->kind = TOKEN_DECIMAL;
        lexer->at++;
        while (is_digit(byte_at(lexer, lexer->at))) lexer->at++;
    }
    size_t exponent = exponent_size(lexer, lexer->at);
    if (exponent) token->kind = TOKEN_DECIMAL;
    lexer->at += exponent;
    size_t end = lexer->at;
    while (is_name_byte(byte_at(lexer, lexer->at))) lexer->at++;
    if (lexer->at == end) return ERR_OK;
    struct str whole = {lexer->text.at + start, lexer->at - start};
    int64_t ns;
    int shown = whole.size > 40 ? 40 : (int)whole.size;
    struct time_grid months; /* 1mo, 1y: what WINDOW and date_add take */
    if (!duration_parse(whole, &ns) && !grid_parse_width(whole, &months))
        return why_at(why, ERR_SYNTAX, (int32_t)start,
                      "\"%.*s\" is neither a number nor a duration such as 500ms, 10s, 5m, 1h, 1d",
                      shown, whole.at);
    token->kind = TOKEN_DURATION;
    return ERR_OK;
}

static enum err take_symbol(struct lexer *lexer, struct token *token, struct why *why)
{
    size_t left = lexer->text.size - lexer->at;
    const char *at = lexer->text.at + lexer->at;
    token->kind = TOKEN_SYMBOL;
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        size_t size = strlen(symbols[i]);
        if (size > left || memcmp(at, symbols[i], size) != 0) continue;
        lexer->at += size;
        return ERR_OK;
    }
    return why_at(why, ERR_SYNTAX, (int32_t)lexer->at,
                  "the character %s%.1s%s does not belong in a statement", *at > ' ' ? "\"" : "",
                  *at > ' ' ? at : "(control)", *at > ' ' ? "\"" : "");
}

static enum err take_token(struct lexer *lexer, struct token *token, struct why *why)
{
    char c = byte_at(lexer, lexer->at), next = byte_at(lexer, lexer->at + 1);
    if ((c == 'e' || c == 'E') && next == '\'') {
        token->kind = TOKEN_STRING;
        return take_escaped(lexer, why);
    }
    if (c == '\'' || c == '"') {
        token->kind = c == '"' ? TOKEN_QUOTED : TOKEN_STRING;
        return take_quoted(lexer, c, why);
    }
    if (is_digit(c) || (c == '.' && is_digit(next))) return take_number(lexer, token, why);
    if (c == '$' && is_digit(next)) {
        token->kind = TOKEN_PARAM;
        lexer->at++;
        while (is_digit(byte_at(lexer, lexer->at))) lexer->at++;
        return ERR_OK;
    }
    if (!is_name_start(c)) return take_symbol(lexer, token, why);
    token->kind = TOKEN_NAME;
    while (is_name_byte(byte_at(lexer, lexer->at))) lexer->at++;
    if (lexer->at - (size_t)token->position > LEX_NAME_BYTES_MAX)
        return why_at(why, ERR_SYNTAX, token->position, "a name may have at most %d bytes",
                      LEX_NAME_BYTES_MAX);
    return ERR_OK;
}

enum err lex_next(struct lexer *lexer, struct token *token, struct why *why)
{
    MUST(lexer->at <= lexer->text.size);
    enum err err = skip_blanks(lexer, why);
    *token = (struct token){TOKEN_END, (int32_t)lexer->at, {lexer->text.at + lexer->at, 0}};
    if (err || lexer->at >= lexer->text.size) return err;
    err = take_token(lexer, token, why);
    token->text.size = lexer->at - (size_t)token->position;
    if (err) token->kind = TOKEN_END;
    return err;
}

/* What E'…' means: \n and its like, octal, \x41; any other byte stands for itself. */
static size_t unescape(struct str text, char *out)
{
    static const char letters[] = "bfnrt", codes[] = "\b\f\n\r\t";
    size_t size = 0;
    for (size_t i = 2; i + 1 < text.size; i++) {
        char c = text.at[i];
        if (c == '\'') i++; /* doubled */
        if (c == '\\') {
            c = text.at[++i];
            const char *at = c ? strchr(letters, c) : NULL;
            unsigned value = 0, digits = 0;
            uint64_t hex;
            if (c == 'x' && i + 3 < text.size &&
                num_parse_hex((struct str){text.at + i + 1, 2}, &hex)) {
                out[size++] = (char)hex;
                i += 2;
                continue;
            }
            for (; digits < 3 && is_digit(text.at[i + digits]) && text.at[i + digits] < '8';
                 digits++)
                value = value * 8 + (unsigned)(text.at[i + digits] - '0');
            if (digits) i += digits - 1;
            c = digits ? (char)value : at ? codes[at - letters] : c;
        }
        out[size++] = c;
    }
    return size;
}

bool lex_text(const struct token *token, struct arena *arena, struct str *text)
{
    MUST(token->kind == TOKEN_NAME || token->kind == TOKEN_QUOTED || token->kind == TOKEN_STRING);
    char *out = arena_alloc(arena, token->text.size + 1);
    if (!out) return false;
    size_t size = 0;
    if (token->kind == TOKEN_NAME) {
        for (; size < token->text.size; size++) {
            char c = token->text.at[size];
            out[size] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        }
    } else if (token->text.at[0] == 'e' || token->text.at[0] == 'E') {
        size = unescape(token->text, out);
        if (!str_is_utf8((struct str){out, size}) || memchr(out, 0, size)) size = 0;
    } else {
        char quote = token->text.at[0];
        for (size_t i = 1; i + 1 < token->text.size; i++) {
            out[size++] = token->text.at[i];
            if (token->text.at[i] == quote) i++;
        }
    }
    out[size] = 0;
    *text = (struct str){out, size};
    return true;
}

void lex_add_name(struct buf *out, struct str name)
{
    buf_add_char(out, '"');
    for (size_t i = 0; i < name.size; i++) {
        if (name.at[i] == '"') buf_add_char(out, '"');
        buf_add_char(out, name.at[i]);
    }
    buf_add_char(out, '"');
}

bool token_is(const struct token *token, const char *word)
{
    if (token->kind == TOKEN_NAME) return str_is_nocase(token->text, word);
    return token->kind == TOKEN_SYMBOL && str_is(token->text, word);
}
