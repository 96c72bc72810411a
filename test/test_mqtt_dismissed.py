"""Who is connected and may not come in like that any more goes, after a reload or a change of documents; his session stays."""
import json
import socket
import ssl
import subprocess

import paho.mqtt.client as paho
import pytest

from conftest import HOST, free_port, wait_for
from mqtt_client import LIMIT_S, Client, mqtt_node
from test_client_certificates import site_fixture  # noqa: F401  pylint: disable=unused-import
from test_line_tcp import count
from test_mqtt_ops import document, hup
from test_mqtt_psk import KEY, OTHER

OPEN_TOPICS = [{"verbs": ["publish", "subscribe"], "paths": ["a/#"]}]


def yaml_node(node_factory, tmp_path, *lines):
    """A node whose settings stand in node.yaml, so that a reload finds others."""
    node = node_factory(start=False)
    at = node.command.index("listen.mqtt=off")
    del node.command[at - 1:at + 1]
    node.yaml, node.mqtt_port = tmp_path / "node.yaml", free_port()
    node.command += ["-c", str(node.yaml)]
    write(node, *lines)
    node.start()
    return node


def write(node, *lines):
    node.yaml.write_text("\n".join([f"listen: {{mqtt: '{HOST}:{node.mqtt_port}'}}", *lines]) + "\n")


def put(node, kind, name, spec):
    status, said = node.request("POST", f"/apis/millrace.io/v1/{kind.lower()}s", json.dumps(document(kind, name, spec)))
    assert status == 201, said


def watch_end(client):
    """What the client was told when it was sent away: filled in later."""
    told = []
    client.paho.on_disconnect = lambda c, u, reason, *more: (told.append(getattr(reason, "value", reason)), client.paho.loop_stop())
    return told


@pytest.mark.parametrize("has_user", [False, True])
def test_anonymous_clients_go_when_nobody_is_let_in_without_a_login_any_more(node_factory, tmp_path, has_user):
    node = yaml_node(node_factory, tmp_path, "mqtt: {anonymous: true}")
    if has_user:
        put(node, "Role", "open", {"rules": OPEN_TOPICS})
        put(node, "User", "anonymous", {"roles": ["open"], "password": "a password of its own"})
    stranger = Client(node, "stranger", user=None, clean=False, connect=False)
    stranger.connect(3600)
    admin = Client(node, "admin")
    named = Client(node, "named", user="anonymous", password="a password of its own") if has_user else None
    if has_user:
        assert stranger.subscribe(("a/#", 1)) == [1]
    told = watch_end(stranger)
    write(node, "mqtt: {anonymous: false}")
    hup(node, "reload: done")
    wait_for(lambda: told, LIMIT_S, "it stays without a login")
    assert told == [0x87]
    assert admin.paho.is_connected() and (not named or named.paho.is_connected())
    assert node.sql("SELECT client FROM sys.mqtt_clients WHERE NOT connected") == [["stranger"]], "its session is not kept"
    if has_user:
        admin.publish("a/x", "kept for it", 1)
        again = Client(node, "stranger", user="anonymous", password="a password of its own", clean=False, connect=False)
        again.connect(3600)
        assert again.wait(1)[0][:2] == ("a/x", "kept for it")


