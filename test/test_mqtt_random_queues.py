"""Queues that are full, messages that are too old, readers that refuse, whatever happens between: each message is delivered or
counted as dropped, with QoS 2 not twice, and in order (MILLRACE_TEST_SEED, MILLRACE_RANDOM_SECONDS)."""
import os
import time

from mqtt_random import Feeder, Taker, access, random_node, restart, seeded
from mqtt_sessions import CUTS, Cut

import mqtt_wire as wire

SECONDS = float(os.environ.get("MILLRACE_RANDOM_SECONDS", "6"))
LOST = ("dropped_full", "dropped_size", "dropped_memory", "dropped_slow")


class Waiter(Taker):
    """One whose queue is full now and then. What is missing when all has come is compared with what the broker has counted."""

    def __init__(self, feeder, *more, **how):
        self.feeder = feeder
        super().__init__(["q/#"], *more, **how)

    def start(self):
        self.connect()
        self.mark, self.dropped = self.feeder.count(), 0
        self.renew()

    def renew(self):
        self.loose, self.was_away = False, self.wire is None

    def look(self, key, fields, dup):
        """The rest of its life: it was sent after this connection began, and before now."""
        expiry_s, (begun, acknowledged) = self.feeder.expiry[key], self.feeder.sent[key]
        left = wire.get(fields, "message_expiry_interval")
        assert (left is None) == (expiry_s is None), (self.name, key, fields)
        if expiry_s:
            assert left > 0 or dup, (self.name, key, "has expired")
            assert left >= begun + expiry_s - time.monotonic() - 1, (self.name, key, left)
            assert left <= max(0, (acknowledged or time.monotonic()) + expiry_s - self.since) + 2, (self.name, key, left, dup)


class Bounds:
    """What the node allows, as chance has it."""

    def __init__(self, rng):
        self.kind = rng.choice(["messages", "messages", "bytes", "bytes", "disk", "age", "none", "none"])
        self.full = rng.choice(["drop-oldest", "drop-new", "keep-every-nth", "keep-every-nth"])
        self.messages = rng.choice([1, 7, 300, 3000])
        self.size = rng.choice([20, 700, 6000])
        memory = rng.choice(["16KiB", "64KiB", "8MiB"])
        self.in_memory = memory == "8MiB"
        self.settings = [f"mqtt.queue.memory={memory}", f"mqtt.queue.full={self.full}", f"mqtt.queue.every={rng.choice([2, 3, 10])}"]
        self.settings += {"messages": [f"mqtt.queue.messages={self.messages}"], "bytes": [f"mqtt.queue.bytes={rng.choice(['20KiB', '300KiB', '2MiB'])}"],
                          "disk": ["mqtt.queue.disk=1MiB"], "age": ["mqtt.queue.age=1s"], "none": []}[self.kind]


