/* test_source.h - a source of rows in memory, and a world around it that runs any statement. For
 * tests, fuzzing and measurements only; nothing in the program links it.
 *
 * Tables are made and filled by statements (CREATE TABLE, INSERT carry out their effects here), so
 * a test reads as SQL. Rows are kept column-wise per series, sorted by time; a scan hands out
 * slices of those arrays without copying. Thread: one. */
#ifndef SQL_TEST_SOURCE_H
#define SQL_TEST_SOURCE_H

#include "sql/sql.h"

enum { TEST_COLUMNS_MAX = 64, TEST_LABELS_MAX = 8, TEST_TABLES_MAX = 16 };

struct test_series {
    struct str path;
    struct label labels[TEST_LABELS_MAX];
    uint32_t label_count, row_count, row_capacity;
    bool all_good; /* no cell is NULL: scans say so, as a store does */
    int64_t *time;
    struct vector columns[TEST_COLUMNS_MAX]; /* by column id; arrays hold row_capacity */
};

struct test_table {
    struct schema *schema;
    size_t series_count, series_capacity;
    struct test_series *series; /* sorted by path */
    const char *labels[TEST_LABELS_MAX];
    size_t label_count;
};

struct test_world {
    struct arena arena; /* all rows; no budget */
    struct test_table tables[TEST_TABLES_MAX];
    size_t table_count;
    struct {
        const char *name;
        struct str query;
    } views[TEST_TABLES_MAX];
    size_t view_count;
    struct sql_catalog catalog;
    struct budget budget; /* of statements; made anew for each */
    size_t budget_bytes;
    struct sql_context context;       /* may be changed between statements */
    int64_t mono_ns, mono_step_ns;    /* the clock: moves by the step at each look */
    uint32_t open_tables, open_scans; /* must be 0 after every statement */
};

void test_world_init(struct test_world *world);
void test_world_free(struct test_world *world);
struct test_table *test_world_table(struct test_world *world, const char *name);
/* The series, made when new. NULL: no memory. */
struct test_series *test_world_series(struct test_world *world, struct test_table *table,
                                      struct str path);
/* Makes room for one more row at its place in time order (or finds the row of that time); its cells
 * absent. */
enum err test_series_row(struct test_world *world, const struct test_table *table,
                         struct test_series *series, int64_t time_ns, uint32_t *row);

/* Runs a statement; rows are appended to `out` as "a|b\n", NULL as NULL. Effects are carried out.
 */
enum err test_world_sql(struct test_world *world, const char *text, size_t size, struct buf *out,
                        struct why *why);
/* Runs a prepared SELECT to its end, pausing wherever it can. */
enum err test_world_run(struct sql_statement *statement,
                        enum err (*rows)(void *context, const struct vector *columns,
                                         size_t column_count, const uint16_t *selection,
                                         uint32_t row_count, struct why *why),
                        void *context, struct why *why);
/* For preparing tests: fails loudly. */
void test_world_must(struct test_world *world, const char *text);

#endif
