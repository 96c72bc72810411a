/* lex.h - the tokens of a statement, made one at a time on demand.
 *
 * A lexer is a small copyable value: looking ahead is lexing on from a copy. It never allocates: a
 * token is a slice of the statement's text; what needs unescaping (doubled quotes, case folding) is
 * done by lex_text when the parser keeps the token. Thread: any; a call touches only its arguments.
 */
#ifndef SQL_LEX_H
#define SQL_LEX_H

#include "base/mem.h"
#include "base/str.h"

enum {
    LEX_NAME_BYTES_MAX = 255,
};

enum token_kind {
    TOKEN_END,      /* of the text; after an error, for ever */
    TOKEN_NAME,     /* unquoted: a keyword or a name, to be folded to lower case */
    TOKEN_QUOTED,   /* "Name" */
    TOKEN_STRING,   /* 'text' */
    TOKEN_INTEGER,  /* 12 */
    TOKEN_DECIMAL,  /* 1.5, 1e3 */
    TOKEN_DURATION, /* 10s, 1h30m */
    TOKEN_PARAM,    /* $1 */
    TOKEN_SYMBOL,   /* ( ) , ; . and operators */
};

struct token {
    enum token_kind kind;
    int32_t position; /* byte offset in the statement */
    struct str text;  /* as written, quotes included */
};

struct lexer {
    struct str text; /* the whole statement */
    size_t at;       /* next byte */
};

/* The next token. Errors: SYNTAX with position and text (a string without end, a stray character).
 */
enum err lex_next(struct lexer *lexer, struct token *token, struct why *why);

/* What a NAME, QUOTED or STRING token means: folded or unescaped, in `arena`; empty where an E'…'
 * has escapes that are no text. False: no memory. */
bool lex_text(const struct token *token, struct arena *arena, struct str *text);

/* Writes a name as a QUOTED token: the way back. */
void lex_add_name(struct buf *out, struct str name);

/* True when `token` is the unquoted word `word` (lower case) or the symbol. */
bool token_is(const struct token *token, const char *word);

#endif
