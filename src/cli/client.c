/* client.c - see client.h. Blocking on purpose: the command line does one thing at a time.
 * OpenSSL's BIO serves plain and TLS connections through one interface. */
#include "cli/client.h"
#include "cli/server_url.h"
#include "base/mem.h"
#include "base/num.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOKEN_BYTES = 4096 }; /* also of another issuer's */

struct client {
    struct server_url url;
    char token[TOKEN_BYTES], server[300];
    char own_ca[4096];    /* the certificate of a node on this machine */
    bool was_interrupted; /* by a signal: somebody wants an end, not another try */
    BIO *bio;
    SSL_CTX *ssl;
};

const char *client_server(const struct client *client)
{
    return client->server;
}

/* A small text file of the data folder, without its line end. */
static bool read_line_file(const char *folder, const char *name, char *out, size_t out_bytes)
{
    char path[4096];
    struct buf text = BUF_EMPTY;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    bool ok =
        cli_read_file(path, &text) && str_copy(out, out_bytes, str_trim(buf_str(&text))) && out[0];
    buf_free(&text);
    return ok;
}

/* Whether the node is the one of the data folder, so that the administrator's token may go to it:
 * found there, named together with it, or on this machine or the host that it says. */
static bool is_own_node(const struct client *c, const struct cli_args *args, bool is_found,
                        const char *folder)
{
    static const char *const here[] = {"localhost", "127.0.0.1", "::1"};
    struct server_url own;
    char server[300];
    if (is_found || cli_value(args, "--data")) return true;
    for (size_t i = 0; i < sizeof here / sizeof here[0]; i++)
        if (strcmp(c->url.name, here[i]) == 0) return true;
    return read_line_file(folder, "server.txt", server, sizeof server) &&
           !server_url_read(str_of(server), &own, NULL) && strcmp(own.name, c->url.name) == 0;
}

static enum err read_server(struct client *c, const char *text, struct why *why)
{
    enum err err = server_url_read(str_of(text), &c->url, why);
    if (!err && !str_copy(c->server, sizeof c->server, str_of(text)))
        err = why_set(why, ERR_INVALID, "the server's address is too long");
    return err;
}

bool client_check_server(const struct cli_args *args)
{
    const char *given = cli_value(args, "--server");
    struct client none = {0};
    struct why why = WHY_NONE;
    if (!given) given = getenv("MILLRACE_SERVER");
    enum err err = given ? read_server(&none, given, &why) : ERR_OK;
    if (err) cli_fail(args, CLI_USAGE, "%s", why_text(&why, err));
    return !err;
}

struct client *client_open(const struct cli_args *args)
{
    char folder[3900], server[300];
    struct client *c = mem_alloc_zero(1, sizeof *c);
    if (!c) return NULL;
    cli_data_folder(args, folder, sizeof folder);
    const char *given = cli_value(args, "--server"), *token = cli_value(args, "--token");
    if (!given) given = getenv("MILLRACE_SERVER");
    if (!token) token = getenv("MILLRACE_TOKEN");
    if (!given && read_line_file(folder, "server.txt", server, sizeof server)) given = server;
    if (!given) {
        cli_fail(
            args, CLI_FAILED,
            "no node found: %s/server.txt is missing; start one with 'millrace run', or name it "
            "with --data or --server",
            folder);
        mem_free(c);
        return NULL;
    }
    struct why why = WHY_NONE;
    enum err err = read_server(c, given, &why);
    if (err) {
        cli_fail(args, CLI_FAILED, "%s", why_text(&why, err));
        mem_free(c);
        return NULL;
    }
    snprintf(c->own_ca, sizeof c->own_ca, "%s/tls-cert.pem", folder);
    if (token && !str_copy(c->token, sizeof c->token, str_of(token))) {
        cli_fail(args, CLI_USAGE, "the token is longer than %d bytes", TOKEN_BYTES - 1);
        mem_free(c);
        return NULL;
    }
    /* Without one the node says what is missing. */
    if (!token && is_own_node(c, args, given == server, folder))
        (void)read_line_file(folder, "admin.token", c->token, sizeof c->token);
    return c;
}

static void disconnect(struct client *c)
{
    BIO_free_all(c->bio);
    c->bio = NULL;
}

void client_close(struct client *c)
{
    if (!c) return;
    disconnect(c);
    SSL_CTX_free(c->ssl);
    mem_free(c);
}

