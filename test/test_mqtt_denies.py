"""Roles that deny topics: who may subscribe to a filter gets of it what is not denied, whenever and on whatever way it would come."""
import json
import socket
import time

import pytest
from conftest import wait_for
from mqtt_client import LIMIT_S, Client, mqtt_node

PASSWORD = "a-word-that-is-long"
BOTH = ["publish", "subscribe"]
DENY = {"effect": "deny", "verbs": BOTH, "paths": ["plant/+/secret"]}


def put(node, kind, name, spec):
    body = {"apiVersion": "millrace.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    path = f"/apis/millrace.io/v1/{kind.lower()}s"
    if node.request("PUT", f"{path}/{name}", json.dumps(body))[0] == 404:
        assert node.request("POST", path, json.dumps(body))[0] == 201


def rules(node, *denies):
    put(node, "Role", "reader", {"rules": [{"verbs": BOTH, "paths": ["plant/#"]}, *denies]})


@pytest.fixture(name="node")
def node_fixture(node_factory):
    node = mqtt_node(node_factory)
    rules(node, DENY)
    put(node, "User", "eve", {"roles": ["reader"], "password": PASSWORD})
    return node


def reader(node, name, **more):
    return Client(node, name, user="eve", password=PASSWORD, **more)


def told(client):
    return [f"{m.topic} {m.payload.decode()}" for m in client.got]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_is_denied_is_not_sent(node, qos):
    admin, eve = Client(node, "admin"), reader(node, "eve")
    admin.publish("plant/a/secret", "kept", qos, retain=True)
    admin.publish("plant/a/open", "kept", qos, retain=True)
    assert eve.subscribe(("plant/a/secret", qos), ("plant/+/secret", qos), ("plant/#", qos)) == [135, 135, qos]
    for number in range(50):
        admin.publish("plant/b/secret" if number % 2 else "plant/b/open", str(number), qos)
    wait_for(lambda: len(eve.got) >= 26, LIMIT_S, "less than is allowed")
    assert told(eve) == ["plant/a/open kept"] + [f"plant/b/open {n}" for n in range(0, 50, 2)]
    assert node.metric("millrace_mqtt_denied_total") == 2 + 1 + 25
    eve.publish("plant/b/open", "mine", qos)
    wait_for(lambda: told(eve)[-1] == "plant/b/open mine", LIMIT_S, "a message of its own")


def test_what_waits_is_looked_at_when_it_is_sent(node):
    admin, eve = Client(node, "admin"), reader(node, "eve", clean=False, connect=False)
    eve.connect(expiry=600)
    assert eve.subscribe(("plant/#", 1)) == [1]
    eve.close()
    admin.publish("plant/a/secret", "1", 1)
    admin.publish("plant/a/open", "2", 1)
    node.kill9()
    node.start()
    admin = Client(node, "admin")
    admin.publish("plant/a/secret", "3", 1)  # nobody knows the rights of eve now
    admin.publish("plant/a/open", "4", 1)
    back = reader(node, "eve", clean=False, connect=False)
    back.connect(expiry=600)
    wait_for(lambda: len(back.got) >= 2, LIMIT_S, "what may be had")
    admin.publish("plant/a/open", "5", 1)
    wait_for(lambda: len(back.got) >= 3, LIMIT_S, "the last")
    assert told(back) == ["plant/a/open 2", "plant/a/open 4", "plant/a/open 5"]


def test_what_waits_of_a_filter_that_is_denied_whole_stays_here(node):
    rules(node)
    admin, eve = Client(node, "admin"), reader(node, "eve", clean=False, connect=False)
    eve.connect(expiry=600)
    assert eve.subscribe(("plant/a/secret", 1), ("plant/a/open", 1)) == [1, 1]
    eve.close()
    for topic in "secret", "open":
        admin.publish(f"plant/a/{topic}", "1", 1)
    rules(node, DENY)
    back = reader(node, "eve", clean=False, connect=False)
    back.connect(expiry=600)
    wait_for(lambda: "plant/a/open 1" in told(back), LIMIT_S, "what may be had")
    assert told(back) == ["plant/a/open 1"]


def test_a_will_that_is_denied_meanwhile_is_not_published(node):
    rules(node)
    admin = Client(node, "admin")
    admin.subscribe(("plant/#", 0))
    mallory = [reader(node, name, will=(f"plant/{name}/{what}", "gone", 0, False)) for name, what in (("a", "secret"), ("b", "open"))]
    mallory[0].subscribe(("plant/a/secret", 0))
    rules(node, DENY)
    admin.publish("plant/a/secret", "?")
    wait_for(lambda: node.metric("millrace_mqtt_subscriptions") == 1, LIMIT_S, "the new rights do not reach it")
    for client in mallory:
        client.paho._sock.shutdown(socket.SHUT_RDWR)
        client.paho.loop_stop()
        time.sleep(0.2)
    wait_for(lambda: "plant/b/open gone" in told(admin), LIMIT_S, "no will")
    assert told(admin) == ["plant/a/secret ?", "plant/b/open gone"]


def test_a_change_of_the_role_reaches_who_is_connected(node):
    admin, eve = Client(node, "admin"), reader(node, "eve")
    assert eve.subscribe(("plant/#", 0)) == [0]

    def passes(topic):
        eve.got.clear()
        admin.publish(topic, "x")
        admin.publish("plant/end", "x")
        wait_for(lambda: "plant/end x" in told(eve), LIMIT_S, "nothing comes")
        return f"{topic} x" in told(eve)

    assert not passes("plant/a/secret")
    rules(node)
    wait_for(lambda: passes("plant/a/secret"), LIMIT_S, "still denied")
    rules(node, {"effect": "deny", "verbs": ["subscribe"], "paths": ["plant/new"]})
    wait_for(lambda: not passes("plant/new"), LIMIT_S, "not denied")
    assert passes("plant/a/secret")


def test_a_shared_subscription_gives_to_who_may_have_it(node):
    admin, eve, other = Client(node, "admin"), reader(node, "eve"), Client(node, "other")
    for client in eve, other:
        assert client.subscribe(("$share/g/plant/#", 1)) == [1]
    for number in range(20):
        admin.publish("plant/a/secret", str(number), 1)
    wait_for(lambda: len(other.got) == 20, LIMIT_S, "the member that may does not get all")
    assert not eve.got
    for number in range(20):
        admin.publish("plant/a/open", str(number), 1)
    wait_for(lambda: len(other.got) + len(eve.got) == 40, LIMIT_S, "all that is open")
    assert len(eve.got) == 10


@pytest.mark.parametrize("topic", ["$SYS/brokers", "$dead/plant/a"])
def test_no_will_is_left_where_only_the_broker_publishes(node, topic):
    everybody = Client(node, "all", connect=False, will=(topic, "gone", 0, True))
    assert everybody.connect()[0] == 135


def test_nobody_makes_a_stream_of_what_is_denied(node):
    put(node, "Role", "maker", {"rules": [{"verbs": ["create", "get"], "kinds": ["Stream"]}, {"verbs": ["query"]}]})
    put(node, "User", "eve", {"roles": ["reader", "maker"], "password": PASSWORD})
    path = "/apis/millrace.io/v1/namespaces/default/streams"
    for at, (filter_, wanted) in enumerate((("plant/+/secret", 403), ("plant/#", 403), ("other/#", 403), ("plant/+/open", 201))):
        body = {"apiVersion": "millrace.io/v1", "kind": "Stream", "metadata": {"name": f"s{at}"}, "spec": {"filter": filter_, "format": "json"}}
        status, text = node.request("POST", path, json.dumps(body), token=f"eve:{PASSWORD}")
        assert status == wanted, (filter_, text)
