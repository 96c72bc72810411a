/* series.c - see series.h. NULLs are passed over: the row gets NULL, the state stays. */
#include "sql/series.h"
#include <math.h>
#include <string.h>

#define EACH_ROW(row)                                                                              \
    for (uint32_t k = 0, row; k < run->view->selected && (row = view_row(run->view, k), true); k++)

static bool is_null(const struct series_run *run, uint32_t row)
{
    return run->value->type == TYPE_NONE || vector_is_null(run->value, row);
}

static double number(const struct series_run *run, uint32_t row)
{
    return run->value->d[vector_at(run->value, row)];
}

/* Gives the row a number, if it is one. */
static void put(struct vector *out, uint32_t row, double d)
{
    out->null[row] = (uint8_t)(isfinite(d) ? 0 : 1);
    out->d[row] = isfinite(d) ? d : 0;
}

/* ---- from one value to the next ---- */

struct previous {
    bool any;
    int64_t time;
    union {
        double d;
        int64_t i;
    };
};

static enum err diff_d(void *state, const struct series_run *run, struct vector *out)
{
    struct previous *p = state;
    EACH_ROW(row)
    {
        if (is_null(run, row)) continue;
        if (p->any) put(out, row, number(run, row) - p->d);
        p->any = true;
        p->d = number(run, row);
    }
    return ERR_OK;
}

static enum err diff_i(void *state, const struct series_run *run, struct vector *out)
{
    struct previous *p = state;
    EACH_ROW(row)
    {
        if (is_null(run, row)) continue;
        int64_t v = run->value->i[vector_at(run->value, row)];
        if (p->any && !__builtin_sub_overflow(v, p->i, &out->i[row])) out->null[row] = 0;
        p->any = true;
        p->i = v;
    }
    return ERR_OK;
}

static enum err derivative(void *state, const struct series_run *run, struct vector *out)
{
    struct previous *p = state;
    double unit = run->params ? (double)run->params[0].i : 1e9;
    EACH_ROW(row)
    {
        if (is_null(run, row)) continue;
        double dt = (double)run->time[row] - (double)p->time;
        if (p->any) put(out, row, (number(run, row) - p->d) / dt * unit);
        *p = (struct previous){.any = true, .time = run->time[row], .d = number(run, row)};
    }
    return ERR_OK;
}

static enum err last_known(void *state, const struct series_run *run, struct vector *out)
{
    struct previous *p = state;
    EACH_ROW(row)
    {
        if (!is_null(run, row)) p->any = true, p->d = number(run, row);
        if (p->any) put(out, row, p->d);
    }
    return ERR_OK;
}

/* ---- sums and means ---- */

static enum err csum_d(void *state, const struct series_run *run, struct vector *out)
{
    struct previous *p = state;
    EACH_ROW(row)
    {
        if (is_null(run, row)) continue;
        p->d += number(run, row);
        put(out, row, p->d);
    }
    return ERR_OK;
}

struct ring {
    double *at;
    size_t size, count, next;
};

/* Summed anew for each row: no rounding creeps in, and n is small. */
static enum err mavg(void *state, const struct series_run *run, struct vector *out)
{
    struct ring *ring = state;
    if (!ring->at) {
        ring->size = (size_t)run->params[0].i;
        ring->at = arena_zero(run->memory, ring->size, sizeof *ring->at);
        if (!ring->at) return ERR_NO_MEMORY;
    }
    EACH_ROW(row)
    {
        double sum = 0;
        if (is_null(run, row)) continue;
        ring->at[ring->next] = number(run, row);
        ring->next = (ring->next + 1) % ring->size;
        if (ring->count < ring->size) ring->count++;
        if (ring->count < ring->size) continue;
        for (size_t i = 0; i < ring->size; i++) sum += ring->at[(ring->next + i) % ring->size];
        put(out, row, sum / (double)ring->size);
    }
    return ERR_OK;
}