def test_a_key_that_is_gone_or_another_one_takes_its_client_along(node_factory, tmp_path):
    keys, port = tmp_path / "keys", free_port()
    keys.write_text(f"stays:{KEY}\ngoes:{KEY}\nchanges:{KEY}\n")
    keys.chmod(0o600)
    node = mqtt_node(node_factory, f"listen.mqtts={HOST}:{port}", f"mqtt.psk={keys}")
    put(node, "Role", "open", {"rules": OPEN_TOPICS})
    for name in "stays", "goes", "changes":
        put(node, "User", name, {"roles": ["open"]})
    held = [subprocess.Popen(["mosquitto_sub", "-V", "5", "-h", HOST, "-p", str(port), "--psk", KEY, "--psk-identity", name, "-i", name, "-t", "a/#", "-c", "-x", "3600"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for name in ("stays", "goes", "changes")]

    def connected():
        return [row[0] for row in node.sql("SELECT client FROM sys.mqtt_clients WHERE connected ORDER BY client")]
    try:
        wait_for(lambda: connected() == ["changes", "goes", "stays"], LIMIT_S, "not all are there")
        since = node.sql("SELECT since FROM sys.mqtt_clients WHERE client = 'stays'")
        hup(node, "reload: done")  # the same keys
        assert connected() == ["changes", "goes", "stays"] and "holds no longer" not in node.log()
        keys.write_text(f"new:{OTHER}\nstays:{KEY}\nchanges:{OTHER}\n")
        hup(node, "reload: done")
        wait_for(lambda: connected() == ["stays"], LIMIT_S, "a client stays by a key that is gone")
        assert node.sql("SELECT since FROM sys.mqtt_clients WHERE client = 'stays'") == since
        assert node.sql("SELECT count(*) FROM sys.mqtt_clients") == [[3]], "a session is gone"
    finally:
        for process in held:
            process.kill()
            process.wait()


def tls_client(node, who):
    client = paho.Client(who, protocol=paho.MQTTv5)
    folder = node.certificates
    client.tls_set(None, str(folder / f"{who}.pem"), str(folder / f"{who}.key"), cert_reqs=ssl.CERT_NONE)
    client.tls_insecure_set(True)
    client.connect(HOST, node.mqtts)
    client.loop_start()
    wait_for(client.is_connected, LIMIT_S, "it does not get in")
    return client


@pytest.mark.parametrize("loops", [0, 2])
def test_a_certificate_whose_authority_is_gone_takes_its_connections_along(site, loops):
    line = free_port()
    node = site("tls.clientCertificates=optional", f"mqtt.loops={loops}", f"listen.line=0.0.0.0:{line}")
    folder, told = node.certificates, []
    client = tls_client(node, "gauge1")
    client.on_disconnect = lambda c, u, reason, *more: (told.append(getattr(reason, "value", reason)), client.loop_stop())
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(folder / "gauge1.pem", folder / "gauge1.key")
    with socket.create_connection((HOST, line), LIMIT_S) as raw, context.wrap_socket(raw) as lines:
        lines.sendall(b"m,device=a v=1 1\n")
        wait_for(lambda: count(node) == 1, LIMIT_S, "the row")
        own, other = (folder / "ca.pem").read_text(), (folder / "other.pem").read_text()
        (folder / "ca.pem").write_text(own + other)
        hup(node, "reload: done")
        lines.sendall(b"m,device=a v=2 2\n")
        wait_for(lambda: count(node) == 2, LIMIT_S, "one more authority disturbs")
        assert client.is_connected() and not told
        (folder / "ca.pem").write_text(other)
        hup(node, "reload: done")
        wait_for(lambda: told, LIMIT_S, "it stays by a certificate that nobody vouches for")
        assert told == [0x98]
        try:
            assert lines.recv(10) == b""
        except OSError:
            pass


def test_a_new_password_sends_away_who_came_with_the_old_one(node_factory):
    node = mqtt_node(node_factory)
    put(node, "Role", "open", {"rules": OPEN_TOPICS})
    put(node, "User", "ann", {"roles": ["open"], "password": "the old password"})
    ann, admin = Client(node, "ann", user="ann", password="the old password"), Client(node, "admin")
    told = watch_end(ann)
    status, said = node.request("PUT", "/apis/millrace.io/v1/users/ann", json.dumps(document("User", "ann", {"roles": ["open"], "password": "the new password"})))
    assert status == 200, said
    wait_for(lambda: told, LIMIT_S, "it stays by a password that is gone")
    assert told == [0x87] and admin.paho.is_connected()
    assert Client(node, "ann", user="ann", password="the new password").reasons[-1][0] == 0
