/* sql_bench_test.c - CPU of typical statements over rows in memory, in ns per row: what the engine
 * itself costs once a source has put the data into vectors. A program, not a test: ninja -C
 * build/release src/sql_bench. */
#include "sql/test_source.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { DEVICES = 1000, ROWS_PER_DEVICE = 1080, COLUMNS = 5 };

static double cpu_ms(void)
{
    return (double)clock() * 1e3 / CLOCKS_PER_SEC;
}

static void fill(struct test_world *world)
{
    struct test_table *table = test_world_table(world, "m");
    for (int d = 0; d < DEVICES; d++) {
        char path[32];
        snprintf(path, sizeof path, "plant/d%04d", d);
        struct test_series *series = test_world_series(world, table, str_of(path));
        for (int r = 0; r < ROWS_PER_DEVICE; r++) {
            uint32_t row;
            MUST(series &&
                 test_series_row(world, table, series, (int64_t)r * 10000000000, &row) == ERR_OK);
            for (int c = 1; c <= COLUMNS; c++) {
                struct value v = {.type = TYPE_DOUBLE, .d = 20 + (r * 7 + c + d) % 100 / 10.0};
                vector_set(&series->columns[c], row, &v);
            }
        }
    }
    for (size_t s = 0; s < table->series_count; s++) /* as a store gives them: no NULLs, all good */
        for (int c = 1; c <= COLUMNS; c++) table->series[s].all_good = true;
}

static void measure(struct test_world *world, const char *text)
{
    double best = 1e9;
    for (int i = 0; i < 7; i++) {
        struct buf out = BUF_EMPTY;
        struct why why = WHY_NONE;
        double start = cpu_ms();
        enum err err = test_world_sql(world, text, strlen(text), &out, &why);
        double took = cpu_ms() - start;
        if (err) printf("%s\n", why_text(&why, err));
        if (took < best) best = took;
        buf_free(&out);
    }
    printf("%8.2f ms %7.2f ns/row  %s\n", best, best * 1e6 / ((double)DEVICES * ROWS_PER_DEVICE),
           text);
}

int main(void)
{
    static const char *const statements[] = {
        "SELECT device, window_start, avg(c1), avg(c2), avg(c3), avg(c4), avg(c5) FROM m PARTITION BY device WINDOW TUMBLE(1h) HAVING avg(c1) > 1e9",
        "SELECT device, window_start, avg(c1), avg(c2), avg(c3), avg(c4), avg(c5) FROM m PARTITION BY device WINDOW TUMBLE(1h)",
        "SELECT window_start, avg(c1), avg(c2), avg(c3), avg(c4), avg(c5) FROM m WINDOW TUMBLE(1h)",
        "SELECT count(*), avg(c1) FROM m",
        "SELECT count(*) FROM m WHERE c1 > 29 AND c2 < 25",
        "SELECT count(*) FROM m WHERE c1 * 2 + c2 > 80",
        "SELECT c1, count(*) FROM m GROUP BY c1",
        "SELECT min(c1), max(c2), stddev(c3), first(c4), last(c5) FROM m",
        "SELECT * FROM m ORDER BY c1 DESC LIMIT 10",
        "SELECT device, last(c1) FROM m GROUP BY device",
    };
    struct test_world world;
    test_world_init(&world);
    test_world_must(&world,
                    "CREATE TABLE m (c1 double, c2 double, c3 double, c4 double, c5 double)");
    fill(&world);
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
        measure(&world, statements[i]);
    test_world_free(&world);
    return 0;
}
