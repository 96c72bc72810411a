/* store_backup_fault_test.c - claims about backups and restores to which memory or the disk is
 * refused at every single call in turn: the failure is named, the store loses nothing, half a
 * backup never counts as one, half a restore is told as a failure, and the next try works.
 *
 * Each round writes a little, lets the n-th call of a backup (or restore) fail, and then restores
 * the newest backup without a fault: it is exactly what was written up to its position, the rows
 * and what others of the node add (a cursor, a state, a queue that grows). Rounds end when the
 * operation needs fewer than n calls. */
#include "os/sim_testlib.h"
#include "store/backup.h"
#include "store/store_testlib.h"

enum { STATES = 1200, CALLS_MAX = 2000, OLD_EVERY = 5, QUEUE_STEP_BYTES = 100 };

/* What stood at a position that a backup could have. */
struct state {
    uint64_t position;
    struct model *model;
};

struct trial {
    struct world *world;
    struct schema *schema;
    struct model *model; /* what stands now */
    struct state states[STATES];
    size_t state_count;
    unsigned seed, restores;
    uint64_t backed_up; /* position of the last backup that was acknowledged, 0: none */
};

static const int faults[] = {SIM_FAULT_IO, SIM_FAULT_ALLOCATION};

static struct trial *trial_new(struct world *w)
{
    struct trial *t = calloc(1, sizeof *t);
    t->world = w;
    t->seed = 11;
    t->model = calloc(1, sizeof *t->model);
    t->model->step = (int64_t)3600 * 1000000000;
    t->schema = make_table(w);
    first_rows(w, t->schema, t->model);
    return t;
}

static void forget_states(struct trial *t)
{
    for (size_t i = 0; i < t->state_count; i++) free(t->states[i].model);
    t->state_count = 0;
}

static void trial_free(struct trial *t)
{
    forget_states(t);
    schema_release(t->schema);
    free(t->model);
    free(t);
}

/* ---- what others add ---- */

static void write_file(struct trial *t, const char *name, uint64_t at, const void *bytes,
                       size_t size)
{
    const struct os_ops *ops = t->world->os->ops;
    struct os_file *file;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", t->world->folder, name);
    assert_int_equal(
        ops->file_open(t->world->os, path, OS_FILE_WRITE | OS_FILE_CREATE, &file, NULL), ERR_OK);
    assert_int_equal(ops->file_write(file, at, bytes, size, NULL), ERR_OK);
    ops->file_close(file);
}

/* Cursor and state say the position; the queue has so many bytes for each state there was. */
static void write_others(struct trial *t, uint64_t position)
{
    static const char *const folders[] = {"sinks", "mqtt/queues"};
    char bytes[QUEUE_STEP_BYTES], path[128];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", t->world->folder, folders[i]);
        assert_int_equal(t->world->os->ops->path_make(t->world->os, path, NULL), ERR_OK);
    }
    write_file(t, "sinks/one", 0, &position, sizeof position);
    write_file(t, "mqtt/state.copy", 0, &position, sizeof position);
    memset(bytes, (int)(t->state_count & 127), sizeof bytes);
    write_file(t, "mqtt/queues/0000000000000001", (t->state_count - 1) * QUEUE_STEP_BYTES, bytes,
               sizeof bytes);
}

static struct store_backup_extra extras[2];

static void on_pinned(struct store_backup *op)
{
    store_backup_go_on(op, extras, 2, ERR_OK, NULL);
}

static uint64_t read_number(struct trial *t, const char *folder, const char *name)
{
    const struct os_ops *ops = t->world->os->ops;
    struct os_file *file;
    char path[128];
    uint64_t number = 0;
    size_t got = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(ops->file_open(t->world->os, path, 0, &file, NULL), ERR_OK);
    assert_int_equal(ops->file_read(file, 0, &number, sizeof number, &got, NULL), ERR_OK);
    assert_int_equal(got, sizeof number);
    ops->file_close(file);
    return number;
}

