/* pg_copy_in.c - COPY … FROM STDIN: rows as they stream in, into batches of the log.
 *
 * What arrives gathers in `filling`; a worker turns a chunk of it into one batch while the next one
 * gathers; batches go to the log, a few at a time. Whoever sends faster than that is stopped. So a
 * COPY of any size takes the same memory.
 *
 * It follows that it is not one transaction: the rows before the first one that is wrong are kept,
 * that row and all behind it are not, and the error says how many that are. "COPY n" comes when all
 * n are as durable as the table promises. */
#include "listeners/ingest.h"
#include "listeners/pg_copy_priv.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LABELS_MAX = 64 }; /* of a row */

static void advance(struct pg_copy *copy);

/* ---- the beginning ---- */

static enum err find_table(struct pg_copy *copy, struct why *why)
{
    struct pg_session *s = copy->connection->session;
    struct service *service = copy->connection->server->service;
    struct str name, schema = copy->table;
    if (!lex_text(&copy->table_token, &copy->arena, &name))
        return why_set(why, ERR_NO_MEMORY, "no memory for COPY");
    schema.size -= copy->table_token.text.size;
    if (schema.size && !str_is_nocase(str_trim(schema), "public."))
        return why_set(why, ERR_READ_ONLY, "only tables of the schema public can be written");
    struct str ns = str_of(s->ns);
    enum access_scope scope = access_scope(s->identity, VERB_INGEST, "Table", ns, name);
    if (scope == ACCESS_NONE)
        return access_check(s->identity, VERB_INGEST, "Table", ns, name, STR(""), why);
    copy->is_limited = scope != ACCESS_ALL;
    copy->schema = store_find_table(service->store, ns, name);
    if (copy->schema) return ERR_OK;
    return why_at(why, ERR_NO_TABLE, copy->table_token.position, "table \"%.*s\" does not exist",
                  (int)name.size, name.at);
}

static enum err add_target(struct pg_copy *copy, struct str name, bool is_label, struct why *why)
{
    struct pg_copy_target *t = &copy->targets[copy->target_count];
    char *kept = arena_strdup(&copy->arena, name.at, name.size);
    if (!kept) return why_set(why, ERR_NO_MEMORY, "no memory for COPY");
    *t = (struct pg_copy_target){COPY_COLUMN, NULL, kept, pg_type_of(TYPE_TEXT)};
    if (is_label) {
        t->kind = COPY_LABEL;
    } else if (str_is(name, "time")) {
        t->kind = COPY_TIME;
        t->type = pg_type_of(TYPE_TIMESTAMP);
    } else if (str_is(name, "device")) {
        t->kind = COPY_DEVICE;
    } else {
        t->column = schema_find(copy->schema, name);
        if (!t->column)
            return why_set(why, ERR_NO_COLUMN, "column \"%s\" does not exist in table %s", kept,
                           copy->schema->name);
        t->type = pg_type_of(t->column->type);
    }
    for (size_t i = 0; i < copy->target_count; i++)
        if (strcmp(copy->targets[i].name, kept) == 0 && copy->targets[i].kind == t->kind)
            return why_set(why, ERR_SYNTAX, "column \"%s\" is listed twice", kept);
    copy->target_count++;
    return ERR_OK;
}

/* The list as written: names, and label.name for labels. */
static enum err read_list(struct pg_copy *copy, struct why *why)
{
    struct lexer lexer = {copy->columns, 0};
    enum err err = ERR_OK;
    struct token token, more = {0};
    do {
        struct str name = {0}, second = {0};
        err = lex_next(&lexer, &token, why);
        bool is_name = token.kind == TOKEN_NAME || token.kind == TOKEN_QUOTED;
        if (!err && (!is_name || !lex_text(&token, &copy->arena, &name)))
            err = why_set(why, ERR_SYNTAX, "syntax error in COPY: a column's name was expected");
        if (!err) err = lex_next(&lexer, &more, why);
        bool is_label = !err && token_is(&more, ".") && str_is(name, "label");
        if (is_label) {
            err = lex_next(&lexer, &token, why);
            is_name = token.kind == TOKEN_NAME || token.kind == TOKEN_QUOTED;
            if (!err && (!is_name || !lex_text(&token, &copy->arena, &second)))
                err = why_set(why, ERR_SYNTAX, "syntax error in COPY: a label's name was expected");
            if (!err) err = lex_next(&lexer, &more, why);
        }
        if (!err && copy->target_count == PG_COPY_FIELDS_MAX)
            err = why_set(why, ERR_LIMIT, "COPY takes at most %d columns", PG_COPY_FIELDS_MAX);
        if (!err) err = add_target(copy, is_label ? second : name, is_label, why);
    } while (!err && token_is(&more, ","));
    if (!err && more.kind != TOKEN_END)
        err = why_set(why, ERR_SYNTAX, "syntax error in COPY: \",\" or \")\" was expected");
    return err;
}

