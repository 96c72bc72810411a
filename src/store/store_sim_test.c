/* store_sim_test.c - claims about a store whose power fails, or whose disk or memory does, at any
 * single call of a small workload: it always starts again, every acknowledged row is there, once,
 * with its value, nothing deleted comes back, and a backup counts only when it is whole: then what
 * is restored from it is exactly what was there at its position. At every look the table's rollup
 * gives the answers that its rows give.
 *
 * A case (os/sim_testlib.h) runs the workload; then the store is stopped, the disk settles as after
 * a power loss or a kill, and the store is opened and compared with what the writer was told. What
 * was not acknowledged may be there or not, whole. */
#include "os/sim_testlib.h"
#include "store/store_rollup_testlib.h"

enum {
    NAMES = 4,   /* devices whose rows are written again and again */
    SLOTS = 200, /* times of each */
    BATCHES_MAX = 256,
    WHOLE_ROWS = 3,       /* of each batch for the device that tells whole batches from torn ones */
    GROUP = 4,            /* batches or deletes under way together */
    EVERY_CALL_MAX = 150, /* cases; the soak has them all */
    TRIED_MAX = 8,        /* keys that one of them tries to change */
};
#define SLOT_NS      ((int64_t)60 * 1000000000)
#define BASE_NS      (INT64_C(1767225600) * 1000000000) /* 2026-01-01 */
#define RETENTION_NS (400 * SEAL_PARTITION_NS)
#define EVERY_NS     (10 * SLOT_NS) /* of the rollup */
#define CASE_TIME_NS (60 * (int64_t)1000000000)

/* ---- what the writer knows ---- */

struct ledger {
    struct sim_key rows[NAMES][SLOTS];
    uint64_t seqs[NAMES][SLOTS][SIM_ATTEMPTS_MAX]; /* of acknowledged attempts */
    int64_t values;                                /* given so far; each is used once */
    unsigned batches;
    bool batch_acked[BATCHES_MAX];
    uint64_t batch_seqs[BATCHES_MAX];
    unsigned batch_seen[BATCHES_MAX];
    uint64_t backed_up; /* position of the last backup that was acknowledged */
};

/* One append or delete on its way. */
struct put_op {
    union {
        struct completion completion; /* first, of both */
        struct store_append append;
        struct store_delete delete;
    };
    struct store_range range;
    struct trial *trial;
    unsigned batch;
    bool under_way, deletes;
    struct sim_attempt *attempts[TRIED_MAX];
    uint64_t *seqs[TRIED_MAX];
    unsigned attempt_count;
};

struct trial {
    struct world *world;
    struct ledger ledger;
    struct schema *schema;
    const struct sim_case *c;
    unsigned random;
    struct put_op ops[GROUP];
    struct store_backup backup;
    bool is_backing_up;
    unsigned under_way, failures, restores;
    uint64_t position; /* checked is what was there then; UINT64_MAX: now */
};

static void claim(const struct trial *t, bool holds, const char *what, int64_t detail)
{
    sim_case_claim(t->c, holds, what, detail);
}

static unsigned pick(struct trial *t, unsigned below)
{
    return (unsigned)rand_r(&t->random) % below;
}

/* ---- writing ---- */

static void on_put(struct completion *c)
{
    struct put_op *op = (struct put_op *)(void *)c;
    struct trial *t = op->trial;
    op->under_way = false;
    t->under_way--;
    /* Nobody hears an answer that a node gives after its power failed. */
    if (c->err || sim_crashed(t->world->os)) {
        t->failures++;
        return;
    }
    uint64_t seq = op->deletes ? op->delete.seq : op->append.seq;
    for (unsigned i = 0; i < op->attempt_count; i++) {
        op->attempts[i]->acked = true;
        *op->seqs[i] = seq;
    }
    if (op->deletes) return;
    t->ledger.batch_acked[op->batch] = true;
    t->ledger.batch_seqs[op->batch] = seq;
}

/* Notes that `op` tries to give a key this value (0: to remove it); false: it was tried too often.
 */
