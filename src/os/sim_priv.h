/* sim_priv.h - what the files of the simulated world share.
 *
 * Two kinds of memory. What stands for hardware (bytes on a disk, bytes on a wire, the world
 * itself) comes from `sim_hardware` and never runs out. What the real world takes from mem.h too
 * (handles of files, tasks, timers, streams; what the kernel did not take of a write) comes from
 * mem.h here as well, so that a test which refuses the n-th allocation meets the same places. */
#ifndef OS_SIM_PRIV_H
#define OS_SIM_PRIV_H

#include "base/mem.h"
#include "os/sim.h"

enum { SIM_TASK_MAGIC = 0x73696d74, SIM_NAME_BYTES = 32, SIM_SECTOR_BYTES = 512 };

struct sim_inode;
struct sim_stream;

struct os_task {
    unsigned magic;
    struct sim_node *node;
    struct os_task *next; /* of the world, in the order started */
    void (*run)(void *arg);
    void *arg;
    unsigned flags;
    bool woken;
    void (*turn)(void *arg);
    void *turn_arg;
    unsigned owned; /* timers, streams, listeners: none may be left at its end */
    char name[16];
};

struct os_timer {
    struct os_task *task;
    struct os_timer *next;
    int64_t due_ns; /* < 0: not set */
    void (*fire)(void *arg);
    void *arg;
};

/* A node's disk and what was armed against it. */
struct sim_disk {
    struct sim_inode *root, *all; /* all: for the sweep after a power loss */
    enum sim_fault armed;
    uint64_t fault_at, calls;
    bool happened, failing, full, dead;
};

struct sim_node {
    struct os os; /* first */
    struct sim *sim;
    struct sim_node *next;
    struct sim_disk disk;
    int64_t wall_shift_ns; /* wall clock minus monotonic clock */
    uint16_t next_port;
    char name[SIM_NAME_BYTES];
};

struct sim_net_rule {
    struct sim_net_rule *next; /* older */
    char a[SIM_NAME_BYTES], b[SIM_NAME_BYTES];
    int64_t latency_ns;
    bool cut;
};

struct sim {
    uint64_t random;
    int64_t now_ns;
    struct sim_node *nodes;
    struct os_task *tasks, *current;
    struct os_timer *timers;
    struct sim_stream *streams;
    struct os_listener *listeners;
    struct sim_net_rule *net;
};

/* One thing that can happen now; filled by the parts, carried out by sim_step. */
struct sim_due {
    uint64_t candidates; /* seen so far; one of them is chosen, all alike */
    int64_t next_ns;     /* the earliest time of what is not due yet; INT64_MAX: nothing */
    void (*carry_out)(void *object);
    void *object;
    struct os_task *task; /* on which it happens */
};

static inline struct sim_node *sim_node_of(struct os *os)
{
    return (struct sim_node *)os;
}

/* Zeroed, never NULL. */
void *sim_hardware(size_t size_bytes);
/* 0 … below-1; below > 0. */
uint64_t sim_random(struct sim *sim, uint64_t below);
/* One in `n`. */
static inline bool sim_one_in(struct sim *sim, uint64_t n)
{
    return sim_random(sim, n) == 0;
}
/* Offers something that happens at `at_ns`. */
void sim_offer(struct sim *sim, struct sim_due *due, int64_t at_ns, void (*carry_out)(void *object),
               void *object, struct os_task *task);
/* What a task owns is touched on that task only; code outside all tasks (a test's) may. */
void sim_must_be_on(const struct os_task *task);

/* sim_stream.c */
void sim_offer_streams(struct sim *sim, struct sim_due *due);
void sim_cut_node(struct sim_node *node); /* its power is gone: everybody's streams to it end */
enum err sim_stream_connect(struct os_task *, const struct os_address *,
                            const struct os_stream_events *, void *, struct os_stream **,
                            struct why *);
enum err sim_listen(struct os_task *, const struct os_address *,
                    void (*)(void *, struct os_stream *), void *, struct os_listener **,
                    struct os_address *, struct why *);
void sim_listener_close(struct os_listener *);
enum err sim_stream_leave(struct os_stream *, struct os_socket **);
enum err sim_stream_join(struct os_task *, struct os_socket *, const struct os_stream_events *,
                         void *, struct os_stream **);
void sim_socket_drop(struct os *, struct os_socket *);

/* sim_disk.c: the inodes; what power loss leaves of them */
void sim_disk_init(struct sim_disk *disk);
void sim_disk_settle(struct sim_node *node, bool power_lost);
void sim_disk_free(struct sim_disk *disk);

/* sim_file.c: the calls */
enum err sim_file_open(struct os *, const char *, unsigned, struct os_file **, struct why *);
void sim_file_close(struct os_file *);
enum err sim_file_read(struct os_file *, uint64_t, void *, size_t, size_t *, struct why *);
enum err sim_file_write(struct os_file *, uint64_t, const void *, size_t, struct why *);
enum err sim_file_sync(struct os_file *, struct why *);
bool sim_file_is_private(struct os_file *);
enum err sim_file_size(struct os_file *, uint64_t *, struct why *);
enum err sim_file_truncate(struct os_file *, uint64_t, struct why *);
enum err sim_file_lock(struct os_file *, struct why *);
enum err sim_path_info(struct os *, const char *, struct os_path_info *, struct why *);
enum err sim_path_rename(struct os *, const char *, const char *, struct why *);
enum err sim_path_remove(struct os *, const char *, struct why *);
enum err sim_path_make(struct os *, const char *, struct why *);
enum err sim_path_sync(struct os *, const char *, struct why *);
enum err sim_path_list(struct os *, const char *, enum err (*)(void *, const char *), void *,
                       struct why *);
enum err sim_disk_space(struct os *, const char *, uint64_t *, struct why *);

#endif
