/* config_mqtt.c - see config_mqtt.h: one table of keys, and what a field table cannot say: sizes
 * with units, "never", and that the broker's memory is a part of the node's.
 *
 * The table's defaults are the broker's own (broker_defaults); a test compares them. */
#include "node/config_mqtt.h"
#include "base/num.h"
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
    [BROKER_KEEP_EVERY_NTH] = "keep-every-nth",
    NULL,
};

#define QUEUE_AT(member)                                                                           \
    (offsetof(struct raw_mqtt, queue.member) - offsetof(struct raw_mqtt, queue))
static const struct field queue_fields[] = {
    {.name = "messages",
     .type = FIELD_INT,
     .offset = QUEUE_AT(messages),
     .default_text = "1000000",
     .min = 1,
     .max = 1e9,
     .help_en = "so many messages are kept for one session",
     .help_zh = "每个会话最多保留的消息数"},
    {.name = "bytes",
     .type = FIELD_STRING,
     .offset = QUEUE_AT(bytes),
     .default_text = "256MiB",
     .help_en = "and so much of them",
     .help_zh = "每个会话最多保留的字节数"},
    {.name = "full",
     .type = FIELD_ENUM,
     .offset = QUEUE_AT(full),
     .default_text = "drop-oldest",
     .choices = full_choices,
     .help_en = "which messages go when there is no place",
     .help_zh = "队列满时丢弃哪些消息"},
    {.name = "every",
     .type = FIELD_INT,
     .offset = QUEUE_AT(every),
     .default_text = "10",
     .min = 2,
     .max = 1e6,
     .help_en = "keep-every-nth: of the messages that wait in a full queue each so many-th stays",
     .help_zh = "keep-every-nth：队列满时每隔多少条保留一条"},
    {.name = "age",
     .type = FIELD_DURATION,
     .offset = QUEUE_AT(age_ns),
     .default_text = "0s",
     .max = 4e9,
     .help_en = "messages that have waited longer are not delivered; 0s = however long",
     .help_zh = "等待超过该时长的消息不再投递；0s 表示不限"},
    {.name = "memory",
     .type = FIELD_STRING,
     .offset = QUEUE_AT(memory),
     .default_text = "256KiB",
     .help_en = "so much of a session's queue lies in memory, the rest in files",
     .help_zh = "每个会话队列在内存中的部分，其余写入文件"},
    {.name = "disk",
     .type = FIELD_STRING,
     .offset = QUEUE_AT(disk),
     .default_text = "2GiB",
     .help_en = "so large may these files be, of all sessions together",
     .help_zh = "所有会话队列文件的总大小上限"},
    {0},
};

#define EXTERNAL_AT(member)                                                                        \
    (offsetof(struct raw_mqtt, external.member) - offsetof(struct raw_mqtt, external))
#define EXTERNAL_TLS_AT(member)                                                                    \
    (offsetof(struct raw_mqtt, external.tls.member) - offsetof(struct raw_mqtt, external.tls))
