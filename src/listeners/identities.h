/* identities.h - users, roles and tokens as documents: what they mean to access, and who may change
 * them.
 *
 * access is a mirror of these documents: every change in the registry is told to it at once, and
 * what is open under an identity (watches, live views) is looked at again and cut when its rights
 * are gone. Main loop, except where noted. */
#ifndef LISTENERS_IDENTITIES_H
#define LISTENERS_IDENTITIES_H

#include "listeners/service.h"

struct identities;
/* After the registry was filled: tells access of all, makes the documents of the built-in roles, of
 * this node and of the first admin, and watches from then on. When damaged documents leave nobody
 * who can log in as admin, `admin_password` (NULL = none came) makes the user admin anew. */
enum err identities_start(struct service *service, const char *admin_password,
                          struct identities **identities, struct why *why);
void identities_stop(struct identities *identities);

/* What the field tables cannot check: verbs, kinds, filters, names, secrets. Adds problems. Any
 * task. */
void identities_check(const struct resource *resource, struct problems *problems);

/* Fills in what only the node knows of a document on its way in: a password becomes `verifier`
 * ("" = none came), a new token gets its secret (into `secret`, else ""), what is kept of secrets
 * in `old` goes on. Errors: NO_MEMORY. */
enum err identities_complete(struct service *service, enum resource_kind kind,
                             const struct resource *old, const char *verifier, struct doc *doc,
                             struct arena *arena, char secret[ACCESS_TOKEN_BYTES]);

/* Whether `who`, who has the right to change documents of the kind, may make `now` of `old` (one of
 * them NULL when created or deleted): nobody gives rights that he has not, touches somebody who has
 * more, or takes the last admin away. Errors: FORBIDDEN, CONFLICT, INVALID with the way out. */
enum err identities_allow(struct service *service, const struct identity *who,
                          const struct resource *old, const struct resource *now, struct why *why);

/* Whether taking `old` away (`now` NULL) or replacing it leaves a user that can log in as admin. */
bool identities_keep_an_admin(const struct registry *registry, const struct resource *old,
                              const struct resource *now);

/* The absolute path of a Device ("" for other kinds): what path rules are held against. */
struct str resource_path(const struct service *service, const struct resource *resource,
                         char out[1024]);

#endif
