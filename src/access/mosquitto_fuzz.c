/* mosquitto_fuzz.c - property: whatever the files, every line ends, what is taken is a topic that a
 * rule can say or a hash that can be checked, and a filter overlaps itself. */
/* covers: src/access/mosquitto.c src/access/legacy.c */
#include "access/access.h"
#include "access/legacy.h"
#include "access/mosquitto.h"
#include <stdlib.h>

#define CLAIM(is_true) ((is_true) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void read_acl(struct str text)
{
    struct mosquitto_line line = {0};
    struct str before = STR("a/+/c");
    for (size_t number = 0; mosquitto_acl_next(&text, &line); number = line.number) {
        CLAIM(line.number > number);
        CLAIM((line.kind == MOSQUITTO_WRONG) == (line.problem != NULL));
        if (line.problem || line.kind == MOSQUITTO_USER) continue;
        bool is_pattern = line.kind == MOSQUITTO_PATTERN;
        if (!mosquitto_topic_problem(line.text, is_pattern))
            CLAIM(access_filter_is_valid(line.text));
        CLAIM(access_filters_overlap(line.text, line.text, true));
        CLAIM(access_filters_overlap(line.text, before, true) ==
              access_filters_overlap(before, line.text, true));
        before = line.text;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct str text = {size ? (const char *)bytes : "", size};
    struct mosquitto_password line = {0};
    struct legacy_verifier verifier;
    read_acl(text);
    while (mosquitto_password_next(&text, &line)) {
        if (line.problem) continue;
        CLAIM(line.user.size && legacy_parse(line.hash, &verifier));
        CLAIM(verifier.salt_size > 0 && verifier.iterations <= 10000000);
        verifier.iterations = verifier.iterations > 1;
        (void)legacy_check(&verifier, line.user);
    }
    return 0;
}
