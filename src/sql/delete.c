/* delete.c - DELETE: from WHERE to ranges of times per device (see sql.h).
 *
 * It is a query for device and time, whose plan is looked at: when the scan and conditions on the
 * device say all, a count of each device's rows is enough, which blocks' statistics answer.
 * Otherwise the rest of WHERE becomes columns of the result, so that the rows in between are seen
 * too: a range ends at the first row that stays. */
#include "sql/sql_priv.h"
#include "sql/op.h"
#include <string.h>

/* Conditions on single rows leave the filters and become outputs behind device and time. */
static enum err split_filters(struct sql_statement *s, struct why *why)
{
    struct plan *plan = s->plans.root;
    size_t kept = 0, count = plan->output_count + plan->filter_count;
    struct expr **outputs = arena_zero(&s->arena, count, sizeof *outputs);
    const char **names = arena_zero(&s->arena, count, sizeof *names);
    if (!outputs || !names) return expr_no_memory(s->context->budget, why);
    memcpy(outputs, plan->outputs, plan->output_count * sizeof *outputs);
    memcpy(names, plan->output_names, plan->output_count * sizeof *names);
    for (size_t i = 0; i < plan->filter_count; i++) {
        if (plan->filters[i]->series_constant) {
            plan->filters[kept++] = plan->filters[i];
            continue;
        }
        outputs[plan->output_count] = plan->filters[i];
        names[plan->output_count++] = "";
    }
    plan->filter_count = kept;
    plan->outputs = outputs;
    plan->output_names = names;
    plan->visible_count = plan->output_count;
    return ERR_OK;
}

/* Conditions on device, labels and time alone. */
static bool is_whole(const struct sql_statement *s)
{
    return s->plans.root->output_count == 2;
}

enum err delete_prepare(struct sql_statement *s, struct why *why)
{
    const struct ast_from *from = s->tree.select->from;
    struct sql_table found;
    /* What is deleted from must be a table; the query would also take names of system tables. */
    enum err err = bind_table(s->context, &s->arena, &from->relation, &found, why);
    if (err) return err;
    bool writable = found.has_series;
    bind_close_table(s->context, &found);
    if (!writable)
        return why_at(why, ERR_READ_ONLY, from->relation.position,
                      "%.*s is a system table; its rows cannot be deleted",
                      (int)from->relation.name.size, from->relation.name.at);
    err = sql_bind_query(s, why);
    if (err) return err;
    MUST(s->plans.root->from == FROM_TABLE && s->plans.access_count > 0);
    for (size_t i = 0; i < s->plans.access_count; i++)
        if (strcmp(s->plans.accesses[i].table, s->plans.root->table.schema->name) == 0)
            s->plans.accesses[i].writes = true;
    err = split_filters(s, why);
    if (err || !is_whole(s)) return err;
    return bind_query(s->context, &s->arena, s->tree.counting, &s->counting, why);
}

struct ranges {
    struct sql_statement *s;
    struct sql_delete_range *items;
    size_t count, capacity;
    uint64_t rows;
    bool is_open; /* the last one goes on with the next selected row */
};

static enum err add_range(struct ranges *ranges, struct str device, int64_t from_ns, int64_t to_ns,
                          struct why *why)
{
    struct arena *arena = &ranges->s->arena;
    if (ranges->count == ranges->capacity) {
        size_t capacity = ranges->capacity ? ranges->capacity * 2 : 64;
        struct sql_delete_range *grown = arena_alloc(arena, capacity * sizeof *grown);
        if (!grown) return expr_no_memory(ranges->s->context->budget, why);
        if (ranges->count) memcpy(grown, ranges->items, ranges->count * sizeof *grown);
        ranges->items = grown;
        ranges->capacity = capacity;
    }
    const struct sql_delete_range *last = ranges->count ? &ranges->items[ranges->count - 1] : NULL;
    struct str path = last ? last->device : STR("");
    if (!last || !str_equal(path, device)) {
        char *copy = arena_strdup(arena, device.at, device.size);
        if (!copy) return expr_no_memory(ranges->s->context->budget, why);
        path = (struct str){copy, device.size};
    }
    ranges->items[ranges->count++] = (struct sql_delete_range){path, from_ns, to_ns};
    return ERR_OK;
}

static bool is_last_device(const struct ranges *ranges, struct str device)
{
    return ranges->count > 0 && str_equal(ranges->items[ranges->count - 1].device, device);
}

/* Device and number of rows: the bounds of WHERE, ends included. */
static enum err take_counts(void *context, const struct vector *columns, size_t column_count,
                            const uint16_t *selection, uint32_t row_count, struct why *why)
{
    struct ranges *ranges = context;
    const struct sql_scan_request *request = &ranges->s->plans.root->request;
    int64_t to = request->time_to_ns == INT64_MAX ? INT64_MAX : request->time_to_ns - 1;
    enum err err = ERR_OK;
    MUST(column_count == 2 && columns[1].type == TYPE_BIGINT);
    for (uint32_t k = 0; k < row_count && !err; k++) {
        uint32_t row = selection ? selection[k] : k;
        struct str device = columns[0].s[vector_at(&columns[0], row)];
        ranges->rows += (uint64_t)columns[1].i[vector_at(&columns[1], row)];
        err = add_range(ranges, device, request->time_from_ns, to, why);
    }
    return err;
}

static enum err take_rows(void *context, const struct vector *columns, size_t column_count,
                          const uint16_t *selection, uint32_t row_count, struct why *why)
{
    struct ranges *ranges = context;
    enum err err = ERR_OK;
    for (uint32_t k = 0; k < row_count && !err; k++) {
        uint32_t row = selection ? selection[k] : k;
        struct str device = columns[0].s[vector_at(&columns[0], row)];
        int64_t time = columns[1].i[vector_at(&columns[1], row)];
        bool selected = true;
        for (size_t c = 2; c < column_count && selected; c++)
            selected = columns[c].type == TYPE_BOOL && !vector_is_null(&columns[c], row) &&
                       columns[c].b[vector_at(&columns[c], row)];
        bool goes_on = selected && ranges->is_open && is_last_device(ranges, device);
        if (goes_on)
            ranges->items[ranges->count - 1].to_ns = time;
        else if (selected)
            err = add_range(ranges, device, time, time, why);
        ranges->is_open = selected;
        ranges->rows += selected;
    }
    return err;
}

enum err sql_delete_of(struct sql_statement *s, struct sql_delete *what, struct why *why)
{
    MUST(s && s->magic == SQL_STATEMENT_MAGIC && s->verb == SQL_DELETE);
    struct ranges ranges = {.s = s};
    struct sql_sink sink = {is_whole(s) ? take_counts : take_rows, &ranges, NULL};
    struct sql_stats stats = {0};
    const struct plan *plan = is_whole(s) ? s->counting.root : s->plans.root;
    enum err err = run_plan(s->context, plan, false, &sink, &stats, why);
    *what = (struct sql_delete){ranges.items, ranges.count, ranges.rows};
    return err;
}
