/* neuron_test.c - claims about tag lists, in and out. */
#include "collect/neuron.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

#define HEAD "group,interval,name,address,attribute,type,description,decimal,precision,bias\n"

static struct neuron_point translate(const char *address, const char *type, const char *attribute,
                                     enum err wanted)
{
    struct neuron_order orders[NEURON_ORDER_ROWS];
    struct neuron_tag tag = {.address = str_of(address),
                             .type = str_of(type),
                             .attribute = str_of(attribute),
                             .decimal = STR(""),
                             .bias = STR(""),
                             .precision = STR("")};
    struct neuron_point point;
    struct why why = WHY_NONE;
    memcpy(orders, neuron_orders, sizeof orders);
    enum err err = neuron_translate(&tag, orders, &point, &why);
    if (err != wanted) fail_msg("%s %s: %s", address, type, why_text(&why, err));
    return point;
}

static void addresses_lose_their_suffix_and_gain_an_order(void **state)
{
    static const struct {
        const char *tag, *type, *address, *own_type, *order;
    } cases[] = {
        {"1!400001", "INT16", "1!400001", "int16", ""},
        {"1!400001#B", "INT16", "1!400001", "int16", "BA"},
        {"1!400001#LL", "FLOAT", "1!400001", "float", "ABCD"},
        {"1!400001#LB", "INT32", "1!400001", "int32", "BADC"},
        {"1!400001#BL", "UINT32", "1!400001", "uint32", "CDAB"},
        {"1!400001#BB", "float", "1!400001", "float", "DCBA"},
        {"1!400001#B", "DOUBLE", "1!400001", "double", "HGFEDCBA"},
        {"1!400001.10", "STRING", "1!400001", "string(10)", ""},
        {"1!400001.10H", "STRING", "1!400001", "string(10)", ""},
        {"1!400001.10L", "STRING", "1!400001", "string(10)", "BA"},
        {"1!400001.4", "BYTES", "1!400001", "bytes(4)", ""},
        {"1!400001.15", "BIT", "1!400001.15", "bit", ""},
        {"2!000001", "11", "2!000001", "bit", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct neuron_point p = translate(cases[i].tag, cases[i].type, "Read", ERR_OK);
        assert_string_equal(p.address, cases[i].address);
        assert_string_equal(p.type, cases[i].own_type);
        assert_string_equal(p.order, cases[i].order);
    }
}

static void what_we_cannot_do_is_refused(void **state)
{
    (void)state;
    translate("1!400001.10D", "STRING", "Read", ERR_UNSUPPORTED);
    translate("1!400001", "STRING", "Read", ERR_INVALID);
    translate("1!400001#XX", "INT32", "Read", ERR_INVALID);
    translate("1!400001#BL", "INT16", "Read", ERR_INVALID);
    translate("1!400001", "CSTR", "Read", ERR_INVALID);
    translate("1!400001", "INT16", "Static", ERR_UNSUPPORTED);
    translate("1!400001", "INT16", "", ERR_INVALID);
    translate("", "INT16", "Read", ERR_INVALID);
}

static void attributes_become_access_and_store(void **state)
{
    (void)state;
    assert_string_equal(translate("1!400001", "INT16", "Read Write", ERR_OK).access, "rw");
    assert_string_equal(translate("1!400001", "INT16", "write", ERR_OK).access, "w");
    assert_string_equal(translate("1!400001", "INT16", "3", ERR_OK).access, "rw");
    assert_false(translate("1!400001", "INT16", "Read,Subscribe", ERR_OK).stores_changes);
    assert_true(translate("1!400001", "INT16", "Subscribe", ERR_OK).stores_changes);
}

static void a_table_row_can_be_changed_and_nothing_else(void **state)
{
    struct neuron_order orders[NEURON_ORDER_ROWS];
    (void)state;
    memcpy(orders, neuron_orders, sizeof orders);
    assert_int_equal(neuron_override(orders, STR("#BB=CDAB"), NULL), ERR_OK);
    assert_string_equal(orders[5].order, "CDAB");
    assert_int_equal(neuron_override(orders, STR("#B=ABCDEFGH"), NULL), ERR_OK);
    assert_string_equal(orders[1].order, "BA");
    assert_string_equal(orders[7].order, "ABCDEFGH");
    assert_int_equal(neuron_override(orders, STR("#BB=CDA"), NULL), ERR_INVALID);
    assert_int_equal(neuron_override(orders, STR("#BB=AACD"), NULL), ERR_INVALID);
    assert_int_equal(neuron_override(orders, STR("#BX=ABCD"), NULL), ERR_INVALID);
}

static void lists_are_read_by_the_names_of_their_columns(void **state)
{
    static const char text[] = "\xEF\xBB\xBFname,type,Group,address,attribute,identity\r\n"
                               "\"a, \"\"b\"\"\",INT16,g,1!400001,Read,x\r\n\r\n"
                               "\"two\nlines\",BIT,g,1!000001,Read\r\n"
                               "last,BIT,g,1!000002,Read";
    struct arena arena;
    struct neuron_tag *tags;
    size_t count;
    (void)state;
    arena_init(&arena, NULL);
    assert_int_equal(neuron_read(STR(text), &arena, &tags, &count, NULL), ERR_OK);
    assert_int_equal(count, 3);
    assert_true(str_is(tags[0].name, "a, \"b\"") && str_is(tags[0].group, "g"));
    assert_true(str_is(tags[1].name, "two\nlines") && tags[1].line == 4);
    assert_true(str_is(tags[2].address, "1!000002") && tags[2].decimal.size == 0);
    assert_int_equal(neuron_read(STR("group,name\n"), &arena, &tags, &count, NULL), ERR_INVALID);
    assert_int_equal(neuron_read(STR(HEAD "\"a"), &arena, &tags, &count, NULL), ERR_INVALID);
    assert_int_equal(neuron_read(STR(""), &arena, &tags, &count, NULL), ERR_INVALID);
    arena_free(&arena);
}

static void what_goes_out_comes_in_again(void **state)
{
    static const char *const types[] = {"int8", "uint16", "int32", "uint64", "float", "double"};
    static const char *const orders[] = {"", "BA", "CDAB", "HGFEDCBA", "BADC", ""};
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        struct arena arena;
        struct buf out = BUF_EMPTY;
        struct neuron_tag *tags;
        size_t count;
        arena_init(&arena, NULL);
        struct neuron_source source = {.group = STR("g,h"),
                                       .column = STR("c"),
                                       .address = STR("400001"),
                                       .type = str_of(types[i]),
                                       .order = str_of(orders[i]),
                                       .access = STR("rw"),
                                       .scale = STR("0.1"),
                                       .unit = 4,
                                       .interval_ms = 250};
        neuron_add_header(&out);
        assert_int_equal(neuron_add_row(&out, &source, NULL), ERR_OK);
        assert_int_equal(neuron_read(buf_str(&out), &arena, &tags, &count, NULL), ERR_OK);
        assert_int_equal(count, 1);
        assert_true(str_is(tags[0].group, "g,h") && str_is(tags[0].interval, "250"));
        struct neuron_order table[NEURON_ORDER_ROWS];
        struct neuron_point point;
        memcpy(table, neuron_orders, sizeof table);
        assert_int_equal(neuron_translate(&tags[0], table, &point, NULL), ERR_OK);
        assert_string_equal(point.address, "4!400001");
        assert_string_equal(point.type, types[i]);
        assert_string_equal(point.order, orders[i]);
        assert_string_equal(point.access, "rw");
        assert_true(point.scale == 0.1);
        assert_string_equal(point.column_type, "double");
        buf_free(&out);
        arena_free(&arena);
    }
}

static void a_row_without_memory_is_no_row_without_an_address(void **state)
{
    (void)state;
    const struct neuron_source source = {.group = STR("g"),
                                         .column = STR("c"),
                                         .address = STR("400001"),
                                         .type = STR("int16"),
                                         .access = STR("r"),
                                         .unit = 4,
                                         .interval_ms = 250};
    for (uint64_t n = 1;; n++) {
        struct buf out = BUF_EMPTY;
        mem_test_fail(n);
        enum err err = neuron_add_row(&out, &source, NULL);
        bool was_refused = mem_test_count() >= n;
        mem_test_fail(0);
        if (!err && !buf_failed(&out))
            assert_true(str_starts(buf_str(&out), "g,250,c,4!400001,Read,"));
        buf_free(&out);
        if (!was_refused) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_lose_their_suffix_and_gain_an_order),
        cmocka_unit_test(what_we_cannot_do_is_refused),
        cmocka_unit_test(attributes_become_access_and_store),
        cmocka_unit_test(a_table_row_can_be_changed_and_nothing_else),
        cmocka_unit_test(lists_are_read_by_the_names_of_their_columns),
        cmocka_unit_test(what_goes_out_comes_in_again),
        cmocka_unit_test(a_row_without_memory_is_no_row_without_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
