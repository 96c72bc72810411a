"""What a newcomer does, from a fresh clone on: ./dev run, watch equipment, write to it, lose it, get it back, stop, start again.

One test, because each step needs the one before. Its programs are those that all tests try: to build is what a clean clone's
tests begin with. It speaks to the plant only from outside: pymodbus on the equipment's side,
the `millrace` command and the files of run/ on ours.
"""
import csv
import datetime
import io
import os
import re
import shutil
import signal
import stat
import subprocess
import time
import urllib.request

import pytest

from conftest import BUILD, NOT_BUILT, OPENER, ROOT, START_LIMIT_S, Program, node_is_built, wait_for

INTERVAL_S, TIMEOUT_S, TRIES = 1.0, 0.5, 3  # as examples/plant says: interval 1s, timeout 500ms, retries 2
GOOD = ("0", "Good")
LAST_ROWS = "SELECT time, device, setpoint, quality(setpoint) AS q FROM press ORDER BY time DESC LIMIT 12"


class Clone:
    """A fresh clone of the project as it stands, uncommitted changes included, and the ./dev run in it."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "clone")
        subprocess.run(["git", "clone", "-q", ROOT, self.folder], check=True)
        changed = subprocess.run(["git", "ls-files", "-z", "--modified", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                                 stdout=subprocess.PIPE, text=True).stdout
        for name in filter(None, changed.split("\0")):
            source, target = os.path.join(ROOT, name), os.path.join(self.folder, name)
            if os.path.exists(source):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy2(source, target)
            elif os.path.exists(target):
                os.unlink(target)
        self.millrace = os.path.join(BUILD, "millrace")
        env = {k: v for k, v in os.environ.items() if not k.startswith("MILLRACE_")}
        env["MILLRACE_DEV_BUILD"] = BUILD
        self.program = Program(["./dev", "run"], os.path.join(folder, "dev.log"), env)
        self.login = {}

    def run(self):
        """./dev run, until it says how to stop it."""
        said = self.program.log().count("Ctrl-C stops") if os.path.exists(self.program.log_path) else 0
        self.program.spawn(cwd=self.folder)
        wait_for(lambda: self.program.alive() and self.program.log().count("Ctrl-C stops") > said, START_LIMIT_S,
                 "./dev run does not come up")
        with open(os.path.join(self.folder, "run", "login.txt"), encoding="utf-8") as lines:
            self.login = dict(line.rstrip("\n").split("=", 1) for line in lines)

    def ctrl_c(self):
        return self.program.end(signal.SIGINT, limit_s=20)

    def pid(self, name):
        with open(os.path.join(self.folder, "run", f"{name}.pid"), encoding="utf-8") as file:
            return int(file.read())

    def cli(self, *arguments):
        """`millrace …` as in a shell beside ./dev run; a failure fails the test."""
        env = dict(self.program.env, MILLRACE_SERVER=self.login["url"], MILLRACE_DATA=self.login["data"])
        done = subprocess.run([self.millrace, *arguments], env=env, cwd=self.folder, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"millrace {' '.join(arguments)}: {done.stdout}"
        return done.stdout

    def sql(self, text):
        return list(csv.DictReader(io.StringIO(self.cli("sql", "--format", "csv", text))))

    def newest(self):
        """press01's newest row: (time in s, set point or None, whether its quality is good); None while there is none."""
        for row in self.sql(LAST_ROWS):
            if row["device"].endswith("line1/press01"):
                when = datetime.datetime.fromisoformat(row["time"]).timestamp()
                return when, float(row["setpoint"]) if row["setpoint"] else None, row["q"] in GOOD
        return None

    def processes(self):
        """Command lines of all living processes that were started from this clone."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                program = os.readlink(f"/proc/{pid}/exe")
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    command = file.read().replace("\0", " ")
                if program.startswith(self.folder) or os.readlink(f"/proc/{pid}/cwd").startswith(self.folder):
                    found.append(command)
            except OSError:
                continue  # gone, or a zombie
        return found


@pytest.fixture
def clone(tmp_path):
    if not node_is_built():
        pytest.skip(NOT_BUILT)
    fresh = Clone(str(tmp_path))
    yield fresh
    fresh.program.end(signal.SIGINT, limit_s=20)


def see_login(clone):
    path = os.path.join(clone.folder, "run", "login.txt")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert {"url", "user", "password", "data", "plantsim"} <= set(clone.login)
    assert clone.login["password"] in clone.program.log() and clone.login["url"] in clone.program.log()
    with OPENER.open(urllib.request.Request(clone.login["url"] + "/"), timeout=10) as page:
        assert "html" in page.headers["Content-Type"]


def see_new_value(clone, modbus):
    """A register set in the equipment shows as degrees within two intervals, at the time at which it was read."""
    wait_for(clone.newest, 10, "press01 has no row")
    set_at = time.time()
    assert not modbus.write_register(0, 253, slave=1).isError()

    def shown():
        row = clone.newest()
        return row if row[1] is not None and abs(row[1] - 25.3) < 1e-9 else None

    when, _, good = wait_for(shown, 2 * INTERVAL_S + 1, "the new set point does not show")  # 1 s to run the command
    assert good and set_at - 0.002 <= when <= set_at + 2 * INTERVAL_S
    unit = next(row for row in clone.sql("DESCRIBE press") if "setpoint" in row.values())
    assert "°C" in unit.values()


def see_outage(clone):
    """Without the equipment: NULL, bad quality and an error that names what is wrong, in time; then good again in time."""
    host, port = clone.login["plantsim"].split(":")
    os.kill(clone.pid("plantsim"), signal.SIGTERM)
    stopped_at = time.time()
    limit_s = INTERVAL_S + TIMEOUT_S * TRIES + 1

    def lost():
        row = clone.newest()
        return row if row[0] > stopped_at and row[1] is None and not row[2] else None

    wait_for(lost, limit_s + 1, "the outage does not show")
    connection = next(row for row in clone.sql("SELECT * FROM sys.connections") if "plant-plc" in row.values())
    assert re.search(rf"refused|{port}", " ".join(filter(None, connection.values())), re.I), connection
    plantsim = Program([os.path.join(BUILD, "plantsim"), "--listen", f"{host}:{port}"],
                       os.path.join(clone.folder, "run", "plantsim2.log"))
    plantsim.spawn()
    started_at = time.time()
    wait_for(lambda: (row := clone.newest()) and row[0] > started_at and row[2], 5, "not good again after the outage")
    return plantsim


def see_write(clone, modbus):
    assert modbus.read_coils(0, 1, slave=1).bits[0] is False
    clone.cli("write", "press01", "lamp", "true", "--reason", "newcomer's test")
    assert modbus.read_coils(0, 1, slave=1).bits[0] is True


@pytest.mark.timeout(240)
def test_a_newcomer_sees_writes_loses_and_keeps_values(clone):
    from pymodbus.client import ModbusTcpClient
    clone.run()
    see_login(clone)
    host, port = clone.login["plantsim"].split(":")
    modbus = ModbusTcpClient(host, port=int(port))
    assert modbus.connect()
    see_new_value(clone, modbus)
    modbus.close()
    plantsim = see_outage(clone)
    try:
        modbus = ModbusTcpClient(host, port=int(port))
        assert modbus.connect()
        see_write(clone, modbus)
        modbus.close()
    finally:
        plantsim.end()
    earlier = "SELECT count(*) AS n FROM press WHERE setpoint > 25.29 AND setpoint < 25.31"
    count, password = int(clone.sql(earlier)[0]["n"]), clone.login["password"]
    assert count > 0
    assert clone.ctrl_c() == 0, clone.program.log()
    assert clone.processes() == []
    clone.run()
    assert clone.login["password"] == password
    assert int(clone.sql(earlier)[0]["n"]) == count
    assert clone.ctrl_c() == 0
    assert clone.processes() == []
