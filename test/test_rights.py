"""Who may do what: own roles, limits by path, name and namespace, giving rights away, and logins that end."""
import base64
import http.client
import json
import os
import socket
import subprocess
import time

import pytest

API = "/apis/millrace.io/v1"
PASSWORD = "a-good-password"
MANAGER = [{"verbs": ["get", "list", "create", "update", "delete"], "kinds": ["User", "Role", "Token"]},
           {"verbs": ["get", "list"], "kinds": ["Device"], "paths": ["line1/#"]}]
LINE1 = [{"verbs": ["query", "ingest", "write-point", "subscribe"], "paths": ["line1/#"]},
         {"verbs": ["get", "list", "watch", "update", "create"], "kinds": ["Device"], "paths": ["line1/#"]},
         {"verbs": ["get"], "kinds": ["Connection"], "names": ["c"]}]


def document(kind, name, spec, **metadata):
    return {"apiVersion": "millrace.io/v1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def device(name, path, connection="c", **metadata):
    return document("Device", name, {"path": path, "table": "press", "connection": connection}, **metadata)


class Plant:
    """A node with requests as JSON under any login ("user:password", or "Bearer TOKEN")."""

    def __init__(self, node):
        self.node = node

    def call(self, method, path, body=None, login="admin", kind=None):
        headers = {"Content-Type": kind} if kind else {}
        if login.startswith("Bearer "):
            headers["Authorization"], login = login, None
        status, text = self.node.request(method, path, json.dumps(body) if isinstance(body, dict) else body, login, headers)
        return status, json.loads(text) if text.startswith(("{", "[")) else text

    def make(self, kind, name, spec, login="admin", **metadata):
        path = f"{API}/namespaces/{metadata.get('namespace', 'default')}/" if kind in ("Device", "Table", "Connection") else f"{API}/"
        return self.call("POST", path + kind.lower() + "s", document(kind, name, spec, **metadata), login)

    def must(self, kind, name, spec, **metadata):
        status, answer = self.make(kind, name, spec, **metadata)
        assert status == 201, answer
        return answer

    def user(self, name, rules):
        """A user with a role of its own; gives its login."""
        self.must("Role", name + "-role", {"rules": rules})
        self.must("User", name, {"roles": [name + "-role"], "password": PASSWORD})
        return f"{name}:{PASSWORD}"

    def sql(self, text, login):
        return self.call("POST", "/v1/sql", text, login)


@pytest.fixture(name="plant")
def plant_fixture(node_factory):
    plant = Plant(node_factory())
    status, said = plant.node.request("POST", "/write", "press,device=line1/a t=1 1000000000\npress,device=line2/b t=2 1000000000\n"
                                      "other,device=line1/a t=3 1000000000")
    assert status == 204, said
    for name, path in (("a", "line1/a"), ("b", "line2/b")):
        assert plant.call("POST", f"{API}/namespaces/default/devices", device(name, path))[0] == 201
    return plant


def test_built_in_roles_reach_no_identities(plant):
    for role in ("engineer", "operator", "viewer", "anonymous"):
        plant.must("User", role, {"roles": [role], "password": PASSWORD})
        login = f"{role}:{PASSWORD}"
        for kind in ("users", "roles", "tokens"):
            assert plant.call("GET", f"{API}/{kind}", login=login)[0] == 403
        assert plant.make("Role", "r", {"rules": [{"verbs": ["*"], "kinds": ["*"]}]}, login)[0] == 403
        assert plant.make("User", "u", {"roles": ["admin"]}, login)[0] == 403
        assert plant.call("PATCH", f"{API}/users/{role}", {"spec": {"roles": ["admin"]}}, login, "application/merge-patch+json")[0] == 403
        status, answer = plant.sql("SELECT 1", login)
        assert status == 200, answer
        assert plant.sql("SELECT * FROM press", login)[0] == (403 if role == "anonymous" else 200)
    assert plant.sql("SHOW TABLES", f"anonymous:{PASSWORD}")[1]["rows"] == \
        [row for row in plant.sql("SHOW TABLES", "admin")[1]["rows"] if row[0] == "sys"]


def test_nobody_gives_more_rights_than_he_has(plant):
    boss = plant.user("boss", MANAGER)
    assert plant.make("Role", "all", {"rules": [{"verbs": ["*"], "kinds": ["*"]}]}, boss)[0] == 403
    assert plant.make("Role", "wider", {"rules": [{"verbs": ["get"], "kinds": ["Device"], "paths": ["#"]}]}, boss)[0] == 403
    assert plant.make("Role", "nopath", {"rules": [{"verbs": ["get"], "kinds": ["Device"]}]}, boss)[0] == 403
    assert plant.make("Role", "fine", {"rules": [{"verbs": ["get"], "kinds": ["Device"], "paths": ["line1/x"]}]}, boss)[0] == 201
    assert plant.call("PUT", f"{API}/roles/fine", document("Role", "fine", {"rules": [{"verbs": ["query"]}]}), boss)[0] == 403
    for roles in (["admin"], ["viewer"], ["not-there-yet"]):
        status, answer = plant.make("User", "friend", {"roles": roles, "password": PASSWORD}, boss)
        assert status == 403, answer
    assert plant.make("User", "friend", {"roles": ["fine"], "password": PASSWORD}, boss)[0] == 201
    patch = "application/merge-patch+json"
    assert plant.call("PATCH", f"{API}/users/boss", {"spec": {"roles": ["admin"]}}, boss, patch)[0] == 403
    assert plant.call("PATCH", f"{API}/users/admin", {"spec": {"password": "mine"}}, boss, patch)[0] == 403
    assert plant.call("PATCH", f"{API}/users/admin", {"spec": {"disabled": True}}, boss, patch)[0] == 403
    assert plant.call("DELETE", f"{API}/users/admin", login=boss)[0] == 403
    assert plant.make("Token", "t", {"user": "admin"}, boss)[0] == 403
    assert plant.make("Token", "t", {"user": "friend"}, boss)[0] == 201
    assert plant.call("PATCH", f"{API}/tokens/t", {"spec": {"user": "admin"}}, boss, patch)[0] in (403, 422)
    for role in ("admin", "viewer"):
        assert plant.call("DELETE", f"{API}/roles/{role}", login="admin")[0] == 403
        assert plant.call("PUT", f"{API}/roles/{role}", document("Role", role, {"rules": []}), "admin")[0] in (403, 422)


def test_a_token_has_at_most_the_roles_of_its_user(plant):
    plant.must("User", "eve", {"roles": ["viewer", "engineer"], "password": PASSWORD})
    status, answer = plant.make("Token", "t", {"user": "eve", "roles": ["admin"]})
    assert status == 422 and "does not have the role admin; it has: viewer,engineer" in answer["message"], answer
    assert plant.make("Token", "t", {"user": "nobody"})[0] == 422
    made = plant.must("Token", "t", {"user": "eve", "roles": ["engineer"]})
    bearer = "Bearer " + made["status"]["token"]
    assert "hash" not in made["spec"] and "status" not in plant.call("GET", f"{API}/tokens/t")[1]
    assert plant.make("Table", "x", {"columns": []}, bearer)[0] == 201
    patch = "application/merge-patch+json"
    assert plant.call("PATCH", f"{API}/users/eve", {"spec": {"roles": ["viewer"]}}, "admin", patch)[0] == 200
    assert plant.make("Table", "y", {"columns": []}, bearer)[0] == 403
    assert plant.call("GET", f"{API}/namespaces/default/tables", login=bearer)[0] == 403
    plant.node.restart()
    assert plant.call("GET", "/v1/about", login=bearer)[1]["user"] == "eve"


def test_a_path_limits_rows_points_and_devices(plant):
    joe = plant.user("joe", LINE1)
    assert plant.sql("SELECT device, t FROM press", joe)[1]["rows"] == [["line1/a", 1]]
    assert plant.sql("SELECT count(*), max(t) FROM press", joe)[1]["rows"] == [[1, 1]]
    assert plant.sql("SELECT device FROM sys.devices", joe)[1]["rows"] == [["line1/a"], ["line1/a"]]
    assert plant.sql("SELECT * FROM sys.connections", joe)[1]["rows"] == []
    status, answer = plant.sql("INSERT INTO press (device, t) VALUES ('line1/c', 5), ('line2/b', 5)", joe)
    assert status == 403 and "line2/b" in answer["error"]["message"], answer
    assert plant.sql("INSERT INTO press (device, t) VALUES ('line1/c', 5)", joe)[0] == 200
    for text in ("CREATE TABLE own (a double)", "ALTER TABLE press ADD COLUMN u double", "DROP TABLE press"):
        assert plant.sql(text, joe)[0] == 403, text
    status, answer = plant.call("POST", "/write", "press,device=line1/a t=7\npress,device=line2/b t=7\npress,device=line1 t=8\n"
                                "fresh,device=line2/x q=1", joe)
    assert status == 400 and "2 of 4 lines refused" in answer["error"], answer
    assert plant.sql("SELECT max(t) FROM press WHERE device = 'line2/b'", "admin")[1]["rows"] == [[2]]
    assert "fresh" not in [row[1] for row in plant.sql("SHOW TABLES", "admin")[1]["rows"]]

    devices = f"{API}/namespaces/default/devices"
    assert [item["metadata"]["name"] for item in plant.call("GET", devices, login=joe)[1]["items"]] == ["a"]
    there, absent = plant.call("GET", devices + "/b", login=joe), plant.call("GET", devices + "/zzz", login=joe)
    assert there[0] == absent[0] == 403 and there[1]["message"].replace("/b", "").replace(" b ", " zzz ") == absent[1]["message"]
    assert plant.call("PUT", devices + "/a", device("a", "line2/b2"), joe)[0] == 403
    assert plant.call("PUT", devices + "/b", device("b", "line1/b"), joe)[0] == 403
    assert plant.call("POST", devices, device("d", "line2/d"), joe)[0] == 403
    assert plant.call("POST", devices, device("d", "line1/d"), joe)[0] == 201
    # A device of his own on a foreign line would read, and write, what the path keeps from him.
    status, answer = plant.call("POST", devices, device("e", "line1/e", "other-line"), joe)
    assert status == 403 and "right to its Connection" in answer["message"], answer
    assert plant.call("PUT", devices + "/d", device("d", "line1/d", "other-line"), joe)[0] == 403
    assert plant.call("DELETE", devices, login="admin")[0] == 405
    assert plant.call("DELETE", devices + "/a", login=joe)[0] == 403
    body = {"point": "x", "value": 1, "reason": "test"}
    for name, wanted in (("a", 404), ("line1/a", 404), ("b", 403), ("line2/b", 403), ("zzz", 403)):
        status, answer = plant.call("POST", f"{devices}/{name.replace('/', '%2F')}/write", body, joe)
        assert status == wanted, (name, answer)


def test_rows_that_may_not_be_seen_are_not_read_either(plant):
    joe = plant.user("joe", [{"verbs": ["query"], "paths": ["x/#"]}])
    lines = "\n".join(f"big,device={line}/d v={i} {i}" for line in ("x", "y") for i in range(3000))
    assert plant.call("POST", "/write?precision=s", lines)[0] == 204
    for _ in range(2):
        status, answer = plant.sql("SELECT count(*), max(v), count(DISTINCT device) FROM big WHERE v >= 0 AND device <> 'z'", joe)
        assert status == 200 and answer["rows"] == [[3000, 2999, 1]] and answer["stats"]["rowsRead"] == 3000, answer
        assert plant.sql("CHECKPOINT", "admin")[0] == 200


def test_a_put_that_creates_needs_the_right_to_create(plant):
    joe = plant.user("joe", [{"verbs": ["get", "update"], "kinds": ["Device", "Connection"]}])
    devices = f"{API}/namespaces/default/devices"
    assert plant.call("PUT", devices + "/new", device("new", "line1/new"), joe)[0] == 403
    assert plant.call("PUT", devices + "/a", device("a", "line1/a2"), joe)[0] == 200


def test_names_and_namespaces_limit(plant):
    joe = plant.user("joe", [{"verbs": ["query"], "names": ["press"]},
                             {"verbs": ["list", "watch"], "kinds": ["Device"], "namespaces": ["blue"]}])
    assert plant.sql("SELECT t FROM press", joe)[0] == 200
    status, answer = plant.sql("SELECT t FROM other", joe)
    assert status == 403 and "other" in answer["error"]["message"]
    assert [row[1] for row in plant.sql("SHOW TABLES", joe)[1]["rows"] if row[0] == "public"] == ["press"]
    blue = f"{API}/namespaces/blue/devices"
    assert plant.call("POST", blue, device("n", "blue/n", namespace="blue"))[0] == 201
    assert plant.call("GET", f"{API}/namespaces/default/devices", login=joe)[0] == 403
    assert [i["metadata"]["name"] for i in plant.call("GET", f"{API}/devices", login=joe)[1]["items"]] == ["n"]
    # A selector chooses among what may be seen; it does not widen it.
    assert plant.call("GET", f"{API}/devices?labelSelector=!x", login=joe)[1]["items"][0]["metadata"]["name"] == "n"


def test_wrong_words_in_a_role_are_refused_with_their_place(plant):
    cases = (({"verbs": ["gett"], "kinds": ["Device"]}, "spec.rules[0].verbs", "did you mean get?"),
             ({"verbs": ["get"]}, "spec.rules[0].kinds", "required"),
             ({"verbs": ["get"], "kinds": ["Devices"]}, "spec.rules[0].kinds", "did you mean Device?"),
             ({"verbs": ["get"], "kinds": []}, "spec.rules[0].kinds", "empty"),
             ({"verbs": ["query"], "namespaces": ["pr*"]}, "spec.rules[0].namespaces", "wildcard"),
             ({"verbs": ["query"], "paths": ["a/#/b"]}, "spec.rules[0].paths", "must stand alone"),
             ({"verbs": ["query"], "paths": []}, "spec.rules[0].paths", "fits nothing"),
             ({"verb": ["query"]}, "spec.rules[0].verb", "did you mean 'verbs'"))
    for rule, path, part in cases:
        status, answer = plant.make("Role", "r", {"rules": [rule]})
        assert status == 422 and path in answer["message"] and part in answer["message"], (rule, answer["message"])


def test_the_last_admin_stays(plant):
    patch = "application/merge-patch+json"
    for change in ({"disabled": True}, {"roles": ["viewer"]}):
        status, answer = plant.call("PATCH", f"{API}/users/admin", {"spec": change}, "admin", patch)
        assert status == 409 and "last one" in answer["message"], answer
    assert plant.call("DELETE", f"{API}/users/admin")[0] == 409
    plant.must("User", "second", {"roles": ["admin"]})  # without a password it cannot log in
    assert plant.call("DELETE", f"{API}/users/admin")[0] == 409
    assert plant.call("PATCH", f"{API}/users/second", {"spec": {"password": PASSWORD}}, "admin", patch)[0] == 200
    assert plant.call("DELETE", f"{API}/users/admin")[0] == 200
    assert plant.call("GET", "/v1/about")[0] == 401  # admin.token was admin's
    assert plant.call("GET", "/v1/about", login=f"second:{PASSWORD}")[0] == 200
    plant.node.restart()
    assert plant.call("GET", "/v1/about", login=f"admin:{plant.node.PASSWORD}")[0] == 401  # it does not come back


def test_secrets_are_never_shown(plant):
    applied = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": {"password": PASSWORD, "roles": []}})}
    made = plant.must("User", "eve", {"roles": ["viewer"], "password": PASSWORD}, annotations=applied)
    shown = [json.dumps(made)] + [json.dumps(plant.call("GET", f"{API}/users{rest}")[1]) for rest in ("", "/eve")]
    for text in shown:
        assert PASSWORD not in text and "SCRAM" not in text and "verifier" not in text, text
    for name in ("resources.db", "resources.db-wal"):
        path = os.path.join(plant.node.data, name)
        if os.path.exists(path):
            with open(path, "rb") as file:
                assert PASSWORD.encode() not in file.read()
    patch = "application/merge-patch+json"
    plant.call("PATCH", f"{API}/users/eve", {"spec": {"description": "x"}}, "admin", patch)
    assert plant.call("PUT", f"{API}/users/eve", document("User", "eve", {"roles": ["viewer"]}))[0] == 200
    assert plant.call("GET", "/v1/about", login=f"eve:{PASSWORD}")[0] == 200  # the password is still there
    for bad in ("", 7 * "x" * 100):
        assert plant.call("PATCH", f"{API}/users/eve", {"spec": {"password": bad}}, "admin", patch)[0] == 422


def test_status_and_owner_cannot_be_written(plant):
    devices = f"{API}/namespaces/default/devices"
    body = device("a", "line1/a", owner="file", uid="x", generation=99)
    body["status"] = {"good": 12345}
    status, answer = plant.call("PUT", devices + "/a", body)
    assert status == 200 and answer["metadata"]["owner"] == "api" and answer["metadata"]["generation"] == 1
    assert answer.get("status", {}).get("good") != 12345
    assert plant.call("PUT", devices + "/a/status", body)[0] == 404
    assert plant.call("PATCH", f"{API}/nodes/edge", {"spec": {"version": "9"}}, "admin", "application/merge-patch+json")[0] == 422
    assert plant.call("DELETE", f"{API}/nodes/edge")[0] == 403


# ---- what is open when a login ends ----


def open_stream(node, path, token, upgrade=False):
    sock = socket.create_connection(("127.0.0.1", node.port), timeout=10)
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    if upgrade:
        key = base64.b64encode(os.urandom(16)).decode()
        head += f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    sock.sendall((head + "\r\n").encode())
    assert sock.recv(4096).split(b" ")[1] in (b"101", b"200")
    return sock


def ends_within(sock, limit_s):
    """Whether the peer ends the stream; what still comes is dropped."""
    sock.settimeout(limit_s)
    try:
        while sock.recv(65536):
            pass
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def test_what_is_open_under_a_token_ends_with_it(plant):
    patch = "application/merge-patch+json"
    ends = {"token": lambda: plant.call("DELETE", f"{API}/tokens/t"),
            "disabled": lambda: plant.call("PATCH", f"{API}/users/eve", {"spec": {"disabled": True}}, "admin", patch),
            "role": lambda: plant.call("PATCH", f"{API}/users/eve", {"spec": {"roles": []}}, "admin", patch)}
    for why, end in ends.items():
        for path in (f"{API}/users/eve", f"{API}/tokens/t"):
            plant.call("DELETE", path)
        plant.must("User", "eve", {"roles": ["viewer"], "password": PASSWORD})
        token = plant.must("Token", "t", {"user": "eve"})["status"]["token"]
        watch = open_stream(plant.node, f"{API}/namespaces/default/devices?watch=true", token)
        live = open_stream(plant.node, "/v1/live", token, upgrade=True)
        assert not ends_within(watch, 0.3)
        assert end()[0] == 200
        assert ends_within(watch, 5), why
        if why != "role":  # without a role a live view stays open and shows nothing
            assert ends_within(live, 5), why
        live.close()


def test_a_watch_shows_only_what_its_role_allows_and_follows_it(plant):
    joe = plant.user("joe", LINE1)
    token = plant.must("Token", "t", {"user": "joe"})["status"]["token"]
    sock = open_stream(plant.node, f"{API}/devices?watch=true", token)
    devices = f"{API}/namespaces/default/devices"
    for name, path in (("m1", "line1/m1"), ("m2", "line2/m2")):
        assert plant.call("POST", devices, device(name, path))[0] == 201
    assert plant.call("PUT", devices + "/m1", device("m1", "line2/gone"))[0] == 200
    sock.settimeout(5)
    seen = b""
    while b"DELETED" not in seen:
        seen += sock.recv(65536)
    assert b"m1" in seen and b"m2" not in seen and b"line2" not in seen and joe, seen


def test_an_expired_token_opens_nothing_and_closes_what_it_opened(plant):
    plant.must("User", "eve", {"roles": ["viewer"], "password": PASSWORD})
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    token = plant.must("Token", "t", {"user": "eve", "expires": until})["status"]["token"]
    watch = open_stream(plant.node, f"{API}/devices?watch=true", token)
    assert ends_within(watch, 8)
    assert plant.call("GET", "/v1/about", login="Bearer " + token)[0] == 401


def test_a_token_that_expired_when_clocks_began_is_not_one_that_never_expires(plant):
    plant.must("User", "eve", {"roles": ["viewer"], "password": PASSWORD})
    for name, until in (("at", "1970-01-01T00:00:00Z"), ("before", "1969-12-31T23:59:59Z")):
        token = plant.must("Token", name, {"user": "eve", "expires": until})["status"]["token"]
        assert plant.call("GET", "/v1/about", login="Bearer " + token)[0] == 401, until


def test_a_new_password_ends_the_sessions_of_the_old(plant):
    plant.must("User", "eve", {"roles": ["viewer"], "password": PASSWORD})
    session = plant.call("POST", "/v1/login", {"user": "eve", "password": PASSWORD}, "x:y")[1]["token"]
    assert plant.call("GET", "/v1/about", login="Bearer " + session)[0] == 200
    assert plant.call("PATCH", f"{API}/users/eve", {"spec": {"password": "another"}}, "admin", "application/merge-patch+json")[0] == 200
    assert plant.call("GET", "/v1/about", login="Bearer " + session)[0] == 401
    assert plant.call("GET", "/v1/about", login=f"eve:{PASSWORD}")[0] == 401
    assert plant.call("GET", "/v1/about", login="eve:another")[0] == 200


def audit_lines(plant):
    lines = []
    for name in sorted(os.listdir(os.path.join(plant.node.data, "audit"))):
        with open(os.path.join(plant.node.data, "audit", name), encoding="utf-8") as file:
            lines += [json.loads(line) for line in file]
    return lines


@pytest.mark.parametrize("headers,is_ours", [
    ({}, True), ({"Origin": "http://{host}"}, True), ({"Origin": "http://127.0.0.1:9"}, False), ({"Origin": "null"}, False),
    ({"Origin": "https://{host}"}, True),  # a proxy in front does the TLS
    ({"Sec-Fetch-Site": "same-origin", "Origin": "https://a.proxy"}, True), ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "same-site", "Origin": "http://{host}"}, False), ({"Sec-Fetch-Site": "cross-site"}, False)])
