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

/* An empty `text`: nowhere. */
static enum err listen_at(struct node *node, enum broker_door door, struct str text,
                          struct os_address *bound, struct why *why)
{
    struct os_address address = {.kind = OS_ADDRESS_UNIX};
    enum err err = ERR_OK;
    if (text.size && door != BROKER_LOCAL)
        err = os_address_tcp(text, &address, why);
    else if (!str_copy(address.host, sizeof address.host, text))
        err = why_set(why, ERR_INVALID, "listen.mqttUnix: the path is too long");
    return err ? err
               : mqtt_server_listen(node->mqtt, door, text.size ? &address : NULL, node->tls, bound,
                                    why);
}

enum err node_mqtt_listen(struct node *node, const struct node_config *config,
                          enum broker_door door, struct why *why)
{
    switch (door) {
    case BROKER_PLAIN: return listen_at(node, door, config->listen.mqtt, &node->mqtt_address, why);
    case BROKER_TLS: return listen_at(node, door, config->listen.mqtts, &node->mqtts_address, why);
    default: return listen_at(node, door, config->listen.mqtt_unix, &node->mqtt_unix_address, why);
    }
}

enum err node_mqtt_start(struct node *node, struct why *why)
{
    const struct node_config *config = node->options->config;
    enum err err = mqtt_server_start(&node->service, node->broker, &node->mqtt, why);
    if (err) return err;
    mqtt_server_set_logins(node->mqtt, config->mqtt.anonymous, config->mqtt.proxy);
    for (enum broker_door door = BROKER_PLAIN; !err && door <= BROKER_LOCAL; door++)
        err = node_mqtt_listen(node, config, door, why);
    if (err)
        mqtt_server_stop(node->mqtt);
    else
        node_set_psk(node, config->mqtt.psk);
    return err;
}

void node_mqtt_stop(struct node *node)
{
    mqtt_server_stop(node->mqtt);
}

/* At node->coap_address and node->coaps_address. */
static enum err open_coap(struct node *node, struct str psk, struct why *why)
{
    struct coap_gateway_config c = {.plain = node->coap_address.kind ? &node->coap_address : NULL,
                                    .secure =
                                        node->coaps_address.kind ? &node->coaps_address : NULL};
    if (!c.plain && !c.secure) return ERR_OK;
    enum err err = coap_gateway_start(&node->context, node->broker, &c, &node->coap, why);
    if (!err) node_set_psk(node, psk);
    return err;
}

enum err node_coap_listen(struct node *node, const struct node_config *config, struct why *why)
{
    struct os_address plain = {0}, secure = {0};
    const struct os_address old_plain = node->coap_address, old_secure = node->coaps_address;
    struct str texts[] = {config->listen.coap, config->listen.coaps};
    enum err err = texts[0].size ? os_address_tcp(texts[0], &plain, why) : ERR_OK;
    if (!err && texts[1].size) err = os_address_tcp(texts[1], &secure, why);
    if (err || (os_address_equal(&plain, &old_plain) && os_address_equal(&secure, &old_secure)))
        return err;
    node_coap_stop(node);
    node->coap_address = plain;
    node->coaps_address = secure;
    err = open_coap(node, config->mqtt.psk, why);
    if (!err) return ERR_OK;
    struct why lost = WHY_NONE;
    node->coap_address = old_plain;
    node->coaps_address = old_secure;
    enum err again = open_coap(node, config->mqtt.psk, &lost);
    if (!again) return err;
    node->coap_address = node->coaps_address = (struct os_address){0};
    return why_wrap(why, err, "and it cannot go back (%s), so that it listens nowhere",
                    why_text(&lost, again));
}

enum err node_coap_start(struct node *node, struct why *why)
{
    return node_coap_listen(node, node->options->config, why);
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

static void say_address(struct node *node, const char *scheme, const struct os_address *address)
{
    char text[OS_HOST_BYTES + 8];
    os_address_print(address, text, sizeof text);
    if (address->kind)
        diag(&node->context, DIAG_INFO, component, "listening on %s://%s", scheme, text);
}

void node_announce_mqtt(struct node *node, enum broker_door door)
{
    const struct {
        const char *scheme;
        const struct os_address *address;
    } doors[] = {[BROKER_PLAIN] = {"mqtt", &node->mqtt_address},
                 [BROKER_TLS] = {"mqtts", &node->mqtts_address},
                 [BROKER_LOCAL] = {"mqtt+unix", &node->mqtt_unix_address}};
    say_address(node, doors[door].scheme, doors[door].address);
}

void node_announce_coap(struct node *node)
{
    say_address(node, "coap", &node->coap_address);
    say_address(node, "coaps", &node->coaps_address);
}

void node_announce(struct node *node)
{
    struct service *s = &node->service;
    write_server_file(node);
    if (node->http) note_address(s->http_url, sizeof s->http_url, "http", &node->http_address);
    if (node->https) note_address(s->https_url, sizeof s->https_url, "https", &node->https_address);
    say_address(node, "http", &node->http_address);
    say_address(node, "https", &node->https_address);
    say_address(node, "postgresql", &node->postgres_address);
    say_address(node, "line+tcp", &node->line_address);
    for (enum broker_door door = BROKER_PLAIN; door <= BROKER_LOCAL; door++)
        node_announce_mqtt(node, door);
    node_announce_coap(node);
    if (node->new_password[0])
        diag(&node->context, DIAG_INFO, component,
             "first start: user admin, password %s (shown once)", node->new_password);
    memset(node->new_password, 0, sizeof node->new_password);
}
