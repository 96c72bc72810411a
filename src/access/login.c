/* login.c - checking passwords: slow for guessers, quick for who was right a moment ago.
 *
 * A login goes main loop → (waits, when the user's name has failures) → worker → main loop → its
 * home. Strangers can try any name: what is remembered about names is a table of fixed size,
 * indexed by hash, so two names may share their delay; and an unknown name is checked against a
 * verifier that nothing fits. Those who wait have a limit of their own: however many guess, who has
 * not failed finds a place.
 *
 * Between the look at the verifier and the judgement lies time, in which the user may get another
 * password, or be disabled or removed. So the worker checks a copy, and `judged` looks at the user
 * again: what was checked must still be his, or nobody gets in.
 *
 * Called by the listeners (HTTP Basic and /v1/login, PostgreSQL, MQTT). A login is its starter's
 * memory and ours until its completion is finished, exactly once. Invariants: login_count and the
 * sum of `pending` are the logins that wait or are with a worker; `delayed` are those that wait,
 * each with its timer, and prompt_count those that never did; a password is in a login only until
 * it is finished. */
#include "access/access_priv.h"
#include "access/legacy.h"
#include "access/scram_server.h"
#include "base/hash.h"
#include "base/timetext.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

static const int64_t first_delay_ns = 100 * TIME_NS_PER_MS, last_delay_ns = 5 * TIME_NS_PER_S,
                     forget_ns = 900 * TIME_NS_PER_S, known_ns = 300 * TIME_NS_PER_S;

static struct access_login *login_of(struct job *job)
{
    struct access_login *login =
        (struct access_login *)((char *)job - offsetof(struct access_login, job));
    MUST(login->access && !login->timer);
    return login;
}

static struct access_slow *slow_of(struct access *a, const char *user)
{
    return &a->slow[hash_64(user, strlen(user)) % ACCESS_SLOW_SLOTS];
}

static int64_t delay_of(struct access *a, struct access_slow *slow)
{
    if (slow->failures && context_mono_ns(a->context) - slow->last_ns > forget_ns)
        slow->failures = 0;
    if (!slow->failures) return 0;
    unsigned doublings = slow->failures - 1 < 6 ? slow->failures - 1 : 6;
    int64_t delay = first_delay_ns << doublings;
    return delay < last_delay_ns ? delay : last_delay_ns;
}

/* ---- pairs known to be right ---- */

static void mac_of(const struct access *a, const struct access_login *login,
                   uint8_t out[ACCESS_HASH_BYTES])
{
    char both[ACCESS_USER_BYTES + ACCESS_PASSWORD_BYTES];
    size_t user = strlen(login->user) + 1, password = strlen(login->password);
    unsigned size = 0;
    MUST(user <= ACCESS_USER_BYTES && password < ACCESS_PASSWORD_BYTES);
    memcpy(both, login->user, user);
    memcpy(both + user, login->password, password);
    unsigned char *good = HMAC(EVP_sha256(), a->known_key, sizeof a->known_key,
                               (const unsigned char *)both, user + password, out, &size);
    MUST(good && size == ACCESS_HASH_BYTES);
    OPENSSL_cleanse(both, sizeof both);
}

static struct access_known *known_slot(struct access *a, const uint8_t mac[ACCESS_HASH_BYTES])
{
    return &a->known[mac[0] % ACCESS_KNOWN_SLOTS];
}

static struct identity *find_known(struct access *a, const uint8_t mac[ACCESS_HASH_BYTES])
{
    const struct access_known *k = known_slot(a, mac);
    bool same = k->identity && CRYPTO_memcmp(k->mac, mac, ACCESS_HASH_BYTES) == 0;
    return same && context_mono_ns(a->context) < k->until_ns ? identity_share(k->identity) : NULL;
}

static void remember(struct access *a, const uint8_t mac[ACCESS_HASH_BYTES],
                     struct identity *identity)
{
    struct access_known *k = known_slot(a, mac);
    MUST(identity && !identity->by_token);
    identity_release(k->identity);
    memcpy(k->mac, mac, ACCESS_HASH_BYTES);
    k->identity = identity_share(identity);
    k->until_ns = context_mono_ns(a->context) + known_ns;
}

