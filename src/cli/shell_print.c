/* shell_print.c - how `millrace sql` shows answers: tables, one column a line, tsv; see shell.h.
 *
 * An answer that is longer than the terminal goes through the user's pager. Numbers stand to the
 * right. */
#include "cli/shell.h"
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { CELL_COLUMNS_MAX = 80 };

struct answer {
    struct shell *shell;
    const struct doc *columns, *rows;
    struct buf scratch;
    size_t *widths;
    FILE *to;
};

/* Width on a terminal: code points, those of East Asian scripts twice. */
static size_t display_width(struct str s)
{
    size_t width = 0;
    for (size_t i = 0; i < s.size; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if ((c & 0xc0) == 0x80) continue;
        width += c >= 0xe3 && c <= 0xed ? 2 : 1;
    }
    return width;
}

static struct str cell_text(struct answer *a, size_t row, size_t column)
{
    const struct doc *cells = a->rows->items[row].value;
    if (column >= cells->count) return STR("");
    const struct doc *cell = cells->items[column].value;
    switch (cell->kind) {
    case DOC_NULL: return str_of(a->shell->null_text);
    case DOC_BOOL: return cell->b ? STR("true") : STR("false");
    case DOC_JSON:
    case DOC_NUMBER:
    case DOC_STRING: return cell->text;
    case DOC_LIST:
    case DOC_MAP: break;
    }
    buf_clear(&a->scratch);
    doc_write_json(&a->scratch, cell);
    return buf_str(&a->scratch);
}

static struct str column_name(const struct answer *a, size_t column)
{
    return doc_text(doc_get(a->columns->items[column].value, "name"));
}

static bool is_number(const struct answer *a, size_t column)
{
    struct str type = doc_text(doc_get(a->columns->items[column].value, "type"));
    return str_is(type, "bigint") || str_is(type, "ubigint") || str_is(type, "double");
}

static void print_cell(struct answer *a, struct str text, size_t column)
{
    size_t have = display_width(text), width = a->widths[column];
    int pad = (int)(width > have ? width - have : 0);
    bool is_last = column + 1 == a->columns->count, is_right = is_number(a, column);
    if (is_right) fprintf(a->to, "%*s", pad, "");
    cli_print_safely(a->to, text);
    if (!is_right && !is_last) fprintf(a->to, "%*s", pad, "");
    fputs(is_last ? "\n" : "  ", a->to);
}

static void measure(struct answer *a)
{
    for (size_t c = 0; c < a->columns->count; c++) {
        a->widths[c] = display_width(column_name(a, c));
        for (size_t r = 0; r < a->rows->count; r++) {
            size_t width = display_width(cell_text(a, r, c));
            if (width > a->widths[c]) a->widths[c] = width;
        }
        if (a->widths[c] > CELL_COLUMNS_MAX) a->widths[c] = CELL_COLUMNS_MAX;
    }
}

static void print_table(struct answer *a)
{
    measure(a);
    for (size_t c = 0; c < a->columns->count; c++) print_cell(a, column_name(a, c), c);
    for (size_t c = 0; c < a->columns->count; c++) {
        for (size_t i = 0; i < a->widths[c]; i++) fputs("─", a->to);
        fputs(c + 1 == a->columns->count ? "\n" : "  ", a->to);
    }
    for (size_t r = 0; r < a->rows->count; r++)
        for (size_t c = 0; c < a->columns->count; c++) print_cell(a, cell_text(a, r, c), c);
    fprintf(a->to, "(%zu row%s)\n", a->rows->count, a->rows->count == 1 ? "" : "s");
}

/* A line a column, so that wide rows can be read. */
static void print_expanded(struct answer *a)
{
    size_t width = 0;
    for (size_t c = 0; c < a->columns->count; c++) {
        size_t own = display_width(column_name(a, c));
        if (own > width) width = own;
    }
    for (size_t r = 0; r < a->rows->count; r++) {
        fprintf(a->to, "─[ row %zu ]─\n", r + 1);
        for (size_t c = 0; c < a->columns->count; c++) {
            struct str name = column_name(a, c);
            cli_print_safely(a->to, name);
            fprintf(a->to, "%*s  ", (int)(width - display_width(name)), "");
            cli_print_safely(a->to, cell_text(a, r, c));
            fputc('\n', a->to);
        }
    }
    if (!a->rows->count) fputs("(0 rows)\n", a->to);
}

