/* import_rows.c - the rows of an import into a batch, on a worker. */
#include "listeners/api.h"
#include "listeners/import.h"
#include <string.h>

/* What only another moment can mend: the row is read again then. */
static bool is_lack(enum err err)
{
    return err == ERR_LIMIT || err == ERR_BUDGET || err == ERR_NO_MEMORY;
}

/* ---- what is wrong ---- */

static void refuse(struct import *import, const char *column, struct str text,
                   const struct why *why, enum err err)
{
    struct buf *out = &import->errors;
    if (++import->refused > import->errors_max) return;
    if (out->size) buf_add_char(out, ',');
    buf_printf(out, "{\"line\":%llu,\"column\":", (unsigned long long)import->reader.line);
    if (column)
        buf_add_json(out, str_of(column));
    else
        buf_add_text(out, "null");
    buf_add_text(out, ",\"text\":");
    if (text.size > 100) text.size = 100;
    buf_add_json(out, text);
    buf_add_text(out, ",\"message\":");
    buf_add_json(out, str_of(why_text(why, err)));
    buf_add_char(out, '}');
}

static enum err no_value(const struct csv_field *field, const char *wanted, struct why *why)
{
    return why_set(why, ERR_INVALID, "'%.*s' is not a %s",
                   (int)(field->text.size > 60 ? 60 : field->text.size), field->text.at, wanted);
}

/* ---- one row ---- */

/* node path / device_name / the column's text, as far as there are these; a text that begins with
 * the node's path already keeps it. */
static enum err make_path(struct import *import, struct str device, struct str *path,
                          struct why *why)
{
    struct str prefix = import->service->node_path, front = import->params.device_name;
    bool is_absolute = !front.size && prefix.size && device.size > prefix.size &&
                       memcmp(device.at, prefix.at, prefix.size) == 0 &&
                       device.at[prefix.size] == '/';
    const struct str none = {0}, pieces[] = {is_absolute ? none : prefix, front, device};
    char *made = arena_alloc(&import->scratch, prefix.size + front.size + device.size + 3);
    if (!made) return ERR_NO_MEMORY;
    *path = (struct str){made, 0};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        if (!pieces[i].size) continue;
        if (path->size) made[path->size++] = '/';
        memcpy(made + path->size, pieces[i].at, pieces[i].size);
        path->size += pieces[i].size;
    }
    if (path->size <= 1000) return ERR_OK;
    return why_set(why, ERR_INVALID, "the device's path is longer than 1000 bytes");
}

static enum err check_device(struct import *import, struct str path, struct why *why)
{
    if (!import->is_limited || str_is(path, import->allowed)) return ERR_OK;
    enum err err = access_check(api_identity(import->exchange), VERB_INGEST, "Table",
                                import->params.ns, import->params.table, path, why);
    if (err || !str_copy(import->allowed, sizeof import->allowed, path)) import->allowed[0] = 0;
    return err;
}

/* What a row says beside its columns. */
struct head {
    struct str device;
    int64_t time_ns;
    uint32_t label_count;
    struct label labels[IMPORT_LABELS_MAX]; /* sorted by key, as batches want them */
};

/* The index of the row's device in the batch; that of the row before is not looked for again. */
static enum err find_device(struct import *import, const struct head *head, uint32_t *index,
                            struct why *why)
{
    struct str path = {0};
    *index = import->device_at;
    if (import->has_device && !head->label_count && str_is(head->device, import->device))
        return ERR_OK;
    enum err err = make_path(import, head->device, &path, why);
    if (!err) err = check_device(import, path, why);
    if (!err) err = batch_add_device(import->batch, path, head->labels, head->label_count, index);
    import->has_device = !err && str_copy(import->device, sizeof import->device, head->device);
    import->device_at = *index;
    return err;
}

static void add_label(struct head *head, const char *key, struct str value)
{
    uint32_t at = head->label_count++;
    MUST(at < IMPORT_LABELS_MAX);
    for (; at > 0 && str_compare(head->labels[at - 1].key, str_of(key)) > 0; at--)
        head->labels[at] = head->labels[at - 1];
    head->labels[at] = (struct label){str_of(key), value};
}

/* A field that is no column's value. */
static enum err take_head(struct import *import, const struct import_target *t,
                          const struct csv_field *field, struct head *head, struct why *why)
{
    bool is_time = t->use == IMPORT_TIME;
    bool is_missing = !field->is_quoted && csv_is_missing(field->text);
    struct str text = str_trim(field->text);
    if (is_time && !time_notation_read(&import->rules.time, text, &head->time_ns))
        return no_value(field, "time", why);
    if (is_time) return ERR_OK;
    if (!str_is_utf8(text)) return no_value(field, "text of UTF-8", why);
    if (t->use == IMPORT_LABEL) {
        if (!is_missing) add_label(head, t->name, text);
        return ERR_OK;
    }
    if (is_missing || !text.size) return why_set(why, ERR_INVALID, "the device is empty");
    head->device = text;
    return ERR_OK;
}

static enum err take_heads(struct import *import, struct head *head, size_t *at, struct why *why)
{
    const struct csv_reader *r = &import->reader;
    enum err err = ERR_OK;
    for (*at = 0; *at < import->target_count; ++*at) {
        const struct import_target *t = &import->targets[*at];
        if (t->use == IMPORT_SKIP || t->use == IMPORT_COLUMN) continue;
        err = take_head(import, t, &r->fields[*at], head, why);
        if (err) return err;
    }
    return ERR_OK;
}

