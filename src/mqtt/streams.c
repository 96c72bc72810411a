/* streams.c - messages that Streams take: subscribers inside the node.
 *
 * They stand in a topic tree of their own, one a namespace, beside that of the sessions: what a
 * session has (a queue, a window, a place in the journal) they do not need, since a message is
 * theirs when it lies in a batch of rows (rows.h), and its publisher is acknowledged when that is
 * stored. Whoever publishes from a connection, a will or over HTTP passes by here; dead letters and
 * $SYS do not, so that nothing can go in a circle. Broker's task, but for the reference counts and
 * broker_set_streams.
 *
 * The main loop builds all trees anew for each change and hands them over in one job, so a message
 * meets the streams of before or those of after, never a mixture; the trees borrow the streams,
 * which the list beside them holds. */
#include "mqtt/broker_priv.h"
#include <string.h>

struct new_streams {
    struct job job; /* first */
    struct broker *broker;
    struct tree **trees; /* of a namespace each: that of the stream at the same place */
    size_t count;
    struct broker_stream *list[];
};

struct broker_stream *broker_stream_share(struct broker_stream *stream)
{
    MUST(stream->free && atomic_fetch_add(&stream->refs, 1) > 0);
    return stream;
}

void broker_stream_release(struct broker_stream *stream)
{
    if (!stream || atomic_fetch_sub(&stream->refs, 1) > 1) return;
    stream->free(stream);
}

static void free_list(struct broker_stream **list, size_t count)
{
    for (size_t i = 0; i < count; i++) broker_stream_release(list[i]);
}

static const char *ns_of(const struct broker_stream *stream)
{
    return stream->identity->ns;
}

/* The namespace's spaces get their trees. */
static void hand_out(struct new_streams *n)
{
    MUST(n->trees);
    for (size_t i = 0; i < n->count; i++) {
        if (!n->trees[i]) continue;
        struct space *space = space_get(n->broker, str_of(ns_of(n->list[i])));
        if (space) {
            MUST(!space->streams);
            space->streams = n->trees[i];
            continue;
        }
        diag(n->broker->context, DIAG_ERROR, "mqtt",
             "the Streams of namespace %s take nothing: no memory, or too many namespaces",
             ns_of(n->list[i]));
        tree_free(n->trees[i]);
    }
    mem_free(n->trees);
    n->trees = NULL;
}

/* The old ones go first: their trees borrow them. */
static void take_streams(struct job *job)
{
    struct new_streams *n = (struct new_streams *)job;
    struct broker *broker = n->broker;
    MUST(broker->magic == BROKER_MAGIC);
    streams_free(broker);
    broker->stream_list = n->list;
    broker->stream_count = n->count;
    broker->stream_owner = n;
    hand_out(n);
}

/* The tree of the stream's namespace: it stands at the place of the first stream of that, of which
 * there are few. */
static struct tree **tree_of(struct new_streams *n, const struct broker_stream *stream)
{
    size_t i = 0;
    while (strcmp(ns_of(n->list[i]), ns_of(stream)) != 0) i++; /* the last one is `stream` */
    if (!n->trees[i]) n->trees[i] = tree_new(NULL);
    return &n->trees[i];
}

/* The trees are made where they are not used yet. */
enum err broker_set_streams(struct broker *broker, struct broker_stream *const *streams,
                            size_t count)
{
    struct new_streams *n = mem_alloc_zero(1, sizeof *n + count * sizeof n->list[0]);
    MUST(broker->is_started && loop_is_current(broker->context->main));
    if (!n) return ERR_NO_MEMORY;
    n->job.run = take_streams;
    n->broker = broker;
    n->trees = mem_alloc_zero(count + 1, sizeof(struct tree *));
    enum err err = n->trees ? ERR_OK : ERR_NO_MEMORY;
    for (size_t i = 0; i < count && !err; i++) {
        struct subscription *subscription;
        bool is_new;
        n->list[n->count++] = broker_stream_share(streams[i]);
        struct tree *tree = *tree_of(n, streams[i]);
        err = tree ? tree_subscribe(tree, streams[i], STR(""), streams[i]->filter, &subscription,
                                    &is_new)
                   : ERR_NO_MEMORY;
    }
    if (!err) {
        loop_post(&broker->loop, &n->job);
        return ERR_OK;
    }
    for (size_t i = 0; n->trees && i < n->count; i++) tree_free(n->trees[i]);
    mem_free(n->trees);
    free_list(n->list, n->count);
    mem_free(n);
    return err;
}

void streams_free(struct broker *broker)
{
    for (size_t i = 0; i < broker->space_count; i++) {
        if (!broker->spaces[i]) continue;
        tree_free(broker->spaces[i]->streams);
        broker->spaces[i]->streams = NULL;
    }
    free_list(broker->stream_list, broker->stream_count);
    mem_free(broker->stream_owner);
    broker->stream_list = NULL;
    broker->stream_count = 0;
    broker->stream_owner = NULL;
}

bool streams_offer(struct space *space, struct str topic, struct str payload,
                   struct rows_span *span)
{
    MUST(space_is_valid(space));
    struct broker *broker = space->broker;
    if (!space->streams || !broker->hooks.rows) return true;
    const struct tree_matches *found = tree_match(space->streams, topic);
    for (size_t i = 0; found && i < found->count; i++) {
        struct broker_stream *stream = found->items[i]->session;
        uint64_t number = rows_add(broker, stream->identity, stream, topic, payload);
        if (!number) return false;
        if (stream->holds_ack) rows_widen(span, number);
        metric_add(broker->context, METRIC_STREAM_MESSAGES, 1);
    }
    return found != NULL;
}
