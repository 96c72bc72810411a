/* config.c - see config.h. The keys are one field table, as for resources. */
#include "node/config.h"
#include "base/num.h"
#include <stdio.h>
#include <string.h>

struct raw_config {
    struct {
        struct str name, path;
    } node;
    struct str data, memory, rollup_rows, drivers;
    struct {
        struct str http, https, mqtt, mqtts, mqtt_unix, coap, coaps, postgres, line;
        bool insecure;
    } listen;
    struct {
        struct str cert, key, ca;
        int clients;
        struct field_list more;
    } tls;
    struct raw_mqtt mqtt;
    struct raw_access access;
};

#define AT(member) offsetof(struct raw_config, member)

static const struct field node_fields[] = {
    {.name = "name",
     .type = FIELD_STRING,
     .offset = 0,
     .default_text = "edge",
     .flags = FIELD_NAME,
     .help_en = "the node's name",
     .help_zh = "节点名称"},
    {.name = "path",
     .type = FIELD_STRING,
     .offset = sizeof(struct str),
     .flags = FIELD_NAME,
     .help_en = "prefix of its devices' paths; fixed at first start",
     .help_zh = "设备路径前缀；首次启动后固定"},
    {0},
};

#define LISTEN_AT(member) (AT(listen.member) - AT(listen))
static const struct field listen_fields[] = {
    {.name = "http",
     .type = FIELD_STRING,
     .offset = LISTEN_AT(http),
     .default_text = "off",
     .help_en = "HTTP, HOST:PORT or off",
     .help_zh = "HTTP，主机:端口 或 off"},
    {.name = "https",
     .type = FIELD_STRING,
     .offset = LISTEN_AT(https),
     .default_text = "off",
     .help_en = "HTTPS, HOST:PORT or off",
     .help_zh = "HTTPS，主机:端口 或 off"},
    {.name = "mqtt",
     .type = FIELD_STRING,
     .offset = LISTEN_AT(mqtt),
     .default_text = "off",
     .help_en = "MQTT without TLS, HOST:PORT or off",
     .help_zh = "MQTT（不加密），主机:端口 或 off"},
    {.name = "mqtts",
     .type = FIELD_STRING,
     .offset = LISTEN_AT(mqtts),
     .default_text = "off",
     .help_en = "MQTT over TLS, HOST:PORT or off; with tls.ca the certificate's name is the user",
     .help_zh = "基于 TLS 的 MQTT，主机:端口 或 off；设置 tls.ca 后以证书名称为用户"},
    {.name = "mqttUnix",
     .type = FIELD_STRING,
     .offset = LISTEN_AT(mqtt_unix),
     .default_text = "off",
     .help_en = "MQTT at a Unix socket, /PATH or off; mode 0660",
     .help_zh = "MQTT 的 Unix 套接字，/路径 或 off；权限 0660"},
    {.name = "coap",
     .type = FIELD_STRING,
     .offset = LISTEN_AT(coap),
     .default_text = "off",
     .help_en =
         "CoAP clients of the MQTT broker without DTLS, HOST:PORT (UDP, usually 5683) or off",
     .help_zh = "MQTT 代理的 CoAP 客户端（不加密），主机:端口（UDP，通常 5683）或 off"},
    {.name = "coaps",
     .type = FIELD_STRING,
     .offset = LISTEN_AT(coaps),
     .default_text = "off",
     .help_en =
         "the same over DTLS with the keys of mqtt.psk, HOST:PORT (UDP, usually 5684) or off",
     .help_zh = "同上，经 DTLS 并使用 mqtt.psk 中的密钥，主机:端口（UDP，通常 5684）或 off"},
    {.name = "postgres",
     .type = FIELD_STRING,
     .offset = LISTEN_AT(postgres),
     .default_text = "off",
     .help_en = "PostgreSQL clients, with or without TLS, HOST:PORT or off",
     .help_zh = "PostgreSQL 客户端（可用 TLS），主机:端口 或 off"},
    {.name = "line",
     .type = FIELD_STRING,
     .offset = LISTEN_AT(line),
     .default_text = "off",
     .help_en = "line protocol over TCP, HOST:PORT or off; not on loopback: with tls.ca only",
     .help_zh = "基于 TCP 的行协议，主机:端口 或 off；非本机地址须设置 tls.ca"},
    {.name = "insecure",
     .type = FIELD_BOOL,
     .offset = LISTEN_AT(insecure),
     .default_text = "false",
     .help_en = "allows a listener without TLS on an address other hosts can reach",
     .help_zh = "允许在其他主机可达的地址上不加密监听"},
    {0},
};

