/* ingest_rows.c - one line of what is written becomes a row of its table's batch (ingest.h).
 *
 * On a worker. Nothing here waits: what a line needs and is not there, a table or a column, is
 * written down in ingest_table.wanted, and ingest.c has it defined between two rounds. A batch
 * belongs to its table until it is sealed; then it stands in the list that ingest.c sends. */
#include "listeners/ingest_priv.h"
#include <string.h>

enum { ROUNDS_MAX = 5 }; /* others may define tables at the same time */

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

/* Rows may have nothing but values that are missing, such as those of equipment that never
 * answered. */
static bool says_types(const struct line *line)
{
    for (uint32_t i = 0; i < line->field_count; i++)
        if (line->fields[i].fresh) return true;
    return false;
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

enum err ingest_seal(struct ingest *in, struct ingest_table *t)
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
        err = ingest_seal(in, t);
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

enum err ingest_take_line(struct ingest *in, const struct line *line, uint64_t number,
                          struct why *why)
{
    struct ingest_table *t = NULL;
    enum err err = find_table(in, line->measurement, &t, why);
    if (err) return in->rounds && !ingest_is_lack(err) ? ERR_OK : err; /* the first round told it */
    if (number < t->from) return ERR_OK;
    bool fits_now = t->schema && has_columns(in, t, line), is_last = in->rounds + 1 == ROUNDS_MAX;
    err = check_device(in, t, line, why);
    if (t->waits_from) { /* what is wrong with it is told when its turn comes */
        if (!err && !fits_now) err = want_columns(in, t, line, why);
        return ingest_is_lack(err) ? err : ERR_OK;
    }
    if (err) return err;
    if (fits_now) return add_row(in, t, line, why);
    if (is_last && !t->schema)
        return why_set(why, ERR_NO_TABLE,
                       says_types(line) ? "table %s could not be made"
                                        : "there is no table %s, and the row has no value by "
                                          "which a column could be made",
                       t->name);
    if (is_last) return add_row(in, t, line, why); /* it names the column */
    if ((err = want_columns(in, t, line, why))) return err;
    t->waits_from = number;
    return ERR_OK;
}
