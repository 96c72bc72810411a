#!/usr/bin/python3
"""Line protocol in: `./dev bench insert`. 1,000 devices, rows of 10 doubles every 10 s; rows per CPU-second of the whole
server process, bytes per point on disk (log excluded) after a restart, peak memory."""
import http.client
import os
import random
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from programs import HOST, Node, commit, spread  # noqa: E402

DEVICES, COLUMNS, ROWS = 1000, 10, int(os.environ.get("MILLRACE_ROWS", "540000"))
RUNS = int(os.environ.get("MILLRACE_RUNS", "5"))
BATCH = 10000


def bodies(seed):
    """Quantised sensors: random walks with one decimal."""
    rng = random.Random(seed)
    values = [[rng.randrange(100, 900) for _ in range(COLUMNS)] for _ in range(DEVICES)]
    lines, out = [], []
    for step in range(ROWS // DEVICES):
        for device, row in enumerate(values):
            for column in range(COLUMNS):
                row[column] += rng.choice((-1, 0, 0, 1))
            fields = ",".join(f"f{column}={value // 10}.{value % 10}" for column, value in enumerate(row))
            lines.append(f"sensors,device=d{device:04d} {fields} {1_700_000_000 + step * 10}")
            if len(lines) == BATCH:
                out.append("\n".join(lines).encode())
                lines = []
    return out


def folder_bytes(folder):
    total = 0
    for base, _, names in os.walk(folder):
        total += sum(os.path.getsize(os.path.join(base, name)) for name in names)
    return total


def main():
    print(f"commit {commit()}; {ROWS} rows of {COLUMNS} doubles, {DEVICES} devices, {RUNS} runs", flush=True)
    data = bodies(1)
    rates, peaks = [], []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            node = Node(folder, settings=["memory=256MiB"]).start()
            connection = http.client.HTTPConnection(HOST, node.port, timeout=120)
            before = node.cpu()
            for body in data:
                status, answer = node.call("POST", "/write?precision=s", body, connection)
                if status != 204:
                    sys.exit(f"refused: {status} {answer[:300]}")
            used = node.cpu() - before
            count = node.sql("SELECT count(*) FROM sensors")[0][0]
            if count != len(data) * BATCH:
                sys.exit(f"{count} rows are there, {len(data) * BATCH} were acknowledged")
            rates.append(count / used)
            peaks.append(node.memory("VmHWM") / 1024)
            log = folder_bytes(os.path.join(node.data, "log"))
            parts = folder_bytes(os.path.join(node.data, "parts"))
            node.stop()
    print(f"rows per CPU-second  {spread(rates)}   (budget 500,000)")
    print(f"peak memory MiB      {spread(peaks)}   (budget 128)")
    print(f"log bytes per point  {log / count / COLUMNS:.2f}; bytes in parts {parts}")


main()
