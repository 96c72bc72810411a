/* persist.h - documents of the API and of files, kept in SQLite ("resources.db" of the data
 * folder).
 *
 * One blocking task of its own touches SQLite; what is submitted in one round of its queue becomes
 * one transaction. Reads never come here: the registry in memory answers them. File-owned documents
 * come back from their files; they are kept so that one that vanished from its file is known. */
#ifndef RESOURCE_PERSIST_H
#define RESOURCE_PERSIST_H

#include "loop/context.h"
#include "resource/registry.h"

struct persist;

/* Opens or makes the database and restores its documents into the registry. Blocking. A document
 * that this version cannot read is reported and left where it is. Errors: CORRUPT, FORMAT, IO name
 * the file and the way out. */
enum err persist_open(struct context *context, const char *folder, struct registry *registry,
                      struct persist **persist, struct why *why);
/* Carries out what was submitted. Blocking. NULL allowed. */
void persist_close(struct persist *persist);

/* One change; durable when done. The structure stays until then. */
struct persist_change {
    struct completion completion;    /* first */
    const struct resource *resource; /* borrowed until done */
    bool remove;
    struct job job; /* from here on the module's */
    struct persist *persist;
    struct persist_change *next;
};
void persist_submit(struct persist *persist, struct persist_change *change);

/* Whether the database held documents that cannot be read or are not as they were written, which
 * were left out. Any task. */
bool persist_left_out(const struct persist *persist);

/* Reads the whole database where no node runs: its log, SQLite's integrity check, the rows' sums.
 * `text` receives what is wrong, "ok" if it is whole; `repair`: documents that are not as they were
 * written are taken out. Errors: NOT_FOUND, CORRUPT, IO, NO_MEMORY. Blocking. */
enum err persist_check(struct os *os, const char *folder, bool repair, char text[256],
                       struct why *why);

/* A whole copy of the database at `path` (replaced if it is there), for a backup; made between two
 * transactions by SQLite's backup interface. Errors: IO, DISK_FULL, NO_MEMORY, CORRUPT. */
struct persist_copy {
    struct completion completion; /* first */
    const char *path;             /* borrowed until done */
    struct job job;               /* from here on the module's */
    struct persist *persist;
};
void persist_copy(struct persist *persist, struct persist_copy *copy);

#endif
