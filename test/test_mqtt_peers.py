"""The broker with other people's clients: Paho C (blocking and asynchronous), MQTT.js, Mosquitto's request and response; over TCP, TLS
and WebSocket, MQTT 3.1, 3.1.1 and 5.0. (Paho for Python and mosquitto_pub/sub: test_mqtt.py.)

The clients' programs are in test/mqtt/peers/; each prints one line a claim, and the claims are compared here.
"""
import os
import signal
import subprocess
import time

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from conftest import HOST, ROOT, free_port, wait_for
from mqtt_client import LIMIT_S, Client

PEERS = os.path.join(ROOT, "test", "mqtt", "peers")
NODE_MODULES = "/usr/share/nodejs"
REASONS = {"3": 4, "4": 4, "5": 0x86}  # "bad user name or password"
WAYS = [("tcp", "3"), ("tcp", "4"), ("tcp", "5"), ("tls", "4"), ("tls", "5"), ("ws", "4"), ("ws", "5"), ("wss", "5")]


@pytest.fixture(name="node")
def node_fixture(node_factory):
    mqtt, mqtts, https = free_port(), free_port(), free_port()
    node = node_factory(settings=[f"listen.mqtt={HOST}:{mqtt}", f"listen.mqtts={HOST}:{mqtts}", f"listen.https={HOST}:{https}"])
    node.mqtt_port, node.mqtts_port, node.https_port = mqtt, mqtts, https
    return node


@pytest.fixture(name="compiled", scope="module")
def compiled_fixture(tmp_path_factory):
    """compiled("paho_sync", "paho-mqtt3cs"): the program's path."""
    folder, made = tmp_path_factory.mktemp("peers"), {}

    def make(name, library):
        if name not in made:
            made[name] = str(folder / name)
            subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", made[name], os.path.join(PEERS, f"{name}.c"),
                            f"-l{library}"], check=True, timeout=120)
        return made[name]
    return make


def address(node, way, schemes):
    """The URL and the file of the certificate, or "-"."""
    port, path = {"tcp": (node.mqtt_port, ""), "tls": (node.mqtts_port, ""), "ws": (node.port, "/mqtt"), "wss": (node.https_port, "/mqtt")}[way]
    return f"{schemes[way]}://localhost:{port}{path}", f"{node.data}/tls-cert.pem" if way in ("tls", "wss") else "-"


