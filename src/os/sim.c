/* sim.c - the simulated world: its nodes, its clock, its tasks and timers, and who runs next. See
 * sim.h.
 *
 * The scheduler keeps no queue. Each step asks every task, timer and stream whether something of it
 * is due and picks one of the candidates, all with the same chance: a world has some tens of them,
 * and an order that is drawn anew at every step is what finds the bugs. Nothing here depends on
 * addresses or on the machine, so a seed replays. */
#include "os/sim_priv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_WALL_NS (INT64_C(1767225600) * 1000000000) /* 2026-01-01 */
#define START_MONO_NS (INT64_C(1000) * 1000000000)

enum {
    STEP_NS_MAX = 20000,     /* what a step costs at most beside its disk calls */
    TIMER_LATE_NS = 1000000, /* a timer fires so much late at most */
    FIRST_PORT = 20000,
};

void *sim_hardware(size_t size)
{
    void *p = calloc(1, size ? size : 1); /* not mem.h: see sim_priv.h */
    MUST(p);
    return p;
}

/* ---- chance ---- */

/* SplitMix64 (Steele, Lea, Flood 2014): any seed is a good one. */
static uint64_t next_random(struct sim *sim)
{
    uint64_t z = (sim->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t sim_random(struct sim *sim, uint64_t below)
{
    MUST(below > 0);
    return next_random(sim) % below;
}

static void os_random(struct os *os, void *bytes, size_t size)
{
    uint8_t *to = bytes;
    for (size_t i = 0; i < size; i++) to[i] = (uint8_t)next_random(sim_node_of(os)->sim);
}

/* ---- clocks ---- */

static int64_t os_mono_ns(struct os *os)
{
    return sim_node_of(os)->sim->now_ns;
}

static int64_t os_wall_ns(struct os *os)
{
    const struct sim_node *node = sim_node_of(os);
    return node->sim->now_ns + node->wall_shift_ns;
}

void sim_wall_set(struct os *os, int64_t wall_ns)
{
    struct sim_node *node = sim_node_of(os);
    node->wall_shift_ns = wall_ns - node->sim->now_ns;
}

static void os_memory_trim(struct os *os)
{
    (void)os;
}

static unsigned os_processor_count(struct os *os)
{
    (void)os;
    return 3;
}

/* ---- tasks ---- */

void sim_must_be_on(const struct os_task *task)
{
    MUST(task->magic == SIM_TASK_MAGIC);
    MUST(!task->node->sim->current || task->node->sim->current == task);
}

static enum err os_task_start(struct os *os, const char *name, unsigned flags,
                              void (*run)(void *arg), void *arg, struct os_task **out,
                              struct why *why)
{
    struct sim_node *node = sim_node_of(os);
    struct os_task *task = mem_alloc_zero(1, sizeof *task);
    if (!task) return why_set(why, ERR_NO_MEMORY, "task %s: out of memory", name);
    *task = (struct os_task){.magic = SIM_TASK_MAGIC, .node = node, .run = run, .arg = arg};
    task->flags = flags;
    task->woken = true;
    (void)str_copy(task->name, sizeof task->name, str_of(name));
    struct os_task **end = &node->sim->tasks;
    while (*end) end = &(*end)->next;
    *end = task;
    *out = task;
    return ERR_OK;
}

static void os_task_wake(struct os_task *task)
{
    MUST(task->magic == SIM_TASK_MAGIC);
    task->woken = true;
}

static void run_task(void *object)
{
    struct os_task *task = object;
    task->woken = false;
    task->run(task->arg);
}

/* Runs on top of the caller's call: the caller waits for it in the real world too. */
static void os_task_stop(struct os_task *task)
{
    MUST(task->magic == SIM_TASK_MAGIC);
    struct sim *sim = task->node->sim;
    struct os_task *caller = sim->current;
    MUST(caller != task);
    sim->current = task;
    do run_task(task);
    while (task->woken);
    sim->current = caller;
    MUST(task->owned == 0); /* a timer or stream was left open */
    struct os_task **link = &sim->tasks;
    while (*link != task) link = &(*link)->next;
    *link = task->next;
    task->magic = 0;
    mem_free(task);
}

/* There is one thread: what the task does has ended whenever another one is asked to. */
static bool os_task_stop_within(struct os_task *task, int64_t wait_ns)
{
    (void)wait_ns;
    os_task_stop(task);
    return true;
}

static _Noreturn void os_task_park(void)
{
    must_fail(__FILE__, __LINE__, "nobody is left behind here");
}

static bool os_task_is_current(const struct os_task *task)
{
    return task->node->sim->current == task;
}

static void os_task_on_turn(struct os_task *task, void (*turn)(void *arg), void *arg)
{
    sim_must_be_on(task);
    MUST(!turn != !task->turn);
    task->turn = turn;
    task->turn_arg = arg;
}

/* ---- timers ---- */

static enum err os_timer_make(struct os_task *task, void (*fire)(void *arg), void *arg,
                              struct os_timer **out)
{
    sim_must_be_on(task);
    struct os_timer *timer = mem_alloc_zero(1, sizeof *timer);
    if (!timer) return ERR_NO_MEMORY;
    *timer = (struct os_timer){.task = task, .due_ns = -1, .fire = fire, .arg = arg};
    timer->next = task->node->sim->timers;
    task->node->sim->timers = timer;
    task->owned++;
    *out = timer;
    return ERR_OK;
}

static void os_timer_set(struct os_timer *timer, int64_t delay_ns)
{
    sim_must_be_on(timer->task);
    struct sim *sim = timer->task->node->sim;
    int64_t late_ns = delay_ns > 0 ? (int64_t)sim_random(sim, TIMER_LATE_NS) : 0;
    timer->due_ns = delay_ns < 0 ? -1 : sim->now_ns + delay_ns + late_ns;
}

static void os_timer_close(struct os_timer *timer)
{
    sim_must_be_on(timer->task);
    struct os_timer **link = &timer->task->node->sim->timers;
    while (*link != timer) link = &(*link)->next;
    *link = timer->next;
    timer->task->owned--;
    mem_free(timer);
}

static void fire_timer(void *object)
{
    struct os_timer *timer = object;
    timer->due_ns = -1;
    timer->fire(timer->arg);
}

/* ---- the scheduler ---- */

void sim_offer(struct sim *sim, struct sim_due *due, int64_t at_ns, void (*carry_out)(void *object),
               void *object, struct os_task *task)
{
    if (at_ns > sim->now_ns) {
        if (at_ns < due->next_ns) due->next_ns = at_ns;
        return;
    }
    due->candidates++;
    if (!sim_one_in(sim, due->candidates)) return; /* each of n ends up with a chance of 1/n */
    due->carry_out = carry_out;
    due->object = object;
    due->task = task;
}

static struct sim_due look(struct sim *sim)
{
    struct sim_due due = {.next_ns = INT64_MAX};
    for (struct os_task *t = sim->tasks; t; t = t->next)
        if (t->woken) sim_offer(sim, &due, sim->now_ns, run_task, t, t);
    for (struct os_timer *t = sim->timers; t; t = t->next)
        if (t->due_ns >= 0) sim_offer(sim, &due, t->due_ns, fire_timer, t, t->task);
    sim_offer_streams(sim, &due);
    return due;
}

/* One step, unless nothing happens before `end_ns`. */
static bool step_before(struct sim *sim, int64_t end_ns)
{
    MUST(!sim->current);
    struct sim_due due = look(sim);
    if (!due.candidates && due.next_ns < end_ns) {
        sim->now_ns = due.next_ns;
        due = look(sim);
    }
    if (!due.candidates) return false;
    sim->now_ns += (int64_t)sim_random(sim, STEP_NS_MAX);
    sim->current = due.task;
    due.carry_out(due.object);
    if (due.task->turn) due.task->turn(due.task->turn_arg);
    sim->current = NULL;
    return true;
}

bool sim_step(struct sim *sim)
{
    return step_before(sim, INT64_MAX);
}

bool sim_run_until(struct sim *sim, bool (*done)(void *arg), void *arg, int64_t limit_ns)
{
    int64_t end_ns = sim->now_ns + limit_ns;
    while (!done(arg)) {
        if (sim->now_ns < end_ns && step_before(sim, end_ns)) continue;
        if (sim->now_ns < end_ns) sim->now_ns = end_ns;
        return false;
    }
    return true;
}

void sim_run_for(struct sim *sim, int64_t time_ns)
{
    int64_t end_ns = sim->now_ns + time_ns;
    while (sim->now_ns < end_ns && step_before(sim, end_ns)) {
    }
    if (sim->now_ns < end_ns) sim->now_ns = end_ns;
}

/* ---- the world ---- */

static const struct os_ops sim_ops = {
    .name = "simulated",
    .wall_ns = os_wall_ns,
    .mono_ns = os_mono_ns,
    .random = os_random,
    .file_open = sim_file_open,
    .file_close = sim_file_close,
    .file_read = sim_file_read,
    .file_write = sim_file_write,
    .file_sync = sim_file_sync,
    .file_is_private = sim_file_is_private,
    .file_size = sim_file_size,
    .file_truncate = sim_file_truncate,
    .file_lock = sim_file_lock,
    .path_info = sim_path_info,
    .path_rename = sim_path_rename,
    .path_remove = sim_path_remove,
    .path_make = sim_path_make,
    .path_sync = sim_path_sync,
    .path_list = sim_path_list,
    .disk_free = sim_disk_space,
    .task_start = os_task_start,
    .task_wake = os_task_wake,
    .task_stop = os_task_stop,
    .task_stop_within = os_task_stop_within,
    .task_park = os_task_park,
    .task_is_current = os_task_is_current,
    .task_on_turn = os_task_on_turn,
    .processor_count = os_processor_count,
    .memory_trim = os_memory_trim,
    .timer_make = os_timer_make,
    .timer_set = os_timer_set,
    .timer_close = os_timer_close,
    .stream_connect = sim_stream_connect,
    .listen = sim_listen,
    .listener_close = sim_listener_close,
    .stream_leave = sim_stream_leave,
    .stream_join = sim_stream_join,
    .socket_drop = sim_socket_drop,
};

struct sim *sim_new(uint64_t seed)
{
    struct sim *sim = sim_hardware(sizeof *sim);
    sim->random = seed;
    sim->now_ns = START_MONO_NS;
    return sim;
}

struct os *sim_node(struct sim *sim, const char *name)
{
    struct sim_node **end = &sim->nodes;
    for (; *end; end = &(*end)->next)
        if (strcmp((*end)->name, name) == 0) return &(*end)->os;
    struct sim_node *node = sim_hardware(sizeof *node);
    node->os.ops = &sim_ops;
    node->sim = sim;
    node->next_port = FIRST_PORT;
    MUST(str_copy(node->name, sizeof node->name, str_of(name)) && name[0]);
    sim_wall_set(&node->os, START_WALL_NS);
    sim_disk_init(&node->disk);
    *end = node;
    return &node->os;
}

void sim_free(struct sim *sim)
{
    if (!sim) return;
    /* What belonged to tasks is gone with them. */
    MUST(!sim->tasks && !sim->timers && !sim->streams && !sim->listeners);
    while (sim->nodes) {
        struct sim_node *node = sim->nodes;
        sim->nodes = node->next;
        sim_disk_free(&node->disk);
        free(node);
    }
    while (sim->net) {
        struct sim_net_rule *rule = sim->net;
        sim->net = rule->next;
        free(rule);
    }
    free(sim);
}

/* ---- faults ---- */

void sim_fault_arm(struct os *os, enum sim_fault fault, uint64_t n)
{
    struct sim_disk *disk = &sim_node_of(os)->disk;
    disk->armed = n ? fault : SIM_FAULT_NONE;
    disk->fault_at = n;
    disk->calls = 0;
    disk->happened = disk->failing = disk->full = false;
}

uint64_t sim_fault_calls(const struct os *os)
{
    return ((const struct sim_node *)os)->disk.calls;
}

bool sim_fault_happened(const struct os *os)
{
    return ((const struct sim_node *)os)->disk.happened;
}

bool sim_crashed(const struct os *os)
{
    return ((const struct sim_node *)os)->disk.dead;
}

void sim_disk_grow(struct os *os)
{
    sim_node_of(os)->disk.full = false;
}

void sim_power_loss(struct os *os)
{
    struct sim_node *node = sim_node_of(os);
    for (struct os_task *t = node->sim->tasks; t; t = t->next) MUST(t->node != node);
    sim_cut_node(node);
    sim_disk_settle(node, true);
}

void sim_kill(struct os *os)
{
    struct sim_node *node = sim_node_of(os);
    for (struct os_task *t = node->sim->tasks; t; t = t->next) MUST(t->node != node);
    sim_cut_node(node);
    sim_disk_settle(node, false);
}
