/* node.c - see node.h.
 *
 * Parts are started in the order of the list below and stopped in reverse; a part that fails to
 * start stops those before it. The order is: what can refuse (data folder, passwords) first,
 * equipment before the listeners, so that whoever connects finds everything there. The workers come
 * after all that their jobs touch, because stopping them waits for their jobs. Once they are
 * stopped nothing new is begun (service.stopping), and the audit log's queue is drained: a change
 * that waits for its line is refused while the queue that it stands in still exists. */
#include "base/timetext.h"
#include "listeners/api.h"
#include "listeners/bridges.h"
#include "listeners/identities.h"
#include "listeners/live.h"
#include "listeners/resources.h"
#include "listeners/status.h"
#include "listeners/streams.h"
#include "node/manifests.h"
#include "node/node_priv.h"
#include "resource/persist.h"
#include "sinks/sinks.h"
#include <stdio.h>
#include <string.h>

enum {
    HEAD_SHARE_PERCENT = 43, /* of the memory budget; a tenth is for compaction */
    SPANS_SHARE_PERCENT = 5,
    STATEMENTS_SHARE_PERCENT = 30,
    IN_FLIGHT_SHARE_PERCENT = 12,
    ROWS_SHARE_PERCENT = 75, /* head, rows under way and bodies of requests together */
    STATEMENT_SECONDS = 60,
    HELPER_ROWS = 300000, /* some milliseconds of work */
};

/* ---- parts ---- */

typedef enum err start_part(struct node *node, struct why *why);
typedef void stop_part(struct node *node);

/* The main loop's jobs, and those that they bring about. */
static void run_all_jobs(struct node *node)
{
    while (atomic_load(&node->main.incoming)) loop_run_jobs(&node->main);
}

enum { STATEMENTS_MIN = 4 }; /* at a time, however few the cores: a long one must not hold up all */

static enum err start_workers(struct node *node, struct why *why)
{
    struct context *context = &node->context;
    unsigned cores = context->os->ops->processor_count(context->os);
    enum err err = pool_start(&context->workers, context->os, "worker",
                              cores > STATEMENTS_MIN ? cores : STATEMENTS_MIN, why);
    if (err) return err;
    err = pool_start(&context->intake, context->os, "intake", cores > 2 ? cores / 2 : 1, why);
    if (!err) return ERR_OK;
    pool_stop(context->workers);
    context->workers = NULL;
    return err;
}

/* Stopped behind the listeners and before the workers: who waits is told that the node stops, and
 * nobody waits any more. */
static enum err start_room(struct node *node, struct why *why)
{
    (void)why;
    room_init(&node->room, &node->context, &node->main, &node->in_flight,
              "rows on their way to the log");
    node->service.room = &node->room;
    return ERR_OK;
}

static void stop_room(struct node *node)
{
    room_close(&node->room);
}

/* Nobody asks any more; what still comes from the workers is not begun. */
static void stop_workers(struct node *node)
{
    node->service.stopping = true;
    struct pool *intake = node->context.intake, *workers = node->context.workers;
    node->context.intake = node->context.workers = NULL;
    pool_stop(intake);
    pool_stop(workers);
}

/* ---- the broker's state, which the store's log is a part of ---- */

static enum err start_broker(struct node *node, struct why *why)
{
    return broker_new(&node->context, &node->options->config->mqtt.broker, node->folder,
                      &node->broker, why);
}

static void stop_broker(struct node *node)
{
    broker_free(node->broker);
}

static enum err replay_note(void *arg, uint64_t seq, struct str body, struct why *why)
{
    return broker_replay(((struct node *)arg)->broker, seq, body, why);
}

static void save_notes(void *arg) /* log task */
{
    broker_save(((struct node *)arg)->broker);
}

static enum err start_store(struct node *node, struct why *why)
{
    struct store_config config = {
        .folder = node->folder,
        .head_limit_bytes = node->context.memory.limit_bytes / 100 * HEAD_SHARE_PERCENT,
        .span_cache_bytes = node->context.memory.limit_bytes / 100 * SPANS_SHARE_PERCENT,
        .notes = {.arg = node, .replay = replay_note, .save = save_notes},
        .rollup_rows_min = node->options->config->rollup_rows,
    };
    enum err err = backups_start(&node->service, node->folder, &node->service.backups);
    if (!err) err = store_open(&node->context, &config, &node->service.store, why);
    if (err) backups_free(node->service.backups);
    return err;
}

/* The live view ends with the store: the log task tells it of batches until then. */
static void stop_store(struct node *node)
{
    store_close(node->service.store);
    run_all_jobs(node); /* its last answers, to the tables too */
    backups_free(node->service.backups);
    node_tables_free(node->tables);
    node->tables = NULL;
    live_stop(node->service.live);
}

static enum err start_live(struct node *node, struct why *why)
{
    return live_start(&node->service, &node->service.live, why);
}

static void stop_live(struct node *node)
{
    (void)node; /* stop_store does */
}

