/* refs.h - counts of those who share an object: parts, lists of them, views, heads, spans, the list
 * of tables.
 *
 * An object begins with one share. Whoever has a share may make another for somebody else; who
 * gives the last one back frees the object. So a count is never 0 while anybody can see the object,
 * and a share that is given back twice ends the program here, by name, before the memory is another
 * object's. Thread: any. Private to store/. */
#ifndef STORE_REFS_H
#define STORE_REFS_H

#include "base/mem.h"
#include <stdatomic.h>

/* One share more. The caller has one, or holds what keeps the object (a cell). */
static inline void refs_take(_Atomic uint32_t *refs)
{
    uint32_t before = atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
    MUST(before > 0 && before < UINT32_MAX);
}

/* One share less; true: it was the last one, and the object is the caller's to free. What others
 * did with it happened before. */
static inline bool refs_drop(_Atomic uint32_t *refs)
{
    uint32_t before = atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel);
    MUST(before > 0);
    return before == 1;
}

#endif
