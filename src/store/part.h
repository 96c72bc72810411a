/* part.h - parts: immutable files of sealed rows, and how to write and read one.
 *
 * A part holds rows of tables of one retention class and one run of days (the time partition is a
 * UTC day; a flush that meets very many days puts neighbouring ones together). File "parts/<id, 16
 * hex digits>.part", little-endian, offsets of 64 bits:
 *
 *   header, 64 bytes: "MILLPART", u32 version, u32 CRC32C (of the header with this field 0), u64
 * id, u64 origin, i64 retention class in ns, i64 first ns, i64 last ns + 1 of the partition, zero
 *   per series, ascending by (table id, series id): its blocks, then its run; those with few rows
 *     stand together in groups instead (part_group.h), which come when they are full
 *     block: the columns' bytes one after the other, nothing else: no local ids, no versions
 *     run: u32 series id, u32 table id, varint path + bytes, u32 block count, per block:
 *       u64 offset, u64 origin, u64 version, i64 first and last time, u32 rows, u16 columns, u16
 *       flags = 0, varint bytes of extension + them (room for the exceptions list), per column:
 *       varint id (0 = time), u8 type, u8 codec, varint size, u32 CRC32C of the stored bytes,
 *       varint bytes of statistics + them (part_column.h); the columns' bytes stand in this order.
 *       A CRC32C ends the run.
 *   directory: entries of 40 bytes (u32 table id, u32 series id, u64 run offset, u32 run size,
 *     u32 rows, i64 first and last time), PART_PAGE_ENTRIES a page, each page followed by its
 *     CRC32C. Those of a table's groups follow the others of the table: the series is the group's
 *     first, the top bit of rows is set
 *   tables: per table u32 id, u32 first entry, u32 entries of series, u32 of groups; CRC32C at the
 *     end
 *   schemas: per table varint size + the body of its SCHEMA record; CRC32C at the end. Nothing
 *     reads them in ordinary times: with them a part says everything about itself (`doctor`)
 *   tail, 128 bytes: u64 directory, tables and schemas offset, u32 entries, u32 tables, u64 rows,
 *     u64 blocks, i64 first and last time, u64 version, u32 schemas size, zero (room for the
 *     offsets of further sections), u32 CRC32C, "MILLTAIL"
 *
 * A cell that its row lacks is NULL with GoodNoData; a column that no row of the block has is left
 * out.
 *
 * Format 2 knows no groups (nor their number in the list of tables). Format 1 differs besides in
 * the column entries (u16 id, u8 type, u8 codec, u32 offset in the block, u32 size, u32 raw size,
 * u32 CRC32C, varint bytes of extension + them) and codecs (part_column_v1.c). Both are read, not
 * written any more.
 *
 * Why runs beside the blocks: what a scan holds per part is one page of the directory, whatever the
 * part's size, and statistics will be found without touching a block. Every byte is under a
 * checksum, and damage spoils what it hit.
 *
 * Private to store/. Writers: the flush task; readers: any BLOCKING task. */
#ifndef STORE_PART_H
#define STORE_PART_H

#include "base/reader.h"
#include "data/schema.h"
#include "data/vector.h"
#include "os/os.h"
#include <stdatomic.h>

struct codec;        /* codec.h */
struct part_group;   /* part_group.h */
struct part_pending; /* part_group.h */
struct part_ranges;
struct sql_summary;

enum {
    PART_VERSION = 3,
    PART_HEADER_BYTES = 64,
    PART_TAIL_BYTES = 128,
    PART_ENTRY_BYTES = 40,
    PART_PAGE_ENTRIES = 64,
    PART_TABLE_BYTES = 16,
    PART_BLOCK_ROWS = 4096,                /* up to 32 mini-blocks of 128 */
    PART_RAW_BYTES_MAX = 48 * 1024 * 1024, /* of one column of one block */
    PART_RUN_BYTES_MAX = 16 * 1024 * 1024,
    PART_SLICES_BYTES =
        2 * 1024 * 1024, /* a block ends behind the row that brings its texts to this */
};

/* How a column's raw bytes are stored. Numbers are in files: only append. X(symbol, number, name)
 */
