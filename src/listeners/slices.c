/* slices.c - see slices.h. An answer ends with its exchange: by its last slice, for want of memory,
 * or when the peer has gone. Invariant: unless it runs, it either waits for the peer or its job is
 * posted. Called by resources_list.c and mqtt_show_http.c. */
#include "listeners/slices.h"

static void end(struct slices *s, enum err err)
{
    struct http_exchange *exchange = s->exchange;
    buf_free(&s->out);
    s->free(s);
    http_end(exchange, err);
}

static void go_on(struct job *job)
{
    struct slices *s = (void *)((char *)job - offsetof(struct slices, job));
    bool wait = false;
    MUST(!s->waits);
    if (http_is_gone(s->exchange)) {
        end(s, ERR_CANCELLED);
        return;
    }
    if (!s->out.size) s->is_last = !s->write(s);
    if (buf_failed(&s->out)) {
        end(s, ERR_NO_MEMORY);
        return;
    }
    http_send(s->exchange, buf_str(&s->out), &wait);
    buf_clear(&s->out);
    if (s->is_last)
        end(s, ERR_OK);
    else if (wait && !http_is_gone(s->exchange))
        s->waits = true;
    else
        loop_post(s->main, &s->job);
}

/* The peer has read what was sent, or has gone. */
static void on_woken(void *arg)
{
    struct slices *s = arg;
    if (!s->waits) return;
    s->waits = false;
    loop_post(s->main, &s->job);
}

void slices_answer(struct slices *s, struct loop *main)
{
    MUST(s->write && s->free && s->exchange && loop_is_current(main));
    s->main = main;
    s->job.run = go_on;
    s->is_last = !s->write(s);
    if (s->is_last || buf_failed(&s->out)) {
        http_reply_buf(s->exchange, 200, "application/json", &s->out);
        buf_free(&s->out);
        s->free(s);
        return;
    }
    http_on_gone(s->exchange, on_woken, s);
    http_on_drained(s->exchange, on_woken, s);
    http_begin(s->exchange, 200, "application/json");
    loop_post(main, &s->job);
}
