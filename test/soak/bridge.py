#!/usr/bin/python3
"""A bridge whose peer is away while millions of messages come: `./dev soak bridge`.

A node bridges `out/#` to a peer that is written here and knows exactly what it has acknowledged. First the peer is away: MILLRACE_MESSAGES
messages (3.6 M) of QoS 1 are published, and the node is killed (kill -9) a few times meanwhile. Then the peer listens; while the queue
drains, the node is killed again. At the end
  - every message that was acknowledged to the publisher has reached the peer;
  - they came in their order (each one's first time);
  - none was given up (sys.bridges.dropped), and the data folder was never larger than the bound (MILLRACE_DISK_MIB, 4096);
  - the node's resident memory, from 5 % of the messages on, lies within MILLRACE_SPREAD_MIB (8) from least to most, each life of the
    process by itself, once it serves.
What is printed besides: rates of filling and of draining, the largest data folder. MILLRACE_KILLS sets the kills of each half (3),
MILLRACE_TEST_SEED the seed, MILLRACE_TEST_BUILD the build; --messages N, --kills N, --seed S do the same.
"""
import argparse
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
HOST, PASSWORD, TOPIC = "127.0.0.1", "a-soak-password", b"out/line3/press07/temperature"
WINDOW, PAYLOAD_BYTES = 4000, 64
START_LIMIT_S, STALL_LIMIT_S = 120, 120


class Failed(Exception):
    """A promise was broken."""


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Node:
    """The node; kill9() and start() again on the same ports and folder. Its memory and disk are sampled while it runs."""

    def __init__(self, folder):
        self.folder, self.http, self.mqtt = folder, free_port(), free_port()
        self.data = os.path.join(folder, "data")
        self.process, self.token = None, ""
        self.sampling, self.counts_memory = True, False
        self.spreads, self.disk_max = [[None, None]], 0
        threading.Thread(target=self.sample, daemon=True).start()

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection(HOST, self.http, timeout=30)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.token}"} if self.token else {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def start(self):
        command = [os.path.join(BUILD, "millrace"), "run", "--data", self.data, "--log-level", "warning"]
        for setting in (f"listen.http={HOST}:{self.http}", f"listen.mqtt={HOST}:{self.mqtt}", "listen.https=off", "listen.postgres=off"):
            command += ["--set", setting]
        log_path = os.path.join(self.folder, "node.log")
        with open(log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=dict(os.environ, MILLRACE_ADMIN_PASSWORD=PASSWORD))
        limit = time.monotonic() + START_LIMIT_S
        while self.request("GET", "/readyz")[0] != 200:
            if self.process.poll() is not None or time.monotonic() > limit:
                with open(log_path, encoding="utf-8", errors="replace") as log:
                    raise Failed("the node did not start: " + log.read()[-2000:])
            time.sleep(0.02)
        with open(os.path.join(self.data, "admin.token"), encoding="utf-8") as file:
            self.token = file.read().strip()
        self.spreads.append([None, None])

    def kill9(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def bridge(self):
        """(queued, dropped, state)"""
        status, text = self.request("POST", "/v1/sql", "SELECT queued, dropped, state FROM sys.bridges")
        return json.loads(text)["rows"][0] if status == 200 and json.loads(text)["rows"] else (None, 0, "?")

    def sample(self):
        while self.sampling:
            self.disk_max = max(self.disk_max, folder_bytes(self.data))
            spread = self.spreads[-1]
            resident = resident_kib(self.process.pid) if self.process and self.counts_memory and len(self.spreads) > 1 else None
            if resident:
                spread[0] = min(spread[0] or resident, resident)
                spread[1] = max(spread[1] or resident, resident)
            time.sleep(0.25)


def folder_bytes(folder):
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
            except OSError:
                pass
    return total


def resident_kib(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), None)
    except (OSError, ValueError):
        return None


