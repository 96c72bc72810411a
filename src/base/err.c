/* err.c - codes, and the texts that travel with them. See err.h.
 *
 * The tables are made from ERR_TABLE, so a new error is one line there. Texts have a fixed size and
 * are cut with "..." rather than lost: an error about a lack of memory must not need any.
 * Invariant: a why's text is terminated, whatever was put into it. */
#include "base/err.h"
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *text;
    int http_status;
    const char *sqlstate;
} table[ERR_COUNT] = {
#define X(symbol, text, http, sqlstate) {#symbol, text, http, sqlstate},
    ERR_TABLE(X)
#undef X
};

static enum err known(enum err code)
{
    return (unsigned)code < ERR_COUNT ? code : ERR_INTERNAL;
}

const char *err_name(enum err code)
{
    return table[known(code)].name;
}
const char *err_text(enum err code)
{
    return table[known(code)].text;
}
int err_http_status(enum err code)
{
    return table[known(code)].http_status;
}
const char *err_sqlstate(enum err code)
{
    return table[known(code)].sqlstate;
}

enum err err_from_errno(int errnum)
{
    static const struct {
        int errnum;
        enum err code;
    } map[] = {
        {0, ERR_OK},
        {ENOMEM, ERR_NO_MEMORY},
        {ENOSPC, ERR_DISK_FULL},
        {EDQUOT, ERR_DISK_FULL},
        {ENOENT, ERR_NOT_FOUND},
        {EEXIST, ERR_EXISTS},
        {EACCES, ERR_FORBIDDEN},
        {EPERM, ERR_FORBIDDEN},
        {EROFS, ERR_READ_ONLY},
        {ETIMEDOUT, ERR_TIMEOUT},
        {ECONNREFUSED, ERR_CONNECT},
        {EHOSTUNREACH, ERR_CONNECT},
        {ENETUNREACH, ERR_CONNECT},
        {ECONNRESET, ERR_CLOSED},
        {EPIPE, ERR_CLOSED},
        {ECANCELED, ERR_CANCELLED},
        {EADDRINUSE, ERR_ADDRESS_IN_USE},
        {EMFILE, ERR_LIMIT},
        {ENFILE, ERR_LIMIT},
        {EINVAL, ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof map / sizeof map[0]; i++)
        if (map[i].errnum == errnum) return map[i].code;
    return ERR_IO;
}

static void write_text(struct why *why, const char *format, va_list args)
{
    int n = vsnprintf(why->text, sizeof why->text, format, args);
    if (n >= (int)sizeof why->text) memcpy(why->text + sizeof why->text - 4, "...", 4);
}

enum err why_set(struct why *why, enum err code, const char *format, ...)
{
    if (!why) return code;
    va_list args;
    va_start(args, format);
    write_text(why, format, args);
    va_end(args);
    why->position = -1;
    return code;
}

enum err why_at(struct why *why, enum err code, int32_t position, const char *format, ...)
{
    if (!why) return code;
    va_list args;
    va_start(args, format);
    write_text(why, format, args);
    va_end(args);
    why->position = position;
    return code;
}

enum err why_wrap(struct why *why, enum err code, const char *format, ...)
{
    if (!why) return code;
    char old[WHY_TEXT_BYTES], front[WHY_TEXT_BYTES];
    MUST(memchr(why->text, 0, sizeof why->text));
    memcpy(old, why_text(why, code), strlen(why_text(why, code)) + 1);
    va_list args;
    va_start(args, format);
    vsnprintf(front, sizeof front, format, args);
    va_end(args);
    size_t front_size = strlen(front), room = sizeof why->text - 1;
    if (front_size + 2 > room) front_size = room - 2;
    MUST(front_size + 2 <= room);
    memcpy(why->text, front, front_size);
    memcpy(why->text + front_size, ": ", 2);
    size_t left = room - front_size - 2, old_size = strlen(old);
    bool cut = old_size > left;
    memcpy(why->text + front_size + 2, old, cut ? left : old_size);
    why->text[front_size + 2 + (cut ? left : old_size)] = 0;
    if (cut) memcpy(why->text + room - 3, "...", 4);
    return code;
}

const char *why_text(const struct why *why, enum err code)
{
    return why && why->text[0] ? why->text : err_text(code);
}

void must_fail(const char *file, int line, const char *claim)
{
    fprintf(stderr, "millrace: %s:%d: broken invariant: %s\n", file, line, claim);
    abort();
}
