/* driver_load.c - a driver by its name: built in, or a shared object loaded on first use.
 *
 * A shared object stays loaded for good, so loading it again by its name is only a look-up of the
 * C library's: nothing about it is kept here. What it exports is checked before it is believed: the
 * version of the interface, its size, its name, and the operations that no driver can do without.
 */
#include "collect/collect_priv.h"
#include "collect/drivers/modbus/modbus.h"
#include <stdio.h>
#include <string.h>

static const struct millrace_driver *const built_in[] = {&modbus_driver};
enum { BUILT_IN_COUNT = sizeof built_in / sizeof built_in[0] };

/* Names that are known although they are no part of the program: for the help in errors. */
static const char *const known_names[] = {"modbus", "host"};
enum { KNOWN_COUNT = sizeof known_names / sizeof known_names[0] };

static bool is_name(struct str name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return name.size > 0 && name.size <= 40;
}

static const struct millrace_driver *refuse(struct why *why, struct str name)
{
    int nearest = str_nearest(name, known_names, KNOWN_COUNT);
    (void)why_set(why, ERR_NOT_FOUND,
                  "there is no driver '%.*s'%s%s%s (built in: modbus; others are files "
                  "millrace-driver-NAME.so in lib/ beside the program, or in the folder that "
                  "node.yaml names under drivers)",
                  (int)(name.size > 60 ? 60 : name.size), name.at,
                  nearest >= 0 ? "; did you mean " : "", nearest >= 0 ? known_names[nearest] : "",
                  nearest >= 0 ? "?" : "");
    return NULL;
}

static const struct millrace_driver *check(const struct millrace_driver *driver, const char *file,
                                           struct str name, struct why *why)
{
    const char *wrong = NULL;
    if (!driver) {
        wrong = "its entry gives no driver";
    } else if (driver->abi != MILLRACE_DRIVER_ABI) {
        (void)why_set(
            why, ERR_FORMAT,
            "%s is made for version %u of the driver interface, Millrace " MILLRACE_VERSION
            " has version %u: build it anew with this version's millrace/driver.h",
            file, driver->abi, MILLRACE_DRIVER_ABI);
        return NULL;
    } else if (driver->size_bytes < offsetof(struct millrace_driver, in_flight_max)) {
        wrong = "it is too short for its version";
    } else if (!driver->name || !str_is(name, driver->name)) {
        wrong = "it holds a driver of another name";
    } else if (!driver->schemes || !driver->options || !driver->areas || !driver->line_init ||
               !driver->point_parse || !driver->read || !driver->write || !driver->forget ||
               !driver->receive || !driver->decode || !driver->line_bytes) {
        wrong = "it lacks a table or an operation that every driver has";
    }
    if (!wrong) return driver;
    (void)why_set(why, ERR_FORMAT, "%s: %s", file, wrong);
    return NULL;
}

static const struct millrace_driver *load(struct context *context, struct str name, struct why *why)
{
    const struct millrace_driver *(*entry)(void) = NULL;
    const char *const folders[] = {context->drivers_folder, NULL};
    struct os *os = context->os;
    char file[80];
    snprintf(file, sizeof file, "millrace-driver-%.*s.so", (int)name.size, name.at);
    for (size_t i = 0; i < 2 && os->ops->library_open; i++) {
        struct why own = WHY_NONE;
        void *symbol = NULL;
        if (i == 0 && !folders[0]) continue;
        enum err err =
            os->ops->library_open(os, folders[i], file, MILLRACE_DRIVER_ENTRY, &symbol, &own);
        if (err == ERR_NOT_FOUND) continue;
        if (err) {
            (void)why_set(why, err, "driver %.*s: %s", (int)name.size, name.at,
                          why_text(&own, err));
            return NULL;
        }
        memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast between the two */
        return check(entry(), file, name, why);
    }
    return refuse(why, name);
}

const struct millrace_driver *driver_find(struct context *context, struct str name, struct why *why)
{
    for (size_t i = 0; i < BUILT_IN_COUNT; i++)
        if (str_is(name, built_in[i]->name)) return built_in[i];
    return is_name(name) ? load(context, name, why) : refuse(why, name);
}
