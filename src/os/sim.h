/* sim.h - the simulated world: many nodes on one thread, over virtual time, disk and network, in an
 * order chosen by a seed.
 *
 * A `struct sim` holds the world's clock, one seeded generator, the tasks of all nodes, the network
 * between them, and one disk for each node (`sim_node`). A `sim_node` is a `struct os` as any
 * module takes it; what is above os/ cannot tell it from the real one. The same seed and the same
 * calls give the same run, bit by bit (but for keys made inside OpenSSL).
 *
 * Execution. `sim_step` runs one thing that is due (a woken task, a timer, a stream's event),
 * chosen by the seed among all that are due now; when nothing is due, time jumps to the next timer
 * or event. A task's call runs to its end; blocking file calls happen at once, at a cost in virtual
 * time. task_stop runs what the task was still woken for and then forgets it.
 *
 * The disk. Each file has what is durable and what was written since the last file_sync; each
 * folder has the entries that are durable and the changes (create, rename, remove) since the last
 * path_sync; path_make alone is durable at once (os.h). Files move within their folder only. Reads
 * see everything written. `sim_power_loss` decides by the seed, for every pending
 * write, whether it reached the disk whole, in part (torn at a 512-byte sector), or not at all,
 * independently of order; of a folder's pending changes a prefix survives (a journal's order), and
 * file_sync of a file does not make its name durable. Kill -9 (`sim_kill`) keeps everything
 * written. After an error from file_sync the pending writes of that file are dropped or kept by the
 * seed and a second file_sync reports success, as Linux does.
 *
 * Faults. Calls that touch the disk are counted from sim_fault_arm on; the n-th behaves as the
 * armed kind says. From a crash on, nothing reaches the disk any more, every disk call returns IO
 * and every stream of that node is cut: the node's code runs on against a dead world until its
 * owner stops it, and no acknowledgement given after that point counts (`sim_crashed` tells).
 *
 * Memory: what stands for hardware (bytes on a disk or a wire, the world itself) does not count as
 * the n-th allocation of mem_test_fail; handles do, as they do in the real world. Thread: the one
 * that made it. Owner: tests; not linked into the program. */
#ifndef OS_SIM_H
#define OS_SIM_H

#include "os/os.h"

struct sim;

enum sim_fault {
    SIM_FAULT_NONE,
    SIM_FAULT_CRASH, /* power fails before the call does anything */
    SIM_FAULT_TORN,  /* power fails in the middle of the call: a write is torn, a sync half done */
    SIM_FAULT_IO,    /* the call fails once with IO; a write may have left a part */
    SIM_FAULT_IO_FOREVER, /* this and all later calls that change the disk fail with IO */
    SIM_FAULT_FULL, /* this and all later growing calls fail with DISK_FULL until sim_disk_grow */
};

/* `seed` any; 0 counts as a seed. NULL: no memory. */
struct sim *sim_new(uint64_t seed);
/* All nodes' tasks were stopped. Frees the disks too. */
void sim_free(struct sim *sim);

/* A node's place in the world; its name is also its network address ("node-a:8420" listens where
 * "127.0.0.1:8420" does on that node). Lives until sim_free; borrowed. */
struct os *sim_node(struct sim *sim, const char *name);

/* ---- running ---- */

/* One step; false when nothing is due now or ever (no task woken, no timer set, nothing on the
 * wire). */
bool sim_step(struct sim *sim);
/* Steps until `done(arg)` or `limit_ns` of virtual time have passed; tells whether it was done. */
bool sim_run_until(struct sim *sim, bool (*done)(void *arg), void *arg, int64_t limit_ns);
/* Steps for so long, whatever happens. */
void sim_run_for(struct sim *sim, int64_t time_ns);
/* Sets one node's wall clock (the monotonic one goes on); what it shows moves on from there. */
void sim_wall_set(struct os *node, int64_t wall_ns);

/* ---- faults ---- */

/* The n-th disk call of the node from now on (1 = the next) is hit; what was armed before is over,
 * a full or failing disk is well again. n = 0 arms nothing. Calls: everything on files and paths
 * but closing and locking. */
void sim_fault_arm(struct os *node, enum sim_fault fault, uint64_t n);
/* Disk calls of the node since sim_fault_arm. */
uint64_t sim_fault_calls(const struct os *node);
/* Whether the armed fault happened, and whether the node's world is dead since. */
bool sim_fault_happened(const struct os *node);
bool sim_crashed(const struct os *node);
/* After the node's tasks were stopped: what the disk holds when it comes up again. A disk that was
 * full or failing still is. */
void sim_power_loss(struct os *node);
void sim_kill(struct os *node);
void sim_disk_grow(struct os *node);
/* Limits the network between two nodes (by name; "" = all): latency, and a cut that closes what is
 * open and refuses what is new. */
void sim_net(struct sim *sim, const char *from, const char *to, int64_t latency_ns, bool cut);

#endif
