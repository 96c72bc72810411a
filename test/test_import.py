"""POST /v1/import: rows of CSV go where the parameters say, and what is wrong is named by line and column."""
import gzip
import json
import os
import subprocess
from urllib.parse import urlencode

import pytest


def send(node, text, **params):
    status, answer = node.request("POST", "/v1/import?" + urlencode({"table": "m", **params}), text)
    return status, json.loads(answer)


def stored(rows):
    return 200, {"rows": rows, "refused": 0, "errors": []}


def test_a_table_is_made_of_the_types_and_all_forms_of_values_are_read(node_factory):
    node = node_factory()
    text = ("\ufefftime,device,t,n,u,on,name,at,raw,wave,left out,\r\n"
            "2026-11-21 03:04:05.5,a,1.5,-3,18446744073709551615,true,\"x, \"\"y\"\"\",2026-11-21T00:00:00Z,\\x00ff,\"[1,2.5]\",9,\r\n"
            "2026-11-21T03:04:06Z,a, 2 ,5.0,,0,\"\",,,,,\r\n"
            "2026-11-21T03:04:07+08:00,b,NaN,NULL,1,,NA,,,,,\r\n\r\n"
            "1795230245500,b,,,,,\"NA\",,,,,")
    types = "t:double,n:bigint,u:ubigint,on:bool,name:text,at:timestamp,raw:bytes,wave:double[],left out:-"
    assert send(node, text, types=types) == stored(4)
    assert node.sql('SELECT device, time, t, n, u, "on", name, at, raw, wave FROM m ORDER BY device, time') == [
        ["a", "2026-11-21T03:04:05.5Z", 1.5, -3, "18446744073709551615", True, 'x, "y"', "2026-11-21T00:00:00Z", "AP8=", [1, 2.5]],
        ["a", "2026-11-21T03:04:06Z", 2, 5, None, False, "", None, None, None],
        ["b", "2026-11-20T19:04:07Z", None, None, 1, None, None, None, None, None],
        ["b", "2026-11-21T03:04:05.5Z", None, None, None, None, "NA", None, None, None]]


def test_refused_rows_are_named_by_line_and_column_and_the_others_are_kept(node_factory):
    node = node_factory()
    node.sql("CREATE TABLE m (t double, n bigint)")
    text = ("time,device,t,n\n"
            "1795230245,a,1,1\n"
            "yesterday,a,2,2\n"
            "1795230247,,3,3\n"
            "1795230248,a,warm,4\n"
            "1795230249,a,5,5.5\n"
            "1795230250,a,6\n"
            "1795230251,a,7,7\n"
            "1795230252,\"a,8,8\n"
            "1795230253,a,9,9\n")
    status, answer = send(node, text, errors=9)
    assert status == 400 and answer["rows"] == 3 and answer["refused"] == 6, answer
    assert [(e["line"], e["column"]) for e in answer["errors"]] == [
        (3, "time"), (4, "device"), (5, "t"), (6, "n"), (7, None), (9, None)]
    for error, part in zip(answer["errors"], ("'yesterday' is not a time", "device is empty", "'warm' is not a double",
                                              "'5.5' is not a bigint", "3 fields, 4", "quote")):
        assert part in error["message"], error
    assert node.sql("SELECT t FROM m ORDER BY t") == [[1], [7], [9]]
    status, answer = send(node, text, errors=2)
    assert len(answer["errors"]) == 2 and answer["refused"] == 6
    status, answer = send(node, "1,a,x,1\n", columns="time,device,t,n", time_format="s", first_line=1000)
    assert answer["errors"][0]["line"] == 1000 and answer["errors"][0]["text"] == "x"


def test_times_devices_and_labels_come_as_the_parameters_say(node_factory):
    node = node_factory()
    text = "21.11.2026 03:04:05;p1;north;1,5;\n01.07.2026 03:04:05;p2;south;2,5;\n"
    assert send(node, text, columns="when,unit,site,t", types="t:double", delimiter=";", decimal="comma", time="when",
                time_format="DD.MM.YYYY hh:mm:ss", zone="Europe/Berlin", device="unit", device_name="line1", labels="site") == stored(2)
    assert node.sql("SELECT time, device, label.site, t FROM m ORDER BY device") == [
        ["2026-11-21T02:04:05Z", "line1/p1", "north", 1.5], ["2026-07-01T01:04:05Z", "line1/p2", "south", 2.5]]
    assert send(node, "  7   8.5  \n  9  10.5 \n", columns="n,v", types="n:bigint,v:double", delimiter="space", table="c", device_name="d",
                start="2026-11-21T00:00:00Z", step="100ms", first_row=10) == stored(2)
    assert node.sql("SELECT time, device, n, v FROM c ORDER BY time") == [
        ["2026-11-21T00:00:01Z", "d", 7, 8.5], ["2026-11-21T00:00:01.1Z", "d", 9, 10.5]]


