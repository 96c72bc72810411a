/* kind.h - the kinds of resources: one table, one C struct each.
 *
 * A document {apiVersion, kind, metadata, spec, status} is read into a `struct resource`: its
 * metadata, its spec as the kind's struct, and the spec's text. Resources are immutable and
 * reference-counted: a change makes a new one. */
#ifndef RESOURCE_KIND_H
#define RESOURCE_KIND_H

#include "data/schema.h"
#include "resource/field.h"
#include "stream/mapping.h"
#include <stdatomic.h>

#define RESOURCE_API_VERSION "millrace.io/v1"

enum resource_kind {
    KIND_CONNECTION,
    KIND_TABLE,
    KIND_DEVICE,
    KIND_NODE,
    KIND_USER,
    KIND_ROLE,
    KIND_TOKEN,
    KIND_VIEW,
    KIND_STREAM,
    KIND_BRIDGE,
    KIND_SINK,
    KIND_COUNT
};

/* ---- specs ---- */

struct connection_spec {
    struct str driver;
    struct str endpoint; /* "tcp://10.0.0.7:502"; the driver reads it */
    int64_t timeout_ns;  /* of one request */
    int64_t retries;     /* further tries after the first */
    int64_t connect_backoff_max_ns;
    bool enabled;
    struct doc *options; /* the driver's own, NULL = none */
};

struct table_column_spec {
    struct str name, unit, description;
    struct str type; /* a type's name; checked */
};

struct table_rollup_spec {
    int64_t every_ns, retention_ns; /* retention 0 = for ever */
};

struct table_spec {
    struct str name; /* SQL name; "" = metadata.name with - and . as _ */
    struct str description;
    struct field_list columns; /* struct table_column_spec */
    int64_t retention_ns;      /* 0 = for ever */
    bool open;
    struct str durability; /* "commit" or "interval 10s" */
    struct field_strings device_tags;
    struct field_list rollups; /* struct table_rollup_spec */
};

struct view_spec {
    struct str query; /* the SELECT that it stands for */
    struct str description;
};

enum stream_error { STREAM_DEAD_LETTER, STREAM_DROP };

struct stream_time_spec {
    struct str path;
    int unit; /* enum mapping_unit */
};

struct stream_csv_spec {
    struct str delimiter;
    bool header;
    struct field_strings columns;
};

struct stream_protobuf_spec {
    struct str descriptor, message;
};

struct stream_sparkplug_spec {
    struct str host_id; /* "" = the node's name */
    int64_t rebirth_interval_ns;
};

struct stream_spec {
    struct str filter, table, device, rows, description;
    int format;  /* enum mapping_format */
    int64_t qos; /* 0: publishers do not wait for the rows */
    struct stream_time_spec time;
    struct field_list columns; /* struct mapping_column */
    struct field_list labels;  /* struct mapping_label */
    struct stream_csv_spec csv;
    struct stream_protobuf_spec protobuf;
    struct stream_sparkplug_spec sparkplug;
    int on_error; /* enum stream_error */
    bool enabled;
};

enum point_store { POINT_STORE_ALWAYS, POINT_STORE_CHANGE };
enum point_access { POINT_ACCESS_READ, POINT_ACCESS_READ_WRITE, POINT_ACCESS_WRITE };

struct point_spec {
    struct str column, address, type, order, description;
    double scale, offset;
    double precision; /* decimals kept; NAN = all */
    double deadband;  /* store only changes larger than this; 0 = off */
    double min, max;  /* NAN = open; readings outside are kept, writes outside refused */
    int access;       /* enum point_access */
    int store;        /* enum point_store */
    int64_t
        max_silence_ns;  /* with deadband or store: change: a row at least this often; 0 = never */
    int64_t interval_ns; /* 0 = the device's */
    bool enabled;
};

struct device_spec {
    struct str path, table, connection, description;
    int64_t interval_ns;
    struct field_list points; /* struct point_spec */
    bool enabled;
};

