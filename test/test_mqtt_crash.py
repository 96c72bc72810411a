"""kill -9 of the broker: queues keep what belongs into them. The short form of `./dev soak mqtt`, and cases that it found."""
import os
import subprocess
import sys

import pytest

import mqtt_wire as wire
from conftest import BUILD, HOST, ROOT, free_port

KILLS = 4


@pytest.fixture(name="node")
def node_fixture(node_factory):
    port = free_port()
    node = node_factory(settings=[f"listen.mqtt={HOST}:{port}"])
    node.mqtt_port = port
    return node


def connected(node, name, *fields):
    one = wire.Wire((HOST, node.mqtt_port))
    one.send("CONNECT", ("id", name), ("clean", 0), ("user", "x"), ("password", node.token()), *fields)
    return one, one.receive()[1]


def test_a_retained_message_in_a_queue_stays_itself_over_kill_9(node):
    """Its entry in the queue once became one of whichever message was routed next."""
    publisher, _ = connected(node, "publisher")
    publisher.send("PUBLISH", topic="kept/x", qos=1, id=1, retain=1, payload="the retained one")
    assert publisher.receive()[0] == "PUBACK"
    here, _ = connected(node, "here", ("session_expiry_interval", 1000))
    here.send("SUBSCRIBE", id=1, filter="kept/#@1")
    assert here.receive()[0] == "SUBACK"
    name, fields = here.receive()
    assert (name, wire.get(fields, "payload"), wire.get(fields, "id")) == ("PUBLISH", b"the retained one", 1)
    publisher.send("PUBLISH", topic="kept/y", qos=1, id=2, payload="another")
    assert publisher.receive()[0] == "PUBACK"
    node.kill9()
    node.start()
    here, fields = connected(node, "here", ("session_expiry_interval", 1000))
    assert wire.get(fields, "present") == 1
    got = [here.receive()[1] for _ in range(2)]
    assert [(wire.get(f, "topic"), wire.get(f, "payload"), wire.get(f, "id")) for f in got] == \
        [("kept/x", b"the retained one", 1), ("kept/y", b"another", 2)]
    assert [wire.get(f, "retain") for f in got] == [1, 0]


@pytest.mark.parametrize("how", ["killed", "stopped", "killed twice", "saved and killed"])
def test_what_may_have_been_sent_before_a_start_comes_with_dup_and_nothing_else_does(node, how):
    """[MQTT-3.3.1-1]: "seen" went out and waits for its PUBACK or PUBREC; "back" waited for a client that came back; who is "away"
    was sent nothing."""
    def publish(payload):
        publisher, _ = connected(node, "publisher")
        for number, qos in enumerate((1, 2), 1):
            publisher.send("PUBLISH", topic="t", qos=qos, id=number, payload=payload)
            assert publisher.receive()[0] == ("PUBACK" if qos == 1 else "PUBREC")
        publisher.send("PUBREL", id=2)
        assert publisher.receive()[0] == "PUBCOMP"

    def reader(name):
        return connected(node, name, ("session_expiry_interval", 1000))[0]

    def heard(one):
        return [(wire.get(f, "payload"), wire.get(f, "qos"), wire.get(f, "dup", 0)) for name, f in [one.receive() for _ in range(2)]]
    readers = {name: reader(name) for name in ("seen", "back", "away")}
    for one in readers.values():
        one.send("SUBSCRIBE", id=1, filter="t@2")
        assert one.receive()[0] == "SUBACK"
    readers["back"].close()
    readers["away"].close()
    publish("x")
    assert heard(readers["seen"]) == [(b"x", 1, 0), (b"x", 2, 0)]
    readers["back"] = reader("back")
    assert heard(readers["back"]) == [(b"x", 1, 0), (b"x", 2, 0)]
    publish("y")  # what is durable now includes that "back" is there
    if how == "saved and killed":
        node.sql("CHECKPOINT")
    if how == "stopped":
        assert node.stop() == 0, node.log()
    else:
        node.kill9()
    node.start()
    if how == "killed twice":
        node.kill9()
        node.start()
    assert heard(reader("seen")) == heard(reader("back")) == [(b"x", 1, 1), (b"x", 2, 1)]
    assert heard(reader("away")) == [(b"x", 1, 0), (b"x", 2, 0)]


def test_a_few_kills_lose_and_repeat_nothing():
    done = subprocess.run([sys.executable, os.path.join(ROOT, "test", "soak", "mqtt.py"), "--kills", str(KILLS)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=240, check=False, env=dict(os.environ, MILLRACE_TEST_BUILD=BUILD))
    assert done.returncode == 0, done.stdout
