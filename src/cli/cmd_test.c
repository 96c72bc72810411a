/* cmd_test.c - `millrace test CONNECTION [ADDRESS TYPE]`: is the line all right, and what does the
 * equipment say? */
#include "cli/equipment.h"
#include <stdio.h>
#include <string.h>

static void add_field(struct buf *body, const char *name, const char *value)
{
    if (!value) return;
    buf_printf(body, "%s\"%s\":", body->size > 1 ? "," : "", name);
    buf_add_json(body, str_of(value));
}

static void print_text(const struct doc *answer, const char *key, const char *label,
                       const char *unit)
{
    struct str text = doc_text(doc_get(answer, key));
    if (text.size) printf("%-11s %.*s%s\n", label, (int)text.size, text.at, unit);
}

static void print_value(const struct doc *value)
{
    struct str text =
        value->kind == DOC_BOOL ? (value->b ? STR("true") : STR("false")) : value->text;
    printf("%-11s %.*s\n", "value", (int)text.size, text.at);
}

static void print_answer(const struct doc *answer)
{
    const struct doc *identity = doc_get(answer, "identity"), *value = doc_get(answer, "value");
    for (size_t i = 0; identity && i < identity->count; i++) {
        struct str key = identity->items[i].key, text = identity->items[i].value->text;
        printf("%-11.*s %.*s\n", (int)key.size, key.at, (int)text.size, text.at);
    }
    if (value) print_value(value);
    print_text(answer, "type", "type", "");
    print_text(answer, "raw", "raw", "");
    print_text(answer, "error", "error", "");
    print_text(answer, "frame", "frame", "");
    print_text(answer, "roundTripMs", "round trip", " ms");
}

static int report(const struct cli_args *args, const struct doc *answer)
{
    const struct doc *ok = doc_get(answer, "ok");
    if (cli_value(args, "--json")) {
        struct buf out = BUF_EMPTY;
        doc_write_json(&out, answer);
        printf("%.*s\n", (int)out.size, out.at);
        buf_free(&out);
    } else {
        print_answer(answer);
    }
    return ok && ok->kind == DOC_BOOL && ok->b ? CLI_OK : CLI_FAILED;
}

int cli_test(const struct cli_args *args)
{
    if (args->word_count == 2)
        return cli_fail(args, CLI_USAGE, "name the type too, such as: millrace test %s %s int16",
                        args->words[0], args->words[1]);
    struct client *client = client_open(args);
    if (!client) return CLI_FAILED;
    struct arena arena;
    struct buf path = BUF_EMPTY, body = BUF_EMPTY;
    arena_init(&arena, NULL);
    equipment_add_path(&path, args, "connections", args->words[0], "test");
    buf_add_char(&body, '{');
    add_field(&body, "address", args->word_count > 1 ? args->words[1] : NULL);
    add_field(&body, "type", args->word_count > 2 ? args->words[2] : NULL);
    add_field(&body, "order", cli_value(args, "--order"));
    buf_add_char(&body, '}');
    const struct doc *answer = equipment_call(args, client, "POST", &path, &body, &arena);
    int code = answer ? report(args, answer) : CLI_FAILED;
    buf_free(&path);
    buf_free(&body);
    arena_free(&arena);
    client_close(client);
    return code;
}
