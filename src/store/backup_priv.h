/* backup_priv.h - what the files of the backup share. All of it is the backup's task, but where it
 * says otherwise. */
#ifndef STORE_BACKUP_PRIV_H
#define STORE_BACKUP_PRIV_H

#include "store/backup.h"
#include "store/store_priv.h"

enum { BACKUP_PIECE_BYTES = 1024 * 1024 };

/* The sinks' cursors, as they were before the flush. */
struct cursors {
    struct cursor {
        char name[40]; /* in the folder "sinks" */
        char *text;    /* mem_alloc */
        size_t size;
    } * at;
    size_t count, capacity;
};

/* One backup under way: the backup's task, but for `ended` and `flushing`. */
struct backup {
    struct store *store;
    struct store_backup *op;
    struct store_flush flush;
    struct store_pin pin;
    struct job first, flushing, step, more, ended;
    struct os_timer *timer;
    bool timed, finished, waits; /* waits: for store_backup_go_on */
    struct cursors cursors;
    /* What others add: the one that is being looked at or copied, NULL = none yet; those behind. */
    const struct store_backup_extra *extra, *next_extra, *extras_end;
    uint32_t sum;
    bool is_summing;           /* it is read for its sum, which is part of its name */
    struct backup_index index; /* of this backup, in the order of copying */
    struct backup_index *old;  /* whole older ones */
    size_t old_count;
    bool old_unread; /* an index could not be read */
    size_t at;       /* the file being copied */
    struct os_file *from, *to;
    uint64_t offset;
    uint8_t *piece;
    enum err err;
    struct why why;
};

/* ---- backup.c ---- */

/* Plans to copy a file. Errors: NO_MEMORY, LIMIT (a name too long). */
enum err backup_add_file(struct backup *b, const char *name, const char *stored, uint64_t size);
/* What a whole older backup says of it, when it is there; NULL: it is to be copied. */
const struct backup_file *backup_find_known(const struct backup *b, const char *stored);
/* The file planned last is in an older backup, which has its size and sum: it is listed behind what
 * is copied, when that is done. */
enum err backup_keep_known(struct backup *b, struct backup_file *f,
                           const struct backup_file *known);
/* How much of the next piece of the file under way there is to read. */
size_t backup_piece_size(const struct backup *b);
void backup_close_files(struct backup *b);
void backup_finish(struct backup *b, enum err err);

/* ---- backup_others.c ---- */

/* Reads the sinks' cursors; before the flush is asked for. */
enum err backup_read_cursors(struct backup *b);
/* Writes the i-th into the backup's own folder. */
enum err backup_write_cursor(struct backup *b, const char *folder, size_t i);
void backup_free_cursors(struct cursors *cursors);
/* One step on with what others add: a file is summed up, or planned. */
enum err backup_plan_extra(struct backup *b);
/* store_backup_go_on has come. */
void backup_take_extras(struct job *job);

#endif
