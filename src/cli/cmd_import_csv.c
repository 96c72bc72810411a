/* cmd_import_csv.c - `millrace import FILE --table T`: the rows of a CSV file into a table.
 *
 * How the file begins says what its columns are (data/csv_guess.h); what was found out is shown,
 * and options overrule it. Then the file goes to the node in pieces that end where a row ends, one
 * request each (POST /v1/import). What the node has acknowledged is noted (import_state.h), so that
 * an import that was cut goes on there. A piece that is sent twice does no harm, since rows are
 * upserts. The file may be gzip (zlib reads plain ones as they are). */
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/timetext.h"
#include "cli/api.h"
#include "cli/import_state.h"
#include "data/csv_guess.h"
#include "data/schema.h"
#include "os/os.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum {
    PIECE_BYTES = 4 * 1024 * 1024,
    TRIES_MAX = 6,  /* of one piece: a kept connection may be closed, memory be short … */
    PAUSE_MS = 100, /* … before the second one, then twice as long each time */
    SHOWN_MAX = 5,  /* refused rows on the terminal */
};

struct names {
    struct str *items; /* in the load's arena, or the option's text */
    size_t count;
};

struct load {
    const struct cli_args *args;
    const char *path, *table;
    struct arena arena, scratch;
    struct csv_guess guess;
    struct names columns, labels; /* as --columns and --labels give them */
    const char **names;           /* of the columns, as the table will have them */
    char device_name[256], start[TIME_TEXT_BYTES];
    struct buf query; /* all that is the same for each piece */
    gzFile file;
    uint64_t file_bytes;
    struct buf text; /* read and not yet acknowledged */
    bool is_end;     /* nothing follows it in the file */
    struct csv_reader reader;
    struct import_reached reached;
    char state[IMPORT_STATE_PATH_BYTES]; /* its file; "" = none (standard input) */
    FILE *errors;
    struct client *client;
    struct os *os;
    int64_t begun_ns;
    uint64_t begun_offset, begun_rows;
    uint64_t shown;
};

/* ---- the file ---- */

/* Reads on until `want` bytes are there, or all. False after printing why. */
static bool fill(struct load *load, size_t want)
{
    while (!load->is_end && load->text.size < want) {
        if (!buf_reserve(&load->text, 256 * 1024)) break;
        int got = gzread(load->file, load->text.at + load->text.size, 256 * 1024);
        int code = Z_OK;
        const char *message = got < 0 ? gzerror(load->file, &code) : "";
        if (got < 0) {
            cli_fail(load->args, CLI_FAILED, "%s: %s", load->path,
                     code == Z_ERRNO ? strerror(errno) : message);
            return false;
        }
        load->text.size += (size_t)got;
        load->is_end = got == 0;
    }
    if (!buf_failed(&load->text)) return true;
    cli_fail(load->args, CLI_FAILED, "out of memory");
    return false;
}

static bool open_file(struct load *load)
{
    struct stat info;
    bool is_stdin = strcmp(load->path, "-") == 0;
    load->file = is_stdin ? gzdopen(STDIN_FILENO, "rb") : gzopen(load->path, "rb");
    if (!load->file) {
        cli_fail(load->args, CLI_USAGE, "%s: %s", load->path, strerror(errno));
        return false;
    }
    (void)gzbuffer(load->file, 256 * 1024); /* it keeps its own size otherwise */
    if (!is_stdin && stat(load->path, &info) == 0) {
        load->file_bytes = (uint64_t)info.st_size;
        time_format((int64_t)info.st_mtime * TIME_NS_PER_S, load->start);
    }
    return fill(load, CSV_GUESS_BYTES);
}

/* ---- what the columns become ---- */

static const char *option(const struct load *load, const char *name)
{
    const char *value = cli_value(load->args, name);
    return value ? value : "";
}

static bool read_hints(struct load *load, struct csv_hints *hints)
{
    const char *delimiter = option(load, "--delimiter");
    *hints = (struct csv_hints){
        .decimal_comma = strcmp(option(load, "--decimal"), "comma") == 0,
        .no_header = cli_value(load->args, "--columns") != NULL,
        .time = str_of(option(load, "--time")),
        .time_format = str_of(option(load, "--time-format")),
        .device = str_of(option(load, "--device")),
    };
    hints->delimiter = strcmp(delimiter, "tab") == 0     ? '\t'
                       : strcmp(delimiter, "space") == 0 ? ' '
                                                         : delimiter[0];
    return strlen(delimiter) < 2 || hints->delimiter == '\t' || hints->delimiter == ' ';
}

