/* host.c - the host driver: its tables, and a reading as a short conversation.
 *
 * A reading begins with the questions of round 0. Its answer is kept as facts, and the area says
 * what to ask next, until it has no more questions; then the facts become the payload. Nobody is
 * asked twice for what a round has told. */
#include "host.h"
#include <stdio.h>

enum { READINGS_MAX = HOST_AREA_COUNT };

/* One reading under way. */
struct reading {
    bool is_open;
    uint32_t token;
    enum host_area area;
    unsigned round;
    struct host_questions questions; /* of this round */
    struct host_facts facts;
    char texts[HOST_FACT_BYTES]; /* what the facts point to */
    size_t text_bytes;
};

struct host_line {
    struct host_before before;
    struct reading readings[READINGS_MAX];
    struct host_list list;
};

static const struct millrace_scheme schemes[] = {
    {"host", MILLRACE_LOCAL, 0, READINGS_MAX, READINGS_MAX, 0},
    {NULL, MILLRACE_TCP, 0, 0, 0, 0},
};

static const struct millrace_option options[] = {
    {NULL, MILLRACE_OPTION_BOOL, NULL, 0, 0, NULL, NULL},
};

static const struct millrace_area areas[] = {
    [HOST_AREA_CPU] = {"processors", 64, 1, 0, 1, 0},
    [HOST_AREA_MEMORY] = {"memory", 64, 1, 0, 1, 0},
    [HOST_AREA_DISK] = {"file systems", 64, 1, 0, 1, 0},
    [HOST_AREA_IO] = {"disks", 64, 1, 0, 1, 0},
    [HOST_AREA_NET] = {"network", 64, 1, 0, 1, 0},
    [HOST_AREA_TEMPERATURE] = {"temperatures", 64, 1, 0, 1, 0},
    [HOST_AREA_SYSTEM] = {"machine", 64, 1, 0, 1, 0},
    [HOST_AREA_PROCESS] = {"program", 64, 1, 0, 1, 0},
    [HOST_AREA_COUNT] = {NULL, 0, 0, 0, 0, 0},
};

static bool line_init(void *opaque, const struct millrace_line_config *config,
                      char why[MILLRACE_WHY_BYTES])
{
    (void)opaque;
    (void)config;
    (void)why;
    return true;
}

static void line_reset(void *opaque)
{
    struct host_line *line = opaque;
    for (size_t i = 0; i < READINGS_MAX; i++) line->readings[i].is_open = false;
}

static void line_forget(void *opaque, uint32_t token)
{
    struct host_line *line = opaque;
    for (size_t i = 0; i < READINGS_MAX; i++)
        if (line->readings[i].token == token) line->readings[i].is_open = false;
}

/* ---- asking ---- */

static size_t wrap(const struct reading *reading, char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "#%u\n%.*s\n", reading->token, (int)reading->questions.size,
                     reading->questions.text);
    return n > 0 && (size_t)n < out_bytes ? (size_t)n : 0;
}

static void line_read(void *opaque, const struct millrace_span *span, uint32_t token,
                      struct millrace_request *request)
{
    struct host_line *line = opaque;
    size_t i = 0;
    while (i < READINGS_MAX - 1 && line->readings[i].is_open) i++;
    struct reading *reading = &line->readings[i];
    reading->is_open = true;
    reading->token = token;
    reading->area = (enum host_area)span->area;
    reading->round = 0;
    reading->facts.count = reading->text_bytes = 0;
    (void)host_ask(reading->area, 0, &reading->facts, &reading->questions);
    request->size = wrap(reading, (char *)request->bytes, sizeof request->bytes);
}

static enum millrace_status line_write(void *opaque, const struct millrace_point *point,
                                       const struct millrace_value *value, uint32_t token,
                                       struct millrace_request *request)
{
    (void)opaque;
    (void)point;
    (void)value;
    (void)token;
    (void)request;
    return MILLRACE_BAD_FUNCTION; /* never asked for: no point is writable */
}

/* ---- answers ---- */

/* Copies what must outlast the call; empty when it does not fit. */
static struct text keep(struct reading *reading, struct text text)
{
    char *at = reading->texts + reading->text_bytes;
    if (text_size(text) > sizeof reading->texts - reading->text_bytes) return text_of(at, 0);
    memcpy(at, text.at, text_size(text));
    reading->text_bytes += text_size(text);
    return text_of(at, text_size(text));
}

