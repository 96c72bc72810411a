#!/usr/bin/python3
"""kill -9 of broker, clients and both under QoS 1 and 2 load: `./dev soak mqtt`.

Publishers and subscribers are raw clients (test/mqtt_wire.py) that keep what a client must keep over a crash: open identifiers of
both roles, and what is released. Their state lives in this process as a client's would live on its disk, so "killing a client" drops
its connection in the middle of whatever it does and goes on from that state. After the kills everything is drained, then:
  - every message that was acknowledged (PUBACK, PUBREC) has reached every subscriber with a kept session;
  - QoS 2 exactly once; QoS 1 at least once;
  - each publisher's messages come in their order (first deliveries);
  - sessions were present at each reconnect, subscriptions were not repeated, the last retained message of each publisher is there.
MILLRACE_KILLS sets the count (200), MILLRACE_TEST_SEED the seed, MILLRACE_TEST_BUILD the build; `--kills N --seed S` do the same.
"""
import argparse
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "test"))
import mqtt_wire as wire  # noqa: E402

BUILD = os.environ.get("MILLRACE_TEST_BUILD", os.path.join(ROOT, "build", "release"))
HOST = "127.0.0.1"
WINDOW, PAUSE_S = 20, 0.002
START_LIMIT_S, DRAIN_LIMIT_S = 60, 120


