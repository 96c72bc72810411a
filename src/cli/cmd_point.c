/* cmd_point.c - `millrace write` and `millrace read`: equipment, now. */
#include "cli/api.h"
#include "cli/equipment.h"
#include <stdio.h>

static void add_device_path(struct buf *out, const struct cli_args *args)
{
    equipment_add_path(out, args, "devices", args->words[0], NULL);
}

/* Sends the request and prints the answer's JSON line. */
static int call(const struct cli_args *args, const char *method, struct buf *target,
                struct str body)
{
    struct client *client = client_open(args);
    if (!client) return CLI_FAILED;
    struct client_answer answer = {0};
    struct why why = WHY_NONE;
    const char *text = buf_cstr(target);
    enum err err = text ? client_request(client, method, text, "application/json",
                                         body.size ? "application/json" : NULL, body, &answer, &why)
                        : ERR_NO_MEMORY;
    int code = CLI_OK;
    if (err) {
        code = cli_fail(args, CLI_FAILED, "%s", why_text(&why, err));
    } else if (answer.status != 200) {
        char message[1024];
        client_error_text(&answer, message, sizeof message);
        code = cli_fail(args, CLI_FAILED, "%s", message);
    } else {
        printf("%.*s\n", (int)answer.body.size, answer.body.at);
    }
    client_answer_free(&answer);
    client_close(client);
    return code;
}

int cli_write(const struct cli_args *args)
{
    const char *reason = cli_value(args, "--reason");
    if (!reason || !reason[0])
        return cli_fail(args, CLI_USAGE,
                        "a reason is required: --reason TEXT (it goes into the audit log)");
    struct buf target = BUF_EMPTY, body = BUF_EMPTY;
    add_device_path(&target, args);
    buf_add_text(&target, "/write");
    buf_add_text(&body, "{\"point\":");
    buf_add_json(&body, str_of(args->words[1]));
    buf_add_text(&body, ",\"value\":");
    buf_add_json(&body, str_of(args->words[2]));
    buf_add_text(&body, ",\"reason\":");
    buf_add_json(&body, str_of(reason));
    buf_add_char(&body, '}');
    int code = call(args, "POST", &target, buf_str(&body));
    buf_free(&target);
    buf_free(&body);
    return code;
}

int cli_read(const struct cli_args *args)
{
    struct buf target = BUF_EMPTY;
    add_device_path(&target, args);
    buf_add_text(&target, "/read");
    if (args->word_count > 1) {
        buf_add_text(&target, "?point=");
        api_add_segment(&target, args->words[1]);
    }
    int code = call(args, "GET", &target, (struct str){0});
    buf_free(&target);
    return code;
}
