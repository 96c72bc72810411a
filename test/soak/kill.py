#!/usr/bin/python3
"""kill -9 at random times, 200 times: `./dev soak kill`.

A node polls plantsim's 10 ms tick counter every 100 ms while clients INSERT and POST /write; each acknowledged row (2xx)
is noted in this process, which the kills do not touch. After the kills:
  - every acknowledged row is there, once, with its value;
  - no stored tick value repeats, ticks never fall, and two neighbours differ by more than 20 ticks (200 ms) only across
    a kill, by at most the down time + 1.1 s;
  - the node started every time.
MILLRACE_KILLS sets another count, MILLRACE_TEST_SEED the seed, MILLRACE_MEMORY the node's memory.
"""
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("MILLRACE_TEST_BUILD", os.path.join(ROOT, "build", "release"))
KILLS = int(os.environ.get("MILLRACE_KILLS", "200"))
TICK_MS = 10

MANIFEST = """
apiVersion: millrace.io/v1
kind: Connection
metadata: {{name: plc}}
spec: {{driver: modbus, endpoint: "tcp://127.0.0.1:{port}", timeout: 300ms, retries: 1, options: {{unit: 1}}}}
---
apiVersion: millrace.io/v1
kind: Table
metadata: {{name: ticks}}
spec: {{columns: [{{name: tick, type: bigint}}]}}
---
apiVersion: millrace.io/v1
kind: Table
metadata: {{name: acked}}
spec: {{columns: [{{name: v, type: bigint}}]}}
---
apiVersion: millrace.io/v1
kind: Device
metadata: {{name: clock}}
spec:
  path: clock
  table: ticks
  connection: plc
  interval: 100ms
  points: [{{column: tick, address: "1!400011", type: uint32, order: ABCD}}]
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    def __init__(self, folder, modbus_port):
        self.folder, self.port = folder, free_port()
        self.manifest = os.path.join(folder, "plant.yaml")
        with open(self.manifest, "w", encoding="utf-8") as out:
            out.write(MANIFEST.format(port=modbus_port))
        self.data = os.path.join(folder, "data")
        self.process, self.token = None, None

    def start(self):
        command = [os.path.join(BUILD, "millrace"), "run", "--data", self.data, "--log-level", "warning",
                   "--set", f"listen.http=127.0.0.1:{self.port}", "--set", "listen.https=off", "--set", "listen.postgres=off", "--set", f"memory={os.environ.get('MILLRACE_MEMORY', '64MiB')}", self.manifest]
        log = open(os.path.join(self.folder, "node.log"), "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        limit = time.monotonic() + 60
        while self.call("GET", "/readyz", None)[0] != 200:
            if self.process.poll() is not None or time.monotonic() > limit:
                sys.exit(f"FAILED: the node did not start: {open(os.path.join(self.folder, 'node.log')).read()[-2000:]}")
            time.sleep(0.01)
        with open(os.path.join(self.data, "admin.token"), encoding="utf-8") as file:
            self.token = file.read().strip()

    def call(self, method, path, body, connection=None):
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            own.request(method, path, body, {"Authorization": f"Bearer {self.token}"})
            answer = own.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            own.close()
            return 0, b""
        finally:
            if connection is None:
                own.close()

    def sql(self, text):
        status, body = self.call("POST", "/v1/sql?time=ns", text.encode())
        if status != 200:
            sys.exit(f"FAILED: {text}: {status} {body[:500]}")
        return json.loads(body)["rows"]


class Writer(threading.Thread):
    """Writes rows of device wN, time = serial number in ms; notes which were acknowledged."""

    def __init__(self, node, number):
        super().__init__(daemon=True)
        self.node, self.number, self.stop = node, number, False
        self.next, self.acked = 1, set()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=30)
        while not self.stop:
            first, count = self.next, random.randint(1, 20)
            self.next += count
            serials = range(first, first + count)
            if self.number % 2:
                rows = ",".join(f"('w{self.number}', '{stamp(s)}', {s})" for s in serials)
                status, _ = self.node.call("POST", "/v1/sql", f"INSERT INTO acked (device, time, v) VALUES {rows}", connection)
            else:
                rows = "\n".join(f"acked,device=w{self.number} v={s}i {s}" for s in serials)
                status, _ = self.node.call("POST", "/write?precision=ms", rows, connection)
            if 200 <= status < 300:
                self.acked.update(serials)
            elif status == 0:
                connection.close()
                time.sleep(0.02)
            else:
                print(f"  write refused: {status}", flush=True)
                time.sleep(0.1)


def stamp(serial_ms):
    seconds, ms = divmod(serial_ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{ms:03d}Z"


def check_acked(node, writers):
    missing = twice = 0
    for writer in writers:
        acked = set(writer.acked)
        rows = node.sql(f"SELECT time, v FROM acked WHERE device = 'w{writer.number}'")
        seen = {}
        for moment, value in rows:
            if moment != value * 1_000_000:
                sys.exit(f"FAILED: w{writer.number}: time {moment} holds {value}")
            twice += value in seen
            seen[value] = True
        missing += len(acked - seen.keys())
    return missing, twice


def check_ticks(node, kills):
    """`kills`: (time of the kill, time ready again), wall clock in ns."""
    rows = node.sql("SELECT time, tick FROM ticks WHERE tick IS NOT NULL ORDER BY time")
    bad = []
    for (before_time, before), (after_time, after) in zip(rows, rows[1:]):
        step = after - before
        if step <= 0:
            bad.append(f"tick {before} is followed by {after}")
        if step * TICK_MS <= 200:
            continue
        down = [ready - killed for killed, ready in kills if before_time <= killed + 10_000_000 and ready <= after_time + 1_100_000_000]
        allowed = sum(down) / 1e6 + 1100 * max(1, len(down)) if down else 200
        if step * TICK_MS > allowed:
            bad.append(f"{step * TICK_MS} ms between {before_time} and {after_time}, allowed {allowed:.0f} ({len(down)} kills)")
    return len(rows), bad


def main():
    seed = int(os.environ.get("MILLRACE_TEST_SEED", random.getrandbits(32)))
    random.seed(seed)
    print(f"{KILLS} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        modbus_port = free_port()
        plantsim = subprocess.Popen([os.path.join(BUILD, "plantsim"), "--listen", f"127.0.0.1:{modbus_port}"],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        node = Node(folder, modbus_port)
        try:
            return run(node)
        finally:
            plantsim.kill()
            if node.process:
                node.process.kill()


def run(node):
    node.start()
    writers = [Writer(node, number) for number in range(4)]
    for writer in writers:
        writer.start()
    kills = []
    for number in range(1, KILLS + 1):
        time.sleep(random.choice([random.uniform(0.05, 0.5), random.uniform(0.5, 3)]))
        killed = time.time_ns()
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
        node.start()
        kills.append((killed, time.time_ns()))
        if number % 20 == 0:
            print(f"  {number} kills, {sum(len(w.acked) for w in writers)} rows acknowledged", flush=True)
    time.sleep(1)
    for writer in writers:
        writer.stop = True
    for writer in writers:
        writer.join()
    missing, twice = check_acked(node, writers)
    ticks, bad = check_ticks(node, kills)
    print(f"acknowledged {sum(len(w.acked) for w in writers)}, missing {missing}, twice {twice}; ticks {ticks}, wrong {len(bad)}")
    for line in bad[:10]:
        print("  " + line)
    failed = bool(missing or twice or bad)
    print("FAILED" if failed else "passed")
    return 1 if failed else 0


sys.exit(main())
