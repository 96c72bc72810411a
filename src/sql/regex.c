/* regex.c - see regex.h. */
#include "sql/regex.h"
#include <string.h>

enum {
    PROGRAM_MAX = 20000, /* instructions */
    DEPTH_MAX = 100,     /* brackets inside each other */
    REPEAT_MAX = 255,
    RANGES_MAX = 64, /* of a class */
};

enum op {
    OP_ANY,
    OP_CHAR,
    OP_CLASS,
    OP_SPLIT,
    OP_JUMP,
    OP_START,
    OP_END,
    OP_WORD_START,
    OP_WORD_END,
    OP_WORD_EDGE,
    OP_MATCH
};

struct range {
    uint32_t from, to;
};

struct class
{
    bool negated;
    size_t count;
    struct range ranges[RANGES_MAX];
};

struct instruction {
    enum op op;
    uint32_t c;          /* CHAR */
    uint32_t x, y;       /* SPLIT: both; JUMP: x */
    struct class *class; /* CLASS */
};

struct regex {
    struct instruction *program;
    uint32_t count, capacity;
    bool ignore_case;
    struct arena *arena;
    uint32_t *now, *then, *seen; /* [count] places; seen: the step at which it was added */
    uint32_t step;
};

struct compiler {
    struct regex *regex;
    struct str rest;
    int depth;
    enum err err;
    struct why *why;
};

/* ---- characters ---- */

/* The next character of UTF-8; a broken byte stands for itself. */
static uint32_t take_char(struct str *text)
{
    const unsigned char *s = (const unsigned char *)text->at;
    size_t size = s[0] < 0xC0 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    uint32_t c = s[0];
    if (size > text->size) size = 1;
    if (size > 1) {
        c = s[0] & (0x7Fu >> size);
        for (size_t i = 1; i < size; i++) c = c << 6 | (s[i] & 0x3F);
    }
    text->at += size;
    text->size -= size;
    return c;
}

