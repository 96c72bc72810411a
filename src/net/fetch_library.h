/* fetch_library.h - what lib/fetch.so and the program say to each other (fetch.h). */
#ifndef NET_FETCH_LIBRARY_H
#define NET_FETCH_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FETCH_LIBRARY_ENTRY "millrace_fetch_entry"
#define FETCH_LIBRARY_FILE  "fetch.so"

enum { FETCH_LIBRARY_ABI = 1, FETCH_LIBRARY_WHY_BYTES = 240 };

enum fetch_library_answer {
    FETCH_LIBRARY_DONE,
    FETCH_LIBRARY_FAILED,
    FETCH_LIBRARY_TIMEOUT,
    FETCH_LIBRARY_STOPPED, /* the program took no more, or wanted no more */
};

struct fetch_library_request {
    const char *url, *ca_file, *accept; /* ca_file: NULL = the system's */
    long timeout_ms;
    /* False: that is enough of it. */
    bool (*take)(void *arg, const char *bytes, size_t size);
    bool (*is_cancelled)(void *arg);
    void *arg;
};

struct fetch_library {
    uint32_t abi, size_bytes;
    /* Blocks. FAILED and TIMEOUT say why. */
    enum fetch_library_answer (*get)(const struct fetch_library_request *request,
                                     char why[FETCH_LIBRARY_WHY_BYTES]);
};

#endif
