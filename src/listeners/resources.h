/* resources.h - the resource API in the shape of the Kubernetes API, so that kubectl and GitOps
 * tools are ordinary clients. resources.c finds out what a request is about, resources_change.c
 * changes documents, resources_read.c shows them, resources_watch.c tells of changes,
 * resources_discovery.c says what there is. */
#ifndef LISTENERS_RESOURCES_H
#define LISTENERS_RESOURCES_H

#include "listeners/service.h"

/* Starts the change queue and the watch history. Main loop. */
struct resources;
enum err resources_start(struct service *service, struct resources **resources, struct why *why);
void resources_stop(struct resources *resources);
/* A change of documents that does not come as a request waits for its turn among those that do, so
 * that no two cross: `begin` is called when it is there, perhaps at once; resources_turn_end, once,
 * gives it to the next. In a node that stops, `begin` comes all the same, and is to end at once.
 * Main loop. */
struct resources_turn {
    struct resources_turn *next; /* the queue's */
    void (*begin)(struct resources_turn *turn);
};
void resources_turn_wait(struct resources *resources, struct resources_turn *turn);
void resources_turn_end(struct resources *resources);
/* Whether a change is on its way to the disk: no document may be changed past it. Main loop. */
bool resources_is_busy(const struct resources *resources);
/* Rights have changed, or time has passed: watches whose identity holds no longer are cut, the
 * others go on with the rights of now. */
void resources_recheck(struct resources *resources);

/* Handlers; `arg` = the service. */
void resources_collection(struct http_exchange *exchange, void *arg); /* GET list or watch, POST */
void resources_object(struct http_exchange *exchange, void *arg);     /* GET, PUT, PATCH, DELETE */
/* Without a namespace: GET list or watch over all namespaces; POST for cluster-wide kinds. */
void resources_all(struct http_exchange *exchange, void *arg);
void resources_cluster_object(struct http_exchange *exchange,
                              void *arg); /* of cluster-wide kinds */
void resources_version(struct http_exchange *exchange, void *arg);
void resources_api(struct http_exchange *exchange, void *arg);
void resources_apis(struct http_exchange *exchange, void *arg);
void resources_group(struct http_exchange *exchange, void *arg);
void resources_group_version(struct http_exchange *exchange, void *arg);
void resources_openapi(struct http_exchange *exchange, void *arg);

/* ---- shared by the files of this API ---- */

/* What a request is about. */
struct resource_target {
    enum resource_kind kind;
    struct str ns, name; /* ns "" = all namespaces; name "" = the collection */
};
/* Reads {ns}/{plural}/{name} from the route's parameters; answers 404 itself and gives false when
 * unknown. */
bool resources_target(struct http_exchange *exchange, bool has_ns, bool has_name,
                      struct resource_target *target);
/* How much of the target the request may; answers 401 or 403 itself and gives false when nothing.
 * With ACCESS_SOME each document has to be looked at (resources_visible). */
bool resources_allowed(struct http_exchange *exchange, enum access_verb verb,
                       const struct resource_target *target);
/* Whether an identity may do `verb` with this document. */
bool resources_visible(const struct service *service, const struct identity *identity,
                       enum access_verb verb, const struct resource *resource);

/* Answers with a Status document. `problems` may be NULL. */
void resources_fail(struct http_exchange *exchange, const struct resource_target *target,
                    enum err err, const struct why *why, const struct problems *problems);

/* Selectors of list and watch. */
struct resource_selector {
    struct str labels; /* "a=b,c!=d,e,!f" */
    struct str name;   /* fieldSelector metadata.name, "" = any */
};
enum err resources_selector(struct http_exchange *exchange, struct resource_selector *selector,
                            struct why *why);
bool resources_selected(const struct resource_selector *selector, const struct resource *resource,
                        const struct resource_target *target);
/* Does the client want kubectl's table form? */
bool resources_wants_table(const struct http_request *request);
/* How some resources of a kind are written: as documents, or as a meta.k8s.io/v1 Table. */
struct resources_form {
    enum resource_kind kind;
    bool is_table, has_columns; /* columns: of a table, what they are called */
    int64_t now_ns;             /* of a table, which shows ages */
};
/* The beginning of a list of that version; then its members with commas between them, and "]}". */
void resources_begin_list(struct buf *out, const struct resources_form *form, uint64_t version);
void resources_add_to_list(struct buf *out, const struct resources_form *form,
                           const struct resource *resource);
/* A Table of one resource. */
void resources_write_table(struct buf *out, const struct resource *resource, bool has_columns,
                           int64_t now_ns);
/* `secret` not empty: status.token, this once. */
void resources_write_document(struct buf *out, const struct resource *resource, const char *secret);

/* Begins a watch on the exchange. */
void resources_watch(struct http_exchange *exchange, struct service *service,
                     const struct resource_target *target,
                     const struct resource_selector *selector);

#endif
