"""The PostgreSQL listener as psql and psycopg2 see it: logins, the two query protocols, settings, transactions, cursors."""
import io
import json
import os
import re
import signal
import socket
import subprocess
import time

import psycopg2
import psycopg2.errors
import pytest

from conftest import HOST, Node, free_port, wait_for


class PgNode:
    """A node with its PostgreSQL listener, and clients of it."""

    def __init__(self, factory, **options):
        self.port = free_port()
        settings = [f"listen.postgres={HOST}:{self.port}", *options.pop("settings", [])]
        self.node = factory(settings=settings, **options)

    def connect(self, user="admin", password=Node.PASSWORD, **more):
        return psycopg2.connect(host=HOST, port=self.port, user=user, password=password, connect_timeout=20,
                                **{"dbname": "default", **more})

    def psql(self, *arguments, text=None, user="admin", password=Node.PASSWORD, check=True):
        """What psql prints, unaligned, without footers."""
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", str(self.port), "-U", user,
                   "-d", "default", *arguments]
        done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                              check=False, env=dict(os.environ, PGPASSWORD=password, PGCONNECT_TIMEOUT="20"))
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def rows(self, statement, *params):
        connection = self.connect()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, params or None)
            found = cursor.fetchall()
        connection.close()
        return found


@pytest.fixture
def pg(node_factory):
    return PgNode(node_factory)


@pytest.fixture(name="press", scope="module")
def press_fixture(shared_node_factory):
    """With PRESS in it: one for all that only ask."""
    pg = PgNode(shared_node_factory)
    pg.psql(text=PRESS)
    return pg


PRESS = """CREATE TABLE press (temperature double UNIT '°C', n bigint, u ubigint, s text, ok bool, raw bytes, at timestamp);
INSERT INTO press (time, device, temperature, n, u, s, ok, at) VALUES
 ('2026-11-21 03:04:05.123456789', 'press01', 1.5, -3, 18446744073709551615, 'grün', true, '1999-12-31T23:59:59.999999999Z'),
 ('2026-11-21 03:04:06', 'press02', NULL, NULL, NULL, NULL, false, NULL)"""


def test_every_login_that_is_promised_works_and_no_other(pg):
    for sslmode in ("disable", "require"):
        connection = pg.connect(sslmode=sslmode)
        assert connection.info.ssl_in_use == (sslmode == "require")
        connection.close()
    pg.connect(sslmode="require", channel_binding="require").close()
    assert pg.psql("-c", "show session_authorization", user="token", password=pg.node.token()) == "admin\n"
    refusals = set()
    for user, password in (("admin", "wrong"), ("nobody", "wrong"), ("token", "wrong"), ("admin", pg.node.token())):
        with pytest.raises(psycopg2.OperationalError) as refused:
            pg.connect(user, password, sslmode="disable")
        refusals.add(re.sub(r"^.*FATAL", "FATAL", str(refused.value), flags=re.S))
    assert refusals == {"FATAL:  user or password is wrong\n"}

    def outcomes():
        with open(os.path.join(pg.node.data, "audit", "audit-000001.jsonl"), encoding="utf-8") as audit:
            return ['"outcome":"ok"' in line for line in audit if '"verb":"login"' in line]
    wait_for(lambda: len(outcomes()) == 8, 10, "the audit log has not all logins")
    assert sum(outcomes()) == 4


def test_an_address_that_others_can_reach_takes_logins_over_tls_only(node_factory):
    pg = PgNode(node_factory)
    pg.node.stop()
    for insecure, answer in (("false", "TLS only"), ("true", None)):
        pg.node.command = [part.replace(f"listen.postgres={HOST}", "listen.postgres=0.0.0.0") for part in pg.node.command] + [
            "--set", f"listen.insecure={insecure}"]
        pg.node.start()
        pg.connect(sslmode="require").close()
        if answer:
            with pytest.raises(psycopg2.OperationalError, match=answer):
                pg.connect(sslmode="disable")
        else:
            pg.connect(sslmode="disable").close()
        pg.node.stop()


