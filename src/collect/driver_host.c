/* driver_host.c - a Connection's spec read against its driver's tables: endpoint and options. */
#include "collect/collect_priv.h"
#include "base/num.h"
#include <stdio.h>
#include <string.h>

/* Options that the host itself has for every driver. */
const struct millrace_option driver_host_options[HOST_OPTION_COUNT + 1] = {
    [HOST_OPTION_MAX_GAP] =
        {"maxGap", MILLRACE_OPTION_INT, "8", 0, 1000,
         "unused registers that may be read to save a request (16 times as many bits)",
         "为减少请求数而允许多读的未使用寄存器个数（位为其 16 倍）"},
    [HOST_OPTION_IN_FLIGHT] =
        {"inFlight", MILLRACE_OPTION_INT, "0", 0, LINE_IN_FLIGHT_MAX,
         "requests under way at once on the connection; 0 = what the framing suggests",
         "连接上同时进行的请求数；0 表示由帧格式决定"},
    [HOST_OPTION_IN_FLIGHT_PER_UNIT] = {"inFlightPerUnit", MILLRACE_OPTION_INT, "1", 1,
                                        LINE_IN_FLIGHT_MAX,
                                        "requests under way at once to one unit",
                                        "单个站号同时进行的请求数"},
    [HOST_OPTION_CA] =
        {"ca", MILLRACE_OPTION_TEXT, "", 0, 0,
         "tls://: PEM file of who signed the equipment's certificate; none: whom the "
         "system trusts",
         "tls://：签发设备证书的 CA（PEM 文件）；缺省使用系统信任库"},
    [HOST_OPTION_CERT] =
        {"cert", MILLRACE_OPTION_TEXT, "", 0, 0,
         "tls://: PEM file of our own certificate, where the equipment asks for one",
         "tls://：客户端证书（PEM 文件），设备要求时使用"},
    [HOST_OPTION_KEY] = {"key", MILLRACE_OPTION_TEXT, "", 0, 0, "tls://: PEM file of its key",
                         "tls://：客户端私钥（PEM 文件）"},
    [HOST_OPTION_SERVER_NAME] =
        {"serverName", MILLRACE_OPTION_TEXT, "", 0, 0,
         "tls://: name that the equipment's certificate must show, where it "
         "is not the endpoint's host",
         "tls://：设备证书中的名称（与地址中的主机不同时）"},
    [HOST_OPTION_VERIFY] = {"verify", MILLRACE_OPTION_BOOL, "true", 0, 0,
                            "tls://: false takes any certificate: onlookers cannot read along, but "
                            "who answers is not known",
                            "tls://：为 false 时接受任何证书（无法确认对方身份）"},
    [HOST_OPTION_REGISTRATION] =
        {"registration", MILLRACE_OPTION_TEXT, "", 0, 0,
         "listen+…://: what this equipment sends first, as text or as hex:01 0A …; it tells "
         "connections on one port apart",
         "listen+…://：设备连入后首先发送的注册包，文本或 hex:01 0A …；用于区分同一端口上的连接"},
    [HOST_OPTION_HEARTBEAT] =
        {"heartbeat", MILLRACE_OPTION_TEXT, "", 0, 0,
         "listen+…://: what it sends now and then, as text or as hex:…; dropped",
         "listen+…://：设备定期发送的心跳包，文本或 hex:…；将被忽略"},
    {NULL, MILLRACE_OPTION_BOOL, NULL, 0, 0, NULL, NULL},
};

/* Options that mean something with one transport only; 0 = with all. */
static const uint8_t option_transports[HOST_OPTION_COUNT] = {
    [HOST_OPTION_CA] = MILLRACE_TLS,           [HOST_OPTION_CERT] = MILLRACE_TLS,
    [HOST_OPTION_KEY] = MILLRACE_TLS,          [HOST_OPTION_SERVER_NAME] = MILLRACE_TLS,
    [HOST_OPTION_VERIFY] = MILLRACE_TLS,       [HOST_OPTION_REGISTRATION] = MILLRACE_LISTEN,
    [HOST_OPTION_HEARTBEAT] = MILLRACE_LISTEN,
};

static const struct millrace_driver *find_driver(struct context *context, struct str name,
                                                 const struct doc *at, struct problems *problems)
{
    struct why why = WHY_NONE;
    const struct millrace_driver *driver = driver_find(context, name, &why);
    if (!driver) problem_add(problems, "spec.driver", at, "%s", why.text);
    return driver;
}

/* ---- endpoint ---- */

static const struct millrace_scheme *find_scheme(const struct millrace_driver *driver,
                                                 struct str name)
{
    for (const struct millrace_scheme *s = driver->schemes; s->name; s++)
        if (str_is(name, s->name)) return s;
    return NULL;
}

