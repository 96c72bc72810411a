/* step.c - one step of a sink, on its own task: rows off the table, into the sink's hands.
 *
 * A pass (store/since.h) is one statement, run in pieces of a batch. It is kept open between steps,
 * but not for long: it pins the head, and the head's memory is what everybody writes into. Who is
 * held up outside closes it and goes on later where it was. */
#include "sinks/sinks_priv.h"
#include <stdio.h>
#include <string.h>

enum { UNREAD_MAX = 10 }; /* passes that the disk fails before what it does not give is left out */

/* ---- the statement ---- */

static int64_t mono_of(void *clock)
{
    struct os *os = clock;
    return os->ops->mono_ns(os);
}

static void close_statement(struct sink *s)
{
    sql_close(s->statement);
    s->statement = NULL;
    s->pass_done = false;
}

/* Whether it follows a table; else its query runs at an interval and nothing is kept. */
static bool has_cursor(const struct sink *s)
{
    return s->since != NULL;
}

/* Lets go of the store's memory; goes on where it was. What is left of a query's result is gone,
 * for nobody could say where in it to go on. */
static void rest(struct sink *s)
{
    s->was_cut = !has_cursor(s) && s->statement;
    close_statement(s);
    if (has_cursor(s)) store_since_rest(s->since);
    s->is_holding = false;
}

/* The table that is followed, as it is now. */
static enum err make_text(struct sink *s, size_t *extras, struct why *why)
{
    *extras = 0;
    buf_clear(&s->text);
    if (s->spec->query.size) return sink_text_of_query(s->spec, &s->text, why);
    struct schema *schema =
        store_find_table(s->sinks->config.store, s->document->ns, s->spec->table);
    if (!schema)
        return why_set(why, ERR_NO_TABLE, "there is no table '%.*s' (yet)",
                       (int)s->spec->table.size, s->spec->table.at);
    sink_text_of_table(s->spec, schema, &s->text, extras);
    schema_release(schema);
    return buf_failed(&s->text) ? ERR_NO_MEMORY : ERR_OK;
}

/* The followed table with its new rows only, then all others. */
static void make_catalog(struct sink *s)
{
    s->catalog = (struct sql_catalog){.count = 0};
    if (has_cursor(s)) {
        s->catalog.source[s->catalog.count].ops = &store_since_source;
        s->catalog.source[s->catalog.count++].context = s->since;
    }
    if (s->spec->query.size) {
        s->catalog.source[s->catalog.count].ops = &store_sql_source;
        s->catalog.source[s->catalog.count++].context = s->sinks->config.store;
    }
}

static enum err prepare(struct sink *s, struct why *why)
{
    struct context *context = s->sinks->config.context;
    const struct sql_result_column *columns;
    size_t extras = 0;
    enum err err = make_text(s, &extras, why);
    if (err) return err;
    make_catalog(s);
    s->context = (struct sql_context){
        .catalog = &s->catalog,
        .ns = s->document->ns,
        .budget = &s->budget,
        .now_ns = s->run_ns,
        .mono_ns = mono_of,
        .clock = context->os,
        .deadline_mono_ns = has_cursor(s) ? INT64_MAX : context_mono_ns(context) + SINK_QUERY_NS,
        .cancelled = &s->cancelled,
        .helper_rows = 1};
    err = sql_prepare(&s->context, buf_str(&s->text), &s->statement, why);
    if (err) return err;
    size_t count = sql_columns(s->statement, &columns);
    if (count > SINK_COLUMNS_MAX)
        return why_set(why, ERR_LIMIT, "%zu columns; a sink sends at most %d: name those needed",
                       count, SINK_COLUMNS_MAX);
    if (count < sink_rows_keys(s) + extras)
        return why_set(why, ERR_INVALID,
                       "columns and where are no expressions: one ends the statement before what "
                       "the topic needs");
    s->stats = (struct sql_stats){0};
    err = sink_rows_begin(s, count, extras, columns);
    if (err || s->rows.device_from >= 0 || s->ops != &mqtt_sink) return err;
    if (!sink_topic_has(&s->spec->mqtt, "device")) return ERR_OK;
    return why_set(why, ERR_INVALID,
                   "the topics are made of devices, and the query gives no column device: select "
                   "one, or name one so (… AS device)");
}

/* Everything up to the pass's end was looked at. */
static void finish_pass(struct store_place *place)
{
    *place = (struct store_place){.position = place->up_to};
}

