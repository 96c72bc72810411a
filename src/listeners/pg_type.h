/* pg_type.h - the types that PostgreSQL clients know, and how values look in them.
 *
 * One table: object id, name, size, and four functions a type (text and binary, out and in). The
 * engine has eight types; the others stand here because clients send parameters of them, or because
 * the catalogue's columns are of them. Thread: any. Source: pg_type.dat of PostgreSQL 15 and the
 * functions' binary forms (documentation, "Formats and Format Codes"). */
#ifndef LISTENERS_PG_TYPE_H
#define LISTENERS_PG_TYPE_H

#include "base/mem.h"
#include "base/zone.h"
#include "data/type.h"

/* How the session wants to see values. */
struct pg_style {
    const struct zone *zone; /* of times; NULL: UTC */
};

struct pg_type {
    uint32_t oid, array_oid; /* array_oid 0 = none */
    const char *name;        /* as in pg_type: "int8" */
    const char *sql_name;    /* as format_type prints it: "bigint" */
    int16_t size;            /* -1 = varying */
    char category;           /* pg_type.typcategory */
    enum type type;          /* the engine's */
    /* A value that is not NULL, of `type`. */
    void (*text)(const struct pg_style *style, struct buf *out, const struct value *value);
    void (*binary)(struct buf *out, const struct value *value);
    /* A parameter's bytes; false: not one. What has to be kept lies in `arena`. NULL read_text: as
     * value_parse reads `type`. */
    bool (*read_text)(struct str text, struct value *value, struct arena *arena);
    bool (*read_binary)(struct str bytes, struct value *value, struct arena *arena);
};

extern const struct pg_type pg_types[];
extern const size_t pg_type_count;

const struct pg_type *pg_type_find(uint32_t oid); /* NULL: unknown */
/* What values of the engine's type are to clients; TYPE_NONE is text. */
const struct pg_type *pg_type_of(enum type type);
/* Of a result column: `unit` "pg:NAME" (columns of the catalogue) names one of the others. */
const struct pg_type *pg_type_of_column(enum type type, const char *unit);

/* A parameter of type `oid` (0 = not said: a text that becomes what its place wants). Errors:
 * INVALID shows the value, UNSUPPORTED the type. */
enum err pg_param_read(uint32_t oid, bool is_binary, struct str bytes, struct arena *arena,
                       struct value *value, struct why *why);

#endif
