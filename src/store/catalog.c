/* catalog.c - tables and series: the lists, their changes and their records; see catalog.h.
 *
 * Tables change rarely and are read by every statement: so they are one immutable list that is
 * replaced whole. Series are many and only come: they lie in blocks whose addresses never change,
 * chained by table in order of id, and are found by path through series_index.c. Labels are
 * replaced whole, old ones stay in the arena for whoever reads them; a node's labels are small and
 * hardly change.
 *
 * Called by: the log task, or open.c before it runs, for all changes; any task to read.
 * Owns: the arena with all texts, the blocks, what is kept beside each table (also of dropped ones:
 * a rollup's work or a scan may still point there), states of rollups.
 * Invariants: ids begin at 1 and do not come again; a series is complete before its id is
 * published; a table's walk is in order of id, which whoever writes a part relies on; ids may be
 * missing where damage took their records, whole blocks of them. */
#include "store/catalog.h"
#include "store/refs.h"
#include <string.h>

/* ---- the list of tables ---- */

static void *list_share(void *object)
{
    struct table_list *list = object;
    refs_take(&list->refs);
    return list;
}

void table_list_release(struct table_list *list)
{
    if (!list || !refs_drop(&list->refs)) return;
    for (uint32_t i = 0; i < list->count; i++) schema_release(list->items[i].schema);
    mem_free(list);
}

static void list_release(void *object)
{
    table_list_release(object);
}

static struct table_list *list_new(uint32_t capacity)
{
    struct table_list *list = mem_alloc_zero(1, sizeof *list + capacity * sizeof list->items[0]);
    if (list) atomic_init(&list->refs, 1);
    return list;
}

enum err catalog_init(struct catalog *catalog)
{
    *catalog = (struct catalog){.next_table_id = 1};
    arena_init(&catalog->arena, NULL);
    struct table_list *empty = list_new(0);
    if (!empty) return ERR_NO_MEMORY;
    enum err err = cell_init(&catalog->tables, empty, list_share, list_release);
    if (err) list_release(empty);
    return err;
}

void catalog_free(struct catalog *catalog)
{
    cell_free(&catalog->tables);
    series_index_free(catalog);
    for (uint32_t i = 0; i + 1 < catalog->next_table_id; i++) mem_free(catalog->states[i]);
    mem_free(catalog->states);
    for (size_t i = 0; i < SERIES_BLOCKS_MAX; i++) mem_free(atomic_load(&catalog->blocks[i]));
    rollup_states_free(catalog);
    arena_free(&catalog->arena);
}

struct table_list *catalog_tables(struct catalog *catalog)
{
    return cell_get(&catalog->tables);
}

static int compare_name(const struct schema *schema, struct str ns, struct str name)
{
    int order = str_compare(str_of(schema->ns), ns);
    return order ? order : str_compare(str_of(schema->name), name);
}

int table_list_find(const struct table_list *list, struct str ns, struct str name)
{
    uint32_t low = 0, high = list->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = compare_name(list->items[middle].schema, ns, name);
        if (order == 0) return (int)middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

struct schema *catalog_schema(struct catalog *catalog, uint32_t table_id)
{
    if (!table_id || table_id >= catalog->next_table_id) return NULL;
    const struct table_state *state = catalog->states[table_id - 1];
    return state ? state->schema : NULL;
}

static enum err state_of(struct catalog *catalog, uint32_t table_id, struct table_state **state)
{
    MUST(table_id > 0);
    enum err err =
        mem_grow(&catalog->states, &catalog->state_capacity, table_id, sizeof *catalog->states);
    if (err) return err;
    for (; catalog->next_table_id <= table_id; catalog->next_table_id++)
        catalog->states[catalog->next_table_id - 1] = NULL;
    struct table_state **slot = &catalog->states[table_id - 1];
    if (!*slot) {
        *slot = mem_alloc_zero(1, sizeof **slot);
        if (!*slot) return ERR_NO_MEMORY;
        (*slot)->table_id = table_id;
    }
    *state = *slot;
    return ERR_OK;
}

struct table_state *catalog_table_state(struct catalog *catalog, uint32_t table_id)
{
    struct table_state *state = NULL;
    return state_of(catalog, table_id, &state) ? NULL : state;
}

static bool is_changed(const struct catalog_change *changes, size_t count, uint32_t table_id)
{
    for (size_t i = 0; i < count; i++)
        if (changes[i].schema->table_id == table_id) return true;
    return false;
}

static void insert(struct table_list *list, struct schema *schema, struct table_state *state)
{
    uint32_t at = list->count++;
    for (; at; at--) {
        if (compare_name(list->items[at - 1].schema, str_of(schema->ns), str_of(schema->name)) < 0)
            break;
        list->items[at] = list->items[at - 1];
    }
    list->items[at].schema = schema_share(schema);
    list->items[at].state = state;
}

enum err catalog_prepare(struct catalog *catalog, struct catalog_change *changes, size_t count,
                         struct table_list **out)
{
    const struct table_list *old = catalog->tables.object;
    struct table_list *list = list_new(old->count + (uint32_t)count);
    enum err err = list ? ERR_OK : ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) changes[i].rollup = NULL;
    for (uint32_t i = 0; i < old->count && !err; i++)
        if (!is_changed(changes, count, old->items[i].schema->table_id))
            insert(list, old->items[i].schema, old->items[i].state);
    for (size_t i = 0; i < count && !err; i++) {
        struct catalog_change *change = &changes[i];
        struct table_state *state = NULL;
        MUST(change->schema->table_id != 0);
        if (change->drop) continue;
        err = state_of(catalog, change->schema->table_id, &state);
        if (!err && change->schema->rollup_of)
            err = rollup_state_make(catalog, change->schema, &change->rollup);
        if (!err) insert(list, change->schema, state);
    }
    *out = list;
    if (err) catalog_abandon(changes, count, list);
    return err;
}