/* Rows that retention took before they were sent are told once, and counted. */
static void look_for_gap(struct sink *s)
{
    uint64_t gone = store_since_gone(s->since);
    bool is_held = store_since_is_urgent(s->since); /* then the rows are still there */
    if (gone <= s->place.position || gone == s->told_gone || is_held) return;
    s->told_gone = gone;
    metric_add(s->sinks->config.context, METRIC_SINK_GAPS, 1);
    diag(s->sinks->config.context, DIAG_ERROR, "sinks",
         "%.*s: rows of %s were not sent: their retention was over before it came to them",
         (int)s->document->name.size, s->document->name.at, s->table);
}

/* What could not be read is told with each pass, and counted. */
static void look_for_damage(struct sink *s)
{
    unsigned long long places = s->stats.scan.damaged;
    if (!places) return;
    metric_add(s->sinks->config.context, METRIC_SINK_GAPS, 1);
    diag(s->sinks->config.context, DIAG_ERROR, "sinks",
         "%.*s: %llu places of %s cannot be read: their rows were not sent; SHOW HEALTH names them",
         (int)s->document->name.size, s->document->name.at, places, s->table);
}

/* The query is run now; what it sees as now() is the moment it was due at. */
static enum err open_run(struct sink *s, struct why *why)
{
    int64_t now = context_wall_ns(s->sinks->config.context), every = s->spec->every_ns;
    MUST(every > 0 && !s->statement);
    s->run_ns = now - now % every;
    s->opened_ns = context_mono_ns(s->sinks->config.context);
    enum err err = prepare(s, why);
    s->is_holding = !err;
    if (!err) s->run_at_ns = s->run_ns + every;
    if (err) close_statement(s);
    return err;
}

/* A pass under way goes on, else the next one begins. False: there is nothing to read. */
static enum err open_pass(struct sink *s, bool *is_empty, struct why *why)
{
    bool resumes = s->place.up_to != 0;
    if (s->place.position) look_for_gap(s); /* from the beginning: what there is */
    store_since_give_up(s->since, s->unread >= UNREAD_MAX);
    store_since_begin(s->since, &s->place, is_empty);
    s->run_ns = context_wall_ns(s->sinks->config.context);
    s->opened_ns = context_mono_ns(s->sinks->config.context);
    s->is_holding = true;
    if (*is_empty) {
        s->place.up_to = 0;
        return ERR_OK;
    }
    enum err err = prepare(s, why);
    if (!err) return ERR_OK;
    if (!resumes) s->place.up_to = 0; /* the next try sees what is there then */
    rest(s);
    return err;
}

/* Where the cursor is once the rows in hand are confirmed. */
static void note_after(struct sink *s)
{
    struct store_place next;
    s->rows.after = s->place;
    if (s->pass_done)
        finish_pass(&s->rows.after);
    else if (has_cursor(s) && sink_rows_end(s, &next))
        s->rows.after = next; /* else these rows come again if the pass is interrupted */
}

/* Reads until a batch is full, or all was read. */
static enum err read_rows(struct sink *s, struct why *why)
{
    enum sql_progress progress = SQL_GOES_ON;
    enum err err = ERR_OK;
    s->sql_sink = (struct sql_sink){sink_rows_take, s, sink_rows_is_full};
    while (!err && progress != SQL_DONE && !sink_rows_is_full(s)) {
        err = sql_step(s->statement, &s->sql_sink, &s->stats, &progress, why);
        MUST(progress != SQL_WAITS); /* no helpers were offered */
    }
    if (err) {
        s->unread += err == ERR_IO;
        sink_memory_free(&s->memory); /* what was taken note of is not sent now */
        sink_rows_free(&s->rows);
        rest(s);
        return err;
    }
    s->pass_done = progress == SQL_DONE && !s->rows.is_cut;
    if (s->pass_done && has_cursor(s)) look_for_damage(s);
    if (s->pass_done) s->unread = 0;
    note_after(s);
    if (s->pass_done || s->rows.is_cut) close_statement(s);
    if (s->rows.count == 0 && s->rows.after.up_to == 0) s->place = s->rows.after;
    return ERR_OK;
}

