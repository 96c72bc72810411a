/* assets.h - the console's files, inside the program.
 *
 * console/dist is compressed and turned into a table by tools/embed.py while building; this is the
 * table's type and the one way to look into it. The HTTP listener answers `GET` of these paths from
 * here, without login: they hold no data (INTERFACES, "Login"). Everything is constant and lives as
 * long as the program. Thread: any. */
#ifndef LISTENERS_ASSETS_H
#define LISTENERS_ASSETS_H
#include <stddef.h>

/* One file. Send it with `Content-Encoding: gzip`, `ETag: "<etag>"`, `Cache-Control: no-cache`: the
 * names never change, so a browser must ask again, and gets 304 while the etag is the same. */
struct asset {
    const char *path;         /* from the root on: "/app.js" */
    const char *content_type; /* "text/javascript; charset=utf-8" */
    const char
        *etag; /* first 16 hex digits of the SHA-256 of the uncompressed bytes, without quotes */
    const unsigned char *gzip; /* RFC 1952, one member */
    size_t gzip_size_bytes;
};

/* In order of their paths; made by tools/embed.py. */
extern const struct asset console_assets[];
extern const size_t console_asset_count;

/* Finds the file that answers a request for `path`.
 *   path   borrows: an absolute URL path without query, already percent-decoded; "/" means
 * "/index.html" Gives NULL if there is no such file; the match is exact and case-sensitive, so no
 * path can lead out of the table. */
const struct asset *asset_find(const char *path);

#endif
