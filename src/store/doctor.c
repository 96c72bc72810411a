/* doctor.c - see doctor.h. The order is that in which a start reads: meta, manifest, catalogue,
 * log, parts; then what lies about. What the manifest says decides what a file means. */
#include "base/num.h"
#include "os/put_aside.h"
#include "store/doctor_priv.h"
#include "store/store_priv.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *doctor_state_text(enum doctor_state state)
{
    static const char *const texts[] = {
#define X(symbol, text) [DOCTOR_##symbol] = text,
        DOCTOR_STATE_TABLE(X)
#undef X
    };
    MUST(state < DOCTOR_STATE_COUNT);
    return texts[state];
}

struct doctor {
    struct os *os;
    const char *folder;
    char parts[4000];
    bool repair;
    const struct doctor_sink *sink;
    struct manifest manifest;
    struct catalog *catalog; /* what its snapshot holds; NULL before */
    bool manifest_bad;       /* lost or damaged: parts speak for themselves */
    uint64_t origin;
    struct part **live; /* what the manifest shall name */
    size_t live_count, live_capacity;
    bool changed; /* the manifest has to be written */
    size_t of_origin;
    const char *object; /* what the damage sinks speak of */
    size_t damages;
};

static void tell(struct doctor *d, enum doctor_state state, const char *object, const char *todo,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));
static void tell(struct doctor *d, enum doctor_state state, const char *object, const char *todo,
                 const char *format, ...)
{
    struct doctor_row row = {.state = state};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(row.text, sizeof row.text, format, args);
    va_end(args);
    (void)str_copy(row.object, sizeof row.object, str_of(object));
    (void)str_copy(row.todo, sizeof row.todo, str_of(todo));
    d->sink->row(d->sink->arg, &row);
}

static void on_damage(void *arg, const char *text)
{
    struct doctor *d = arg;
    d->damages++;
    tell(d, DOCTOR_DAMAGED, d->object,
         strcmp(d->object, "manifest") == 0 ? "doctor --repair writes it anew from the parts"
                                            : "what is lost comes back from a backup only",
         "%s", text);
}

/* ---- meta, manifest, catalogue, log ---- */

static void check_meta(struct doctor *d)
{
    struct meta meta;
    struct why why = WHY_NONE;
    enum err err = meta_read(d->os, d->folder, &meta, &why);
    bool heals = !err && d->repair;
    d->origin = meta.origin;
    if (err || meta.is_rebuilt)
        tell(d, DOCTOR_DAMAGED, "meta",
             heals ? "" : "take this file from a backup of the node, or let the next start do it",
             err ? "no copy is whole, and a start draws a new origin: %s"
                 : "no copy is whole; what the node wrote says its origin%s",
             err ? why_text(&why, err) : "");
    for (size_t i = 0; i < META_COPIES; i++)
        if (meta.copies[i] == ERR_CORRUPT || meta.copies[i] == ERR_IO)
            tell(d, DOCTOR_DAMAGED, meta_names[i],
                 heals ? "" : "the next start or doctor --repair writes it anew",
                 "it cannot be read as what it should be");
        else if (!meta.copies[i])
            tell(d, DOCTOR_OK, meta_names[i], "", "format %" PRIu64, meta.format);
    bool is_whole = !meta.copies[0] && !meta.copies[1];
    if (!heals || is_whole || meta.format < META_FORMAT) return;
    err = meta_write(d->os, d->folder, meta.origin, &why);
    tell(d, err ? DOCTOR_DAMAGED : DOCTOR_REPAIRED, "meta", "", "%s",
         err ? why_text(&why, err) : "written anew");
}

static enum err check_manifest(struct doctor *d, struct why *why)
{
    struct manifest *m = &d->manifest;
    d->object = "manifest";
    enum err err = manifest_open(m, d->os, d->folder, on_damage, d, why);
    if (err == ERR_NO_MEMORY) return err;
    if (err) on_damage(d, why_text(why, err));
    d->manifest_bad = err || m->damaged || m->unsure;
    if (m->unsure && !m->missing && !m->damaged)
        tell(d, DOCTOR_DAMAGED, "manifest",
             d->repair ? "" : "the next start or doctor --repair takes parts in that it lost",
             "bytes behind its last whole record: power failed while it was written, or damage");
    if (d->manifest_bad) checkpoint_find(d->os, d->folder, &m->checkpoint);
    if (!d->manifest_bad)
        tell(d, DOCTOR_OK, "manifest", "", "%zu parts, everything up to position %" PRIu64,
             m->part_count, m->checkpoint.position);
    return ERR_OK;
}