/* Rows in hand, if there are any to be had. */
static enum err fill(struct sink *s, struct why *why)
{
    bool is_empty = false;
    if (!s->statement) {
        if (!has_cursor(s) && context_wall_ns(s->sinks->config.context) < s->run_at_ns)
            return ERR_OK;
        enum err err = has_cursor(s) ? open_pass(s, &is_empty, why) : open_run(s, why);
        if (err || is_empty) return err;
    } else { /* the same columns as before */
        const struct sql_result_column *columns;
        size_t count = sql_columns(s->statement, &columns);
        enum err err = sink_rows_begin(s, count, s->rows.extras, columns);
        if (err) return err;
    }
    s->is_unsaved = has_cursor(s);
    return read_rows(s, why);
}

/* ---- the sink ---- */

static enum err load(struct sink *s, struct why *why)
{
    void *entry = NULL;
    char file[80];
    struct context *context = s->sinks->config.context;
    if (str_is(s->spec->type, mqtt_sink.name)) {
        s->ops = &mqtt_sink;
        return ERR_OK;
    }
    if (!context->os->ops->library_open)
        return why_set(why, ERR_UNSUPPORTED, "shared objects cannot be loaded here");
    snprintf(file, sizeof file, "millrace-sink-%.*s.so",
             (int)(s->spec->type.size > 40 ? 40 : s->spec->type.size), s->spec->type.at);
    enum err err = ERR_NOT_FOUND;
    if (context->drivers_folder)
        err = context->os->ops->library_open(context->os, context->drivers_folder, file,
                                             MILLRACE_SINK_ENTRY, &entry, why);
    if (err == ERR_NOT_FOUND)
        err = context->os->ops->library_open(context->os, NULL, file, MILLRACE_SINK_ENTRY, &entry,
                                             why);
    if (err) return err;
    const struct millrace_sink *(*get)(void);
    memcpy(&get, &entry, sizeof get); /* ISO C has no cast between the two kinds of pointer */
    const struct millrace_sink *ops = get();
    if (!ops || ops->abi != MILLRACE_SINK_ABI || ops->size_bytes < sizeof *ops || !ops->take)
        return why_set(why, ERR_FORMAT, "%s was made for another version of sink.h", file);
    s->ops = ops;
    return ERR_OK;
}

enum { OPTIONS_MAX = 64 };

static struct str option_text(const struct doc *value)
{
    if (value->kind == DOC_BOOL) return value->b ? STR("true") : STR("false");
    return doc_text(value);
}

/* Plain values as text, in `arena`; returns how many. */
static size_t read_options(const struct doc *map, struct arena *arena,
                           struct millrace_sink_option options[OPTIONS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; map && i < map->count && count < OPTIONS_MAX; i++) {
        struct str key = map->items[i].key, value = option_text(map->items[i].value);
        const char *name = arena_strdup(arena, key.at, key.size),
                   *text = arena_strdup(arena, value.size ? value.at : "", value.size);
        if (name && text) options[count++] = (struct millrace_sink_option){name, text};
    }
    return count;
}

/* What a sink says of a failure, which it may have written to the last byte. */
static const char *said(char text[MILLRACE_SINK_WHY_BYTES], const char *otherwise)
{
    text[MILLRACE_SINK_WHY_BYTES - 1] = 0;
    return text[0] ? text : otherwise;
}

static enum err open_sink(struct sink *s, struct why *why)
{
    char text[MILLRACE_SINK_WHY_BYTES] = "";
    struct millrace_sink_option options[OPTIONS_MAX];
    struct arena arena;
    enum err err = s->ops ? ERR_OK : load(s, why);
    if (err || s->is_open) return err;
    MUST(s->ops);
    if (!s->state) s->state = mem_alloc_zero(1, s->ops->state_bytes + 1);
    if (!s->state) return ERR_NO_MEMORY;
    arena_init(&arena, NULL);
    const struct resource *r = s->document;
    struct millrace_sink_config config = {.ns = arena_strdup(&arena, r->ns.at, r->ns.size),
                                          .name = arena_strdup(&arena, r->name.at, r->name.size),
                                          .table = s->table,
                                          .option_count =
                                              read_options(s->spec->options, &arena, options),
                                          .options = options,
                                          .now_ns = context_wall_ns(s->sinks->config.context),
                                          .spec = s->ops == &mqtt_sink ? &s->spec->mqtt : NULL};
    memset(s->state, 0, s->ops->state_bytes + 1);
    bool may = config.ns && config.name && sink_call_begin(s);
    s->is_open = may && (!s->ops->open || s->ops->open(s->state, &config, text));
    if (may) sink_call_end(s);
    arena_free(&arena);
    if (s->is_open) return ERR_OK;
    return why_set(why, ERR_CONNECT, "%s", said(text, "the sink does not open"));
}

