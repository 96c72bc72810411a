/* path.h - where in a message a value is, and texts made of parts of messages and topics.
 *
 * Path: "$" is the message, "@" the row (the same, where a message is one row); then steps: .name
 * ['any name'] [0] and, in a path that names rows, [*] (each item of a list or member of a map).
 * Template: text with {1} (level of the topic, from 1), {*} (what the filter's wildcards stand
 * for),
 * {#} (what its # stands for), {$.path} or {@.path} (a value of the message); "{{" is one brace.
 * Both are read once, when a Stream changes, and followed for each row. Thread: any; immutable. */
#ifndef STREAM_PATH_H
#define STREAM_PATH_H

#include "stream/payload.h"

enum { PATH_STEPS_MAX = 16, TEMPLATE_PARTS_MAX = 16 };

enum path_step_kind { PATH_KEY, PATH_INDEX, PATH_EACH };

struct path_step {
    enum path_step_kind kind;
    struct str key;
    uint64_t index;
};

struct path {
    bool of_row; /* "@" */
    bool is_set; /* false: no path was given */
    size_t count;
    struct path_step steps[PATH_STEPS_MAX];
};

/* Reads a path. Keys point into `text` (or `arena`, where they had quotes to undo). Errors: INVALID
 * says where and what; NO_MEMORY. `may_each`: [*] is allowed. */
enum err path_read(struct str text, bool may_each, struct arena *arena, struct path *path,
                   struct why *why);
/* What a path without [*] leads to; NULL: nothing. */
const struct payload *path_find(const struct path *path, const struct payload *message,
                                const struct payload *row);
/* Calls `use` for each place that the path leads to, in order; ends at the first error. */
enum err path_each(const struct path *path, const struct payload *message,
                   enum err (*use)(void *arg, const struct payload *row), void *arg);

enum template_kind { TEMPLATE_TEXT, TEMPLATE_LEVEL, TEMPLATE_WILD, TEMPLATE_REST, TEMPLATE_PATH };

struct template_part {
    enum template_kind kind;
    struct str text; /* TEXT */
    uint64_t level;  /* LEVEL: from 1 */
    struct path path;
};

struct template
{
    size_t count;
    struct template_part *parts; /* in the arena */
};

/* Reads a template. Errors: INVALID, NO_MEMORY. */
enum err template_read(struct str text, struct arena *arena, struct template *made,
                       struct why *why);

/* What a template is filled from. */
struct template_source {
    struct str topic, filter;
    const struct payload *message, *row; /* NULL: there are none */
};
/* Fills it; the text lies in the arena, or where it came from. Errors: NOT_FOUND names the part
 * that there is nothing for; NO_MEMORY. */
enum err template_fill(const struct template *made, const struct template_source *source,
                       struct arena *arena, struct str *out, struct why *why);

#endif
