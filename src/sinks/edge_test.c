/* edge_test.c - claims about an edge node's messages, and about templates of topics: numbers run
 * without a gap, what may be lost is born again, braces that stand alone are found. */
#include "sinks/edge.h"
#include "data/sparkplug.h"
#include "sinks/sinks_priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static const uint64_t sent_ms = 1795369070483;

struct seen {
    char verbs[600]; /* first letters: N and D births in capitals, data d */
    unsigned count, fails_at;
    uint64_t next_seq;
    bool has_gap;
    bool lacks_time; /* of a payload the moment it is sent, and of each metric some time */
};

/* What a host would see. */
static bool take_message(void *arg, struct str topic, struct str payload)
{
    struct seen *s = arg;
    struct sparkplug_payload read;
    if (s->fails_at && s->count + 1 == s->fails_at) {
        s->fails_at = 0;
        return false;
    }
    assert_int_equal(sparkplug_read(payload, &read, NULL), ERR_OK);
    bool is_node = str_starts(topic, "spBv1.0/g/NBIRTH/e"),
         is_birth = str_starts(topic, "spBv1.0/g/DBIRTH/e/");
    if (is_node) s->next_seq = 0;
    s->has_gap |= read.has_seq && read.seq != s->next_seq;
    s->next_seq = (s->next_seq + 1) & 255;
    s->lacks_time |= !read.has_timestamp || read.timestamp_ms != sent_ms;
    struct reader at = reader_of(read.text.at, read.text.size);
    for (struct sparkplug_metric m; sparkplug_next(&at, &m);) s->lacks_time |= !m.has_timestamp;
    assert_true(s->count + 1 < sizeof s->verbs);
    s->verbs[s->count++] = is_node ? 'N' : is_birth ? 'D' : 'd';
    s->verbs[s->count] = 0;
    return true;
}

static const int64_t times[] = {1000000, 2000000, 3000000};
static const uint8_t no_null[3];
static const uint32_t good[3];
static const int64_t values[] = {7, 8, 9};
static const struct millrace_sink_text devices[] = {{"a/1", 3}, {"a/1", 3}, {"a/2", 3}};
static const struct millrace_sink_column columns[] = {
    {"n", "", MILLRACE_SINK_INT, no_null, good, values},
    {"m", "", MILLRACE_SINK_INT, no_null, good, values}};

static struct millrace_sink_batch rows(size_t count, size_t column_count)
{
    return (struct millrace_sink_batch){.row_count = count,
                                        .now_ns = (int64_t)sent_ms * 1000000,
                                        .time_ns = times,
                                        .device = devices,
                                        .column_count = column_count,
                                        .columns = columns};
}

static void begin(struct edge *e, struct seen *s)
{
    *s = (struct seen){.count = 0};
    edge_init(e, STR("g"), STR("e"), 300);
    e->send = take_message;
    e->arg = s;
}

static void births_come_before_data_and_numbers_run_on(void **state)
{
    (void)state;
    struct edge e;
    struct seen s;
    begin(&e, &s);
    struct millrace_sink_batch b = rows(3, 1);
    assert_true(edge_take(&e, &b));
    assert_string_equal(s.verbs, "NDdD");
    for (int i = 0; i < 150; i++) assert_true(edge_take(&e, &b)); /* past 255 */
    assert_false(s.has_gap);
    assert_true(e.bd_seq < 256);
    edge_free(&e);
}

static void what_was_not_sent_is_born_again(void **state)
{
    (void)state;
    struct edge e;
    struct seen s;
    begin(&e, &s);
    struct millrace_sink_batch b = rows(2, 1);
    assert_true(edge_take(&e, &b));
    s.fails_at = s.count + 1;
    assert_false(edge_take(&e, &b));
    assert_true(edge_take(&e, &b));
    assert_string_equal(s.verbs, "NDdNDd");
    assert_false(s.has_gap);
    edge_free(&e);
}

/* Sparkplug 3.0: payloads-nbirth-timestamp, -dbirth-, -ddata-,
 * payloads-name-birth-data-requirement. The rows are as old as 1970 here. */
static void payloads_have_the_time_of_their_sending_and_all_metrics_one(void **state)
{
    (void)state;
    struct edge e;
    struct seen s;
    begin(&e, &s);
    struct millrace_sink_batch b = rows(3, 1);
    assert_true(edge_take(&e, &b) && edge_rebirth(&e, sent_ms));
    edge_leave(&e, sent_ms);
    assert_string_equal(s.verbs, "NDdDNDDd");
    assert_false(s.lacks_time);
    edge_free(&e);
}

static void another_column_is_another_birth(void **state)
{
    (void)state;
    struct edge e;
    struct seen s;
    begin(&e, &s);
    struct millrace_sink_batch one = rows(1, 1), two = rows(1, 2);
    assert_true(edge_take(&e, &one) && edge_take(&e, &two) && edge_take(&e, &two));
    assert_string_equal(s.verbs, "NDNDd");
    edge_free(&e);
}

static void note_order(void *arg, const struct edge_order *order, enum err err,
                       const struct why *why)
{
    assert_int_equal(err, ERR_NOT_FOUND);
    assert_non_null(strstr(why->text, "ghost/n"));
    assert_true(order->device.size == 0 && str_is(order->metric, "n"));
    ++*(int *)arg;
}