static enum err ema(void *state, const struct series_run *run, struct vector *out)
{
    struct previous *p = state;
    double share = run->params[0].d;
    EACH_ROW(row)
    {
        if (is_null(run, row)) continue;
        p->d = p->any ? p->d + share * (number(run, row) - p->d) : number(run, row);
        p->any = true;
        put(out, row, p->d);
    }
    return ERR_OK;
}

/* ---- states ---- */

struct stay {
    int64_t count, since;
};

static enum err state_count(void *state, const struct series_run *run, struct vector *out)
{
    struct stay *stay = state;
    EACH_ROW(row)
    {
        if (is_null(run, row)) continue;
        stay->count = run->value->b[vector_at(run->value, row)] ? stay->count + 1 : 0;
        out->i[row] = stay->count;
        out->null[row] = 0;
    }
    return ERR_OK;
}

static enum err state_duration(void *state, const struct series_run *run, struct vector *out)
{
    struct stay *stay = state;
    EACH_ROW(row)
    {
        if (is_null(run, row)) continue;
        bool on = run->value->b[vector_at(run->value, row)] != 0;
        if (on && stay->count == 0) stay->since = run->time[row];
        stay->count = on ? stay->count + 1 : 0;
        if (on && !__builtin_sub_overflow(run->time[row], stay->since, &out->i[row]))
            out->null[row] = 0;
    }
    return ERR_OK;
}

/* clang-format off */
static const struct series_function functions[] = {
    {"diff", "i", 'i', false, diff_i, "value less the one before it", "与前一个值之差", "SELECT diff(parts) FROM demo WHERE device = 'p1'", "NULL\n10\n10\n10"},
    {"diff", "d", 'd', false, diff_d, "value less the one before it", "与前一个值之差", "SELECT diff(temperature) FROM demo WHERE device = 'p1'", "NULL\n2\n3\nNULL"},
    {"derivative", "d", 'd', true, derivative, "change per second since the value before it", "相对前一个值的每秒变化", "SELECT derivative(temperature) FROM demo WHERE device = 'p1'", "NULL\n0.4\n0.4285714285714286\nNULL"},
    {"derivative", "d|D", 'd', true, derivative, "change per unit of time", "相对前一个值的单位时间变化", "SELECT derivative(temperature, 1m) FROM demo WHERE device = 'p1'", "NULL\n24\n25.714285714285715\nNULL"},
    {"csum", "d", 'd', false, csum_d, "sum of all values so far", "累计和", "SELECT csum(parts) FROM demo WHERE device = 'p1'", "10\n30\n60\n100"},
    {"cumsum", "d", 'd', false, csum_d, "as csum", "累计和", "SELECT cumsum(parts) FROM demo WHERE device = 'p1'", "10\n30\n60\n100"},
    {"mavg", "d|i", 'd', false, mavg, "mean of the last n values; NULL until there are n", "最近 n 个值的移动平均", "SELECT mavg(parts, 2) FROM demo WHERE device = 'p1'", "NULL\n15\n25\n35"},
    {"ema", "d|d", 'd', false, ema, "exponential moving average; the share of the new value is from 0 to 1", "指数移动平均", "SELECT ema(parts, 0.5) FROM demo WHERE device = 'p1'", "10\n15\n22.5\n31.25"},
    {"last_known", "d", 'd', false, last_known, "the value, or the last one before it where it is NULL", "最近的已知值", "SELECT last_known(temperature) FROM demo WHERE device = 'p1'", "20\n22\n25\n25"},
    {"state_count", "b", 'i', false, state_count, "for how many rows the condition has been true without a break; 0: it is not", "条件连续为真的行数", "SELECT state_count(running) FROM demo WHERE device = 'p1'", "1\n2\n0\n1"},
    {"state_duration", "b", 'D', true, state_duration, "for how long the condition has been true without a break; NULL: it is not", "条件连续为真的时长", "SELECT state_duration(running) FROM demo WHERE device = 'p1'", "0\n5000000000\nNULL\n0"},
};
/* clang-format on */

const struct series_function *series_table(size_t *count)
{
    *count = sizeof functions / sizeof functions[0];
    return functions;
}

bool series_exists(struct str name)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (str_is(name, functions[i].name)) return true;
    return false;
}
