/* config_access.c - see config_access.h. Issuer and audience are demanded: without them every token
 * that the keys have ever signed, for whatever program, would open this node. */
#include "node/config_access.h"
#include "base/timetext.h"

#define JWT_AT(member) (offsetof(struct raw_access, jwt.member) - offsetof(struct raw_access, jwt))
static const struct field jwt_fields[] = {
    {.name = "jwks",
     .type = FIELD_STRING,
     .offset = JWT_AT(jwks),
     .help_en = "the issuer's set of public keys (JWKS): a file, or https://…",
     .help_zh = "签发者公钥集合（JWKS）：文件或 https:// 地址"},
    {.name = "jwksRefresh",
     .type = FIELD_DURATION,
     .offset = JWT_AT(refresh_ns),
     .default_text = "1h",
     .min = 1,
     .max = 604800,
     .help_en = "how often keys at an address are fetched; sooner when a token names another key",
     .help_zh = "从地址获取公钥的间隔；令牌指名未知公钥时提前获取"},
    {.name = "jwksCa",
     .type = FIELD_STRING,
     .offset = JWT_AT(jwks_ca),
     .help_en = "PEM file of those who vouch for the address's server; left out: the system's",
     .help_zh = "该地址服务器的 CA 证书 PEM 文件；未给出则用系统的"},
    {.name = "issuer",
     .type = FIELD_STRING,
     .offset = JWT_AT(issuer),
     .help_en = "what the claim iss must say",
     .help_zh = "声明 iss 的必需值"},
    {.name = "audience",
     .type = FIELD_STRING,
     .offset = JWT_AT(audience),
     .help_en = "what the claim aud must say, or have among others",
     .help_zh = "声明 aud 的必需值（或其中之一）"},
    {.name = "userClaim",
     .type = FIELD_STRING,
     .offset = JWT_AT(user_claim),
     .default_text = "sub",
     .help_en = "the claim with the user's name; a.b = b within a",
     .help_zh = "用户名所在的声明；a.b 表示 a 中的 b"},
    {.name = "rolesClaim",
     .type = FIELD_STRING,
     .offset = JWT_AT(roles_claim),
     .help_en = "the claim with names of Roles, such as realm_access.roles; left out: the roles of "
                "the User of that name",
     .help_zh = "角色名称所在的声明，如 realm_access.roles；未给出则采用同名 User 的角色"},
    {.name = "clockSkew",
     .type = FIELD_DURATION,
     .offset = JWT_AT(skew_ns),
     .default_text = "60s",
     .max = 3600,
     .help_en = "by so much the issuer's clock may differ",
     .help_zh = "允许的时钟偏差"},
    {0},
};

const struct field config_access_fields[] = {
    {.name = "jwt",
     .type = FIELD_OBJECT,
     .offset = offsetof(struct raw_access, jwt),
     .sub = jwt_fields,
     .help_en = "tokens of another issuer as logins (HTTP bearer, MQTT password)",
     .help_zh = "以其他签发者的令牌登录（HTTP Bearer、MQTT 密码）"},
    {0},
};

bool access_jwks_is_url(struct str jwks)
{
    return str_starts(jwks, "https://");
}

enum err config_access_finish(const struct raw_access *raw, const char *file,
                              struct access_settings *settings, struct why *why)
{
    *settings = (struct access_settings){.jwks = raw->jwt.jwks};
    bool has_any = raw->jwt.jwks.size || raw->jwt.issuer.size || raw->jwt.audience.size;
    if (!has_any) return ERR_OK;
    if (!raw->jwt.jwks.size || !raw->jwt.issuer.size || !raw->jwt.audience.size ||
        !raw->jwt.user_claim.size)
        return why_set(
            why, ERR_INVALID,
            "%s: access.jwt: needs jwks (a file or https://…), issuer, audience and userClaim",
            file);
    if (str_starts(raw->jwt.jwks, "http:"))
        return why_set(
            why, ERR_INVALID,
            "%s: access.jwt.jwks: '%.*s' must be https: who can change the keys on their "
            "way lets in whom he likes",
            file, (int)raw->jwt.jwks.size, raw->jwt.jwks.at);
    if (raw->jwt.jwks_ca.size && !access_jwks_is_url(raw->jwt.jwks))
        return why_set(why, ERR_INVALID, "%s: access.jwt.jwksCa: is for jwks at an address", file);
    settings->jwks_ca = raw->jwt.jwks_ca;
    settings->jwks_refresh_ns = raw->jwt.refresh_ns;
    settings->jwt = (struct jwt_rules){.issuer = raw->jwt.issuer,
                                       .audience = raw->jwt.audience,
                                       .user_claim = raw->jwt.user_claim,
                                       .roles_claim = raw->jwt.roles_claim,
                                       .skew_s = raw->jwt.skew_ns / TIME_NS_PER_S};
    return ERR_OK;
}
