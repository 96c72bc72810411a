/* cmd_run.c - `millrace run`: one node on the main task, until SIGTERM or SIGINT; SIGHUP reads its
 * files again. */
#include "cli/cli.h"
#include "base/mem.h"
#include "node/node.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct run {
    const struct cli_args *args;
    struct os *os;
    struct os_task *task;
    struct node_config config;
    struct node_options options;
    struct node *node;
    enum err err;
    struct why why;
};

static void start(void *arg, struct os_task *task)
{
    struct run *run = arg;
    run->task = task;
    run->err = node_start(run->os, task, &run->options, &run->node, &run->why);
    if (run->err) os_real_main_stop(task);
}

static void wake(void *arg)
{
    struct run *run = arg;
    node_wake(run->node);
}

/* SIGHUP. A configuration that cannot be read changes nothing. */
static void reload(struct run *run)
{
    struct node_config config;
    struct why why = WHY_NONE;
    const struct cli_args *args = run->args;
    enum err err = node_config_read(run->os, cli_value(args, "-c"), args->repeated,
                                    args->repeated_count, &config, &why);
    if (err) {
        (void)cli_fail(args, CLI_FAILED, "reload: nothing was changed: %s", why_text(&why, err));
        return;
    }
    if (cli_value(args, "--data")) config.data = run->config.data; /* it counts, not the file's */
    node_reload(run->node, &config);
    node_config_free(&config);
}

static void on_signal(void *arg, int signum)
{
    struct run *run = arg;
    if (!run->node) return;
    if (signum == SIGHUP) {
        reload(run);
        return;
    }
    node_stop(run->node);
    run->node = NULL;
    os_real_main_stop(run->task);
}

static enum err read_level(const struct cli_args *args, enum diag_level *level, struct why *why)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    const char *given = cli_value(args, "--log-level");
    *level = DIAG_INFO;
    for (int i = 0; given && i < 4; i++) {
        if (strcmp(given, names[i]) != 0) continue;
        *level = (enum diag_level)i;
        return ERR_OK;
    }
    return given ? why_set(why, ERR_INVALID,
                           "--log-level %s: must be debug, info, warning or error", given)
                 : ERR_OK;
}

static enum err read_options(struct run *run)
{
    const struct cli_args *args = run->args;
    const char *format = cli_value(args, "--log-format");
    if (format && strcmp(format, "json") != 0 && strcmp(format, "text") != 0)
        return why_set(&run->why, ERR_INVALID, "--log-format %s: must be text or json", format);
    enum err err = read_level(args, &run->options.diag_level, &run->why);
    if (!err)
        err = node_config_read(run->os, cli_value(args, "-c"), args->repeated, args->repeated_count,
                               &run->config, &run->why);
    if (err) return err;
    if (cli_value(args, "--data") || !run->config.data.size) {
        char folder[3900];
        cli_data_folder(args, folder, sizeof folder);
        char *copy = arena_strdup(&run->config.arena, folder, strlen(folder));
        if (!copy) return ERR_NO_MEMORY;
        run->config.data = str_of(copy);
    }
    run->options.config = &run->config;
    run->options.diag_json = format && strcmp(format, "json") == 0;
    run->options.admin_password = getenv("MILLRACE_ADMIN_PASSWORD");
    run->options.manifests = args->words;
    run->options.manifest_count = args->word_count;
    run->options.prune = cli_value(args, "--prune") != NULL;
    return ERR_OK;
}

int cli_run(const struct cli_args *args)
{
    struct run run = {.args = args, .os = os_real_new(), .why = WHY_NONE};
    const struct os_main main_task = {start, wake, on_signal, &run};
    umask(077);
    setvbuf(stderr, NULL, _IOLBF, 0);
    enum err err = run.os ? read_options(&run) : ERR_NO_MEMORY;
    bool started = false;
    if (!err && cli_value(args, "--check")) {
        err = node_check(run.os, &run.options, &run.why);
        if (!err) fprintf(stderr, "millrace run: configuration and manifests are fine\n");
    } else if (!err) {
        started = true;
        err = os_real_main(run.os, &main_task, &run.why);
        if (!err) err = run.err;
    }
    int code = !err ? CLI_OK
               : started && err != ERR_INVALID && err != ERR_SYNTAX && err != ERR_EXISTS
                   ? CLI_FAILED
                   : CLI_USAGE;
    if (err) cli_fail(args, code, "%s", why_text(&run.why, err));
    node_config_free(&run.config);
    os_real_free(run.os);
    return code;
}
