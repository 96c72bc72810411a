/* text.c - the statement that a sink runs, as text: made of the document, for what statements can
 * say and how their mistakes are told is known to who writes documents.
 *
 * That device and time of the followed row come first is what the cursor lives on, so they are put
 * there by us, whatever else a query selects. */
#include "sinks/sinks_priv.h"
#include "sql/lex.h"

/* What of a template is no column of the rows by itself. */
static bool is_own_name(struct str name)
{
    static const char *const names[] = {"device", "table", "namespace", "column"};
    bool is_own = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) is_own |= str_is(name, names[i]);
    return is_own;
}

static size_t add_topic_names(const struct sink_spec *spec, struct buf *out)
{
    struct str rest = sink_topic_template(&spec->mqtt), text, name;
    static const char label[] = "label.";
    size_t count = 0;
    if (!str_is(spec->type, mqtt_sink.name)) return 0;
    while (sink_topic_next(&rest, &text, &name) && name.size) {
        if (is_own_name(name)) continue;
        if (str_starts(name, label))
            name = (struct str){name.at + sizeof label - 1, name.size - (sizeof label - 1)};
        buf_add_text(out, ", ");
        lex_add_name(out, name);
        count++;
    }
    return count;
}

void sink_text_of_table(const struct sink_spec *spec, const struct schema *schema, struct buf *out,
                        size_t *extras)
{
    MUST(spec && schema);
    buf_add_text(out, "SELECT device, time");
    for (size_t i = 0; i < spec->columns.count; i++) {
        buf_add_text(out, ", ");
        buf_add_str(out, spec->columns.items[i]);
        buf_add_char(out, '\n'); /* a comment in it ends here */
    }
    for (uint32_t i = 0; i < schema->column_count && !spec->columns.count; i++) {
        buf_add_text(out, ", ");
        lex_add_name(out, str_of(schema->columns[i].name));
    }
    *extras = add_topic_names(spec, out);
    buf_add_text(out, " FROM ");
    lex_add_name(out, spec->table);
    if (!spec->where.size) return;
    buf_add_text(out, " WHERE (");
    buf_add_str(out, spec->where);
    buf_add_text(out, "\n)");
}

/* ---- queries ---- */

enum err sink_text_of_query(const struct sink_spec *spec, struct buf *out, struct why *why)
{
    struct sql_follow follow;
    struct arena arena;
    MUST(spec->query.size);
    if (spec->every_ns) {
        buf_add_str(out, spec->query);
        return buf_failed(out) ? ERR_NO_MEMORY : ERR_OK;
    }
    arena_init(&arena, NULL);
    enum err err = sql_follow(spec->query, &arena, &follow, why);
    if (!err) {
        size_t at = (size_t)follow.items_at;
        buf_add_str(out, (struct str){spec->query.at, at});
        buf_add_char(out, ' ');
        lex_add_name(out, follow.reference);
        buf_add_text(out, ".device, ");
        lex_add_name(out, follow.reference);
        buf_add_text(out, ".time, ");
        buf_add_str(out, (struct str){spec->query.at + at, spec->query.size - at});
        if (buf_failed(out)) err = ERR_NO_MEMORY;
    }
    arena_free(&arena);
    return err;
}

enum err sink_text_table(const struct sink_spec *spec, char table[SCHEMA_NAME_BYTES_MAX + 1],
                         bool *joins, struct why *why)
{
    struct sql_follow follow = {.table = spec->table};
    struct arena arena;
    enum err err = ERR_OK;
    arena_init(&arena, NULL);
    if (spec->query.size && !spec->every_ns) err = sql_follow(spec->query, &arena, &follow, why);
    bool fits = err || str_copy(table, SCHEMA_NAME_BYTES_MAX + 1, follow.table);
    *joins = follow.joins;
    arena_free(&arena);
    return fits ? err : why_set(why, ERR_LIMIT, "the table's name is too long");
}
