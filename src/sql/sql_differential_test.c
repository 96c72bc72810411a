/* sql_differential_test.c - the same statements over the same rows give the same answers here and
 * in SQLite.
 *
 * Statements and rows (with NULLs) are generated from a seed, which is printed; MILLRACE_TEST_SEED
 * replays it. Only the common subset is made: where the two differ on purpose (`/` of integers,
 * integer overflow, the type of a boolean, NULLs in ORDER BY) the generator or the comparison says
 * so. */
#include "sql/test_source.h"
#include "base/num.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sqlite3.h>
#include <cmocka.h>

enum { ROWS = 6000, STATEMENT_BYTES = 4096, RUN_SECONDS = 5 };

static uint64_t random_state;

static unsigned pick(unsigned n) /* splitmix64, S. Vigna: 0 … n - 1 */
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ z >> 31) % n);
}

/* ---- generator ---- */

static void gen_number(struct buf *b, int depth);

static void gen_condition(struct buf *b, int depth)
{
    static const char *const compare[] = {"=", "<>", "<", "<=", ">", ">="};
    switch (depth <= 0 ? pick(4) : pick(9)) {
    case 0:
        gen_number(b, depth - 1), buf_printf(b, " %s ", compare[pick(6)]), gen_number(b, depth - 1);
        break;
    case 1: buf_printf(b, "s %s 't%u'", compare[pick(6)], pick(12)); break;
    case 2:
        buf_printf(b, "%s IS %sNULL", (const char *[]){"a", "b", "x", "s"}[pick(4)],
                   pick(2) ? "NOT " : "");
        break;
    case 3:
        buf_printf(b, "a %sIN (%u, %u, %s)", pick(2) ? "NOT " : "", pick(9), pick(9),
                   pick(4) ? "3" : "NULL");
        break;
    case 4:
        buf_add_char(b, '('), gen_condition(b, depth - 1), buf_add_text(b, " AND "),
            gen_condition(b, depth - 1), buf_add_char(b, ')');
        break;
    case 5:
        buf_add_char(b, '('), gen_condition(b, depth - 1), buf_add_text(b, " OR "),
            gen_condition(b, depth - 1), buf_add_char(b, ')');
        break;
    case 6: buf_add_text(b, "NOT ("), gen_condition(b, depth - 1), buf_add_char(b, ')'); break;
    case 7: gen_number(b, depth - 1), buf_printf(b, " BETWEEN %u AND %u", pick(5), pick(20)); break;
    default:
        buf_printf(b, "s %sLIKE '%s%u%s'", pick(2) ? "NOT " : "", pick(2) ? "%" : "t", pick(10),
                   pick(2) ? "%" : "");
        break;
    }
}

static void gen_number(struct buf *b, int depth)
{
    static const char *const columns[] = {"a", "b", "x", "y"}, *const infix[] = {"+", "-", "*"};
    switch (depth <= 0 ? pick(2) : pick(9)) {
    case 0: buf_add_text(b, columns[pick(4)]); break;
    case 1: buf_printf(b, pick(3) ? "%u" : "%u.5", pick(10)); break;
    case 2:
    case 3:
        buf_add_char(b, '('), gen_number(b, depth - 1), buf_printf(b, " %s ", infix[pick(3)]),
            gen_number(b, depth - 1), buf_add_char(b, ')');
        break;
    case 4: buf_add_text(b, "abs("), gen_number(b, depth - 1), buf_add_char(b, ')'); break;
    case 5:
        buf_add_text(b, "coalesce("), gen_number(b, depth - 1), buf_add_text(b, ", "),
            gen_number(b, depth - 1), buf_add_char(b, ')');
        break;
    case 6:
        buf_add_text(b, "CASE WHEN "), gen_condition(b, depth - 1), buf_add_text(b, " THEN "),
            gen_number(b, depth - 1), buf_add_text(b, " ELSE "), gen_number(b, depth - 1),
            buf_add_text(b, " END");
        break;
    case 7:
        buf_add_text(b, "nullif("), gen_number(b, depth - 1), buf_printf(b, ", %u)", pick(10));
        break;
    default: buf_add_text(b, "(- "), gen_number(b, depth - 1), buf_add_char(b, ')'); break;
    }
}

static void gen_aggregate(struct buf *b)
{
    static const char *const names[] = {"count(",          "sum(",         "avg(", "min(", "max(",
                                        "count(DISTINCT ", "sum(DISTINCT "};
    if (pick(6) == 0) {
        buf_add_text(b, "count(*)");
        return;
    }
    buf_add_text(b, names[pick(7)]);
    gen_number(b, 2);
    buf_add_char(b, ')');
}

