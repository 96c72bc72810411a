"""MQTT 3.1, 3.1.1 and 5.0 on the wire, written from the specifications and without the broker's own code.

Used by the conformance suite (test_mqtt_conformance.py), the model (test_mqtt_model.py) and the crash soak (soak/mqtt.py). Packets
are (name, fields): fields is a list of (key, value), since properties may repeat and their order counts. `encode` writes exactly
what it is told, wrong or not; `decode` is strict, so a broker that sends nonsense fails the test.
"""
import socket
import struct
import time

NAMES = ["", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE",
         "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"]
NUMBERS = {name: number for number, name in enumerate(NAMES) if name}
ACKS = ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP")
FLAGS = {"PUBREL": 2, "SUBSCRIBE": 2, "UNSUBSCRIBE": 2}
LEVELS = {"3.1": 3, "3.1.1": 4, "5": 5}
SETTABLE = {"CONNECT", "WILL", "PUBLISH", *ACKS, "SUBSCRIBE", "UNSUBSCRIBE", "DISCONNECT", "AUTH"}

# name: identifier, form, where it may stand (MQTT 5.0 section 2.2.2.2); "" = everywhere
PROPERTIES = {
    "payload_format_indicator": (0x01, "bit", "PUBLISH WILL"),
    "message_expiry_interval": (0x02, "four", "PUBLISH WILL"),
    "content_type": (0x03, "text", "PUBLISH WILL"),
    "response_topic": (0x08, "text", "PUBLISH WILL"),
    "correlation_data": (0x09, "binary", "PUBLISH WILL"),
    "subscription_identifier": (0x0b, "varint", "PUBLISH SUBSCRIBE"),
    "session_expiry_interval": (0x11, "four", "CONNECT CONNACK DISCONNECT"),
    "assigned_client_identifier": (0x12, "text", "CONNACK"),
    "server_keep_alive": (0x13, "two", "CONNACK"),
    "authentication_method": (0x15, "text", "CONNECT CONNACK AUTH"),
    "authentication_data": (0x16, "binary", "CONNECT CONNACK AUTH"),
    "request_problem_information": (0x17, "bit", "CONNECT"),
    "will_delay_interval": (0x18, "four", "WILL"),
    "request_response_information": (0x19, "bit", "CONNECT"),
    "response_information": (0x1a, "text", "CONNACK"),
    "server_reference": (0x1c, "text", "CONNACK DISCONNECT"),
    "reason_string": (0x1f, "text", "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"),
    "receive_maximum": (0x21, "two", "CONNECT CONNACK"),
    "topic_alias_maximum": (0x22, "two", "CONNECT CONNACK"),
    "topic_alias": (0x23, "two", "PUBLISH"),
    "maximum_qos": (0x24, "bit", "CONNACK"),
    "retain_available": (0x25, "bit", "CONNACK"),
    "user_property": (0x26, "pair", ""),
    "maximum_packet_size": (0x27, "four", "CONNECT CONNACK"),
    "wildcard_subscription_available": (0x28, "bit", "CONNACK"),
    "subscription_identifier_available": (0x29, "bit", "CONNACK"),
    "shared_subscription_available": (0x2a, "bit", "CONNACK"),
}
PROPERTY_OF = {identifier: (name, form) for name, (identifier, form, _) in PROPERTIES.items()}


class Bad(Exception):
    """Bytes that are no packet."""


