"""Sinks whose rows are a query's: over the new rows of a table, of which none is missed, and at an interval."""
import json
import time

import pytest

from conftest import wait_for
from mqtt_client import LIMIT_S, Client, mqtt_node
from sparkplug import parse
from test_rights import Plant, document
from test_sinks import API, T0, row, sink, sinks, write

AGAIN = {"from": "beginning"}


@pytest.fixture(name="node")
def node_fixture(node_factory):
    return mqtt_node(node_factory)


def listen(node, *filters):
    here = Client(node, "here")
    here.subscribe(*((f, 1) for f in filters or ("#",)))
    return here


def test_a_query_over_new_rows_selects_computes_and_looks_up(node):
    """ASOF JOIN: to each row the recipe that was set last."""
    write(node, "recipes", row("l1/p1", 0, recipe="A"), row("l1/p1", 1500, recipe="B"), row("l1/p2", 0, recipe="C"))
    here = listen(node, "data/#")
    sink(node, "out", **AGAIN, query="SELECT p.time, p.device, p.n * 2 AS twice, r.recipe FROM press p "
         "ASOF LEFT JOIN recipes r ON p.device = r.device AND p.time >= r.time WHERE p.n > 1")
    write(node, "press", *(row("l1/p1", 1000 * n, n=n) for n in range(4)), row("l1/p2", 5000, n=9), row("l1/p3", 0, n=7))
    assert sorted(((t, json.loads(p)) for t, p, _, _ in here.wait(4)), key=str) == [
        ("data/l1/p1/press", {"time": "2026-01-02T03:04:08Z", "twice": 4, "recipe": "B"}),
        ("data/l1/p1/press", {"time": "2026-01-02T03:04:09Z", "twice": 6, "recipe": "B"}),
        ("data/l1/p2/press", {"time": "2026-01-02T03:04:11Z", "twice": 18, "recipe": "C"}),
        ("data/l1/p3/press", {"time": "2026-01-02T03:04:06Z", "twice": 14})], "a cell without a match is left out"
    assert sinks(node, "out")["state"] in ("idle", "sending")


def test_what_a_query_does_not_select_the_row_still_is(node):
    """Neither time nor device is selected: they are those of the table's row."""
    here = listen(node, "data/#")
    sink(node, "out", **AGAIN, query="SELECT n FROM press")
    write(node, "press", row("l1/p1", 0, n=1))
    assert [(t, json.loads(p)) for t, p, _, _ in here.wait(1)] == [("data/l1/p1/press", {"time": "2026-01-02T03:04:06Z", "n": 1})]


def test_columns_of_the_query_make_topics_and_the_device_stands_in_the_payload_if_not_in_the_topic(node):
    here = listen(node, "plant/#")
    sink(node, "out", **AGAIN, query="SELECT device, n, upper(note) AS note FROM press", mqtt={"topic": "plant/{note}", "time": "ms"})
    write(node, "press", row("l1/p1", 0, n=1, note="a"))
    assert [(t, json.loads(p)) for t, p, _, _ in here.wait(1)] == [("plant/A", {"time": T0, "device": "l1/p1", "n": 1, "note": "A"})]


def ended_in_the_middle(node, query, rows, batch, end):
    """What a Sink of `query` over press publishes in all when it ends while a pass is under way."""
    here = Client(node, "kept", clean=False)
    here.connect(expiry=3600)
    here.subscribe(("out/#", 1))
    here.close()
    for first in range(0, rows, 1000):
        write(node, "press", *(row("d", i, n=i) for i in range(first, min(first + 1000, rows))))
    slow = {**AGAIN, "query": query, "batch": {"rows": batch, "linger": "10ms"}, "mqtt": {"topic": "out/{device}"}}
    sink(node, "out", **slow, rate=1000)
    end()
    sink(node, "out", 200, "PUT", **slow)
    here = Client(node, "kept", clean=False, connect=False)
    here.connect(expiry=3600)
    return here