static const struct field external_tls_fields[] = {
    {.name = "ca",
     .type = FIELD_STRING,
     .offset = EXTERNAL_TLS_AT(ca),
     .help_en = "PEM file of who signed its certificate; nothing = the system's list",
     .help_zh = "签发其证书的 CA（PEM 文件）；留空使用系统列表"},
    {.name = "cert",
     .type = FIELD_STRING,
     .offset = EXTERNAL_TLS_AT(cert),
     .help_en = "own certificate, PEM file",
     .help_zh = "本端证书 PEM 文件"},
    {.name = "key",
     .type = FIELD_STRING,
     .offset = EXTERNAL_TLS_AT(key),
     .help_en = "its key, PEM file",
     .help_zh = "本端私钥 PEM 文件"},
    {.name = "serverName",
     .type = FIELD_STRING,
     .offset = EXTERNAL_TLS_AT(server_name),
     .help_en = "name in its certificate; nothing = the endpoint's host",
     .help_zh = "其证书中的名称；留空使用 endpoint 的主机名"},
    {0},
};
static const struct field external_fields[] = {
    {.name = "endpoint",
     .type = FIELD_STRING,
     .offset = EXTERNAL_AT(endpoint),
     .help_en = "tcp://, tls://, ws:// or wss://HOST:PORT; nothing = the node's own broker is used",
     .help_zh = "tcp://、tls://、ws:// 或 wss://主机:端口；留空使用节点自带的代理"},
    {.name = "user",
     .type = FIELD_STRING,
     .offset = EXTERNAL_AT(user),
     .help_en = "user there",
     .help_zh = "用户名"},
    {.name = "password",
     .type = FIELD_STRING,
     .offset = EXTERNAL_AT(password),
     .help_en = "its password; better in a file",
     .help_zh = "密码；建议使用 passwordFile"},
    {.name = "passwordFile",
     .type = FIELD_STRING,
     .offset = EXTERNAL_AT(password_file),
     .help_en = "file with the password on its first line",
     .help_zh = "首行为密码的文件"},
    {.name = "clientId",
     .type = FIELD_STRING,
     .offset = EXTERNAL_AT(client_id),
     .help_en = "client identifier there; default: millrace-NODE",
     .help_zh = "客户端标识；默认 millrace-节点"},
    {.name = "tls",
     .type = FIELD_OBJECT,
     .offset = EXTERNAL_AT(tls),
     .sub = external_tls_fields,
     .help_en = "certificates, with tls://",
     .help_zh = "tls:// 使用的证书"},
    {.name = "commands",
     .type = FIELD_BOOL,
     .offset = EXTERNAL_AT(commands),
     .default_text = "false",
     .help_en = "true: messages of the external broker under mqtt.cmdPrefix may write to equipment",
     .help_zh = "为 true 时外部代理的命令消息可以写入设备"},
    {.name = "insecure",
     .type = FIELD_BOOL,
     .offset = EXTERNAL_AT(insecure),
     .default_text = "false",
     .help_en = "true: tcp:// to another host is meant",
     .help_zh = "为 true 时允许不加密连接其他主机"},
    {0},
};

static const char *const ack_choices[] = {
    [BROKER_ACK_SYNCED] = "synced",
    [BROKER_ACK_WRITTEN] = "written",
    [BROKER_ACK_MEMORY] = "memory",
    NULL,
};
static const char *const door_ack_choices[] = {
    [BROKER_ACK_SYNCED] = "synced",
    [BROKER_ACK_WRITTEN] = "written",
    [BROKER_ACK_MEMORY] = "memory",
    [BROKER_ACK_INHERIT] = "default",
    NULL,
};

#define DOOR_AT(member)                                                                            \
    (offsetof(struct raw_mqtt, ack_listeners.member) - offsetof(struct raw_mqtt, ack_listeners))
#define DOOR(key, member, en, zh)                                                                  \
    {                                                                                              \
        .name = (key), .type = FIELD_ENUM, .offset = DOOR_AT(member), .default_text = "default",   \
        .choices = door_ack_choices, .help_en = (en), .help_zh = (zh)                              \
    }
static const struct field ack_listener_fields[] = {
    DOOR("mqtt", plain, "of clients of listen.mqtt; default = as mqtt.ack",
         "listen.mqtt 的客户端；default 表示同 mqtt.ack"),
    DOOR("mqtts", tls, "of clients of listen.mqtts", "listen.mqtts 的客户端"),
    DOOR("mqttUnix", local, "of clients of listen.mqttUnix", "listen.mqttUnix 的客户端"),
    DOOR("web", web, "of clients by WebSocket", "WebSocket 客户端"),
    {0},
};

