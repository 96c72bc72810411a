/* point.c - a point's value on its way between raw and the point's unit, and whether it is worth
 * storing.
 *
 * Scaling is done in decimal: scale 0.1 is not multiplied by but divided by 10, so that raw 233
 * becomes exactly the double nearest to 23.3 and prints (and packs) as that. */
#include "collect/collect_priv.h"
#include "base/hash.h"
#include "base/num.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- preparing ---- */

static bool is_identity(const struct point_spec *spec)
{
    return spec->scale == 1 && spec->offset == 0;
}

/* Exact for decimal scales whose parts are small enough; else as written. */
static struct point_scale make_scale(const struct point_spec *spec)
{
    struct point_scale scale = {spec->scale, spec->offset, 1,
                                isnan(spec->precision) ? 0 : pow(10, spec->precision)};
    char text[NUM_DOUBLE_BYTES];
    struct num_decimal d;
    size_t size = num_format_double(spec->scale, text);
    if (!num_parse_decimal((struct str){text, size}, &d) || d.exponent >= 0 || d.exponent < -15 ||
        d.mantissa > 1000000000u)
        return scale;
    double div = pow(10, -d.exponent), add = spec->offset * div;
    if (fabs(add) > 1e15 || fabs(add - nearbyint(add)) > 1e-6) return scale;
    scale.mul = d.negative ? -(double)d.mantissa : (double)d.mantissa;
    scale.add = nearbyint(add);
    scale.div = div;
    return scale;
}

static bool same_scale(const struct point_scale *a, const struct point_scale *b)
{
    return a->mul == b->mul && a->add == b->add && a->div == b->div && a->round == b->round;
}

static void set_problem(struct point *point, struct arena *arena, uint32_t quality,
                        const char *text)
{
    point->problem = quality;
    point->problem_text = arena_strdup(arena, text, strlen(text));
}

enum err point_prepare(struct point *point, const struct point *before,
                       const struct line_config *config, struct arena *arena)
{
    char why[MILLRACE_WHY_BYTES] = "";
    const struct point_spec *spec = point->spec;
    struct millrace_point_text text = {{spec->address.at, spec->address.size},
                                       {spec->type.at, spec->type.size},
                                       {spec->order.at, spec->order.size}};
    if (!config->driver->point_parse(&config->line, &text, &point->at, why))
        set_problem(point, arena, (uint32_t)QualityBadConfigurationError, why);
    struct point_scale scale = make_scale(spec);
    bool is_shared = before && same_scale(before->scale, &scale);
    point->scale = is_shared ? before->scale : arena_dup(arena, &scale, sizeof scale);
    bool remembers = spec->store == POINT_STORE_CHANGE || spec->deadband > 0 ||
                     point->at.type == MILLRACE_TEXT || point->at.type == MILLRACE_BYTES;
    if (remembers) point->memory = arena_zero(arena, 1, sizeof *point->memory);
    return !point->scale || (remembers && !point->memory) ? ERR_NO_MEMORY : ERR_OK;
}

enum point_convert point_choose(const struct point_spec *spec, enum millrace_type from,
                                enum type column, char why[MILLRACE_WHY_BYTES])
{
    static const struct {
        enum millrace_type from;
        enum type column;
        bool scaled_too;
        enum point_convert convert;
    } fits[] = {
        {MILLRACE_BOOL, TYPE_BOOL, false, POINT_BOOL},
        {MILLRACE_BOOL, TYPE_BIGINT, false, POINT_BIGINT},
        {MILLRACE_BOOL, TYPE_UBIGINT, false, POINT_UBIGINT},
        {MILLRACE_BOOL, TYPE_DOUBLE, true, POINT_DOUBLE},
        {MILLRACE_INT, TYPE_BIGINT, false, POINT_BIGINT},
        {MILLRACE_INT, TYPE_UBIGINT, false, POINT_UBIGINT},
        {MILLRACE_INT, TYPE_DOUBLE, true, POINT_DOUBLE},
        {MILLRACE_UINT, TYPE_BIGINT, false, POINT_BIGINT},
        {MILLRACE_UINT, TYPE_UBIGINT, false, POINT_UBIGINT},
        {MILLRACE_UINT, TYPE_DOUBLE, true, POINT_DOUBLE},
        {MILLRACE_DOUBLE, TYPE_DOUBLE, true, POINT_DOUBLE},
        {MILLRACE_TEXT, TYPE_TEXT, false, POINT_SLICE},
        {MILLRACE_BYTES, TYPE_BYTES, false, POINT_SLICE},
    };
    const char *instead = NULL;
    for (size_t i = 0; i < sizeof fits / sizeof fits[0]; i++) {
        if (fits[i].from != from) continue;
        if (fits[i].column == column && (fits[i].scaled_too || is_identity(spec)))
            return fits[i].convert;
        if (fits[i].scaled_too || !instead) instead = type_name(fits[i].column);
    }
    snprintf(why, MILLRACE_WHY_BYTES,
             "%s%.*s values do not fit column '%.*s' of type %s; make it %s",
             is_identity(spec) ? "" : "scaled ", (int)(spec->type.size > 40 ? 40 : spec->type.size),
             spec->type.at, (int)(spec->column.size > 80 ? 80 : spec->column.size), spec->column.at,
             type_name(column), instead ? instead : "double");
    return POINT_NONE;
}

