/* real_serial.c - serial lines of the real world: a byte stream over a tty.
 *
 * libuv's own tty handle is for terminals and knows no speed, so the descriptor is set up by
 * termios(3) (raw: every byte is data) and watched by a uv_poll. It is opened without waiting for a
 * carrier and kept from other programs (TIOCEXCL): two masters on one line would only hear each
 * other. Invariant: the poll handle lives until its close callback, which frees the stream; the
 * descriptor is closed there too, never before. */
#include "base/mem.h"
#include "os/real_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { REAL_SERIAL_MAGIC = 0x73657269 };

struct serial_stream {
    struct os_stream base; /* first */
    unsigned magic;
    struct os_task *task;
    uv_poll_t poll;
    int fd;
    struct buf pending; /* what the kernel did not take yet */
    bool is_open, is_paused, closing, closed_told;
    char peer[OS_HOST_BYTES];
};

static const struct os_stream_ops serial_ops;

static struct serial_stream *serial_of(struct os_stream *base)
{
    struct serial_stream *s = (struct serial_stream *)base;
    MUST(s->magic == REAL_SERIAL_MAGIC);
    return s;
}

static void on_event(uv_poll_t *poll, int status, int events);

/* Watches for what is wanted now: room for what waits, and bytes unless paused. */
static void watch(struct serial_stream *s)
{
    int events = 0;
    if (!s->is_open || s->pending.size) events |= UV_WRITABLE;
    if (s->is_open && !s->is_paused) events |= UV_READABLE;
    if (s->closing) return;
    if (!events || s->closed_told)
        (void)uv_poll_stop(&s->poll);
    else
        (void)uv_poll_start(&s->poll, events, on_event);
}

static void tell_closed(struct serial_stream *s, enum err err, const char *text)
{
    if (s->closing || s->closed_told) return;
    s->closed_told = true;
    watch(s);
    if (s->base.events && s->base.events->on_closed)
        s->base.events->on_closed(s->base.owner, err, text);
}

/* ---- bytes ---- */

/* Gives the kernel what it takes; false when the line failed. */
static bool push(struct serial_stream *s)
{
    while (s->pending.size) {
        ssize_t n = write(s->fd, s->pending.at, s->pending.size);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
        if (n < 0) return false;
        buf_drop_front(&s->pending, (size_t)n);
    }
    return true;
}

static void on_writable(struct serial_stream *s)
{
    if (!s->is_open) {
        s->is_open = true;
        watch(s);
        if (s->base.events && s->base.events->on_open) s->base.events->on_open(s->base.owner);
        return;
    }
    bool had = s->pending.size > 0;
    if (!push(s)) {
        tell_closed(s, err_from_errno(errno), strerror(errno));
        return;
    }
    watch(s);
    if (had && !s->pending.size && s->base.events && s->base.events->on_drained)
        s->base.events->on_drained(s->base.owner);
}

static void on_readable(struct serial_stream *s)
{
    ssize_t n = read(s->fd, s->task->read_bytes, sizeof s->task->read_bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0)
        tell_closed(s, err_from_errno(errno), strerror(errno));
    else if (n == 0)
        tell_closed(s, ERR_CLOSED, "the serial line is gone");
    else if (s->base.events && s->base.events->on_read)
        s->base.events->on_read(s->base.owner, s->task->read_bytes, (size_t)n);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct serial_stream *s = poll->data;
    if (s->closing) return;
    if (status < 0) {
        tell_closed(s, err_from_errno(-status), uv_strerror(status));
        return;
    }
    if (events & UV_WRITABLE) on_writable(s);
    if (!s->closing && events & UV_READABLE) on_readable(s);
}

/* ---- the stream's operations ---- */

static enum err serial_write(struct os_stream *base, const void *bytes, size_t size)
{
    struct serial_stream *s = serial_of(base);
    if (!s->is_open || s->closing || s->closed_told) return ERR_CLOSED;
    buf_add(&s->pending, bytes, size);
    if (buf_failed(&s->pending)) return ERR_NO_MEMORY;
    if (!push(s)) return ERR_CLOSED; /* reading finds the same failure and tells it */
    watch(s);
    return ERR_OK;
}

static size_t serial_queued(const struct os_stream *base)
{
    return ((const struct serial_stream *)base)->pending.size;
}

