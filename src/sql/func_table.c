/* func_table.c - the list of functions and operators. See func.h for the letters.
 *
 * Order matters only among rows of one name that cost the same number of conversions: the first
 * wins. */
#include "sql/func.h"

#define OP FN_OPERATOR
/* The six comparisons of one pair of types; in the examples A is less than B. */
#define COMPARE(NAME, ARGS, KERNEL, HELP, ZH, A, B, ANSWER)                                        \
    {                                                                                              \
        NAME, ARGS, 'b', OP, KERNEL, NULL, HELP, ZH, A " " NAME " " B, ANSWER                      \
    }
#define SIX(SUFFIX, ARGS, A, B)                                                                    \
    COMPARE("=", ARGS, compare_eq_##SUFFIX, "equal", "等于", A, B, "false"),                       \
        COMPARE("<>", ARGS, compare_ne_##SUFFIX, "not equal", "不等于", A, B, "true"),             \
        COMPARE("<", ARGS, compare_lt_##SUFFIX, "less", "小于", A, B, "true"),                     \
        COMPARE("<=", ARGS, compare_le_##SUFFIX, "less or equal", "小于等于", A, B, "true"),       \
        COMPARE(">", ARGS, compare_gt_##SUFFIX, "greater", "大于", A, B, "false"),                 \
        COMPARE(">=", ARGS, compare_ge_##SUFFIX, "greater or equal", "大于等于", A, B, "false")

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
