"""The same statements over the same rows give the same answers in a whole node and in SQLite.

Rows reach the node as line protocol, INSERT and INSERT … SELECT; some come late, twice, or with some of their columns only; some
are deleted. CHECKPOINTs between them and a restart spread them over head and parts. SQLite gets the same history as upserts by
(device, time). Then statements of the common subset are generated and compared; writing goes on between them.

All is drawn from a seed, which is printed; MILLRACE_TEST_SEED replays it. MILLRACE_DIFFERENTIAL_SECONDS makes the run longer.
Where the two differ on purpose (`/` of integers, integer overflow, booleans, NULLs in ORDER BY), the generator avoids it or the
comparison says so."""
import json
import os
import random
import sqlite3
import time

import pytest

SECONDS = int(os.environ.get("MILLRACE_DIFFERENTIAL_SECONDS", "20"))
WORLD_STATEMENTS = 400  # then a new node with other rows
START = 1_700_000_000
STEP_NS = 250_000_000
# a, b, x, y few values; w becomes a double one day; r all bits random; k long and short texts; c grows; z comes later
COLUMNS = {"id": "bigint", "a": "bigint", "b": "bigint", "x": "double", "y": "double", "s": "text", "f": "bool", "w": "bigint", "r": "double",
           "k": "text", "c": "bigint"}
NULLABLE, NUMBERS = "abxysfwrkc", "abxyw"
TEXTS = ("", "it's", "größer", "温度", "a\\b", "-" * 300, "0", "NULL", 'say "hi"')
SPANS = {}  # times a device may have rows at, by table
SMALL, LARGE = ("p", "q"), "t"
COMPARE = ("=", "<>", "<", "<=", ">", ">=")


def rfc3339(ns):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09d}Z"


class Statement:
    """A statement in both spellings: what differs is written as a pair."""

    def __init__(self, ours="", theirs=None):
        self.ours, self.theirs = ours, ours if theirs is None else theirs

    def __add__(self, other):
        other = other if isinstance(other, Statement) else Statement(other)
        return Statement(self.ours + other.ours, self.theirs + other.theirs)

    def __radd__(self, other):
        return Statement(other) + self


def join(separator, parts):
    whole = Statement()
    for number, part in enumerate(parts):
        whole = whole + (separator if number else "") + part
    return whole


def moment(ns):
    return Statement(f"'{rfc3339(ns)}'", str(ns))


def bucket(seconds):
    return Statement(f"time_bucket('{seconds} s', time)", f"(time / {seconds * 10**9}) * {seconds * 10**9}")


# ---- two worlds ----

