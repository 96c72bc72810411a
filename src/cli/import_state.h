/* import_state.h - how far an import has come, kept in a small file of the user's state folder, so
 * that the same command goes on where it was cut.
 *
 * The file is named by a hash of all that makes the import this one: what the node is asked for,
 * the node, the file with its size, time and beginning. So a changed file begins anew. It is
 * replaced by a rename after each piece that the node has acknowledged, and removed at the end.
 * Without a folder to write to imports work as well; they only begin anew when cut. Thread: one. */
#ifndef CLI_IMPORT_STATE_H
#define CLI_IMPORT_STATE_H

#include "base/str.h"

enum { IMPORT_STATE_PATH_BYTES = 4200 };

/* How far the node has acknowledged. */
struct import_reached {
    uint64_t offset; /* in the file, unpacked */
    uint64_t line;   /* number of the next one */
    uint64_t row;    /* number of the next one, from 0 */
    uint64_t rows, refused;
};

/* The file of the import that `key` describes; "" when the user has no state folder. */
void import_state_path(char path[IMPORT_STATE_PATH_BYTES], struct str key);
/* False: there is none, or it cannot be read. */
bool import_state_read(const char *path, struct import_reached *reached);
/* Failing is no harm. */
void import_state_write(const char *path, const struct import_reached *reached);
void import_state_remove(const char *path);

#endif
