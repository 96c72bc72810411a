/* server.c - see server.h.
 *
 * Sockets never block: a client that sends half a frame keeps what it sent in its buffer and nobody
 * waits for it; one that does not read its answers is dropped when its socket is full. Requests of
 * one client are answered in order, all that have arrived in one turn. Invariant: clients[0 ..
 * clients_count) are open and polled[i + 1] belongs to clients[i]; polled[0] is the listener. */
#include "server.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 512,
    MBAP_BYTES = 6,        /* up to and with the length field; the unit counts as content */
    FRAME_BYTES_MAX = 260, /* MODBUS_TCP_MAX_ADU_LENGTH */
    INPUT_BYTES = 16 * FRAME_BYTES_MAX,
};

struct client {
    int fd;
    uint16_t number;
    size_t used;
    uint8_t input[INPUT_BYTES];
};

struct server {
    struct units *units;
    struct arrival_log *log;
    modbus_t *modbus; /* formats and sends answers; lent the socket of the client being answered */
    uint16_t port, accepted;
    size_t clients_count;
    struct pollfd polled[CLIENTS_MAX + 1];
    struct client *clients[CLIENTS_MAX];
};

/* The functions that we answer. A request's size (function byte included) is `bytes`, plus what the
 * byte at `counted_at` says where that is not 0. libmodbus does not check it. */
static const struct function {
    uint8_t code;
    uint8_t bytes, counted_at;
    bool single; /* one coil or register: what follows the address is no count */
} functions[] = {
    {MODBUS_FC_READ_COILS, 5, 0, false},
    {MODBUS_FC_READ_DISCRETE_INPUTS, 5, 0, false},
    {MODBUS_FC_READ_HOLDING_REGISTERS, 5, 0, false},
    {MODBUS_FC_READ_INPUT_REGISTERS, 5, 0, false},
    {MODBUS_FC_WRITE_SINGLE_COIL, 5, 0, true},
    {MODBUS_FC_WRITE_SINGLE_REGISTER, 5, 0, true},
    {MODBUS_FC_WRITE_MULTIPLE_COILS, 6, 5, false},
    {MODBUS_FC_WRITE_MULTIPLE_REGISTERS, 6, 5, false},
    {MODBUS_FC_MASK_WRITE_REGISTER, 7, 0, true},
    {MODBUS_FC_WRITE_AND_READ_REGISTERS, 10, 9, false},
};

static const struct function *function_find(uint8_t code)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (functions[i].code == code) return &functions[i];
    return NULL;
}

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint16_t word_at(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* ---- opening and closing ---- */

static int listen_on(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    if (fd < 0) return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, (const struct sockaddr *)address, sizeof *address) == 0 && listen(fd, 128) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

struct server *server_open(const char *host, uint16_t port, struct units *units,
                           struct arrival_log *log)
{
    assert(host && units);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t size = sizeof address;
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        errno = EINVAL;
        return NULL;
    }
    struct server *server = calloc(1, sizeof *server);
    if (!server) return NULL;
    *server = (struct server){.units = units, .log = log, .polled[0] = {.fd = -1}};
    server->modbus = modbus_new_tcp(NULL, 0);
    if (server->modbus)
        server->polled[0] = (struct pollfd){.fd = listen_on(&address), .events = POLLIN};
    if (server->polled[0].fd < 0) {
        int error = errno;
        server_close(server);
        errno = error;
        return NULL;
    }
    /* After some refusals libmodbus sleeps for this time and then empties the socket; that must not
     * hold up the others. */
    modbus_set_response_timeout(server->modbus, 0, 1);
    getsockname(server->polled[0].fd, (struct sockaddr *)&address, &size);
    server->port = ntohs(address.sin_port);
    return server;
}

uint16_t server_port(const struct server *server)
{
    return server->port;
}

/* Closes the client at `index`; the last one takes its place. */
static void client_drop(struct server *server, size_t index)
{
    assert(index < server->clients_count);
    size_t last = --server->clients_count;
    close(server->clients[index]->fd);
    free(server->clients[index]);
    server->clients[index] = server->clients[last];
    server->polled[index + 1] = server->polled[last + 1];
    server->clients[last] = NULL;
}

