"""Bridges against Debian's mosquitto and between nodes: what goes over them arrives, in order, once where that was promised, and
nothing circulates. The peer is real in every test."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

import paho.mqtt.client as paho
import pytest

from conftest import HOST, Program, free_port, wait_for
from mqtt_client import Client, mqtt_node
from programs import debian_program

LIMIT_S = 30


class Mosquitto(Program):
    """Debian's broker on a free port; start() again keeps the port and, with `persistent`, what it had saved."""

    def __init__(self, folder, *lines, port=None):
        self.port = port or free_port()
        self.mqtt_port = self.port
        self.config = os.path.join(folder, "mosquitto.conf")
        with open(self.config, "w", encoding="utf-8") as out:
            out.write("\n".join(["per_listener_settings false", "user root", "max_queued_messages 0", "set_tcp_nodelay true", *lines, ""]))
        super().__init__([debian_program("mosquitto", "usr/sbin/mosquitto"), "-c", self.config], os.path.join(folder, "mosquitto.log"))

    def start(self):
        self.spawn()
        wait_for(lambda: self.alive() and answers(self.port), LIMIT_S, "mosquitto does not listen")

    PASSWORD = ""


def answers(port):
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def mosquitto(tmp_path):
    """Makes peers: mosquitto("line of its configuration", …)."""
    peers = []

    def make(*lines, port=None, listens=True):
        folder = tmp_path / f"peer{len(peers)}"
        folder.mkdir()
        port = port or free_port()
        first = [f"listener {port} {HOST}", "allow_anonymous true"] if listens else []
        peers.append(Mosquitto(str(folder), *first, *lines, port=port))
        peers[-1].start()
        return peers[-1]

    yield make
    for peer in peers:
        peer.end(9)


def bridge(node, port, topics, name="plant", scheme="tcp", **spec):
    document = {"apiVersion": "millrace.io/v1", "kind": "Bridge", "metadata": {"name": name},
                "spec": {"endpoint": f"{scheme}://{HOST}:{port}", "topics": topics, **spec}}
    base = "/apis/millrace.io/v1/namespaces/default/bridges"
    status, text = node.request("POST", base, json.dumps(document))
    if status == 409:
        status, text = node.request("PUT", f"{base}/{name}", json.dumps(document))
    return status, text


def state(node, name="plant"):
    rows = node.sql(f"SELECT state, queued, last_error, sent, received, dropped FROM sys.bridges WHERE name = '{name}'")
    return dict(zip(("state", "queued", "error", "sent", "received", "dropped"), rows[0])) if rows else None


def connected(node, name="plant"):
    wait_for(lambda: (state(node, name) or {}).get("state") == "connected", LIMIT_S, f"not connected: {state(node, name)}")


SO_RCVBUFFORCE = 33  # beyond what the system lets others have


class Listener:
    """A raw QoS 0 subscriber that reads as fast as it can and has a large receive buffer, so that what the peer has acknowledged is
    here before a kill: the peer keeps it in its memory alone. It connects anew by itself; `got`: the numbers that came, in their order."""

    def __init__(self, port, topic):
        self.port, self.topic, self.got, self.stops, self.ready = port, topic, [], False, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.ready.wait(LIMIT_S)

    def run(self):
        while not self.stops:
            try:
                with socket.socket() as conn:
                    conn.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
                    conn.settimeout(5)
                    conn.connect((HOST, self.port))
                    self.read(conn)
            except OSError:
                time.sleep(0.01)

    def read(self, conn):
        name = self.topic.encode()
        conn.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01r")
        conn.sendall(b"\x82" + bytes([5 + len(name)]) + b"\x00\x01\x00" + bytes([len(name)]) + name + b"\x00")
        buffered = b""
        while not self.stops:
            conn.settimeout(0.5)
            try:
                piece = conn.recv(1 << 20)
            except socket.timeout:
                continue
            if not piece:
                return
            buffered = self.take(buffered + piece)

    def take(self, data):
        at = 0
        while len(data) - at >= 2 and len(data) - at >= 2 + data[at + 1]:  # all packets here are short
            if data[at] >> 4 == 3:
                topic = int.from_bytes(data[at + 2:at + 4], "big")
                self.got.append(int(data[at + 4 + topic:at + 2 + data[at + 1]]))
            elif data[at] >> 4 == 9:
                self.ready.set()
            at += 2 + data[at + 1]
        return data[at:]

    def close(self):
        self.stops = True
        self.thread.join(LIMIT_S)