static void gen_where(struct buf *b)
{
    buf_add_text(b, " FROM t");
    if (pick(4)) buf_add_text(b, " WHERE "), gen_condition(b, 3);
}

static void gen_groups(struct buf *b)
{
    static const char *const keys[] = {"s", "a", "device", "a + b", "x"};
    const char *key = keys[pick(5)];
    buf_printf(b, "SELECT %s AS k, ", key);
    gen_aggregate(b);
    buf_add_text(b, ", ");
    gen_aggregate(b);
    gen_where(b);
    buf_printf(b, " GROUP BY %s", key);
    if (pick(3) == 0) buf_printf(b, " HAVING count(*) > %u", pick(20));
}

/* ---- several tables: p and q have few rows, so that joins stay small ---- */

static void gen_column(struct buf *b, const char *table)
{
    buf_printf(b, "%s.%s", table, (const char *[]){"a", "b", "x", "id"}[pick(4)]);
}

/* A condition over two tables: mostly an equality, now and then with something more. */
static void gen_join_condition(struct buf *b, const char *left, const char *right)
{
    static const char *const compare[] = {"=", "=", "=", "<", ">=", "<>"};
    if (pick(3) == 0) {
        buf_printf(b, "%s.s = %s.s", left, right);
    } else {
        gen_column(b, left), buf_printf(b, " %s ", compare[pick(6)]), gen_column(b, right);
    }
    if (pick(3) == 0) {
        buf_add_text(b, " AND ");
        gen_column(b, pick(2) ? left : right);
        buf_printf(b, " %s %u", compare[pick(6)], pick(8));
    }
    if (pick(6) == 0) buf_printf(b, " AND %s.a + %s.b > %u", left, right, pick(8));
}

static void gen_simple(struct buf *b, const char *table)
{
    static const char *const compare[] = {"=", "<>", "<", "<=", ">", ">="};
    switch (pick(5)) {
    case 0: buf_printf(b, "%s.s %s 't%u'", table, compare[pick(6)], pick(5)); break;
    case 1: gen_column(b, table), buf_printf(b, " IS %sNULL", pick(2) ? "NOT " : ""); break;
    case 2: gen_column(b, table), buf_printf(b, " IN (%u, %u)", pick(9), pick(9)); break;
    default: gen_column(b, table), buf_printf(b, " %s %u", compare[pick(6)], pick(9)); break;
    }
}

static void gen_join(struct buf *b)
{
    static const char *const kinds[] = {"JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"};
    buf_printf(b, "SELECT p.id, p.a, p.s, q.id, q.x%s FROM p ", pick(3) ? "" : ", p.a + q.b");
    if (pick(6) == 0) {
        buf_add_text(b, ", q WHERE "), gen_join_condition(b, "p", "q");
        return;
    }
    buf_printf(b, "%s q ON ", kinds[pick(4)]);
    gen_join_condition(b, "p", "q");
    if (pick(3) == 0) {
        buf_printf(b, " %s p AS r ON ", kinds[pick(2)]);
        gen_join_condition(b, pick(2) ? "p" : "q", "r");
    }
    if (pick(2)) buf_add_text(b, " WHERE "), gen_simple(b, pick(2) ? "p" : "q");
}

static void gen_using(struct buf *b)
{
    static const char *const kinds[] = {"JOIN", "LEFT JOIN", "FULL JOIN"};
    const char *column = (const char *[]){"a", "s", "b"}[pick(3)];
    buf_printf(b, "SELECT %s, p.id, q.id FROM p %s q USING (%s)", column, kinds[pick(3)], column);
}

static void gen_derived(struct buf *b)
{
    static const char *const keys[] = {"a", "s", "b"};
    const char *key = keys[pick(3)];
    bool with = pick(2), grouped = pick(2);
    buf_add_text(b, with ? "WITH d AS (" : "SELECT d.k, d.n, p.id FROM (");
    if (grouped)
        buf_printf(b, "SELECT %s AS k, count(*) AS n FROM q GROUP BY %s", key, key);
    else
        buf_printf(b, "SELECT %s%s AS k, id + b AS n FROM q", pick(3) ? "" : "DISTINCT ", key);
    if (with)
        buf_add_text(b, ") SELECT d.k, d.n, p.id FROM d");
    else
        buf_add_text(b, ") AS d");
    buf_printf(b, " %s p ON d.k = p.%s", pick(2) ? "JOIN" : "LEFT JOIN", key);
    if (pick(2)) buf_printf(b, " WHERE d.n %s %u", pick(2) ? ">" : "<=", pick(8));
    if (pick(3) == 0)
        buf_printf(b, "%s d.k IS NOT NULL", strstr(buf_cstr(b), " WHERE d") ? " AND" : " WHERE");
}

