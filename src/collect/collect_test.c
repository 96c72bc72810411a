/* collect_test.c - claims about the collector, with equipment that behaves and misbehaves over a
 * real socket. */
#include "collect/collect_testlib.h"

static void values_arrive_scaled_in_one_row_with_path_and_labels(void **state)
{
    struct world *w = *state;
    w->plc.registers[0] = 233;
    w->plc.registers[4] = 1;
    w->plc.registers[5] = 2;
    w->plc.coils[3] = true;
    begin(w, CONNECTION("tcp", "") DEVICE(
                 "press", POINT("column: a, address: \"400001\", scale: 0.1")
                              POINT("column: n, address: \"400005\", type: uint32, order: CDAB")
                                  POINT("column: lamp, address: \"000004\", type: bit")));
    want_number(w, "a", 23.3);
    want_number(w, "n", 0x20001);
    want_number(w, "lamp", 1);
    const struct batch *b = w->batches[w->batch_count - 1];
    assert_true(str_is(b->devices[0].path, "acme/hall/press"));
    assert_true(str_is(b->devices[0].labels[0].key, "area"));
    assert_int_equal(b->column_count, 3);
    assert_int_equal(b->row_count, 1);
    assert_int_equal(b->time[0] % 1000000, 0);
    assert_int_equal(w->plc.largest_count, 6); /* one request for both, bridging the gap */
}

static void cycles_start_at_multiples_of_the_interval(void **state)
{
    struct world *w = *state;
    begin(w, CONNECTION("tcp", "") DEVICE("press", POINT("column: a, address: \"400001\"")));
    want_number(w, "a", 0);
    usleep(400000);
    world_call(w, stop_collect, NULL);
    size_t good = 0;
    for (size_t i = 0; i < w->batch_count; i++)
        good += w->batches[i]->time[0] % 20000000 <= 6000000;
    assert_true(w->batch_count >= 8); /* 20 on an idle machine */
    assert_true(good >= w->batch_count / 2);
}

static void a_bad_address_spoils_only_itself(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 8; i++) w->plc.registers[i] = (uint16_t)(10 + i);
    w->plc.first_bad = w->plc.last_bad = 2;
    begin(w, CONNECTION("tcp", "")
                 DEVICE("press", POINT("column: a, address: \"400001\"")
                                     POINT("column: b, address: \"400003\"")
                                         POINT("column: c, address: \"400004\"")
                                             POINT("column: d, address: \"400008\"")));
    want_number(w, "a", 10);
    want_number(w, "c", 13);
    want_number(w, "d", 17);
    want_quality(w, "b", QualityBadNodeIdUnknown);
    unsigned before = w->plc.requests;
    size_t rows = w->batch_count;
    usleep(200000);
    double per_cycle = (double)(w->plc.requests - before) / (double)(w->batch_count - rows);
    assert_true(per_cycle <
                3); /* what was learned is remembered: two spans, not a hunt each time */
}

static void a_bad_gap_is_not_bridged_again(void **state)
{
    struct world *w = *state;
    w->plc.registers[0] = 1;
    w->plc.registers[5] = 2;
    w->plc.first_bad = w->plc.last_bad = 3;
    begin(w, CONNECTION("tcp", "") DEVICE("press", POINT("column: a, address: \"400001\"")
                                                       POINT("column: b, address: \"400006\"")));
    want_number(w, "a", 1);
    want_number(w, "b", 2);
}

static void a_silent_unit_is_bad_and_leaves_the_others_good(void **state)
{
    struct world *w = *state;
    w->plc.registers[0] = 5;
    w->plc.silent_unit = 9;
    begin(w,
          CONNECTION("rtu+tcp", "") DEVICE("press", POINT("column: a, address: \"1!400001\"")
                                                        POINT("column: b, address: \"9!400001\"")));
    world_call(w, fake_stop, NULL);
    w->plc.framing = &modbus_framing_rtu;
    world_call(w, fake_start, NULL);
    want_quality(w, "b", QualityBadTimeout);
    want_number(w, "a", 5);
    size_t rows = w->batch_count;
    usleep(400000);
    assert_true(w->batch_count - rows >=
                5); /* the silent unit rests: most cycles are not held up */
    w->plc.silent_unit = 0;
    want_number(w, "b", 5);
}

