/* tls_dial.c - a TLS line's certificates: read from files, made into a configuration.
 *
 * Read anew with every connection, so that a renewed certificate needs no restart. The reading is a
 * job on the files task; its object outlives a line that goes away meanwhile, and then only frees
 * itself. */
#include "collect/collect_priv.h"
#include "base/timetext.h"
#include "os/read.h"

enum { FILES = 3, PATH_BYTES = 4096 };

struct tls_dial {
    struct job job;               /* on the files task */
    struct completion completion; /* back on the main loop */
    struct context *context;
    struct line *line; /* NULL: nobody waits any more */
    char paths[FILES][PATH_BYTES];
    struct buf texts[FILES];
    bool verifies;
};

static const enum host_option options[FILES] = {HOST_OPTION_CA, HOST_OPTION_CERT, HOST_OPTION_KEY};

static void run(struct job *job)
{
    struct tls_dial *dial = (struct tls_dial *)job;
    struct why why = WHY_NONE;
    enum err err = ERR_OK;
    for (size_t i = 0; i < FILES && !err; i++)
        if (dial->paths[i][0])
            err = os_read_file(dial->context->os, dial->paths[i], OS_PEM_BYTES_MAX, &dial->texts[i],
                               &why);
    completion_finish(&dial->completion, err, &why);
}

static void done(struct completion *completion)
{
    struct tls_dial *dial =
        (struct tls_dial *)((char *)completion - offsetof(struct tls_dial, completion));
    struct line *line = dial->line;
    struct tls_config *config = NULL;
    struct why why = completion->why;
    enum err err = completion->err;
    if (line) {
        line->tls_dial = NULL;
        if (!err)
            err = tls_client_config(buf_str(&dial->texts[1]), buf_str(&dial->texts[2]),
                                    buf_str(&dial->texts[0]), NULL, &config, &why);
        if (!err && !dial->verifies) tls_config_trust_anyone(config);
        line_tls_ready(line, config, err, &why);
    }
    tls_config_release(config);
    for (size_t i = 0; i < FILES; i++) buf_free(&dial->texts[i]);
    mem_free(dial);
}

enum err tls_dial_start(struct line *line, struct loop *files, struct why *why)
{
    static const char *const names[FILES] = {"ca", "cert", "key"};
    MUST(!line->tls_dial);
    for (size_t i = 0; i < FILES; i++)
        if (line->config.host[options[i]].text.size >= PATH_BYTES)
            return why_set(why, ERR_LIMIT, "options.%s: the path has more than %d bytes", names[i],
                           PATH_BYTES - 1);
    struct tls_dial *dial = mem_alloc_zero(1, sizeof *dial);
    if (!dial) return ERR_NO_MEMORY;
    dial->context = line->collect->context;
    dial->line = line;
    dial->verifies = line->config.host[HOST_OPTION_VERIFY].b;
    for (size_t i = 0; i < FILES; i++) {
        const struct millrace_text *path = &line->config.host[options[i]].text;
        bool fits =
            str_copy(dial->paths[i], sizeof dial->paths[i], (struct str){path->at, path->size});
        MUST(fits);
    }
    dial->job.run = run;
    completion_init(&dial->completion, dial->context->main, done);
    line->tls_dial = dial;
    loop_post(files, &dial->job);
    return ERR_OK;
}

void tls_dial_cancel(struct line *line)
{
    if (line->tls_dial) line->tls_dial->line = NULL;
    line->tls_dial = NULL;
}