/* A list of names, which is a row of CSV, so that names may hold commas. False: it is none. */
static bool read_names(struct load *load, const char *text, struct names *names)
{
    size_t used;
    struct csv_reader *row = mem_alloc_zero(1, sizeof *row);
    *names = (struct names){0};
    if (!row) return false;
    row->format = CSV_COMMA;
    bool is_good =
        !*text || (csv_read(row, str_of(text), true, &load->arena, &used, NULL) == ERR_OK &&
                   used == strlen(text));
    size_t count = is_good && *text ? row->field_count : 0;
    names->items = arena_zero(&load->arena, count + 1, sizeof *names->items);
    for (size_t i = 0; i < count && names->items; i++)
        names->items[names->count++] = str_trim(row->fields[i].text);
    mem_free(row);
    return is_good && names->items;
}

/* --columns A,B,…: what the columns of a file without header are called. */
static bool take_columns(struct load *load)
{
    bool fits = load->columns.count == load->guess.column_count;
    for (size_t i = 0; i < load->guess.column_count && fits; i++) {
        struct str name = load->columns.items[i];
        load->guess.columns[i].name = arena_strdup(&load->arena, name.at, name.size);
        fits = load->guess.columns[i].name != NULL;
    }
    return fits;
}

/* What a column's name must not hold becomes '_'; reserved and double ones get one behind. */
static const char *clean_name(struct load *load, size_t at)
{
    const char *name = load->guess.columns[at].name;
    char *out = arena_alloc(&load->arena, strlen(name) + 16);
    if (!out) return NULL;
    size_t size = strlen(name);
    memcpy(out, name, size + 1);
    if (!size || (int)at == load->guess.time || (int)at == load->guess.device) return out;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)out[i] < ' ' || strchr("/+#\"", out[i]) || out[i] == 127) out[i] = '_';
    for (int tries = 0; tries < 8; tries++) {
        bool is_double = schema_check_name(str_of(out), "column", NULL) != ERR_OK;
        for (size_t i = 0; i < at; i++) is_double |= strcmp(load->names[i], out) == 0;
        if (!is_double) break;
        out[size++] = '_';
        out[size] = 0;
    }
    return out;
}

static bool has_label(const struct load *load, const char *name)
{
    if (str_starts(str_of(name), "label.")) return true;
    for (size_t i = 0; i < load->labels.count; i++)
        if (str_is(load->labels.items[i], name)) return true;
    return false;
}

/* "file.csv.gz" → "file" */
static void name_device(struct load *load)
{
    const char *slash = strrchr(load->path, '/'), *base = slash ? slash + 1 : load->path;
    const char *given = cli_value(load->args, "--device-name");
    if (given) {
        snprintf(load->device_name, sizeof load->device_name, "%s", given);
    } else if (load->guess.device < 0) {
        snprintf(load->device_name, sizeof load->device_name, "%.*s",
                 strcmp(base, "-") == 0 ? 6 : (int)strcspn(base, "."),
                 strcmp(base, "-") == 0 ? "import" : base);
    }
}

static const char *use_of(const struct load *load, size_t i)
{
    bool has_step = cli_value(load->args, "--step") != NULL;
    if (!load->names[i][0]) return "(left out)";
    if ((int)i == load->guess.time && !has_step) return "time";
    if ((int)i == load->guess.device) return "device";
    return has_label(load, load->names[i]) ? "label" : "column";
}

