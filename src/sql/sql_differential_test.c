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

enum { ROWS = 6000, STATEMENT_BYTES = 4096, RUN_SECONDS = 3 };

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

static void gen_statement(struct buf *b)
{
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

static void fill(struct test_world *world, sqlite3 *db)
{
    struct buf ours = BUF_EMPTY, theirs = BUF_EMPTY;
    test_world_must(world,
                    "CREATE TABLE t (id bigint, a bigint, b bigint, x double, y double, s text)");
    assert_int_equal(
        sqlite3_exec(
            db,
            "CREATE TABLE t (device TEXT, id INTEGER, a INTEGER, b INTEGER, x REAL, y REAL, s TEXT)",
            0, 0, 0),
        SQLITE_OK);
    buf_add_text(&ours, "INSERT INTO t (time, device, id, a, b, x, y, s) VALUES ");
    buf_add_text(&theirs, "INSERT INTO t VALUES ");
    for (int i = 0; i < ROWS; i++) {
        struct buf row = BUF_EMPTY;
        buf_printf(&row, "'d%d', %d, ", i % 4, i);
        for (int c = 0; c < 2; c++)
            buf_printf(&row, pick(6) ? "%d, " : "NULL, ", (int)pick(12) - 2);
        for (int c = 0; c < 2; c++)
            buf_printf(&row, pick(6) ? "%d.%u, " : "NULL, ", (int)pick(20) - 5, pick(4) * 25);
        buf_printf(&row, pick(6) ? "'t%u'" : "NULL", pick(15));
        buf_printf(&ours, "%s(%d::timestamp, %s)", i ? ", " : "", i, buf_cstr(&row));
        buf_printf(&theirs, "%s(%s)", i ? ", " : "", buf_cstr(&row));
        buf_free(&row);
    }
    test_world_must(world, buf_cstr(&ours));
    assert_int_equal(sqlite3_exec(db, buf_cstr(&theirs), 0, 0, 0), SQLITE_OK);
    buf_free(&ours);
    buf_free(&theirs);
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

static void check_statement(struct test_world *world, sqlite3 *db, const char *text)
{
    struct buf ours = BUF_EMPTY, theirs = BUF_EMPTY;
    struct why why = WHY_NONE;
    enum err err = run_ours(world, str_of(text), &ours, &why);
    bool theirs_good = run_theirs(db, text, &theirs);
    if (!strstr(text, "ORDER BY")) sort_lines(&ours), sort_lines(&theirs);
    bool same = !err && theirs_good && strcmp(buf_cstr(&ours), buf_cstr(&theirs)) == 0;
    if (!same)
        print_error("%s\nours (%s):\n%.2000s\nSQLite's (%s):\n%.2000s\n", text, why_text(&why, err),
                    buf_cstr(&ours), theirs_good ? "ok" : sqlite3_errmsg(db), buf_cstr(&theirs));
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
    fill(&world, db);
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