static void equipment_that_stops_is_bad_and_is_found_again(void **state)
{
    struct world *w = *state;
    w->plc.registers[0] = 5;
    begin(w, CONNECTION("tcp", "") DEVICE("press", POINT("column: a, address: \"400001\"")));
    want_number(w, "a", 5);
    world_call(w, fake_stop, NULL);
    want_quality(w, "a", QualityBadNoCommunication);
    world_call(w, fake_start, NULL);
    want_number(w, "a", 5);
}

static void exceptions_have_their_own_quality(void **state)
{
    static const struct {
        unsigned code;
        int quality;
    } cases[] = {{4, QualityBadDeviceFailure},    {6, QualityBadResourceUnavailable},
                 {1, QualityBadNotSupported},     {11, QualityBadTimeout},
                 {10, QualityBadNoCommunication}, {2, QualityBadNodeIdUnknown}};
    struct world *w = *state;
    w->plc.exception = cases[0].code;
    begin(w, CONNECTION("tcp", "") DEVICE("press", POINT("column: a, address: \"400001\"")));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        w->plc.exception = cases[i].code;
        want_quality(w, "a", cases[i].quality);
    }
}

static void check_framing(struct world *w, const char *manifest,
                          const struct modbus_framing *framing)
{
    w->plc.framing = framing;
    w->plc.splits = true;
    w->plc.sends_foreign = true;
    w->plc.sends_rubbish = true;
    w->plc.registers[0] = 77;
    begin(w, manifest);
    want_number(w, "a", 77);
}

static void split_foreign_and_damaged_frames_are_survived_over_tcp(void **state)
{
    check_framing(*state,
                  CONNECTION("tcp", "") DEVICE("press", POINT("column: a, address: \"400001\"")),
                  &modbus_framing_tcp);
}
static void split_foreign_and_damaged_frames_are_survived_over_rtu(void **state)
{
    check_framing(
        *state, CONNECTION("rtu+tcp", "") DEVICE("press", POINT("column: a, address: \"400001\"")),
        &modbus_framing_rtu);
}
static void split_foreign_and_damaged_frames_are_survived_over_ascii(void **state)
{
    check_framing(*state,
                  CONNECTION("ascii+tcp", "")
                      DEVICE("press", POINT("column: a, address: \"400001\"")),
                  &modbus_framing_ascii);
}

static void unchanged_values_are_not_stored_again_with_store_change(void **state)
{
    struct world *w = *state;
    w->plc.registers[0] = 100;
    begin(w, CONNECTION("tcp", "")
                 DEVICE("press", POINT("column: a, address: \"400001\", store: change")
                                     POINT("column: b, address: \"400001\", deadband: 5")));
    want_number(w, "a", 100);
    size_t rows = w->batch_count;
    usleep(150000);
    assert_int_equal(w->batch_count, rows);
    w->plc.registers[0] = 104;
    want_number(w, "a", 104);
    want_number(w, "b", 100); /* within the deadband */
    w->plc.registers[0] = 106;
    want_number(w, "b", 106);
}

static void a_changed_schema_is_looked_up_again(void **state)
{
    struct world *w = *state;
    begin(w, CONNECTION("tcp", "") DEVICE("press", POINT("column: a, address: \"400001\"")));
    want_number(w, "a", 0);
    w->plc.registers[0] = 9;
    w->conflicts_once = true;
    want_number(w, "a", 9);
}

static void changed_devices_take_effect_without_a_new_connection(void **state)
{
    struct world *w = *state;
    w->plc.registers[7] = 8;
    begin(w, CONNECTION("tcp", "") DEVICE("press", POINT("column: a, address: \"400001\"")));
    want_number(w, "a", 0);
    unsigned accepted = w->plc.accepted;
    world_call(w, load,
               (void *)(uintptr_t)DEVICE("other", POINT("column: b, address: \"400008\"")));
    want_number(w, "b", 8);
    assert_int_equal(w->plc.accepted, accepted);
}

static void remove_connection(struct world *w, void *arg)
{
    (void)arg;
    assert_true(registry_remove(w->registry, KIND_CONNECTION, STR("default"), STR("plc")));
}

static bool has_no_line(struct world *w, void *arg)
{
    (void)arg;
    struct collect_snapshot *s = collect_snapshot(w->collect);
    bool none = s->connection_count == 0 && s->point_count == 0;
    collect_snapshot_free(s);
    return none;
}

