/* mqtt_journal_fuzz.c - property: whatever a note of the log or the broker's file holds, reading it
 * ends, memory stays in proportion to the bytes, what came of it is a broker that can be used: its
 * queues can be walked, and it is freed to the last byte.
 *
 * First byte: 0 = a note, else the file (with notes behind the state, as a backup leaves it). The
 * file's checksums are mended first, so that mutations reach what lies behind them. The world is a
 * clock that stands still and a disk on which every file of a long queue holds the same bytes, as
 * records with the sums that they should have. */
/* covers: src/mqtt/journal_replay.c src/mqtt/outbox.c src/mqtt/spill.c src/mqtt/spill_file.c
 * src/mqtt/spill_job.c src/mqtt/spill_start.c */
#include "base/hash.h"
#include "base/timetext.h"
#include "mqtt/broker_priv.h"
#include "mqtt/verify.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

enum { NOW_S = 1000000, MEMORY_MAX = 256 * 1024 * 1024 };

static int64_t stands_still(struct os *os)
{
    (void)os;
    return NOW_S * TIME_NS_PER_S;
}

static uint8_t *queue_bytes;
static size_t queue_size;

static enum err open_queue(struct os *os, const char *path, unsigned flags, struct os_file **file,
                           struct why *why)
{
    (void)os;
    *file = (struct os_file *)&queue_bytes; /* only one there is */
    if (!strstr(path, "/queues/") && !(flags & OS_FILE_CREATE))
        return why_set(why, ERR_NOT_FOUND, "%s: there is no such file", path);
    return ERR_OK;
}

static void close_queue(struct os_file *file)
{
    (void)file;
}

static enum err read_queue(struct os_file *file, uint64_t offset, void *bytes, size_t size,
                           size_t *got, struct why *why)
{
    (void)file;
    (void)why;
    *got = offset >= queue_size ? 0 : queue_size - (size_t)offset;
    if (*got > size) *got = size;
    if (*got) memcpy(bytes, queue_bytes + offset, *got);
    return ERR_OK;
}

static enum err write_queue(struct os_file *file, uint64_t offset, const void *bytes, size_t size,
                            struct why *why)
{
    (void)file;
    (void)offset;
    (void)bytes;
    (void)size;
    (void)why;
    return ERR_OK;
}

static enum err touch_path(struct os *os, const char *path, struct why *why)
{
    (void)os;
    (void)path;
    (void)why;
    return ERR_OK;
}

static enum err list_none(struct os *os, const char *path,
                          enum err (*entry)(void *arg, const char *name), void *arg,
                          struct why *why)
{
    (void)entry;
    (void)arg;
    return touch_path(os, path, why);
}

static enum err sync_queue(struct os_file *file, struct why *why)
{
    (void)file;
    (void)why;
    return ERR_OK;
}

static const struct os_ops ops = {.name = "fuzz",
                                  .wall_ns = stands_still,
                                  .mono_ns = stands_still,
                                  .file_open = open_queue,
                                  .file_close = close_queue,
                                  .file_read = read_queue,
                                  .file_write = write_queue,
                                  .file_sync = sync_queue,
                                  .path_make = touch_path,
                                  .path_remove = touch_path,
                                  .path_sync = touch_path,
                                  .path_list = list_none};

static void put_le32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (8 * i));
}

/* Gives header and chunks the checksums that they should have. */
static void mend(uint8_t *bytes, size_t size)
{
    if (size < SNAPSHOT_HEADER_BYTES) return;
    struct reader header = reader_of(bytes + 16, 16);
    uint64_t position = reader_le64(&header), up_to = reader_le64(&header);
    snapshot_write_header((char *)bytes, position, up_to);
    struct reader r = reader_of(bytes + SNAPSHOT_HEADER_BYTES, size - SNAPSHOT_HEADER_BYTES);
    for (uint32_t chunk = 0; reader_left(&r) >= 8;) {
        size_t at = SNAPSHOT_HEADER_BYTES + reader_offset(&r), length = reader_le32(&r);
        (void)reader_le32(&r);
        struct str text = reader_str(&r, length);
        if (!reader_ok(&r)) return;
        put_le32(bytes + at + 4, hash_crc32c(chunk, text.at, text.size));
        chunk = length ? chunk + 1 : 0; /* behind the state: notes, from 0 on */
    }
}

/* The same for records of a queue's file. */
static void mend_records(uint8_t *bytes, size_t size)
{
    struct reader r = reader_of(bytes, size);
    while (reader_left(&r) >= 8) {
        size_t at = reader_offset(&r), length = reader_le32(&r);
        (void)reader_le32(&r);
        struct str text = reader_str(&r, length);
        if (!reader_ok(&r)) return;
        put_le32(bytes + at + 4, hash_crc32c(0, text.at, text.size));
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct os os = {.ops = &ops};
    static struct context context; /* large */
    struct broker *broker = NULL;
    struct why why = WHY_NONE;
    uint64_t position = 0;
    struct snapshot_read found;
    if (size < 2) return 0;
    memset(&context, 0, sizeof context);
    context.os = &os;
    context.diag_level = DIAG_ERROR + 1;
    budget_init(&context.memory, "fuzz", NULL, MEMORY_MAX);
    if (broker_new(&context, &broker_defaults, "fuzz", &broker, &why)) abort();
    uint8_t *copy = mem_dup(bytes + 1, size - 1);
    queue_bytes = mem_dup(bytes + 1, size - 1);
    queue_size = size - 1;
    if (!copy || !queue_bytes) abort();
    mend_records(queue_bytes, queue_size);
    if (bytes[0]) {
        mend(copy, size - 1);
        broker->is_loading = true;
        enum err err =
            snapshot_parse(broker, (struct str){(const char *)copy, size - 1}, &found, &why);
        broker_end_loading(broker);
        broker->journal.saved_seq = found.position;
        if (!err) (void)snapshot_replay_notes(broker, &found, &why);
    } else {
        (void)broker_replay(broker, 1, (struct str){(const char *)copy, size - 1}, &why);
    }
    broker_verify(broker, true);
    journal_replayed(broker);
    broker_verify(broker, true);
    for (struct session *s = broker->first_session; s; s = s->next) {
        spill_reach(s, s->outbox.last + 100);
        while (s->outbox.open && outbox_drop_oldest(&s->outbox, &position)) continue;
        spill_reach(s, s->outbox.last + 100);
    }
    broker_verify(broker, true);
    broker_free(broker);
    if (atomic_load(&context.memory.used_bytes)) abort(); /* what was taken was given back */
    mem_free(copy);
    mem_free(queue_bytes);
    return 0;
}
