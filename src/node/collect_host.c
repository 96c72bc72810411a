/* collect_host.c - the node as the collector's host: finds the Tables of its Devices, gives what
 * was polled to the store and writes operators' writes into the audit log.
 *
 * A batch is refused with CONFLICT when its table was changed since it was begun: the collector
 * looks its tables up again. One that the log does not take yet is refused with BUSY, so that the
 * batches on their way to the log are bounded. */
#include "base/timetext.h"
#include "node/node_priv.h"
#include <stdio.h>

static const char component[] = "node";

enum { EMIT_BATCHES_MAX = 1024 }; /* polled batches on their way to the log */
#define LOST_TOLD_NS (10 * TIME_NS_PER_S)

struct emit_op {
    struct store_append append; /* first */
    struct node *node;
    uint32_t rows;
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

/* A full disk refuses each batch of each device: that is one line in ten seconds. */
static void tell_lost(struct node *node, uint32_t rows, const char *text)
{
    int64_t now_ns = context_mono_ns(&node->context);
    node->lost_rows += rows;
    if (node->lost_told_ns && now_ns - node->lost_told_ns < LOST_TOLD_NS) return;
    diag(&node->context, DIAG_ERROR, component,
         "polled rows were not stored: %s (%llu since the last such line)", text,
         (unsigned long long)node->lost_rows);
    node->lost_rows = 0;
    node->lost_told_ns = now_ns;
}

static void on_emitted(struct completion *c)
{
    struct emit_op *op = (struct emit_op *)c;
    struct node *node = op->node;
    node->emitting--;
    if (c->err == ERR_CONFLICT) collect_look_up_tables(node->service.collect);
    if (c->err) tell_lost(node, op->rows, why_text(&c->why, c->err));
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
    op->rows = batch->row_count;
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

enum err node_collect_start(struct node *node, struct why *why)
{
    struct collect_host host = {host_find_table, host_emit, host_audit, node,
                                node->service.node_path};
    return collect_start(&node->context, node->service.registry, &host, &node->service.collect,
                         why);
}

void node_collect_stop(struct node *node)
{
    collect_stop(node->service.collect);
    node->service.collect = NULL;
}
