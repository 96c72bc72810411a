/* shell.c - the interactive SQL shell: history, completion, statements over several lines.
 *
 * Line editing comes from libedit, loaded on first use: without it the shell reads plain lines. */
#include "base/mem.h"
#include "cli/client.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The part of libedit's readline interface that is used. */
struct editor {
    void *library;
    char *(*readline)(const char *prompt);
    int (*add_history)(const char *line);
    int (*read_history)(const char *file);
    int (*write_history)(const char *file);
    char history[4096];
};

/* readline's completion callback has no argument, so the word list lives here while the shell runs.
 */
static struct words {
    char **items;
    size_t count, capacity;
} completion_words;

static void add_word(const char *text, size_t size)
{
    struct words *w = &completion_words;
    char *copy = mem_alloc(size + 1);
    if (!copy || mem_grow(&w->items, &w->capacity, w->count + 1, sizeof *w->items)) {
        mem_free(copy);
        return;
    }
    memcpy(copy, text, size);
    copy[size] = 0;
    w->items[w->count++] = copy;
}

static void add_keywords(void)
{
    static const char keywords[] =
        "SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET PARTITION WINDOW TUMBLE AND OR NOT NULL IS IN LIKE BETWEEN "
        "CASE WHEN THEN ELSE END CAST AS DISTINCT INSERT INTO VALUES CREATE TABLE ALTER ADD COLUMN RENAME TO DROP IF EXISTS "
        "SHOW TABLES FUNCTIONS DESCRIBE EXPLAIN ANALYZE now() count( avg( min( max( sum( first( last( time_bucket( "
        "window_start device time quality";
    struct str rest = STR(keywords), word;
    while (str_split(&rest, ' ', &word)) add_word(word.at, word.size);
}

/* The first column of a statement's answer becomes words. */
static void add_answer(struct client *client, const char *statement)
{
    struct client_answer answer;
    struct arena arena;
    struct doc *doc = NULL;
    arena_init(&arena, NULL);
    if (client_request(client, "POST", "/v1/sql", "application/json", "application/sql",
                       str_of(statement), &answer, NULL))
        return;
    if (answer.status == 200 && !doc_read_json(buf_str(&answer.body), &arena, &doc, NULL)) {
        const struct doc *rows = doc_get(doc, "rows");
        for (size_t i = 0; rows && i < rows->count; i++) {
            const struct doc *row = rows->items[i].value;
            if (row->count)
                add_word(doc_text(row->items[0].value).at, doc_text(row->items[0].value).size);
        }
    }
    client_answer_free(&answer);
    arena_free(&arena);
}

static char *next_word(const char *text, int state)
{
    static size_t at;
    if (state == 0) at = 0;
    size_t size = strlen(text);
    while (at < completion_words.count) {
        const char *word = completion_words.items[at++];
        if (strncasecmp(word, text, size) == 0)
            return strdup(word); /* readline frees it with free() */
    }
    return NULL;
}

static bool load_editor(struct editor *e)
{
    static const char *const names[] = {"libedit.so.2", "libedit.so"};
    for (size_t i = 0; i < 2 && !e->library; i++)
        e->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!e->library) return false;
    const struct {
        const char *name;
        void *slot;
    } symbols[] = {{"readline", &e->readline},
                   {"add_history", &e->add_history},
                   {"read_history", &e->read_history},
                   {"write_history", &e->write_history}};
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(e->library, symbols[i].name);
        if (!symbol) return false;
        memcpy(symbols[i].slot, &symbol, sizeof symbol);
    }
    void *entry = dlsym(e->library, "rl_completion_entry_function");
    char *(*generate)(const char *, int) = next_word;
    if (entry) memcpy(entry, &generate, sizeof generate);
    const char *home = getenv("HOME");
    if (home) {
        snprintf(e->history, sizeof e->history, "%s/.millrace_history", home);
        (void)e->read_history(e->history);
    }
    return true;
}

