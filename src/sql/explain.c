/* explain.c - EXPLAIN: the plan as indented text, outermost operator first; ANALYZE runs it and
 * adds what was read. */
#include "sql/func.h"
#include "sql/op.h"
#include "sql/over.h"
#include "sql/sql_priv.h"
#include "base/timetext.h"
#include <string.h>

enum err explain_prepare(struct sql_statement *s, struct why *why)
{
    static const char *const names[] = {"plan"};
    enum err err = sql_bind_query(s, why);
    return err ? err : sql_list_columns(s, names, 1, why);
}

/* ---- expressions as text; `grouped`: inputs are keys and aggregates ---- */

static void add_expr(struct buf *buf, const struct plan *plan, const struct expr *e, bool grouped);

static void add_constant(struct buf *buf, const struct expr *e)
{
    struct value v = expr_value(e);
    bool quotes = !v.is_null && (e->type == TYPE_TEXT || e->type == TYPE_TIMESTAMP);
    if (v.is_null) buf_add_text(buf, "NULL");
    if (quotes) buf_add_char(buf, '\'');
    if (e->is_duration && v.i >= 0 && !v.is_null)
        buf_add_duration(buf, v.i);
    else
        value_add_text(buf, &v);
    if (quotes) buf_add_char(buf, '\'');
}

static void add_aggregate(struct buf *buf, const struct plan *plan, const struct agg_call *call)
{
    buf_printf(buf, "%s(%s", call->aggregate->name, call->distinct ? "DISTINCT " : "");
    if (call->arg)
        add_expr(buf, plan, call->arg, false);
    else
        buf_add_char(buf, '*');
    buf_add_char(buf, ')');
}

static void add_input(struct buf *buf, const struct plan *plan, const struct expr *e, bool grouped)
{
    if (plan->over_count > 0 && e->input >= plan->over.base) {
        const struct over_call *call = &plan->over.calls[e->input - plan->over.base];
        buf_printf(buf, "%s() over", call->function ? call->function->name : call->aggregate->name);
    } else if (grouped && e->input >= GROUP_KEYS_MAX) {
        add_aggregate(buf, plan, &plan->aggs[e->input - GROUP_KEYS_MAX]);
    } else if (grouped) {
        add_expr(buf, plan, plan->keys[e->input].expr, false);
    } else {
        const struct input *input = &plan->inputs[e->input];
        bool of_column = input->kind == INPUT_COLUMN_QUALITY && plan->from == FROM_TABLE;
        const struct column *column =
            of_column ? schema_column(plan->table.schema, plan->request.columns[input->slot])
                      : NULL;
        if (plan->from == FROM_JOIN && plan->sides[input->side]->alias.size > 0)
            buf_printf(buf, "%s.", plan->sides[input->side]->alias.at);
        if (column)
            buf_printf(buf, "quality(%s)", column->name);
        else
            buf_add_text(buf, input->name);
    }
}

static void add_expr(struct buf *buf, const struct plan *plan, const struct expr *e, bool grouped)
{
    static const char *const uses[] = {
        [USE_SCALAR] = "query",     [USE_EXISTS] = "exists",    [USE_IN] = "in query",
        [USE_ANY] = "any of query", [USE_ALL] = "all of query", [USE_ARRAY] = "array of query"};
    if (e->kind == EXPR_CONST) {
        add_constant(buf, e);
    } else if (e->kind == EXPR_PARAM) {
        buf_add_text(buf, "(outer)");
    } else if (e->kind == EXPR_INPUT) {
        add_input(buf, plan, e, grouped);
    } else {
        bool infix =
            (e->function->flags & FN_OPERATOR) && e->arg_count == 2 && e->function->special == NULL;
        if (!infix) buf_add_text(buf, e->query ? uses[e->query->use] : e->function->name);
        buf_add_char(buf, '(');
        for (size_t i = 0; i < e->arg_count && buf->size < 4000; i++) {
            if (i && infix) buf_printf(buf, " %s ", e->function->name);
            if (i && !infix) buf_add_text(buf, ", ");
            add_expr(buf, plan, e->args[i], grouped);
        }
        buf_add_char(buf, ')');
    }
}

