"""Fixtures and options that all of test/ shares.

Everything listens on free ports of 127.0.0.1 and keeps its files in pytest's temporary folders, so tests may run beside each
other and beside a ./dev run. Each child dies with pytest (parent death signal), whatever becomes of it.

  plantsim            the demo plant on a free port: .host, .port, .stop(), .start() again on the same port
  node                a node with a data folder of its own: .sql(text), .write(...), .restart(), .kill9(), .log()
  pymodbus_client     a client of `plantsim`
"""
import base64
import ctypes
import json
import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
BUILD = os.environ.get("MILLRACE_TEST_BUILD", os.path.join(ROOT, "build", "asan"))
os.environ.setdefault("TSAN_OPTIONS", f"halt_on_error=1:suppressions={ROOT}/tools/tsan.supp")
HOST = "127.0.0.1"
START_LIMIT_S = 30
DEFECT = re.compile(r"Sanitizer:|runtime error: |broken invariant: ")
NOT_BUILT = "millrace run is not built"
# No proxy of the environment stands between a test and its own loopback.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def pytest_addoption(parser):
    parser.addoption("--select", action="append", default=[], help="run only tests whose id contains this (repeatable)")


def pytest_collection_modifyitems(config, items):
    names = config.getoption("--select")
    if names:
        items[:] = [item for item in items if any(name in item.nodeid for name in names)]


