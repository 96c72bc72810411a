/* cmd_export_rows.c - `millrace export --table T | --query SQL`: rows into a file.
 *
 * The node writes the format (csv, ndjson, arrow); its answer goes into the file as it comes, so
 * the memory used here is the same for any size. The file is made as FILE.part and gets its name
 * when all is in it and on the disk: a file of that name is whole. A table's export holds what
 * `millrace import` and POST /v1/rows read back: time, device, the columns, and the devices' labels
 * as columns `label.NAME`. */
#include "base/timetext.h"
#include "cli/api.h"
#include "data/csv.h"
#include "os/os.h"
#include "sql/lex.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static const struct {
    const char *ending, *format;
} endings[] = {{".csv", "csv"},          {".ndjson", "ndjson"},   {".jsonl", "ndjson"},
               {".arrows", "arrow"},     {".arrow", "arrow"},     {".csv.gz", "csv"},
               {".ndjson.gz", "ndjson"}, {".jsonl.gz", "ndjson"}, {".arrows.gz", "arrow"},
               {".arrow.gz", "arrow"}};

struct export
{
    const struct cli_args *args;
    const char *path, *format; /* path "-" = standard output */
    char part[4200];
    int fd;
    gzFile file;
    struct client *client;
    struct os *os;
    struct arena arena;
    struct buf query, target;
    uint64_t bytes;
    int64_t begun_ns, shown_ns;
    int write_errno; /* not 0: the file could not be written */
};

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size > end_size && strcmp(text + size - end_size, end) == 0;
}

static const char *find_format(const struct export *export)
{
    const char *given = cli_value(export->args, "--format");
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (given ? strcmp(given, endings[i].format) == 0
                  : ends_with(export->path, endings[i].ending))
            return endings[i].format;
    return given ? NULL : "csv";
}

/* ---- the statement ---- */

static void add_literal(struct buf *out, struct str text)
{
    buf_add_char(out, '\'');
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] == '\'') buf_add_char(out, '\'');
        buf_add_char(out, text.at[i]);
    }
    buf_add_char(out, '\'');
}

/* The rows of a statement's answer, in export->arena; NULL after printing why. */
static const struct doc *ask(struct export *export, struct str statement)
{
    struct client_answer answer = {0};
    struct why why = WHY_NONE;
    struct doc *doc = NULL;
    char message[1024] = "";
    enum err err = client_request(export->client, "POST", buf_cstr(&export->target),
                                  "application/json", "application/sql", statement, &answer, &why);
    if (!err && answer.status != 200) client_error_text(&answer, message, sizeof message);
    if (!err && !message[0]) {
        char *kept = arena_strdup(&export->arena, answer.body.at, answer.body.size);
        err = kept ? doc_read_json((struct str){kept, answer.body.size}, &export->arena, &doc, &why)
                   : ERR_NO_MEMORY;
    }
    if (err || message[0])
        cli_fail(export->args, CLI_FAILED, "%s", err ? why_text(&why, err) : message);
    client_answer_free(&answer);
    return doc_get(doc, "rows");
}

static struct str first_cell(const struct doc *rows, size_t at)
{
    const struct doc *row = rows->items[at].value;
    return row->count ? doc_text(row->items[0].value) : STR("");
}

/* A table's columns by name, then its devices' labels: those stand in DESCRIBE behind time, device,
 * quality, received and the columns. A view has what its query gives. */
static bool add_all_columns(struct export *export)
{
    struct buf text = BUF_EMPTY;
    struct str table = str_of(cli_value(export->args, "--table"));
    buf_add_text(&text, "SELECT column_name FROM information_schema.columns WHERE table_name = ");
    add_literal(&text, table);
    buf_add_text(&text, " ORDER BY ordinal_position");
    const struct doc *columns = ask(export, buf_str(&text));
    buf_clear(&text);
    buf_add_text(&text, "DESCRIBE ");
    lex_add_name(&text, table);
    const struct doc *lines = columns ? ask(export, buf_str(&text)) : NULL;
    buf_free(&text);
    if (!lines) return false;
    if (!columns->count) buf_add_char(&export->query, '*');
    for (size_t i = 0; i < columns->count; i++) {
        if (i) buf_add_text(&export->query, ", ");
        lex_add_name(&export->query, first_cell(columns, i));
    }
    for (size_t i = columns->count + 2; columns->count && i < lines->count; i++) {
        struct str name = first_cell(lines, i);
        buf_add_text(&export->query, ", label.");
        lex_add_name(&export->query, name);
        buf_add_text(&export->query, " AS ");
        lex_add_name(&export->query,
                     str_of(arena_printf(&export->arena, "label.%.*s", (int)name.size, name.at)));
    }
    return true;
}

