/* ingest.c - see ingest.h.
 *
 * On a worker: pass one reads every line and notes tables and columns that are missing. On the main
 * loop these are defined, one after the other. On the worker again: pass two fills one batch a
 * table. Then the batches are appended and the answer waits for all of them. A line with an error
 * is counted, told and left out; the others are kept. */
#include "listeners/ingest.h"
#include "data/line.h"
#include <stdio.h>
#include <string.h>

enum { ROUNDS_MAX = 4 }; /* others may define tables at the same time */

static void refuse(struct ingest *in, uint64_t line, const struct why *why, enum err err)
{
    in->refused++;
    if (in->refused > INGEST_ERRORS_SHOWN) return;
    buf_printf(&in->errors, "%sline %llu: %s", in->errors.size ? "\n" : "",
               (unsigned long long)line, why_text(why, err));
}

/* ---- tables ---- */

static enum err find_table(struct ingest *in, struct str name, struct ingest_table **out,
                           struct why *why)
{
    for (size_t i = in->table_count; i-- > 0;) {
        if (!str_is(name, in->tables[i].name)) continue;
        *out = &in->tables[i];
        return ERR_OK;
    }
    if (in->table_count == INGEST_TABLES_MAX)
        return why_set(why, ERR_LIMIT, "more than %d tables in one request", INGEST_TABLES_MAX);
    enum err err = schema_check_name(name, "table", why);
    if (!err) err = access_check(in->identity, VERB_INGEST, "Table", in->ns, name, why);
    if (err) return err;
    err = mem_grow(&in->tables, &in->table_capacity, in->table_count + 1, sizeof *in->tables);
    if (err) return err;
    struct ingest_table *t = &in->tables[in->table_count];
    memset(t, 0, sizeof *t);
    (void)str_copy(t->name, sizeof t->name, name);
    t->schema = store_find_table(in->service->store, in->ns, name);
    in->table_count++;
    *out = t;
    return ERR_OK;
}

static const struct column *find_column(struct ingest_table *t, const struct schema *s,
                                        uint32_t position, struct str key)
{
    const struct column *guess = position < 64 ? t->at[position] : NULL;
    if (guess && str_is(key, guess->name)) return guess;
    const struct column *found = schema_find(s, key);
    if (position < 64) t->at[position] = found;
    return found;
}

/* May a value of this type go into the column? Integers fit doubles. */
static bool fits(enum type value, enum type column)
{
    return value == column ||
           (column == TYPE_DOUBLE && (value == TYPE_BIGINT || value == TYPE_UBIGINT));
}

static enum err want_column(struct ingest *in, struct ingest_table *t,
                            const struct line_field *field, struct why *why)
{
    if (t->schema && !t->schema->open)
        return why_set(why, ERR_NO_COLUMN,
                       "table %s has no column \"%.*s\" and takes no new ones (spec.open: false)",
                       t->name, (int)field->key.size, field->key.at);
    char name[SCHEMA_NAME_BYTES_MAX + 1], ns[256];
    if (!str_copy(name, sizeof name, field->key))
        return why_set(why, ERR_LIMIT, "a field's name is too long");
    (void)str_copy(ns, sizeof ns, in->ns);
    if (!t->wanted) t->wanted = t->schema ? schema_copy(t->schema) : schema_new(ns, t->name, 0);
    if (!t->wanted) return ERR_NO_MEMORY;
    if (schema_find(t->wanted, field->key)) return ERR_OK;
    return schema_add_column(t->wanted, 0, name, field->value.type, COLUMN_OWNER_DATA, "", "", why);
}

/* Pass one for one line. */
static enum err note_line(struct ingest *in, const struct line *line, struct why *why)
{
    struct ingest_table *t;
    enum err err = find_table(in, line->measurement, &t, why);
    for (uint32_t i = 0; i < line->field_count && !err; i++)
        if (!t->schema || !find_column(t, t->schema, i, line->fields[i].key))
            err = want_column(in, t, &line->fields[i], why);
    return err;
}

/* ---- rows ---- */

/* The device: the tags named by the table, else tag `device`, else all tag values joined by '/'. */
static bool is_device_tag(const struct schema *s, struct str key, bool has_device_tag)
{
    if (s->device_tags[0]) {
        struct str rest = str_of(s->device_tags), piece;
        while (str_split(&rest, ',', &piece))
            if (str_equal(piece, key)) return true;
        return false;
    }
    return !has_device_tag || str_is(key, "device");
}

