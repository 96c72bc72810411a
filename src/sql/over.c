/* over.c - the table of window functions. See over.h. */
#include "sql/over.h"

/* clang-format off */
static const struct over_function functions[] = {
    {"row_number", "", 'i', OVER_ROW_NUMBER, "number of the row in its partition, from 1", "分区内的行号，从 1 起",
     "row_number() OVER (PARTITION BY device ORDER BY time)", "1\n2\n3\n4\n1"},
    {"rank", "", 'i', OVER_RANK, "row_number of the first of its peers: with gaps", "名次，并列后留空", "rank() OVER (ORDER BY temperature DESC)", "5\n4\n3\n1\n2"},
    {"dense_rank", "", 'i', OVER_DENSE_RANK, "rank without gaps", "名次，不留空", "dense_rank() OVER (ORDER BY temperature DESC)", "5\n4\n3\n1\n2"},
    {"percent_rank", "", 'd', OVER_PERCENT_RANK, "(rank - 1) / (rows - 1)", "相对名次", "percent_rank() OVER (ORDER BY temperature)", "0\n0.25\n0.5\n1\n0.75"},
    {"cume_dist", "", 'd', OVER_CUME_DIST, "share of the rows that are not behind this one", "累积分布", "cume_dist() OVER (ORDER BY temperature)", "0.2\n0.4\n0.6\n1\n0.8"},
    {"ntile", "i", 'i', OVER_NTILE, "number of the part when the rows are dealt into n equal ones", "等分为 n 份后的份号", "ntile(4) OVER (ORDER BY temperature)", "1\n1\n2\n4\n3"},
    {"lag", "A|iA", 'A', OVER_LAG, "the value n rows before (1), else the third argument", "之前第 n 行的值", "lag(temperature) OVER (PARTITION BY device ORDER BY time)", "NULL\n20\n22\n25\nNULL"},
    {"lead", "A|iA", 'A', OVER_LEAD, "the value n rows behind (1), else the third argument", "之后第 n 行的值", "lead(temperature, 2, 0) OVER (PARTITION BY device ORDER BY time)", "25\nNULL\n0\n0\n0"},
    {"first_value", "A", 'A', OVER_FIRST_VALUE, "value of the frame's first row", "窗口首行的值", "first_value(temperature) OVER (PARTITION BY device ORDER BY time)", "20\n20\n20\n20\n30"},
    {"last_value", "A", 'A', OVER_LAST_VALUE, "value of the frame's last row", "窗口末行的值",
     "last_value(temperature) OVER (PARTITION BY device ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)", "NULL\nNULL\nNULL\nNULL\n30"},
    {"nth_value", "Ai", 'A', OVER_NTH_VALUE, "value of the frame's n-th row", "窗口第 n 行的值", "nth_value(temperature, 2) OVER (PARTITION BY device ORDER BY time)", "NULL\n22\n22\n22\nNULL"},
};
/* clang-format on */

const struct over_function *over_table(size_t *count)
{
    *count = sizeof functions / sizeof functions[0];
    return functions;
}

const struct over_function *over_find(struct str name)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (str_is(name, functions[i].name)) return &functions[i];
    return NULL;
}
