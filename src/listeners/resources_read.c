/* resources_read.c - get, and how documents and kubectl's tables are written; selectors. Lists:
 * resources_list.c. */
#include "listeners/resources_priv.h"
#include "base/timetext.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- selectors ---- */

enum err resources_selector(struct http_exchange *exchange, struct resource_selector *selector,
                            struct why *why)
{
    struct str fields;
    *selector = (struct resource_selector){0};
    (void)http_query(exchange, "labelSelector", &selector->labels);
    if (!http_query(exchange, "fieldSelector", &fields) || !fields.size) return ERR_OK;
    if (!str_starts(fields, "metadata.name="))
        return why_set(why, ERR_INVALID, "fieldSelector: only metadata.name=NAME is supported");
    selector->name = (struct str){fields.at + 14, fields.size - 14};
    if (selector->name.size && selector->name.at[0] == '=')
        selector->name.at++, selector->name.size--;
    return ERR_OK;
}

/* One term: "a=b", "a==b", "a!=b", "a", "!a". */
static bool term_holds(struct str term, const struct doc *labels)
{
    char key[256];
    bool negate = false, compare = false;
    size_t size = 0;
    if (term.size && term.at[0] == '!') {
        negate = true;
        term.at++, term.size--;
    }
    while (size < term.size && term.at[size] != '=' && term.at[size] != '!') size++;
    struct str name = {term.at, size}, value = {term.at + size, term.size - size};
    if (value.size && value.at[0] == '!') {
        negate = true;
        value.at++, value.size--;
    }
    while (value.size && value.at[0] == '=') {
        compare = true;
        value.at++, value.size--;
    }
    if (!str_copy(key, sizeof key, str_trim(name))) return false;
    const struct doc *have = doc_get(labels, key);
    bool holds = compare ? have && str_equal(doc_text(have), str_trim(value)) : have != NULL;
    return holds != negate;
}

bool resources_selected(const struct resource_selector *selector, const struct resource *r,
                        const struct resource_target *target)
{
    if (r->kind != target->kind || (target->ns.size && !str_equal(r->ns, target->ns))) return false;
    if (target->name.size && !str_equal(r->name, target->name)) return false;
    if (selector->name.size && !str_equal(r->name, selector->name)) return false;
    struct str rest = selector->labels, term;
    while (rest.size && str_split(&rest, ',', &term))
        if (!term_holds(str_trim(term), r->labels)) return false;
    return true;
}

/* ---- tables ---- */

bool resources_wants_table(const struct http_request *request)
{
    struct str accept = http_header(request, "accept");
    return accept.size && memmem(accept.at, accept.size, "as=Table", 8) != NULL;
}

