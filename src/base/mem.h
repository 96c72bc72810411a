/* mem.h - the one allocator, arenas, and budgets.
 *
 * Every allocation of the program goes through mem_*: so a test can make the n-th one fail, and
 * every caller is seen to cope. Three ways to hold memory:
 *   - mem_alloc/mem_free for long-lived single objects;
 *   - an arena per request, statement or message batch: freed at once, never piecewise;
 *   - reference counts (see data/batch.h) only for immutable payloads shared between tasks.
 * Budgets bound the sum: a tree of counters (root = the node's `memory:`), reserved *before* the
 * memory is allocated, so an over-large demand is refused instead of swapped. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/err.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* As malloc/calloc/realloc/free: NULL when there is none (or a test says so). Thread: any.
 * mem_free(NULL) does nothing. mem_alloc(0) gives a unique pointer. */
void *mem_alloc(size_t size_bytes);
void *mem_alloc_zero(size_t count, size_t size_bytes); /* product checked for overflow */
void *mem_realloc(void *p, size_t size_bytes); /* NULL: `p` is as it was, and still the caller's */
void mem_free(void *p);
void *mem_dup(const void *bytes, size_t size_bytes); /* gives a copy; `bytes` NULL only with 0 */
char *mem_strdup(const char *text);                  /* NULL in gives NULL */

/* Makes the array behind `*items_pointer` (an array of the caller's, NULL with capacity 0) hold at
 * least `want` items of `item_bytes` > 0, growing by doubling. `*capacity` counts items; new ones
 * are not zeroed. Errors: NO_MEMORY, and nothing changes. */
enum err mem_grow(void *items_pointer, size_t *capacity, size_t want, size_t item_bytes);

/* Test hook: the n-th allocation from now on (1 = the next) fails, once; 0 switches it off.
 * mem_test_count gives the number of allocations since the last call of mem_test_fail. */
void mem_test_fail(uint64_t nth);
uint64_t mem_test_count(void);

/* ---- budgets ---- */

struct budget {
    struct budget *parent; /* borrowed, NULL at the root */
    const char *name;      /* static; as `sys.metrics` shows it */
    size_t limit_bytes;    /* SIZE_MAX = only the parents limit */
    _Atomic size_t used_bytes, peak_bytes;
    _Atomic uint64_t refused_count;
};

/* Nothing is taken. The budget stays in place, and its parent lives longer. */
void budget_init(struct budget *budget, const char *name, struct budget *parent,
                 size_t limit_bytes);
/* Reserves in `budget` and all its parents, or in none: BUDGET. NULL budget: always OK. Thread:
 * any. */
enum err budget_take(struct budget *budget, size_t size_bytes);
/* Counts, in all of them, what is in memory already and is kept for a while: little, and bounded by
 * the caller. The limits may be passed; whoever reserves next is refused until it fits again.
 * Thread: any. */
void budget_overdraw(struct budget *budget, size_t size_bytes);
/* Gives back; giving more than was taken is a programming error (asserted). */
void budget_give(struct budget *budget, size_t size_bytes);

/* ---- arenas ---- */

/* Memory that lives until arena_free (or arena_reset). Not shared between threads. */
struct arena {
    struct arena_block *blocks; /* newest first */
    struct budget *budget;      /* borrowed, may be NULL */
    size_t taken_bytes;         /* reserved in the budget */
};

/* Blocks of ≥ 4 KiB are drawn as needed; nothing is allocated before the first use. `budget`
 * (borrowed, NULL = unbounded) outlives the arena. */
void arena_init(struct arena *arena, struct budget *budget);
void arena_free(struct arena *arena);  /* back to the state after arena_init */
void arena_reset(struct arena *arena); /* keeps one block for the next round */
/* 16-byte aligned; NULL when memory or budget is used up. Contents undefined / zeroed. */
void *arena_alloc(struct arena *arena, size_t size_bytes);
void *arena_zero(struct arena *arena, size_t count, size_t size_bytes);
void *arena_dup(struct arena *arena, const void *bytes, size_t size_bytes);
char *arena_strdup(struct arena *arena, const char *text, size_t size_bytes); /* adds the NUL */
/* NULL also for a format that cannot be printed. */
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
