/* rollup_state.c - see rollup_state.h. */
#include "store/rollup_state.h"
#include "store/catalog.h"
#include "store/rollup.h"
#include <string.h>

enum {
    BODY_VERSION = 2, /* 1 had no counts */
    SEE_TRIES = 16,
    COUNTED_WINDOWS_MAX = 1 << 16, /* then what was counted so far counts half */
};

/* ---- making and freeing ---- */

/* Its place beside the base; NULL: it has none. */
static struct rollup_state *_Atomic *place_of(struct table_state *base, uint32_t table_id)
{
    for (size_t i = 0; i < SCHEMA_ROLLUPS_MAX; i++) {
        const struct rollup_state *state = atomic_load(&base->rollups[i]);
        if (state ? state->table_id == table_id : !table_id) return &base->rollups[i];
    }
    return NULL;
}

enum err rollup_state_make(struct catalog *catalog, const struct schema *rollup,
                           struct rollup_state **made)
{
    struct table_state *base = catalog_table_state(catalog, rollup->rollup_of);
    MUST(rollup->table_id);
    *made = NULL;
    if (!base) return ERR_NO_MEMORY;
    if (place_of(base, rollup->table_id)) return ERR_OK;
    struct rollup_state *state = mem_alloc_zero(1, sizeof *state);
    if (!state) return ERR_NO_MEMORY;
    state->base_id = rollup->rollup_of;
    state->table_id = rollup->table_id;
    state->every_ns = rollup->rollup_every_ns;
    atomic_init(&state->frozen_ns, INT64_MIN);
    state->due_ns = INT64_MIN;
    *made = state;
    return ERR_OK;
}

void rollup_state_enter(struct catalog *catalog, struct rollup_state *state)
{
    struct table_state *base = catalog_table_state(catalog, state->base_id);
    MUST(base); /* made with the state */
    struct rollup_state *_Atomic *place = place_of(base, 0);
    if (!place) { /* more than there may be are left by damage only: it is not computed nor used */
        mem_free(state);
        return;
    }
    state->next = catalog->rollups;
    catalog->rollups = state;
    atomic_store_explicit(place, state, memory_order_release);
}

void rollup_state_retire(struct catalog *catalog, uint32_t table_id)
{
    for (struct rollup_state *state = catalog->rollups; state; state = state->next) {
        if (state->table_id != table_id) continue;
        struct table_state *base = catalog_table_state(catalog, state->base_id);
        for (size_t i = 0; base && i < SCHEMA_ROLLUPS_MAX; i++)
            if (atomic_load(&base->rollups[i]) == state) atomic_store(&base->rollups[i], NULL);
    }
}

void rollup_states_free(struct catalog *catalog)
{
    for (struct rollup_state *state = catalog->rollups, *next; state; state = next) {
        next = state->next;
        for (size_t i = 0; i < ROLLUP_BLOCKS_MAX; i++) mem_free(atomic_load(&state->blocks[i]));
        mem_free(state);
    }
    catalog->rollups = NULL;
}

static struct rollup_series *find_series(struct rollup_state *state, uint32_t id)
{
    MUST(id > 0 && (id - 1) / ROLLUP_BLOCK < ROLLUP_BLOCKS_MAX);
    struct rollup_series *block =
        atomic_load_explicit(&state->blocks[(id - 1) / ROLLUP_BLOCK], memory_order_acquire);
    return block ? &block[(id - 1) % ROLLUP_BLOCK] : NULL;
}

struct rollup_series *rollup_state_series(struct rollup_state *state, uint32_t id)
{
    struct rollup_series *series = find_series(state, id);
    if (!series) {
        struct rollup_series *block = mem_alloc_zero(ROLLUP_BLOCK, sizeof *block);
        if (!block) return NULL;
        for (size_t i = 0; i < ROLLUP_BLOCK; i++) dirty_init(&block[i].dirty, DIRTY_OWN_RANGES);
        atomic_store_explicit(&state->blocks[(id - 1) / ROLLUP_BLOCK], block, memory_order_release);
        series = find_series(state, id);
    }
    if (series->known) return series;
    series->known = true;
    dirty_add(&series->dirty, atomic_load(&state->frozen_ns), INT64_MAX);
    state->due_ns = INT64_MIN;
    rollup_series_publish(series);
    return series;
}

/* ---- how many rows a window has ---- */

