"""The Modbus driver against pymodbus: every type and order, every framing, writes, and a peer that comes and goes."""
import json
import os
import re
import struct
import subprocess
import sys
import time

import pytest

from conftest import HOST, die_with_parent, free_port, wait_for
from equipment import Modem, SerialLine

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


def manifest(endpoint, options):
    columns = "".join(f"    - {{name: {p[0]}, type: {p[1]}}}\n" for p in points())
    lines = "".join(f"    - {{column: {p[0]}, address: \"{p[2]}\", type: {p[3]}, access: rw"
                    + (f", order: {p[4]}" if p[4] else "") + "}\n" for p in points())
    return (f"apiVersion: millrace.io/v1\nkind: Connection\nmetadata: {{name: peer}}\n"
            f"spec: {{driver: modbus, endpoint: \"{endpoint}\", timeout: 1s, retries: 1, options: {json.dumps(options)}}}\n---\n"
            f"apiVersion: millrace.io/v1\nkind: Table\nmetadata: {{name: peer}}\nspec:\n  columns:\n{columns}"
            "    - {name: coil, type: bool}\n    - {name: discrete, type: bool}\n    - {name: input, type: bigint}\n---\n"
            f"apiVersion: millrace.io/v1\nkind: Device\nmetadata: {{name: peer}}\nspec:\n  path: peer\n  table: peer\n"
            f"  connection: peer\n  interval: 200ms\n  points:\n{lines}"
            "    - {column: coil, address: \"2!000004\", type: bit, access: rw}\n"
            "    - {column: discrete, address: \"2!100006\", type: bit}\n"
            "    - {column: input, address: \"2!300008\", type: int16}\n")


def make_certificate(folder):
    """A self-signed certificate for the name "furnace"."""
    paths = [str(folder / "cert.pem"), str(folder / "key.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=furnace", "-addext", "subjectAltName=DNS:furnace", "-out", paths[0], "-keyout", paths[1]],
                   check=True, capture_output=True)
    return paths


