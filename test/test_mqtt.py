"""The broker with real clients: paho (Python) and Mosquitto's command-line clients, MQTT 3.1, 3.1.1 and 5.0."""
import json
import os
import signal
import socket
import struct
import subprocess

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from conftest import HOST, wait_for
from mqtt_client import LIMIT_S, VERSIONS, Client, mqtt_node

@pytest.fixture(name="node")
def node_fixture(node_factory):
    return mqtt_node(node_factory)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_qos_arrives_in_order_as_it_was_subscribed(node, version):
    there, here = Client(node, "there", version), Client(node, "here", version)
    assert there.subscribe(("up/0", 0), ("up/1", 1), ("up/2", 2)) == [0, 1, 2]
    for qos in 0, 1, 2:
        for granted in 0, 1, 2:
            for number in range(20):
                here.publish(f"up/{granted}", f"{qos}.{number}", qos)
    there.wait(180)
    for granted in 0, 1, 2:
        got = [(m.payload.decode(), m.qos) for m in there.got if m.topic == f"up/{granted}"]
        assert got == [(f"{qos}.{number}", min(qos, granted)) for qos in (0, 1, 2) for number in range(20)]


def test_wildcards_retained_messages_and_their_end(node):
    here = Client(node, "here")
    for number in range(300):
        here.publish(f"plant/line{number % 3}/m{number}", f"{number}", 1, retain=True)
    here.publish("$own/x", "hidden", 1, retain=True)
    there = Client(node, "there", "3.1.1")
    there.subscribe(("plant/+/m7", 1))
    assert there.wait(1) == [("plant/line1/m7", "7", 1, True)]
    there.subscribe(("plant/line2/#", 0))
    assert len(there.wait(101)) == 101
    everything = Client(node, "everything", "3.1.1")
    everything.subscribe(("#", 0))
    assert {m[0] for m in everything.wait(300)} == {f"plant/line{n % 3}/m{n}" for n in range(300)}
    here.publish("plant/line1/m7", "", 1, retain=True)
    later = Client(node, "later")
    later.subscribe(("plant/line1/m7", 1), ("plant/line1/m10", 1))
    assert [m[0] for m in later.wait(1)] == ["plant/line1/m10"]


def test_a_session_that_is_kept_gets_what_came_meanwhile(node):
    there = Client(node, "keeper", "3.1.1", clean=False)
    there.subscribe(("off/#", 2))
    there.close()
    here = Client(node, "here")
    for number in range(200):
        here.publish("off/x", f"{number}", number % 3)
    again = Client(node, "keeper", "3.1.1", clean=False, connect=False)
    assert again.connect() == (0, {"session present": 1})
    got = again.wait(133)  # QoS 0 is for who is there
    for qos in 1, 2:  # paho shows QoS 2 when it is released
        assert [m[1] for m in got if m[2] == qos] == [f"{n}" for n in range(200) if n % 3 == qos]
    fresh = Client(node, "keeper", "3.1.1", clean=True, connect=False)
    again.close()
    assert fresh.connect() == (0, {"session present": 0})


def test_the_will_of_who_vanishes_and_not_of_who_says_goodbye(node):
    there = Client(node, "there")
    there.subscribe(("will/#", 1))
    for name in "vanishes", "says-goodbye":
        child = subprocess.Popen(["mosquitto_sub", "-p", str(node.mqtt_port), "-u", "admin", "-P", node.PASSWORD, "-i", name, "-t", "x",
                                  "--will-topic", f"will/{name}", "--will-payload", "gone", "--will-qos", "1"])
        # Before its SUBACK a signal would end it without a goodbye.
        wait_for(lambda: node.metric("millrace_mqtt_subscriptions") == 2, LIMIT_S, "it does not subscribe")
        child.send_signal(signal.SIGKILL if name == "vanishes" else signal.SIGTERM)
        child.wait()
        wait_for(lambda: node.metric("millrace_mqtt_sessions") == 1, LIMIT_S, "it does not leave")
    assert there.wait(1) == [("will/vanishes", "gone", 1, False)]


def test_shared_subscriptions_take_turns(node):
    members = [Client(node, f"member{n}") for n in range(3)]
    for member in members:
        member.subscribe(("$share/team/jobs/#", SubscribeOptions(qos=1)))
    here = Client(node, "here", "3.1.1")
    for number in range(90):
        here.publish("jobs/x", f"{number}", 1)
    wait_for(lambda: sum(len(m.got) for m in members) >= 90, LIMIT_S, "90 messages")
    assert [len(m.got) for m in members] == [30, 30, 30]


