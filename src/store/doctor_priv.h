/* doctor_priv.h - what doctor.c and doctor_part.c share. */
#ifndef STORE_DOCTOR_PRIV_H
#define STORE_DOCTOR_PRIV_H

#include "store/catalog.h"
#include "store/doctor.h"
#include "store/part.h"

struct part_findings {
    uint32_t runs, blocks, columns; /* read and found good */
    uint32_t bad;                   /* places that are not */
    uint64_t rows;                  /* of blocks whose times are good */
    char first[160];                /* the first bad place */
};
/* Reads all of an open part. Errors: NO_MEMORY only; damage is counted. */
enum err doctor_read_part(struct part_file *file, struct part_findings *found);
/* Writes what is readable of it as the part `info` names; `info->rows` 0: nothing is, and no part
 * was made. Tables whose schemas the part has lost are looked up in `catalog`. */
enum err doctor_salvage_part(struct part_file *file, struct catalog *catalog, const char *folder,
                             struct part_info *info, struct why *why);

#endif