static bool keep_message(struct sink *s, const struct millrace_sink_message *message)
{
    if (message->qos > 2) return false;
    struct sink_message *m = arena_zero(&s->message_arena, 1, sizeof *m);
    const char *topic = arena_dup(&s->message_arena, message->topic.at, message->topic.size);
    const char *payload = arena_dup(
        &s->message_arena, message->payload.size ? message->payload.at : "", message->payload.size);
    s->lacks_memory |= !m || !topic || !payload;
    if (!m || !topic || !payload) return false;
    m->sink = s;
    m->op.order = BROKER_PUBLISH;
    m->op.ns = s->document->ns; /* its share outlives the messages */
    m->op.topic = (struct str){topic, message->topic.size};
    m->op.payload = (struct str){payload, message->payload.size};
    m->op.qos = message->qos;
    m->op.retain = message->retain;
    m->op.has_expiry = message->expiry_s != 0;
    m->op.expiry_s = message->expiry_s;
    m->op.is_own = true;
    *s->messages_end = m;
    s->messages_end = &m->next;
    return true;
}

/* Of struct millrace_sink_host. */
static bool publish(void *host, const struct millrace_sink_message *message)
{
    struct sink *s = host;
    sink_call_end(s);
    bool is_kept = keep_message(s, message);
    sink_call_on(s);
    return is_kept;
}

static void clear_messages(struct sink *s)
{
    arena_reset(&s->message_arena);
    s->messages = NULL;
    s->messages_end = &s->messages;
}

/* Somebody has asked that it introduces itself again. */
static enum err introduce(struct sink *s, struct why *why)
{
    uint32_t seen = s->watch ? atomic_load(&s->watch->seen) : 0;
    char text[MILLRACE_SINK_WHY_BYTES] = "";
    if (seen == s->answered || !s->ops->again) return ERR_OK;
    struct millrace_sink_host host = {s, publish};
    int64_t now = context_wall_ns(s->sinks->config.context);
    if (!sink_call_begin(s)) return ERR_CANCELLED;
    enum millrace_sink_answer answer = s->ops->again(s->state, &host, now, text);
    sink_call_end(s);
    if (answer != MILLRACE_SINK_TAKEN) {
        clear_messages(s);
        return why_set(why, ERR_BUSY, "%s", said(text, "the sink does not introduce itself"));
    }
    s->answered = seen;
    return ERR_OK;
}

/* The next rows in hand go to the sink. */
static enum err hand_over(struct sink *s, struct why *why)
{
    struct sink_rows *rows = &s->rows;
    char text[MILLRACE_SINK_WHY_BYTES] = "";
    uint32_t left = rows->count - rows->at, most = rows->most;
    if (s->ops->rows_max && most > s->ops->rows_max) most = (uint32_t)s->ops->rows_max;
    if (s->is_singly) most = 1;
    uint32_t count = left < most ? left : most;
    MUST(count > 0 && rows->slice == 0);
    for (size_t c = 0; c < rows->columns + rows->extras; c++) {
        const struct vector *v = &rows->vectors[c];
        size_t element = vector_element_bytes(v->type);
        rows->shown[c].null = v->null + rows->at;
        rows->shown[c].quality = v->quality + rows->at;
        rows->shown[c].data = (const char *)v->data + rows->at * element;
    }
    char ns[256];
    (void)str_copy(ns, sizeof ns, s->document->ns);
    struct millrace_sink_batch batch = {.id = ++s->next_id,
                                        .ns = ns,
                                        .table = s->table,
                                        .row_count = count,
                                        .time_ns = rows->time + rows->at,
                                        .device = rows->device + rows->at,
                                        .column_count = rows->columns,
                                        .extra_count = rows->extras,
                                        .columns = rows->shown,
                                        .now_ns = context_wall_ns(s->sinks->config.context)};
    struct millrace_sink_host host = {s, publish};
    clear_messages(s);
    s->lacks_memory = false;
    if (!sink_call_begin(s)) return ERR_CANCELLED;
    enum millrace_sink_answer answer = s->ops->take(s->state, &batch, &host, text);
    sink_call_end(s);
    if (answer == MILLRACE_SINK_TAKEN) {
        rows->slice = count;
        return ERR_OK;
    }
    clear_messages(s);
    if (answer == MILLRACE_SINK_RETRY && s->lacks_memory && count > 1) {
        rows->most = count / 2; /* fewer at once need less for their messages */
        return hand_over(s, why);
    }
    bool skips = answer == MILLRACE_SINK_REFUSED && s->spec->on_error == SINK_SKIP;
    if (skips && count > 1) { /* one of them: which, they show one by one */
        s->is_singly = true;
        return hand_over(s, why);
    }
    if (skips) {
        rows->slice = s->dropped = count;
        why_set(why, ERR_INVALID, "a row was skipped: %s", said(text, "the sink refuses it"));
        return ERR_OK;
    }
    return why_set(why, answer == MILLRACE_SINK_RETRY ? ERR_BUSY : ERR_INVALID, "%s",
                   said(text, "the sink takes no rows"));
}

