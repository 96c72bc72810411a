/* pg_wire_test.c - claims about what is read from and written to PostgreSQL clients: messages,
 * values, rows of COPY. */
#include "access/scram_server.h"
#include "listeners/pg_copy_text.h"
#include "listeners/pg_type.h"
#include "listeners/pg_wire.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define BYTES(literal) literal, sizeof(literal) - 1

static void a_message_is_taken_when_it_is_whole(void **state)
{
    static const char text[] = "Q\0\0\0\x0dSELECT 1\0X\0\0\0\4";
    struct pg_reader reader = {.is_started = true};
    struct pg_message m;
    size_t used, size = sizeof text - 1;
    (void)state;
    for (size_t i = 0; i < 14; i++) {
        assert_int_equal(pg_read(&reader, text, i, &used, &m, NULL), ERR_OK);
        assert_int_equal(used, 0);
    }
    assert_int_equal(pg_read(&reader, text, size, &used, &m, NULL), ERR_OK);
    assert_true(used == 14 && m.kind == PG_QUERY && m.body.size == 9);
    assert_int_equal(pg_read(&reader, text + 14, size - 14, &used, &m, NULL), ERR_OK);
    assert_true(used == 5 && m.kind == PG_TERMINATE && m.body.size == 0);
}

static void copy_data_comes_in_pieces_whatever_its_length(void **state)
{
    static const char text[] = "d\0\0\0\x0a"
                               "abcdefH\0\0\0\4";
    struct pg_reader reader = {.is_started = true};
    struct pg_message m;
    size_t used;
    (void)state;
    assert_int_equal(pg_read(&reader, text, 7, &used, &m, NULL), ERR_OK);
    assert_true(used == 7 && m.kind == PG_COPY_DATA && str_is(m.body, "ab") && !m.is_last);
    assert_int_equal(pg_read(&reader, text + 7, sizeof text - 8, &used, &m, NULL), ERR_OK);
    assert_true(used == 4 && str_is(m.body, "cdef") && m.is_last);
    assert_int_equal(pg_read(&reader, text + 11, sizeof text - 12, &used, &m, NULL), ERR_OK);
    assert_true(m.kind == PG_FLUSH);
}

static void what_is_too_long_is_thrown_away_up_to_its_end(void **state)
{
    enum { BODY = PG_TEXT_BYTES_MAX + 1 };
    static const char sync[5] = {'S', 0, 0, 0, 4};
    static char text[5 + BODY + sizeof sync];
    struct pg_reader reader = {.is_started = true};
    struct pg_message m;
    struct why why = WHY_NONE;
    size_t used;
    (void)state;
    text[0] = 'Q';
    for (int i = 0; i < 4; i++) text[1 + i] = (char)((BODY + 4) >> (24 - 8 * i));
    memcpy(text + 5 + BODY, sync, sizeof sync);
    assert_int_equal(pg_read(&reader, text, 105, &used, &m, NULL), ERR_OK);
    assert_true(used == 105 && m.kind == PG_QUERY && !m.is_last && m.body.size == 0);
    assert_int_equal(pg_read(&reader, text + 105, sizeof text - 105, &used, &m, NULL), ERR_OK);
    assert_true(used == BODY - 100 && m.kind == PG_QUERY && m.is_last && m.bytes == BODY);
    assert_int_equal(pg_check_size(&m, &why), ERR_LIMIT);
    assert_non_null(strstr(why.text, "too long"));
    assert_int_equal(pg_read(&reader, text + 5 + BODY, 5, &used, &m, NULL), ERR_OK);
    assert_true(used == 5 && m.kind == PG_SYNC && pg_check_size(&m, &why) == ERR_OK);
}

static void what_is_no_message_is_refused_at_once(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool is_started;
    } cases[] = {
        {BYTES("GET / HTTP/1.1\r\n"), false}, {BYTES("\0\0\0\7"), false},
        {BYTES("\0\0\x27\x11"), false},       {BYTES("Z\0\0\0\4"), true},
        {BYTES("Q\0\0\0\3"), true},           {BYTES("Q\x7f\0\0\0"), true},
        {BYTES("S\0\0\0\5x"), true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pg_reader reader = {.is_started = cases[i].is_started};
        struct pg_message m;
        struct why why = WHY_NONE;
        size_t used;
        assert_int_equal(pg_read(&reader, cases[i].bytes, cases[i].size, &used, &m, &why),
                         ERR_PROTOCOL);
        assert_true(why.text[0]);
    }
}

