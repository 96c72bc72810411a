/* listen.c - the node's listeners: each is started where the configuration says, all are then told
 * on stderr and in server.txt. The certificates are started before those that show them. One
 * function of each both starts and moves it, so that a reload and a start cannot differ. */
#include "listeners/api.h"
#include "node/certificates.h"
#include "node/node_priv.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char component[] = "node";

/* ---- certificates ---- */

bool node_wants_certificates(const struct node_config *config)
{
    bool line_asks = config->listen.line.size && config->tls.ca.size;
    return config->listen.https.size || config->listen.postgres.size || config->listen.mqtts.size ||
           line_asks;
}

enum err node_certificates_start(struct node *node, struct why *why)
{
    const struct node_config *config = node->options->config;
    struct arena arena;
    if (!node_wants_certificates(config)) return ERR_OK;
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

/* ---- each listener: started, moved, or stopped where `config` names no place ---- */

static enum err no_certificate(struct why *why)
{
    return why_set(why, ERR_INVALID, "there is no certificate to show");
}

static enum err listen_http_at(struct node *node, struct str where, struct tls_config *tls,
                               struct http_server **server, struct os_address *bound,
                               struct why *why)
{
    struct http_server_config config = {api_routes, api_guard, &node->service};
    struct os_address address;
    if (!where.size) {
        http_server_stop(*server);
        *server = NULL;
        *bound = (struct os_address){0};
        return ERR_OK;
    }
    enum err err = os_address_tcp(where, &address, why);
    if (err) return err;
    return *server ? http_server_listen(*server, &address, bound, why)
                   : http_server_start(&node->context, &node->main, &address, tls, &config, server,
                                       bound, why);
}

static enum err listen_http(struct node *node, const struct node_config *config, struct why *why)
{
    return listen_http_at(node, config->listen.http, NULL, &node->http, &node->http_address, why);
}

static enum err listen_https(struct node *node, const struct node_config *config, struct why *why)
{
    if (config->listen.https.size && !node->tls) return no_certificate(why);
    return listen_http_at(node, config->listen.https, node->tls, &node->https, &node->https_address,
                          why);
}

static enum err listen_postgres(struct node *node, const struct node_config *config,
                                struct why *why)
{
    struct str where = config->listen.postgres;
    struct os_address address, *bound = &node->postgres_address;
    if (!where.size) {
        node_postgres_stop(node);
        return ERR_OK;
    }
    enum err err = os_address_tcp(where, &address, why);
    if (err) return err;
    bool tls_only = !os_address_is_loopback(&address) && !config->listen.insecure;
    if (tls_only && !node->tls) return no_certificate(why);
    return node->postgres
               ? pg_server_listen(node->postgres, &address, node->tls, tls_only, bound, why)
               : pg_server_start(&node->service, &address, node->tls, tls_only, &node->postgres,
                                 bound, why);
}

static enum err listen_line(struct node *node, const struct node_config *config, struct why *why)
{
    struct str where = config->listen.line;
    struct os_address address, *bound = &node->line_address;
    if (!where.size) {
        node_line_stop(node);
        return ERR_OK;
    }
    enum err err = os_address_tcp(where, &address, why);
    if (err) return err;
    struct tls_config *tls = os_address_is_loopback(&address) ? NULL : node->tls;
    if (!tls && !os_address_is_loopback(&address)) return no_certificate(why);
    return node->line ? line_server_listen(node->line, &address, tls, bound, why)
                      : line_server_start(&node->service, &address, tls, &node->line, bound, why);
}

static enum err listen_mqtt(struct node *node, const struct node_config *config, struct why *why)
{
    struct os_address address, *bound = &node->mqtt_address;
    bool is_on = config->listen.mqtt.size > 0;
    enum err err = is_on ? os_address_tcp(config->listen.mqtt, &address, why) : ERR_OK;
    return err ? err
               : mqtt_server_listen(node->mqtt, BROKER_PLAIN, is_on ? &address : NULL, node->tls,
                                    bound, why);
}

static enum err listen_mqtts(struct node *node, const struct node_config *config, struct why *why)
{
    struct os_address address, *bound = &node->mqtts_address;
    bool is_on = config->listen.mqtts.size > 0;
    if (is_on && !node->tls) return no_certificate(why);
    enum err err = is_on ? os_address_tcp(config->listen.mqtts, &address, why) : ERR_OK;
    return err ? err
               : mqtt_server_listen(node->mqtt, BROKER_TLS, is_on ? &address : NULL, node->tls,
                                    bound, why);
}

static enum err listen_mqtt_unix(struct node *node, const struct node_config *config,
                                 struct why *why)
{
    struct os_address address = {.kind = OS_ADDRESS_UNIX};
    if (!str_copy(address.host, sizeof address.host, config->listen.mqtt_unix))
        return why_set(why, ERR_INVALID, "the path is too long");
    return mqtt_server_listen(node->mqtt, BROKER_LOCAL, address.host[0] ? &address : NULL, NULL,
                              &node->mqtt_unix_address, why);
}

#define AT(field) offsetof(struct node, field)
const struct node_listener node_listeners[] = {
    {"listen.http", "http", listen_http, AT(http_address)},
    {"listen.https", "https", listen_https, AT(https_address)},
    {"listen.postgres", "postgresql", listen_postgres, AT(postgres_address)},
    {"listen.line", "line+tcp", listen_line, AT(line_address)},
    {"listen.mqtt", "mqtt", listen_mqtt, AT(mqtt_address)},
    {"listen.mqtts", "mqtts", listen_mqtts, AT(mqtts_address)},
    {"listen.mqttUnix", "mqtt+unix", listen_mqtt_unix, AT(mqtt_unix_address)},
    {NULL, NULL, NULL, 0},
};
#undef AT

const struct os_address *node_listener_address(const struct node *node,
                                               const struct node_listener *listener)
{
    return (const struct os_address *)((const char *)node + listener->address_offset);
}

/* ---- the parts that node.c starts ---- */

enum err node_http_start(struct node *node, struct why *why)
{
    return listen_http(node, node->options->config, why);
}

void node_http_stop(struct node *node)
{
    http_server_stop(node->http);
    node->http = NULL;
}

enum err node_https_start(struct node *node, struct why *why)
{
    return listen_https(node, node->options->config, why);
}

void node_https_stop(struct node *node)
{
    http_server_stop(node->https);
    node->https = NULL;
}

enum err node_postgres_start(struct node *node, struct why *why)
{
    return listen_postgres(node, node->options->config, why);
}

void node_postgres_stop(struct node *node)
{
    pg_server_stop(node->postgres);
    node->postgres = NULL;
    node->postgres_address = (struct os_address){0};
}

enum err node_line_start(struct node *node, struct why *why)
{
    return listen_line(node, node->options->config, why);
}

void node_line_stop(struct node *node)
{
    line_server_stop(node->line);
    node->line = NULL;
    node->line_address = (struct os_address){0};
}

enum err node_mqtt_start(struct node *node, struct why *why)
{
    const struct node_config *config = node->options->config;
    enum err err = mqtt_server_start(&node->service, node->broker, &node->mqtt, why);
    if (err) return err;
    mqtt_server_set_logins(node->mqtt, config->mqtt.anonymous, config->mqtt.proxy);
    err = listen_mqtt(node, config, why);
    if (!err) err = listen_mqtts(node, config, why);
    if (!err && (err = listen_mqtt_unix(node, config, why))) why_wrap(why, err, "listen.mqttUnix");
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

/* ---- CoAP ---- */

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

void node_coap_renew(struct node *node, struct str psk)
{
    struct why why = WHY_NONE;
    if (!node->coap || !node->coaps_address.kind) return;
    node_coap_stop(node);
    enum err err = open_coap(node, psk, &why);
    if (!err) return;
    node->coap_address = node->coaps_address = (struct os_address){0};
    diag(&node->context, DIAG_ERROR, component,
         "listen.coap and coaps listen nowhere now (send SIGHUP to try again): %s",
         why_text(&why, err));
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
    bool is_plain = node->http_address.kind != 0;
    os_address_print(is_plain ? &node->http_address : &node->https_address, address,
                     sizeof address);
    snprintf(text, sizeof text, "%s://%s\n", is_plain ? "http" : "https", address);
    if (!is_plain && !node->https_address.kind) text[0] = 0;
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
    if (!address->kind) out[0] = 0;
}

void node_note_addresses(struct node *node)
{
    struct service *s = &node->service;
    write_server_file(node);
    note_address(s->http_url, sizeof s->http_url, "http", &node->http_address);
    note_address(s->https_url, sizeof s->https_url, "https", &node->https_address);
}

static void say_address(struct node *node, const char *scheme, const struct os_address *address)
{
    char text[OS_HOST_BYTES + 8];
    os_address_print(address, text, sizeof text);
    if (address->kind)
        diag(&node->context, DIAG_INFO, component, "listening on %s://%s", scheme, text);
}

void node_announce_listener(struct node *node, const struct node_listener *listener)
{
    say_address(node, listener->scheme, node_listener_address(node, listener));
}

void node_announce_coap(struct node *node)
{
    say_address(node, "coap", &node->coap_address);
    say_address(node, "coaps", &node->coaps_address);
}

void node_announce(struct node *node)
{
    node_note_addresses(node);
    for (const struct node_listener *l = node_listeners; l->key; l++)
        node_announce_listener(node, l);
    node_announce_coap(node);
    if (node->new_password[0])
        diag(&node->context, DIAG_INFO, component,
             "first start: user admin, password %s (shown once)", node->new_password);
    memset(node->new_password, 0, sizeof node->new_password);
}
