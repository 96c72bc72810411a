"""What the broker keeps beside queues, whatever happens between: the members of a shared subscription, retained messages, wills with
their delays, sessions that end by themselves (MILLRACE_TEST_SEED, MILLRACE_RANDOM_SECONDS)."""
import os
import socket
import struct
import time

import mqtt_wire as wire
from mqtt_random import Feeder, Taker, access, go_on, random_node, restart, seeded
from mqtt_sessions import CUTS, Cut

SECONDS = float(os.environ.get("MILLRACE_RANDOM_SECONDS", "6"))
LATE_S = 4  # so much later than it is due may a will come, or a session end: whole seconds, and a busy machine
MUST, MAY, NEVER = "must", "may", "never"
TOPICS = 120


class Retained:
    """The values of some topics. What was not acknowledged may count or not; `maybe`: what may be there, the last acknowledged first."""

    def __init__(self, node, rng):
        self.node, self.rng, self.wire, self.number, self.open = node, rng, None, 0, {}
        self.maybe = [[(0, b"")] for _ in range(TOPICS)]

    def connect(self):
        (address, (user, password)) = access(self.node)
        self.wire = wire.Wire(address, "5", 20)
        self.wire.send("CONNECT", id="keeper", user=user, password=password)
        assert self.wire.receive(20)[0] == "CONNACK"
        self.open = {}

    def cut(self):
        if self.wire:
            self.wire.close()
        self.wire, self.open = None, {}

    def publish(self, count):
        if not self.wire:
            self.connect()
        for _ in range(count):
            self.number += 1
            topic = self.rng.randrange(TOPICS)
            value = b"" if self.rng.random() < 0.3 else b"%d" % self.number + b"y" * self.rng.choice([0, 3000])
            self.maybe[topic].append((self.number, value))
            packet_id = next(i for i in range(1, 65536) if i not in self.open)
            self.open[packet_id] = (topic, (self.number, value))
            self.wire.send("PUBLISH", topic=f"r/{topic}", qos=self.rng.choice([1, 2]), id=packet_id, retain=1, payload=value)

    def acknowledged(self):
        """All was acknowledged: it is what counts."""
        while self.open:
            name, fields = self.wire.receive(20)
            assert wire.get(fields, "reason", 0) < 0x80, (name, fields)
            if name == "PUBREC":
                self.wire.send("PUBREL", id=wire.get(fields, "id"))
            else:
                self.wait_over(wire.get(fields, "id"))

    def wait_over(self, packet_id):
        topic, value = self.open.pop(packet_id)
        if value in self.maybe[topic]:  # else a later one has been acknowledged, with QoS 1
            del self.maybe[topic][:self.maybe[topic].index(value)]

    def barrier(self):
        """All that was said to the broker before is on its disk."""
        self.publish(1)
        self.acknowledged()

    def look(self):
        """Who subscribes now gets what is there."""
        self.acknowledged()
        (address, (user, password)) = access(self.node)
        one = wire.Wire(address, "5", 20)
        one.send("CONNECT", id="looks", user=user, password=password)
        one.send("SUBSCRIBE", id=1, filter="r/#@1")
        got, name = {}, None
        expect = sum(1 for maybe in self.maybe if all(value for _, value in maybe))
        while True:
            packet = one.receive(20 if name != "SUBACK" and name != "PUBLISH" or len(got) < expect else 0.2)
            if packet is None:
                break
            name, fields = packet
            assert name in ("CONNACK", "SUBACK", "PUBLISH"), packet
            if name == "PUBLISH":
                assert wire.get(fields, "retain") == 1, fields
                topic = int(wire.get(fields, "topic")[2:])
                assert topic not in got, topic
                got[topic] = wire.get(fields, "payload")
                one.send("PUBACK", id=wire.get(fields, "id"))
        one.close()
        for topic, maybe in enumerate(self.maybe):
            value = got.get(topic, b"")
            self.maybe[topic] = [one for one in maybe if one[1] == value]
            assert self.maybe[topic], (topic, value[:20], [(n, v[:20]) for n, v in maybe])


class Heirs(Taker):
    """Who hears of wills: each once, in whatever order they are due."""

    def note(self, packet_id, dup, key):
        if packet_id in self.received:
            assert self.received[packet_id] == key
            return
        assert key not in self.got, f"the will {key} again"
        self.got.add(key)