static void a_command_for_nobody_names_no_other_device(void **state)
{
    (void)state;
    struct edge e;
    struct seen s;
    struct arena arena;
    struct buf out = BUF_EMPTY;
    int orders = 0;
    const struct sparkplug_metric m = {.has_name = true,
                                       .name = STR("ghost/n"),
                                       .datatype = SPARKPLUG_INT64,
                                       .field = SPARKPLUG_LONG_VALUE,
                                       .bits = 1};
    begin(&e, &s);
    arena_init(&arena, NULL);
    struct millrace_sink_batch batch = rows(3, 2);
    assert_true(edge_take(&e, &batch));
    sparkplug_write_begin(&out, 1, false, 0);
    sparkplug_write_metric(&out, &m);
    assert_int_equal(edge_read_command(&e, STR("spBv1.0/g/NCMD/e"), buf_str(&out), &arena,
                                       note_order, &orders, NULL),
                     ERR_OK);
    assert_int_equal(orders, 1);
    buf_free(&out);
    arena_free(&arena);
    edge_free(&e);
}

static void templates_are_read_to_their_end(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_good;
        unsigned names;
    } cases[] = {{"a/{device}/{label.x}", true, 2},
                 {"plain", true, 0},
                 {"{a}{b}", true, 2},
                 {"a/{device", false, 0},
                 {"a}", false, 0},
                 {"{}", false, 0},
                 {"{a{b}}", false, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str rest = str_of(cases[i].text), text, name;
        bool is_good = true;
        unsigned names = 0;
        while (rest.size && (is_good = sink_topic_next(&rest, &text, &name)))
            names += name.size > 0;
        assert_int_equal(is_good, cases[i].is_good);
        if (is_good) assert_int_equal(names, cases[i].names);
    }
}

static void only_a_rebirth_is_asked_for(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    struct sparkplug_metric m = {.has_name = true,
                                 .name = STR("Node Control/Rebirth"),
                                 .datatype = SPARKPLUG_BOOLEAN,
                                 .field = SPARKPLUG_BOOLEAN_VALUE,
                                 .bits = 1};
    sparkplug_write_begin(&out, 1, false, 0);
    sparkplug_write_metric(&out, &m);
    assert_true(edge_asks_rebirth(buf_str(&out)));
    assert_false(edge_asks_rebirth(STR("\xff\xff")));
    buf_clear(&out);
    m.bits = 0;
    sparkplug_write_begin(&out, 1, false, 0);
    sparkplug_write_metric(&out, &m);
    assert_false(edge_asks_rebirth(buf_str(&out)));
    buf_free(&out);
}

static bool keep_message(void *host, const struct millrace_sink_message *message)
{
    buf_printf((struct buf *)host, "%.*s %.*s", (int)message->topic.size, message->topic.at,
               (int)message->payload.size, message->payload.at);
    return true;
}

/* Hands three rows over while the n-th allocation fails (0: none); what went out is in `sent`.
 * False: there are not so many. */
static bool hand_over(enum sink_format format, uint64_t n, struct buf *sent,
                      enum millrace_sink_answer *answer)
{
    static const uint32_t bad[3] = {0x80050000, 0x80050000, 0x80050000};
    const struct millrace_sink_column seen[] = {{"n", "", MILLRACE_SINK_INT, no_null, bad, values},
                                                {"m", "", MILLRACE_SINK_INT, no_null, bad, values}};
    const struct sink_mqtt_spec spec = {.format = (int)format, .topic = STR("t/{device}")};
    const struct millrace_sink_config config = {.spec = &spec};
    const struct millrace_sink_host host = {sent, keep_message};
    struct millrace_sink_batch batch = rows(3, 2);
    char why[MILLRACE_SINK_WHY_BYTES] = "";
    void *state = mem_alloc_zero(1, mqtt_sink.state_bytes);
    batch.columns = seen;
    batch.table = batch.ns = "x";
    assert_true(mqtt_sink.open(state, &config, why));
    buf_reserve(sent, 4096);
    mem_test_fail(n);
    *answer = mqtt_sink.take(state, &batch, &host, why);
    bool has_failed = mem_test_count() >= n;
    mem_test_fail(0);
    mqtt_sink.close(state);
    mem_free(state);
    return has_failed;
}

static void a_message_without_memory_is_not_sent_with_a_part_of_it_missing(void **state)
{
    (void)state;
    static const enum sink_format formats[] = {SINK_JSON, SINK_JSON_ARRAY, SINK_CSV};
    for (size_t f = 0; f < 3; f++) {
        struct buf whole = BUF_EMPTY;
        enum millrace_sink_answer answer;
        bool has_failed = hand_over(formats[f], 0, &whole, &answer);
        assert_int_equal(answer, MILLRACE_SINK_TAKEN);
        for (uint64_t n = 1; has_failed; n++) {
            struct buf sent = BUF_EMPTY;
            has_failed = hand_over(formats[f], n, &sent, &answer);
            assert_int_equal(answer, has_failed ? MILLRACE_SINK_RETRY : MILLRACE_SINK_TAKEN);
            assert_true(sent.size <= whole.size && !memcmp(sent.at, whole.at, sent.size));
            buf_free(&sent);
        }
        buf_free(&whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(births_come_before_data_and_numbers_run_on),
        cmocka_unit_test(what_was_not_sent_is_born_again),
        cmocka_unit_test(payloads_have_the_time_of_their_sending_and_all_metrics_one),
        cmocka_unit_test(another_column_is_another_birth),
        cmocka_unit_test(a_command_for_nobody_names_no_other_device),
        cmocka_unit_test(templates_are_read_to_their_end),
        cmocka_unit_test(only_a_rebirth_is_asked_for),
        cmocka_unit_test(a_message_without_memory_is_not_sent_with_a_part_of_it_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
