/* sinks.c - the main loop's side of sinks: documents, timers, and messages on their way to the
 * broker. See sinks.h.
 *
 * A sink's turn: sink_look (is there anything to do?) → sink_step_run on its task → on_stepped →
 * messages to the broker, if the sink asked for some → sink_look again. A change of its document
 * ends it at the end of its turn, and a new one goes on from the file of its cursor. */
#include "sinks/edge.h"
#include "sinks/sinks_priv.h"
#include "base/num.h"
#include <stdio.h>
#include <string.h>

static const char component[] = "sinks";

static void look(struct sink *s);
static void free_if_done(struct sink *s);
static void on_timer(void *arg);
static void post_apply(struct sinks *sinks);

static struct context *context_of(const struct sink *s)
{
    return s->sinks->config.context;
}

static void set_timer(struct sink *s, int64_t delay_ns)
{
    context_of(s)->os->ops->timer_set(s->timer, delay_ns);
}

/* ---- what went wrong ---- */

static void note_error(struct sink *s, enum err err, const struct why *why)
{
    struct sink_counters *c = &s->counters;
    const char *text = why_text(why, err);
    bool is_new = strncmp(c->error, text, sizeof c->error - 1) != 0 || !s->pause_ns;
    (void)str_copy(c->error, sizeof c->error, str_of(text));
    c->error_ns = context_wall_ns(context_of(s));
    if (is_new) /* what goes on is told once */
        diag(context_of(s), DIAG_WARNING, component, "%.*s: %s", (int)s->document->name.size,
             s->document->name.at, c->error);
}

/* Tried again after a pause that doubles. */
static void fail(struct sink *s, enum err err, const struct why *why)
{
    note_error(s, err, why);
    s->counters.failures++;
    metric_add(context_of(s), METRIC_SINK_FAILURES, 1);
    s->pause_ns = s->pause_ns ? 2 * s->pause_ns : SINK_RETRY_MIN_NS;
    if (s->pause_ns > SINK_RETRY_MAX_NS) s->pause_ns = SINK_RETRY_MAX_NS;
    s->not_before_ns = context_mono_ns(context_of(s)) + s->pause_ns;
    set_timer(s, s->pause_ns < SINK_HOLD_NS ? s->pause_ns : SINK_HOLD_NS);
}

/* ---- messages ---- */

/* The rows in the sink's hands are where they belong: the step that follows takes note of it. */
static void confirm(struct sink *s, uint64_t messages)
{
    uint32_t rows = s->rows.slice - s->dropped;
    s->counters.rows += rows;
    s->counters.skipped += s->dropped;
    s->counters.messages += messages;
    s->bridge_queued += messages; /* until the broker is looked at again */
    metric_add(context_of(s), METRIC_SINK_ROWS, rows);
    metric_add(context_of(s), METRIC_SINK_SKIPPED, s->dropped);
    s->rows.is_confirmed = s->rows.slice > 0;
    s->dropped = 0;
    s->pause_ns = 0;
    if (s->spec->rate) {
        int64_t spent = (int64_t)rows * TIME_NS_PER_S / s->spec->rate;
        s->not_before_ns = context_mono_ns(context_of(s)) + spent;
    }
}

static void end_of_publishing(struct sink *s)
{
    uint64_t count = 0;
    if (s->publish_err) {
        /* Those behind the first that failed go again, too: so the last of each topic comes last.
         */
        bool is_behind = false;
        for (struct sink_message *m = s->messages; m; m = m->next) {
            is_behind |= !m->is_done;
            m->is_done = !is_behind;
        }
        fail(s, s->publish_err, &s->publish_why);
        return;
    }
    for (const struct sink_message *m = s->messages; m; m = m->next) count++;
    confirm(s, count);
    look(s);
}

static void on_published(struct completion *c)
{
    struct sink_message *m = (struct sink_message *)(void *)c;
    struct sink *s = m->sink;
    MUST(s->magic == SINK_MAGIC && s->under_way > 0);
    s->under_way--;
    if (s->is_gone) {
        free_if_done(s);
        return;
    }
    m->is_done = !c->err;
    if (c->err && !s->publish_err) {
        s->publish_err = c->err;
        s->publish_why = c->why;
    }
    if (s->under_way == 0 && s->sinks->is_running) end_of_publishing(s);
}

