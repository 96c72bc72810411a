"""Large statements are shared out among tasks (sql/parallel.h): the answers are those of one task alone. random() keeps a statement
to one task, so each is asked both ways; the metric says that there were helpers."""
import http.client
import json
import math
import os
import threading
import time

import pytest

from programs import HOST, Node

if (os.cpu_count() or 1) < 2:
    pytest.skip("one core: there are no helpers", allow_module_level=True)

DEVICES, ROWS, START = 50, 14_000, 1_700_000_000
ALONE = "random() < 2"

STATEMENTS = [
    "SELECT count(*), sum(i), avg(d), min(d), max(i), stddev(d), min(s), max(s), median(d) FROM t WHERE {}",
    "SELECT count(*) FROM t WHERE i % 7 = 3 AND {}",
    "SELECT site, count(*), sum(i), max(s) FROM t WHERE {} GROUP BY site ORDER BY 1",
    "SELECT i % 10, count(*), avg(d), percentile_cont(d, 0.25) FROM t WHERE {} GROUP BY 1 ORDER BY 1",
    "SELECT device, count(*), first(i), last(i), twa(d), count(DISTINCT i % 100), string_agg(s) FILTER (WHERE i < 40) "
    "FROM t WHERE {} GROUP BY device ORDER BY 1",
    "SELECT device, window_start, sum(i), avg(d), last(s) FROM t WHERE {} PARTITION BY device WINDOW TUMBLE(1h) ORDER BY 1, 2",
    "SELECT device, window_start, sum(i) FROM t WHERE {} PARTITION BY device WINDOW TUMBLE(10m) HAVING sum(i) % 2 = 0 ORDER BY 1, 2",
    "SELECT window_start, count(*), sum(i) FROM t WHERE {} WINDOW TUMBLE(30m) TIME ZONE 'Asia/Kolkata' ORDER BY 1",
    "SELECT approx_count_distinct(i), corr(i, d), spread(d), histogram(d, 0, 100, 5) FROM t WHERE {}",
    "SELECT DISTINCT round(avg(d)) FROM t WHERE {} GROUP BY device, i % 2 ORDER BY 1",
    "SELECT device, max(i) FROM t WHERE {} GROUP BY device ORDER BY 2 DESC, 1 LIMIT 3",
    "SELECT count(*) FROM t WHERE device LIKE '%7' AND {}",
    "SELECT count(*), sum(i) FROM t WHERE site = 'nowhere' AND {}",
]


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-11, abs_tol=1e-11)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def fill(node):
    connection = http.client.HTTPConnection(HOST, node.port, timeout=120)
    for first in range(0, ROWS, 400):
        lines = [f"t,device=d{d:02d},site=s{d % 3} i={k * (d + 1)}i,d={(k * 37 + d * 11) % 1000 / 10},s=\"{k % 97}\" {START + k * 10}"
                 for d in range(DEVICES) for k in range(first, first + 400)]
        assert node.call("POST", "/write?precision=s", "\n".join(lines).encode(), connection)[0] == 204


def helpers(node):
    return node.sql("SELECT value FROM sys.metrics WHERE name = 'millrace_statement_helpers_total'")[0][0]


@pytest.fixture(scope="module", name="node")
def node_fixture(tmp_path_factory):
    node = Node(str(tmp_path_factory.mktemp("parallel")), settings=["memory=256MiB"]).start()
    fill(node)
    yield node
    node.stop()
    assert "ERROR" not in node.last_words()


@pytest.mark.parametrize("statement", STATEMENTS)
def test_many_tasks_answer_as_one(node, statement):
    alone = node.sql(statement.format(ALONE))
    before = helpers(node)
    may_be_alone = "LIKE" in statement or "nowhere" in statement  # over before anybody can help
    limit, asked = time.monotonic() + 30, 0
    while asked < 5 or (not may_be_alone and helpers(node) <= before):  # a worker may get no core of a busy machine for a while
        assert time.monotonic() < limit, "nobody helped"
        assert same(node.sql(statement.format("true")), alone)
        asked += 1


