/* mqttload.c - a load tool for MQTT brokers: publishers and subscribers in one process, every
 * payload checked.
 *
 * It shares no code with Millrace. One thread and epoll; MQTT 3.1.1. Publishers are held back by a
 * window: so many messages may be on their way (published and not yet delivered to all), so that
 * nothing need be lost with QoS 0 either. A payload carries its publisher, its number and the
 * moment it was written; each subscriber demands them in order. Prints one line of JSON; exit 1
 * when something was lost, came twice or out of order.
 *
 *   mqttload --port P [--user U --password W] --pairs N | --fan M | --rows N | --idle N
 *            [--qos Q] [--size B] [--seconds S] [--rate R] [--window W] [--keep]
 *
 * --pairs N: N publishers, each with a subscriber of its own; --fan M: one publisher, M
 * subscribers; --rows N: N publishers of JSON rows under data/, acknowledged with QoS 1; --idle N:
 * N connections that do nothing. --rate: messages a second of all publishers, evenly spread; 0 = as
 * fast as the window allows. --keep: sessions are kept (clean_session 0). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LATENCIES_MAX = 4000000, HEAD_BYTES = 24, TOPIC_BYTES = 32 };

struct client {
    int fd;
    bool is_publisher, is_ready, wants_write;
    unsigned index; /* of the publisher, or of the publisher whose messages it gets */
    uint64_t published, acknowledged, received;
    uint16_t next_id;
    uint8_t *in, *out;
    size_t in_size, in_room, out_at, out_size, out_room;
};

static struct {
    const char *host, *user, *password;
    unsigned port, pairs, fan, rows, idle, qos, size, window;
    double seconds, rate;
    bool keep;
} o = {.host = "127.0.0.1", .size = 64, .seconds = 5, .window = 1000};

static struct client *clients;
static unsigned client_count, ready_count;
static int poller;
static uint64_t delivered, wrong;
static uint64_t *least; /* by publisher: what its slowest subscriber has received */
static uint32_t *latency_us;
static size_t latency_count;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "mqttload: %s: %s\n", what, strerror(errno));
    exit(2);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- bytes out ---- */

static void watch(struct client *c)
{
    struct epoll_event e = {.events = EPOLLIN | (c->wants_write ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e)) fail("epoll_ctl");
}

static void flush(struct client *c)
{
    while (c->out_at < c->out_size) {
        ssize_t n = write(c->fd, c->out + c->out_at, c->out_size - c->out_at);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) fail("write");
        c->out_at += (size_t)n;
    }
    if (c->out_at == c->out_size) c->out_at = c->out_size = 0;
    if (c->wants_write == (c->out_size > 0)) return;
    c->wants_write = c->out_size > 0;
    watch(c);
}

static uint8_t *room(struct client *c, size_t size)
{
    if (c->out_size + size > c->out_room) {
        c->out_room = (c->out_size + size) * 2;
        if (!(c->out = realloc(c->out, c->out_room))) fail("memory");
    }
    uint8_t *at = c->out + c->out_size;
    c->out_size += size;
    return at;
}

static uint8_t *put_field(uint8_t *at, const void *bytes, size_t size)
{
    *at++ = (uint8_t)(size >> 8);
    *at++ = (uint8_t)size;
    memcpy(at, bytes, size);
    return at + size;
}

static uint8_t *put_text(uint8_t *at, const char *text)
{
    return put_field(at, text, strlen(text));
}

static size_t length_size(size_t body)
{
    return body < 128 ? 1 : body < 16384 ? 2 : body < 2097152 ? 3 : 4;
}

static uint8_t *begin(struct client *c, uint8_t first, size_t body)
{
    uint8_t *at = room(c, 1 + length_size(body) + body);
    *at++ = first;
    for (; body >= 128; body >>= 7) *at++ = (uint8_t)(body | 128);
    *at++ = (uint8_t)body;
    return at;
}

