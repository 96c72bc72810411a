/* sys_priv.h - what the files of the system tables share: the snapshot of one statement, and the
 * tables that each file brings.
 *
 * sys_source.c has the list, the snapshot's life and the tables of equipment and errors;
 * sys_store.c devices, tables and this node; sys_people.c the audit log and who is here;
 * sys_mqtt.c the broker; sys_view.c the views. A snapshot is taken on the main loop; the
 * statement's task reads it, and fills in what is costly only when a table is really read. */
#ifndef LISTENERS_SYS_PRIV_H
#define LISTENERS_SYS_PRIV_H

#include "listeners/list_source.h"
#include "listeners/sys_source.h"
#include "mqtt/inspect.h"

enum { SYS_HEALTH_ROWS_MAX = 80 };

struct audit_cursor;
struct sys_sizes;

struct sys_snapshot {
    struct list_context list;  /* first: what the source is given */
    struct service *service;   /* only for what any task may read: context, store, audit */
    struct identity *identity; /* shared */
    struct collect_snapshot *collect;
    int64_t now_ns;
    uint32_t mentioned;              /* sys_words_of the statement, and of views if it uses one */
    struct store_table_list *tables; /* shared; NULL: no table of the store is asked for */
    const struct schema **by_id;     /* of `tables`; NULL: there is none with this id */
    size_t by_id_count;
    /* Of sys.devices: who sees some alone gets a list, which the statement's task makes, since
     * there may be a million series; else all of the catalogue are shown. */
    bool sees_some, has_devices;
    enum err devices_err;
    uint32_t *devices; /* their ids */
    size_t device_count, device_capacity;
    uint32_t *table_at; /* tables that may be seen: their indexes in `tables` */
    size_t table_count;
    struct sys_sizes *sizes; /* of sys.tables; the statement's task fills it in */
    bool sees_node, is_ready;
    int64_t up_ns;
    struct audit_cursor *audit; /* of the statement's task; NULL: none may be seen */
    struct arena arena;         /* texts of the next */
    struct sys_session *sessions;
    size_t session_count;
    size_t health_count;
    struct store_health_row health[SYS_HEALTH_ROWS_MAX]; /* the statement sees one state of it */
    struct store_rollup_info *rollups;                   /* whose tables may be read */
    size_t rollup_count;
    struct resource **views; /* shared */
    size_t view_count;
    struct sys_sink *sinks; /* sys_sinks.c */
    size_t sink_count;
    struct broker_inspect mqtt; /* rows of the broker; empty until it has answered */
    void (*asked)(void *arg, enum err err, const struct why *why);
    void *asked_arg;
};

/* Which tables' names stand in a text: bit per place in the list. */
uint32_t sys_words_of(struct str text);
/* Whether a table's name occurs in the statement, or in a view that it may use. */
bool sys_mentions(const struct sys_snapshot *s, const char *table);

/* What a system table of another file consists of, for the list in sys_source.c. */
#define SYS_TABLE(name)                                                                            \
    size_t sys_count_##name(const void *snapshot);                                                 \
    void sys_write_##name(const void *snapshot, size_t n, struct row_out *out);                    \
    extern const struct list_column sys_columns_##name[]
SYS_TABLE(audit);
SYS_TABLE(bridges);
SYS_TABLE(devices);
SYS_TABLE(mqtt_bans);
SYS_TABLE(mqtt_clients);
SYS_TABLE(mqtt_retained);
SYS_TABLE(mqtt_subscriptions);
SYS_TABLE(nodes);
SYS_TABLE(sessions);
SYS_TABLE(sinks);
SYS_TABLE(tables);

/* sys_bridges.c: takes the rows away that the identity may not see, once for all of them. */
void sys_hide_bridges(struct sys_snapshot *snapshot);

/* sys_store.c: what of these the identity may see. Main loop. */
enum err sys_take_store(struct sys_snapshot *s);
void sys_free_store(struct sys_snapshot *s);

/* sys_sinks.c, the same. */
enum err sys_take_sinks(struct sys_snapshot *s);
void sys_free_sinks(struct sys_snapshot *s);

/* sys_people.c, the same. */
enum err sys_take_people(struct sys_snapshot *s);
void sys_free_people(struct sys_snapshot *s);

/* sys_mqtt.c. Any task. */
bool sys_names_payload(struct str text); /* whether the statement names the column */
void sys_free_mqtt(struct sys_snapshot *s);

/* sys_view.c: all views that the identity may see or may read something with. */
enum err sys_take_views(struct sys_snapshot *s, struct str text);

#endif
