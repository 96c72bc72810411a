/* func_table.c - the list of functions and operators. See func.h for the letters.
 *
 * Order matters only among rows of one name that cost the same number of conversions: the first
 * wins. */
#include "sql/func.h"

#define OP FN_OPERATOR
#define SIX(SUFFIX, ARGS)                                                                          \
    {"=", ARGS, 'b', OP, compare_eq_##SUFFIX, NULL, "equal", "等于", "a = b"},                     \
        {"<>", ARGS, 'b', OP, compare_ne_##SUFFIX, NULL, "not equal", "不等于", "a <> b"},         \
        {"<", ARGS, 'b', OP, compare_lt_##SUFFIX, NULL, "less", "小于", "a < b"},                  \
        {"<=", ARGS, 'b', OP, compare_le_##SUFFIX, NULL, "less or equal", "小于等于", "a <= b"},   \
        {">", ARGS, 'b', OP, compare_gt_##SUFFIX, NULL, "greater", "大于", "a > b"},               \
    {                                                                                              \
        ">=", ARGS, 'b', OP, compare_ge_##SUFFIX, NULL, "greater or equal", "大于等于", "a >= b"   \
    }

#define BUCKET_ROW(NAME, ARGS, KERNEL, HELP, ZH, EXAMPLE)                                          \
    {                                                                                              \
        NAME, ARGS, 'T', 0, KERNEL, NULL, HELP, ZH, EXAMPLE                                        \
    }
/* A width as a duration or a text; then a zone, an origin, an offset. */
#define BUCKET(...)                                                                                \
    BUCKET_WITH("DT", __VA_ARGS__), BUCKET_WITH("DTT", __VA_ARGS__),                               \
        BUCKET_WITH("DTD", __VA_ARGS__), BUCKET_WITH("DTt", __VA_ARGS__),                          \
        BUCKET_WITH("DTtT", __VA_ARGS__), BUCKET_WITH("DTtD", __VA_ARGS__),                        \
        BUCKET_WITH("tT", __VA_ARGS__), BUCKET_WITH("tTT", __VA_ARGS__),                           \
        BUCKET_WITH("tTD", __VA_ARGS__), BUCKET_WITH("tTt", __VA_ARGS__),                          \
        BUCKET_WITH("tTtT", __VA_ARGS__), BUCKET_WITH("tTtD", __VA_ARGS__)
#define BUCKET_WITH(ARGS, NAME, KERNEL, HELP, ZH, EXAMPLE)                                         \
    BUCKET_ROW(NAME, ARGS, KERNEL, HELP, ZH, EXAMPLE)

/* clang-format off */
static const struct function functions[] = {
    SIX(i, "ii"), SIX(d, "dd"), SIX(u, "uu"), SIX(iu, "iu"), SIX(ui, "ui"), SIX(s, "tt"), SIX(i, "TT"), SIX(b, "bb"),
    SIX(i, "DD"), SIX(s, "yy"),

    {"+", "ii", 'i', OP, add_i, NULL, "sum", "加", "a + b"},
    {"+", "dd", 'd', OP | FN_FINITE, add_d, NULL, "sum", "加", "a + b"},
    {"+", "uu", 'u', OP, add_u, NULL, "sum", "加", "a + b"},
    {"+", "TD", 'T', OP, add_i, NULL, "later by a duration", "时间加时长", "time + 5m"},
    {"+", "DT", 'T', OP, add_i, NULL, "later by a duration", "时间加时长", "5m + time"},
    {"+", "DD", 'D', OP, add_i, NULL, "sum of durations", "时长相加", "1h + 5m"},
    {"-", "ii", 'i', OP, subtract_i, NULL, "difference", "减", "a - b"},
    {"-", "dd", 'd', OP | FN_FINITE, subtract_d, NULL, "difference", "减", "a - b"},
    {"-", "uu", 'u', OP, subtract_u, NULL, "difference", "减", "a - b"},
    {"-", "TD", 'T', OP, subtract_i, NULL, "earlier by a duration", "时间减时长", "now() - 1h"},
    {"-", "TT", 'D', OP, subtract_i, NULL, "duration between two times", "两个时间之差", "received - time"},
    {"-", "DD", 'D', OP, subtract_i, NULL, "difference of durations", "时长相减", "1h - 5m"},
    {"*", "ii", 'i', OP, multiply_i, NULL, "product", "乘", "a * b"},
    {"*", "dd", 'd', OP | FN_FINITE, multiply_d, NULL, "product", "乘", "a * b"},
    {"*", "uu", 'u', OP, multiply_u, NULL, "product", "乘", "a * b"},
    {"*", "Dd", 'D', OP, multiply_id, NULL, "a multiple of a duration", "时长的倍数", "10s * 6"},
    {"*", "dD", 'D', OP, multiply_di, NULL, "a multiple of a duration", "时长的倍数", "6 * 10s"},
    {"/", "dd", 'd', OP | FN_FINITE, divide_d, NULL, "quotient, always a double", "除，结果为 double", "a / b"},
    {"/", "Dd", 'D', OP, divide_id, NULL, "a part of a duration", "时长的几分之一", "1h / 4"},
    {"negate", "i", 'i', OP, negate_i, NULL, "negated", "取负", "-a"},
    {"negate", "d", 'd', OP, negate_d, NULL, "negated", "取负", "-a"},
    {"negate", "D", 'D', OP, negate_i, NULL, "negated", "取负", "-1h"},
    {"||", "tt", 't', OP, concat_tt, NULL, "texts joined; NULL if one is NULL", "连接文本", "a || b"},
    {"and", "bb*", 'b', OP | FN_NULLS, NULL, special_and, "true if all are true", "与", "a AND b"},
    {"or", "bb*", 'b', OP | FN_NULLS, NULL, special_or, "true if one is true", "或", "a OR b"},
    {"not", "b", 'b', OP, kernel_not, NULL, "true if false", "非", "NOT a"},
    {"is null", ".", 'b', OP | FN_NULLS, kernel_is_null, NULL, "true if NULL", "是否为 NULL", "a IS NULL"},
    {"is true", "b", 'b', OP | FN_NULLS, kernel_is_true, NULL, "true if true, not NULL", "是否为真", "a IS TRUE"},
    {"is false", "b", 'b', OP | FN_NULLS, kernel_is_false, NULL, "true if false, not NULL", "是否为假", "a IS FALSE"},
    {"in", "AA*", 'b', OP | FN_NULLS, kernel_in, NULL, "true if equal to one of the list", "是否在列表中", "a IN (1, 2)"},
    {"like", "tt", 'b', OP, like_tt, NULL, "matches a pattern: % any run, _ one character", "模式匹配", "a LIKE 'press%'"},
    {"ilike", "tt", 'b', OP, ilike_tt, NULL, "LIKE without regard to case", "不分大小写的 LIKE", "a ILIKE 'P%'"},
    {"~", "tt", 'b', OP, match_tt, NULL, "matches a regular expression", "匹配正则表达式", "mode ~ '^auto'"},
    {"~*", "tt", 'b', OP, imatch_tt, NULL, "~ without regard to case", "不分大小写的 ~", "mode ~* '^AUTO'"},
    {"!~", "tt", 'b', OP, not_match_tt, NULL, "does not match", "不匹配正则表达式", "mode !~ '^auto'"},
    {"!~*", "tt", 'b', OP, not_imatch_tt, NULL, "!~ without regard to case", "不分大小写的 !~", "mode !~* '^AUTO'"},
    {"is distinct", "AA", 'b', OP | FN_NULLS, kernel_is_distinct, NULL, "different, where NULL is a value", "不同（NULL 视为值）",
     "a IS DISTINCT FROM b"},
    {"= any", ".t", 'b', OP, any_equal_tt, NULL, "equal to one item of an array", "等于数组中的某一项", "a = ANY('{x,y}')"},
    {"subscript", "ti", 't', OP | FN_NULLS, subscript_ti, NULL, "item of an array, from 1", "数组的第 n 项", "a[1]"},
    {"array", ".*", 't', OP | FN_NULLS, array_any, NULL, "an array as text", "数组（文本形式）", "ARRAY[1, 2]"},
    {"case", "A*", 'A', OP | FN_NULLS, NULL, special_case, "the first value whose condition is true", "条件取值",
     "CASE WHEN a > 0 THEN 'on' ELSE 'off' END"},

    {"coalesce", "AA*", 'A', FN_NULLS, NULL, special_coalesce, "the first argument that is not NULL",
     "第一个非 NULL 的参数", "coalesce(temperature, 0)"},
    {"nullif", "AA", 'A', FN_NULLS, kernel_nullif, NULL, "NULL if both are equal, else the first",
     "两者相等时为 NULL，否则为第一个", "nullif(speed, 0)"},
    {"greatest", "AA*", 'A', FN_NULLS, kernel_greatest, NULL, "the greatest that is not NULL", "最大者",
     "greatest(a, b)"},
    {"least", "AA*", 'A', FN_NULLS, kernel_least, NULL, "the least that is not NULL", "最小者", "least(a, b)"},

    {"abs", "i", 'i', 0, abs_i, NULL, "without its sign", "绝对值", "abs(-3)"},
    {"abs", "d", 'd', 0, abs_d, NULL, "without its sign", "绝对值", "abs(-3.5)"},
    {"abs", "u", 'u', 0, same_u, NULL, "itself", "绝对值", "abs(counter)"},
    {"round", "i", 'i', 0, same_i, NULL, "itself", "四舍五入", "round(3)"},
    {"round", "d", 'd', 0, round_d, NULL, "nearest whole number, halves away from zero", "四舍五入取整", "round(2.5)"},
    {"round", "di", 'd', 0, round_di, NULL, "rounded to so many decimals", "四舍五入到指定小数位", "round(2.345, 2)"},
    {"floor", "d", 'd', 0, floor_d, NULL, "largest whole number not above", "向下取整", "floor(2.7)"},
    {"ceil", "d", 'd', 0, ceil_d, NULL, "smallest whole number not below", "向上取整", "ceil(2.1)"},
    {"ceiling", "d", 'd', 0, ceil_d, NULL, "as ceil", "向上取整", "ceiling(2.1)"},
    {"sqrt", "d", 'd', FN_FINITE, sqrt_d, NULL, "square root; NULL below zero", "平方根，负数为 NULL", "sqrt(2)"},
    {"power", "dd", 'd', FN_FINITE, power_d, NULL, "a to the power of b; also a ^ b", "乘方，也写作 a ^ b", "power(2, 10)"},
    {"pow", "dd", 'd', FN_FINITE, power_d, NULL, "as power", "乘方", "pow(2, 10)"},
    {"ln", "d", 'd', FN_FINITE, ln_d, NULL, "natural logarithm; NULL at and below zero", "自然对数", "ln(10)"},
    {"log", "d", 'd', FN_FINITE, log_d, NULL, "logarithm to base 10; NULL at and below zero", "常用对数", "log(1000)"},
    {"exp", "d", 'd', FN_FINITE, exp_d, NULL, "e to the power of a", "指数", "exp(1)"},
    {"sign", "d", 'd', 0, sign_d, NULL, "-1, 0 or 1", "符号", "sign(-2)"},
    {"mod", "ii", 'i', 0, mod_i, NULL, "remainder with the dividend's sign; also a % b", "余数，也写作 a % b", "mod(7, 3)"},
    {"mod", "uu", 'u', 0, mod_u, NULL, "remainder", "余数", "mod(counter, 10)"},
    {"mod", "dd", 'd', 0, mod_d, NULL, "remainder with the dividend's sign", "余数", "mod(7.5, 2)"},

    {"lower", "t", 't', 0, lower_t, NULL, "in lower case (ASCII)", "转为小写（ASCII）", "lower('AB')"},
    {"upper", "t", 't', 0, upper_t, NULL, "in upper case (ASCII)", "转为大写（ASCII）", "upper('ab')"},
    {"length", "t", 'i', 0, length_t, NULL, "number of characters", "字符数", "length('abc')"},
    {"char_length", "t", 'i', 0, length_t, NULL, "as length", "字符数", "char_length('abc')"},
    {"substr", "ti", 't', 0, substr_ti, NULL, "from character n (from 1) to the end", "从第 n 个字符起", "substr('abc', 2)"},
    {"substr", "tii", 't', 0, substr_tii, NULL, "so many characters from character n", "从第 n 个字符起取若干个", "substr('abc', 2, 1)"},
    {"trim", "t", 't', 0, trim_t, NULL, "without white space at both ends", "去掉两端空白", "trim(' a ')"},
    {"concat", ".*", 't', FN_NULLS, concat_any, NULL, "all as text, joined; NULLs count as nothing", "连接为文本，忽略 NULL",
     "concat(device, ':', temperature)"},
    {"replace", "ttt", 't', 0, replace_ttt, NULL, "every occurrence replaced", "替换全部匹配", "replace(device, '/', '.')"},
    {"starts_with", "tt", 'b', 0, starts_with_tt, NULL, "true if the text begins so", "是否以其开头", "starts_with(device, 'acme/')"},
    {"split_part", "tti", 't', 0, split_part_tti, NULL, "the n-th part; negative n from the end", "按分隔符取第 n 段",
     "split_part(device, '/', -1)"},
    {"array_to_string", "tt", 't', 0, array_to_string_tt, NULL, "items of an array joined; NULLs are left out", "连接数组各项",
     "array_to_string(ARRAY[1, 2], ', ')"},
    {"is_good", "t", 'b', 0, quality_good, NULL, "true for a quality of severity Good", "质量是否为 Good 级",
     "is_good(quality(temperature))"},

    {"now", "", 'T', FN_VOLATILE, now_, NULL, "the time at which the statement began", "语句开始的时间", "now() - 1h"},
    BUCKET("time_bucket", time_bucket_any, "start of the window of this width that holds the time; also with a time zone, an origin, an offset", "所在时间窗口的起点（可指定时区、原点、偏移）",
           "time_bucket('10 s', time)"),
    BUCKET("time_bucket_gapfill", time_bucket_any, "as time_bucket; windows without rows appear too", "同 time_bucket，并补齐空窗口", "time_bucket_gapfill('10 s', time)"),
    BUCKET("date_bin", time_bucket_any, "as time_bucket", "同 time_bucket", "date_bin('10 s', time)"),
    BUCKET("time_bucket_end", time_bucket_end_any, "end of the window of this width that holds the time", "所在时间窗口的终点", "time_bucket_end('1 month', time)"),
    {"date_trunc", "tT", 'T', 0, date_trunc_any, NULL, "start of the hour, day, week, month…", "所在小时、日、周、月……的起点",
     "date_trunc('day', time)"},
    {"date_trunc", "tTt", 'T', 0, date_trunc_any, NULL, "the same by a time zone's clock", "按时区取所在小时、日、周、月的起点",
     "date_trunc('day', time, 'Asia/Shanghai')"},
    {"date_part", "tT", 'd', 0, date_part_tT, NULL, "year, month, day, hour, dow, epoch… as a number (UTC)", "取年、月、日、时……",
     "date_part('hour', time)"},
};
/* clang-format on */

const struct function *function_table(size_t *count)
{
    *count = sizeof functions / sizeof functions[0];
    return functions;
}

enum type function_letter_type(char letter)
{
    static const struct {
        char letter;
        enum type type;
    } letters[] = {
        {'b', TYPE_BOOL},   {'i', TYPE_BIGINT},    {'u', TYPE_UBIGINT},
        {'d', TYPE_DOUBLE}, {'t', TYPE_TEXT},      {'y', TYPE_BYTES},
        {'D', TYPE_BIGINT}, {'T', TYPE_TIMESTAMP}, {'v', TYPE_DOUBLES},
    };
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        if (letters[i].letter == letter) return letters[i].type;
    return TYPE_NONE;
}
