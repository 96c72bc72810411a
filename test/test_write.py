"""Line protocol on /write, as an InfluxDB client of version 1 sends it: what is kept, what is refused, in which order."""
import json
import time


def write(node, text, query=""):
    return node.request("POST", "/write" + query, text)


def test_tables_and_columns_appear_in_the_middle_of_a_request(node_factory):
    node = node_factory()
    text = "\n".join(["m,device=a t=1 1000000000", "m,device=a t=2,p=5i 2000000000", "n,device=a on=true 1000000000",
                      "m,device=b t=3,q=\"x\" 3000000000"])
    assert write(node, text) == (204, "")
    assert node.sql("SELECT device, t, p, q FROM m ORDER BY time") == [["a", 1, None, None], ["a", 2, 5, None],
                                                                       ["b", 3, None, "x"]]
    assert node.sql("SELECT device, \"on\" FROM n") == [["a", True]]


def test_of_two_lines_with_one_time_the_later_counts_though_the_earlier_brings_a_column(node_factory):
    node = node_factory()
    assert write(node, "m,device=a t=0 1") == (204, "")
    assert write(node, "m,device=a t=1,new=1 1000000000\nm,device=a t=2 1000000000") == (204, "")
    assert node.sql("SELECT t, new FROM m WHERE time >= '1970-01-01T00:00:01Z'") == [[2, 1]]


def test_a_bad_line_is_named_once_and_the_good_ones_are_kept(node_factory):
    node = node_factory()
    text = "\n".join(["m,device=a t=1 1", "# a comment", "m,device=a t= 2", "m,device=a t=\"text\" 3", "m t=4 4",
                      "m,device=a t=5,fresh=1 5", "a/b,device=a t=6 6"])
    status, answer = write(node, text)
    message = json.loads(answer)["error"]
    assert status == 400 and message.startswith("partial write: 4 of 6 lines refused"), message
    for part in ("line 3: byte 14", "line 4: field \"t\" is text", "line 5: no tag names the device", "line 7: "):
        assert message.count(part) == 1, message
    assert node.sql("SELECT t, fresh FROM m ORDER BY time") == [[1, None], [5, 1]]


def test_a_closed_table_takes_no_new_column_and_says_so(node_factory, tmp_path):
    manifest = tmp_path / "table.yaml"
    manifest.write_text("apiVersion: millrace.io/v1\nkind: Table\nmetadata: {name: m}\n"
                        "spec: {open: false, columns: [{name: t, type: double}]}\n")
    node = node_factory(manifests=[str(manifest)])
    status, answer = write(node, "m,device=a t=1 1\nm,device=a t=2,u=1 2\nm,device=a t=3 3")
    assert status == 400 and "line 2: table m has no column \"u\"" in json.loads(answer)["error"]
    assert node.sql("SELECT t FROM m ORDER BY time") == [[1], [3]]


