/* line.c - one connection to equipment: its stream, its states, the queue of asks.
 *
 * The states are a table: what to do on entering, how long one may stay, what follows. Everything
 * time-driven is line_tick, called by the one timer of the collector. The stream's events only note
 * and move on; a line is never freed inside one of its own events.
 *
 *     OFF → WAITING → CONNECTING → OPENING → UP
 *               ↑__________↓___________↓______↓   (failure: after a pause that doubles, with
 * jitter)
 *
 * A silent peer (asks given up, not a byte since they were sent) makes the line connect anew at
 * once, keeping its queue: a dead connection is found that way, and late answers of the old one can
 * do no harm. */
#include "collect/collect_priv.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

enum { CONNECT_TRIES_NS_MIN = 1000000000, BACKOFF_FIRST_NS = 100000000 };

static void enter(struct line *line, enum line_state state, int64_t stay_ns);

/* ---- errors and statistics ---- */

void line_note_error(struct line *line, const char *text, const uint8_t *frame, size_t frame_size)
{
    struct collect_connection_row *stats = &line->stats;
    stats->errors++;
    (void)str_copy(stats->last_error, sizeof stats->last_error, str_of(text));
    stats->last_error_time_ns = context_wall_ns(line->collect->context);
    if (frame_size > sizeof stats->last_error_frame) frame_size = sizeof stats->last_error_frame;
    if (frame_size) memcpy(stats->last_error_frame, frame, frame_size);
    stats->last_error_frame_size = frame_size;
}

bool line_is_up(const struct line *line)
{
    return line->state == LINE_UP;
}

/* ---- the queue ---- */

static void queue_push(struct line *line, struct ask *ask, bool front)
{
    ask->next = front ? line->queue_first : NULL;
    if (front) {
        line->queue_first = ask;
        if (!line->queue_last) line->queue_last = ask;
        return;
    }
    if (line->queue_last)
        line->queue_last->next = ask;
    else
        line->queue_first = ask;
    line->queue_last = ask;
}

/* Takes the first ask whose station has room. */
static struct ask *queue_take(struct line *line)
{
    struct ask **link = &line->queue_first, *before = NULL;
    while (*link && (*link)->station->in_flight >= line->station_in_flight_max) {
        before = *link;
        link = &before->next;
    }
    struct ask *ask = *link;
    if (!ask) return NULL;
    *link = ask->next;
    if (line->queue_last == ask) line->queue_last = before;
    ask->next = NULL;
    return ask;
}

static struct in_flight *find_slot(struct line *line, uint32_t token)
{
    for (size_t i = 0; i < LINE_IN_FLIGHT_MAX; i++)
        if (line->in_flight[i].ask && line->in_flight[i].token == token) return &line->in_flight[i];
    return NULL;
}

static struct ask *free_slot(struct line *line, struct in_flight *slot)
{
    struct ask *ask = slot->ask;
    MUST(ask && line->in_flight_count > 0 && ask->station->in_flight > 0);
    slot->ask = NULL;
    line->in_flight_count--;
    ask->station->in_flight--;
    return ask;
}

/* ---- sending ---- */

static bool encode(struct line *line, struct ask *ask, uint32_t token,
                   struct millrace_request *request)
{
    const struct millrace_driver *driver = line->config.driver;
    request->size = 0;
    if (ask->kind != ASK_WRITE) {
        driver->read(line->driver_state, &ask->span, token, request);
    } else if (driver->write(line->driver_state, &ask->writing->point->at, &ask->writing->raw,
                             token, request)) {
        ask_failed(line, ask, ERR_RANGE, "the value does not fit the point's type");
        return false;
    }
    MUST(request->size > 0 && request->size <= MILLRACE_REQUEST_BYTES);
    return true;
}

