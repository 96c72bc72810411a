/* mqtt_server_priv.h - what the files of mqtt_server.h share. Main loop, but for the hooks. */
#ifndef LISTENERS_MQTT_SERVER_PRIV_H
#define LISTENERS_MQTT_SERVER_PRIV_H

#include "listeners/mqtt_server.h"
#include "net/door.h"
#include "net/psk.h"

enum { SERVER_MAGIC = 0x6d717376 };

/* Where it listens; .at as it was asked for, .kind 0 = it does not. */
struct mqtt_door {
    struct mqtt_server *server;
    struct door door;
};

enum { MQTT_LOGIN_LINES = 256 }; /* as access has slots for failures */

/* Passwords to check, by login->next: those of the users of one hash. */
struct mqtt_login_line {
    struct broker_login *first, **end;
    unsigned checking; /* of it */
};

struct mqtt_server {
    uint32_t magic;
    struct service *service;
    struct broker *broker; /* NULL = stopped */
    struct mqtt_door doors[BROKER_LOCAL + 1];
    struct tls_config *tls; /* of BROKER_TLS */
    struct tls_psk *psk;    /* shared; NULL = none */
    bool anonymous, proxy;
    /* What the broker has not been told yet, for want of memory; `was` a share. */
    struct broker_dismissal closed;
    _Atomic size_t pending; /* what came from the broker and is not answered */
    struct mqtt_login_line lines[MQTT_LOGIN_LINES];
    size_t waiting_count;  /* in all lines */
    size_t line_at;        /* whose turn is next */
    size_t checking_count; /* being checked; those that access lets wait are not */
    struct os_timer *review_timer;
    uint64_t epoch; /* of access, when rights were reviewed last */
    unsigned unreviewed;
};

/* ---- mqtt_server.c ---- */

/* What came from the broker is answered: one less of `pending`. May free the server. */
void mqtt_server_leave(struct mqtt_server *server);

/* ---- mqtt_login.c ---- */

/* broker_hooks.login: on the broker's task. `arg` = the server. */
void mqtt_server_on_login(void *arg, struct broker_login *login);
/* Who a client is that brings no user and may come all the same. Gives; NULL: no memory. */
struct identity *mqtt_server_anonymous(struct mqtt_server *server);
/* The lines of those who wait: empty ones at the start; forgets all who stand there. */
void mqtt_server_open_lines(struct mqtt_server *server);
void mqtt_server_clear_lines(struct mqtt_server *server);

#endif
