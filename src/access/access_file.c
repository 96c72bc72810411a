/* access_file.c - the `access` file: the first admin until its document is on disk, and the hash of
 * the token in admin.token, closed by a checksum.
 *
 *     millrace-access 1
 *     user<TAB>NAME<TAB>ROLES<TAB>VERIFIER
 *     token<TAB>SHA-256 in hex<TAB>USER<TAB>ROLES<TAB>file
 *     sum<TAB>SHA-256 in hex of all bytes before this line
 *
 * The file is written whole under another name and renamed, so there is always an old or a new one.
 * One that does not read to the last byte lets nobody in: half a list of users could miss the line
 * that takes a right away. */
#include "access/access_priv.h"
#include "access/scram.h"
#include <stdio.h>
#include <string.h>

static const char first_line[] = "millrace-access 1\n";

enum { ACCESS_HASH_TEXT = 2 * ACCESS_HASH_BYTES };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hash(struct str text, uint8_t out[ACCESS_HASH_BYTES])
{
    if (text.size != ACCESS_HASH_TEXT) return false;
    for (size_t i = 0; i < ACCESS_HASH_BYTES; i++) {
        int high = hex_digit(text.at[2 * i]), low = hex_digit(text.at[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void print_hash(struct buf *out, const uint8_t hash[ACCESS_HASH_BYTES])
{
    for (size_t i = 0; i < ACCESS_HASH_BYTES; i++) buf_printf(out, "%02x", hash[i]);
}

/* ---- reading ---- */

static enum err parse_user(struct access *a, struct str fields[4])
{
    char name[ACCESS_USER_BYTES], roles[ACCESS_ROLES_BYTES], verifier[ACCESS_VERIFIER_BYTES];
    struct scram_verifier ignored;
    if (!str_copy(name, sizeof name, fields[0]) || !str_copy(roles, sizeof roles, fields[1]) ||
        !str_copy(verifier, sizeof verifier, fields[2]) || !name[0] || fields[3].at)
        return ERR_CORRUPT;
    if (!scram_parse(fields[2], &ignored) || access_find_user(a, name)) return ERR_CORRUPT;
    enum err err = access_put_user(a, name, roles, ACCESS_NAMESPACE, verifier, false);
    if (!err) access_find_user(a, name)->is_in_file = true;
    return err;
}

static enum err parse_token(struct access *a, struct str fields[4])
{
    char user[ACCESS_USER_BYTES], roles[ACCESS_ROLES_BYTES];
    uint8_t hash[ACCESS_HASH_BYTES];
    if (!parse_hash(fields[0], hash) || !str_copy(user, sizeof user, fields[1]) ||
        !str_copy(roles, sizeof roles, fields[2]) || !str_is(fields[3], "file"))
        return ERR_CORRUPT;
    return access_add_file_token(a, hash, user, roles);
}

static const struct {
    const char *word;
    enum err (*parse)(struct access *a, struct str fields[4]);
} lines[] = {{"user", parse_user}, {"token", parse_token}};

static enum err parse_line(struct access *a, struct str line)
{
    struct str word, fields[4] = {{0}};
    if (!str_split(&line, '\t', &word)) return ERR_CORRUPT;
    for (size_t i = 0; i < 4; i++)
        if (!str_split(&line, '\t', &fields[i])) break;
    if (line.at) return ERR_CORRUPT;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (str_is(word, lines[i].word)) return lines[i].parse(a, fields);
    return ERR_CORRUPT;
}

enum err access_file_parse(struct access *a, struct str text, struct why *why)
{
    enum { SUM_LINE_BYTES = 4 + ACCESS_HASH_TEXT + 1 };
    uint8_t told[ACCESS_HASH_BYTES], real[ACCESS_HASH_BYTES];
    if (text.size < sizeof first_line - 1 + SUM_LINE_BYTES || !str_starts(text, first_line))
        return why_set(why, ERR_CORRUPT, "it does not begin and end as it should");
    struct str sum = {text.at + text.size - SUM_LINE_BYTES, SUM_LINE_BYTES};
    struct str rest = {text.at, text.size - SUM_LINE_BYTES};
    access_sha256(rest.at, rest.size, real);
    if (!str_starts(sum, "sum\t") || sum.at[sum.size - 1] != '\n' ||
        !parse_hash((struct str){sum.at + 4, ACCESS_HASH_TEXT}, told) ||
        memcmp(told, real, sizeof real) != 0)
        return why_set(why, ERR_CORRUPT, "its checksum is wrong");
    struct str line;
    unsigned number = 1;
    rest.at += sizeof first_line - 1;
    rest.size -= sizeof first_line - 1;
    while (rest.size && str_split(&rest, '\n', &line)) {
        enum err err = parse_line(a, line);
        number++;
        if (err) return why_set(why, err, "line %u cannot be read", number);
    }
    return ERR_OK;
}

/* ---- writing ---- */

void access_file_print(const struct access *a, struct buf *text)
{
    uint8_t hash[ACCESS_HASH_BYTES];
    struct str key;
    void *value;
    buf_add_text(text, first_line);
    for (const struct access_user *u = a->users; u; u = u->next)
        if (u->is_in_file) buf_printf(text, "user\t%s\t%s\t%s\n", u->name, u->roles, u->verifier);
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);) {
        const struct access_token *t = value;
        if (t->kind != TOKEN_FILE) continue;
        buf_add_text(text, "token\t");
        print_hash(text, (const uint8_t *)key.at);
        buf_printf(text, "\t%s\t%s\tfile\n", t->user, t->roles);
    }
    if (buf_failed(text)) return;
    access_sha256(text->at, text->size, hash);
    buf_add_text(text, "sum\t");
    print_hash(text, hash);
    buf_add_char(text, '\n');
}

/* ---- files ---- */

enum { PATH_BYTES = 4096 };

static enum err join(char out[PATH_BYTES], const char *folder, const char *name, const char *end,
                     struct why *why)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s%s", folder, name, end);
    return n > 0 && n < PATH_BYTES
               ? ERR_OK
               : why_set(why, ERR_LIMIT, "the path of the data folder is too long");
}

static enum err write_new(struct os *os, const char *path, struct str text, struct why *why)
{
    struct os_file *file;
    (void)os->ops->path_remove(
        os, path, NULL); /* left by a crash; made anew, so its mode is 0600 for certain */
    enum err err = os->ops->file_open(os, path, OS_FILE_WRITE | OS_FILE_CREATE | OS_FILE_EXCLUSIVE,
                                      &file, why);
    if (err) return err;
    err = os->ops->file_write(file, 0, text.at, text.size, why);
    if (!err) err = os->ops->file_sync(file, why);
    os->ops->file_close(file);
    return err;
}

enum err access_file_write(struct os *os, const char *folder, const char *name, struct str text,
                           struct why *why)
{
    char path[PATH_BYTES], temporary[PATH_BYTES];
    enum err err = join(path, folder, name, "", why);
    if (!err) err = join(temporary, folder, name, ".new", why);
    if (!err) err = write_new(os, temporary, text, why);
    if (!err) err = os->ops->path_rename(os, temporary, path, why);
    if (!err) err = os->ops->path_sync(os, folder, why);
    return err;
}

enum err access_file_read(struct os *os, const char *folder, const char *name, struct buf *text,
                          struct why *why)
{
    char path[PATH_BYTES];
    struct os_file *file;
    uint64_t size = 0;
    size_t got = 0;
    enum err err = join(path, folder, name, "", why);
    if (!err) err = os->ops->file_open(os, path, 0, &file, why);
    if (err) return err;
    err = os->ops->file_size(file, &size, why);
    if (!err && size > ACCESS_FILE_BYTES_MAX)
        err = why_set(why, ERR_CORRUPT, "%s is larger than 4 MiB", path);
    if (!err && !buf_reserve(text, (size_t)size + 1)) err = ERR_NO_MEMORY;
    if (!err) err = os->ops->file_read(file, 0, text->at, (size_t)size, &got, why);
    if (!err) text->size = got;
    os->ops->file_close(file);
    return err;
}
