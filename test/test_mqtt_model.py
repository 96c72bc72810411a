"""The broker against a simple second implementation, on random traces over real sockets.

The model below keeps sessions, subscriptions, retained messages and queues in lists and dictionaries, matches topics by splitting
them, and says which messages each client must get. A trace is a row of steps (connect, disconnect, subscribe, unsubscribe,
publish, vanish) by several clients; after each step everything that is due is read and compared, so the order counts, too. 20 s of
traces are run, two at a time with the same names and topics in two namespaces, each against a model of its own, so that nothing may pass
from one to the other; MILLRACE_TEST_SEED (printed) runs the same ones again.
"""
import json
import os
import random
import time

import pytest

import mqtt_wire as wire
from conftest import HOST, free_port

SECONDS = float(os.environ.get("MILLRACE_MODEL_SECONDS", "20"))
STEPS, CLIENTS = 60, 5
NAMESPACES = ["default", "line2"]  # a user of each
LEVELS = ["a", "b", "", "c", "$x"]
GROUPS = ["g", "h"]


# ---- the model ----

def fits(filter_, topic):
    if topic.startswith("$") and filter_[:1] in ("+", "#"):
        return False
    wanted, levels = filter_.split("/"), topic.split("/")
    for i, part in enumerate(wanted):
        if part == "#":
            return True
        if i >= len(levels) or part not in ("+", levels[i]):
            return False
    return len(wanted) == len(levels)


class Session:
    def __init__(self, name):
        self.name, self.online, self.kept, self.version = name, False, False, "5"
        self.subscriptions = {}  # text as subscribed → (group, filter, qos, no local, as published)
        self.queue = []  # due, in order: (topic, payload, qos, retain)
        self.unsure = []  # messages of shared subscriptions that this or another one gets


class Model:
    """What everybody must get."""

    def __init__(self):
        self.sessions, self.retained = {}, {}

    def connect(self, name, clean, kept, version):
        """Gives whether a session was present."""
        old = self.sessions.get(name)
        if old and (clean or not old.kept):
            old = None
        session = old or Session(name)
        self.sessions[name] = session
        session.online, session.kept, session.version = True, kept, version
        return old is not None

    def leave(self, name):
        session = self.sessions[name]
        session.online = False
        if not session.kept:
            del self.sessions[name]

    def subscribe(self, name, text, qos, no_local, as_published, handling):
        session = self.sessions[name]
        is_new = text not in session.subscriptions
        group, filter_ = ("", text) if not text.startswith("$share/") else text[7:].split("/", 1)
        session.subscriptions[text] = (group, filter_, qos, no_local, as_published)
        if not group and (handling == 0 or (handling == 1 and is_new)):
            found = [(t, p, min(q, qos), 1) for t, (p, q) in self.retained.items() if fits(filter_, t)]
            return found
        return []

    def publish(self, name, topic, payload, qos, retain):
        """[(session, message)] that are certain, and [(candidates, {name: message})] of shared ones."""
        certain, shared = [], {}
        for session in self.sessions.values():
            best = None
            for group, filter_, granted, no_local, as_published in session.subscriptions.values():
                if not fits(filter_, topic):
                    continue
                if group:
                    shared.setdefault((group, filter_), {})[session.name] = (topic, payload, min(qos, granted), int(as_published and retain))
                elif not (no_local and session.name == name):
                    flag = int(as_published and retain)
                    best = (topic, payload, max(min(qos, granted), best[2] if best else 0), max(flag, best[3] if best else 0))
            if best:
                certain.append((session.name, best))
        if retain and payload:
            self.retained[topic] = (payload, qos)
        elif retain:
            self.retained.pop(topic, None)
        return certain, list(shared.values())


# ---- the broker's side ----

