/* server_url.c - see server_url.h. Nothing but scheme, host and port is a place: what else a URL
 * may hold is refused by name, since whoever typed it expects it to mean something.
 *
 * Called by client.c. Owns nothing. */
#include "cli/server_url.h"
#include "base/num.h"
#include <string.h>

#define TEXT_ARGS(text) (int)(text).size, (text).size ? (text).at : ""

static const char form[] = "the server must be http://HOST:PORT or https://HOST:PORT";

static enum err read_scheme(struct str text, struct str *rest, struct server_url *url,
                            struct why *why)
{
    enum { PLAIN = 7, TLS = 8 };
    struct str first = {text.at, text.size < PLAIN ? text.size : PLAIN};
    struct str second = {text.at, text.size < TLS ? text.size : TLS};
    url->is_tls = str_is_nocase(second, "https://");
    if (!url->is_tls && !str_is_nocase(first, "http://")) {
        bool has_scheme = text.size && memmem(text.at, text.size, "://", 3);
        return has_scheme || !text.size
                   ? why_set(why, ERR_INVALID, "%.*s: %s", TEXT_ARGS(text), form)
                   : why_set(why, ERR_INVALID, "%.*s: %s, such as http://%.*s", TEXT_ARGS(text),
                             form, TEXT_ARGS(text));
    }
    size_t skip = url->is_tls ? TLS : PLAIN;
    *rest = (struct str){text.at + skip, text.size - skip};
    return ERR_OK;
}

/* What is not of a place; the slash at the end is. */
static enum err check_rest(struct str text, struct str *place, struct why *why)
{
    if (place->size && place->at[place->size - 1] == '/') place->size--;
    for (size_t i = 0; i < place->size; i++) {
        char c = place->at[i];
        if (c == '@')
            return why_set(why, ERR_INVALID,
                           "user and password do not belong into the server's address: log in with "
                           "--token");
        if (c == '/' || c == '?' || c == '#')
            return why_set(why, ERR_INVALID, "%.*s: leave out '%.*s': %s", TEXT_ARGS(text),
                           (int)(place->size - i), place->at + i, form);
        if ((unsigned char)c <= ' ' || c == '\\' || c == '"' || c == 0x7f)
            return why_set(why, ERR_INVALID, "%.*s: byte %zu is none of a host's: %s",
                           TEXT_ARGS(text), (size_t)(place->at - text.at) + i + 1, form);
    }
    return ERR_OK;
}

/* Cuts the port off; an IPv6 address has colons of its own, hence the brackets. */
static enum err split(struct str text, struct str place, struct str *host, struct str *port,
                      struct why *why)
{
    const char *colon = place.size ? memrchr(place.at, ':', place.size) : NULL;
    const char *first = place.size ? memchr(place.at, ':', place.size) : NULL;
    const char *close = place.size ? memchr(place.at, ']', place.size) : NULL;
    bool has_bracket = place.size && place.at[0] == '[';
    if (has_bracket && !close)
        return why_set(why, ERR_INVALID, "%.*s: the ']' behind the address is missing",
                       TEXT_ARGS(text));
    if (has_bracket) colon = close + 1 < place.at + place.size ? close + 1 : NULL;
    if (has_bracket && colon && *colon != ':')
        return why_set(why, ERR_INVALID, "%.*s: behind ']' comes :PORT or nothing",
                       TEXT_ARGS(text));
    if (!has_bracket && first != colon)
        return why_set(why, ERR_INVALID,
                       "%.*s: an IPv6 address stands in brackets, such as http://[::1]:8420",
                       TEXT_ARGS(text));
    *host = colon ? (struct str){place.at, (size_t)(colon - place.at)} : place;
    *port = colon ? (struct str){colon + 1, place.size - host->size - 1} : (struct str){0};
    if (colon && !port->size)
        return why_set(why, ERR_INVALID, "%.*s: the port behind ':' is missing", TEXT_ARGS(text));
    return ERR_OK;
}

enum err server_url_read(struct str text, struct server_url *url, struct why *why)
{
    struct str rest = {0}, host = {0}, port = {0};
    uint64_t number = 0;
    *url = (struct server_url){0};
    enum err err = read_scheme(text, &rest, url, why);
    if (!err) err = check_rest(text, &rest, why);
    if (!err) err = split(text, rest, &host, &port, why);
    if (err) return err;
    url->has_port = port.size != 0;
    if (url->has_port && (!num_parse_u64(port, &number) || number < 1 || number > 65535))
        return why_set(why, ERR_INVALID, "%.*s: port '%.*s' must be a number from 1 to 65535",
                       TEXT_ARGS(text), TEXT_ARGS(port));
    if (!url->has_port) port = url->is_tls ? STR("443") : STR("80");
    struct str name = host;
    if (name.size && name.at[0] == '[') name = (struct str){name.at + 1, name.size - 2};
    if (name.size && name.at[name.size - 1] == '.') name.size--;
    if (!name.size)
        return why_set(why, ERR_INVALID, "%.*s: there is no host in it: %s", TEXT_ARGS(text), form);
    if (!str_copy(url->host, sizeof url->host, host) ||
        !str_copy(url->name, sizeof url->name, name) ||
        !str_copy(url->port, sizeof url->port, port))
        return why_set(why, ERR_INVALID, "the server's address is longer than %zu bytes",
                       sizeof url->host - 1);
    return ERR_OK;
}