def test_a_query_that_calls_devices_and_times_otherwise_misses_no_row(node):
    """The cursor is the table's row, not what the query makes of it: killed behind a saving of the cursor, of which there is one a second."""
    def kill():
        time.sleep(3.2)
        node.kill9()
        node.start()

    write(node, "press", row("a", 0, n=-1))
    here = ended_in_the_middle(node, "SELECT 'a' AS device, p.time + 1000d AS time, p.n FROM press p", 9000, 100, kill)
    wait_for(lambda: set(range(9000)) <= {json.loads(m.payload)["n"] for m in here.got}, LIMIT_S, "rows are missing")


def test_a_row_that_a_join_makes_many_of_is_gone_on_with_from_its_beginning(node):
    """A batch of 1024 is sent, which ends in the middle of them, when the node ends and keeps the cursor."""
    def stop():
        wait_for(lambda: sinks(node, "out")["sent"] == 1024, LIMIT_S, "not sent")
        node.restart()

    write(node, "parts", *(row("x", i, part=i) for i in range(40)))
    here = ended_in_the_middle(node, "SELECT p.device, p.n, r.part FROM press p CROSS JOIN parts r", 200, 1024, stop)

    def got():
        return {(m["n"], m["part"]) for m in (json.loads(x.payload) for x in here.got)}

    wait_for(lambda: got() == {(n, part) for n in range(200) for part in range(40)}, LIMIT_S, "rows are missing")


def test_a_query_at_an_interval_gives_its_result_each_time(node):
    write(node, "press", *(row(f"l1/p{i % 2}", i, n=i) for i in range(10)))
    here = listen(node, "report/#")
    sink(node, "out", query="SELECT device, avg(n) AS mean, count(*) AS c, now() AS at FROM press GROUP BY device", every="1s",
         mqtt={"topic": "report/{device}", "time": "ms"})
    got = [(t, json.loads(p)) for t, p, _, _ in here.wait(4)]
    assert {(t, p["mean"], p["c"]) for t, p in got} == {("report/l1/p0", 4, 5), ("report/l1/p1", 5, 5)}
    times = sorted({p["time"] for _, p in got})
    assert len(times) >= 2 and all(t % 1000 == 0 for t in times), "at whole seconds, which are now() of the query"
    write(node, "press", row("l1/p2", 0, n=100))
    wait_for(lambda: any(m.topic == "report/l1/p2" for m in here.got), LIMIT_S, "the next run sees it")
    assert sinks(node, "out")["error"] is None


def test_a_query_at_an_interval_may_send_what_has_changed_only(node):
    write(node, "press", row("a", 0, n=1), row("b", 0, n=2))
    here = listen(node, "report/#")
    sink(node, "out", query="SELECT device, last(n) AS n FROM press GROUP BY device", every="200ms", onChange=True, mqtt={"topic": "report/{device}"})
    here.wait(2)
    time.sleep(1)
    write(node, "press", row("b", 1000, n=3))
    here.wait(1)
    time.sleep(0.7)
    assert [(m.topic, json.loads(m.payload)["n"]) for m in here.got][2:] == [("report/b", 3)]


def test_a_query_without_devices_has_a_topic_without_them(node):
    write(node, "press", row("a", 0, n=1), row("b", 0, n=2))
    here = listen(node, "total")
    sink(node, "out", query="SELECT sum(n) AS total FROM press", every="300ms", mqtt={"topic": "total"})
    assert json.loads(here.wait(1)[0][1])["total"] == 3
    sink(node, "lost", query="SELECT sum(n) AS total FROM press", every="300ms", mqtt={"topic": "x/{device}"})
    wait_for(lambda: "no column device" in ((sinks(node, "lost") or {}).get("error") or ""), LIMIT_S, "not told")


def test_a_query_at_an_interval_waits_for_its_table(node):
    here = listen(node, "total")
    sink(node, "out", query="SELECT count(*) AS c FROM later", every="300ms", mqtt={"topic": "total"})
    wait_for(lambda: "later" in ((sinks(node, "out") or {}).get("error") or ""), LIMIT_S, "no error")
    write(node, "later", row("a", 0, n=1))
    assert json.loads(here.wait(1)[0][1])["c"] == 1


