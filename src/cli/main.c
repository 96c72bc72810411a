/* main.c - the program's entry: reads the arguments by the command's table and runs it. */
#include "cli/cli.h"
#include "cli/client.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#define NODE_OPTIONS                                                                               \
    {"--server", "URL", "the node's address, http://HOST:PORT or https://HOST:PORT"},              \
        {"--token", "T", "token to log in with"},                                                  \
    {                                                                                              \
        "--data", "DIR", "data folder of a node on this machine (finds address and token)"         \
    }

static const struct cli_option run_options[] = {
    {"-c", "FILE", "node configuration (node.yaml)"},
    {"--data", "DIR", "data folder"},
    {"--set", "KEY=VALUE…",
     "sets one key of the configuration, such as listen.http=127.0.0.1:8420"},
    {"--prune", NULL, "removes documents of manifests that stand in them no more"},
    {"--check", NULL, "reads configuration and manifests, says what is wrong, and ends"},
    {"--log-format", "FORMAT", "text or json"},
    {"--log-level", "LEVEL", "debug, info, warning or error"},
    {0},
};
static const struct cli_option sql_options[] = {
    NODE_OPTIONS,
    {"--format", "FORMAT",
     "table, csv, tsv, json, ndjson or arrow; default: table on a terminal, tsv into a pipe"},
    {"-c", "STATEMENT…", "runs statements and commands; may be repeated"},
    {"-f", "FILE", "runs a file of them, - is the standard input"},
    {"-n", "NAMESPACE", "namespace; default: default"},
    {0},
};
static const struct cli_option write_options[] = {
    NODE_OPTIONS,
    {"--reason", "TEXT", "why; goes into the audit log"},
    {"-n", "NAMESPACE", "namespace; default: default"},
    {0},
};
static const struct cli_option read_options[] = {
    NODE_OPTIONS, {"-n", "NAMESPACE", "namespace; default: default"}, {0}};
