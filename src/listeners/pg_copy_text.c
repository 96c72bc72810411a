/* pg_copy_text.c - see pg_copy_text.h. */
#include "listeners/pg_copy_text.h"
#include <string.h>

const char pg_copy_signature[11] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', '\377', '\r', '\n', 0};

void pg_copy_defaults(enum pg_copy_format format, struct pg_copy_options *o)
{
    *o = (struct pg_copy_options){.format = format,
                                  .delimiter = format == PG_COPY_CSV ? ',' : '\t',
                                  .quote = '"',
                                  .escape = '"'};
    if (format == PG_COPY_TEXT) memcpy(o->null, "\\N", 3);
}

static enum err add_field(struct pg_copy_reader *r, struct str bytes, bool is_null, struct why *why)
{
    if (r->field_count == PG_COPY_FIELDS_MAX)
        return why_set(why, ERR_LIMIT, "the row has more than %d fields", PG_COPY_FIELDS_MAX);
    r->fields[r->field_count++] = (struct pg_copy_field){is_null, bytes};
    return ERR_OK;
}

/* ---- text ---- */

static int digit_of(char c, unsigned base)
{
    int v = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : 99;
    return v < (int)base ? v : -1;
}

/* What stands behind a backslash; moves `*i` to its last byte. */
static char unescape(struct str raw, size_t *i)
{
    static const char letters[] = "bfnrtv", codes[] = "\b\f\n\r\t\v";
    char c = raw.at[*i];
    const char *at = c ? strchr(letters, c) : NULL;
    if (at) return codes[at - letters];
    bool is_hex = c == 'x' && *i + 1 < raw.size && digit_of(raw.at[*i + 1], 16) >= 0;
    unsigned base = is_hex ? 16 : 8, most = is_hex ? 2 : 3, value = 0, count = 0;
    size_t from = *i + is_hex;
    while (count < most && from + count < raw.size && digit_of(raw.at[from + count], base) >= 0)
        value = value * base + (unsigned)digit_of(raw.at[from + count++], base);
    if (count == 0) return c;
    *i = from + count - 1;
    return (char)value;
}

static enum err text_field(struct pg_copy_reader *r, struct str raw, struct arena *arena,
                           struct why *why)
{
    if (str_is(raw, r->options.null)) return add_field(r, raw, true, why);
    if (!memchr(raw.at, '\\', raw.size)) return add_field(r, raw, false, why);
    char *out = arena_alloc(arena, raw.size + 1);
    size_t size = 0;
    if (!out) return ERR_NO_MEMORY;
    for (size_t i = 0; i < raw.size; i++) {
        if (raw.at[i] == '\\' && i + 1 < raw.size) {
            i++;
            out[size++] = unescape(raw, &i);
        } else {
            out[size++] = raw.at[i];
        }
    }
    return add_field(r, (struct str){out, size}, false, why);
}

/* The end of a line of text: a line feed that no backslash stands before. */
static const char *text_line_end(struct str bytes)
{
    size_t from = 0;
    for (;;) {
        const char *end = memchr(bytes.at + from, '\n', bytes.size - from);
        if (!end) return NULL;
        size_t slashes = 0;
        while (end - bytes.at > (ptrdiff_t)slashes && end[-1 - (ptrdiff_t)slashes] == '\\')
            slashes++;
        if (slashes % 2 == 0) return end;
        from = (size_t)(end - bytes.at) + 1;
    }
}

static enum err read_text(struct pg_copy_reader *r, struct str bytes, bool is_all,
                          struct arena *arena, size_t *used, bool *has_row, struct why *why)
{
    const char *end = text_line_end(bytes);
    if (!end && !is_all) return ERR_OK;
    struct str line = {bytes.at, end ? (size_t)(end - bytes.at) : bytes.size};
    *used = line.size + (end != NULL);
    if (line.size && line.at[line.size - 1] == '\r') line.size--;
    r->next_line++;
    if (str_is(line, "\\.")) {
        r->is_over = true;
        return ERR_OK;
    }
    *has_row = true;
    enum err err = ERR_OK;
    size_t from = 0;
    for (size_t i = 0; i <= line.size && !err; i++) {
        if (i < line.size && line.at[i] == '\\') {
            i++; /* the byte behind it is no delimiter */
            if (i < line.size) continue;
            i = line.size;
        }
        if (i < line.size && line.at[i] != r->options.delimiter) continue;
        err = text_field(r, (struct str){line.at + from, i - from}, arena, why);
        from = i + 1;
    }
    return err;
}

/* ---- CSV ---- */

struct csv_format pg_copy_csv_format(const struct pg_copy_options *o)
{
    return (struct csv_format){o->delimiter, o->quote, o->escape, false};
}

