/* sim_testlib.h - for tests that hit a workload at each of its calls: which cases are run.
 *
 * A *case* is (seed, fault, n): a world made from the seed, in which the n-th disk call (or
 * allocation) is hit by the fault. `./dev test` runs as many as fit into its time, drawn from the
 * printed seed (MILLRACE_TEST_SEED); the soak runs every n of many seeds (MILLRACE_SIM_SEEDS).
 * MILLRACE_SIM_CASE="SEED FAULT N" runs one, which is what a failure prints. MILLRACE_SIM_SECONDS
 * and MILLRACE_SIM_FAULT: so long, only this fault. A case that failed once stays in its test's
 * list of known cases. */
#ifndef OS_SIM_TESTLIB_H
#define OS_SIM_TESTLIB_H

#include "base/mem.h"
#include "os/sim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SIM_FAULT_ALLOCATION = 100 /* beside enum sim_fault: the n-th allocation is refused */ };

struct sim_case {
    uint64_t seed;
    int fault;
    uint64_t n; /* 0: nothing is hit */
};

/* ---- what a writer knows about one key ---- */

enum { SIM_ATTEMPTS_MAX = 40 };

/* One write, or removal (value 0), in the order they were sent. */
struct sim_attempt {
    int64_t value;
    bool acked;
};

struct sim_key {
    unsigned count;
    struct sim_attempt attempts[SIM_ATTEMPTS_MAX];
    unsigned seen; /* by the check under way */
};

/* NULL: this key was written often enough. */
static inline struct sim_attempt *sim_key_try(struct sim_key *key, int64_t value)
{
    if (key->count == SIM_ATTEMPTS_MAX) return NULL;
    key->attempts[key->count] = (struct sim_attempt){.value = value};
    return &key->attempts[key->count++];
}

/* Whether the key may be found with this value (0: not found): what was acknowledged last, or a
 * later attempt whose fate is unknown. */
static inline bool sim_key_allows(const struct sim_key *key, int64_t value)
{
    for (unsigned i = key->count; i-- > 0;) {
        if (key->attempts[i].value == value) return true;
        if (key->attempts[i].acked) return false;
    }
    return value == 0;
}

/* For the eye, when a claim failed. */
static inline void sim_key_show(const struct sim_key *key)
{
    for (unsigned i = 0; i < key->count; i++)
        print_error("attempt %u: %" PRId64 "%s\n", i, key->attempts[i].value,
                    key->attempts[i].acked ? ", acknowledged" : "");
}

/* ---- cases ---- */

/* Runs one case; returns how many calls there were for n to hit. */
typedef uint64_t sim_case_run(const struct sim_case *c);

static inline void sim_case_arm(struct os *os, const struct sim_case *c)
{
    if (c->fault == SIM_FAULT_ALLOCATION)
        mem_test_fail(c->n ? c->n : UINT64_MAX);
    else
        sim_fault_arm(os, (enum sim_fault)c->fault, c->n);
}

/* The calls since sim_case_arm; no more allocations fail. */
static inline uint64_t sim_case_calls(struct os *os, const struct sim_case *c)
{
    uint64_t calls = c->fault == SIM_FAULT_ALLOCATION ? mem_test_count() : sim_fault_calls(os);
    mem_test_fail(0);
    return calls;
}

/* The case that runs, or ran last. */
static struct sim_case sim_under_way;
static bool sim_is_under_way;

static inline uint64_t sim_case_try(sim_case_run *run, const struct sim_case *c)
{
    sim_under_way = *c;
    sim_is_under_way = true;
    uint64_t calls = run(c);
    sim_is_under_way = false;
    return calls;
}

/* A test's teardown: names the case in which an assertion failed. */
static inline int sim_case_name_failed(void **state)
{
    (void)state;
    if (sim_is_under_way)
        print_error("MILLRACE_SIM_CASE=\"%" PRIu64 " %d %" PRIu64 "\"\n", sim_under_way.seed,
                    sim_under_way.fault, sim_under_way.n);
    sim_is_under_way = false;
    return 0;
}

