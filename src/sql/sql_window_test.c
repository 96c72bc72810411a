/* sql_window_test.c - windows and FILL over generated rows give what a slow, obvious model gives.
 *
 * The model knows nothing of runs, chunks or operators: it asks of every window which rows it
 * holds, by the definition of its kind, one row after the other. Rows have NULLs and absent cells
 * and come in any order; several devices; partitions by device, by a measured value, or none.
 * Windows of the calendar are asked of libc, a quarter of an hour at a time. MILLRACE_TEST_SEED
 * replays a run. */
#include "sql/test_source.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

enum { ROWS_MAX = 64, WINDOWS_MAX = 4096, LINES_MAX = 8192, RUN_SECONDS = 4 };
#define SECOND INT64_C(1000000000)

static uint64_t random_state;

static unsigned pick(unsigned n) /* splitmix64, S. Vigna: 0 … n - 1 */
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ z >> 31) % n);
}

/* ---- rows ---- */

struct row {
    int device;
    int64_t t; /* seconds */
    bool has_x, has_n;
    int x, n;
};

static struct row rows[ROWS_MAX];
static int row_count;

static int by_time(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->t != y->t) return x->t < y->t ? -1 : 1;
    return x->device - y->device;
}

static bool is_known(int device, int64_t t)
{
    for (int i = 0; i < row_count; i++)
        if (rows[i].device == device && rows[i].t == t) return true;
    return false;
}

/* Inserts them in the order of making, which is not that of time; then sorts the model's copy. */
static void make_rows(struct test_world *world, int64_t from, unsigned span, unsigned step)
{
    char text[512];
    row_count = 0;
    test_world_init(world);
    test_world_must(world, "CREATE TABLE m (x double, n bigint)");
    for (unsigned i = pick(ROWS_MAX); i > 0; i--) {
        struct row row = {.device = (int)pick(3), .t = from + (int64_t)(pick(span) * step)};
        if (is_known(row.device, row.t)) continue;
        row.has_x = pick(4), row.has_n = pick(5);
        row.x = (int)pick(20), row.n = (int)pick(6);
        int size =
            snprintf(text, sizeof text,
                     "INSERT INTO m (time, device%s, x) VALUES (%lld::bigint::timestamp, 'd%d'",
                     row.has_n || pick(2) ? ", n" : "", (long long)row.t * SECOND, row.device);
        bool lists_n = strstr(text, ", n,") != NULL;
        if (lists_n && row.has_n)
            size += snprintf(text + size, sizeof text - (size_t)size, ", %d", row.n);
        if (lists_n && !row.has_n)
            size += snprintf(text + size, sizeof text - (size_t)size, ", NULL");
        if (row.has_x)
            snprintf(text + size, sizeof text - (size_t)size, ", %d)", row.x);
        else
            snprintf(text + size, sizeof text - (size_t)size, ", NULL)");
        test_world_must(world, text);
        rows[row_count++] = row;
    }
    qsort(rows, (size_t)row_count, sizeof rows[0], by_time);
}

/* ---- windows as sets of rows ---- */

struct window {
    int partition;
    int64_t start, end;
    bool holds[ROWS_MAX];
    int count;
};

static struct window windows[WINDOWS_MAX];
static int window_count;

static struct window *new_window(int partition, int64_t start, int64_t end)
{
    assert_true(window_count < WINDOWS_MAX);
    windows[window_count] = (struct window){.partition = partition, .start = start, .end = end};
    return &windows[window_count++];
}

static void put(struct window *w, int i)
{
    w->holds[i] = true;
    w->count++;
}

/* Bounds from the rows themselves. */
static void bound_by_rows(struct window *w)
{
    w->start = INT64_MAX, w->end = INT64_MIN;
    for (int i = 0; i < row_count; i++) {
        if (!w->holds[i]) continue;
        if (rows[i].t < w->start) w->start = rows[i].t;
        if (rows[i].t > w->end) w->end = rows[i].t;
    }
}

enum partition { BY_NOTHING, BY_DEVICE, BY_N };

static int partition_of(enum partition by, const struct row *row)
{
    return by == BY_NOTHING ? 0 : by == BY_DEVICE ? row->device : row->has_n ? row->n : -1;
}

/* ---- kinds: the statement's text and the model; `mine` lists a partition's rows in order ---- */

struct model {
    char clause[128];
    int64_t a, b;
};