void catalog_publish(struct catalog *catalog, const struct catalog_change *changes, size_t count,
                     struct table_list *list)
{
    for (size_t i = 0; i < count; i++)
        if (changes[i].drop) rollup_state_retire(catalog, changes[i].schema->table_id);
    for (size_t i = 0; i < count; i++)
        if (changes[i].rollup) rollup_state_enter(catalog, changes[i].rollup);
    for (size_t i = 0; i < count; i++) {
        uint32_t id = changes[i].schema->table_id;
        struct table_state *state =
            id < catalog->next_table_id ? catalog->states[id - 1] : NULL; /* NULL: never was */
        MUST(state || changes[i].drop);
        if (state) state->schema = changes[i].drop ? NULL : changes[i].schema;
    }
    cell_set(&catalog->tables, list);
    atomic_fetch_add(&catalog->changes, count);
}

void catalog_abandon(const struct catalog_change *changes, size_t count, struct table_list *list)
{
    for (size_t i = 0; i < count; i++) mem_free(changes[i].rollup);
    table_list_release(list);
}

enum err catalog_change(struct catalog *catalog, struct schema *schema, bool drop)
{
    struct catalog_change change = {.schema = schema, .drop = drop};
    struct table_list *list;
    enum err err = catalog_prepare(catalog, &change, 1, &list);
    if (!err) catalog_publish(catalog, &change, 1, list);
    schema_release(schema);
    return err;
}

/* ---- series ---- */

struct series *catalog_series(const struct catalog *catalog, uint32_t id)
{
    struct catalog *c = (struct catalog *)(uintptr_t)catalog;
    if (id == 0 || id > atomic_load_explicit(&c->series_count, memory_order_acquire)) return NULL;
    struct series *block =
        atomic_load_explicit(&c->blocks[(id - 1) / SERIES_BLOCK], memory_order_relaxed);
    if (!block) return NULL; /* damage may take more than a block's ids */
    struct series *series = &block[(id - 1) % SERIES_BLOCK];
    return series->id ? series : NULL; /* an id may be missing after damage */
}

uint32_t catalog_find_series(const struct catalog *catalog, uint32_t table_id, struct str path)
{
    const struct series *series = series_index_find(catalog, table_id, path);
    return series ? series->id : 0;
}

bool catalog_labels_equal(const struct series *series, const struct label *labels, uint32_t count)
{
    const struct series_labels *now =
        atomic_load_explicit(&((struct series *)(uintptr_t)series)->labels, memory_order_relaxed);
    if (!now || now->count != count) return !now && count == 0;
    for (uint32_t i = 0; i < count; i++)
        if (!str_equal(now->items[i].key, labels[i].key) ||
            !str_equal(now->items[i].value, labels[i].value))
            return false;
    return true;
}

static enum err note_label_name(struct catalog *catalog, struct table_state *state, struct str name)
{
    uint32_t count = atomic_load_explicit(&state->label_count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++)
        if (str_is(name, state->labels[i])) return ERR_OK;
    if (count == TABLE_LABELS_MAX) return ERR_LIMIT;
    state->labels[count] = arena_strdup(&catalog->arena, name.at, name.size);
    if (!state->labels[count]) return ERR_NO_MEMORY;
    atomic_store_explicit(&state->label_count, count + 1, memory_order_release);
    return ERR_OK;
}