def flood(node, topic, first, count, qos=1, name="flood"):
    """Publishes the numbers, QoS 1 or 2, with up to 500 on their way; gives how many were acknowledged before the connection ended."""
    user, password = b"admin", node.PASSWORD.encode()
    body = b"\x00\x04MQTT\x04\xc2\x00\x00" + b"".join(len(t).to_bytes(2, "big") + t for t in (name.encode(), user, password))
    acked, sent, buffered, done = 0, 0, b"", 0x40 if qos == 1 else 0x70
    try:
        with socket.create_connection((HOST, node.mqtt_port), 10) as conn:
            conn.settimeout(LIMIT_S)
            conn.sendall(b"\x10" + bytes([len(body)]) + body)
            assert conn.recv(4) == b"\x20\x02\x00\x00"
            while acked < count:
                out = b""
                while sent < count and sent - acked < 500:
                    text = str(first + sent).encode()
                    packet = len(topic).to_bytes(2, "big") + topic.encode() + (sent % 60000 + 1).to_bytes(2, "big") + text
                    out += bytes([0x30 | qos << 1, len(packet)]) + packet
                    sent += 1
                conn.sendall(out)
                piece = conn.recv(1 << 16)
                if not piece:
                    break
                buffered, releases = buffered + piece, b""
                while len(buffered) >= 4:
                    if buffered[0] == 0x50:
                        releases += b"\x62\x02" + buffered[2:4]
                    acked += buffered[0] == done
                    buffered = buffered[4:]
                conn.sendall(releases)
    except OSError:
        pass
    return acked


def in_order(got):
    """The first time each number came, which must be in order; gives them."""
    seen, firsts = set(), []
    for number in got:
        if number not in seen:
            seen.add(number)
            firsts.append(number)
    assert firsts == sorted(firsts), "out of order"
    return firsts


class Peer(Client):
    """A paho client of a peer."""

    def __init__(self, peer, name, **more):
        super().__init__(peer, name, user=more.pop("user", None), **more)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_messages_go_out_and_come_in(node_factory, mosquitto, version):
    peer, node = mosquitto(), mqtt_node(node_factory)
    far = Peer(peer, "far")
    far.subscribe(("plant7/#", 2))
    status, text = bridge(node, peer.port, [{"filter": "out/#", "qos": 2, "remotePrefix": "plant7/"},
                                            {"filter": "#", "direction": "in", "qos": 2, "remotePrefix": "in/", "localPrefix": "cloud/"}],
                          version=version)
    assert status == 201, text
    connected(node)
    near = Client(node, "near")
    near.subscribe(("cloud/#", 2))
    for qos in (0, 1, 2):
        near.publish(f"out/{qos}", f"n{qos}", qos)
        far.publish(f"in/{qos}", f"f{qos}", qos)
    assert sorted(far.wait(3)) == [(f"plant7/out/{q}", f"n{q}", q, False) for q in (0, 1, 2)]
    assert sorted(near.wait(3)) == [(f"cloud/{q}", f"f{q}", q, False) for q in (0, 1, 2)]
    near.close()
    far.close()


def test_more_of_qos_2_than_mosquitto_takes_at_once_goes_out(node_factory, mosquitto):
    """Its default, 20, which MQTT 3.1.1 cannot tell."""
    peer, node = mosquitto(), mqtt_node(node_factory)
    status, text = bridge(node, peer.port, [{"filter": "out/#", "qos": 2}], version="3.1.1")
    assert status == 201, text
    connected(node)
    far, near = Peer(peer, "far"), Client(node, "near")
    far.subscribe(("out/#", 2))
    for i in range(1000):
        near.paho.publish("out/x", str(i), 2)
    assert [int(message[1]) for message in far.wait(1000)] == list(range(1000))
    near.close()
    far.close()


