"""The broker in operation: its settings, and what is shown and done while it runs."""
import contextlib
import http.client
import json
import signal
import socket
import threading
import urllib.request

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from conftest import HOST, OPENER, free_port, wait_for
from mqtt_client import mqtt_node
from mqtt_wire import Wire
from test_mqtt import LIMIT_S, Client

SETTINGS = "mqtt:\n  maxConnections: {connections}\n  receiveMaximum: {window}\n  queue: {{messages: {queue}}}\n"


@pytest.fixture(name="node")
def node_fixture(node_factory):
    port = free_port()
    node = node_factory(settings=[f"listen.mqtt={HOST}:{port}", "mqtt.sessionExpiryMax=1h"])
    node.mqtt_port = port
    return node


@pytest.fixture(name="tuned")
def tuned_fixture(node_factory, tmp_path):
    port, node = free_port(), None
    node = node_factory(settings=[f"listen.mqtt={HOST}:{port}"], start=False)
    node.mqtt_port, node.yaml = port, tmp_path / "node.yaml"
    node.yaml.write_text(SETTINGS.format(connections=3, window=7, queue=5))
    node.command += ["-c", str(node.yaml)]
    node.start()
    return node


def hup(node, says):
    before = node.log().count(says)
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: node.log().count(says) > before, 10, f"the log does not say: {says}")


def test_settings_change_while_sessions_go_on(tuned):
    here, there = Client(tuned, "here"), Client(tuned, "there", "3.1.1", clean=False)
    there.subscribe(("q/#", 1))
    there.close()

    def what_is_kept():
        for number in range(12):
            here.publish("q/x", f"{number}", 1)
        again = Client(tuned, "there", "3.1.1", clean=False, connect=False)
        again.connect()
        wait_for(lambda: again.got and again.got[-1].payload == b"11", LIMIT_S, "the last message")
        again.close()
        return len(again.got)

    assert what_is_kept() == 5
    tuned.yaml.write_text(SETTINGS.format(connections=2, window=9, queue=8))
    hup(tuned, "reload: done")
    assert what_is_kept() == 8
    assert len(here.reasons) == 1 and here.paho.is_connected(), "the connection was not kept"
    wait_for(lambda: tuned.metric("millrace_mqtt_connections") == 1, LIMIT_S, "there is one left")
    other, refused = Client(tuned, "other"), tuned.metric("millrace_mqtt_connections_refused_total")
    with pytest.raises(OSError):
        Client(tuned, "one-too-many", connect=False).paho.connect(HOST, tuned.mqtt_port)
        wait_for(lambda: tuned.metric("millrace_mqtt_connections_refused_total") == refused + 1, LIMIT_S, "it is let in")
        raise OSError
    other.close()
    tuned.yaml.write_text(SETTINGS.format(connections=0, window=9, queue=8))
    tuned.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "nothing was changed" in tuned.log() and "mqtt.maxConnections" in tuned.log(), 10, "the wrong key is not named")
    assert len(here.reasons) == 1


# ---- what is shown ----

def sql(node, text, login="admin"):
    status, answer = node.request("POST", "/v1/sql", text, login)
    assert status == 200, answer
    return json.loads(answer)["rows"]