static enum err device_path(struct ingest *in, const struct schema *s, const struct line *line,
                            struct str *path, struct why *why)
{
    char out[1024];
    size_t size = 0;
    bool has_device_tag = false;
    struct str prefix = in->service->node_path;
    for (uint32_t i = 0; i < line->tag_count; i++)
        has_device_tag |= str_is(line->tags[i].key, "device");
    if (prefix.size && prefix.size < sizeof out) {
        memcpy(out, prefix.at, prefix.size);
        size = prefix.size;
    }
    bool any = false;
    for (uint32_t i = 0; i < line->tag_count; i++) {
        if (!is_device_tag(s, line->tags[i].key, has_device_tag)) continue;
        struct str value = line->tags[i].value;
        if (size + value.size + 1 > 1000)
            return why_set(why, ERR_LIMIT, "the device's path is longer than 1000 bytes");
        if (size) out[size++] = '/';
        memcpy(out + size, value.at, value.size);
        size += value.size;
        any = true;
    }
    if (!any) return why_set(why, ERR_INVALID, "no tag names the device (a tag device=NAME does)");
    char *own = arena_strdup(&in->scratch, out, size);
    *path = (struct str){own, size};
    return own ? ERR_OK : ERR_NO_MEMORY;
}

static enum err seal(struct ingest *in, struct ingest_table *t)
{
    if (!t->batch) return ERR_OK;
    struct batch *batch = t->batch;
    t->batch = NULL;
    bool empty = batch->row_count == 0;
    enum err err = empty ? ERR_OK : batch_seal(batch);
    if (!err)
        err =
            mem_grow(&in->appends, &in->append_capacity, in->append_count + 1, sizeof *in->appends);
    if (err || empty) {
        batch_release(batch);
        return err;
    }
    in->appends[in->append_count++] =
        (struct ingest_append){{.batch = batch, .ack = STORE_ACK_DURABLE}, in};
    return ERR_OK;
}

static enum err set_fields(struct ingest_table *t, const struct line *line, struct why *why)
{
    for (uint32_t i = 0; i < line->field_count; i++) {
        const struct line_field *f = &line->fields[i];
        const struct column *c = find_column(t, t->schema, i, f->key);
        struct value v = f->value;
        if (!c || !fits(v.type, c->type))
            return why_set(why, ERR_TYPE, "field \"%.*s\" is %s, column of table %s is %s",
                           (int)f->key.size, f->key.at, type_name(v.type), t->name,
                           c ? type_name(c->type) : "missing");
        if (v.type != c->type) v.d = v.type == TYPE_BIGINT ? (double)v.i : (double)v.u;
        v.type = c->type;
        enum err err = batch_set(t->batch, c, &v);
        if (err) return err;
    }
    return ERR_OK;
}

/* Pass two for one line. */
static enum err add_line(struct ingest *in, const struct line *line, struct why *why)
{
    struct ingest_table *t;
    struct str path;
    uint32_t device;
    enum err err = find_table(in, line->measurement, &t, why);
    if (!err && !t->schema) err = why_set(why, ERR_NO_TABLE, "table %s could not be made", t->name);
    if (!err) err = device_path(in, t->schema, line, &path, why);
    if (err) return err;
    for (int tries = 0; tries < 2; tries++) {
        if (!t->batch && !(t->batch = batch_new(t->schema, in->service->in_flight)))
            return ERR_NO_MEMORY;
        err = batch_add_device(t->batch, path, line->tags, line->tag_count, &device);
        if (!err)
            err = batch_begin_row(t->batch, device, line->has_time ? line->time_ns : in->now_ns);
        if (err != ERR_LIMIT) break;
        if ((err = seal(in, t))) return err;
    }
    if (err) return err;
    err = set_fields(t, line, why);
    if (err)
        batch_drop_row(t->batch);
    else
        in->rows++;
    return err;
}

static void each_line(struct ingest *in,
                      enum err (*use)(struct ingest *in, const struct line *line, struct why *why),
                      bool tell)
{
    struct str rest = in->text, text;
    uint64_t number = 0;
    while (rest.size && str_split(&rest, '\n', &text)) {
        struct why why = WHY_NONE;
        number++;
        text = str_trim(text);
        if (!text.size || text.at[0] == '#') continue;
        enum err err = line_parse(text, in->unit_ns, &in->scratch, in->line, &why);
        if (!err) err = use(in, in->line, &why);
        if (err && tell) refuse(in, number, &why, err);
        if (tell) in->lines++;
        if (in->scratch.taken_bytes > 1024 * 1024) arena_reset(&in->scratch);
    }
    arena_reset(&in->scratch);
}

/* ---- the way through ---- */

static void refresh(struct ingest *in)
{
    for (size_t i = 0; i < in->table_count; i++) {
        struct ingest_table *t = &in->tables[i];
        schema_release(t->schema);
        schema_release(t->wanted);
        t->wanted = NULL;
        t->schema = store_find_table(in->service->store, in->ns, str_of(t->name));
        memset(t->at, 0, sizeof t->at);
    }
}

