/* api.h - the HTTP interface: one route table, the login guard, and small answers. */
#ifndef LISTENERS_API_H
#define LISTENERS_API_H

#include "listeners/service.h"

enum api_route_flag { API_NO_LOGIN = 1 };

extern const struct http_route api_routes[]; /* ended by a NULL path */
/* The guard of every route: finds out who asks. `arg` = the service. */
bool api_guard(struct http_exchange *exchange, const struct http_route *route, void *arg);
/* Who asks, behind a route with login. Borrowed from the exchange. */
struct identity *api_identity(const struct http_exchange *exchange);
struct service;
/* Who a request that needs no login is from all the same: by a bearer token, or by the console's
 * cookie unless a page of another origin asks. Gives; NULL = nobody that is known. */
struct identity *api_find_identity(const struct http_exchange *exchange, struct service *service);
void api_mqtt(struct http_exchange *exchange, void *arg); /* mqtt_http.c */

/* Handlers in their own files; `arg` = the service. */
void api_sql(struct http_exchange *exchange, void *arg);          /* sql_http.c */
void api_device_write(struct http_exchange *exchange, void *arg); /* point_http.c */
void api_device_read(struct http_exchange *exchange, void *arg);
void api_connection_test(struct http_exchange *exchange, void *arg); /* equipment_http.c */
void api_connection_scan(struct http_exchange *exchange, void *arg);
void api_backup_begin(struct http_exchange *exchange, void *arg); /* backup_http.c */
void api_backup_show(struct http_exchange *exchange, void *arg);
void api_mqtt_clients(struct http_exchange *exchange, void *arg); /* mqtt_show_http.c */
void api_mqtt_client(struct http_exchange *exchange, void *arg);
void api_mqtt_bans(struct http_exchange *exchange, void *arg);
void api_mqtt_retained(struct http_exchange *exchange, void *arg);
void api_mqtt_kick(struct http_exchange *exchange, void *arg); /* mqtt_admin_http.c */
void api_mqtt_unsubscribe(struct http_exchange *exchange, void *arg);
void api_mqtt_unban(struct http_exchange *exchange, void *arg);
void api_mqtt_forget(struct http_exchange *exchange, void *arg);
void api_mqtt_publish(struct http_exchange *exchange, void *arg);
/* ?ns=, the namespace that a request under /v1/mqtt is about; "default" when it names none.
 * Borrowed from the exchange. */
struct str api_mqtt_ns(struct http_exchange *exchange);
void api_stream_test(struct http_exchange *exchange, void *arg); /* stream_http.c */
void api_mqtt_trace(struct http_exchange *exchange, void *arg);  /* mqtt_trace_http.c */

/* The node's backup, one at a time (backup_http.c). `folder`: the data folder; copied. */
struct backups;
enum err backups_start(struct service *service, const char *folder, struct backups **backups);
/* After the store is closed. NULL allowed. */
void backups_free(struct backups *backups);

#endif
