/* agg.c - the list of aggregates. See agg.h; the letters are those of func.h. */
#include "sql/agg.h"

#define MIN_MAX_BYTES 32

/* clang-format off */
static const struct aggregate aggregates[] = {
    {"count", "", 'i', 0, 8, agg_count_add, agg_count_merge, agg_count_final, "number of rows", "行数", "count(*)"},
    {"count", ".", 'i', 0, 8, agg_count_add, agg_count_merge, agg_count_final,
     "number of values that are not NULL; count(DISTINCT x) of different ones", "非 NULL 值的个数", "count(temperature)"},
    {"sum", "i", 'i', AGG_KEEPS_UNIT, 32, agg_sum_i_add, agg_sum_i_merge, agg_sum_i_final, "sum; an error beyond bigint", "总和", "sum(parts)"},
    {"sum", "D", 'D', AGG_KEEPS_UNIT, 32, agg_sum_i_add, agg_sum_i_merge, agg_sum_i_final, "sum of durations", "时长之和", "sum(received - time)"},
    {"sum", "d", 'd', AGG_KEEPS_UNIT, 16, agg_sum_d_add, agg_sum_d_merge, agg_sum_d_final, "sum", "总和", "sum(energy)"},
    {"sum", "u", 'u', AGG_KEEPS_UNIT, 32, agg_sum_u_add, agg_sum_u_merge, agg_sum_u_final, "sum; an error beyond ubigint", "总和", "sum(counter)"},
    {"avg", "d", 'd', AGG_KEEPS_UNIT, 16, agg_sum_d_add, agg_sum_d_merge, agg_avg_final, "arithmetic mean", "平均值", "avg(temperature)"},
    {"min", "i", 'i', AGG_KEEPS_UNIT, MIN_MAX_BYTES, agg_min_i_add, agg_min_i_merge, agg_min_i_final, "least value", "最小值", "min(temperature)"},
    {"min", "D", 'D', AGG_KEEPS_UNIT, MIN_MAX_BYTES, agg_min_i_add, agg_min_i_merge, agg_min_i_final, "least value", "最小值", "min(temperature)"},
    {"min", "d", 'd', AGG_KEEPS_UNIT, MIN_MAX_BYTES, agg_min_d_add, agg_min_d_merge, agg_min_d_final, "least value", "最小值", "min(temperature)"},
    {"min", "u", 'u', AGG_KEEPS_UNIT, MIN_MAX_BYTES, agg_min_u_add, agg_min_u_merge, agg_min_u_final, "least value", "最小值", "min(temperature)"},
    {"min", "T", 'T', 0, MIN_MAX_BYTES, agg_min_i_add, agg_min_i_merge, agg_time_final, "earliest time", "最早时间", "min(time)"},
    {"min", "b", 'b', 0, MIN_MAX_BYTES, agg_min_b_add, agg_min_b_merge, agg_min_b_final, "true if all are true", "全部为真时为真", "min(running)"},
    {"min", "t", 't', 0, MIN_MAX_BYTES, agg_min_s_add, agg_min_s_merge, agg_min_s_final, "first in byte order", "按字节序最小", "min(device)"},
    {"max", "i", 'i', AGG_KEEPS_UNIT, MIN_MAX_BYTES, agg_max_i_add, agg_max_i_merge, agg_max_i_final, "greatest value", "最大值", "max(temperature)"},
    {"max", "D", 'D', AGG_KEEPS_UNIT, MIN_MAX_BYTES, agg_max_i_add, agg_max_i_merge, agg_max_i_final, "greatest value", "最大值", "max(temperature)"},
    {"max", "d", 'd', AGG_KEEPS_UNIT, MIN_MAX_BYTES, agg_max_d_add, agg_max_d_merge, agg_max_d_final, "greatest value", "最大值", "max(temperature)"},
    {"max", "u", 'u', AGG_KEEPS_UNIT, MIN_MAX_BYTES, agg_max_u_add, agg_max_u_merge, agg_max_u_final, "greatest value", "最大值", "max(temperature)"},
    {"max", "T", 'T', 0, MIN_MAX_BYTES, agg_max_i_add, agg_max_i_merge, agg_time_final, "latest time", "最晚时间", "max(time)"},
    {"max", "b", 'b', 0, MIN_MAX_BYTES, agg_max_b_add, agg_max_b_merge, agg_max_b_final, "true if one is true", "任一为真时为真", "max(running)"},
    {"max", "t", 't', 0, MIN_MAX_BYTES, agg_max_s_add, agg_max_s_merge, agg_max_s_final, "last in byte order", "按字节序最大", "max(device)"},
    {"first", ".", 'A', AGG_KEEPS_UNIT | AGG_NEEDS_TIME | AGG_KEEPS_NULL, 64, agg_first_add, agg_first_merge, agg_first_final,
     "value with the earliest time; absent cells are skipped, a NULL with a reason is not", "最早的值", "first(temperature)"},
    {"last", ".", 'A', AGG_KEEPS_UNIT | AGG_NEEDS_TIME | AGG_KEEPS_NULL, 64, agg_last_add, agg_last_merge, agg_last_final,
     "value with the latest time; absent cells are skipped, a NULL with a reason is not", "最新的值", "last(temperature)"},
    {"stddev", "d", 'd', AGG_KEEPS_UNIT, 24, agg_stddev_add, agg_stddev_merge, agg_stddev_final, "standard deviation of a sample", "样本标准差", "stddev(pressure)"},
    {"stddev_samp", "d", 'd', AGG_KEEPS_UNIT, 24, agg_stddev_add, agg_stddev_merge, agg_stddev_final, "as stddev", "样本标准差", "stddev_samp(pressure)"},
    {"stddev_pop", "d", 'd', AGG_KEEPS_UNIT, 24, agg_stddev_add, agg_stddev_merge, agg_stddev_pop_final, "standard deviation of a population", "总体标准差", "stddev_pop(pressure)"},
    {"variance", "d", 'd', 0, 24, agg_stddev_add, agg_stddev_merge, agg_variance_final, "variance of a sample", "样本方差", "variance(pressure)"},
    {"var_pop", "d", 'd', 0, 24, agg_stddev_add, agg_stddev_merge, agg_var_pop_final, "variance of a population", "总体方差", "var_pop(pressure)"},
};
/* clang-format on */

const struct aggregate *aggregate_table(size_t *count)
{
    *count = sizeof aggregates / sizeof aggregates[0];
    return aggregates;
}

bool aggregate_exists(struct str name)
{
    for (size_t i = 0; i < sizeof aggregates / sizeof aggregates[0]; i++)
        if (str_is(name, aggregates[i].name)) return true;
    return false;
}
