/* cmd_mqtt.c - `millrace mqtt …`: the broker of a running node over its HTTP interface. Publishing
 * and looking here need no MQTT client at hand; subscribing is mosquitto_sub's. */
#include "base/num.h"
#include "cli/api.h"
#include <stdio.h>
#include <string.h>

/* Has the call made; prints nothing but what went wrong. */
static struct doc *call(struct api *api, const char *method, struct buf *path, struct str body)
{
    struct doc *answer =
        api_call(api, method, path, API_JSON, body.size ? "application/json" : NULL, body);
    buf_free(path);
    return answer;
}

static bool has_failed(const struct api *api)
{
    return api->status < 200 || api->status > 299;
}

static void add_ns(struct buf *path, char before, const struct cli_args *args)
{
    buf_printf(path, "%cns=", before);
    api_add_segment(path, api_namespace(args));
}

/* ---- clients ---- */

struct mqtt_column {
    const char *key, *title;
    size_t width;
};

/* Prints the list that is in the answer under `name`. `from` ends with "ns=" where there is one. */
static int show_list(struct api *api, const char *from, const char *name,
                     const struct mqtt_column *columns, size_t count)
{
    struct buf path = BUF_EMPTY;
    buf_add_text(&path, from);
    if (from[strlen(from) - 1] == '=') api_add_segment(&path, api_namespace(api->args));
    const struct doc *answer = call(api, "GET", &path, STR("")), *list = doc_get(answer, name);
    if (has_failed(api) || !list) return api_fail(api);
    for (size_t k = 0; k < count; k++) printf("%-*s ", (int)columns[k].width, columns[k].title);
    putchar('\n');
    for (size_t i = 0; i < list->count; i++) {
        for (size_t k = 0; k < count; k++) {
            struct str text = doc_text(doc_get(list->items[i].value, columns[k].key));
            if (!text.size) text = STR("-");
            cli_print_safely(stdout, text);
            printf("%*s ", text.size < columns[k].width ? (int)(columns[k].width - text.size) : 0,
                   "");
        }
        putchar('\n');
    }
    return CLI_OK;
}

static int show_clients(struct api *api)
{
    static const struct mqtt_column columns[] = {
        {"client", "CLIENT", 24},     {"user", "USER", 12},         {"peer", "PEER", 22},
        {"version", "MQTT", 6},       {"subscriptions", "SUBS", 6}, {"queued", "QUEUED", 8},
        {"received", "RECEIVED", 10}, {"sent", "SENT", 10},         {"dropped", "DROPPED", 8}};
    return show_list(api, "/v1/mqtt/clients?limit=100000&ns=", "clients", columns,
                     sizeof columns / sizeof columns[0]);
}

static int show_bans(struct api *api)
{
    static const struct mqtt_column columns[] = {{"kind", "KIND", 8},   {"name", "NAME", 28},
                                                 {"user", "USER", 12},  {"reason", "REASON", 17},
                                                 {"count", "COUNT", 6}, {"since", "SINCE", 25},
                                                 {"until", "UNTIL", 25}};
    return show_list(api, "/v1/mqtt/bans?limit=100000", "bans", columns,
                     sizeof columns / sizeof columns[0]);
}

static int unban(struct api *api)
{
    const struct cli_args *args = api->args;
    struct buf path = BUF_EMPTY;
    buf_add_text(&path, "/v1/mqtt/bans/");
    api_add_segment(&path, args->words[1]);
    buf_add_char(&path, '/');
    api_add_segment(&path, args->words[2]);
    (void)call(api, "DELETE", &path, STR(""));
    return has_failed(api) ? api_fail(api) : CLI_OK;
}

