"""Each namespace has a topic tree of its own, and a client lives in that of its user: what two of them share is nothing."""
import json
import os
import signal
import subprocess
import tarfile
import time

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from conftest import HOST, ROOT, free_port, wait_for
from mqtt_bulk import Bulk
from mqtt_client import LIMIT_S, Client, mqtt_node
from sparkplug import payload
from test_coap import coap
from test_mqtt_bridge import mosquitto  # noqa: F401 (a fixture)
from test_mqtt_ops import Trace
from test_mqtt_queue import save

PASSWORD = "a-long-password"


def put(node, kind, name, spec, ns=None, code=201):
    metadata = {"name": name, **({"namespace": ns} if ns else {})}
    path = f"/apis/millrace.io/v1/{'namespaces/' + ns + '/' if ns else ''}{kind.lower()}s"
    status, said = node.request("POST", path, json.dumps({"apiVersion": "millrace.io/v1", "kind": kind, "metadata": metadata, "spec": spec}))
    assert status == code, said
    return said


def user(node, name, ns, roles=("engineer",)):
    put(node, "User", name, {"roles": list(roles), "password": PASSWORD, "namespace": ns})


def move(node, name, ns):
    status, said = node.request("PATCH", f"/apis/millrace.io/v1/users/{name}", json.dumps({"spec": {"namespace": ns}}),
                                headers={"Content-Type": "application/merge-patch+json"})
    assert status == 200, said


@pytest.fixture(name="node")
def node_fixture(node_factory):
    node = mqtt_node(node_factory)
    user(node, "ann", "a")
    user(node, "bob", "b")
    return node


def client(node, name, who, connect=True, **more):
    return Client(node, name, user=who, password=PASSWORD, connect=connect, **more)


def pair(node, name, **more):
    return client(node, name, "ann", **more), client(node, name, "bob", **more)


def texts(one, count):
    return [m[1] for m in one.wait(count)]


def is_quiet(one, known=0, seconds=0):
    """Nothing more than `known` messages comes before one that it now, or after so many seconds, sends itself."""
    time.sleep(seconds)
    one.subscribe(("quiet", 1))
    one.publish("quiet", "", 1)
    place = wait_for(lambda: [n for n, m in enumerate(one.got) if m.topic == "quiet"], LIMIT_S, "it does not hear itself")
    del one.got[place[0]]
    one.paho.unsubscribe("quiet")
    return len(one.got) == known


def ends_of(one):
    """The reasons for which its connections end, from now on."""
    reasons = []
    one.paho.on_disconnect = lambda c, u, reason, *more: reasons.append(getattr(reason, "value", reason))
    return reasons


# ---- what two trees share is nothing ----

def test_a_document_without_a_namespace_is_of_its_paths(node):
    path = "/apis/millrace.io/v1/namespaces/a/tables"
    document = {"apiVersion": "millrace.io/v1", "kind": "Table", "metadata": {"name": "press"}, "spec": {"columns": [{"name": "v", "type": "double"}]}}
    for method, where, code in ("POST", "", 201), ("PUT", "/press", 200):
        status, said = node.request(method, path + where, json.dumps(document))
        assert status == code and json.loads(said)["metadata"]["namespace"] == "a", said
    document["metadata"]["namespace"] = "b"
    status, said = node.request("PUT", path + "/press", json.dumps(document))
    assert status == 422 and "metadata.namespace is b, the path says a" in said


def test_messages_reach_the_own_namespace_only(node):
    ann, bob = pair(node, "reader")
    for one in ann, bob:
        one.subscribe(("#", 1), ("line/+/temp", 2))
    client(node, "writer", "ann").publish("line/1/temp", "of-a", 1)
    client(node, "writer", "bob").publish("line/1/temp", "of-b", 1)
    assert texts(ann, 1) == ["of-a"] and texts(bob, 1) == ["of-b"]
    assert is_quiet(ann, 1) and is_quiet(bob, 1)
    admin = Client(node, "reader")
    admin.subscribe(("#", 1))
    admin.publish("line/1/temp", "of-default", 1)
    assert texts(admin, 1) == ["of-default"] and is_quiet(ann, 1)