class Play:
    def __init__(self, node_factory, rng):
        self.rng, self.bounds = rng, Bounds(rng)
        print(self.bounds.settings, self.bounds.size)
        self.node = random_node(node_factory, rng, *self.bounds.settings)
        self.feeder = Feeder(*access(self.node), "feeder", rng)
        self.readers = []
        for i, (qos, refuses) in enumerate([(2, 0.0), (1, 0.0), (2, 0.3), (1, 0.3)]):
            most = rng.choice([1, 5, 50, 65535])
            self.readers.append(Waiter(self.feeder, qos, *access(self.node), f"r{i}", rng, "5", most, refuses=refuses))
        for reader in self.readers:
            reader.start()

    def numbers(self, reader):
        return self.node.sql(f"SELECT queued, dropped FROM sys.mqtt_clients WHERE client = '{reader.name}'")[0]

    def disturb(self):
        """What the broker says before it ends is all that is known of its counts."""
        how = self.rng.choice(["kill", "restart", "checkpoint"])
        is_exact = how == "restart" and self.rng.random() < 0.7
        print(how, "after a barrier" if is_exact else "", self.feeder.count())
        for reader in self.readers:
            if reader.wire and is_exact:
                reader.barrier()
        if how != "checkpoint":
            self.take_counts()
            self.feeder.cut()
        restart(self.node, how)
        for reader in self.readers:
            reader.loose |= how == "kill" or (how == "restart" and not is_exact)
            if how == "kill":
                reader.new_life()
            if how != "checkpoint":
                reader.is_reborn = True  # that something had been sent is not kept

    def take_counts(self):
        for reader in self.readers:
            reader.dropped += self.numbers(reader)[1]

    def publish(self):
        size = self.bounds.size
        most = 500_000 // (size + 300)
        expiry_s = self.rng.choice([None, 1, 2, 100]) if self.bounds.kind == "none" else None
        self.feeder.publish(self.rng.choice([1, self.rng.randrange(1, most)]), size, self.rng.choice([1, 2]) if most < 500 else 2, expiry_s)

    def step(self, reader):
        what = self.rng.random()
        if what < 0.1:
            reader.cut(self.rng.choice(CUTS))
        elif not reader.wire or what < 0.2:
            reader.connect(self.rng.choice([None, None, self.rng.randrange(1, 300)]))
            reader.was_away = False
        elif what < 0.3:
            reader.barrier()
        else:
            reader.work(self.rng.randrange(1, 400))

    def go_on(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            what = self.rng.random()
            try:
                if what < 0.25:
                    self.publish()
                elif what < 0.28:
                    self.disturb()
                elif what < 0.33:
                    self.settle()
                else:
                    self.step(self.rng.choice(self.readers))
            except Cut:
                pass
        self.settle()

    def drain(self, reader):
        """All that waits has come."""
        limit, count = time.monotonic() + 20, 0
        while True:
            try:
                if not reader.wire:
                    reader.connect()
                reader.fuse = None
                reader.barrier()
                if self.numbers(reader)[0] == 0:
                    return
            except Cut:
                pass
            if reader.steps != count:
                limit, count = time.monotonic() + 20, reader.steps
            assert time.monotonic() < limit, (reader.name, self.numbers(reader), reader.received)

    def settle(self):
        """Nothing is on its way: what did not come is what was counted."""
        known = [set(reader.got) for reader in self.readers]
        for reader in self.readers:
            self.drain(reader)
        self.take_counts()
        missing = [set(range(reader.mark, self.feeder.count())) - reader.got for reader in self.readers]
        dropped = [reader.dropped for reader in self.readers]
        about = (self.bounds.settings, [len(one) for one in missing], dropped, self.feeder.count())
        print("settle", *about[1:])
        is_loose = any(reader.loose for reader in self.readers)
        gone = sum(dropped)
        came = sum(len(reader.got) - len([k for k in reader.got if k < reader.mark]) for reader in self.readers)
        lost = sum(len(one) for one in missing)
        # After a kill what was given up may come again, or be given up again; or what had come and was not known to have.
        assert lost <= gone and (lost == gone or is_loose and gone <= lost * 3 + came), about
        for reader, one, before in zip(self.readers, missing, known):
            self.check_one(reader, one, before)
        self.begin_anew()

    def begin_anew(self):
        for reader in self.readers:
            if self.rng.random() < 0.5:
                reader.cut()
            reader.mark, reader.dropped = self.feeder.count(), -self.numbers(reader)[1]
            reader.renew()

    def check_one(self, reader, missing, before):
        b, first, end = self.bounds, reader.mark, self.feeder.count()
        if b.kind == "none":
            now = time.monotonic()
            lost = [k for k in missing if not self.feeder.expiry[k] or now < self.feeder.sent[k][0] + self.feeder.expiry[k] - 0.1]
            assert not lost, (reader.name, len(lost), lost[:3], reader.dropped)
        if b.kind == "age" or reader.loose:
            return
        assert len(missing) == reader.dropped, (reader.name, len(missing), reader.dropped)
        if not reader.was_away or before & set(range(first, end)):
            return
        if b.kind in ("messages", "bytes") and b.full == "drop-oldest":
            assert missing == set(range(first, first + len(missing))), (reader.name, "not the oldest are gone")
        if b.kind == "messages" and b.full == "drop-new":
            assert missing == set(range(min(end, first + b.messages), end)), (reader.name, "not the newest are gone", b.messages)
        if b.kind == "messages":
            assert end - first - len(missing) <= b.messages or not b.in_memory
        if b.kind == "messages" and b.full == "drop-oldest" and b.in_memory:
            assert len(missing) == max(0, end - first - b.messages), (reader.name, len(missing), first, end)


def test_each_message_is_delivered_or_counted(node_factory):
    play = Play(node_factory, seeded())
    play.go_on(SECONDS)
    print("published", play.feeder.count())
