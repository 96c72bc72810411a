/* node_sim_test.c - claims about a whole node whose power fails, or whose disk or memory does, at
 * any single call: it always starts again, and each row of a request that was answered 2xx is
 * there, once, with its value. Cases: os/sim_testlib.h.
 *
 * The node runs in a simulated world with its HTTP listener; clients on another node of that world
 * create a table, INSERT, POST lines to /write and CSV to /v1/import over simulated streams,
 * several at once, and note what they were answered. What is stored is asked for the same way, by
 * /v1/sql.
 *
 * The last claims are about a node without faults: it may be stopped at any moment, whatever is
 * under way, and its audit log tells of a DDL statement that failed. */
#include "node/node.h"
#include "os/sim_testlib.h"
#include <string.h>

enum {
    DEVICES = 6, /* each written by one client only: between clients there is no order */
    SLOTS = 12,  /* times of each device */
    CLIENTS = 3,
    ROWS_MAX = 4, /* of one request */
    CROWD = 12,   /* clients at work while the node is stopped */
    CHUNK_BYTES = 16384,
};
#define BASE_NS      (INT64_C(1767225600) * 1000000000) /* 2026-01-01 */
#define SLOT_NS      (INT64_C(60) * 1000000000)
#define SECOND_NS    (INT64_C(1000000000))
#define CASE_TIME_NS (120 * SECOND_NS)

/* ---- the node ---- */

/* The program's main task: starts the node, wakes it, stops it, all in its own calls. */
struct host {
    struct os *os;
    struct os_task *task;
    struct node_config config;
    struct node_options options;
    struct node *node;
    bool wants_start, wants_stop;
    enum err err;
    struct why why;
};

static void host_run(void *arg)
{
    struct host *h = arg;
    if (h->wants_start) {
        h->wants_start = false;
        h->why = WHY_NONE;
        h->err = node_start(h->os, h->task, &h->options, &h->node, &h->why);
        if (!h->err) node_service(h->node)->helper_rows = 1; /* small statements are shared, too */
    } else if (h->wants_stop) {
        h->wants_stop = false;
        node_stop(h->node);
        h->node = NULL;
    } else {
        node_wake(h->node);
    }
}

static bool host_is_settled(void *arg)
{
    const struct host *h = arg;
    return !h->wants_start && !h->wants_stop;
}

/* ---- a client ---- */

/* One request at a time, each over a connection of its own. */
struct client {
    struct os *os;
    struct os_task *task;
    struct os_stream *stream;
    bool wants, busy;
    char request[4096];
    size_t request_bytes;
    char *answer; /* grown as needed; NUL-terminated */
    size_t answer_bytes, answer_capacity;
    struct sim_attempt *attempts[ROWS_MAX];
    unsigned attempt_count;
};

static void client_end(struct client *c)
{
    os_stream_close(&c->stream);
    c->busy = false;
}

static void client_open(void *owner)
{
    struct client *c = owner;
    if (os_stream_write(c->stream, c->request, c->request_bytes)) client_end(c);
}

static void client_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct client *c = owner;
    if (c->answer_bytes + size >= c->answer_capacity) {
        c->answer_capacity = c->answer_capacity * 2 + size + CHUNK_BYTES;
        c->answer = realloc(c->answer, c->answer_capacity);
        assert_non_null(c->answer);
    }
    memcpy(c->answer + c->answer_bytes, bytes, size);
    c->answer_bytes += size;
    c->answer[c->answer_bytes] = 0;
}

static void client_closed(void *owner, enum err err, const char *text)
{
    (void)err;
    (void)text;
    client_end(owner);
}

static const struct os_stream_events client_events = {client_open, client_read, NULL,
                                                      client_closed};

static void client_run(void *arg)
{
    struct client *c = arg;
    struct os_address address;
    if (!c->wants) return;
    c->wants = false;
    if (os_address_tcp(STR("node:8420"), &address, NULL) ||
        c->os->ops->stream_connect(c->task, &address, &client_events, c, &c->stream, NULL))
        c->busy = false;
}

/* The status of the answer; 0: none came. */
static int client_status(const struct client *c)
{
    int64_t status = 0;
    return c->answer_bytes && sim_scan(c->answer, "HTTP/1.1 # ", &status) ? (int)status : 0;
}

