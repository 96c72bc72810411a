/* mapping_fuzz.c - property: whatever a document and a message say, the mapping ends; what it made
 * can be read back row by row; an error has a text; a message is taken whole or not at all. The
 * first lines of the input are the document: format and flags, filter, device, rows, time, a
 * column's path, a label; the rest is the payload. */
/* covers: src/stream/mapping.c src/stream/mapping_new.c src/stream/mapping_csv.c */
/* covers: src/stream/mapping_neuron.c src/stream/path.c src/stream/payload.c src/stream/packed.c */
#include "base/hash.h"
#include "data/line.h"
#include "stream/mapping.h"
#include "stream/packed.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static struct line row;

static struct str take_line(struct str *rest)
{
    struct str line = {"", 0};
    (void)str_split(rest, '\n', &line);
    return line;
}

static void look_at(const struct buf *packed, size_t count)
{
    struct reader in = reader_of(packed->at, packed->size);
    struct arena arena;
    size_t offset, rows = 0;
    uint64_t sum = 0;
    bool lacks;
    arena_init(&arena, NULL);
    for (; packed_next(&in, &offset, &row, &arena, &lacks); rows++) {
        for (uint32_t i = 0; i < row.tag_count; i++)
            sum += hash_64(row.tags[i].value.at, row.tags[i].value.size);
        for (uint32_t i = 0; i < row.field_count; i++)
            if (row.fields[i].value.type == TYPE_TEXT && !row.fields[i].value.is_null)
                sum += hash_64(row.fields[i].value.s.at, row.fields[i].value.s.size);
    }
    volatile uint64_t used = sum;
    (void)used;
    if (rows != count) abort();
    arena_free(&arena);
}

static void take(const struct mapping *mapping, struct str payload)
{
    struct buf packed = BUF_EMPTY;
    struct arena scratch;
    struct why why = WHY_NONE;
    struct mapping_message message = {STR("a/b/c/d"), payload, 1, 1};
    size_t count;
    arena_init(&scratch, NULL);
    enum err err = mapping_take(mapping, &message, &row, &scratch, &packed, &count, &why);
    if (err && err != ERR_NO_MEMORY && (!why.text[0] || count || packed.size)) abort();
    look_at(&packed, count);
    arena_free(&scratch);
    buf_free(&packed);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct str rest = {(const char *)bytes, size}, flags = take_line(&rest);
    struct mapping_spec spec = {.default_table = STR("t"), .csv_delimiter = STR(";")};
    struct mapping_column column = {.name = STR("c")};
    struct mapping_label label = {.name = STR("l")};
    struct mapping *mapping = NULL;
    struct why why = WHY_NONE;
    char where[64] = "";
    unsigned char first = flags.size ? (unsigned char)flags.at[0] : 0,
                  second = flags.size > 1 ? (unsigned char)flags.at[1] : 0;
    spec.format = (enum mapping_format)(first % MAPPING_FORMAT_COUNT);
    spec.unit = (enum mapping_unit)(second % MAPPING_UNIT_COUNT);
    spec.csv_header = first & 128;
    spec.filter = take_line(&rest);
    spec.device = take_line(&rest);
    spec.rows = take_line(&rest);
    spec.time = take_line(&rest);
    column.path = take_line(&rest);
    label.value = take_line(&rest);
    spec.columns = &column;
    spec.column_count = column.path.size > 0;
    spec.labels = &label;
    spec.label_count = label.value.size > 0;
    enum err err = mapping_new(&spec, &mapping, where, &why);
    if (err && !why.text[0]) abort();
    if (!err && spec.format != MAPPING_SPARKPLUG)
        take(mapping, rest); /* a host's (sparkplug_fuzz.c) */
    mapping_free(mapping);
    return 0;
}