static inline void sim_case_claim(const struct sim_case *c, bool holds, const char *what,
                                  int64_t detail)
{
    if (holds) return;
    mem_test_fail(0);
    print_error("MILLRACE_SIM_CASE=\"%" PRIu64 " %d %" PRIu64 "\": %s (%" PRId64 ")\n", c->seed,
                c->fault, c->n, what, detail);
    fail();
}

/* Whether `text` begins as `pattern` says, each '#' of it being a number (put into `out`). */
static inline bool sim_scan(const char *text, const char *pattern, int64_t *out)
{
    for (; *pattern; pattern++) {
        char *end = NULL;
        if (*pattern != '#') {
            if (*text++ != *pattern) return false;
            continue;
        }
        *out++ = strtoll(text, &end, 10);
        if (end == text) return false;
        text = end;
    }
    return true;
}

static inline uint64_t sim_number_in(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static inline double sim_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const int sim_faults[] = {SIM_FAULT_CRASH,      SIM_FAULT_TORN, SIM_FAULT_IO,
                                 SIM_FAULT_IO_FOREVER, SIM_FAULT_FULL, SIM_FAULT_ALLOCATION};
enum { SIM_FAULTS = sizeof sim_faults / sizeof sim_faults[0] };

/* `most`: no more cases than these, evenly over the calls, others with each MILLRACE_TEST_SEED; 0:
 * every call. */
static inline void sim_cases_every_call(sim_case_run *run, uint64_t seed, int fault, uint64_t most)
{
    struct sim_case c = {seed, fault, 0};
    uint64_t calls = sim_case_try(run, &c), step = most ? calls / most + 1 : 1;
    for (c.n = 1 + sim_number_in("MILLRACE_TEST_SEED", 1) % step; c.n <= calls; c.n += step)
        (void)sim_case_try(run, &c);
    print_message("seed %" PRIu64 ", fault %d: of %" PRIu64 " calls one in %" PRIu64 "\n", seed,
                  fault, calls, step);
}

static inline void sim_cases_for_seconds(sim_case_run *run, unsigned random, uint64_t limit_s)
{
    enum { PER_SEED = 8 };
    uint64_t cases = 0, only = sim_number_in("MILLRACE_SIM_FAULT", 0);
    for (double end = sim_seconds() + (double)limit_s; sim_seconds() < end;) {
        struct sim_case c = {(uint64_t)rand_r(&random),
                             sim_faults[(unsigned)rand_r(&random) % SIM_FAULTS], 0};
        if (only) c.fault = (int)only;
        uint64_t calls = sim_case_try(run, &c);
        for (unsigned k = 0; k < PER_SEED && sim_seconds() < end; k++, cases++) {
            c.n = 1 + (uint64_t)rand_r(&random) % calls;
            (void)sim_case_try(run, &c);
        }
    }
    print_message("%" PRIu64 " cases\n", cases);
}

/* All that a test program is asked for; `limit_s` in `./dev test`. */
static inline void sim_cases(sim_case_run *run, const struct sim_case *known, size_t known_count,
                             uint64_t limit_s)
{
    int64_t numbers[3];
    const char *text = getenv("MILLRACE_SIM_CASE");
    if (text && sim_scan(text, "# # #", numbers)) {
        struct sim_case one = {(uint64_t)numbers[0], (int)numbers[1], (uint64_t)numbers[2]};
        (void)sim_case_try(run, &one);
        return;
    }
    for (size_t i = 0; i < known_count; i++) (void)sim_case_try(run, &known[i]);
    unsigned random = (unsigned)sim_number_in("MILLRACE_TEST_SEED", 1);
    uint64_t seeds = sim_number_in("MILLRACE_SIM_SEEDS", 0);
    for (uint64_t i = 0; i < seeds; i++)
        for (unsigned f = 0; f < SIM_FAULTS; f++)
            sim_cases_every_call(run, random + i, sim_faults[f], 0);
    if (!seeds) sim_cases_for_seconds(run, random, sim_number_in("MILLRACE_SIM_SECONDS", limit_s));
}

#endif
