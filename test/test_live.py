"""/v1/live: rows as they come, of chosen devices and columns."""
import json
import struct
import threading
import time

from conftest import wait_for
from test_rights import open_stream


def frame(text):
    """A masked text frame, with a mask of zeros."""
    size = len(text.encode())
    head = struct.pack(">BB", 0x81, 0x80 | size) if size < 126 else struct.pack(">BBH", 0x81, 0x80 | 126, size)
    return head + b"\0\0\0\0" + text.encode()


def view(node, filters):
    socket = open_stream(node, "/v1/live", node.token(), upgrade=True)
    socket.sendall(frame(json.dumps({"subscribe": filters})))
    seen = b""
    while b'{"subscribed":true}' not in seen:
        seen += socket.recv(65536)
    return socket


def test_a_row_is_shown_by_the_first_filter_that_fits(node_factory):
    node, seen = node_factory(), b""
    socket = view(node, [{"device": "a", "table": "u", "columns": ["none"]}, {"device": "a", "columns": ["x"]},
                         {"table": "t", "columns": ["y"]}, {"device": "a"}, {"device": "d"}])
    rows = ("t,device=a x=1,y=2", "t,device=b x=3,y=4", "other,device=c x=5", "other,device=d x=6,y=7", "u,device=a x=8", "t,device=a x=9")
    lines = "".join(f"{row} {10**18 + number}\n" for number, row in enumerate(rows))
    assert node.request("POST", "/write", lines)[0] == 204
    while seen.count(b'"device"') < 5:
        seen += socket.recv(65536)
    for shown in (b'"device":"b","time":', b'"y":4}', b'"device":"d"', b'"x":6,"y":7}', b'"x":1}', b'"x":9}'):
        assert shown in seen, seen
    for hidden in (b'"c"', b'"x":3', b'"y":2', b'"x":8'):
        assert hidden not in seen, seen


def test_many_filters_do_not_stall_the_node(node_factory):
    """It is the main loop that looks which viewer wants which row."""
    node, waits_s = node_factory(settings=["memory=256MiB"]), []
    viewers = [view(node, [{"device": f"press{number}", "table": "t"} for number in range(1000)]) for _ in range(20)]
    lines = "".join(f"t,device=other{number % 1000} v={number} {10**18 + number}\n" for number in range(20000))
    writer = threading.Thread(target=node.request, args=("POST", "/write", lines))
    writer.start()
    while writer.is_alive() or len(waits_s) < 200:
        began = time.monotonic()
        assert node.request("GET", "/healthz", token=None)[0] == 200
        waits_s.append(time.monotonic() - began)
    wait_for(lambda: node.sql("SELECT count(*) FROM t") == [[20000]], 10, "not written")
    assert max(waits_s) < 2, sorted(waits_s)[-3:]
    for viewer in viewers:
        viewer.close()