enum { CLIENTS_REQUIRED, CLIENTS_OPTIONAL };
static const char *const clients_choices[] = {
    [CLIENTS_REQUIRED] = "required", [CLIENTS_OPTIONAL] = "optional", NULL};

static const struct field certificate_fields[] = {
    {.name = "cert",
     .type = FIELD_STRING,
     .flags = FIELD_REQUIRED,
     .offset = offsetof(struct node_certificate, cert),
     .help_en = "certificate, PEM file",
     .help_zh = "证书 PEM 文件"},
    {.name = "key",
     .type = FIELD_STRING,
     .flags = FIELD_REQUIRED,
     .offset = offsetof(struct node_certificate, key),
     .help_en = "key, PEM file",
     .help_zh = "私钥 PEM 文件"},
    {0},
};

#define TLS_AT(member) (AT(tls.member) - AT(tls))
static const struct field tls_fields[] = {
    {.name = "cert",
     .type = FIELD_STRING,
     .offset = TLS_AT(cert),
     .help_en = "certificate, PEM file",
     .help_zh = "证书 PEM 文件"},
    {.name = "key",
     .type = FIELD_STRING,
     .offset = TLS_AT(key),
     .help_en = "key, PEM file",
     .help_zh = "私钥 PEM 文件"},
    {.name = "ca",
     .type = FIELD_STRING,
     .offset = TLS_AT(ca),
     .help_en = "clients' CA, PEM file: clients of TLS listeners must show a certificate of it",
     .help_zh = "客户端 CA 的 PEM 文件：TLS 监听端口的客户端必须出示其签发的证书"},
    {.name = "clientCertificates",
     .type = FIELD_ENUM,
     .offset = TLS_AT(clients),
     .default_text = "required",
     .choices = clients_choices,
     .help_en = "with tls.ca: optional = who shows no certificate logs in otherwise; line protocol "
                "over TCP always demands one",
     .help_zh =
         "设置 tls.ca 时：optional 表示不出示证书的客户端以其他方式登录；TCP 行协议始终要求证书"},
    {.name = "certificates",
     .type = FIELD_LIST,
     .offset = TLS_AT(more),
     .sub = certificate_fields,
     .sub_bytes = sizeof(struct node_certificate),
     .help_en = "further ones: a client that asks for a host name that is in one of them and not "
                "in tls.cert (SNI) is shown that one",
     .help_zh = "其他证书：客户端请求的主机名（SNI）在其中而不在 tls.cert 中时，出示该证书"},
    {0},
};

const struct field node_config_fields[] = {
    {.name = "node",
     .type = FIELD_OBJECT,
     .offset = AT(node),
     .sub = node_fields,
     .help_en = "who the node is",
     .help_zh = "节点身份"},
    {.name = "data",
     .type = FIELD_STRING,
     .offset = AT(data),
     .help_en = "data folder",
     .help_zh = "数据目录"},
    {.name = "memory",
     .type = FIELD_STRING,
     .offset = AT(memory),
     .default_text = "64MiB",
     .help_en = "memory budget, such as 64MiB",
     .help_zh = "内存预算，例如 64MiB"},
    {.name = "rollupRows",
     .type = FIELD_STRING,
     .offset = AT(rollup_rows),
     .default_text = "500",
     .help_en =
         "a rollup whose windows hold fewer rows on average is not read while rows are there",
     .help_zh = "汇总窗口平均行数低于此值时，只要原始行仍在就读原始行"},
    {.name = "drivers",
     .type = FIELD_STRING,
     .offset = AT(drivers),
     .help_en = "folder of further drivers, millrace-driver-NAME.so",
     .help_zh = "附加驱动所在目录（millrace-driver-NAME.so）"},
    {.name = "listen",
     .type = FIELD_OBJECT,
     .offset = AT(listen),
     .sub = listen_fields,
     .help_en = "where the node listens",
     .help_zh = "监听地址"},
    {.name = "tls",
     .type = FIELD_OBJECT,
     .offset = AT(tls),
     .sub = tls_fields,
     .help_en = "certificate of https",
     .help_zh = "https 的证书"},
    {.name = "mqtt",
     .type = FIELD_OBJECT,
     .offset = AT(mqtt),
     .sub = config_mqtt_fields,
     .help_en = "the MQTT broker",
     .help_zh = "MQTT 代理"},
    {.name = "access",
     .type = FIELD_OBJECT,
     .offset = AT(access),
     .sub = config_access_fields,
     .help_en = "who may log in, beside users and tokens",
     .help_zh = "用户与令牌之外的登录方式"},
    {0},
};

