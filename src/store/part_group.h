/* part_group.h - groups: the rows of many series that have few, side by side in one part.
 *
 * A table of 100,000 devices with a row a minute has one to three rows a device in a part that a
 * gateway's memory can gather. A run and blocks of its own would cost such a device some 250 bytes
 * a part, and each look at it a read. So series with fewer than PART_SMALL_ROWS rows of a part
 * share blocks: their rows stand one series behind the other, as columns of one block, which is
 * coded (and, when it is read, decoded) as a whole. For whoever reads a part nothing differs: a
 * member of a group has an entry and a run of one block; its columns are cut out of the group's.
 *
 * Bytes: the columns as of any block, then
 *   u32 table id, u32 number of series (ascending), varint size of the list + the list: per series
 *   varint distance of its id from the one before (the first: its id), varint rows, varint bytes
 *   its path has in common with the one before, varint bytes of the rest + them; the block as in a
 *   run (part.h), without statistics; CRC32C.
 * The list holds at most PART_GROUP_ROWS series. Within a series times ascend.
 *
 * Memory: one group of a part is held per cursor, its list and those columns that were asked for;
 * PART_GROUP_CELLS bounds it at some hundreds of KiB, whatever the table's width.
 *
 * Not merged into statistics: a block of a group answers no aggregate without being decoded, which
 * costs a member little because its neighbours have paid. Private to store/. */
#ifndef STORE_PART_GROUP_H
#define STORE_PART_GROUP_H

#include "store/codec.h"
#include "store/part.h"

enum {
    PART_SMALL_ROWS = 64, /* fewer: the series joins a group */
    PART_GROUP_ROWS = 512,
    PART_GROUP_CELLS = 8192,
    PART_GROUP_ROWS_MIN = 64,
    PART_SMALL_TEXT_BYTES = 8 * 1024,    /* more texts: it does not */
    PART_GROUP_TEXT_BYTES = 64 * 1024,   /* a group ends behind the series that brings it to this */
    PART_GROUP_LEFT_BYTES = 1024 * 1024, /* or when series that left had so much text */
};

/* ---- reading (part_group.c); the public side is part_cursor_… of part.h ---- */

struct part_member {
    uint32_t series, first, rows;
    struct str path;
};

/* One that is read. Owned by a cursor; of its task. */
struct part_group {
    uint32_t table, count;
    struct part_member *members;
    struct part_block block; /* all rows */
    struct vector *columns;  /* [block.column_count]; type of those not decoded yet: unset */
    bool *is_decoded;
    struct arena arena; /* holds all of it */
};

/* Reads list and times of the group at `entry` in place of what *group holds (NULL: nothing yet).
 * An error leaves *group as one without members. Errors: CORRUPT, IO, FORMAT, BUDGET, NO_MEMORY. */
enum err part_group_read(struct part_file *file, struct codec *codec,
                         const struct part_entry *entry, struct part_group **group,
                         struct why *why);
void part_group_free(struct part_group *group); /* NULL allowed */
/* The member of that series, or UINT32_MAX. */
uint32_t part_group_find(const struct part_group *group, uint32_t series);
/* The run of a member: one block, borrowed from the group. */
enum err part_group_run(struct part_group *group, uint32_t member, struct arena *arena,
                        struct part_run *run);
/* The rows of `block`, which is a member's, of one column; copies in `arena`. */
enum err part_group_column(struct part_file *file, struct codec *codec,
                           const struct part_block *block, const struct part_column *column,
                           struct arena *arena, struct vector *v, uint64_t *bytes_read,
                           struct why *why);
/* Whether that costs no reading: the file may be closed meanwhile. */
bool part_group_is_decoded(const struct part_block *block, const struct part_column *column);

/* ---- writing (part_group_write.c), for part_write.c ---- */

/* The rows of small series that wait for their group to be full. NULL: no memory. */
struct part_pending *part_pending_new(void);
void part_pending_free(struct part_pending *p); /* NULL allowed */
/* Whether `rows` more of a series of a table with so many columns fit into this group. */
bool part_pending_takes(const struct part_pending *p, uint32_t rows, size_t columns);
bool part_pending_is_empty(const struct part_pending *p);
/* Begins a series with the rows of one block; its columns follow; then its end. A column has one
 * type in all series of a group (part_pending_fits). */
enum err part_pending_begin(struct part_pending *p, uint32_t series, struct str path,
                            const struct vector *time, size_t columns);
bool part_pending_fits(struct part_pending *p, uint16_t id, enum type type);
enum err part_pending_column(struct part_pending *p, uint16_t id, const struct vector *v,
                             bool trusts_habit);
/* Whether the series begun last has so much text that it shall leave (part_pending_take_back):
 * whoever reads a neighbour would have to hold it. */
bool part_pending_is_large(const struct part_pending *p);
/* True: the group shall be written. */
bool part_pending_end(struct part_pending *p);
/* Takes back the series begun last: its rows as vectors that borrow from `p` and are valid until it
 * is used again. `*count` columns, the time first; ids in `ids`, both of room for all. */
struct part_pending_slice {
    uint16_t id;
    struct vector v;
};
enum err part_pending_take_back(struct part_pending *p, struct part_pending_slice **slices,
                                size_t *count);

/* What a group is made of. */
struct part_pending_view {
    uint32_t first_series, series_count, rows;
    int64_t min_time_ns, max_time_ns;
    size_t column_count; /* with the time, which is the first */
};
struct part_pending_view part_pending_view(const struct part_pending *p);
/* Column `at`; NULL: no row has it. `*habit`: to code it with, or NULL. */
const struct vector *part_pending_at(struct part_pending *p, size_t at, uint16_t *id,
                                     struct codec_habit **habit);
void part_pending_list(const struct part_pending *p, struct buf *out); /* of series */
void part_pending_clear(struct part_pending *p);

#endif