class Testator:
    """A client with a will, which has a delay, and a session, which may end by itself; it comes and goes."""

    def __init__(self, play, name):
        self.play, self.rng, self.name, self.wire, self.number = play, play.rng, name, None, None
        self.delay_s, self.expiry_s, self.is_fresh, self.is_sure = 0, 0, False, True
        self.due = self.lapse = None  # of the will and the session while its client is away: not before, not after

    def fate(self, what):
        if self.number is not None:
            self.play.fates[self.number] = what
            self.play.recent.add(self.number)
        self.number, self.due = None, None

    def connect(self):
        """Back, or for the first time; over a connection that is there it takes its session over."""
        before, clean, old = time.monotonic(), int(self.rng.random() < 0.2), self.wire
        address, (user, password) = access(self.play.node)
        delay_s, expiry_s = self.rng.choice([0, 1, 3]), self.rng.choice([0, 2, 1000])
        number = len(self.play.fates)
        self.play.fates.append(MAY)
        self.play.recent.add(number)
        one = wire.Wire(address, "5", 20)
        one.send("CONNECT", ("id", self.name), ("user", user), ("password", password), ("clean", clean), ("will_topic", "w/x"),
                 ("will_payload", b"%d:" % number), ("will_qos", 2), ("will.will_delay_interval", delay_s), ("session_expiry_interval", expiry_s))
        name, fields = one.receive(20)
        assert name == "CONNACK" and not wire.get(fields, "code"), (name, fields)
        self.check_session(wire.get(fields, "present"), clean, before)
        self.end_old(clean, before)
        if old:
            old.close()
        self.wire, self.number, self.delay_s, self.expiry_s = one, number, delay_s, expiry_s
        self.is_fresh, self.is_sure, self.due, self.lapse = True, True, None, None

    def check_session(self, present, clean, before):
        assert not (present and clean), f"{self.name}: a new session is an old one"
        if clean or not self.is_sure:
            return
        assert self.expiry_s or not present, f"{self.name}: its session was not to be kept"
        if self.wire:
            assert present == (self.expiry_s > 0), f"{self.name}: was connected until now"
        elif self.lapse:
            assert present or time.monotonic() > self.lapse[0], f"{self.name}: its session is gone too early"
            assert not present or before < self.lapse[1], f"{self.name}: its session is there still"

    def end_old(self, clean, before):
        """What becomes of the will before this one."""
        if self.number is None:
            return
        if clean or not self.delay_s or not self.expiry_s:
            self.fate(MUST)
        elif self.wire or time.monotonic() < self.due[0]:
            self.fate(NEVER)
        else:
            self.fate(MUST if before > self.due[1] else MAY)

    def leave(self):
        """Without a word, or with one: then the will goes, or stays."""
        what = self.rng.choice(["close", "reset", "bye", "bye with will"])
        if what == "reset":
            self.wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif what != "close":
            self.wire.send("DISCONNECT", *([("reason", 4)] if what != "bye" else []))
            assert self.wire.rest(20)[1]
        self.wire.close()
        self.away(time.monotonic(), time.monotonic())
        if what == "bye":
            self.fate(NEVER)

    def away(self, since, until):
        delay_s = min(self.delay_s, self.expiry_s)
        self.wire, self.is_fresh = None, True
        self.lapse = [since + self.expiry_s, until + self.expiry_s + LATE_S]
        if self.number is not None:
            self.due = [since + delay_s, until + delay_s + LATE_S]
            self.play.recent.add(self.number)

    def node_ended(self, is_exact, since):
        """The node is here again. What was not on its disk may be lost, or not; sessions are kept as long from now on."""
        now = time.monotonic()
        if self.wire:
            self.wire.close()
            self.away(since, now)
        elif self.lapse:
            self.lapse[1] = now + self.expiry_s + LATE_S
        if self.due:
            self.due = [self.due[0] - 1, now + self.delay_s + LATE_S]
        self.is_sure &= is_exact or not self.is_fresh
        if is_exact:
            self.is_fresh = False


