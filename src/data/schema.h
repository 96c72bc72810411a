/* schema.h - what a table looks like: immutable, reference-counted snapshots.
 *
 * Column ids are given once per table, never change and never return; names may change. The store's
 * catalogue makes a new snapshot for every change; statements and batches hold the one they were
 * bound to. */
#ifndef DATA_SCHEMA_H
#define DATA_SCHEMA_H

#include "base/mem.h"
#include "data/type.h"
#include <stdatomic.h>

enum {
    SCHEMA_COLUMNS_MAX = 4096,
    SCHEMA_NAME_BYTES_MAX = 255,
};

/* Who brought the column: a Table document, or data that arrived by writing. */
enum column_owner { COLUMN_OWNER_DOCUMENT = 0, COLUMN_OWNER_DATA = 1 };

struct column {
    uint16_t id; /* ≥ 1 */
    enum type type;
    enum column_owner owner;
    const char *name, *unit, *description; /* never NULL */
};

/* A table kept as windowed aggregates of this one. */
enum { SCHEMA_ROLLUPS_MAX = 8 };
struct schema_rollup {
    int64_t every_ns;     /* of a window; divides a day */
    int64_t retention_ns; /* of the rollup's rows; 0 = for ever */
};

enum durability { DURABILITY_COMMIT = 0, DURABILITY_INTERVAL = 1 };

struct schema {
    _Atomic uint32_t refs;
    uint32_t table_id;                   /* ≥ 1, unique in the node, never reused */
    uint32_t revision;                   /* counts snapshots of this table */
    const char *ns, *name, *description; /* namespace; SQL name */
    int64_t retention_ns;                /* 0 = for ever */
    enum durability durability;
    int64_t durability_interval_ns;
    bool open;               /* unknown columns are created by writing */
    const char *device_tags; /* comma-separated tag keys that name the device, "" = default */
    uint32_t rollup_count;
    struct schema_rollup rollups[SCHEMA_ROLLUPS_MAX]; /* the shortest windows first */
    uint32_t rollup_of;      /* the table whose rollup this one is; 0: it is none */
    int64_t rollup_every_ns; /* of a rollup: its windows */
    uint32_t column_count;
    uint16_t next_column_id;
    struct column *columns;
    struct arena arena; /* everything above */
};

/* A fresh, empty snapshot (refs = 1) with its arena. NULL: no memory. */
struct schema *schema_new(const char *ns, const char *name, uint32_t table_id);
/* A deep copy with revision + 1, to be changed before it is published. */
struct schema *schema_copy(const struct schema *from);
/* Adds a column before publication. id 0 = the next free one. Errors: EXISTS, LIMIT, NO_MEMORY,
 * INVALID. */
enum err schema_add_column(struct schema *schema, uint16_t id, const char *name, enum type type,
                           enum column_owner owner, const char *unit, const char *description,
                           struct why *why);
/* As above for a system table: no reserved names, no text beside the name and unit. Names are
 * static and trusted. */
enum err schema_add_plain_column(struct schema *schema, const char *name, enum type type,
                                 const char *unit);
/* Adds a rollup before publication. Errors: EXISTS (such windows are there already), LIMIT. */
enum err schema_add_rollup(struct schema *schema, int64_t every_ns, int64_t retention_ns);
/* The rollup with such windows, or NULL. */
const struct schema_rollup *schema_find_rollup(const struct schema *schema, int64_t every_ns);
bool schema_same_rollups(const struct schema *a, const struct schema *b);
struct schema *schema_share(const struct schema *schema); /* one more reference */
void schema_release(struct schema *schema);               /* NULL allowed */
const struct column *schema_find(const struct schema *schema, struct str name);
const struct column *schema_column(const struct schema *schema, uint16_t id);
/* Checks a table, column or label name (INTERFACES: any UTF-8 but / + # " and control characters).
 * `what` is "column", "table"… Reserved column names are refused when `what` is "column". */
enum err schema_check_name(struct str name, const char *what, struct why *why);

#endif