/* ---- operators as lines ---- */

struct lines {
    struct text_rows *rows;
    struct buf buf;
    int depth;
    bool analyze;
    enum err err;
};

static void begin_line(struct lines *lines, const char *text)
{
    buf_clear(&lines->buf);
    for (int i = 0; i < lines->depth * 2; i++) buf_add_char(&lines->buf, ' ');
    buf_add_text(&lines->buf, text);
}

static void end_line(struct lines *lines)
{
    struct sql_statement *s = lines->rows->statement;
    if (lines->err) return;
    char *copy =
        buf_failed(&lines->buf) ? NULL : arena_strdup(&s->arena, lines->buf.at, lines->buf.size);
    lines->err = copy ? text_rows_add(lines->rows, &(struct text_row){{copy}})
                      : expr_no_memory(s->context->budget, lines->rows->why);
}

/* ---- what ANALYZE counted ---- */

static bool has_stage(const struct plan *plan, enum stage stage)
{
    switch (stage) {
    case STAGE_SOURCE: return true;
    case STAGE_FILTER: return plan->filter_count > 0;
    case STAGE_GROUP: return plan->grouped;
    case STAGE_WINDOW: return plan->over_count > 0;
    case STAGE_PROJECT: return !plan->is_side;
    case STAGE_DISTINCT: return plan->distinct;
    case STAGE_SORT: return plan->order_count > 0;
    case STAGE_DISTINCT_ON: return plan->distinct_on_count > 0;
    case STAGE_LIMIT: return plan->has_limit || plan->offset > 0;
    case STAGE_OUTPUT: return true;
    case STAGE_COUNT: break;
    }
    return false;
}

static void add_counts(struct lines *lines, uint64_t rows, int64_t ns)
{
    if (lines->analyze)
        buf_printf(&lines->buf, " (rows %llu, %.3f ms)", (unsigned long long)rows,
                   ns > 0 ? (double)ns / 1e6 : 0.0);
}

/* Rows that left the stage are those pushed into the next; time is its own, not that of those
 * behind it. */
static void end_stage(struct lines *lines, const struct plan *plan, enum stage stage)
{
    enum stage next = stage + 1;
    while (next < STAGE_OUTPUT && !has_stage(plan, next)) next++;
    const struct measure *measures = plan->measures;
    add_counts(lines, measures[next].rows, measures[stage].ns - measures[next].ns);
    end_line(lines);
    lines->depth++;
}

/* ---- operators, the last one first ---- */

static void add_tail(struct lines *lines, const struct plan *plan)
{
    if (plan->has_limit || plan->offset) {
        begin_line(lines, "limit");
        if (plan->has_limit) buf_printf(&lines->buf, " %llu", (unsigned long long)plan->limit);
        if (plan->offset) buf_printf(&lines->buf, " offset %llu", (unsigned long long)plan->offset);
        end_stage(lines, plan, STAGE_LIMIT);
    }
    if (plan->distinct_on_count) {
        begin_line(lines, "first of each");
        for (size_t i = 0; i < plan->distinct_on_count; i++) {
            buf_add_text(&lines->buf, i ? ", " : " ");
            add_expr(&lines->buf, plan, plan->outputs[plan->distinct_on[i]], plan->grouped);
        }
        end_stage(lines, plan, STAGE_DISTINCT_ON);
    }
    if (plan->order_count) {
        begin_line(lines, "sort");
        for (size_t i = 0; i < plan->order_count; i++) {
            buf_add_text(&lines->buf, i ? ", " : " by ");
            add_expr(&lines->buf, plan, plan->outputs[plan->order[i].output], plan->grouped);
            if (plan->order[i].descending) buf_add_text(&lines->buf, " desc");
        }
        end_stage(lines, plan, STAGE_SORT);
    }
}

static void add_outputs(struct lines *lines, const struct plan *plan)
{
    add_tail(lines, plan);
    if (plan->distinct) {
        begin_line(lines, "distinct");
        end_stage(lines, plan, STAGE_DISTINCT);
    }
    begin_line(lines, "project");
    for (size_t i = 0; i < plan->output_count && lines->buf.size < 4000; i++) {
        buf_add_text(&lines->buf, i ? ", " : " ");
        add_expr(&lines->buf, plan, plan->outputs[i], plan->grouped);
    }
    end_stage(lines, plan, STAGE_PROJECT);
}

