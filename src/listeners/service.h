/* service.h - what the ways in need of the node: one bundle of borrowed pointers, bound in `node`.
 *
 * Everything here lives on the main loop unless its own header says otherwise. */
#ifndef LISTENERS_SERVICE_H
#define LISTENERS_SERVICE_H

#include "access/access.h"
#include "access/audit.h"
#include "access/audit_rate.h"
#include "access/login_lines.h"
#include "base/timetext.h"
#include "collect/collect.h"
#include "loop/room.h"
#include "net/http.h"
#include "resource/registry.h"
#include "sql/sql.h"
#include "store/store.h"

struct persist;
struct live;
struct resources;
struct identities;
struct status;
struct backups;
struct session;
struct broker;
struct mqtt_server;
struct streams;
struct bridges;
struct sinks;

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
    struct identities *identities;
    struct status *status;
    struct backups *backups;
    struct live *live;
    struct broker *broker;    /* NULL: it does not run (yet, or any more) */
    struct session *sessions; /* who is connected (sessions.h) */
    /* Which system tables the views name, and of which versions of them that was read off. */
    uint64_t views_seen;
    uint32_t views_words;
    struct mqtt_server *mqtt; /* NULL = does not run (yet) */
    struct streams *streams;  /* as mqtt */
    struct bridges *bridges;  /* the same */
    struct sinks *sinks;
    struct collect *collect;
    struct access *access;
    struct audit *audit;
    struct login_lines login_lines; /* what the audit log shows of logins */
    struct audit_rate refusals;     /* … and of what is refused to who may not, or not so */
    struct budget *statements;      /* parent of every statement's budget */
    struct budget *in_flight;       /* batches on their way to the log */
    struct room *room;              /* where requests wait for in_flight to have some */
    size_t statement_limit_bytes;   /* of one */
    int64_t statement_limit_ns;     /* its time */
    uint64_t helper_rows;           /* a large scan is shared with one more task for so many rows */
    struct str node_name, node_path;
    char node_document[256];            /* metadata.name of this node's own document */
    char http_url[320], https_url[320]; /* where it listens; "" = it does not */
    int64_t started_ns;                 /* monotonic */
    bool ready;                         /* /readyz */
    /* The listeners and workers are gone: what waited for the audit log or for its turn is finished
     * with CANCELLED instead of taking its next step. */
    bool stopping;
    void (*change_table)(void *node, struct table_change *change);
    /* Whether a Table document fits the table that there is; adds problems with the way out. */
    void (*check_table)(void *node, const struct resource *table, struct problems *problems);
    /* Finishes the completion when the store's tables are what the documents put so far say. */
    void (*settle_tables)(void *node, struct completion *completion);
    /* Gives tables that came by writing their documents. */
    void (*publish_tables)(void *node);
    void *node;
};

/* So many bytes of one request become batches before those are sent on their way: small enough that
 * several requests get on together, large enough that a sync is worth it. */
static inline size_t service_piece_bytes(const struct service *service)
{
    return service->in_flight->limit_bytes / 8;
}

/* Whether the next row would make a batch grow beyond that. */
static inline bool service_piece_is_full(const struct service *service, const struct batch *batch)
{
    return batch->row_count && batch->row_count == batch->row_capacity &&
           2 * batch->size_bytes > service_piece_bytes(service);
}

/* The text of a row that asks for more than all of in_flight has. */
static inline enum err service_row_too_large(const struct service *service, struct why *why)
{
    return why_set(
        why, ERR_LIMIT,
        "one row needs more than the %zu KiB that there are for rows on their way to the "
        "log; send smaller values, or raise memory: (it is %zu KiB)",
        service->in_flight->limit_bytes / 1024, service->context->memory.limit_bytes / 1024);
}

/* How long rows of a request wait for room in the head before they are refused. */
#define SERVICE_HEAD_WAIT_NS (ROOM_SECONDS * TIME_NS_PER_S)

#endif
