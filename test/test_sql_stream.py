"""Long answers of POST /v1/sql: in parts, at the pace of whoever reads."""
import csv
import http.client
import io
import json
import socket
import time

import pytest

ROWS = 120_000


@pytest.fixture
def node(node_factory):
    made = node_factory(settings=["memory=80MiB"])
    for base in range(0, ROWS, 20_000):
        text = "\n".join(f"m,device=d{i % 7} v={i}i,s=\"text number {i}\" {i}" for i in range(base, base + 20_000))
        assert made.request("POST", "/write?precision=ms", text) == (204, "")
    return made


def resident_kib(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def begin(node, statement, accept="application/x-ndjson"):
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    connection.request("POST", "/v1/sql", statement, {"Authorization": "Bearer " + node.token(), "Accept": accept})
    return connection, connection.getresponse()


def test_every_row_comes_once_in_every_format(node):
    _, answer = begin(node, "SELECT device, v, s FROM m")
    rows = [json.loads(line) for line in answer.read().splitlines()]
    assert answer.getheader("Transfer-Encoding") == "chunked"
    assert sorted(row["v"] for row in rows) == list(range(ROWS)) and rows[5]["s"] == f"text number {rows[5]['v']}"
    _, answer = begin(node, "SELECT v, s FROM m ORDER BY v DESC", "text/csv")
    table = list(csv.reader(io.StringIO(answer.read().decode(), newline="")))
    assert table[0] == ["v", "s"] and [int(row[0]) for row in table[1:]] == list(range(ROWS - 1, -1, -1))
    _, answer = begin(node, "SELECT v, count(*) AS n FROM m WHERE v < 30000 GROUP BY v", "application/json")
    whole = json.loads(answer.read())
    assert sorted(whole["rows"]) == [[v, 1] for v in range(30000)] and whole["stats"]["rows"] == 30000
    _, answer = begin(node, "SELECT window_start, device, max(v) AS v FROM m PARTITION BY device WINDOW TUMBLE(1ms)")
    assert sorted(json.loads(line)["v"] for line in answer.read().splitlines()) == list(range(ROWS))


def test_a_slow_reader_costs_no_memory_and_no_worker(node):
    connection, answer = begin(node, "SELECT s, device, v, s AS again FROM m")
    first = answer.read(1000)
    before = resident_kib(node)
    begun = time.monotonic()
    assert node.sql("SELECT count(*) FROM m") == [[ROWS]] and time.monotonic() - begun < 5
    time.sleep(1)
    assert resident_kib(node) - before < 20_000
    assert len((first + answer.read()).splitlines()) == ROWS
    connection.close()


def test_a_reader_that_goes_away_is_forgotten(node):
    for _ in range(5):
        connection, answer = begin(node, "SELECT * FROM m ORDER BY v")
        answer.read(100)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    assert node.sql("SELECT count(*) FROM m") == [[ROWS]]


def test_an_error_behind_the_first_part_cuts_the_answer(node):
    connection, answer = begin(node, f"SELECT v, 1 % (v - {ROWS - 5}) AS w FROM m ORDER BY 1")
    assert answer.status == 400, "a sort evaluates everything before its first part"
    connection.close()
    _, answer = begin(node, f"SELECT v, s, 1 % (v - {ROWS - 5}) AS w FROM m")
    with pytest.raises(http.client.IncompleteRead):
        assert answer.status == 200
        answer.read()


def test_csv_tells_a_text_from_a_value_that_is_missing(node_factory):
    node = node_factory()
    assert node.request("POST", "/v1/rows?table=t&device=d", '[{"time":1,"s":""},{"time":2,"s":"NaN"},{"time":3,"s":"a,\\"b\\""},'
                        '{"time":4,"s":null},{"time":5,"s":"plain"}]')[0] == 200
    status, text = node.request("POST", "/v1/sql", "SELECT s FROM t ORDER BY time", headers={"Accept": "text/csv"})
    assert (status, text) == (200, 's\r\n""\r\n"NaN"\r\n"a,""b"""\r\n\r\nplain\r\n')
