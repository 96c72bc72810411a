/* shell_command.c - the shell's commands, which begin with a backslash, as one table; see shell.h.
 *
 * Names and meanings are psql's, so that hands need not learn. A command is told the rest of its
 * line; texts may stand in '…'. Those that show something are statements in disguise. */
#include "base/num.h"
#include "cli/shell.h"
#include "os/os.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH_MAX = 8, WORDS_MAX = 16 };

/* ---- words ---- */

static void add_quoted(struct buf *out, struct str text, char quote)
{
    buf_add_char(out, quote);
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] == quote) buf_add_char(out, quote);
        buf_add_char(out, text.at[i]);
    }
    buf_add_char(out, quote);
}

/* Takes the next word off, '…' as one; without a doubled quote inside undone. False: none is left.
 */
static bool take_word(struct str *rest, struct str *word)
{
    *rest = str_trim(*rest);
    if (!rest->size) return false;
    bool is_quoted = rest->at[0] == '\'';
    size_t end = 1;
    while (end < rest->size && (is_quoted ? rest->at[end] != '\'' : !strchr(" \t", rest->at[end])))
        end++;
    *word = is_quoted ? (struct str){rest->at + 1, end - 1} : (struct str){rest->at, end};
    if (is_quoted && end < rest->size) end++;
    *rest = (struct str){rest->at + end, rest->size - end};
    return true;
}

static int complain(const char *what)
{
    fprintf(stderr, "%s\n", what);
    return CLI_FAILED;
}

/* ---- what there is ---- */

/* Runs `before`, a pattern as '%pattern%' (all without one), `behind`. */
static int list(struct shell *shell, const char *before, struct str pattern, const char *behind)
{
    struct buf text = BUF_EMPTY, like = BUF_EMPTY;
    buf_add_text(&text, before);
    buf_add_char(&like, '%');
    for (size_t i = 0; i < pattern.size; i++)
        buf_add_char(&like, pattern.at[i] == '*' ? '%' : pattern.at[i]);
    buf_add_char(&like, '%');
    add_quoted(&text, buf_str(&like), '\'');
    buf_add_text(&text, behind);
    int code =
        buf_failed(&text) ? complain("out of memory") : shell_statement(shell, buf_str(&text));
    buf_free(&text);
    buf_free(&like);
    return code;
}

/* Which of SHOW TABLES are wanted. */
enum kinds { KIND_TABLE = 1, KIND_VIEW = 2, KIND_SYSTEM = 4 };

static unsigned kind_of(struct str schema, struct str description)
{
    if (!str_is(schema, "public")) return KIND_SYSTEM;
    return str_is(description, "view") ? KIND_VIEW : KIND_TABLE;
}

/* Asterisks mean nothing: a pattern is found anywhere in a name. */
static bool has_pattern(struct str name, struct str pattern)
{
    while (pattern.size && pattern.at[0] == '*') pattern.at++, pattern.size--;
    while (pattern.size && pattern.at[pattern.size - 1] == '*') pattern.size--;
    return !pattern.size || memmem(name.at, name.size, pattern.at, pattern.size);
}

/* The chosen rows of SHOW TABLES as a statement, so that every format can show them. */
static void add_tables(struct buf *text, const struct doc *rows, unsigned kinds, struct str pattern)
{
    static const char *const names[] = {
        [KIND_TABLE] = "table", [KIND_VIEW] = "view", [KIND_SYSTEM] = "system"};
    size_t count = 0;
    buf_add_text(text, "SELECT column1 AS schema, column2 AS name, column3 AS kind FROM (VALUES ");
    for (size_t i = 0; rows && i < rows->count; i++) {
        const struct doc *row = rows->items[i].value;
        if (row->count < 3) continue;
        struct str schema = doc_text(row->items[0].value), name = doc_text(row->items[1].value);
        unsigned kind = kind_of(schema, doc_text(row->items[2].value));
        if (!(kinds & kind) || !has_pattern(name, pattern)) continue;
        buf_add_text(text, count++ ? ", (" : "(");
        add_quoted(text, schema, '\'');
        buf_add_text(text, ", ");
        add_quoted(text, name, '\'');
        buf_printf(text, ", '%s')", names[kind]);
    }
    buf_add_text(text, count ? ") AS t" : "('', '', '')) AS t WHERE false");
}

