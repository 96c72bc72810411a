/* jwt_login.c - see jwt_login.h.
 *
 * Access asks here for a token that it does not know. One that holds is told to it with its expiry
 * and is known from then on: the signature is checked once, and connections under it end when it
 * runs out, or when its key goes. Refused ones are told in the log with the reason, one line in ten
 * seconds: strangers send what they like. */
#include "base/timetext.h"
#include "listeners/jwt_login.h"
#include <string.h>

static const char component[] = "jwt";

struct jwt_login {
    struct service *service;
    struct jwk_set *set;     /* NULL: nobody logs in so */
    struct jwk_fetch *fetch; /* NULL: the set was given */
    struct jwt_rules rules;
    struct arena arena; /* of the rules */
    uint64_t refused;
    int64_t told_ns;
};

static void tell(struct jwt_login *j, const struct why *why)
{
    int64_t now_ns = context_mono_ns(j->service->context);
    j->refused++;
    if (j->told_ns && now_ns - j->told_ns < 10 * TIME_NS_PER_S) return;
    j->told_ns = now_ns;
    diag(j->service->context, DIAG_WARNING, component,
         "a token was refused: %s (%llu refused since the last such line)", why->text,
         (unsigned long long)j->refused);
    j->refused = 0;
}

static void on_token(void *arg, struct str token, const uint8_t hash[ACCESS_HASH_BYTES])
{
    struct jwt_login *j = arg;
    struct context *context = j->service->context;
    struct jwt_claims claims;
    struct why why = WHY_NONE;
    if (!jwt_is_one(token)) return;
    if (j->fetch && (!j->set || jwt_wants_other_key(j->set, token))) jwk_fetch_hurry(j->fetch);
    if (!j->set) return;
    int64_t now_s = context_wall_ns(context) / TIME_NS_PER_S;
    enum err err = jwt_verify(j->set, &j->rules, token, now_s, &claims, &why);
    if (!err) {
        const struct access_jwt known = {.user = claims.user,
                                         .roles = claims.roles,
                                         .has_roles = j->rules.roles_claim.size != 0,
                                         .expires_ns = claims.expires_s * TIME_NS_PER_S,
                                         .key = claims.key};
        err = access_put_jwt(j->service->access, hash, &known);
        if (err) (void)why_set(&why, err, "there are too many of them");
    }
    if (err) tell(j, &why);
}

static bool is_kept(void *arg, uint64_t key)
{
    const struct jwt_login *j = arg;
    return j->set && jwk_set_has(j->set, key);
}

static bool copy(struct arena *arena, struct str *text)
{
    char *kept = arena_strdup(arena, text->size ? text->at : "", text->size);
    *text = (struct str){kept, text->size};
    return kept != NULL;
}

static bool is_same(const struct jwt_rules *a, const struct jwt_rules *b)
{
    return str_equal(a->issuer, b->issuer) && str_equal(a->audience, b->audience) &&
           str_equal(a->user_claim, b->user_claim) && str_equal(a->roles_claim, b->roles_claim) &&
           a->skew_s == b->skew_s;
}

/* Takes over `set`, which may be NULL. Who is logged in under a key that it has not is so no
 * longer, nor anybody if the rules are others now. */
static void take_set(struct jwt_login *j, struct jwk_set *set, bool has_same_rules)
{
    jwk_set_free(j->set);
    j->set = has_same_rules ? set : NULL;
    access_drop_jwts(j->service->access, is_kept, j);
    j->set = set;
}

static enum err take_rules(struct jwt_login *j, const struct jwt_rules *rules)
{
    struct arena before = j->arena;
    enum err err = ERR_OK;
    arena_init(&j->arena, NULL);
    j->rules = *rules;
    if (!copy(&j->arena, &j->rules.issuer) || !copy(&j->arena, &j->rules.audience) ||
        !copy(&j->arena, &j->rules.user_claim) || !copy(&j->arena, &j->rules.roles_claim))
        err = ERR_NO_MEMORY;
    arena_free(&before);
    if (err) j->rules = (struct jwt_rules){0};
    return err;
}

enum err jwt_login_set(struct jwt_login *j, const struct jwt_rules *rules, struct str keys,
                       struct why *why)
{
    struct jwk_set *set = NULL;
    jwk_fetch_stop(j->fetch);
    j->fetch = NULL;
    enum err err = rules->issuer.size ? jwk_set_read(keys, &set, why) : ERR_OK;
    bool is_kept_on = j->set && is_same(&j->rules, rules);
    if (!err) err = take_rules(j, rules);
    if (err) jwk_set_free(set);
    take_set(j, err ? NULL : set, is_kept_on);
    return err;
}

/* A set that was fetched. */
static enum err on_fetched(void *arg, struct str text, struct why *why)
{
    struct jwt_login *j = arg;
    struct jwk_set *set = NULL;
    enum err err = jwk_set_read(text, &set, why);
    if (err) return err;
    bool is_first = !j->set;
    size_t before = is_first ? 0 : jwk_set_count(j->set);
    take_set(j, set, true);
    if (is_first || before != jwk_set_count(set))
        diag(j->service->context, DIAG_INFO, component, "tokens of %.*s are taken: %zu keys",
             (int)j->rules.issuer.size, j->rules.issuer.at, jwk_set_count(set));
    return ERR_OK;
}

enum err jwt_login_follow(struct jwt_login *j, const struct jwt_rules *rules,
                          const struct jwk_fetch_config *from, struct why *why)
{
    MUST(rules->issuer.size && from->url.size);
    if (j->fetch && jwk_fetch_is(j->fetch, from) && is_same(&j->rules, rules)) {
        jwk_fetch_hurry(j->fetch); /* SIGHUP may mean that keys have changed */
        return ERR_OK;
    }
    jwk_fetch_stop(j->fetch);
    j->fetch = NULL;
    take_set(j, NULL, false);
    enum err err = take_rules(j, rules);
    if (!err) err = jwk_fetch_start(j->service, from, on_fetched, j, &j->fetch, why);
    return err;
}

enum err jwt_login_start(struct service *service, struct jwt_login **out, struct why *why)
{
    struct jwt_login *j = mem_alloc_zero(1, sizeof *j);
    if (!j) return why_set(why, ERR_NO_MEMORY, "no memory for tokens of another issuer");
    j->service = service;
    arena_init(&j->arena, NULL);
    access_on_jwt(service->access, on_token, j);
    *out = j;
    return ERR_OK;
}

void jwt_login_stop(struct jwt_login *j)
{
    if (!j) return;
    access_on_jwt(j->service->access, NULL, NULL);
    jwk_fetch_stop(j->fetch);
    jwk_set_free(j->set);
    arena_free(&j->arena);
    mem_free(j);
}