static const struct field ack_topic_fields[] = {
    {.name = "filter",
     .type = FIELD_STRING,
     .offset = offsetof(struct raw_ack_topic, filter),
     .flags = FIELD_REQUIRED,
     .help_en = "topics, with + and #",
     .help_zh = "主题过滤器，可含 + 和 #"},
    {.name = "ack",
     .type = FIELD_ENUM,
     .offset = offsetof(struct raw_ack_topic, ack),
     .default_text = "synced",
     .choices = ack_choices,
     .help_en = "as mqtt.ack, of messages to them",
     .help_zh = "发往这些主题的消息的确认时机，同 mqtt.ack"},
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
    {.name = "external",
     .type = FIELD_OBJECT,
     .offset = AT(external),
     .sub = external_fields,
     .help_en = "another broker that the node uses instead of its own",
     .help_zh = "代替节点自带代理的外部代理"},
    {.name = "psk",
     .type = FIELD_STRING,
     .offset = AT(psk),
     .help_en = "file of keys that clients of mqtts may prove instead of a password: lines "
                "IDENTITY:HEXKEY, mode 0600; the identity is the user",
     .help_zh =
         "mqtts 客户端可代替密码使用的预共享密钥文件：每行 身份:十六进制密钥，权限 0600；身份即用户名"},
    {.name = "memory",
     .type = FIELD_STRING,
     .offset = AT(memory),
     .help_en = "of memory:, for sessions, queues and retained messages; a quarter when not given",
     .help_zh = "会话、队列和保留消息可用的内存（属于 memory:）；默认四分之一"},
    {.name = "loops",
     .type = FIELD_STRING,
     .offset = AT(loops),
     .default_text = "auto",
     .help_en =
         "tasks that move the bytes of clients and do their TLS, 0 to 16: with 0 the broker's "
         "own task does; auto = a fourth of the processors. Clients that are connected stay "
         "where they are",
     .help_zh =
         "负责客户端收发与 TLS 的任务数，0 到 16：0 表示由代理自身的任务完成；auto 为处理器数的四分之一。"
         "已连接的客户端不受影响"},
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
     .help_en = "retained messages; with 0 clients of 5.0 are told that there are none",
     .help_zh = "保留消息数；为 0 时告知 5.0 客户端不支持保留消息"},
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
    {.name = "cmdPrefix",
     .type = FIELD_STRING,
     .offset = AT(cmd_prefix),
     .default_text = "cmd",
     .help_en = "messages to PREFIX/DEVICE/POINT ask for a write to that point",
     .help_zh = "发往 前缀/设备/点 的消息请求写入该点"},
    {.name = "ack",
     .type = FIELD_ENUM,
     .offset = AT(ack),
     .default_text = "synced",
     .choices = ack_choices,
     .help_en = "when a message of QoS 1 or 2 that a session or the retained ones keep is "
                "acknowledged: on the disk; written (survives a crash of the node, not of the "
                "machine); in memory. Rows wait for the disk in any case",
     .help_zh =
         "QoS 1、2 的保留消息何时确认：已同步到磁盘；已写入内核（节点崩溃不丢）；仅在内存。行数据总是等待磁盘"},
    {.name = "ackListeners",
     .type = FIELD_OBJECT,
     .offset = AT(ack_listeners),
     .sub = ack_listener_fields,
     .help_en = "the same by the way in",
     .help_zh = "按接入方式设置"},
    {.name = "ackTopics",
     .type = FIELD_LIST,
     .offset = AT(ack_topics),
     .sub = ack_topic_fields,
     .sub_bytes = sizeof(struct raw_ack_topic),
     .help_en = "the same by topic, which counts before the way in; the first that fits",
     .help_zh = "按主题设置，优先于接入方式；以第一个匹配项为准"},
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
    {.name = "limits",
     .type = FIELD_OBJECT,
     .offset = AT(limits),
     .sub = config_mqtt_limit_fields,
     .help_en = "what one client, user or address may take; who is over a limit is in the log",
     .help_zh = "单个客户端、用户或地址的限额；触发时写入日志"},
    {.name = "bans",
     .type = FIELD_OBJECT,
     .offset = AT(bans),
     .sub = config_mqtt_ban_fields,
     .help_en = "who stays outside for a while: clients that come and go in a circle, addresses "
                "that try passwords",
     .help_zh = "临时封禁：反复断连的客户端、猜测密码的地址"},
    {0},
};

