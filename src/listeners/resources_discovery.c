/* resources_discovery.c - what a Kubernetes client asks first: version, groups, resource types,
 * OpenAPI. */
#include "listeners/resources_priv.h"
#include <string.h>

void resources_version(struct http_exchange *exchange, void *arg)
{
    (void)arg;
    /* major/minor are those of the Kubernetes API conventions that clients compare with their own.
     */
    http_reply(
        exchange, 200, "application/json",
        STR("{\"major\":\"1\",\"minor\":\"20\",\"gitVersion\":\"v1.20.0+millrace-" MILLRACE_VERSION
            "\",\"gitCommit\":\"\",\"gitTreeState\":\"clean\",\"buildDate\":\"1970-01-01T00:00:00Z\","
            "\"goVersion\":\"none\",\"compiler\":\"cc\",\"platform\":\"linux\"}"));
}

void resources_api(struct http_exchange *exchange, void *arg)
{
    (void)arg;
    http_reply(exchange, 200, "application/json",
               STR("{\"kind\":\"APIVersions\",\"versions\":[],\"serverAddressByClientCIDRs\":[]}"));
}

#define GROUP                                                                                           \
    "\"name\":\"millrace.io\",\"versions\":[{\"groupVersion\":\"millrace.io/v1\",\"version\":\"v1\"}]," \
    "\"preferredVersion\":{\"groupVersion\":\"millrace.io/v1\",\"version\":\"v1\"}"

void resources_apis(struct http_exchange *exchange, void *arg)
{
    (void)arg;
    http_reply(exchange, 200, "application/json",
               STR("{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{" GROUP "}]}"));
}

void resources_group(struct http_exchange *exchange, void *arg)
{
    (void)arg;
    http_reply(exchange, 200, "application/json",
               STR("{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\"," GROUP "}"));
}

void resources_group_version(struct http_exchange *exchange, void *arg)
{
    (void)arg;
    struct buf out = BUF_EMPTY;
    buf_add_text(
        &out,
        "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"millrace.io/v1\",\"resources\":[");
    for (int k = 0; k < KIND_COUNT; k++) {
        const struct kind_info *info = &resource_kinds[k];
        buf_printf(
            &out,
            "%s{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":%s,\"kind\":\"%s\",\"verbs\":[\"create\","
            "\"delete\",\"get\",\"list\",\"patch\",\"update\",\"watch\"]",
            k ? "," : "", info->plural, info->singular, info->namespaced ? "true" : "false",
            info->name);
        if (info->short_name[0]) buf_printf(&out, ",\"shortNames\":[\"%s\"]", info->short_name);
        buf_add_char(&out, '}');
    }
    buf_add_text(&out, "]}");
    http_reply_buf(exchange, 200, "application/json", &out);
    buf_free(&out);
}

/* ---- OpenAPI, from the field tables ---- */

static const char *json_type(enum field_type type)
{
    switch (type) {
    case FIELD_BOOL: return "boolean";
    case FIELD_INT: return "integer";
    case FIELD_DOUBLE: return "number";
    case FIELD_STRINGS:
    case FIELD_LIST: return "array";
    case FIELD_MAP:
    case FIELD_DOC:
    case FIELD_OBJECT: return "object";
    case FIELD_STRING:
    case FIELD_DURATION:
    case FIELD_ENUM: break;
    }
    return "string";
}

static void add_fields(struct buf *out, const struct field *fields)
{
    buf_add_text(out, "\"type\":\"object\",\"properties\":{");
    for (const struct field *f = fields; f->name; f++) {
        if (f != fields) buf_add_char(out, ',');
        buf_add_json(out, str_of(f->name));
        buf_printf(out, ":{\"description\":");
        buf_add_json(out, str_of(f->help_en ? f->help_en : ""));
        if (f->type == FIELD_LIST) {
            buf_add_text(out, ",\"type\":\"array\",\"items\":{");
            add_fields(out, f->sub);
            buf_add_char(out, '}');
        } else if (f->type == FIELD_OBJECT) {
            buf_add_char(out, ',');
            add_fields(out, f->sub);
        } else {
            buf_printf(out, ",\"type\":\"%s\"", json_type(f->type));
            if (f->type == FIELD_STRINGS) buf_add_text(out, ",\"items\":{\"type\":\"string\"}");
        }
        buf_add_char(out, '}');
    }
    buf_add_char(out, '}');
}

void resources_openapi(struct http_exchange *exchange, void *arg)
{
    (void)arg;
    struct str accept = http_header(http_request_of(exchange), "accept");
    static const char protobuf[] = "application/com.github.proto-openapi.spec.v2";
    if (accept.size && memmem(accept.at, accept.size, protobuf, sizeof protobuf - 1)) {
        http_reply(exchange, 200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
                   STR(""));
        return;
    }
    struct buf out = BUF_EMPTY;
    buf_add_text(
        &out,
        "{\"swagger\":\"2.0\",\"info\":{\"title\":\"Millrace\",\"version\":\"" MILLRACE_VERSION
        "\"},\"paths\":{},\"definitions\":{");
    for (int k = 0; k < KIND_COUNT; k++) {
        const struct kind_info *info = &resource_kinds[k];
        buf_printf(&out,
                   "%s\"io.millrace.v1.%s\":{\"type\":\"object\",\"description\":", k ? "," : "",
                   info->name);
        buf_add_json(&out, str_of(info->help_en));
        buf_printf(
            &out,
            ",\"x-kubernetes-group-version-kind\":[{\"group\":\"millrace.io\",\"version\":\"v1\",\"kind\":\"%s\"}],"
            "\"properties\":{\"apiVersion\":{\"type\":\"string\"},\"kind\":{\"type\":\"string\"},"
            "\"metadata\":{\"type\":\"object\"},\"spec\":{",
            info->name);
        add_fields(&out, info->fields);
        buf_add_text(&out, "},\"status\":{\"type\":\"object\"}}}");
    }
    buf_add_text(&out, "}}");
    http_reply_buf(exchange, 200, "application/json", &out);
    buf_free(&out);
}