static enum err set_labels(struct catalog *catalog, struct table_state *state,
                           struct series *series, const struct label *labels, uint32_t count)
{
    struct series_labels *copy =
        arena_alloc(&catalog->arena, sizeof *copy + count * sizeof copy->items[0]);
    if (!copy) return ERR_NO_MEMORY;
    copy->count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct str key = labels[i].key, value = labels[i].value;
        copy->items[i].key =
            (struct str){arena_strdup(&catalog->arena, key.at, key.size), key.size};
        copy->items[i].value =
            (struct str){arena_strdup(&catalog->arena, value.at, value.size), value.size};
        if (!copy->items[i].key.at || !copy->items[i].value.at) return ERR_NO_MEMORY;
        enum err err = note_label_name(catalog, state, key);
        if (err) return err;
    }
    atomic_store_explicit(&series->labels, copy, memory_order_release);
    atomic_fetch_add(&catalog->changes, 1);
    return ERR_OK;
}

static enum err make_block(struct catalog *catalog, uint32_t index)
{
    if (index >= SERIES_BLOCKS_MAX) return ERR_LIMIT;
    if (atomic_load(&catalog->blocks[index])) return ERR_OK;
    struct series *block = mem_alloc_zero(SERIES_BLOCK, sizeof *block);
    if (!block) return ERR_NO_MEMORY;
    atomic_store(&catalog->blocks[index], block);
    return ERR_OK;
}

/* Walks are in order of id: whoever writes a part relies on it. New ids are above all others; one
 * that is not comes late from the log, for its record in the snapshot was damaged. */
static void enter_in_table(struct table_state *state, struct series *series)
{
    struct series *before = state->last;
    if (before && before->id > series->id) {
        struct series *at = atomic_load(&state->first);
        MUST(series->id != state->last->id);
        for (before = NULL; at->id < series->id; at = atomic_load(&at->next_of_table)) before = at;
        atomic_store(&series->next_of_table, at);
    } else {
        state->last = series;
    }
    atomic_store_explicit(before ? &before->next_of_table : &state->first, series,
                          memory_order_release);
}

static enum err add_series(struct catalog *catalog, struct table_state *state, uint32_t id,
                           struct str path, const struct label *labels, uint32_t label_count)
{
    if (path.size > SERIES_PATH_MAX) return ERR_LIMIT;
    enum err err = make_block(catalog, (id - 1) / SERIES_BLOCK);
    if (!err) err = series_index_reserve(catalog);
    if (err) return err;
    struct series *series =
        &atomic_load(&catalog->blocks[(id - 1) / SERIES_BLOCK])[(id - 1) % SERIES_BLOCK];
    MUST(!series->id); /* ids do not come again */
    char *own = arena_strdup(&catalog->arena, path.at, path.size);
    if (!own) return ERR_NO_MEMORY;
    if (label_count && (err = set_labels(catalog, state, series, labels, label_count))) return err;
    series->id = id;
    series->table_id = state->table_id;
    series->path = (struct str){own, path.size};
    enter_in_table(state, series);
    atomic_fetch_add(&state->series_count, 1);
    atomic_fetch_add(&catalog->changes, 1);
    if (id > atomic_load(&catalog->series_count))
        atomic_store_explicit(&catalog->series_count, id, memory_order_release);
    series_index_add(catalog, series);
    return ERR_OK;
}

enum err catalog_put_series(struct catalog *catalog, uint32_t id, uint32_t table_id,
                            struct str path, const struct label *labels, uint32_t label_count,
                            uint32_t *given)
{
    struct table_state *state = NULL;
    enum err err = state_of(catalog, table_id, &state);
    if (err) return err;
    uint32_t known = catalog_find_series(catalog, table_id, path);
    if (id && known && known != id) return ERR_CORRUPT;
    if (known) {
        *given = known;
        return set_labels(catalog, state, catalog_series(catalog, known), labels, label_count);
    }
    *given = id ? id : atomic_load(&catalog->series_count) + 1;
    if (catalog_series(catalog, *given)) return ERR_CORRUPT;
    return add_series(catalog, state, *given, path, labels, label_count);
}

enum err catalog_reserve(struct catalog *catalog, uint32_t next_table_id, uint32_t series_count)
{
    if (next_table_id == 0 || next_table_id > CATALOG_TABLES_MAX + 1 ||
        series_count > SERIES_BLOCK * SERIES_BLOCKS_MAX)
        return ERR_CORRUPT;
    struct table_state *state = NULL;
    enum err err = next_table_id > 1 ? state_of(catalog, next_table_id - 1, &state) : ERR_OK;
    for (uint32_t block = 0; !err && block * SERIES_BLOCK < series_count; block++)
        err = make_block(catalog, block);
    if (!err && series_count > atomic_load(&catalog->series_count))
        atomic_store(&catalog->series_count, series_count);
    return err;
}

