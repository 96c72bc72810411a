#!/usr/bin/python3
"""record_modbus_corpus.py - asks real peers what the fuzz target's requests ask, and keeps their answers as its corpus.

usage: record_modbus_corpus.py PLANTSIM      writes test/corpus/modbus/

Peers: pymodbus over its three framings, and libmodbus (the plantsim given) over TCP. A file is what modbus_fuzz.c expects: a
byte that chooses framing and open requests, a byte for the pieces, then the bytes that the peer sent.
"""
import json
import os
import socket
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FRAMINGS = ("tcp", "rtu", "ascii")
# The requests of modbus_fuzz.c in its order; tokens 1 to 5 are transaction ids.
REQUESTS = [(1, b"\x01\x00\x00\x00\x14"), (1, b"\x02\x00\x08\x00\x03"), (1, b"\x04\x00\x00\x00\x0c"), (2, b"\x03\x00\x64\x00\x0c"),
            (1, b"\x06\x00\x00\x02\x01")]
# Others, for answers that nobody waits for, and exceptions.
OTHERS = [(1, b"\x03\xff\xf0\x00\x0c"), (1, b"\x16\x00\x04\x00\xf2\x00\x25"), (1, b"\x2b\x0e\x01\x00"), (1, b"\x63\x00")]


def crc(data):
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return struct.pack("<H", value)


def wrap(framing, token, unit, pdu):
    if framing == "tcp":
        return struct.pack(">HHHB", token, 0, len(pdu) + 1, unit) + pdu
    body = bytes([unit]) + pdu
    if framing == "rtu":
        return body + crc(body)
    return b":" + (body + bytes([-sum(body) & 0xFF])).hex().upper().encode() + b"\r\n"


def ask(port, frame):
    with socket.create_connection(("127.0.0.1", port), 2) as line:
        line.settimeout(0.5)
        line.sendall(frame)
        try:
            return line.recv(600)
        except TimeoutError:
            return b""


def record(name, framing, port, folder):
    kind, answers = FRAMINGS.index(framing), []
    for i, (unit, pdu) in enumerate(REQUESTS + OTHERS):
        answer = ask(port, wrap(framing, i + 1, unit, pdu))
        if not answer:
            continue
        answers.append(answer)
        with open(os.path.join(folder, f"{name}-{framing}-{i}"), "wb") as out:
            out.write(bytes([kind + 3 * min(i, 3), 5]) + answer)
    with open(os.path.join(folder, f"{name}-{framing}-all"), "wb") as out:
        out.write(bytes([kind, 11]) + b"".join(answers))


def serve(command, memory=None):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(json.dumps(memory).encode() if memory else b"")
    process.stdin.close()
    process.stdout.readline()
    return process


def main():
    folder = os.path.join(HERE, "corpus", "modbus")
    os.makedirs(folder, exist_ok=True)
    memory = {"holding": [(i * 2654435761) >> 7 & 0xFFFF for i in range(200)], "input": list(range(100, 200)),
              "coils": [i % 3 == 0 for i in range(64)], "discrete": [i % 2 == 0 for i in range(64)]}
    for framing in FRAMINGS:
        port = free_port()
        peer = serve([sys.executable, os.path.join(HERE, "modbus_peer.py"), str(port), framing], memory)
        record("pymodbus", framing, port, folder)
        peer.kill()
        peer.wait()
    port = free_port()
    peer = serve([sys.argv[1], "--listen", f"127.0.0.1:{port}"])
    record("libmodbus", "tcp", port, folder)
    peer.kill()
    peer.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