/* Where there is no column, values still have a type: for reads on demand and the system tables. */
static enum type natural_type(const struct point *point)
{
    static const enum type types[] = {
        [MILLRACE_BOOL] = TYPE_BOOL,    [MILLRACE_INT] = TYPE_BIGINT,
        [MILLRACE_UINT] = TYPE_UBIGINT, [MILLRACE_DOUBLE] = TYPE_DOUBLE,
        [MILLRACE_TEXT] = TYPE_TEXT,    [MILLRACE_BYTES] = TYPE_BYTES,
    };
    bool is_whole = point->at.type == MILLRACE_INT || point->at.type == MILLRACE_UINT;
    return is_whole && !is_identity(point->spec) ? TYPE_DOUBLE : types[point->at.type];
}

void point_bind(struct point *point, struct arena *arena)
{
    char why[MILLRACE_WHY_BYTES] = "";
    if (point->problem == (uint32_t)QualityBadConfigurationError) return;
    point->problem = 0;
    point->column =
        point->device->schema ? schema_find(point->device->schema, point->spec->column) : NULL;
    enum type type = point->column ? point->column->type : natural_type(point);
    point->convert = point_choose(point->spec, point->at.type, type, why);
    if (point->convert == POINT_NONE)
        set_problem(point, arena, (uint32_t)QualityBadTypeMismatch, why);
}

/* ---- from raw ---- */

static double raw_number(const struct millrace_value *raw)
{
    switch (raw->type) {
    case MILLRACE_BOOL: return raw->b;
    case MILLRACE_INT: return (double)raw->i;
    case MILLRACE_UINT: return (double)raw->u;
    default: return raw->d;
    }
}

static double scaled(const struct point *point, const struct millrace_value *raw)
{
    double v = raw_number(raw);
    const struct point_scale *scale = point->scale;
    if (!is_identity(point->spec)) v = (v * scale->mul + scale->add) / scale->div;
    if (scale->round > 0 && fabs(v) < 1e15) v = round(v * scale->round) / scale->round;
    return v;
}

static struct value bad(uint32_t quality)
{
    return (struct value){.is_null = true, .quality = quality};
}

struct value point_convert(const struct point *point, const struct millrace_value *raw)
{
    struct value value = {0};
    switch (point->convert) {
    case POINT_NONE: return bad((uint32_t)QualityBadTypeMismatch);
    case POINT_BOOL:
        value.type = TYPE_BOOL;
        value.b = raw->b;
        break;
    case POINT_BIGINT:
        value.type = TYPE_BIGINT;
        value.i = raw->type == MILLRACE_BOOL ? raw->b : raw->i;
        if (raw->type == MILLRACE_UINT && raw->u > INT64_MAX)
            return bad((uint32_t)QualityBadOutOfRange);
        break;
    case POINT_UBIGINT:
        value.type = TYPE_UBIGINT;
        value.u = raw->type == MILLRACE_BOOL ? raw->b : raw->u;
        if (raw->type == MILLRACE_INT && raw->i < 0) return bad((uint32_t)QualityBadOutOfRange);
        break;
    case POINT_DOUBLE:
        value.type = TYPE_DOUBLE;
        value.d = scaled(point, raw);
        if (!isfinite(value.d)) return bad((uint32_t)QualityBadDecodingError);
        break;
    case POINT_SLICE:
        value.type = raw->type == MILLRACE_TEXT ? TYPE_TEXT : TYPE_BYTES;
        value.s = (struct str){raw->text.at, raw->text.size};
        break;
    }
    return value;
}

/* ---- to raw ---- */

static enum err outside(struct why *why, struct str text, const char *what, double limit)
{
    char number[NUM_DOUBLE_BYTES];
    num_format_double(limit, number);
    return why_set(why, ERR_RANGE, "%.*s is %s %s", (int)(text.size > 60 ? 60 : text.size), text.at,
                   what, number);
}