def test_a_bridge_made_twice_keeps_its_queue_and_a_deleted_one_does_not(node_factory, mosquitto):
    peer, node = mosquitto(), mqtt_node(node_factory)
    near = Client(node, "near")
    topics = [{"filter": "out/#"}]
    assert bridge(node, peer.port, topics, enabled=False)[0] == 201
    wait_for(lambda: state(node), LIMIT_S, "no such bridge")
    for i in range(20):
        near.publish(f"out/{i % 3}", str(i), 1)
    assert state(node)["queued"] == 20
    far = Peer(peer, "far")
    far.subscribe(("#", 1))
    assert bridge(node, peer.port, topics, keepAlive="30s")[0] == 200
    assert [int(m[1]) for m in far.wait(20)] == list(range(20))
    bridge(node, peer.port, topics, enabled=False)
    wait_for(lambda: state(node)["state"] == "disabled", LIMIT_S, "not disabled")
    near.publish("out/1", "late", 1)
    assert node.request("DELETE", "/apis/millrace.io/v1/namespaces/default/bridges/plant")[0] == 200
    wait_for(lambda: "1 messages that waited are gone" in node.log(), LIMIT_S, "the end of the queue is not told")
    assert node.sql("SELECT count(*) FROM sys.mqtt_clients WHERE client LIKE '$bridge/%'") == [[0]]
    bridge(node, peer.port, topics)
    connected(node)
    near.publish("out/1", "new", 1)
    assert far.wait(21)[20][1] == "new"
    near.close()
    far.close()


def test_a_wrong_password_is_named_and_put_right(node_factory, mosquitto, tmp_path):
    users = tmp_path / "users"
    subprocess.run([debian_program("mosquitto", "usr/bin/mosquitto_passwd"), "-c", "-b", str(users), "plant", "right"], check=True)
    os.chmod(users, 0o644)
    port, other = free_port(), free_port()
    mosquitto(f"listener {port} {HOST}", f"listener {other} {HOST}", "allow_anonymous false", f"password_file {users}", port=port,
              listens=False)
    node = mqtt_node(node_factory)
    assert bridge(node, port, [{"filter": "#"}], user="plant", password="wrong")[0] == 201

    def status():
        text = node.request("GET", "/apis/millrace.io/v1/namespaces/default/bridges/plant")[1]
        return json.loads(text).get("status", {})
    wait_for(lambda: "authorized" in status().get("lastError", ""), LIMIT_S, "the refusal is not shown")
    condition = status()["conditions"][0]
    assert (condition["type"], condition["status"]) == ("Ready", "False")
    assert "wrong" not in node.request("GET", "/apis/millrace.io/v1/namespaces/default/bridges/plant")[1]
    assert bridge(node, port, [{"filter": "#"}], user="plant", password="right")[0] == 200
    connected(node)
    wait_for(lambda: status()["conditions"][0]["status"] == "True", LIMIT_S, "not ready")
    # The password stays where it was given for, and goes nowhere else.
    assert bridge(node, port, [{"filter": "#"}], user="plant", keepAlive="20s")[0] == 200
    connected(node)
    assert "right" not in node.cli("get", "bridges", "-o", "yaml")[1]
    assert bridge(node, other, [{"filter": "#"}], user="plant")[0] == 200
    wait_for(lambda: "authorized" in (state(node)["error"] or ""), LIMIT_S, "the password went to another broker")
    assert bridge(node, other, [{"filter": "#"}], user="plant", password="right")[0] == 200
    connected(node)
    path, patch = "/apis/millrace.io/v1/namespaces/default/bridges/plant", json.dumps({"spec": {"endpoint": f"tcp://{HOST}:{port}"}})
    assert node.request("PATCH", path, patch, headers={"Content-Type": "application/merge-patch+json"})[0] == 200
    wait_for(lambda: "authorized" in (state(node)["error"] or ""), LIMIT_S, "a patch took the password along")


