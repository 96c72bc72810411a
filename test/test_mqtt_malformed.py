"""Packets that are none, made from the tables of MQTT: every property cut off, every flag and option byte, every number out of its
range, every packet of a server. Each ends its connection alone, and what the node says to it is compared byte for byte.

The other generated cases (texts, lengths, reasons, properties that stand in the wrong place or twice) are in
test_mqtt_conformance.py, whose node and `refused` these use.
"""
import pytest

import mqtt_wire as wire
from test_mqtt_conformance import GOOD, PLACES, SAMPLE, hello, node_fixture, refused  # noqa: F401 - the fixture is used by its name

pytestmark = pytest.mark.timeout(300)
SERVERS = {"CONNACK": b"\0\0\0", "SUBACK": b"\0\1\0\0", "UNSUBACK": b"\0\1\0\0", "PINGRESP": b"", "": b""}
OVERLONG = b"\x80\x80\x80\x80\x01"  # a variable byte integer of five bytes


def place(node, where, block):
    """A good packet with this block of properties, whose length is part of it."""
    connect = wire.text("MQTT") + bytes([5, 0xc2 if where == "CONNECT" else 0xc6, 0, 0])
    login = wire.text("x") + wire.text(node.mqtt_token)
    bodies = {
        "CONNECT": connect + block + wire.text("bad") + login,
        "WILL": connect + b"\0" + wire.text("bad") + block + wire.text("bad/will") + wire.text("p") + login,
        "PUBLISH": wire.text("bad/x") + b"\0\1" + block + b"payload that is long enough",
        "SUBSCRIBE": b"\0\1" + block + wire.text("bad/+") + b"\0",
        "UNSUBSCRIBE": b"\0\1" + block + wire.text("bad/+"),
        "DISCONNECT": b"\0" + block, "AUTH": b"\x18" + block,
        **{ack: b"\0\1\0" + block for ack in wire.ACKS},
    }
    name = "CONNECT" if where == "WILL" else where
    return wire.frame(wire.NUMBERS[name] << 4 | (2 if name == "PUBLISH" else wire.FLAGS.get(name, 0)), bodies[where])


def property_bytes(key, value=None):
    identifier, form, _ = wire.PROPERTIES[key]
    return wire.varint(identifier) + wire.property_value(form, SAMPLE[form] if value is None else value)


def places_of(key):
    allowed = wire.PROPERTIES[key][2].split()
    return [where for where in PLACES if not allowed or where in allowed]


def sort_out(node, cases):
    """(where, name, block, reasons): DISCONNECT says the reason, CONNACK where the CONNECT was wrong."""
    for is_first in False, True:
        refused(node, [(f"{name} in {where}", place(node, where, block), reasons) for where, name, block, reasons in cases
                       if (where in ("CONNECT", "WILL")) == is_first], after_connect=not is_first)


def test_every_property_cut_off_at_every_byte(node):
    """The block's length says less than the property needs; or more than the packet holds."""
    cases = []
    for key in wire.PROPERTIES:
        whole = property_bytes(key)
        for where in places_of(key):
            cases += [(where, f"{key} cut at {n}", wire.varint(n) + whole[:n], [0x81]) for n in range(1, len(whole))]
            if where != "PUBLISH" or key != "subscription_identifier":  # which no client may send, cut off or not
                cases.append((where, f"{key}, a length beyond the packet", wire.varint(2000) + whole, [0x81]))
    assert len(cases) > 150
    sort_out(node, cases)


def test_every_number_out_of_its_range(node):
    cases = []
    for key, (identifier, form, _) in wire.PROPERTIES.items():
        for where in places_of(key):
            if form == "bit":
                cases += [(where, f"{key} {value}", b"\2" + bytes([identifier, value]), [0x82]) for value in (2, 3, 0x7f, 0x80, 0xff)]
            if form == "varint":
                cases.append((where, f"{key} of five bytes", b"\6" + bytes([identifier]) + OVERLONG, [0x81]))
                cases.append((where, f"{key} not the shortest", b"\3" + bytes([identifier]) + b"\x81\0", [0x81]))
    zero = {"receive_maximum": ("CONNECT", 0x82), "maximum_packet_size": ("CONNECT", 0x82), "topic_alias": ("PUBLISH", 0x94),
            "subscription_identifier": ("SUBSCRIBE", 0x82)}
    for key, (where, reason) in zero.items():
        block = property_bytes(key, 0)
        cases.append((where, f"{key} 0", wire.varint(len(block)) + block, [reason]))
    for where in PLACES:
        cases += [(where, "a length of five bytes", OVERLONG, [0x81]), (where, "a length that is not the shortest", b"\x80\0", [0x81])]
    sort_out(node, cases)


