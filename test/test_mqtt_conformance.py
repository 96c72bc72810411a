"""MQTT conformance: byte-exact exchanges with a real node, and malformed packets of every type and property.

test/mqtt/*.exchange hold the exchanges; their format is at the head of test/mqtt/connect.exchange. Each names the normative
statements that it proves; the generated cases below name theirs in PROVED. docs/mqtt-conformance.md is made from both and
test/mqtt/statements.txt by `python3 test/test_mqtt_conformance.py`, and a test compares it.
"""
import glob
import itertools
import os
import re
import shlex
import sys
import time

import pytest

import mqtt_wire as wire
from conftest import HOST, ROOT, free_port
from mqtt_scram import Conversation

FOLDER = os.path.join(ROOT, "test", "mqtt")
REPORT = os.path.join(ROOT, "docs", "mqtt-conformance.md")
LIMIT_S = 10
ANNOUNCED = [("receive_maximum", 1024), ("maximum_packet_size", 1048580), ("topic_alias_maximum", 64)]


# ---- the files ----

class Exchange:
    def __init__(self, name):
        self.name, self.proves, self.lines = name, [], []


def exchanges():
    """All of them, by file."""
    found = []
    for path in sorted(glob.glob(os.path.join(FOLDER, "*.exchange"))):
        with open(path, encoding="utf-8") as source:
            for number, line in enumerate(source, 1):
                line = line.strip()
                if line.startswith("== "):
                    found.append(Exchange(f"{os.path.basename(path)[:-9]}: {line[3:]}"))
                elif line.startswith("proves "):
                    found[-1].proves += line.split()[1:]
                elif line and not line.startswith("#"):
                    found[-1].lines.append((f"{os.path.basename(path)}:{number}", line))
    return found


def value_of(token, prefix):
    """A field's value: % is this run's own prefix; \\xNN a byte; *N repeats what stands before it."""
    token = token.replace("%", prefix)
    if repeated := re.fullmatch(r"(.+)\*(\d+)(@\w+|)", token):  # @…: a filter's options
        token = repeated.group(1) * int(repeated.group(2)) + repeated.group(3)
    if "\\" in token:
        return token.encode("utf-8").decode("unicode_escape").encode("latin-1")
    return token


def fields_of(words, prefix):
    out = []
    for word in words:
        key, _, value = word.partition("=")
        out.append((key, value_of(value, prefix)))
    return out


def raw_bytes(words, prefix):
    """hex 10 "text" /text/: bytes; "…" as it is, /…/ with its two bytes of length."""
    out = b""
    for word in words:
        if word.startswith('"'):
            out += wire.octets(value_of(word.strip('"'), prefix))
        elif word.startswith("/"):
            out += wire.text(value_of(word[1:-1], prefix))
        else:
            out += bytes.fromhex(word)
    return out