static enum err check_catalog(struct doctor *d)
{
    struct catalog *catalog = d->catalog = mem_alloc_zero(1, sizeof *catalog);
    struct why why = WHY_NONE;
    char name[32];
    uint64_t seq = d->manifest.checkpoint.catalog_seq;
    enum err err = catalog ? catalog_init(catalog) : ERR_NO_MEMORY;
    if (err) {
        mem_free(catalog);
        d->catalog = NULL;
        return err;
    }
    catalog_snapshot_name(name, seq);
    d->object = name;
    d->damages = 0;
    if (seq) err = catalog_snapshot_read(catalog, d->os, d->folder, seq, on_damage, d, &why);
    if (err && err != ERR_NO_MEMORY) on_damage(d, why_text(&why, err));
    if (seq && !err && !d->damages)
        tell(d, DOCTOR_OK, name, "", "%u series", atomic_load(&catalog->series_count));
    return err == ERR_NO_MEMORY ? err : ERR_OK;
}

static enum err pass_record(void *arg, const struct record *record, struct why *why)
{
    (void)arg;
    (void)record;
    (void)why;
    return ERR_OK;
}

static enum err check_log(struct doctor *d)
{
    char folder[4000];
    struct log_recovery found;
    struct why why = WHY_NONE;
    struct record_sink sink = {pass_record, on_damage, d};
    snprintf(folder, sizeof folder, "%s/log", d->folder);
    d->object = "log";
    d->damages = 0;
    enum err err = log_inspect(d->os, folder, d->manifest.checkpoint.position, &sink, &found, &why);
    if (err == ERR_NO_MEMORY) return err;
    if (err) {
        on_damage(d, why_text(&why, err));
        return ERR_OK;
    }
    if (found.cut_bytes)
        tell(d, DOCTOR_NOTE, "log", "nothing: the next start cuts them off",
             "%" PRIu64 " bytes behind the last whole record: an earlier life of the file, or what "
             "was being written when the node ended, never acknowledged",
             found.cut_bytes);
    if (!d->damages)
        tell(d, DOCTOR_OK, "log", "", "%" PRIu64 " records up to position %" PRIu64, found.records,
             found.record_seq);
    log_recovery_free(&found);
    return ERR_OK;
}

/* ---- parts ---- */

static enum err keep(struct doctor *d, struct part_info *info)
{
    enum err err = mem_grow(&d->live, &d->live_capacity, d->live_count + 1, sizeof *d->live);
    struct part *part = err ? NULL : part_new(d->os, d->parts, info);
    if (err) {
        mem_free(info->tables);
        info->tables = NULL;
    }
    if (!part) return ERR_NO_MEMORY;
    d->live[d->live_count++] = part;
    d->of_origin += part->info.origin == d->origin;
    if (part->info.id >= d->manifest.next_part_id) d->manifest.next_part_id = part->info.id + 1;
    return ERR_OK;
}

/* What is readable becomes a new part first; `file` NULL: nothing is. The old one leaves only then.
 */
static enum err repair_part(struct doctor *d, const char *name, struct part_file *file,
                            const struct part_info *info, const char *reason)
{
    struct why why = WHY_NONE;
    struct part_info fresh = *info;
    char object[64];
    fresh.tables = NULL;
    fresh.id = d->manifest.next_part_id++;
    fresh.rows = 0;
    enum err err = file ? doctor_salvage_part(file, d->catalog, d->parts, &fresh, &why) : ERR_OK;
    if (err == ERR_NO_MEMORY) return err;
    if (err) fresh.rows = 0;
    snprintf(object, sizeof object, "parts/%s", name);
    uint64_t rows = fresh.rows;
    if (rows && (err = keep(d, &fresh))) return err;
    d->changed = true;
    if ((err = os_put_aside(d->os, d->folder, d->parts, name, name, false, reason, &why)))
        tell(d, DOCTOR_DAMAGED, object, "", "cannot be moved aside: %s", why_text(&why, err));
    else
        tell(d, DOCTOR_REPAIRED, object, "what is lost comes back from a backup only",
             "moved to quarantine/; %" PRIu64 " of its rows are in a new part", rows);
    return ERR_OK;
}