static int list_tables(struct shell *shell, unsigned kinds, struct str pattern)
{
    struct client_answer answer = {0};
    struct arena arena;
    struct doc *doc = NULL;
    struct why why = WHY_NONE;
    struct buf text = BUF_EMPTY;
    char target[SHELL_TARGET_BYTES];
    arena_init(&arena, NULL);
    shell_target(shell, target);
    enum err err = client_request(shell->client, "POST", target, "application/json",
                                  "application/sql", STR("SHOW TABLES"), &answer, &why);
    if (!err) err = doc_read_json(buf_str(&answer.body), &arena, &doc, &why);
    add_tables(&text, doc_get(doc, "rows"), kinds, pattern);
    int code = err ? complain(why_text(&why, err)) : shell_statement(shell, buf_str(&text));
    buf_free(&text);
    arena_free(&arena);
    client_answer_free(&answer);
    return code;
}

static int describe(struct shell *shell, struct str rest)
{
    struct buf text = BUF_EMPTY;
    struct str name = str_trim(rest);
    if (!name.size) return list_tables(shell, KIND_TABLE | KIND_VIEW, name);
    buf_add_text(&text, "DESCRIBE ");
    buf_add_str(&text, name); /* as in SQL: ABC is abc, "ABC" is not */
    int code = shell_statement(shell, buf_str(&text));
    buf_free(&text);
    return code;
}

static int tables(struct shell *shell, struct str rest)
{
    return list_tables(shell, KIND_TABLE, str_trim(rest));
}

static int views(struct shell *shell, struct str rest)
{
    return list_tables(shell, KIND_VIEW, str_trim(rest));
}

static int system_tables(struct shell *shell, struct str rest)
{
    return list_tables(shell, KIND_SYSTEM, str_trim(rest));
}

static int functions(struct shell *shell, struct str rest)
{
    (void)rest;
    return shell_statement(shell, STR("SHOW FUNCTIONS"));
}

static int users(struct shell *shell, struct str rest)
{
    return list(
        shell,
        "SELECT rolname AS name, rolsuper AS admin, rolcanlogin AS logs_in FROM pg_catalog.pg_roles WHERE rolname "
        "LIKE ",
        str_trim(rest), " ORDER BY rolname");
}

static int namespaces(struct shell *shell, struct str rest)
{
    (void)rest;
    return shell_statement(shell, STR("SELECT datname AS namespace FROM pg_catalog.pg_database "
                                      "ORDER BY datname"));
}

static int connect_to(struct shell *shell, struct str rest)
{
    struct str word;
    if (take_word(&rest, &word) && !str_copy(shell->ns, sizeof shell->ns, word))
        return complain("the name is too long");
    fprintf(stderr, "namespace %s at %s\n", shell->ns, client_server(shell->client));
    return CLI_OK;
}

/* ---- how answers look ---- */

/* on, off, or the other of both. */
static bool read_switch(struct str rest, bool now)
{
    struct str word = str_trim(rest);
    return str_is_nocase(word, "on") || (!str_is_nocase(word, "off") && !now);
}

static int expanded(struct shell *shell, struct str rest)
{
    shell->is_expanded = read_switch(rest, shell->is_expanded);
    fprintf(stderr, "a line for each column: %s\n", shell->is_expanded ? "on" : "off");
    return CLI_OK;
}

static int timing(struct shell *shell, struct str rest)
{
    shell->has_timing = read_switch(rest, shell->has_timing);
    fprintf(stderr, "timing: %s\n", shell->has_timing ? "on" : "off");
    return CLI_OK;
}

static int format(struct shell *shell, struct str rest)
{
    char name[16];
    struct str word = str_trim(rest);
    const char *found = str_copy(name, sizeof name, word) ? shell_format_of(name) : NULL;
    if (!found) return complain("\\f: must be table, csv, tsv, json, ndjson or arrow");
    shell->format = found;
    return CLI_OK;
}