static enum err start_access(struct node *node, struct why *why)
{
    return access_open(&node->context, node->folder, node->options->admin_password,
                       node->new_password, &node->service.access, why);
}

static void stop_access(struct node *node)
{
    access_close(node->service.access);
}

static enum err start_jwt(struct node *node, struct why *why)
{
    enum err err = jwt_login_start(&node->service, &node->jwt, why);
    if (!err) node_set_jwt(node, &node->options->config->access);
    return err;
}

static void stop_jwt(struct node *node)
{
    jwt_login_stop(node->jwt);
    node->jwt = NULL;
}

static enum err start_audit(struct node *node, struct why *why)
{
    char folder[4000];
    snprintf(folder, sizeof folder, "%s/audit", node->folder);
    return audit_open(&node->context, folder, 0, &node->service.audit, why);
}

static enum err start_answers(struct node *node, struct why *why)
{
    (void)why;
    MUST(node->service.audit);
    return ERR_OK;
}

/* Those who wait for the audit log are answered while the parts that they belong to are there. */
static void stop_answers(struct node *node)
{
    node->service.stopping = true;
    audit_drain(node->service.audit);
}

static void stop_audit(struct node *node)
{
    audit_close(node->service.audit);
    node->service.audit = NULL;
}

static enum err start_registry(struct node *node, struct why *why)
{
    const struct node_options *options = node->options;
    node->service.registry = registry_new(node->context.os);
    if (!node->service.registry) return ERR_NO_MEMORY;
    return manifests_read(&node->service, node->service.registry, options->manifests,
                          options->manifest_count, why);
}

static void stop_registry(struct node *node)
{
    registry_free(node->service.registry);
}

/* After the manifests: a document of the API with the name of a file's gives way to the file's. */
static enum err start_persist(struct node *node, struct why *why)
{
    enum err err = persist_open(&node->context, node->folder, node->service.registry,
                                &node->service.persist, why);
    if (!err) manifests_settle(&node->service, node->options->prune);
    return err;
}

static void stop_persist(struct node *node)
{
    persist_close(node->service.persist);
}

static enum err start_resources(struct node *node, struct why *why)
{
    return resources_start(&node->service, &node->service.resources, why);
}

static void stop_resources(struct node *node)
{
    resources_stop(node->service.resources);
}

static enum err start_tables(struct node *node, struct why *why)
{
    enum err err = node_tables_start(&node->service, &node->tables, why);
    node->service.node = node->tables;
    node->service.change_table = node_tables_change;
    node->service.check_table = node_tables_check;
    node->service.settle_tables = node_tables_settle;
    node->service.publish_tables = node_tables_publish;
    return err;
}

static void stop_tables(struct node *node)
{
    node_tables_stop(node->tables);
}

static enum err start_identities(struct node *node, struct why *why)
{
    return identities_start(&node->service, node->options->admin_password,
                            &node->service.identities, why);
}

static void stop_identities(struct node *node)
{
    identities_stop(node->service.identities);
    node->service.identities = NULL;
}

static enum err start_status(struct node *node, struct why *why)
{
    return status_start(&node->service, &node->service.status, why);
}

static void stop_status(struct node *node)
{
    status_stop(node->service.status);
    node->service.status = NULL;
}

static enum err start_streams(struct node *node, struct why *why)
{
    return streams_start(&node->service, &node->service.streams, why);
}

static void stop_streams(struct node *node)
{
    streams_stop(node->service.streams);
    node->service.streams = NULL;
}

static enum err start_bridges(struct node *node, struct why *why)
{
    return bridges_start(&node->service, &node->options->config->mqtt.external,
                         &node->service.bridges, why);
}

static void stop_bridges(struct node *node)
{
    bridges_stop(node->service.bridges);
    node->service.bridges = NULL;
}

/* Sinks have messages with the broker when they are stopped: those are answered at the latest when
 * that stops, so what they lie in goes behind it. */
static enum err make_sinks(struct node *node, struct why *why)
{
    struct sinks_config config = {.context = &node->context,
                                  .store = node->service.store,
                                  .registry = node->service.registry,
                                  .broker = node->broker,
                                  .folder = node->folder};
    return sinks_new(&config, &node->service.sinks, why);
}

static void free_sinks(struct node *node)
{
    sinks_free(node->service.sinks);
    node->service.sinks = NULL;
}

static enum err start_sinks(struct node *node, struct why *why)
{
    (void)why;
    sinks_start(node->service.sinks);
    return ERR_OK;
}

static void stop_sinks(struct node *node)
{
    sinks_stop(node->service.sinks);
}