static uint32_t fold(uint32_t c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static bool is_word(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c >= 0x80;
}

/* ---- compiling ---- */

static void fail(struct compiler *k, enum err err, const char *text)
{
    if (!k->err) k->err = why_set(k->why, err, "regular expression: %s", text);
    k->rest.size = 0;
}

static uint32_t emit(struct compiler *k, struct instruction instruction)
{
    struct regex *r = k->regex;
    if (k->err) return 0;
    if (r->count == PROGRAM_MAX) {
        fail(k, ERR_LIMIT, "it is too large; repeat less");
        return 0;
    }
    if (r->count == r->capacity) {
        uint32_t capacity = r->capacity ? r->capacity * 2 : 32;
        struct instruction *grown = arena_zero(r->arena, capacity, sizeof *grown);
        if (!grown) {
            fail(k, ERR_NO_MEMORY, "no memory");
            return 0;
        }
        if (r->count) memcpy(grown, r->program, r->count * sizeof *grown);
        r->program = grown;
        r->capacity = capacity;
    }
    r->program[r->count] = instruction;
    return r->count++;
}

static bool next_is(const struct compiler *k, char c)
{
    return k->rest.size > 0 && k->rest.at[0] == c;
}

static bool accept(struct compiler *k, char c)
{
    if (!next_is(k, c)) return false;
    k->rest.at++, k->rest.size--;
    return true;
}

static void add_range(struct compiler *k, struct class *class, uint32_t from, uint32_t to)
{
    if (from > to) fail(k, ERR_SYNTAX, "a range in [ ] is the wrong way round");
    if (class->count == RANGES_MAX) fail(k, ERR_LIMIT, "too many ranges in [ ]");
    if (!k->err) class->ranges[class->count++] = (struct range){from, to};
}

static const struct {
    const char *name;
    char escape; /* \d; 0: none */
    struct range ranges[4];
} kinds[] = {
    {"digit", 'd', {{'0', '9'}}},
    {"space", 's', {{' ', ' '}, {'\t', '\r'}}},
    {"word", 'w', {{'a', 'z'}, {'A', 'Z'}, {'0', '9'}, {'_', '_'}}},
    {"alpha", 0, {{'a', 'z'}, {'A', 'Z'}}},
    {"alnum", 0, {{'a', 'z'}, {'A', 'Z'}, {'0', '9'}}},
    {"upper", 0, {{'A', 'Z'}}},
    {"lower", 0, {{'a', 'z'}}},
    {"punct", 0, {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
    {"xdigit", 0, {{'0', '9'}, {'a', 'f'}, {'A', 'F'}}},
    {"blank", 0, {{' ', ' '}, {'\t', '\t'}}},
};
enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

static void add_kind(struct compiler *k, struct class *class, size_t kind)
{
    for (size_t i = 0; i < 4 && kinds[kind].ranges[i].to; i++)
        add_range(k, class, kinds[kind].ranges[i].from, kinds[kind].ranges[i].to);
}

/* [:name:], the "[:" is taken. */
static void take_named_class(struct compiler *k, struct class *class)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        size_t size = strlen(kinds[i].name);
        if (k->rest.size < size + 2 || memcmp(k->rest.at, kinds[i].name, size) != 0 ||
            memcmp(k->rest.at + size, ":]", 2) != 0)
            continue;
        k->rest.at += size + 2, k->rest.size -= size + 2;
        add_kind(k, class, i);
        return;
    }
    fail(k, ERR_SYNTAX, "an unknown class [: :]");
}

static uint32_t escaped(uint32_t c)
{
    return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
}

/* One character of a class, or a class like \d in it (true). */
static bool take_class_part(struct compiler *k, struct class *class, uint32_t *c)
{
    bool is_escape = accept(k, '\\');
    if (k->rest.size == 0) return true;
    *c = take_char(&k->rest);
    for (size_t i = 0; is_escape && i < KIND_COUNT; i++)
        if (kinds[i].escape && (uint32_t)kinds[i].escape == *c) {
            add_kind(k, class, i);
            return true;
        }
    if (is_escape) *c = escaped(*c);
    return false;
}

static void take_class(struct compiler *k)
{
    struct class *class = arena_zero(k->regex->arena, 1, sizeof *class);
    bool first = true;
    if (!class) {
        fail(k, ERR_NO_MEMORY, "no memory");
        return;
    }
    class->negated = accept(k, '^');
    for (; k->rest.size > 0 && (first || !next_is(k, ']')); first = false) {
        uint32_t from, to;
        if (k->rest.size > 1 && memcmp(k->rest.at, "[:", 2) == 0) {
            k->rest.at += 2, k->rest.size -= 2;
            take_named_class(k, class);
            continue;
        }
        if (take_class_part(k, class, &from)) continue;
        to = from;
        bool is_range = k->rest.size > 1 && k->rest.at[0] == '-' && k->rest.at[1] != ']';
        if (is_range && accept(k, '-') && take_class_part(k, class, &to))
            fail(k, ERR_SYNTAX, "a range in [ ] ends with a class");
        add_range(k, class, from, to);
    }
    if (!accept(k, ']')) fail(k, ERR_SYNTAX, "\"[\" without \"]\"");
    emit(k, (struct instruction){.op = OP_CLASS, .class = class});
}

static void take_escape(struct compiler *k)
{
    static const struct {
        char c;
        enum op op;
    } edges[] = {{'m', OP_WORD_START}, {'M', OP_WORD_END}, {'y', OP_WORD_EDGE},
                 {'b', OP_WORD_EDGE},  {'A', OP_START},    {'Z', OP_END}};
    if (k->rest.size == 0) {
        fail(k, ERR_SYNTAX, "it ends with \"\\\"");
        return;
    }
    uint32_t c = take_char(&k->rest);
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
        if (c == (uint32_t)edges[i].c) {
            emit(k, (struct instruction){.op = edges[i].op});
            return;
        }
    for (size_t i = 0; i < KIND_COUNT; i++) {
        bool opposite = kinds[i].escape && c == (uint32_t)kinds[i].escape - 32;
        if (!kinds[i].escape || (c != (uint32_t)kinds[i].escape && !opposite)) continue;
        struct class *class = arena_zero(k->regex->arena, 1, sizeof *class);
        if (!class) {
            fail(k, ERR_NO_MEMORY, "no memory");
            return;
        }
        class->negated = opposite;
        add_kind(k, class, i);
        emit(k, (struct instruction){.op = OP_CLASS, .class = class});
        return;
    }
    if (c >= '1' && c <= '9') fail(k, ERR_UNSUPPORTED, "back references are not in this version");
    emit(k, (struct instruction){.op = OP_CHAR, .c = escaped(c)});
}

static void take_alternatives(struct compiler *k);

static void take_atom(struct compiler *k)
{
    if (accept(k, '(')) {
        if (accept(k, '?') && !accept(k, ':'))
            fail(k, ERR_UNSUPPORTED, "of (?…) only (?: ) is in this version");
        if (++k->depth > DEPTH_MAX) fail(k, ERR_LIMIT, "too many brackets inside each other");
        take_alternatives(k);
        k->depth--;
        if (!accept(k, ')')) fail(k, ERR_SYNTAX, "\"(\" without \")\"");
    } else if (accept(k, '[')) {
        take_class(k);
    } else if (accept(k, '\\')) {
        take_escape(k);
    } else if (accept(k, '.')) {
        emit(k, (struct instruction){.op = OP_ANY});
    } else if (accept(k, '^')) {
        emit(k, (struct instruction){.op = OP_START});
    } else if (accept(k, '$')) {
        emit(k, (struct instruction){.op = OP_END});
    } else if (next_is(k, '*') || next_is(k, '+') || next_is(k, '?')) {
        fail(k, ERR_SYNTAX, "a repetition with nothing before it");
    } else {
        emit(k, (struct instruction){.op = OP_CHAR, .c = take_char(&k->rest)});
    }
}

/* Once more what stands in the program from `from` to `to`; jumps inside move along. */
static void repeat_code(struct compiler *k, uint32_t from, uint32_t to)
{
    uint32_t moved = k->regex->count - from;
    for (uint32_t i = from; i < to && !k->err; i++) {
        struct instruction instruction = k->regex->program[i];
        instruction.x += moved;
        instruction.y += moved;
        emit(k, instruction);
    }
}

static void wrap_optional(struct compiler *k, uint32_t from, bool loops)
{
    struct regex *r = k->regex;
    emit(k, (struct instruction){.op = OP_JUMP}); /* room for one more in front */
    if (k->err) return;
    for (uint32_t i = r->count - 1; i > from; i--) {
        r->program[i] = r->program[i - 1];
        if (r->program[i].x >= from) r->program[i].x++;
        if (r->program[i].y >= from) r->program[i].y++;
    }
    if (loops) emit(k, (struct instruction){.op = OP_JUMP, .x = from});
    if (!k->err)
        r->program[from] = (struct instruction){.op = OP_SPLIT, .x = from + 1, .y = r->count};
}

static int take_number(struct compiler *k)
{
    int n = -1;
    while (k->rest.size > 0 && k->rest.at[0] >= '0' && k->rest.at[0] <= '9' && n <= REPEAT_MAX) {
        n = (n < 0 ? 0 : n * 10) + (k->rest.at[0] - '0');
        k->rest.at++, k->rest.size--;
    }
    if (n > REPEAT_MAX) fail(k, ERR_LIMIT, "{ } repeats at most 255 times");
    return n;
}

static void take_repetition(struct compiler *k, uint32_t from)
{
    int least = 0, most = -1;
    if (accept(k, '{')) {
        least = take_number(k);
        most = accept(k, ',') ? take_number(k) : least;
        if (least < 0 || (most >= 0 && most < least) || !accept(k, '}'))
            fail(k, ERR_SYNTAX, "{m,n} is wrong");
    } else if (accept(k, '+')) {
        least = 1;
    } else if (accept(k, '?')) {
        most = 1;
    } else if (!accept(k, '*')) {
        return;
    }
    (void)accept(k, '?');
    uint32_t to = k->regex->count;
    if (k->err) return;
    for (int i = 1; i < least; i++) repeat_code(k, from, to);
    uint32_t last = least > 1 ? k->regex->count - (to - from) : from;
    if (most < 0 && least > 0) { /* x+: back to the last one, or on */
        emit(k, (struct instruction){.op = OP_SPLIT, .x = last, .y = k->regex->count + 1});
    } else if (most < 0) {
        wrap_optional(k, from, true);
    } else if (most == 0) {
        k->regex->count = from;
    } else {
        if (least == 0) wrap_optional(k, from, false);
        for (int i = least ? least : 1; i < most && !k->err; i++) {
            uint32_t at = k->regex->count;
            repeat_code(k, least ? from : from + 1, least ? to : to + 1);
            wrap_optional(k, at, false);
        }
    }
    if (next_is(k, '*') || next_is(k, '+')) fail(k, ERR_SYNTAX, "a repetition of a repetition");
}

static void take_sequence(struct compiler *k)
{
    while (k->rest.size > 0 && !next_is(k, '|') && !next_is(k, ')')) {
        uint32_t from = k->regex->count;
        take_atom(k);
        if (!k->err) take_repetition(k, from);
    }
}

/* a|b|c: each but the last is a choice between itself, with a jump to the end, and what follows.
 * Until the end is known these jumps are a chain. */
static void take_alternatives(struct compiler *k)
{
    uint32_t chain = UINT32_MAX;
    for (;;) {
        uint32_t from = k->regex->count;
        take_sequence(k);
        if (!accept(k, '|')) break;
        wrap_optional(k, from, false);
        uint32_t jump = emit(k, (struct instruction){.op = OP_JUMP, .x = chain});
        if (k->err) return;
        k->regex->program[from].y = k->regex->count;
        chain = jump;
    }
    while (!k->err && chain != UINT32_MAX) {
        uint32_t next = k->regex->program[chain].x;
        k->regex->program[chain].x = k->regex->count;
        chain = next;
    }
}

enum err regex_compile(struct str pattern, bool ignore_case, struct arena *arena,
                       struct regex **regex, struct why *why)
{
    struct regex *r = arena_zero(arena, 1, sizeof *r);
    struct compiler k = {.regex = r, .rest = pattern, .why = why};
    if (!r) return why_set(why, ERR_NO_MEMORY, "no memory");
    r->arena = arena;
    r->ignore_case = ignore_case;
    take_alternatives(&k);
    if (!k.err && k.rest.size > 0) fail(&k, ERR_SYNTAX, "\")\" without \"(\"");
    emit(&k, (struct instruction){.op = OP_MATCH});
    if (k.err) return k.err;
    r->now = arena_zero(arena, r->count, sizeof *r->now);
    r->then = arena_zero(arena, r->count, sizeof *r->then);
    r->seen = arena_zero(arena, (size_t)r->count * 3 + 2, sizeof *r->seen);
    if (!r->now || !r->then || !r->seen) return why_set(why, ERR_NO_MEMORY, "no memory");
    *regex = r;
    return ERR_OK;
}

/* ---- matching ---- */

/* Where in the text a place is looked at. */
struct spot {
    bool is_start, is_end;
    bool word_before, word_behind;
};

static bool class_holds(const struct class *class, uint32_t c, bool ignore_case)
{
    bool holds = false;
    uint32_t other = ignore_case ? (c >= 'a' && c <= 'z' ? c - 32 : fold(c)) : c;
    for (size_t i = 0; i < class->count && !holds; i++)
        holds = (c >= class->ranges[i].from && c <= class->ranges[i].to) ||
                (other >= class->ranges[i].from && other <= class->ranges[i].to);
    return holds != class->negated;
}

static bool passes(enum op op, const struct spot *spot)
{
    switch (op) {
    case OP_START: return spot->is_start;
    case OP_END: return spot->is_end;
    case OP_WORD_START: return !spot->word_before && spot->word_behind;
    case OP_WORD_END: return spot->word_before && !spot->word_behind;
    default: return spot->word_before != spot->word_behind;
    }
}

/* Adds the places reached from `at` without reading on; true when one is the end. The stack lies
 * behind the marks of `seen`: a place pushes at most two, the first time it is looked at. */
static bool add_places(struct regex *r, uint32_t at, uint32_t *list, uint32_t *count,
                       const struct spot *spot)
{
    uint32_t *stack = r->seen + r->count, depth = 0;
    stack[depth++] = at;
    while (depth > 0) {
        uint32_t place = stack[--depth];
        const struct instruction *i = &r->program[place];
        if (r->seen[place] == r->step) continue;
        r->seen[place] = r->step;
        switch (i->op) {
        case OP_MATCH: return true;
        case OP_JUMP:
        case OP_SPLIT:
            stack[depth++] = i->x;
            if (i->op == OP_SPLIT) stack[depth++] = i->y;
            break;
        case OP_ANY:
        case OP_CHAR:
        case OP_CLASS: list[(*count)++] = place; break;
        default:
            if (passes(i->op, spot)) stack[depth++] = place + 1;
        }
    }
    return false;
}

bool regex_matches(struct regex *r, struct str text)
{
    uint32_t count = 0;
    struct spot spot = {.is_start = true};
    memset(r->seen, 0, (size_t)r->count * sizeof *r->seen);
    r->step = 0;
    for (;;) {
        struct str behind = text;
        uint32_t c = text.size > 0 ? take_char(&behind) : 0;
        spot.is_end = text.size == 0;
        spot.word_behind = text.size > 0 && is_word(c);
        /* The places kept from the last character were added for this spot; the beginning again,
         * for a match may start anywhere. */
        uint32_t *list = r->now;
        r->step++;
        uint32_t kept = count;
        count = 0;
        for (uint32_t k = 0; k < kept; k++)
            if (add_places(r, r->then[k], list, &count, &spot)) return true;
        if (add_places(r, 0, list, &count, &spot)) return true;
        if (text.size == 0) return false;
        uint32_t next = 0;
        for (uint32_t k = 0; k < count; k++) {
            const struct instruction *i = &r->program[list[k]];
            bool takes =
                i->op == OP_ANY ||
                (i->op == OP_CHAR ? i->c == c || (r->ignore_case && fold(i->c) == fold(c))
                                  : i->op == OP_CLASS && class_holds(i->class, c, r->ignore_case));
            if (takes) r->then[next++] = list[k] + 1;
        }
        count = next;
        text = behind;
        spot.is_start = false;
        spot.word_before = is_word(c);
    }
}