static const struct cli_option test_options[] = {
    NODE_OPTIONS,
    {"--order", "ABCD", "byte order by letters"},
    {"--json", NULL, "the answer as JSON"},
    {"-n", "NAMESPACE", "namespace; default: default"},
    {0},
};
static const struct cli_option test_stream_options[] = {
    NODE_OPTIONS,
    {"-f", "FILE…", "takes the Stream of a file, which need not be applied"},
    {"--payload", "FILE", "the message; default: the standard input"},
    {"--json", NULL, "the answer as JSON"},
    {"-n", "NAMESPACE", "namespace; default: default"},
    {0},
};
static const struct cli_option scan_options[] = {
    NODE_OPTIONS,
    {"--json", NULL, "one JSON object for each thing found"},
    {"-n", "NAMESPACE", "namespace; default: default"},
    {0},
};
static const struct cli_option import_options[] = {
    NODE_OPTIONS,
    {"--neuron", "FILE.csv", "tag list of an EMQX Neuron device"},
    {"--connection", "NAME", "the Connection that its devices are read through"},
    {"--order", "SUFFIX=ORDER…", "what a byte order suffix means, such as #BL=CDAB"},
    {"--table", "NAME",
     "where the rows go; of a tag list: one Table for all groups; default: one each"},
    {"--acl", "FILE", "an acl_file of Mosquitto"},
    {"--passwords", "FILE", "a password_file of Mosquitto; $7$ and $6$"},
    {"--dry-run", NULL, "prints what would be made of the file and sends nothing"},
    {"--time", "COLUMN", "the column of the time; default: found out"},
    {"--time-format", "FORMAT",
     "its notation: iso, s, ms, us, ns or a pattern, such as 'DD.MM.YYYY hh:mm:ss'"},
    {"--zone", "ZONE", "of times without an offset, such as Asia/Shanghai; default: UTC"},
    {"--step", "DURATION", "numbers the rows of a file without times, such as 100ms …"},
    {"--start", "TIME", "… from this time on; default: when the file was changed last"},
    {"--device", "COLUMN", "the column of the device; default: one of that name"},
    {"--device-name", "PATH",
     "the device of all rows, or what stands before the column's; default: the file's name"},
    {"--labels", "COLUMNS", "columns that are labels of the device, such as site,line"},
    {"--types", "NAME:TYPE,…", "types of new columns, other than found out; NAME:- leaves one out"},
    {"--columns", "NAMES", "the columns' names; the file has no header then"},
    {"--delimiter", "CHARACTER", "one character, tab or space; default: found out"},
    {"--decimal", "comma", "1,5 is one and a half"},
    {"--errors", "FILE", "refused rows are written into it, as CSV"},
    {"--max-errors", "N", "stops when more rows were refused"},
    {"--restart", NULL, "begins anew, where an earlier import of the file was cut"},
    {"--json", NULL, "prints the result as JSON"},
    {"-n", "NAMESPACE", "namespace; default: default"},
    {0},
};
static const struct cli_option export_options[] = {
    NODE_OPTIONS,
    {"--table", "NAME", "the rows of a table or view, with its devices' labels …"},
    {"--from", "TIME", "… from this time on"},
    {"--to", "TIME", "… up to before this time"},
    {"--columns", "NAMES", "… only these columns, beside time and device"},
    {"--where", "CONDITION", "… only rows of which this is true, as in SQL"},
    {"--query", "SELECT …", "the rows of a statement"},
    {"--format", "FORMAT", "csv, ndjson or arrow; default: as the file's name ends, else csv"},
    {"-o", "FILE", "the file, packed when it ends in .gz; default: - (standard output)"},
    {"--neuron", NULL, "a connection's points as a tag list of EMQX Neuron"},
    {"-n", "NAMESPACE", "namespace; default: default"},
    {0},
};
static const struct cli_option apply_options[] = {
    NODE_OPTIONS,
    {"-f", "FILE…", "file or folder of documents, or - for the standard input; may be repeated"},
    {"-n", "NAMESPACE", "namespace of documents that name none; default: default"},
    {"--prune", NULL, "deletes what was applied from the same files and stands in them no more"},
    {"--dry-run", NULL, "the node checks everything and changes nothing"},
    {0},
};
static const struct cli_option get_options[] = {
    NODE_OPTIONS,
    {"-o", "FORMAT", "table, wide, yaml, json or name"},
    {"-l", "SELECTOR", "labels, such as site=sz,line!=l3"},
    {"-n", "NAMESPACE", "namespace; default: default"},
    {"-A", NULL, "all namespaces"},
    {"--watch", NULL, "goes on with every change"},
    {0},
};
static const struct cli_option delete_options[] = {
    NODE_OPTIONS,
    {"-f", "FILE…", "the documents of a file or folder; may be repeated"},
    {"-n", "NAMESPACE", "namespace; default: default"},
    {"--ignore-not-found", NULL, "what is not there is no failure"},
    {"--dry-run", NULL, "the node checks everything and changes nothing"},
    {0},
};
static const struct cli_option user_options[] = {
    NODE_OPTIONS,
    {"--role", "ROLE…", "a role of the new user; may be repeated"},
    {"--password-stdin", NULL,
     "reads the password from the standard input; without it and without a terminal one is made"},
    {"--json", NULL, "prints JSON"},
    {0},
};
static const struct cli_option token_options[] = {
    NODE_OPTIONS,
    {"--user", "NAME", "the user it stands for"},
    {"--role", "ROLE…", "only this role of the user; may be repeated; default: all"},
    {"--ttl", "DURATION", "how long it holds, such as 90d; default: for ever"},
    {"--description", "TEXT", "what uses it"},
    {"--json", NULL, "prints JSON"},
    {0},
};
static const struct cli_option mqtt_options[] = {
    NODE_OPTIONS,
    {"-n", "NAMESPACE", "namespace, whose clients and topics are meant; default: default"},
    {"--reason", "TEXT", "kick: what the client is told"},
    {"--session", NULL, "kick: its session ends, too"},
    {"--qos", "N", "publish: 0, 1 or 2; default: 0"},
    {"--retain", NULL, "publish: it is kept for who subscribes later"},
    {"--client", "ID", "trace: packets of this client"},
    {"--topic", "FILTER", "trace: messages whose topic fits"},
    {0},
};
static const struct cli_option kubeconfig_options[] = {
    NODE_OPTIONS,
    {"--ca", "FILE", "the node's CA certificate; default: that of the data folder"},
    {"-n", "NAMESPACE", "namespace; default: default"},
    {0},
};
static const struct cli_option audit_options[] = {
    {"--data", "DIR", "data folder of a node on this machine"}, {0}};