static bool add_columns(struct export *export, const char *names)
{
    struct csv_reader *row = mem_alloc_zero(1, sizeof *row);
    struct why why = WHY_NONE;
    size_t used;
    if (row) row->format = CSV_COMMA;
    enum err err =
        row ? csv_read(row, str_of(names), true, &export->arena, &used, &why) : ERR_NO_MEMORY;
    buf_add_text(&export->query, "time, device");
    for (size_t i = 0; !err && i < row->field_count; i++) {
        struct str name = str_trim(row->fields[i].text);
        if (!name.size || str_is(name, "time") || str_is(name, "device")) continue;
        buf_add_text(&export->query, ", ");
        lex_add_name(&export->query, name);
    }
    mem_free(row);
    if (err) cli_fail(export->args, CLI_USAGE, "--columns: %s", why_text(&why, err));
    return !err;
}

/* `option` names a bound of the time; `compare` is ">=" or "<". */
static bool add_bound(struct export *export, const char *option, const char *compare,
                      const char **join)
{
    const char *text = cli_value(export->args, option);
    char exact[TIME_TEXT_BYTES];
    int64_t time_ns;
    if (!text) return true;
    if (!time_parse(str_of(text), &time_ns)) {
        cli_fail(export->args, CLI_USAGE,
                 "%s %s: must be a time, such as 2026-11-21 or 2026-11-21T08:00:00Z", option, text);
        return false;
    }
    time_format(time_ns, exact);
    buf_printf(&export->query, " %s time %s '%s'", *join, compare, exact);
    *join = "AND";
    return true;
}

/* Lines of their own, so that a comment at a condition's end ends there. */
static bool make_query(struct export *export)
{
    const struct cli_args *args = export->args;
    const char *given = cli_value(args, "--query"), *columns = cli_value(args, "--columns"),
               *where = cli_value(args, "--where"), *join = "WHERE";
    buf_add_text(&export->query, given ? given : "SELECT ");
    if (given) return true;
    if (columns && !add_columns(export, columns)) return false;
    if (!columns && !add_all_columns(export)) return false;
    buf_add_text(&export->query, " FROM ");
    lex_add_name(&export->query, str_of(cli_value(args, "--table")));
    if (!add_bound(export, "--from", ">=", &join) || !add_bound(export, "--to", "<", &join))
        return false;
    if (where) buf_printf(&export->query, " %s (%s\n)", join, where);
    return true;
}

/* ---- the file ---- */

