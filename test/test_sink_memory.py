"""A Sink's memory has a bound of bytes, however long its rows are: batches end where their texts are enough."""
import json

import pytest

from conftest import wait_for
from mqtt_client import Client, mqtt_node
from test_sinks import row, sink, sinks, write

LIMIT_S = 60
AGAIN = {"from": "beginning", "batch": {"rows": 10000, "linger": "10ms"}, "mqtt": {"topic": "out/{device}", "qos": 1}}


@pytest.fixture(name="node")
def node_fixture(node_factory):
    return mqtt_node(node_factory)


def write_long(node, rows, size):
    """`rows` rows of `size` bytes of text; those of one device lie in parts."""
    for at in range(0, rows, 10):
        write(node, "press", *(row(f"d{i % 2}", i, n=i, note=chr(65 + i % 26) * size) for i in range(at, min(at + 10, rows))))
    node.sql("CHECKPOINT")


def all_came(node, name, here, rows, what=lambda r: r["n"]):
    seen = []

    def done():
        seen.extend(json.loads(m.payload) for m in here.got[len(seen):])
        return len({what(r) for r in seen}) == rows

    wait_for(done, LIMIT_S, f"{len(seen)} of {rows}: {sinks(node, name)}")
    assert sinks(node, name)["failures"] == 0
    return seen


@pytest.mark.parametrize("rows,size", [(900, 48_000), (40, 1_000_000)])
def test_rows_of_more_text_than_a_sink_has_memory_go_out_in_smaller_batches(node, rows, size):
    write_long(node, rows, size)
    here = Client(node, "here")
    here.subscribe(("out/#", 1))
    sink(node, "out", table="press", **AGAIN)
    seen = all_came(node, "out", here, rows)
    for device in (0, 1):
        assert [r["n"] for r in seen if r["n"] % 2 == device] == list(range(device, rows, 2)), "each once, in their order"


def test_a_query_whose_join_gives_several_rows_is_cut_between_rows_of_the_table(node):
    write(node, "kinds", *(row("k", i, kind=i) for i in range(3)))
    write_long(node, 400, 40_000)
    here = Client(node, "here")
    here.subscribe(("out/#", 1))
    sink(node, "out", query="SELECT p.device, p.n, k.kind, p.note FROM press p JOIN kinds k ON p.n >= k.kind", **AGAIN)
    seen = all_came(node, "out", here, 1197, lambda r: (r["n"], r["kind"]))
    assert {(r["n"], r["kind"]) for r in seen} == {(n, k) for n in range(400) for k in range(3) if n >= k}


def test_rows_that_have_not_changed_need_no_memory(node):
    write_long(node, 900, 48_000)
    write(node, "press", *(row("same", i, n=1000, note="x" * 60_000) for i in range(15)))
    here = Client(node, "here")
    here.subscribe(("out/#", 1))
    sink(node, "out", query="SELECT device, note FROM press WHERE n >= 0", onChange=True, **AGAIN)
    wait_for(lambda: any(m.topic == "out/same" for m in here.got), LIMIT_S, f"{sinks(node, 'out')}")
    assert sum(m.topic == "out/same" for m in here.got) == 1
    assert sinks(node, "out")["failures"] == 0


def test_a_result_at_an_interval_goes_out_in_smaller_batches(node):
    write_long(node, 900, 48_000)
    here = Client(node, "here")
    here.subscribe(("out/#", 1))
    sink(node, "out", query="SELECT device, n, note FROM press", every="10s", batch={"rows": 10000}, mqtt={"topic": "out/{device}", "qos": 1})
    all_came(node, "out", here, 900)
