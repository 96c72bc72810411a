/* reference.c - see reference.h: the tables of the engine one behind the other, and the windows,
 * which are syntax and stand in no table; the statements last. */
#include "sql/reference.h"
#include "sql/agg.h"
#include "sql/func.h"
#include "sql/over.h"
#include "sql/series.h"

const char *const reference_demo[] = {
    "CREATE TABLE demo (temperature double, pressure double, parts bigint, counter ubigint, running bool, mode text)",
    "INSERT INTO demo (time, device, temperature, pressure, parts, counter, running, mode) VALUES "
    "('1970-01-01T00:00:00Z', 'p1', 20, 1, 10, 100, true, 'auto'), "
    "('1970-01-01T00:00:05Z', 'p1', 22, 2, 20, 130, true, 'auto'), "
    "('1970-01-01T00:00:12Z', 'p1', 25, NULL, 30, 10, false, 'manual'), "
    "('1970-01-01T00:00:30Z', 'p1', NULL, 4, 40, 50, true, 'auto'), "
    "('1970-01-01T00:00:04Z', 'p2', 30, 5, 1, 7, false, 'auto')",
    NULL,
};

#define COUNTS(CLAUSE) "SELECT window_start, count(*) FROM demo WHERE device = 'p1' " CLAUSE
#define T(SECONDS)     "1970-01-01T00:00:" SECONDS "Z|"

/* clang-format off */
static const struct reference_row windows[] = {
    {"window", "TUMBLE(width [, offset]) [TIME ZONE '…']", "", 0,
     "windows of equal width, aligned to 1970 or to the zone's days, Mondays, months (1d, 1w, 1mo, 1y). Also INTERVAL(10s) (TDengine), TUMBLINGWINDOW(ss, 10) (eKuiper), GROUP BY time_bucket('10 s', time) (Timescale)",
     "等宽窗口；1d、1w、1mo、1y 按时区日历", COUNTS("WINDOW TUMBLE(10s)"), T("00") "2\n" T("10") "1\n" T("30") "1", true},
    {"window", "HOP(size, step)", "", 0, "windows of one size that begin every step, so that they overlap. Also INTERVAL(20s) SLIDING(10s), HOPPINGWINDOW(ss, 20, 10)",
     "跳动窗口", COUNTS("WINDOW HOP(20s, 10s) ORDER BY 1"), "1969-12-31T23:59:50Z|2\n" T("00") "3\n" T("10") "1\n" T("20") "1\n" T("30") "1", true},
    {"window", "SLIDE(width)", "", 0, "one result per row, over the rows of the last so long. Also SLIDINGWINDOW(ss, 10)", "滑动窗口（每行一个结果）",
     "SELECT window_end, count(*) FROM demo WHERE device = 'p1' WINDOW SLIDE(10s)", T("00") "1\n" T("05") "2\n" T("12") "2\n" T("30") "1", true},
    {"window", "SESSION(gap [, longest])", "", 0, "rows that follow each other without a longer gap. Also SESSION(time, 10s), SESSIONWINDOW(ss, 60, 10)", "会话窗口",
     COUNTS("WINDOW SESSION(10s)"), T("00") "3\n" T("30") "1", true},
    {"window", "COUNT(n [, step])", "", 0, "so many rows; with a step a window begins every so many rows. Also COUNT_WINDOW(3), COUNTWINDOW(3)", "计数窗口",
     COUNTS("WINDOW COUNT(3)"), T("00") "3\n" T("30") "1", true},
    {"window", "STATE(expression)", "", 0, "rows while the value stays the same; rows where it is NULL belong to none. Also STATE_WINDOW(mode)", "状态窗口",
     "SELECT window_start, mode, count(*) FROM demo WHERE device = 'p1' WINDOW STATE(mode)", T("00") "auto|2\n" T("12") "manual|1\n" T("30") "auto|1", true},
    {"window", "EVENT(START a END b)", "", 0, "from a row where a is true to the next where b is true, both included. Also EVENT_WINDOW START WITH a END WITH b", "事件窗口",
     COUNTS("WINDOW EVENT(START parts > 10 END NOT running)"), T("05") "2\n" T("30") "1", true},
    {"window", "FILL(prev | next | linear | null | constant, …)", "", 0, "makes the windows that have no rows, from WHERE's lower to its upper bound or from a group's first to its last window, and the values that a window lacks", "填充空窗口",
     "SELECT window_start, avg(temperature) FROM demo WHERE device = 'p1' WINDOW TUMBLE(10s) FILL(prev)", T("00") "21\n" T("10") "25\n" T("20") "25\n" T("30") "25", true},
    {"window", "time_bucket_gapfill, locf, interpolate", "", 0, "Timescale's way to fill: GROUP BY the first, the others around aggregates", "Timescale 的填充写法",
     "SELECT time_bucket_gapfill('10 s', time) AS w, locf(avg(temperature)) FROM demo WHERE device = 'p1' GROUP BY w", T("00") "21\n" T("10") "25\n" T("20") "25\n" T("30") "25", true},
    {"window", "window_start, window_end, window_duration", "", 0, "the window's bounds; of SESSION, COUNT, STATE and EVENT the times of the first and the last row. Also _wstart, _wend, _wduration", "窗口的起点、终点与时长",
     "SELECT window_start, window_end FROM demo WHERE device = 'p1' WINDOW SESSION(10s)", T("00") "1970-01-01T00:00:12Z\n" T("30") "1970-01-01T00:00:30Z", true},
};
/* clang-format on */
enum { WINDOW_ROWS = sizeof windows / sizeof windows[0] };

