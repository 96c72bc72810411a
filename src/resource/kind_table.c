/* kind_table.c - the fields of every kind (see field.h for what a row says). */
#include "resource/kind_priv.h"
#include "base/timetext.h"
#include <math.h>
#include <stdio.h>

static const struct field connection_fields[] = {
    {.name = "driver",
     .type = FIELD_STRING,
     .offset = AT(connection_spec, driver),
     .flags = FIELD_REQUIRED,
     .help_en = "protocol driver, such as modbus",
     .help_zh = "协议驱动，例如 modbus"},
    {.name = "endpoint",
     .type = FIELD_STRING,
     .offset = AT(connection_spec, endpoint),
     .help_en =
         "where the equipment is: tcp://, tls://, rtu+tcp:// or ascii+tcp://HOST:PORT; "
         "rtu:// or ascii:///dev/ttyUSB0?baud=9600&parity=even; listen+tcp://0.0.0.0:PORT where it "
         "dials in; nothing for the driver host",
     .help_zh =
         "设备地址：tcp://、tls://、rtu+tcp:// 或 ascii+tcp://主机:端口；rtu:// 或 "
         "ascii:///dev/ttyUSB0?baud=9600&parity=even；设备拨入时用 listen+tcp://0.0.0.0:端口；"
         "host 驱动留空"},
    {.name = "timeout",
     .type = FIELD_DURATION,
     .offset = AT(connection_spec, timeout_ns),
     .default_text = "500ms",
     .min = 0.001,
     .max = 300,
     .help_en = "how long one request may wait for its answer",
     .help_zh = "单个请求等待应答的时间"},
    {.name = "retries",
     .type = FIELD_INT,
     .offset = AT(connection_spec, retries),
     .default_text = "2",
     .min = 0,
     .max = 20,
     .help_en = "further tries of a request that got no answer",
     .help_zh = "请求无应答后的重试次数"},
    {.name = "maxBackoff",
     .type = FIELD_DURATION,
     .offset = AT(connection_spec, connect_backoff_max_ns),
     .default_text = "4s",
     .min = 0.1,
     .max = 3600,
     .help_en = "longest pause between two attempts to connect",
     .help_zh = "两次连接尝试之间的最长间隔"},
    {.name = "enabled",
     .type = FIELD_BOOL,
     .offset = AT(connection_spec, enabled),
     .default_text = "true",
     .help_en = "false: the connection is not opened",
     .help_zh = "为 false 时不打开连接"},
    {.name = "options",
     .type = FIELD_MAP,
     .offset = AT(connection_spec, options),
     .help_en = "the driver's own options",
     .help_zh = "驱动自身的选项"},
    END,
};

static const struct field column_fields[] = {
    {.name = "name",
     .type = FIELD_STRING,
     .offset = AT(table_column_spec, name),
     .flags = FIELD_REQUIRED | FIELD_NAME,
     .help_en = "the column's name",
     .help_zh = "列名"},
    {.name = "type",
     .type = FIELD_STRING,
     .offset = AT(table_column_spec, type),
     .default_text = "double",
     .help_en = "bool, bigint, ubigint, double, text, bytes, timestamp or double[]",
     .help_zh = "bool、bigint、ubigint、double、text、bytes、timestamp 或 double[]"},
    {.name = "unit",
     .type = FIELD_STRING,
     .offset = AT(table_column_spec, unit),
     .help_en = "unit of the values, such as °C",
     .help_zh = "数值的单位，例如 °C"},
    {.name = "description",
     .type = FIELD_STRING,
     .offset = AT(table_column_spec, description),
     .help_en = "what the column means",
     .help_zh = "列的含义"},
    END,
};

static const struct field rollup_fields[] = {
    {.name = "every",
     .type = FIELD_DURATION,
     .offset = AT(table_rollup_spec, every_ns),
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = 86400,
     .help_en = "length of a window, 1s to 1d; a day is a whole number of them",
     .help_zh = "窗口长度，1s 到 1d；必须能整除一天"},
    {.name = "retention",
     .type = FIELD_DURATION,
     .offset = AT(table_rollup_spec, retention_ns),
     .default_text = "0s",
     .help_en = "how long the rollup's rows are kept; 0s = for ever",
     .help_zh = "汇总数据保留时间；0s 表示永久"},
    END,
};

