/* func_priv.h - what the files of kernels share. */
#ifndef SQL_FUNC_PRIV_H
#define SQL_FUNC_PRIV_H

#include "sql/func.h"

#define KERNEL(NAME)                                                                               \
    enum err NAME(struct eval *eval, const struct expr *e, const struct vector *args,              \
                  const struct view *view, struct vector *out)
/* The rows that count and are not NULL. */
#define EACH_ROW(row)                                                                              \
    (void)eval, (void)e;                                                                           \
    for (uint32_t k = 0, row; k < view->selected && (row = view_row(view, k), true); k++)          \
        if (!vector_is_null(out, row))
#define TEXT(n)    (args[n].s[vector_at(&args[n], row)])
#define INTEGER(n) (args[n].i[vector_at(&args[n], row)])
#define NUMBER(n)  (args[n].d[vector_at(&args[n], row)])

enum { FUNC_TEXT_BYTES_MAX = 1 << 20 }; /* of one computed text */

/* The row's result is NULL after all; its kernel's row has FN_NULLS or FN_MAY_NULL. */
void func_set_null(const struct expr *e, struct vector *out, uint32_t row);
/* Copies the buffer into the chunk's scratch as the row's text. Errors: LIMIT, memory. */
enum err func_put(struct eval *eval, const struct expr *e, struct vector *out, uint32_t row,
                  struct buf *buf);
enum err func_fail(struct eval *eval, const struct expr *e, enum err err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