static const struct cli_option backup_options[] = {
    NODE_OPTIONS,
    {"--to", "DIR", "folder of backups on the node's machine; made if missing"},
    {"--keep", "N", "so many backups stay in the folder, older ones go; default: all"},
    {"--rate", "BYTES", "copies no faster than so many bytes a second, such as 20M"},
    {"--json", NULL, "prints JSON"},
    {0},
};
static const struct cli_option restore_options[] = {
    {"--from", "DIR", "folder of backups"},
    {"--name", "NAME", "which backup; default: the newest whole one"},
    {"--data", "DIR", "data folder to make; must be missing or empty"},
    {"--force", NULL, "moves what is in the data folder aside"},
    {"--json", NULL, "prints JSON"},
    {0},
};
static const struct cli_option doctor_options[] = {
    {"--data", "DIR", "data folder; no node runs on it"},
    {"--repair", NULL,
     "moves damaged parts to quarantine/ and keeps what is readable of them, writes a lost manifest "
     "anew, removes leftovers"},
    {"--json", NULL, "one JSON object for each thing looked at"},
    {0},
};
static const struct cli_option no_options[] = {{0}};

const struct cli_command cli_commands[] = {
    {"run", "[MANIFEST.yaml…]", "runs a node; manifests are applied at start", run_options, 0,
     CLI_VALUES_MAX, cli_run},
    {"sql", "['SELECT …']", "runs statements, or a shell", sql_options, 0, 1, cli_sql},
    {"write", "DEVICE POINT VALUE", "writes a point of a device", write_options, 3, 3, cli_write},
    {"read", "DEVICE [POINT]", "reads a device's points from the equipment, now", read_options, 1,
     2, cli_read},
    {"test", "CONNECTION [ADDRESS TYPE]",
     "asks equipment once, past everything configured: for a value, or who it is", test_options, 1,
     3, cli_test},
    {"test-stream", "[NAME] TOPIC",
     "shows what a Stream, of the node or of a file, would make of a message; nothing is stored",
     test_stream_options, 1, 2, cli_test_stream},
    {"scan", "CONNECTION [RANGE]",
     "looks which units and addresses answer, such as 1-20!400001-400100; a driver whose values have "
     "names lists them",
     scan_options, 1, 2, cli_scan},
    {"import",
     "FILE.csv --table NAME | --neuron FILE.csv --connection NAME [--table NAME] | mosquitto --acl "
     "FILE --passwords FILE",
     "stores the rows of a CSV file, or makes Devices and Tables of a tag list, or Users and Roles of "
     "Mosquitto's files",
     import_options, 0, 1, cli_import},
    {"export", "--table NAME [-o FILE] | --query 'SELECT …' [-o FILE] | --neuron CONNECTION",
     "writes rows into a file, or a connection's points as a tag list", export_options, 0, 1,
     cli_export},
    {"apply", "-f FILE…", "makes the node's documents what files say", apply_options, 0, 0,
     cli_apply},
    {"get", "KIND [NAME]", "shows documents", get_options, 1, 2, cli_get},
    {"describe", "KIND [NAME]", "shows all of a document, status too", get_options, 1, 2,
     cli_describe},
    {"watch", "KIND [NAME]", "shows documents and goes on with every change", get_options, 1, 2,
     cli_watch},
    {"delete", "KIND NAME… | -f FILE…", "deletes documents", delete_options, 0, CLI_VALUES_MAX,
     cli_delete},
    {"explain", "KIND[.FIELD]", "says what a kind's fields mean", no_options, 1, 1, cli_explain},
    {"user", "add|passwd|list|disable|enable|delete|verifier [NAME]",
     "users: who logs in, with which roles", user_options, 1, 2, cli_identity},
    {"token", "create|list|revoke [NAME]", "tokens: secrets for programs, each standing for a user",
     token_options, 1, 2, cli_identity},
    {"mqtt",
     "clients | kick ID | bans | unban client|address NAME | publish TOPIC [PAYLOAD] | trace --client ID | trace --topic FILTER",
     "the broker: who is connected, sends one away, who is banned, publishes, shows packets as they come and go",
     mqtt_options, 1, 3, cli_mqtt},
    {"kubeconfig", "", "prints a configuration for kubectl: address, CA and token",
     kubeconfig_options, 0, 0, cli_kubeconfig},
    {"backup", "--to DIR", "the running node copies all it has into a folder; again: what is new",
     backup_options, 0, 0, cli_backup},
    {"restore", "--from DIR --data DIR", "makes a data folder of a backup; no node runs on it",
     restore_options, 0, 0, cli_restore},
    {"doctor", "--data DIR [--repair]", "checks every file of a data folder, and repairs",
     doctor_options, 0, 0, cli_doctor},
    {"audit", "verify", "reads the audit log's chain of hashes and says whether it is whole",
     audit_options, 1, 1, cli_audit},
    {"reference", "TOPIC",
     "prints a part of the manual: kinds, errors, metrics, http, commands, drivers, functions, tables or settings",
     no_options, 1, 1, cli_reference},
    {"version", "", "prints the version", no_options, 0, 0, cli_version},
    {0},
};