static void bind_gives_parameters_with_their_formats(void **state)
{
    static const char body[] = "p\0s\0\0\2\0\0\0\1\0\2\0\0\0\2ab\xff\xff\xff\xff\0\1\0\1";
    struct pg_bind b;
    (void)state;
    assert_int_equal(pg_read_bind((struct str){body, sizeof body - 1}, &b, NULL), ERR_OK);
    assert_true(str_is(b.portal, "p") && str_is(b.statement, "s") && b.param_count == 2);
    assert_true(str_is(b.params[0].bytes, "ab") && !b.params[0].is_binary && !b.params[0].is_null);
    assert_true(b.params[1].is_null && b.params[1].is_binary && pg_bind_is_binary(&b, 7));
    for (size_t size = 0; size < sizeof body - 1; size++)
        assert_int_equal(pg_read_bind((struct str){body, size}, &b, NULL), ERR_PROTOCOL);
}

static void positions_count_characters(void **state)
{
    (void)state;
    assert_int_equal(pg_position(STR("SELECT ä, x"), 0), 1);
    assert_int_equal(pg_position(STR("SELECT ä, x"), 11), 11);
    assert_int_equal(pg_position(STR("SELECT"), -1), 0);
}

/* ---- values ---- */

static struct str read_and_print(uint32_t oid, bool is_binary, struct str bytes,
                                 struct arena *arena)
{
    static const struct pg_style utc;
    struct value v;
    struct buf out = BUF_EMPTY;
    if (pg_param_read(oid, is_binary, bytes, arena, &v, NULL)) return STR("refused");
    pg_type_of(v.type)->text(&utc, &out, &v);
    struct str text = str_of(arena_strdup(arena, out.at ? out.at : "", out.size));
    buf_free(&out);
    return text;
}

