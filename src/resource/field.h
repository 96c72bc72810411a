/* field.h - one table a kind: its fields with type, unit, range, default and help.
 *
 * From the table come reading into a C struct with defaults, validation that names path and way
 * out, OpenAPI, the console's forms, CLI help and the reference manual. Adding a field is one row.
 */
#ifndef RESOURCE_FIELD_H
#define RESOURCE_FIELD_H

#include "resource/doc.h"

enum field_type {
    FIELD_BOOL = 1, /* bool */
    FIELD_INT,      /* int64_t */
    FIELD_DOUBLE,   /* double */
    FIELD_STRING,   /* struct str; terminated too */
    FIELD_DURATION, /* int64_t ns; text such as "500ms", "90d" */
    FIELD_ENUM,     /* int: index into choices */
    FIELD_STRINGS,  /* struct field_strings */
    FIELD_MAP, /* struct doc *: free keys with plain values (options, labels); NULL when absent */
    FIELD_OBJECT, /* the sub-struct in place */
    FIELD_LIST,   /* struct field_list of sub-structs */
    FIELD_DOC,    /* struct doc *: anything */
};

enum field_flag {
    FIELD_REQUIRED = 1,
    FIELD_NULLABLE = 2, /* DOUBLE: NAN when absent (no default) */
    FIELD_NAME = 4,     /* STRING: a path, column or label name; checked */
    FIELD_SECRET = 8,   /* never shown */
};

struct field_strings {
    struct str *items;
    size_t count;
};

struct field_list {
    void *items; /* array of the sub-struct */
    size_t count;
    const uint32_t *lines; /* of each item in its file; 0 = unknown */
};

struct field {
    const char *name;
    enum field_type type;
    size_t offset;
    unsigned flags;
    const char *default_text;   /* NULL = zero; as in a document */
    const char *unit;           /* "" or NULL = none */
    double min, max;            /* INT, DOUBLE, DURATION (seconds); both 0 = any */
    const char *const *choices; /* ENUM: names, NULL-terminated */
    const struct field *sub;    /* OBJECT, LIST: rows, ended by a NULL name */
    size_t sub_bytes;           /* LIST: of the sub-struct */
    const char *help_en, *help_zh;
};

/* One thing wrong with a document. */
struct problem {
    struct problem *next;
    const char *path; /* "spec.points[2].address" */
    const char *text; /* "\"int61\" is not one of …; did you mean int16?" */
    uint32_t line, column;
};

/* Collects problems in an arena; at most PROBLEMS_MAX are kept. */
enum { PROBLEMS_MAX = 50, PROBLEMS_RECENT = 16 };
struct problems {
    struct arena *arena;
    struct problem *first, **last;
    size_t count;
    bool no_memory;
    /* field_bind's: texts copied last, by field, since a list's items tend to repeat them. */
    struct str recent[PROBLEMS_RECENT];
};
void problems_init(struct problems *problems, struct arena *arena);
void problem_add(struct problems *problems, const char *path, const struct doc *at,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Reads a map into `out` (zeroed before, then defaults) by the table; unknown keys are problems
 * with the nearest valid one. `doc` NULL: all defaults (required ones are problems). Everything is
 * copied into the problems' arena: the document may go. */
void field_bind(const struct field *fields, const struct doc *doc, const char *path, void *out,
                struct problems *problems);

#endif
