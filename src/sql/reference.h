/* reference.h - all that a statement may call, as one list for SHOW FUNCTIONS and the manual
 * (`millrace reference functions`). Each row has an example and its answer, which
 * sql_reference_test.c runs over the table `demo`. */
#ifndef SQL_REFERENCE_H
#define SQL_REFERENCE_H

#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>

struct reference_row {
    const char *kind; /* "window", "aggregate", "window function", "row function", "function",
                         "operator", "statement" */
    const char *name;
    const char *args; /* letters as in func.h; of windows "" */
    char result;      /* 0: none */
    const char *help, *help_zh;
    /* A statement, or an expression: of the first row of demo, or (over_all_rows) of all. */
    const char *example, *answer;
    bool over_all_rows;
};

size_t reference_count(void);
struct reference_row reference_at(size_t i); /* i < reference_count() */

/* The statements that make demo; ends with NULL. */
extern const char *const reference_demo[];

/* "tii" → "text, bigint, bigint"; constants behind '|' too. */
void reference_add_types(struct buf *buf, const char *letters);

#endif