static void parameters_are_read_in_both_forms(void **state)
{
    static const struct {
        uint32_t oid;
        bool is_binary;
        const char *bytes;
        size_t size;
        const char *text;
    } cases[] = {
        {16, false, BYTES("t"), "t"},
        {16, true, BYTES("\0"), "f"},
        {20, true, BYTES("\xff\xff\xff\xff\xff\xff\xff\xfb"), "-5"},
        {21, true, BYTES("\xff\xfe"), "-2"},
        {23, true, BYTES("\0\0\1\0"), "256"},
        {23, true, BYTES("\0\0\1"), "refused"},
        {23, false, BYTES(" 12 "), "12"},
        {26, true, BYTES("\xff\xff\xff\xff"), "4294967295"},
        {700, true, BYTES("\x3f\xc0\0\0"), "1.5"},
        {701, true, BYTES("\x40\x04\0\0\0\0\0\0"), "2.5"},
        {701, true, BYTES("\x7f\xf8\0\0\0\0\0\0"), "refused"}, /* NaN */
        {1700, false, BYTES("18446744073709551615"), "18446744073709551615"},
        {1700, false, BYTES("-2.5"), "-2.5"},
        {1700, true, BYTES("\0\2\0\1\0\0\0\0\0\x0c\x0d\x48"), "123400"},
        {1700, true, BYTES("\0\2\0\0\x40\0\0\2\0\x0c\x13\x88"), "-12.5"},
        {1700, true, BYTES("\0\0\0\0\0\0\0\0"), "0"},
        {1700, true, BYTES("\0\0\0\0\xc0\0\0\0"), "refused"}, /* NaN */
        {17, false, BYTES("\\x00fF"), "\\x00ff"},
        {17, false, BYTES("a\\001\\\\"), "\\x61015c"},
        {17, false, BYTES("\\x0"), "refused"},
        {1184, true, BYTES("\0\0\0\0\0\0\0\0"), "2000-01-01 00:00:00+00"},
        {1184, true, BYTES("\x7f\xff\xff\xff\xff\xff\xff\xff"), "refused"}, /* infinity */
        {1184, false, BYTES("2026-11-21 05:00:00.5+02"), "2026-11-21 03:00:00.5+00"},
        {1082, true, BYTES("\0\0\0\1"), "2000-01-02 00:00:00+00"},
        {1082, true, BYTES("\x60\0\0\1"), "refused"}, /* infinity and its neighbours */
        {1083, true, BYTES("\0\0\0\0\xd6\x93\xa4\0"), "01:00:00.000000"},
        {1186, true, BYTES("\0\0\0\0\0\x0f\x42\x40\0\0\0\1\0\0\0\0"), "1d1s"},
        {1186, true, BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"), "refused"}, /* a month */
        {1022, false, BYTES("{1, 2.5,NULL}"), "{1,2.5,NULL}"},
        {1022, true,
         BYTES("\0\0\0\1\0\0\0\0\0\0\2\xbd\0\0\0\1\0\0\0\1\0\0\0\x08\x3f\xf8\0\0\0\0\0\0"),
         "{1.5}"},
        {2950, true, BYTES("\0\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xf"),
         "00010203-0405-0607-0809-0a0b0c0d0e0f"},
        {3802, true, BYTES("\1{\"a\":1}"), "{\"a\":1}"},
        {0, false, BYTES("anything"), "anything"},
        {25, false, BYTES("\xff"), "refused"},
        {600, false, BYTES("(1,2)"), "refused"},
    };
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str text = read_and_print(cases[i].oid, cases[i].is_binary,
                                         (struct str){cases[i].bytes, cases[i].size}, &arena);
        if (!str_is(text, cases[i].text)) print_error("case %zu: %s\n", i, text.at);
        assert_true(str_is(text, cases[i].text));
    }
    arena_free(&arena);
}

static void what_is_written_in_binary_is_read_back(void **state)
{
    static const double doubles[] = {1.5, -2};
    const struct value values[] = {
        {.type = TYPE_BOOL, .b = true},
        {.type = TYPE_BIGINT, .i = INT64_MIN},
        {.type = TYPE_UBIGINT, .u = UINT64_MAX},
        {.type = TYPE_UBIGINT, .u = (uint64_t)INT64_MAX + 100000000},
        {.type = TYPE_DOUBLE, .d = -1e-300},
        {.type = TYPE_TEXT, .s = STR("grün")},
        {.type = TYPE_BYTES, .s = {"\0\1", 2}},
        {.type = TYPE_TIMESTAMP, .i = INT64_C(-1234567891000)},
        {.type = TYPE_DOUBLES, .s = {(const char *)doubles, sizeof doubles}},
    };
    static const struct pg_style utc;
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        const struct pg_type *type = pg_type_of(values[i].type);
        struct buf out = BUF_EMPTY, before = BUF_EMPTY, after = BUF_EMPTY;
        struct value back;
        type->binary(&out, &values[i]);
        assert_int_equal(pg_param_read(type->oid, true, buf_str(&out), &arena, &back, NULL),
                         ERR_OK);
        assert_int_equal(back.type, values[i].type);
        type->text(&utc, &before, &values[i]);
        type->text(&utc, &after, &back);
        assert_true(str_equal(buf_str(&before), buf_str(&after)));
        buf_free(&out);
        buf_free(&before);
        buf_free(&after);
    }
    arena_free(&arena);
}

