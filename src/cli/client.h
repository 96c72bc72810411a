/* client.h - the command line's HTTP client: one blocking request at a time, over TCP or TLS.
 *
 * Finds its node by --server and --token, MILLRACE_SERVER and MILLRACE_TOKEN, or the data folder
 * (server.txt as the running node wrote it, and admin.token). That token is the administrator's: a
 * server that is named gets it only if it is this machine or the host of server.txt, or when --data
 * is given, too. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "cli/cli.h"

enum { CLIENT_ANSWER_BYTES_MAX = 256 * 1024 * 1024 };

struct client_answer {
    int status;
    struct buf body;
    char content_type[128];
};

/* Whether the server that is named, if one is, is an address; false after printing why not. */
bool client_check_server(const struct cli_args *args);
/* NULL after printing why. */
struct client *client_open(const struct cli_args *args);
void client_close(struct client *client);
/* One request; a kept-alive connection is used again. Errors: CONNECT, TIMEOUT, PROTOCOL, TLS with
 * text. */
enum err client_request(struct client *client, const char *method, const char *target,
                        const char *accept, const char *content_type, struct str body,
                        struct client_answer *answer, struct why *why);
/* A GET whose answer is a stream of lines: `use` gets each one as it comes, until it gives false or
 * the node ends the stream. An answer that is no success comes in `answer`. */
enum err client_stream(struct client *client, const char *target, const char *accept,
                       bool (*use)(void *arg, struct str line), void *arg,
                       struct client_answer *answer, struct why *why);
/* One request whose answer may be of any size: `use` gets its body piece by piece, until it gives
 * false. Errors: as client_request; PROTOCOL, too, when the node ends the body early, CANCELLED
 * when `use` gave false. An answer that is no success comes in `answer`. */
enum err client_download(struct client *client, const char *method, const char *target,
                         const char *accept, const char *content_type, struct str body,
                         bool (*use)(void *arg, struct str piece), void *arg,
                         struct client_answer *answer, struct why *why);
/* The token that requests are sent with, "" = none. */
const char *client_token(const struct client *client);
void client_answer_free(struct client_answer *answer);
/* The message of an error answer ({"error":{"message"}} or a Status). */
void client_error_text(const struct client_answer *answer, char *out, size_t out_bytes);
const char *client_server(const struct client *client);

#endif