static void a_removed_connection_is_closed_and_comes_back_when_added_again(void **state)
{
    struct world *w = *state;
    char text[1024];
    w->plc.registers[0] = 5;
    begin(w, CONNECTION("tcp", "") DEVICE("press", POINT("column: a, address: \"400001\"")));
    want_number(w, "a", 5);
    world_call(w, remove_connection, NULL);
    world_wait(w, 1, has_no_line, NULL);
    size_t rows = w->batch_count;
    usleep(100000);
    assert_int_equal(w->batch_count, rows);
    w->plc.registers[0] = 6;
    snprintf(text, sizeof text, CONNECTION("tcp", ""), w->plc.at.port);
    world_call(w, load, text);
    want_number(w, "a", 6);
}

static bool has_timeouts(struct world *w, void *arg)
{
    (void)arg;
    struct collect_snapshot *s = collect_snapshot(w->collect);
    bool any = s->connections[0].timeouts > 0;
    collect_snapshot_free(s);
    return any;
}

/* An answer that arrives after its request was given up must not pass for the answer to the next
 * one. */
static void check_late(struct world *w, const char *manifest, const struct modbus_framing *framing)
{
    w->plc.framing = framing;
    w->plc.registers[0] = 100;
    w->plc.registers[50] = 200;
    begin(w, manifest);
    want_number(w, "a", 100);
    w->plc.delay_ns = 130000000;
    world_wait(w, WAIT_S, has_timeouts, NULL);
    usleep(999999);
    w->plc.delay_ns = 0;
    want_number(w, "a", 100);
    want_number(w, "b", 200);
    for (size_t i = 0; i < w->batch_count; i++) {
        const struct vector *a = batch_find_column(w->batches[i], 1),
                            *b = batch_find_column(w->batches[i], 2);
        assert_true(vector_is_null(a, 0) || a->d[0] == 100);
        assert_true(vector_is_null(b, 0) || b->d[0] == 200);
    }
}

#define TWO_ALIKE                                                                                  \
    DEVICE("press", POINT("column: a, address: \"400001\"") POINT("column: b, address: \"400051\""))
static void late_answers_are_never_taken_for_others_over_tcp(void **state)
{
    check_late(*state, CONNECTION("tcp", ", options: {inFlight: 1}") TWO_ALIKE,
               &modbus_framing_tcp);
}
static void late_answers_are_never_taken_for_others_over_rtu(void **state)
{
    check_late(*state, CONNECTION("rtu+tcp", "") TWO_ALIKE, &modbus_framing_rtu);
}

static void max_silence_stores_an_unchanged_value_again(void **state)
{
    struct world *w = *state;
    begin(w, CONNECTION("tcp", "")
                 DEVICE("press",
                        POINT("column: a, address: \"400001\", store: change, maxSilence: 100ms")));
    want_number(w, "a", 0);
    usleep(450000);
    assert_in_range(w->batch_count, 2, 10); /* and not the 22 of each cycle */
}

static void a_point_with_its_own_interval_is_absent_from_the_other_rows(void **state)
{
    struct world *w = *state;
    begin(w, CONNECTION("tcp", "")
                 DEVICE("press", POINT("column: a, address: \"400001\"")
                                     POINT("column: b, address: \"400002\", interval: 100ms")));
    want_number(w, "b", 0);
    usleep(400000);
    world_call(w, stop_collect, NULL);
    size_t both = 0;
    for (size_t i = 0; i < w->batch_count; i++) both += batch_find_column(w->batches[i], 2) != NULL;
    assert_true(both >= 2 && w->batch_count > 2 * both); /* 5 and 25 on an idle machine */
}

struct checking {
    struct arena arena;
    struct problems problems;
};

static void check_all(struct world *w, void *arg)
{
    struct checking *c = arg;
    static const enum resource_kind kinds[] = {KIND_CONNECTION, KIND_DEVICE};
    for (size_t k = 0; k < 2; k++) {
        struct resource *r;
        for (size_t at = 0; (r = registry_next(w->registry, kinds[k], &at));)
            collect_check(&w->context, w->registry, r, &c->problems);
    }
}

static void want_problem(struct checking *c, const char *path, const char *text)
{
    for (const struct problem *p = c->problems.first; p; p = p->next)
        if (strcmp(p->path, path) == 0 && strstr(p->text, text)) return;
    for (const struct problem *p = c->problems.first; p; p = p->next)
        print_error("%s: %s\n", p->path, p->text);
    fail_msg("no problem at %s with '%s'", path, text);
}