class World:
    """One node and one SQLite with the same rows."""

    def __init__(self, node, chance):
        self.node, self.chance = node, chance
        self.db = sqlite3.connect(":memory:")
        self.db.execute("PRAGMA case_sensitive_like = ON")
        self.next_id, self.copies, self.history = 0, 0, []
        SPANS.update(p=40, q=40, t=chance.choice((300, 1500, 3000, 9000)))
        self.wide, self.has_z = set(), set()  # tables whose w is a double; that have z
        for table in SPANS:
            node.sql(f"CREATE TABLE {table} (" + ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items()) + ")")
            self.db.execute(f"CREATE TABLE {table} (device TEXT, time INTEGER, id INTEGER, a INTEGER, b INTEGER, x REAL, y REAL, "
                            "s TEXT, f INTEGER, w NUMERIC, r REAL, k TEXT, c INTEGER, PRIMARY KEY (device, time))")

    def do(self, text):
        """A statement that changes something at the node."""
        self.history.append(text)
        self.node.sql(text)

    def row(self, at=None, table=None):
        """A new row: (device, time, {column: value}), NULL being None."""
        chance = self.chance
        at = at if at is not None else chance.randrange(SPANS[table])
        self.next_id += 1
        values = {"id": self.next_id}
        for name in "ab":
            values[name] = chance.randrange(-2, 10)
        for name in "xy":
            values[name] = chance.randrange(-20, 80) / 4
        values["s"] = f"t{chance.randrange(15)}"
        values["f"] = chance.random() < 0.5
        values["w"] = chance.randrange(-5, 40) + (0.5 if table in self.wide and chance.random() < 0.5 else 0)
        values["r"] = chance.choice((chance.uniform(-1e6, 1e6), chance.gauss(0, 1e-3), 1e300 * chance.random()))
        values["k"] = chance.choice(TEXTS) if chance.random() < 0.7 else f"{chance.getrandbits(64):x}"
        values["c"] = self.next_id * 1000 + chance.randrange(900)
        if table in self.has_z:
            values["z"] = chance.randrange(100)
        for name in NULLABLE:
            if chance.random() < 0.15:
                values[name] = None
        if table in self.wide and values["w"] is not None:
            values["w"] = float(values["w"])
        return f"d{chance.randrange(4)}", START * 10**9 + at * STEP_NS, values

    def rows(self, table, count):
        """New rows: mostly in order behind each other, or anywhere, so that they come late and again."""
        if self.chance.random() < 0.5:
            return [self.row(table=table) for _ in range(count)]
        first = self.chance.randrange(SPANS[table])
        return [self.row(min(first + i // 4, SPANS[table] - 1), table) for i in range(count)]

    def upsert(self, table, rows):
        for device, ns, values in rows:
            names = ", ".join(values)
            # nothing but the row's key changes nothing
            change = "UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in values)
            self.db.execute(f"INSERT INTO {table} (device, time, {names}) VALUES (?, ?{', ?' * len(values)}) "
                            f"ON CONFLICT (device, time) DO {change}", (device, ns, *values.values()))

    def write_lines(self, table, count):
        """Line protocol: what is NULL is left out, and so is now and then another column."""
        rows = []
        for device, ns, values in self.rows(table, count):
            left_out = self.chance.sample(list(values)[1:], self.chance.choice((0, 0, 0, 3)))
            rows.append((device, ns, {name: v for name, v in values.items() if v is not None and name not in left_out}))
        escaped = lambda v: '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"'
        show = {int: "{}i".format, float: "{!r}".format, str: escaped, bool: lambda v: "t" if v else "f"}
        text = "\n".join(f"{table},device={device} " + ",".join(f"{name}={show[type(v)](v)}" for name, v in values.items()) + f" {ns}"
                         for device, ns, values in rows)
        self.history.append(text)
        status, said = self.node.request("POST", "/write", text)
        assert status == 204, said
        self.upsert(table, rows)

    def insert(self, table, count):
        rows = self.rows(table, min(count, 1000))  # more cells than that are too much for a statement's memory
        show = {int: str, float: repr, str: lambda v: "'" + v.replace("'", "''") + "'", bool: str, type(None): lambda v: "NULL"}
        cells = ", ".join(f"('{rfc3339(ns)}', '{device}', " + ", ".join(show[type(v)](v) for v in values.values()) + ")"
                          for device, ns, values in rows)
        self.do(f"INSERT INTO {table} (time, device, {', '.join(rows[0][2])}) VALUES {cells}")
        self.upsert(table, rows)

    def insert_select(self, table, _count):
        """Rows of one table into another, moved in time."""
        source, names = self.chance.choice("pqt"), ("id", *self.chance.sample("abxysfrkc", 3))
        where = Grammar(self.chance, source).condition(2)
        move = self.chance.choice((0, 1, 1000))
        time_of = Statement(f"time + {move}s", f"time + {move * 10**9}")
        if self.copies == 40:
            return
        self.copies += 1  # a sum of different powers of two is no other such sum: ids stay unique
        text = (f"INSERT INTO {table} (time, device, {', '.join(names)}) SELECT " + time_of
                + f", device, id + {10**6 * 2**self.copies}, {', '.join(names[1:])} FROM {source} WHERE " + where)
        select = text.theirs.split(") ", 1)[1]
        try:
            rows = self.db.execute(select).fetchall()
        except (sqlite3.OperationalError, OverflowError):
            return
        self.history.append(text.ours)
        status, said = self.node.request("POST", "/v1/sql", text.ours)
        if status != 200:  # an overflow, before a row is written: the rows are fewer than those of a batch
            assert "RANGE" in said, f"{text.ours}: {said}"
            return
        self.upsert(table, [(row[1], row[0], dict(zip(names, row[2:]))) for row in rows])

    def delete(self, table, _count):
        chance, grammar = self.chance, Grammar(self.chance, table)
        if chance.random() < 0.7:
            where = grammar.time_range(0.2) + (f" AND device = 'd{chance.randrange(4)}'" if chance.random() < 0.6 else "")
        else:
            where = grammar.pick(f"a = {chance.randrange(-2, 10)}", f"id % {chance.randrange(3, 9)} = 0", f"s LIKE '%{chance.randrange(9)}'") + \
                " AND " + grammar.simple(table)
        self.do(f"DELETE FROM {table} WHERE " + where.ours)
        self.db.execute(f"DELETE FROM {table} WHERE " + where.theirs)

    def alter(self, table):
        """A column more, or one of another type, on a table with rows."""
        if table in self.has_z:
            self.do(f"ALTER TABLE {table} ALTER COLUMN w TYPE double")
            self.wide.add(table)
        else:
            self.do(f"ALTER TABLE {table} ADD COLUMN z bigint")
            self.db.execute(f"ALTER TABLE {table} ADD COLUMN z INTEGER")
            self.has_z.add(table)

    def change(self):
        """One step of the history."""
        chance = self.chance
        table = chance.choice("pqttt")
        if chance.random() < 0.04 and table not in self.wide:
            self.alter(table)
        count = chance.randrange(1, 12) if table in SMALL else chance.choice((1, 5, 200, 1000, 3000))
        kinds = (self.write_lines, self.write_lines, self.write_lines, self.insert, self.insert, self.insert_select, self.delete)
        chance.choice(kinds)(table, count)
        if chance.random() < 0.35:
            self.do("VACUUM" if chance.random() < 0.2 else "CHECKPOINT")

    def ours(self, text):
        """(rows, None), or (None, error's code)."""
        status, answer = self.node.request("POST", "/v1/sql?time=ns", text)
        assert status in (200, 400, 422), f"{text}: {status} {answer}"
        answer = json.loads(answer)
        return (answer["rows"], None) if status == 200 else (None, answer["error"])


# ---- statements ----

class Grammar:
    """Expressions over the columns of one table, written with `prefix`."""

    def __init__(self, chance, table, prefix=""):
        self.chance, self.table, self.prefix = chance, table, prefix

    def pick(self, *choices):
        chosen = self.chance.choice(choices)
        return chosen() if callable(chosen) else chosen

    def maybe(self, text, chance=0.5):
        return text if self.chance.random() < chance else ""

    def column(self, names=NUMBERS):
        return self.prefix + self.chance.choice(names)

    def digit(self, most=10):
        return str(self.chance.randrange(most))

    def number(self, depth):
        deeper = lambda: self.number(depth - 1)
        if depth <= 0:
            return Statement(self.pick(self.column, self.column, self.digit, f"{self.digit()}.5"))
        return self.pick(
            lambda: Statement(self.column()), lambda: Statement(self.digit()),
            lambda: "(" + deeper() + f" {self.chance.choice('+-*')} " + deeper() + ")",
            lambda: "(" + deeper() + f" {self.chance.choice('+-*')} " + deeper() + ")",
            lambda: "abs(" + deeper() + ")", lambda: "(- " + deeper() + ")",
            lambda: "coalesce(" + deeper() + ", " + deeper() + ")",
            lambda: "nullif(" + deeper() + f", {self.digit()})",
            lambda: "CASE WHEN " + self.condition(depth - 1) + " THEN " + deeper() + self.maybe(" ELSE ", 1) + deeper() + " END",
            lambda: Statement(f"CASE {self.prefix}a WHEN {self.digit()} THEN {self.prefix}b WHEN {self.digit()} THEN 7 END"),
            lambda: Statement(f"({self.prefix}{self.chance.choice('ab')} {self.chance.choice('&|')} {self.digit()})"),
            lambda: Statement(f"({self.prefix}{self.chance.choice('ab')} % {1 + self.chance.randrange(5)})"),
            lambda: Statement(f"length({self.prefix}s)"))

    def text(self):
        s = self.prefix + "s"
        return self.pick(s, s, f"upper({s})", f"substr({s}, 2)", f"{s} || '-' || {self.prefix}id", f"replace({s}, 't1', 'u')",
                         f"coalesce({s}, 'none')", f"CASE WHEN {self.prefix}f THEN {s} ELSE 'no' END", f"trim({s}, 't')", f"{self.prefix}k",
                         f"length({self.prefix}k)", f"substr({self.prefix}k, 2, 3)", f"nullif({s}, 't1')", f"ltrim({self.prefix}k, '-i')")

    def condition(self, depth):
        deeper = lambda: self.condition(depth - 1)
        simple = (lambda: self.number(depth - 1) + f" {self.chance.choice(COMPARE)} " + self.number(depth - 1),
                  lambda: Statement(f"{self.prefix}s {self.chance.choice(COMPARE)} 't{self.digit(16)}'"),
                  lambda: Statement(f"{self.column(NULLABLE)} IS {self.maybe('NOT ')}NULL"),
                  lambda: Statement(f"{self.prefix}k {self.chance.choice(COMPARE)} '{self.pick('', '0', 'it', '8', '温度', 'größer')}'"),
                  lambda: Statement(f"{self.prefix}r {self.pick('<', '>', '<=', '>=')} {self.pick('0', '1e-4', '-0.001', '12345.6', '1e299')}"),
                  lambda: Statement(f"{self.prefix}c {self.pick('<', '>', 'BETWEEN 50000 AND')} {self.digit(2000)}000"),
                  self.pair_in, self.hour,
                  lambda: Statement(f"{self.column('ab')} {self.maybe('NOT ')}IN ({self.digit()}, {self.digit()}, "
                                    f"{self.pick('3', '3', '3', 'NULL')})"),
                  lambda: Statement(self.pick(f"{self.prefix}f", f"NOT {self.prefix}f", f"{self.prefix}f IS TRUE",
                                              f"{self.prefix}f IS NOT FALSE", f"{self.prefix}f = true")),
                  lambda: Statement(f"{self.prefix}device {self.chance.choice(('=', '<>', '>'))} 'd{self.digit(5)}'"),
                  lambda: self.time_range(0.5))
        if depth <= 0:
            return self.pick(*simple)
        return self.pick(
            *simple,
            lambda: "(" + deeper() + " AND " + deeper() + ")", lambda: "(" + deeper() + " OR " + deeper() + ")",
            lambda: "NOT (" + deeper() + ")",
            lambda: self.number(depth - 1) + f" {self.maybe('NOT ')}BETWEEN {self.digit(5)} AND {self.digit(20)}",
            lambda: Statement(f"{self.prefix}s {self.maybe('NOT ')}LIKE '{self.pick('%', 't', '_')}{self.digit()}{self.maybe('%')}'"),
            lambda: Statement(f"{self.column('abx')} IS {self.maybe('NOT ')}DISTINCT FROM {self.column('abx')}",)
            if sqlite3.sqlite_version_info >= (3, 39) else deeper())

    def pair_in(self):
        left, first, second = f"({self.prefix}a, {self.prefix}b) IN ", f"({self.digit()}, 2)", f"(3, {self.digit()})"
        return Statement(f"{left}({first}, {second})", f"{left}(VALUES {first}, {second})")

    def hour(self):
        """Parts of the time."""
        name, of = self.prefix + "time", self.chance.choice("HMS")
        part = {"H": "hour", "M": "minute", "S": "second"}[of]
        seconds = Statement(f"extract({part} FROM {name})", f"CAST(strftime('%{of}', {name} / 1000000000, 'unixepoch') AS INTEGER)")
        if of == "S":
            seconds = Statement(f"floor({seconds.ours})", seconds.theirs)
        return seconds + f" {self.chance.choice(COMPARE)} {self.chance.randrange(60)}"

    def time_range(self, width):
        """time between two moments, of which one may be missing; about `width` of all times."""
        span = SPANS[self.table]
        first = self.chance.randrange(-5, span)
        last = first + int(span * width * self.chance.random())
        at = lambda step: moment(START * 10**9 + step * STEP_NS)
        time_name = self.prefix + "time"
        return self.pick(lambda: f"{time_name} >= " + at(first) + f" AND {time_name} < " + at(last),
                         lambda: f"{time_name} BETWEEN " + at(first) + " AND " + at(last),
                         lambda: f"{time_name} > " + at(first), lambda: f"{time_name} <= " + at(last))

    def simple(self, table):
        prefix = table + "." if self.prefix or table != self.table else ""
        grammar = Grammar(self.chance, table, prefix)
        return self.pick(lambda: Statement(f"{prefix}s {self.chance.choice(COMPARE)} 't{self.digit(15)}'"),
                         lambda: Statement(f"{grammar.column('abxs')} IS {self.maybe('NOT ')}NULL"),
                         lambda: Statement(f"{grammar.column()} IN ({self.digit()}, {self.digit()})"),
                         lambda: Statement(f"{grammar.column()} {self.chance.choice(COMPARE)} {self.digit()}"),
                         lambda: grammar.time_range(0.5))

    def aggregate(self, is_number=False):
        if not is_number and self.chance.random() < 0.4:  # whole columns: what statistics of blocks answer
            if self.chance.random() < 0.4:
                return Statement(f"{self.chance.choice(('count', 'min', 'max'))}({self.prefix}{self.chance.choice('rkcsfw')})"
                                 .replace("min(f)", "count(f)").replace("max(f)", "count(f)"))
            return Statement(f"{self.chance.choice(('count', 'sum', 'avg', 'min', 'max'))}({self.column()})")
        name = self.chance.choice(("count(", "sum(", "avg(", "min(", "max(", "count(DISTINCT ", "sum(DISTINCT ", "count(*"))
        if name == "count(*":
            return Statement("count(*)")
        inner = name + self.number(2) + ")"
        return inner + (" FILTER (WHERE " + self.condition(1) + ")" if self.chance.random() < 0.15 else "")

    def where(self, chance=0.75):
        return (" WHERE " + self.condition(3)) if self.chance.random() < chance else Statement()


def order_by(chance, name):
    return f"{name} {chance.choice(('NULLS FIRST', 'DESC NULLS LAST', 'ASC NULLS LAST', 'DESC NULLS FIRST'))}"


def gen_rows(chance):
    g = Grammar(chance, "t")
    return "SELECT device, time, id, " + g.number(4) + f" AS n, {g.text()} FROM t" + g.where() + f" ORDER BY id LIMIT {chance.randrange(200)}"


def gen_newest(chance):
    g = Grammar(chance, chance.choice("tp"))
    name = chance.choice(("time", "a", "x", "s", "f", "device"))
    more = "" if name == "time" and chance.random() < 0.5 else ", id"
    device = Statement(f" WHERE device = 'd{chance.randrange(4)}'") if not more else g.where()
    return (f"SELECT time, id, a, x, s, f FROM {g.table}" + device + f" ORDER BY {order_by(chance, name)}{more} "
            f"LIMIT {chance.randrange(40)}" + g.maybe(f" OFFSET {chance.randrange(30)}"))


def gen_groups(chance):
    g = Grammar(chance, chance.choice("ttp"))
    key = g.pick("s", "a", "device", "a + b", "x", "f", "device, f", "device, a")
    name = key if "," not in key else key.split(",", maxsplit=1)[0]
    return (f"SELECT {name} AS k, " + g.aggregate() + ", " + g.aggregate() + f" FROM {g.table}" + g.where() + f" GROUP BY {key}"
            + g.maybe(Statement(f" HAVING count(*) > {chance.randrange(20)}") if chance.random() < 0.7 else f" HAVING sum({g.column()}) > 3", 0.4))


def gen_buckets(chance):
    """Windows of time, in the three spellings."""
    g = Grammar(chance, chance.choice("ttp"))
    seconds = chance.choice((1, 5, 10, 60, 600))
    of_device = chance.random() < 0.6
    where, aggregates = g.where(0.6), join(", ", [g.aggregate() for _ in range(3)])
    keys, device = bucket(seconds), "device, " if of_device else ""
    theirs = f"SELECT {device}{keys.theirs}, {aggregates.theirs} FROM {g.table}{where.theirs} GROUP BY {device}{keys.theirs}"
    if chance.random() < 0.5:
        partition = " PARTITION BY device" if of_device else ""
        return Statement(f"SELECT {device}window_start, {aggregates.ours} FROM {g.table}{where.ours}{partition} WINDOW TUMBLE({seconds}s)", theirs)
    return Statement(f"SELECT {device}{keys.ours}, {aggregates.ours} FROM {g.table}{where.ours} GROUP BY {device}{keys.ours}", theirs)


def gen_total(chance):
    g = Grammar(chance, chance.choice("ttp"))
    return "SELECT " + join(", ", [g.aggregate() for _ in range(chance.randrange(1, 4))]) + f" FROM {g.table}" + g.where()


def gen_distinct(chance):
    g = Grammar(chance, chance.choice("tp"))
    return f"SELECT DISTINCT {g.pick('s, a', 'device', 'f', 'b, f', 'x')} FROM {g.table}" + g.where()


def gen_join(chance):
    g = Grammar(chance, "p", "p.")
    condition = g.pick(f"p.s = q.s", f"p.time = q.time AND p.device = q.device", f"p.a = q.b",
                       f"p.{g.chance.choice('abx')} {chance.choice(('=', '=', '<', '>='))} q.{g.chance.choice('abx')}")
    more = " AND " + g.simple(chance.choice("pq")) if chance.random() < 0.3 else Statement()
    kind = g.pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
    head = f"SELECT p.id, p.a, p.s, q.id, q.x, q.f{g.maybe(', p.a + q.b', 0.3)} FROM p {kind} q ON {condition}" + more
    if chance.random() < 0.3:
        head = head + f" {g.pick('JOIN', 'LEFT JOIN')} p AS r ON r.id = {chance.choice('pq')}.{chance.choice(('id', 'a'))}"
    return head + (" WHERE " + g.simple(chance.choice("pq")) if chance.random() < 0.5 else "")


def gen_using(chance):
    column = chance.choice(("a", "s", "b", "device, time", "f"))
    kind = chance.choice(("JOIN", "LEFT JOIN", "FULL JOIN"))
    return Statement(f"SELECT {column.split(',', maxsplit=1)[0]}, p.id, q.id FROM p {kind} q USING ({column})")


def gen_derived(chance):
    g = Grammar(chance, "q")
    key = chance.choice("asbf")
    inner = (f"SELECT {key} AS k, " + g.aggregate(True) + " AS n FROM q" + g.where(0.5) + f" GROUP BY {key}" if chance.random() < 0.5
             else f"SELECT {g.maybe('DISTINCT ')}{key} AS k, id + b AS n FROM q" + g.where(0.5))
    tail = (f" {g.pick('JOIN', 'LEFT JOIN')} p ON d.k = p.{key}" + g.maybe(f" WHERE d.n {g.pick('>', '<=')} {g.digit()}"))
    if chance.random() < 0.5:
        return "WITH d AS (" + inner + ") SELECT d.k, d.n, p.id FROM d" + tail
    return "SELECT d.k, d.n, p.id FROM (" + inner + ") AS d" + tail


def gen_chain(chance):
    """Several queries of WITH, one over the other, over the large table."""
    g = Grammar(chance, "t")
    return ("WITH one AS (SELECT device, time, id, a, x, s FROM t" + g.where() + "), two AS (SELECT device, a, count(*) AS n, sum(x) AS sx "
            f"FROM one GROUP BY device, a) SELECT two.device, max(n), min(sx), count(*) FROM two{g.maybe(' WHERE n > 2')} GROUP BY two.device"
            + g.maybe(" UNION ALL SELECT device, 0, 0, count(*) FROM one GROUP BY device"))


def gen_set(chance):
    g = Grammar(chance, "p")
    columns, operation = g.pick("a, s", "b", "x", "s, a", "f, device"), g.pick("UNION ALL", "UNION", "EXCEPT", "INTERSECT")
    whole = f"SELECT {columns} FROM p WHERE " + g.simple("p") + f" {operation} SELECT {columns} FROM q WHERE " + g.simple("q")
    if chance.random() < 0.3:
        whole = whole + f" {operation} SELECT {columns} FROM q WHERE q.a > 3"
    if "," not in columns and chance.random() < 0.4:
        whole = f"SELECT {columns}, count(*) FROM (" + whole + f") AS u WHERE {columns} > 1 GROUP BY {columns}"
    return whole


def gen_subquery(chance):
    g, q = Grammar(chance, "p", "p."), Grammar(chance, "q", "q.")
    return g.pick(
        lambda: Statement(f"SELECT id, (SELECT {g.pick('count(*)', 'max(q.x)', 'sum(q.b)', 'min(q.s)')} FROM q WHERE q.a = p.a) FROM p"),
        lambda: f"SELECT id FROM p WHERE {g.maybe('NOT ')}EXISTS (SELECT 1 FROM q WHERE q.s = p.s AND " + q.simple("q") + ")",
        lambda: f"SELECT id, a FROM p WHERE a {g.maybe('NOT ')}IN (SELECT b FROM q WHERE " + q.simple("q") + ")",
        lambda: Statement(f"SELECT id FROM p WHERE b {g.maybe('NOT ')}IN (SELECT q.b FROM q WHERE q.a = p.a)"),
        lambda: "SELECT id FROM p WHERE x > (SELECT avg(x) FROM q WHERE " + q.simple("q") + ")",
        lambda: "SELECT id, time FROM t WHERE time >= (SELECT max(time) FROM p WHERE " + g.simple("p") + ") ORDER BY id LIMIT 50",
        lambda: Statement("SELECT s, count(*), (SELECT count(*) FROM q WHERE q.s = p.s) FROM p GROUP BY s"),
        lambda: "SELECT device, count(*) FROM t WHERE device IN (SELECT device FROM p WHERE " + g.simple("p") + ") GROUP BY device")


def gen_over(chance):
    """Ordered by id last, so that there is one answer. SQLite 3.40 forgets FILTER for min and max over moving frames."""
    functions = ("row_number()", "rank()", "dense_rank()", "ntile(3)", "lag(a)", "lead(x, 2, 7)", "percent_rank()", "cume_dist()", "count(*)",
                 "sum(a)", "avg(x)", "min(b)", "max(s)", "first_value(a)", "last_value(s)", "nth_value(b, 2)", "count(f)", "min(x)")
    bounds = ("UNBOUNDED PRECEDING", "3 PRECEDING", "1 PRECEDING", "CURRENT ROW", "1 FOLLOWING", "4 FOLLOWING", "UNBOUNDED FOLLOWING")
    g = Grammar(chance, "p")
    calls = []
    for _ in range(chance.randrange(1, 4)):
        first = chance.randrange(6)
        last = max(1, chance.randrange(first, 7) if first > 3 else chance.randrange(3, 7))
        keys = f"ORDER BY {order_by(chance, chance.choice('axs'))}, id {chance.choice(('ROWS', 'GROUPS'))}"
        if chance.random() < 0.3:
            keys = f"ORDER BY id {g.maybe('DESC ')}RANGE"
        calls.append(f"{chance.choice(functions)} OVER ({g.maybe('PARTITION BY ' + g.pick('s', 'a', 'device', 'f') + ' ')}{keys} "
                     f"BETWEEN {bounds[first]} AND {bounds[last]})")
    return f"SELECT id, {', '.join(calls)} FROM p" + (" WHERE " + g.simple("p") if chance.random() < 0.3 else "")


def gen_over_time(chance):
    """By device and time, in the order in which the rows lie."""
    g = Grammar(chance, chance.choice("tp"))
    function = g.pick("lag(a)", "lead(x)", "row_number()", "sum(a)", "avg(x)", "count(b)", "first_value(s)", "max(x)")
    frame = "" if function[:3] in ("lag", "lea", "row") else g.maybe(f" ROWS BETWEEN {chance.randrange(9)} PRECEDING AND CURRENT ROW")
    return (f"SELECT id, v FROM (SELECT id, {function} OVER (PARTITION BY device ORDER BY time{frame}) AS v FROM {g.table}" + g.where(0.5)
            + f") AS w ORDER BY id LIMIT {chance.randrange(300)}")


def gen_ends(chance):
    """The rows at the ends of each series."""
    g = Grammar(chance, chance.choice("tp"))
    where = g.time_range(0.6)
    kind, order = chance.choice((("first", "time"), ("last", "time DESC")))
    inner = where.theirs.replace("time ", "i.time ")
    theirs = (f"SELECT device, (SELECT id FROM {g.table} AS i WHERE i.device = o.device AND {inner} ORDER BY i.{order} LIMIT 1), max(time), count(*) "
              f"FROM {g.table} AS o WHERE {where.theirs} GROUP BY device")
    return Statement(f"SELECT device, {kind}(id), max(time), count(*) FROM {g.table} WHERE {where.ours} GROUP BY device", theirs)


def gen_asof(chance):
    g = Grammar(chance, "p")
    compare_by, order = chance.choice(((">=", "DESC"), (">", "DESC"), ("<=", "ASC"), ("<", "ASC")))
    is_left, right = chance.random() < 0.5, chance.choice("qt")
    found = (f"(SELECT {right}.id FROM {right} WHERE {right}.device = p.device AND p.time {compare_by} {right}.time "
             f"ORDER BY {right}.time {order} LIMIT 1)")
    theirs = f"SELECT p.id, {found} FROM p" + ("" if is_left else f" WHERE {found} IS NOT NULL")
    return Statement(f"SELECT p.id, {right}.id FROM p ASOF {'LEFT ' * is_left}JOIN {right} "
                     f"ON p.device = {right}.device AND p.time {compare_by} {right}.time", theirs)


def gen_large_join(chance):
    g = Grammar(chance, "t", "t.")
    on = g.pick("t.device = p.device AND t.time = p.time", "t.s = p.s AND t.a = p.b", "t.k = p.k", "t.id = p.id", "t.device = p.device AND p.a = t.w")
    return (f"SELECT t.device, count(*), sum(t.a + p.b), max(p.s), min(t.c) FROM t {g.pick('JOIN', 'LEFT JOIN')} p ON {on}"
            + g.where(0.6) + " GROUP BY t.device")


def gen_values(chance):
    g = Grammar(chance, "p", "p.")
    rows = [(chance.randrange(9), f"t{chance.randrange(15)}") for _ in range(chance.randrange(1, 6))]
    ours = "(VALUES " + ", ".join(f"({n}, '{s}')" for n, s in rows) + ") AS v(n, u)"
    theirs = "(" + " UNION ALL ".join(f"SELECT {n} AS n, '{s}' AS u" for n, s in rows) + ") AS v"
    return "SELECT v.n, v.u, p.id FROM " + Statement(ours, theirs) + f" {g.pick('JOIN', 'LEFT JOIN')} p ON {g.pick('v.u = p.s', 'v.n = p.a')}" + \
        (" WHERE " + g.simple("p") if chance.random() < 0.4 else "")


def gen_union_ordered(chance):
    g, q = Grammar(chance, "t"), Grammar(chance, "p")
    return ("SELECT id, device, a FROM t WHERE " + g.condition(2) + f" UNION {g.pick('ALL ', '')}SELECT id, device, a FROM p WHERE " + q.condition(2)
            + f" ORDER BY {order_by(chance, 'a')}, id, device LIMIT {chance.randrange(60)}")


def gen_wide(chance):
    """All bits of all columns."""
    g = Grammar(chance, chance.choice("ttpq"))
    return f"SELECT device, time, id, w, r, k, c, s, f FROM {g.table}" + g.where(1) + f" ORDER BY c NULLS LAST, id LIMIT {chance.randrange(300)}"


GENERATORS = (gen_ends, gen_asof, gen_large_join, gen_large_join, gen_values, gen_union_ordered, gen_wide,
              gen_rows, gen_newest, gen_newest, gen_groups, gen_groups, gen_buckets, gen_buckets, gen_total, gen_total, gen_distinct, gen_join,
              gen_join, gen_using, gen_derived, gen_chain, gen_set, gen_subquery, gen_subquery, gen_over, gen_over, gen_over_time)


# ---- comparing ----

def cell(value):
    """Numbers to ten significant digits, large whole ones to the last; SQLite has 1 and 0 for booleans."""
    if isinstance(value, int) and abs(value) >= 10**10:
        return str(value)
    if isinstance(value, (bool, int, float)):
        return f"{float(value) + 0.0:.10g}" if value else "0"
    return "NULL" if value is None else str(value)


def shown(rows, is_ordered):
    lines = ["|".join(map(cell, row)) for row in rows]
    return lines if is_ordered else sorted(lines)


def outside_brackets(text):
    depth, out = 0, []
    for character in text:
        depth += (character == "(") - (character == ")")
        out.append(character if depth == 0 else "")
    return "".join(out)


def compare(world, statement):
    """True when both have answered; a difference fails the test."""
    statement = Statement() + statement
    try:
        theirs = world.db.execute(statement.theirs).fetchall()
    except (sqlite3.OperationalError, OverflowError) as error:  # sum() overflows there
        assert "overflow" in str(error) or "too large" in str(error), f"{statement.theirs}: {error}"
        return False
    ours, error = world.ours(statement.ours)
    if error:  # integers overflow here, and become REAL there
        assert error["code"] == "RANGE" and "range" in error["message"] or "overflow" in error["message"], f"{statement.ours}: {error}"
        return False
    is_ordered = "ORDER BY" in outside_brackets(statement.ours)
    left, right = shown(ours, is_ordered), shown(theirs, is_ordered)
    if left == right:
        return True
    first = next(i for i in range(max(len(left), len(right))) if i >= len(left) or i >= len(right) or left[i] != right[i])
    pytest.fail(f"after {len(world.history)} changes:\n{statement.ours}\n{statement.theirs}\n{len(left)} and {len(right)} rows; first difference, "
                f"row {first}:\nmillrace: {left[first:first + 3]}\nsqlite:   {right[first:first + 3]}")
    return False


def check_rows(world):
    """What a table holds, whole."""
    for table in SPANS:
        compare(world, Statement(f"SELECT device, time, {', '.join(COLUMNS)} FROM {table} ORDER BY device, time"))


def test_a_node_answers_as_sqlite_does(node_factory):
    seed = int(os.environ.get("MILLRACE_TEST_SEED", "1"))
    print("MILLRACE_TEST_SEED", seed)
    chance, begun, counts = random.Random(seed), time.monotonic(), {"same": 0, "skipped": 0, "changes": 0, "nodes": 0}
    while time.monotonic() < begun + SECONDS:
        world = World(node_factory(), chance)
        counts["nodes"] += 1
        for _ in range(chance.randrange(4, 25)):
            world.change()
        check_rows(world)
        restart_at = chance.randrange(WORLD_STATEMENTS * 2)
        for number in range(WORLD_STATEMENTS):
            if time.monotonic() > begun + SECONDS:
                break
            if number == restart_at:
                world.node.kill9()
                world.node.start()
            if chance.random() < 0.05:
                world.change()
                counts["changes"] += 1
            counts["same" if compare(world, chance.choice(GENERATORS)(chance)) else "skipped"] += 1
        check_rows(world)
        assert world.node.stop() == 0, world.node.log()
    print(counts)
    assert counts["same"] > 20 and counts["skipped"] < counts["same"] / 5, counts  # how many is for the machine to say
