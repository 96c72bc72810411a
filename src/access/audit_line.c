/* audit_line.c - lines of the audit log, and reading the whole of it (audit_verify).
 *
 * A line's hash covers its bytes as they are, not the values behind them: so nothing has to be
 * parsed to check it, and no other spelling of the same values passes. What is read here may have
 * been written by somebody who wants to deceive: nothing is taken for granted but sizes.
 *
 * Called by the writer (audit.c), by who reads backwards (audit_read.c), and by `millrace audit
 * verify` for a log that no node has open. Owns nothing. */
#include "access/audit_priv.h"
#include "base/num.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

static const char hash_mark[] = ",\"hash\":\"", prev_mark[] = ",\"prev\":\"",
                  seq_mark[] = "{\"seq\":";
enum {
    HASH_PART = sizeof hash_mark - 1 + AUDIT_HASH_TEXT + 2, /* …"} at the end */
    PREV_PART = sizeof prev_mark - 1 + AUDIT_HASH_TEXT + 1,
};

static void hash_text(struct str bytes, char out[AUDIT_HASH_TEXT + 1])
{
    uint8_t digest[32];
    int good = EVP_Digest(bytes.at, bytes.size, digest, NULL, EVP_sha256(), NULL);
    MUST(good);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

void audit_print_line(struct buf *out, uint64_t seq, struct str body,
                      char hash[AUDIT_HASH_TEXT + 1])
{
    size_t start = out->size;
    MUST(strlen(hash) == AUDIT_HASH_TEXT);
    buf_add_text(out, seq_mark);
    buf_add_u64(out, seq);
    buf_add_char(out, ',');
    buf_add_str(out, body);
    buf_printf(out, "%s%s\"", prev_mark, hash);
    if (buf_failed(out)) return;
    hash_text((struct str){out->at + start, out->size - start}, hash);
    buf_printf(out, "%s%s\"}\n", hash_mark, hash);
}

bool audit_read_line(struct str line, uint64_t *seq, char prev[AUDIT_HASH_TEXT + 1],
                     char hash[AUDIT_HASH_TEXT + 1])
{
    if (line.size < HASH_PART + PREV_PART + sizeof seq_mark || !str_starts(line, seq_mark))
        return false;
    struct str covered = {line.at, line.size - HASH_PART};
    const char *tail = covered.at + covered.size, *before = tail - PREV_PART;
    if (memcmp(tail, hash_mark, sizeof hash_mark - 1) != 0 ||
        memcmp(line.at + line.size - 2, "\"}", 2) != 0)
        return false;
    if (memcmp(before, prev_mark, sizeof prev_mark - 1) != 0) return false;
    memcpy(prev, before + sizeof prev_mark - 1, AUDIT_HASH_TEXT);
    prev[AUDIT_HASH_TEXT] = 0;
    struct str rest = {line.at + sizeof seq_mark - 1, covered.size - (sizeof seq_mark - 1)}, number;
    if (!str_split(&rest, ',', &number) || !num_parse_u64(number, seq)) return false;
    hash_text(covered, hash);
    return memcmp(hash, tail + sizeof hash_mark - 1, AUDIT_HASH_TEXT) == 0;
}

/* ---- files ---- */

enum err audit_path(char out[AUDIT_PATH_BYTES], const char *folder, unsigned number,
                    struct why *why)
{
    int n = snprintf(out, AUDIT_PATH_BYTES, "%s/audit-%06u.jsonl", folder, number);
    return n > 0 && n < AUDIT_PATH_BYTES
               ? ERR_OK
               : why_set(why, ERR_LIMIT, "the audit folder's path is too long");
}

struct range {
    unsigned first, last;
};

static enum err see_name(void *arg, const char *name)
{
    struct range *r = arg;
    struct str text = str_of(name);
    uint64_t number64;
    enum { PREFIX = 6, DIGITS = 6, WHOLE = 18 }; /* audit- 000001 .jsonl */
    if (text.size != WHOLE || !str_starts(text, "audit-") ||
        strcmp(name + PREFIX + DIGITS, ".jsonl") != 0)
        return ERR_OK;
    if (!num_parse_u64((struct str){name + PREFIX, DIGITS}, &number64) || number64 == 0)
        return ERR_OK;
    unsigned number = (unsigned)number64;
    if (!r->first || number < r->first) r->first = number;
    if (number > r->last) r->last = number;
    return ERR_OK;
}

enum err audit_find_files(struct os *os, const char *folder, unsigned *first, unsigned *last,
                          struct why *why)
{
    struct range r = {0, 0};
    enum err err = os->ops->path_list(os, folder, see_name, &r, why);
    *first = r.first;
    *last = r.last;
    return err;
}

/* ---- verifying ---- */

static enum err broken(struct audit_report *report, unsigned file, uint64_t line, struct why *why,
                       const char *what)
{
    snprintf(report->broken_file, sizeof report->broken_file, "audit-%06u.jsonl", file);
    report->broken_line = line;
    return why_set(why, ERR_CORRUPT, "%s line %llu: %s", report->broken_file,
                   (unsigned long long)line, what);
}

static enum err verify_line(struct audit_report *report, struct str line, unsigned file,
                            uint64_t number, struct why *why)
{
    uint64_t seq;
    char prev[AUDIT_HASH_TEXT + 1], hash[AUDIT_HASH_TEXT + 1];
    if (!audit_read_line(line, &seq, prev, hash))
        return broken(report, file, number, why, "the line was changed or is damaged");
    bool is_first =
        report->line_count == 0; /* older files may have been removed: the chain begins here */
    if (is_first) report->first_seq = seq;
    if (!is_first && (seq != report->last_seq + 1 || strcmp(prev, report->last_hash) != 0))
        return broken(report, file, number, why,
                      "it does not follow the line before: a line was removed, inserted or moved");
    report->last_seq = seq;
    report->line_count++;
    memcpy(report->last_hash, hash, sizeof hash);
    return ERR_OK;
}

static enum err read_file(struct os *os, const char *folder, unsigned number, struct buf *text,
                          struct why *why)
{
    char path[AUDIT_PATH_BYTES];
    struct os_file *file;
    uint64_t size = 0;
    size_t got = 0;
    enum err err = audit_path(path, folder, number, why);
    if (!err) err = os->ops->file_open(os, path, 0, &file, why);
    if (err) return err;
    err = os->ops->file_size(file, &size, why);
    if (!err && size > 2 * (uint64_t)AUDIT_FILE_BYTES)
        err = why_set(why, ERR_CORRUPT, "%s is larger than it ever was", path);
    if (!err && !buf_reserve(text, (size_t)size + 1)) err = ERR_NO_MEMORY;
    if (!err) err = os->ops->file_read(file, 0, text->at, (size_t)size, &got, why);
    if (!err) text->size = got;
    os->ops->file_close(file);
    return err;
}

enum err audit_verify(struct os *os, const char *folder, struct audit_report *report,
                      struct why *why)
{
    unsigned first, last;
    *report = (struct audit_report){0};
    enum err err = audit_find_files(os, folder, &first, &last, why);
    if (!err && !last) err = why_set(why, ERR_NOT_FOUND, "%s holds no audit log", folder);
    for (unsigned file = first; !err && file <= last; file++) {
        struct buf text = BUF_EMPTY;
        struct str rest, line;
        uint64_t number = 0;
        err = read_file(os, folder, file, &text, why);
        if (err == ERR_NOT_FOUND) err = broken(report, file, 1, why, "the file is missing");
        rest = buf_str(&text);
        while (!err && rest.size && str_split(&rest, '\n', &line))
            err = verify_line(report, line, file, ++number, why);
        if (!err && text.size && text.at[text.size - 1] != '\n')
            err = broken(report, file, number, why, "the last line has no end");
        buf_free(&text);
        report->file_count++;
    }
    return err;
}
