"""Mosquitto's own bridges, which dial in here: as they are configured by default, with notifications, in every version they speak."""
import pytest

from conftest import HOST, wait_for
from mqtt_client import Client, mqtt_node
from test_mqtt_bridge import LIMIT_S, Peer, mosquitto  # noqa: F401
from test_mqtt_denies import PASSWORD, put

VERSIONS = ["mqttv31", "mqttv311", "mqttv50"]
STATE = "$SYS/broker/connection/gate/state"


def bridged(make, node, version, *lines, user=None):
    name, password = user or ("admin", node.PASSWORD)
    return make("connection gate", f"address {HOST}:{node.mqtt_port}", f"bridge_protocol_version {version}", f"remote_username {name}",
                f"remote_password {password}", "remote_clientid gate", "restart_timeout 1", *lines)


@pytest.mark.parametrize("version", VERSIONS)
def test_messages_pass_both_ways_once_and_the_state_is_told(node_factory, mosquitto, version):  # noqa: F811
    node = mqtt_node(node_factory)
    near = Client(node, "near")
    near.subscribe((STATE, 1), ("gate/#", 2))
    peer = bridged(mosquitto, node, version, "cleansession false", "topic # both 2 shop/ gate/")
    assert near.wait(1)[0][:2] == (STATE, "1")
    far = Peer(peer, "far")
    far.subscribe(("shop/#", 2))
    far.publish("shop/from-there", "1", 2)
    near.publish("gate/from-here", "2", 2)
    assert sorted(message[:3] for message in near.wait(3)[1:]) == [("gate/from-here", "2", 2), ("gate/from-there", "1", 2)]
    assert sorted(message[:3] for message in far.wait(2)) == [("shop/from-here", "2", 2), ("shop/from-there", "1", 2)]
    far.close()
    peer.end(9)
    assert near.wait(4)[3][:2] == (STATE, "0")
    assert len(near.got) == 4
    near.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_burst_of_qos_2_comes_whole(node_factory, mosquitto, version):  # noqa: F811
    node = mqtt_node(node_factory)
    near = Client(node, "near")
    near.subscribe((STATE, 1))
    peer = bridged(mosquitto, node, version, "topic # in 2")
    near.wait(1)
    far = Peer(peer, "far")
    far.subscribe(("a", 2))
    near.publish("a", "0", 2, retain=True)  # the bridge has subscribed
    far.wait(1)
    for i in range(1, 1000):
        near.paho.publish("a", str(i), 2)
    assert [int(message[1]) for message in far.wait(1000)] == list(range(1000))
    near.close()
    far.close()


def test_other_topics_under_sys_are_the_brokers_all_the_same(node_factory):
    node = mqtt_node(node_factory)
    for topic in ("$SYS/broker/uptime", "$SYS/broker/connection", "$SYS/broker/connection/state/x", "$SYS/x/connection/gate/state"):
        assert Client(node, "gate", connect=False, will=(topic, "0", 0, True)).connect()[0] == 135, topic


def test_a_bridge_that_may_not_tell_its_state_is_told_in_the_log(node_factory, mosquitto):  # noqa: F811
    node = mqtt_node(node_factory)
    topics = {"verbs": ["publish", "subscribe"], "paths": ["#"]}
    put(node, "Role", "gate", {"rules": [topics]})
    put(node, "User", "gate", {"roles": ["gate"], "password": PASSWORD})
    peer = bridged(mosquitto, node, "mqttv311", "topic # in 1", user=("gate", PASSWORD))
    wait_for(lambda: "it may not publish to the topic of its will" in node.log(), LIMIT_S, "not told")
    put(node, "Role", "gate", {"rules": [topics, {"verbs": ["publish"], "paths": ["$SYS/broker/connection/%c/state"]}]})
    near, far = Client(node, "near"), Peer(peer, "far")
    far.subscribe(("#", 1))
    near.publish("a", "1", 1, retain=True)
    assert far.wait(1)[0][:2] == ("a", "1")
    far.close()
    near.close()
