"""The broker's limits and bans (mqtt.limits, mqtt.bans): each acts as it says, is counted, and is named in the log.

All clients here come from this machine, so what is counted by address is switched on for it. 127.0.0.2 is another address.
"""
import contextlib
import json
import signal
import socket
import time

import pytest
from conftest import HOST, Node, wait_for
from mqtt_client import Client, mqtt_node
from mqtt_wire import Wire, encode

BUSY, BANNED, QUOTA, BAD_USER = 0x89, 0x8a, 0x97, 0x86
LOCAL = "mqtt.limits.loopback=true"


class From(Wire):
    """A connection from a chosen address of this machine."""

    def __init__(self, node, address=HOST, version="5"):
        self.version, self.pending = version, b""
        self.socket = socket.create_connection((HOST, node.mqtt_port), timeout=10, source_address=(address, 0))

    def login(self, name, password=Node.PASSWORD, user="admin"):
        """The CONNACK's code; None when the connection was closed without one."""
        self.send("CONNECT", id=name, user=user, password=password)
        kind, fields = self.receive(20)
        return dict(fields)["code"] if kind == "CONNACK" else None

    def cut(self):
        """Ends without DISCONNECT."""
        self.socket.close()


def code_of(node, name, address=HOST, **more):
    wire = From(node, address)
    code = wire.login(name, **more)
    return wire, int(code) if code is not None else None


def is_told(node, setting, count=None):
    """The log names the limit."""
    line = f"limit mqtt.{setting}: {count if count else ''}"
    wait_for(lambda: line in node.log(), 15, f"the log does not say: {line}")


def test_connections_of_one_user_and_of_one_address_are_limited(node_factory):
    node = mqtt_node(node_factory, LOCAL, "mqtt.limits.connectionsPerUser=2", "mqtt.limits.connectionsPerPeer=3")
    first, code = code_of(node, "a")
    second, _ = code_of(node, "b")
    assert code == 0
    refused, code = code_of(node, "c", "127.0.0.2")
    assert code == QUOTA and node.metric("millrace_mqtt_limit_user_total") == 1
    is_told(node, "limits.connectionsPerUser", 1)
    again, code = code_of(node, "b", "127.0.0.2")
    assert code == 0, "who takes over his own connection needs no place for a second one"
    assert second.receive()[0] == "DISCONNECT"
    open_ones = [From(node), From(node)]
    wait_for(lambda: node.metric("millrace_mqtt_half_open") == 2, 10, "two are not logged in")
    assert From(node).is_closed(), "a fourth connection of the address is let in"
    assert node.metric("millrace_mqtt_limit_peer_total") == 1
    is_told(node, "limits.connectionsPerPeer", 1)
    for wire in (first, refused, again, *open_ones):
        wire.close()
    wait_for(lambda: code_of(node, "d")[1] == 0, 10, "places do not come back")


@pytest.mark.parametrize("size", ["1KiB", "127KiB", "1MiB", "2047KiB", "2048KiB"])
def test_a_packet_of_the_size_that_was_told_is_taken_and_one_byte_more_is_not(node_factory, size):
    """[MQTT-3.2.2-15]: the fixed header counts, whose length depends on the packet's."""
    node = mqtt_node(node_factory, f"mqtt.maxPacket={size}")
    for more, kind in (0, "PUBACK"), (1, "DISCONNECT"):
        one = From(node)
        one.send("CONNECT", id="one", user="admin", password=node.PASSWORD)
        told = dict(one.receive()[1])["maximum_packet_size"]
        packet, padding = b"", 0
        while len(packet) < told + more:
            padding += told + more - len(packet)
            packet = encode("5", "PUBLISH", [("topic", "t"), ("qos", 1), ("id", 1), ("payload", "x" * padding)])
            if len(packet) > told + more:  # the length itself has grown
                padding -= len(packet) - told - more
                packet = encode("5", "PUBLISH", [("topic", "t"), ("qos", 1), ("id", 1), ("payload", "x" * padding)])
        assert len(packet) == told + more
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before its last byte was sent
            one.socket.sendall(packet)
        assert one.receive(20)[0] == kind


