#!/usr/bin/python3
"""Statements over 1.08 M rows of 10 columns: `./dev bench query`. CPU of the whole server per statement, median of 7; time
bounds move by a prime number of seconds each run."""
import http.client
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from programs import HOST, Node, commit, spread  # noqa: E402

DEVICES, STEPS, START, RUNS = 1000, int(os.environ.get("MILLRACE_STEPS", "1080")), 1_700_000_000, 7

STATEMENTS = [
    ("last of 1,000 devices", "SELECT device, last(f0) FROM sensors WHERE time > {to} - 600s GROUP BY device", 1),
    ("1 device, 1 h by minute", "SELECT window_start, avg(f0) FROM sensors WHERE device = 'd0007' AND time >= {to} - 1h AND "
     "time < {to} WINDOW TUMBLE(1m)", 0.3),
    ("5 averages, 1,000 devices, by hour", "SELECT device, window_start, avg(f0), avg(f1), avg(f2), avg(f3), avg(f4) FROM "
     "sensors WHERE time < {to} PARTITION BY device WINDOW TUMBLE(1h)", 20),
    ("threshold over all", "SELECT count(*) FROM sensors WHERE time < {to} AND f3 > 90", 60),
    ("count and 10 averages", "SELECT count(*), avg(f0), avg(f1), avg(f2), avg(f3), avg(f4), avg(f5), avg(f6), avg(f7), "
     "avg(f8), avg(f9) FROM sensors WHERE time < {to}", 40),
]


def fill(node):
    connection = http.client.HTTPConnection(HOST, node.port, timeout=120)
    for step in range(0, STEPS, 10):
        lines = []
        for s in range(step, min(step + 10, STEPS)):
            for device in range(DEVICES):
                fields = ",".join(f"f{c}={(device * 7 + s * 13 + c * 29) % 1000 / 10}" for c in range(10))
                lines.append(f"sensors,device=d{device:04d} {fields} {START + s * 10}")
        status, answer = node.call("POST", "/write?precision=s", "\n".join(lines).encode(), connection)
        if status != 204:
            sys.exit(f"refused: {status} {answer[:300]}")


def stamp(seconds):
    return "'" + time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) + "'::timestamp"


def main():
    print(f"commit {commit()}; {DEVICES * STEPS} rows of 10 doubles", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        node = Node(folder, settings=["memory=512MiB"]).start()
        fill(node)
        node.stop()
        node.start()
        print(f"restart {node.ready_s:.2f} s; VmRSS {node.memory('VmRSS') / 1024:.0f} MiB")
        print(f"{'statement':38} {'CPU ms':34} {'run ms':28} budget ms")
        for name, text, budget in STATEMENTS:
            cpu, run = [], []
            for number in range(RUNS):
                to = stamp(START + STEPS * 10 - number * 17)
                repeats = 5 if budget > 10 else 50
                before, begun = node.cpu(), time.monotonic()
                for _ in range(repeats):
                    node.sql(text.format(to=to))
                run.append((time.monotonic() - begun) / repeats * 1000)
                cpu.append((node.cpu() - before) / repeats * 1000)
            print(f"{name:38} {spread(cpu):34} {spread(run):28} {budget}", flush=True)
        node.stop()


main()
