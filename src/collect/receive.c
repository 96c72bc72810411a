/* receive.c - bytes on their way through the driver: what it finds, and what is not for it.
 *
 * Equipment behind a dial-in modem sends packets of its own between the answers (a registration, a
 * heartbeat). They are known by their bytes, but an answer may hold the same bytes: so what stands
 * before such a packet is shown to the driver first, and only when the driver is done with it is
 * the packet taken for one. */
#include "collect/collect_priv.h"
#include "base/timetext.h"
#include <string.h>

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
    struct in_flight *slot = line_find_slot(line, reply->token);
    if (!slot) return;
    int64_t rtt = collect_now_ns(line->collect) - slot->sent_ns;
    line->stats.rtt_ns += line->stats.rtt_ns ? (rtt - line->stats.rtt_ns) / 16 : rtt;
    if (slot->ask->tries > 1 || slot->ask->is_repeated) line_keep_quiet(line);
    struct ask *ask = line_free_slot(line, slot);
    ask->rtt_ns = rtt;
    ask_replied(line, ask, reply);
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
    line_ready(line_of(out));
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

void line_call_timer(struct line *line)
{
    struct line_out out = make_out(line);
    line->timer_deadline_ns = NEVER_NS;
    line->config.driver->timer(line->driver_state, &out.out);
}

void line_call_opened(struct line *line)
{
    struct line_out out = make_out(line);
    line->config.driver->opened(line->driver_state, &out.out);
}

/* ---- packets between answers ---- */

/* The packet that `bytes` begin with; 0 = none. */
static size_t packet_at(const struct line *line, const uint8_t *bytes, size_t size)
{
    const struct packet *const packets[] = {&line->config.heartbeat, &line->config.registration};
    for (size_t i = 0; i < 2; i++)
        if (packets[i]->size && packets[i]->size <= size &&
            memcmp(bytes, packets[i]->bytes, packets[i]->size) == 0)
            return packets[i]->size;
    return 0;
}

/* Whether `bytes` may be the first part of one. */
static bool may_be_packet(const struct line *line, const uint8_t *bytes, size_t size)
{
    const struct packet *const packets[] = {&line->config.heartbeat, &line->config.registration};
    for (size_t i = 0; i < 2; i++)
        if (size < packets[i]->size && memcmp(bytes, packets[i]->bytes, size) == 0) return true;
    return false;
}

/* Bytes that stand before the first packet. */
static size_t before_packet(const struct line *line, const uint8_t *bytes, size_t size)
{
    if (!line->config.heartbeat.size && !line->config.registration.size) return size;
    size_t at = 0;
    while (at < size && !packet_at(line, bytes + at, size - at)) at++;
    return at;
}

/* Gives the number of bytes that are done with. */
static size_t feed(struct line *line, const uint8_t *bytes, size_t size)
{
    struct line_out out = make_out(line);
    const struct millrace_driver *driver = line->config.driver;
    size_t at = 0;
    while (at < size) {
        const uint8_t *rest = bytes + at;
        size_t left = size - at, packet = packet_at(line, rest, left);
        if (packet) {
            at += packet;
            continue;
        }
        if (!line->in_flight_count && may_be_packet(line, rest, left)) break;
        size_t clean = before_packet(line, rest, left);
        size_t done = driver->receive(line->driver_state, rest, clean, &out.out);
        MUST(done <= clean);
        if (done < clean && clean < left) /* the packet's bytes belong to an answer */
            done += driver->receive(line->driver_state, rest + done, left - done, &out.out);
        MUST(done <= left);
        if (!done) break;
        at += done;
    }
    return at;
}

void line_receive(struct line *line, const uint8_t *bytes, size_t size)
{
    MUST(line->magic == LINE_MAGIC);
    line->stats.bytes_in += size;
    line->received_at_ns = collect_now_ns(line->collect);
    if (line->received.size) {
        buf_add(&line->received, bytes, size);
        bytes = (const uint8_t *)line->received.at;
        size = line->received.size;
    }
    size_t done = feed(line, bytes, size);
    if (size - done > line->config.driver->receive_bytes_max) done = size;
    if (line->received.size)
        buf_drop_front(&line->received, done);
    else
        buf_add(&line->received, bytes + done, size - done);
    if (buf_failed(&line->received)) line->wants_reopen = true;
}
