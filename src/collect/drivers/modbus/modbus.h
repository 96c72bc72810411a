/* modbus.h - the Modbus driver (see millrace/driver.h): TCP, RTU over TCP, ASCII over TCP. */
#ifndef COLLECT_MODBUS_H
#define COLLECT_MODBUS_H

#include "millrace/driver.h"

extern const struct millrace_driver modbus_driver;

#endif