def test_a_query_as_an_edge_node_of_sparkplug(node):
    write(node, "press", row("l1/p1", 0, n=1))
    here = listen(node, "spBv1.0/#")
    sink(node, "out", query="SELECT device, max(n) AS top FROM press GROUP BY device", every="300ms", mqtt={"format": "sparkplug", "group": "g", "edge": "e"})
    wait_for(lambda: len(here.got) >= 3, LIMIT_S, "no births and data")
    assert [m.topic for m in here.got[:3]] == ["spBv1.0/g/NBIRTH/e", "spBv1.0/g/DBIRTH/e/l1:p1", "spBv1.0/g/DDATA/e/l1:p1"]
    assert [m.name for m in parse(here.got[1].payload).metrics] == ["top"]


def test_a_query_that_cannot_be_followed_is_refused_with_the_way_out(node):
    def says(expected, **spec):
        text = sink(node, "x", 422, **spec)
        assert expected in text, text

    says("at character 8: avg is an aggregate: it needs more than the row that is new; run the query at an interval", query="SELECT avg(n) FROM press")
    says("GROUP BY cannot be said of rows one by one", query="SELECT device FROM press GROUP BY device")
    says("begins with SELECT", query="SHOW HEALTH")
    says("ORDER BY cannot be said", query="SELECT n FROM press ORDER BY n")
    says("LIMIT cannot be said", query="SELECT n FROM press LIMIT 1")
    says("UNION and its like", query="SELECT n FROM press UNION SELECT n FROM other")
    says("lag is a window function", query="SELECT lag(n) OVER (ORDER BY time) FROM press")
    says("RIGHT and FULL joins", query="SELECT 1 AS one FROM press p RIGHT JOIN other o ON p.device = o.device")
    says("the first of FROM must be a table", query="SELECT n FROM (SELECT n FROM press) p")
    says("cannot be joined with itself", query="SELECT p.n FROM press p JOIN press q ON p.device = q.device")
    says("at character 14: expected the end", query="SELECT n FRM press")
    says("a query begins with SELECT", query="DELETE FROM press WHERE time < now()", every="1s")
    says("is no table of this namespace", query="SELECT * FROM sys.users", every="1s", mqtt={"topic": "x"})
    says("a table or a query", query="SELECT n FROM press", table="press")
    says("say what goes out", mqtt={"topic": "x"})
    says("the query says that itself", query="SELECT n FROM press", where="n > 1")
    says("is of a query", table="press", every="10s")
    says("at least 100ms", query="SELECT n FROM press", every="10ms", mqtt={"topic": "x"})
    says("begins with its next run", query="SELECT n FROM press", every="1s", mqtt={"topic": "x"}, **AGAIN)
    says("has no {table}", query="SELECT n FROM press", every="1s")


def test_who_makes_a_sink_must_have_the_right_to_every_table_of_its_query(node):
    write(node, "press", row("a", 0, n=1))
    write(node, "secret", row("a", 0, n=2))
    plant = Plant(node)
    login = plant.user("ann", [{"verbs": ["query"], "kinds": ["Table"], "names": ["press"]}, {"verbs": ["create", "get"], "kinds": ["Sink"]},
                               {"verbs": ["publish"], "paths": ["out/#"]}])

    def made(name, query):
        return plant.call("POST", API, document("Sink", name, {"query": query, "every": "1s", "mqtt": {"topic": "out/x"}}), login)

    for query in ("SELECT * FROM secret", "SELECT 1 FROM press p JOIN public.secret s ON p.device = s.device", "SELECT (SELECT max(n) FROM secret) AS m FROM press",
                  "WITH x AS (SELECT * FROM secret) SELECT * FROM press", "SELECT 1 FROM press WHERE EXISTS (SELECT 1 FROM secret)",
                  "SELECT n FROM press UNION SELECT n FROM secret", "SELECT n FROM press ORDER BY (SELECT max(n) FROM secret)"):
        status, answer = made("sly", query)
        assert status == 403 and "secret" in answer["message"], (query, answer)
    assert made("fair", "SELECT max(n) AS top FROM press")[0] == 201
