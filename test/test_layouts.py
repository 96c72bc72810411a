"""The same rows give the same answers however they came and wherever they lie: in order into memory, or late, twice, cell by
cell, deleted and written again, in memory and in parts that overlap or were merged. Rows, histories and statements are
generated from a seed, which is printed; MILLRACE_TEST_SEED replays it."""
import json
import os
import random
import time

SECONDS = 12
S = 1_000_000_000
TYPES = {"x": "double", "y": "double", "n": "bigint", "k": "bigint", "s": "text", "f": "bool"}
STARTS = (1_711_839_600, 1_729_983_600, 1_700_000_000, 0)  # in front of changes of the clock, and others
OF_ONE_COLUMN = """count({}) sum({}) avg({}) min({}) max({}) first({}) last({}) last_row({}) stddev({}) spread({}) median({}) mode({}) delta({}) rms({})
 count(DISTINCT&{}) percentile({},&90) percentile_disc({},&0.25) approx_percentile({},&0.5) top({},&3) bottom({},&2) histogram({},&-10,&20,&5)""".split()
OF_TIME = "twa({}) twa_step({}) integral({}) interpolate({}) increase({}) rate({}) irate({}) idelta({}) derivative({}) duration_in({}&>&5)".split()
OTHERS = ["count(*)", "count(s)", "min(s)", "max(s)", "first(s)", "last(s)", "bool_and(f)", "bool_or(f)", "min(time)", "max(time)", "min_by(x, time)",
          "arg_max(n, time)", "elapsed(time)", "count(*) FILTER (WHERE f)", "corr(x, n)", "sum(DISTINCT n)", "first(f)", "last(k)"]
ZONED = ["1d) TIME ZONE 'Europe/Berlin'", "1d) TIME ZONE 'America/New_York'", "1w) TIME ZONE 'Asia/Shanghai'", "1mo) TIME ZONE 'Australia/Lord_Howe'"]


def stamp(ns):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // S)) + f".{ns % S:09d}Z"


def literal(value):
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else repr(value)