static int set_print(struct shell *shell, struct str rest)
{
    struct str name, value = {0};
    if (!take_word(&rest, &name))
        return complain("\\pset null TEXT | pager on|off | format F | expanded on|off");
    struct str given = rest;
    (void)take_word(&rest, &value);
    if (str_is(name, "null"))
        return str_copy(shell->null_text, sizeof shell->null_text, value)
                   ? CLI_OK
                   : complain("the text is too long");
    if (str_is(name, "format")) return format(shell, given);
    if (str_is(name, "expanded")) return expanded(shell, given);
    if (!str_is(name, "pager")) return complain("\\pset: null, pager, format or expanded");
    shell->has_pager = read_switch(given, shell->has_pager);
    return CLI_OK;
}

/* ---- where answers go ---- */

int shell_close_out(struct shell *shell)
{
    FILE *out = shell->out;
    int failed;
    if (out == stdout) return CLI_OK;
    shell->out = stdout;
    if (shell->out_is_command)
        failed = pclose(out);
    else
        failed = fclose(out);
    return failed ? complain("\\o: not everything was written") : CLI_OK;
}

/* FILE, or |COMMAND; nothing: back to the terminal. */
static int open_out(struct shell *shell, struct str rest)
{
    struct str word = str_trim(rest);
    char path[4096];
    int code = shell_close_out(shell);
    if (!word.size || code) return code;
    bool is_command = word.at[0] == '|';
    if (is_command) word = str_trim((struct str){word.at + 1, word.size - 1});
    if (!str_copy(path, sizeof path, word)) return complain("the name is too long");
    fflush(stdout);
    FILE *out = is_command ? popen(path, "w") : fopen(path, "w");
    if (!out) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return CLI_FAILED;
    }
    shell->out = out;
    shell->out_is_command = is_command;
    return CLI_OK;
}

static int echo(struct shell *shell, struct str rest)
{
    struct str word;
    for (bool is_first = true; take_word(&rest, &word); is_first = false)
        fprintf(shell->out, "%s%.*s", is_first ? "" : " ", (int)word.size, word.at);
    fputc('\n', shell->out);
    return CLI_OK;
}

/* ---- the statement at hand ---- */

/* What has been typed, or else what ran last, into `text`. */
static void take_statement(struct shell *shell, struct buf *text)
{
    struct str typed = str_trim(buf_str(&shell->statement));
    if (shell_has_content(typed)) {
        buf_clear(&shell->last);
        buf_add_str(&shell->last, typed);
    }
    buf_add_str(text, buf_str(&shell->last));
    buf_clear(&shell->statement);
}

static int go(struct shell *shell, struct str rest)
{
    struct buf text = BUF_EMPTY;
    take_statement(shell, &text);
    int code = CLI_OK;
    bool has_out = str_trim(rest).size > 0;
    if (has_out) code = open_out(shell, rest);
    if (!code && text.size) code = shell_statement(shell, buf_str(&text));
    if (has_out && shell_close_out(shell)) code = CLI_FAILED;
    buf_free(&text);
    return code;
}

/* \watch [SECONDS [TIMES]], until Ctrl-C. */
static int watch(struct shell *shell, struct str rest)
{
    struct buf text = BUF_EMPTY;
    struct str word;
    double seconds = 2;
    uint64_t times = UINT64_MAX;
    if (take_word(&rest, &word) && (!num_parse_double(word, &seconds) || !(seconds >= 0.01)))
        return complain("\\watch [SECONDS [TIMES]]");
    if (take_word(&rest, &word) && !num_parse_u64(word, &times))
        return complain("\\watch [SECONDS [TIMES]]");
    take_statement(shell, &text);
    int code = CLI_OK;
    (void)shell_was_interrupted();
    for (uint64_t i = 0; i < times && !code && text.size; i++) {
        if (i) cli_pause((int64_t)(seconds * 1000)); /* a signal ends it early */
        if (shell_was_interrupted()) break;
        code = shell_statement(shell, buf_str(&text));
        fflush(shell->out);
    }
    buf_free(&text);
    return code;
}

static int print_statement(struct shell *shell, struct str rest)
{
    (void)rest;
    struct str typed = str_trim(buf_str(&shell->statement));
    struct str shown = typed.size ? typed : buf_str(&shell->last);
    fprintf(shell->out, "%.*s\n", (int)shown.size, shown.at ? shown.at : "");
    return CLI_OK;
}