/* "HOST[:PORT]"; without a port the scheme's. */
static enum err read_tcp(struct str host, const struct millrace_scheme *scheme,
                         struct os_address *address, struct why *why)
{
    char with_port[OS_HOST_BYTES + 16];
    const char *colon = host.size && host.at ? memrchr(host.at, ':', host.size) : NULL,
               *bracket = host.size && host.at ? memrchr(host.at, ']', host.size) : NULL;
    if ((!colon || (bracket && colon < bracket)) && scheme->port && host.size <= OS_HOST_BYTES) {
        int n =
            snprintf(with_port, sizeof with_port, "%.*s:%u", (int)host.size, host.at, scheme->port);
        host = (struct str){with_port, (size_t)n};
    }
    return os_address_tcp(host, address, why);
}

static enum err read_serial(struct str text, const struct millrace_scheme *scheme,
                            struct os_address *address, struct why *why)
{
    (void)scheme;
    return os_address_serial(text, address, why);
}

/* There is one machine. */
static enum err read_local(struct str text, const struct millrace_scheme *scheme,
                           struct os_address *address, struct why *why)
{
    *address = (struct os_address){.kind = OS_ADDRESS_UNIX};
    (void)str_copy(address->host, sizeof address->host, STR("this machine"));
    if (!text.size) return ERR_OK;
    return why_set(why, ERR_INVALID, "%s:// takes nothing behind it: it is this machine",
                   scheme->name);
}

static enum err (*const readers[])(struct str text, const struct millrace_scheme *scheme,
                                   struct os_address *address, struct why *why) = {
    [MILLRACE_TCP] = read_tcp,    [MILLRACE_TLS] = read_tcp,     [MILLRACE_SERIAL] = read_serial,
    [MILLRACE_LISTEN] = read_tcp, [MILLRACE_LOCAL] = read_local,
};

/* "SCHEME://…"; a driver with one scheme that needs nothing more may go without. */
static void read_endpoint(struct str text, const struct doc *at, struct line_config *config,
                          struct problems *problems)
{
    static const char path[] = "spec.endpoint";
    const struct millrace_scheme *schemes = config->driver->schemes;
    char only[64];
    snprintf(only, sizeof only, "%s://", schemes[0].name);
    if (!text.size && !schemes[1].name && schemes[0].transport == MILLRACE_LOCAL)
        text = str_of(only);
    const char *mark = text.size ? memmem(text.at, text.size, "://", 3) : NULL;
    struct str scheme = {text.at, mark ? (size_t)(mark - text.at) : 0};
    config->line.scheme = mark ? find_scheme(config->driver, scheme) : NULL;
    if (!config->line.scheme) {
        char list[200] = "";
        size_t n = 0;
        for (const struct millrace_scheme *s = schemes; s->name && n < sizeof list - 32; s++)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s://", n ? ", " : "", s->name);
        problem_add(problems, path, at, "'%.*s' must begin with one of %s", (int)text.size, text.at,
                    list);
        return;
    }
    struct why why = WHY_NONE;
    struct str rest = {mark + 3, text.size - scheme.size - 3};
    enum err err =
        readers[config->line.scheme->transport](rest, config->line.scheme, &config->address, &why);
    if (err) problem_add(problems, path, at, "%s", why_text(&why, err));
}

/* ---- options ---- */

static bool read_option(const struct millrace_option *option, struct str text,
                        struct millrace_option_value *value)
{
    value->text = (struct millrace_text){text.at, text.size};
    switch (option->type) {
    case MILLRACE_OPTION_BOOL:
        value->b = str_is(text, "true");
        return value->b || str_is(text, "false");
    case MILLRACE_OPTION_INT:
        if (!num_parse_i64(text, &value->i)) return false;
        return (option->min == 0 && option->max == 0) ||
               (value->i >= option->min && value->i <= option->max);
    case MILLRACE_OPTION_TEXT: return true;
    }
    return false;
}

static void explain_option(const struct millrace_option *option, const struct doc *at,
                           struct problems *problems)
{
    char path[80];
    snprintf(path, sizeof path, "spec.options.%s", option->name);
    if (option->type == MILLRACE_OPTION_BOOL)
        problem_add(problems, path, at, "must be true or false");
    else
        problem_add(problems, path, at, "must be a whole number from %lld to %lld",
                    (long long)option->min, (long long)option->max);
}

