/* collect_transport_test.c - claims about how a line gets its stream: equipment that dials in, the
 * machine's own files, and certificates that are none. */
#include "collect/collect_priv.h"
#include "collect/collect_testlib.h"
#include <sys/stat.h>

/* The connection `name` at the port that takes the place of %u. */
#define DIALS_IN(name, options)                                                                    \
    "apiVersion: millrace.io/v1\nkind: Connection\nmetadata: {name: " name                         \
    "}\nspec: {driver: modbus, endpoint: \"listen+tcp://127.0.0.1:%u\", maxBackoff: 500ms, "       \
    "options: {framing: rtu" options "}}\n---\n"

/* ---- a modem, in the hands of a test ---- */

struct modem {
    struct os_address at;
    struct os_stream *stream;
    _Atomic bool is_open;
};

static void modem_open(void *owner)
{
    ((struct modem *)owner)->is_open = true;
}

static void modem_dial(struct world *w, void *arg)
{
    static const struct os_stream_events events = {.on_open = modem_open};
    struct modem *modem = arg;
    assert_int_equal(w->context.os->ops->stream_connect(w->main.task, &modem->at, &events, modem,
                                                        &modem->stream, NULL),
                     ERR_OK);
}

static void modem_hang_up(struct world *w, void *arg)
{
    (void)w;
    os_stream_close(&((struct modem *)arg)->stream);
}

struct say {
    struct modem *modem;
    const void *bytes;
    size_t size;
};

static void modem_say(struct world *w, void *arg)
{
    const struct say *say = arg;
    (void)w;
    assert_int_equal(os_stream_write(say->modem->stream, say->bytes, say->size), ERR_OK);
}

/* Loads a manifest in which %u stands for the modem's port. */
static void load_at(struct world *w, const char *manifest, const struct modem *modem)
{
    struct buf text = BUF_EMPTY;
    for (const char *at = manifest; *at; at++) {
        if (at[0] == '%' && at[1] == 'u') {
            buf_printf(&text, "%u", modem->at.port);
            at++;
        } else {
            buf_add_char(&text, *at);
        }
    }
    world_call(w, load, (void *)(uintptr_t)buf_cstr(&text));
    buf_free(&text);
}

/* Finds a free port (that of equipment which then goes away) and starts the lines at it. */
static void begin_door(struct world *w, const char *manifest, struct modem *modem)
{
    world_call(w, fake_start, NULL);
    world_call(w, fake_stop, NULL);
    modem->at = w->plc.at;
    load_at(w, manifest, modem);
    world_call(w, start_collect, NULL);
}

/* ---- what is asked of a line ---- */

struct expect {
    const char *name, *error; /* error: a part of it; NULL = not asked for */
    uint64_t bytes_in;
};

static bool is_as_expected(struct world *w, void *arg)
{
    const struct expect *expect = arg;
    bool yes = false;
    struct collect_snapshot *s = collect_snapshot(w->collect);
    for (size_t i = 0; i < s->connection_count; i++)
        if (str_is(s->connections[i].name, expect->name))
            yes = expect->error ? strstr(s->connections[i].last_error, expect->error) != NULL
                                : s->connections[i].bytes_in == expect->bytes_in;
    collect_snapshot_free(s);
    return yes;
}

static void want_error(struct world *w, const char *name, const char *error)
{
    world_wait(w, WAIT_S, is_as_expected, &(struct expect){name, error, 0});
}

static void want_bytes(struct world *w, const char *name, uint64_t bytes)
{
    world_wait(w, WAIT_S, is_as_expected, &(struct expect){name, NULL, bytes});
}

/* ---- doors ---- */

static void a_registration_that_begins_another_one_is_refused_at_the_same_door(void **state)
{
    struct world *w = *state;
    struct modem modem = {.is_open = false};
    begin_door(w, DIALS_IN("one", ", registration: DEV1"), &modem);
    load_at(w, DIALS_IN("ten", ", registration: DEV10"), &modem);
    want_error(w, "ten",
               "connections ten and one listen on the same port with registrations of "
               "which one begins with the other");
    load_at(w, DIALS_IN("two", ", registration: DE"), &modem);
    want_error(w, "two", "connections two and one listen on the same port");
}

static void what_follows_a_registration_in_pieces_arrives_whole(void **state)
{
    struct world *w = *state;
    struct modem modem = {.is_open = false};
    begin_door(w, DIALS_IN("one", ", registration: DEV1") DIALS_IN("two", ", registration: DEV2"),
               &modem);
    world_call(w, modem_dial, &modem);
    while (!modem.is_open) usleep(200);
    world_call(w, modem_say, &(struct say){&modem, "DE", 2});
    usleep(100000);
    world_call(w, modem_say, &(struct say){&modem, "V2\1\2\3", 5});
    want_bytes(w, "two", 3);
    want_bytes(w, "one", 0);
    world_call(w, modem_hang_up, &modem);
}