class Run:
    """One exchange with one node."""

    def __init__(self, node, exchange, prefix):
        self.node, self.exchange, self.prefix, self.wires, self.proofs = node, exchange, prefix, {}, {}

    def packet(self, connection, text):
        words = shlex.split(text, posix=True)
        version = self.wires[connection].version
        if words[0] == "hex":
            return raw_bytes(shlex.split(text, posix=False)[1:], self.prefix)
        fields = [(key, self.scram(connection, value) if str(value).startswith("$") and key == "authentication_data" else value)
                  for key, value in fields_of(words[1:], self.prefix)]
        return wire.encode(version, words[0], self.login(fields) if words[0] == "CONNECT" else fields)

    def scram(self, connection, word):
        """What a SCRAM message is in this conversation."""
        user = {"$first": "admin", "$stranger": "stranger"}.get(word)
        if user:
            self.proofs[connection] = Conversation(user, self.node.PASSWORD)
            return self.proofs[connection].first()
        proof = self.proofs[connection]
        final, verifier = proof.answer(proof.server_says)
        return {"$server": proof.server_says, "$final": final, "$verifier": verifier,
                "$wrong": final[:-6] + (b"AAAAA=" if final[-6:] != b"AAAAA=" else b"BBBBB=")}[word]

    def hear(self, connection):
        """The server's first message of the next packet is looked at, before the packet is compared as a whole."""
        packet = self.wires[connection].peek(LIMIT_S)
        found = re.search(rb"r=[!-+\--~]+,s=[A-Za-z0-9+/]+=*,i=[1-9][0-9]+", packet)
        assert found, f"no first message of a SCRAM server: {packet!r}"
        proof = self.proofs[connection]
        own = proof.bare[proof.bare.index(b"r="):]
        assert found.group().startswith(own) and not found.group().startswith(own + b","), "the nonce is not ours and more"
        proof.server_says = found.group()

    def login(self, fields):
        if any(key in ("user", "nobody") for key, _ in fields):
            return fields
        return [*fields, ("user", "conformance"), ("password", self.node.mqtt_token)]

    def open(self, connection, version):
        self.wires[connection] = wire.Wire((HOST, self.node.mqtt_port), version)

    def connect(self, connection, words):
        version = next((w[1:] for w in words if re.fullmatch(r"v[\d.]+", w)), "5")
        fields = fields_of([w for w in words if "=" in w], self.prefix)
        present = wire.get(fields, "present", 0)
        own = [("id", f"{self.prefix}{connection}")] if wire.get(fields, "id") is None else []
        if version == "5" and wire.get(fields, "request_problem_information") is None:
            own.append(("request_problem_information", 0))
        self.open(connection, version)
        sent = wire.encode(version, "CONNECT", self.login([f for f in own + fields if f[0] != "present"]))
        self.wires[connection].socket.sendall(sent)
        self.expect(connection, [wire.encode(version, "CONNACK", [("present", present), *ANNOUNCED])])

    def expect(self, connection, allowed):
        got = self.wires[connection].bytes(len(allowed[0]), LIMIT_S)
        assert got in allowed, f"expected {' or '.join(a.hex(' ') for a in allowed)}\n     got {got.hex(' ')} {got!r}"

    def flood(self, connection, count):
        """That many QoS 2 messages; all but the last are answered by PUBREC."""
        version, one = self.wires[connection].version, self.wires[connection]
        for packet_id in range(1, count + 1):
            one.send("PUBLISH", ("topic", f"{self.prefix}/x"), ("qos", 2), ("id", packet_id), ("payload", "x"))
        self.expect(connection, [b"".join(wire.encode(version, "PUBREC", [("id", n), ("reason", 0x10)]) for n in range(1, count))])

    def step(self, line):
        connection, what, *rest = line.split(None, 2)
        rest = rest[0] if rest else ""
        if connection == "wait":
            time.sleep(float(what))
        elif what == "connect":
            self.connect(connection, shlex.split(rest))
        elif what == "open":
            self.open(connection, rest[1:] or "5")
        elif what == ">" and rest.startswith("flood "):
            self.flood(connection, int(rest.split()[1]))
        elif what == ">":
            self.wires[connection].socket.sendall(self.packet(connection, rest))
        elif what == "<" and rest == "closed":
            assert self.wires[connection].is_closed(LIMIT_S), "not closed, or not without further bytes"
        elif what == "<":
            if "$server" in rest:
                self.hear(connection)
            self.expect(connection, [self.packet(connection, part) for part in rest.split(" || ")])
        elif what == "quiet":
            self.wires[connection].send("PINGREQ")
            self.expect(connection, [b"\xd0\0"])
        elif what == "cut":
            self.wires[connection].close()
        else:
            raise AssertionError("no such step")

    def all(self):
        try:
            for place, line in self.exchange.lines:
                try:
                    self.step(line)
                except Exception as error:
                    raise AssertionError(f"{place}: {line}\n{error}") from error
        finally:
            for one in self.wires.values():
                one.close()


@pytest.fixture(name="node", scope="module")
def node_fixture(tmp_path_factory):
    from conftest import NOT_BUILT, Node, node_is_built
    if not node_is_built():
        pytest.skip(NOT_BUILT)
    port = free_port()
    node = Node(str(tmp_path_factory.mktemp("mqtt")), settings=[f"listen.mqtt={HOST}:{port}"])
    node.start()
    node.mqtt_port, node.mqtt_token = port, node.token()
    yield node
    node.end(limit_s=20)


