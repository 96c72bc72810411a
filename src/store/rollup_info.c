/* rollup_info.c - what people are told of rollups: sys.rollups, SHOW HEALTH. Any task; all of it is
 * read from what the log task publishes for scans, so nothing waits for anybody. */
#include "store/rollup.h"
#include "store/store_priv.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Being behind is ordinary for a while: a rollup is new, a device sends the rows of a week. */
#define TELL_NS   ((int64_t)10 * 60 * 1000000000)
#define MINUTE_NS ((int64_t)60 * 1000000000)

/* The state of a rollup's table, and its base table; NULL: it was dropped, or is left over from
 * damage. */
static struct rollup_state *find_state(const struct table_list *list, const struct schema *rollup,
                                       uint32_t *base)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].schema->table_id != rollup->rollup_of) continue;
        *base = i;
        for (size_t n = 0; n < SCHEMA_ROLLUPS_MAX; n++) {
            struct rollup_state *state = atomic_load(&list->items[i].state->rollups[n]);
            if (state && state->table_id == rollup->table_id) return state;
        }
    }
    return NULL;
}

/* ---- sys.rollups ---- */

/* `now_ns`: windows from there on have not ended. */
static void add_series(struct rollup_state *state, uint32_t series, int64_t now_ns,
                       struct store_rollup_info *info)
{
    struct rollup_seen seen;
    if (!rollup_state_see(state, series, &seen)) {
        info->has_begun = false;
        return;
    }
    for (uint32_t i = 0; i < seen.count; i++) {
        int64_t from = seen.ranges[i].from,
                to = seen.ranges[i].to < now_ns ? seen.ranges[i].to : now_ns;
        if (from >= to) continue;
        if (from == INT64_MIN) {
            info->has_begun = false;
            continue;
        }
        if (from < info->clean_until_ns) info->clean_until_ns = from;
        info->dirty_windows += (uint64_t)((to - from) / state->every_ns);
    }
}

static void fill(struct store *store, struct rollup_state *state, struct table_state *base,
                 struct store_rollup_info *info)
{
    int64_t now = rollup_window_start(context_wall_ns(store->context), state->every_ns);
    info->every_ns = state->every_ns;
    info->frozen_ns = atomic_load(&state->frozen_ns);
    info->late_rows = atomic_load(&state->late_rows);
    info->density = rollup_state_density(state);
    info->clean_until_ns = now;
    info->has_begun = true;
    for (struct series *s = atomic_load(&base->first); s; s = atomic_load(&s->next_of_table))
        add_series(state, s->id, now, info);
    info->lag_ns = now - info->clean_until_ns;
}

enum err store_rollups(struct store *store, struct store_rollup_info **rows, size_t *count)
{
    struct table_list *list = catalog_tables(&store->catalog);
    size_t capacity = 0;
    enum err err = ERR_OK;
    *rows = NULL;
    *count = 0;
    for (uint32_t i = 0; i < list->count && !err; i++) {
        const struct schema *rollup = list->items[i].schema;
        uint32_t base;
        struct rollup_state *state = rollup->rollup_of ? find_state(list, rollup, &base) : NULL;
        if (!state) continue;
        if ((err = mem_grow(rows, &capacity, *count + 1, sizeof **rows))) break;
        struct store_rollup_info *info = &(*rows)[(*count)++];
        *info = (struct store_rollup_info){0};
        (void)str_copy(info->ns, sizeof info->ns, str_of(rollup->ns));
        (void)str_copy(info->rollup, sizeof info->rollup, str_of(rollup->name));
        (void)str_copy(info->table, sizeof info->table, str_of(list->items[base].schema->name));
        fill(store, state, list->items[base].state, info);
    }
    table_list_release(list);
    if (!err) return ERR_OK;
    mem_free(*rows);
    *rows = NULL;
    *count = 0;
    return err;
}

/* ---- SHOW HEALTH ---- */

static void __attribute__((format(printf, 3, 4)))
tell(struct store_health_row *row, const struct schema *rollup, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    *row = (struct store_health_row){.severity = STORE_WARNING};
    (void)str_copy(row->object, sizeof row->object, str_of(rollup->name));
    (void)vsnprintf(row->text, sizeof row->text, format, args);
    va_end(args);
}

size_t rollup_health(struct store *store, struct store_health_row *rows, size_t capacity)
{
    struct table_list *list = catalog_tables(&store->catalog);
    int64_t now = context_mono_ns(store->context);
    size_t count = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct schema *rollup = list->items[i].schema;
        uint32_t base;
        struct rollup_state *state = rollup->rollup_of ? find_state(list, rollup, &base) : NULL;
        if (!state) continue;
        const char *name = list->items[base].schema->name;
        int64_t waits = atomic_load(&state->waits_since_ns),
                behind = atomic_load(&state->behind_since_ns);
        if (waits && now - waits > TELL_NS && count < capacity)
            tell(&rows[count++], rollup,
                 "rows of table %s whose retention is over stay: windows of them wait to be "
                 "computed, for %" PRId64 " min now",
                 name, (now - waits) / MINUTE_NS);
        if (behind && now - behind > TELL_NS && count < capacity)
            tell(&rows[count++], rollup,
                 "the rollup of table %s is behind for %" PRId64
                 " min; answers come from the rows meanwhile (sys.rollups shows how far it is)",
                 name, (now - behind) / MINUTE_NS);
    }
    table_list_release(list);
    return count;
}

void rollup_show_metrics(struct store *store)
{
    uint64_t late = 0;
    for (struct rollup_state *s = store->catalog.rollups; s; s = s->next)
        late += atomic_load(&s->late_rows);
    metric_set(store->context, METRIC_ROLLUP_LATE, late);
}
