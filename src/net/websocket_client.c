/* websocket_client.c - see websocket_client.h; frames are wslay's.
 *
 *     below opens → GET with Upgrade → 101 → frames both ways
 *
 * wslay works on memory: bytes that were read are offered to it through a cursor, and what it wants
 * to send is gathered and written below in one go. The owner may close the stream inside any event;
 * memory is freed when the outermost call leaves. What arrives while the owner pauses is kept: it
 * is no more than what had been read by then, since the stream below is paused, too.
 *
 * Made by a bridge that dials. Owns the stream below. Invariants: on_closed comes once, and no
 * event after it; nothing is written before is_open; the memory goes when `closed` and not entered.
 */
#include "net/websocket_client.h"
#include "base/mem.h"
#include "net/http_message.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <wslay/wslay.h>

enum { CLIENT_MAGIC = 0x77736373, KEY_BYTES = 24, NONCE_BYTES = 16 };

struct ws_stream {
    struct os_stream base; /* first */
    unsigned magic;
    struct os *os;
    struct os_stream *below;
    struct os_timer *timer; /* gives what was kept while the owner paused */
    wslay_event_context_ptr wslay;
    char key[32];
    const char *host, *path, *protocol; /* in `texts` */
    struct arena texts;
    struct buf head, out, kept;
    const uint8_t *at; /* input not yet taken by wslay */
    size_t left;
    bool is_open, is_paused, is_receiving, is_control, is_text, told_closed, closed;
    unsigned entered;
};

static struct ws_stream *ws_of(struct os_stream *s)
{
    struct ws_stream *w = (struct ws_stream *)s;
    MUST(w->magic == CLIENT_MAGIC);
    return w;
}

static void release(struct ws_stream *w)
{
    MUST(w->magic == CLIENT_MAGIC && !w->entered && !w->is_receiving);
    if (w->timer) w->os->ops->timer_close(w->timer);
    os_stream_close(&w->below);
    if (w->wslay) wslay_event_context_free(w->wslay);
    arena_free(&w->texts);
    buf_free(&w->head);
    buf_free(&w->out);
    buf_free(&w->kept);
    w->magic = 0;
    mem_free(w);
}

static void leave(struct ws_stream *w)
{
    MUST(w->entered > 0);
    if (--w->entered == 0 && w->closed) release(w);
}

static void tell_closed(struct ws_stream *w, enum err err, const char *text)
{
    MUST(w->magic == CLIENT_MAGIC && w->entered);
    if (w->closed || w->told_closed) return;
    w->told_closed = true;
    os_stream_pause(w->below, true);
    if (w->base.events && w->base.events->on_closed)
        w->base.events->on_closed(w->base.owner, err, text);
}

/* ---- wslay's callbacks ---- */