def test_more_clients_than_the_limit_are_told_so(pg):
    idle = [socket.create_connection((HOST, pg.port), 20) for _ in range(256)]
    with pytest.raises(psycopg2.OperationalError, match="too many connections"):
        wait_for(lambda: pg.connect(sslmode="disable").close(), 5, "there is no limit")
    for one in idle:
        one.close()
    wait_for(lambda: "\nmillrace_postgres_connections 0\n" in pg.node.request("GET", "/metrics")[1], 10, "connections are left")
    pg.connect().close()


def test_simple_queries_run_one_after_the_other_and_stop_at_an_error(pg):
    pg.psql(text=PRESS)
    assert pg.psql("-c", "SELECT 1; SELECT 'x', NULL, true") == "1\nx||t\n"
    said = pg.psql("-c", "SELECT 1;\nSELECT ä FROM press;\nSELECT 2", check=False)
    assert said == '1\nERROR:  column "ä" does not exist in table press\nLINE 2: SELECT ä FROM press;\n               ^\n'
    assert pg.psql("-c", "SELECT 'never ends", check=False).startswith("ERROR:  this string has no end")
    assert pg.psql("-c", "") == "" and pg.psql("-c", ";;") == ""
    assert "HINT:  did you mean \"press\"?" in pg.psql("-c", "SELECT * FROM pres", check=False)


def test_values_look_as_in_postgresql(pg):
    pg.psql(text=PRESS)
    assert pg.psql("-c", "SELECT time, device, temperature, n, u, s, ok, at FROM press ORDER BY time") == (
        "2026-11-21 03:04:05.123456+00|press01|1.5|-3|18446744073709551615|grün|t|1999-12-31 23:59:59.999999+00\n"
        "2026-11-21 03:04:06+00|press02|||||f|\n")


def test_a_failed_block_refuses_until_rollback_and_rollback_admits_what_stays(pg):
    connection = pg.connect()
    pg.psql(text=PRESS)
    with connection.cursor() as cursor:
        with pytest.raises(psycopg2.errors.UndefinedTable):
            cursor.execute("SELECT * FROM nowhere")
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            cursor.execute("SELECT 1")
        connection.rollback()
        cursor.execute("INSERT INTO press (device, n) VALUES ('p', 7)")
        connection.rollback()
        assert any("nothing was undone" in notice for notice in connection.notices)
        cursor.execute("SELECT n FROM press WHERE n = 7")
        assert cursor.fetchall() == [(7,)]
    connection.close()


@pytest.mark.skipif(not os.path.exists("/usr/share/zoneinfo/Europe/Berlin"), reason="no time zone database")
def test_times_go_by_the_zone_of_the_session(pg):
    day = "SELECT date_trunc('day', CAST('2026-07-01T20:00:00Z' AS timestamp))"
    assert pg.psql("-c", "SET timezone = 'Asia/Shanghai'", "-c", "SHOW timezone", "-c", day) == "Asia/Shanghai\n2026-07-02 00:00:00+08\n"
    assert pg.psql("-c", "SET TIME ZONE 'Europe/Berlin'", "-c", day, "-c", "SELECT CAST('2026-01-01T00:00:00Z' AS timestamp)",
                   "-c", "RESET TIME ZONE", "-c", day) == "2026-07-01 00:00:00+02\n2026-01-01 01:00:00+01\n2026-07-01 00:00:00+00\n"
    assert pg.psql("-c", "SET TIME ZONE 8", "-c", "SHOW timezone") == "+8\n"
    assert "is not known" in pg.psql("-c", "SET timezone = 'Nowhere/Else'", "-c", "SHOW timezone", check=False)
    assert "is not known" in pg.psql("-c", "SET timezone = '../passwd'", check=False)
    connection = pg.connect(options="-c TimeZone=America/New_York")
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('TimeZone'), CAST(CAST('2026-01-01T00:00:00Z' AS timestamp) AS text)")
        assert cursor.fetchone()[0] == "America/New_York"
        cursor.execute("SELECT CAST('2026-01-01T00:00:00Z' AS timestamp)")
        assert cursor.fetchone()[0].isoformat() == "2025-12-31T19:00:00-05:00"
    connection.close()