static void add_step(struct lines *lines, const char *text)
{
    begin_line(lines, text);
    end_line(lines);
    lines->depth++;
}

/* What stands before the group: numbering rows by window, and the order that this needs. */
static void add_window(struct lines *lines, const struct plan *plan)
{
    static const char *const kinds[WINDOW_KINDS] = {
        [WINDOW_HOP] = "windows hop, a row passes once for each",
        [WINDOW_SLIDE] = "windows slide, one for each row",
        [WINDOW_SESSION] = "windows end after a gap",
        [WINDOW_COUNT] = "windows of so many rows",
        [WINDOW_STATE] = "windows end when the state changes",
        [WINDOW_EVENT] = "windows from one condition to another",
    };
    if (kinds[plan->window.kind]) add_step(lines, kinds[plan->window.kind]);
    if (plan->window.needs_order) add_step(lines, "hold all rows, sort by partition and time");
}

static void add_over(struct lines *lines, const struct plan *plan)
{
    begin_line(lines, plan->over.by_series ? "window functions, one series at a time"
                                           : "window functions");
    for (size_t s = 0; s < plan->over.spec_count; s++) {
        const struct over_spec *spec = &plan->over.specs[s];
        buf_add_text(&lines->buf, s ? "; over" : ": over");
        for (size_t i = 0; i < spec->partition_count; i++) {
            buf_add_text(&lines->buf, i ? ", " : " partition by ");
            add_expr(&lines->buf, plan, spec->partition[i], plan->grouped);
        }
        for (size_t i = 0; i < spec->order_count; i++) {
            buf_add_text(&lines->buf, i ? ", " : " order by ");
            add_expr(&lines->buf, plan, spec->order[i], plan->grouped);
        }
    }
    end_stage(lines, plan, STAGE_WINDOW);
}

static void add_groups(struct lines *lines, const struct plan *plan)
{
    if (plan->fill.on) add_step(lines, "fill");
    if (plan->fill.needs_order) add_step(lines, "sort by partition and window");
    if (plan->having) {
        begin_line(lines, "having ");
        add_expr(&lines->buf, plan, plan->having, true);
        end_line(lines);
        lines->depth++;
    }
    begin_line(lines, plan->streaming   ? "group, one at a time"
                      : plan->key_count ? "group by hash"
                                        : "aggregate");
    for (size_t i = 0; i < plan->key_count; i++) {
        buf_add_text(&lines->buf, i ? ", " : ": ");
        add_expr(&lines->buf, plan, plan->keys[i].expr, false);
    }
    end_stage(lines, plan, STAGE_GROUP);
    add_window(lines, plan);
}

static void add_filters(struct lines *lines, const struct plan *plan)
{
    for (size_t i = 0; i < plan->filter_count; i++) {
        begin_line(lines, "filter ");
        add_expr(&lines->buf, plan, plan->filters[i], false);
        if (i == 0) {
            end_stage(lines, plan, STAGE_FILTER);
            lines->depth--;
        } else {
            end_line(lines);
        }
    }
    if (plan->filter_count) lines->depth++;
}

/* ---- sources ---- */

static void add_bound(struct buf *buf, const char *word, int64_t ns, int64_t open)
{
    if (ns == open) return;
    buf_printf(buf, " %s ", word);
    buf_add_time(buf, ns);
}

/* Rollups whose windows may stand for rows. */
static void add_rollups(struct lines *lines, const struct plan *plan)
{
    const struct sql_source *source = plan->table.source;
    struct sql_scan_request request = plan->request;
    struct sql_table table = plan->table;
    if (!source->explain_scan) return;
    begin_line(lines, "windows of ");
    size_t before = lines->buf.size;
    summary_request(plan, &request);
    const struct sql_catalog *catalog = lines->rows->statement->context->catalog;
    void *context = catalog->source[plan->table.source_at].context;
    source->explain_scan(context, &table, &request, &lines->buf);
    if (lines->buf.size > before) end_line(lines);
}

