/* door.c - ports on which equipment dials in.
 *
 * Modems behind mobile networks have no address that one could connect to: they dial in, say who
 * they are with a registration packet, and from then on speak as if we had connected to them. Lines
 * whose endpoints name the same port share one door; a visitor's first bytes tell which line it
 * belongs to. A line without a registration takes whom no registration fits, and there can be only
 * one such line at a door. No registration begins with another one: where "DEV1" and "DEV10" shared
 * a door, a "DEV10" that came in two pieces would pass for the other.
 *
 * Who owns: collect → doors → visitors (streams not yet given to a line). A visitor that says
 * nothing that fits, or nothing at all for VISIT_NS, is sent away; so the number of visitors is
 * bounded and nobody can hold the door shut. */
#include "collect/collect_priv.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

enum { VISITORS_MAX = 64, DOOR_LINES_MAX = 256, DOOR_MAGIC = 0x444F4F52 };
#define VISIT_NS (20 * TIME_NS_PER_S)

struct visitor {
    struct visitor *next;
    struct door *door;
    struct os_stream *stream;
    int64_t until_ns; /* mono */
    uint8_t bytes[PACKET_BYTES_MAX];
    size_t size;
};

struct door {
    uint32_t magic;
    struct door *next;
    struct collect *collect;
    struct os_address address;
    struct os_listener *listener;
    struct line *lines[DOOR_LINES_MAX];
    size_t line_count;
    struct visitor *visitors; /* newest first */
    size_t visitor_count;
};

/* ---- visitors ---- */

static void unlink_visitor(struct visitor *visitor)
{
    struct visitor **link = &visitor->door->visitors;
    while (*link != visitor) link = &(*link)->next;
    *link = visitor->next;
    visitor->door->visitor_count--;
}

static void send_away(struct visitor *visitor)
{
    unlink_visitor(visitor);
    os_stream_close(&visitor->stream);
    mem_free(visitor);
}

/* Says who was sent away, with what it said: that is how one finds out the registration of a modem
 * that one does not know yet. */
static void refuse(struct visitor *visitor, const char *text)
{
    char said[3 * 24 + 4] = "", message[240];
    size_t n = 0;
    for (size_t i = 0; i < visitor->size && i < 24; i++)
        n += (size_t)snprintf(said + n, sizeof said - n, "%s%02x", i ? " " : "", visitor->bytes[i]);
    snprintf(message, sizeof message, "%s dialled in and %s%s%s", os_stream_peer(visitor->stream),
             text, n ? ": hex:" : "", said);
    struct door *door = visitor->door;
    for (size_t i = 0; i < door->line_count; i++)
        if (!door->lines[i]->stream)
            line_note_error(door->lines[i], message, visitor->bytes, visitor->size);
    diag(door->collect->context, DIAG_WARNING, "collect", "%s", message);
    send_away(visitor);
}

/* Gives the visitor to the line, with what followed its registration in the `had` bytes kept from
 * before and those that came now. */
static void hand_over(struct visitor *visitor, struct line *line, size_t had, const uint8_t *now,
                      size_t size)
{
    uint8_t bytes[PACKET_BYTES_MAX + 65536];
    struct os_stream *stream = visitor->stream;
    size_t skip = line->config.registration.size;
    MUST(had <= PACKET_BYTES_MAX && had + size <= sizeof bytes && skip <= had + size);
    memcpy(bytes, visitor->bytes, had);
    if (size) memcpy(bytes + had, now, size);
    unlink_visitor(visitor);
    mem_free(visitor);
    line_take_stream(line, stream, bytes + skip, had + size - skip);
}

enum match { MATCH_NONE, MATCH_PERHAPS, MATCH_FULL };

static enum match match(const struct packet *packet, const uint8_t *bytes, size_t size)
{
    size_t common = size < packet->size ? size : packet->size;
    if (!packet->size || memcmp(packet->bytes, bytes, common) != 0) return MATCH_NONE;
    return size >= packet->size ? MATCH_FULL : MATCH_PERHAPS;
}

/* The line that the bytes name, at most one (see check_guest); NULL with `*perhaps` while more
 * could make one. */
static struct line *find_line(const struct door *door, const uint8_t *bytes, size_t size,
                              bool *perhaps)
{
    struct line *open = NULL;
    *perhaps = false;
    for (size_t i = 0; i < door->line_count; i++) {
        struct line *line = door->lines[i];
        const struct packet *packet = &line->config.registration;
        if (!packet->size) open = line;
        enum match fits = match(packet, bytes, size);
        if (fits == MATCH_FULL) return line;
        *perhaps |= fits == MATCH_PERHAPS;
    }
    return *perhaps ? NULL : open;
}

static void on_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct visitor *visitor = owner;
    size_t had = visitor->size, room = sizeof visitor->bytes - had;
    size_t kept = room < size ? room : size;
    bool perhaps;
    MUST(visitor->door->magic == DOOR_MAGIC);
    memcpy(visitor->bytes + had, bytes, kept);
    visitor->size += kept;
    struct line *line = find_line(visitor->door, visitor->bytes, visitor->size, &perhaps);
    if (line) {
        hand_over(visitor, line, had, bytes, size);
        return;
    }
    if (!perhaps) refuse(visitor, "sent a registration that no connection has");
}