int cli_version(const struct cli_args *args)
{
    (void)args;
    puts("millrace " MILLRACE_VERSION);
    return CLI_OK;
}

static void print_commands(FILE *to)
{
    fprintf(to, "usage: millrace COMMAND [OPTION…]\n\n");
    for (const struct cli_command *c = cli_commands; c->name; c++)
        fprintf(to, "  %-10s %s\n", c->name, c->help);
    fprintf(to, "\n'millrace COMMAND --help' tells more.\n");
}

static void print_help(const struct cli_command *c, FILE *to)
{
    fprintf(to, "usage: millrace %s [OPTION…] %s\n\n%s\n\n", c->name, c->synopsis, c->help);
    for (const struct cli_option *o = c->options; o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", o->name, o->value ? o->value : "");
        fprintf(to, "  %-22s %s\n", left, o->help);
    }
}

static int find_option(const struct cli_command *command, const char *name)
{
    for (int i = 0; command->options[i].name; i++)
        if (strcmp(command->options[i].name, name) == 0) return i;
    return -1;
}

const char *cli_value(const struct cli_args *args, const char *name)
{
    int i = find_option(args->command, name);
    return i < 0 ? NULL : args->values[i];
}

int cli_fail(const struct cli_args *args, int code, const char *format, ...)
{
    va_list list;
    fprintf(stderr, "millrace %s: ", args->command->name);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    return code;
}

void cli_data_folder(const struct cli_args *args, char *out, size_t out_bytes)
{
    const char *given = cli_value(args, "--data"), *home = getenv("HOME"),
               *state = getenv("XDG_STATE_HOME");
    if (!given) given = getenv("MILLRACE_DATA");
    if (given)
        snprintf(out, out_bytes, "%s", given);
    else if (access("/var/lib/millrace", W_OK) == 0 || access("/var/lib", W_OK) == 0)
        snprintf(out, out_bytes, "/var/lib/millrace");
    else if (state && state[0])
        snprintf(out, out_bytes, "%s/millrace", state);
    else
        snprintf(out, out_bytes, "%s/.local/state/millrace", home ? home : ".");
}

bool cli_read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    size_t n;
    do {
        if (!buf_reserve(out, 65536)) break;
        n = fread(out->at + out->size, 1, 65536, file);
        out->size += n;
    } while (n > 0);
    bool ok = !ferror(file) && !buf_failed(out);
    (void)fclose(file);
    return ok;
}

void cli_print_safely(FILE *to, struct str text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.at[i];
        unsigned char next = i + 1 < text.size ? (unsigned char)text.at[i + 1] : 0;
        bool is_c1 = c == 0xc2 && next >= 0x80 && next < 0xa0;
        i += is_c1;
        fputc(c < ' ' || c == 127 || is_c1 ? '?' : c, to);
    }
}

