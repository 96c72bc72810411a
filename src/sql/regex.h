/* regex.h - regular expressions: whether a text matches, in time linear in its length.
 *
 * PostgreSQL's usual subset: . [a-z] [^…] [[:alpha:]] \d \w \s and their opposites, ^ $ \m \M \y,
 * ( ) (?: ) |, * + ? {m,n} (greedy or not is the same, for only the answer counts). Back references
 * and look-around are refused. Why not the C library's: its time and memory have no bound, and both
 * pattern and text come from outside.
 *
 * A pattern becomes a small program (R. Cox, "Regular Expression Matching: the Virtual Machine
 * Approach", 2009); matching keeps the set of places in it where one could be. Texts are UTF-8. */
#ifndef SQL_REGEX_H
#define SQL_REGEX_H

#include "base/mem.h"
#include "base/str.h"

struct regex; /* in the arena it was made in */

/* Errors: SYNTAX with what is wrong (no position), LIMIT (the program gets too large), NO_MEMORY.
 */
enum err regex_compile(struct str pattern, bool ignore_case, struct arena *arena,
                       struct regex **regex, struct why *why);
/* Whether it matches anywhere in the text. Uses room inside `regex`: one thread at a time. */
bool regex_matches(struct regex *regex, struct str text);

#endif