def octets(value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8")


def text(value):
    value = octets(value)
    return struct.pack(">H", len(value)) + value


def varint(value):
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7f
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def number(value):
    return value if isinstance(value, int) else int(value, 0)


def property_value(form, value):
    if form in ("text", "binary"):
        return text(value)
    if form == "pair":
        key, _, rest = value.partition("=") if isinstance(value, str) else (value[0], "", value[1])
        return text(key) + text(rest)
    if form == "varint":
        return varint(number(value))
    return number(value).to_bytes({"bit": 1, "two": 2, "four": 4}[form], "big")


def properties(fields, prefix=""):
    """The block with its length, of those fields that are properties."""
    out = b""
    for key, value in fields:
        if key.startswith(prefix) and key[len(prefix):] in PROPERTIES:
            identifier, form, _ = PROPERTIES[key[len(prefix):]]
            out += varint(identifier) + property_value(form, value)
    return varint(len(out)) + out


def frame(first, body):
    return bytes([first]) + varint(len(body)) + body


def get(fields, wanted, default=None):
    for key, value in fields:
        if key == wanted:
            return value
    return default


def has_properties(fields):
    return any(key in PROPERTIES for key, _ in fields)


def connect(version, fields):
    will = get(fields, "will_topic") is not None
    flags = number(get(fields, "clean", 1)) << 1
    if will:
        flags |= 4 | number(get(fields, "will_qos", 0)) << 3 | number(get(fields, "will_retain", 0)) << 5
    user, password = get(fields, "user"), get(fields, "password")
    flags |= (user is not None) << 7 | (password is not None) << 6
    body = text("MQIsdp" if version == "3.1" else "MQTT") + bytes([LEVELS[version], flags])
    body += struct.pack(">H", number(get(fields, "keep_alive", 0)))
    if version == "5":
        body += properties(fields)
    body += text(get(fields, "id", ""))
    if will:
        body += (properties(fields, "will.") if version == "5" else b"") + text(get(fields, "will_topic"))
        body += text(get(fields, "will_payload", ""))
    return body + (text(user) if user is not None else b"") + (text(password) if password is not None else b"")


def options(part):
    """"1nrh2": QoS, no local, retain as published, retain handling."""
    value = int(part[0])
    value |= 4 if "n" in part else 0
    value |= 8 if "r" in part else 0
    return value | (int(part[part.index("h") + 1]) << 4 if "h" in part else 0)


def filters(name, fields):
    out = b""
    for key, value in fields:
        if key == "filter" and name == "SUBSCRIBE":
            topic, _, part = value.rpartition("@")
            out += text(topic) + bytes([options(part)])
        elif key == "filter":
            out += text(value)
    return out


def encode(version, name, fields=()):
    """The packet's bytes."""
    fields, first, five = list(fields), NUMBERS[name] << 4 | FLAGS.get(name, 0), version == "5"
    packet_id = struct.pack(">H", number(get(fields, "id", 0))) if name not in ("CONNECT",) else b""
    if name == "CONNECT":
        return frame(first, connect(version, fields))
    if name == "PUBLISH":
        qos = number(get(fields, "qos", 0))
        first |= number(get(fields, "dup", 0)) << 3 | qos << 1 | number(get(fields, "retain", 0))
        body = text(get(fields, "topic", "")) + (packet_id if qos else b"") + (properties(fields) if five else b"")
        return frame(first, body + octets(get(fields, "payload", "")))
    if name == "CONNACK":
        body = bytes([number(get(fields, "present", 0)), number(get(fields, "code", 0))])
        return frame(first, body + (properties(fields) if five else b""))
    if name in ("SUBSCRIBE", "UNSUBSCRIBE"):
        return frame(first, packet_id + (properties(fields) if five else b"") + filters(name, fields))
    if name in ("SUBACK", "UNSUBACK"):
        codes = bytes(number(code) for code in str(get(fields, "codes", "")).split(",") if code)
        return frame(first, packet_id + (properties(fields) if five else b"") + codes)
    if name in ("PINGREQ", "PINGRESP"):
        return frame(first, b"")
    body = packet_id if name in ACKS else b""
    if five and (get(fields, "reason") is not None or has_properties(fields)):
        body += bytes([number(get(fields, "reason", 0))]) + (properties(fields) if has_properties(fields) else b"")
    return frame(first, body)


# ---- reading ----

class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise Bad(f"cut off: {self.data.hex()}")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, count):
        return int.from_bytes(self.take(count), "big")

    def binary(self):
        return self.take(self.number(2))

    def text(self):
        return self.binary().decode("utf-8", errors="strict")

    def varint(self):
        value = shift = 0
        while True:
            low = self.number(1)
            value |= (low & 0x7f) << shift
            shift += 7
            if not low & 0x80:
                return value
            if shift > 21:
                raise Bad("a length of more than four bytes")

    def left(self):
        return len(self.data) - self.at

    def properties(self, where):
        inner, out = Reader(self.take(self.varint())), []
        while inner.left():
            name, form = PROPERTY_OF[inner.varint()]
            if PROPERTIES[name][2] and where not in PROPERTIES[name][2].split():
                raise Bad(f"{name} in {where}")
            read = {"text": inner.text, "binary": inner.binary, "varint": inner.varint, "pair": lambda: (inner.text(), inner.text()),
                    "bit": lambda: inner.number(1), "two": lambda: inner.number(2), "four": lambda: inner.number(4)}
            out.append((name, read[form]()))
        return out


