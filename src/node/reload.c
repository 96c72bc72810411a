/* reload.c - SIGHUP: what of a changed configuration a running node takes over, each part by
 * itself: what cannot be read is told and stays as it was. */
#include "listeners/bridges.h"
#include "node/certificates.h"
#include "node/manifests.h"
#include "node/node_priv.h"
#include <stdio.h>

static const char component[] = "node";

/* What a running node cannot change about itself: told, with the way out. */
static void compare_configs(struct node *node, const struct node_config *now)
{
    const struct node_config *was = node->options->config;
    char then[24], here[24], few_then[24], few_here[24];
    snprintf(then, sizeof then, "%lld", (long long)was->memory_bytes);
    snprintf(here, sizeof here, "%lld", (long long)now->memory_bytes);
    snprintf(few_then, sizeof few_then, "%u", was->rollup_rows);
    snprintf(few_here, sizeof few_here, "%u", now->rollup_rows);
    const struct {
        const char *key;
        struct str was, now;
    } keys[] = {
        {"node.name", was->node.name, now->node.name},
        {"node.path", was->node.path, now->node.path},
        {"data", was->data, now->data.size ? now->data : was->data},
        {"memory", str_of(then), str_of(here)},
        {"rollupRows", str_of(few_then), str_of(few_here)},
        {"drivers", str_of(was->drivers ? was->drivers : ""),
         str_of(now->drivers ? now->drivers : "")},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!str_equal(keys[i].was, keys[i].now))
            diag(&node->context, DIAG_WARNING, component,
                 "reload: %s changed from '%.*s' to '%.*s': that needs a restart", keys[i].key,
                 (int)keys[i].was.size, keys[i].was.size ? keys[i].was.at : "",
                 (int)keys[i].now.size, keys[i].now.size ? keys[i].now.at : "");
}

static enum err renew_certificates(struct node *node, const struct node_config *config,
                                   struct why *why)
{
    struct arena arena = {0}; /* as arena_init leaves one */
    struct tls_config *fresh = NULL;
    if (!node->tls && !node_wants_certificates(config)) return ERR_OK;
    enum err err = certificates_read(&node->context, node->folder, config, &arena, &fresh, why);
    arena_free(&arena);
    bool is_stricter = !err && node->tls && tls_config_is_stricter(node->tls, fresh);
    if (!err && node->tls)
        tls_config_renew(node->tls, fresh);
    else if (!err)
        node->tls = fresh;
    if (is_stricter) mqtt_server_recheck_certificates(node->mqtt);
    if (is_stricter) line_server_recheck_certificates(node->line);
    return err;
}

static void tell_move(struct node *node, const struct node_listener *l,
                      const struct os_address *was, enum err err, struct why *why)
{
    const struct os_address *now = node_listener_address(node, l);
    if (err)
        diag(&node->context, DIAG_ERROR, component, "reload: %s %s: %s", l->key,
             was->kind && !now->kind ? "listens nowhere now" : "stays as it was",
             why_text(why, err));
    else if (was->kind && !now->kind)
        diag(&node->context, DIAG_INFO, component, "reload: %s is off now", l->key);
    else if (!os_address_equal(was, now))
        node_announce_listener(node, l);
}

/* Each by itself: where one cannot listen, it listens where it did. Two turns, because one may want
 * the port that another one leaves. */
static void move_listeners(struct node *node, const struct node_config *config)
{
    enum { LISTENERS_MAX = 16 };
    struct os_address was[LISTENERS_MAX];
    size_t count = 0;
    for (; node_listeners[count].key; count++) {
        struct why why = WHY_NONE;
        MUST(count < LISTENERS_MAX);
        was[count] = *node_listener_address(node, &node_listeners[count]);
        (void)node_listeners[count].listen(node, config, &why);
    }
    for (size_t i = 0; i < count; i++) {
        struct why why = WHY_NONE;
        enum err err = node_listeners[i].listen(node, config, &why);
        tell_move(node, &node_listeners[i], &was[i], err, &why);
    }
    node_note_addresses(node);
}

static void move_coap(struct node *node, const struct node_config *config)
{
    const struct os_address plain = node->coap_address, secure = node->coaps_address;
    struct why why = WHY_NONE;
    enum err err = node_coap_listen(node, config, &why);
    if (err)
        diag(&node->context, DIAG_ERROR, component, "reload: listen.coap and coaps stay: %s",
             why_text(&why, err));
    else if (!os_address_equal(&plain, &node->coap_address) ||
             !os_address_equal(&secure, &node->coaps_address))
        node_announce_coap(node);
}

/* Sessions go on, and so do connections of whoever may still come in as he did: what they were
 * promised stays with them. */
static enum err renew_mqtt(struct node *node, const struct node_config *config, struct why *why)
{
    bool anonymous = config->mqtt.anonymous;
    if (anonymous && node->mqtt_address.kind && !os_address_is_loopback(&node->mqtt_address))
        return why_set(why, ERR_INVALID,
                       "mqtt.anonymous: the node listens for MQTT where other hosts can reach it");
    mqtt_server_set_logins(node->mqtt, anonymous, config->mqtt.proxy);
    node_set_psk(node, config->mqtt.psk);
    enum err err = bridges_set_external(node->service.bridges, &config->mqtt.external);
    if (err) return why_set(why, err, "no memory to change mqtt.external");
    return broker_configure(node->broker, &config->mqtt.broker, why);
}

void node_reload(struct node *node, const struct node_config *config)
{
    const struct node_options *o = node->options;
    struct why why = WHY_NONE;
    compare_configs(node, config);
    enum err err = renew_certificates(node, config, &why);
    if (err)
        diag(&node->context, DIAG_ERROR, component, "reload: the certificate stays as it was: %s",
             why_text(&why, err));
    move_listeners(node, config);
    move_coap(node, config);
    why = WHY_NONE;
    err = renew_mqtt(node, config, &why);
    if (err)
        diag(&node->context, DIAG_ERROR, component, "reload: mqtt stays as it was: %s",
             why_text(&why, err));
    node_set_jwt(node, &config->access);
    why = WHY_NONE;
    err = manifests_reload(&node->service, o->manifests, o->manifest_count, o->prune, &why);
    if (err)
        diag(&node->context, DIAG_ERROR, component, "reload: the documents stay as they were: %s",
             why_text(&why, err));
    else
        diag(&node->context, DIAG_INFO, component, "reload: done");
}