static bool try_key(struct trial *t, struct put_op *op, unsigned name, unsigned slot, int64_t value)
{
    struct sim_key *key = &t->ledger.rows[name][slot];
    struct sim_attempt *attempt = sim_key_try(key, value);
    MUST(op->attempt_count < TRIED_MAX);
    if (!attempt) return false;
    op->seqs[op->attempt_count] = &t->ledger.seqs[name][slot][key->count - 1];
    op->attempts[op->attempt_count++] = attempt;
    return true;
}

static bool write_row(struct trial *t, struct batch *b, const char *device, int64_t time, int64_t v)
{
    struct value a = {.type = TYPE_BIGINT, .i = v}, twice = {.type = TYPE_BIGINT, .i = v * 7 + 1};
    uint32_t index;
    return !batch_add_device(b, str_of(device), NULL, 0, &index) &&
           !batch_begin_row(b, index, time) && !batch_set(b, &t->schema->columns[0], &a) &&
           !batch_set(b, &t->schema->columns[1], &twice);
}

static bool fill(struct trial *t, struct put_op *op, struct batch *b)
{
    struct ledger *l = &t->ledger;
    for (unsigned i = 0; i < 5; i++) {
        unsigned name = pick(t, NAMES), slot = pick(t, SLOTS);
        char device[8];
        snprintf(device, sizeof device, "d%u", name);
        int64_t value = ++l->values;
        if (!try_key(t, op, name, slot, value)) continue;
        if (!write_row(t, b, device, BASE_NS + slot * SLOT_NS, value)) return false;
    }
    /* A new device now and then: its series has to survive with its rows. */
    char device[16];
    snprintf(device, sizeof device, "whole%u", op->batch / 4);
    for (unsigned i = 0; i < WHOLE_ROWS; i++)
        if (!write_row(t, b, device, BASE_NS + op->batch * WHOLE_ROWS + i, op->batch)) return false;
    return true;
}

static struct put_op *free_op(struct trial *t)
{
    struct put_op *op = t->ops;
    while (op->under_way) op++;
    MUST(op < t->ops + GROUP);
    op->trial = t;
    op->attempt_count = 0;
    return op;
}

/* Deletes a few slots of one device. */
static void delete_one(struct trial *t)
{
    struct put_op *op = free_op(t);
    unsigned name = pick(t, NAMES), slot = pick(t, SLOTS), count = 1 + pick(t, TRIED_MAX);
    static const char *const devices[NAMES] = {"d0", "d1", "d2", "d3"};
    if (slot + count > SLOTS) count = SLOTS - slot;
    for (unsigned i = 0; i < count; i++)
        if (!try_key(t, op, name, slot + i, 0)) count = i;
    if (!count) return;
    op->range = (struct store_range){str_of(devices[name]), BASE_NS + slot * SLOT_NS,
                                     BASE_NS + (slot + count - 1) * SLOT_NS + 1, 0};
    op->delete =
        (struct store_delete){.table_id = t->schema->table_id, .count = 1, .ranges = &op->range};
    completion_init(&op->completion, &t->world->home, on_put);
    op->under_way = op->deletes = true;
    t->under_way++;
    store_delete(t->world->store, &op->delete);
}

static void put_one(struct trial *t)
{
    struct put_op *op = free_op(t);
    if (t->ledger.batches == BATCHES_MAX) return;
    struct batch *b = batch_new(t->schema, NULL);
    op->batch = t->ledger.batches++;
    /* A batch the writer has no memory for was never sent: its attempts stay without an answer. */
    if (!b || !fill(t, op, b) || batch_seal(b)) {
        if (b) batch_release(b);
        t->failures++;
        return;
    }
    op->append = (struct store_append){.batch = b, .ack = STORE_ACK_DURABLE};
    completion_init(&op->completion, &t->world->home, on_put);
    op->under_way = true;
    op->deletes = false;
    t->under_way++;
    store_append(t->world->store, &op->append);
}

static bool is_quiet(void *arg)
{
    return ((struct trial *)arg)->under_way == 0;
}