SERIAL = itertools.count()


@pytest.mark.parametrize("exchange", exchanges(), ids=lambda e: e.name)
def test_exchange(node, exchange):
    Run(node, exchange, f"x{next(SERIAL)}").all()


# ---- packets that are none: made from the tables ----

def hello(node, version="5", fields=()):
    base = [("id", f"m{next(SERIAL)}"), ("user", "x"), ("password", node.mqtt_token)]
    return wire.encode(version, "CONNECT", base + ([("request_problem_information", 0)] if version == "5" else []) + list(fields))


GOOD = {  # one good packet a type that a client sends: fields
    "PUBLISH": [("qos", 1), ("id", 1), ("topic", "bad/x"), ("payload", "p")],
    "PUBACK": [("id", 1), ("reason", 0)], "PUBREC": [("id", 1), ("reason", 0)], "PUBREL": [("id", 1), ("reason", 0)],
    "PUBCOMP": [("id", 1), ("reason", 0)], "SUBSCRIBE": [("id", 1), ("filter", "bad/+@0")], "UNSUBSCRIBE": [("id", 1), ("filter", "bad/+")],
    "DISCONNECT": [("reason", 0)], "AUTH": [("reason", 0x18)],
}
SAMPLE = {"bit": 1, "two": 1, "four": 1, "varint": 1, "text": "t", "binary": b"b", "pair": ("k", "v")}


def answers(got, reasons, after_connect):
    """What may be said to a packet that is refused; a CONNACK may add a text (not yet known whether the client wants one)."""
    if not reasons:
        return [b""]
    if after_connect:
        return [wire.encode("5", "DISCONNECT", [("reason", code)]) for code in reasons]
    why = got[8:] if len(got) > 8 and got[5] == 0x1f else None
    return [wire.encode("5", "CONNACK", [("code", code)] + ([("reason_string", why)] if why else [])) for code in reasons]


def refused(node, cases, version="5", after_connect=True):
    """Each case's bytes end their connection, alone: (name, bytes, reasons). Byte for byte the usual CONNACK comes first if a CONNECT
    went before, then a DISCONNECT (instead of the CONNACK: a CONNACK) with one of the reasons if there are any and this is 5.0."""
    wrong = []
    connack = wire.encode(version, "CONNACK", ANNOUNCED) if after_connect else b""
    for first in range(0, len(cases), 40):
        group = [(wire.Wire((HOST, node.mqtt_port), version), *case) for case in cases[first:first + 40]]
        for one, _, data, _ in group:
            one.socket.sendall((hello(node, version) if after_connect else b"") + data)
        for one, name, data, reasons in group:
            got, closed = one.rest(LIMIT_S if len(wrong) < 3 else 0.2)  # what is broken is not waited for each time
            said = answers(got, reasons if version == "5" else [], after_connect)
            if got not in [connack + one_of for one_of in said] or not closed:
                wrong.append((name, data.hex(" "), got[len(connack):].hex(" ") if got.startswith(connack) else got.hex(" "), closed))
            one.close()
    assert cases and not wrong, "\n".join(str(w) for w in wrong[:20]) + f"\n{len(wrong)} of {len(cases)}"
    test_ping(node)


def test_ping(node):
    Run(node, exchanges()[0], f"x{next(SERIAL)}").step("a connect")


def body_of(packet):
    """first byte, body."""
    size = 1
    while packet[size] & 0x80:
        size += 1
    return packet[0], packet[size + 1:]


