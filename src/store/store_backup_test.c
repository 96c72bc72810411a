/* store_backup_test.c - claims about backups: what is restored is every row and delete at or below
 * the backup's position and no other; a second backup copies only what is new; old ones go whole;
 * damage of any byte is found before a node could start from it; positions are never given twice.
 */
#include "store/backup.h"
#include "store/store_testlib.h"
#include <fcntl.h>
#include <sys/stat.h>

static enum err try_backup(struct world *w, struct store_backup *op, const char *folder,
                           unsigned keep)
{
    *op = (struct store_backup){.folder = folder, .keep = keep};
    w->home.after_arg = w;
    completion_init(&op->completion, &w->home, on_done);
    store_backup(w->store, op);
    wait_done(w);
    return w->err;
}

static void delete_range(struct world *w, const struct schema *s, struct store_range range)
{
    assert_int_equal(try_delete(w, s, &range, 1), ERR_OK);
}

/* A few hundred rows, late ones among them, and a delete. */
static void work(struct world *w, const struct schema *s, struct model *m, unsigned *seed)
{
    for (int round = 0; round < 5; round++) {
        struct batch *b = batch_new((struct schema *)(uintptr_t)s, NULL);
        for (int i = 0; i < 150; i++)
            model_row(m, b, (unsigned)rand_r(seed) % DEVICES, (unsigned)rand_r(seed) % TIMES,
                      (unsigned)rand_r(seed) % 4096);
        put(w, b);
        if (rand_r(seed) % 2) flush(w);
    }
    unsigned from = (unsigned)rand_r(seed) % TIMES,
             to = from + 200 < TIMES ? from + 200 : TIMES - 1;
    delete_range(
        w, s, (struct store_range){STR("d1"), (int64_t)from * m->step, (int64_t)to * m->step, 0});
    for (unsigned at = from; at <= to; at++) {
        m->rows[1][at] = false;
        memset(m->cells[1][at], 0, sizeof m->cells[1][at]);
    }
}

static struct store_backup_info restore(struct world *w, const char *from, const char *to)
{
    struct store_backup_info info;
    struct why why = WHY_NONE;
    enum err err = store_restore(w->os, from, NULL, to, &info, &why);
    if (err) print_error("%s\n", why_text(&why, err));
    assert_int_equal(err, ERR_OK);
    return info;
}

static void what_is_restored_is_the_state_at_the_position(void **state)
{
    struct world *w = *state;
    unsigned seed = seed_of_run();
    struct model *m = calloc(1, sizeof *m), *then = calloc(1, sizeof *then);
    char target[100], folder[100], home[sizeof w->folder];
    struct store_backup op;
    m->step = (int64_t)3600 * 1000000000;
    snprintf(target, sizeof target, "%s/backup", w->folder);
    memcpy(home, w->folder, sizeof home);
    struct schema *s = make_table(w);
    first_rows(w, s, m);
    for (int round = 0; round < 4; round++) {
        work(w, s, m, &seed);
        assert_int_equal(try_backup(w, &op, target, 2), ERR_OK);
        assert_true(op.parts_copied > 0 && op.position <= store_positions(w->store).appended);
        *then = *m;
        work(w, s, m, &seed); /* not in it */
    }
    assert_int_equal(count_files(w, "backup", ".index"), 2);
    uint64_t highest = store_positions(w->store).appended;
    snprintf(folder, sizeof folder, "%s/restored", w->folder);
    struct store_backup_info info = restore(w, target, folder);
    assert_int_equal(info.position, op.position);
    store_close(w->store);
    move_world(w, folder);
    open_store(w);
    compare_all(w, then);
    struct store_health_row rows[8];
    assert_int_equal(store_health(w->store, rows, 8), 0);
    first_rows(w, s, then);
    assert_true(store_positions(w->store).appended > highest);
    compare_all(w, then);
    store_close(w->store);
    move_world(w, home);
    open_store(w);
    schema_release(s);
    free(then);
    free(m);
}

static void a_second_backup_copies_only_what_is_new(void **state)
{
    struct world *w = *state;
    struct store_backup op;
    char target[100];
    snprintf(target, sizeof target, "%s/backup", w->folder);
    struct schema *s = make_table(w);
    for (int i = 0; i < 3; i++) {
        put_many(w, s, i * SEAL_PARTITION_NS, 1000);
        flush(w);
    }
    assert_int_equal(try_backup(w, &op, target, 0), ERR_OK);
    assert_int_equal(op.parts_copied, 3);
    assert_int_equal(try_backup(w, &op, target, 0), ERR_OK);
    assert_int_equal(op.parts_copied, 0);
    assert_int_equal(op.parts, 3);
    put_many(w, s, 3 * SEAL_PARTITION_NS, 1000);
    assert_int_equal(try_backup(w, &op, target, 0), ERR_OK);
    assert_int_equal(op.parts_copied, 1);
    assert_int_equal(count_files(w, "backup", ".index"), 3);
    assert_int_equal(count_files(w, "backup/parts", ".part"), 4);
    schema_release(s);
}

