/* connect.c - the states of a line, and how each transport gets its stream.
 *
 * The states are a table: what to do on entering, how long one may stay, what follows. The
 * transports are a table too. The stream's events only note and move on; a line is never freed
 * inside one of its own events.
 *
 *     OFF → WAITING → CONNECTING → OPENING → UP
 *               ↑__________↓___________↓______↓   (failure: after a pause that doubles, with
 * jitter)
 *
 * Equipment that dials in (LISTEN) may do so in any state; the newest connection is the one that
 * counts, because a modem that lost its line dials again long before the old one is seen to be
 * dead.
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

static enum millrace_transport transport_of(const struct line *line)
{
    return line->config.line.scheme->transport;
}

/* ---- failing ---- */

void line_close_stream(struct line *line)
{
    tls_dial_cancel(line);
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
    void *value;
    while (map_next(&line->stations, &at, NULL, &value)) {
        struct station *station = value;
        station->is_resting = false;
        station->busy_until_ns = 0;
        station->owed = 0;
    }
}

/* Pause before the next attempt: 50 to 90 % of a value that doubles up to maxBackoff, so that a
 * whole plant does not knock at once, and that with the default of 4 s equipment which came back is
 * seen within 5 s. */
static int64_t take_pause(struct line *line)
{
    struct os *os = line->collect->context->os;
    uint32_t random;
    os->ops->random(os, &random, sizeof random);
    if (line->state == LINE_UP || line->backoff_ns == 0) line->backoff_ns = BACKOFF_FIRST_NS;
    int64_t pause = line->backoff_ns / 2 + line->backoff_ns / 1000 * (random % 400);
    line->backoff_ns *= 2;
    if (line->backoff_ns > line->spec->connect_backoff_max_ns)
        line->backoff_ns = line->spec->connect_backoff_max_ns;
    return pause;
}

void line_fail(struct line *line, enum err err, const char *text)
{
    char message[WHY_TEXT_BYTES + OS_HOST_BYTES], peer[OS_HOST_BYTES + 8];
    line->wants_fail = line->wants_reopen = false;
    os_address_print(&line->config.address, peer, sizeof peer);
    snprintf(message, sizeof message, "%s: %s", peer, text);
    if (line->state == LINE_UP || !line->is_settled)
        diag(line->collect->context, DIAG_WARNING, "collect", "connection %.*s: %s",
             (int)line->resource->name.size, line->resource->name.at, message);
    line_note_error(line, message, NULL, 0);
    line->is_settled = true;
    line_close_stream(line);
    enter(line, LINE_WAITING, take_pause(line));
    wake_stations(line);
    line_fail_all(line, err, message);
    test_line_failed(line, err, message);
}

/* ---- the stream's events ---- */

static void on_open(void *owner)
{
    struct line *line = owner;
    MUST(line->magic == LINE_MAGIC && line->state == LINE_CONNECTING);
    enter(line, LINE_OPENING, line->spec->timeout_ns * (line->spec->retries + 1));
    line_settle_wishes(line);
}

static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct line *line = owner;
    line_receive(line, bytes, size);
    line_settle_wishes(line);
    line_pump(line);
}

static void on_closed(void *owner, enum err err, const char *text)
{
    struct line *line = owner;
    MUST(line->magic == LINE_MAGIC);
    line_fail(line, line->state == LINE_CONNECTING && err != ERR_TLS ? ERR_CONNECT : err, text);
}

static const struct os_stream_events stream_events = {on_open, on_read, NULL, on_closed};

/* ---- transports ---- */

/* TCP and serial lines: the address says which. */
static enum err connect_address(struct line *line, struct why *why)
{
    struct context *context = line->collect->context;
    return context->os->ops->stream_connect(context->main->task, &line->config.address,
                                            &stream_events, line, &line->stream, why);
}

static enum err connect_local(struct line *line, struct why *why)
{
    struct collect *collect = line->collect;
    struct loop *files;
    enum err err = collect_files(collect, &files, why);
    return err ? err : local_connect(collect->context, files, &stream_events, line, &line->stream);
}

/* First the certificates are read: a file may keep its reader waiting. */
static enum err connect_tls(struct line *line, struct why *why)
{
    struct loop *files;
    enum err err = collect_files(line->collect, &files, why);
    return err ? err : tls_dial_start(line, files, why);
}

