/* ingest.c - see ingest.h.
 *
 * On a worker, a round reads every line and fills one batch a table. A line that needs a table or
 * column which is not there waits, and so do all later lines of its table, because of two lines
 * with the same time the later one counts. What is missing is then defined on the main loop, one
 * after the other, and the next round takes the lines that waited: the text is read again, which is
 * rare and saves a list of them. A line with an error is counted, told and left out; the others are
 * kept.
 *
 * A round goes in pieces. A piece ends when it has taken its share of memory or finds none; its
 * batches are sent, and the next piece is read while they are on their way, at most
 * INGEST_OPEN_MAX. A piece that found no memory lets go of all that it holds before it waits, so
 * that those who wait together cannot keep each other from going on. */
#include "listeners/ingest.h"
#include <stdio.h>
#include <string.h>

enum {
    ROUNDS_MAX = 5, /* others may define tables at the same time */
    INGEST_OPEN_MAX = 4,
    FRUITLESS_MAX = 10, /* waits without a row; all there is was asked for in most of them */
};

static void refuse(struct ingest *in, uint64_t number, const struct why *why, enum err err)
{
    in->refused++;
    if (in->format->on_refused) in->format->on_refused(in, why, err);
    if (in->refused > INGEST_ERRORS_SHOWN) return;
    buf_printf(&in->errors, "%s%s %llu: %s", in->errors.size ? "\n" : "", in->format->unit,
               (unsigned long long)number, why_text(why, err));
    if (!in->shows_text) return;
    struct str shown = {in->row.at, in->row.size < 200 ? in->row.size : 200};
    while (shown.size && !str_is_utf8(shown)) shown.size--; /* cut at a whole character */
    buf_add_text(&in->errors, ": ");
    buf_add_json(&in->errors, shown);
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
    enum access_scope scope =
        err ? ACCESS_NONE : access_scope(in->identity, VERB_INGEST, "Table", in->ns, name);
    if (!err && scope == ACCESS_NONE)
        err = access_check(in->identity, VERB_INGEST, "Table", in->ns, name, STR(""), why);
    if (err) return err;
    err = mem_grow(&in->tables, &in->table_capacity, in->table_count + 1, sizeof *in->tables);
    if (err) return err;
    struct ingest_table *t = &in->tables[in->table_count];
    memset(t, 0, sizeof *t);
    (void)str_copy(t->name, sizeof t->name, name);
    t->is_limited = scope != ACCESS_ALL;
    t->schema = store_find_table(in->service->store, in->ns, name);
    in->table_count++;
    *out = t;
    return ERR_OK;
}

/* str_is without looking for the end first: asked once for each value that comes in. */
static inline bool is_name(const char *name, struct str key)
{
    for (size_t i = 0; i < key.size; i++)
        if (name[i] != key.at[i] || !name[i]) return false;
    return name[key.size] == 0;
}

static const struct column *find_column(struct ingest_table *t, const struct schema *s,
                                        uint32_t position, struct str key)
{
    const struct column *guess = position < 64 ? t->at[position] : NULL;
    if (guess && is_name(guess->name, key)) return guess;
    const struct column *found = schema_find(s, key);
    if (position < 64) t->at[position] = found;
    return found;
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
    bool is_whole = str_copy(ns, sizeof ns, in->ns);
    MUST(is_whole); /* ingest_start has checked it */
    if (!t->wanted) t->wanted = t->schema ? schema_copy(t->schema) : schema_new(ns, t->name, 0);
    if (!t->wanted) return ERR_NO_MEMORY;
    if (schema_find(t->wanted, field->key)) return ERR_OK;
    return schema_add_column(t->wanted, 0, name, field->fresh, COLUMN_OWNER_DATA, "", "", why);
}

/* Finds the columns of the line; whether the table has all that it needs. */
static bool has_columns(struct ingest *in, struct ingest_table *t, const struct line *line)
{
    bool all = true;
    for (uint32_t i = 0; i < line->field_count; i++) {
        in->columns[i] = find_column(t, t->schema, i, line->fields[i].key);
        all &= in->columns[i] || !line->fields[i].fresh;
    }
    return all;
}