def test_connections_through_one_listener_are_limited_and_leave_the_others_open(node_factory, tmp_path):
    path = tmp_path / "mqtt.sock"
    node = mqtt_node(node_factory, "mqtt.limits.connectionsPerListener=2", f"listen.mqttUnix={path}")
    held = [code_of(node, name) for name in "ab"]
    assert [code for _, code in held] == [0, 0]
    assert From(node).is_closed(), "a third one by the same way"
    is_told(node, "limits.connectionsPerListener", 1)
    assert node.metric("millrace_mqtt_connections_refused_total") == 1
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(path))
        other.sendall(encode("5", "CONNECT", [("id", "c"), ("user", "admin"), ("password", node.PASSWORD)]))
        assert other.recv(100)[3] == 0, "another listener has its own"
    held[0][0].close()
    wait_for(lambda: code_of(node, "d")[1] == 0, 10, "the place does not come back")


def test_connections_that_do_not_log_in_are_few_and_end(node_factory):
    node = mqtt_node(node_factory, LOCAL, "mqtt.limits.halfOpenPerListener=6", "mqtt.limits.halfOpenPerPeer=4", "mqtt.limits.connectTime=2s")
    user = Client(node, "user")
    idle = [From(node) for _ in range(4)]
    assert From(node).is_closed(), "a fifth of the address"
    is_told(node, "limits.halfOpenPerPeer", 1)
    idle += [From(node, "127.0.0.2") for _ in range(2)]
    assert From(node, "127.0.0.2").is_closed(), "a seventh of the listener"
    is_told(node, "limits.halfOpenPerListener", 1)
    assert node.metric("millrace_mqtt_half_open") == 6
    assert all(wire.is_closed(10) for wire in idle), "who does not log in stays"
    is_told(node, "limits.connectTime")
    wait_for(lambda: node.metric("millrace_mqtt_half_open") == 0, 10, "they are still counted")
    assert code_of(node, "next")[1] == 0 and user.paho.is_connected()


def test_logins_over_their_rate_wait_and_then_are_refused(node_factory):
    node = mqtt_node(node_factory, "mqtt.limits.connectRate=4")
    assert code_of(node, "first")[1] == 0  # the password is known from here on
    time.sleep(1.2)
    wires, began = [From(node) for _ in range(40)], time.monotonic()
    for number, wire in enumerate(wires):
        wire.send("CONNECT", id=f"c{number}", user="admin", password=Node.PASSWORD)
    codes = [int(dict(wire.receive(20)[1])["code"]) for wire in wires]
    took = time.monotonic() - began
    assert 20 <= codes.count(0) <= 28, "a second's worth at once, five seconds' worth later"
    assert codes.count(0) + codes.count(BUSY) == 40 and 3.5 < took < 10, took
    assert node.metric("millrace_mqtt_limit_login_waits_total") > 15
    assert node.metric("millrace_mqtt_limit_login_busy_total") == codes.count(BUSY)
    is_told(node, "limits.connectRate")


@pytest.mark.parametrize("setting, size", [("messagesPerSecond=50", 4), ("bytesPerSecond=25KiB", 500)])
def test_who_publishes_too_fast_is_slowed_down_and_loses_nothing(node_factory, setting, size):
    node = mqtt_node(node_factory, f"mqtt.limits.{setting}")
    reader, other, fast = Client(node, "reader"), Client(node, "other"), From(node)
    reader.subscribe(("t/#", 1))
    assert fast.login("fast") == 0
    began = time.monotonic()
    fast.socket.sendall(b"".join(encode("5", "PUBLISH", [("topic", "t/x"), ("qos", 1), ("id", n + 1), ("payload", f"{n:0{size}}")])
                                 for n in range(150)))
    other.publish("t/other", "meanwhile", 1)
    assert time.monotonic() - began < 1, "another client waits, too"
    reader.wait(151)
    took = time.monotonic() - began
    assert [int(m.payload) for m in reader.got if m.topic == "t/x"] == list(range(150))
    assert 1.5 < took < 8, took
    assert node.metric("millrace_mqtt_limit_held_total") > 0
    is_told(node, "limits." + setting.split("=")[0])
    assert fast.receive()[0] == "PUBACK" and not fast.is_closed(0.1)


