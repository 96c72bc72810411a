/* command.c - what the main loop asks of the broker and what is done in one go on the broker's
 * task: new settings. */
#include "mqtt/broker_priv.h"

/* ---- settings ---- */

struct new_config {
    struct job job;
    struct broker *broker;
    struct broker_config config;
};

static void take_config(struct job *job)
{
    struct new_config *n = (struct new_config *)job;
    struct broker *broker = n->broker;
    MUST(broker->magic == BROKER_MAGIC);
    broker->config = n->config;
    broker->memory.limit_bytes = n->config.memory_bytes;
    broker_resume_walks(broker); /* a longer queue may take more of them */
    mem_free(n);
}

enum err broker_configure(struct broker *broker, const struct broker_config *config,
                          struct why *why)
{
    MUST(broker->is_started && config->connections_max);
    struct new_config *n = mem_alloc_zero(1, sizeof *n);
    if (!n) return why_set(why, ERR_NO_MEMORY, "no memory for new settings");
    n->job.run = take_config;
    n->broker = broker;
    n->config = *config;
    loop_post(&broker->loop, &n->job);
    return ERR_OK;
}