static void times_are_shown_in_the_sessions_zone_rounded_down(void **state)
{
    static const struct {
        int64_t ns;
        int32_t zone;
        const char *text;
    } cases[] = {
        {0, 0, "1970-01-01 00:00:00+00"},           {-1, 0, "1969-12-31 23:59:59.999999+00"},
        {1999, 0, "1970-01-01 00:00:00.000001+00"}, {0, 19800, "1970-01-01 05:30:00+05:30"},
        {0, -12600, "1969-12-31 20:30:00-03:30"},   {0, 29143, "1970-01-01 08:05:43+08:05:43"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct zone zone = {.first_offset = cases[i].zone};
        struct pg_style style = {&zone};
        struct value v = {.type = TYPE_TIMESTAMP, .i = cases[i].ns};
        struct buf out = BUF_EMPTY;
        pg_type_of(TYPE_TIMESTAMP)->text(&style, &out, &v);
        assert_string_equal(buf_cstr(&out), cases[i].text);
        buf_free(&out);
    }
}

/* ---- COPY ---- */

/* Fields as "a|b;", NULL as "(null)", or the error's text. */
static void copy_rows(enum pg_copy_format format, struct str text, size_t piece, struct buf *out)
{
    static struct pg_copy_reader r;
    struct arena arena;
    size_t at = 0, end = 0;
    memset(&r, 0, sizeof r);
    pg_copy_defaults(format, &r.options);
    arena_init(&arena, NULL);
    while (!r.is_over) {
        size_t used;
        bool has_row;
        struct why why = WHY_NONE;
        if (pg_copy_read(&r, (struct str){text.at + at, end - at}, end == text.size, &arena, &used,
                         &has_row, &why)) {
            buf_printf(out, "line %llu: %s", (unsigned long long)r.line, why.text);
            break;
        }
        for (size_t i = 0; has_row && i < r.field_count; i++) {
            if (i) buf_add_char(out, '|');
            buf_add_str(out, r.fields[i].is_null ? STR("(null)") : r.fields[i].bytes);
        }
        if (has_row) buf_add_char(out, ';');
        at += used;
        if (used == 0 && end == text.size) break;
        if (used == 0) end += piece < text.size - end ? piece : text.size - end;
    }
    arena_free(&arena);
}

static void rows_of_copy_are_the_same_in_whatever_pieces(void **state)
{
    static const struct {
        enum pg_copy_format format;
        const char *bytes;
        size_t size;
        const char *rows;
    } cases[] = {
        {PG_COPY_TEXT, BYTES("a\tb\n\\N\t\n"), "a|b;(null)|;"},
        {PG_COPY_TEXT, BYTES("a\\tb\\\\\tc\\\nd\r\n\\x41\\102"), "a\tb\\|c\nd;AB;"},
        {PG_COPY_TEXT, BYTES("1\n\\.\n2\n"), "1;"},
        {PG_COPY_CSV, BYTES("a,\"b,\"\"\nc\",\"\",\r\nx\n"), "a|b,\"\nc||(null);x;"},
        {PG_COPY_CSV, BYTES("a\rb"), "a;b;"},
        {PG_COPY_CSV, BYTES("1,2\n\"x"), "1|2;line 2: unterminated CSV quoted field"},
        {PG_COPY_BINARY,
         BYTES("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\2\0\0\0\1a\xff\xff\xff\xff\xff\xff"),
         "a|(null);"},
        {PG_COPY_BINARY, BYTES("something else altogether"),
         "line 1: COPY file signature not recognized"},
        {PG_COPY_BINARY, BYTES("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\5a"),
         "line 1: unexpected EOF in COPY data"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t piece = 1; piece < 40; piece += 2) {
            struct buf out = BUF_EMPTY;
            copy_rows(cases[i].format, (struct str){cases[i].bytes, cases[i].size}, piece, &out);
            assert_string_equal(buf_cstr(&out), cases[i].rows);
            buf_free(&out);
        }
}

/* ---- SCRAM ---- */

/* The example of RFC 7677 section 3, but for the server's nonce, which is ours: so the proof is
 * checked by the one who can make it. */
static void a_proof_fits_the_password_and_no_other(void **state)
{
    static const uint8_t salt[SCRAM_SALT_BYTES] = "0123456789abcde",
                         random[SCRAM_NONCE_RANDOM] = "abcdefghijklmnopq";
    struct scram_verifier right, wrong;
    struct scram_server x;
    struct buf out = BUF_EMPTY;
    struct why why = WHY_NONE;
    uint8_t proof[SCRAM_KEY_BYTES] = {0};
    (void)state;
    scram_make(STR("pencil"), salt, 4096, &right);
    scram_make(STR("pencils"), salt, 4096, &wrong);
    assert_int_equal(scram_server_first(&x, STR("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), false, true,
                                        &right, random, &out, &why),
                     ERR_OK);
    assert_string_equal(
        buf_cstr(&out),
        "r=rOprNGfwEbeRWgbNEkqOYWJjZGVmZ2hpamtsbW5vcHEA,s=MDEyMzQ1Njc4OWFiY2RlAA==,i=4096");
    assert_int_equal(scram_server_last(&x,
                                       STR("c=biws,r=rOprNGfwEbeRWgbNEkqOYWJjZGVmZ2hpamtsbW5vcHEA,"
                                           "p=6iP7+PpNejFsPEcT8fcu0XuyK9VVYSKBW0gxjkoI9iM="),
                                       STR(""), proof, &why),
                     ERR_OK);
    struct str auth = {x.auth, x.auth_size};
    assert_false(scram_proof_fits(&wrong, auth, proof));
    assert_true(scram_proof_fits(&right, auth, proof));
    buf_free(&out);
}

static void what_is_not_scram_or_was_tampered_with_is_refused(void **state)
{
    static const struct {
        const char *first, *last;
        bool is_plus, plus_offered;
    } cases[] = {
        {"", "", false, false},
        {"n,,r=x", "", false, false},
        {"n,a=other,n=,r=x", "", false, false},
        {"n,,n=,r=", "", false, false},
        {"n,,n=,r=x,m=must", "", false, false},
        {"y,,n=,r=x", "", false, true}, /* somebody took our offer away */
        {"p=tls-unique,,n=,r=x", "", true, true},
        {"n,,n=,r=x", "c=biws,r=y,p=AAAA", false, false},
        {"n,,n=,r=x", "c=eSws,r=xYWJjZGVmZ2hpamtsbW5vcHEA,p=AAAA", false, false},
        {"n,,n=,r=x", "c=biws,r=xYWJjZGVmZ2hpamtsbW5vcHEA", false, false},
        {"n,,n=,r=x", "c=biws,r=xYWJjZGVmZ2hpamtsbW5vcHEA,p=AAAA", false, false},
        {"p=tls-server-end-point,,n=,r=x", /* not bound to this channel */
         "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsb3RoZXI=,r=xYWJjZGVmZ2hpamtsbW5vcHEA,p=AAAA", true,
         true},
    };
    static const uint8_t random[SCRAM_NONCE_RANDOM] = "abcdefghijklmnopq";
    struct scram_verifier v = {.iterations = 4096};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scram_server x;
        struct buf out = BUF_EMPTY;
        struct why why = WHY_NONE;
        uint8_t proof[SCRAM_KEY_BYTES];
        enum err err = scram_server_first(&x, str_of(cases[i].first), cases[i].is_plus,
                                          cases[i].plus_offered, &v, random, &out, &why);
        assert_int_equal(err, cases[i].last[0] ? ERR_OK : ERR_PROTOCOL);
        if (!err) err = scram_server_last(&x, str_of(cases[i].last), STR("bound"), proof, &why);
        assert_int_equal(err, ERR_PROTOCOL);
        assert_true(why.text[0]);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_taken_when_it_is_whole),
        cmocka_unit_test(copy_data_comes_in_pieces_whatever_its_length),
        cmocka_unit_test(what_is_too_long_is_thrown_away_up_to_its_end),
        cmocka_unit_test(what_is_no_message_is_refused_at_once),
        cmocka_unit_test(bind_gives_parameters_with_their_formats),
        cmocka_unit_test(positions_count_characters),
        cmocka_unit_test(parameters_are_read_in_both_forms),
        cmocka_unit_test(what_is_written_in_binary_is_read_back),
        cmocka_unit_test(times_are_shown_in_the_sessions_zone_rounded_down),
        cmocka_unit_test(rows_of_copy_are_the_same_in_whatever_pieces),
        cmocka_unit_test(a_proof_fits_the_password_and_no_other),
        cmocka_unit_test(what_is_not_scram_or_was_tampered_with_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