def test_a_statement_ends_at_the_time_limit_of_its_session(pg):
    slow = "SELECT count(*) FROM generate_series(1, 2000) a, generate_series(1, 2000) b, generate_series(1, 2000) c"
    said = pg.psql("-c", "SET statement_timeout = '200ms'", "-c", "SHOW statement_timeout", "-c", slow, check=False)
    assert said.startswith("200ms\nERROR:  the statement's time limit is over"), said
    assert "write it like" in pg.psql("-c", "SET statement_timeout = 'soon'", check=False)


def test_settings_are_shown_as_they_are_in_force(pg):
    assert pg.psql("-c", "SET TIME ZONE '+05:30'", "-c", "SHOW timezone",
                   "-c", "SELECT CAST('2026-11-21T00:00:00Z' AS timestamp)") == "+05:30\n2026-11-21 05:30:00+05:30\n"
    assert "only UTF8" in pg.psql("-c", "SET client_encoding = 'LATIN1'", check=False)
    assert "unrecognized configuration parameter" in pg.psql("-c", "SET nonsense = 1", check=False)
    assert pg.connect().get_parameter_status("server_version").startswith("14.")


def test_what_is_set_locally_holds_until_the_block_ends(pg):
    connection = pg.connect()
    connection.autocommit = True
    with connection.cursor() as cursor:
        def shown(*names):
            return [(cursor.execute(f"SHOW {name}"), cursor.fetchone()[0])[1] for name in names]

        cursor.execute("SET application_name = 'before'")
        for end in ("COMMIT", "ROLLBACK", "END"):
            cursor.execute("BEGIN")
            cursor.execute("SET LOCAL TIME ZONE '+05:30'")
            cursor.execute("SET LOCAL application_name = 'a'")
            cursor.execute("SET LOCAL application_name TO 'b'")
            cursor.execute("SELECT set_config('statement_timeout', '5s', true)")
            assert shown("timezone", "application_name", "statement_timeout") == ["+05:30", "b", "5s"]
            assert connection.get_parameter_status("application_name") == "b"
            cursor.execute(end)
            assert shown("timezone", "application_name", "statement_timeout") == ["UTC", "before", "0"], end
            assert connection.get_parameter_status("application_name") == "before"
        cursor.execute("BEGIN")
        cursor.execute("SET LOCAL application_name = 'c'")
        cursor.execute("SET application_name = 'for good'")
        cursor.execute("COMMIT")
        assert shown("application_name") == ["for good"]
        cursor.execute("SET LOCAL application_name = 'outside'")
        assert shown("application_name") == ["for good"]
        assert "SET LOCAL can only be used in transaction blocks" in connection.notices[-1]
    connection.close()


def test_a_cursor_gives_its_rows_piece_by_piece(pg):
    lines = "\n".join(f"m,device=d v={i}i {i}" for i in range(50_000))
    assert pg.node.request("POST", "/write?precision=ms", lines) == (204, "")
    connection = pg.connect()
    cursor = connection.cursor("piecewise")
    cursor.itersize = 777
    cursor.execute("SELECT v FROM m ORDER BY v")
    assert [row[0] for row in cursor] == list(range(50_000))
    cursor.close()
    other = connection.cursor("given up")
    other.execute("SELECT v FROM m")
    assert len(other.fetchmany(5)) == 5
    other.close()
    connection.commit()
    connection.close()


def test_a_cursor_reads_and_changes_nothing(pg):
    pg.node.request("POST", "/write", "m,device=d v=1i 1")
    connection = pg.connect()
    with connection.cursor() as cursor:
        for change in ("DELETE FROM m", "INSERT INTO m (device, v) VALUES ('e', 2)", "CREATE TABLE n (v double)"):
            with pytest.raises(psycopg2.Error, match="a cursor is of rows"):
                cursor.execute(f"DECLARE c CURSOR FOR {change}")
            connection.rollback()
    connection.close()
    assert pg.rows("SELECT count(*) FROM m") == [(1,)]