static void gen_set(struct buf *b)
{
    static const char *const operations[] = {"UNION ALL", "UNION", "EXCEPT", "INTERSECT"};
    const char *columns = (const char *[]){"a, s", "b", "x", "s, a"}[pick(4)];
    const char *operation = operations[pick(4)];
    bool outside = pick(3) == 0 && strlen(columns) == 1;
    if (outside) buf_printf(b, "SELECT %s, count(*) FROM (", columns);
    buf_printf(b, "SELECT %s FROM p WHERE ", columns), gen_simple(b, "p");
    buf_printf(b, " %s SELECT %s FROM q", operation, columns);
    if (pick(3) == 0) buf_printf(b, " %s SELECT %s FROM q WHERE q.a > 3", operation, columns);
    if (outside) buf_printf(b, ") AS u WHERE %s > 1 GROUP BY %s", columns, columns);
}

static void gen_subquery(struct buf *b)
{
    switch (pick(6)) {
    case 0:
        buf_printf(b, "SELECT id, (SELECT %s FROM q WHERE q.a = p.a) FROM p",
                   (const char *[]){"count(*)", "max(q.x)", "sum(q.b)", "min(q.s)"}[pick(4)]);
        break;
    case 1:
        buf_printf(b, "SELECT id FROM p WHERE %sEXISTS (SELECT 1 FROM q WHERE q.s = p.s AND ",
                   pick(2) ? "NOT " : "");
        gen_simple(b, "q"), buf_add_char(b, ')');
        break;
    case 2:
        buf_printf(b, "SELECT id, a FROM p WHERE a %sIN (SELECT b FROM q WHERE ",
                   pick(2) ? "NOT " : "");
        gen_simple(b, "q"), buf_add_char(b, ')');
        break;
    case 3:
        buf_printf(b, "SELECT id FROM p WHERE b %sIN (SELECT q.b FROM q WHERE q.a = p.a)",
                   pick(2) ? "NOT " : "");
        break;
    case 4:
        buf_add_text(b, "SELECT id FROM p WHERE x > (SELECT avg(x) FROM q WHERE ");
        gen_simple(b, "q"), buf_add_char(b, ')');
        break;
    default:
        buf_add_text(
            b, "SELECT s, count(*), (SELECT count(*) FROM q WHERE q.s = p.s) FROM p GROUP BY s");
    }
}

/* Ordered by id last, so that every answer is the only one. FILTER goes with what SQLite computes
 * right: 3.40 forgets it for min and max over moving frames. */
static void gen_over(struct buf *b)
{
    static const char *const functions[] = {
        "row_number()",    "rank()",         "dense_rank()", "ntile(3)",       "lag(a)",
        "lead(x, 2, 7)",   "percent_rank()", "cume_dist()",  "count(*)",       "sum(a)",
        "avg(x)",          "min(b)",         "max(s)",       "first_value(a)", "last_value(s)",
        "nth_value(b, 2)", "count(a)",       "min(x)"};
    static const char *const bounds[] = {"UNBOUNDED PRECEDING", "3 PRECEDING", "1 PRECEDING",
                                         "CURRENT ROW",         "1 FOLLOWING", "4 FOLLOWING",
                                         "UNBOUNDED FOLLOWING"};
    buf_add_text(b, "SELECT id");
    for (unsigned i = 0, n = 1 + pick(3); i < n; i++) {
        unsigned from = pick(6), to = from > 3 ? from + pick(7 - from) : 3 + pick(4);
        unsigned function = pick(18), unit = pick(3);
        if (to == 0) to = 3;
        buf_printf(b, ", %s%s OVER (", functions[function],
                   function >= 8 && function <= 10 && pick(4) == 0 ? " FILTER (WHERE b > 2)" : "");
        if (pick(2))
            buf_printf(b, "PARTITION BY %s ", (const char *[]){"s", "a", "device"}[pick(3)]);
        if (unit == 0) /* whole numbers: RANGE with a distance */
            buf_printf(b, "ORDER BY id %sRANGE", pick(2) ? "DESC " : "");
        else
            buf_printf(b, "ORDER BY %s %s, id %s", (const char *[]){"a", "x", "s"}[pick(3)],
                       pick(2) ? "NULLS FIRST" : "DESC NULLS LAST", unit == 1 ? "ROWS" : "GROUPS");
        buf_printf(b, " BETWEEN %s AND %s)", bounds[from], bounds[to]);
    }
    buf_add_text(b, " FROM p");
    if (pick(3) == 0) buf_add_text(b, " WHERE "), gen_simple(b, "p");
}