static bool open_file(struct export *export)
{
    bool is_stdout = strcmp(export->path, "-") == 0;
    bool is_packed = ends_with(export->path, ".gz");
    snprintf(export->part, sizeof export->part, "%s.part", export->path);
    export->fd = is_stdout ? dup(STDOUT_FILENO)
                           : open(export->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int own = export->fd < 0 ? -1 : dup(export->fd); /* gzclose closes it, and it is synced after */
    export->file = own < 0 ? NULL : gzdopen(own, is_packed ? "wb6" : "wbT");
    if (export->file) {
        (void)gzbuffer(export->file, 256 * 1024); /* it keeps its own size otherwise */
        return true;
    }
    cli_fail(export->args, CLI_USAGE, "%s: %s", is_stdout ? "-" : export->part, strerror(errno));
    return false;
}

static void show_progress(struct export *export, bool is_last)
{
    int64_t now = export->os->ops->mono_ns(export->os);
    if (!isatty(STDERR_FILENO) || isatty(STDOUT_FILENO) > (strcmp(export->path, "-") != 0)) return;
    if (!is_last && now - export->shown_ns < TIME_NS_PER_S / 5) return;
    double mb = (double)export->bytes / 1e6, seconds = (double)(now - export->begun_ns) / 1e9;
    export->shown_ns = now;
    fprintf(stderr, "\r\033[K%.1f MB  %.1f MB/s%s", mb, seconds > 0 ? mb / seconds : 0,
            is_last ? "\n" : "");
}

static bool take_piece(void *arg, struct str piece)
{
    struct export *export = arg;
    while (piece.size) { /* gzwrite takes an unsigned int */
        unsigned size = piece.size > 1 << 20 ? 1 << 20 : (unsigned)piece.size;
        errno = 0;
        if (gzwrite(export->file, piece.at, size) != (int)size) {
            export->write_errno = errno ? errno : EIO;
            return false;
        }
        export->bytes += size;
        piece = (struct str){piece.at + size, piece.size - size};
    }
    show_progress(export, false);
    return true;
}

/* What is there becomes the file, or goes. */
static bool close_file(struct export *export, bool is_whole)
{
    bool is_stdout = strcmp(export->path, "-") == 0;
    errno = 0;
    if (export->file && gzclose(export->file) != Z_OK && is_whole && !export->write_errno)
        export->write_errno = errno ? errno : EIO;
    export->file = NULL;
    is_whole = is_whole && !export->write_errno;
    if (is_whole && !is_stdout &&
        (fsync(export->fd) != 0 || rename(export->part, export->path) != 0))
        export->write_errno = errno;
    if (export->write_errno)
        cli_fail(export->args, CLI_FAILED, "%s: %s", export->path, strerror(export->write_errno));
    is_whole = is_whole && !export->write_errno;
    if (!is_whole && !is_stdout && export->fd >= 0) (void)unlink(export->part);
    if (export->fd >= 0) (void)close(export->fd);
    return is_whole;
}

static int run(struct export *export)
{
    struct client_answer answer = {0};
    struct why why = WHY_NONE;
    char message[1024] = "";
    if (!make_query(export)) return CLI_FAILED;
    if (buf_failed(&export->query)) return cli_fail(export->args, CLI_FAILED, "out of memory");
    if (!open_file(export)) return CLI_USAGE;
    export->begun_ns = export->os->ops->mono_ns(export->os);
    enum err err = client_download(export->client, "POST", buf_cstr(&export->target),
                                   cli_media_type(export->format), "application/sql",
                                   buf_str(&export->query), take_piece, export, &answer, &why);
    if (!err && answer.status != 200) client_error_text(&answer, message, sizeof message);
    bool is_good = !err && !message[0];
    if (is_good) show_progress(export, true);
    if (err && !export->write_errno) cli_fail(export->args, CLI_FAILED, "%s", why_text(&why, err));
    if (message[0]) cli_fail(export->args, CLI_FAILED, "%s", message);
    is_good = close_file(export, is_good);
    client_answer_free(&answer);
    return is_good ? CLI_OK : CLI_FAILED;
}

int cli_export_rows(const struct cli_args *args)
{
    const char *path = cli_value(args, "-o"), *ns = cli_value(args, "-n");
    struct export export = {.args = args, .path = path ? path : "-", .fd = -1};
    export.format = find_format(&export);
    if (args->word_count || (cli_value(args, "--table") && cli_value(args, "--query")))
        return cli_fail(args, CLI_USAGE, "usage: millrace export %s", args->command->synopsis);
    if (!export.format)
        return cli_fail(args, CLI_USAGE, "--format %s: must be csv, ndjson or arrow",
                        cli_value(args, "--format"));
    if (strcmp(export.format, "arrow") == 0 && strcmp(export.path, "-") == 0 &&
        isatty(STDOUT_FILENO))
        return cli_fail(args, CLI_USAGE, "arrow is no text for a terminal: name a file with -o");
    arena_init(&export.arena, NULL);
    buf_add_text(&export.target, "/v1/sql?ns=");
    api_add_segment(&export.target, ns ? ns : "default");
    export.os = os_real_new();
    export.client = export.os ? client_open(args) : NULL;
    int code = export.client ? run(&export) : CLI_FAILED;
    client_close(export.client);
    if (export.os) os_real_free(export.os);
    buf_free(&export.query);
    buf_free(&export.target);
    arena_free(&export.arena);
    return code;
}
