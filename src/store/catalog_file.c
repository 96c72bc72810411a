/* catalog_file.c - the catalogue's snapshot: what lets the log forget its SCHEMA, SERIES and DELETE
 * records; see catalog.h.
 *
 * One file of records, named by the position it speaks of, written whole beside the one before;
 * the manifest's checkpoint says which of them counts, so a crash between the two leaves the older
 * one in force. It may hold what came after its position, too (another task writes it while the
 * catalogue grows): replay says that again, and saying a table or series twice is no harm. Only
 * deletes above the position are left out: the log has them, and has them last.
 *
 * Called by: flush.c and backup.c on their own tasks; open.c and doctor.c to read.
 * Owns nothing. Damage costs the record that it hit, and is told. */
#include "store/catalog.h"
#include "base/num.h"
#include "store/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    SNAPSHOT_FORMAT = 1,
    RECORD_COUNTS = 16,
    RECORD_TOMBSTONES = 17,
    RECORD_DIRTY = 18,
}; /* other types as in the log */
static const struct record_file empty_head = {.magic = "MILLCATA", .format = SNAPSHOT_FORMAT};

void catalog_snapshot_name(char out[32], uint64_t seq)
{
    snprintf(out, 32, "catalog.%016" PRIx64, seq);
}

static enum err note_snapshot(void *arg, const char *name)
{
    uint64_t seq, *newest = arg;
    bool is_one = strncmp(name, "catalog.", 8) == 0 && strlen(name) == 8 + 16 &&
                  num_parse_hex(str_of(name + 8), &seq) && seq <= RECORD_SEQ_MAX;
    if (is_one && seq > *newest) *newest = seq;
    return ERR_OK;
}

uint64_t catalog_snapshot_newest(struct os *os, const char *folder)
{
    uint64_t newest = 0;
    (void)os->ops->path_list(os, folder, note_snapshot, &newest, NULL); /* none is an answer too */
    return newest;
}

static enum err add_counts(struct buf *out, uint64_t salt, uint32_t next_table_id,
                           uint32_t series_count)
{
    size_t mark = record_begin(out, RECORD_COUNTS, 1, 0);
    buf_add_le32(out, next_table_id);
    buf_add_le32(out, series_count);
    return record_end(out, mark, salt);
}

static enum err add_tables(const struct table_list *list, struct buf *out, uint64_t salt,
                           uint64_t *seq)
{
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < list->count && !err; i++) {
        size_t mark = record_begin(out, LOG_SCHEMA, ++*seq, 0);
        catalog_write_schema(out, list->items[i].schema, false);
        err = record_end(out, mark, salt);
    }
    return err;
}

static enum err add_series(struct catalog *catalog, struct buf *out, uint64_t salt, uint32_t count,
                           uint64_t *seq)
{
    enum err err = ERR_OK;
    for (uint32_t id = 1; id <= count && !err; id++) {
        const struct series *series = catalog_series(catalog, id);
        if (!series) continue;
        size_t mark = record_begin(out, LOG_SERIES, ++*seq, 0);
        catalog_write_series(out, series);
        err = record_end(out, mark, salt);
    }
    return err;
}

static enum err add_tombstones(struct catalog *catalog, struct buf *out, uint64_t salt,
                               uint32_t count, uint64_t up_to, uint64_t *seq)
{
    enum err err = ERR_OK;
    for (uint32_t id = 1, some; id <= count && !err; id++) {
        const struct series *series = catalog_series(catalog, id);
        if (!series || !tombstones_of(series, &some)) continue;
        size_t mark = record_begin(out, RECORD_TOMBSTONES, ++*seq, 0);
        tombstones_write(out, series, up_to);
        err = record_end(out, mark, salt);
    }
    return err;
}