static enum err want_columns(struct ingest *in, struct ingest_table *t, const struct line *line,
                             struct why *why)
{
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < line->field_count && !err; i++)
        if (line->fields[i].fresh &&
            (!t->schema || !find_column(t, t->schema, i, line->fields[i].key)))
            err = want_column(in, t, &line->fields[i], why);
    return err;
}

/* ---- rows ---- */

/* The device: the tags named by the table, else tag `device`, else all tag values joined by '/'. */
static bool is_device_tag(const struct schema *s, struct str key, bool has_device_tag)
{
    if (s && s->device_tags[0]) {
        struct str rest = str_of(s->device_tags), piece;
        while (str_split(&rest, ',', &piece))
            if (str_equal(piece, key)) return true;
        return false;
    }
    return !has_device_tag || str_is(key, "device");
}

/* One more segment of in->path. False: no room. */
static bool add_segment(struct ingest *in, size_t *size, struct str value)
{
    static const char digits[] = "0123456789ABCDEF";
    bool encodes = in->format->first_tag != NULL;
    char *out = in->path;
    size_t n = *size;
    if (n + value.size + 1 > 1000) return false;
    if (n) out[n++] = '/';
    for (size_t i = 0; i < value.size; i++) {
        if (n + 3 > sizeof in->path) return false;
        unsigned char c = (unsigned char)value.at[i];
        if (!encodes || (c >= ' ' && c != 127 && !strchr("/+#\"%", c))) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = digits[c >> 4];
        out[n++] = digits[c & 15];
    }
    *size = n;
    return n <= 1000;
}

/* Whether the path begins with the node's own. */
static bool is_below(struct str path, struct str prefix)
{
    return prefix.size && path.size > prefix.size && path.at[prefix.size] == '/' &&
           memcmp(path.at, prefix.at, prefix.size) == 0;
}

static enum err device_path(struct ingest *in, const struct schema *s, const struct line *line,
                            struct str *path, struct why *why)
{
    const char *first = in->format->first_tag;
    size_t size = 0, added = 0;
    bool has_device_tag = false, fits = true;
    struct str prefix = in->service->node_path;
    for (uint32_t i = 0; i < line->tag_count && !first; i++)
        has_device_tag |= str_is(line->tags[i].key, "device");
    bool is_absolute = in->format->label_from && line->tag_count && /* as exports write it */
                       is_below(line->tags[0].value, prefix);
    if (prefix.size && prefix.size < sizeof in->path && !is_absolute) {
        memcpy(in->path, prefix.at, prefix.size);
        size = prefix.size;
    }
    for (int turn = first ? 0 : 1; turn < 2; turn++)
        for (uint32_t i = 0; i < line->tag_count && fits; i++) {
            struct label tag = line->tags[i];
            if (first && (turn == 0) != str_is(tag.key, first)) continue;
            if (!tag.value.size || !is_device_tag(s, tag.key, has_device_tag)) continue;
            fits = add_segment(in, &size, tag.value);
            added++;
        }
    if (!fits) return why_set(why, ERR_LIMIT, "the device's path is longer than 1000 bytes");
    if (!added) return why_set(why, ERR_INVALID, "%s", in->format->no_device);
    *path = (struct str){in->path, size};
    return ERR_OK;
}

static enum err seal(struct ingest *in, struct ingest_table *t)
{
    struct batch *batch = t->batch;
    t->batch = NULL;
    t->batch_bytes = 0;
    if (!batch || batch->row_count == 0) {
        batch_release(batch);
        return ERR_OK;
    }
    struct ingest_append *one = mem_alloc_zero(1, sizeof *one);
    enum err err = one ? batch_seal(batch) : ERR_NO_MEMORY;
    if (err) {
        mem_free(one);
        batch_release(batch);
        return err;
    }
    one->append.batch = batch;
    one->append.ack = store_ack_of(batch->schema);
    one->append.wait_limit_ns = SERVICE_HEAD_WAIT_NS;
    one->ingest = in;
    *in->sealed_tail = one;
    in->sealed_tail = &one->next;
    return ERR_OK;
}

/* Whether the next row would make the batch grow beyond the piece's share. */
static bool is_piece_full(const struct ingest *in, const struct batch *batch)
{
    return batch && batch->row_count && batch->row_count == batch->row_capacity &&
           in->piece_bytes + batch->size_bytes > service_piece_bytes(in->service);
}

