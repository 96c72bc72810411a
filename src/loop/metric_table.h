/* metric_table.h - the one list of metrics. X(symbol, name, kind, unit, help). From it come the
 * enum, GET /metrics and sys.metrics. Metrics with a label per object (a connection's errors…) live
 * with their objects and are shown by the system tables. */
#ifndef LOOP_METRIC_TABLE_H
#define LOOP_METRIC_TABLE_H

/* clang-format off */
#define METRIC_TABLE(X)                                                                                        \
    X(LOG_ROWS,            "millrace_log_rows_total",            COUNTER, "rows",    "rows appended to the log") \
    X(LOG_BATCHES,         "millrace_log_batches_total",         COUNTER, "batches", "batches appended to the log") \
    X(LOG_BYTES,           "millrace_log_bytes_total",           COUNTER, "bytes",   "bytes appended to the log") \
    X(LOG_SYNCS,           "millrace_log_syncs_total",           COUNTER, "calls",   "syncs of the log") \
    X(LOG_SYNC_NS,         "millrace_log_sync_nanoseconds_total", COUNTER, "ns",     "time spent in syncs of the log") \
    X(LOG_DAMAGED,         "millrace_log_damaged_records_total", COUNTER, "records", "damaged log records skipped at start") \
    X(LOG_ERRORS,          "millrace_log_errors_total",          COUNTER, "calls",   "failed writes or syncs of the log") \
    X(ROWS_REFUSED,        "millrace_rows_refused_total",        COUNTER, "rows",    "rows refused with an error, each try counted") \
    X(ROOM_WAITING,        "millrace_memory_waiting",            GAUGE,   "requests", "requests that wait for memory and are not read meanwhile") \
    X(ROOM_WAITS,          "millrace_memory_waits_total",        COUNTER, "waits",   "times that a request had to wait for memory") \
    X(ROOM_REFUSED,        "millrace_memory_refused_total",      COUNTER, "requests", "requests refused because no memory came free in time, too many waited, or they can never fit") \
    X(HEAD_WAITS,          "millrace_head_waits_total",          COUNTER, "batches", "batches of rows that had to wait for room in the head") \
    X(HEAD_REFUSED,        "millrace_head_refused_total",        COUNTER, "batches", "batches of rows refused because the head had no room in time") \
    X(HEAD_ROWS,           "millrace_head_rows",                 GAUGE,   "rows",    "rows in the head") \
    X(HEAD_BYTES,          "millrace_head_bytes",                GAUGE,   "bytes",   "memory of the head") \
    X(SERIES,              "millrace_series",                    GAUGE,   "series",  "series known") \
    X(PARTS,               "millrace_parts",                     GAUGE,   "files",   "parts of the store") \
    X(PARTS_BYTES,         "millrace_parts_bytes",               GAUGE,   "bytes",   "bytes in parts") \
    X(FLUSHES,             "millrace_store_flushes_total",       COUNTER, "flushes", "heads written to parts") \
    X(FLUSH_ROWS,          "millrace_store_flushed_rows_total",  COUNTER, "rows",    "rows written to parts") \
    X(FLUSH_NS,            "millrace_store_flush_nanoseconds_total", COUNTER, "ns",  "time spent writing parts") \
    X(FLUSH_ERRORS,        "millrace_store_flush_errors_total",  COUNTER, "flushes", "attempts to write parts that failed") \
    X(COMPACTIONS,         "millrace_store_compactions_total",   COUNTER, "merges",  "groups of parts merged into one") \
    X(COMPACTION_ROWS,     "millrace_store_compacted_rows_total", COUNTER, "rows",   "rows written by merging parts") \
    X(COMPACTION_ERRORS,   "millrace_store_compaction_errors_total", COUNTER, "merges", "merges of parts that stopped; the parts stay as they are") \
    X(CLOCK_TRUSTED,       "millrace_clock_trusted",             GAUGE,   "",        "1 while the clock is where it should be; 0: nothing is removed for its age (CONFIRM CLOCK)") \
    X(STORE_DAMAGED,       "millrace_store_damaged_total",       COUNTER, "places",  "damaged places of parts met while reading") \
    X(ROLLUP_WINDOWS,      "millrace_rollup_windows_total",      COUNTER, "windows", "windows of rollups computed, again or for the first time") \
    X(ROLLUP_ERRORS,       "millrace_rollup_errors_total",       COUNTER, "tries",   "steps of computing rollups that failed and are tried again") \
    X(ROLLUP_LATE,         "millrace_rollup_late_rows_total",    COUNTER, "rows",    "rows that came for frozen windows of a rollup") \
    X(STATEMENTS,          "millrace_sql_statements_total",      COUNTER, "statements", "SQL statements run") \
    X(STATEMENT_ERRORS,    "millrace_sql_errors_total",          COUNTER, "statements", "SQL statements that failed") \
    X(STATEMENT_NS,        "millrace_sql_nanoseconds_total",     COUNTER, "ns",      "time spent running SQL statements") \
    X(HTTP_REQUESTS,       "millrace_http_requests_total",       COUNTER, "requests", "HTTP requests answered") \
    X(HTTP_ERRORS,         "millrace_http_errors_total",         COUNTER, "requests", "HTTP requests answered with 4xx or 5xx") \
    X(HTTP_CONNECTIONS,    "millrace_http_connections",          GAUGE,   "connections", "open HTTP connections") \
    X(HTTP_REFUSED,        "millrace_http_connections_refused_total", COUNTER, "connections", "HTTP connections refused at the limit") \
    X(PG_CONNECTIONS,      "millrace_postgres_connections",      GAUGE,   "connections", "open connections of PostgreSQL clients") \
    X(PG_REFUSED,          "millrace_postgres_connections_refused_total", COUNTER, "connections", "PostgreSQL connections refused at the limit") \
    X(PG_ERRORS,           "millrace_postgres_errors_total",     COUNTER, "errors",  "PostgreSQL connections ended for an error: protocol, login, time") \
    X(STATEMENT_HELPERS,   "millrace_statement_helpers_total",   COUNTER, "tasks",   "other tasks that took part in large statements") \
    X(PG_COPY_ROWS,        "millrace_postgres_copy_rows_total",  COUNTER, "rows",    "rows that came in by COPY") \
    X(LINE_CONNECTIONS,    "millrace_line_connections",          GAUGE,   "connections", "open connections of line protocol over TCP") \
    X(LINE_REFUSED,        "millrace_line_connections_refused_total", COUNTER, "connections", "connections of line protocol refused at the limit") \
    X(LINE_RETRIES,        "millrace_line_retries_total",        COUNTER, "batches", "batches of line protocol over TCP that could not be stored and wait for the next try") \
    X(MQTT_CONNECTIONS,    "millrace_mqtt_connections",          GAUGE,   "connections", "open connections of MQTT clients") \
    X(MQTT_SESSIONS,       "millrace_mqtt_sessions",             GAUGE,   "sessions", "MQTT sessions, connected and offline") \
    X(MQTT_SUBSCRIPTIONS,  "millrace_mqtt_subscriptions",        GAUGE,   "subscriptions", "subscriptions of all MQTT sessions") \
    X(MQTT_RETAINED,       "millrace_mqtt_retained_messages",    GAUGE,   "messages", "retained messages") \
    X(MQTT_PACKETS_IN,     "millrace_mqtt_packets_received_total", COUNTER, "packets", "MQTT packets received") \
    X(MQTT_BYTES_IN,       "millrace_mqtt_bytes_received_total", COUNTER, "bytes",   "bytes of MQTT packets received, without TLS and WebSocket frames") \
    X(MQTT_BYTES_OUT,      "millrace_mqtt_bytes_sent_total",     COUNTER, "bytes",   "bytes of MQTT packets sent, without TLS and WebSocket frames") \
    X(MQTT_RECEIVED,       "millrace_mqtt_messages_received_total", COUNTER, "messages", "messages that clients published") \
    X(MQTT_SENT,           "millrace_mqtt_messages_sent_total",  COUNTER, "messages", "messages sent to subscribers, those sent again included") \
    X(MQTT_DENIED,         "millrace_mqtt_denied_total",         COUNTER, "requests", "messages and subscriptions refused for lack of rights or an invalid filter") \
    X(MQTT_DROPPED_SLOW,   "millrace_mqtt_dropped_slow_total",   COUNTER, "messages", "QoS 0 messages not sent to a receiver that was too slow") \
    X(MQTT_DROPPED_FULL,   "millrace_mqtt_dropped_full_total",   COUNTER, "messages", "messages dropped because a session's queue was full") \
    X(MQTT_DROPPED_SIZE,   "millrace_mqtt_dropped_size_total",   COUNTER, "messages", "messages larger than the receiver takes") \
    X(MQTT_DROPPED_MEMORY, "millrace_mqtt_dropped_memory_total", COUNTER, "messages", "messages dropped or refused for lack of memory") \
    X(MQTT_EXPIRED,        "millrace_mqtt_expired_total",        COUNTER, "messages", "messages that expired before they were sent") \
    X(MQTT_RETAINED_REFUSED, "millrace_mqtt_retained_refused_total", COUNTER, "messages", "retained messages not kept: their limit or memory was used up") \
    X(MQTT_BRIDGES,        "millrace_mqtt_bridges_connected",    GAUGE,   "bridges", "bridges that are connected to their remote broker") \
    X(MQTT_BRIDGE_QUEUED,  "millrace_mqtt_bridge_queued_messages", GAUGE, "messages", "messages that wait for the remote brokers of all bridges") \
    X(MQTT_BRIDGE_AGE,     "millrace_mqtt_bridge_oldest_seconds", GAUGE,  "s",       "age of the oldest message that waits for a remote broker") \
    X(MQTT_BRIDGE_LOOPS,   "millrace_mqtt_bridge_loops_total",   COUNTER, "messages", "messages that came back over bridges to a node that had sent them, and were dropped") \
    X(MQTT_ROWS,           "millrace_mqtt_rows_total",           COUNTER, "rows",    "rows stored from messages under the data prefix") \
    X(MQTT_DEAD,           "millrace_mqtt_dead_total",           COUNTER, "rows",    "rows of such messages that were refused; the messages go to $dead/…") \
    X(STREAM_MESSAGES,     "millrace_stream_messages_total",     COUNTER, "messages", "messages that Streams took; one that fits two counts twice") \
    X(STREAM_ROWS,         "millrace_stream_rows_total",         COUNTER, "rows",    "rows stored from messages that Streams took") \
    X(STREAM_REFUSED,      "millrace_stream_refused_total",      COUNTER, "rows",    "messages of Streams, and rows of them, that were refused; dead letters unless onError is drop") \
    X(SINK_ROWS,           "millrace_sink_rows_total",           COUNTER, "rows",    "rows that Sinks sent, and that were confirmed") \
    X(SINK_SKIPPED,        "millrace_sink_skipped_total",        COUNTER, "rows",    "rows that Sinks left out: they were refused, and onError is skip") \
    X(SINK_GAPS,           "millrace_sink_gaps_total",           COUNTER, "gaps",    "times that retention took rows before a Sink had sent them, or that they could not be read") \
    X(SINK_FAILURES,       "millrace_sink_failures_total",       COUNTER, "tries",   "tries of Sinks that failed; the rows are tried again") \
    X(MQTT_COMMANDS,       "millrace_mqtt_commands_total",       COUNTER, "messages", "messages that asked for a write to equipment") \
    X(MQTT_COMMANDS_REFUSED, "millrace_mqtt_commands_refused_total", COUNTER, "messages", "of these, those that wrote nothing") \
    X(MQTT_DAMAGED,        "millrace_mqtt_damaged_total",        COUNTER, "places",  "damaged places of the broker's state met at the start") \
    X(MQTT_REFUSED,        "millrace_mqtt_connections_refused_total", COUNTER, "connections", "MQTT connections refused at the limit") \
    X(MQTT_ERRORS,         "millrace_mqtt_errors_total",         COUNTER, "connections", "MQTT connections ended for an error") \
    X(MQTT_LIMIT_USER,     "millrace_mqtt_limit_user_total",     COUNTER, "logins",  "MQTT logins refused: as many connections of the user are open as may be") \
    X(MQTT_LIMIT_PEER,     "millrace_mqtt_limit_peer_total",     COUNTER, "connections", "MQTT connections refused: as many of the address are open as may be") \
    X(MQTT_HALF_OPEN,      "millrace_mqtt_half_open",            GAUGE,   "connections", "MQTT connections that are not logged in yet") \
    X(MQTT_LIMIT_HALF_OPEN, "millrace_mqtt_limit_half_open_total", COUNTER, "connections", "MQTT connections refused: too many are not logged in yet") \
    X(MQTT_LIMIT_TIME,     "millrace_mqtt_limit_login_time_total", COUNTER, "connections", "MQTT connections ended because they did not log in in time") \
    X(MQTT_LIMIT_WAITS,    "millrace_mqtt_limit_login_waits_total", COUNTER, "logins", "MQTT logins that had to wait for the connect rate") \
    X(MQTT_LIMIT_BUSY,     "millrace_mqtt_limit_login_busy_total", COUNTER, "logins", "MQTT logins refused with \"server busy\" for the connect rate") \
    X(MQTT_LIMIT_HELD,     "millrace_mqtt_limit_held_total",     COUNTER, "times",   "times that an MQTT client was not read for a while because it published too fast") \
    X(MQTT_LIMIT_PACKET,   "millrace_mqtt_limit_packet_total",   COUNTER, "packets", "MQTT packets refused for their size") \
    X(MQTT_LIMIT_LEVELS,   "millrace_mqtt_limit_topic_levels_total", COUNTER, "topics", "MQTT topics and filters refused for their levels") \
    X(MQTT_LIMIT_SUBSCRIPTIONS, "millrace_mqtt_limit_subscriptions_total", COUNTER, "subscriptions", "MQTT subscriptions refused: the session has as many as may be") \
    X(MQTT_LIMIT_GUESSES,  "millrace_mqtt_limit_guesses_total",  COUNTER, "logins",  "MQTT logins slowed down because their address sent wrong passwords") \
    X(MQTT_BANS,           "millrace_mqtt_bans",                 GAUGE,   "bans",    "MQTT clients and addresses that are banned") \
    X(MQTT_LIMIT_NAMESPACES, "millrace_mqtt_limit_namespaces_total", COUNTER, "times", "namespaces for which the MQTT broker opened no topic tree: 1,000 are in use") \
    X(MQTT_LIMIT_BANNED,   "millrace_mqtt_limit_banned_total",   COUNTER, "connections", "MQTT connections refused because of a ban") \
    X(MQTT_LIMIT_WATCHED,  "millrace_mqtt_limit_watched_total",  COUNTER, "times",   "MQTT clients and addresses that could not be watched: too many are") \
    X(MQTT_LIMIT_LINES,    "millrace_mqtt_limit_log_lines_total", COUNTER, "lines",  "lines of closed MQTT connections left out of the log") \
    X(COAP_SESSIONS,       "millrace_coap_sessions",             GAUGE,   "sessions", "CoAP clients that are known, one for each address and user") \
    X(COAP_OBSERVERS,      "millrace_coap_observers",            GAUGE,   "observers", "topics that CoAP clients observe") \
    X(COAP_REQUESTS,       "millrace_coap_requests_total",       COUNTER, "requests", "CoAP requests") \
    X(COAP_ERRORS,         "millrace_coap_errors_total",         COUNTER, "requests", "CoAP requests answered with 4.xx or 5.xx") \
    X(COAP_NOTIFICATIONS,  "millrace_coap_notifications_total",  COUNTER, "messages", "messages sent to CoAP clients that observe") \
    X(COAP_LIMITED,        "millrace_coap_limited_total",        COUNTER, "requests", "CoAP requests refused at a limit: clients, waiting requests, observers, payload, memory") \
    X(PROMETHEUS_STALE,    "millrace_prometheus_stale_total",   COUNTER, "samples", "samples of Prometheus that said that a series has ended") \
    X(LOGIN_FAILURES,      "millrace_login_failures_total",      COUNTER, "logins",  "logins refused") \
    X(COLLECT_VALUES,      "millrace_collect_values_total",      COUNTER, "values",  "values read from equipment") \
    X(COLLECT_BAD,         "millrace_collect_bad_values_total",  COUNTER, "values",  "values that could not be read") \
    X(COLLECT_REQUESTS,    "millrace_collect_requests_total",    COUNTER, "requests", "requests sent to equipment") \
    X(COLLECT_TIMEOUTS,    "millrace_collect_timeouts_total",    COUNTER, "requests", "requests without an answer in time") \
    X(COLLECT_CYCLES,      "millrace_collect_cycles_total",      COUNTER, "cycles",  "poll cycles started") \
    X(COLLECT_MISSED,      "millrace_collect_missed_cycles_total", COUNTER, "cycles", "poll cycles left out because the one before had not ended") \
    X(COLLECT_WRITES,      "millrace_collect_writes_total",      COUNTER, "writes",  "values written to equipment") \
    X(COLLECT_WRITE_ERRORS, "millrace_collect_write_errors_total", COUNTER, "writes", "writes to equipment that failed or were refused") \
    X(LIVE_DROPPED,        "millrace_live_rows_dropped_total",   COUNTER, "rows",    "rows not shown to a live viewer that was too slow")
/* clang-format on */

#endif