/* Those that are not in the broker yet, so also what failed before. */
static void publish(struct sink *s)
{
    MUST(s->under_way == 0 && !s->is_stepping);
    s->publish_err = ERR_OK;
    s->publish_why = WHY_NONE;
    s->under_way = 1; /* this loop: an answer never comes inside the call, but who knows */
    for (struct sink_message *m = s->messages; m; m = m->next) {
        if (m->is_done) continue;
        s->under_way++;
        completion_init(&m->op.completion, context_of(s)->main, on_published);
        broker_command(s->sinks->config.broker, &m->op);
    }
    if (--s->under_way == 0) end_of_publishing(s);
}

/* One that the broker can never take, such as one that is too large. */
static bool may_skip(const struct sink *s)
{
    return s->spec->on_error == SINK_SKIP &&
           (s->publish_err == ERR_INVALID || s->publish_err == ERR_LIMIT);
}

/* ---- turns ---- */

/* Of a query at an interval: what was read of its result goes out, the rest is left out. */
static void note_cut(struct sink *s)
{
    struct why why = WHY_NONE;
    s->was_cut = false;
    why_set(&why, ERR_LIMIT,
            "the rest of a result was left out: it could not be sent within %d s; raise "
            "batch.rows or rate, or run the query less often",
            (int)(SINK_HOLD_NS / TIME_NS_PER_S));
    note_error(s, ERR_LIMIT, &why);
    s->counters.failures++;
    metric_add(context_of(s), METRIC_SINK_FAILURES, 1);
}

static void on_stepped(struct completion *c)
{
    struct sink *s = (struct sink *)(void *)((char *)c - offsetof(struct sink, stepped));
    MUST(s->magic == SINK_MAGIC && s->is_stepping);
    s->is_stepping = false;
    if (s->is_gone) {
        free_if_done(s);
        return;
    }
    MUST(s->sinks->is_running);
    sink_commands_run(s);
    if (s->only_rests) {
        s->only_rests = false;
        if (s->was_cut) note_cut(s);
        on_timer(s);
        return;
    }
    if (c->err) {
        fail(s, c->err, &c->why);
    } else if (s->rows.slice || s->messages) {
        if (s->dropped) note_error(s, ERR_INVALID, &c->why);
        publish(s);
    } else {
        s->pause_ns = 0;
        look(s);
    }
}

static void start_step(struct sink *s)
{
    MUST(!s->is_stepping && !s->under_way);
    s->is_stepping = true;
    completion_init(&s->stepped, context_of(s)->main, on_stepped);
    s->step.run = sink_step_run;
    loop_post(&s->loop, &s->step);
}

/* Whether a step would find something to do. */
static bool is_due(const struct sink *s)
{
    if (!s->is_loaded || !s->is_open || s->rows.count || s->statement || s->place.up_to)
        return true;
    int64_t now = context_mono_ns(context_of(s));
    if (s->is_unsaved && now - s->saved_ns > (s->moved_rows ? SINK_SAVE_NS : SINK_SAVE_IDLE_NS))
        return true;
    if (s->watch && atomic_load(&s->watch->seen) != s->answered) return true;
    if (!s->since) return context_wall_ns(context_of(s)) >= s->run_at_ns;
    return store_positions(s->sinks->config.store).applied > s->place.position ||
           store_since_is_urgent(s->since);
}

static void remove_sink(struct sink *s);

static bool bridge_is_full(const struct sink *s)
{
    return s->spec->mqtt.bridge.size && s->bridge_queued > SINK_BRIDGE_QUEUE;
}

/* Whether the sink has caught up: what comes now may wait until there is more of it. */
static bool lingers(const struct sink *s)
{
    return s->is_loaded && !s->rows.count && !s->statement && !s->place.up_to;
}

/* Whether it waits for something outside, and for how long at least. */
static bool has_to_wait(const struct sink *s, int64_t now, int64_t *delay_ns)
{
    *delay_ns = s->spec->batch.linger_ns;
    if (s->not_before_ns > now) *delay_ns = s->not_before_ns - now;
    return s->not_before_ns > now || bridge_is_full(s);
}

/* Waiting: what is held of the store is held for a while only. */
static void wait_on(struct sink *s, int64_t now, int64_t delay_ns)
{
    if (s->is_holding && now - s->opened_ns >= SINK_HOLD_NS) {
        s->only_rests = true;
        start_step(s);
        return;
    }
    set_timer(s, s->is_holding && delay_ns > SINK_HOLD_NS ? SINK_HOLD_NS : delay_ns);
}