@pytest.mark.parametrize("statement, says", [
    ("SELECT sum(1 / (i - 13986)) FROM t", b"division by zero"),
    ("SELECT device, sum(1 / (i - 13986)) FROM t GROUP BY device", b"division by zero"),
    ("SELECT max(CAST(s AS BIGINT) / (i - 699950)) FROM t WHERE i > 0", b"division by zero"),
])
def test_an_error_in_any_task_is_the_statements(node, statement, says):
    for _ in range(5):
        status, said = node.call("POST", "/v1/sql", statement)
        assert status == 400 and says in said, said


def test_a_long_answer_comes_in_pieces(node):
    text = "SELECT device, window_start, count(*), avg(d), string_agg(s) FROM t WHERE {} PARTITION BY device WINDOW TUMBLE(1m)"
    wanted = sorted(node.sql(text.format(ALONE)))
    assert sorted(node.sql(text.format("true"))) == wanted
    status, lines = node.call("POST", "/v1/sql", text.format("true"), headers={"Accept": "application/x-ndjson"})
    assert status == 200 and lines.count(b"\n") >= len(wanted)


def test_many_statements_at_once_wait_for_nobody(node):
    """More statements than workers: whoever finds no helper goes on alone."""
    wanted = {text: node.sql(text.format(ALONE)) for text in STATEMENTS}
    failed = []

    def ask(seed):
        connection = http.client.HTTPConnection(HOST, node.port, timeout=120)
        for n in range(4):
            text = STATEMENTS[(seed + n) % len(STATEMENTS)]
            status, answer = node.call("POST", "/v1/sql", text.format("true"), connection)
            if status != 200 or not same(json.loads(answer)["rows"], wanted[text]):
                failed.append((status, text, answer[:200]))
    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert not failed


def test_rows_and_columns_may_come_meanwhile(node):
    over = False

    def change():
        connection = http.client.HTTPConnection(HOST, node.port, timeout=60)
        for n in range(1000):
            if over:
                return
            node.call("POST", "/write?precision=s", f"t,device=new{n},site=s9 fresh{n % 40}={n} {START + n}".encode(), connection)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(15):
            count, devices = node.sql("SELECT count(i), count(*) FROM t WHERE site IN ('s0', 's1', 's2')")[0]
            assert count == devices == DEVICES * ROWS
    finally:
        over = True
        thread.join()


def test_clients_that_go_leave_nothing_behind(node):
    for n in range(20):
        connection = http.client.HTTPConnection(HOST, node.port, timeout=60)
        connection.request("POST", "/v1/sql", STATEMENTS[n % 6].format("true"), {"Authorization": f"Bearer {node.token}"})
        time.sleep(0.005 * (n % 5))
        connection.close()
    assert same(node.sql(STATEMENTS[0].format("i >= 0")), node.sql(STATEMENTS[0].format("i >= 0 AND " + ALONE)))


def test_a_node_stops_while_tasks_are_at_work(tmp_path):
    node = Node(str(tmp_path), settings=["memory=256MiB"]).start()
    fill(node)
    threads = [threading.Thread(target=lambda n=n: node.call("POST", "/v1/sql", STATEMENTS[n].format("true"), http.client.HTTPConnection(
        HOST, node.port, timeout=60))) for n in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    node.process.terminate()
    assert node.process.wait(60) == 0, node.last_words()
    for thread in threads:
        thread.join(60)


def test_little_memory_is_not_exceeded(tmp_path):
    node = Node(str(tmp_path), settings=["memory=32MiB"]).start()
    fill(node)
    text = "SELECT i, count(*) FROM t WHERE i < 60000 AND {} GROUP BY i ORDER BY 2 DESC, 1 LIMIT 5"
    for _ in range(3):
        status, said = node.call("POST", "/v1/sql", text.format("true"))
        assert status == 200 or b"memory" in said, said
    assert node.sql("SELECT count(*) FROM t") == [[DEVICES * ROWS]]
    node.stop()
