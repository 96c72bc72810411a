/* node.c - see node.h.
 *
 * Parts are started in the order of the list below and stopped in reverse; a part that fails to
 * start stops those before it. The order is: what can refuse (data folder, passwords) first,
 * equipment before the listeners, so that whoever connects finds everything there. The workers come
 * after all that their jobs touch, because stopping them waits for their jobs. Once they are
 * stopped nothing new is begun (service.stopping), and the audit log's queue is drained: a change
 * that waits for its line is refused while the queue that it stands in still exists. */
#include "node/certificates.h"
#include "node/node.h"
#include "base/timetext.h"
#include "coap/gateway.h"
#include "listeners/api.h"
#include "listeners/bridges.h"
#include "listeners/identities.h"
#include "listeners/line_server.h"
#include "listeners/jwt_login.h"
#include "listeners/mqtt_server.h"
#include "net/psk.h"
#include "listeners/live.h"
#include "listeners/pg.h"
#include "listeners/resources.h"
#include "listeners/status.h"
#include "listeners/streams.h"
#include "sinks/sinks.h"
#include "node/manifests.h"
#include "resource/persist.h"
#include <stdio.h>
#include <string.h>

static const char component[] = "node";

enum {
    HEAD_SHARE_PERCENT = 43, /* of the memory budget; a tenth is for compaction */
    SPANS_SHARE_PERCENT = 5,
    STATEMENTS_SHARE_PERCENT = 30,
    IN_FLIGHT_SHARE_PERCENT = 12,
    ROWS_SHARE_PERCENT = 75, /* head, rows under way and bodies of requests together */
    EMIT_BATCHES_MAX = 1024, /* polled batches on their way to the log */
    STATEMENT_SECONDS = 60,
    HELPER_ROWS = 300000, /* some milliseconds of work */
};

struct node {
    struct context context;
    struct loop main;
    const struct node_options *options;
    struct service service;
    struct budget statements, in_flight;
    struct room room; /* of in_flight */
    struct node_tables *tables;
    struct http_server *http, *https;
    struct pg_server *postgres;
    struct line_server *line;
    struct broker *broker;
    struct mqtt_server *mqtt;
    struct coap_gateway *coap;
    struct jwt_login *jwt;
    struct tls_config *tls;
    uint32_t emitting; /* batches on their way */
    size_t started;    /* parts of the list that run */
    char folder[3900];
    struct os_address http_address, https_address, postgres_address, line_address, mqtt_address,
        mqtts_address;
    char new_password[64];
    struct completion settled; /* tables of manifests are there: ready */
};

/* ---- what the collector needs ---- */

struct emit_op {
    struct store_append append; /* first */
    struct node *node;
};

static struct schema *host_find_table(void *arg, struct str ns, struct str name)
{
    struct node *node = arg;
    /* A Device names the Table's document; the log knows it by its SQL name. */
    struct resource *table = registry_get(node->service.registry, KIND_TABLE, ns, name);
    char sql_name[SCHEMA_NAME_BYTES_MAX + 1];
    if (!table) return store_find_table(node->service.store, ns, name);
    table_sql_name(table, sql_name);
    return store_find_table(node->service.store, ns, str_of(sql_name));
}

static void on_emitted(struct completion *c)
{
    struct emit_op *op = (struct emit_op *)c;
    struct node *node = op->node;
    node->emitting--;
    if (c->err == ERR_CONFLICT) collect_look_up_tables(node->service.collect);
    if (c->err)
        diag(&node->context, DIAG_ERROR, component, "polled rows were not stored: %s",
             why_text(&c->why, c->err));
    mem_free(op);
}

/* Was the batch made for the table as it is now? */
static bool is_current(struct node *node, const struct batch *batch)
{
    struct schema *now = store_find_table(node->service.store, str_of(batch->schema->ns),
                                          str_of(batch->schema->name));
    bool same =
        now && now->table_id == batch->schema->table_id && now->revision == batch->schema->revision;
    schema_release(now);
    return same;
}

static enum err host_emit(void *arg, struct batch *batch)
{
    struct node *node = arg;
    if (!is_current(node, batch)) {
        batch_release(batch);
        return ERR_CONFLICT;
    }
    struct emit_op *op = node->emitting < EMIT_BATCHES_MAX ? mem_alloc_zero(1, sizeof *op) : NULL;
    if (!op) {
        batch_release(batch);
        return ERR_BUSY;
    }
    op->node = node;
    op->append.batch = batch;
    op->append.ack = STORE_ACK_APPLIED;
    completion_init(&op->append.completion, &node->main, on_emitted);
    node->emitting++;
    store_append(node->service.store, &op->append);
    return ERR_OK;
}