def test_what_cannot_begin_is_refused_with_the_way_out_and_makes_nothing(node_factory):
    node = node_factory()
    for part, text, params in (("types=t:double", "time,device,t\n1,a,1\n", {}),
                               ("no type 'warm'", "time,device,t\n1,a,1\n", {"types": "t:warm"}),
                               ("time=COLUMN", "when,device,t\n1,a,1\n", {"types": "t:double"}),
                               ("device_name=PATH", "time,t\n1,1\n", {"types": "t:double"}),
                               ("no column \"x\"", "time,t\n1,1\n", {"device": "x"}),
                               ("two columns", "time,device,t,t\n1,1\n", {"types": "t:double"}),
                               ("header", "", {}),
                               ("header", "\n1,2\n", {}),
                               ("time notation", "time,device,t\n", {"time_format": "minutes"}),
                               ("no such time zone", "time,device,t\n", {"zone": "Mars/North"}),
                               ("delimiter", "time,device,t\n", {"delimiter": "::"}),
                               ("decimal", "time,device,t\n", {"decimal": ";"}),
                               ("step", "device,t\na,1\n", {"start": "2026-11-21T00:00:00Z"}),
                               ("table", "time,device,t\n", {"table": ""}),
                               ("namespace", "time,device,t\n", {"ns": "A_b"})):
        status, answer = send(node, text, **params)
        assert status == 400 and part in answer["error"]["message"], (part, status, answer)
    assert node.request("POST", "/v1/sql", "SELECT count(*) FROM m")[0] == 404


def test_many_batches_are_all_there_and_sending_again_changes_nothing(node_factory):
    node = node_factory()
    rows = 150000
    text = "".join(f"{1700000000000 + i},d{i % 7},{i},{i / 4},a text of some length that makes the body long {i}\n" for i in range(rows))
    for _ in range(2):
        assert send(node, text, columns="time,device,n,v,s", types="n:bigint,v:double,s:text") == stored(rows)
    assert node.sql("SELECT count(*), sum(n), count(DISTINCT device), min(s) FROM m") == [
        [rows, rows * (rows - 1) // 2, 7, "a text of some length that makes the body long 0"]]


@pytest.fixture(name="importer")
def importer_fixture(node_factory, tmp_path):
    """importer(ARGUMENTS…, code=0, stdin=b"") runs `millrace import` and gives (stdout, stderr)."""
    node = node_factory()

    def run(*arguments, code=0, stdin=b""):
        done = subprocess.run([node.millrace, "import", *map(str, arguments)], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60, check=False, env=dict(os.environ, MILLRACE_DATA=node.data, XDG_STATE_HOME=str(tmp_path / "state")))
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout.decode(), done.stderr.decode()
    run.node = node
    return run


def test_one_command_takes_a_file_and_shows_what_it_makes_of_it(importer, tmp_path):
    path = tmp_path / "press 7.csv.gz"
    path.write_bytes(gzip.compress("datetime;t/max;quality;on\n2026-11-21 00:00:00;1.5;a;true\n2026-11-21 00:00:01;;b;false\n".encode()))
    _, told = importer(path, "--table", "m", "--dry-run")
    for part in ("delimiter ;", "datetime", "t_max", "quality_", "double", "bool", "device: press 7"):
        assert part in told, told
    assert importer.node.request("POST", "/v1/sql", "SELECT count(*) FROM m")[0] == 404
    out, _ = importer(path, "--table", "m", "--json")
    assert json.loads(out) == {"table": "m", "done": True, "rows": 2, "refused": 0}
    assert importer.node.sql('SELECT time, device, t_max, quality_, "on" FROM m ORDER BY time') == [
        ["2026-11-21T00:00:00Z", "press 7", 1.5, "a", True], ["2026-11-21T00:00:01Z", "press 7", None, "b", False]]


def test_rows_without_header_times_or_device_are_taken_with_an_option_each(importer):
    importer("-", "--table", "c", "--columns", "unit,cycle,s1", "--time", "cycle", "--time-format", "s", "--device", "unit",
             "--device-name", "engine", stdin=b"1 1 518.67  \n1 2 518.70  \n2 1 518.90  \n")
    assert importer.node.sql("SELECT device, time, s1 FROM c ORDER BY device, time") == [
        ["engine/1", "1970-01-01T00:00:01Z", 518.67], ["engine/1", "1970-01-01T00:00:02Z", 518.7], ["engine/2", "1970-01-01T00:00:01Z", 518.9]]
    _, told = importer("-", "--table", "s", stdin=b"a,b\n1,2\n", code=2)
    assert "--step" in told
    importer("-", "--table", "s", "--step", "1s", "--start", "2026-11-21", "--device-name", "d", stdin=b"a,b\n1,2\n3,4\n")
    assert importer.node.sql("SELECT time, a FROM s ORDER BY time") == [["2026-11-21T00:00:00Z", 1], ["2026-11-21T00:00:01Z", 3]]


def test_refused_rows_are_written_down_and_a_cut_import_goes_on(importer, tmp_path):
    path, errors = tmp_path / "big.csv", tmp_path / "errors.csv"
    rows = 200000
    lines = [f"{1700000000 + i},{i},{'filling ' * 6}{i}" for i in range(rows)]
    lines[1000] = "yesterday,0,x"
    path.write_text("time,n,s\n" + "\n".join(lines) + "\n")
    _, told = importer(path, "--table", "m", "--errors", errors, "--max-errors", "0", code=1)
    assert "line 1002, column time: 'yesterday' is not a time" in told and "stopped" in told
    assert errors.read_text() == "line,column,text,reason\n1002,time,yesterday,'yesterday' is not a time\n"
    stored = importer.node.sql("SELECT count(*) FROM m")[0][0]
    assert 1000 < stored < rows - 1
    importer.node.kill9()
    _, told = importer(path, "--table", "m", code=1)
    assert "going on at line" in told or "onnect" in told
    importer.node.start()
    _, told = importer(path, "--table", "m", code=1)
    assert f"going on at line {stored + 3}" in told, told
    assert importer.node.sql("SELECT count(*), sum(n) FROM m") == [[rows - 1, rows * (rows - 1) // 2 - 1000]]
    _, told = importer(path, "--table", "m", code=1)
    assert "going on" not in told
