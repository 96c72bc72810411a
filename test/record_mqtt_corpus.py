#!/usr/bin/python3
"""Records the fuzz corpus of the broker's file and notes: test/corpus/mqtt_journal/.

A real node is given sessions, subscriptions, queues in every state, retained messages; then so much is published that it writes its
file. The corpus is that file, and each of its chunks as a note; and the changes that only notes have (end, done, received …), written
by hand. Run it again when the notation (src/mqtt/journal.h) changes: `test/record_mqtt_corpus.py`; what it recorded before stays as
…-format-N.
"""
import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mqtt_wire as wire  # noqa: E402
from conftest import HOST, ROOT, Node, free_port, wait_for  # noqa: E402

CORPUS = os.path.join(ROOT, "test", "corpus", "mqtt_journal")
FILLER, FILLERS = b"f" * 900_000, 24
NOTE, FILE = b"\0", b"\1"
PASSWORD = "a-long-password"


def client(node, port, name, *fields, user="x"):
    one = wire.Wire((HOST, port))
    password = node.token() if user == "x" else PASSWORD
    one.send("CONNECT", ("id", name), ("clean", 0), ("user", user), ("password", password), ("session_expiry_interval", 0xffffffff), *fields)
    assert one.receive()[0] == "CONNACK"
    return one


def fill(node, port):
    """State of every kind; then what makes the node write its file."""
    keeper = client(node, port, "keeper", ("receive_maximum", 4))
    keeper.send("SUBSCRIBE", ("id", 1), ("subscription_identifier", 7), ("filter", "q/#@2r"), ("filter", "q/+@1"), ("filter", "$share/g/s/#@1"))
    keeper.receive()
    writer = client(node, port, "writer")
    for n in range(1, 9):
        writer.send("PUBLISH", topic=f"q/{n % 3}", qos=1 + n % 2, id=n, retain=int(n < 4), payload=f"message {n}",
                    **({"message_expiry_interval": 1000, "user_property": ("k", "v")} if n % 4 == 0 else {}))
        writer.receive()
    got = [keeper.receive()[1] for _ in range(4)]
    keeper.send("PUBREC", id=next(wire.get(f, "id") for f in got if wire.get(f, "qos") == 2))
    keeper.receive()
    keeper.close()
    sink = client(node, port, "sink")
    sink.send("SUBSCRIBE", id=1, filter="fill@1")
    sink.receive()
    for n in range(100, 100 + FILLERS):
        writer.send("PUBLISH", topic="fill", qos=1, id=n, payload=FILLER)
        sink.send("PUBACK", id=wire.get(sink.receive()[1], "id"))
        writer.receive()


def fill_another(node, port):
    """The same client identifier in a second namespace, with a message that waits and one that is retained."""
    bob = {"apiVersion": "millrace.io/v1", "kind": "User", "metadata": {"name": "bob"},
           "spec": {"roles": ["engineer"], "password": PASSWORD, "namespace": "line2"}}
    status, said = node.request("POST", "/apis/millrace.io/v1/users", json.dumps(bob))
    assert status == 201, said
    keeper = client(node, port, "keeper", user="bob")
    keeper.send("SUBSCRIBE", ("id", 1), ("filter", "q/#@1"), ("filter", "$share/g/s/#@1"))
    keeper.receive()
    keeper.close()
    writer = client(node, port, "writer", user="bob")
    writer.send("PUBLISH", topic="q/0", qos=1, id=1, retain=1, payload="of line2")
    writer.receive()


def chunks(data):
    at = 24
    while at + 8 <= len(data):
        size = int.from_bytes(data[at:at + 4], "little")
        yield data[at + 8:at + 8 + size]
        at += 8 + size


def main():
    os.makedirs(CORPUS, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        node = Node(folder, settings=[f"listen.mqtt={HOST}:{port}"])
        node.start()
        try:
            fill_another(node, port)
            fill(node, port)
            state = os.path.join(node.data, "mqtt", "state")
            wait_for(lambda: os.path.exists(state), 20, "the node writes no file")
            time.sleep(0.2)
            with open(state, "rb") as source:
                data = source.read()
        finally:
            node.end(limit_s=20)
    cases = {"file": FILE + data}
    cases.update({f"note{n}": NOTE + chunk for n, chunk in enumerate(chunks(data)) if chunk})
    # 2 END, 4 UNSUBSCRIBE, 6 DONE, 7 RECEIVED, 8 RELEASE of sessions 1 and 2, line2's, and 3 and 4 (journal.h)
    cases["changes"] = NOTE + cases["note0"][1:] + b"\x07\x03\x01" + b"\x06\x03\x02" + b"\x08\x04\x03" + b"\x04\x03\x03q/+" + b"\x02\x01"
    for name, case in cases.items():
        assert len(case) < 100_000, f"{name}: {len(case)} bytes"
        with open(os.path.join(CORPUS, name), "wb") as target:
            target.write(case)
        print(f"{name}: {len(case)} bytes")


if __name__ == "__main__":
    main()