static enum err connect_tls(struct client *c, struct why *why)
{
    if (!c->ssl) c->ssl = SSL_CTX_new(TLS_client_method());
    if (!c->ssl) return ERR_NO_MEMORY;
    (void)SSL_CTX_set_default_verify_paths(c->ssl);
    const char *pinned = getenv("MILLRACE_CA");
    if (pinned && SSL_CTX_load_verify_locations(c->ssl, pinned, NULL) != 1)
        return why_set(why, ERR_TLS, "MILLRACE_CA: %s cannot be read", pinned);
    if (!pinned && access(c->own_ca, R_OK) == 0)
        (void)SSL_CTX_load_verify_locations(c->ssl, c->own_ca, NULL);
    ERR_clear_error();
    SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
    c->bio = BIO_new_ssl_connect(c->ssl);
    SSL *ssl = NULL;
    if (!c->bio || !BIO_get_ssl(c->bio, &ssl) || !ssl) return ERR_NO_MEMORY;
    (void)SSL_set_tlsext_host_name(ssl, c->url.name);
    (void)SSL_set1_host(ssl, c->url.name);
    return ERR_OK;
}

static enum err connect_to(struct client *c, struct why *why)
{
    if (c->bio) return ERR_OK;
    enum err err = ERR_OK;
    if (c->url.is_tls)
        err = connect_tls(c, why);
    else if (!(c->bio = BIO_new(BIO_s_connect())))
        err = ERR_NO_MEMORY;
    if (err) return err;
    (void)BIO_set_conn_hostname(c->bio, c->url.host);
    (void)BIO_set_conn_port(c->bio, c->url.port);
    errno = 0;
    if (BIO_do_connect(c->bio) == 1) return ERR_OK;
    char text[200];
    int errnum = errno;
    unsigned long code = ERR_peek_last_error();
    ERR_error_string_n(code, text, sizeof text);
    ERR_clear_error();
    disconnect(c);
    if (c->url.is_tls && ERR_GET_LIB(code) == ERR_LIB_SSL)
        return why_set(
            why, ERR_TLS,
            "%s: TLS failed: %s (a self-signed certificate: MILLRACE_CA=…/tls-cert.pem trusts it)",
            c->server, text);
    return why_set(why, ERR_CONNECT, "cannot reach %s%s: %s", c->server,
                   c->url.has_port ? ""
                   : c->url.is_tls ? " (port 443, since it names none; a node's own is 8443)"
                                   : " (port 80, since it names none; a node's own is 8420)",
                   errnum ? strerror(errnum) : text);
}

/* A node that goes away is an error here, and no signal; a pipe that nobody reads still is one. */
static bool write_all(struct client *c, struct str bytes)
{
    bool is_good = true;
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    while (bytes.size && is_good) {
        int n = BIO_write(c->bio, bytes.at, bytes.size > INT32_MAX ? INT32_MAX : (int)bytes.size);
        is_good = n > 0;
        if (!is_good) break;
        bytes.at += n;
        bytes.size -= (size_t)n;
    }
    (void)signal(SIGPIPE, before);
    return is_good;
}

/* One more piece of the answer into `in`. */
static bool read_more(struct client *c, struct buf *in)
{
    if (!buf_reserve(in, 65536)) return false;
    errno = 0;
    int n = BIO_read(c->bio, in->at + in->size, 65536);
    if (n > 0) in->size += (size_t)n;
    c->was_interrupted |= n <= 0 && errno == EINTR;
    return n > 0;
}

struct head {
    int status;
    bool chunked, close, has_length;
    uint64_t length;
};

static void read_header_line(struct str line, struct head *head, struct client_answer *answer)
{
    struct str value = line, name;
    if (!str_split(&value, ':', &name)) return;
    value = str_trim(value);
    if (str_is_nocase(name, "content-length"))
        head->has_length = num_parse_u64(value, &head->length);
    if (str_is_nocase(name, "transfer-encoding")) head->chunked = str_is_nocase(value, "chunked");
    if (str_is_nocase(name, "connection")) head->close = str_is_nocase(value, "close");
    if (str_is_nocase(name, "content-type"))
        (void)str_copy(answer->content_type, sizeof answer->content_type, value);
}

/* Reads up to the empty line; what follows it stays in `in`. */
static bool read_head(struct client *c, struct buf *in, struct head *head,
                      struct client_answer *answer)
{
    const char *end = NULL;
    while (!(end = in->size ? memmem(in->at, in->size, "\r\n\r\n", 4) : NULL))
        if (in->size > 65536 || !read_more(c, in)) return false;
    struct str rest = {in->at, (size_t)(end - in->at)}, line;
    uint64_t status = 0;
    if (!str_split(&rest, '\n', &line) || line.size < 12 ||
        !num_parse_u64((struct str){line.at + 9, 3}, &status))
        return false;
    head->status = (int)status;
    while (rest.size && str_split(&rest, '\n', &line))
        read_header_line(str_trim(line), head, answer);
    buf_drop_front(in, (size_t)(end - in->at) + 4);
    return true;
}

