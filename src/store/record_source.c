/* record_source.c - the bytes of a file of records, through a window that moves forward; see
 * record.h.
 *
 * Why a window: a start reads every segment of the log, and what it holds of one at a time is on
 * top of all that the node has already. A disk that fails is asked again, then piece by piece: what
 * it does not give is zeros, counted, and the records' checksums tell which of them that concerns.
 *
 * Invariants: begin + filled ≤ size; a byte is read once, so each one that is lost counts once; the
 * window begins at a multiple of 8 as far as its callers ask for such offsets, so records stay
 * aligned. Blocking. */
#include "base/mem.h"
#include "store/record.h"
#include <string.h>

/* One bad sector must not cost a whole file, nor one failure of a disk that works again. */
enum { READ_TRIES = 3, PIECE_BYTES = 4096, WINDOW_BYTES = 1024 * 1024 };

struct record_source record_source_of(const void *bytes, size_t size)
{
    return (struct record_source){.size = size, .bytes = bytes, .filled = size};
}

static enum err open_and_measure(struct record_source *s, struct os *os, const char *path,
                                 struct why *why)
{
    enum err err = os->ops->file_open(os, path, 0, &s->file, why);
    if (err) return err;
    err = os->ops->file_size(s->file, &s->size, why);
    if (err) os->ops->file_close(s->file);
    if (err) s->file = NULL;
    return err;
}

enum err record_source_open(struct record_source *s, struct os *os, const char *path,
                            struct why *why)
{
    enum err err = ERR_IO;
    *s = (struct record_source){.os = os};
    for (unsigned tries = 0; tries < READ_TRIES && err == ERR_IO; tries++)
        err = open_and_measure(s, os, path, why);
    return err;
}

void record_source_close(struct record_source *s)
{
    if (s->file) s->os->ops->file_close(s->file);
    mem_free(s->window);
    *s = (struct record_source){0};
}

static bool read_piece(struct record_source *s, uint64_t offset, uint8_t *bytes, size_t size)
{
    enum err err = ERR_IO;
    size_t got = 0;
    for (unsigned tries = 0; tries < READ_TRIES && err == ERR_IO; tries++)
        err = s->os->ops->file_read(s->file, offset, bytes, size, &got, NULL);
    memset(bytes + got, 0, size - got);
    return err == ERR_OK;
}

/* Bytes from `offset` on; fewer: the file has become shorter. */
static size_t read_bytes(struct record_source *s, uint64_t offset, uint8_t *bytes, size_t size)
{
    size_t got = 0;
    enum err err = s->os->ops->file_read(s->file, offset, bytes, size, &got, NULL);
    if (!err) return got;
    for (size_t at = 0, n; at < size; at += n) {
        n = size - at < PIECE_BYTES ? size - at : PIECE_BYTES;
        if (!read_piece(s, offset + at, bytes + at, n)) s->lost_bytes += n;
    }
    return size;
}

/* Makes the window begin at `offset`, with room for `wanted` bytes; what it holds of them stays. A
 * window that one large record needed is given back. */
static bool move_window(struct record_source *s, uint64_t offset, size_t wanted)
{
    size_t gone = offset - s->begin < s->filled ? (size_t)(offset - s->begin) : s->filled;
    uint8_t *from = s->window;
    if (s->capacity < wanted || s->capacity / 2 > wanted) {
        uint8_t *made = mem_alloc(wanted);
        if (!made) return false;
        s->window = made;
        s->capacity = wanted;
    }
    s->filled -= gone;
    if (s->filled) memmove(s->window, from + gone, s->filled);
    s->begin = offset;
    s->bytes = s->window;
    if (from != s->window) mem_free(from);
    return true;
}

const uint8_t *record_source_at(struct record_source *s, uint64_t offset, size_t size)
{
    MUST(offset >= s->begin);
    if (offset > s->size || size > s->size - offset) return NULL;
    uint64_t skipped = offset - s->begin;
    if (skipped <= s->filled && size <= s->filled - skipped) return s->bytes + skipped;
    MUST(s->file); /* else all bytes are there */
    size_t wanted = s->size - offset < WINDOW_BYTES ? (size_t)(s->size - offset) : WINDOW_BYTES;
    if (wanted < size) wanted = size;
    if (!move_window(s, offset, wanted)) {
        s->has_no_memory = true;
        return NULL;
    }
    s->filled += read_bytes(s, offset + s->filled, s->window + s->filled, wanted - s->filled);
    if (s->filled < wanted) s->size = offset + s->filled;
    return size <= s->filled ? s->bytes : NULL;
}

enum err record_read_whole(struct os *os, const char *path, uint8_t **bytes, size_t *size,
                           size_t *lost_bytes, struct why *why)
{
    struct record_source s;
    *bytes = NULL;
    *size = *lost_bytes = 0;
    enum err err = record_source_open(&s, os, path, why);
    if (err) return err;
    const uint8_t *all = record_source_at(&s, 0, (size_t)s.size);
    if (!s.has_no_memory) *bytes = mem_dup(all, all ? (size_t)s.size : 0);
    if (*bytes) *size = (size_t)s.size;
    *lost_bytes = s.lost_bytes;
    record_source_close(&s);
    return *bytes ? ERR_OK : ERR_NO_MEMORY;
}