enum err node_read_file(struct os *os, const char *path, struct arena *arena, struct str *text,
                        struct why *why)
{
    struct os_file *file;
    uint64_t size = 0;
    enum err err = os->ops->file_open(os, path, 0, &file, why);
    if (err) return err;
    err = os->ops->file_size(file, &size, why);
    if (!err && size > DOC_FILE_BYTES_MAX)
        err = why_set(why, ERR_LIMIT, "%s is larger than %d MiB", path, DOC_FILE_BYTES_MAX >> 20);
    char *bytes = err ? NULL : arena_alloc(arena, (size_t)size + 1);
    if (!err && !bytes) err = ERR_NO_MEMORY;
    size_t got = 0;
    if (!err) err = os->ops->file_read(file, 0, bytes, (size_t)size, &got, why);
    os->ops->file_close(file);
    *text = (struct str){bytes, got};
    return err;
}

/* "a.b=c" into the tree. */
static enum err apply_setting(struct arena *arena, struct doc *top, const char *setting,
                              struct why *why)
{
    const char *equals = strchr(setting, '=');
    if (!equals || equals == setting)
        return why_set(why, ERR_INVALID,
                       "--set %s: must be KEY=VALUE, such as listen.http=127.0.0.1:8420", setting);
    struct str rest = {setting, (size_t)(equals - setting)}, piece;
    struct doc *at = top;
    while (str_split(&rest, '.', &piece)) {
        char key[128];
        if (!str_copy(key, sizeof key, piece))
            return why_set(why, ERR_INVALID, "--set %s: the key is too long", setting);
        if (!rest.at) {
            struct doc *value = doc_new_string(arena, str_of(equals + 1));
            int64_t number;
            if (value && num_parse_i64(value->text, &number)) value->kind = DOC_NUMBER;
            if (value && (str_is(value->text, "true") || str_is(value->text, "false"))) {
                value->kind = DOC_BOOL;
                value->b = value->text.size == 4;
            }
            return value && doc_set(arena, at, key, value) ? ERR_OK : ERR_NO_MEMORY;
        }
        struct doc *next = doc_get(at, key);
        if (!next || next->kind != DOC_MAP) {
            next = doc_new(arena, DOC_MAP);
            if (!next || !doc_set(arena, at, key, next)) return ERR_NO_MEMORY;
        }
        at = next;
    }
    return ERR_OK;
}

