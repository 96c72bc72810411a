/* time_notation_fuzz.c - property: whatever a notation and a text say, reading ends; what was read
 * is within the range and, written as RFC 3339, read as the same by every notation that takes ISO.
 * The first line is the notation's name, the second the zone's offset in minutes, the rest the
 * text. */
/* covers: src/data/time_notation.c */
#include "base/num.h"
#include "base/timetext.h"
#include "data/time_notation.h"
#include <stdlib.h>

#define CLAIM(is_true) ((is_true) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void written_is_read_back(int64_t time_ns)
{
    static const char *const names[] = {"", "iso"};
    char text[TIME_TEXT_BYTES];
    time_format(time_ns, text);
    for (size_t i = 0; i < 2; i++) {
        struct time_notation n;
        int64_t again;
        CLAIM(time_notation_parse(str_of(names[i]), &n, NULL) == ERR_OK);
        CLAIM(time_notation_read(&n, str_of(text), &again) && again == time_ns);
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct str rest = {(const char *)bytes, size}, name, zone_name;
    struct time_notation n;
    struct zone zone;
    struct why why = WHY_NONE;
    int64_t first, second;
    if (!str_split(&rest, '\n', &name) || !str_split(&rest, '\n', &zone_name)) return 0;
    if (time_notation_parse(name, &n, &why)) {
        CLAIM(why.text[0]);
        return 0;
    }
    if (zone_fixed(zone_name, &zone)) n.zone = &zone;
    if (!time_notation_read(&n, rest, &first)) return 0;
    CLAIM(time_notation_read(&n, rest, &second) &&
          second == first); /* nothing is kept but a zone */
    written_is_read_back(first);
    return 0;
}
