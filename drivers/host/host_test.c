/* host_test.c - claims about the host driver, on texts as other machines have them. */
#include "host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

extern const struct millrace_driver host_driver;

/* ---- a machine: what its files hold ---- */

struct file {
    const char *question, *answer; /* answer NULL: not there */
};

static const struct file machine[] = {
    {"read /proc/loadavg", "0.52 1.89 2.00 3/457 12345\n"},
    {"read /proc/stat",
     "cpu  100 0 50 800 40 5 5 0 0 0\ncpu0 100 0 50 800 40 5 5 0 0 0\nintr 1 2\n"},
    {"read /proc/meminfo", "MemTotal:        1000 kB\nMemFree:  100 kB\nMemAvailable:    400 kB\n"
                           "Cached: 250 kB\nSwapTotal:       0 kB\nSwapFree:        0 kB\n"},
    {"read /proc/self/mounts",
     "/dev/vda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n"
     "server:/x /mnt/nfs nfs4 rw 0 0\n/dev/vda1 /again ext4 rw 0 0\n"
     "/dev/vdb1 /data xfs rw 0 0\n/dev/vdc /with\\040blank ext4 rw 0 0\n"},
    {"disk /", "1000 400 300"},
    {"disk /data", NULL},
    {"list /sys/class/thermal/", "cooling_device0\nthermal_zone0\nthermal_zone1\n"},
    {"list /sys/class/hwmon/", "hwmon0\n"},
    {"read /sys/class/thermal/thermal_zone0/temp", "41500\n"},
    {"read /sys/class/thermal/thermal_zone1/temp", NULL},
    {"read /sys/class/hwmon/hwmon0/name", "coretemp\n"},
    {"list /sys/class/hwmon/hwmon0", "name\ntemp1_input\ntemp1_label\ntemp2_input\nfan1_input\n"},
    {"read /sys/class/hwmon/hwmon0/temp1_input", "62000\n"},
    {"read /sys/class/hwmon/hwmon0/temp1_label", "Core 0\n"},
    {"read /sys/class/hwmon/hwmon0/temp2_input", "-5250\n"},
    {"read /proc/net/dev", "Inter-|   Receive\n face |bytes packets\n"
                           "  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n"},
    {"read /proc/uptime", "1000.50 3000.00\n"},
    {"read /proc/diskstats",
     " 254 0 vda 10 0 8 5 20 0 16 6 0 700 11\n   7 0 loop0 1 0 1 0 0 0 0 0 0 0 0\n"},
    {"read /proc/self/stat",
     "42 (mill (race)) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 7 0 100 0 0\n"},
    {"read /proc/self/status", "Name:\tmillrace\nVmRSS:\t   12000 kB\n"},
    {NULL, NULL},
};

/* The same machine 1 s later: half of the time in use, the disk busy for 0.3 s, 0.25 s of CPU. */
static const struct file later[] = {
    {"read /proc/stat", "cpu  140 0 60 850 40 5 5 0 0 0\ncpu0 140 0 60 850 40 5 5 0 0 0\n"},
    {"read /proc/uptime", "1001.50 3001.00\n"},
    {"read /proc/diskstats", " 254 0 vda 10 0 8 5 20 0 16 6 0 1000 11\n"},
    {"read /proc/self/stat",
     "42 (mill (race)) S 1 1 1 0 -1 0 0 0 0 0 170 55 0 0 20 0 7 0 100 0 0\n"},
    {NULL, NULL},
};

/* ---- the collector's side ---- */

struct peer {
    struct millrace_out out; /* first */
    void *line;
    const struct file *first, *second; /* the first has precedence */
    uint8_t payload[HOST_PAYLOAD_BYTES];
    size_t payload_bytes;
    bool replied, failed;
    unsigned rounds;
    char asked[4096];
};

static const char *look_up(const struct peer *peer, struct text question)
{
    const struct file *lists[] = {peer->first, peer->second};
    for (size_t i = 0; i < 2; i++)
        for (const struct file *f = lists[i]; f && f->question; f++)
            if (text_is(question, f->question)) return f->answer;
    return NULL;
}

