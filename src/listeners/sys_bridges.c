/* sys_bridges.c - sys.bridges: connections to other brokers, as the broker's task sees them.
 *
 * The rows come with those of sys_mqtt.c, by one look at the broker before the statement runs. A
 * row is for who may list the Bridge; the one of mqtt.external, which has no document, for who may
 * list all of them. */
#include "listeners/sys_priv.h"
#include "listeners/bridges.h"
#include <math.h>

static bool may_see(const struct sys_snapshot *s, const struct broker_bridge_row *row)
{
    struct str ns = row->ns.size ? row->ns : (struct str){0};
    return access_scope(s->identity, VERB_LIST, "Bridge", ns, row->name) == ACCESS_ALL;
}

void sys_hide_bridges(struct sys_snapshot *s)
{
    struct broker_list *rows = &s->mqtt.bridges;
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++)
        if (may_see(s, rows->at[i])) rows->at[kept++] = rows->at[i];
    rows->count = kept;
}

size_t sys_count_bridges(const void *snapshot)
{
    return ((const struct sys_snapshot *)snapshot)->mqtt.bridges.count;
}

void sys_write_bridges(const void *snapshot, size_t n, struct row_out *out)
{
    const struct sys_snapshot *s = snapshot;
    MUST(n < s->mqtt.bridges.count);
    const struct broker_bridge_row *b = s->mqtt.bridges.at[n];
    put_text(out, b->ns);
    put_text(out, b->name);
    put_text(out, b->remote);
    put_text(out, str_of(bridge_state_name(b->state)));
    put_time(out, b->since_ns);
    put_count(out, b->queued);
    put_count(out, b->queued_bytes);
    put_double(out, (double)b->oldest_ns / TIME_NS_PER_S);
    put_count(out, b->in_flight);
    put_count(out, b->sent);
    put_count(out, b->received);
    put_count(out, b->dropped);
    if (b->error.size)
        put_text(out, b->error);
    else
        put_null(out);
    put_time(out, b->error_ns);
}

const struct list_column sys_columns_bridges[] = {
    {"namespace", TYPE_TEXT, ""},
    {"name", TYPE_TEXT, ""},
    {"remote", TYPE_TEXT, ""},
    {"state", TYPE_TEXT, ""},
    {"since", TYPE_TIMESTAMP, ""},
    {"queued", TYPE_BIGINT, ""},
    {"queued_bytes", TYPE_BIGINT, "B"},
    {"oldest_s", TYPE_DOUBLE, "s"},
    {"in_flight", TYPE_BIGINT, ""},
    {"sent", TYPE_BIGINT, ""},
    {"received", TYPE_BIGINT, ""},
    {"dropped", TYPE_BIGINT, ""},
    {"last_error", TYPE_TEXT, ""},
    {"last_error_time", TYPE_TIMESTAMP, ""},
    {0},
};
