/* audit_read.c - reading the audit log from its end, for sys.audit (audit_reader_next).
 *
 * A file is read in blocks from its end towards its beginning, so the newest lines cost one block,
 * however long the log is. `held` is the stretch [from, from + size) of the file that was read and
 * not yet given; its last line is given next. Only whole lines are given: what stands behind the
 * last LF of the newest file is one that is being written, or that a crash cut.
 *
 * Whether a line is whole is seen while passing: its own hash, and that the line behind it (given
 * before) goes on from it. The writer is not disturbed and takes no notice. */
#include "access/audit_priv.h"
#include <string.h>

enum { BLOCK_BYTES = 64 * 1024 };

enum { AUDIT_READER_MAGIC = 0x61756472 };

struct audit_reader {
    uint32_t magic; /* AUDIT_READER_MAGIC while it lives */
    struct os *os;
    const char *folder; /* the log's, which outlives its readers */
    struct os_file *file;
    unsigned first, number; /* files; number: the one being read, below `first`: the end */
    bool is_newest;         /* of `number`: a line may just be written behind it */
    uint64_t from;          /* of `held` in the file */
    struct buf held;
    /* What the line behind the one that comes next says of it. */
    bool has_next;
    uint64_t next_seq;
    char next_prev[AUDIT_HASH_TEXT + 1];
};

enum err audit_reader_new(struct audit *audit, struct audit_reader **out)
{
    struct audit_reader *r = mem_alloc_zero(1, sizeof *r);
    if (!r) return ERR_NO_MEMORY;
    r->magic = AUDIT_READER_MAGIC;
    r->os = audit_context(audit)->os;
    r->folder = audit_folder(audit);
    unsigned last;
    enum err err = audit_find_files(r->os, r->folder, &r->first, &last, NULL);
    if (err) {
        mem_free(r);
        return err;
    }
    r->number = last;
    r->is_newest = true;
    *out = r;
    return ERR_OK;
}

static void close_file(struct audit_reader *r)
{
    if (r->file) r->os->ops->file_close(r->file);
    r->file = NULL;
    r->held.size = 0;
}

void audit_reader_free(struct audit_reader *r)
{
    if (!r) return;
    MUST(r->magic == AUDIT_READER_MAGIC);
    close_file(r);
    r->magic = 0;
    buf_free(&r->held);
    mem_free(r);
}

/* Opens the file that comes next; false: there is none, or an error. */
static bool open_next(struct audit_reader *r, enum err *err, struct why *why)
{
    char path[AUDIT_PATH_BYTES];
    if (r->number < r->first || r->number == 0) return false;
    *err = audit_path(path, r->folder, r->number, why);
    if (!*err) *err = r->os->ops->file_open(r->os, path, 0, &r->file, why);
    if (*err == ERR_NOT_FOUND) { /* removed for its age meanwhile */
        *err = ERR_OK;
        r->number = 0;
        return false;
    }
    if (!*err) *err = r->os->ops->file_size(r->file, &r->from, why);
    return !*err;
}

/* Puts the block before what is held in front of it. */
static enum err read_block(struct audit_reader *r, struct why *why)
{
    size_t want = r->from < BLOCK_BYTES ? (size_t)r->from : BLOCK_BYTES, got = 0,
           old = r->held.size;
    MUST(r->file && want > 0);
    if (!buf_reserve(&r->held, want + 1)) return ERR_NO_MEMORY;
    memmove(r->held.at + want, r->held.at, old);
    enum err err = r->os->ops->file_read(r->file, r->from - want, r->held.at, want, &got, why);
    if (!err && got < want) err = why_set(why, ERR_IO, "the audit log was cut while it was read");
    if (err) return err;
    r->from -= want;
    r->held.size = want + old;
    return ERR_OK;
}

/* Where the last line of what is held begins; SIZE_MAX: not in it. */
static size_t line_start(const struct audit_reader *r)
{
    const char *at = r->held.at;
    size_t size = r->held.size;
    for (size_t i = size > 0 ? size - 1 : 0; i > 0; i--)
        if (at[i - 1] == '\n') return i;
    return r->from == 0 && size > 0 ? 0 : SIZE_MAX;
}

/* Throws away what has no LF behind it: a line being written. */
static void drop_cut(struct audit_reader *r)
{
    while (r->held.size && r->held.at[r->held.size - 1] != '\n') r->held.size--;
}

/* Makes `held` end with a whole line that begins in it; false at the end, or with an error. */
static bool hold_line(struct audit_reader *r, size_t *start, enum err *err, struct why *why)
{
    for (;;) {
        if (!r->file && !open_next(r, err, why)) return false;
        while ((*start = line_start(r)) == SIZE_MAX && r->from > 0) {
            /* Longer than any line of ours: the rest of the file is passed over. */
            if (r->held.size > 2 * AUDIT_LINE_BYTES_MAX) break;
            bool is_fresh = r->held.size == 0;
            if ((*err = read_block(r, why))) return false;
            if (is_fresh && r->is_newest) drop_cut(r);
        }
        if (*start != SIZE_MAX) return true;
        close_file(r);
        r->is_newest = false;
        r->number--;
    }
}

bool audit_reader_next(struct audit_reader *r, struct audit_line *line, enum err *err,
                       struct why *why)
{
    size_t start;
    MUST(r && r->magic == AUDIT_READER_MAGIC && line && err);
    *err = ERR_OK;
    if (!hold_line(r, &start, err, why)) return false;
    MUST(start < r->held.size);
    size_t size = r->held.size - start;
    struct str text = {r->held.at + start, size};
    if (text.at[size - 1] == '\n') text.size--;
    char prev[AUDIT_HASH_TEXT + 1], hash[AUDIT_HASH_TEXT + 1];
    uint64_t seq = 0;
    bool is_ours = audit_read_line(text, &seq, prev, hash);
    bool is_followed = !r->has_next || (r->next_seq == seq + 1 && strcmp(r->next_prev, hash) == 0);
    *line = (struct audit_line){text, is_ours ? seq : 0, is_ours && is_followed};
    r->has_next = is_ours; /* the line before a broken one is judged by itself */
    if (is_ours) r->next_seq = seq;
    if (is_ours) memcpy(r->next_prev, prev, sizeof prev);
    r->held.size = start; /* the bytes stay where they are until the next call */
    return true;
}