static void host_audit(void *arg, const char *user, const char *device, const char *point,
                       const char *value, const char *reason, const char *outcome)
{
    struct node *node = arg;
    char detail[1024];
    snprintf(detail, sizeof detail, "%s = %s: %s", point, value, reason);
    struct audit_entry entry = {.user = str_of(user),
                                .verb = STR("write-point"),
                                .kind = STR("Device"),
                                .path = str_of(device),
                                .detail = str_of(detail),
                                .outcome = str_of(outcome)};
    enum err err = audit_append(node->service.audit, &entry);
    if (err) diag(&node->context, DIAG_ERROR, component, "audit log: %s", err_text(err));
}

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

static void follow_jwt(struct node *node, const struct access_settings *settings)
{
    struct why why = WHY_NONE;
    struct jwk_fetch_config from = {.url = settings->jwks,
                                    .ca_file = settings->jwks_ca,
                                    .refresh_ns = settings->jwks_refresh_ns};
    enum err err = jwt_login_follow(node->jwt, &settings->jwt, &from, &why);
    if (err)
        diag(&node->context, DIAG_ERROR, component,
             "access.jwt.jwks: %.*s: %s; tokens of that issuer let nobody in",
             (int)settings->jwks.size, settings->jwks.at, why_text(&why, err));
}

/* A file that is missing or damaged lets nobody in, and is told: the node runs all the same. */
static void set_jwt(struct node *node, const struct access_settings *settings)
{
    if (access_jwks_is_url(settings->jwks)) {
        follow_jwt(node, settings);
        return;
    }
    struct arena arena;
    struct str keys = STR("");
    struct why why = WHY_NONE;
    char path[4096];
    enum err err = ERR_OK;
    arena_init(&arena, NULL);
    if (settings->jwks.size)
        err = str_copy(path, sizeof path, settings->jwks)
                  ? node_read_file(node->context.os, path, &arena, &keys, &why)
                  : ERR_LIMIT;
    enum err set = jwt_login_set(node->jwt, &settings->jwt, keys, err ? NULL : &why);
    if (err || set)
        diag(&node->context, DIAG_ERROR, component,
             "access.jwt.jwks: %.*s: %s; tokens of that issuer let nobody in",
             (int)settings->jwks.size, settings->jwks.size ? settings->jwks.at : "",
             why_text(&why, err ? err : set));
    arena_free(&arena);
}

