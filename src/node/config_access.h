/* config_access.h - the part `access:` of node.yaml. May change while the node runs. */
#ifndef NODE_CONFIG_ACCESS_H
#define NODE_CONFIG_ACCESS_H

#include "listeners/jwt.h"
#include "resource/field.h"

struct access_settings {
    struct str jwks; /* the file, or https://…; "" = no tokens of another issuer */
    struct str jwks_ca;
    int64_t jwks_refresh_ns;
    struct jwt_rules jwt;
};

/* Whether the keys are fetched. */
bool access_jwks_is_url(struct str jwks);

/* What field_bind writes by the table; config_access_finish makes settings of it. */
struct raw_access {
    struct {
        struct str jwks, jwks_ca, issuer, audience, user_claim, roles_claim;
        int64_t skew_ns, refresh_ns;
    } jwt;
};
extern const struct field config_access_fields[]; /* ended by a NULL name */

/* `file` is for errors: INVALID with the key and the way out. */
enum err config_access_finish(const struct raw_access *raw, const char *file,
                              struct access_settings *settings, struct why *why);

#endif