class Peer:
    """The remote broker: lets everybody in, keeps the number of each message and acknowledges it."""

    def __init__(self):
        self.port, self.last, self.again, self.failure, self.server = free_port(), -1, 0, None, None
        self.seen = bytearray()
        self.count = 0

    def listen(self):
        self.server = socket.create_server((HOST, self.port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            conn = self.server.accept()[0]
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        try:
            with conn:
                self.talk(conn)
        except OSError:
            pass
        except Exception as error:  # pylint: disable=broad-except
            self.failure = self.failure or repr(error)

    def talk(self, conn):
        data = b""
        while True:
            piece = conn.recv(1 << 20)
            if not piece:
                return
            data = self.take(conn, data + piece)

    def take(self, conn, data):
        at, out, end = 0, [], len(data)
        while end - at >= 2:
            size, body = data[at + 1], at + 2
            if size & 0x80:
                if end - at < 3:
                    break
                size, body = size & 0x7f | data[at + 2] << 7, at + 3
            if end - body < size:
                break
            kind = data[at] >> 4
            if kind == 3:
                out.append(self.publish(data, body, size))
            elif kind == 1:
                out.append(b"\x20\x06\x01\x00\x03\x21\xff\xff")  # the session is known; receive maximum 65,535
            elif kind == 12:
                out.append(b"\xd0\x00")
            at = body + size
        if out:
            conn.sendall(b"".join(out))
        return data[at:]

    def publish(self, data, at, size):
        name = int.from_bytes(data[at:at + 2], "big")
        packet_id = data[at + 2 + name:at + 4 + name]
        properties = data[at + 4 + name]
        number = int(data[at + 5 + name + properties:at + size].split(b" ", 1)[0])
        if number >= len(self.seen):
            self.seen.extend(bytes(max(number + 1 - len(self.seen), 1 << 16)))
        if self.seen[number]:
            self.again += 1
        else:
            if number < self.last:
                self.failure = self.failure or f"message {number} came behind {self.last}"
            self.seen[number], self.last = 1, number
            self.count += 1
        return b"\x40\x02" + packet_id


def publish(node, first, count, promised):
    """Publishes numbers from `first` on until `count` are acknowledged or the connection ends; gives the next number. What is
    acknowledged is noted in `promised` as a range."""
    texts = [b"soak", b"admin", PASSWORD.encode()]
    body = b"\x00\x04MQTT\x04\xc2\x00\x00" + b"".join(len(t).to_bytes(2, "big") + t for t in texts)
    sent = acked = 0
    try:
        with socket.create_connection((HOST, node.mqtt), 10) as conn:
            conn.settimeout(STALL_LIMIT_S)
            conn.sendall(b"\x10" + bytes([len(body)]) + body)
            if conn.recv(4) != b"\x20\x02\x00\x00":
                raise Failed("the publisher is refused")
            rest = 0
            while acked < count:
                burst = min(count - sent, WINDOW - (sent - acked))
                conn.sendall(b"".join(packet(first + sent + i) for i in range(burst)))
                sent += burst
                piece = len(conn.recv(1 << 18)) + rest
                if piece == rest:
                    break
                acked, rest = acked + piece // 4, piece % 4
    except socket.timeout as error:
        raise Failed(f"no acknowledgement for {STALL_LIMIT_S} s") from error
    except OSError:
        pass
    promised.append((first, first + acked))
    return first + sent


def packet(number):
    payload = b"%d " % number
    payload += b"x" * (PAYLOAD_BYTES - len(payload))
    body = len(TOPIC).to_bytes(2, "big") + TOPIC + (number % 65535 + 1).to_bytes(2, "big") + payload
    return b"\x32" + bytes([len(body)]) + body


def make_bridge(node, peer):
    document = {"apiVersion": "millrace.io/v1", "kind": "Bridge", "metadata": {"name": "soak"},
                "spec": {"endpoint": f"tcp://{HOST}:{peer.port}", "topics": [{"filter": "out/#"}],
                         "queue": {"messages": 50_000_000, "bytes": "64GiB", "full": "drop-new"}}}
    status, text = node.request("POST", "/apis/millrace.io/v1/namespaces/default/bridges", json.dumps(document))
    if status != 201:
        raise Failed(f"the bridge is refused: {status} {text}")


def fill(node, messages, kills, rng):
    """Publishes with the peer away; kills at random shares of the work. Gives the promised ranges and the seconds."""
    marks = sorted(rng.randrange(messages // 10, messages) for _ in range(kills))
    promised, number, began = [], 0, time.monotonic()
    done, refusals = 0, 0
    while done < messages:
        node.counts_memory = done > messages // 20
        piece = messages - done
        if marks:
            timer = threading.Timer(rng.uniform(0.3, 2.0), node.kill9)
            piece = max(marks[0] - done, 1)
            number = publish(node, number, piece, promised)
            timer.start()
            number = publish(node, number, messages, promised)
            timer.join()
            marks.pop(0)
            node.counts_memory = False
            node.start()
        else:
            number = publish(node, number, min(piece, 200_000), promised)
        now = sum(b - a for a, b in promised)
        refusals = refusals + 1 if now == done else 0
        if refusals > 20:
            raise Failed(f"no message is taken any more after {done}: queued, dropped, state = {node.bridge()}")
        done = now
        time.sleep(0.2 * (refusals > 0))
    return promised, time.monotonic() - began


def drain(node, peer, kills, total, rng):
    """The peer is back: gives the seconds that messages moved, the pauses after kills aside."""
    marks = sorted(rng.randrange(total // 10, total * 9 // 10) for _ in range(kills))
    peer.listen()
    moved_s, last, still_since = 0.0, 0, time.monotonic()
    while True:
        time.sleep(0.1)
        if peer.failure:
            raise Failed(peer.failure)
        now = peer.count
        if now != last:
            moved_s, last, still_since = moved_s + 0.1, now, time.monotonic()
        if marks and now >= marks[0]:
            marks.pop(0)
            node.counts_memory = False
            node.kill9()
            node.start()
            node.counts_memory, still_since = True, time.monotonic()
        elif now >= total and node.bridge()[0] == 0:
            return moved_s
        elif time.monotonic() - still_since > STALL_LIMIT_S:
            raise Failed(f"{now} of {total} came and no more: queued, dropped, state = {node.bridge()}")


def missing(peer, promised):
    return sum(peer.seen[a:b].count(0) if b <= len(peer.seen) else peer.seen[a:b].count(0) + b - max(a, len(peer.seen))
               for a, b in promised)


def run(options, folder):
    node = Node(folder)
    try:
        go(options, node)
    finally:
        node.sampling = False
        if node.process:
            node.process.kill()


def go(options, node):
    rng, peer = random.Random(options.seed), Peer()
    node.start()
    make_bridge(node, peer)
    promised, fill_s = fill(node, options.messages, options.kills, rng)
    total = sum(b - a for a, b in promised)
    queued = node.bridge()[0]
    print(f"filled: {total} acknowledged, {queued} queued, {total / fill_s:,.0f} messages/s with the restarts", flush=True)
    moved_s = drain(node, peer, options.kills, total, rng)
    queued, dropped, _ = node.bridge()
    node.sampling = False
    lost, disk_mib = missing(peer, promised), node.disk_max / 2**20
    spread_mib = max(((most - least) / 1024 for least, most in node.spreads if least), default=0)
    print(f"drained: {peer.count} came ({peer.again} again), {lost} missing, {dropped} given up, {total / max(moved_s, 0.1):,.0f} messages/s "
          f"while they moved; data folder ≤ {disk_mib:,.0f} MiB; memory most − least ≤ {spread_mib:.1f} MiB", flush=True)
    node.kill9()
    if lost or dropped or queued:
        raise Failed("messages are missing")
    if disk_mib > options.disk_mib:
        raise Failed(f"the data folder took {disk_mib:.0f} MiB; the bound is {options.disk_mib}")
    if spread_mib > options.spread_mib:
        raise Failed(f"memory moved by {spread_mib:.1f} MiB; the bound is {options.spread_mib}")


def main():
    env = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--messages", type=int, default=int(env("MILLRACE_MESSAGES", "3600000")))
    parser.add_argument("--kills", type=int, default=int(env("MILLRACE_KILLS", "3")))
    parser.add_argument("--seed", type=int, default=int(env("MILLRACE_TEST_SEED", str(random.SystemRandom().randrange(2**32)))))
    parser.add_argument("--disk-mib", type=int, default=int(env("MILLRACE_DISK_MIB", "4096")))
    parser.add_argument("--spread-mib", type=float, default=float(env("MILLRACE_SPREAD_MIB", "8")))
    options = parser.parse_args()
    print(f"bridge: {options.messages} messages, {options.kills} kills of each half, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="millrace-soak-") as folder:
        try:
            run(options, folder)
        except Failed as failure:
            print(f"FAILED (seed {options.seed}): {failure}", flush=True)
            return 1
    print("ok", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
