/* ingest_notation.c - how rows are read from line protocol, JSON and Prometheus remote write
 * (ingest.h: struct ingest_format). On a worker; a reader stands at ingest.at, which is put back
 * when a row has to be read again. */
#include "listeners/ingest.h"

static void begin_lines(struct ingest *in)
{
    in->line->known = 0;
    in->at = (struct ingest_place){.rest = in->text};
}

static enum err next_line(struct ingest *in, bool *found, struct why *why)
{
    struct str text;
    while (in->at.rest.size && str_split(&in->at.rest, '\n', &text)) {
        in->at.number++;
        in->row = text = str_trim(text);
        if (!text.size || text.at[0] == '#') continue;
        *found = true;
        return line_parse(text, in->unit_ns, &in->scratch, in->line, why);
    }
    return ERR_OK;
}

/* Line protocol says what it means: only whole numbers become doubles. */
static bool convert_line(struct value *value, enum type type, struct arena *scratch)
{
    (void)scratch;
    if (type != TYPE_DOUBLE || (value->type != TYPE_BIGINT && value->type != TYPE_UBIGINT))
        return false;
    value->d = value->type == TYPE_BIGINT ? (double)value->i : (double)value->u;
    value->type = TYPE_DOUBLE;
    return true;
}

const struct ingest_format ingest_line_protocol = {
    "line",       begin_lines, next_line,
    convert_line, 0,           "no tag names the device (a tag device=NAME does)"};

static void begin_json(struct ingest *in)
{
    in->at = (struct ingest_place){0};
    json_rows_init(&in->at.json, in->text);
}

static enum err next_json(struct ingest *in, bool *found, struct why *why)
{
    enum err err = json_rows_next(&in->at.json, &in->scratch, in->line, found, why);
    in->at.number++;
    if (in->at.json.is_over) *found = false;
    in->line->measurement = in->table;
    bool has_device = in->line->tag_count && in->line->tags[0].value.size;
    if (has_device || !in->device.size) return err;
    in->line->tags[0] = (struct label){STR("device"), in->device};
    if (!in->line->tag_count) in->line->tag_count = 1;
    return err;
}

const struct ingest_format ingest_json = {
    "row",     begin_json,
    next_json, json_rows_convert,
    1,         "nothing names the device (\"device\" in the row or ?device=NAME does)"};

static void begin_prometheus(struct ingest *in)
{
    in->at = (struct ingest_place){0};
    prometheus_rows_init(&in->at.prometheus, in->text);
}

static enum err next_prometheus(struct ingest *in, bool *found, struct why *why)
{
    in->at.number++;
    return prometheus_rows_next(&in->at.prometheus, in->line, found, why);
}

const struct ingest_format ingest_prometheus = {"sample",
                                                begin_prometheus,
                                                next_prometheus,
                                                convert_line,
                                                0,
                                                "the series has no label beside its name",
                                                "instance"};
