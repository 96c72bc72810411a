"""PREPARE, EXECUTE and DEALLOCATE as SQL, by both query protocols, and what is said where there is no session."""
import json

import psycopg2
import pytest

from test_pg import PgNode


@pytest.fixture
def pg(node_factory):
    pg = PgNode(node_factory)
    pg.psql(text="CREATE TABLE m (v double, n bigint, s text);\n" + "".join(
        f"INSERT INTO m (time, device, v, n, s) VALUES ('2026-11-21T00:00:0{i}Z', 'd{i % 2}', {i}.5, {i}, 't{i}');\n" for i in range(6)))
    return pg


@pytest.fixture
def cursor(pg):
    connection = pg.connect()
    connection.autocommit = True
    yield connection.cursor()
    connection.close()


def rows(cursor, text):
    cursor.execute(text)
    return cursor.fetchall()


def test_what_is_prepared_is_executed_with_values(cursor):
    cursor.execute("PREPARE one AS SELECT n FROM m WHERE n > $1 AND s <> $2 ORDER BY n")
    assert cursor.statusmessage == "PREPARE"
    assert rows(cursor, "EXECUTE one(3, 't5')") == [(4,)]
    assert cursor.statusmessage == "SELECT 1" and cursor.description[0].name == "n"
    assert rows(cursor, "EXECUTE one(1 + 1, 't' || 4)") == [(3,), (5,)]
    assert rows(cursor, "execute ONE (NULL, 'x')") == []
    assert rows(cursor, 'EXECUTE "one"(-1, $$x$$)' if False else "EXECUTE one(-1, 'it''s, (really')") == [(n,) for n in range(6)]


def test_types_may_be_said(cursor):
    cursor.execute("PREPARE typed (double precision, timestamptz, text) AS SELECT $1, $2, $3")
    found = rows(cursor, "EXECUTE typed(1, '2026-11-21 10:00+02', 7)")
    assert found[0][0] == 1.0 and isinstance(found[0][0], float) and found[0][1].isoformat() == "2026-11-21T08:00:00+00:00"
    assert found[0][2] == "7"
    cursor.execute("PREPARE since AS SELECT count(*) FROM m WHERE time >= $1")
    assert rows(cursor, "EXECUTE since('2026-11-21 00:00:04+00')") == [(2,)]
    assert rows(cursor, "EXECUTE since(timestamp '2026-11-21 00:00:04' - interval '1 s')") == [(3,)]


def test_rows_are_written_and_deleted(cursor):
    cursor.execute("PREPARE put AS INSERT INTO m (time, device, v) VALUES ($1, $2, $3)")
    cursor.execute("EXECUTE put('2026-11-22', 'new', 7.25)")
    assert cursor.statusmessage == "INSERT 0 1"
    assert rows(cursor, "SELECT device, v FROM m WHERE time = '2026-11-22'") == [("new", 7.25)]
    cursor.execute("PREPARE gone AS DELETE FROM m WHERE device = $1")
    cursor.execute("EXECUTE gone('new')")
    assert cursor.statusmessage == "DELETE 1"


def test_statements_end_when_they_are_deallocated(cursor):
    for end in ("DEALLOCATE q", "DEALLOCATE PREPARE q", "DEALLOCATE ALL", "DISCARD ALL"):
        cursor.execute("PREPARE q AS SELECT 1")
        assert rows(cursor, "EXECUTE q") == [(1,)]
        cursor.execute(end)
        with pytest.raises(psycopg2.errors.InvalidSqlStatementName):
            cursor.execute("EXECUTE q")


def test_another_session_does_not_see_them(pg, cursor):
    cursor.execute("PREPARE q AS SELECT 1")
    assert 'prepared statement "q" does not exist' in pg.psql("-c", "EXECUTE q", check=False)


@pytest.mark.parametrize("text, state, said", [
    ("EXECUTE nothing", "26000", 'prepared statement "nothing" does not exist'),
    ("DEALLOCATE nothing", "26000", 'prepared statement "nothing" does not exist'),
    ("PREPARE q AS SELECT 2", "42P05", 'prepared statement "q" exists already'),
    ("PREPARE x AS SELECT nope FROM m", "42703", "nope"),
    ("PREPARE x AS SET TimeZone = 'UTC'", "0A000", "SET cannot be prepared"),
    ("PREPARE x (number) AS SELECT $1", "42601", "is not a type"),
    ("PREPARE x (int, ) AS SELECT $1", "42601", "a type or value was expected"),
    ("PREPARE x SELECT 1", "42601", "AS and a statement was expected"),
    ("PREPARE x AS", "42601", "a statement was expected"),
    ("EXECUTE q(1, 2)", "42601", 'prepared statement "q" takes 1 parameter(s), not 2'),
    ("EXECUTE q", "42601", "takes 1 parameter(s), not 0"),
    ("EXECUTE q(v)", "42703", '"v"'),
    ("EXECUTE q('x')", None, "x"),
    ("EXECUTE q(1", "42601", '")" was expected at the end'),
    ("EXECUTE q(1) LIMIT 1", "42601", "the end of the statement was expected"),
])
def test_mistakes_are_explained(cursor, text, state, said):
    cursor.execute("PREPARE q (bigint) AS SELECT n FROM m WHERE n = $1")
    with pytest.raises(psycopg2.Error) as error:
        cursor.execute(text)
    assert said in str(error.value) and (state is None or error.value.pgcode == state), (error.value.pgcode, str(error.value))
    assert rows(cursor, "EXECUTE q(2)") == [(2,)]


def test_an_error_ends_the_rest_of_the_text(cursor):
    with pytest.raises(psycopg2.Error):
        cursor.execute("PREPARE a AS SELECT 1; PREPARE b AS SELECT nope; PREPARE c AS SELECT 3")
    assert rows(cursor, "EXECUTE a") == [(1,)]
    with pytest.raises(psycopg2.errors.InvalidSqlStatementName):
        cursor.execute("EXECUTE c")
    assert rows(cursor, "EXECUTE a; EXECUTE a") == [(1,)]


def test_http_names_the_way_out(pg):
    for text in ("PREPARE q AS SELECT 1", "EXECUTE q(1)", "DEALLOCATE q"):
        status, answer = pg.node.request("POST", "/v1/sql", text)
        message = json.loads(answer)["error"]["message"]
        assert status == 400 or status == 501, status
        assert "params" in message and "listen.postgres" in message
