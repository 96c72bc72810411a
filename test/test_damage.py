"""One flipped bit in any file of a data folder: the node starts and says so, or refuses with a text that names the file and a way
out. What it then answers is true: no row with another value, no row that was never there, nobody with more rights than before.
Places are drawn from a seed, which is printed; MILLRACE_TEST_SEED replays it, MILLRACE_DAMAGE_FLIPS sets how many there are."""
import json
import os
import random
import shutil
import subprocess
import time

import pytest

from conftest import HOST, START_LIMIT_S, free_port, wait_for
from mqtt_bulk import Bulk

SECONDS = 30
FLIPS = int(os.environ.get("MILLRACE_DAMAGE_FLIPS", "0"))  # 0: as many as fit into SECONDS
ROLE = {"apiVersion": "millrace.io/v1", "kind": "Role", "metadata": {"name": "line-writer"},
        "spec": {"rules": [{"verbs": ["get", "list"], "kinds": ["Table", "Device"], "namespaces": ["default"]}]}}
CONNECTION = {"apiVersion": "millrace.io/v1", "kind": "Connection", "metadata": {"name": "c1"},
              "spec": {"driver": "modbus", "endpoint": "tcp://127.0.0.1:1", "enabled": False}}
CONNECTIONS = "/apis/millrace.io/v1/namespaces/default/connections"
# kind of file -> how its path begins
KINDS = {"log": "log/", "parts": "parts/", "manifest": "manifest", "catalogue": "catalog.", "meta": "meta", "documents": "resources.db",
         "users and tokens": "access", "admin's token": "admin.token", "address": "server.txt", "audit": "audit/",
         "certificate": "tls-", "broker's state": "mqtt/state", "queues": "mqtt/queues/", "cursors": "sinks/"}
MAY_REFUSE = {"documents", "users and tokens"}


class Folder:
    """A data folder with something in every kind of file, and what is right about it."""

    def __init__(self, node_factory, tmp_path):
        self.mqtt = (HOST, free_port())
        self.node = node = node_factory(settings=["listen.https=127.0.0.1:0", f"listen.mqtt={HOST}:{self.mqtt[1]}", "mqtt.queue.memory=16KiB"])
        self.wholes = [str(tmp_path / name) for name in ("at-once", "later")]
        self.whole = self.wholes[0]
        node.sql("CREATE TABLE t (v bigint, s text)")
        for day in range(3):
            self.rows(f"2026-01-0{day + 1}", 300)
            node.sql("CHECKPOINT")
        node.sql("DELETE FROM t WHERE device = 'd1' AND v < 100")
        node.sql("CHECKPOINT")
        self.rows("2026-01-09", 20)
        self.post("/apis/millrace.io/v1/roles", ROLE)
        for number in range(3):
            self.post(CONNECTIONS, {**CONNECTION, "metadata": {"name": f"c{number}"}})
        assert node.request("DELETE", CONNECTIONS + "/c2")[0] == 200
        self.tokens = {}
        for user, role in (("viv", "viewer"), ("wil", "line-writer")):
            for words in (("user", "add", user, "--role", role), ("token", "create", user + "-token", "--user", user)):
                code, out = node.cli(*words, "--json")
                assert code == 0, out
            self.tokens[user] = json.loads(out)["token"]
        self.gone = json.loads(node.cli("token", "create", "gone", "--user", "admin", "--json")[1])["token"]
        code, out = node.cli("delete", "token", "gone")
        assert code == 0, out
        self.post(CONNECTIONS, {**CONNECTION, "metadata": {"name": "c3"}})  # so that the log does not end with that
        self.fill_broker()
        self.right = self.table()
        self.connections, self.queues = self.names(), self.queued()
        node.kill9()
        shutil.copytree(node.data, self.wholes[0])
        node.start()  # which moves the documents from SQLite's log into the database
        node.kill9()
        shutil.copytree(node.data, self.wholes[1])

    def fill_broker(self):
        """A queue that is longer than memory, so that there is a file of it, and a sink with its cursor."""
        away = Bulk(self.mqtt, "away", "admin", self.node.PASSWORD)
        away.subscribe("q/#")
        away.close()
        Bulk(self.mqtt, "fast", "admin", self.node.PASSWORD).publish("q/a", [b"x" * 200] * 1000)
        self.post("/apis/millrace.io/v1/namespaces/default/sinks", {"apiVersion": "millrace.io/v1", "kind": "Sink", "metadata": {"name": "out"},
                                                                    "spec": {"table": "t"}})
        self.rows("2026-01-10", 20)
        self.node.sql("CHECKPOINT")  # has the broker's state written
        wait_for(lambda: self.on_disk("mqtt/state") and self.on_disk("mqtt/queues") and self.on_disk("sinks"), 30, "nothing is kept")

    def on_disk(self, name):
        path = os.path.join(self.node.data, *name.split("/"))
        return os.listdir(path) if os.path.isdir(path) else os.path.exists(path)

    def queued(self):
        """How many messages wait for whom, or None when nobody says."""
        status, text = self.node.request("POST", "/v1/sql", "SELECT client, queued FROM sys.mqtt_clients WHERE client = 'away'",
                                         token=f"admin:{self.node.PASSWORD}")
        return json.loads(text)["rows"] if status == 200 else None

    def rows(self, day, count):
        lines = "\n".join(f't,device=d{d} v={i}i,s="text {i}" {int(time.mktime(time.strptime(day, "%Y-%m-%d"))) + i}' for i in range(count) for d in range(3))
        assert self.node.request("POST", "/write?precision=s", lines)[0] == 204

    def post(self, path, document):
        status, text = self.node.request("POST", path, json.dumps(document), headers={"Content-Type": "application/json"})
        assert status == 201, text

    def names(self):
        status, text = self.node.request("GET", CONNECTIONS)
        return {json.dumps(item["spec"], sort_keys=True) + item["metadata"]["name"] for item in json.loads(text)["items"]} if status == 200 else set()

    def table(self):
        """All rows, or None when the table is not there."""
        status, text = self.node.request("POST", "/v1/sql", "SELECT device, time, v, s FROM t")
        return {tuple(row) for row in json.loads(text)["rows"]} if status == 200 else None

    def files(self, kind):
        found = [os.path.relpath(os.path.join(folder, name), self.whole) for folder, _, names in os.walk(self.whole) for name in names]
        return sorted(name for name in found if name.startswith(KINDS[kind]) and os.path.getsize(os.path.join(self.whole, name)))

    def put_back(self, chance):
        self.whole = chance.choice(self.wholes)
        shutil.rmtree(self.node.data)
        shutil.copytree(self.whole, self.node.data)