static void add_scan(struct lines *lines, const struct plan *plan)
{
    const struct sql_scan_request *request = &plan->request;
    begin_line(lines, "scan ");
    buf_add_text(&lines->buf, plan->table.schema->name);
    add_bound(&lines->buf, "from", request->time_from_ns, INT64_MIN);
    add_bound(&lines->buf, "to", request->time_to_ns, INT64_MAX);
    if (request->newest_first) buf_add_text(&lines->buf, " newest first");
    if (request->row_limit)
        buf_printf(&lines->buf, " at most %llu rows a device",
                   (unsigned long long)request->row_limit);
    end_stage(lines, plan, STAGE_SOURCE);
    for (size_t i = 0; i < request->filter_count; i++) {
        const struct sql_series_filter *filter = &request->filters[i];
        begin_line(lines, "series ");
        buf_add_str(&lines->buf, filter->label);
        for (size_t v = 0; v < filter->value_count && v < 20; v++) {
            buf_add_text(&lines->buf, v ? ", '" : " = '");
            buf_add_str(&lines->buf, filter->values[v]);
            buf_add_char(&lines->buf, '\'');
        }
        end_line(lines);
    }
    add_rollups(lines, plan);
    begin_line(lines, "columns");
    for (size_t i = 0; i < plan->input_count; i++)
        buf_printf(&lines->buf, "%s%s", i ? ", " : " ", plan->inputs[i].name);
    if (plan->input_count == 0) buf_add_text(&lines->buf, " none");
    end_line(lines);
}

static void add_plan(struct lines *lines, const struct plan *plan);

static void add_join(struct lines *lines, const struct plan *plan, const struct join *join)
{
    static const char *const kinds[] = {[JOIN_CROSS] = "",
                                        [JOIN_INNER] = "",
                                        [JOIN_LEFT] = "left ",
                                        [JOIN_RIGHT] = "",
                                        [JOIN_FULL] = "full "};
    struct buf *buf = &lines->buf;
    if (!join->left) {
        add_plan(lines, plan->sides[join->first]);
        return;
    }
    begin_line(lines, kinds[join->kind]);
    buf_add_text(buf, join->is_asof ? "asof join" : join->key_count ? "hash join" : "nested loop");
    for (size_t i = 0; i < join->key_count; i++) {
        buf_add_text(buf, i ? " and " : " on ");
        add_expr(buf, plan, join->left_keys[i], false);
        buf_add_text(buf, " = ");
        add_expr(buf, plan, join->right_keys[i], false);
    }
    if (join->is_asof) {
        buf_add_text(buf, join->key_count ? " and " : " on ");
        add_expr(buf, plan, join->left_time, false);
        buf_printf(buf, " %s%s ", join->asof_forward ? "<" : ">", join->asof_strict ? "" : "=");
        add_expr(buf, plan, join->right_time, false);
    }
    for (size_t i = 0; i < join->condition_count; i++) {
        buf_add_text(buf, i || join->key_count ? " and " : " on ");
        add_expr(buf, plan, join->conditions[i], false);
    }
    add_counts(lines, join->measure->rows, join->measure->ns);
    end_line(lines);
    int depth = ++lines->depth;
    add_join(lines, plan, join->left);
    lines->depth = depth;
    add_join(lines, plan, join->right);
}

static void add_set(struct lines *lines, const struct plan *plan)
{
    static const char *const names[] = {
        [SET_UNION] = "union", [SET_EXCEPT] = "except", [SET_INTERSECT] = "intersect"};
    begin_line(lines, names[plan->set]);
    if (plan->set_all) buf_add_text(&lines->buf, " all");
    end_stage(lines, plan, STAGE_SOURCE);
    int depth = lines->depth;
    for (size_t i = 0; i < plan->side_count; i++) {
        lines->depth = depth;
        add_plan(lines, plan->sides[i]);
    }
}