void rollup_state_count(struct rollup_state *state, uint64_t rows, uint64_t windows)
{
    uint64_t all_rows = atomic_load(&state->counted_rows) + rows,
             all_windows = atomic_load(&state->counted_windows) + windows;
    while (all_windows > COUNTED_WINDOWS_MAX) all_windows /= 2, all_rows /= 2;
    atomic_store(&state->counted_rows, all_rows);
    atomic_store(&state->counted_windows, all_windows);
}

uint64_t rollup_state_density(const struct rollup_state *state)
{
    /* Between two stores of the writer the average is off for a moment, which costs time only. */
    uint64_t windows = atomic_load(&((struct rollup_state *)(uintptr_t)state)->counted_windows),
             rows = atomic_load(&((struct rollup_state *)(uintptr_t)state)->counted_rows);
    if (!windows) return 0;
    return rows < windows ? 1 : rows / windows;
}

/* ---- freezing ---- */

struct rollup_state *rollup_state_find(struct catalog *catalog, uint32_t table_id)
{
    struct rollup_state *state = catalog->rollups;
    while (state && state->table_id != table_id) state = state->next;
    return state;
}

static struct rollup_series *find_known(struct rollup_state *state, uint32_t id)
{
    struct rollup_series *s = find_series(state, id);
    return s && s->known ? s : NULL;
}

void rollup_state_freeze(struct catalog *catalog, struct rollup_state *state, int64_t before_ns)
{
    uint32_t count = atomic_load(&catalog->series_count);
    int64_t frozen = atomic_load(&state->frozen_ns);
    MUST(before_ns < INT64_MAX);
    if (before_ns > frozen) atomic_store(&state->frozen_ns, frozen = before_ns);
    if (frozen == INT64_MIN) return;
    for (uint32_t id = 1; id <= count; id++) {
        struct rollup_series *s = find_known(state, id);
        if (!s || !dirty_touches(&s->dirty, INT64_MIN, frozen)) continue;
        dirty_remove(&s->dirty, INT64_MIN, frozen);
        rollup_series_publish(s);
    }
}

bool rollup_state_waits(struct rollup_state *state, uint32_t series, int64_t before_ns)
{
    int64_t frozen = atomic_load(&state->frozen_ns);
    const struct rollup_series *s = find_series(state, series);
    MUST(before_ns > frozen);
    if (!s || !s->known) return true;
    return !s->damaged && dirty_touches(&s->dirty, frozen, before_ns);
}

/* ---- marking ---- */

static bool covers(const struct dirty *dirty, int64_t from, int64_t to)
{
    const struct dirty_range *ranges = dirty_ranges(dirty);
    for (uint32_t i = 0; i < dirty->count; i++)
        if (ranges[i].from <= from && to <= ranges[i].to) return true;
    return false;
}

static void mark(struct rollup_state *state, uint32_t id, int64_t from, int64_t to)
{
    MUST(from < to);
    struct rollup_series *series = rollup_state_series(state, id);
    int64_t due;
    if (!series) return; /* dirty as a whole */
    if (series->touched) dirty_add(series->touched, from, to);
    if (covers(&series->dirty, from, to)) return;
    dirty_add(&series->dirty, from, to);
    rollup_series_publish(series);
    if (__builtin_add_overflow(from, state->every_ns, &due)) return;
    if (due < state->due_ns) state->due_ns = due;
    if (due < state->pass_due_ns) state->pass_due_ns = due;
}

static int64_t window_end(int64_t start, int64_t every_ns)
{
    int64_t end;
    /* That of the earliest times begins where time does, and is shorter. */
    if (start == INT64_MIN) return rollup_window_start(INT64_MIN + every_ns, every_ns);
    return __builtin_add_overflow(start, every_ns, &end) ? INT64_MAX : end;
}

static void mark_rows(struct rollup_state *state, const struct batch *batch)
{
    int64_t frozen = atomic_load_explicit(&state->frozen_ns, memory_order_relaxed);
    int64_t from = 0, to = 0;
    uint32_t device = UINT32_MAX;
    uint64_t late = 0;
    for (uint32_t row = 0; row < batch->row_count; row++) {
        int64_t time = batch->time[row];
        bool same = batch->device[row] == device;
        if (same && time >= from && time < to) continue;
        int64_t start = rollup_window_start(time, state->every_ns);
        if (start < frozen) {
            late++;
            continue;
        }
        if (!same || start != to) {
            if (from < to) mark(state, batch->devices[device].series, from, to);
            from = start;
            device = batch->device[row];
        }
        to = window_end(start, state->every_ns);
    }
    if (from < to) mark(state, batch->devices[device].series, from, to);
    if (late) atomic_fetch_add_explicit(&state->late_rows, late, memory_order_relaxed);
}