def test_a_broker_that_knows_no_5_0_is_told(node_factory):
    """Its CONNACK is one of 3.1.1, without properties."""
    with socket.create_server((HOST, 0)) as server:
        node = mqtt_node(node_factory)
        assert bridge(node, server.getsockname()[1], [{"filter": "a"}])[0] == 201
        server.settimeout(LIMIT_S)
        conn, _ = server.accept()
        with conn:
            conn.recv(1000)
            conn.sendall(b"\x20\x02\x00\x01")
            wait_for(lambda: "version: 3.1.1" in (state(node) or {}).get("error", ""), LIMIT_S, f"not told: {state(node)}")


def test_what_is_no_bridge_is_refused_with_the_way_out(node_factory):
    node = mqtt_node(node_factory)
    for topics, spec, words in [
            ([], {}, "empty"),
            ([{"filter": "a/#/b"}], {}, "no topic filter"),
            ([{"filter": "x", "localPrefix": "+/"}], {}, "no topic filter"),
            ([{"filter": "#", "localPrefix": "$SYS/"}], {}, "each broker's own"),
            ([{"filter": "#"}], {"endpoint": "mqtt://x:1883"}, "tls://HOST:PORT"),
            ([{"filter": "#"}], {"endpoint": "tcp://198.51.100.7:1883"}, "insecure: true"),
            ([{"filter": "#"}], {"clientId": "c" * 65536}, "room for 65535"),
            ([{"filter": "#"}], {"user": "u", "password": "p" * 65536}, "room for 65535"),
            ([{"filter": "#"}], {"queue": {"bytes": "lots"}}, "must be a size")]:
        status, text = bridge(node, 1883, topics, **spec)
        assert status == 422 and words in text, (topics, spec, status, text)
    client = Client(node, "$bridge/default.plant", connect=False)
    assert client.connect()[0] != 0, "a client may not be a bridge"
    client.close()


def test_a_bridge_is_not_taken_apart_through_its_session(node_factory, mosquitto):
    peer, node = mosquitto(), mqtt_node(node_factory)
    bridge(node, peer.port, [{"filter": "out/#"}])
    connected(node)
    status, text = node.request("DELETE", "/v1/mqtt/clients/%24bridge%2Fdefault.plant?session=true")
    assert status in (400, 422) and "delete the Bridge" in text, (status, text)


def test_what_waits_while_mosquitto_is_killed_arrives_in_order(node_factory, mosquitto):
    peer, node = mosquitto(), mqtt_node(node_factory, "memory=256MiB")
    count = 50000
    assert bridge(node, peer.port, [{"filter": "out/#"}])[0] == 201
    connected(node)
    listener = Listener(peer.port, "out/#")
    sender = threading.Thread(target=lambda: sent.append(flood(node, "out/n", 0, count)))
    sent = []
    sender.start()
    for _ in range(3):
        before = len(listener.got)
        wait_for(lambda: len(listener.got) > before + 3000, LIMIT_S, f"nothing comes: {state(node)}")
        peer.end(9)
        time.sleep(0.2)
        listener.ready.clear()
        peer.start()
        assert listener.ready.wait(LIMIT_S)  # before the bridge is back, whose pause is a second at least
    sender.join(120)
    assert sent == [count]
    wait_for(lambda: len(set(listener.got)) == count, 60, lambda: f"{len(set(listener.got))} came, {state(node)}")
    assert in_order(listener.got) == list(range(count))
    assert state(node)["dropped"] == 0
    listener.close()


def test_what_was_acknowledged_survives_the_nodes_kill(node_factory, mosquitto):
    peer, node = mosquitto(), mqtt_node(node_factory, "memory=256MiB")
    assert bridge(node, peer.port, [{"filter": "out/#"}])[0] == 201
    connected(node)
    listener = Listener(peer.port, "out/#")
    acked, first = 0, 0
    for kill in range(4):
        timer = threading.Timer(0.5 + 0.3 * kill, node.kill9)
        timer.start()
        acked += flood(node, "out/n", first, 20000)
        timer.join()
        first += 20000
        node.start()
    promised = flood(node, "out/n", first, 5000)
    assert promised == 5000
    wait_for(lambda: first + 4999 in listener.got and state(node)["queued"] == 0, 60, f"{state(node)}")
    firsts = in_order(listener.got)
    assert len(firsts) >= acked + 5000, "acknowledged messages are missing"
    listener.close()


