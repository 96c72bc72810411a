/* service.h - what the ways in need of the node: one bundle of borrowed pointers, bound in `node`.
 *
 * Everything here lives on the main loop unless its own header says otherwise. */
#ifndef LISTENERS_SERVICE_H
#define LISTENERS_SERVICE_H

#include "access/access.h"
#include "access/audit.h"
#include "collect/collect.h"
#include "net/http.h"
#include "resource/registry.h"
#include "sql/sql.h"
#include "store/store.h"

struct persist;
struct live;
struct resources;

/* A change of a table by DDL on its way: the log first, then its document. */
struct table_change {
    struct completion completion; /* first */
    const struct sql_ddl *ddl;    /* borrowed until done */
    struct str ns;                /* borrowed until done */
    struct store_define define;   /* from here on the node's */
    void *node;
};

struct service {
    struct context *context;
    struct store *store;
    struct registry *registry;
    struct persist *persist;
    struct resources *resources;
    struct live *live;
    struct collect *collect;
    struct access *access;
    struct audit *audit;
    struct budget *statements;    /* parent of every statement's budget */
    struct budget *in_flight;     /* batches on their way to the log */
    size_t statement_limit_bytes; /* of one */
    int64_t statement_limit_ns;   /* its time */
    struct str node_name, node_path;
    bool ready; /* /readyz */
    void (*change_table)(void *node, struct table_change *change);
    void *node;
};

#endif
