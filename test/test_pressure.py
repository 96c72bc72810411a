"""Little memory and many who write: rows under way wait, nothing is refused that can be stored, nobody waits for ever."""
import collections
import gzip
import http.client
import json
import re
import socket
import threading
import time

import psycopg2
import pytest

from conftest import HOST, free_port, wait_for

COLUMNS, ROWS, DEVICES = 10, 4000, 20
START_NS = 1_700_000_000_000_000_000


def metric(node, name):
    return int(re.search(rf"^{name} (\d+)$", node.request("GET", "/metrics")[1], re.M)[1])


def values(writer, body, row):
    return [(writer * 7 + body * 3 + row + column) % 1000 / 10 for column in range(COLUMNS)]


def lines(writer, body):
    return "\n".join(
        f"m,device=w{writer}d{row % DEVICES} " + ",".join(f"f{i}={v}" for i, v in enumerate(values(writer, body, row)))
        + f" {START_NS + body * ROWS + row}" for row in range(ROWS)).encode()


def csv(writer, body):
    head = "time,device," + ",".join(f"f{i}" for i in range(COLUMNS))
    return "\n".join([head] + [f"{START_NS + body * ROWS + row},w{writer}d{row % DEVICES},"
                               + ",".join(map(str, values(writer, body, row))) for row in range(ROWS)]).encode()


def at_once(works):
    """Runs all of them side by side; what they give."""
    found = [None] * len(works)

    def run(number):
        found[number] = works[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive(), "a request hangs"
    return found


def post(node, path, body, headers=None):
    connection = http.client.HTTPConnection(HOST, node.port, timeout=200)
    connection.request("POST", path, body, {"Authorization": f"Bearer {node.token()}", **(headers or {})})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def check_all_there(node, writers, bodies):
    for writer in range(writers):  # one by one: a statement has little memory, too
        rows = node.sql(f"SELECT count(*), count(f0), count(f9), sum(f3) FROM m WHERE device LIKE 'w{writer}d%'")[0]
        assert rows[:3] == [bodies * ROWS] * 3
        assert rows[3] == pytest.approx(sum(values(writer, body, row)[3] for body in range(bodies) for row in range(ROWS)))


def check_nobody_waits(node):
    wait_for(lambda: metric(node, "millrace_memory_waiting") == 0, 10, "no request that waits")


def test_many_writers_wait_and_none_is_refused(node_factory):
    port, writers, bodies = free_port(), 40, 3
    node = node_factory(settings=["memory=24MiB", f"listen.postgres={HOST}:{port}"])
    assert node.request("POST", "/write", lines(0, 0))[0] == 204  # makes the table

    def write(writer):
        def run():
            answers = []
            for body in range(bodies):
                if writer % 4 == 3:
                    answers.append(post(node, "/v1/import?table=m&time_format=ns", csv(writer, body)))
                elif writer % 4 == 2:
                    answers.append(post(node, "/write", gzip.compress(lines(writer, body)), {"Content-Encoding": "gzip"}))
                elif writer % 4 == 1:  # without a length
                    text = lines(writer, body)
                    pieces = iter([text[at:at + 50000] for at in range(0, len(text), 50000)])
                    answers.append(post(node, "/write", pieces))
                else:
                    answers.append(post(node, "/write", lines(writer, body)))
            return answers
        return run

    def insert():
        with psycopg2.connect(host=HOST, port=port, user="token", password=node.token(), dbname="default") as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            for at in range(30):
                cursor.execute("INSERT INTO other_rows (time, device, a) VALUES "
                               + ",".join(f"('2024-01-01T00:00:{at:02}.{i:03}Z', 'x', {i})" for i in range(300)))
        return [(200, "")]

    node.sql("CREATE TABLE other_rows (a bigint)")
    found = at_once([write(writer) for writer in range(writers)] + [insert])
    answers = collections.Counter((status, text[:300] if status >= 300 else "") for answer in found for status, text in answer)
    assert all(status in (200, 204) for status, _ in answers), answers
    check_all_there(node, writers, bodies)
    assert node.sql("SELECT count(*) FROM other_rows") == [[9000]]
    check_nobody_waits(node)
    assert metric(node, "millrace_memory_waits_total") > 0, "nobody had to wait: the test means nothing"
    assert metric(node, "millrace_memory_refused_total") == 0
    assert metric(node, "millrace_rows_refused_total") == 0


def test_four_imports_and_four_copies_at_once(node_factory):
    port = free_port()
    node = node_factory(settings=["memory=32MiB", f"listen.postgres={HOST}:{port}"])
    names = ", ".join(f"f{i}" for i in range(COLUMNS))
    node.sql("CREATE TABLE m (" + ", ".join(f"f{i} double" for i in range(COLUMNS)) + ")")
    bodies = 6

    def load(writer):
        head, rest = csv(writer, 0).split(b"\n", 1)
        text = head + b"\n" + b"\n".join([rest] + [csv(writer, body).split(b"\n", 1)[1] for body in range(1, bodies)])
        return post(node, "/v1/import?table=m&time_format=ns", text)

    class Reader:
        def __init__(self, text):
            self.text, self.at = text, 0

        def read(self, size):
            piece = self.text[self.at:self.at + size]
            self.at += len(piece)
            return piece

    def copy(writer):
        with psycopg2.connect(host=HOST, port=port, user="token", password=node.token(), dbname="default") as connection:
            connection.autocommit = True
            rows = "".join(
                f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(1_700_000_000))}.{body * ROWS + row:09}Z,w{writer}d{row % DEVICES},"
                + ",".join(map(str, values(writer, body, row))) + "\n" for body in range(bodies) for row in range(ROWS))
            connection.cursor().copy_expert(f"COPY m (time, device, {names}) FROM STDIN WITH (FORMAT csv)", Reader(rows))
        return 200, ""

    found = at_once([lambda w=w: load(w) for w in range(4)] + [lambda w=w: copy(w) for w in range(4, 8)])
    assert [status for status, _ in found] == [200] * 8, found
    check_all_there(node, 8, bodies)
    check_nobody_waits(node)