/* Without a list: what SELECT * gives. */
static enum err take_all(struct pg_copy *copy, struct why *why)
{
    enum err err = add_target(copy, STR("time"), false, why);
    if (!err) err = add_target(copy, STR("device"), false, why);
    for (uint32_t i = 0; i < copy->schema->column_count && !err; i++)
        err = copy->target_count < PG_COPY_FIELDS_MAX
                  ? add_target(copy, str_of(copy->schema->columns[i].name), false, why)
                  : why_set(why, ERR_LIMIT, "COPY takes at most %d columns", PG_COPY_FIELDS_MAX);
    return err;
}

static enum err find_targets(struct pg_copy *copy, struct why *why)
{
    bool has_device = false;
    size_t labels = 0;
    copy->targets = arena_zero(&copy->arena, PG_COPY_FIELDS_MAX, sizeof *copy->targets);
    if (!copy->targets) return why_set(why, ERR_NO_MEMORY, "no memory for COPY");
    enum err err = copy->columns.size ? read_list(copy, why) : take_all(copy, why);
    for (size_t i = 0; i < copy->target_count; i++) {
        has_device |= copy->targets[i].kind == COPY_DEVICE;
        labels += copy->targets[i].kind == COPY_LABEL;
    }
    if (!err && labels > LABELS_MAX)
        err = why_set(why, ERR_LIMIT, "COPY takes at most %d labels, these are %zu", LABELS_MAX,
                      labels);
    if (!err && !has_device)
        err =
            why_set(why, ERR_INVALID,
                    "a row needs a device; add the column device, as in COPY %s (time, device, …)",
                    copy->schema->name);
    return err;
}

enum err pg_copy_start_in(struct pg_call *call, struct pg_copy *copy, struct why *why)
{
    struct pg_connection *c = call->c;
    copy->is_in = true;
    copy->identity = identity_share(c->session->identity);
    arena_init(&copy->row_arena, &c->server->memory);
    copy->now_ns = context_wall_ns(c->server->service->context);
    enum err err = find_table(copy, why);
    if (!err) err = find_targets(copy, why);
    if (err) return err;
    pg_copy_answer_in(&c->out, copy->reader.options.format == PG_COPY_BINARY, copy->target_count);
    pg_flush(c);
    call->is_later = true;
    pg_resume(c, PG_STATE_COPY);
    return ERR_OK;
}

void pg_copy_free(struct pg_connection *c)
{
    struct pg_copy *copy = c->session->copy;
    c->session->copy = NULL;
    if (!copy) return;
    MUST(!copy->is_working && !copy->open_count && !copy->wait.room);
    budget_give(&c->server->memory, copy->taken);
    buf_free(&copy->filling);
    buf_free(&copy->work);
    buf_free(&copy->scratch);
    batch_release(copy->batch);
    schema_release(copy->schema);
    identity_release(copy->identity);
    arena_free(&copy->row_arena);
    arena_free(&copy->arena);
    mem_free(copy);
}

/* ---- one row, on a worker ---- */

/* NaN and infinities are stored as NULL with a quality that says so (ARCHITECTURE, "Types"). */
static bool read_double(struct str text, struct value *v)
{
    static const char *const names[] = {"nan", "infinity", "-infinity", "inf", "-inf"};
    *v = (struct value){.type = TYPE_DOUBLE};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_is_nocase(text, names[i])) {
            v->d = (double)NAN;
            return true;
        }
    return value_parse(text, TYPE_DOUBLE, v, NULL) == ERR_OK;
}

