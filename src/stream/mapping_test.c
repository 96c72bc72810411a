/* mapping_test.c - claims about messages that become rows. */
#include "data/line.h"
#include "stream/mapping.h"
#include "stream/packed.h"
#include "stream/payload.h"
#include "stream/protobuf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct line row;
static struct arena scratch;
static struct buf packed;
static struct reader rows;
static struct mapping *mapping;

static void compile(const struct mapping_spec *spec)
{
    char where[64];
    struct why why = WHY_NONE;
    mapping_free(mapping);
    mapping = NULL;
    enum err err = mapping_new(spec, &mapping, where, &why);
    if (err) print_error("%s: %s\n", where, why.text);
    assert_int_equal(err, ERR_OK);
}

static enum err take(const char *topic, const char *payload, size_t *count)
{
    struct why why = WHY_NONE;
    struct mapping_message m = {str_of(topic), str_of(payload), 1000, 7};
    buf_clear(&packed);
    arena_reset(&scratch);
    enum err err = mapping_take(mapping, &m, &row, &scratch, &packed, count, &why);
    assert_true(!err || why.text[0]);
    rows = reader_of(packed.at, packed.size);
    return err;
}

/* The next row that was made. */
static void next(void)
{
    size_t offset;
    bool lacks;
    assert_true(packed_next(&rows, &offset, &row, &scratch, &lacks));
    assert_true(offset == 7 && !lacks);
}

static struct mapping_spec json_of(const char *filter, const char *device)
{
    return (struct mapping_spec){.format = MAPPING_JSON,
                                 .filter = str_of(filter),
                                 .device = str_of(device),
                                 .default_table = STR("t")};
}

static void device_names_come_from_levels_wildcards_and_values(void **state)
{
    static const struct {
        const char *filter, *device, *topic, *name;
    } cases[] = {
        {"a/+/b/#", "", "a/x/b/y/z", "x/y/z"},
        {"a/+/b/#", "{#}", "a/x/b/y/z", "y/z"},
        {"a/+/b/#", "{3}-{2}", "a/x/b/y", "b-x"},
        {"a/b", "fix", "a/b", "fix"},
        {"+", "{$.d}/{$.n}", "q", "dd/1.50"},
        {"a/#", "{{{*}", "a/1", "{1"},
        {"a/#", "p{#}", "a", "p"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mapping_spec spec = json_of(cases[i].filter, cases[i].device);
        size_t count;
        compile(&spec);
        enum err err = take(cases[i].topic, "{\"d\":\"dd\",\"n\":1.50,\"v\":1}", &count);
        if (strcmp(cases[i].device, "p{#}") ==
            0) { /* # may stand for nothing: then none is named */
            assert_int_equal(err, ERR_NOT_FOUND);
            continue;
        }
        assert_int_equal(err, ERR_OK);
        next();
        assert_true(str_is(row.tags[0].value, cases[i].name));
    }
}

static void times_are_read_in_their_unit(void **state)
{
    static const struct {
        enum mapping_unit unit;
        const char *payload;
        int64_t ns;
    } cases[] = {
        {MAPPING_UNIT_S, "{\"t\":1.000000001,\"v\":1}", 1000000001},
        {MAPPING_UNIT_MS, "{\"t\":1.5,\"v\":1}", 1500000},
        {MAPPING_UNIT_US, "{\"t\":\"7\",\"v\":1}", 7000},
        {MAPPING_UNIT_NS, "{\"t\":7,\"v\":1}", 7},
        {MAPPING_UNIT_RFC3339, "{\"t\":\"1970-01-01T00:00:01Z\",\"v\":1}", 1000000000},
        {MAPPING_UNIT_AUTO, "{\"t\":1767323046,\"v\":1}", INT64_C(1767323046000000000)},
        {MAPPING_UNIT_AUTO, "{\"t\":1767323046000,\"v\":1}", INT64_C(1767323046000000000)},
        {MAPPING_UNIT_AUTO, "{\"t\":1767323046000001,\"v\":1}", INT64_C(1767323046000001000)},
        {MAPPING_UNIT_AUTO, "{\"t\":1767323046000000001,\"v\":1}", INT64_C(1767323046000000001)},
    };
    (void)state;
    struct mapping_spec spec = json_of("+", "");
    size_t count;
    spec.time = STR("$.t");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spec.unit = cases[i].unit;
        compile(&spec);
        assert_int_equal(take("d", cases[i].payload, &count), ERR_OK);
        next();
        assert_true(row.time_ns == cases[i].ns && row.field_count == 1);
    }
    assert_int_equal(take("d", "{\"v\":1}", &count), ERR_NOT_FOUND);
    assert_int_equal(take("d", "{\"t\":\"x\",\"v\":1}", &count), ERR_RANGE);
    assert_int_equal(take("d", "{\"t\":1e300,\"v\":1}", &count), ERR_RANGE);
}