static enum err read_csv(struct pg_copy_reader *r, struct str bytes, bool is_all,
                         struct arena *arena, size_t *used, bool *has_row, struct why *why)
{
    struct csv_reader *csv = &r->csv;
    csv->format = pg_copy_csv_format(&r->options);
    csv->next_line = r->next_line;
    enum err err = csv_read(csv, bytes, is_all, arena, used, why);
    if (err || *used == 0) {
        *used = 0;
        return err;
    }
    r->next_line = csv->next_line;
    r->is_over =
        csv->field_count == 1 && !csv->fields[0].is_quoted && str_is(csv->fields[0].text, "\\.");
    *has_row = !r->is_over;
    for (size_t i = 0; i < csv->field_count && *has_row && !err; i++) {
        const struct csv_field *f = &csv->fields[i];
        err = add_field(r, f->text, !f->is_quoted && str_is(f->text, r->options.null), why);
    }
    return err;
}

/* ---- binary ---- */

/* The signature, the flags (none that we would have to know), and an extension to be skipped. */
static enum err begin_binary(struct pg_copy_reader *r, struct str bytes, bool is_all, size_t *used,
                             struct why *why)
{
    struct reader in = reader_of(bytes.at, bytes.size);
    struct str signature = reader_str(&in, sizeof pg_copy_signature);
    uint32_t flags = reader_be32(&in), extension = reader_be32(&in);
    reader_skip(&in, extension);
    if (!reader_ok(&in) && !is_all && extension < PG_COPY_ROW_BYTES_MAX) return ERR_OK;
    if (!reader_ok(&in) || memcmp(signature.at, pg_copy_signature, sizeof pg_copy_signature) != 0)
        return why_set(why, ERR_INVALID, "COPY file signature not recognized");
    if (flags & 0xffff0000u)
        return why_set(why, ERR_INVALID, "unrecognized critical flags in COPY file header");
    r->has_begun = true;
    *used = reader_offset(&in);
    return ERR_OK;
}

static enum err read_binary(struct pg_copy_reader *r, struct str bytes, bool is_all,
                            struct arena *arena, size_t *used, bool *has_row, struct why *why)
{
    struct reader in = reader_of(bytes.at, bytes.size);
    (void)arena;
    if (!r->has_begun) return begin_binary(r, bytes, is_all, used, why);
    if (bytes.size == 0 && is_all) return ERR_OK;
    uint16_t count = reader_be16(&in);
    if (reader_ok(&in) && count == UINT16_MAX) {
        r->is_over = true;
        *used = 2;
        return ERR_OK;
    }
    enum err err = ERR_OK;
    for (uint16_t i = 0; i < count && reader_ok(&in) && !err; i++) {
        uint32_t size = reader_be32(&in);
        bool is_null = size == UINT32_MAX;
        if (!is_null && size > PG_COPY_ROW_BYTES_MAX)
            return why_set(why, ERR_LIMIT, "a field of %u bytes; the limit is %d", size,
                           PG_COPY_ROW_BYTES_MAX);
        struct str field = is_null ? STR("") : reader_str(&in, size);
        if (reader_ok(&in)) err = add_field(r, field, is_null, why);
    }
    if (err) return err;
    if (!reader_ok(&in)) {
        r->field_count = 0;
        return is_all ? why_set(why, ERR_INVALID, "unexpected EOF in COPY data") : ERR_OK;
    }
    r->next_line++;
    *used = reader_offset(&in);
    *has_row = true;
    return ERR_OK;
}

static enum err (*const readers[])(struct pg_copy_reader *r, struct str bytes, bool is_all,
                                   struct arena *arena, size_t *used, bool *has_row,
                                   struct why *why) = {
    [PG_COPY_TEXT] = read_text, [PG_COPY_CSV] = read_csv, [PG_COPY_BINARY] = read_binary};

enum err pg_copy_read(struct pg_copy_reader *r, struct str bytes, bool is_all, struct arena *arena,
                      size_t *used, bool *has_row, struct why *why)
{
    MUST(!r->is_over);
    *used = 0;
    *has_row = false;
    r->field_count = 0;
    if (r->next_line == 0) r->next_line = 1;
    r->line = r->next_line;
    if (bytes.size == 0 && (r->options.format != PG_COPY_BINARY || !is_all)) return ERR_OK;
    enum err err = readers[r->options.format](r, bytes, is_all, arena, used, has_row, why);
    MUST(*used <= bytes.size);
    if (!err && *used == 0 && bytes.size > PG_COPY_ROW_BYTES_MAX)
        return why_set(why, ERR_LIMIT, "the row has more than %d bytes", PG_COPY_ROW_BYTES_MAX);
    return err;
}

/* ---- out ---- */

void pg_copy_add_text(const struct pg_copy_options *o, struct buf *out, struct str text)
{
    static const char special[] = "\b\f\n\r\t\v\\", letters[] = "bfnrtv\\";
    for (size_t i = 0; i < text.size; i++) {
        char c = text.at[i];
        const char *at = c ? strchr(special, c) : NULL;
        if (at || c == o->delimiter) buf_add_char(out, '\\');
        buf_add_char(out, at ? letters[at - special] : c);
    }
}
