/* csv.c - see csv.h. */
#include "data/csv.h"
#include "base/simd.h"
#include <string.h>

/* One row being read. */
struct row {
    struct csv_reader *reader;
    struct str bytes;
    size_t at;
    bool is_cut; /* the bytes ended inside quotes */
};

static enum err add_field(struct csv_reader *r, struct str text, bool is_quoted, struct why *why)
{
    if (r->format.joins_delimiters && !text.size && !is_quoted) return ERR_OK;
    if (r->field_count == CSV_FIELDS_MAX)
        return why_set(why, ERR_LIMIT, "the row has more than %d fields", CSV_FIELDS_MAX);
    r->fields[r->field_count++] = (struct csv_field){text, is_quoted};
    return ERR_OK;
}

/* ---- the search ---- */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (uint8_t)(byte))

/* 0x80 in every byte of `v` that is zero, exactly (no carry reaches a neighbour). */
static inline uint64_t zero_bytes(uint64_t v)
{
    const uint64_t low = EACH(0x7f);
    return ~(((v & low) + low) | v | low);
}

static inline bool ends_field(struct csv_format f, char c)
{
    return c == f.delimiter || c == f.quote || c == '\n' || c == '\r';
}

/* The next byte from `at` on that ends a plain field or opens quotes, or the size. LF and CR are
 * looked for as bytes below 16, one test for both; what else is down there is passed over. */
static inline size_t find_end(struct csv_format f, struct str bytes, size_t at)
{
    const uint64_t delimiters = EACH(f.delimiter), quotes = EACH(f.quote);
    for (; at + 8 <= bytes.size; at += 8) {
        uint64_t v;
        memcpy(&v, bytes.at + at, sizeof v);
        v = simd_le64(v);
        uint64_t hits =
            zero_bytes(v ^ delimiters) | zero_bytes(v ^ quotes) | zero_bytes(v & EACH(0xf0));
        for (; hits; hits &= hits - 1) {
            size_t found = at + ((unsigned)__builtin_ctzll(hits) >> 3);
            if (ends_field(f, bytes.at[found])) return found;
        }
    }
    while (at < bytes.size && !ends_field(f, bytes.at[at])) at++;
    return at;
}

/* ---- quotes ---- */

static inline bool is_escape(const struct row *row, size_t i, size_t end)
{
    struct csv_format f = row->reader->format;
    const char *b = row->bytes.at;
    return b[i] == f.escape && i + 1 < end && (b[i + 1] == f.quote || b[i + 1] == f.escape);
}

/* Where a field with quotes in it ends; what it needs to be made plain. */
struct extent {
    size_t end;
    size_t marks; /* quotes and escapes that go */
    uint64_t lines;
};

static bool measure(struct row *row, size_t from, struct extent *extent)
{
    struct csv_format f = row->reader->format;
    struct str b = row->bytes;
    bool inside = false;
    size_t i = from, limit = b.size - from > CSV_ROW_BYTES_MAX ? from + CSV_ROW_BYTES_MAX : b.size;
    *extent = (struct extent){0};
    for (; i < limit; i++) {
        char c = b.at[i];
        if (inside && is_escape(row, i, b.size)) {
            i++;
            extent->marks++;
        } else if (c == f.quote) {
            inside = !inside;
            extent->marks++;
        } else if (!inside && (c == f.delimiter || c == '\n' || c == '\r')) {
            break;
        } else {
            extent->lines += c == '\n';
        }
    }
    extent->end = i;
    row->is_cut = i >= limit && inside;
    return !row->is_cut;
}

/* A field with quotes, from its first byte on. What stands before and behind the quotes belongs to
 * it, as PostgreSQL reads it. */
static enum err take_quoted(struct row *row, size_t from, struct arena *arena, struct why *why)
{
    struct csv_reader *r = row->reader;
    struct str b = row->bytes;
    struct extent extent;
    if (!measure(row, from, &extent)) return ERR_OK;
    size_t end = extent.end, size = 0;
    r->next_line += extent.lines;
    row->at = end;
    bool is_whole =
        extent.marks == 2 && b.at[from] == r->format.quote && b.at[end - 1] == r->format.quote;
    if (is_whole) return add_field(r, (struct str){b.at + from + 1, end - from - 2}, true, why);
    char *out = arena_alloc(arena, end - from + 1);
    if (!out) return ERR_NO_MEMORY;
    bool inside = false;
    for (size_t i = from; i < end; i++) {
        if (inside && is_escape(row, i, end))
            out[size++] = b.at[++i];
        else if (b.at[i] == r->format.quote)
            inside = !inside;
        else
            out[size++] = b.at[i];
    }
    MUST(size <= end - from);
    return add_field(r, (struct str){out, size}, true, why);
}

/* ---- rows ---- */

