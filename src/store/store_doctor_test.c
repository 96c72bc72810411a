/* store_doctor_test.c - claims about damage of any file of the store: the doctor names the file, or
 * the bit meant nothing; the store starts all the same and answers the rest; after a repair nothing
 * is found any more, and no row that was readable is gone. */
#include "store/doctor.h"
#include "store/store_testlib.h"
#include <fcntl.h>
#include <sys/stat.h>

struct report {
    unsigned count, bad; /* rows, and those that are findings */
    char objects[4096];  /* of the findings */
};

static void take_row(void *arg, const struct doctor_row *row)
{
    struct report *r = arg;
    r->count++;
    if (row->state == DOCTOR_OK || row->state == DOCTOR_NOTE) return;
    r->bad++;
    strncat(r->objects, row->object, sizeof r->objects - strlen(r->objects) - 1);
    strncat(r->objects, "\n", sizeof r->objects - strlen(r->objects) - 1);
}

static struct report examine(struct world *w, bool repair)
{
    struct report r = {0};
    struct doctor_sink sink = {take_row, &r};
    struct why why = WHY_NONE;
    enum err err = store_doctor(w->os, w->folder, repair, &sink, &why);
    if (err) print_error("%s\n", why_text(&why, err));
    assert_int_equal(err, ERR_OK);
    return r;
}

/* Two tables' worth of days, deletes, a log with rows of its own. */
static struct schema *fill(struct world *w)
{
    struct schema *s = make_table(w);
    for (int i = 0; i < 3; i++) {
        put_many(w, s, i * SEAL_PARTITION_NS, 3000);
        flush(w);
    }
    put_many(w, s, 4 * SEAL_PARTITION_NS, 50);
    return s;
}

static size_t lines_of(struct world *w)
{
    struct reading r = all(2);
    struct schema *schema = store_find_table(w->store, STR("default"), STR("t"));
    if (!schema) return 0; /* the catalogue lost it */
    schema_release(schema);
    char *text = dump(w, &r);
    size_t lines = 0;
    assert_non_null(text);
    for (char *p = text; *p; p++) lines += *p == '\n';
    free(text);
    return lines;
}

static void run(struct world *w, const char *command)
{
    char text[400];
    snprintf(text, sizeof text, "F=%s; %s", w->folder, command);
    assert_int_equal(system(text), 0);
}

static void a_sound_store_has_no_findings_and_a_running_one_is_left_alone(void **state)
{
    struct world *w = *state;
    struct schema *s = fill(w);
    struct report r = {0};
    struct doctor_sink sink = {take_row, &r};
    assert_int_equal(store_doctor(w->os, w->folder, true, &sink, NULL), ERR_BUSY);
    store_close(w->store);
    r = examine(w, false);
    if (r.bad) print_error("%s\n", r.objects);
    assert_int_equal(r.bad, 0);
    assert_true(r.count >= 6); /* meta, manifest, catalogue, log, three parts */
    open_store(w);
    schema_release(s);
}

/* Names of regular files below the folder that hold something, in an order of their own. */
static size_t list_files(struct world *w, char files[64][200])
{
    char command[200];
    snprintf(command, sizeof command, "cd %s && find . -type f -size +0 | sort", w->folder);
    FILE *pipe = popen(command, "r");
    size_t count = 0;
    while (count < 64 && fgets(files[count], 200, pipe)) {
        files[count][strcspn(files[count], "\n")] = 0;
        count++;
    }
    (void)pclose(pipe);
    return count;
}

