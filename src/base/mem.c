/* mem.c - the allocator, budgets and arenas. See mem.h.
 *
 * The allocator is libc's; what it adds is one place where a test lets the n-th allocation fail.
 * That hook is the one piece of process-wide state of the program.
 *
 * Budgets are counters, not allocators: memory is reserved before it is allocated and given back
 * after it was freed, by any task, without a lock. A demand goes up the tree counter by counter and
 * is undone where one refuses, so for a moment a sum may be higher than what is in use, and another
 * demand may be refused for that: never the other way round.
 *
 * Arenas draw blocks that double up to 256 KiB; one piece never moves. Invariants: taken_bytes is
 * the sum of the blocks, heads included, and reserved in the budget; a block's used_bytes ≤
 * size_bytes.
 */
#include "base/mem.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t test_count, test_fail_at;

static bool must_refuse(void)
{
    uint64_t at = atomic_load_explicit(&test_fail_at, memory_order_relaxed);
    if (at == 0) return false; /* production: one relaxed load of a line nobody writes */
    return atomic_fetch_add(&test_count, 1) + 1 == at;
}

void mem_test_fail(uint64_t nth)
{
    atomic_store(&test_count, 0);
    atomic_store(&test_fail_at, nth);
}

uint64_t mem_test_count(void)
{
    return atomic_load(&test_count);
}

void *mem_alloc(size_t size)
{
    return must_refuse() ? NULL : malloc(size ? size : 1);
}

void *mem_alloc_zero(size_t count, size_t size)
{
    if (must_refuse()) return NULL;
    return calloc(count ? count : 1, size ? size : 1);
}

void *mem_realloc(void *p, size_t size)
{
    return must_refuse() ? NULL : realloc(p, size ? size : 1);
}
void mem_free(void *p)
{
    free(p);
}

void *mem_dup(const void *bytes, size_t size)
{
    MUST(bytes || !size);
    void *copy = mem_alloc(size);
    if (copy && size) memcpy(copy, bytes, size);
    return copy;
}

char *mem_strdup(const char *text)
{
    return text ? mem_dup(text, strlen(text) + 1) : NULL;
}

enum err mem_grow(void *items_pointer, size_t *capacity, size_t want, size_t item_bytes)
{
    MUST(items_pointer && capacity && item_bytes > 0);
    if (want <= *capacity) return ERR_OK;
    size_t next = *capacity ? *capacity : 8, size;
    while (next < want) {
        if (next > SIZE_MAX / 2) return ERR_NO_MEMORY;
        next *= 2;
    }
    if (__builtin_mul_overflow(next, item_bytes, &size)) return ERR_NO_MEMORY;
    void *old, *grown;
    memcpy(&old, items_pointer, sizeof old);
    grown = mem_realloc(old, size);
    if (!grown) return ERR_NO_MEMORY;
    memcpy(items_pointer, &grown, sizeof grown);
    *capacity = next;
    return ERR_OK;
}

/* ---- budgets ---- */

void budget_init(struct budget *budget, const char *name, struct budget *parent, size_t limit_bytes)
{
    MUST(budget && name && budget != parent);
    *budget = (struct budget){.parent = parent, .name = name, .limit_bytes = limit_bytes};
}

/* Of one counter alone; false: it refuses. */
static bool take_one(struct budget *budget, size_t size)
{
    size_t used = atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
    do {
        if (size > budget->limit_bytes || used > budget->limit_bytes - size) return false;
    } while (!atomic_compare_exchange_weak(&budget->used_bytes, &used, used + size));
    size_t now = used + size,
           peak = atomic_load_explicit(&budget->peak_bytes, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak(&budget->peak_bytes, &peak, now)) {
    }
    return true;
}

enum err budget_take(struct budget *budget, size_t size)
{
    for (struct budget *b = budget; b; b = b->parent) {
        if (take_one(b, size)) continue;
        atomic_fetch_add(&b->refused_count, 1);
        for (struct budget *undo = budget; undo != b; undo = undo->parent) {
            size_t before = atomic_fetch_sub(&undo->used_bytes, size);
            MUST(before >= size);
        }
        return ERR_BUDGET;
    }
    return ERR_OK;
}

void budget_overdraw(struct budget *budget, size_t size)
{
    for (struct budget *b = budget; b; b = b->parent) atomic_fetch_add(&b->used_bytes, size);
}

