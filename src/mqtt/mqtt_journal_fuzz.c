/* mqtt_journal_fuzz.c - property: whatever a note of the log or the broker's file holds, reading it
 * ends, memory stays in proportion to the bytes, what came of it is a broker that can be used: its
 * queues can be walked, and it is freed to the last byte.
 *
 * First byte: 0 = a note, else the file. The file's checksums are mended first, so that mutations
 * reach what lies behind them. The world is a clock that stands still and a disk without files. */
/* covers: src/mqtt/journal_replay.c src/mqtt/outbox.c */
#include "base/hash.h"
#include "mqtt/broker_priv.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

enum { HEADER_BYTES = 24, NOW_S = 1000000, MEMORY_MAX = 256 * 1024 * 1024 };

static int64_t stands_still(struct os *os)
{
    (void)os;
    return NOW_S * TIME_NS_PER_S;
}

static enum err no_file(struct os *os, const char *path, unsigned flags, struct os_file **file,
                        struct why *why)
{
    (void)os;
    (void)flags;
    *file = NULL;
    return why_set(why, ERR_NOT_FOUND, "%s: there are no files", path);
}

static const struct os_ops ops = {
    .name = "fuzz", .wall_ns = stands_still, .mono_ns = stands_still, .file_open = no_file};

static void put_le32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (8 * i));
}

/* Gives header and chunks the checksums that they should have. */
static void mend(uint8_t *bytes, size_t size)
{
    if (size < HEADER_BYTES) return;
    memcpy(bytes, "MILLRMQT", 8);
    put_le32(bytes + 8, SNAPSHOT_FORMAT);
    put_le32(bytes + 12, 0);
    put_le32(bytes + 12, hash_crc32c(0, bytes, HEADER_BYTES));
    struct reader r = reader_of(bytes + HEADER_BYTES, size - HEADER_BYTES);
    for (uint32_t chunk = 0; reader_left(&r) >= 8; chunk++) {
        size_t at = HEADER_BYTES + reader_offset(&r), length = reader_le32(&r);
        (void)reader_le32(&r);
        struct str text = reader_str(&r, length);
        if (!reader_ok(&r)) return;
        put_le32(bytes + at + 4, hash_crc32c(chunk, text.at, text.size));
    }
}

/* What the broker would do with it: every entry of every queue is looked at. */
static void look_at(struct broker *broker)
{
    for (struct session *s = broker->first_session; s; s = s->next) {
        struct outbox *o = &s->outbox;
        size_t open = 0;
        if (outbox_span(o) > OUTBOX_SPAN_MAX + (size_t)1 || o->next < o->first || o->next > o->last)
            abort();
        for (uint64_t i = o->first; i < o->last; i++) {
            const struct outbox_item *item = outbox_at(o, i);
            open += item->state != OUTBOX_DONE;
            if (item->state == OUTBOX_WAITING && !item->message) abort();
        }
        if (open != outbox_count(o)) abort();
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct os os = {.ops = &ops};
    static struct context context; /* large */
    struct broker *broker = NULL;
    struct why why = WHY_NONE;
    uint64_t position = 0;
    size_t damaged = 0;
    if (!size) return 0;
    memset(&context, 0, sizeof context);
    context.os = &os;
    context.diag_level = DIAG_ERROR + 1;
    budget_init(&context.memory, "fuzz", NULL, MEMORY_MAX);
    if (broker_new(&context, &broker_defaults, "fuzz", &broker, &why)) abort();
    uint8_t *copy = mem_dup(bytes + 1, size - 1 ? size - 1 : 1);
    if (!copy) abort();
    if (bytes[0]) {
        mend(copy, size - 1);
        broker->is_loading = true;
        (void)snapshot_parse(broker, (struct str){(const char *)copy, size - 1}, &position,
                             &damaged, &why);
    } else {
        (void)broker_replay(broker, 1, (struct str){(const char *)copy, size - 1}, &why);
    }
    look_at(broker);
    journal_replayed(broker);
    look_at(broker);
    size_t at = 0;
    struct str key;
    void *message;
    while (map_next(&broker->loading, &at, &key, &message)) message_release(message);
    map_free(&broker->loading);
    map_init(&broker->loading);
    broker_free(broker);
    if (atomic_load(&context.memory.used_bytes)) abort(); /* what was taken was given back */
    mem_free(copy);
    return 0;
}
