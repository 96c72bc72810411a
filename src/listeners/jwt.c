/* jwt.c - what a token says, and whether it may be believed (jwt.h). The order is: form, algorithm,
 * signature; only then is a claim looked at. */
#include "listeners/jwt.h"
#include "base/num.h"
#include "resource/doc.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A time that a double holds exactly, far beyond any use. */
#define SECONDS_MAX 1e12

struct parts {
    struct str header, body, signature, signed_text; /* the last: header and body */
};

static bool split(struct str token, struct parts *p)
{
    struct str rest = token;
    if (!token.size || token.size >= JWT_BYTES_MAX) return false;
    if (!str_split(&rest, '.', &p->header) || !str_split(&rest, '.', &p->body) || !rest.at)
        return false;
    p->signature = rest;
    p->signed_text = (struct str){token.at, p->header.size + 1 + p->body.size};
    return p->header.size && p->body.size && p->signature.size &&
           !memchr(p->signature.at, '.', p->signature.size);
}

bool jwt_is_one(struct str text)
{
    struct parts ignored;
    return str_starts(text, "eyJ") && split(text, &ignored); /* {" in base64 */
}

__attribute__((format(printf, 2, 3))) static enum err refuse(struct why *why, const char *format,
                                                             ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return why_set(why, ERR_UNAUTHENTICATED, "%s", text);
}

/* One part as JSON; NULL: it is none, or no object. */
static struct doc *read_part(struct str part, struct arena *arena)
{
    struct doc *doc = NULL;
    size_t size;
    char *bytes = arena_alloc(arena, part.size + 1);
    if (!bytes || !jwt_decode(part, bytes, part.size, &size)) return NULL;
    if (!str_is_utf8((struct str){bytes, size}) ||
        doc_read_json((struct str){bytes, size}, arena, &doc, NULL))
        return NULL;
    return doc->kind == DOC_MAP ? doc : NULL;
}

static enum err check_signature(const struct jwk_set *set, const struct parts *p,
                                struct arena *arena, uint64_t *key, struct why *why)
{
    uint8_t signature[1024];
    size_t size;
    const struct doc *header = read_part(p->header, arena);
    if (!header) return refuse(why, "its header is no JSON object");
    struct str name = jwt_text(doc_get(header, "alg"));
    int algorithm = jwt_algorithm_of(name);
    if (algorithm < 0)
        return refuse(why, "its algorithm '%.*s' is none of RS256, ES256, EdDSA",
                      (int)(name.size > 20 ? 20 : name.size), name.at);
    if (doc_get(header, "crit")) return refuse(why, "it demands extensions (crit)");
    struct str kid = jwt_text(doc_get(header, "kid"));
    if (doc_get(header, "kid") && !kid.size) return refuse(why, "its kid is no name");
    if (!jwt_decode(p->signature, signature, sizeof signature, &size))
        return refuse(why, "its signature is no base64");
    if (!jwk_set_check(set, (enum jwt_algorithm)algorithm, kid, p->signed_text,
                       (struct str){(const char *)signature, size}, key))
        return refuse(why, "no key of the set fits its signature");
    return ERR_OK;
}

bool jwt_wants_other_key(const struct jwk_set *set, struct str token)
{
    struct parts parts;
    struct arena arena;
    if (!split(token, &parts)) return false;
    arena_init(&arena, NULL);
    const struct doc *header = read_part(parts.header, &arena);
    struct str kid = header ? jwt_text(doc_get(header, "kid")) : STR("");
    bool wants = kid.size && !jwk_set_names(set, kid);
    arena_free(&arena);
    return wants;
}

/* ---- claims ---- */

static bool read_time(const struct doc *doc, int64_t *seconds)
{
    double value;
    if (!doc || doc->kind != DOC_NUMBER || !num_parse_double(doc->text, &value) ||
        !(value >= 0 && value < SECONDS_MAX))
        return false;
    *seconds = (int64_t)value;
    return true;
}

