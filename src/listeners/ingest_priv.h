/* ingest_priv.h - what the files of ingest.h share. On a worker. */
#ifndef LISTENERS_INGEST_PRIV_H
#define LISTENERS_INGEST_PRIV_H

#include "listeners/ingest.h"

/* What is not the row's fault: it is read again in the next piece (BUSY: this one is full). */
static inline bool ingest_is_lack(enum err err)
{
    return err == ERR_NO_MEMORY || err == ERR_BUDGET || err == ERR_BUSY;
}

/* ---- ingest_rows.c ---- */

/* Takes one line (borrows) into its table's batch, or leaves it for the next round. `number`: the
 * line's, from 1. Errors: what is wrong with the line, or a lack of memory or room. */
enum err ingest_take_line(struct ingest *ingest, const struct line *line, uint64_t number,
                          struct why *why);
/* Closes the table's batch, if it has one, and puts it behind ingest->sealed, whose it is from
 * there on; on an error its rows are gone. Errors: NO_MEMORY, BUDGET. */
enum err ingest_seal(struct ingest *ingest, struct ingest_table *table);

#endif
