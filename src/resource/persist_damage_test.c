/* persist_damage_test.c - claims about one flipped bit anywhere in the registry's database or in
 * its log: it is not opened, and the text names the file; or no document says what was never
 * written, and what is left out is told. The end of the log stays in doubt: the last transaction
 * may be missing. */
#include "os/sim_testlib.h"
#include "resource/persist.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { NAMES = 8, VERSIONS = 3, FLIPS = 400, FILE_BYTES_MAX = 512 * 1024 };

struct content {
    uint8_t *bytes;
    size_t size;
};

struct world {
    struct sim *sim;
    struct os *os;
    struct context context;
    struct loop home;
    struct registry *registry;
    struct persist *persist;
    bool done, drops;
    unsigned seed;
    struct content database, log; /* as the last life left them */
};

static const char database_name[] = "data/resources.db", log_name[] = "data/resources.db-wal";

/* ---- files ---- */

static struct content read_file(struct world *w, const char *name)
{
    const struct os_ops *ops = w->os->ops;
    struct content c = {malloc(FILE_BYTES_MAX), 0};
    struct os_file *file;
    if (ops->file_open(w->os, name, 0, &file, NULL)) return c;
    assert_int_equal(ops->file_read(file, 0, c.bytes, FILE_BYTES_MAX, &c.size, NULL), ERR_OK);
    ops->file_close(file);
    return c;
}

static void write_file(struct world *w, const char *name, const struct content *c)
{
    const struct os_ops *ops = w->os->ops;
    struct os_file *file;
    assert_int_equal(ops->file_open(w->os, name, OS_FILE_WRITE | OS_FILE_CREATE, &file, NULL),
                     ERR_OK);
    assert_int_equal(ops->file_truncate(file, 0, NULL), ERR_OK);
    assert_int_equal(ops->file_write(file, 0, c->bytes, c->size, NULL), ERR_OK);
    ops->file_close(file);
}

/* ---- the database ---- */

static enum err try_open(struct world *w, struct why *why)
{
    w->registry = registry_new(w->os);
    enum err err = persist_open(&w->context, "data", w->registry, &w->persist, why);
    if (!err) return ERR_OK;
    registry_free(w->registry);
    w->registry = NULL;
    w->persist = NULL;
    return err;
}

static void close_database(struct world *w)
{
    persist_close(w->persist);
    registry_free(w->registry);
    w->registry = NULL;
    w->persist = NULL;
}

static void on_done(struct completion *c)
{
    struct world *w = c->home->after_arg;
    assert_int_equal(c->err, ERR_OK);
    w->done = true;
}

static bool is_done(void *arg)
{
    return ((struct world *)arg)->done;
}

/* Document `name` of value `value`, or its removal, as a transaction of its own. */
static void change(struct world *w, unsigned name, unsigned value, bool remove)
{
    struct arena arena;
    struct problems problems;
    struct doc *doc;
    struct resource *r = NULL;
    char text[512];
    arena_init(&arena, NULL);
    problems_init(&problems, &arena);
    snprintf(
        text, sizeof text,
        "{\"apiVersion\":\"millrace.io/v1\",\"kind\":\"Table\",\"metadata\":{\"name\":\"t%u\"},"
        "\"spec\":{\"description\":\"v%u of t%u\",\"columns\":[{\"name\":\"a\",\"type\":\"bigint\"}]}}",
        name, value, name);
    assert_int_equal(doc_read_json(str_of(text), &arena, &doc, NULL), ERR_OK);
    assert_int_equal(resource_read(doc, "", &r, &problems, NULL), ERR_OK);
    (void)registry_prepare(w->registry, r);
    struct persist_change op = {.resource = r, .remove = remove};
    w->done = false;
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    persist_submit(w->persist, &op);
    assert_true(sim_run_until(w->sim, is_done, w, INT64_C(1000000000)));
    resource_release(r);
    arena_free(&arena);
}

static void drop_line(void *arg, const char *line, size_t size)
{
    (void)arg;
    (void)line;
    (void)size;
}

/* Documents t0 … in VERSIONS versions; the last one was there and is removed. */
static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    const char *seed = getenv("MILLRACE_TEST_SEED");
    w->seed = seed ? (unsigned)strtoul(seed, NULL, 10) : 1;
    print_message("seed %u\n", w->seed);
    w->sim = sim_new(w->seed);
    w->os = w->context.os = sim_node(w->sim, "node");
    w->context.diag_level = DIAG_ERROR;
    w->context.diag = (struct diag_writer){drop_line, NULL};
    budget_init(&w->context.memory, "node", NULL, SIZE_MAX);
    assert_int_equal(loop_start(&w->home, w->os, "test", 0, NULL), ERR_OK);
    assert_int_equal(w->os->ops->path_make(w->os, "data", NULL), ERR_OK);
    assert_int_equal(try_open(w, NULL), ERR_OK);
    for (unsigned value = 0; value < VERSIONS; value++)
        for (unsigned name = 0; name <= NAMES; name++) change(w, name, value, false);
    change(w, NAMES, 0, true);
    change(w, 0, VERSIONS - 1, false); /* the log does not end with the removal */
    w->database = read_file(w, database_name);
    w->log = read_file(w, log_name);
    assert_true(w->log.size > 20 * 4096);
    close_database(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    loop_stop(&w->home);
    sim_free(w->sim);
    free(w->database.bytes);
    free(w->log.bytes);
    free(w);
    return 0;
}