static void send_connect(struct client *c)
{
    char id[32];
    snprintf(id, sizeof id, "load-%s%u-%ld", c->is_publisher ? "p" : "s", (unsigned)(c - clients),
             o.keep ? 0L : (long)getpid());
    size_t body = 10 + 2 + strlen(id) + (o.user ? 4 + strlen(o.user) + strlen(o.password) : 0);
    uint8_t *at = begin(c, 0x10, body);
    at = put_text(at, "MQTT");
    *at++ = 4;
    *at++ = (uint8_t)((o.keep ? 0 : 2) | (o.user ? 0xc0 : 0));
    *at++ = 0;
    *at++ = 0; /* no keep-alive */
    at = put_text(at, id);
    if (o.user) put_text(put_text(at, o.user), o.password);
    flush(c);
}

static void send_subscribe(struct client *c)
{
    char topic[TOPIC_BYTES];
    snprintf(topic, sizeof topic, "load/%u", c->index);
    uint8_t *at = begin(c, 0x82, 2 + 2 + strlen(topic) + 1);
    *at++ = 0;
    *at++ = 1;
    *put_text(at, topic) = (uint8_t)o.qos;
    flush(c);
}

static void send_ack(struct client *c, uint8_t first, const uint8_t id[2])
{
    uint8_t *at = begin(c, first, 2);
    memcpy(at, id, 2);
}

static void publish_row(struct client *c)
{
    char topic[TOPIC_BYTES], row[100];
    int topic_size = snprintf(topic, sizeof topic, "data/line/d%u/load", c->index);
    int size = snprintf(row, sizeof row, "{\"temperature\":%u.%u,\"pressure\":%u.5,\"n\":%llu}",
                        (unsigned)(c->published % 90), (unsigned)(c->published % 10),
                        (unsigned)(c->published % 700), (unsigned long long)c->published);
    uint8_t *at = put_text(begin(c, 0x32, 2 + (size_t)topic_size + 2 + (size_t)size), topic);
    if (++c->next_id == 0) c->next_id = 1;
    *at++ = (uint8_t)(c->next_id >> 8);
    *at++ = (uint8_t)c->next_id;
    memcpy(at, row, (size_t)size);
    c->published++;
}

static void publish(struct client *c)
{
    if (o.rows) {
        publish_row(c);
        return;
    }
    char topic[TOPIC_BYTES];
    int topic_size = snprintf(topic, sizeof topic, "load/%u", c->index);
    size_t body = 2 + (size_t)topic_size + (o.qos ? 2 : 0) + o.size;
    uint8_t *at = put_text(begin(c, (uint8_t)(0x30 | o.qos << 1), body), topic);
    if (o.qos) {
        if (++c->next_id == 0) c->next_id = 1;
        *at++ = (uint8_t)(c->next_id >> 8);
        *at++ = (uint8_t)c->next_id;
    }
    uint64_t publisher = c->index;
    double sent = now_s();
    memset(at, 'x', o.size);
    memcpy(at, &publisher, 8);
    memcpy(at + 8, &c->published, 8);
    memcpy(at + 16, &sent, 8);
    c->published++;
}

/* ---- bytes in ---- */

static void take_message(struct client *c, uint8_t first, const uint8_t *body, size_t size)
{
    unsigned qos = first >> 1 & 3;
    size_t at = 2 + (size_t)(body[0] << 8 | body[1]), head = at + (qos ? 2 : 0);
    uint64_t publisher, number;
    double sent;
    if (head + HEAD_BYTES > size) {
        wrong++;
        return;
    }
    memcpy(&publisher, body + head, 8);
    memcpy(&number, body + head + 8, 8);
    memcpy(&sent, body + head + 16, 8);
    if (publisher != c->index || number != c->received || size - head != o.size) wrong++;
    c->received = number + 1;
    delivered++;
    if (latency_count < LATENCIES_MAX)
        latency_us[latency_count++] = (uint32_t)((now_s() - sent) * 1e6);
    if (qos == 1) send_ack(c, 0x40, body + at);
    if (qos == 2) send_ack(c, 0x50, body + at);
}

static void become_ready(struct client *c)
{
    c->is_ready = true;
    ready_count++;
}

