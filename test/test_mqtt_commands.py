"""Writes to equipment that are asked for by MQTT, under cmd/."""
import json
import time

import pytest

from conftest import HOST, free_port, wait_for
from mqtt_client import LIMIT_S, Client
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SETPOINT = "cmd/press01/setpoint"


@pytest.fixture(name="plant")
def plant_fixture(node_factory, plantsim, tmp_path):
    """A node with a press whose set point and lamp may be written."""
    path = tmp_path / "plant.yaml"
    path.write_text(f"""apiVersion: millrace.io/v1
kind: Connection
metadata: {{name: plc}}
spec: {{driver: modbus, endpoint: "tcp://{plantsim.host}:{plantsim.port}"}}
---
apiVersion: millrace.io/v1
kind: Table
metadata: {{name: press}}
spec: {{columns: [{{name: setpoint, type: double}}, {{name: lamp, type: bool}}, {{name: fixed, type: double}}]}}
---
apiVersion: millrace.io/v1
kind: Device
metadata: {{name: press01}}
spec:
  path: press01
  table: press
  connection: plc
  interval: 200ms
  points:
    - {{column: setpoint, address: "1!400001", type: int16, scale: 0.1, access: rw, min: 0, max: 250}}
    - {{column: lamp, address: "1!000001", type: bit, access: rw}}
    - {{column: fixed, address: "1!400002", type: int16}}
""", encoding="utf-8")
    port = free_port()
    node = node_factory(manifests=[str(path)], settings=[f"listen.mqtt={HOST}:{port}"])
    node.mqtt_port = port
    return node


def ask(client, topic, body, **more):
    """Publishes and waits for the answer on …/reply."""
    known = len(client.got)
    client.publish(topic, json.dumps(body) if not isinstance(body, (str, bytes)) else body, 1, **more)
    wait_for(lambda: len([m for m in client.got[known:] if m.topic == topic + "/reply"]) == 1, LIMIT_S, "no reply")
    return json.loads([m for m in client.got[known:] if m.topic == topic + "/reply"][0].payload)


def asker(plant, name="asker", user="admin", password=None):
    client = Client(plant, name, user=user, password=password)
    client.subscribe(("cmd/+/+/reply", 1))
    return client


def test_a_command_is_carried_out_read_back_and_answered(plant):
    client = asker(plant)
    answer = ask(client, SETPOINT, {"value": 81.5, "id": 7, "reason": "trial"})
    assert answer["id"] == 7 and answer["ok"] is True and answer["value"] == 81.5 and answer["readBack"] == 81.5
    wait_for(lambda: plant.sql("SELECT last(setpoint) FROM press") == [[81.5]], LIMIT_S, "not read back by polling")
    assert ask(client, "cmd/press01/lamp", {"value": True, "id": "a b"}) == {"id": "a b", "ok": True, "value": True, "readBack": True}
    audit = plant.sql("SELECT user, verb, path, detail FROM sys.audit WHERE verb = 'write-point' ORDER BY time")
    assert ["admin", "write-point", "press01", "setpoint = 81.5: trial (MQTT client asker)"] in audit


@pytest.mark.parametrize("topic,body,part", [
    (SETPOINT, {"value": 300, "id": 1}, "250"),
    ("cmd/press01/fixed", {"value": 3}, "read only"),
    ("cmd/press01/nothing", {"value": 3}, "nothing"),
    ("cmd/press09/setpoint", {"value": 3}, "press09"),
    (SETPOINT, {"id": 3}, "value"),
    (SETPOINT, "81", "value"),
    (SETPOINT, "{", ""),
    (SETPOINT, {"value": [1]}, "value"),
    (SETPOINT, {"value": "hot"}, ""),
])
def test_what_cannot_be_written_is_answered_with_the_reason(plant, topic, body, part):
    answer = ask(asker(plant), topic, body)
    assert answer["ok"] is False and part in answer["error"], answer
    assert answer["id"] == (body.get("id") if isinstance(body, dict) else None)


def test_the_answer_goes_to_the_response_topic_with_its_correlation_data(plant):
    client = asker(plant)
    client.subscribe(("mine/#", 1))
    wanted = Properties(PacketTypes.PUBLISH)
    wanted.ResponseTopic, wanted.CorrelationData = "mine/answers", b"\x00\xff7"
    assert ask(client, SETPOINT, {"value": 20.5, "id": None}, properties=wanted)["ok"]
    wait_for(lambda: [m for m in client.got if m.topic == "mine/answers"], LIMIT_S, "no answer there")
    message = [m for m in client.got if m.topic == "mine/answers"][0]
    assert json.loads(message.payload)["value"] == 20.5 and message.properties.CorrelationData == b"\x00\xff7"


