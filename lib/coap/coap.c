/* coap.c - lib/coap.so: the part of the CoAP gateway that is libcoap's (coap/coap_library.h).
 *
 * libcoap is used for messages alone: its sockets, DTLS, retransmission and parser. Its resources,
 * observers and block transfer are not: they know one answer for all clients, while here each
 * client sees what its user may see; and they allocate what a client announces. So every request
 * goes to one handler, the "unknown resource's", and the program decides (src/coap/).
 *
 * libcoap's log is process-wide and goes nowhere: what matters is told to the program. Owned here:
 * the context with its endpoints. Thread: the main loop. */
#include "coap/coap_library.h"
#include <coap3/coap.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct coap_library_world {
    coap_context_t *context;
    struct coap_library_host host;
    uint8_t key[COAP_LIBRARY_KEY_BYTES];
    coap_bin_const_t found; /* the key, as the callback gives it */
};

static struct coap_library_world *world_of(const coap_session_t *session)
{
    return coap_get_app_data(coap_session_get_context(session));
}

/* ---- requests ---- */

static bool take_options(const coap_pdu_t *pdu, struct coap_library_option *options, size_t *count)
{
    coap_opt_iterator_t at;
    coap_opt_t *option;
    (void)coap_option_iterator_init(pdu, &at, COAP_OPT_ALL);
    for (*count = 0; (option = coap_option_next(&at)); (*count)++) {
        if (*count == COAP_LIBRARY_OPTIONS) return false;
        options[*count].number = at.number;
        options[*count].value =
            (struct str){(const char *)coap_opt_value(option), coap_opt_length(option)};
    }
    return true;
}

/* False: it does not fit, and nothing of it may be sent. */
static bool fill(coap_pdu_t *pdu, const struct coap_library_reply *reply)
{
    coap_pdu_set_code(pdu, (coap_pdu_code_t)reply->code);
    for (size_t i = 0; i < reply->option_count; i++)
        if (!coap_add_option(pdu, reply->options[i].number, reply->options[i].size,
                             reply->options[i].bytes))
            return false;
    return !reply->payload.size ||
           coap_add_data(pdu, reply->payload.size, (const uint8_t *)reply->payload.at);
}

static void on_request(coap_resource_t *resource, coap_session_t *session, const coap_pdu_t *pdu,
                       const coap_string_t *query, coap_pdu_t *response)
{
    struct coap_library_world *world = world_of(session);
    struct coap_library_option options[COAP_LIBRARY_OPTIONS];
    struct coap_library_reply reply = {0};
    const coap_bin_const_t *identity = coap_session_get_psk_identity(session);
    coap_bin_const_t token = coap_pdu_get_token(pdu);
    const uint8_t *data = NULL;
    size_t size = 0, count = 0;
    char peer[80];
    (void)resource, (void)query;
    /* libcoap looks at No-Response (RFC 7967) by itself, and wrongly when the response comes later:
     * so only for what is answered at once. */
    coap_opt_iterator_t at;
    bool comes_later = coap_pdu_get_type(pdu) == COAP_MESSAGE_CON ||
                       coap_pdu_get_code(pdu) == COAP_REQUEST_CODE_GET;
    if (!take_options(pdu, options, &count) ||
        (comes_later && coap_check_option(pdu, COAP_OPTION_NORESPONSE, &at))) {
        coap_pdu_set_code(response, COAP_RESPONSE_CODE_BAD_OPTION);
        return;
    }
    if (!coap_get_data(pdu, &size, &data)) size = 0;
    size_t peer_size =
        coap_print_addr(coap_session_get_addr_remote(session), (uint8_t *)peer, sizeof peer - 1);
    peer[peer_size < sizeof peer ? peer_size : sizeof peer - 1] = 0;
    bool is_secure = coap_session_get_proto(session) == COAP_PROTO_DTLS;
    struct coap_library_request request = {
        .session = session,
        .peer = peer,
        .is_secure = is_secure,
        .identity = is_secure && identity
                        ? (struct str){(const char *)identity->s, identity->length}
                        : STR(""),
        .is_confirmable = coap_pdu_get_type(pdu) == COAP_MESSAGE_CON,
        .method = (uint8_t)coap_pdu_get_code(pdu),
        .message_id = (uint16_t)coap_pdu_get_mid(pdu),
        .token = {(const char *)token.s, token.length},
        .options = options,
        .option_count = count,
        .payload = {size ? (const char *)data : "", size},
    };
    world->host.request(world->host.arg, &request, &reply);
    if (!reply.code)
        coap_pdu_set_type(response, COAP_MESSAGE_NON); /* an empty one of this type is not sent */
    else if (!fill(response, &reply))
        coap_pdu_set_code(response, COAP_RESPONSE_CODE_INTERNAL_ERROR);
}