static void print_mapping(const struct load *load, FILE *to)
{
    const struct csv_guess *g = &load->guess;
    char delimiter[] = {g->format.delimiter, 0};
    fprintf(to, "%s: delimiter %s, %s header, looked at %llu rows%s\n", load->path,
            g->format.delimiter == '\t'  ? "tab"
            : g->format.delimiter == ' ' ? "space"
                                         : delimiter,
            g->has_header ? "a" : "no", (unsigned long long)g->rows,
            g->is_all && g->rows < CSV_GUESS_ROWS_MAX ? " (all)" : "");
    fprintf(to, "%-28s %-10s %-24s %-10s %s\n", "COLUMN", "BECOMES", "AS", "MISSING", "SUCH AS");
    for (size_t i = 0; i < g->column_count; i++) {
        const struct csv_guess_column *c = &g->columns[i];
        const char *use = use_of(load, i);
        bool is_column = strcmp(use, "column") == 0;
        fprintf(to, "%-28s %-10s %-24s %-10llu %s\n", is_column ? load->names[i] : c->name, use,
                strcmp(use, "time") == 0 ? g->time_format
                : is_column              ? type_name(c->type)
                                         : "",
                (unsigned long long)c->missing, c->sample);
    }
    if (load->device_name[0])
        fprintf(to, "device: %s%s\n", load->device_name, g->device >= 0 ? "/…" : "");
    if (cli_value(load->args, "--step"))
        fprintf(to, "time: from %s on, each row %s later\n",
                cli_value(load->args, "--start") ? option(load, "--start") : load->start,
                option(load, "--step"));
}

/* ---- the request ---- */

static void add_param(struct load *load, const char *name, const char *value)
{
    if (!value || !value[0]) return;
    buf_printf(&load->query, "%s%s=", load->query.size ? "&" : "/v1/import?", name);
    api_add_segment(&load->query, value);
}

/* Lists are rows of CSV; --types comes first, since the first entry of a column counts. */
static void add_lists(struct load *load)
{
    const struct csv_guess *g = &load->guess;
    struct buf columns = BUF_EMPTY, types = BUF_EMPTY, entry = BUF_EMPTY;
    buf_add_text(&types, option(load, "--types"));
    for (size_t i = 0; i < g->column_count; i++) {
        bool is_row = (int)i == g->time || (int)i == g->device;
        if (i) buf_add_char(&columns, ',');
        csv_add(&columns, CSV_COMMA, str_of(load->names[i]), false);
        if (!load->names[i][0] || (is_row && strcmp(use_of(load, i), "column") != 0)) continue;
        buf_clear(&entry);
        buf_printf(&entry, "%s:%s", load->names[i], type_name(g->columns[i].type));
        if (types.size) buf_add_char(&types, ',');
        csv_add(&types, CSV_COMMA, buf_str(&entry), false);
    }
    add_param(load, "columns", buf_cstr(&columns));
    add_param(load, "types", buf_cstr(&types));
    if (buf_failed(&columns) || buf_failed(&types)) load->query.failed = true;
    buf_free(&columns);
    buf_free(&types);
    buf_free(&entry);
}

static void make_query(struct load *load)
{
    const struct csv_guess *g = &load->guess;
    char delimiter[] = {g->format.delimiter, 0};
    bool has_step = cli_value(load->args, "--step") != NULL;
    add_param(load, "table", load->table);
    add_param(load, "ns", cli_value(load->args, "-n"));
    add_param(load, "delimiter",
              g->format.delimiter == '\t'  ? "tab"
              : g->format.delimiter == ' ' ? "space"
                                           : delimiter);
    add_param(load, "decimal", cli_value(load->args, "--decimal"));
    add_param(load, "zone", cli_value(load->args, "--zone"));
    add_param(load, "labels", cli_value(load->args, "--labels"));
    add_param(load, "device_name", load->device_name);
    if (g->device >= 0) add_param(load, "device", load->names[g->device]);
    if (!has_step && g->time >= 0) {
        add_param(load, "time", load->names[g->time]);
        add_param(load, "time_format", g->time_format);
    }
    if (has_step) {
        const char *start = cli_value(load->args, "--start");
        add_param(load, "start", start ? start : load->start);
        add_param(load, "step", cli_value(load->args, "--step"));
    }
    add_param(load, "errors", "1000");
    add_lists(load);
}

/* ---- where it stopped ---- */

static void find_state(struct load *load)
{
    struct stat info;
    struct buf key = BUF_EMPTY;
    if (strcmp(load->path, "-") == 0 || stat(load->path, &info)) return;
    buf_add_str(&key, buf_str(&load->query));
    buf_printf(&key, " %s %s %lld %lld %016llx", client_server(load->client), load->path,
               (long long)info.st_size, (long long)info.st_mtime,
               (unsigned long long)hash_64(load->text.at, load->text.size));
    if (!buf_failed(&key)) import_state_path(load->state, buf_str(&key));
    buf_free(&key);
}

