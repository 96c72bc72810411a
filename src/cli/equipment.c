/* equipment.c - see equipment.h. */
#include "cli/equipment.h"
#include "cli/api.h"
#include <string.h>

void equipment_add_path(struct buf *out, const struct cli_args *args, const char *plural,
                        const char *name, const char *verb)
{
    const char *ns = cli_value(args, "-n");
    buf_add_text(out, "/apis/millrace.io/v1/namespaces/");
    api_add_segment(out, ns ? ns : "default");
    buf_printf(out, "/%s", plural);
    if (name) {
        buf_add_char(out, '/');
        api_add_segment(out, name);
    }
    if (verb) buf_printf(out, "/%s", verb);
}

const struct doc *equipment_call(const struct cli_args *args, struct client *client,
                                 const char *method, struct buf *path, struct buf *body,
                                 struct arena *arena)
{
    struct client_answer answer = {0};
    struct why why = WHY_NONE;
    struct doc *doc = NULL;
    const char *target = buf_cstr(path);
    struct str text = body ? buf_str(body) : (struct str){0};
    enum err err = target && !(body && buf_failed(body))
                       ? client_request(client, method, target, "application/json",
                                        body ? "application/json" : NULL, text, &answer, &why)
                       : ERR_NO_MEMORY;
    char message[1024];
    if (!err && answer.status / 100 != 2) {
        client_error_text(&answer, message, sizeof message);
        err = why_set(&why, ERR_INVALID, "%s", message);
    }
    if (!err) {
        char *kept = arena_strdup(arena, answer.body.at, answer.body.size);
        err = kept ? doc_read_json((struct str){kept, answer.body.size}, arena, &doc, &why)
                   : ERR_NO_MEMORY;
    }
    if (err) cli_fail(args, CLI_FAILED, "%s", why_text(&why, err));
    client_answer_free(&answer);
    return err ? NULL : doc;
}
