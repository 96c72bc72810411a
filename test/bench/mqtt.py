#!/usr/bin/python3
"""The broker beside Debian's Mosquitto: `./dev bench mqtt`. The project's load tool (mqttload.c, which shares no code with the
broker) drives both in turn, in the same run: 64-byte payloads, every one checked for loss and order. CPU per delivery of the broker's
process, deliveries a second, latency at 1,000 messages a second; then QoS 1 for sessions that are kept (each acknowledgement waits for
the disk) beside Mosquitto's from memory, 10,000 idle connections, and JSON rows under data/ into the store."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))
from programs import HOST, Node, commit, cpu_seconds, debian_program, free_port, memory_kib  # noqa: E402

MOSQUITTO = debian_program("mosquitto", "usr/sbin/mosquitto")
RUNS = int(os.environ.get("MILLRACE_RUNS", "5"))
SECONDS = os.environ.get("MILLRACE_SECONDS", "5")
# name → arguments of mqttload, goals: CPU at most × of Mosquitto's, rate at least ×
CASES = {
    "1:1 QoS 0": (["--pairs", "1", "--window", "1000"], 0.4, 3),
    "1:100 QoS 0": (["--fan", "100", "--window", "100"], 0.4, 2.5),
    "50:50 QoS 1": (["--pairs", "50", "--qos", "1", "--window", "20"], 0.4, 3),
    "50:50 QoS 2": (["--pairs", "50", "--qos", "2", "--window", "20"], None, None),
    "50:50 QoS 1, kept (ours: synced)": (["--pairs", "50", "--qos", "1", "--window", "20", "--keep"], None, 1),
}
LATENCY = ["--pairs", "10", "--qos", "0", "--rate", "1000"]


class Mosquitto:
    def __init__(self, folder):
        self.port = free_port()
        config = os.path.join(folder, "mosquitto.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"listener {self.port} {HOST}\nallow_anonymous true\nset_tcp_nodelay true\nlog_type error\n"
                       "max_inflight_messages 0\nmax_queued_messages 0\nmax_connections -1\n")
        self.process = subprocess.Popen([MOSQUITTO, "-c", config], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def build_tool(folder):
    tool = os.path.join(folder, "mqttload")
    subprocess.run(["cc", "-O2", "-o", tool, os.path.join(os.path.dirname(__file__), "mqttload.c")], check=True)
    return tool


def load(tool, broker, arguments, seconds=SECONDS):
    """What the tool prints, with the broker's CPU seconds."""
    before = cpu_seconds(broker.process.pid)
    command = [tool, "--port", str(broker.port), "--user", "admin", "--password", "bench-password", "--seconds", seconds, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{arguments}: exit {done.returncode}: {done.stdout} {done.stderr}")
    result = json.loads(done.stdout)
    result["cpu_us"] = (cpu_seconds(broker.process.pid) - before) * 1e6 / max(1, result.get("delivered", 0))
    return result


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f} … {max(values):.{digits}f}]"


class Ours:
    """The node as the load tool sees it."""

    def __init__(self, folder, *settings):
        self.port = free_port()
        self.node = Node(folder, settings=[f"listen.mqtt={HOST}:{self.port}", *settings]).start()
        self.process = self.node.process

    def stop(self):
        self.node.stop()


def compare(tool, brokers):
    print(f"{'case':34} {'broker':10} {'CPU a delivery, µs':30} {'deliveries a second':34} tool's core")
    for name, (arguments, cpu_goal, rate_goal) in CASES.items():
        results = {who: [] for who in brokers}
        for _ in range(RUNS):
            for who, broker in brokers.items():
                results[who].append(load(tool, broker, arguments))
        for who, found in results.items():
            print(f"{name:34} {who:10} {spread([r['cpu_us'] for r in found], 3):30} {spread([r['rate'] for r in found], 0):34} "
                  f"{spread([r['tool_cpu_s'] / r['seconds'] for r in found])}")
        ours, theirs = results["millrace"], results["mosquitto"]
        cpu = statistics.median(a["cpu_us"] / b["cpu_us"] for a, b in zip(ours, theirs))
        rate = statistics.median(a["rate"] / b["rate"] for a, b in zip(ours, theirs))
        print(f"{'':34} ratio      CPU {cpu:.3f} × {f'(goal {cpu_goal})' if cpu_goal else '':22} rate {rate:.1f} × {f'(goal {rate_goal})' if rate_goal else ''}")


def latency(tool, brokers):
    for who, broker in brokers.items():
        found = [load(tool, broker, LATENCY) for _ in range(RUNS)]
        print(f"1,000 messages/s {who:10} p50 {spread([r['p50_us'] for r in found], 0)} µs, p99 {spread([r['p99_us'] for r in found], 0)} µs (goal 1,500)")


def idle(tool):
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(folder)
        load(tool, ours, ["--idle", "10"], "1")
        before = memory_kib(ours.process.pid, "VmRSS")
        command = [tool, "--port", str(ours.port), "--user", "admin", "--password", "bench-password", "--idle", "10000", "--seconds", "5"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            connected = json.loads(process.stdout.readline())
            time.sleep(2)
            each = (memory_kib(ours.process.pid, "VmRSS") - before) / 10000
            process.wait()
        ours.stop()
    print(f"10,000 idle connections: connected in {connected['connect_s']:.2f} s (goal 1.5), {each:.2f} KiB resident each (goal 1.0)")


def rows(tool):
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(folder, "memory=256MiB")
        found = [load(tool, ours, ["--rows", "50", "--window", "200"]) for _ in range(RUNS)]
        stored = ours.node.sql("SELECT count(*) FROM load")[0][0]
        ours.stop()
    sent = sum(r["published"] for r in found)
    print(f"JSON rows under data/, QoS 1, acknowledged when on the disk: {spread([r['rate'] for r in found], 0)} messages/s (goal 250,000), "
          f"{spread([r['cpu_us'] for r in found])} µs CPU each; {stored} of {sent} stored")
    if stored != sent:
        sys.exit("rows are missing")


def main():
    version = subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True, check=False).stdout.split("\n", maxsplit=1)[0]
    print(f"commit {commit()}, {RUNS} runs of {SECONDS} s in turn, {version}")
    with tempfile.TemporaryDirectory() as folder:
        tool = build_tool(folder)
        brokers = {"millrace": Ours(folder), "mosquitto": Mosquitto(folder)}
        compare(tool, brokers)
        latency(tool, brokers)
        for broker in brokers.values():
            broker.stop()
        idle(tool)
        rows(tool)


if __name__ == "__main__":
    main()
