/* parse_window.c - the window clause and FILL.
 *
 * People bring three dialects: ours (WINDOW TUMBLE(10s), as in streaming SQL), TDengine's
 * (INTERVAL(10s) SLIDING(5s), SESSION(ts, 10s), STATE_WINDOW(c) … without a leading word) and
 * eKuiper's (functions in GROUP BY: TUMBLINGWINDOW(ss, 10)). One table names them all; each row's
 * function reads its arguments into the one ast_window, so the rest of the engine knows one form.
 */
#include "sql/parse_priv.h"
#include "base/num.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

/* ---- pieces ---- */

struct time_grid parse_width(struct parser *p, const char *what)
{
    struct time_grid grid = {0};
    if (parse_is(p, "interval") && p->next.kind == TOKEN_STRING) parse_advance(p);
    int32_t position = p->token.position;
    bool good = false;
    if (p->token.kind == TOKEN_DURATION) {
        good = grid_parse_width(p->token.text, &grid);
        parse_advance(p);
    } else if (p->token.kind == TOKEN_STRING) {
        good = grid_parse_width(parse_string(p, what), &grid);
    } else if (p->token.kind == TOKEN_INTEGER) {
        parse_fail(p, ERR_SYNTAX, position,
                   "%s needs a unit: 10s, 5m, 1h, 1d; a bare number says nothing", what);
    } else {
        parse_fail_expected(p, what);
    }
    if (!good)
        parse_fail(p, ERR_SYNTAX, position,
                   "expected %s greater than zero, such as 10s, 5m, 1h, 1d, 1mo", what);
    return grid;
}

/* A width that must have a fixed length: 30 days pass, a month does not. */
static struct time_grid parse_fixed_width(struct parser *p, const char *what)
{
    int32_t position = p->token.position;
    struct time_grid grid = parse_width(p, what);
    if (!p->err && grid.months > 0)
        parse_fail(p, ERR_SYNTAX, position, "%s cannot be months or years: their length varies",
                   what);
    return grid;
}

static int64_t parse_whole(struct parser *p, const char *what, int64_t most)
{
    int64_t n = 0;
    int32_t position = p->token.position;
    if (p->token.kind != TOKEN_INTEGER || !num_parse_i64(p->token.text, &n))
        parse_fail_expected(p, what);
    parse_advance(p);
    if (!p->err && (n < 1 || n > most))
        parse_fail(p, ERR_SYNTAX, position, "%s is from 1 to %lld", what, (long long)most);
    return n;
}

/* ---- arguments by kind; the current token stands behind "(" ---- */

typedef void parse_arguments(struct parser *p, struct ast_window *w);
enum { COUNT_MAX = 1000000 };

static void args_tumble(struct parser *p, struct ast_window *w)
{
    w->width = parse_width(p, "a width");
    if (!parse_accept(p, ",")) return;
    bool minus = parse_accept(p, "-");
    int64_t offset = parse_fixed_width(p, "an offset").width_ns;
    w->offset_ns = minus ? -offset : offset;
}

static void args_hop(struct parser *p, struct ast_window *w)
{
    w->width = parse_width(p, "a size");
    if (!parse_is(p, ","))
        parse_fail(p, ERR_SYNTAX, p->token.position,
                   "HOP takes a size and a step: HOP(60s, 10s) is a minute's window every 10 s");
    parse_expect(p, ",");
    w->step = parse_width(p, "a step");
}

static void args_slide(struct parser *p, struct ast_window *w)
{
    w->width = parse_fixed_width(p, "a width");
}

static void args_session(struct parser *p, struct ast_window *w)
{
    if (p->token.kind == TOKEN_NAME && !parse_is(p, "interval")) { /* TDengine: the time first */
        if (!parse_is(p, "time") && !parse_is(p, "ts") && !parse_is(p, "_rowts"))
            parse_fail_expected(p, "a gap such as 30s");
        parse_advance(p);
        parse_expect(p, ",");
    }
    w->width = parse_fixed_width(p, "a gap");
    if (parse_accept(p, ",")) w->longest_ns = parse_fixed_width(p, "a greatest length").width_ns;
}

static void args_count(struct parser *p, struct ast_window *w)
{
    w->count = parse_whole(p, "a number of rows", COUNT_MAX);
    w->count_step = parse_accept(p, ",") ? parse_whole(p, "a step in rows", COUNT_MAX) : w->count;
}

static void args_state(struct parser *p, struct ast_window *w)
{
    w->start = parse_expression(p);
    if (parse_accept(p, ",")) { /* eKuiper: from one condition to another */
        w->kind = WINDOW_EVENT;
        w->end = parse_expression(p);
    }
}

/* START [WITH] condition END [WITH] condition, inside brackets or, in TDengine, without. */
static void args_event(struct parser *p, struct ast_window *w)
{
    if (!parse_is(p, "start"))
        parse_fail(p, ERR_SYNTAX, p->token.position,
                   "an event window is written EVENT(START a > 10 END a < 5)");
    parse_expect(p, "start");
    parse_accept(p, "with");
    w->start = parse_expression(p);
    parse_expect(p, "end");
    parse_accept(p, "with");
    w->end = parse_expression(p);
}