static void others_are_of(struct trial *t, const char *folder, size_t state)
{
    struct os_path_info info;
    char path[128];
    snprintf(path, sizeof path, "%s/mqtt/queues/0000000000000001", folder);
    assert_int_equal(read_number(t, folder, "sinks/one"), t->states[state].position);
    assert_int_equal(read_number(t, folder, "mqtt/state"), t->states[state].position);
    assert_int_equal(t->world->os->ops->path_info(t->world->os, path, &info, NULL), ERR_OK);
    assert_int_equal(info.size_bytes, (state + 1) * QUEUE_STEP_BYTES);
}

/* Rows of some days, and notes what stands after them. */
static void write_some(struct trial *t)
{
    struct batch *b = batch_new(t->schema, NULL);
    for (unsigned i = 0; i < 12; i++)
        model_row(t->model, b, i % DEVICES, (unsigned)rand_r(&t->seed) % 60,
                  (unsigned)rand_r(&t->seed) % 4096);
    assert_int_equal(batch_seal(b), ERR_OK);
    while (try_put(t->world, batch_share(b)) != ERR_OK) { /* the log is being reopened */
    }
    batch_release(b);
    assert_true(t->state_count < STATES);
    struct state *s = &t->states[t->state_count++];
    s->position = store_positions(t->world->store).appended;
    s->model = malloc(sizeof *s->model);
    *s->model = *t->model;
    write_others(t, s->position);
}

static enum err back_up(struct trial *t, const char *folder, struct why *why)
{
    struct store_backup op = {.folder = folder, .keep = 2, .pinned = on_pinned};
    extras[0] = (struct store_backup_extra){
        .name = "mqtt/state", .path = "mqtt/state.copy", .bytes = UINT64_MAX};
    extras[1] = (struct store_backup_extra){.name = "mqtt/queues/0000000000000001",
                                            .path = "mqtt/queues/0000000000000001",
                                            .bytes = t->state_count * QUEUE_STEP_BYTES,
                                            .is_shared = true};
    t->world->home.after_arg = t->world;
    completion_init(&op.completion, &t->world->home, on_done);
    store_backup(t->world->store, &op);
    wait_done(t->world);
    *why = op.completion.why;
    if (!t->world->err) t->backed_up = op.position;
    return t->world->err;
}

static void arm(struct trial *t, int fault, uint64_t n)
{
    struct sim_case c = {1, fault, n};
    sim_case_arm(t->world->os, &c);
}

/* Ends the fault; whether there was a call for it. */
static bool disarm(struct trial *t, int fault, uint64_t n)
{
    struct sim_case c = {1, fault, n};
    bool reached = sim_case_calls(t->world->os, &c) >= n;
    sim_fault_arm(t->world->os, SIM_FAULT_NONE, 0);
    return reached;
}

/* Opens what was restored, compares it with what stood at its position, and goes home again. */
static void check_restored(struct trial *t, const char *folder, uint64_t position)
{
    struct world *w = t->world;
    char home[sizeof w->folder];
    size_t state = t->state_count;
    for (size_t i = 0; i < t->state_count; i++)
        if (t->states[i].position <= position) state = i;
    assert_true(state < t->state_count);
    others_are_of(t, folder, state);
    memcpy(home, w->folder, sizeof home);
    store_close(w->store);
    move_world(w, folder);
    open_store(w);
    struct store_health_row rows[4];
    assert_int_equal(store_health(w->store, rows, 4), 0);
    compare_all(w, t->states[state].model);
    store_close(w->store);
    move_world(w, home);
    open_store(w);
}

static void newest_backup_is_whole(struct trial *t, const char *from)
{
    struct store_backup_info info;
    struct why why = WHY_NONE;
    char folder[64];
    snprintf(folder, sizeof folder, "restored%u", t->restores++);
    enum err err = store_restore(t->world->os, from, NULL, folder, &info, &why);
    if (err == ERR_NOT_FOUND && !t->backed_up) return;
    if (err) print_error("%s\n", why_text(&why, err));
    assert_int_equal(err, ERR_OK);
    assert_true(info.position >= t->backed_up);
    check_restored(t, folder, info.position);
}