static const struct field table_fields[] = {
    {.name = "name",
     .type = FIELD_STRING,
     .offset = AT(table_spec, name),
     .flags = FIELD_NAME,
     .help_en = "name in SQL; default: metadata.name with - and . as _",
     .help_zh = "SQL 中的表名；默认取 metadata.name，其中 - 和 . 换成 _"},
    {.name = "description",
     .type = FIELD_STRING,
     .offset = AT(table_spec, description),
     .help_en = "what the table holds",
     .help_zh = "表的内容说明"},
    {.name = "columns",
     .type = FIELD_LIST,
     .offset = AT(table_spec, columns),
     .sub = column_fields,
     .sub_bytes = sizeof(struct table_column_spec),
     .help_en = "the columns",
     .help_zh = "列"},
    {.name = "retention",
     .type = FIELD_DURATION,
     .offset = AT(table_spec, retention_ns),
     .default_text = "0s",
     .help_en = "how long rows are kept; 0s = for ever",
     .help_zh = "数据保留时间；0s 表示永久"},
    {.name = "open",
     .type = FIELD_BOOL,
     .offset = AT(table_spec, open),
     .default_text = "true",
     .help_en = "true: unknown columns are created by writing",
     .help_zh = "为 true 时写入会自动创建未知列"},
    {.name = "durability",
     .type = FIELD_STRING,
     .offset = AT(table_spec, durability),
     .default_text = "commit",
     .help_en = "commit: acknowledged rows survive power loss; interval D: up to D may be lost",
     .help_zh = "commit：已确认的行断电不丢；interval D：最多丢失 D 时间内的行"},
    {.name = "deviceTags",
     .type = FIELD_STRINGS,
     .offset = AT(table_spec, device_tags),
     .help_en = "tags of line protocol that name the device",
     .help_zh = "行协议中标识设备的标签"},
    {.name = "rollups",
     .type = FIELD_LIST,
     .offset = AT(table_spec, rollups),
     .sub = rollup_fields,
     .sub_bytes = sizeof(struct table_rollup_spec),
     .help_en =
         "windowed aggregates kept as tables NAME_1m…; one left out is dropped with its rows",
     .help_zh = "按窗口聚合并保存为 NAME_1m 等表；移除某项会删除对应的表及其数据"},
    END,
};

static const char *const store_choices[] = {"always", "change", NULL};
static const char *const access_choices[] = {"r", "rw", "w", NULL};