static enum err read_field(struct pg_copy *copy, const struct pg_copy_target *t,
                           const struct pg_copy_field *field, struct value *v, struct why *why)
{
    const struct pg_type *type = t->type;
    bool is_binary = copy->reader.options.format == PG_COPY_BINARY, good;
    *v = (struct value){.type = type->type, .is_null = true};
    if (field->is_null) return ERR_OK;
    if (is_binary)
        good = type->read_binary(field->bytes, v, &copy->row_arena);
    else if (type->type == TYPE_DOUBLE)
        good = read_double(str_trim(field->bytes), v);
    else if (type->type == TYPE_UBIGINT)
        good = value_parse(str_trim(field->bytes), TYPE_UBIGINT, v, NULL) == ERR_OK;
    else if (type->type == TYPE_TEXT)
        good = (*v = (struct value){.type = TYPE_TEXT, .s = field->bytes}, true);
    else if (type->read_text)
        good = type->read_text(field->bytes, v, &copy->row_arena);
    else
        good = value_parse(str_trim(field->bytes), type->type, v, NULL) == ERR_OK;
    if (good && type->type == TYPE_UBIGINT && v->type == TYPE_BIGINT && v->i >= 0)
        *v = (struct value){.type = TYPE_UBIGINT, .u = (uint64_t)v->i};
    if (good && v->type == TYPE_TEXT && !str_is_utf8(v->s))
        return why_set(why, ERR_INVALID, "column %s: the text is not UTF-8", t->name);
    if (good && v->type == type->type) return ERR_OK;
    return why_set(why, ERR_INVALID, "column %s: %s%.*s%s is not valid for type %s", t->name,
                   is_binary ? "the binary value" : "'",
                   is_binary ? 0 : (int)(field->bytes.size > 60 ? 60 : field->bytes.size),
                   field->bytes.at, is_binary ? "" : "'", type_name(type->type));
}

/* "press01" → "acme/plant1/press01", unless it has the prefix already; as INSERT has it. */
static enum err absolute_path(struct pg_copy *copy, struct str *path, struct why *why)
{
    struct str prefix = copy->connection->server->service->node_path;
    bool is_absolute = path->size > prefix.size &&
                       memcmp(path->at, prefix.size ? prefix.at : "", prefix.size) == 0 &&
                       path->at[prefix.size] == '/';
    if (path->size == 0) return why_set(why, ERR_INVALID, "the device is empty");
    if (prefix.size + path->size + 2 > sizeof copy->device)
        return why_set(why, ERR_LIMIT, "the device's path is longer than 1000 bytes");
    if (prefix.size == 0 || is_absolute) return ERR_OK;
    char *joined = arena_printf(&copy->row_arena, "%.*s/%.*s", (int)prefix.size, prefix.at,
                                (int)path->size, path->at);
    *path = str_of(joined);
    return joined ? ERR_OK : ERR_NO_MEMORY;
}

static enum err check_device(struct pg_copy *copy, struct str path, struct why *why)
{
    if (!copy->is_limited || (copy->device_allowed && str_is(path, copy->device))) return ERR_OK;
    enum err err = access_check(copy->identity, VERB_INGEST, "Table", str_of(copy->schema->ns),
                                str_of(copy->schema->name), path, why);
    copy->device_allowed = !err && str_copy(copy->device, sizeof copy->device, path);
    return err;
}

/* Keeps the labels sorted by key, as batches want them. */
static void add_label(struct label *labels, uint32_t *count, const char *key, struct str value)
{
    uint32_t at = (*count)++;
    for (; at > 0 && str_compare(labels[at - 1].key, str_of(key)) > 0; at--)
        labels[at] = labels[at - 1];
    labels[at] = (struct label){str_of(key), value};
}

