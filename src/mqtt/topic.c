/* topic.c - see topic.h: pure functions over texts.
 *
 * topic_matches walks filter and name side by side, level by level, in one pass and without memory;
 * the tree (tree_match.c) answers the same question for all filters at once, and a test holds both
 * against each other. */
#include "mqtt/topic.h"
#include <string.h>

size_t topic_levels(struct str text)
{
    size_t levels = 1;
    for (size_t i = 0; i < text.size; i++) levels += text.at[i] == '/';
    return levels;
}

static bool is_within_limits(struct str text)
{
    return text.size > 0 && text.size <= TOPIC_BYTES_MAX && topic_levels(text) <= TOPIC_LEVELS_MAX;
}

bool topic_has_wildcard(struct str filter)
{
    return filter.size &&
           (memchr(filter.at, '+', filter.size) || memchr(filter.at, '#', filter.size));
}

bool topic_name_is_valid(struct str name)
{
    return is_within_limits(name) && !topic_has_wildcard(name);
}

/* Where Mosquitto's bridges tell the remote broker whether they are there: it is their will. */
static bool is_of_bridges(struct str name)
{
    struct str end = STR("/state");
    return str_starts(name, "$SYS/broker/connection/") &&
           memcmp(name.at + name.size - end.size, end.at, end.size) == 0;
}

bool topic_is_own(struct str name)
{
    return (str_starts(name, "$SYS") && !is_of_bridges(name)) || str_starts(name, "$dead/");
}

bool topic_name_is_made(struct str name)
{
    return name.size > 0 && name.size <= TOPIC_MADE_BYTES_MAX &&
           topic_levels(name) <= TOPIC_MADE_LEVELS_MAX && !topic_has_wildcard(name);
}

bool topic_filter_is_formed(struct str filter)
{
    struct str rest = filter, level;
    bool was_last = false;
    if (!filter.size) return false;
    while (str_split(&rest, '/', &level)) {
        if (was_last) return false; /* something follows '#' */
        if (topic_has_wildcard(level) && level.size != 1) return false;
        was_last = str_is(level, "#");
    }
    return true;
}

bool topic_filter_is_valid(struct str filter)
{
    return is_within_limits(filter) && topic_filter_is_formed(filter);
}

bool topic_split_shared(struct str text, struct str *group, struct str *filter, bool *bad)
{
    static const char prefix[] = "$share/";
    *group = STR("");
    *filter = text;
    *bad = false;
    if (!str_starts(text, prefix)) {
        *bad = str_is(text, "$share");
        return false;
    }
    struct str rest = {text.at + sizeof prefix - 1, text.size - (sizeof prefix - 1)};
    const char *slash = rest.size ? memchr(rest.at, '/', rest.size) : NULL;
    *bad = !slash || slash == rest.at || slash + 1 == rest.at + rest.size;
    if (*bad) return false;
    *group = (struct str){rest.at, (size_t)(slash - rest.at)};
    *filter = (struct str){slash + 1, rest.size - group->size - 1};
    *bad = topic_has_wildcard(*group) || memchr(group->at, 0, group->size);
    return !*bad;
}

/* The next level of a text that has one more; `*more` false once it was the last. */
static struct str take_level(struct str *rest, bool *more)
{
    const char *slash = rest->size ? memchr(rest->at, '/', rest->size) : NULL;
    struct str level = {rest->at, slash ? (size_t)(slash - rest->at) : rest->size};
    *more = slash != NULL;
    if (slash) *rest = (struct str){slash + 1, rest->size - level.size - 1};
    return level;
}

bool topic_matches(struct str filter, struct str name)
{
    bool filter_more = true, name_more = true;
    if (name.size && name.at[0] == '$' && filter.size &&
        (filter.at[0] == '+' || filter.at[0] == '#'))
        return false;
    for (;;) {
        if (!filter_more) return !name_more;
        struct str wanted = take_level(&filter, &filter_more);
        if (str_is(wanted, "#")) return true; /* its parent, too: "a/#" fits "a" */
        if (!name_more) return false;
        struct str level = take_level(&name, &name_more);
        if (!str_is(wanted, "+") && !str_equal(wanted, level)) return false;
    }
}