@pytest.mark.parametrize("killed", ["here", "there"])
def test_qos_2_comes_once_whoever_is_killed(node_factory, killed):
    here, there = mqtt_node(node_factory, "memory=256MiB"), mqtt_node(node_factory, "memory=256MiB")
    user = {"user": "admin", "password": here.PASSWORD}
    far = Client(there, "far", clean=False, connect=False)
    far.connect(expiry=3600)
    far.subscribe(("out/#", 2))
    assert bridge(here, there.mqtt_port, [{"filter": "out/#", "qos": 2}], **user)[0] == 201
    connected(here)
    done = 0
    for _ in range(3):
        sender = threading.Thread(target=flood, args=(here, "out/n", done, 2000, 2))
        sender.start()
        if killed == "there":
            time.sleep(0.4)
            there.kill9()
            there.start()
            sender.join(60)
        else:
            sender.join(60)
            here.kill9()
            here.start()
        done += 2000
    wait_for(lambda: len(far.got) >= done, 90, f"{len(far.got)} of {done} came, {state(here)}")
    time.sleep(1)
    numbers = [int(m.payload) for m in far.got]
    assert sorted(numbers) == list(range(done)), "not once each"
    far.close()


def test_tls_to_a_verified_name_and_to_nobody_else(node_factory, mosquitto, tmp_path):
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, cwd=tmp_path, capture_output=True)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test CA")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=broker.test")
    (tmp_path / "ext").write_text("subjectAltName=DNS:broker.test")
    openssl("x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext",
            "-out", "cert.pem")
    port, plain = free_port(), free_port()
    peer = mosquitto(f"listener {port} {HOST}", "allow_anonymous true", f"cafile {tmp_path}/ca.pem", f"certfile {tmp_path}/cert.pem",
                     f"keyfile {tmp_path}/key.pem", f"listener {plain} {HOST}", port=port, listens=False)
    node, topics = mqtt_node(node_factory), [{"filter": "#"}]
    bridge(node, peer.port, topics, scheme="tls", tls={"ca": f"{tmp_path}/ca.pem"})
    wait_for(lambda: (state(node) or {}).get("error"), LIMIT_S, "an address that is not in the certificate is taken")
    assert state(node)["sent"] == 0
    bridge(node, peer.port, topics, scheme="tls", tls={"ca": f"{tmp_path}/ca.pem", "serverName": "broker.test"})
    connected(node)
    bridge(node, peer.port, topics, scheme="tls", tls={"serverName": "broker.test"})
    wait_for(lambda: state(node)["error"], LIMIT_S, "a certificate that nobody known has signed is taken")
    bridge(node, peer.port, topics, scheme="tls", tls={"ca": f"{tmp_path}/none.pem"})
    wait_for(lambda: "none.pem" in (state(node)["error"] or ""), LIMIT_S, "a missing file is not named")
    for i in range(12):  # settings that change while certificates are read
        bridge(node, (peer.port, plain)[i % 2], topics, scheme=("tls", "tcp")[i % 2], tls={"ca": f"{tmp_path}/ca.pem"})
    connected(node)


def test_a_ring_of_three_ends_each_message(node_factory):
    nodes = [mqtt_node(node_factory) for _ in range(3)]
    for i, node in enumerate(nodes):
        bridge(node, nodes[(i + 1) % 3].mqtt_port, [{"filter": "ring/#", "direction": "both"}], name=f"to{i}", user="admin",
               password=node.PASSWORD, clientId=f"ring{i}")
    for i, node in enumerate(nodes):
        connected(node, f"to{i}")
    clients = [Client(node, f"c{i}") for i, node in enumerate(nodes)]
    for client in clients:
        client.subscribe(("ring/#", 1))
    clients[0].publish("ring/x", "once", 1)
    for client in clients:
        client.wait(1)
    time.sleep(2)
    # Two ways lead round a ring: each other node sees it by both, and then it is over.
    assert [len(client.got) for client in clients] == [1, 2, 2]
    assert sum(node.metric("millrace_mqtt_bridge_loops_total") for node in nodes) > 0
    for client in clients:
        client.close()