struct user_spec {
    struct field_strings roles;
    struct str password; /* only on its way in: never part of a resource that is kept or shown */
    struct str verifier; /* "SCRAM-SHA-256$…"; never shown */
    struct str ns;       /* in whose topic tree the MQTT clients of the user live */
    struct str description;
    bool disabled;
};

/* A list that is left out has items NULL; one that is given and empty fits nothing. */
struct role_rule_spec {
    struct field_strings verbs, kinds, namespaces, names, paths;
    int effect; /* enum role_effect */
};
enum role_effect { ROLE_EFFECT_ALLOW, ROLE_EFFECT_DENY };

struct role_spec {
    struct field_list rules; /* struct role_rule_spec */
    struct str description;
};

struct token_spec {
    struct str user;
    struct field_strings roles; /* none = all of the user's */
    struct str expires;         /* RFC 3339, "" = never */
    struct str hash;            /* SHA-256 of the secret in hex; never shown */
    struct str description;
};

enum bridge_direction { BRIDGE_DIRECTION_OUT, BRIDGE_DIRECTION_IN, BRIDGE_DIRECTION_BOTH };
enum bridge_version { BRIDGE_VERSION_5, BRIDGE_VERSION_3_1_1 };
enum bridge_full { BRIDGE_DROP_OLDEST, BRIDGE_DROP_NEW, BRIDGE_KEEP_EVERY_NTH };

struct bridge_topic_spec {
    struct str filter, local_prefix, remote_prefix;
    int direction; /* enum bridge_direction */
    int64_t qos;
};

struct bridge_spec {
    struct str endpoint; /* "tcp://HOST:PORT", "tls://…" */
    struct str client_id, user;
    struct str password; /* never shown */
    int version;         /* enum bridge_version */
    struct {
        struct str ca, cert, key, server_name; /* files; a name */
    } tls;
    int64_t keep_alive_ns, session_expiry_ns, in_flight;
    bool insecure, clean_start, commands, enabled;
    struct field_list topics; /* struct bridge_topic_spec */
    struct {
        struct str bytes; /* a size */
        int64_t messages, age_ns, every;
        int full; /* enum bridge_full */
    } queue;
};

enum sink_from { SINK_FROM_NOW, SINK_FROM_BEGINNING };
enum sink_error { SINK_RETRY, SINK_SKIP };
enum sink_format { SINK_JSON, SINK_JSON_ARRAY, SINK_CSV, SINK_VALUE, SINK_SPARKPLUG };
enum sink_time { SINK_TIME_RFC3339, SINK_TIME_MS };

struct sink_mqtt_spec {
    struct str topic;       /* a template; "" = the format's default */
    struct str bridge;      /* name of a Bridge; "" = none */
    struct str group, edge; /* of format sparkplug */
    int format;             /* enum sink_format */
    int time;               /* enum sink_time */
    int64_t qos, expiry_ns;
    bool retain;
    bool writes; /* of format sparkplug: commands of hosts write to equipment */
};

struct sink_spec {
    struct str type, table, where, description;
    struct str query; /* in place of table, columns and where; "" = none */
    int64_t every_ns; /* the query is run so often; 0: it goes on with new rows */
    struct field_strings columns, devices;
    int from;     /* enum sink_from */
    int on_error; /* enum sink_error */
    struct {
        int64_t rows, linger_ns;
    } batch;
    int64_t rate; /* rows a second; 0 = any */
    struct sink_mqtt_spec mqtt;
    struct doc *options; /* of a loaded sink; NULL = none */
    bool on_change, enabled;
};

struct node_spec { /* what a node is, its configuration says; only labels can be changed */
    struct str description;
};

/* ---- documents ---- */

struct kind_info {
    const char *name, *plural, *singular, *short_name;
    bool namespaced;
    size_t spec_bytes;
    const struct field *fields; /* of spec */
    /* Checks across fields; adds problems. May be NULL. */
    void (*check)(const void *spec, const struct doc *spec_doc, struct problems *problems);
    const char *help_en, *help_zh;
};
extern const struct kind_info resource_kinds[KIND_COUNT];