void access_forget_known(struct access *a)
{
    for (size_t i = 0; i < ACCESS_KNOWN_SLOTS; i++) {
        identity_release(a->known[i].identity);
        a->known[i] = (struct access_known){0};
    }
}

/* ---- the way of one login ---- */

static void finish(struct access_login *login, enum err err)
{
    static const struct why wrong = {-1, "user or password is wrong"};
    static const struct why busy = {-1,
                                    "too many logins are being checked; try again in some seconds"};
    MUST(!err == !!login->identity && !login->timer);
    OPENSSL_cleanse(login->password, sizeof login->password);
    const struct why *why = err == ERR_UNAUTHENTICATED ? &wrong : err == ERR_BUSY ? &busy : NULL;
    completion_finish(&login->completion, err, why);
}

/* What was checked is the user's password: two logins at once may each have replaced its hash. */
static bool is_still(const struct access_user *user, const struct access_login *login)
{
    return strcmp(user->verifier, login->verifier) == 0 ||
           (user->before[0] && strcmp(user->before, login->verifier) == 0);
}

/* The same password, in a form that is slow to guess and does SCRAM: nobody's login ends. */
static void make_better(struct access *a, struct access_user *user,
                        const struct access_login *login)
{
    MUST(login->better[0] && login->verifier[0] && login->is_right);
    memcpy(user->before, user->verifier, sizeof user->before);
    memcpy(user->verifier, login->better, sizeof user->verifier);
    if (a->tell_better) a->tell_better(a->tell_arg, user->name, user->verifier);
}

void access_on_better(struct access *a,
                      void (*tell)(void *arg, const char *user, const char *verifier), void *arg)
{
    MUST(is_access(a) && (!tell || !a->tell_better));
    a->tell_better = tell;
    a->tell_arg = arg;
}

/* Back on the main loop. */
static void judged(struct job *job)
{
    struct access_login *login = login_of(job);
    struct access *a = login->access;
    MUST(is_access(a));
    struct access_slow *slow = slow_of(a, login->user);
    struct access_user *user = access_find_user(a, login->user);
    enum err err = ERR_UNAUTHENTICATED;
    MUST(slow->pending > 0 && a->login_count > 0);
    slow->pending--;
    a->login_count--;
    a->prompt_count -= login->is_prompt;
    if (a->is_closing) {
        err = ERR_CANCELLED;
    } else if (login->is_right && user && !user->is_disabled && is_still(user, login)) {
        if (login->better[0] && strcmp(user->verifier, login->verifier) == 0)
            make_better(a, user, login);
        login->identity = access_resolve(a, user->name, "");
        err = login->identity ? ERR_OK : ERR_NO_MEMORY;
    }
    if (err == ERR_UNAUTHENTICATED) {
        slow->failures++;
        slow->last_ns = context_mono_ns(a->context);
        metric_add(a->context, METRIC_LOGIN_FAILURES, 1);
    } else if (err == ERR_OK) {
        uint8_t mac[ACCESS_HASH_BYTES];
        slow->failures = 0;
        if (!login->by_proof) mac_of(a, login, mac);
        if (!login->by_proof) remember(a, mac, login->identity);
    }
    finish(login, err);
    access_free_if_over(a);
}

/* A hash of another broker: as much work again as any other login, for its successor. */
static void check_legacy(struct access_login *login, const struct legacy_verifier *legacy)
{
    struct scram_verifier made;
    struct str password = str_of(login->password);
    login->is_right = !login->by_proof && legacy_check(legacy, password);
    scram_make(password, login->salt, SCRAM_ITERATIONS, &made);
    if (login->is_right) scram_print(&made, login->better);
}

/* On a worker. */
static void check(struct job *job)
{
    struct access_login *login = login_of(job);
    struct scram_verifier verifier;
    struct legacy_verifier legacy;
    if (legacy_parse(str_of(login->verifier), &legacy)) {
        check_legacy(login, &legacy);
        login->job.run = judged;
        loop_post(login->access->context->main, &login->job);
        return;
    }
    bool is_user = scram_parse(str_of(login->verifier), &verifier);
    /* No such user: as much work, and a result that cannot be right. */
    if (!is_user) verifier = (struct scram_verifier){.iterations = SCRAM_ITERATIONS};
    bool fits = login->by_proof ? scram_proof_fits(&verifier, login->auth, login->proof)
                                : scram_check(&verifier, str_of(login->password));
    login->is_right = fits && is_user;
    login->job.run = judged;
    loop_post(login->access->context->main, &login->job);
}

