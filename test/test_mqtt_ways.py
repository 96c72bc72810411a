"""Ways to the broker beside TCP and TLS: WebSocket at /mqtt of the HTTP listeners, a Unix socket, through a load balancer."""
import base64
import hashlib
import hmac
import json
import os
import socket
import ssl
import stat
import struct

import paho.mqtt.client as paho
import pytest

from conftest import HOST, ROOT, free_port, wait_for
from mqtt_client import mqtt_node
from mqtt_scram import Conversation
from test_mqtt import LIMIT_S, VERSIONS, Client, packet, text


@pytest.fixture(name="node")
def node_fixture(node_factory):
    port = free_port()
    node = node_factory(settings=[f"listen.mqtt={HOST}:{port}"])
    node.mqtt_port = port
    return node


class WebClient(Client):
    """The same over WebSocket."""

    def __init__(self, node, name, version="5.0", is_tls=False, **more):
        self.is_tls = is_tls
        super().__init__(node, name, version, connect=False, **more)
        first = self.paho
        extra = {} if version == "5.0" else {"clean_session": self.clean}
        self.paho = paho.Client(name, protocol=VERSIONS[version], transport="websockets", **extra)
        self.paho.username_pw_set("admin", node.PASSWORD)
        for event in "on_message", "on_connect", "on_publish", "on_subscribe":
            setattr(self.paho, event, getattr(first, event))
        if is_tls:
            self.paho.tls_set(cert_reqs=ssl.CERT_NONE)
            self.paho.tls_insecure_set(True)
        self.connect_to(node.https_port if is_tls else node.port)

    def connect_to(self, port):
        extra = {"clean_start": True} if self.version == "5.0" else {}
        self.paho.connect(HOST, port, **extra)
        self.paho.loop_start()
        wait_for(lambda: self.reasons, LIMIT_S, "no CONNACK")


@pytest.mark.parametrize("version", VERSIONS)
def test_clients_over_websocket_and_tcp_meet(node, version):
    web, plain = WebClient(node, "web", version), Client(node, "plain")
    assert web.subscribe(("w/#", 2)) == [2]
    plain.subscribe(("w/#", 1))
    for number in range(100):
        (web if number % 2 else plain).publish("w/x", f"{number}", number % 3)
    assert sorted(int(m[1]) for m in web.wait(100)) == list(range(100))
    assert len(plain.wait(100)) == 100
    large = "x" * 600000
    web.publish("w/large", large, 1)
    plain.publish("w/large", large, 1)
    assert [len(m[1]) for m in web.wait(102)[100:]] == [600000, 600000]
    web.close()
    plain.close()