def test_ctrl_c_in_psql_cancels_the_statement_and_keeps_the_session(pg):
    lines = "\n".join(f"m,device=d v={i}i {i}" for i in range(20_000))
    assert pg.node.request("POST", "/write?precision=ms", lines) == (204, "")
    process = subprocess.Popen(["psql", "-X", "-A", "-t", "-h", HOST, "-p", str(pg.port), "-U", "admin", "-d", "default"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env=dict(os.environ, PGPASSWORD=Node.PASSWORD))
    process.stdin.write("SELECT 'begun';\nSELECT count(*) FROM m a, m b, m c WHERE a.v + b.v < c.v;\n")
    process.stdin.flush()
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.5)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate("SELECT 'alive';\n", timeout=30)
    assert "canceling statement due to user request" in said and time.monotonic() - begun < 10, said
    connection = pg.connect()
    connection.cancel()  # nothing runs: nothing happens
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM m")
        assert cursor.fetchall() == [(20_000,)]
    connection.close()


@pytest.mark.parametrize("command,expected", [
    ("\\d press", "time|timestamp with time zone||not null|\ndevice|text||not null|\ntemperature|double precision|||\n"),
    ("\\dt", "public|press|table|millrace\n"),
    ("\\d", "public|press|table|millrace\n"),
    ("\\di", "public|press_pkey|index|millrace|press\n"),
    ("\\dv sys.points", "sys|points|view|millrace\n"),
    ("\\l", "default|millrace|UTF8|C|C||libc|\n"),
    ("\\dn", "public|millrace\nsys|millrace\n"),
    ("\\du", "admin|Superuser, Create role, Create DB|{}\n"),
    ("\\df avg", "pg_catalog|avg|double precision|double precision|agg\n"),
    ("\\dT", ""),
    ("\\dp", "public|press|table|||\n"),
    ("\\dconfig server_version", "server_version|14.0"),
    ("SELECT 'press'::regclass::oid::regclass, pg_table_is_visible('press'::regclass)", "press|t\n"),
    ("SELECT col_description('press'::regclass, 3)", "[°C]\n"),
    ("SELECT column_name FROM information_schema.key_column_usage WHERE table_name = 'press' ORDER BY ordinal_position", "device\ntime\n"),
])
def test_psql_finds_its_way_through_the_catalogue(press, command, expected):
    assert expected in press.psql("-c", command)


def test_psql_describes_views_and_more_of_tables(pg):
    pg.psql(text=PRESS)
    pg.psql("-c", "CREATE VIEW hot AS SELECT device, max(temperature) AS top FROM press GROUP BY device")
    pg.psql("-c", "CREATE VIEW gone AS SELECT * FROM press")
    assert pg.psql("-c", "\\d") == "public|gone|view|millrace\npublic|hot|view|millrace\npublic|press|table|millrace\n"
    assert "hot|view" in pg.psql("-c", "\\dv") and "hot" not in pg.psql("-c", "\\dt")
    assert pg.psql("-c", "\\d hot") == "device|text|||\ntop|double precision|||\n"
    assert pg.psql("-c", "\\d+ hot") == "device|text||||extended|\ntop|double precision||||plain|[°C]\n"
    assert pg.psql("-c", "SELECT pg_get_viewdef('hot'::regclass, true)") == " SELECT device, max(temperature) AS top FROM press GROUP BY device;\n"
    assert "temperature|double precision||||plain|||[°C]\n" in pg.psql("-c", "\\d+ press")
    assert pg.psql("-c", "SELECT viewname, definition FROM pg_views WHERE viewname = 'hot'") == \
        "hot|SELECT device, max(temperature) AS top FROM press GROUP BY device\n"
    assert pg.psql("-c", "SELECT table_name FROM information_schema.views ORDER BY 1") == "gone\nhot\n"
    assert pg.psql("-c", "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'hot' ORDER BY ordinal_position") == \
        "device|text\ntop|double precision\n"
    number = pg.psql("-c", "SELECT 'hot'::regclass::oid")
    pg.psql("-c", "CREATE TABLE later (v bigint)")
    pg.psql("-c", "DROP TABLE press")  # the views have no columns any more, and harm nothing
    assert pg.psql("-c", "\\d") == "public|gone|view|millrace\npublic|hot|view|millrace\npublic|later|table|millrace\n"
    assert pg.psql("-c", "SELECT attname FROM pg_attribute WHERE attrelid = 'hot'::regclass") == ""
    assert pg.psql("-c", "SELECT 'hot'::regclass::oid") == number