/* The fields into the batch. */
static enum err take_row(struct pg_copy *copy, struct why *why)
{
    const struct pg_copy_reader *r = &copy->reader;
    struct value values[PG_COPY_FIELDS_MAX];
    struct label labels[LABELS_MAX];
    uint32_t label_count = 0, device;
    int64_t time_ns = copy->now_ns;
    struct str path = {0};
    enum err err = ERR_OK;
    if (r->field_count != copy->target_count)
        return why_set(why, ERR_INVALID, "the row has %zu fields, %zu are expected", r->field_count,
                       copy->target_count);
    for (size_t i = 0; i < copy->target_count && !err; i++) {
        const struct pg_copy_target *t = &copy->targets[i];
        err = read_field(copy, t, &r->fields[i], &values[i], why);
        if (err || t->kind == COPY_COLUMN) continue;
        if (t->kind == COPY_LABEL) {
            if (!values[i].is_null) /* find_targets has counted them */
                add_label(labels, &label_count, t->name, values[i].s);
        } else if (values[i].is_null) {
            err = why_set(why, ERR_INVALID, "column %s cannot be NULL", t->name);
        } else if (t->kind == COPY_TIME) {
            time_ns = values[i].i;
        } else {
            path = values[i].s;
        }
    }
    if (!err) err = absolute_path(copy, &path, why);
    if (!err) err = check_device(copy, path, why);
    if (!err) err = batch_add_device(copy->batch, path, labels, label_count, &device);
    if (!err && service_piece_is_full(copy->connection->server->service, copy->batch))
        err = ERR_BUDGET;
    if (!err) err = batch_begin_row(copy->batch, device, time_ns);
    if (err) return err;
    for (size_t i = 0; i < copy->target_count && !err; i++)
        if (copy->targets[i].kind == COPY_COLUMN)
            err = batch_set(copy->batch, copy->targets[i].column, &values[i]);
    if (err) batch_drop_row(copy->batch);
    return err;
}

static enum err check_header(struct pg_copy *copy, struct why *why)
{
    const struct pg_copy_reader *r = &copy->reader;
    for (size_t i = 0; r->options.header_must_match && i < copy->target_count; i++)
        if (i >= r->field_count || !str_is(r->fields[i].bytes, copy->targets[i].name))
            return why_set(why, ERR_INVALID,
                           "the header does not match: %s is expected as field %zu",
                           copy->targets[i].name, i + 1);
    copy->is_header_read = true;
    return ERR_OK;
}

/* What only another moment can mend: the row is read again then. */
static bool is_lack(enum err err)
{
    return err == ERR_LIMIT || err == ERR_BUDGET || err == ERR_NO_MEMORY;
}

/* Rows until the chunk or the batch is full, or one is wrong. */
static enum err read_rows(struct pg_copy *copy, bool is_all, struct why *why)
{
    struct pg_copy_reader *r = &copy->reader;
    copy->has_more = false;
    while (!r->is_over) {
        struct str rest = {copy->work.at + copy->work_used, copy->work.size - copy->work_used};
        size_t used;
        bool has_row;
        uint64_t line = r->next_line;
        enum err err = pg_copy_read(r, rest, is_all, &copy->row_arena, &used, &has_row, why);
        if (is_lack(err)) r->next_line = line;
        if (err) return err;
        if (used == 0) break;
        bool is_header = has_row && r->options.has_header && !copy->is_header_read;
        if (is_header) err = check_header(copy, why);
        if (!err && has_row && !is_header) err = take_row(copy, why);
        if (copy->row_arena.taken_bytes > 256 * 1024) arena_reset(&copy->row_arena);
        if (is_lack(err)) r->next_line = line;
        if (is_lack(err) && copy->batch->row_count) {
            copy->has_more = true;
            return ERR_OK;
        }
        if (err) return err;
        copy->work_used += used;
    }
    return ERR_OK;
}

static void run_on_worker(struct job *job)
{
    struct pg_copy *copy = (struct pg_copy *)(void *)((char *)job - offsetof(struct pg_copy, job));
    struct why why = WHY_NONE;
    copy->work_used = 0;
    copy->batch = batch_new(copy->schema, copy->connection->server->service->in_flight);
    enum err err = copy->batch ? read_rows(copy, copy->is_last, &why) : ERR_NO_MEMORY;
    copy->is_lacking = err == ERR_NO_MEMORY || err == ERR_BUDGET;
    copy->batch_rows = copy->batch ? copy->batch->row_count : 0;
    if (copy->batch_rows && batch_seal(copy->batch)) {
        err = ERR_NO_MEMORY;
        copy->batch_rows = 0;
    }
    arena_free(&copy->row_arena); /* who waits holds nothing */
    completion_finish(&copy->back, err, &why);
}

/* ---- the way through, on the main loop ---- */

static void note_error(struct pg_copy *copy, enum err err, const struct why *why)
{
    if (copy->err) return;
    copy->err = err;
    copy->why = why ? *why : WHY_NONE;
}

static void on_appended(struct completion *done)
{
    struct pg_copy_append *one = (struct pg_copy_append *)(void *)done;
    struct pg_copy *copy = one->copy;
    struct pg_connection *c = copy->connection;
    pg_enter(c);
    c->held--;
    copy->open_count--;
    copy->is_waiting = false; /* memory has come back */
    if (done->err)
        note_error(copy, done->err, &done->why);
    else
        copy->stored += one->rows;
    batch_release(one->append.batch);
    mem_free(one);
    advance(copy);
    pg_leave(c);
}

