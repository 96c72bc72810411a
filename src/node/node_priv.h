/* node_priv.h - the running node as its own files see it: node.c composes it, collect_host.c,
 * keys.c and listen.c hold the larger parts of its list, reload.c follows SIGHUP. */
#ifndef NODE_NODE_PRIV_H
#define NODE_NODE_PRIV_H

#include "coap/gateway.h"
#include "listeners/jwt_login.h"
#include "listeners/line_server.h"
#include "listeners/mqtt_server.h"
#include "listeners/pg.h"
#include "node/node.h"

struct node {
    struct context context;
    struct loop main;
    const struct node_options *options;
    struct service service;
    struct budget statements, in_flight;
    struct room room; /* of in_flight */
    struct node_tables *tables;
    struct http_server *http, *https;
    struct pg_server *postgres;
    struct line_server *line;
    struct broker *broker;
    struct mqtt_server *mqtt;
    struct coap_gateway *coap;
    struct jwt_login *jwt;
    struct tls_config *tls;
    uint32_t emitting; /* batches on their way */
    /* Polled rows that were not stored, since it was told last (monotonic; 0 = never). */
    uint64_t lost_rows;
    int64_t lost_told_ns;
    size_t started; /* parts of the list that run */
    char folder[3900];
    struct os_address http_address, https_address, postgres_address, line_address, mqtt_address,
        mqtts_address, mqtt_unix_address, coap_address,
        coaps_address; /* .kind 0: it does not listen */
    char new_password[64];
    struct completion settled; /* tables of manifests are there: ready */
};

/* What a row of the list in node.c names: NAME_start leaves nothing behind when it fails, NAME_stop
 * is called once after it succeeded. All on the main task. */

/* ---- collect_host.c ---- */

enum err node_collect_start(struct node *node, struct why *why);
void node_collect_stop(struct node *node);

/* ---- listen.c: what has no address in the configuration does not listen; no error ---- */

/* For https, and for whoever asks for TLS at the other listeners. */
enum err node_certificates_start(struct node *node, struct why *why);
void node_certificates_stop(struct node *node);
enum err node_http_start(struct node *node, struct why *why);
void node_http_stop(struct node *node);
enum err node_https_start(struct node *node, struct why *why);
void node_https_stop(struct node *node);
enum err node_postgres_start(struct node *node, struct why *why);
void node_postgres_stop(struct node *node);
enum err node_line_start(struct node *node, struct why *why);
void node_line_stop(struct node *node);
enum err node_mqtt_start(struct node *node, struct why *why);
void node_mqtt_stop(struct node *node);
enum err node_coap_start(struct node *node, struct why *why);
void node_coap_stop(struct node *node);
/* Whether any listener of `config` may have to show a certificate. */
bool node_wants_certificates(const struct node_config *config);

/* Listeners that can be moved while the node runs: who is connected stays. `listen` starts it where
 * `config` says, moves it there, or stops it where `config` says nothing. Errors: it is where it
 * was, or nowhere, as `why` then says. The list ends with a NULL key. */
struct node_listener {
    const char *key, *scheme;
    enum err (*listen)(struct node *node, const struct node_config *config, struct why *why);
    size_t address_offset; /* in struct node */
};
extern const struct node_listener node_listeners[];
/* Where it listens; kind 0: nowhere. */
const struct os_address *node_listener_address(const struct node *node,
                                               const struct node_listener *listener);
/* Says where it listens; nothing when it does not. */
void node_announce_listener(struct node *node, const struct node_listener *listener);
/* Keeps for the command line (server.txt), the status and the tables where HTTP is. */
void node_note_addresses(struct node *node);
/* Says on stderr, and notes, where all of them are reached. */
void node_announce(struct node *node);
/* Starts, moves or stops the CoAP gateway, whose clients have to ask again when it moved. */
enum err node_coap_listen(struct node *node, const struct node_config *config, struct why *why);
/* A key is gone: begins anew, so that no DTLS association is left that it opened. */
void node_coap_renew(struct node *node, struct str psk);
void node_announce_coap(struct node *node);

/* ---- keys.c: blocking; what cannot be read is told and lets nobody in ---- */

/* The keys that tokens of another issuer are checked with. */
void node_set_jwt(struct node *node, const struct access_settings *settings);
/* The keys of mqtts and coaps in `file`, empty for none. */
void node_set_psk(struct node *node, struct str file);

#endif