static void count_piece(struct ingest *in, struct ingest_table *t)
{
    size_t now = t->batch->size_bytes + t->batch->arena.taken_bytes;
    in->piece_bytes += now - t->batch_bytes;
    t->batch_bytes = now;
}

static enum err set_fields(struct ingest *in, struct ingest_table *t, const struct line *line,
                           struct why *why)
{
    for (uint32_t i = 0; i < line->field_count; i++) {
        const struct line_field *f = &line->fields[i];
        const struct column *c = in->columns[i];
        if (c && f->value.type == c->type) {
            enum err err = batch_set(t->batch, c, &f->value);
            if (err) return err;
            continue;
        }
        struct value v = f->value;
        if (!c && v.is_null) continue; /* a NULL makes no column and has none to overwrite */
        if (!c || (v.type != c->type && !in->format->convert(&v, c->type, &in->scratch)))
            return why_set(why, ERR_TYPE, "field \"%.*s\" is %s, column of table %s is %s",
                           (int)f->key.size, f->key.at, type_name(f->value.type), t->name,
                           c ? type_name(c->type) : "missing");
        enum err err = batch_set(t->batch, c, &v);
        if (err) return err;
    }
    return ERR_OK;
}

/* Where only some devices may be written: is this one of them? Asked before a line makes a table or
 * a column. */
static enum err check_device(struct ingest *in, struct ingest_table *t, const struct line *line,
                             struct why *why)
{
    struct str path = {0};
    if (!t->is_limited) return ERR_OK;
    enum err err = device_path(in, t->schema, line, &path, why);
    if (err) return err;
    return access_check(in->identity, VERB_INGEST, "Table", in->ns, str_of(t->name), path, why);
}

/* Errors: LIMIT: the batch is full. */
static enum err begin_row(struct ingest *in, struct ingest_table *t, struct str path,
                          const struct line *line)
{
    uint32_t device;
    if (!t->batch && !(t->batch = batch_new(t->schema, in->service->in_flight)))
        return ERR_NO_MEMORY;
    uint32_t from = in->format->label_from < line->tag_count ? in->format->label_from : 0;
    uint32_t labels = line->tag_count > in->format->label_from ? line->tag_count - from : 0;
    enum err err = batch_add_device(t->batch, path, line->tags + from, labels, &device);
    if (err) return err;
    return batch_begin_row(t->batch, device, line->has_time ? line->time_ns : in->now_ns);
}

static enum err add_row(struct ingest *in, struct ingest_table *t, const struct line *line,
                        struct why *why)
{
    struct str path = {0};
    enum err err = device_path(in, t->schema, line, &path, why);
    if (err) return err;
    if (is_piece_full(in, t->batch)) return ERR_BUSY;
    err = begin_row(in, t, path, line);
    if (err == ERR_LIMIT) { /* the row is the first of the next one */
        err = seal(in, t);
        if (!err) err = begin_row(in, t, path, line);
    }
    if (err) return err;
    err = set_fields(in, t, line, why);
    count_piece(in, t);
    if (err) {
        batch_drop_row(t->batch);
        return err;
    }
    in->rows++;
    in->piece_rows++;
    return ERR_OK;
}

/* What is not the row's fault: it is read again in the next piece (BUSY: this one is full). */
static bool is_lack(enum err err)
{
    return err == ERR_NO_MEMORY || err == ERR_BUDGET || err == ERR_BUSY;
}

/* Takes one line into its table's batch, or leaves it for the next round. */
static enum err take_line(struct ingest *in, const struct line *line, uint64_t number,
                          struct why *why)
{
    struct ingest_table *t = NULL;
    enum err err = find_table(in, line->measurement, &t, why);
    if (err) return in->rounds && !is_lack(err) ? ERR_OK : err; /* the first round told it */
    if (number < t->from) return ERR_OK;
    bool fits_now = t->schema && has_columns(in, t, line), is_last = in->rounds + 1 == ROUNDS_MAX;
    err = check_device(in, t, line, why);
    if (t->waits_from) { /* what is wrong with it is told when its turn comes */
        if (!err && !fits_now) err = want_columns(in, t, line, why);
        return is_lack(err) ? err : ERR_OK;
    }
    if (err) return err;
    if (fits_now) return add_row(in, t, line, why);
    if (is_last && !t->schema)
        return why_set(why, ERR_NO_TABLE, "table %s could not be made", t->name);
    if (is_last) return add_row(in, t, line, why); /* it names the column */
    if ((err = want_columns(in, t, line, why))) return err;
    t->waits_from = number;
    return ERR_OK;
}