static void flip_one(struct world *w, const char *name, unsigned *seed)
{
    char path[300];
    struct stat st;
    uint8_t byte;
    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    off_t at = (off_t)((unsigned)rand_r(seed) % (unsigned)st.st_size);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= (uint8_t)(1u << rand_r(seed) % 8);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void each_flipped_bit_is_named_or_means_nothing(void **state)
{
    struct world *w = *state;
    unsigned seed = seed_of_run(), named = 0;
    char files[64][200];
    print_message("seed %u\n", seed);
    struct schema *s = fill(w);
    size_t lines = lines_of(w);
    store_close(w->store);
    run(w, "cp -a $F $F.copy");
    size_t count = list_files(w, files);
    assert_true(count >= 6);
    for (size_t i = 0, at = 0; i < 300; i++, at = at + 1 < count ? at + 1 : 0) {
        const char *name = files[at] + 2; /* "./" */
        flip_one(w, name, &seed);
        struct report r = examine(w, false);
        bool is_log = strncmp(name, "log/", 4) == 0;
        bool is_named = strstr(r.objects, is_log ? "log" : name) != NULL;
        named += is_named;
        struct why why = WHY_NONE;
        enum err err = try_open(w, &why);
        if (err) print_error("%s: %s\n", name, why_text(&why, err));
        assert_int_equal(err, ERR_OK); /* nothing keeps a store from starting */
        size_t now = lines_of(w);
        struct store_health_row rows[16];
        size_t told = store_health(w->store, rows, 16);
        /* The end of the log cannot be told from what was never acknowledged. */
        bool silent = now < lines && !is_log && !(is_named && told);
        if (silent) print_error("%s: %zu of %zu rows, %zu told\n", name, now, lines, told);
        assert_false(silent);
        /* Filling between records is under no checksum and nothing reads it. */
        if (!is_log && !is_named) assert_int_equal(now, lines);
        if (strncmp(name, "meta", 4) == 0) assert_true(is_named && told && now == lines);
        store_close(w->store);
        w->store = NULL;
        run(w, "rm -rf $F; cp -a $F.copy $F");
    }
    print_message("%u of 300 named\n", named);
    run(w, "rm -rf $F.copy");
    open_store(w);
    assert_int_equal(lines_of(w), lines);
    schema_release(s);
}

/* Whether SHOW HEALTH speaks of an object that begins like this. */
static bool is_told(struct world *w, const char *object)
{
    struct store_health_row rows[32];
    size_t count = store_health(w->store, rows, 32);
    for (size_t i = 0; i < count; i++)
        if (strncmp(rows[i].object, object, strlen(object)) == 0) return true;
    return false;
}

static void a_node_keeps_its_origin_whatever_became_of_meta(void **state)
{
    struct world *w = *state;
    static const char *const damages[] = {"rm $F/meta",
                                          "rm $F/meta.copy",
                                          "echo x > $F/meta",
                                          "truncate -s 20 $F/meta.copy",
                                          "rm $F/meta; echo x > $F/meta.copy",
                                          "rm $F/meta $F/meta.copy",
                                          "rm $F/meta $F/meta.copy $F/log/*",
                                          "rm $F/meta.copy; : > $F/meta"};
    struct schema *s = fill(w);
    flush(w);
    size_t lines = lines_of(w);
    uint64_t origin = store_origin(w->store);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        store_close(w->store);
        run(w, damages[i]);
        (void)examine(w, i % 2);
        open_store(w);
        assert_int_equal(store_origin(w->store), origin);
        assert_int_equal(lines_of(w), lines);
        if (i == 4) assert_true(is_told(w, "meta"));
        put_many(w, s, 9 * SEAL_PARTITION_NS, 1);
        lines += i == 0;
        flush(w);
        reopen(w);
        assert_false(is_told(w, "meta"));
    }
    schema_release(s);
}

