/* kind_access.c - the fields of Node, User, Role and Token (see field.h for what a row says).
 *
 * What the words in a role mean (verbs, filters) is checked where access is known:
 * listeners/identities.c. */
#include "resource/kind_priv.h"

const struct field node_fields[] = {
    {.name = "description",
     .type = FIELD_STRING,
     .offset = AT(node_spec, description),
     .help_en = "what the node is for",
     .help_zh = "节点用途"},
    END,
};

const struct field user_fields[] = {
    {.name = "roles",
     .type = FIELD_STRINGS,
     .offset = AT(user_spec, roles),
     .help_en = "names of its Roles; none = may do nothing",
     .help_zh = "角色名称列表；为空则无任何权限"},
    {.name = "namespace",
     .type = FIELD_STRING,
     .offset = AT(user_spec, ns),
     .default_text = "default",
     .help_en = "the namespace in whose topic tree the user's MQTT and CoAP clients live",
     .help_zh = "该用户的 MQTT 与 CoAP 客户端所在主题树的命名空间"},
    {.name = "password",
     .type = FIELD_STRING,
     .offset = AT(user_spec, password),
     .flags = FIELD_SECRET,
     .help_en = "sets the password; kept as a SCRAM-SHA-256 verifier only, never shown",
     .help_zh = "设置密码；仅以 SCRAM-SHA-256 校验值保存，永不显示"},
    {.name = "verifier",
     .type = FIELD_STRING,
     .offset = AT(user_spec, verifier),
     .flags = FIELD_SECRET,
     .help_en =
         "instead of a password: its verifier, as 'millrace user verifier' prints it, or a hash of "
         "mosquitto_passwd, which the first login replaces; never shown",
     .help_zh =
         "代替密码：由 millrace user verifier 生成的校验值，或 mosquitto_passwd 的散列（首次登录后被替换）；永不显示"},
    {.name = "disabled",
     .type = FIELD_BOOL,
     .offset = AT(user_spec, disabled),
     .default_text = "false",
     .help_en = "true: no login, and its tokens hold no longer",
     .help_zh = "为 true 时禁止登录，其令牌同时失效"},
    {.name = "description",
     .type = FIELD_STRING,
     .offset = AT(user_spec, description),
     .help_en = "who it is",
     .help_zh = "说明"},
    END,
};

static const char *const effect_choices[] = {
    [ROLE_EFFECT_ALLOW] = "allow", [ROLE_EFFECT_DENY] = "deny", NULL};

static const struct field rule_fields[] = {
    {.name = "effect",
     .type = FIELD_ENUM,
     .offset = AT(role_rule_spec, effect),
     .choices = effect_choices,
     .default_text = "allow",
     .help_en = "deny takes topics away from what all the user's other rules allow: verbs publish "
                "and subscribe with paths, nothing else",
     .help_zh = "deny 从该用户其他规则所允许的主题中扣除：仅限 publish、subscribe 及 paths"},
    {.name = "verbs",
     .type = FIELD_STRINGS,
     .offset = AT(role_rule_spec, verbs),
     .flags = FIELD_REQUIRED,
     .help_en =
         "what may be done: get, list, watch, create, update, delete, query, ingest, publish, subscribe, write-point, or *",
     .help_zh =
         "允许的操作：get、list、watch、create、update、delete、query、ingest、publish、subscribe、write-point 或 *"},
    {.name = "kinds",
     .type = FIELD_STRINGS,
     .offset = AT(role_rule_spec, kinds),
     .help_en = "kinds of documents, or *; needed with get, list, watch, create, update, delete",
     .help_zh = "资源类型或 *；与 get、list、watch、create、update、delete 一起使用时必填"},
    {.name = "namespaces",
     .type = FIELD_STRINGS,
     .offset = AT(role_rule_spec, namespaces),
     .help_en = "namespaces, or *; left out = all",
     .help_zh = "命名空间或 *；省略表示全部"},
    {.name = "names",
     .type = FIELD_STRINGS,
     .offset = AT(role_rule_spec, names),
     .help_en = "names of documents or tables (in SQL), each as it is; left out = all",
     .help_zh = "文档名称或 SQL 表名，逐字匹配；省略表示全部"},
    {.name = "paths",
     .type = FIELD_STRINGS,
     .offset = AT(role_rule_spec, paths),
     .help_en =
         "absolute device paths or topics, + for one segment, # for all the rest; left out = all",
     .help_zh = "绝对设备路径或主题，+ 匹配一段，# 匹配其余全部；省略表示全部"},
    END,
};

const struct field role_fields[] = {
    {.name = "rules",
     .type = FIELD_LIST,
     .offset = AT(role_spec, rules),
     .sub = rule_fields,
     .sub_bytes = sizeof(struct role_rule_spec),
     .help_en = "what is allowed; a request must fit all parts of one rule",
     .help_zh = "允许的内容；请求须符合某一条规则的全部条件"},
    {.name = "description",
     .type = FIELD_STRING,
     .offset = AT(role_spec, description),
     .help_en = "what the role is for",
     .help_zh = "角色用途"},
    END,
};

const struct field token_fields[] = {
    {.name = "user",
     .type = FIELD_STRING,
     .offset = AT(token_spec, user),
     .flags = FIELD_REQUIRED,
     .help_en = "the User it stands for",
     .help_zh = "所代表的用户"},
    {.name = "roles",
     .type = FIELD_STRINGS,
     .offset = AT(token_spec, roles),
     .help_en = "some of the user's roles; left out = all",
     .help_zh = "用户角色的子集；省略表示全部"},
    {.name = "expires",
     .type = FIELD_STRING,
     .offset = AT(token_spec, expires),
     .help_en = "when it ends, such as 2027-01-01T00:00:00Z; left out = never",
     .help_zh = "失效时间，例如 2027-01-01T00:00:00Z；省略表示永不失效"},
    {.name = "hash",
     .type = FIELD_STRING,
     .offset = AT(token_spec, hash),
     .flags = FIELD_SECRET,
     .help_en = "SHA-256 of the secret in hex, for tokens in manifests; never shown",
     .help_zh = "密钥的 SHA-256（十六进制），用于清单文件；永不显示"},
    {.name = "description",
     .type = FIELD_STRING,
     .offset = AT(token_spec, description),
     .help_en = "what uses it",
     .help_zh = "使用者说明"},
    END,
};