def test_sizes_and_levels_are_limited_before_and_after_the_login(node_factory):
    node = mqtt_node(node_factory, "mqtt.limits.loginPacket=2KiB", "mqtt.maxPacket=8KiB", "mqtt.limits.topicLevels=5", "mqtt.maxSubscriptions=3")
    early = From(node)
    early.socket.sendall(b"\x10\xff\xff\xff\x7f")  # a CONNECT of 256 MB
    assert early.is_closed()
    is_told(node, "limits.loginPacket", 1)
    late = From(node)
    assert late.login("late") == 0
    late.socket.sendall(b"\x30\xff\xff\xff\x7f")
    assert dict(late.receive()[1])["reason"] == 149
    is_told(node, "maxPacket", 1)
    client = From(node)
    assert client.login("client") == 0
    client.send("SUBSCRIBE", ("filter", "a/b/c/d/e@0"), ("filter", "a/b/c/d/e/f@0"), ("filter", "b@0"), ("filter", "c@0"), ("filter", "d@0"), id=1)
    assert dict(client.receive()[1])["codes"] == [0, 143, 0, 0, 151]
    is_told(node, "limits.topicLevels", 1)
    is_told(node, "maxSubscriptions", 1)
    client.send("PUBLISH", topic="a/b/c/d/e/f", payload="x")
    assert dict(client.receive()[1])["reason"] == 144
    deep = From(node)
    assert deep.login("deep") == 0
    deep.send("PUBLISH", topic="/" * 4000, payload="x")
    assert deep.receive()[0] in ("DISCONNECT", "closed")
    wait_for(lambda: node.metric("millrace_mqtt_limit_topic_levels_total") == 3, 10, "not counted")


def test_at_the_limit_of_retained_messages_those_that_are_there_go_on(node_factory):
    node = mqtt_node(node_factory, "mqtt.maxRetained=2", "mqtt.sysInterval=1s")
    client, reader, sys = Client(node, "a"), Client(node, "b"), Client(node, "sys")
    sys.subscribe(("$SYS/#", 0))
    sys.wait(20)  # these take no place
    for topic, payload in (("r/1", "old"), ("r/2", "two"), ("r/3", "no place"), ("r/1", "new")):
        client.publish(topic, payload, 1, retain=True)
    is_told(node, "maxRetained", 1)
    reader.subscribe(("r/#", 1))
    assert sorted(reader.wait(2)) == [("r/1", "new", 1, True), ("r/2", "two", 1, True)]
    client.publish("r/2", "", 1, retain=True)
    client.publish("r/3", "three", 1, retain=True)
    late = Client(node, "c")
    late.subscribe(("r/#", 1))
    assert sorted(late.wait(2)) == [("r/1", "new", 1, True), ("r/3", "three", 1, True)]


def test_where_nothing_is_retained_clients_are_told(node_factory):
    node = mqtt_node(node_factory, "mqtt.maxRetained=0")
    will = (("will_topic", "r/will"), ("will_payload", "gone"), ("will_retain", 1))

    def comes(version, *more):
        wire = From(node, version=version)
        wire.send("CONNECT", id="x", user="admin", password=node.PASSWORD, **dict(more))
        return wire, dict(wire.receive()[1])

    wire, answer = comes("5", ("clean", 1))
    assert (int(answer["code"]), int(answer["retain_available"])) == (0, 0)
    wire.send("PUBLISH", topic="r/x", payload="kept?", qos=1, id=7, retain=1)
    kind, fields = wire.receive()
    assert (kind, int(dict(fields)["reason"])) == ("DISCONNECT", 0x9a) and wire.is_closed()
    wire, answer = comes("5", *will)
    assert int(answer["code"]) == 0x9a and wire.is_closed()
    wire, answer = comes("3.1.1", *will)  # has no word for it
    assert int(answer["code"]) == 0
    wire.send("PUBLISH", topic="r/x", payload="passes", qos=1, id=7, retain=1)
    assert wire.receive()[0] == "PUBACK"


def test_who_hoards_retained_messages_leaves_room_for_others(node_factory):
    node = mqtt_node(node_factory, "mqtt.memory=4MiB")
    hoarder, client = Client(node, "a"), Client(node, "b")
    for number in range(80):
        hoarder.publish(f"r/{number}", "x" * 65536, 1, retain=True)
    is_told(node, "memory")
    client.publish("r/0", "y" * 65536, 1, retain=True)  # what is there may change
    client.subscribe(("x", 1), ("r/0", 0))
    assert client.wait(1)[0][1].startswith("y")
    for number in range(20):
        client.publish("x", str(number) * 65536, 1)
    assert len(client.wait(21)) == 21