static void a_message_is_taken_whole_or_not_at_all(void **state)
{
    (void)state;
    static const struct mapping_column columns[] = {{STR("v"), STR("@.v"), STR("double")}};
    struct mapping_spec spec = json_of("+", "");
    size_t count;
    spec.rows = STR("$[*].r[*]");
    spec.columns = columns;
    spec.column_count = 1;
    compile(&spec);
    assert_int_equal(take("d", "[{\"r\":[{\"v\":1},{\"v\":2}]},{},{\"r\":[{\"v\":3}]}]", &count),
                     ERR_OK);
    assert_true(count == 3);
    for (int i = 1; i <= 3; i++) {
        next();
        assert_true(row.fields[0].value.d == i && row.time_ns == 1000 + i - 1);
    }
    assert_int_equal(take("d", "[{\"r\":[{\"v\":1},{\"v\":\"x\"}]}]", &count), ERR_TYPE);
    assert_true(packed.size == 0 && count == 0);
    assert_int_equal(take("d", "[]", &count), ERR_INVALID);
}

static void names_that_the_store_does_not_take_are_written_otherwise(void **state)
{
    (void)state;
    struct mapping_spec spec = json_of("+", "");
    size_t count;
    compile(&spec);
    assert_int_equal(
        take("d", "{\"a/b\":1,\"c+d#e\":2,\"time\":3,\"deep\":{},\"mixed\":[1,\"x\"]}", &count),
        ERR_OK);
    next();
    assert_int_equal(row.field_count, 3);
    assert_true(str_is(row.fields[0].key, "a.b") && str_is(row.fields[1].key, "c_d_e") &&
                str_is(row.fields[2].key, "time_"));
}

static void deep_and_wide_messages_are_refused(void **state)
{
    (void)state;
    struct mapping_spec spec = json_of("+", "");
    struct buf text = BUF_EMPTY;
    size_t count;
    compile(&spec);
    for (int i = 0; i < 33; i++) buf_add_char(&text, '[');
    assert_int_equal(take("d", buf_cstr(&text), &count), ERR_SYNTAX);
    buf_clear(&text);
    buf_add_char(&text, '[');
    for (int i = 0; i < PAYLOAD_NODES_MAX; i++) buf_add_text(&text, "0,");
    buf_add_text(&text, "0]");
    assert_int_equal(take("d", buf_cstr(&text), &count), ERR_LIMIT);
    buf_free(&text);
}

/* A label of 100 KB in each of 1,000 rows would be a hundred megabytes. */
static void what_a_message_unfolds_into_is_bounded(void **state)
{
    (void)state;
    static const struct mapping_label labels[] = {{STR("l"), STR("{$.l}")}};
    struct mapping_spec spec = json_of("+", "");
    struct buf text = BUF_EMPTY;
    size_t count;
    spec.rows = STR("$.r[*]");
    spec.labels = labels;
    spec.label_count = 1;
    compile(&spec);
    buf_add_text(&text, "{\"l\":\"");
    for (int i = 0; i < 100000; i++) buf_add_char(&text, 'x');
    buf_add_text(&text, "\",\"r\":[");
    for (int i = 0; i < 1000; i++) buf_add_text(&text, "{\"v\":1},");
    buf_add_text(&text, "{\"v\":1}]}");
    assert_int_equal(take("d", buf_cstr(&text), &count), ERR_LIMIT);
    assert_true(packed.size == 0 && packed.capacity < 32u << 20);
    buf_free(&text);
}

/* A list that there is no memory for is not a column that the message does not have. */
static void a_message_without_memory_is_never_half_a_row(void **state)
{
    (void)state;
    struct mapping_spec spec = json_of("+", "");
    struct buf text = BUF_EMPTY;
    size_t count = 0;
    enum err err = ERR_NO_MEMORY;
    compile(&spec);
    buf_add_text(&text, "{\"v\":1,\"l\":[");
    for (int i = 0; i < 20000; i++) buf_add_text(&text, "1,");
    buf_add_text(&text, "1]}");
    for (uint64_t n = 1; err; n++) {
        struct mapping_message m = {STR("d"), buf_str(&text), 1000, 7};
        struct why why = WHY_NONE;
        arena_free(&scratch);
        buf_free(&packed);
        mem_test_fail(n);
        err = mapping_take(mapping, &m, &row, &scratch, &packed, &count, &why);
        bool was_refused = mem_test_count() >= n;
        mem_test_fail(0);
        assert_true(!err == !was_refused);
        assert_true(!err || err == ERR_NO_MEMORY);
        if (err) buf_clear(&packed);
    }
    rows = reader_of(packed.at, packed.size);
    next();
    assert_int_equal(row.field_count, 2);
    buf_free(&text);
}

static void add_part(struct buf *out, uint8_t number, struct str bytes)
{
    buf_add_varint(out, (uint64_t)number << 3 | 2);
    buf_add_varint(out, bytes.size);
    buf_add_str(out, bytes);
}