PROVED = {
    "test_exchange": "4.2-1",
    "test_reserved_flags_of_every_type": "2.1.3-1 3.6.1-1 3.8.1-1 3.10.1-1 3.14.1-1 3.15.1-1 4.13.1-1 3.3.1-4 3.3.1-2 3.1.1:2.2.2-1 3.1.1:2.2.2-2 3.1.1:3.3.1-4 3.1.1:3.8.1-1 3.1.1:3.10.1-1",
    "test_types_that_no_client_may_send": "4.13.1-1 3.1.0-2 3.1.1:3.1.0-1 3.1.1:3.1.0-2",
    "test_every_property_where_it_may_not_stand": "4.13.1-1 3.3.4-6",
    "test_every_property_twice": "4.13.1-1",
    "test_values_that_a_property_may_not_have": "3.2.2-17 3.3.2-8 3.3.2-14 4.13.1-1",
    "test_every_text_that_is_not_utf8": "1.5.4-1 1.5.4-2 1.5.7-1 3.1.3-4 3.1.3-11 3.1.3-12 3.3.2-1 3.3.2-13 3.3.2-19 3.8.3-1 3.10.3-1 4.7.3-2 3.1.1:1.5.3-1 3.1.1:1.5.3-2",
    "test_cut_off_at_every_byte": "3.1.4-1 4.13.1-1 2.2.2-1 3.1.2-9 3.1.2-17 3.1.2-19 3.1.3-1 3.1.3-3",
    "test_lengths_that_are_not_the_shortest": "1.5.5-1",
    "test_reason_codes_that_do_not_belong_there": "3.4.2-1 3.5.2-1 3.6.2-1 3.7.2-1 3.14.2-1 3.15.2-1",
    "test_a_client_without_an_identifier_gets_one": "3.1.3-6 3.1.3-7 3.2.2-16",
}


ELSEWHERE = {  # file, test: statements
    ("test_mqtt_ways.py", "test_what_is_no_mqtt_over_websocket_is_refused"): "6.0.0-1",
    ("test_mqtt_ways.py", "test_packets_may_span_frames_and_frames_hold_many_packets"): "6.0.0-2 6.0.0-4",
    ("test_mqtt_limits.py", "test_where_nothing_is_retained_clients_are_told"): "3.2.2-13",
    ("test_mqtt_malformed.py", "test_every_property_cut_off_at_every_byte"): "4.13.1-1",
    ("test_mqtt_malformed.py", "test_every_number_out_of_its_range"): "1.5.5-1 4.13.1-1",
    ("test_mqtt_malformed.py", "test_every_set_of_flags_of_connect"): "3.1.2-3 3.1.2-11 3.1.2-12 3.1.2-13 3.1.1:3.1.2-3 3.1.1:3.1.2-13 "
                                                                     "3.1.1:3.1.2-14 3.1.1:3.1.2-15 3.1.1:3.1.2-22",
    ("test_mqtt_malformed.py", "test_every_option_byte_of_a_subscription"): "3.8.3-5 3.1.1:3.8.3-4",
    ("test_mqtt_malformed.py", "test_every_type_that_only_a_server_sends"): "3.1.0-1 4.13.1-1 3.1.1:3.1.0-1",
    ("test_mqtt_malformed.py", "test_every_packet_too_short_or_too_long"): "4.13.1-1",
    ("test_mqtt_crash.py", "test_a_few_kills_lose_and_repeat_nothing"): "3.1.2-23 4.3.3-10 4.4.0-1",
    ("test_mqtt_model.py", "test_random_traces_go_as_the_model_says"): "4.5.0-1 4.6.0-6 3.3.4-2",
}


def test_reserved_flags_of_every_type(node):
    cases = []
    for name, fields in {**GOOD, "PINGREQ": []}.items():
        first, body = body_of(wire.encode("5", name, fields))
        for flags in range(16):
            wrong = flags & 6 == 6 or flags & 14 == 8 if name == "PUBLISH" else flags != first & 15
            if wrong:
                cases.append((f"{name} {flags}", wire.frame(first & 0xf0 | flags, body), [0x81]))
    refused(node, cases)
    refused(node, [(f"{version} {name}", data, []) for name, data, _ in cases if not name.startswith("AUTH") and "DISCONNECT" not in name
                   and "PUBACK" not in name and "PUBREC" not in name and "PUBCOMP" not in name for version in ["3.1.1"]], "3.1.1")


def test_types_that_no_client_may_send(node):
    cases = [(f"type {kind}", wire.frame(kind << 4, b"\0\1\0"), [0x81, 0x82]) for kind in (0, 2, 9, 11, 13)]
    refused(node, cases + [("a second CONNECT", hello(node), [0x82])])
    refused(node, cases + [("a second CONNECT", hello(node, "3.1.1"), []), ("AUTH", b"\xf0\0", [])], "3.1.1")
    refused(node, [(name, wire.encode("5", name, fields), []) for name, fields in GOOD.items()], after_connect=False)


