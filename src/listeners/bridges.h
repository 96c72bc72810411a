/* bridges.h - documents of kind Bridge become bridges of the broker, and node.yaml's mqtt.external
 * becomes one more.
 *
 * The broker knows nothing of documents: what it is to do is handed over as struct bridge_settings
 * (mqtt/bridge.h) whenever a document comes, changes or goes. What a bridge says of itself is asked
 * for with the broker's looks, by status.c and sys_bridges.c. Main loop, except where noted. */
#ifndef LISTENERS_BRIDGES_H
#define LISTENERS_BRIDGES_H

#include "listeners/service.h"
#include "mqtt/bridge.h"

/* The broker that the node uses instead of its own (mqtt.external in node.yaml). */
struct bridges_external {
    struct str endpoint; /* "" = none */
    struct str user, password, client_id;
    struct str ca, cert, key, server_name;
    bool insecure, commands;
    char data_filter[72], cmd_filter[72]; /* "data/#", "cmd/#" */
};
/* The key of its bridge; those of documents have a dot. */
#define BRIDGES_EXTERNAL "external"

/* After the broker was started: makes the bridges of all documents, and watches from then on.
 * `external` is copied. Errors: NO_MEMORY. */
enum err bridges_start(struct service *service, const struct bridges_external *external,
                       struct bridges **bridges, struct why *why);
/* From now on this external broker (copied), or none: what waits goes to the new one, or, without
 * one, nowhere. The same again changes nothing. Errors: NO_MEMORY; it stays as it was then. */
enum err bridges_set_external(struct bridges *bridges, const struct bridges_external *external);
/* Before the broker is stopped. NULL allowed. */
void bridges_stop(struct bridges *bridges);
/* What the Streams want to have from the external broker beside data/# and cmd/#: these topic
 * filters (copied; each counts once) are subscribed there from now on, and none of before; without
 * an external broker they are remembered for one that comes. Errors: LIMIT, INVALID (the others of
 * them are taken), NO_MEMORY (it stays as it was). */
enum err bridges_set_filters(struct bridges *bridges, const struct str *filters, size_t count);

/* What the field table of a Bridge cannot check: endpoint, filters, sizes. Adds problems; documents
 * of other kinds pass. Any task. */
void bridges_check(const struct resource *resource, struct problems *problems);
/* Whether `who` may make or change the Bridge `now` (NULL or another kind: yes): it acts with all
 * rights on its topics, so who makes it must have them. Errors: FORBIDDEN with the topic. */
enum err bridges_allow(const struct identity *who, const struct resource *now, struct why *why);
/* Where a remote broker is. */
struct bridges_remote {
    struct os_address address;
    bool is_tls;
    char web_path[256]; /* of WebSocket; "" = MQTT over the stream itself */
};
/* "tcp://HOST:PORT", "tls://…", "ws://HOST:PORT/PATH" or "wss://…" (path /mqtt if there is none);
 * without TLS only to this machine, or `insecure`. Errors: INVALID with the way out. Any task. */
enum err bridges_endpoint(struct str text, bool insecure, struct bridges_remote *remote,
                          struct why *why);

#endif
