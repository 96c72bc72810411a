/* test.c - equipment asked once: `millrace test`.
 *
 * Nothing of it is configured or stored. A test goes in front of polling, because a person waits;
 * it is sent once, so that its round trip and its error are those of one exchange. */
#include "collect/collect_priv.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

enum { TESTING_MAGIC = 0x54455354 };

struct testing {
    uint32_t magic;
    struct testing *next; /* of those that wait for the line */
    struct collect_test *request;
    struct line *line;
    struct millrace_point point;
    bool has_address;
    int64_t deadline_ns; /* while it waits for the line; mono */
    struct ask ask;
};

static void finish(struct testing *testing, enum err err, const struct why *why)
{
    struct collect_test *request = testing->request;
    testing->magic = 0;
    mem_free(testing);
    completion_finish(&request->completion, err, why);
}

/* ---- the answer ---- */

static size_t keep(uint8_t out[COLLECT_RAW_BYTES], const uint8_t *bytes, size_t size)
{
    if (size > COLLECT_RAW_BYTES) size = COLLECT_RAW_BYTES;
    if (size) memcpy(out, bytes, size);
    return size;
}

/* The value as the equipment's type has it, without scale. */
static struct value natural_value(struct collect_test *request, const struct millrace_value *raw)
{
    struct value value = {0};
    switch (raw->type) {
    case MILLRACE_BOOL:
        value.type = TYPE_BOOL;
        value.b = raw->b;
        break;
    case MILLRACE_INT:
        value.type = TYPE_BIGINT;
        value.i = raw->i;
        break;
    case MILLRACE_UINT:
        value.type = TYPE_UBIGINT;
        value.u = raw->u;
        break;
    case MILLRACE_DOUBLE:
        value.type = TYPE_DOUBLE;
        value.d = raw->d;
        break;
    case MILLRACE_TEXT:
    case MILLRACE_BYTES:
        value.type = raw->type == MILLRACE_TEXT ? TYPE_TEXT : TYPE_BYTES;
        (void)str_copy(request->text, sizeof request->text,
                       (struct str){raw->text.at, raw->text.size});
        value.s = (struct str){request->text, raw->text.size};
        break;
    }
    return value;
}

static enum err take_value(struct testing *testing, const struct answer *answer, struct why *why)
{
    struct collect_test *request = testing->request;
    struct millrace_value raw;
    char scratch[MILLRACE_SCRATCH_BYTES];
    enum millrace_status status =
        testing->line->config.driver->decode(&testing->point, testing->point.first, answer->payload,
                                             answer->payload_bytes, scratch, &raw);
    if (status) {
        char name[12];
        return why_set(why, ERR_DEVICE, "there is no value: %s",
                       quality_name(ask_quality(status), name));
    }
    request->value = natural_value(request, &raw);
    request->has_value = true;
    return ERR_OK;
}

static void on_answer(struct ask *ask, const struct answer *answer)
{
    struct testing *testing = (struct testing *)((char *)ask - offsetof(struct testing, ask));
    struct collect_test *request = testing->request;
    struct why why = WHY_NONE;
    MUST(testing->magic == TESTING_MAGIC);
    enum err err = answer->err;
    request->rtt_ns = answer->rtt_ns;
    request->frame_size = keep(request->frame, answer->frame, answer->frame_bytes);
    if (err) {
        (void)why_set(&why, err, "%s", answer->text);
    } else {
        if (!DRIVER_HAS(testing->line->config.driver, list)) /* else it holds other values too */
            request->raw_size = keep(request->raw, answer->payload, answer->payload_bytes);
        if (testing->has_address)
            err = take_value(testing, answer, &why);
        else
            (void)str_copy(request->text, sizeof request->text,
                           (struct str){(const char *)answer->payload, answer->payload_bytes});
    }
    finish(testing, err, &why);
}

/* ---- asking ---- */

static void send(struct testing *testing)
{
    const struct millrace_point *at = &testing->point;
    struct line *line = testing->line;
    struct why why = WHY_NONE;
    testing->ask = (struct ask){.kind = testing->has_address ? ASK_TEST : ASK_IDENTIFY,
                                .span = {at->station, at->area, at->first, at->count},
                                .station = line_station(line, at->station),
                                .insists = true,
                                .done = on_answer};
    if (!testing->ask.station) {
        finish(testing, why_set(&why, ERR_NO_MEMORY, "out of memory"), &why);
        return;
    }
    line_ask(line, &testing->ask, true);
    line_pump(line);
}

