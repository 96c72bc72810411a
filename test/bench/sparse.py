#!/usr/bin/python3
"""Many devices that say little: `./dev bench sparse`. 100,000 meters with a row of one value a minute each, for
MILLRACE_MINUTES, into a node with 64 MiB, by line protocol. Rows per CPU-second of the whole process; bytes per row in the parts
and the time of the last value of every meter, of one meter's rows and of an average over all, as the parts come out of memory and
when they were merged. Answers are checked."""
import http.client
import os
import random
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from programs import HOST, Node, commit, spread  # noqa: E402

DEVICES = int(os.environ.get("MILLRACE_DEVICES", "100000"))
MINUTES = int(os.environ.get("MILLRACE_MINUTES", "20"))
RUNS = int(os.environ.get("MILLRACE_RUNS", "5"))
MEMORY = os.environ.get("MILLRACE_MEMORY", "64MiB")
START, BATCH = 1_700_000_040, 10000
QUESTIONS = (("last of all", "SELECT last(v) FROM meters GROUP BY device"), ("one device", "SELECT time, v FROM meters WHERE device = 'd04711'"),
             ("average", "SELECT count(v), avg(v) FROM meters"))


class Meters:
    """Walks with two decimals; each meter reports at a second of its own."""

    def __init__(self, seed):
        rng = random.Random(seed)
        self.values = [rng.randrange(10000, 90000) for _ in range(DEVICES)]
        self.seconds = [rng.randrange(60) for _ in range(DEVICES)]
        self.rng, self.sum, self.watched = rng, 0, []

    def bodies(self, minute):
        order = sorted(range(DEVICES), key=self.seconds.__getitem__)
        for at in range(0, DEVICES, BATCH):
            lines = []
            for device in order[at:at + BATCH]:
                value = self.values[device] = self.values[device] + self.rng.randrange(-20, 21)
                self.sum += value
                when = START + minute * 60 + self.seconds[device]
                if device == 4711:
                    self.watched.append(value)
                lines.append(f"meters,device=d{device:05d} v={value // 100}.{value % 100:02d} {when}")
            yield "\n".join(lines).encode()


def parts(node):
    folder = os.path.join(node.data, "parts")
    names = [name for name in os.listdir(folder) if name.endswith(".part")]
    return len(names), sum(os.path.getsize(os.path.join(folder, name)) for name in names)


def ask(node, meters):
    """Milliseconds of each question; the answers are those of the meters."""
    times = []
    for name, text in QUESTIONS:
        began = time.monotonic()
        rows = node.sql(text)
        times.append((time.monotonic() - began) * 1000)
        count = DEVICES * MINUTES
        right = {"last of all": lambda: len(rows) == DEVICES and sorted(round(r[-1] * 100) for r in rows) == sorted(meters.values),
                 "one device": lambda: [round(r[1] * 100) for r in rows] == meters.watched,
                 "average": lambda: rows[0][0] == count and abs(rows[0][1] * count * 100 - meters.sum) < 1e-6 * meters.sum}[name]()
        if not right:
            sys.exit(f"{name}: wrong: {rows[:3]}")
    return times


def settle(node):
    """Waits until nothing is done in the background."""
    quiet, before = 0, node.cpu()
    while quiet < 10:
        time.sleep(1)
        now = node.cpu()
        quiet = quiet + 1 if now - before < 0.05 else 0
        before = now


def main():
    print(f"commit {commit()}; {DEVICES} devices, {MINUTES} rows each, {MEMORY}, {RUNS} runs", flush=True)
    rates, peaks, raw, merged, raw_bytes, merged_bytes, counts = [], [], [], [], [], [], []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            node, meters = Node(folder, settings=[f"memory={MEMORY}"]).start(), Meters(1)
            connection = http.client.HTTPConnection(HOST, node.port, timeout=300)
            before = node.cpu()
            for minute in range(MINUTES):
                for body in meters.bodies(minute):
                    status, answer = node.call("POST", "/write?precision=s", body, connection)
                    if status != 204:
                        sys.exit(f"refused: {status} {answer[:300]}")
            rates.append(DEVICES * MINUTES / (node.cpu() - before))
            count, size = parts(node)
            counts.append(count)
            raw_bytes.append(size / DEVICES / MINUTES)
            raw.append(ask(node, meters))
            settle(node)
            count, size = parts(node)
            merged_bytes.append(size / DEVICES / MINUTES)
            merged.append(ask(node, meters))
            peaks.append(node.memory("VmHWM") / 1024)
            node.stop()
            print(f"  {rates[-1]:.0f} rows/CPU-s, {counts[-1]} parts of {raw_bytes[-1]:.1f} B a row, then {count} of {merged_bytes[-1]:.1f}; "
                  f"ms {', '.join(f'{ms:.0f}' for ms in raw[-1])}; then {', '.join(f'{ms:.0f}' for ms in merged[-1])}", flush=True)
    print(f"rows per CPU-second      {spread(rates)}")
    print(f"peak memory MiB          {spread(peaks)}")
    print(f"bytes a row              {spread(raw_bytes)}; merged {spread(merged_bytes)}")
    for i, (name, _) in enumerate(QUESTIONS):
        print(f"{name + ', ms':24} {spread([r[i] for r in raw])}; merged {spread([r[i] for r in merged])}")


main()