static void on_rejected(coap_session_t *session, const coap_pdu_t *sent,
                        const coap_nack_reason_t reason, const coap_mid_t mid)
{
    struct coap_library_world *world = world_of(session);
    (void)reason, (void)mid;
    if (!sent) return;
    coap_bin_const_t token = coap_pdu_get_token(sent);
    world->host.rejected(world->host.arg, session,
                         (struct str){(const char *)token.s, token.length});
}

static int on_event(coap_session_t *session, const coap_event_t event)
{
    struct coap_library_world *world = world_of(session);
    if (event == COAP_EVENT_SERVER_SESSION_DEL || event == COAP_EVENT_DTLS_CLOSED ||
        event == COAP_EVENT_DTLS_ERROR)
        world->host.over(world->host.arg, session);
    return 0;
}

/* ---- keys ---- */

static const coap_bin_const_t *on_identity(coap_bin_const_t *identity, coap_session_t *session,
                                           void *arg)
{
    struct coap_library_world *world = arg;
    (void)session;
    size_t size = world->host.key(
        world->host.arg, (struct str){(const char *)identity->s, identity->length}, world->key);
    world->found = (coap_bin_const_t){size, world->key};
    return size ? &world->found : NULL;
}

static bool set_keys(struct coap_library_world *world)
{
    /* No key of its own: one is asked for by each identity. libcoap wants to see one here. */
    static const uint8_t nothing[1];
    coap_dtls_spsk_t setup = {.version = COAP_DTLS_SPSK_SETUP_VERSION,
                              .validate_id_call_back = on_identity,
                              .id_call_back_arg = world,
                              .psk_info = {{0, nothing}, {0, nothing}}};
    return coap_dtls_is_supported() && coap_context_set_psk2(world->context, &setup);
}

/* ---- life ---- */

static bool listen_at(struct coap_library_world *world, const char *host, uint16_t port,
                      coap_proto_t proto, char *text, size_t text_bytes)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char service[8];
    coap_address_t address;
    if (!host[0]) return true;
    snprintf(service, sizeof service, "%u", port);
    int failed = getaddrinfo(host, service, &hints, &found);
    bool is_open = false;
    if (!failed && found->ai_addrlen <= sizeof address.addr) {
        coap_address_init(&address);
        address.size = found->ai_addrlen;
        memcpy(&address.addr, found->ai_addr, found->ai_addrlen);
        is_open = coap_new_endpoint(world->context, &address, proto) != NULL;
    }
    if (!failed) freeaddrinfo(found);
    if (!is_open)
        snprintf(text, text_bytes, "cannot listen on udp %s:%u: %s", host, port,
                 failed ? gai_strerror(failed) : "the address is in use, or not this machine's");
    return is_open;
}

static void close_world(struct coap_library_world *world)
{
    if (world->context) coap_free_context(world->context);
    memset(world, 0, sizeof *world); /* a key may lie in it */
    free(world);
}

static void say_nothing(coap_log_t level, const char *message)
{
    (void)level, (void)message;
}

