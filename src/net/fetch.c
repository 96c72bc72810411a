/* fetch.c - see fetch.h: what is asked of lib/fetch.so, and what is made of its answer. */
#include "net/fetch.h"
#include "base/timetext.h"
#include "net/fetch_library.h"
#include <stdatomic.h>
#include <string.h>

struct taking {
    const struct fetch_request *request;
    struct buf *out;
    size_t before; /* of `out` */
    bool is_too_large;
};

static enum err load(struct fetch *fetch, struct os *os, struct why *why)
{
    const struct fetch_library *(*entry)(void) = NULL;
    void *symbol = NULL;
    if (fetch->library) return ERR_OK;
    if (!os->ops->library_open)
        return why_set(why, ERR_UNSUPPORTED, "nothing can be fetched in this world");
    enum err err =
        os->ops->library_open(os, NULL, FETCH_LIBRARY_FILE, FETCH_LIBRARY_ENTRY, &symbol, why);
    if (err == ERR_NOT_FOUND)
        return why_set(why, ERR_UNSUPPORTED,
                       "there is no lib/" FETCH_LIBRARY_FILE
                       " beside the program: what is fetched over HTTPS needs it");
    if (err) return err;
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast between the two */
    const struct fetch_library *library = entry();
    if (library->abi != FETCH_LIBRARY_ABI || library->size_bytes != sizeof *library)
        return why_set(why, ERR_UNSUPPORTED,
                       "lib/" FETCH_LIBRARY_FILE " is of another version of Millrace");
    fetch->library = library;
    return ERR_OK;
}

static bool take(void *arg, const char *bytes, size_t size)
{
    struct taking *t = arg;
    t->is_too_large = t->out->size - t->before + size > t->request->bytes_max;
    if (t->is_too_large) return false;
    buf_add(t->out, bytes, size);
    return !buf_failed(t->out);
}

static bool is_cancelled(void *arg)
{
    const struct taking *t = arg;
    return t->request->cancelled && atomic_load(t->request->cancelled);
}

enum err fetch_get(struct fetch *fetch, struct os *os, const struct fetch_request *request,
                   struct buf *out, struct why *why)
{
    char text[FETCH_LIBRARY_WHY_BYTES] = "";
    struct taking taking = {.request = request, .out = out, .before = out->size};
    struct fetch_library_request asked = {.url = request->url,
                                          .ca_file = request->ca_file,
                                          .accept = request->accept,
                                          .timeout_ms =
                                              (long)(request->timeout_ns / TIME_NS_PER_MS),
                                          .take = take,
                                          .is_cancelled = is_cancelled,
                                          .arg = &taking};
    MUST(str_starts(str_of(request->url), "https://") && request->bytes_max > 0);
    enum err err = load(fetch, os, why);
    if (err) return err;
    switch (fetch->library->get(&asked, text)) {
    case FETCH_LIBRARY_DONE: return ERR_OK;
    case FETCH_LIBRARY_TIMEOUT: return why_set(why, ERR_TIMEOUT, "%s", text);
    case FETCH_LIBRARY_FAILED: return why_set(why, ERR_CONNECT, "%s", text);
    case FETCH_LIBRARY_STOPPED: break;
    }
    if (taking.is_too_large)
        return why_set(why, ERR_LIMIT, "the answer is larger than %zu KiB",
                       request->bytes_max / 1024);
    return buf_failed(out) ? ERR_NO_MEMORY : why_set(why, ERR_CANCELLED, "not waited for any more");
}
