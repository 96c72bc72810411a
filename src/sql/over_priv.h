/* over_priv.h - what the files that compute window functions share. */
#ifndef SQL_OVER_PRIV_H
#define SQL_OVER_PRIV_H

#include "sql/over.h"
#include "sql/rowset.h"

/* One partition, its rows in order. Positions count from 0 in it. */
struct partition {
    const struct rowset *set;
    const uint32_t *rows; /* [count] row numbers of the set */
    uint32_t count;
    uint32_t *peer_from, *peer_to; /* [count] the row's peers: equal in ORDER BY */
    uint32_t *group;               /* [count] number of the peers, from 0 */
};

/* Walks along the frames of a partition: both ends only move forward. */
struct frames {
    const struct over_spec *spec;
    const struct partition *partition;
    size_t order_column; /* of the set: the ordering value, for RANGE with a distance */
    uint32_t from, to;   /* of the row asked for last */
};
/* The frame of the row at `at` (ascending from call to call): positions frames->from … to - 1, none
 * where `to` is not above `from`. */
void frames_move(struct frames *frames, uint32_t at);

/* An aggregate over moving frames, at a constant number of steps per row. */
struct moving {
    const struct over_call *call;
    const struct partition *partition;
    size_t arg_column;     /* of the set; unused without argument */
    const int64_t *times;  /* [row of the set]; NULL: unknown */
    struct arena *memory;  /* of the states: reset now and then */
    struct arena *results; /* of the texts that come out */
    size_t state_bytes;
    uint32_t from, middle, to; /* the front holds from … middle - 1, the back middle … to - 1 */
    uint8_t *front;            /* [middle - front_from] states: that of k holds k … middle - 1 */
    uint32_t front_from;
    uint8_t *back, *scratch;
    bool has_value; /* of the same frame */
    struct value value;
    uint32_t value_from, value_to;
};
/* Begins at position 0, over nothing. False: no memory. */
bool moving_init(struct moving *moving);
/* The value over the positions from … to - 1; both ascend from call to call. Texts and arrays are
 * of `results`. Errors: NO_MEMORY, RANGE (of the aggregate): the struct is then of no use any more.
 * What an aggregate's `final` does with all values of the frame is done for each row. */
enum err moving_value(struct moving *moving, uint32_t from, uint32_t to, struct value *value);

#endif
