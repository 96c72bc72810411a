/* collect_station_test.c - claims about stations that are busy, late or slow to make themselves
 * known, and about asking equipment once. */
#include "collect/collect_priv.h"
#include "collect/collect_testlib.h"

/* Two values far apart, so that each is a request of its own; polled hardly ever. */
#define TWO_VALUES                                                                                 \
    DEVICE("press", POINT("column: a, address: \"400001\", interval: 1h, access: rw")              \
                        POINT("column: b, address: \"400101\", interval: 1h"))

static double read_value(struct world *w, const char *point, enum err *err)
{
    struct read_call call = {.read = {.ns = STR("default"), .device = STR("press")}};
    double value = NAN;
    call.read.point = str_of(point);
    world_call(w, start_read, &call);
    while (!atomic_load(&call.done)) usleep(500);
    *err = call.read.completion.err;
    if (*err) return value;
    const struct vector *v = &call.read.batch->columns[0].data;
    struct value found = vector_get(v, 0);
    if (!found.is_null) value = found.d;
    batch_release(call.read.batch);
    return value;
}

static bool is_up(struct world *w, void *arg)
{
    (void)arg;
    struct collect_snapshot *s = collect_snapshot(w->collect);
    bool up = s->connection_count && s->connections[0].state == COLLECT_CONNECTED;
    collect_snapshot_free(s);
    return up;
}

static void a_busy_station_is_given_time_and_asked_again(void **state)
{
    struct world *w = *state;
    w->plc.registers[0] = 5;
    w->plc.exception = 6;
    w->plc.exceptions_left = 1;
    begin(w, CONNECTION("tcp", "") DEVICE("press", POINT("column: a, address: \"400001\"")));
    want_number(w, "a", 5);
    struct value first = vector_get(&w->batches[0]->columns[0].data, 0);
    assert_false(first.is_null); /* the first cycle has its value, only later */
    w->plc.exception = 6;
    w->plc.exceptions_left = 0;
    unsigned before = w->plc.requests;
    usleep(450000);
    assert_true(w->plc.requests - before <=
                8); /* 2 tries in each 300 ms, not one each millisecond */
}

static void a_write_that_is_accepted_is_read_back_later(void **state)
{
    struct world *w = *state;
    w->plc.registers[0] = 7;
    begin(w, CONNECTION("tcp", "") TWO_VALUES);
    world_wait(w, WAIT_S, is_up, NULL);
    w->plc.exception = 5;
    w->plc.exceptions_left = 1;
    int64_t start = w->context.os->ops->mono_ns(w->context.os);
    struct write_call *call = put(w, "a", "9");
    assert_int_equal(call->write.completion.err, ERR_OK);
    assert_true(w->context.os->ops->mono_ns(w->context.os) - start >= 90000000);
    assert_true(call->write.has_read_back && call->write.read_back.d == 7);
}

static void a_busy_station_gets_its_write_once_more(void **state)
{
    struct world *w = *state;
    begin(w, CONNECTION("tcp", "") TWO_VALUES);
    world_wait(w, WAIT_S, is_up, NULL);
    w->plc.exception = 6;
    w->plc.exceptions_left = 1;
    assert_int_equal(put(w, "a", "9")->write.completion.err, ERR_OK);
    assert_int_equal(w->plc.registers[0], 9);
}

static void a_late_answer_is_not_taken_for_that_to_another_read(void **state)
{
    struct world *w = *state;
    enum err err;
    w->plc.framing = &modbus_framing_rtu;
    w->plc.registers[0] = 11;
    w->plc.registers[100] = 22;
    begin(w, "apiVersion: millrace.io/v1\nkind: Connection\nmetadata: {name: plc}\n"
             "spec: {driver: modbus, endpoint: \"rtu+tcp://127.0.0.1:%u\", timeout: 100ms, "
             "retries: 0}\n---\n" TWO_VALUES);
    world_wait(w, WAIT_S, is_up, NULL);
    w->plc.in_order = true;
    w->plc.delay_ns = 170000000; /* comes when b has been asked for */
    assert_true(isnan(read_value(w, "a", &err)));
    w->plc.delay_ns = 0;
    assert_true(w->plc.late_frame.pdu != NULL);
    world_wait(w, WAIT_S, is_up, NULL);
    assert_true(read_value(w, "b", &err) == 22);
    assert_int_equal(err, ERR_OK);
    assert_int_equal(w->plc.requests, 3); /* what came first was not believed */
    assert_true(read_value(w, "a", &err) == 11);
}

