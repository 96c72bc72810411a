/* resources_priv.h - what the files of the resource API share. */
#ifndef LISTENERS_RESOURCES_PRIV_H
#define LISTENERS_RESOURCES_PRIV_H

#include "access/scram.h"
#include "listeners/api.h"
#include "listeners/identities.h"
#include "listeners/resources.h"
#include "resource/persist.h"

/* One change waiting for its turn. */
struct change {
    struct resources_turn turn; /* first */
    struct resources *resources;
    struct http_exchange *exchange;
    struct resource_target target;
    enum access_verb verb; /* CREATE, UPDATE, DELETE */
    bool is_patch, dry_run;
    bool is_announced; /* the audit log says that it is done */
    struct doc *body;  /* as sent; NULL for DELETE */
    struct resource *resource, *old;
    struct problems problems;
    /* A password on its way to a verifier, on a worker. */
    struct job job;
    char password[ACCESS_PASSWORD_BYTES], verifier[SCRAM_TEXT_BYTES];
    uint8_t salt[SCRAM_SALT_BYTES];
    char secret[ACCESS_TOKEN_BYTES]; /* of a new token, to be shown once */
    struct completion audited;
    struct persist_change persist;
    struct completion settled; /* a Table: the store has it */
};

enum { WATCH_HISTORY = 256, WATCHES_MAX = 256 };

/* One change that happened; both shared, one of them NULL for added and deleted. */
struct event {
    uint64_t version;
    struct resource *old, *now;
};

struct watch {
    struct watch *next;
    struct resources *resources;
    struct http_exchange *exchange;
    struct identity *identity; /* renewed when rights change */
    struct resource_target target;
    struct resource_selector selector;
    bool table, first_table_sent, slow;
    bool busy, gone; /* the peer may go away inside a send: who sends then ends the watch */
};

struct resources {
    struct service *service;
    struct resources_turn *first, *last, *current;
    bool is_choosing;                    /* who is next */
    struct event history[WATCH_HISTORY]; /* ring */
    uint64_t event_count;
    struct watch *watches;
    size_t watch_count;
};

void resources_list(struct http_exchange *exchange, struct service *service,
                    const struct resource_target *target);
void resources_get(struct http_exchange *exchange, struct service *service,
                   const struct resource_target *target);
/* Queues a change; the answer follows. */
void resources_submit(struct http_exchange *exchange, struct service *service,
                      const struct resource_target *target, enum access_verb verb, bool is_patch);
void resources_on_change(void *resources, const struct resource *old, const struct resource *now);
void resources_end_watches(struct resources *resources);

#endif
