/* str.h - text slices and growable byte buffers.
 *
 * `struct str` is a borrowed run of bytes, not terminated. `struct buf` is an owned, growing one
 * with a sticky failure flag: appends need no check one by one, the writer asks once at the end
 * (buf_failed). Thread: a buf belongs to one thread. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include "base/err.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
    const char *at; /* borrowed; NULL only with size 0 */
    size_t size;    /* bytes */
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
struct str str_of(const char *text);        /* NULL gives the empty slice */
bool str_equal(struct str a, struct str b); /* byte by byte; the time tells how much is equal */
bool str_is(struct str a, const char *text);
bool str_is_nocase(struct str a, const char *text); /* ASCII only */
int str_compare(struct str a, struct str b);        /* bytes; <0, 0, >0 */
bool str_starts(struct str a, const char *prefix);
struct str str_trim(struct str a); /* ASCII white space at both ends */
/* Takes the piece before the next separator off the front of `*rest`; the last piece leaves
 * rest->at NULL. An empty text with at != NULL is one empty piece. False, and `*piece` as it was,
 * when none is left. */
bool str_split(struct str *rest, char separator, struct str *piece);
/* Copies as much as fits and terminates. Returns false when cut; to_bytes > 0. */
bool str_copy(char *to, size_t to_bytes, struct str from);

/* Well-formed UTF-8 (RFC 3629) without surrogates and overlong forms. */
bool str_is_utf8(struct str a);

/* Edits (insert, delete, replace, swap of neighbours) between two short names, case folded; more
 * than 64 bytes: 255. For "did you mean". */
unsigned str_distance(struct str a, struct str b);
/* The index of the nearest of `count` names within a third of the length, or -1. */
int str_nearest(struct str wanted, const char *const *names, size_t count);

struct buf {
    char *at; /* owned; not terminated unless buf_cstr was called */
    size_t size, capacity;
    size_t limit; /* 0 = none; growing beyond it fails */
    bool failed;
};

/* An empty one without a limit; nothing is allocated before the first byte. */
#define BUF_EMPTY ((struct buf){0})
void buf_free(struct buf *buf);  /* keeps the limit */
void buf_clear(struct buf *buf); /* keeps the memory; clears the failure */
/* Room for `more` bytes behind `size`, so that they can be written there. False: no memory or
 * beyond the limit, and the buffer has failed; what it holds stays. */
bool buf_reserve(struct buf *buf, size_t more);
/* Appends; `bytes` must not lie in the buffer itself. Without room nothing is added, and the buffer
 * has failed. So do all that follow. */
void buf_add(struct buf *buf, const void *bytes, size_t size);
void buf_add_str(struct buf *buf, struct str text);
void buf_add_text(struct buf *buf, const char *text);
void buf_add_char(struct buf *buf, char c);
/* Reserves one byte more than it adds: at the very limit it fails. */
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_add_u64(struct buf *buf, uint64_t value); /* decimal */
void buf_add_i64(struct buf *buf, int64_t value);
void buf_add_le16(struct buf *buf, uint16_t value); /* binary, little-endian */
void buf_add_le32(struct buf *buf, uint32_t value);
void buf_add_le64(struct buf *buf, uint64_t value);
void buf_add_varint(struct buf *buf, uint64_t value); /* LEB128, ≤ 10 bytes */
/* A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. */
void buf_add_json(struct buf *buf, struct str text);
void buf_drop_front(struct buf *buf, size_t size); /* size ≤ buf->size */
/* Terminates and gives the text; NULL when the buffer failed. Borrowed. */
const char *buf_cstr(struct buf *buf);
/* What it holds, borrowed until the next change; also of one that has failed. */
struct str buf_str(const struct buf *buf);
static inline bool buf_failed(const struct buf *buf)
{
    return buf->failed;
}

#endif
