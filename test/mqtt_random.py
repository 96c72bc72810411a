"""What random tests of the broker share: a seed, nodes as chance has them, one who publishes numbered messages and those who take them.

A taker is a Session (mqtt_sessions.py) that answers as chance says, with PUBACK, PUBREC, a reason of refusal, or not at all, and
checks while it reads: what may come again, and the order. What must come at all, and what may be missing, is its test's to say.
"""
import contextlib
import os
import random
import time

import mqtt_wire as wire
from conftest import HOST, free_port
from mqtt_sessions import Cut, Session

REFUSALS = (0x80, 0x83, 0x87, 0x90, 0x97, 0x99)


def seeded():
    """Chance that can be had again: MILLRACE_TEST_SEED."""
    seed = int(os.environ.get("MILLRACE_TEST_SEED", "1"))
    print("seed", seed)
    return random.Random(seed)


def random_node(node_factory, rng, *settings):
    """A node with or without tasks of their own for sockets."""
    port = free_port()
    node = node_factory(settings=[f"listen.mqtt={HOST}:{port}", f"mqtt.loops={rng.choice([0, 0, 2])}", "memory=48MiB", *settings])
    node.mqtt_port = port
    return node


def access(node):
    return (HOST, node.mqtt_port), ("admin", node.PASSWORD)


class Feeder(Session):
    """Publishes messages that count up, and waits for their acknowledgements. `sent`: when each was sent, and when acknowledged."""

    def __init__(self, *more, topics=("q/a",), **how):
        super().__init__(*more, **how)
        self.topics, self.sent, self.expiry = topics, [], []

    def forget(self):
        self.known = False

    def begin(self):
        self.known = True

    def count(self):
        return len(self.sent)

    def publish(self, count, size, qos=1, expiry_s=None):
        if not self.wire:
            self.connect()
        open_until = self.count() + count
        done, first = self.count(), self.count()
        while done < open_until:
            while self.count() < open_until and self.count() - done < 100:
                self.put(size, qos, expiry_s)
            name, fields = self.packet(20)
            if name == "PUBREC":
                assert wire.get(fields, "reason", 0) < 0x80, fields
                self.send("PUBREL", id=wire.get(fields, "id"))
                continue
            assert name == ("PUBACK" if qos == 1 else "PUBCOMP") and wire.get(fields, "id") == done % 60000 + 1, (name, fields, done)
            assert wire.get(fields, "reason", 0) < 0x80, fields
            self.sent[done][1] = time.monotonic()
            done += 1
        return range(first, done)

    def put(self, size, qos, expiry_s):
        serial = self.count()
        self.sent.append([time.monotonic(), None])
        self.expiry.append(expiry_s)
        payload = (b"%d:" % serial).ljust(size, b"x")
        more = [("message_expiry_interval", expiry_s)] if expiry_s else []
        self.send("PUBLISH", *more, topic=self.topics[serial % len(self.topics)], qos=qos, id=serial % 60000 + 1, payload=payload)


class Ledger:
    """What came of a Feeder's messages, and what of it may come again: nothing that was released, nothing twice over one connection,
    and always in order. A kill of the broker (`new_life`) may bring back what it had dropped or knew to be acknowledged."""

    def forget(self):
        self.known, self.is_reborn = False, False
        self.got, self.received = set(), {}  # received: packet identifier → message, until it is released
        self.answered, self.sure, self.final = set(), set(), set()  # ended; the broker knows it; and it is on its disk
        self.line, self.last, self.here = -1, -1, set()  # of this connection, of all

    def begin_line(self):
        self.line, self.here, self.answered = -1, set(), set()

    def new_life(self):
        self.sure, self.last, self.is_reborn = set(), -1, True

    def note(self, packet_id, dup, key):
        """A message has come."""
        is_again, where = key in self.got, f"{self.name}: {key}, identifier {packet_id}"
        assert key not in self.here and key > self.line, f"{where}: after {self.line} of one connection"
        assert key not in self.sure, f"{where}: again, and it had been acknowledged"
        assert key not in self.final, f"{where}: again, and it was released"
        assert is_again or key > self.last, f"{where}: for the first time, after {self.last}"
        assert not is_again or dup or self.is_reborn, f"{where}: again without DUP"
        assert self.received.get(packet_id, key) == key, f"{where}: the identifier is that of {self.received.get(packet_id)}"
        assert key not in self.received.values() or packet_id in self.received, f"{where}: it had another identifier"
        self.line, self.last = key, max(key, self.last)
        self.here.add(key)
        self.got.add(key)

    def release(self, packet_id):
        key = self.received.pop(packet_id, None)
        if key is not None:
            self.final.add(key)


