/* mqtt_asks.h - commands that came by MQTT (mqtt/asks.h), under cmd/ or to an edge node of
 * Sparkplug that is a Sink of this node, are carried out as writes over HTTP are: the right is
 * checked, the audit log shows the command before the equipment gets it, the collector writes and
 * reads back. Main loop. */
#ifndef LISTENERS_MQTT_ASKS_H
#define LISTENERS_MQTT_ASKS_H

#include "listeners/service.h"

struct broker_ask;

/* Carries it out; `done` comes in any case, with the answer in ask->reply. */
void mqtt_asks_run(struct service *service, struct broker_ask *ask,
                   void (*done)(void *arg, struct broker_ask *ask), void *arg);

#endif