/* Until there may be something to do. That of a query is looked at often enough for a clock that is
 * set while it waits. */
static int64_t idle_delay(struct sink *s)
{
    int64_t every = s->spec->every_ns, most = s->spec->batch.linger_ns;
    if (s->since) return most;
    int64_t now = context_wall_ns(context_of(s));
    if (s->run_at_ns == 0 || s->run_at_ns - now > every) s->run_at_ns = now - now % every + every;
    int64_t left = s->run_at_ns - now;
    if (s->watch && left > most) left = most;
    return left < 0 ? 0 : left < TIME_NS_PER_S ? left : TIME_NS_PER_S;
}

static void on_timer(void *arg)
{
    struct sink *s = arg;
    int64_t delay;
    if (s->is_stepping || s->under_way) return; /* their end looks */
    if (s->is_ending) {
        remove_sink(s);
        return;
    }
    int64_t now = context_mono_ns(context_of(s));
    if (has_to_wait(s, now, &delay)) {
        wait_on(s, now, delay);
    } else if (s->rows.slice && s->publish_err && may_skip(s)) {
        s->dropped = s->rows.slice;
        s->publish_err = ERR_OK;
        confirm(s, 0);
        look(s);
    } else if (s->messages && s->publish_err) {
        publish(s);
    } else if (!is_due(s)) {
        set_timer(s, idle_delay(s));
    } else {
        start_step(s);
    }
}

/* After a turn: on at once while there is more, else when rows have had time to gather. */
static void look(struct sink *s)
{
    if (s->is_ending || !lingers(s))
        on_timer(s);
    else
        set_timer(s, idle_delay(s));
}

/* ---- one sink ---- */

static void free_sink(struct sink *s)
{
    if (s->timer) context_of(s)->os->ops->timer_close(s->timer);
    store_since_free(s->since);
    sink_rows_free(&s->rows);
    sink_memory_free(&s->memory);
    arena_free(&s->message_arena);
    buf_free(&s->text);
    mem_free(s->state);
    resource_release(s->document);
    s->magic = 0;
    mem_free(s);
}

/* Of one that is gone: its messages, and the end of its last step, hold it. */
static void free_if_done(struct sink *s)
{
    if (s->under_way == 0 && !s->is_stepping && !s->is_abandoned) free_sink(s);
}

/* An edge node can be asked for a rebirth, and to write. */
static enum err watch_commands(struct sink *s)
{
    const struct sink_mqtt_spec *mqtt = &s->spec->mqtt;
    if (!str_is(s->spec->type, mqtt_sink.name) || mqtt->format != SINK_SPARKPLUG) return ERR_OK;
    s->watch = mem_alloc_zero(1, sizeof *s->watch);
    if (!s->watch) return ERR_NO_MEMORY;
    s->watch->wants = edge_asks_rebirth;
    bool fits = str_copy(s->watch->ns, sizeof s->watch->ns, s->document->ns) &&
                edge_command_topic(mqtt->group, mqtt->edge, s->watch->topic, WATCH_TOPIC_BYTES) &&
                edge_device_topics(mqtt->group, mqtt->edge, s->watch->devices, WATCH_TOPIC_BYTES);
    MUST(fits); /* sinks_check */
    broker_watch_add(s->sinks->config.broker, s->watch);
    return ERR_OK;
}

static struct sink *new_sink(struct sinks *sinks, struct resource *r, struct why *why)
{
    struct context *context = sinks->config.context;
    struct sink *s = mem_alloc_zero(1, sizeof *s);
    if (!s) return NULL;
    s->magic = SINK_MAGIC;
    s->sinks = sinks;
    s->document = resource_share(r);
    s->spec = r->spec;
    s->messages_end = &s->messages;
    s->park = context->os->ops->task_park;
    budget_init(&s->budget, "sink", &context->memory, SINK_MEMORY_BYTES);
    arena_init(&s->rows.arena, &s->budget);
    arena_init(&s->message_arena, &s->budget);
    map_init(&s->memory.devices);
    enum err err = sink_text_table(s->spec, s->table, &s->joins, why);
    if (!err && s->table[0]) {
        s->since = store_since_new(sinks->config.store, r->ns, str_of(s->table));
        err = s->since ? ERR_OK : ERR_NO_MEMORY;
    }
    if (!s->table[0]) (void)idle_delay(s); /* the first run is the next one that is due */
    if (!err) err = watch_commands(s);
    if (!err) err = context->os->ops->timer_make(context->main->task, on_timer, s, &s->timer);
    if (!err) err = loop_start(&s->loop, context->os, "sink", OS_TASK_BLOCKING, why);
    if (!err) return s;
    broker_watch_drop(s->watch);
    free_sink(s);
    return NULL;
}