static const struct {
    const char *name;
    start_part *start;
    stop_part *stop;
} parts[] = {
    {"broker's state", start_broker, stop_broker},
    {"store", start_store, stop_store},
    {"live view", start_live, stop_live},
    {"access", start_access, stop_access},
    {"tokens of another issuer", start_jwt, stop_jwt},
    {"audit log", start_audit, stop_audit},
    {"resources", start_registry, stop_registry},
    {"resource API", start_resources, stop_resources},
    {"resource database", start_persist, stop_persist}, /* answers to the API until it is closed */
    {"tables", start_tables, stop_tables},
    {"identities", start_identities, stop_identities},
    {"answers of the audit log", start_answers, stop_answers},
    {"collect", node_collect_start, node_collect_stop},
    {"workers", start_workers, stop_workers},
    {"room", start_room, stop_room},
    {"certificates", node_certificates_start, node_certificates_stop},
    {"http", node_http_start, node_http_stop},
    {"https", node_https_start, node_https_stop},
    {"postgres", node_postgres_start, node_postgres_stop},
    {"line", node_line_start, node_line_stop},
    {"memory of sinks", make_sinks, free_sinks},
    {"mqtt", node_mqtt_start, node_mqtt_stop},
    {"bridges", start_bridges, stop_bridges},
    {"streams", start_streams, stop_streams}, /* before the first connection is accepted */
    {"sinks", start_sinks, stop_sinks},
    {"coap", node_coap_start, node_coap_stop},
    {"status", start_status, stop_status},
};
enum { PART_COUNT = sizeof parts / sizeof parts[0] };

/* ---- the whole ---- */

static enum err set_up(struct node *node, struct why *why)
{
    const struct node_config *config = node->options->config;
    if (!str_copy(node->folder, sizeof node->folder, config->data) || !node->folder[0])
        return why_set(why, ERR_INVALID,
                       "data: the path of the data folder is missing or too long");
    size_t memory = (size_t)config->memory_bytes;
    budget_init(&node->context.memory, "node", NULL, memory);
    budget_init(&node->statements, "statements", &node->context.memory,
                memory / 100 * STATEMENTS_SHARE_PERCENT);
    node->service.context = &node->context;
    budget_init(&node->context.rows, "rows", &node->context.memory,
                memory / 100 * ROWS_SHARE_PERCENT);
    budget_init(&node->in_flight, "in flight", &node->context.rows,
                memory / 100 * IN_FLIGHT_SHARE_PERCENT);
    node->service.statements = &node->statements;
    node->service.in_flight = &node->in_flight;
    node->service.statement_limit_bytes = node->statements.limit_bytes / 2;
    node->service.statement_limit_ns = STATEMENT_SECONDS * TIME_NS_PER_S;
    node->service.helper_rows = HELPER_ROWS;
    node->service.node_name = config->node.name;
    node->service.node_path = config->node.path;
    node->context.drivers_folder = config->drivers;
    return ERR_OK;
}

enum err node_check(struct os *os, const struct node_options *options, struct why *why)
{
    struct node *node = mem_alloc_zero(1, sizeof *node);
    if (!node) return ERR_NO_MEMORY;
    node->options = options;
    node->context.os = os;
    enum err err = set_up(node, why);
    if (!err) err = start_registry(node, why);
    stop_registry(node);
    mem_free(node);
    return err;
}

static void on_settled(struct completion *c)
{
    struct node *node = (void *)((char *)c - offsetof(struct node, settled));
    node->context.os->ops->memory_trim(node->context.os); /* what reading the log needed */
    node->service.ready = !node->service.stopping;
}

enum err node_start(struct os *os, struct os_task *main_task, const struct node_options *options,
                    struct node **out, struct why *why)
{
    struct node *node = mem_alloc_zero(1, sizeof *node);
    if (!node) return ERR_NO_MEMORY;
    *out = node; /* the task's wake finds it from here on */
    node->options = options;
    loop_adopt(&node->main, os, "main", main_task);
    node->context.os = os;
    node->context.main = &node->main;
    node->context.diag = diag_to_stderr;
    node->context.diag_json = options->diag_json;
    node->context.diag_level = options->diag_level;
    enum err err = set_up(node, why);
    for (; !err && node->started < PART_COUNT; node->started++)
        if ((err = parts[node->started].start(node, why))) break;
    if (err) {
        if (node->started < PART_COUNT) why_wrap(why, err, "%s", parts[node->started].name);
        node_stop(node);
        *out = NULL;
        return err;
    }
    node->service.started_ns = context_mono_ns(&node->context);
    completion_init(&node->settled, &node->main, on_settled);
    node_tables_settle(node->tables, &node->settled);
    node_announce(node);
    return ERR_OK;
}

void node_wake(struct node *node)
{
    if (node) loop_run_jobs(&node->main);
}

void node_stop(struct node *node)
{
    if (!node) return;
    node->service.ready = false;
    if (node->started < PART_COUNT && parts[node->started].start == start_registry)
        stop_registry(node);
    while (node->started > 0) {
        node->started--;
        /* Answers on their way to a part must arrive before it goes. */
        run_all_jobs(node);
        parts[node->started].stop(node);
        run_all_jobs(node);
    }
    mem_free(node);
}

struct service *node_service(struct node *node)
{
    return &node->service;
}
