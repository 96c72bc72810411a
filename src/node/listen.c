/* listen.c - the node's listeners: each is started where the configuration says, all are then told
 * on stderr and in server.txt. The certificates are started before those that show them. */
#include "listeners/api.h"
#include "node/certificates.h"
#include "node/node_priv.h"
#include <stdio.h>
#include <string.h>

static const char component[] = "node";

/* ---- HTTP and TLS ---- */

static enum err start_http_on(struct node *node, struct str where, struct tls_config *tls,
                              struct http_server **server, struct os_address *bound,
                              struct why *why)
{
    struct http_server_config config = {api_routes, api_guard, &node->service};
    struct os_address address;
    enum err err = os_address_tcp(where, &address, why);
    if (err) return err;
    return http_server_start(&node->context, &node->main, &address, tls, &config, server, bound,
                             why);
}

enum err node_http_start(struct node *node, struct why *why)
{
    struct str where = node->options->config->listen.http;
    return where.size ? start_http_on(node, where, NULL, &node->http, &node->http_address, why)
                      : ERR_OK;
}

void node_http_stop(struct node *node)
{
    if (node->http) http_server_stop(node->http);
}

enum err node_certificates_start(struct node *node, struct why *why)
{
    const struct node_config *config = node->options->config;
    struct arena arena;
    bool line_asks = config->listen.line.size && config->tls.ca.size;
    if (!config->listen.https.size && !config->listen.postgres.size && !config->listen.mqtts.size &&
        !line_asks)
        return ERR_OK;
    arena_init(&arena, NULL);
    enum err err = certificates_read(&node->context, node->folder, config, &arena, &node->tls, why);
    arena_free(&arena);
    return err;
}

void node_certificates_stop(struct node *node)
{
    if (node->tls) tls_config_release(node->tls);
    node->tls = NULL;
}

enum err node_https_start(struct node *node, struct why *why)
{
    struct str where = node->options->config->listen.https;
    return where.size
               ? start_http_on(node, where, node->tls, &node->https, &node->https_address, why)
               : ERR_OK;
}

void node_https_stop(struct node *node)
{
    if (node->https) http_server_stop(node->https);
}

enum err node_postgres_start(struct node *node, struct why *why)
{
    struct str where = node->options->config->listen.postgres;
    struct os_address address;
    enum err err = where.size ? os_address_tcp(where, &address, why) : ERR_OK;
    if (err || !where.size) return err;
    bool tls_only = !os_address_is_loopback(&address) && !node->options->config->listen.insecure;
    return pg_server_start(&node->service, &address, node->tls, tls_only, &node->postgres,
                           &node->postgres_address, why);
}

void node_postgres_stop(struct node *node)
{
    pg_server_stop(node->postgres);
}

enum err node_line_start(struct node *node, struct why *why)
{
    struct str where = node->options->config->listen.line;
    struct os_address address;
    enum err err = where.size ? os_address_tcp(where, &address, why) : ERR_OK;
    if (err || !where.size) return err;
    struct tls_config *tls = os_address_is_loopback(&address) ? NULL : node->tls;
    return line_server_start(&node->service, &address, tls, &node->line, &node->line_address, why);
}

void node_line_stop(struct node *node)
{
    line_server_stop(node->line);
}

/* ---- MQTT and CoAP ---- */

enum err node_mqtt_start(struct node *node, struct why *why)
{
    const struct node_config *config = node->options->config;
    struct os_address plain, encrypted, local = {.kind = OS_ADDRESS_UNIX};
    struct mqtt_server_config c = {
        .tls = node->tls, .anonymous = config->mqtt.anonymous, .proxy = config->mqtt.proxy};
    enum err err = ERR_OK;
    if (config->listen.mqtt.size) {
        err = os_address_tcp(config->listen.mqtt, &plain, why);
        c.plain = &plain;
    }
    if (!err && config->listen.mqtts.size) {
        err = os_address_tcp(config->listen.mqtts, &encrypted, why);
        c.encrypted = &encrypted;
    }
    if (config->listen.mqtt_unix.size) {
        if (!err && !str_copy(local.host, sizeof local.host, config->listen.mqtt_unix))
            err = why_set(why, ERR_INVALID, "listen.mqttUnix: the path is too long");
        c.local = &local;
    }
    if (err) return err;
    err = mqtt_server_start(&node->service, node->broker, &c, &node->mqtt, &node->mqtt_address,
                            &node->mqtts_address, why);
    if (!err) node_set_psk(node, config->mqtt.psk);
    return err;
}