static void documents_are_checked_against_the_driver(void **state)
{
    struct world *w = *state;
    struct checking c;
    arena_init(&c.arena, NULL);
    problems_init(&c.problems, &c.arena);
    world_call(
        w, load,
        (void
             *)(uintptr_t)("apiVersion: millrace.io/v1\nkind: Connection\nmetadata: {name: plc}\n"
                           "spec: {driver: modbus, endpoint: \"rtu://ttyS0\", options: {unit: 300, maxGab: 1, ca: x.pem}}\n---\n"
                           "apiVersion: millrace.io/v1\nkind: Connection\nmetadata: {name: other}\n"
                           "spec: {driver: modbuss, endpoint: \"x\"}\n---\n"
                           "apiVersion: millrace.io/v1\nkind: Connection\nmetadata: {name: dialled}\n"
                           "spec: {driver: modbus, endpoint: \"listen+tcp://0.0.0.0:1\", "
                           "options: {registration: \"hex:0\", framing: rtx}}\n---\n"
                           "apiVersion: millrace.io/v1\nkind: Table\nmetadata: {name: t}\n"
                           "spec: {columns: [{name: a, type: bool}]}\n---\n" DEVICE(
                               "press", POINT("column: a, address: \"400001\"")
                                            POINT("column: b, address: \"40001\"") POINT(
                                                "column: c, address: \"300001\", access: rw"))));
    world_call(w, check_all, &c);
    want_problem(&c, "spec.endpoint",
                 "the path of the line is missing, such as rtu:///dev/ttyUSB0");
    want_problem(&c, "spec.options.ca", "goes with tls:// endpoints only");
    want_problem(&c, "spec.options.registration", "pairs of hex digits");
    want_problem(&c, "spec.options", "framing must be auto, tcp, rtu or ascii");
    want_problem(&c, "spec.options.unit", "from 0 to 255");
    want_problem(&c, "spec.options", "has no option 'maxGab'; did you mean maxGap?");
    want_problem(&c, "spec.driver", "there is no driver 'modbuss'; did you mean modbus?");
    want_problem(&c, "spec.points[0]", "do not fit column 'a' of type bool");
    want_problem(&c, "spec.points[1]", "has five digits");
    want_problem(&c, "spec.points[2]", "access must be r");
    arena_free(&c.arena);
}

/* ---- writing ---- */

static void bytes_are_read_back_with_the_zeros_among_them(void **state)
{
    struct world *w = *state;
    begin(w, CONNECTION("tcp", "") DEVICE(
                 "press", POINT("column: a, address: \"400001\", access: rw")
                              POINT("column: z, address: \"400005\", type: bytes(4), access: rw")));
    want_number(w, "a", 0);
    struct write_call *call = put(w, "z", "x");
    assert_int_equal(call->write.completion.err, ERR_OK);
    assert_true(call->write.has_read_back && call->write.read_back.s.size == 4);
    assert_memory_equal(call->write.read_back.s.at, "x\0\0\0", 4);
}

static void a_write_is_checked_sent_read_back_and_audited(void **state)
{
    struct world *w = *state;
    begin(w,
          CONNECTION("tcp", "") DEVICE(
              "press",
              POINT("column: a, address: \"400001\", scale: 0.1, access: rw, min: 0, max: 50")
                  POINT("column: b, address: \"400002\"")
                      POINT("column: c, address: \"300003\", access: rw") POINT(
                          "column: n, address: \"400005\", type: int32, order: CDAB, access: rw")
                          POINT("column: lamp, address: \"000004\", type: bit, access: rw")
                              POINT("column: flag, address: \"400010.3\", type: bit, access: rw")));
    want_number(w, "a", 0);
    struct write_call *call = put(w, "a", "23.3");
    assert_int_equal(call->write.completion.err, ERR_OK);
    assert_int_equal(w->plc.registers[0], 233);
    assert_true(call->write.has_read_back && call->write.read_back.d == 23.3 &&
                call->write.time_ns > 0);
    assert_non_null(
        strstr(w->audit, "ann press.a=23.3 (test): sent\nann press.a=23.3 (test): ok\n"));
    assert_int_equal(put(w, "a", "50.1")->write.completion.err, ERR_RANGE);
    assert_int_equal(put(w, "a", "warm")->write.completion.err, ERR_TYPE);
    assert_int_equal(put(w, "b", "1")->write.completion.err, ERR_READ_ONLY);
    assert_int_equal(put(w, "c", "1")->write.completion.err, ERR_READ_ONLY);
    assert_int_equal(put(w, "nothing", "1")->write.completion.err, ERR_NOT_FOUND);
    assert_int_equal(put(w, "n", "-2")->write.completion.err, ERR_OK);
    assert_int_equal(w->plc.registers[4], 0xFFFE);
    assert_int_equal(w->plc.registers[5], 0xFFFF);
    assert_int_equal(put(w, "lamp", "true")->write.completion.err, ERR_OK);
    assert_true(w->plc.coils[3]);
    w->plc.registers[9] = 0x00F0;
    assert_int_equal(put(w, "flag", "1")->write.completion.err, ERR_OK);
    assert_int_equal(w->plc.registers[9], 0x00F8);
    w->plc.exception = 4;
    call = put(w, "a", "1");
    assert_int_equal(call->write.completion.err, ERR_DEVICE);
    assert_non_null(strstr(call->write.completion.why.text, "exception 4"));
    w->plc.exception = 0;
    w->plc.silent_unit = 1;
    assert_int_equal(put(w, "a", "1")->write.completion.err, ERR_TIMEOUT);
}