def test_the_cookie_counts_for_the_nodes_own_pages_alone(plant, headers, is_ours):
    """To a browser another port of this machine is the same site: SameSite does not keep its pages from sending the cookie."""
    sent = {name: value.format(host=plant.node.url[len("http://"):]) for name, value in headers.items()}
    status, text = plant.node.request("POST", "/v1/sql", "SELECT 1", token=None, headers={**sent, "Cookie": f"millrace={plant.node.token()}"})
    assert status == (200 if is_ours else 401), text
    status, text = plant.node.request("POST", "/v1/sql", "SELECT 1", headers=sent)  # who holds the token may be any page
    assert status == 200, text


def test_refused_logins_leave_few_short_lines_in_the_audit_log(plant):
    """40 at once under one name: those that find the queue full are counted, not written."""
    name = "\x01" * 120
    waiting, statuses = [], []
    for _ in range(40):
        connection = http.client.HTTPConnection("127.0.0.1", plant.node.port, timeout=60)
        connection.request("POST", "/v1/login", json.dumps({"user": name, "password": "wrong"}))
        waiting.append(connection)
    for connection in waiting:
        statuses.append(connection.getresponse().status)
        connection.close()
    plant.node.stop()  # writes the counts
    lines = audit_lines(plant)
    logins = [line for line in lines if line["verb"] == "login"]
    checked = [line for line in logins if line["user"]]
    turned_away = len(statuses) - statuses.count(401)
    assert turned_away > 0 and len(checked) == statuses.count(401), statuses
    assert {line["user"] for line in checked} == {"\x01" * 64}
    assert [line["detail"] for line in logins if not line["user"]] == [
        f"0 more with a wrong user or password, {turned_away} unchecked because too many came at once"]


