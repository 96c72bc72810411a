/* api.c - see api.h. */
#include "listeners/api.h"
#include "base/base64.h"
#include "base/timetext.h"
#include "listeners/assets.h"
#include "listeners/import.h"
#include "listeners/influx.h"
#include "listeners/ingest.h"
#include "listeners/live.h"
#include "listeners/resources.h"
#include <stdio.h>
#include <string.h>

enum {
    BODY_SMALL = 64 * 1024,
    BODY_SQL = 1024 * 1024,
    BODY_DOCUMENT = 4 * 1024 * 1024,
    SESSION_HOURS = 24
};

/* ---- login ---- */

struct identity *api_identity(const struct http_exchange *exchange)
{
    return http_user(exchange);
}

static void release_identity(void *identity)
{
    identity_release(identity);
}

/* "name=value; name=value" */
static struct str cookie(const struct http_request *request, const char *name)
{
    struct str rest = http_header(request, "cookie"), piece;
    size_t size = strlen(name);
    while (rest.size && str_split(&rest, ';', &piece)) {
        piece = str_trim(piece);
        if (piece.size > size && str_starts(piece, name) && piece.at[size] == '=')
            return (struct str){piece.at + size + 1, piece.size - size - 1};
    }
    return (struct str){0};
}

/* Whether the page that asks, if one does, is this node's. Browsers send a cookie along for whoever
 * asks them to, of a site, and to them all ports of a machine are one site: so the cookie counts
 * for the node's own pages alone. Those that say so are believed (Fetch Metadata, Sec-Fetch-Site),
 * also behind a proxy of another name; of others, Origin (RFC 6454 section 7) has the host and port
 * that the request came to, by https where a proxy in front does the TLS. */
static bool is_own_page(const struct http_request *request)
{
    struct str site = http_header(request, "sec-fetch-site");
    struct str origin = http_header(request, "origin"), host = http_header(request, "host");
    if (site.at) return str_is(site, "same-origin") || str_is(site, "none");
    if (!origin.at) return true;
    bool is_https = str_starts(origin, "https://");
    if (!is_https && (request->is_tls || !str_starts(origin, "http://"))) return false;
    size_t skip = is_https ? strlen("https://") : strlen("http://");
    return host.size && str_equal((struct str){origin.at + skip, origin.size - skip}, host);
}

struct login {
    struct access_login op; /* first */
    struct http_exchange *exchange;
    struct service *service;
};

static void refuse(struct http_exchange *exchange, const char *text)
{
    struct why why = WHY_NONE;
    why_set(&why, ERR_UNAUTHENTICATED, "%s", text);
    http_add_header(exchange, "WWW-Authenticate", "Bearer realm=\"millrace\"");
    if (influx_is_path(http_request_of(exchange)->path))
        influx_reply(exchange, err_http_status(ERR_UNAUTHENTICATED), str_of(text));
    else
        http_reply_error(exchange, ERR_UNAUTHENTICATED, &why);
}

/* A password in the request (Basic): checked on a worker, then the exchange goes on. */
static void on_basic(struct completion *c)
{
    struct login *login = (struct login *)c;
    struct http_exchange *exchange = login->exchange;
    if (c->err) {
        refuse(exchange, "user or password is wrong");
    } else {
        http_set_user(exchange, login->op.identity, release_identity);
        http_resume(exchange);
    }
    mem_free(login);
}

static bool start_login(struct http_exchange *exchange, struct service *service, struct str user,
                        struct str password, void (*done)(struct completion *))
{
    struct login *login = mem_alloc_zero(1, sizeof *login);
    if (!login || !str_copy(login->op.user, sizeof login->op.user, user) ||
        !str_copy(login->op.password, sizeof login->op.password, password)) {
        mem_free(login);
        return false;
    }
    login->exchange = exchange;
    login->service = service;
    completion_init(&login->op.completion, service->context->main, done);
    access_login(service->access, &login->op);
    return true;
}

/* A user's password, or any user with a token as the password. */
static bool guard_password(struct http_exchange *exchange, struct service *service, struct str user,
                           struct str password)
{
    struct identity *by_token = access_token_find(service->access, password);
    if (by_token) {
        http_set_user(exchange, by_token, release_identity);
        return true;
    }
    if (!start_login(exchange, service, user, password, on_basic))
        refuse(exchange, "user or password is wrong");
    return false;
}