def test_what_5_0_brings_along_is_forwarded(node):
    there, here = Client(node, "there"), Client(node, "here")
    subscribing = Properties(PacketTypes.SUBSCRIBE)
    subscribing.SubscriptionIdentifier = 77
    there.subscribe(("p/#", SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True)), properties=subscribing)
    sent = Properties(PacketTypes.PUBLISH)
    sent.ContentType, sent.ResponseTopic, sent.CorrelationData = "text/plain", "answers/1", b"\0\1"
    sent.UserProperty = [("a", "1"), ("a", "2")]
    sent.MessageExpiryInterval = 100
    here.publish("p/x", "hello", 1, retain=True, properties=sent)
    there.wait(1)
    message = there.got[0]
    got = message.properties
    assert (got.ContentType, got.ResponseTopic, got.CorrelationData, got.UserProperty) == \
        ("text/plain", "answers/1", b"\0\1", [("a", "1"), ("a", "2")])
    assert got.SubscriptionIdentifier == [77] and 90 <= got.MessageExpiryInterval <= 100 and message.retain
    there.publish("p/own", "not to myself", 1)
    here.publish("p/y", "end", 1)
    assert [m[1] for m in there.wait(2)] == ["hello", "end"]


def test_a_second_connection_takes_the_session_over(node):
    first = Client(node, "same")
    ended = []
    first.paho.on_disconnect = lambda c, u, reason, *more: ended.append(getattr(reason, "value", reason))
    first.paho.reconnect_delay_set(60, 60)
    Client(node, "same")
    wait_for(lambda: ended, LIMIT_S, "the first one stays")
    assert ended[0] == 0x8e


def test_who_may_not_does_not(node):
    assert Client(node, "x", "3.1.1", password="wrong", connect=False).connect()[0] == 4
    assert Client(node, "x", "5.0", password="wrong", connect=False).connect()[0] == 0x86
    assert Client(node, "x", "3.1.1", user=None, connect=False).connect()[0] == 5
    assert Client(node, "x", "5.0", user=None, connect=False).connect()[0] == 0x87
    code, out = node.cli("user", "add", "vic", "--role", "viewer", "--json")
    assert code == 0, out
    token = node.token()
    assert Client(node, "x", "3.1.1", user="whoever", password=token, connect=False).connect()[0] == 0
    vic = Client(node, "vic", user="vic", password=json.loads(out)["password"])
    assert vic.subscribe(("a/b", 1)) == [1]
    other = Client(node, "other")
    other.subscribe(("a/#", 1))
    vic.publish("a/b", "no", 1)
    other.publish("a/c", "yes", 1)
    assert [m[1] for m in other.wait(1)] == ["yes"]


def test_rights_that_change_reach_who_is_connected(node):
    code, out = node.cli("user", "add", "eve", "--role", "engineer", "--json")
    assert code == 0, out
    code, token = node.cli("token", "create", "t1", "--user", "eve", "--json")
    assert code == 0, token
    by_password = Client(node, "by-password", user="eve", password=json.loads(out)["password"])
    by_token = Client(node, "by-token", user="eve", password=json.loads(token)["token"])
    ended = {}
    for client in by_password, by_token:
        client.paho.reconnect_delay_set(60, 60)
        client.paho.on_disconnect = lambda c, u, reason, *more: ended.setdefault(c, getattr(reason, "value", reason))
    here = Client(node, "here")
    by_password.subscribe(("a/#", 1))
    here.publish("a/b", "1", 1)
    by_password.wait(1)
    assert node.cli("delete", "token", "t1")[0] == 0
    wait_for(lambda: by_token.paho in ended, LIMIT_S, "a deleted token's client stays")
    assert ended == {by_token.paho: 0x87}
    user = {"spec": {"roles": []}}
    status, text = node.request("PATCH", "/apis/millrace.io/v1/users/eve", json.dumps(user), headers={"Content-Type": "application/merge-patch+json"})
    assert status == 200, text
    wait_for(lambda: node.metric("millrace_mqtt_subscriptions") == 0, LIMIT_S, "the subscription stays")
    here.publish("a/b", "2", 1)
    assert len(by_password.got) == 1 and by_password.paho not in ended
    assert node.cli("delete", "user", "eve")[0] == 0
    wait_for(lambda: by_password.paho in ended, LIMIT_S, "a deleted user's client stays")


def packet(first, body):
    return bytes([first, len(body)]) + body


def text(value):
    return struct.pack(">H", len(value)) + value


