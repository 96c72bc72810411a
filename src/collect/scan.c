/* scan.c - which stations and cells of a line answer: `millrace scan`.
 *
 * A scan is cut into steps: one block of cells (as many as one request may carry) of one station. A
 * block that is refused is halved until the cells that exist are known; a station that keeps quiet
 * is left after its first block. Steps are numbered, and a call does those from `from` on for about
 * a second: so nothing of a scan is kept between calls, progress is a number, and a client that
 * went away has stopped it.
 *
 * A scan has one request under way at a time, behind all others, and is silent while polling has
 * something to do (see line.c). Where that cuts a request short, it is asked again. */
#include "collect/collect_priv.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

enum { SCANNING_MAGIC = 0x5343414E, SPANS_MAX = 32, SHORT_TRIES_MAX = 5, BUSY_TRIES_MAX = 3 };
#define PIECE_NS    (1 * TIME_NS_PER_S)
#define GAP_WAIT_NS (5 * TIME_NS_PER_S)

struct scanning {
    uint32_t magic;
    struct collect_scan *request;
    struct line *line;
    struct millrace_scan range;
    uint64_t blocks; /* of a station */
    uint64_t step;   /* the one under way */
    struct {
        uint32_t first, count;
    } spans[SPANS_MAX]; /* of the step's block, still to be asked; the last is next */
    size_t span_count;
    unsigned tries;
    int64_t started_ns, asked_ns; /* mono */
    bool no_memory;
    struct ask ask;
};

static void go_on(struct scanning *scanning);

static bool has_names(const struct line *line)
{
    return DRIVER_HAS(line->config.driver, list);
}

static uint32_t block_cells(const struct scanning *scanning)
{
    return scanning->line->areas[scanning->range.area].cells_max;
}

static uint32_t station_of(const struct scanning *scanning)
{
    return scanning->range.station_first + (uint32_t)(scanning->step / scanning->blocks);
}

static void finish(struct scanning *scanning, enum err err, const struct why *why)
{
    struct collect_scan *request = scanning->request;
    struct why own = WHY_NONE;
    if (!err && scanning->no_memory) err = why_set(&own, ERR_NO_MEMORY, "out of memory");
    request->next = scanning->step;
    scanning->line->scan = NULL;
    scanning->magic = 0;
    mem_free(scanning);
    completion_finish(&request->completion, err, own.text[0] ? &own : why);
}

/* ---- finds ---- */

static struct str copy(struct scanning *scanning, struct str text)
{
    char *at = arena_strdup(&scanning->request->arena, text.at ? text.at : "", text.size);
    if (!at) scanning->no_memory = true;
    return at ? (struct str){at, text.size} : STR("");
}

static struct collect_scan_find *add_find(struct scanning *scanning, enum collect_scan_kind kind)
{
    struct collect_scan *request = scanning->request;
    if (request->find_count == request->find_capacity) {
        size_t capacity = request->find_capacity ? request->find_capacity * 2 : 16;
        struct collect_scan_find *more = arena_zero(&request->arena, capacity, sizeof *more);
        if (!more) {
            scanning->no_memory = true;
            return NULL;
        }
        if (request->find_count) memcpy(more, request->finds, request->find_count * sizeof *more);
        request->finds = more;
        request->find_capacity = capacity;
    }
    struct collect_scan_find *find = &request->finds[request->find_count++];
    *find = (struct collect_scan_find){
        .kind = kind,
        .station = station_of(scanning),
        .area = scanning->line->config.driver->areas[scanning->range.area].name};
    return find;
}

static struct str cell_address(struct scanning *scanning, uint32_t cell)
{
    char text[MILLRACE_WHY_BYTES] = "";
    scanning->line->config.driver->cell_address(station_of(scanning), scanning->range.area, cell,
                                                text);
    return copy(scanning, str_of(text));
}

