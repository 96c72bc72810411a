"""`millrace export` and Arrow: what goes out comes back the same, at any size, and a file of the asked name is a whole one."""
import csv
import gzip
import io
import json
import os
import subprocess
import time

import arrow_reader

COLUMNS = '"on", n, u, d, s, b, t, w'
TYPES = {"time": "timestamp[ns, UTC]", "device": "utf8", "on": "bool", "n": "int64", "u": "uint64", "d": "float64", "s": "utf8",
         "b": "binary", "t": "timestamp[ns, UTC]", "w": "list<float64>", "label.site": "utf8", "label.s": "utf8"}
ROWS = """time,device,label.site,label.s,on,n,u,d,s,b,t,w
2026-11-21T00:00:00.123456789Z,d1,north,,true,-9223372036854775808,18446744073709551615,0.1,"a ""b"", c
d",\\x00ff,1999-12-31T23:59:59.999999999Z,"[1,2.5,null]"
2026-11-21T00:00:01Z,d1,north,,,,,,,,,
2026-11-21T00:00:02Z,d1,north,,false,9223372036854775807,0,-1e300,"",\\x,1677-09-21T00:12:43.145224192Z,[]
2026-11-21T00:00:00Z,d2/x,,label and column,true,0,1,5e-324,"NULL",\\x41,2262-04-11T23:47:16.854775807Z,[0]
2026-11-21T00:00:01Z,d2/x,,label and column,,1,,,häß 温度,,,
"""


def make(node, name="m"):
    node.sql(f'CREATE TABLE {name} ("on" bool, n bigint, u ubigint, d double, s text, b bytes, t timestamp, w double[])')


def fill(node):
    make(node)
    status, answer = node.request("POST", "/v1/import?table=m", ROWS)
    assert status == 200, answer


def export(node, *arguments, code=0):
    done = subprocess.run([node.millrace, "export", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          check=False, env=dict(os.environ, MILLRACE_DATA=node.data))
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return done.stdout if code == 0 else done.stderr.decode()


def content(node, table):
    return node.sql(f"SELECT time, device, {COLUMNS}, label.site, label.s FROM {table} ORDER BY device, time")


def test_every_type_comes_back_from_csv_and_ndjson_as_it_was(node_factory):
    node = node_factory(settings=["node.path=acme/sz"])
    fill(node)
    was = content(node, "m")
    assert was[0][1] == "acme/sz/d1" and len(was) == 5
    for table, form, way in (("c", "csv", "/v1/import?table=c"), ("j", "ndjson", "/v1/rows?table=j")):
        make(node, table)
        sent = export(node, "--table", "m", "--format", form)
        status, answer = node.request("POST", way, sent)
        assert status == 200 and json.loads(answer)["rows"] == 5, answer
        assert content(node, table) == was
        assert export(node, "--table", table, "--format", form) == sent


def test_the_import_command_finds_out_what_the_export_command_wrote(node_factory, tmp_path):
    node = node_factory()
    fill(node)
    path = tmp_path / "m.csv.gz"
    export(node, "--table", "m", "-o", path)
    assert gzip.open(path).read().count(b"\r\n") == 6
    done = node.cli("import", str(path), "--table", "fresh")
    assert done[0] == 0, done
    types = {row[0]: row[1] for row in node.sql("DESCRIBE fresh")}
    assert {name: types[name] for name in ("on", "n", "u", "d", "t", "b", "w")} == {
        "on": "bool", "n": "bigint", "u": "ubigint", "d": "double", "t": "timestamp", "b": "bytes", "w": "double[]"}
    assert content(node, "fresh") == content(node, "m")


def test_arrow_has_the_types_the_values_and_what_is_missing(node_factory):
    node = node_factory()
    fill(node)
    node.sql("COMMENT ON TABLE m IS 'x'")
    fields, rows, _ = arrow_reader.read(export(node, "--table", "m", "--format", "arrow"))
    assert {field.name: field.type() for field in fields} == TYPES
    by_csv = list(csv.DictReader(io.StringIO(export(node, "--table", "m").decode(), newline="")))
    assert [field.name for field in fields] == list(by_csv[0])
    assert len(rows) == len(by_csv) == 5
    named = [dict(zip(TYPES, row)) for row in rows]
    assert [row["time"] % 10**9 for row in named] == [123456789, 0, 0, 0, 0]
    first = next(row for row in named if row["n"] == -2**63)
    assert (first["on"], first["u"], first["d"], first["s"], first["b"]) == (True, 2**64 - 1, 0.1, 'a "b", c\nd', b"\x00\xff")
    assert first["w"][:2] == [1, 2.5] and first["w"][2] != first["w"][2] and first["t"] == 946684799999999999
    assert (first["label.site"], first["label.s"]) == ("north", None)
    empty = next(row for row in named if row["n"] == 2**63 - 1)
    assert (empty["on"], empty["u"], empty["d"], empty["s"], empty["b"], empty["w"]) == (False, 0, -1e300, "", b"", [])
    gone = [row for row in named if row["on"] is None and row["n"] is None]
    assert len(gone) == 1 and all(gone[0][name] is None for name in ("u", "d", "s", "b", "t", "w"))


def ask_arrow(node, statement):
    """Status and body of a statement; conftest's request reads texts only."""
    done = subprocess.run(["curl", "-s", "-o", "-", "-w", "\n%{http_code}", "-H", "Authorization: Bearer " + node.token(), "-H",
                           "Accept: application/vnd.apache.arrow.stream", "--data-binary", "@-", node.url + "/v1/sql"],
                          input=statement.encode(), stdout=subprocess.PIPE, timeout=60, check=True)
    body, status = done.stdout.rsplit(b"\n", 1)
    return int(status), body


def test_whatever_a_statement_gives_arrow_can_say(node_factory):
    """All verbs, and statements without rows or types."""
    node = node_factory()
    fill(node)
    for statement in ["SELECT NULL AS a, 1 AS b", "SELECT * FROM m WHERE false", "SHOW TABLES", "EXPLAIN SELECT * FROM m", "DESCRIBE m",
                      "SELECT count(*) FROM m", "SELECT device, w, max(n) FROM m GROUP BY device, w", "INSERT INTO m (time, device, n) VALUES (now(), 'd9', 1)",
                      "SELECT n, NULL FROM m UNION ALL SELECT 1, NULL", "SELECT CASE WHEN n > 0 THEN u END, w, b FROM m ORDER BY n"]:
        status, body = ask_arrow(node, statement)
        assert status == 200, (statement, body)
        fields, rows, _ = arrow_reader.read(body)
        status, answer = node.request("POST", "/v1/sql", statement)
        assert [field.name for field in fields] == [column["name"] for column in json.loads(answer)["columns"]]
        if not statement.startswith("EXPLAIN"):
            assert len(rows) == len(json.loads(answer)["rows"]), statement
    assert ask_arrow(node, "SELECT nope FROM m")[0] == 400


def test_bounds_columns_condition_and_statement_choose_the_rows(node_factory, tmp_path):
    node = node_factory()
    node.sql('CREATE TABLE o (v bigint, "a,b" bigint)')
    assert node.request("POST", "/v1/import?table=o", 'time,device,v,"a,b"\n' + "".join(
        f"2026-11-21T00:00:{i:02d}Z,d,{i},{-i}\n" for i in range(60)))[0] == 200
    out = export(node, "--table", "o", "--from", "2026-11-21T00:00:10Z", "--to", "2026-11-21T08:00:20+08:00", "--where", "v % 2 = 0 -- even",
                 "--columns", '"a,b",time')
    assert out.decode().split("\r\n")[:2] == ['time,device,"a,b"', "2026-11-21T00:00:10Z,d,-10"]
    assert out.count(b"\n") == 6
    assert export(node, "--query", "SELECT max(v) AS m FROM o", "--format", "ndjson") == b'{"m":59}\n'
    for part, arguments in (("must be csv", ("--table", "o", "--format", "xml")), ("must be a time", ("--table", "o", "--from", "noon")),
                            ("usage", ("--table", "o", "--query", "SELECT 1")), ("usage", ("o",)), ("no such file", ("--table", "o", "-o", tmp_path / "no" / "x.csv"))):
        assert part in export(node, *arguments, code=1 if part == "must be a time" else 2).lower()
    assert "does not exist" in export(node, "--table", "missing", "-o", tmp_path / "x.csv", code=1)
    assert os.listdir(tmp_path) == ["node0"]


def resident_kib(process):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("VmHWM:")), 0)