static enum err check_range(const struct point *point, double v, struct str text, struct why *why)
{
    if (!isnan(point->spec->min) && v < point->spec->min)
        return outside(why, text, "below the point's min", point->spec->min);
    if (!isnan(point->spec->max) && v > point->spec->max)
        return outside(why, text, "above the point's max", point->spec->max);
    return ERR_OK;
}

/* Whole numbers without scale go through exactly, also beyond 2^53. */
static bool parse_exact(const struct point *point, struct str text, struct millrace_value *raw)
{
    if (!is_identity(point->spec)) return false;
    if (raw->type == MILLRACE_INT) return num_parse_i64(text, &raw->i);
    return raw->type == MILLRACE_UINT && num_parse_u64(text, &raw->u);
}

static enum err parse_number(const struct point *point, struct str text, struct millrace_value *raw,
                             struct why *why)
{
    double v;
    if (!num_parse_double(text, &v))
        return why_set(why, ERR_TYPE, "'%.*s' is not a number",
                       (int)(text.size > 60 ? 60 : text.size), text.at);
    enum err err = check_range(point, v, text, why);
    if (err) return err;
    bool exact = parse_exact(point, text, raw);
    double r = (v * point->scale->div - point->scale->add) / point->scale->mul;
    if (raw->type == MILLRACE_DOUBLE) {
        raw->d = is_identity(point->spec) ? v : r;
        return ERR_OK;
    }
    r = exact ? raw_number(raw) : nearbyint(r);
    if (!(r >= point->at.min && r <= point->at.max))
        return why_set(why, ERR_RANGE, "%.*s does not fit %.*s",
                       (int)(text.size > 60 ? 60 : text.size), text.at, (int)point->spec->type.size,
                       point->spec->type.at);
    if (exact) return ERR_OK;
    if (raw->type == MILLRACE_INT)
        raw->i = r >= 9223372036854775807.0 ? INT64_MAX : (int64_t)r;
    else
        raw->u = r >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)r;
    return ERR_OK;
}

enum err point_parse_value(const struct point *point, struct str text, struct millrace_value *raw,
                           struct value *value, struct why *why)
{
    struct value parsed;
    enum err err = ERR_OK;
    *raw = (struct millrace_value){.type = point->at.type};
    if (raw->type == MILLRACE_BOOL) {
        err = value_parse(text, TYPE_BOOL, &parsed, why);
        if (err)
            return why_set(why, ERR_TYPE, "'%.*s' is not true or false",
                           (int)(text.size > 60 ? 60 : text.size), text.at);
        raw->b = parsed.b;
        err = check_range(point, raw->b, text, why);
    } else if (raw->type == MILLRACE_TEXT || raw->type == MILLRACE_BYTES) {
        raw->text = (struct millrace_text){text.at, text.size};
    } else {
        err = parse_number(point, text, raw, why);
    }
    if (!err) *value = point_convert(point, raw);
    return err;
}

/* ---- storing ---- */

static bool differs(const struct point *point, const struct value *value)
{
    const struct value *old = &point->memory->stored;
    double band = point->spec->deadband;
    if (old->is_null != value->is_null || old->quality != value->quality) return true;
    if (value->is_null) return false;
    switch (value->type) {
    case TYPE_BOOL: return old->b != value->b;
    case TYPE_DOUBLE: return fabs(old->d - value->d) > band;
    case TYPE_BIGINT: return old->i != value->i && fabs((double)old->i - (double)value->i) > band;
    case TYPE_UBIGINT: return old->u != value->u && fabs((double)old->u - (double)value->u) > band;
    default: return point->memory->stored_hash != hash_64(value->s.at, value->s.size);
    }
}

bool point_wants_storing(struct point *point, const struct value *value, int64_t now_ns)
{
    const struct point_spec *spec = point->spec;
    if (spec->store == POINT_STORE_ALWAYS && spec->deadband == 0) return true;
    struct point_memory *memory = point->memory;
    bool silent_long =
        spec->max_silence_ns && now_ns - memory->stored_at_ns >= spec->max_silence_ns;
    if (memory->stored_at_ns && !silent_long && !differs(point, value)) return false;
    memory->stored = *value;
    memory->stored_at_ns = now_ns;
    if (!value->is_null && point->convert == POINT_SLICE)
        memory->stored_hash = hash_64(value->s.at, value->s.size);
    return true;
}

void point_note(struct point *point, const struct value *value, int64_t time_ns)
{
    point->last = *value;
    point->last_time_ns = time_ns;
    if (value->is_null || point->convert != POINT_SLICE) return;
    struct buf *text = &point->memory->text;
    buf_clear(text);
    buf_add(text, value->s.at, value->s.size);
    point->last.s = buf_str(text);
    if (buf_failed(text)) point->last = bad((uint32_t)QualityBadInternalError);
}