static void wait_quiet(struct trial *t)
{
    claim(t, sim_run_until(t->world->sim, is_quiet, t, CASE_TIME_NS), "no answer", t->under_way);
}

static void put_group(struct trial *t)
{
    unsigned count = 1 + pick(t, GROUP);
    for (unsigned i = 0; i < count; i++) {
        if (pick(t, 4))
            put_one(t);
        else
            delete_one(t);
        for (unsigned steps = pick(t, 3); steps; steps--) (void)sim_step(t->world->sim);
    }
    wait_quiet(t);
}

/* ---- backups ---- */

static void on_backed_up(struct completion *c)
{
    struct store_backup *op = (struct store_backup *)c;
    struct trial *t = (struct trial *)(void *)((char *)op - offsetof(struct trial, backup));
    t->is_backing_up = false;
    if (c->err || sim_crashed(t->world->os))
        t->failures++;
    else
        t->ledger.backed_up = op->position;
}

static bool is_backed_up(void *arg)
{
    return !((struct trial *)arg)->is_backing_up;
}

/* One more into the folder, while rows and deletes come in. */
static void back_up(struct trial *t, unsigned keep)
{
    t->backup = (struct store_backup){.folder = "backup", .keep = keep};
    completion_init(&t->backup.completion, &t->world->home, on_backed_up);
    t->is_backing_up = true;
    store_backup(t->world->store, &t->backup);
    for (unsigned i = 0; i < 3; i++) put_group(t);
    claim(t, sim_run_until(t->world->sim, is_backed_up, t, CASE_TIME_NS), "no answer of a backup",
          0);
}

/* ---- the workload ---- */

static struct schema *find_table(struct trial *t)
{
    return store_find_table(t->world->store, STR("default"), STR("t"));
}

static bool make_table_t(struct trial *t)
{
    for (unsigned tries = 0; tries < 3 && !(t->schema = find_table(t)); tries++) {
        struct schema *s = schema_new("default", "t", 0);
        bool made = s && !schema_add_column(s, 0, "a", TYPE_BIGINT, 0, "", "", NULL) &&
                    !schema_add_column(s, 0, "b", TYPE_BIGINT, 0, "", "", NULL) &&
                    !schema_add_rollup(s, EVERY_NS, 0);
        if (made) {
            s->retention_ns = RETENTION_NS;
            (void)try_define(t->world, s, false);
        } else {
            schema_release(s);
        }
    }
    return t->schema != NULL;
}

/* One more column: the rows from here on have a schema of their own. */
static void alter_table(struct trial *t)
{
    struct schema *s = schema_copy(t->schema);
    if (s && !schema_add_column(s, 0, "c", TYPE_DOUBLE, 0, "", "", NULL)) {
        s->revision++;
        (void)try_define(t->world, s, false);
    } else {
        schema_release(s);
    }
    struct schema *now = find_table(t);
    if (!now) return;
    schema_release(t->schema);
    t->schema = now;
}

/* Now and then a node starts with a clock that is years off: 1970, or ten years ahead. */
static void set_clock(struct trial *t)
{
    static const int64_t years[] = {0, 0, 0, -56, 10};
    int64_t off_ns = years[pick(t, 5)] * 365 * SEAL_PARTITION_NS;
    off_ns += SEAL_PARTITION_NS / 2; /* the slots' windows have ended */
    sim_wall_set(t->world->os, BASE_NS + off_ns + t->world->os->ops->mono_ns(t->world->os));
}

static bool open_again(struct trial *t)
{
    struct why why = WHY_NONE;
    set_clock(t);
    store_close(t->world->store);
    t->world->store = NULL;
    for (unsigned tries = 0; tries < 3; tries++)
        if (try_open(t->world, &why) == ERR_OK) return true;
    t->world->store = NULL;
    return false;
}