def test_the_catalogue_shows_only_what_the_user_may_see(pg):
    pg.psql(text=PRESS)
    pg.psql("-c", "CREATE TABLE secret (v bigint)")
    role = {"apiVersion": "millrace.io/v1", "kind": "Role", "metadata": {"name": "presser"},
            "spec": {"rules": [{"verbs": ["query"], "kinds": ["Table"], "names": ["press"]}]}}
    user = {"apiVersion": "millrace.io/v1", "kind": "User", "metadata": {"name": "eve"},
            "spec": {"roles": ["presser"], "password": "eves-password"}}
    for kind, document in (("roles", role), ("users", user)):
        status, answer = pg.node.request("POST", f"/apis/millrace.io/v1/{kind}", json.dumps(document))
        assert status in (200, 201), answer
    assert pg.psql("-c", "\\dt", user="eve", password="eves-password") == "public|press|table|millrace\n"
    assert pg.psql("-c", "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname = 'secret'",
                   user="eve", password="eves-password") == "0\n"
    assert pg.psql("-c", "COPY press FROM STDIN", user="eve", password="eves-password", check=False).startswith("ERROR:")
    assert "secret" in pg.psql("-c", "\\dt")


ROWS = 70_000


def copy_in(pg, statement, text):
    """COPY with all of `text`; gives the row count, or the error's text."""
    connection = pg.connect()
    connection.autocommit = True
    with connection.cursor() as cursor:
        try:
            cursor.copy_expert(statement, io.BytesIO(text) if isinstance(text, bytes) else io.StringIO(text))
            return cursor.rowcount
        except psycopg2.Error as error:
            return str(error)
        finally:
            connection.close()


def copy_out(pg, statement):
    connection = pg.connect()
    out = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(statement, out)
    connection.close()
    return out.getvalue()


@pytest.mark.parametrize("options", ["", "CSV HEADER", "(FORMAT csv, DELIMITER ';', QUOTE '''', NULL 'nix', HEADER match)", "BINARY",
                                     "WITH DELIMITER AS '|' NULL AS '-'"])
def test_what_copy_writes_copy_reads_again(pg, options):
    pg.psql(text=PRESS)
    pg.psql("-c", "INSERT INTO press (time, device, s) VALUES ('2026-11-21', 'p3', 'a,b;\"c\"''d''\\\t\n|nix'), ('2026-11-22', 'p3', '')")
    pg.psql("-c", "CREATE TABLE again (temperature double, n bigint, u ubigint, s text, ok bool, raw bytes, at timestamp)")
    out = copy_out(pg, f"COPY press TO STDOUT {options}")
    assert copy_in(pg, f"COPY again FROM STDIN {options}", out) == 4
    everything = "time, device, temperature, n, u, s, ok, raw, at"
    assert pg.rows(f"SELECT {everything} FROM again ORDER BY time") == pg.rows(f"SELECT {everything} FROM press ORDER BY time")


