#!/usr/bin/python3
"""demo_plant.py - runs the demo plant for `./dev run`: plantsim and one edge node, until Ctrl-C.

Why a program of its own: it must find free ports, wait until the node answers, tell people (and run/login.txt) how to log
in, and above all leave no process behind, however it ends. Called by ./dev after the release is built.

What it owns: the folder run/ of the clone (lock, login.txt, edge/ with the node's data, *.log, *.pid, plant/).
Invariants: at most one runs per clone (flock on run/lock); each child dies with this process (parent death signal), so not
even kill -9 leaves one; run/login.txt holds the admin password from before the node's first start on. plantsim may be killed
and started again by hand while the node runs (that is how to watch an outage); the node's end ends the run.
"""
import contextlib
import ctypes
import fcntl
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
RUN = os.path.join(ROOT, "run")
BUILD = os.environ.get("MILLRACE_DEV_BUILD", os.path.join(ROOT, "build", "release"))
MANIFESTS = os.path.join(ROOT, "examples", "plant")
HOST = "127.0.0.1"
PLANTSIM_PORT = 5020  # what examples/plant/connections.yaml says
LISTENERS = {"http": 8420, "https": 8443, "mqtt": 1883, "postgres": 5433}  # the node's defaults; http comes first and is the one to log in at
READY_LIMIT_S = 30
STOP_LIMIT_S = 7  # the node promises 5


class Failure(Exception):
    """Something that ends the run, in words for the person who started it."""


def say(text=""):
    print(text, flush=True)


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose_port(what, default, taken):
    """The first free port from `default` on that is not in `taken`; says so when it is another one."""
    for port in range(default, min(default + 1000, 65536)):
        if port not in taken and port_is_free(port):
            if port != default:
                say(f"port {default} is taken: {what} uses {port}")
            taken.add(port)
            return port
    raise Failure(f"no free port for {what} from {default} on")