static void found_cells(struct scanning *scanning, uint32_t first, uint32_t count)
{
    struct collect_scan_find *find = add_find(scanning, COLLECT_SCAN_CELLS);
    if (!find) return;
    find->first = first;
    find->count = count;
    find->address = cell_address(scanning, first);
    find->last_address = cell_address(scanning, first + count - 1);
}

static void found_station(struct scanning *scanning, struct str text)
{
    struct collect_scan_find *find = add_find(scanning, COLLECT_SCAN_STATION);
    if (find) find->text = copy(scanning, str_trim(text));
}

static void found_refusal(struct scanning *scanning, const char *text)
{
    struct collect_scan_find *find = add_find(scanning, COLLECT_SCAN_REFUSAL);
    if (find) find->text = copy(scanning, str_of(text));
}

static void found_name(void *arg, struct millrace_text address, enum millrace_status status)
{
    struct scanning *scanning = arg;
    char name[12];
    struct collect_scan_find *find = add_find(scanning, COLLECT_SCAN_NAME);
    if (!find) return;
    find->address = copy(scanning, (struct str){address.at, address.size});
    if (status) find->text = copy(scanning, str_of(quality_name(ask_quality(status), name)));
}

/* ---- answers ---- */

static void skip_station(struct scanning *scanning)
{
    scanning->span_count = 0;
    scanning->step = (scanning->step / scanning->blocks + 1) * scanning->blocks;
}

/* The span that was asked is done with; so is the step when it was the last. */
static void end_span(struct scanning *scanning)
{
    scanning->tries = 0;
    if (!scanning->span_count) scanning->step++;
}

static void ask_who(struct scanning *scanning);

/* The first answer of a station: now it is worth asking who it is. */
static bool is_first_answer(const struct scanning *scanning, const struct ask *ask)
{
    return scanning->step % scanning->blocks == 0 && ask->kind == ASK_TEST &&
           ask->span.count == (scanning->range.count < block_cells(scanning)
                                   ? scanning->range.count
                                   : block_cells(scanning)) &&
           !has_names(scanning->line) && DRIVER_HAS(scanning->line->config.driver, identify);
}

static void halve(struct scanning *scanning, const struct millrace_span *span)
{
    uint32_t left = span->count / 2;
    MUST(scanning->span_count + 2 <= SPANS_MAX); /* halving 2,000 cells is 11 deep */
    scanning->spans[scanning->span_count].first = span->first + left;
    scanning->spans[scanning->span_count++].count = span->count - left;
    scanning->spans[scanning->span_count].first = span->first;
    scanning->spans[scanning->span_count++].count = left;
}

/* Whether the same is to be asked again: its time was cut short, or the station is busy. */
static bool ask_again(struct scanning *scanning, const struct answer *answer)
{
    int64_t waited = collect_now_ns(scanning->line->collect) - scanning->asked_ns;
    unsigned most = 0;
    if (answer->err == ERR_TIMEOUT && waited < scanning->line->spec->timeout_ns)
        most = SHORT_TRIES_MAX;
    if (answer->status == MILLRACE_BUSY || answer->status == MILLRACE_ACCEPTED)
        most = BUSY_TRIES_MAX;
    return ++scanning->tries <= most;
}

static void take_refusal(struct scanning *scanning, const struct ask *ask,
                         const struct answer *answer)
{
    bool is_size = answer->status == MILLRACE_BAD_ADDRESS || answer->status == MILLRACE_BAD_VALUE;
    if (is_size) {
        if (ask->span.count > 1) halve(scanning, &ask->span);
        return;
    }
    found_refusal(scanning, answer->text); /* this answer would be the same everywhere */
    skip_station(scanning);
}

