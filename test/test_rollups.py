"""Rollups from the manifest or SQL to the answer: a table with them and its twin without get the same rows and must give the
same answers, whatever came late, twice, was deleted or killed; what retention takes stays in the rollup."""
import itertools
import os
import random
import shutil
import signal
import subprocess
import time

from programs import BUILD, Node

SEED = int(os.environ.get("MILLRACE_TEST_SEED", "1"))
DAY = 86400
START = int(time.time()) // DAY * DAY - 40 * DAY
MANIFEST = """
apiVersion: millrace.io/v1
kind: Table
metadata: {name: press}
spec:
  columns: [{name: v, type: double}, {name: n, type: bigint}]
  rollups: [{every: 1m}, {every: 1h, retention: 3650d}]
"""


def write(node, lines):
    status, answer = node.call("POST", "/write?precision=s", "\n".join(lines).encode())
    assert status == 204, answer


def kill(node):
    node.process.send_signal(signal.SIGKILL)
    node.process.wait()


def wait_clean(node, lag=0):
    for _ in range(400):
        rows = node.sql("SELECT rollup, dirty_windows, lag_s FROM sys.rollups")
        if rows and all(dirty == 0 and behind <= lag for _, dirty, behind in rows if dirty is not None) and all(row[1] is not None for row in rows):
            return
        time.sleep(0.05)
    raise AssertionError(rows)


def plan(node, statement):
    return "\n".join(row[0] for row in node.sql("EXPLAIN ANALYZE " + statement))


def test_a_manifest_makes_rollups_and_statements_use_them(tmp_path):
    path = tmp_path / "press.yaml"
    path.write_text(MANIFEST, encoding="utf-8")
    node = Node(str(tmp_path), manifests=[str(path)], settings=["rollupRows=1"]).start()
    write(node, [f"press,device=d{d} v={i % 7},n={i}i {START + i * 10}" for i in range(8640) for d in range(2)])
    wait_clean(node)
    assert node.sql("SELECT \"table\", rollup, every, late_rows, frozen_until FROM sys.rollups ORDER BY rollup") == [
        ["press", "press_1h", "1h", 0, None], ["press", "press_1m", "1m", 0, None]]
    by_hour = "SELECT device, window_start, avg(v), max(n) FROM press PARTITION BY device WINDOW TUMBLE(1h)"
    assert "windows 48 of press_1h" in plan(node, by_hour)
    assert "windows of press_1h, press_1m" in plan(node, by_hour)
    # From half an hour to half an hour: minutes at the ends, hours between them.
    bounds = f"time >= to_timestamp({START + 1800}) AND time < to_timestamp({START + 9000})"
    some = f"SELECT count(*), sum(n) FROM press WHERE {bounds}"
    assert node.sql(some) == [[2 * 720, 2 * sum(range(180, 900))]]
    assert "of press_1h, press_1m" in plan(node, some)
    assert node.sql("SELECT count(*), sum(rows) FROM press_1h") == [[48, 2 * 8640]]
    # A late row, a deleted stretch: the same at once, and in the rollup soon.
    write(node, [f"press,device=d1 v=100,n=5i {START + 5}"])
    assert node.sql(f"SELECT max(v) FROM press WHERE time < to_timestamp({START + 3600})") == [[100]]
    node.sql(f"DELETE FROM press WHERE device = 'd0' AND time < to_timestamp({START + 7200})")
    assert node.sql("SELECT count(*) FROM press WHERE device = 'd0'") == [[8640 - 720]]
    wait_clean(node)
    assert node.sql("SELECT device, sum(rows), count(*), max(v_max) FROM press_1h GROUP BY device ORDER BY device") == [
        ["d0", 8640 - 720, 22, 6], ["d1", 8641, 24, 100]]
    metrics = dict(node.sql("SELECT name, value FROM sys.metrics WHERE name LIKE 'millrace_rollup%'"))
    assert metrics["millrace_rollup_windows_total"] > 48 and metrics["millrace_rollup_errors_total"] == 0
    node.stop()


def test_sql_declares_rollups(tmp_path):
    node = Node(str(tmp_path)).start()
    node.sql("CREATE TABLE t (v double) WITH (rollups = '1m, 1h')")
    assert [row[0] for row in node.sql("SELECT rollup FROM sys.rollups ORDER BY rollup")] == ["t_1h", "t_1m"]
    node.sql("ALTER TABLE t SET (rollups = '1h,6h', retention = '90d')")
    assert [row[0] for row in node.sql("SELECT rollup FROM sys.rollups ORDER BY rollup")] == ["t_1h", "t_6h"]
    node.sql("ALTER TABLE t SET (rollups = '')")
    assert node.sql("SELECT * FROM sys.rollups") == []
    node.stop()


# ---- twins ----