/* What a node does in a small life. Any step may fail; the next one is tried all the same. */
static void work(struct trial *t)
{
    if (!open_again(t) || !make_table_t(t)) return;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 4; i++) {
            unsigned failures = t->failures;
            put_group(t);
            if (t->failures > failures && pick(t, 2) && !open_again(t)) return;
        }
        if (round == 1) alter_table(t);
        (void)try_flush(t->world);
        back_up(t, round == 2 ? 1 : 0);
        for (unsigned i = 0; i < 3; i++) put_group(t);
        (void)try_flush(t->world);
        for (unsigned i = 0; i < 2; i++) put_group(t);
        if (round == 2) break;
        if (round == 0) sim_run_for(t->world->sim, 12 * (int64_t)1000000000); /* a tick */
        if (!open_again(t)) return;
    }
}

/* ---- checking ---- */

/* As sim_key_allows, for what was there at the position looked at: an attempt acknowledged with a
 * higher one is not. */
static bool allows(const struct trial *t, unsigned name, unsigned slot, int64_t value)
{
    const struct sim_key *key = &t->ledger.rows[name][slot];
    for (unsigned i = key->count; i-- > 0;) {
        bool acked = key->attempts[i].acked;
        if (acked && t->ledger.seqs[name][slot][i] > t->position) continue;
        if (key->attempts[i].value == value) return true;
        if (acked) return false;
    }
    return value == 0;
}

/* For the eye, when a claim failed. */
static void show_key(const struct trial *t, unsigned name, unsigned slot)
{
    sim_key_show(&t->ledger.rows[name][slot]);
    for (unsigned i = 0; i < t->ledger.rows[name][slot].count; i++)
        print_error("attempt %u at %" PRIu64 "\n", i, t->ledger.seqs[name][slot][i]);
    print_error("device %u slot %u, looked at as of %" PRIu64 "\n", name, slot, t->position);
}

static void see_row(struct trial *t, int64_t name, int64_t time, int64_t value)
{
    int64_t slot = (time - BASE_NS) / SLOT_NS;
    claim(t, name >= 0 && name < NAMES && slot >= 0 && slot < SLOTS, "a row nobody wrote", time);
    struct sim_key *row = &t->ledger.rows[name][slot];
    claim(t, row->seen++ == 0, "a row twice", value);
    bool allowed = allows(t, (unsigned)name, (unsigned)slot, value);
    if (!allowed) show_key(t, (unsigned)name, (unsigned)slot);
    claim(t, allowed, "a row without its latest value", value);
}

static void see_line(struct trial *t, const char *line)
{
    int64_t v[4] = {-1}; /* device, time, a, b */
    if (sim_scan(line, "whole# # # #", v)) {
        bool known = v[2] >= 0 && v[2] < t->ledger.batches && v[3] == v[2] * 7 + 1;
        claim(t, known, "a batch nobody wrote", v[2]);
        t->ledger.batch_seen[v[2]]++;
        return;
    }
    claim(t, sim_scan(line, "d# # # #", v) && v[3] == v[2] * 7 + 1, "half a row", v[2]);
    see_row(t, v[0], v[1], v[2]);
}

/* Windows in place of rows change no answer, whether they are computed or not. */
static void check_rollup(struct trial *t)
{
    struct schema *schema = find_table(t);
    unsigned seed = t->random;
    if (!schema) return;
    schema_release(schema);
    (void)compare_now(t->world, &seed, SLOT_NS, 1);
}

static void check(struct trial *t)
{
    struct reading r = all(2);
    struct ledger *l = &t->ledger;
    struct schema *schema = find_table(t);
    char *text = schema ? dump(t->world, &r) : strdup("");
    schema_release(schema);
    claim(t, text != NULL, "not readable", 0);
    memset(l->batch_seen, 0, sizeof l->batch_seen);
    for (unsigned i = 0; i < NAMES * SLOTS; i++) l->rows[i / SLOTS][i % SLOTS].seen = 0;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));)
        if (*line) see_line(t, line);
    free(text);
    for (unsigned i = 0; i < NAMES * SLOTS; i++) {
        const struct sim_key *row = &l->rows[i / SLOTS][i % SLOTS];
        claim(t, row->seen || allows(t, i / SLOTS, i % SLOTS, 0), "an acknowledged row is missing",
              i);
    }
    for (unsigned i = 0; i < l->batches; i++) {
        bool acked = l->batch_acked[i], is_later = acked && l->batch_seqs[i] > t->position;
        claim(t, !acked || is_later || l->batch_seen[i] == WHOLE_ROWS, "a batch is missing", i);
        claim(t, !is_later || l->batch_seen[i] == 0, "a batch that is newer than the backup", i);
        claim(t, l->batch_seen[i] == 0 || l->batch_seen[i] == WHOLE_ROWS, "half a batch", i);
    }
    check_rollup(t);
}

