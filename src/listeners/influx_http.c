/* influx_http.c - see influx.h.
 *
 * Clients of version 1 (Telegraf's output influxdb, the influx shell) send CREATE DATABASE before
 * they write. A namespace needs no making here, so the statement only checks the name; every other
 * statement is refused with the way to read: SQL. Shapes and codes are those of InfluxDB's API
 * references 1.8 (/write, /query) and 2.7 (/api/v2/write). */
#include "listeners/influx.h"
#include "listeners/api.h"

enum shape { SHAPE_V1, SHAPE_V2 };

static const struct {
    const char *path;
    enum shape shape;
} paths[] = {{"/write", SHAPE_V1}, {"/query", SHAPE_V1}, {"/api/v2/write", SHAPE_V2}};

static bool find_shape(struct str path, enum shape *shape)
{
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (!str_is(path, paths[i].path)) continue;
        *shape = paths[i].shape;
        return true;
    }
    return false;
}

bool influx_is_path(struct str path)
{
    enum shape shape;
    return find_shape(path, &shape);
}

/* The codes that version 2 has for a status; what is not listed is an internal error. */
static const char *code_of(int status)
{
    static const struct {
        int status;
        const char *code;
    } codes[] = {{400, "invalid"},   {401, "unauthorized"}, {403, "forbidden"},
                 {404, "not found"}, {409, "conflict"},     {413, "request too large"},
                 {422, "invalid"},   {429, "unavailable"},  {503, "unavailable"}};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].status == status) return codes[i].code;
    return "internal error";
}

void influx_reply(struct http_exchange *exchange, int status, struct str text)
{
    enum shape shape = SHAPE_V1;
    bool is_ours = find_shape(http_request_of(exchange)->path, &shape);
    struct buf out = BUF_EMPTY;
    MUST(is_ours && status >= 400);
    if (shape == SHAPE_V2)
        buf_printf(&out, "{\"code\":\"%s\",\"message\":", code_of(status));
    else
        buf_add_text(&out, "{\"error\":");
    buf_add_json(&out, text);
    buf_add_char(&out, '}');
    http_reply_buf(exchange, status, "application/json", &out);
    buf_free(&out);
}

struct str influx_namespace(struct http_exchange *exchange)
{
    struct str ns;
    if (http_query(exchange, "bucket", &ns) && ns.size) {
        struct str rest = ns;
        (void)str_split(&rest, '/', &ns); /* not empty, so there is a first piece */
        return ns;
    }
    return http_query(exchange, "db", &ns) && ns.size ? ns : STR("default");
}

/* ---- POST /query ---- */

static bool take_word(struct str *rest, const char *word)
{
    struct str text = str_trim(*rest);
    size_t size = str_of(word).size;
    if (text.size <= size || !str_is_nocase((struct str){text.at, size}, word)) return false;
    if (text.at[size] != ' ' && text.at[size] != '\t' && text.at[size] != '"') return false;
    *rest = str_trim((struct str){text.at + size, text.size - size});
    return true;
}

/* CREATE DATABASE name or "name"; what follows (WITH DURATION …) says how long to keep, which is
 * the tables' business here. */
static bool read_create(struct str statement, struct str *name)
{
    struct str rest = statement;
    if (!take_word(&rest, "CREATE") || !take_word(&rest, "DATABASE")) return false;
    bool quoted = rest.at[0] == '"';
    if (quoted) rest = (struct str){rest.at + 1, rest.size - 1};
    size_t size = 0;
    while (size < rest.size && rest.at[size] != (quoted ? '"' : ' ') && rest.at[size] != ';')
        size++;
    *name = (struct str){rest.at, size};
    return true;
}

void api_influx_query(struct http_exchange *exchange, void *arg)
{
    (void)arg;
    struct str statement = {0}, name = {0};
    struct why why = WHY_NONE;
    enum err err = ERR_OK;
    if (!http_query(exchange, "q", &statement) && !http_form(exchange, "q", &statement))
        err = why_set(&why, ERR_INVALID, "the parameter q is missing");
    else if (!read_create(statement, &name))
        err = why_set(&why, ERR_UNSUPPORTED,
                      "only CREATE DATABASE is understood here; read with SQL: POST /v1/sql");
    else
        err = resource_check_namespace(name, &why);
    if (err)
        influx_reply(exchange, 400, str_of(why_text(&why, err)));
    else
        http_reply(exchange, 200, "application/json",
                   STR("{\"results\":[{\"statement_id\":0}]}\n"));
}

void api_influx_health(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    http_reply(
        exchange, service->ready ? 200 : 503, "application/json",
        service->ready
            ? STR("{\"name\":\"influxdb\",\"message\":\"ready for queries and writes\","
                  "\"status\":\"pass\",\"checks\":[],\"version\":\"1.8-millrace-" MILLRACE_VERSION
                  "\"}\n")
            : STR("{\"name\":\"influxdb\",\"message\":\"starting\",\"status\":\"fail\","
                  "\"checks\":[],\"version\":\"1.8-millrace-" MILLRACE_VERSION "\"}\n"));
}
