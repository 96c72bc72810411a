/* line.c - one connection to equipment: the queue of asks, what goes when, and its life.
 *
 * Everything time-driven is line_tick, called by the one timer of the collector. The queue holds
 * what polling, writes and reads on demand want; beside it there is a place for what a scan wants,
 * which goes only when the queue is empty. Where one request at a time must do (RTU, ASCII), a
 * scan's request also ends before the next cycle begins: nobody waits for a scan. */
#include "collect/collect_priv.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

enum { LOW_NS_MIN = 50000000 }; /* a gap shorter than this is none */

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

static bool can_go(const struct line *line, const struct ask *ask, int64_t now_ns)
{
    return ask->station->in_flight < line->station_in_flight_max &&
           ask->station->busy_until_ns <= now_ns;
}

/* Takes the first ask whose station has room. */
static struct ask *queue_take(struct line *line, int64_t now_ns)
{
    struct ask **link = &line->queue_first, *before = NULL;
    while (*link && !can_go(line, *link, now_ns)) {
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

struct in_flight *line_find_slot(struct line *line, uint32_t token)
{
    for (size_t i = 0; i < LINE_IN_FLIGHT_MAX; i++)
        if (line->in_flight[i].ask && line->in_flight[i].token == token) return &line->in_flight[i];
    return NULL;
}

struct ask *line_free_slot(struct line *line, struct in_flight *slot)
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
    if (ask->kind == ASK_WRITE) {
        if (driver->write(line->driver_state, &ask->writing->point->at, &ask->writing->raw, token,
                          request)) {
            ask_failed(line, ask, ERR_RANGE, "the value does not fit the point's type");
            return false;
        }
    } else if (ask->kind == ASK_IDENTIFY) {
        if (!driver->identify(line->driver_state, ask->span.station, token, request)) {
            ask_failed(line, ask, ERR_UNSUPPORTED, "this line has no way to ask who it is");
            return false;
        }
    } else {
        driver->read(line->driver_state, &ask->span, token, request);
    }
    MUST(request->size > 0 && request->size <= MILLRACE_REQUEST_BYTES);
    return true;
}

/* How long question and answer take to pass over a serial line; the answer's size is taken from
 * above. */
static int64_t transfer_ns(const struct line *line, const struct ask *ask, size_t request_bytes)
{
    if (!line->character_ns) return 0;
    uint32_t bits = line->config.driver->areas[ask->span.area].bits_per_cell;
    size_t answer_bytes = 2 * (((size_t)ask->span.count * bits + 7) / 8) + 16;
    if (ask->kind == ASK_IDENTIFY) answer_bytes = 256;
    return line->character_ns * (int64_t)(request_bytes + answer_bytes);
}

/* When the next cycle of the line begins, as mono time. */
static int64_t next_cycle_ns(const struct line *line)
{
    int64_t next = NEVER_NS;
    for (unsigned c = 0; c < line->class_count; c++) {
        int64_t due = line->classes[c].next_wall_ns - line->collect->clock_offset_ns;
        if (due < next) next = due;
    }
    return next;
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
    int64_t deadline = now + line->spec->timeout_ns + transfer_ns(line, ask, request.size);
    int64_t cycle = ask->is_low && line->in_flight_max == 1 ? next_cycle_ns(line) : NEVER_NS;
    *slot = (struct in_flight){ask, token, now, deadline < cycle ? deadline : cycle, {0}, 0};
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

/* Whether a scan may have the line now. */
static bool has_gap(const struct line *line, int64_t now_ns)
{
    if (!line->low_first || line->queue_first || !can_go(line, line->low_first, now_ns))
        return false;
    if (line->in_flight_max > 1) return line->in_flight_count < line->in_flight_max;
    int64_t cycle = next_cycle_ns(line);
    return line->in_flight_count == 0 && (cycle == NEVER_NS || cycle - now_ns >= LOW_NS_MIN);
}

static void send_what_may_go(struct line *line, int64_t now_ns)
{
    while (line->in_flight_count < line->in_flight_max) {
        struct ask *ask = queue_take(line, now_ns);
        if (!ask) break;
        if (ask->station->is_resting && !ask->insists && ask->kind == ASK_SPAN)
            ask_failed(line, ask, ERR_TIMEOUT, "the station does not answer");
        else
            send_ask(line, ask);
    }
    if (!has_gap(line, now_ns)) return;
    struct ask *low = line->low_first;
    line->low_first = low->next;
    low->next = NULL;
    send_ask(line, low);
}

/* A line may be kept quiet (see line_keep_quiet), and on a serial one silence parts the frames. */
static bool must_wait(struct line *line, int64_t now_ns)
{
    int64_t silent_until = line->silence_ns ? line->received_at_ns + line->silence_ns : 0;
    if (silent_until > line->quiet_until_ns) line->quiet_until_ns = silent_until;
    if (line->quiet_until_ns > now_ns) {
        schedule_wake_at(line->collect, line->quiet_until_ns);
        return true;
    }
    line->quiet_until_ns = 0;
    return false;
}

/* All requests that may go, in one write. */
void line_pump(struct line *line)
{
    if (line->state != LINE_UP || line->wants_reopen || line->wants_fail) return;
    int64_t now = collect_now_ns(line->collect);
    if (must_wait(line, now)) return;
    send_what_may_go(line, now);
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

void line_ask_low(struct line *line, struct ask *ask)
{
    MUST(line->magic == LINE_MAGIC && ask->station && ask->is_low);
    ask->next = line->low_first;
    line->low_first = ask;
}

bool line_take_back(struct line *line, struct ask *ask)
{
    struct ask **link = &line->low_first;
    while (*link && *link != ask) link = &(*link)->next;
    if (!*link) return false;
    *link = ask->next;
    return true;
}

void line_requeue(struct line *line)
{
    for (size_t i = 0; i < LINE_IN_FLIGHT_MAX; i++) {
        if (!line->in_flight[i].ask) continue;
        struct ask *ask = line_free_slot(line, &line->in_flight[i]);
        if (ask->kind == ASK_WRITE) {
            ask_failed(line, ask, ERR_TIMEOUT,
                       "the connection was lost; whether the value arrived is not known");
            continue;
        }
        ask->tries--;
        if (ask->is_low)
            line_ask_low(line, ask);
        else
            queue_push(line, ask, true);
    }
}

/* Where answers carry no mark, one that was given up could pass for the answer to the next request.
 * So after a time-out (and after an answer to a repeated request, of which there may be two) the
 * line keeps quiet for half a time-out, and what arrives meanwhile belongs to nobody. */
void line_keep_quiet(struct line *line)
{
    if (line->has_marks) return;
    line->quiet_until_ns = collect_now_ns(line->collect) + line->spec->timeout_ns / 2;
    schedule_wake_at(line->collect, line->quiet_until_ns);
}

/* Ends all that waits or is under way. The queue is taken first: an answer may put new asks into
 * it. */
void line_fail_all(struct line *line, enum err err, const char *text)
{
    struct ask *lists[2] = {line->queue_first, line->low_first};
    line->queue_first = line->queue_last = line->low_first = NULL;
    for (size_t i = 0; i < LINE_IN_FLIGHT_MAX; i++)
        if (line->in_flight[i].ask)
            ask_failed(line, line_free_slot(line, &line->in_flight[i]), err, text);
    for (size_t i = 0; i < 2; i++)
        while (lists[i]) {
            struct ask *ask = lists[i];
            lists[i] = ask->next;
            ask_failed(line, ask, err, text);
        }
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
    bool is_low = slot->ask->is_low;
    if (!is_low) line_keep_quiet(line);
    ask_timed_out(line, line_free_slot(line, slot));
    if (is_low) return;
    memcpy(line->stats.last_error_frame, frame, frame_size);
    line->stats.last_error_frame_size = frame_size;
}

/* The next pause of a station that ends. */
static void find_busy(struct line *line, int64_t now_ns)
{
    size_t at = 0;
    void *value;
    line->busy_until_ns = NEVER_NS;
    while (map_next(&line->stations, &at, NULL, &value)) {
        int64_t until = ((struct station *)value)->busy_until_ns;
        if (until > now_ns && until < line->busy_until_ns) line->busy_until_ns = until;
    }
}

void line_tick(struct line *line, int64_t now_ns)
{
    MUST(line->magic == LINE_MAGIC);
    if (line->timer_deadline_ns <= now_ns) line_call_timer(line);
    for (size_t i = 0; i < LINE_IN_FLIGHT_MAX && line->in_flight_count; i++)
        if (line->in_flight[i].ask && line->in_flight[i].deadline_ns <= now_ns)
            time_out(line, &line->in_flight[i]);
    if (line->busy_until_ns <= now_ns) find_busy(line, now_ns);
    line_settle_wishes(line);
    if (line->state_deadline_ns <= now_ns) line_state_ended(line);
    test_tick(line, now_ns);
    scan_tick(line, now_ns);
    if (line->probe_at_ns <= now_ns && line->state == LINE_UP) ask_start_probes(line, now_ns);
    line_pump(line);
}

int64_t line_next_ns(const struct line *line)
{
    int64_t next = line->state_deadline_ns;
    if (line->timer_deadline_ns < next) next = line->timer_deadline_ns;
    if (line->state == LINE_UP && line->probe_at_ns < next) next = line->probe_at_ns;
    if (line->quiet_until_ns && line->quiet_until_ns < next) next = line->quiet_until_ns;
    if (line->busy_until_ns < next) next = line->busy_until_ns;
    int64_t test = test_next_ns(line);
    if (test < next) next = test;
    int64_t scan = scan_next_ns(line);
    if (scan < next) next = scan;
    for (size_t i = 0; i < LINE_IN_FLIGHT_MAX && line->in_flight_count; i++)
        if (line->in_flight[i].ask && line->in_flight[i].deadline_ns < next)
            next = line->in_flight[i].deadline_ns;
    return next;
}

/* ---- life ---- */

void line_start(struct line *line)
{
    if (!line->spec->enabled || !line->is_usable) return;
    line_connect_now(line);
}

/* Frames on a serial line are parted by silence: MODBUS over Serial Line V1.02 section 2.5.1.1
 * names 3.5 characters, and 1.75 ms above 19,200 baud. */
static void set_serial(struct line *line)
{
    enum { FIXED_ABOVE_BAUD = 19200, FIXED_NS = 1750000 };
    const struct os_address *address = &line->config.address;
    line->character_ns = os_address_character_ns(address);
    line->silence_ns = line->character_ns * line->config.line.scheme->silence_tenths / 10;
    if (line->silence_ns && address->baud > FIXED_ABOVE_BAUD) line->silence_ns = FIXED_NS;
}

static void set_limits(struct line *line)
{
    const struct millrace_scheme *scheme = line->config.line.scheme;
    const struct millrace_option_value *host = line->config.host;
    unsigned wanted = (unsigned)host[HOST_OPTION_IN_FLIGHT].i;
    const struct millrace_driver *driver = line->config.driver;
    uint32_t most = DRIVER_HAS(driver, in_flight_max) ? driver->in_flight_max(&line->config.line)
                                                      : scheme->in_flight_max;
    line->has_marks = most > 1;
    line->in_flight_max = wanted ? wanted : scheme->in_flight;
    if (line->in_flight_max > most) line->in_flight_max = most;
    set_serial(line);
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
    line->is_usable = line_config_read(line->collect->context, line->spec, line->resource->spec_doc,
                                       &line->config_arena, &line->config, &problems);
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
    line->busy_until_ns = NEVER_NS;
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
    static const char text[] = "the connection was removed or changed";
    line->state = LINE_OFF;
    door_leave(line);
    line_close_stream(line);
    line_fail_all(line, ERR_CLOSED, text);
    test_line_failed(line, ERR_CLOSED, text);
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
