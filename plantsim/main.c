/* main.c - plantsim: a simulated plant that speaks Modbus TCP. README.md is its manual.
 *
 * One thread, one loop: answer requests until the next 10 ms tick is due, then step the physics by
 * as many ticks as have passed. A request sees the registers as one tick left them, so a pair of
 * registers is always one number. The tick counter starts at the wall clock's 10 ms count and then
 * follows the monotonic clock: it neither repeats across a restart of plantsim nor jumps when
 * someone sets the clock. */
#include "arrival_log.h"
#include "physics.h"
#include "registers.h"
#include "replay_data.h"
#include "server.h"
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TICK_NS     10000000u
#define TICKS_PER_S 100u
enum {
    CATCH_UP_TICKS_MAX = 1000
}; /* after a longer sleep of the machine physics goes on from where it was */

struct options {
    char host[64];
    uint16_t port;
    uint64_t seed;
    const char *log_path;
    unsigned bench_units, bench_registers;
    bool print_map;
};

/* ---- options: one row each; a setter gives NULL or what is wrong with its argument ---- */

/* Reads all of `text` as a decimal number up to `max`. */
static bool parse_number(const char *text, uint64_t max, uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value > max) return false;
    *number = value;
    return true;
}

static const char *set_listen(struct options *options, const char *text)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon || (size_t)(colon - text) >= sizeof options->host ||
        !parse_number(colon + 1, UINT16_MAX, &port))
        return "not HOST:PORT";
    memcpy(options->host, text, (size_t)(colon - text));
    options->host[colon - text] = 0;
    options->port = (uint16_t)port;
    return NULL;
}

static const char *set_seed(struct options *options, const char *text)
{
    return parse_number(text, UINT64_MAX, &options->seed) ? NULL : "not a number";
}

static const char *set_log(struct options *options, const char *text)
{
    options->log_path = text;
    return NULL;
}

static const char *set_units(struct options *options, const char *text)
{
    uint64_t count;
    if (!parse_number(text, UNIT_LAST - UNIT_BENCH_FIRST + 1, &count)) return "not 0 to 148";
    options->bench_units = (unsigned)count;
    return NULL;
}

static const char *set_registers(struct options *options, const char *text)
{
    uint64_t count;
    if (!parse_number(text, REGISTERS_MAX, &count) || count == 0) return "not 1 to 65535";
    options->bench_registers = (unsigned)count;
    return NULL;
}

static const char *set_map(struct options *options, const char *text)
{
    (void)text;
    options->print_map = true;
    return NULL;
}

static const struct option {
    const char *name, *argument, *help;
    const char *(*set)(struct options *options, const char *text);
} option_rows[] = {
    {"--listen", "HOST:PORT", "IPv4 address to serve (127.0.0.1:5020); port 0 takes a free one",
     set_listen},
    {"--seed", "N", "seed of noise and pauses (1)", set_seed},
    {"--log", "FILE", "write the arrival of each request there (arrival_log.h has the format)",
     set_log},
    {"--units", "N", "add N units from 100 on, for load tests (0)", set_units},
    {"--registers", "M",
     "int16 holding registers of each added unit, new values each second (1000)", set_registers},
    {"--map", NULL, "print the register map and end", set_map},
};
enum { OPTIONS_COUNT = sizeof option_rows / sizeof option_rows[0] };

static int usage(FILE *out, int status)
{
    fprintf(out, "usage: plantsim [OPTION]…\n");
    for (size_t i = 0; i < OPTIONS_COUNT; i++)
        fprintf(out, "  %-12s %-10s %s\n", option_rows[i].name,
                option_rows[i].argument ? option_rows[i].argument : "", option_rows[i].help);
    return status;
}

/* Fills `options`. Gives false after saying what is wrong. */
static bool parse_options(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        const struct option *row = option_rows;
        while (row < option_rows + OPTIONS_COUNT && strcmp(argv[i], row->name) != 0) row++;
        if (row == option_rows + OPTIONS_COUNT || (row->argument && i + 1 == argc)) {
            fprintf(stderr, "plantsim: %s: %s\n", argv[i],
                    row == option_rows + OPTIONS_COUNT ? "no such option" : "wants an argument");
            return false;
        }
        const char *argument = row->argument ? argv[++i] : "";
        const char *wrong = row->set(options, argument);
        if (wrong) {
            fprintf(stderr, "plantsim: %s %s: %s\n", row->name, argument, wrong);
            return false;
        }
    }
    return true;
}