def test_retained_messages_stay_in_their_namespace(node):
    for who in "ann", "bob":
        client(node, "writer", who).publish("state/x", f"of-{who}", 1, retain=True)
    ann, bob = pair(node, "reader")
    for one in ann, bob:
        one.subscribe(("state/#", 1))
    assert ann.wait(1) == [("state/x", "of-ann", 1, True)] and bob.wait(1) == [("state/x", "of-bob", 1, True)]
    client(node, "writer", "ann").publish("state/x", "", 1, retain=True)
    later = pair(node, "later")
    for one in later:
        one.subscribe(("state/#", 1))
    assert later[1].wait(1) == [("state/x", "of-bob", 1, True)] and is_quiet(later[0], seconds=0.3)


def test_shared_groups_of_one_name_are_two(node):
    members = [client(node, f"member{n}", who) for n in range(2) for who in ("ann", "bob")]
    for member in members:
        member.subscribe(("$share/team/jobs/#", SubscribeOptions(qos=1)))
    writer = client(node, "writer", "ann")
    for number in range(40):
        writer.publish("jobs/x", f"{number}", 1)
    wait_for(lambda: sum(len(m.got) for m in members) >= 40, LIMIT_S, "40 messages")
    assert [len(m.got) for m in members] == [20, 0, 20, 0]


def test_a_will_is_told_where_its_client_lived(node):
    ann, bob = pair(node, "reader")
    for one in ann, bob:
        one.subscribe(("will/#", 1))
    child = subprocess.Popen(["mosquitto_sub", "-p", str(node.mqtt_port), "-u", "ann", "-P", PASSWORD, "-i", "fragile", "-t", "x",
                              "--will-topic", "will/fragile", "--will-payload", "gone", "--will-qos", "1"])
    wait_for(lambda: node.metric("millrace_mqtt_sessions") == 3, LIMIT_S, "it does not connect")
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert ann.wait(1) == [("will/fragile", "gone", 1, False)] and is_quiet(bob)


def test_one_client_identifier_in_two_namespaces_is_two_sessions(node):
    ann, bob = pair(node, "same")
    assert is_quiet(ann) and is_quiet(bob) and ann.paho.is_connected() and bob.paho.is_connected()
    assert node.sql("SELECT namespace, user FROM sys.mqtt_clients WHERE client = 'same' ORDER BY namespace") == [["a", "ann"], ["b", "bob"]]
    again = client(node, "same", "ann")
    again.subscribe(("x", 0))
    assert bob.paho.is_connected()
    assert node.metric("millrace_mqtt_sessions") == 2


# ---- what survives ----

def keep(node, who):
    one = client(node, "keeper", who, connect=False, clean=False)
    one.connect(expiry=3600)
    one.subscribe(("off/#", 2))
    one.close()


def check_kept(node):
    for who in "ann", "bob":
        one = client(node, "keeper", who, connect=False, clean=False)
        assert one.connect(expiry=3600) == (0, {"session present": 1})
        assert sorted(texts(one, 50)) == sorted(f"{who}{n}" for n in range(50))  # paho shows QoS 2 when it is released
        new = client(node, "new", who)
        new.subscribe(("kept/#", 1))
        assert new.wait(1) == [("kept/x", f"by-{who}", 1, True)]
        assert is_quiet(one, 50, 0.2) and is_quiet(new, 1, 0.2)
        new.close()
        one.close()


@pytest.mark.parametrize("way", ["stop", "kill -9", "kill -9 behind a snapshot"])
def test_both_namespaces_survive(node, way):
    for who in "ann", "bob":
        keep(node, who)
    for who in "ann", "bob":
        writer = client(node, "writer", who)
        for number in range(50):
            writer.publish("off/x", f"{who}{number}", 1 + number % 2 * (way != "stop"))
        writer.publish("kept/x", f"by-{who}", 1, retain=True)
        writer.close()
        if way.endswith("snapshot") and who == "ann":
            save(node)
    if way == "stop":
        node.restart()
    else:
        node.kill9()
        node.start()
    check_kept(node)


# ---- its user's namespace changes ----

def test_a_user_that_moves_is_sent_away_and_comes_back_elsewhere(node):
    ann, bob = pair(node, "reader")
    reasons = ends_of(ann)
    move(node, "ann", "b")
    wait_for(lambda: reasons, LIMIT_S, "it stays")
    assert reasons[0] == 0x98  # administrative action
    ann.paho.loop_stop()
    again = client(node, "moved", "ann")
    again.subscribe(("x", 1))
    bob.publish("x", "hello", 1)
    assert texts(again, 1) == ["hello"]
    assert node.sql("SELECT namespace FROM sys.mqtt_clients WHERE client = 'moved'") == [["b"]]