static void send_ask(struct line *line, struct ask *ask)
{
    struct millrace_request request;
    uint32_t token = ++line->next_token;
    if (!encode(line, ask, token, &request)) return;
    struct in_flight *slot = line->in_flight;
    while (slot->ask) slot++;
    MUST(slot < line->in_flight + LINE_IN_FLIGHT_MAX);
    int64_t now = collect_now_ns(line->collect);
    *slot = (struct in_flight){ask, token, now, now + line->spec->timeout_ns, {0}, 0};
    slot->frame_size = request.size < ERROR_FRAME_BYTES ? request.size : ERROR_FRAME_BYTES;
    memcpy(slot->frame, request.bytes, slot->frame_size);
    if (!ask->tries++) ask->first_sent_ns = now;
    line->in_flight_count++;
    ask->station->in_flight++;
    line->stats.requests++;
    metric_add(line->collect->context, METRIC_COLLECT_REQUESTS, 1);
    buf_add(&line->sending, request.bytes, request.size);
    schedule_wake_at(line->collect, slot->deadline_ns);
}

/* All requests that may go, in one write. */
void line_pump(struct line *line)
{
    if (line->state != LINE_UP || line->wants_reopen || line->wants_fail) return;
    if (line->quiet_until_ns && line->quiet_until_ns > collect_now_ns(line->collect)) return;
    line->quiet_until_ns = 0;
    while (line->in_flight_count < line->in_flight_max) {
        struct ask *ask = queue_take(line);
        if (!ask) break;
        if (ask->station->is_resting && !ask->insists && ask->kind == ASK_SPAN)
            ask_failed(line, ask, ERR_TIMEOUT, "the station does not answer");
        else
            send_ask(line, ask);
    }
    if (!line->sending.size || !line->stream) return;
    enum err err = buf_failed(&line->sending)
                       ? ERR_NO_MEMORY
                       : os_stream_write(line->stream, line->sending.at, line->sending.size);
    line->stats.bytes_out += line->sending.size;
    buf_clear(&line->sending);
    if (err == ERR_NO_MEMORY) line->wants_reopen = true; /* CLOSED: on_closed follows */
}

void line_ask(struct line *line, struct ask *ask, bool front)
{
    MUST(line->magic == LINE_MAGIC && ask->station);
    queue_push(line, ask, front);
}

/* Where answers carry no mark, one that was given up could pass for the answer to the next request.
 * So after a time-out (and after an answer to a repeated request, of which there may be two) the
 * line keeps quiet for half a time-out, and what arrives meanwhile belongs to nobody. */
static void keep_quiet(struct line *line)
{
    if (line->config.line.scheme->in_flight_max > 1) return;
    line->quiet_until_ns = collect_now_ns(line->collect) + line->spec->timeout_ns / 2;
    schedule_wake_at(line->collect, line->quiet_until_ns);
}

/* Ends all that waits or is under way. The queue is taken first: an answer may put new asks into
 * it. */
static void fail_all(struct line *line, enum err err, const char *text)
{
    struct ask *queue = line->queue_first;
    line->queue_first = line->queue_last = NULL;
    for (size_t i = 0; i < LINE_IN_FLIGHT_MAX; i++)
        if (line->in_flight[i].ask)
            ask_failed(line, free_slot(line, &line->in_flight[i]), err, text);
    while (queue) {
        struct ask *ask = queue;
        queue = ask->next;
        ask_failed(line, ask, err, text);
    }
}

/* ---- what the driver finds ---- */

struct line_out {
    struct millrace_out out; /* first */
    struct line *line;
};

static struct line *line_of(struct millrace_out *out)
{
    return ((struct line_out *)out)->line;
}

static void out_reply(struct millrace_out *out, const struct millrace_reply *reply)
{
    struct line *line = line_of(out);
    struct in_flight *slot = find_slot(line, reply->token);
    if (!slot) return;
    int64_t rtt = collect_now_ns(line->collect) - slot->sent_ns;
    line->stats.rtt_ns += line->stats.rtt_ns ? (rtt - line->stats.rtt_ns) / 16 : rtt;
    if (slot->ask->tries > 1) keep_quiet(line);
    ask_replied(line, free_slot(line, slot), reply);
}