static void take(struct client *c, uint8_t first, const uint8_t *body, size_t size)
{
    switch (first >> 4) {
    case 2:
        if (body[1]) {
            fprintf(stderr, "mqttload: the broker refuses the login: %u\n", body[1]);
            exit(2);
        }
        if (c->is_publisher || o.idle)
            become_ready(c);
        else
            send_subscribe(c);
        break;
    case 3: take_message(c, first, body, size); break;
    case 4:
    case 7: c->acknowledged++; break;
    case 5: send_ack(c, 0x62, body); break;
    case 6: send_ack(c, 0x70, body); break;
    case 9:
        if (body[2] > 2) {
            fprintf(stderr, "mqttload: the subscription was refused\n");
            exit(2);
        }
        become_ready(c);
        break;
    default: break;
    }
}

static void take_all(struct client *c)
{
    size_t at = 0;
    for (;;) {
        size_t size = 0, i = at + 1;
        unsigned shift = 0;
        while (i < c->in_size && (c->in[i] & 128) && shift < 21) {
            size |= (size_t)(c->in[i++] & 127) << shift;
            shift += 7;
        }
        if (i >= c->in_size) break;
        size |= (size_t)c->in[i++] << shift;
        if (i + size > c->in_size) break;
        take(c, c->in[at], c->in + i, size);
        at = i + size;
    }
    memmove(c->in, c->in + at, c->in_size - at);
    c->in_size -= at;
}

static void on_readable(struct client *c)
{
    for (;;) {
        if (c->in_room - c->in_size < 4096) {
            c->in_room = c->in_room ? c->in_room * 2 : (o.idle ? 4200 : 65536);
            if (!(c->in = realloc(c->in, c->in_room))) fail("memory");
        }
        size_t want = c->in_room - c->in_size;
        ssize_t n = read(c->fd, c->in + c->in_size, want);
        if (n == 0) {
            fprintf(stderr, "mqttload: the broker closed a connection\n");
            exit(2);
        }
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) fail("read");
        c->in_size += (size_t)n;
        take_all(c);
        if ((size_t)n < want) break;
    }
    flush(c);
}

/* ---- the run ---- */

static void open_client(struct client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o.port)};
    int one = 1;
    inet_pton(AF_INET, o.host, &to.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e)) fail("epoll_ctl");
    send_connect(c);
}

static void poll_once(int timeout_ms)
{
    struct epoll_event events[256];
    int n = epoll_wait(poller, events, 256, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct client *c = events[i].data.ptr;
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
        if (events[i].events & EPOLLOUT) flush(c);
    }
}

static void count_least(unsigned publishers)
{
    for (unsigned p = 0; p < publishers; p++) least[p] = UINT64_MAX;
    for (unsigned p = 0; o.rows && p < publishers; p++) least[p] = clients[p].acknowledged;
    for (unsigned i = 0; i < client_count; i++) {
        const struct client *c = &clients[i];
        if (!c->is_publisher && c->received < least[c->index]) least[c->index] = c->received;
    }
}

static void publish_more(unsigned publishers, double elapsed)
{
    count_least(publishers);
    for (unsigned i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (!c->is_publisher) continue;
        uint64_t due = o.rate > 0 ? (uint64_t)(elapsed * o.rate / publishers) : UINT64_MAX;
        while (c->published < due && c->published - least[c->index] < o.window &&
               (!o.qos || c->published - c->acknowledged < o.window) && c->out_size < 65536)
            publish(c);
        flush(c);
    }
}

static bool all_done(unsigned publishers)
{
    count_least(publishers);
    for (unsigned i = 0; i < client_count; i++) {
        const struct client *c = &clients[i];
        if (!c->is_publisher) continue;
        if (least[c->index] < c->published || (o.qos && c->acknowledged < c->published))
            return false;
    }
    return true;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t percentile(double p)
{
    return latency_count ? latency_us[(size_t)((double)(latency_count - 1) * p)] : 0;
}

/* One of the three says where the value goes. */
static const struct {
    const char *name;
    unsigned *number;
    double *real;
    const char **text;
} options[] = {
    {"--port", .number = &o.port},     {"--host", .text = &o.host},
    {"--user", .text = &o.user},       {"--password", .text = &o.password},
    {"--pairs", .number = &o.pairs},   {"--fan", .number = &o.fan},
    {"--rows", .number = &o.rows},     {"--idle", .number = &o.idle},
    {"--qos", .number = &o.qos},       {"--size", .number = &o.size},
    {"--window", .number = &o.window}, {"--seconds", .real = &o.seconds},
    {"--rate", .real = &o.rate},
};

static void set_option(const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (strcmp(name, options[i].name) != 0) continue;
        if (options[i].number) *options[i].number = (unsigned)strtoul(value, NULL, 10);
        if (options[i].real) *options[i].real = strtod(value, NULL);
        if (options[i].text) *options[i].text = value;
        return;
    }
    fprintf(stderr, "mqttload: unknown option %s\n", name);
    exit(2);
}

