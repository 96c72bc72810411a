/* shell.h - the shell of `millrace sql`, as its parts know it.
 *
 * shell.c reads lines and cuts statements out of them; shell_scan.c says where a statement ends;
 * shell_command.c has the commands that begin with a backslash, in a table; shell_editor.c is line
 * editing, history and completion; shell_print.c shows answers. Everything hangs on one `struct
 * shell`. Thread: one. */
#ifndef CLI_SHELL_H
#define CLI_SHELL_H

#include "base/mem.h"
#include "cli/client.h"
#include <stdio.h>

struct editor;
struct os;

struct shell {
    const struct cli_args *args;
    struct client *client;
    struct os *os;
    struct editor *editor; /* NULL: lines are read plainly */
    const char *format;    /* of shell_formats */
    char ns[256];          /* the namespace that statements are about */
    char null_text[64];    /* shown for NULL in tables */
    bool is_expanded;      /* a row over several lines, a column each */
    bool has_timing, has_pager, is_terminal;
    bool wants_quit;
    FILE *out;            /* where answers go; not owned when it is stdout */
    bool out_is_command;  /* it is a pipe to one */
    struct buf statement; /* what has been typed and is not whole yet */
    struct buf last;      /* the statement run last, without its end */
    unsigned depth;       /* of files that are read in files */
};

extern const char *const shell_formats[];      /* ended by NULL */
const char *shell_format_of(const char *name); /* NULL: there is no such */

/* ---- shell.c ---- */

/* Reads and runs lines until the end, \q or, where nobody sits at a terminal, an error. Gives the
 * exit code. `in` NULL: from the editor. */
int shell_run(struct shell *shell, FILE *in);
/* Runs a text: statements and commands. */
int shell_run_text(struct shell *shell, struct str text);
/* Runs one statement and shows its answer or its error. */
int shell_statement(struct shell *shell, struct str text);
/* Where statements of the shell's namespace go. */
enum { SHELL_TARGET_BYTES = 800 };
void shell_target(const struct shell *shell, char out[SHELL_TARGET_BYTES]);
/* Ctrl-C was pressed since this was asked last. */
bool shell_was_interrupted(void);
bool shell_is_interrupted(void); /* … and is not asked yet */

/* ---- shell_scan.c ---- */

enum shell_found { SHELL_MORE, SHELL_STATEMENT, SHELL_COMMAND };
/* Finds the first ';' or backslash outside of texts, names and comments. `*end` is its offset;
 * MORE: there is none. */
enum shell_found shell_scan(struct str text, size_t *end);
/* Whether there is anything but white space and comments. */
bool shell_has_content(struct str text);

/* ---- shell_command.c ---- */

/* A line behind its backslash. Gives the exit code. */
int shell_command(struct shell *shell, struct str line);
/* The commands' names, for completion. */
size_t shell_commands_count(void);
const char *shell_command_name(size_t index);
/* Answers go to the standard output again; FAILED after saying so when some could not be written.
 */
int shell_close_out(struct shell *shell);
/* What the node's statements look like: those whose names begin like `name`. */
void shell_print_statements(FILE *to, struct str name);

/* ---- shell_editor.c ---- */

/* NULL: there is no libedit, or no terminal. Borrows the shell, whose tables it asks for. */
struct editor *editor_open(struct shell *shell);
void editor_close(struct editor *editor); /* keeps the history */
/* A line without its end, malloc'ed; NULL at the end of input and after Ctrl-C. */
char *editor_read(struct editor *editor, const char *prompt);
void editor_remember(struct editor *editor, struct str text);

/* ---- shell_print.c ---- */

/* Shows a JSON answer as table or tsv. */
int shell_print_answer(struct shell *shell, const struct client_answer *answer);
/* Marks the place of an error in the text of its statement. */
void shell_print_place(struct str text, size_t position);

#endif