class Socket:
    """A WebSocket made of bytes."""

    def __init__(self, node, headers=(), protocols="mqtt"):
        self.peer = socket.create_connection((HOST, node.port))
        self.peer.settimeout(LIMIT_S)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"Host: {HOST}:{node.port}", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
                 "Sec-WebSocket-Version: 13", *headers, *([f"Sec-WebSocket-Protocol: {protocols}"] if protocols else [])]
        self.peer.sendall(("GET /mqtt HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self.peer.recv(1)
        self.status = int(self.head.split()[1])

    def send(self, payload, opcode=2, fin=True):
        size = struct.pack(">B", 0x80 | len(payload)) if len(payload) < 126 else b"\xff" + struct.pack(">Q", len(payload))
        self.peer.sendall(bytes([(0x80 if fin else 0) | opcode]) + size + bytes(4) + payload)

    def take(self, size):
        got = b""
        while len(got) < size:
            piece = self.peer.recv(size - len(got))
            assert piece, "the connection is closed"
            got += piece
        return got

    def receive(self):
        first, size = self.take(2)
        if size >= 126:
            size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
        return first & 15, self.take(size)


def hello(name, user=None, password=None):
    flags = (0x80 if user else 0) | (0x40 if password else 0) | 2
    login = b"".join(text(x.encode()) for x in (user, password) if x)
    return packet(0x10, text(b"MQTT") + bytes([4, flags, 0, 60]) + text(name) + login)


def test_packets_may_span_frames_and_frames_hold_many_packets(node):
    peer = Socket(node, protocols="chat, mqtt")
    assert peer.status == 101 and b"\r\nSec-WebSocket-Protocol: mqtt\r\n" in peer.head
    first = hello(b"raw", "admin", node.PASSWORD)
    for at in range(len(first)):
        peer.send(first[at:at + 1], 2 if at == 0 else 0, at == len(first) - 1)
    assert peer.receive() == (2, b"\x20\x02\0\0")
    peer.send(packet(0x82, b"\0\1" + text(b"f/#") + b"\1") + packet(0x32, text(b"f/1") + b"\0\2one") + packet(0x30, text(b"f/2") + b"two")
              + packet(0xc0, b""))
    got = b""
    while b"\xd0\0" not in got or b"two" not in got or b"\x40\x02" not in got:
        opcode, piece = peer.receive()
        assert opcode == 2
        got += piece
    assert b"\x90\x03\0\1\1" in got and text(b"f/1") in got
    peer.send(b"\xe0\0")
    assert peer.receive()[0] == 8  # the broker has closed: so does the socket


def test_what_is_no_mqtt_over_websocket_is_refused(node):
    assert Socket(node, protocols=None).status == 400
    assert Socket(node, protocols="chat").status == 400
    assert b"Sec-WebSocket-Protocol: mqttv3.1\r\n" in Socket(node, protocols="mqttv3.1").head
    peer = Socket(node)
    peer.send(b"hello", 1)
    assert peer.receive() == (8, b"\x03\xebbinary frames only")
    wait_for(lambda: node.metric("millrace_mqtt_connections") <= 1, LIMIT_S, "the connection stays")


def test_who_http_knows_may_come_without_a_login(node):
    cookie, own = f"Cookie: millrace={node.token()}", f"Origin: http://{HOST}:{node.port}"
    for headers, code in (((), 5), ((cookie,), 0), ((cookie, own), 0), ((cookie, "Origin: http://evil.example"), 5),
                          ((cookie, own.replace("http:", "https:")), 0), ((cookie, "Sec-Fetch-Site: same-site"), 5), ((f"Authorization: Bearer {node.token()}",), 0),
                          (("Authorization: Bearer nonsense",), 5)):
        peer = Socket(node, headers)
        assert peer.status == 101
        peer.send(hello(b"somebody"))
        assert peer.receive() == (2, bytes([0x20, 2, 0, code])), headers
        peer.peer.close()
    peer = Socket(node, (cookie,))
    peer.send(hello(b"x", "admin", "wrong"))  # who brings a login is judged by that
    assert peer.receive() == (2, b"\x20\x02\0\4")


def test_a_web_page_is_never_anonymous(node_factory):
    node = node_factory(settings=["mqtt.anonymous=true"])
    for headers, code in (((), 0), ((f"Origin: http://{HOST}:{node.port}",), 5), (("X-Forwarded-For: 10.0.0.9",), 5)):
        peer = Socket(node, headers)
        peer.send(hello(b"page"))
        assert peer.receive() == (2, bytes([0x20, 2, 0, code])), headers


def test_who_has_no_name_may_what_the_manual_gives_him(node_factory, tmp_path):
    with open(os.path.join(ROOT, "docs/manual.md"), encoding="utf-8") as file:
        example = next(block for block in file.read().split("```yaml\n")[1:] if "open-topics" in block).split("```")[0]
    (tmp_path / "rights.yaml").write_text(example)
    node = mqtt_node(node_factory, "mqtt.anonymous=true")
    assert Client(node, "early", user=None).subscribe(("plant/#", 1)) == [135], "nobody has been given anything yet"
    assert node.cli("apply", "-f", str(tmp_path / "rights.yaml"))[0] == 0
    nobody = Client(node, "nobody", user=None)
    assert nobody.subscribe(("plant/#", 1), ("data/#", 1), ("#", 1)) == [1, 135, 135]
    nobody.publish("plant/x", "1", 1)
    wait_for(lambda: nobody.got, LIMIT_S, "the message does not come back")


def test_a_socket_that_does_not_read_costs_little_and_gets_everything(node):
    slow, here = Socket(node), Client(node, "here")
    slow.send(hello(b"slow", "admin", node.PASSWORD))
    assert slow.receive() == (2, b"\x20\x02\0\0")
    slow.send(packet(0x82, b"\0\1" + text(b"b/#") + b"\1"))
    assert slow.receive()[0] == 2
    wait_for(lambda: node.metric("millrace_mqtt_subscriptions") == 1, LIMIT_S, "it does not subscribe")
    here.subscribe(("b/end", 0))
    for number in range(60):
        here.publish("b/x", f"{number:02}" * 50000, 0)
    here.publish("b/end", "end", 1)
    here.wait(1)
    got, count = b"", 0
    while b"end" not in got[-20:]:
        opcode, piece = slow.receive()
        assert opcode == 2
        got += piece
        count += 1
    assert count > 1 and got[3:].count(text(b"b/x")) <= 60


def test_the_node_stops_with_open_sockets(node):
    peers = [Socket(node) for _ in range(5)]
    for number, peer in enumerate(peers):
        peer.send(hello(b"stay%d" % number, "admin", node.PASSWORD))
        assert peer.receive() == (2, b"\x20\x02\0\0")
    node.stop()
    for peer in peers:
        try:
            while peer.peer.recv(4096):
                pass
        except ConnectionResetError:
            pass


def talk(peer, payload, size):
    peer.settimeout(LIMIT_S)
    peer.sendall(payload)
    got = b""
    while len(got) < size:
        piece = peer.recv(size - len(got))
        if not piece:
            break
        got += piece
    return got


def test_a_unix_socket_serves_and_a_stale_one_is_replaced(node_factory, tmp_path):
    path = str(tmp_path / "mqtt.sock")
    node = node_factory(settings=[f"listen.mqttUnix={path}"])

    def ask():
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            return talk(peer, hello(b"unix", "admin", node.PASSWORD), 4)

    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    assert ask() == b"\x20\x02\0\0"
    node.kill9()
    assert os.path.exists(path)
    node.start()
    assert ask() == b"\x20\x02\0\0"
    node.stop()
    assert not os.path.exists(path)


def test_a_unix_path_that_is_in_use_stays(node_factory, tmp_path):
    path = str(tmp_path / "mqtt.sock")
    with open(path, "w", encoding="ascii") as file:
        file.write("precious")
    node = node_factory(settings=[f"listen.mqttUnix={path}"], start=False)
    with pytest.raises(BaseException):
        node.start()
    assert path in node.log()
    with open(path, encoding="ascii") as file:
        assert file.read() == "precious"
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(BaseException):
            node.start()
        assert os.path.exists(path)


PROXY = b"\r\n\r\n\0\r\nQUIT\n"
FROM = PROXY + b"\x21\x11\0\x0c\xc0\0\x02\x09\x0a\0\0\1\xa0\xcd\x07\x5b"


def test_who_only_looks_whether_the_port_is_open_is_not_told(node_factory):
    """As load balancers do every second."""
    mqtts = free_port()
    node = node_factory(settings=[f"listen.mqtts={HOST}:{mqtts}"])
    for said in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"):
        with socket.create_connection((HOST, mqtts), 5) as conn:
            conn.sendall(said)
    told = "TLS: the peer closed the connection during the handshake"
    wait_for(lambda: node.log().count("TLS: ") == 2, LIMIT_S, "what is no handshake is not told")
    assert node.log().count(told) == 1


@pytest.mark.parametrize("is_tls,loops", [(False, 0), (True, 0), (False, 2), (True, 2)])
def test_behind_a_load_balancer_the_peer_is_the_client(node_factory, is_tls, loops):
    port = free_port()
    node = node_factory(settings=[f"listen.{'mqtts' if is_tls else 'mqtt'}={HOST}:{port}", "mqtt.proxy=true", "mqtt.anonymous=true",
                                  f"mqtt.loops={loops}"])

    def ask(header, login, pieces=False):
        with socket.create_connection((HOST, port)) as peer:
            peer.settimeout(LIMIT_S)
            for at in range(0, len(header), 1 if pieces else len(header)):
                peer.sendall(header[at:at + (1 if pieces else len(header))])
            if is_tls:
                context = ssl._create_unverified_context()  # pylint: disable=protected-access
                with context.wrap_socket(peer) as inner:
                    return talk(inner, login, 4)
            return talk(peer, login, 4)

    assert ask(FROM, hello(b"x", "admin", node.PASSWORD)) == b"\x20\x02\0\0"
    assert ask(FROM, hello(b"x", "admin", node.PASSWORD), pieces=True) == b"\x20\x02\0\0"
    assert ask(FROM, hello(b"x", "admin", "wrong")) == b"\x20\x02\0\4"
    assert "192.0.2.9:41165: bad user name or password" in node.log().lower()
    assert ask(FROM, hello(b"x")) == b"\x20\x02\0\5"  # anonymous is who comes from here
    assert ask(PROXY + b"\x20\0\0\0", hello(b"x")) == b"\x20\x02\0\5"
    if not is_tls:
        assert ask(PROXY + b"\x21\x11\0\x0c\x7f\0\0\1\x7f\0\0\1\0\1\0\2", hello(b"x")) == b"\x20\x02\0\0"
        assert ask(hello(b"x", "admin", node.PASSWORD), b"\0") == b""
        assert "does not begin with a PROXY header" in node.log()
        with socket.create_connection((HOST, port)) as peer:  # header and packets in one piece
            assert talk(peer, FROM + hello(b"x", "admin", node.PASSWORD) + b"\xc0\0", 6) == b"\x20\x02\0\0\xd0\0"


class Scram:
    """SCRAM-SHA-256's client in MQTT 5.0's AUTH packets."""

    def __init__(self, node, user="admin", password=None, method=b"SCRAM-SHA-256", name=b"scram"):
        self.password, self.method = node.PASSWORD if password is None else password, method
        self.peer = socket.create_connection((HOST, node.mqtt_port))
        self.peer.settimeout(LIMIT_S)
        self.proof = Conversation(user, self.password)
        properties = self.properties(self.proof.first())
        self.send(0x10, text(b"MQTT") + bytes([5, 2, 0, 60]) + properties + text(name))

    def properties(self, data):
        inner = b"\x15" + text(self.method) + b"\x16" + text(data)
        return self.varint(len(inner)) + inner

    @staticmethod
    def varint(value):
        return bytes([value]) if value < 128 else bytes([value % 128 + 128, value // 128])

    def send(self, first, body):
        self.peer.sendall(bytes([first]) + self.varint(len(body)) + body)

    def auth(self, reason, data):
        self.send(0xf0, bytes([reason]) + self.properties(data))

    def receive(self):
        def take(size):
            got = b""
            while len(got) < size:
                piece = self.peer.recv(size - len(got))
                assert piece, "the connection is closed"
                got += piece
            return got
        first, size, shift = take(1)[0], 0, 0
        while True:
            digit = take(1)[0]
            size |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                return first, take(size)

    def prove(self):
        kind, body = self.receive()
        assert (kind, body[0]) == (0xf0, 0x18), body
        server = body[body.index(b"r="):]
        final, expected = self.proof.answer(server)
        self.auth(0x18, final)
        return expected

    def again(self, user="admin"):
        self.proof = Conversation(user, self.password)
        self.auth(0x19, self.proof.first())


def test_scram_proves_both_sides_at_connect_and_again(node):
    peer = Scram(node)
    expected = peer.prove()
    kind, body = peer.receive()
    assert (kind, body[:2]) == (0x20, b"\0\0") and expected in body and b"SCRAM-SHA-256" in body
    peer.send(0x82, b"\0\1\0" + text(b"s/#") + b"\0")
    assert peer.receive() == (0x90, b"\0\1\0\0")
    for _ in range(2):
        peer.again()
        peer.send(0x30, text(b"s/x") + b"\0" + b"meanwhile")
        seen = [peer.receive(), peer.receive()]
        server = next(body for kind, body in seen if kind == 0xf0)
        assert server[0] == 0x18 and any(b"meanwhile" in body for kind, body in seen if kind == 0x30)
        final, expected = peer.proof.answer(server[server.index(b"r="):])
        peer.auth(0x18, final)
        kind, body = peer.receive()
        assert (kind, body[0]) == (0xf0, 0) and expected in body


@pytest.mark.parametrize("user, password", [("admin", "wrong"), ("nobody", None), ("", None)])
def test_who_cannot_prove_it_is_refused_the_same_way(node, user, password):
    peer = Scram(node, user, password)
    if user:
        peer.prove()
    kind, body = peer.receive()
    assert (kind, body[1]) == (0x20, 0x87)
    assert peer.peer.recv(1) == b""


def test_who_fails_to_prove_it_again_is_disconnected(node):
    code, out = node.cli("user", "add", "vic", "--role", "viewer", "--json")
    assert code == 0, out
    for user, password in ("admin", "wrong"), ("vic", json.loads(out)["password"]):
        peer = Scram(node)
        peer.prove()
        assert peer.receive()[1][:2] == b"\0\0"
        peer.password = password
        peer.again(user)
        peer.prove()
        kind, body = peer.receive()
        assert (kind, body[0]) == (0xe0, 0x87), body


def test_auth_that_does_not_belong_is_refused(node):
    other = Scram(node, method=b"SCRAM-SHA-1")
    kind, body = other.receive()
    assert (kind, body[1]) == (0x20, 0x8c)
    early = Scram(node)
    assert early.receive()[0] == 0xf0
    early.send(0x30, text(b"s/x") + b"\0x")  # nothing but AUTH before it is proved
    assert early.peer.recv(100) == b""
    changed = Scram(node)
    changed.prove()
    assert changed.receive()[1][:2] == b"\0\0"
    changed.method = b"PLAIN"
    changed.again()
    assert changed.receive()[1][0] == 0x82
    twice = Scram(node)
    twice.prove()
    assert twice.receive()[1][:2] == b"\0\0"
    twice.again()
    twice.again()
    kinds = [twice.receive()]
    while kinds[-1][0] != 0xe0:
        kinds.append(twice.receive())
    assert kinds[-1][1][0] == 0x82
    left = Scram(node)  # who goes in the middle leaves nothing behind
    assert left.receive()[0] == 0xf0
    left.peer.close()
    plain = Client(node, "plain")
    plain.subscribe(("x", 0))


def test_rights_may_name_the_user_and_the_client(node, tmp_path):
    role = tmp_path / "role.yaml"
    role.write_text("apiVersion: millrace.io/v1\nkind: Role\nmetadata: {name: own}\nspec:\n  rules:\n"
                    "    - {verbs: [publish, subscribe], paths: ['u/%u/#', 'c/%c/in']}\n", encoding="utf-8")
    code, out = node.cli("apply", "-f", str(role))
    assert code == 0, out
    code, out = node.cli("user", "add", "vic", "--role", "own", "--json")
    assert code == 0, out
    vic = Client(node, "m7", user="vic", password=json.loads(out)["password"])
    assert vic.subscribe(("u/vic/#", 1), ("c/m7/in", 1), ("u/admin/#", 1), ("c/m8/in", 1), ("u/+/#", 1)) == [1, 1, 0x87, 0x87, 0x87]
    wide = Client(node, "+", user="vic", password=json.loads(out)["password"])
    assert wide.subscribe(("c/+/in", 1)) == [0x87]
    wide.publish("u/vic/x", "mine", 1)
    assert [m[1] for m in vic.wait(1)] == ["mine"]
