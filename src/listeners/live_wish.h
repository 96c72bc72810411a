/* live_wish.h - what a viewer of live rows has asked for, found by device and table.
 *
 * A viewer may have a thousand wishes, and each row of each batch asks for its one: so they lie in
 * an index, and a row costs four look-ups however many there are. Where several fit, the first of
 * the list counts. Thread: its owner's. */
#ifndef LISTENERS_LIVE_WISH_H
#define LISTENERS_LIVE_WISH_H

#include "base/map.h"
#include "base/mem.h"

enum { LIVE_WISHES_MAX = 1000 };

struct live_wish {
    struct str device, table; /* "" = any */
    struct str *columns;      /* [column_count] sorted; none = all */
    size_t column_count;
};

struct live_wishes {
    bool everything;
    size_t count;
    struct live_wish *items;
    struct arena arena; /* of the items */
    struct map index;   /* device, 0, table → the first item that says so */
    bool kinds[4];      /* some name: neither, the table, the device, both */
};

void live_wishes_init(struct live_wishes *wishes);
/* Replaces them by what `message` says (live.h); none are left after an error. Errors: those of
 * doc_read_json, INVALID, NO_MEMORY. */
enum err live_wishes_read(struct live_wishes *wishes, struct str message, struct why *why);
/* Not for `everything`. NULL: nobody wants the device's rows of the table. */
const struct live_wish *live_wishes_find(const struct live_wishes *wishes, struct str device,
                                         struct str table);
bool live_wish_has(const struct live_wish *wish, const char *column);
void live_wishes_free(struct live_wishes *wishes);

#endif
