/* quality.c - see quality.h. */
#include "data/quality.h"
#include <stdio.h>

static const struct {
    uint32_t code;
    const char *name;
} qualities[] = {
#define X(symbol, code) {code, #symbol},
    QUALITY_TABLE(X)
#undef X
};
enum { QUALITY_COUNT = sizeof qualities / sizeof qualities[0] };

const char *quality_name(uint32_t quality, char scratch[12])
{
    for (size_t i = 0; i < QUALITY_COUNT; i++)
        if (qualities[i].code == quality) return qualities[i].name;
    snprintf(scratch, 12, "0x%08X", quality);
    return scratch;
}

bool quality_of_name(struct str name, uint32_t *quality)
{
    for (size_t i = 0; i < QUALITY_COUNT; i++) {
        if (!str_is_nocase(name, qualities[i].name)) continue;
        *quality = qualities[i].code;
        return true;
    }
    return false;
}
