/* cmd_sql.c - `millrace sql`: one statement, or the shell. The node formats json, ndjson, csv and
 * arrow, which go through as they come; table and tsv are made here from the JSON answer. */
#include "base/mem.h"
#include "cli/client.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const formats[] = {"table", "csv", "tsv", "json", "ndjson", "arrow"};
enum { FORMAT_COUNT = sizeof formats / sizeof formats[0], CELL_COLUMNS_MAX = 80 };

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

static struct str cell_text(const struct doc *cell, struct buf *scratch)
{
    switch (cell->kind) {
    case DOC_NULL: return STR("");
    case DOC_BOOL: return cell->b ? STR("true") : STR("false");
    case DOC_JSON:
    case DOC_NUMBER:
    case DOC_STRING: return cell->text;
    case DOC_LIST:
    case DOC_MAP: break;
    }
    buf_clear(scratch);
    doc_write_json(scratch, cell);
    return buf_str(scratch);
}

static void print_cell(struct str text, size_t width, bool right, bool last)
{
    size_t have = display_width(text);
    int pad = (int)(width > have ? width - have : 0);
    if (right) printf("%*s", pad, "");
    fwrite(text.at, 1, text.size, stdout);
    if (!right && !last) printf("%*s", pad, "");
    fputs(last ? "\n" : "  ", stdout);
}

static bool is_number_type(struct str type)
{
    return str_is(type, "bigint") || str_is(type, "ubigint") || str_is(type, "double");
}

static void measure(const struct doc *columns, const struct doc *rows, size_t *widths)
{
    struct buf scratch = BUF_EMPTY;
    for (size_t c = 0; c < columns->count; c++) {
        widths[c] = display_width(doc_text(doc_get(columns->items[c].value, "name")));
        for (size_t r = 0; r < rows->count; r++) {
            const struct doc *row = rows->items[r].value;
            size_t width =
                c < row->count ? display_width(cell_text(row->items[c].value, &scratch)) : 0;
            if (width > widths[c]) widths[c] = width;
        }
        if (widths[c] > CELL_COLUMNS_MAX) widths[c] = CELL_COLUMNS_MAX;
    }
    buf_free(&scratch);
}

static void print_table(const struct doc *columns, const struct doc *rows)
{
    struct buf scratch = BUF_EMPTY;
    size_t *widths = mem_alloc_zero(columns->count, sizeof *widths);
    if (!widths) return;
    measure(columns, rows, widths);
    for (size_t c = 0; c < columns->count; c++)
        print_cell(doc_text(doc_get(columns->items[c].value, "name")), widths[c],
                   is_number_type(doc_text(doc_get(columns->items[c].value, "type"))),
                   c + 1 == columns->count);
    for (size_t c = 0; c < columns->count; c++) {
        for (size_t i = 0; i < widths[c]; i++) fputs("─", stdout);
        fputs(c + 1 == columns->count ? "\n" : "  ", stdout);
    }
    for (size_t r = 0; r < rows->count; r++) {
        const struct doc *row = rows->items[r].value;
        for (size_t c = 0; c < columns->count && c < row->count; c++)
            print_cell(cell_text(row->items[c].value, &scratch), widths[c],
                       is_number_type(doc_text(doc_get(columns->items[c].value, "type"))),
                       c + 1 == columns->count);
    }
    printf("(%zu row%s)\n", rows->count, rows->count == 1 ? "" : "s");
    mem_free(widths);
    buf_free(&scratch);
}

/* Tabs, line ends and backslashes inside a cell are escaped, as psql's COPY text format does. */
static void print_tsv_cell(struct str text)
{
    for (size_t i = 0; i < text.size; i++) {
        const char *escaped = text.at[i] == '\t'   ? "\\t"
                              : text.at[i] == '\n' ? "\\n"
                              : text.at[i] == '\\' ? "\\\\"
                                                   : NULL;
        if (escaped)
            fputs(escaped, stdout);
        else
            fputc(text.at[i], stdout);
    }
}

static void print_tsv(const struct doc *rows)
{
    struct buf scratch = BUF_EMPTY;
    for (size_t r = 0; r < rows->count; r++) {
        const struct doc *row = rows->items[r].value;
        for (size_t c = 0; c < row->count; c++) {
            if (c) fputc('\t', stdout);
            print_tsv_cell(cell_text(row->items[c].value, &scratch));
        }
        fputc('\n', stdout);
    }
    buf_free(&scratch);
}

static int print_json_answer(const struct cli_args *args, const struct client_answer *answer,
                             const char *format)
{
    struct arena arena;
    struct doc *doc = NULL;
    struct why why = WHY_NONE;
    arena_init(&arena, NULL);
    enum err err = doc_read_json(buf_str(&answer->body), &arena, &doc, &why);
    const struct doc *columns = doc_get(doc, "columns"), *rows = doc_get(doc, "rows");
    int code = CLI_OK;
    if (err || !columns || !rows)
        code = cli_fail(args, CLI_FAILED, "the answer cannot be shown: %s",
                        why_text(&why, err ? err : ERR_PROTOCOL));
    else if (strcmp(format, "table") == 0)
        print_table(columns, rows);
    else
        print_tsv(rows);
    arena_free(&arena);
    return code;
}

const char *cli_media_type(const char *format)
{
    return strcmp(format, "csv") == 0      ? "text/csv"
           : strcmp(format, "ndjson") == 0 ? "application/x-ndjson"
           : strcmp(format, "arrow") == 0  ? "application/vnd.apache.arrow.stream"
                                           : "application/json";
}

static bool print_piece(void *arg, struct str piece)
{
    (void)arg;
    return fwrite(piece.at, 1, piece.size, stdout) == piece.size;
}

int cli_statement(const struct cli_args *args, struct client *client, struct str text,
                  const char *format)
{
    struct client_answer answer;
    struct why why = WHY_NONE;
    bool own = strcmp(format, "table") == 0 || strcmp(format, "tsv") == 0;
    enum err err = own ? client_request(client, "POST", "/v1/sql", "application/json",
                                        "application/sql", text, &answer, &why)
                       : client_download(client, "POST", "/v1/sql", cli_media_type(format),
                                         "application/sql", text, print_piece, NULL, &answer, &why);
    int code = CLI_OK;
    if (err) {
        code = cli_fail(args, CLI_FAILED, "%s", why_text(&why, err));
    } else if (answer.status != 200) {
        char message[1024];
        client_error_text(&answer, message, sizeof message);
        code = cli_fail(args, CLI_FAILED, "%s", message);
    } else if (own) {
        code = print_json_answer(args, &answer, format);
    } else if (strcmp(format, "json") == 0) {
        fputc('\n', stdout);
    }
    client_answer_free(&answer);
    return code;
}

int cli_sql(const struct cli_args *args)
{
    const char *format = cli_value(args, "--format");
    if (!format) format = isatty(STDOUT_FILENO) ? "table" : "tsv";
    size_t i = 0;
    while (i < FORMAT_COUNT && strcmp(format, formats[i]) != 0) i++;
    if (i == FORMAT_COUNT)
        return cli_fail(args, CLI_USAGE,
                        "--format %s: must be table, csv, tsv, json, ndjson or arrow", format);
    struct client *client = client_open(args);
    if (!client) return CLI_FAILED;
    int code = args->word_count ? cli_statement(args, client, str_of(args->words[0]), format)
                                : cli_shell(args, client, format);
    client_close(client);
    return code;
}