static bool guard_basic(struct http_exchange *exchange, struct service *service, struct str encoded)
{
    char plain[ACCESS_USER_BYTES + ACCESS_JWT_BYTES];
    size_t size;
    bool ok = base64_decode(encoded, BASE64_USUAL, plain, sizeof plain, &size);
    const char *colon = ok ? memchr(plain, ':', size) : NULL;
    if (!colon) {
        refuse(exchange, "the Authorization header is malformed");
        return false;
    }
    struct str user = {plain, (size_t)(colon - plain)},
               password = {colon + 1, size - user.size - 1};
    return guard_password(exchange, service, user, password);
}

/* InfluxDB's clients of version 1 without a header: `u` and `p` in the query; those of version 2
 * that were told of user and password: "Token USER:PASSWORD". */
static bool find_influx_login(struct http_exchange *exchange, struct str token, struct str *user,
                              struct str *password)
{
    if (!influx_is_path(http_request_of(exchange)->path)) return false;
    const char *colon = token.size ? memchr(token.at, ':', token.size) : NULL;
    if (colon) {
        *user = (struct str){token.at, (size_t)(colon - token.at)};
        *password = (struct str){colon + 1, token.size - user->size - 1};
        return true;
    }
    return !token.size && http_query(exchange, "u", user) && http_query(exchange, "p", password);
}

bool api_guard(struct http_exchange *exchange, const struct http_route *route, void *arg)
{
    struct service *service = arg;
    const struct http_request *request = http_request_of(exchange);
    metric_add(service->context, METRIC_HTTP_REQUESTS, 1);
    http_add_header(exchange, "X-Content-Type-Options", "nosniff");
    if (route->flags & API_NO_LOGIN) return true;
    struct str authorization = http_header(request, "authorization"), token = {0};
    if (authorization.size > 6 && str_is_nocase((struct str){authorization.at, 6}, "basic "))
        return guard_basic(exchange, service,
                           str_trim((struct str){authorization.at + 6, authorization.size - 6}));
    if (authorization.size > 7 && str_is_nocase((struct str){authorization.at, 7}, "bearer "))
        token = str_trim((struct str){authorization.at + 7, authorization.size - 7});
    else if (authorization.size > 6 && str_is_nocase((struct str){authorization.at, 6}, "token "))
        token = str_trim((struct str){authorization.at + 6, authorization.size - 6});
    else if (!authorization.size)
        token = cookie(request, "millrace");
    if (!authorization.size && token.size && !is_own_page(request)) {
        refuse(exchange, "the cookie counts for the node's own pages alone; send a token");
        return false;
    }
    struct str user, password;
    if (find_influx_login(exchange, token, &user, &password))
        return guard_password(exchange, service, user, password);
    struct identity *identity = token.size ? access_token_find(service->access, token) : NULL;
    if (!identity) {
        refuse(exchange, token.size ? "the token is unknown or has run out"
                                    : "log in first: POST /v1/login, or send a token");
        return false;
    }
    http_set_user(exchange, identity, release_identity);
    return true;
}

struct identity *api_find_identity(const struct http_exchange *exchange, struct service *service)
{
    const struct http_request *request = http_request_of(exchange);
    struct str authorization = http_header(request, "authorization"), token = {0};
    if (authorization.size > 7 && str_is_nocase((struct str){authorization.at, 7}, "bearer "))
        token = str_trim((struct str){authorization.at + 7, authorization.size - 7});
    else if (!authorization.size && is_own_page(request))
        token = cookie(request, "millrace");
    return token.size ? access_token_find(service->access, token) : NULL;
}

static void set_cookie(struct http_exchange *exchange, const char *token, bool is_tls,
                       int64_t seconds)
{
    char text[256];
    snprintf(text, sizeof text, "millrace=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%lld%s",
             token, (long long)seconds, is_tls ? "; Secure" : "");
    http_add_header(exchange, "Set-Cookie", text);
}