static void function_23_writes_and_reads_back_at_once(void **state)
{
    struct world *w = *state;
    begin(w, CONNECTION("tcp", ", options: {readBack: fc23}") TWO_VALUES);
    world_wait(w, WAIT_S, is_up, NULL);
    unsigned before = w->plc.requests;
    struct write_call *call = put(w, "a", "-3");
    assert_int_equal(call->write.completion.err, ERR_OK);
    assert_true(call->write.has_read_back && call->write.read_back.d == -3);
    assert_int_equal(w->plc.requests, before + 1);
    assert_int_equal(w->plc.registers[0], 0xFFFD);
}

/* ---- asking once ---- */

struct test_call {
    struct collect_test test;
    _Atomic bool done;
};

static void on_tested(struct completion *c)
{
    atomic_store(&((struct test_call *)c)->done, true);
}

static void start_test(struct world *w, void *arg)
{
    struct test_call *call = arg;
    completion_init(&call->test.completion, &w->main, on_tested);
    collect_test(w->collect, &call->test);
}

static struct test_call ask_once(struct world *w, const char *address, const char *type)
{
    struct test_call call = {.test = {.ns = STR("default"), .connection = STR("plc")}};
    call.test.address = str_of(address);
    call.test.type = str_of(type);
    world_call(w, start_test, &call);
    while (!atomic_load(&call.done)) usleep(500);
    return call;
}

static void a_test_gives_value_raw_bytes_and_round_trip(void **state)
{
    struct world *w = *state;
    w->plc.registers[3] = 0xFFFE;
    w->plc.first_bad = w->plc.last_bad = 9;
    begin(w, CONNECTION("tcp", "") TWO_VALUES);
    struct test_call call = ask_once(w, "400004", "int16"); /* waits for the line */
    assert_int_equal(call.test.completion.err, ERR_OK);
    assert_true(call.test.has_value && call.test.value.i == -2 && call.test.rtt_ns > 0);
    assert_int_equal(call.test.raw_size, 2);
    assert_memory_equal(call.test.raw, "\xFF\xFE", 2);
    call = ask_once(w, "400010", "int16");
    assert_int_equal(call.test.completion.err, ERR_DEVICE);
    assert_non_null(strstr(call.test.completion.why.text, "exception 2"));
    assert_true(call.test.frame_size > 0);
    call = ask_once(w, "40001", "int16");
    assert_int_equal(call.test.completion.err, ERR_INVALID);
    w->plc.silent_unit = 1;
    call = ask_once(w, "400001", "int16");
    assert_int_equal(call.test.completion.err, ERR_TIMEOUT);
    world_call(w, fake_stop, NULL);
    call = ask_once(w, "400001", "int16");
    assert_true(call.test.completion.err != ERR_OK && !call.test.has_value);
}

struct scan_call {
    struct collect_scan scan;
    _Atomic bool done;
};

static void on_scanned(struct completion *c)
{
    atomic_store(&((struct scan_call *)c)->done, true);
}

static void start_scan(struct world *w, void *arg)
{
    struct scan_call *call = arg;
    completion_init(&call->scan.completion, &w->main, on_scanned);
    collect_scan(w->collect, &call->scan);
}

