"""System tables about the store, the node and its people: what they show, and to whom."""
import json
import os
import socket
import time

import pytest
from conftest import wait_for

API = "/apis/millrace.io/v1"
PASSWORD = "a-good-password"


def document(kind, name, spec):
    return {"apiVersion": "millrace.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def make(node, kind, name, spec):
    status, said = node.request("POST", f"{API}/{kind.lower()}s", json.dumps(document(kind, name, spec)))
    assert status == 201, said


def user(node, name, rules=None, role=None):
    if rules:
        make(node, "Role", name + "-role", {"rules": rules})
    make(node, "User", name, {"roles": [role or name + "-role"], "password": PASSWORD})
    return f"{name}:{PASSWORD}"


def rows(node, text, login="admin"):
    status, answer = node.request("POST", "/v1/sql", text, login)
    assert status == 200, answer
    return json.loads(answer)["rows"]


@pytest.fixture(name="plant")
def plant_fixture(node_factory):
    node = node_factory()
    lines = "\n".join(f"press,device=line{1 + n % 2}/a t={n},n={n}i {1_000_000_000 * (n + 1)}" for n in range(1000))
    assert node.request("POST", "/write", lines)[0] == 204
    assert node.request("POST", "/write", "other,device=line1/a t=3 1000000000")[0] == 204
    return node


def test_devices_are_shown_with_their_table(plant):
    assert rows(plant, "SELECT device, namespace, table FROM sys.devices ORDER BY table, device") == [
        ["line1/a", "default", "other"], ["line1/a", "default", "press"], ["line2/a", "default", "press"]]
    plant.sql("DROP TABLE other")
    assert rows(plant, "SELECT device FROM sys.devices WHERE table = 'press' ORDER BY device") == [["line1/a"], ["line2/a"]]


def test_tables_tell_what_they_take(plant):
    ask = ("SELECT columns, devices, rows, parts, bytes > 0, first_time, last_time, retention, durability, rollups, rollup_of "
           "FROM sys.tables WHERE name = '{}'")
    head = [2, 2, 1000, 0, False, "1970-01-01T00:00:01Z", "1970-01-01T00:16:40Z", None, "commit", None, None]
    assert rows(plant, ask.format("press")) == [head]
    plant.sql("CHECKPOINT")
    stored = [*head[:3], 1, True, *head[5:]]
    assert rows(plant, ask.format("press")) == [stored]
    # both tables lie in one part: what is counted is their own
    assert rows(plant, ask.format("other"))[0][:5] == [1, 1, 1, 1, True]
    assert plant.request("POST", "/write", "press,device=line3/a t=1 5000000000000")[0] == 204
    assert rows(plant, ask.format("press"))[0][:3] == [2, 3, 1001]
    status, said = plant.request("POST", f"{API}/namespaces/default/tables", json.dumps(document("Table", "slow", {
        "columns": [{"name": "v", "type": "double"}], "retention": "90d", "durability": "interval 5s",
        "rollups": [{"every": "1m"}, {"every": "1h"}]})))
    assert status == 201, said
    assert rows(plant, ask.format("slow")) == [[1, 0, 0, 0, False, None, None, "90d", "interval 5s", "1m, 1h", None]]
    assert rows(plant, ask.format("slow_1m"))[0][-1] == "slow"


def test_who_sees_some_devices_sees_no_sizes_of_all(plant):
    joe = user(plant, "joe", [{"verbs": ["query"], "paths": ["line1/#"], "names": ["press"]}])
    assert rows(plant, "SELECT name, columns, devices, rows, bytes, last_time FROM sys.tables", joe) == [
        ["press", 2, None, None, None, None]]
    assert rows(plant, "SELECT device, table FROM sys.devices", joe) == [["line1/a", "press"]]


def test_the_node_shows_itself(plant):
    shown = rows(plant, "SELECT name, version, state, started, uptime_s, memory_limit, memory_used, appended, applied, durable "
                        "FROM sys.nodes")
    assert len(shown) == 1
    name, version, state, started, uptime, limit, used, appended, applied, _ = shown[0]
    assert (name, state) == ("edge", "ready") and version and 0 <= uptime < 600 and 0 < used < limit
    assert appended == applied > 0
    assert started.startswith(time.strftime("%Y-%m-%d", time.gmtime(time.time() - uptime)))
    joe = user(plant, "joe", [{"verbs": ["query"], "names": ["press"]}])
    assert not rows(plant, "SELECT * FROM sys.nodes", joe)
    assert rows(plant, "SELECT name FROM sys.nodes", user(plant, "vera", role="viewer")) == [["edge"]]


# ---- the audit log ----

def test_the_audit_log_is_read_from_its_end(plant):
    plant.sql("DELETE FROM other WHERE device = 'line1/a'")
    plant.sql("CREATE TABLE extra (v double)")
    shown = rows(plant, "SELECT seq, time, user, verb, kind, namespace, path, detail, outcome, is_whole FROM sys.audit LIMIT 2")
    assert [line[2:] for line in shown] == [
        ["admin", "create", "Table", "default", "extra", "CREATE TABLE extra (v double)", "ok", True],
        ["admin", "delete", "Table", "default", "other", "DELETE FROM other WHERE device = 'line1/a'", "ok", True]]
    assert shown[0][0] == shown[1][0] + 1 and shown[0][1] >= shown[1][1]
    everything = rows(plant, "SELECT seq, is_whole FROM sys.audit")
    assert everything == [[n, True] for n in range(shown[0][0], 0, -1)]
    # twice in one statement: each reads from the end
    assert rows(plant, "SELECT count(*) FROM sys.audit a JOIN sys.audit b ON a.seq = b.seq") == [[len(everything)]]
    assert rows(plant, "SELECT detail FROM sys.audit WHERE kind = 'Table' AND verb = 'create'") == [["CREATE TABLE extra (v double)"]]


def test_a_line_that_was_changed_is_shown_as_such(plant):
    plant.sql("CREATE TABLE extra (v double)")
    plant.sql("DROP TABLE extra")
    path = os.path.join(plant.data, "audit", "audit-000001.jsonl")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert '"detail":"CREATE TABLE extra' in text
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace('"detail":"CREATE TABLE extra', '"detail":"CREATE TABLE ectra'))
    assert rows(plant, "SELECT detail FROM sys.audit WHERE NOT is_whole") == [["CREATE TABLE ectra (v double)"]]


