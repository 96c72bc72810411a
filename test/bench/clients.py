#!/usr/bin/python3
"""Many at once: `./dev bench clients`. 64 clients ask in a closed loop, each its next statement at once: 48 over PostgreSQL's
wire (Debian's pgbench) and 16 over HTTP, while 200,000 rows/s of 10 doubles come in over line protocol (10,000 devices, 20 bodies
a second) and plantsim is collected from (10 connections, 1,000 values a second each). Errors, statements a second, latency over
HTTP, rows taken, jitter of collection (as in `collect`) and memory."""
import http.client
import os
import re
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))
import collect  # noqa: E402
from programs import HOST, Node, Plantsim, commit, free_port  # noqa: E402

SECONDS = int(os.environ.get("MILLRACE_SECONDS", "30"))
RATE = int(os.environ.get("MILLRACE_RATE", "200000"))
WIRE, HTTP = int(os.environ.get("MILLRACE_WIRE", "48")), int(os.environ.get("MILLRACE_HTTP", "16"))
MEMORY = os.environ.get("MILLRACE_MEMORY", "256MiB")
DEVICES, COLUMNS = 10000, 10
PGBENCH = "/usr/lib/postgresql/15/bin/pgbench"

STATEMENTS = {
    "last of one": "SELECT last(f0), last(f3) FROM fed WHERE device = 'd{n}' AND time > now() - INTERVAL '10s'",
    "one by second": "SELECT window_start, avg(f1) FROM fed WHERE device = 'd{n}' AND time > now() - INTERVAL '20s' "
                     "WINDOW TUMBLE(1s)",
    "newest rows": "SELECT * FROM fed WHERE device = 'd{n}' ORDER BY time DESC LIMIT 20",
    "group of devices": "SELECT device, max(f2) FROM fed WHERE device LIKE 'd1{m}1%' AND time > now() - INTERVAL '5s' "
                        "GROUP BY device",
    "plant": "SELECT device, last(r0), avg(r1) FROM bulk WHERE time > now() - INTERVAL '30s' GROUP BY device",
    "tables": "SHOW TABLES",
    "all of a second": "SELECT count(*), avg(f4) FROM fed WHERE time > now() - INTERVAL '1s'",
}


