/* store_since_test.c - claims about a reader that follows a table by a cursor (since.h): it gets
 * every row whatever becomes of the head, the log and the parts meanwhile, a device's rows in their
 * order; one that does not fall behind gets each of them once. */
#include "os/sim_testlib.h"
#include "store/since.h"
#include "store/store_testlib.h"

enum { SLOTS = 300, STEPS = 400 };

/* The writer's table and the reader's copy: the value written, and seen, last of each key. */
struct follower {
    struct world *world;
    struct schema *schema;
    struct store_since *since;
    struct store_place place;
    unsigned random;
    int64_t values; /* given so far; each is written once */
    int64_t written[DEVICES][SLOTS], seen[DEVICES][SLOTS];
    uint64_t rows, again; /* that came; that had come before */
};

static unsigned pick(struct follower *f, unsigned below)
{
    return (unsigned)rand_r(&f->random) % below;
}

static void begin(struct follower *f, struct world *w)
{
    f->world = w;
    f->random = seed_of_run();
    print_message("seed %u\n", f->random);
    f->schema = make_table(w);
    f->since = store_since_new(w->store, STR("default"), STR("t"));
    assert_non_null(f->since);
}

static void end(struct follower *f)
{
    store_since_free(f->since);
    schema_release(f->schema);
    free(f);
}

static void write_rows(struct follower *f, unsigned count, bool in_order)
{
    struct batch *b = batch_new(f->schema, NULL);
    for (unsigned i = 0; i < count; i++) {
        char name[8];
        uint32_t index;
        unsigned device = pick(f, DEVICES);
        unsigned slot = in_order ? (unsigned)(f->values % SLOTS) : pick(f, SLOTS);
        struct value v = {.type = TYPE_BIGINT, .i = ++f->values};
        snprintf(name, sizeof name, "d%u", device);
        assert_int_equal(batch_add_device(b, str_of(name), NULL, 0, &index), ERR_OK);
        assert_int_equal(batch_begin_row(b, index, slot), ERR_OK);
        assert_int_equal(batch_set(b, &f->schema->columns[0], &v), ERR_OK);
        f->written[device][slot] = v.i;
    }
    put(f->world, b);
}

/* The next row that the scan gives, within the chunk it gave last. */
static void take(struct follower *f, struct str device, int64_t time, int64_t value)
{
    unsigned d = (unsigned)(device.at[1] - '0');
    assert_true(d < DEVICES && time >= 0 && time < SLOTS);
    f->rows++;
    f->again += f->seen[d][time] == value;
    assert_true(value >= f->seen[d][time]); /* never an older version after a newer one */
    f->seen[d][time] = value;
}

/* Up to `limit` rows of a scan; `place` follows each row that came. */
static enum err read_scan(struct follower *f, struct sql_scan *scan, uint64_t limit, bool *is_done)
{
    uint64_t count = 0;
    while (!*is_done && count < limit) {
        struct sql_chunk chunk;
        enum err err = store_since_source.scan_next(scan, &chunk, NULL);
        if (err) return err;
        *is_done = chunk.row_count == 0;
        for (uint32_t i = 0; i < chunk.row_count && count < limit; i++, count++) {
            struct str device = chunk.device.s[0];
            bool same = str_is(device, f->place.device);
            assert_true(!same || chunk.time.i[i] > f->place.time_ns);
            take(f, device, chunk.time.i[i], vector_get(&chunk.columns[0], i).i);
            (void)str_copy(f->place.device, sizeof f->place.device, device);
            f->place.time_ns = chunk.time.i[i];
        }
    }
    return ERR_OK;
}

/* Up to `limit` rows of a pass, or those before a failure. */
static enum err try_pass(struct follower *f, uint64_t limit, bool *is_done)
{
    const struct sql_source *source = &store_since_source;
    struct sql_table table = {0};
    struct sql_scan *scan = NULL;
    struct arena arena;
    void *snapshot;
    uint16_t id = 1;
    bool is_empty;
    struct sql_scan_request request = {.time_from_ns = INT64_MIN,
                                       .time_to_ns = INT64_MAX,
                                       .column_count = 1,
                                       .columns = &id,
                                       .want_time = true,
                                       .want_device = true};
    *is_done = false;
    store_since_begin(f->since, &f->place, &is_empty);
    enum err err = source->snapshot_open(f->since, &snapshot);
    if (err) return err;
    arena_init(&arena, NULL);
    err = source->find_table(f->since, STR("default"), STR(""), STR("t"), &arena, &table, NULL);
    bool has_table = !err;
    if (!err) err = source->scan_open(f->since, snapshot, &table, &request, NULL, &scan, NULL);
    if (!err) err = read_scan(f, scan, limit, is_done);
    if (scan) source->scan_close(scan, NULL);
    if (has_table) source->close_table(f->since, &table);
    source->snapshot_close(f->since, snapshot);
    arena_free(&arena);
    if (*is_done) f->place = (struct store_place){.position = f->place.up_to};
    return err;
}

/* The same, of a pass that does not fail; true: it was done. */
static bool read_pass(struct follower *f, uint64_t limit)
{
    bool is_done;
    assert_int_equal(try_pass(f, limit, &is_done), ERR_OK);
    return is_done;
}

static void has_all(const struct follower *f)
{
    for (unsigned d = 0; d < DEVICES; d++)
        for (unsigned i = 0; i < SLOTS; i++) assert_int_equal(f->seen[d][i], f->written[d][i]);
}

static void catch_up(struct follower *f)
{
    while (!read_pass(f, UINT64_MAX) ||
           f->place.position < store_positions(f->world->store).applied)
        continue;
    has_all(f);
}

