/* doc.h - a document as a tree: the one form in which YAML, JSON and stored documents reach
 * validation.
 *
 * Every value knows where it came from (line and column of the file, or nothing), so that an error
 * can name file and place, and through its path ("spec.points[2].address"). The tree lives in one
 * arena and is immutable once read; changes (defaults, merge patch) build new trees. */
#ifndef RESOURCE_DOC_H
#define RESOURCE_DOC_H

#include "base/mem.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum doc_kind { DOC_NULL, DOC_BOOL, DOC_NUMBER, DOC_STRING, DOC_LIST, DOC_MAP, DOC_JSON };

enum {
    DOC_DEPTH_MAX = 32,
    DOC_NODES_MAX = 200000,                /* of one document */
    DOC_BYTES_MAX = 8 * 1024 * 1024,       /* of one JSON text */
    DOC_FILE_BYTES_MAX = 64 * 1024 * 1024, /* of a file of documents */
};

struct doc;

struct doc_item {
    struct str key; /* maps only */
    struct doc *value;
};

struct doc {
    enum doc_kind kind;
    bool b;
    struct str text; /* STRING: the text; NUMBER: the literal as written; JSON: a value's text, only
                        for doc_write_json, which takes it over as it is */
    size_t count;
    struct doc_item *items; /* LIST, MAP; in order of appearance, keys unique */
    uint32_t line, column;  /* 1-based; 0 = unknown */
};

/* Reads a YAML stream: each document of it in turn. `file` names it in errors
 * ("<file>:<line>:<column>: …"). Plain scalars become null, bool, number or string by the JSON-like
 * core schema of YAML 1.2 (yes/no/on/off are strings); anchors, aliases and tags are refused.
 * Errors: SYNTAX, LIMIT, NO_MEMORY. */
enum err doc_read_yaml(struct str text, const char *file, struct arena *arena, struct doc ***docs,
                       size_t *count, struct why *why);
/* The same for a long stream: each document is given to `use` (an error ends the reading) and is
 * gone when it returns. */
enum err doc_each_yaml(struct str text, const char *file,
                       enum err (*use)(void *arg, const struct doc *doc), void *arg,
                       struct why *why);
/* Reads one JSON text. */
enum err doc_read_json(struct str text, struct arena *arena, struct doc **doc, struct why *why);
/* Writes compact JSON; keys in their order. */
void doc_write_json(struct buf *out, const struct doc *doc);
/* Writes block-style YAML, `indent` spaces deep. */
void doc_write_yaml(struct buf *out, const struct doc *doc, unsigned indent);

/* The value of a key of a map, or NULL (also when `doc` is NULL or no map). */
struct doc *doc_get(const struct doc *doc, const char *key);
/* Follows "a.b.c". */
struct doc *doc_find(const struct doc *doc, const char *path);
/* The text of a string value, or "" */
struct str doc_text(const struct doc *doc);

/* Builders; NULL when the arena is out of memory. */
struct doc *doc_new(struct arena *arena, enum doc_kind kind);
struct doc *doc_new_string(struct arena *arena, struct str text); /* copies */
struct doc *doc_new_int(struct arena *arena, int64_t value);
/* Sets (or replaces) a key of a map / appends to a list. False: no memory. */
bool doc_set(struct arena *arena, struct doc *map, const char *key, struct doc *value);
/* The same with a key that need not be terminated. */
bool doc_set_key(struct arena *arena, struct doc *map, struct str key, struct doc *value);
/* The same for a key that is known not to be there: nothing is looked for, so that a map of many
 * keys is made in a time that grows with their number only. */
bool doc_add_key(struct arena *arena, struct doc *map, struct str key, struct doc *value);
bool doc_append(struct arena *arena, struct doc *list, struct doc *value);
/* Takes a key out of a map, if it is there. NULL and other kinds are left alone. */
void doc_remove(struct doc *map, const char *key);
/* A deep copy. */
struct doc *doc_copy(struct arena *arena, const struct doc *doc);
/* RFC 7396: a new tree. */
struct doc *doc_merge_patch(struct arena *arena, const struct doc *target, const struct doc *patch);
/* Same kinds, texts and items; the order of map keys does not matter. */
bool doc_equal(const struct doc *a, const struct doc *b);

#endif