static void on_answer(struct ask *ask, const struct answer *answer)
{
    struct scanning *scanning = (struct scanning *)((char *)ask - offsetof(struct scanning, ask));
    struct why why = WHY_NONE;
    MUST(scanning->magic == SCANNING_MAGIC);
    bool replied = answer->err == ERR_OK || answer->err == ERR_DEVICE;
    /* Whatever has ended the line says nothing of the station. */
    bool is_lost = answer->err == ERR_CONNECT || answer->err == ERR_CLOSED ||
                   (!replied && !line_is_up(scanning->line));
    if (is_lost) {
        finish(scanning, why_set(&why, answer->err, "%s", answer->text), &why);
        return;
    }
    if (ask->kind == ASK_IDENTIFY) {
        struct str text = {(const char *)answer->payload, answer->payload_bytes};
        if (!answer->err) found_station(scanning, text);
        go_on(scanning);
        return;
    }
    struct ask asked = *ask;
    uint64_t step = scanning->step;
    if (ask_again(scanning, answer)) {
        scanning->spans[scanning->span_count].first = ask->span.first;
        scanning->spans[scanning->span_count++].count = ask->span.count;
        go_on(scanning);
        return;
    }
    bool is_silent = answer->err == ERR_TIMEOUT || answer->status == MILLRACE_NO_PATH ||
                     answer->status == MILLRACE_NO_STATION;
    if (is_silent)
        skip_station(scanning);
    else if (answer->err)
        take_refusal(scanning, &asked, answer);
    else if (has_names(scanning->line))
        scanning->line->config.driver->list(asked.span.area, answer->payload, answer->payload_bytes,
                                            found_name, scanning);
    else
        found_cells(scanning, asked.span.first, asked.span.count);
    bool is_first = replied && !is_silent && is_first_answer(scanning, &asked);
    if (scanning->step == step) end_span(scanning);
    scanning->tries = 0;
    if (is_first && station_of(scanning) == asked.span.station)
        ask_who(scanning);
    else
        go_on(scanning);
}

/* ---- asking ---- */

static void send(struct scanning *scanning, enum ask_kind kind, struct millrace_span span)
{
    struct line *line = scanning->line;
    struct why why = WHY_NONE;
    scanning->ask = (struct ask){.kind = kind,
                                 .span = span,
                                 .station = line_station(line, span.station),
                                 .insists = true,
                                 .is_low = true,
                                 .done = on_answer};
    if (!scanning->ask.station) {
        finish(scanning, why_set(&why, ERR_NO_MEMORY, "out of memory"), &why);
        return;
    }
    scanning->asked_ns = collect_now_ns(line->collect);
    schedule_wake_at(line->collect, scanning->asked_ns); /* never from inside an answer */
    line_ask_low(line, &scanning->ask);
}

static void ask_who(struct scanning *scanning)
{
    send(scanning, ASK_IDENTIFY,
         (struct millrace_span){.station = station_of(scanning), .count = 1});
}

/* The spans of the step: its block. */
static void begin_step(struct scanning *scanning)
{
    const struct millrace_scan *range = &scanning->range;
    uint32_t block = (uint32_t)(scanning->step % scanning->blocks), cells = block_cells(scanning);
    uint32_t done = block * cells;
    uint32_t left = range->count - done;
    scanning->spans[0].first = has_names(scanning->line) ? 0 : range->first + done;
    scanning->spans[0].count = has_names(scanning->line) ? 1 : left < cells ? left : cells;
    scanning->span_count = 1;
}

static void go_on(struct scanning *scanning)
{
    int64_t spent = collect_now_ns(scanning->line->collect) - scanning->started_ns;
    bool is_done = scanning->step >= scanning->request->total;
    if (is_done || scanning->no_memory || (!scanning->span_count && spent >= PIECE_NS)) {
        finish(scanning, ERR_OK, NULL);
        return;
    }
    if (!scanning->span_count) begin_step(scanning);
    scanning->span_count--;
    uint32_t area = scanning->range.area +
                    (has_names(scanning->line) ? (uint32_t)(scanning->step % scanning->blocks) : 0);
    send(scanning, ASK_TEST,
         (struct millrace_span){station_of(scanning), area,
                                scanning->spans[scanning->span_count].first,
                                scanning->spans[scanning->span_count].count});
}