def test_refused_requests_leave_few_lines_in_the_audit_log_and_none_is_uncounted(plant):
    joe = plant.user("joe", LINE1)
    for _ in range(60):
        assert plant.call("DELETE", f"{API}/namespaces/default/devices/a", login=joe)[0] == 403
        assert plant.call("POST", f"{API}/namespaces/default/devices/b/write", {"point": "x", "value": 1, "reason": "r"}, joe)[0] == 403
    plant.node.stop()  # writes the counts
    lines = [line for line in audit_lines(plant) if line["user"] == "joe" and line["outcome"] != "ok"]
    sums = [line for line in lines if line["detail"].endswith(" more in one minute")]
    assert {line["verb"] for line in sums} == {"delete", "write-point"} and len(lines) - len(sums) <= 40, lines
    assert len(lines) - len(sums) + sum(int(line["detail"].split()[0]) for line in sums) == 120


def test_every_change_and_every_refusal_is_in_the_audit_log(plant):
    joe = plant.user("joe", LINE1)
    plant.sql("CREATE TABLE made (a double)", "admin")
    plant.sql("DROP TABLE press", joe)
    plant.call("DELETE", f"{API}/namespaces/default/devices/a", login=joe)
    plant.call("POST", f"{API}/namespaces/default/devices/b/write", {"point": "x", "value": 1, "reason": "r"}, joe)
    time.sleep(0.3)
    lines = audit_lines(plant)
    seen = {(line["user"], line["verb"], line["kind"], line["path"], line["outcome"] == "ok") for line in lines}
    assert {("admin", "create", "User", "joe", True), ("admin", "create", "Role", "joe-role", True),
            ("admin", "create", "Table", "made", True), ("joe", "write-point", "Device", "b", False),
            ("joe", "delete", "Device", "a", False), ("joe", "delete", "Table", "", False)} <= seen, seen


