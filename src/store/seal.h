/* seal.h - turning the rows of a frozen head into parts.
 *
 * A generation that no longer grows is sealed as a whole: its rows, upserts among them resolved,
 * become one part per retention class and day. Each block carries one version, the position at
 * which the generation was frozen. That is true of every row in it: all rows of the generation were
 * there at that position, all later ones have a higher one, and all parts sealed before carry a
 * lower one. So whatever arrives while sealing goes on lies in the next generation and wins, and
 * what is sealed never beats it.
 *
 * Private to store/; runs on the flush task (or on the opening one during replay). */
#ifndef STORE_SEAL_H
#define STORE_SEAL_H

#include "store/catalog.h"
#include "store/head.h"
#include "store/part.h"

enum {
    SEAL_PARTITIONS_MAX =
        48 /* parts per class and flush: more days are put together with their neighbours */
};
#define SEAL_PARTITION_NS (86400 * (int64_t)1000000000)

struct seal {
    struct os *os;
    const char *folder; /* of parts */
    struct catalog *catalog;
    struct head *head;     /* frozen */
    uint32_t series_count; /* of the catalogue when it was frozen */
    uint64_t origin, version;
    bool untrusted;
    uint64_t next_part_id; /* counts up, also over failures */
    /* Out: */
    struct part **parts; /* mem_free; refs are the caller's */
    size_t part_count, part_capacity;
    uint64_t rows;
};

/* Writes the parts. On an error those written are dropped again. Rows of dropped tables are left
 * out. */
enum err seal_run(struct seal *seal, struct why *why);
/* Lets the parts written go, their files too. */
void seal_undo(struct seal *seal);

#endif