#define PART_CODEC_TABLE(X)                                                                        \
    X(PLAIN, 0, "plain")                                                                           \
    X(PLAIN_ZSTD, 1, "plain+zstd")                                                                 \
    X(DELTA2, 2,                                                                                   \
      "delta of delta") /* 8-byte values without NULL, zigzag varints of 2nd differences */        \
    X(DELTA2_ZSTD, 3, "delta of delta+zstd")                                                       \
    X(DENSE, 4, "dense") /* codec.h; the others are those of format 1 */
enum part_codec {
#define X(symbol, number, name) PART_CODEC_##symbol = number,
    PART_CODEC_TABLE(X)
#undef X
};

/* What the manifest says about a part. */
struct part_info {
    uint64_t id, origin, version; /* version: the position of its sealing */
    int64_t class_ns;             /* retention of its tables when it was written; 0 = for ever */
    int64_t partition_from_ns, partition_to_ns;
    int64_t min_time_ns, max_time_ns;
    uint64_t rows, size_bytes;
    bool untrusted; /* written while time was not trusted: not dropped before the operator confirmed
                       it */
    uint32_t table_count;
    uint32_t *tables; /* ids, ascending; owned by the struct part */
};

enum { PART_UNHURT, PART_UNREAD, PART_DAMAGED };

/* A part that is there; shared by reference count. The last release after `dropped` removes the
 * file. */
enum { PART_MAGIC = 0x70617274 };

struct part {
    uint32_t magic; /* PART_MAGIC while it lives */
    _Atomic uint32_t refs;
    _Atomic bool dropped; /* an operation takes it out of the list; lowered if that fails */
    _Atomic bool kept;    /* damaged: never merged with others */
    /* A scan could not read some of it: the disk failed, or (worse) the bytes are wrong. */
    _Atomic uint8_t hurt;
    uint8_t failed_merges; /* for a disk that failed; of the flush task */
    bool is_over;          /* flush task: `dropped` because its time is over */
    struct os *os;         /* borrowed; outlives every part */
    struct part_info info; /* does not change, but for `untrusted` (flush task) */
    char path[];
};

/* refs = 1; takes info->tables, also on failure (NULL: no memory). */
struct part *part_new(struct os *os, const char *folder, struct part_info *info);
struct part *part_share(struct part *part);
void part_release(struct part *part); /* NULL allowed; may remove the file, so it may block */
/* "folder/ID.part", cut off if `size` is too short. */
void part_path(char *out, size_t size, const char *folder, uint64_t id);

/* ---- columns ---- */

/* One column of one block, as the run says. */
struct part_column {
    uint16_t id;       /* 0: the time */
    uint8_t type;      /* enum type; what it had when it was written */
    uint8_t codec;     /* enum part_codec */
    uint32_t offset;   /* of its bytes in the block */
    uint32_t size;     /* of them, ≤ PART_RAW_BYTES_MAX */
    uint32_t raw_size; /* format 1: uncompressed; else as size */
    uint32_t crc;      /* CRC32C of the stored bytes */
    struct str stats;  /* part_column.h; empty: none */
};

/* ---- writing ---- */

/* What the next call may be: a part is tables of series of blocks of columns. */
enum part_writer_state {
    PART_WRITER_CLOSED,    /* open */
    PART_WRITER_IN_PART,   /* series, finish */
    PART_WRITER_IN_SERIES, /* block, series_end */
    PART_WRITER_IN_BLOCK,  /* column, block_end */
};

struct part_writer {
    struct os *os;                         /* borrowed */
    struct os_file *file;                  /* owned, until finish or abort */
    char path[4096];                       /* as it will be called */
    char fresh[4096];                      /* as it is called until then; "": it has its name */
    char folder[4000];                     /* of both */
    struct part_info info;                 /* gathered on the way; tables owned */
    struct codec *codec;                   /* the caller's, opened for writing */
    uint64_t offset;                       /* where `out` goes */
    struct buf out;                        /* bytes not yet in the file */
    struct buf run;                        /* of the series, or the group, being written */
    struct buf directory, tables, schemas; /* sections of the end */
    struct buf scratch;                    /* of one call */
    size_t table_capacity;                 /* of info.tables */
    struct buf groups;                     /* directory entries of this table's groups */
    struct part_pending *pending; /* small series on their way into a group; NULL: none so far */
    size_t schema_columns;        /* of the table */
    uint32_t entries;             /* in the directory so far */
    uint32_t last_table;          /* the one being written; 0: none yet */
    uint32_t first_entry;         /* where the table's begin */
    uint32_t table_groups;        /* entries in `groups` */
    uint64_t blocks;
    /* The run being written. */
    uint32_t series, table;
    struct str series_path; /* the caller's */
    bool is_small;          /* its rows go to the group */
    enum part_writer_state state;
    bool stays_apart; /* the caller's: it has a run of its own, however few rows it has */
    uint32_t run_blocks, run_rows;
    size_t run_count_at, block_at; /* in run */
    uint64_t block_offset;
    uint16_t block_columns, last_column; /* how many so far; the id of the last */
    int64_t run_min, run_max;
    enum err err; /* sticky: finish tells */
};