/* ---- steps ---- */

static bool save_is_due(const struct sink *s)
{
    int64_t age = context_mono_ns(s->sinks->config.context) - s->saved_ns;
    return s->is_unsaved && age >= (s->moved_rows ? SINK_SAVE_NS : SINK_SAVE_IDLE_NS);
}

/* The rows handed over last were confirmed. */
static void take_confirmed(struct sink *s)
{
    struct sink_rows *rows = &s->rows;
    MUST(rows->is_confirmed);
    rows->is_confirmed = false;
    rows->at += rows->slice;
    rows->slice = 0;
    s->is_unsaved = s->moved_rows = has_cursor(s);
    clear_messages(s);
    if (rows->at < rows->count) return;
    s->place = rows->after;
    rows->count = rows->at = 0;
    s->is_singly = false;
}

static enum err step(struct sink *s, struct why *why)
{
    if (s->only_rests) {
        rest(s);
        return ERR_OK;
    }
    enum err err = s->is_loaded || !has_cursor(s) ? ERR_OK : sink_cursor_load(s, why);
    if (err) return err;
    s->is_loaded = true;
    if (s->rows.slice) take_confirmed(s);
    clear_messages(s); /* what was asked for is in the broker */
    if (save_is_due(s) && (err = sink_cursor_save(s, why))) return err;
    int64_t age = context_mono_ns(s->sinks->config.context) - s->opened_ns;
    if (s->is_holding && has_cursor(s) && age > SINK_HOLD_NS) rest(s);
    if ((err = open_sink(s, why)) || (err = introduce(s, why)) || s->messages) return err;
    if (s->rows.count == 0) err = fill(s, why);
    if (err || s->rows.count == 0) return err;
    return hand_over(s, why);
}

void sink_step_run(struct job *job)
{
    struct sink *s = (struct sink *)(void *)((char *)job - offsetof(struct sink, step));
    struct why why = WHY_NONE;
    MUST(s->magic == SINK_MAGIC);
    enum err err = step(s, &why);
    /* Who waits for the world outside does not hold what others need. */
    if (err && has_cursor(s)) rest(s);
    completion_finish(&s->stepped, err, &why);
}

static void keep_place(struct sink *s)
{
    struct why why = WHY_NONE;
    if (s->is_loaded && s->is_unsaved && !s->is_removed && sink_cursor_save(s, &why))
        diag(s->sinks->config.context, DIAG_ERROR, "sinks", "%.*s: its cursor is not saved: %s",
             (int)s->document->name.size, s->document->name.at, why_text(&why, ERR_IO));
    if (s->is_removed) sink_cursor_remove(s);
    close_statement(s);
}

/* What the sink says last goes out behind the messages under way, which stay where they are. What a
 * step asked for that nobody has looked at any more goes again, with its rows. */
static void say_last(struct sink *s)
{
    struct millrace_sink_host host = {s, publish};
    if (s->under_way == 0) clear_messages(s);
    s->messages = NULL;
    s->messages_end = &s->messages;
    if (!s->is_open || !sink_call_begin(s)) return;
    if (s->ops->leave) s->ops->leave(s->state, &host, context_wall_ns(s->sinks->config.context));
    if (s->ops->close) s->ops->close(s->state);
    sink_call_end(s);
    s->is_open = false;
}

void sink_step_end(struct sink *s)
{
    if (s->rows.is_confirmed) take_confirmed(s);
    keep_place(s);
    say_last(s);
}

void sink_step_abandon(struct sink *s)
{
    keep_place(s);
}