static int kick(struct api *api)
{
    const struct cli_args *args = api->args;
    const char *reason = cli_value(args, "--reason");
    struct buf path = BUF_EMPTY;
    buf_add_text(&path, "/v1/mqtt/clients/");
    api_add_segment(&path, args->words[1]);
    buf_printf(&path, "?session=%s", cli_value(args, "--session") ? "true" : "false");
    add_ns(&path, '&', args);
    if (reason) buf_add_text(&path, "&reason=");
    if (reason) api_add_segment(&path, reason);
    (void)call(api, "DELETE", &path, STR(""));
    return has_failed(api) ? api_fail(api) : CLI_OK;
}

/* ---- messages ---- */

static int publish(struct api *api)
{
    const struct cli_args *args = api->args;
    const char *qos = cli_value(args, "--qos");
    uint64_t level = 0;
    struct buf path = BUF_EMPTY, body = BUF_EMPTY;
    if (qos && (!num_parse_u64(str_of(qos), &level) || level > 2))
        return cli_fail(args, CLI_USAGE, "--qos must be 0, 1 or 2");
    buf_add_text(&path, "/v1/mqtt/publish");
    add_ns(&path, '?', args);
    buf_add_text(&body, "{\"topic\":");
    buf_add_json(&body, str_of(args->words[1]));
    buf_add_text(&body, ",\"payload\":");
    buf_add_json(&body, str_of(args->word_count > 2 ? args->words[2] : ""));
    buf_printf(&body, ",\"qos\":%u,\"retain\":%s}", (unsigned)level,
               cli_value(args, "--retain") ? "true" : "false");
    const struct doc *answer = call(api, "POST", &path, buf_str(&body));
    buf_free(&body);
    if (has_failed(api)) return api_fail(api);
    struct str reached = doc_text(doc_get(answer, "subscribers"));
    printf("%.*s subscribers\n", (int)reached.size, reached.size ? reached.at : "");
    return CLI_OK;
}

static bool print_line(void *arg, struct str line)
{
    (void)arg;
    printf("%.*s\n", (int)line.size, line.at);
    return fflush(stdout) == 0;
}

static int trace(struct api *api)
{
    const char *client = cli_value(api->args, "--client"), *topic = cli_value(api->args, "--topic");
    struct client_answer answer = {0};
    struct why why = WHY_NONE;
    struct buf path = BUF_EMPTY;
    if (!client == !topic)
        return cli_fail(api->args, CLI_USAGE, "say of whom: --client ID, or --topic FILTER");
    buf_printf(&path, "/v1/mqtt/trace?%s=", client ? "client" : "topic");
    api_add_segment(&path, client ? client : topic);
    add_ns(&path, '&', api->args);
    const char *target = buf_cstr(&path);
    enum err err = target ? client_stream(api->client, target, "application/x-ndjson", print_line,
                                          NULL, &answer, &why)
                          : ERR_NO_MEMORY;
    if (err)
        (void)str_copy(api->message, sizeof api->message, str_of(why_text(&why, err)));
    else if (answer.status != 200)
        client_error_text(&answer, api->message, sizeof api->message);
    else
        (void)str_copy(api->message, sizeof api->message, STR("the node ended the trace"));
    client_answer_free(&answer);
    buf_free(&path);
    return api_fail(api);
}

int cli_mqtt(const struct cli_args *args)
{
    static const struct {
        const char *name;
        size_t words_min, words_max;
        int (*run)(struct api *api);
    } verbs[] = {{"clients", 1, 1, show_clients}, {"kick", 2, 2, kick},
                 {"bans", 1, 1, show_bans},       {"unban", 3, 3, unban},
                 {"publish", 2, 3, publish},      {"trace", 1, 1, trace}};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        struct api api;
        if (strcmp(verbs[i].name, args->words[0]) != 0) continue;
        if (args->word_count < verbs[i].words_min || args->word_count > verbs[i].words_max) break;
        if (!api_open(&api, args)) return CLI_FAILED;
        int code = verbs[i].run(&api);
        api_close(&api);
        return code;
    }
    return cli_fail(args, CLI_USAGE, "usage: millrace mqtt %s", args->command->synopsis);
}
