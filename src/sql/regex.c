/* regex.c - see regex.h: a parser by recursive descent that writes the program, and the machine. */
#include "sql/regex.h"
#include <stdio.h>
#include <string.h>

enum opcode {
    OP_CHAR,  /* x: code point */
    OP_ANY,   /* but a line feed */
    OP_CLASS, /* x: index of a class */
    OP_SPLIT, /* goes to x, and with less priority to y */
    OP_JUMP,  /* to x */
    OP_SAVE,  /* x: slot */
    OP_BEGIN,
    OP_END,
    OP_WORD, /* at a word's bound */
    OP_NOT_WORD,
    OP_WORD_START,
    OP_WORD_STOP,
    OP_MATCH,
};

struct instruction {
    uint8_t op;
    uint32_t x, y;
};

struct range {
    uint32_t from, to;
};
struct class
{
    bool negated;
    uint32_t first, count; /* of ranges */
};

enum { RANGES_MAX = 1024, CLASSES_MAX = 256, NESTING_MAX = 20, REPEAT_MAX = 255 };

struct regex {
    struct instruction *code;
    uint32_t size;
    struct range *ranges;
    struct class *classes;
    uint32_t range_count, class_count;
    size_t groups;
    bool fold;
};

/* ---- characters ---- */

/* The code point at `at` and its length; bytes that are no UTF-8 count as themselves. */
static uint32_t decode(struct str s, size_t at, size_t *size)
{
    const unsigned char *p = (const unsigned char *)s.at + at;
    size_t left = s.size - at, n = p[0] < 0x80    ? 1
                                   : p[0] >= 0xF0 ? 4
                                   : p[0] >= 0xE0 ? 3
                                   : p[0] >= 0xC0 ? 2
                                                  : 1;
    *size = 1;
    if (n == 1 || n > left) return p[0];
    uint32_t c = p[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) return p[0];
        c = c << 6 | (p[i] & 0x3Fu);
    }
    *size = n;
    return c;
}