/* A restart, as after kill -9: the reader has only its place. */
static void restart(struct follower *f)
{
    store_since_free(f->since);
    reopen(f->world);
    f->since = store_since_new(f->world->store, STR("default"), STR("t"));
    assert_non_null(f->since);
}

static void a_reader_gets_every_row_whatever_happens_meanwhile(void **state)
{
    struct follower *f = calloc(1, sizeof *f);
    begin(f, *state);
    for (int i = 0; i < STEPS; i++) {
        switch (pick(f, 9)) {
        case 0: flush(f->world); break;
        case 1: read_pass(f, 1 + pick(f, 60)); break; /* interrupted, mostly */
        case 2: read_pass(f, UINT64_MAX); break;
        case 3: store_since_rest(f->since); break;
        case 4:
            if (pick(f, 8) == 0) restart(f);
            break;
        default: write_rows(f, 1 + pick(f, 40), pick(f, 2)); break;
        }
    }
    catch_up(f);
    assert_true(f->rows > SLOTS);
    end(f);
}

static void a_reader_that_keeps_up_gets_each_row_once(void **state)
{
    struct follower *f = calloc(1, sizeof *f);
    begin(f, *state);
    read_pass(f, UINT64_MAX);
    for (int i = 0; i < 60; i++) {
        write_rows(f, 20, i % 2);
        if (i % 3 == 0) flush(f->world); /* sealed between two passes: the held view has it */
        assert_true(i % 3 || store_since_is_urgent(f->since));
        read_pass(f, UINT64_MAX);
    }
    while (f->place.position < store_positions(f->world->store).applied) read_pass(f, UINT64_MAX);
    has_all(f);
    assert_int_equal(f->again, 0);
    end(f);
}

static void a_reader_goes_on_exactly_after_a_restart(void **state)
{
    struct follower *f = calloc(1, sizeof *f);
    begin(f, *state);
    for (int i = 0; i < 10; i++) {
        write_rows(f, 50, false);
        read_pass(f, UINT64_MAX);
        restart(f);
    }
    read_pass(f, UINT64_MAX);
    has_all(f);
    assert_int_equal(f->again, 0); /* the log has the position of every row */
    end(f);
}

/* The n-th call of a pass fails, for every n: what had come stays, and the next pass brings the
 * rest, exactly. */
static void each_failed_call_of_a_pass_costs_no_row(void **state)
{
    static const int faults[] = {SIM_FAULT_IO, SIM_FAULT_ALLOCATION};
    struct follower *f = calloc(1, sizeof *f);
    struct world *w = *state;
    begin(f, w);
    for (int kind = 0; kind < 2; kind++) {
        bool happened = true;
        uint64_t failed = 0;
        for (uint64_t n = 1; happened; n++) {
            assert_true(n < 5000);
            write_rows(f, 30, n % 2);
            if (n % 3 || faults[kind] == SIM_FAULT_IO) flush(w);
            write_rows(f, 10, false);
            /* Nothing is known then of what lies in parts. */
            if (n % 4 == 1 || faults[kind] == SIM_FAULT_IO) restart(f);
            if (faults[kind] == SIM_FAULT_IO) sim_fault_arm(w->os, SIM_FAULT_IO, n);
            if (faults[kind] == SIM_FAULT_ALLOCATION) mem_test_fail(n);
            bool is_done;
            enum err err = try_pass(f, UINT64_MAX, &is_done);
            happened =
                faults[kind] == SIM_FAULT_IO ? sim_fault_happened(w->os) : mem_test_count() >= n;
            sim_fault_arm(w->os, SIM_FAULT_NONE, 0);
            mem_test_fail(0);
            assert_true(happened || err == ERR_OK);
            assert_true(err == ERR_OK || err == ERR_IO || err == ERR_NO_MEMORY ||
                        err == ERR_BUDGET);
            assert_true(is_done == (err == ERR_OK));
            failed += err != ERR_OK;
            catch_up(f);
        }
        assert_true(failed > 1);
    }
    end(f);
}

/* A disk that never gives a block again holds a reader up only as long as it wants. */
static void a_reader_that_gives_up_leaves_out_what_the_disk_does_not_give(void **state)
{
    struct follower *f = calloc(1, sizeof *f);
    struct world *w = *state;
    bool is_done;
    begin(f, w);
    write_rows(f, 30, true);
    flush(w);
    restart(f);
    for (int i = 0; i < 2; i++) {
        store_since_give_up(f->since, i);
        sim_fault_arm(w->os, SIM_FAULT_IO, 1);
        assert_int_equal(try_pass(f, UINT64_MAX, &is_done), i ? ERR_OK : ERR_IO);
        assert_true(sim_fault_happened(w->os) && is_done == i);
        sim_fault_arm(w->os, SIM_FAULT_NONE, 0);
        assert_true((f->place.position > 0) == i);
    }
    assert_true(f->rows < 30);
    end(f);
}

static void other_tables_are_not_found(void **state)
{
    struct follower *f = calloc(1, sizeof *f);
    begin(f, *state);
    struct sql_table table;
    struct arena arena;
    bool is_empty;
    arena_init(&arena, NULL);
    store_since_begin(f->since, &f->place, &is_empty);
    assert_int_equal(store_since_source.find_table(f->since, STR("default"), STR(""), STR("u"),
                                                   &arena, &table, NULL),
                     ERR_OK);
    assert_null(table.schema);
    arena_free(&arena);
    end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_reader_gets_every_row_whatever_happens_meanwhile),
        STORE_TEST(a_reader_that_keeps_up_gets_each_row_once),
        STORE_TEST(a_reader_goes_on_exactly_after_a_restart),
        STORE_SIM_TEST(each_failed_call_of_a_pass_costs_no_row),
        STORE_SIM_TEST(a_reader_that_gives_up_leaves_out_what_the_disk_does_not_give),
        STORE_TEST(other_tables_are_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
