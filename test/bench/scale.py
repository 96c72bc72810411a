#!/usr/bin/python3
"""Does cost stay linear? `./dev bench scale`: 1,000 devices x 10 doubles, three hours of them again and again, each later by
three hours and each device with another's signals (so that nothing repeats), up to 10 M, 100 M and 1,000 M points
(MILLRACE_POINTS, in millions). At each size: rows per CPU-second of what came
since the size before (background work included), bytes a point, memory, restart, and statements: two over the newest rows, which
should stay as they are, and one over all, which should grow with them. Answers are checked against an independent calculation."""
import http.client
import os
import shutil
import sys
import tempfile
import time

import numpy

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))
from peers import Millrace, folder_bytes  # noqa: E402
from plant import COLUMNS, START, STEP_S, Plant  # noqa: E402
from programs import HOST, commit  # noqa: E402
from store import same  # noqa: E402

DEVICES, STEPS = 1000, 1080
SIZES = [int(size) for size in os.environ.get("MILLRACE_POINTS", "10,100,1000").split(",")]
MEMORY = os.environ.get("MILLRACE_MEMORY", "64MiB")
SPAN_S = STEPS * STEP_S
STAMP, NAME, NAME_AT = 10, 5, len("sensors,device=d")  # digits
TURN = 37  # device d has the signals of (d - TURN * round) % DEVICES


def digits(numbers, count):
    return (numbers[:, None] // 10 ** numpy.arange(count - 1, -1, -1) % 10 + ord("0")).astype(numpy.uint8)


class Round:
    """The bodies of three hours; their times and devices can be moved."""

    def __init__(self, plant):
        self.bodies = []
        for body, count in plant.bodies("line"):
            text = numpy.frombuffer(bytearray(body), dtype=numpy.uint8)
            ends = numpy.flatnonzero(text == ord("\n"))
            stamps = ends[:, None] - STAMP + numpy.arange(STAMP)
            names = numpy.concatenate(([0], ends[:-1] + 1))[:, None] + NAME_AT + numpy.arange(NAME)
            self.bodies.append((text, count, stamps, self.numbers(text[stamps]), names, self.numbers(text[names])))

    @staticmethod
    def numbers(text):
        return (text - ord("0")).astype(numpy.int64) @ 10 ** numpy.arange(text.shape[1] - 1, -1, -1)

    def moved(self, rounds):
        for text, count, stamps, times, names, devices in self.bodies:
            text[stamps] = digits(times + rounds * SPAN_S, STAMP)
            text[names] = digits((devices + TURN * rounds) % DEVICES, NAME)
            yield text.tobytes(), count


def idle(node):
    """Waits until nothing is done in the background any more."""
    quiet, before = 0, node.cpu()
    while quiet < 6:
        time.sleep(0.5)
        now = node.cpu()
        quiet = quiet + 1 if now - before < 0.01 else 0
        before = now


def timed(node, question, repeats):
    question()
    before = node.cpu()
    for _ in range(repeats):
        answer = question()
    return (node.cpu() - before) / repeats * 1000, answer


def ask(node, plant, rounds):
    """(milliseconds of CPU, right) of each statement."""
    shift = (rounds - 1) * SPAN_S
    end = int(plant.times[-1]) + 1
    turned = TURN * (rounds - 1)
    moved = {key + shift: value for key, value in plant.by_minute((7 - turned) % DEVICES, end).items()}
    last = {f"d{(int(name[1:]) + turned) % DEVICES:05d}": value for name, value in plant.last(end).items()}
    count, means = plant.averages(end)
    out = []
    ms, answer = timed(node, lambda: node.last(end + shift), 20)
    out.append((ms, same(answer, last, 1e-9)))
    ms, answer = timed(node, lambda: node.by_minute("d00007", end + shift), 50)
    out.append((ms, same(answer, moved, 1e-9)))
    ms, answer = timed(node, lambda: node.averages(end + shift), 1 if rounds > 20 else 5)
    out.append((ms, same(answer, (count * rounds, means), 1e-9)))
    ms, answer = timed(node, lambda: node.above(end + shift, 2, 60), 1)
    out.append((ms, answer == plant.above(end, 2, 60) * rounds))
    return out


def main():
    print(f"commit {commit()}; {DEVICES} devices, rows of {COLUMNS} doubles, memory {MEMORY}", flush=True)
    plant = Plant(DEVICES, STEPS)
    three_hours = Round(plant)
    print(f"{'M points':>9} {'rows/CPU-s':>11} {'bytes/point':>12} {'VmHWM MiB':>10} {'restart s':>10} {'VmRSS MiB':>10}   "
          "ms CPU: last of 1,000; 1 device by minute; averages of all; threshold over all")
    folder = tempfile.mkdtemp()
    node = Millrace(folder, MEMORY)
    node.start_s = START
    node.start()
    connection = http.client.HTTPConnection(HOST, node.node.port, timeout=300)
    rows = rounds = 0
    try:
        for size in SIZES:
            before, first = node.cpu(), rows
            while rows * COLUMNS < size * 1_000_000:
                for body, count in three_hours.moved(rounds):
                    status, answer = node.node.call("POST", "/write?precision=s", body, connection)
                    if status != 204:
                        sys.exit(f"refused: {status} {answer[:300]}")
                    rows += count
                rounds += 1
            idle(node)
            rate, peak = (rows - first) / (node.cpu() - before), node.peak_mib()
            parts = folder_bytes(os.path.join(node.node.data, "parts")) / (rows * COLUMNS)
            node.stop()
            node.start()
            connection = http.client.HTTPConnection(HOST, node.node.port, timeout=300)
            answers = ask(node, plant, rounds)
            print(f"{rows * COLUMNS / 1e6:9.1f} {rate:11.0f} {parts:12.3f} {peak:10.0f} {node.node.ready_s:10.2f} "
                  f"{node.node.memory('VmRSS') / 1024:10.0f}   " +
                  "; ".join(f"{ms:.2f}{'' if right else ' WRONG'}" for ms, right in answers), flush=True)
    finally:
        node.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
