/* neuron_fuzz.c - property: whatever the list, every tag that is taken has an address and a type
 * that end, and what is written as CSV reads back as itself. */
/* covers: src/collect/neuron.c */
#include "collect/neuron.h"
#include <stdlib.h>
#include <string.h>

#define CLAIM(is_true) ((is_true) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Out as a row, and in again. */
static void there_and_back(const struct neuron_tag *tag, const struct neuron_point *point,
                           struct arena *arena)
{
    struct buf out = BUF_EMPTY;
    struct neuron_tag *again;
    size_t count;
    struct neuron_source source = {.group = tag->group,
                                   .column = tag->name,
                                   .address = str_of(point->address),
                                   .type = str_of(point->type),
                                   .order = str_of(point->order),
                                   .access = str_of(point->access),
                                   .description = tag->description,
                                   .unit = 1};
    neuron_add_header(&out);
    if (neuron_add_row(&out, &source, NULL) == ERR_OK) {
        CLAIM(neuron_read(buf_str(&out), arena, &again, &count, NULL) == ERR_OK && count == 1);
        CLAIM(str_equal(again->group, tag->group) && str_equal(again->name, tag->name));
        CLAIM(str_equal(again->description, tag->description));
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct arena arena;
    struct neuron_tag *tags;
    size_t count = 0;
    struct neuron_order orders[NEURON_ORDER_ROWS];
    memcpy(orders, neuron_orders, sizeof orders);
    arena_init(&arena, NULL);
    (void)neuron_override(orders, (struct str){(const char *)bytes, size}, NULL);
    for (size_t i = 0; i < NEURON_ORDER_ROWS; i++) CLAIM(strlen(orders[i].order) <= 8);
    if (neuron_read((struct str){(const char *)bytes, size}, &arena, &tags, &count, NULL))
        count = 0;
    for (size_t i = 0; i < count && i < 64; i++) {
        struct neuron_point point;
        struct why why = WHY_NONE;
        if (neuron_translate(&tags[i], orders, &point, &why)) {
            CLAIM(why.text[0]);
            continue;
        }
        CLAIM(point.address[0] && point.type[0] && point.column_type && point.scale != 0);
        there_and_back(&tags[i], &point, &arena);
    }
    arena_free(&arena);
    return 0;
}
