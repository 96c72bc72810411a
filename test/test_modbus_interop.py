"""The Modbus driver against pymodbus: every type and order, every framing, writes, and a peer that comes and goes."""
import json
import os
import struct
import subprocess
import sys

import pytest

from conftest import HOST, die_with_parent, free_port, wait_for

PEER = os.path.join(os.path.dirname(__file__), "modbus_peer.py")
ORDERS = {1: ("AB", "BA"), 2: ("AB", "BA"), 4: ("ABCD", "CDAB", "BADC", "DCBA"),
          8: ("ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA", "CDABGHEF", "EFGHABCD")}
# type: (struct letter, size, column type, a value to read, a value to write)
NUMBERS = {"int8": ("b", 1, "bigint", -5, 7), "uint8": ("B", 1, "bigint", 250, 9), "int16": ("h", 2, "bigint", -12345, 321),
           "uint16": ("H", 2, "bigint", 54321, 1), "int32": ("i", 4, "bigint", -1234567890, 99999),
           "uint32": ("I", 4, "bigint", 4123456789, 70000), "float": ("f", 4, "double", 1234.5, -0.25),
           "int64": ("q", 8, "bigint", -1234567890123456789, 5000000000), "uint64": ("Q", 8, "ubigint", 2**63 + 12345, 77),
           "double": ("d", 8, "double", -3.141592653589793e100, 2.5)}


def on_the_wire(kind, value, order):
    """The registers' bytes: the value's own, from the highest (A) on, in the sequence of the letters."""
    letter, size = NUMBERS[kind][:2]
    raw = struct.pack(">" + letter, value)
    if size == 1:
        return b"\0" + raw if order == "AB" else raw + b"\0"
    return bytes(raw["ABCDEFGH".index(c)] for c in order)


def points():
    """(column, column type, address, type, order, wire bytes, value) of one device, packed one behind the other."""
    at, out = 0, []
    for kind, (_, size, column, value, _) in NUMBERS.items():
        for order in ORDERS[size]:
            wire = on_the_wire(kind, value, order)
            out.append((f"{kind}_{order.lower()}", column, 400001 + at, kind, order, wire, value))
            at += len(wire) // 2
    text = "Drehofen µ".encode()
    for order in ("AB", "BA"):
        padded = text.ljust(14, b"\0")
        wire = padded if order == "AB" else b"".join(padded[i:i + 2][::-1] for i in range(0, 14, 2))
        out.append((f"text_{order.lower()}", "text", 400001 + at, "string(13)", order, wire, "Drehofen µ"))
        at += 7
    for bit in (0, 7, 8, 15):
        out.append((f"bit_{bit}", "bool", f"{400001 + at}.{bit}", "bit", "", b"", bool(0x8101 >> bit & 1)))
    out.append(("bits", "bigint", 400001 + at, "uint16", "", b"\x81\x01", 0x8101))
    return out


def manifest(port, framing):
    scheme = {"tcp": "tcp", "rtu": "rtu+tcp", "ascii": "ascii+tcp"}[framing]
    columns = "".join(f"    - {{name: {p[0]}, type: {p[1]}}}\n" for p in points())
    lines = "".join(f"    - {{column: {p[0]}, address: \"{p[2]}\", type: {p[3]}, access: rw"
                    + (f", order: {p[4]}" if p[4] else "") + "}\n" for p in points())
    return (f"apiVersion: millrace.io/v1\nkind: Connection\nmetadata: {{name: peer}}\n"
            f"spec: {{driver: modbus, endpoint: \"{scheme}://{HOST}:{port}\", timeout: 1s, retries: 1}}\n---\n"
            f"apiVersion: millrace.io/v1\nkind: Table\nmetadata: {{name: peer}}\nspec:\n  columns:\n{columns}"
            "    - {name: coil, type: bool}\n    - {name: discrete, type: bool}\n    - {name: input, type: bigint}\n---\n"
            f"apiVersion: millrace.io/v1\nkind: Device\nmetadata: {{name: peer}}\nspec:\n  path: peer\n  table: peer\n"
            f"  connection: peer\n  interval: 200ms\n  points:\n{lines}"
            "    - {column: coil, address: \"2!000004\", type: bit, access: rw}\n"
            "    - {column: discrete, address: \"2!100006\", type: bit}\n"
            "    - {column: input, address: \"2!300008\", type: int16}\n")


class Peer:
    def __init__(self, framing):
        self.port, self.framing, self.process = free_port(), framing, None

    def start(self):
        wire = b"".join(p[5] for p in points()).ljust(400, b"\0")
        memory = {"holding": list(struct.unpack(f">{len(wire) // 2}H", wire)), "input": list(range(100, 200)),
                  "coils": [False, False, False, True] + [False] * 60, "discrete": [False] * 5 + [True] + [False] * 60}
        self.process = subprocess.Popen([sys.executable, PEER, str(self.port), self.framing], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.process.stdin.write(json.dumps(memory).encode())
        self.process.stdin.close()
        assert self.process.stdout.readline() == b"ready\n"

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(name="peer", params=["tcp", "rtu", "ascii"])
def peer_fixture(request):
    made = Peer(request.param)
    made.start()
    yield made
    made.stop()


@pytest.fixture(name="polling")
def polling_fixture(node_factory, peer, tmp_path):
    path = tmp_path / "peer.yaml"
    path.write_text(manifest(peer.port, peer.framing), encoding="utf-8")
    return node_factory(manifests=[str(path)], settings=["listen.https=off"])


def newest(node, columns):
    rows = node.sql(f"SELECT {', '.join(columns)}, quality FROM peer ORDER BY time DESC LIMIT 1")
    return rows[0] if rows else None


def test_every_type_and_order_reads_as_the_peer_holds_it(polling):
    names = [p[0] for p in points()] + ["coil", "discrete", "input"]
    row = wait_for(lambda: newest(polling, names), 10, "no rows")
    want = [p[6] for p in points()] + [True, True, 107]
    got = [int(v) if isinstance(w, int) and isinstance(v, str) else v for v, w in zip(row, want)]
    assert dict(zip(names, got)) == dict(zip(names, want))


def test_every_type_and_order_is_written_and_read_back(polling):
    wait_for(lambda: newest(polling, ["coil"]), 10, "no rows")
    for kind, (_, size, _, _, value) in NUMBERS.items():
        for order in ORDERS[size]:
            status, said = polling.write("peer", f"{kind}_{order.lower()}", value)
            assert status == 0, said
            assert float(json.loads(said)["readBack"]) == value, said
    status, said = polling.write("peer", "text_ba", "Ofen 2")
    assert status == 0 and json.loads(said)["readBack"] == "Ofen 2"
    names = [f"{kind}_{order.lower()}" for kind, row in NUMBERS.items() for order in ORDERS[row[1]]]
    want = [row[4] for row in NUMBERS.values() for _ in ORDERS[row[1]]]
    wait_for(lambda: [float(v) for v in newest(polling, names)[:-1]] == want, 5, "not what was written")


def test_a_peer_that_comes_back_is_good_again(polling, peer):
    wait_for(lambda: newest(polling, ["coil"]), 10, "no rows")
    peer.stop()
    wait_for(lambda: newest(polling, ["coil"])[0] is None, 4, "not bad after the stop")
    assert newest(polling, ["coil"])[1] == "BadNoCommunication"
    peer.start()
    wait_for(lambda: newest(polling, ["coil"])[0] is True, 5, "not good again")