static void serial_pause(struct os_stream *base, bool paused)
{
    struct serial_stream *s = serial_of(base);
    s->is_paused = paused;
    watch(s);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct serial_stream *s = handle->data;
    /* Or close() would wait up to 30 s for what a UART has not sent, and the loop with it. */
    (void)tcflush(s->fd, TCIOFLUSH);
    (void)close(s->fd);
    buf_free(&s->pending);
    s->magic = 0;
    mem_free(s);
}

static void serial_close(struct os_stream *base)
{
    struct serial_stream *s = serial_of(base);
    MUST(!s->closing);
    s->closing = true;
    uv_close((uv_handle_t *)&s->poll, on_handle_closed);
}

static const char *serial_peer(const struct os_stream *base)
{
    return ((const struct serial_stream *)base)->peer;
}

static const struct os_stream_ops serial_ops = {
    .write = serial_write,
    .queued = serial_queued,
    .pause = serial_pause,
    .close = serial_close,
    .peer = serial_peer,
};

/* ---- opening ---- */

static speed_t speed_of(uint32_t baud)
{
    static const struct {
        uint32_t baud;
        speed_t speed;
    } speeds[] = {{300, B300},       {600, B600},       {1200, B1200},      {2400, B2400},
                  {4800, B4800},     {9600, B9600},     {19200, B19200},    {38400, B38400},
                  {57600, B57600},   {115200, B115200}, {230400, B230400},  {460800, B460800},
                  {500000, B500000}, {921600, B921600}, {1000000, B1000000}};
    for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++)
        if (speeds[i].baud == baud) return speeds[i].speed;
    return B9600; /* os_address_serial lets no other through */
}

static bool set_up(int fd, const struct os_address *address)
{
    struct termios t;
    if (tcgetattr(fd, &t)) return false;
    cfmakeraw(&t);
    t.c_cflag &= ~(tcflag_t)(CSIZE | PARENB | PARODD | CSTOPB | CRTSCTS);
    t.c_cflag |= CLOCAL | CREAD | (address->data_bits == 7 ? (tcflag_t)CS7 : (tcflag_t)CS8);
    if (address->parity != 'N') t.c_cflag |= PARENB;
    if (address->parity == 'O') t.c_cflag |= PARODD;
    if (address->stop_bits == 2) t.c_cflag |= CSTOPB;
    t.c_cc[VMIN] = 1; /* so that a read of nothing says EAGAIN, and 0 bytes mean the end */
    t.c_cc[VTIME] = 0;
    (void)cfsetispeed(&t, speed_of(address->baud));
    (void)cfsetospeed(&t, speed_of(address->baud));
    if (tcsetattr(fd, TCSANOW, &t)) return false;
    (void)tcflush(fd, TCIOFLUSH); /* what came before we listened is nobody's */
    (void)ioctl(fd, TIOCEXCL);
    return true;
}

static enum err open_line(const struct os_address *address, int *out, struct why *why)
{
    int fd = open(address->host, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return real_error(why, -errno, "open", address->host);
    if (isatty(fd) && set_up(fd, address)) {
        *out = fd;
        return ERR_OK;
    }
    int failed = errno == ENOTTY ? ENOTTY : errno;
    (void)close(fd);
    if (failed == ENOTTY)
        return why_set(why, ERR_INVALID, "%s is not a serial line", address->host);
    return real_error(why, -failed, "set up", address->host);
}

enum err real_serial_open(struct os_task *task, const struct os_address *address,
                          const struct os_stream_events *events, void *owner,
                          struct os_stream **stream, struct why *why)
{
    int fd = -1;
    enum err err = open_line(address, &fd, why);
    if (err) return err;
    struct serial_stream *s = mem_alloc_zero(1, sizeof *s);
    if (!s || uv_poll_init(&task->loop, &s->poll, fd)) {
        mem_free(s);
        (void)close(fd);
        return ERR_NO_MEMORY;
    }
    s->magic = REAL_SERIAL_MAGIC;
    s->base.ops = &serial_ops;
    s->task = task;
    s->fd = fd;
    s->poll.data = s;
    (void)str_copy(s->peer, sizeof s->peer, str_of(address->host));
    os_stream_own(&s->base, events, owner);
    watch(s); /* writable at once: on_open comes from the loop, never inside this call */
    *stream = &s->base;
    return ERR_OK;
}