class Peer:
    """pymodbus behind one kind of line; .endpoint and .options are what a Connection to it says, .lost the quality of what it
    no longer answers."""

    def __init__(self, kind, folder):
        self.line, self.modem, self.process = None, None, None
        self.options, self.tls, self.lost = {}, [], "BadNoCommunication"
        self.framing = kind.rsplit("-", maxsplit=1)[-1].replace("tls", "tcp")
        self.where = str(free_port())
        self.endpoint = f"{ {'tcp': 'tcp', 'rtu': 'rtu+tcp', 'ascii': 'ascii+tcp'}[self.framing]}://{HOST}:{self.where}"
        if kind == "tls":
            self.tls = make_certificate(folder)
            self.endpoint = f"tls://{HOST}:{self.where}"
            self.options = {"ca": self.tls[0], "serverName": "furnace"}
        if kind.startswith("serial"):
            self.line = SerialLine()
            self.where, self.lost = self.line.theirs, "BadTimeout"
            self.endpoint = f"{self.framing}://{self.line.ours}?baud=115200&parity=none"
        if kind.startswith("listen"):
            port = free_port()
            self.endpoint = f"listen+tcp://{HOST}:{port}"
            self.options = {"framing": self.framing, "registration": "DTU-17", "heartbeat": "hex:FE FE FE"}
            self.modem = Modem(port, int(self.where), b"DTU-17", b"\xfe\xfe\xfe")

    def start(self):
        wire = b"".join(p[5] for p in points()).ljust(400, b"\0")
        memory = {"holding": list(struct.unpack(f">{len(wire) // 2}H", wire)), "input": list(range(100, 200)),
                  "coils": [False, False, False, True] + [False] * 60, "discrete": [False] * 5 + [True] + [False] * 60}
        self.process = subprocess.Popen([sys.executable, PEER, self.where, self.framing, *self.tls], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.process.stdin.write(json.dumps(memory).encode())
        self.process.stdin.close()
        assert self.process.stdout.readline() == b"ready\n"

    def stop(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.stop()
        for part in (self.modem, self.line):
            if part:
                part.stop()


KINDS = ["tcp", "rtu", "ascii", "tls", "serial-rtu", "serial-ascii", "listen-rtu", "listen-tcp"]


@pytest.fixture(name="peer", params=KINDS)
def peer_fixture(request, tmp_path):
    made = Peer(request.param, tmp_path)
    made.start()
    yield made
    made.end()


@pytest.fixture(name="polling", scope="module", params=KINDS)
def polling_fixture(request, shared_node_factory, tmp_path_factory):
    """A node that polls a peer: one for all that look at it, first of them who reads what the peer began with."""
    folder = tmp_path_factory.mktemp("peer")
    peer, path = Peer(request.param, folder), folder / "peer.yaml"
    peer.start()
    path.write_text(manifest(peer.endpoint, peer.options), encoding="utf-8")
    node = shared_node_factory(manifests=[str(path)], settings=["listen.https=off"])
    yield node
    node.end(limit_s=20)
    peer.end()


def write(node, point, value):
    """(HTTP status, the answer): what `millrace write` asks for, without a program's start for each."""
    body = json.dumps({"point": point, "value": value, "reason": "test"})
    return node.request("POST", "/apis/millrace.io/v1/namespaces/default/devices/peer/write", body)


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
            status, said = write(polling, f"{kind}_{order.lower()}", value)
            assert status == 200, said
            assert float(json.loads(said)["readBack"]) == value, said
    status, said = polling.write("peer", "text_ba", "Ofen 2")
    assert status == 0 and json.loads(said)["readBack"] == "Ofen 2"
    names = [f"{kind}_{order.lower()}" for kind, row in NUMBERS.items() for order in ORDERS[row[1]]]
    want = [row[4] for row in NUMBERS.values() for _ in ORDERS[row[1]]]
    wait_for(lambda: [float(v) for v in newest(polling, names)[:-1]] == want, 5, "not what was written")


def test_a_peer_that_comes_back_is_good_again(node_factory, peer, tmp_path):
    path = tmp_path / "peer.yaml"
    path.write_text(manifest(peer.endpoint, peer.options).replace("timeout: 1s", "timeout: 300ms"), encoding="utf-8")
    polling = node_factory(manifests=[str(path)], settings=["listen.https=off"])
    wait_for(lambda: newest(polling, ["coil"]), 10, "no rows")
    peer.stop()
    wait_for(lambda: newest(polling, ["coil"])[0] is None, 6, "not bad after the stop")
    assert newest(polling, ["coil"])[1] == peer.lost
    peer.start()
    wait_for(lambda: newest(polling, ["coil"])[0] is True, 5, "not good again")


def test_the_unit_says_who_it_is_and_a_value_is_read_once(polling):
    wait_for(lambda: newest(polling, ["coil"]), 10, "no rows")
    status, said = polling.cli("test", "peer")
    assert status == 0 and "Acme Furnaces" in said and "DO-7" in said and "3.1" in said, said
    status, said = polling.cli("test", "peer", "2!300008", "int16", "--json")
    answer = json.loads(said)
    assert (status, answer["value"], answer["raw"]) == (0, 107, "00 6B"), said
    assert 0 < answer["roundTripMs"] < 1000
    status, said = polling.cli("test", "peer", "1!409000", "int16")
    assert status == 1 and "exception 2: illegal data address" in said and "frame" in said, said


def test_a_scan_finds_the_units_and_cells_that_answer(polling):
    wait_for(lambda: newest(polling, ["coil"]), 10, "no rows")
    status, said = polling.cli("scan", "peer", "1-3!300001-300240")
    assert status == 0, said
    assert "1!300001 … 1!300100" in said and "2!300001 … 2!300100" in said and "unit 3" not in said, said
    assert "vendor Acme Furnaces" in said, said


def test_a_scan_does_not_hold_up_polling(polling):
    wait_for(lambda: newest(polling, ["coil"]), 10, "no rows")
    start = polling.sql("SELECT max(time) FROM peer")[0][0]
    missed = polling.sql("SELECT missed_cycles FROM sys.connections")[0][0]  # while the peer was still starting
    polling.cli("scan", "peer", "1-4!300001-300240")
    rows = polling.sql(f"SELECT count(*), count(coil), count(input) FROM peer WHERE time > '{start}'")[0]
    assert rows[0] == rows[1] == rows[2], rows
    cycles = polling.sql("SELECT missed_cycles FROM sys.connections")[0][0] - missed
    assert cycles <= rows[0] // 2, (cycles, rows)  # a busy machine is late at times; a scan that held it up took them all


@pytest.mark.parametrize("peer", ["tcp", "rtu"], indirect=True)
def test_function_23_writes_and_reads_back_in_one_request(node_factory, peer, tmp_path):
    peer.options["readBack"] = "fc23"
    path = tmp_path / "peer.yaml"
    path.write_text(manifest(peer.endpoint, peer.options).replace("interval: 200ms", "interval: 1h"), encoding="utf-8")
    node = node_factory(manifests=[str(path)], settings=["listen.https=off"])
    wait_for(lambda: node.cli("test", "peer")[0] == 0, 10, "not connected")
    before = node.sql("SELECT requests FROM sys.connections")[0][0]
    status, said = node.write("peer", "uint32_cdab", 77777)
    assert status == 0 and json.loads(said)["readBack"] == 77777, said
    assert node.sql("SELECT requests FROM sys.connections")[0][0] == before + 1
    status, said = node.cli("test", "peer", "400001", "int16")
    assert status == 0, said


@pytest.mark.parametrize("peer", ["tls"], indirect=True)
@pytest.mark.parametrize("options, error", [({}, "self-signed|verify"), ({"ca": "CA"}, "name|mismatch"), ({"ca": "/nowhere.pem"}, "nowhere")])
def test_a_certificate_that_does_not_prove_the_peer_is_refused(node_factory, peer, tmp_path, options, error):
    options = {key: peer.tls[0] if value == "CA" else value for key, value in options.items()}
    path = tmp_path / "peer.yaml"
    path.write_text(manifest(peer.endpoint, options), encoding="utf-8")
    node = node_factory(manifests=[str(path)], settings=["listen.https=off"])
    said = wait_for(lambda: node.sql("SELECT last_error FROM sys.connections")[0][0], 10, "no error")
    assert re.search(error, said), said
    assert all(row[0] is None for row in node.sql("SELECT coil FROM peer"))


@pytest.mark.parametrize("peer", ["tls"], indirect=True)
def test_verification_can_be_turned_off(node_factory, peer, tmp_path):
    path = tmp_path / "peer.yaml"
    path.write_text(manifest(peer.endpoint, {"verify": False}), encoding="utf-8")
    node = node_factory(manifests=[str(path)], settings=["listen.https=off"])
    wait_for(lambda: newest(node, ["coil"])[0] if newest(node, ["coil"]) else None, 10, "no value")


@pytest.mark.parametrize("peer", ["serial-rtu"], indirect=True)
def test_silence_of_three_and_a_half_characters_parts_serial_frames(node_factory, peer, tmp_path):
    path = tmp_path / "peer.yaml"
    slow = peer.endpoint.replace("115200", "9600")  # a pseudo terminal has no speed, but the node does not know
    path.write_text(manifest(slow, {}), encoding="utf-8")
    node = node_factory(manifests=[str(path)], settings=["listen.https=off"])
    wait_for(lambda: newest(node, ["coil"]), 10, "no rows")
    time.sleep(1)
    gaps = [b[0] - a[0] for a, b in zip(peer.line.traffic, peer.line.traffic[1:]) if (a[1], b[1]) == ("equipment", "node")]
    assert len(gaps) > 5 and min(gaps) >= 0.0035, gaps  # 3.5 characters of 10 bits at 9,600 baud are 3.6 ms


@pytest.mark.parametrize("peer", ["tls"], indirect=True)
def test_a_peer_may_ask_for_our_certificate(node_factory, peer, tmp_path):
    peer.stop()
    cert, key = peer.tls[:2]
    peer.tls.append(cert)  # it trusts itself, and so do we: one pair serves both sides
    peer.start()
    path = tmp_path / "peer.yaml"
    path.write_text(manifest(peer.endpoint, peer.options), encoding="utf-8")
    refused = node_factory(manifests=[str(path)], settings=["listen.https=off"])
    said = wait_for(lambda: refused.sql("SELECT last_error FROM sys.connections")[0][0], 10, "no error")
    assert re.search("certificate|closed", said), said  # TLS 1.3: the peer finds out after the handshake
    path.write_text(manifest(peer.endpoint, {**peer.options, "cert": cert, "key": key}), encoding="utf-8")
    node = node_factory(manifests=[str(path)], settings=["listen.https=off"])
    wait_for(lambda: newest(node, ["coil"])[0] if newest(node, ["coil"]) else None, 10, "no value")


@pytest.mark.parametrize("endpoint, error", [("rtu:///dev/null", "/dev/null is not a serial line"),
                                             ("ascii:///dev/ttyNONE?baud=19200", "open /dev/ttyNONE: no such file")])
def test_a_serial_line_that_is_none_says_so(node_factory, tmp_path, endpoint, error):
    path = tmp_path / "peer.yaml"
    path.write_text(manifest(endpoint, {}), encoding="utf-8")
    node = node_factory(manifests=[str(path)], settings=["listen.https=off"])
    wait_for(lambda: error in str(node.sql("SELECT last_error FROM sys.connections")[0][0]), 10, "no error")


def test_a_path_that_is_too_long_is_refused_and_not_cut(node_factory):
    node = node_factory()
    for option, why in (("ca", "options.ca: the path has more than 4095 bytes"), ("serverName", "options.serverName has more than 255 bytes")):
        document = {"apiVersion": "millrace.io/v1", "kind": "Connection", "metadata": {"name": option.lower()},
                    "spec": {"driver": "modbus", "endpoint": f"tls://{HOST}:{free_port()}", "options": {option: "/" + "x" * 5000}}}
        status, text = node.request("POST", "/apis/millrace.io/v1/namespaces/default/connections", json.dumps(document), headers={"Content-Type": "application/json"})
        assert status == 201, text
        wait_for(lambda: why in json.dumps(node.sql("SELECT * FROM sys.connections")), 10, f"not told: {why}")  # pylint: disable=cell-var-from-loop