def test_rows_that_come_in_are_stored_and_retained_messages_cross(node_factory, mosquitto):
    peer, node = mosquitto(), mqtt_node(node_factory)
    far = Peer(peer, "far")
    far.publish("keep/there", "t", 1, retain=True)
    near = Client(node, "near")
    near.publish("keep/here", "h", 1, retain=True)
    bridge(node, peer.port, [{"filter": "data/#", "direction": "in"}, {"filter": "keep/#", "direction": "both"}])
    connected(node)
    far.publish("data/line1/press/cycle", json.dumps({"time": "2026-01-02T03:04:05Z", "force": 7.5}), 1)
    wait_for(lambda: node.request("POST", "/v1/sql", "SELECT force FROM cycle")[0] == 200 and
             node.sql("SELECT force FROM cycle") == [[7.5]], LIMIT_S, "the row is not stored")
    near.subscribe(("keep/#", 1))
    assert sorted(near.wait(2)) == [("keep/here", "h", 1, True), ("keep/there", "t", 1, True)]
    far.subscribe(("keep/#", 1))
    assert sorted(far.wait(2)) == [("keep/here", "h", 1, True), ("keep/there", "t", 1, True)]
    near.close()
    far.close()


def test_an_external_broker_takes_the_place_of_the_nodes_own(node_factory, mosquitto):
    peer = mosquitto()
    refused = node_factory(settings=[f"listen.mqtt={HOST}:{free_port()}", f"mqtt.external.endpoint=tcp://{HOST}:{peer.port}"], start=False)
    refused.spawn()
    assert refused.process.wait(LIMIT_S) != 0 and "exclude each other" in refused.log()
    node = node_factory(settings=[f"mqtt.external.endpoint=tcp://{HOST}:{peer.port}"])
    connected(node, "external")
    far = Peer(peer, "far")
    far.subscribe(("#", 1), ("$dead/#", 1))
    far.publish("data/line1/press/cycle", json.dumps({"time": "2026-01-02T03:04:05Z", "force": 7.5}), 1)
    far.publish("data/line1/press/cycle", "no row", 1)
    wait_for(lambda: node.request("POST", "/v1/sql", "SELECT force FROM cycle")[0] == 200, LIMIT_S, "the row is not stored")
    wait_for(lambda: any(m.topic == "$dead/data/line1/press/cycle" for m in far.got), LIMIT_S, "no dead letter comes")
    assert [m.payload.decode() for m in far.got if m.topic.startswith("data/")].count("no row") == 1
    assert node.request("POST", "/v1/mqtt/publish", json.dumps({"topic": "hello", "payload": "x", "qos": 1}))[0] == 200
    wait_for(lambda: any(m.topic == "hello" for m in far.got), LIMIT_S, "what the node says does not get there")
    far.close()


def test_the_external_broker_changes_with_sighup(node_factory, mosquitto, tmp_path):
    first, second, config, port = mosquitto(), mosquitto(), tmp_path / "node.yaml", free_port()
    node = node_factory(start=False)
    at = node.command.index("listen.mqtt=off")
    node.command[at - 1:at + 1] = ["-c", str(config)]

    def write(listens, endpoint):
        external = f"mqtt: {{external: {{endpoint: 'tcp://{HOST}:{endpoint}', user: secret-1, password: secret-2}}}}\n" if endpoint else ""
        config.write_text(f"listen: {{mqtt: {listens}}}\n{external}", encoding="utf-8")

    def reload(*args):
        said = node.log().count("reload: done")
        write(*args)
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: node.log().count("reload: done") > said, LIMIT_S, "no reload")

    def say(topic):
        assert node.request("POST", "/v1/mqtt/publish", json.dumps({"topic": topic, "payload": "x", "qos": 1}))[0] == 200
    write("off", first.port)
    node.start()
    connected(node, "external")
    near, far = Peer(first, "near"), Peer(second, "far")
    for peer in near, far:
        peer.subscribe(("#", 1))
    say("hello")
    wait_for(lambda: any(m.topic == "hello" for m in near.got), LIMIT_S, "what the node says does not get there")
    near.close()
    first.end()
    wait_for(lambda: state(node, "external")["state"] != "connected", LIMIT_S, "it does not notice")
    say("waits")
    reload("off", second.port)
    wait_for(lambda: any(m.topic == "waits" for m in far.got), LIMIT_S, "what waited does not go to the new one")
    reload(f"{HOST}:{port}", None)
    assert node.sql("SELECT count(*) FROM sys.bridges") == [[0]]
    node.mqtt_port = port
    Client(node, "own").close()
    reload("off", second.port)
    connected(node, "external")
    far.publish("data/line1/press/cycle", json.dumps({"time": "2026-01-02T03:04:05Z", "force": 7.5}), 1)
    wait_for(lambda: node.request("POST", "/v1/sql", "SELECT force FROM cycle")[0] == 200, LIMIT_S, "the row is not stored")
    far.close()
    assert "secret" not in node.log() and "restart" not in node.log()


