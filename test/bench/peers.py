"""Time-series databases from Debian's packages beside a node, each on own ports in a folder of its own: started, filled, asked
and stopped by the same calls. Nothing of them stays running."""
import glob
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from programs import BUILD, HOST, Node, cpu_seconds, free_port, memory_kib  # noqa: E402


def folder_bytes(folder, leave_out=()):
    total = 0
    for base, _, names in os.walk(folder):
        if not any(part in base for part in leave_out):
            total += sum(os.lstat(os.path.join(base, name)).st_blocks * 512 for name in names)
    return total


def package_version(package):
    return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False).stdout


class Peer:
    """What all have: a folder, an HTTP port, one process."""
    name, style, packages = "", "line", ()
    whole_windows, digits = False, 1e-9

    def __init__(self, folder):
        self.folder, self.port, self.process, self.connection = folder, free_port(), None, None
        os.makedirs(folder, exist_ok=True)

    def available(self):
        return True

    def command(self):
        raise NotImplementedError

    def start(self):
        log = open(os.path.join(self.folder, "log.txt"), "ab")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        start_new_session=True)
        deadline = time.monotonic() + 60
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start: see {self.folder}/log.txt")
            time.sleep(0.05)
        return self

    def stop(self):
        if self.connection:
            self.connection.close()
        self.connection = None
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def call(self, method, path, body=None):
        for _ in range(2):  # a server may have closed a connection that was idle
            if self.connection is None:
                self.connection = http.client.HTTPConnection(HOST, self.port, timeout=300)
            try:
                self.connection.request(method, path, body)
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                self.connection = None
        return 0, b""

    def get(self, path, **arguments):
        status, body = self.call("GET", path + "?" + urllib.parse.urlencode(arguments))
        if status != 200:
            raise RuntimeError(f"{self.name}: {status} {body[:300]}")
        return body

    def ready(self):
        return self.call("GET", "/ping")[0] in (200, 204)

    def prepare(self, columns):
        """Before the first rows."""

    def insert(self, body):
        status, answer = self.call("POST", "/write?precision=s&db=bench", body)
        if status != 204:
            raise RuntimeError(f"{self.name}: {status} {answer[:300]}")

    def settle(self):
        """Everything written goes to its final files."""

    def cpu(self):
        """Also of threads that ended, which some start for every statement: in ticks of 10 ms."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self):
        return memory_kib(self.process.pid, "VmHWM") / 1024


class Millrace(Peer):
    name = "millrace"

    def __init__(self, folder, memory="64MiB"):
        super().__init__(folder)
        self.node = Node(folder, settings=[f"memory={memory}"])

    def version(self):
        return subprocess.check_output([os.path.join(BUILD, "millrace"), "version"], text=True).strip()

    def start(self):
        self.node.start()
        self.process = self.node.process
        return self

    def stop(self):
        self.node.stop()
        self.connection = None

    def insert(self, body):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(HOST, self.node.port, timeout=300)
        status, answer = self.node.call("POST", "/write?precision=s", body, self.connection)
        if status != 204:
            raise RuntimeError(f"millrace: {status} {answer[:300]}")

    def settle(self):
        self.node.sql("VACUUM")

    def cpu(self):
        return cpu_seconds(self.process.pid)  # its threads all live

    def size(self):
        return folder_bytes(os.path.join(self.node.data, "parts"))

    def count(self):
        return self.node.sql("SELECT count(*) FROM sensors")[0][0]

    def last(self, to):
        rows = self.node.sql(f"SELECT device, last(f0) FROM sensors WHERE time >= {stamp(to - 600)} AND time < {stamp(to)} "
                             "GROUP BY device")
        return {device.split("/")[-1]: value for device, value in rows}

    def by_minute(self, device, to):
        rows = self.node.sql(f"SELECT window_start, avg(f0) FROM sensors WHERE device = '{device}' AND time >= "
                             f"{stamp(to - 3600)} AND time < {stamp(to)} WINDOW TUMBLE(1m)", "?time=s")
        return dict(rows)

    def by_hour(self, to):
        rows = self.node.sql("SELECT device, window_start, avg(f0), avg(f1), avg(f2), avg(f3), avg(f4) FROM sensors WHERE time < "
                             f"{stamp(to)} PARTITION BY device WINDOW TUMBLE(1h)", "?time=s")
        return {(row[0].split("/")[-1], row[1]): row[2:] for row in rows}

    def above(self, to, column, limit):
        return self.node.sql(f"SELECT count(*) FROM sensors WHERE time < {stamp(to)} AND f{column} > {limit}")[0][0]

    def averages(self, to):
        row = self.node.sql("SELECT count(*), " + ", ".join(f"avg(f{c})" for c in range(10)) +
                            f" FROM sensors WHERE time < {stamp(to)}")[0]
        return row[0], row[1:]


def stamp(seconds):
    return time.strftime("'%Y-%m-%dT%H:%M:%SZ'::timestamp", time.gmtime(seconds))


class VictoriaMetrics(Peer):
    """Its windows cannot end in the middle: the first and the last of an answer are not compared, nor are digits beyond the
    twelfth, which it does not keep."""
    whole_windows, digits = True, 1e-6
    name, packages = "victoria-metrics", ("victoria-metrics",)

    def version(self):
        return package_version("victoria-metrics")

    def command(self):
        return ["victoria-metrics", f"-storageDataPath={self.folder}/data", f"-httpListenAddr={HOST}:{self.port}",
                "-retentionPeriod=100y", "-memory.allowedPercent=20", "-search.maxUniqueTimeseries=10000000",
                "-search.maxPointsPerTimeseries=1000000", "-search.disableCache", "-search.latencyOffset=0s"]

    def ready(self):
        return self.call("GET", "/health")[0] == 200

    def settle(self):
        self.get("/internal/force_flush")
        self.get("/internal/force_merge")
        time.sleep(3)

    def size(self):
        return folder_bytes(os.path.join(self.folder, "data"), ("cache", "indexdb"))

    def count(self):
        body = self.get("/api/v1/export", **{"match[]": "sensors_f0"})
        return sum(len(json.loads(line)["values"]) for line in body.splitlines())

    def instant(self, query, to):
        body = self.get("/api/v1/query", query=query, time=to - 0.001, step="1s")
        return json.loads(body)["data"]["result"]

    def last(self, to):
        return {r["metric"]["device"]: float(r["value"][1]) for r in self.instant("last_over_time(sensors_f0[600s])", to)}

    def by_minute(self, device, to):
        first = (to - 3600) // 60 * 60 + 60
        body = self.get("/api/v1/query_range", query=f'avg_over_time(sensors_f0{{device="{device}"}}[1m])', start=first - 0.001,
                        end=to + 59.999, step="60s")
        rows = json.loads(body)["data"]["result"][0]["values"]
        return {round(t + 0.001) - 60: float(v) for t, v in rows}

    def by_hour(self, to):
        answer = {}
        query = 'label_set(avg_over_time(sensors_f0[1h]),"c","0")'
        for c in range(1, 5):
            query += f' or label_set(avg_over_time(sensors_f{c}[1h]),"c","{c}")'
        body = self.get("/api/v1/query_range", query=query, start=self.start_s + 3600 - 0.001, end=to + 3599.999, step="3600s")
        for r in json.loads(body)["data"]["result"]:
            for t, v in r["values"]:
                row = answer.setdefault((r["metric"]["device"], round(t + 0.001) - 3600), [None] * 5)
                row[int(r["metric"]["c"])] = float(v)
        return answer

    def above(self, to, column, limit):
        span = int(to - self.start_s) + 1
        return int(float(self.instant(f"sum(count_gt_over_time(sensors_f{column}[{span}s], {limit}))", to)[0]["value"][1]))

    def averages(self, to):
        span = int(to - self.start_s) + 1
        count = int(float(self.instant(f"sum(count_over_time(sensors_f0[{span}s]))", to)[0]["value"][1]))
        sums = [self.instant(f"sum(sum_over_time(sensors_f{c}[{span}s]))", to)[0]["value"][1] for c in range(10)]
        return count, [float(total) / count for total in sums]


class InfluxDB(Peer):
    name, packages = "influxdb", ("influxdb", "influxdb-client")

    def version(self):
        return package_version("influxdb")

    def command(self):
        rpc = free_port()
        config = os.path.join(self.folder, "influxdb.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"""reporting-disabled = true