void budget_give(struct budget *budget, size_t size)
{
    for (struct budget *b = budget; b; b = b->parent) {
        size_t before = atomic_fetch_sub(&b->used_bytes, size);
        MUST(before >= size);
    }
}

/* ---- arenas ---- */

/* Under the address sanitizer what an arena has not given out is hidden, with a gap behind each
 * piece, so that an overflow inside a block is seen like one of the heap, and so is a use after a
 * reset. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_IS_WATCHED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ARENA_IS_WATCHED
#endif
#ifdef ARENA_IS_WATCHED
#include <sanitizer/asan_interface.h>
enum { ARENA_GAP = 16 };
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
enum { ARENA_GAP = 0 };
#endif

enum { ARENA_BLOCK_BYTES = 4096, ARENA_BLOCK_BYTES_MAX = 256 * 1024, ARENA_ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t size_bytes, used_bytes; /* of `bytes` */
    _Alignas(ARENA_ALIGN) unsigned char bytes[];
};

void arena_init(struct arena *arena, struct budget *budget)
{
    *arena = (struct arena){.budget = budget};
}

static void release_blocks(struct arena *arena, struct arena_block *keep)
{
    struct arena_block *block = arena->blocks;
    while (block) {
        struct arena_block *next = block->next;
        if (block != keep) {
            size_t whole = sizeof *block + block->size_bytes;
            MUST(block->used_bytes <= block->size_bytes && arena->taken_bytes >= whole);
            budget_give(arena->budget, whole);
            arena->taken_bytes -= whole;
            ASAN_UNPOISON_MEMORY_REGION(block->bytes, block->size_bytes);
            mem_free(block);
        }
        block = next;
    }
    arena->blocks = keep;
    if (keep) {
        keep->next = NULL;
        keep->used_bytes = 0;
        ASAN_POISON_MEMORY_REGION(keep->bytes, keep->size_bytes);
    }
}

void arena_free(struct arena *arena)
{
    release_blocks(arena, NULL);
    MUST(arena->taken_bytes == 0);
}

void arena_reset(struct arena *arena)
{
    release_blocks(arena, arena->blocks);
}

static struct arena_block *add_block(struct arena *arena, size_t at_least)
{
    size_t size = ARENA_BLOCK_BYTES;
    if (arena->blocks) size = arena->blocks->size_bytes * 2;
    if (size > ARENA_BLOCK_BYTES_MAX) size = ARENA_BLOCK_BYTES_MAX;
    if (size < at_least) size = at_least;
    size_t whole = sizeof(struct arena_block) + size;
    if (budget_take(arena->budget, whole)) return NULL;
    struct arena_block *block = mem_alloc(whole);
    if (!block) {
        budget_give(arena->budget, whole);
        return NULL;
    }
    *block = (struct arena_block){.next = arena->blocks, .size_bytes = size};
    arena->blocks = block;
    arena->taken_bytes += whole;
    ASAN_POISON_MEMORY_REGION(block->bytes, block->size_bytes);
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 4) return NULL;
    size_t room = (size + ARENA_GAP + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct arena_block *block = arena->blocks;
    if (!block || block->size_bytes - block->used_bytes < room) block = add_block(arena, room);
    if (!block) return NULL;
    MUST(block->size_bytes - block->used_bytes >= room);
    void *p = block->bytes + block->used_bytes;
    block->used_bytes += room;
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    return p;
}

void *arena_zero(struct arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) return NULL;
    void *p = arena_alloc(arena, total);
    if (p) memset(p, 0, total);
    return p;
}

void *arena_dup(struct arena *arena, const void *bytes, size_t size)
{
    void *p = arena_alloc(arena, size);
    if (p && size) memcpy(p, bytes, size);
    return p;
}

char *arena_strdup(struct arena *arena, const char *text, size_t size)
{
    MUST(size < SIZE_MAX && (text || !size));
    char *p = arena_alloc(arena, size + 1);
    if (!p) return NULL;
    if (size) memcpy(p, text, size);
    p[size] = 0;
    return p;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = n < 0 ? NULL : arena_alloc(arena, (size_t)n + 1);
    if (!p) return NULL;
    va_start(args, format);
    vsnprintf(p, (size_t)n + 1, format, args);
    va_end(args);
    return p;
}
