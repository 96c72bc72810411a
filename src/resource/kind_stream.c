/* kind_stream.c - the fields of Stream (see field.h for what a row says), and what they are to the
 * mapping, which does the checking: a document that is accepted can be compiled. */
#include "resource/kind_priv.h"
#include <stdio.h>
#include <string.h>

static const char *const unit_choices[] = {
#define X(symbol, name) name,
    MAPPING_UNIT_TABLE(X)
#undef X
        NULL};

static const char *const format_choices[] = {
#define X(symbol, name) name,
    MAPPING_FORMAT_TABLE(X)
#undef X
        NULL};

static const char *const error_choices[] = {"dead-letter", "drop", NULL};

static const struct field time_fields[] = {
    {.name = "path",
     .type = FIELD_STRING,
     .offset = AT(stream_time_spec, path),
     .help_en = "where the time is, such as $.ts or @.ts; left out = the moment of arrival",
     .help_zh = "时间所在路径，例如 $.ts 或 @.ts；省略表示到达时刻"},
    {.name = "unit",
     .type = FIELD_ENUM,
     .offset = AT(stream_time_spec, unit),
     .default_text = "auto",
     .choices = unit_choices,
     .help_en =
         "s, ms, us or ns since 1970, rfc3339, or auto: a text of RFC 3339, or a number by its size",
     .help_zh =
         "自 1970 年起的 s、ms、us 或 ns，rfc3339，或 auto：RFC 3339 文本，或按大小判断的数字"},
    END,
};

static const struct field column_fields[] = {
    {.name = "name",
     .type = FIELD_STRING,
     .offset = AT(mapping_column, name),
     .flags = FIELD_REQUIRED | FIELD_NAME,
     .help_en = "the table's column",
     .help_zh = "表的列"},
    {.name = "path",
     .type = FIELD_STRING,
     .offset = AT(mapping_column, path),
     .flags = FIELD_REQUIRED,
     .help_en = "where the value is: $.values.temp, @['a name'], $.list[0]",
     .help_zh = "值所在路径：$.values.temp、@['名称']、$.list[0]"},
    {.name = "type",
     .type = FIELD_STRING,
     .offset = AT(mapping_column, type),
     .help_en =
         "bool, bigint, ubigint, double, text, bytes, timestamp or double[]; left out = as the value is",
     .help_zh =
         "bool、bigint、ubigint、double、text、bytes、timestamp 或 double[]；省略则按值判断"},
    END,
};

static const struct field label_fields[] = {
    {.name = "name",
     .type = FIELD_STRING,
     .offset = AT(mapping_label, name),
     .flags = FIELD_REQUIRED | FIELD_NAME,
     .help_en = "the label's name",
     .help_zh = "标签名"},
    {.name = "value",
     .type = FIELD_STRING,
     .offset = AT(mapping_label, value),
     .flags = FIELD_REQUIRED,
     .help_en = "its text, with {2} and {$.path} as in device",
     .help_zh = "标签值，可使用与 device 相同的 {2} 和 {$.path}"},
    END,
};

static const struct field csv_fields[] = {
    {.name = "delimiter",
     .type = FIELD_STRING,
     .offset = AT(stream_csv_spec, delimiter),
     .default_text = ",",
     .help_en = "one character, or tab",
     .help_zh = "一个字符，或 tab"},
    {.name = "header",
     .type = FIELD_BOOL,
     .offset = AT(stream_csv_spec, header),
     .default_text = "false",
     .help_en = "true: the first line of each message has the names",
     .help_zh = "为 true 时每条消息的首行是列名"},
    {.name = "columns",
     .type = FIELD_STRINGS,
     .offset = AT(stream_csv_spec, columns),
     .help_en = "names of the fields in their order; left out = the header's, else c1, c2, …",
     .help_zh = "按顺序的字段名；省略则取首行，否则为 c1、c2、…"},
    END,
};