static void out_stray(struct millrace_out *out, const char *text, const uint8_t *frame,
                      size_t frame_bytes)
{
    line_note_error(line_of(out), text, frame, frame_bytes);
}

static void out_send(struct millrace_out *out, const void *bytes, size_t size)
{
    struct line *line = line_of(out);
    if (line->stream && os_stream_write(line->stream, bytes, size) == ERR_OK)
        line->stats.bytes_out += size;
}

static void out_ready(struct millrace_out *out)
{
    if (line_of(out)->state == LINE_OPENING) enter(line_of(out), LINE_UP, NEVER_NS);
}

static void out_timer(struct millrace_out *out, uint32_t delay_ms)
{
    struct line *line = line_of(out);
    line->timer_deadline_ns =
        delay_ms ? collect_now_ns(line->collect) + (int64_t)delay_ms * TIME_NS_PER_MS : NEVER_NS;
    schedule_wake_at(line->collect, line->timer_deadline_ns);
}

static void out_fail(struct millrace_out *out, const char *text)
{
    struct line *line = line_of(out);
    line->wants_fail = true;
    (void)str_copy(line->fail_text, sizeof line->fail_text, str_of(text));
}

static struct line_out make_out(struct line *line)
{
    return (struct line_out){{out_reply, out_stray, out_send, out_ready, out_timer, out_fail},
                             line};
}

/* ---- the states ---- */

static void close_stream(struct line *line)
{
    os_stream_close(&line->stream);
    buf_clear(&line->received);
    buf_clear(&line->sending);
    line->timer_deadline_ns = NEVER_NS;
    line->quiet_until_ns = 0;
}

/* A line that was down says nothing about the stations behind it. (A line that is only opened anew
 * does.) */
static void wake_stations(struct line *line)
{
    size_t at = 0;
    void *station;
    while (map_next(&line->stations, &at, NULL, &station))
        ((struct station *)station)->is_resting = false;
}

/* Pause before the next attempt: 50 to 90 % of a value that doubles up to maxBackoff, so that a
 * whole plant does not knock at once, and that with the default of 4 s equipment which came back is
 * seen within 5 s. */
static void line_fail(struct line *line, enum err err, const char *text)
{
    char message[WHY_TEXT_BYTES + OS_HOST_BYTES], peer[OS_HOST_BYTES + 8];
    uint32_t random;
    line->wants_fail = line->wants_reopen = false;
    os_address_print(&line->config.address, peer, sizeof peer);
    snprintf(message, sizeof message, "%s: %s", peer, text);
    if (line->state == LINE_UP || !line->is_settled)
        diag(line->collect->context, DIAG_WARNING, "collect", "connection %.*s: %s",
             (int)line->resource->name.size, line->resource->name.at, message);
    line_note_error(line, message, NULL, 0);
    line->is_settled = true;
    close_stream(line);
    line->collect->context->os->ops->random(line->collect->context->os, &random, sizeof random);
    if (line->state == LINE_UP) line->backoff_ns = BACKOFF_FIRST_NS;
    int64_t pause = line->backoff_ns / 2 + line->backoff_ns / 1000 * (random % 400);
    line->backoff_ns *= 2;
    if (line->backoff_ns > line->spec->connect_backoff_max_ns)
        line->backoff_ns = line->spec->connect_backoff_max_ns;
    enter(line, LINE_WAITING, pause);
    wake_stations(line);
    fail_all(line, err, message);
}

static void on_open(void *owner);
static void on_read(void *owner, const uint8_t *bytes, size_t size);
static void on_closed(void *owner, enum err err, const char *text);
static const struct os_stream_events stream_events = {on_open, on_read, NULL, on_closed};