/* "+N\n" and N bytes, or "-\n", for each question of the round. False: the answer is none. */
static bool take_facts(struct reading *reading, struct text body)
{
    struct text questions = text_of(reading->questions.text, reading->questions.size), question,
                head;
    while (text_until(&questions, '\n', &question)) {
        uint64_t size = 0;
        if (!text_until(&body, '\n', &head) || head.at == head.end) return false;
        bool is_there = *head.at == '+';
        head.at++;
        if (is_there && (!text_number(head, &size) || size > text_size(body))) return false;
        struct text answer = {body.at, body.at + size};
        body.at = answer.end;
        if (reading->facts.count == HOST_FACTS_MAX) continue;
        reading->facts.list[reading->facts.count++] =
            (struct host_fact){keep(reading, question), keep(reading, answer), is_there};
    }
    return true;
}

static void send_round(struct reading *reading, struct millrace_out *out)
{
    char request[HOST_QUESTION_BYTES + 64];
    size_t size = wrap(reading, request, sizeof request);
    if (size) out->send(out, request, size);
}

static void finish(struct host_line *line, struct reading *reading, struct millrace_out *out)
{
    struct millrace_reply reply = {.token = reading->token, .status = MILLRACE_GOOD};
    host_take(reading->area, &reading->facts, &line->before, &line->list);
    reply.payload = line->list.bytes;
    reply.payload_bytes = line->list.size;
    reading->is_open = false;
    out->reply(out, &reply);
}

static void take_answer(struct host_line *line, uint64_t token, struct text body,
                        struct millrace_out *out)
{
    struct reading *reading = line->readings;
    struct reading *end = reading + READINGS_MAX;
    while (reading < end && !(reading->is_open && reading->token == token)) reading++;
    if (reading == end) {
        out->stray(out, "an answer that nobody waits for", (const uint8_t *)body.at,
                   text_size(body));
        return;
    }
    if (!take_facts(reading, body)) {
        struct millrace_reply reply = {.token = reading->token,
                                       .status = MILLRACE_PROTOCOL,
                                       .text = "an answer that does not fit the questions",
                                       .frame = (const uint8_t *)body.at,
                                       .frame_bytes = text_size(body)};
        reading->is_open = false;
        out->reply(out, &reply);
        return;
    }
    if (host_ask(reading->area, ++reading->round, &reading->facts, &reading->questions))
        send_round(reading, out);
    else
        finish(line, reading, out);
}

/* "#TOKEN SIZE\n" and SIZE bytes. */
static size_t line_receive(void *opaque, const uint8_t *bytes, size_t size,
                           struct millrace_out *out)
{
    struct host_line *line = opaque;
    struct text rest = text_of((const char *)bytes, size), head;
    for (;;) {
        struct text at = rest, word;
        uint64_t token, body;
        if (!memchr(at.at, '\n', text_size(at)) || !text_until(&at, '\n', &head)) break;
        if (*head.at != '#' || !(head.at++, text_word(&head, &word)) ||
            !text_number(word, &token) || !text_word_number(&head, &body)) {
            out->fail(out, "the answer of the machine cannot be read");
            return size;
        }
        if (text_size(at) < body) break;
        take_answer(line, token, text_of(at.at, (size_t)body), out);
        rest.at = at.at + body;
    }
    return size - text_size(rest);
}

const struct millrace_driver host_driver = {
    .abi = MILLRACE_DRIVER_ABI,
    .size_bytes = sizeof(struct millrace_driver),
    .name = "host",
    .help_en = "the machine that Millrace runs on",
    .help_zh = "Millrace 所在的主机",
    .schemes = schemes,
    .options = options,
    .areas = areas,
    .line_bytes = sizeof(struct host_line),
    .receive_bytes_max = MILLRACE_LOCAL_ANSWER_BYTES + 64,
    .line_init = line_init,
    .line_reset = line_reset,
    .point_parse = host_point_parse,
    .read = line_read,
    .write = line_write,
    .forget = line_forget,
    .receive = line_receive,
    .decode = host_decode,
    .scan_parse = host_scan_parse,
    .list = host_list_payload,
    .measures = host_measures,
};
