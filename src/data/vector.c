/* vector.c - see vector.h. */
#include "data/vector.h"
#include <math.h>
#include <string.h>

enum err vector_make(struct vector *v, struct arena *arena, enum type type, uint32_t capacity,
                     bool with_null, bool with_quality)
{
    *v = (struct vector){.type = type};
    v->data = arena_zero(arena, capacity, vector_element_bytes(type));
    if (with_null) v->null = arena_zero(arena, capacity, 1);
    if (with_quality) v->quality = arena_zero(arena, capacity, sizeof *v->quality);
    if (!v->data || (with_null && !v->null) || (with_quality && !v->quality)) return ERR_NO_MEMORY;
    return ERR_OK;
}

struct value vector_get(const struct vector *v, uint32_t row)
{
    uint32_t at = vector_at(v, row);
    MUST(v->is_constant || at < v->count);
    struct value value = {.type = v->type};
    value.quality = v->quality ? v->quality[at] : QUALITY_GOOD;
    value.is_null = v->type == TYPE_NONE || (v->null && v->null[at]);
    if (value.is_null) return value;
    switch (vector_element_bytes(v->type)) {
    case 1: value.b = v->b[at] != 0; break;
    case 8: value.u = v->u[at]; break;
    default: value.s = v->s[at]; break;
    }
    if (v->type == TYPE_DOUBLE) value.d = v->d[at];
    return value;
}

void vector_set(struct vector *v, uint32_t row, const struct value *value)
{
    static const struct str nothing;
    MUST(v->null && !v->is_constant);
    bool is_null = value->is_null;
    uint32_t quality = value->quality;
    if (!is_null && v->type == TYPE_DOUBLE && !isfinite(value->d)) {
        is_null = true;
        quality = (uint32_t)QualityBadDecodingError;
    }
    MUST(is_null || value->type == v->type);
    v->null[row] = is_null;
    if (v->quality) v->quality[row] = quality;
    if (v->type == TYPE_BOOL)
        v->b[row] = is_null ? 0 : value->b;
    else if (type_bytes(v->type) == 8)
        v->u[row] = is_null ? 0 : value->u;
    else
        v->s[row] = is_null ? nothing : value->s;
}

struct value value_widen(struct value value, enum type to)
{
    MUST(value.type == TYPE_NONE || type_widens(value.type, to));
    enum type from = value.type;
    value.type = to;
    if (value.is_null || from == to) return value;
    if (to == TYPE_BIGINT)
        value.i = value.b;
    else if (from == TYPE_BOOL)
        value.d = value.b;
    else
        value.d = from == TYPE_BIGINT ? (double)value.i : (double)value.u;
    return value;
}

enum err vector_widen(struct vector *v, enum type to, struct arena *arena)
{
    if (v->type == to) return ERR_OK;
    uint32_t count = v->is_constant ? 1 : v->count;
    struct vector wide = *v;
    wide.type = to;
    wide.data = arena_zero(arena, count, vector_element_bytes(to));
    if (!wide.data) return ERR_NO_MEMORY;
    for (uint32_t row = 0; row < count; row++) {
        struct value value = value_widen(vector_get(v, row), to);
        if (!value.is_null) wide.u[row] = value.u; /* both are of 8 bytes */
    }
    *v = wide;
    return ERR_OK;
}
