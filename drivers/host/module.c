/* module.c - the entry of millrace-driver-host.so (see millrace/driver.h). */
#include "millrace/driver.h"

extern const struct millrace_driver host_driver;
__attribute__((visibility("default"))) const struct millrace_driver *millrace_driver_entry(void);

const struct millrace_driver *millrace_driver_entry(void)
{
    return &host_driver;
}
