/* parse_priv.h - what the files of the parser share.
 *
 * Errors are sticky: the first one is kept, after it every token reads as the end, so loops stop by
 * themselves and only sql_parse looks at the result. A function that fails returns NULL or an empty
 * value that its caller may pass on. */
#ifndef SQL_PARSE_PRIV_H
#define SQL_PARSE_PRIV_H

#include "sql/lex.h"
#include "sql/parse.h"

struct parser {
    struct lexer lexer;
    struct token token, next; /* the current one and the one behind it */
    struct arena *arena;
    struct why *why;
    enum err err;
    int32_t nesting, query_nesting, sets;
    struct ast *expanded; /* of the select list at work: parse_expand.c; NULL: none */
    int32_t everywhere;   /* ≥ 0: the position of all tokens */
};

/* ---- tokens ---- */
void parse_advance(struct parser *p);
bool parse_is(const struct parser *p, const char *word);      /* the current token */
bool parse_next_is(const struct parser *p, const char *word); /* the one behind */
bool parse_accept(struct parser *p, const char *word);        /* takes it when it is there */
bool parse_accept2(struct parser *p, const char *first, const char *second);
void parse_expect(struct parser *p, const char *word);
/* Fails with 'expected <what>, found "<token>"' at the current token. */
void parse_fail_expected(struct parser *p, const char *what);
void parse_fail(struct parser *p, enum err err, int32_t position, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool parse_is_keyword(struct str word); /* of `sql_keyword`, in any case of letters */
bool parse_is_reserved(
    const struct parser *p); /* the current token is a word that cannot be a bare name */
struct str parse_name(struct parser *p, const char *what);
struct str parse_label(struct parser *p, const char *what); /* behind AS: any word is one */
struct str parse_string(struct parser *p, const char *what);
void *parse_zero(struct parser *p, size_t count,
                 size_t size_bytes); /* arena_zero; fails with NO_MEMORY */
/* Makes room for one more item; false: no memory. */
bool parse_grow(struct parser *p, void *items_pointer, size_t count, size_t *capacity,
                size_t item_bytes);
int64_t parse_duration(struct parser *p,
                       const char *what); /* > 0: 10s, '10 s' or INTERVAL '10 s' */
enum type parse_type(struct parser *p);
/* A width as parse_duration, or a calendar one: 1mo, '1 month', 1y. */
struct time_grid parse_width(struct parser *p, const char *what);

/* ---- windows and FILL (parse_window.c): each takes its clause when it is there ---- */
void parse_window_clause(struct parser *p, struct ast_select *select);
bool parse_window_call(struct parser *p, struct ast_select *select); /* in GROUP BY: eKuiper's */
void parse_fill_clause(struct parser *p, struct ast_select *select);
void parse_no_window(struct parser *p);       /* fails when a window clause stands here, too late */
bool parse_at_window(const struct parser *p); /* a word here begins a window, and is no alias */

/* ---- expressions (parse_expr.c) ---- */
struct ast *parse_expression(struct parser *p);
bool parse_list_add(struct parser *p, struct ast_list *list, struct ast *item);
/* name(arguments…): the name is taken, the current token is "(". */
struct ast *parse_call_of(struct parser *p, struct str name, int32_t position);
void parse_expressions(struct parser *p, struct ast_list *list); /* a, b, c */

struct ast *parse_integer(struct parser *p, int64_t value); /* a literal that was not written */

/* How tightly operators bind; see parse_level. */
enum parse_binding {
    LEVEL_OR = 10,
    LEVEL_AND = 20,
    LEVEL_NOT = 30,
    LEVEL_IS = 40,
    LEVEL_COMPARE = 50,
    LEVEL_RANGE = 60, /* BETWEEN, IN, LIKE */
    LEVEL_CONCAT = 70,
    LEVEL_ADD = 80,
    LEVEL_MULTIPLY = 90,
    LEVEL_POWER = 100,
    LEVEL_SIGN = 110,
    LEVEL_CAST = 120,
};
/* An expression whose operators all bind tighter than `level`. */
struct ast *parse_level(struct parser *p, int level);

/* ---- operands and nodes (parse_primary.c); all give NULL after an error ---- */
struct ast *parse_primary(struct parser *p);
struct ast *parse_node(struct parser *p, enum ast_kind kind, int32_t position);
/* A call that takes over the list. */
struct ast *parse_new_call(struct parser *p, const char *name, int32_t position,
                           struct ast_list list);
struct ast *parse_new_call2(struct parser *p, const char *name, int32_t position, struct ast *a,
                            struct ast *b);
struct ast *parse_new_cast(struct parser *p, struct ast *from, enum type type, int32_t position);
struct ast *parse_cast_type(struct parser *p, struct ast *from, int32_t position);
bool parse_is_row(const struct ast *tree); /* (a, b) */
struct ast *parse_comparison(struct parser *p, const char *name, int32_t position, struct ast *left,
                             struct ast *right);
struct ast *parse_query_operand(struct parser *p, const char *use, int32_t position,
                                struct ast *operand);

/* ---- queries (parse_query.c, parse_select.c, parse_from.c) ---- */
struct ast_select *parse_query(struct parser *p);
/* "(" (`deep`: or several) and behind it SELECT, WITH or VALUES. */
bool parse_is_query(const struct parser *p, bool deep);
struct ast_select *parse_bracket_query(struct parser *p);
void parse_nest(struct parser *p); /* one level of brackets more; the caller takes it back */
void parse_select(struct parser *p, struct ast_select *select);
struct ast_from *parse_from(struct parser *p);
struct ast_from *parse_new_join(struct parser *p, struct ast_from *left, struct ast_from *right,
                                struct ast_from join);
struct ast_relation parse_relation(struct parser *p);
void parse_alias(struct parser *p, struct ast_from *from);   /* [AS name [(columns)]] */
void parse_names(struct parser *p, struct ast_names *names); /* (a, b) */
void parse_order_by(struct parser *p, struct ast_order **order, size_t *count);
struct ast_over *parse_over(struct parser *p); /* behind OVER */
void parse_named_windows(struct parser *p, struct ast_select *select);

/* ---- statements ---- */
void parse_insert(struct parser *p, struct ast_insert *insert);
void parse_create(struct parser *p, struct ast_ddl *ddl);
void parse_alter(struct parser *p, struct ast_ddl *ddl);
void parse_drop(struct parser *p, struct ast_ddl *ddl);

/* ---- parse_expand.c ---- */
bool parse_is_expand(const struct ast *tree); /* a call of _pg_expandarray */
/* What stands for an item of a select list that would give many rows; any other one as it is. */
struct ast *parse_expand_item(struct parser *p, struct ast *item);
/* (pair).x; the current token is the field's name. */
struct ast *parse_field(struct parser *p, struct ast *pair);
/* At the end of the SELECT in whose list calls stand: the rows that they give. */
void parse_expand_rows(struct parser *p, struct ast_select *select);

#endif
