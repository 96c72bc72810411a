"""Backup of a node under load and restore after kill -9: every row up to the backup's position, documents and logins, and
none of what came later."""
import json
import os
import signal
import socket
import subprocess
import threading

from conftest import BUILD, HOST, wait_for
from programs import Node

MILLRACE = os.path.join(BUILD, "millrace")


def cli(*words):
    result = subprocess.run([MILLRACE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    return result.returncode, result.stdout, result.stderr


class Load:
    """Writes rows one after the other until stopped; row i of device d has v = i."""

    def __init__(self, node):
        self.node, self.count, self.stopped = node, 0, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopped:
            base = self.count
            lines = "\n".join(f"t,device=d{d} v={base + i},s=\"x{base + i}\" {1_700_000_000 + (base + i) * 100}"
                              for i in range(20) for d in range(3))
            assert self.node.call("POST", "/write?precision=s", lines.encode())[0] == 204
            self.count += 20

    def stop(self):
        self.stopped = True
        self.thread.join()


def backup(node, target, *more):
    code, out, err = cli("backup", "--to", target, "--data", node.data, "--json", *more)
    assert code == 0, err
    return json.loads(out)


def test_a_node_restored_has_every_row_up_to_the_position(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    node = Node(str(first)).start()
    target = str(tmp_path / "backups")
    document = {"apiVersion": "millrace.io/v1", "kind": "Connection", "metadata": {"name": "c1"},
                "spec": {"driver": "modbus", "endpoint": "tcp://127.0.0.1:1", "enabled": False}}
    path = "/apis/millrace.io/v1/namespaces/default/connections"
    assert node.call("POST", path, json.dumps(document).encode(), headers={"Content-Type": "application/json"})[0] == 201
    load = Load(node)
    while load.count < 400:
        pass
    one = backup(node, target)
    while load.count < 2000:
        pass
    before = load.count
    two = backup(node, target, "--keep", "1", "--rate", "100M")
    after = load.count
    assert two["position"] > one["position"] and two["copied"] >= 1
    assert [name for name in os.listdir(target) if name.endswith(".index")] == [two["name"] + ".index"]
    while load.count < after + 200:
        pass
    load.stop()
    node.sql("DELETE FROM t WHERE device = 'd0'")  # not in the backup
    highest = node.sql("SELECT max(received) FROM t")[0][0]
    node.process.send_signal(signal.SIGKILL)
    node.process.wait()

    copy = Node(str(second))
    code, out, err = cli("restore", "--from", target, "--data", copy.data, "--json")
    assert code == 0, err
    assert json.loads(out)["position"] == two["position"]
    assert cli("restore", "--from", target, "--data", copy.data)[0] == 1, "the folder is not empty"
    copy.start()
    assert cli("restore", "--from", target, "--data", copy.data, "--force")[2].strip().endswith("stop it first")
    for device, count, least, most, total in copy.sql(
            "SELECT device, count(*), min(v), max(v), sum(v) FROM t GROUP BY device ORDER BY device"):
        assert device in ("d0", "d1", "d2") and least == 0
        assert count == most + 1 and total == most * (most + 1) / 2, "every row once, without a hole"
        assert before <= count <= after + 20
    assert len(copy.sql("SELECT DISTINCT device FROM t")) == 3
    assert copy.sql("SELECT count(*) FROM t WHERE s <> 'x' || cast(cast(v AS bigint) AS text)") == [[0]]
    assert copy.call("GET", path + "/c1")[0] == 200
    login = json.dumps({"user": "admin", "password": "bench-password"}).encode()
    assert copy.call("POST", "/v1/login", login, headers={"Content-Type": "application/json"})[0] == 200
    assert copy.sql("SHOW HEALTH") == []
    copy.call("POST", "/write?precision=s", b"t,device=later v=1 1600000000")
    assert copy.sql("SELECT received FROM t WHERE device = 'later'")[0][0] > highest, "no position is given twice"
    for name in ("access", "admin.token", "resources.db", "meta"):
        assert os.stat(os.path.join(copy.data, name)).st_mode & 0o777 == 0o600
    copy.stop()
    code, _, err = cli("restore", "--from", target, "--data", copy.data, "--force")
    assert code == 0 and "before-restore" in err
    copy.start()
    assert copy.sql("SELECT count(*) FROM t WHERE device = 'later'") == [[0]]
    copy.stop()


def test_only_who_may_change_the_node_may_back_it_up(tmp_path):
    node = Node(str(tmp_path)).start()
    code, out, err = cli("user", "add", "viv", "--role", "viewer", "--data", node.data, "--json")
    assert code == 0, err
    code, out, err = cli("token", "create", "vt", "--user", "viv", "--data", node.data, "--json")
    assert code == 0, err
    token = json.loads(out)["token"]
    body = json.dumps({"to": str(tmp_path / "b")}).encode()
    assert node.call("POST", "/v1/backup", body, headers={"Authorization": f"Bearer {token}"})[0] == 403
    assert node.call("GET", "/v1/backup", headers={"Authorization": f"Bearer {token}"})[0] == 403
    assert node.call("POST", "/v1/backup", b'{"to": "relative"}')[0] == 400
    assert not (tmp_path / "b").exists()
    code, _, err = cli("backup", "--to", "/proc/nowhere", "--data", node.data)
    assert code == 1 and "/proc/nowhere" in err
    node.stop()


def test_who_is_refused_changes_nothing_of_a_backup_under_way(tmp_path):
    node = Node(str(tmp_path)).start()
    node.call("POST", "/write", b"t,device=d v=1 1")
    target = str(tmp_path / "backups")
    backup(node, target)
    head = f"POST /v1/backup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {node.token}\r\n"
    for other in ({"to": target}, {"to": "relative"}):
        wires = [socket.create_connection((HOST, node.port), 20) for _ in range(2)]
        for wire, asked in zip(wires, ({"to": target, "keep": 1}, other)):
            body = json.dumps(asked)
            wire.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answers = [wire.recv(4096).split()[1] for wire in wires]
        assert answers[0] == b"202", answers
        wait_for(lambda: json.loads(node.call("GET", "/v1/backup")[1])["state"] == "done", 30, "the backup")
        assert len([name for name in os.listdir(target) if name.endswith(".index")]) == 1, answers
        for wire in wires:
            wire.close()
    node.stop()


def test_doctor_finds_what_is_wrong_and_repairs_it(tmp_path):
    node = Node(str(tmp_path)).start()
    lines = "\n".join(f"t,device=d{d} v={i} {1_700_000_000 + i}" for i in range(500) for d in range(3))
    assert node.call("POST", "/write?precision=s", lines.encode())[0] == 204
    node.sql("CHECKPOINT")
    code, _, err = cli("doctor", "--data", node.data)
    assert code == 1 and "a node runs on" in err
    node.stop()
    code, out, err = cli("doctor", "--data", node.data)
    assert code == 0, out + err
    assert {"meta", "manifest", "log", "resources.db", "audit"} <= {line.split()[0] for line in out.splitlines()}
    part = os.path.join(node.data, "parts", next(name for name in os.listdir(os.path.join(node.data, "parts"))))
    with open(part, "r+b") as file:
        file.seek(80)
        byte = file.read(1)
        file.seek(80)
        file.write(bytes([byte[0] ^ 4]))
    os.chmod(os.path.join(node.data, "admin.token"), 0o644)
    code, out, _ = cli("doctor", "--data", node.data, "--json")
    found = {row["object"]: row for row in map(json.loads, out.splitlines()) if row["state"] == "damaged"}
    assert code == 1 and set(found) == {"parts/" + os.path.basename(part), "admin.token"}
    node.start()
    assert len(node.sql("SELECT DISTINCT device FROM t")) == 2, "the node starts and answers the rest"
    assert any("part" in str(row) for row in node.sql("SHOW HEALTH"))
    node.stop()
    assert cli("doctor", "--data", node.data, "--repair")[0] == 1
    assert cli("doctor", "--data", node.data)[0] == 0
    assert os.path.basename(part) in os.listdir(os.path.join(node.data, "quarantine"))
    node.start()
    assert len(node.sql("SELECT DISTINCT device FROM t")) == 2
    assert node.sql("SHOW HEALTH") == []
    node.stop()