static void repaired_damage_is_gone_and_what_was_readable_is_not(void **state)
{
    struct world *w = *state;
    unsigned seed = seed_of_run() + 7;
    char files[64][200];
    struct schema *s = fill(w);
    for (int i = 0; i < 3; i++) { /* more series in the parts of later days */
        struct model *m = calloc(1, sizeof *m);
        m->step = SEAL_PARTITION_NS / 2000;
        struct batch *b = batch_new(s, NULL);
        for (unsigned at = 0; at < 1000; at++) model_row(m, b, at % DEVICES, at, 8);
        put(w, b);
        flush(w);
        free(m);
    }
    size_t lines = lines_of(w), count;
    store_close(w->store);
    count = list_files(w, files);
    unsigned hit = 0;
    for (size_t i = 0; i < count; i++) {
        if (!strstr(files[i], ".part")) continue;
        if (hit++ % 2 == 0) flip_one(w, files[i] + 2, &seed);
    }
    assert_true(hit > 2);
    size_t before = 0;
    open_store(w);
    before = lines_of(w);
    store_close(w->store);
    struct report r = examine(w, true);
    assert_true(r.bad > 0);
    r = examine(w, false);
    if (r.bad) print_error("%s\n", r.objects);
    assert_int_equal(r.bad, 0);
    open_store(w);
    size_t after = lines_of(w);
    if (after < before) print_error("%zu rows, %zu before the repair\n", after, before);
    assert_true(after >= before && after <= lines);
    assert_true(count_files(w, "quarantine", ".part") > 0);
    assert_int_equal(count_files(w, "quarantine", ".part"), count_files(w, "quarantine", ".txt"));
    schema_release(s);
}

/* Of the last series only a short block is left; those before it stand in a group, which comes
 * later. The repair took it for one of them, and ended the program. */
static void a_series_of_which_little_is_left_is_repaired_beside_a_group(void **state)
{
    struct world *w = *state;
    struct schema *s = make_table(w);
    struct model *m = calloc(1, sizeof *m);
    m->step = 1000;
    first_rows(w, s, m);
    put_many(w, s, 0, PART_BLOCK_ROWS + 10);
    flush(w);
    size_t lines = lines_of(w);
    assert_int_equal(lines, DEVICES + PART_BLOCK_ROWS + 10);
    store_close(w->store);
    /* The first block's time is the first thing behind the header. */
    run(w, "printf '\\377' | dd of=$(ls $F/parts/*.part) bs=1 seek=66 conv=notrunc status=none");
    struct report r = examine(w, true);
    assert_true(r.bad > 0);
    r = examine(w, false);
    assert_int_equal(r.bad, 0);
    open_store(w);
    assert_int_equal(lines_of(w), DEVICES + 10);
    free(m);
    schema_release(s);
}

static void a_lost_manifest_costs_no_row(void **state)
{
    struct world *w = *state;
    struct schema *s = fill(w);
    size_t lines = lines_of(w);
    for (int round = 0; round < 4; round++) { /* the log is recycled from the first one on */
        bool repair = round % 2;
        store_close(w->store);
        char path[200];
        snprintf(path, sizeof path, "%s/manifest", w->folder);
        assert_int_equal(remove(path), 0);
        struct report r = examine(w, repair);
        bool is_named = strstr(r.objects, "manifest") != NULL;
        if (repair) r = examine(w, false);
        open_store(w);
        assert_true(is_named && (!repair || !r.bad));
        /* Segments before the oldest one are gone because their rows are in parts. */
        assert_false(is_told(w, "log"));
        assert_false(strstr(r.objects, "log") != NULL);
        assert_int_equal(lines_of(w), lines);
        flush(w);
    }
    reopen(w);
    assert_int_equal(lines_of(w), lines);
    schema_release(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_sound_store_has_no_findings_and_a_running_one_is_left_alone),
        STORE_TEST(each_flipped_bit_is_named_or_means_nothing),
        STORE_TEST(a_node_keeps_its_origin_whatever_became_of_meta),
        STORE_TEST(repaired_damage_is_gone_and_what_was_readable_is_not),
        STORE_TEST(a_series_of_which_little_is_left_is_repaired_beside_a_group),
        STORE_TEST(a_lost_manifest_costs_no_row),
    };
    return cmocka_run_group_tests_name("store doctor", tests, NULL, NULL);
}
