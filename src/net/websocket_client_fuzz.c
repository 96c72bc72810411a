/* websocket_client_fuzz.c - property: whatever a server answers, the client gets only bytes of
 * binary frames, is told of the end at most once, and nothing leaks. The first byte says how the
 * bytes are cut and whether the handshake is a good one. */
/* covers: src/net/websocket_client.c */
#include "net/websocket_client.h"
#include "net/test_stream.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct side {
    struct os_stream *stream;
    struct buf received;
    unsigned opened, closed, reads;
};

static void on_open(void *owner)
{
    ((struct side *)owner)->opened++;
}

/* Answers, pauses and closes now and then, as a broker may. */
static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct side *s = owner;
    if (s->closed) abort();
    buf_add(&s->received, bytes, size);
    s->reads++;
    if (s->reads % 3 == 0) (void)os_stream_write(s->stream, bytes, size);
    if (s->reads % 5 == 0) os_stream_pause(s->stream, true);
    if (s->reads == 50) os_stream_close(&s->stream);
}

static void on_closed(void *owner, enum err err, const char *text)
{
    struct side *s = owner;
    if (s->closed++ || !err || !text[0]) abort();
}

static const struct os_stream_events events = {
    .on_open = on_open, .on_read = on_read, .on_closed = on_closed};

static void take(void *owner, const uint8_t *bytes, size_t size)
{
    buf_add(&((struct side *)owner)->received, bytes, size);
}

static const struct os_stream_events server_events = {.on_read = take};

static void agree(struct side *server)
{
    static const char lead[] = "Sec-WebSocket-Key: ";
    char accept[WEBSOCKET_ACCEPT_BYTES];
    struct buf out = BUF_EMPTY;
    const char *key = memmem(server->received.at, server->received.size, lead, sizeof lead - 1);
    if (!key) abort();
    websocket_accept_value(key + sizeof lead - 1, accept);
    buf_printf(&out,
               "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
               accept);
    (void)os_stream_write(server->stream, out.at, out.size);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct side client = {NULL}, server = {NULL};
    struct os_stream *below;
    if (size < 1) return 0;
    struct test_net *net = test_net_new();
    if (!net || !test_net_pair(net, bytes[0] >> 1, &below, &server.stream)) abort();
    os_stream_own(server.stream, &server_events, &server);
    if (websocket_wrap_client(test_net_os(net), test_net_task(net), "h:1", "/mqtt", "mqtt", below,
                              &client.stream))
        abort();
    os_stream_own(client.stream, &events, &client);
    below->events->on_open(below->owner); /* as a stream that has just connected */
    test_net_run(net);
    if (bytes[0] & 1) agree(&server);
    (void)os_stream_write(server.stream, bytes + 1, size - 1);
    for (int turn = 0; turn < 4; turn++) {
        test_net_run(net);
        if (client.stream && !client.closed) os_stream_pause(client.stream, false);
        test_net_advance(net, 1);
    }
    if (!client.opened && client.reads) abort();
    os_stream_close(&client.stream);
    test_net_run(net);
    os_stream_close(&server.stream);
    test_net_run(net);
    buf_free(&client.received);
    buf_free(&server.received);
    test_net_free(net);
    return 0;
}