static bool add_resource(coap_context_t *context)
{
    /* The last three are refused by the program: left out here they would find no resource. */
    static const coap_request_t methods[] = {COAP_REQUEST_GET,    COAP_REQUEST_POST,
                                             COAP_REQUEST_DELETE, COAP_REQUEST_FETCH,
                                             COAP_REQUEST_PATCH,  COAP_REQUEST_IPATCH};
    coap_resource_t *all = coap_resource_unknown_init(on_request);
    if (!all) return false;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        coap_register_request_handler(all, methods[i], on_request);
    coap_add_resource(context, all);
    return true;
}

static bool open_world(const struct coap_library_setup *setup, struct coap_library_world **out,
                       char *text, size_t text_bytes)
{
    struct coap_library_world *world = calloc(1, sizeof *world);
    snprintf(text, text_bytes, "no memory");
    coap_startup();
    coap_set_log_handler(say_nothing);
    if (!world || !(world->context = coap_new_context(NULL))) {
        free(world);
        return false;
    }
    world->host = setup->host;
    coap_set_app_data(world->context, world);
    coap_context_set_block_mode(world->context, 0);
    coap_context_set_max_idle_sessions(world->context, setup->idle_sessions);
    coap_context_set_max_handshake_sessions(world->context, setup->handshakes);
    coap_context_set_session_timeout(world->context, setup->idle_s);
    coap_register_nack_handler(world->context, on_rejected);
    coap_register_event_handler(world->context, on_event);
    bool good = add_resource(world->context);
    if (good && setup->secure_host[0] && !set_keys(world)) {
        snprintf(text, text_bytes, "this libcoap has no DTLS with keys");
        good = false;
    }
    good =
        good &&
        listen_at(world, setup->plain_host, setup->plain_port, COAP_PROTO_UDP, text, text_bytes) &&
        listen_at(world, setup->secure_host, setup->secure_port, COAP_PROTO_DTLS, text, text_bytes);
    if (!good)
        close_world(world);
    else
        *out = world;
    return good;
}

static int descriptor_of(const struct coap_library_world *world)
{
    return coap_context_get_coap_fd(world->context);
}

static void process(struct coap_library_world *world)
{
    (void)coap_io_process(world->context, COAP_IO_NO_WAIT);
}

static bool send_reply(void *session, enum coap_library_type type, uint16_t message_id,
                       struct str token, const struct coap_library_reply *reply)
{
    static const coap_pdu_type_t types[] = {[COAP_LIBRARY_CONFIRMABLE] = COAP_MESSAGE_CON,
                                            [COAP_LIBRARY_PLAIN] = COAP_MESSAGE_NON,
                                            [COAP_LIBRARY_ACK] = COAP_MESSAGE_ACK};
    coap_session_t *s = session;
    coap_mid_t id = type == COAP_LIBRARY_ACK ? message_id : coap_new_message_id(s);
    coap_pdu_t *pdu =
        coap_pdu_init(types[type], (coap_pdu_code_t)reply->code, id, coap_session_max_pdu_size(s));
    if (!pdu) return false;
    bool has_token = token.size && reply->code;
    if ((has_token && !coap_add_token(pdu, token.size, (const uint8_t *)token.at)) ||
        !fill(pdu, reply)) {
        coap_delete_pdu(pdu);
        return false;
    }
    return coap_send(s, pdu) != COAP_INVALID_MID;
}

static void hold(void *session)
{
    (void)coap_session_reference(session);
}

static void release(void *session)
{
    coap_session_release(session);
}

static const struct coap_library library = {.abi = COAP_LIBRARY_ABI,
                                            .size_bytes = sizeof library,
                                            .open = open_world,
                                            .close = close_world,
                                            .descriptor = descriptor_of,
                                            .process = process,
                                            .send = send_reply,
                                            .hold = hold,
                                            .release = release};

__attribute__((visibility("default"))) const struct coap_library *millrace_coap_entry(void);

const struct coap_library *millrace_coap_entry(void)
{
    return &library;
}