def decode(version, first, body):
    """(name, fields) of a packet from the broker."""
    name, r, five, fields = NAMES[first >> 4], Reader(body), version == "5", []
    if name == "PUBLISH":
        fields = [("dup", first >> 3 & 1), ("qos", first >> 1 & 3), ("retain", first & 1), ("topic", r.text())]
        if first & 6:
            fields.append(("id", r.number(2)))
        fields += r.properties(name) if five else []
        fields.append(("payload", r.take(r.left())))
    elif first & 15 != FLAGS.get(name, 0):
        raise Bad(f"flags of {name}: {first:02x}")
    elif name == "CONNACK":
        fields = [("present", r.number(1)), ("code", r.number(1))] + (r.properties(name) if five else [])
    elif name in ACKS or name in ("DISCONNECT", "AUTH"):
        if name in ACKS:
            fields.append(("id", r.number(2)))
        fields.append(("reason", r.number(1) if five and r.left() else 0))
        fields += r.properties(name) if five and r.left() else []
    elif name in ("SUBACK", "UNSUBACK"):
        fields = [("id", r.number(2))] + (r.properties(name) if five else [])
        fields.append(("codes", list(r.take(r.left()))))
    elif name not in ("PINGRESP",):
        raise Bad(f"{name or 'type 0'} from a broker")
    if r.left():
        raise Bad(f"{name}: bytes behind its end: {body.hex()}")
    return name, fields


class Wire:
    """One connection: packets out, packets in. Not more than bytes and time."""

    def __init__(self, address, version="5", timeout_s=10):
        self.version, self.pending = version, b""
        self.socket = socket.create_connection(address, timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, name, *fields, **more):
        self.socket.sendall(encode(self.version, name, [*fields, *more.items()]))

    def whole(self):
        """The first packet of what came: (first byte, body), or None."""
        for size in range(1, 5):
            if len(self.pending) <= size:
                return None
            if not self.pending[size] & 0x80:
                break
        else:
            raise Bad("a length of more than four bytes")
        if size > 1 and not self.pending[size]:
            raise Bad("a length that is not the shortest")
        length = sum((b & 0x7f) << 7 * i for i, b in enumerate(self.pending[1:size + 1]))
        if len(self.pending) < 1 + size + length:
            return None
        first, body = self.pending[0], self.pending[1 + size:1 + size + length]
        self.pending = self.pending[1 + size + length:]
        return first, body

    def receive(self, limit_s=10):
        """The next packet; None when nothing came in time; ("closed", [])."""
        limit = time.monotonic() + limit_s
        while True:
            found = self.whole()
            if found:
                return decode(self.version, *found)
            left = limit - time.monotonic()
            if left <= 0 and limit_s:
                return None
            try:
                self.socket.settimeout(max(left, 0.0001))
                piece = self.socket.recv(65536)
            except (socket.timeout, BlockingIOError):
                return None
            except OSError:
                return "closed", []
            if not piece:
                return "closed", []
            self.pending += piece

    def peek(self, limit_s=10):
        """What has come as soon as something has, which stays."""
        if not self.pending:
            self.socket.settimeout(limit_s)
            self.pending = self.socket.recv(65536)
        return self.pending

    def bytes(self, count, limit_s=10):
        """That many bytes, or those that came before the end or the limit."""
        limit = time.monotonic() + limit_s
        while len(self.pending) < count and (left := limit - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                piece = self.socket.recv(65536)
            except OSError:
                break
            if not piece:
                break
            self.pending += piece
        out, self.pending = self.pending[:count], self.pending[count:]
        return out

    def rest(self, limit_s=10):
        """All bytes until the end, and whether it came in time."""
        out, self.pending = self.pending, b""
        limit = time.monotonic() + limit_s
        while (left := limit - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                piece = self.socket.recv(65536)
            except socket.timeout:
                break
            except OSError:
                return out, True
            if not piece:
                return out, True
            out += piece
        return out, False

    def is_closed(self, limit_s=10):
        """Whether it ends without another byte."""
        try:
            self.socket.settimeout(limit_s)
            return not self.pending and self.socket.recv(1) == b""
        except socket.timeout:
            return False
        except OSError:
            return True

    def close(self):
        self.socket.close()