def test_copy_in_streams_any_number_of_rows(pg):
    pg.psql("-c", "CREATE TABLE big (v bigint, s text)")
    rows = "".join(f"2026-11-21 00:00:{i % 60:02}.{i:06}+00\tm{i % 50}\t{i}\ttext number {i}\n" for i in range(ROWS))
    assert copy_in(pg, "COPY big FROM STDIN", rows) == ROWS
    assert pg.node.sql("SELECT count(*), sum(v) FROM big") == [[ROWS, ROWS * (ROWS - 1) // 2]]
    assert copy_out(pg, "COPY (SELECT v FROM big WHERE v < 5 ORDER BY v DESC) TO STDOUT") == b"4\n3\n2\n1\n0\n"
    assert len(copy_out(pg, "COPY big (v) TO STDOUT").splitlines()) == ROWS


def test_rows_so_short_that_a_batch_is_full_before_its_chunk_is_read_are_all_taken(pg):
    pg.psql("-c", "CREATE TABLE short (s text)")
    assert copy_in(pg, "COPY short (device, s) FROM STDIN", "p\t\n" * 200_000 + "last\tx\n") == 200_001
    assert pg.node.sql("SELECT s FROM short WHERE device = 'last'") == [["x"]]


def test_a_line_feed_behind_a_backslash_belongs_to_the_text(pg):
    pg.psql("-c", "CREATE TABLE notes (s text)")
    assert copy_in(pg, "COPY notes (device, s) FROM STDIN", "p\tone\\\ntwo\\\\\nq\tthree\\\n\n") == 2
    assert pg.node.sql("SELECT device, s FROM notes ORDER BY device") == [["p", "one\ntwo\\"], ["q", "three\n"]]


def test_copy_to_reads_and_changes_nothing(pg):
    pg.node.request("POST", "/write", "m,device=d v=1i 1")
    for change in ("DELETE FROM m", "INSERT INTO m (device, v) VALUES ('e', 2)"):
        with pytest.raises(psycopg2.Error, match="COPY .* TO is of rows"):
            copy_out(pg, f"COPY ({change}) TO STDOUT")
    assert copy_out(pg, "COPY (SELECT v FROM m) TO STDOUT") == b"1\n"


def test_copy_leaves_no_label_out(pg):
    pg.psql("-c", "CREATE TABLE m (v double)")
    labels = [f"l{i}" for i in range(65)]
    for count in (65, 64):
        columns, values = ", ".join(f"label.{name}" for name in labels[:count]), ",".join(labels[:count])
        said = copy_in(pg, f"COPY m (device, v, {columns}) FROM STDIN CSV", f"d,1,{values}\n")
        assert said == 1 if count == 64 else "COPY takes at most 64 labels, these are 65" in said, said
    assert pg.rows("SELECT label.l0, label.l63 FROM m") == [("l0", "l63")]


def test_copy_keeps_what_stands_before_a_wrong_row_and_says_how_much(pg):
    pg.psql("-c", "CREATE TABLE c (v bigint)")
    rows = [f"p,{i},2026-11-21T00:00:00.{i:06}Z\n" for i in range(30_000)]
    rows[20_000] = "p,many,2026-11-21\n"
    said = copy_in(pg, "COPY c (device, v, time) FROM STDIN CSV", "".join(rows))
    assert said == ("COPY c, line 20001: column v: 'many' is not valid for type bigint\n"
                    "HINT:  20000 row(s) before it are stored, nothing behind it is\n"), said
    assert pg.node.sql("SELECT count(*), max(v) FROM c") == [[20_000, 19_999]]
    assert "line 2: the row has 2 fields, 3 are expected" in copy_in(pg, "COPY c (device, v, time) FROM STDIN CSV", "p,1,2026-11-22\np,2\n")
    assert "unterminated CSV quoted field" in copy_in(pg, "COPY c (device, v) FROM STDIN CSV", 'p,"1\n')
    assert "a row needs a device" in copy_in(pg, "COPY c (v) FROM STDIN", "1\n")
    assert "delimiter and quote must be different" in copy_in(pg, "COPY c (device, v) FROM STDIN (FORMAT csv, DELIMITER '\"')", "p,1\n")
    assert 'column "w" does not exist' in copy_in(pg, "COPY c (device, w) FROM STDIN", "1\n")
    assert "header does not match" in copy_in(pg, "COPY c (device, v) FROM STDIN (FORMAT csv, HEADER match)", "device,w\np,1\n")


def test_copy_by_psql_from_and_to_files_of_the_client(pg, tmp_path):
    pg.psql("-c", "CREATE TABLE f (v bigint, label text)")
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('time,device,v,label\n2026-11-21T00:00:00Z,a,1,"two\nlines, ""quoted"""\n2026-11-21T00:00:01Z,a,2,\n', encoding="utf-8")
    pg.psql("-c", f"\\copy f FROM '{source}' CSV HEADER")
    pg.psql("-c", f"\\copy (SELECT time, device, v, label FROM f ORDER BY v) TO '{target}' WITH (FORMAT csv, HEADER)")
    assert target.read_text(encoding="utf-8") == source.read_text(encoding="utf-8").replace("T", " ").replace("Z", "+00")