static int reset(struct shell *shell, struct str rest)
{
    (void)rest;
    buf_clear(&shell->statement);
    return CLI_OK;
}

/* The statement in $VISUAL, $EDITOR or vi; it runs when it ends in ';'. */
static int edit(struct shell *shell, struct str rest)
{
    const char *visual = getenv("VISUAL"), *editor = getenv("EDITOR"), *folder = getenv("TMPDIR");
    char path[4096], command[4600];
    struct buf text = BUF_EMPTY;
    (void)rest;
    snprintf(path, sizeof path, "%s/millrace-XXXXXX", folder && folder[0] ? folder : "/tmp");
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file) {
        if (fd >= 0) (void)close(fd);
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return CLI_FAILED;
    }
    take_statement(shell, &text);
    fprintf(file, "%.*s\n", (int)text.size, text.at ? text.at : "");
    buf_clear(&text);
    (void)fclose(file);
    snprintf(command, sizeof command, "%s '%s'",
             visual && visual[0]   ? visual
             : editor && editor[0] ? editor
                                   : "vi",
             path);
    int code = system(command) == 0 && cli_read_file(path, &text)
                   ? CLI_OK
                   : complain("\\e: the editor failed");
    (void)unlink(path);
    if (!code) code = shell_run_text(shell, buf_str(&text));
    buf_free(&text);
    return code;
}

/* ---- files ---- */

static int include(struct shell *shell, struct str rest)
{
    struct str word;
    char path[4096];
    if (!take_word(&rest, &word) || !str_copy(path, sizeof path, word)) return complain("\\i FILE");
    if (shell->depth == DEPTH_MAX) return complain("\\i: files in files, too deep");
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return CLI_FAILED;
    }
    shell->depth++;
    int code = shell_run(shell, file);
    shell->depth--;
    (void)fclose(file);
    return code;
}

/* \copy TABLE from FILE [option…] and \copy TABLE|(statement) to FILE [option…]: `millrace import`
 * and `export`, at the shell's node. */
static int copy(struct shell *shell, struct str rest)
{
    static const char usage[] =
        "\\copy TABLE from FILE [option …] | \\copy TABLE or (statement) to FILE [option …]";
    const char *words[WORDS_MAX + 12];
    size_t count = 0;
    struct arena arena;
    struct str what, way, file, option;
    rest = str_trim(rest);
    bool is_query = rest.size && rest.at[0] == '(';
    if (is_query) {
        const char *end = memrchr(rest.at, ')', rest.size);
        if (!end) return complain(usage);
        what = (struct str){rest.at + 1, (size_t)(end - rest.at) - 1};
        rest = (struct str){end + 1, rest.size - what.size - 2};
    } else if (!take_word(&rest, &what)) {
        return complain(usage);
    }
    bool is_good = take_word(&rest, &way) && take_word(&rest, &file);
    bool is_out = is_good && str_is_nocase(way, "to");
    if (!is_out && !(is_good && str_is_nocase(way, "from") && !is_query)) return complain(usage);
    arena_init(&arena, NULL);
    words[count++] = is_out ? "export" : "import";
    words[count++] = is_query ? "--query" : "--table";
    words[count++] = arena_strdup(&arena, what.at, what.size);
    if (is_out) words[count++] = "-o";
    words[count++] = arena_strdup(&arena, file.at, file.size);
    words[count++] = "-n";
    words[count++] = shell->ns;
    static const char *const node[] = {"--server", "--token", "--data"};
    for (size_t i = 0; i < 3; i++) {
        if (!cli_value(shell->args, node[i])) continue;
        words[count++] = node[i];
        words[count++] = cli_value(shell->args, node[i]);
    }
    bool is_whole = true;
    while (is_whole && take_word(&rest, &option)) {
        if (str_is_nocase(option, "csv") || str_is_nocase(option, "with") ||
            str_is_nocase(option, "header"))
            continue;
        is_whole = count < sizeof words / sizeof words[0];
        if (is_whole) words[count++] = arena_strdup(&arena, option.at, option.size);
    }
    for (size_t i = 0; i < count; i++) is_good = is_good && words[i];
    int code = !is_whole ? complain("\\copy: too many options")
               : is_good ? cli_command_run(count, words)
                         : complain("out of memory");
    arena_free(&arena);
    return code;
}