static void on_login(struct completion *c)
{
    struct login *login = (struct login *)c;
    struct http_exchange *exchange = login->exchange;
    struct service *service = login->service;
    char token[80];
    enum err err = c->err;
    struct login_line line = {context_mono_ns(service->context), str_of(login->op.user),
                              str_of(http_request_of(exchange)->peer), err};
    if (login_lines_add(&service->login_lines, service->audit, &line))
        diag(service->context, DIAG_ERROR, "api", "the audit log takes no lines");
    if (!err)
        err = access_token_make(service->access, login->op.identity,
                                SESSION_HOURS * 3600 * TIME_NS_PER_S, token);
    if (err) {
        http_reply_error(exchange, err, &c->why);
    } else {
        struct buf out = BUF_EMPTY;
        set_cookie(exchange, token, http_request_of(exchange)->is_tls, SESSION_HOURS * 3600);
        buf_printf(&out, "{\"token\":\"%s\",\"user\":", token);
        buf_add_json(&out, str_of(login->op.identity->user));
        buf_add_text(&out, ",\"role\":");
        buf_add_json(&out, str_of(login->op.identity->role));
        buf_add_char(&out, '}');
        http_reply_buf(exchange, 200, "application/json", &out);
        buf_free(&out);
    }
    identity_release(login->op.identity);
    mem_free(login);
}

static void handle_login(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct why why = WHY_NONE;
    struct doc *doc = NULL;
    enum err err = doc_read_json(http_request_of(exchange)->body, http_arena(exchange), &doc, &why);
    struct str user = doc_text(doc_get(doc, "user")), password = doc_text(doc_get(doc, "password"));
    if (!err && (!user.size || !password.size))
        err = why_set(&why, ERR_INVALID, "send {\"user\":…,\"password\":…}");
    if (err)
        http_reply_error(exchange, err, &why);
    else if (!start_login(exchange, service, user, password, on_login))
        refuse(exchange, "user or password is wrong");
}

static void handle_logout(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct str token = cookie(http_request_of(exchange), "millrace");
    if (token.size) access_token_drop(service->access, token);
    resources_recheck(service->resources); /* what is open under it ends with it */
    live_recheck(service->live);
    set_cookie(exchange, "", http_request_of(exchange)->is_tls, 0);
    http_reply(exchange, 204, NULL, STR(""));
}

/* ---- small answers ---- */

static const char *const modules[] = {"collect", "store", "sql", "mqtt", "coap", "stream", "sinks"};

static void handle_about(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct buf out = BUF_EMPTY;
    buf_add_text(&out,
                 "{\"version\":\"" MILLRACE_VERSION "\",\"tier\":\"edge\",\"node\":{\"name\":");
    buf_add_json(&out, service->node_name);
    buf_add_text(&out, ",\"path\":");
    buf_add_json(&out, service->node_path);
    buf_add_text(&out, "},\"user\":");
    buf_add_json(&out, str_of(api_identity(exchange)->user));
    buf_add_text(&out, ",\"role\":");
    buf_add_json(&out, str_of(api_identity(exchange)->role));
    buf_add_text(&out, ",\"modules\":[");
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++)
        buf_printf(&out, "%s\"%s\"", i ? "," : "", modules[i]);
    buf_add_text(&out, "]}");
    http_reply_buf(exchange, 200, "application/json", &out);
    buf_free(&out);
}

static void handle_healthz(struct http_exchange *exchange, void *arg)
{
    (void)arg;
    http_reply(exchange, 200, "text/plain", STR("ok\n"));
}

static void handle_ping(struct http_exchange *exchange, void *arg)
{
    (void)arg;
    http_add_header(exchange, "X-Influxdb-Version", "1.8-millrace-" MILLRACE_VERSION);
    http_reply(exchange, 204, NULL, STR(""));
}

static void handle_readyz(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    http_reply(exchange, service->ready ? 200 : 503, "text/plain",
               service->ready ? STR("ok\n") : STR("starting\n"));
}

/* Prometheus text format 0.0.4. */
static void handle_metrics(struct http_exchange *exchange, void *arg)
{
    struct service *service = arg;
    struct buf out = BUF_EMPTY;
    for (int m = 0; m < METRIC_COUNT; m++) {
        const struct metric_info *info = metric_info((enum metric)m);
        buf_printf(&out, "# HELP %s %s\n# TYPE %s %s\n%s ", info->name, info->help, info->name,
                   info->kind == METRIC_KIND_COUNTER ? "counter" : "gauge", info->name);
        buf_add_u64(&out, metric_get(service->context, (enum metric)m));
        buf_add_char(&out, '\n');
    }
    http_reply(exchange, 200, "text/plain; version=0.0.4", buf_str(&out));
    buf_free(&out);
}