static void to_worker(struct access_login *login)
{
    login->job.run = check;
    pool_post(login->access->context->workers, &login->job);
}

static void undelay(struct access_login *login)
{
    MUST(login->timer && *login->link == login);
    *login->link = login->next;
    if (login->next) login->next->link = login->link;
    login->access->context->os->ops->timer_close(login->timer);
    login->access->delayed_count--;
    login->timer = NULL;
}

static void on_timer(void *arg)
{
    struct access_login *login = arg;
    undelay(login);
    to_worker(login);
}

static enum err delay(struct access *a, struct access_login *login, int64_t delay_ns)
{
    const struct os_ops *ops = a->context->os->ops;
    enum err err = ops->timer_make(a->context->main->task, on_timer, login, &login->timer);
    if (err) return err;
    login->next = a->delayed;
    login->link = &a->delayed;
    if (login->next) login->next->link = &login->next;
    a->delayed = login;
    a->delayed_count++;
    ops->timer_set(login->timer, delay_ns);
    return ERR_OK;
}

void access_login(struct access *a, struct access_login *login)
{
    MUST(is_access(a) && loop_is_current(a->context->main) && !a->is_closing);
    MUST(!login->by_proof || (login->auth.size && login->verifier[0]));
    uint8_t mac[ACCESS_HASH_BYTES];
    login->access = a;
    login->identity = NULL;
    login->timer = NULL;
    login->better[0] = 0;
    login->is_prompt = false;
    if (!login->by_proof) {
        mac_of(a, login, mac);
        login->identity = find_known(a, mac);
    }
    if (login->identity) {
        finish(login, ERR_OK);
        return;
    }
    struct access_slow *slow = slow_of(a, login->user);
    int64_t delay_ns = delay_of(a, slow);
    bool is_full =
        delay_ns ? a->delayed_count >= ACCESS_DELAYED_MAX : a->prompt_count >= ACCESS_LOGINS_MAX;
    if (is_full || slow->pending >= ACCESS_LOGINS_PER_USER) {
        finish(login, ERR_BUSY);
        return;
    }
    const struct access_user *user = access_find_user(a, login->user);
    if (!login->by_proof)
        (void)str_copy(login->verifier, sizeof login->verifier, str_of(user ? user->verifier : ""));
    a->context->os->ops->random(a->context->os, login->salt, sizeof login->salt);
    enum err err = delay_ns ? delay(a, login, delay_ns) : ERR_OK;
    if (err) {
        finish(login, err);
        return;
    }
    slow->pending++;
    a->login_count++;
    login->is_prompt = delay_ns == 0;
    a->prompt_count += login->is_prompt;
    if (login->is_prompt) to_worker(login);
}

bool access_login_waits(const struct access_login *login)
{
    return login->timer != NULL;
}

void access_scram_verifier(struct access *a, const char *user, char verifier[ACCESS_VERIFIER_BYTES])
{
    MUST(is_access(a) && user);
    const struct access_user *known = access_find_user(a, user);
    struct scram_verifier made = {.iterations = SCRAM_ITERATIONS};
    uint8_t mac[ACCESS_HASH_BYTES];
    unsigned size = 0;
    if (known && scram_parse(str_of(known->verifier), &made)) {
        (void)str_copy(verifier, ACCESS_VERIFIER_BYTES, str_of(known->verifier));
        return;
    }
    unsigned char *good = HMAC(EVP_sha256(), a->known_key, sizeof a->known_key,
                               (const unsigned char *)user, strlen(user), mac, &size);
    MUST(good && size >= sizeof made.salt);
    memcpy(made.salt, mac, sizeof made.salt); /* keys of zeros: no password leads to them */
    made.iterations = SCRAM_ITERATIONS;
    scram_print(&made, verifier);
}

void access_cancel_logins(struct access *a)
{
    while (a->delayed) {
        struct access_login *login = a->delayed;
        undelay(login);
        struct access_slow *slow = slow_of(a, login->user);
        MUST(slow->pending > 0 && a->login_count > 0);
        slow->pending--;
        a->login_count--;
        finish(login, ERR_CANCELLED);
    }
}
