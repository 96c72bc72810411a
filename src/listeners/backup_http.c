/* backup_http.c - POST and GET /v1/backup: a running node makes its own backup.
 *
 * Who may change the Node may ask for one; the audit log shows it before anything is written. Then
 * the registry's task copies its database into the data folder (resources.copy), the broker writes
 * its state (mqtt/copy.h), and the store makes the backup (store.h): when that has its position,
 * the broker's state is cut there, and both copies are taken along with the files of long queues.
 * The request is answered when the backup has begun: how far it is and how it ended is asked with
 * GET, so that a slow disk keeps nobody's connection.
 *
 * Everything here runs on the main loop but where it says so. The object outlives the store, whose
 * closing ends a backup under way. */
#include "base/num.h"
#include "base/timetext.h"
#include "listeners/api.h"
#include "mqtt/copy.h"
#include "resource/persist.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { KEEP_MAX = 10000 };

struct backups {
    struct service *service;
    struct store_backup op;
    struct persist_copy copy;
    struct broker_copy broker;
    struct job pinned;
    struct store_backup_extra *extras; /* of the backup that runs */
    bool has_broker;                   /* its copy is to be ended */
    struct completion audited;
    struct http_exchange *exchange; /* of who asked, until it is answered */
    bool running, ended;            /* ended: op holds the last one's result */
    enum err err;
    struct why why;
    unsigned keep;
    uint64_t bytes_per_s;
    char to[3900], resources[4000];
};

enum err backups_start(struct service *service, const char *folder, struct backups **out)
{
    struct backups *b = *out = mem_alloc_zero(1, sizeof *b);
    if (!b) return ERR_NO_MEMORY;
    b->service = service;
    snprintf(b->resources, sizeof b->resources, "%s/resources.copy", folder);
    return ERR_OK;
}

void backups_free(struct backups *b)
{
    MUST(!b || !b->running);
    mem_free(b);
}

/* ---- the answer ---- */

static void add_state(struct buf *out, struct backups *b)
{
    struct store_backup *op = &b->op;
    const char *state = b->running ? "running" : !b->ended ? "none" : b->err ? "failed" : "done";
    buf_printf(out, "{\"state\":\"%s\"", state);
    if (b->running || b->ended) {
        buf_add_text(out, ",\"to\":");
        buf_add_json(out, str_of(b->to));
        buf_printf(out, ",\"doneBytes\":%" PRIu64 ",\"totalBytes\":%" PRIu64,
                   atomic_load(&op->done_bytes), atomic_load(&op->total_bytes));
    }
    if (!b->running && b->ended && b->err) {
        buf_printf(out, ",\"code\":\"%s\",\"error\":", err_name(b->err));
        buf_add_json(out, str_of(why_text(&b->why, b->err)));
    } else if (!b->running && b->ended) {
        buf_printf(out,
                   ",\"name\":\"%s\",\"position\":%" PRIu64
                   ",\"parts\":%zu,\"copied\":%zu,\"bytes\":%" PRIu64 ",\"taken\":\"",
                   op->name, op->position, op->parts, op->parts_copied, op->size_bytes);
        buf_add_time(out, op->taken_ns);
        buf_add_char(out, '"');
    }
    buf_add_char(out, '}');
}

static void answer(struct backups *b, struct http_exchange *exchange, int status)
{
    struct buf out = BUF_EMPTY;
    add_state(&out, b);
    http_reply_buf(exchange, status, "application/json", &out);
    buf_free(&out);
}

static void end(struct backups *b, enum err err, const struct why *why)
{
    struct context *context = b->service->context;
    if (b->has_broker && b->service->broker) broker_copy_end(b->service->broker);
    b->has_broker = false;
    mem_free(b->extras);
    b->extras = NULL;
    b->running = false;
    b->ended = true;
    b->err = err;
    b->why = *why;
    if (err)
        diag(context, DIAG_ERROR, "backup", "to %s failed: %s", b->to, why_text(why, err));
    else
        diag(context, DIAG_INFO, "backup", "%s in %s: %zu parts, %zu of them new", b->op.name,
             b->to, b->op.parts, b->op.parts_copied);
}

/* ---- steps ---- */

static void on_stored(struct completion *c)
{
    struct store_backup *op = (struct store_backup *)c;
    struct backups *b = (struct backups *)(void *)((char *)op - offsetof(struct backups, op));
    end(b, c->err, &c->why);
}

/* What of the broker is taken along: its state, and queue files as long as that says. */
static enum err list_extras(struct backups *b, size_t *count)
{
    const struct broker_copy *copy = &b->broker;
    *count = copy->file_count + 1;
    b->extras = mem_alloc_zero(*count, sizeof *b->extras);
    if (!b->extras) return ERR_NO_MEMORY;
    b->extras[0] = (struct store_backup_extra){
        .name = "mqtt/state", .path = BROKER_COPY_STATE, .bytes = UINT64_MAX};
    for (size_t i = 0; i < copy->file_count; i++) {
        struct store_backup_extra *e = &b->extras[i + 1];
        snprintf(e->name, sizeof e->name, "mqtt/queues/%016" PRIx64, copy->files[i].number);
        memcpy(e->path, e->name, sizeof e->name);
        e->bytes = copy->files[i].bytes;
        e->is_shared = true;
    }
    return ERR_OK;
}

static void on_cut(struct completion *c)
{
    struct broker_copy *copy = (struct broker_copy *)c;
    struct backups *b = (struct backups *)(void *)((char *)copy - offsetof(struct backups, broker));
    size_t count = 0;
    enum err err = c->err ? c->err : list_extras(b, &count);
    store_backup_go_on(&b->op, b->extras, count, err, &c->why);
}