/* ---- eKuiper: a unit, then numbers of it ---- */

static int64_t parse_amount(struct parser *p, struct str unit)
{
    char text[64] = "";
    int64_t ns = 0;
    int32_t position = p->token.position;
    if (p->token.kind != TOKEN_INTEGER) parse_fail_expected(p, "a whole number");
    (void)snprintf(text, sizeof text, "%.*s %.*s", (int)(p->token.text.size & 31), p->token.text.at,
                   (int)(unit.size & 15), unit.at);
    if (!p->err && (!sql_parse_interval(str_of(text), &ns) || ns <= 0))
        parse_fail(p, ERR_SYNTAX, position,
                   "the units of this window are ms, ss, mi, hh, dd, with a number above 0");
    parse_advance(p);
    return ns;
}

static struct str parse_unit(struct parser *p)
{
    struct str unit = parse_name(p, "a unit such as ss");
    parse_expect(p, ",");
    return unit;
}

static void unit_tumble(struct parser *p, struct ast_window *w)
{
    struct str unit = parse_unit(p);
    int64_t ns = parse_amount(p, unit);
    if (ns > 0) w->width = grid_of_width(ns);
}

static void unit_hop(struct parser *p, struct ast_window *w)
{
    struct str unit = parse_unit(p);
    int64_t size = parse_amount(p, unit);
    parse_expect(p, ",");
    int64_t step = parse_amount(p, unit);
    if (size > 0 && step > 0) w->width = grid_of_width(size), w->step = grid_of_width(step);
}

static void unit_session(struct parser *p, struct ast_window *w)
{
    struct str unit = parse_unit(p);
    w->longest_ns = parse_amount(p, unit);
    parse_expect(p, ",");
    int64_t gap = parse_amount(p, unit);
    if (gap > 0) w->width = grid_of_width(gap);
}

/* ---- the names ---- */

enum dialect { OURS, TDENGINE, EKUIPER };

static const struct spelling {
    const char *name;
    enum dialect dialect;
    enum window_kind kind;
    parse_arguments *arguments;
    bool bare; /* may stand without brackets */
} spellings[] = {
    {"tumble", OURS, WINDOW_TUMBLE, args_tumble, false},
    {"hop", OURS, WINDOW_HOP, args_hop, false},
    {"slide", OURS, WINDOW_SLIDE, args_slide, false},
    {"session", OURS, WINDOW_SESSION, args_session, false},
    {"count", OURS, WINDOW_COUNT, args_count, false},
    {"state", OURS, WINDOW_STATE, args_state, false},
    {"event", OURS, WINDOW_EVENT, args_event, false},
    {"interval", TDENGINE, WINDOW_TUMBLE, args_tumble, false},
    {"session", TDENGINE, WINDOW_SESSION, args_session, false},
    {"state_window", TDENGINE, WINDOW_STATE, args_state, false},
    {"count_window", TDENGINE, WINDOW_COUNT, args_count, false},
    {"event_window", TDENGINE, WINDOW_EVENT, args_event, true},
    {"tumblingwindow", EKUIPER, WINDOW_TUMBLE, unit_tumble, false},
    {"hoppingwindow", EKUIPER, WINDOW_HOP, unit_hop, false},
    {"slidingwindow", EKUIPER, WINDOW_SLIDE, unit_tumble, false},
    {"sessionwindow", EKUIPER, WINDOW_SESSION, unit_session, false},
    {"countwindow", EKUIPER, WINDOW_COUNT, args_count, false},
    {"statewindow", EKUIPER, WINDOW_STATE, args_state, false},
};
enum { SPELLING_COUNT = sizeof spellings / sizeof spellings[0] };

static const struct spelling *find_spelling(const struct parser *p, enum dialect dialect)
{
    for (size_t i = 0; i < SPELLING_COUNT; i++)
        if (spellings[i].dialect == dialect && parse_is(p, spellings[i].name) &&
            (spellings[i].bare || parse_next_is(p, "(")))
            return &spellings[i];
    return NULL;
}

static void parse_spelling(struct parser *p, struct ast_select *select, const struct spelling *s)
{
    struct ast_window *w = &select->window;
    int32_t position = p->token.position;
    if (w->kind != WINDOW_NONE)
        parse_fail(p, ERR_SYNTAX, position, "a statement has at most one window");
    *w = (struct ast_window){.kind = s->kind, .position = position, .zone = STR("")};
    parse_advance(p);
    bool bracket = parse_is(p, "(") || !s->bare;
    if (bracket) parse_expect(p, "(");
    s->arguments(p, w);
    if (bracket) parse_expect(p, ")");
}

/* Behind INTERVAL(10s): a step makes the window hop. */
static void parse_sliding(struct parser *p, struct ast_window *w)
{
    if (!parse_accept(p, "sliding")) return;
    parse_expect(p, "(");
    w->step = parse_width(p, "a step");
    parse_expect(p, ")");
    w->kind = WINDOW_HOP;
}

