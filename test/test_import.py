"""POST /v1/import: rows of CSV go where the parameters say, and what is wrong is named by line and column."""
import concurrent.futures
import gzip
import json
import os
import subprocess
import time
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
    assert "whole number" in importer(path, "--table", "m", "--max-errors", "none", code=1)[1]
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


def test_a_whole_number_column_becomes_double_where_the_table_lets_it(node_factory, importer, tmp_path):
    node = importer.node
    text = "time,device,n,k\n" + "".join(f"{1_700_000_000 + i},d,{i},{i}\n" for i in range(1000)) + "1800000000,d,0.5,1.25\n1800000001,d,7,8\n"
    status, answer = send(node, text, types="n:bigint,k:bigint", table="w")
    assert (status, answer) == (200, {"rows": 1002, "refused": 0, "errors": [], "widened": ["n", "k"]})
    assert node.sql("SELECT sum(n), sum(k), count(*) FROM w") == [[499500 + 7.5, 499500 + 9.25, 1002]]
    assert [row[:2] for row in node.sql("DESCRIBE w") if row[0] in "nk"] == [["n", "double"], ["k", "double"]]
    node.kill9()
    node.start()
    assert node.sql("SELECT sum(n) FROM w") == [[499507.5]]
    node.sql("CREATE TABLE o (n bigint)")
    status, answer = send(node, "time,device,n\n1800000000,d,0.5\n1800000001,d,7\n", table="o")
    assert (status, answer["rows"], answer["refused"]) == (400, 1, 1), "a type that somebody chose stays"
    path = tmp_path / "late.csv"
    path.write_text("time,v\n" + "".join(f"{1_700_000_000 + i},{i}\n" for i in range(700_000)) + "1700700000,0.5\n")
    assert path.stat().st_size > 8 * 1024 * 1024
    _, told = importer(path, "--table", "late")
    assert "column v holds fractions further on" in told and "(all)" not in told
    assert node.sql("SELECT count(*), sum(v) FROM late") == [[700_001, 700_000 * 699_999 / 2 + 0.5]]
    path.write_text("time,v\n" + "".join(f"{1_700_000_000 + i},{i}\n" for i in range(50_000)) + "1700700000,0.5\n")
    _, told = importer(path, "--table", "small")
    assert "looked at 50001 rows (all)" in told and "further on" not in told


def test_names_may_hold_commas_and_quotes(importer):
    out, _ = importer("-", "--table", 'odd "t', "--json", "--columns", 'time,"a,b","l,1"', "--labels", '"l,1"', "--device-name", "d",
                      stdin=b"2026-11-21,1,x\n", code=1)
    assert json.loads(out)["table"] == 'odd "t', "JSON whatever the name"
    importer("-", "--table", "m", "--columns", 'time,"a,b","l,1"', "--labels", '"l,1"', "--device-name", "d", stdin=b"2026-11-21,1,x\n")
    assert importer.node.sql('SELECT "a,b", label."l,1" FROM m') == [[1, "x"]]


def many_lines(path, rows, device="d", filling="filling " * 6):
    path.write_text("time,device,n,s\n" + "".join(f"{1_700_000_000_000 + i},{device},{i},{filling}{i}\n" for i in range(rows)))


def begin(importer, tmp_path, *arguments):
    return subprocess.Popen([importer.node.millrace, "import", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE,
                            env=dict(os.environ, MILLRACE_DATA=importer.node.data, XDG_STATE_HOME=str(tmp_path / "state")))


def wait_for_a_piece(tmp_path, process):
    """Until the node has acknowledged one."""
    folder = tmp_path / "state" / "millrace" / "imports"
    while not folder.exists() or not any(not name.endswith(".new") for name in os.listdir(folder)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def test_a_killed_client_a_stopped_and_a_killed_node_are_gone_on_from(importer, tmp_path):
    rows = 240_000
    for number, cut in enumerate(("client", "stop", "kill -9")):
        path = tmp_path / f"f{number}.csv"
        many_lines(path, rows, f"d{number}")
        process = begin(importer, tmp_path, path, "--table", f"t{number}")
        wait_for_a_piece(tmp_path, process)
        assert process.poll() is None, "it is in the middle"
        if cut == "client":
            process.kill()
        elif cut == "stop":
            assert importer.node.stop() == 0, importer.node.log()
        else:
            importer.node.kill9()
        told = process.communicate(timeout=60)[1].decode()
        assert process.returncode == (-9 if cut == "client" else 1), told
        assert cut == "client" or "the same command goes on there" in told
        if cut != "client":
            importer.node.start()
        _, told = importer(path, "--table", f"t{number}")
        assert "going on at line" in told and f"{rows} rows" in told, told
        assert importer.node.sql(f"SELECT count(*), sum(n), max(s) FROM t{number}") == [[rows, rows * (rows - 1) // 2, "filling " * 6 + "99999"]]


def test_a_node_that_comes_back_within_seconds_is_waited_for(importer, tmp_path):
    path, rows = tmp_path / "f.csv", 240_000
    many_lines(path, rows)
    process = begin(importer, tmp_path, path, "--table", "t")
    wait_for_a_piece(tmp_path, process)
    importer.node.kill9()
    importer.node.start()
    told = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 0, told
    assert importer.node.sql("SELECT count(*), sum(n) FROM t") == [[rows, rows * (rows - 1) // 2]]


def test_imports_larger_than_the_room_for_rows_under_way_are_stored(node_factory):
    node = node_factory(settings=["memory=32MiB"])
    rows = 10_000
    body = "time,device,n,s\n" + "".join(f"{1_700_000_000_000 + i},d,{i},{'x' * 600}{i}\n" for i in range(rows))
    assert [send(node, body, types="n:bigint,s:text", table="p") for _ in range(3)] == [stored(rows)] * 3


def test_imports_at_once_with_little_memory_lose_nothing(node_factory):
    """Four requests make the same new table; whoever finds no room is told so and comes again."""
    node = node_factory(settings=["memory=64MiB"])
    rows = 25_000
    bodies = ["time,device,n,s\n" + "".join(f"{1_700_000_000_000 + i},d{k},{i},{'x' * 600}{i}\n" for i in range(rows)) for k in range(4)]

    def until_taken(body):
        for _ in range(100):
            answer = send(node, body, types="n:bigint,s:text", table="p")
            if answer[0] != 503:
                return answer
            assert answer[1]["error"]["code"] in ("BUDGET", "NO_MEMORY"), answer
            time.sleep(0.1)
        return answer
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(until_taken, bodies)) == [stored(rows)] * 4
    assert node.sql("SELECT device, count(*), sum(n) FROM p GROUP BY device ORDER BY device") == [
        [f"d{k}", rows, rows * (rows - 1) // 2] for k in range(4)]