/* Begins the part that `info` (copied) names (id, origin, version, class, partition, untrusted).
 * `codec` is borrowed until the writer is closed; its habit is the caller's to set before each
 * column. Errors: IO, DISK_FULL; then the writer is closed. Blocking, as are all of these. */
enum err part_writer_open(struct part_writer *w, struct os *os, const char *folder,
                          const struct part_info *info, struct codec *codec, struct why *why);
/* Series in ascending order of (table, series), `path` borrowed until the series' end. Errors of
 * these stick and come out of finish. */
void part_writer_series(struct part_writer *w, const struct schema *schema, uint32_t series,
                        struct str path);
void part_writer_block(struct part_writer *w,
                       const struct vector *time); /* times strictly ascend */
/* A column of the block: ids ascend, from 1; as many rows as the times; borrowed for the call. One
 * that no row has is left out. Series that stand together have one type of it, as those of a table
 * do; who writes what a damaged part says asks whether it fits. */
bool part_writer_fits(const struct part_writer *w, uint16_t id, enum type type);
void part_writer_column(struct part_writer *w, uint16_t id, const struct vector *v);
void part_writer_block_end(struct part_writer *w);
void part_writer_series_end(struct part_writer *w); /* it has one block at least */
/* Publishes the file: tail, sync, rename, sync of the folder. `info` receives what the manifest
 * shall say (gives info->tables). The writer is closed in any
 * case, and nothing is left of the file after an error. Errors: LIMIT (more than a reader takes),
 * IO, DISK_FULL, NO_MEMORY. */
enum err part_writer_finish(struct part_writer *w, struct part_info *info, struct why *why);
/* Closes it and removes what was written; also of one that is closed. */
void part_writer_abort(struct part_writer *w);
/* Whether nothing was written: then there is nothing to finish. */
bool part_writer_is_empty(const struct part_writer *w);

/* ---- reading ---- */

/* An open part. */
struct part_file {
    struct os *os;                       /* borrowed */
    struct os_file *file;                /* owned; NULL: closed, for now */
    uint64_t size;                       /* of the file, in bytes */
    uint64_t directory, tables, schemas; /* offsets, ascending, within the file */
    uint32_t version;                    /* of the format: 1 to PART_VERSION */
    uint32_t entry_count, table_count;   /* those the sections before have room for */
    /* What was read last, with some of what follows. */
    struct budget *budget; /* of the window; NULL: none */
    uint8_t *window;
    size_t window_size, window_capacity, ahead;
    uint64_t window_from, run_end;
    struct part_info info; /* as header and tail say; tables NULL */
};

struct part_entry {
    uint32_t table, series;
    uint64_t run_offset;
    uint32_t run_size, rows;
    int64_t min_time_ns, max_time_ns;
    bool is_group;            /* many series; rows and times are those of all */
    struct part_group *group; /* not NULL: the member of it, and the times are the group's */
    uint32_t member;
};

/* Where one table's entries are, one page of them, and the group that was looked into last. Zeroed
 * before its first use; part_cursor_close gives back what it holds. */
struct part_cursor {
    bool found;
    uint32_t first, count, group_count; /* entries of the table: of series, of groups behind */
    uint32_t page, page_count;          /* the page held; page_count 0 = none */
    bool has_below;                     /* no series of the table is between `below` and the */
    uint32_t below;                     /* first one of the page */
    struct part_group *group;
    uint32_t group_from, group_to; /* a series in [from, to) is in the group or in none */
    struct part_entry member;
    struct part_entry entries[PART_PAGE_ENTRIES];
};

