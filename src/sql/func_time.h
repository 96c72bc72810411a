/* func_time.h - what grouping needs of the time functions. */
#ifndef SQL_FUNC_TIME_H
#define SQL_FUNC_TIME_H

#include "sql/func.h"

/* The start of the window of `width_ns` (> 0, aligned to the epoch) that holds the time; INT64_MIN
 * when it would lie before the first representable time. */
int64_t time_bucket_start(int64_t time_ns, int64_t width_ns);

#endif
