"""Wills outlive the broker: whoever was connected when it was killed or stopped has its will published after the next start, once,
unless it comes back within the will's delay (MQTT 5.0 section 3.1.2.5)."""
import os
import time

import pytest

import mqtt_wire as wire
from conftest import HOST, free_port, wait_for
from mqtt_client import LIMIT_S



@pytest.fixture(name="node")
def node_fixture(node_factory):
    port = free_port()
    node = node_factory(settings=[f"listen.mqtt={HOST}:{port}"])
    node.mqtt_port, node.held = port, []
    return node


def connect(node, name, *fields, version="5", clean=1):
    """(wire, fields of CONNACK)."""
    one = wire.Wire((HOST, node.mqtt_port), version)
    one.send("CONNECT", ("id", name), ("clean", clean), ("user", "admin"), ("password", node.PASSWORD), *fields)
    kind, got = one.receive()
    assert kind == "CONNACK" and wire.get(got, "reason", 0) == 0, got
    node.held.append(one)  # a socket that nobody holds is closed
    return one, got


def will(topic, payload, qos=1, retain=0, **properties):
    return [("will_topic", topic), ("will_payload", payload), ("will_qos", qos), ("will_retain", retain),
            *((f"will.{key}", value) for key, value in properties.items())]


def listen(node):
    """Who is to hear of it: a session that is kept. The first call subscribes."""
    one, fields = connect(node, "listener", ("session_expiry_interval", 10000), clean=0)
    if not wire.get(fields, "present"):
        one.send("SUBSCRIBE", id=1, filter="will/#@2")
        assert one.receive()[0] == "SUBACK"
    return one


def heard(one, last=None):
    """All that comes until `last` does, or for half a second: (topic, payload, qos)."""
    got, unreleased = [], set()
    while unreleased or not got or got[-1][0] != last:
        packet = one.receive(LIMIT_S if last else 0.5)
        if packet is None:
            assert not last, got
            return got
        kind, fields = packet
        number = wire.get(fields, "id")
        if kind == "PUBLISH":
            got.append((wire.get(fields, "topic"), wire.get(fields, "payload").decode(), wire.get(fields, "qos")))
            if got[-1][2]:
                one.send("PUBACK" if got[-1][2] == 1 else "PUBREC", id=number)
            if got[-1][2] == 2:
                unreleased.add(number)
        elif kind == "PUBREL":
            one.send("PUBCOMP", id=number)
            unreleased.discard(number)
    return got


def remembered(node, one):
    """What was heard does not come again: that it was acknowledged is in the log, too."""
    one.send("PINGREQ")
    assert one.receive()[0] == "PINGRESP"
    settled(node, "none")


def heard_in_time(node, one):
    """What comes of all wills that are due now: a start's are within a second, and this one, which is the last, after that."""
    end, _ = connect(node, "end", ("session_expiry_interval", 1000), *will("will/end", "", will_delay_interval=1))
    end.close()
    got = heard(one, "will/end")[:-1]
    remembered(node, one)
    return got


def again(node, how):
    if how == "stop":
        assert node.stop() == 0, node.log()
    else:
        node.kill9()
    node.start()


def settled(node, topic="will/none"):
    """What was sent so far is in the log."""
    one, _ = connect(node, "settles")
    one.send("PUBLISH", topic=topic, qos=1, id=1, retain=1, payload="")
    assert one.receive()[0] == "PUBACK"
    one.send("DISCONNECT")
    one.close()


def hears_none(node, listener):
    """No will has come so far."""
    assert heard(listener, "will/none") == [("will/none", "", 1)]
    remembered(node, listener)


@pytest.mark.parametrize("how", ["kill -9", "stop"])
@pytest.mark.parametrize("saved", [False, True])
def test_the_wills_of_all_who_were_connected_come_once(node, how, saved):
    """Sessions that are kept and that are not, of each version, by the log alone and from the broker's state."""
    listener = listen(node)
    connect(node, "v5", *will("will/v5", "a", qos=2))
    connect(node, "v5 kept", ("session_expiry_interval", 1000), *will("will/kept", "b"), clean=0)
    connect(node, "v311", *will("will/v311", "c"), version="3.1.1")
    connect(node, "v31", *will("will/v31", "d"), version="3.1", clean=0)
    connect(node, "retained", *will("will/retained", "e", retain=1))
    connect(node, "without")
    settled(node)
    if saved:
        node.sql("CREATE TABLE t (v bigint)")
        node.request("POST", "/write", "t,device=d v=1i")
        node.sql("CHECKPOINT")
        wait_for(lambda: os.path.exists(os.path.join(node.data, "mqtt", "state")), 20, "no state")
    hears_none(node, listener)
    again(node, how)
    expect = [("will/kept", "b", 1), ("will/retained", "e", 1), ("will/v31", "d", 1), ("will/v311", "c", 1), ("will/v5", "a", 2)]
    assert sorted(heard_in_time(node, listen(node))) == expect
    again(node, how)
    listener = listen(node)
    assert heard_in_time(node, listener) == [], "published again"
    listener.send("SUBSCRIBE", id=2, filter="will/#@1")
    assert listener.receive()[0] == "SUBACK"
    assert heard(listener) == [("will/retained", "e", 1)]
    # Sessions that were not kept are gone; those that were are there.
    assert connect(node, "v5", clean=0)[1][0] == ("present", 0) and connect(node, "v5 kept", clean=0)[1][0] == ("present", 1)