static void enter_connecting(struct line *line)
{
    struct context *context = line->collect->context;
    struct why why = WHY_NONE;
    enum err err = context->os->ops->stream_connect(context->main->task, &line->config.address,
                                                    &stream_events, line, &line->stream, &why);
    if (err) line_fail(line, ERR_CONNECT, why_text(&why, err));
}

static void enter_opening(struct line *line)
{
    struct line_out out = make_out(line);
    if (line->config.driver->line_reset) line->config.driver->line_reset(line->driver_state);
    if (line->config.driver->opened)
        line->config.driver->opened(line->driver_state, &out.out);
    else
        enter(line, LINE_UP, NEVER_NS);
}

static void enter_up(struct line *line)
{
    line->is_settled = true;
    line->backoff_ns = BACKOFF_FIRST_NS;
    line_pump(line);
}

static const struct state {
    const char *name;
    void (*enter)(struct line *line);
    enum line_state after; /* when the stay ends */
    bool after_is_failure;
    enum collect_state shown;
} states[LINE_STATE_COUNT] = {
    [LINE_OFF] = {"off", NULL, LINE_OFF, false, COLLECT_DISABLED},
    [LINE_WAITING] = {"waiting", NULL, LINE_CONNECTING, false, COLLECT_DOWN},
    [LINE_CONNECTING] = {"connecting", enter_connecting, LINE_WAITING, true, COLLECT_CONNECTING},
    [LINE_OPENING] = {"opening", enter_opening, LINE_WAITING, true, COLLECT_CONNECTING},
    [LINE_UP] = {"up", enter_up, LINE_UP, false, COLLECT_CONNECTED},
};

enum collect_state line_public_state(const struct line *line)
{
    if (line->spec->enabled && !line->is_usable) return COLLECT_DOWN;
    return states[line->state].shown;
}

static void enter(struct line *line, enum line_state state, int64_t stay_ns)
{
    MUST(line->magic == LINE_MAGIC && state < LINE_STATE_COUNT);
    line->state = state;
    line->state_deadline_ns =
        stay_ns == NEVER_NS ? NEVER_NS : collect_now_ns(line->collect) + stay_ns;
    schedule_wake_at(line->collect, line->state_deadline_ns);
    if (states[state].enter) states[state].enter(line);
}

static void connect_now(struct line *line)
{
    int64_t patience = line->spec->timeout_ns * (line->spec->retries + 1);
    enter(line, LINE_CONNECTING, patience > CONNECT_TRIES_NS_MIN ? patience : CONNECT_TRIES_NS_MIN);
}

/* Connects anew without a pause. What was in flight goes back into the queue, its try not counted.
 */
static void reopen(struct line *line)
{
    line->wants_reopen = false;
    for (size_t i = 0; i < LINE_IN_FLIGHT_MAX; i++) {
        if (!line->in_flight[i].ask) continue;
        struct ask *ask = free_slot(line, &line->in_flight[i]);
        if (ask->kind == ASK_WRITE) {
            ask_failed(line, ask, ERR_TIMEOUT,
                       "the connection was lost; whether the value arrived is not known");
            continue;
        }
        ask->tries--;
        queue_push(line, ask, true);
    }
    close_stream(line);
    connect_now(line);
}

static void settle_wishes(struct line *line)
{
    if (line->wants_fail) {
        line_fail(line, ERR_CONNECT, line->fail_text);
    } else if (line->wants_reopen) {
        reopen(line);
    }
}

/* ---- the stream's events ---- */

static void on_open(void *owner)
{
    struct line *line = owner;
    MUST(line->magic == LINE_MAGIC && line->state == LINE_CONNECTING);
    enter(line, LINE_OPENING, line->spec->timeout_ns * (line->spec->retries + 1));
    settle_wishes(line);
}