static int run_program(struct shell *shell, struct str rest)
{
    char command[4096];
    (void)shell;
    if (!str_copy(command, sizeof command, str_trim(rest)) || !command[0])
        return complain("\\! COMMAND");
    fflush(stdout);
    return system(command) == 0 ? CLI_OK : CLI_FAILED;
}

/* ---- the rest ---- */

static int quit(struct shell *shell, struct str rest)
{
    (void)rest;
    shell->wants_quit = true;
    return CLI_OK;
}

static int statements(struct shell *shell, struct str rest)
{
    shell_print_statements(shell->out, str_trim(rest));
    return CLI_OK;
}

static int help(struct shell *shell, struct str rest);

static const struct {
    const char *name, *argument, *meaning;
    int (*run)(struct shell *shell, struct str rest);
} commands[] = {
    {"?", "", "these commands", help},
    {"h", "[STATEMENT]", "the forms of statements", statements},
    {"q", "", "quits", quit},
    {"d", "[NAME]", "tables and views; the columns of one", describe},
    {"dt", "[PATTERN]", "tables", tables},
    {"dv", "[PATTERN]", "views", views},
    {"dS", "[PATTERN]", "the node's own tables", system_tables},
    {"df", "", "functions", functions},
    {"du", "[PATTERN]", "users and roles", users},
    {"l", "", "namespaces", namespaces},
    {"c", "[NAMESPACE]", "goes to a namespace, or says which it is", connect_to},
    {"x", "[on|off]", "a line for each column", expanded},
    {"f", "FORMAT", "table, csv, tsv, json, ndjson or arrow", format},
    {"pset", "NAME VALUE", "null TEXT, pager on|off, format F, expanded on|off", set_print},
    {"timing", "[on|off]", "shows how long a statement took", timing},
    {"g", "[FILE or |COMMAND]", "runs the statement, or the last one again; into a file", go},
    {"watch", "[SECONDS [TIMES]]", "runs it again and again, until Ctrl-C", watch},
    {"e", "", "the statement in $VISUAL or $EDITOR", edit},
    {"p", "", "shows the statement", print_statement},
    {"r", "", "forgets what has been typed", reset},
    {"i", "FILE", "runs a file", include},
    {"o", "[FILE or |COMMAND]", "answers go there; without a name: back", open_out},
    {"copy", "TABLE from FILE", "millrace import; with its options", copy},
    {"copy", "TABLE or (SELECT …) to FILE", "millrace export; csv, ndjson or arrow by the name",
     copy},
    {"echo", "TEXT", "shows a text", echo},
    {"!", "COMMAND", "runs a program", run_program},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static int help(struct shell *shell, struct str rest)
{
    (void)rest;
    fputs("A statement ends with ';' and may take several lines. Tab completes, arrows recall.\n",
          shell->out);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        char left[64];
        snprintf(left, sizeof left, "\\%s %s", commands[i].name, commands[i].argument);
        fprintf(shell->out, "  %-34s %s\n", left, commands[i].meaning);
    }
    return CLI_OK;
}

size_t shell_commands_count(void)
{
    return COMMAND_COUNT;
}

const char *shell_command_name(size_t index)
{
    MUST(index < COMMAND_COUNT);
    return commands[index].name;
}

int shell_command(struct shell *shell, struct str line)
{
    struct str rest = str_trim(line), name = {rest.at, 0};
    while (name.size < rest.size && !strchr(" \t", rest.at[name.size])) name.size++;
    rest = (struct str){rest.at + name.size, rest.size - name.size};
    if (name.size > 1 && name.at[0] == '!') { /* \!ls */
        rest = (struct str){name.at + 1, rest.size + name.size - 1};
        name.size = 1;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (str_is(name, commands[i].name)) return commands[i].run(shell, rest);
    fprintf(stderr, "there is no command \\%.*s; \\? lists them\n", (int)name.size, name.at);
    return CLI_FAILED;
}