static enum err check_part(struct doctor *d, const char *name, struct part_info *listed)
{
    char path[4200], object[64];
    struct part_file file;
    struct part_findings found = {0};
    struct why why = WHY_NONE;
    snprintf(path, sizeof path, "%s/%s", d->parts, name);
    snprintf(object, sizeof object, "parts/%s", name);
    enum err err = part_file_open(d->os, path, NULL, &file, &why);
    if (err == ERR_NOT_FOUND) {
        tell(d, DOCTOR_DAMAGED, object, "take it from a backup",
             "the file is missing: %" PRIu64 " rows are lost", listed->rows);
        d->changed = true;
        mem_free(listed->tables);
        return ERR_OK;
    }
    bool opened = !err;
    if (opened) err = doctor_read_part(&file, &found);
    if (err == ERR_NO_MEMORY) return err;
    bool differs = opened && listed->rows &&
                   (file.info.rows != listed->rows || file.info.version != listed->version ||
                    file.info.origin != listed->origin);
    if (opened && !found.bad && !differs) {
        tell(d, DOCTOR_OK, object, "", "%" PRIu64 " rows, %u series, %u columns", found.rows,
             found.runs, found.columns);
        part_file_close(&file);
        return keep(d, listed);
    }
    char reason[512];
    snprintf(reason, sizeof reason, "%s",
             !opened     ? why_text(&why, err)
             : found.bad ? found.first
                         : "it is not the part that the manifest means");
    tell(d, DOCTOR_DAMAGED, object,
         d->repair ? "" : "doctor --repair keeps what is readable; the rest is in a backup only",
         "%u places; first: %s; %" PRIu64 " rows are readable", found.bad ? found.bad : 1, reason,
         found.rows);
    if (d->repair)
        err = repair_part(d, name, opened ? &file : NULL, listed, reason);
    else
        err = keep(d, listed);
    if (opened) part_file_close(&file);
    if (d->repair) mem_free(listed->tables);
    return err;
}

static enum err check_listed(struct doctor *d)
{
    struct manifest *m = &d->manifest;
    enum err err = ERR_OK;
    for (size_t i = 0; i < m->part_count && !err; i++) {
        char name[32];
        snprintf(name, sizeof name, "%016" PRIx64 ".part", m->parts[i].id);
        err = check_part(d, name, &m->parts[i]);
        m->parts[i].tables = NULL; /* its fate is decided */
    }
    return err;
}

/* ---- what lies about ---- */

static void leftover(struct doctor *d, const char *object, const char *text)
{
    char path[4200];
    struct why why = WHY_NONE;
    snprintf(path, sizeof path, "%s/%s", d->folder, object);
    enum err err = d->repair ? d->os->ops->path_remove(d->os, path, &why) : ERR_BUSY;
    tell(d, err ? DOCTOR_LEFTOVER : DOCTOR_REPAIRED, object,
         err ? "the next start or doctor --repair removes it" : "", "%s%s", text,
         err ? "" : "; removed");
}

static bool ends_with(const char *name, const char *ending)
{
    size_t size = strlen(name), end = strlen(ending);
    return size > end && strcmp(name + size - end, ending) == 0;
}

static enum err look_at_part(void *arg, const char *name)
{
    struct doctor *d = arg;
    uint64_t id;
    char object[300];
    snprintf(object, sizeof object, "parts/%.200s", name);
    if (!store_file_number(name, ".part", &id)) {
        leftover(d, object, "a part that was being written");
        return ERR_OK;
    }
    for (size_t i = 0; i < d->manifest.part_count; i++)
        if (d->manifest.parts[i].id == id) return ERR_OK;
    for (size_t i = 0; i < d->live_count; i++) /* made just now */
        if (d->live[i]->info.id == id) return ERR_OK;
    if (!d->manifest_bad) {
        leftover(d, object, "a part that the manifest does not name");
        return ERR_OK;
    }
    struct part_file file;
    struct part_info info = {.id = id};
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", d->parts, name);
    if (part_file_open(d->os, path, NULL, &file, NULL) == ERR_OK) {
        info = file.info;
        info.table_count = file.table_count;
        if (part_file_tables(&file, &info.tables, NULL)) info.table_count = 0;
        part_file_close(&file);
    }
    d->changed = true;
    return check_part(d, name, &info);
}

