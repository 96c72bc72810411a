/* stream_rows.c - a batch of a Stream's messages becomes rows (streams.h).
 *
 * In pieces: an intake worker makes rows of messages until there are some hundred kilobytes of
 * them, these are ingested, and when they are stored the next messages' turn comes. So a batch
 * takes a bounded share of memory whatever its messages unfold into, and the rows of one Stream
 * stay in order. Messages that do not fit are noted for their dead letters as they are met; a row
 * that the store refuses (its column has another type) as well. */
#include "listeners/ingest.h"
#include "listeners/mqtt_rows.h"
#include "listeners/streams.h"
#include "mqtt/rows.h"
#include "stream/packed.h"
#include <string.h>

enum { PIECE_BYTES = 512 * 1024, SCRATCH_BYTES = 1024 * 1024 };

struct stream_ingest {
    struct ingest ingest; /* first */
    struct service *service;
    struct stream *stream; /* rows->stream */
    struct broker_rows *rows;
    void (*done)(void *arg, struct broker_rows *rows);
    void *arg;
    size_t refusal_capacity;
    struct str rest; /* of the batch: messages that were not read yet */
    struct buf packed, commands;
    size_t counted; /* of it, in the budget */
    struct job job;
    struct completion read;
};

/* ---- messages to rows, on a worker ---- */

static enum err take(struct stream_ingest *s, const struct mapping_message *message,
                     struct line *row, struct arena *scratch, struct why *why)
{
    size_t count;
    struct sparkplug_taken taken = {
        .row = row, .scratch = scratch, .rows = &s->packed, .commands = &s->commands};
    if (!s->stream->host)
        return mapping_take(s->stream->mapping, message, row, scratch, &s->packed, &count, why);
    enum err err = sparkplug_host_take(s->stream->host, message, &taken, why);
    return err ? err : taken.partial;
}

static enum err read_message(struct stream_ingest *s, const struct rows_entry *entry,
                             struct line *row, struct arena *scratch)
{
    struct mapping_message message = {.topic = entry->topic,
                                      .payload = entry->payload,
                                      .time_ns = entry->time_ns,
                                      .offset = (size_t)(s->rest.at - s->rows->text.at)};
    struct why why = WHY_NONE;
    enum err err = take(s, &message, row, scratch, &why);
    if (err == ERR_NO_MEMORY) return err;
    if (err) mqtt_rows_refuse(s->rows, &s->refusal_capacity, message.offset, &why, err);
    return ERR_OK;
}

static void read_piece(struct job *job)
{
    struct stream_ingest *s =
        (struct stream_ingest *)(void *)((char *)job - offsetof(struct stream_ingest, job));
    struct arena scratch;
    struct rows_entry entry;
    arena_init(&scratch, NULL);
    struct line *row = mem_alloc(sizeof *row);
    enum err err = row ? ERR_OK : ERR_NO_MEMORY;
    while (!err && s->rest.size && s->packed.size < PIECE_BYTES) {
        struct reader in = reader_of(s->rest.at, s->rest.size);
        bool found = rows_next(&in, &entry);
        MUST(found);
        err = read_message(s, &entry, row, &scratch);
        s->rest = (struct str){(const char *)in.at, reader_left(&in)};
        if (scratch.taken_bytes > SCRATCH_BYTES)
            arena_free(&scratch);
        else
            arena_reset(&scratch);
    }
    arena_free(&scratch);
    mem_free(row);
    completion_finish(&s->read, err, NULL);
}

/* ---- rows to the store ---- */

static void begin(struct ingest *in)
{
    in->at = (struct ingest_place){.rest = in->text};
}

static enum err next(struct ingest *in, bool *found, struct why *why)
{
    struct reader r = reader_of(in->at.rest.at, in->at.rest.size);
    bool lacks;
    (void)why;
    in->at.number++;
    *found = packed_next(&r, &in->at.offset, in->line, &in->scratch, &lacks);
    in->at.rest = (struct str){(const char *)r.at, reader_left(&r)};
    return lacks ? ERR_NO_MEMORY : ERR_OK;
}