static void finish(struct ingest *in)
{
    if (in->append_err && !in->errors.size)
        buf_printf(&in->errors, "%s", why_text(&in->append_why, in->append_err));
    completion_finish(&in->completion, in->append_err, &in->append_why);
}

static void on_appended(struct completion *c)
{
    struct ingest_append *one = (struct ingest_append *)c;
    struct ingest *in = one->ingest;
    if (c->err) {
        in->append_err = c->err;
        in->append_why = c->why;
    }
    if (--in->open_appends == 0) finish(in);
}

/* Main loop. */
static void append_all(struct ingest *in)
{
    if (in->append_count == 0 || in->append_err) {
        finish(in);
        return;
    }
    in->open_appends = in->append_count;
    for (size_t i = 0; i < in->append_count; i++) {
        completion_init(&in->appends[i].append.completion, in->service->context->main, on_appended);
        store_append(in->service->store, &in->appends[i].append);
    }
}

static void on_filled(struct completion *c)
{
    append_all((struct ingest *)(void *)((char *)c - offsetof(struct ingest, define)));
}

static void fill_on_worker(struct job *job)
{
    struct ingest *in = (struct ingest *)(void *)((char *)job - offsetof(struct ingest, job));
    each_line(in, add_line, true);
    for (size_t i = 0; i < in->table_count; i++) {
        enum err err = seal(in, &in->tables[i]);
        if (err) in->append_err = err;
    }
    completion_finish(&in->define.completion, ERR_OK, NULL); /* borrowed for the way back */
}

static void next_define(struct ingest *in);

static void on_defined(struct completion *c)
{
    struct ingest *in = (struct ingest *)(void *)((char *)c - offsetof(struct ingest, define));
    schema_release(in->define.result);
    in->define.result = NULL;
    /* A conflict means that another writer was faster: what it made is looked at in the next round.
     */
    if (c->err && c->err != ERR_CONFLICT && c->err != ERR_EXISTS) {
        in->append_err = c->err;
        in->append_why = c->why;
    }
    in->define_at++;
    next_define(in);
}

static void note_on_worker(struct job *job);

/* Main loop: defines the next table that needs it; after the last, looks again or goes on to the
 * rows. */
static void next_define(struct ingest *in)
{
    struct context *context = in->service->context;
    for (; in->define_at < in->table_count && !in->append_err; in->define_at++) {
        struct ingest_table *t = &in->tables[in->define_at];
        if (!t->wanted) continue;
        in->define.schema = t->wanted;
        in->define.drop = false;
        t->wanted = NULL;
        completion_init(&in->define.completion, context->main, on_defined);
        store_define(in->service->store, &in->define);
        return;
    }
    bool again = in->defined && !in->append_err && ++in->rounds < ROUNDS_MAX;
    refresh(in);
    in->job.run = again ? note_on_worker : fill_on_worker;
    completion_init(&in->define.completion, context->main, on_filled);
    pool_post(context->workers, &in->job);
}

static void on_noted(struct completion *c)
{
    struct ingest *in = (struct ingest *)(void *)((char *)c - offsetof(struct ingest, define));
    in->define_at = 0;
    next_define(in);
}

static void note_on_worker(struct job *job)
{
    struct ingest *in = (struct ingest *)(void *)((char *)job - offsetof(struct ingest, job));
    each_line(in, note_line, false);
    in->defined = false;
    for (size_t i = 0; i < in->table_count; i++) in->defined |= in->tables[i].wanted != NULL;
    completion_init(&in->define.completion, in->service->context->main, on_noted);
    completion_finish(&in->define.completion, ERR_OK, NULL);
}

void ingest_start(struct ingest *in)
{
    struct context *context = in->service->context;
    MUST(in->completion.done && in->unit_ns > 0);
    arena_init(&in->scratch, in->service->in_flight);
    in->append_why = WHY_NONE;
    in->now_ns = context_wall_ns(context);
    in->line = mem_alloc(sizeof *in->line);
    if (!in->line) {
        completion_finish(&in->completion, ERR_NO_MEMORY, NULL);
        return;
    }
    in->job.run = note_on_worker;
    pool_post(context->workers, &in->job);
}

void ingest_free(struct ingest *in)
{
    for (size_t i = 0; i < in->table_count; i++) {
        schema_release(in->tables[i].schema);
        schema_release(in->tables[i].wanted);
        batch_release(in->tables[i].batch);
    }
    for (size_t i = 0; i < in->append_count; i++) batch_release(in->appends[i].append.batch);
    mem_free(in->appends);
    mem_free(in->tables);
    mem_free(in->line);
    arena_free(&in->scratch);
    buf_free(&in->errors);
}