/* What the newest whole backup gives back; there is one at least as new as the last acknowledged.
 */
static void check_backup(struct trial *t)
{
    struct world *w = t->world;
    struct store_backup_info info;
    struct why why = WHY_NONE;
    char folder[32], home[sizeof w->folder];
    memcpy(home, w->folder, sizeof home);
    snprintf(folder, sizeof folder, "restored%u", t->restores++);
    enum err err = store_restore(w->os, "backup", NULL, folder, &info, &why);
    if (err == ERR_NOT_FOUND && !t->ledger.backed_up) return;
    if (err) print_error("%s\n", why_text(&why, err));
    claim(t, !err, "an acknowledged backup cannot be restored", err);
    claim(t, info.position >= t->ledger.backed_up, "an older backup than the last",
          (int64_t)info.position);
    store_close(w->store);
    move_world(w, folder);
    err = try_open(w, &why);
    claim(t, !err, "what was restored does not start", err);
    t->position = info.position;
    check(t);
    t->position = UINT64_MAX;
    store_close(w->store);
    move_world(w, home);
    claim(t, try_open(w, &why) == ERR_OK, "the store does not open again", 0);
}

/* ---- one case ---- */

static void start_after(struct trial *t, bool power_lost)
{
    struct world *w = t->world;
    struct why why = WHY_NONE;
    store_close(w->store);
    w->store = NULL;
    wait_quiet(t);
    schema_release(t->schema);
    t->schema = NULL;
    loop_stop(&w->home);
    if (power_lost)
        sim_power_loss(w->os);
    else
        sim_kill(w->os);
    assert_int_equal(loop_start(&w->home, w->os, "test", 0, NULL), ERR_OK);
    enum err err = try_open(w, &why);
    if (err) print_error("%s\n", why_text(&why, err));
    claim(t, !err, "the store does not start", err);
}

static void start_again(struct trial *t)
{
    start_after(t, pick(t, 4) != 0);
}

/* A store that stands writes again, and within how long. */
static void must_write(struct trial *t)
{
    int64_t until_ns = t->world->os->ops->mono_ns(t->world->os) + CASE_TIME_NS;
    if (!t->world->store && !open_again(t)) claim(t, false, "the store does not open again", 0);
    if (!t->schema) claim(t, make_table_t(t), "no table can be made", 0);
    for (unsigned failures = UINT32_MAX; t->failures != failures;) {
        claim(t, t->world->os->ops->mono_ns(t->world->os) < until_ns, "writing does not resume", 0);
        failures = t->failures;
        put_one(t);
        wait_quiet(t);
        sim_run_for(t->world->sim, 1000000000);
    }
    claim(t, try_flush(t->world) == ERR_OK, "no flush", 0);
}

static void after_a_crash(struct trial *t)
{
    sim_fault_arm(t->world->os, SIM_FAULT_NONE, 0);
    start_again(t);
    check(t);
    must_write(t);
    check(t);
    start_again(t);
    check(t);
    check_backup(t);
}

static void after_a_fault(struct trial *t)
{
    if (t->world->store) check(t); /* reading goes on */
    if (t->c->fault == SIM_FAULT_FULL && t->schema) {
        start_again(t); /* also on a full disk */
        check(t);
    }
    sim_fault_arm(t->world->os, SIM_FAULT_NONE, 0);
    if (pick(t, 2)) start_again(t);
    must_write(t);
    check(t);
    start_again(t);
    check(t);
    must_write(t);
    check(t);
    check_backup(t);
}