/* One line without its end, malloc'ed; NULL at the end of input. */
static char *read_line(const struct editor *e, const char *prompt)
{
    if (e->readline) return e->readline(prompt);
    char *line = NULL;
    size_t capacity = 0;
    if (isatty(STDIN_FILENO)) {
        fputs(prompt, stdout);
        fflush(stdout);
    }
    ssize_t size = getline(&line, &capacity, stdin);
    if (size < 0) {
        free(line);
        return NULL;
    }
    if (size > 0 && line[size - 1] == '\n') line[size - 1] = 0;
    return line;
}

static void print_shell_help(void)
{
    puts("A statement ends with ';' and may take several lines.\n"
         "  \\d          tables            \\d NAME   a table's columns\n"
         "  \\f FORMAT   table, csv, tsv, json or ndjson\n"
         "  \\q          quit              Tab completes, arrows recall");
}

/* A line that begins with a backslash. False: quit. */
static bool command(const struct cli_args *args, struct client *client, const char *line,
                    char *format, size_t format_bytes)
{
    char text[512];
    struct str rest = str_trim(str_of(line + 1)), name, word;
    if (!str_split(&rest, ' ', &name)) return true;
    word = str_trim(rest);
    if (str_is(name, "q")) return false;
    if (str_is(name, "d")) {
        snprintf(text, sizeof text, word.size ? "DESCRIBE %.*s" : "SHOW TABLES", (int)word.size,
                 word.at ? word.at : "");
        (void)cli_statement(args, client, str_of(text), format);
    } else if (str_is(name, "f") && word.size) {
        (void)str_copy(format, format_bytes, word);
    } else {
        print_shell_help();
    }
    return true;
}

static bool is_complete(const struct buf *statement)
{
    struct str s = str_trim(buf_str(statement));
    bool in_text = false;
    for (size_t i = 0; i < s.size; i++)
        if (s.at[i] == '\'') in_text = !in_text;
    return s.size && s.at[s.size - 1] == ';' && !in_text;
}

static int run_lines(const struct cli_args *args, struct client *client, struct editor *e,
                     char *format, size_t format_bytes)
{
    struct buf statement = BUF_EMPTY;
    bool terminal = isatty(STDIN_FILENO);
    int code = CLI_OK;
    for (char *line; (line = read_line(e, statement.size ? "     … " : "millrace> ")); free(line)) {
        if (!statement.size && !str_trim(str_of(line)).size) continue;
        if (!statement.size && line[0] == '\\') {
            if (!command(args, client, line, format, format_bytes)) {
                free(line);
                break;
            }
            continue;
        }
        buf_add_text(&statement, line);
        buf_add_char(&statement, '\n');
        if (!is_complete(&statement)) continue;
        struct str text = str_trim(buf_str(&statement));
        char *whole = mem_alloc(text.size + 1);
        if (whole && str_copy(whole, text.size + 1, text) && e->add_history) e->add_history(whole);
        mem_free(whole);
        code = cli_statement(args, client, text, format);
        buf_clear(&statement);
        if (code && !terminal) {
            free(line);
            break;
        }
    }
    if (str_trim(buf_str(&statement)).size && !terminal)
        code = cli_statement(args, client, str_trim(buf_str(&statement)), format);
    buf_free(&statement);
    return code;
}

int cli_shell(const struct cli_args *args, struct client *client, const char *first_format)
{
    struct editor e = {0};
    char format[16];
    (void)str_copy(format, sizeof format, str_of(first_format));
    if (isatty(STDIN_FILENO)) {
        printf("millrace " MILLRACE_VERSION " at %s. \\h for help, \\q to quit.\n",
               client_server(client));
        add_keywords();
        add_answer(client, "SHOW TABLES");
        add_answer(client, "SELECT DISTINCT point FROM sys.points");
        if (!load_editor(&e)) e.readline = NULL;
    }
    int code = run_lines(args, client, &e, format, sizeof format);
    if (e.readline && e.history[0]) (void)e.write_history(e.history);
    for (size_t i = 0; i < completion_words.count; i++) mem_free(completion_words.items[i]);
    mem_free(completion_words.items);
    if (isatty(STDIN_FILENO)) putchar('\n');
    return code;
}