/* What kubectl prints beside name and age; `wide` only with -o wide. A list shows its texts. */
static const struct table_column {
    enum resource_kind kind;
    const char *header, *path;
    bool wide;
} table_columns[] = {
    {KIND_CONNECTION, "Driver", "spec.driver", false},
    {KIND_CONNECTION, "Endpoint", "spec.endpoint", false},
    {KIND_CONNECTION, "State", "status.state", false},
    {KIND_CONNECTION, "RTT ms", "status.roundTripMs", false},
    {KIND_CONNECTION, "Since", "status.since", true},
    {KIND_CONNECTION, "Last error", "status.lastError", true},
    {KIND_TABLE, "SQL name", "spec.name", false},
    {KIND_TABLE, "Retention", "spec.retention", false},
    {KIND_TABLE, "Columns", "status.columns", false},
    {KIND_TABLE, "Devices", "status.devices", false},
    {KIND_TABLE, "Parts", "status.parts", true},
    {KIND_DEVICE, "Path", "spec.path", false},
    {KIND_DEVICE, "Table", "spec.table", false},
    {KIND_DEVICE, "Connection", "spec.connection", false},
    {KIND_DEVICE, "Interval", "spec.interval", false},
    {KIND_DEVICE, "Good", "status.good", false},
    {KIND_DEVICE, "Bad", "status.bad", false},
    {KIND_DEVICE, "Last row", "status.lastRow", true},
    {KIND_NODE, "Tier", "status.tier", false},
    {KIND_NODE, "Version", "status.version", false},
    {KIND_NODE, "Address", "status.address", false},
    {KIND_NODE, "Memory", "status.memoryUsed", true},
    {KIND_USER, "Roles", "spec.roles", false},
    {KIND_USER, "Disabled", "spec.disabled", false},
    {KIND_USER, "Description", "spec.description", true},
    {KIND_ROLE, "Description", "spec.description", false},
    {KIND_TOKEN, "User", "spec.user", false},
    {KIND_TOKEN, "Roles", "spec.roles", false},
    {KIND_TOKEN, "Expires", "spec.expires", false},
    {KIND_TOKEN, "Description", "spec.description", true},
    {KIND_BRIDGE, "Endpoint", "spec.endpoint", false},
    {KIND_BRIDGE, "State", "status.state", false},
    {KIND_BRIDGE, "Queued", "status.queued", false},
    {KIND_BRIDGE, "Sent", "status.sent", false},
    {KIND_BRIDGE, "Received", "status.received", false},
    {KIND_BRIDGE, "Since", "status.since", true},
    {KIND_BRIDGE, "Last error", "status.lastError", true},
    {KIND_VIEW, "Query", "spec.query", true},
    {KIND_VIEW, "Description", "spec.description", false},
    {KIND_STREAM, "Filter", "spec.filter", false},
    {KIND_STREAM, "Format", "spec.format", false},
    {KIND_STREAM, "Messages", "status.messages", false},
    {KIND_STREAM, "Rows", "status.rows", false},
    {KIND_STREAM, "Refused", "status.refused", false},
    {KIND_STREAM, "Last error", "status.lastError", true},
    {KIND_SINK, "Table", "spec.table", false},
    {KIND_SINK, "State", "status.state", false},
    {KIND_SINK, "Sent", "status.sent", false},
    {KIND_SINK, "Lag", "status.lagSeconds", false},
    {KIND_SINK, "Failures", "status.failures", false},
    {KIND_SINK, "Last error", "status.lastError", true},
};
enum { TABLE_COLUMN_COUNT = sizeof table_columns / sizeof table_columns[0] };

static void add_column(struct buf *out, const char *name, const char *format, bool wide)
{
    buf_printf(
        out,
        "{\"name\":\"%s\",\"type\":\"string\",\"format\":\"%s\",\"description\":\"\",\"priority\":%d}",
        name, format, wide);
}

/* Lists are not kept as trees (see struct resource): they are read from the spec's text. */
static void add_list(struct buf *out, const struct resource *r, const char *key)
{
    struct arena arena;
    struct buf text = BUF_EMPTY;
    arena_init(&arena, NULL);
    const struct doc *list = doc_get(resource_spec(r, &arena), key);
    for (size_t i = 0; list && list->kind == DOC_LIST && i < list->count; i++) {
        if (i) buf_add_char(&text, ',');
        buf_add_str(&text, doc_text(list->items[i].value));
    }
    buf_add_json(out, buf_str(&text));
    buf_free(&text);
    arena_free(&arena);
}

static void add_cell(struct buf *out, const struct resource *r, const struct table_column *column)
{
    bool is_spec = strncmp(column->path, "spec.", 5) == 0;
    const char *key = strchr(column->path, '.') + 1;
    const struct doc *value = doc_get(is_spec ? r->spec_doc : r->status, key);
    if (value && value->kind == DOC_LIST)
        add_list(out, r, key);
    else if (value && value->kind == DOC_BOOL)
        buf_add_text(out, value->b ? "\"true\"" : "\"false\"");
    else
        buf_add_json(out, doc_text(value));
}

/* "35s", "12m", "5h", "3d": as kubectl prints ages. */
static void add_age(struct buf *out, int64_t age_ns)
{
    int64_t s = age_ns > 0 ? age_ns / TIME_NS_PER_S : 0;
    if (s < 120)
        buf_printf(out, "\"%llds\"", (long long)s);
    else if (s < 7200)
        buf_printf(out, "\"%lldm\"", (long long)(s / 60));
    else if (s < 172800)
        buf_printf(out, "\"%lldh\"", (long long)(s / 3600));
    else
        buf_printf(out, "\"%lldd\"", (long long)(s / 86400));
}