/* They stand last, for they change things; in this order they can be run. */
/* clang-format off */
#define STATEMENT(NAME, HELP, ZH, EXAMPLE, ANSWER) {"statement", NAME, "", 0, HELP, ZH, EXAMPLE, ANSWER, true}
static const struct reference_row statements[] = {
    STATEMENT("SELECT … FROM … WHERE … GROUP BY … HAVING … ORDER BY … LIMIT … OFFSET …", "rows, or groups of rows", "查询",
              "SELECT device, max(temperature) AS hottest FROM demo WHERE running GROUP BY device HAVING max(temperature) > 1 ORDER BY hottest DESC LIMIT 1", "p1|22"),
    STATEMENT("SELECT DISTINCT [ON (…)] …", "rows that differ; ON: the first of each", "去重",
              "SELECT DISTINCT ON (device) device, time, parts FROM demo ORDER BY device, time DESC", "p1|" T("30") "40\np2|" T("04") "1"),
    STATEMENT("… aggregate(…) FILTER (WHERE …)", "the aggregate over some of the rows", "带条件的聚合",
              "SELECT count(*) FILTER (WHERE running) AS running, count(*) FROM demo", "3|5"),
    STATEMENT("… [INNER | LEFT | RIGHT | FULL | CROSS | NATURAL] JOIN … ON … | USING (…)", "rows of two tables or queries side by side", "连接",
              "SELECT d.time, d.parts FROM demo AS d JOIN (VALUES ('auto', 15)) AS q (mode, least) ON d.mode = q.mode WHERE d.parts > q.least ORDER BY 1", T("05") "20\n" T("30") "40"),
    STATEMENT("… ASOF [LEFT] JOIN … ON a.time >= b.time AND …", "with each row the latest of the other side", "按时间就近连接",
              "SELECT a.time, b.parts FROM demo AS a ASOF JOIN demo AS b ON a.time >= b.time AND b.device = 'p2' WHERE a.device = 'p1' ORDER BY a.time",
              T("05") "1\n" T("12") "1\n" T("30") "1"),
    STATEMENT("WITH name AS (SELECT …) SELECT …", "queries with names", "公用表表达式",
              "WITH hot AS (SELECT device, temperature FROM demo WHERE temperature > 21) SELECT device, count(*) FROM hot GROUP BY device ORDER BY device", "p1|2\np2|1"),
    STATEMENT("(SELECT …), EXISTS (…), IN (SELECT …)", "queries inside expressions", "子查询", "SELECT device FROM demo WHERE parts = (SELECT max(parts) FROM demo)", "p1"),
    STATEMENT("… UNION | EXCEPT | INTERSECT [ALL] …, VALUES (…)", "rows of several queries", "集合运算", "SELECT 'p1' AS name UNION ALL VALUES ('p2') ORDER BY name", "p1\np2"),
    STATEMENT("EXPLAIN [ANALYZE] …", "how a query is answered; ANALYZE runs and measures it", "查询计划", "EXPLAIN SELECT avg(parts) FROM demo",
              "project avg(cast(parts))\n  aggregate\n    scan demo\n      columns parts"),
    STATEMENT("SHOW TABLES", "the tables; also SHOW FUNCTIONS", "列出表", "SHOW TABLES", "public|demo|"),
    STATEMENT("CREATE TABLE name (column type [UNIT '…'] [COMMENT '…'], …)", "makes a table; time and device are always there", "建表", "CREATE TABLE press (t double UNIT '°C', n bigint)", ""),
    STATEMENT("DESCRIBE name", "a table's columns", "表结构", "DESCRIBE press",
              "time|timestamp||of the measurement (UTC)\ndevice|text||path of the device\nquality|text||worst quality among the columns read; quality(column) gives one\nreceived|timestamp||when the row came to its node\nt|double|°C|\nn|bigint||"),
    STATEMENT("INSERT INTO name (time, device, …) VALUES (…), …", "writes rows; one of the same time and device is replaced in the columns named", "写入", "INSERT INTO press (time, device, t, n) VALUES ('2026-11-21', 'p1', 20.5, 1)", ""),
    STATEMENT("INSERT INTO name (…) SELECT …", "writes the rows of a query", "写入查询结果", "INSERT INTO press (time, device, t) SELECT time, device, temperature FROM demo", ""),
    STATEMENT("CHECKPOINT", "everything written so far goes to parts", "将已写入的数据落为数据文件", "CHECKPOINT", ""),
    STATEMENT("VACUUM", "a CHECKPOINT; then small parts are merged and deleted rows go", "合并小数据文件并清除已删除的行", "VACUUM", ""),
    STATEMENT("CONFIRM CLOCK", "a CHECKPOINT that says the clock is right, so that retention goes on (SHOW HEALTH says when it stands still)", "确认时钟正确，恢复按保留期清理", "CONFIRM CLOCK", ""),
    STATEMENT("DELETE FROM name WHERE …", "deletes rows by time and device", "删除", "DELETE FROM press WHERE time < '2000-01-01'", ""),
    STATEMENT("ALTER TABLE name ADD COLUMN … | RENAME COLUMN … TO … | ALTER COLUMN … TYPE … | SET (retention = …, rollups = …)", "changes a table; rollups = '1m,1h' keeps windowed aggregates of it", "修改表；rollups 指定按窗口保存的汇总", "ALTER TABLE press ADD COLUMN m text", ""),
    STATEMENT("COMMENT ON TABLE name IS '…' | COMMENT ON COLUMN name.column IS '…'", "sets a description; NULL takes it away", "说明", "COMMENT ON COLUMN press.t IS 'at the die'", ""),
    STATEMENT("CREATE STABLE name (time timestamp, column type, …) TAGS (name type, …)", "a table; its tags are labels, which come with the devices", "建超级表（标签即 label）", "CREATE STABLE meters (time timestamp, volts double) TAGS (site varchar(20))", ""),
    STATEMENT("DROP TABLE [IF EXISTS] name", "drops a table with its rows", "删除表", "DROP TABLE press", ""),
};
/* clang-format on */
enum { STATEMENT_ROWS = sizeof statements / sizeof statements[0] };

