/* query_format.c - how answers are written over HTTP: JSON, CSV, one JSON object a line.
 *
 * Rows are written as they come, so a long answer is never held as a whole. PostgreSQL's messages
 * and COPY's notations, which show times and texts in another way, are in pg_portal.c and
 * pg_copy.c. Thread: a worker; one at a time for a query. */
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
            value_add_text(out, &values[i]);
    }
    buf_add_text(out, "\r\n");
}

const struct query_format query_formats[] = {
    {"json", "application/json", json_begin, json_row, json_end},
    {"csv", "text/csv; charset=utf-8", csv_begin, csv_row, NULL},
    {"ndjson", "application/x-ndjson", NULL, ndjson_row, NULL},
    {0},
};

const struct query_format *query_format_of(struct str accept)
{
    struct str rest = accept, piece;
    while (accept.size && str_split(&rest, ',', &piece)) {
        struct str kind = str_trim(piece);
        for (size_t i = 0; i < kind.size; i++)
            if (kind.at[i] == ';') kind.size = i;
        if (str_is(kind, "csv") || str_is(kind, "text/csv")) return &query_formats[1];
        if (str_is(kind, "ndjson") || str_is(kind, "application/x-ndjson"))
            return &query_formats[2];
    }
    return &query_formats[0];
}
