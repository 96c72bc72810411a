/* text.h - a checked cursor over text from the kernel, for a driver that has nothing but a C
 * library.
 *
 * Everything the host driver reads goes through these few functions; none of them leaves [at, end).
 */
#ifndef HOST_TEXT_H
#define HOST_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    const char *at, *end;
};

static inline struct text text_of(const char *at, size_t size)
{
    return (struct text){at, at + size};
}

static inline size_t text_size(struct text t)
{
    return (size_t)(t.end - t.at);
}

static inline bool text_is(struct text t, const char *word)
{
    return text_size(t) == strlen(word) && memcmp(t.at, word, text_size(t)) == 0;
}

static inline bool text_starts(struct text t, const char *prefix)
{
    return text_size(t) >= strlen(prefix) && memcmp(t.at, prefix, strlen(prefix)) == 0;
}

/* Takes what stands before the next `mark`, and the mark. False when nothing is left; without a
 * mark the rest is the piece. */
static inline bool text_until(struct text *t, char mark, struct text *piece)
{
    *piece = (struct text){t->at, t->at};
    if (t->at == t->end) return false;
    const char *found = memchr(t->at, mark, text_size(*t));
    *piece = (struct text){t->at, found ? found : t->end};
    t->at = found ? found + 1 : t->end;
    return true;
}

/* Takes the next word; words are parted by blanks. */
static inline bool text_word(struct text *t, struct text *word)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\n')) t->at++;
    word->at = t->at;
    while (t->at < t->end && *t->at != ' ' && *t->at != '\t' && *t->at != '\n') t->at++;
    word->end = t->at;
    return word->at < word->end;
}

/* The whole of `t` as a number. */
static inline bool text_number(struct text t, uint64_t *value)
{
    uint64_t v = 0;
    if (t.at == t.end || text_size(t) > 20) return false;
    for (; t.at < t.end; t.at++) {
        unsigned digit = (unsigned)(*t.at - '0');
        if (digit > 9 || v > (UINT64_MAX - digit) / 10) return false;
        v = v * 10 + digit;
    }
    *value = v;
    return true;
}

/* Takes the next word as a number; anything else is 0 and false. */
static inline bool text_word_number(struct text *t, uint64_t *value)
{
    struct text word;
    *value = 0;
    return text_word(t, &word) && text_number(word, value);
}

/* Takes the next word as a decimal, "-12.345". */
static inline bool text_word_decimal(struct text *t, double *value)
{
    struct text word, whole;
    uint64_t before = 0, after = 0;
    if (!text_word(t, &word)) return false;
    bool negative = *word.at == '-';
    if (negative) word.at++;
    if (!text_until(&word, '.', &whole) || !text_number(whole, &before)) return false;
    double scale = 1;
    for (size_t i = 0; i < text_size(word); i++) scale *= 10;
    if (text_size(word) && (text_size(word) > 15 || !text_number(word, &after))) return false;
    *value = ((double)before * scale + (double)after) / scale; /* one rounding: 1.89 stays 1.89 */
    if (negative) *value = -*value;
    return true;
}

#endif