def test_a_forgotten_password_is_set_anew_and_the_rest_stays(plant):
    plant.must("User", "eve", {"roles": ["viewer"], "password": PASSWORD})
    patch = "application/merge-patch+json"
    assert plant.call("PATCH", f"{API}/users/admin", {"spec": {"password": "forgotten"}}, "admin", patch)[0] == 200
    plant.node.restart()
    assert plant.call("GET", "/v1/about", login=f"admin:{plant.node.PASSWORD}")[0] == 401
    assert plant.call("GET", "/v1/about", login="admin:forgotten")[0] == 200
    plant.node.stop()
    os.rename(os.path.join(plant.node.data, "access"), os.path.join(plant.node.data, "access.away"))
    plant.node.start()  # with MILLRACE_ADMIN_PASSWORD
    for login, status in ((f"admin:{plant.node.PASSWORD}", 200), ("admin:forgotten", 401), (f"eve:{PASSWORD}", 200), ("admin", 200)):
        assert plant.call("GET", "/v1/about", login=login)[0] == status, login
    plant.node.restart()
    assert plant.call("GET", "/v1/about", login=f"admin:{plant.node.PASSWORD}")[0] == 200


def test_json_rows_and_live_rows_are_limited_by_path_too(plant):
    joe = plant.user("joe", LINE1)
    rows = json.dumps([{"device": "line1/a", "t": 11}, {"device": "line2/b", "t": 12}])
    status, answer = plant.call("POST", "/v1/rows?table=press", rows, joe)
    assert status == 400 and answer["refused"] == 1, answer
    status, answer = plant.call("POST", "/v1/import?table=press", "time,device,t\n1795230245,line1/a,11\n1795230245,line2/b,12\n", joe)
    assert status == 400 and answer["rows"] == 1 and answer["errors"][0]["line"] == 3, answer
    status, answer = plant.call("POST", "/v1/import?table=press&types=fresh:double", "time,device,fresh\n1795230245,line1/a,1\n", joe)
    assert status == 403 and "all its devices" in answer["error"]["message"], answer
    assert plant.sql("SELECT max(t) FROM press WHERE device = 'line2/b'", "admin")[1]["rows"] == [[2]]
    token = plant.must("Token", "t", {"user": "joe"})["status"]["token"]
    live = open_stream(plant.node, "/v1/live", token, upgrade=True)
    text = b'{"subscribe": "*"}'
    live.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
    time.sleep(0.5)
    assert plant.node.request("POST", "/write", "press,device=line2/b t=21\npress,device=line1/a t=22")[0] == 204
    live.settimeout(5)
    seen = b""
    while b'"t":22' not in seen:
        seen += live.recv(65536)
    assert b"line2" not in seen and b'"t":21' not in seen, seen


