/* device_right.c - see device_right.h. */
#include "listeners/device_right.h"
#include "listeners/identities.h"
#include <string.h>

static bool ends_with(struct str text, struct str end)
{
    return end.size && text.size >= end.size &&
           memcmp(text.at + text.size - end.size, end.at, end.size) == 0;
}

enum err device_right(struct service *service, const struct identity *who, enum access_verb verb,
                      struct str ns, struct str device, struct why *why)
{
    size_t at = 0;
    bool found = false;
    for (struct resource *r; (r = registry_next(service->registry, KIND_DEVICE, &at));) {
        char path[1024];
        const struct device_spec *spec = r->spec;
        bool is_meant = str_equal(r->name, device) || ends_with(device, spec->path);
        if (!is_meant || !str_equal(r->ns, ns)) continue; /* there may be thousands */
        struct str whole = resource_path(service, r, path);
        if (!str_equal(r->name, device) && !str_equal(spec->path, device) &&
            !str_equal(whole, device))
            continue;
        found = true;
        enum err err = access_check(who, verb, "Device", ns, r->name, whole, NULL);
        if (err) return access_check(who, verb, "Device", ns, device, STR(""), why);
    }
    return found ? ERR_OK : access_check(who, verb, "Device", ns, device, STR(""), why);
}