static void run_end(struct job *job)
{
    sink_step_end((struct sink *)(void *)((char *)job - offsetof(struct sink, end)));
}

/* Its task ends behind the call under way. */
static void begin_end(struct sink *s)
{
    sink_commands_end(s);
    atomic_store(&s->cancelled, true);
    s->end.run = run_end;
    loop_post(&s->loop, &s->end);
}

/* It stays, as its task is in the sink's code for good; what others need is let go of. */
static void abandon(struct sink *s)
{
    diag(context_of(s), DIAG_ERROR, component,
         "%.*s: type %.*s has not returned from a call for %d s and is not waited for any more; "
         "rows that it has not confirmed go out again",
         (int)s->document->name.size, s->document->name.at, (int)s->spec->type.size,
         s->spec->type.at, (int)(SINK_STOP_NS / TIME_NS_PER_S));
    s->is_abandoned = true;
    sink_step_abandon(s);
    store_since_free(s->since);
    s->since = NULL;
}

/* Waits until the cursor is saved and the task has ended, but until `until_ns` (monotonic) only
 * when it is the sink that does not return. */
static void end_task(struct sink *s, int64_t until_ns)
{
    int64_t left = until_ns - context_mono_ns(context_of(s));
    while (!s->is_abandoned && !loop_stop_within(&s->loop, left)) {
        if (sink_call_abandon(s)) abandon(s);
        left = TIME_NS_PER_S / 100; /* the node's own code comes back, or calls the sink again */
    }
}

/* It is in no list any more: its last messages hold it. */
static void say_goodbye(struct sink *s)
{
    broker_watch_drop(s->watch);
    s->watch = NULL;
    if (s->timer) context_of(s)->os->ops->timer_close(s->timer);
    s->timer = NULL;
    s->is_gone = true;
    struct sink_message *last = s->is_abandoned ? NULL : s->messages;
    for (struct sink_message *m = last; m; m = m->next) s->under_way++;
    for (struct sink_message *m = last; m; m = m->next) {
        completion_init(&m->op.completion, context_of(s)->main, on_published);
        broker_command(s->sinks->config.broker, &m->op);
    }
    free_if_done(s);
}

static void remove_sink(struct sink *s)
{
    struct sinks *sinks = s->sinks;
    struct sink **at = &sinks->first;
    MUST(!s->is_stepping && !s->under_way);
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    begin_end(s);
    end_task(s, context_mono_ns(context_of(s)) + SINK_STOP_NS);
    say_goodbye(s);
    post_apply(sinks); /* its successor may begin */
}

/* ---- documents ---- */

static struct sink *find(const struct sinks *sinks, const struct resource *r)
{
    for (struct sink *s = sinks->first; s; s = s->next)
        if (strcmp(s->document->uid, r->uid) == 0) return s;
    return NULL;
}

static void begin(struct sinks *sinks, struct resource *r)
{
    struct why why = WHY_NONE;
    struct sink *s = new_sink(sinks, r, &why);
    if (!s) {
        diag(sinks->config.context, DIAG_ERROR, component, "%.*s does not run: %s",
             (int)r->name.size, r->name.at, why_text(&why, ERR_NO_MEMORY));
        return;
    }
    s->next = sinks->first;
    sinks->first = s;
    on_timer(s);
}

static void apply(struct sinks *sinks)
{
    const struct registry *registry = sinks->config.registry;
    size_t at = 0;
    for (struct sink *s = sinks->first, *next; s; s = next) {
        next = s->next;
        const struct resource *now =
            registry_get(registry, KIND_SINK, s->document->ns, s->document->name);
        bool is_same = now && strcmp(now->uid, s->document->uid) == 0;
        s->is_removed = !is_same;
        s->is_ending |= !is_same || now->generation != s->document->generation;
        if (s->is_ending) on_timer(s); /* may remove it */
    }
    for (struct resource *r; (r = registry_next(registry, KIND_SINK, &at));)
        if (((const struct sink_spec *)r->spec)->enabled && !find(sinks, r)) begin(sinks, r);
}

