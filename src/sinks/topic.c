/* topic.c - templates of topics: "plant/{label.site}/{device}". */
#include "sinks/sinks_priv.h"
#include <string.h>

struct str sink_topic_template(const struct sink_mqtt_spec *spec)
{
    if (spec->format == SINK_SPARKPLUG) return STR("spBv1.0"); /* edge.c makes them */
    if (spec->topic.size) return spec->topic;
    return spec->format == SINK_VALUE ? STR("{device}/{column}") : STR("data/{device}/{table}");
}

bool sink_topic_has(const struct sink_mqtt_spec *spec, const char *wanted)
{
    struct str rest = sink_topic_template(spec), text, name;
    bool has = spec->format == SINK_SPARKPLUG && str_is(STR("device"), wanted);
    while (rest.size && sink_topic_next(&rest, &text, &name)) has |= str_is(name, wanted);
    return has;
}

bool sink_topic_next(struct str *rest, struct str *text, struct str *name)
{
    const char *open = rest->size ? memchr(rest->at, '{', rest->size) : NULL;
    size_t before = open ? (size_t)(open - rest->at) : rest->size;
    *text = (struct str){rest->at, before};
    *name = STR("");
    if (before && memchr(rest->at, '}', before)) return false;
    if (!open) {
        rest->size = 0;
        return true;
    }
    const char *close = memchr(open, '}', rest->size - before);
    if (!close || close == open + 1) return false;
    *name = (struct str){open + 1, (size_t)(close - open - 1)};
    if (memchr(name->at, '{', name->size)) return false;
    rest->size -= (size_t)(close + 1 - rest->at);
    rest->at = close + 1;
    return true;
}