/* Tabs, line ends and backslashes inside a cell are escaped, as psql's COPY text format does. */
static void print_tsv(struct answer *a)
{
    for (size_t r = 0; r < a->rows->count; r++)
        for (size_t c = 0; c < a->columns->count; c++) {
            struct str text = cell_text(a, r, c);
            for (size_t i = 0; i < text.size; i++) {
                const char *escaped = text.at[i] == '\t'   ? "\\t"
                                      : text.at[i] == '\n' ? "\\n"
                                      : text.at[i] == '\\' ? "\\\\"
                                                           : NULL;
                if (escaped)
                    fputs(escaped, a->to);
                else
                    fputc(text.at[i], a->to);
            }
            fputc(c + 1 == a->columns->count ? '\n' : '\t', a->to);
        }
}

/* ---- the pager ---- */

/* $PAGER, else less; NULL when the answer fits, or nobody looks at it. */
static FILE *open_pager(const struct answer *a)
{
    struct winsize size = {0};
    const struct shell *shell = a->shell;
    const char *pager = getenv("PAGER");
    if (!shell->has_pager || !shell->is_terminal || shell->out != stdout) return NULL;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row)
        return NULL;
    size_t lines = shell->is_expanded ? a->rows->count * (a->columns->count + 1) : a->rows->count;
    if (lines + 4 < size.ws_row) return NULL;
    if (!pager && access("/usr/bin/less", X_OK) != 0) return NULL;
    fflush(stdout);
    return popen(pager && pager[0] ? pager : "/usr/bin/less -SFX", "w");
}

static void print_all(struct answer *a)
{
    if (strcmp(a->shell->format, "table") != 0)
        print_tsv(a);
    else if (a->shell->is_expanded)
        print_expanded(a);
    else
        print_table(a);
}

int shell_print_answer(struct shell *shell, const struct client_answer *answer)
{
    struct arena arena;
    struct doc *doc = NULL;
    struct why why = WHY_NONE;
    arena_init(&arena, NULL);
    enum err err = doc_read_json(buf_str(&answer->body), &arena, &doc, &why);
    struct answer a = {.shell = shell,
                       .columns = doc_get(doc, "columns"),
                       .rows = doc_get(doc, "rows"),
                       .to = shell->out};
    bool is_good = !err && a.columns && a.rows;
    if (is_good) a.widths = arena_zero(&arena, a.columns->count + 1, sizeof *a.widths);
    if (is_good && !a.widths) err = ERR_NO_MEMORY;
    if (!is_good || err) {
        cli_fail(shell->args, CLI_FAILED, "the answer cannot be shown: %s",
                 why_text(&why, err ? err : ERR_PROTOCOL));
    } else {
        FILE *pager = open_pager(&a);
        if (pager) a.to = pager;
        print_all(&a);
        if (pager) (void)pclose(pager);
    }
    buf_free(&a.scratch);
    arena_free(&arena);
    return is_good && !err ? CLI_OK : CLI_FAILED;
}

void shell_print_place(struct str text, size_t position)
{
    if (position > text.size) return;
    size_t from = position, to = position, line = 1;
    while (from > 0 && text.at[from - 1] != '\n') from--;
    while (to < text.size && text.at[to] != '\n') to++;
    for (size_t i = 0; i < from; i++) line += text.at[i] == '\n';
    int lead = fprintf(stderr, "line %zu: ", line);
    fwrite(text.at + from, 1, to - from, stderr);
    int before = (int)display_width((struct str){text.at + from, position - from});
    fprintf(stderr, "\n%*s^\n", (lead > 0 ? lead : 0) + before, "");
}