static ssize_t give_input(wslay_event_context_ptr wslay, uint8_t *bytes, size_t size, int flags,
                          void *arg)
{
    struct ws_stream *w = arg;
    (void)flags;
    if (w->left == 0) {
        wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    size_t n = size < w->left ? size : w->left;
    memcpy(bytes, w->at, n);
    w->at += n;
    w->left -= n;
    return (ssize_t)n;
}

static ssize_t take_output(wslay_event_context_ptr wslay, const uint8_t *bytes, size_t size,
                           int flags, void *arg)
{
    struct ws_stream *w = arg;
    (void)flags;
    buf_add(&w->out, bytes, size);
    if (!buf_failed(&w->out)) return (ssize_t)size;
    wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static int make_mask(wslay_event_context_ptr wslay, uint8_t *bytes, size_t size, void *arg)
{
    struct ws_stream *w = arg;
    (void)wslay;
    w->os->ops->random(w->os, bytes, size);
    return 0;
}

static void on_frame(wslay_event_context_ptr wslay,
                     const struct wslay_event_on_frame_recv_start_arg *frame, void *arg)
{
    struct ws_stream *w = arg;
    (void)wslay;
    w->is_control = wslay_is_ctrl_frame(frame->opcode);
    w->is_text |= frame->opcode == WSLAY_TEXT_FRAME;
}

static void on_chunk(wslay_event_context_ptr wslay,
                     const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *arg)
{
    struct ws_stream *w = arg;
    (void)wslay;
    if (w->is_control || w->is_text || w->closed || w->told_closed || !chunk->data_length) return;
    if (w->is_paused || w->kept.size)
        buf_add(&w->kept, chunk->data, chunk->data_length);
    else if (w->base.events && w->base.events->on_read)
        w->base.events->on_read(w->base.owner, chunk->data, chunk->data_length);
}

static const struct wslay_event_callbacks callbacks = {.recv_callback = give_input,
                                                       .send_callback = take_output,
                                                       .genmask_callback = make_mask,
                                                       .on_frame_recv_start_callback = on_frame,
                                                       .on_frame_recv_chunk_callback = on_chunk};

/* ---- frames ---- */

/* Writes what wslay has. */
static enum err flush(struct ws_stream *w)
{
    int result = wslay_event_send(w->wslay);
    enum err err = result || buf_failed(&w->out) ? ERR_NO_MEMORY : ERR_OK;
    if (!err && w->out.size) err = os_stream_write(w->below, w->out.at, w->out.size);
    buf_free(&w->out);
    w->out = BUF_EMPTY;
    return err;
}

/* Whether the other side goes on; else the owner is told. */
static void look_for_end(struct ws_stream *w, int result)
{
    char text[80];
    unsigned code = wslay_event_get_status_code_received(w->wslay);
    if (w->is_text) {
        tell_closed(w, ERR_PROTOCOL, "WebSocket: the peer sends text, where bytes are expected");
    } else if (result || buf_failed(&w->kept)) {
        tell_closed(w, ERR_PROTOCOL, "WebSocket: the peer broke the protocol");
    } else if (wslay_event_get_close_received(w->wslay)) {
        snprintf(text, sizeof text, "WebSocket: the peer closed the connection (code %u)", code);
        tell_closed(w, ERR_CLOSED, text);
    } else if (!wslay_event_want_read(
                   w->wslay)) { /* wslay itself has ended it, and told the peer */
        tell_closed(w, ERR_PROTOCOL, "WebSocket: the peer broke the protocol");
    }
}

static void take_frames(struct ws_stream *w, const uint8_t *bytes, size_t size)
{
    MUST(w->is_open && !w->is_receiving);
    w->at = bytes;
    w->left = size;
    w->is_receiving = true;
    int result = wslay_event_recv(w->wslay);
    w->is_receiving = false;
    w->left = 0;
    if (w->closed) return;
    enum err err = flush(w); /* pongs, and what the owner wrote meanwhile */
    if (err) tell_closed(w, err, err_text(err));
    look_for_end(w, result);
}

/* ---- the handshake ---- */

void websocket_accept_value(const char *key, char out[WEBSOCKET_ACCEPT_BYTES])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char joined[KEY_BYTES + sizeof guid];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    memcpy(joined, key, KEY_BYTES);
    memcpy(joined + KEY_BYTES, guid, sizeof guid - 1);
    int good = EVP_Digest(joined, KEY_BYTES + sizeof guid - 1, digest, &size, EVP_sha1(), NULL);
    MUST(good && size == 20);
    (void)EVP_EncodeBlock((unsigned char *)out, digest, (int)size);
}

static void greet(struct ws_stream *w)
{
    uint8_t nonce[NONCE_BYTES];
    struct buf out = BUF_EMPTY;
    w->os->ops->random(w->os, nonce, sizeof nonce);
    (void)EVP_EncodeBlock((unsigned char *)w->key, nonce, NONCE_BYTES);
    MUST(strlen(w->key) == KEY_BYTES);
    buf_printf(&out,
               "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Protocol: %s\r\n\r\n",
               w->path, w->host, w->key, w->protocol);
    enum err err = buf_failed(&out) ? ERR_NO_MEMORY : os_stream_write(w->below, out.at, out.size);
    buf_free(&out);
    if (err) tell_closed(w, err, err_text(err));
}

/* "HTTP/1.1 101 …" */
static bool read_status(struct str line, unsigned *status)
{
    static const char lead[] = "HTTP/1.1 ";
    *status = 0;
    if (!str_starts(line, lead) || line.size < sizeof lead + 2) return false;
    for (size_t i = sizeof lead - 1; i < sizeof lead + 2; i++) {
        if (line.at[i] < '0' || line.at[i] > '9') return false;
        *status = *status * 10 + (unsigned)(line.at[i] - '0');
    }
    return line.size == sizeof lead + 2 || line.at[sizeof lead + 2] == ' ';
}

struct answer {
    struct str upgrade, connection, accept, protocol;
    unsigned accepts, protocols, extensions;
};

static void take_header(struct answer *a, struct str line)
{
    struct str name;
    (void)str_split(&line, ':', &name);
    struct str value = str_trim(line);
    if (str_is_nocase(name, "Upgrade")) a->upgrade = value;
    if (str_is_nocase(name, "Connection")) a->connection = value;
    if (str_is_nocase(name, "Sec-WebSocket-Extensions")) a->extensions++;
    if (str_is_nocase(name, "Sec-WebSocket-Accept")) {
        a->accept = value;
        a->accepts++;
    }
    if (str_is_nocase(name, "Sec-WebSocket-Protocol")) {
        a->protocol = value;
        a->protocols++;
    }
}

enum err websocket_read_answer(struct str head, const char *accept, const char *protocol,
                               struct why *why)
{
    struct answer a = {.upgrade = STR("")};
    struct str line;
    unsigned status;
    (void)str_split(&head, '\n', &line);
    if (!read_status(str_trim(line), &status))
        return why_set(why, ERR_CONNECT, "WebSocket: the peer does not answer in HTTP/1.1");
    if (status != 101)
        return why_set(why, ERR_CONNECT,
                       "WebSocket: the server answers with status %u: is the path right?", status);
    while (head.size && str_split(&head, '\n', &line)) take_header(&a, line);
    if (!http_list_has(a.upgrade, "websocket") || !http_list_has(a.connection, "upgrade") ||
        a.accepts != 1 || !str_is(a.accept, accept))
        return why_set(why, ERR_CONNECT, "WebSocket: the server's handshake does not fit");
    if (a.protocols != 1 || !str_is(a.protocol, protocol))
        return why_set(why, ERR_CONNECT, "WebSocket: the server does not speak %s there", protocol);
    if (a.extensions)
        return why_set(why, ERR_CONNECT,
                       "WebSocket: the server uses an extension that was not asked for");
    return ERR_OK;
}

/* The server's head, and perhaps first frames behind it. */
static void take_answer(struct ws_stream *w, const uint8_t *bytes, size_t size)
{
    static const char end[] = "\r\n\r\n";
    char accept[WEBSOCKET_ACCEPT_BYTES];
    struct why why = WHY_NONE;
    size_t before = w->head.size;
    buf_add(&w->head, bytes, size);
    const char *found =
        buf_failed(&w->head) ? NULL : memmem(w->head.at, w->head.size, end, sizeof end - 1);
    if (!found) {
        if (buf_failed(&w->head) || w->head.size > WEBSOCKET_HEAD_BYTES_MAX)
            tell_closed(w, ERR_CONNECT, "WebSocket: the server's head is larger than 8 KiB");
        return;
    }
    size_t head = (size_t)(found - w->head.at) + sizeof end - 1;
    websocket_accept_value(w->key, accept);
    enum err err = websocket_read_answer((struct str){w->head.at, head}, accept, w->protocol, &why);
    buf_free(&w->head);
    w->head = BUF_EMPTY;
    if (err) {
        tell_closed(w, err, why_text(&why, err));
        return;
    }
    w->is_open = true;
    if (w->base.events && w->base.events->on_open) w->base.events->on_open(w->base.owner);
    size_t used = head - before;
    if (!w->closed && !w->told_closed && used < size) take_frames(w, bytes + used, size - used);
}

/* ---- events of the stream below ---- */

static void below_open(void *owner)
{
    struct ws_stream *w = owner;
    w->entered++;
    greet(w);
    leave(w);
}

static void below_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct ws_stream *w = owner;
    w->entered++;
    if (!w->closed && !w->told_closed) {
        if (w->is_open)
            take_frames(w, bytes, size);
        else
            take_answer(w, bytes, size);
    }
    leave(w);
}