static enum err take_size(struct str text, const char *key, size_t least, size_t most,
                          const char *file, size_t *bytes, struct why *why)
{
    int64_t value;
    if (num_parse_size(text, &value) && (uint64_t)value >= least && (uint64_t)value <= most) {
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

static enum err take_prefix(struct str prefix, const char *key, const char *example,
                            const char *file, char out[64], struct why *why)
{
    if (!topic_name_is_valid(prefix) || prefix.at[0] == '$' || prefix.at[prefix.size - 1] == '/' ||
        prefix.size + 2 > 64)
        return why_set(why, ERR_INVALID,
                       "%s: mqtt.%s: '%.*s' must be the beginning of a topic, such as %s", file,
                       key, (int)prefix.size, prefix.size ? prefix.at : "", example);
    (void)snprintf(out, 64, "%.*s/", (int)prefix.size, prefix.at);
    return ERR_OK;
}

static enum err take_acks(const struct raw_mqtt *raw, const char *file, struct broker_acks *acks,
                          struct why *why)
{
    const struct raw_ack_topic *topics = raw->ack_topics.items;
    acks->otherwise = (uint8_t)raw->ack;
    acks->doors[BROKER_PLAIN] = (uint8_t)raw->ack_listeners.plain;
    acks->doors[BROKER_TLS] = (uint8_t)raw->ack_listeners.tls;
    acks->doors[BROKER_LOCAL] = (uint8_t)raw->ack_listeners.local;
    acks->doors[BROKER_WEB] = (uint8_t)raw->ack_listeners.web;
    if (raw->ack_topics.count > BROKER_ACK_TOPICS_MAX)
        return why_set(why, ERR_INVALID, "%s: mqtt.ackTopics: %zu filters; at most %d", file,
                       raw->ack_topics.count, BROKER_ACK_TOPICS_MAX);
    for (size_t i = 0; i < raw->ack_topics.count; i++) {
        struct str filter = topics[i].filter;
        if (str_starts(filter, "$share/"))
            return why_set(why, ERR_INVALID,
                           "%s: mqtt.ackTopics[%zu].filter: '%.*s' is of a shared subscription; it "
                           "is topics that are meant, without $share/NAME/",
                           file, i, (int)filter.size, filter.at);
        if (!topic_filter_is_valid(filter) ||
            !str_copy(acks->topics[i].filter, sizeof acks->topics[i].filter, filter))
            return why_set(why, ERR_INVALID,
                           "%s: mqtt.ackTopics[%zu].filter: '%.*s' is no topic filter of less than "
                           "%d bytes",
                           file, i, (int)filter.size, filter.size ? filter.at : "",
                           BROKER_ACK_FILTER_BYTES);
        acks->topics[i].ack = (uint8_t)topics[i].ack;
        acks->count++;
    }
    return ERR_OK;
}

static enum err take_loops(struct str text, const char *file, int *loops, struct why *why)
{
    uint64_t number = 0;
    if (str_is(text, "auto")) {
        *loops = BROKER_LOOPS_AUTO;
        return ERR_OK;
    }
    if (!num_parse_u64(text, &number) || number > BROKER_LOOPS_MAX)
        return why_set(why, ERR_INVALID,
                       "%s: mqtt.loops: \"%.*s\" is neither auto nor a number from 0 to %d", file,
                       (int)text.size, text.at, BROKER_LOOPS_MAX);
    *loops = (int)number;
    return ERR_OK;
}

static enum err take_prefixes(const struct raw_mqtt *raw, const char *file, struct broker_config *b,
                              struct why *why)
{
    enum err err = take_prefix(raw->data_prefix, "dataPrefix", "data", file, b->data_prefix, why);
    if (!err) err = take_prefix(raw->cmd_prefix, "cmdPrefix", "cmd", file, b->cmd_prefix, why);
    if (err || (!str_starts(str_of(b->data_prefix), b->cmd_prefix) &&
                !str_starts(str_of(b->cmd_prefix), b->data_prefix)))
        return err;
    return why_set(why, ERR_INVALID,
                   "%s: mqtt.cmdPrefix: '%s' and mqtt.dataPrefix '%s' must not lie within each "
                   "other",
                   file, b->cmd_prefix, b->data_prefix);
}

/* All sizes in bytes; those without a text have no default, and stay as they are. `memory`: of the
 * whole node. */
static enum err take_sizes(const struct raw_mqtt *raw, size_t memory, const char *file,
                           struct broker_config *b, struct why *why)
{
    size_t disk = 0, byte_rate = 0;
    const struct {
        const char *key;
        struct str text;
        size_t least, most;
        size_t *to;
    } sizes[] = {
        {"limits.loginPacket", raw->limits.login_packet, 1024, PACKET_MAX_BYTES,
         &b->limits.login_bytes},
        {"limits.bytesPerSecond", raw->limits.byte_rate, 1024, (size_t)1 << 40, &byte_rate},
        {"maxPacket", raw->packet_max, 1024, PACKET_MAX_BYTES, &b->packet_bytes_max},
        {"queue.bytes", raw->queue.bytes, 1024, (size_t)1 << 40, &b->queue.bytes},
        {"queue.memory", raw->queue.memory, 4096, (size_t)1 << 30, &b->queue_memory_bytes},
        {"queue.disk", raw->queue.disk, 1024 * 1024, (size_t)1 << 50, &disk},
        {"sendBuffer", raw->send_buffer, 4096, (size_t)1 << 30, &b->send_bytes_max},
        {"memory", raw->memory, (size_t)1 << 20, memory / 2, &b->memory_bytes},
    };
    enum err err = ERR_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && !err; i++)
        if (sizes[i].text.size)
            err = take_size(sizes[i].text, sizes[i].key, sizes[i].least, sizes[i].most, file,
                            sizes[i].to, why);
    b->limits.byte_rate = byte_rate;
    b->queue_disk_bytes = disk;
    return err;
}

enum err config_mqtt_finish(const struct raw_mqtt *raw, int64_t memory_bytes, const char *file,
                            struct mqtt_settings *settings, struct why *why)
{
    struct broker_config *b = &settings->broker;
    size_t memory = (size_t)memory_bytes;
    MUST(memory_bytes > 0 && raw->connections_max > 0);
    *settings =
        (struct mqtt_settings){.anonymous = raw->anonymous, .proxy = raw->proxy, .psk = raw->psk};
    *b = (struct broker_config){
        .memory_bytes = memory / 4,
        .connections_max = (uint32_t)raw->connections_max,
        .receive_maximum = (uint16_t)raw->receive_maximum,
        .topic_alias_maximum = (uint16_t)raw->topic_alias_maximum,
        .keep_alive_max_s = (uint16_t)(raw->keep_alive_max_ns / TIME_NS_PER_S),
        .queue = {.messages = (size_t)raw->queue.messages,
                  .full = (enum broker_full)raw->queue.full,
                  .every = (uint32_t)raw->queue.every,
                  .age_s = (uint32_t)(raw->queue.age_ns / TIME_NS_PER_S)},
        .retained_max = (size_t)raw->retained_max,
        .subscriptions_max = (size_t)raw->subscriptions_max,
        .sys_interval_s = (uint32_t)(raw->sys_interval_ns / TIME_NS_PER_S),
        .shared = (enum broker_shared)raw->shared,
    };
    config_mqtt_limits_finish(&raw->limits, &raw->bans, b);
    enum err err = take_loops(raw->loops, file, &b->loops, why);
    if (!err) err = take_prefixes(raw, file, b, why);
    if (!err) err = take_expiry(raw->session_expiry_max, file, &b->session_expiry_max_s, why);
    if (!err) err = take_sizes(raw, memory, file, b, why);
    if (!err) err = take_acks(raw, file, &b->acks, why);
    return err;
}

/* What is said of itself to the remote broker has the room that MQTT gives a text. */
static enum err check_external(const struct bridges_external *external, const char *file,
                               struct why *why)
{
    const struct {
        const char *name;
        size_t size;
    } texts[] = {{"user", external->user.size},
                 {"password", external->password.size},
                 {"clientId", external->client_id.size}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].size > MQTT_TEXT_BYTES_MAX)
            return why_set(why, ERR_INVALID,
                           "%s: mqtt.external.%s: %zu bytes; MQTT has room for %d", file,
                           texts[i].name, texts[i].size, MQTT_TEXT_BYTES_MAX);
    return ERR_OK;
}