class Play:
    def __init__(self, node_factory, rng):
        self.rng, self.fates, self.recent, self.doubtful = rng, [], set(), set()
        shared = rng.choice(["round-robin", "random", "sticky", "hash-topic"])
        self.node = random_node(node_factory, rng, f"mqtt.shared={shared}", f"mqtt.queue.memory={rng.choice(['16KiB', '256KiB'])}")
        self.retained = Retained(self.node, rng)
        self.testators = [Testator(self, f"t{i}") for i in range(4)]
        self.heirs = Heirs(["w/#"], 2, *access(self.node), "heirs", rng)
        self.feeder = Feeder(*access(self.node), "feeder", rng, topics=("q/a", "q/b"))
        self.members = [Taker(["$share/g/q/#"], qos, *access(self.node), f"m{i}", rng, "5", rng.choice([1, 5, 65535]), refuses=0.1 * (i == 2))
                        for i, qos in enumerate([2, 1, 2])]
        for session in [self.heirs, *self.members]:
            session.connect()

    def barrier(self):
        """What was said so far is on the disk."""
        self.retained.barrier()
        self.recent.clear()
        for testator in self.testators:
            testator.is_fresh = False

    def disturb(self):
        how = self.rng.choice(["kill", "kill", "restart", "checkpoint"])
        print(how, self.feeder.count(), self.retained.number, len(self.fates))
        if self.rng.random() < 0.5 and how == "kill":
            self.barrier()
        if self.rng.random() < 0.5:
            self.retained.publish(self.rng.randrange(1, 100))
        if how == "checkpoint":
            self.node.sql("CHECKPOINT")
            return
        self.end_node(how)

    def end_node(self, how):
        self.feeder.cut()
        since = time.monotonic()
        restart(self.node, how)
        self.retained.cut()
        if how == "kill":
            self.doubtful |= self.recent
        for testator in self.testators:
            testator.node_ended(how == "restart", since)
        for session in [self.heirs, *self.members]:
            session.is_reborn = True
            if how == "kill":
                session.new_life()

    def step(self):
        what, session = self.rng.random(), self.rng.choice([self.heirs, *self.members])
        testator = self.rng.choice(self.testators)
        if what < 0.1:
            self.feeder.publish(self.rng.randrange(1, 300), self.rng.choice([20, 700]), self.rng.choice([1, 2]))
        elif what < 0.2:
            self.retained.publish(self.rng.randrange(1, 50))
            self.retained.acknowledged()
        elif what < 0.25:
            self.retained.look()
        elif what < 0.28:
            self.disturb()
        elif what < 0.45:
            if testator.wire and self.rng.random() < 0.7:
                testator.leave()
            else:
                testator.connect()
        elif what < 0.55 or not session.wire:
            session.connect(self.rng.choice([None, self.rng.randrange(1, 200)]))
        elif what < 0.58:
            session.cut(self.rng.choice(CUTS))
        elif what < 0.9:
            session.work(self.rng.randrange(1, 100))
        else:
            time.sleep(0.1)

    def go_on(self, seconds):
        go_on(self.step, seconds)
        for testator in self.testators:
            if testator.wire and self.rng.random() < 0.5:
                testator.leave()
        self.barrier()
        self.end_node("kill")
        self.retained.look()
        self.drain(self.members)
        self.check_members()
        self.check_wills()

    def drain(self, sessions):
        for session in sessions:
            limit = time.monotonic() + 60
            while True:
                try:
                    if not session.wire:
                        session.connect()
                    session.fuse = None
                    session.barrier()
                    if self.node.sql(f"SELECT queued FROM sys.mqtt_clients WHERE client = '{session.name}'") == [[0]]:
                        break
                except Cut:
                    pass
                assert time.monotonic() < limit, session.name

    def check_members(self):
        """Each message had been delivered to one of them, and to no other."""
        came = [key for member in self.members for key in member.got]
        print("members", [len(member.got) for member in self.members])
        assert len(came) == len(set(came)), "some came to two members"
        lost = set(range(self.feeder.count())) - set(came)
        assert not lost, f"{len(lost)} came to no member, from {min(lost)} on"

    def check_wills(self):
        """When the last of them is due, and what has to come has come."""
        time.sleep(max([0] + [t.due[1] - time.monotonic() for t in self.testators if t.due]))
        for testator in self.testators:
            if testator.number is not None:
                testator.fate(MUST)
            testator.connect()
            testator.wire.send("DISCONNECT")
            assert testator.wire.rest(20)[1]
            testator.fate(NEVER)
        self.drain([self.heirs])
        for number, fate in enumerate(self.fates):
            about = (number, fate, number in self.heirs.got, self.fates[-8:])
            if number not in self.doubtful:
                assert fate == MAY or (fate == MUST) == (number in self.heirs.got), about
        print("wills", len(self.fates), [self.fates.count(x) for x in (MUST, MAY, NEVER)], len(self.doubtful), "heard", len(self.heirs.got))


def test_what_the_broker_keeps_is_there_whatever_happens(node_factory):
    Play(node_factory, seeded()).go_on(SECONDS)
