/* ask.c - what follows from how an exchange ended.
 *
 * The answer's status decides by a table: the quality of the values, and whether to try again, to
 * halve the span (a refused address is hunted down by bisection, so that it spoils only itself), or
 * to let the station rest. A resting station costs the others nothing: its values are bad at once,
 * and a probe (one point, one try) asks after it at growing intervals. A busy station is left alone
 * for a pause that doubles with each try.
 *
 * Late answers. Where answers carry no mark (RTU, ASCII), one that comes after its request was
 * given up looks like the answer to the next request of the same station, function and size. How
 * late it is does not matter: as many answers may be owed as reads were given up, and they come in
 * order. So an answer is believed at once only if it cannot be one of those, or if all of those
 * were for the same cells; else it counts as owed, and the read is asked once more. After that the
 * line keeps quiet for a while, as after any repeated request: there may be one answer too many. */
#include "collect/collect_priv.h"
#include "base/timetext.h"
#include <stdio.h>

enum { REST_FIRST_NS = 500000000, BUSY_FIRST_NS = 100000000, OWED_MAX = 8 };
#define REFUSED_RETRY_NS (60 * TIME_NS_PER_S)

static const struct outcome {
    uint32_t quality;
    bool again, halve, rest, pause;
    const char *text;
} outcomes[MILLRACE_STATUS_COUNT] = {
    [MILLRACE_GOOD] = {QUALITY_GOOD, false, false, false, false, "good"},
    [MILLRACE_BAD_ADDRESS] = {(uint32_t)QualityBadNodeIdUnknown, false, true, false, false,
                              "no such address"},
    [MILLRACE_BAD_FUNCTION] = {(uint32_t)QualityBadNotSupported, false, false, false, false,
                               "not supported"},
    [MILLRACE_BAD_VALUE] = {(uint32_t)QualityBadOutOfRange, false, true, false, false,
                            "value refused"},
    [MILLRACE_DEVICE_FAILURE] = {(uint32_t)QualityBadDeviceFailure, false, false, false, false,
                                 "device failure"},
    [MILLRACE_BUSY] = {(uint32_t)QualityBadResourceUnavailable, true, false, false, true, "busy"},
    [MILLRACE_NO_PATH] = {(uint32_t)QualityBadNoCommunication, false, false, true, false,
                          "no path"},
    [MILLRACE_NO_STATION] = {(uint32_t)QualityBadTimeout, true, false, true, false,
                             "no answer behind the gateway"},
    [MILLRACE_BAD_DATA] = {(uint32_t)QualityBadDecodingError, false, false, false, false,
                           "does not decode"},
    [MILLRACE_PROTOCOL] = {(uint32_t)QualityBadCommunicationError, true, false, false, false,
                           "broke the protocol"},
    [MILLRACE_ACCEPTED] = {(uint32_t)QualityBadResourceUnavailable, true, false, false, true,
                           "still working on it"},
    [MILLRACE_NOT_YET] = {(uint32_t)QualityBadWaitingForInitialData, false, false, false, false,
                          "not known yet"},
};

uint32_t ask_quality(enum millrace_status status)
{
    return outcomes[status < MILLRACE_STATUS_COUNT ? status : MILLRACE_BAD_DATA].quality;
}

/* "press01: 1!300001 and 3 more: no answer…" */
static void note(struct line *line, const struct ask *ask, const char *text, const uint8_t *frame,
                 size_t frame_size)
{
    char message[480], more[32] = "";
    const struct point *point = ask->point;
    if (ask->is_low) return; /* a scan expects refusals */
    if (!point) {
        snprintf(message, sizeof message, "station %u: %s", ask->span.station, text);
        line_note_error(line, message, frame, frame_size);
        return;
    }
    if (ask->kind == ASK_SPAN && ask->order_count > 1)
        snprintf(more, sizeof more, " and %zu more", ask->order_count - 1);
    snprintf(message, sizeof message, "%.*s: %.*s%s: %s", (int)point->device->resource->name.size,
             point->device->resource->name.at, (int)point->spec->address.size,
             point->spec->address.at, more, text);
    line_note_error(line, message, frame, frame_size);
}

/* ---- rest ---- */

