/* rollup_window.c - computing windows of one device from its rows; see rollup.h.
 *
 * An ordinary scan of the base table gives the rows in order of time, so one window is being
 * gathered at a time, with one cell of state a column. Sums of doubles are compensated (Neumaier,
 * 1974): a rollup stands for thousands of rows, and shall not differ from them by more than the
 * last bits. */
#include "store/rollup.h"
#include "store/scan.h"
#include <math.h>
#include <string.h>

/* What was seen of one column in the window. */
struct gathered {
    const struct column *base;
    const struct column *parts[ROLLUP_PARTS]; /* of the rollup; NULL: it has none */
    uint64_t count;
    __int128 sum;
    double sum_double, lost; /* what the sum's last bits could not take */
    struct value least, most, first, last;
};

struct computing {
    struct rollup_step *step;
    struct batch *out;
    struct sql_scan *scan;
    uint32_t device; /* in out, from the first row on */
    uint32_t written;
    struct gathered *columns;
    size_t column_count;
    uint64_t rows; /* of the window; 0: none is open */
    int64_t window_ns, first_ns, last_ns;
};

int64_t rollup_window_start(int64_t time_ns, int64_t every_ns)
{
    MUST(every_ns > 0);
    int64_t number = time_ns / every_ns, start;
    if (time_ns % every_ns < 0) number--;
    return __builtin_mul_overflow(number, every_ns, &start) ? INT64_MIN : start;
}

/* ---- gathering ---- */

static void add_double(struct gathered *g, double d)
{
    double sum = g->sum_double + d;
    g->lost += fabs(g->sum_double) >= fabs(d) ? g->sum_double - sum + d : d - sum + g->sum_double;
    g->sum_double = sum;
}

static void gather_value(struct gathered *g, const struct value *v)
{
    g->count++;
    if (!type_bytes(v->type)) return;
    if (g->count == 1) g->least = g->most = g->first = *v;
    g->last = *v;
    if (value_compare(v, &g->least) < 0) g->least = *v;
    if (value_compare(&g->most, v) < 0) g->most = *v;
    switch (v->type) {
    case TYPE_BOOL: g->sum += v->b; break;
    case TYPE_UBIGINT: g->sum += v->u; break;
    case TYPE_DOUBLE: add_double(g, v->d); break;
    default: g->sum += v->i; break;
    }
}

static void gather_rows(struct computing *c, const struct sql_chunk *chunk, uint32_t from,
                        uint32_t to)
{
    if (!c->rows) c->first_ns = chunk->time.i[from];
    c->last_ns = chunk->time.i[to - 1];
    c->rows += to - from;
    for (size_t i = 0; i < c->column_count; i++) {
        const struct vector *v = &chunk->columns[i];
        for (uint32_t row = from; row < to; row++) {
            struct value value = vector_get(v, row);
            if (!value.is_null) gather_value(&c->columns[i], &value);
        }
    }
}

/* ---- writing ---- */

/* NULL where it does not fit: readers then take the rows themselves. */
static struct value sum_of(const struct gathered *g, enum type type)
{
    struct value v = {.type = type};
    if (type == TYPE_DOUBLE) {
        v.d = g->sum_double + g->lost;
        v.is_null = !isfinite(v.d);
    } else if (type == TYPE_UBIGINT) {
        v.u = (uint64_t)g->sum;
        v.is_null = g->sum > (__int128)UINT64_MAX;
    } else {
        v.i = (int64_t)g->sum;
        v.is_null = g->sum > INT64_MAX || g->sum < INT64_MIN;
    }
    return v;
}

static struct value part_of(const struct gathered *g, enum rollup_part part, enum type type)
{
    struct value v = {.type = type, .i = (int64_t)g->count};
    if (part == ROLLUP_COUNT) return v;
    if (!g->count) return (struct value){.type = type, .is_null = true};
    switch (part) {
    case ROLLUP_SUM: return sum_of(g, type);
    case ROLLUP_MIN: return g->least;
    case ROLLUP_MAX: return g->most;
    case ROLLUP_FIRST: return g->first;
    default: return g->last;
    }
}

static enum err set_plain(struct computing *c, uint16_t id, enum type type, int64_t i)
{
    struct value v = {.type = type, .i = i};
    const struct column *column = schema_column(c->step->rollup, id);
    MUST(column && column->type == type);
    return batch_set(c->out, column, &v);
}

/* The rollup's device has the labels that the base table's has. */
static enum err add_device(struct computing *c)
{
    struct series *series = c->scan->series;
    const struct series_labels *labels =
        atomic_load_explicit(&series->labels, memory_order_acquire);
    return batch_add_device(c->out, c->step->device, labels ? labels->items : NULL,
                            labels ? labels->count : 0, &c->device);
}

/* The row of the open window, if there is one. */
static enum err write_window(struct computing *c)
{
    if (!c->rows) return ERR_OK;
    enum err err = batch_begin_row(c->out, c->device, c->window_ns);
    if (err) return err;
    err = set_plain(c, ROLLUP_ID_ROWS, TYPE_BIGINT, (int64_t)c->rows);
    if (!err) err = set_plain(c, ROLLUP_ID_FIRST_TIME, TYPE_TIMESTAMP, c->first_ns);
    if (!err) err = set_plain(c, ROLLUP_ID_LAST_TIME, TYPE_TIMESTAMP, c->last_ns);
    for (size_t i = 0; i < c->column_count && !err; i++) {
        struct gathered *g = &c->columns[i];
        for (enum rollup_part part = 0; part < ROLLUP_PARTS && !err; part++) {
            if (!g->parts[part]) continue;
            struct value v = part_of(g, part, g->parts[part]->type);
            err = batch_set(c->out, g->parts[part], &v);
        }
        g->count = 0;
        g->sum = 0;
        g->sum_double = g->lost = 0;
    }
    if (err) batch_drop_row(c->out);
    c->rows = 0;
    c->written++;
    return err;
}

