"""Bridges whose entries overlap: a remote broker that sends a message once for each subscription (Mosquitto does in 5.0) brings it once."""
import json
import time

import pytest

from conftest import HOST, wait_for
from mqtt_client import LIMIT_S, Client, mqtt_node
from test_mqtt_bridge import Peer, bridge, connected, mosquitto  # noqa: F401 (a fixture)
from test_streams import stream

ENTRIES = [{"direction": "in", "filter": filter, "qos": 1} for filter in ("data/x/#", "#", "+/+/up")]
SENT = [("data/x/up", "1"), ("a/b/up", "2"), ("z", "3")]


def kept(node, name="kept", topic="#"):
    client = Client(node, name, clean=False, connect=False)
    client.connect(expiry=3600)
    client.subscribe((topic, 1))
    return client


def seen(client):
    return sorted((m.topic, m.payload.decode()) for m in client.got)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_message_comes_once_however_many_entries_fit(node_factory, mosquitto, version):
    peer, node = mosquitto(), mqtt_node(node_factory)
    assert bridge(node, peer.port, ENTRIES, version=version)[0] == 201
    connected(node)
    near, far = kept(node), Peer(peer, "far")
    for topic, payload in SENT:
        far.publish(topic, payload, 1)
    wait_for(lambda: len(near.got) >= len(SENT), LIMIT_S, "nothing comes")
    time.sleep(0.5)
    assert seen(near) == sorted(SENT)
    near.close()
    node.kill9()
    for topic, payload in SENT:
        far.publish(topic, payload + " again", 1)
    node.start()
    connected(node)
    near = kept(node)
    wait_for(lambda: len(near.got) >= len(SENT), LIMIT_S, "nothing comes")
    time.sleep(0.5)
    assert seen(near) == sorted((topic, payload + " again") for topic, payload in SENT)


def test_what_was_kept_for_other_entries_is_not_lost(node_factory, mosquitto):
    peer, node = mosquitto(), mqtt_node(node_factory)
    bridge(node, peer.port, ENTRIES[1:2])
    connected(node)
    near, far = kept(node), Peer(peer, "far")
    bridge(node, peer.port, ENTRIES[1:2], enabled=False)
    wait_for(lambda: "connected" not in str(node.sql("SELECT state FROM sys.bridges")), LIMIT_S, "still connected")
    far.publish("data/x/up", "1", 1)
    bridge(node, peer.port, ENTRIES)
    wait_for(lambda: near.got, LIMIT_S, "what waited for # is lost")
    assert seen(near) == [("data/x/up", "1")]


def test_an_entry_that_stays_brings_no_retained_messages_again(node_factory, mosquitto):
    peer, node = mosquitto("log_type all"), mqtt_node(node_factory)
    Peer(peer, "far").publish("data/x/kept", "1", 1, retain=True)
    near = kept(node)
    bridge(node, peer.port, ENTRIES[:1])
    wait_for(lambda: near.got, LIMIT_S, "no retained message")
    bridge(node, peer.port, [*ENTRIES[:1], {"direction": "in", "filter": "new/#"}])
    Peer(peer, "other").publish("new/x", "2", 1)
    wait_for(lambda: seen(near)[1:], LIMIT_S, "the new entry brings nothing")
    assert seen(near) == [("data/x/kept", "1"), ("new/x", "2")]


def test_the_external_broker_sends_what_streams_want_now_and_no_more(node_factory, mosquitto):
    """Whatever they wanted before: a Stream's filter changes more often than there is room for filters."""
    peer = mosquitto()
    node = node_factory(settings=[f"mqtt.external.endpoint=tcp://{HOST}:{peer.port}"])
    connected(node, "external")
    spec = {"device": "d", "table": "t", "columns": [{"name": "v", "path": "$.v"}]}
    stream(node, "one", filter="old/0", **spec)
    for number in range(70):
        change = json.dumps({"spec": {"filter": f"old/{number}"}})
        assert node.request("PATCH", "/apis/millrace.io/v1/namespaces/default/streams/one", change,
                            headers={"Content-Type": "application/merge-patch+json"})[0] == 200
    far = Peer(peer, "far")
    for topic in ("old/3", "old/69"):
        far.publish(topic, json.dumps({"v": 1}), 1, retain=True)
    kept_topics = "SELECT topic FROM sys.mqtt_retained WHERE topic LIKE 'old/%'"
    wait_for(lambda: node.sql(kept_topics), LIMIT_S, "what is wanted does not come")
    time.sleep(0.5)
    assert node.sql(kept_topics) == [["old/69"]] and "external broker" not in node.log()


def test_a_stream_of_everything_doubles_no_row_of_an_external_broker(node_factory, mosquitto):
    peer = mosquitto()
    node = node_factory(settings=[f"mqtt.external.endpoint=tcp://{HOST}:{peer.port}"])
    connected(node, "external")
    stream(node, "all", filter="#", device="d", table="everything", columns=[{"name": "force", "path": "$.force"}])
    stream(node, "some", filter="data/line1/#", device="d", table="some_of_it", columns=[{"name": "force", "path": "$.force"}])
    far = Peer(peer, "far")
    far.subscribe(("#", 1))
    connected(node, "external")
    time.sleep(0.5)
    for number in range(3):
        far.publish("data/line1/press/cycle", json.dumps({"force": number}), 1)
    far.publish("plant/x", json.dumps({"force": 9}), 1)
    wait_for(lambda: node.request("POST", "/v1/sql", "SELECT force FROM everything WHERE force = 9")[1].count("9") > 0, LIMIT_S, "no rows")
    time.sleep(0.5)
    assert node.sql("SELECT count(*) FROM cycle") == [[3]] and node.sql("SELECT count(*) FROM some_of_it") == [[3]]
    assert node.sql("SELECT force FROM everything ORDER BY force") == [[0], [1], [2], [9]]
