/* shell.c - `millrace sql` as a shell: lines in, statements out; see shell.h.
 *
 * A line may hold several statements, a statement several lines, and a command may end a statement
 * (SELECT 1 \g). Ctrl-C gives up what is being typed or, while a statement runs, the statement: its
 * connection is closed, which the node notices. Where nobody sits at a terminal the first error
 * ends all. */
#include "cli/api.h"
#include "cli/shell.h"
#include "base/num.h"
#include "os/os.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A signal's handler has no argument. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

bool shell_was_interrupted(void)
{
    bool was = interrupted;
    interrupted = 0;
    return was;
}

bool shell_is_interrupted(void)
{
    return interrupted;
}

/* Calls that wait end with EINTR, so that waiting ends. */
static void catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
}

/* ---- statements ---- */

static bool print_piece(void *arg, struct str piece)
{
    return !interrupted && fwrite(piece.at, 1, piece.size, arg) == piece.size;
}

static void show_error(struct shell *shell, struct str text, const struct client_answer *answer)
{
    struct arena arena;
    struct doc *doc = NULL;
    uint64_t position;
    char message[1024];
    client_error_text(answer, message, sizeof message);
    cli_fail(shell->args, CLI_FAILED, "%s", message);
    arena_init(&arena, NULL);
    if (!doc_read_json(buf_str(&answer->body), &arena, &doc, NULL)) {
        const struct doc *place = doc_find(doc, "error.position");
        if (place && num_parse_u64(place->text, &position))
            shell_print_place(text, (size_t)position);
    }
    arena_free(&arena);
}

void shell_target(const struct shell *shell, char out[SHELL_TARGET_BYTES])
{
    struct buf target = BUF_EMPTY;
    buf_add_text(&target, "/v1/sql?ns=");
    api_add_segment(&target, shell->ns);
    (void)str_copy(out, SHELL_TARGET_BYTES, buf_str(&target)); /* each byte of ns as three, fits */
    buf_free(&target);
}

int shell_statement(struct shell *shell, struct str text)
{
    struct client_answer answer = {0};
    struct why why = WHY_NONE;
    char target[SHELL_TARGET_BYTES];
    const char *format = shell->format;
    bool own = strcmp(format, "table") == 0 || strcmp(format, "tsv") == 0;
    int64_t begun_ns = shell->os->ops->mono_ns(shell->os);
    shell_target(shell, target);
    enum err err =
        own ? client_request(shell->client, "POST", target, "application/json", "application/sql",
                             text, &answer, &why)
            : client_download(shell->client, "POST", target, cli_media_type(format),
                              "application/sql", text, print_piece, shell->out, &answer, &why);
    int64_t took_ns = shell->os->ops->mono_ns(shell->os) - begun_ns;
    int code = CLI_OK;
    if (err) {
        bool was = shell_was_interrupted();
        code = cli_fail(shell->args, CLI_FAILED, "%s", was ? "cancelled" : why_text(&why, err));
    } else if (answer.status != 200) {
        show_error(shell, text, &answer);
        code = CLI_FAILED;
    } else if (own) {
        code = shell_print_answer(shell, &answer);
    } else if (strcmp(format, "json") == 0) {
        fputc('\n', shell->out);
    }
    client_answer_free(&answer);
    if (shell->has_timing && !code) fprintf(shell->out, "Time: %.3f ms\n", (double)took_ns / 1e6);
    return code;
}

/* Runs a whole statement and keeps it for \g, \watch and \e. */
static int run_statement(struct shell *shell, struct str text)
{
    if (!shell_has_content(text)) return CLI_OK;
    text = str_trim(text);
    buf_clear(&shell->last);
    buf_add_str(&shell->last, text);
    return shell_statement(shell, buf_str(&shell->last));
}

/* ---- lines ---- */

/* Keeps what has been typed for the arrows: a statement with its ';', a command. */
static void remember(struct shell *shell, struct str text)
{
    if (shell->editor && !shell->depth && str_trim(text).size)
        editor_remember(shell->editor, str_trim(text));
}

/* Takes what is whole off shell->statement and runs it. `is_end`: what is left is a statement. */
static int run_whole(struct shell *shell, bool is_end)
{
    int code = CLI_OK;
    while (!shell->wants_quit && (!code || shell->is_terminal)) {
        struct buf taken = BUF_EMPTY;
        struct str text = buf_str(&shell->statement);
        size_t end;
        enum shell_found found = shell_scan(text, &end);
        if (found == SHELL_MORE && (!is_end || !shell_has_content(text))) break;
        buf_add_str(&taken, text);
        if (found == SHELL_COMMAND) { /* up to the line's end; the statement before it stays */
            const char *stop = memchr(text.at + end, '\n', text.size - end);
            size_t size = stop ? (size_t)(stop - text.at) : text.size;
            struct str rest = {taken.at + size, taken.size - size};
            shell->statement.size = end;
            if (!shell_has_content(buf_str(&shell->statement))) buf_clear(&shell->statement);
            remember(shell, (struct str){taken.at, size});
            code = shell_command(shell, (struct str){taken.at + end + 1, size - end - 1});
            buf_add_str(&shell->statement, shell_has_content(rest) ? rest : STR(""));
        } else {
            buf_drop_front(&shell->statement, end + (found == SHELL_STATEMENT));
            if (!shell_has_content(buf_str(&shell->statement))) buf_clear(&shell->statement);
            remember(shell, (struct str){taken.at, end + (found == SHELL_STATEMENT)});
            code = run_statement(shell, (struct str){taken.at, end});
        }
        buf_free(&taken);
        fflush(shell->out);
    }
    return code;
}