def claims(command, node, env=None):
    """{claim: what the program found}."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False, env=env)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{node.log()[-2000:]}"
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


# Not over WebSocket: there Paho C's blocking client waits at the socket while packets of a frame that has come lie in its own buffer.
@pytest.mark.parametrize("way, version", [one for one in WAYS if one[0] in ("tcp", "tls")])
def test_paho_c_blocking(node, compiled, way, version):
    url, ca = address(node, way, {"tcp": "tcp", "tls": "ssl"})
    found = claims([compiled("paho_sync", "paho-mqtt3cs"), url, ca, "admin", node.PASSWORD, version], node)
    present = 1 if version == "4" else 0  # 3.1 has no such flag, and for 5.0 Paho C does not hand it on
    expected = {"wrong password": str(REASONS[version]), **{f"qos {q}": f"granted {q}, 5 in order" for q in (0, 1, 2)},
                "retained": "new 1 1", "taken away": " 1 0", "session present": f"0, then {present}; 5 in order"}
    if version == "5":
        expected |= {"properties": "text sync/r line=3", "unsubscribed from nothing": str(0x11), "refused": str(0x8f), "will": "gone 1 0"}
    assert found == expected


@pytest.mark.parametrize("way, version, qos", [("tcp", "4", "1"), ("tcp", "5", "2"), ("tls", "4", "2")])
def test_paho_c_asynchronous_comes_back_after_a_kill_and_loses_nothing(node, compiled, way, version, qos):
    url, ca = address(node, way, {"tcp": "tcp", "tls": "ssl"})
    command = [compiled("paho_async", "paho-mqtt3as"), url, ca, "admin", node.PASSWORD, version, qos, "1600"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as program:
        try:
            assert program.stdout.readline() == "half\n"
            node.kill9()
            time.sleep(0.5)  # it has noticed
            program.stdin.write("go on\n")
            program.stdin.flush()
            time.sleep(0.5)
            node.start()
            out = program.communicate(timeout=120)[0]
        finally:
            program.send_signal(signal.SIGKILL)
    found = dict(line.split(": ", 1) for line in out.splitlines())
    assert program.returncode == 0 and found["arrived"] == "1600" and found["refused"] == "0", out
    assert int(found["connects"]) >= 2 and found["late"] == "0", out
    if qos == "2":
        assert found["again"] == "0", out


@pytest.mark.parametrize("way, version", WAYS)
def test_mqtt_js(node, way, version):
    url, ca = address(node, way, {"tcp": "mqtt", "tls": "mqtts", "ws": "ws", "wss": "wss"})
    found = claims(["node", os.path.join(PEERS, "mqttjs.cjs"), url, ca, "admin", node.PASSWORD, version], node,
                   {**os.environ, "NODE_PATH": NODE_MODULES})
    present = "false" if version == "3" else "true"
    expected = {"wrong password": str(REASONS[version]), **{f"qos {q}": f"granted {q}, 40 in order" for q in (0, 1, 2)},
                "retained": "new true", "session present": f"false, then {present}; 40 in order", "will": "gone 1"}
    if version == "5":
        expected |= {"properties": "text js/r 00ff 3 true true 7", "no local": "next", "assigned": "true", "aliases": "40 in order"}
    assert found == expected


def test_mosquitto_rr_asks_and_is_answered(node):
    """Request and response of 5.0: the response topic and the correlation data go there and back."""
    server = Client(node, "server")

    def answer(_client, _data, message):
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = message.properties.CorrelationData
        server.paho.publish(message.properties.ResponseTopic, b"twice " + message.payload, 1, properties=properties)
    server.paho.on_message = answer
    server.subscribe(("rr/ask", 1))
    for qos in "0", "1", "2":
        done = subprocess.run(["mosquitto_rr", "-p", str(node.mqtt_port), "-u", "admin", "-P", node.PASSWORD, "-V", "mqttv5", "-q", qos,
                               "-t", "rr/ask", "-e", f"rr/answer/{qos}", "-D", "publish", "correlation-data", "c7", "-m", f"n{qos}",
                               "-W", "10", "-F", "%p %t %D"], capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert (done.returncode, done.stdout) == (0, f"twice n{qos} rr/answer/{qos} c7\n"), done
    server.close()


def test_mosquittos_clients_over_tls_with_properties(node):
    login = ["-h", "localhost", "-p", str(node.mqtts_port), "--cafile", f"{node.data}/tls-cert.pem", "-u", "admin", "-P", node.PASSWORD,
             "-V", "mqttv5"]
    with subprocess.Popen(["mosquitto_sub", *login, "-t", "mt/+", "-q", "2", "-C", "3", "-i", "sub", "-F", "%t %q %C %R %P %p"],
                          stdout=subprocess.PIPE, text=True) as sub:
        wait_for(lambda: node.metric("millrace_mqtt_subscriptions") == 1, LIMIT_S, "it does not subscribe")
        for qos in "0", "1", "2":
            subprocess.run(["mosquitto_pub", *login, "-t", "mt/x", "-m", f"m{qos}", "-q", qos, "-D", "publish", "content-type", "text",
                            "-D", "publish", "response-topic", "mt/r", "-D", "publish", "user-property", "line", "3"], check=True, timeout=LIMIT_S)
        assert sub.communicate(timeout=LIMIT_S)[0] == "".join(f"mt/x {q} text mt/r line:3 m{q}\n" for q in (0, 1, 2))