def test_what_moves_nobody_disturbs_nobody(node):
    ann = client(node, "reader", "ann")
    ann.subscribe(("x", 1))
    status, said = node.request("PATCH", "/apis/millrace.io/v1/users/ann", json.dumps({"spec": {"description": "new"}}),
                                headers={"Content-Type": "application/merge-patch+json"})
    assert status == 200, said
    assert is_quiet(ann, 0, 2.5) and ann.paho.is_connected() and len(ann.reasons) == 1


def test_a_namespace_that_is_none_is_refused_by_name(node):
    said = put(node, "User", "eve", {"roles": [], "namespace": "No Such"}, code=422)
    assert "spec.namespace" in said and "No Such" in said and "leave it out for 'default'" in said


# ---- what happens to a message beside being delivered ----

def sql(node, ns, text, login="admin"):
    status, answer = node.request("POST", f"/v1/sql?ns={ns}", text, token=login)
    assert status == 200, f"{text}: {status} {answer}"
    return json.loads(answer)["rows"]


def test_rows_go_to_the_table_of_the_clients_namespace(node):
    for who, value in ("ann", 1), ("bob", 2):
        client(node, "meter", who).publish("data/line1/meter", json.dumps({"v": value}), 1)
    assert sql(node, "a", "SELECT device, v FROM meter") == [["line1", 1]]
    assert sql(node, "b", "SELECT device, v FROM meter") == [["line1", 2]]
    assert node.request("POST", "/v1/sql", "SELECT * FROM meter")[0] == 404, "default has none"


def test_dead_letters_appear_where_their_message_came(node):
    readers = pair(node, "reader")
    for one in readers:
        one.subscribe(("$dead/#", 1))
    client(node, "meter", "ann").publish("data/line1/meter", "no rows", 1)
    assert readers[0].wait(1)[0][:2] == ("$dead/data/line1/meter", "no rows") and is_quiet(readers[1])


def test_commands_reach_equipment_of_the_own_namespace_only(node_factory, plantsim):
    node = mqtt_node(node_factory)
    user(node, "ann", "a")
    user(node, "bob", "b")
    put(node, "Connection", "plc", {"driver": "modbus", "endpoint": f"tcp://{plantsim.host}:{plantsim.port}"}, "a")
    put(node, "Table", "press", {"columns": [{"name": "setpoint", "type": "double"}]}, "a")
    put(node, "Device", "press01", {"path": "press01", "table": "press", "connection": "plc", "points": [
        {"column": "setpoint", "address": "1!400001", "type": "int16", "scale": 0.1, "access": "rw"}]}, "a")

    def ask(who):
        asker = client(node, "asker", who)
        asker.subscribe(("cmd/+/+/reply", 1))
        asker.publish("cmd/press01/setpoint", '{"value": 50}', 1)
        return json.loads(asker.wait(1)[0][1])
    refused, done = ask("bob"), ask("ann")
    assert refused["ok"] is False and "press01" in refused["error"] and done["ok"] is True
    assert sorted(node.sql("SELECT user, namespace FROM sys.audit WHERE verb = 'write-point' AND outcome = 'asked'")) == [["ann", "a"], ["bob", "b"]]
    births = client(node, "births", "ann")
    births.subscribe(("spBv1.0/g/DBIRTH/#", 1))
    put(node, "Sink", "edge", {"table": "press", "mqtt": {"format": "sparkplug", "group": "g", "edge": "e", "writes": True}}, "a")
    wait_for(lambda: births.got, LIMIT_S, "no birth")
    command = payload({"name": "setpoint", "type": "Double", "value": 60.0}, ts=1)
    known = node.metric("millrace_mqtt_commands_total")
    client(node, "host", "bob").publish("spBv1.0/g/DCMD/e/press01", command, 1)
    assert node.metric("millrace_mqtt_commands_total") == known, "in b it is a message like another"
    client(node, "host", "ann").publish("spBv1.0/g/DCMD/e/press01", command, 1)
    wait_for(lambda: sql(node, "a", "SELECT last(setpoint) FROM press") == [[60.0]], LIMIT_S, "not written")


def test_a_stream_takes_messages_of_its_namespace(node):
    put(node, "Stream", "press", {"filter": "gw/+", "device": "{2}", "table": "presses", "columns": [{"name": "v", "path": "$.v"}]}, "b")
    readers = pair(node, "reader")
    for one in readers:
        one.subscribe(("$dead/#", 1))
    for who in "ann", "bob":
        here = client(node, "gw", who)
        here.publish("gw/p1", json.dumps({"v": who}), 1)
        here.publish("gw/p1", "broken", 1)
    assert sql(node, "b", "SELECT device, v FROM presses") == [["p1", "bob"]]
    assert readers[1].wait(1)[0][:2] == ("$dead/gw/p1", "broken") and is_quiet(readers[0])
    assert node.request("POST", "/v1/sql?ns=a", "SELECT * FROM presses")[0] == 404


