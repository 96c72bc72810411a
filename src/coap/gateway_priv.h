/* gateway_priv.h - what the files of the gateway share.
 *
 *     gateway ── visitor (who asks from where; a connection to the broker)
 *                   ├── exchange  (a PUT, POST or DELETE whose answer waits for PUBACK)
 *                   └── topic     (a subscription)
 *                          ├── exchange  (a GET that waits for the value)
 *                          └── observer  (a client's token)
 *
 * All on the main loop. Everything belongs to its visitor, and everything that grows has a limit
 * below: who is over it is told 5.03, and it is counted. */
#ifndef COAP_GATEWAY_PRIV_H
#define COAP_GATEWAY_PRIV_H

#include "base/map.h"
#include "coap/gateway.h"
#include "coap/request.h"

enum {
    COAP_VISITORS_MAX = 1000, /* users at addresses, at once */
    COAP_EXCHANGES_MAX = 32,  /* of one visitor that wait */
    COAP_TOPICS_MAX = 64,     /* of one visitor */
    COAP_OBSERVERS_MAX = 64,  /* of one visitor */
    COAP_HELD_BYTES = 262144, /* of one visitor, on their way to the broker */
    COAP_ANSWER_S = 30,       /* then 5.04 */
    COAP_IDLE_S = 120,        /* a visitor who asks nothing and observes nothing is let go */
    COAP_CONFIRM_S = 100, /* beyond RFC 7252's MAX_TRANSMIT_WAIT of 93 s: answered, or given up */
    COAP_CONFIRMS_MAX = 8192,    /* confirmable messages of ours in that time, in all … */
    COAP_VISITOR_CONFIRMS = 256, /* … and to one visitor; further ones are sent unconfirmed */
    COAP_SETTLE_S = 5,           /* a last message sent unconfirmed is repeated after so long */
    COAP_KEY_BYTES = 32,
    COAP_BUDGET_PERCENT = 5, /* of the node's memory, for bodies and values */
};

struct coap_gateway {
    uint32_t magic;
    struct context *context;
    struct broker *broker;
    const struct coap_library *library;
    struct coap_library_world *world;
    struct os_watch *watch;
    struct os_timer *timer;
    struct tls_psk *psk; /* shared; NULL = none */
    struct budget memory;
    struct map by_key; /* visitors, by session and who asks */
    struct coap_visitor *first;
    size_t visitor_count;
    bool has_told_full;
    char text[160];         /* of the answer that is being given */
    uint32_t sequence;      /* of notifications (RFC 7641 section 3.4) */
    uint32_t confirms;      /* since … */
    int64_t confirms_since; /* … this, monotonic seconds */
};

struct coap_token {
    uint8_t size, bytes[COAP_LIBRARY_TOKEN_BYTES];
};

struct coap_exchange {
    struct coap_exchange *next;
    struct coap_token token;
    bool is_confirmable, is_observing;
    bool is_acknowledged; /* without a response: that will be a message of its own */
    uint16_t message_id;
    enum coap_method method;
    uint16_t packet_id; /* of a PUBLISH with QoS 1, else 0 */
    uint16_t accept;    /* of a GET */
    struct coap_block up, down;
    int64_t until_s;
};

struct coap_observer {
    struct coap_observer *next;
    struct coap_token token;
    struct coap_block down;
    uint16_t accept;
    bool is_gone;          /* the tick drops it: libcoap tells of it in the middle of a call */
    bool is_unsettled;     /* what was sent last was not confirmable … */
    int64_t sent_s;        /* … and this long ago */
    int64_t confirmable_s; /* when a confirmable one was sent last */
};

enum coap_topic_state { COAP_TOPIC_ASKED, COAP_TOPIC_PINGED, COAP_TOPIC_READY };

