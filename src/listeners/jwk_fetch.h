/* jwk_fetch.h - a set of public keys that an issuer publishes at an https address, kept fresh.
 *
 * It is fetched at once, then at an interval, and sooner when somebody comes with a key that is not
 * in it; strangers can say so as often as they like, so that is done six times a minute at most.
 * What cannot be fetched is tried again, and says so once; what there was stays until there is
 * better.
 *
 * Fetching blocks, so it has a task of its own; everything else here is the main loop's. */
#ifndef LISTENERS_JWK_FETCH_H
#define LISTENERS_JWK_FETCH_H

#include "listeners/service.h"

enum { JWK_URL_BYTES = 2048 };

struct jwk_fetch;

struct jwk_fetch_config {
    struct str url, ca_file; /* ca_file "" = the system's certificates */
    int64_t refresh_ns;
};

/* Starts a task that fetches `config` (copied) until it is stopped. `take` gets each text that
 * came, and says whether it is a set of keys; `why` is then what is told. Errors: NO_MEMORY, LIMIT.
 */
enum err jwk_fetch_start(struct service *service, const struct jwk_fetch_config *config,
                         enum err (*take)(void *arg, struct str text, struct why *why), void *arg,
                         struct jwk_fetch **fetch, struct why *why);
/* Whether it fetches just this. */
bool jwk_fetch_is(const struct jwk_fetch *fetch, const struct jwk_fetch_config *config);
/* Fetches now, or when that may be. */
void jwk_fetch_hurry(struct jwk_fetch *fetch);
/* Ends the task; waits about a second for a fetch under way. NULL allowed. */
void jwk_fetch_stop(struct jwk_fetch *fetch);

#endif