void scan_tick(struct line *line, int64_t now_ns)
{
    struct scanning *scanning = line->scan;
    struct why why = WHY_NONE;
    if (!scanning || now_ns - scanning->asked_ns < GAP_WAIT_NS) return;
    if (!line_take_back(line, &scanning->ask)) return; /* it is under way after all */
    finish(scanning,
           why_set(&why, ERR_BUSY,
                   "polling leaves no gap for a scan on this line: make its intervals longer, or "
                   "turn its devices off meanwhile"),
           &why);
}

int64_t scan_next_ns(const struct line *line)
{
    return line->scan && line->low_first ? line->scan->asked_ns + GAP_WAIT_NS : NEVER_NS;
}

/* ---- beginning ---- */

static enum err check(struct collect *collect, const struct collect_scan *request,
                      struct line **out, struct why *why)
{
    struct line *line = *out = config_find_line(collect, request->ns, request->connection);
    if (!line)
        return why_set(why, ERR_NOT_FOUND, "there is no connection %.*s",
                       (int)request->connection.size, request->connection.at);
    if (!line->is_usable || !line_is_up(line))
        return why_set(why, ERR_CONNECT, "the connection is %s%s%.200s",
                       line->spec->enabled ? "down" : "off: set spec.enabled to true",
                       line->spec->enabled ? ": " : "",
                       line->spec->enabled ? line->stats.last_error : "");
    if (!DRIVER_HAS(line->config.driver, scan_parse) ||
        (!has_names(line) && !DRIVER_HAS(line->config.driver, cell_address)))
        return why_set(why, ERR_UNSUPPORTED, "driver %s has no scan", line->config.driver->name);
    if (line->scan) return why_set(why, ERR_BUSY, "a scan of the connection is under way already");
    return ERR_OK;
}

static enum err parse_range(struct scanning *scanning, struct why *why)
{
    struct millrace_scan *range = &scanning->range;
    const struct line *line = scanning->line;
    char text[MILLRACE_WHY_BYTES] = "";
    struct millrace_text given = {scanning->request->range.at, scanning->request->range.size};
    if (!line->config.driver->scan_parse(&line->config.line, &given, range, text))
        return why_set(why, ERR_INVALID, "%s", text);
    MUST(range->count >= 1 && range->station_last >= range->station_first);
    uint32_t cells = block_cells(scanning);
    scanning->blocks =
        has_names(line) ? range->area_last - range->area + 1u : (range->count + cells - 1u) / cells;
    scanning->request->total =
        (uint64_t)(range->station_last - range->station_first + 1u) * scanning->blocks;
    return ERR_OK;
}

void collect_scan(struct collect *collect, struct collect_scan *request)
{
    struct line *line;
    struct why why = WHY_NONE;
    request->next = request->total = 0;
    request->finds = NULL;
    request->find_count = request->find_capacity = 0;
    arena_init(&request->arena, &collect->context->memory);
    enum err err = check(collect, request, &line, &why);
    struct scanning *scanning = err ? NULL : mem_alloc_zero(1, sizeof *scanning);
    if (!scanning) {
        if (!err) err = why_set(&why, ERR_NO_MEMORY, "out of memory");
        completion_finish(&request->completion, err, &why);
        return;
    }
    scanning->magic = SCANNING_MAGIC;
    scanning->request = request;
    scanning->line = line;
    scanning->step = request->from;
    scanning->started_ns = collect_now_ns(collect);
    line->scan = scanning;
    err = parse_range(scanning, &why);
    if (err)
        finish(scanning, err, &why);
    else
        go_on(scanning);
}

void collect_scan_free(struct collect_scan *scan)
{
    arena_free(&scan->arena);
}