def take_lock():
    """The open lock file; kept open for as long as this process lives."""
    os.makedirs(RUN, exist_ok=True)
    lock = open(os.path.join(RUN, "lock"), "a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        url = read_login().get("url", "")
        raise Failure(f"a ./dev run of this clone is running already (process {lock.read().strip()}) {url}") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


# ---- run/login.txt ----

def read_login():
    try:
        with open(os.path.join(RUN, "login.txt"), encoding="utf-8") as lines:
            return dict(line.rstrip("\n").split("=", 1) for line in lines if "=" in line)
    except FileNotFoundError:
        return {}


def write_login(values):
    """Writes the file anew, readable by its owner only from its first byte on."""
    path = os.path.join(RUN, "login.txt")
    with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.writelines(f"{key}={value}\n" for key, value in values.items())
    os.replace(path + ".new", path)


def choose_password(data):
    """The admin password: the one of earlier runs, else the environment's, else a random one; None where nobody knows it."""
    known = read_login().get("password")
    if known:
        return known
    if os.path.isdir(data) and os.listdir(data):
        return None
    return os.environ.get("MILLRACE_ADMIN_PASSWORD") or secrets.token_urlsafe(12)


# ---- children ----

def die_with_parent():
    """Runs in the child before exec: the kernel sends it SIGTERM when this process is gone (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(name, command, env=None):
    """Starts a child in a session of its own, so that Ctrl-C reaches only us and we stop all in order."""
    with open(os.path.join(RUN, f"{name}.log"), "ab") as log:
        child = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True, preexec_fn=die_with_parent)
    with open(os.path.join(RUN, f"{name}.pid"), "w", encoding="utf-8") as out:
        out.write(f"{child.pid}\n")
    return child


def stop(name, child):
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            say(f"{name} did not stop within {STOP_LIMIT_S} s: killed")
            child.kill()
            child.wait()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(RUN, f"{name}.pid"))


def log_tail(name):
    with open(os.path.join(RUN, f"{name}.log"), encoding="utf-8", errors="replace") as log:
        return "".join(log.readlines()[-20:])


def wait_until(name, child, ready, what):
    """Waits until `ready()` is true; the child's end or the time limit is a failure with the end of its log."""
    limit = time.monotonic() + READY_LIMIT_S
    while not ready():
        if child.poll() is not None:
            raise Failure(f"{name} ended with status {child.returncode}:\n{log_tail(name)}")
        if time.monotonic() > limit:
            raise Failure(f"{name}: {what} within {READY_LIMIT_S} s:\n{log_tail(name)}")
        time.sleep(0.05)


def accepts(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def answers_ready(url):
    # No proxy of the environment stands between us and our own loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/readyz", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


# ---- the plant and the node ----

def manifests_for(plantsim_port):
    """The example's manifests; those that name plantsim's port, as a changed copy where it has another one."""
    names = sorted(n for n in os.listdir(MANIFESTS) if n.endswith(".yaml"))
    if plantsim_port == PLANTSIM_PORT:
        return [os.path.join(MANIFESTS, n) for n in names]
    copies = os.path.join(RUN, "plant")
    os.makedirs(copies, exist_ok=True)
    for name in names:
        with open(os.path.join(MANIFESTS, name), encoding="utf-8") as source:
            text = re.sub(rf"\b{re.escape(HOST)}:{PLANTSIM_PORT}\b", f"{HOST}:{plantsim_port}", source.read())
        with open(os.path.join(copies, name), "w", encoding="utf-8") as out:
            out.write(text)
    return [os.path.join(copies, n) for n in names]


def listener_settings(ports, data):
    """`--set` for each listener whose default port is taken, if this version has that listener (`--check` refuses else)."""
    settings = []
    for name, port in ports.items():
        if port == LISTENERS[name]:
            continue
        setting = ["--set", f"listen.{name}={HOST}:{port}"]
        command = [os.path.join(BUILD, "millrace"), "run", "--data", data, "--check", *setting]
        if name == "http" or subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL, check=False).returncode == 0:
            settings += setting
    return settings


def start_plantsim(children, port):
    child = start("plantsim", [os.path.join(BUILD, "plantsim"), "--listen", f"{HOST}:{port}"])
    children.append(("plantsim", child))
    wait_until("plantsim", child, lambda: accepts(port), "no connection accepted")


def start_node(children, login, ports, plantsim_port):
    data = login["data"]
    env = dict(os.environ)
    env.pop("MILLRACE_ADMIN_PASSWORD", None)
    if login["password"]:
        env["MILLRACE_ADMIN_PASSWORD"] = login["password"]
    command = [os.path.join(BUILD, "millrace"), "run", "--data", data, *listener_settings(ports, data),
               *manifests_for(plantsim_port)]
    child = start("edge", command, env)
    children.append(("edge", child))
    wait_until("edge", child, lambda: answers_ready(login["url"]), "GET /readyz did not answer 200")


def watch(children):
    """Returns when a signal asks for the end; fails when the node ends by itself."""
    told = set()
    while True:
        time.sleep(0.2)
        for name, child in children:
            if child.poll() is None or name in told:
                continue
            told.add(name)
            if name == "edge":
                raise Failure(f"the node ended with status {child.returncode}:\n{log_tail(name)}")
            say(f"{name} ended with status {child.returncode}; the node goes on without it")


def announce(login):
    say(f"""
  Millrace      {login['url']}
  user          {login['user']}
  password      {login['password'] or '(set at the first start, and run/login.txt has been removed; delete run/ to start afresh)'}

  equipment     Modbus TCP {login['plantsim']} (plantsim, simulated)
  data          run/edge · logs run/edge.log, run/plantsim.log · login run/login.txt
  try           build/release/millrace sql --data run/edge 'SELECT * FROM press ORDER BY time DESC LIMIT 5'

Ctrl-C stops all of it.""")


def on_signal(_number, _frame):
    raise KeyboardInterrupt


def run():
    lock = take_lock()
    children, taken = [], set()
    data = os.path.join(RUN, "edge")
    try:
        password = choose_password(data)
        plantsim_port = choose_port("plantsim", PLANTSIM_PORT, taken)
        ports = {name: choose_port(name, default, taken) for name, default in LISTENERS.items()}
        login = {"url": f"http://{HOST}:{ports['http']}", "user": "admin", "password": password or "", "data": data,
                 "plantsim": f"{HOST}:{plantsim_port}"}
        write_login(login)  # before the first start: a password that nobody knows would lock everybody out
        start_plantsim(children, plantsim_port)
        start_node(children, login, ports, plantsim_port)
        announce(login)
        watch(children)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C does not cut the stopping short
        for name, child in reversed(children):
            stop(name, child)
        lock.close()


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        run()
    except KeyboardInterrupt:
        say("\nstopped")
        return 0
    except Failure as failure:
        print(f"dev: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
