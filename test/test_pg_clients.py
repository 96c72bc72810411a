"""The PostgreSQL listener as real drivers use it: JDBC, ODBC; and the protocol itself where no driver goes."""
import json
import os
import socket
import struct
import subprocess

import pytest

from conftest import HOST, ROOT, Node, wait_for
from test_pg import PRESS, PgNode

JDBC = "/usr/share/java/postgresql.jar"


@pytest.fixture
def pg(node_factory):
    return PgNode(node_factory)


@pytest.fixture(name="press", scope="module")
def press_fixture(shared_node_factory):
    """With PRESS in it: one for all that only ask."""
    pg = PgNode(shared_node_factory)
    pg.psql(text=PRESS)
    return pg


@pytest.fixture(name="classes", scope="module")
def classes_fixture(tmp_path_factory):
    """The folder of the compiled Java program."""
    folder = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-cp", JDBC, "-d", str(folder), os.path.join(ROOT, "test", "pg", "Jdbc.java")], check=True, timeout=120)
    return folder


def jdbc(pg, classes, *parts):
    """{claim: what the Java program found}."""
    done = subprocess.run(["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", f"{JDBC}:{classes}", "Jdbc", f"jdbc:postgresql://{HOST}:{pg.port}/default", "admin",
                           Node.PASSWORD, ",".join(parts)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def test_jdbc_prepares_fetches_in_pieces_and_copies(pg, classes):
    lines = "\n".join(f"m,device=d v={i}i {i}" for i in range(10_000))
    assert pg.node.request("POST", "/write?precision=ms", lines) == (204, "")
    found = jdbc(pg, classes, "types", "fetch", "copy")
    assert found == {
        "inserted": "12",
        "read": "false -11 18446744073709551615 11.5 t'11ü [0, 11, -1] 1970-01-01T00:00:00.011Z 2023-11-14T22:13:31Z",
        "text and binary agree": "true",
        "counted": "7;",
        "parameters": "float8 int4",
        "fetched": "10000 49995000",
        "refused": "42703",
        "aborted": "25P02",
        "several": "true",
        "copied in": "2",
        "copied out": "2 1;2;",
    }


def test_jdbc_finds_tables_and_columns(pg, classes):
    pg.psql("-c", "CREATE TABLE j (b bool, i bigint, t text)")
    assert jdbc(pg, classes, "catalogue") == {"product": "PostgreSQL 14", "tables": "j ", "schemas": "information_schema pg_catalog public sys ",
                                               "columns": "time timestamptz,device text,b bool,i int8,t text,"}


def test_jdbc_executes_what_was_prepared_as_sql(pg, classes):
    assert pg.node.request("POST", "/write?precision=ms", "\n".join(f"m,device=d v={i}i {i}" for i in range(9))) == (204, "")
    assert jdbc(pg, classes, "prepared") == {"executed": "true", "gone": "26000", "refused": "42703", "goes on": "1;"}


def test_jdbc_answers_every_question_about_the_database(pg, classes):
    pg.psql("-c", "CREATE TABLE j (b bool, i bigint, t text)", "-c", "CREATE VIEW w AS SELECT i FROM j")
    rights = ("DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE")
    assert jdbc(pg, classes, "metadata") == {
        "asked": "true", "failed": "",
        "keys": "null|public|j|device|1|j_pkey;null|public|j|time|2|j_pkey;",
        "index": "null|public|j|f|null|j_pkey|3|1|device|A|-1|0|null;null|public|j|f|null|j_pkey|3|2|time|A|-1|0|null;",
        "best row": "2|time|93|timestamptz|35|null|6|1;2|device|12|text|2147483647|null|0|1;",
        "imported": "", "types": "true", "functions": "date_bin",
        "privileges": "".join(f"null|public|j|millrace|millrace|{right}|YES;" for right in rights)}


@pytest.fixture(name="of_j", scope="module")
def of_j_fixture(shared_node_factory):
    """With a table j: one for all that only ask."""
    pg = PgNode(shared_node_factory)
    pg.psql("-c", "CREATE TABLE j (b bool)")
    return pg


@pytest.mark.parametrize("text, answer", [
    ("SELECT (information_schema._pg_expandarray(indkey)).x FROM pg_index WHERE indisprimary ORDER BY 1", "1\n2"),
    ("SELECT information_schema._pg_expandarray(indkey) FROM pg_index ORDER BY 1", "{1,2}\n{2,1}"),
    ("SELECT (k).n, (k).x + 1 FROM (SELECT information_schema._pg_expandarray(i.indkey) AS k FROM pg_index i) q ORDER BY 1", "1|3\n2|2"),
    ("SELECT (k).name FROM (SELECT indkey AS k FROM pg_index) q", "no values with fields"),
    ("SELECT information_schema._pg_expandarray('{1,2}')", "takes the column indkey"),
    ("SELECT trim(both '-' from '--a-'), trim(leading from ' b'), trim(trailing 'x' from 'cxx'), trim('  d ')", "a|b|c|d"),
    ("SELECT 6 & 3, 6 | 1, 'n' || 1, true || '!', a[2] & 4, v[0] = 7 FROM (VALUES ('{5,6}', '7 8')) q(a, v)", "2|7|n1|true!|4|t"),
    ("SELECT \"substring\"('abcd', 2), quote_nullable(NULL), quote_nullable('a''b'), parse_ident('Public.\"A b\"')",
     "bcd|NULL|'a''b'|{public,\"A b\"}"),
    ("SELECT string_to_array('a,b', ','), string_to_array(',a, ', ','), string_to_array('', ','), string_to_array('a-b', '')",
     '{a,b}|{"",a," "}|{}|{a-b}'),
    ("SELECT unnest(x) FROM (SELECT '{1}' AS x) q", "unnest in FROM takes any array"),
    ("SELECT generate_series(1, 2)", "generate_series gives many rows: it stands in FROM"),
    ("SELECT parse_ident('a b')", "'a b' is no name such as press, public.press"),
    ('SELECT "case"(true, 1)', 'found "("'),
    ("SELECT sum(pg_catalog.pg_stat_get_numscans(indexrelid)) IS NULL FROM pg_index", "t"),
    ("SELECT count(*) > 20 FROM pg_catalog.pg_get_keywords() WHERE word <> ALL ('{select}'::text[])", "t"),
])
def test_what_catalogue_queries_are_made_of(of_j, text, answer):
    assert answer in of_j.psql("-c", text, check=False)


def test_npgsql_loads_the_types(pg):
    """The query that Npgsql sends when it connects (PostgresDatabaseInfo.cs of version 8), without its comments."""
    rows = pg.rows("""SELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid FROM (
        SELECT typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typrelid, typ.typnotnull, typ.relkind,
            elemtyp.oid AS elemtypoid, elemtyp.typname AS elemtypname, elemcls.relkind AS elemrelkind,
            CASE WHEN elemproc.proname='array_recv' THEN 'a' ELSE elemtyp.typtype END AS elemtyptype, typ.typcategory
        FROM (SELECT typ.oid, typnamespace, typname, typrelid, typnotnull, relkind, typelem AS elemoid,
                CASE WHEN proc.proname='array_recv' THEN 'a' ELSE typ.typtype END AS typtype,
                CASE WHEN proc.proname='array_recv' THEN typ.typelem WHEN typ.typtype='r' THEN rngsubtype
                    WHEN typ.typtype='m' THEN (SELECT rngtypid FROM pg_range WHERE rngmultitypid = typ.oid)
                    WHEN typ.typtype='d' THEN typ.typbasetype END AS elemtypoid, typcategory
            FROM pg_type AS typ LEFT JOIN pg_class AS cls ON (cls.oid = typ.typrelid)
            LEFT JOIN pg_proc AS proc ON proc.oid = typ.typreceive LEFT JOIN pg_range ON (pg_range.rngtypid = typ.oid)) AS typ
        LEFT JOIN pg_type AS elemtyp ON elemtyp.oid = elemtypoid LEFT JOIN pg_class AS elemcls ON (elemcls.oid = elemtyp.typrelid)
        LEFT JOIN pg_proc AS elemproc ON elemproc.oid = elemtyp.typreceive) AS t
        JOIN pg_namespace AS ns ON (ns.oid = typnamespace)
        WHERE typtype IN ('b', 'r', 'm', 'e', 'd') OR (typtype = 'c' AND relkind='c') OR
            (typtype = 'p' AND typname IN ('record', 'void', 'unknown')) OR (typtype = 'a' AND (
                elemtyptype IN ('b', 'r', 'm', 'e', 'd') OR (elemtyptype = 'p' AND elemtypname IN ('record', 'void')) OR
                (elemtyptype = 'c' AND elemrelkind='c')))
        ORDER BY CASE WHEN typtype IN ('b', 'e', 'p') THEN 0 WHEN typtype = 'r' THEN 1 WHEN typtype = 'm' THEN 2
            WHEN typtype = 'c' THEN 3 WHEN typtype = 'd' AND elemtyptype <> 'a' THEN 4 WHEN typtype = 'a' THEN 5
            WHEN typtype = 'd' AND elemtyptype = 'a' THEN 6 END""")
    kinds_of = {row[2]: row[3:] for row in rows}
    assert kinds_of["float8"] == ("b", False, None) and kinds_of["_float8"] == ("a", False, 701) and rows[-1][3] == "a"
    assert pg.rows("SELECT typ.oid, att.attname, att.atttypid FROM pg_type AS typ JOIN pg_namespace AS ns ON (ns.oid = typ.typnamespace) "
                   "JOIN pg_class AS cls ON (cls.oid = typ.typrelid) JOIN pg_attribute AS att ON (att.attrelid = typ.typrelid) "
                   "WHERE (typ.typtype = 'c' AND cls.relkind='c') AND attnum > 0 AND NOT attisdropped ORDER BY typ.oid, att.attnum") == []
    assert pg.rows("SELECT pg_type.oid, enumlabel FROM pg_enum JOIN pg_type ON pg_type.oid=enumtypid ORDER BY oid, enumsortorder") == []


def test_sqlalchemy_finds_the_key(of_j):
    """What SQLAlchemy 1.4 sends for it (dialects/postgresql/base.py), and pandas.read_sql_table through it."""
    assert of_j.rows("SELECT a.attname FROM pg_attribute a JOIN (SELECT unnest(ix.indkey) attnum, generate_subscripts(ix.indkey, 1) ord "
                     "FROM pg_index ix WHERE ix.indrelid = 'j'::regclass AND ix.indisprimary) k ON a.attnum=k.attnum "
                     "WHERE a.attrelid = 'j'::regclass ORDER BY k.ord") == [("device",), ("time",)]


def odbc(pg, **more):
    import pyodbc
    parts = {"DRIVER": "{PostgreSQL Unicode}", "SERVER": HOST, "PORT": pg.port, "DATABASE": "default", "UID": "admin",
             "PWD": Node.PASSWORD, **more}
    return pyodbc.connect(";".join(f"{key}={value}" for key, value in parts.items()), timeout=20)


@pytest.mark.parametrize("fetch", [0, 1])
def test_odbc_reads_and_writes(pg, fetch):
    pg.psql(text=PRESS)
    connection = odbc(pg, UseDeclareFetch=fetch)
    cursor = connection.cursor()
    cursor.execute("SELECT temperature, n, s, ok FROM press WHERE device = ? AND time > ?", "press01", "2026-01-01")
    assert [tuple(row) for row in cursor.fetchall()] == [(1.5, -3, "grün", "1")]
    cursor.execute("INSERT INTO press (device, time, n) VALUES (?, ?, ?)", "p", "2026-11-22 00:00:00", 5)
    connection.commit()
    cursor.execute("SELECT n FROM press WHERE n IS NOT NULL ORDER BY n")
    assert [row[0] for row in cursor.fetchall()] == [-3, 5]
    if not fetch:
        assert [row.table_name for row in cursor.tables(schema="public")] == ["press"]
        assert [row.column_name for row in cursor.columns(table="press")][:3] == ["time", "device", "temperature"]
    connection.close()


class Wire:
    """The protocol by hand; logs in with a token."""

    def __init__(self, pg, options="", token=None):
        self.socket = socket.create_connection((HOST, pg.port), 20)
        self.file = self.socket.makefile("rb")
        body = struct.pack(">I", 196608) + b"user\0token\0database\0default\0" + options.encode() + b"\0"
        self.socket.sendall(struct.pack(">I", len(body) + 4) + body)
        assert self.next() == ("R", struct.pack(">I", 3))
        self.send("p", (token or pg.node.token()).encode() + b"\0")
        self.until_ready()

    @staticmethod
    def message(kind, body=b""):
        return kind.encode() + struct.pack(">I", len(body) + 4) + body

    def send(self, kind, body=b""):
        self.socket.sendall(self.message(kind, body))

    def next(self):
        head = self.file.read(5)
        assert len(head) == 5, "the connection was closed"
        kind, size = struct.unpack(">cI", head)
        return kind.decode(), self.file.read(size - 4)

    def until_ready(self):
        got = []
        while not got or got[-1][0] != "Z":
            got.append(self.next())
        return got


def parse(text, name=b"", *types):
    return Wire.message("P", name + b"\0" + text + b"\0" + struct.pack(f">H{len(types)}I", len(types), *types))


def bind(*texts, portal=b"", statement=b"", binary=0):
    values = b"".join(struct.pack(">I", len(text)) + text for text in texts)
    return Wire.message("B", portal + b"\0" + statement + b"\0" + struct.pack(">HH", 0, len(texts)) + values + struct.pack(">HH", 1, binary))


def execute(limit=0, portal=b""):
    return Wire.message("E", portal + b"\0" + struct.pack(">I", limit))


SYNC = Wire.message("S")


def kinds(messages):
    return "".join(kind for kind, _ in messages)


def test_a_pipeline_is_answered_in_order_and_an_error_skips_to_its_sync(pg):
    pg.psql(text=PRESS)
    wire = Wire(pg)
    good = parse(b"SELECT 1") + bind() + execute()
    wire.socket.sendall(good + good + SYNC + parse(b"SELECT nonsense FROM press") + bind() + execute() + SYNC + good + SYNC)
    assert kinds(wire.until_ready()) == "12DC12DCZ"
    failed = wire.until_ready()
    assert kinds(failed) == "EZ" and b"C42703\0" in failed[0][1]
    assert kinds(wire.until_ready()) == "12DCZ"


def test_a_statement_that_is_too_long_is_refused_and_the_session_goes_on(pg):
    wire = Wire(pg)
    wire.send("Q", b"SELECT '" + b"x" * (3 << 20) + b"'\0")
    failed = wire.until_ready()
    assert kinds(failed) == "EZ" and b"C54000\0" in failed[0][1] and b"3145738 bytes is too long" in failed[0][1], failed
    wire.socket.sendall(parse(b"SELECT '" + b"x" * (3 << 20) + b"'") + bind() + execute() + SYNC)
    assert kinds(wire.until_ready()) == "EZ"
    wire.socket.sendall(parse(b"SELECT $1") + bind(b"x" * (9 << 20)) + execute() + SYNC)
    assert kinds(wire.until_ready()) == "1EZ"
    wire.send("Q", b"SELECT 1\0")
    assert kinds(wire.until_ready()) == "TDCZ"


def test_what_bind_made_is_no_cursor(pg):
    wire = Wire(pg)
    wire.socket.sendall(parse(b"BEGIN") + bind() + execute() + parse(b"SELECT 1", b"s") + bind(portal=b"p", statement=b"s") + SYNC)
    assert kinds(wire.until_ready()) == "12C12Z"
    wire.send("Q", b"FETCH FROM p\0")
    said = wire.until_ready()
    assert kinds(said) == "EZ" and b'cursor "p" does not exist' in said[0][1]


@pytest.mark.parametrize("is_bound", (False, True))
def test_what_was_prepared_runs_under_the_rights_of_now(pg, is_bound):
    def role(*tables):
        document = {"apiVersion": "millrace.io/v1", "kind": "Role", "metadata": {"name": "reader"},
                    "spec": {"rules": [{"verbs": ["query"], "kinds": ["Table"], "names": list(tables)}]}}
        return json.dumps(document)
    pg.psql(text=PRESS)
    roles = "/apis/millrace.io/v1/roles"
    assert pg.node.request("POST", roles, role("press", "other"))[0] == 201
    assert pg.node.cli("user", "add", "viv", "--role", "reader")[0] == 0
    code, said = pg.node.cli("token", "create", "vt", "--user", "viv", "--json")
    assert code == 0, said
    wire = Wire(pg, token=json.loads(said)["token"])
    wire.socket.sendall(parse(b"SELECT n FROM press", b"q") + SYNC + bind(statement=b"q") + execute() + SYNC)
    assert kinds(wire.until_ready() + wire.until_ready()) == "1Z2DDCZ"
    if is_bound:
        wire.socket.sendall(bind(statement=b"q") + Wire.message("H"))
        assert wire.next()[0] == "2"
    document = json.loads(pg.node.request("GET", roles + "/reader")[1])
    document["spec"] = json.loads(role("other"))["spec"]
    assert pg.node.request("PUT", roles + "/reader", json.dumps(document))[0] == 200
    wire.socket.sendall((b"" if is_bound else bind(statement=b"q")) + execute() + SYNC)
    said = dict(wire.until_ready())
    assert "D" not in said and b"C42501\0" in said["E"]


def test_parameters_take_their_types_from_their_places(pg):
    pg.psql(text=PRESS)
    wire = Wire(pg)
    wire.socket.sendall(parse(b"SELECT n + $1, s FROM press WHERE temperature > $2 AND time < $3 AND ok = $4 AND s LIKE $5", b"q")
                        + Wire.message("D", b"Sq\0") + SYNC)
    answer = dict(wire.until_ready())
    assert struct.unpack(">H5I", answer["t"]) == (5, 20, 701, 1184, 16, 25)
    wire.socket.sendall(bind(b"5", b"1", b"2027-01-01", b"t", b"gr%", statement=b"q", binary=1) + execute() + SYNC)
    row = dict(wire.until_ready())["D"]
    assert row == struct.pack(">HIqI", 2, 8, 2, 5) + "grün".encode()
    wire.socket.sendall(parse(b"INSERT INTO press (time, device, u, raw) VALUES ($1, $2, $3, $4)") + Wire.message("D", b"S\0") + SYNC)
    answer = dict(wire.until_ready())
    assert struct.unpack(">H4I", answer["t"]) == (4, 1184, 25, 1700, 17) and "n" in answer


@pytest.mark.parametrize("text, types", [
    (b"SELECT n FROM press ORDER BY n LIMIT $1 OFFSET $2", (20, 20)),
    (b"SELECT percentile(temperature, $1), string_agg(s, $2) FROM press", (701, 25)),
    (b"SELECT sum(n) OVER (ORDER BY time ROWS BETWEEN $1 PRECEDING AND $2 FOLLOWING) FROM press", (20, 20)),
])
def test_parameters_that_must_be_constants_are_described_before_they_are_known(press, text, types):
    """As pgx, asyncpg and tokio-postgres prepare: Parse and Describe of the statement, then Bind."""
    wire = Wire(press)
    wire.socket.sendall(parse(text, b"q") + Wire.message("D", b"Sq\0") + SYNC)
    described = wire.until_ready()
    assert kinds(described) == "1tTZ"
    assert struct.unpack(f">H{len(types)}I", dict(described)["t"]) == (len(types), *types)
    wire.socket.sendall(bind(b"1", b"1", statement=b"q") + execute() + SYNC)
    assert kinds(wire.until_ready()).replace("D", "") == "2CZ"


def test_a_parameter_that_must_be_a_constant_is_no_null(press):
    wire = Wire(press)
    null = Wire.message("B", b"\0\0" + struct.pack(">HHIH", 0, 1, 0xffffffff, 0))
    for text, said in ((b"SELECT percentile(temperature, $1) FROM press", b"percentile wants per cent"),
                       (b"SELECT sum(n) OVER (ORDER BY time ROWS $1 PRECEDING) FROM press", b"a constant that is not negative")):
        wire.socket.sendall(parse(text) + null + execute() + SYNC)
        assert said in dict(wire.until_ready())["E"]
    wire.socket.sendall(parse(b"SELECT n FROM press LIMIT $1") + null + execute() + SYNC)
    assert kinds(wire.until_ready()) == "12DDCZ"


def test_what_changes_rows_says_how_many(pg):
    pg.psql(text=PRESS)
    wire = Wire(pg)
    for text, tag in ((b"INSERT INTO press (device, time, n) SELECT device, time + 1h, 7 FROM press", b"INSERT 0 2"),
                      (b"DELETE FROM press WHERE device = 'press01'", b"DELETE 2"), (b"CHECKPOINT", b"CHECKPOINT"),
                      (b"CREATE TABLE other (v bigint)", b"CREATE TABLE"), (b"DROP TABLE other", b"DROP TABLE")):
        wire.socket.sendall(parse(text) + bind() + Wire.message("D", b"P\0") + execute() + SYNC)
        said = wire.until_ready()
        assert kinds(said) == "12nCZ", said
        assert said[-2][1] == tag + b"\0"


def test_a_portal_with_a_row_limit_is_suspended_and_goes_on(pg):
    lines = "\n".join(f"m,device=d v={i}i {i}" for i in range(5000))
    assert pg.node.request("POST", "/write?precision=ms", lines) == (204, "")
    wire = Wire(pg)
    wire.socket.sendall(parse(b"SELECT v FROM m") + bind() + execute(3) + execute(2000) + execute(0) + SYNC)
    said = wire.until_ready()
    assert kinds(said) == "12DDDs" + "D" * 2000 + "s" + "D" * 2997 + "CZ"
    assert [int(body[6:]) for kind, body in said if kind == "D"] == list(range(5000))
    wire.socket.sendall(execute(1) + SYNC)
    assert b"C34000\0" in wire.until_ready()[0][1], "portals end with the implicit transaction"


def test_what_is_not_the_protocol_is_refused_and_counted(pg):
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"x" * 100, struct.pack(">II", 8, 1), struct.pack(">IIH", 10, 196608, 0)):
        with socket.create_connection((HOST, pg.port), 20) as one:
            one.sendall(garbage)
            assert one.recv(100000)[:1] in (b"E", b"") and one.recv(100) == b""
    wire = Wire(pg)
    wire.send("Q", b"no end")
    assert b"C08P01\0" in wire.next()[1] and wire.file.read() == b""
    status, metrics = pg.node.request("GET", "/metrics")
    assert status == 200 and "\nmillrace_postgres_errors_total 5\n" in metrics and "\nmillrace_postgres_connections 0\n" in metrics


def test_bytes_in_front_of_tls_are_never_taken_for_what_came_inside(pg):
    with socket.create_connection((HOST, pg.port), 20) as one:
        body = struct.pack(">I", 196608) + b"user\0token\0\0"
        one.sendall(struct.pack(">II", 8, 80877103) + struct.pack(">I", len(body) + 4) + body)
        assert one.recv(1) == b"S" and one.recv(1) == b""


def test_many_idle_connections_cost_little(node_factory):
    # The sanitizer keeps what was freed (its quarantine) and adds red zones: without the first, an idle connection is seen to
    # cost 10 to 20 KiB there; a release build takes about 4 KiB.
    pg = PgNode(node_factory, env={"ASAN_OPTIONS": "quarantine_size_mb=0:thread_local_quarantine_size_kb=0:malloc_context_size=1"})

    def resident_kib():
        with open(f"/proc/{pg.node.process.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))

    def open_all():
        wires = [Wire(pg) for _ in range(64)]
        for wire in wires:
            wire.send("Q", b"SELECT 1\0")
            assert kinds(wire.until_ready()) == "TDCZ"
        return wires

    first = Wire(pg)
    for wire in open_all():  # what the first clients alone cost: code, tables, the allocator's pools
        wire.socket.close()
        wire.file.close()
    before = resident_kib()
    wires = open_all() + open_all()
    assert (resident_kib() - before) / len(wires) < (64 if "asan" in pg.node.millrace else 12), "KiB for each further connection"
    first.send("Q", b"SELECT 1\0")
    assert kinds(first.until_ready()) == "TDCZ"
    for wire in wires:
        wire.socket.close()
        wire.file.close()


def fill(pg, rows):
    for base in range(0, rows, 20_000):
        lines = "\n".join(f"m,device=d{i % 7} v={i}i,s=\"text number {i}\" {i}" for i in range(base, base + 20_000))
        assert pg.node.request("POST", "/write?precision=ms", lines) == (204, "")


def test_a_slow_reader_costs_no_memory_and_no_worker(pg):
    fill(pg, 200_000)
    wire = Wire(pg)
    wire.send("Q", b"SELECT s, device, v, s AS again, s AS third FROM m\0")
    assert wire.next()[0] == "T"
    with open(f"/proc/{pg.node.process.pid}/statm", encoding="ascii") as file:
        before = int(file.read().split()[1])
    others = [Wire(pg) for _ in range(4)]
    for other in others:
        other.send("Q", b"SELECT s, device, v, s AS again, s AS third FROM m\0")
    assert pg.rows("SELECT count(*) FROM m") == [(200_000,)]
    with open(f"/proc/{pg.node.process.pid}/statm", encoding="ascii") as file:
        assert (int(file.read().split()[1]) - before) * 4 < 40_000, "KiB for four answers of about 20 MB each"
    assert kinds(wire.until_ready()) == "D" * 200_000 + "CZ"


def test_clients_that_vanish_in_the_middle_leave_nothing_behind(pg):
    fill(pg, 40_000)
    for statement in (b"SELECT * FROM m a, m b WHERE a.v < b.v\0", b"SELECT * FROM m\0", b"COPY m (device, v) FROM STDIN\0",
                      b"COPY m TO STDOUT\0"):
        wire = Wire(pg)
        wire.send("Q", statement)
        if b"FROM STDIN" in statement:
            assert wire.next()[0] == "G"
            wire.send("d", b"d1\t1\n" * 100_000)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wire.file.close()
        wire.socket.close()
    wait_for(lambda: "\nmillrace_postgres_connections 0\n" in pg.node.request("GET", "/metrics")[1], 20, "connections are left")
    assert pg.rows("SELECT count(*) FROM m WHERE device = 'd0'") == [(5715,)]


def test_a_node_stops_with_clients_at_work(pg):
    fill(pg, 40_000)
    wires = [Wire(pg) for _ in range(4)]
    wires[0].send("Q", b"SELECT count(*) FROM m a, m b, m c WHERE a.v < b.v\0")
    wires[1].send("Q", b"SELECT * FROM m a, m b\0")
    wires[2].send("Q", b"COPY m (device, v) FROM STDIN\0")
    wires[2].send("d", b"d1\t1\n" * 100_000)
    assert pg.node.stop() == 0, pg.node.log()
    assert b"57P01" in wires[3].file.read()
