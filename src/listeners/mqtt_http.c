/* mqtt_http.c - MQTT over WebSocket, at /mqtt of the HTTP listeners (MQTT 5.0 section 6).
 *
 * HTTP lives on the main loop, the broker on its own task: between them lies a channel whose near
 * end is here. Bytes go both ways as they come, whatever frames they came in. Both sides are
 * bounded: a client that sends faster than the broker takes is not read, a broker that sends faster
 * than the client takes sees its bytes queued and holds back, as with a socket.
 *
 * No login is asked for: CONNECT brings one. Who brings none there is who HTTP knows him to be by
 * token or cookie; a cookie counts for pages of this node alone (Origin), since browsers send it
 * along for whoever asks them to. */
#include "listeners/api.h"
#include "listeners/mqtt_server.h"
#include "net/http_message.h"

enum {
    HOLD_BYTES = 64 * 1024, /* on their way in one direction before its source is held */
    CLOSE_GOING_AWAY = 1001,
    CLOSE_NORMAL = 1000, /* RFC 6455 section 7.4.1 */
};

struct mqtt_socket {
    struct websocket *socket; /* NULL = gone */
    struct os_stream *stream; /* NULL = closed */
    unsigned entered;         /* events under way: freed when the last one is over */
};

static void enter(struct mqtt_socket *m)
{
    m->entered++;
}

static void leave(struct mqtt_socket *m)
{
    MUST(m->entered);
    if (--m->entered || m->socket || m->stream) return;
    mem_free(m);
}

/* ---- from the client ---- */

static void on_bytes(void *owner, struct str bytes)
{
    struct mqtt_socket *m = owner;
    if (!m->stream) return;
    /* A failure is told by on_closed. */
    (void)os_stream_write(m->stream, bytes.at, bytes.size);
    if (os_stream_queued(m->stream) > HOLD_BYTES) websocket_pause(m->socket, true);
}

static void on_socket_drained(void *owner)
{
    struct mqtt_socket *m = owner;
    if (m->stream) os_stream_pause(m->stream, false);
}

static void on_socket_closed(void *owner)
{
    struct mqtt_socket *m = owner;
    enter(m);
    m->socket = NULL;
    os_stream_close(&m->stream);
    leave(m);
}

static const struct websocket_events socket_events = {
    .on_bytes = on_bytes, .on_drained = on_socket_drained, .on_closed = on_socket_closed};

/* ---- from the broker ---- */

static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct mqtt_socket *m = owner;
    enter(m);
    bool is_sent = m->socket && websocket_send(m->socket, false,
                                               (struct str){(const char *)bytes, size}, SIZE_MAX);
    if (m->socket && !is_sent) { /* no memory: what comes behind a hole would be read wrongly */
        os_stream_close(&m->stream);
        websocket_close(m->socket, CLOSE_GOING_AWAY, "");
    }
    if (m->socket && m->stream && websocket_queued(m->socket) > HOLD_BYTES)
        os_stream_pause(m->stream, true);
    leave(m);
}

static void on_drained(void *owner)
{
    struct mqtt_socket *m = owner;
    enter(m);
    if (m->socket) websocket_pause(m->socket, false);
    leave(m);
}

static void on_closed(void *owner, enum err err, const char *text)
{
    struct mqtt_socket *m = owner;
    (void)text;
    enter(m);
    os_stream_close(&m->stream);
    if (m->socket)
        websocket_close(m->socket, err == ERR_CLOSED ? CLOSE_NORMAL : CLOSE_GOING_AWAY, "");
    leave(m);
}

static const struct os_stream_events stream_events = {
    .on_read = on_read, .on_drained = on_drained, .on_closed = on_closed};

/* ---- the beginning ---- */

/* Through a browser or a proxy: he who sits behind is not who the address says. */
static bool is_web(const struct http_request *request)
{
    static const char *const signs[] = {"Origin", "Forwarded", "X-Forwarded-For", "Via"};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (http_header(request, signs[i]).at) return true;
    return false;
}

static const char *protocol_of(const struct http_request *request)
{
    struct str offered = http_header(request, "Sec-WebSocket-Protocol");
    return http_list_has(offered, "mqtt")       ? "mqtt"
           : http_list_has(offered, "mqttv3.1") ? "mqttv3.1"
                                                : NULL;
}

static enum err visit(struct http_exchange *exchange, struct service *service,
                      struct os_stream **stream, struct why *why)
{
    const struct http_request *request = http_request_of(exchange);
    if (!protocol_of(request))
        return why_set(why, ERR_INVALID,
                       "this path speaks MQTT over WebSocket: ask for the subprotocol mqtt");
    if (!service->mqtt) return why_set(why, ERR_BUSY, "the MQTT broker does not run");
    struct identity *identity = api_find_identity(exchange, service);
    struct broker_visitor visitor = {.peer = request->peer,
                                     .is_tls = request->is_tls,
                                     .is_web = is_web(request),
                                     .identity = identity};
    enum err err = mqtt_server_visit(service->mqtt, &visitor, stream);
    identity_release(identity);
    return err;
}

void api_mqtt(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct why why = WHY_NONE;
    struct mqtt_socket *m = mem_alloc_zero(1, sizeof *m);
    enum err err = m ? visit(exchange, service, &m->stream, &why) : ERR_NO_MEMORY;
    if (err) {
        mem_free(m);
        http_reply_error(exchange, err, &why);
        return;
    }
    os_stream_own(m->stream, &stream_events, m);
    http_add_header(exchange, "Sec-WebSocket-Protocol", protocol_of(http_request_of(exchange)));
    enter(m);
    m->socket = websocket_accept(exchange, &socket_events, m);
    if (!m->socket) os_stream_close(&m->stream);
    leave(m);
}