static void gen_statement(struct buf *b)
{
    static void (*const more[])(struct buf *) = {gen_join,    gen_join, gen_using,
                                                 gen_derived, gen_set,  gen_subquery,
                                                 gen_over,    gen_over, gen_subquery};
    if (pick(4)) {
        more[pick(sizeof more / sizeof more[0])](b);
        return;
    }
    switch (pick(5)) {
    case 0:
        buf_add_text(b, "SELECT device, s, ");
        gen_number(b, 4);
        gen_where(b);
        break;
    case 1: gen_groups(b); break;
    case 2:
        buf_add_text(b, "SELECT ");
        gen_aggregate(b);
        buf_add_text(b, ", ");
        gen_aggregate(b);
        gen_where(b);
        break;
    case 3:
        buf_add_text(b, "SELECT DISTINCT s, a");
        gen_where(b);
        break;
    default: /* a total order, so that LIMIT means the same rows */
        buf_add_text(b, "SELECT a, x, s, id");
        gen_where(b);
        buf_printf(b, " ORDER BY %s %s, id LIMIT %u OFFSET %u",
                   (const char *[]){"a", "x", "s"}[pick(3)],
                   pick(2) ? "NULLS FIRST" : "DESC NULLS LAST", pick(40), pick(10));
    }
}

/* ---- both worlds ---- */

static void fill(struct test_world *world, sqlite3 *db, const char *table, int rows)
{
    struct buf ours = BUF_EMPTY, theirs = BUF_EMPTY, text = BUF_EMPTY;
    buf_printf(&text, "CREATE TABLE %s (id bigint, a bigint, b bigint, x double, y double, s text)",
               table);
    test_world_must(world, buf_cstr(&text));
    buf_clear(&text);
    buf_printf(
        &text,
        "CREATE TABLE %s (device TEXT, id INTEGER, a INTEGER, b INTEGER, x REAL, y REAL, s TEXT)",
        table);
    assert_int_equal(sqlite3_exec(db, buf_cstr(&text), 0, 0, 0), SQLITE_OK);
    buf_printf(&ours, "INSERT INTO %s (time, device, id, a, b, x, y, s) VALUES ", table);
    buf_printf(&theirs, "INSERT INTO %s VALUES ", table);
    for (int i = 0; i < rows; i++) {
        struct buf row = BUF_EMPTY;
        buf_printf(&row, "'d%d', %d, ", i % 4, i);
        for (int c = 0; c < 2; c++)
            buf_printf(&row, pick(6) ? "%d, " : "NULL, ", (int)pick(12) - 2);
        for (int c = 0; c < 2; c++)
            buf_printf(&row, pick(6) ? "%d.%u, " : "NULL, ", (int)pick(20) - 5, pick(4) * 25);
        buf_printf(&row, pick(6) ? "'t%u'" : "NULL", pick(rows > 1000 ? 15 : 5));
        buf_printf(&ours, "%s(%d::timestamp, %s)", i ? ", " : "", i, buf_cstr(&row));
        buf_printf(&theirs, "%s(%s)", i ? ", " : "", buf_cstr(&row));
        buf_free(&row);
    }
    test_world_must(world, buf_cstr(&ours));
    assert_int_equal(sqlite3_exec(db, buf_cstr(&theirs), 0, 0, 0), SQLITE_OK);
    buf_free(&ours);
    buf_free(&theirs);
    buf_free(&text);
}

/* Rows as lines; numbers to ten significant digits, booleans as SQLite's integers. */
static void add_number(struct buf *out, double d)
{
    buf_printf(out, "%.10g", d == 0 ? 0.0 : d);
}

static enum err collect(void *context, const struct vector *columns, size_t column_count,
                        const uint16_t *selection, uint32_t row_count, struct why *why)
{
    (void)why;
    for (uint32_t k = 0; k < row_count; k++) {
        for (size_t c = 0; c < column_count; c++) {
            struct value v = vector_get(&columns[c], selection ? selection[k] : k);
            if (v.is_null)
                buf_add_text(context, "NULL");
            else if (v.type == TYPE_DOUBLE || v.type == TYPE_BIGINT)
                add_number(context, v.type == TYPE_DOUBLE ? v.d : (double)v.i);
            else
                value_add_text(context, &v);
            buf_add_char(context, c + 1 < column_count ? '|' : '\n');
        }
    }
    return ERR_OK;
}

