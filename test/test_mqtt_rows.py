"""Rows by MQTT: what is published under data/ is stored, and is a message like any other as well."""
import json
import socket
import struct

import pytest

from conftest import HOST, wait_for
from mqtt_client import LIMIT_S, Client, mqtt_node


@pytest.fixture(name="node")
def node_fixture(node_factory):
    return mqtt_node(node_factory)


def test_rows_are_stored_and_delivered(node):
    there, here = Client(node, "there"), Client(node, "here")
    there.subscribe(("data/#", 1))
    here.publish("data/line3/press07/press", '{"time":"2026-01-02T03:04:05Z","temperature":21.5,"running":true}', 1)
    here.publish("data/line3/press08/press", '[{"time":1767323046000,"temperature":1},{"time":1767323047000,"temperature":2}]', 2)
    assert node.sql("SELECT device, time, temperature, running FROM press ORDER BY device, time") == [
        ["line3/press07", "2026-01-02T03:04:05Z", 21.5, True], ["line3/press08", "2026-01-02T03:04:06Z", 1, None],
        ["line3/press08", "2026-01-02T03:04:07Z", 2, None]]
    assert [m[0] for m in there.wait(2)] == ["data/line3/press07/press", "data/line3/press08/press"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_rows_without_a_time_are_rows_of_their_own(node, qos):
    here = Client(node, "here", "3.1.1")
    for number in range(500):
        here.paho.publish("data/d1/t", json.dumps({"n": number}), qos)
    here.publish("data/d1/t", '[{"n":500},{"n":501}]', 1)
    wait_for(lambda: node.sql("SELECT count(*) FROM t") == [[502]], LIMIT_S, "502 rows")
    assert node.sql("SELECT n FROM t ORDER BY time") == [[n] for n in range(502)]


def test_what_is_no_row_goes_to_the_dead_with_a_reason(node):
    there, here = Client(node, "there"), Client(node, "here")
    there.subscribe(("$dead/#", 1), ("data/#", 1))
    here.publish("data/d/t", '{"v":1}', 1)
    bad = {"data/d/t": ["not json", "{", '{"v":"text"}', "", "[]", '[{"v":2},{"v":"x"},{"v":3}]'], "data/d": ['{"v":1}'], "data//t": ['{"v":1}']}
    for topic, payloads in bad.items():
        for payload in payloads:
            here.publish(topic, payload, 1)
    count = sum(len(p) for p in bad.values())
    wait_for(lambda: sum(m.topic.startswith("$dead/") for m in there.got) >= count, LIMIT_S, "dead letters")
    dead = [m for m in there.got if m.topic.startswith("$dead/")]
    assert sorted((m.topic, m.payload.decode()) for m in dead) == sorted(("$dead/" + t, p) for t, l in bad.items() for p in l)
    assert all(name == "reason" and text for m in dead for name, text in m.properties.UserProperty)
    assert sum(m.topic.startswith("data/") for m in there.got) == count + 1
    assert node.sql("SELECT v FROM t ORDER BY v") == [[1], [2], [3]]  # the good rows of a message stay
    assert node.metric("millrace_mqtt_dead_total") == count and node.metric("millrace_mqtt_rows_total") == 3


@pytest.mark.parametrize("prefix", ["", "acme/sz"])
def test_a_row_of_another_device_or_of_nothing_is_none(node_factory, prefix):
    node = mqtt_node(node_factory, *([f"node.path={prefix}"] if prefix else []))
    here = Client(node, "here")
    here.subscribe(("$dead/#", 1))
    path = prefix + "/d" if prefix else "d"
    good = ['{"v":1,"device":"d"}', json.dumps({"v": 2, "device": path}), '{"time":1000}']
    bad = {'{"v":3,"device":"e"}': '"device" is "e" and the topic says d', "{}": "holds no value", '[{"v":4},{}]': "holds no value"}
    for payload in (*good, *bad):
        here.publish("data/d/t", payload, 1)
    wait_for(lambda: len(here.got) >= len(bad), LIMIT_S, "dead letters")
    for message, (payload, reason) in zip(here.got, bad.items()):
        assert message.payload.decode() == payload and reason in message.properties.UserProperty[0][1]
    assert node.sql("SELECT device, v FROM t ORDER BY v") == [[path, 1], [path, 2], [path, 4], [path, None]]


def test_who_may_not_write_rows_writes_none(node):
    code, out = node.cli("user", "add", "pub", "--role", "viewer", "--json")
    assert code == 0, out
    role = {"apiVersion": "millrace.io/v1", "kind": "Role", "metadata": {"name": "line3"},
            "spec": {"rules": [{"verbs": ["publish"], "paths": ["data/#"]}, {"verbs": ["ingest"], "paths": ["line3/#"]}]}}
    assert node.request("POST", "/apis/millrace.io/v1/roles", json.dumps(role), headers={"Content-Type": "application/json"})[0] == 201
    code, out = node.cli("user", "add", "lin", "--role", "line3", "--json")
    assert code == 0, out
    lin = Client(node, "lin", user="lin", password=json.loads(out)["password"])
    lin.publish("data/line3/a/t", '{"v":1}', 1)
    lin.publish("data/line4/a/t", '{"v":2}', 1)
    lin.publish("elsewhere/a", "x", 1)
    assert node.sql("SELECT device, v FROM t") == [["line3/a", 1]]


def test_rows_of_a_repeated_message_are_stored_again(node):
    """A crash between the identifier's way to the disk and the rows' must not lose them: here a DELETE stands for it."""
    def text(value):
        return struct.pack(">H", len(value)) + value

    def packet(first, body):
        return bytes([first, len(body)]) + body

    hello = text(b"MQTT") + bytes([4, 0xc0]) + struct.pack(">H", 60) + text(b"raw") + text(b"admin") + text(node.PASSWORD.encode())
    row = text(b"data/d/t") + b"\0\5" + b'{"time":1767323046000,"v":7}'
    with socket.create_connection((HOST, node.mqtt_port)) as peer:
        peer.settimeout(LIMIT_S)
        for sent, wanted in ((packet(0x10, hello), b"\x20\2\0\0"), (packet(0x34, row), b"\x50\2\0\5")):
            peer.sendall(sent)
            assert peer.recv(100) == wanted
        node.sql("DELETE FROM t WHERE device = 'd'")
        assert node.sql("SELECT v FROM t") == []
        peer.sendall(packet(0x3c, row))
        assert peer.recv(100) == b"\x50\2\0\5"
        assert node.sql("SELECT v FROM t") == [[7]]


def test_acknowledged_rows_survive_kill_9(node):
    here = Client(node, "here", "3.1.1")
    for number in range(300):
        here.publish("data/d/t", json.dumps({"time": 1767323046000 + number, "n": number}), 1)
    node.kill9()
    node.start()
    assert node.sql("SELECT count(*), sum(n) FROM t") == [[300, 44850]]