def test_what_comes_from_the_external_broker_changes_with_the_prefix(node_factory, mosquitto, tmp_path):
    """The old filters are taken back there by their own names, which the bridge still has."""
    peer, config = mosquitto("log_type all"), tmp_path / "node.yaml"
    node = node_factory(start=False)
    at = node.command.index("listen.mqtt=off")
    node.command[at - 1:at + 1] = ["-c", str(config)]

    def write(prefix):
        config.write_text(f"listen: {{mqtt: off}}\nmqtt: {{dataPrefix: {prefix}, external: {{endpoint: 'tcp://{HOST}:{peer.port}'}}}}\n")
    write("data")
    node.start()
    connected(node, "external")
    write("date")
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload: done" in node.log(), LIMIT_S, "no reload")
    connected(node, "external")
    wait_for(lambda: "Received UNSUBSCRIBE" in peer.log(), LIMIT_S, "the old filter stays there")
    assert "\tdata/#\n" in peer.log().partition("Received UNSUBSCRIBE")[2]
    far = Peer(peer, "far")
    far.publish("date/line1/press/cycle", json.dumps({"time": "2026-01-02T03:04:05Z", "force": 7.5}), 1)
    wait_for(lambda: node.request("POST", "/v1/sql", "SELECT force FROM cycle")[0] == 200, LIMIT_S, "the row is not stored")
    far.close()


@pytest.mark.parametrize("full,left", [("drop-oldest", list(range(90, 100))), ("drop-new", list(range(10))), ("keep-every-nth", None)])
def test_a_full_queue_gives_up_what_its_policy_says(node_factory, mosquitto, full, left):
    peer, node = mosquitto(), mqtt_node(node_factory)
    near, far = Client(node, "near"), Peer(peer, "far")
    far.subscribe(("out/#", 1))
    topics, queue = [{"filter": "out/#"}], {"messages": 10, "full": full}
    bridge(node, peer.port, topics, queue=queue, enabled=False)
    wait_for(lambda: state(node), LIMIT_S, "no such bridge")
    for i in range(100):
        near.publish("out/n", str(i), 1)
    assert state(node)["queued"] <= 10 and state(node)["dropped"] >= 90
    bridge(node, peer.port, topics, queue=queue)
    wait_for(lambda: state(node)["queued"] == 0, LIMIT_S, "not drained")
    got = [int(m[1]) for m in far.wait(state(node)["sent"])]
    if left is not None:
        assert got == left
    else:  # the whole time is there, coarsely
        assert got[0] == 0 and got[-1] == 99 and got == sorted(got) and len(got) >= 5
    near.close()
    far.close()