static void a_read_on_demand_gives_one_row(void **state)
{
    struct world *w = *state;
    struct read_call call = {.read = {.ns = STR("default"), .device = STR("hall/press")}};
    begin(w, CONNECTION("tcp", "")
                 DEVICE("press", POINT("column: a, address: \"400001\", interval: 1h")
                                     POINT("column: b, address: \"400002\"")));
    want_number(w, "b", 0);
    w->plc.registers[0] = 3;
    world_call(w, start_read, &call);
    while (!atomic_load(&call.done)) usleep(500);
    assert_int_equal(call.read.completion.err, ERR_OK);
    assert_int_equal(call.read.batch->row_count, 1);
    assert_true(batch_find_column(call.read.batch, 1)->d[0] == 3);
    batch_release(call.read.batch);
}

static void check_snapshot(struct world *w, void *arg)
{
    (void)arg;
    struct collect_snapshot *s = collect_snapshot(w->collect);
    assert_int_equal(s->connection_count, 1);
    assert_int_equal(s->connections[0].state, COLLECT_CONNECTED);
    assert_true(s->connections[0].requests > 0 && s->connections[0].rtt_ns > 0 &&
                s->connections[0].bytes_in > 0);
    assert_int_equal(s->point_count, 2);
    assert_true(s->points[0].value.d == 4 && s->points[0].time_ns > 0);
    assert_int_equal(s->points[1].value.quality, (uint32_t)QualityBadTypeMismatch);
    assert_non_null(strstr(s->connections[0].last_error, "do not fit column 'name' of type text"));
    collect_snapshot_free(s);
}

static void the_snapshot_shows_values_states_and_what_is_wrong(void **state)
{
    struct world *w = *state;
    w->plc.registers[0] = 4;
    begin(w, CONNECTION("tcp", "") DEVICE("press", POINT("column: a, address: \"400001\"")
                                                       POINT("column: name, address: \"400002\"")));
    want_number(w, "a", 4);
    want_quality(w, "name", QualityBadTypeMismatch);
    world_call(w, check_snapshot, NULL);
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CLAIM(values_arrive_scaled_in_one_row_with_path_and_labels),
        CLAIM(cycles_start_at_multiples_of_the_interval),
        CLAIM(a_bad_address_spoils_only_itself),
        CLAIM(a_bad_gap_is_not_bridged_again),
        CLAIM(a_silent_unit_is_bad_and_leaves_the_others_good),
        CLAIM(equipment_that_stops_is_bad_and_is_found_again),
        CLAIM(exceptions_have_their_own_quality),
        CLAIM(split_foreign_and_damaged_frames_are_survived_over_tcp),
        CLAIM(split_foreign_and_damaged_frames_are_survived_over_rtu),
        CLAIM(split_foreign_and_damaged_frames_are_survived_over_ascii),
        CLAIM(unchanged_values_are_not_stored_again_with_store_change),
        CLAIM(a_changed_schema_is_looked_up_again),
        CLAIM(changed_devices_take_effect_without_a_new_connection),
        CLAIM(a_removed_connection_is_closed_and_comes_back_when_added_again),
        CLAIM(late_answers_are_never_taken_for_others_over_tcp),
        CLAIM(late_answers_are_never_taken_for_others_over_rtu),
        CLAIM(max_silence_stores_an_unchanged_value_again),
        CLAIM(a_point_with_its_own_interval_is_absent_from_the_other_rows),
        CLAIM(documents_are_checked_against_the_driver),
        CLAIM(bytes_are_read_back_with_the_zeros_among_them),
        CLAIM(a_write_is_checked_sent_read_back_and_audited),
        CLAIM(a_read_on_demand_gives_one_row),
        CLAIM(the_snapshot_shows_values_states_and_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