static const struct field protobuf_fields[] = {
    {.name = "descriptor",
     .type = FIELD_STRING,
     .offset = AT(stream_protobuf_spec, descriptor),
     .help_en =
         "a FileDescriptorSet in base64: protoc --include_imports --descriptor_set_out=F FILE.proto; "
         "base64 -w0 F",
     .help_zh =
         "base64 编码的 FileDescriptorSet：protoc --include_imports --descriptor_set_out=F FILE.proto；"
         "base64 -w0 F"},
    {.name = "message",
     .type = FIELD_STRING,
     .offset = AT(stream_protobuf_spec, message),
     .help_en = "the type of the messages, such as plant.Reading",
     .help_zh = "消息类型，例如 plant.Reading"},
    END,
};

static const struct field sparkplug_fields[] = {
    {.name = "hostId",
     .type = FIELD_STRING,
     .offset = AT(stream_sparkplug_spec, host_id),
     .flags = FIELD_NAME,
     .help_en = "the host application's name in spBv1.0/STATE/…; default: the node's name",
     .help_zh = "spBv1.0/STATE/… 中的主机应用名；默认为节点名"},
    {.name = "rebirthInterval",
     .type = FIELD_DURATION,
     .offset = AT(stream_sparkplug_spec, rebirth_interval_ns),
     .default_text = "30s",
     .min = 1,
     .max = 86400,
     .help_en = "an edge node is asked for a rebirth at most this often",
     .help_zh = "请求边缘节点重新发布 birth 的最短间隔"},
    END,
};

const struct field stream_fields[] = {
    {.name = "filter",
     .type = FIELD_STRING,
     .offset = AT(stream_spec, filter),
     .flags = FIELD_REQUIRED,
     .help_en = "topics whose messages are taken: an MQTT filter with + and #",
     .help_zh = "要处理的主题：带 + 和 # 的 MQTT 过滤器"},
    {.name = "qos",
     .type = FIELD_INT,
     .offset = AT(stream_spec, qos),
     .default_text = "1",
     .min = 0,
     .max = 2,
     .help_en =
         "1, 2: who publishes with QoS 1 or 2 is acknowledged when the rows are stored; 0: at once",
     .help_zh = "1、2：以 QoS 1 或 2 发布者在行存储后得到确认；0：立即确认"},
    {.name = "format",
     .type = FIELD_ENUM,
     .offset = AT(stream_spec, format),
     .default_text = "json",
     .choices = format_choices,
     .help_en = "how messages are written",
     .help_zh = "消息格式"},
    {.name = "table",
     .type = FIELD_STRING,
     .offset = AT(stream_spec, table),
     .help_en =
         "where rows go, with {2} and {$.path} as in device; default: metadata.name with - and . as "
         "_, of neuron {$.group}",
     .help_zh =
         "目标表，可使用与 device 相同的占位符；默认取 metadata.name（- 和 . 换成 _），neuron 为 {$.group}"},
    {.name = "device",
     .type = FIELD_STRING,
     .offset = AT(stream_spec, device),
     .help_en =
         "the device: text with {1} (level of the topic), {*} (what the wildcards stand for), {#} "
         "(what # stands for), {$.path}; default: {*}, of neuron {$.node}, of "
         "sparkplug GROUP/EDGE[/DEVICE]",
     .help_zh =
         "设备：可含 {1}（主题层级）、{*}（通配符对应部分）、{#}（# 对应部分）、{$.路径}；默认 {*}，neuron 为 {$.node}，sparkplug 为 组/边缘节点[/设备]"},
    {.name = "rows",
     .type = FIELD_STRING,
     .offset = AT(stream_spec, rows),
     .help_en =
         "where rows are, such as $.items[*]; @ stands for one of them; default: the message, or "
         "each item of it",
     .help_zh = "行所在路径，例如 $.items[*]，@ 表示其中一行；默认为整条消息或其中每一项"},
    {.name = "time",
     .type = FIELD_OBJECT,
     .offset = AT(stream_spec, time),
     .sub = time_fields,
     .help_en = "the rows' time",
     .help_zh = "行的时间"},
    {.name = "columns",
     .type = FIELD_LIST,
     .offset = AT(stream_spec, columns),
     .sub = column_fields,
     .sub_bytes = sizeof(struct mapping_column),
     .help_en = "what becomes a column; left out = every plain member of the row",
     .help_zh = "列的映射；省略则行中每个简单成员都成为列"},
    {.name = "labels",
     .type = FIELD_LIST,
     .offset = AT(stream_spec, labels),
     .sub = label_fields,
     .sub_bytes = sizeof(struct mapping_label),
     .help_en = "labels of the device",
     .help_zh = "设备的标签"},
    {.name = "csv",
     .type = FIELD_OBJECT,
     .offset = AT(stream_spec, csv),
     .sub = csv_fields,
     .help_en = "of format csv: how its lines are written",
     .help_zh = "csv 格式的写法"},
    {.name = "protobuf",
     .type = FIELD_OBJECT,
     .offset = AT(stream_spec, protobuf),
     .sub = protobuf_fields,
     .help_en = "of format protobuf",
     .help_zh = "用于 protobuf 格式"},
    {.name = "sparkplug",
     .type = FIELD_OBJECT,
     .offset = AT(stream_spec, sparkplug),
     .sub = sparkplug_fields,
     .help_en = "of format sparkplug",
     .help_zh = "用于 sparkplug 格式"},
    {.name = "onError",
     .type = FIELD_ENUM,
     .offset = AT(stream_spec, on_error),
     .default_text = "dead-letter",
     .choices = error_choices,
     .help_en =
         "a message that does not fit is copied to $dead/TOPIC, or dropped; counted both ways",
     .help_zh = "不符合的消息复制到 $dead/TOPIC，或丢弃；两种情况都会计数"},
    {.name = "enabled",
     .type = FIELD_BOOL,
     .offset = AT(stream_spec, enabled),
     .default_text = "true",
     .help_en = "false: nothing is taken",
     .help_zh = "为 false 时不处理消息"},
    {.name = "description",
     .type = FIELD_STRING,
     .offset = AT(stream_spec, description),
     .help_en = "what the stream is for",
     .help_zh = "说明"},
    END,
};