STATEMENTS = [
    "SELECT count(*), count(v), sum(v), min(n), max(n), avg(v) FROM {t} WHERE {when}",
    "SELECT device, count(*), sum(n), min(v), max(v) FROM {t} WHERE {when} GROUP BY device ORDER BY device",
    "SELECT site, avg(v), count(n) FROM {t} WHERE {when} GROUP BY site ORDER BY site",
    "SELECT device, first(v), last(v), first(n), last(n) FROM {t} WHERE {when} GROUP BY device ORDER BY device",
    "SELECT window_start, sum(v), count(*) FROM {t} WHERE {when} WINDOW TUMBLE({w}) ORDER BY window_start",
    "SELECT device, window_start, avg(v), max(n), last(v) FROM {t} WHERE {when} PARTITION BY device WINDOW TUMBLE({w}) ORDER BY device, window_start",
    "SELECT window_start, sum(v) FROM {t} WHERE {when} WINDOW HOP(2h, 30m) ORDER BY window_start",
    "SELECT date_trunc('day', time, '{zone}') AS day, count(*), sum(n) FROM {t} WHERE {when} GROUP BY day ORDER BY day",
    "SELECT date_trunc('month', time) AS month, min(v), count(*) FROM {t} WHERE {when} GROUP BY month ORDER BY month",
    "SELECT device, sum(v) FROM {t} WHERE device IN ('d1', 'd3') AND {when} GROUP BY device ORDER BY device",
    "SELECT site, max(v) FROM {t} WHERE site = 'a' AND {when} GROUP BY site",
    "SELECT sum(v), count(*) FROM {t} WHERE v > 10 AND {when}",
]
WIDTHS = ["1m", "7m", "30m", "1h", "90m", "6h", "1d"]
ZONES = ["Asia/Shanghai", "Asia/Kolkata", "America/New_York", "UTC"]


def some_rows(rng, last):
    """Rows of both tables: most of them new, some late, some over others, some columns absent; `last`: the newest so far."""
    lines = []
    for _ in range(rng.randrange(1, 400)):
        device = rng.randrange(4)
        if rng.random() < 0.6:
            last[device] += rng.choice((1, 7, 10, 10, 60, 900))
            at = last[device]
        else:
            at = START + rng.randrange(0, max(1, last[device] - START))
        fields = [f"v={rng.randrange(-400, 400) / 4}"] if rng.random() < 0.8 else []
        if rng.random() < 0.8 or not fields:
            fields.append(f"n={rng.randrange(-1000, 1000)}i")
        lines.append(f"device=d{device},site={'ab'[device % 2]} {','.join(fields)} {at}")
    return lines


def when(rng, last):
    newest = max(last)
    a, b = sorted((rng.randrange(START - 100, newest + 100), rng.randrange(START - 100, newest + 100)))
    step = rng.choice((1, 1, 60, 3600))
    bounds = [f"time >= to_timestamp({a // step * step})", f"time < to_timestamp({b // step * step})"]
    return rng.choice(("true", bounds[0], bounds[1], " AND ".join(bounds), " AND ".join(bounds)))


def compare(node, rng, last, number):
    used = 0
    for _ in range(number):
        statement = rng.choice(STATEMENTS)
        values = {"when": when(rng, last), "w": rng.choice(WIDTHS), "zone": rng.choice(ZONES)}
        a, b = (node.sql(statement.format(t=table, **values)) for table in ("rolled", "plain"))
        assert a == b, (SEED, statement.format(t="rolled", **values))
        used += 1
    return used


def test_a_table_with_rollups_answers_as_its_twin_without(tmp_path):
    rng = random.Random(SEED)
    node = Node(str(tmp_path), settings=["memory=48MiB", "rollupRows=1"]).start()
    for table, options in (("rolled", " WITH (rollups = '1m,15m,1h,1d')"), ("plain", "")):
        node.sql(f"CREATE TABLE {table} (v double, n bigint){options}")
    last, compared = [START] * 4, 0
    for number in range(int(os.environ.get("MILLRACE_ROUNDS", "30"))):
        for _ in range(rng.randrange(1, 4)):
            lines = some_rows(rng, last)
            write(node, [f"{table},{line}" for table, line in itertools.product(("rolled", "plain"), lines)])
        if rng.random() < 0.3:
            a = rng.randrange(START, max(last))
            where = f"device = 'd{rng.randrange(4)}' AND time >= to_timestamp({a}) AND time < to_timestamp({a + rng.choice((5, 300, 9000))})"
            for table in ("rolled", "plain"):
                node.sql(f"DELETE FROM {table} WHERE {where}")
        compared += compare(node, rng, last, 18)  # while windows are dirty
        if rng.random() < 0.2:
            node.sql(rng.choice(("CHECKPOINT", "VACUUM")))
        if rng.random() < 0.5:
            wait_clean(node)
        if rng.random() < 0.15:
            if rng.random() < 0.7:
                kill(node)
            else:
                node.stop()
            node.start()
        compared += compare(node, rng, last, 18)
    wait_clean(node)
    for rollup in ("1m", "15m", "1h", "1d"):
        total = node.sql(f"SELECT sum(rows) FROM rolled_{rollup}")
        assert total == node.sql("SELECT count(*) FROM plain WHERE time < now()")
    assert "windows of rolled_1d" in plan(node, "SELECT sum(v) FROM rolled")
    assert " of rolled_1d" in plan(node, "SELECT sum(v) FROM rolled").split("rows read")[1]
    assert compared >= 1000
    node.stop()