/* Passes over what is stored already, or over the header. */
static bool go_on(struct load *load)
{
    struct import_reached from = {.offset = load->guess.header_bytes,
                                  .line = load->guess.header_lines + 1};
    struct import_reached old = {0};
    find_state(load);
    if (!cli_value(load->args, "--restart") && import_state_read(load->state, &old)) {
        from = old;
        fprintf(stderr, "going on at line %llu (--restart begins anew)\n",
                (unsigned long long)from.line);
    }
    load->reached = from;
    for (uint64_t left = from.offset; left;) {
        if (load->text.size == 0 && !fill(load, 1)) return false;
        size_t step = load->text.size < left ? load->text.size : (size_t)left;
        if (step == 0) break;
        buf_drop_front(&load->text, step);
        left -= step;
    }
    load->reader.format = load->guess.format;
    load->reader.next_line = from.line;
    load->begun_offset = from.offset;
    load->begun_rows = from.rows;
    return true;
}

/* ---- answers ---- */

static void tell_refused(struct load *load, const struct doc *error)
{
    struct str line = doc_text(doc_get(error, "line")), column = doc_text(doc_get(error, "column"));
    struct str text = doc_text(doc_get(error, "text")), why = doc_text(doc_get(error, "message"));
    const struct doc *number = doc_get(error, "line");
    if (number) line = number->text;
    if (load->shown++ < SHOWN_MAX)
        fprintf(stderr, "line %.*s%s%.*s: %.*s\n", (int)line.size, line.at,
                column.size ? ", column " : "", (int)column.size, column.at, (int)why.size, why.at);
    if (!load->errors) return;
    struct buf out = BUF_EMPTY;
    const struct str fields[] = {line, column, text, why};
    for (size_t i = 0; i < 4; i++) {
        if (i) buf_add_char(&out, ',');
        csv_add(&out, CSV_COMMA, fields[i], false);
    }
    fprintf(load->errors, "%.*s\n", (int)out.size, out.at);
    buf_free(&out);
}

/* An answer with "rows" in it is one about rows. */
static bool take_answer(struct load *load, const struct client_answer *answer)
{
    struct arena arena;
    struct doc *doc = NULL;
    uint64_t rows = 0, refused = 0;
    arena_init(&arena, NULL);
    bool is_good = doc_read_json(buf_str(&answer->body), &arena, &doc, NULL) == ERR_OK &&
                   doc_get(doc, "rows") && num_parse_u64(doc_get(doc, "rows")->text, &rows) &&
                   doc_get(doc, "refused") &&
                   num_parse_u64(doc_get(doc, "refused")->text, &refused);
    const struct doc *errors = is_good ? doc_get(doc, "errors") : NULL;
    for (size_t i = 0; errors && i < errors->count; i++) tell_refused(load, errors->items[i].value);
    const struct doc *widened = is_good ? doc_get(doc, "widened") : NULL;
    for (size_t i = 0; widened && i < widened->count; i++)
        fprintf(stderr, "column %.*s holds fractions further on: it is double now\n",
                (int)widened->items[i].value->text.size, widened->items[i].value->text.at);
    load->reached.rows += rows;
    load->reached.refused += refused;
    arena_free(&arena);
    return is_good;
}

/* Whether trying again may help: the node starts, or has no memory at the moment. */
static bool is_passing(enum err err, int status)
{
    return err ? err != ERR_NO_MEMORY && err != ERR_TLS : status == 503 || status == 429;
}

static bool send_piece(struct load *load, size_t size)
{
    struct buf target = BUF_EMPTY;
    bool done = false;
    char message[1024] = "";
    buf_add_str(&target, buf_str(&load->query));
    buf_printf(&target, "&first_line=%llu&first_row=%llu", (unsigned long long)load->reached.line,
               (unsigned long long)load->reached.row);
    for (int tries = 0; tries < TRIES_MAX && !done; tries++) {
        struct client_answer answer = {0};
        struct why why = WHY_NONE;
        enum err err = client_request(load->client, "POST", buf_cstr(&target), "application/json",
                                      "text/csv", (struct str){load->text.at, size}, &answer, &why);
        done = !err && (answer.status == 200 || answer.status == 400) && take_answer(load, &answer);
        if (!done && !err) client_error_text(&answer, message, sizeof message);
        if (!done && err) snprintf(message, sizeof message, "%s", why_text(&why, err));
        bool again = is_passing(err, answer.status);
        client_answer_free(&answer);
        if (!done && !again) break;
        if (!done && tries + 1 < TRIES_MAX) cli_pause(PAUSE_MS << tries);
    }
    buf_free(&target);
    if (!done)
        cli_fail(load->args, CLI_FAILED, "from line %llu on: %s%s",
                 (unsigned long long)load->reached.line, message,
                 load->state[0] ? "; the same command goes on there" : "");
    return done;
}