static void fill_spec(const struct stream_spec *from, struct mapping_spec *spec)
{
    *spec = (struct mapping_spec){.format = (enum mapping_format)from->format,
                                  .filter = from->filter,
                                  .table = from->table,
                                  .device = from->device,
                                  .rows = from->rows,
                                  .time = from->time.path,
                                  .unit = (enum mapping_unit)from->time.unit,
                                  .column_count = from->columns.count,
                                  .columns = from->columns.items,
                                  .label_count = from->labels.count,
                                  .labels = from->labels.items,
                                  .csv_delimiter = from->csv.delimiter,
                                  .csv_header = from->csv.header,
                                  .csv_column_count = from->csv.columns.count,
                                  .csv_columns = from->csv.columns.items,
                                  .descriptor = from->protobuf.descriptor,
                                  .message = from->protobuf.message};
}

void stream_mapping_spec(const struct resource *stream, char table[SCHEMA_NAME_BYTES_MAX + 1],
                         struct mapping_spec *spec)
{
    MUST(stream->kind == KIND_STREAM);
    (void)str_copy(table, SCHEMA_NAME_BYTES_MAX + 1, stream->name);
    for (char *p = table; *p; p++)
        if (*p == '-' || *p == '.') *p = '_';
    fill_spec(stream->spec, spec);
    spec->default_table = str_of(table);
}

void check_stream(const void *opaque, const struct doc *doc, struct problems *problems)
{
    const struct stream_spec *spec = opaque;
    struct mapping_spec wanted;
    struct mapping *mapping = NULL;
    struct why why = WHY_NONE;
    char where[64] = "", path[80], key[64];
    fill_spec(spec, &wanted);
    wanted.default_table = STR("t"); /* the name is not known here, and always good */
    enum err err = mapping_new(&wanted, &mapping, where, &why);
    mapping_free(mapping);
    if (!err) return;
    snprintf(path, sizeof path, "spec.%s", where);
    (void)str_copy(key, sizeof key, (struct str){where, strcspn(where, ".[")});
    const struct doc *at = doc_get(doc, key);
    problem_add(problems, path, at ? at : doc, "%s", why_text(&why, err));
}
