/* func_table.c - the list of functions and operators. See func.h for the letters.
 *
 * Order matters only among rows of one name that cost the same number of conversions: the first
 * wins. */
#include "sql/func.h"

#define OP FN_OPERATOR
/* The six comparisons of one pair of types; the example is that of "<". */
#define COMPARE(NAME, ARGS, KERNEL, HELP, ZH, EXAMPLE)                                             \
    {                                                                                              \
        NAME, ARGS, 'b', OP, KERNEL, NULL, HELP, ZH, EXAMPLE, ""                                   \
    }
#define SIX(SUFFIX, ARGS, EXAMPLE)                                                                 \
    COMPARE("=", ARGS, compare_eq_##SUFFIX, "equal", "等于", EXAMPLE),                             \
        COMPARE("<>", ARGS, compare_ne_##SUFFIX, "not equal", "不等于", EXAMPLE),                  \
        COMPARE("<", ARGS, compare_lt_##SUFFIX, "less", "小于", EXAMPLE),                          \
        COMPARE("<=", ARGS, compare_le_##SUFFIX, "less or equal", "小于等于", EXAMPLE),            \
        COMPARE(">", ARGS, compare_gt_##SUFFIX, "greater", "大于", EXAMPLE),                       \
        COMPARE(">=", ARGS, compare_ge_##SUFFIX, "greater or equal", "大于等于", EXAMPLE)
/* A width as a duration or a text; then a zone, an origin, an offset. */
#define BUCKET_ROW(ARGS, NAME, KERNEL, HELP, ZH, EXAMPLE)                                          \
    {                                                                                              \
        NAME, ARGS, 'T', 0, KERNEL, NULL, HELP, ZH, EXAMPLE, ""                                    \
    }
#define BUCKET_AT "timestamp '2026-11-21 03:04:05'"
#define BUCKET(NAME, KERNEL, HELP, ZH, CALL)                                                       \
    BUCKET_ROW("DT", NAME, KERNEL, HELP, ZH, CALL "(10m, " BUCKET_AT ")"),                         \
        BUCKET_ROW("DTT", NAME, KERNEL, HELP, ZH, CALL "(10m, " BUCKET_AT ", timestamp '2026-01-01 00:03:00')"), \
        BUCKET_ROW("DTD", NAME, KERNEL, HELP, ZH, CALL "(10m, " BUCKET_AT ", 3m)"),                \
        BUCKET_ROW("DTt", NAME, KERNEL, HELP, ZH, CALL "(1d, " BUCKET_AT ", 'Asia/Shanghai')"),    \
        BUCKET_ROW("DTtT", NAME, KERNEL, HELP, ZH, CALL "(1d, " BUCKET_AT ", 'Asia/Shanghai', timestamp '2026-01-01 06:00:00')"), \
        BUCKET_ROW("DTtD", NAME, KERNEL, HELP, ZH, CALL "(1d, " BUCKET_AT ", 'Asia/Shanghai', 6h)"), \
        BUCKET_ROW("tT", NAME, KERNEL, HELP, ZH, CALL "('1 month', " BUCKET_AT ")"),               \
        BUCKET_ROW("tTT", NAME, KERNEL, HELP, ZH, CALL "('10 m', " BUCKET_AT ", timestamp '2026-01-01 00:03:00')"), \
        BUCKET_ROW("tTD", NAME, KERNEL, HELP, ZH, CALL "('10 m', " BUCKET_AT ", 3m)"),             \
        BUCKET_ROW("tTt", NAME, KERNEL, HELP, ZH, CALL "('1 month', " BUCKET_AT ", 'Asia/Shanghai')"), \
        BUCKET_ROW("tTtT", NAME, KERNEL, HELP, ZH, CALL "('1 day', " BUCKET_AT ", 'Asia/Shanghai', timestamp '2026-01-01 06:00:00')"), \
        BUCKET_ROW("tTtD", NAME, KERNEL, HELP, ZH, CALL "('1 day', " BUCKET_AT ", 'Asia/Shanghai', 6h)")

/* clang-format off */
static const struct function functions[] = {
#include "sql/func_rows_operators.h"
#include "sql/func_rows_text.h"
#include "sql/func_rows_number.h"
#include "sql/func_rows_time.h"
#include "sql/func_rows_plant.h"
#include "sql/func_rows_rest.h"
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
