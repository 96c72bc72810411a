#!/usr/bin/python3
"""modbus_peer.py - pymodbus as equipment: serves memory given as JSON on standard input, over one framing.

usage: modbus_peer.py PORT|/dev/TTY tcp|rtu|ascii [CERTIFICATE KEY [CA]]

stdin: {"holding": [...], "input": [...], "coils": [...], "discrete": [...]}. With a certificate the port speaks TLS, and
with a CA it asks for the client's. It prints "ready" once it listens and serves until it is killed. Units 1 and 2 share the memory; others do not answer.
"""
import asyncio
import json
import ssl
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.device import ModbusDeviceIdentification
from pymodbus.framer.ascii_framer import ModbusAsciiFramer
from pymodbus.framer.rtu_framer import ModbusRtuFramer
from pymodbus.framer.socket_framer import ModbusSocketFramer
from pymodbus.server.async_io import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer

FRAMERS = {"tcp": ModbusSocketFramer, "rtu": ModbusRtuFramer, "ascii": ModbusAsciiFramer}
IDENTITY = ModbusDeviceIdentification(info_name={"VendorName": "Acme Furnaces", "ProductCode": "DO-7",
                                                 "MajorMinorRevision": "3.1"})


def make_server(context, where, framer, tls):
    common = {"identity": IDENTITY, "ignore_missing_slaves": True}
    if where.startswith("/"):
        return ModbusSerialServer(context, framer, port=where, baudrate=115200, parity="N", timeout=0.01, **common)
    address = ("127.0.0.1", int(where))
    if not tls:
        return ModbusTcpServer(context, framer, address=address, allow_reuse_address=True, **common)
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(*tls[:2])
    if tls[2:]:
        secure.verify_mode = ssl.CERT_REQUIRED
        secure.load_verify_locations(tls[2])
    return ModbusTlsServer(context, framer, address=address, sslctx=secure, allow_reuse_address=True, **common)


async def main():
    where, framing = sys.argv[1:3]
    memory = json.load(sys.stdin)
    memory = ModbusSlaveContext(di=ModbusSequentialDataBlock(0, memory["discrete"]), co=ModbusSequentialDataBlock(0, memory["coils"]),
                                ir=ModbusSequentialDataBlock(0, memory["input"]), hr=ModbusSequentialDataBlock(0, memory["holding"]),
                                zero_mode=True)
    context = ModbusServerContext(slaves={1: memory, 2: memory}, single=False)
    server = make_server(context, where, FRAMERS[framing], sys.argv[3:])
    if where.startswith("/"):
        await server.start()
        print("ready", flush=True)
        await server.serve_forever()
    else:
        serving = asyncio.ensure_future(server.serve_forever())
        await server.serving
        print("ready", flush=True)
        await serving


if __name__ == "__main__":
    asyncio.run(main())
