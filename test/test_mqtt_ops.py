"""The broker in operation: its settings, and what is shown and done while it runs."""
import json
import signal

import pytest
from conftest import HOST, free_port, wait_for
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