/* NODE: made by the node itself (built-in roles), read only for everybody. */
enum resource_owner { OWNER_API, OWNER_FILE, OWNER_PARENT, OWNER_NODE, OWNER_COUNT };

struct resource {
    _Atomic uint32_t refs;
    enum resource_kind kind;
    struct str ns, name; /* ns "" for cluster-wide kinds */
    enum resource_owner owner;
    uint64_t version;    /* metadata.resourceVersion; set by the registry at every change */
    uint64_t generation; /* counts changes of the spec */
    int64_t created_ns;
    char uid[37];         /* RFC 9562 version 4; "" before the registry took it */
    struct doc *metadata; /* labels, annotations… as given; never NULL */
    struct doc *labels;   /* map or NULL */
    struct str spec_text; /* the spec as given, as JSON: a tenth of what its tree takes */
    struct doc *spec_doc; /* its top level, with places; lists and maps are there without items */
    void *spec;           /* the kind's struct */
    const char *file;     /* where a file-owned one came from, or "" */
    uint32_t line;
    uint32_t load;         /* file-owned: the registry's load that last found it in its file */
    bool is_stored;        /* the database holds it as it is */
    struct doc *status;    /* what the node says about it; NULL = nothing yet */
    struct resource *base; /* a share of the one whose memory this one uses, or NULL */
    struct arena arena;
};

/* Index of a kind by its name ("Device"), plural, singular or short name, or -1. */
int resource_kind_of(struct str name);

/* Of metadata.name and of a namespace, as in RFC 1123 (a "subdomain"). */
enum { RESOURCE_NAME_BYTES_MAX = 253 };
/* Whether `name` is one: lower-case letters, digits, '-' and '.', beginning and ending with a
 * letter or digit. */
bool resource_is_name(struct str name);
/* The same for a namespace that came with a request. Errors: INVALID names it. */
enum err resource_check_namespace(struct str ns, struct why *why);

/* Reads one document (its tree is copied). On error the problems say what; `why` gets the first one
 * with file and place. `file` "" for API documents. Errors: INVALID, NO_MEMORY. */
enum err resource_read(const struct doc *doc, const char *file, struct resource **resource,
                       struct problems *problems, struct why *why);
/* The whole document as REST shows it, with the registry's metadata and the status, without what is
 * secret, in `arena`. NULL: no memory. */
struct doc *resource_document(const struct resource *resource, struct arena *arena);
/* The same as the database keeps it: with its secrets and its file, without the status. */
struct doc *resource_stored(const struct resource *resource, struct arena *arena);
/* The two as JSON text, appended. False: no memory. */
bool resource_write_json(struct buf *out, const struct resource *resource);
bool resource_write_stored(struct buf *out, const struct resource *resource);
/* Takes owner and file from a document of the database. Errors: NO_MEMORY. */
enum err resource_take_owner(struct resource *resource, const struct doc *stored);
/* The same resource with another status: shares the memory of `resource`. NULL: no memory. */
struct resource *resource_with_status(const struct resource *resource, const struct doc *status);
/* Whether a kind has fields that are never shown. */
bool resource_has_secrets(enum resource_kind kind);
/* The whole spec as given, in `arena`. NULL: no memory. */
struct doc *resource_spec(const struct resource *resource, struct arena *arena);
/* Whether two specs say the same (the order of keys does not matter). */
bool resource_same_spec(const struct resource *a, const struct resource *b);
struct resource *resource_share(const struct resource *resource);
void resource_release(struct resource *resource);

/* What a Stream's document says, for mapping_new; borrows from the resource. `table`: where the
 * default table's name is put. */
void stream_mapping_spec(const struct resource *stream, char table[SCHEMA_NAME_BYTES_MAX + 1],
                         struct mapping_spec *spec);

/* The SQL name of a View, its name with - and . as _; that of a Table. */
void view_sql_name(const struct resource *view, char out[SCHEMA_NAME_BYTES_MAX + 1]);
void table_sql_name(const struct resource *table, char out[SCHEMA_NAME_BYTES_MAX + 1]);

#endif
