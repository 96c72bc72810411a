/* backup_index.c - reading and writing a backup's index; see backup.h. */
#include "store/backup.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/reader.h"
#include "store/record.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char first_line[] = "millrace-backup 1\n", ending[] = ".index";
enum { SUM_LINE_BYTES = 4 + 8 + 1, FILES_MAX = 10000000, POSITION_BYTES = 17 /* of a name */ };

struct backup_file *backup_index_add(struct backup_index *index)
{
    if (mem_grow(&index->files, &index->capacity, index->count + 1, sizeof *index->files))
        return NULL;
    struct backup_file *file = &index->files[index->count++];
    memset(file, 0, sizeof *file);
    return file;
}

const struct backup_file *backup_index_find(const struct backup_index *index, const char *stored)
{
    for (size_t i = 0; i < index->count; i++)
        if (strcmp(index->files[i].stored, stored) == 0) return &index->files[i];
    return NULL;
}

void backup_index_free(struct backup_index *index)
{
    mem_free(index->files);
    index->files = NULL;
    index->count = index->capacity = 0;
}

/* ---- writing ---- */

enum err backup_index_write(struct os *os, const char *folder, const struct backup_index *index,
                            struct why *why)
{
    struct buf text = BUF_EMPTY;
    char name[64];
    MUST(index->name[0]);
    buf_add_text(&text, first_line);
    buf_printf(&text,
               "position %" PRIu64 "\nreserved %" PRIu64 "\norigin %016" PRIx64 "\ntaken %" PRId64
               "\n",
               index->position, index->reserved_seq, index->origin, index->taken_ns);
    for (size_t i = 0; i < index->count; i++) {
        const struct backup_file *f = &index->files[i];
        buf_printf(&text, "file\t%s\t%s\t%" PRIu64 "\t%08" PRIx32 "\n", f->name, f->stored,
                   f->size_bytes, f->crc);
    }
    uint32_t sum = buf_failed(&text) ? 0 : hash_crc32c(0, text.at, text.size);
    buf_printf(&text, "sum\t%08" PRIx32 "\n", sum);
    snprintf(name, sizeof name, "%s%s", index->name, ending);
    enum err err = record_file_replace(os, folder, name, &text, why);
    buf_free(&text);
    return err;
}

/* ---- reading ---- */

/* A path of ours has no way out of its folder. */
static bool is_inside(struct str path)
{
    if (!path.size || path.at[0] == '/') return false;
    struct str piece;
    while (str_split(&path, '/', &piece))
        if (!piece.size || str_is(piece, ".") || str_is(piece, "..")) return false;
    return true;
}

static enum err take_file(struct backup_index *index, struct str line)
{
    struct str word, name, stored, size, crc;
    uint64_t sum = 0;
    struct backup_file *file;
    if (!str_split(&line, '\t', &word) || !str_is(word, "file") || !str_split(&line, '\t', &name) ||
        !str_split(&line, '\t', &stored) || !str_split(&line, '\t', &size) ||
        !str_split(&line, '\t', &crc) || !is_inside(name) || !is_inside(stored) ||
        index->count == FILES_MAX)
        return ERR_CORRUPT;
    if (!(file = backup_index_add(index))) return ERR_NO_MEMORY;
    if (!str_copy(file->name, sizeof file->name, name) ||
        !str_copy(file->stored, sizeof file->stored, stored) ||
        !num_parse_u64(size, &file->size_bytes) || !num_parse_hex(crc, &sum) || sum > UINT32_MAX)
        return ERR_CORRUPT;
    file->crc = (uint32_t)sum;
    return ERR_OK;
}

