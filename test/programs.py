"""What bench and soak programs share: a node and a plantsim of the release build, CPU and memory of a process; and programs of
Debian's packages, which the tests use too."""
import fcntl
import glob
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
BUILD = os.environ.get("MILLRACE_TEST_BUILD", os.path.join(ROOT, "build", "release"))
HOST = "127.0.0.1"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def debian_program(package, path):
    """A program of a Debian package: the installed one, else the package's unpacked, because installing would start a service, or
    its path belongs to another package. What it links to is in the package table of ./dev."""
    installed = os.path.join("/", path)
    if os.path.exists(installed):
        return installed
    folder = os.path.join(ROOT, "build", "peers", package)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test files run beside each other
        if not os.path.exists(os.path.join(folder, path)):
            subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True, capture_output=True)
            subprocess.run(["dpkg", "-x", glob.glob(os.path.join(folder, "*.deb"))[0], folder], check=True)
    return os.path.join(folder, path)


def cpu_seconds(pid):
    """User + system time of a whole process whose threads all live: to the nanosecond where the kernel keeps it, else in
    ticks of 10 ms."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    except OSError:
        total = 0
    if total:
        return total / 1e9
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def memory_kib(pid, key):
    """A line of /proc/PID/status, such as VmRSS or VmHWM."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    return 0


def pinned(core):
    """A preexec function that keeps the child on one core."""
    return (lambda: os.sched_setaffinity(0, {core})) if core is not None else None


def spread(values):
    """median [min … max]"""
    return f"{statistics.median(values):.4g} [{min(values):.4g} … {max(values):.4g}]"


class Node:
    """One node with a data folder of its own."""

    def __init__(self, folder, manifests=(), settings=(), core=None):
        self.folder, self.core, self.port = folder, core, free_port()
        self.data = os.path.join(folder, "data")
        self.manifests, self.settings = list(manifests), list(settings)
        self.process = self.token = self.connection = None
        self.ready_s = None

    def start(self):
        command = [os.path.join(BUILD, "millrace"), "run", "--data", self.data, "--log-level", "warning"]
        for setting in [f"listen.http={HOST}:{self.port}", "listen.https=off", "listen.postgres=off", "listen.mqtt=off", *self.settings]:
            command += ["--set", setting]
        self.connection = None  # one to an earlier process is of no use
        log = open(os.path.join(self.folder, "node.log"), "ab")
        begun = time.monotonic()
        self.process = subprocess.Popen(command + self.manifests, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        env=dict(os.environ, MILLRACE_ADMIN_PASSWORD="bench-password"),
                                        preexec_fn=pinned(self.core))
        while self.call("GET", "/readyz")[0] != 200:
            if self.process.poll() is not None or time.monotonic() > begun + 60:
                with open(os.path.join(self.folder, "node.log"), encoding="utf-8") as file:
                    sys.exit(f"the node did not start: {file.read()[-2000:]}")
            time.sleep(0.002)
        self.ready_s = time.monotonic() - begun
        with open(os.path.join(self.data, "admin.token"), encoding="utf-8") as file:
            self.token = file.read().strip()
        return self

    def stop(self):
        if self.connection:
            self.connection.close()
            self.connection = None
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def call(self, method, path, body=None, connection=None, headers=None):
        own = connection or http.client.HTTPConnection(HOST, self.port, timeout=120)
        try:
            own.request(method, path, body, {"Authorization": f"Bearer {self.token}", **(headers or {})})
            answer = own.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            own.close()
            return 0, b""
        finally:
            if connection is None:
                own.close()

    def sql(self, text, options=""):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(HOST, self.port, timeout=120)
        status, body = self.call("POST", "/v1/sql" + options, text.encode(), self.connection)
        if status != 200:
            sys.exit(f"{text}: {status} {body[:500]}{self.last_words() if status == 0 else ''}")
        return json.loads(body)["rows"]

    def last_words(self):
        """Why a connection broke: how the process ended, if it did, and the end of its log."""
        time.sleep(0.5)  # a sanitizer's report takes a moment
        with open(os.path.join(self.folder, "node.log"), encoding="utf-8", errors="replace") as file:
            return f"\nexit status {self.process.poll()}, log: {file.read()[-3000:]}"

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def memory(self, key):
        return memory_kib(self.process.pid, key)


class Plantsim:
    def __init__(self, *options, core=None):
        self.port = free_port()
        self.process = subprocess.Popen([os.path.join(BUILD, "plantsim"), "--listen", f"{HOST}:{self.port}", *options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        preexec_fn=pinned(core))
        self.process.stdout.readline()

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def commit():
    """The commit measured, with + when the tree was changed."""
    name = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty=+"], stdout=subprocess.PIPE, text=True, check=False)
    return name.stdout.strip() or "no commit"
