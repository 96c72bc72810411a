"""DELETE over HTTP: rows go, stay away through CHECKPOINT, restart and kill -9, and only those with the right may do it."""
import os
import signal

from programs import Node


def counts(node):
    return node.sql("SELECT device, count(*), min(v) FROM t GROUP BY device ORDER BY device")


def test_deleted_rows_stay_away(tmp_path):
    node = Node(str(tmp_path)).start()
    lines = "\n".join(f"t,device=d{d} v={i} {1_000_000 + i}" for i in range(10) for d in range(3))
    assert node.call("POST", "/write?precision=s", lines.encode())[0] == 204
    assert node.sql("DELETE FROM t WHERE device = 'd1' AND v < 5") == [[5]]
    assert counts(node) == [["d0", 10, 0], ["d1", 5, 5], ["d2", 10, 0]]
    node.sql("CHECKPOINT")
    assert node.sql("DELETE FROM t WHERE device = 'd2'") == [[10]]
    assert node.sql("DELETE FROM t WHERE time >= '1970-01-12T13:46:45Z' AND device = 'd0'") == [[5]]
    assert node.sql("DELETE FROM t WHERE device = 'd2'") == [[0]], "they are gone"
    assert counts(node) == [["d0", 5, 0], ["d1", 5, 5]]
    node.process.send_signal(signal.SIGKILL)
    node.process.wait()
    node.start()
    assert counts(node) == [["d0", 5, 0], ["d1", 5, 5]]
    assert node.call("POST", "/write?precision=s", b"t,device=d2 v=77 1000003")[0] == 204
    assert counts(node)[2] == ["d2", 1, 77], "what is written later is there"
    folder = os.path.join(node.data, "audit")
    lines = "".join(open(os.path.join(folder, name), encoding="utf-8").read() for name in os.listdir(folder))
    assert lines.count("DELETE FROM t") == 4
    node.stop()


def test_the_newest_rows_deleted_the_next_ones_are_newest(tmp_path):
    node = Node(str(tmp_path)).start()
    lines = "\n".join(f"t,device=d v={i} {1_000_000 + i}" for i in range(3000))
    assert node.call("POST", "/write?precision=s", lines.encode())[0] == 204
    newest = "SELECT v FROM t WHERE device = 'd' ORDER BY time DESC LIMIT 2"
    for place in ("parts", "head"):
        if place == "parts":
            node.sql("VACUUM")
        assert node.sql(newest) == [[2999], [2998]]
        node.sql("DELETE FROM t WHERE v >= 2990")
        assert node.sql(newest) == [[2989], [2988]], place
        node.call("POST", "/write?precision=s", "\n".join(f"t,device=d v={i} {1_000_000 + i}" for i in range(2990, 3000)).encode())
    node.stop()
