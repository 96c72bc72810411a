/* persist.c - see persist.h.
 *
 * SQLite writes ahead (WAL): one sync per commit where a rollback journal takes three or four. The
 * one connection holds the database exclusively, so that no shared memory is needed and all of it
 * goes through `struct os` (sqlite_vfs.h). */
#include "resource/persist.h"
#include "resource/sqlite_vfs.h"
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static const char component[] = "resources";
enum { DATABASE_FORMAT = 1 };

struct persist {
    struct context *context;
    struct loop loop;
    struct sqlite_vfs *vfs;
    sqlite3 *db;
    sqlite3_stmt *put, *remove;
    struct persist_change *first, *last; /* of this round */
    bool suspect;                        /* a transaction failed: the database is opened anew */
    char path[4000];
};

static enum err failed(struct persist *p, struct why *why, const char *what)
{
    int code = p->db ? sqlite3_errcode(p->db) & 0xff : SQLITE_CANTOPEN;
    enum err err = code == SQLITE_FULL                               ? ERR_DISK_FULL
                   : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? ERR_CORRUPT
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

/* ---- opening the database ---- */

static enum err make_tables(struct persist *p, struct why *why)
{
    enum err err = run_sql(p, "PRAGMA journal_mode=WAL", why);
    if (err) return err;
    return run_sql(
        p,
        "BEGIN IMMEDIATE;"
        "CREATE TABLE IF NOT EXISTS resource (kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,"
        " version INTEGER NOT NULL, generation INTEGER NOT NULL, created INTEGER NOT NULL, uid TEXT NOT NULL,"
        " document TEXT NOT NULL, PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID;"
        "PRAGMA user_version=1; COMMIT",
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
    if (format == DATABASE_FORMAT) return ERR_OK;
    if (format == 0) return make_tables(p, why);
    return why_set(
        why, ERR_FORMAT,
        "%s has format %d, this version reads format %d; move the data folder away to start "
        "afresh, or run the version that wrote it",
        p->path, format, DATABASE_FORMAT);
}

static enum err prepare(struct persist *p, struct why *why)
{
    static const char put[] =
        "INSERT OR REPLACE INTO resource VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    static const char remove[] =
        "DELETE FROM resource WHERE kind = ?1 AND namespace = ?2 AND name = ?3";
    if (sqlite3_prepare_v2(p->db, put, -1, &p->put, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(p->db, remove, -1, &p->remove, NULL) == SQLITE_OK)
        return ERR_OK;
    return failed(p, why, "cannot be prepared");
}

static enum err open_database(struct persist *p, struct why *why)
{
    enum err err = ERR_OK;
    if (sqlite3_open_v2(p->path, &p->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        sqlite_vfs_name(p->vfs)) != SQLITE_OK)
        err = failed(p, why, "cannot be opened");
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

/* A transaction that failed may be found in the log all the same when it is read again. So it is
 * read again before the next one, which then knows what it builds on: else a document could come
 * back whose removal was acknowledged because it did not seem to be there. */
static enum err reopen_suspect(struct persist *p, struct why *why)
{
    if (!p->suspect) return ERR_OK;
    close_database(p);
    enum err err = open_database(p, why);
    p->suspect = err != ERR_OK;
    return err;
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

enum err persist_check(struct os *os, const char *folder, char text[256], struct why *why)
{
    struct persist p = {0};
    struct os_path_info info;
    sqlite3_stmt *s = NULL;
    text[0] = 0;
    snprintf(p.path, sizeof p.path, "%s/resources.db", folder);
    enum err err = os->ops->path_info(os, p.path, &info, why);
    if (!err) err = sqlite_vfs_new(os, &p.vfs);
    if (err) return err;
    if (sqlite3_open_v2(p.path, &p.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        sqlite_vfs_name(p.vfs)) != SQLITE_OK)
        err = failed(&p, why, "cannot be opened");
    if (!err) err = run_sql(&p, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY", why);
    if (!err && (sqlite3_prepare_v2(p.db, "PRAGMA integrity_check(1)", -1, &s, NULL) != SQLITE_OK ||
                 sqlite3_step(s) != SQLITE_ROW))
        err = failed(&p, why, "cannot be read");
    if (!err) (void)str_copy(text, 256, str_of((const char *)sqlite3_column_text(s, 0)));
    sqlite3_finalize(s);
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
    struct str text = {(const char *)sqlite3_column_text(s, 4), (size_t)sqlite3_column_bytes(s, 4)};
    enum err err = doc_read_json(text, &arena, &doc, &why);
    if (!err) err = resource_read(doc, "", &r, &problems, &why);
    if (!err && (err = resource_take_owner(r, doc))) resource_release(r);
    if (!err) {
        r->version = (uint64_t)sqlite3_column_int64(s, 0);
        r->generation = (uint64_t)sqlite3_column_int64(s, 1);
        r->created_ns = sqlite3_column_int64(s, 2);
        (void)str_copy(r->uid, sizeof r->uid, str_of((const char *)sqlite3_column_text(s, 3)));
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
        err = ERR_OK;
    }
    arena_free(&arena);
    return err;
}

static enum err restore(struct persist *p, struct registry *registry, struct why *why)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(
            p->db,
            "SELECT version, generation, created, uid, document FROM resource ORDER BY version", -1,
            &s, NULL) != SQLITE_OK)
        return failed(p, why, "cannot be read");
    enum err err = ERR_OK;
    int result;
    while (!err && (result = sqlite3_step(s)) == SQLITE_ROW) err = restore_one(p, registry, s);
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

void persist_close(struct persist *p)
{
    if (!p) return;
    loop_stop(&p->loop);
    close_database(p);
    sqlite_vfs_free(p->vfs);
    mem_free(p);
}
