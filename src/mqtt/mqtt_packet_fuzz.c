/* mqtt_packet_fuzz.c - property: whatever the bytes, every text of a packet lies inside them, what
 * was accepted says so consistently, and a refusal has a reason and a text. */
/* covers: src/mqtt/packet_read.c src/mqtt/topic.c */
#include "base/hash.h"
#include "mqtt/packet.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

/* Reads every byte, so that the sanitizer sees it. */
static uint64_t sum_of(struct str text)
{
    return hash_64(text.at, text.size);
}

static uint64_t look_at(const struct mqtt_packet *p, enum mqtt_version version)
{
    uint64_t sum = sum_of(p->properties.raw) + sum_of(p->rest);
    struct str rest = p->properties.raw, encoded;
    size_t left = rest.size;
    for (enum mqtt_property property; mqtt_next_property(&rest, &property, &encoded);) {
        sum += sum_of(encoded);
        left -= encoded.size;
        if (!mqtt_has(&p->properties, property)) abort();
    }
    if (left) abort(); /* all of what was accepted can be walked again */
    struct mqtt_filter filter;
    rest = p->rest;
    if (p->type == MQTT_SUBSCRIBE || p->type == MQTT_UNSUBSCRIBE) {
        while (mqtt_next_filter(p, version, &rest, &filter)) sum += sum_of(filter.filter);
        if (rest.size) abort();
    }
    if (p->type == MQTT_CONNECT)
        sum += sum_of(p->connect.client_id) + sum_of(p->connect.user) +
               sum_of(p->connect.password) + sum_of(p->connect.will_topic) +
               sum_of(p->connect.will_payload);
    if (p->type == MQTT_PUBLISH) sum += sum_of(p->publish.topic) + sum_of(p->publish.payload);
    return sum;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    static const enum mqtt_version versions[] = {MQTT_3_1, MQTT_3_1_1, MQTT_5};
    uint64_t sum = 0;
    for (unsigned i = 0; i < 6; i++) {
        struct mqtt_frame frame;
        struct mqtt_packet packet;
        struct why why = WHY_NONE;
        enum mqtt_version version = versions[i / 2];
        if (mqtt_frame_read(bytes, size, size, &frame) ||
            frame.header_size + frame.body_size > size)
            return 0;
        struct str body = {(const char *)bytes + frame.header_size, frame.body_size};
        enum mqtt_reason reason =
            mqtt_packet_read(frame.first, body, version, i % 2, &packet, &why);
        if (reason) {
            if (!why.text[0] || reason < 0x80) abort();
            continue;
        }
        sum += look_at(&packet, packet.type == MQTT_CONNECT ? packet.connect.version : version);
    }
    volatile uint64_t used = sum;
    (void)used;
    return 0;
}