static void rest(struct line *line, struct ask *ask, uint32_t quality)
{
    struct station *station = ask->station;
    if (!ask->point) return; /* nothing to probe with */
    int64_t now = collect_now_ns(line->collect), max = line->spec->connect_backoff_max_ns * 9 / 10;
    int64_t first = line->spec->timeout_ns > REST_FIRST_NS ? line->spec->timeout_ns : REST_FIRST_NS;
    station->backoff_ns = station->is_resting ? station->backoff_ns * 2 : first;
    if (station->backoff_ns > max) station->backoff_ns = max;
    station->is_resting = true;
    station->rest_quality = quality;
    station->retry_at_ns = now + station->backoff_ns;
    if (ask->kind != ASK_PROBE) {
        station->probe->span = (struct millrace_span){ask->point->at.station, ask->point->at.area,
                                                      ask->point->at.first, ask->point->at.count};
        station->probe->point = ask->point;
    }
    if (station->retry_at_ns < line->probe_at_ns) line->probe_at_ns = station->retry_at_ns;
    schedule_wake_at(line->collect, station->retry_at_ns);
}

void ask_start_probes(struct line *line, int64_t now_ns)
{
    size_t at = 0;
    void *value;
    line->probe_at_ns = NEVER_NS;
    while (map_next(&line->stations, &at, NULL, &value)) {
        struct station *station = value;
        if (!station->is_resting || station->is_probing || !station->probe->point) continue;
        if (station->retry_at_ns > now_ns) {
            if (station->retry_at_ns < line->probe_at_ns) line->probe_at_ns = station->retry_at_ns;
            continue;
        }
        station->is_probing = true;
        station->probe->tries = 0;
        line_ask(line, station->probe, false);
    }
}

/* ---- halves ---- */

/* Splits a refused span at the point in the middle. False: no memory, or nothing to split. */
static bool halve(struct line *line, struct ask *ask)
{
    if (ask->kind != ASK_SPAN || ask->order_count < 2) return false;
    struct cycle *cycle = ask->cycle;
    size_t left = ask->order_count / 2;
    struct ask *other = arena_alloc(&cycle->run, sizeof *other);
    if (!other) return false;
    *other = *ask;
    other->order_first += left;
    other->order_count -= left;
    ask->order_count = left;
    struct ask *const parts[2] = {ask, other};
    for (size_t i = 0; i < 2; i++) {
        uint32_t end = 0;
        struct ask *part = parts[i];
        part->tries = 0;
        part->point = cycle->readings[cycle->order[part->order_first]].point;
        part->span.first = part->point->at.first;
        for (size_t p = part->order_first; p < part->order_first + part->order_count; p++) {
            const struct millrace_point *at = &cycle->readings[cycle->order[p]].point->at;
            if (at->first + at->count > end) end = at->first + at->count;
        }
        part->span.count = end - part->span.first;
    }
    ((struct point *)(uintptr_t)other->point)->starts_span = true;
    cycle->open_count++;
    cycle->has_halved = true;
    line_ask(line, other, true);
    line_ask(line, ask, true);
    return true;
}

/* The hunt is over: this one point is what the station refuses. What was learned about gaps on the
 * way is explained by it, and forgotten. */
static void refuse(struct line *line, struct ask *ask)
{
    struct cycle *cycle = ask->cycle;
    struct point *point = cycle->readings[cycle->order[ask->order_first]].point;
    point->refused_until_ns = collect_now_ns(line->collect) + REFUSED_RETRY_NS;
    if (point->refused_until_ns < line->refused_retry_ns)
        line->refused_retry_ns = point->refused_until_ns;
    line->plan_version++; /* leaves it out until its time has come */
    if (point->is_refused) return;
    point->is_refused = true;
    for (size_t i = 0; cycle->has_halved && i < cycle->reading_count; i++)
        if (cycle->readings[i].point->station == point->station &&
            cycle->readings[i].point->at.area == point->at.area)
            cycle->readings[i].point->starts_span = false;
}

/* ---- endings ---- */

static void finish(struct ask *ask, const struct answer *answer)
{
    switch (ask->kind) {
    case ASK_SPAN: cycle_answer(ask, answer); break;
    case ASK_PROBE: ask->station->is_probing = false; break;
    case ASK_WRITE:
    case ASK_READ_BACK: write_answer(ask, answer); break;
    case ASK_TEST:
    case ASK_IDENTIFY: ask->done(ask, answer); break;
    }
}

/* A write goes once: after a time-out nobody knows whether it arrived. But a station that is busy
 * has said that it did not take it. */
static bool may_try_again(const struct line *line, const struct ask *ask,
                          enum millrace_status status)
{
    bool may = ask->kind == ASK_SPAN || ask->kind == ASK_READ_BACK ||
               (ask->kind == ASK_WRITE && status == MILLRACE_BUSY);
    return may && ask->tries <= (unsigned)line->spec->retries;
}

