/* influx.h - what InfluxDB's clients expect around their writes: errors in their own shape, the
 * statement with which they begin, and the answer that says that somebody is there. */
#ifndef LISTENERS_INFLUX_H
#define LISTENERS_INFLUX_H

#include "listeners/service.h"

/* Whether the request is to one of InfluxDB's paths, whose clients read no other error than theirs
 * and may send user and password in the query (`u`, `p`). */
bool influx_is_path(struct str path);
/* Ends the exchange with the error in the shape of the path's version: {"error":TEXT} or
 * {"code":CODE,"message":TEXT}. `text` borrowed. */
void influx_reply(struct http_exchange *exchange, int status, struct str text);
/* The namespace that the request names: `bucket` (before a '/', which version 1 puts before the
 * retention policy's name) or `db`; "default" when it names none. */
struct str influx_namespace(struct http_exchange *exchange);

/* Handlers; `arg` = the service. */
void api_influx_query(struct http_exchange *exchange, void *arg);  /* POST /query */
void api_influx_health(struct http_exchange *exchange, void *arg); /* GET /health */

#endif