static void hop(const struct model *m, int partition, const int *mine, int count)
{
    for (int64_t start = -400; start < 400; start++) {
        if ((start % m->b + m->b) % m->b != 0) continue;
        struct window *w = new_window(partition, start, start + m->a);
        for (int i = 0; i < count; i++)
            if (rows[mine[i]].t >= start && rows[mine[i]].t < start + m->a) put(w, mine[i]);
        if (w->count == 0) window_count--;
    }
}

static void slide(const struct model *m, int partition, const int *mine, int count)
{
    for (int i = 0; i < count; i++) {
        int64_t end = rows[mine[i]].t;
        struct window *w = new_window(partition, end - m->a, end);
        for (int j = 0; j < count; j++)
            if (rows[mine[j]].t > end - m->a && rows[mine[j]].t <= end) put(w, mine[j]);
    }
}

static void session(const struct model *m, int partition, const int *mine, int count)
{
    struct window *w = NULL;
    for (int i = 0; i < count; i++) {
        if (i == 0 || rows[mine[i]].t - rows[mine[i - 1]].t > m->a) w = new_window(partition, 0, 0);
        put(w, mine[i]);
        bound_by_rows(w);
    }
}

static void counted(const struct model *m, int partition, const int *mine, int count)
{
    for (int first = 0; first < count; first += (int)m->b) {
        struct window *w = new_window(partition, 0, 0);
        for (int i = first; i < count && i < first + m->a; i++) put(w, mine[i]);
        bound_by_rows(w);
    }
}

static void state_of_n(const struct model *m, int partition, const int *mine, int count)
{
    struct window *w = NULL;
    int last = 0;
    (void)m;
    for (int i = 0; i < count; i++) {
        if (!rows[mine[i]].has_n) continue;
        if (!w || rows[mine[i]].n != last) w = new_window(partition, 0, 0);
        last = rows[mine[i]].n;
        put(w, mine[i]);
        bound_by_rows(w);
    }
}

static void event(const struct model *m, int partition, const int *mine, int count)
{
    struct window *w = NULL;
    for (int i = 0; i < count; i++) {
        const struct row *row = &rows[mine[i]];
        if (!w && row->has_n && row->n > m->a) w = new_window(partition, 0, 0);
        if (!w) continue;
        put(w, mine[i]);
        bound_by_rows(w);
        if (row->has_n && row->n < m->b) w = NULL;
    }
}

typedef void model_kind(const struct model *m, int partition, const int *mine, int count);

static model_kind *choose_kind(struct model *m)
{
    int64_t a = 1 + pick(30), b = 1 + pick(15);
    *m = (struct model){.a = a, .b = b};
    long long x = a, y = b;
    char *to = m->clause;
    size_t size = sizeof m->clause;
    switch (pick(10)) {
    case 0: m->b = a, snprintf(to, size, "WINDOW TUMBLE(%llds)", x); return hop;
    case 1: m->b = a, snprintf(to, size, "INTERVAL('%lld s')", x); return hop;
    case 2: snprintf(to, size, "WINDOW HOP(%llds, %llds)", x, y); return hop;
    case 3: snprintf(to, size, "INTERVAL(%llds) SLIDING(%llds)", x, y); return hop;
    case 4: snprintf(to, size, "WINDOW SLIDE(%llds)", x); return slide;
    case 5: snprintf(to, size, "WINDOW SESSION(%llds)", x); return session;
    case 6: m->b = a, snprintf(to, size, "COUNT_WINDOW(%lld)", x); return counted;
    case 7: snprintf(to, size, "WINDOW COUNT(%lld, %lld)", x, y); return counted;
    case 8: snprintf(to, size, "WINDOW STATE(n)"); return state_of_n;
    default:
        m->a = pick(6), m->b = pick(6);
        snprintf(to, size, "EVENT_WINDOW START WITH n > %lld END WITH n < %lld", (long long)m->a,
                 (long long)m->b);
        return event;
    }
}

/* ---- answers as sorted lines ---- */

