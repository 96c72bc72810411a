/* prometheus.h - Prometheus' remote write 1.0: a pull reader over the protobuf message WriteRequest
 * that makes no tree. Each sample is one row.
 *
 * metric name (label __name__) = measurement; the other labels = tags; the sample's value = field
 * `value`; its time in ms. Exemplars, metadata and native histograms are skipped. The NaN that says
 * that a series has ended (a stale marker) is NULL with quality BadNoCommunication, and counted.
 *
 * Sources: prometheus/prometheus prompb/remote.proto and types.proto; "Prometheus Remote-Write
 * Specification 1.0"; protobuf.dev, "Encoding". Thread: any. */
#ifndef DATA_PROMETHEUS_H
#define DATA_PROMETHEUS_H

#include "base/reader.h"
#include "data/line.h"

struct prometheus_rows {
    struct reader request, series; /* what is not read yet of either */
    bool is_over;                  /* the end, or bytes that are no such message */
    uint64_t stale_count;          /* samples that were stale markers */
};

void prometheus_rows_init(struct prometheus_rows *in, struct str message);

/* The next sample into `row`; texts point into the message. A row's measurement and tags stay for
 * the next samples of the series, so the caller leaves them alone. `*found` false: none is left.
 * Errors: SYNTAX (the reading is over), and INVALID or LIMIT for one series, which is left out. */
enum err prometheus_rows_next(struct prometheus_rows *in, struct line *row, bool *found,
                              struct why *why);

#endif
