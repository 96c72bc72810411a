/* describe.c - the drivers' tables as a page of the manual, so that it cannot say what is not so.
 */
#include "collect/collect_priv.h"

/* What the manual describes; a driver whose file is not there is passed over. */
static const char *const described[] = {"modbus", "host"};

static void add_options(struct buf *out, const struct millrace_option *options)
{
    buf_add_text(out, "\n| option | default | meaning |\n|---|---|---|\n");
    for (const struct millrace_option *o = options; o->name; o++)
        buf_printf(out, "| `%s` | `%s` | %s<br>%s |\n", o->name,
                   o->default_text[0] ? o->default_text : "-", o->help_en, o->help_zh);
}

static void add_schemes(struct buf *out, const struct millrace_driver *driver)
{
    static const char *const behind[] = {[MILLRACE_TCP] = "HOST:PORT",
                                         [MILLRACE_TLS] = "HOST:PORT",
                                         [MILLRACE_SERIAL] =
                                             "/dev/ttyUSB0?baud=9600&parity=even&stop=1&data=8",
                                         [MILLRACE_LISTEN] = "0.0.0.0:PORT",
                                         [MILLRACE_LOCAL] = ""};
    buf_add_text(out, "| endpoint | port if none is given | requests at once |\n|---|---|---|\n");
    for (const struct millrace_scheme *s = driver->schemes; s->name; s++) {
        buf_printf(out, "| `%s://%s` | ", s->name, behind[s->transport]);
        if (s->port)
            buf_printf(out, "%u", s->port);
        else
            buf_add_char(out, '-');
        buf_printf(out, " | %u |\n", s->in_flight);
    }
}

static void add_measures(struct buf *out, const struct millrace_measure *measures)
{
    buf_add_text(out, "\n| address | unit | meaning |\n|---|---|---|\n");
    for (const struct millrace_measure *m = measures; m->before; m++)
        buf_printf(out, "| `%s%s%s` | %s | %s<br>%s |\n", m->before, m->after ? "*" : "",
                   m->after ? m->after : "", m->unit, m->help_en, m->help_zh);
}

void collect_describe_drivers(struct context *context, struct buf *out)
{
    for (size_t i = 0; i < sizeof described / sizeof described[0]; i++) {
        struct why why = WHY_NONE;
        const struct millrace_driver *driver = driver_find(context, str_of(described[i]), &why);
        if (!driver) continue;
        buf_printf(out, "## %s\n\n%s.<br>%s。\n\n", driver->name, driver->help_en, driver->help_zh);
        add_schemes(out, driver);
        if (driver->options[0].name) add_options(out, driver->options);
        if (DRIVER_HAS(driver, measures)) add_measures(out, driver->measures);
        buf_add_char(out, '\n');
    }
    buf_add_text(out, "## Options of every connection\n");
    add_options(out, driver_host_options);
}