/* ---- pieces ---- */

/* Rows up to the size of a piece, or the end of what has been read. */
static enum err measure_piece(struct load *load, size_t *size, uint64_t *rows)
{
    *size = 0;
    *rows = 0;
    while (*size < PIECE_BYTES && *size < load->text.size) {
        size_t used;
        struct str rest = {load->text.at + *size, load->text.size - *size};
        enum err err = csv_read(&load->reader, rest, load->is_end, &load->scratch, &used, NULL);
        if (err == ERR_NO_MEMORY) return err;
        if (used == 0) break;
        *rows += err || !csv_is_blank(&load->reader);
        *size += used;
    }
    arena_reset(&load->scratch);
    return ERR_OK;
}

static void show_progress(const struct load *load, bool is_last)
{
    const struct import_reached *r = &load->reached;
    bool is_terminal = isatty(STDERR_FILENO);
    double seconds = (double)(load->os->ops->mono_ns(load->os) - load->begun_ns) / 1e9;
    double speed = seconds > 0 ? (double)(r->rows - load->begun_rows) / seconds : 0;
    double part = load->file_bytes ? (double)gzoffset(load->file) / (double)load->file_bytes : 0;
    if (is_last) part = 1;
    if (!is_terminal && !is_last) return;
    fprintf(stderr, "%s%3.0f %%  %llu rows  %llu refused  %.0f rows/s",
            is_terminal ? "\r\033[K" : "", part * 100, (unsigned long long)r->rows,
            (unsigned long long)r->refused, speed);
    if (part > 0.01 && part < 1 && load->begun_offset < r->offset)
        fprintf(stderr, "  %.0f s left", seconds * (1 - part) / part);
    if (is_last || !is_terminal) fputc('\n', stderr);
}

static bool send_all(struct load *load)
{
    uint64_t refused_max = UINT64_MAX;
    const char *most = cli_value(load->args, "--max-errors");
    if (most && !num_parse_u64(str_of(most), &refused_max)) {
        cli_fail(load->args, CLI_USAGE, "--max-errors %s: must be a whole number", most);
        return false;
    }
    for (;;) {
        size_t size;
        uint64_t rows, line = load->reader.next_line;
        if (!fill(load, PIECE_BYTES + CSV_ROW_BYTES_MAX + 2)) return false;
        if (load->text.size == 0) return true;
        if (measure_piece(load, &size, &rows) || size == 0) {
            cli_fail(load->args, CLI_FAILED, "line %llu: out of memory", (unsigned long long)line);
            return false;
        }
        if (!send_piece(load, size)) return false;
        buf_drop_front(&load->text, size);
        load->reached.offset += size;
        load->reached.row += rows;
        load->reached.line = load->reader.next_line;
        import_state_write(load->state, &load->reached);
        show_progress(load, false);
        if (load->reached.refused > refused_max) {
            cli_fail(load->args, CLI_FAILED, "more than %s rows refused; stopped", most);
            return false;
        }
    }
}

static void print_result(const struct load *load, bool done)
{
    struct buf table = BUF_EMPTY;
    buf_add_json(&table, str_of(load->table));
    printf("{\"table\":%s,\"done\":%s,\"rows\":%llu,\"refused\":%llu}\n", buf_cstr(&table),
           done ? "true" : "false", (unsigned long long)load->reached.rows,
           (unsigned long long)load->reached.refused);
    buf_free(&table);
}

static int finish(struct load *load, bool done)
{
    const struct import_reached *r = &load->reached;
    if (done) import_state_remove(load->state); /* nothing to go on with */
    if (done) show_progress(load, true);
    if (r->refused > SHOWN_MAX && !load->errors)
        fprintf(stderr, "--errors FILE writes down all refused rows\n");
    if (cli_value(load->args, "--json")) print_result(load, done);
    return done && !r->refused ? CLI_OK : CLI_FAILED;
}