class Feed(threading.Thread):
    """Bodies without times: the node's clock gives them, one row a device and body."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.rows, self.late, self.errors, self.over = node, 0, 0.0, [], False
        rng = random.Random(1)
        self.bodies = []
        for _ in range(10):
            self.bodies.append("\n".join(
                f"fed,device=d{DEVICES + d} " + ",".join(f"f{c}={rng.randrange(1000) / 10}" for c in range(COLUMNS))
                for d in range(DEVICES)).encode())

    def run(self):
        connection = http.client.HTTPConnection(HOST, self.node.port, timeout=60)
        period, due, number = DEVICES / RATE, time.monotonic(), 0
        while not self.over:
            status, answer = self.node.call("POST", "/write", self.bodies[number % len(self.bodies)], connection)
            number += 1
            if status == 204:
                self.rows += DEVICES
            else:
                self.errors.append((status, answer[:200]))
            due += period
            wait = due - time.monotonic()
            self.late = max(self.late, -wait)
            if wait > 0:
                time.sleep(wait)


class Asker(threading.Thread):
    def __init__(self, node, seed):
        super().__init__(daemon=True)
        self.node, self.rng, self.errors, self.took, self.over = node, random.Random(seed), [], [], False

    def run(self):
        connection = http.client.HTTPConnection(HOST, self.node.port, timeout=60)
        texts = list(STATEMENTS.values())
        while not self.over:
            text = self.rng.choice(texts).format(n=DEVICES + self.rng.randrange(DEVICES), m=self.rng.randrange(10, 99))
            begun = time.monotonic()
            try:
                status, answer = self.node.call("POST", "/v1/sql", text, connection)
            except OSError as error:
                status, answer = 0, str(error)
            self.took.append((time.monotonic() - begun) * 1000)
            if status != 200:
                self.errors.append((status, answer[:200], text))


def pgbench(folder, node, port):
    command = [PGBENCH, "-n", "-h", HOST, "-p", str(port), "-U", "token", "-c", str(WIRE), "-j", "2", "-T", str(SECONDS),
               "--random-seed=1"]
    for number, text in enumerate(STATEMENTS.values()):
        text = text.replace("{n}", ":n").replace("{m}", ":m")
        path = os.path.join(folder, f"{number}.sql")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"\\set n random({DEVICES}, {2 * DEVICES - 1})\n\\set m random(10, 99)\n{text};\n")
        command += ["-f", path]
    return subprocess.Popen(command + ["default"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=dict(os.environ, PGPASSWORD=node.token, PGSSLMODE="disable"))


def on_its_own_machine(plant):
    """Equipment does not share its processor with the clients: what stamps the arrivals comes before them, where that is allowed."""
    try:
        os.sched_setscheduler(plant.process.pid, os.SCHED_FIFO, os.sched_param(10))
    except PermissionError:
        print("the stamps of arrivals are late by what plantsim waited for a processor")


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main():
    print(f"commit {commit()}, {SECONDS} s, {WIRE} clients over PostgreSQL's wire, {HTTP} over HTTP, {RATE} rows/s, memory {MEMORY}",
          flush=True)
    with tempfile.TemporaryDirectory() as folder:
        log, port = os.path.join(folder, "arrivals"), free_port()
        plant = Plantsim("--units", "10", "--registers", str(collect.POINTS), "--log", log)
        on_its_own_machine(plant)
        path = os.path.join(folder, "plant.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(collect.manifests(plant.port, 10, "1s"))
        node = Node(folder, [path], settings=[f"memory={MEMORY}", f"listen.postgres={HOST}:{port}"]).start()
        feed = Feed(node)
        feed.start()
        time.sleep(5)
        before, cpu, since, begun = feed.rows, node.cpu(), time.monotonic_ns(), time.monotonic()
        askers = [Asker(node, seed) for seed in range(HTTP)]
        for asker in askers:
            asker.start()
        wire = pgbench(folder, node, port)
        said, complaints = wire.communicate(timeout=SECONDS + 120)
        for asker in askers:
            asker.over = True
        took, used, rows = time.monotonic() - begun, node.cpu() - cpu, feed.rows - before
        for asker in askers:
            asker.join(60)
        feed.over = True
        feed.join(60)
        jitter = collect.jitter_ms(log, 1_000_000_000, 10, since)
        missed = sum(row[0] for row in node.sql("SELECT missed_cycles FROM sys.connections"))
        peak = node.memory("VmHWM") / 1024
        stored = node.sql("SELECT count(*) FROM fed")[0][0]
        node.stop()
        plant.stop()
    latencies = [ms for asker in askers for ms in asker.took]
    errors = [error for asker in askers for error in asker.errors]
    done = int((re.search(r"processed: (\d+)", said) or [0, 0])[1])
    failed = re.search(r"failed transactions: (\d+)", said)
    print(f"rows/s {rows / took:.0f}; refused bodies {len(feed.errors)}; behind by at most {feed.late:.2f} s; stored {stored} of {feed.rows}")
    print(f"statements/s over the wire {done / SECONDS:.0f}, failed {failed[1] if failed else '?'}; over HTTP "
          f"{len(latencies) / took:.0f}, failed {len(errors)}; CPU of the node {used / took:.2f} cores")
    print(f"HTTP ms: median {statistics.median(latencies):.1f}, p99 {percentile(latencies, 0.99):.1f}, max {max(latencies):.0f}")
    if jitter:
        print(f"jitter ms: median {jitter[0]:.2f}, p99 {jitter[1]:.2f} (budget 2), max {jitter[2]:.2f}, of {jitter[3]} cycles; left out {missed}")
    print(f"memory MiB: VmHWM {peak:.0f}, setting {MEMORY}")
    for error in (errors + feed.errors)[:5] + complaints.splitlines()[:8]:
        print("  ", error)


if __name__ == "__main__":
    main()
