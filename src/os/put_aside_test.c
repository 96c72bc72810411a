/* put_aside_test.c - what is put aside has the whole name that it was given, or is refused. */
#include "os/put_aside.h"
#include "os/sim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <string.h>

enum { LONG = 5000 };

static enum err put_aside(struct os *os, const char *from, const char *name, const char *as)
{
    struct why why = WHY_NONE;
    enum err err = os_put_aside(os, "data", from, name, as, true, "broken", &why);
    if (err) assert_non_null(strstr(why_text(&why, err), "longer"));
    return err;
}

static void a_name_is_never_cut(void **state)
{
    (void)state;
    struct sim *sim = sim_new(1);
    struct os *os = sim_node(sim, "n");
    struct os_path_info info;
    char as[LONG + 1], path[400];
    assert_int_equal(os->ops->path_make(os, "data", NULL), ERR_OK);
    assert_int_equal(os_write_whole(os, "data/x", STR("damaged"), NULL), ERR_OK);
    for (size_t size = 252; size <= LONG; size = size < 300 ? size + 1 : size * 2) {
        memset(as, 'a', size);
        as[size] = 0;
        assert_int_equal(put_aside(os, "data", "x", as), ERR_LIMIT);
    }
    memset(as, 'a', LONG);
    as[LONG] = 0;
    assert_int_equal(put_aside(os, "data", as, "x"), ERR_LIMIT);
    assert_int_equal(put_aside(os, as, "x", "x"), ERR_LIMIT);
    as[251] = 0; /* with ".txt" as long as a name may be */
    assert_int_equal(put_aside(os, "data", "x", as), ERR_OK);
    snprintf(path, sizeof path, "data/quarantine/%.251s.txt", as);
    assert_int_equal(os->ops->path_info(os, path, &info, NULL), ERR_OK);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_name_is_never_cut)};
    return cmocka_run_group_tests_name("put aside", tests, NULL, NULL);
}
