/* agg.h - the table of aggregates: count, sum, avg…
 *
 * A state is `state_bytes` of plain memory, all zero when fresh. `add` takes a *run*: many rows of
 * one group at once, so the loop over values is inside and nothing is called per value. `merge`
 * joins two states of different rows, so partial results of threads, rollups or tiers combine
 * exactly. States own nothing that must be released; texts they keep live in the arena handed to
 * them. */
#ifndef SQL_AGG_H
#define SQL_AGG_H

#include "sql/expr.h"

/* Rows of one group: values[rows[from]] … or, where rows is NULL, values[from] … */
struct agg_run {
    const struct vector *value; /* NULL: count(*). Never a constant vector */
    const int64_t *time;        /* of the vector's rows; NULL: order of arrival counts instead */
    const uint16_t *rows;
    uint32_t from, count;
    const struct vector *second; /* of aggregates with two arguments per row: as `value` */
    const struct value *params;  /* constants behind the arguments, checked by params_good */
    uint32_t series;             /* of the rows */
    bool has_window;             /* the group is a window of time: from … to */
    int64_t window_from, window_to;
    bool keeps_null; /* first/last of a plain column: a NULL with a reason is a value, absence is
                        not */
};

enum aggregate_flags {
    AGG_KEEPS_UNIT = 1, /* the result has the argument's unit */
    AGG_NEEDS_TIME = 2,
    AGG_KEEPS_NULL = 4, /* first and last: a NULL with a reason is an answer */
    AGG_ONE_SERIES = 8, /* follows a value through time: rows of two devices make no sense. `add`
                           gives GROUPING then */
    AGG_EDGES = 16,     /* has `follow` */
    AGG_EVERY_ROW = 32, /* sees NULLs: no constant folding of runs without values */
};

struct aggregate {
    const char *name;
    /* Letters as in func.h: up to two arguments per row, then behind '|' constants. "" for
     * count(*). */
    const char *args;
    char result;
    unsigned flags;
    size_t state_bytes;
    enum err (*add)(void *state, const struct agg_run *run, struct arena *memory);
    enum err (*merge)(void *into, const void *from, struct arena *memory);
    /* Errors: RANGE (a sum beyond its type). Slices are borrowed from the state. */
    enum err (*final)(const void *state, struct value *result);
    const char *help, *help_zh, *example, *answer;
    bool (*params_good)(const struct value *params); /* NULL: any but NULL */
    const char *params_help;                         /* what they may be */
    /* Windows of one device, one behind the other (AGG_EDGES): what the window before ended with,
     * told before the first row is added. */
    void (*follow)(void *state, const void *before);
    /* What the next window begins with; false: it has no value yet. May be NULL. */
    bool (*complete)(void *state, const void *behind);
};

const struct aggregate *aggregate_table(size_t *count);
bool aggregate_exists(struct str name);

enum { AGG_STATE_BYTES_MAX = 256 };

/* ---- by file, listed in agg.c ---- */
#define AGGREGATE(NAME)                                                                            \
    enum err NAME##_add(void *state, const struct agg_run *run, struct arena *memory);             \
    enum err NAME##_merge(void *into, const void *from, struct arena *memory);                     \
    enum err NAME##_final(const void *state, struct value *result)
AGGREGATE(agg_count);
AGGREGATE(agg_sum_i);
AGGREGATE(agg_sum_u);
AGGREGATE(agg_sum_d);
AGGREGATE(agg_stddev);
AGGREGATE(agg_min_i);
AGGREGATE(agg_max_i);
AGGREGATE(agg_min_u);
AGGREGATE(agg_max_u);
AGGREGATE(agg_min_d);
AGGREGATE(agg_max_d);
AGGREGATE(agg_min_b);
AGGREGATE(agg_max_b);
AGGREGATE(agg_min_s);
AGGREGATE(agg_max_s);
AGGREGATE(agg_first);
AGGREGATE(agg_last);
AGGREGATE(agg_last_row);
AGGREGATE(agg_values); /* exact quantiles: all values are kept */
AGGREGATE(agg_ddsketch);
AGGREGATE(agg_hll);
AGGREGATE(agg_mode);
AGGREGATE(agg_histogram);
AGGREGATE(agg_pair);
AGGREGATE(agg_min_by);
AGGREGATE(agg_max_by);
AGGREGATE(agg_moments);
AGGREGATE(agg_means);
AGGREGATE(agg_spread);
AGGREGATE(agg_string);
AGGREGATE(agg_array);
AGGREGATE(agg_top);
AGGREGATE(agg_bottom);
AGGREGATE(agg_sample);
AGGREGATE(agg_points);
AGGREGATE(agg_duration);
AGGREGATE(agg_elapsed);
#undef AGGREGATE
enum err agg_avg_final(const void *state, struct value *result);        /* over agg_sum_d's state */
enum err agg_stddev_pop_final(const void *state, struct value *result); /* over agg_stddev's */
enum err agg_variance_final(const void *state, struct value *result);
enum err agg_var_pop_final(const void *state, struct value *result);
typedef enum err agg_final(const void *state, struct value *result);
agg_final agg_median_final, agg_percentile_cont_final, agg_percentile_disc_final,
    agg_percentile_final; /* agg_values */
agg_final agg_covar_pop_final, agg_covar_samp_final, agg_corr_final, agg_regr_slope_final,
    agg_regr_intercept_final, agg_regr_r2_final, agg_regr_count_final; /* agg_pair */
agg_final agg_skewness_final, agg_kurtosis_final;                      /* agg_moments */
agg_final agg_geometric_final, agg_harmonic_final, agg_rms_final;      /* agg_means */
agg_final agg_twa_final, agg_twa_step_final, agg_integral_final, agg_derivative_final,
    agg_rate_final, agg_increase_final, agg_irate_final, agg_delta_final, agg_idelta_final,
    agg_interpolate_final;      /* agg_points */
agg_final agg_elapsed_in_final; /* agg_elapsed */
void agg_points_follow(void *state, const void *before);
bool agg_points_complete(void *state, const void *behind);
void agg_duration_follow(void *state, const void *before);
bool agg_duration_complete(void *state, const void *behind);
bool agg_is_fraction(const struct value *params), agg_is_percent(const struct value *params),
    agg_is_histogram(const struct value *params), agg_is_small_count(const struct value *params),
    agg_is_unit(const struct value *params);
/* What stands for many rows at once (op_summary.c). */
void agg_count_more(void *state, uint64_t count);
void agg_sum_i_more(void *state, __int128 sum, uint64_t count); /* and agg_sum_u's */
void agg_sum_d_more(void *state, double sum, uint64_t count);
enum err agg_time_final(const void *state, struct value *result); /* min/max of timestamps */

#endif