def test_the_state_of_a_sparkplug_host_is_told_in_its_namespace(node):
    put(node, "Stream", "host", {"filter": "spBv1.0/#", "format": "sparkplug", "sparkplug": {"hostId": "h1"}}, "b")
    ann, bob = pair(node, "reader")
    for one in ann, bob:
        one.subscribe(("spBv1.0/STATE/#", 1))
    assert json.loads(bob.wait(1)[0][1])["online"] is True and is_quiet(ann)


def test_a_sink_publishes_in_its_namespace(node):
    put(node, "Table", "meter", {"columns": [{"name": "v", "type": "double"}]}, "b")
    put(node, "Sink", "out", {"table": "meter", "mqtt": {"topic": "out/{device}"}}, "b")
    ann, bob = pair(node, "reader")
    admin = Client(node, "reader")
    for one in ann, bob, admin:
        one.subscribe(("out/#", 1))
    wait_for(lambda: node.sql("SELECT state FROM sys.sinks WHERE name = 'out'"), LIMIT_S, "no sink")
    time.sleep(0.5)
    client(node, "meter", "bob").publish("data/line1/meter", '{"v": 7}', 1)
    topic, text = bob.wait(1)[0][:2]
    assert topic == "out/line1" and json.loads(text)["v"] == 7 and is_quiet(ann) and is_quiet(admin)


def test_an_edge_node_hears_the_rebirth_that_is_asked_in_its_namespace(node):
    put(node, "Table", "meter", {"columns": [{"name": "v", "type": "double"}]}, "b")
    put(node, "Sink", "edge", {"table": "meter", "mqtt": {"format": "sparkplug", "group": "g", "edge": "e"}}, "b")
    ann, bob = pair(node, "reader")
    for one in ann, bob:
        one.subscribe(("spBv1.0/g/NBIRTH/e", 0))
    wait_for(lambda: node.sql("SELECT state FROM sys.sinks WHERE name = 'edge'"), LIMIT_S, "no sink")
    time.sleep(0.5)
    bob.publish("data/line1/meter", '{"v": 7}', 1)
    wait_for(lambda: len(bob.got) >= 1, LIMIT_S, "no birth")
    rebirth = payload({"name": "Node Control/Rebirth", "type": "Boolean", "value": True})
    ann.publish("spBv1.0/g/NCMD/e", rebirth)
    assert is_quiet(bob, 1, 1.5)
    bob.publish("spBv1.0/g/NCMD/e", rebirth)
    wait_for(lambda: len(bob.got) >= 2, LIMIT_S, "no rebirth")
    assert is_quiet(ann)


def test_a_bridge_carries_messages_of_its_namespace(node, mosquitto):  # noqa: F811
    peer = mosquitto()
    put(node, "Bridge", "plant", {"endpoint": f"tcp://{HOST}:{peer.port}", "topics": [{"filter": "both/#", "direction": "both", "qos": 1}]}, "b")
    wait_for(lambda: node.sql("SELECT state FROM sys.bridges WHERE name = 'plant'") == [["connected"]], LIMIT_S, "not connected")
    there = Client(peer, "there", user=None)
    ann, bob = pair(node, "here")
    for one in there, ann, bob:
        one.subscribe(("both/#", 1))
    time.sleep(0.5)  # its SUBACK
    ann.publish("both/x", "of-a", 1)
    bob.publish("both/x", "of-b", 1)
    assert texts(there, 1) == ["of-b"]
    there.publish("both/y", "back", 1)
    assert texts(bob, 2) == ["of-b", "back"]
    assert texts(ann, 1) == ["of-a"] and is_quiet(bob, 2, 0.7) and is_quiet(ann, 1)
    assert node.sql("SELECT namespace FROM sys.mqtt_clients WHERE client = '$bridge/b.plant'") == [["b"]]


# ---- who may look at what ----

