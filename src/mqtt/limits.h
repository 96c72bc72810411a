/* limits.h - what keeps one client, address or user from taking what is everybody's: counts, rates,
 * bans (limits.c, bans.c). On the broker's task. Private to mqtt/.
 *
 * A limit that acts is counted in its metric and named in the log, once in ten seconds with how
 * often. Peers are counted by their address: IPv6 by its first 64 bits, as one customer has so
 * many; those of this machine (other than mqtt.limits.loopback says) and those whose address is a
 * proxy's are not.
 *
 * A connection is counted from limits_arrived to limits_gone, which every way to its end passes,
 * and each pointer to a `struct watched` is one of its `connections`: so none is freed under a
 * connection. Rates are the generic cell rate algorithm (ITU-T I.371, annex A). */
#ifndef MQTT_LIMITS_H
#define MQTT_LIMITS_H

#include "base/map.h"
#include "loop/context.h"
#include "mqtt/broker.h"
#include "mqtt/limit_table.h"

struct connection;

/* What acted: one a row of the table. */
enum broker_limit {
#define X(symbol, setting, metric, text) LIMIT_##symbol,
    MQTT_LIMIT_TABLE(X)
#undef X
        LIMIT_COUNT
};

/* Whether a name is an address, a user or a client identifier. */
enum watched_kind { WATCHED_PEER, WATCHED_USER, WATCHED_CLIENT, WATCHED_KINDS };

/* An address, a user or a client (of one user) that is connected or was of late. Kept while it has
 * connections, a window that is not over, or a ban. */
struct watched {
    enum watched_kind kind;
    /* Connections that point here; of these those that are not logged in (peers alone). */
    uint32_t connections, half_open;
    /* In the window: lost connections of a client, failed logins of an address. */
    uint32_t drops, failures;
    /* Its beginning, in seconds of the monotonic clock. */
    int64_t window_s;
    /* Logins wait until then, in ns of the monotonic clock; 0 = not. */
    int64_t slow_until_ns;
    /* The same in seconds of the ban; 0 = not, or it was lifted. */
    int64_t banned_until_s;
    /* When it was banned (wall clock, seconds), and what it had done so often by then. */
    uint32_t banned_wall_s, ban_count;
    /* Bytes of all of the key; of the name in it. */
    size_t key_size, name_size;
    /* A digit of the kind, the name; a client's user behind a NUL. */
    char key[];
};

/* A connection that is not read until its time has come. */
struct hold {
    /* In the list of all; what points at this one. */
    struct hold *next, **link;
    /* Whose `hold` this is. */
    struct connection *connection;
    /* Monotonic clock. */
    int64_t until_ns;
};

/* When the next message or byte would be in time, in ns of the monotonic clock: a bucket that drips
 * (GCRA), a second deep. */
struct throttle {
    int64_t messages_ns, bytes_ns;
};

struct limits {
    /* By their key: struct watched, owned. */
    struct map watched;
    /* Of each kind; those of them that are banned. */
    size_t watched_count[WATCHED_KINDS], ban_count;
    /* Connections that are not logged in, in all and of each door. */
    size_t half_open, half_open_of[BROKER_DOORS];
    /* All that came by each door and are not gone. */
    size_t open_of[BROKER_DOORS];
    /* As struct throttle, of logins. */
    int64_t login_ns[BROKER_DOORS];
    /* Connections that are held, in no order. */
    struct hold *holds;
    /* Of holds, made with the first; is_timed: it is set. */
    struct os_timer *timer;
    bool is_timed;
    /* When watched ones were looked at last; bucket of lines about closed connections. */
    int64_t swept_s, line_ns;
    /* Each limit's line in the log. */
    struct {
        uint64_t count;  /* since the last one */
        int64_t said_ns; /* 0 = never */
        char who[96];    /* the last; cut to fit */
    } told[LIMIT_COUNT];
};

/* In a broker that is all zeros. */
void limits_init(struct broker *broker);
/* The broker's end: no connection is left. */
void limits_free(struct broker *broker);
/* Each second: lines that wait, watched ones that are over. */
void limits_tick(struct broker *broker);

/* A limit has acted: its metric, and now or later its line. `who`: borrowed; "" = nobody in
 * particular. */
void limits_act(struct broker *broker, enum broker_limit limit, const char *who);
/* Whether there may be a line in the log of a connection that was closed: some dozens a second. */
bool limits_may_tell(struct broker *broker);

/* ---- a connection's life ---- */

/* Whether one more may come through this door; if not, that has been told. */
bool limits_have_place(struct broker *broker, enum broker_door door);
/* It came; it is not logged in. Once a connection that was accepted. */
void limits_arrived(struct connection *connection);
/* Its address ("10.0.0.7:41234") is known. False: it may not stay, which has been told. */
bool limits_admit(struct connection *connection, const char *peer);
/* It is logged in with this client id, unless it may not: then its reason (BANNED, QUOTA_EXCEEDED),
 * which has been told. */
enum mqtt_reason limits_open(struct connection *connection, const struct identity *identity,
                             struct str client_id);
/* It is gone: its counts, its hold, its rates. Twice is once. */
void limits_gone(struct connection *connection);
/* A connection that was open ends; `is_fault`: not by DISCONNECT, nor by the node's will. */
void limits_dropped(struct connection *connection, bool is_fault);
/* What came from its address was a wrong password, or no MQTT. */
void limits_failed(struct connection *connection);

/* ---- rates ---- */

/* Whether a CONNECT that is there is looked at now (else it is held, and comes again). With
 * is_busy it is refused. */
bool limits_may_log_in(struct connection *connection);
/* A PUBLISH of so many bytes on the wire was taken: may hold the connection. */
void limits_charge(struct connection *connection, size_t size_bytes);

/* ---- bans.c ---- */

/* The watched one of this name, borrowed until watched_settle; `user`: of a client, else "". With
 * `makes` it is made if need be. NULL: there is none; or no memory, or too many are watched, which
 * is told. Counts nothing. */
struct watched *watched_get(struct broker *broker, enum watched_kind kind, struct str name,
                            struct str user, bool makes);
/* Frees it if it is over. */
void watched_settle(struct broker *broker, struct watched *watched);
/* At this second. */
bool watched_is_banned(const struct broker *broker, const struct watched *watched);
/* Counts one; `counter` is drops or failures of `watched`. At `limit` (0 = none) it is banned, and
 * the log says of what (`what`). */
void watched_count(struct broker *broker, struct watched *watched, uint32_t *counter,
                   uint32_t limit, const char *what);
/* Settles all. */
void bans_sweep(struct broker *broker);
/* Frees all, whatever they are. */
void bans_free(struct broker *broker);
/* Its name as it came (session_short), borrowed. */
static inline struct str watched_name(const struct watched *w)
{
    return (struct str){w->key + 1, w->name_size};
}
/* Whose client it is, borrowed; "" but for clients. */
static inline struct str watched_user(const struct watched *w)
{
    size_t head = w->name_size + 2;
    return w->key_size > head ? (struct str){w->key + head, w->key_size - head} : STR("");
}
/* Lifts the bans of an address, or of a client id whoever its user is. Gives how many. */
size_t bans_lift(struct broker *broker, enum watched_kind kind, struct str name);

#endif