def with_property(node, where, key, times=1, value=None):
    """A packet with a property in a given place; None: there is no such place."""
    form = wire.PROPERTIES[key][1]
    field = ("will." if where == "WILL" else "") + key
    extra = [(field, SAMPLE[form] if value is None else value)] * times
    if where == "CONNECT":
        return hello(node, "5", extra)
    if where == "WILL":
        return hello(node, "5", [("will_topic", "bad/will"), *extra])
    return wire.encode("5", where, GOOD[where] + extra)


PLACES = ("CONNECT", "WILL", "PUBLISH", *wire.ACKS, "SUBSCRIBE", "UNSUBSCRIBE", "DISCONNECT", "AUTH")


def test_every_property_where_it_may_not_stand(node):
    inside, first = [], []
    for where, key in itertools.product(PLACES, wire.PROPERTIES):
        allowed = wire.PROPERTIES[key][2]
        if allowed and where not in allowed.split():
            case = (f"{key} in {where}", with_property(node, where, key), [0x81, 0x82])
            (first if where in ("CONNECT", "WILL") else inside).append(case)
    unknown = [(f"unknown property {n}", wire.frame(0x30, wire.text("bad/x") + wire.varint(len(wire.varint(n)) + 1) + wire.varint(n) + b"\0"), [0x81])
               for n in (0, 4, 7, 0x0a, 0x14, 0x2b, 0x7f, 0x80, 0x3fff)]
    refused(node, inside + unknown + [("a subscription identifier from a client", with_property(node, "PUBLISH", "subscription_identifier"), [0x82])])
    refused(node, first, after_connect=False)


def test_every_property_twice(node):
    for where in PLACES:
        keys = [k for k, (_, _, allowed) in wire.PROPERTIES.items() if where in allowed.split() and (where, k) != ("PUBLISH", "subscription_identifier")]
        if not keys:
            continue
        if where in ("CONNECT", "WILL"):
            refused(node, [(f"{k} twice in {where}", with_property(node, where, k, 2), [0x82, 0x81]) for k in keys], after_connect=False)
        else:
            refused(node, [(f"{k} twice in {where}", with_property(node, where, k, 2), [0x82]) for k in keys])


def test_values_that_a_property_may_not_have(node):
    inside = [("PUBLISH", "payload_format_indicator", 2, 0x82), ("PUBLISH", "topic_alias", 0, 0x94), ("PUBLISH", "topic_alias", 65, 0x94),
              ("PUBLISH", "response_topic", "a/#", 0x82), ("PUBLISH", "response_topic", "a/+/b", 0x82), ("PUBLISH", "response_topic", "", 0x82),
              ("SUBSCRIBE", "subscription_identifier", 0, 0x82)]
    refused(node, [(f"{key} {value}", with_property(node, where, key, 1, value), [reason, 0x82]) for where, key, value, reason in inside])
    first = [("CONNECT", "receive_maximum", 0), ("CONNECT", "maximum_packet_size", 0), ("CONNECT", "request_problem_information", 2),
             ("CONNECT", "request_response_information", 2), ("CONNECT", "authentication_data", b"x"), ("WILL", "payload_format_indicator", 2),
             ("WILL", "response_topic", "a/#")]
    refused(node, [(f"{key} {value}", with_property(node, where, key, 1, value), [0x82, 0x81, 0x90]) for where, key, value in first],
            after_connect=False)


BAD_UTF8 = [b"a\0b", b"\xc0\x80", b"\xff", b"a\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\xf8\x88\x80\x80\x80"]