static const struct field point_fields[] = {
    {.name = "column",
     .type = FIELD_STRING,
     .offset = AT(point_spec, column),
     .flags = FIELD_REQUIRED | FIELD_NAME,
     .help_en = "the table's column that takes the value",
     .help_zh = "接收数值的列"},
    {.name = "address",
     .type = FIELD_STRING,
     .offset = AT(point_spec, address),
     .flags = FIELD_REQUIRED,
     .help_en = "address in the equipment, such as 1!400001",
     .help_zh = "设备内地址，例如 1!400001"},
    {.name = "type",
     .type = FIELD_STRING,
     .offset = AT(point_spec, type),
     .default_text = "int16",
     .help_en =
         "type in the equipment: int8…int64, uint8…uint64, float, double, bit, bool, string(n), bytes(n)",
     .help_zh =
         "设备内的类型：int8…int64、uint8…uint64、float、double、bit、bool、string(n)、bytes(n)"},
    {.name = "order",
     .type = FIELD_STRING,
     .offset = AT(point_spec, order),
     .help_en = "byte order by letters, such as AB, ABCD, CDAB",
     .help_zh = "字节序，例如 AB、ABCD、CDAB"},
    {.name = "description",
     .type = FIELD_STRING,
     .offset = AT(point_spec, description),
     .help_en = "what the point means",
     .help_zh = "点的含义"},
    {.name = "scale",
     .type = FIELD_DOUBLE,
     .offset = AT(point_spec, scale),
     .default_text = "1",
     .help_en = "value = raw × scale + offset",
     .help_zh = "数值 = 原始值 × scale + offset"},
    {.name = "offset",
     .type = FIELD_DOUBLE,
     .offset = AT(point_spec, offset),
     .default_text = "0",
     .help_en = "value = raw × scale + offset",
     .help_zh = "数值 = 原始值 × scale + offset"},
    {.name = "precision",
     .type = FIELD_DOUBLE,
     .offset = AT(point_spec, precision),
     .flags = FIELD_NULLABLE,
     .min = 0,
     .max = 17,
     .help_en = "decimals kept",
     .help_zh = "保留的小数位数"},
    {.name = "deadband",
     .type = FIELD_DOUBLE,
     .offset = AT(point_spec, deadband),
     .default_text = "0",
     .min = 0,
     .max = 1e300,
     .help_en = "smaller changes are not stored; 0 = off",
     .help_zh = "小于该值的变化不存储；0 表示关闭"},
    {.name = "min",
     .type = FIELD_DOUBLE,
     .offset = AT(point_spec, min),
     .flags = FIELD_NULLABLE,
     .help_en = "smallest value that may be written",
     .help_zh = "允许写入的最小值"},
    {.name = "max",
     .type = FIELD_DOUBLE,
     .offset = AT(point_spec, max),
     .flags = FIELD_NULLABLE,
     .help_en = "largest value that may be written",
     .help_zh = "允许写入的最大值"},
    {.name = "access",
     .type = FIELD_ENUM,
     .offset = AT(point_spec, access),
     .default_text = "r",
     .choices = access_choices,
     .help_en = "r: read; rw: read and write; w: write only",
     .help_zh = "r：只读；rw：读写；w：只写"},
    {.name = "store",
     .type = FIELD_ENUM,
     .offset = AT(point_spec, store),
     .default_text = "always",
     .choices = store_choices,
     .help_en = "always: every reading; change: only when the value changed",
     .help_zh = "always：每次读数都存储；change：仅在变化时存储"},
    {.name = "maxSilence",
     .type = FIELD_DURATION,
     .offset = AT(point_spec, max_silence_ns),
     .default_text = "0s",
     .help_en = "with deadband or store: change: store at least this often; 0s = never",
     .help_zh = "与 deadband 或 store: change 配合：至少按此间隔存储；0s 表示不强制"},
    {.name = "interval",
     .type = FIELD_DURATION,
     .offset = AT(point_spec, interval_ns),
     .default_text = "0s",
     .help_en = "own polling interval; 0s = the device's",
     .help_zh = "单独的采集周期；0s 表示沿用设备的周期"},
    {.name = "enabled",
     .type = FIELD_BOOL,
     .offset = AT(point_spec, enabled),
     .default_text = "true",
     .help_en = "false: the point is not read",
     .help_zh = "为 false 时不采集该点"},
    END,
};

static const struct field device_fields[] = {
    {.name = "path",
     .type = FIELD_STRING,
     .offset = AT(device_spec, path),
     .flags = FIELD_REQUIRED | FIELD_NAME,
     .help_en = "path below the node's own, such as line3/press07",
     .help_zh = "节点路径之下的路径，例如 line3/press07"},
    {.name = "table",
     .type = FIELD_STRING,
     .offset = AT(device_spec, table),
     .flags = FIELD_REQUIRED,
     .help_en = "metadata.name of the Table that takes its rows",
     .help_zh = "存放其数据的 Table 的 metadata.name"},
    {.name = "connection",
     .type = FIELD_STRING,
     .offset = AT(device_spec, connection),
     .flags = FIELD_REQUIRED,
     .help_en = "metadata.name of the Connection it is read through",
     .help_zh = "用于采集的 Connection 的 metadata.name"},
    {.name = "interval",
     .type = FIELD_DURATION,
     .offset = AT(device_spec, interval_ns),
     .default_text = "1s",
     .min = 0.01,
     .max = 86400,
     .help_en = "polling interval",
     .help_zh = "采集周期"},
    {.name = "points",
     .type = FIELD_LIST,
     .offset = AT(device_spec, points),
     .sub = point_fields,
     .sub_bytes = sizeof(struct point_spec),
     .help_en = "what is read",
     .help_zh = "采集的点"},
    {.name = "description",
     .type = FIELD_STRING,
     .offset = AT(device_spec, description),
     .help_en = "what the device is",
     .help_zh = "设备说明"},
    {.name = "enabled",
     .type = FIELD_BOOL,
     .offset = AT(device_spec, enabled),
     .default_text = "true",
     .help_en = "false: the device is not polled",
     .help_zh = "为 false 时不采集该设备"},
    END,
};