static void below_drained(void *owner)
{
    struct ws_stream *w = owner;
    w->entered++;
    if (w->is_open && !w->told_closed && w->base.events && w->base.events->on_drained)
        w->base.events->on_drained(w->base.owner);
    leave(w);
}

static void below_closed(void *owner, enum err err, const char *text)
{
    struct ws_stream *w = owner;
    w->entered++;
    tell_closed(w, err, text);
    leave(w);
}

static const struct os_stream_events below_events = {below_open, below_read, below_drained,
                                                     below_closed};

static void on_timer(void *arg)
{
    struct ws_stream *w = arg;
    struct buf kept = w->kept;
    if (w->is_paused || w->closed || w->told_closed) return;
    w->entered++;
    w->kept = BUF_EMPTY;
    if (kept.size && w->base.events && w->base.events->on_read)
        w->base.events->on_read(w->base.owner, (const uint8_t *)kept.at, kept.size);
    buf_free(&kept);
    leave(w);
}

/* ---- what the owner does ---- */

static enum err ws_write(struct os_stream *s, const void *bytes, size_t size)
{
    struct ws_stream *w = ws_of(s);
    struct wslay_event_msg message = {
        .opcode = WSLAY_BINARY_FRAME, .msg = bytes, .msg_length = size};
    if (!w->is_open || w->told_closed || w->closed) return ERR_CLOSED;
    if (size == 0) return ERR_OK;
    if (wslay_event_queue_msg(w->wslay, &message)) return ERR_NO_MEMORY;
    if (w->is_receiving) return ERR_OK; /* goes out when wslay has read to the end */
    w->entered++;
    enum err err = flush(w);
    leave(w);
    return err;
}