def test_rules_that_deny_topics(plant):
    cases = (({"verbs": ["get"], "kinds": ["Device"], "paths": ["a"]}, "spec.rules[0].verbs", "publish, subscribe"),
             ({"verbs": ["*"], "kinds": ["Table"], "paths": ["a"]}, "spec.rules[0].verbs", "publish, subscribe"),
             ({"verbs": ["publish"]}, "spec.rules[0].paths", "required"),
             ({"verbs": ["publish"], "kinds": ["Table"], "paths": ["a"]}, "spec.rules[0].kinds", "does not belong"),
             ({"verbs": ["publish"], "names": ["x"], "paths": ["a"]}, "spec.rules[0].names", "does not belong"),
             ({"verbs": ["publish"], "paths": ["dev/%c/x"]}, "spec.rules[0].paths", "use + for the level"))
    for rule, path, part in cases:
        status, answer = plant.make("Role", "r", {"rules": [rule | {"effect": "deny"}]})
        assert status == 422 and path in answer["message"] and part in answer["message"], (rule, answer["message"])
    both = ["publish", "subscribe"]
    plant.must("Role", "wide", {"rules": [{"verbs": both, "paths": ["a/#"]}, {"verbs": ["create", "update", "get", "delete"], "kinds": ["Token", "Role", "User"]}]})
    plant.must("Role", "bounds", {"rules": [{"effect": "deny", "verbs": both, "paths": ["a/secret/#"]}]})
    plant.must("User", "eve", {"roles": ["wide", "bounds"], "password": PASSWORD})
    eve = f"eve:{PASSWORD}"

    def publish(topic, login):
        return plant.call("POST", "/v1/mqtt/publish", {"topic": topic, "payload": "x"}, login)[0]

    assert (publish("a/x", eve), publish("a/secret/x", eve)) == (200, 403)
    # No way around it: a token with fewer roles, a role for a friend, another document of either.
    token = plant.must("Token", "t", {"user": "eve", "roles": ["wide"]})["status"]["token"]
    assert (publish("a/x", "Bearer " + token), publish("a/secret/x", "Bearer " + token)) == (200, 403)
    assert plant.make("Role", "friendly", {"rules": [{"verbs": both, "paths": ["a/+/x"]}]}, eve)[0] == 403
    assert plant.make("User", "friend", {"roles": ["wide"], "password": PASSWORD}, eve)[0] == 403
    assert plant.call("PUT", f"{API}/roles/bounds", document("Role", "bounds", {"rules": []}), eve)[0] == 403
    assert plant.call("DELETE", f"{API}/roles/bounds", login=eve)[0] == 403
    patch = "application/merge-patch+json"
    assert plant.call("PATCH", f"{API}/users/eve", {"spec": {"roles": ["wide"]}}, eve, patch)[0] == 403
    assert plant.make("Role", "narrow", {"rules": [{"verbs": both, "paths": ["a/b"]}]}, eve)[0] == 201
    assert publish("a/secret/x", eve) == 403
    # Nobody is locked out: who has the role admin is not denied, and can undo it.
    assert plant.call("PATCH", f"{API}/users/admin", {"spec": {"roles": ["admin", "bounds"]}}, "admin", patch)[0] == 200
    assert publish("a/secret/x", "admin") == 200
    assert plant.call("PATCH", f"{API}/users/admin", {"spec": {"roles": ["admin"]}}, "admin", patch)[0] == 200
    assert plant.call("PUT", f"{API}/roles/bounds", document("Role", "bounds", {"rules": []}))[0] == 200
    assert publish("a/secret/x", eve) == 200