/* ---- checks across fields ---- */

static void check_rollups(const struct table_spec *spec, const struct doc *doc,
                          struct problems *problems)
{
    const struct table_rollup_spec *rollups = spec->rollups.items;
    const struct doc *list = doc_get(doc, "rollups");
    if (spec->rollups.count > SCHEMA_ROLLUPS_MAX)
        problem_add(problems, "spec.rollups", list, "more than %d rollups", SCHEMA_ROLLUPS_MAX);
    for (size_t i = 0; i < spec->rollups.count; i++) {
        char path[64];
        int64_t every_ns = rollups[i].every_ns;
        const struct doc *at = list->items[i].value;
        snprintf(path, sizeof path, "spec.rollups[%zu].every", i);
        /* 0: it was refused already */
        if (every_ns && (every_ns % TIME_NS_PER_S || 86400 * TIME_NS_PER_S % every_ns))
            problem_add(problems, path, at, "a day is not a whole number of such windows");
        for (size_t j = 0; j < i; j++)
            if (every_ns && every_ns == rollups[j].every_ns)
                problem_add(problems, path, at, "such windows stand here twice");
    }
}

static void check_table(const void *opaque, const struct doc *doc, struct problems *problems)
{
    const struct table_spec *spec = opaque;
    const struct table_column_spec *columns = spec->columns.items;
    const struct doc *list = doc_get(doc, "columns");
    for (size_t i = 0; i < spec->columns.count; i++) {
        char path[64];
        struct why why = WHY_NONE;
        const struct doc *at = list->items[i].value;
        snprintf(path, sizeof path, "spec.columns[%zu]", i);
        if (columns[i].name.size && schema_check_name(columns[i].name, "column", &why))
            problem_add(problems, path, at, "%s", why.text);
        if (type_of_name(columns[i].type) == TYPE_NONE)
            problem_add(problems, path, at,
                        "type '%.*s' is unknown; there are bool, bigint, ubigint, double, text, "
                        "bytes, timestamp and double[]",
                        (int)columns[i].type.size, columns[i].type.at);
        for (size_t j = 0; j < i; j++)
            if (str_equal(columns[i].name, columns[j].name))
                problem_add(problems, path, at, "column '%.*s' stands here twice",
                            (int)columns[i].name.size, columns[i].name.at);
    }
    check_rollups(spec, doc, problems);
    int64_t ns;
    struct str rest = spec->durability;
    bool interval = str_starts(rest, "interval ");
    struct str tail = interval ? (struct str){rest.at + 9, rest.size - 9} : rest;
    /* The log syncs within a second whether anybody waits or not: a shorter interval cannot be
     * promised. */
    bool is_interval = interval && duration_parse(str_trim(tail), &ns) && ns >= TIME_NS_PER_S;
    if (!str_is(rest, "commit") && !is_interval)
        problem_add(problems, "spec.durability", doc_get(doc, "durability"),
                    "must be 'commit', or 'interval' with a duration of at least 1s, such as "
                    "'interval 10s'");
}

