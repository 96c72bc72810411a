/* driver_host.c - the list of drivers, and a Connection's spec read against its driver's tables. */
#include "collect/collect_priv.h"
#include "collect/drivers/modbus/modbus.h"
#include "base/num.h"
#include <stdio.h>
#include <string.h>

static const struct millrace_driver *const drivers[] = {&modbus_driver};
enum { DRIVER_COUNT = sizeof drivers / sizeof drivers[0] };

static const struct millrace_option host_options[HOST_OPTION_COUNT + 1] = {
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
    {NULL, MILLRACE_OPTION_BOOL, NULL, 0, 0, NULL, NULL},
};

static const struct millrace_driver *find_driver(struct str name, const struct doc *at,
                                                 struct problems *problems)
{
    const char *names[DRIVER_COUNT];
    for (size_t i = 0; i < DRIVER_COUNT; i++) {
        names[i] = drivers[i]->name;
        if (str_is(name, names[i])) return drivers[i];
    }
    int nearest = str_nearest(name, names, DRIVER_COUNT);
    problem_add(problems, "spec.driver", at, "there is no driver '%.*s'; did you mean %s?",
                (int)name.size, name.at, names[nearest >= 0 ? nearest : 0]);
    return NULL;
}

/* ---- endpoint ---- */

static const char *const transport_texts[] = {[MILLRACE_TLS] = "TLS",
                                              [MILLRACE_SERIAL] = "serial lines",
                                              [MILLRACE_LISTEN] = "listening for equipment"};

static const struct millrace_scheme *find_scheme(const struct millrace_driver *driver,
                                                 struct str name)
{
    for (const struct millrace_scheme *s = driver->schemes; s->name; s++)
        if (str_is(name, s->name)) return s;
    return NULL;
}

/* "SCHEME://HOST[:PORT]" */
static void read_endpoint(struct str text, const struct doc *at, struct line_config *config,
                          struct problems *problems)
{
    static const char path[] = "spec.endpoint";
    const char *mark = text.size ? memmem(text.at, text.size, "://", 3) : NULL;
    struct str scheme = {text.at, mark ? (size_t)(mark - text.at) : 0};
    config->line.scheme = mark ? find_scheme(config->driver, scheme) : NULL;
    if (!config->line.scheme) {
        char list[160] = "";
        size_t n = 0;
        for (const struct millrace_scheme *s = config->driver->schemes;
             s->name && n < sizeof list - 24; s++)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s://", n ? ", " : "", s->name);
        problem_add(problems, path, at, "'%.*s' must begin with one of %s", (int)text.size, text.at,
                    list);
        return;
    }
    if (config->line.scheme->transport != MILLRACE_TCP) {
        problem_add(problems, path, at, "%s (%.*s://): not in this version",
                    transport_texts[config->line.scheme->transport], (int)scheme.size, scheme.at);
        return;
    }
    struct str host = {mark + 3, text.size - scheme.size - 3};
    char with_port[OS_HOST_BYTES + 16];
    const char *colon = memrchr(host.at, ':', host.size),
               *bracket = memrchr(host.at, ']', host.size);
    if ((!colon || (bracket && colon < bracket)) && config->line.scheme->port &&
        host.size <= OS_HOST_BYTES) {
        int n = snprintf(with_port, sizeof with_port, "%.*s:%u", (int)host.size, host.at,
                         config->line.scheme->port);
        host = (struct str){with_port, (size_t)n};
    }
    struct why why = WHY_NONE;
    enum err err = os_address_tcp(host, &config->address, &why);
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

static void refuse_unknown_options(const struct millrace_driver *driver, const struct doc *given,
                                   struct problems *problems)
{
    const struct millrace_option *const tables[] = {host_options, driver->options};
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

bool line_config_read(const struct connection_spec *spec, const struct doc *spec_doc,
                      struct arena *arena, struct line_config *config, struct problems *problems)
{
    size_t before = problems->count, count = 0;
    *config = (struct line_config){
        .driver = find_driver(spec->driver, doc_get(spec_doc, "driver"), problems)};
    if (!config->driver) return false;
    while (config->driver->options[count].name) count++;
    config->options = arena_zero(arena, count + 1, sizeof *config->options);
    if (!config->options) {
        problems->no_memory = true;
        return false;
    }
    config->line.options = config->options;
    read_endpoint(spec->endpoint, doc_get(spec_doc, "endpoint"), config, problems);
    read_options(host_options, spec->options, config->host, problems);
    read_options(config->driver->options, spec->options, config->options, problems);
    refuse_unknown_options(config->driver, spec->options, problems);
    return problems->count == before;
}
