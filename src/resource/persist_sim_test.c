/* persist_sim_test.c - claims about the registry's database when the power fails, or the disk or
 * memory does, at any single call: it always opens, and every acknowledged document is as it was
 * acknowledged. Cases: os/sim_testlib.h. */
#include "os/sim_testlib.h"
#include "resource/persist.h"
#include <string.h>

enum { NAMES = 12, GROUP = 3 };
#define CASE_TIME_NS (60 * (int64_t)1000000000)

struct change_op {
    struct persist_change change; /* first */
    struct trial *trial;
    struct sim_attempt *attempt; /* value 0: to remove it */
    struct resource *resource;
    bool under_way;
};

struct trial {
    const struct sim_case *c;
    unsigned random;
    struct sim *sim;
    struct os *os;
    struct context context;
    struct loop home;
    struct registry *registry;
    struct persist *persist;
    struct sim_key names[NAMES];
    struct change_op ops[GROUP];
    unsigned under_way, failures;
    int values;
};

static void claim(const struct trial *t, bool holds, const char *what, int64_t detail)
{
    sim_case_claim(t->c, holds, what, detail);
}

static unsigned pick(struct trial *t, unsigned below)
{
    return (unsigned)rand_r(&t->random) % below;
}

/* ---- opening and closing ---- */

static bool open_database(struct trial *t, struct why *why)
{
    t->registry = registry_new(t->os);
    enum err err = t->registry ? ERR_OK : ERR_NO_MEMORY;
    if (!err) err = t->os->ops->path_make(t->os, "data", why);
    if (!err) err = persist_open(&t->context, "data", t->registry, &t->persist, why);
    if (!err) return true;
    if (t->registry) registry_free(t->registry);
    t->registry = NULL;
    t->persist = NULL;
    return false;
}

static void close_database(struct trial *t)
{
    if (!t->registry) return;
    persist_close(t->persist);
    registry_free(t->registry);
    t->persist = NULL;
    t->registry = NULL;
}

static bool open_again(struct trial *t)
{
    close_database(t);
    for (unsigned tries = 0; tries < 3; tries++) {
        struct why why = WHY_NONE;
        if (open_database(t, &why)) return true;
    }
    return false;
}

/* ---- writing ---- */

static void on_changed(struct completion *c)
{
    struct change_op *op = (struct change_op *)(void *)c;
    struct trial *t = op->trial;
    op->under_way = false;
    t->under_way--;
    resource_release(op->resource);
    if (c->err || sim_crashed(t->os))
        t->failures++;
    else
        op->attempt->acked = true;
}

static struct resource *make_resource(struct trial *t, unsigned name, int value)
{
    struct arena arena;
    struct problems problems;
    struct doc *doc;
    struct resource *r = NULL;
    char text[1024], filler[600];
    unsigned size = pick(t, sizeof filler);
    arena_init(&arena, NULL);
    problems_init(&problems, &arena);
    memset(filler, 'x', size);
    filler[size] = 0;
    snprintf(text, sizeof text,
             "{\"apiVersion\":\"millrace.io/v1\",\"kind\":\"Table\",\"metadata\":{\"name\":\"t%u\","
             "\"annotations\":{\"filler\":\"%s\"}},\"spec\":{\"description\":\"v%d\",\"columns\":"
             "[{\"name\":\"a\",\"type\":\"bigint\"}]}}",
             name, filler, value);
    if (!doc_read_json(str_of(text), &arena, &doc, NULL) &&
        !resource_read(doc, "", &r, &problems, NULL))
        (void)registry_prepare(t->registry, r);
    arena_free(&arena);
    return r;
}

static void change_one(struct trial *t)
{
    struct change_op *op = t->ops;
    while (op->under_way) op++;
    unsigned index = pick(t, NAMES);
    bool remove = pick(t, 4) == 0;
    struct resource *r = make_resource(t, index, remove ? 0 : t->values + 1);
    if (!r) {
        t->failures++;
        return;
    }
    *op = (struct change_op){.trial = t};
    op->attempt = sim_key_try(&t->names[index], remove ? 0 : ++t->values);
    if (!op->attempt) {
        resource_release(r);
        return;
    }
    op->resource = r;
    op->change.resource = r;
    op->change.remove = remove;
    op->under_way = true;
    t->under_way++;
    completion_init(&op->change.completion, &t->home, on_changed);
    persist_submit(t->persist, &op->change);
}

static bool is_quiet(void *arg)
{
    return ((struct trial *)arg)->under_way == 0;
}