def is_wrong(flags, version):
    has_will, will_qos, will_retain = flags & 4, flags >> 3 & 3, flags & 0x20
    return bool(flags & 1 or will_qos == 3 or not has_will and (will_qos or will_retain)
                or version != "5" and flags & 0x40 and not flags & 0x80)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_every_set_of_flags_of_connect(node, version):
    cases = []
    for flags in range(256):
        will = wire.text("bad/will") + wire.text("p") if flags & 4 else b""
        if version == "5" and will:
            will = b"\0" + will
        body = wire.text("MQTT") + bytes([wire.LEVELS[version], flags, 0, 0]) + (b"\0" if version == "5" else b"") + wire.text("bad") + will
        body += (wire.text("x") if flags & 0x80 else b"") + (wire.text("y") if flags & 0x40 else b"")
        if is_wrong(flags, version):
            cases.append((f"flags {flags:02x}", wire.frame(0x10, body), [0x81]))
    refused(node, cases, version, after_connect=False)
    good = hello(node, version)
    refused(node, [(f"first byte {first:02x}", bytes([first]) + good[1:], []) for first in range(0x11, 0x20)], version, after_connect=False)


@pytest.mark.parametrize("version", ["3.1", "3.1.1", "5"])
def test_every_option_byte_of_a_subscription(node, version):
    """Two bits of QoS; in 5.0 four more; nothing else."""
    cases = []
    for option in range(256):
        malformed = option & 3 == 3 or option & (0xc0 if version == "5" else 0xfc)
        if malformed or option & 0x30 == 0x30:
            body = b"\0\1" + (b"\0" if version == "5" else b"") + wire.text("bad/+") + bytes([option])
            cases.append((f"option {option:02x}", wire.frame(0x82, body), [0x81, 0x82]))
    refused(node, cases, version)


@pytest.mark.parametrize("version", ["3.1", "3.1.1", "5"])
def test_every_type_that_only_a_server_sends(node, version):
    cases = []
    for name, body in SERVERS.items():
        for flags in range(16):
            first = (wire.NUMBERS[name] << 4 if name else 0) | flags
            cases.append((f"{name or 'type 0'}, flags {flags}", wire.frame(first, body), [0x82] if name and not flags else [0x81, 0x82]))
    refused(node, cases, version)
    refused(node, [(name, data, []) for name, data, _ in cases], version, after_connect=False)


@pytest.mark.parametrize("version", ["3.1", "3.1.1", "5"])
def test_every_packet_too_short_or_too_long(node, version):
    """Packets without properties: any length but the right one, in every version."""
    cases = [(f"PINGREQ and {n} bytes", wire.frame(0xc0, bytes(n)), [0x81]) for n in (1, 2, 200)]
    for name in wire.ACKS:
        first = wire.NUMBERS[name] << 4 | wire.FLAGS.get(name, 0)
        sizes = (0, 1, 5, 6) if version == "5" else (0, 1, 3, 4)
        cases += [(f"{name} of {n} bytes", wire.frame(first, b"\0\1\0\0\0\0"[:n]), [0x81]) for n in sizes]
    for name in "SUBSCRIBE", "UNSUBSCRIBE":
        first, body = wire.NUMBERS[name] << 4 | 2, b"\0\1" + (b"\0" if version == "5" else b"")
        whole = body + wire.text("bad/x") + (b"\0" if name == "SUBSCRIBE" else b"")
        cases += [(f"{name} of {n} bytes", wire.frame(first, whole[:n]), [0x81, 0x82]) for n in range(len(whole))]
        cases.append((f"{name} with a byte more", wire.frame(first, whole + b"\0"), [0x81]))
    if version != "5":
        cases.append(("DISCONNECT with a byte", wire.frame(0xe0, b"\0"), []))
    assert set(wire.ACKS) < set(GOOD)
    refused(node, cases, version)