static void answer(struct peer *peer, const char *request, size_t size)
{
    static char body[65536], frame[70000];
    struct text rest = text_of(request, size), token, question;
    size_t n = 0;
    assert_true(text_until(&rest, '\n', &token));
    assert_memory_equal(rest.end - 1, "\n", 1);
    peer->rounds++;
    while (text_until(&rest, '\n', &question) && text_size(question)) {
        const char *text = look_up(peer, question);
        size_t at = strlen(peer->asked);
        snprintf(peer->asked + at, sizeof peer->asked - at, "%.*s\n", (int)text_size(question),
                 question.at);
        n += (size_t)(text ? snprintf(body + n, sizeof body - n, "+%zu\n%s", strlen(text), text)
                           : snprintf(body + n, sizeof body - n, "-\n"));
    }
    int whole = snprintf(frame, sizeof frame, "%.*s %zu\n%.*s", (int)text_size(token), token.at, n,
                         (int)n, body);
    /* In two pieces: the first alone says nothing. */
    size_t half = (size_t)whole / 2;
    size_t done = host_driver.receive(peer->line, (const uint8_t *)frame, half, &peer->out);
    assert_int_equal(done, 0);
    done = host_driver.receive(peer->line, (const uint8_t *)frame, (size_t)whole, &peer->out);
    assert_int_equal(done, whole);
}

static void on_send(struct millrace_out *out, const void *bytes, size_t size)
{
    answer((struct peer *)out, bytes, size);
}

static void on_reply(struct millrace_out *out, const struct millrace_reply *reply)
{
    struct peer *peer = (struct peer *)out;
    assert_int_equal(reply->status, MILLRACE_GOOD);
    assert_int_equal(reply->token, 7);
    memcpy(peer->payload, reply->payload, reply->payload_bytes);
    peer->payload_bytes = reply->payload_bytes;
    peer->replied = true;
}

static void on_fail(struct millrace_out *out, const char *text)
{
    assert_non_null(text);
    ((struct peer *)out)->failed = true;
}

static struct peer *begin(void)
{
    struct peer *peer = calloc(1, sizeof *peer);
    *peer = (struct peer){.out = {.reply = on_reply, .send = on_send, .fail = on_fail},
                          .line = calloc(1, host_driver.line_bytes),
                          .second = machine};
    return peer;
}

static void end(struct peer *peer)
{
    free(peer->line);
    free(peer);
}

static void read_area(struct peer *peer, uint32_t area)
{
    struct millrace_request request;
    peer->replied = false;
    host_driver.read(peer->line, &(struct millrace_span){0, area, 0, 1}, 7, &request);
    answer(peer, (const char *)request.bytes, request.size);
    assert_true(peer->replied);
}

static enum millrace_status get(struct peer *peer, const char *address, double *number)
{
    struct millrace_point point;
    struct millrace_value value;
    char why[MILLRACE_WHY_BYTES] = "", scratch[MILLRACE_SCRATCH_BYTES];
    struct millrace_point_text text = {{address, strlen(address)}, {"int16", 5}, {"", 0}};
    if (!host_driver.point_parse(NULL, &text, &point, why)) fail_msg("%s", why);
    read_area(peer, point.area);
    enum millrace_status status =
        host_driver.decode(&point, 0, peer->payload, peer->payload_bytes, scratch, &value);
    if (!status) *number = value.type == MILLRACE_DOUBLE ? value.d : (double)value.u;
    return status;
}

static void want(struct peer *peer, const char *address, double number)
{
    double found = -1;
    assert_int_equal(get(peer, address, &found), MILLRACE_GOOD);
    if (found < number - 1e-9 || found > number + 1e-9)
        fail_msg("%s is %.17g, not %.17g", address, found, number);
}

static void want_bad(struct peer *peer, const char *address, enum millrace_status status)
{
    double found;
    assert_int_equal(get(peer, address, &found), status);
}

/* ---- claims ---- */

static void values_are_what_the_kernel_says(void **state)
{
    (void)state;
    struct peer *peer = begin();
    want(peer, "cpu.load1", 0.52);
    want(peer, "cpu.load5", 1.89);
    want(peer, "memory.total", 1000 * 1024);
    want(peer, "memory.used", 600 * 1024);
    want(peer, "swap.used", 0);
    want(peer, "disk./.total", 1000);
    want(peer, "disk./.used", 600);
    want(peer, "disk./.free", 300);
    want(peer, "disk./.use", 66.67);
    want(peer, "net.eth0.rx", 1000);
    want(peer, "net.eth0.tx_dropped", 4);
    want(peer, "io.vda.read", 8 * 512);
    want(peer, "system.uptime", 1000.5);
    want(peer, "system.tasks", 457);
    want(peer, "process.memory", 12000 * 1024);
    want(peer, "process.threads", 7); /* a name with brackets in it does not mislead */
    end(peer);
}