/* ---- the trial ---- */

struct trial {
    const struct sim_case *c;
    unsigned random;
    struct sim *sim;
    struct host host;
    struct client clients[CLIENTS];
    struct client crowd[CROWD]; /* of the stops only */
    char token[128];
    struct sim_key rows[DEVICES][SLOTS];
    int64_t values;
    unsigned failures, starts;
    bool has_table;
};

static void claim(const struct trial *t, bool holds, const char *what, int64_t detail)
{
    sim_case_claim(t->c, holds, what, detail);
}

static unsigned pick(struct trial *t, unsigned below)
{
    return (unsigned)rand_r(&t->random) % below;
}

static bool is_quiet(void *arg)
{
    const struct trial *t = arg;
    for (unsigned i = 0; i < CLIENTS; i++)
        if (t->clients[i].busy) return false;
    return true;
}

/* What an operator on the node's machine would read; asks again when the armed fault hits it. */
static void read_token(struct trial *t)
{
    struct os *os = t->host.os;
    struct os_file *file;
    enum err err = ERR_IO;
    size_t got = 0;
    for (unsigned tries = 0; tries < 3 && err; tries++) {
        err = os->ops->file_open(os, "data/admin.token", 0, &file, NULL);
        if (err) continue;
        err = os->ops->file_read(file, 0, t->token, sizeof t->token - 1, &got, NULL);
        os->ops->file_close(file);
    }
    if (!err) t->token[got] = 0;
    t->token[strcspn(t->token, "\r\n")] = 0;
}

/* Now and then a node starts with a clock that is years off: 1970, or ten years ahead. */
static void set_clock(struct trial *t)
{
    static const int64_t years[] = {0, 0, 0, -56, 10};
    int64_t off_ns = years[(t->c->seed / 7 + t->starts++) % 5] * 365 * 86400 * SECOND_NS;
    sim_wall_set(t->host.os, BASE_NS + off_ns + t->host.os->ops->mono_ns(t->host.os));
}

static bool start_node(struct trial *t)
{
    set_clock(t);
    t->host.wants_start = true;
    t->host.os->ops->task_wake(t->host.task);
    claim(t, sim_run_until(t->sim, host_is_settled, &t->host, CASE_TIME_NS), "the start hangs", 0);
    if (t->host.node) read_token(t);
    return t->host.node != NULL;
}

static void stop_node(struct trial *t)
{
    t->host.wants_stop = true;
    t->host.os->ops->task_wake(t->host.task);
    claim(t, sim_run_until(t->sim, host_is_settled, &t->host, CASE_TIME_NS), "the stop hangs", 0);
}

