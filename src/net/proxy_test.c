/* proxy_test.c - claims about PROXY headers. */
#include "net/proxy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <string.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static enum err read_it(const char *bytes, size_t size, struct proxy_header *header, char *source)
{
    struct why why = WHY_NONE;
    enum err err = proxy_read(bytes, size, header, &why);
    source[0] = 0;
    if (!err && header->has_source) os_address_print(&header->source, source, OS_HOST_BYTES + 8);
    return err;
}

static void the_client_is_who_the_header_says(void **state)
{
    (void)state;
    static const struct {
        const char *rest;
        size_t size, header;
        const char *source;
    } cases[] = {
#define CASE(rest, tail, source)                                                                   \
    {rest tail, sizeof(rest tail) - 1, sizeof SIGNATURE - 1 + sizeof(rest) - 1, source}
        CASE("\x21\x11\0\x0c\x0a\0\0\x07\x0a\0\0\x01\xa0\xcd\x07\x5b", "\x10more",
             "10.0.0.7:41165"),
        CASE("\x21\x11\0\x11\xc0\xa8\x01\xff\x0a\0\0\x01\0\1\0\2\x04\0\2ab", "", "192.168.1.255:1"),
        CASE("\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
             "\0\x50\0\x51",
             "x", "[2001:db8::1]:80"),
        CASE("\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
             "\0\x50\0\x51",
             "", "[::1]:80"),
        CASE("\x21\x21\0\x24\0\1\0\0\0\3\0\0\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
             "\0\x50\0\x51",
             "", "[1:0:3::6:0:0]:80"),
        CASE("\x20\0\0\0", "hello", ""),                          /* a health check */
        CASE("\x20\x11\0\x0c\1\2\3\4\5\6\7\x08\0\1\0\2", "", ""), /* its addresses do not count */
        CASE("\x21\0\0\3abc", "", ""),                            /* unspecified */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char bytes[256], source[OS_HOST_BYTES + 8];
        struct proxy_header header;
        memcpy(bytes, SIGNATURE, sizeof SIGNATURE - 1);
        memcpy(bytes + sizeof SIGNATURE - 1, cases[i].rest, cases[i].size);
        size_t size = sizeof SIGNATURE - 1 + cases[i].size;
        assert_int_equal(read_it(bytes, size, &header, source), ERR_OK);
        assert_string_equal(source, cases[i].source);
        assert_int_equal(header.size, cases[i].header);
        for (size_t n = 0; n < header.size; n++)
            assert_int_equal(read_it(bytes, n, &header, source), ERR_BUSY);
    }
}

static void what_is_no_such_header_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"\x10\x10\0\4MQTT", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
                                        "\r\n\r\nx"};
    struct proxy_header header;
    char source[OS_HOST_BYTES + 8];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(read_it(wrong[i], 5, &header, source), ERR_PROTOCOL);
    static const char version[] = SIGNATURE "\x11\x11\0\0", command[] = SIGNATURE "\x22\x11\0\0",
                      small[] = SIGNATURE "\x21\x11\0\4\1\2\3\4",
                      large[] = SIGNATURE "\x21\x11\xff\xff";
    assert_int_equal(read_it(version, sizeof version - 1, &header, source), ERR_PROTOCOL);
    assert_int_equal(read_it(command, sizeof command - 1, &header, source), ERR_PROTOCOL);
    assert_int_equal(read_it(small, sizeof small - 1, &header, source), ERR_PROTOCOL);
    assert_int_equal(read_it(large, sizeof large - 1, &header, source), ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_is_who_the_header_says),
        cmocka_unit_test(what_is_no_such_header_is_refused),
    };
    return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