static enum err run_ours(struct test_world *world, struct str text, struct buf *out,
                         struct why *why)
{
    struct sql_statement *statement;
    enum err err = sql_prepare(&world->context, text, &statement, why);
    if (err) return err;
    err = test_world_run(statement, collect, out, why);
    sql_close(statement);
    return err;
}

static bool run_theirs(sqlite3 *db, const char *text, struct buf *out)
{
    sqlite3_stmt *statement;
    int rc = sqlite3_prepare_v2(db, text, -1, &statement, NULL);
    if (rc != SQLITE_OK) return false;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        int columns = sqlite3_column_count(statement);
        for (int c = 0; c < columns; c++) {
            int type = sqlite3_column_type(statement, c);
            if (type == SQLITE_NULL)
                buf_add_text(out, "NULL");
            else if (type == SQLITE_TEXT)
                buf_add_text(out, (const char *)sqlite3_column_text(statement, c));
            else
                add_number(out, sqlite3_column_double(statement, c));
            buf_add_char(out, c + 1 < columns ? '|' : '\n');
        }
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Without ORDER BY the order is nobody's promise. */
static void sort_lines(struct buf *out)
{
    size_t count = 0, i = 0;
    char *text = mem_strdup(buf_cstr(out)), *save = NULL;
    for (const char *c = text; *c; c++) count += *c == '\n';
    char **lines = mem_alloc_zero(count + 1, sizeof *lines);
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        lines[i++] = line;
    qsort(lines, i, sizeof *lines, compare_lines);
    buf_clear(out);
    for (size_t l = 0; l < i; l++) buf_printf(out, "%s\n", lines[l]);
    mem_free(lines);
    mem_free(text);
}

/* The first lines in which two answers differ. */
static void print_difference(const char *ours, const char *theirs)
{
    for (int shown = 0; shown < 5 && (*ours || *theirs);) {
        size_t a = strcspn(ours, "\n"), b = strcspn(theirs, "\n");
        if (a != b || memcmp(ours, theirs, a) != 0) {
            print_error("  ours: %.*s\n  SQLite's: %.*s\n", (int)a, ours, (int)b, theirs);
            shown++;
        }
        ours += a + (ours[a] == '\n');
        theirs += b + (theirs[b] == '\n');
    }
}

static void check_statement(struct test_world *world, sqlite3 *db, const char *text)
{
    struct buf ours = BUF_EMPTY, theirs = BUF_EMPTY;
    struct why why = WHY_NONE;
    enum err err = run_ours(world, str_of(text), &ours, &why);
    bool theirs_good = run_theirs(db, text, &theirs);
    if (!strstr(text, "ORDER BY") || strstr(text, "OVER")) sort_lines(&ours), sort_lines(&theirs);
    bool same = !err && theirs_good && strcmp(buf_cstr(&ours), buf_cstr(&theirs)) == 0;
    if (!same) {
        print_error("%s\nours: %s, SQLite's: %s\n", text, err ? why_text(&why, err) : "ok",
                    theirs_good ? "ok" : sqlite3_errmsg(db));
        print_difference(buf_cstr(&ours), buf_cstr(&theirs));
    }
    buf_free(&ours);
    buf_free(&theirs);
    assert_true(same);
}

static void generated_statements_answer_as_sqlite_does(void **state)
{
    const char *given = getenv("MILLRACE_TEST_SEED");
    time_t start = time(NULL);
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)start;
    struct test_world world;
    sqlite3 *db;
    unsigned statements = 0;
    (void)state;
    print_message("MILLRACE_TEST_SEED=%llu\n", (unsigned long long)seed);
    random_state = seed;
    test_world_init(&world);
    budget_init(&world.budget, "statement", NULL, SIZE_MAX);
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA case_sensitive_like = ON", 0, 0, 0), SQLITE_OK);
    fill(&world, db, "t", ROWS);
    fill(&world, db, "p", 60);
    fill(&world, db, "q", 45);
    budget_init(&world.budget, "statement", NULL, SIZE_MAX);
    for (; time(NULL) - start < RUN_SECONDS; statements++) {
        struct buf text = BUF_EMPTY;
        gen_statement(&text);
        check_statement(&world, db, buf_cstr(&text));
        buf_free(&text);
    }
    print_message("%u statements\n", statements);
    sqlite3_close(db);
    test_world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generated_statements_answer_as_sqlite_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