def flip(path, chance):
    at, bit = chance.randrange(os.path.getsize(path)), chance.randrange(8)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
    return f"byte {at} bit {bit}"


def try_start(node, kind):
    """None when it runs, else what it said. A password at hand makes a lost admin anew, and damaged users altogether."""
    node.env["MILLRACE_ADMIN_PASSWORD"] = node.PASSWORD
    if kind == "users and tokens":
        del node.env["MILLRACE_ADMIN_PASSWORD"]
    if os.path.exists(node.log_path):
        os.remove(node.log_path)
    node.spawn()
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        if node.process.poll() is not None:
            assert node.process.returncode > 0, node.log()  # no crash
            return node.log()
        if node.request("GET", "/readyz", token=None)[0] == 200:
            return None
        time.sleep(0.01)
    pytest.fail("it neither starts nor ends")


def doctor(node):
    done = subprocess.run([node.millrace, "doctor", "--data", node.data, "--json"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode in (0, 1) and (rows or done.returncode), done.stdout
    return [row for row in rows if row["state"] not in ("ok", "note")]


def can(node, token, method, path, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return node.request(method, path, body, token=None, headers=headers)[0] in (200, 201, 204)


def rights_grew(folder):
    """What somebody may now who might not before, or None."""
    node = folder.node
    for name, token in folder.tokens.items():
        if can(node, token, "POST", "/write", "t,device=evil v=1i 1"):
            return f"{name} writes rows"
        if can(node, token, "POST", CONNECTIONS, json.dumps({**CONNECTION, "metadata": {"name": "evil"}})):
            return f"{name} makes connections"
    if can(node, folder.tokens["wil"], "GET", CONNECTIONS):
        return "wil reads connections"
    if can(node, folder.gone, "GET", CONNECTIONS):
        return "a token that was deleted works again"
    return "a wrong password lets in" if node.request("POST", "/v1/sql", "SELECT 1", token="admin:wrong")[0] == 200 else None


def check_one(folder, kind, name, place):
    node, found = folder.node, doctor(folder.node)
    said = try_start(node, kind)
    where = f"{name} {place}"
    if said is not None:
        assert kind in MAY_REFUSE, f"{where}: {said}"
        assert os.path.basename(name).split("-")[0] in said and ("backup" in said or "good copy" in said), f"{where}: {said}"
        return "refused"
    assert rights_grew(folder) is None, f"{where}: {rights_grew(folder)}"
    status, text = node.request("POST", "/v1/sql", "SHOW HEALTH", token=f"admin:{node.PASSWORD}")
    assert status == 200, f"{where}: {text}"
    told = json.loads(text)["rows"]
    rows, connections, queues = folder.table(), folder.names(), folder.queued()
    node.kill9()
    assert queues == folder.queues or told or found or kind == "log", f"{where}: {queues}, and nothing says so"
    wrong = (rows or set()) - folder.right
    assert not wrong or told, f"{where}: {sorted(wrong)[:3]}, and nothing says so"
    assert all(row[3] == f"text {row[2]}" for row in wrong), f"{where}: {wrong}"  # deleted ones may be back, with what they held
    # The end of a log cannot be told from what was never acknowledged.
    is_end = kind == "log" or name.endswith("-wal")
    assert rows == folder.right or told or found or is_end, f"{where}: {len(rows or ())} of {len(folder.right)} rows, and nothing says so"
    assert connections == folder.connections or told or is_end, f"{where}: {connections ^ folder.connections}, and nothing says so"
    return "told" if told or found else "meant nothing"


def test_one_flipped_bit_of_any_file_is_told_and_nothing_is_made_up(node_factory, tmp_path):
    seed = int(os.environ.get("MILLRACE_TEST_SEED", "1"))
    print("MILLRACE_TEST_SEED", seed)
    chance, folder, counts = random.Random(seed), Folder(node_factory, tmp_path), {}
    assert all(folder.files(kind) for kind in KINDS)
    chance.shuffle(kinds := list(KINDS))
    begun = time.monotonic()
    for number in range(FLIPS or 1_000_000):
        if not FLIPS and time.monotonic() > begun + SECONDS:
            break
        kind = kinds[number % len(kinds)]
        folder.put_back(chance)
        name = chance.choice(folder.files(kind))
        place = flip(os.path.join(folder.node.data, name), chance)
        result = check_one(folder, kind, name, place)
        counts[kind, result] = counts.get((kind, result), 0) + 1
    for (kind, result), count in sorted(counts.items()):
        print(f"{kind}: {count} {result}")


def test_a_lost_admin_comes_back_with_the_password_of_who_starts_the_node(node_factory):
    node = node_factory()
    node.stop()
    node.start()  # which moves the documents from SQLite's log into the database
    node.stop()
    path = os.path.join(node.data, "resources.db")
    with open(path, "rb") as file:
        text = file.read()
    at = text.index(b"SCRAM-SHA-256")
    assert text.count(b"SCRAM-SHA-256") == 1
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"T")
    del node.env["MILLRACE_ADMIN_PASSWORD"]
    node.start()
    assert node.request("POST", "/v1/sql", "SELECT 1", token=f"admin:{node.PASSWORD}")[0] == 401
    assert node.request("POST", "/v1/sql", "SELECT 1")[0] == 401, "admin.token outlives its user"
    assert "start once with MILLRACE_ADMIN_PASSWORD set" in node.log()
    node.stop()
    for password in ("another one", None):  # given once, it stays
        node.env.pop("MILLRACE_ADMIN_PASSWORD", None)
        if password:
            node.env["MILLRACE_ADMIN_PASSWORD"] = password
        node.start()
        assert node.request("POST", "/v1/sql", "SELECT 1", token="admin:another one")[0] == 200
        assert node.request("POST", "/v1/sql", "SELECT 1")[0] == 200
        assert node.request("POST", "/v1/sql", "SELECT 1", token=f"admin:{node.PASSWORD}")[0] == 401
        node.stop()


@pytest.mark.parametrize("name", ["tls-cert.pem", "tls-key.pem"])
def test_a_damaged_certificate_of_the_node_is_put_aside_and_made_anew(node_factory, name):
    node = node_factory(settings=["listen.https=127.0.0.1:0"])
    node.stop()
    path = os.path.join(node.data, name)
    with open(path, encoding="ascii") as file:
        lines = file.read().splitlines()
    middle = len(lines) // 2
    lines[middle] = lines[middle][:20] + ("A" if lines[middle][20] != "A" else "B") + lines[middle][21:]
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    node.start()
    assert "tls-cert.pem, tls-key.pem:" in node.log() and "put aside" in node.log(), node.log()
    assert os.path.exists(path + ".damaged")
    node.stop()
    node.start()
    assert "put aside" not in node.log().split("certificate SHA256")[-1]
