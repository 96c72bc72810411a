/* stream_http.c - POST /v1/streams/test: what a Stream would make of a message, without storing
 * anything: {"spec": …, "topic": …, "payload": a text, or "payloadBase64": …}.
 *
 * The answer is the rows, or the reason for which the message would be a dead letter: that is no
 * failure of the request, so it is 200 with "error". Mistakes in the spec are 400, with the field,
 * as when a Stream is made. Whoever may make Streams may try them. It is done at once on the main
 * loop, so the body is small. */
#include "data/json_text.h"
#include "listeners/api.h"
#include "listeners/streams.h"
#include "stream/packed.h"

/* What is tried. */
struct trial {
    struct arena *arena; /* the exchange's */
    struct resource *stream;
    struct mapping *mapping;
    struct mapping_message message;
    struct line *row;
    struct buf packed, commands;
};

static enum err set(struct arena *arena, struct doc *map, const char *key, struct doc *value)
{
    return value && doc_set(arena, map, key, value) ? ERR_OK : ERR_NO_MEMORY;
}

/* The name of the Stream, which its table has if the spec names no other. */
static struct str name_of(const struct doc *doc)
{
    struct str name = doc_text(doc_get(doc, "name"));
    return name.size ? name : STR("test");
}

static enum err read_stream(struct trial *t, const struct doc *doc, struct why *why)
{
    struct arena *arena = t->arena;
    struct doc *spec = doc_get(doc, "spec");
    struct problems problems;
    struct doc *top = doc_new(arena, DOC_MAP), *metadata = doc_new(arena, DOC_MAP);
    enum err err = top && metadata ? ERR_OK : ERR_NO_MEMORY;
    problems_init(&problems, arena);
    if (!spec) return why_set(why, ERR_INVALID, "send {\"spec\":…,\"topic\":…,\"payload\":…}");
    if (!err) err = set(arena, metadata, "name", doc_new_string(arena, name_of(doc)));
    if (!err) err = set(arena, top, "apiVersion", doc_new_string(arena, STR(RESOURCE_API_VERSION)));
    if (!err) err = set(arena, top, "kind", doc_new_string(arena, STR("Stream")));
    if (!err) err = set(arena, top, "metadata", metadata);
    if (!err) err = set(arena, top, "spec", spec);
    return err ? err : resource_read(top, "", &t->stream, &problems, why);
}

static enum err read_message(struct trial *t, const struct doc *doc, struct why *why)
{
    struct str coded = doc_text(doc_get(doc, "payloadBase64"));
    t->message.topic = doc_text(doc_get(doc, "topic"));
    t->message.payload = doc_text(doc_get(doc, "payload"));
    if (!t->message.topic.size) return why_set(why, ERR_INVALID, "the topic is missing");
    if (!coded.size || json_undo_base64(coded, t->arena, &t->message.payload)) return ERR_OK;
    return why_set(why, ERR_INVALID, "payloadBase64 is no base64");
}

static enum err take(struct trial *t, struct why *why)
{
    const struct stream_spec *spec = t->stream->spec;
    struct sparkplug_taken taken = {
        .row = t->row, .scratch = t->arena, .rows = &t->packed, .commands = &t->commands};
    size_t count;
    if (spec->format != MAPPING_SPARKPLUG)
        return mapping_take(t->mapping, &t->message, t->row, t->arena, &t->packed, &count, why);
    struct sparkplug_host *host =
        sparkplug_host_new(t->mapping, spec->sparkplug.rebirth_interval_ns);
    enum err err = host ? sparkplug_host_take(host, &t->message, &taken, why) : ERR_NO_MEMORY;
    sparkplug_host_free(host);
    return err ? err : taken.partial;
}

static void add_pair(struct buf *out, const char *before, struct str key)
{
    buf_add_text(out, before);
    buf_add_json(out, key);
    buf_add_char(out, ':');
}

static void add_row(struct buf *out, const struct line *row)
{
    buf_add_text(out, "{\"table\":");
    buf_add_json(out, row->measurement);
    buf_add_text(out, ",\"device\":");
    buf_add_json(out, row->tags[0].value);
    buf_add_text(out, ",\"time\":\"");
    buf_add_time(out, row->time_ns);
    buf_add_text(out, "\",\"labels\":{");
    for (uint32_t i = 1; i < row->tag_count; i++) {
        add_pair(out, i > 1 ? "," : "", row->tags[i].key);
        buf_add_json(out, row->tags[i].value);
    }
    buf_add_text(out, "},\"columns\":{");
    for (uint32_t i = 0; i < row->field_count; i++) {
        add_pair(out, i ? "," : "", row->fields[i].key);
        value_add_json(out, &row->fields[i].value);
    }
    buf_add_text(out, "}}");
}

static void reply(struct http_exchange *exchange, struct trial *t, enum err err,
                  const struct why *why)
{
    struct buf out = BUF_EMPTY;
    struct reader in = reader_of(t->packed.at, t->packed.size);
    size_t offset, count = 0;
    bool lacks;
    buf_add_text(&out, "{\"rows\":[");
    for (; packed_next(&in, &offset, t->row, t->arena, &lacks); count++) {
        if (count) buf_add_char(&out, ',');
        add_row(&out, t->row);
    }
    buf_add_char(&out, ']');
    if (err) add_pair(&out, ",", STR("error"));
    if (err) buf_add_json(&out, str_of(why_text(why, err)));
    buf_add_char(&out, '}');
    http_reply_buf(exchange, 200, "application/json", &out);
    buf_free(&out);
}

static enum err prepare(struct http_exchange *exchange, struct trial *t, struct why *why)
{
    struct doc *doc = NULL;
    struct mapping_spec wanted;
    struct str ns = {0};
    char table[SCHEMA_NAME_BYTES_MAX + 1], where[64];
    if (!http_query(exchange, "ns", &ns) || !ns.size) ns = STR("default");
    enum err err = doc_read_json(http_request_of(exchange)->body, t->arena, &doc, why);
    if (!err)
        err = access_check(api_identity(exchange), VERB_CREATE, "Stream", ns, name_of(doc), STR(""),
                           why);
    if (!err) err = read_stream(t, doc, why);
    if (!err) err = read_message(t, doc, why);
    if (err) return err;
    stream_mapping_spec(t->stream, table, &wanted);
    t->row = arena_alloc(t->arena, sizeof *t->row);
    return t->row ? mapping_new(&wanted, &t->mapping, where, why) : ERR_NO_MEMORY;
}

void api_stream_test(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct why why = WHY_NONE;
    struct trial t = {.arena = http_arena(exchange)};
    t.message.time_ns = context_wall_ns(service->context);
    enum err err = prepare(exchange, &t, &why);
    if (err) {
        http_reply_error(exchange, err, &why);
    } else {
        err = take(&t, &why);
        if (err == ERR_NO_MEMORY)
            http_reply_error(exchange, err, &why);
        else
            reply(exchange, &t, err, &why);
    }
    mapping_free(t.mapping);
    resource_release(t.stream);
    buf_free(&t.packed);
    buf_free(&t.commands);
}
