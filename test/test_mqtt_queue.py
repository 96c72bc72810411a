"""Queues that are longer than memory lie in files: nothing is lost or out of order, whenever the node is killed."""
import os
import random
import threading
import time

import pytest

import mqtt_wire as wire
from conftest import HOST, free_port, wait_for
from mqtt_bulk import Bulk
from mqtt_sessions import CUTS, DROPPED, Cut, Publisher, Reader

MANY = 40000
SECONDS = float(os.environ.get("MILLRACE_QUEUE_SECONDS", "10"))


def make(node_factory, *settings):
    port = free_port()
    node = node_factory(settings=[f"listen.mqtt={HOST}:{port}", "memory=32MiB", *settings])
    node.mqtt_port = port
    return node


def client(node, name, **more):
    return Bulk((HOST, node.mqtt_port), name, "admin", node.PASSWORD, **more)


def numbered(first, count, size=60):
    return [b"%010d" % i + b"x" * (size - 10) for i in range(first, first + count)]


def queue_files(node):
    folder = os.path.join(node.data, "mqtt", "queues")
    return [os.path.join(folder, name) for name in os.listdir(folder)] if os.path.isdir(folder) else []


def queued(node, name):
    return node.sql(f"SELECT queued FROM sys.mqtt_clients WHERE client = '{name}'")[0][0]


def away(node, name, topic="q/#"):
    one = client(node, name)
    one.subscribe(topic)
    one.close()


def test_a_long_queue_is_delivered_in_order_and_its_files_go(node_factory):
    node = make(node_factory)
    away(node, "slow")
    client(node, "fast").publish("q/a", numbered(0, MANY))
    wait_for(lambda: queued(node, "slow") == MANY and queue_files(node), 20, "not queued, or not in files")
    slow = client(node, "slow")
    assert slow.present and slow.receive(MANY) == numbered(0, MANY)
    assert queued(node, "slow") < 5000  # the last acknowledgements may be on their way
    wait_for(lambda: queued(node, "slow") == 0, 20, "acknowledged")
    client(node, "fast").publish("q/a", numbered(MANY, 10))
    assert slow.receive(10) == numbered(MANY, 10)