static void begin_request(struct trial *t, struct client *c, const char *path, const char *body)
{
    int n = snprintf(c->request, sizeof c->request,
                     "POST %s HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer %s\r\n"
                     "Connection: close\r\nContent-Type: text/plain\r\nAccept: text/csv\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     path, t->token, strlen(body), body);
    assert_true(n > 0 && (size_t)n < sizeof c->request);
    c->request_bytes = (size_t)n;
    c->answer_bytes = 0;
    c->wants = c->busy = true;
    c->os->ops->task_wake(c->task);
}

/* Waits for all answers; those with 2xx count, unless the node's power had failed by then. */
static void end_requests(struct trial *t)
{
    claim(t, sim_run_until(t->sim, is_quiet, t, CASE_TIME_NS), "no answer", 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *c = &t->clients[i];
        if (!c->request_bytes) continue;
        bool acked = client_status(c) / 100 == 2;
        for (unsigned k = 0; k < c->attempt_count && acked; k++) c->attempts[k]->acked = true;
        t->failures += !acked;
        if (!acked && t->c->n == 0) print_error("%.*s\n", (int)c->answer_bytes, c->answer);
        c->request_bytes = c->attempt_count = 0;
    }
}

/* The whole answer of one statement, or NULL. Borrowed until the next request. */
static const char *ask(struct trial *t, const char *sql)
{
    struct client *c = &t->clients[0];
    begin_request(t, c, "/v1/sql?time=ns", sql);
    claim(t, sim_run_until(t->sim, is_quiet, t, CASE_TIME_NS), "no answer", 0);
    c->request_bytes = 0;
    if (client_status(c) / 100 != 2) return NULL;
    const char *body = strstr(c->answer, "\r\n\r\n");
    return body ? body + 4 : NULL;
}

static bool make_table(struct trial *t)
{
    for (unsigned tries = 0; tries < 3 && !t->has_table; tries++)
        t->has_table = ask(t, "CREATE TABLE IF NOT EXISTS t (a bigint, b bigint)") != NULL;
    return t->has_table;
}

/* The ways in: where to, what stands before the rows, between them, and a row. */
enum way { WAY_INSERT, WAY_LINES, WAY_IMPORT };
static const struct {
    const char *path, *head;
} ways[] = {
    [WAY_INSERT] = {"/v1/sql", "INSERT INTO t (device, time, a, b) VALUES "},
    [WAY_LINES] = {"/write", ""},
    [WAY_IMPORT] = {"/v1/import?table=t&time_format=ns", "time,device,a,b\n"},
};

static size_t print_row(char *to, size_t bytes, enum way way, bool is_first, unsigned device,
                        unsigned slot, int64_t value)
{
    int64_t time = BASE_NS + slot * SLOT_NS, other = value * 7 + 1;
    int n =
        way == WAY_LINES
            ? snprintf(to, bytes, "t,device=d%u a=%" PRId64 "i,b=%" PRId64 "i %" PRId64 "\n",
                       device, value, other, time)
        : way == WAY_IMPORT
            ? snprintf(to, bytes, "%" PRId64 ",d%u,%" PRId64 ",%" PRId64 "\n", time, device, value,
                       other)
            : snprintf(to, bytes, "%s('d%u', '2026-01-01T00:%02u:00Z', %" PRId64 ", %" PRId64 ")",
                       is_first ? "" : ", ", device, slot, value, other);
    return (size_t)n;
}

/* One request with rows. Odd seeds import where others send lines, so that the known cases stay
 * what they were. */
static void write_rows(struct trial *t, struct client *c)
{
    char body[1024];
    enum way way = pick(t, 2) == 0 ? WAY_INSERT : t->c->seed % 2 ? WAY_IMPORT : WAY_LINES;
    size_t at = (size_t)snprintf(body, sizeof body, "%s", ways[way].head);
    for (unsigned i = 0; i < 1 + pick(t, ROWS_MAX); i++) {
        unsigned device = (unsigned)(c - t->clients) + CLIENTS * pick(t, DEVICES / CLIENTS);
        unsigned slot = (pick(t, SLOTS / ROWS_MAX)) * ROWS_MAX + i;
        int64_t value = t->values + 1;
        struct sim_attempt *attempt = sim_key_try(&t->rows[device][slot], value);
        if (!attempt) continue;
        t->values++;
        c->attempts[c->attempt_count] = attempt;
        at +=
            print_row(body + at, sizeof body - at, way, c->attempt_count == 0, device, slot, value);
        c->attempt_count++;
    }
    if (c->attempt_count) begin_request(t, c, ways[way].path, body);
}

static void write_group(struct trial *t)
{
    for (unsigned i = 0; i < 1 + pick(t, CLIENTS); i++) write_rows(t, &t->clients[i]);
    end_requests(t);
}

/* What a node does in a small life: rows, half an hour after which they become parts, a restart. */
static void work(struct trial *t)
{
    for (unsigned life = 0; life < 2; life++) {
        for (unsigned tries = 0; tries < 3 && !t->host.node; tries++) (void)start_node(t);
        if (!t->host.node || !make_table(t)) return;
        for (unsigned i = 0; i < 4; i++) write_group(t);
        if (life == 0) sim_run_for(t->sim, 1900 * SECOND_NS);
        for (unsigned i = 0; i < 2; i++) write_group(t);
        if (life == 0) stop_node(t);
    }
}

/* ---- checking ---- */

static void see_line(struct trial *t, const char *line)
{
    int64_t v[4] = {-1}; /* device, time, a, b */
    claim(t, sim_scan(line, "d#,#,#,#", v) && v[3] == v[2] * 7 + 1, "half a row", v[2]);
    int64_t device = v[0], slot = (v[1] - BASE_NS) / SLOT_NS, a = v[2];
    claim(t, device >= 0 && device < DEVICES && slot >= 0 && slot < SLOTS, "a row nobody wrote",
          v[1]);
    struct sim_key *row = &t->rows[device][slot];
    claim(t, row->seen++ == 0, "a row twice", a);
    if (!sim_key_allows(row, a)) sim_key_show(row);
    claim(t, sim_key_allows(row, a), "a row without its latest value", a);
}

static void check(struct trial *t)
{
    const char *answer = ask(t, "SELECT device, time, a, b FROM t");
    if (!answer && !t->has_table && client_status(&t->clients[0]) == 404) answer = "\n";
    claim(t, answer != NULL, "the rows cannot be asked for", client_status(&t->clients[0]));
    char *text = strdup(answer), *rest = text;
    for (unsigned i = 0; i < DEVICES * SLOTS; i++) t->rows[i / SLOTS][i % SLOTS].seen = 0;
    (void)strsep(&rest, "\n"); /* the names */
    for (char *line; (line = strsep(&rest, "\n"));)
        if (*line && *line != '\r') see_line(t, line);
    free(text);
    for (unsigned i = 0; i < DEVICES * SLOTS; i++) {
        const struct sim_key *row = &t->rows[i / SLOTS][i % SLOTS];
        claim(t, row->seen || sim_key_allows(row, 0), "an acknowledged row is missing", i);
    }
}

/* ---- one case ---- */

static void start_again(struct trial *t)
{
    stop_node(t);
    end_requests(t);
    t->host.os->ops->task_stop(t->host.task);
    if (pick(t, 4))
        sim_power_loss(t->host.os);
    else
        sim_kill(t->host.os);
    struct os *os = t->host.os;
    assert_int_equal(os->ops->task_start(os, "main", 0, host_run, &t->host, &t->host.task, NULL),
                     ERR_OK);
    bool started = start_node(t);
    if (!started) print_error("%s\n", why_text(&t->host.why, t->host.err));
    claim(t, started, "the node does not start", t->host.err);
}

/* Once nothing fails any more, requests are answered again, at the latest after a while. */
static void must_write(struct trial *t)
{
    if (!t->host.node) claim(t, start_node(t), "the node does not start now", t->host.err);
    for (unsigned tries = 0;; tries++) {
        unsigned failures = t->failures;
        claim(t, tries < 20, "writing does not resume", client_status(&t->clients[0]));
        if (make_table(t)) {
            write_group(t);
            if (t->failures == failures) return;
        }
        sim_run_for(t->sim, SECOND_NS);
    }
}

static struct trial *trial_new(const struct sim_case *c)
{
    static const char *const settings[] = {"data=data", "listen.http=127.0.0.1:8420",
                                           "listen.https=off", "listen.postgres=off",
                                           "memory=64MiB"};
    struct trial *t = calloc(1, sizeof *t);
    *t = (struct trial){.c = c, .random = (unsigned)c->seed, .sim = sim_new(c->seed)};
    struct host *h = &t->host;
    struct why why = WHY_NONE;
    h->os = sim_node(t->sim, "node");
    enum err err = node_config_read(h->os, NULL, settings, 4, &h->config, &why);
    if (err) fail_msg("%s", why_text(&why, err));
    h->options = (struct node_options){.config = &h->config, .admin_password = "a long password"};
    h->options.diag_level = (enum diag_level)(DIAG_ERROR + 1);
    assert_int_equal(h->os->ops->task_start(h->os, "main", 0, host_run, h, &h->task, NULL), ERR_OK);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &t->clients[i];
        client->os = sim_node(t->sim, "desk");
        err = client->os->ops->task_start(client->os, "client", 0, client_run, client,
                                          &client->task, NULL);
        assert_int_equal(err, ERR_OK);
    }
    return t;
}