bind-address = "{HOST}:{rpc}"
[meta]
dir = "{self.folder}/meta"
[data]
dir = "{self.folder}/data"
wal-dir = "{self.folder}/wal"
index-version = "tsi1"
max-series-per-database = 0
max-values-per-tag = 0
query-log-enabled = false
[http]
bind-address = "{HOST}:{self.port}"
log-enabled = false
max-body-size = 0
[logging]
level = "error"
""")
        return ["influxd", "-config", config]

    def prepare(self, columns):
        self.call("POST", "/query?" + urllib.parse.urlencode({"q": "CREATE DATABASE bench"}))

    def settle(self):
        """A restart writes the cache to TSM files; a quiet while lets them be compacted."""
        time.sleep(1)
        self.stop()
        self.start()
        quiet = 0
        while quiet < 12:
            before = self.cpu()
            time.sleep(0.5)
            quiet = quiet + 1 if self.cpu() - before < 0.02 else 0

    def size(self):
        return folder_bytes(os.path.join(self.folder, "data")) + folder_bytes(os.path.join(self.folder, "wal"))

    def query(self, text):
        body = self.get("/query", db="bench", epoch="s", q=text)
        return json.loads(body)["results"][0].get("series", [])

    def count(self):
        return self.query("SELECT count(f0) FROM sensors")[0]["values"][0][1]

    def last(self, to):
        found = self.query(f"SELECT last(f0) FROM sensors WHERE time >= {to - 600}s AND time < {to}s GROUP BY device")
        return {s["tags"]["device"]: s["values"][0][1] for s in found}

    def by_minute(self, device, to):
        found = self.query(f"SELECT mean(f0) FROM sensors WHERE device = '{device}' AND time >= {to - 3600}s AND time < {to}s "
                           "GROUP BY time(1m) fill(none)")
        return dict(found[0]["values"])

    def by_hour(self, to):
        found = self.query("SELECT mean(f0), mean(f1), mean(f2), mean(f3), mean(f4) FROM sensors WHERE time >= "
                           f"{self.start_s}s AND time < {to}s GROUP BY device, time(1h) fill(none)")
        return {(s["tags"]["device"], row[0]): row[1:] for s in found for row in s["values"]}

    def above(self, to, column, limit):
        return self.query(f"SELECT count(f{column}) FROM sensors WHERE time < {to}s AND f{column} > {limit}")[0]["values"][0][1]

    def averages(self, to):
        row = self.query("SELECT count(f0), " + ", ".join(f"mean(f{c})" for c in range(10)) +
                         f" FROM sensors WHERE time < {to}s")[0]["values"][0]
        return row[1], row[2:]


class ClickHouse(Peer):
    name, style, packages = "clickhouse", "tsv", ("clickhouse-server", "clickhouse-client")

    def version(self):
        return self.query("SELECT version()").strip()

    def command(self):
        tcp = free_port()
        config = os.path.join(self.folder, "config.xml")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"""<yandex><logger><level>error</level><log>{self.folder}/ch.log</log></logger>