def notes(first, count, size):
    return "time,device,note\n" + "\n".join(f"{START_NS + first + i},d,{'n' * size}" for i in range(count))


def slow_reader(node, port):
    """An open cursor: what it looks at stays in memory, also when that is in parts by now."""
    connection = psycopg2.connect(host=HOST, port=port, user="token", password=node.token(), dbname="default")
    cursor = connection.cursor("slow")
    cursor.itersize = 1
    cursor.execute("SELECT time FROM m")
    assert cursor.fetchone()
    return connection


def test_rows_wait_for_slow_readers_and_an_import_for_its_own_rows(node_factory):
    """The head has no room while readers hold old rows; so batches of an import stay on their way, which may take 1.9 MiB in
    all, and the import has to wait for them before it makes more."""
    port = free_port()
    node = node_factory(settings=["memory=16MiB", f"listen.postgres={HOST}:{port}"])
    path, readers, rows = "/v1/import?table=m&time_format=ns&types=note:text", [], 0
    importer = answer = None
    while importer is None:
        assert rows < 40_000, "the head never gets full"
        assert node.request("POST", path, notes(rows, 500, 2000))[0] == 200
        rows += 500
        readers.append(slow_reader(node, port))
        time.sleep(0.1)  # for a flush, which moves what no reader holds
        if metric(node, "millrace_head_bytes") > 5_800_000:
            answer = []
            importer = threading.Thread(target=lambda: answer.append(post(node, path, notes(rows, 1800, 2000))))
    importer.start()
    wait_for(lambda: metric(node, "millrace_head_waits_total") > 0, 10, "rows that wait for room in the head")
    time.sleep(1)
    assert importer.is_alive()
    assert metric(node, "millrace_memory_waits_total") == 0, "it stands in line with others"
    for reader in readers:
        reader.close()
    importer.join(30)
    assert answer == [(200, '{"rows":1800,"refused":0,"errors":[]}')]
    assert node.sql("SELECT count(*), min(length(note)) FROM m") == [[rows + 1800, 2000]]
    assert metric(node, "millrace_rows_refused_total") == 0


