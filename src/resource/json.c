/* json.c - JSON text into document trees, over jansson. */
#include "base/num.h"
#include "resource/doc.h"
#include <jansson.h>
#include <string.h>

static struct doc *convert(const json_t *json, struct arena *arena)
{
    switch (json_typeof(json)) {
    case JSON_NULL: return doc_new(arena, DOC_NULL);
    case JSON_STRING:
        return doc_new_string(arena,
                              (struct str){json_string_value(json), json_string_length(json)});
    case JSON_INTEGER: return doc_new_int(arena, json_integer_value(json));
    case JSON_TRUE:
    case JSON_FALSE: {
        struct doc *doc = doc_new(arena, DOC_BOOL);
        if (doc) doc->b = json_is_true(json);
        return doc;
    }
    case JSON_REAL: {
        struct doc *doc = doc_new(arena, DOC_NUMBER);
        char text[NUM_DOUBLE_BYTES];
        size_t size = num_format_double(json_real_value(json), text);
        char *own = doc ? arena_strdup(arena, text, size) : NULL;
        if (!own) return NULL;
        doc->text = (struct str){own, size};
        return doc;
    }
    case JSON_ARRAY: {
        struct doc *doc = doc_new(arena, DOC_LIST);
        for (size_t i = 0; doc && i < json_array_size(json); i++)
            if (!doc_append(arena, doc, convert(json_array_get(json, i), arena))) return NULL;
        return doc;
    }
    case JSON_OBJECT: {
        struct doc *doc = doc_new(arena, DOC_MAP);
        const char *key;
        json_t *value;
        if (!doc) return NULL;
        json_object_foreach(
            (json_t *)(uintptr_t)json, key,
            value) if (!doc_add_key(arena, doc, str_of(key), convert(value, arena))) return NULL;
        return doc;
    }
    }
    return NULL;
}

/* Depth is bounded here, because jansson's own limit (2,048) is beyond what the tree's readers
 * expect. */
static bool too_deep(struct str text)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.at[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '[' || c == '{') && ++depth > DOC_DEPTH_MAX)
            return true;
        else if (!in_string && (c == ']' || c == '}') && depth)
            depth--;
    }
    return false;
}

enum err doc_read_json(struct str text, struct arena *arena, struct doc **doc, struct why *why)
{
    json_error_t error;
    if (text.size > DOC_BYTES_MAX)
        return why_set(why, ERR_LIMIT, "JSON larger than %d MiB", DOC_BYTES_MAX >> 20);
    if (too_deep(text))
        return why_set(why, ERR_LIMIT, "JSON nested too deeply (%d levels are allowed)",
                       DOC_DEPTH_MAX);
    json_t *json = json_loadb(text.at ? text.at : "", text.size,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!json)
        return why_at(why, ERR_SYNTAX, error.position, "JSON, line %d column %d: %s", error.line,
                      error.column, error.text);
    *doc = convert(json, arena);
    json_decref(json);
    return *doc ? ERR_OK : ERR_NO_MEMORY;
}
