/* mqtt_rows.h - rows that arrive by MQTT: a batch of messages becomes one ingest. */
#ifndef LISTENERS_MQTT_ROWS_H
#define LISTENERS_MQTT_ROWS_H

#include "listeners/service.h"
#include "mqtt/broker.h"

/* Stores what a batch holds; `done` is called on the main loop with its answer filled in. Main
 * loop.
 */
void mqtt_rows_store(struct service *service, struct broker_rows *rows,
                     void (*done)(void *arg, struct broker_rows *rows), void *arg);

/* Notes that the message at `offset` of the batch, or a row of it, is refused: counted, and once a
 * message kept for its dead letter. `capacity` is of the list, 0 at first. One task at a time. */
void mqtt_rows_refuse(struct broker_rows *rows, size_t *capacity, size_t offset,
                      const struct why *why, enum err err);

#endif