/* ---- time ---- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double seconds_since_midnight(void)
{
    time_t now = time(NULL);
    struct tm local = {0};
    localtime_r(&now, &local);
    return local.tm_hour * 3600 + local.tm_min * 60 + (local.tm_sec < 60 ? local.tm_sec : 59);
}

/* ---- the loop ---- */

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
}

/* Brings plant and registers to tick `tick` (since the start); `wall_start` is the counter's value
 * at tick 0. */
static void advance(struct plant *plant, struct units *units, uint64_t from, uint64_t tick,
                    uint32_t wall_start)
{
    assert(tick > from);
    uint64_t steps = tick - from;
    units_obey(units, plant);
    for (uint64_t i = 0; i < steps && i < CATCH_UP_TICKS_MAX; i++) plant_step(plant);
    uint64_t second = tick / TICKS_PER_S;
    plant->ticks = wall_start + (uint32_t)tick;
    plant->replay_row = (uint32_t)(second % (sizeof replay_celsius / sizeof replay_celsius[0]));
    plant->replay_c = (double)replay_celsius[plant->replay_row];
    units_publish(units, plant);
    if (second != from / TICKS_PER_S) units_change_bench(units, (uint32_t)second);
}

/* Serves until a signal. Gives false when the arrival log could not be written. */
static bool serve(struct server *server, struct plant *plant, struct units *units,
                  struct arrival_log *log)
{
    const uint32_t wall_start = (uint32_t)(clock_ns(CLOCK_REALTIME) / TICK_NS);
    const uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);
    bool log_good = true;
    for (uint64_t done = 0; !stop_asked && log_good;) {
        uint64_t now_ns = clock_ns(CLOCK_MONOTONIC) - start_ns, tick = now_ns / TICK_NS;
        if (tick > done) {
            advance(plant, units, done, tick, wall_start);
            if (tick / TICKS_PER_S != done / TICKS_PER_S) log_good = arrival_log_flush(log);
            done = tick;
        }
        server_poll(server, (int)((TICK_NS - now_ns % TICK_NS) / 1000000u) + 1);
    }
    return log_good;
}

/* Opens everything, serves, closes everything. Gives the exit status. */
static int run(const struct options *options)
{
    struct plant plant;
    struct units units;
    struct arrival_log *log = NULL;
    struct server *server = NULL;
    int status = 1;
    plant_init(&plant, options->seed, seconds_since_midnight());
    plant.replay_c = (double)replay_celsius[0];
    plant.ticks = (uint32_t)(clock_ns(CLOCK_REALTIME) / TICK_NS);
    if (!units_open(&units, &plant) ||
        !units_add_bench(&units, options->bench_units, options->bench_registers)) {
        fprintf(stderr, "plantsim: not enough memory for %u units\n", options->bench_units);
        goto close;
    }
    units_change_bench(&units, 0);
    if (options->log_path && !(log = arrival_log_open(options->log_path))) {
        fprintf(stderr, "plantsim: --log %s: %s\n", options->log_path, strerror(errno));
        goto close;
    }
    server = server_open(options->host, options->port, &units, log);
    if (!server) {
        fprintf(stderr, "plantsim: cannot listen on %s:%u: %s\n", options->host, options->port,
                strerror(errno));
        goto close;
    }
    printf("plantsim: Modbus TCP on %s:%u\n", options->host, server_port(server));
    fflush(stdout);
    status = serve(server, &plant, &units, log) ? 0 : 1;
close:
    server_close(server);
    if (!arrival_log_close(log) || (status && server)) {
        fprintf(stderr, "plantsim: --log %s: cannot be written\n", options->log_path);
        status = 1;
    }
    units_close(&units);
    return status;
}

int main(int argc, char **argv)
{
    struct options options = {
        .host = "127.0.0.1", .port = 5020, .seed = 1, .bench_registers = 1000};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return usage(stdout, 0);
    if (!parse_options(argc, argv, &options)) return usage(stderr, 2);
    if (options.print_map) {
        units_print_map(stdout);
        return 0;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return run(&options);
}
