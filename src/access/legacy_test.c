/* legacy_test.c - claims about password hashes of Mosquitto: the right password fits, nothing else
 * does, and what is no hash is none. The hashes were made by Python's hashlib. */
#include "access/legacy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define ONCE                                                                                       \
    "$6$AAECAwQFBgcICQoL$CR8JYFxmmUkHjuEep9vX3Y6fkRNgrvqwE9Hvu9DEJbEVWW97nqCTvqeHz+"               \
    "vPCNN5o8tMaQAZVHMZoHuhP0xUzQ=="
#define OFTEN                                                                                      \
    "$7$101$AAECAwQFBgcICQoL$2D1Fj9tURFgyWyVz05BFAhWlqVDZAdq8/"                                    \
    "0F8WieQhk6QvqTXFppM3BejJbmdODOyP90wrsDsSe/zFJg8E1+UNw=="
#define LONG_SALT                                                                                  \
    "$7$1000$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0"  \
    "+Pw==$5AKlic3Ojhf10HdjyRqAzrNSYbaxFUd7sa6J4ORJrzNs2wP6mT0ZUHU4iCtDTpU6SvYoW4XBAmjhaAT9F/"     \
    "xrcg=="

static void the_right_password_fits_and_no_other(void **state)
{
    static const struct {
        const char *hash, *password;
    } cases[] = {{ONCE, "a-word"}, {OFTEN, "a-word"}, {LONG_SALT, ""}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct legacy_verifier v;
        assert_true(legacy_parse(str_of(cases[i].hash), &v));
        assert_true(legacy_check(&v, str_of(cases[i].password)));
        assert_false(legacy_check(&v, STR("a-wore")));
        assert_false(legacy_check(&v, STR("a-word ")));
        v.hash[LEGACY_HASH_BYTES - 1] ^= 1;
        assert_false(legacy_check(&v, str_of(cases[i].password)));
    }
}

static void what_is_no_hash_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "$",
        "$6",
        "$6$$",
        "$6$AAECAwQFBgcICQoL$",
        "$6$AAECAwQFBgcICQoL$AAAA",
        "$6$AAECAwQFBgcICQo$" /* a salt that is no base64 */
        "CR8JYFxmmUkHjuEep9vX3Y6fkRNgrvqwE9Hvu9DEJbEVWW97nqCTvqeHz+vPCNN5o8tMaQAZVHMZoHuhP0xUzQ==",
        "$7$0$AAECAwQFBgcICQoL$" /* no rounds, and too many */
        "CR8JYFxmmUkHjuEep9vX3Y6fkRNgrvqwE9Hvu9DEJbEVWW97nqCTvqeHz+vPCNN5o8tMaQAZVHMZoHuhP0xUzQ==",
        "$7$99999999999$AAECAwQFBgcICQoL$"
        "CR8JYFxmmUkHjuEep9vX3Y6fkRNgrvqwE9Hvu9DEJbEVWW97nqCTvqeHz+vPCNN5o8tMaQAZVHMZoHuhP0xUzQ==",
        "$5$AAECAwQFBgcICQoL$"
        "CR8JYFxmmUkHjuEep9vX3Y6fkRNgrvqwE9Hvu9DEJbEVWW97nqCTvqeHz+vPCNN5o8tMaQAZVHMZoHuhP0xUzQ==",
        ONCE "A",
        ONCE "$",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct legacy_verifier v;
        if (legacy_parse(str_of(bad[i]), &v)) fail_msg("taken: %s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_password_fits_and_no_other),
        cmocka_unit_test(what_is_no_hash_is_refused),
    };
    return cmocka_run_group_tests_name("legacy", tests, NULL, NULL);
}