static size_t ws_queued(const struct os_stream *s)
{
    const struct ws_stream *w = (const struct ws_stream *)s;
    return os_stream_queued(w->below) + wslay_event_get_queued_msg_length(w->wslay);
}

static void ws_pause(struct os_stream *s, bool paused)
{
    struct ws_stream *w = ws_of(s);
    if (w->is_paused == paused || w->told_closed) return;
    w->is_paused = paused;
    os_stream_pause(w->below, paused && w->is_open);
    w->os->ops->timer_set(w->timer, paused ? -1 : 0);
}

static void ws_close(struct os_stream *s)
{
    struct ws_stream *w = ws_of(s);
    MUST(!w->closed);
    w->entered++;
    w->closed = true;
    if (w->is_open && !w->told_closed && !w->is_receiving &&
        !wslay_event_queue_close(w->wslay, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0))
        (void)flush(w); /* nobody waits for the peer's */
    leave(w);
}

static const char *ws_peer(const struct os_stream *s)
{
    return os_stream_peer(((const struct ws_stream *)s)->below);
}

static const struct os_stream_ops ws_ops = {
    .write = ws_write, .queued = ws_queued, .pause = ws_pause, .close = ws_close, .peer = ws_peer};

static bool set_up(struct ws_stream *w, struct os_task *task, const char *host, const char *path,
                   const char *protocol)
{
    arena_init(&w->texts, NULL);
    w->host = arena_strdup(&w->texts, host, strlen(host));
    w->path = arena_strdup(&w->texts, path, strlen(path));
    w->protocol = arena_strdup(&w->texts, protocol, strlen(protocol));
    if (!w->host || !w->path || !w->protocol ||
        w->os->ops->timer_make(task, on_timer, w, &w->timer) ||
        wslay_event_context_client_init(&w->wslay, &callbacks, w))
        return false;
    wslay_event_config_set_no_buffering(w->wslay, 1);
    wslay_event_config_set_max_recv_msg_length(w->wslay, INT64_MAX);
    return true;
}

enum err websocket_wrap_client(struct os *os, struct os_task *task, const char *host,
                               const char *path, const char *protocol, struct os_stream *below,
                               struct os_stream **stream)
{
    struct ws_stream *w = mem_alloc_zero(1, sizeof *w);
    MUST(os && below && host && path && path[0] == '/' && protocol);
    if (!w) {
        os_stream_close(&below);
        return ERR_NO_MEMORY;
    }
    *w = (struct ws_stream){.base.ops = &ws_ops, .magic = CLIENT_MAGIC, .os = os, .below = below};
    if (!set_up(w, task, host, path, protocol)) {
        release(w);
        return ERR_NO_MEMORY;
    }
    os_stream_own(below, &below_events, w);
    *stream = &w->base;
    return ERR_OK;
}