static void on_closed(void *owner, enum err err, const char *text)
{
    (void)err;
    (void)text;
    send_away(owner);
}

static const struct os_stream_events visitor_events = {NULL, on_read, NULL, on_closed};

static void on_accept(void *owner, struct os_stream *stream)
{
    struct door *door = owner;
    MUST(door->magic == DOOR_MAGIC);
    if (door->visitor_count == VISITORS_MAX) { /* the oldest has had the longest time to speak */
        struct visitor *oldest = door->visitors;
        while (oldest->next) oldest = oldest->next;
        send_away(oldest);
    }
    struct visitor *visitor = mem_alloc_zero(1, sizeof *visitor);
    if (!visitor) {
        os_stream_close(&stream);
        return;
    }
    *visitor = (struct visitor){.next = door->visitors,
                                .door = door,
                                .stream = stream,
                                .until_ns = collect_now_ns(door->collect) + VISIT_NS};
    door->visitors = visitor;
    door->visitor_count++;
    os_stream_own(stream, &visitor_events, visitor);
    schedule_wake_at(door->collect, visitor->until_ns);
    bool is_open = door->line_count == 1 && !door->lines[0]->config.registration.size;
    if (is_open) hand_over(visitor, door->lines[0], 0, NULL, 0); /* nobody to be told apart from */
}

void door_tick(struct collect *collect, int64_t now_ns)
{
    for (struct door *door = collect->doors; door; door = door->next)
        for (struct visitor *visitor = door->visitors, *next; visitor; visitor = next) {
            next = visitor->next;
            if (visitor->until_ns <= now_ns) refuse(visitor, "did not say who it is");
        }
}

int64_t door_next_ns(const struct collect *collect)
{
    int64_t first = NEVER_NS;
    for (const struct door *door = collect->doors; door; door = door->next)
        for (const struct visitor *visitor = door->visitors; visitor; visitor = visitor->next)
            if (visitor->until_ns < first) first = visitor->until_ns;
    return first;
}

/* ---- doors ---- */

static bool is_same(const struct os_address *a, const struct os_address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static void close_door(struct door *door)
{
    struct door **link = &door->collect->doors;
    while (*link != door) link = &(*link)->next;
    *link = door->next;
    while (door->visitors) send_away(door->visitors);
    if (door->listener) door->collect->context->os->ops->listener_close(door->listener);
    door->magic = 0;
    mem_free(door);
}

static enum err open_door(struct collect *collect, const struct os_address *address,
                          struct door **out, struct why *why)
{
    struct door *door = mem_alloc_zero(1, sizeof *door);
    if (!door) return ERR_NO_MEMORY;
    *door = (struct door){
        .magic = DOOR_MAGIC, .next = collect->doors, .collect = collect, .address = *address};
    struct os *os = collect->context->os;
    enum err err = os->ops->listen(collect->context->main->task, address, on_accept, door,
                                   &door->listener, NULL, why);
    if (err) {
        mem_free(door);
        return err;
    }
    collect->doors = *out = door;
    return ERR_OK;
}

/* What keeps a visitor from being told which of two lines it belongs to; NULL = nothing does. One
 * without a registration may stand beside those that have some. */
static const char *find_clash(const struct packet *a, const struct packet *b)
{
    size_t common = a->size < b->size ? a->size : b->size;
    if (!a->size && !b->size) return "no registration";
    if (!common || memcmp(a->bytes, b->bytes, common) != 0) return NULL;
    return a->size == b->size ? "the same registration"
                              : "registrations of which one begins with the other";
}

/* Two lines that a visitor could not be told apart by cannot share a door. */
static enum err check_guest(const struct door *door, const struct line *line, struct why *why)
{
    for (size_t i = 0; i < door->line_count; i++) {
        const struct line *other = door->lines[i];
        const char *clash = find_clash(&line->config.registration, &other->config.registration);
        if (!clash) continue;
        const struct str own = line->resource->name, name = other->resource->name;
        return why_set(why, ERR_CONFLICT,
                       "connections %.*s and %.*s listen on the same port with %s: "
                       "options.registration must tell them apart",
                       (int)own.size, own.at, (int)name.size, name.at, clash);
    }
    if (door->line_count < DOOR_LINES_MAX) return ERR_OK;
    return why_set(why, ERR_LIMIT, "more than %d connections share the port", DOOR_LINES_MAX);
}

enum err door_enter(struct line *line, struct why *why)
{
    struct door *door = line->collect->doors;
    if (line->door) return ERR_OK;
    while (door && !is_same(&door->address, &line->config.address)) door = door->next;
    enum err err = door ? check_guest(door, line, why)
                        : open_door(line->collect, &line->config.address, &door, why);
    if (err) return err;
    door->lines[door->line_count++] = line;
    line->door = door;
    return ERR_OK;
}

void door_leave(struct line *line)
{
    struct door *door = line->door;
    if (!door) return;
    MUST(door->magic == DOOR_MAGIC && door->line_count > 0);
    size_t i = 0;
    while (door->lines[i] != line) i++;
    door->lines[i] = door->lines[--door->line_count];
    line->door = NULL;
    if (!door->line_count) close_door(door);
}
