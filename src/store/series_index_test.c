/* series_index_test.c - claims about finding series: every one that was entered is found by its
 * table and path, nothing else is, and a reader beside the writer misses none that was there before
 * it looked. */
#include "store/catalog.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { TABLES = 3, DEVICES = 5000, ROUNDS = 40 };

static struct catalog *catalog_with_tables(void)
{
    struct catalog *catalog = mem_alloc(sizeof *catalog);
    assert_non_null(catalog);
    assert_int_equal(catalog_init(catalog), ERR_OK);
    for (uint32_t table = 1; table <= TABLES; table++) {
        char name[16];
        snprintf(name, sizeof name, "t%u", table);
        struct schema *schema = schema_new("default", name, table);
        assert_non_null(schema);
        assert_int_equal(catalog_change(catalog, schema, false), ERR_OK);
    }
    return catalog;
}

static struct str path_of(char out[32], uint32_t device)
{
    int size = snprintf(out, 32, "plant/d%u", device);
    return (struct str){out, (size_t)size};
}

static uint32_t put(struct catalog *catalog, uint32_t table, uint32_t device)
{
    char path[32];
    uint32_t id = 0;
    assert_int_equal(catalog_put_series(catalog, 0, table, path_of(path, device), NULL, 0, &id),
                     ERR_OK);
    return id;
}

static struct schema *schema_of(uint32_t table)
{
    char name[16];
    snprintf(name, sizeof name, "t%u", (9973 * table) % 65536); /* the list is in another order */
    struct schema *schema = schema_new("default", name, table);
    assert_non_null(schema);
    return schema;
}

static void a_table_is_found_by_its_number_whatever_becomes_of_others(void **state)
{
    (void)state;
    enum { MANY = 300 };
    struct catalog *catalog = mem_alloc(sizeof *catalog);
    assert_non_null(catalog);
    assert_int_equal(catalog_init(catalog), ERR_OK);
    for (uint32_t table = 1; table <= MANY; table++) {
        assert_null(catalog_schema(catalog, table));
        assert_int_equal(catalog_change(catalog, schema_of(table), false), ERR_OK);
    }
    for (uint32_t table = 3; table <= MANY; table += 3) /* dropped; others are other ones now */
        assert_int_equal(catalog_change(catalog, schema_of(table), true), ERR_OK);
    for (uint32_t table = 2; table <= MANY; table += 3)
        assert_int_equal(catalog_change(catalog, schema_of(table), false), ERR_OK);
    struct table_list *list = catalog_tables(catalog);
    assert_int_equal(list->count, MANY - MANY / 3);
    for (uint32_t i = 0; i < list->count; i++) {
        struct schema *schema = list->items[i].schema;
        assert_ptr_equal(catalog_schema(catalog, schema->table_id), schema);
        assert_int_not_equal(schema->table_id % 3, 0);
    }
    for (uint32_t table = 0; table <= MANY + 5; table += 3)
        assert_null(catalog_schema(catalog, table));
    table_list_release(list);
    catalog_free(catalog);
    mem_free(catalog);
}

static void every_series_is_found_and_nothing_else(void **state)
{
    (void)state;
    struct catalog *catalog = catalog_with_tables();
    char path[32];
    assert_int_equal(catalog_find_series(catalog, 1, STR("plant/d0")), 0);
    for (uint32_t device = 0; device < DEVICES; device++) /* the same paths in two tables */
        for (uint32_t table = 1; table < TABLES; table++) {
            uint32_t id = put(catalog, table, device);
            assert_int_equal(id, 2 * device + table);
            assert_int_equal(put(catalog, table, device), id);
        }
    for (uint32_t table = 1; table <= TABLES; table++) /* and counted, each once */
        assert_int_equal(atomic_load(&catalog_table_state(catalog, table)->series_count),
                         table < TABLES ? DEVICES : 0);
    for (uint32_t device = 0; device < DEVICES; device++) {
        struct str p = path_of(path, device);
        assert_int_equal(catalog_find_series(catalog, 1, p), 2 * device + 1);
        assert_int_equal(catalog_find_series(catalog, 2, p), 2 * device + 2);
        for (uint32_t table = 3; table < 50; table++)
            assert_int_equal(catalog_find_series(catalog, table, p), 0);
        assert_int_equal(catalog_find_series(catalog, 1, path_of(path, device + DEVICES)), 0);
    }
    assert_int_equal(catalog_find_series(catalog, 1, STR("")), 0);
    catalog_free(catalog);
    mem_free(catalog);
}