/* A fraction for a bigint column that came by writing: nobody has said that it holds whole numbers.
 * Integers above 2^53 are rounded by this, which loses less than the rows would be. */
static bool may_widen(struct import *import, const struct column *c, const struct csv_field *field)
{
    struct value v;
    return c->type == TYPE_BIGINT && c->owner == COLUMN_OWNER_DATA && import->schema->open &&
           !import->is_limited &&
           csv_value_read(field, TYPE_DOUBLE, &import->rules, &import->scratch, &v) == ERR_OK;
}

/* The values. One that is missing is not set, so that it leaves what an earlier row of the same
 * time has said. */
static enum err take_values(struct import *import, size_t *at, struct why *why)
{
    const struct csv_reader *r = &import->reader;
    for (*at = 0; *at < import->target_count; ++*at) {
        const struct import_target *t = &import->targets[*at];
        const struct csv_field *field = &r->fields[*at];
        struct value v;
        if (t->use != IMPORT_COLUMN || (!field->text.size && !field->is_quoted)) continue;
        enum err err = csv_value_read(field, t->column->type, &import->rules, &import->scratch, &v);
        if (err == ERR_INVALID && may_widen(import, t->column, field)) {
            import->widen_id = t->column->id;
            return err;
        }
        if (err == ERR_INVALID) return no_value(field, type_name(t->column->type), why);
        if (!err && !v.is_null) err = batch_set(import->batch, t->column, &v);
        if (err) return err;
    }
    return ERR_OK;
}

static enum err row_time(const struct import *import, int64_t *time_ns, struct why *why)
{
    int64_t passed;
    if (!import->has_start) return ERR_OK;
    if (import->row_number <= INT64_MAX &&
        !__builtin_mul_overflow((int64_t)import->row_number, import->step_ns, &passed) &&
        !__builtin_add_overflow(import->start_ns, passed, time_ns))
        return ERR_OK;
    return why_set(why, ERR_INVALID, "start and step lead beyond the year 2262");
}

static enum err check_width(const struct import *import, struct why *why)
{
    const struct csv_reader *r = &import->reader;
    bool fits = r->field_count >= import->target_count;
    for (size_t i = import->target_count; i < r->field_count && fits; i++)
        fits = !r->fields[i].text.size; /* a delimiter at the end */
    if (fits) return ERR_OK;
    return why_set(why, ERR_INVALID, "the row has %zu fields, %zu are expected", r->field_count,
                   import->target_count);
}

/* The row into the batch, or among the refused. Errors: lacks only. */
static enum err take_row(struct import *import)
{
    const struct csv_reader *r = &import->reader;
    struct head head;
    struct why why = WHY_NONE;
    size_t at = import->target_count;
    uint32_t device;
    bool has_row = false;
    head.device = (struct str){0};
    head.label_count = 0;
    head.time_ns = 0;
    enum err err = check_width(import, &why);
    if (!err) err = row_time(import, &head.time_ns, &why);
    if (!err) err = take_heads(import, &head, &at, &why);
    if (!err) err = find_device(import, &head, &device, &why);
    if (!err && service_piece_is_full(import->service, import->batch)) err = ERR_BUDGET;
    if (!err) err = batch_begin_row(import->batch, device, head.time_ns);
    if (!err) {
        has_row = true;
        err = take_values(import, &at, &why);
    }
    if (err && has_row) batch_drop_row(import->batch);
    if (is_lack(err) || import->widen_id) return err;
    import->row_number++;
    bool is_field = at < import->target_count;
    if (err)
        refuse(import, is_field ? import->targets[at].name : NULL,
               is_field ? r->fields[at].text : (struct str){0}, &why, err);
    return ERR_OK;
}

/* ---- a chunk ---- */

enum err import_read_rows(struct import *import, struct why *why)
{
    struct csv_reader *r = &import->reader;
    const char *from = import->rest.at;
    import->has_device = false;
    while (import->rest.size && import->rest.at - from < IMPORT_CHUNK_BYTES) {
        struct why row_why = WHY_NONE;
        size_t used;
        uint64_t line = r->next_line;
        enum err err = csv_read(r, import->rest, true, &import->scratch, &used, &row_why);
        MUST(used > 0 || err == ERR_NO_MEMORY); /* all is there, so each row has an end */
        if (err == ERR_NO_MEMORY) {
            r->next_line = line;
            return import->batch->row_count ? ERR_OK : err;
        }
        if (err) {
            import->row_number++;
            refuse(import, NULL, (struct str){import->rest.at, used}, &row_why, err);
        } else if (r->field_count && !csv_is_blank(r)) {
            err = take_row(import);
            if (import->widen_id) {
                r->next_line = line;
                return ERR_OK;
            }
            if (is_lack(err)) {
                r->next_line = line;
                return import->batch->row_count
                           ? ERR_OK
                           : why_set(why, err, "line %llu: %s", (unsigned long long)r->line,
                                     err_text(err));
            }
        }
        import->rest = (struct str){import->rest.at + used, import->rest.size - used};
        if (import->scratch.taken_bytes > 256 * 1024) arena_reset(&import->scratch);
    }
    return ERR_OK;
}
