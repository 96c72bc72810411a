/* shell_scan.c - where a statement ends in what was typed; see shell.h.
 *
 * Only what can hide a ';' is looked at: '…' and "…" (a doubled quote inside is two of them), -- up
 * to the line's end, and comments between slash and star, which nest. */
#include "cli/shell.h"
#include <string.h>

/* Passes over what begins at `at` and hides what it holds; the same place when nothing does, the
 * text's size when it does not end. */
static size_t pass_hidden(struct str text, size_t at)
{
    char c = text.at[at], next = at + 1 < text.size ? text.at[at + 1] : 0;
    if (c == '\'' || c == '"') {
        const char *end = memchr(text.at + at + 1, c, text.size - at - 1);
        return end ? (size_t)(end - text.at) + 1 : text.size;
    }
    if (c == '-' && next == '-') {
        const char *end = memchr(text.at + at, '\n', text.size - at);
        return end ? (size_t)(end - text.at) : text.size;
    }
    if (c != '/' || next != '*') return at;
    unsigned depth = 0;
    for (; at + 1 < text.size; at++) {
        bool opens = text.at[at] == '/' && text.at[at + 1] == '*';
        bool closes = text.at[at] == '*' && text.at[at + 1] == '/';
        if (!opens && !closes) continue;
        at++;
        depth = opens ? depth + 1 : depth - 1;
        if (depth == 0) return at + 1;
    }
    return text.size;
}

enum shell_found shell_scan(struct str text, size_t *end)
{
    for (size_t at = 0; at < text.size;) {
        size_t behind = pass_hidden(text, at);
        *end = at;
        if (behind == at && text.at[at] == ';') return SHELL_STATEMENT;
        if (behind == at && text.at[at] == '\\') return SHELL_COMMAND;
        at = behind == at ? at + 1 : behind;
    }
    *end = text.size;
    return SHELL_MORE;
}

bool shell_has_content(struct str text)
{
    for (size_t at = 0; at < text.size;) {
        bool is_quote = text.at[at] == '\'' || text.at[at] == '"';
        size_t behind = pass_hidden(text, at);
        if (is_quote || (behind == at && !strchr(" \t\r\n", text.at[at]))) return true;
        at = behind == at ? at + 1 : behind;
    }
    return false;
}
