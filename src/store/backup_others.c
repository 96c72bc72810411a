/* backup_others.c - what a backup takes along that is not the store's: the sinks' cursors, which
 * must not be ahead of the rows, and the files that others of the node make ready for its position
 * (store_backup_go_on). Those of long queues are shared between backups by what is in them: their
 * sum, for which they are read, is part of their name. */
#include "base/hash.h"
#include "store/backup_priv.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CURSOR_BYTES_MAX = 64 * 1024 };
static const char component[] = "backup";

/* ---- cursors ---- */

static enum err read_cursor(void *arg, const char *name)
{
    struct backup *b = arg;
    struct os *os = b->store->context->os;
    struct os_file *file;
    char path[4300];
    size_t size = strlen(name);
    bool is_fresh = size > 6 && strcmp(name + size - 6, ".fresh") == 0; /* being written */
    struct cursors *list = &b->cursors;
    if (is_fresh || size >= sizeof list->at->name) return ERR_OK; /* sinks are named by an id */
    if (mem_grow(&list->at, &list->capacity, list->count + 1, sizeof *list->at))
        return ERR_NO_MEMORY;
    struct cursor *c = &list->at[list->count];
    *c = (struct cursor){.text = mem_alloc(CURSOR_BYTES_MAX)};
    if (!c->text) return ERR_NO_MEMORY;
    list->count++;
    memcpy(c->name, name, size + 1);
    snprintf(path, sizeof path, "%s/sinks/%s", b->store->folder, name);
    enum err err = os->ops->file_open(os, path, 0, &file, &b->why);
    if (err == ERR_NOT_FOUND) { /* its sink was deleted just now */
        mem_free(c->text);
        list->count--;
        return ERR_OK;
    }
    if (err) return err;
    err = os->ops->file_read(file, 0, c->text, CURSOR_BYTES_MAX, &c->size, &b->why);
    os->ops->file_close(file);
    return err;
}

enum err backup_read_cursors(struct backup *b)
{
    struct os *os = b->store->context->os;
    char path[4200];
    snprintf(path, sizeof path, "%s/sinks", b->store->folder);
    enum err err = os->ops->path_list(os, path, read_cursor, b, &b->why);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

void backup_free_cursors(struct cursors *c)
{
    for (size_t i = 0; i < c->count; i++) mem_free(c->at[i].text);
    mem_free(c->at);
    *c = (struct cursors){0};
}

/* Beside the others of the backup's folder, which has no folders in it. */
enum err backup_write_cursor(struct backup *b, const char *folder, size_t i)
{
    struct os *os = b->store->context->os;
    struct os_file *file;
    char path[4400], name[BACKUP_NAME_BYTES], stored[BACKUP_STORED_BYTES];
    const struct cursor *c = &b->cursors.at[i];
    snprintf(path, sizeof path, "%s/sinks-%s", folder, c->name);
    snprintf(name, sizeof name, "sinks/%s", c->name);
    snprintf(stored, sizeof stored, "%s/sinks-%s", b->index.name, c->name);
    enum err err = os->ops->file_open(os, path, OS_FILE_WRITE | OS_FILE_CREATE, &file, &b->why);
    if (err) return err;
    err = os->ops->file_truncate(file, 0, &b->why);
    if (!err) err = os->ops->file_write(file, 0, c->text, c->size, &b->why);
    if (!err) err = os->ops->file_sync(file, &b->why);
    os->ops->file_close(file);
    return err ? err : backup_add_file(b, name, stored, c->size);
}

/* ---- what others add ---- */

/* The next piece of a file that is shared by what is in it: its sum, as far as it was read. */
static enum err sum_piece(struct backup *b)
{
    struct os *os = b->store->context->os;
    char path[4300];
    size_t got = 0;
    enum err err = ERR_OK;
    if (!b->from) {
        b->offset = b->sum = 0;
        snprintf(path, sizeof path, "%s/%s", b->store->folder, b->extra->path);
        err = os->ops->file_open(os, path, 0, &b->from, &b->why);
    }
    if (!err)
        err = os->ops->file_read(b->from, b->offset, b->piece, backup_piece_size(b), &got, &b->why);
    if (err) return err;
    b->sum = hash_crc32c(b->sum, b->piece, got);
    b->offset += got;
    b->is_summing = got == BACKUP_PIECE_BYTES && backup_piece_size(b);
    if (!b->is_summing) backup_close_files(b);
    return ERR_OK;
}

/* Its sum is known: it is to be copied, unless an older backup has it. */
static enum err plan_shared(struct backup *b)
{
    char stored[BACKUP_STORED_BYTES];
    const char *slash = strrchr(b->extra->name, '/');
    snprintf(stored, sizeof stored, "queues/%.16s.%" PRIx64 ".%08" PRIx32,
             slash ? slash + 1 : b->extra->name, b->offset, b->sum);
    const struct backup_file *known = backup_find_known(b, stored);
    enum err err = backup_add_file(b, b->extra->name, stored, b->offset);
    if (!err && known) err = backup_keep_known(b, &b->index.files[b->index.count - 1], known);
    return err;
}

static enum err plan_own(struct backup *b)
{
    char stored[BACKUP_STORED_BYTES], flat[BACKUP_NAME_BYTES];
    (void)str_copy(flat, sizeof flat, str_of(b->extra->name));
    for (char *at = flat; *at; at++)
        if (*at == '/') *at = '-';
    snprintf(stored, sizeof stored, "%s/%.40s", b->index.name, flat);
    return backup_add_file(b, b->extra->name, stored, 0);
}

/* One step on with them; a file that has gone (somebody removed it) is told and left out: who
 * restores the rest is told of it again. */
enum err backup_plan_extra(struct backup *b)
{
    bool begins = !b->is_summing;
    if (begins) {
        b->extra = b->next_extra++;
        b->is_summing = b->extra->is_shared;
    }
    if (!b->is_summing) return plan_own(b);
    enum err err = sum_piece(b);
    if (err == ERR_NOT_FOUND) {
        diag(b->store->context, DIAG_WARNING, component, "%s", why_text(&b->why, err));
        b->is_summing = false;
        return ERR_OK;
    }
    return err || b->is_summing ? err : plan_shared(b);
}

void backup_take_extras(struct job *job)
{
    struct backup *b = (struct backup *)(void *)((char *)job - offsetof(struct backup, more));
    if (!b->waits) return; /* it was stopped meanwhile */
    b->waits = false;
    b->why = b->op->extra_why;
    b->next_extra = b->op->extras;
    b->extras_end = b->op->extras + b->op->extra_count;
    for (size_t i = 0; i < b->op->extra_count; i++)
        if (b->op->extras[i].bytes != UINT64_MAX)
            atomic_fetch_add(&b->op->total_bytes, b->op->extras[i].bytes);
    if (b->op->extra_err)
        backup_finish(b, b->op->extra_err);
    else
        loop_post(&b->store->backup_loop, &b->step);
}

void store_backup_go_on(struct store_backup *op, const struct store_backup_extra *extras,
                        size_t count, enum err err, const struct why *why)
{
    static const struct store_backup_extra none;
    struct backup *b = op->under_way;
    if (!b) return;
    op->extras = count ? extras : &none;
    op->extra_count = count;
    op->extra_err = err;
    op->extra_why = why ? *why : (struct why)WHY_NONE;
    loop_post(&b->store->backup_loop, &b->more);
}
