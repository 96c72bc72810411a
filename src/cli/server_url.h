/* server_url.h - where a node is, as somebody types it: "https://gw7:8443". */
#ifndef CLI_SERVER_URL_H
#define CLI_SERVER_URL_H

#include "base/str.h"
#include "base/err.h"

struct server_url {
    bool is_tls, has_port;
    char host[256]; /* an IPv6 address in its brackets, as in a Host header */
    char name[256]; /* the same as certificates have it: no brackets, no dot at the end */
    char port[8];   /* that of the scheme, where none is named */
};

/* Errors: INVALID says what is wrong with it and how it is written. */
enum err server_url_read(struct str text, struct server_url *url, struct why *why);

#endif