static void run_apply(struct job *job)
{
    struct sinks *sinks = (void *)((char *)job - offsetof(struct sinks, job));
    sinks->is_posted = false;
    if (sinks->is_running) apply(sinks);
}

static void post_apply(struct sinks *sinks)
{
    if (sinks->is_posted || !sinks->is_running) return;
    sinks->is_posted = true;
    loop_post(sinks->config.context->main, &sinks->job);
}

static void on_change(void *arg, const struct resource *old, const struct resource *now)
{
    if ((now ? now : old)->kind == KIND_SINK) post_apply(arg);
}

/* ---- all of them ---- */

enum err sinks_new(const struct sinks_config *config, struct sinks **out, struct why *why)
{
    struct sinks *sinks = mem_alloc_zero(1, sizeof *sinks);
    if (!sinks) return why_set(why, ERR_NO_MEMORY, "no memory for sinks");
    sinks->config = *config;
    sinks->job.run = run_apply;
    int n = snprintf(sinks->folder, sizeof sinks->folder, "%s/sinks", config->folder);
    MUST(n > 0 && (size_t)n < sizeof sinks->folder);
    *out = sinks;
    return ERR_OK;
}

void sinks_start(struct sinks *sinks)
{
    MUST(!sinks->is_running && sinks->config.broker);
    sinks->is_running = true;
    registry_watch_all(sinks->config.registry, on_change, sinks);
    apply(sinks);
}

void sinks_stop(struct sinks *sinks)
{
    if (!sinks || !sinks->is_running) return;
    registry_unwatch(sinks->config.registry, sinks);
    sinks->is_running = false;
    int64_t until = context_mono_ns(sinks->config.context) + SINK_STOP_NS;
    for (struct sink *s = sinks->first; s; s = s->next) begin_end(s);
    while (sinks->first) {
        struct sink *s = sinks->first;
        sinks->first = s->next;
        end_task(s, until);
        say_goodbye(s);
    }
}

void sinks_free(struct sinks *sinks)
{
    if (!sinks) return;
    MUST(!sinks->is_running && !sinks->is_posted && !sinks->first);
    mem_free(sinks);
}

/* ---- what they show ---- */

static const char *const state_names[] = {[SINK_IDLE] = "idle",
                                          [SINK_SENDING] = "sending",
                                          [SINK_WAITING] = "waiting",
                                          [SINK_FAILING] = "failing",
                                          [SINK_ENDING] = "ending"};

const char *sink_state_name(enum sink_state state)
{
    return state_names[state];
}

static enum sink_state state_of(const struct sink *s)
{
    if (s->is_ending) return SINK_ENDING;
    if (s->pause_ns) return SINK_FAILING;
    if (bridge_is_full(s)) return SINK_WAITING;
    return s->is_stepping || s->under_way ? SINK_SENDING : SINK_IDLE;
}

/* Positions are microseconds since 1970, as long as the clock did not jump. */
static int64_t lag_of(const struct sink *s, uint64_t position)
{
    struct store_positions now = store_positions(s->sinks->config.store);
    if (!position || now.applied <= position) return 0;
    int64_t age = context_wall_ns(context_of(s)) / TIME_NS_PER_US - (int64_t)position;
    return age > 0 ? age * TIME_NS_PER_US : 0;
}

void sinks_each(const struct sinks *sinks, void (*use)(void *arg, const struct sink_row *row),
                void *arg)
{
    for (struct sink *s = sinks ? sinks->first : NULL; s; s = s->next) {
        if (!s->is_stepping) s->shown_position = s->place.position;
        struct sink_row row = {.ns = s->document->ns,
                               .name = s->document->name,
                               .type = s->spec->type,
                               .table = str_of(s->table),
                               .generation = s->document->generation,
                               .state = state_of(s),
                               .position = s->shown_position,
                               .lag_ns = lag_of(s, s->shown_position),
                               .rows = s->counters.rows,
                               .messages = s->counters.messages,
                               .skipped = s->counters.skipped,
                               .failures = s->counters.failures,
                               .error = str_of(s->counters.error),
                               .error_ns = s->counters.error_ns};
        use(arg, &row);
    }
}

void sinks_note_bridge(struct sinks *sinks, struct str ns, struct str name, uint64_t queued)
{
    for (struct sink *s = sinks ? sinks->first : NULL; s; s = s->next)
        if (str_equal(s->document->ns, ns) && str_equal(s->spec->mqtt.bridge, name))
            s->bridge_queued = queued;
}