static void what_looked_like_a_registration_at_first_arrives_whole(void **state)
{
    static const uint8_t rest[600] = {'X'};
    struct world *w = *state;
    struct modem modem = {.is_open = false};
    begin_door(w, DIALS_IN("one", ", registration: DEV1") DIALS_IN("open", ""), &modem);
    world_call(w, modem_dial, &modem);
    while (!modem.is_open) usleep(200);
    world_call(w, modem_say, &(struct say){&modem, "DE", 2});
    usleep(100000); /* so that it comes alone */
    world_call(w, modem_say, &(struct say){&modem, rest, sizeof rest});
    want_bytes(w, "open", 2 + sizeof rest);
    world_call(w, modem_hang_up, &modem);
}

/* ---- certificates ---- */

static void a_certificate_that_is_a_pipe_is_refused_and_holds_nothing_up(void **state)
{
    struct world *w = *state;
    char folder[] = "/tmp/transport_test_XXXXXX", pipe[64], text[1024];
    alarm(20); /* the failure to be found is a collector that cannot be stopped */
    assert_non_null(mkdtemp(folder));
    snprintf(pipe, sizeof pipe, "%s/ca", folder);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    snprintf(text, sizeof text,
             "apiVersion: millrace.io/v1\nkind: Connection\nmetadata: {name: plc}\n"
             "spec: {driver: modbus, endpoint: \"tls://127.0.0.1:1\", options: {ca: %s}}\n---\n",
             pipe);
    world_call(w, load, text);
    world_call(w, start_collect, NULL);
    want_error(w, "plc", "/ca is not a file");
    world_call(w, stop_collect, NULL);
    (void)unlink(pipe);
    (void)rmdir(folder);
    alarm(0);
}

/* ---- the machine's files ---- */

struct machine {
    struct loop files;
    struct os_stream *stream;
    enum err written;
    uint64_t refused; /* the allocation that fails while writing; 0 = none */
    _Atomic unsigned opened, answered;
};

static void machine_open(void *owner)
{
    ((struct machine *)owner)->opened++;
}

static void machine_read(void *owner, const uint8_t *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    ((struct machine *)owner)->answered++;
}

static void machine_connect(struct world *w, void *arg)
{
    static const struct os_stream_events events = {.on_open = machine_open,
                                                   .on_read = machine_read};
    struct machine *machine = arg;
    assert_int_equal(
        local_connect(&w->context, &machine->files, &events, machine, &machine->stream), ERR_OK);
}

static void machine_ask(struct world *w, void *arg)
{
    static const char request[] = "7\nread /nowhere\n\n";
    struct machine *machine = arg;
    (void)w;
    mem_test_fail(machine->refused);
    machine->written = os_stream_write(machine->stream, request, sizeof request - 1);
    mem_test_fail(0);
}

static void machine_close(struct world *w, void *arg)
{
    (void)w;
    os_stream_close(&((struct machine *)arg)->stream);
}

/* The text that came, the job, the job's own text: each is refused in turn, with a stream of its
 * own, as after a refusal a line connects anew. */
static void a_request_without_memory_is_refused_and_never_taken_for_the_opening(void **state)
{
    struct world *w = *state;
    for (uint64_t nth = 0; nth <= 3; nth++) {
        struct machine machine = {.refused = nth};
        assert_int_equal(loop_start(&machine.files, w->context.os, "files", 0, NULL), ERR_OK);
        world_call(w, machine_connect, &machine);
        while (!machine.opened) usleep(200);
        world_call(w, machine_ask, &machine);
        assert_int_equal(machine.written, nth ? ERR_NO_MEMORY : ERR_OK);
        while (!nth && !machine.answered) usleep(200);
        usleep(20000); /* what was not refused would arrive */
        assert_int_equal(machine.opened, 1);
        assert_int_equal(machine.answered, nth ? 0 : 1);
        world_call(w, machine_close, &machine);
        loop_stop(&machine.files);
    }
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CLAIM(a_registration_that_begins_another_one_is_refused_at_the_same_door),
        CLAIM(what_follows_a_registration_in_pieces_arrives_whole),
        CLAIM(what_looked_like_a_registration_at_first_arrives_whole),
        CLAIM(a_certificate_that_is_a_pipe_is_refused_and_holds_nothing_up),
        CLAIM(a_request_without_memory_is_refused_and_never_taken_for_the_opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
