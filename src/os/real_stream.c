/* real_stream.c - byte streams of the real world: TCP and Unix sockets over libuv.
 *
 * A write goes to the kernel at once as far as it takes it; the rest is copied into one pending
 * buffer that is sent by a single uv_write at a time, so that order is plain and memory is the
 * bytes themselves. There may be ten thousand streams that do nothing: what only a connect or a
 * waiting write needs is allocated for its time. A stream's memory is freed in libuv's close
 * callback; no event reaches the owner after close.
 *
 * Invariants: `sending` is there exactly while something is not with the kernel; is_writing: libuv
 * has `sending->bytes`, one write at a time; on_closed comes once. A name is resolved on libuv's
 * own threads, which may outlast the handle: whichever of the two ends last frees the stream. */
#include "base/mem.h"
#include "os/real_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Of a stream that connects. */
struct opening {
    uv_connect_t connecting;
    uv_getaddrinfo_t resolving;
    struct os_address address;
};

/* Of a stream whose peer is slow. */
struct sending {
    uv_write_t request;
    struct buf bytes, pending; /* with libuv; waiting for it */
};

/* After an outage thousands connect at once; who finds no place tries again after a second. The
 * kernel has its own limit (net.core.somaxconn). */
enum { BACKLOG = 4096 };

struct real_stream {
    struct os_stream base; /* first */
    struct os_task *task;
    struct opening *opening; /* NULL: accepted */
    struct sending *sending; /* NULL: all is with the kernel */
    char *peer;
    uint8_t kind; /* enum os_address_kind; thousands are idle: no byte too many */
    bool is_open : 1, is_reading : 1, is_writing : 1, is_resolving : 1, closing : 1,
        closed_told : 1, is_paused : 1, is_shut : 1;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
};

static const struct os_stream_ops stream_ops;

static struct real_stream *real_of(struct os_stream *s)
{
    return (struct real_stream *)s;
}

static void free_stream(struct real_stream *s)
{
    if (s->sending) {
        buf_free(&s->sending->bytes);
        buf_free(&s->sending->pending);
    }
    mem_free(s->sending);
    mem_free(s->opening);
    mem_free(s->peer);
    mem_free(s);
}

static void release(struct real_stream *s)
{
    MUST(s->closing);
    if (s->is_resolving || !uv_is_closing(&s->handle)) return;
    free_stream(s);
}

static void tell_closed(struct real_stream *s, enum err err, const char *text)
{
    if (s->closing || s->closed_told) return;
    s->closed_told = true;
    if (s->is_reading) uv_read_stop(&s->stream);
    if (s->base.events && s->base.events->on_closed)
        s->base.events->on_closed(s->base.owner, err, text);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct os_task *task = ((struct real_stream *)handle->data)->task;
    *buf = uv_buf_init((char *)task->read_bytes, sizeof task->read_bytes);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct real_stream *s = stream->data;
    if (n == 0 || s->closing) return;
    if (n == UV_EOF) {
        tell_closed(s, ERR_CLOSED, "the peer closed the connection");
    } else if (n < 0) {
        tell_closed(s, err_from_errno((int)-n), uv_strerror((int)n));
    } else if (s->base.events && s->base.events->on_read) {
        s->base.events->on_read(s->base.owner, (const uint8_t *)buf->base, (size_t)n);
    }
}

static void start_reading(struct real_stream *s)
{
    int failed = uv_read_start(&s->stream, on_alloc, on_read);
    s->is_reading = failed == 0;
    if (failed) tell_closed(s, err_from_errno(-failed), uv_strerror(failed));
}

static void stream_pause(struct os_stream *base, bool paused)
{
    struct real_stream *s = real_of(base);
    s->is_paused = paused;
    if (!s->is_open || s->closing || s->closed_told) return;
    if (paused) {
        uv_read_stop(&s->stream);
        s->is_reading = false;
    } else if (!s->is_reading) {
        start_reading(s);
    }
}

/* ---- writing ---- */

static void on_written(uv_write_t *request, int status);

static void send_pending(struct real_stream *s)
{
    struct sending *w = s->sending;
    MUST(!s->is_writing && w->pending.size > 0);
    buf_clear(&w->bytes);
    struct buf swap = w->bytes;
    w->bytes = w->pending;
    w->pending = swap;
    uv_buf_t out = uv_buf_init(w->bytes.at, (unsigned)w->bytes.size);
    s->is_writing = true;
    w->request.data = s;
    int failed = uv_write(&w->request, &s->stream, &out, 1, on_written);
    if (!failed) return;
    s->is_writing = false;
    tell_closed(s, err_from_errno(-failed), uv_strerror(failed));
}