/* Each nested type repeats the name of what it stands in: of 100 KB, 2,000 of them would be 200 MB
 * for a document of 110 KB. */
static void names_of_types_do_not_multiply(void **state)
{
    (void)state;
    struct buf nested = BUF_EMPTY, type = BUF_EMPTY, file = BUF_EMPTY, set = BUF_EMPTY;
    struct protobuf_schema *schema;
    struct why why = WHY_NONE;
    static char name[100000];
    arena_reset(&scratch);
    add_part(&nested, 1, STR("n"));
    memset(name, 'x', sizeof name);
    add_part(&type, 1, (struct str){name, sizeof name});
    for (int i = 0; i < 1000; i++) add_part(&type, 3, buf_str(&nested));
    add_part(&file, 4, buf_str(&type));
    add_part(&set, 1, buf_str(&file));
    assert_int_equal(protobuf_schema_read(buf_str(&set), &scratch, &schema, &why), ERR_LIMIT);
    assert_non_null(strstr(why.text, "longer than 1024 bytes"));
    buf_free(&nested);
    buf_free(&type);
    buf_free(&file);
    buf_free(&set);
}

static void add_number(struct buf *out, uint32_t number, uint64_t value)
{
    buf_add_varint(out, (uint64_t)number << 3);
    buf_add_varint(out, value);
}

/* A message type "T" of `fields` numbers f1 …; all in one oneof if it says so. */
static const struct protobuf_message *make_type(uint32_t fields, bool is_oneof)
{
    struct buf type = BUF_EMPTY, field = BUF_EMPTY, file = BUF_EMPTY, set = BUF_EMPTY;
    struct protobuf_schema *schema;
    struct why why = WHY_NONE;
    char name[16];
    add_part(&type, 1, STR("T"));
    for (uint32_t i = 1; i <= fields; i++) {
        snprintf(name, sizeof name, "f%u", i);
        buf_clear(&field);
        add_part(&field, 1, str_of(name));
        add_number(&field, 3, i);
        add_number(&field, 4, 1); /* optional */
        add_number(&field, 5, 3); /* int64 */
        if (is_oneof) add_number(&field, 9, 0);
        add_part(&type, 2, buf_str(&field));
    }
    if (is_oneof) {
        buf_clear(&field);
        add_part(&field, 1, STR("o"));
        add_part(&type, 8, buf_str(&field));
    }
    add_part(&file, 4, buf_str(&type));
    add_part(&file, 12, STR("proto3"));
    add_part(&set, 1, buf_str(&file));
    const char *copy = arena_dup(&scratch, set.at, set.size);
    assert_int_equal(protobuf_schema_read((struct str){copy, set.size}, &scratch, &schema, &why),
                     ERR_OK);
    buf_free(&type);
    buf_free(&field);
    buf_free(&file);
    buf_free(&set);
    return schema->messages;
}

/* Each of thousands of fields finds its member among all that came without looking at them. */
static void fields_by_the_thousand_cost_no_more_than_few(void **state)
{
    enum { FIELDS = 15000, ROUNDS = 4 };
    struct buf message = BUF_EMPTY;
    struct why why = WHY_NONE;
    struct payload *root;
    (void)state;
    arena_reset(&scratch);
    for (int is_oneof = 0; is_oneof < 2; is_oneof++) {
        const struct protobuf_message *type = make_type(FIELDS, is_oneof);
        buf_clear(&message);
        for (uint32_t round = 0; round < ROUNDS; round++)
            for (uint32_t i = 1; i < FIELDS; i++) /* all but the last */
                add_number(&message, i, i + round);
        clock_t begun = clock();
        assert_int_equal(protobuf_read(type, buf_str(&message), &scratch, &root, &why), ERR_OK);
        assert_true(clock() - begun < CLOCKS_PER_SEC / 4);
        assert_int_equal(root->count, is_oneof ? 1 : FIELDS);
        const struct payload *one = payload_member(root, STR("f14999"));
        assert_true(one && one->value.i == 14999 + ROUNDS - 1);
        one = payload_member(root, STR("f15000"));
        assert_true(is_oneof ? one == NULL : one && one->value.i == 0);
    }
    buf_free(&message);
}

static int tear_down(void **state)
{
    (void)state;
    mapping_free(mapping);
    arena_free(&scratch);
    buf_free(&packed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_names_come_from_levels_wildcards_and_values),
        cmocka_unit_test(times_are_read_in_their_unit),
        cmocka_unit_test(a_message_is_taken_whole_or_not_at_all),
        cmocka_unit_test(names_that_the_store_does_not_take_are_written_otherwise),
        cmocka_unit_test(deep_and_wide_messages_are_refused),
        cmocka_unit_test(what_a_message_unfolds_into_is_bounded),
        cmocka_unit_test(a_message_without_memory_is_never_half_a_row),
        cmocka_unit_test(names_of_types_do_not_multiply),
        cmocka_unit_test(fields_by_the_thousand_cost_no_more_than_few),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