class Client:
    """One raw client; acknowledges all it gets, and keeps QoS 2 identifiers while its session lasts."""

    def __init__(self, node, name, login):
        self.node, self.name, self.login, self.wire, self.last_id, self.received = node, name, login, None, 0, set()

    def connect(self, clean, kept, version):
        self.wire = wire.Wire((HOST, self.node.mqtt_port), version)
        extra = [("session_expiry_interval", 1000)] if version == "5" and kept else []
        self.wire.send("CONNECT", ("id", self.name), ("clean", int(clean if version == "5" else not kept)), ("user", self.login[0]),
                       ("password", self.login[1]), *extra)
        name, fields = self.wire.receive()
        assert name == "CONNACK" and wire.get(fields, "code") == 0, (name, fields)
        present = bool(wire.get(fields, "present"))
        if not present:
            self.received = set()
        return present

    def ask(self, name, answer, **fields):
        """Sends a request and takes what comes before its answer, which is given with it."""
        self.last_id = self.last_id % 65535 + 1
        self.wire.send(name, ("id", self.last_id), *[(k, v) for k, v in fields.items()])
        got = []
        while True:
            one = self.take(got)
            if one[0] == answer and wire.get(one[1], "id") == self.last_id:
                return got, one[1]
            assert one[0] == "PUBLISH", (name, one)

    def take(self, got):
        """The next packet but PUBREL; messages are acknowledged and noted."""
        while True:
            packet = self.wire.receive()
            assert packet is not None, "nothing came"
            name, fields = packet
            packet_id = wire.get(fields, "id")
            if name == "PUBREL":
                self.received.discard(packet_id)
                self.wire.send("PUBCOMP", id=packet_id)
                continue
            if name == "PUBLISH":
                message = (wire.get(fields, "topic"), wire.get(fields, "payload").decode(), wire.get(fields, "qos"), wire.get(fields, "retain"))
                if message[2] == 1:
                    self.wire.send("PUBACK", id=packet_id)
                if message[2] != 2 or packet_id not in self.received:
                    got.append(message)
                if message[2] == 2:
                    self.received.add(packet_id)
                    self.wire.send("PUBREC", id=packet_id)
            return packet

    def settle(self):
        """All that is due: PINGRESP comes behind it. Twice, so that releases are through."""
        got = []
        for _ in range(2):
            self.wire.send("PINGREQ")
            while self.take(got)[0] != "PINGRESP":
                pass
        return got


class Trace:
    """A random row of steps on both sides, in one namespace."""

    def __init__(self, node, seed, place):
        self.random, self.model, self.node, self.prefix, self.steps = random.Random(seed + place), Model(), node, f"m{seed}", []
        self.clients = [Client(node, f"{self.prefix}c{n}", node.mqtt_logins[place]) for n in range(CLIENTS)]
        self.number = 0

    def topic(self):
        return self.prefix + "/" + "/".join(self.random.choice(LEVELS[:4]) for _ in range(self.random.randint(1, 3)))

    def filter(self):
        levels = [self.random.choice(LEVELS[:4] + ["+", "+"]) for _ in range(self.random.randint(1, 3))]
        if self.random.random() < 0.3:
            levels[-1] = "#"
        text = self.prefix + "/" + "/".join(levels)
        return f"$share/{self.random.choice(GROUPS)}/{text}" if self.random.random() < 0.15 else text

    def online(self):
        return [c for c in self.clients if c.wire]

    def step(self):
        self.random.choice([self.connect, self.leave, self.subscribe, self.subscribe, self.unsubscribe, *[self.publish] * 6])()

    def close(self):
        for client in self.online():
            client.wire.close()

    def note(self, *what):
        self.steps.append(what)

    def connect(self):
        client = self.random.choice(self.clients)
        version = self.random.choice(["5", "5", "3.1.1", "3.1"])
        kept = self.random.random() < 0.6
        clean = self.random.random() < 0.3 if version == "5" else not kept
        self.note("connect", client.name, version, "kept" if kept else "", "clean" if clean else "")
        if client.wire:  # takes over
            old, client.wire = client.wire, None
            self.model.leave(client.name)
            present = self.connect_both(client, clean, kept, version)
            old.close()
        else:
            present = self.connect_both(client, clean, kept, version)
        assert present, "session present differs"
        session = self.model.sessions[client.name]
        due, session.queue = session.queue, []
        self.compare(client, due, session)

    def connect_both(self, client, clean, kept, version):
        there = client.connect(clean, kept, version)
        return there == (self.model.connect(client.name, clean, kept, version) if version != "3.1" else
                         self.model.connect(client.name, clean, kept, version) and False)

    def leave(self):
        if not self.online():
            return
        client, politely = self.random.choice(self.online()), self.random.random() < 0.5
        self.note("leave", client.name, politely)
        if politely:
            client.wire.send("DISCONNECT")
            while (last := client.wire.receive()) and last[0] == "PUBREL":
                pass  # on its way already; comes again with the session
            assert last[0] == "closed", last
        client.wire.close()
        client.wire = None
        self.model.leave(client.name)
        time.sleep(0.01 if politely else 0.05)  # until the broker has seen it

    def subscribe(self):
        if not self.online():
            return
        client = self.random.choice(self.online())
        session, text, qos = self.model.sessions[client.name], self.filter(), self.random.randint(0, 2)
        five = client.wire.version == "5"
        no_local = five and not text.startswith("$share") and self.random.random() < 0.3
        as_published, handling = five and self.random.random() < 0.3, self.random.randint(0, 2) if five else 0
        self.note("subscribe", client.name, text, qos, no_local, as_published, handling)
        more = f"{qos}{'n' if no_local else ''}{'r' if as_published else ''}h{handling}"
        got, answer = client.ask("SUBSCRIBE", "SUBACK", filter=f"{text}@{more}")
        assert wire.get(answer, "codes") == [qos] and not got, (answer, got)
        due = self.model.subscribe(client.name, text, qos, no_local, as_published, handling)
        time.sleep(0.005)  # retained messages come in slices behind the SUBACK
        got = client.settle()
        limit = time.monotonic() + 5
        while len(got) < len(due) and time.monotonic() < limit:
            got += client.settle()
        assert sorted(got) == sorted(due), ("retained", session.name, got, due)

    def unsubscribe(self):
        if not self.online():
            return
        client = self.random.choice(self.online())
        session = self.model.sessions[client.name]
        text = self.random.choice(list(session.subscriptions) or [self.filter()])
        self.note("unsubscribe", client.name, text)
        got, answer = client.ask("UNSUBSCRIBE", "UNSUBACK", filter=text)
        assert not got
        if client.wire.version == "5":
            assert wire.get(answer, "codes") == [0 if text in session.subscriptions else 0x11], answer
        session.subscriptions.pop(text, None)

    def publish(self):
        if not self.online():
            return
        client, topic, qos = self.random.choice(self.online()), self.topic(), self.random.randint(0, 2)
        retain, self.number = self.random.random() < 0.25, self.number + 1
        payload = "" if retain and self.random.random() < 0.3 else str(self.number)
        self.note("publish", client.name, topic, qos, retain, payload)
        early = []
        fields = {"topic": topic, "qos": qos, "retain": int(retain), "payload": payload}
        if qos == 0:
            client.wire.send("PUBLISH", *fields.items())
            early = client.settle()
        else:
            early, _ = client.ask("PUBLISH", "PUBACK" if qos == 1 else "PUBREC", **fields)
            if qos == 2:
                client.wire.send("PUBREL", id=client.last_id)
                while True:
                    name, fields = client.take(early)
                    if name == "PUBCOMP":
                        break
        certain, shared = self.model.publish(client.name, topic, payload, qos, retain)
        self.deliver(client, early, certain, shared)

    def deliver(self, publisher, early, certain, shared):
        """Everybody who is there is read; of each shared subscription exactly one got its copy."""
        due = {}
        for name, message in certain:
            due.setdefault(name, []).append(message)
        got = {c.name: (early if c is publisher else []) + c.settle() for c in self.online()}
        for name, messages in due.items():
            session = self.model.sessions[name]
            if not session.online:
                session.queue += [m for m in messages if m[2] > 0]
                continue
            for message in messages:
                assert message in got[name], (name, "misses", message, got)
                got[name].remove(message)
        for members in shared:
            takers = [n for n, m in members.items() if self.model.sessions[n].online and m in got[n]]
            there = [n for n in members if self.model.sessions[n].online]
            if there:
                assert takers, ("nobody of", members, got)
                got[takers[0]].remove(members[takers[0]])
                continue
            for name, message in members.items():  # one of those who are away has it
                if message[2] > 0:
                    self.model.sessions[name].unsure.append(message)
        assert not any(got.values()), ("too much", got)

    def compare(self, client, due, session):
        """What waited comes in its order; between it what a shared subscription may have given to this one."""
        unsure, session.unsure = session.unsure, []
        got, left = client.settle(), list(due)
        limit = time.monotonic() + 5
        while len(got) < len(due) and time.monotonic() < limit:
            got += client.settle()
        for message in got:
            if left and message == left[0]:
                left.pop(0)
            else:
                assert message in unsure, ("after connecting", client.name, message, got, due)
                unsure.remove(message)
        assert not left, ("after connecting", client.name, got, due)


