/* topic_fuzz.c - property: a template of topics is refused, or its pieces joined again are the
 * template itself, names are neither empty nor have braces, and sink_topic_has finds each of them.
 */
/* covers: src/sinks/topic.c */
#include "sinks/sinks_priv.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool has_brace(struct str text)
{
    return text.size && (memchr(text.at, '{', text.size) || memchr(text.at, '}', text.size));
}

static void look_for(const struct sink_mqtt_spec *spec, struct str name)
{
    char copy[256];
    if (memchr(name.at, 0, name.size) || !str_copy(copy, sizeof copy, name)) return;
    if (!sink_topic_has(spec, copy)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct sink_mqtt_spec spec = {.format = SINK_JSON};
    struct str rest, text, name;
    struct buf joined = BUF_EMPTY;
    bool is_good = true;
    if (size < 1) return 0;
    spec.topic = (struct str){(const char *)bytes, size};
    rest = sink_topic_template(&spec);
    while (rest.size && is_good) {
        size_t before = rest.size;
        is_good = sink_topic_next(&rest, &text, &name);
        if (!is_good) break;
        if (rest.size >= before || has_brace(text) || has_brace(name)) abort();
        buf_add_str(&joined, text);
        if (name.size) {
            buf_printf(&joined, "{");
            buf_add_str(&joined, name);
            buf_add_char(&joined, '}');
        }
    }
    if (is_good && !str_equal(buf_str(&joined), spec.topic)) abort();
    rest = spec.topic;
    while (rest.size && is_good && sink_topic_next(&rest, &text, &name))
        if (name.size) look_for(&spec, name);
    buf_free(&joined);
    return 0;
}
