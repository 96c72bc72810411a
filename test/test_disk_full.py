"""A file system that is full, for real: a small tmpfs. Every way in says why it refuses, statements and logins go on, a restart
starts, and when there is room again everything works with nobody doing anything."""
import json
import os
import socket
import subprocess

import psycopg2
import pytest

from conftest import HOST, Node, free_port, wait_for

WRITERS = """apiVersion: millrace.io/v1
kind: Role
metadata: {name: line-writer}
spec:
  rules: [{verbs: [ingest], kinds: [Table], namespaces: [default]}]
---
apiVersion: millrace.io/v1
kind: User
metadata: {name: anonymous}
spec: {roles: [line-writer]}
"""
CONNECTIONS = "/apis/millrace.io/v1/namespaces/default/connections"
ROOM_MIB = 40


@pytest.fixture(name="small_disk")
def small_disk_fixture(tmp_path):
    """A folder with little room, as a file system of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM_MIB}m", "none", str(folder)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no privilege to mount a file system: {done.stdout.strip()}")
    yield str(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


class Full:
    """Takes all the room there is, and gives it back."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "filler")

    def take(self):
        with open(self.path, "ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass

    def give(self):
        os.remove(self.path)


def lines(first, count):
    return "".join(f"m,device=d{i % 5} v={i}i {1_700_000_000 + i}\n" for i in range(first, first + count))


class Ways:
    """All ways in, each giving None or what it said."""

    def __init__(self, node, postgres):
        self.node, self.postgres, self.next = node, postgres, 1_000_000

    def times(self):
        self.next += 1000
        return self.next

    def at(self):
        seconds = self.times()
        return f"'1970-01-{1 + seconds // 86400:02}T{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z'"

    def line(self):
        status, text = self.node.request("POST", "/write?precision=s", lines(self.times(), 500))
        return None if status == 204 else f"{status} {text}"

    def rows(self):
        status, text = self.node.request("POST", "/v1/rows?table=m", json.dumps({"time": self.times() * 1000, "device": "d1", "v": 1}))
        return None if status < 300 else f"{status} {text}"

    def insert_http(self):
        status, text = self.node.request("POST", "/v1/sql", f"INSERT INTO m (time, device, v) VALUES ({self.at()}, 'd1', 1)")
        return None if status == 200 else f"{status} {text}"

    def delete(self):
        status, text = self.node.request("POST", "/v1/sql", "DELETE FROM m WHERE device = 'd4' AND v = 4")
        return None if status == 200 else f"{status} {text}"

    def ddl(self):
        status, text = self.node.request("POST", "/v1/sql", f"CREATE TABLE t{self.times()} (a double)")
        return None if status == 200 else f"{status} {text}"

    def with_postgres(self, act):
        try:
            connection = psycopg2.connect(host=HOST, port=self.postgres, user="admin", password=Node.PASSWORD, dbname="default",
                                          connect_timeout=20)
            connection.autocommit = True
            with connection.cursor() as cursor:
                act(cursor)
            connection.close()
        except psycopg2.Error as error:
            return str(error)
        return None

    def insert_postgres(self):
        return self.with_postgres(lambda c: c.execute(f"INSERT INTO m (time, device, v) VALUES ({self.at()}, 'd1', 1)"))

    def copy(self):
        import io
        text = "".join(f"d2,2026-01-01 00:{i // 60:02}:{i % 60:02},{i}\n" for i in range(300))
        return self.with_postgres(lambda c: c.copy_expert("COPY m (device, time, v) FROM STDIN CSV", io.StringIO(text)))

    def apply(self):
        document = {"apiVersion": "millrace.io/v1", "kind": "Connection", "metadata": {"name": f"c{self.times()}"},
                    "spec": {"driver": "modbus", "endpoint": "tcp://127.0.0.1:1", "enabled": False}}
        status, text = self.node.request("POST", CONNECTIONS, json.dumps(document), headers={"Content-Type": "application/json"})
        return None if status == 201 else f"{status} {text}"

    def checkpoint(self):
        status, text = self.node.request("POST", "/v1/sql", "CHECKPOINT")
        return None if status == 200 else f"{status} {text}"

    ALL = ("line", "rows", "insert_http", "delete", "ddl", "insert_postgres", "copy", "apply")

    def said(self):
        return {name: getattr(self, name)() for name in self.ALL}


@pytest.fixture(name="plant")
def plant_fixture(node_factory, small_disk, tmp_path):
    postgres, line = free_port(), free_port()
    (tmp_path / "writers.yaml").write_text(WRITERS)
    node = node_factory(manifests=[str(tmp_path / "writers.yaml")], start=False,
                        settings=[f"listen.postgres={HOST}:{postgres}", f"listen.line={HOST}:{line}", "memory=64MiB"])
    node.line = line
    node.command[node.command.index("--data") + 1] = node.data = os.path.join(small_disk, "data")
    node.start()
    return node, Ways(node, postgres), Full(small_disk)


def fill_up(ways, full):
    """Until the log takes no more: recycled segments hold room that the file system does not count."""
    full.take()
    for _ in range(400):
        full.take()
        status, _ = ways.node.request("POST", "/write?precision=s", lines(ways.times() * 100, 5000))
        if status != 204:
            return
    pytest.fail("the disk does not get full")


def test_a_full_disk_refuses_with_the_reason_reads_on_and_recovers_by_itself(plant, tmp_path):
    node, ways, full = plant
    assert ways.said() == {name: None for name in Ways.ALL}
    counted = node.sql("SELECT device, count(*) FROM m GROUP BY device ORDER BY device")
    fill_up(ways, full)
    counted = node.sql("SELECT device, count(*) FROM m GROUP BY device ORDER BY device")
    for name, text in ways.said().items():
        assert text and "space" in text, f"{name}: {text}"
    assert "space" in (ways.checkpoint() or ""), "CHECKPOINT says why"
    code, text = node.cli("backup", "--to", os.path.join(os.path.dirname(node.data), "backup"), "--data", node.data)
    assert code != 0 and "space" in text, text
    assert node.sql("SELECT device, count(*) FROM m GROUP BY device ORDER BY device") == counted, "reading goes on"
    assert node.request("GET", "/readyz")[0] == 200
    assert node.request("POST", "/v1/sql", "SELECT 1", token=f"admin:{Node.PASSWORD}")[0] == 200, "people get in"
    full.give()
    for name in Ways.ALL:
        wait_for(lambda name=name: getattr(ways, name)() is None, 30, f"{name} works again")
    wait_for(lambda: ways.checkpoint() is None, 30, "CHECKPOINT works again")
    code, text = node.cli("backup", "--to", str(tmp_path / "backup"), "--data", node.data)
    assert code == 0, text
    counted = node.sql("SELECT device, count(*) FROM m GROUP BY device ORDER BY device")
    node.kill9()
    node.start()
    assert node.sql("SELECT device, count(*) FROM m GROUP BY device ORDER BY device") == counted


def test_a_node_starts_on_a_full_disk_and_takes_rows_when_there_is_room(plant):
    node, ways, full = plant
    assert ways.line() is None
    fill_up(ways, full)
    counted = node.sql("SELECT count(*) FROM m")
    node.kill9()
    full.take()
    node.start()
    assert node.sql("SELECT count(*) FROM m") == counted
    fill_up(ways, full)  # a start gives back what it no longer needs
    counted = node.sql("SELECT count(*) FROM m")
    assert "space" in (ways.line() or "")
    assert node.sql("SELECT count(*) FROM m") == counted
    full.give()
    wait_for(lambda: ways.line() is None, 30, "rows are taken again")
    wait_for(lambda: ways.apply() is None, 30, "documents are taken again")


def metric(node, name):
    return next(int(line.split()[1]) for line in node.request("GET", "/metrics")[1].splitlines() if line.startswith(name + " "))


def stamped(first, count):
    return "".join(f"tcp,device=d v={i}i {1_700_000_000_000_000_000 + i}\n" for i in range(first, first + count)).encode()


def test_lines_over_tcp_wait_for_room_and_none_is_lost(plant):
    node, ways, full = plant
    assert ways.line() is None
    with socket.create_connection((HOST, node.line)) as client, socket.create_connection((HOST, node.line)) as gone:
        client.sendall(stamped(0, 1000))
        wait_for(lambda: '"rows":[[1000]]' in node.request("POST", "/v1/sql", "SELECT count(*) FROM tcp")[1], 20, "the first rows")
        fill_up(ways, full)
        gone.sendall(b"tcp,device=e v=1i\n")
        gone.close()  # what it sent is still stored
        client.settimeout(1)
        sent, slowed = 1000, False
        while not slowed:
            text = memoryview(stamped(sent, 1000))
            while text and not slowed:
                try:
                    text = text[client.send(text):]
                except socket.timeout:
                    slowed = True
            assert sent < 3_000_000, "the node reads on though it can store nothing"
            if not slowed:
                sent += 1000
        wait_for(lambda: metric(node, "millrace_line_retries_total") > 2, 20, "it is tried again")
        assert metric(node, "millrace_line_connections") == 2
        full.give()
        client.settimeout(60)
        client.sendall(text)
        sent += 1000
        wait_for(lambda: node.sql("SELECT count(*) FROM tcp WHERE device = 'd'") == [[sent]], 60, "all rows")
        assert node.sql("SELECT count(*) FROM tcp WHERE device = 'e'") == [[1]], "once, whatever number of tries it took"
    wait_for(lambda: metric(node, "millrace_line_connections") == 0, 10, "both connections are over")
    assert "its lines wait" in node.log()


def test_polled_rows_that_find_no_room_are_counted_and_told_now_and_then(plant, plantsim, tmp_path):
    from conftest import plant_manifests
    node, ways, full = plant
    node.command += plant_manifests(plantsim, tmp_path)
    node.restart()
    wait_for(lambda: node.sql("SELECT count(*) FROM press")[0][0] > 10, 20, "nothing is polled")
    fill_up(ways, full)
    said, refused = node.log().count("polled rows"), node.metric("millrace_rows_refused_total")
    wait_for(lambda: node.metric("millrace_rows_refused_total") > refused + 20, 20, "what is lost is not counted")
    assert 1 <= node.log().count("polled rows") <= said + 3, "they are told now and then"
    full.give()