static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct line *line = owner;
    MUST(line->magic == LINE_MAGIC);
    struct line_out out = make_out(line);
    const struct millrace_driver *driver = line->config.driver;
    line->stats.bytes_in += size;
    line->received_at_ns = collect_now_ns(line->collect);
    if (line->received.size) {
        buf_add(&line->received, bytes, size);
        bytes = (const uint8_t *)line->received.at;
        size = line->received.size;
    }
    size_t done = driver->receive(line->driver_state, bytes, size, &out.out);
    MUST(done <= size);
    if (size - done > driver->receive_bytes_max) done = size;
    if (line->received.size)
        buf_drop_front(&line->received, done);
    else
        buf_add(&line->received, bytes + done, size - done);
    if (buf_failed(&line->received)) line->wants_reopen = true;
    settle_wishes(line);
    line_pump(line);
}

static void on_closed(void *owner, enum err err, const char *text)
{
    struct line *line = owner;
    MUST(line->magic == LINE_MAGIC);
    line_fail(line, line->state == LINE_CONNECTING ? ERR_CONNECT : err, text);
}

/* ---- time ---- */

static void time_out(struct line *line, struct in_flight *slot)
{
    uint8_t frame[ERROR_FRAME_BYTES];
    size_t frame_size = slot->frame_size;
    memcpy(frame, slot->frame, frame_size);
    line->config.driver->forget(line->driver_state, slot->token);
    line->stats.timeouts++;
    metric_add(line->collect->context, METRIC_COLLECT_TIMEOUTS, 1);
    keep_quiet(line);
    ask_timed_out(line, free_slot(line, slot));
    memcpy(line->stats.last_error_frame, frame, frame_size);
    line->stats.last_error_frame_size = frame_size;
}

void line_tick(struct line *line, int64_t now_ns)
{
    MUST(line->magic == LINE_MAGIC);
    if (line->timer_deadline_ns <= now_ns) {
        struct line_out out = make_out(line);
        line->timer_deadline_ns = NEVER_NS;
        line->config.driver->timer(line->driver_state, &out.out);
    }
    for (size_t i = 0; i < LINE_IN_FLIGHT_MAX && line->in_flight_count; i++)
        if (line->in_flight[i].ask && line->in_flight[i].deadline_ns <= now_ns)
            time_out(line, &line->in_flight[i]);
    settle_wishes(line);
    if (line->state_deadline_ns <= now_ns) {
        if (states[line->state].after_is_failure)
            line_fail(line, ERR_CONNECT,
                      line->state == LINE_CONNECTING ? "no answer to the connection attempt"
                                                     : "the handshake did not end in time");
        else
            connect_now(line);
    }
    if (line->probe_at_ns <= now_ns && line->state == LINE_UP) ask_start_probes(line, now_ns);
    line_pump(line);
}

int64_t line_next_ns(const struct line *line)
{
    int64_t next = line->state_deadline_ns;
    if (line->timer_deadline_ns < next) next = line->timer_deadline_ns;
    if (line->state == LINE_UP && line->probe_at_ns < next) next = line->probe_at_ns;
    if (line->quiet_until_ns && line->quiet_until_ns < next) next = line->quiet_until_ns;
    for (size_t i = 0; i < LINE_IN_FLIGHT_MAX && line->in_flight_count; i++)
        if (line->in_flight[i].ask && line->in_flight[i].deadline_ns < next)
            next = line->in_flight[i].deadline_ns;
    return next;
}

/* ---- life ---- */

void line_start(struct line *line)
{
    if (!line->spec->enabled || !line->is_usable) return;
    connect_now(line);
}

static void set_limits(struct line *line)
{
    const struct millrace_scheme *scheme = line->config.line.scheme;
    const struct millrace_option_value *host = line->config.host;
    unsigned wanted = (unsigned)host[HOST_OPTION_IN_FLIGHT].i;
    line->in_flight_max = wanted ? wanted : scheme->in_flight;
    if (line->in_flight_max > scheme->in_flight_max) line->in_flight_max = scheme->in_flight_max;
    line->station_in_flight_max = (unsigned)host[HOST_OPTION_IN_FLIGHT_PER_UNIT].i;
    const struct millrace_area *areas = line->config.driver->areas;
    for (size_t i = 0; areas[i].name; i++) {
        MUST(i < LINE_AREAS_MAX);
        line->areas[i].cells_max = areas[i].read_cells_max;
        line->areas[i].gap_max = (uint32_t)host[HOST_OPTION_MAX_GAP].i * areas[i].gap_factor;
    }
}