/* Everything that a data folder may hold. */
static const char *const names[] = {"meta",
                                    "meta.copy",
                                    "manifest",
                                    "lock",
                                    "access",
                                    "admin.token",
                                    "server.txt",
                                    "resources.db",
                                    "tls-cert.pem",
                                    "tls-key.pem",
                                    "audit",
                                    "log",
                                    "mqtt",
                                    "parts",
                                    "quarantine",
                                    "sinks",
                                    "resources.db-wal",
                                    "resources.db-journal"};

static enum err look_at_name(void *arg, const char *name)
{
    struct doctor *d = arg;
    char current[32];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) return ERR_OK;
    catalog_snapshot_name(current, d->manifest.checkpoint.catalog_seq);
    if (strcmp(name, current) == 0) return ERR_OK;
    if (ends_with(name, ".new"))
        leftover(d, name, "a file that was being written");
    else if (strncmp(name, "catalog.", 8) == 0)
        leftover(d, name, "an older snapshot of the catalogue");
    else if (strcmp(name, "resources.copy") == 0)
        leftover(d, name, "what the last backup took along");
    else
        tell(d, DOCTOR_NOTE, name, "", "no file of a node; nothing reads it");
    return ERR_OK;
}

/* ---- the whole ---- */

static enum err write_manifest(struct doctor *d, struct why *why)
{
    struct manifest *m = &d->manifest;
    m->damaged = m->missing = m->unsure = false;
    manifest_checkpoint(m, &m->checkpoint);
    enum err err = manifest_commit(m, d->live, d->live_count, why);
    if (!err) tell(d, DOCTOR_REPAIRED, "manifest", "", "written anew: %zu parts", d->live_count);
    return err;
}

static enum err examine(struct doctor *d, struct why *why)
{
    check_meta(d);
    enum err err = check_manifest(d, why);
    if (!err) err = check_catalog(d);
    if (!err) err = check_log(d);
    if (!err) err = check_listed(d);
    enum err listed = err ? err : d->os->ops->path_list(d->os, d->parts, look_at_part, d, why);
    if (!err && listed != ERR_NOT_FOUND) err = listed;
    if (!err && d->manifest.missing && d->live_count)
        tell(d, DOCTOR_DAMAGED, "manifest", "doctor --repair writes it anew from the parts",
             "it is missing, and there are %zu parts", d->live_count);
    if (!err && d->live_count && !d->of_origin)
        tell(d, DOCTOR_DAMAGED, "meta", "take this file from a backup of the node",
             "its origin is that of none of the %zu parts", d->live_count);
    if (!err && d->repair &&
        (d->changed || d->manifest.damaged || (d->manifest.unsure && d->live_count)))
        err = write_manifest(d, why);
    /* Snapshots that a lost manifest may mean stay. */
    if (!err && (!d->manifest_bad || d->repair))
        err = d->os->ops->path_list(d->os, d->folder, look_at_name, d, why);
    return err;
}

static enum err take_lock(struct os *os, const char *folder, struct os_file **lock, struct why *why)
{
    char path[4000];
    struct os_path_info info;
    *lock = NULL;
    enum err err = os->ops->path_info(os, folder, &info, why);
    if (err) return err;
    snprintf(path, sizeof path, "%s/lock", folder);
    if (os->ops->file_open(os, path, OS_FILE_WRITE, lock, NULL)) return ERR_OK; /* never started */
    err = os->ops->file_lock(*lock, why);
    if (err) why_set(why, err, "a node runs on %s; stop it first (or ask it: SHOW HEALTH)", folder);
    return err;
}

enum err store_doctor(struct os *os, const char *folder, bool repair,
                      const struct doctor_sink *sink, struct why *why)
{
    struct os_file *lock = NULL;
    struct doctor *d = mem_alloc_zero(1, sizeof *d);
    enum err err = d ? take_lock(os, folder, &lock, why) : ERR_NO_MEMORY;
    if (!err) {
        d->os = os;
        d->folder = folder;
        d->repair = repair;
        d->sink = sink;
        snprintf(d->parts, sizeof d->parts, "%s/parts", folder);
        err = examine(d, why);
        manifest_close(&d->manifest);
        if (d->catalog) catalog_free(d->catalog);
        mem_free(d->catalog);
        for (size_t i = 0; i < d->live_count; i++) part_release(d->live[i]);
        mem_free(d->live);
    }
    if (lock) os->ops->file_close(lock);
    mem_free(d);
    return err;
}