static void check_device(const void *opaque, const struct doc *doc, struct problems *problems)
{
    const struct device_spec *spec = opaque;
    const struct point_spec *points = spec->points.items;
    const struct doc *list = doc_get(doc, "points");
    for (size_t i = 0; i < spec->points.count; i++) {
        char path[64];
        snprintf(path, sizeof path, "spec.points[%zu]", i);
        const struct doc *at = list->items[i].value;
        for (size_t j = 0; j < i; j++)
            if (str_equal(points[i].column, points[j].column))
                problem_add(problems, path, at, "column '%.*s' has a point already",
                            (int)points[i].column.size, points[i].column.at);
        if (!isnan(points[i].min) && !isnan(points[i].max) && points[i].min > points[i].max)
            problem_add(problems, path, at, "min is above max");
        if (points[i].scale == 0) problem_add(problems, path, at, "scale must not be 0");
        if (points[i].interval_ns && points[i].interval_ns < 10 * TIME_NS_PER_MS)
            problem_add(problems, path, at, "interval is below 10ms");
    }
    if (spec->path.size && (spec->path.at[0] == '/' || spec->path.at[spec->path.size - 1] == '/'))
        problem_add(problems, "spec.path", doc_get(doc, "path"), "must not begin or end with /");
}

static const struct field view_fields[] = {
    {.name = "query",
     .type = FIELD_STRING,
     .offset = AT(view_spec, query),
     .flags = FIELD_REQUIRED,
     .help_en = "the SELECT that the view stands for",
     .help_zh = "视图所代表的 SELECT 语句"},
    {.name = "description",
     .type = FIELD_STRING,
     .offset = AT(view_spec, description),
     .help_en = "what the view is for",
     .help_zh = "视图的用途"},
    END,
};

const struct kind_info resource_kinds[KIND_COUNT] = {
    [KIND_CONNECTION] = {"Connection", "connections", "connection", "conn", true,
                         sizeof(struct connection_spec), connection_fields, NULL,
                         "one line to equipment: a driver and its endpoint",
                         "到设备的一条链路：驱动及其地址"},
    [KIND_TABLE] = {"Table", "tables", "table", "", true, sizeof(struct table_spec), table_fields,
                    check_table, "columns with type, unit and retention",
                    "列的类型、单位和保留时间"},
    [KIND_DEVICE] = {"Device", "devices", "device", "dev", true, sizeof(struct device_spec),
                     device_fields, check_device,
                     "one thing that is measured: points mapped to columns",
                     "一个被测对象：点到列的映射"},
    [KIND_NODE] = {"Node", "nodes", "node", "", false, sizeof(struct node_spec), node_fields, NULL,
                   "one running Millrace; its document is made by itself, labels may be added",
                   "一个运行中的 Millrace；文档由节点自身生成，可添加标签"},
    [KIND_USER] = {"User", "users", "user", "", false, sizeof(struct user_spec), user_fields, NULL,
                   "somebody who logs in: a password and roles", "可登录的用户：密码与角色"},
    [KIND_ROLE] = {"Role", "roles", "role", "", false, sizeof(struct role_spec), role_fields, NULL,
                   "a list of rights; what no rule allows is denied",
                   "权限列表；规则未允许的一律拒绝"},
    [KIND_TOKEN] = {"Token", "tokens", "token", "", false, sizeof(struct token_spec), token_fields,
                    NULL, "a secret that stands for a user, shown once when it is made",
                    "代表某个用户的密钥，仅在创建时显示一次"},
    [KIND_VIEW] = {"View", "views", "view", "", true, sizeof(struct view_spec), view_fields, NULL,
                   "a query with a name, read like a table", "有名称的查询，可像表一样读取"},
    [KIND_STREAM] = {"Stream", "streams", "stream", "", true, sizeof(struct stream_spec),
                     stream_fields, check_stream,
                     "MQTT topics whose messages become rows of tables",
                     "将 MQTT 主题的消息转换为表中的行"},
    [KIND_BRIDGE] = {"Bridge", "bridges", "bridge", "", true, sizeof(struct bridge_spec),
                     bridge_fields, NULL, "a lasting connection to another MQTT broker",
                     "到另一个 MQTT 代理的持久连接"},
    [KIND_SINK] =
        {"Sink", "sinks", "sink", "", true, sizeof(struct sink_spec), sink_fields, NULL,
         "rows of a table that go outside: as MQTT messages, or where a shared object takes "
         "them",
         "将表中的行输出到外部：以 MQTT 消息，或由共享库接收"},
};
