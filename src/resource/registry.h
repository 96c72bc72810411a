/* registry.h - all resources of a node, in memory, and who wants to know of changes.
 *
 * Lives on the main loop: every call is made there. Reading gives borrowed pointers valid until the
 * next change; resource_share keeps one. */
#ifndef RESOURCE_REGISTRY_H
#define RESOURCE_REGISTRY_H

#include "base/map.h"
#include "os/os.h"
#include "resource/kind.h"

struct registry;

/* `old` NULL = added, `now` NULL = deleted. Called after the change. */
typedef void registry_watch(void *arg, const struct resource *old, const struct resource *now);

/* The registry gives uid, version, generation and creation time; `os` is its clock and random
 * source. */
struct registry *registry_new(struct os *os);
void registry_free(struct registry *registry);
/* At most 8 watchers; each is told of every change of what documents say, in order; one that wants
 * it also of changes of status only (then `old` and `now` have the same spec). */
void registry_watch_all(struct registry *registry, registry_watch *watch, void *arg);
void registry_watch_status(struct registry *registry, registry_watch *watch, void *arg);
/* Ends the watch that was begun with `arg`. Not inside a watch. */
void registry_unwatch(struct registry *registry, const void *arg);

struct resource *registry_get(const struct registry *registry, enum resource_kind kind,
                              struct str ns, struct str name);
/* Walks in no particular order: start with *at = 0; NULL at the end. */
struct resource *registry_next(const struct registry *registry, enum resource_kind kind,
                               size_t *at);
/* The version of the last change. */
uint64_t registry_version(const struct registry *registry);
/* Puts `resource` (takes), replacing one of the same kind, namespace and name: uid and creation
 * time stay, generation counts on when the spec differs. A put that changes nothing is no change:
 * nobody is told. */
enum err registry_put(struct registry *registry, struct resource *resource);
bool registry_remove(struct registry *registry, enum resource_kind kind, struct str ns,
                     struct str name);
/* The first half of a put, for who must make it durable in between: sets uid, version… and tells
 * whether anything changes. The version is used up. */
bool registry_prepare(struct registry *registry, struct resource *resource);
/* Puts one that was prepared, or stored before, with the version, uid… that it carries. */
enum err registry_restore(struct registry *registry, struct resource *resource);

/* Sets what the node says about a document; a status that is as before is no change. Version counts
 * on, generation does not. False: no such document, nothing new, or no memory. */
bool registry_set_status(struct registry *registry, enum resource_kind kind, struct str ns,
                         struct str name, const struct doc *status);
/* Before anybody watches: what the database knows of a document that a file holds too. The file's
 * content stands; uid and creation time are the older ones'. */
void registry_adopt(struct registry *registry, struct resource *held,
                    const struct resource *stored);
/* The version at which this registry began: changes before it are forgotten. */
uint64_t registry_first_version(const struct registry *registry);

/* Loading manifests: begin_load, load_yaml for each file, and what is file-owned but of an older
 * load has vanished from its file. */
void registry_begin_load(struct registry *registry);
/* As registry_put, for a document of this load. */
enum err registry_put_loaded(struct registry *registry, struct resource *resource);
bool registry_has_vanished(const struct registry *registry, const struct resource *resource);
/* Reads a manifest's text and puts all its resources, or none: errors name file, line and path. A
 * name that stands twice in one run of files is an error. */
enum err registry_load_yaml(struct registry *registry, struct str text, const char *file,
                            struct why *why);

#endif