static uint32_t fold_of(uint32_t c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static bool is_word(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* ---- the parser ---- */

struct parser {
    struct str pattern;
    size_t at;
    struct regex *regex;
    const char *trouble;
    int nesting;
};

static bool fail(struct parser *p, const char *trouble)
{
    if (!p->trouble) p->trouble = trouble;
    return false;
}

static int peek(const struct parser *p)
{
    return p->at < p->pattern.size ? (unsigned char)p->pattern.at[p->at] : -1;
}

static bool take(struct parser *p, char c)
{
    if (peek(p) != (unsigned char)c) return false;
    p->at++;
    return true;
}

static uint32_t emit(struct parser *p, enum opcode op, uint32_t x, uint32_t y)
{
    struct regex *r = p->regex;
    if (r->size == REGEX_PROGRAM_MAX) {
        fail(p, "it is too long; repetitions such as {1,200} are written out");
        return 0;
    }
    r->code[r->size] = (struct instruction){(uint8_t)op, x, y};
    return r->size++;
}

static void add_range(struct parser *p, uint32_t from, uint32_t to)
{
    struct regex *r = p->regex;
    if (r->range_count == RANGES_MAX)
        fail(p, "it has too many character ranges");
    else
        r->ranges[r->range_count++] = (struct range){from, to};
}

static const struct {
    char letter; /* of \d; 0: none */
    const char *name;
    const char *ranges; /* pairs */
} sets[] = {
    {'d', "digit", "09"},   {'w', "word", "azAZ09__"},        {'s', "space", "\t\r  "},
    {0, "alpha", "azAZ"},   {0, "alnum", "azAZ09"},           {0, "upper", "AZ"},
    {0, "lower", "az"},     {0, "punct", "!/:@[`{~"},         {0, "xdigit", "09afAF"},
    {0, "blank", "\t\t  "}, {0, "cntrl", "\x01\x1f\x7f\x7f"}, {0, "print", " ~"},
    {0, "graph", "!~"},
};
enum { SET_COUNT = sizeof sets / sizeof sets[0] };

static void add_set(struct parser *p, size_t set)
{
    for (const char *c = sets[set].ranges; *c; c += 2)
        add_range(p, (unsigned char)c[0], (unsigned char)c[1]);
}

/* What the set does not hold, for \D inside brackets: its ranges are in no order but few. */
static void add_set_negated(struct parser *p, size_t set)
{
    uint32_t from = 0;
    while (from <= 0x10FFFF) { /* the next range above `from` */
        uint32_t start = 0x110000, end = 0x110000;
        for (const char *c = sets[set].ranges; *c; c += 2)
            if ((unsigned char)c[1] >= from && (unsigned char)c[0] < start)
                start = (unsigned char)c[0], end = (unsigned char)c[1];
        if (start > from) add_range(p, from, start - 1);
        from = end + 1;
    }
}

static int find_letter(int c, bool *negated)
{
    *negated = c >= 'A' && c <= 'Z';
    for (size_t i = 0; i < SET_COUNT; i++)
        if (sets[i].letter && sets[i].letter == (*negated ? c + 32 : c)) return (int)i;
    return -1;
}

static uint32_t begin_class(struct parser *p, bool negated)
{
    struct regex *r = p->regex;
    if (r->class_count == CLASSES_MAX) {
        fail(p, "it has too many character classes");
        return 0;
    }
    r->classes[r->class_count] = (struct class){negated, r->range_count, 0};
    return r->class_count++;
}

static void end_class(struct parser *p, uint32_t class)
{
    p->regex->classes[class].count = p->regex->range_count - p->regex->classes[class].first;
    emit(p, OP_CLASS, class, 0);
}

/* The character behind a backslash that stands for itself or a control. */
static uint32_t escaped(struct parser *p)
{
    static const char from[] = "nrtfv", to[] = "\n\r\t\f\v";
    size_t size = 1;
    if (p->at >= p->pattern.size) return fail(p, "a backslash stands at its end"), 0;
    uint32_t c = decode(p->pattern, p->at, &size);
    p->at += size;
    const char *known = c < 128 && c ? strchr(from, (int)c) : NULL;
    if (known) return (unsigned char)to[known - from];
    if (c < 128 && is_word(c)) fail(p, "a backslash stands before a letter that means nothing");
    return c;
}

static bool parse_named_set(struct parser *p)
{
    for (size_t i = 0; i < SET_COUNT; i++) {
        size_t size = strlen(sets[i].name);
        struct str rest = {p->pattern.at + p->at + 2, p->pattern.size - p->at - 2};
        if (rest.size < size + 2 || memcmp(rest.at, sets[i].name, size) != 0 ||
            memcmp(rest.at + size, ":]", 2) != 0)
            continue;
        p->at += size + 4;
        add_set(p, i);
        return true;
    }
    return fail(
        p,
        "[:name:] has an unknown name; there are digit, alpha, alnum, space, upper, lower, punct…");
}

static uint32_t class_char(struct parser *p)
{
    size_t size;
    if (take(p, '\\')) return escaped(p);
    uint32_t c = decode(p->pattern, p->at, &size);
    p->at += size;
    return c;
}

/* Behind "[". */
static bool parse_class(struct parser *p)
{
    uint32_t class = begin_class(p, take(p, '^'));
    for (bool first = true; !p->trouble && (first || peek(p) != ']'); first = false) {
        bool negated;
        if (peek(p) < 0) return fail(p, "\"[\" has no \"]\"");
        if (peek(p) == '[' && p->at + 1 < p->pattern.size && p->pattern.at[p->at + 1] == ':') {
            parse_named_set(p);
            continue;
        }
        int set = peek(p) == '\\' && p->at + 1 < p->pattern.size
                      ? find_letter((unsigned char)p->pattern.at[p->at + 1], &negated)
                      : -1;
        if (set >= 0) {
            p->at += 2;
            if (negated)
                add_set_negated(p, (size_t)set);
            else
                add_set(p, (size_t)set);
            continue;
        }
        uint32_t from = class_char(p), to = from;
        bool range =
            peek(p) == '-' && p->at + 1 < p->pattern.size && p->pattern.at[p->at + 1] != ']';
        if (range) p->at++, to = class_char(p);
        if (to < from) return fail(p, "a range goes backwards");
        add_range(p, from, to);
    }
    if (p->trouble) return false;
    p->at++;
    end_class(p, class);
    return true;
}

static bool parse_escape(struct parser *p)
{
    bool negated;
    int set = peek(p) == 'M' ? -1 : find_letter(peek(p), &negated);
    if (set >= 0) {
        p->at++;
        uint32_t class = begin_class(p, negated);
        add_set(p, (size_t)set);
        end_class(p, class);
    } else if (take(p, 'b') || take(p, 'y')) {
        emit(p, OP_WORD, 0, 0);
    } else if (take(p, 'B') || take(p, 'Y')) {
        emit(p, OP_NOT_WORD, 0, 0);
    } else if (take(p, 'm')) {
        emit(p, OP_WORD_START, 0, 0);
    } else if (take(p, 'M')) {
        emit(p, OP_WORD_STOP, 0, 0);
    } else {
        emit(p, OP_CHAR, escaped(p), 0);
    }
    return !p->trouble;
}

static bool parse_alternatives(struct parser *p);

static bool parse_group(struct parser *p)
{
    bool captures = true;
    if (p->at + 1 < p->pattern.size && memcmp(p->pattern.at + p->at, "?:", 2) == 0)
        p->at += 2, captures = false;
    if (peek(p) == '?') return fail(p, "\"(?\" is only known as \"(?:\"");
    captures = captures && p->regex->groups + 1 < REGEX_GROUPS_MAX; /* the tenth only brackets */
    uint32_t group = captures ? (uint32_t)++p->regex->groups : 0;
    if (captures) emit(p, OP_SAVE, group * 2, 0);
    if (!parse_alternatives(p)) return false;
    if (!take(p, ')')) return fail(p, "\"(\" has no \")\"");
    if (captures) emit(p, OP_SAVE, group * 2 + 1, 0);
    return true;
}

static bool parse_atom(struct parser *p)
{
    size_t size;
    if (take(p, '(')) return parse_group(p);
    if (take(p, '[')) return parse_class(p);
    if (take(p, '\\')) return parse_escape(p);
    if (take(p, '.')) return emit(p, OP_ANY, 0, 0), !p->trouble;
    if (take(p, '^')) return emit(p, OP_BEGIN, 0, 0), !p->trouble;
    if (take(p, '$')) return emit(p, OP_END, 0, 0), !p->trouble;
    if (peek(p) == '*' || peek(p) == '+' || peek(p) == '?' || peek(p) == '{')
        return fail(p, "*, +, ? and { need something before them to repeat");
    uint32_t c = decode(p->pattern, p->at, &size);
    p->at += size;
    emit(p, OP_CHAR, p->regex->fold ? fold_of(c) : c, 0);
    return !p->trouble;
}

static int parse_count(struct parser *p)
{
    int n = 0, digits = 0;
    for (; peek(p) >= '0' && peek(p) <= '9' && digits < 4; digits++)
        n = n * 10 + (p->pattern.at[p->at++] - '0');
    return digits ? n : -1;
}

static bool parse_braces(struct parser *p, int *least, int *most)
{
    *least = parse_count(p);
    *most = *least;
    if (take(p, ',')) *most = peek(p) == '}' ? -1 : parse_count(p);
    if (*least < 0 || !take(p, '}') || *least > REPEAT_MAX || *most > REPEAT_MAX ||
        (*most >= 0 && *most < *least))
        return fail(p, "{m,n} wants numbers up to 255, the smaller one first");
    return true;
}

/* Appends a copy of the piece [from, to), whose jumps stay inside it. */
static void copy_piece(struct parser *p, const struct instruction *piece, uint32_t from,
                       uint32_t size)
{
    uint32_t shift = p->regex->size - from;
    for (uint32_t i = 0; i < size && !p->trouble; i++) {
        struct instruction in = piece[i];
        if (in.op == OP_SPLIT || in.op == OP_JUMP) in.x += shift;
        if (in.op == OP_SPLIT) in.y += shift;
        emit(p, (enum opcode)in.op, in.x, in.y);
    }
}

static void set_split(struct parser *p, uint32_t at, uint32_t inside, uint32_t outside,
                      bool shortest)
{
    if (p->trouble) return;
    p->regex->code[at].x = shortest ? outside : inside;
    p->regex->code[at].y = shortest ? inside : outside;
}

/* The piece from `start` on, least … most times; most < 0: any number. */
static bool repeat(struct parser *p, uint32_t start, int least, int most, bool shortest)
{
    struct regex *r = p->regex;
    static const uint32_t none = 0;
    uint32_t size = r->size - start, splits[REPEAT_MAX + 1], split_count = none;
    struct instruction piece[REGEX_PROGRAM_MAX];
    memcpy(piece, r->code + start, size * sizeof *piece);
    r->size = start;
    for (int i = 0; i < least && !p->trouble; i++) copy_piece(p, piece, start, size);
    if (most < 0 && !p->trouble) { /* L: split(in, out) piece jump L */
        uint32_t loop = emit(p, OP_SPLIT, 0, 0);
        copy_piece(p, piece, start, size);
        emit(p, OP_JUMP, loop, 0);
        set_split(p, loop, loop + 1, r->size, shortest);
    }
    for (int i = least; i < most && !p->trouble; i++) {
        splits[split_count++] = emit(p, OP_SPLIT, 0, 0);
        copy_piece(p, piece, start, size);
    }
    for (uint32_t i = 0; i < split_count; i++)
        set_split(p, splits[i], splits[i] + 1, r->size, shortest);
    return !p->trouble;
}

static bool parse_piece(struct parser *p)
{
    uint32_t start = p->regex->size;
    if (!parse_atom(p)) return false;
    for (int depth = 0;; depth++) {
        int least = 0, most = -1;
        if (take(p, '*')) {
        } else if (take(p, '+')) {
            least = 1;
        } else if (take(p, '?')) {
            most = 1;
        } else if (take(p, '{')) {
            if (!parse_braces(p, &least, &most)) return false;
        } else {
            return true;
        }
        if (depth > 0) return fail(p, "two repetitions follow each other");
        if (!repeat(p, start, least, most, take(p, '?'))) return false;
    }
}

static bool parse_sequence(struct parser *p)
{
    while (peek(p) >= 0 && peek(p) != '|' && peek(p) != ')')
        if (!parse_piece(p)) return false;
    return true;
}

/* a|b|c: split(a, L2) a jump end; L2: split(b, L3) b jump end; L3: c */
static bool parse_alternatives(struct parser *p)
{
    uint32_t jumps[REGEX_PROGRAM_MAX], jump_count = 0;
    if (++p->nesting > NESTING_MAX) return fail(p, "its groups are nested too deeply");
    for (;;) {
        struct regex *r = p->regex;
        uint32_t start = r->size;
        if (!parse_sequence(p)) return false;
        if (!take(p, '|')) break;
        uint32_t size = r->size - start;
        struct instruction piece[REGEX_PROGRAM_MAX];
        memcpy(piece, r->code + start, size * sizeof *piece);
        r->size = start;
        uint32_t split = emit(p, OP_SPLIT, 0, 0);
        copy_piece(p, piece, start, size);
        if (p->trouble) return false;
        jumps[jump_count++] = emit(p, OP_JUMP, 0, 0);
        set_split(p, split, split + 1, r->size, false);
    }
    for (uint32_t i = 0; i < jump_count && !p->trouble; i++)
        p->regex->code[jumps[i]].x = p->regex->size;
    p->nesting--;
    return !p->trouble;
}

enum err regex_compile(struct str pattern, struct str flags, struct arena *arena,
                       struct regex **out, struct why *why)
{
    struct regex *r = arena_zero(arena, 1, sizeof *r);
    *out = r;
    if (!r) return ERR_NO_MEMORY;
    r->code = arena_zero(arena, REGEX_PROGRAM_MAX, sizeof *r->code);
    r->ranges = arena_zero(arena, RANGES_MAX, sizeof *r->ranges);
    r->classes = arena_zero(arena, CLASSES_MAX, sizeof *r->classes);
    if (!r->code || !r->ranges || !r->classes) return ERR_NO_MEMORY;
    for (size_t i = 0; i < flags.size; i++) {
        if (flags.at[i] != 'i' && flags.at[i] != 'g')
            return why_set(
                why, ERR_INVALID,
                "the flags of a regular expression are i (any case) and g (all matches)");
        r->fold |= flags.at[i] == 'i';
    }
    if (pattern.size > REGEX_PATTERN_BYTES_MAX)
        return why_set(why, ERR_LIMIT, "a regular expression may have %d bytes",
                       REGEX_PATTERN_BYTES_MAX);
    struct parser p = {.pattern = pattern, .regex = r};
    emit(&p, OP_SAVE, 0, 0);
    if (parse_alternatives(&p) && p.at < pattern.size) fail(&p, "\")\" has no \"(\"");
    emit(&p, OP_SAVE, 1, 0);
    emit(&p, OP_MATCH, 0, 0);
    if (p.trouble)
        return why_set(why, ERR_SYNTAX,
                       "the regular expression '%.*s' is not valid at byte %zu: %s",
                       pattern.size > 80 ? 80 : (int)pattern.size, pattern.at, p.at, p.trouble);
    return ERR_OK;
}

size_t regex_group_count(const struct regex *regex)
{
    return regex->groups;
}

/* ---- the machine ---- */

enum { SLOTS = REGEX_GROUPS_MAX * 2, WATCH_STEPS = 1 << 16 };
#define UNSET SIZE_MAX

struct thread {
    uint32_t pc;
    size_t slots[SLOTS];
};
struct threads {
    struct thread *at;
    uint32_t count;
};

struct machine {
    const struct regex *regex;
    struct str text;
    struct threads now, next;
    size_t *seen;    /* [size]: the position + 1 at which the instruction was added */
    uint32_t *stack; /* [2 × size]: addresses, and slots to restore */
    size_t *restore;
    uint32_t slots_used;
    uint64_t steps; /* since the watch was told */
};

static bool holds(const struct regex *r, const struct class *class, uint32_t c)
{
    bool in = false;
    for (uint32_t i = 0; i < class->count && !in; i++) {
        const struct range *range = &r->ranges[class->first + i];
        in = c >= range->from && c <= range->to;
        if (!in && r->fold && c < 128 && is_word(c)) {
            uint32_t other = c >= 'a' && c <= 'z' ? c - 32 : fold_of(c);
            in = other >= range->from && other <= range->to;
        }
    }
    return in != class->negated;
}

static bool at_word(struct str text, size_t at)
{
    bool before = at > 0 && is_word((unsigned char)text.at[at - 1]);
    bool behind = at < text.size && is_word((unsigned char)text.at[at]);
    return before != behind;
}

static bool condition_holds(const struct machine *m, enum opcode op, size_t at)
{
    switch (op) {
    case OP_BEGIN: return at == 0;
    case OP_END: return at == m->text.size;
    case OP_WORD: return at_word(m->text, at);
    case OP_WORD_START:
        return at_word(m->text, at) && at < m->text.size && is_word((unsigned char)m->text.at[at]);
    case OP_WORD_STOP:
        return at_word(m->text, at) && at > 0 && is_word((unsigned char)m->text.at[at - 1]);
    default: return !at_word(m->text, at);
    }
}

/* Follows jumps from `pc` with a stack of its own; entries above the program's size restore a slot
 * that was set on the way. Order on the list is priority. */
static void add_thread(struct machine *m, struct threads *list, uint32_t pc, size_t at,
                       size_t *slots)
{
    uint32_t top = 0, size = m->regex->size, steps = 0;
    m->stack[top++] = pc;
    for (; top > 0; steps++) {
        uint32_t entry = m->stack[--top];
        if (entry >= size) {
            slots[entry - size] = m->restore[top];
            continue;
        }
        if (m->seen[entry] == at + 1) continue;
        m->seen[entry] = at + 1;
        const struct instruction *in = &m->regex->code[entry];
        switch ((enum opcode)in->op) {
        case OP_JUMP: m->stack[top++] = in->x; break;
        case OP_SPLIT:
            m->stack[top++] = in->y;
            m->stack[top++] = in->x;
            break;
        case OP_SAVE:
            m->restore[top] = slots[in->x];
            m->stack[top++] = size + in->x;
            slots[in->x] = at;
            m->stack[top++] = entry + 1;
            break;
        case OP_BEGIN:
        case OP_END:
        case OP_WORD:
        case OP_NOT_WORD:
        case OP_WORD_START:
        case OP_WORD_STOP:
            if (condition_holds(m, (enum opcode)in->op, at)) m->stack[top++] = entry + 1;
            break;
        default: {
            struct thread *t = &list->at[list->count++];
            t->pc = entry;
            memcpy(t->slots, slots, m->slots_used * sizeof *slots);
        }
        }
    }
    m->steps += steps;
}

static bool takes(const struct machine *m, const struct instruction *in, uint32_t c)
{
    switch ((enum opcode)in->op) {
    case OP_CHAR: return in->x == (m->regex->fold ? fold_of(c) : c);
    case OP_ANY: return c != '\n';
    case OP_CLASS: return holds(m->regex, &m->regex->classes[in->x], c);
    default: return false;
    }
}

static enum err tell(struct machine *m, const struct regex_watch *watch)
{
    uint64_t steps = m->steps;
    m->steps = 0;
    return watch ? watch->spend(watch->arg, steps) : ERR_OK;
}

static enum err run(struct machine *m, size_t from, const struct regex_watch *watch, bool *is_found,
                    size_t *match)
{
    size_t slots[SLOTS];
    bool found = false;
    for (size_t at = from;;) {
        size_t size = 1;
        enum err err = m->steps < WATCH_STEPS ? ERR_OK : tell(m, watch);
        if (err) return err;
        *is_found = found;
        if (!found) { /* a match may begin here, with less priority than those under way */
            for (size_t i = 0; i < SLOTS; i++) slots[i] = UNSET;
            add_thread(m, &m->now, 0, at, slots);
        }
        if (m->now.count == 0) return ERR_OK;
        bool end = at >= m->text.size;
        uint32_t c = end ? 0 : decode(m->text, at, &size);
        m->next.count = 0;
        m->steps += m->now.count;
        for (uint32_t i = 0; i < m->now.count; i++) {
            struct thread *t = &m->now.at[i];
            const struct instruction *in = &m->regex->code[t->pc];
            if (in->op == OP_MATCH) { /* those behind have less priority */
                memcpy(match, t->slots, m->slots_used * sizeof *match);
                found = *is_found = true;
                break;
            }
            if (!end && takes(m, in, c)) add_thread(m, &m->next, t->pc + 1, at + size, t->slots);
        }
        struct threads done = m->now;
        m->now = m->next;
        m->next = done;
        if (end) return ERR_OK;
        at += size;
    }
}

enum err regex_match(const struct regex *regex, struct str text, size_t from, struct arena *scratch,
                     const struct regex_watch *watch, bool *found,
                     struct str groups[REGEX_GROUPS_MAX])
{
    struct machine m = {
        .regex = regex, .text = text, .slots_used = (uint32_t)(regex->groups + 1) * 2};
    size_t match[SLOTS];
    m.now.at = arena_alloc(scratch, regex->size * sizeof *m.now.at);
    m.next.at = arena_alloc(scratch, regex->size * sizeof *m.next.at);
    m.seen = arena_zero(scratch, regex->size, sizeof *m.seen);
    m.stack = arena_alloc(scratch, (regex->size * 2 + 2) * sizeof *m.stack);
    m.restore = arena_alloc(scratch, (regex->size * 2 + 2) * sizeof *m.restore);
    if (!m.now.at || !m.next.at || !m.seen || !m.stack || !m.restore) return ERR_NO_MEMORY;
    enum err err = run(&m, from, watch, found, match);
    if (!err) err = tell(&m, watch);
    if (err) return err;
    for (size_t i = 0; *found && i <= regex->groups; i++) {
        bool set = match[2 * i] != UNSET && match[2 * i + 1] != UNSET;
        groups[i] = set ? (struct str){text.at + match[2 * i], match[2 * i + 1] - match[2 * i]}
                        : (struct str){NULL, 0};
    }
    return ERR_OK;
}