def test_a_role_of_one_namespace_sees_and_does_nothing_in_another(node):
    put(node, "Role", "of-a", {"rules": [{"verbs": ["list", "get", "update", "delete"], "kinds": ["MqttClient"], "namespaces": ["a"]},
                                         {"verbs": ["publish", "subscribe", "query"], "namespaces": ["a"]}]})
    put(node, "User", "ann2", {"roles": ["of-a"], "password": PASSWORD, "namespace": "a"})
    login = f"ann2:{PASSWORD}"
    for who in "ann", "bob":
        one = client(node, f"of-{who}", who)
        one.subscribe(("x/#", 1))
        one.publish("kept/x", f"by-{who}", 1, retain=True)

    def get(path):
        status, text = node.request("GET", path, token=login)
        return status, json.loads(text)
    assert [(c["client"], c["namespace"]) for c in get("/v1/mqtt/clients?ns=a")[1]["clients"]] == [("of-ann", "a")]
    assert get("/v1/mqtt/clients?ns=b")[1]["clients"] == [] and get("/v1/mqtt/clients")[1]["clients"] == []
    assert get("/v1/mqtt/clients/of-ann?ns=a")[0] == 200 and get("/v1/mqtt/clients/of-bob?ns=b")[0] == 404
    assert [m["topic"] for m in get("/v1/mqtt/retained?ns=a")[1]["retained"]] == ["kept/x"]
    assert get("/v1/mqtt/retained?ns=b")[1]["retained"] == []
    for table, wanted in ("mqtt_clients", [["a", "of-ann"]]), ("mqtt_subscriptions", [["a", "of-ann"]]):
        assert sql(node, "a", f"SELECT namespace, client FROM sys.{table}", login) == wanted
    assert sql(node, "a", "SELECT namespace, topic, payload FROM sys.mqtt_retained", login) == [["a", "kept/x", "by-ann"]]
    message = json.dumps({"topic": "x/y", "payload": "p"})
    assert node.request("POST", "/v1/mqtt/publish?ns=b", message, token=login)[0] == 403
    assert node.request("POST", "/v1/mqtt/publish", message, token=login)[0] == 403
    assert node.request("POST", "/v1/mqtt/publish?ns=a", message, token=login) == (200, '{"subscribers":1}')
    assert node.request("DELETE", "/v1/mqtt/retained?topic=kept/x&ns=b", token=login)[0] == 403
    assert node.request("DELETE", "/v1/mqtt/clients/of-bob?ns=b", token=login)[0] == 403
    assert node.request("POST", "/v1/mqtt/clients/of-bob/unsubscribe?ns=b", '{"filter": "x/#"}', token=login)[0] == 403
    assert node.request("GET", "/v1/mqtt/trace?client=of-bob&ns=b", token=login)[0] == 403
    assert node.request("POST", "/v1/mqtt/clients/of-ann/unsubscribe?ns=a", '{"filter": "x/#"}', token=login)[0] == 204
    assert node.request("DELETE", "/v1/mqtt/clients/of-ann?ns=a", token=login)[0] == 204
    # over MQTT his rights end there, too, wherever he is put
    assert client(node, "one", "ann2").subscribe(("x", 1)) == [1]
    move(node, "ann2", "b")
    wait_for(lambda: client(node, "two", "ann2").subscribe(("x", 1)) == [135], LIMIT_S, "he reads in b")


def test_an_admin_sees_and_reaches_all_of_them(node):
    ann, bob = pair(node, "same")
    ann.subscribe(("x", 1))
    assert node.sql("SELECT namespace, client FROM sys.mqtt_clients ORDER BY namespace") == [["a", "same"], ["b", "same"]]
    assert node.cli("mqtt", "clients", "-n", "a")[1].splitlines()[1].split()[:2] == ["same", "ann"]
    assert len(node.cli("mqtt", "clients")[1].splitlines()) == 1
    assert node.cli("mqtt", "publish", "x", "hello", "-n", "a") == (0, "1 subscribers\n")
    assert node.cli("mqtt", "publish", "x", "hello") == (0, "0 subscribers\n")
    assert texts(ann, 1) == ["hello"]
    assert node.cli("mqtt", "kick", "same")[0] == 1
    ends = ends_of(ann), ends_of(bob)
    assert node.cli("mqtt", "kick", "same", "-n", "b")[0] == 0
    wait_for(lambda: ends[1], LIMIT_S, "it is still connected")
    assert ends == ([], [0x98])
    assert node.request("POST", "/v1/mqtt/publish?ns=No%20Such", json.dumps({"topic": "x", "payload": "p"}))[0] == 400


