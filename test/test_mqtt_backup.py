"""A backup made under load takes the broker and the sinks along: what was restored has sessions, queues, QoS 2 state, retained
messages, a bridge's queue and a sink's cursor as they were at the backup's position."""
import json
import os
import subprocess
import threading
import time

import mqtt_wire as wire
from conftest import HOST, free_port, wait_for
from mqtt_bulk import Bulk
from mqtt_client import LIMIT_S, Client
from test_mqtt_bridge import Mosquitto, bridge, state
from test_mqtt_queue import client, make, numbered, queue_files, queued
from test_sinks import caught_up, row, sink, write

MANY = 20000


class Load:
    """Publishes numbered messages with QoS 1 until stopped; `count` are acknowledged."""

    def __init__(self, node, first):
        self.bulk, self.count, self.stopped = client(node, "load", clean=True), first, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.stopped:
                self.bulk.publish("q/a", numbered(self.count, 10))
                self.count += 10
                time.sleep(0.003)  # the queues of test 1 that hold only these are to stay in memory
        except OSError:
            pass  # the node was killed

    def stop(self):
        self.stopped = True
        self.thread.join()


def kept(node, name, filter_):
    one = client(node, name)
    one.subscribe(filter_)
    one.close()


def backup(node, target, *more):
    code, out = node.cli("backup", "--to", target, "--json", *more)
    assert code == 0, out
    return json.loads(out.splitlines()[-1])


def restored(node_factory, node, target):
    """Another node with the same settings but its own ports and data; not started."""
    copy = make_like(node_factory, node)
    code, out = copy.cli("restore", "--from", target, "--data", copy.data)
    assert code == 0, out
    return copy


def make_like(node_factory, node):
    copy = node_factory(start=False)
    copy.mqtt_port = free_port()
    memory = [word for word in node.command if word.startswith("memory=")]
    copy.command += ["--set", f"listen.mqtt={HOST}:{copy.mqtt_port}", "--set", memory[-1]]
    assert copy.data != node.data
    return copy


def secret(node, name, *fields):
    one = wire.Wire((HOST, node.mqtt_port))
    one.send("CONNECT", ("id", name), ("clean", 0), ("user", "admin"), ("password", node.PASSWORD), ("session_expiry_interval", 1000), *fields)
    return one, one.receive()[1]


def test_a_backup_under_load_brings_back_all_that_the_broker_keeps(node_factory, tmp_path):
    target, peer_port = str(tmp_path / "backups"), free_port()
    node = make(node_factory, "memory=256MiB")
    # A long queue; retained messages; QoS 2 that came in and was not released; a bridge whose peer is away; a sink.
    kept(node, "slow", "q/#")
    client(node, "fast").publish("q/a", numbered(0, MANY))
    wait_for(lambda: queue_files(node), LIMIT_S, "no queue file")
    kept(node, "first", "q/#")
    for i in range(40):  # what is written between the two queues, while messages go into both
        kept(node, f"filler{i}", f"f/{i}")
        client(node, "fast").publish(f"f/{i}", numbered(0, 200, size=1000))
    kept(node, "last", "q/#")
    keeper = Client(node, "keeper")
    for i in range(50):
        keeper.publish(f"kept/{i}", f"value {i}", qos=1, retain=True)
    keeper.publish("kept/0", "another", qos=1, retain=True)
    keeper.publish("kept/1", "", qos=1, retain=True)
    kept(node, "once", "two/#")
    sender, _ = secret(node, "sender")
    sender.send("PUBLISH", topic="two/a", qos=2, id=7, payload="exactly once")
    assert sender.receive()[0] == "PUBREC"
    assert bridge(node, peer_port, [{"filter": "out/#", "qos": 1}])[0] == 201
    wait_for(lambda: state(node), LIMIT_S, "no bridge")
    client(node, "fast").publish("out/x", numbered(0, 300))
    kept(node, "rows", "data/#")
    write(node, "press", *(row("d1", i, n=i) for i in range(500)))
    node.sql("CHECKPOINT")  # what the backup itself moves to disk a restored sink may repeat
    sink(node, "out", table="press", **{"from": "beginning"}, batch={"rows": 50, "linger": "10ms"})
    caught_up(node, "out", 500)
    wait_for(lambda: cursor_position(node) > 0, LIMIT_S, "the cursor is not saved")

    load = Load(node, MANY)
    wait_for(lambda: load.count > MANY + 100, LIMIT_S, "load")
    before = load.count
    made = backup(node, target)
    after = load.count + 10
    wait_for(lambda: load.count > after + 200, LIMIT_S, "load")
    load.stop()
    keeper.publish("kept/2", "too late", qos=1, retain=True)
    write(node, "press", *(row("d1", i, n=i) for i in range(500, 600)))
    caught_up(node, "out", 600)
    assert not [name for name in os.listdir(os.path.join(node.data, "mqtt")) if name.endswith("copy")]
    node.kill9()

    copy = restored(node_factory, node, target)
    copy.start()
    assert "damaged" not in copy.log()
    assert copy.sql("SHOW HEALTH") == []
    slow = client(copy, "slow")
    count = queued(copy, "slow")
    assert slow.present and before <= count <= after, (before, count, after)
    assert queued(copy, "first") == queued(copy, "last") == count - MANY, "the queues are of different moments"
    assert slow.receive(count) == numbered(0, count)
    reader = Client(copy, "reader")
    reader.subscribe(("kept/#", 1))
    expect = {(f"kept/{i}", f"value {i}") for i in range(2, 50)} | {("kept/0", "another")}
    assert {(t, p) for t, p, _, _ in reader.wait(len(expect))} == expect
    sender, fields = secret(copy, "sender")
    assert wire.get(fields, "present") == 1
    sender.send("PUBLISH", topic="two/a", qos=2, id=7, dup=1, payload="exactly once")
    assert sender.receive()[0] == "PUBREC"
    sender.send("PUBREL", id=7)
    assert sender.receive()[0] == "PUBCOMP"
    once = client(copy, "once")
    client(copy, "fast").publish("two/a", [b"the next"])
    assert once.receive(2) == [b"exactly once", b"the next"]
    # No row that was written after the backup is skipped, though positions are reused by nobody; repeats are allowed.
    write(copy, "press", *(row("d2", i, n=1000 + i) for i in range(100)))
    rows = client(copy, "rows")
    got = [json.loads(one)["n"] for one in rows.receive(600)]
    assert set(got) >= set(range(500))
    while not set(got) >= set(range(1000, 1100)):
        got += [json.loads(one)["n"] for one in rows.receive(1)]
    assert len(got) < 600 + 100, f"the sink began anew: {len(got)}"
    assert state(copy)["queued"] == 300
    hears(tmp_path, peer_port, 300)
    assert made["position"] > 0