/* ---- the console ---- */

static void handle_asset(struct http_exchange *exchange, void *arg)
{
    (void)arg;
    const struct http_request *request = http_request_of(exchange);
    char path[256], etag[40];
    const struct asset *asset =
        str_copy(path, sizeof path, request->path) ? asset_find(path) : NULL;
    if (!asset) {
        struct why why = WHY_NONE;
        why_set(&why, ERR_NOT_FOUND, "there is nothing at %.*s", (int)request->path.size,
                request->path.at);
        http_reply_error(exchange, ERR_NOT_FOUND, &why);
        return;
    }
    snprintf(etag, sizeof etag, "\"%s\"", asset->etag);
    http_add_header(exchange, "ETag", etag);
    http_add_header(exchange, "Cache-Control", "no-cache");
    http_add_header(exchange, "Content-Security-Policy",
                    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'");
    if (str_is(http_header(request, "if-none-match"), etag)) {
        http_reply(exchange, 304, NULL, STR(""));
        return;
    }
    http_add_header(exchange, "Content-Encoding", "gzip");
    http_reply(exchange, 200, asset->content_type,
               (struct str){(const char *)asset->gzip, asset->gzip_size_bytes});
}

const struct http_route api_routes[] = {
    {"GET", "/healthz", handle_healthz, 0, API_NO_LOGIN, "200 while the program runs"},
    {"GET", "/readyz", handle_readyz, 0, API_NO_LOGIN, "200 when everything has started"},
    {"POST", "/v1/login", handle_login, BODY_SMALL, API_NO_LOGIN,
     "user and password for a token and a cookie"},
    {"POST", "/v1/logout", handle_logout, BODY_SMALL, API_NO_LOGIN, "drops the cookie's session"},
    {"GET", "/v1/about", handle_about, 0, 0, "version, node, who is logged in"},
    {"POST", "/v1/sql", api_sql, BODY_SQL + BODY_SMALL, 0, "runs one SQL statement"},
    {"POST", "/write", api_write, HTTP_BODY_BYTES_MAX, 0,
     "stores rows in InfluxDB's line protocol"},
    {"POST", "/api/v2/write", api_write, HTTP_BODY_BYTES_MAX, 0,
     "the same for clients of InfluxDB 2: ?bucket=NAMESPACE"},
    {"POST", "/query", api_influx_query, BODY_SMALL, 0,
     "CREATE DATABASE, with which InfluxDB's clients begin; nothing else"},
    {"GET", "/health", api_influx_health, 0, API_NO_LOGIN,
     "the answer InfluxDB 2's clients wait for"},
    {"POST", "/v1/rows", api_rows, HTTP_BODY_BYTES_MAX, 0,
     "stores rows as JSON: one, several behind each other, or a list; ?table=T, and ?device=D for "
     "rows that name none"},
    {"POST", "/v1/import", api_import, HTTP_BODY_BYTES_MAX, 0,
     "stores rows of CSV: ?table=T&time=COLUMN&device=COLUMN, errors by line and column"},
    {"POST", "/prometheus/api/v1/write", api_prometheus_write, HTTP_BODY_BYTES_MAX, 0,
     "Prometheus' remote write 1.0", true},
    {"GET", "/ping", handle_ping, 0, API_NO_LOGIN, "204: the answer InfluxDB clients wait for"},
    {"GET", "/v1/live", api_live, 0, 0,
     "WebSocket: rows as they come, of chosen devices and columns"},
    {"GET", "/mqtt", api_mqtt, 0, API_NO_LOGIN,
     "MQTT over WebSocket: the subprotocol mqtt, binary frames; CONNECT logs in"},
    {"POST", "/v1/backup", api_backup_begin, BODY_SMALL, 0,
     "begins a backup: {to, keep, bytesPerSecond}; needs update on the Node"},
    {"GET", "/v1/backup", api_backup_show, 0, 0,
     "how far the backup is, or how the last one ended"},
    {"POST", "/v1/streams/test", api_stream_test, BODY_DOCUMENT, 0,
     "what a Stream would make of a message, without storing it: {name, spec, topic, payload or "
     "payloadBase64}; needs create on Stream"},
    {"GET", "/v1/mqtt/clients", api_mqtt_clients, 0, 0,
     "the broker's sessions and who is connected: ?ns=NAMESPACE&limit=N"},
    {"GET", "/v1/mqtt/clients/{}", api_mqtt_client, 0, 0,
     "one of them, with its subscriptions: ?ns=NAMESPACE"},
    {"DELETE", "/v1/mqtt/clients/{}", api_mqtt_kick, BODY_SMALL, 0,
     "ends its connection: ?ns=NAMESPACE&reason=TEXT, and with ?session=true its session; needs delete on "
     "MqttClient"},
    {"POST", "/v1/mqtt/clients/{}/unsubscribe", api_mqtt_unsubscribe, BODY_SMALL, 0,
     "takes a subscription from it: ?ns=NAMESPACE, {filter}; needs update on MqttClient"},
    {"GET", "/v1/mqtt/bans", api_mqtt_bans, 0, 0, "clients and addresses that are banned"},
    {"DELETE", "/v1/mqtt/bans/{}/{}", api_mqtt_unban, BODY_SMALL, 0,
     "lifts one: client/ID or address/ADDRESS; needs delete on MqttClient"},
    {"GET", "/v1/mqtt/retained", api_mqtt_retained, 0, 0,
     "retained messages: ?ns=NAMESPACE&topic=FILTER&payload=true&limit=N"},
    {"DELETE", "/v1/mqtt/retained", api_mqtt_forget, BODY_SMALL, 0,
     "forgets the one of ?ns=NAMESPACE&topic=NAME; needs publish on it"},
    {"POST", "/v1/mqtt/publish", api_mqtt_publish, BODY_DOCUMENT, 0,
     "publishes to ?ns=NAMESPACE {topic, payload or payload64, qos, retain, properties}"},
    {"GET", "/v1/mqtt/trace", api_mqtt_trace, 0, 0,
     "packets of ?client=ID, or messages of ?topic=FILTER, in ?ns=NAMESPACE, as they come and go: "
     "lines of JSON; needs list on MqttClient"},
    {"GET", "/metrics", handle_metrics, 0, 0, "counters and gauges in Prometheus' text format"},
    {"POST", "/apis/millrace.io/v1/namespaces/{}/devices/{}/write", api_device_write, BODY_SMALL, 0,
     "writes one point of a device"},
    {"GET", "/apis/millrace.io/v1/namespaces/{}/devices/{}/read", api_device_read, 0, 0,
     "reads a device's points now"},
    {"POST", "/apis/millrace.io/v1/namespaces/{}/connections/{}/test", api_connection_test,
     BODY_SMALL, 0, "asks equipment once: {address, type, order}, or nothing for who it is"},
    {"POST", "/apis/millrace.io/v1/namespaces/{}/connections/{}/scan", api_connection_scan,
     BODY_SMALL, 0, "a piece of a scan: {range, from}; goes on with the answer's next"},
    {"*", "/apis/millrace.io/v1/namespaces/{}/{}", resources_collection, BODY_DOCUMENT, 0,
     "lists, watches or creates resources of a namespace"},
    {"*", "/apis/millrace.io/v1/namespaces/{}/{}/{}", resources_object, BODY_DOCUMENT, 0,
     "gets, replaces, patches or deletes a resource"},
    {"*", "/apis/millrace.io/v1/{}", resources_all, BODY_DOCUMENT, 0,
     "lists or watches resources of all namespaces; creates nodes, users, roles, tokens"},
    {"*", "/apis/millrace.io/v1/{}/{}", resources_cluster_object, BODY_DOCUMENT, 0,
     "gets, replaces, patches or deletes a node, user, role or token"},
    {"GET", "/apis/millrace.io/v1", resources_group_version, 0, 0, "the resource types"},
    {"GET", "/apis/millrace.io", resources_group, 0, 0, "the API group"},
    {"GET", "/apis", resources_apis, 0, 0, "the API groups"},
    {"GET", "/api", resources_api, 0, 0, "the core API's versions: none"},
    {"GET", "/version", resources_version, 0, 0, "the version as Kubernetes clients expect it"},
    {"GET", "/openapi/v2", resources_openapi, 0, 0, "the resource types' schema"},
    {"GET", "/", handle_asset, 0, API_NO_LOGIN, "the console"},
    {"GET", "/{}", handle_asset, 0, API_NO_LOGIN, "the console's files"},
    {0},
};
