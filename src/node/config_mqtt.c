/* config_mqtt.c - see config_mqtt.h: one table of keys, and what a field table cannot say: sizes
 * with units, "never", and that the broker's memory is a part of the node's.
 *
 * The table's defaults are the broker's own (broker_defaults); a test compares them. */
#include "node/config_mqtt.h"
#include "base/timetext.h"
#include "mqtt/topic.h"
#include "node/config.h"
#include <stdio.h>

enum { PACKET_MAX_BYTES = MQTT_REMAINING_MAX };

static const char *const shared_choices[] = {
    [BROKER_ROUND_ROBIN] = "round-robin",
    [BROKER_RANDOM] = "random",
    [BROKER_STICKY] = "sticky",
    [BROKER_HASH_TOPIC] = "hash-topic",
    NULL,
};
static const char *const full_choices[] = {
    [BROKER_DROP_OLDEST] = "drop-oldest",
    [BROKER_DROP_NEW] = "drop-new",
    NULL,
};

#define QUEUE_AT(member)                                                                           \
    (offsetof(struct raw_mqtt, queue.member) - offsetof(struct raw_mqtt, queue))
static const struct field queue_fields[] = {
    {.name = "messages",
     .type = FIELD_INT,
     .offset = QUEUE_AT(messages),
     .default_text = "10000",
     .min = 1,
     .max = 100e6,
     .help_en = "so many messages are kept for one session",
     .help_zh = "每个会话最多保留的消息数"},
    {.name = "bytes",
     .type = FIELD_STRING,
     .offset = QUEUE_AT(bytes),
     .default_text = "4MiB",
     .help_en = "and so much of them",
     .help_zh = "每个会话最多保留的字节数"},
    {.name = "full",
     .type = FIELD_ENUM,
     .offset = QUEUE_AT(full),
     .default_text = "drop-oldest",
     .choices = full_choices,
     .help_en = "which messages go when there is no place",
     .help_zh = "队列满时丢弃哪些消息"},
    {0},
};

#define AT(member) offsetof(struct raw_mqtt, member)
const struct field config_mqtt_fields[] = {
    {.name = "anonymous",
     .type = FIELD_BOOL,
     .offset = AT(anonymous),
     .default_text = "false",
     .help_en = "clients without a user are let in as the user anonymous; on loopback only",
     .help_zh = "允许不带用户名的客户端以 anonymous 用户登录；仅限本机"},
    {.name = "proxy",
     .type = FIELD_BOOL,
     .offset = AT(proxy),
     .default_text = "false",
     .help_en = "connections to mqtt and mqtts begin with a PROXY header (version 2), which is "
                "believed: for use behind a load balancer alone",
     .help_zh =
         "mqtt 与 mqtts 的连接以 PROXY 头（版本 2）开始且其内容被采信；仅用于负载均衡器之后"},
    {.name = "memory",
     .type = FIELD_STRING,
     .offset = AT(memory),
     .help_en = "of memory:, for sessions, queues and retained messages; a quarter when not given",
     .help_zh = "会话、队列和保留消息可用的内存（属于 memory:）；默认四分之一"},
    {.name = "maxConnections",
     .type = FIELD_INT,
     .offset = AT(connections_max),
     .default_text = "20000",
     .min = 1,
     .max = 1e6,
     .help_en = "clients connected at once",
     .help_zh = "同时连接的客户端数"},
    {.name = "maxPacket",
     .type = FIELD_STRING,
     .offset = AT(packet_max),
     .default_text = "1MiB",
     .help_en = "largest packet that a client may send",
     .help_zh = "客户端可发送的最大报文"},
    {.name = "receiveMaximum",
     .type = FIELD_INT,
     .offset = AT(receive_maximum),
     .default_text = "1024",
     .min = 1,
     .max = 65535,
     .help_en = "QoS 1 and 2 messages that a client may send before they are acknowledged",
     .help_zh = "客户端在确认前可发送的 QoS 1、2 消息数"},
    {.name = "topicAliasMaximum",
     .type = FIELD_INT,
     .offset = AT(topic_alias_maximum),
     .default_text = "64",
     .max = 4096,
     .help_en = "topic aliases that a client may use",
     .help_zh = "客户端可使用的主题别名数"},
    {.name = "sessionExpiryMax",
     .type = FIELD_STRING,
     .offset = AT(session_expiry_max),
     .default_text = "never",
     .help_en = "longest life of a session whose client is away; a duration or never",
     .help_zh = "离线会话的最长保留时间；时长或 never（永不过期）"},
    {.name = "keepAliveMax",
     .type = FIELD_DURATION,
     .offset = AT(keep_alive_max_ns),
     .default_text = "0s",
     .max = 65535,
     .help_en = "longest keep-alive of 5.0 clients; 0s = as they say",
     .help_zh = "5.0 客户端的最长保活时间；0s 表示由客户端决定"},
    {.name = "queue",
     .type = FIELD_OBJECT,
     .offset = AT(queue),
     .sub = queue_fields,
     .help_en = "what waits for one session",
     .help_zh = "每个会话的待发队列"},
    {.name = "sendBuffer",
     .type = FIELD_STRING,
     .offset = AT(send_buffer),
     .default_text = "256KiB",
     .help_en = "on its way to one client; beyond it QoS 0 is dropped and the rest waits",
     .help_zh = "发往单个客户端的缓冲；超出后丢弃 QoS 0，其余等待"},
    {.name = "maxRetained",
     .type = FIELD_INT,
     .offset = AT(retained_max),
     .default_text = "100000",
     .max = 100e6,
     .help_en = "retained messages",
     .help_zh = "保留消息数"},
    {.name = "maxSubscriptions",
     .type = FIELD_INT,
     .offset = AT(subscriptions_max),
     .default_text = "1000",
     .min = 1,
     .max = 1e6,
     .help_en = "subscriptions of one session",
     .help_zh = "每个会话的订阅数"},
    {.name = "dataPrefix",
     .type = FIELD_STRING,
     .offset = AT(data_prefix),
     .default_text = "data",
     .help_en = "messages to PREFIX/DEVICE/TABLE are rows of that table",
     .help_zh = "发往 前缀/设备/表 的消息作为该表的行存储"},
    {.name = "shared",
     .type = FIELD_ENUM,
     .offset = AT(shared),
     .default_text = "round-robin",
     .choices = shared_choices,
     .help_en = "which member of a shared subscription gets a message",
     .help_zh = "共享订阅的分发策略"},
    {.name = "sysInterval",
     .type = FIELD_DURATION,
     .offset = AT(sys_interval_ns),
     .default_text = "10s",
     .max = 3600,
     .help_en = "how often topics under $SYS tell of the broker; 0s = never",
     .help_zh = "发布 $SYS 主题的间隔；0s 表示不发布"},
    {0},
};