def test_nonsense_ends_that_connection_alone(node):
    witness = Client(node, "witness")
    witness.subscribe(("still/here", 1))
    hello = text(b"MQTT") + bytes([4, 0xc2]) + struct.pack(">H", 60) + text(b"raw") + text(b"admin") + text(node.PASSWORD.encode())
    cases = [b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\xff\x01", packet(0x10, hello[:-3]), packet(0x20, b"\0\0"),
             packet(0x10, hello) + packet(0x10, hello), packet(0x10, hello) + packet(0x36, text(b"t") + b"\0\1x"),
             packet(0x10, hello) + packet(0x30, text(b"a/#")), packet(0x10, hello) + packet(0x80, b"\0\1" + text(b"t") + b"\0"),
             packet(0x10, hello) + packet(0x82, b"\0\1"), packet(0x10, hello) + packet(0xf0, b""),
             packet(0x10, hello) + b"\x30\xff\xff\xff\x7f"]
    for case in cases:
        with socket.create_connection((HOST, node.mqtt_port)) as peer:
            peer.settimeout(LIMIT_S)
            peer.sendall(case)
            got = b""
            while piece := peer.recv(4096):
                got += piece
            assert got in (b"", b"\x20\x02\0\0"), (case, got)
    witness.publish("still/here", "yes", 1)
    assert witness.wait(1)[0][1] == "yes"


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_acknowledged_survives_kill_9(node, qos):
    here, there = Client(node, "here", "3.1.1", clean=False), Client(node, "there", "3.1.1", clean=False)
    there.subscribe(("k/#", 2))
    there.close()
    for number in range(100):
        here.publish("k/x", f"{number}", qos)
    here.publish("kept", "retained", 1, retain=True)
    here.close()
    node.kill9()
    node.start()
    again = Client(node, "there", "3.1.1", clean=False, connect=False)
    assert again.connect() == (0, {"session present": 1})
    assert [m[1] for m in again.wait(100)] == [f"{n}" for n in range(100)]
    again.subscribe(("kept", 1))
    assert again.wait(101)[-1] == ("kept", "retained", 1, True)
    again.close()
    node.kill9()
    node.start()
    last = Client(node, "there", "3.1.1", clean=False, connect=False)
    last.connect()
    last.publish("k/x", "after", 1)
    wait_for(lambda: last.got and last.got[-1].payload == b"after", LIMIT_S, "the last message")
    # What was acknowledged so shortly before the kill may come again.
    assert [m.payload for m in last.got if (m.topic, m.qos) != ("kept", 1)] == [b"after"]


def test_what_waits_for_a_member_that_ends_is_kept_for_another(node):
    """Of a shared subscription; also when the node was killed before and after."""
    for name in ("a", "b"):
        member = Client(node, name, "3.1.1", clean=False)
        member.subscribe(("$share/g/s/#", 1))
        member.close()
    here = Client(node, "here")
    for number in range(20):
        here.publish("s/x", f"{number}", 1)
    here.close()
    node.kill9()
    node.start()
    Client(node, "a").close()
    here = Client(node, "later")
    here.publish("s/x", "20", 1)  # durable, and so is what was before it
    here.close()
    node.kill9()
    node.start()
    b = Client(node, "b", "3.1.1", clean=False, connect=False)
    b.connect()
    assert sorted(int(m[1]) for m in b.wait(21)) == list(range(21))


def test_the_log_is_let_go_once_the_state_is_written(node):
    """Notes hold back segments of the log until the broker has written its file."""
    here, there = Client(node, "here", "3.1.1", clean=False), Client(node, "there", "3.1.1", clean=False)
    there.subscribe(("k/#", 1))
    there.close()
    def log_mb():
        folder = os.path.join(node.data, "log")
        return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)) / 1e6

    for number in range(150):
        here.publish("k/x", "x" * 1000000, 1)
        if number >= 140:
            here.publish("kept/x", f"{number}", 1, retain=True)
    wait_for(lambda: os.path.exists(os.path.join(node.data, "mqtt", "state")), LIMIT_S, "no file")
    wait_for(lambda: log_mb() < 140, 30, "the log keeps everything")  # a segment that is written, two spares, one that is let go next
    node.kill9()
    node.start()
    again = Client(node, "there", "3.1.1", clean=False, connect=False)
    again.connect()
    again.subscribe(("kept/x", 1))
    wait_for(lambda: any(m.topic == "kept/x" for m in again.got), LIMIT_S, "the retained message")
    assert again.got[-1].payload == b"149"


@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
def test_mosquittos_clients_work(node, version):
    login = ["-p", str(node.mqtt_port), "-u", "admin", "-P", node.PASSWORD, "-V", version]
    with subprocess.Popen(["mosquitto_sub", *login, "-t", "m/+", "-q", "2", "-C", "3", "-v", "-i", "sub"], stdout=subprocess.PIPE,
                          text=True) as sub:
        wait_for(lambda: node.metric("millrace_mqtt_subscriptions") == 1, LIMIT_S, "it does not subscribe")
        for qos in "0", "1", "2":
            subprocess.run(["mosquitto_pub", *login, "-t", "m/x", "-m", f"q{qos}", "-q", qos], check=True, timeout=LIMIT_S)
        assert sub.communicate(timeout=LIMIT_S)[0] == "m/x q0\nm/x q1\nm/x q2\n"
