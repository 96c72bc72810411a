"""One flipped bit in what the broker and the sinks keep: doctor finds it and says what is lost; a start goes on with the rest; a
repair puts the damaged file aside and keeps all that is whole."""
import json
import os
import random
import shutil
import subprocess

import pytest

from conftest import wait_for
from mqtt_client import LIMIT_S, Client
from test_damage import flip
from test_mqtt_queue import away, client, make, numbered, queued, save
from test_sinks import caught_up, row, sink, sinks, write

MANY = 6000
SEED = int(os.environ.get("MILLRACE_TEST_SEED", "1"))
FLIPS = 6


class Kept:
    """A node with a long queue, retained messages and a sink; `files` are whole, of a node that was stopped."""

    def __init__(self, node_factory, tmp_path):
        self.node = node = make(node_factory, "mqtt.queue.memory=16KiB", "mqtt.queue.bytes=8MiB")  # its files are an eighth of that
        away(node, "slow")
        client(node, "fast").publish("q/a", numbered(0, MANY, size=600))
        keeper = Client(node, "keeper")
        for i in range(20):
            keeper.publish(f"kept/{i}", f"value {i}", qos=1, retain=True)
        write(node, "press", *(row("d1", i, n=i) for i in range(50)))
        sink(node, "out", table="press", **{"from": "beginning"})
        caught_up(node, "out", 50)
        keeper.close()
        save(node)
        client(node, "fast").publish("q/a", numbered(MANY, 2000, size=600))  # which the log has, and not the state
        self.count = MANY + 2000
        assert queued(node, "slow") == self.count
        wait_for(lambda: not os.path.exists(os.path.join(node.data, "mqtt", "state.new")), LIMIT_S, "state")
        node.stop()
        self.right = str(tmp_path / "right")
        shutil.copytree(node.data, self.right)

    def put_back(self):
        self.node.end(9)
        shutil.rmtree(self.node.data)
        shutil.copytree(self.right, self.node.data)
        if os.path.exists(self.node.log_path):
            os.remove(self.node.log_path)

    def path(self, name):
        return os.path.join(self.node.data, *name.split("/"))

    def named(self):
        """The files that doctor says hold messages."""
        return [one["object"] for one in doctor(self.node) if one["object"].startswith("mqtt/queues/") and one["state"] == "ok"]