enum err config_mqtt_external(struct os *os, const struct raw_mqtt *raw, const char *file,
                              struct arena *arena, struct bridges_external *external,
                              struct why *why)
{
    struct bridges_remote remote;
    *external = (struct bridges_external){.endpoint = raw->external.endpoint,
                                          .user = raw->external.user,
                                          .password = raw->external.password,
                                          .client_id = raw->external.client_id,
                                          .ca = raw->external.tls.ca,
                                          .cert = raw->external.tls.cert,
                                          .key = raw->external.tls.key,
                                          .server_name = raw->external.tls.server_name,
                                          .insecure = raw->external.insecure,
                                          .commands = raw->external.commands};
    (void)snprintf(external->data_filter, sizeof external->data_filter, "%.*s/#",
                   (int)raw->data_prefix.size, raw->data_prefix.at);
    (void)snprintf(external->cmd_filter, sizeof external->cmd_filter, "%.*s/#",
                   (int)raw->cmd_prefix.size, raw->cmd_prefix.at);
    struct str path = raw->external.password_file;
    if (!external->endpoint.size) return ERR_OK;
    enum err err = bridges_endpoint(external->endpoint, external->insecure, &remote, why);
    if (err) return why_wrap(why, err, "%s: mqtt.external.endpoint", file);
    if (!path.size) return check_external(external, file, why);
    struct str text = {0}, line;
    err = node_read_file(os, path.at, arena, &text, why);
    if (err) return why_wrap(why, err, "%s: mqtt.external.passwordFile", file);
    external->password = str_split(&text, '\n', &line) ? str_trim(line) : STR("");
    return check_external(external, file, why);
}