/* One round over the text, or the next piece of it. What cannot be read is told in the first. */
static void read_rows(struct ingest *in)
{
    bool is_first = in->rounds == 0;
    if (!in->is_cut) in->format->begin(in);
    in->is_cut = in->is_lacking = false;
    struct why why = WHY_NONE; /* large: made anew only behind an error */
    for (;;) {
        bool found = false;
        struct ingest_place before = in->at;
        enum err err = in->format->next(in, &found, &why);
        if (!found && !err) break;
        bool is_told = err && !is_first;
        bool may_wait = !err || err == ERR_NO_MEMORY;
        if (!err) err = take_line(in, in->line, in->at.number, &why);
        if (may_wait && is_lack(err)) {
            in->at = before;
            in->is_cut = true;
            in->is_lacking = err != ERR_BUSY;
            break;
        }
        in->lines += is_first;
        if (err && !is_told) refuse(in, in->at.number, &why, err);
        if (err && !found) break;
        if (err) why = WHY_NONE;
        if (in->scratch.taken_bytes > 1024 * 1024) arena_reset(&in->scratch);
    }
    arena_free(&in->scratch);
}

/* ---- notations ---- */

static void begin_lines(struct ingest *in)
{
    in->line->known = 0;
    in->at = (struct ingest_place){.rest = in->text};
}

static enum err next_line(struct ingest *in, bool *found, struct why *why)
{
    struct str text;
    while (in->at.rest.size && str_split(&in->at.rest, '\n', &text)) {
        in->at.number++;
        in->row = text = str_trim(text);
        if (!text.size || text.at[0] == '#') continue;
        *found = true;
        return line_parse(text, in->unit_ns, &in->scratch, in->line, why);
    }
    return ERR_OK;
}

/* Line protocol says what it means: only whole numbers become doubles. */
static bool convert_line(struct value *value, enum type type, struct arena *scratch)
{
    (void)scratch;
    if (type != TYPE_DOUBLE || (value->type != TYPE_BIGINT && value->type != TYPE_UBIGINT))
        return false;
    value->d = value->type == TYPE_BIGINT ? (double)value->i : (double)value->u;
    value->type = TYPE_DOUBLE;
    return true;
}

const struct ingest_format ingest_line_protocol = {
    "line",       begin_lines, next_line,
    convert_line, 0,           "no tag names the device (a tag device=NAME does)"};

static void begin_json(struct ingest *in)
{
    in->at = (struct ingest_place){0};
    json_rows_init(&in->at.json, in->text);
}

static enum err next_json(struct ingest *in, bool *found, struct why *why)
{
    enum err err = json_rows_next(&in->at.json, &in->scratch, in->line, found, why);
    in->at.number++;
    if (in->at.json.is_over) *found = false;
    in->line->measurement = in->table;
    bool has_device = in->line->tag_count && in->line->tags[0].value.size;
    if (has_device || !in->device.size) return err;
    in->line->tags[0] = (struct label){STR("device"), in->device};
    if (!in->line->tag_count) in->line->tag_count = 1;
    return err;
}

const struct ingest_format ingest_json = {
    "row",     begin_json,
    next_json, json_rows_convert,
    1,         "nothing names the device (\"device\" in the row or ?device=NAME does)"};

static void begin_prometheus(struct ingest *in)
{
    in->at = (struct ingest_place){0};
    prometheus_rows_init(&in->at.prometheus, in->text);
}

static enum err next_prometheus(struct ingest *in, bool *found, struct why *why)
{
    in->at.number++;
    return prometheus_rows_next(&in->at.prometheus, in->line, found, why);
}

const struct ingest_format ingest_prometheus = {"sample",
                                                begin_prometheus,
                                                next_prometheus,
                                                convert_line,
                                                0,
                                                "the series has no label beside its name",
                                                "instance"};

