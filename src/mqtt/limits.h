/* limits.h - what keeps one client, address or user from taking what is everybody's: counts, rates,
 * bans (limits.c, bans.c). On the broker's task. Private to mqtt/.
 *
 * A limit that acts is counted in its metric and named in the log, once in ten seconds with how
 * often. Peers are counted by their address: IPv6 by its first 64 bits, as one customer has so
 * many; those of this machine (other than mqtt.limits.loopback says) and those whose address is a
 * proxy's are not. */
#ifndef MQTT_LIMITS_H
#define MQTT_LIMITS_H

#include "base/map.h"
#include "loop/context.h"
#include "mqtt/broker.h"
#include "mqtt/limit_table.h"

struct connection;

enum broker_limit {
#define X(symbol, setting, metric, text) LIMIT_##symbol,
    MQTT_LIMIT_TABLE(X)
#undef X
        LIMIT_COUNT
};

enum watched_kind { WATCHED_PEER, WATCHED_USER, WATCHED_CLIENT, WATCHED_KINDS };

/* An address, a user or a client (of one user) that is connected or was of late. Kept while it has
 * connections, a window that is not over, or a ban. */
struct watched {
    enum watched_kind kind;
    uint32_t connections, half_open;
    uint32_t drops, failures; /* in the window */
    int64_t window_s;         /* its beginning */
    int64_t slow_until_ns;    /* logins wait until then */
    int64_t banned_until_s;   /* 0 = not */
    uint32_t banned_wall_s, ban_count;
    size_t key_size, name_size;
    char key[]; /* kind, name; a client's user behind a NUL */
};

/* A connection that is not read until its time has come. */
struct hold {
    struct hold *next, **link;
    struct connection *connection;
    int64_t until_ns;
};

/* When the next message or byte would be in time: a bucket that drips (GCRA), a second deep. */
struct throttle {
    int64_t messages_ns, bytes_ns;
};

struct limits {
    struct map watched;
    size_t watched_count[WATCHED_KINDS], ban_count;
    size_t half_open, half_open_of[BROKER_DOORS];
    int64_t login_ns[BROKER_DOORS]; /* as struct throttle, of logins */
    struct hold *holds;
    struct os_timer *timer; /* of holds */
    bool is_timed;
    int64_t swept_s, line_ns;
    struct {
        uint64_t count;
        int64_t said_ns; /* 0 = never */
        char who[96];
    } told[LIMIT_COUNT];
};

void limits_init(struct broker *broker);
void limits_free(struct broker *broker);
/* Each second: lines that wait, watched ones that are over. */
void limits_tick(struct broker *broker);

/* A limit has acted; `who` "" = nobody in particular. */
void limits_act(struct broker *broker, enum broker_limit limit, const char *who);
/* Whether there may be a line in the log of a connection that was closed: some dozens a second. */
bool limits_may_tell(struct broker *broker);

/* ---- a connection's life ---- */

/* One more may come through this door. */
bool limits_have_place(struct broker *broker, enum broker_door door);
/* It came; it is not logged in. */
void limits_arrived(struct connection *connection);
/* Its address is known. False: it may not stay. */
bool limits_admit(struct connection *connection, const char *peer);
/* It is logged in with this client id, unless it may not: then its reason. */
enum mqtt_reason limits_open(struct connection *connection, const struct identity *identity,
                             struct str client_id);
/* It is gone. */
void limits_gone(struct connection *connection);
/* A connection that was open ends; `is_fault`: not by DISCONNECT, nor by the node's will. */
void limits_dropped(struct connection *connection, bool is_fault);
/* What came from its address was a wrong password, or no MQTT. */
void limits_failed(struct connection *connection);

/* ---- rates ---- */

/* Whether a CONNECT that is there is looked at now (else it is held, and comes again). With
 * is_busy it is refused. */
bool limits_may_log_in(struct connection *connection);
/* A PUBLISH of so many bytes was taken: may hold the connection. */
void limits_charge(struct connection *connection, size_t size_bytes);

/* ---- bans.c ---- */

/* NULL: no memory, or too many are watched. Counts nothing. */
struct watched *watched_get(struct broker *broker, enum watched_kind kind, struct str name,
                            struct str user, bool makes);
/* It may be over now. */
void watched_settle(struct broker *broker, struct watched *watched);
bool watched_is_banned(const struct broker *broker, const struct watched *watched);
/* Counts one; `counter` is drops or failures of `w`. At `limit` (0 = none) it is banned. */
void watched_count(struct broker *broker, struct watched *watched, uint32_t *counter,
                   uint32_t limit, const char *what);
void bans_sweep(struct broker *broker);
void bans_free(struct broker *broker);
static inline struct str watched_name(const struct watched *w)
{
    return (struct str){w->key + 1, w->name_size};
}
/* "" but for clients. */
static inline struct str watched_user(const struct watched *w)
{
    size_t head = w->name_size + 2;
    return w->key_size > head ? (struct str){w->key + head, w->key_size - head} : STR("");
}
/* Lifts the bans of an address, or of a client id whoever its user is. Gives how many. */
size_t bans_lift(struct broker *broker, enum watched_kind kind, struct str name);

#endif