enum err catalog_logged_table(struct catalog *catalog, uint32_t table_id, uint64_t seq)
{
    struct table_state *state = NULL;
    enum err err = state_of(catalog, table_id, &state);
    if (!err) state->logged_seq = seq;
    return err;
}

void catalog_logged_series(struct catalog *catalog, uint32_t id, uint64_t seq)
{
    struct series *series = catalog_series(catalog, id);
    if (series) series->logged_seq = seq;
}

/* ---- records ---- */

enum {
    SCHEMA_VERSION = 2 /* 1 knew no rollups */,
    SERIES_VERSION = 1,
    FLAG_DROPPED = 1,
    FLAG_OPEN = 2
};

static void write_text(struct buf *out, struct str text)
{
    buf_add_varint(out, text.size);
    buf_add_str(out, text);
}

static struct str read_text(struct reader *in)
{
    uint64_t size = reader_varint(in);
    if (size > reader_left(in)) {
        in->failed = true;
        return (struct str){"", 0};
    }
    return reader_str(in, (size_t)size);
}

void catalog_write_schema(struct buf *out, const struct schema *s, bool dropped)
{
    buf_add_char(out, SCHEMA_VERSION);
    buf_add_le32(out, s->table_id);
    buf_add_char(out, (char)((dropped ? FLAG_DROPPED : 0) | (s->open ? FLAG_OPEN : 0)));
    buf_add_varint(out, s->revision);
    write_text(out, str_of(s->ns));
    write_text(out, str_of(s->name));
    write_text(out, str_of(s->description));
    write_text(out, str_of(s->device_tags));
    buf_add_le64(out, (uint64_t)s->retention_ns);
    buf_add_char(out, (char)s->durability);
    buf_add_le64(out, (uint64_t)s->durability_interval_ns);
    buf_add_le16(out, s->next_column_id);
    buf_add_varint(out, s->column_count);
    for (uint32_t i = 0; i < s->column_count; i++) {
        const struct column *c = &s->columns[i];
        buf_add_le16(out, c->id);
        buf_add_char(out, (char)c->type);
        buf_add_char(out, (char)c->owner);
        write_text(out, str_of(c->name));
        write_text(out, str_of(c->unit));
        write_text(out, str_of(c->description));
    }
    buf_add_le32(out, s->rollup_of);
    buf_add_le64(out, (uint64_t)s->rollup_every_ns);
    buf_add_varint(out, s->rollup_count);
    for (uint32_t i = 0; i < s->rollup_count; i++) {
        buf_add_le64(out, (uint64_t)s->rollups[i].every_ns);
        buf_add_le64(out, (uint64_t)s->rollups[i].retention_ns);
    }
}

static const char *own_text(struct arena *arena, struct str text)
{
    return arena_strdup(arena, text.at, text.size);
}

static enum err read_columns(struct reader *in, struct schema *s, uint64_t count, struct why *why)
{
    struct arena scratch;
    arena_init(&scratch, NULL);
    enum err err = ERR_OK;
    for (uint64_t i = 0; i < count && !err; i++) {
        uint16_t id = reader_le16(in);
        uint8_t type = reader_u8(in), owner = reader_u8(in);
        const char *name = own_text(&scratch, read_text(in)),
                   *unit = own_text(&scratch, read_text(in)),
                   *description = own_text(&scratch, read_text(in));
        if (!name || !unit || !description)
            err = ERR_NO_MEMORY;
        else if (!reader_ok(in) || id == 0 || id == UINT16_MAX || type == 0 || type >= TYPE_COUNT ||
                 owner > 1 || schema_column(s, id))
            err = why_set(why, ERR_CORRUPT, "schema record: column %d is malformed", (int)i + 1);
        else
            err = schema_add_column(s, id, name, (enum type)type, (enum column_owner)owner, unit,
                                    description, why);
    }
    arena_free(&scratch);
    return err;
}

static enum err read_head(struct reader *in, struct schema *s)
{
    s->description = own_text(&s->arena, read_text(in));
    s->device_tags = own_text(&s->arena, read_text(in));
    s->retention_ns = (int64_t)reader_le64(in);
    s->durability = reader_u8(in) ? DURABILITY_INTERVAL : DURABILITY_COMMIT;
    s->durability_interval_ns = (int64_t)reader_le64(in);
    return s->description && s->device_tags ? ERR_OK : ERR_NO_MEMORY;
}