struct lines {
    char *at[LINES_MAX];
    int count;
    struct buf text;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_lines(struct lines *lines)
{
    lines->count = 0;
    buf_add_char(&lines->text, 0);
    assert_false(buf_failed(&lines->text));
    for (char *at = lines->text.at; *at; lines->count++) {
        char *end = strchr(at, '\n');
        assert_true(lines->count < LINES_MAX);
        lines->at[lines->count] = at;
        *end = 0;
        at = end + 1;
    }
    qsort(lines->at, (size_t)lines->count, sizeof lines->at[0], by_text);
}

/* The engine's rows for the statement, and the model's in `wanted`, must be the same set. */
static void compare(struct test_world *world, const char *sql, struct lines *wanted)
{
    static struct lines got;
    struct why why = WHY_NONE;
    got.text = BUF_EMPTY;
    enum err err = test_world_sql(world, sql, strlen(sql), &got.text, &why);
    if (err) print_error("%s\n%s\n", sql, why_text(&why, err));
    assert_int_equal(err, ERR_OK);
    sort_lines(&got);
    sort_lines(wanted);
    bool same = got.count == wanted->count;
    for (int i = 0; same && i < got.count; i++) same = strcmp(got.at[i], wanted->at[i]) == 0;
    if (!same) {
        print_error("%s\n", sql);
        for (int i = 0; i < row_count; i++)
            print_error("  row d%d %lld x=%d(%d) n=%d(%d)\n", rows[i].device, (long long)rows[i].t,
                        rows[i].x, rows[i].has_x, rows[i].n, rows[i].has_n);
        for (int i = 0; i < wanted->count; i++) print_error("  wanted %s\n", wanted->at[i]);
        for (int i = 0; i < got.count; i++) print_error("  got    %s\n", got.at[i]);
    }
    assert_true(same);
    buf_free(&got.text);
    buf_free(&wanted->text);
}

static void add_number(struct buf *b, bool is_null, int64_t n)
{
    if (is_null)
        buf_add_text(b, "NULL");
    else
        buf_add_i64(b, n);
}

/* partition|start|end|count(*)|count(x)|sum(n)|min(x)|first(n)|last(n) */
static void add_line(struct buf *b, const struct window *w, enum partition by)
{
    int64_t xs = 0, sum = 0, ns = 0, least = 0;
    const struct row *first = NULL, *last = NULL;
    for (int i = 0; i < row_count; i++) {
        const struct row *row = &rows[i];
        if (!w->holds[i]) continue;
        if (row->has_x && (xs++ == 0 || row->x < least)) least = row->x;
        if (!row->has_n) continue;
        sum += row->n, ns++;
        first = first ? first : row;
        last = !last || row->t > last->t ? row : last;
    }
    if (by == BY_N)
        add_number(b, w->partition < 0, w->partition);
    else
        buf_printf(b, "d%d", w->partition);
    buf_printf(b, "|%lld|%lld|%d|%lld|", (long long)w->start, (long long)w->end, w->count,
               (long long)xs);
    add_number(b, ns == 0, sum);
    buf_add_char(b, '|');
    add_number(b, xs == 0, least);
    buf_add_char(b, '|');
    add_number(b, !first, first ? first->n : 0);
    buf_add_char(b, '\n');
}

static void windows_hold_the_rows_that_their_definition_says(void)
{
    static const char *const keys[] = {"'d0'", "device", "n"};
    static struct lines wanted;
    struct test_world world;
    struct model m;
    char sql[512];
    make_rows(&world, 0, 120, 1);
    for (int round = 0; round < 8; round++) {
        model_kind *kind = choose_kind(&m);
        enum partition by = pick(3);
        window_count = 0;
        for (int partition = -1; partition < 6; partition++) {
            int mine[ROWS_MAX], count = 0;
            for (int i = 0; i < row_count; i++)
                if (partition_of(by, &rows[i]) == partition) mine[count++] = i;
            if (count > 0) kind(&m, partition, mine, count);
        }
        wanted.text = BUF_EMPTY;
        for (int i = 0; i < window_count; i++) add_line(&wanted.text, &windows[i], by);
        /* coalesce inside first: an explicit NULL of a plain column would be a value */
        snprintf(
            sql, sizeof sql,
            "SELECT %s, window_start::bigint / 1000000000, window_end::bigint / 1000000000, count(*), count(x), sum(n), min(x), first(coalesce(n, n)) FROM m %s%s %s",
            keys[by], by == BY_NOTHING ? "" : "PARTITION BY ", by == BY_NOTHING ? "" : keys[by],
            m.clause);
        compare(&world, sql, &wanted);
    }
    test_world_free(&world);
}

/* ---- FILL ---- */

struct cell {
    bool has;
    double v;
};

static void add_cell(struct buf *b, const struct cell *c)
{
    struct value value = {.type = TYPE_DOUBLE, .d = c->v};
    if (!c->has)
        buf_add_text(b, "NULL");
    else
        value_add_text(b, &value);
    buf_add_char(b, '\n');
}

/* What FILL puts at window `at` of `count`, of which `known` have values. */
static struct cell filled(const struct cell *known, int count, int at, const char *how)
{
    int before = at, after = at;
    if (known[at].has) return known[at];
    while (before >= 0 && !known[before].has) before--;
    while (after < count && !known[after].has) after++;
    if (strcmp(how, "7.5") == 0) return (struct cell){true, 7.5};
    if (strcmp(how, "prev") == 0 && before >= 0) return known[before];
    if (strcmp(how, "next") == 0 && after < count) return known[after];
    if (strcmp(how, "linear") != 0 || before < 0 || after >= count) return (struct cell){false, 0};
    double share = (double)(at - before) / (double)(after - before);
    return (struct cell){true, known[before].v + (known[after].v - known[before].v) * share};
}

static void fill_partition(struct buf *to, const char *key, int device, int64_t width,
                           const char *how, int64_t low, int64_t high)
{
    struct cell known[256] = {{false, 0}};
    int64_t first = INT64_MAX, last = INT64_MIN;
    for (int i = 0; i < row_count; i++) {
        if ((device >= 0 && rows[i].device != device) || rows[i].t < low || rows[i].t >= high)
            continue;
        int64_t start = rows[i].t / width;
        first = start < first ? start : first, last = start > last ? start : last;
        if (!rows[i].has_x) continue;
        known[start].has = true;
        known[start].v += rows[i].x;
    }
    if (first > last) return; /* a partition without rows does not appear */
    if (low > INT64_MIN) first = low / width;
    if (high < INT64_MAX) last = (high - 1) / width;
    for (int64_t w = first; w <= last; w++) {
        struct cell c = filled(known + first, (int)(last - first + 1), (int)(w - first), how);
        buf_printf(to, "%s|%lld|", key, (long long)w * width);
        add_cell(to, &c);
    }
}

static void fill_makes_what_is_missing(void)
{
    static const char *const hows[] = {"prev", "next", "linear", "null", "7.5"};
    static struct lines wanted;
    struct test_world world;
    char sql[512], where[128];
    make_rows(&world, 0, 120, 1);
    for (int round = 0; round < 6; round++) {
        bool by_device = pick(2), bounded = pick(2);
        int64_t width = 1 + pick(12), low = INT64_MIN, high = INT64_MAX;
        const char *how = hows[pick(5)];
        where[0] = 0;
        if (bounded) {
            low = pick(60), high = low + 1 + pick(100);
            snprintf(where, sizeof where,
                     "WHERE time >= %lld::bigint::timestamp AND time < %lld::bigint::timestamp",
                     (long long)low * SECOND, (long long)high * SECOND);
        }
        wanted.text = BUF_EMPTY;
        for (int d = by_device ? 0 : -1; d < (by_device ? 3 : 0); d++) {
            char key[16];
            snprintf(key, sizeof key, "d%d", d < 0 ? 0 : d);
            fill_partition(&wanted.text, key, d, width, how, low, high);
        }
        snprintf(
            sql, sizeof sql,
            "SELECT %s, window_start::bigint / 1000000000, sum(x) FROM m %s %s WINDOW TUMBLE(%llds) FILL(%s)",
            by_device ? "device" : "'d0'", where, by_device ? "PARTITION BY device" : "",
            (long long)width, how);
        compare(&world, sql, &wanted);
    }
    test_world_free(&world);
}

/* ---- the calendar ---- */

/* A number that changes where the wall clock enters the next window. */
static int64_t calendar_id(time_t t, int kind)
{
    struct tm tm;
    localtime_r(&t, &tm);
    int64_t day =
        timegm(&(struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday}) /
        86400;
    switch (kind) {
    case 0: return day;
    case 1: return day * 4 + tm.tm_hour / 6;
    case 2: return tm.tm_year * 12 + tm.tm_mon;
    case 3: return (day + 3) / 7;
    case 4: return tm.tm_year;
    default: return (tm.tm_year * 12 + tm.tm_mon) / 3;
    }
}

static bool has_zone(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

static void calendar_windows_follow_the_wall_clock(void)
{
    static const char *const zones[] = {
        "Europe/Berlin",       "America/New_York", "America/Sao_Paulo", "Asia/Beirut",
        "Australia/Lord_Howe", "Asia/Shanghai",    "Pacific/Chatham",   "America/Havana"};
    static const char *const widths[] = {"1d", "6h", "1mo", "1w", "1y", "3n"};
    static struct lines wanted;
    struct test_world world;
    char sql[256];
    const char *zone = zones[pick(8)];
    int kind = (int)pick(6);
    time_t from =
        631152000 + (time_t)pick(40 * 365) * 86400; /* from 1990 on, before and after today */
    if (!has_zone(zone)) return;                    /* a machine without the zone database */
    setenv("TZ", zone, 1);
    tzset();
    make_rows(&world, from, 96 * 9, 900);
    wanted.text = BUF_EMPTY;
    for (int i = 0; i < row_count; i++) {
        int64_t id = calendar_id(rows[i].t, kind), count = 0;
        int64_t start = rows[i].t, end = start;
        bool first = true;
        for (int j = 0; j < row_count; j++) {
            bool same = calendar_id(rows[j].t, kind) == id;
            if (same && j < i) first = false;
            count += same;
        }
        if (!first) continue;
        while (calendar_id(start - 900, kind) == id) start -= 900;
        while (calendar_id(end, kind) == id) end += 900;
        buf_printf(&wanted.text, "%lld|%lld|%lld\n", (long long)start, (long long)end,
                   (long long)count);
    }
    snprintf(
        sql, sizeof sql,
        "SELECT window_start::bigint / 1000000000, window_end::bigint / 1000000000, count(*) FROM m WINDOW TUMBLE(%s) TIME ZONE '%s'",
        widths[kind], zone);
    compare(&world, sql, &wanted);
    test_world_free(&world);
}

/* In Havana the clock goes back at one, to midnight: the day has begun an hour before. */
static void a_day_begins_at_the_first_of_two_midnights(void **state)
{
    static struct lines wanted;
    struct test_world world;
    (void)state;
    if (!has_zone("America/Havana")) skip(); /* a machine without the zone database */
    test_world_init(&world);
    test_world_must(&world, "CREATE TABLE m (x double, n bigint)");
    test_world_must(&world,
                    "INSERT INTO m (time, device, x) VALUES ('2018-11-04T12:00:00Z', 'd', 1), "
                    "('2018-11-04T04:30:00Z', 'e', 1), ('2018-11-04T03:30:00Z', 'e', 1)");
    wanted.text = BUF_EMPTY;
    buf_add_text(&wanted.text, "d|2018-11-04T04:00:00Z|2018-11-05T05:00:00Z|1\n"
                               "e|2018-11-03T04:00:00Z|2018-11-04T04:00:00Z|1\n"
                               "e|2018-11-04T04:00:00Z|2018-11-05T05:00:00Z|1\n");
    compare(&world,
            "SELECT device, window_start, window_end, count(*) FROM m PARTITION BY device "
            "WINDOW TUMBLE(1d) TIME ZONE 'America/Havana'",
            &wanted);
    wanted.text = BUF_EMPTY; /* the hour that comes twice is two hours */
    buf_add_text(&wanted.text,
                 "2018-11-04T03:00:00Z|1\n2018-11-04T04:00:00Z|1\n2018-11-04T12:00:00Z|1\n");
    compare(&world,
            "SELECT window_start, count(*) FROM m WINDOW TUMBLE(1h) TIME ZONE 'America/Havana'",
            &wanted);
    test_world_free(&world);
}

/* ---- time-boxed ---- */

static void begin(void)
{
    const char *seed = getenv("MILLRACE_TEST_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    print_message("MILLRACE_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

static void repeat(void (*claim)(void))
{
    time_t until = time(NULL) + RUN_SECONDS;
    int rounds = 0;
    begin();
    for (; rounds < 20 || time(NULL) < until; rounds++) claim();
    print_message("%d data sets\n", rounds);
}

static void test_windows(void **state)
{
    (void)state;
    repeat(windows_hold_the_rows_that_their_definition_says);
}

static void test_fill(void **state)
{
    (void)state;
    repeat(fill_makes_what_is_missing);
}

static void test_calendar(void **state)
{
    (void)state;
    repeat(calendar_windows_follow_the_wall_clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(a_day_begins_at_the_first_of_two_midnights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
