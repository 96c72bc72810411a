/* sparkplug_fuzz.c - property: whatever the bytes, a payload that is read has metrics whose texts
 * lie in it, and what is written of them is read again as the same; a host takes any sequence of
 * such messages, and its rows can be read back. The input is messages: a byte that picks the
 * topic, two bytes of length, the payload. */
/* covers: src/data/sparkplug.c src/stream/sparkplug_host.c */
#include "base/hash.h"
#include "data/line.h"
#include "data/sparkplug.h"
#include "stream/packed.h"
#include "stream/sparkplug_host.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static struct line row;

static void write_again(const struct sparkplug_metric *m)
{
    struct buf out = BUF_EMPTY;
    struct sparkplug_payload payload;
    struct sparkplug_metric again;
    if (!m->has_name && !m->has_alias) return;
    sparkplug_write_begin(&out, 1, true, 255);
    sparkplug_write_metric(&out, m);
    if (sparkplug_read(buf_str(&out), &payload, NULL) || payload.metric_count != 1) abort();
    struct reader at = reader_of(out.at, out.size);
    if (!sparkplug_next(&at, &again)) abort();
    if (!str_equal(again.name, m->name) || again.alias != m->alias ||
        again.datatype != m->datatype || again.has_quality != m->has_quality ||
        (!m->is_null && (again.field != m->field || again.bits != m->bits)))
        abort();
    buf_free(&out);
}

static void look_at(struct str text)
{
    struct sparkplug_payload payload;
    struct sparkplug_metric m;
    struct arena arena;
    struct why why = WHY_NONE;
    size_t count = 0;
    if (sparkplug_read(text, &payload, &why)) {
        if (!why.text[0]) abort();
        return;
    }
    arena_init(&arena, NULL);
    for (struct reader at = reader_of(text.at, text.size); sparkplug_next(&at, &m); count++) {
        struct value v;
        enum err err = sparkplug_value(&m, m.datatype, &arena, &v, &why);
        bool is_slice = v.type == TYPE_TEXT || v.type == TYPE_BYTES || v.type == TYPE_DOUBLES;
        volatile uint64_t sum = !err && is_slice && !v.is_null ? hash_64(v.s.at, v.s.size) : 0;
        (void)sum;
        write_again(&m);
    }
    if (count != payload.metric_count) abort();
    arena_free(&arena);
}

static size_t count_rows(const struct buf *rows)
{
    struct reader in = reader_of(rows->at, rows->size);
    struct arena arena;
    size_t offset, count = 0;
    bool lacks;
    arena_init(&arena, NULL);
    while (packed_next(&in, &offset, &row, &arena, &lacks)) count++;
    arena_free(&arena);
    return count;
}

static void host_take(struct sparkplug_host *host, struct str topic, struct str payload,
                      int64_t time_ns)
{
    struct buf rows = BUF_EMPTY, commands = BUF_EMPTY;
    struct arena scratch;
    struct why why = WHY_NONE;
    struct sparkplug_taken taken = {&row, &scratch, &rows, &commands, 0, ERR_OK};
    struct mapping_message message = {topic, payload, time_ns, 0};
    struct str to, what;
    arena_init(&scratch, NULL);
    enum err err = sparkplug_host_take(host, &message, &taken, &why);
    if (err && (!why.text[0] || rows.size)) abort();
    if (taken.partial && !why.text[0]) abort();
    if (count_rows(&rows) != taken.row_count) abort();
    struct reader in = reader_of(commands.at, commands.size);
    while (sparkplug_next_command(&in, &to, &what)) look_at(what);
    arena_free(&scratch);
    buf_free(&rows);
    buf_free(&commands);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    static const struct str topics[] = {
        {"spBv1.0/g/NBIRTH/e", 18},   {"spBv1.0/g/NDATA/e", 17},   {"spBv1.0/g/NDEATH/e", 18},
        {"spBv1.0/g/DBIRTH/e/d", 20}, {"spBv1.0/g/DDATA/e/d", 19}, {"spBv1.0/g/DDEATH/e/d", 20},
        {"spBv1.0/g/NCMD/e", 16},     {"spBv1.0/STATE/h", 15},     {"spBv1.0//x", 10}};
    struct mapping_spec spec = {
        .format = MAPPING_SPARKPLUG, .filter = STR("spBv1.0/#"), .default_table = STR("t")};
    struct mapping *mapping = NULL;
    char where[64];
    struct reader in = reader_of(bytes, size);
    if (mapping_new(&spec, &mapping, where, NULL)) return 0;
    struct sparkplug_host *host = sparkplug_host_new(mapping, 10);
    for (int64_t time_ns = 1; host && reader_left(&in); time_ns += 5) {
        struct str topic = topics[reader_u8(&in) % 9];
        size_t wanted = reader_be16(&in), left = reader_left(&in);
        struct str payload = reader_str(&in, wanted < left ? wanted : left);
        look_at(payload);
        host_take(host, topic, payload, time_ns);
    }
    sparkplug_host_free(host);
    mapping_free(mapping);
    return 0;
}