/* `fresh`: every try goes to a folder of its own, so that all parts are copied. */
static void each_call_of_a_backup(struct trial *t, int fault, bool fresh)
{
    struct why why;
    char folder[64] = "backup";
    bool reached = true;
    unsigned failed = 0;
    uint64_t n = 1;
    for (; reached && n < CALLS_MAX; n++) {
        if (fresh) t->backed_up = 0;
        if (fresh) snprintf(folder, sizeof folder, "full%d-%u", fault, (unsigned)n);
        write_some(t);
        arm(t, fault, n);
        enum err err = back_up(t, folder, &why);
        reached = disarm(t, fault, n);
        failed += err != ERR_OK;
        /* Some failures cost nothing: an old backup that stays, a flush that is tried again. */
        assert_true(err == ERR_OK || err == ERR_IO || err == ERR_NO_MEMORY);
        if (err == ERR_IO) assert_true(why.text[0] != 0);
        compare_all(t->world, t->model);
        if (err || n % OLD_EVERY == 0) newest_backup_is_whole(t, folder);
        if (n % OLD_EVERY) continue;
        write_some(t);
        assert_int_equal(back_up(t, folder, &why), ERR_OK);
        newest_backup_is_whole(t, folder);
        compare_all(t->world, t->model);
    }
    assert_false(reached);
    assert_true(failed > 10);
    print_message("fault %d, %s: each of %u calls, %u failed\n", fault, fresh ? "full" : "more",
                  (unsigned)n - 2, failed);
}

static void a_fault_at_any_call_of_a_backup_leaves_whole_ones_only(void **state)
{
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct trial *t = trial_new(*state);
        each_call_of_a_backup(t, faults[i], true);
        trial_free(t);
        sim_teardown(state);
        sim_setup(state);
    }
}

static void a_fault_at_any_call_of_one_more_backup_harms_no_older_one(void **state)
{
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct trial *t = trial_new(*state);
        struct why why;
        write_some(t);
        assert_int_equal(back_up(t, "backup", &why), ERR_OK);
        each_call_of_a_backup(t, faults[i], false);
        trial_free(t);
        sim_teardown(state);
        sim_setup(state);
    }
}

static void each_call_of_a_restore(struct trial *t, int fault)
{
    struct os *os = t->world->os;
    struct store_backup_info info;
    bool reached = true;
    unsigned failed = 0;
    uint64_t n = 1;
    for (; reached && n < CALLS_MAX; n++) {
        struct why why = WHY_NONE;
        char folder[64];
        snprintf(folder, sizeof folder, "again%u", t->restores++);
        arm(t, fault, n);
        enum err err = store_restore(os, "backup", NULL, folder, &info, &why);
        reached = disarm(t, fault, n);
        /* A read that is tried again costs nothing; an older backup in place of the newest would.
         */
        if (!err) assert_true(info.position == t->backed_up && !info.damaged[0]);
        if (!err) check_restored(t, folder, info.position);
        if (err) failed++;
        if (err) assert_true(err == ERR_IO || err == ERR_NO_MEMORY);
        if (err == ERR_IO) assert_true(why.text[0] != 0);
        snprintf(folder, sizeof folder, "again%u", err ? t->restores - 1 : t->restores++);
        /* Over what the failure left behind. */
        assert_int_equal(store_restore(os, "backup", NULL, folder, &info, NULL), ERR_OK);
        assert_int_equal(info.position, t->backed_up);
        check_restored(t, folder, info.position);
    }
    assert_false(reached);
    assert_true(failed > 10);
    print_message("fault %d: each of %u calls, %u failed\n", fault, (unsigned)n - 2, failed);
}

static void a_restore_with_a_fault_at_any_call_says_so_and_the_next_works(void **state)
{
    struct trial *t = trial_new(*state);
    struct why why;
    write_some(t);
    assert_int_equal(back_up(t, "backup", &why), ERR_OK);
    write_some(t);
    assert_int_equal(back_up(t, "backup", &why), ERR_OK);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        each_call_of_a_restore(t, faults[i]);
    trial_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_SIM_TEST(a_fault_at_any_call_of_a_backup_leaves_whole_ones_only),
        STORE_SIM_TEST(a_fault_at_any_call_of_one_more_backup_harms_no_older_one),
        STORE_SIM_TEST(a_restore_with_a_fault_at_any_call_says_so_and_the_next_works),
    };
    return cmocka_run_group_tests_name("store backup faults", tests, NULL, NULL);
}