void rollup_mark_rows(struct catalog *catalog, const struct batch *batch)
{
    if (!catalog->rollups) return;
    struct table_state *base = catalog_table_state(catalog, batch->schema->table_id);
    for (size_t i = 0; base && i < SCHEMA_ROLLUPS_MAX; i++) {
        struct rollup_state *state = atomic_load_explicit(&base->rollups[i], memory_order_relaxed);
        if (state) mark_rows(state, batch);
    }
}

static void mark_range(struct rollup_state *state, uint32_t series, int64_t from_ns, int64_t to_ns)
{
    int64_t frozen = atomic_load_explicit(&state->frozen_ns, memory_order_relaxed);
    int64_t from = rollup_window_start(from_ns, state->every_ns),
            to = window_end(rollup_window_start(to_ns, state->every_ns), state->every_ns);
    if (from < frozen) from = frozen;
    if (from < to) mark(state, series, from, to);
}

void rollup_mark_range(struct catalog *catalog, uint32_t table_id, uint32_t series, int64_t from_ns,
                       int64_t to_ns)
{
    MUST(from_ns <= to_ns);
    if (!catalog->rollups) return;
    struct table_state *base = catalog_table_state(catalog, table_id);
    for (size_t i = 0; base && i < SCHEMA_ROLLUPS_MAX; i++) {
        struct rollup_state *state = atomic_load_explicit(&base->rollups[i], memory_order_relaxed);
        if (state) mark_range(state, series, from_ns, to_ns);
    }
}

void rollup_mark_computed(struct catalog *catalog, uint32_t table_id, uint32_t series,
                          int64_t from_ns, int64_t to_ns)
{
    struct rollup_state *state = rollup_state_find(catalog, table_id);
    const struct series *own = state ? catalog_series(catalog, series) : NULL;
    uint32_t base = own ? catalog_find_series(catalog, state->base_id, own->path) : 0;
    if (base) mark_range(state, base, from_ns, to_ns);
}

/* ---- windows that are lost ---- */

void rollup_state_lose(struct rollup_state *state, uint32_t series)
{
    struct rollup_series *s = find_series(state, series);
    if (!s) return;
    atomic_store(&s->lost, true);
    atomic_store(&state->any_lost, true);
}

void rollup_state_take_lost(struct catalog *catalog, struct rollup_state *state)
{
    if (!atomic_load(&state->any_lost)) return;
    atomic_store(&state->any_lost, false);
    uint32_t count = atomic_load(&catalog->series_count);
    for (uint32_t id = 1; id <= count; id++) {
        struct rollup_series *s = find_known(state, id);
        if (!s || s->lost_told || !atomic_load(&s->lost)) continue;
        s->lost_told = true; /* the damaged place stays where it is, and would be found for ever */
        mark(state, id, atomic_load(&state->frozen_ns), INT64_MAX);
    }
}

void rollup_mark_lost(struct catalog *catalog, uint32_t table_id, int64_t from_ns, int64_t to_ns)
{
    struct rollup_state *state = rollup_state_find(catalog, table_id);
    uint32_t count = atomic_load(&catalog->series_count);
    if (!state) return;
    int64_t frozen = atomic_load(&state->frozen_ns),
            to = window_end(rollup_window_start(to_ns, state->every_ns), state->every_ns);
    int64_t from = from_ns > frozen ? from_ns : frozen;
    for (uint32_t id = 1; id <= count && from < to; id++)
        if (find_known(state, id)) mark(state, id, from, to);
}

/* ---- for readers ---- */

void rollup_series_publish(struct rollup_series *s)
{
    const struct dirty_range *ranges = dirty_ranges(&s->dirty);
    uint32_t turn = atomic_load_explicit(&s->turn, memory_order_relaxed);
    MUST(s->dirty.count <= DIRTY_OWN_RANGES);
    /* Sequentially consistent throughout: it is rare, and easy to be sure of. */
    atomic_store(&s->turn, turn + 1);
    atomic_store(&s->seen_count, s->dirty.count);
    for (uint32_t i = 0; i < s->dirty.count; i++) {
        atomic_store(&s->seen_from[i], ranges[i].from);
        atomic_store(&s->seen_to[i], ranges[i].to);
    }
    atomic_store(&s->seen_cleaned, s->cleaned);
    atomic_store(&s->seen_id, s->rollup_id);
    atomic_store(&s->turn, turn + 2);
}