static void read_options(const struct millrace_option *table, const struct doc *given,
                         struct millrace_option_value *values, struct problems *problems)
{
    for (size_t i = 0; table[i].name; i++) {
        const struct doc *at = doc_get(given, table[i].name);
        struct str text = str_of(table[i].default_text);
        if (at && at->kind == DOC_BOOL)
            text = at->b ? STR("true") : STR("false");
        else if (at)
            text = at->text;
        if (!read_option(&table[i], text, &values[i])) explain_option(&table[i], at, problems);
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Text as it is, or "hex:01 0A ff". */
static bool read_packet(struct millrace_text given, struct packet *packet)
{
    struct str text = {given.at, given.size};
    packet->size = 0;
    if (!str_starts(text, "hex:")) {
        if (text.size > PACKET_BYTES_MAX) return false;
        if (text.size) memcpy(packet->bytes, text.at, text.size);
        packet->size = text.size;
        return true;
    }
    int high = -1;
    for (size_t i = 4; i < text.size; i++) {
        int digit = hex_digit(text.at[i]);
        if (text.at[i] == ' ' && high < 0) continue;
        if (digit < 0 || packet->size == PACKET_BYTES_MAX) return false;
        if (high < 0) {
            high = digit;
        } else {
            packet->bytes[packet->size++] = (uint8_t)(high << 4 | digit);
            high = -1;
        }
    }
    return high < 0 && packet->size > 0;
}

static void read_packets(struct line_config *config, const struct doc *given,
                         struct problems *problems)
{
    static const enum host_option options[2] = {HOST_OPTION_REGISTRATION, HOST_OPTION_HEARTBEAT};
    struct packet *const packets[2] = {&config->registration, &config->heartbeat};
    for (size_t i = 0; i < 2; i++) {
        const char *name = driver_host_options[options[i]].name;
        char path[64];
        if (read_packet(config->host[options[i]].text, packets[i])) continue;
        snprintf(path, sizeof path, "spec.options.%s", name);
        problem_add(problems, path, doc_get(given, name),
                    "must be text, or hex: and pairs of hex digits, of at most %d bytes",
                    PACKET_BYTES_MAX);
    }
}

/* An option that would do nothing is a mistake. */
static void refuse_idle_options(const struct line_config *config, const struct doc *given,
                                struct problems *problems)
{
    for (size_t i = 0; i < HOST_OPTION_COUNT && config->line.scheme; i++) {
        const struct doc *at = doc_get(given, driver_host_options[i].name);
        if (!at || !option_transports[i] || option_transports[i] == config->line.scheme->transport)
            continue;
        char path[64];
        snprintf(path, sizeof path, "spec.options.%s", driver_host_options[i].name);
        problem_add(problems, path, at, "goes with %s endpoints only",
                    option_transports[i] == MILLRACE_TLS ? "tls://" : "listen+…://");
    }
    bool has_cert = config->host[HOST_OPTION_CERT].text.size > 0,
         has_key = config->host[HOST_OPTION_KEY].text.size > 0;
    if (has_cert != has_key)
        problem_add(problems, "spec.options.cert", doc_get(given, "cert"),
                    "cert and key go together");
}

static void refuse_unknown_options(const struct millrace_driver *driver, const struct doc *given,
                                   struct problems *problems)
{
    const struct millrace_option *const tables[] = {driver_host_options, driver->options};
    for (size_t i = 0; given && i < given->count; i++) {
        const char *names[64];
        size_t count = 0;
        bool known = false;
        for (size_t t = 0; t < 2; t++)
            for (const struct millrace_option *o = tables[t]; o->name && count < 64; o++) {
                names[count++] = o->name;
                known |= str_is(given->items[i].key, o->name);
            }
        if (known) continue;
        int nearest = str_nearest(given->items[i].key, names, count);
        problem_add(problems, "spec.options", given->items[i].value,
                    "driver %s has no option '%.*s'%s%s%s", driver->name,
                    (int)given->items[i].key.size, given->items[i].key.at,
                    nearest >= 0 ? "; did you mean " : "", nearest >= 0 ? names[nearest] : "",
                    nearest >= 0 ? "?" : "");
    }
}

bool line_config_read(struct context *context, const struct connection_spec *spec,
                      const struct doc *spec_doc, struct arena *arena, struct line_config *config,
                      struct problems *problems)
{
    size_t before = problems->count, count = 0;
    *config = (struct line_config){
        .driver = find_driver(context, spec->driver, doc_get(spec_doc, "driver"), problems)};
    if (!config->driver) return false;
    while (config->driver->options[count].name) count++;
    config->options = arena_zero(arena, count + 1, sizeof *config->options);
    if (!config->options) {
        problems->no_memory = true;
        return false;
    }
    config->line.options = config->options;
    read_endpoint(spec->endpoint, doc_get(spec_doc, "endpoint"), config, problems);
    read_options(driver_host_options, spec->options, config->host, problems);
    read_options(config->driver->options, spec->options, config->options, problems);
    refuse_unknown_options(config->driver, spec->options, problems);
    refuse_idle_options(config, spec->options, problems);
    read_packets(config, spec->options, problems);
    return problems->count == before;
}
