/* arrival.c - how connections come to the broker's task: sockets that the main loop accepted,
 * visitors over a channel, and what has to be read before MQTT begins.
 *
 * Two ways lead in. broker_accept takes a stream that the main loop has just accepted out of that
 * loop and posts its bare socket; broker_visit makes a channel between the two tasks and posts its
 * far end. Either is a struct arrival, which owns what it carries until a connection has taken it
 * (start), or it is dropped. Where the broker has loops of its own for bytes (net/carry.h) a socket
 * goes on to one of them, and TLS with it.
 *
 * Behind a load balancer (mqtt.proxy) a connection begins with a PROXY header, also where TLS
 * follows; until it is read, nobody knows who the peer is. What came behind it is handed on to
 * whoever reads next: TLS, or the connection itself.
 *
 * A connection is counted as half open from here on (limits_arrived) and looked at by its address
 * once that is known (limits_admit, in begin): that is after the header, before the first byte of
 * TLS. The time limit for CONNECT runs from its arrival. Whatever fails ends the connection at
 * once; nobody on the other side has been promised anything yet. */
#include "mqtt/broker_priv.h"
#include "net/proxy.h"

/* Nobody takes it: what it carries is closed. What it holds beside is freed by arrive. */
static void drop(struct arrival *a)
{
    struct os *os = a->broker->context->os;
    if (a->socket) os->ops->socket_drop(os, a->socket);
    os_stream_close(&a->stream);
}

/* ---- what comes before MQTT ---- */

/* TLS if there is any, then MQTT. On failure the stream is gone. */
static enum err begin(struct connection *c, struct os_stream *below, struct tls_config *tls)
{
    struct broker *broker = c->broker;
    c->stream = NULL;
    enum err err =
        tls ? tls_wrap_server(tls, broker->context->os, broker->loop.task, below, &below) : ERR_OK;
    if (err) return err;
    c->stream = below;
    if (!limits_admit(c, connection_peer(c))) {
        os_stream_close(&c->stream);
        return ERR_LIMIT;
    }
    os_stream_own(below, &connection_events, c);
    if (c->is_channel) os_stream_pause(below, false); /* bytes may wait in it already */
    return ERR_OK;
}

/* The header is whole: the rest is the client's. */
static void pass_on(struct connection *c, size_t header_bytes)
{
    MUST(c->input && c->origin && c->origin->is_proxied && header_bytes <= c->input->bytes.size);
    struct os_stream *below = c->stream;
    struct buf bytes = c->input->bytes;
    c->input->bytes = BUF_EMPTY;
    connection_drop_input(c);
    enum err err = begin(c, below, c->origin->tls);
    if (err) {
        connection_end(c, MQTT_REASON_SUCCESS, err == ERR_LIMIT ? NULL : why_text(NULL, err));
        connection_touch(c);
    } else if (bytes.size > header_bytes && below->events->on_read) {
        below->events->on_read(below->owner, (const uint8_t *)bytes.at + header_bytes,
                               bytes.size - header_bytes);
    }
    buf_free(&bytes);
}

/* A piece of the PROXY header, or all of it with what follows. A header that never ends is cut
 * off by proxy_read, which knows how long one may be, and by the time limit of a login. */
static void on_header(void *owner, const uint8_t *bytes, size_t size)
{
    struct connection *c = owner;
    struct proxy_header header;
    struct why why = WHY_NONE;
    MUST(c->magic == CONNECTION_MAGIC);
    if (c->state != CONNECTION_NEW) return;
    enum err err = !connection_keep(c, bytes, size)
                       ? ERR_NO_MEMORY
                       : proxy_read(c->input->bytes.at, c->input->bytes.size, &header, &why);
    if (err == ERR_BUSY) return;
    if (err) {
        connection_end(c, MQTT_REASON_SUCCESS, why_text(&why, err));
        connection_touch(c);
        return;
    }
    if (header.has_source)
        os_address_print(&header.source, c->origin->peer, sizeof c->origin->peer);
    c->is_web |= !header.has_source; /* wherever he is: the balancer's address is not his */
    pass_on(c, header.size);
}

static void on_header_closed(void *owner, enum err err, const char *text)
{
    connection_events.on_closed(owner, err, text);
}

static const struct os_stream_events header_events = {.on_read = on_header,
                                                      .on_closed = on_header_closed};

/* ---- on the broker's task ---- */

/* NULL: the broker's own loop serves the socket. */
static struct carrier *pick_carrier(struct broker *broker)
{
    if (broker->loops && !broker->carriers) broker->carriers = carriers_new(broker->context->os);
    return broker->carriers ? carriers_pick(broker->carriers, broker->loops) : NULL;
}

