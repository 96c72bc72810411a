/* record_test.c - claims about records: what was framed comes back; what cannot have been framed by
 * a sound program is damage, whatever its checksum says; and a file read through a window says what
 * the same bytes say in memory. */
#include "store/record.h"
#include "base/mem.h"
#include "os/sim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { SALT = 77, TYPE = 3 };

static enum err write_and_read(uint64_t seq, struct record *record, struct buf *out)
{
    buf_clear(out);
    size_t mark = record_begin(out, TYPE, seq, 5);
    buf_add_text(out, "body");
    assert_int_equal(record_end(out, mark, SALT), ERR_OK);
    struct record_source source = record_source_of(out->at, out->size);
    uint64_t next;
    return record_read(&source, 0, SALT, record, &next);
}

static void a_record_comes_back_as_it_was_framed(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    struct record record;
    assert_int_equal(write_and_read(RECORD_SEQ_MAX, &record, &out), ERR_OK);
    assert_true(record.type == TYPE && record.seq == RECORD_SEQ_MAX && record.durable == 5);
    assert_true(str_is(record.body, "body"));
    struct record_source source = record_source_of(out.at, out.size);
    uint64_t next;
    assert_int_equal(record_read(&source, 0, SALT + 1, &record, &next), ERR_CORRUPT);
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

/* ---- through a window ---- */

enum { LARGEST_BYTES = 1700000, MIB = 1 << 20 };

/* Records of all sizes, a few of them larger than a window; some damaged. */
static void make_file(struct buf *out, unsigned seed, int damages)
{
    struct record_file head = {.magic = "MILLTEST", .format = 1, .salt = SALT};
    srand(seed);
    record_file_begin(out, &head);
    for (uint64_t seq = 1; out->size < 6 * MIB; seq++) {
        static const char filling[LARGEST_BYTES] = "what is in it";
        size_t size = (size_t)(rand() % 16 ? rand() % 3000 : rand() % LARGEST_BYTES);
        size_t mark = record_begin(out, TYPE, seq, 0);
        buf_add(out, filling, size);
        assert_int_equal(record_end(out, mark, SALT), ERR_OK);
    }
    for (int i = 0; i < damages; i++)
        memset(out->at + RECORD_FILE_HEADER_BYTES + rand() % (5 * MIB), rand() % 256, 40);
}

struct listed {
    uint64_t sum, count, damaged, end;
};

static enum err note_record(void *arg, const struct record *record, struct why *why)
{
    struct listed *all = arg;
    (void)why;
    assert_true((uintptr_t)record->body.at % 8 == 0);
    all->sum = all->sum * 31 + record->seq * 7 + record->body.size;
    all->count++;
    return ERR_OK;
}

static void note_damage(void *arg, const char *text)
{
    struct listed *all = arg;
    all->damaged++;
    assert_true(strlen(text) > 0);
}

static enum err list_file(struct os *os, struct listed *all)
{
    struct record_file head = {.magic = "MILLTEST", .format = 1};
    struct record_sink sink = {note_record, note_damage, all};
    *all = (struct listed){0};
    return record_file_read(os, "file", &head, &sink, &all->end, NULL);
}

static void list_bytes(const struct buf *bytes, struct listed *all)
{
    struct record_file head = {.magic = "MILLTEST", .format = 1};
    struct record_sink sink = {note_record, note_damage, all};
    struct record_source source = record_source_of(bytes->at, bytes->size);
    *all = (struct listed){0};
    assert_int_equal(record_file_parse(&source, "file", &head, &sink, &all->end, NULL), ERR_OK);
}

static void put_file(struct os *os, const struct buf *bytes)
{
    struct os_file *file;
    assert_int_equal(os->ops->file_open(os, "file", OS_FILE_WRITE | OS_FILE_CREATE, &file, NULL),
                     ERR_OK);
    assert_int_equal(os->ops->file_truncate(file, 0, NULL), ERR_OK);
    assert_int_equal(os->ops->file_write(file, 0, bytes->at, bytes->size, NULL), ERR_OK);
    os->ops->file_close(file);
}

static void a_file_says_what_its_bytes_say(void **state)
{
    struct os *os = *state;
    struct buf bytes = BUF_EMPTY;
    struct listed whole = {0}, seen = {0};
    for (unsigned seed = 1; seed <= 12; seed++) {
        buf_clear(&bytes);
        make_file(&bytes, seed, (int)seed % 4);
        put_file(os, &bytes);
        list_bytes(&bytes, &whole);
        assert_int_equal(list_file(os, &seen), ERR_OK);
        assert_memory_equal(&seen, &whole, sizeof whole);
        assert_true(whole.count > 30);
    }
    buf_free(&bytes);
}

static void neither_a_failing_read_nor_missing_memory_changes_what_it_says(void **state)
{
    struct os *os = *state;
    struct buf bytes = BUF_EMPTY;
    struct listed whole = {0}, seen = {0};
    make_file(&bytes, 3, 3);
    put_file(os, &bytes);
    list_bytes(&bytes, &whole);
    bool happened = true;
    for (uint64_t n = 1; happened; n++) {
        sim_fault_arm(os, SIM_FAULT_IO, n);
        assert_int_equal(list_file(os, &seen), ERR_OK);
        assert_memory_equal(&seen, &whole, sizeof whole);
        happened = sim_fault_happened(os);
    }
    sim_fault_arm(os, SIM_FAULT_NONE, 0);
    for (uint64_t n = 1;; n++) {
        mem_test_fail(n);
        enum err err = list_file(os, &seen);
        bool refused = mem_test_count() >= n;
        mem_test_fail(0);
        assert_int_equal(err, refused ? ERR_NO_MEMORY : ERR_OK);
        if (!refused) break;
    }
    assert_memory_equal(&seen, &whole, sizeof whole);
    buf_free(&bytes);
}

static void no_more_is_held_than_a_window_or_the_largest_record(void **state)
{
    struct os *os = *state;
    struct buf bytes = BUF_EMPTY;
    struct record_source source;
    struct record record;
    uint64_t at = RECORD_FILE_HEADER_BYTES;
    size_t largest = 0;
    make_file(&bytes, 8, 0);
    put_file(os, &bytes);
    assert_int_equal(record_source_open(&source, os, "file", NULL), ERR_OK);
    while (at < source.size) {
        assert_int_equal(record_read(&source, at, SALT, &record, &at), ERR_OK);
        if (record.body.size > largest) largest = record.body.size;
        assert_true(source.capacity <= MIB || source.capacity <= largest + 64);
    }
    record_source_close(&source);
    buf_free(&bytes);
}

static struct sim *world;

static int setup(void **state)
{
    world = sim_new(1);
    *state = sim_node(world, "node");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sim_free(world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_back_as_it_was_framed),
        cmocka_unit_test(a_position_behind_which_none_can_follow_is_damage),
        cmocka_unit_test_setup_teardown(a_file_says_what_its_bytes_say, setup, teardown),
        cmocka_unit_test_setup_teardown(
            neither_a_failing_read_nor_missing_memory_changes_what_it_says, setup, teardown),
        cmocka_unit_test_setup_teardown(no_more_is_held_than_a_window_or_the_largest_record, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
