"""Where the broker listens changes with SIGHUP, and nobody who is connected notices."""
import os
import socket
import ssl

import pytest

from conftest import HOST, free_port, wait_for
from mqtt_client import LIMIT_S, Client
from test_coap import coap
from test_mqtt_ops import hup


@pytest.fixture(name="node")
def node_fixture(node_factory, tmp_path):
    node = node_factory(start=False)
    at = node.command.index("listen.mqtt=off")
    del node.command[at - 1:at + 1]
    node.yaml = tmp_path / "node.yaml"
    node.command += ["-c", str(node.yaml)]
    node.mqtt_port = free_port()
    write(node, f"mqtt: {HOST}:{node.mqtt_port}")
    node.start()
    return node


def write(node, *lines):
    node.yaml.write_text("listen:\n" + "".join(f"  {line}\n" for line in lines))


def says_connack(sock):
    """What anybody who asks without a login is told."""
    sock.settimeout(LIMIT_S)
    sock.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x")
    return sock.recv(4) == b"\x20\x02\x00\x05"


def listens(port):
    try:
        with socket.create_connection((HOST, port), LIMIT_S) as sock:
            return says_connack(sock)
    except ConnectionRefusedError:
        return False


def still_there(node, client, number):
    client.publish("a/x", f"{number}", 1)
    client.wait(number)
    return len(client.reasons) == 1 and client.paho.is_connected() and node.metric("millrace_mqtt_sessions") == 1


def test_listeners_move_while_sessions_go_on(node, tmp_path):
    here, first, second, encrypted, path = Client(node, "here"), node.mqtt_port, free_port(), free_port(), str(tmp_path / "mqtt.sock")
    here.subscribe(("a/#", 1))
    assert still_there(node, here, 1) and listens(first)
    write(node, f"mqtt: {HOST}:{second}", f"mqtts: {HOST}:{encrypted}", f"mqttUnix: {path}")
    hup(node, "reload: done")
    assert not listens(first) and listens(second) and still_there(node, here, 2)
    assert f"listening on mqtt://{HOST}:{second}" in node.log() and f"listening on mqtts://{HOST}:{encrypted}" in node.log()
    assert "needs a restart" not in node.log()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with trusting.wrap_socket(socket.create_connection((HOST, encrypted), LIMIT_S)) as sock:
        assert says_connack(sock)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        assert says_connack(sock)
    said = node.log().count("listening on")
    hup(node, "reload: done")
    assert listens(second) and listens(encrypted) is False and os.path.exists(path) and node.log().count("listening on") == said
    write(node, "mqtt: off")
    hup(node, "reload: done")
    assert not listens(second) and not os.path.exists(path) and still_there(node, here, 3)
    for key in "mqtt", "mqtts", "mqttUnix":
        assert f"reload: listen.{key} is off now" in node.log()
    write(node, f"mqtt: {HOST}:{first}")
    hup(node, "reload: done")
    assert listens(first) and still_there(node, here, 4)


def test_a_listener_that_cannot_move_stays_and_says_why(node):
    here = Client(node, "here")
    here.subscribe(("a/#", 1))
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        write(node, f"mqtt: {HOST}:{taken}")
        hup(node, "reload: done")
        assert f"listen.mqtt stays as it was: listen on {HOST}:{taken}" in node.log()
        assert listens(node.mqtt_port) and still_there(node, here, 1)
    hup(node, "reload: done")
    assert listens(taken) and not listens(node.mqtt_port) and still_there(node, here, 2)


def test_a_listener_takes_the_port_that_another_one_leaves(node):
    here, first, second = Client(node, "here"), free_port(), free_port()
    here.subscribe(("a/#", 1))
    write(node, f"mqtt: {HOST}:{node.mqtt_port}", f"mqtts: {HOST}:{first}")
    hup(node, "reload: done")
    write(node, f"mqtt: {HOST}:{first}", f"mqtts: {HOST}:{second}")
    hup(node, "reload: done")
    assert listens(first) and "stays as it was" not in node.log() and f"listening on mqtts://{HOST}:{second}" in node.log()
    assert still_there(node, here, 1)


def test_a_listener_opens_to_everybody_and_closes_to_loopback_on_its_port(node):
    """The two addresses are in each other's way, so the old one has to go first."""
    here = Client(node, "here")
    here.subscribe(("a/#", 1))
    for number, where in enumerate(("0.0.0.0", HOST), 1):
        write(node, f"mqtt: {where}:{node.mqtt_port}", "insecure: true")
        hup(node, "reload: done")
        wait_for(lambda: f"mqtt://{where}:{node.mqtt_port}" in node.log(), LIMIT_S, "not told")  # pylint: disable=cell-var-from-loop
        assert listens(node.mqtt_port) and still_there(node, here, number)
    write(node, f"mqtt: 0.0.0.0:{node.mqtt_port}")
    hup(node, "listen.insecure")
    assert listens(node.mqtt_port) and still_there(node, here, 3)
    write(node, f"mqtt: 192.0.2.1:{node.mqtt_port}", "insecure: true")
    hup(node, "listen.mqtt stays as it was: listen on 192.0.2.1")
    assert listens(node.mqtt_port) and still_there(node, here, 4)


def test_the_coap_gateway_moves_or_stays(node):
    mqtt, first, second = f"mqtt: {HOST}:{node.mqtt_port}", free_port(), free_port()
    here = Client(node, "here")
    here.subscribe(("a/#", 1))

    def value(port):
        node.coap_port = port
        return coap(node, "get", "kept", limit_s=5)
    write(node, mqtt, f"coap: {HOST}:{first}")
    hup(node, "reload: done")
    node.coap_port = first
    assert coap(node, "put", "kept", "-e", "v") == "" and value(first) == "v"
    write(node, mqtt, f"coap: {HOST}:{second}")
    hup(node, "reload: done")
    assert value(second) == "v" and "v" != value(first) and f"listening on coap://{HOST}:{second}" in node.log()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, first))
        write(node, mqtt, f"coap: {HOST}:{first}")
        hup(node, "listen.coap and coaps stay")
    assert value(second) == "v"
    write(node, mqtt)
    hup(node, "reload: done")
    assert value(second) != "v" and still_there(node, here, 1)


def test_a_coap_gateway_that_could_not_listen_tries_again(node):
    mqtt = f"mqtt: {HOST}:{node.mqtt_port}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, 0))
        node.coap_port = other.getsockname()[1]
        write(node, mqtt, f"coap: {HOST}:{node.coap_port}")
        for _ in range(2):
            hup(node, "reload: done")
        assert node.log().count("listen.coap and coaps stay") == 2
    hup(node, "reload: done")
    assert f"listening on coap://{HOST}:{node.coap_port}" in node.log()
    assert coap(node, "put", "kept", "-e", "v") == "" and coap(node, "get", "kept", limit_s=5) == "v"