/* Flips one bit of one file. */
static void flip(const char *path, uint64_t offset, unsigned bit)
{
    int fd = open(path, O_RDWR);
    uint8_t byte;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= (uint8_t)(1u << bit);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

static void a_flipped_bit_anywhere_in_a_backup_is_found(void **state)
{
    struct world *w = *state;
    unsigned seed = seed_of_run();
    struct store_backup op;
    struct backup_index index;
    struct store_backup_info info;
    char target[100], folder[100], path[300], command[200];
    snprintf(target, sizeof target, "%s/backup", w->folder);
    snprintf(folder, sizeof folder, "%s/restored", w->folder);
    struct schema *s = make_table(w);
    put_many(w, s, 0, 1000);
    assert_int_equal(try_backup(w, &op, target, 0), ERR_OK);
    assert_int_equal(backup_index_read(w->os, target, op.name, &index, NULL), ERR_OK);
    for (unsigned i = 0; i < 100; i++) {
        const struct backup_file *f = &index.files[(size_t)rand_r(&seed) % index.count];
        uint64_t at = (uint64_t)rand_r(&seed) % f->size_bytes;
        struct why why = WHY_NONE;
        snprintf(path, sizeof path, "%s/%s", target, f->stored);
        flip(path, at, i % 8);
        assert_int_equal(store_restore(w->os, target, NULL, folder, &info, &why), ERR_CORRUPT);
        assert_non_null(strstr(why.text, f->stored));
        flip(path, at, i % 8);
        snprintf(command, sizeof command, "rm -rf %s", folder);
        assert_int_equal(system(command), 0);
    }
    snprintf(path, sizeof path, "%s/%s.index", target, op.name);
    flip(path, 40, 1);
    assert_int_equal(store_restore(w->os, target, op.name, folder, &info, NULL), ERR_CORRUPT);
    backup_index_free(&index);
    schema_release(s);
}

static void check_newest(struct world *w, const char *target, const char *name)
{
    char folder[100], command[200];
    snprintf(folder, sizeof folder, "%s/restored", w->folder);
    struct store_backup_info info = restore(w, target, folder);
    assert_string_equal(info.name, name);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

/* Nothing is written meanwhile: all are of one position. The first ones go, and their names are not
 * given again; nor does anything end at 1,000 of them. */
static void the_newest_of_many_backups_of_one_position_is_the_last_one(void **state)
{
    struct world *w = *state;
    struct store_backup op;
    char target[100], command[600];
    snprintf(target, sizeof target, "%s/backup", w->folder);
    struct schema *s = make_table(w);
    put_many(w, s, 0, 100);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(try_backup(w, &op, target, 2), ERR_OK);
        check_newest(w, target, op.name);
    }
    snprintf(command, sizeof command, "cp %s/%s.index %s/%.16s-999.index", target, op.name, target,
             op.name);
    assert_int_equal(system(command), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(try_backup(w, &op, target, 0), ERR_OK);
        check_newest(w, target, op.name);
    }
    snprintf(command, sizeof command, "test $(ls %s/*.index | wc -l) = 5", target);
    assert_int_equal(system(command), 0);
    schema_release(s);
}

static void a_damaged_newer_backup_is_passed_over_and_told(void **state)
{
    struct world *w = *state;
    struct store_backup older, newer;
    struct store_backup_info info;
    struct why why = WHY_NONE;
    char target[100], folder[100], path[300];
    snprintf(target, sizeof target, "%s/backup", w->folder);
    snprintf(folder, sizeof folder, "%s/restored", w->folder);
    struct schema *s = make_table(w);
    put_many(w, s, 0, 100);
    assert_int_equal(try_backup(w, &older, target, 0), ERR_OK);
    put_many(w, s, 1000, 100);
    assert_int_equal(try_backup(w, &newer, target, 0), ERR_OK);
    snprintf(path, sizeof path, "%s/%s.index", target, newer.name);
    flip(path, 40, 1);
    assert_int_equal(store_restore(w->os, target, newer.name, folder, &info, &why), ERR_CORRUPT);
    assert_non_null(strstr(why.text, newer.name));
    assert_int_equal(store_restore(w->os, target, NULL, folder, &info, NULL), ERR_OK);
    assert_string_equal(info.name, older.name);
    assert_string_equal(info.damaged, newer.name);
    schema_release(s);
}

static void a_store_that_closes_ends_its_backup(void **state)
{
    struct world *w = *state;
    char target[100];
    snprintf(target, sizeof target, "%s/backup", w->folder);
    struct schema *s = make_table(w);
    put_many(w, s, 0, 4000);
    struct store_backup op = {.folder = target, .bytes_per_s = 1};
    w->home.after_arg = w;
    completion_init(&op.completion, &w->home, on_done);
    store_backup(w->store, &op);
    for (int i = 0; i < 20000 && !atomic_load(&op.done_bytes); i++) usleep(100);
    store_close(w->store);
    wait_done(w);
    assert_int_equal(w->err, ERR_CANCELLED);
    assert_int_equal(count_files(w, "backup", ".index"), 0);
    open_store(w);
    assert_int_equal(try_backup(w, &op, target, 0), ERR_OK);
    schema_release(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(what_is_restored_is_the_state_at_the_position),
        STORE_TEST(a_second_backup_copies_only_what_is_new),
        STORE_TEST(a_flipped_bit_anywhere_in_a_backup_is_found),
        STORE_TEST(the_newest_of_many_backups_of_one_position_is_the_last_one),
        STORE_TEST(a_damaged_newer_backup_is_passed_over_and_told),
        STORE_TEST(a_store_that_closes_ends_its_backup),
    };
    return cmocka_run_group_tests_name("store backup", tests, NULL, NULL);
}