static void free_sending(struct real_stream *s)
{
    buf_free(&s->sending->bytes);
    buf_free(&s->sending->pending);
    mem_free(s->sending);
    s->sending = NULL;
}

/* All is with the kernel. A peer that has gone is told by the reader. */
static void shut(struct real_stream *s)
{
    uv_os_fd_t fd;
    if (!uv_fileno(&s->handle, &fd)) (void)shutdown(fd, SHUT_WR);
}

static void on_written(uv_write_t *request, int status)
{
    struct real_stream *s = request->data;
    MUST(s->is_writing && s->sending);
    s->is_writing = false;
    if (s->closing) return;
    if (status < 0) {
        tell_closed(s, err_from_errno(-status), uv_strerror(status));
    } else if (s->sending->pending.size) {
        send_pending(s);
    } else {
        free_sending(s);
        if (s->is_shut) shut(s);
        if (s->base.events && s->base.events->on_drained) s->base.events->on_drained(s->base.owner);
    }
}

static enum err stream_write(struct os_stream *base, const void *bytes, size_t size)
{
    struct real_stream *s = real_of(base);
    if (!s->is_open || s->is_shut || s->closing || s->closed_told) return ERR_CLOSED;
    size_t done = 0;
    if (!s->sending) {
        uv_buf_t out = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)size);
        int n = uv_try_write(&s->stream, &out, 1);
        if (n > 0) done = (size_t)n;
        if (n < 0 && n != UV_EAGAIN) return ERR_CLOSED; /* the reader will tell on_closed */
    }
    if (done == size) return ERR_OK;
    if (!s->sending && !(s->sending = mem_alloc_zero(1, sizeof *s->sending))) return ERR_NO_MEMORY;
    struct buf *pending = &s->sending->pending;
    buf_add(pending, (const char *)bytes + done, size - done);
    if (buf_failed(pending)) return ERR_NO_MEMORY;
    if (!s->is_writing) send_pending(s);
    return ERR_OK;
}

static void stream_shutdown(struct os_stream *base)
{
    struct real_stream *s = real_of(base);
    if (!s->is_open || s->closing || s->closed_told || s->is_shut) return;
    s->is_shut = true;
    if (!s->sending) shut(s);
}

static size_t stream_queued(const struct os_stream *base)
{
    const struct sending *w = ((const struct real_stream *)base)->sending;
    return w ? w->pending.size + w->bytes.size : 0;
}

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct real_stream *s = handle->data;
    if (s->is_resolving) {
        s->handle.data = NULL; /* on_resolved frees */
        return;
    }
    release(s);
}

static void stream_close(struct os_stream *base)
{
    struct real_stream *s = real_of(base);
    MUST(!s->closing);
    s->closing = true;
    if (s->is_resolving) uv_cancel((uv_req_t *)&s->opening->resolving);
    uv_close(&s->handle, on_handle_closed);
}

static const char *stream_peer(const struct os_stream *base)
{
    const struct real_stream *s = (const struct real_stream *)base;
    return s->peer ? s->peer : "unknown";
}

static const struct os_stream_ops stream_ops = {
    .write = stream_write,
    .queued = stream_queued,
    .pause = stream_pause,
    .close = stream_close,
    .shutdown = stream_shutdown,
    .peer = stream_peer,
};

/* ---- opening ---- */

static struct real_stream *stream_new(struct os_task *task, enum os_address_kind kind)
{
    size_t handle = kind == OS_ADDRESS_UNIX ? sizeof(uv_pipe_t) : sizeof(uv_tcp_t);
    struct real_stream *s = mem_alloc_zero(1, offsetof(struct real_stream, handle) + handle);
    if (!s) return NULL;
    s->base.ops = &stream_ops;
    s->task = task;
    s->kind = (uint8_t)kind;
    int failed = kind == OS_ADDRESS_UNIX ? uv_pipe_init(&task->loop, &s->pipe, 0)
                                         : uv_tcp_init(&task->loop, &s->tcp);
    MUST(!failed);
    s->handle.data = s;
    return s;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct real_stream *s = request->data;
    if (s->closing) return;
    if (status < 0) {
        tell_closed(s, status == UV_ECANCELED ? ERR_CANCELLED : ERR_CONNECT, uv_strerror(status));
        return;
    }
    s->is_open = true;
    mem_free(s->opening);
    s->opening = NULL;
    if (s->kind == OS_ADDRESS_TCP) (void)uv_tcp_nodelay(&s->tcp, 1);
    if (!s->is_paused) start_reading(s);
    if (!s->closed_told && s->base.events && s->base.events->on_open)
        s->base.events->on_open(s->base.owner);
}