static void add_source(struct lines *lines, const struct plan *plan)
{
    if (plan->nothing) {
        begin_line(lines, "nothing: WHERE is never true");
        end_line(lines);
        return;
    }
    switch (plan->from) {
    case FROM_ONE_ROW:
        begin_line(lines, "one row");
        end_line(lines);
        break;
    case FROM_TABLE: add_scan(lines, plan); break;
    case FROM_QUERY: add_plan(lines, plan->query); break;
    case FROM_SET: add_set(lines, plan); break;
    case FROM_VALUES:
        begin_line(lines, plan->unnest ? "items of an array" : "values");
        if (!plan->unnest) buf_printf(&lines->buf, " %zu rows", plan->row_count);
        end_line(lines);
        break;
    case FROM_JOIN: add_join(lines, plan, plan->join); break;
    }
}

static void add_plan(struct lines *lines, const struct plan *plan)
{
    if (lines->err) return;
    if (!plan->is_side) {
        add_outputs(lines, plan);
        if (plan->over_count) add_over(lines, plan);
        if (plan->grouped) add_groups(lines, plan);
    }
    add_filters(lines, plan);
    add_source(lines, plan);
}

/* Queries inside expressions. */
static void add_subqueries(struct lines *lines, const struct plans *plans)
{
    for (const struct subquery *query = plans->subqueries; query; query = query->next) {
        lines->depth = 0;
        begin_line(lines, "query in an expression");
        if (query->param_count)
            buf_printf(&lines->buf, ", for each of %zu outer values", query->param_count);
        end_line(lines);
        lines->depth = 1;
        add_plan(lines, query->plan);
    }
}

static enum err drop_rows(void *context, const struct vector *columns, size_t column_count,
                          const uint16_t *selection, uint32_t row_count, struct why *why)
{
    (void)context, (void)columns, (void)column_count, (void)selection, (void)row_count, (void)why;
    return ERR_OK;
}

struct analysis {
    struct sql_stats stats;
    int64_t took_ns;
};

static enum err analyze(struct sql_statement *s, struct analysis *analysis, struct why *why)
{
    struct sql_sink sink = {drop_rows, NULL, NULL};
    const struct sql_context *context = s->context;
    int64_t start = context->mono_ns ? context->mono_ns(context->clock) : 0;
    enum err err = run_plan(context, s->plans.root, true, &sink, &analysis->stats, why);
    analysis->took_ns = context->mono_ns ? context->mono_ns(context->clock) - start : 0;
    return err;
}

static void add_analysis(struct lines *lines, const struct analysis *analysis)
{
    const struct sql_stats *stats = &analysis->stats;
    lines->depth = 0;
    begin_line(lines, "");
    buf_printf(&lines->buf, "rows read %llu, out %llu; blocks %llu, bytes %llu; ",
               (unsigned long long)stats->scan.rows, (unsigned long long)stats->rows_out,
               (unsigned long long)stats->scan.blocks, (unsigned long long)stats->scan.bytes);
    if (stats->scan.passed_by)
        buf_printf(&lines->buf, "passed by %llu; ", (unsigned long long)stats->scan.passed_by);
    if (stats->scan.spans)
        buf_printf(&lines->buf, "in memory %llu; ", (unsigned long long)stats->scan.spans);
    if (stats->scan.windows)
        buf_printf(&lines->buf, "windows %llu of %s; ", (unsigned long long)stats->scan.windows,
                   stats->scan.rollups);
    if (stats->scan.damaged)
        buf_printf(&lines->buf, "%llu damaged places left out; ",
                   (unsigned long long)stats->scan.damaged);
    buf_printf(&lines->buf, "%.3f ms", (double)analysis->took_ns / 1e6);
    end_line(lines);
}

enum err explain_run(struct sql_statement *s, const struct sql_sink *sink, struct sql_stats *stats,
                     struct why *why)
{
    struct text_rows rows = {.statement = s, .sink = sink, .stats = stats, .why = why};
    struct lines lines = {.rows = &rows, .analyze = s->tree.analyze, .err = text_rows_begin(&rows)};
    struct analysis analysis = {0};
    if (!lines.err && s->tree.analyze) lines.err = analyze(s, &analysis, why);
    add_plan(&lines, s->plans.root);
    if (!lines.err) add_subqueries(&lines, &s->plans);
    if (!lines.err && s->tree.analyze) add_analysis(&lines, &analysis);
    buf_free(&lines.buf);
    return lines.err ? lines.err : text_rows_end(&rows);
}
