/* audit_priv.h - the form of the audit log's lines and files, shared by writer, reader and
 * verifier. Thread: any; what touches files blocks. */
#ifndef ACCESS_AUDIT_PRIV_H
#define ACCESS_AUDIT_PRIV_H

#include "access/audit.h"

enum {
    AUDIT_HASH_TEXT = 64, /* SHA-256 in hex */
    AUDIT_PATH_BYTES = 4096,
    AUDIT_LINE_BYTES_MAX = 64 * 1024, /* no entry makes a longer one: audit.h's limits, escaped */
};

/* The numbers of the first and last file; 0 and 0 = none. Errors: those of path_list. */
enum err audit_find_files(struct os *os, const char *folder, unsigned *first, unsigned *last,
                          struct why *why);
/* "FOLDER/audit-000001.jsonl". Errors: LIMIT. */
enum err audit_path(char out[AUDIT_PATH_BYTES], const char *folder, unsigned number,
                    struct why *why);

/* Of an open log, borrowed: for who reads beside the writer. */
struct context *audit_context(const struct audit *audit);
const char *audit_folder(const struct audit *audit);

/* Appends one line; `body` is what stands between seq and prev. Puts the line's hash into `hash`
 * (in and out: the previous line's, AUDIT_HASH_TEXT characters and NUL). Without memory `out` has
 * failed, and the hash is worth nothing any more. */
void audit_print_line(struct buf *out, uint64_t seq, struct str body,
                      char hash[AUDIT_HASH_TEXT + 1]);
/* Takes a line (without LF; any bytes) apart and checks its own hash. False: not a line, or
 * changed. */
bool audit_read_line(struct str line, uint64_t *seq, char prev[AUDIT_HASH_TEXT + 1],
                     char hash[AUDIT_HASH_TEXT + 1]);

#endif
