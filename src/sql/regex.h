/* regex.h - regular expressions in time linear in the text.
 *
 * Why our own: libc's regcomp depends on the locale, stops at zero bytes, and can be made to run
 * for hours or fill the memory by a short pattern; a statement may hold any pattern. This is a Pike
 * VM (R. Cox, "Regular expression matching: the virtual machine approach", 2009): all alternatives
 * go through the text side by side, so the time is (length of the text) × (size of the program),
 * both bounded. Syntax as PostgreSQL's and RE2's common part: . [abc] [^a-z] [[:digit:]] \d \w \s
 * \D \W \S \b \y \m \M ^ $ ( ) (?: ) | * + ? {m,n}, each with a following ? for the shortest; no
 * back-references. Of several matches at a place the first alternative wins. Characters are code
 * points of UTF-8. */
#ifndef SQL_REGEX_H
#define SQL_REGEX_H

#include "base/mem.h"
#include "base/str.h"
#include <stdbool.h>

enum {
    REGEX_PATTERN_BYTES_MAX = 4096,
    REGEX_PROGRAM_MAX = 2000,
    REGEX_GROUPS_MAX = 10, /* group 0 is the whole match */
};

struct regex; /* compiled; in an arena, never changed */

/* `flags`: "i" without regard to case (ASCII), "g" is the caller's, others are refused. Errors:
 * SYNTAX with what is wrong and where in the pattern, INVALID (flags), LIMIT, NO_MEMORY. */
enum err regex_compile(struct str pattern, struct str flags, struct arena *arena,
                       struct regex **regex, struct why *why);
size_t regex_group_count(const struct regex *regex); /* of brackets */

/* Told every so often how many steps (of some nanoseconds) a search took since; an error ends it.
 */
struct regex_watch {
    enum err (*spend)(void *arg, uint64_t steps);
    void *arg;
};
/* The first match at or behind byte `from`. groups[i].at is NULL for a group that took no part.
 * `scratch`: memory for the run. `watch` may be NULL. Errors: NO_MEMORY, those of the watch. */
enum err regex_match(const struct regex *regex, struct str text, size_t from, struct arena *scratch,
                     const struct regex_watch *watch, bool *found,
                     struct str groups[REGEX_GROUPS_MAX]);

#endif
