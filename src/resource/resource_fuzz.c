/* resource_fuzz.c - property: any text, as YAML or JSON, is refused with a reason or becomes
 * resources whose documents read back as the same. The first byte chooses the syntax. */
/* covers: src/resource/yaml.c src/resource/json.c src/resource/field.c src/resource/kind.c */
#include "resource/kind.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void read_one(struct doc *doc, struct arena *arena)
{
    struct problems problems;
    struct resource *r, *again;
    struct why why = WHY_NONE;
    problems_init(&problems, arena);
    if (resource_read(doc, "", &r, &problems, &why)) {
        if (!why.text[0]) abort();
        return;
    }
    struct buf text = BUF_EMPTY;
    struct doc *shown = resource_document(r, arena), *back;
    doc_write_json(&text, shown);
    if (doc_read_json(buf_str(&text), arena, &back, &why) ||
        resource_read(back, "", &again, &problems, &why))
        abort();
    if (!resource_same_spec(r, again)) abort();
    resource_release(again);
    resource_release(r);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct arena arena;
    struct doc **docs = NULL, *one = NULL;
    size_t count = 0;
    struct why why = WHY_NONE;
    if (size == 0) return 0;
    arena_init(&arena, NULL);
    struct str text = {(const char *)bytes + 1, size - 1};
    enum err err = bytes[0] == 'j' ? doc_read_json(text, &arena, &one, &why)
                                   : doc_read_yaml(text, "fuzz", &arena, &docs, &count, &why);
    if (err && !why.text[0]) abort();
    if (!err && one) read_one(one, &arena);
    for (size_t i = 0; !err && i < count; i++) read_one(docs[i], &arena);
    arena_free(&arena);
    return 0;
}
