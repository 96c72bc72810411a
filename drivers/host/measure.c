/* measure.c - the table of measures: from an address to a point, from a payload to a value.
 *
 * A point keeps the hash of its address (64 bits: among the few hundred values of a machine no two
 * meet), and finds its value in the payload by it. */
#include "host.h"
#include <stdio.h>

static const struct row {
    const char *before, *after;
    enum host_area area;
    enum millrace_type type;
} rows[HOST_MEASURE_COUNT] = {
#define X(symbol, before, after, area, type, unit, en, zh)                                         \
    [HOST_##symbol] = {before, after, HOST_AREA_##area, MILLRACE_##type},
    HOST_MEASURE_TABLE(X)
#undef X
};

const struct millrace_measure host_measures[HOST_MEASURE_COUNT + 1] = {
#define X(symbol, before, after, area, type, unit, en, zh)                                         \
    [HOST_##symbol] = {before, after, unit, en, zh},
    HOST_MEASURE_TABLE(X)
#undef X
};

enum { HEAD_BYTES = 11 }; /* of an entry: name size, status, type, value */

uint64_t host_hash(const char *bytes, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* ---- making a payload ---- */

static void add(struct host_list *list, enum host_measure measure, struct text instance,
                enum millrace_status status, const void *value)
{
    const struct row *row = &rows[measure];
    size_t before = strlen(row->before), after = row->after ? strlen(row->after) : 0;
    size_t size = before + text_size(instance) + after;
    if (size > HOST_NAME_BYTES_MAX || list->size + HEAD_BYTES + size > sizeof list->bytes) return;
    uint8_t *at = list->bytes + list->size;
    *at++ = (uint8_t)size;
    *at++ = (uint8_t)status;
    *at++ = (uint8_t)row->type;
    memcpy(at, value, 8);
    memcpy(at + 8, row->before, before);
    if (text_size(instance)) memcpy(at + 8 + before, instance.at, text_size(instance));
    if (after) memcpy(at + 8 + before + text_size(instance), row->after, after);
    list->size += HEAD_BYTES + size;
}

void host_add_uint(struct host_list *list, enum host_measure measure, struct text instance,
                   uint64_t value)
{
    add(list, measure, instance, MILLRACE_GOOD, &value);
}

void host_add_double(struct host_list *list, enum host_measure measure, struct text instance,
                     double value)
{
    add(list, measure, instance, MILLRACE_GOOD, &value);
}

void host_add_bad(struct host_list *list, enum host_measure measure, struct text instance,
                  enum millrace_status status)
{
    static const uint64_t nothing;
    add(list, measure, instance, status, &nothing);
}

/* ---- reading a payload ---- */

struct entry {
    struct text name;
    enum millrace_status status;
    enum millrace_type type;
    const uint8_t *value;
};

/* Takes the next entry off [at, end); false at the end, or when what is left is none. */
static bool next_entry(const uint8_t **at, const uint8_t *end, struct entry *entry)
{
    if ((size_t)(end - *at) < HEAD_BYTES) return false;
    const uint8_t *p = *at;
    size_t size = p[0];
    if ((size_t)(end - *at) - HEAD_BYTES < size) return false;
    *entry = (struct entry){text_of((const char *)p + HEAD_BYTES, size),
                            p[1] < MILLRACE_STATUS_COUNT ? (enum millrace_status)p[1]
                                                         : MILLRACE_BAD_DATA,
                            (enum millrace_type)p[2], p + 3};
    *at = p + HEAD_BYTES + size;
    return true;
}

enum millrace_status host_decode(const struct millrace_point *point, uint32_t first,
                                 const uint8_t *payload, size_t payload_bytes,
                                 char scratch[MILLRACE_SCRATCH_BYTES], struct millrace_value *value)
{
    const uint8_t *at = payload, *end = payload + payload_bytes;
    struct entry entry;
    uint64_t wanted;
    (void)first;
    (void)scratch;
    memcpy(&wanted, point->own, sizeof wanted);
    value->type = point->type;
    while (next_entry(&at, end, &entry)) {
        if (host_hash(entry.name.at, text_size(entry.name)) != wanted) continue;
        if (entry.status) return entry.status;
        if (entry.type != point->type) return MILLRACE_BAD_DATA;
        if (entry.type == MILLRACE_DOUBLE)
            memcpy(&value->d, entry.value, 8);
        else
            memcpy(&value->u, entry.value, 8);
        return MILLRACE_GOOD;
    }
    return MILLRACE_BAD_ADDRESS; /* this machine has no such sensor, disk or interface (any more) */
}

void host_list_payload(uint32_t area, const uint8_t *payload, size_t payload_bytes,
                       void (*found)(void *arg, struct millrace_text address,
                                     enum millrace_status status),
                       void *arg)
{
    const uint8_t *at = payload, *end = payload + payload_bytes;
    struct entry entry;
    (void)area;
    while (next_entry(&at, end, &entry))
        found(arg, (struct millrace_text){entry.name.at, text_size(entry.name)}, entry.status);
}

/* ---- addresses ---- */

static bool fits(const struct row *row, struct text address)
{
    size_t before = strlen(row->before), after = row->after ? strlen(row->after) : 0;
    if (!row->after) return text_is(address, row->before);
    return text_size(address) > before + after && text_starts(address, row->before) &&
           memcmp(address.end - after, row->after, after) == 0;
}

bool host_point_parse(const struct millrace_line_config *config,
                      const struct millrace_point_text *text, struct millrace_point *point,
                      char why[MILLRACE_WHY_BYTES])
{
    struct text address = text_of(text->address.at, text->address.size);
    (void)config; /* the type given is not looked at: each measure has its own */
    for (size_t i = 0; i < HOST_MEASURE_COUNT && text_size(address) <= HOST_NAME_BYTES_MAX; i++) {
        if (!fits(&rows[i], address)) continue;
        uint64_t hash = host_hash(address.at, text_size(address));
        *point = (struct millrace_point){
            .area = rows[i].area, .count = 1, .flags = MILLRACE_READABLE, .type = rows[i].type};
        memcpy(point->own, &hash, sizeof hash);
        return true;
    }
    snprintf(why, MILLRACE_WHY_BYTES,
             "'%.*s': the machine has no such value; there are cpu.load1, cpu.use, memory.used, "
             "disk./.used, net.eth0.rx, temperature.max, system.uptime, process.memory…: "
             "`millrace scan CONNECTION` lists them all",
             (int)(text->address.size > 40 ? 40 : text->address.size), text->address.at);
    return false;
}

bool host_scan_parse(const struct millrace_line_config *config, const struct millrace_text *range,
                     struct millrace_scan *scan, char why[MILLRACE_WHY_BYTES])
{
    static const char *const groups[HOST_AREA_COUNT] = {"cpu", "memory",      "disk",   "io",
                                                        "net", "temperature", "system", "process"};
    struct text text = text_of(range->at, range->size);
    (void)config;
    *scan = (struct millrace_scan){.area_last = HOST_AREA_COUNT - 1, .count = 1};
    if (range->size == 0 || text_is(text, "*")) return true;
    for (uint32_t i = 0; i < HOST_AREA_COUNT; i++) {
        if (!text_is(text, groups[i])) continue;
        scan->area = scan->area_last = i;
        return true;
    }
    snprintf(why, MILLRACE_WHY_BYTES,
             "'%.*s': leave the range out for everything, or name a group: cpu, memory, disk, io, "
             "net, temperature, system or process",
             (int)(range->size > 60 ? 60 : range->size), range->at);
    return false;
}
