"""Clients with sessions of their own that are cut off anywhere and go on from what MQTT has them keep (MQTT 5.0 sections 4.1, 4.3, 4.4).

A session is played in small steps by its test; what is kept of it outlives its connection. Each time before something is sent the
connection may end instead, or in the middle of it (`fuse`). Readers check while they read: a message with QoS 2 comes once, an
acknowledged one of any QoS comes, those of a publisher come in their order, packets that MQTT orders come so. A wrong packet is a
failed assertion; a connection that is gone is Cut.
"""
import random
import socket
import struct

import mqtt_wire as wire

CUTS = ("close", "reset", "half")
NEVER = 0xffffffff
LEAVES = (0x8b, 0x8e)  # the broker ends; another connection of the same client
OPEN, ACKED, DROPPED = "open", "acked", "dropped"
SENT, RELEASED = "sent", "released"


class Cut(OSError):
    """The connection is gone."""


class Session:
    """What both sides have: a connection that comes and goes."""

    def __init__(self, address, login, name, rng, version="5", receive_maximum=65535):
        self.address, self.login, self.name, self.version, self.receive_maximum = address, login, name, version, receive_maximum
        self.rng = random.Random(rng.random())
        self.wire, self.fuse, self.window, self.known, self.anew = None, None, 65535, False, False

    def connect(self, fuse=None):
        """Goes on with its session, or begins a new one when that was wanted."""
        self.cut()
        self.fuse = fuse
        self.greet(self.anew)
        if self.anew and self.version != "5":  # clean there means that nothing is kept of this connection either
            self.cut()
            self.fuse = fuse
            self.greet(False)
        self.anew = False
        self.begin()

    def greet(self, clean):
        self.wire = wire.Wire(self.address, self.version, 20)
        keeps = [("session_expiry_interval", NEVER), ("receive_maximum", self.receive_maximum)] if self.version == "5" else []
        self.send("CONNECT", ("id", self.name), ("clean", int(clean)), ("user", self.login[0]), ("password", self.login[1]), *keeps)
        name, fields = self.packet(20)
        assert name == "CONNACK" and not wire.get(fields, "code"), (self.name, name, fields)
        present = wire.get(fields, "present")
        assert present or clean or not self.known, f"{self.name}: its session is gone"
        assert not (present and clean), f"{self.name}: a new session is an old one"
        self.window = wire.get(fields, "receive_maximum", 65535)
        if not present:
            self.forget()

    def cut(self, how="close"):
        """Ends the connection; what came and was not looked at is lost."""
        if not self.wire:
            return
        if how == "reset":
            self.wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wire.close()
        self.wire = None

    def send(self, name, *fields, **more):
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.burn(wire.encode(self.version, name, [*fields, *more.items()]))
        try:
            self.wire.socket.settimeout(20)
            self.wire.send(name, *fields, **more)
        except OSError as error:
            self.cut()
            raise Cut(str(error)) from error

    def burn(self, data):
        how = self.rng.choice(CUTS)
        if how == "half":
            try:
                self.wire.socket.sendall(data[:self.rng.randrange(len(data))])
            except OSError:
                pass
        self.cut(how)
        raise Cut(how)

    def packet(self, limit_s=0):
        """The next one; None: nothing has come."""
        got = self.wire.receive(limit_s)
        if got is None and limit_s:
            raise AssertionError(f"{self.name}: nothing came in {limit_s} s")
        if got and got[0] == "DISCONNECT":
            assert wire.get(got[1], "reason") in LEAVES, (self.name, got)
        if got and got[0] in ("closed", "DISCONNECT"):
            self.cut()
            raise Cut(got[0])
        return got

    def work(self, most, limit_s=0):
        """Looks at up to so many packets that have come; how many there were."""
        for done in range(most):
            got = self.packet(0 if done or not limit_s else limit_s)
            if not got:
                return done
            self.take(*got)
        return most