def test_a_long_list_comes_in_slices_whole_and_as_it_was(plant, tmp_path):
    """300 documents of 2 KB: more than a slice; what is deleted while the reader is slow is still in what he asked for."""
    names = [f"v{i:04d}" for i in range(300)]
    path = tmp_path / "many.yaml"
    path.write_text("---\n".join(f"apiVersion: millrace.io/v1\nkind: View\nmetadata: {{name: {name}}}\nspec: {{query: \"SELECT 1\", description: \"{'x' * 2000}\"}}\n"
                                 for name in names))
    done = subprocess.run([plant.node.millrace, "apply", "-f", str(path), "--data", plant.node.data], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    connection = http.client.HTTPConnection("127.0.0.1", plant.node.port, timeout=60)
    connection.request("GET", f"{API}/namespaces/default/views", headers={"Authorization": "Bearer " + plant.node.token()})
    answer = connection.getresponse()
    assert answer.getheader("Transfer-Encoding") == "chunked", "one answer of 700 kilobytes"
    first = answer.read(1000)
    assert plant.call("DELETE", f"{API}/namespaces/default/views/v0299")[0] == 200
    items = json.loads(first + answer.read())["items"]
    assert [item["metadata"]["name"] for item in items] == names
    connection.request("GET", f"{API}/namespaces/default/views",
                       headers={"Authorization": "Bearer " + plant.node.token(), "Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    rows = json.loads(connection.getresponse().read())["rows"]
    assert [row["cells"][0] for row in rows] == names[:-1]
    for _ in range(20):  # readers that leave in the middle
        with socket.create_connection(("127.0.0.1", plant.node.port)) as gone:
            gone.sendall(f"GET {API}/namespaces/default/views HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {plant.node.token()}\r\n\r\n".encode())
            gone.recv(1000)
    assert plant.call("GET", f"{API}/namespaces/default/views/v0000")[0] == 200
