/* assets.c - see assets.h.
 *
 * The table has a handful of rows, so it is walked; a page load asks for each row once. */
#include "listeners/assets.h"
#include <assert.h>
#include <string.h>

#define INDEX_PATH "/index.html"

const struct asset *asset_find(const char *path)
{
    assert(path);
    const char *wanted = strcmp(path, "/") == 0 ? INDEX_PATH : path;
    for (size_t i = 0; i < console_asset_count; i++) {
        assert(console_assets[i].path[0] == '/');
        if (strcmp(console_assets[i].path, wanted) == 0) return &console_assets[i];
    }
    return NULL;
}