static void percentages_follow_from_two_readings(void **state)
{
    (void)state;
    struct peer *peer = begin();
    want_bad(peer, "cpu.use", MILLRACE_NOT_YET);
    want_bad(peer, "io.vda.busy", MILLRACE_NOT_YET);
    want_bad(peer, "process.cpu", MILLRACE_NOT_YET);
    peer->first = later;
    want(peer, "cpu.use", 50);
    want(peer, "io.vda.busy", 30);
    want(peer, "process.cpu", 25);
    want_bad(peer, "cpu.use", MILLRACE_NOT_YET); /* no time has passed */
    end(peer);
}

static void temperatures_are_named_after_zone_or_chip_and_label(void **state)
{
    (void)state;
    struct peer *peer = begin();
    want(peer, "temperature.thermal_zone0", 41.5);
    want(peer, "temperature.coretemp.Core 0", 62);
    want(peer, "temperature.coretemp.temp2", -5.25);
    want(peer, "temperature.max", 62);
    assert_null(strstr(peer->asked, "fan1"));
    end(peer);
}

static void what_is_missing_has_a_status(void **state)
{
    static const struct file bare[] = {{"list /sys/class/thermal/", NULL},
                                       {"list /sys/class/hwmon/", NULL},
                                       {"read /proc/meminfo", "nonsense"},
                                       {NULL, NULL}};
    (void)state;
    struct peer *peer = begin();
    want_bad(peer, "temperature.thermal_zone1", MILLRACE_DEVICE_FAILURE); /* there, but broken */
    want_bad(peer, "net.eth9.rx", MILLRACE_BAD_ADDRESS);
    want_bad(peer, "disk./data.total", MILLRACE_DEVICE_FAILURE);
    peer->first = bare;
    want_bad(peer, "temperature.max", MILLRACE_BAD_ADDRESS);
    want_bad(peer, "memory.used", MILLRACE_BAD_ADDRESS);
    end(peer);
}

static void only_local_file_systems_are_asked_and_each_once(void **state)
{
    (void)state;
    struct peer *peer = begin();
    want(peer, "disk./.total", 1000);
    assert_non_null(strstr(peer->asked, "disk /data\n"));
    assert_null(strstr(peer->asked, "nfs"));
    assert_null(strstr(peer->asked, "/again"));
    assert_int_equal(peer->rounds, 2);
    end(peer);
}

static void unknown_addresses_are_refused_with_examples(void **state)
{
    static const char *const wrong[] = {"",        "cpu",          "cpu.loud1", "disk./.size",
                                        "net..rx", "temperature.", "1!400001"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct millrace_point point;
        char why[MILLRACE_WHY_BYTES] = "";
        struct millrace_point_text text = {{wrong[i], strlen(wrong[i])}, {"", 0}, {"", 0}};
        if (host_driver.point_parse(NULL, &text, &point, why)) fail_msg("'%s' is taken", wrong[i]);
        assert_non_null(strstr(why, "millrace scan"));
    }
}

static void count_name(void *arg, struct millrace_text address, enum millrace_status status)
{
    struct millrace_point point;
    char why[MILLRACE_WHY_BYTES];
    struct millrace_point_text text = {address, {"", 0}, {"", 0}};
    (void)status;
    assert_true(host_driver.point_parse(NULL, &text, &point, why));
    ++*(unsigned *)arg;
}

static void what_a_scan_lists_can_be_read(void **state)
{
    (void)state;
    struct peer *peer = begin();
    unsigned names = 0;
    for (uint32_t area = 0; area < HOST_AREA_COUNT; area++) {
        read_area(peer, area);
        host_driver.list(area, peer->payload, peer->payload_bytes, count_name, &names);
    }
    assert_int_equal(names, 9 + 7 + 5 + 3 + 8 + 5 + 2 + 3);
    end(peer);
}

static void an_answer_that_is_none_ends_the_line(void **state)
{
    (void)state;
    struct peer *peer = begin();
    struct millrace_request request;
    host_driver.read(peer->line, &(struct millrace_span){0, HOST_AREA_CPU, 0, 1}, 7, &request);
    assert_int_equal(host_driver.receive(peer->line, (const uint8_t *)"rubbish\n", 8, &peer->out),
                     8);
    assert_true(peer->failed);
    end(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_what_the_kernel_says),
        cmocka_unit_test(percentages_follow_from_two_readings),
        cmocka_unit_test(temperatures_are_named_after_zone_or_chip_and_label),
        cmocka_unit_test(what_is_missing_has_a_status),
        cmocka_unit_test(only_local_file_systems_are_asked_and_each_once),
        cmocka_unit_test(unknown_addresses_are_refused_with_examples),
        cmocka_unit_test(what_a_scan_lists_can_be_read),
        cmocka_unit_test(an_answer_that_is_none_ends_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
