/* query_format.c - how answers are written over HTTP: JSON, CSV, one JSON object a line, Arrow.
 *
 * Rows are written as they come, so a long answer is never held as a whole. PostgreSQL's messages
 * and COPY's notations, which show times and texts in another way, are in pg_portal.c and
 * pg_copy.c. Thread: a worker; one at a time for a query. */
#include "data/arrow.h"
#include "data/csv.h"
#include "listeners/query.h"
#include <string.h>

static void add_time(struct query *q, struct buf *out, int64_t ns, bool quoted)
{
    static const int64_t units[] = {[QUERY_TIME_NS] = 1,
                                    [QUERY_TIME_US] = 1000,
                                    [QUERY_TIME_MS] = 1000000,
                                    [QUERY_TIME_S] = 1000000000};
    struct value v = {.type = TYPE_TIMESTAMP, .i = ns};
    if (q->time_format != QUERY_TIME_RFC3339)
        buf_add_i64(out, ns / units[q->time_format] - (ns % units[q->time_format] < 0));
    else if (quoted)
        value_add_json(out, &v);
    else
        value_add_text(out, &v);
}

static void add_json_value(struct query *q, struct buf *out, const struct value *v)
{
    if (v->type == TYPE_TIMESTAMP && !v->is_null)
        add_time(q, out, v->i, true);
    else
        value_add_json(out, v);
}

static void json_begin(struct query *q, struct buf *out)
{
    buf_add_text(out, "{\"columns\":[");
    for (size_t i = 0; i < q->column_count; i++) {
        buf_add_text(out, i ? ",{\"name\":" : "{\"name\":");
        buf_add_json(out, str_of(q->columns[i].name));
        buf_printf(out, ",\"type\":\"%s\"", type_name(q->columns[i].type));
        if (q->columns[i].unit && q->columns[i].unit[0]) {
            buf_add_text(out, ",\"unit\":");
            buf_add_json(out, str_of(q->columns[i].unit));
        }
        buf_add_char(out, '}');
    }
    buf_add_text(out, "],\"rows\":[");
}

static void json_row(struct query *q, struct buf *out, const struct value *values, size_t count)
{
    if (q->rows) buf_add_char(out, ',');
    buf_add_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i) buf_add_char(out, ',');
        add_json_value(q, out, &values[i]);
    }
    buf_add_char(out, ']');
}

static void json_end(struct query *q, struct buf *out)
{
    int64_t run_ns = q->run_ns + context_mono_ns(q->service->context) - q->part_start_ns;
    buf_printf(out,
               "],\"stats\":{\"rows\":%llu,\"rowsRead\":%llu,\"damaged\":%llu,\"runMs\":%.3f}}",
               (unsigned long long)q->rows, (unsigned long long)q->stats.scan.rows,
               (unsigned long long)q->stats.scan.damaged, (double)run_ns / 1e6);
}

static void ndjson_row(struct query *q, struct buf *out, const struct value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_add_char(out, i ? ',' : '{');
        buf_add_json(out, str_of(q->columns[i].name));
        buf_add_char(out, ':');
        add_json_value(q, out, &values[i]);
    }
    buf_add_text(out, "}\n");
}

static void csv_begin(struct query *q, struct buf *out)
{
    for (size_t i = 0; i < q->column_count; i++) {
        if (i) buf_add_char(out, ',');
        csv_add(out, CSV_COMMA, str_of(q->columns[i].name), false);
    }
    buf_add_text(out, "\r\n");
}

/* The items of an array have commas between them. */
static void csv_plain(struct buf *out, const struct value *v)
{
    if (v->type == TYPE_DOUBLES) buf_add_char(out, '"');
    value_add_text(out, v);
    if (v->type == TYPE_DOUBLES) buf_add_char(out, '"');
}

/* A text that reads like a missing value is quoted, so that it can be told from one. */
static void csv_row(struct query *q, struct buf *out, const struct value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i) buf_add_char(out, ',');
        if (values[i].is_null) continue;
        if (values[i].type == TYPE_TIMESTAMP)
            add_time(q, out, values[i].i, false);
        else if (values[i].type == TYPE_TEXT)
            csv_add(out, CSV_COMMA, values[i].s, csv_is_missing(values[i].s));
        else
            csv_plain(out, &values[i]);
    }
    buf_add_text(out, "\r\n");
}

static void arrow_begin(struct query *q, struct buf *out)
{
    struct arrow_column *columns = mem_alloc_zero(q->column_count + 1, sizeof *columns);
    for (size_t i = 0; columns && i < q->column_count; i++)
        columns[i] =
            (struct arrow_column){q->columns[i].name, q->columns[i].unit, q->columns[i].type};
    q->writing = columns ? arrow_new(columns, q->column_count, out) : NULL;
    if (!q->writing) out->failed = true;
    mem_free(columns);
}

static void arrow_add(struct query *q, struct buf *out, const struct value *values, size_t count)
{
    (void)count;
    if (q->writing) arrow_row(q->writing, values, out);
}

static void arrow_finish(struct query *q, struct buf *out)
{
    if (q->writing) arrow_end(q->writing, out);
}

static void arrow_forget(struct query *q)
{
    arrow_free(q->writing);
    q->writing = NULL;
}

const struct query_format query_formats[] = {
    {"json", "application/json", json_begin, json_row, json_end, NULL},
    {"csv", "text/csv; charset=utf-8", csv_begin, csv_row, NULL, NULL},
    {"ndjson", "application/x-ndjson", NULL, ndjson_row, NULL, NULL},
    {"arrow", "application/vnd.apache.arrow.stream", arrow_begin, arrow_add, arrow_finish,
     arrow_forget},
    {0},
};

/* What stands before a parameter: "text/csv; charset=utf-8" is text/csv. */
static struct str media_type(struct str text)
{
    struct str type;
    return str_split(&text, ';', &type) ? str_trim(type) : text;
}

const struct query_format *query_format_of(struct str accept)
{
    struct str rest = accept, piece;
    while (accept.size && str_split(&rest, ',', &piece))
        for (const struct query_format *f = query_formats; f->name; f++) {
            struct str wanted = media_type(piece);
            if (str_is(wanted, f->name) || str_equal(wanted, media_type(str_of(f->content_type))))
                return f;
        }
    return &query_formats[0];
}