static void trial_free(struct trial *t)
{
    stop_node(t);
    end_requests(t);
    for (unsigned i = 0; i < CLIENTS; i++) {
        t->clients[i].os->ops->task_stop(t->clients[i].task);
        free(t->clients[i].answer);
    }
    t->host.os->ops->task_stop(t->host.task);
    node_config_free(&t->host.config);
    sim_free(t->sim);
    free(t);
}

static void after_work(struct trial *t)
{
    bool crashed = sim_crashed(t->host.os);
    if (!crashed && t->host.node) check(t); /* reading goes on */
    if (t->c->fault == SIM_FAULT_FULL && t->has_table) {
        start_again(t); /* also on a full disk */
        check(t);
    }
    sim_fault_arm(t->host.os, SIM_FAULT_NONE, 0);
    if (!crashed && pick(t, 2)) {
        must_write(t);
        check(t);
    }
    start_again(t);
    check(t);
    must_write(t);
    check(t);
    start_again(t);
    check(t);
}

static uint64_t run_case(const struct sim_case *c)
{
    struct trial *t = trial_new(c);
    sim_case_arm(t->host.os, c);
    work(t);
    uint64_t calls = sim_case_calls(t->host.os, c);
    if (c->n == 0) claim(t, t->failures == 0, "without a fault something failed", t->failures);
    after_work(t);
    trial_free(t);
    return calls;
}

