/* jwt_login.h - tokens of another issuer as logins (`access.jwt` of node.yaml): the keys, the
 * rules, and what access is told. Main loop. */
#ifndef LISTENERS_JWT_LOGIN_H
#define LISTENERS_JWT_LOGIN_H

#include "listeners/jwk_fetch.h"
#include "listeners/jwt.h"
#include "listeners/service.h"

struct jwt_login;

/* Nobody can log in so until jwt_login_set. Errors: NO_MEMORY. */
enum err jwt_login_start(struct service *service, struct jwt_login **login, struct why *why);
/* From now on: `rules` (copied; an issuer "" = no such logins) and the text of a set of keys. Who
 * is logged in under a key that is gone, or under other rules, is so no longer. Errors: as
 * jwk_set_read: then nobody can log in so. */
enum err jwt_login_set(struct jwt_login *login, const struct jwt_rules *rules, struct str keys,
                       struct why *why);
/* From now on: `rules`, and the keys that are fetched from `from` (copied), none until the first
 * came. What there is stays when neither has changed. A set that cannot be read or fetched changes
 * nothing. Errors: NO_MEMORY, LIMIT: then nobody can log in so. */
enum err jwt_login_follow(struct jwt_login *login, const struct jwt_rules *rules,
                          const struct jwk_fetch_config *from, struct why *why);
/* Before access is closed. NULL allowed. */
void jwt_login_stop(struct jwt_login *login);

#endif