/* Leaves the station alone: 100 ms after the first try, then twice as long each time. */
static void pause_station(struct line *line, struct station *station, unsigned tries)
{
    int64_t pause = (int64_t)BUSY_FIRST_NS << (tries > 5 ? 5 : tries ? tries - 1 : 0);
    station->busy_until_ns = collect_now_ns(line->collect) + pause;
    if (station->busy_until_ns < line->busy_until_ns) line->busy_until_ns = station->busy_until_ns;
    schedule_wake_at(line->collect, station->busy_until_ns);
}

static bool is_read(const struct ask *ask)
{
    return ask->kind != ASK_WRITE && ask->kind != ASK_IDENTIFY;
}

static bool same_span(const struct millrace_span *a, const struct millrace_span *b)
{
    return a->station == b->station && a->area == b->area && a->first == b->first &&
           a->count == b->count;
}

/* Whether what came may be the answer to a read that was given up; then the ask goes once more. */
static bool may_be_owed(struct line *line, struct ask *ask, const struct millrace_reply *reply)
{
    struct station *station = ask->station;
    if (line->has_marks || !station->owed || !is_read(ask) || reply->status != MILLRACE_GOOD)
        return false;
    if (!station->owed_differs && same_span(&station->owed_span, &ask->span)) return false;
    if (--station->owed == 0) station->owed_differs = false;
    ask->tries--;
    ask->is_repeated = true;
    return true;
}

/* A read without answer: what it asked for may still come. */
static void note_owed(const struct line *line, const struct ask *ask)
{
    struct station *station = ask->station;
    if (line->has_marks || !is_read(ask)) return;
    if (station->owed && !same_span(&station->owed_span, &ask->span)) station->owed_differs = true;
    station->owed_span = ask->span;
    if (station->owed < OWED_MAX) station->owed++;
}

void ask_replied(struct line *line, struct ask *ask, const struct millrace_reply *reply)
{
    enum millrace_status status =
        reply->status < MILLRACE_STATUS_COUNT ? reply->status : MILLRACE_PROTOCOL;
    const struct outcome *outcome = &outcomes[status];
    struct answer answer = {.status = status,
                            .quality = outcome->quality,
                            .text = reply->text ? reply->text : outcome->text,
                            .payload = reply->payload,
                            .payload_bytes = reply->payload_bytes,
                            .rtt_ns = ask->rtt_ns,
                            .frame = reply->frame,
                            .frame_bytes = reply->frame_bytes};
    if (!outcome->rest) ask->station->is_resting = false;
    if (may_be_owed(line, ask, reply)) {
        line_ask(line, ask, true);
        return;
    }
    if (outcome->pause && !ask->is_low) pause_station(line, ask->station, ask->tries);
    if (status == MILLRACE_GOOD || (status == MILLRACE_ACCEPTED && ask->kind == ASK_WRITE)) {
        finish(ask, &answer);
        return;
    }
    answer.err = status == MILLRACE_PROTOCOL ? ERR_PROTOCOL : ERR_DEVICE;
    note(line, ask, answer.text, reply->frame, reply->frame_bytes);
    if (outcome->again && may_try_again(line, ask, status)) {
        line_ask(line, ask, true);
        return;
    }
    if (outcome->halve && halve(line, ask)) return;
    if (outcome->halve && ask->kind == ASK_SPAN) refuse(line, ask);
    if (outcome->rest) rest(line, ask, outcome->quality);
    finish(ask, &answer);
}

void ask_timed_out(struct line *line, struct ask *ask)
{
    char text[160];
    snprintf(text, sizeof text, "no answer after %u %s of %lld ms", ask->tries,
             ask->tries == 1 ? "try" : "tries",
             (long long)(line->spec->timeout_ns / TIME_NS_PER_MS));
    note(line, ask, text, NULL, 0);
    note_owed(line, ask);
    if (may_try_again(line, ask, MILLRACE_NO_STATION)) {
        line_ask(line, ask, true);
        return;
    }
    if (line->received_at_ns < ask->first_sent_ns && ask->kind != ASK_PROBE && ask->point &&
        !ask->station->is_resting)
        line->wants_reopen = true;
    struct answer answer = {.err = ERR_TIMEOUT,
                            .status = MILLRACE_NO_STATION,
                            .quality = (uint32_t)QualityBadTimeout,
                            .text = text};
    rest(line, ask, answer.quality);
    finish(ask, &answer);
}

void ask_failed(struct line *line, struct ask *ask, enum err err, const char *text)
{
    (void)line;
    struct answer answer = {.err = err,
                            .status = MILLRACE_NO_STATION,
                            .quality = (uint32_t)QualityBadNoCommunication,
                            .text = text};
    if (ask->station->is_resting && err == ERR_TIMEOUT) answer.quality = ask->station->rest_quality;
    finish(ask, &answer);
}
