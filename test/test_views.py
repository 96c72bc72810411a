"""Views are documents and statements alike; INSERT … SELECT over HTTP, in several batches."""
import json
import threading

API = "/apis/millrace.io/v1"
PASSWORD = "a-good-password"
ROWS = 40_000


def make(node, kind, name, spec, where=""):
    document = {"apiVersion": "millrace.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    status, answer = node.request("POST", f"{API}{where}/{kind.lower()}s", json.dumps(document), headers={"Content-Type": "application/json"})
    assert status == 201, answer


def fill(node):
    lines = "\n".join(f"press,device=line{1 + i % 2}/d temperature={i % 100},parts={i}i {i}" for i in range(100))
    assert node.request("POST", "/write?precision=ms", lines) == (204, "")


def test_a_view_made_by_a_statement_is_a_document_and_outlives_a_restart(node_factory):
    node = node_factory()
    fill(node)
    node.sql("CREATE VIEW hot_presses AS SELECT time, device, temperature AS t FROM press WHERE temperature >= 90")
    assert node.sql("SELECT count(*), min(t) FROM hot_presses") == [[10, 90]]
    status, text = node.request("GET", f"{API}/namespaces/default/views/hot-presses")
    assert status == 200 and json.loads(text)["spec"]["query"].startswith("SELECT time, device")
    assert ["public", "hot_presses", "view"] in node.sql("SHOW TABLES")
    assert [row[:2] for row in node.sql("DESCRIBE hot_presses")] == [["time", "timestamp"], ["device", "text"], ["t", "double"]]
    status, text = node.request("POST", "/v1/sql", "CREATE VIEW hot_presses AS SELECT 1 AS x")
    assert status == 409 and "CREATE OR REPLACE VIEW" in text
    node.sql("CREATE OR REPLACE VIEW hot_presses AS SELECT device, max(temperature) AS t FROM press GROUP BY device")
    node.restart()
    assert node.sql("SELECT device, t FROM hot_presses ORDER BY device") == [["line1/d", 98], ["line2/d", 99]]
    node.sql("DROP VIEW hot_presses")
    node.sql("DROP VIEW IF EXISTS hot_presses")
    assert node.request("GET", f"{API}/namespaces/default/views/hot-presses")[0] == 404
    assert node.request("POST", "/v1/sql", "SELECT * FROM hot_presses")[0] == 404


def test_a_view_made_by_a_document_shows_only_what_its_reader_may_read(node_factory):
    node = node_factory()
    fill(node)
    make(node, "View", "all-presses", {"query": "SELECT device, temperature FROM press", "description": "every press"}, "/namespaces/default")
    make(node, "Role", "reader", {"rules": [{"verbs": ["query"], "paths": ["line1/#"]}]})
    make(node, "Role", "none", {"rules": [{"verbs": ["query"], "kinds": ["Table"], "names": ["other"]}]})
    for name in ("reader", "none"):
        make(node, "User", name, {"roles": [name], "password": PASSWORD})
    assert node.sql("SELECT count(*) FROM all_presses") == [[100]]
    status, text = node.request("POST", "/v1/sql", "SELECT count(*) FROM all_presses", token=f"reader:{PASSWORD}")
    assert status == 200 and json.loads(text)["rows"] == [[50]]
    status, text = node.request("POST", "/v1/sql", "SELECT count(*) FROM all_presses", token=f"none:{PASSWORD}")
    assert status in (403, 404), text
    status, text = node.request("POST", "/v1/sql", "CREATE VIEW mine AS SELECT 1 AS x", token=f"reader:{PASSWORD}")
    assert status == 403, text


def test_insert_select_takes_more_rows_than_one_batch_holds(node_factory):
    node = node_factory()
    for base in range(0, ROWS, 20_000):
        lines = "\n".join(f"m,device=d{i % 7} v={i}i,s=\"text {i}\" {i}" for i in range(base, base + 20_000))
        assert node.request("POST", "/write?precision=ms", lines) == (204, "")
    node.sql("CREATE TABLE copy (v double, s text)")
    assert node.sql("INSERT INTO copy (time, device, v, s) SELECT time, 'all', v, s FROM m") == [[ROWS]]
    assert node.sql("SELECT count(*), sum(v), count(DISTINCT s) FROM copy") == [[ROWS, ROWS * (ROWS - 1) // 2, ROWS]]
    assert node.sql("INSERT INTO copy (time, device, v) SELECT time, device, v FROM m WHERE v < 0") == [[0]]
    join = "SELECT count(*) FROM m JOIN copy c USING (time) WHERE m.v = c.v AND c.v < 10000"
    assert node.sql(join) == [[10_000]]


def test_of_two_who_drop_a_view_at_once_one_is_told_that_it_is_gone(node_factory):
    """REST and SQL change documents one after the other."""
    node = node_factory()
    for turn in range(30):
        node.sql(f"CREATE VIEW v{turn} AS SELECT {turn} AS x")
        answers = {}
        start = threading.Barrier(3)

        def ask(who, *request, begin=start, into=answers):
            begin.wait()
            into[who] = node.request(*request)[0]

        threads = [threading.Thread(target=ask, args=("rest", "DELETE", f"{API}/namespaces/default/views/v{turn}")),
                   threading.Thread(target=ask, args=("sql", "POST", "/v1/sql", f"DROP VIEW v{turn}")),
                   threading.Thread(target=ask, args=("again", "POST", "/v1/sql", f"DROP VIEW v{turn}"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers.values()) == [200, 404, 404], (turn, answers)