static enum err wrap_tls(struct line *line, struct tls_config *config, struct why *why)
{
    struct context *context = line->collect->context;
    const struct millrace_text *name = &line->config.host[HOST_OPTION_SERVER_NAME].text;
    char host[OS_HOST_BYTES];
    struct os_stream *below;
    if (!str_copy(host, sizeof host,
                  name->size ? (struct str){name->at, name->size}
                             : str_of(line->config.address.host)))
        return why_set(why, ERR_LIMIT, "options.serverName has more than %d bytes",
                       OS_HOST_BYTES - 1);
    enum err err = context->os->ops->stream_connect(context->main->task, &line->config.address,
                                                    NULL, NULL, &below, why);
    if (err) return err;
    err = tls_wrap_client(config, context->os, context->main->task, host, below, &line->stream);
    if (!err) os_stream_own(line->stream, &stream_events, line);
    return err;
}

void line_tls_ready(struct line *line, struct tls_config *config, enum err err,
                    const struct why *why)
{
    struct why own = WHY_NONE;
    MUST(line->magic == LINE_MAGIC && line->state == LINE_CONNECTING);
    if (err) {
        line_fail(line, ERR_TLS, why_text(why, err));
        return;
    }
    err = wrap_tls(line, config, &own);
    if (err) line_fail(line, ERR_CONNECT, why_text(&own, err));
}

static enum err (*const connects[])(struct line *line, struct why *why) = {
    [MILLRACE_TCP] = connect_address, [MILLRACE_SERIAL] = connect_address,
    [MILLRACE_TLS] = connect_tls,     [MILLRACE_LISTEN] = door_enter,
    [MILLRACE_LOCAL] = connect_local,
};

void line_take_stream(struct line *line, struct os_stream *stream, const uint8_t *bytes,
                      size_t size)
{
    MUST(line->magic == LINE_MAGIC && line->state != LINE_OFF);
    if (line->stream) {
        line_close_stream(line);
        line_requeue(line);
    }
    os_stream_own(stream, &stream_events, line);
    line->stream = stream;
    enter(line, LINE_OPENING, line->spec->timeout_ns * (line->spec->retries + 1));
    if (size) line_receive(line, bytes, size);
    line_settle_wishes(line);
    line_pump(line);
}

/* ---- the states ---- */

static void enter_connecting(struct line *line)
{
    struct why why = WHY_NONE;
    enum err err = connects[transport_of(line)](line, &why);
    if (err) line_fail(line, err == ERR_TLS ? ERR_TLS : ERR_CONNECT, why_text(&why, err));
}

static void enter_opening(struct line *line)
{
    if (line->config.driver->line_reset) line->config.driver->line_reset(line->driver_state);
    if (line->config.driver->opened)
        line_call_opened(line);
    else
        enter(line, LINE_UP, NEVER_NS);
}

static void enter_up(struct line *line)
{
    line->is_settled = true;
    line->backoff_ns = BACKOFF_FIRST_NS;
    test_line_is_up(line);
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

void line_ready(struct line *line)
{
    if (line->state == LINE_OPENING) enter(line, LINE_UP, NEVER_NS);
}

void line_connect_now(struct line *line)
{
    int64_t patience = line->spec->timeout_ns * (line->spec->retries + 1);
    if (patience < CONNECT_TRIES_NS_MIN) patience = CONNECT_TRIES_NS_MIN;
    if (transport_of(line) == MILLRACE_LISTEN) patience = NEVER_NS; /* it comes when it comes */
    enter(line, LINE_CONNECTING, patience);
}

void line_state_ended(struct line *line)
{
    if (states[line->state].after_is_failure)
        line_fail(line, ERR_CONNECT,
                  line->state == LINE_CONNECTING ? "no answer to the connection attempt"
                                                 : "the handshake did not end in time");
    else
        line_connect_now(line);
}

/* Connects anew without a pause. Equipment that dials in is sent away: it will dial again. */
static void reopen(struct line *line)
{
    line->wants_reopen = false;
    if (transport_of(line) == MILLRACE_LISTEN) {
        line_fail(line, ERR_TIMEOUT, "the equipment that dialled in does not answer");
        return;
    }
    line_requeue(line);
    line_close_stream(line);
    line_connect_now(line);
}

void line_settle_wishes(struct line *line)
{
    if (line->wants_fail) {
        line_fail(line, ERR_CONNECT, line->fail_text);
    } else if (line->wants_reopen) {
        reopen(line);
    }
}
