/* gateway.h - CoAP clients at the broker (RFC 7252): /ps/TOPIC is a topic.
 *
 *     PUT   publishes and keeps the message as the topic's value (retained)
 *     POST  publishes
 *     GET   the topic's value; with Observe: the value, and then each message (RFC 7641)
 *     DELETE forgets the value
 *
 * A client is an MQTT client to the broker: who asks (user, token, or the identity of a DTLS key)
 * becomes a visitor there (broker_visit), with the rights, limits, metrics and rows of the store
 * that every client has. A confirmable PUT or POST is QoS 1: its answer comes when the message is
 * durable; one that is not confirmable is QoS 0.
 *
 * It lives on the main loop, as HTTP does. What is libcoap's is a shared object beside the program
 * (coap_library.h), loaded when the node listens for CoAP. */
#ifndef COAP_GATEWAY_H
#define COAP_GATEWAY_H

#include "loop/context.h"
#include "mqtt/broker.h"
#include "net/psk.h"

struct coap_gateway;

struct coap_gateway_config {
    const struct os_address *plain, *secure; /* numeric, with a port; NULL = it does not listen */
};

/* Listens; `broker` (borrowed) runs, and is stopped after the gateway. Main loop. Errors:
 * UNSUPPORTED (no lib/coap.so, or one of another version), ADDRESS_IN_USE, NO_MEMORY. */
enum err coap_gateway_start(struct context *context, struct broker *broker,
                            const struct coap_gateway_config *config, struct coap_gateway **gateway,
                            struct why *why);
/* The keys of coaps from now on (shares; NULL = none: nobody gets in there). Main loop. */
void coap_gateway_set_psk(struct coap_gateway *gateway, struct tls_psk *psk);
/* Who waits for an answer gets none: clients ask again. Main loop. NULL allowed. */
void coap_gateway_stop(struct coap_gateway *gateway);

#endif
