/* catalog.h - tables and series of the store.
 *
 * One writer (the log task, or store_open before it starts), many readers without locks: tables are an immutable
 * list behind a cell; series only ever grow, in blocks whose addresses do not change, published by a release
 * store of the count. Private to store/. */
#ifndef STORE_CATALOG_H
#define STORE_CATALOG_H

#include "base/map.h"
#include "base/reader.h"
#include "data/batch.h"
#include "loop/loop.h"

enum {
    SERIES_BLOCK = 1024,
    SERIES_BLOCKS_MAX = 4096, /* 4 M series a node */
    TABLE_LABELS_MAX = 256,
};

struct series_labels {
    uint32_t count;
    struct label items[];
};

struct series {
    uint32_t id, table_id;
    struct str path;                           /* in the catalogue's arena */
    _Atomic(const struct series_labels *) labels; /* replaced whole; old ones stay in the arena */
    struct series *_Atomic next_of_table;      /* newest last: walks in order of id */
};

/* What the catalogue keeps beside a schema. */
struct table_state {
    uint32_t table_id;
    struct series *_Atomic first;
    struct series *last; /* writer only */
    _Atomic uint32_t label_count;
    const char *labels[TABLE_LABELS_MAX]; /* names that any series had */
};

/* The immutable list of tables: schemas sorted by (ns, name). */
struct table_list {
    _Atomic uint32_t refs;
    uint32_t count;
    struct {
        struct schema *schema;
        struct table_state *state;
    } items[];
};

struct catalog {
    struct arena arena; /* writer only; texts of series and labels */
    struct cell tables; /* of struct table_list */
    struct map series_by_key; /* writer only: table id (4 bytes) + path */
    struct table_state **states; /* writer only: all, also of dropped tables; by table_id - 1 */
    size_t state_capacity;
    uint32_t next_table_id;
    _Atomic uint32_t series_count;
    struct series *_Atomic blocks[SERIES_BLOCKS_MAX];
};

enum err catalog_init(struct catalog *catalog);
void catalog_free(struct catalog *catalog);

/* Readers. */
struct table_list *catalog_tables(struct catalog *catalog); /* gives a share */
void table_list_release(struct table_list *list);
/* Index in the list or -1. */
int table_list_find(const struct table_list *list, struct str ns, struct str name);
struct series *catalog_series(const struct catalog *catalog, uint32_t id); /* NULL if unknown */

/* Writer. Publishes `schema` (takes) as the new or changed table; its table_id is set before. */
enum err catalog_put_table(struct catalog *catalog, struct schema *schema);
enum err catalog_drop_table(struct catalog *catalog, uint32_t table_id);
/* Borrowed until the next change; NULL if unknown or dropped. */
struct schema *catalog_schema(struct catalog *catalog, uint32_t table_id);
/* The id of a series, or 0. */
uint32_t catalog_find_series(const struct catalog *catalog, uint32_t table_id, struct str path);
/* Adds a series, or replaces the labels of a known one. id 0 = the next. */
enum err catalog_put_series(struct catalog *catalog, uint32_t id, uint32_t table_id, struct str path,
                            const struct label *labels, uint32_t label_count, uint32_t *given);
bool catalog_labels_equal(const struct series *series, const struct label *labels, uint32_t count);

/* Bodies of the log's SCHEMA and SERIES records (little-endian, version byte first). */
void catalog_write_schema(struct buf *out, const struct schema *schema, bool dropped);
enum err catalog_read_schema(struct reader *in, struct schema **schema, bool *dropped, struct why *why);
void catalog_write_series(struct buf *out, const struct series *series);
enum err catalog_read_series(struct catalog *catalog, struct reader *in, struct why *why);

#endif
