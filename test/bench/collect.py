#!/usr/bin/python3
"""Collection at 100,000 values/s: `./dev bench collect`. Node and plantsim pinned to one core each.

(a) 10 connections, each with 10 devices of 1,000 contiguous int16 points a second; (b) one connection with 100 devices'
worth: 10 devices of 1,000 points each 100 ms. CPU of the node, VmHWM, whole cycles, jitter (the aligned start of a cycle
against the arrival of its first request in plantsim's log), and the latency of writes under (a)."""
import os
import statistics
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from programs import HOST, Node, Plantsim, commit  # noqa: E402

SECONDS = int(os.environ.get("MILLRACE_SECONDS", "60"))
POINTS = 1000


def manifests(port, connections, interval):
    """One manifest for everything, as a user would have it."""
    out = ["apiVersion: millrace.io/v1\nkind: Table\nmetadata: {name: bulk}\nspec:\n  columns:\n"]
    out += [f"    - {{name: r{i}, type: double}}\n" for i in range(POINTS)]
    for c in range(connections):
        out.append(f"---\napiVersion: millrace.io/v1\nkind: Connection\nmetadata: {{name: line{c}}}\n"
                   f"spec: {{driver: modbus, endpoint: \"tcp://{HOST}:{port}\", timeout: 500ms, retries: 2}}\n")
        for d in range(10):
            unit = 100 + d
            out.append(f"---\napiVersion: millrace.io/v1\nkind: Device\nmetadata: {{name: line{c}.dev{d}}}\nspec:\n"
                       f"  path: line{c}/dev{d}\n  table: bulk\n  connection: line{c}\n  interval: {interval}\n  points:\n")
            writable = ", access: rw"
            out += [f"    - {{column: r{i}, address: \"{unit}!{400001 + i}\", type: int16{writable if i == 0 else ''}}}\n"
                    for i in range(POINTS)]
    return "".join(out)


def offset_ns():
    """wall − monotonic, the smallest of many readings."""
    return min((time.time_ns() - time.monotonic_ns() for _ in range(1000)), key=lambda v: v)


def jitter_ms(log_path, period_ns, clients, since_ns):
    """Per client and period: how long after the aligned start its first request arrived."""
    first = {}
    shift = offset_ns()
    with open(log_path, "rb") as file:
        file.read(16)
        for mono, _, function, _, _, client in struct.iter_unpack("<QBBHHH", file.read()):
            if mono < since_ns or function not in (3, 4):
                continue
            wall = mono + shift
            key = (client, wall // period_ns)
            late = wall % period_ns
            if late < period_ns * 0.9:
                first[key] = min(first.get(key, late), late)
    values = sorted(v / 1e6 for v in first.values())
    if not values:
        return None
    return statistics.median(values), values[int(len(values) * 0.99)], values[-1], len(values)


def run(name, connections, interval, period_s, with_writes):
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "arrivals")
        plant = Plantsim("--units", "10", "--registers", str(POINTS), "--log", log, core=1)
        path = os.path.join(folder, "plant.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(manifests(plant.port, connections, interval))
        node = Node(folder, [path], core=0).start()
        time.sleep(5)
        since, cpu, begun = time.monotonic_ns(), node.cpu(), time.monotonic()
        first = time.time()
        writes = []
        while time.monotonic() < begun + SECONDS:
            time.sleep(1)
            if with_writes:
                at = time.monotonic()
                status, answer = node.call("POST", "/apis/millrace.io/v1/namespaces/default/devices/line0.dev0/write",
                                           b'{"point":"r0","value":7,"reason":"bench"}')
                writes.append((time.monotonic() - at) * 1000)
                if status != 200:
                    print(f"  write refused: {status} {answer[:200]}")
        used, took = node.cpu() - cpu, time.monotonic() - begun
        last = time.time()
        peak = node.memory("VmHWM") / 1024
        time.sleep(1)
        missed = sum(row[0] for row in node.sql("SELECT missed_cycles FROM sys.connections"))
        rows = node.sql(f"SELECT count(*), count(r0), count(r{POINTS - 1}) FROM bulk WHERE time >= "
                        f"'{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(first))}' AND time < "
                        f"'{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(last))}'")[0]
        node.stop()
        plant.stop()
        jitter = jitter_ms(log, int(period_s * 1e9), connections, since)
    expected = int(last - first) / period_s * 10 * connections
    print(f"{name}: CPU {used / took:.3f} core (budget 0.3), VmHWM {peak:.0f} MiB (budget 100 MB)")
    print(f"  rows {rows[0]} of about {expected:.0f}, all values good in the first and last column: {rows[1]}, {rows[2]}; "
          f"cycles left out: {missed}")
    if jitter:
        print(f"  jitter ms: median {jitter[0]:.2f}, p99 {jitter[1]:.2f} (budget 2), max {jitter[2]:.2f}, of {jitter[3]} cycles")
    if writes:
        writes.sort()
        print(f"  writes ms: median {statistics.median(writes):.1f}, p99 {writes[int(len(writes) * 0.99)]:.1f} (budget 50), "
              f"of {len(writes)}")


def main():
    print(f"commit {commit()}, {SECONDS} s each", flush=True)
    run("(a) 10 connections, 1 s", 10, "1s", 1, True)
    run("(b) 1 connection, 100 ms", 1, "100ms", 0.1, False)


if __name__ == "__main__":
    main()
