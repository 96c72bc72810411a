/* keys.c - keys of others that let somebody in: those of another issuer's tokens (JWKS) and those
 * that the peers of mqtts and coaps share with the node. Both are read at the start and again at
 * SIGHUP.
 *
 * A file that is missing or damaged lets nobody in, and is told: the node runs all the same. */
#include "net/psk.h"
#include "node/manifests.h"
#include "node/node_priv.h"

static const char component[] = "node";

static void follow_jwt(struct node *node, const struct access_settings *settings)
{
    struct why why = WHY_NONE;
    struct jwk_fetch_config from = {.url = settings->jwks,
                                    .ca_file = settings->jwks_ca,
                                    .refresh_ns = settings->jwks_refresh_ns};
    enum err err = jwt_login_follow(node->jwt, &settings->jwt, &from, &why);
    if (err)
        diag(&node->context, DIAG_ERROR, component,
             "access.jwt.jwks: %.*s: %s; tokens of that issuer let nobody in",
             (int)settings->jwks.size, settings->jwks.at, why_text(&why, err));
}

void node_set_jwt(struct node *node, const struct access_settings *settings)
{
    if (access_jwks_is_url(settings->jwks)) {
        follow_jwt(node, settings);
        return;
    }
    struct arena arena;
    struct str keys = STR("");
    struct why why = WHY_NONE;
    char path[4096];
    enum err err = ERR_OK;
    arena_init(&arena, NULL);
    if (settings->jwks.size)
        err = str_copy(path, sizeof path, settings->jwks)
                  ? node_read_file(node->context.os, path, &arena, &keys, &why)
                  : ERR_LIMIT;
    enum err set = jwt_login_set(node->jwt, &settings->jwt, keys, err ? NULL : &why);
    if (err || set)
        diag(&node->context, DIAG_ERROR, component,
             "access.jwt.jwks: %.*s: %s; tokens of that issuer let nobody in",
             (int)settings->jwks.size, settings->jwks.size ? settings->jwks.at : "",
             why_text(&why, err ? err : set));
    arena_free(&arena);
}

/* Keys that can be read by others, are damaged or missing are none: that is told, and mqtts serves
 * those who log in otherwise. */
static enum err read_psk(struct node *node, struct str file, struct arena *arena,
                         struct tls_psk **psk, struct why *why)
{
    struct os *os = node->context.os;
    struct os_file *opened = NULL;
    struct str text;
    char path[4096];
    if (!str_copy(path, sizeof path, file)) return why_set(why, ERR_LIMIT, "the path is too long");
    enum err err = os->ops->file_open(os, path, 0, &opened, why);
    bool is_private = !err && os->ops->file_is_private(opened);
    if (!err) os->ops->file_close(opened);
    if (!err && !is_private)
        err = why_set(why, ERR_FORBIDDEN, "others can read it: chmod 600 %s", path);
    if (!err) err = node_read_file(os, path, arena, &text, why);
    return err ? err : tls_psk_read(text, psk, why);
}

/* Of mqtts and coaps. */
void node_set_psk(struct node *node, struct str file)
{
    struct arena arena;
    struct tls_psk *psk = NULL;
    struct why why = WHY_NONE;
    arena_init(&arena, NULL);
    enum err err = file.size ? read_psk(node, file, &arena, &psk, &why) : ERR_OK;
    if (err)
        diag(&node->context, DIAG_ERROR, component,
             "mqtt.psk: %.*s: %s; no key opens mqtts or coaps", (int)file.size, file.at,
             why_text(&why, err));
    bool lacks_some = mqtt_server_set_psk(node->mqtt, psk);
    if (node->coap) coap_gateway_set_psk(node->coap, psk);
    tls_psk_release(psk);
    arena_free(&arena);
    if (lacks_some) node_coap_renew(node, file);
}