/* Reads the configuration; what is wrong with it becomes the line's error. */
static enum err configure(struct line *line)
{
    struct problems problems;
    char why[MILLRACE_WHY_BYTES] = "";
    problems_init(&problems, &line->config_arena);
    line->is_usable = line_config_read(line->spec, line->resource->spec_doc, &line->config_arena,
                                       &line->config, &problems);
    if (problems.no_memory) return ERR_NO_MEMORY;
    if (line->is_usable) {
        line->driver_state = mem_alloc_zero(1, line->config.driver->line_bytes);
        if (!line->driver_state) return ERR_NO_MEMORY;
        line->is_usable =
            line->config.driver->line_init(line->driver_state, &line->config.line, why);
        set_limits(line);
    }
    if (line->is_usable) return ERR_OK;
    char text[WHY_TEXT_BYTES];
    snprintf(text, sizeof text, "%s: %s", problems.first ? problems.first->path : "spec.options",
             problems.first ? problems.first->text : why);
    line_note_error(line, text, NULL, 0);
    return ERR_OK;
}

struct line *line_new(struct collect *collect, struct resource *connection)
{
    struct line *line = mem_alloc_zero(1, sizeof *line);
    if (!line) return NULL;
    line->magic = LINE_MAGIC;
    line->collect = collect;
    line->resource = resource_share(connection);
    line->spec = connection->spec;
    line->state_deadline_ns = line->timer_deadline_ns = NEVER_NS;
    line->refused_retry_ns = line->probe_at_ns = line->tables_again_ns = NEVER_NS;
    line->backoff_ns = BACKOFF_FIRST_NS;
    line->is_dirty = true;
    arena_init(&line->config_arena, NULL);
    arena_init(&line->arena, NULL);
    map_init(&line->stations);
    if (configure(line)) {
        line_free(line);
        return NULL;
    }
    return line;
}

static struct station *station_new(struct line *line, uint32_t id)
{
    struct station *station = mem_alloc_zero(1, sizeof *station);
    struct ask *probe = mem_alloc_zero(1, sizeof *probe);
    if (!station || !probe) {
        mem_free(station);
        mem_free(probe);
        return NULL;
    }
    *station = (struct station){.line = line, .id = id, .probe = probe, .retry_at_ns = NEVER_NS};
    *probe = (struct ask){.kind = ASK_PROBE, .station = station};
    return station;
}

struct station *line_station(struct line *line, uint32_t id)
{
    struct str key = {(const char *)&id, sizeof id};
    struct station *station = map_get(&line->stations, key);
    if (station) return station;
    station = station_new(line, id);
    if (!station || map_put(&line->stations, key, station, NULL) == ERR_OK) return station;
    mem_free(station->probe);
    mem_free(station);
    return NULL;
}

void line_free(struct line *line)
{
    line->state = LINE_OFF;
    close_stream(line);
    fail_all(line, ERR_CLOSED, "the connection was removed or changed");
    for (size_t i = 0; i < LINE_CYCLES_MAX; i++) cycle_free(line->cycles[i]);
    size_t at = 0;
    void *value;
    while (map_next(&line->stations, &at, NULL, &value)) {
        mem_free(((struct station *)value)->probe);
        mem_free(value);
    }
    map_free(&line->stations);
    config_free_devices(line);
    if (line->driver_state && line->config.driver->line_free)
        line->config.driver->line_free(line->driver_state);
    mem_free(line->driver_state);
    buf_free(&line->received);
    buf_free(&line->sending);
    arena_free(&line->config_arena);
    resource_release(line->resource);
    line->magic = 0;
    mem_free(line);
}
