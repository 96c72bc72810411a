/* series_index.h - finds a series by its table and device path.
 *
 * An open-addressing table of series' ids, of which one writer adds (nothing is ever taken out) and
 * any task reads without a lock: a place is filled by one atomic store, behind everything that the
 * series says of itself. When three quarters are taken the writer makes a table twice as large and
 * publishes it; readers may still be in the old one, so that stays until the end. All old ones
 * together are no larger than the newest: 8 bytes a series and fewer than 16.
 *
 * Private to store/; owned by the catalogue. */
#ifndef STORE_SERIES_INDEX_H
#define STORE_SERIES_INDEX_H

#include "base/str.h"

struct catalog;
struct series;

struct series_slots {
    struct series_slots *older;
    uint32_t count, mask; /* of places, - 1 */
    _Atomic uint32_t ids[];
};

/* Writer: room for one more. Errors: NO_MEMORY. */
enum err series_index_reserve(struct catalog *catalog);
/* Writer, behind series_index_reserve: enters a series that is complete and published. */
void series_index_add(struct catalog *catalog, const struct series *series);
/* Any task. NULL: none that was entered before the call. */
struct series *series_index_find(const struct catalog *catalog, uint32_t table_id, struct str path);
void series_index_free(struct catalog *catalog);

#endif
