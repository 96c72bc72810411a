/* sys_sinks.c - sys.sinks: what goes outside, how far it is, and what went wrong.
 *
 * Copied on the main loop before the statement runs. A row is for who may list the Sink. */
#include "listeners/sys_priv.h"
#include "sinks/sinks.h"
#include <string.h>

struct sys_sink {
    struct sink_row row; /* its texts are in the snapshot's arena */
};

struct taking {
    struct sys_snapshot *snapshot;
    size_t capacity;
    enum err err;
};

static struct str keep(struct taking *t, struct str text)
{
    const char *kept = arena_strdup(&t->snapshot->arena, text.size ? text.at : "", text.size);
    if (!kept) t->err = ERR_NO_MEMORY;
    return kept ? (struct str){kept, text.size} : STR("");
}

static void take(void *arg, const struct sink_row *row)
{
    struct taking *t = arg;
    struct sys_snapshot *s = t->snapshot;
    if (t->err || access_scope(s->identity, VERB_LIST, "Sink", row->ns, row->name) != ACCESS_ALL)
        return;
    t->err = mem_grow(&s->sinks, &t->capacity, s->sink_count + 1, sizeof *s->sinks);
    if (t->err) return;
    struct sink_row *to = &s->sinks[s->sink_count++].row;
    *to = *row;
    to->ns = keep(t, row->ns);
    to->name = keep(t, row->name);
    to->type = keep(t, row->type);
    to->table = keep(t, row->table);
    to->error = keep(t, row->error);
}

enum err sys_take_sinks(struct sys_snapshot *s)
{
    struct taking taking = {.snapshot = s};
    if (!sys_mentions(s, "sinks")) return ERR_OK;
    sinks_each(s->service->sinks, take, &taking);
    return taking.err;
}

void sys_free_sinks(struct sys_snapshot *s)
{
    mem_free(s->sinks);
}

size_t sys_count_sinks(const void *snapshot)
{
    return ((const struct sys_snapshot *)snapshot)->sink_count;
}

void sys_write_sinks(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    MUST(n < s->sink_count);
    const struct sink_row *r = &s->sinks[n].row;
    put_text(out, r->ns);
    put_text(out, r->name);
    put_text(out, r->type);
    put_text(out, r->table);
    put_text(out, str_of(sink_state_name(r->state)));
    put_count(out, r->position);
    put_double(out, (double)r->lag_ns / TIME_NS_PER_S);
    put_count(out, r->rows);
    put_count(out, r->messages);
    put_count(out, r->skipped);
    put_count(out, r->failures);
    if (r->error.size)
        put_text(out, r->error);
    else
        put_null(out);
    put_time(out, r->error_ns);
}

const struct list_column sys_columns_sinks[] = {
    {"namespace", TYPE_TEXT, ""},
    {"name", TYPE_TEXT, ""},
    {"type", TYPE_TEXT, ""},
    {"table", TYPE_TEXT, ""},
    {"state", TYPE_TEXT, ""},
    {"position", TYPE_BIGINT, ""},
    {"lag_s", TYPE_DOUBLE, "s"},
    {"sent", TYPE_BIGINT, ""},
    {"messages", TYPE_BIGINT, ""},
    {"skipped", TYPE_BIGINT, ""},
    {"failures", TYPE_BIGINT, ""},
    {"last_error", TYPE_TEXT, ""},
    {"last_error_time", TYPE_TIMESTAMP, ""},
    {0},
};
