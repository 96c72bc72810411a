/* jwk_fetch.c - see jwk_fetch.h. A turn: timer → step on the task → on_stepped → timer. */
#include "listeners/jwk_fetch.h"
#include "base/timetext.h"
#include "listeners/jwt.h"
#include "net/fetch.h"
#include <stddef.h>
#include <string.h>

#define FETCH_TIMEOUT_NS   (10 * TIME_NS_PER_S)
#define FETCH_GAP_NS       (10 * TIME_NS_PER_S)  /* between two, if somebody hurries it */
#define FETCH_RETRY_NS     (5 * TIME_NS_PER_S)   /* after a failure; doubles … */
#define FETCH_RETRY_MAX_NS (300 * TIME_NS_PER_S) /* … up to this */

static const char component[] = "jwt";

struct jwk_fetch {
    struct service *service;
    enum err (*take)(void *arg, struct str text, struct why *why);
    void *arg;
    char url[JWK_URL_BYTES], ca_file[4096];
    int64_t refresh_ns;
    /* Main loop. */
    struct os_timer *timer;
    bool is_stepping;
    int64_t began_ns; /* monotonic: the last try; 0 = none */
    int64_t due_ns;   /* monotonic: the next one */
    int64_t retry_ns; /* the pause after the next failure; 0 = the last try was good */
    /* In a step. */
    struct loop loop;
    struct fetch fetch;
    struct job step;
    struct completion stepped;
    struct buf text;
    _Atomic bool cancelled;
};

static int64_t now_of(const struct jwk_fetch *f)
{
    return context_mono_ns(f->service->context);
}

static void wait_until(struct jwk_fetch *f, int64_t due_ns)
{
    int64_t left = due_ns - now_of(f);
    f->due_ns = due_ns;
    f->service->context->os->ops->timer_set(f->timer, left > 0 ? left : 0);
}

static void free_fetch(struct jwk_fetch *f)
{
    if (f->timer) f->service->context->os->ops->timer_close(f->timer);
    buf_free(&f->text);
    mem_free(f);
}

static void run_step(struct job *job)
{
    struct jwk_fetch *f = (void *)((char *)job - offsetof(struct jwk_fetch, step));
    struct why why = WHY_NONE;
    struct fetch_request request = {.url = f->url,
                                    .ca_file = f->ca_file[0] ? f->ca_file : NULL,
                                    .accept = "application/json",
                                    .bytes_max = JWK_SET_BYTES_MAX,
                                    .timeout_ns = FETCH_TIMEOUT_NS,
                                    .cancelled = &f->cancelled};
    buf_clear(&f->text);
    enum err err = fetch_get(&f->fetch, f->service->context->os, &request, &f->text, &why);
    completion_finish(&f->stepped, err, &why);
}

/* Told when it begins and when it is over, not each time. */
static void note(struct jwk_fetch *f, enum err err, const struct why *why)
{
    bool was_good = f->retry_ns == 0;
    if (err && was_good)
        diag(f->service->context, DIAG_ERROR, component,
             "access.jwt.jwks: %s: %s; it is tried again, and what keys there were stay", f->url,
             why_text(why, err));
    if (!err && !was_good)
        diag(f->service->context, DIAG_INFO, component, "access.jwt.jwks: %s: fetched", f->url);
}

static void on_stepped(struct completion *c)
{
    struct jwk_fetch *f = (void *)((char *)c - offsetof(struct jwk_fetch, stepped));
    enum err err = c->err;
    MUST(f->is_stepping);
    f->is_stepping = false;
    if (atomic_load(&f->cancelled)) { /* jwk_fetch_stop has left it to us */
        free_fetch(f);
        return;
    }
    if (!err) err = f->take(f->arg, buf_str(&f->text), &c->why);
    note(f, err, &c->why);
    if (err) {
        f->retry_ns = f->retry_ns ? 2 * f->retry_ns : FETCH_RETRY_NS;
        if (f->retry_ns > FETCH_RETRY_MAX_NS) f->retry_ns = FETCH_RETRY_MAX_NS;
        int64_t pause = f->retry_ns < f->refresh_ns ? f->retry_ns : f->refresh_ns;
        wait_until(f, now_of(f) + pause);
        return;
    }
    f->retry_ns = 0;
    wait_until(f, now_of(f) + f->refresh_ns);
}

static void on_timer(void *arg)
{
    struct jwk_fetch *f = arg;
    if (f->is_stepping) return;
    f->is_stepping = true;
    f->began_ns = now_of(f);
    completion_init(&f->stepped, f->service->context->main, on_stepped);
    f->step.run = run_step;
    loop_post(&f->loop, &f->step);
}

void jwk_fetch_hurry(struct jwk_fetch *f)
{
    int64_t may_ns = f->began_ns + FETCH_GAP_NS;
    if (!f->is_stepping && may_ns < f->due_ns) wait_until(f, may_ns);
}

bool jwk_fetch_is(const struct jwk_fetch *f, const struct jwk_fetch_config *config)
{
    return str_is(config->url, f->url) && str_is(config->ca_file, f->ca_file) &&
           config->refresh_ns == f->refresh_ns;
}

enum err jwk_fetch_start(struct service *service, const struct jwk_fetch_config *config,
                         enum err (*take)(void *arg, struct str text, struct why *why), void *arg,
                         struct jwk_fetch **out, struct why *why)
{
    struct context *context = service->context;
    struct jwk_fetch *f = mem_alloc_zero(1, sizeof *f);
    MUST(take && config->refresh_ns > 0);
    if (!f) return why_set(why, ERR_NO_MEMORY, "no memory to fetch keys");
    f->service = service;
    f->take = take;
    f->arg = arg;
    f->refresh_ns = config->refresh_ns;
    enum err err = ERR_OK;
    if (!str_copy(f->url, sizeof f->url, config->url) ||
        !str_copy(f->ca_file, sizeof f->ca_file, config->ca_file))
        err = why_set(why, ERR_LIMIT, "the address or the file's name is too long");
    if (!err) err = context->os->ops->timer_make(context->main->task, on_timer, f, &f->timer);
    if (!err) err = loop_start(&f->loop, context->os, "fetch keys", OS_TASK_BLOCKING, why);
    if (err) {
        free_fetch(f);
        return err;
    }
    wait_until(f, now_of(f));
    *out = f;
    return ERR_OK;
}

void jwk_fetch_stop(struct jwk_fetch *f)
{
    if (!f) return;
    atomic_store(&f->cancelled, true);
    loop_stop(&f->loop);
    f->service->context->os->ops->timer_set(f->timer, -1);
    if (!f->is_stepping) free_fetch(f); /* else its answer is on its way to on_stepped */
}