static void parse_zone(struct parser *p, struct ast_window *w)
{
    int32_t position = p->token.position;
    if (!parse_accept2(p, "time", "zone")) return;
    if (w->kind != WINDOW_TUMBLE && w->kind != WINDOW_HOP)
        parse_fail(p, ERR_SYNTAX, position, "TIME ZONE belongs behind TUMBLE or HOP");
    w->zone = parse_string(p, "a time zone such as 'Asia/Shanghai'");
}

static void fail_unknown_window(struct parser *p)
{
    const char *names[SPELLING_COUNT];
    for (size_t i = 0; i < SPELLING_COUNT; i++) names[i] = spellings[i].name;
    int near = p->token.kind == TOKEN_NAME ? str_nearest(p->token.text, names, SPELLING_COUNT) : -1;
    struct str found = p->token.text;
    parse_fail(
        p, ERR_SYNTAX, p->token.position, "expected a window, found \"%.*s\"; %s%s%s",
        found.size > 40 ? 40 : (int)found.size, found.at,
        near < 0
            ? "the windows are TUMBLE(10s), HOP(60s, 10s), SLIDE(10s), SESSION(30s), COUNT(100), STATE(mode), EVENT(START a END b)"
            : "did you mean \"",
        near < 0 ? "" : names[near], near < 0 ? "" : "\"?");
}

/* TUMBLE(…), HOP(…), SLIDE(…), SESSION(…): names that are nothing else. */
static const struct spelling *find_plain(const struct parser *p)
{
    const struct spelling *s = find_spelling(p, OURS);
    return s && s->kind <= WINDOW_SESSION ? s : NULL;
}

bool parse_at_window(const struct parser *p)
{
    return find_spelling(p, TDENGINE) != NULL || parse_is(p, "sliding") || find_plain(p) != NULL;
}

/* "WINDOW name AS (…)", PostgreSQL's clause, not one of ours. */
static bool is_named_window(const struct parser *p)
{
    struct lexer ahead = p->lexer;
    struct token token;
    struct why ignored = WHY_NONE;
    return parse_is(p, "window") && !lex_next(&ahead, &token, &ignored) && token_is(&token, "as");
}

void parse_window_clause(struct parser *p, struct ast_select *select)
{
    const struct spelling *s;
    if (is_named_window(p)) return;
    if (parse_accept(p, "window")) {
        s = find_spelling(p, OURS);
        if (!s && !p->err) fail_unknown_window(p);
        if (s) parse_spelling(p, select, s);
    } else if ((s = find_spelling(p, TDENGINE)) != NULL) {
        parse_spelling(p, select, s);
        parse_sliding(p, &select->window);
    } else {
        if (find_plain(p))
            parse_fail(p, ERR_SYNTAX, p->token.position,
                       "the word WINDOW is missing: WINDOW %s(10s)", find_plain(p)->name);
        return;
    }
    parse_zone(p, &select->window);
    if (parse_is(p, "window") && !is_named_window(p))
        parse_fail(p, ERR_SYNTAX, p->token.position, "a statement has at most one window");
}

void parse_no_window(struct parser *p)
{
    const struct spelling *s = find_spelling(p, TDENGINE);
    if (s || (parse_is(p, "window") && !is_named_window(p)))
        parse_fail(p, ERR_SYNTAX, p->token.position,
                   "the window stands before GROUP BY: … PARTITION BY device WINDOW TUMBLE(10s)");
}

bool parse_window_call(struct parser *p, struct ast_select *select)
{
    const struct spelling *s = find_spelling(p, EKUIPER);
    if (!s) s = find_plain(p); /* as Flink writes it */
    if (s) parse_spelling(p, select, s);
    return s != NULL;
}

/* ---- FILL ---- */

static const struct {
    const char *word;
    enum fill_kind kind;
} fills[] = {{"prev", FILL_PREV},     {"previous", FILL_PREV}, {"next", FILL_NEXT},
             {"linear", FILL_LINEAR}, {"null", FILL_NULL},     {"none", FILL_OFF}};

void parse_fill_clause(struct parser *p, struct ast_select *select)
{
    struct ast_fill *fill = &select->fill;
    int32_t position = p->token.position;
    if (!parse_is(p, "fill") || !parse_next_is(p, "(")) return;
    if (fill->position > 0) parse_fail(p, ERR_SYNTAX, position, "a statement has at most one FILL");
    parse_advance(p);
    parse_advance(p);
    *fill = (struct ast_fill){.kind = FILL_VALUE, .position = position};
    bool word = false;
    for (size_t i = 0; i < sizeof fills / sizeof fills[0] && !word; i++)
        if (parse_is(p, fills[i].word)) word = true, fill->kind = fills[i].kind;
    if (word) {
        parse_advance(p);
    } else if (p->token.kind == TOKEN_NAME && !parse_is(p, "value") && !parse_is(p, "true") &&
               !parse_is(p, "false")) {
        parse_fail_expected(p, "\"PREV\", \"NEXT\", \"LINEAR\", \"NULL\", \"NONE\" or a constant");
    } else {
        if (parse_accept(p, "value")) parse_expect(p, ","); /* TDengine: FILL(VALUE, 0) */
        parse_expressions(p, &fill->values);
    }
    parse_expect(p, ")");
}