def test_rows_that_are_large_one_by_one_go_through_piece_by_piece(node_factory):
    """6 MB in rows of 100 KB, where 1.9 MiB may be on their way."""
    node = node_factory(settings=["memory=16MiB"])
    rows = [f"{START_NS + row},d,{chr(97 + row % 26) * 100_000}" for row in range(38)]
    status, text = node.request("POST", "/v1/import?table=m&time_format=ns&types=note:text", "time,device,note\n" + "\n".join(rows))
    assert (status, text) == (200, '{"rows":38,"refused":0,"errors":[]}')
    status, text = node.request("POST", "/v1/rows?table=m", json.dumps(
        [{"time": f"2024-01-01T00:00:{row:02}Z", "device": "d", "note": "z" * 100_000} for row in range(38)]))
    assert (status, json.loads(text)) == (200, {"rows": 38})
    assert node.sql("SELECT count(*) FROM m WHERE length(note) = 100000") == [[76]]


def test_what_never_fits_is_refused_at_once_with_the_limit_and_the_way_out(node_factory):
    node = node_factory(settings=["memory=16MiB"])
    begun = time.monotonic()
    status, text = node.request("POST", "/write", b"m,device=d v=1 1\n" * 300_000)
    assert status == 413
    assert "larger than the 4095 KiB that there are for bodies" in text and "raise memory: (it is 16384 KiB)" in text
    status, text = node.request("POST", "/v1/rows?table=m", json.dumps([{"device": "d", "note": "z" * 2_500_000}]))
    assert status == 413
    assert "one row needs more than the 1966 KiB" in text and "raise memory: (it is 16384 KiB)" in text
    assert time.monotonic() - begun < 15
    assert metric(node, "millrace_memory_refused_total") == 2
    assert node.request("POST", "/write", "m,device=d v=1 1")[0] == 204


def begin_bodies(node, number, size, sent):
    """Clients that announce a body and send only some of it."""
    clients = []
    for _ in range(number):
        client = socket.create_connection((HOST, node.port))
        client.sendall(f"POST /write HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {node.token()}\r\nContent-Length: {size}\r\n\r\n"
                       .encode() + b"#" * sent)
        clients.append(client)
    return clients


def test_clients_that_are_killed_free_their_places(node_factory):
    node = node_factory(settings=["memory=16MiB"])
    clients = begin_bodies(node, 30, 3_000_000, 100)
    wait_for(lambda: metric(node, "millrace_memory_waiting") == 29, 10, "29 of 30 wait for memory for their bodies")
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # as a killed one whose data is unread
        client.close()
    check_nobody_waits(node)
    assert node.request("POST", "/write", lines(0, 0))[0] == 204
    assert metric(node, "millrace_memory_refused_total") == 0


def test_a_node_that_stops_lets_go_of_those_that_wait(node_factory):
    node = node_factory(settings=["memory=16MiB"])
    clients = begin_bodies(node, 30, 3_000_000, 100)
    wait_for(lambda: metric(node, "millrace_memory_waiting") == 29, 10, "29 of 30 wait for memory for their bodies")
    begun = time.monotonic()
    assert node.stop() in (0, None)
    assert time.monotonic() - begun < 10
    for client in clients:
        client.settimeout(5)
        try:
            assert client.recv(1000) == b""
        except ConnectionResetError:
            pass
        client.close()
    node.start()
    assert node.request("POST", "/write", lines(0, 0))[0] == 204