/* ---- the way through ---- */

static void refresh(struct ingest *in)
{
    for (size_t i = 0; i < in->table_count; i++) {
        struct ingest_table *t = &in->tables[i];
        schema_release(t->schema);
        schema_release(t->wanted);
        t->wanted = NULL;
        t->from = t->waits_from ? t->waits_from : UINT64_MAX;
        t->waits_from = 0;
        t->schema = store_find_table(in->service->store, in->ns, str_of(t->name));
        memset(t->at, 0, sizeof t->at);
    }
}

static void note_error(struct ingest *in, enum err err, const struct why *why)
{
    if (in->append_err || !err) return;
    in->append_err = err;
    in->append_why = why ? *why : WHY_NONE;
}

static void advance(struct ingest *in);

static void on_appended(struct completion *c)
{
    struct ingest_append *one = (struct ingest_append *)c;
    struct ingest *in = one->ingest;
    note_error(in, c->err, &c->why);
    MUST(in->open_appends > 0 && !one->append.batch);
    mem_free(one);
    in->open_appends--;
    in->is_lacking = false; /* memory has come back */
    advance(in);
}

static struct ingest_append *take_sealed(struct ingest *in)
{
    struct ingest_append *first = in->sealed;
    in->sealed = NULL;
    in->sealed_tail = &in->sealed;
    return first;
}

/* Main loop: the piece's batches go to the log. */
static void send_piece(struct ingest *in)
{
    if (in->append_err) return; /* ingest_free lets them go */
    for (struct ingest_append *one = take_sealed(in), *next; one; one = next) {
        next = one->next;
        in->open_appends++;
        completion_init(&one->append.completion, in->service->context->main, on_appended);
        store_append(in->service->store, &one->append);
    }
}

static void next_define(struct ingest *in);

static void on_defined(struct completion *c)
{
    struct ingest *in = (struct ingest *)(void *)((char *)c - offsetof(struct ingest, define));
    schema_release(in->define.result);
    in->define.result = NULL;
    /* A conflict means that another writer was faster: what it made is looked at in the next round.
     */
    if (c->err != ERR_CONFLICT && c->err != ERR_EXISTS) note_error(in, c->err, &c->why);
    /* The store answers until it is closed, and no longer knows any table then. */
    if (in->service->stopping) note_error(in, ERR_CANCELLED, NULL);
    in->define_at++;
    next_define(in);
}

static void read_piece(struct ingest *in);

/* Main loop: defines the next table that needs it; after the last, the next round. */
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
    if (in->append_err) {
        in->state = INGEST_OVER;
        advance(in);
        return;
    }
    refresh(in);
    in->rounds++;
    read_piece(in);
}

/* Main loop. */
static void on_read(struct completion *c)
{
    struct ingest *in = (struct ingest *)(void *)((char *)c - offsetof(struct ingest, define));
    bool waits = false;
    note_error(in, c->err, &c->why);
    send_piece(in);
    for (size_t i = 0; i < in->table_count; i++) waits |= in->tables[i].waits_from != 0;
    in->define_at = 0;
    if (in->is_cut) {
        in->state = INGEST_CUT;
        advance(in);
    } else if (waits && !in->append_err) {
        in->state = INGEST_DEFINING;
        next_define(in);
    } else {
        in->state = INGEST_OVER;
        advance(in);
    }
}

static void read_on_worker(struct job *job)
{
    struct ingest *in = (struct ingest *)(void *)((char *)job - offsetof(struct ingest, job));
    enum err err = ERR_OK;
    in->piece_bytes = 0;
    in->piece_rows = 0;
    read_rows(in);
    for (size_t i = 0; i < in->table_count; i++) { /* the next round has other schemas */
        enum err own = seal(in, &in->tables[i]);
        if (own) err = own;
    }
    completion_finish(&in->define.completion, err, NULL); /* borrowed for the way back */
}

/* Main loop. */
static void read_piece(struct ingest *in)
{
    in->state = INGEST_READING;
    completion_init(&in->define.completion, in->service->context->main, on_read);
    in->job.run = read_on_worker;
    if (!in->service->context->intake) { /* the node stops */
        note_error(in, ERR_CANCELLED, NULL);
        in->state = INGEST_OVER;
        advance(in);
        return;
    }
    pool_post(in->service->context->intake, &in->job);
}