static enum err take_size(struct str text, const char *key, size_t least, size_t most,
                          const char *file, size_t *bytes, struct why *why)
{
    int64_t value;
    if (node_parse_size(text, &value) && (uint64_t)value >= least && (uint64_t)value <= most) {
        *bytes = (size_t)value;
        return ERR_OK;
    }
    return why_set(why, ERR_INVALID,
                   "%s: mqtt.%s: '%.*s' must be a size from %zu KiB to %zu KiB, such as %zuKiB",
                   file, key, (int)text.size, text.size ? text.at : "", least / 1024, most / 1024,
                   least / 1024);
}

static enum err take_expiry(struct str text, const char *file, uint32_t *seconds, struct why *why)
{
    int64_t ns;
    *seconds = UINT32_MAX;
    if (str_is(text, "never")) return ERR_OK;
    if (!duration_parse(text, &ns) || ns / TIME_NS_PER_S >= UINT32_MAX)
        return why_set(why, ERR_INVALID,
                       "%s: mqtt.sessionExpiryMax: '%.*s' must be never, or a duration such as 7d",
                       file, (int)text.size, text.size ? text.at : "");
    *seconds = (uint32_t)(ns / TIME_NS_PER_S);
    return ERR_OK;
}

enum err config_mqtt_finish(const struct raw_mqtt *raw, int64_t memory_bytes, const char *file,
                            struct mqtt_settings *settings, struct why *why)
{
    struct broker_config *b = &settings->broker;
    size_t memory = (size_t)memory_bytes;
    MUST(memory_bytes > 0 && raw->connections_max > 0);
    *settings = (struct mqtt_settings){.anonymous = raw->anonymous, .proxy = raw->proxy};
    *b = (struct broker_config){
        .memory_bytes = memory / 4,
        .connections_max = (uint32_t)raw->connections_max,
        .receive_maximum = (uint16_t)raw->receive_maximum,
        .topic_alias_maximum = (uint16_t)raw->topic_alias_maximum,
        .keep_alive_max_s = (uint16_t)(raw->keep_alive_max_ns / TIME_NS_PER_S),
        .queue_messages = (size_t)raw->queue.messages,
        .queue_full = (enum broker_full)raw->queue.full,
        .retained_max = (size_t)raw->retained_max,
        .subscriptions_max = (size_t)raw->subscriptions_max,
        .sys_interval_s = (uint32_t)(raw->sys_interval_ns / TIME_NS_PER_S),
        .shared = (enum broker_shared)raw->shared,
    };
    const struct {
        const char *key;
        struct str text;
        size_t least, most;
        size_t *to;
    } sizes[] = {
        {"maxPacket", raw->packet_max, 1024, PACKET_MAX_BYTES, &b->packet_bytes_max},
        {"queue.bytes", raw->queue.bytes, 1024, (size_t)1 << 40, &b->queue_bytes},
        {"sendBuffer", raw->send_buffer, 4096, (size_t)1 << 30, &b->send_bytes_max},
        {"memory", raw->memory, (size_t)1 << 20, memory / 2, &b->memory_bytes},
    };
    struct str prefix = raw->data_prefix;
    if (!topic_name_is_valid(prefix) || prefix.at[0] == '$' || prefix.at[prefix.size - 1] == '/' ||
        prefix.size + 2 > sizeof b->data_prefix)
        return why_set(why, ERR_INVALID,
                       "%s: mqtt.dataPrefix: '%.*s' must be the beginning of a topic, such as data",
                       file, (int)prefix.size, prefix.size ? prefix.at : "");
    (void)snprintf(b->data_prefix, sizeof b->data_prefix, "%.*s/", (int)prefix.size, prefix.at);
    enum err err = take_expiry(raw->session_expiry_max, file, &b->session_expiry_max_s, why);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && !err; i++)
        if (sizes[i].text.size) /* only the last one has no default */
            err = take_size(sizes[i].text, sizes[i].key, sizes[i].least, sizes[i].most, file,
                            sizes[i].to, why);
    return err;
}
