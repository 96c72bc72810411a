/* shell_editor.c - line editing, history and completion by libedit; see shell.h.
 *
 * libedit is loaded on first use, by its readline interface: who only pipes statements needs no
 * library, and without it lines are read plainly. Its completion callback has no argument, so the
 * editor that is open is known to the file. Completion looks at the word before: behind FROM come
 * tables, behind a backslash commands, else everything. Tables and columns are asked for when Tab
 * is pressed and the last answer is older than WORDS_SECONDS. */
#include "cli/shell.h"
#include "base/timetext.h"
#include "os/os.h"
#include <dlfcn.h>
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

enum { WORDS_SECONDS = 5, HISTORY_MAX = 2000 };

struct words {
    char **items;
    size_t count, capacity;
};

struct editor {
    struct shell *shell;
    void *library;
    char *(*readline)(const char *prompt);
    int (*add_history)(const char *line);
    int (*read_history)(const char *file);
    int (*write_history)(const char *file);
    char **line;          /* the library's: what is being typed */
    int (**getc)(FILE *); /* the library's: where characters come from */
    int *catch_signals;   /* the library's */
    char history[4096];
    struct words fixed, commands, tables, columns;
    int64_t asked_ns;
    const struct words *lists[3]; /* that the word at hand is looked for in */
    size_t list, at;
};

static struct editor *open_editor; /* the one; see above */

/* ---- words ---- */

static void add_word(struct words *w, struct str text)
{
    char *copy = mem_alloc(text.size + 1);
    if (!copy || mem_grow(&w->items, &w->capacity, w->count + 1, sizeof *w->items)) {
        mem_free(copy);
        return;
    }
    (void)str_copy(copy, text.size + 1, text);
    w->items[w->count++] = copy;
}

static void free_words(struct words *w)
{
    for (size_t i = 0; i < w->count; i++) mem_free(w->items[i]);
    mem_free(w->items);
    *w = (struct words){0};
}

static void add_keywords(struct words *w)
{
    static const char keywords[] =
        "SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET PARTITION WINDOW TUMBLE HOP SLIDE SESSION COUNT STATE EVENT "
        "FILL AND OR NOT NULL IS IN LIKE BETWEEN CASE WHEN THEN ELSE END CAST AS DISTINCT INSERT INTO VALUES CREATE TABLE "
        "VIEW REPLACE ALTER ADD COLUMN RENAME TO DROP IF EXISTS DELETE SHOW TABLES FUNCTIONS HEALTH DESCRIBE EXPLAIN ANALYZE "
        "WITH JOIN LEFT RIGHT FULL CROSS ASOF TOLERANCE ON USING UNION ALL EXCEPT INTERSECT OVER FILTER CHECKPOINT VACUUM CONFIRM CLOCK "
        "device time quality received label. window_start window_end";
    struct str rest = STR(keywords), word;
    while (str_split(&rest, ' ', &word)) add_word(w, word);
}

/* A column of a statement's answer becomes words. */
static void add_answer(struct shell *shell, struct words *w, const char *statement, size_t column)
{
    struct client_answer answer = {0};
    struct arena arena;
    struct doc *doc = NULL;
    char target[SHELL_TARGET_BYTES];
    arena_init(&arena, NULL);
    shell_target(shell, target);
    if (!client_request(shell->client, "POST", target, "application/json", "application/sql",
                        str_of(statement), &answer, NULL) &&
        answer.status == 200 && !doc_read_json(buf_str(&answer.body), &arena, &doc, NULL)) {
        const struct doc *rows = doc_get(doc, "rows");
        for (size_t i = 0; rows && i < rows->count; i++) {
            const struct doc *row = rows->items[i].value;
            if (column < row->count) add_word(w, doc_text(row->items[column].value));
        }
    }
    client_answer_free(&answer);
    arena_free(&arena);
}

static void ask_for_words(struct editor *e)
{
    int64_t now = e->shell->os->ops->mono_ns(e->shell->os);
    if (e->tables.count && now - e->asked_ns < (int64_t)WORDS_SECONDS * TIME_NS_PER_S) return;
    e->asked_ns = now;
    free_words(&e->tables);
    free_words(&e->columns);
    add_answer(e->shell, &e->tables, "SHOW TABLES", 1);
    add_answer(e->shell, &e->columns,
               "SELECT DISTINCT column_name FROM information_schema.columns WHERE table_schema = "
               "'public' ORDER BY column_name",
               0);
}

/* ---- completion ---- */

/* The word that ends before `end`, passing over white space. */
static struct str word_before(const char *line, size_t end)
{
    while (end > 0 && strchr(" \t,(", line[end - 1])) end--;
    size_t from = end;
    while (from > 0 && !strchr(" \t,(", line[from - 1])) from--;
    return (struct str){line + from, end - from};
}

static void choose_lists(struct editor *e, const char *text)
{
    static const char *const before_tables[] = {"FROM", "JOIN", "INTO", "TABLE",  "DESCRIBE",
                                                "\\d",  "\\dt", "\\dv", "\\copy", NULL};
    const char *line = e->line && *e->line ? *e->line : "";
    size_t size = strlen(line), own = strlen(text), end = size > own ? size - own : 0;
    struct str before = word_before(line, end);
    memset(e->lists, 0, sizeof e->lists);
    e->list = e->at = 0;
    if (end > 0 && line[end - 1] == '\\') {
        e->lists[0] = &e->commands;
        return;
    }
    ask_for_words(e);
    e->lists[0] = &e->tables;
    for (size_t i = 0; before_tables[i]; i++)
        if (str_is_nocase(before, before_tables[i])) return;
    e->lists[1] = &e->columns;
    e->lists[2] = &e->fixed;
}