static enum err start_jwt(struct node *node, struct why *why)
{
    enum err err = jwt_login_start(&node->service, &node->jwt, why);
    if (!err) set_jwt(node, &node->options->config->access);
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

static enum err start_collect(struct node *node, struct why *why)
{
    struct collect_host host = {host_find_table, host_emit, host_audit, node,
                                node->service.node_path};
    return collect_start(&node->context, node->service.registry, &host, &node->service.collect,
                         why);
}

static void stop_collect(struct node *node)
{
    collect_stop(node->service.collect);
    node->service.collect = NULL;
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

static enum err start_http_on(struct node *node, struct str where, struct tls_config *tls,
                              struct http_server **server, struct os_address *bound,
                              struct why *why)
{
    struct http_server_config config = {api_routes, api_guard, &node->service};
    struct os_address address;
    enum err err = os_address_tcp(where, &address, why);
    if (err) return err;
    return http_server_start(&node->context, &node->main, &address, tls, &config, server, bound,
                             why);
}

static enum err start_http(struct node *node, struct why *why)
{
    struct str where = node->options->config->listen.http;
    return where.size ? start_http_on(node, where, NULL, &node->http, &node->http_address, why)
                      : ERR_OK;
}

static void stop_http(struct node *node)
{
    if (node->http) http_server_stop(node->http);
}

/* For https, and for whoever asks for TLS at the PostgreSQL listener. */
static enum err start_certificates(struct node *node, struct why *why)
{
    const struct node_config *config = node->options->config;
    struct arena arena;
    bool line_asks = config->listen.line.size && config->tls.ca.size;
    if (!config->listen.https.size && !config->listen.postgres.size && !config->listen.mqtts.size &&
        !line_asks)
        return ERR_OK;
    arena_init(&arena, NULL);
    enum err err = certificates_read(&node->context, node->folder, config, &arena, &node->tls, why);
    arena_free(&arena);
    return err;
}

static void stop_certificates(struct node *node)
{
    if (node->tls) tls_config_release(node->tls);
    node->tls = NULL;
}

static enum err start_https(struct node *node, struct why *why)
{
    struct str where = node->options->config->listen.https;
    return where.size
               ? start_http_on(node, where, node->tls, &node->https, &node->https_address, why)
               : ERR_OK;
}

static void stop_https(struct node *node)
{
    if (node->https) http_server_stop(node->https);
}

static enum err start_postgres(struct node *node, struct why *why)
{
    struct str where = node->options->config->listen.postgres;
    struct os_address address;
    enum err err = where.size ? os_address_tcp(where, &address, why) : ERR_OK;
    if (err || !where.size) return err;
    bool tls_only = !os_address_is_loopback(&address) && !node->options->config->listen.insecure;
    return pg_server_start(&node->service, &address, node->tls, tls_only, &node->postgres,
                           &node->postgres_address, why);
}

static void stop_postgres(struct node *node)
{
    pg_server_stop(node->postgres);
}

static enum err start_line(struct node *node, struct why *why)
{
    struct str where = node->options->config->listen.line;
    struct os_address address;
    enum err err = where.size ? os_address_tcp(where, &address, why) : ERR_OK;
    if (err || !where.size) return err;
    struct tls_config *tls = os_address_is_loopback(&address) ? NULL : node->tls;
    return line_server_start(&node->service, &address, tls, &node->line, &node->line_address, why);
}

static void stop_line(struct node *node)
{
    line_server_stop(node->line);
}

/* Keys that can be read by others, are damaged or missing are none: that is told, and mqtts serves
 * those who log in otherwise. */
static enum err read_psk(struct node *node, struct str file, struct arena *arena,
                         struct tls_psk **psk, struct why *why)
{
    struct os *os = node->context.os;
    struct os_file *opened = NULL;
    struct str text;
    char path[4096];
    if (!str_copy(path, sizeof path, file)) return why_set(why, ERR_LIMIT, "the path is too long");
    enum err err = os->ops->file_open(os, path, 0, &opened, why);
    bool is_private = !err && os->ops->file_is_private(opened);
    if (!err) os->ops->file_close(opened);
    if (!err && !is_private)
        err = why_set(why, ERR_FORBIDDEN, "others can read it: chmod 600 %s", path);
    if (!err) err = node_read_file(os, path, arena, &text, why);
    return err ? err : tls_psk_read(text, psk, why);
}

/* Of mqtts and coaps. */
static void set_psk(struct node *node, struct str file)
{
    struct arena arena;
    struct tls_psk *psk = NULL;
    struct why why = WHY_NONE;
    arena_init(&arena, NULL);
    enum err err = file.size ? read_psk(node, file, &arena, &psk, &why) : ERR_OK;
    if (err)
        diag(&node->context, DIAG_ERROR, component,
             "mqtt.psk: %.*s: %s; no key opens mqtts or coaps", (int)file.size, file.at,
             why_text(&why, err));
    mqtt_server_set_psk(node->mqtt, psk);
    if (node->coap) coap_gateway_set_psk(node->coap, psk);
    tls_psk_release(psk);
    arena_free(&arena);
}

static enum err start_mqtt(struct node *node, struct why *why)
{
    const struct node_config *config = node->options->config;
    struct os_address plain, encrypted, local = {.kind = OS_ADDRESS_UNIX};
    struct mqtt_server_config c = {
        .tls = node->tls, .anonymous = config->mqtt.anonymous, .proxy = config->mqtt.proxy};
    enum err err = ERR_OK;
    if (config->listen.mqtt.size) {
        err = os_address_tcp(config->listen.mqtt, &plain, why);
        c.plain = &plain;
    }
    if (!err && config->listen.mqtts.size) {
        err = os_address_tcp(config->listen.mqtts, &encrypted, why);
        c.encrypted = &encrypted;
    }
    if (config->listen.mqtt_unix.size) {
        if (!err && !str_copy(local.host, sizeof local.host, config->listen.mqtt_unix))
            err = why_set(why, ERR_INVALID, "listen.mqttUnix: the path is too long");
        c.local = &local;
    }
    if (err) return err;
    err = mqtt_server_start(&node->service, node->broker, &c, &node->mqtt, &node->mqtt_address,
                            &node->mqtts_address, why);
    if (!err) set_psk(node, config->mqtt.psk);
    return err;
}

static void stop_mqtt(struct node *node)
{
    mqtt_server_stop(node->mqtt);
}

static enum err start_coap(struct node *node, struct why *why)
{
    const struct node_config *config = node->options->config;
    struct os_address plain, secure;
    struct coap_gateway_config c = {0};
    enum err err = ERR_OK;
    if (config->listen.coap.size) {
        err = os_address_tcp(config->listen.coap, &plain, why);
        c.plain = &plain;
    }
    if (!err && config->listen.coaps.size) {
        err = os_address_tcp(config->listen.coaps, &secure, why);
        c.secure = &secure;
    }
    if (err || !(c.plain || c.secure)) return err;
    err = coap_gateway_start(&node->context, node->broker, &c, &node->coap, why);
    if (!err) set_psk(node, config->mqtt.psk);
    return err;
}

static void stop_coap(struct node *node)
{
    coap_gateway_stop(node->coap);
    node->coap = NULL;
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
    {"collect", start_collect, stop_collect},
    {"workers", start_workers, stop_workers},
    {"room", start_room, stop_room},
    {"certificates", start_certificates, stop_certificates},
    {"http", start_http, stop_http},
    {"https", start_https, stop_https},
    {"postgres", start_postgres, stop_postgres},
    {"line", start_line, stop_line},
    {"memory of sinks", make_sinks, free_sinks},
    {"mqtt", start_mqtt, stop_mqtt},
    {"bridges", start_bridges, stop_bridges},
    {"streams", start_streams, stop_streams}, /* before the first connection is accepted */
    {"sinks", start_sinks, stop_sinks},
    {"coap", start_coap, stop_coap},
    {"status", start_status, stop_status},
};
enum { PART_COUNT = sizeof parts / sizeof parts[0] };

/* ---- the whole ---- */

/* server.txt: how the command line on this machine finds the node. */
static void write_server_file(struct node *node)
{
    struct os *os = node->context.os;
    char path[4096], text[OS_HOST_BYTES + 32], address[OS_HOST_BYTES + 8];
    struct os_file *file;
    snprintf(path, sizeof path, "%s/server.txt", node->folder);
    os_address_print(node->http ? &node->http_address : &node->https_address, address,
                     sizeof address);
    snprintf(text, sizeof text, "%s://%s\n", node->http ? "http" : "https", address);
    if (!node->http && !node->https) text[0] = 0;
    enum err err = os->ops->file_open(os, path, OS_FILE_WRITE | OS_FILE_CREATE, &file, NULL);
    if (!err) {
        err = os->ops->file_truncate(file, 0, NULL);
        if (!err) err = os->ops->file_write(file, 0, text, strlen(text), NULL);
        os->ops->file_close(file);
    }
    if (err)
        diag(&node->context, DIAG_WARNING, component,
             "%s cannot be written: the command line needs --server", path);
}

static void note_address(char *out, size_t out_bytes, const char *scheme,
                         const struct os_address *address)
{
    char text[OS_HOST_BYTES + 8];
    os_address_print(address, text, sizeof text);
    snprintf(out, out_bytes, "%s://%s", scheme, text);
}

static void announce(struct node *node)
{
    struct service *s = &node->service;
    if (node->http) note_address(s->http_url, sizeof s->http_url, "http", &node->http_address);
    if (node->https) note_address(s->https_url, sizeof s->https_url, "https", &node->https_address);
    if (node->http) diag(&node->context, DIAG_INFO, component, "listening on %s", s->http_url);
    if (node->https) diag(&node->context, DIAG_INFO, component, "listening on %s", s->https_url);
    char postgres[OS_HOST_BYTES + 8];
    os_address_print(&node->postgres_address, postgres, sizeof postgres);
    if (node->postgres)
        diag(&node->context, DIAG_INFO, component, "listening on postgresql://%s", postgres);
    char line[OS_HOST_BYTES + 8];
    os_address_print(&node->line_address, line, sizeof line);
    if (node->line) diag(&node->context, DIAG_INFO, component, "listening on line+tcp://%s", line);
    char mqtt[OS_HOST_BYTES + 8];
    os_address_print(&node->mqtt_address, mqtt, sizeof mqtt);
    if (node->mqtt_address.kind)
        diag(&node->context, DIAG_INFO, component, "listening on mqtt://%s", mqtt);
    os_address_print(&node->mqtts_address, mqtt, sizeof mqtt);
    if (node->mqtts_address.kind)
        diag(&node->context, DIAG_INFO, component, "listening on mqtts://%s", mqtt);
    struct str local = node->options->config->listen.mqtt_unix;
    if (local.size)
        diag(&node->context, DIAG_INFO, component, "listening on mqtt+unix://%.*s", (int)local.size,
             local.at);
    struct str coap = node->options->config->listen.coap,
               coaps = node->options->config->listen.coaps;
    if (coap.size)
        diag(&node->context, DIAG_INFO, component, "listening on coap://%.*s", (int)coap.size,
             coap.at);
    if (coaps.size)
        diag(&node->context, DIAG_INFO, component, "listening on coaps://%.*s", (int)coaps.size,
             coaps.at);
    if (node->new_password[0])
        diag(&node->context, DIAG_INFO, component,
             "first start: user admin, password %s (shown once)", node->new_password);
    memset(node->new_password, 0, sizeof node->new_password);
}

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
    write_server_file(node);
    announce(node);
    return ERR_OK;
}

void node_wake(struct node *node)
{
    if (node) loop_run_jobs(&node->main);
}

/* ---- SIGHUP ---- */

/* What a running node cannot change about itself: told, with the way out. */
static void compare_configs(struct node *node, const struct node_config *now)
{
    const struct node_config *was = node->options->config;
    char then[24], here[24];
    snprintf(then, sizeof then, "%lld", (long long)was->memory_bytes);
    snprintf(here, sizeof here, "%lld", (long long)now->memory_bytes);
    const struct {
        const char *key;
        struct str was, now;
    } keys[] = {
        {"node.name", was->node.name, now->node.name},
        {"node.path", was->node.path, now->node.path},
        {"data", was->data, now->data.size ? now->data : was->data},
        {"memory", str_of(then), str_of(here)},
        {"listen.http", was->listen.http, now->listen.http},
        {"listen.https", was->listen.https, now->listen.https},
        {"mqtt.external.endpoint", was->mqtt.external.endpoint, now->mqtt.external.endpoint},
        {"listen.mqtt", was->listen.mqtt, now->listen.mqtt},
        {"listen.mqtts", was->listen.mqtts, now->listen.mqtts},
        {"listen.mqttUnix", was->listen.mqtt_unix, now->listen.mqtt_unix},
        {"listen.coap", was->listen.coap, now->listen.coap},
        {"listen.coaps", was->listen.coaps, now->listen.coaps},
        {"listen.postgres", was->listen.postgres, now->listen.postgres},
        {"listen.line", was->listen.line, now->listen.line},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!str_equal(keys[i].was, keys[i].now))
            diag(&node->context, DIAG_WARNING, component,
                 "reload: %s changed from '%.*s' to '%.*s': that needs a restart", keys[i].key,
                 (int)keys[i].was.size, keys[i].was.size ? keys[i].was.at : "",
                 (int)keys[i].now.size, keys[i].now.size ? keys[i].now.at : "");
}

static enum err renew_certificates(struct node *node, const struct node_config *config,
                                   struct why *why)
{
    struct arena arena = {0}; /* as arena_init leaves one */
    struct tls_config *fresh = NULL;
    if (!node->tls) return ERR_OK;
    enum err err = certificates_read(&node->context, node->folder, config, &arena, &fresh, why);
    arena_free(&arena);
    if (!err) tls_config_renew(node->tls, fresh);
    return err;
}

/* Sessions and connections go on: what they were promised stays with them. */
static enum err renew_mqtt(struct node *node, const struct node_config *config, struct why *why)
{
    bool anonymous = config->mqtt.anonymous;
    if (anonymous && node->mqtt_address.kind && !os_address_is_loopback(&node->mqtt_address))
        return why_set(why, ERR_INVALID,
                       "mqtt.anonymous: the node listens for MQTT where other hosts can reach it");
    mqtt_server_set_logins(node->mqtt, anonymous, config->mqtt.proxy);
    set_psk(node, config->mqtt.psk);
    return broker_configure(node->broker, &config->mqtt.broker, why);
}

void node_reload(struct node *node, const struct node_config *config)
{
    const struct node_options *o = node->options;
    struct why why = WHY_NONE;
    compare_configs(node, config);
    enum err err = renew_certificates(node, config, &why);
    if (err)
        diag(&node->context, DIAG_ERROR, component, "reload: the certificate stays as it was: %s",
             why_text(&why, err));
    why = WHY_NONE;
    err = renew_mqtt(node, config, &why);
    if (err)
        diag(&node->context, DIAG_ERROR, component, "reload: mqtt stays as it was: %s",
             why_text(&why, err));
    set_jwt(node, &config->access);
    why = WHY_NONE;
    err = manifests_reload(&node->service, o->manifests, o->manifest_count, o->prune, &why);
    if (err)
        diag(&node->context, DIAG_ERROR, component, "reload: the documents stay as they were: %s",
             why_text(&why, err));
    else
        diag(&node->context, DIAG_INFO, component, "reload: done");
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