static bool names(const struct doc *audience, struct str wanted)
{
    if (!audience) return false;
    if (audience->kind == DOC_STRING) return str_equal(jwt_text(audience), wanted);
    for (size_t i = 0; audience->kind == DOC_LIST && i < audience->count; i++)
        if (str_equal(jwt_text(audience->items[i].value), wanted)) return true;
    return false;
}

static enum err check_claims(const struct doc *body, const struct jwt_rules *rules, int64_t now_s,
                             struct jwt_claims *claims, struct why *why)
{
    int64_t expires_s, from_s = 0;
    const struct doc *from = doc_get(body, "nbf"), *issuer = doc_get(body, "iss");
    if (!issuer || !str_equal(jwt_text(issuer), rules->issuer))
        return refuse(why, "it is of another issuer");
    if (!names(doc_get(body, "aud"), rules->audience))
        return refuse(why, "it is for another audience");
    if (!read_time(doc_get(body, "exp"), &expires_s)) return refuse(why, "it has no expiry (exp)");
    if (expires_s + rules->skew_s <= now_s) return refuse(why, "it has run out");
    if (from && (!read_time(from, &from_s) || from_s > now_s + rules->skew_s))
        return refuse(why, "it does not hold yet (nbf)");
    claims->expires_s = expires_s + rules->skew_s;
    return ERR_OK;
}

/* By its whole name, or "a.b" within an object. */
static const struct doc *find(const struct doc *body, struct str name)
{
    char path[128];
    if (!str_copy(path, sizeof path, name) || !path[0]) return NULL;
    const struct doc *found = doc_get(body, path);
    return found ? found : doc_find(body, path);
}

/* Who cannot be written into a log or a rule as he is, is nobody. */
static bool is_user_name(struct str name)
{
    for (size_t i = 0; i < name.size; i++)
        if ((unsigned char)name.at[i] <= ' ' || name.at[i] == 127) return false;
    return name.size > 0;
}

static void add_role(struct jwt_claims *claims, struct str role)
{
    size_t size = strlen(claims->roles);
    if (!role.size || memchr(role.at, ',', role.size) || memchr(role.at, 0, role.size)) return;
    if (size + role.size + 2 > sizeof claims->roles) return; /* rather none than a part */
    if (size) claims->roles[size++] = ',';
    memcpy(claims->roles + size, role.at, role.size);
    claims->roles[size + role.size] = 0;
}

static void take_roles(const struct doc *roles, struct jwt_claims *claims)
{
    struct str rest = jwt_text(roles), piece;
    for (size_t i = 0; roles && roles->kind == DOC_LIST && i < roles->count; i++)
        add_role(claims, jwt_text(roles->items[i].value));
    while (rest.size && str_split(&rest, ' ', &piece)) add_role(claims, piece);
}

enum err jwt_verify(const struct jwk_set *set, const struct jwt_rules *rules, struct str token,
                    int64_t now_s, struct jwt_claims *claims, struct why *why)
{
    struct parts parts;
    struct arena arena;
    MUST(set && rules->issuer.size && rules->audience.size && rules->user_claim.size);
    *claims = (struct jwt_claims){0};
    if (!split(token, &parts)) return refuse(why, "it is no token of three parts");
    arena_init(&arena, NULL);
    enum err err = check_signature(set, &parts, &arena, &claims->key, why);
    const struct doc *body = err ? NULL : read_part(parts.body, &arena);
    if (!err && !body) err = refuse(why, "it has no claims");
    if (!err) err = check_claims(body, rules, now_s, claims, why);
    struct str user = err ? STR("") : jwt_text(find(body, rules->user_claim));
    if (!err && (!is_user_name(user) || !str_copy(claims->user, sizeof claims->user, user)))
        err = refuse(why, "its claim %.*s is no user's name", (int)rules->user_claim.size,
                     rules->user_claim.at);
    if (!err && rules->roles_claim.size) take_roles(find(body, rules->roles_claim), claims);
    if (err) *claims = (struct jwt_claims){0};
    arena_free(&arena);
    return err;
}
