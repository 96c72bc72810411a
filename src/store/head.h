/* head.h - the rows not yet in parts, in memory, by series.
 *
 * One writer (the log task), many readers without locks. A head is one *generation*: it only grows;
 * when it is to be written to parts a new one takes over and this one stays as it is until the last
 * reader lets go.
 *
 * A series has two chains of chunks. `main`: times strictly ascend through the whole chain. `late`:
 * rows whose time was not above the main chain's last, in order of arrival: so of rows with equal
 * times the main chain's is the oldest. A chunk holds up to its capacity of rows in plain arrays
 * (the first one few, for what many devices send once a minute is all that the head holds of each);
 * its columns and their types are fixed when it is made (a batch with another column, or with one
 * that was widened, begins a new chunk). The writer fills arrays first and publishes `count` with a
 * release store; null and quality arrays appear when first needed, published before the count that
 * needs them.
 *
 * Every row carries its seq (its version): readers skip rows above their snapshot and resolve equal
 * times by it. */
#ifndef STORE_HEAD_H
#define STORE_HEAD_H

#include "data/batch.h"
#include <stdatomic.h>

enum {
    HEAD_CHUNK_ROWS_MIN = 2,
    HEAD_CHUNK_ROWS_MAX = 128,
    HEAD_SERIES_BLOCK = 1024,
    HEAD_BLOCKS_MAX = 4096
};

struct head_column {
    uint16_t id;                 /* the table's column */
    enum type type;              /* that it had when the chunk was made */
    _Atomic(uint8_t *) null;     /* NULL: none is NULL */
    _Atomic(uint32_t *) quality; /* NULL: all Good */
    void *data; /* [capacity], in the chunk's own memory; slices point into the head's texts */
};

struct head_chunk {
    struct head_chunk *_Atomic next; /* NULL: the newest of its chain, so far */
    struct head_chunk *prev;         /* set before the chunk is published */
    _Atomic uint32_t count; /* rows that readers may look at; lowered only to take a batch back */
    uint32_t capacity;      /* HEAD_CHUNK_ROWS_MIN to HEAD_CHUNK_ROWS_MAX */
    uint32_t column_count;
    size_t size_bytes; /* what the budget was asked for, null and quality arrays as well */
    int64_t *time;     /* [capacity] */
    uint64_t *seq;     /* [capacity]: each row's version */
    struct head_column columns[]; /* ids ascending */
};

struct head_chain {
    struct head_chunk *_Atomic first, *_Atomic last;
};

struct head_series {
    struct head_chain main, late;
    int64_t last_time; /* writer only: of the main chain */
    bool any;          /* writer only: the main chain has a row, so last_time counts */
};

enum { HEAD_MAGIC = 0x68656164 };

struct head {
    uint32_t magic;             /* HEAD_MAGIC while it lives */
    _Atomic uint32_t refs;      /* shares: views, a flush */
    struct budget budget;       /* what this generation takes, out of the store's */
    _Atomic uint64_t row_count; /* of both chains of all series; upserts count twice */
    struct head_series *_Atomic *_Atomic blocks[HEAD_BLOCKS_MAX]; /* by series id */
    struct arena texts;           /* writer only: slices of TEXT, BYTES, DOUBLES */
    uint64_t first_seq, last_seq; /* writer only: of the batches in it; 0: none yet */
    uint64_t sealed_seq; /* writer, before a newer head takes over: no row above it comes */
};

/* An empty generation with one share; `budget` (borrows) pays for its rows and must outlive it.
 * NULL: no memory. */
struct head *head_new(struct budget *budget);
struct head *head_share(struct head *head);
/* Gives a share back; the last one frees all rows and gives the budget what they took. NULL
 * allowed. Any task. */
void head_release(struct head *head);

/* Adds all rows of a sealed batch whose devices carry their series and whose seq is set. On an
 * error (BUDGET, NO_MEMORY, LIMIT) none of them is there. Writer only. */
enum err head_apply(struct head *head, const struct batch *batch);

/* About what head_apply would take of the budget for the batch: what is exact would cost as much as
 * applying it. Devices that carry no series count as new. Writer only. */
size_t head_need(struct head *head, const struct batch *batch);

/* The chunk's column, borrowed; NULL: none of its rows has one. Any task. */
struct head_column *head_chunk_column(struct head_chunk *chunk, uint16_t id);

/* One row somewhere in a head. */
struct head_ref {
    struct head_chunk *chunk;
    uint32_t row;
};
static inline int64_t head_ref_time(const struct head_ref *r)
{
    return r->chunk->time[r->row];
}
static inline uint64_t head_ref_seq(const struct head_ref *r)
{
    return r->chunk->seq[r->row];
}
/* Sorts by (time, seq), ascending: of equal times the newest version is the last. */
void head_sort_refs(struct head_ref *refs, size_t count);

/* Any task: the series' chains, borrowed from the head; NULL: it has no row here. Any id. */
struct head_series *head_find(struct head *head, uint32_t series);

#endif