def test_a_trace_shows_clients_of_its_namespace(node):
    trace = Trace(node, "topic=%23&ns=b")
    for who in "ann", "bob":
        client(node, "same", who).publish("t/x", who, 1)
    trace.wait(lambda x: x["packet"] == "PUBLISH", "the message")
    assert [x["payloadBytes"] for x in trace.lines if x["packet"] == "PUBLISH"] == [3] and len(trace.lines) == 1


def test_sys_topics_are_told_in_default_alone(node_factory):
    node = mqtt_node(node_factory, "mqtt.sysInterval=1s")
    user(node, "ann", "a", ["admin"])
    ann, admin = client(node, "reader", "ann"), Client(node, "reader")
    for one in ann, admin:
        one.subscribe(("$SYS/#", 0))
    admin.wait(10)
    assert is_quiet(ann)


# ---- what a program without namespaces has written ----

def test_a_state_of_format_1_opens_as_default(node_factory, tmp_path):
    """test/corpus/mqtt_state/format-1.tar.xz: a data folder as a kill -9 left it: kept sessions with short and long queues, a member
    of a shared group, retained messages, a Bridge of namespace b whose peer was away; in mqtt/state, queue files and notes behind."""
    node = mqtt_node(node_factory, "mqtt.queue.memory=16KiB", start=False)
    with tarfile.open(os.path.join(ROOT, "test", "corpus", "mqtt_state", "format-1.tar.xz")) as archive:
        archive.extractall(os.path.dirname(node.data))
    node.start()
    ask = "SELECT namespace, client, queued FROM sys.mqtt_clients WHERE client <> 'bulk' ORDER BY namespace, client"
    wanted = [["b", "$bridge/b.plant", 1], ["default", "long", 3100], ["default", "member", 1], ["default", "short", 20]]
    assert node.sql(ask) == wanted
    assert sorted(node.sql("SELECT namespace, topic, payload FROM sys.mqtt_retained")) == [
        ["default", "kept/x", "retained"], ["default", "late/x", "behind the snapshot"]]
    node.restart()  # what is there now is of the new format
    assert node.sql(ask) == wanted
    short = Client(node, "short", connect=False, clean=False)
    assert short.connect(expiry=3600) == (0, {"session present": 1})
    assert sorted(int(x) for x in texts(short, 20)) == list(range(20))
    long = Bulk((HOST, node.mqtt_port), "long", "admin", node.PASSWORD)
    assert long.present and long.receive(3100) == [b"%06d" % i for i in range(3100)]
    Client(node, "writer").publish("jobs/x", "more", 1)
    member = Client(node, "member", connect=False, clean=False)
    assert member.connect(expiry=3600)[1] == {"session present": 1} and texts(member, 2) == ["work", "more"]


def test_a_coap_client_and_a_token_live_where_their_user_does(node_factory):
    port = free_port()
    node = mqtt_node(node_factory, f"listen.coap={HOST}:{port}")
    node.coap_port = port
    user(node, "ann", "a")
    token = json.loads(put(node, "Token", "of-ann", {"user": "ann"}))["status"]["token"]
    ann = Client(node, "reader", user="whoever", password=token)
    admin = Client(node, "reader")
    for one in ann, admin:
        one.subscribe(("x", 1))
    assert coap(node, "put", "x", "-e", "hello", query=f"?u=ann&p={PASSWORD}") == ""
    assert texts(ann, 1) == ["hello"] and is_quiet(admin)
    assert coap(node, "get", "x", query=f"?u=ann&p={PASSWORD}") == "hello" and coap(node, "get", "x").startswith("4.04")


def test_bridges_whose_names_read_the_same_are_two(node):
    """Of a.b and c, and of a and b.c, namespace and name give the same text."""
    for ns, name in ("a.b", "c"), ("a", "b.c"):
        put(node, "Bridge", name, {"endpoint": f"tcp://{HOST}:1", "topics": [{"filter": "x"}]}, ns)
    wait_for(lambda: len(node.sql("SELECT * FROM sys.bridges")) == 2, LIMIT_S, "there are not two")
    assert sorted(node.sql("SELECT namespace, name FROM sys.bridges")) == [["a", "b.c"], ["a.b", "c"]]
    client(node, "writer", "ann").publish("x", "waits", 1)
    assert sorted(node.sql("SELECT namespace, queued FROM sys.bridges")) == [["a", 1], ["a.b", 0]]
    assert node.request("DELETE", "/apis/millrace.io/v1/namespaces/a.b/bridges/c")[0] == 200
    wait_for(lambda: node.sql("SELECT namespace, queued FROM sys.bridges") == [["a", 1]], LIMIT_S, "not the right one went")