static void on_room(struct room_wait *wait, enum err err, const struct why *why)
{
    struct ingest *in = (struct ingest *)(void *)((char *)wait - offsetof(struct ingest, wait));
    MUST(in->state == INGEST_WAITING);
    note_error(in, err, why);
    in->state = INGEST_CUT;
    if (err)
        advance(in);
    else
        read_piece(in);
}

/* Nothing of its own is on its way: it stands in line. Each time that not even one row got through
 * it asks for more; who was given all there is again and again (others may be faster) and still has
 * not enough never will have. */
static void wait_for_room(struct ingest *in)
{
    struct why why = WHY_NONE;
    size_t all = in->service->in_flight->limit_bytes;
    enum err err = ERR_OK;
    if (in->piece_rows || !in->need_bytes) {
        in->need_bytes = service_piece_bytes(in->service);
        in->fruitless = 0;
    } else {
        in->need_bytes = in->need_bytes < all / 2 ? in->need_bytes * 2 : all;
        if (++in->fruitless > FRUITLESS_MAX) err = service_row_too_large(in->service, &why);
    }
    if (err) metric_add(in->service->context, METRIC_ROOM_REFUSED, 1);
    in->state = INGEST_WAITING;
    if (!err) err = room_wait(in->service->room, &in->wait, in->need_bytes, on_room, &why);
    if (!err) return;
    note_error(in, err, &why);
    in->state = INGEST_OVER;
    advance(in);
}

/* Main loop. Whatever has changed: what is next? */
static void advance(struct ingest *in)
{
    if (in->append_err && in->state == INGEST_CUT) in->state = INGEST_OVER;
    if (in->state == INGEST_CUT) {
        if (in->is_lacking && in->open_appends) return;
        if (in->open_appends >= INGEST_OPEN_MAX) return;
        if (in->is_lacking)
            wait_for_room(in);
        else
            read_piece(in);
        return;
    }
    if (in->state != INGEST_OVER || in->open_appends) return;
    if (in->append_err && !in->errors.size)
        buf_printf(&in->errors, "%s", why_text(&in->append_why, in->append_err));
    completion_finish(&in->completion, in->append_err, &in->append_why);
}

void ingest_start(struct ingest *in)
{
    struct context *context = in->service->context;
    MUST(in->completion.done && in->format);
    arena_init(&in->scratch, in->service->in_flight);
    in->append_why = WHY_NONE;
    in->sealed_tail = &in->sealed;
    if (!in->now_ns) in->now_ns = context_wall_ns(context);
    /* Rows define tables, so their namespace must be one that a document can have. */
    struct why why = WHY_NONE;
    enum err err = resource_check_namespace(in->ns, &why);
    if (!err) in->line = mem_alloc(sizeof *in->line);
    if (!in->line) {
        completion_finish(&in->completion, err ? err : ERR_NO_MEMORY, &why);
        return;
    }
    if (!room_is_asked(in->service->room)) {
        read_piece(in);
        return;
    }
    in->state = INGEST_CUT; /* behind those that wait, or they might wait for ever */
    in->is_lacking = true;
    advance(in);
}

void ingest_cancel(struct ingest *in)
{
    if (in->state != INGEST_WAITING) return;
    room_leave(&in->wait);
    in->state = INGEST_CUT;
    note_error(in, ERR_CLOSED, NULL);
    advance(in);
}

void ingest_on_gone(void *ingest)
{
    ingest_cancel(ingest);
}

void ingest_free(struct ingest *in)
{
    for (size_t i = 0; i < in->table_count; i++) {
        schema_release(in->tables[i].schema);
        schema_release(in->tables[i].wanted);
        batch_release(in->tables[i].batch);
    }
    MUST(!in->wait.room && !in->open_appends);
    for (struct ingest_append *one = take_sealed(in), *next; one; one = next) {
        next = one->next;
        batch_release(one->append.batch);
        mem_free(one);
    }
    mem_free(in->tables);
    mem_free(in->line);
    arena_free(&in->scratch);
    buf_free(&in->errors);
}