static struct trial *trial_new(const struct sim_case *c)
{
    struct trial *t = calloc(1, sizeof *t);
    *t = (struct trial){.c = c, .random = (unsigned)c->seed, .position = UINT64_MAX};
    t->world = sim_world_new(c->seed);
    t->world->segment_bytes = 12 * 1024;
    return t;
}

static void trial_free(struct trial *t)
{
    schema_release(t->schema);
    sim_world_free(t->world);
    free(t);
}

static uint64_t run_case(const struct sim_case *c)
{
    struct trial *t = trial_new(c);
    sim_case_arm(t->world->os, c);
    work(t);
    uint64_t calls = sim_case_calls(t->world->os, c);
    if (c->n == 0) claim(t, t->failures == 0, "without a fault something failed", t->failures);
    if (sim_crashed(t->world->os))
        after_a_crash(t);
    else
        after_a_fault(t);
    trial_free(t);
    return calls;
}

/* Cases that failed once, and what was wrong. */
static const struct sim_case known_cases[] = {
    {1, SIM_FAULT_CRASH, 1},
    {276216533, SIM_FAULT_IO, 145},          /* one failed read of a segment cost its rows */
    {1805793535, SIM_FAULT_IO, 148},         /* one failed look at a part, and it was removed */
    {1952973055, SIM_FAULT_ALLOCATION, 192}, /* a part without an index of a series */
    {146152103, SIM_FAULT_ALLOCATION, 994},  /* half of a refused batch stayed */
    {1959387534, SIM_FAULT_ALLOCATION, 73},  /* a series without its record */
    {542766213, SIM_FAULT_IO, 25},           /* rows waited for ever behind a failed write */
    {1, SIM_FAULT_IO, 1},                    /* a merge was taken in before its last message came */
    {573349034, SIM_FAULT_FULL, 543},        /* a part merged away came back with deleted rows */
    {1362895687, SIM_FAULT_FULL, 826},       /* a window outlived a row it was computed from */
    {213024410, SIM_FAULT_IO, 1869},         /* the same: the rollup's old windows were not read */
};

static void a_fault_at_any_call_costs_no_acknowledged_row(void **state)
{
    (void)state;
    /* What a known case means moves with the code; the calls of one seed do not. */
    if (!getenv("MILLRACE_SIM_CASE"))
        sim_cases_every_call(run_case, 1, SIM_FAULT_IO, EVERY_CALL_MAX);
    sim_cases(run_case, known_cases, sizeof known_cases / sizeof known_cases[0], 5);
}

/* A kill leaves what a failed sync did not make durable in the kernel's memory, where the next
 * start reads it; only the power loss after that takes it away. */
static void build_on_failed_sync(uint64_t seed, uint64_t n, bool flushes)
{
    struct sim_case c = {seed, SIM_FAULT_IO, n};
    struct trial *t = trial_new(&c);
    assert_true(open_again(t) && make_table_t(t));
    for (unsigned i = 0; flushes && i < 2; i++) { /* the second one appends to the manifest */
        for (unsigned k = 0; k < 3; k++) put_group(t);
        if (i == 0) assert_int_equal(try_flush(t->world), ERR_OK);
    }
    sim_fault_arm(t->world->os, SIM_FAULT_IO, n);
    if (flushes)
        (void)try_flush(t->world);
    else
        put_one(t); /* the first rows of their devices */
    wait_quiet(t);
    sim_fault_arm(t->world->os, SIM_FAULT_NONE, 0);
    start_after(t, false);
    assert_true(make_table_t(t));
    for (unsigned i = 0; i < 4; i++) put_group(t);
    start_after(t, true);
    check(t);
    trial_free(t);
}

static void what_a_failed_sync_covered_is_nothing_to_build_on(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        for (uint64_t n = 1; n <= 4; n++) build_on_failed_sync(seed, n, false);
        for (uint64_t n = 1; n <= 16; n++) build_on_failed_sync(seed, n, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_fault_at_any_call_costs_no_acknowledged_row,
                                  sim_case_name_failed),
        cmocka_unit_test(what_a_failed_sync_covered_is_nothing_to_build_on),
    };
    return cmocka_run_group_tests_name("store in the simulated world", tests, NULL, NULL);
}
