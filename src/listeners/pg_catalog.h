/* pg_catalog.h - pg_catalog and information_schema: the relations in which PostgreSQL's clients
 * look for tables, columns and types.
 *
 * They are plain lists (list_source.h) made from what the statement's identity may see, so the
 * queries of psql, drivers and dashboards are run by our own engine over them. pg_catalog.c makes
 * the snapshot and hands out object ids; pg_catalog_class.c writes what describes tables;
 * pg_catalog_more.c the rest and the many that are always empty; pg_information.c the
 * information_schema; pg_function.c the functions that go with them.
 *
 * Object ids: those of PostgreSQL where a thing is the same (types, the catalogue's own relations);
 * a table's is PG_OID_TABLES + its table id, which is never given again. A table's primary key is
 * (device, time), always: index and constraint are made up from it. Worker. */
#ifndef LISTENERS_PG_CATALOG_H
#define LISTENERS_PG_CATALOG_H

#include "listeners/list_source.h"
#include "listeners/service.h"
#include "sql/sql.h"

enum {
    PG_OID_CATALOG = 11,
    PG_OID_PUBLIC = 2200,
    PG_OID_SYS = 8000,
    PG_OID_INFORMATION = 13000,
    PG_OID_OWNER = 10,
    PG_OID_USER = 16000, /* who asks */
    PG_OID_DATABASE = 5, /* the first; the others follow */
    PG_OID_HEAP = 2,
    PG_OID_BTREE = 403,
    PG_OID_LISTS = 9000, /* relations of sys, pg_catalog, information_schema */
    PG_OID_TABLES = 16384,
    PG_OID_INDEXES = 0x20000000, /* + table id */
    PG_OID_KEYS = 0x30000000,    /* + table id: primary keys */
    PG_OID_FUNCTIONS = 0x38000000,
    PG_OID_ARRAY_RECV = 2400,
    PG_OID_VIEWS = 0x3a000000, /* + a number made of the name */
};

struct pg_session;

/* Its columns are there only when the statement asks about columns. */
struct pg_view {
    uint32_t oid;
    char name[SCHEMA_NAME_BYTES_MAX + 1];
    struct str query;
    const char *description;
    size_t column_count;
    const struct sql_result_column *columns;
};

/* A relation that can be seen. Exactly one of schema (a table of the store; also its index), list
 * and view is there. */
struct pg_relation {
    uint32_t oid, namespace_oid;
    char kind;                   /* 'r', 'v', 'i' */
    const struct schema *schema; /* borrowed from the snapshot's tables */
    const struct list_table *list;
    const struct pg_view *view;
};

/* One column of one relation; `column` < 0: time, device (of tables). */
struct pg_attribute {
    const struct pg_relation *relation;
    int number; /* attnum */
    const char *name, *unit, *description;
    enum type type;
};

/* What source and functions are given; all zero = nothing yet. */
struct pg_catalog {
    struct list_context list; /* first */
    struct service *service;
    const struct identity *identity;   /* borrowed */
    struct str ns;                     /* borrowed */
    struct pg_session *session;        /* NULL: not a PostgreSQL client */
    const struct sql_context *context; /* of the statement: views are bound in it */
    const struct sys_snapshot *sys;    /* which has the views; borrowed */
    uint32_t pid;
    struct store_table_list *tables;
    struct arena arena;
    size_t relation_count, attribute_count, database_count;
    struct pg_relation *relations; /* tables first */
    size_t table_count;
    struct pg_attribute *attributes;
    size_t view_count;
    struct pg_view *views;
    struct str *databases;
};

extern const struct sql_functions pg_functions;

/* Fills the snapshot in; `text` is the statement: without a mention of the catalogue the lists stay
 * empty, and nothing is spent. Errors: NO_MEMORY. */
enum err pg_catalog_open(struct pg_catalog *catalog, struct str text, struct budget *budget);
void pg_catalog_close(struct pg_catalog *catalog); /* one that was never opened too */

/* ---- shared by the files of the catalogue ---- */

const char *pg_relation_name(const struct pg_relation *relation, char out[300]);
const char *pg_namespace_name(uint32_t oid); /* NULL: unknown */
const struct pg_relation *pg_relation_find(const struct pg_catalog *catalog, uint32_t oid);
/* "press", "public.press", "\"Press\"". */
const struct pg_relation *pg_relation_named(const struct pg_catalog *catalog, struct str name);
const char *pg_user_name(const struct pg_catalog *catalog);
bool pg_is_admin(const struct pg_catalog *catalog);
/* What a person is told of a column or table: description and unit; "" = nothing. */
const char *pg_comment(struct arena *arena, const char *description, const char *unit);

/* pg_catalog_views.c. Errors: NO_MEMORY, BUDGET. */
enum err pg_views_fill(struct pg_catalog *catalog, bool with_columns);
size_t pg_count_views(const void *snapshot);
void pg_write_view(const void *snapshot, size_t n, struct row_out *out);
void pg_write_standard_view(const void *snapshot, size_t n, struct row_out *out);

/* One row at once, a letter a column: i integer, t text (NULL: NULL), c one character, b bool,
 * d double; and constants: '-' NULL, '0', 'f' false, 'T' true, 'e' "". Integers are int64_t. */
void pg_put(struct row_out *out, const char *letters, ...);

/* Columns by type. */
#define PG_OID(name)                                                                               \
    {                                                                                              \
        name, TYPE_BIGINT, "pg:oid"                                                                \
    }
#define PG_NAME(name)                                                                              \
    {                                                                                              \
        name, TYPE_TEXT, "pg:name"                                                                 \
    }
#define PG_TEXT(name)                                                                              \
    {                                                                                              \
        name, TYPE_TEXT, ""                                                                        \
    }
#define PG_CHAR(name)                                                                              \
    {                                                                                              \
        name, TYPE_TEXT, "pg:char"                                                                 \
    }
#define PG_BOOL(name)                                                                              \
    {                                                                                              \
        name, TYPE_BOOL, ""                                                                        \
    }
#define PG_INT2(name)                                                                              \
    {                                                                                              \
        name, TYPE_BIGINT, "pg:int2"                                                               \
    }
#define PG_INT4(name)                                                                              \
    {                                                                                              \
        name, TYPE_BIGINT, "pg:int4"                                                               \
    }
#define PG_INT8(name)                                                                              \
    {                                                                                              \
        name, TYPE_BIGINT, ""                                                                      \
    }
#define PG_REAL(name)                                                                              \
    {                                                                                              \
        name, TYPE_DOUBLE, ""                                                                      \
    }
#define PG_TIME(name)                                                                              \
    {                                                                                              \
        name, TYPE_TIMESTAMP, ""                                                                   \
    }

extern const struct list_table pg_class_tables[], pg_more_tables[], pg_information_tables[];
extern const size_t pg_class_table_count, pg_more_table_count, pg_information_table_count;

#endif
