/* wal_check.c - see wal_check.h. The format is that of https://www.sqlite.org/fileformat2.html,
 * section 4: a header of 32 bytes, then frames of 24 bytes and a page; all numbers big-endian, but
 * for the words that a checksum takes, whose order the magic number says; each frame's checksum
 * goes on from the one before. */
#include "resource/wal_check.h"
#include "base/mem.h"
#include "base/reader.h"
#include <stdio.h>
#include <string.h>

enum { HEADER_BYTES = 32, SUMMED_HEADER_BYTES = 24, FRAME_BYTES = 24, SUMMED_FRAME_BYTES = 8 };
enum { PAGE_BYTES_MIN = 512, PAGE_BYTES_MAX = 65536 };
#define MAGIC_LITTLE 0x377f0682u /* a checksum's words are little-endian; + 1: big-endian */

struct wal {
    struct os *os;
    struct os_file *file;
    uint64_t size;
    uint32_t page_bytes, salt[2], sum[2];
    uint32_t made[2]; /* what the last frame's sum should have been */
    bool big_endian;
    uint8_t *frame;
};

static uint32_t be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t word(const struct wal *w, const uint8_t *at)
{
    struct reader in = reader_of(at, 4);
    return w->big_endian ? be32(at) : reader_le32(&in);
}

/* Goes on over `size` bytes, a multiple of 8. */
static void add_sum(struct wal *w, const uint8_t *bytes, size_t size)
{
    MUST(size % 8 == 0);
    for (size_t i = 0; i < size; i += 8) {
        w->sum[0] += word(w, bytes + i) + w->sum[1];
        w->sum[1] += word(w, bytes + i + 4) + w->sum[0];
    }
}

/* Takes what the header says; whether it is as it was written. */
static bool take_header(struct wal *w, const uint8_t h[HEADER_BYTES])
{
    w->sum[0] = w->sum[1] = 0;
    w->big_endian = be32(h) == MAGIC_LITTLE + 1;
    w->page_bytes = be32(h + 8);
    w->salt[0] = be32(h + 16), w->salt[1] = be32(h + 20);
    add_sum(w, h, SUMMED_HEADER_BYTES);
    return (w->big_endian || be32(h) == MAGIC_LITTLE) && w->page_bytes >= PAGE_BYTES_MIN &&
           w->page_bytes <= PAGE_BYTES_MAX && (w->page_bytes & (w->page_bytes - 1)) == 0 &&
           w->sum[0] == be32(h + 24) && w->sum[1] == be32(h + 28);
}

/* One frame against what the one before it holds: the sum of that goes on here. `*commits`: it ends
 * a transaction. */
static bool chains(struct wal *w, bool *commits)
{
    const uint8_t *f = w->frame;
    bool ours = be32(f + 8) == w->salt[0] && be32(f + 12) == w->salt[1];
    add_sum(w, f, SUMMED_FRAME_BYTES);
    add_sum(w, f + FRAME_BYTES, w->page_bytes);
    bool same = w->sum[0] == be32(f + 16) && w->sum[1] == be32(f + 20);
    w->made[0] = w->sum[0], w->made[1] = w->sum[1];
    w->sum[0] = be32(f + 16), w->sum[1] = be32(f + 20);
    *commits = be32(f + 4) != 0; /* also where its salt was hit: who goes on from its sum knew it */
    return ours && same;
}

/* Whether the log's first frame goes on from the header just taken. */
static enum err look_at_first(struct wal *w, bool *follows, struct why *why)
{
    size_t size = FRAME_BYTES + w->page_bytes, got = 0;
    bool commits;
    *follows = false;
    if (w->size < HEADER_BYTES + size) return ERR_OK;
    if (!(w->frame = mem_alloc(size))) return ERR_NO_MEMORY;
    enum err err = w->os->ops->file_read(w->file, HEADER_BYTES, w->frame, size, &got, why);
    if (!err) *follows = chains(w, &commits);
    mem_free(w->frame);
    w->frame = NULL;
    return err;
}

/* One flipped bit of the header would cost the whole log. It is put right, which is right even
 * where a crash left half of a new header: then the frames behind it are all in the database
 * already. The sums do not tell a bit of the salt from one of their own; the first frame does. */
static enum err mend_header(struct wal *w, uint8_t h[HEADER_BYTES], bool *good, struct why *why)
{
    enum err err = ERR_OK;
    for (unsigned bit = 0; bit < HEADER_BYTES * 8 && !*good && !err; bit++) {
        h[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (take_header(w, h)) err = look_at_first(w, good, why);
        if (!*good) h[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    if (err || !*good) return err;
    (void)take_header(w, h); /* the sums are those of the header again */
    err = w->os->ops->file_write(w->file, 0, h, HEADER_BYTES, why);
    return err ? err : w->os->ops->file_sync(w->file, why);
}

static enum err read_header(struct wal *w, bool *good, bool *mended, struct why *why)
{
    uint8_t h[HEADER_BYTES] = {0};
    size_t got = 0;
    enum err err = w->os->ops->file_read(w->file, 0, h, sizeof h, &got, why);
    if (err) return err;
    *good = take_header(w, h);
    if (*good) return ERR_OK;
    err = mend_header(w, h, good, why);
    *mended = !err && *good;
    return err;
}

/* Walks over all whole frames. `*bad_at`: where the first frame stands that is not as written;
 * `*follow`: whether a transaction that was synced ends there or later. */
static enum err walk(struct wal *w, uint64_t *bad_at, bool *follow, struct why *why)
{
    size_t size = FRAME_BYTES + w->page_bytes, got = 0;
    bool ended = false, commits;
    if (!(w->frame = mem_alloc(size))) return ERR_NO_MEMORY;
    *bad_at = 0;
    *follow = false;
    for (uint64_t at = HEADER_BYTES; at + size <= w->size && !*follow; at += size) {
        enum err err = w->os->ops->file_read(w->file, at, w->frame, size, &got, why);
        if (err) return err;
        uint32_t made[2] = {w->made[0], w->made[1]};
        bool good = chains(w, &commits);
        if (!good && *bad_at) { /* the sum itself may be what was hit */
            w->sum[0] = made[0], w->sum[1] = made[1];
            good = chains(w, &commits);
        }
        *follow = *bad_at && good && ended;
        if (!good && !*bad_at) *bad_at = at;
        ended = commits;
    }
    return ERR_OK;
}

static enum err damaged(const char *path, uint64_t at, struct why *why)
{
    return why_set(
        why, ERR_CORRUPT,
        "%s is damaged at byte %llu: documents, users and tokens changed after that would "
        "be as they were before; restore it from a backup, or move it and %.*s away to "
        "start without API documents",
        path, (unsigned long long)at, (int)(strlen(path) - 4), path);
}

enum err wal_check(struct os *os, const char *path, bool *mended, struct why *why)
{
    char name[4100];
    struct wal w = {.os = os};
    bool good = false, follow = false;
    uint64_t bad_at = 0;
    *mended = false;
    MUST(snprintf(name, sizeof name, "%s-wal", path) < (int)sizeof name);
    enum err err = os->ops->file_open(os, name, OS_FILE_WRITE, &w.file, why);
    if (err == ERR_NOT_FOUND) return ERR_OK;
    if (err) return err;
    err = os->ops->file_size(w.file, &w.size, why);
    if (!err && w.size > HEADER_BYTES) err = read_header(&w, &good, mended, why);
    if (!err && good) err = walk(&w, &bad_at, &follow, why);
    os->ops->file_close(w.file);
    mem_free(w.frame);
    if (err) return err;
    return follow ? damaged(name, bad_at, why) : ERR_OK;
}
