"""The statements that Grafana's PostgreSQL data source sends, as its published source makes them.

Source of facts: github.com/grafana/grafana, tag v10.0.0 and main of 2024:
  public/app/plugins/datasource/postgres/postgresMetaQuery.ts     version, databases, tables, columns
  public/app/plugins/datasource/grafana-postgresql-datasource/postgresMetaQuery.ts   columns, since parse_ident
  pkg/tsdb/grafana-postgresql-datasource/macros.go                what $__timeFilter and its like become
  pkg/tsdb/grafana-postgresql-datasource/pgx/handler_checkhealth.go   health: a ping, which is an empty query
"""
import datetime

import pytest

from test_pg import PgNode

NOT_SHOWN = ("'information_schema','pg_catalog','_timescaledb_cache','_timescaledb_catalog','_timescaledb_internal',"
             "'_timescaledb_config','timescaledb_information','timescaledb_experimental'")
ON_SEARCH_PATH = """quote_ident(table_schema) IN (
  SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
  FROM generate_series(array_lower(string_to_array(current_setting('search_path'),','),1),
                       array_upper(string_to_array(current_setting('search_path'),','),1)) as i,
       string_to_array(current_setting('search_path'),',') s)"""


@pytest.fixture
def pg(node_factory):
    made = PgNode(node_factory)
    lines = "\n".join(f"press,device=p{d} temperature={20 + d + m},speed={m} {(1_700_000_040 + 60 * m) * 1000}"
                      for d in range(2) for m in range(10) if m not in (4, 5))
    assert made.node.request("POST", "/write?precision=ms", lines) == (204, "")
    return made


def test_health_and_version(pg):
    assert pg.psql("-c", ";") == "", "a ping is a query without a statement"
    assert pg.rows("SELECT current_setting('server_version_num')::int/100 as version") == [(1400,)]
    assert pg.rows("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'") == []


def test_databases_tables_and_columns(pg):
    assert pg.rows("SELECT datname FROM pg_database WHERE datistemplate = false") == [("default",)]
    assert pg.rows('select quote_ident(table_name) as "table" from information_schema.tables where quote_ident(table_schema) '
                   f"not in ({NOT_SHOWN}) and table_type = 'BASE TABLE' and {ON_SEARCH_PATH}") == [("press",)]
    assert sorted(pg.rows('select quote_ident(column_name) as "column", data_type as "type" from information_schema.columns '
                   "where quote_ident(table_name) = 'press'")) == [
        ("device", "text"), ("speed", "double precision"), ("temperature", "double precision"), ("time", "timestamp with time zone")]
    for table in ("press", "public.press", '"press"'):
        found = pg.rows(f"""SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns WHERE
            CASE WHEN array_length(parse_ident('{table}'),1) = 2
            THEN quote_ident(table_schema) = (parse_ident('{table}'))[1] AND quote_ident(table_name) = (parse_ident('{table}'))[2]
            ELSE quote_ident(table_name) = (parse_ident('{table}'))[1] AND {ON_SEARCH_PATH} END""")
        assert sorted(found)[:2] == [("device", "text"), ("speed", "double precision")]


FILTER = "time BETWEEN '2023-11-14T22:14:00.000000001Z' AND '2023-11-14T22:30:00.5Z'"


def at(minute):
    return datetime.datetime(2023, 11, 14, 22, minute, tzinfo=datetime.timezone.utc)


def test_time_filter_and_both_forms_of_time_group(pg):
    assert pg.rows(f"SELECT time AS \"time\", temperature FROM press WHERE device = 'p0' AND {FILTER} ORDER BY time")[0] == (at(15), 21.0)
    grouped = pg.rows(f"SELECT floor(extract(epoch from time)/120)*120 AS \"time\", device AS metric, avg(temperature) AS value "
                      f"FROM press WHERE {FILTER} GROUP BY 1, 2 ORDER BY 1, 2")
    assert grouped[:2] == [(1_700_000_040.0, "p0", 21.0), (1_700_000_040.0, "p1", 22.0)]
    buckets = pg.rows(f"SELECT time_bucket('120.000s',time) AS \"time\", device AS metric, avg(temperature) AS value "
                      f"FROM press WHERE {FILTER} GROUP BY 1, 2 ORDER BY 1, 2")
    assert [(row[0].timestamp(), *row[1:]) for row in buckets] == grouped
    assert pg.rows(f"SELECT count(*) FROM press WHERE extract(epoch from time) >= 1700000040 AND extract(epoch from time) <= 1700000100") == [(4,)]


def test_gaps_that_grafana_fills_are_gaps_in_the_answer(pg):
    """$__timeGroup(time, '1m', NULL) sends the same statement; Grafana puts the NULLs in itself."""
    rows = pg.rows("SELECT floor(extract(epoch from time)/60)*60 AS \"time\", avg(temperature) AS value FROM press "
                   "WHERE device = 'p0' GROUP BY 1 ORDER BY 1")
    minutes = [round((row[0] - 1_700_000_040) / 60) for row in rows]
    assert minutes == [0, 1, 2, 3, 6, 7, 8, 9]
    filled = pg.rows("SELECT g AS time, avg(p.temperature) FROM generate_series('2023-11-14T22:14:00Z'::timestamptz, "
                     "'2023-11-14T22:23:00Z'::timestamptz, interval '1 minute') AS g LEFT JOIN press p ON p.time = g AND p.device = 'p0' "
                     "GROUP BY 1 ORDER BY 1")
    assert [row[1] is None for row in filled] == [False] * 4 + [True] * 2 + [False] * 4