/* A line without its end, malloc'ed; NULL at the end of input. */
static char *read_line(struct shell *shell, FILE *in)
{
    char prompt[300], *line = NULL;
    size_t capacity = 0;
    bool is_first = !shell_has_content(buf_str(&shell->statement));
    bool is_default = strcmp(shell->ns, "default") == 0;
    snprintf(prompt, sizeof prompt, is_first ? "millrace%s%s> " : "      -> ",
             is_default ? "" : ":", is_default ? "" : shell->ns);
    if (!in && shell->editor) return editor_read(shell->editor, prompt);
    if (!in && shell->is_terminal) {
        fputs(prompt, stdout);
        fflush(stdout);
    }
    ssize_t size = getline(&line, &capacity, in ? in : stdin);
    if (size < 0) {
        free(line);
        return NULL;
    }
    if (size > 0 && line[size - 1] == '\n') line[size - 1] = 0;
    return line;
}

int shell_run(struct shell *shell, FILE *in)
{
    int code = CLI_OK;
    while (!shell->wants_quit && (!code || (shell->is_terminal && !in))) {
        char *line = read_line(shell, in);
        if (!line && !in && shell->is_terminal && shell_was_interrupted()) {
            buf_clear(&shell->statement); /* Ctrl-C: what was typed is given up */
            clearerr(stdin);
            fputc('\n', stdout);
            continue;
        }
        if (!line) break;
        if (shell_was_interrupted()) buf_clear(&shell->statement);
        buf_add_text(&shell->statement, line);
        buf_add_char(&shell->statement, '\n');
        free(line);
        code = run_whole(shell, false);
    }
    if ((in || !shell->is_terminal) && !shell->wants_quit && !code) code = run_whole(shell, true);
    buf_clear(&shell->statement);
    return shell->is_terminal && !in ? CLI_OK : code;
}

int shell_run_text(struct shell *shell, struct str text)
{
    buf_add_str(&shell->statement, text);
    int code = run_whole(shell, false);
    return code;
}

/* ---- the command ---- */

const char *const shell_formats[] = {"table", "csv", "tsv", "json", "ndjson", "arrow", NULL};

const char *shell_format_of(const char *name)
{
    size_t i = 0;
    while (shell_formats[i] && strcmp(shell_formats[i], name) != 0) i++;
    return shell_formats[i];
}

/* -c as often as it is given, -f, the statement; without any of them what comes in. */
static int run(struct shell *shell)
{
    const struct cli_args *args = shell->args;
    const char *file = cli_value(args, "-f");
    int code = CLI_OK;
    bool is_told = args->repeated_count || file || args->word_count;
    shell->is_terminal = !is_told && isatty(STDIN_FILENO);
    for (size_t i = 0; i < args->repeated_count && !code; i++) {
        buf_add_text(&shell->statement, args->repeated[i]);
        code = run_whole(shell, true);
    }
    if (file && !code) {
        FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "r");
        if (!in) return cli_fail(args, CLI_USAGE, "%s: cannot be read", file);
        code = shell_run(shell, in);
        if (in != stdin) (void)fclose(in);
    }
    if (args->word_count && !code) {
        buf_add_text(&shell->statement, args->words[0]);
        code = run_whole(shell, true);
    }
    if (is_told) return code;
    if (shell->is_terminal) {
        catch_interrupts();
        printf("millrace " MILLRACE_VERSION " at %s. \\? for help, \\q to quit.\n",
               client_server(shell->client));
        shell->editor = editor_open(shell);
    }
    code = shell_run(shell, NULL);
    editor_close(shell->editor);
    if (shell->is_terminal) putchar('\n');
    return code;
}

int cli_sql(const struct cli_args *args)
{
    const char *format = cli_value(args, "--format"), *ns = cli_value(args, "-n");
    struct shell shell = {.args = args, .has_pager = true, .out = stdout};
    if (!format) format = isatty(STDOUT_FILENO) ? "table" : "tsv";
    shell.format = shell_format_of(format);
    if (!shell.format)
        return cli_fail(args, CLI_USAGE,
                        "--format %s: must be table, csv, tsv, json, ndjson or arrow", format);
    if (!str_copy(shell.ns, sizeof shell.ns, str_of(ns ? ns : "default")))
        return cli_fail(args, CLI_USAGE, "-n %s: the name is too long", ns);
    shell.os = os_real_new();
    shell.client = shell.os ? client_open(args) : NULL;
    int code = shell.client ? run(&shell) : CLI_FAILED;
    (void)shell_close_out(&shell); /* it has told what went wrong */
    client_close(shell.client);
    if (shell.os) os_real_free(shell.os);
    buf_free(&shell.statement);
    buf_free(&shell.last);
    return code;
}
