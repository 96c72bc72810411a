/* coap_library.h - what lib/coap.so and the program say to each other.
 *
 * The library holds everything that is libcoap's: sockets, DTLS, retransmission, the bytes of
 * messages. What a request means is the program's (coap/gateway.h); so the program links no CoAP,
 * and a node that does not speak it loads nothing. Between them go parsed messages: a list of
 * options and a payload.
 *
 * All calls in both directions are made on one task, the main loop. A session is libcoap's (a
 * peer's address and port, or a DTLS association with it) and is only a name to the program, which
 * holds it as long as it uses it.
 *
 * Sources: RFC 7252 (CoAP), RFC 7641 (Observe), RFC 7959 (blocks). */
#ifndef COAP_COAP_LIBRARY_H
#define COAP_COAP_LIBRARY_H

#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COAP_LIBRARY_ENTRY "millrace_coap_entry"
#define COAP_LIBRARY_FILE  "coap.so"

enum {
    COAP_LIBRARY_ABI = 1,
    COAP_LIBRARY_TOKEN_BYTES = 8, /* RFC 7252 section 3 */
    COAP_LIBRARY_OPTIONS = 48,    /* of a request; one with more is refused */
    COAP_LIBRARY_REPLY_OPTIONS = 8,
    COAP_LIBRARY_KEY_BYTES = 64,
};

/* An option of a request, in the order of the message. */
struct coap_library_option {
    uint16_t number;
    struct str value; /* borrowed during the call */
};

/* A request that has come; all of it borrowed during the call. */
struct coap_library_request {
    void *session;
    const char *peer;    /* "10.0.0.7:41234" */
    bool is_secure;      /* over DTLS */
    struct str identity; /* whose key the peer has proved; "" = none */
    bool is_confirmable;
    uint8_t method; /* 1 GET, 2 POST, 3 PUT, 4 DELETE */
    uint16_t message_id;
    struct str token;
    const struct coap_library_option *options;
    size_t option_count;
    struct str payload;
};

/* A response to be sent: options in ascending order. */
struct coap_library_reply {
    uint8_t code; /* class * 32 + detail; 0 = none: it comes later, or an empty acknowledgement */
    size_t option_count;
    struct {
        uint16_t number;
        uint8_t size;
        uint8_t bytes[8];
    } options[COAP_LIBRARY_REPLY_OPTIONS];
    struct str payload; /* borrowed until the call that gave it is over */
};

/* RFC 7252 section 4.2: as the wire has them. */
enum coap_library_type { COAP_LIBRARY_CONFIRMABLE, COAP_LIBRARY_PLAIN, COAP_LIBRARY_ACK };

/* What the library asks the program. */
struct coap_library_host {
    void *arg;
    /* Answers in *reply; or leaves its code 0, whereupon nothing is sent, and acknowledges a
     * confirmable request within a second or so, with or without the response. */
    void (*request)(void *arg, const struct coap_library_request *request,
                    struct coap_library_reply *reply);
    /* A confirmable message with this token was refused or never acknowledged. */
    void (*rejected)(void *arg, void *session, struct str token);
    /* The session is over: nothing can be sent any more. It has to be released all the same. */
    void (*over)(void *arg, void *session);
    /* The key of an identity; 0 = there is none. */
    size_t (*key)(void *arg, struct str identity, uint8_t key[COAP_LIBRARY_KEY_BYTES]);
};

/* Where to listen: numeric addresses, "" = not. */
struct coap_library_setup {
    struct coap_library_host host; /* copied */
    const char *plain_host, *secure_host;
    uint16_t plain_port, secure_port;
    unsigned idle_sessions, handshakes; /* kept at once; the oldest go first */
    unsigned idle_s;                    /* an idle session that nobody holds is forgotten then */
};

struct coap_library_world;

struct coap_library {
    uint32_t abi, size_bytes;
    /* False: `text` says what is wrong. */
    bool (*open)(const struct coap_library_setup *setup, struct coap_library_world **world,
                 char *text, size_t text_bytes);
    /* All sessions released before. */
    void (*close)(struct coap_library_world *world);
    int (*descriptor)(const struct coap_library_world *world); /* readable: call process */
    void (*process)(struct coap_library_world *world);         /* never waits */
    /* A message of its own; `message_id`: of an acknowledgement alone. False: no memory, or the
     * session is over. */
    bool (*send)(void *session, enum coap_library_type type, uint16_t message_id, struct str token,
                 const struct coap_library_reply *reply);
    void (*hold)(void *session);
    void (*release)(void *session); /* may end it */
};

#endif
