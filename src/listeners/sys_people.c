/* sys_people.c - sys.audit and sys.sessions: who did what, and who is here.
 *
 * The audit log is for who may get the kind Audit: of the built-in roles that is admin; own roles
 * name it in `kinds`. It is read from its end while the rows are asked for, so `LIMIT 100` costs
 * one block of the file, and memory is one line's. Whose own sessions these are sees them; those of
 * others are for who may list users. */
#include "access/audit.h"
#include "base/timetext.h"
#include "listeners/sessions.h"
#include "listeners/sys_priv.h"
#include "resource/doc.h"

enum { STATEMENT_BYTES_MAX = 4096 }; /* of a statement that is shown */

/* ---- sys.audit ---- */

struct audit_cursor {
    struct audit_reader *reader; /* NULL: not begun */
    size_t at;                   /* rows given by it */
};

size_t sys_count_audit(const void *snapshot)
{
    return ((const struct sys_snapshot *)snapshot)->audit ? SIZE_MAX : 0;
}

/* Puts the reader before line n: scans go forward, and one that begins anew reads anew. */
static enum err seek(struct sys_snapshot *s, size_t n, struct row_out *out)
{
    struct audit_cursor *c = s->audit;
    struct audit_line line;
    enum err err = ERR_OK;
    if (c->reader && c->at <= n)
        err = ERR_OK;
    else {
        audit_reader_free(c->reader);
        c->reader = NULL;
        c->at = 0;
        err = audit_reader_new(s->service->audit, &c->reader);
    }
    for (; !err && c->at < n && audit_reader_next(c->reader, &line, &err, out->why); c->at++) {
    }
    return err;
}

/* A line's fields; one that cannot be read any more shows its text as the detail. */
static void put_line(struct row_out *out, const struct audit_line *line)
{
    static const char *const names[] = {"user", "verb", "kind", "ns", "path", "detail", "outcome"};
    struct doc *doc = NULL;
    int64_t time_ns = 0;
    struct str text = {arena_strdup(out->arena, line->text.at, line->text.size), line->text.size};
    if (!text.at) {
        out->no_memory = true;
        text.size = 0;
    }
    if (doc_read_json(text, out->arena, &doc, NULL)) doc = NULL;
    if (!doc || !time_parse(doc_text(doc_get(doc, "time")), &time_ns)) time_ns = 0;
    if (line->seq)
        put_count(out, line->seq);
    else
        put_null(out);
    put_time(out, time_ns);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bool is_detail = str_is(STR("detail"), names[i]);
        put_text(out, doc ? doc_text(doc_get(doc, names[i])) : is_detail ? text : STR(""));
    }
    put_bool(out, line->is_whole);
}

void sys_write_audit(const void *snapshot, size_t n, struct row_out *out)
{
    struct sys_snapshot *s = (struct sys_snapshot *)(uintptr_t)snapshot;
    struct audit_line line;
    MUST(s->audit);
    enum err err = seek(s, n, out);
    bool is_there = !err && audit_reader_next(s->audit->reader, &line, &err, out->why);
    if (is_there) s->audit->at++;
    if (is_there)
        put_line(out, &line);
    else
        out->is_end = true;
    out->err = err;
}

const struct list_column sys_columns_audit[] = {
    {"seq", TYPE_BIGINT, ""},
    {"time", TYPE_TIMESTAMP, ""},
    {"user", TYPE_TEXT, ""},
    {"verb", TYPE_TEXT, ""},
    {"kind", TYPE_TEXT, ""},
    {"namespace", TYPE_TEXT, ""},
    {"path", TYPE_TEXT, ""},
    {"detail", TYPE_TEXT, ""},
    {"outcome", TYPE_TEXT, ""},
    {"is_whole", TYPE_BOOL, ""},
    {0},
};

/* ---- sys.sessions ---- */

struct sys_session {
    const char *kind, *user, *address, *ns, *statement; /* of the snapshot's arena */
    int64_t since_ns, statement_ns;
};

