"""mqtt.loops: clients whose bytes are moved by tasks of their own, which nobody notices but by what they cost."""
import os
import signal
import socket
import ssl
import time

import pytest
from conftest import HOST, free_port, wait_for
from mqtt_client import Client, mqtt_node
from test_mqtt_limits import From

LIMIT_S = 30


@pytest.fixture(name="node")
def node_fixture(node_factory):
    tls = free_port()
    node = mqtt_node(node_factory, f"listen.mqtts={HOST}:{tls}", "mqtt.loops=2")
    node.mqtts_port = tls
    return node


def tasks(node):
    """{name of a task: CPU seconds}"""
    found = {}
    for task in os.listdir(f"/proc/{node.process.pid}/task"):
        with open(f"/proc/{node.process.pid}/task/{task}/stat", encoding="utf-8") as line:
            name, rest = line.read().split("(", 1)[1].rsplit(")", 1)
        found[name] = sum(int(x) for x in rest.split()[11:13]) / os.sysconf("SC_CLK_TCK")
    return found


def tls_client(node, name):
    client = Client(node, name, connect=False)
    client.paho.tls_set(cert_reqs=ssl.CERT_NONE)
    client.paho.tls_insecure_set(True)
    client.paho.connect(HOST, node.mqtts_port, clean_start=True)
    client.paho.loop_start()
    wait_for(lambda: client.reasons, LIMIT_S, "no CONNACK")
    return client


def test_clients_of_all_loops_meet_in_order(node):
    clients = [tls_client(node, f"c{i}") if i % 2 else Client(node, f"c{i}") for i in range(6)]
    assert {"io-1", "io-2"} <= set(tasks(node)) and "io-3" not in tasks(node)
    for client in clients:
        client.subscribe(("all/#", 2))
    large = "x" * 700000
    sent = [(client, client.paho.publish(f"all/{at}", f"{number}", number % 3)) for number in range(60) for at, client in enumerate(clients)]
    sent.append((clients[0], clients[0].paho.publish("all/large", large, 1)))
    wait_for(lambda: all(info.mid in client.acks for client, info in sent), LIMIT_S, "not acknowledged")
    for client in clients:
        got = client.wait(361)
        for at in range(6):
            for qos in range(3):  # of one publisher and quality
                numbers = [int(m[1]) for m in got if m[0] == f"all/{at}" and m[2] == qos]
                assert numbers == list(range(qos, 60, 3))
        assert [len(m[1]) for m in got if m[0] == "all/large"] == [700000]
    for client in clients:
        client.close()
    wait_for(lambda: node.metric("millrace_mqtt_connections") == 0, LIMIT_S, "connections stay")


def test_handshakes_cost_the_broker_nothing(node):
    before, context = tasks(node), ssl._create_unverified_context()  # pylint: disable=protected-access
    for _ in range(300):
        with socket.create_connection((HOST, node.mqtts_port)) as peer, context.wrap_socket(peer):
            pass
    after = tasks(node)
    moved = sum(after[name] - before.get(name, 0) for name in ("io-1", "io-2"))
    own = after["mqtt"] - before["mqtt"]
    assert moved > 0.1 and own < moved / 3, f"the loops used {moved:.2f} s, the broker {own:.2f} s"


def test_who_does_not_read_costs_little_and_goes_when_he_is_sent_away(node):
    sender, lazy = Client(node, "sender"), From(node)
    assert lazy.login("lazy") == 0
    lazy.send("SUBSCRIBE", ("filter", "flood@0"), id=1)
    assert lazy.receive()[0] == "SUBACK"
    for _ in range(100):
        sender.publish("flood", "x" * 900000, 0)
    with open(f"/proc/{node.process.pid}/status", encoding="utf-8") as lines:
        resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    assert resident < 400 * 1024, "90 MB wait in memory"
    assert node.request("DELETE", "/v1/mqtt/clients/lazy")[0] in (200, 204)
    wait_for(lambda: node.metric("millrace_mqtt_connections") == 1, LIMIT_S, "it stays")
    lazy.socket.settimeout(LIMIT_S)
    while lazy.socket.recv(1 << 20):
        pass
    sender.close()


def test_the_number_changes_without_dropping_a_client(node_factory, tmp_path):
    yaml = tmp_path / "node.yaml"
    yaml.write_text("mqtt: {loops: 0}\n")
    node = mqtt_node(node_factory, start=False)
    node.command += ["-c", str(yaml)]
    node.start()
    first = Client(node, "first")
    assert "io-1" not in tasks(node)
    for loops in (3, 1, 0):
        yaml.write_text(f"mqtt: {{loops: {loops}}}\n")
        said = node.log().count("reload: done")
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: node.log().count("reload: done") > said, LIMIT_S, "no reload")
        more = [Client(node, f"more{loops}-{i}") for i in range(4)]
        first.subscribe((f"n{loops}/#", 1))
        for client in more:
            client.publish(f"n{loops}/x", "1", 1)
        wait_for(lambda: sum(m.topic == f"n{loops}/x" for m in first.got) == 4, LIMIT_S, "messages are missing")
    assert {"io-1", "io-2", "io-3"} <= set(tasks(node)) and len(first.reasons) == 1
    yaml.write_text("mqtt: {loops: many}\n")
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "mqtt.loops" in node.log(), LIMIT_S, "the wrong value is not named")


def test_the_node_stops_with_clients_of_loops_and_tells_them(node):
    client, other = From(node), tls_client(node, "tls")
    assert client.login("plain") == 0
    assert node.stop() == 0
    kind, fields = client.receive()
    assert kind == "DISCONNECT", fields
    assert int(dict(fields)["reason"]) == 0x8B
    other.paho.loop_stop()


@pytest.mark.parametrize("way", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("loops", [0, 2])
def test_who_is_dropped_while_writing_reads_why(node_factory, tmp_path, loops, way):
    """No reset: what it still writes is taken, up to a bound in bytes and in time, and it sees the end."""
    port, path = free_port(), str(tmp_path / "socket")
    node = mqtt_node(node_factory, f"listen.mqtts={HOST}:{port}", f"listen.mqttUnix={path}", f"mqtt.loops={loops}")
    wires = [From(node), From(node)]
    for wire in wires:
        if way == "tls":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            wire.socket = context.wrap_socket(socket.create_connection((HOST, port)))
        elif way == "unix":
            wire.socket = socket.socket(socket.AF_UNIX)
            wire.socket.connect(path)
    for name, wire in zip(("writer", "flood"), wires):
        wire.send("CONNECT", id=name, user="admin", password=node.PASSWORD)
        assert wire.receive()[0] == "CONNACK"
    for wire in wires:
        wire.socket.sendall(b"\xf7\x00")  # AUTH with reserved flags
    time.sleep(0.3)  # it has been closed on our side now
    for _ in range(20):
        wires[0].send("PINGREQ")
        time.sleep(0.01)
    kind, fields = wires[0].receive()
    assert kind == "DISCONNECT" and dict(fields)["reason"] == 0x81
    assert wires[0].receive() == ("closed", [])
    wires[0].send("PINGREQ")
    assert node.metric("millrace_mqtt_connections") == 2
    wires[0].close()
    with pytest.raises(OSError):
        for _ in range(4096):
            wires[1].socket.sendall(b"\xc0\x00" * 4096)
    wait_for(lambda: node.metric("millrace_mqtt_connections") == 0, 2, "a connection that was dropped stays")