/* ---- what is found ---- */

/* Whether the documents are all there in their last version; none may be anything that was not. */
static bool all_there(struct world *w)
{
    unsigned found = 0, latest = 0;
    size_t at = 0;
    for (struct resource *r; (r = registry_next(w->registry, KIND_TABLE, &at));) {
        int64_t name = -1, value[2] = {-1, -1};
        char text[64];
        (void)str_copy(text, sizeof text, r->name);
        assert_true(sim_scan(text, "t#", &name));
        (void)str_copy(text, sizeof text, ((struct table_spec *)r->spec)->description);
        assert_true(sim_scan(text, "v# of t#", value));
        assert_true(name >= 0 && name < NAMES); /* t8 stays removed */
        assert_true(value[1] == name && value[0] >= 0 && value[0] < VERSIONS);
        found++;
        latest += value[0] == VERSIONS - 1;
    }
    return found == NAMES && latest == NAMES;
}

static void flip_and_look(struct world *w, const char *name, struct content *c, unsigned *refused)
{
    size_t at = (size_t)rand_r(&w->seed) % c->size;
    uint8_t bit = (uint8_t)(1u << rand_r(&w->seed) % 8);
    struct why why = WHY_NONE;
    c->bytes[at] ^= bit;
    write_file(w, database_name, &w->database);
    write_file(w, log_name, &w->log);
    enum err err = try_open(w, &why);
    if (err) {
        bool is_named = strstr(why.text, name) && strstr(why.text, "backup");
        bool is_other = err == ERR_FORMAT && strstr(why.text, name); /* the number of the format */
        if (!is_named && !is_other) print_error("%s at %zu: %s\n", name, at, why.text);
        assert_true(is_named || is_other);
        ++*refused;
    } else {
        bool whole = all_there(w), told = persist_left_out(w->persist);
        if (!whole && !told) print_error("%s at %zu: not told\n", name, at);
        assert_true(whole || told);
        close_database(w);
    }
    c->bytes[at] ^= bit;
}

static void a_flipped_bit_of_the_log_brings_no_older_documents_back(void **state)
{
    struct world *w = *state;
    unsigned refused = 0;
    for (unsigned i = 0; i < FLIPS; i++) flip_and_look(w, log_name, &w->log, &refused);
    print_message("%u of %u refused\n", refused, FLIPS);
    assert_true(refused > FLIPS / 2);
}

static void a_flipped_bit_of_the_database_changes_no_document(void **state)
{
    struct world *w = *state;
    unsigned refused = 0;
    write_file(w, database_name, &w->database);
    write_file(w, log_name, &w->log);
    assert_int_equal(try_open(w, NULL), ERR_OK); /* the log's pages go into the database */
    close_database(w);
    free(w->database.bytes);
    w->database = read_file(w, database_name);
    w->log.size = 0;
    for (unsigned i = 0; i < FLIPS; i++) flip_and_look(w, database_name, &w->database, &refused);
    print_message("%u of %u refused\n", refused, FLIPS);
    assert_true(refused > 0);
}

static void put_be32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* A header whose sum is right, of pages that no database has: SQLite passes over such a log. */
static void a_log_of_pages_that_cannot_be_is_none(void **state)
{
    struct world *w = *state;
    uint32_t sum[2] = {0, 0};
    put_be32(w->log.bytes, 0x377f0683u); /* big-endian words */
    put_be32(w->log.bytes + 8, 1001);
    for (size_t i = 0; i < 24; i += 8)
        for (size_t half = 0; half < 2; half++) {
            const uint8_t *at = w->log.bytes + i + 4 * half;
            sum[half] +=
                ((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]) +
                sum[!half];
        }
    put_be32(w->log.bytes + 24, sum[0]);
    put_be32(w->log.bytes + 28, sum[1]);
    write_file(w, database_name, &w->database);
    write_file(w, log_name, &w->log);
    assert_int_equal(try_open(w, NULL), ERR_OK);
    close_database(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_flipped_bit_of_the_log_brings_no_older_documents_back,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_flipped_bit_of_the_database_changes_no_document, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_log_of_pages_that_cannot_be_is_none, setup, teardown),
    };
    return cmocka_run_group_tests_name("damage of the registry's database", tests, NULL, NULL);
}
