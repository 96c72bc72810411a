/* packet_write.c - see packet.h: packets into bytes.
 *
 * Lengths are known at the end, so mqtt_end and mqtt_end_properties put them in before what was
 * written: these packets are small (PUBLISH is written by message.c, which knows its sizes
 * beforehand). A buffer that has failed swallows everything; who owns it looks once, when it is
 * flushed.
 *
 * Texts longer than MQTT has room for are a fault of the caller and end the program: all that come
 * from outside were read with their two bytes of length, or are checked where documents are. */
#include "mqtt/packet.h"
#include <string.h>

static const uint8_t identifiers[MQTT_PROPERTY_COUNT] = {
#define X(symbol, identifier, form, where, name) identifier,
    MQTT_PROPERTY_TABLE(X)
#undef X
};

enum number_size {
    SIZE_BYTE = 1,
    SIZE_BIT = 1,
    SIZE_TWO = 2,
    SIZE_FOUR = 4,
    SIZE_VARINT = 0,
    SIZE_TEXT = 255,
    SIZE_BINARY = 255,
    SIZE_PAIR = 255
};
/* Bytes of a number; 0: a variable byte integer; 255: it is a text. */
static const uint8_t number_sizes[MQTT_PROPERTY_COUNT] = {
#define X(symbol, identifier, form, where, name) SIZE_##form,
    MQTT_PROPERTY_TABLE(X)
#undef X
};

void mqtt_write_be16(struct buf *out, uint16_t value)
{
    uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    buf_add(out, bytes, 2);
}

void mqtt_write_text(struct buf *out, struct str text)
{
    MUST(text.size <= MQTT_TEXT_BYTES_MAX);
    mqtt_write_be16(out, (uint16_t)text.size);
    buf_add_str(out, text);
}

size_t mqtt_varint_size(uint32_t value)
{
    MUST(value <= MQTT_REMAINING_MAX);
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

void mqtt_write_varint(struct buf *out, uint32_t value)
{
    MUST(value <= MQTT_REMAINING_MAX);
    buf_add_varint(out, value);
}

void mqtt_write_number(struct buf *out, enum mqtt_property property, uint32_t value)
{
    uint8_t size = number_sizes[property], bytes[4];
    MUST(size <= 4);
    buf_add_char(out, (char)identifiers[property]);
    if (size == 0) {
        mqtt_write_varint(out, value);
        return;
    }
    for (uint8_t i = 0; i < size; i++) bytes[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    buf_add(out, bytes, size);
}

void mqtt_write_property(struct buf *out, enum mqtt_property property, struct str text)
{
    MUST(number_sizes[property] == SIZE_TEXT && property != MQTT_PROPERTY_USER_PROPERTY);
    buf_add_char(out, (char)identifiers[property]);
    mqtt_write_text(out, text);
}

void mqtt_write_user_property(struct buf *out, struct str name, struct str value)
{
    buf_add_char(out, (char)identifiers[MQTT_PROPERTY_USER_PROPERTY]);
    mqtt_write_text(out, name);
    mqtt_write_text(out, value);
}

/* ---- lengths that are known at the end ---- */

/* Puts a variable byte integer before what lies in `out` from `at` on. */
static void insert_varint(struct buf *out, size_t at, uint32_t value)
{
    MUST(at <= out->size);
    size_t size = mqtt_varint_size(value), moved = out->size - at;
    uint8_t room[4] = {0};
    buf_add(out, room, size);
    if (buf_failed(out)) return;
    memmove(out->at + at + size, out->at + at, moved);
    for (size_t i = 0; i < size; i++, value >>= 7)
        out->at[at + i] = (char)((value & 0x7f) | (i + 1 < size ? 0x80 : 0));
}

void mqtt_begin(struct mqtt_writer *w, struct buf *out, enum mqtt_type type, uint8_t flags)
{
    MUST(type >= MQTT_CONNECT && type <= MQTT_AUTH && flags < 16);
    *w = (struct mqtt_writer){.out = out, .first = (uint8_t)(type << 4 | flags)};
    buf_add_char(out, (char)w->first);
    w->start = out->size;
}

void mqtt_begin_properties(struct mqtt_writer *w)
{
    MUST(!w->has_properties);
    w->properties = w->out->size;
    w->has_properties = true;
}

void mqtt_end_properties(struct mqtt_writer *w)
{
    MUST(w->has_properties);
    if (!buf_failed(w->out))
        insert_varint(w->out, w->properties, (uint32_t)(w->out->size - w->properties));
}

void mqtt_end(struct mqtt_writer *w)
{
    if (!buf_failed(w->out)) insert_varint(w->out, w->start, (uint32_t)(w->out->size - w->start));
}

/* ---- whole small packets ---- */

/* Reason and text as 5.0 has them at the end of a packet: both are left out when they say nothing.
 */
static void end_with_outcome(struct mqtt_writer *w, enum mqtt_version version,
                             enum mqtt_reason reason, struct str text)
{
    if (version == MQTT_5 && (reason || text.size)) {
        buf_add_char(w->out, (char)reason);
        if (text.size) {
            mqtt_begin_properties(w);
            mqtt_write_property(w->out, MQTT_PROPERTY_REASON_STRING, text);
            mqtt_end_properties(w);
        }
    }
    mqtt_end(w);
}

void mqtt_write_ack(struct buf *out, enum mqtt_version version, enum mqtt_type type,
                    uint16_t packet_id, enum mqtt_reason reason, struct str text)
{
    MUST(type >= MQTT_PUBACK && type <= MQTT_PUBCOMP && packet_id > 0);
    struct mqtt_writer w;
    mqtt_begin(&w, out, type, type == MQTT_PUBREL ? 2 : 0);
    mqtt_write_be16(out, packet_id);
    end_with_outcome(&w, version, reason, text);
}

void mqtt_write_ping(struct buf *out, enum mqtt_type type)
{
    MUST(type == MQTT_PINGREQ || type == MQTT_PINGRESP);
    uint8_t bytes[2] = {(uint8_t)(type << 4), 0};
    buf_add(out, bytes, 2);
}

void mqtt_write_disconnect(struct buf *out, enum mqtt_version version, enum mqtt_reason reason,
                           struct str text)
{
    struct mqtt_writer w;
    mqtt_begin(&w, out, MQTT_DISCONNECT, 0);
    end_with_outcome(&w, version, reason, text);
}
