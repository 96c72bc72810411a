"""CoAP clients at the MQTT broker (listen.coap, listen.coaps): libcoap's client as the peer, mosquitto's on the other side."""
import json
import random
import signal
import socket
import subprocess
import time

import pytest
from conftest import HOST, Node, free_port, wait_for
from test_mqtt_ops import document, hup

CLIENT = "coap-client-openssl"


def coap(node, method, topic, *options, query="?u=admin&p=" + Node.PASSWORD, secure=False, limit_s=8):
    """What coap-client printed: the payload of the answer, or the code and text of a refusal."""
    port, scheme = (node.coaps_port, "coaps") if secure else (node.coap_port, "coap")
    command = [CLIENT, "-B", str(limit_s - 2), "-m", method, *options, f"{scheme}://{HOST}:{port}/ps/{topic}{query}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s + 10, check=False)
    return (done.stdout + done.stderr).rstrip("\n")


def make_node(node_factory, *settings):
    coap_port, coaps_port, mqtt_port = (free_port() for _ in range(3))
    node = node_factory(settings=[f"listen.coap={HOST}:{coap_port}", f"listen.mqtt={HOST}:{mqtt_port}", *settings])
    node.coap_port, node.coaps_port, node.mqtt_port = coap_port, coaps_port, mqtt_port
    return node


def mosquitto(node, tool, *options):
    return [tool, "-V", "5", "-h", HOST, "-p", str(node.mqtt_port), "-u", "admin", "-P", Node.PASSWORD, *options]


@pytest.fixture(name="gateway")
def gateway_fixture(node_factory):
    return make_node(node_factory)


def test_what_is_put_is_what_mqtt_sees_and_what_get_gives(gateway):
    assert coap(gateway, "put", "line3/press07", "-t", "50", "-e", '{"speed":12.5}') == ""
    assert coap(gateway, "get", "line3/press07") == '{"speed":12.5}'
    seen = subprocess.run(mosquitto(gateway, "mosquitto_sub", "-t", "line3/#", "-C", "1", "-W", "5", "-F", "%t %r %C %p"),
                          capture_output=True, text=True, timeout=10, check=True).stdout
    assert seen.strip() == 'line3/press07 1 application/json {"speed":12.5}'
    assert coap(gateway, "delete", "line3/press07") == ""
    assert coap(gateway, "get", "line3/press07") == "4.04 the topic has no value"


def test_a_post_is_published_and_not_kept(gateway):
    assert coap(gateway, "post", "event", "-e", "door open") == ""
    assert coap(gateway, "get", "event") == "4.04 the topic has no value"


def test_a_confirmed_put_survives_kill_9(gateway):
    for number in range(5):
        assert coap(gateway, "put", f"kept/{number}", "-e", f"v{number}") == ""
    gateway.kill9()
    gateway.start()
    assert [coap(gateway, "get", f"kept/{number}") for number in range(5)] == [f"v{number}" for number in range(5)]


def test_an_observer_gets_the_value_and_then_each_message_in_order(gateway, tmp_path):
    coap(gateway, "put", "o", "-e", "first;")
    out = tmp_path / "seen"
    with out.open("w") as file, subprocess.Popen([CLIENT, "-s", "60", "-m", "get", f"coap://{HOST}:{gateway.coap_port}/ps/o?u=admin&p={Node.PASSWORD}"],
                                                 stdout=file, stderr=file) as observer:
        wait_for(lambda: gateway.metric("millrace_coap_observers") == 1, 8, "it does not observe")
        subprocess.run(mosquitto(gateway, "mosquitto_pub", "-t", "o", "-q", "1", "-l"), input="".join(f"{number};\n" for number in range(20)),
                       text=True, check=True, timeout=20)
        wait_for(lambda: out.read_text().strip().endswith("19;"), 20, "messages are missing")
        observer.send_signal(signal.SIGINT)
        observer.wait(timeout=20)
    assert out.read_text().strip() == "first;" + "".join(f"{number};" for number in range(20))
    wait_for(lambda: gateway.metric("millrace_coap_observers") == 0, 8, "it said goodbye and is still there")


def test_large_payloads_go_in_blocks_both_ways(gateway, tmp_path):
    body = "".join(random.Random(7).choices("abcdefghij", k=50_000))
    file = tmp_path / "body"
    file.write_text(body)
    assert coap(gateway, "put", "big", "-f", str(file), limit_s=30) == ""
    assert coap(gateway, "get", "big", limit_s=30) == body
    assert coap(gateway, "get", "big", "-b", "256", limit_s=30) == body
    file.write_text(body * 2)
    assert coap(gateway, "put", "big", "-f", str(file), limit_s=30).startswith("4.13")
    assert coap(gateway, "get", "big", limit_s=30) == body
    assert gateway.metric("millrace_coap_limited_total") == 1


def test_who_asks_has_the_rights_of_his_user_and_nobody_has_none(gateway):
    rules = [{"verbs": ["publish", "subscribe"], "paths": ["dev/%u/#"]}]
    for kind, spec in ("Role", {"rules": rules}), ("User", {"roles": ["ann"], "password": "a-long-password"}):
        status, said = gateway.request("POST", f"/apis/millrace.io/v1/{kind.lower()}s", json.dumps(document(kind, "ann", spec)))
        assert status == 201, said
    ann = "?u=ann&p=a-long-password"
    assert coap(gateway, "put", "dev/ann/x", "-e", "1", query=ann) == ""
    assert coap(gateway, "put", "dev/bob/x", "-e", "1", query=ann) == "4.03 not authorized"
    assert coap(gateway, "get", "dev/bob/x", query=ann).startswith("4.03")
    for query in "?u=ann&p=wrong", "", "?token=wrong", "?u=ann":
        assert coap(gateway, "get", "dev/ann/x", query=query).startswith("4.01"), query
    assert coap(gateway, "put", "dev/ann/x", "-N", "-e", "2", query="?u=ann&p=wrong").startswith("4.01"), "not confirmable"
    assert coap(gateway, "get", "dev/ann/x", query="?token=" + gateway.token()) == "1"
    assert coap(gateway, "put", "dev/ann/x", "-N", "-e", "2", query=ann) == ""
    wait_for(lambda: coap(gateway, "get", "dev/ann/x", query=ann) == "2", 8, "it is not published")


def test_rows_under_data_reach_the_store(gateway):
    gateway.sql("CREATE TABLE m (speed DOUBLE)")
    assert coap(gateway, "post", "data/press07/m", "-t", "50", "-e", '{"speed":12.5}') == ""
    wait_for(lambda: gateway.sql("SELECT device, speed FROM m") == [["press07", 12.5]], 8, "no row")


def test_only_who_has_the_key_of_an_identity_gets_in_over_dtls(node_factory, tmp_path):
    port, keys, secret = free_port(), tmp_path / "keys", "0123456789abcdef"
    keys.write_text(f"old-press:{secret.encode().hex()}\n")
    keys.chmod(0o600)
    node = make_node(node_factory, f"listen.coaps={HOST}:{port}", f"mqtt.psk={keys}")
    node.coaps_port = port
    rules = [{"verbs": ["publish", "subscribe"], "paths": ["dev/%u/#"]}]
    for kind, spec in ("Role", {"rules": rules}), ("User", {"roles": ["old-press"]}):
        status, said = node.request("POST", f"/apis/millrace.io/v1/{kind.lower()}s", json.dumps(document(kind, "old-press", spec)))
        assert status == 201, said

    def ask(method, topic, identity, key, *options, **more):
        return coap(node, method, topic, "-u", identity, "-k", key, *options, query="", secure=True, **more)
    assert ask("put", "dev/old-press/x", "old-press", secret, "-e", "7") == ""
    assert ask("get", "dev/old-press/x", "old-press", secret) == "7"
    assert ask("get", "dev/other/x", "old-press", secret).startswith("4.03")
    assert ask("get", "dev/old-press/x", "old-press", "another-key-16-b", limit_s=5) != "7"
    assert ask("get", "dev/old-press/x", "stranger", secret, limit_s=5) != "7"
    # Another key: what the old one has opened is closed, the new one opens.
    another = "fedcba9876543210"
    keys.write_text(f"old-press:{another.encode().hex()}\n")
    hup(node, "reload: done")
    assert ask("get", "dev/old-press/x", "old-press", secret, limit_s=5) != "7"
    assert ask("get", "dev/old-press/x", "old-press", another) == "7"


def option(delta, value):
    assert delta < 13
    size = len(value)
    return bytes([delta << 4 | size]) + value if size < 13 else bytes([delta << 4 | 13, size - 13]) + value


def request(code, message_id, token, topic, password=Node.PASSWORD):
    """A confirmable one, by hand."""
    head = bytes([0x40 | len(token), code]) + message_id.to_bytes(2, "big") + token
    path = option(11, b"ps") + b"".join(option(0, level.encode()) for level in topic.split("/"))
    return head + path + option(4, b"u=admin") + option(0, b"p=" + password.encode())


def answered(sock, gateway):
    """The code of the next answer. One that took the disk a while has an empty acknowledgement in front of it, and may ask for one
    (RFC 7252 section 5.2.2)."""
    while True:
        seen = sock.recv(2048)
        if seen[0] & 0x30 == 0:
            sock.sendto(b"\x60\x00" + seen[2:4], (HOST, gateway.coap_port))
        if seen[1]:
            return seen[1]


def test_each_request_proves_anew_who_asks(gateway):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        codes = []
        for number, password in enumerate((Node.PASSWORD, "wrong", "", Node.PASSWORD)):
            sock.sendto(request(3, number, bytes([number]), "mine", password) + b"\xff1", (HOST, gateway.coap_port))
            codes.append(answered(sock, gateway))
    assert codes == [0x44, 0x81, 0x81, 0x44], "from one address: 2.04, 4.01, 4.01, 2.04"


@pytest.mark.parametrize("method", [5, 6, 7])
def test_a_method_that_is_not_known_is_not_allowed(gateway, method):
    """FETCH, PATCH and iPATCH (RFC 8132): the topic is there, the method is not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(request(3, 1, b"a", "there") + b"\xff1", (HOST, gateway.coap_port))
        assert answered(sock, gateway) == 0x44
        sock.sendto(request(method, 2, b"b", "there") + b"\xff1", (HOST, gateway.coap_port))
        assert answered(sock, gateway) == 0x85


def test_a_repeated_confirmable_post_is_published_once(gateway):
    before = gateway.metric("millrace_mqtt_messages_received_total")
    post = request(2, 77, b"ab", "again") + b"\xffonce"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        answers = []
        for _ in range(3):
            sock.sendto(post, (HOST, gateway.coap_port))
            answers.append(sock.recv(2048))
            time.sleep(0.1)
    assert all(answer[1:2] == b"\x44" and answer[2:4] == b"\x00\x4d" for answer in answers), answers
    assert gateway.metric("millrace_mqtt_messages_received_total") == before + 1


def test_another_request_with_the_message_id_of_the_last_one_is_no_repetition(gateway):
    """A device counts from the same number after each start, from the same port; and 65,536 messages later the number comes again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        for number, (token, topic, payload) in enumerate([(b"a", "one", b"1"), (b"a", "one", b"2"), (b"a", "two", b"2"), (b"b", "two", b"")]):
            sock.sendto(request(4 if not payload else 3, 1, token, topic) + (b"\xff" + payload if payload else b""), (HOST, gateway.coap_port))
            assert answered(sock, gateway) == (0x44 if payload else 0x42), number
    assert [coap(gateway, "get", topic) for topic in ("one", "two")] == ["2", "4.04 the topic has no value"]


def test_observers_beyond_the_limit_and_clients_that_refuse_are_let_go(gateway):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        for number in range(70):
            get = request(1, number, bytes([number]), "many")
            get = get[:5] + b"\x60" + option(5, b"ps") + get[8:]  # Observe: 0 before the path
            sock.sendto(get, (HOST, gateway.coap_port))
            sock.recv(2048)
        assert gateway.metric("millrace_coap_observers") == 64
        assert gateway.metric("millrace_coap_limited_total") == 6
        coap(gateway, "post", "many", "-e", "x")
        for _ in range(64):
            seen = sock.recv(2048)
            if seen[0] & 0x30 == 0:  # a confirmable one is refused
                sock.sendto(b"\x70\x00" + seen[2:4], (HOST, gateway.coap_port))
        wait_for(lambda: gateway.metric("millrace_coap_observers") < 64, 5, "a refusal ends nothing")


def test_wild_datagrams_do_not_hurt(gateway):
    chance = random.Random(11)
    good = request(1, 9, b"t", "a/b")
    for _ in range(300):
        damaged = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(bytes(damaged[:chance.randrange(4, len(damaged) + 1)]), (HOST, gateway.coap_port))
            sock.sendto(chance.randbytes(chance.randrange(1, 60)), (HOST, gateway.coap_port))
    assert coap(gateway, "put", "alive", "-e", "1") == ""
    assert coap(gateway, "get", "alive") == "1"
    assert gateway.alive()


def test_other_hosts_are_not_served_without_dtls_unless_that_is_meant(tmp_path):
    node = Node(str(tmp_path), settings=[f"listen.coap=0.0.0.0:{free_port()}"])
    done = subprocess.run(node.command, capture_output=True, text=True, timeout=20, check=False, env=node.env)
    assert done.returncode != 0 and "listen.coap: 0.0.0.0" in done.stderr and "listen.insecure" in done.stderr, done.stderr


@pytest.mark.parametrize("topic", ["a/#", "+", ""])
def test_a_response_topic_that_is_none_is_refused_and_ends_nobody(gateway, topic):
    say = {"topic": "hello", "payload": "x", "retain": True, "properties": {"responseTopic": topic}}
    status, text = gateway.request("POST", "/v1/mqtt/publish", json.dumps(say))
    assert coap(gateway, "get", "hello") == "4.04 the topic has no value" and gateway.alive()
    assert status == 400 and "responseTopic" in text, text