def hears(tmp_path, port, count):
    """The bridge's peer comes, with somebody who waits for the messages already."""
    folder = tmp_path / "peer"
    folder.mkdir()
    other = free_port()
    peer = Mosquitto(str(folder), f"listener {port} {HOST}", "allow_anonymous true", "persistence true", f"persistence_location {folder}/",
                     "autosave_interval 1", port=port)
    peer.start()
    try:
        one = Bulk((HOST, port), "listener", "nobody", "nothing")
        one.subscribe("out/#")
        got = []
        while len(set(got)) < count:
            got += one.receive(1)
        assert sorted(set(got)) == numbered(0, count), other
    finally:
        peer.end(9)


def cursor_position(node):
    """Of the only sink, as its file says."""
    folder = os.path.join(node.data, "sinks")
    name, = [name for name in os.listdir(folder) if not name.endswith(".fresh")]
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return int(file.read().split("position ")[1].split()[0])


def shared(target):
    folder = os.path.join(target, "queues")
    return {name: os.stat(os.path.join(folder, name)).st_ino for name in os.listdir(folder) if not name.endswith(".new")}


def test_the_next_backup_copies_no_queue_file_again_and_removes_what_nobody_needs(node_factory, tmp_path):
    target = str(tmp_path / "backups")
    node = make(node_factory)
    kept(node, "slow", "q/#")
    client(node, "fast").publish("q/a", numbered(0, MANY * 3, size=600))
    backup(node, target)
    first = shared(target)
    assert len(first) > 3
    client(node, "fast").publish("q/a", numbered(MANY * 3, 100, size=600))
    backup(node, target)
    second = shared(target)
    assert {name: second[name] for name in first} == first, "written anew"
    assert 1 <= len(second) - len(first) <= 2, "the newest file has grown"
    slow = client(node, "slow")
    assert slow.receive(MANY * 3 + 100) == numbered(0, MANY * 3 + 100, size=600)
    wait_for(lambda: queued(node, "slow") == 0, LIMIT_S, "acknowledged")
    backup(node, target, "--keep", "1")
    assert len(shared(target)) <= 1
    copy = restored(node_factory, node, target)
    copy.start()
    assert queued(copy, "slow") == 0


def test_kill_9_during_a_backup_leaves_the_older_one_and_a_node_that_starts(node_factory, tmp_path):
    target = str(tmp_path / "backups")
    node = make(node_factory)
    kept(node, "slow", "q/#")
    client(node, "fast").publish("q/a", numbered(0, 3000, size=600))
    backup(node, target)
    published, seen = 3000, False
    for pause in (0.0, 0.02, 0.1, 0.4):
        client(node, "fast").publish("q/a", numbered(published, 3000, size=600))
        published += 3000
        with subprocess.Popen([node.millrace, "backup", "--to", target, "--data", node.data, "--rate", "4M"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as asked:
            wait_for(lambda: node.request("GET", "/v1/backup")[1].find("running") > 0, LIMIT_S, "not begun")
            time.sleep(pause)
            node.kill9()
            asked.wait()
        seen |= os.path.exists(os.path.join(node.data, "mqtt", "state.copy"))
        assert len([name for name in os.listdir(target) if name.endswith(".index")]) == 1
        node.start()
        assert not os.path.exists(os.path.join(node.data, "mqtt", "state.copy")), pause
        assert queued(node, "slow") == published
    assert seen, "never killed in the middle"
    copy = restored(node_factory, node, target)
    copy.start()
    assert client(copy, "slow").receive(3000) == numbered(0, 3000, size=600)
    backup(node, target)
    again = restored(node_factory, node, target)
    again.start()
    assert client(again, "slow").receive(published) == numbered(0, published, size=600)
