/* persist.c - see persist.h.
 *
 * SQLite writes ahead (WAL): one sync per commit where a rollback journal takes three or four. The
 * one connection holds the database exclusively, so that no shared memory is needed and all of it
 * goes through `struct os` (sqlite_vfs.h).
 *
 * SQLite's pages carry no checksums and these documents say who may do what. So each row carries a
 * sum of its own, the structure is checked when the database is opened, and the log before
 * (wal_check.h). A row that is not as it was written is left out and told: whoever had rights by it
 * has none. */
#include "resource/persist.h"
#include "base/hash.h"
#include "resource/sqlite_vfs.h"
#include "resource/wal_check.h"
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static const char component[] = "resources";
enum { DATABASE_FORMAT = 2 }; /* 1: rows without a sum */
#define QUIET_NS ((int64_t)2000000000)

struct persist {
    struct context *context;
    struct loop loop;
    struct sqlite_vfs *vfs;
    sqlite3 *db;
    sqlite3_stmt *put, *remove;
    struct persist_change *first, *last; /* of this round */
    bool suspect;                        /* a transaction failed: the database is opened anew */
    bool left_out;                       /* a row that is not as it was written */
    bool closing;                        /* no timer is made any more */
    struct os_timer *quiet;              /* runs since the last commit; NULL: none could be made */
    char path[4000];
};

/* Our statements are right: a table or column that SQLite does not find was one before. */
static bool is_not_ours(const struct persist *p)
{
    const char *text = sqlite3_errmsg(p->db);
    return strncmp(text, "no such ", 8) == 0 || strcmp(text, "unsupported file format") == 0;
}

static enum err failed(struct persist *p, struct why *why, const char *what)
{
    int code = p->db ? sqlite3_errcode(p->db) & 0xff : SQLITE_CANTOPEN;
    enum err err = code == SQLITE_FULL                               ? ERR_DISK_FULL
                   : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? ERR_CORRUPT
                   : code == SQLITE_ERROR && is_not_ours(p)          ? ERR_CORRUPT
                   : code == SQLITE_NOMEM                            ? ERR_NO_MEMORY
                                                                     : ERR_IO;
    const char *cause = sqlite_vfs_last_error(p->vfs);
    bool has_cause = cause[0] && (err == ERR_IO || err == ERR_DISK_FULL);
    return why_set(
        why, err, "%s: %s: %s%s%s%s", p->path, what,
        p->db ? sqlite3_errmsg(p->db) : "cannot be opened", has_cause ? ": " : "",
        has_cause ? cause : "",
        err == ERR_CORRUPT
            ? "; restore it from a backup, or move it away to start without API documents"
            : "");
}

