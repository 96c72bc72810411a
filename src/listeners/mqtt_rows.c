/* mqtt_rows.c - see mqtt_rows.h.
 *
 * The ingest reads entry after entry and, inside each, row after row. A message is refused as a
 * whole at its first row that is none: what was before that row is kept, as with every other way
 * in, and the whole message is what the dead letter shows. */
#include "listeners/mqtt_rows.h"
#include "listeners/ingest.h"
#include "mqtt/rows.h"
#include <string.h>

enum { REFUSALS_MAX = 1000 }; /* of one batch that become dead letters; the others are counted */

struct mqtt_ingest {
    struct ingest ingest; /* first */
    struct broker_rows *rows;
    void (*done)(void *arg, struct broker_rows *rows);
    void *arg;
    size_t refusal_capacity;
};

/* ---- the notation ---- */

static void begin(struct ingest *in)
{
    in->at = (struct ingest_place){.rest = in->text};
    in->at.json.is_over = true; /* no entry is open */
}

/* Opens the next entry; false at the end. */
static bool next_entry(struct ingest *in)
{
    struct reader r = reader_of(in->at.rest.at, in->at.rest.size);
    struct rows_entry entry;
    if (!rows_next(&r, &entry)) return false;
    in->at.offset = (size_t)(in->at.rest.at - in->text.at);
    in->at.topic = entry.topic;
    in->at.time_ns = entry.time_ns;
    in->at.rest = (struct str){(const char *)r.at, reader_left(&r)};
    json_rows_init(&in->at.json, entry.payload);
    in->at.has_row = false;
    return true;
}

/* Also when it is written with the node's own path before it, as everywhere outside. */
static bool is_device(const struct ingest *in, struct str own, struct str device)
{
    struct str path = in->service->node_path;
    if (path.size && own.size == path.size + 1 + device.size &&
        memcmp(own.at, path.at, path.size) == 0 && own.at[path.size] == '/')
        own = (struct str){own.at + path.size + 1, device.size};
    return str_equal(own, device);
}

/* The topic says whose the row is. A member `device` may only say the same, and a row of nothing is
 * none; one with a time alone is a row whose cells all lack, as Sinks send it. */
static enum err name_row(struct ingest *in, struct str device, struct str table, struct why *why)
{
    struct line *line = in->line;
    struct str own = line->tag_count ? line->tags[0].value : STR("");
    if (own.size && !is_device(in, own, device))
        return why_set(why, ERR_INVALID,
                       "\"device\" is \"%.*s\" and the topic says %.*s: leave the member out",
                       (int)own.size, own.at, (int)device.size, device.at);
    if (!line->field_count && !line->has_time && line->tag_count < 2)
        return why_set(why, ERR_INVALID, "the row holds no value");
    line->measurement = table;
    line->tags[0] = (struct label){STR("device"), device};
    if (!line->tag_count) line->tag_count = 1;
    if (!line->has_time) line->time_ns = in->at.time_ns++;
    line->has_time = true;
    return ERR_OK;
}

static enum err next(struct ingest *in, bool *found, struct why *why)
{
    struct mqtt_ingest *m = (struct mqtt_ingest *)in;
    struct str device, table;
    for (;;) {
        *found = false;
        if (in->at.json.is_over && !next_entry(in)) return ERR_OK;
        in->at.number++;
        enum err err = json_rows_next(&in->at.json, &in->scratch, in->line, found, why);
        bool is_empty = !err && !*found && !in->at.has_row;
        bool is_named = rows_split(in->at.topic, str_of(m->rows->prefix), &device, &table);
        in->at.json.is_over |= err == ERR_SYNTAX || !*found || !is_named;
        in->at.has_row = true;
        *found = true; /* the text goes on behind a bad one */
        if (err) return err;
        if (!is_named)
            return why_set(why, ERR_INVALID,
                           "the topic names no device or no table (data/DEVICE/TABLE)");
        if (is_empty) return why_set(why, ERR_SYNTAX, "the payload holds no row");
        if (in->at.json.is_over) continue; /* the end of this message's rows */
        return name_row(in, device, table, why);
    }
}

void mqtt_rows_refuse(struct broker_rows *rows, size_t *capacity, size_t offset,
                      const struct why *why, enum err err)
{
    rows->refused++;
    const struct rows_refusal *last =
        rows->refusal_count ? &rows->refusals[rows->refusal_count - 1] : NULL;
    if (rows->refusal_count == REFUSALS_MAX || (last && last->offset == offset) ||
        mem_grow(&rows->refusals, capacity, rows->refusal_count + 1, sizeof *rows->refusals))
        return; /* counted all the same */
    struct rows_refusal *r = &rows->refusals[rows->refusal_count++];
    r->offset = offset;
    (void)str_copy(r->text, sizeof r->text, str_of(why_text(why, err)));
}

static void on_refused(struct ingest *in, const struct why *why, enum err err)
{
    struct mqtt_ingest *m = (struct mqtt_ingest *)in;
    mqtt_rows_refuse(m->rows, &m->refusal_capacity, in->at.offset, why, err);
}

static const struct ingest_format format = {.unit = "row",
                                            .begin = begin,
                                            .next = next,
                                            .convert = json_rows_convert,
                                            .label_from = 1,
                                            .no_device = "the topic names no device",
                                            .on_refused = on_refused};

/* ---- storing ---- */

static void on_stored(struct completion *c)
{
    struct mqtt_ingest *m = (struct mqtt_ingest *)c;
    struct broker_rows *rows = m->rows;
    rows->err = c->err;
    rows->why = c->why;
    rows->rows = m->ingest.rows;
    metric_add(m->ingest.service->context, METRIC_ROWS_REFUSED, m->ingest.refused);
    ingest_free(&m->ingest);
    m->done(m->arg, rows);
    mem_free(m);
}

void mqtt_rows_store(struct service *service, struct broker_rows *rows,
                     void (*done)(void *arg, struct broker_rows *rows), void *arg)
{
    struct mqtt_ingest *m = mem_alloc_zero(1, sizeof *m);
    if (!m) {
        rows->err = ERR_NO_MEMORY;
        done(arg, rows);
        return;
    }
    m->rows = rows;
    m->done = done;
    m->arg = arg;
    m->ingest.service = service;
    m->ingest.format = &format;
    m->ingest.identity = rows->identity;
    m->ingest.text = buf_str(&rows->text);
    m->ingest.ns = str_of(rows->identity->ns);
    completion_init(&m->ingest.completion, service->context->main, on_stored);
    ingest_start(&m->ingest);
}
