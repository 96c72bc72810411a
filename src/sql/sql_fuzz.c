/* sql_fuzz.c - property: whatever the text, a statement ends with rows or with an error that has a
 * text and a position inside the statement; nothing leaks (test_world_sql checks tables, scans and
 * budget).
 *
 * Statements may change the world, so it is made anew for each input; the input may hold several
 * statements separated by a zero byte. */
/* covers: src/sql/lex.c src/sql/parse.c src/sql/parse_expr.c src/sql/parse_select.c */
/* covers: src/sql/parse_stmt.c src/sql/bind_expr.c src/sql/bind_call.c src/sql/bind_group.c */
/* covers: src/sql/bind_select.c src/sql/bind_where.c src/sql/bind_from.c src/sql/bind_name.c */
/* covers: src/sql/bind_push.c src/sql/bind_query.c src/sql/bind_over.c src/sql/parse_from.c */
/* covers: src/sql/parse_query.c src/sql/regex.c src/sql/follow.c */
#include "sql/follow.h"
#include "sql/test_source.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

/* What sinks ask of a text before it runs. */
static void look_whether_followed(struct str text)
{
    struct sql_follow follow;
    struct why why = WHY_NONE;
    struct arena arena;
    arena_init(&arena, NULL);
    enum err err = sql_follow(text, &arena, &follow, &why);
    if (err && (!why.text[0] || why.position < -1 || why.position > (int32_t)text.size)) abort();
    if (!err && ((size_t)follow.items_at > text.size || !follow.table.size)) abort();
    arena_free(&arena);
}

static void prepare(struct test_world *world)
{
    test_world_init(world);
    world->budget_bytes = 4 << 20;
    world->mono_step_ns = 1;
    world->context.deadline_mono_ns = 200; /* looks at the clock */
    test_world_must(
        world,
        "CREATE TABLE t (a bigint, x double, s text, b bool, u ubigint, w timestamp, y bytes)");
    test_world_must(
        world,
        "INSERT INTO t (time, device, label.site, a, x, s, b, u, w) VALUES "
        "('1970-01-01T00:00:00Z', 'd1', 'sz', 1, 1.5, 'one', true, 1, '2026-01-01'),"
        "('1970-01-01T00:00:07Z', 'd1', 'sz', -9223372036854775808, NULL, '', false, 18446744073709551615, NULL),"
        "('1970-01-01T00:00:12Z', 'd1', 'sz', NULL, -1e308, 'zwölf', NULL, 0, '1677-09-22')");
    test_world_must(
        world,
        "INSERT INTO t (time, device, a, x) VALUES ('2262-04-11', 'd2', 9223372036854775807, 1e308)");
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct test_world world;
    const char *at = (const char *)bytes, *end = at + size;
    prepare(&world);
    while (at < end) {
        const char *stop = memchr(at, 0, (size_t)(end - at));
        size_t length = stop ? (size_t)(stop - at) : (size_t)(end - at);
        look_whether_followed((struct str){at, length});
        struct buf out = BUF_EMPTY;
        struct why why = WHY_NONE;
        enum err err = test_world_sql(&world, at, length, &out, &why);
        if (err && (!why.text[0] || why.position < -1 || why.position > (int32_t)length)) abort();
        buf_free(&out);
        at += length + 1;
    }
    test_world_free(&world);
    return 0;
}