static int connect_to(struct real_stream *s, const struct sockaddr *address)
{
    s->opening->connecting.data = s;
    return uv_tcp_connect(&s->opening->connecting, &s->tcp, address, on_connected);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct real_stream *s = request->data;
    s->is_resolving = false;
    if (s->closing) {
        if (found) uv_freeaddrinfo(found);
        if (!s->handle.data) free_stream(s); /* the handle is gone already */
        return;
    }
    int failed =
        status || !found ? (status ? status : UV_EAI_NONAME) : connect_to(s, found->ai_addr);
    if (found) uv_freeaddrinfo(found);
    if (failed) tell_closed(s, ERR_CONNECT, uv_strerror(failed));
}

static int resolve(struct real_stream *s)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];
    struct opening *o = s->opening;
    snprintf(port, sizeof port, "%u", o->address.port);
    o->resolving.data = s;
    int failed =
        uv_getaddrinfo(&s->task->loop, &o->resolving, on_resolved, o->address.host, port, &hints);
    s->is_resolving = failed == 0;
    return failed;
}

/* 0 when `host` is a numeric address. */
static int numeric(const struct os_address *address, struct sockaddr_storage *out)
{
    if (uv_ip4_addr(address->host, address->port, (struct sockaddr_in *)out) == 0) return 0;
    return uv_ip6_addr(address->host, address->port, (struct sockaddr_in6 *)out);
}

enum err real_stream_connect(struct os_task *task, const struct os_address *address,
                             const struct os_stream_events *events, void *owner,
                             struct os_stream **stream, struct why *why)
{
    if (address->kind == OS_ADDRESS_SERIAL)
        return real_serial_open(task, address, events, owner, stream, why);
    char name[OS_HOST_BYTES + 8];
    struct real_stream *s = stream_new(task, address->kind);
    if (!s) return ERR_NO_MEMORY;
    os_address_print(address, name, sizeof name);
    s->opening = mem_alloc_zero(1, sizeof *s->opening);
    s->peer = mem_strdup(name);
    if (!s->opening || !s->peer) {
        stream_close(&s->base);
        return ERR_NO_MEMORY;
    }
    s->opening->address = *address;
    os_stream_own(&s->base, events, owner);
    struct sockaddr_storage to;
    int failed = 0;
    if (address->kind == OS_ADDRESS_UNIX) {
        s->opening->connecting.data = s;
        uv_pipe_connect(&s->opening->connecting, &s->pipe, address->host, on_connected);
    } else if (numeric(address, &to) == 0) {
        failed = connect_to(s, (const struct sockaddr *)&to);
    } else {
        failed = resolve(s);
    }
    if (failed) {
        stream_close(&s->base);
        return real_error(why, failed, "connect to", name);
    }
    *stream = &s->base;
    return ERR_OK;
}

/* ---- from one task to another ---- */

struct os_socket {
    int fd;
    enum os_address_kind kind;
    char peer[]; /* its name */
};

enum err real_stream_leave(struct os_stream *base, struct os_socket **out)
{
    struct real_stream *s = real_of(base);
    const char *peer = stream_peer(base);
    size_t size = strlen(peer) + 1;
    struct os_socket *socket = mem_alloc(sizeof *socket + size);
    uv_os_fd_t fd;
    enum err err = socket ? ERR_OK : ERR_NO_MEMORY;
    MUST(s->is_open && !s->is_reading && !s->is_writing);
    if (!err && (uv_fileno(&s->handle, &fd) || (socket->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0))
        err = ERR_IO;
    if (!err) {
        socket->kind = s->kind;
        memcpy(socket->peer, peer, size);
        *out = socket;
    } else {
        mem_free(socket);
    }
    stream_close(base);
    return err;
}

void real_socket_drop(struct os *os, struct os_socket *socket)
{
    MUST(socket && socket->fd >= 0);
    (void)os;
    (void)close(socket->fd);
    mem_free(socket);
}

enum err real_stream_join(struct os_task *task, struct os_socket *socket,
                          const struct os_stream_events *events, void *owner,
                          struct os_stream **out)
{
    struct real_stream *s = stream_new(task, socket->kind);
    if (!s) {
        real_socket_drop(task->os, socket);
        return ERR_NO_MEMORY;
    }
    int failed = socket->kind == OS_ADDRESS_UNIX ? uv_pipe_open(&s->pipe, socket->fd)
                                                 : uv_tcp_open(&s->tcp, socket->fd);
    if (failed) {
        real_socket_drop(task->os, socket);
        stream_close(&s->base);
        return err_from_errno(-failed);
    }
    s->is_open = true;
    s->peer = mem_strdup(socket->peer); /* without memory it is "unknown" */
    mem_free(socket);
    os_stream_own(&s->base, events, owner);
    *out = &s->base;
    start_reading(s);
    return ERR_OK;
}

/* ---- listening ---- */

struct os_listener {
    struct os_task *task;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    enum os_address_kind kind;
    void (*on_accept)(void *owner, struct os_stream *stream);
    void *owner;
};

static void name_peer(struct real_stream *s)
{
    struct sockaddr_storage from;
    int size = sizeof from;
    char name[OS_HOST_BYTES + 8];
    struct os_address address = {.kind = OS_ADDRESS_TCP};
    if (uv_tcp_getpeername(&s->tcp, (struct sockaddr *)&from, &size)) return;
    uv_ip_name((const struct sockaddr *)&from, address.host, sizeof address.host);
    address.port = ntohs(from.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&from)->sin6_port
                                                    : ((struct sockaddr_in *)&from)->sin_port);
    os_address_print(&address, name, sizeof name);
    s->peer = mem_strdup(name); /* without memory it is "unknown" */
}