void node_mqtt_stop(struct node *node)
{
    mqtt_server_stop(node->mqtt);
}

enum err node_coap_start(struct node *node, struct why *why)
{
    const struct node_config *config = node->options->config;
    struct os_address plain, secure;
    struct coap_gateway_config c = {0};
    enum err err = ERR_OK;
    if (config->listen.coap.size) {
        err = os_address_tcp(config->listen.coap, &plain, why);
        c.plain = &plain;
    }
    if (!err && config->listen.coaps.size) {
        err = os_address_tcp(config->listen.coaps, &secure, why);
        c.secure = &secure;
    }
    if (err || !(c.plain || c.secure)) return err;
    err = coap_gateway_start(&node->context, node->broker, &c, &node->coap, why);
    if (!err) node_set_psk(node, config->mqtt.psk);
    return err;
}

void node_coap_stop(struct node *node)
{
    coap_gateway_stop(node->coap);
    node->coap = NULL;
}

/* ---- telling where ---- */

/* server.txt: how the command line on this machine finds the node. */
static void write_server_file(struct node *node)
{
    struct os *os = node->context.os;
    char path[4096], text[OS_HOST_BYTES + 32], address[OS_HOST_BYTES + 8];
    struct os_file *file;
    snprintf(path, sizeof path, "%s/server.txt", node->folder);
    os_address_print(node->http ? &node->http_address : &node->https_address, address,
                     sizeof address);
    snprintf(text, sizeof text, "%s://%s\n", node->http ? "http" : "https", address);
    if (!node->http && !node->https) text[0] = 0;
    enum err err = os->ops->file_open(os, path, OS_FILE_WRITE | OS_FILE_CREATE, &file, NULL);
    if (!err) {
        err = os->ops->file_truncate(file, 0, NULL);
        if (!err) err = os->ops->file_write(file, 0, text, strlen(text), NULL);
        os->ops->file_close(file);
    }
    if (err)
        diag(&node->context, DIAG_WARNING, component,
             "%s cannot be written: the command line needs --server", path);
}

static void note_address(char *out, size_t out_bytes, const char *scheme,
                         const struct os_address *address)
{
    char text[OS_HOST_BYTES + 8];
    os_address_print(address, text, sizeof text);
    snprintf(out, out_bytes, "%s://%s", scheme, text);
}

void node_announce(struct node *node)
{
    struct service *s = &node->service;
    write_server_file(node);
    if (node->http) note_address(s->http_url, sizeof s->http_url, "http", &node->http_address);
    if (node->https) note_address(s->https_url, sizeof s->https_url, "https", &node->https_address);
    if (node->http) diag(&node->context, DIAG_INFO, component, "listening on %s", s->http_url);
    if (node->https) diag(&node->context, DIAG_INFO, component, "listening on %s", s->https_url);
    char postgres[OS_HOST_BYTES + 8];
    os_address_print(&node->postgres_address, postgres, sizeof postgres);
    if (node->postgres)
        diag(&node->context, DIAG_INFO, component, "listening on postgresql://%s", postgres);
    char line[OS_HOST_BYTES + 8];
    os_address_print(&node->line_address, line, sizeof line);
    if (node->line) diag(&node->context, DIAG_INFO, component, "listening on line+tcp://%s", line);
    char mqtt[OS_HOST_BYTES + 8];
    os_address_print(&node->mqtt_address, mqtt, sizeof mqtt);
    if (node->mqtt_address.kind)
        diag(&node->context, DIAG_INFO, component, "listening on mqtt://%s", mqtt);
    os_address_print(&node->mqtts_address, mqtt, sizeof mqtt);
    if (node->mqtts_address.kind)
        diag(&node->context, DIAG_INFO, component, "listening on mqtts://%s", mqtt);
    struct str local = node->options->config->listen.mqtt_unix;
    if (local.size)
        diag(&node->context, DIAG_INFO, component, "listening on mqtt+unix://%.*s", (int)local.size,
             local.at);
    struct str coap = node->options->config->listen.coap,
               coaps = node->options->config->listen.coaps;
    if (coap.size)
        diag(&node->context, DIAG_INFO, component, "listening on coap://%.*s", (int)coap.size,
             coap.at);
    if (coaps.size)
        diag(&node->context, DIAG_INFO, component, "listening on coaps://%.*s", (int)coaps.size,
             coaps.at);
    if (node->new_password[0])
        diag(&node->context, DIAG_INFO, component,
             "first start: user admin, password %s (shown once)", node->new_password);
    memset(node->new_password, 0, sizeof node->new_password);
}
