/* host_fuzz.c - properties of the host driver, whatever the machine's files hold.
 *
 * The first byte chooses the area; the rest is what the collector's end sends. Claims: what is
 * consumed lies within what came; a reply answers the open request once; every value of a payload
 * has an address that is understood, and reads without touching anything outside. */
/* covers: drivers/host/host.c drivers/host/measure.c drivers/host/source.c */
#include "host.h"
#include <stdio.h>
#include <stdlib.h>

#define CLAIM(is_true) ((is_true) ? (void)0 : abort())

extern const struct millrace_driver host_driver;
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct peer {
    struct millrace_out out; /* first */
    bool is_open;
    const char *texts; /* answers to every question, in turn */
    size_t left;
    void *line;
    unsigned depth;
};

static void on_name(void *arg, struct millrace_text address, enum millrace_status status)
{
    const struct millrace_reply *reply = arg;
    struct millrace_point point;
    struct millrace_value value;
    char why[MILLRACE_WHY_BYTES], scratch[MILLRACE_SCRATCH_BYTES];
    struct millrace_point_text text = {address, {"", 0}, {"", 0}};
    CLAIM(status < MILLRACE_STATUS_COUNT);
    if (!host_driver.point_parse(NULL, &text, &point, why)) return; /* an empty instance */
    (void)host_driver.decode(&point, 0, reply->payload, reply->payload_bytes, scratch, &value);
}

static void on_reply(struct millrace_out *out, const struct millrace_reply *reply)
{
    struct peer *peer = (struct peer *)out;
    CLAIM(peer->is_open && reply->token == 7);
    peer->is_open = false;
    if (reply->status) return;
    struct millrace_reply copy = *reply;
    host_driver.list(0, reply->payload, reply->payload_bytes, on_name, &copy);
}

static void on_stray(struct millrace_out *out, const char *text, const uint8_t *frame, size_t bytes)
{
    (void)out;
    CLAIM(text && (frame || !bytes));
}

static void on_fail(struct millrace_out *out, const char *text)
{
    (void)out;
    CLAIM(text != NULL);
}

/* Answers each question with the next piece of the input (pieces end with a zero byte). */
static void answer(struct peer *peer, const char *request, size_t size)
{
    char *frame = malloc(262144), *body = malloc(131072);
    struct text rest = text_of(request, size), line;
    size_t n = 0;
    CLAIM(frame && body && text_until(&rest, '\n', &line));
    while (text_until(&rest, '\n', &line) && text_size(line)) {
        const char *end = peer->left ? memchr(peer->texts, 0, peer->left) : NULL;
        size_t piece = end ? (size_t)(end - peer->texts) : peer->left;
        if (piece == 0 || n + piece + 32 > 131072) {
            n += (size_t)sprintf(body + n, "-\n");
        } else {
            n += (size_t)sprintf(body + n, "+%zu\n", piece);
            memcpy(body + n, peer->texts, piece);
            n += piece;
        }
        size_t taken = piece + (end != NULL);
        peer->texts += taken;
        peer->left -= taken;
        if (n > 131000) break;
    }
    int head = sprintf(frame, "#7 %zu\n", n);
    memcpy(frame + head, body, n);
    size_t done =
        host_driver.receive(peer->line, (const uint8_t *)frame, (size_t)head + n, &peer->out);
    CLAIM(done <= (size_t)head + n);
    free(frame);
    free(body);
}

static void on_send(struct millrace_out *out, const void *bytes, size_t size)
{
    struct peer *peer = (struct peer *)out;
    CLAIM(++peer->depth < 8);
    answer(peer, bytes, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct millrace_request request;
    if (size < 1) return 0;
    struct peer peer = {
        .out = {.reply = on_reply, .stray = on_stray, .send = on_send, .fail = on_fail},
        .texts = (const char *)bytes + 1,
        .left = size - 1,
        .line = calloc(1, host_driver.line_bytes)};
    CLAIM(peer.line);
    char why[MILLRACE_WHY_BYTES] = "";
    struct millrace_text range = {(const char *)bytes + 1, size - 1};
    struct millrace_scan scan;
    struct millrace_point point;
    CLAIM(host_driver.line_init(peer.line, NULL, why));
    if (host_driver.scan_parse(NULL, &range, &scan, why))
        CLAIM(scan.area <= scan.area_last && scan.area_last < HOST_AREA_COUNT);
    else
        CLAIM(why[0]);
    if (!host_driver.point_parse(NULL, &(struct millrace_point_text){range, {"", 0}, {"", 0}},
                                 &point, why))
        CLAIM(why[0]);
    for (int twice = 0; twice < 2; twice++) {
        peer.is_open = true;
        peer.depth = 0;
        host_driver.read(peer.line, &(struct millrace_span){0, bytes[0] % HOST_AREA_COUNT, 0, 1}, 7,
                         &request);
        CLAIM(request.size > 0);
        answer(&peer, (const char *)request.bytes, request.size);
        host_driver.forget(peer.line, 7);
    }
    (void)host_driver.receive(peer.line, bytes, size, &peer.out);
    /* The same bytes as the body of an answer to an open request. */
    char *frame = malloc(size + 32);
    CLAIM(frame);
    peer.is_open = true;
    peer.left = 0;
    host_driver.read(peer.line, &(struct millrace_span){0, bytes[0] % HOST_AREA_COUNT, 0, 1}, 7,
                     &request);
    size_t head = (size_t)sprintf(frame, "#7 %zu\n", size);
    memcpy(frame + head, bytes, size);
    CLAIM(host_driver.receive(peer.line, (const uint8_t *)frame, head + size, &peer.out) <=
          head + size);
    host_driver.line_reset(peer.line);
    free(frame);
    free(peer.line);
    return 0;
}
