/* func.h - the table of functions and operators, and that of casts.
 *
 * One row is one overload. The binder picks the row with the right name whose argument types cost
 * the fewest conversions; SHOW FUNCTIONS and the reference manual print the same rows. Adding a
 * function is a kernel and a row.
 *
 * Types in `args` and `result`, one letter each:
 *   b bool, i bigint, u ubigint, d double, t text, y bytes, T timestamp, v double[], D a duration
 * (bigint of ns), . anything, A any type but the same everywhere it stands; `*` behind a letter:
 * any number more. */
#ifndef SQL_FUNC_H
#define SQL_FUNC_H

#include "sql/expr.h"

enum function_flags {
    FN_OPERATOR = 1, /* written with a symbol or keyword: not in SHOW FUNCTIONS */
    FN_NULLS = 2,    /* sees NULL arguments itself; without: any NULL argument gives NULL */
    FN_FINITE = 4,   /* a result that is no finite number becomes NULL */
    FN_VOLATILE = 8, /* depends on the statement's time */
    FN_RANDOM = 16,  /* another result for each row: never folded */
};

/* Computes rows of `view` into out->data. What may take long for one row tells its steps
 * (eval_spend). out->null is set up with the arguments' NULLs (FN_NULLS:
 * points to zeroed memory). Arguments may be constants (vector.is_constant). */
typedef enum err function_kernel(struct eval *eval, const struct expr *e, const struct vector *args,
                                 const struct view *view, struct vector *out);
/* For lazy forms: evaluates the arguments itself. */
typedef enum err function_special(struct eval *eval, const struct expr *e, const struct rows *rows,
                                  const struct view *view, struct vector *out);

struct function {
    const char *name, *args;
    char result;
    unsigned flags;
    function_kernel *kernel; /* or … */
    function_special *special;
    const char *help, *help_zh;
    /* A statement, or an expression for the first row of the table `demo` (sql_reference_test.c),
     * and what it gives: lines of cells joined by '|'. */
    const char *example, *answer;
};

/* All rows; those of one name stand together. */
const struct function *function_table(size_t *count);
enum type function_letter_type(char letter); /* NONE for '.' and 'A' */

/* The conversion kernel from one type to another; NULL: there is none. */
const struct function *cast_find(enum type from, enum type to);

/* ---- kernels by file, listed in func_table.c ---- */
function_special special_and, special_or, special_case, special_coalesce, special_query;
function_kernel kernel_not, kernel_is_null, kernel_is_true, kernel_is_false, kernel_in,
    kernel_nullif, kernel_greatest, kernel_least;
function_kernel compare_eq_i, compare_ne_i, compare_lt_i, compare_le_i, compare_gt_i, compare_ge_i;
function_kernel compare_eq_u, compare_ne_u, compare_lt_u, compare_le_u, compare_gt_u, compare_ge_u;
function_kernel compare_eq_d, compare_ne_d, compare_lt_d, compare_le_d, compare_gt_d, compare_ge_d;
function_kernel compare_eq_b, compare_ne_b, compare_lt_b, compare_le_b, compare_gt_b, compare_ge_b;
function_kernel compare_eq_s, compare_ne_s, compare_lt_s, compare_le_s, compare_gt_s, compare_ge_s;
function_kernel compare_eq_iu, compare_ne_iu, compare_lt_iu, compare_le_iu, compare_gt_iu,
    compare_ge_iu;
function_kernel compare_eq_ui, compare_ne_ui, compare_lt_ui, compare_le_ui, compare_gt_ui,
    compare_ge_ui;
function_kernel add_i, subtract_i, multiply_i, add_u, subtract_u, multiply_u, add_d, subtract_d,
    multiply_d, divide_d, multiply_id, multiply_di, divide_id, mod_i, mod_u, mod_d, negate_i,
    negate_d, abs_i, abs_d, round_d, round_di, floor_d, ceil_d, sqrt_d, power_d, ln_d, log_d, exp_d,
    sign_d, same_i, same_u, quality_good;
function_kernel and_ii, or_ii, lower_t, upper_t, length_t, substr_ti, substr_tii, concat_any,
    concat_tt, trim_t, like_tt, like_escape_tt, ilike_tt, replace_ttt, starts_with_tt,
    split_part_tti;
function_kernel time_bucket_any, time_bucket_end_any, date_trunc_any, date_part_tT, now_;

/* func_array.c */
function_kernel kernel_is_distinct, any_equal_tt, array_to_string_tt, subscript_ti, array_any;
/* Adds one more item to the text of an array, which begins empty; the caller adds "}". */
void array_add_item(struct buf *buf, const struct value *value);
/* Takes the next item off an array: a text "{a,b}" or the numbers of DOUBLES. `*rest` is the whole
 * value at first (`*at` 0). A text is unescaped into `scratch`. False: no more, or no memory
 * (*failed). */
bool array_take_item(const struct value *array, size_t *at, struct arena *scratch,
                     struct value *item, bool *failed);

function_kernel acos_d, array_avg_v, array_d, array_length_v, array_max_v, array_min_v, array_rms_v,
    array_stddev_v, array_sum_v, ascii_t, asin_d, atan2_dd, atan_d, bcd_i, bit_count_i, bit_ii,
    bitand_ii, bitnot_i, bitor_ii, bits_iii, bitxor_ii, btrim_t, cbrt_d, chr_i, clamp_ddd,
    concat_ws_any, cos_d, cosh_d, date_add_Tt, date_diff_tTT, date_subtract_Tt, day_T, decode_tt,
    degrees_d, div_ii, element_vi, encode_yt, epoch_T, epoch_ms_T, format_any, gcd_ii, hex_t,
    hour_T, hypot_dd, initcap_t, json_array_any, json_array_length_t, json_element_text_ti,
    json_element_ti, json_extract_tt, json_member_text_tt, json_member_tt, json_object_any,
    json_type_t, json_valid_t, json_value_tt, lcm_ii, left_ti, log2_d, log_dd, lpad_ti, ltrim_t,
    make_timestamp_iiiiid, md5_t, minute_T, month_T, octet_length_t, overlay_ttii, pi_, quality_bad,
    quality_name_i, quality_uncertain, radians_d, random_, regexp_count_tt, regexp_ilike_tt,
    regexp_like_tt, regexp_not_ilike_tt, regexp_not_like_tt, regexp_replace_ttt, regexp_substr_tt,
    repeat_ti, reverse_t, right_ti, rpad_ti, rtrim_t, second_T, sha256_t, shift_left_ii,
    shift_right_ii, sin_d, sinh_d, strpos_tt, tan_d, tanh_d, timezone_tT, to_bcd_i, to_bin_i,
    to_char_Tt, to_char_dt, to_float_i, to_hex_i, to_number_t, to_signed_ii, to_timestamp_d, today_,
    translate_ttt, trunc_d, trunc_di, weekday_T, width_bucket_dddi, year_T;

#endif