/* One argument; `*at` moves on. False after printing what is wrong. */
static bool take_argument(struct cli_args *args, int argc, const char *const *argv, int *at)
{
    const char *arg = argv[*at];
    bool is_number =
        arg[0] == '-' && (arg[1] == '.' || (arg[1] >= '0' && arg[1] <= '9')); /* a value to write */
    if (arg[0] != '-' || !arg[1] || is_number) {
        if (args->word_count == args->command->words_max || args->word_count == CLI_VALUES_MAX) {
            cli_fail(args, CLI_USAGE, "too many arguments: '%s'; usage: millrace %s %s", arg,
                     args->command->name, args->command->synopsis);
            return false;
        }
        args->words[args->word_count++] = arg;
        return true;
    }
    char name[64];
    const char *equals = strchr(arg, '=');
    snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - arg) : (int)strlen(arg), arg);
    int i = find_option(args->command, name);
    if (i < 0) {
        const char *names[CLI_OPTIONS_MAX];
        size_t count = 0;
        for (; args->command->options[count].name; count++)
            names[count] = args->command->options[count].name;
        int nearest = str_nearest(str_of(name), names, count);
        cli_fail(args, CLI_USAGE, "unknown option %s%s%s%s", name,
                 nearest >= 0 ? "; did you mean " : "", nearest >= 0 ? names[nearest] : "",
                 nearest >= 0 ? "?" : "");
        return false;
    }
    const struct cli_option *option = &args->command->options[i];
    const char *value = option->value ? (equals           ? equals + 1
                                         : *at + 1 < argc ? argv[++*at]
                                                          : NULL)
                                      : "";
    if (!value || (!option->value && equals)) {
        cli_fail(args, CLI_USAGE, "%s %s", name,
                 option->value ? "needs a value" : "takes no value");
        return false;
    }
    args->values[i] = value;
    if (!option->value || !strstr(option->value, "…")) return true;
    if (args->repeated_count == CLI_VALUES_MAX) {
        cli_fail(args, CLI_USAGE, "%s may stand there %d times", name, CLI_VALUES_MAX);
        return false;
    }
    args->repeated[args->repeated_count++] = value;
    return true;
}

static const struct cli_command *find_command(const char *name)
{
    for (const struct cli_command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[64];
    size_t count = 0;
    for (const struct cli_command *c = cli_commands; c->name && count < 64; c++)
        names[count++] = c->name;
    int nearest = str_nearest(str_of(name), names, count);
    fprintf(stderr, "millrace: unknown command '%s'%s%s%s\n\n", name,
            nearest >= 0 ? "; did you mean " : "", nearest >= 0 ? names[nearest] : "",
            nearest >= 0 ? "?" : "");
    print_commands(stderr);
    return CLI_USAGE;
}

const char *cli_media_type(const char *format)
{
    return strcmp(format, "csv") == 0      ? "text/csv"
           : strcmp(format, "ndjson") == 0 ? "application/x-ndjson"
           : strcmp(format, "arrow") == 0  ? "application/vnd.apache.arrow.stream"
                                           : "application/json";
}

void cli_pause(int64_t ms)
{
    struct timeval pause = {ms / 1000, ms % 1000 * 1000};
    (void)select(0, NULL, NULL, NULL, &pause);
}

int cli_command_run(size_t count, const char *const *words)
{
    MUST(count > 0);
    const struct cli_command *command =
        find_command(strcmp(words[0], "--version") == 0 ? "version" : words[0]);
    if (!command) return unknown_command(words[0]);
    struct cli_args args = {.command = command};
    for (int at = 1; at < (int)count; at++) {
        if (strcmp(words[at], "--help") == 0 || strcmp(words[at], "-h") == 0) {
            print_help(command, stdout);
            return CLI_OK;
        }
        if (!take_argument(&args, (int)count, words, &at)) return CLI_USAGE;
    }
    if (args.word_count < command->words_min)
        return cli_fail(&args, CLI_USAGE, "usage: millrace %s %s", command->name,
                        command->synopsis);
    if (find_option(command, "--server") >= 0 && !client_check_server(&args)) return CLI_USAGE;
    return command->run(&args);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        strcmp(name, "help") == 0) {
        print_commands(name ? stdout : stderr);
        return name ? CLI_OK : CLI_USAGE;
    }
    return cli_command_run((size_t)argc - 1, (const char *const *)argv + 1);
}