/* ---- what damage leaves ---- */

static void put_as(struct catalog *catalog, uint32_t id, uint32_t table)
{
    char path[32];
    uint32_t given;
    assert_int_equal(catalog_put_series(catalog, id, table, path_of(path, id), NULL, 0, &given),
                     ERR_OK);
    assert_int_equal(given, id);
}

/* The catalogue's snapshot is lost, the log has but the newest series: whole blocks of ids are not
 * there. */
static void a_series_alone_behind_a_thousand_that_are_lost_is_found(void **state)
{
    (void)state;
    struct catalog *catalog = catalog_with_tables();
    put_as(catalog, 2 * SERIES_BLOCK + 5, 1);
    for (uint32_t id = 1; id < 2 * SERIES_BLOCK + 5; id++) assert_null(catalog_series(catalog, id));
    assert_non_null(catalog_series(catalog, 2 * SERIES_BLOCK + 5));
    catalog_free(catalog);
    mem_free(catalog);
}

/* Its record in the snapshot was damaged, and the log has a later one, behind those of others. */
static void series_are_walked_in_order_of_id_also_when_one_comes_back_late(void **state)
{
    (void)state;
    struct catalog *catalog = catalog_with_tables();
    static const uint32_t ids[] = {4, 9, 2, 7, 1, 12, 11};
    uint32_t last = 0, count = 0;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) put_as(catalog, ids[i], 1);
    struct table_state *table = catalog_table_state(catalog, 1);
    for (struct series *s = atomic_load(&table->first); s; s = atomic_load(&s->next_of_table)) {
        assert_true(s->id > last);
        last = s->id;
        count++;
    }
    assert_int_equal(count, sizeof ids / sizeof ids[0]);
    assert_int_equal(table->last->id, 12);
    catalog_free(catalog);
    mem_free(catalog);
}

struct reading {
    struct catalog *_Atomic catalog;
    _Atomic uint32_t entered; /* devices, by the writer */
    _Atomic uint64_t found;
    _Atomic bool failed, over;
};

static void read_them(void *arg)
{
    struct reading *r = arg;
    char path[32];
    for (uint32_t device = 0; !atomic_load(&r->over); device = device * 7 + 1) {
        struct catalog *catalog = atomic_load(&r->catalog); /* before: its devices are no fewer */
        uint32_t seen = atomic_load(&r->entered);
        if (!seen || catalog != atomic_load(&r->catalog)) continue;
        struct str p = path_of(path, device % seen);
        const struct series *series = catalog_series(catalog, catalog_find_series(catalog, 1, p));
        if (!series || !str_equal(series->path, p)) atomic_store(&r->failed, true);
        atomic_fetch_add(&r->found, 1);
    }
}

static void a_reader_misses_none_that_was_there(void **state)
{
    (void)state;
    struct os *os = os_real_new();
    struct os_task *task;
    struct reading r;
    memset(&r, 0, sizeof r);
    struct catalog *catalogs[ROUNDS];
    assert_non_null(os);
    assert_int_equal(
        os->ops->task_start(os, "reader", OS_TASK_BLOCKING, read_them, &r, &task, NULL), ERR_OK);
    os->ops->task_wake(task);
    for (unsigned round = 0; round < ROUNDS; round++) {
        catalogs[round] = catalog_with_tables();
        atomic_store(&r.entered,
                     0); /* one of the catalogue before is the most that is looked for */
        put(catalogs[round], 1, 0);
        atomic_store(&r.catalog, catalogs[round]);
        for (uint32_t device = 1; device < DEVICES; device++) {
            put(catalogs[round], 1, device);
            atomic_store(&r.entered, device + 1);
        }
    }
    while (!atomic_load(&r.found)) {
    }
    atomic_store(&r.over, true);
    os->ops->task_stop(task);
    assert_false(r.failed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        catalog_free(catalogs[round]);
        mem_free(catalogs[round]);
    }
    os_real_free(os);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_found_by_its_number_whatever_becomes_of_others),
        cmocka_unit_test(every_series_is_found_and_nothing_else),
        cmocka_unit_test(a_series_alone_behind_a_thousand_that_are_lost_is_found),
        cmocka_unit_test(series_are_walked_in_order_of_id_also_when_one_comes_back_late),
        cmocka_unit_test(a_reader_misses_none_that_was_there),
    };
    return cmocka_run_group_tests_name("series_index", tests, NULL, NULL);
}