def test_messages_come_while_the_queue_is_read(node_factory):
    node = make(node_factory)
    away(node, "slow")
    fast = client(node, "fast")
    fast.publish("q/a", numbered(0, MANY // 2))
    slow = client(node, "slow")
    got = slow.receive(1000)
    for at in range(MANY // 2, MANY, 5000):
        fast.publish("q/a", numbered(at, 5000))
        got += slow.receive(2500)
    got += slow.receive(MANY - len(got))
    assert got == numbered(0, MANY)


@pytest.mark.parametrize("saved", ["with a snapshot", "by the log alone"])
def test_kill_9_with_a_long_queue_loses_nothing(node_factory, saved):
    node = make(node_factory)
    away(node, "slow")
    client(node, "fast").publish("q/a", numbered(0, MANY // 2))
    if saved == "with a snapshot":
        node.sql("CHECKPOINT")
        state = os.path.join(node.data, "mqtt", "state")
        begun = time.monotonic()
        at = 0
        while not os.path.exists(state) and time.monotonic() < begun + 60:  # 16 MiB of notes
            client(node, "other").publish("r/a", numbered(0, 500))
            client(node, "fast").publish("q/a", numbered(MANY // 2 + at, 500))
            at += 500
        first = MANY // 2 + at
        assert os.path.exists(state)
    else:
        first = MANY // 2
    node.kill9()
    node.start()
    assert queued(node, "slow") == first
    client(node, "fast").publish("q/a", numbered(first, 1000))
    slow = client(node, "slow")
    got = slow.receive(first // 2)
    slow.close()
    wait_for(lambda: queued(node, "slow") <= first + 1000 - len(got) + 100, 20, "acknowledged")
    node.kill9()
    node.start()
    slow = client(node, "slow")
    rest = slow.receive(1)
    assert int(rest[0][:10]) <= len(got)
    got = numbered(0, int(rest[0][:10])) + rest
    got += slow.receive(first + 1000 - len(got))
    assert got == numbered(0, first + 1000)


def test_the_oldest_go_when_the_queue_is_full_and_are_counted(node_factory):
    node = make(node_factory, "mqtt.queue.messages=20000", "mqtt.queue.memory=16KiB")
    away(node, "slow")
    client(node, "fast").publish("q/a", numbered(0, MANY))
    left, dropped = node.sql("SELECT queued, dropped FROM sys.mqtt_clients WHERE client = 'slow'")[0]
    assert left <= 20000 and left + dropped == MANY and left > 10000
    node.kill9()
    node.start()
    assert queued(node, "slow") == left
    got = client(node, "slow").receive(left)
    numbers = [int(one[:10]) for one in got]
    assert numbers == sorted(set(numbers)) and numbers[-1] == MANY - 1


@pytest.mark.parametrize("kept", ["20KiB", "100KiB"])
def test_what_was_given_up_before_a_kill_does_not_wait_afterwards(node_factory, kept):
    node = make(node_factory, f"mqtt.queue.bytes={kept}", "mqtt.queue.memory=16KiB")
    away(node, "slow")
    client(node, "fast").publish("q/a", numbered(0, 1000, 700))
    before = queued(node, "slow")
    node.kill9()
    node.start()
    assert queued(node, "slow") == before
    client(node, "fast").publish("q/a", numbered(1000, 1000, 700))
    left, dropped = node.sql("SELECT queued, dropped FROM sys.mqtt_clients WHERE client = 'slow'")[0]
    assert left + dropped == before + 1000
    assert client(node, "slow").receive(left) == numbered(2000 - left, left, 700)


def test_of_a_full_queue_each_nth_message_stays_over_the_whole_time(node_factory):
    node = make(node_factory, "mqtt.queue.messages=20000", "mqtt.queue.full=keep-every-nth", "mqtt.queue.every=4", "mqtt.queue.bytes=2MiB",
                "mqtt.queue.memory=64KiB")
    away(node, "slow")
    client(node, "fast").publish("q/a", numbered(0, MANY * 2))
    counts = [0]

    def settled():  # files are thinned in the background: below the bound, and no longer changing
        counts.append(queued(node, "slow"))
        time.sleep(0.3)
        return counts[-1] < 40000 and counts[-1] == queued(node, "slow")

    wait_for(settled, 60, "files are thinned out")
    left, dropped = node.sql("SELECT queued, dropped FROM sys.mqtt_clients WHERE client = 'slow'")[0]
    assert left + dropped == MANY * 2
    numbers = [int(one[:10]) for one in client(node, "slow").receive(left)]
    assert numbers == sorted(set(numbers)) and numbers[0] == 0 and numbers[-1] == MANY * 2 - 1
    for part in range(10):  # the whole time is there
        assert len([n for n in numbers if part <= n * 10 // (MANY * 2) < part + 1]) > 300, part


def test_a_damaged_file_loses_its_own_messages_only(node_factory):
    node = make(node_factory, "mqtt.queue.bytes=4MiB")
    away(node, "slow")
    client(node, "fast").publish("q/a", numbered(0, 30000))
    files = sorted(queue_files(node))
    assert len(files) > 3
    with open(files[1], "r+b") as file:
        file.seek(os.path.getsize(files[1]) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))
    numbers = [int(one[:10]) for one in client(node, "slow").receive(20000)]
    assert numbers == sorted(set(numbers))
    assert "messages for slow are lost" in node.log()


def test_messages_that_are_too_old_are_not_delivered(node_factory):
    node = make(node_factory, "mqtt.queue.age=1s")
    away(node, "slow")
    client(node, "fast").publish("q/a", numbered(0, 20000))
    time.sleep(2.5)
    client(node, "fast").publish("q/a", numbered(20000, 10))
    assert client(node, "slow").receive(10) == numbered(20000, 10)
    assert node.sql("SELECT dropped FROM sys.mqtt_clients WHERE client = 'slow'") == [[20000]]


def test_a_stretch_of_messages_that_have_expired_does_not_hold_up_those_behind_it(node_factory):
    """Also when it is longer than what of a queue is in memory, and nothing else happens."""
    node = make(node_factory, "mqtt.queue.memory=16KiB")
    away(node, "slow")
    one = wire.Wire((HOST, node.mqtt_port))
    one.send("CONNECT", id="fast", user="admin", password=node.PASSWORD)
    for i in range(3000):
        more = [("message_expiry_interval", 1)] if i < 2990 else []
        one.send("PUBLISH", *more, topic="q/a", qos=1, id=i % 1000 + 1, payload=b"%d" % i)
        if i % 500 == 499:
            for _ in range(500):
                assert one.receive()[0] in ("PUBACK", "CONNACK")
    one.close()
    time.sleep(1.5)
    assert client(node, "slow").receive(10) == [b"%d" % i for i in range(2990, 3000)]
    assert node.sql("SELECT dropped FROM sys.mqtt_clients WHERE client = 'slow'") == [[2990]]


def test_an_identifier_that_was_sent_before_a_kill_is_released_when_its_message_expires(node_factory):
    """Else its receiver would take the next message with it for the same one."""
    node = make(node_factory)
    slow, fast = wire.Wire((HOST, node.mqtt_port)), wire.Wire((HOST, node.mqtt_port))
    login = {"user": "admin", "password": node.PASSWORD}
    slow.send("CONNECT", id="slow", session_expiry_interval=1000, **login)
    slow.send("SUBSCRIBE", id=1, filter="q/#@2")
    fast.send("CONNECT", id="fast", **login)
    assert [slow.receive()[0], slow.receive()[0], fast.receive()[0]] == ["CONNACK", "SUBACK", "CONNACK"]
    fast.send("PUBLISH", topic="q/a", qos=2, id=1, payload="x", message_expiry_interval=1)
    name, fields = slow.receive()
    assert name == "PUBLISH"
    node.kill9()
    time.sleep(1.5)
    node.start()
    slow = wire.Wire((HOST, node.mqtt_port))
    slow.send("CONNECT", id="slow", clean=0, session_expiry_interval=1000, **login)
    assert slow.receive()[0] == "CONNACK"
    name, again = slow.receive()
    assert name == "PUBREL" and wire.get(again, "id") == wire.get(fields, "id"), (name, again)
    slow.send("PUBCOMP", id=wire.get(fields, "id"), reason=0x92)
    wait_for(lambda: queued(node, "slow") == 0, 20, "released")


def test_files_of_all_sessions_together_are_bounded(node_factory):
    node = make(node_factory, "mqtt.queue.disk=2MiB", "mqtt.queue.memory=16KiB", "mqtt.queue.bytes=4MiB")
    for name in ("one", "two", "three"):
        away(node, name)
    client(node, "fast").publish("q/a", numbered(0, MANY))
    for name in ("one", "two", "three"):
        left, dropped = node.sql(f"SELECT queued, dropped FROM sys.mqtt_clients WHERE client = '{name}'")[0]
        assert left + dropped == MANY and dropped > 1000 and left > 100, (name, left, dropped)
        numbers = [int(one[:10]) for one in client(node, name).receive(left)]
        assert numbers == sorted(set(numbers)) and numbers[-1] == MANY - 1


def test_who_came_back_before_the_kill_has_his_queue(node_factory):
    """Wherever his reading stood when he connected again: at the edge of what a start reads of a file at once, too."""
    names, count = [f"slow{i}" for i in range(24)], 60
    node = make(node_factory, "mqtt.queue.memory=16KiB")
    for name in names:
        away(node, name)
    client(node, "fast").publish("q/a", numbered(0, count, 10_000))
    node.sql("CHECKPOINT")
    for acked, name in enumerate(names):
        slow = client(node, name)
        slow.receive(acked)
        slow.close()
        wait_for(lambda name=name, left=count - acked: queued(node, name) == left, 20, "acknowledged")
        client(node, name).close()
    client(node, "fast").publish("q/a", numbered(count, 1, 10_000))  # when this is acknowledged all before it is on the disk
    node.kill9()
    node.start()
    assert [queued(node, name) for name in names] == [count + 1 - acked for acked in range(len(names))]
    for acked, name in enumerate(names):
        assert client(node, name).receive(count + 1 - acked) == numbered(acked, count + 1 - acked, 10_000)


def save(node):
    """Has the broker's state written anew."""
    path = os.path.join(node.data, "mqtt", "state")
    before = os.stat(path).st_mtime_ns if os.path.exists(path) else 0
    node.sql("CHECKPOINT")
    wait_for(lambda: os.path.exists(path) and os.stat(path).st_mtime_ns != before, 20, "its state is not written")


def test_a_message_of_a_queue_stays_itself_whatever_lay_in_files_when_the_node_was_killed(node_factory):
    """Its number in the file of the state once was that of another, which came out of a queue's file."""
    names, count = ["one", "slow", "two"], 600
    node = make(node_factory, "mqtt.queue.memory=16KiB")
    for name in names:
        away(node, name)
    client(node, "fast").publish("q/a", numbered(0, count))
    for name in ("one", "two"):
        assert client(node, name).receive(count) == numbered(0, count)
        wait_for(lambda name=name: queued(node, name) == 0, 20, "acknowledged")
    save(node)
    node.kill9()
    node.start()
    client(node, "fast").publish("q/a", numbered(count, 100))
    assert client(node, "slow").receive(200) == numbered(0, 200)
    wait_for(lambda: queued(node, "slow") == count - 100, 20, "acknowledged")
    save(node)
    node.kill9()
    node.start()
    for name, first in (("one", count), ("slow", 200), ("two", count)):
        assert client(node, name).receive(count + 100 - first) == numbered(first, count + 100 - first), name


class SlowReader:
    """A session that reads now and then, and what it must get: everything, in order; without a kill again only what it may not have
    acknowledged."""

    def __init__(self, node, name):
        self.node, self.name, self.next, self.sure = node, name, 0, 0
        away(node, name)

    def read(self, count, waits, published):
        one = client(self.node, self.name)
        if count:
            numbers = [int(p[:10]) for p in one.receive(count)]
            assert self.sure <= numbers[0] <= self.next, (self.name, self.sure, numbers[0], self.next)
            assert numbers == list(range(numbers[0], numbers[0] + count)), (self.name, numbers[0], self.next)
            self.next = max(self.next, numbers[-1] + 1)
            if waits:
                wait_for(lambda: queued(self.node, self.name) == published - numbers[-1] - 1, 30, f"{self.name} acknowledged {numbers[-1]}")
                self.sure = self.next = numbers[-1] + 1
        one.close()


def kill(node):
    node.kill9()
    node.start()


DISTURBANCES = {"snapshot": lambda node: node.sql("CHECKPOINT"), "kill": kill, "restart": lambda node: node.restart()}


def seeded():
    seed = int(os.environ.get("MILLRACE_TEST_SEED", "1"))
    print("seed", seed)
    return random.Random(seed)


def test_whatever_happens_between_each_reader_gets_the_rest_in_order(node_factory):
    rng = seeded()
    node = make(node_factory, "mqtt.queue.memory=16KiB", "mqtt.queue.bytes=256MiB")
    readers, published, end = [SlowReader(node, f"r{i}") for i in range(5)], 0, time.monotonic() + SECONDS
    size = rng.choice([60, 700, 6000])
    while time.monotonic() < end:
        what = rng.choice(["publish", "publish", "read", "read", "read", "read", "look", *DISTURBANCES])
        if what not in ("read", "look"):
            print(what, published)
        if what == "publish" and published < 40_000_000 // size:
            count = rng.randrange(1, 2_000_000 // size)
            client(node, "fast").publish("q/a", numbered(published, count, size))
            published += count
        elif what in ("read", "look"):
            reader = rng.choice(readers)
            most = published - reader.next
            edge = 128 * 1024 // (size + 60) * rng.randrange(1, 4) + rng.randrange(-3, 4)
            count = 0 if what == "look" or not most else rng.choice([rng.randrange(1, most + 1), min(most, max(edge, 1))])
            waits = rng.random() < 0.8
            print(what, reader.name, "from", reader.next, "count", count, "waits" if waits else "")
            reader.read(count, waits, published)
        elif what in DISTURBANCES:
            DISTURBANCES[what](node)
        if what == "kill":
            for reader in readers:
                reader.sure = 0  # nobody is told that an acknowledgement of his is on the disk: what it was for may come again
    time.sleep(1)  # acknowledgements may be on their way
    for reader in readers:
        left = queued(node, reader.name)
        assert published - reader.next <= left <= published - reader.sure
        reader.read(left, True, published)


def access(node):
    return (HOST, node.mqtt_port), ("admin", node.PASSWORD)


def finish(node, publishers, readers):
    """Nothing happens any more: all get their rest, and it is complete."""
    limit, goes_on = time.monotonic() + 20, True
    while goes_on and time.monotonic() < limit:
        came = 0
        for session in publishers + readers:
            try:
                if not session.wire:
                    session.connect()
                came += session.work(1000)
            except Cut:
                came += 1
        if came:
            limit = time.monotonic() + 20
        else:
            goes_on = any(p.open for p in publishers) or not all(r.is_done() and queued(node, r.name) == 0 for r in readers)
            time.sleep(0.01 * goes_on)
    for reader in readers:
        reader.check_end()
    assert not goes_on, ([p.open for p in publishers], [(r.name, r.received, queued(node, r.name)) for r in readers])


class Play:
    """Publishers and readers with QoS 1 and 2 in small steps, in an order that chance decides, and what happens to them."""

    def __init__(self, node, rng):
        self.node, self.rng, self.size = node, rng, rng.choice([20, 700, 6000])
        self.publishers, self.readers = [], []
        for i, version in enumerate(["5", "3.1.1", "5"]):
            self.publishers.append(Publisher(i, *access(node), f"p{i}", rng, version))
        for i, (qos, version) in enumerate([(2, "5"), (2, "3.1.1"), (1, "5"), (2, "5"), (1, "3.1.1")]):
            most = rng.choice([1, 3, 20, 65535]) if version == "5" else 65535
            self.readers.append(Reader(self.publishers, qos, *access(node), f"r{i}", rng, version, most))
        for reader in self.readers:
            reader.connect()
            while not reader.known:
                reader.work(1, 20)

    def connect(self, session):
        session.connect(self.rng.choice([None, self.rng.randrange(1, 40), self.rng.randrange(1, 600)]))

    def step(self, session):
        """Each is short, so that the others' steps come between."""
        what = self.rng.random()
        if what < 0.03:
            session.cut(self.rng.choice(CUTS))
        elif what < 0.033 or (what < 0.05 and session in self.publishers[1:]) or (what < 0.04 and session is self.readers[3]):
            session.begin_anew()
        elif not session.wire or what < 0.06:
            self.connect(session)
        elif session in self.publishers and what < 0.7:
            for _ in range(self.rng.randrange(1, 40)):
                if not session.publish(self.rng.choice([1, 2, 2, 2]), self.size):
                    break
        else:
            session.work(self.rng.randrange(1, 100))

    def disturb(self):
        what = self.rng.choice(["kill", *DISTURBANCES])
        print(what, [len(publisher.fates) for publisher in self.publishers])
        time.sleep(self.rng.choice([0, 0.001, 0.01, 0.1]))
        for session in self.publishers + self.readers:
            if self.rng.random() < 0.3:
                session.cut(self.rng.choice(CUTS))
        DISTURBANCES[what](self.node)
        if what != "snapshot":
            for reader in self.readers:
                reader.new_life()

    def go_on(self, seconds):
        end, sessions = time.monotonic() + seconds, self.publishers + self.readers
        away_for = dict.fromkeys(sessions, 0)
        while time.monotonic() < end:
            session = self.rng.choice(sessions)
            if not session.wire and away_for[session]:
                away_for[session] -= 1
                continue
            try:
                self.step(session)
            except Cut:
                pass
            if not session.wire:
                away_for[session] = self.rng.choice([0, 0, 5, 50])
            if self.rng.random() < 0.006:
                self.disturb()


def test_whatever_is_cut_between_each_reader_gets_each_message_of_qos_2_once(node_factory):
    rng = seeded()
    play = Play(make(node_factory, "mqtt.queue.memory=16KiB", "mqtt.queue.bytes=256MiB"), rng)
    play.go_on(SECONDS / 2)
    finish(play.node, play.publishers, play.readers)
    print("queue files", len(queue_files(play.node)), "published", [len(p.fates) for p in play.publishers], "given up", [p.fates.count(DROPPED) for p in play.publishers])


class Flood:
    """Keeps the log at work: large messages for a session, "ballast", that is away."""

    def __init__(self, node):
        self.goes_on = True
        self.threads = [threading.Thread(target=self.run, args=(node, i), daemon=True) for i in range(3)]
        for thread in self.threads:
            thread.start()

    def run(self, node, number):
        try:
            one = client(node, f"flood{number}")
            while self.goes_on:
                one.publish("b/a", [bytes(50_000)] * 20, window=20)
        except OSError:
            pass

    def end(self):
        self.goes_on = False
        for thread in self.threads:
            thread.join()


def test_a_subscription_that_was_acknowledged_outlives_a_kill(node_factory):
    node = make(node_factory, "mqtt.queue.bytes=64MiB")
    away(node, "ballast", "b/#")
    for turn in range(5):
        flood = Flood(node)
        time.sleep(0.2)
        one = client(node, f"r{turn}")
        one.subscribe("q/#")
        node.kill9()
        flood.end()
        node.start()
        assert client(node, f"r{turn}").present
    client(node, "fast").publish("q/a", numbered(0, 1))
    assert [queued(node, f"r{turn}") for turn in range(5)] == [1] * 5


def pair(node_factory):
    """A node, a publisher and a reader of QoS 2 who takes all that he publishes."""
    node, rng = make(node_factory, "mqtt.queue.bytes=64MiB"), random.Random(1)
    away(node, "ballast", "b/#")
    publisher = Publisher(0, *access(node), "publisher", rng)
    reader = Reader([publisher], 2, *access(node), "reader", rng)
    reader.connect()
    reader.work(1, 20)
    return node, publisher, reader


def kill_in_flood(node, flood, publisher, reader):
    node.kill9()
    flood.end()
    node.start()
    reader.new_life()
    finish(node, [publisher], [reader])


def test_a_session_that_was_left_for_a_new_one_does_not_come_back_with_a_kill(node_factory):
    """Else what its client publishes anew has an identifier that is known: it would be acknowledged, and go to nobody."""
    node, publisher, reader = pair(node_factory)
    for _ in range(3):
        publisher.connect()
        publisher.publish(2, 20)
        assert publisher.packet(20)[0] == "PUBREC"
        flood = Flood(node)
        time.sleep(0.2)
        publisher.begin_anew()
        publisher.connect()
        publisher.publish(2, 20)
        kill_in_flood(node, flood, publisher, reader)
        publisher.begin_anew()


def test_an_identifier_that_is_told_to_be_free_is_so_after_a_kill(node_factory):
    """Also when PUBREL was sent twice, and found nothing the second time: else the next message with it would go to nobody."""
    node, publisher, reader = pair(node_factory)
    for _ in range(3):
        publisher.connect()
        publisher.publish(2, 20)
        flood = Flood(node)
        time.sleep(0.2)
        publisher.work(1, 20)  # PUBREC
        publisher.connect()
        publisher.work(1, 20)  # PUBCOMP
        publisher.publish(2, 20)
        kill_in_flood(node, flood, publisher, reader)


def test_what_was_acknowledged_before_a_stop_does_not_come_again(node_factory):
    """Also while the log is slow to take the broker's changes: more of them are on their way than it has taken."""
    node = make(node_factory, "mqtt.queue.bytes=256MiB")
    away(node, "slow")
    away(node, "ballast", "b/#")
    for _ in range(4):
        client(node, "fast").publish("q/a", numbered(0, 20000))
        client(node, "fast").publish("b/a", [bytes(50_000)] * 500)
        node.sql("CHECKPOINT")
        slow = client(node, "slow")
        slow.receive(20000)
        slow.close()
        wait_for(lambda: queued(node, "slow") == 0, 20, "acknowledged")
        node.restart()
        assert queued(node, "slow") == 0
