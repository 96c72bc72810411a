/* explain.c - EXPLAIN: the plan as indented text, outermost operator first; ANALYZE runs it and
 * adds what was read. */
#include "sql/func.h"
#include "sql/op.h"
#include "sql/sql_priv.h"
#include "base/timetext.h"
#include <string.h>

enum err explain_prepare(struct sql_statement *s, struct why *why)
{
    static const char *const names[] = {"plan"};
    enum err err = bind_select(s->context, &s->arena, &s->tree.select, &s->plan, why);
    if (err) return err;
    if (s->plan.has_table) {
        s->access =
            (struct sql_access){s->tree.select.from.schema.at, s->plan.table.schema->name, false};
        s->access_count = 1;
    }
    return sql_list_columns(s, names, 1, why);
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
    if (grouped && e->input >= GROUP_KEYS_MAX) {
        add_aggregate(buf, plan, &plan->aggs[e->input - GROUP_KEYS_MAX]);
    } else if (grouped) {
        add_expr(buf, plan, plan->keys[e->input].expr, false);
    } else {
        const struct input *input = &plan->inputs[e->input];
        bool of_column = input->kind == INPUT_COLUMN_QUALITY;
        const struct column *column =
            of_column ? schema_column(plan->table.schema, plan->request.columns[input->slot])
                      : NULL;
        if (column)
            buf_printf(buf, "quality(%s)", column->name);
        else
            buf_add_text(buf, input->name);
    }
}

static void add_expr(struct buf *buf, const struct plan *plan, const struct expr *e, bool grouped)
{
    if (e->kind == EXPR_CONST) {
        add_constant(buf, e);
    } else if (e->kind == EXPR_INPUT) {
        add_input(buf, plan, e, grouped);
    } else {
        bool infix =
            (e->function->flags & FN_OPERATOR) && e->arg_count == 2 && e->function->special == NULL;
        if (!infix) buf_add_text(buf, e->function->name);
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

static void add_outputs(struct lines *lines, const struct plan *plan)
{
    if (plan->has_limit || plan->offset) {
        begin_line(lines, "limit");
        if (plan->has_limit) buf_printf(&lines->buf, " %llu", (unsigned long long)plan->limit);
        if (plan->offset) buf_printf(&lines->buf, " offset %llu", (unsigned long long)plan->offset);
        end_line(lines);
        lines->depth++;
    }
    if (plan->order_count) {
        begin_line(lines, "sort");
        for (size_t i = 0; i < plan->order_count; i++) {
            buf_add_text(&lines->buf, i ? ", " : " by ");
            add_expr(&lines->buf, plan, plan->outputs[plan->order[i].output], plan->grouped);
            if (plan->order[i].descending) buf_add_text(&lines->buf, " desc");
        }
        end_line(lines);
        lines->depth++;
    }
    if (plan->distinct) {
        begin_line(lines, "distinct");
        end_line(lines);
        lines->depth++;
    }
    begin_line(lines, "project");
    for (size_t i = 0; i < plan->output_count && lines->buf.size < 4000; i++) {
        buf_add_text(&lines->buf, i ? ", " : " ");
        add_expr(&lines->buf, plan, plan->outputs[i], plan->grouped);
    }
    end_line(lines);
    lines->depth++;
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
    end_line(lines);
    lines->depth++;
}

static void add_bound(struct buf *buf, const char *word, int64_t ns, int64_t open)
{
    if (ns == open) return;
    buf_printf(buf, " %s ", word);
    buf_add_time(buf, ns);
}

static void add_scan(struct lines *lines, const struct plan *plan)
{
    const struct sql_scan_request *request = &plan->request;
    if (plan->nothing) begin_line(lines, "nothing: WHERE is never true");
    if (plan->nothing || !plan->has_table) {
        if (!plan->nothing) begin_line(lines, "one row");
        end_line(lines);
        return;
    }
    begin_line(lines, "scan ");
    buf_add_text(&lines->buf, plan->table.schema->name);
    add_bound(&lines->buf, "from", request->time_from_ns, INT64_MIN);
    add_bound(&lines->buf, "to", request->time_to_ns, INT64_MAX);
    if (request->newest_first) buf_add_text(&lines->buf, " newest first");
    if (request->row_limit)
        buf_printf(&lines->buf, " at most %llu rows a device",
                   (unsigned long long)request->row_limit);
    end_line(lines);
    lines->depth++;
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
    begin_line(lines, "columns");
    for (size_t i = 0; i < plan->input_count; i++)
        buf_printf(&lines->buf, "%s%s", i ? ", " : " ", plan->inputs[i].name);
    if (plan->input_count == 0) buf_add_text(&lines->buf, " none");
    end_line(lines);
}

static enum err drop_rows(void *context, const struct vector *columns, size_t column_count,
                          const uint16_t *selection, uint32_t row_count, struct why *why)
{
    (void)context, (void)columns, (void)column_count, (void)selection, (void)row_count, (void)why;
    return ERR_OK;
}

static void add_analysis(struct lines *lines, struct sql_statement *s, struct why *why)
{
    struct sql_stats stats = {0};
    struct sql_sink sink = {drop_rows, NULL};
    const struct sql_context *context = s->context;
    int64_t start = context->mono_ns ? context->mono_ns(context->clock) : 0;
    lines->err = run_plan(context, &s->plan, &sink, &stats, why);
    int64_t took = context->mono_ns ? context->mono_ns(context->clock) - start : 0;
    lines->depth = 0;
    begin_line(lines, "");
    buf_printf(&lines->buf, "rows read %llu, out %llu; blocks %llu, bytes %llu; ",
               (unsigned long long)stats.scan.rows, (unsigned long long)stats.rows_out,
               (unsigned long long)stats.scan.blocks, (unsigned long long)stats.scan.bytes);
    if (stats.scan.damaged)
        buf_printf(&lines->buf, "%llu damaged places left out; ",
                   (unsigned long long)stats.scan.damaged);
    buf_printf(&lines->buf, "%.3f ms", (double)took / 1e6);
    end_line(lines);
}

enum err explain_run(struct sql_statement *s, const struct sql_sink *sink, struct sql_stats *stats,
                     struct why *why)
{
    struct text_rows rows = {.statement = s, .sink = sink, .stats = stats, .why = why};
    struct lines lines = {.rows = &rows, .err = text_rows_begin(&rows)};
    const struct plan *plan = &s->plan;
    if (!lines.err) add_outputs(&lines, plan);
    if (!lines.err && plan->grouped) add_groups(&lines, plan);
    if (!lines.err && plan->grouped) add_window(&lines, plan);
    for (size_t i = 0; i < plan->filter_count && !lines.err; i++) {
        begin_line(&lines, "filter ");
        add_expr(&lines.buf, plan, plan->filters[i], false);
        end_line(&lines);
        if (i + 1 == plan->filter_count) lines.depth++;
    }
    if (!lines.err) add_scan(&lines, plan);
    if (!lines.err && s->tree.analyze) add_analysis(&lines, s, why);
    buf_free(&lines.buf);
    return lines.err ? lines.err : text_rows_end(&rows);
}