static enum err check_listeners(struct node_config *c, const char *file, struct why *why)
{
    const struct {
        const char *key;
        struct str *value;
        bool tls;
    } list[] = {
        {"http", &c->listen.http, false},        {"https", &c->listen.https, true},
        {"mqtt", &c->listen.mqtt, false},        {"mqtts", &c->listen.mqtts, true},
        {"coap", &c->listen.coap, false},        {"coaps", &c->listen.coaps, true},
        {"postgres", &c->listen.postgres, true}, /* it insists on TLS itself */
        {"line", &c->listen.line, true},         /* looked at below */
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        if (str_is(*list[i].value, "off")) {
            *list[i].value = STR("");
            continue;
        }
        struct os_address address;
        enum err err = os_address_tcp(*list[i].value, &address, why);
        if (err) return why_wrap(why, err, "%s: listen.%s", file, list[i].key);
        if (list[i].key[0] == 'c' && !address.port)
            return why_set(why, ERR_INVALID, "%s: listen.%s: name a port, such as %s", file,
                           list[i].key, list[i].tls ? "5684" : "5683");
        if (!list[i].tls && !os_address_is_loopback(&address) && !c->listen.insecure)
            return why_set(
                why, ERR_INVALID,
                "%s: listen.%s: %.*s can be reached from other hosts without TLS; use listen.https, or add "
                "listen.insecure: true if that is meant",
                file, list[i].key, (int)list[i].value->size, list[i].value->at);
    }
    struct os_address plain;
    if (c->mqtt.anonymous && c->listen.mqtt.size && !os_address_tcp(c->listen.mqtt, &plain, NULL) &&
        !os_address_is_loopback(&plain))
        return why_set(why, ERR_INVALID,
                       "%s: mqtt.anonymous: listen.mqtt (%.*s) can be reached from other hosts; "
                       "clients without a user are let in on loopback only",
                       file, (int)c->listen.mqtt.size, c->listen.mqtt.at);
    if (c->listen.mqtt_unix.size && c->listen.mqtt_unix.at[0] != '/')
        return why_set(why, ERR_INVALID, "%s: listen.mqttUnix: '%.*s' must be a path, /… or off",
                       file, (int)c->listen.mqtt_unix.size, c->listen.mqtt_unix.at);
    struct os_address line;
    if (c->listen.line.size && !c->tls.ca.size && !os_address_tcp(c->listen.line, &line, NULL) &&
        !os_address_is_loopback(&line))
        return why_set(
            why, ERR_INVALID,
            "%s: listen.line: %.*s can be reached from other hosts; there it takes only clients with "
            "a certificate: set tls.ca",
            file, (int)c->listen.line.size, c->listen.line.at);
    return ERR_OK;
}

/* One broker or the other: clients of the own one would not be seen by those of the external. */
static enum err check_external(const struct node_config *c, const char *file, struct why *why)
{
    const struct {
        const char *key;
        struct str value;
    } ways[] = {{"mqtt", c->listen.mqtt},
                {"mqtts", c->listen.mqtts},
                {"mqttUnix", c->listen.mqtt_unix},
                {"coap", c->listen.coap},
                {"coaps", c->listen.coaps}};
    for (size_t i = 0; c->mqtt.external.endpoint.size && i < sizeof ways / sizeof ways[0]; i++)
        if (ways[i].value.size)
            return why_set(why, ERR_INVALID,
                           "%s: listen.%s and mqtt.external exclude each other: the node uses the "
                           "external broker instead of its own; set listen.%s to off, or take "
                           "mqtt.external away and make a Bridge",
                           file, ways[i].key, ways[i].key);
    return ERR_OK;
}

static enum err finish(struct os *os, struct node_config *c, const struct raw_config *raw,
                       const char *file, struct why *why)
{
    c->node.name = raw->node.name;
    c->node.path = raw->node.path;
    c->data = raw->data;
    if (raw->drivers.size) {
        c->drivers = arena_strdup(&c->arena, raw->drivers.at, raw->drivers.size);
        if (!c->drivers) return ERR_NO_MEMORY;
    }
    c->listen.http = raw->listen.http;
    c->listen.https = raw->listen.https;
    c->listen.mqtt = raw->listen.mqtt;
    c->listen.mqtts = raw->listen.mqtts;
    c->listen.mqtt_unix = str_is(raw->listen.mqtt_unix, "off") ? STR("") : raw->listen.mqtt_unix;
    c->listen.coap = raw->listen.coap;
    c->listen.coaps = raw->listen.coaps;
    c->listen.postgres = raw->listen.postgres;
    c->listen.line = raw->listen.line;
    c->listen.insecure = raw->listen.insecure;
    c->tls.cert = raw->tls.cert;
    c->tls.key = raw->tls.key;
    c->tls.ca = raw->tls.ca;
    c->tls.is_client_optional = raw->tls.clients == CLIENTS_OPTIONAL;
    c->tls.more = raw->tls.more;
    if (c->tls.is_client_optional && !c->tls.ca.size)
        return why_set(why, ERR_INVALID,
                       "%s: tls.clientCertificates: is about certificates of tls.ca, which is not "
                       "set",
                       file);
    if (!num_parse_size(raw->memory, &c->memory_bytes) || c->memory_bytes < (16 << 20))
        return why_set(why, ERR_INVALID,
                       "%s: memory: '%.*s' must be a size of at least 16MiB, such as 64MiB", file,
                       (int)raw->memory.size, raw->memory.at);
    uint64_t rows;
    if (!num_parse_u64(raw->rollup_rows, &rows) || rows < 1 || rows > UINT32_MAX)
        return why_set(why, ERR_INVALID,
                       "%s: rollupRows: '%.*s' must be a number of rows, 1 or more", file,
                       (int)raw->rollup_rows.size, raw->rollup_rows.at);
    c->rollup_rows = (uint32_t)rows;
    enum err err = config_mqtt_finish(&raw->mqtt, c->memory_bytes, file, &c->mqtt, why);
    if (!err) err = config_mqtt_external(os, &raw->mqtt, file, &c->arena, &c->mqtt.external, why);
    if (!err) err = config_access_finish(&raw->access, file, &c->access, why);
    if (!err) err = check_listeners(c, file, why);
    return err ? err : check_external(c, file, why);
}

