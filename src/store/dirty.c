/* dirty.c - sets of windows; see dirty.h.
 *
 * Sets are small (what waits to be computed is mostly one range at the end), so ranges are moved in
 * an array. Where there is no room the two nearest ranges become one: that says too much, and
 * costs computing a window in vain.
 *
 * Called by: rollup_state.c and rollup_task.c on the log task. Owns: `more`, where it was needed.
 * Invariants: ranges ascend, none is empty, no two touch; count ≤ capacity ≤ limit. */
#include "store/dirty.h"
#include <string.h>

void dirty_init(struct dirty *dirty, uint32_t limit)
{
    MUST(limit >= DIRTY_OWN_RANGES);
    *dirty = (struct dirty){.limit = limit, .capacity = DIRTY_OWN_RANGES};
}

void dirty_free(struct dirty *dirty)
{
    mem_free(dirty->more);
    dirty_init(dirty, dirty->limit);
}

static struct dirty_range *ranges_of(struct dirty *dirty)
{
    return dirty->more ? dirty->more : dirty->own;
}

const struct dirty_range *dirty_ranges(const struct dirty *dirty)
{
    return dirty->more ? dirty->more : dirty->own;
}

/* The first range that ends behind `at`: where it is, or would stand. */
static uint32_t find(const struct dirty *dirty, int64_t at)
{
    const struct dirty_range *ranges = dirty_ranges(dirty);
    uint32_t low = 0, high = dirty->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ranges[middle].to <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Room for one range more, if memory and the limit have it. */
static bool grow(struct dirty *dirty)
{
    if (dirty->count < dirty->capacity) return true;
    uint32_t want = dirty->capacity * 2 < dirty->limit ? dirty->capacity * 2 : dirty->limit;
    if (want <= dirty->count) return false;
    struct dirty_range *more = mem_alloc(want * sizeof *more);
    if (!more) return false;
    memcpy(more, dirty_ranges(dirty), dirty->count * sizeof *more);
    mem_free(dirty->more);
    dirty->more = more;
    dirty->capacity = want;
    return true;
}

static void close_up(struct dirty *dirty, uint32_t at, uint32_t gone)
{
    struct dirty_range *ranges = ranges_of(dirty);
    MUST(at + gone <= dirty->count);
    memmove(ranges + at, ranges + at + gone, (dirty->count - at - gone) * sizeof *ranges);
    dirty->count -= gone;
}

/* The two ranges with the least between them become one. */
static void coarsen(struct dirty *dirty)
{
    struct dirty_range *ranges = ranges_of(dirty);
    uint32_t best = 1;
    MUST(dirty->count > 1);
    for (uint32_t i = 2; i < dirty->count; i++) {
        /* Unsigned: numbers may be so far apart that the distance does not fit. */
        uint64_t gap = (uint64_t)ranges[i].from - (uint64_t)ranges[i - 1].to;
        if (gap < (uint64_t)ranges[best].from - (uint64_t)ranges[best - 1].to) best = i;
    }
    ranges[best - 1].to = ranges[best].to;
    close_up(dirty, best, 1);
}

/* Ranges ascend and stand apart: checked where one was changed. */
static void check_place(const struct dirty *dirty, uint32_t at)
{
    const struct dirty_range *ranges = dirty_ranges(dirty);
    MUST(at < dirty->count && dirty->count <= dirty->capacity && ranges[at].from < ranges[at].to);
    MUST(at == 0 || ranges[at - 1].to < ranges[at].from);
    MUST(at + 1 == dirty->count || ranges[at].to < ranges[at + 1].from);
}

void dirty_add(struct dirty *dirty, int64_t from, int64_t to)
{
    MUST(from < to);
    struct dirty_range *ranges = ranges_of(dirty);
    uint32_t first = find(dirty, from), end = first;
    /* Those that it meets, or touches at an end, become one with it. */
    if (first > 0 && ranges[first - 1].to == from) first--;
    for (; end < dirty->count && ranges[end].from <= to; end++) {
    }
    if (first == end) {
        if (!grow(dirty)) {
            coarsen(dirty);
            dirty_add(dirty, from, to); /* there is room now, or it is inside one */
            return;
        }
        ranges = ranges_of(dirty);
        memmove(ranges + first + 1, ranges + first, (dirty->count - first) * sizeof *ranges);
        dirty->count++;
        ranges[first] = (struct dirty_range){from, to};
        check_place(dirty, first);
        return;
    }
    if (ranges[first].from < from) from = ranges[first].from;
    if (ranges[end - 1].to > to) to = ranges[end - 1].to;
    ranges[first] = (struct dirty_range){from, to};
    close_up(dirty, first + 1, end - first - 1);
    check_place(dirty, first);
}

void dirty_remove(struct dirty *dirty, int64_t from, int64_t to)
{
    MUST(from < to);
    uint32_t at = find(dirty, from);
    struct dirty_range *ranges = ranges_of(dirty);
    if (at < dirty->count && ranges[at].from < from && ranges[at].to > to) {
        if (!grow(dirty)) return;
        ranges = ranges_of(dirty);
        memmove(ranges + at + 1, ranges + at, (dirty->count - at) * sizeof *ranges);
        dirty->count++;
        ranges[at].to = from;
        ranges[at + 1].from = to;
        check_place(dirty, at);
        return;
    }
    if (at < dirty->count && ranges[at].from < from) ranges[at++].to = from;
    uint32_t end = at;
    for (; end < dirty->count && ranges[end].to <= to; end++) {
    }
    if (end < dirty->count && ranges[end].from < to) ranges[end].from = to;
    close_up(dirty, at, end - at);
}

bool dirty_touches(const struct dirty *dirty, int64_t from, int64_t to)
{
    MUST(from < to);
    uint32_t at = find(dirty, from);
    return at < dirty->count && dirty_ranges(dirty)[at].from < to;
}

void dirty_write(struct buf *out, const struct dirty *dirty)
{
    const struct dirty_range *ranges = dirty_ranges(dirty);
    buf_add_varint(out, dirty->count);
    for (uint32_t i = 0; i < dirty->count; i++) {
        buf_add_le64(out, (uint64_t)ranges[i].from);
        buf_add_le64(out, (uint64_t)ranges[i].to);
    }
}

enum err dirty_read(struct dirty *dirty, struct reader *in)
{
    uint64_t count = reader_varint(in);
    if (count > reader_left(in) / sizeof(struct dirty_range)) return ERR_CORRUPT;
    for (uint64_t i = 0; i < count; i++) {
        int64_t from = (int64_t)reader_le64(in), to = (int64_t)reader_le64(in);
        if (!reader_ok(in) || from >= to) return ERR_CORRUPT;
        dirty_add(dirty, from, to);
    }
    return reader_ok(in) ? ERR_OK : ERR_CORRUPT;
}