class Taker(Ledger, Session):
    """Takes what a Feeder publishes; `refuses`: how often it says that it does not want a message, which ends it as well."""

    def __init__(self, filters, qos, *more, refuses=0.0, **how):
        self.filters, self.qos, self.refuses = filters, qos, refuses
        self.steps, self.pinged = 0, set()  # messages that came or were released
        self.left = []  # connections that were taken over
        self.forget()
        super().__init__(*more, **how)

    def connect(self, fuse=None):
        if self.wire and self.rng.random() < 0.3:
            self.left.append(self.wire)  # the broker ends it
            self.wire = None
        super().connect(fuse)
        for old in self.left:
            old.close()
        self.left.clear()

    def begin(self):
        self.begin_line()
        self.since = time.monotonic()
        if not self.known:
            self.send("SUBSCRIBE", ("id", 1), *(("filter", f"{one}@{self.qos}") for one in self.filters))
            name, fields = self.packet(20)
            assert name == "SUBACK" and wire.get(fields, "codes") == [self.qos] * len(self.filters), (name, fields)
            self.known = True

    def take(self, name, fields):
        packet_id = wire.get(fields, "id")
        self.steps += name != "PINGRESP"
        if name == "PUBREL":
            assert wire.get(fields, "reason", 0) == 0, (self.name, fields)
            self.release(packet_id)
            self.send("PUBCOMP", id=packet_id)
        elif name == "PINGRESP":
            self.sure |= self.pinged
        else:
            assert name == "PUBLISH", (self.name, name, fields)
            self.message(packet_id, wire.get(fields, "qos"), wire.get(fields, "dup"), fields)

    def message(self, packet_id, qos, dup, fields):
        key = int(wire.get(fields, "payload").split(b":")[0])
        self.note(packet_id, dup, key)
        self.look(key, fields, dup)
        if packet_id not in self.received and self.rng.random() < self.refuses:
            self.answered.add(key)
            self.send("PUBACK" if qos == 1 else "PUBREC", id=packet_id, reason=self.rng.choice(REFUSALS))
        elif qos == 1:
            self.answered.add(key)
            self.send("PUBACK", id=packet_id)
        else:
            self.received[packet_id] = key
            assert len(self.received) <= self.receive_maximum, (self.name, self.received)
            self.send("PUBREC", id=packet_id)

    def look(self, key, fields, dup):
        """What else a test has to say of a message."""

    def ping(self):
        """When its answer has come, the broker has what was said before."""
        self.pinged = set(self.answered)
        self.send("PINGREQ")

    def barrier(self):
        """All that is on its way has come, and is answered."""
        limit, count = time.monotonic() + 20, self.steps
        self.ping()
        while True:
            if self.steps != count:
                limit, count = time.monotonic() + 20, self.steps
            assert time.monotonic() < limit, f"{self.name}: no end: {self.received}"
            name, fields = self.packet(20)
            self.take(name, fields)
            if name == "PINGRESP":
                if not self.received and self.answered <= self.sure:
                    return
                if self.received:
                    with contextlib.suppress(OSError):  # a connection that is gone shows with the next packet
                        self.wire.peek(0.005)
                self.ping()


def go_on(step, seconds):
    """One step after another; a connection that is cut is a step's end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            step()
        except Cut:
            pass


def restart(node, how):
    if how == "kill":
        node.kill9()
        node.start()
    elif how == "restart":
        node.restart()
    else:
        node.sql("CHECKPOINT")