static bool read_chunks(struct client *c, struct buf *in, struct buf *body)
{
    for (;;) {
        const char *end = NULL;
        while (!(end = in->size ? memmem(in->at, in->size, "\r\n", 2) : NULL))
            if (!read_more(c, in)) return false;
        char size_text[20];
        if (!str_copy(size_text, sizeof size_text, (struct str){in->at, (size_t)(end - in->at)}))
            return false;
        unsigned long long size = strtoull(size_text, NULL, 16);
        if (size > CLIENT_ANSWER_BYTES_MAX) return false;
        buf_drop_front(in, (size_t)(end - in->at) + 2);
        while (in->size < size + 2)
            if (!read_more(c, in)) return false;
        buf_add(body, in->at, (size_t)size);
        buf_drop_front(in, (size_t)size + 2);
        if (size == 0) return !buf_failed(body);
    }
}

static bool read_body(struct client *c, struct buf *in, const struct head *head,
                      struct client_answer *answer)
{
    if (head->status == 204 || head->status == 304) return true;
    if (head->chunked) return read_chunks(c, in, &answer->body);
    if (head->has_length && head->length > CLIENT_ANSWER_BYTES_MAX) return false;
    while (!head->has_length || in->size < head->length)
        if (!read_more(c, in)) break;
    if (head->has_length && in->size < head->length) return false;
    buf_add_str(&answer->body, buf_str(in));
    return !buf_failed(&answer->body);
}

static bool exchange(struct client *c, struct str request, struct str body,
                     struct client_answer *answer)
{
    struct buf in = BUF_EMPTY;
    struct head head = {0};
    bool ok = write_all(c, request) && write_all(c, body) && read_head(c, &in, &head, answer) &&
              read_body(c, &in, &head, answer);
    answer->status = head.status;
    buf_free(&in);
    if (!ok || head.close || !(head.has_length || head.chunked)) disconnect(c);
    return ok;
}

static void add_head(const struct client *c, struct buf *request, const char *method,
                     const char *target, const char *accept, const char *content_type,
                     size_t body_bytes)
{
    buf_printf(request, "%s %s HTTP/1.1\r\nHost: %s:%s\r\nAccept: %s\r\nContent-Length: %zu\r\n",
               method, target, c->url.host, c->url.port, accept, body_bytes);
    if (content_type) buf_printf(request, "Content-Type: %s\r\n", content_type);
    if (c->token[0]) buf_printf(request, "Authorization: Bearer %s\r\n", c->token);
    buf_add_text(request, "\r\n");
}

enum err client_request(struct client *c, const char *method, const char *target,
                        const char *accept, const char *content_type, struct str body,
                        struct client_answer *answer, struct why *why)
{
    *answer = (struct client_answer){0};
    struct buf request = BUF_EMPTY;
    c->was_interrupted = false;
    add_head(c, &request, method, target, accept, content_type, body.size);
    bool again = c->bio != NULL; /* a kept connection may have been closed meanwhile */
    enum err err = buf_failed(&request) ? ERR_NO_MEMORY : connect_to(c, why);
    bool ok = !err && exchange(c, buf_str(&request), body, answer);
    if (!err && !ok && again && answer->status == 0 && !c->was_interrupted &&
        !(err = connect_to(c, why)))
        ok = exchange(c, buf_str(&request), body, answer);
    buf_free(&request);
    if (err) return err;
    return ok ? ERR_OK : why_set(why, ERR_PROTOCOL, "%s: the answer ended early", c->server);
}

/* Hands out the whole lines at the front of `text`. False: no more are wanted. */
static bool use_lines(struct buf *text, bool (*use)(void *arg, struct str line), void *arg)
{
    const char *end;
    bool more = true;
    while (more && text->size && (end = memchr(text->at, '\n', text->size))) {
        struct str line = {text->at, (size_t)(end - text->at)};
        if (str_trim(line).size) more = use(arg, str_trim(line));
        buf_drop_front(text, line.size + 1);
    }
    return more;
}