size_t sys_count_sessions(const void *snapshot)
{
    return ((const struct sys_snapshot *)snapshot)->session_count;
}

static void put_or_null(struct row_out *out, const char *text)
{
    if (text[0])
        put_text(out, str_of(text));
    else
        put_null(out);
}

void sys_write_sessions(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    MUST(n < s->session_count);
    const struct sys_session *row = &s->sessions[n];
    put_text(out, str_of(row->kind));
    put_text(out, str_of(row->user));
    put_or_null(out, row->address);
    put_or_null(out, row->ns);
    put_time(out, row->since_ns);
    put_or_null(out, row->statement);
    put_time(out, row->statement_ns);
}

const struct list_column sys_columns_sessions[] = {
    {"kind", TYPE_TEXT, ""},
    {"user", TYPE_TEXT, ""},
    {"address", TYPE_TEXT, ""},
    {"namespace", TYPE_TEXT, ""},
    {"since", TYPE_TIMESTAMP, ""},
    {"statement", TYPE_TEXT, ""},
    {"statement_since", TYPE_TIMESTAMP, ""},
    {0},
};

/* ---- the snapshot ---- */

static const char *keep_text(struct sys_snapshot *s, struct str text)
{
    if (text.size > STATEMENT_BYTES_MAX) {
        text.size = STATEMENT_BYTES_MAX;
        while (text.size && ((uint8_t)text.at[text.size] & 0xc0) == 0x80) text.size--; /* UTF-8 */
    }
    return text.size ? arena_strdup(&s->arena, text.at, text.size) : "";
}

static enum err add_session(struct sys_snapshot *s, size_t *capacity, const char *kind,
                            int64_t since_ns, const struct session_row *row)
{
    enum err err = mem_grow(&s->sessions, capacity, s->session_count + 1, sizeof *s->sessions);
    if (err) return err;
    struct sys_session *kept = &s->sessions[s->session_count];
    *kept = (struct sys_session){.kind = kind,
                                 .user = keep_text(s, row->user),
                                 .address = keep_text(s, row->address),
                                 .ns = keep_text(s, row->ns),
                                 .statement = keep_text(s, row->statement),
                                 .since_ns = since_ns,
                                 .statement_ns = row->statement_ns};
    if (!kept->user || !kept->address || !kept->ns || !kept->statement) return ERR_NO_MEMORY;
    s->session_count++;
    return ERR_OK;
}

static enum err take_sessions(struct sys_snapshot *s)
{
    struct service *service = s->service;
    size_t capacity = 0, at = 0;
    struct access_session login;
    enum err err = ERR_OK;
    struct str mine = str_of(s->identity->user);
    bool sees_all =
        access_scope(s->identity, VERB_LIST, "User", (struct str){0}, STR("")) == ACCESS_ALL;
    for (const struct session *o = service->sessions; o && !err; o = o->next) {
        struct session_row row = {0};
        o->describe(o, &row);
        if (sees_all || str_equal(row.user, mine))
            err = add_session(s, &capacity, o->kind, o->since_ns, &row);
    }
    while (!err && access_session_next(service->access, &at, &login)) {
        struct session_row row = {.user = str_of(login.user)};
        if (sees_all || str_equal(row.user, mine))
            err = add_session(s, &capacity, "login", login.since_ns, &row);
    }
    return err;
}

enum err sys_take_people(struct sys_snapshot *s)
{
    bool sees_audit =
        access_check(s->identity, VERB_GET, "Audit", STR(""), STR(""), STR(""), NULL) == ERR_OK;
    if (sees_audit && s->service->audit && sys_mentions(s, "audit")) {
        s->audit = mem_alloc_zero(1, sizeof *s->audit);
        if (!s->audit) return ERR_NO_MEMORY;
    }
    return sys_mentions(s, "sessions") ? take_sessions(s) : ERR_OK;
}

void sys_free_people(struct sys_snapshot *s)
{
    if (s->audit) audit_reader_free(s->audit->reader);
    mem_free(s->audit);
    mem_free(s->sessions);
}
