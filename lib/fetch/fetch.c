/* fetch.c - lib/fetch.so: the part of src/net/fetch.h that is libcurl's.
 *
 * A handle a request: requests are minutes apart, so nothing is kept between them. Proxies are
 * taken from the environment (https_proxy), as of every program with libcurl. Owned here: nothing.
 */
#include "net/fetch_library.h"
#include <curl/curl.h>
#include <stdio.h>

enum { CONNECT_MS = 5000 };

static size_t on_bytes(char *bytes, size_t one, size_t size, void *arg)
{
    const struct fetch_library_request *request = arg;
    return request->take(request->arg, bytes, one * size) ? one * size : 0;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct fetch_library_request *request = arg;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return request->is_cancelled(request->arg) ? 1 : 0;
}

static void set_up(CURL *curl, const struct fetch_library_request *request,
                   struct curl_slist *headers, char error[CURL_ERROR_SIZE])
{
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    if (request->ca_file) { /* these alone */
        curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, request->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "millrace");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, request);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, request);
}

static enum fetch_library_answer answer_of(CURL *curl, CURLcode code, const char *error,
                                           char why[FETCH_LIBRARY_WHY_BYTES])
{
    long status = 0;
    if (code == CURLE_WRITE_ERROR || code == CURLE_ABORTED_BY_CALLBACK)
        return FETCH_LIBRARY_STOPPED;
    if (code) {
        snprintf(why, FETCH_LIBRARY_WHY_BYTES, "%.*s", FETCH_LIBRARY_WHY_BYTES - 1,
                 error[0] ? error : curl_easy_strerror(code));
        return code == CURLE_OPERATION_TIMEDOUT ? FETCH_LIBRARY_TIMEOUT : FETCH_LIBRARY_FAILED;
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200) return FETCH_LIBRARY_DONE;
    snprintf(why, FETCH_LIBRARY_WHY_BYTES, "the server answers with status %ld", status);
    return FETCH_LIBRARY_FAILED;
}

static enum fetch_library_answer get(const struct fetch_library_request *request,
                                     char why[FETCH_LIBRARY_WHY_BYTES])
{
    char error[CURL_ERROR_SIZE] = "", accept[120];
    snprintf(accept, sizeof accept, "Accept: %s", request->accept);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl ? curl_slist_append(NULL, accept) : NULL;
    enum fetch_library_answer answer = FETCH_LIBRARY_FAILED;
    if (headers) {
        set_up(curl, request, headers, error);
        answer = answer_of(curl, curl_easy_perform(curl), error, why);
    } else {
        snprintf(why, FETCH_LIBRARY_WHY_BYTES, "no memory");
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return answer;
}

static const struct fetch_library library = {
    .abi = FETCH_LIBRARY_ABI, .size_bytes = sizeof(struct fetch_library), .get = get};

__attribute__((visibility("default"))) const struct fetch_library *millrace_fetch_entry(void);

/* curl_global_init is left to curl_easy_init: Debian's libcurl does it under a lock of its own. */
const struct fetch_library *millrace_fetch_entry(void)
{
    return &library;
}