struct coap_topic {
    struct coap_topic *next;
    enum coap_topic_state state;
    uint16_t packet_id; /* of its SUBSCRIBE */
    uint32_t ping;      /* PINGED: the one behind which there is no value */
    struct coap_exchange *waiting;
    struct coap_observer *observers;
    bool has_value;
    struct buf value;
    size_t charged;
    uint16_t format;
    char name[];
};

struct coap_visitor {
    uint32_t magic;
    struct coap_gateway *gateway;
    struct coap_visitor *next, **before;
    void *session;
    struct os_stream *stream; /* NULL = over */
    uint8_t key[COAP_KEY_BYTES];
    struct buf in, held; /* held: until CONNACK */
    bool is_up, is_over;
    bool is_lost;     /* its session is over; the tick ends it */
    unsigned entered; /* calls under way: freed when the last one is over */
    uint16_t last_packet_id, receive_max;
    uint32_t pings_sent, pings_seen;
    size_t exchange_count, publishing_count, topic_count, observer_count;
    struct coap_exchange *publishing;
    struct coap_topic *topics;
    int64_t active_s;
    uint32_t confirms;
    /* A body that comes in blocks, and what was published last, for repetitions of a request. */
    struct buf body;
    size_t body_charged, held_charged;
    uint64_t body_topic;
    uint64_t last_request; /* its sum */
    uint8_t last_code;     /* 0 = none, or it waits */
};

static inline int64_t coap_now_s(const struct coap_gateway *g)
{
    return context_mono_ns(g->context) / 1000000000;
}

/* ---- visitor.c: the connection to the broker ---- */

/* The visitor of this session who asks as this; NULL: BUSY (a limit) or no memory. */
struct coap_visitor *coap_visitor_of(struct coap_gateway *gateway,
                                     const struct coap_library_request *from,
                                     const struct coap_request *request);
/* Around everything that may end him. leave frees one who is over. */
void coap_visitor_enter(struct coap_visitor *visitor);
void coap_visitor_leave(struct coap_visitor *visitor);
/* Ends him: everybody who waits or observes is told `code` (0 = nobody is, the session is over). */
void coap_visitor_end(struct coap_visitor *visitor, enum coap_code code);
/* Sends to the broker. False: too much is on its way, or no memory. */
bool coap_visitor_publish(struct coap_visitor *visitor, uint16_t packet_id, bool retain,
                          const struct coap_request *request, struct str payload);
bool coap_visitor_subscribe(struct coap_visitor *visitor, struct coap_topic *topic);
void coap_visitor_unsubscribe(struct coap_visitor *visitor, struct coap_topic *topic);
void coap_visitor_ping(struct coap_visitor *visitor);
uint16_t coap_visitor_packet_id(struct coap_visitor *visitor);

/* ---- exchange.c: requests and their answers ---- */

void coap_exchange_begin(struct coap_gateway *gateway, const struct coap_library_request *from,
                         struct coap_library_reply *reply);
/* Its user is known: what needs no other answer of the broker's is answered. */
void coap_exchange_logged_in(struct coap_visitor *visitor);
/* What the broker says. `reason`: of the packet. */
void coap_exchange_published(struct coap_visitor *visitor, uint16_t packet_id, uint8_t reason);
void coap_exchange_subscribed(struct coap_visitor *visitor, uint16_t packet_id, uint8_t reason);
void coap_exchange_pinged(struct coap_visitor *visitor);
void coap_exchange_message(struct coap_visitor *visitor, struct str topic, struct str payload,
                           uint16_t format);
/* Once a second: answers that are late, notifications to repeat. */
void coap_exchange_tick(struct coap_visitor *visitor, int64_t now_s);
/* The client has refused a message with this token: it observes nothing by it. May be called in the
 * middle of a send. */
void coap_exchange_rejected(struct coap_visitor *visitor, struct str token);
/* Answers everybody with this, and forgets all. */
void coap_exchange_end_all(struct coap_visitor *visitor, enum coap_code code);

#endif