def test_more_than_fits_in_memory_goes_through_and_a_cut_export_leaves_no_file(node_factory, tmp_path):
    node = node_factory(settings=["memory=96MiB"])
    rows, path = 120_000, tmp_path / "big.csv"
    filling = "a text that does not repeat itself much and is long enough to fill the answer " * 8
    node.sql("CREATE TABLE big (n bigint, s text)")
    for base in range(0, rows, 20_000):
        assert node.request("POST", "/v1/import?table=big", "time,device,n,s\n" + "".join(
            f"{1_700_000_000_000 + i},d,{i},{i} {filling}\n" for i in range(base, base + 20_000)))[0] == 200
    command = [node.millrace, "export", "--table", "big", "-o", str(path)]
    with subprocess.Popen(command, env=dict(os.environ, MILLRACE_DATA=node.data)) as process:
        most, sizes = 0, set()
        while process.poll() is None:
            most = max(most, resident_kib(process))
            sizes |= {path.stat().st_size} if path.exists() else set()
            time.sleep(0.01)
        assert process.returncode == 0 and sizes <= {path.stat().st_size}
    assert path.stat().st_size > 70 * 1024 * 1024 and not os.path.exists(f"{path}.part")
    with open(path, encoding="utf-8", newline="") as file:
        assert sum(int(row["n"]) for row in csv.DictReader(file)) == rows * (rows - 1) // 2
    assert 0 < most < 60_000, "the command keeps a piece, not the answer"
    path.unlink()
    with subprocess.Popen([node.millrace, "export", "--query", "SELECT a.n, a.s FROM big a JOIN big b USING (device) WHERE b.n < 40", "-o", str(path)],
                          stderr=subprocess.PIPE, env=dict(os.environ, MILLRACE_DATA=node.data)) as process:
        while not os.path.exists(f"{path}.part") or os.stat(f"{path}.part").st_size < 1_000_000:
            assert process.poll() is None
            time.sleep(0.01)
        node.kill9()
        assert "ended early" in process.communicate(timeout=30)[1].decode() and process.returncode == 1
    assert not path.exists() and not os.path.exists(f"{path}.part")


def test_a_full_disk_is_told_and_leaves_nothing(node_factory):
    node = node_factory()
    fill(node)
    assert "No space left" in subprocess.run([node.millrace, "export", "--table", "m"], stdout=open("/dev/full", "wb"), stderr=subprocess.PIPE,
                                             env=dict(os.environ, MILLRACE_DATA=node.data), check=False).stderr.decode()