class Rows:
    """What stands in the end (`model`: (device, time) -> cells), and three tables that hold it."""

    def __init__(self, node, chance, number):
        self.node, self.chance, self.number = node, chance, number
        self.size, self.step = chance.choice([(40, 900 * S), (300, S), (300, 3600 * S), (4000, S // 4), (12000, 60 * S)])
        self.start = chance.choice(STARTS) * S
        self.devices = [f"d{i}" for i in range(chance.choice([1, 2, 4]))]
        self.span = self.size // len(self.devices) + 1
        self.model = {}
        for table in self.tables():
            node.sql(f"CREATE TABLE {table} ({', '.join(f'{c} {t}' for c, t in TYPES.items())})")
            for device in self.devices:  # so that they come in the same order everywhere
                node.sql(f"INSERT INTO {table} (time, device, x) VALUES ('2050-01-01', '{device}', 1)")
            node.sql(f"DELETE FROM {table} WHERE time >= '2049-01-01'")

    def tables(self):
        return [f"{name}{self.number}" for name in ("in_order", "in_parts", "history")]

    def cells(self):
        chance = self.chance
        made = {"x": chance.randrange(-40, 80) / 4, "y": chance.random() * 100, "n": chance.randrange(6), "s": chance.choice(["auto", "off", "grün", ""]),
                "f": chance.random() < 0.5, "k": chance.randrange(1000)}
        kept = {c: v for c, v in made.items() if chance.random() < (0.1 if c == "k" else 0.85)}
        if self.size <= 300 and chance.random() < 0.03:
            kept[chance.choice("xynksf")] = None
        return kept or {"x": 1.5}

    def write(self, table, rows):
        lines = []
        for device, at, cells in rows:
            if any(value is None for value in cells.values()):
                self.post(lines)
                self.node.sql(f"INSERT INTO {table} (device, time, {', '.join(cells)}) VALUES ('{device}', '{stamp(at)}', "
                              f"{', '.join(map(literal, cells.values()))})")
                continue
            fields = (f"{c}={v}i" if c in "nk" else f'{c}="{v}"' if c == "s" else f"{c}={str(v).lower()}" for c, v in cells.items())
            lines.append(f"{table},device={device} {','.join(fields)} {at}")
        self.post(lines)

    def post(self, lines):
        for first in range(0, len(lines), 4000):
            status, text = self.node.request("POST", "/write", "\n".join(lines[first:first + 4000]))
            assert status == 204, text
        lines.clear()

    def live_a_history(self):
        chance, table = self.chance, self.tables()[2]
        rounds = chance.choice([2, 5, 12])
        for number in range(rounds):
            rows = []
            for i in range(self.size // rounds + 1):
                at = chance.randrange(self.span) if chance.random() < 0.5 else (number * self.size // rounds + i) % self.span
                rows.append((chance.choice(self.devices), self.start + at * self.step, self.cells()))
                self.model.setdefault(rows[-1][:2], {}).update(rows[-1][2])
            self.write(table, rows)
            if chance.random() < 0.5:
                self.node.sql(chance.choice(["CHECKPOINT", "CHECKPOINT", "VACUUM"]))
            if chance.random() < 0.5:
                self.delete(table)

    def delete(self, table):
        first = self.chance.randrange(self.span)
        low, high = (self.start + at * self.step for at in (first, first + self.span // 8 + 1))
        device = self.chance.choice([None, *self.devices])
        self.node.sql(f"DELETE FROM {table} WHERE time >= '{stamp(low)}' AND time < '{stamp(high)}'" + (f" AND device = '{device}'" if device else ""))
        for key in [key for key in self.model if low <= key[1] < high and device in (None, key[0])]:
            del self.model[key]

    def fill(self):
        self.live_a_history()
        _, parts, history = self.tables()
        keys = sorted(self.model)
        self.write(parts, [(*key, self.model[key]) for key in keys])
        self.node.sql(self.chance.choice(["CHECKPOINT", "VACUUM"]))
        late = [(*key, {"x": 7.75}) for key in self.chance.sample(keys, min(len(keys), 20))]
        for table in (parts, history):
            self.write(table, late)
        for device, at, cells in late:
            self.model[device, at].update(cells)
        self.write(self.tables()[0], [(*key, self.model[key]) for key in keys])


class Statements:
    """Generated; {T} stands for the table."""

    def __init__(self, rows):
        self.rows, self.chance = rows, rows.chance

    def aggregate(self, follows):
        lists = (OF_ONE_COLUMN, OF_ONE_COLUMN, OTHERS, OF_TIME) if follows else (OF_ONE_COLUMN, OTHERS)
        pool = [name for name in self.chance.choice(lists) if follows or "delta" not in name]
        return self.chance.choice(pool).format(self.chance.choice("xynk")).replace("&", " ")

    def aggregates(self, follows):
        return ", ".join(f"{self.aggregate(follows)} AS c{i}" for i in range(self.chance.choice([1, 2, 4])))

    def where(self):
        chance, rows, conditions = self.chance, self.rows, []
        if chance.random() < 0.6:
            first = chance.randrange(rows.span)
            low = rows.start + first * rows.step + chance.choice([0, 0, 1, rows.step // 2])
            high = low + chance.choice([1, 5, rows.span // 3, rows.span]) * rows.step
            conditions += [f"time >= '{stamp(low)}'", f"time {chance.choice(['<', '<='])} '{stamp(high)}'"]
        if chance.random() < 0.3:
            conditions.append(chance.choice(["device = 'd0'", "device <> 'd1'", "device IN ('d0', 'd9')"]))
        if chance.random() < 0.25:
            conditions.append(chance.choice(["x > 3", "n = 2", "s = 'auto'", "f", "x IS NOT NULL", "y BETWEEN 10 AND 60", "k IS NULL", "s LIKE 'a%'"]))
        return " WHERE " + " AND ".join(conditions) if conditions else ""

    def width(self, factor):
        return f"{max(factor * self.rows.step, self.rows.span * self.rows.step // 2000) // 1_000_000}ms"

    def windows(self):
        chance = self.chance
        kinds = [f"TUMBLE({self.width(chance.choice([2, 37, 1000]))})", f"HOP({self.width(9)}, {self.width(3)})", f"SESSION({self.width(2)})",
                 "COUNT(7)", "COUNT(10, 3)", "STATE(s)", "STATE(n)", "EVENT(START x > 10 END n = 2)"]
        if self.rows.step >= 60 * S:
            kinds += ["TUMBLE(" + zoned for zoned in ZONED]
        kind, filled = chance.choice(kinds), ""
        if kind.startswith("TUMBLE") and chance.random() < 0.3:
            filled = chance.choice([" FILL(prev)", " FILL(next)", " FILL(null)"])
        return f"SELECT device, window_start, window_end, {self.aggregates(True)} FROM {{T}}{self.where()} PARTITION BY device WINDOW {kind}{filled}"

    def groups(self):
        key = self.chance.choice(["device", "s", "n", "f", "device, s", "date_trunc('day', time)", "extract(hour from time)"])
        return f"SELECT {key}, {self.aggregates(False)} FROM {{T}}{self.where()} GROUP BY {key}"

    def whole(self):
        return f"SELECT {self.aggregates(False)} FROM {{T}}{self.where()}"

    def lines(self):
        order = self.chance.choice(["time DESC, device", "device, time", "device, time DESC"])
        return f"SELECT device, time, x, n, coalesce(s, '-'), f, quality(y) FROM {{T}}{self.where()} ORDER BY {order} LIMIT {self.chance.choice([1, 50])}"

    def over(self):
        call = self.chance.choice(["lag(x)", "sum(n)", "avg(x)", "last_value(n)", "max(s)", "first_value(y)"])
        frame = self.chance.choice(["", " ROWS BETWEEN 3 PRECEDING AND CURRENT ROW", " RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW"])
        return f"SELECT device, time, {call} OVER (PARTITION BY device ORDER BY time{frame}) FROM {{T}}{self.where()}"

    def nearest(self):
        return "SELECT l.device, l.time, l.x, r.time, r.n FROM {T} l ASOF LEFT JOIN {T} r ON l.device = r.device AND l.time > r.time WHERE l.n > 1"

    def one(self):
        return self.chance.choice([self.windows, self.windows, self.windows, self.groups, self.whole, self.lines, self.over, self.nearest])()


def is_near(a, b):
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(is_near, a, b))
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and abs(a - b) <= 1e-7 * max(1, abs(a), abs(b))
    return a == b


def answer(node, text):
    status, body = node.request("POST", "/v1/sql", text)
    assert status == 200, f"{text}: {body}"
    rows = json.loads(body)["rows"]
    is_ordered = text.count("ORDER BY") > text.count("OVER (")
    return rows if is_ordered else sorted(rows, key=lambda row: json.dumps([f"{v:.6g}" if isinstance(v, (int, float)) else v for v in row]))


def compare(node, rows, text):
    tables = rows.tables()
    first = answer(node, text.replace("{T}", tables[0]))
    for table in tables[1:]:
        other = answer(node, text.replace("{T}", table))
        different = [pair for pair in zip(first, other) if not is_near(*pair)]
        assert len(first) == len(other) and not different, f"{text}: {tables[0]} and {table}: {len(first)} and {len(other)} rows, {different[:2]}"


def test_rows_answer_alike_wherever_they_lie(node_factory):
    seed = int(os.environ.get("MILLRACE_TEST_SEED", "1"))
    print("MILLRACE_TEST_SEED", seed)
    chance, node, number, count = random.Random(seed), node_factory(settings=["memory=256MiB"]), 0, 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        rows = Rows(node, chance, number)
        rows.fill()
        for table in rows.tables():
            found = {(device, at): cells for device, at, *cells in json.loads(node.request(
                "POST", "/v1/sql?time=ns", f"SELECT device, time, {', '.join(TYPES)} FROM {table}")[1])["rows"]}
            assert found == {key: [cells.get(c) for c in TYPES] for key, cells in rows.model.items()}, table
        statements = Statements(rows)
        for _ in range(40):
            compare(node, rows, statements.one())
            count += 1
        number += 1
    print(number, "histories,", count, "statements")
    assert count >= 40


def test_an_absent_cell_is_no_first_value_in_memory_either(node_factory):
    node = node_factory()
    node.sql("CREATE TABLE t (x double, y double)")
    node.sql("INSERT INTO t (time, device, x) VALUES ('2026-01-01T00:00:00Z', 'd', 1)")
    node.sql("INSERT INTO t (time, device, x, y) VALUES ('2026-01-01T00:00:01Z', 'd', 1, 2)")
    for command in ("SELECT 1", "CHECKPOINT"):
        node.sql(command)
        assert node.sql("SELECT first(y), last(y) FROM t") == [[2, 2]]