def test_precision_and_many_devices(node_factory):
    node = node_factory()
    text = "\n".join(f"m,device=d{i % 300:03} v={i}i {1700000000 + i}" for i in range(3000))
    assert write(node, text, "?precision=s") == (204, "")
    assert node.sql("SELECT count(*), count(DISTINCT device), sum(v) FROM m") == [[3000, 300, 3000 * 2999 // 2]]
    assert node.sql("SELECT time FROM m WHERE v = 7") == [["2023-11-14T22:13:27Z"]]
    status, answer = write(node, "m,device=a v=1i 1", "?precision=days")
    assert status == 400 and "precision=days" in answer


def rows(node, body, query="?table=m"):
    status, answer = node.request("POST", "/v1/rows" + query, body if isinstance(body, str) else json.dumps(body))
    return status, json.loads(answer)


def test_rows_and_statements_need_a_namespace_that_a_document_can_have(node_factory):
    node = node_factory()
    longest = "n" * 253
    for ns in ("n" * 254, "n" * 256, "n" * 300, "My_Site", "-a", "a%2Fb"):
        for path, body in (("/write?db=", "m,device=a t=1 1"), ("/v1/rows?table=m&device=a&ns=", '{"t": 1}'),
                           ("/v1/sql?ns=", "CREATE TABLE m (t double)"), ("/v1/sql?ns=", "SELECT 1")):
            status, answer = node.request("POST", path + ns, body)
            assert status == 400 and "namespace '" + ns[:1] in answer, (path, status, answer)
    assert write(node, "m,device=a t=1 1", f"?db={longest}") == (204, "")
    status, answer = node.request("POST", f"/v1/sql?ns={longest}", "SELECT t FROM m")
    assert status == 200 and json.loads(answer)["rows"] == [[1]], answer


def test_json_rows_make_tables_and_keep_quality(node_factory):
    node = node_factory()
    row = {"time": "2026-11-21T01:02:03.5Z", "device": "line3/p7", "t": 21, "on": True, "name": "x"}
    assert rows(node, row) == (200, {"rows": 1})
    bad = {"time": 1795230245500, "device": "line3/p7", "t": None, "t@q": "BadNoCommunication"}
    assert rows(node, [bad, {"time": 1795230246500, "t": 21.5}], "?table=m&device=other") == (200, {"rows": 2})
    assert node.sql("SELECT time, device, t, \"on\", name, quality(t) FROM m ORDER BY time") == [
        ["2026-11-21T01:02:03.5Z", "line3/p7", 21, True, "x", "Good"],
        ["2026-11-21T03:04:05.5Z", "line3/p7", None, None, None, "BadNoCommunication"],
        ["2026-11-21T03:04:06.5Z", "other", 21.5, None, None, "Good"]]


def test_a_json_row_that_is_wrong_is_named_and_the_others_are_kept(node_factory):
    node = node_factory()
    body = "\n".join(['{"time":1,"device":"a","t":1}', '{"time":2,"device":"a","t":"warm"}', '{"time":3,"t":3}',
                      '{"time":4,"device":"a","t":{"v":1}}', '{"time":5,"device":"a","t":5,"u":true}', '{"time":6,"devi'])
    status, answer = rows(node, body)
    assert status == 400 and answer["rows"] == 2 and answer["refused"] == 4, answer
    for part in ("row 2: field \"t\" is text", "row 3: nothing names the device", "row 4: \"t\" is an object", "row 6: byte "):
        assert answer["error"]["message"].count(part) == 1, answer
    assert node.sql("SELECT t, u FROM m ORDER BY time") == [[1, None], [5, True]]
    assert rows(node, "{}", "")[0] == 400


def test_json_values_take_the_form_of_their_column(node_factory):
    node = node_factory()
    node.sql("CREATE TABLE m (n bigint, big ubigint, at timestamp, raw bytes, wave double[])")
    body = {"time": 1, "device": "a", "n": 5.0, "big": "18446744073709551615", "at": "2026-11-21T00:00:00Z", "raw": "AP8Q",
            "wave": [1, 2.5]}
    assert rows(node, body) == (200, {"rows": 1})
    assert node.sql("SELECT n, big, at, raw, wave FROM m") == [
        [5, "18446744073709551615", "2026-11-21T00:00:00Z", "AP8Q", [1, 2.5]]]
    for column, value in (("n", 5.5), ("big", -1), ("raw", "A==="), ("at", True)):
        assert rows(node, {"time": 2, "device": "a", column: value})[0] == 400, column


def test_thousands_of_tables_do_not_stall_the_node(node_factory):
    """Documents are made and looked after all at once, every ten seconds."""
    node, waits_s = node_factory(settings=["memory=512MiB"]), []
    for first in range(0, 4000, 200):
        lines = "".join(f"table_with_a_long_name_{n},device=d v=1\n" for n in range(first, first + 200))
        assert node.request("POST", "/write", lines)[0] == 204
    ending = time.monotonic() + 12
    while time.monotonic() < ending:
        began = time.monotonic()
        assert node.request("GET", "/healthz", token=None)[0] == 200
        waits_s.append(time.monotonic() - began)
    assert len(json.loads(node.request("GET", "/apis/millrace.io/v1/namespaces/default/tables")[1])["items"]) == 4000
    assert max(waits_s) < 1.5, sorted(waits_s)[-3:]
