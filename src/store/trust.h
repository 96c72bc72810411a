/* trust.h - the trusted time: what retention is measured against.
 *
 * A wrong clock must not delete data. So time counts as trusted only while the wall clock moves
 * with the monotonic one and stays within a day of where trusted time should be by now; else it
 * stands still until the clock is right again or an operator confirms it. A folder that never had a
 * trusted time takes the first one from a clock that shows a year in which this program can run.
 * Pure: clocks in, verdict out. Owner: the flush task. */
#ifndef STORE_TRUST_H
#define STORE_TRUST_H

#include <stdbool.h>
#include <stdint.h>

struct trust {
    bool trusted;
    int64_t time_ns;      /* the last trusted time; INT64_MIN = never */
    int64_t time_mono_ns; /* when that was, by this start's monotonic clock */
    int64_t last_wall_ns, last_mono_ns;
};

/* `known_ns`: from the manifest, INT64_MIN = never. */
void trust_begin(struct trust *trust, int64_t known_ns, int64_t wall_ns, int64_t mono_ns);
/* Every minute or so; before each decision. */
void trust_look(struct trust *trust, int64_t wall_ns, int64_t mono_ns);
/* The operator says that the wall clock is right. */
void trust_confirm(struct trust *trust, int64_t wall_ns, int64_t mono_ns);

#endif