static void change_group(struct trial *t)
{
    for (unsigned i = 1 + pick(t, GROUP); i; i--) change_one(t);
    claim(t, sim_run_until(t->sim, is_quiet, t, CASE_TIME_NS), "no answer", t->under_way);
}

static void work(struct trial *t)
{
    for (unsigned round = 0; round < 3; round++) {
        if (!open_again(t)) return;
        for (unsigned i = 0; i < 12; i++) change_group(t);
    }
}

/* ---- checking ---- */

/* What was restored at the last opening. */
static void check(struct trial *t)
{
    for (unsigned i = 0; i < NAMES; i++) t->names[i].seen = 0;
    size_t at = 0;
    for (struct resource *r; (r = registry_next(t->registry, KIND_TABLE, &at));) {
        int64_t index = -1, value = -1;
        char name[16], description[32];
        (void)str_copy(name, sizeof name, r->name);
        (void)str_copy(description, sizeof description,
                       ((struct table_spec *)r->spec)->description);
        claim(t, sim_scan(name, "t#", &index) && index >= 0 && index < NAMES, "unknown", index);
        claim(t, sim_scan(description, "v#", &value), "a strange document", index);
        if (!sim_key_allows(&t->names[index], value)) sim_key_show(&t->names[index]);
        claim(t, sim_key_allows(&t->names[index], value), "a document of another time", value);
        t->names[index].seen++;
    }
    for (unsigned i = 0; i < NAMES; i++)
        claim(t, t->names[i].seen || sim_key_allows(&t->names[i], 0), "a document is missing", i);
}

static void start_again(struct trial *t)
{
    struct why why = WHY_NONE;
    close_database(t);
    claim(t, sim_run_until(t->sim, is_quiet, t, CASE_TIME_NS), "no answer", t->under_way);
    loop_stop(&t->home);
    if (pick(t, 4))
        sim_power_loss(t->os);
    else
        sim_kill(t->os);
    assert_int_equal(loop_start(&t->home, t->os, "test", 0, NULL), ERR_OK);
    bool opened = open_database(t, &why);
    if (!opened) print_error("%s\n", why.text);
    claim(t, opened, "the database does not open", 0);
}

/* Once the disk is well, changes are taken again. */
static void must_write(struct trial *t)
{
    if (!t->registry) claim(t, open_again(t), "the database does not open again", 0);
    unsigned failures = t->failures;
    change_one(t);
    claim(t, sim_run_until(t->sim, is_quiet, t, CASE_TIME_NS), "no answer", t->under_way);
    claim(t, t->failures == failures, "a change is refused", 0);
}

static uint64_t run_case(const struct sim_case *c)
{
    struct trial *t = calloc(1, sizeof *t);
    *t = (struct trial){.c = c, .random = (unsigned)c->seed, .sim = sim_new(c->seed)};
    t->os = t->context.os = sim_node(t->sim, "node");
    t->context.diag_level = DIAG_ERROR;
    budget_init(&t->context.memory, "node", NULL, SIZE_MAX);
    assert_int_equal(loop_start(&t->home, t->os, "test", 0, NULL), ERR_OK);
    sim_case_arm(t->os, c);
    work(t);
    uint64_t calls = sim_case_calls(t->os, c);
    if (c->n == 0) claim(t, t->failures == 0, "without a fault something failed", t->failures);
    bool crashed = sim_crashed(t->os);
    sim_fault_arm(t->os, SIM_FAULT_NONE, 0);
    if (!crashed) must_write(t);
    start_again(t);
    check(t);
    must_write(t);
    start_again(t);
    check(t);
    close_database(t);
    loop_stop(&t->home);
    sim_free(t->sim);
    free(t);
    return calls;
}

/* Cases that failed once, and what was wrong. */
static const struct sim_case known_cases[] = {
    {1, SIM_FAULT_CRASH, 1},
    {1730736854, SIM_FAULT_IO_FOREVER, 143}, /* what had failed came back after it was removed */
    {522424042, SIM_FAULT_TORN, 302},        /* a commit behind one whose sync had failed */
};

static void a_fault_at_any_call_costs_no_acknowledged_document(void **state)
{
    (void)state;
    sim_cases(run_case, known_cases, sizeof known_cases / sizeof known_cases[0], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_fault_at_any_call_costs_no_acknowledged_document,
                                  sim_case_name_failed),
    };
    return cmocka_run_group_tests_name("registry in the simulated world", tests, NULL, NULL);
}