static void on_connection(uv_stream_t *server, int status)
{
    struct os_listener *listener = server->data;
    if (status < 0) return; /* out of descriptors: the connection stays in the backlog */
    struct real_stream *s = stream_new(listener->task, listener->kind);
    if (!s) return;
    if (uv_accept(server, &s->stream)) {
        stream_close(&s->base);
        return;
    }
    s->is_open = true;
    if (listener->kind == OS_ADDRESS_TCP) {
        (void)uv_tcp_nodelay(&s->tcp, 1);
        name_peer(s);
    } else {
        s->peer = mem_strdup("unix");
    }
    listener->on_accept(listener->owner, &s->base);
    if (!s->closing && !s->is_paused) start_reading(s);
}

static void listener_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void real_listener_close(struct os_listener *listener)
{
    uv_close(&listener->handle, listener_closed);
}

static int bind_tcp(struct os_listener *l, const struct os_address *address,
                    struct os_address *bound)
{
    struct sockaddr_storage at;
    struct os_address numeric_address = *address;
    if (strcmp(address->host, "localhost") == 0)
        (void)str_copy(numeric_address.host, sizeof numeric_address.host, STR("127.0.0.1"));
    int failed = numeric(&numeric_address, &at);
    if (!failed) failed = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&at, 0);
    if (!failed) failed = uv_listen(&l->stream, BACKLOG, on_connection);
    if (failed || !bound) return failed;
    int size = sizeof at;
    *bound = *address;
    failed = uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&at, &size);
    bound->port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                                 : ((struct sockaddr_in *)&at)->sin_port);
    return failed;
}

/* A socket's file that a program left behind is in the way; one where somebody listens is not
 * touched, nor is any other file: the bind says so. */
static void remove_stale(const struct sockaddr_un *at)
{
    struct stat info;
    if (lstat(at->sun_path, &info) || !S_ISSOCK(info.st_mode)) return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return;
    bool is_stale =
        connect(fd, (const struct sockaddr *)at, sizeof *at) != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    if (is_stale) (void)unlink(at->sun_path);
}

/* Readable and writable for the owner and his group before anybody can connect. */
static int bind_unix(struct os_listener *l, const struct os_address *address)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (!str_copy(at.sun_path, sizeof at.sun_path, str_of(address->host))) return UV_ENAMETOOLONG;
    remove_stale(&at);
    int failed = uv_pipe_bind(&l->pipe, address->host);
    if (!failed && chmod(address->host, 0660)) failed = uv_translate_sys_error(errno);
    return failed ? failed : uv_listen(&l->stream, BACKLOG, on_connection);
}

enum err real_listen(struct os_task *task, const struct os_address *address,
                     void (*on_accept)(void *owner, struct os_stream *stream), void *owner,
                     struct os_listener **out, struct os_address *bound, struct why *why)
{
    MUST(address->kind == OS_ADDRESS_TCP || address->kind == OS_ADDRESS_UNIX);
    struct os_listener *l = mem_alloc_zero(1, sizeof *l);
    if (!l) return ERR_NO_MEMORY;
    *l = (struct os_listener){
        .task = task, .kind = address->kind, .on_accept = on_accept, .owner = owner};
    bool is_unix = address->kind == OS_ADDRESS_UNIX;
    int failed =
        is_unix ? uv_pipe_init(&task->loop, &l->pipe, 0) : uv_tcp_init(&task->loop, &l->tcp);
    MUST(!failed);
    l->handle.data = l;
    if (is_unix) {
        failed = bind_unix(l, address);
        if (bound) *bound = *address;
    } else {
        failed = bind_tcp(l, address, bound);
    }
    if (failed) {
        char text[OS_HOST_BYTES + 8];
        os_address_print(address, text, sizeof text);
        real_listener_close(l);
        return real_error(why, failed, "listen on", text);
    }
    *out = l;
    return ERR_OK;
}