enum err backup_index_parse(struct str text, struct backup_index *index, struct why *why)
{
    uint64_t sum = 0, taken = 0;
    struct str line;
    if (text.size < SUM_LINE_BYTES + sizeof first_line || !str_starts(text, "millrace-backup "))
        return why_set(why, ERR_CORRUPT, "it is no backup's index, or cut off");
    struct str rest = {text.at, text.size - SUM_LINE_BYTES};
    struct str last = {rest.at + rest.size, SUM_LINE_BYTES - 1};
    if (!str_starts(last, "sum\t") || text.at[text.size - 1] != '\n' ||
        !num_parse_hex((struct str){last.at + 4, 8}, &sum) ||
        sum != hash_crc32c(0, rest.at, rest.size))
        return why_set(why, ERR_CORRUPT, "its checksum is wrong");
    if (!str_starts(rest, first_line))
        return why_set(why, ERR_FORMAT, "it was written by another version");
    rest.at += sizeof first_line - 1, rest.size -= sizeof first_line - 1;
    enum err err = num_take_line(&rest, "position ", num_parse_u64, &index->position) &&
                           num_take_line(&rest, "reserved ", num_parse_u64, &index->reserved_seq) &&
                           num_take_line(&rest, "origin ", num_parse_hex, &index->origin) &&
                           num_take_line(&rest, "taken ", num_parse_u64, &taken)
                       ? ERR_OK
                       : ERR_CORRUPT;
    index->taken_ns = (int64_t)taken;
    while (!err && rest.size && str_split(&rest, '\n', &line)) err = take_file(index, line);
    if (!err) return ERR_OK;
    backup_index_free(index);
    return why_set(why, err, "%s",
                   err == ERR_CORRUPT ? "a line of it cannot be read" : err_text(err));
}

enum err backup_index_read(struct os *os, const char *folder, const char *name,
                           struct backup_index *index, struct why *why)
{
    char path[4200];
    uint8_t *bytes;
    size_t size, lost_bytes;
    *index = (struct backup_index){0};
    (void)str_copy(index->name, sizeof index->name, str_of(name));
    snprintf(path, sizeof path, "%s/%s%s", folder, name, ending);
    enum err err = record_read_whole(os, path, &bytes, &size, &lost_bytes, why);
    if (err) return err;
    err = backup_index_parse((struct str){(const char *)bytes, size}, index, why);
    mem_free(bytes);
    if (err == ERR_CORRUPT && lost_bytes) /* what is there may be whole */
        err = why_set(why, ERR_IO, "%zu bytes cannot be read", lost_bytes);
    if (err) why_wrap(why, err, "%s", path);
    return err;
}

/* ---- which there are ---- */

struct listing {
    backup_name *names;
    size_t count, capacity;
};

static enum err note_name(void *arg, const char *name)
{
    struct listing *l = arg;
    size_t size = strlen(name), end = sizeof ending - 1;
    if (size <= end || size - end >= sizeof *l->names || strcmp(name + size - end, ending) != 0)
        return ERR_OK;
    enum err err = mem_grow(&l->names, &l->capacity, l->count + 1, sizeof *l->names);
    if (!err)
        (void)str_copy(l->names[l->count++], sizeof *l->names, (struct str){name, size - end});
    return err;
}

/* Numbers of one position have three digits or more. */
static int compare_names(const void *a, const void *b)
{
    int order = strncmp(a, b, POSITION_BYTES);
    size_t size = strlen(a), other = strlen(b);
    if (order || size == other) return order ? order : strcmp(a, b);
    return size < other ? -1 : 1;
}

bool backup_name_next(const backup_name *names, size_t count, uint64_t position, backup_name out)
{
    uint64_t next = 0, number;
    char prefix[POSITION_BYTES + 1];
    snprintf(prefix, sizeof prefix, "%016" PRIx64 "-", position);
    for (size_t i = 0; i < count; i++)
        if (str_starts(str_of(names[i]), prefix) &&
            num_parse_u64(str_of(names[i] + POSITION_BYTES), &number) && number >= next)
            next = number < UINT32_MAX ? number + 1 : UINT32_MAX;
    snprintf(out, sizeof(backup_name), "%s%03" PRIu64, prefix, next);
    return next < UINT32_MAX;
}

enum err backup_names(struct os *os, const char *folder, backup_name **names, size_t *count,
                      struct why *why)
{
    struct listing l = {0};
    enum err err = os->ops->path_list(os, folder, note_name, &l, why);
    if (err == ERR_NOT_FOUND) err = ERR_OK;
    if (!err && l.count) qsort(l.names, l.count, sizeof *l.names, compare_names);
    if (err) mem_free(l.names);
    *names = err ? NULL : l.names;
    *count = err ? 0 : l.count;
    return err;
}