/* A copy that the library frees with free(). Keywords follow the case of what was typed. */
static char *copy_of(const char *word, bool is_lower)
{
    char *copy = strdup(word);
    for (char *at = copy; at && *at && is_lower; at++)
        if (*at >= 'A' && *at <= 'Z') *at = (char)(*at + 32);
    return copy;
}

/* The next word that begins like the text: names as they are, keywords in any case. */
static char *next_word(const char *text, int state)
{
    struct editor *e = open_editor;
    if (!e) return NULL;
    if (state == 0) choose_lists(e, text);
    size_t size = strlen(text);
    bool is_lower = text[0] >= 'a' && text[0] <= 'z';
    for (; e->list < 3 && e->lists[e->list]; e->list++, e->at = 0) {
        const struct words *words = e->lists[e->list];
        bool is_fixed = words == &e->fixed;
        while (e->at < words->count) {
            const char *word = words->items[e->at++];
            if ((is_fixed ? strncasecmp(word, text, size) : strncmp(word, text, size)) == 0)
                return copy_of(word, is_fixed && is_lower);
        }
    }
    return NULL;
}

/* ---- keys ---- */

/* The rest of a character that begins with this byte (UTF-8). */
static int take_rest(int first)
{
    int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : 0;
    int character = more ? first & (0x3f >> more) : first;
    for (; more > 0; more--) {
        unsigned char byte;
        if (read(STDIN_FILENO, &byte, 1) != 1) return -1;
        character = character << 6 | (byte & 0x3f);
    }
    return character;
}

/* The library's own waiting would miss a Ctrl-C that comes just before it. Here the signal is let
 * in by the call that waits, and only there; -1 makes readline end as at the end of input. */
static int next_character(FILE *in)
{
    fd_set keys;
    unsigned char byte;
    sigset_t open;
    (void)in;
    if (sigprocmask(SIG_SETMASK, NULL, &open)) return -1;
    sigdelset(&open, SIGINT);
    do {
        FD_ZERO(&keys);
        FD_SET(STDIN_FILENO, &keys);
        int ready = pselect(STDIN_FILENO + 1, &keys, NULL, NULL, NULL, &open);
        if (ready < 0 && (errno != EINTR || shell_is_interrupted())) return -1;
        if (ready < 0) FD_ZERO(&keys); /* a window that changed its size */
    } while (!FD_ISSET(STDIN_FILENO, &keys));
    return read(STDIN_FILENO, &byte, 1) == 1 ? take_rest(byte) : -1;
}

/* ---- the library ---- */

static bool load(struct editor *e)
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
                   {"write_history", &e->write_history},
                   {"rl_line_buffer", &e->line},
                   {"rl_getc_function", &e->getc},
                   {"rl_catch_signals", &e->catch_signals}};
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(e->library, symbols[i].name);
        if (!symbol) return false;
        memcpy(symbols[i].slot, &symbol, sizeof symbol);
    }
    void *entry = dlsym(e->library, "rl_completion_entry_function");
    char *(*generate)(const char *, int) = next_word;
    if (entry) memcpy(entry, &generate, sizeof generate);
    *e->getc = next_character;
    *e->catch_signals = 0;
    return true;
}

struct editor *editor_open(struct shell *shell)
{
    struct editor *e = isatty(STDIN_FILENO) ? mem_alloc_zero(1, sizeof *e) : NULL;
    const char *home = getenv("HOME");
    if (!e) return NULL;
    if (!load(e)) {
        if (e->library) (void)dlclose(e->library);
        mem_free(e);
        return NULL;
    }
    /* Of the characters alone: numbers stay as they are. Without a locale they are UTF-8. */
    const char *locale = setlocale(LC_CTYPE, "");
    if (!locale || strcmp(locale, "C") == 0 || strcmp(locale, "POSIX") == 0)
        (void)setlocale(LC_CTYPE, "C.UTF-8");
    MUST(!open_editor);
    open_editor = e;
    e->shell = shell;
    add_keywords(&e->fixed);
    for (size_t i = 0; i < shell_commands_count(); i++)
        add_word(&e->commands, str_of(shell_command_name(i)));
    add_answer(shell, &e->fixed, "SHOW FUNCTIONS", 0);
    int (*stifle)(int) = NULL;
    void *symbol = dlsym(e->library, "stifle_history");
    memcpy(&stifle, &symbol, sizeof symbol);
    if (home) {
        snprintf(e->history, sizeof e->history, "%s/.millrace_history", home);
        (void)e->read_history(e->history);
    }
    if (stifle) (void)stifle(HISTORY_MAX);
    return e;
}

void editor_close(struct editor *e)
{
    if (!e) return;
    if (e->history[0]) (void)e->write_history(e->history); /* 0600, by the library */
    free_words(&e->fixed);
    free_words(&e->commands);
    free_words(&e->tables);
    free_words(&e->columns);
    open_editor = NULL;
    mem_free(e); /* the library stays: it has an exit handler */
}

char *editor_read(struct editor *e, const char *prompt)
{
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &interrupt, &before);
    char *line = e->readline(prompt);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return line;
}

/* One line a statement, so that one arrow recalls it; a comment keeps its line end. */
void editor_remember(struct editor *e, struct str text)
{
    char *line = mem_alloc(text.size + 1);
    if (!line) return;
    (void)str_copy(line, text.size + 1, text);
    for (size_t i = 0; i < text.size && !memmem(text.at, text.size, "--", 2); i++)
        if (line[i] == '\n') line[i] = ' ';
    (void)e->add_history(line);
    mem_free(line);
}
