/* payload.h - a message as a tree of values: what paths of a mapping are followed in.
 *
 * JSON, protobuf and CSV each become the same tree, so that one mapping (mapping.h) fits all of
 * them. Rows under data/ never take this way: they have a pull reader that makes no tree
 * (data/json_rows.h). A tree lives in an arena, and its texts point into the message or that arena;
 * its size and depth have limits, for a message of one megabyte could else ask for a hundred.
 * Children are a list: they are walked far more often than asked for by number. Thread: any. */
#ifndef STREAM_PAYLOAD_H
#define STREAM_PAYLOAD_H

#include "base/mem.h"
#include "data/type.h"

enum {
    PAYLOAD_DEPTH_MAX = 32,
    PAYLOAD_NODES_MAX = 100000, /* of one message */
};

enum payload_kind { PAYLOAD_VALUE, PAYLOAD_LIST, PAYLOAD_MAP };

struct payload {
    enum payload_kind kind;
    uint32_t count;     /* LIST, MAP: of children */
    struct str key;     /* of a map's member */
    struct value value; /* VALUE; type NONE is a null */
    struct str literal; /* VALUE: a number as it was written, where a text was read; else empty */
    struct payload *first, *last, *next;
};

/* Makes trees. */
struct payload_maker {
    struct arena *arena;
    size_t nodes;
};
/* A new node, the last child of `list` (NULL: the root). Errors: NO_MEMORY, LIMIT. */
enum err payload_add(struct payload_maker *maker, struct payload *list, struct payload **node);

/* Reads one JSON value (RFC 8259), and nothing behind it. Of equal keys the last one counts.
 * Errors: SYNTAX with the byte's position, LIMIT, NO_MEMORY. */
enum err payload_read_json(struct str text, struct arena *arena, struct payload **root,
                           struct why *why);

/* The last member of that name; NULL: none, or no map. */
const struct payload *payload_member(const struct payload *map, struct str key);
/* The child number `index`, from 0; NULL: none, or no list. */
const struct payload *payload_item(const struct payload *list, uint64_t index);
/* A list of numbers and nulls (which become NaN) as double[] in `arena`. Errors: TYPE: it is none;
 * NO_MEMORY. */
enum err payload_doubles(const struct payload *list, struct arena *arena, struct value *value);

#endif