def test_the_audit_log_is_for_those_with_the_right_to_it(plant):
    for role in ("viewer", "engineer"):
        assert not rows(plant, "SELECT * FROM sys.audit", user(plant, role, role=role))
    auditor = user(plant, "auditor", [{"verbs": ["get"], "kinds": ["Audit"]}, {"verbs": ["query"], "names": ["none"]}])
    seen = rows(plant, "SELECT path FROM sys.audit WHERE kind = 'User'", auditor)
    assert ["auditor"] in seen and ["viewer"] in seen
    assert not rows(plant, "SELECT * FROM sys.tables", auditor)


def test_a_view_of_system_tables_shows_what_its_reader_may_see(plant):
    plant.sql("CREATE VIEW who AS SELECT user, verb FROM sys.audit")
    assert rows(plant, "SELECT count(*) > 0 FROM who") == [[True]]
    assert rows(plant, "SELECT count(*) FROM who", user(plant, "vera", role="viewer")) == [[0]]
    plant.sql("CREATE VIEW there AS SELECT t.name, who.user FROM Sys.Tables t JOIN who ON t.name = 'press'")
    plant.sql("CREATE VIEW over_there AS SELECT DISTINCT name FROM there")
    assert rows(plant, "SELECT * FROM Over_There") == [["press"]]
    assert rows(plant, "SELECT count(*) > 0 FROM over_there " + "-- " + "x" * 300_000) == [[True]]


# ---- sessions ----

def test_a_statement_sees_itself(plant):
    text = "SELECT kind, user, namespace, statement, since = statement_since, address FROM sys.sessions"
    kind, who, ns, statement, is_same, address = rows(plant, text)[0]
    assert (kind, who, ns, statement, is_same) == ("http", "admin", "default", text, True) and address.startswith("127.0.0.1:")


def test_sessions_of_others_are_for_who_may_list_users(plant):
    vera = user(plant, "vera", role="viewer")
    assert plant.request("POST", "/v1/login", json.dumps({"user": "vera", "password": PASSWORD}), None)[0] == 200
    assert plant.request("POST", "/v1/login", json.dumps({"user": "admin", "password": plant.PASSWORD}), None)[0] == 200
    ask = "SELECT kind, user FROM sys.sessions ORDER BY kind, user"
    assert rows(plant, ask) == [["http", "admin"], ["login", "admin"], ["login", "vera"]]
    assert rows(plant, ask, vera) == [["http", "vera"], ["login", "vera"]]


def test_connections_are_shown_until_they_end(node_factory):
    psycopg2 = pytest.importorskip("psycopg2")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        line_port = probe.getsockname()[1]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    node = node_factory(settings=[f"listen.postgres=127.0.0.1:{port}", f"listen.line=127.0.0.1:{line_port}"])
    other = psycopg2.connect(host="127.0.0.1", port=port, user="admin", password=node.PASSWORD, dbname="default")
    cursor = other.cursor()
    ask = "SELECT user, statement, namespace FROM sys.sessions WHERE kind = '{}'"
    assert rows(node, ask.format("postgres")) == [["admin", None, "default"]]
    cursor.execute(ask.format("postgres"))
    assert cursor.fetchall() == [("admin", ask.format("postgres"), "default")]
    with socket.create_connection(("127.0.0.1", line_port)):
        wait_for(lambda: rows(node, ask.format("line")) == [["anonymous", None, None]], 5, "the line connection is not shown")
    wait_for(lambda: not rows(node, ask.format("line")), 5, "the line connection is still shown")
    other.close()
    wait_for(lambda: not rows(node, ask.format("postgres")), 5, "the connection is still shown")
