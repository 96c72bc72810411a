/* node.h - one running node: its parts composed in one visible, ordered list, stopped in reverse.
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "listeners/service.h"
#include "node/config.h"

struct node;

struct node_options {
    const struct node_config *config; /* borrowed until node_stop */
    const char *admin_password;       /* NULL = make one at the first start */
    size_t manifest_count;
    const char *const *manifests; /* files applied at start, owner `file` */
    bool prune;                   /* documents that vanished from them are removed */
    bool diag_json;
    enum diag_level diag_level;
};

/* Starts a node on the calling task, which becomes its main loop: the task's wake must call
 * node_wake. Errors name the part that failed. On success the addresses and a new admin password
 * were printed on stderr. */
enum err node_start(struct os *os, struct os_task *main_task, const struct node_options *options,
                    struct node **node, struct why *why);
/* Reads the manifests and checks them as a start would, without touching the data folder. Blocking.
 */
enum err node_check(struct os *os, const struct node_options *options, struct why *why);
void node_wake(struct node *node); /* NULL allowed */
/* Stops everything; blocking, ≤ 5 s. */
void node_stop(struct node *node);
/* SIGHUP: reads manifests and certificates again and says what of the configuration needs a
 * restart; what cannot be read leaves everything as it was. Blocking. `config` is borrowed during
 * the call. */
void node_reload(struct node *node, const struct node_config *config);
/* The service bundle, for tests. */
struct service *node_service(struct node *node);

/* tables.c: keeps the store's tables and the Table documents in step. Private to node/. */
struct node_tables;
enum err node_tables_start(struct service *service, struct node_tables **tables, struct why *why);
/* Begins nothing any more; who waits is answered. */
void node_tables_stop(struct node_tables *tables);
void node_tables_free(struct node_tables *tables); /* behind the store's last answer */
void node_tables_settle(void *tables, struct completion *completion);
void node_tables_change(void *tables, struct table_change *change);
/* Gives tables that came by writing their documents. */
void node_tables_publish(void *tables);
/* Whether a Table document fits the table that there is; adds problems with the way out. */
void node_tables_check(void *tables, const struct resource *table, struct problems *problems);

#endif