void test_line_is_up(struct line *line)
{
    while (line->tests) {
        struct testing *testing = line->tests;
        line->tests = testing->next;
        send(testing);
    }
}

void test_line_failed(struct line *line, enum err err, const char *text)
{
    struct why why = WHY_NONE;
    (void)why_set(&why, err, "%s", text);
    while (line->tests) {
        struct testing *testing = line->tests;
        line->tests = testing->next;
        finish(testing, err, &why);
    }
}

void test_tick(struct line *line, int64_t now_ns)
{
    for (const struct testing *testing = line->tests; testing; testing = testing->next) {
        if (testing->deadline_ns > now_ns) continue;
        bool listens = line->config.line.scheme->transport == MILLRACE_LISTEN;
        test_line_failed(line, ERR_CONNECT,
                         listens ? "the equipment has not dialled in" : "cannot connect in time");
        return;
    }
}

int64_t test_next_ns(const struct line *line)
{
    int64_t next = NEVER_NS;
    for (const struct testing *testing = line->tests; testing; testing = testing->next)
        if (testing->deadline_ns < next) next = testing->deadline_ns;
    return next;
}

static void wait_for_line(struct testing *testing)
{
    struct line *line = testing->line;
    testing->deadline_ns = collect_now_ns(line->collect) +
                           line->spec->timeout_ns * (line->spec->retries + 1) + TIME_NS_PER_S;
    testing->next = line->tests;
    line->tests = testing;
    schedule_wake_at(line->collect, testing->deadline_ns);
    if (line->state == LINE_WAITING) line_connect_now(line);
}

/* What the request names, as a point. */
static enum err resolve(struct testing *testing, struct why *why)
{
    const struct collect_test *request = testing->request;
    const struct millrace_driver *driver = testing->line->config.driver;
    char text[MILLRACE_WHY_BYTES] = "";
    struct str type = request->type.size ? request->type : STR("int16");
    struct millrace_point_text given = {{request->address.at, request->address.size},
                                        {type.at, type.size},
                                        {request->order.at, request->order.size}};
    testing->has_address = request->address.size > 0;
    testing->point.station = MILLRACE_STATION_DEFAULT;
    if (testing->has_address)
        return driver->point_parse(&testing->line->config.line, &given, &testing->point, text)
                   ? ERR_OK
                   : why_set(why, ERR_INVALID, "%s", text);
    if (DRIVER_HAS(driver, identify)) return ERR_OK;
    return why_set(
        why, ERR_UNSUPPORTED,
        "driver %s has no question that every device answers: name an address and a type",
        driver->name);
}

static enum err find_line(struct collect *collect, const struct collect_test *request,
                          struct line **line, struct why *why)
{
    *line = config_find_line(collect, request->ns, request->connection);
    if (!*line)
        return why_set(why, ERR_NOT_FOUND, "there is no connection %.*s",
                       (int)request->connection.size, request->connection.at);
    if (!(*line)->is_usable)
        return why_set(why, ERR_INVALID, "the connection is not usable: %s",
                       (*line)->stats.last_error);
    if ((*line)->spec->enabled) return ERR_OK;
    return why_set(why, ERR_CONFLICT, "the connection is off: set spec.enabled to true");
}

void collect_test(struct collect *collect, struct collect_test *request)
{
    struct line *line;
    struct why why = WHY_NONE;
    request->has_value = false;
    request->rtt_ns = 0;
    request->raw_size = request->frame_size = 0;
    request->text[0] = 0;
    enum err err = find_line(collect, request, &line, &why);
    struct testing *testing = err ? NULL : mem_alloc_zero(1, sizeof *testing);
    if (!testing) {
        if (!err) err = why_set(&why, ERR_NO_MEMORY, "out of memory");
        completion_finish(&request->completion, err, &why);
        return;
    }
    testing->magic = TESTING_MAGIC;
    testing->request = request;
    testing->line = line;
    err = resolve(testing, &why);
    if (err)
        finish(testing, err, &why);
    else if (line_is_up(line))
        send(testing);
    else
        wait_for_line(testing);
}