/* ---- stops ---- */

static const char documents[] = "/apis/millrace.io/v1/namespaces/default/tables";
static const char users[] = "/apis/millrace.io/v1/users";

/* What somebody of the crowd asks for. SELECTs have answers of several parts. */
static void ask_something(struct trial *t, struct client *c, unsigned number)
{
    static const char wide[] = "SELECT device, time, a, '%0900d' AS x FROM t";
    static const char document[] = "{\"apiVersion\":\"millrace.io/v1\",\"kind\":\"Table\","
                                   "\"metadata\":{\"name\":\"n%u\"},\"spec\":{\"columns\":"
                                   "[{\"name\":\"a\",\"type\":\"bigint\"}]}}";
    static const char user[] = "{\"apiVersion\":\"millrace.io/v1\",\"kind\":\"User\","
                               "\"metadata\":{\"name\":\"u%u\"},"
                               "\"spec\":{\"password\":\"a long password\"}}";
    const char *path = "/v1/sql";
    char body[2048];
    static const char *const grouped[] = {
        "SELECT count(*), sum(a) FROM t WHERE a >= 0",
        "SELECT a % 7, count(*), max(a) FROM t GROUP BY 1 ORDER BY 1",
        "SELECT device, window_start, last(a) FROM t PARTITION BY device WINDOW TUMBLE(1s)",
        "SELECT max(1 / (a - 7)) FROM t",
    };
    switch (pick(t, 13)) {
    case 10:
    case 11:
    case 12: snprintf(body, sizeof body, "%s", grouped[pick(t, 4)]); break;
    case 0: snprintf(body, sizeof body, wide, 0); break;
    case 8:
        path = "/v1/sql?format=arrow";
        snprintf(body, sizeof body, wide, 0);
        break;
    case 9:
        path = "/v1/import?table=t&device_name=x&time_format=s&types=z:double,y:text";
        snprintf(body, sizeof body, "time,z,y\n%u,1.5,x\n%u,2,y\n", number, number + 1);
        break;
    case 1: snprintf(body, sizeof body, "CREATE TABLE c%u (a bigint)", number); break;
    case 2: snprintf(body, sizeof body, "ALTER TABLE t ADD COLUMN c%u bigint", number); break;
    case 3: snprintf(body, sizeof body, "DROP TABLE IF EXISTS c%u", pick(t, number + 1)); break;
    case 4:
        path = "/write";
        snprintf(body, sizeof body, "l%u,device=x a=%ui\nt,device=x z%u=1i\n", number, number,
                 number);
        break;
    case 5:
        path = users;
        snprintf(body, sizeof body, user, number);
        break;
    default: path = documents; snprintf(body, sizeof body, document, number);
    }
    begin_request(t, c, path, body);
}

static bool crowd_is_quiet(void *arg)
{
    const struct trial *t = arg;
    for (unsigned i = 0; i < CROWD; i++)
        if (t->crowd[i].busy) return false;
    return true;
}

/* Rows enough for SELECTs whose answers have several parts. */
static void fill_table(struct trial *t)
{
    char body[3500];
    claim(t, make_table(t), "no table", 0);
    for (unsigned request = 0; request < 5; request++) {
        size_t at = 0;
        for (unsigned i = 0; i < 120; i++)
            at += (size_t)snprintf(body + at, sizeof body - at, "t,device=w%u a=%ui %u\n", i % 7, i,
                                   1 + request * 120 + i);
        begin_request(t, &t->clients[0], "/write", body);
        claim(t, sim_run_until(t->sim, is_quiet, t, CASE_TIME_NS), "no answer", 0);
        claim(t, client_status(&t->clients[0]) / 100 == 2, "no rows", request);
    }
}