struct part_block {
    uint64_t offset, origin, version;
    int64_t min_time_ns, max_time_ns;
    uint32_t rows;
    uint16_t column_count;
    struct part_column *columns; /* ids ascending; [0] is the time */
    struct part_group *group;    /* not NULL: rows [group_row, group_row + rows) of its block */
    uint32_t group_row;
};

struct part_run {
    uint32_t series, table;
    struct str path;
    uint32_t block_count;
    struct part_block *blocks; /* by time, without overlap */
};

/* Opens and checks header and tail. `budget` (borrows, may be NULL) pays for what is read ahead.
 * Errors: NOT_FOUND, IO, FORMAT, CORRUPT. */
enum err part_file_open(struct os *os, const char *path, struct budget *budget,
                        struct part_file *file, struct why *why);
void part_file_close(struct part_file *file);
/* The same over an os_file already open (taken also on failure), for the above. */
enum err part_file_check(struct part_file *file, const char *path, struct why *why);
/* Ids of the tables in the part, for one that the manifest lost. `*ids`: mem_free. */
enum err part_file_tables(struct part_file *file, uint32_t **ids, struct why *why);
/* The entry `index` of the whole directory, for who reads all of it (`doctor`). What is in a group
 * is reached by part_cursor_load and part_cursor_member. */
enum err part_file_entry(struct part_file *file, struct part_cursor *cursor, uint32_t index,
                         const struct part_entry **entry, struct why *why);
/* The section of schemas, checked, without its checksum: `*bytes` (mem_free), `*size`. */
enum err part_file_schemas(struct part_file *file, uint8_t **bytes, size_t *size, struct why *why);
/* Finds where `table` begins; cursor->found false: it is not here. */
enum err part_cursor_open(struct part_file *file, uint32_t table, struct part_cursor *cursor,
                          struct why *why);
/* The entry of `series`, or NULL in *entry. Series are asked for in ascending order as a rule; any
 * order works. The entry is valid until the cursor is used again. */
enum err part_cursor_find(struct part_file *file, struct codec *codec, struct part_cursor *cursor,
                          uint32_t series, const struct part_entry **entry, struct why *why);
/* Whether the answer needs no file: it may be closed meanwhile. */
bool part_cursor_knows(struct part_cursor *cursor, uint32_t series);
/* Reads the group that `entry` is; the members are *count. */
enum err part_cursor_load(struct part_file *file, struct codec *codec, struct part_cursor *cursor,
                          const struct part_entry *entry, uint32_t *count, struct why *why);
const struct part_entry *part_cursor_member(struct part_cursor *cursor, uint32_t member);
void part_cursor_close(struct part_cursor *cursor); /* NULL allowed */
/* Reads a series' run into `arena`. What comes out of a group lives as long as the cursor stays
 * where it is. */
enum err part_run_read(struct part_file *file, const struct part_entry *entry, struct arena *arena,
                       struct part_run *run, struct why *why);
/* Reads bytes [from, to) of a block into the window, if they are not too many: columns read next
 * will find them there. */
enum err part_block_ahead(struct part_file *file, const struct part_block *block, uint32_t from,
                          uint32_t to, struct why *why);
/* Reads one column of a block; `column` is one of block->columns. */
enum err part_block_column(struct part_file *file, struct codec *codec,
                           const struct part_block *block, const struct part_column *column,
                           struct arena *arena, struct vector *v, uint64_t *bytes_read,
                           struct why *why);
/* Whether its rows have times first, first + step, … (step > 0); else they have to be read. */
enum err part_block_line(struct part_file *file, const struct part_block *block, bool *is_line,
                         int64_t *step_ns, struct why *why);
/* Summaries of ranges of its rows (part_column.h), `stride` apart, reading no more of it than they
 * need; `arena` for what has to be decoded. */
enum err part_block_ranges(struct part_file *file, struct codec *codec,
                           const struct part_block *block, const struct part_column *column,
                           const struct part_ranges *ranges, struct arena *arena,
                           struct sql_summary *out, size_t stride, uint64_t *bytes_read,
                           struct why *why);
const struct part_column *part_block_find(const struct part_block *block,
                                          uint16_t id); /* or NULL */

#endif