def make_user(plant, name, rules):
    role = {"apiVersion": "millrace.io/v1", "kind": "Role", "metadata": {"name": name}, "spec": {"rules": rules}}
    assert plant.request("POST", "/apis/millrace.io/v1/roles", json.dumps(role), headers={"Content-Type": "application/json"})[0] == 201
    code, out = plant.cli("user", "add", name, "--role", name)
    assert code == 0, out
    code, out = plant.cli("token", "create", name + "-token", "--user", name, "--json")
    assert code == 0, out
    return json.loads(out)["token"]


def test_the_right_to_publish_is_not_the_right_to_write(plant):
    topics = {"verbs": ["publish", "subscribe"], "paths": ["cmd/#", "secret/#"]}
    token = make_user(plant, "sender", [topics])
    answer = ask(asker(plant, "s", "sender", token), SETPOINT, {"value": 33, "id": 1})
    assert answer["ok"] is False and "write-point" in answer["error"], answer
    token = make_user(plant, "writer", [topics, {"verbs": ["write-point"], "kinds": ["Device"], "namespaces": ["default"]}])
    assert ask(asker(plant, "w", "writer", token), SETPOINT, {"value": 34, "id": 1})["ok"] is True
    denied = plant.sql("SELECT user, outcome FROM sys.audit WHERE verb = 'write-point' AND user = 'sender'")
    assert denied and "may not" in denied[0][1]


def test_nobody_makes_the_node_publish_where_he_may_not(plant):
    token = make_user(plant, "narrow", [{"verbs": ["publish", "subscribe"], "paths": ["cmd/#"]},
                                        {"verbs": ["write-point"], "kinds": ["Device"], "namespaces": ["default"]}])
    watch = Client(plant, "watch")
    watch.subscribe(("elsewhere/#", 1))
    wanted = Properties(PacketTypes.PUBLISH)
    wanted.ResponseTopic = "elsewhere/x"
    assert ask(asker(plant, "n", "narrow", token), SETPOINT, {"value": 35}, properties=wanted)["ok"]
    watch.publish("elsewhere/end", "end", 1)
    assert [m[0] for m in watch.wait(1)] == ["elsewhere/end"]


def test_a_retained_message_and_a_reply_ask_for_nothing(plant):
    client = asker(plant)
    before = plant.sql("SELECT count(*) FROM sys.audit WHERE verb = 'write-point'")
    assert "retain" in ask(client, SETPOINT, {"value": 44}, retain=True)["error"]
    client.publish(SETPOINT, "", 1, retain=True)
    client.publish(SETPOINT + "/reply", json.dumps({"value": 45}), 1)
    status, text = plant.request("POST", "/v1/mqtt/publish", json.dumps({"topic": SETPOINT, "payload": '{"value": 46}'}))
    assert status >= 400, text
    assert plant.sql("SELECT count(*) FROM sys.audit WHERE verb = 'write-point'") == before


def test_through_a_bridge_equipment_is_written_only_where_the_bridge_says_so(plant, node_factory, tmp_path):
    port = free_port()
    cloud = node_factory(settings=[f"listen.mqtt={HOST}:{port}"])
    cloud.mqtt_port = port
    asks = asker(cloud)
    for commands in (False, True):
        document = {"apiVersion": "millrace.io/v1", "kind": "Bridge", "metadata": {"name": "cloud"},
                    "spec": {"endpoint": f"tcp://{HOST}:{port}", "user": "admin", "password": cloud.PASSWORD, "commands": commands,
                             "topics": [{"direction": "in", "filter": "cmd/#"}, {"filter": "cmd/+/+/reply"}]}}
        (tmp_path / "bridge.json").write_text(json.dumps(document), encoding="utf-8")
        code, out = plant.cli("apply", "-f", str(tmp_path / "bridge.json"))
        assert code == 0, out
        wait_for(lambda: plant.sql("SELECT state FROM sys.bridges") == [["connected"]], LIMIT_S, "not connected")
        wait_for(lambda: asked_until(asks, commands), LIMIT_S, "the setting does not count")


def asked_until(asks, commands):
    """Whether the far node answers as it should: a changed Bridge connects anew. The near one, which has no such device, answers as well."""
    known = len(asks.got)
    asks.publish(SETPOINT, json.dumps({"value": 51.5, "id": 1}), 1)
    patience = time.monotonic() + 2
    while len(asks.got) < known + 2 and time.monotonic() < patience:
        time.sleep(0.05)  # it may not be connected yet
    answers = [json.loads(m.payload) for m in asks.got[known:]]
    return any(answer["ok"] if commands else "commands:" in answer.get("error", "") for answer in answers)