size_t reference_count(void)
{
    size_t aggregates, series, functions, over;
    (void)aggregate_table(&aggregates);
    (void)over_table(&over);
    (void)series_table(&series);
    (void)function_table(&functions);
    return WINDOW_ROWS + aggregates + over + series + functions + STATEMENT_ROWS;
}

struct reference_row reference_at(size_t i)
{
    size_t count;
    if (i < WINDOW_ROWS) return windows[i];
    i -= WINDOW_ROWS;
    const struct aggregate *a = aggregate_table(&count);
    if (i < count)
        return (struct reference_row){"aggregate",  a[i].name,   a[i].args,
                                      a[i].result,  a[i].help,   a[i].help_zh,
                                      a[i].example, a[i].answer, true};
    i -= count;
    const struct over_function *o = over_table(&count);
    if (i < count)
        return (struct reference_row){"window function", o[i].name,   o[i].args,
                                      o[i].result,       o[i].help,   o[i].help_zh,
                                      o[i].example,      o[i].answer, true};
    i -= count;
    const struct series_function *s = series_table(&count);
    if (i < count)
        return (struct reference_row){"row function", s[i].name,   s[i].args,
                                      s[i].result,    s[i].help,   s[i].help_zh,
                                      s[i].example,   s[i].answer, true};
    i -= count;
    const struct function *f = function_table(&count);
    if (i >= count) {
        MUST(i - count < STATEMENT_ROWS);
        return statements[i - count];
    }
    return (struct reference_row){f[i].flags & FN_OPERATOR ? "operator" : "function",
                                  f[i].name,
                                  f[i].args,
                                  f[i].result,
                                  f[i].help,
                                  f[i].help_zh,
                                  f[i].example,
                                  f[i].answer,
                                  false};
}

void reference_add_types(struct buf *buf, const char *letters)
{
    bool first = true;
    for (const char *c = letters; *c; c++) {
        if (*c == '|') continue;
        if (*c == '*') {
            buf_add_text(buf, ", ...");
            continue;
        }
        enum type type = function_letter_type(*c);
        if (!first) buf_add_text(buf, ", ");
        buf_add_text(buf, *c == 'D' ? "duration" : type == TYPE_NONE ? "any" : type_name(type));
        first = false;
    }
}