static void append_batch(struct pg_copy *copy)
{
    struct pg_connection *c = copy->connection;
    struct pg_copy_append *one = copy->batch_rows ? mem_alloc_zero(1, sizeof *one) : NULL;
    if (copy->batch_rows && !one) note_error(copy, ERR_NO_MEMORY, NULL);
    if (!one) {
        batch_release(copy->batch);
        copy->batch = NULL;
        return;
    }
    one->copy = copy;
    one->rows = copy->batch_rows;
    one->append.batch = copy->batch;
    one->append.ack = store_ack_of(copy->schema);
    one->append.wait_limit_ns = SERVICE_HEAD_WAIT_NS;
    copy->batch = NULL;
    copy->open_count++;
    c->held++;
    completion_init(&one->append.completion, c->server->service->context->main, on_appended);
    store_append(c->server->service->store, &one->append);
}

static void on_worked(struct completion *done)
{
    struct pg_copy *copy =
        (struct pg_copy *)(void *)((char *)done - offsetof(struct pg_copy, back));
    struct pg_connection *c = copy->connection;
    pg_enter(c);
    c->held--;
    copy->is_working = false;
    bool waits = copy->is_lacking;
    if (copy->batch_rows) copy->fruitless = 0;
    if (waits) copy->has_more = true;
    if (done->err && !waits) {
        struct why why = done->why;
        (void)why_wrap(&why, done->err, "COPY %s, line %llu", copy->schema->name,
                       (unsigned long long)copy->reader.line);
        note_error(copy, done->err, &why);
    }
    copy->is_waiting = waits;
    append_batch(copy);
    buf_drop_front(&copy->work, copy->work_used);
    if (copy->is_last && !done->err && !copy->has_more) copy->is_read = true;
    advance(copy);
    pg_leave(c);
}

static void on_room(struct room_wait *wait, enum err err, const struct why *why)
{
    struct pg_copy *copy =
        (struct pg_copy *)(void *)((char *)wait - offsetof(struct pg_copy, wait));
    struct pg_connection *c = copy->connection;
    pg_enter(c);
    c->held--;
    copy->is_waiting = false;
    if (err) note_error(copy, err, why);
    advance(copy);
    pg_leave(c);
}

/* As ingest.c does it: asking for more each time, until all there is was not enough. False: an
 * error was noted. */
static bool wait_for_room(struct pg_copy *copy)
{
    struct service *service = copy->connection->server->service;
    struct why why = WHY_NONE;
    size_t all = service->in_flight->limit_bytes;
    bool again = copy->fruitless++ > 0;
    if (!again) copy->need_bytes = service_piece_bytes(service);
    if (again) copy->need_bytes = copy->need_bytes < all / 2 ? copy->need_bytes * 2 : all;
    enum err err = ERR_OK;
    if (copy->fruitless > PG_COPY_FRUITLESS_MAX) {
        err = service_row_too_large(service, &why);
        metric_add(service->context, METRIC_ROOM_REFUSED, 1);
    }
    if (!err) err = room_wait(service->room, &copy->wait, copy->need_bytes, on_room, &why);
    if (!err)
        copy->connection->held++;
    else
        note_error(copy, err, &why);
    return !err;
}

void pg_copy_gone(struct pg_connection *c)
{
    struct pg_copy *copy = c->session ? c->session->copy : NULL;
    if (!copy || !copy->wait.room) return;
    room_leave(&copy->wait);
    c->held--;
}

static void start_work(struct pg_copy *copy)
{
    struct pg_connection *c = copy->connection;
    struct context *context = c->server->service->context;
    if (!context->intake) {
        note_error(copy, ERR_CANCELLED, NULL); /* the node stops */
        return;
    }
    if (!copy->has_more) {
        buf_add(&copy->work, copy->filling.at, copy->filling.size);
        buf_clear(&copy->filling);
    }
    if (buf_failed(&copy->work)) {
        note_error(copy, ERR_NO_MEMORY, NULL);
        return;
    }
    copy->is_last = copy->has_ended && copy->filling.size == 0;
    copy->is_working = true;
    c->held++;
    completion_init(&copy->back, context->main, on_worked);
    copy->job.run = run_on_worker;
    pool_post(context->intake, &copy->job);
}

