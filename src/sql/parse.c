/* parse.c - the parser's tools: tokens, names, durations, types, errors. See parse_priv.h. */
#include "sql/parse_priv.h"
#include "sql/parse.h"
#include "base/num.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

/* Words that begin or join clauses. Written without quotes they are never a name or an alias. */
static const char *const reserved[] = {
    "select",    "from",      "where",   "group",     "having",  "order",     "limit", "offset",
    "partition", "window",    "fill",    "and",       "or",      "not",       "in",    "is",
    "like",      "ilike",     "between", "case",      "when",    "then",      "else",  "end",
    "as",        "on",        "join",    "distinct",  "null",    "true",      "false", "union",
    "by",        "values",    "into",    "desc",      "asc",     "inner",     "left",  "cross",
    "except",    "intersect", "right",   "full",      "natural", "asof",      "using", "fetch",
    "for",       "with",      "collate", "tolerance", "lateral", "returning",
};

void parse_fail(struct parser *p, enum err err, int32_t position, const char *format, ...)
{
    if (p->err) return;
    char text[WHY_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    p->err = why_at(p->why, err, position, "%s", text);
    p->token.kind = p->next.kind = TOKEN_END;
    p->token.text.size = p->next.text.size = 0;
}

void parse_fail_expected(struct parser *p, const char *what)
{
    struct str found = p->token.text;
    int size = found.size > 60 ? 60 : (int)found.size;
    if (p->token.kind == TOKEN_END)
        parse_fail(p, ERR_SYNTAX, p->token.position, "expected %s, found the end of the statement",
                   what);
    else
        parse_fail(p, ERR_SYNTAX, p->token.position, "expected %s, found \"%.*s\"", what, size,
                   found.at);
}

void parse_advance(struct parser *p)
{
    p->token = p->next;
    if (p->err || p->token.kind == TOKEN_END) return;
    enum err err = lex_next(&p->lexer, &p->next, p->why);
    if (p->everywhere >= 0) p->next.position = p->everywhere;
    if (!err) return;
    if (p->everywhere >= 0 && p->why) p->why->position = p->everywhere;
    p->err = err;
    p->token.kind = p->next.kind = TOKEN_END;
}

bool parse_is(const struct parser *p, const char *word)
{
    return token_is(&p->token, word);
}
bool parse_next_is(const struct parser *p, const char *word)
{
    return token_is(&p->next, word);
}

bool parse_accept(struct parser *p, const char *word)
{
    if (!parse_is(p, word)) return false;
    parse_advance(p);
    return true;
}

bool parse_accept2(struct parser *p, const char *first, const char *second)
{
    if (!parse_is(p, first) || !parse_next_is(p, second)) return false;
    parse_advance(p);
    parse_advance(p);
    return true;
}

void parse_expect(struct parser *p, const char *word)
{
    char what[32];
    size_t size = 0;
    if (parse_accept(p, word)) return;
    what[size++] = '"';
    for (const char *c = word; *c && size < sizeof what - 2; c++)
        what[size++] = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
    what[size++] = '"';
    what[size] = 0;
    parse_fail_expected(p, what);
}

const char *sql_keyword(size_t index)
{
    return index < sizeof reserved / sizeof reserved[0] ? reserved[index] : NULL;
}

bool parse_is_keyword(struct str word)
{
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (str_is_nocase(word, reserved[i])) return true;
    return false;
}

bool parse_is_reserved(const struct parser *p)
{
    return p->token.kind == TOKEN_NAME && parse_is_keyword(p->token.text);
}

struct str parse_name(struct parser *p, const char *what)
{
    if (!parse_is_reserved(p)) return parse_label(p, what);
    parse_fail_expected(p, what);
    return STR("");
}

struct str parse_label(struct parser *p, const char *what)
{
    struct str name = {"", 0};
    bool is_name = p->token.kind == TOKEN_QUOTED || p->token.kind == TOKEN_NAME;
    if (!is_name) {
        parse_fail_expected(p, what);
    } else if (!lex_text(&p->token, p->arena, &name)) {
        parse_fail(p, ERR_NO_MEMORY, p->token.position, "out of memory");
    } else if (name.size == 0 || memchr(name.at, 0, name.size)) {
        parse_fail(p, ERR_SYNTAX, p->token.position, "expected %s, found an empty name", what);
    } else {
        parse_advance(p);
    }
    return name;
}

struct str parse_string(struct parser *p, const char *what)
{
    struct str text = {"", 0};
    if (p->token.kind != TOKEN_STRING)
        parse_fail_expected(p, what);
    else if (!lex_text(&p->token, p->arena, &text))
        parse_fail(p, ERR_NO_MEMORY, p->token.position, "out of memory");
    else if (!text.size && p->token.text.size > sizeof "E''" - 1)
        parse_fail(p, ERR_SYNTAX, p->token.position,
                   "what this E'…' stands for is not UTF-8, or has a zero byte");
    else
        parse_advance(p);
    return text;
}

void *parse_zero(struct parser *p, size_t count, size_t size)
{
    void *memory = arena_zero(p->arena, count, size);
    if (!memory) parse_fail(p, ERR_NO_MEMORY, p->token.position, "out of memory");
    return memory;
}

bool parse_grow(struct parser *p, void *items_pointer, size_t count, size_t *capacity,
                size_t item_bytes)
{
    if (count < *capacity) return true;
    size_t next = *capacity ? *capacity * 2 : 4;
    void *old, *grown = parse_zero(p, next, item_bytes);
    if (!grown) return false;
    memcpy(&old, items_pointer, sizeof old);
    if (count) memcpy(grown, old, count * item_bytes);
    memcpy(items_pointer, &grown, sizeof grown);
    *capacity = next;
    return true;
}

/* ---- durations ---- */

static const struct {
    const char *names; /* separated by spaces */
    int64_t ns;
} interval_units[] = {
    {"ns nanosecond nanoseconds", 1},
    {"us microsecond microseconds", TIME_NS_PER_US},
    {"ms millisecond milliseconds", TIME_NS_PER_MS},
    {"s ss sec secs second seconds", TIME_NS_PER_S},
    {"m mi min mins minute minutes", 60 * TIME_NS_PER_S},
    {"h hh hour hours", 3600 * TIME_NS_PER_S},
    {"d dd day days", TIME_NS_PER_DAY},
    {"w week weeks", 7 * TIME_NS_PER_DAY},
};

static int64_t unit_ns(struct str word)
{
    for (size_t i = 0; i < sizeof interval_units / sizeof interval_units[0]; i++) {
        struct str rest = str_of(interval_units[i].names), name;
        while (str_split(&rest, ' ', &name))
            if (name.size == word.size && str_distance(name, word) == 0)
                return interval_units[i].ns;
    }
    return 0;
}

static struct str take_while(struct str *rest, bool digits)
{
    struct str taken = {rest->at, 0};
    while (taken.size < rest->size) {
        char c = rest->at[taken.size];
        bool is_digit = (c >= '0' && c <= '9') || c == '-' || c == '.';
        if (is_digit != digits || c == ' ') break;
        taken.size++;
    }
    rest->at += taken.size;
    rest->size -= taken.size;
    return taken;
}

/* "1.5" of a unit, exactly as far as nanoseconds go. False when it is no number or too large. */
static bool amount_ns(struct str number, int64_t unit, int64_t *ns)
{
    struct str rest = number, whole;
    int64_t amount, fraction = 0, scale = 1;
    (void)str_split(&rest, '.', &whole);
    if (!num_parse_i64(whole, &amount) || __builtin_mul_overflow(amount, unit, ns)) return false;
    for (size_t i = 0; rest.at && i < rest.size && scale < 1000000000; i++) {
        if (rest.at[i] < '0' || rest.at[i] > '9') return false;
        fraction = fraction * 10 + (rest.at[i] - '0');
        scale *= 10;
    }
    int64_t more = (int64_t)((__int128)unit * fraction / scale);
    bool is_negative = number.size && number.at[0] == '-';
    return !__builtin_add_overflow(*ns, is_negative ? -more : more, ns);
}

bool sql_parse_interval(struct str text, int64_t *duration_ns)
{
    int64_t total = 0, part;
    struct str rest = str_trim(text);
    if (rest.size == 0) return false;
    while (rest.size > 0) {
        rest = str_trim(rest);
        struct str number = take_while(&rest, true);
        rest = str_trim(rest);
        int64_t unit = unit_ns(take_while(&rest, false));
        if (unit == 0 || !amount_ns(number, unit, &part) ||
            __builtin_add_overflow(total, part, &total))
            return false;
    }
    *duration_ns = total;
    return true;
}

int64_t parse_duration(struct parser *p, const char *what)
{
    int64_t ns = 0;
    if (parse_is(p, "interval") && p->next.kind == TOKEN_STRING) parse_advance(p);
    int32_t position = p->token.position;
    bool good = false;
    if (p->token.kind == TOKEN_DURATION) {
        good = duration_parse(p->token.text, &ns);
        parse_advance(p);
    } else if (p->token.kind == TOKEN_STRING) {
        good = sql_parse_interval(parse_string(p, what), &ns);
    } else {
        parse_fail_expected(p, what);
    }
    if (!good || ns <= 0)
        parse_fail(p, ERR_SYNTAX, position, "expected %s greater than zero, such as 10s, 5m, 1h",
                   what);
    return ns;
}

/* ---- types: "double precision", "varchar(20)", "double[]", "timestamp with time zone" ---- */

enum type parse_type(struct parser *p)
{
    static const char *const names[] = {"bool", "bigint", "ubigint",  "double",
                                        "text", "bytes",  "timestamp"};
    int32_t position = p->token.position;
    struct str name = parse_name(p, "a type");
    if (str_is(name, "pg_catalog") && parse_accept(p, ".")) name = parse_name(p, "a type");
    enum type type = type_of_name(name);
    if (p->err) return TYPE_NONE;
    if (type == TYPE_NONE) {
        int near = str_nearest(name, names, sizeof names / sizeof names[0]);
        parse_fail(
            p, ERR_SYNTAX, position, "\"%.*s\" is not a type; %s%s%s", (int)name.size, name.at,
            near < 0
                ? "the types are bool, bigint, ubigint, double, text, bytes, timestamp, double[]"
                : "did you mean \"",
            near < 0 ? "" : names[near], near < 0 ? "" : "\"?");
        return TYPE_NONE;
    }
    if (str_is(name, "double")) parse_accept(p, "precision");
    if (str_is(name, "character")) parse_accept(p, "varying");
    if (parse_accept(p, "(")) {
        while (p->token.kind == TOKEN_INTEGER || parse_is(p, ",")) parse_advance(p);
        parse_expect(p, ")");
    }
    if (type == TYPE_TIMESTAMP && parse_accept2(p, "with", "time")) parse_expect(p, "zone");
    if (type == TYPE_DOUBLE && parse_accept(p, "[")) {
        parse_expect(p, "]");
        type = TYPE_DOUBLES;
    } else if (type != TYPE_DOUBLES && parse_accept(p, "[")) { /* '{a,b}': a text here */
        parse_expect(p, "]");
        type = TYPE_TEXT;
    }
    return type;
}