/* The rows of a chunk, window by window. `*full`: no more windows may begin. */
static enum err take_chunk(struct computing *c, const struct sql_chunk *chunk, bool *full)
{
    struct rollup_step *step = c->step;
    for (uint32_t at = 0, end; at < chunk->row_count; at = end) {
        int64_t window = rollup_window_start(chunk->time.i[at], step->every_ns), next = window;
        if (c->rows && window != c->window_ns) {
            enum err err = write_window(c);
            if (err) return err;
        }
        if (!c->rows && c->written == step->windows_max) {
            step->done_ns = window;
            *full = true;
            return ERR_OK;
        }
        if (!c->rows && !c->written) { /* the scan has no series any more at its end */
            enum err err = add_device(c);
            if (err) return err;
        }
        c->window_ns = window;
        /* That of the earliest times is cut short, so its end is not its start and a length. */
        bool ends = window != INT64_MIN && !__builtin_add_overflow(window, step->every_ns, &next);
        for (end = at + 1; end < chunk->row_count; end++)
            if (ends ? chunk->time.i[end] >= next
                     : rollup_window_start(chunk->time.i[end], step->every_ns) != window)
                break;
        gather_rows(c, chunk, at, end);
    }
    return ERR_OK;
}

/* ---- reading ---- */

/* A type that was widened in one of the two tables and not yet in the other is a conflict. */
static enum err find_columns(struct computing *c, struct arena *arena, uint16_t **ids,
                             struct why *why)
{
    const struct schema *base = c->step->base, *rollup = c->step->rollup;
    c->column_count = 0;
    c->columns = arena_zero(arena, base->column_count, sizeof *c->columns);
    *ids = arena_zero(arena, base->column_count, sizeof **ids);
    if (!c->columns || !*ids) return ERR_BUDGET;
    for (uint32_t i = 0; i < base->column_count; i++) {
        struct gathered *g = &c->columns[c->column_count];
        bool any = false;
        g->base = &base->columns[i];
        for (enum rollup_part part = 0; part < ROLLUP_PARTS; part++) {
            uint16_t id = rollup_part_id(g->base->id, part);
            const struct column *found = id ? schema_column(rollup, id) : NULL;
            g->parts[part] = found;
            any |= found != NULL;
            if (found && found->type != rollup_part_type(g->base->type, part))
                return why_set(why, ERR_CONFLICT, "column %s of %s does not fit table %s yet",
                               found->name, rollup->name, base->name);
        }
        if (any) (*ids)[c->column_count++] = g->base->id;
    }
    return ERR_OK;
}

static enum err read_windows(struct computing *c, struct why *why)
{
    enum err err = ERR_OK;
    bool full = false;
    while (!err && !full) {
        struct sql_chunk chunk;
        err = store_sql_source.scan_next(c->scan, &chunk, why);
        if (err) break;
        if (!chunk.row_count) {
            err = write_window(c);
            c->step->done_ns = c->step->to_ns;
            break;
        }
        err = take_chunk(c, &chunk, &full);
    }
    return err;
}

/* Whether the table is still what the step was made for. */
static enum err check_table(const struct rollup_step *step, const struct sql_table *table,
                            struct why *why)
{
    if (!table->schema || table->schema->table_id != step->base->table_id)
        return why_set(why, ERR_NO_TABLE, "table %s was dropped", step->base->name);
    if (table->schema->revision != step->base->revision)
        return why_set(why, ERR_CONFLICT, "table %s was changed; try again", step->base->name);
    return ERR_OK;
}

enum err rollup_compute(struct store *store, struct store_snapshot *snapshot,
                        struct rollup_step *step, struct budget *budget, struct batch *out,
                        struct why *why)
{
    MUST(step->from_ns < step->to_ns && step->windows_max > 0 && out->schema == step->rollup);
    struct computing c = {.step = step, .out = out};
    struct sql_series_filter filter = {STR("device"), 1, &step->device};
    struct sql_scan_request request = {.time_from_ns = step->from_ns,
                                       .time_to_ns = step->to_ns,
                                       .filter_count = 1,
                                       .filters = &filter,
                                       .want_time = true};
    struct sql_table table = {0};
    struct sql_scan *scan = NULL;
    struct sql_scan_stats stats = {0};
    struct arena arena;
    uint16_t *ids = NULL;
    arena_init(&arena, budget);
    step->done_ns = step->from_ns;
    enum err err = store_sql_source.find_table(store, str_of(step->base->ns), STR(""),
                                               str_of(step->base->name), &arena, &table, why);
    if (!err) err = check_table(step, &table, why);
    if (!err) err = find_columns(&c, &arena, &ids, why);
    request.column_count = c.column_count;
    request.columns = ids;
    if (!err)
        err = store_sql_source.scan_open(store, snapshot, &table, &request, budget, &scan, why);
    c.scan = scan;
    if (!err) err = read_windows(&c, why);
    store_sql_source.scan_close(scan, &stats);
    store_sql_source.close_table(store, &table);
    arena_free(&arena);
    if (!err && stats.damaged)
        err = why_set(why, ERR_CORRUPT, "table %s: rows of device %.*s cannot be read",
                      step->base->name, (int)step->device.size, step->device.at);
    return err;
}