bool rollup_state_see(struct rollup_state *state, uint32_t id, struct rollup_seen *seen)
{
    struct rollup_series *s = find_series(state, id);
    for (int i = 0; s && i < SEE_TRIES; i++) {
        uint32_t turn = atomic_load(&s->turn);
        if (!turn) return false; /* nothing is known of it */
        if (turn & 1) continue;
        seen->count = atomic_load(&s->seen_count);
        if (seen->count > DIRTY_OWN_RANGES) continue;
        for (uint32_t r = 0; r < seen->count; r++)
            seen->ranges[r] =
                (struct dirty_range){atomic_load(&s->seen_from[r]), atomic_load(&s->seen_to[r])};
        seen->cleaned = atomic_load(&s->seen_cleaned);
        seen->rollup_id = atomic_load(&s->seen_id);
        if (atomic_load(&s->turn) == turn) return true;
    }
    return false;
}

/* ---- on the disk ---- */

static bool is_live(struct catalog *catalog, const struct rollup_state *state)
{
    struct table_state *base = catalog_table_state(catalog, state->base_id);
    for (size_t i = 0; base && i < SCHEMA_ROLLUPS_MAX; i++)
        if (atomic_load(&base->rollups[i]) == state) return true;
    return false;
}

/* A series that is known and clean is listed, too: one that is not there is dirty as a whole. */
static void write_state(struct catalog *catalog, struct rollup_state *state, struct buf *out)
{
    uint32_t count = atomic_load(&catalog->series_count), known = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t id = 1; id <= count; id++) {
            struct rollup_series *s = find_series(state, id);
            if (!s || !s->known) continue;
            if (!pass) {
                known++;
                continue;
            }
            buf_add_varint(out, id);
            dirty_write(out, &s->dirty);
        }
        if (pass) break;
        buf_add_le32(out, state->table_id);
        buf_add_le64(out, (uint64_t)atomic_load(&state->frozen_ns));
        buf_add_le64(out, atomic_load(&state->late_rows));
        buf_add_varint(out, atomic_load(&state->counted_rows));
        buf_add_varint(out, atomic_load(&state->counted_windows));
        buf_add_varint(out, known);
    }
}

void rollup_states_write(struct catalog *catalog, struct buf *out)
{
    uint32_t count = 0;
    for (struct rollup_state *s = catalog->rollups; s; s = s->next) count += is_live(catalog, s);
    if (!count) return;
    buf_add_char(out, BODY_VERSION);
    buf_add_varint(out, count);
    for (struct rollup_state *s = catalog->rollups; s; s = s->next)
        if (is_live(catalog, s)) write_state(catalog, s, out);
}

static enum err read_series(struct catalog *catalog, struct rollup_state *state, struct reader *in)
{
    uint64_t id = reader_varint(in);
    struct dirty dirty;
    dirty_init(&dirty, DIRTY_OWN_RANGES);
    enum err err = dirty_read(&dirty, in);
    if (err || id == 0 || id > (uint64_t)ROLLUP_BLOCK * ROLLUP_BLOCKS_MAX) return ERR_CORRUPT;
    struct rollup_series *s = state ? rollup_state_series(state, (uint32_t)id) : NULL;
    if (!s) return state ? ERR_NO_MEMORY : ERR_OK;
    const struct series *base = catalog_series(catalog, (uint32_t)id);
    s->dirty = dirty;
    if (base) s->rollup_id = catalog_find_series(catalog, state->table_id, base->path);
    rollup_series_publish(s);
    return ERR_OK;
}

enum err rollup_states_read(struct catalog *catalog, struct reader *in, struct why *why)
{
    uint8_t version = reader_u8(in);
    uint64_t count = reader_varint(in);
    enum err err = version == BODY_VERSION || version == 1 ? ERR_OK : ERR_CORRUPT;
    for (uint64_t i = 0; i < count && !err; i++) {
        uint32_t table_id = reader_le32(in);
        int64_t frozen = (int64_t)reader_le64(in);
        uint64_t late = reader_le64(in), rows = version == 1 ? 0 : reader_varint(in),
                 windows = version == 1 ? 0 : reader_varint(in), known = reader_varint(in);
        struct rollup_state *state = rollup_state_find(catalog, table_id);
        if (!reader_ok(in) || frozen == INT64_MAX) err = ERR_CORRUPT;
        for (uint64_t n = 0; n < known && !err; n++) err = read_series(catalog, state, in);
        if (err || !state) continue;
        rollup_state_freeze(catalog, state, frozen);
        if (windows <= COUNTED_WINDOWS_MAX) rollup_state_count(state, rows, windows);
        atomic_store(&state->late_rows, late);
    }
    if (err != ERR_CORRUPT) return err;
    return why_set(why, err, "what windows of rollups are dirty is damaged");
}
