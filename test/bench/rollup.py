#!/usr/bin/python3
"""What rollups give and cost: `./dev bench rollup`. The plant of `store` (1,000 devices, 10 doubles every 10 s, line protocol) into
a table without, and into one with a rollup by the minute or by the hour, in turn: CPU seconds of the whole process per million
rows, until every window is computed and everything is in parts; bytes on disk; then, after a restart, CPU of 5 averages of all
devices, by device and hour and by hour alone, over 51 s less than everything, answers compared with those of the table without.

MILLRACE_DEVICES, MILLRACE_STEPS, MILLRACE_RUNS make it larger or shorter."""
import http.client
import os
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))
from plant import Plant  # noqa: E402
from peers import folder_bytes, stamp  # noqa: E402
from programs import HOST, Node, commit, spread  # noqa: E402

DEVICES = int(os.environ.get("MILLRACE_DEVICES", "1000"))
STEPS = int(os.environ.get("MILLRACE_STEPS", "1080"))
RUNS = int(os.environ.get("MILLRACE_RUNS", "3"))
KINDS = {"no rollup": "", "1m": "1m", "1h": "1h", "1m and 1h": "1m,1h"}
REPEATS = 7


def wait_computed(node):
    while any(row[0] is None or row[0] > 0 for row in node.sql("SELECT dirty_windows FROM sys.rollups")):
        time.sleep(0.2)


def load(node, rollups, bodies):
    """CPU seconds until the last row was taken, and until all windows are computed and moved."""
    columns = ", ".join(f"f{c} double" for c in range(10))
    node.sql(f"CREATE TABLE sensors ({columns})" + (f" WITH (rollups = '{rollups}')" if rollups else ""))
    connection, before = http.client.HTTPConnection(HOST, node.port, timeout=300), node.cpu()
    for body, _ in bodies:
        status, answer = node.call("POST", "/write?precision=s", body, connection)
        if status != 204:
            sys.exit(f"refused: {status} {answer[:300]}")
    taken = node.cpu() - before
    wait_computed(node)
    node.sql("VACUUM")
    return taken, node.cpu() - before


STATEMENTS = [
    ("by device and hour", "SELECT device, window_start, avg(f0), avg(f1), avg(f2), avg(f3), avg(f4) FROM sensors WHERE time < {to} "
                           "PARTITION BY device WINDOW TUMBLE(1h)"),
    ("by hour", "SELECT '', window_start, avg(f0), avg(f1), avg(f2), avg(f3), avg(f4) FROM sensors WHERE time < {to} WINDOW TUMBLE(1h)"),
]


def ask(node, to, statement):
    text = statement.format(to=stamp(to))
    times, answer = [], None
    for _ in range(REPEATS):
        before, repeats = node.cpu(), 0
        while repeats < 3 or node.cpu() - before < 0.2:
            answer = node.sql(text)
            repeats += 1
        times.append((node.cpu() - before) / repeats * 1000)
    return times, {(row[0], row[1]): row[2:] for row in answer}


def is_same(a, b):
    return a.keys() == b.keys() and all(abs(x - y) <= 1e-9 * max(abs(x), 1) for key in a for x, y in zip(a[key], b[key]))


def main():
    plant = Plant(DEVICES, STEPS)
    bodies = list(plant.bodies("line"))
    rows = sum(count for _, count in bodies)
    print(f"commit {commit()}; {DEVICES} devices x {STEPS} rows of 10 doubles, {RUNS} runs in turn", flush=True)
    figures = {kind: ([], [], [], [], []) for kind in KINDS}
    reference = {}
    for _ in range(RUNS):
        for kind, rollups in KINDS.items():
            with tempfile.TemporaryDirectory() as folder:
                node = Node(folder, settings=["memory=64MiB"]).start()
                taken, whole = load(node, rollups, bodies)
                size = folder_bytes(os.path.join(node.data, "parts")) / rows / 10
                node.stop()
                node.start()
                one = [taken / rows * 1e6, whole / rows * 1e6, size]
                for name, statement in STATEMENTS:
                    times, answer = ask(node, int(plant.times[-1]) + 1 - 51, statement)
                    one.append(statistics.median(times))
                    if not is_same(answer, reference.setdefault(name, answer)):
                        print(f"{kind}: WRONG ANSWER {name}")
                node.stop()
                for list_, value in zip(figures[kind], one):
                    list_.append(value)
    print(f"{'':10} {'CPU-s a million rows, taken':34} {'… computed and in parts':34} {'bytes a point':26} {'ms CPU by device and hour':34} by hour")
    for kind, (taken, whole, size, by_device, by_hour) in figures.items():
        print(f"{kind:10} {spread(taken):34} {spread(whole):34} {spread(size):26} {spread(by_device):34} {spread(by_hour)}", flush=True)


main()
