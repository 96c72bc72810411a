/* config.h - node.yaml: who the node is, where its data lies, where it listens. Equipment, tables
 * and rules are resources, never in here. */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include "node/config_access.h"
#include "node/config_mqtt.h"
#include "os/os.h"
#include "resource/field.h"

enum { LISTEN_ADDRESS_BYTES = 300 };

/* A further certificate, for those who ask for one of its names: PEM files. */
struct node_certificate {
    struct str cert, key;
};

struct node_config {
    struct {
        struct str name, path;
    } node;
    struct str data;
    const char *drivers; /* folder of further drivers; NULL = none */
    int64_t memory_bytes;
    uint32_t rollup_rows; /* store_config.rollup_rows_min */
    struct {
        struct str http, https, mqtt, mqtts, mqtt_unix, coap, coaps, postgres, line;
        bool insecure; /* a remote address without TLS is meant */
    } listen;
    struct {
        struct str cert, key, ca; /* PEM files; empty = self-signed */
        bool is_client_optional;  /* clients need not show a certificate of `ca` */
        struct field_list more;   /* struct node_certificate */
    } tls;
    struct mqtt_settings mqtt;
    struct access_settings access;
    struct arena arena;
};

/* Every key of node.yaml; ended by a NULL name. */
extern const struct field node_config_fields[];

/* Reads the file (NULL = none: defaults) and then `settings` ("listen.http=127.0.0.1:0") on top.
 * Errors: SYNTAX, INVALID with file, line, key and the nearest valid key. */
enum err node_config_read(struct os *os, const char *file, const char *const *settings,
                          size_t setting_count, struct node_config *config, struct why *why);
void node_config_free(struct node_config *config);

/* Reads a whole text file into the arena. Blocking. */
enum err node_read_file(struct os *os, const char *path, struct arena *arena, struct str *text,
                        struct why *why);

#endif