static void add_row(struct buf *out, const struct resource *r, int64_t now_ns)
{
    char created[TIME_TEXT_BYTES];
    buf_add_text(out, "{\"cells\":[");
    buf_add_json(out, r->name);
    for (size_t i = 0; i < TABLE_COLUMN_COUNT; i++) {
        if (table_columns[i].kind != r->kind) continue;
        buf_add_char(out, ',');
        add_cell(out, r, &table_columns[i]);
    }
    buf_add_char(out, ',');
    add_age(out, now_ns - r->created_ns);
    time_format(r->created_ns - r->created_ns % TIME_NS_PER_S, created);
    buf_add_text(
        out,
        "],\"object\":{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"name\":");
    buf_add_json(out, r->name);
    buf_add_text(out, ",\"namespace\":");
    buf_add_json(out, r->ns);
    buf_printf(out, ",\"uid\":\"%s\",\"resourceVersion\":\"%llu\",\"creationTimestamp\":\"%s\"}}}",
               r->uid, (unsigned long long)r->version, created);
}

void resources_begin_list(struct buf *out, const struct resources_form *form, uint64_t version)
{
    if (!form->is_table) {
        buf_printf(out,
                   "{\"kind\":\"%sList\",\"apiVersion\":\"" RESOURCE_API_VERSION
                   "\",\"metadata\":{\"resourceVersion\":\"%llu\"},"
                   "\"items\":[",
                   resource_kinds[form->kind].name, (unsigned long long)version);
        return;
    }
    buf_printf(
        out,
        "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"resourceVersion\":\"%llu\"},"
        "\"columnDefinitions\":[",
        (unsigned long long)version);
    if (form->has_columns) {
        add_column(out, "Name", "name", false);
        for (size_t i = 0; i < TABLE_COLUMN_COUNT; i++) {
            if (table_columns[i].kind != form->kind) continue;
            buf_add_char(out, ',');
            add_column(out, table_columns[i].header, "", table_columns[i].wide);
        }
        buf_add_char(out, ',');
        add_column(out, "Age", "", false);
    }
    buf_add_text(out, "],\"rows\":[");
}

void resources_add_to_list(struct buf *out, const struct resources_form *form,
                           const struct resource *resource)
{
    if (form->is_table)
        add_row(out, resource, form->now_ns);
    else
        resources_write_document(out, resource, "");
}

void resources_write_table(struct buf *out, const struct resource *resource, bool has_columns,
                           int64_t now_ns)
{
    const struct resources_form form = {resource->kind, true, has_columns, now_ns};
    resources_begin_list(out, &form, resource->version);
    resources_add_to_list(out, &form, resource);
    buf_add_text(out, "]}");
}

/* ---- get ---- */

void resources_get(struct http_exchange *exchange, struct service *service,
                   const struct resource_target *target)
{
    struct buf out = BUF_EMPTY;
    if (!resources_allowed(exchange, VERB_GET, target)) return;
    struct resource *r = registry_get(service->registry, target->kind, target->ns, target->name);
    struct why why = WHY_NONE;
    char path[1024];
    const char *kind = resource_kinds[target->kind].name;
    /* Who may see only some is told neither that a document is there nor that it is not. */
    enum err err = access_check(api_identity(exchange), VERB_GET, kind, target->ns, target->name,
                                r ? resource_path(service, r, path) : STR(""), &why);
    if (err) {
        why = WHY_NONE; /* its path is not the asker's to see */
        (void)access_check(api_identity(exchange), VERB_GET, kind, target->ns, target->name,
                           STR(""), &why);
        if (!why.text[0])
            why_set(&why, err, "%s %.*s: not allowed", kind, (int)target->name.size,
                    target->name.at);
        resources_fail(exchange, target, err, &why, NULL);
        return;
    }
    if (!r) {
        why_set(&why, ERR_NOT_FOUND, "%s.millrace.io \"%.*s\" not found",
                resource_kinds[target->kind].plural, (int)target->name.size, target->name.at);
        resources_fail(exchange, target, ERR_NOT_FOUND, &why, NULL);
        return;
    }
    if (resources_wants_table(http_request_of(exchange)))
        resources_write_table(&out, r, true, context_wall_ns(service->context));
    else
        resources_write_document(&out, r, "");
    http_reply_buf(exchange, 200, "application/json", &out);
    buf_free(&out);
}