static void finish(struct pg_copy *copy)
{
    struct pg_connection *c = copy->connection;
    char tag[64];
    bool failed = copy->err != ERR_OK;
    metric_add(c->server->service->context, METRIC_PG_COPY_ROWS, copy->stored);
    if (c->session->transaction != 'I') c->session->written += copy->stored;
    if (failed) {
        struct why why = copy->why;
        char hint[128];
        snprintf(hint, sizeof hint, "%llu row(s) before it are stored, nothing behind it is",
                 (unsigned long long)copy->stored);
        pg_report(&c->out, 'E', "ERROR", err_sqlstate(copy->err), str_of(why_text(&why, copy->err)),
                  str_of(hint), 0);
        if (c->session->transaction == 'T') c->session->transaction = 'E';
    } else {
        pg_tag(STR("copy"), copy->stored, tag);
        pg_command_complete(&c->out, tag);
    }
    pg_copy_free(c);
    pg_next(c, failed);
}

/* Whatever has changed: what is next? */
static void advance(struct pg_copy *copy)
{
    struct pg_connection *c = copy->connection;
    if (!c->stream) note_error(copy, ERR_CLOSED, NULL);
    if (copy->is_working || copy->wait.room) return;
    bool is_ready = copy->has_more || copy->filling.size >= PG_COPY_CHUNK_BYTES ||
                    (copy->has_ended && !copy->is_read);
    bool may = copy->open_count < PG_COPY_OPEN_MAX && !(copy->is_waiting && copy->open_count);
    if (!copy->err && !copy->is_read && is_ready && may && copy->is_waiting) {
        if (wait_for_room(copy)) return;
    } else if (!copy->err && !copy->is_read && is_ready && may) {
        start_work(copy);
        if (!copy->err && !copy->has_ended) pg_resume(c, PG_STATE_COPY);
        if (!copy->err) return;
    }
    if ((copy->err || copy->is_read) && copy->open_count == 0) finish(copy);
}

void pg_copy_message(struct pg_connection *c, const struct pg_message *message)
{
    struct pg_copy *copy = c->session->copy;
    struct why why = WHY_NONE;
    switch (message->kind) {
    case PG_COPY_DATA:
        if (!copy->is_working && copy->reader.is_over) break; /* a worker has the reader */
        if (copy->filling.size + message->body.size > copy->taken) {
            size_t more = copy->filling.size + message->body.size - copy->taken;
            if (budget_take(&c->server->memory, more)) {
                note_error(copy, ERR_BUDGET, NULL);
                break;
            }
            copy->taken += more;
        }
        buf_add(&copy->filling, message->body.at, message->body.size);
        if (buf_failed(&copy->filling)) note_error(copy, ERR_NO_MEMORY, NULL);
        /* While a worker reads one chunk, one more may gather. */
        if (copy->filling.size >= PG_COPY_CHUNK_BYTES) c->state = PG_STATE_BUSY;
        break;
    case PG_COPY_DONE:
        copy->has_ended = true;
        c->state = PG_STATE_BUSY;
        break;
    case PG_COPY_FAIL: {
        struct reader r = reader_of(message->body.at, message->body.size);
        struct str text = pg_read_text(&r);
        (void)why_set(&why, ERR_CANCELLED, "COPY from stdin failed: %.*s",
                      (int)(text.size > 200 ? 200 : text.size), text.at);
        note_error(copy, ERR_CANCELLED, &why);
        break;
    }
    case PG_FLUSH:
    case PG_SYNC: break; /* as the protocol has it */
    case PG_TERMINATE: pg_cut(c); break;
    default:
        (void)why_set(&why, ERR_PROTOCOL, "unexpected message during COPY from stdin");
        note_error(copy, ERR_PROTOCOL, &why);
    }
    if (copy->err) c->state = PG_STATE_BUSY;
    advance(copy);
}

void pg_copy_cancel(struct pg_connection *c)
{
    struct pg_copy *copy = c->session->copy;
    if (!copy || !copy->is_in) return;
    static const struct why why = {-1, "canceling statement due to user request"};
    note_error(copy, ERR_CANCELLED, &why);
    pg_copy_gone(c);
    pg_resume(c, PG_STATE_BUSY);
    advance(copy);
}