static enum err read_rollups(struct reader *in, struct schema *s, struct why *why)
{
    s->rollup_of = reader_le32(in);
    s->rollup_every_ns = (int64_t)reader_le64(in);
    uint64_t count = reader_varint(in);
    bool good = count <= SCHEMA_ROLLUPS_MAX && s->rollup_of <= CATALOG_TABLES_MAX &&
                (!s->rollup_of || s->rollup_every_ns > 0);
    for (uint64_t i = 0; good && i < count; i++) {
        int64_t every_ns = (int64_t)reader_le64(in), retention_ns = (int64_t)reader_le64(in);
        good = every_ns > 0 && retention_ns >= 0 && !schema_add_rollup(s, every_ns, retention_ns);
    }
    if (good && reader_ok(in)) return ERR_OK;
    return why_set(why, ERR_CORRUPT, "schema record: the rollups are malformed");
}

enum err catalog_read_schema(struct reader *in, struct schema **schema, bool *dropped,
                             struct why *why)
{
    uint8_t version = reader_u8(in);
    uint32_t table_id = reader_le32(in);
    uint8_t flags = reader_u8(in);
    uint64_t revision = reader_varint(in);
    struct str ns = read_text(in), name = read_text(in);
    if (!reader_ok(in) || version == 0 || version > SCHEMA_VERSION || table_id == 0 ||
        table_id > CATALOG_TABLES_MAX || revision > UINT32_MAX)
        return why_set(why, ERR_CORRUPT, "schema record is malformed");
    char ns_text[SCHEMA_NAME_BYTES_MAX + 1], name_text[SCHEMA_NAME_BYTES_MAX + 1];
    if (!str_copy(ns_text, sizeof ns_text, ns) || !str_copy(name_text, sizeof name_text, name))
        return why_set(why, ERR_CORRUPT, "schema record: a name is too long");
    struct schema *s = schema_new(ns_text, name_text, table_id);
    if (!s) return ERR_NO_MEMORY;
    s->revision = (uint32_t)revision;
    s->open = flags & FLAG_OPEN;
    *dropped = flags & FLAG_DROPPED;
    enum err err = read_head(in, s);
    uint16_t next_column_id = reader_le16(in);
    uint64_t count = reader_varint(in);
    if (!err && (!reader_ok(in) || count > SCHEMA_COLUMNS_MAX))
        err = why_set(why, ERR_CORRUPT, "schema record is malformed");
    if (!err) err = read_columns(in, s, count, why);
    if (!err && version > 1) err = read_rollups(in, s, why);
    if (err) {
        schema_release(s);
        return err;
    }
    if (next_column_id > s->next_column_id) s->next_column_id = next_column_id;
    *schema = s;
    return ERR_OK;
}

void catalog_write_series(struct buf *out, const struct series *series)
{
    const struct series_labels *labels =
        atomic_load_explicit(&((struct series *)(uintptr_t)series)->labels, memory_order_relaxed);
    buf_add_char(out, SERIES_VERSION);
    buf_add_le32(out, series->id);
    buf_add_le32(out, series->table_id);
    write_text(out, series->path);
    buf_add_varint(out, labels ? labels->count : 0);
    for (uint32_t i = 0; labels && i < labels->count; i++) {
        write_text(out, labels->items[i].key);
        write_text(out, labels->items[i].value);
    }
}

enum err catalog_read_series(struct catalog *catalog, struct reader *in, uint64_t seq,
                             struct why *why)
{
    struct label labels[TABLE_LABELS_MAX] = {0};
    uint8_t version = reader_u8(in);
    uint32_t id = reader_le32(in), table_id = reader_le32(in), given;
    struct str path = read_text(in);
    uint64_t count = reader_varint(in);
    if (!reader_ok(in) || version != SERIES_VERSION || id == 0 || table_id == 0 ||
        table_id >= catalog->next_table_id || id > SERIES_BLOCK * SERIES_BLOCKS_MAX ||
        count > TABLE_LABELS_MAX)
        return why_set(why, ERR_CORRUPT, "series record is malformed");
    for (uint64_t i = 0; i < count; i++) {
        labels[i].key = read_text(in);
        labels[i].value = read_text(in);
    }
    if (!reader_ok(in)) return why_set(why, ERR_CORRUPT, "series record ends early");
    enum err err = catalog_put_series(catalog, id, table_id, path, labels, (uint32_t)count, &given);
    if (!err) catalog_logged_series(catalog, id, seq);
    return err;
}