def test_every_text_that_is_not_utf8(node):
    inside, first = [], []
    for bad in BAD_UTF8:
        inside += [("topic", wire.encode("5", "PUBLISH", [("topic", bad)]), [0x81]),
                   ("filter", wire.frame(0x82, b"\0\1\0" + wire.text(bad) + b"\0"), [0x81]),
                   ("unsubscribed filter", wire.frame(0xa2, b"\0\1\0" + wire.text(bad)), [0x81]),
                   ("user property's name", with_property(node, "PUBLISH", "user_property", 1, (bad, "v")), [0x81]),
                   ("user property's value", with_property(node, "PUBLISH", "user_property", 1, ("k", bad)), [0x81])]
        inside += [(key, with_property(node, where, key, 1, bad), [0x81])
                   for key, (_, form, places) in wire.PROPERTIES.items() if form == "text"
                   for where in ("PUBLISH", "PUBACK", "DISCONNECT") if where in places.split() and key != "server_reference"]
        first += [(key, hello(node, "5", fields), [0x81]) for key, fields in
                  {"will topic": [("will_topic", bad)], "will content type": [("will_topic", "w"), ("will.content_type", bad)]}.items()]
        first += [("client id", wire.encode("5", "CONNECT", [("id", bad)]), [0x81]),
                  ("user", wire.encode("5", "CONNECT", [("id", "u"), ("user", bad), ("password", "x")]), [0x81])]
    refused(node, inside)
    refused(node, first, after_connect=False)
    old = [("topic", wire.encode("3.1.1", "PUBLISH", [("topic", bad)]), []) for bad in BAD_UTF8]
    old += [("filter", wire.frame(0x82, b"\0\1" + wire.text(bad) + b"\0"), []) for bad in BAD_UTF8]
    refused(node, old, "3.1.1")


def test_cut_off_at_every_byte(node):
    """The length says less than the content does: every packet, at every byte where what is left is not a packet too."""
    rich = {"PUBLISH": [("qos", 1), ("id", 7), ("topic", "bad/x"), ("payload_format_indicator", 1), ("message_expiry_interval", 9),
                        ("topic_alias", 3), ("user_property", ("k", "v"))],
            "PUBACK": [("id", 7), ("reason", 0), ("reason_string", "why")], "SUBSCRIBE": [("id", 7), ("subscription_identifier", 300), ("filter", "bad/x@1")],
            "UNSUBSCRIBE": [("id", 7), ("user_property", ("k", "v")), ("filter", "bad/x")],
            "DISCONNECT": [("reason", 4), ("session_expiry_interval", 0), ("reason_string", "bye")]}
    short = {"PUBACK": (2, 3), "DISCONNECT": (0, 1)}
    cases = []
    for name, fields in rich.items():
        first, body = body_of(wire.encode("5", name, fields))
        cases += [(f"{name} cut at {n}", wire.frame(first, body[:n]), [0x81, 0x82]) for n in range(len(body)) if n not in short.get(name, ())]
        if name != "PUBLISH":
            cases.append((f"{name} with a byte more", wire.frame(first, body + b"\0"), [0x81, 0x82]))
    refused(node, cases)
    for version in wire.LEVELS:
        will = [("will_topic", "bad/will"), ("will_payload", "p")] + ([("will.will_delay_interval", 5)] if version == "5" else [])
        _, body = body_of(hello(node, version, will))
        level = body.index(b"\0\4MQTT") + 6 if version == "5" else len(body)  # the byte that says how a refusal is to be said
        refused(node, [(f"CONNECT {version} cut at {n}", wire.frame(0x10, body[:n]), [0x81] if n > level else []) for n in range(len(body))]
                + [("a byte more", wire.frame(0x10, body + b"\0"), [0x81])], version, after_connect=False)


def test_lengths_that_are_not_the_shortest(node):
    refused(node, [("remaining length", b"\xc0\x80\x00", [0x81]), ("remaining length of five bytes", b"\x30\xff\xff\xff\xff\x01", [0x81]),
                   ("length of properties", wire.frame(0x30, wire.text("bad/x") + b"\x80\0"), [0x81]),
                   ("property's identifier", wire.frame(0x30, wire.text("bad/x") + b"\x03\x81\0\0"), [0x81]),
                   ("subscription identifier", wire.frame(0x82, b"\0\1" + b"\x03\x0b\x81\0" + wire.text("bad/x") + b"\0"), [0x81, 0x82])])
    refused(node, [("remaining length", b"\xc0\x80\x00", []), ("five bytes", b"\x30\xff\xff\xff\xff\x01", [])], "3.1.1")