/* The stream of what has arrived. */
static enum err join(struct connection *c, struct arrival *a)
{
    struct broker *broker = c->broker;
    struct os *os = broker->context->os;
    struct os_stream *below = a->stream;
    enum err err = ERR_OK;
    struct carrier *carrier = a->socket ? pick_carrier(broker) : NULL;
    a->stream = NULL;
    if (carrier) {
        /* Behind a PROXY header TLS begins where the header is read: here. */
        struct tls_config *tls = a->has_proxy ? NULL : a->tls;
        if (tls) a->tls = NULL;
        err = carry(carrier, &broker->loop, a->socket, tls, a->peer, &below);
        c->is_channel = true;
        c->is_carried = !a->has_proxy;
    } else if (a->socket)
        err = os->ops->stream_join(broker->loop.task, a->socket, &header_events, c, &below);
    a->socket = NULL;
    if (err) return err;
    MUST(below); /* an arrival brings a socket or a stream */
    if (!a->has_proxy) return begin(c, below, a->tls);
    c->stream = below;
    struct origin *origin = connection_origin(c);
    if (!origin) {
        os_stream_close(&c->stream);
        return ERR_NO_MEMORY;
    }
    origin->is_proxied = true;
    origin->tls = a->tls;
    a->tls = NULL;
    if (c->is_channel) {
        os_stream_own(below, &header_events, c);
        os_stream_pause(below, false);
    }
    return ERR_OK;
}

/* What is known of a visitor. False: no memory. */
static bool keep_visitor(struct connection *c, struct arrival *a)
{
    struct origin *origin = a->identity || a->psk ? connection_origin(c) : NULL;
    if (!origin) return !a->identity && !a->psk;
    origin->visitor = a->identity;
    origin->psk = a->psk;
    a->identity = NULL;
    a->psk = NULL;
    return true;
}

/* From here on the connection is counted, whatever becomes of it; connection_end takes it back. */
static void start(struct arrival *a)
{
    MUST(broker_is_valid(a->broker) && !a->socket != !a->stream);
    struct broker *broker = a->broker;
    broker->now_ns = loop_mono_ns(&broker->loop);
    struct connection *c = limits_have_place(broker, a->door) ? connection_new(broker) : NULL;
    if (!c) {
        drop(a);
        return;
    }
    c->is_channel = a->stream != NULL;
    c->is_tls = a->tls || a->is_tls;
    c->is_web = a->is_web;
    c->door = (uint8_t)a->door;
    limits_arrived(c);
    bool is_kept = keep_visitor(c, a);
    if (!is_kept) drop(a);
    enum err err = is_kept ? join(c, a) : ERR_NO_MEMORY;
    if (!err) {
        wheel_set(&broker->wheel, &c->timer,
                  broker_now_s(broker) + broker->config.limits.connect_s);
        return;
    }
    connection_end(c, MQTT_REASON_SUCCESS, err == ERR_LIMIT ? NULL : why_text(NULL, err));
    connection_touch(c);
}

/* Frees what no connection has taken. */
static void arrive(struct job *job)
{
    struct arrival *a = (struct arrival *)job;
    if (a->broker->is_stopping)
        drop(a);
    else
        start(a);
    tls_config_release(a->tls);
    identity_release(a->identity);
    mem_free(a->psk);
    mem_free(a);
}

/* ---- on the main loop ---- */

void broker_accept(struct broker *broker, struct os_stream *stream,
                   const struct broker_entry *entry)
{
    MUST(broker_is_valid(broker) && broker->is_started);
    const struct os_ops *ops = broker->context->os->ops;
    struct arrival *a = mem_alloc_zero(1, sizeof *a);
    os_stream_own(stream, NULL, NULL);
    if (a && entry->tls && !(a->tls = tls_config_copy(entry->tls))) {
        mem_free(a);
        a = NULL;
    }
    if (a && a->tls) tls_config_set_psk(a->tls, entry->psk);
    if (a) (void)str_copy(a->peer, sizeof a->peer, str_of(os_stream_peer(stream)));
    if (!a || ops->stream_leave(stream, &a->socket)) {
        if (a)
            tls_config_release(a->tls);
        else
            os_stream_close(&stream);
        mem_free(a);
        metric_add(broker->context, METRIC_MQTT_REFUSED, 1);
        return;
    }
    a->job.run = arrive;
    a->broker = broker;
    a->has_proxy = entry->has_proxy;
    a->door = entry->door;
    loop_post(&broker->loop, &a->job);
}

enum err broker_visit(struct broker *broker, const struct broker_visitor *visitor,
                      struct os_stream **stream)
{
    struct loop *main = broker->context->main;
    MUST(broker->is_started && loop_is_current(main));
    struct arrival *a = mem_alloc_zero(1, sizeof *a);
    bool has_psk = visitor->psk && visitor->psk[0];
    enum err err = a && (!has_psk || (a->psk = mem_strdup(visitor->psk))) ? ERR_OK : ERR_NO_MEMORY;
    if (!err) err = channel_make(main, &broker->loop, visitor->peer, stream, &a->stream);
    if (err) {
        if (a) mem_free(a->psk);
        mem_free(a);
        metric_add(broker->context, METRIC_MQTT_REFUSED, 1);
        return err;
    }
    a->job.run = arrive;
    a->broker = broker;
    a->is_tls = visitor->is_tls;
    a->is_web = visitor->is_web;
    a->door = BROKER_WEB;
    a->identity = visitor->identity ? identity_share(visitor->identity) : NULL;
    loop_post(&broker->loop, &a->job);
    return ERR_OK;
}