def free_port():
    """A port that nobody listens on now; below those that the kernel gives to connections, which other tests make all the time."""
    while True:
        port = random.randrange(10240, 32000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
                return port
            except OSError:
                pass


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def wait_for(condition, limit_s, what):
    """Calls `condition` until it gives something true, which it returns; fails with `what` (a text, or what gives one then) after `limit_s`."""
    limit, pause_s = time.monotonic() + limit_s, 0.001
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > limit:
            pytest.fail(f"{what() if callable(what) else what} (waited {limit_s} s)")
        time.sleep(pause_s)
        pause_s = min(0.05, 1.5 * pause_s)


class Program:
    """A child process with its log file; the base of what the fixtures give."""

    def __init__(self, command, log_path, env=None):
        self.command, self.log_path, self.env = command, log_path, env
        self.process = None

    def spawn(self, cwd=ROOT):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, cwd=cwd, env=self.env, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=die_with_parent)

    def log(self):
        """All that the program has printed so far."""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def alive(self):
        """True while it runs; fails the test with the log once it has ended."""
        if self.process.poll() is not None:
            pytest.fail(f"{self.command[0]} ended with status {self.process.returncode}:\n{self.log()}")
        return True

    def check_log(self):
        """Fails the test if a sanitizer or an invariant found something, also when nobody looked: at the end, say."""
        found = DEFECT.search(self.log()) if os.path.exists(self.log_path) else None
        if found:
            pytest.fail(f"{self.command[0]} found a defect in itself:\n{self.log()[max(0, found.start() - 200):][:8000]}")

    def end(self, number=signal.SIGTERM, limit_s=10):
        """Sends the signal and waits; gives the exit status. A program that has ended is left alone."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else None
        self.process.send_signal(number)
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"{self.command[0]} did not stop within {limit_s} s:\n{self.log()}")


class Plantsim(Program):
    """plantsim on `port`; stop() and start() keep the port, so a node sees an outage."""

    def __init__(self, folder, *options):
        self.host, self.port = HOST, free_port()
        command = [os.path.join(BUILD, "plantsim"), "--listen", f"{HOST}:{self.port}", *options]
        super().__init__(command, os.path.join(folder, "plantsim.log"))

    def start(self):
        said = self.log().count("Modbus TCP on") if os.path.exists(self.log_path) else 0
        self.spawn()
        wait_for(lambda: self.alive() and self.log().count("Modbus TCP on") > said, START_LIMIT_S, "plantsim does not listen")

    def stop(self):
        return self.end()


@pytest.fixture(name="plantsim")
def plantsim_fixture(tmp_path):
    if not os.path.exists(os.path.join(BUILD, "plantsim")):
        pytest.fail("plantsim is not built")
    plant = Plantsim(str(tmp_path))
    plant.start()
    yield plant
    plant.stop()


@pytest.fixture
def pymodbus_client(plantsim):
    from pymodbus.client import ModbusTcpClient  # Debian's 3.0.0
    client = ModbusTcpClient(plantsim.host, port=plantsim.port)
    assert client.connect()
    yield client
    client.close()


class Node(Program):
    """One node. `manifests` are files; `settings` are key=value for --set; `env` is put above the environment."""

    PASSWORD = "a-test-password"

    def __init__(self, folder, manifests=(), settings=(), env=()):
        self.data = os.path.join(folder, "data")
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.millrace = os.path.join(BUILD, "millrace")
        self.manifests = list(manifests)
        settings = [f"listen.http={HOST}:{self.port}", "listen.https=off", "listen.postgres=off", "listen.mqtt=off", *settings]
        command = [self.millrace, "run", "--data", self.data]
        command += [part for setting in settings for part in ("--set", setting)] + self.manifests
        super().__init__(command, os.path.join(folder, "node.log"), dict(os.environ, MILLRACE_ADMIN_PASSWORD=self.PASSWORD, **dict(env)))

    def start(self):
        self.spawn()
        wait_for(lambda: self.alive() and self.request("GET", "/readyz", token=None)[0] == 200, START_LIMIT_S, "node not ready")

    def stop(self):
        """Clean stop, which may take 5 s; gives the exit status."""
        return self.end(limit_s=20)

    def restart(self):
        assert self.stop() == 0, self.log()
        self.start()

    def kill9(self):
        """As a power cut would: no chance to write anything more. Start it again with start()."""
        self.end(signal.SIGKILL)

    def token(self):
        with open(os.path.join(self.data, "admin.token"), encoding="utf-8") as file:
            return file.read().strip()

    def request(self, method, path, body=None, token="admin", headers=None):
        """One HTTP request: (status, text). `token`: "admin" reads admin.token, None sends no login, else "user:password" Basic."""
        request = urllib.request.Request(self.url + path, method=method, headers=headers or {},
                                         data=body.encode() if isinstance(body, str) else body)
        if token == "admin":
            request.add_header("Authorization", f"Bearer {self.token()}")
        elif token:
            request.add_header("Authorization", "Basic " + base64.b64encode(token.encode()).decode())
        try:
            with OPENER.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def sql(self, text):
        """The rows of one statement; a refusal fails the test."""
        status, answer = self.request("POST", "/v1/sql", text)
        assert status == 200, f"{text}: {status} {answer}"
        return json.loads(answer)["rows"]

    def write(self, device, point, value, reason="test"):
        """`millrace write`: (exit status, what it printed)."""
        return self.cli("write", device, point, str(value), "--reason", reason)

    def metric(self, name):
        """The value that /metrics shows."""
        status, text = self.request("GET", "/metrics")
        assert status == 200, text
        return next(float(line.split()[1]) for line in text.splitlines() if line.split()[0] == name)

    def cli(self, *arguments):
        done = subprocess.run([self.millrace, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
                              env=dict(os.environ, MILLRACE_DATA=self.data, MILLRACE_SERVER=self.url))
        return done.returncode, done.stdout


def node_is_built(millrace=None):
    """Whether this build's program has the command `run`."""
    try:
        done = subprocess.run([millrace or os.path.join(BUILD, "millrace"), "run", "--help"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False)
    except OSError:
        return False
    return b"--data" in done.stdout


def make_nodes(folder):
    """Gives what makes nodes in `folder`, and ends them all."""
    if not node_is_built():
        pytest.skip(NOT_BUILT)
    nodes = []

    def make(manifests=(), settings=(), start=True, env=()):
        own = folder / f"node{len(nodes)}"
        own.mkdir()
        nodes.append(Node(str(own), manifests, settings, env))
        if start:
            nodes[-1].start()
        return nodes[-1]

    yield make
    for made in nodes:
        made.end(limit_s=20)
    for made in nodes:
        made.check_log()


@pytest.fixture
def node_factory(tmp_path):
    """Makes nodes that end with the test: node_factory(manifests=[…], settings=[…], env={…}) gives a started Node."""
    yield from make_nodes(tmp_path)


@pytest.fixture(scope="module")
def shared_node_factory(tmp_path_factory):
    """The same for nodes that several tests of a file look at; they end with the file."""
    yield from make_nodes(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def node(node_factory, plantsim, tmp_path):
    """A node that collects from the `plantsim` fixture what examples/plant describes."""
    return node_factory(manifests=plant_manifests(plantsim, tmp_path))


def plant_manifests(plantsim, folder):
    """Files of what examples/plant describes, for this plant."""
    manifests = []
    for name in ("connections", "tables", "devices"):
        with open(os.path.join(ROOT, "examples", "plant", f"{name}.yaml"), encoding="utf-8") as source:
            text = source.read().replace(f"{HOST}:5020", f"{plantsim.host}:{plantsim.port}")
        manifests.append(str(folder / f"{name}.yaml"))
        with open(manifests[-1], "w", encoding="utf-8") as out:
            out.write(text)
    return manifests