static void run_pinned(struct job *job)
{
    struct backups *b = (struct backups *)(void *)((char *)job - offsetof(struct backups, pinned));
    if (!b->service->broker) {
        store_backup_go_on(&b->op, NULL, 0, ERR_CANCELLED, NULL);
        return;
    }
    b->broker.up_to = b->op.position;
    completion_init(&b->broker.completion, b->service->context->main, on_cut);
    broker_copy_cut(&b->broker);
}

static void on_pinned(struct store_backup *op) /* the backup's task */
{
    struct backups *b = (struct backups *)(void *)((char *)op - offsetof(struct backups, op));
    b->pinned.run = run_pinned;
    loop_post(b->service->context->main, &b->pinned);
}

static void on_broker_written(struct completion *c)
{
    struct broker_copy *copy = (struct broker_copy *)c;
    struct backups *b = (struct backups *)(void *)((char *)copy - offsetof(struct backups, broker));
    enum err err = c->err ? c->err : b->service->stopping ? ERR_CANCELLED : ERR_OK;
    b->has_broker = !c->err;
    if (err) {
        end(b, err, &c->why);
        return;
    }
    b->op.pinned = on_pinned;
    b->op.folder = b->to;
    b->op.resources = b->resources;
    b->op.keep = b->keep;
    b->op.bytes_per_s = b->bytes_per_s;
    completion_init(&b->op.completion, b->service->context->main, on_stored);
    store_backup(b->service->store, &b->op);
}

static void on_copied(struct completion *c)
{
    struct persist_copy *copy = (struct persist_copy *)c;
    struct backups *b = (struct backups *)(void *)((char *)copy - offsetof(struct backups, copy));
    bool is_over = b->service->stopping || !b->service->broker;
    enum err err = c->err ? c->err : is_over ? ERR_CANCELLED : ERR_OK;
    if (err) {
        end(b, err, &c->why);
        return;
    }
    completion_init(&b->broker.completion, b->service->context->main, on_broker_written);
    broker_copy_begin(b->service->broker, &b->broker);
}

static void on_audited(struct completion *c)
{
    struct backups *b = (struct backups *)(void *)((char *)c - offsetof(struct backups, audited));
    enum err err = c->err ? c->err : b->service->stopping ? ERR_CANCELLED : ERR_OK;
    if (err) {
        end(b, err, &c->why);
        http_reply_error(b->exchange, err, &c->why);
        return;
    }
    answer(b, b->exchange, 202);
    b->copy.path = b->resources;
    completion_init(&b->copy.completion, b->service->context->main, on_copied);
    persist_copy(b->service->persist, &b->copy);
}

static enum err take_number(const struct doc *doc, const char *key, uint64_t most, uint64_t *value,
                            struct why *why)
{
    const struct doc *given = doc_get(doc, key);
    *value = 0;
    if (!given || (num_parse_u64(given->text, value) && *value <= most)) return ERR_OK;
    return why_set(why, ERR_INVALID, "%s must be a whole number up to %" PRIu64, key, most);
}

static enum err check_right(struct http_exchange *exchange, struct service *service,
                            struct why *why)
{
    return access_check(api_identity(exchange), VERB_UPDATE, "Node", STR(""),
                        str_of(service->node_document), STR(""), why);
}

static enum err read_request(struct http_exchange *exchange, struct backups *b, struct why *why)
{
    struct doc *doc = NULL;
    uint64_t keep = 0, rate = 0;
    enum err err = check_right(exchange, b->service, why);
    if (!err && b->running) err = why_set(why, ERR_BUSY, "a backup to %s is under way", b->to);
    if (!err) err = doc_read_json(http_request_of(exchange)->body, http_arena(exchange), &doc, why);
    struct str to = doc_text(doc_get(doc, "to"));
    if (!err && (!to.size || to.at[0] != '/' || memchr(to.at, 0, to.size)))
        err = why_set(why, ERR_INVALID,
                      "to must be the path of a folder on the node's machine, from /");
    if (!err) err = take_number(doc, "keep", KEEP_MAX, &keep, why);
    if (!err) err = take_number(doc, "bytesPerSecond", UINT64_MAX / 2, &rate, why);
    if (!err && to.size >= sizeof b->to) err = why_set(why, ERR_LIMIT, "to is too long");
    if (err) return err; /* a backup that is under way, or its result, stays as it is */
    (void)str_copy(b->to, sizeof b->to, to);
    b->keep = (unsigned)keep;
    b->bytes_per_s = rate;
    return ERR_OK;
}

void api_backup_begin(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct backups *b = service->backups;
    struct why why = WHY_NONE;
    enum err err = read_request(exchange, b, &why);
    if (err) {
        http_reply_error(exchange, err, &why);
        return;
    }
    struct audit_entry entry = {.user = str_of(api_identity(exchange)->user),
                                .verb = STR("update"),
                                .kind = STR("Node"),
                                .path = str_of(service->node_document),
                                .detail = str_of(b->to),
                                .outcome = STR("backup begun")};
    b->running = true;
    b->exchange = exchange;
    memset(&b->op, 0, sizeof b->op);
    completion_init(&b->audited, service->context->main, on_audited);
    audit_append_durable(service->audit, &entry, &b->audited);
}

void api_backup_show(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct why why = WHY_NONE;
    enum err err = check_right(exchange, service, &why);
    if (err)
        http_reply_error(exchange, err, &why);
    else
        answer(service->backups, exchange, 200);
}
