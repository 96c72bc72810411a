/* arrival_log.c - see arrival_log.h. stdio's buffer does the work; a failed write is remembered by
 * the stream (ferror). */
#include "arrival_log.h"
#include <assert.h>
#include <stdio.h>

static_assert(sizeof(struct arrival) == 16, "the file format has no gaps");

enum { BUFFER_BYTES = 256 * 1024 };

/* The stream itself: the type is opaque so that nobody else writes into the file. */
static FILE *stream(struct arrival_log *log)
{
    return (FILE *)(void *)log;
}

struct arrival_log *arrival_log_open(const char *path)
{
    static const char head[16] = "plantsim log 1\n";
    FILE *file = fopen(path, "wbe");
    if (!file) return NULL;
    if (setvbuf(file, NULL, _IOFBF, BUFFER_BYTES) != 0 || fwrite(head, sizeof head, 1, file) != 1) {
        fclose(file);
        return NULL;
    }
    return (struct arrival_log *)(void *)file;
}

void arrival_log_add(struct arrival_log *log, const struct arrival *arrival)
{
    assert(arrival->monotonic_ns > 0);
    if (log)
        (void)fwrite(arrival, sizeof *arrival, 1,
                     stream(log)); /* a failure shows at the next flush */
}

bool arrival_log_flush(struct arrival_log *log)
{
    return !log || (fflush(stream(log)) == 0 && !ferror(stream(log)));
}

bool arrival_log_close(struct arrival_log *log)
{
    if (!log) return true;
    bool good = arrival_log_flush(log);
    return fclose(stream(log)) == 0 && good;
}
