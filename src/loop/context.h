/* context.h - what belongs to one node: its world, memory budget, loops, diagnostics and metrics.
 *
 * There are no global variables: three nodes can live in one process. Every module is given the
 * context of the node it works for. Thread: any, for what is declared here. */
#ifndef LOOP_CONTEXT_H
#define LOOP_CONTEXT_H

#include "loop/loop.h"
#include "loop/metric_table.h"

enum metric {
#define X(symbol, name, kind, unit, help) METRIC_##symbol,
    METRIC_TABLE(X)
#undef X
        METRIC_COUNT
};

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE };

struct metric_info {
    const char *name, *unit, *help;
    enum metric_kind kind;
};
/* Static. */
const struct metric_info *metric_info(enum metric metric);

enum diag_level { DIAG_DEBUG, DIAG_INFO, DIAG_WARNING, DIAG_ERROR };

/* Where diagnostic lines go; stderr in the program, a buffer in tests. Thread: any. */
struct diag_writer {
    /* A whole line with its LF, borrowed; called by several tasks at once. NULL = lines are
     * dropped. */
    void (*write)(void *arg, const char *line, size_t size);
    void *arg;
};

enum { IO_LOOPS_MAX = 4 };

/* Made by node/ before anything else of a node, and the last that goes; in place until then. What
 * is not atomic is set before other tasks see it. */
struct context {
    struct os *os;        /* borrowed */
    struct budget memory; /* root: node.yaml `memory:` */
    struct budget rows; /* of it, what all that comes in may take together, so that some is left for
                           who asks; not set up: no less than the root */
    struct loop *main;  /* I/O loop 0 */
    struct pool *workers; /* statements, password checks; NULL: the node stops, as for the next */
    struct pool *intake;  /* rows on their way in, so that they never wait for a statement */
    const char *drivers_folder; /* where drivers are looked for first; NULL = nowhere; borrowed */
    enum diag_level diag_level; /* lines below it are not written */
    bool diag_json;             /* lines are JSON objects */
    struct diag_writer diag;
    _Atomic uint64_t metrics[METRIC_COUNT];
};

/* A gauge goes down by adding (uint64_t)-n. */
static inline void metric_add(struct context *context, enum metric metric, uint64_t n)
{
    atomic_fetch_add_explicit(&context->metrics[metric], n, memory_order_relaxed);
}
static inline void metric_set(struct context *context, enum metric metric, uint64_t n)
{
    atomic_store_explicit(&context->metrics[metric], n, memory_order_relaxed);
}
static inline uint64_t metric_get(const struct context *context, enum metric metric)
{
    return atomic_load_explicit(&((struct context *)(uintptr_t)context)->metrics[metric],
                                memory_order_relaxed);
}

/* The parent of budgets of what comes in. */
static inline struct budget *context_rows(struct context *context)
{
    return context->rows.parent ? &context->rows : &context->memory;
}

static inline int64_t context_wall_ns(const struct context *c)
{
    return c->os->ops->wall_ns(c->os);
}
static inline int64_t context_mono_ns(const struct context *c)
{
    return c->os->ops->mono_ns(c->os);
}

/* Writes one diagnostic line: time, level, component, text (or one JSON object). Newlines in the
 * text are made spaces. `component` is the module or object, such as "collect". */
void diag(struct context *context, enum diag_level level, const char *component, const char *format,
          ...) __attribute__((format(printf, 4, 5)));

/* Writes to stderr, whole lines. */
extern const struct diag_writer diag_to_stderr;

#endif