/* The name of a column in --columns as the guess calls it: "c3". */
static struct str by_number(struct load *load, struct str name)
{
    for (size_t i = 0; name.size && load->columns.items && i < load->columns.count; i++)
        if (str_equal(load->columns.items[i], name))
            return str_of(arena_printf(&load->arena, "c%zu", i + 1));
    return name; /* no such column: the guess says so */
}

static bool plan(struct load *load)
{
    struct csv_hints hints;
    struct why why = WHY_NONE;
    const char *columns = cli_value(load->args, "--columns");
    bool has_step = cli_value(load->args, "--step") != NULL;
    enum err err = ERR_OK;
    if (!read_hints(load, &hints))
        err = why_set(&why, ERR_INVALID, "--delimiter: one character, tab or space");
    if (!err && (!read_names(load, option(load, "--columns"), &load->columns) ||
                 !read_names(load, option(load, "--labels"), &load->labels)))
        err = why_set(&why, ERR_INVALID, "--columns and --labels are lists, such as a,\"b,c\",d");
    hints.time = by_number(load, hints.time);
    hints.device = by_number(load, hints.device);
    if (!err)
        err =
            csv_guess(buf_str(&load->text), load->is_end, &hints, &load->arena, &load->guess, &why);
    if (!err && columns && !take_columns(load))
        err = why_set(&why, ERR_INVALID, "--columns: the file has %zu columns",
                      load->guess.column_count);
    struct csv_guess *g = &load->guess;
    load->names = arena_zero(&load->arena, g->column_count + 1, sizeof *load->names);
    for (size_t i = 0; !err && load->names && i < g->column_count; i++)
        if (!(load->names[i] = clean_name(load, i))) err = ERR_NO_MEMORY;
    if (!err && !load->names) err = ERR_NO_MEMORY;
    if (err) {
        cli_fail(load->args, CLI_USAGE, "%s: %s", load->path, why_text(&why, err));
        return false;
    }
    name_device(load);
    print_mapping(load, stderr);
    if (g->time >= 0 || has_step) return true;
    cli_fail(load->args, CLI_USAGE,
             "no column is the time: name it with --time (and --time-format), or number the rows "
             "with --step 1s [--start TIME]");
    return false;
}

static int run(struct load *load)
{
    const char *errors = cli_value(load->args, "--errors");
    if (!open_file(load) || !plan(load)) return CLI_USAGE;
    if (cli_value(load->args, "--dry-run")) return CLI_OK;
    make_query(load);
    if (buf_failed(&load->query)) return cli_fail(load->args, CLI_FAILED, "out of memory");
    load->client = client_open(load->args);
    if (!load->client || !go_on(load)) return CLI_FAILED;
    load->errors = errors ? fopen(errors, load->reached.rows ? "a" : "w") : NULL;
    if (errors && !load->errors)
        return cli_fail(load->args, CLI_USAGE, "%s: %s", errors, strerror(errno));
    if (load->errors && !load->reached.rows) fputs("line,column,text,reason\n", load->errors);
    load->begun_ns = load->os->ops->mono_ns(load->os);
    return finish(load, send_all(load));
}

int cli_import_csv(const struct cli_args *args)
{
    struct load *load = mem_alloc_zero(1, sizeof *load);
    if (!load || args->word_count != 1 || !cli_value(args, "--table")) {
        mem_free(load);
        return cli_fail(args, CLI_USAGE, "usage: millrace import %s", args->command->synopsis);
    }
    load->args = args;
    load->path = args->words[0];
    load->table = cli_value(args, "--table");
    load->os = os_real_new();
    arena_init(&load->arena, NULL);
    arena_init(&load->scratch, NULL);
    int code = load->os ? run(load) : cli_fail(args, CLI_FAILED, "out of memory");
    if (load->file) (void)gzclose(load->file);
    if (load->errors) (void)fclose(load->errors);
    client_close(load->client);
    if (load->os) os_real_free(load->os);
    buf_free(&load->query);
    buf_free(&load->text);
    arena_free(&load->scratch);
    arena_free(&load->arena);
    mem_free(load);
    return code;
}
