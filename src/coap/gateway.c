/* gateway.c - see gateway.h: the library, its life, and what it tells.
 *
 * The library is loaded once for good (os.h); what it exports is checked before it is believed. It
 * is asked to go on whenever its descriptor can be read, which its own timers bring about too. */
#include "coap/gateway_priv.h"
#include <string.h>

static const char component[] = "coap";

enum {
    GATEWAY_MAGIC = 0x63677730,
    TICK_NS = 1000000000,
    HANDSHAKES_MAX = 100,
    IDLE_SESSIONS = 1000
};

_Static_assert((int)COAP_LIBRARY_KEY_BYTES == (int)PSK_KEY_BYTES_MAX, "a key fits");

/* ---- what the library tells ---- */

static void on_request(void *arg, const struct coap_library_request *request,
                       struct coap_library_reply *reply)
{
    struct coap_gateway *g = arg;
    MUST(g->magic == GATEWAY_MAGIC && loop_is_current(g->context->main));
    coap_exchange_begin(g, request, reply);
}

static void on_rejected(void *arg, void *session, struct str token)
{
    struct coap_gateway *g = arg;
    for (struct coap_visitor *v = g->first; v; v = v->next)
        if (v->session == session) coap_exchange_rejected(v, token);
}

static void on_over(void *arg, void *session)
{
    struct coap_gateway *g = arg;
    for (struct coap_visitor *v = g->first; v; v = v->next)
        if (v->session == session) v->is_lost = true;
}

static size_t find_key(void *arg, struct str identity, uint8_t key[COAP_LIBRARY_KEY_BYTES])
{
    struct coap_gateway *g = arg;
    size_t size = g->psk ? tls_psk_find(g->psk, identity, key) : 0;
    if (!size) metric_add(g->context, METRIC_LOGIN_FAILURES, 1);
    return size;
}

static void on_ready(void *arg)
{
    struct coap_gateway *g = arg;
    g->library->process(g->world);
}

static void on_tick(void *arg)
{
    struct coap_gateway *g = arg;
    int64_t now_s = coap_now_s(g);
    for (struct coap_visitor *v = g->first, *next; v; v = next) {
        next = v->next;
        coap_visitor_enter(v);
        coap_exchange_tick(v, now_s);
        coap_visitor_leave(v);
    }
    g->context->os->ops->timer_set(g->timer, TICK_NS);
}

/* ---- life ---- */

static enum err load(struct coap_gateway *g, struct why *why)
{
    struct os *os = g->context->os;
    const struct coap_library *(*entry)(void) = NULL;
    void *symbol = NULL;
    if (!os->ops->library_open || !os->ops->watch_make)
        return why_set(why, ERR_UNSUPPORTED, "this world has no CoAP");
    enum err err =
        os->ops->library_open(os, NULL, COAP_LIBRARY_FILE, COAP_LIBRARY_ENTRY, &symbol, why);
    if (err == ERR_NOT_FOUND)
        return why_set(why, ERR_UNSUPPORTED,
                       "there is no lib/" COAP_LIBRARY_FILE
                       " beside the program: listen.coap and listen.coaps need it");
    if (err) return err;
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast between the two */
    g->library = entry();
    if (g->library->abi != COAP_LIBRARY_ABI || g->library->size_bytes != sizeof *g->library)
        return why_set(why, ERR_UNSUPPORTED,
                       "lib/" COAP_LIBRARY_FILE " is of another version of Millrace");
    return ERR_OK;
}

static enum err open_world(struct coap_gateway *g, const struct coap_gateway_config *config,
                           struct why *why)
{
    char text[200] = "";
    struct coap_library_setup setup = {
        .host = {g, on_request, on_rejected, on_over, find_key},
        .plain_host = config->plain ? config->plain->host : "",
        .plain_port = config->plain ? config->plain->port : 0,
        .secure_host = config->secure ? config->secure->host : "",
        .secure_port = config->secure ? config->secure->port : 0,
        .idle_sessions = IDLE_SESSIONS,
        .handshakes = HANDSHAKES_MAX,
        .idle_s = COAP_IDLE_S,
    };
    if (!g->library->open(&setup, &g->world, text, sizeof text))
        return why_set(why, ERR_ADDRESS_IN_USE, "%s", text);
    return ERR_OK;
}

enum err coap_gateway_start(struct context *context, struct broker *broker,
                            const struct coap_gateway_config *config, struct coap_gateway **out,
                            struct why *why)
{
    const struct os_ops *ops = context->os->ops;
    struct os_task *task = context->main->task;
    MUST(loop_is_current(context->main) && broker && (config->plain || config->secure));
    struct coap_gateway *g = mem_alloc_zero(1, sizeof *g);
    if (!g) return why_set(why, ERR_NO_MEMORY, "no memory for the CoAP gateway");
    g->magic = GATEWAY_MAGIC;
    g->context = context;
    g->broker = broker;
    map_init(&g->by_key);
    budget_init(&g->memory, "CoAP", &context->memory,
                context->memory.limit_bytes / 100 * COAP_BUDGET_PERCENT);
    enum err err = load(g, why);
    if (!err) err = open_world(g, config, why);
    if (!err)
        err = ops->watch_make(task, g->library->descriptor(g->world), on_ready, g, &g->watch, why);
    if (!err) err = ops->timer_make(task, on_tick, g, &g->timer);
    if (err) {
        coap_gateway_stop(g);
        return err;
    }
    ops->timer_set(g->timer, TICK_NS);
    on_ready(g);
    *out = g;
    return ERR_OK;
}

void coap_gateway_set_psk(struct coap_gateway *g, struct tls_psk *psk)
{
    MUST(g->magic == GATEWAY_MAGIC);
    tls_psk_release(g->psk);
    g->psk = psk ? tls_psk_share(psk) : NULL;
}

void coap_gateway_stop(struct coap_gateway *g)
{
    if (!g) return;
    MUST(g->magic == GATEWAY_MAGIC);
    const struct os_ops *ops = g->context->os->ops;
    if (g->watch) ops->watch_close(g->watch);
    if (g->timer) ops->timer_close(g->timer);
    while (g->first) coap_visitor_end(g->first, 0);
    if (g->world) g->library->close(g->world);
    map_free(&g->by_key);
    tls_psk_release(g->psk);
    diag(g->context, DIAG_DEBUG, component, "stopped");
    g->magic = 0;
    mem_free(g);
}