@pytest.fixture(name="broker")
def broker_fixture(node_factory):
    port = free_port()
    node = node_factory(settings=[f"listen.mqtt={HOST}:{port}"])
    node.mqtt_port, node.mqtt_logins = port, []
    for ns in NAMESPACES:
        user = {"apiVersion": "millrace.io/v1", "kind": "User", "metadata": {"name": f"of-{ns}"},
                "spec": {"roles": ["engineer"], "password": "a-long-password", "namespace": ns}}
        assert node.request("POST", "/apis/millrace.io/v1/users", json.dumps(user))[0] == 201
        node.mqtt_logins.append((f"of-{ns}", "a-long-password"))
    return node


def test_random_traces_go_as_the_model_says(broker):
    first = int(os.environ.get("MILLRACE_TEST_SEED", random.randrange(1, 2**31)))
    print(f"seed {first}")
    seed, end = first, time.monotonic() + SECONDS
    while time.monotonic() < end:
        traces = [Trace(broker, seed, place) for place in range(len(NAMESPACES))]
        try:
            for _ in range(STEPS):
                for trace in traces:
                    trace.step()
        except Exception as error:
            steps = "\n".join(str(s) for s in trace.steps)
            raise AssertionError(f"MILLRACE_TEST_SEED={seed}: {error!r}\n{steps}") from error
        finally:
            for trace in traces:
                trace.close()
        seed += len(NAMESPACES)
    print(f"{seed - first} traces")