class Publisher(Session):
    """Numbers its messages and keeps each until it is acknowledged. It may leave its session behind, and what was open with it."""

    def __init__(self, number, *more, **how):
        self.number, self.open, self.waiting = number, {}, []
        self.fates, self.qos = [], []  # of each message
        super().__init__(*more, **how)

    def begin_anew(self):
        """The next connection is a new session's: whatever was not acknowledged may have got there or not."""
        self.cut()
        self.anew = True
        self.forget()

    def forget(self):
        for serial, _, state in self.open.values():
            if state == SENT:
                self.fates[serial] = DROPPED
        self.open, self.known = {}, False

    def begin(self):
        self.waiting = []
        for packet_id, (serial, size, state) in list(self.open.items()):
            if state == SENT:
                self.put(packet_id, serial, size, 1)
            else:
                self.release(packet_id)

    def publish(self, qos, size):
        """False: its window is full."""
        if len(self.open) >= min(self.window, 40):
            return False
        packet_id = next(i for i in range(1, 65536) if i not in self.open)
        serial = len(self.fates)
        self.fates.append(OPEN)
        self.qos.append(qos)
        self.open[packet_id] = [serial, size, SENT]
        self.put(packet_id, serial, size, 0)
        return True

    def put(self, packet_id, serial, size, dup):
        payload = b"%d:%d:" % (self.number, serial)
        qos = self.qos[serial]
        self.waiting.append(("PUBACK" if qos == 1 else "PUBREC", packet_id))
        self.send("PUBLISH", topic=f"q/{self.number}", qos=qos, id=packet_id, dup=dup, payload=payload.ljust(size, b"x"))

    def release(self, packet_id):
        self.waiting.append(("PUBCOMP", packet_id))
        self.send("PUBREL", id=packet_id)

    def take(self, name, fields):
        what = (name, wire.get(fields, "id"))
        ordered = [other for other in self.waiting if other[0] == name]
        assert ordered and ordered[0] == what, (self.name, what, "waits for", self.waiting)
        # A PUBREL that is sent again may find nothing any more.
        assert name == "PUBCOMP" or wire.get(fields, "reason", 0) < 0x80, (self.name, name, fields)
        self.waiting.remove(what)
        entry = self.open[what[1]]
        self.known = True
        if name != "PUBCOMP":
            self.fates[entry[0]] = ACKED
        if name == "PUBREC":
            entry[2] = RELEASED
            del self.open[what[1]]  # what is sent again is in the order of PUBREC
            self.open[what[1]] = entry
            self.release(what[1])
        else:
            del self.open[what[1]]


class Reader(Session):
    """Reads q/# of all publishers, and checks."""

    def __init__(self, publishers, qos, *more, **how):
        self.publishers, self.qos = publishers, qos
        self.is_reborn = False
        self.forget()
        super().__init__(*more, **how)

    def forget(self):
        self.received, self.seen, self.known = {}, {}, False  # received: packet id → message, until it is released
        self.last, self.since, self.asked = {}, None, False

    def begin_anew(self):
        """The next connection is a new session's."""
        self.cut()
        self.anew = True
        self.forget()

    def new_life(self):
        """The broker was started anew: it need not know what it has sent. What it sent before may still come."""
        self.is_reborn = True

    def begin(self):
        if self.is_reborn:
            self.seen, self.is_reborn = {}, False
        if not self.known:
            self.asked = True
            self.send("SUBSCRIBE", id=1, filter=f"q/#@{self.qos}")

    def take(self, name, fields):
        packet_id = wire.get(fields, "id")
        if name == "SUBACK":
            assert wire.get(fields, "codes") == [self.qos], (self.name, fields)
            self.known = True
            self.since = [len(publisher.fates) for publisher in self.publishers]
        elif name == "PUBREL":
            assert wire.get(fields, "reason", 0) == 0, (self.name, fields)
            assert packet_id not in self.received or packet_id == next(iter(self.received)), (self.name, packet_id, self.received)
            self.received.pop(packet_id, None)
            self.seen.pop(packet_id, None)
            self.send("PUBCOMP", id=packet_id)
        else:
            assert name == "PUBLISH" and self.asked, (self.name, name, fields)
            self.message(packet_id, wire.get(fields, "qos"), wire.get(fields, "dup"), wire.get(fields, "payload"))

    def message(self, packet_id, qos, dup, payload):
        key = tuple(int(part) for part in payload.split(b":")[:2])
        publisher, serial = self.publishers[key[0]], key[1]
        assert qos == min(self.qos, publisher.qos[serial]), (self.name, key, qos)
        assert dup or self.seen.get(packet_id) != key, (self.name, key, "again without DUP")
        self.seen[packet_id] = key
        if qos == 1:
            self.count(key, publisher, True)
            self.send("PUBACK", id=packet_id)
            return
        assert self.received.get(packet_id, key) == key, (self.name, packet_id, "is", self.received.get(packet_id), "and", key)
        if packet_id not in self.received:
            self.count(key, publisher, False)
            self.received[packet_id] = key
        assert len(self.received) <= self.receive_maximum, (self.name, self.received)
        self.send("PUBREC", id=packet_id)

    def count(self, key, publisher, may_repeat):
        last = self.last.get(key[0], -1)
        assert key[1] > last or may_repeat, f"{self.name}: {key} again, after {last}"
        if key[1] > last:
            self.check_gap(publisher, last + 1, key[1])
            self.last[key[0]] = key[1]

    def check_gap(self, publisher, first, end):
        if self.since:
            lost = [n for n in range(max(first, self.since[publisher.number]), end) if publisher.fates[n] != DROPPED]
            assert not lost, f"{self.name}: before {publisher.number}:{end} {len(lost)} are missing, from {lost[0]} on"

    def is_done(self):
        """Whether it has all that was acknowledged; the others may come, or not."""
        return self.known and not self.received and all(
            fate == DROPPED for publisher in self.publishers
            for fate in publisher.fates[max(self.last.get(publisher.number, -1) + 1, self.since[publisher.number]):])

    def check_end(self):
        for publisher in self.publishers:
            self.check_gap(publisher, self.last.get(publisher.number, -1) + 1, len(publisher.fates))
