/* zone_fuzz.c - property: whatever the bytes, a zone file is refused with a text, or it is a zone
 * whose stretches hold the time asked for and whose wall clock leads back. */
/* covers: src/base/zone.c */
#include "base/zone.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void check(const struct zone *zone, int64_t utc_s)
{
    struct zone_stretch s = zone_at(zone, utc_s);
    if (s.from > utc_s || (s.to <= utc_s && s.to != INT64_MAX)) abort();
    int64_t again = zone_to_utc(zone, utc_s + s.offset);
    if (again > utc_s) abort(); /* the first instant at which the clock shows this */
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct arena arena;
    struct zone zone;
    struct why why = WHY_NONE;
    arena_init(&arena, NULL);
    enum err err = zone_parse(bytes, size, &arena, &zone, &why);
    if (err && err != ERR_NO_MEMORY && !why.text[0]) abort();
    for (int64_t t = -9000000000; !err && t < 9000000000; t += 777777777) check(&zone, t);
    for (size_t i = 0; !err && i < zone.transition_count && i < 50; i++)
        if (llabs(zone.at[i]) < 9000000000) check(&zone, zone.at[i]), check(&zone, zone.at[i] - 1);
    arena_free(&arena);
    if (zone_fixed((struct str){(const char *)bytes, size < 20 ? size : 20}, &zone))
        check(&zone, 0);
    (void)zone_name_is_safe((struct str){(const char *)bytes, size});
    return 0;
}