/* All pieces; counts the cells that answer, and checks that they are the right ones. */
static unsigned scan_cells(struct world *w, const char *range)
{
    struct scan_call call;
    unsigned cells = 0;
    uint64_t from = 0;
    do {
        call = (struct scan_call){.scan = {.ns = STR("default"), .connection = STR("plc")}};
        call.scan.range = str_of(range);
        call.scan.from = from;
        world_call(w, start_scan, &call);
        while (!atomic_load(&call.done)) usleep(500);
        assert_int_equal(call.scan.completion.err, ERR_OK);
        for (size_t i = 0; i < call.scan.find_count; i++) {
            const struct collect_scan_find *find = &call.scan.finds[i];
            if (find->kind != COLLECT_SCAN_CELLS) continue;
            assert_int_not_equal(find->station, 9); /* the silent one */
            assert_true(find->first + find->count <= 20 || find->first > 40);
            cells += find->count;
        }
        assert_true(call.scan.next > from);
        from = call.scan.next;
        collect_scan_free(&call.scan);
    } while (from < call.scan.total);
    return cells;
}

static void a_scan_finds_every_cell_that_answers_and_no_other(void **state)
{
    struct world *w = *state;
    w->plc.first_bad = 20;
    w->plc.last_bad = 40;
    w->plc.silent_unit = 9;
    begin(w, CONNECTION("tcp", "") TWO_VALUES);
    world_wait(w, WAIT_S, is_up, NULL);
    assert_int_equal(scan_cells(w, "8-10!400001-400250"), 2 * (250 - 21));
}

struct failing {
    struct scan_call call;
    enum err err;
};

static void fail_line(struct world *w, void *arg)
{
    struct failing *f = arg;
    line_fail(config_find_line(w->collect, STR("default"), STR("plc")), f->err, "the line is gone");
}

static void a_scan_whose_line_fails_ends_with_the_lines_error(void **state)
{
    struct world *w = *state;
    static const enum err errors[] = {ERR_TIMEOUT, ERR_TLS, ERR_NO_MEMORY, ERR_CONNECT};
    w->plc.silent_unit = 9;
    begin(w, CONNECTION("tcp", "") TWO_VALUES);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct failing f = {.err = errors[i]};
        struct collect_scan *scan = &f.call.scan;
        *scan = (struct collect_scan){
            .ns = STR("default"), .connection = STR("plc"), .range = STR("9!400001-400010")};
        world_wait(w, WAIT_S, is_up, NULL);
        world_call(w, start_scan, &f.call);
        world_call(w, fail_line, &f);
        while (!atomic_load(&f.call.done)) usleep(500);
        assert_int_equal(scan->completion.err, errors[i]);
        assert_non_null(strstr(scan->completion.why.text, "the line is gone"));
        assert_int_equal(scan->next, 0); /* that station is still to be asked */
        collect_scan_free(scan);
    }
}

static void a_scan_leaves_the_cycles_of_a_slow_line_alone(void **state)
{
    struct world *w = *state;
    w->plc.framing = &modbus_framing_rtu;
    w->plc.silent_unit = 9;
    begin(w, CONNECTION("rtu+tcp", "")
                 DEVICE("press", POINT("column: a, address: \"400001\", interval: 150ms")));
    want_number(w, "a", 0);
    size_t before = w->batch_count;
    for (int i = 0; i < 6; i++) /* a request that is not answered would last 100 ms */
        assert_int_equal(scan_cells(w, "9!400001-400010"), 0);
    assert_int_equal(scan_cells(w, "1!400001-400010"), 10);
    usleep(400000);
    size_t late = 0;
    for (size_t i = before; i < w->batch_count; i++)
        late += w->batches[i]->time[0] % 150000000 > 40000000;
    assert_true(w->batch_count > before + 1 && late <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_busy_station_is_given_time_and_asked_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_write_that_is_accepted_is_read_back_later, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_busy_station_gets_its_write_once_more, setup, teardown),
        cmocka_unit_test_setup_teardown(a_late_answer_is_not_taken_for_that_to_another_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(function_23_writes_and_reads_back_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_test_gives_value_raw_bytes_and_round_trip, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_scan_finds_every_cell_that_answers_and_no_other, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_scan_whose_line_fails_ends_with_the_lines_error, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_scan_leaves_the_cycles_of_a_slow_line_alone, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