<http_port>{self.port}</http_port><tcp_port>{tcp}</tcp_port><listen_host>{HOST}</listen_host>
<path>{self.folder}/data/</path><tmp_path>{self.folder}/tmp/</tmp_path><mark_cache_size>268435456</mark_cache_size>
<users_config>{self.folder}/users.xml</users_config><default_profile>default</default_profile>
<default_database>default</default_database></yandex>""")
        with open(os.path.join(self.folder, "users.xml"), "w", encoding="ascii") as file:
            file.write("""<yandex><profiles><default/></profiles><users><default><password/><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota></default></users><quotas><default/></quotas></yandex>""")
        return ["clickhouse-server", f"--config-file={config}"]

    def query(self, text, body=None):
        status, answer = self.call("POST", "/?" + urllib.parse.urlencode({"query": text}) if body else "/",
                                   body if body else text.encode())
        if status != 200:
            raise RuntimeError(f"clickhouse: {status} {answer[:300]}")
        return answer.decode()

    def rows(self, text):
        return [line.split("\t") for line in self.query(text).splitlines()]

    def ready(self):
        return self.call("GET", "/ping")[0] == 200

    def prepare(self, columns):
        self.query("CREATE TABLE sensors (time DateTime, device String, " + ", ".join(f"f{c} Float64" for c in range(columns)) +
                   ") ENGINE = MergeTree() PARTITION BY toYYYYMM(time) ORDER BY (device, time)")

    def insert(self, body):
        self.query("INSERT INTO sensors FORMAT TabSeparated", body)

    def settle(self):
        self.query("OPTIMIZE TABLE sensors FINAL")
        time.sleep(2)

    def size(self):
        return int(self.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'sensors'"))

    def count(self):
        return int(self.query("SELECT count() FROM sensors"))

    def last(self, to):
        return {d: float(v) for d, v in self.rows("SELECT device, argMax(f0, time) FROM sensors WHERE time >= "
                                                  f"toDateTime({to - 600}) AND time < toDateTime({to}) GROUP BY device")}

    def by_minute(self, device, to):
        return {int(m): float(v) for m, v in self.rows(
            f"SELECT toUInt32(toStartOfMinute(time)) AS m, avg(f0) FROM sensors WHERE device = '{device}' AND time >= "
            f"toDateTime({to - 3600}) AND time < toDateTime({to}) GROUP BY m ORDER BY m")}

    def by_hour(self, to):
        return {(r[0], int(r[1])): list(map(float, r[2:])) for r in self.rows(
            "SELECT device, intDiv(toUInt32(time), 3600) * 3600 AS h, avg(f0), avg(f1), avg(f2), avg(f3), avg(f4) FROM sensors "
            f"WHERE time < toDateTime({to}) GROUP BY device, h ORDER BY device, h")}

    def above(self, to, column, limit):
        return int(self.query(f"SELECT count() FROM sensors WHERE time < toDateTime({to}) AND f{column} > {limit}"))

    def averages(self, to):
        row = self.rows("SELECT count(), " + ", ".join(f"avg(f{c})" for c in range(10)) +
                        f" FROM sensors WHERE time < toDateTime({to})")[0]
        return int(row[0]), list(map(float, row[1:]))


class PostgreSQL(Peer):
    name, style, packages = "postgresql", "tsv", ("postgresql",)

    def __init__(self, folder):
        super().__init__(folder)
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        self.bin = found[-1] if found else ""
        self.client = None

    def version(self):
        return subprocess.check_output([f"{self.bin}/postgres", "--version"], text=True).strip()

    def command(self):
        data = os.path.join(self.folder, "data")
        os.chmod(self.folder, 0o777)
        parent = self.folder
        while parent != "/tmp" and parent != "/":
            os.chmod(parent, os.stat(parent).st_mode | 0o055)
            parent = os.path.dirname(parent)
        if not os.path.exists(data):
            subprocess.run(["runuser", "-u", "postgres", "--", f"{self.bin}/initdb", "-D", data, "-A", "trust", "-E", "UTF8",
                            "--no-locale"], check=True, stdout=subprocess.DEVNULL)
        return ["runuser", "-u", "postgres", "--", f"{self.bin}/postgres", "-D", data, "-p", str(self.port), "-k", "/tmp", "-c",
                "shared_buffers=256MB", "-c", "max_wal_size=4GB"]

    def connect(self):
        import psycopg2
        self.client = psycopg2.connect(host=HOST, port=self.port, user="postgres", dbname="postgres")
        self.client.autocommit = True
        return self.client

    def ready(self):
        try:
            self.connect()
            return True
        except Exception:
            return False

    def stop(self):
        if self.client:
            self.client.close()
        self.client = None
        if self.process and self.process.poll() is None:
            with open(os.path.join(self.folder, "data", "postmaster.pid"), encoding="ascii") as file:
                os.kill(int(file.readline()), signal.SIGINT)
            self.process.wait(60)

    def postmaster(self):
        with open(os.path.join(self.folder, "data", "postmaster.pid"), encoding="ascii") as file:
            return int(file.readline())

    def cpu(self):
        """Of the postmaster, of children it has waited for, and of those that live."""
        ticks, main = 0, self.postmaster()
        for stat in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(stat, encoding="ascii") as file:
                    pid, rest = file.read().split(" (", 1)
            except OSError:
                continue
            fields = rest.rsplit(")", 1)[1].split()
            if int(pid) == main:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == main:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def peak_mib(self):
        return float("nan")

    def rows(self, text):
        with self.client.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()

    def prepare(self, columns):
        with self.client.cursor() as cursor:
            cursor.execute("CREATE TABLE sensors (time bigint, device text, " +
                           ", ".join(f"f{c} double precision" for c in range(columns)) + ")")
            cursor.execute("CREATE INDEX ON sensors (device, time)")

    def insert(self, body):
        import io
        with self.client.cursor() as cursor:
            cursor.copy_expert("COPY sensors FROM STDIN", io.BytesIO(body))

    def settle(self):
        with self.client.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE sensors")
            cursor.execute("CHECKPOINT")

    def size(self):
        return self.rows("SELECT pg_total_relation_size('sensors')")[0][0]

    def count(self):
        return self.rows("SELECT count(*) FROM sensors")[0][0]

    def last(self, to):
        return dict(self.rows("SELECT DISTINCT ON (device) device, f0 FROM sensors WHERE time >= "
                              f"{to - 600} AND time < {to} ORDER BY device, time DESC"))

    def by_minute(self, device, to):
        return dict(self.rows(f"SELECT time / 60 * 60, avg(f0) FROM sensors WHERE device = '{device}' AND time >= {to - 3600} "
                              f"AND time < {to} GROUP BY 1"))

    def by_hour(self, to):
        return {row[:2]: list(row[2:]) for row in self.rows(
            f"SELECT device, time / 3600 * 3600, avg(f0), avg(f1), avg(f2), avg(f3), avg(f4) FROM sensors WHERE time < {to} "
            "GROUP BY 1, 2")}

    def above(self, to, column, limit):
        return self.rows(f"SELECT count(*) FROM sensors WHERE time < {to} AND f{column} > {limit}")[0][0]

    def averages(self, to):
        row = self.rows("SELECT count(*), " + ", ".join(f"avg(f{c})" for c in range(10)) +
                        f" FROM sensors WHERE time < {to}")[0]
        return row[0], list(row[1:])


PEERS = [Millrace, VictoriaMetrics, InfluxDB, ClickHouse, PostgreSQL]


def install(names):
    """The packages of peers by name."""
    install_packages([package for peer in PEERS if peer.name in names for package in peer.packages])


def install_packages(wanted):
    """Never started by their package: a policy keeps services from being started, and they are disabled."""
    missing = [p for p in wanted if subprocess.run(["dpkg", "-s", p], capture_output=True, check=False).returncode]
    if not missing:
        return
    print("installing", *missing, flush=True)
    policy = "/usr/sbin/policy-rc.d"
    made = not os.path.exists(policy)
    if made:
        with open(policy, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)
    try:
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *missing], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
    finally:
        if made:
            os.remove(policy)
    if shutil.which("systemctl"):
        for service in ("victoria-metrics", "influxdb", "clickhouse-server", "postgresql"):
            subprocess.run(["systemctl", "disable", service], capture_output=True, check=False)
