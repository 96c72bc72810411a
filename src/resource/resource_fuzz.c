/* resource_fuzz.c - property: any text, as YAML or JSON, is refused with a reason or becomes
 * resources whose documents read back as the same. The first byte chooses the syntax. */
/* covers: src/resource/yaml.c src/resource/json.c src/resource/field.c src/resource/kind.c */
#include "resource/kind.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

/* What the database keeps must give the same resource at the next start. */
static void keep(const struct resource *r, struct arena *arena)
{
    struct buf text = BUF_EMPTY;
    struct doc *back;
    struct resource *again;
    struct problems problems;
    struct why why = WHY_NONE;
    problems_init(&problems, arena);
    if (!resource_write_stored(&text, r) || doc_read_json(buf_str(&text), arena, &back, &why) ||
        resource_read(back, "", &again, &problems, &why) || resource_take_owner(again, back))
        abort();
    if (!resource_same_spec(r, again) || again->owner != r->owner) abort();
    struct doc *one = resource_stored(r, arena), *other = resource_stored(again, arena);
    if (!one || !doc_equal(doc_get(one, "spec"), doc_get(other, "spec"))) abort();
    resource_release(again);
    buf_free(&text);
}

/* What is shown is JSON, with a status too. */
static void show(const struct resource *r, struct arena *arena)
{
    struct buf text = BUF_EMPTY;
    struct doc *back, *status = doc_new(arena, DOC_MAP);
    struct why why = WHY_NONE;
    if (!status || !doc_set(arena, status, "state", doc_new_string(arena, r->name))) abort();
    struct resource *with = resource_with_status(r, status);
    if (!with || !resource_write_json(&text, with) || !resource_document(with, arena) ||
        doc_read_json(buf_str(&text), arena, &back, &why))
        abort();
    resource_release(with);
    buf_free(&text);
}

static void read_one(const struct doc *doc, const char *file, struct arena *arena)
{
    struct problems problems;
    struct resource *r;
    struct why why = WHY_NONE;
    problems_init(&problems, arena);
    if (resource_read(doc, file, &r, &problems, &why)) {
        if (!why.text[0]) abort();
        return;
    }
    keep(r, arena);
    show(r, arena);
    resource_release(r);
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
    if (!err && one) read_one(one, "", &arena);
    for (size_t i = 0; !err && i < count; i++) read_one(docs[i], i % 2 ? "fuzz" : "", &arena);
    arena_free(&arena);
    return 0;
}
