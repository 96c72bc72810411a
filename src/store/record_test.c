/* record_test.c - claims about single records: what was framed comes back; what cannot have been
 * framed by a sound program is damage, whatever its checksum says. */
#include "store/record.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { SALT = 77, TYPE = 3 };

static enum err write_and_read(uint64_t seq, struct record *record, struct buf *out)
{
    buf_clear(out);
    size_t mark = record_begin(out, TYPE, seq, 5);
    buf_add_text(out, "body");
    assert_int_equal(record_end(out, mark, SALT), ERR_OK);
    struct reader in = reader_of(out->at, out->size);
    return record_read(&in, SALT, record);
}

static void a_record_comes_back_as_it_was_framed(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    struct record record;
    assert_int_equal(write_and_read(RECORD_SEQ_MAX, &record, &out), ERR_OK);
    assert_true(record.type == TYPE && record.seq == RECORD_SEQ_MAX && record.durable == 5);
    assert_true(str_is(record.body, "body"));
    struct reader in = reader_of(out.at, out.size);
    assert_int_equal(record_read(&in, SALT + 1, &record), ERR_CORRUPT);
    buf_free(&out);
}

/* The position behind it would be 0, which everything that was written before is above. */
static void a_position_behind_which_none_can_follow_is_damage(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    struct record record;
    assert_int_equal(write_and_read(UINT64_MAX, &record, &out), ERR_CORRUPT);
    assert_int_equal(write_and_read(RECORD_SEQ_MAX + 1, &record, &out), ERR_CORRUPT);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_back_as_it_was_framed),
        cmocka_unit_test(a_position_behind_which_none_can_follow_is_damage),
    };
    return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
