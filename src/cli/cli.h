/* cli.h - the command line: one table of commands, and what they share. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/err.h"
#include "base/str.h"
#include "resource/doc.h"
#include <stdbool.h>
#include <stdio.h>

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* One option of a command. `value` NULL = a switch. */
struct cli_option {
    const char *name;  /* "--data" */
    const char *value; /* "DIR" */
    const char *help;
};

enum { CLI_VALUES_MAX = 64, CLI_OPTIONS_MAX = 32 /* of a command */ };

/* The arguments, read by the command's option table. */
struct cli_args {
    const struct cli_command *command;
    const char *values[CLI_OPTIONS_MAX]; /* by option; NULL = not given, "" for a given switch */
    const char
        *repeated[CLI_VALUES_MAX]; /* values of the option marked "…" in its value, in order */
    size_t repeated_count;
    const char *words[CLI_VALUES_MAX];
    size_t word_count;
};

struct cli_command {
    const char *name, *synopsis, *help;
    const struct cli_option *options; /* ended by a NULL name */
    size_t words_min, words_max;
    int (*run)(const struct cli_args *args); /* gives the exit code */
};

extern const struct cli_command cli_commands[]; /* ended by a NULL name */

/* The value of an option, or NULL. The name must be in the command's table. */
const char *cli_value(const struct cli_args *args, const char *name);
/* Prints "millrace COMMAND: text" and returns `code`. */
int cli_fail(const struct cli_args *args, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The data folder: --data, MILLRACE_DATA, or the default (INTERFACES). */
void cli_data_folder(const struct cli_args *args, char *out, size_t out_bytes);
/* Reads a whole file into `out`; false (and errno) when it cannot. */
bool cli_read_file(const char *path, struct buf *out);
/* Texts of others on a terminal: control characters are shown as '?', since a client's or a
 * device's name must not move the cursor. */
void cli_print_safely(FILE *to, struct str text);

int cli_run(const struct cli_args *args);
int cli_sql(const struct cli_args *args);
int cli_write(const struct cli_args *args);
int cli_read(const struct cli_args *args);
int cli_test(const struct cli_args *args);
int cli_test_stream(const struct cli_args *args);
int cli_scan(const struct cli_args *args);
int cli_import(const struct cli_args *args);           /* a tag list, or … */
int cli_import_mosquitto(const struct cli_args *args); /* … users of a broker, or … */
int cli_import_csv(const struct cli_args *args);       /* … a file of rows */
int cli_export(const struct cli_args *args);           /* a tag list, or … */
int cli_export_rows(const struct cli_args *args);      /* … rows into a file */
int cli_apply(const struct cli_args *args);
int cli_get(const struct cli_args *args);
int cli_watch(const struct cli_args *args);
int cli_describe(const struct cli_args *args);
int cli_delete(const struct cli_args *args);
int cli_explain(const struct cli_args *args);
int cli_identity(const struct cli_args *args); /* user and token */
int cli_mqtt(const struct cli_args *args);     /* clients, kick, bans, unban, publish, trace */
int cli_kubeconfig(const struct cli_args *args);
int cli_backup(const struct cli_args *args);
int cli_restore(const struct cli_args *args);
int cli_doctor(const struct cli_args *args);
int cli_audit(const struct cli_args *args);
int cli_reference(const struct cli_args *args);
int cli_version(const struct cli_args *args);

/* What a format ("csv", "ndjson", "arrow", else JSON) is called over HTTP. */
const char *cli_media_type(const char *format);
/* Waits so long, or until a signal. */
void cli_pause(int64_t ms);
/* Runs a command as if its words had been typed; the first is its name. Gives the exit code. */
int cli_command_run(size_t count, const char *const *words);

#endif