def test_nobody_bridges_what_he_may_not_read_or_publish(node_factory):
    node = mqtt_node(node_factory)
    rules = [{"verbs": ["get", "create", "update"], "kinds": ["Bridge"]},
             {"verbs": ["subscribe"], "paths": ["open/#"]}]
    base = "/apis/millrace.io/v1"
    for kind, name, spec in (("Role", "bridger", {"rules": rules}), ("User", "eve", {"roles": ["bridger"], "password": "eves-password"})):
        document = {"apiVersion": "millrace.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        assert node.request("POST", f"{base}/{kind.lower()}s", json.dumps(document))[0] == 201
    for topic, allowed in (({"filter": "open/x/#"}, True), ({"filter": "#"}, False), ({"filter": "open/x", "direction": "in"}, False)):
        document = {"apiVersion": "millrace.io/v1", "kind": "Bridge", "metadata": {"name": f"b{allowed:d}"},
                    "spec": {"endpoint": f"tcp://{HOST}:1", "topics": [topic]}}
        status, text = node.request("POST", f"{base}/namespaces/default/bridges", json.dumps(document), token="eve:eves-password")
        assert status == (201 if allowed else 403), (topic, status, text)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_bridge_over_websocket(node_factory, scheme):
    """To a node's own WebSocket way in: messages of all sizes pass both ways, and again after the peer was away."""
    secure = free_port()
    there, here = mqtt_node(node_factory, f"listen.https={HOST}:{secure}"), mqtt_node(node_factory)
    port = secure if scheme == "wss" else there.port
    more = {"user": "admin", "password": there.PASSWORD}
    if scheme == "wss":
        more["tls"] = {"ca": os.path.join(there.data, "tls-cert.pem")}
    status, text = bridge(here, f"{port}/mqtt", [{"direction": "both", "filter": "up/#", "qos": 1}], scheme=scheme, **more)
    assert status == 201, text
    connected(here)
    sender, seer = Client(here, "sender"), Client(there, "seer")
    seer.subscribe(("up/#", 1))
    sizes = [0, 1, 125, 126, 127, 65535, 65536, 200000]
    for size in sizes:
        sender.publish(f"up/{size}", b"x" * size, 1)
    assert [(t, len(m.payload)) for t, m in ((m.topic, m) for m in wait_many(seer, len(sizes)))] == [(f"up/{size}", size) for size in sizes]
    sender.subscribe(("up/back", 1))
    seer.publish("up/back", b"y" * 70000, 1)
    assert wait_many(sender, 1)[0].payload == b"y" * 70000
    there.kill9()
    for n in range(100):
        sender.publish(f"up/late/{n}", str(n), 1)
    there.start()
    seer = Client(there, "seer2")
    seer.subscribe(("up/late/#", 1))
    wait_for(lambda: state(here)["queued"] == 0 and state(here)["state"] == "connected", LIMIT_S, f"it stays away: {state(here)}")
    assert [m.payload for m in seer.got] == sorted((m.payload for m in seer.got), key=int), "in order"


def wait_many(client, count):
    wait_for(lambda: len(client.got) >= count, LIMIT_S, f"only {len(client.got)} of {count}")
    return client.got


def test_what_a_bridge_over_websocket_cannot_reach_is_told(node_factory):
    port, node = mqtt_node(node_factory).port, mqtt_node(node_factory)
    for path, said in (("/elsewhere", "answers with status 404"), ("/healthz", "answers with status 200")):
        status, text = bridge(node, f"{port}{path}", [{"filter": "x"}], scheme="ws")
        assert status in (200, 201), text
        wait_for(lambda: said in (state(node)["error"] or ""), LIMIT_S, f"not told: {state(node)}")  # pylint: disable=cell-var-from-loop
    assert bridge(node, f"{port}/a b", [{"filter": "x"}], scheme="ws")[0] == 422
    assert bridge(node, "1", [{"filter": "x"}], scheme="http")[0] == 422


@pytest.mark.parametrize("topic", ["x" * 65400, "x/" * 30 + "x"], ids=["long", "deep"])
def test_a_topic_that_is_none_here_holds_up_no_bridge(node_factory, mosquitto, topic):
    """It is dropped; else the remote broker would send it again after each end of the connection."""
    there, here = mosquitto(), mqtt_node(node_factory, "mqtt.limits.topicLevels=20")
    assert bridge(here, there.port, [{"filter": "#", "qos": 1, "direction": "in"}])[0] == 201
    connected(here)
    seer, sender = Client(here, "seer"), Client(there, "sender", user=None)
    seer.subscribe(("#", 1))
    for name in "before", topic, "after":
        sender.publish(name, "1", 1)
    wait_for(lambda: [m.topic for m in seer.got] == ["before", "after"], LIMIT_S, "the bridge stands still")
    assert state(here)["state"] == "connected"
