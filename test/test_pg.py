"""The PostgreSQL listener as psql and psycopg2 see it: logins, the two query protocols, settings, transactions, cursors."""
import os
import re
import subprocess

import psycopg2
import psycopg2.errors
import pytest

from conftest import HOST, Node, free_port


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
    with open(os.path.join(pg.node.data, "audit", "audit-000001.jsonl"), encoding="utf-8") as audit:
        logins = [line for line in audit if '"verb":"login"' in line]
    assert len(logins) == 8 and sum('"outcome":"ok"' in line for line in logins) == 4


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


def test_settings_are_shown_as_they_are_in_force(pg):
    assert pg.psql("-c", "SET TIME ZONE '+05:30'", "-c", "SHOW timezone",
                   "-c", "SELECT CAST('2026-11-21T00:00:00Z' AS timestamp)") == "+05:30\n2026-11-21 05:30:00+05:30\n"
    assert pg.psql("-c", "SET timezone = 'Europe/Berlin'", "-c", "SHOW timezone") == (
        "WARNING:  times are shown in UTC: other zones are offered as an offset only, such as '+02'\nUTC\n")
    assert "only UTF8" in pg.psql("-c", "SET client_encoding = 'LATIN1'", check=False)
    assert "unrecognized configuration parameter" in pg.psql("-c", "SET nonsense = 1", check=False)
    assert pg.connect().get_parameter_status("server_version").startswith("15.")


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


def test_cancel_ends_the_running_statement_and_nothing_else(pg):
    lines = "\n".join(f"m,device=d v={i}i {i}" for i in range(100_000))
    assert pg.node.request("POST", "/write?precision=ms", lines) == (204, "")
    process = subprocess.Popen(["psql", "-X", "-q", "-A", "-t", "-h", HOST, "-p", str(pg.port), "-U", "admin", "-d", "default"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env=dict(os.environ, PGPASSWORD=Node.PASSWORD))
    connection = pg.connect()
    connection.autocommit = True
    connection.cancel()  # nothing runs: nothing happens
    process.stdin.write("SELECT a.v FROM m AS a;\n")
    process.stdin.close()
    process.stdout.read()
    assert process.wait(30) == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM m")
        assert cursor.fetchall() == [(100_000,)]
    connection.close()
