/* live.h - GET /v1/live: a WebSocket that shows rows as they are applied.
 *
 * The client says what it wants with a text message, any number of times; the last one counts:
 *   {"subscribe": "*"}                                                  everything it may query
 *   {"subscribe": [{"device": "line1/press01", "table": "press", "columns": ["temperature"]}, …]}
 *   {"subscribe": []}                                                   nothing
 * (`table` and `columns` may be left out.) The node sends {"rows": [{"table", "device", "time",
 * "<column>": value,
 * "<column>@q": "BadTimeout"}, …]}: absent cells are left out, a quality is sent where it is not
 * good. A viewer that is too slow (1 MiB waits for it) misses rows: they are counted and told with
 * {"dropped": n}, as soon as it has taken what waits. When showing lags 256 batches behind, all
 * miss the next ones: each is told of their rows, of which it might have seen a part only. A batch
 * may come in several messages. Rows of all namespaces are shown that the identity may query; they
 * do not say of which. At most 64 viewers, each with at most 1,000 of such wishes. Thread: the main
 * loop; the log's task hands batches over and never waits. */
#ifndef LISTENERS_LIVE_H
#define LISTENERS_LIVE_H

#include "listeners/service.h"

struct live;
/* Main loop; before the first append. */
enum err live_start(struct service *service, struct live **live, struct why *why);
/* After the store was closed: nothing is applied any more. */
void live_stop(struct live *live);
/* Rights have changed, or time has passed: viewers whose identity holds no longer are cut. */
void live_recheck(struct live *live);
void api_live(struct http_exchange *exchange, void *arg);

#endif