/* Fields up to the end of the line or of the bytes. */
static enum err take_fields(struct row *row, struct arena *arena, struct why *why)
{
    struct csv_reader *r = row->reader;
    struct str b = row->bytes;
    for (;;) {
        size_t from = row->at;
        enum err err;
        row->at = find_end(r->format, b, from);
        if (row->at < b.size && b.at[row->at] == r->format.quote)
            err = take_quoted(row, from, arena, why);
        else
            err = add_field(r, (struct str){b.at + from, row->at - from}, false, why);
        if (err || row->is_cut) return err;
        if (row->at == b.size || b.at[row->at] != r->format.delimiter) return ERR_OK;
        row->at++;
    }
}

/* A row that is wrong: the first of its lines is given up. 0: its end has not come. */
static size_t skip_line(struct str bytes, bool is_all)
{
    size_t end = 0;
    while (end < bytes.size && bytes.at[end] != '\n' && bytes.at[end] != '\r') end++;
    if (end + 1 < bytes.size) return end + 1 + (bytes.at[end] == '\r' && bytes.at[end + 1] == '\n');
    bool is_line = end < bytes.size && bytes.at[end] == '\n';
    return is_line || is_all || bytes.size > CSV_ROW_BYTES_MAX ? bytes.size : 0;
}

static struct str skip_mark(struct csv_reader *r, struct str bytes, bool is_all, size_t *mark)
{
    *mark = 0;
    if (r->next_line) return bytes;
    bool may_be = bytes.size < 3 && memcmp(bytes.at, "\xEF\xBB\xBF", bytes.size) == 0;
    if (may_be && !is_all) return (struct str){bytes.at, 0};
    *mark = str_starts(bytes, "\xEF\xBB\xBF") ? 3 : 0;
    return (struct str){bytes.at + *mark, bytes.size - *mark};
}

enum err csv_read(struct csv_reader *r, struct str bytes, bool is_all, struct arena *arena,
                  size_t *used, struct why *why)
{
    MUST(r->format.delimiter != r->format.quote && r->format.delimiter != '\n');
    size_t mark = 0;
    *used = 0;
    r->field_count = 0;
    if (bytes.size == 0) return ERR_OK;
    bytes = skip_mark(r, bytes, is_all, &mark);
    if (bytes.size == 0) {
        *used = is_all ? mark : 0; /* a mark and nothing else: no row */
        return ERR_OK;
    }
    uint64_t before = r->next_line;
    struct row row = {.reader = r, .bytes = bytes};
    if (r->next_line == 0) r->next_line = 1;
    r->line = r->next_line;
    enum err err = take_fields(&row, arena, why);
    if (err == ERR_NO_MEMORY) {
        r->field_count = 0;
        r->next_line = before;
        return err;
    }
    /* A carriage return at the end may be half of a line end. */
    bool is_open = row.is_cut || row.at == bytes.size ||
                   (bytes.at[row.at] == '\r' && row.at + 1 == bytes.size);
    bool is_long = bytes.size > CSV_ROW_BYTES_MAX && (row.is_cut || row.at > CSV_ROW_BYTES_MAX);
    if (!err && is_long)
        err = why_set(why, ERR_LIMIT, "the row has more than %d bytes%s", CSV_ROW_BYTES_MAX,
                      row.is_cut ? "; is a quote missing?" : "");
    else if (!err && row.is_cut && is_all)
        err = why_set(why, ERR_INVALID, "unterminated CSV quoted field");
    if (err) {
        size_t skipped = skip_line(bytes, is_all);
        *used = skipped ? skipped + mark : 0;
        r->field_count = 0;
        r->next_line = skipped ? r->line + 1 : before;
        return err;
    }
    if (is_open && !is_all) {
        r->field_count = 0;
        r->next_line = before;
        return ERR_OK;
    }
    size_t end = row.at;
    if (end < bytes.size && bytes.at[end] == '\r') end++;
    if (end < bytes.size && bytes.at[end] == '\n' && (end == row.at || bytes.at[row.at] == '\r'))
        end++;
    *used = mark + end;
    r->next_line++;
    MUST(end > 0 && end <= bytes.size);
    return ERR_OK;
}

bool csv_is_missing(struct str text)
{
    static const char *const words[] = {"null", "na", "n/a", "nan", "\\n"};
    if (text.size == 0) return true;
    if (text.size > 4 || (text.at[0] != 'N' && text.at[0] != 'n' && text.at[0] != '\\'))
        return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (str_is_nocase(text, words[i])) return true;
    return false;
}

void csv_add(struct buf *out, struct csv_format format, struct str text, bool must_quote)
{
    MUST(format.quote && format.escape);
    bool quote = must_quote || find_end(format, text, 0) < text.size;
    if (!quote) {
        buf_add_str(out, text);
        return;
    }
    buf_add_char(out, format.quote);
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] == format.quote || text.at[i] == format.escape)
            buf_add_char(out, format.escape);
        buf_add_char(out, text.at[i]);
    }
    buf_add_char(out, format.quote);
}
