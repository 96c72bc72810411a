/* context.c - diagnostic lines, and the table of metrics. See context.h.
 *
 * A diagnostic line is for whoever runs the node, so it is written in any case where one can be:
 * its text has a fixed size, and without memory for the line it is dropped rather than the caller
 * held up. What is in a text may come from a stranger; line breaks become spaces, so that nobody
 * writes lines of his own. */
#include "loop/context.h"
#include "base/timetext.h"
#include <stdarg.h>
#include <stdio.h>

static const struct metric_info infos[METRIC_COUNT] = {
#define X(symbol, name, kind, unit, help) {name, unit, help, METRIC_KIND_##kind},
    METRIC_TABLE(X)
#undef X
};

const struct metric_info *metric_info(enum metric metric)
{
    MUST((unsigned)metric < METRIC_COUNT);
    return &infos[metric];
}

static const char *const level_names[] = {"debug", "info", "warning", "error"};

static void to_stderr(void *arg, const char *line, size_t size)
{
    (void)arg;
    (void)fwrite(line, 1, size, stderr); /* unbuffered: one write call per line */
}

const struct diag_writer diag_to_stderr = {to_stderr, NULL};

enum { DIAG_TEXT_BYTES = 1024 };

void diag(struct context *context, enum diag_level level, const char *component, const char *format,
          ...)
{
    MUST((unsigned)level <= DIAG_ERROR && component);
    if (level < context->diag_level || !context->diag.write) return;
    char text[DIAG_TEXT_BYTES], time[TIME_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\r') *p = ' ';
    int64_t now = context_wall_ns(context);
    time_format(now - now % TIME_NS_PER_MS, time);
    struct buf line = BUF_EMPTY;
    if (context->diag_json) {
        buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"component\":", time,
                   level_names[level]);
        buf_add_json(&line, str_of(component));
        buf_add_text(&line, ",\"text\":");
        buf_add_json(&line, str_of(text));
        buf_add_text(&line, "}\n");
    } else {
        buf_printf(&line, "%s %-7s %s: %s\n", time, level_names[level], component, text);
    }
    if (!buf_failed(&line)) context->diag.write(context->diag.arg, line.at, line.size);
    buf_free(&line);
}