void server_close(struct server *server)
{
    if (!server) return;
    while (server->clients_count) client_drop(server, server->clients_count - 1);
    if (server->polled[0].fd >= 0) close(server->polled[0].fd);
    if (server->modbus) modbus_free(server->modbus);
    free(server);
}

/* ---- requests ---- */

/* Checks one frame and has libmodbus answer it. `frame` has FRAME_BYTES_MAX bytes, zero after
 * `size`. Gives false if the client is to be dropped. */
static bool frame_answer(struct server *server, const struct client *client, const uint8_t *frame,
                         size_t size, uint64_t now_ns)
{
    assert(size > MBAP_BYTES + 1 && size <= FRAME_BYTES_MAX);
    const uint8_t *request = frame + MBAP_BYTES + 1;
    size_t request_bytes = size - MBAP_BYTES - 1;
    uint8_t unit = frame[MBAP_BYTES];
    const struct function *function = function_find(request[0]);
    modbus_mapping_t *map = server->units->map[unit];
    arrival_log_add(
        server->log,
        &(struct arrival){.monotonic_ns = now_ns,
                          .unit = unit,
                          .function = request[0],
                          .address = word_at(request + 1),
                          .count = function && function->single ? 1 : word_at(request + 3),
                          .client = client->number});
    unsigned refusal = 0;
    if (!map)
        refusal = MODBUS_EXCEPTION_GATEWAY_TARGET;
    else if (!function)
        refusal = MODBUS_EXCEPTION_ILLEGAL_FUNCTION;
    else if (request_bytes !=
             function->bytes + (function->counted_at ? (size_t)request[function->counted_at] : 0))
        refusal = MODBUS_EXCEPTION_ILLEGAL_DATA_VALUE;
    modbus_set_socket(server->modbus, client->fd);
    if (refusal) return modbus_reply_exception(server->modbus, frame, refusal) >= 0;
    return modbus_reply(server->modbus, frame, (int)size, map) >= 0;
}

/* Answers every whole frame of the client's input. Gives false if the client is to be dropped. */
static bool client_answer(struct server *server, struct client *client, uint64_t now_ns)
{
    size_t at = 0;
    while (client->used - at > MBAP_BYTES) {
        const uint8_t *head = client->input + at;
        size_t size = MBAP_BYTES + (size_t)word_at(head + 4);
        /* Content: at least unit and function. Another protocol id is not Modbus, and where the
         * next frame begins is lost. */
        if (word_at(head + 2) != 0 || size < MBAP_BYTES + 2 || size > FRAME_BYTES_MAX) return false;
        if (client->used - at < size) break;
        uint8_t frame[FRAME_BYTES_MAX] = {0};
        memcpy(frame, head, size);
        if (!frame_answer(server, client, frame, size, now_ns)) return false;
        at += size;
    }
    memmove(client->input, client->input + at, client->used - at);
    client->used -= at;
    return true;
}

/* Takes what has arrived from the client. Gives false when it has gone, or is to be dropped. */
static bool client_read(struct server *server, struct client *client)
{
    assert(client->used < INPUT_BYTES);
    ssize_t got = recv(client->fd, client->input + client->used, INPUT_BYTES - client->used, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    client->used += (size_t)got;
    return client_answer(server, client, monotonic_ns());
}

/* Takes in all who wait at the door; above CLIENTS_MAX they are turned away. */
static void accept_clients(struct server *server)
{
    int fd, on = 1;
    while ((fd = accept4(server->polled[0].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct client *client =
            server->clients_count < CLIENTS_MAX ? calloc(1, sizeof *client) : NULL;
        if (!client) {
            close(fd);
            continue;
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
                         sizeof on); /* only a delay if it fails */
        client->fd = fd;
        client->number = server->accepted++;
        server->clients[server->clients_count++] = client;
        server->polled[server->clients_count] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
}

void server_poll(struct server *server, int timeout_ms)
{
    if (poll(server->polled, server->clients_count + 1, timeout_ms) <= 0)
        return; /* time is up, or a signal */
    /* From the last one down, because dropping moves the last one (already served) to the free
     * place. */
    for (size_t i = server->clients_count; i-- > 0;)
        if (server->polled[i + 1].revents && !client_read(server, server->clients[i]))
            client_drop(server, i);
    if (server->polled[0].revents) accept_clients(server);
}
