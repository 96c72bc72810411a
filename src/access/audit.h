/* audit.h - who did what, when, and with what outcome: an append-only log whose lines are chained
 * by hashes.
 *
 * Files `audit-000001.jsonl`, … in one folder, one JSON object a line:
 *     {"seq":7,"time":"2026-11-21T03:04:05.123Z","user":"admin","verb":"write-point","kind":"Device","ns":"default",
 *      "path":"line3/press07","detail":"setpoint=21.5: batch change","outcome":"ok","prev":"<hash
 * of line 6>", "hash":"<SHA-256 of this line's bytes before ,\"hash\">"} A line that was changed,
 * removed, inserted or moved breaks the chain, within a file and from file to file. What a chain
 * cannot show is a missing end: whoever needs that keeps the last hash elsewhere.
 *
 * Lines are written and synced on a task of their own, so no I/O loop waits for the disk. What must
 * leave a trace waits for it (audit_append_durable); what anybody can cause does not, and has only
 * half of the queue. */
#ifndef ACCESS_AUDIT_H
#define ACCESS_AUDIT_H

#include "loop/context.h"

struct audit;

enum {
    AUDIT_FILE_BYTES = 8 * 1024 * 1024, /* then the next file begins */
    AUDIT_FILES_MAX = 32,               /* the oldest beyond are removed */
    AUDIT_QUEUE_MAX = 10000,            /* lines not yet written */
};

/* Borrowed during the call; each is cut at a limit: 128 bytes, path 1024, detail 4096. */
struct audit_entry {
    int64_t time_ns; /* 0 = now */
    struct str user, verb, kind, ns, path, detail, outcome;
};

/* Opens the folder (makes it) and goes on behind the last whole line; a line that a crash cut is
 * dropped. Blocking. `file_bytes` 0 = AUDIT_FILE_BYTES. Errors: CORRUPT when the last line cannot
 * be read (move the folder away to begin a new chain). */
/* Gives. Close with audit_close; `context` (borrowed) outlives it. */
enum err audit_open(struct context *context, const char *folder, size_t file_bytes,
                    struct audit **audit, struct why *why);
/* Writes what was appended and finishes all who wait for it. The task is gone from here on: what is
 * appended after is written during the call, and one task only may do so. */
void audit_drain(struct audit *audit);
/* Drains, then frees. NULL allowed, as for audit_drain. No reader is open any more. */
void audit_close(struct audit *audit);

/* Queues one line; any task. OK means queued: it is durable some milliseconds later. Errors: BUSY
 * when the queue is half full (the other half is audit_append_durable's), NO_MEMORY, IO while the
 * disk refuses (the line is tried all the same): an action that must leave a trace is then refused
 * by the caller. */
enum err audit_append(struct audit *audit, const struct audit_entry *entry);

/* The same, and `done` is finished (at its home) when the line is durable, or with the error that
 * keeps it from being so: who waits for it does nothing that leaves no trace. Any task. */
void audit_append_durable(struct audit *audit, const struct audit_entry *entry,
                          struct completion *done);

/* Lines of the log, the newest first, up to what was durable when the reader was made. One task at
 * a time; blocking. Holds one block of a file, and at most one line more. */
struct audit_reader;
struct audit_line {
    struct str text; /* the JSON object as it stands there; borrowed until the next call */
    uint64_t seq;    /* 0: not a line of ours any more */
    bool is_whole;   /* its hash is its own, and the line behind it goes on from it */
};
/* Gives; the log outlives it. Errors: NO_MEMORY, IO. */
enum err audit_reader_new(struct audit *audit, struct audit_reader **reader);
void audit_reader_free(struct audit_reader *reader); /* NULL allowed */
/* False at the end of the log, and with an error: IO, NO_MEMORY; a file that is gone is the end. */
bool audit_reader_next(struct audit_reader *reader, struct audit_line *line, enum err *err,
                       struct why *why);

/* What audit_verify has seen, up to the first line that is broken. */
struct audit_report {
    uint64_t line_count, first_seq, last_seq; /* seq: 0 = no line */
    unsigned file_count;
    char last_hash[65];   /* hex; "" = no line */
    char broken_file[32]; /* name of the file with the first broken line, "" = none */
    uint64_t broken_line; /* its number in the file, from 1 */
};
/* Reads the whole chain. Errors: CORRUPT names file, line and what is wrong (also in the report);
 * NOT_FOUND: no log. Blocking; no other use of the folder is disturbed. */
enum err audit_verify(struct os *os, const char *folder, struct audit_report *report,
                      struct why *why);

#endif
