/* meta.c - the data folder's identity, twice; see meta.h.
 *
 * The origin is in every row that leaves this node, so a node that lost it would write its old rows
 * as another's. Hence two copies, each with a sum, and a search through what was written under the
 * origin when both are gone: the log first, all of which is of this node, then the parts.
 *
 * Called by: open.c, doctor.c, restore.c, before or without a node's tasks. Owns nothing.
 * Invariant: nothing is written under an origin before a copy that says it is durable. */
#include "store/meta.h"
#include "base/hash.h"
#include "base/num.h"
#include "store/log.h"
#include "store/part.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const meta_names[META_COPIES] = {"meta", "meta.copy"};

/* ---- one copy ---- */

/* Strict: what is not as it was written is damaged, and the other copy counts. */
static bool parse_copy(struct str text, struct meta *found)
{
    struct str rest = text, line;
    char sum[20];
    if (!text.size || text.at[text.size - 1] != '\n') return false;
    if (!str_split(&rest, '\n', &line) || !str_is(line, "millrace data") ||
        !num_take_line(&rest, "format ", num_parse_u64, &found->format) ||
        !num_take_line(&rest, "origin ", num_parse_hex, &found->origin))
        return false;
    if (!rest.size) return found->format <= META_FORMAT;
    snprintf(sum, sizeof sum, "sum %08" PRIx32 "\n",
             hash_crc32c(0, text.at, text.size - rest.size));
    return str_is(rest, sum);
}

static enum err read_copy(struct os *os, const char *folder, const char *name, struct meta *found,
                          struct why *why)
{
    char path[4200];
    uint8_t *bytes;
    size_t size, lost_bytes;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    enum err err = record_read_whole(os, path, &bytes, &size, &lost_bytes, why);
    if (err) return err;
    if (!parse_copy((struct str){(const char *)bytes, size}, found))
        err = why_set(why, ERR_CORRUPT, "%s is damaged", path);
    mem_free(bytes);
    return err;
}

/* ---- without a copy ---- */

struct search {
    struct os *os;
    const char *folder;
    uint64_t origin;
    bool is_found, any; /* any: there is something of a node */
};

static enum err look_at_part(void *arg, const char *name)
{
    struct search *s = arg;
    uint64_t id;
    struct part_file file;
    char path[4400];
    if (s->is_found || !store_file_number(name, ".part", &id)) return ERR_OK;
    s->any = true;
    snprintf(path, sizeof path, "%s/parts/%s", s->folder, name);
    if (part_file_open(s->os, path, NULL, &file, NULL)) return ERR_OK;
    s->origin = file.info.origin;
    s->is_found = true;
    part_file_close(&file);
    return ERR_OK;
}

/* What was written says whose it is: the log first, all of which is of this node. */
static void search_origin(struct search *s)
{
    char path[4200];
    struct log_oldest oldest;
    snprintf(path, sizeof path, "%s/log", s->folder);
    enum err err = log_look_oldest(s->os, path, &oldest);
    s->any = !err;
    s->is_found = !err && oldest.has_origin;
    s->origin = oldest.origin;
    snprintf(path, sizeof path, "%s/parts", s->folder);
    if (!s->is_found) (void)s->os->ops->path_list(s->os, path, look_at_part, s, NULL);
}

/* ---- both ---- */

static enum err check_format(const struct meta *meta, const char *folder, struct why *why)
{
    if (meta->format >= META_FORMAT_OLDEST && meta->format <= META_FORMAT) return ERR_OK;
    return why_set(why, ERR_FORMAT,
                   "the data folder %s has format %" PRIu64
                   ", this version reads format %d; move the folder away to "
                   "start afresh, or run the version that wrote it",
                   folder, meta->format, META_FORMAT);
}

enum err meta_read(struct os *os, const char *folder, struct meta *meta, struct why *why)
{
    bool is_there = false, is_unread = false;
    *meta = (struct meta){0};
    for (size_t i = META_COPIES; i-- > 0;) { /* the first one that is whole counts */
        struct meta found = {0};
        enum err err = read_copy(os, folder, meta_names[i], &found, why);
        if (err == ERR_NO_MEMORY) return err;
        meta->copies[i] = err;
        if (!err) meta->format = found.format, meta->origin = found.origin;
        is_there |= !err;
        is_unread |= err == ERR_IO;
    }
    if (is_there) return check_format(meta, folder, why);
    if (is_unread) return ERR_IO; /* it may be readable the next time */
    struct search search = {.os = os, .folder = folder};
    search_origin(&search);
    bool any = search.any;
    for (size_t i = 0; i < META_COPIES; i++) any |= meta->copies[i] == ERR_CORRUPT;
    meta->format = META_FORMAT;
    meta->origin = search.origin;
    meta->is_rebuilt = search.is_found;
    if (search.is_found) return ERR_OK;
    return any ? why_set(why, ERR_CORRUPT, "nothing in %s says the node's origin", folder)
               : ERR_NOT_FOUND;
}

enum err meta_write(struct os *os, const char *folder, uint64_t origin, struct why *why)
{
    struct buf text = BUF_EMPTY;
    buf_printf(&text, "millrace data\nformat %d\norigin %016" PRIx64 "\n", META_FORMAT, origin);
    enum err err = buf_failed(&text) ? ERR_NO_MEMORY : ERR_OK;
    if (!err) buf_printf(&text, "sum %08" PRIx32 "\n", hash_crc32c(0, text.at, text.size));
    for (size_t i = 0; i < META_COPIES && !err; i++)
        err = record_file_replace(os, folder, meta_names[i], &text, why);
    buf_free(&text);
    return err;
}