static void make_crowd(struct trial *t)
{
    for (unsigned i = 0; i < CROWD; i++) {
        struct client *c = &t->crowd[i];
        c->os = sim_node(t->sim, "crowd");
        enum err err = c->os->ops->task_start(c->os, "client", 0, client_run, c, &c->task, NULL);
        assert_int_equal(err, ERR_OK);
    }
}

static void free_crowd(struct trial *t)
{
    for (unsigned i = 0; i < CROWD; i++) {
        t->crowd[i].os->ops->task_stop(t->crowd[i].task);
        free(t->crowd[i].answer);
    }
}

/* Several lives, each ended some steps after a crowd began to ask. */
static void run_stops(const struct sim_case *c)
{
    struct trial *t = trial_new(c);
    make_crowd(t);
    for (unsigned life = 0; life < 6; life++) {
        claim(t, start_node(t), "the node does not start", t->host.err);
        if (life == 0) fill_table(t);
        for (unsigned i = 0; i < CROWD; i++) ask_something(t, &t->crowd[i], life * CROWD + i);
        unsigned steps = pick(t, pick(t, 2) ? 300 : 1500);
        for (unsigned i = 0; i < steps && !crowd_is_quiet(t); i++) (void)sim_step(t->sim);
        stop_node(t);
        claim(t, sim_run_until(t->sim, crowd_is_quiet, t, CASE_TIME_NS), "a client hangs", steps);
    }
    free_crowd(t);
    trial_free(t);
}

static void a_node_stops_at_any_moment_with_work_under_way(void **state)
{
    (void)state;
    unsigned random = (unsigned)sim_number_in("MILLRACE_TEST_SEED", 1);
    double end = sim_seconds() + (double)sim_number_in("MILLRACE_SIM_SECONDS", 4);
    do {
        const struct sim_case c = {(uint64_t)rand_r(&random), SIM_FAULT_NONE, 0};
        run_stops(&c);
    } while (sim_seconds() < end);
}

static void the_audit_log_tells_of_ddl_that_failed(void **state)
{
    (void)state;
    const struct sim_case c = {1, SIM_FAULT_NONE, 1};
    struct trial *t = trial_new(&c);
    struct os *os = t->host.os;
    struct os_file *file;
    char text[8192];
    size_t got = 0;
    claim(t, start_node(t) && make_table(t), "no table", t->host.err);
    claim(t, !ask(t, "CREATE TABLE t (a bigint)"), "a table was made twice", 0);
    stop_node(t);
    assert_int_equal(os->ops->file_open(os, "data/audit/audit-000001.jsonl", 0, &file, NULL), 0);
    assert_int_equal(os->ops->file_read(file, 0, text, sizeof text - 1, &got, NULL), 0);
    os->ops->file_close(file);
    text[got] = 0;
    assert_non_null(strstr(text, "\"outcome\":\"table t exists already\""));
    trial_free(t);
}

/* Cases that failed once, and what was wrong. */
static const struct sim_case known_cases[] = {
    {1, SIM_FAULT_CRASH, 1},
    {1490784088, SIM_FAULT_IO_FOREVER, 111},  /* a reservation spoiled the segment's only header */
    {215559186, SIM_FAULT_TORN, 126},         /* a kill forgot what a torn sync had not done */
    {1542891944, SIM_FAULT_IO_FOREVER, 86},   /* a damaged end of the audit log refused the start */
    {1040012690, SIM_FAULT_IO, 133},          /* rows waited for ever behind a failed write */
    {1196403210, SIM_FAULT_ALLOCATION, 3296}, /* the admin was locked out until the next start */
};

static void a_fault_at_any_call_of_a_node_costs_no_acknowledged_row(void **state)
{
    (void)state;
    sim_cases(run_case, known_cases, sizeof known_cases / sizeof known_cases[0], 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_audit_log_tells_of_ddl_that_failed),
        cmocka_unit_test(a_node_stops_at_any_moment_with_work_under_way),
        cmocka_unit_test_teardown(a_fault_at_any_call_of_a_node_costs_no_acknowledged_row,
                                  sim_case_name_failed),
    };
    return cmocka_run_group_tests_name("a node in the simulated world", tests, NULL, NULL);
}
