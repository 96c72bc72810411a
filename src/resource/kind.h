/* kind.h - the kinds of resources: one table, one C struct each.
 *
 * A document {apiVersion, kind, metadata, spec, status} is read into a `struct resource`: its
 * metadata, its spec as the kind's struct, and the spec's text. Resources are immutable and
 * reference-counted: a change makes a new one. */
#ifndef RESOURCE_KIND_H
#define RESOURCE_KIND_H

#include "data/schema.h"
#include "resource/field.h"
#include <stdatomic.h>

#define RESOURCE_API_VERSION "millrace.io/v1"

enum resource_kind { KIND_CONNECTION, KIND_TABLE, KIND_DEVICE, KIND_COUNT };

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

struct table_spec {
    struct str name; /* SQL name; "" = metadata.name with - and . as _ */
    struct str description;
    struct field_list columns; /* struct table_column_spec */
    int64_t retention_ns;      /* 0 = for ever */
    bool open;
    struct str durability; /* "commit" or "interval 10s" */
    struct field_strings device_tags;
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

enum resource_owner { OWNER_API, OWNER_FILE, OWNER_PARENT };

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
    struct arena arena;
};

/* Index of a kind by its name ("Device") or plural, or -1. */
int resource_kind_of(struct str name);

/* Reads one document (its tree is copied). On error the problems say what; `why` gets the first one
 * with file and place. `file` "" for API documents. Errors: INVALID, NO_MEMORY. */
enum err resource_read(const struct doc *doc, const char *file, struct resource **resource,
                       struct problems *problems, struct why *why);
/* The whole document as REST shows it, with the registry's metadata, in `arena`. NULL: no memory.
 */
struct doc *resource_document(const struct resource *resource, struct arena *arena);
/* The same as JSON text, appended. False: no memory. */
bool resource_write_json(struct buf *out, const struct resource *resource);
/* The whole spec as given, in `arena`. NULL: no memory. */
struct doc *resource_spec(const struct resource *resource, struct arena *arena);
/* Whether two specs say the same (the order of keys does not matter). */
bool resource_same_spec(const struct resource *a, const struct resource *b);
struct resource *resource_share(const struct resource *resource);
void resource_release(struct resource *resource);

/* The SQL name of a Table resource. */
void table_sql_name(const struct resource *table, char out[SCHEMA_NAME_BYTES_MAX + 1]);

#endif
