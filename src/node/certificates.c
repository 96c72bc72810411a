/* certificates.c - see certificates.h. */
#include "node/certificates.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

static const char component[] = "node";

struct certificates {
    struct context *context;
    const char *folder;
    char cert_path[4096], key_path[4096];
    struct str cert, key;
};

/* Under another name first: a start finds the whole file or none. */
static enum err write_secret(struct os *os, const char *path, struct str text, struct why *why)
{
    struct os_file *file;
    char fresh[4096 + 8];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    (void)os->ops->path_remove(os, fresh, NULL); /* of a start that was cut off */
    enum err err = os->ops->file_open(os, fresh, OS_FILE_WRITE | OS_FILE_CREATE | OS_FILE_EXCLUSIVE,
                                      &file, why);
    if (err) return err;
    err = os->ops->file_write(file, 0, text.at, text.size, why);
    if (!err) err = os->ops->file_sync(file, why);
    os->ops->file_close(file);
    return err ? err : os->ops->path_rename(os, fresh, path, why);
}

/* The key comes first: where there is a certificate, there is its key. */
static enum err make(const struct certificates *c, struct why *why)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
    struct buf cert = BUF_EMPTY, key = BUF_EMPTY;
    struct os *os = c->context->os;
    int64_t day_ago_s = context_wall_ns(c->context) / TIME_NS_PER_S - 86400;
    enum err err = tls_make_self_signed("millrace", names, 3, day_ago_s, 3650, &cert, &key, why);
    if (!err) err = write_secret(os, c->key_path, buf_str(&key), why);
    if (!err) err = write_secret(os, c->cert_path, buf_str(&cert), why);
    if (!err) err = os->ops->path_sync(os, c->folder, why);
    buf_free(&cert);
    buf_free(&key);
    return err;
}

static enum err read_pair(struct certificates *c, struct arena *arena, struct why *why)
{
    struct os *os = c->context->os;
    enum err err = node_read_file(os, c->cert_path, arena, &c->cert, why);
    return err ? err : node_read_file(os, c->key_path, arena, &c->key, why);
}

static void put_aside(const struct certificates *c, const char *path)
{
    char aside[4096 + 16];
    snprintf(aside, sizeof aside, "%s.damaged", path);
    (void)c->context->os->ops->path_rename(c->context->os, path, aside, NULL);
}

/* The own pair: whole, or a new one. */
static enum err read_own(struct certificates *c, struct arena *arena, struct why *why)
{
    struct os *os = c->context->os;
    struct os_path_info info;
    struct why damage = WHY_NONE;
    if (os->ops->path_info(os, c->cert_path, &info, NULL) == ERR_NOT_FOUND) {
        enum err err = make(c, why);
        return err ? err : read_pair(c, arena, why);
    }
    enum err err = read_pair(c, arena, why);
    if (err && err != ERR_NOT_FOUND) return err; /* a disk that does not read is not damage */
    if (!err) err = tls_check_self_signed(c->cert, c->key, &damage);
    if (!err || err == ERR_NO_MEMORY) return err;
    put_aside(c, c->cert_path);
    put_aside(c, c->key_path);
    diag(c->context, DIAG_ERROR, component,
         "tls-cert.pem, tls-key.pem: %s; put aside as *.damaged, and a new pair was made: whoever "
         "has pinned the fingerprint must be told the new one, or put the files back from a backup",
         damage.text[0] ? damage.text : "the key is missing");
    err = make(c, why);
    return err ? err : read_pair(c, arena, why);
}

/* Further ones, in the order of the file. */
static enum err add_more(struct context *context, const struct node_config *config,
                         struct arena *arena, struct tls_config *tls, struct why *why)
{
    const struct node_certificate *more = config->tls.more.items;
    enum err err = ERR_OK;
    for (size_t i = 0; i < config->tls.more.count && !err; i++) {
        struct certificates c = {.context = context};
        if (!str_copy(c.cert_path, sizeof c.cert_path, more[i].cert) ||
            !str_copy(c.key_path, sizeof c.key_path, more[i].key))
            return why_set(why, ERR_LIMIT, "tls.certificates: a path is too long");
        err = read_pair(&c, arena, why);
        if (!err) err = tls_config_add_certificate(tls, c.cert, c.key, why);
        if (err && why) err = why_wrap(why, err, "tls.certificates: %s", c.cert_path);
    }
    return err;
}

enum err certificates_read(struct context *context, const char *folder,
                           const struct node_config *config, struct arena *arena,
                           struct tls_config **tls, struct why *why)
{
    struct certificates c = {.context = context, .folder = folder};
    struct str ca = {0};
    char ca_path[4096], fingerprint[128];
    bool is_own = config->tls.cert.size == 0;
    snprintf(c.cert_path, sizeof c.cert_path, "%s/tls-cert.pem", folder);
    snprintf(c.key_path, sizeof c.key_path, "%s/tls-key.pem", folder);
    if (!is_own) (void)str_copy(c.cert_path, sizeof c.cert_path, config->tls.cert);
    if (!is_own) (void)str_copy(c.key_path, sizeof c.key_path, config->tls.key);
    enum err err = is_own ? read_own(&c, arena, why) : read_pair(&c, arena, why);
    if (!err && config->tls.ca.size) {
        (void)str_copy(ca_path, sizeof ca_path, config->tls.ca);
        err = node_read_file(context->os, ca_path, arena, &ca, why);
    }
    if (!err) err = tls_server_config(c.cert, c.key, ca, tls, why);
    if (err) return err;
    if (ca.size && config->tls.is_client_optional) tls_config_certificates_optional(*tls);
    err = add_more(context, config, arena, *tls, why);
    if (err) {
        tls_config_release(*tls);
        *tls = NULL;
    }
    if (!err && tls_fingerprint(c.cert, fingerprint, sizeof fingerprint))
        diag(context, DIAG_INFO, component, "certificate %s", fingerprint);
    return err;
}
