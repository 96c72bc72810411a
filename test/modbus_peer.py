#!/usr/bin/python3
"""modbus_peer.py - pymodbus as equipment: serves memory given as JSON on standard input, over one framing.

usage: modbus_peer.py PORT tcp|rtu|ascii      stdin: {"holding": [...], "input": [...], "coils": [...], "discrete": [...]}

It prints "ready" once it listens and serves until it is killed. Units 1 and 2 share the memory; others do not answer.
"""
import asyncio
import json
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.framer.ascii_framer import ModbusAsciiFramer
from pymodbus.framer.rtu_framer import ModbusRtuFramer
from pymodbus.framer.socket_framer import ModbusSocketFramer
from pymodbus.server.async_io import ModbusTcpServer

FRAMERS = {"tcp": ModbusSocketFramer, "rtu": ModbusRtuFramer, "ascii": ModbusAsciiFramer}


async def main():
    port, framing = int(sys.argv[1]), sys.argv[2]
    memory = json.load(sys.stdin)
    memory = ModbusSlaveContext(di=ModbusSequentialDataBlock(0, memory["discrete"]), co=ModbusSequentialDataBlock(0, memory["coils"]),
                                ir=ModbusSequentialDataBlock(0, memory["input"]), hr=ModbusSequentialDataBlock(0, memory["holding"]),
                                zero_mode=True)
    context = ModbusServerContext(slaves={1: memory, 2: memory}, single=False)
    server = ModbusTcpServer(context, FRAMERS[framing], address=("127.0.0.1", port), ignore_missing_slaves=True,
                             allow_reuse_address=True)
    serving = asyncio.ensure_future(server.serve_forever())
    await server.serving
    print("ready", flush=True)
    await serving


if __name__ == "__main__":
    asyncio.run(main())