def doctor(node, *more):
    done = subprocess.run([node.millrace, "doctor", "--data", node.data, "--json", *more], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert rows and done.returncode == (1 if findings(rows) else 0), done.stdout
    return rows


def findings(rows):
    return [one for one in rows if one["state"] not in ("ok", "note")]


@pytest.fixture(name="made", scope="module")
def made_fixture(shared_node_factory, tmp_path_factory):
    return Kept(shared_node_factory, tmp_path_factory.mktemp("kept"))


@pytest.fixture(name="kept")
def kept_fixture(made):
    """As it was made, whatever a test before this did to it."""
    print("MILLRACE_TEST_SEED", SEED)
    made.put_back()
    return made


def delivered(kept, lost):
    """How many the queue still has, in order and none twice; `lost` are counted until their place is passed over."""
    got = client(kept.node, "slow").receive(queued(kept.node, "slow") - lost)
    numbers = [int(one[:10]) for one in got]
    assert numbers == sorted(set(numbers)) and set(got) <= set(numbered(0, kept.count, size=600))
    return len(got)


def test_a_whole_folder_has_no_findings(kept):
    rows = doctor(kept.node)
    assert not findings(rows)
    assert {"mqtt/state"} <= {one["object"] for one in rows} and kept.named()
    assert any(one["object"].startswith("sinks/") for one in rows)


def test_a_damaged_queue_file_loses_only_what_is_damaged_once_repaired(kept):
    chance, names = random.Random(SEED), kept.named()
    for _ in range(FLIPS):
        kept.put_back()
        name = chance.choice(names)
        where = flip(kept.path(name), chance)
        found = findings(doctor(kept.node))
        if not found:  # behind what the state names, or read already: the log has it
            continue
        assert [one["object"] for one in found] == [name] and found[0]["state"] == "damaged", (where, found)
        repaired = findings(doctor(kept.node, "--repair"))
        assert [one["state"] for one in repaired] == ["damaged", "repaired"], (where, repaired)
        assert not findings(doctor(kept.node)), where
        assert os.path.exists(kept.path("quarantine/mqtt-queue-" + name.split("/")[-1]))
        kept.node.start()
        assert delivered(kept, 1) == kept.count - 1, where
        assert "lost" not in kept.node.log(), where


def last_record(path):
    """Where the last record of a file begins."""
    with open(path, "rb") as file:
        text, at, last = file.read(), 0, 0
    while at < len(text):
        last, at = at, at + 8 + int.from_bytes(text[at:at + 4], "little")
    return last


@pytest.mark.parametrize("what", ["a record", "the size of the last one"])
def test_without_a_repair_a_start_gives_up_the_file_and_says_so(kept, what):
    name = kept.named()[0]
    with open(kept.path(name), "r+b") as file:
        file.seek(700 if what == "a record" else last_record(kept.path(name)))
        file.write(b"\xff\xff")  # a size that reaches beyond the file once had it read over and over
    kept.node.start()
    slow = client(kept.node, "slow")
    got = [int(one[:10]) for one in slow.receive(kept.count, b"%010d" % (kept.count - 1))]
    assert got == sorted(set(got)) and len(got) < kept.count
    assert f"{kept.count - len(got)} messages for slow are lost" in kept.node.log()
    assert kept.node.metric("millrace_mqtt_damaged_total") == 1


def crc32c(crc, text):
    crc ^= 0xffffffff
    for byte in text:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def varint(number):
    return (bytes([number & 127 | 128]) + varint(number >> 7)) if number > 127 else bytes([number])


def test_a_state_that_knows_fewer_records_than_a_file_has_ends_nothing(kept):
    """With right checksums: it is no damage of the disk's making."""
    name = kept.named()[0]
    with open(kept.path(name), "rb") as file:
        text = file.read()
    at = count = 0
    while at < len(text):
        at, count = at + 8 + int.from_bytes(text[at:at + 4], "little"), count + 1
    with open(kept.path("mqtt/state"), "rb") as file:
        state = bytearray(file.read())
    right, wrong, at, number, changed = varint(len(text)) + varint(count), varint(len(text)) + varint(count - 5), 32, 0, 0
    while at < len(state):
        size = int.from_bytes(state[at:at + 4], "little")
        chunk = bytes(state[at + 8:at + 8 + size])
        if right in chunk:
            assert crc32c(number, chunk) == int.from_bytes(state[at + 4:at + 8], "little")
            chunk, changed = chunk.replace(right, wrong), changed + 1
            state[at + 4:at + 8 + size] = crc32c(number, chunk).to_bytes(4, "little") + chunk
        at, number = at + 8 + size, number + 1
    assert changed == 1
    with open(kept.path("mqtt/state"), "wb") as file:
        file.write(state)
    assert "mqtt/state" in [one["object"] for one in doctor(kept.node)]  # it ends with an answer, too
    kept.node.start()
    slow = client(kept.node, "slow")
    got = [int(one[:10]) for one in slow.receive(kept.count, b"%010d" % (kept.count - 1))]
    assert got == sorted(set(got)) and kept.count - len(got) == 5
    assert "more records than mqtt/state says" in kept.node.log()


def test_a_queue_file_that_is_gone_holds_up_nothing(kept):
    name = kept.named()[0]
    os.remove(kept.path(name))
    assert [(one["object"], one["state"]) for one in findings(doctor(kept.node))] == [(name, "damaged")]
    kept.node.start()
    slow = client(kept.node, "slow")
    slow.receive(kept.count, b"%010d" % (kept.count - 1))
    assert "messages for slow are lost" in kept.node.log()


def test_a_damaged_state_is_put_aside_and_what_is_whole_is_kept(kept):
    chance = random.Random(SEED)
    for number in range(FLIPS):
        kept.put_back()
        if number:
            where = flip(kept.path("mqtt/state"), chance)
        else:  # the header
            with open(kept.path("mqtt/state"), "r+b") as file:
                file.seek(18)
                file.write(b"\xa5")
            where = "header"
        found = findings(doctor(kept.node))
        assert found and found[0]["object"] == "mqtt/state" and found[0]["state"] == "damaged", (where, found)
        repaired = findings(doctor(kept.node, "--repair"))
        assert {one["state"] for one in repaired} == {"damaged", "repaired"}, (where, repaired)
        assert not findings(doctor(kept.node)), where
        assert os.path.exists(kept.path("quarantine/mqtt-state")) and os.path.exists(kept.path("quarantine/mqtt-state.txt"))
        kept.node.start()  # and takes up what the log has
        assert "damaged places" not in kept.node.log()
        assert kept.node.sql("SHOW HEALTH") == []


def test_a_damaged_cursor_is_found_and_put_aside(kept):
    chance, folder = random.Random(SEED), kept.path("sinks")
    name, = os.listdir(folder)
    for repairs in (False, True):
        kept.put_back()
        where = flip(os.path.join(folder, name), chance)
        found = findings(doctor(kept.node))
        assert [(one["object"], one["state"]) for one in found] == [("sinks/" + name, "damaged")], where
        if repairs:
            assert [one["state"] for one in findings(doctor(kept.node, "--repair"))] == ["damaged", "repaired"]
            assert not findings(doctor(kept.node)) and os.path.exists(kept.path("quarantine/" + name))
        kept.node.start()
        caught_up(kept.node, "out", 50)  # from the beginning, as the document says
        assert ("cursor is damaged" in kept.node.log()) != repairs
        assert sinks(kept.node, "out")["failures"] == 0