def test_windows_of_few_rows_are_left_to_their_rows_while_these_are_there(tmp_path):
    node = Node(str(tmp_path)).start()
    node.sql("CREATE TABLE t (v double) WITH (rollups = '1h, 1d')")
    write(node, [f"t,device=d v={i} {START - 20 * DAY + i * 60}" for i in range(5 * 1440)])
    wait_clean(node)
    days, hours = "SELECT window_start, sum(v) FROM t WINDOW TUMBLE(1d)", "SELECT window_start, sum(v) FROM t WINDOW TUMBLE(1h)"
    assert "windows of t_1d, t_1h (only where rows are gone: 60 rows a window, 500 are worth it)" in plan(node, days)
    assert "windows 5 of t_1d" in plan(node, days)
    assert "windows of t_1h (only" in plan(node, hours) and " of t_1h\n" not in plan(node, hours) + "\n"
    wanted = node.sql(hours)
    node.sql("ALTER TABLE t SET (retention = '58d')")  # the first days go
    for _ in range(200):
        node.sql("CHECKPOINT")
        left = node.sql("SELECT count(v + 0) FROM t")[0][0]
        if left < 5 * 1440:
            break
        time.sleep(0.1)
    assert 0 < left < 5 * 1440 and node.sql(hours) == wanted
    taken = int(plan(node, hours).split("windows ")[-1].split(" of t_1h")[0])
    assert 5 * 1440 - left <= taken * 60 < 5 * 1440 and taken % 24 == 0  # days freeze before their rows go
    node.stop()


# ---- what goes, and what stays ----

def test_rows_go_for_their_age_and_their_windows_stay(tmp_path):
    node = Node(str(tmp_path)).start()
    old = START - 30 * DAY
    node.sql("CREATE TABLE t (v double) WITH (rollups = '1h')")
    write(node, [f"t,device=d v={i} {old + i * 60}" for i in range(5 * 1440)])
    wait_clean(node)
    node.sql("ALTER TABLE t SET (retention = '20d')")
    question = "SELECT count(*), sum(v), min(v) FROM t"
    wanted = [[5 * 1440, sum(range(5 * 1440)), 0]]
    for _ in range(200):
        node.sql("CHECKPOINT")
        if not node.sql("SELECT v FROM t LIMIT 1"):
            break
        time.sleep(0.1)
    assert node.sql("SELECT v FROM t LIMIT 1") == []
    assert node.sql(question) == wanted
    write(node, [f"t,device=d v=-5 {old + 30}"])
    assert node.sql("SELECT late_rows FROM sys.rollups") == [[1]]
    kill(node)
    node.start()
    assert node.sql(question) == wanted
    node.sql("ALTER TABLE t SET (retention = '3650d')")
    node.stop()
    node.start()
    wait_clean(node)
    assert node.sql(question) == wanted
    assert node.sql("SELECT sum(rows) FROM t_1h") == [[5 * 1440]]
    node.stop()


def test_a_backup_has_its_rollups(tmp_path):
    node = Node(str(tmp_path)).start()
    node.sql("CREATE TABLE t (v double) WITH (rollups = '1m')")
    write(node, [f"t,device=d{i % 3} v={i} {START + i}" for i in range(9000)])
    wait_clean(node)
    write(node, [f"t,device=d1 v=1000000 {START + 77}"])  # dirty while it is copied, perhaps
    backup = tmp_path / "backup"
    program = os.path.join(BUILD, "millrace")
    command = [program, "backup", "--to", str(backup), "--data", node.data]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    wanted = node.sql("SELECT device, count(*), sum(v), max(v) FROM t GROUP BY device ORDER BY device")
    node.stop()
    shutil.rmtree(node.data)
    done = subprocess.run([program, "restore", "--from", str(backup), "--data", node.data], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout
    node.start()
    assert node.sql("SELECT device, count(*), sum(v), max(v) FROM t GROUP BY device ORDER BY device") == wanted
    wait_clean(node)
    assert node.sql("SELECT device, sum(rows), sum(v_sum), max(v_max) FROM t_1m GROUP BY device ORDER BY device") == wanted
    node.stop()