static void on_refused(struct ingest *in, const struct why *why, enum err err)
{
    struct stream_ingest *s = (struct stream_ingest *)in;
    mqtt_rows_refuse(s->rows, &s->refusal_capacity, in->at.offset, why, err);
}

static const struct ingest_format format = {.unit = "row",
                                            .begin = begin,
                                            .next = next,
                                            .convert = json_rows_convert,
                                            .label_from = 1,
                                            .no_device = "nothing names the device",
                                            .on_refused = on_refused};

static void finish(struct stream_ingest *s, enum err err, const struct why *why)
{
    struct broker_rows *rows = s->rows;
    struct stream *stream = s->stream;
    rows->err = err;
    rows->why = *why;
    stream->messages += rows->messages;
    stream->rows += rows->rows;
    stream->refused += rows->refused;
    if (rows->refusal_count || err) {
        const char *text = err ? why_text(why, err) : rows->refusals[0].text;
        (void)str_copy(stream->last_error, sizeof stream->last_error, str_of(text));
        stream->last_error_ns = context_wall_ns(s->service->context);
    }
    metric_add(s->service->context, METRIC_ROWS_REFUSED, rows->refused);
    buf_free(&s->packed);
    buf_free(&s->commands);
    s->done(s->arg, rows);
    mem_free(s);
}

static void begin_piece(struct stream_ingest *s);

static void on_stored(struct completion *c)
{
    struct stream_ingest *s = (struct stream_ingest *)c;
    enum err err = c->err;
    struct why why = c->why;
    s->rows->rows += s->ingest.rows;
    ingest_free(&s->ingest);
    budget_give(s->service->in_flight, s->counted);
    s->counted = 0;
    if (err || !s->rest.size)
        finish(s, err, &why);
    else
        begin_piece(s);
}

static void on_read(struct completion *c)
{
    struct stream_ingest *s =
        (struct stream_ingest *)(void *)((char *)c - offsetof(struct stream_ingest, read));
    struct service *service = s->service;
    const struct why none = WHY_NONE;
    struct reader commands = reader_of(s->commands.at, s->commands.size);
    struct str topic, payload;
    while (sparkplug_next_command(&commands, &topic, &payload))
        streams_publish(service, s->stream, topic, payload, false);
    buf_clear(&s->commands);
    if (c->err || !s->packed.size) {
        finish(s, c->err, &none);
        return;
    }
    s->counted = s->packed.size;
    budget_overdraw(service->in_flight, s->counted);
    memset(&s->ingest, 0, sizeof s->ingest);
    s->ingest.service = service;
    s->ingest.format = &format;
    s->ingest.identity = s->stream->broker.identity;
    s->ingest.text = buf_str(&s->packed);
    s->ingest.ns = str_of(s->stream->ns);
    completion_init(&s->ingest.completion, service->context->main, on_stored);
    ingest_start(&s->ingest);
}

static void begin_piece(struct stream_ingest *s)
{
    struct context *context = s->service->context;
    const struct why none = WHY_NONE;
    buf_clear(&s->packed);
    s->job.run = read_piece;
    completion_init(&s->read, context->main, on_read);
    if (context->intake)
        pool_post(context->intake, &s->job);
    else
        finish(s, ERR_CANCELLED, &none); /* the node stops */
}

void stream_rows_store(struct service *service, struct broker_rows *rows,
                       void (*done)(void *arg, struct broker_rows *rows), void *arg)
{
    struct stream_ingest *s = mem_alloc_zero(1, sizeof *s);
    MUST(rows->stream && rows->text.size);
    if (!s) {
        rows->err = ERR_NO_MEMORY;
        done(arg, rows);
        return;
    }
    s->service = service;
    s->stream = (struct stream *)rows->stream;
    s->rows = rows;
    s->done = done;
    s->arg = arg;
    s->rest = buf_str(&rows->text);
    begin_piece(s);
}
