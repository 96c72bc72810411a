/* vector.h - a typed run of values: the column of a batch and the register of a query.
 *
 * Plain arrays, nothing hidden: operators work on them in loops that the compiler vectorises. Who
 * made a vector owns its arrays (an arena, as a rule); a vector only borrows them.
 *
 * A row's cell is in one of three states: a value; NULL with a quality that says why; absent, which
 * is NULL with quality QUALITY_NO_DATA. An explicit NULL (as INSERT writes it) has quality Good.
 * Invariant: bad quality implies NULL. */
#ifndef DATA_VECTOR_H
#define DATA_VECTOR_H

#include "base/mem.h"
#include "data/quality.h"
#include "data/type.h"

struct vector {
    enum type type;
    uint32_t count;
    bool is_constant;  /* only element 0 is present and stands for all `count` */
    uint8_t *null;     /* [count] 1 = NULL; pointer NULL = no NULL at all */
    uint32_t *quality; /* [count]; pointer NULL = all Good */
    union {
        void *data;
        uint8_t *b;    /* BOOL: 0 or 1 */
        int64_t *i;    /* BIGINT, TIMESTAMP */
        uint64_t *u;   /* UBIGINT */
        double *d;     /* DOUBLE: never NaN or infinite */
        struct str *s; /* TEXT, BYTES, DOUBLES */
    };
};

static inline uint32_t vector_at(const struct vector *v, uint32_t row)
{
    return v->is_constant ? 0 : row;
}
static inline bool vector_is_null(const struct vector *v, uint32_t row)
{
    return v->null && v->null[vector_at(v, row)];
}
static inline uint32_t vector_quality(const struct vector *v, uint32_t row)
{
    return v->quality ? v->quality[vector_at(v, row)] : QUALITY_GOOD;
}

/* Bytes of one element in the data array (1, 8 or sizeof(struct str)). */
static inline size_t vector_element_bytes(enum type type)
{
    unsigned bytes = type_bytes(type);
    return bytes ? bytes : sizeof(struct str);
}
/* Makes arrays for `capacity` rows in `arena` (count = 0); null and quality arrays only when asked.
 */
enum err vector_make(struct vector *v, struct arena *arena, enum type type, uint32_t capacity,
                     bool with_null, bool with_quality);
/* Reads one cell. Slices borrowed from the vector. */
struct value vector_get(const struct vector *v, uint32_t row);
/* Writes one cell of a vector that has a null array; type must fit. NaN and infinities are stored
 * as NULL with BadDecodingError. A slice is stored as given (not copied). */
void vector_set(struct vector *v, uint32_t row, const struct value *value);
/* Turns the values of `v` into those of a type that type_widens to: fresh data in `arena`; null and
 * quality stay. NO_MEMORY leaves `v` as it was. */
enum err vector_widen(struct vector *v, enum type to, struct arena *arena);
struct value value_widen(struct value value, enum type to);

#endif
