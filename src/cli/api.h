/* api.h - the resource API as the command line uses it: kinds by any of their names, paths, calls
 * that print what went wrong. */
#ifndef CLI_API_H
#define CLI_API_H

#include "cli/client.h"
#include "resource/kind.h"

struct api {
    const struct cli_args *args;
    struct client *client;
    struct arena arena; /* of the answers' trees */
    int status;         /* HTTP status of the last call; 0 = none came */
    char message[1024]; /* of the last failure */
};

/* False after printing why. */
bool api_open(struct api *api, const struct cli_args *args);
void api_close(struct api *api);

/* A kind by name, plural, singular or short name, in any case; -1 after printing the nearest. */
int api_kind(const struct cli_args *args, const char *name);

/* "/apis/millrace.io/v1/namespaces/NS/devices/NAME"; `ns` NULL = all namespaces, `name` NULL = the
 * collection. Every piece is percent-encoded. */
void api_path(struct buf *out, enum resource_kind kind, const char *ns, const char *name);
void api_add_segment(struct buf *out, const char *text);

enum { API_JSON, API_TABLE };
/* One call; `body` "" = none. Gives the answer's tree, or NULL with status and message set (nothing
 * is printed). */
struct doc *api_call(struct api *api, const char *method, struct buf *path, int accept,
                     const char *content_type, struct str body);
/* Prints "millrace COMMAND: MESSAGE" of the last call; gives the exit code. */
int api_fail(struct api *api);

/* -n, or "default". */
const char *api_namespace(const struct cli_args *args);

/* The documents of files, folders (*.yaml, *.yml, *.json, by name) and "-"; checked as the node
 * does it, so that errors name file and line. False after printing the first one. */
struct api_documents {
    struct doc **items;
    size_t count, capacity;
};
bool api_read_files(struct api *api, const char *const *files, size_t count,
                    struct api_documents *documents);
void api_documents_free(struct api_documents *documents);

/* A table as the node made it, printed with columns side by side; `wide` with all columns. */
void api_print_table(const struct doc *table, bool wide, bool with_header);

#endif