/* A single listener set on the command line changes that one and keeps the others' defaults. */
static enum err add_listen_defaults(struct arena *arena, struct doc *top, bool file_lists_them)
{
    static const char *const defaults[][2] = {{"http", "127.0.0.1:8420"},
                                              {"https", "127.0.0.1:8443"},
                                              {"mqtt", "127.0.0.1:1883"},
                                              {"postgres", "127.0.0.1:5433"}};
    if (file_lists_them) return ERR_OK;
    struct doc *listen = doc_get(top, "listen");
    if (!listen) {
        listen = doc_new(arena, DOC_MAP);
        if (!listen || !doc_set(arena, top, "listen", listen)) return ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        bool is_mqtt = strcmp(defaults[i][0], "mqtt") == 0;
        if (doc_get(listen, defaults[i][0]) || (is_mqtt && doc_find(top, "mqtt.external.endpoint")))
            continue;
        if (!doc_set(arena, listen, defaults[i][0], doc_new_string(arena, str_of(defaults[i][1]))))
            return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static enum err read_tree(struct os *os, const char *file, struct arena *arena, struct doc **top,
                          struct why *why)
{
    struct str text = {0};
    struct doc **docs = NULL;
    size_t count = 0;
    enum err err = file ? node_read_file(os, file, arena, &text, why) : ERR_OK;
    if (!err && file) err = doc_read_yaml(text, file, arena, &docs, &count, why);
    if (err) return err;
    if (count > 1) return why_set(why, ERR_INVALID, "%s: more than one document", file);
    if (count && docs[0]->kind != DOC_MAP)
        return why_set(why, ERR_INVALID, "%s:%u: must be a map of keys", file, docs[0]->line);
    *top = count ? docs[0] : doc_new(arena, DOC_MAP);
    return *top ? ERR_OK : ERR_NO_MEMORY;
}

enum err node_config_read(struct os *os, const char *file, const char *const *settings,
                          size_t setting_count, struct node_config *config, struct why *why)
{
    *config = (struct node_config){0};
    arena_init(&config->arena, NULL);
    const char *name = file ? file : "settings";
    struct doc *top = NULL;
    enum err err = read_tree(os, file, &config->arena, &top, why);
    bool file_lists_them = !err && doc_get(top, "listen") != NULL;
    for (size_t i = 0; i < setting_count && !err; i++)
        err = apply_setting(&config->arena, top, settings[i], why);
    if (!err) err = add_listen_defaults(&config->arena, top, file_lists_them);
    struct raw_config raw = {0};
    struct problems problems;
    problems_init(&problems, &config->arena);
    if (!err) field_bind(node_config_fields, top, "", &raw, &problems);
    const struct problem *p = problems.first;
    if (!err && p && p->line)
        err = why_set(why, ERR_INVALID, "%s:%u:%u: %s%s%s", name, p->line, p->column, p->path,
                      p->path[0] ? ": " : "", p->text);
    else if (!err && p)
        err =
            why_set(why, ERR_INVALID, "%s: %s%s%s", name, p->path, p->path[0] ? ": " : "", p->text);
    if (!err) err = finish(os, config, &raw, name, why);
    if (err) node_config_free(config);
    return err;
}

void node_config_free(struct node_config *config)
{
    arena_free(&config->arena);
}
