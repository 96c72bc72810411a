/* modbus_test.c - claims about addresses, values, frames, and which answer belongs to which
 * request. */
#include "base/str.h"
#include "collect/drivers/modbus/modbus_priv.h"
#include "collect/drivers/modbus/modbus.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static const struct millrace_option_value options[4] = {
    {.i = 1}, {.b = false}, {.text = {"auto", 4}}, {.text = {"separate", 8}}};
static const struct millrace_line_config config = {NULL, options};

static struct millrace_text text_of(const char *s)
{
    return (struct millrace_text){s, strlen(s)};
}

static bool parse(const char *address, const char *type, const char *order,
                  struct millrace_point *point, char *why)
{
    struct millrace_point_text text = {text_of(address), text_of(type), text_of(order)};
    return modbus_point_parse(&config, &text, point, why);
}

static struct millrace_point point_of(const char *address, const char *type, const char *order)
{
    struct millrace_point point;
    char why[MILLRACE_WHY_BYTES] = "";
    if (!parse(address, type, order, &point, why)) fail_msg("%s", why);
    return point;
}

static void six_digits_name_area_cell_and_unit(void **state)
{
    (void)state;
    static const struct {
        const char *address, *type;
        uint32_t station, area, first, count;
        bool writable;
    } cases[] = {
        {"400001", "int16", 1, MODBUS_HOLDING_REGISTERS, 0, 1, true},
        {"17!465536", "int16", 17, MODBUS_HOLDING_REGISTERS, 65535, 1, true},
        {"0!300010", "double", 0, MODBUS_INPUT_REGISTERS, 9, 4, false},
        {"2!000001", "bit", 2, MODBUS_COILS, 0, 1, true},
        {"100008", "bool", 1, MODBUS_DISCRETE_INPUTS, 7, 1, false},
        {"400005.15", "bit", 1, MODBUS_HOLDING_REGISTERS, 4, 1, true},
        {"400005", "string(13)", 1, MODBUS_HOLDING_REGISTERS, 4, 7, true},
        {"400005", "uint8", 1, MODBUS_HOLDING_REGISTERS, 4, 1, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct millrace_point p = point_of(cases[i].address, cases[i].type, "");
        assert_int_equal(p.station, cases[i].station);
        assert_int_equal(p.area, cases[i].area);
        assert_int_equal(p.first, cases[i].first);
        assert_int_equal(p.count, cases[i].count);
        assert_int_equal((p.flags & MILLRACE_WRITABLE) != 0, cases[i].writable);
    }
}

static void wrong_addresses_are_refused_with_the_way_out(void **state)
{
    (void)state;
    static const struct {
        const char *address, *type, *order, *said;
    } cases[] = {
        {"40001", "int16", "",
         "has five digits; write six, with the area first: 400001 is the same register"},
        {"200001", "int16", "", "the first digit must be 0"},
        {"400000", "int16", "", "counted from 00001"},
        {"465537", "int16", "", "to 65536"},
        {"465536", "int32", "", "beyond cell 65536"},
        {"256!400001", "int16", "", "the unit before '!' must be 0 to 255"},
        {"x!400001", "int16", "", "the unit before '!' must be 0 to 255"},
        {"400001.16", "bit", "", "must be 0 to 15"},
        {"+40001", "int16", "", "must be six digits"},
        {"", "int16", "", "must be six digits"},
        {"400001", "bit", "", "name the bit of the register"},
        {"000001", "int16", "", "holds a bit"},
        {"400001.1", "int16", "", "a bit of a register has type bit"},
        {"400001", "int61", "", "did you mean int16?"},
        {"400001", "string", "", "write string(n)"},
        {"400001", "string(241)", "", "write string(n)"},
        {"400001", "int32", "ABCC", "must hold each letter of ABCD once"},
        {"400001", "int32", "AB", "must hold each letter of ABCD once"},
        {"1!400001.3", "bit", "BA", "low byte first, name bit 1!400001.11"},
        {"400001.15", "bool", "ba", "low byte first, name bit 400001.7"},
        {"000010", "bit", "BA", "has no byte order: leave out order"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct millrace_point p;
        char why[MILLRACE_WHY_BYTES] = "";
        assert_false(parse(cases[i].address, cases[i].type, cases[i].order, &p, why));
        if (!strstr(why, cases[i].said)) fail_msg("%s: %s", cases[i].address, why);
    }
}

static struct millrace_value decode(struct millrace_point p, const char *wire, size_t size,
                                    enum millrace_status want)
{
    static char scratch[MILLRACE_SCRATCH_BYTES];
    struct millrace_value value = {0};
    assert_int_equal(modbus_decode(&p, 0, (const uint8_t *)wire, size, scratch, &value), want);
    return value;
}

/* 0x01020304 in each order that equipment uses. */
static void letters_give_the_sequence_of_the_bytes_on_the_wire(void **state)
{
    (void)state;
    static const struct {
        const char *order, *wire;
    } cases[] = {{"ABCD", "\1\2\3\4"},
                 {"CDAB", "\3\4\1\2"},
                 {"BADC", "\2\1\4\3"},
                 {"DCBA", "\4\3\2\1"},
                 {"", "\1\2\3\4"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct millrace_point p = point_of("400001", "uint32", cases[i].order);
        assert_int_equal(decode(p, cases[i].wire, 4, MILLRACE_GOOD).u, 0x01020304);
        uint8_t out[MODBUS_PDU_BYTES_MAX];
        struct millrace_value value = {.type = MILLRACE_UINT, .u = 0x01020304};
        assert_int_equal(modbus_encode(&p, &value, out), MILLRACE_GOOD);
        assert_memory_equal(out, cases[i].wire, 4);
    }
}

static void what_does_not_fit_is_not_encoded(void **state)
{
    (void)state;
    uint8_t out[MODBUS_PDU_BYTES_MAX];
    struct millrace_point i8 = point_of("400001", "int8", ""),
                          u16 = point_of("400001", "uint16", "");
    struct millrace_point f = point_of("400001", "float", ""),
                          s = point_of("400001", "string(3)", "");
    assert_int_equal(
        modbus_encode(&i8, &(struct millrace_value){.type = MILLRACE_INT, .i = 128}, out),
        MILLRACE_BAD_VALUE);
    assert_int_equal(
        modbus_encode(&i8, &(struct millrace_value){.type = MILLRACE_INT, .i = -128}, out),
        MILLRACE_GOOD);
    assert_int_equal(
        modbus_encode(&u16, &(struct millrace_value){.type = MILLRACE_UINT, .u = 65536}, out),
        MILLRACE_BAD_VALUE);
    assert_int_equal(
        modbus_encode(&f, &(struct millrace_value){.type = MILLRACE_DOUBLE, .d = 1e39}, out),
        MILLRACE_BAD_VALUE);
    struct millrace_value four = {.type = MILLRACE_TEXT, .text = {"four", 4}};
    assert_int_equal(modbus_encode(&s, &four, out), MILLRACE_BAD_VALUE);
}

static void short_payloads_and_broken_texts_do_not_decode(void **state)
{
    (void)state;
    (void)decode(point_of("400001", "int32", ""), "\1\2\3", 3, MILLRACE_BAD_DATA);
    (void)decode(point_of("400002", "int16", ""), "\1\2", 2, MILLRACE_BAD_DATA);
    (void)decode(point_of("000009", "bit", ""), "\1", 1, MILLRACE_BAD_DATA);
    (void)decode(point_of("400001", "string(2)", ""), "\xC3\x28", 2, MILLRACE_BAD_DATA);
    assert_int_equal(
        decode(point_of("400001", "string(4)", ""), "ab \0", 4, MILLRACE_GOOD).text.size, 2);
}

/* ---- frames ---- */

static void checksums_are_those_of_the_specification(void **state)
{
    (void)state;
    assert_int_equal(modbus_crc((const uint8_t *)"\x02\x07", 2),
                     0x1241); /* V1.02 section 6.2.2, figure 6.2's example */
    assert_int_equal(modbus_lrc((const uint8_t *)"\xF7\x03\x13\x89\x00\x0A", 6), 0x60);
}

static void every_framing_finds_what_it_wrapped_behind_rubbish(void **state)
{
    (void)state;
    static const struct modbus_framing *const framings[] = {
        &modbus_framing_tcp, &modbus_framing_rtu, &modbus_framing_ascii};
    static const uint8_t pdu[] = {3, 4, 1, 2, 3, 4};
    for (size_t f = 0; f < 3; f++) {
        uint8_t bytes[MODBUS_FRAME_BYTES_MAX + 4] = {0xFF, 0xFF, 0xFF},
                                               scratch[MODBUS_PDU_BYTES_MAX + 2];
        struct modbus_frame frame = {7, 9, pdu, sizeof pdu}, found;
        size_t size = 3 + framings[f]->wrap(&frame, bytes + 3), at = 0, used = 0;
        enum modbus_frame_found what = MODBUS_FRAME_DAMAGE;
        for (; what == MODBUS_FRAME_DAMAGE; at += used) {
            what = framings[f]->find(bytes + at, size - at, scratch, &found, &used);
            if (what == MODBUS_FRAME_MORE) fail_msg("%s: not found", framings[f]->name);
        }
        assert_int_equal(at, size);
        assert_int_equal(found.unit, 9);
        assert_int_equal(found.pdu_bytes, sizeof pdu);
        assert_memory_equal(found.pdu, pdu, sizeof pdu);
        for (size_t cut = 4; cut < size; cut++) /* half a frame is waited for */
            assert_int_equal(framings[f]->find(bytes + 3, cut - 3, scratch, &found, &used),
                             MODBUS_FRAME_MORE);
    }
}

/* ---- answers ---- */

struct heard {
    struct millrace_out out; /* first */
    int replies, strays;
    struct millrace_reply last;
};

static void hear_reply(struct millrace_out *out, const struct millrace_reply *reply)
{
    ((struct heard *)out)->replies++;
    ((struct heard *)out)->last = *reply;
}

static void hear_stray(struct millrace_out *out, const char *text, const uint8_t *frame,
                       size_t bytes)
{
    (void)text;
    (void)frame;
    (void)bytes;
    ((struct heard *)out)->strays++;
}

/* Feeds one TCP frame with token 5 to a line that asked unit 1 for two holding registers with
 * token 5. */
static struct heard answer(const char *frame, size_t size)
{
    static uint64_t memory[512];
    struct millrace_line_config own = {modbus_driver.schemes, options};
    struct heard heard = {.out = {.reply = hear_reply, .stray = hear_stray}};
    struct millrace_request request;
    char why[MILLRACE_WHY_BYTES];
    assert_true(modbus_driver.line_bytes <= sizeof memory);
    memset(memory, 0, sizeof memory);
    assert_true(modbus_driver.line_init(memory, &own, why));
    modbus_driver.read(memory, &(struct millrace_span){1, MODBUS_HOLDING_REGISTERS, 0, 2}, 5,
                       &request);
    assert_memory_equal(request.bytes, "\0\5\0\0\0\6\1\3\0\0\0\2", 12);
    assert_int_equal(modbus_driver.receive(memory, (const uint8_t *)frame, size, &heard.out), size);
    return heard;
}

static void only_the_answer_to_the_request_is_taken(void **state)
{
    (void)state;
#define ANSWER(bytes) answer(bytes, sizeof(bytes) - 1)
    struct heard good = ANSWER("\0\5\0\0\0\7\1\3\4\1\2\3\4");
    assert_int_equal(good.replies, 1);
    assert_int_equal(good.last.status, MILLRACE_GOOD);
    assert_int_equal(good.last.payload_bytes, 4);
    struct heard late = ANSWER("\0\4\0\0\0\7\1\3\4\1\2\3\4"),
                 foreign = ANSWER("\0\5\0\0\0\7\2\3\4\1\2\3\4");
    struct heard other = ANSWER("\0\5\0\0\0\7\1\4\4\1\2\3\4");
    assert_int_equal(late.replies + foreign.replies + other.replies, 0);
    assert_int_equal(late.strays + foreign.strays + other.strays, 3);
    assert_int_equal(ANSWER("\0\5\0\0\0\5\1\3\2\1\2").last.status,
                     MILLRACE_PROTOCOL); /* too few registers */
    struct heard refused = ANSWER("\0\5\0\0\0\3\1\x83\2");
    assert_int_equal(refused.last.status, MILLRACE_BAD_ADDRESS);
    assert_string_equal(refused.last.text, "exception 2: illegal data address");
    struct heard twice = ANSWER("\0\5\0\0\0\7\1\3\4\1\2\3\4\0\5\0\0\0\7\1\3\4\1\2\3\4");
    assert_int_equal(twice.replies, 1);
    assert_int_equal(twice.strays, 1);
}

static void a_range_names_units_and_cells(void **state)
{
    static const struct {
        const char *text;
        uint32_t station_first, station_last, area, first, count;
    } good[] = {{"1-20!400001-400100", 1, 20, MODBUS_HOLDING_REGISTERS, 0, 100},
                {"7!300010", 7, 7, MODBUS_INPUT_REGISTERS, 9, 1},
                {"000001-000016", 1, 1, MODBUS_COILS, 0, 16},
                {"0-255!165536", 0, 255, MODBUS_DISCRETE_INPUTS, 65535, 1}};
    static const char *const bad[] = {"",
                                      "1!",
                                      "1-20",
                                      "20-1!400001",
                                      "1!400001-300001",
                                      "1!40001",
                                      "1!400002-400001",
                                      "1-256!400001",
                                      "1!400000",
                                      "x!400001"};
    char why[MILLRACE_WHY_BYTES];
    struct millrace_scan scan;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct millrace_text text = text_of(good[i].text);
        assert_true(modbus_scan_parse(&config, &text, &scan, why));
        assert_int_equal(scan.station_first, good[i].station_first);
        assert_int_equal(scan.station_last, good[i].station_last);
        assert_int_equal(scan.area, good[i].area);
        assert_int_equal(scan.first, good[i].first);
        assert_int_equal(scan.count, good[i].count);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct millrace_text text = text_of(bad[i]);
        if (modbus_scan_parse(&config, &text, &scan, why)) fail_msg("'%s' is taken", bad[i]);
        assert_non_null(strstr(why, "1-20!400001-400100"));
    }
}

static void an_identity_in_two_parts_is_one(void **state)
{
    static const uint8_t first[] = "\x2b\x0e\x01\x81\xff\x02\x02\x00\x04"
                                   "Acme\x01\x03P-1",
                         second[] = "\x2b\x0e\x01\x81\x00\x00\x01\x02\x03"
                                    "1.\x07",
                         again[] = "\x2b\x0e\x01\x81\xff\x01\x01\x02\x01"
                                   "2";
    char text[MODBUS_IDENTITY_BYTES];
    size_t size = 0;
    uint8_t next = 9;
    (void)state;
    assert_true(modbus_read_identity(first, sizeof first - 1, text, &size, &next));
    assert_int_equal(next, 2);
    assert_true(modbus_read_identity(second, sizeof second - 1, text, &size, &next));
    assert_int_equal(next, 0);
    assert_memory_equal(text, "vendor: Acme\nproduct: P-1\nrevision: 1..\n", size);
    assert_true(modbus_read_identity(again, sizeof again - 1, text, &size, &next));
    assert_int_equal(next, 0); /* one that sends us back would never end */
    assert_false(modbus_read_identity(first, sizeof first - 3, text, &size, &next));
    assert_false(
        modbus_read_identity((const uint8_t *)"\x2b\x0d\1\1\0\0\0", 7, text, &size, &next));
}

struct asked {
    struct heard heard; /* first */
    char text[200];     /* of the last reply */
    uint8_t sent[32];
    size_t sent_size;
};

static void keep_reply(struct millrace_out *out, const struct millrace_reply *reply)
{
    struct asked *asked = (struct asked *)out;
    hear_reply(out, reply);
    assert_true(reply->payload_bytes < sizeof asked->text);
    memcpy(asked->text, reply->payload, reply->payload_bytes);
    asked->text[reply->payload_bytes] = 0;
}

static void keep_sent(struct millrace_out *out, const void *bytes, size_t size)
{
    struct asked *asked = (struct asked *)out;
    assert_true(size <= sizeof asked->sent);
    memcpy(asked->sent, bytes, size);
    asked->sent_size = size;
}

/* Several may be asked at once over TCP: a scan, and somebody who tests the line. */
static void identities_of_two_units_do_not_mix(void **state)
{
    static uint64_t memory[512];
    struct millrace_line_config own = {modbus_driver.schemes, options};
    struct asked a = {.heard.out = {.reply = keep_reply, .stray = hear_stray, .send = keep_sent}};
    struct millrace_request request;
    char why[MILLRACE_WHY_BYTES];
    (void)state;
#define FEED(bytes)                                                                                \
    (void)modbus_driver.receive(memory, (const uint8_t *)(bytes), sizeof(bytes) - 1, &a.heard.out)
    memset(memory, 0, sizeof memory);
    assert_true(modbus_driver.line_init(memory, &own, why));
    assert_true(modbus_driver.identify(memory, 1, 5, &request));
    assert_true(modbus_driver.identify(memory, 2, 6, &request));
    FEED("\0\5\0\0\0\x0c\1\x2b\x0e\1\x81\xff\1\1\0\2"
         "A1"); /* of unit 1 the first part */
    assert_int_equal(a.heard.replies, 0);
    assert_memory_equal(a.sent, "\0\5\0\0\0\5\1\x2b\x0e\1\1", 11);
    FEED("\0\6\0\0\0\x0b\2\x2b\x0e\1\x81\0\0\1\0\1"
         "B");
    assert_int_equal(a.heard.last.token, 6);
    assert_string_equal(a.text, "vendor: B\n");
    FEED("\0\5\0\0\0\x0c\1\x2b\x0e\1\x81\0\0\1\1\2"
         "A2"); /* its beginning is no longer there: asked for again */
    assert_memory_equal(a.sent, "\0\5\0\0\0\5\1\x2b\x0e\1\0", 11);
    FEED("\0\5\0\0\0\x0c\1\x2b\x0e\1\x81\xff\1\1\0\2"
         "A1");
    FEED("\0\5\0\0\0\x0c\1\x2b\x0e\1\x81\0\0\1\1\2"
         "A2");
    assert_int_equal(a.heard.replies, 2);
    assert_string_equal(a.text, "vendor: A1\nproduct: A2\n");
#undef FEED
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(six_digits_name_area_cell_and_unit),
        cmocka_unit_test(wrong_addresses_are_refused_with_the_way_out),
        cmocka_unit_test(letters_give_the_sequence_of_the_bytes_on_the_wire),
        cmocka_unit_test(what_does_not_fit_is_not_encoded),
        cmocka_unit_test(short_payloads_and_broken_texts_do_not_decode),
        cmocka_unit_test(checksums_are_those_of_the_specification),
        cmocka_unit_test(every_framing_finds_what_it_wrapped_behind_rubbish),
        cmocka_unit_test(only_the_answer_to_the_request_is_taken),
        cmocka_unit_test(a_range_names_units_and_cells),
        cmocka_unit_test(an_identity_in_two_parts_is_one),
        cmocka_unit_test(identities_of_two_units_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