def bans(node, login="admin"):
    status, answer = node.request("GET", "/v1/mqtt/bans", token=login)
    assert status == 200, answer
    return json.loads(answer)["bans"]


def test_a_ban_names_a_long_identifier_by_its_beginning(node_factory):
    node = mqtt_node(node_factory, LOCAL, "mqtt.bans.drops=2")
    name, twin = "x" + "é" * 20000, "x" + "é" * 19999 + "e"
    for _ in range(2):
        wire, code = code_of(node, name)
        assert code == 0
        wire.cut()
        wait_for(lambda: node.metric("millrace_mqtt_connections") == 0, 10, "it does not go")
    assert code_of(node, name)[1] == BANNED and code_of(node, twin)[1] == 0
    (ban,) = bans(node)
    assert ban["name"].startswith("xééé") and "~" in ban["name"] and len(ban["name"].encode()) < 256
    assert node.cli("mqtt", "unban", "client", ban["name"])[0] == 0
    assert code_of(node, name)[1] == 0


def test_a_client_that_flaps_is_banned_until_it_is_let_in_again(node_factory):
    node = mqtt_node(node_factory, LOCAL, "mqtt.bans.drops=4")
    for _ in range(6):  # whoever says goodbye does not flap
        wire, code = code_of(node, "polite")
        assert code == 0
        wire.send("DISCONNECT")
        assert wire.is_closed()
    for _ in range(4):
        wire, code = code_of(node, "flapping")
        assert code == 0
        wire.cut()
        wait_for(lambda: node.metric("millrace_mqtt_connections") == 0, 10, "it does not go")
    assert code_of(node, "flapping")[1] == BANNED
    is_told(node, "bans", 1)
    assert "client 'flapping' of admin: 4 lost connections within 60 s; banned for 300 s" in node.log()
    (ban,) = bans(node)
    assert (ban["kind"], ban["name"], ban["user"], ban["count"]) == ("client", "flapping", "admin", 4)
    assert node.sql("SELECT kind, name, user, reason, count, until > now() FROM sys.mqtt_bans") == [
        ["client", "flapping", "admin", "lost connections", 4, True]]
    assert code_of(node, "another")[1] == 0 and node.metric("millrace_mqtt_bans") == 1
    assert node.request("DELETE", "/v1/mqtt/bans/client/nobody")[0] == 404
    assert "flapping" in node.cli("mqtt", "bans")[1]
    assert node.cli("mqtt", "unban", "client", "flapping")[0] == 0
    assert not bans(node) and code_of(node, "flapping")[1] == 0
    assert node.sql("SELECT count(*) FROM sys.audit WHERE kind = 'MqttBan' AND path = 'flapping'") == [[1]]


def test_an_address_that_tries_passwords_is_slowed_down_and_banned(node_factory):
    node = mqtt_node(node_factory, LOCAL, "mqtt.bans.failures=7", "mqtt.bans.time=4s")
    began = time.monotonic()
    for number in range(7):
        assert code_of(node, "x", "127.0.0.2", user=f"user{number}", password="a-wrong-one")[1] == BAD_USER
    assert time.monotonic() - began > 0.25, "from the fifth on they are slowed down"
    is_told(node, "bans.failures")
    assert From(node, "127.0.0.2").is_closed()
    assert [(ban["kind"], ban["name"]) for ban in bans(node)] == [("address", "127.0.0.2")]
    assert code_of(node, "x")[1] == 0, "another address is banned, too"
    wait_for(lambda: code_of(node, "x", "127.0.0.2")[1] == 0, 15, "the ban does not end")
    assert not bans(node)


def test_settings_of_limits_change_without_a_session_ending(node_factory, tmp_path):
    node = mqtt_node(node_factory, start=False)
    yaml = tmp_path / "node.yaml"
    yaml.write_text("mqtt:\n  limits: {connectionsPerUser: 2}\n")
    node.command += ["-c", str(yaml)]
    node.start()
    first, second = Client(node, "first"), Client(node, "second")
    assert code_of(node, "third")[1] == QUOTA
    yaml.write_text("mqtt:\n  limits: {connectionsPerUser: 3, topicLevels: 2}\n")
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload: done" in node.log(), 10, "no reload")
    assert code_of(node, "third")[1] == 0
    assert second.subscribe(("a/b/c", 0)) == [143]
    assert len(first.reasons) == len(second.reasons) == 1
