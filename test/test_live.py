"""Live rows over /v1/live: many wishes, large batches, viewers that are slow."""
import base64
import json
import socket
import struct
import threading
import time

import pytest

from conftest import HOST, wait_for
from test_sinks import row, write

LIMIT_S = 30


class Viewer:
    """A WebSocket client by hand: it reads only when told to."""

    def __init__(self, node, wishes, buffer=None):
        self.socket, self.data, self.got = socket.socket(), b"", []
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect((HOST, node.port))
        key = base64.b64encode(b"0123456789abcdef").decode()
        self.socket.sendall((f"GET /v1/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                             f"Sec-WebSocket-Key: {key}\r\nAuthorization: Bearer {node.token()}\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.data:
            self.data += self.socket.recv(4096)
        assert b" 101 " in self.data, self.data
        self.data = self.data.split(b"\r\n\r\n", 1)[1]
        text = json.dumps({"subscribe": wishes}).encode()
        head = bytes([0x81]) + (bytes([0x80 | len(text)]) if len(text) < 126 else struct.pack("!BH" if len(text) < 65536 else "!BQ", 254 if len(text) < 65536 else 255, len(text)))
        self.socket.sendall(head + b"\0\0\0\0" + text)
        assert self.next() == {"subscribed": True}

    def next(self):
        while True:
            size, at = (self.data[1] & 127 if len(self.data) > 1 else 0), 2
            if size == 126 and len(self.data) >= 4:
                size, at = struct.unpack("!H", self.data[2:4])[0], 4
            elif size == 127 and len(self.data) >= 10:
                size, at = struct.unpack("!Q", self.data[2:10])[0], 10
            elif size >= 126:
                size = 1 << 62
            if len(self.data) >= 2 and len(self.data) >= at + size:
                opcode, text = self.data[0] & 15, self.data[at:at + size]
                self.data = self.data[at + size:]
                if opcode == 1:
                    return json.loads(text)
                continue
            more = self.socket.recv(1 << 20)
            assert more, "closed"
            self.data += more

    def read(self, count):
        """Rows seen and rows dropped until both together are `count`."""
        seen, dropped = [], 0
        while len(seen) + dropped < count:
            message = self.next()
            seen += message.get("rows", [])
            dropped += message.get("dropped", 0)
        return seen, dropped


@pytest.fixture(name="node")
def node_fixture(node_factory):
    node = node_factory()
    write(node, "press", row("first", 0, a=0, b=0))
    return node


def test_of_many_wishes_the_first_that_fits_a_row_counts(node):
    none = [{"device": f"no{i}", "table": "press"} for i in range(900)]
    viewer = Viewer(node, [*none, {"device": "d1", "columns": ["b"]}, {"device": "d1", "table": "press"}, {"device": "d2", "table": "other"},
                           {"table": "press", "columns": ["x", "a"]}, {"device": "d3", "columns": ["b"]}, *none[:50]])
    write(node, "press", *(row(f"d{i}", 1000, a=i, b=-i) for i in range(4)))
    write(node, "other", row("d2", 1000, a=5), row("d4", 1000, a=6))
    write(node, "press", row("end", 0, a=9))
    seen, _ = viewer.read(6)
    assert [(r["table"], r["device"], r.get("a"), r.get("b")) for r in seen] == [
        ("press", "d0", 0, None), ("press", "d1", None, -1), ("press", "d2", 2, None), ("press", "d3", 3, None), ("other", "d2", 5, None), ("press", "end", 9, None)]
    viewer = Viewer(node, [{"device": "d1"}])
    write(node, "press", row("d0", 2000, a=1), row("d1", 2000, a=1))
    assert [r["device"] for r in viewer.read(1)[0]] == ["d1"], "no wish is left of those before"


def test_a_batch_that_is_larger_than_what_may_wait_for_a_viewer_is_shown_in_pieces(node):
    viewer = Viewer(node, "*")
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(viewer.read(8000)))
    reader.start()
    write(node, "press", *(row(f"d{i % 3}", i, a=i, note="x" * 200) for i in range(8000)))
    reader.join(LIMIT_S)
    assert len(seen) == 2 and sorted(r["a"] for r in seen[0]) == list(range(8000)), "2 MiB of rows, and none is missing"


def test_who_was_slow_is_told_how_many_rows_he_has_missed_though_none_follow(node):
    viewer = Viewer(node, "*", buffer=4096)
    for turn in range(10):
        write(node, "press", *(row("d", turn * 10000 + i, a=i, note="x" * 1000) for i in range(2000)))
    wait_for(lambda: node.metric("millrace_live_rows_dropped_total") > 0, LIMIT_S, "nothing is dropped")
    seen, dropped = viewer.read(20000)
    assert dropped > 0 and len(seen) + dropped == 20000 and dropped == node.metric("millrace_live_rows_dropped_total")


def test_many_viewers_with_many_wishes_do_not_hold_up_the_node(node):
    wishes = [{"device": f"a/longer/path/of/a/device/{i}", "table": "press"} for i in range(999)] + [{"device": "wanted"}]
    viewers = [Viewer(node, wishes) for _ in range(60)]
    rows = [row(f"a/longer/path/of/a/device/x{i % 100}", i, a=i) for i in range(8000)]
    writer = threading.Thread(target=lambda: write(node, "press", *rows, row("wanted", 1, a=1)))
    writer.start()
    longest, end = 0, time.monotonic() + 3
    while time.monotonic() < end:
        begun = time.monotonic()
        assert node.request("GET", "/healthz", token=None)[0] == 200
        longest = max(longest, time.monotonic() - begun)
        time.sleep(0.01)
    writer.join()
    for viewer in viewers:
        assert [r["device"] for r in viewer.read(1)[0]] == ["wanted"]
    print(f"the longest answer took {longest:.3f} s")
    assert longest < 1
