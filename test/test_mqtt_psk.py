"""mqtts with keys that both sides have beforehand (`mqtt.psk`), for devices without certificates: mosquitto's clients as peers."""
import json
import os
import signal
import subprocess

import pytest
from conftest import HOST, free_port, wait_for
from test_mqtt_ops import document

KEY, OTHER = "00112233445566778899aabbccddeeff", "ff" * 32


def make_node(node_factory, tmp_path, text, mode=0o600, loops=0):
    port, keys = free_port(), tmp_path / "keys"
    keys.write_text(text)
    os.chmod(keys, mode)
    node = node_factory(settings=[f"listen.mqtts={HOST}:{port}", f"mqtt.psk={keys}", f"mqtt.loops={loops}"])
    node.mqtts_port, node.keys = port, keys
    rules = [{"verbs": ["publish", "subscribe"], "paths": ["dev/%u/#"]}]
    for name in "old-press", "other":
        for kind, spec in ("Role", {"rules": rules}), ("User", {"roles": [name]}):
            status, said = node.request("POST", f"/apis/millrace.io/v1/{kind.lower()}s", json.dumps(document(kind, name, spec)))
            assert status == 201, said
    return node


def publish(node, identity, key, version, topic="dev/old-press/x"):
    """mosquitto_pub's exit status and what it said; 5.0, so that a refused topic is one, too."""
    done = subprocess.run(["mosquitto_pub", "-V", "5", "-q", "1", "-h", HOST, "-p", str(node.mqtts_port), "--psk", key, "--psk-identity", identity,
                           "--tls-version", version, "-t", topic, "-m", "1", "-r"], capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("version,loops", [("tlsv1.2", 0), ("tlsv1.3", 0), ("tlsv1.2", 2), ("tlsv1.3", 2)])
def test_who_has_the_key_of_an_identity_is_the_user_of_that_name(node_factory, tmp_path, version, loops):
    node = make_node(node_factory, tmp_path, f"# keys\nold-press:{KEY}\nother:{OTHER}\nnobody:{KEY}\n", loops=loops)
    assert publish(node, "old-press", KEY, version) == (0, "")
    assert node.sql("SELECT topic, payload FROM sys.mqtt_retained") == [["dev/old-press/x", "1"]]
    assert "not authorized" in publish(node, "old-press", KEY, version, "dev/other/x")[1].lower()
    for identity, key in (("old-press", OTHER), ("old-press", KEY[:-2] + "00"), ("stranger", KEY), ("other", KEY)):
        code, said = publish(node, identity, key, version, f"dev/{identity}/wrong")
        assert code != 0, f"{identity} with another key is let in: {said}"
    assert publish(node, "nobody", KEY, version, "dev/nobody/x")[0] != 0, "an identity without a User"
    assert node.sql("SELECT count(*) FROM sys.mqtt_retained") == [[1]]


def test_a_key_that_is_taken_from_the_file_opens_nothing_after_a_reload(node_factory, tmp_path):
    node = make_node(node_factory, tmp_path, f"old-press:{KEY}\n")
    assert publish(node, "old-press", KEY, "tlsv1.3")[0] == 0
    node.keys.write_text(f"other:{OTHER}\n")
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload: done" in node.log(), 10, "no reload")
    assert publish(node, "old-press", KEY, "tlsv1.3")[0] != 0
    assert publish(node, "other", OTHER, "tlsv1.2", "dev/other/x")[0] == 0


@pytest.mark.parametrize("text, mode, why", [
    (f"old-press:{KEY}\n", 0o640, "others can read it"),
    (f"old-press:{KEY}\nbroken\n", 0o600, "line 2: there is no colon"),
    (f"old-press:{KEY}\nold-press:{OTHER}\n", 0o600, "line 2: the identity stands there twice"),
    ("old-press:0011\n", 0o600, "line 1: the key must have 16 to 64 bytes"),
    ("old-press:" + "0g" * 16 + "\n", 0o600, "line 1: the key is not in hex"),
    ("", 0o600, "there is no key in it"),
])
def test_a_file_that_is_open_to_others_or_damaged_lets_nobody_in(node_factory, tmp_path, text, mode, why):
    node = make_node(node_factory, tmp_path, text, mode)
    assert f"mqtt.psk: {node.keys}: {why}" in node.log() and "no key opens mqtts" in node.log()
    assert publish(node, "old-press", KEY, "tlsv1.3")[0] != 0
    # Those who log in otherwise are served.
    done = subprocess.run(["mosquitto_pub", "-h", HOST, "-p", str(node.mqtts_port), "--cafile", f"{node.data}/tls-cert.pem", "--insecure", "-u", "admin",
                           "-P", node.PASSWORD, "-t", "x", "-m", "1"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