static enum err run_sql(struct persist *p, const char *sql, struct why *why)
{
    return sqlite3_exec(p->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? ERR_OK
               : failed(p, why, "statement failed");
}

/* ---- sums ---- */

/* row_sum(kind, namespace, name, version, generation, created, uid, document) in SQL. */
static void row_sum(sqlite3_context *call, int count, sqlite3_value **values)
{
    uint32_t sum = 0;
    for (int i = 0; i < count; i++) {
        const void *text = sqlite3_value_text(values[i]); /* NULL for NULL: as no text */
        sum = hash_crc32c(sum, text ? text : "", (size_t)sqlite3_value_bytes(values[i]));
        sum = hash_crc32c(sum, "", 1); /* between two texts */
    }
    sqlite3_result_int64(call, sum);
}

#define ROW_SUM "row_sum(kind, namespace, name, version, generation, created, uid, document)"

static enum err know_sums(struct persist *p, struct why *why)
{
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC;
    return sqlite3_create_function(p->db, "row_sum", 8, flags, NULL, row_sum, NULL, NULL) ==
                   SQLITE_OK
               ? ERR_OK
               : failed(p, why, "cannot be opened");
}

/* ---- opening the database ---- */

/* What SQLite itself finds wrong with the pages, one line of it; "ok": nothing. */
/* A column's text, "" of NULL. False: there was no memory for it. */
static bool column_text(sqlite3_stmt *s, int column, struct str *text)
{
    const char *at = (const char *)sqlite3_column_text(s, column);
    bool failed = !at && sqlite3_errcode(sqlite3_db_handle(s)) == SQLITE_NOMEM;
    *text = at ? (struct str){at, (size_t)sqlite3_column_bytes(s, column)} : STR("");
    return !failed;
}

static enum err check_structure(struct persist *p, char text[256], struct why *why)
{
    sqlite3_stmt *s = NULL;
    enum err err = ERR_OK;
    struct str said;
    if (sqlite3_prepare_v2(p->db, "PRAGMA integrity_check(1)", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW && column_text(s, 0, &said))
        (void)str_copy(text, 256, said);
    else
        err = failed(p, why, "cannot be read");
    sqlite3_finalize(s);
    return err;
}

static enum err must_be_sound(struct persist *p, struct why *why)
{
    char text[256];
    enum err err = check_structure(p, text, why);
    if (err || strcmp(text, "ok") == 0) return err;
    return why_set(why, ERR_CORRUPT,
                   "%s is damaged: %s; restore it from a backup, or move it away to start without "
                   "API documents",
                   p->path, text);
}

static enum err make_tables(struct persist *p, struct why *why)
{
    enum err err = run_sql(p, "PRAGMA journal_mode=WAL", why);
    if (err) return err;
    return run_sql(
        p,
        "BEGIN IMMEDIATE;"
        "CREATE TABLE IF NOT EXISTS resource (kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,"
        " version INTEGER NOT NULL, generation INTEGER NOT NULL, created INTEGER NOT NULL, uid TEXT NOT NULL,"
        " document TEXT NOT NULL, sum INTEGER, PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID;"
        "PRAGMA user_version=2; COMMIT",
        why);
}

static enum err add_sums(struct persist *p, struct why *why)
{
    return run_sql(p,
                   "BEGIN IMMEDIATE; ALTER TABLE resource ADD COLUMN sum INTEGER;"
                   "UPDATE resource SET sum = " ROW_SUM "; PRAGMA user_version=2; COMMIT",
                   why);
}

/* A database that is as it should be is not written to: a node starts on a full disk. */
static enum err check_format(struct persist *p, struct why *why)
{
    sqlite3_stmt *s = NULL;
    int format = -1;
    enum err err = run_sql(p,
                           "PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY;"
                           "PRAGMA synchronous=FULL; PRAGMA cache_size=-512",
                           why);
    if (err) return err;
    if (sqlite3_prepare_v2(p->db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        format = sqlite3_column_int(s, 0);
    if (format < 0) err = failed(p, why, "cannot be read");
    sqlite3_finalize(s);
    if (err) return err;
    if (format == 0) return make_tables(p, why);
    if (format == DATABASE_FORMAT || format == 1) err = must_be_sound(p, why);
    if (err || format == DATABASE_FORMAT) return err;
    if (format == 1) return add_sums(p, why);
    return why_set(
        why, ERR_FORMAT,
        "%s has format %d, this version reads format %d; move the data folder away to start "
        "afresh, or run the version that wrote it",
        p->path, format, DATABASE_FORMAT);
}

static enum err prepare(struct persist *p, struct why *why)
{
    static const char put[] =
        "INSERT OR REPLACE INTO resource VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
        "row_sum(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8))";
    static const char remove[] =
        "DELETE FROM resource WHERE kind = ?1 AND namespace = ?2 AND name = ?3";
    if (sqlite3_prepare_v2(p->db, put, -1, &p->put, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(p->db, remove, -1, &p->remove, NULL) == SQLITE_OK)
        return ERR_OK;
    return failed(p, why, "cannot be prepared");
}

static enum err open_database(struct persist *p, struct why *why)
{
    bool mended;
    enum err err = wal_check(p->context->os, p->path, &mended, why);
    if (mended)
        diag(p->context, DIAG_WARNING, component,
             "%s-wal: a flipped bit of its header was put right", p->path);
    if (!err && sqlite3_open_v2(p->path, &p->db,
                                SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                                sqlite_vfs_name(p->vfs)) != SQLITE_OK)
        err = failed(p, why, "cannot be opened");
    if (!err) err = know_sums(p, why);
    if (!err) err = check_format(p, why);
    return err ? err : prepare(p, why);
}

static void close_database(struct persist *p)
{
    sqlite3_finalize(p->put);
    sqlite3_finalize(p->remove);
    int result = sqlite3_close(p->db);
    MUST(result == SQLITE_OK); /* a statement was left open */
    p->put = p->remove = NULL;
    p->db = NULL;
}

/* ---- writing (the module's task) ---- */

static bool bind_key(sqlite3_stmt *s, const struct resource *r)
{
    const char *kind = resource_kinds[r->kind].name;
    return sqlite3_bind_text(s, 1, kind, -1, SQLITE_STATIC) == SQLITE_OK &&
           sqlite3_bind_text(s, 2, r->ns.at ? r->ns.at : "", (int)r->ns.size, SQLITE_STATIC) ==
               SQLITE_OK &&
           sqlite3_bind_text(s, 3, r->name.at, (int)r->name.size, SQLITE_STATIC) == SQLITE_OK;
}

static enum err step(struct persist *p, sqlite3_stmt *s, bool bound, struct why *why)
{
    enum err err = bound && sqlite3_step(s) == SQLITE_DONE
                       ? ERR_OK
                       : failed(p, why, "a document cannot be stored");
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return err;
}

static enum err write_one(struct persist *p, const struct persist_change *change, struct why *why)
{
    const struct resource *r = change->resource;
    if (change->remove) return step(p, p->remove, bind_key(p->remove, r), why);
    struct buf text = BUF_EMPTY;
    bool bound = resource_write_stored(&text, r) && bind_key(p->put, r) &&
                 sqlite3_bind_int64(p->put, 4, (sqlite3_int64)r->version) == SQLITE_OK &&
                 sqlite3_bind_int64(p->put, 5, (sqlite3_int64)r->generation) == SQLITE_OK &&
                 sqlite3_bind_int64(p->put, 6, r->created_ns) == SQLITE_OK &&
                 sqlite3_bind_text(p->put, 7, r->uid, -1, SQLITE_STATIC) == SQLITE_OK &&
                 sqlite3_bind_text(p->put, 8, text.at, (int)text.size, SQLITE_STATIC) == SQLITE_OK;
    enum err err = step(p, p->put, bound, why);
    buf_free(&text);
    return err;
}

/* Empties the log into the database, where each row has a sum. */
static enum err empty_log(struct persist *p, struct why *why)
{
    return run_sql(p, "PRAGMA wal_checkpoint(TRUNCATE)", why);
}

/* A transaction that failed may be found in the log all the same when it is read again. So it is
 * read again before the next one, which then knows what it builds on: else a document could come
 * back whose removal was acknowledged because it did not seem to be there. And the log is emptied:
 * what a failed sync covered may be gone after a power loss, and with it all that follows. */
static enum err reopen_suspect(struct persist *p, struct why *why)
{
    if (!p->suspect) return ERR_OK;
    close_database(p);
    enum err err = open_database(p, why);
    if (!err) err = empty_log(p, why);
    p->suspect = err != ERR_OK;
    return err;
}

/* Nothing was written for a while. A failure costs nothing: the log stays. */
static void on_quiet(void *arg)
{
    struct persist *p = arg;
    if (!p->suspect) (void)empty_log(p, NULL);
}

static void wait_for_quiet(struct persist *p)
{
    const struct os_ops *ops = p->context->os->ops;
    if (p->closing) return; /* SQLite does it when the database is closed */
    if (!p->quiet && ops->timer_make(p->loop.task, on_quiet, p, &p->quiet)) p->quiet = NULL;
    if (p->quiet) ops->timer_set(p->quiet, QUIET_NS);
}

static void after_jobs(void *arg)
{
    struct persist *p = arg;
    struct persist_change *change = p->first, *next;
    struct why why = WHY_NONE;
    if (!change) return;
    p->first = p->last = NULL;
    enum err err = reopen_suspect(p, &why);
    if (!err) err = run_sql(p, "BEGIN IMMEDIATE", &why);
    for (struct persist_change *c = change; c && !err; c = c->next) err = write_one(p, c, &why);
    if (!err) err = run_sql(p, "COMMIT", &why);
    if (err) {
        (void)sqlite3_exec(p->db, "ROLLBACK", NULL, NULL,
                           NULL); /* the first error is the one to tell */
        p->suspect = true;
    }
    if (!err) wait_for_quiet(p);
    for (; change; change = next) {
        next = change->next;
        completion_finish(&change->completion, err, &why);
    }
}

static void run_change(struct job *job)
{
    struct persist_change *change =
        (struct persist_change *)(void *)((char *)job - offsetof(struct persist_change, job));
    struct persist *p = change->persist;
    change->next = NULL;
    if (p->last)
        p->last->next = change;
    else
        p->first = change;
    p->last = change;
}

void persist_submit(struct persist *persist, struct persist_change *change)
{
    MUST(change->resource && change->completion.done);
    change->persist = persist;
    change->job.run = run_change;
    loop_post(&persist->loop, &change->job);
}

/* ---- copying ---- */

static enum err copy_pages(struct persist *p, sqlite3 *to, struct why *why)
{
    int result = sqlite3_exec(to,
                              "PRAGMA journal_mode=OFF; PRAGMA temp_store=MEMORY;"
                              "PRAGMA locking_mode=EXCLUSIVE",
                              NULL, NULL, NULL);
    sqlite3_backup *backup =
        result == SQLITE_OK ? sqlite3_backup_init(to, "main", p->db, "main") : NULL;
    if (backup) {
        (void)sqlite3_backup_step(backup, -1); /* finish tells */
        result = sqlite3_backup_finish(backup);
    } else if (result == SQLITE_OK) {
        result = sqlite3_errcode(to);
    }
    if (result == SQLITE_OK) return ERR_OK;
    enum err err = (result & 0xff) == SQLITE_FULL    ? ERR_DISK_FULL
                   : (result & 0xff) == SQLITE_NOMEM ? ERR_NO_MEMORY
                                                     : ERR_IO;
    return why_set(why, err, "%s: cannot be copied: %s", p->path, sqlite3_errmsg(to));
}

static void run_copy(struct job *job)
{
    struct persist_copy *copy =
        (struct persist_copy *)(void *)((char *)job - offsetof(struct persist_copy, job));
    struct persist *p = copy->persist;
    struct os *os = p->context->os;
    struct why why = WHY_NONE;
    sqlite3 *to = NULL;
    enum err err = reopen_suspect(p, &why);
    if (!err) (void)os->ops->path_remove(os, copy->path, NULL); /* of an earlier one */
    if (!err && sqlite3_open_v2(copy->path, &to,
                                SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                                sqlite_vfs_name(p->vfs)) != SQLITE_OK)
        err = why_set(&why, ERR_IO, "%s: cannot be made", copy->path);
    if (!err) err = copy_pages(p, to, &why);
    (void)sqlite3_close(to); /* nothing of it is open */
    completion_finish(&copy->completion, err, &why);
}

void persist_copy(struct persist *persist, struct persist_copy *copy)
{
    MUST(copy->path && copy->completion.done);
    copy->persist = persist;
    copy->job.run = run_copy;
    loop_post(&persist->loop, &copy->job);
}

/* ---- checking ---- */

/* A database of format 1 has no sums. */
static bool has_sums(struct persist *p)
{
    sqlite3_stmt *s = NULL;
    bool has = sqlite3_prepare_v2(p->db, "SELECT sum FROM resource", -1, &s, NULL) == SQLITE_OK;
    sqlite3_finalize(s);
    return has;
}

/* Rows that are not as they were written: names the first, or takes all of them out. */
static enum err check_sums(struct persist *p, bool repair, char text[256], struct why *why)
{
    static const char find[] =
        "SELECT kind, namespace, name FROM resource WHERE sum IS NOT " ROW_SUM;
    sqlite3_stmt *s = NULL;
    enum err err = ERR_OK;
    if (!has_sums(p)) return ERR_OK;
    if (sqlite3_prepare_v2(p->db, find, -1, &s, NULL) != SQLITE_OK)
        err = failed(p, why, "cannot be read");
    bool found = !err && sqlite3_step(s) == SQLITE_ROW;
    if (found) {
        struct str name[3];
        for (int i = 0; i < 3; i++) (void)column_text(s, i, &name[i]); /* "": it is found anyhow */
        snprintf(text, 256, "the document %.*s %.*s%s%.*s is not as it was written",
                 (int)name[0].size, name[0].at, (int)name[1].size, name[1].at,
                 name[1].size ? "/" : "", (int)name[2].size, name[2].at);
    }
    sqlite3_finalize(s);
    if (!err && found && repair)
        err = run_sql(p, "DELETE FROM resource WHERE sum IS NOT " ROW_SUM, why);
    return err;
}

enum err persist_check(struct os *os, const char *folder, bool repair, char text[256],
                       struct why *why)
{
    struct persist p = {0};
    struct os_path_info info;
    bool mended;
    text[0] = 0;
    snprintf(p.path, sizeof p.path, "%s/resources.db", folder);
    enum err err = os->ops->path_info(os, p.path, &info, why);
    if (!err)
        err =
            wal_check(os, p.path, &mended, why); /* else SQLite would tidy up what is left of it */
    if (!err) err = sqlite_vfs_new(os, &p.vfs);
    if (err) return err;
    if (sqlite3_open_v2(p.path, &p.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        sqlite_vfs_name(p.vfs)) != SQLITE_OK)
        err = failed(&p, why, "cannot be opened");
    if (!err) err = run_sql(&p, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY", why);
    if (!err) err = know_sums(&p, why);
    if (!err) err = check_structure(&p, text, why);
    if (!err && strcmp(text, "ok") == 0) err = check_sums(&p, repair, text, why);
    (void)sqlite3_close(p.db); /* nothing of it is open */
    sqlite_vfs_free(p.vfs);
    return err;
}

/* ---- opening ---- */

static enum err restore_one(struct persist *p, struct registry *registry, sqlite3_stmt *s)
{
    struct arena arena;
    struct problems problems;
    struct doc *doc = NULL;
    struct resource *r = NULL;
    struct why why = WHY_NONE;
    arena_init(&arena, NULL);
    problems_init(&problems, &arena);
    struct str text, uid;
    bool has_memory = column_text(s, 3, &uid) && column_text(s, 4, &text);
    enum err err = has_memory ? doc_read_json(text, &arena, &doc, &why) : ERR_NO_MEMORY;
    if (!err) err = resource_read(doc, "", &r, &problems, &why);
    if (!err && (err = resource_take_owner(r, doc))) resource_release(r);
    if (!err) {
        r->version = (uint64_t)sqlite3_column_int64(s, 0);
        r->generation = (uint64_t)sqlite3_column_int64(s, 1);
        r->created_ns = sqlite3_column_int64(s, 2);
        (void)str_copy(r->uid, sizeof r->uid, uid);
        r->is_stored = true;
        struct resource *held = registry_get(registry, r->kind, r->ns, r->name);
        if (held && held->owner == OWNER_FILE) { /* the file's document stands in front */
            registry_adopt(registry, held, r);
            resource_release(r);
        } else {
            err = registry_restore(registry, r);
        }
    } else if (err != ERR_NO_MEMORY) {
        diag(p->context, DIAG_ERROR, component,
             "a stored document cannot be read and is left out: %s", why_text(&why, err));
        p->left_out = true;
        err = ERR_OK;
    }
    arena_free(&arena);
    return err;
}

/* A document that nobody can vouch for gives no rights and collects nothing. */
static void leave_out(struct persist *p, sqlite3_stmt *s)
{
    struct str name[3];
    for (int i = 0; i < 3; i++) (void)column_text(s, 6 + i, &name[i]);
    diag(
        p->context, DIAG_ERROR, component,
        "the document %.*s %.*s%s%.*s is not as it was written and is left out; apply it again, or "
        "restore resources.db from a backup",
        (int)name[0].size, name[0].at, (int)name[1].size, name[1].at, name[1].size ? "/" : "",
        (int)name[2].size, name[2].at);
    p->left_out = true;
}

static enum err restore(struct persist *p, struct registry *registry, struct why *why)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(p->db,
                           "SELECT version, generation, created, uid, document, sum IS " ROW_SUM
                           ", kind, namespace, name FROM resource ORDER BY version",
                           -1, &s, NULL) != SQLITE_OK)
        return failed(p, why, "cannot be read");
    enum err err = ERR_OK;
    int result;
    while (!err && (result = sqlite3_step(s)) == SQLITE_ROW) {
        if (sqlite3_column_int(s, 5))
            err = restore_one(p, registry, s);
        else
            leave_out(p, s);
    }
    if (!err && result != SQLITE_DONE) err = failed(p, why, "cannot be read");
    sqlite3_finalize(s);
    return err;
}

enum err persist_open(struct context *context, const char *folder, struct registry *registry,
                      struct persist **out, struct why *why)
{
    struct persist *p = mem_alloc_zero(1, sizeof *p);
    if (!p) return ERR_NO_MEMORY;
    p->context = context;
    snprintf(p->path, sizeof p->path, "%s/resources.db", folder);
    enum err err = sqlite_vfs_new(context->os, &p->vfs);
    if (!err) err = open_database(p, why);
    /* What the last life did not sync is nothing to build on; a full disk may take it later. */
    if (!err) p->suspect = empty_log(p, NULL) != ERR_OK;
    if (!err) err = restore(p, registry, why);
    if (!err) err = loop_start(&p->loop, context->os, "resources", OS_TASK_BLOCKING, why);
    if (err) {
        persist_close(p);
        return err;
    }
    p->loop.after_jobs = after_jobs;
    p->loop.after_arg = p;
    *out = p;
    return ERR_OK;
}

bool persist_left_out(const struct persist *persist)
{
    return persist->left_out;
}

/* A timer is closed where it was made. */
struct quit {
    struct job job;
    struct persist *persist;
};

static void run_quit(struct job *job)
{
    struct persist *p = ((struct quit *)job)->persist;
    if (p->quiet) p->context->os->ops->timer_close(p->quiet);
    p->quiet = NULL;
    p->closing = true;
}

void persist_close(struct persist *p)
{
    if (!p) return;
    struct quit quit = {.job.run = run_quit, .persist = p};
    if (p->loop.task) loop_post(&p->loop, &quit.job);
    loop_stop(&p->loop);
    close_database(p);
    sqlite_vfs_free(p->vfs);
    mem_free(p);
}
