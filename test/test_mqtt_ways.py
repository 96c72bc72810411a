"""Ways to the broker beside TCP and TLS: WebSocket at /mqtt of the HTTP listeners."""
import base64
import os
import socket
import ssl
import struct

import paho.mqtt.client as paho
import pytest

from conftest import HOST, free_port, wait_for
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
    for headers, code in (((), 4), ((cookie,), 0), ((cookie, own), 0), ((cookie, "Origin: http://evil.example"), 4),
                          ((cookie, own.replace("http:", "https:")), 4), ((f"Authorization: Bearer {node.token()}",), 0),
                          (("Authorization: Bearer nonsense",), 4)):
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
    for headers, code in (((), 0), ((f"Origin: http://{HOST}:{node.port}",), 4), (("X-Forwarded-For: 10.0.0.9",), 4)):
        peer = Socket(node, headers)
        peer.send(hello(b"page"))
        assert peer.receive() == (2, bytes([0x20, 2, 0, code])), headers


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