static void read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--keep"))
            o.keep = true;
        else
            set_option(name, i + 1 < argc ? argv[++i] : "");
    }
    if (!o.port || o.qos > 2 || o.size < HEAD_BYTES || (o.user && !o.password) ||
        (o.pairs > 0) + (o.fan > 0) + (o.rows > 0) + (o.idle > 0) != 1) {
        fprintf(stderr, "mqttload: --port and one of --pairs, --fan, --idle; --size at least 24\n");
        exit(2);
    }
}

static void open_all(void)
{
    if (o.rows) o.qos = 1;
    unsigned publishers = o.pairs + o.rows + (o.fan > 0); /* at most one is given */
    unsigned subscribers = o.pairs + o.fan;
    client_count = o.idle ? o.idle : publishers + subscribers;
    clients = calloc(client_count + 1u, sizeof *clients);
    least = calloc(publishers + 1, sizeof *least);
    latency_us = malloc(LATENCIES_MAX * sizeof *latency_us);
    if (!clients || !least || !latency_us) fail("memory");
    double began = now_s();
    for (unsigned i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        c->is_publisher = i < publishers;
        c->index = c->is_publisher ? i : o.pairs ? i - publishers : 0;
        open_client(c);
        if (i % 50 == 49) poll_once(0);
    }
    while (ready_count < client_count) {
        poll_once(1000);
        if (now_s() - began > 60) {
            fprintf(stderr, "mqttload: only %u of %u clients are ready after 60 s\n", ready_count,
                    client_count);
            exit(2);
        }
    }
    printf("{\"clients\":%u,\"connect_s\":%.3f", client_count, now_s() - began);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    struct rlimit files = {65536, 65536};
    (void)setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(0);
    open_all();
    unsigned publishers = o.pairs ? o.pairs : o.rows ? o.rows : 1;
    double began = now_s(), ended;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    if (o.idle) {
        printf("}\n");
        fflush(stdout);
        while (now_s() - began < o.seconds) poll_once(100);
        return 0;
    }
    while ((ended = now_s()) - began < o.seconds) {
        publish_more(publishers, ended - began);
        poll_once(o.rate > 0 ? 1 : 100);
    }
    for (double limit = now_s() + 10; !all_done(publishers) && now_s() < limit;) poll_once(100);
    ended = now_s();
    getrusage(RUSAGE_SELF, &after);
    uint64_t published = 0, lost = 0;
    for (unsigned i = 0; i < client_count; i++) {
        const struct client *c = &clients[i];
        if (c->is_publisher) published += c->published;
        if (o.rows) delivered += c->acknowledged;
        if (o.rows)
            lost += c->published - c->acknowledged;
        else if (!c->is_publisher)
            lost += clients[c->index].published - c->received;
    }
    double own = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
                          before.ru_stime.tv_sec) +
                 (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec +
                          after.ru_stime.tv_usec - before.ru_stime.tv_usec) /
                     1e6;
    qsort(latency_us, latency_count, sizeof *latency_us, by_value);
    printf(",\"seconds\":%.3f,\"published\":%llu,\"delivered\":%llu,\"lost\":%llu,\"wrong\":%llu,"
           "\"rate\":%.0f,\"p50_us\":%u,\"p99_us\":%u,\"tool_cpu_s\":%.3f}\n",
           ended - began, (unsigned long long)published, (unsigned long long)delivered,
           (unsigned long long)lost, (unsigned long long)wrong, (double)delivered / (ended - began),
           percentile(0.5), percentile(0.99), own);
    return lost || wrong ? 1 : 0;
}