def test_its_properties_and_its_expiry_come_with_it(node):
    listener = listen(node)
    connect(node, "sender", *will("will/p", "x", content_type="text/plain", message_expiry_interval=100, user_property="line=3"))
    connect(node, "short", *will("will/short", "x", message_expiry_interval=3))
    settled(node)
    listener.close()
    node.kill9()
    time.sleep(3.5)  # the expiry runs from the publication, not from CONNECT
    node.start()
    listener, got = listen(node), {}
    while len(got) < 3:
        fields = listener.receive(5)[1]
        got[wire.get(fields, "topic")] = fields
        listener.send("PUBACK", id=wire.get(fields, "id"))
    assert wire.get(got["will/p"], "content_type") == b"text/plain" or wire.get(got["will/p"], "content_type") == "text/plain"
    assert str(wire.get(got["will/p"], "user_property")).count("line") == 1 and 90 < wire.get(got["will/p"], "message_expiry_interval") <= 100
    assert 1 <= wire.get(got["will/short"], "message_expiry_interval") <= 3


@pytest.mark.parametrize("how", ["kill -9", "stop"])
def test_who_comes_back_within_the_delay_leaves_none(node, how):
    listener = listen(node)
    kept = ("session_expiry_interval", 1000)
    for name in ("back", "away"):
        connect(node, name, kept, *will(f"will/{name}", name, will_delay_interval=4))
    settled(node)
    hears_none(node, listener)
    again(node, how)
    begun = time.monotonic()
    back, fields = connect(node, "back", kept, clean=0)
    assert wire.get(fields, "present") == 1
    listener = listen(node)
    name, fields = listener.receive(LIMIT_S)
    assert (name, wire.get(fields, "topic")) == ("PUBLISH", "will/away") and 2 < time.monotonic() - begun < 6
    listener.send("PUBACK", id=wire.get(fields, "id"))
    assert heard_in_time(node, listener) == []
    back.send("DISCONNECT")


def test_a_delay_that_ran_already_goes_on_where_it_was(node):
    listener = listen(node)
    lost, _ = connect(node, "lost", ("session_expiry_interval", 1000), *will("will/lost", "x", will_delay_interval=5))
    lost.close()
    settled(node)
    listener.close()
    time.sleep(3)
    node.kill9()
    node.start()
    begun, listener = time.monotonic(), listen(node)
    got = listener.receive(5)
    while wire.get(got[1], "topic") != "will/lost":
        listener.send("PUBACK", id=wire.get(got[1], "id"))
        got = listener.receive(5)
    assert time.monotonic() - begun < 4, "the delay began anew"


def test_a_good_end_a_take_over_and_what_was_published_leave_none_behind(node):
    listener = listen(node)
    good, _ = connect(node, "good", *will("will/good", "x"))
    good.send("DISCONNECT")
    good311, _ = connect(node, "good311", *will("will/good311", "x"), version="3.1.1")
    good311.send("DISCONNECT")
    bad, _ = connect(node, "bad", *will("will/bad", "x"))
    bad.send("DISCONNECT", reason=4)
    connect(node, "taken", *will("will/first", "x"))
    connect(node, "taken", *will("will/second", "x"))
    connect(node, "replaced", ("session_expiry_interval", 1000), *will("will/old", "x", will_delay_interval=100))
    connect(node, "replaced", ("session_expiry_interval", 1000), clean=0)
    settled(node)
    assert sorted(t for t, _, _ in heard_in_time(node, listener)) == ["will/bad", "will/first", "will/none"]
    again(node, "kill -9")
    assert heard_in_time(node, listen(node)) == [("will/second", "x", 1)]


def test_a_client_that_is_back_at_once_has_left_its_will_all_the_same(node):
    """Without a delay there is no time to come back in: the connection has ended without a DISCONNECT."""
    listen(node).close()
    for name, expiry in (("kept", 1000), ("not kept", 0)):
        connect(node, name, ("session_expiry_interval", expiry), *will(f"will/{name}", name))
    settled(node)
    again(node, "kill -9")
    for name, expiry in (("kept", 1000), ("not kept", 0)):
        _, fields = connect(node, name, ("session_expiry_interval", expiry), clean=0)
        assert wire.get(fields, "present") == (expiry > 0)
    assert sorted(t for t, _, _ in heard_in_time(node, listen(node))) == ["will/kept", "will/none", "will/not kept"]


def test_no_time_of_a_session_or_a_will_is_over_early(node):
    """Whatever part of a second has passed when it begins; and not much too late."""
    listener = listen(node)
    began, sessions = {}, []
    for phase in range(8):
        name = f"phase{phase}"
        one, _ = connect(node, name, ("session_expiry_interval", 60), *will(f"will/{name}", name, will_delay_interval=1))
        short, _ = connect(node, f"short{phase}", ("session_expiry_interval", 1))
        one.close()
        short.close()
        began[f"will/{name}"] = time.monotonic()
        sessions.append((f"short{phase}", time.monotonic()))
        time.sleep(0.13)
        while sessions and time.monotonic() > sessions[0][1] + 0.75:
            gone, since = sessions.pop(0)
            present = wire.get(connect(node, gone, clean=0)[1], "present")
            assert present or time.monotonic() - since >= 1, gone
    while began:
        fields = listener.receive(5)[1]
        passed = time.monotonic() - began.pop(wire.get(fields, "topic"))
        assert 1 <= passed < 6
