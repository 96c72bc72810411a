/* cursor.c - where a sink is, kept so that it survives kill -9 and a power cut: see sinks.h.
 *
 * The file is text, for who has to look:
 *   millrace-cursor 1 / position N / upTo N / time N / device PATH / crc N
 * The checksum covers all lines before it; the path is last of these because it may hold anything
 * but a line break. */
#include "base/hash.h"
#include "base/num.h"
#include "sinks/sinks_priv.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char component[] = "sinks";

enum { PATH_BYTES = 4096 };
#define CURSOR_HEAD "millrace-cursor 1\n"

static void path_of(const struct sink *s, char path[PATH_BYTES], const char *ending)
{
    int n = snprintf(path, PATH_BYTES, "%s/%s%s", s->sinks->folder, s->document->uid, ending);
    MUST(n > 0 && n < PATH_BYTES);
}

/* "device PATH\ncrc N\n" behind the numbers. */
static bool take_rest(struct str text, struct str rest, struct store_place *place)
{
    static const char lead[] = "device ";
    uint64_t crc;
    if (!str_starts(rest, lead)) return false;
    struct str path = {rest.at + sizeof lead - 1, rest.size - (sizeof lead - 1)};
    const char *end = memchr(path.at, '\n', path.size);
    if (!end) return false;
    struct str last = {end + 1, (size_t)(path.at + path.size - end - 1)};
    path.size = (size_t)(end - path.at);
    bool good = str_copy(place->device, sizeof place->device, path) &&
                num_take_line(&last, "crc ", num_parse_u64, &crc) && last.size == 0;
    return good && crc == hash_crc32c(0, text.at, (size_t)(end + 1 - text.at));
}

bool sink_cursor_parse(struct str text, struct store_place *place)
{
    struct str rest = text;
    uint64_t time;
    if (!str_starts(text, CURSOR_HEAD)) return false;
    rest.at += sizeof CURSOR_HEAD - 1;
    rest.size -= sizeof CURSOR_HEAD - 1;
    if (!num_take_line(&rest, "position ", num_parse_u64, &place->position) ||
        !num_take_line(&rest, "upTo ", num_parse_u64, &place->up_to) ||
        !num_take_line(&rest, "time ", num_parse_u64, &time) || !take_rest(text, rest, place))
        return false;
    place->time_ns = (int64_t)time; /* two's complement, as it was written */
    return true;
}

/* NOT_FOUND: there is none. */
static enum err read_file(const struct sink *s, char text[SINK_CURSOR_BYTES_MAX], size_t *size,
                          struct why *why)
{
    struct os *os = s->sinks->config.context->os;
    char path[PATH_BYTES];
    struct os_file *file = NULL;
    path_of(s, path, "");
    enum err err = os->ops->file_open(os, path, 0, &file, why);
    if (err) return err;
    err = os->ops->file_read(file, 0, text, SINK_CURSOR_BYTES_MAX, size, why);
    os->ops->file_close(file);
    return err;
}

enum err sink_cursor_load(struct sink *s, struct why *why)
{
    char text[SINK_CURSOR_BYTES_MAX];
    size_t size = 0;
    MUST(s->magic == SINK_MAGIC && !s->is_loaded);
    enum err err = read_file(s, text, &size, why);
    if (err && err != ERR_NOT_FOUND) return err;
    s->place = (struct store_place){0};
    bool is_read = !err && sink_cursor_parse((struct str){text, size}, &s->place);
    if (!err && !is_read)
        diag(s->sinks->config.context, DIAG_ERROR, component,
             "%.*s: the file of its cursor is damaged: it begins as a new one does, with %s",
             (int)s->document->name.size, s->document->name.at,
             s->spec->from == SINK_FROM_NOW ? "what is written from now on" : "the oldest row");
    s->is_loaded = true;
    if (is_read) return ERR_OK;
    s->place = (struct store_place){0};
    if (s->spec->from == SINK_FROM_NOW)
        s->place.position = store_positions(s->sinks->config.store).applied;
    s->is_unsaved = s->moved_rows = true; /* the moment it begins counts as one to keep */
    return ERR_OK;
}

static enum err write_file(const struct sink *s, const char *path, struct str text, struct why *why)
{
    struct os *os = s->sinks->config.context->os;
    struct os_file *file = NULL;
    enum err err = os->ops->file_open(os, path, OS_FILE_WRITE | OS_FILE_CREATE, &file, why);
    if (err) return err;
    err = os->ops->file_truncate(file, 0, why);
    if (!err) err = os->ops->file_write(file, 0, text.at, text.size, why);
    if (!err) err = os->ops->file_sync(file, why);
    os->ops->file_close(file);
    return err;
}

size_t sink_cursor_print(const struct store_place *place, char text[SINK_CURSOR_BYTES_MAX])
{
    int n = snprintf(text, SINK_CURSOR_BYTES_MAX,
                     CURSOR_HEAD "position %" PRIu64 "\nupTo %" PRIu64 "\ntime %" PRIu64
                                 "\ndevice %s\n",
                     place->position, place->up_to, (uint64_t)place->time_ns, place->device);
    MUST(n > 0 && n < SINK_CURSOR_BYTES_MAX - 32);
    int more = snprintf(text + n, (size_t)(SINK_CURSOR_BYTES_MAX - n), "crc %" PRIu32 "\n",
                        hash_crc32c(0, text, (size_t)n));
    return (size_t)n + (size_t)more;
}

enum err sink_cursor_save(struct sink *s, struct why *why)
{
    struct os *os = s->sinks->config.context->os;
    char path[PATH_BYTES], fresh[PATH_BYTES], text[SINK_CURSOR_BYTES_MAX];
    MUST(s->magic == SINK_MAGIC && s->is_loaded);
    size_t size = sink_cursor_print(&s->place, text);
    path_of(s, path, "");
    path_of(s, fresh, ".fresh");
    enum err err = os->ops->path_make(os, s->sinks->folder, why);
    if (!err) err = write_file(s, fresh, (struct str){text, size}, why);
    if (!err) err = os->ops->path_rename(os, fresh, path, why);
    if (!err) err = os->ops->path_sync(os, s->sinks->folder, why);
    if (err) return err;
    s->is_unsaved = s->moved_rows = false;
    s->saved_ns = context_mono_ns(s->sinks->config.context);
    return ERR_OK;
}

void sink_cursor_remove(struct sink *s)
{
    struct os *os = s->sinks->config.context->os;
    char path[PATH_BYTES];
    path_of(s, path, "");
    (void)os->ops->path_remove(os, path, NULL);
}