enum err catalog_snapshot_write_as(struct catalog *catalog, const struct table_list *tables,
                                   uint64_t deletes_up_to, struct os *os, const char *folder,
                                   uint64_t seq, uint32_t next_table_id, uint32_t series_count,
                                   struct str dirty, struct why *why)
{
    struct record_file head = empty_head;
    struct buf out = BUF_EMPTY;
    uint64_t record_seq = 1;
    char name[32];
    head.seq = seq;
    os->ops->random(os, &head.salt, sizeof head.salt);
    record_file_begin(&out, &head);
    enum err err = add_counts(&out, head.salt, next_table_id, series_count);
    if (!err) err = add_tables(tables, &out, head.salt, &record_seq);
    if (!err) err = add_series(catalog, &out, head.salt, series_count, &record_seq);
    if (!err)
        err = add_tombstones(catalog, &out, head.salt, series_count, deletes_up_to, &record_seq);
    if (!err && dirty.size) {
        size_t mark = record_begin(&out, RECORD_DIRTY, ++record_seq, 0);
        buf_add_str(&out, dirty);
        err = record_end(&out, mark, head.salt);
    }
    catalog_snapshot_name(name, seq);
    if (!err) err = record_file_replace(os, folder, name, &out, why);
    buf_free(&out);
    return err;
}

enum err catalog_snapshot_write(struct catalog *catalog, struct os *os, const char *folder,
                                uint64_t seq, uint32_t next_table_id, uint32_t series_count,
                                struct str dirty, struct why *why)
{
    struct table_list *tables = catalog_tables(catalog);
    /* Deletes above it are in the log, which says them again. */
    enum err err = catalog_snapshot_write_as(catalog, tables, seq, os, folder, seq, next_table_id,
                                             series_count, dirty, why);
    table_list_release(tables);
    return err;
}

struct reading {
    struct catalog *catalog;
    void (*damage)(void *arg, const char *text);
    void *arg;
};

static void pass_damage(void *arg, const char *text)
{
    struct reading *r = arg;
    r->damage(r->arg, text);
}

static enum err read_schema(struct catalog *catalog, struct reader *in, struct why *why)
{
    struct schema *schema;
    bool dropped;
    enum err err = catalog_read_schema(in, &schema, &dropped, why);
    return err ? err : catalog_change(catalog, schema, false);
}

static enum err read_record(void *arg, const struct record *record, struct why *why)
{
    struct reading *r = arg;
    struct reader in = reader_of(record->body.at, record->body.size);
    enum err err = ERR_OK;
    if (record->type == RECORD_COUNTS) {
        uint32_t next_table_id = reader_le32(&in), series_count = reader_le32(&in);
        if (reader_ok(&in)) err = catalog_reserve(r->catalog, next_table_id, series_count);
    } else if (record->type == LOG_SCHEMA) {
        err = read_schema(r->catalog, &in, why);
    } else if (record->type == LOG_SERIES) {
        err = catalog_read_series(r->catalog, &in, 0, why);
    } else if (record->type == RECORD_TOMBSTONES) {
        err = tombstones_read(r->catalog, &in);
    } else if (record->type == RECORD_DIRTY) {
        err = rollup_states_read(r->catalog, &in, why);
    }
    if (err != ERR_CORRUPT) return err;
    r->damage(r->arg, why_text(why, err));
    return ERR_OK;
}

enum err catalog_snapshot_read(struct catalog *catalog, struct os *os, const char *folder,
                               uint64_t seq, void (*damage)(void *arg, const char *text), void *arg,
                               struct why *why)
{
    struct reading reading = {.catalog = catalog, .damage = damage, .arg = arg};
    struct record_sink sink = {read_record, pass_damage, &reading};
    struct record_file head = empty_head;
    char name[32], path[4096];
    uint64_t end;
    catalog_snapshot_name(name, seq);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    enum err err = record_file_read(os, path, &head, &sink, &end, why);
    struct os_path_info info;
    /* It was written whole: bytes behind the last good record are damage and no torn tail. */
    if (!err && os->ops->path_info(os, path, &info, NULL) == ERR_OK && end < info.size_bytes)
        damage(arg, "the end of the catalogue's snapshot is damaged");
    return err;
}