class Failed(Exception):
    """The broker broke a promise."""


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Broker:
    """The node; kill9() and start() again on the same ports and folder."""

    def __init__(self, folder):
        self.folder, self.http, self.mqtt = folder, free_port(), free_port()
        self.process, self.token = None, ""

    def ready(self):
        connection = http.client.HTTPConnection(HOST, self.http, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def start(self):
        data, log_path = os.path.join(self.folder, "data"), os.path.join(self.folder, "node.log")
        command = [os.path.join(BUILD, "millrace"), "run", "--data", data, "--log-level", "warning"]
        for setting in (f"listen.http={HOST}:{self.http}", f"listen.mqtt={HOST}:{self.mqtt}", "listen.https=off", "listen.postgres=off"):
            command += ["--set", setting]
        with open(log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        limit = time.monotonic() + START_LIMIT_S
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > limit:
                with open(log_path, encoding="utf-8", errors="replace") as log:
                    raise Failed("the node did not start: " + log.read()[-2000:])
            time.sleep(0.01)
        with open(os.path.join(data, "admin.token"), encoding="utf-8") as file:
            self.token = file.read().strip()

    def kill9(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Client(threading.Thread):
    """One client on its own thread; connects again whenever the connection is gone."""

    def __init__(self, broker, name, version):
        super().__init__(daemon=True)
        self.broker, self.name_, self.version, self.wire = broker, name, version, None
        self.connects, self.stop, self.failure, self.connected_once = 0, False, None, False

    def drop(self):
        """As kill -9 of the client would: no DISCONNECT."""
        one = self.wire
        if one:
            try:
                one.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def connect(self):
        one = wire.Wire((HOST, self.broker.mqtt), self.version, 5)
        extra = [("session_expiry_interval", 0xffffffff)] if self.version == "5" else []
        one.send("CONNECT", ("id", self.name_), ("clean", 0), ("user", "x"), ("password", self.broker.token), *extra)
        name, fields = one.receive(20) or ("closed", [])
        if name == "closed":
            raise OSError("closed")
        if name != "CONNACK" or wire.get(fields, "code"):
            raise Failed(f"{self.name_}: {name} {fields}")
        if self.connected_once and not wire.get(fields, "present"):
            raise Failed(f"{self.name_}: its session is gone")
        self.wire, self.connects = one, self.connects + 1
        self.begun(not self.connected_once)

    def run(self):
        while not self.stop:
            try:
                self.connect()
                while not self.stop:
                    self.work()
            except OSError:
                time.sleep(0.01)
            except (Failed, wire.Bad, UnicodeError, KeyError) as error:
                self.failure = f"{type(error).__name__}: {error}"
                return
            finally:
                if self.wire:
                    self.wire.close()

    def next_packet(self, limit_s):
        got = self.wire.receive(limit_s)
        if got and got[0] == "closed":
            raise OSError("closed")
        if got and got[0] == "DISCONNECT":
            reason = wire.get(got[1], "reason")
            if reason not in (0x8b, 0x8e):  # shutting down; its old connection was still there
                raise Failed(f"{self.name_}: DISCONNECT {reason:#x} {got[1]}")
            raise OSError("closed")
        return got


class Publisher(Client):
    """Numbers its messages; keeps each until it is acknowledged. Every tenth is retained, too."""

    def __init__(self, broker, number, version):
        super().__init__(broker, f"publisher-{number}", version)
        self.number, self.next, self.last_id = number, 0, 0
        self.open = {}  # packet id → [serial, qos, "sent" or "released"], in order
        self.acked, self.retained, self.producing = set(), None, True

    def begun(self, is_first):
        self.connected_once = True
        for packet_id, (serial, qos, state) in list(self.open.items()):
            if state == "released":
                self.wire.send("PUBREL", id=packet_id)
            else:
                self.publish(packet_id, serial, qos, 1)

    def publish(self, packet_id, serial, qos, dup):
        self.wire.send("PUBLISH", topic=f"soak/{self.number}", qos=qos, id=packet_id, dup=dup, payload=f"{self.number}:{serial}")

    def fresh_id(self):
        while True:
            self.last_id = self.last_id % 65535 + 1
            if self.last_id not in self.open:
                return self.last_id

    def work(self):
        if self.producing and len(self.open) < WINDOW:
            packet_id, qos = self.fresh_id(), random.choice((1, 2))
            self.open[packet_id] = [self.next, qos, "sent"]
            self.next += 1
            self.publish(packet_id, self.next - 1, qos, 0)
            if self.next % 10 == 0:
                self.wire.send("PUBLISH", topic=f"kept/{self.number}", retain=1, qos=0, payload=str(self.next))
        got = self.next_packet(PAUSE_S if self.producing and len(self.open) < WINDOW else 0.05)
        if not got:
            return
        name, packet_id = got[0], wire.get(got[1], "id")
        entry = self.open.get(packet_id)
        if wire.get(got[1], "reason", 0) >= 0x80 and name != "PUBCOMP":
            raise Failed(f"{self.name_}: {got}")
        if name == "PUBACK" and entry and entry[1] == 1:
            self.acked.add(entry[0])
            del self.open[packet_id]
        elif name == "PUBREC" and entry and entry[1] == 2:
            self.acked.add(entry[0])
            entry[2] = "released"
            self.wire.send("PUBREL", id=packet_id)
        elif name == "PUBCOMP" and entry and entry[2] == "released":
            del self.open[packet_id]
        elif name in ("PUBACK", "PUBREC", "PUBCOMP"):
            raise Failed(f"{self.name_}: {got} answers nothing; open {entry}")


class Subscriber(Client):
    """Keeps the QoS 2 identifiers that are not released; a message counts when it is taken over the first time."""

    def __init__(self, broker, number, version, qos):
        super().__init__(broker, f"subscriber-{number}", version)
        self.qos, self.received = qos, set()
        self.got, self.twice, self.disorder, self.last = {}, [], [], {}
        self.busy_until, self.seen_at = 0, time.monotonic()

    def begun(self, is_first):
        if is_first:
            self.wire.send("SUBSCRIBE", id=1, filter=f"soak/#@{self.qos}")
            name, fields = self.wire.receive(20) or ("closed", [])
            if name == "closed":
                raise OSError("closed")  # not acknowledged: subscribes again
            if name != "SUBACK" or wire.get(fields, "codes") != [self.qos]:
                raise Failed(f"{self.name_}: {name} {fields}")
            self.connected_once = True

    def take(self, fields):
        publisher, serial = (int(part) for part in wire.get(fields, "payload").split(b":"))
        key, qos = (publisher, serial), wire.get(fields, "qos")
        self.seen_at = time.monotonic()
        if key in self.got:
            if qos == 2 or not wire.get(fields, "dup"):
                self.twice.append((key, qos, wire.get(fields, "dup")))
            return
        self.got[key] = qos
        if serial < self.last.get(publisher, -1):
            self.disorder.append((key, self.last[publisher]))
        self.last[publisher] = max(serial, self.last.get(publisher, -1))

    def work(self):
        got = self.next_packet(0.05)
        if not got:
            return
        name, fields = got
        packet_id = wire.get(fields, "id")
        if name == "PUBLISH" and wire.get(fields, "qos") == 1:
            self.take(fields)
            self.wire.send("PUBACK", id=packet_id)
        elif name == "PUBLISH" and wire.get(fields, "qos") == 2:
            if packet_id not in self.received:
                self.received.add(packet_id)
                self.take(fields)
            self.wire.send("PUBREC", id=packet_id)
        elif name == "PUBREL":
            self.received.discard(packet_id)
            self.wire.send("PUBCOMP", id=packet_id)
        else:
            raise Failed(f"{self.name_}: {got}")


def wait_for(what, limit_s, text, clients):
    limit = time.monotonic() + limit_s
    while not what():
        check_clients(clients)
        if time.monotonic() > limit:
            raise Failed(text())
        time.sleep(0.02)


def check_clients(clients):
    for client in clients:
        if client.failure:
            raise Failed(client.failure)


def check(publishers, subscribers):
    wrong = []
    for subscriber in subscribers:
        wanted = {(p.number, serial) for p in publishers for serial in p.acked}
        missing = sorted(wanted - subscriber.got.keys())
        # A publisher's QoS 1 message that it sent again itself may come twice, with DUP 0 (4.3.2-5).
        twice = [t for t in subscriber.twice if t[1] == 2]
        if missing:
            wrong.append(f"{subscriber.name_}: {len(missing)} missing, such as {missing[:5]}")
        if twice:
            wrong.append(f"{subscriber.name_}: {len(twice)} of QoS 2 twice, such as {twice[:5]}")
        if subscriber.disorder:
            wrong.append(f"{subscriber.name_}: {len(subscriber.disorder)} out of order, such as {subscriber.disorder[:5]}")
    return wrong


def check_retained(broker, publishers):
    one = wire.Wire((HOST, broker.mqtt), "5")
    one.send("CONNECT", ("id", "looks"), ("user", "x"), ("password", broker.token))
    one.receive()
    kept = {}
    one.send("SUBSCRIBE", id=1, filter="kept/#@0")
    while got := one.receive(1):
        if got[0] == "PUBLISH":
            kept[wire.get(got[1], "topic")] = wire.get(got[1], "payload")
    one.close()
    missing = [p.number for p in publishers if p.next >= 100 and f"kept/{p.number}" not in kept]
    return [f"no retained messages of publishers {missing}"] if missing else []


def kill_one(broker, publishers, subscribers):
    """Kills something; the broker is up again afterwards."""
    what = random.choice(("broker", "client", "both"))
    if what in ("client", "both"):
        random.choice([*publishers, *subscribers]).drop()
    if what in ("broker", "both"):
        broker.kill9()
        broker.start()


def run(kills, folder):
    broker = Broker(folder)
    publishers = [Publisher(broker, n, "5" if n % 2 else "3.1.1") for n in range(3)]
    subscribers = [Subscriber(broker, 0, "5", 2), Subscriber(broker, 1, "3.1.1", 2), Subscriber(broker, 2, "5", 1)]
    clients = [*publishers, *subscribers]
    try:
        broker.start()
        for subscriber in subscribers:
            subscriber.start()
        wait_for(lambda: all(s.connected_once for s in subscribers), 20, lambda: "they do not subscribe", clients)
        for publisher in publishers:
            publisher.start()
        for number in range(1, kills + 1):
            time.sleep(random.uniform(0.02, 0.6))
            kill_one(broker, publishers, subscribers)
            check_clients(clients)
            if number % 20 == 0:
                print(f"  {number} kills, {sum(len(p.acked) for p in publishers)} messages acknowledged", flush=True)
        for publisher in publishers:
            publisher.producing = False
        wait_for(lambda: not any(p.open for p in publishers), DRAIN_LIMIT_S, lambda: f"open: {[p.open for p in publishers]}", clients)
        wanted = sum(len(p.acked) for p in publishers)
        limit = time.monotonic() + DRAIN_LIMIT_S
        while any(len(s.got) < wanted for s in subscribers) and time.monotonic() < limit:
            check_clients(clients)
            if time.monotonic() - max(s.seen_at for s in subscribers) > 10:
                break
            time.sleep(0.05)
        time.sleep(0.5)
        wrong = check(publishers, subscribers) + check_retained(broker, publishers)
        print(f"acknowledged {wanted}, delivered {[len(s.got) for s in subscribers]}, "
              f"connects {sum(c.connects for c in clients)}, QoS 1 again {[len(s.twice) for s in subscribers]}", flush=True)
        return wrong
    finally:
        for client in clients:
            client.stop = True
        for client in clients:
            if client.ident:
                client.join(5)
        if broker.process:
            broker.process.kill()
            broker.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=int(os.environ.get("MILLRACE_KILLS", "200")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("MILLRACE_TEST_SEED", random.getrandbits(32))))
    options = parser.parse_args()
    random.seed(options.seed)
    print(f"{options.kills} kills, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            wrong = run(options.kills, folder)
        except Failed as error:
            wrong = [str(error)]
    for line in wrong:
        print("  " + line)
    print("FAILED" if wrong else "passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