def test_reason_codes_that_do_not_belong_there(node):
    known = {"PUBACK": {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}, "PUBREC": {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
             "PUBREL": {0, 0x92}, "PUBCOMP": {0, 0x92}, "AUTH": {0, 0x18, 0x19},
             "DISCONNECT": {0, 4, *range(0x80, 0x84), 0x87, 0x89, *range(0x8b, 0x91), *range(0x93, 0xa3)}}  # also those that only a server has reason for
    for name, codes in known.items():
        refused(node, [(f"{name} {code:02x}", wire.encode("5", name, [("id", 1), ("reason", code)]), [0x81, 0x82])
                       for code in range(256) if code not in codes])


def test_a_client_without_an_identifier_gets_one(node):
    ids = []
    for _ in range(3):
        one = wire.Wire((HOST, node.mqtt_port))
        one.send("CONNECT", ("id", ""), ("user", "x"), ("password", node.mqtt_token))
        name, fields = one.receive()
        ids.append(wire.get(fields, "assigned_client_identifier"))
        assert name == "CONNACK" and wire.get(fields, "code") == 0
    assert all(ids) and len(set(ids)) == 3


# ---- what is covered ----

def statements():
    """(version, id, who, paraphrase) of statements.txt."""
    version, out = "", []
    with open(os.path.join(FOLDER, "statements.txt"), encoding="utf-8") as source:
        for line in source:
            line = line.strip()
            if line.startswith("= "):
                version = line[2:]
            elif line and not line.startswith("#"):
                out.append((version, *[part.strip() for part in line.split("|", 2)]))
    return out


def proofs():
    """statement → names of what proves it; 3.1.1's have the prefix "3.1.1:"."""
    out = {}
    for exchange in exchanges():
        for statement in exchange.proves:
            out.setdefault(statement, []).append(exchange.name)
    for (file, test), listed in ELSEWHERE.items():
        with open(os.path.join(ROOT, "test", file), encoding="utf-8") as source:
            assert f"def {test}(" in source.read(), f"{file} has no {test}"
        for statement in listed.split():
            out.setdefault(statement, []).append(f"{file}: {test}")
    for test, listed in PROVED.items():
        for statement in listed.split():
            out.setdefault(statement, []).append(test)
    return out


def report():
    proved, out, known = proofs(), [], statements()
    out += ["# MQTT: which normative statements are proved", "",
            "Made by `python3 test/test_mqtt_conformance.py` from `test/mqtt/`; a test compares it. *Proved by* names exchanges of "
            "`test/mqtt/*.exchange` (file: claim) and tests (without a file: of `test/test_mqtt_conformance.py`), all run against a real node. The "
            "statements are in our words; the standard's count.", ""]
    for version in dict.fromkeys(v for v, *_ in known):
        rows, counts = [], {"proved": 0, "server's, not covered": 0, "not a server's": 0}
        for _, statement, who, words in [k for k in known if k[0] == version]:
            key = statement if version == "5.0" else f"{version}:{statement}"
            by = proved.get(key)
            how = "; ".join(by) if by else "not applicable: " + who[2:].strip(" ,") if who.startswith("no") else "**not covered**"
            counts["proved" if by else "not a server's" if who.startswith("no") else "server's, not covered"] += 1
            rows.append(f"| MQTT-{statement} | {words} | {how} |")
        out += [f"## MQTT {version}", "", ", ".join(f"{n} {what}" for what, n in counts.items()) + ".", "",
                "| statement | what it asks | proved by |", "|---|---|---|", *rows, ""]
    return "\n".join(out)


def test_the_coverage_list_is_up_to_date():
    known = {s if v == "5.0" else f"{v}:{s}" for v, s, *_ in statements()}
    assert set(proofs()) <= known, f"no such statements: {sorted(set(proofs()) - known)}"
    with open(REPORT, encoding="utf-8") as text:
        assert text.read() == report(), "run python3 test/test_mqtt_conformance.py"


if __name__ == "__main__":
    with open(REPORT, "w", encoding="utf-8") as target:
        target.write(report())
    sys.exit(0)