/* The size that stands before a chunk; it is taken off. */
static bool read_chunk_size(struct client *c, struct buf *in, uint64_t *size)
{
    const char *end = NULL;
    while (!(end = in->size ? memmem(in->at, in->size, "\r\n", 2) : NULL))
        if (in->size > 20 || !read_more(c, in)) return false;
    struct str text = {in->at, (size_t)(end - in->at)};
    bool is_good = num_parse_hex(text, size) && *size <= CLIENT_ANSWER_BYTES_MAX;
    buf_drop_front(in, text.size + 2);
    return is_good;
}

/* A body as it comes. Errors: PROTOCOL when it ends early, CANCELLED. */
static enum err use_body(struct client *c, struct buf *in, const struct head *head,
                         bool (*use)(void *arg, struct str piece), void *arg)
{
    uint64_t left = head->has_length ? head->length : UINT64_MAX;
    for (;;) {
        if (head->chunked && !read_chunk_size(c, in, &left)) return ERR_PROTOCOL;
        bool is_last = !head->chunked || left == 0;
        while (left) {
            if (!in->size && !read_more(c, in))
                return !head->chunked && !head->has_length ? ERR_OK : ERR_PROTOCOL;
            struct str piece = {in->at, in->size < left ? in->size : (size_t)left};
            if (!use(arg, piece)) return ERR_CANCELLED;
            buf_drop_front(in, piece.size);
            left -= piece.size;
        }
        while (head->chunked && in->size < 2)
            if (!read_more(c, in)) return ERR_PROTOCOL;
        if (head->chunked) buf_drop_front(in, 2);
        if (is_last) return ERR_OK;
    }
}

enum err client_download(struct client *c, const char *method, const char *target,
                         const char *accept, const char *content_type, struct str body,
                         bool (*use)(void *arg, struct str piece), void *arg,
                         struct client_answer *answer, struct why *why)
{
    struct buf request = BUF_EMPTY, in = BUF_EMPTY;
    struct head head = {0};
    *answer = (struct client_answer){0};
    disconnect(c); /* a kept connection could have gone, and this is not tried again */
    add_head(c, &request, method, target, accept, content_type, body.size);
    enum err err = buf_failed(&request) ? ERR_NO_MEMORY : connect_to(c, why);
    bool is_sent = !err && write_all(c, buf_str(&request)) && write_all(c, body) &&
                   read_head(c, &in, &head, answer);
    answer->status = head.status;
    if (!err && !is_sent) err = ERR_PROTOCOL;
    if (!err && head.status == 200)
        err = use_body(c, &in, &head, use, arg);
    else if (!err && !read_body(c, &in, &head, answer))
        err = ERR_PROTOCOL;
    if (err == ERR_PROTOCOL)
        err = why_set(why, ERR_PROTOCOL, "%s: the answer ended early", c->server);
    disconnect(c);
    buf_free(&request);
    buf_free(&in);
    return err;
}

struct lines {
    struct buf text;
    bool (*use)(void *arg, struct str line);
    void *arg;
};

static bool add_lines(void *arg, struct str piece)
{
    struct lines *lines = arg;
    buf_add_str(&lines->text, piece);
    return use_lines(&lines->text, lines->use, lines->arg);
}

/* That the stream ends is no error here: the node may have been stopped. */
enum err client_stream(struct client *c, const char *target, const char *accept,
                       bool (*use)(void *arg, struct str line), void *arg,
                       struct client_answer *answer, struct why *why)
{
    struct lines lines = {BUF_EMPTY, use, arg};
    enum err err = client_download(c, "GET", target, accept, NULL, (struct str){0}, add_lines,
                                   &lines, answer, why);
    buf_free(&lines.text);
    bool is_begun = answer->status == 200 && (err == ERR_PROTOCOL || err == ERR_CANCELLED);
    return is_begun ? ERR_OK : err;
}

const char *client_token(const struct client *client)
{
    return client->token;
}

void client_answer_free(struct client_answer *answer)
{
    buf_free(&answer->body);
}

void client_error_text(const struct client_answer *answer, char *out, size_t out_bytes)
{
    struct arena arena;
    struct doc *doc = NULL;
    arena_init(&arena, NULL);
    struct str text = {0};
    if (!doc_read_json(buf_str(&answer->body), &arena, &doc, NULL)) {
        text = doc_text(doc_find(doc, "error.message"));
        if (!text.size) text = doc_text(doc_get(doc, "message"));
    }
    if (text.size)
        (void)str_copy(out, out_bytes, text);
    else
        snprintf(out, out_bytes, "the node answered with status %d", answer->status);
    arena_free(&arena);
}