def document(kind, name, spec):
    return {"apiVersion": "millrace.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def make_user(node, name, rules):
    for kind, spec in ("Role", {"rules": rules}), ("User", {"roles": [name], "password": "a-good-password"}):
        status, said = node.request("POST", f"/apis/millrace.io/v1/{kind.lower()}s", json.dumps(document(kind, name, spec)))
        assert status == 201, said
    return f"{name}:a-good-password"


OWN_TOPICS = [{"verbs": ["publish", "subscribe"], "paths": ["line1/#"]}]
SQL_RIGHT = {"verbs": ["query"], "kinds": ["Table"]}


def test_tables_show_clients_with_what_they_did(node):
    here, there = Client(node, "here"), Client(node, "there", "3.1.1", clean=False)
    there.subscribe(("a/#", 1), ("$share/g/b/+", 2))
    for number in range(5):
        here.publish("a/x", f"{number}", 1)
    there.wait(5)
    ask = "SELECT client, user, connected, version, tls, expiry_s, subscriptions, received, sent, queued, dropped FROM sys.mqtt_clients ORDER BY 1"
    wait_for(lambda: sql(node, ask) == [["here", "admin", True, "5.0", False, 0, 0, 5, 0, 0, 0],
                                        ["there", "admin", True, "3.1.1", False, 3600, 2, 0, 5, 0, 0]], LIMIT_S, "the clients")
    assert sql(node, "SELECT peer LIKE '127.0.0.1:%', keep_alive_s, since > now() - '1m' FROM sys.mqtt_clients")[0] == [True, 60, True]
    there.close()
    for number in range(3):
        here.publish("a/x", "later", 1)
    assert sql(node, "SELECT connected, peer, version, queued, queued_bytes > 10, in_flight FROM sys.mqtt_clients WHERE client = 'there'") == [
        [False, None, None, 3, True, 0]]
    assert sorted(sql(node, "SELECT client, filter, qos, no_local, identifier FROM sys.mqtt_subscriptions")) == [
        ["there", "$share/g/b/+", 2, False, None], ["there", "a/#", 1, False, None]]


def test_tables_show_retained_messages_and_payloads_to_who_asks(node):
    here = Client(node, "here")
    here.publish("line1/a", "eins", 1, retain=True)
    here.publish("line2/a", b"\xff\x00", 1, retain=True)
    assert sorted(sql(node, "SELECT topic, size, qos, age_s >= 0 AND age_s < 60 FROM sys.mqtt_retained")) == [
        ["line1/a", 4, 1, True], ["line2/a", 2, 1, True]]
    assert sorted(sql(node, "SELECT topic, payload FROM sys.mqtt_retained")) == [["line1/a", "eins"], ["line2/a", None]]
    assert [row[-1] for row in sql(node, "SELECT * FROM sys.mqtt_retained")] == [None, None]
    login = make_user(node, "one", [*OWN_TOPICS, SQL_RIGHT])
    assert sql(node, "SELECT topic FROM sys.mqtt_retained", login) == [["line1/a"]]
    node.kill9()
    node.start()
    assert sorted(sql(node, "SELECT topic, time, age_s FROM sys.mqtt_retained")) == [["line1/a", None, None], ["line2/a", None, None]]


def test_other_peoples_clients_are_for_who_may_list_them(node):
    login = make_user(node, "one", [*OWN_TOPICS, SQL_RIGHT])
    chief = make_user(node, "chief", [{"verbs": ["list"], "kinds": ["MqttClient"]}, SQL_RIGHT])
    Client(node, "mine", user="one", password="a-good-password").subscribe(("line1/#", 0))
    Client(node, "other").subscribe(("x", 0))
    ask = "SELECT client FROM sys.mqtt_clients ORDER BY 1"
    assert sql(node, ask, login) == [["mine"]] and sql(node, ask, chief) == [["mine"], ["other"]]
    assert sql(node, "SELECT filter FROM sys.mqtt_subscriptions", login) == [["line1/#"]]


def test_a_thousand_sessions_are_shown_while_they_come_and_go(node):
    def login(number):
        # with a token: checking a password is made to be slow
        user, password, name = b"admin", node.token().encode(), b"c%05d" % number
        body = b"\x00\x04MQTT\x04\xc2\x00\x3c" + b"".join(len(x).to_bytes(2, "big") + x for x in (name, user, password))
        one = socket.create_connection((HOST, node.mqtt_port))
        one.sendall(bytes([0x10, len(body)]) + body)
        return one

    open_ones = [login(number) for number in range(1000)]
    ask = "SELECT count(*), count(DISTINCT client) FROM sys.mqtt_clients"
    wait_for(lambda: sql(node, ask) == [[1000, 1000]], 60, "all of them")
    for number in range(0, 1000, 2):
        open_ones[number].close()
        if number % 100 == 0:
            shown = sql(node, ask)[0]
            assert shown[0] == shown[1] and shown[0] >= 500
    wait_for(lambda: sql(node, ask) == [[500, 500]], LIMIT_S, "half of them")
    for one in open_ones:
        one.close()


# ---- what is done ----

def call(node, method, path, body=None, login="admin", expect=200):
    status, answer = node.request(method, path, json.dumps(body) if body is not None else None, login)
    assert status == expect, answer
    return json.loads(answer) if answer else None


def audit(node):
    return sql(node, "SELECT user, verb, kind, path, detail, outcome FROM sys.audit WHERE kind LIKE 'Mqtt%' ORDER BY seq")


def test_clients_are_shown_sent_away_and_unsubscribed(node):
    there = Client(node, "a/b ü", clean=False, connect=False)
    there.connect(expiry=600)
    there.subscribe(("x/#", 1), ("$share/g/y", 0))
    closed = []
    there.paho.on_disconnect = lambda c, u, reason, properties=None: closed.append((getattr(reason, "value", reason), properties))
    one = "/v1/mqtt/clients/a%2Fb%20%C3%BC"
    assert [c["client"] for c in call(node, "GET", "/v1/mqtt/clients")["clients"]] == ["a/b ü"]
    shown = call(node, "GET", one)
    assert shown["version"] == "5.0" and shown["expirySeconds"] == 600 and shown["connected"]
    assert sorted(f["filter"] for f in shown["filters"]) == ["$share/g/y", "x/#"]
    call(node, "POST", one + "/unsubscribe", {"filter": "$share/g/y"}, expect=204)
    call(node, "POST", one + "/unsubscribe", {"filter": "$share/g/y"}, expect=404)
    assert [f["filter"] for f in call(node, "GET", one)["filters"]] == ["x/#"]
    call(node, "DELETE", one + "?reason=too%20loud", expect=204)
    wait_for(lambda: closed, LIMIT_S, "it is not sent away")
    assert closed[0][0] == 0x98 and closed[0][1].ReasonString == "too loud"
    there.paho.loop_stop()
    there.paho.disconnect()
    wait_for(lambda: not call(node, "GET", one)["connected"], LIMIT_S, "it is still there")
    call(node, "DELETE", one + "?session=true", expect=204)
    call(node, "GET", one, expect=404)
    call(node, "DELETE", one, expect=404)
    assert audit(node)[:3] == [["admin", "update", "MqttClient", "a/b ü", "$share/g/y", "asked"]] * 2 + [
        ["admin", "delete", "MqttClient", "a/b ü", "too loud", "asked"]]


def test_retained_messages_that_have_expired_are_gone(node_factory):
    node = mqtt_node(node_factory, "mqtt.maxRetained=3")

    def kept():
        return sorted(topic for topic, in node.sql("SELECT topic FROM sys.mqtt_retained WHERE topic LIKE 'a/%'"))
    c, soon = Client(node, "keeper"), Properties(PacketTypes.PUBLISH)
    soon.MessageExpiryInterval = 2
    c.publish("a/stays", "1", 1, retain=True)
    for i in range(2):
        c.publish(f"a/{i}", "1", 1, retain=True, properties=soon)
    assert kept() == ["a/0", "a/1", "a/stays"]
    node.kill9()
    node.start()
    wait_for(lambda: kept() == ["a/stays"], LIMIT_S, "still there")

    def is_kept(topic):  # it is counted until the walk over all of them has come by
        again.publish(topic, "1", 1, retain=True)
        return topic in kept()
    again = Client(node, "again")
    for i in range(2):
        wait_for(lambda: is_kept(f"a/new{i}"), LIMIT_S, "no place for it")
    assert kept() == ["a/new0", "a/new1", "a/stays"]
    again.close()
    c.close()


def test_messages_are_published_and_forgotten_over_http(node):
    there = Client(node, "there")
    there.subscribe(("p/#", 2))
    said = {"topic": "p/a", "payload": "hi", "qos": 1, "retain": True,
            "properties": {"contentType": "text/plain", "messageExpiry": 60, "user": {"a": "1", "b": "2"}}}
    assert call(node, "POST", "/v1/mqtt/publish", said) == {"subscribers": 1}
    assert call(node, "POST", "/v1/mqtt/publish", {"topic": "p/b", "payload64": "/wA="}) == {"subscribers": 1}
    assert call(node, "POST", "/v1/mqtt/publish", {"topic": "nobody", "payload": 1, "qos": 2}) == {"subscribers": 0}
    wait_for(lambda: len(there.got) == 2, LIMIT_S, "both")
    first = there.got[0]
    assert (first.payload, first.qos, first.properties.ContentType, first.properties.UserProperty) == (
        b"hi", 1, "text/plain", [("a", "1"), ("b", "2")])
    assert 50 < first.properties.MessageExpiryInterval <= 60 and there.got[1].payload == b"\xff\x00"
    node.kill9()
    node.start()
    kept = call(node, "GET", "/v1/mqtt/retained?topic=p/%2B&payload=true")
    assert [(m["topic"], m["size"], m["qos"], m["payload"]) for m in kept["retained"]] == [("p/a", 2, 1, "hi")] and not kept["more"]
    call(node, "DELETE", "/v1/mqtt/retained?topic=p/a", expect=204)
    assert call(node, "GET", "/v1/mqtt/retained")["retained"] == []
    assert audit(node) == [["admin", "delete", "MqttRetained", "p/a", "", "asked"]]
    for wrong in ({"topic": "a/+", "payload": ""}, {"topic": "", "payload": ""}, {"topic": "a", "qos": 3}, {"topic": "a", "payload": {}},
                  {"topic": "a", "payload64": "*"}, {"topic": "a", "properties": {"colour": "red"}},
                  {"topic": "data/a/t", "payload": "{}"}):
        call(node, "POST", "/v1/mqtt/publish", wrong, expect=400)


def test_what_nobody_may_is_refused_and_told(node):
    login = make_user(node, "one", OWN_TOPICS)
    Client(node, "other")
    call(node, "DELETE", "/v1/mqtt/clients/other", login=login, expect=403)
    call(node, "POST", "/v1/mqtt/clients/other/unsubscribe", {"filter": "x"}, login=login, expect=403)
    call(node, "GET", "/v1/mqtt/clients/other", login=login, expect=404)
    call(node, "POST", "/v1/mqtt/publish", {"topic": "line1/a", "payload": "x", "retain": True}, login=login)
    call(node, "POST", "/v1/mqtt/publish", {"topic": "line2/a", "payload": "x"}, login=login, expect=403)
    call(node, "POST", "/v1/mqtt/publish", {"topic": "$SYS/x", "payload": "x"}, expect=403)
    call(node, "DELETE", "/v1/mqtt/retained?topic=line2/a", login=login, expect=403)
    assert [m["topic"] for m in call(node, "GET", "/v1/mqtt/retained", login=login)["retained"]] == ["line1/a"]
    wait_for(lambda: len(audit(node)) >= 3, LIMIT_S, "not told")  # what is refused does not wait for its line
    assert [line[5] for line in audit(node)] == ["forbidden"] * 3


# ---- $SYS, the command line ----

def test_the_broker_tells_of_itself_under_sys(tuned):
    tuned.yaml.write_text("mqtt: {sysInterval: 1s}\n")
    hup(tuned, "reload: done")
    there, here = Client(tuned, "there"), Client(tuned, "here")
    there.subscribe(("$SYS/#", 1))

    def last(name):
        found = [m.payload.decode() for m in list(there.got) if m.topic == "$SYS/broker/" + name]
        return found[-1] if found else None

    for number in range(5):
        here.publish("a", f"{number}", 1)
    wait_for(lambda: last("publish/messages/received") == "5", LIMIT_S, "what came")
    wait_for(lambda: last("clients/connected") == "2" and float(last("load/publish/received/1min") or 0) > 0, LIMIT_S, "the others")
    assert last("version").startswith("millrace ") and last("uptime").endswith(" seconds")
    assert last("subscriptions/count") == "1"
    assert int(last("bytes/received")) > 100 and int(last("bytes/sent")) > 30 and float(last("load/bytes/sent/1min")) > 0
    wait_for(lambda: sum(m.topic.endswith("uptime") for m in list(there.got)) >= 3, LIMIT_S, "more of it")
    assert sum(m.topic.endswith("subscriptions/count") for m in there.got) <= 2, "told though it has not changed"
    assert call(tuned, "GET", "/v1/mqtt/retained")["retained"] == []
    assert len(call(tuned, "GET", "/v1/mqtt/retained?topic=$SYS/%23")["retained"]) > 10
    size = sql(tuned, "SELECT appended FROM sys.nodes")
    wait_for(lambda: sum(m.topic.endswith("uptime") for m in list(there.got)) >= 4, LIMIT_S, "more of it")
    assert sql(tuned, "SELECT appended FROM sys.nodes") == size, "$SYS is in the log"
    tuned.yaml.write_text("mqtt: {sysInterval: 0s, maxRetained: 2}\n")
    hup(tuned, "reload: done")
    wait_for(lambda: tuned.metric("millrace_mqtt_retained_messages") == 0, LIMIT_S, "they are still there")
    for number in range(3):
        here.publish(f"r/{number}", "x", 1, retain=True)
    assert tuned.metric("millrace_mqtt_retained_messages") == 2


@pytest.mark.parametrize("reason", ["%ff", "%C3%BC" * 200, "a%00b"], ids=["no UTF-8", "too long", "a zero byte"])
def test_a_reason_that_no_packet_can_hold_sends_nobody_away(node, reason):
    with contextlib.closing(Wire((HOST, node.mqtt_port), "5", timeout_s=10)) as wire:
        wire.send("CONNECT", id="there", user="admin", password=node.PASSWORD)
        assert wire.receive()[0] == "CONNACK"
        text = call(node, "DELETE", f"/v1/mqtt/clients/there?reason={reason}", expect=400)
        assert "reason" in text["error"]["message"]
        wire.send("PINGREQ")
        assert wire.receive()[0] == "PINGRESP"


def test_what_strangers_send_does_not_move_the_cursor(node):
    with contextlib.closing(Wire((HOST, node.mqtt_port), "5", timeout_s=10)) as wire:
        wire.send("CONNECT", id="evil\x1b[2Jname\x9b", user="admin", password=node.PASSWORD)
        assert wire.receive()[0] == "CONNACK"
        status, said = node.cli("mqtt", "clients")
    assert status == 0 and "evil?[2Jname" in said and "\x1b" not in said and "\x9b" not in said


def test_the_command_line_shows_kicks_and_publishes(node):
    there = Client(node, "there")
    there.subscribe(("a/#", 0))
    status, said = node.cli("mqtt", "clients")
    assert status == 0 and said.splitlines()[1].split()[:2] == ["there", "admin"]
    assert node.cli("mqtt", "publish", "a/b", "hello", "--retain") == (0, "1 subscribers\n")
    assert there.wait(1)[0][:2] == ("a/b", "hello")
    assert node.cli("mqtt", "kick", "nobody")[0] == 1
    assert node.cli("mqtt", "kick", "there", "--reason", "for once")[0] == 0
    assert node.cli("mqtt", "dance")[0] == 2


# ---- the trace ----

class Trace:
    """Reads a trace in the background."""

    def __init__(self, node, query):
        request = urllib.request.Request(f"{node.url}/v1/mqtt/trace?{query}", headers={"Authorization": f"Bearer {node.token()}"})
        self.answer, self.lines = OPENER.open(request, timeout=60), []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            for line in self.answer:
                self.lines.append(json.loads(line))
        except (OSError, ValueError, AttributeError):
            pass

    def wait(self, fits, what):
        return wait_for(lambda: next((x for x in list(self.lines) if fits(x)), None), LIMIT_S, what)


def test_a_client_is_traced_in_and_out_with_topics_sizes_and_reasons(node):
    one, all_of = Trace(node, "client=there"), Trace(node, "topic=t/%23")
    there, here = Client(node, "there"), Client(node, "here")
    there.subscribe(("t/#", 1), ("other", 0))
    here.publish("t/a", "secret", 1)
    here.publish("u/a", "secret", 1)
    there.wait(1)
    there.close()
    one.wait(lambda x: x["packet"] == "DISCONNECT", "its end")
    seen = [(x["direction"], x["packet"]) for x in one.lines]
    assert seen[:4] == [("in", "CONNECT"), ("out", "CONNACK"), ("in", "SUBSCRIBE"), ("out", "SUBACK")]
    assert one.lines[1]["reason"] == "success" and one.lines[2]["filters"] == ["t/#", "other"] and len(one.lines[3]["reasons"]) == 2
    came = one.wait(lambda x: x["packet"] == "PUBLISH", "the message")
    assert (came["direction"], came["topic"], came["qos"], came["payloadBytes"]) == ("out", "t/a", 1, 6) and came["bytes"] > 6
    assert all(x["client"] == "there" for x in one.lines) and "secret" not in json.dumps(one.lines)
    all_of.wait(lambda x: x["direction"] == "out", "the message")
    assert [(x["direction"], x["client"], x["topic"]) for x in all_of.lines if x["packet"] == "PUBLISH"] == [("in", "here", "t/a"), ("out", "there", "t/a")]


def test_a_trace_tells_why_a_login_is_refused(node):
    trace = Trace(node, "client=there")
    stranger = Wire((HOST, node.mqtt_port))
    stranger.send("CONNECT", id="there", user="admin", password="wrong")
    assert stranger.receive()[0] == "CONNACK"
    told = trace.wait(lambda x: x["packet"] == "CONNACK", "the answer")
    assert (told["direction"], told["client"], told["reason"]) == ("out", "there", "bad user name or password")


def test_a_trace_that_nobody_reads_drops_lines_and_says_so(node):
    here = Client(node, "here")
    with socket.create_connection((HOST, node.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(f"GET /v1/mqtt/trace?client=here HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {node.token()}\r\n\r\n".encode())
        assert b"200 OK" in slow.recv(100)
        topic = "x" * 1000
        for number in range(12000):
            here.paho.publish(topic, f"{number}", 0)
        here.publish("end", "x", 1)
        got = b""
        while b'{"dropped":' not in got:
            piece = slow.recv(65536)
            assert piece, "it is cut"
            got = got[-100:] + piece
    here.publish("still", "here", 1)
    # the place is free again
    wait_for(lambda: [Trace(node, "client=x") for _ in range(3)], LIMIT_S, "no trace any more")


def test_traces_are_few_for_who_may_and_end_with_the_node(node):
    login = make_user(node, "one", [*OWN_TOPICS, {"verbs": ["list"], "kinds": ["MqttClient"], "names": ["mine"]}])
    call(node, "GET", "/v1/mqtt/trace?topic=%23", login=login, expect=403)
    call(node, "GET", "/v1/mqtt/trace?client=other", login=login, expect=403)
    call(node, "GET", "/v1/mqtt/trace", expect=400)
    call(node, "GET", "/v1/mqtt/trace?topic=a%23", expect=400)
    traces = [Trace(node, "client=x") for _ in range(8)]
    call(node, "GET", "/v1/mqtt/trace?client=x", expect=429)
    assert node.stop() == 0, node.log()
    for trace in traces:
        trace.thread.join(LIMIT_S)
        assert not trace.thread.is_alive()


def test_a_long_list_comes_in_slices_and_whole(node_factory):
    node = mqtt_node(node_factory)
    client = Client(node, "many")
    wanted = [f"level/{'x' * 100}/{i:04d}" for i in range(900)]
    for at in range(0, len(wanted), 100):
        client.subscribe(*((f, 1) for f in wanted[at:at + 100]))
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    for path, key, count in (("/v1/mqtt/clients/many?limit=5000", "filters", 900), ("/v1/mqtt/clients/many?limit=10", "filters", 10),
                             ("/v1/mqtt/clients", "clients", 1), ("/v1/mqtt/retained", "retained", None), ("/v1/mqtt/bans", "bans", 0)):
        connection.request("GET", path, headers={"Authorization": "Bearer " + node.token()})
        answer = connection.getresponse()
        is_chunked = answer.getheader("Transfer-Encoding") == "chunked"
        said = json.loads(answer.read())
        assert answer.status == 200 and is_chunked == (count == 900) and said["more"] == (count == 10), said
        if count is not None:
            assert len(said[key]) == count
        if count == 900:
            assert sorted(f["filter"] for f in said[key]) == wanted and said["client"] == "many"
