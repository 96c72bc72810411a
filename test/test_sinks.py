"""Kind Sink: rows of a table go out as messages, in order by device, and none is missing, whatever happens in between."""
import json
import os
import random
import subprocess
import time

import pytest

from conftest import ROOT, wait_for
from mqtt_client import LIMIT_S, Client, mqtt_node
from sparkplug import parse, payload
from test_mqtt_bridge import bridge, connected, mosquitto  # noqa: F401 (a fixture)
from test_streams import stream

API = "/apis/millrace.io/v1/namespaces/default/sinks"
T0 = 1767323046000  # 2026-01-02T03:04:06Z


@pytest.fixture(name="node")
def node_fixture(node_factory):
    return mqtt_node(node_factory)


def sink(node, name, expect=201, method="POST", **spec):
    """Makes a Sink; gives the answer."""
    document = {"apiVersion": "millrace.io/v1", "kind": "Sink", "metadata": {"name": name}, "spec": spec}
    path = API if method == "POST" else f"{API}/{name}"
    status, text = node.request(method, path, json.dumps(document), headers={"Content-Type": "application/json"})
    assert status == expect, text
    return text


def write(node, table, *rows):
    body = "\n".join(json.dumps(row) for row in rows)
    status, text = node.request("POST", f"/v1/rows?table={table}", body)
    assert status in (200, 204), text


def row(device, at, **values):
    return {"device": device, "time": T0 + at, **values}


def sinks(node, name):
    found = node.sql(f"SELECT state, sent, skipped, failures, last_error, lag_s FROM sys.sinks WHERE name = '{name}'")
    return dict(zip(("state", "sent", "skipped", "failures", "error", "lag_s"), found[0])) if found else None


def caught_up(node, name, rows):
    wait_for(lambda: (sinks(node, name) or {}).get("sent", 0) >= rows, LIMIT_S, f"not sent: {sinks(node, name)}")


def test_rows_written_come_to_a_subscriber_as_they_would_be_published(node):
    write(node, "press", row("l1/p1", 0, temperature=20.5, on=True))
    here = Client(node, "here")
    here.subscribe(("data/#", 1))
    sink(node, "out", table="press")
    wait_for(lambda: sinks(node, "out"), LIMIT_S, "no sink")
    time.sleep(0.5)
    write(node, "press", row("l1/p1", 1000, temperature=21.5, on=False), row("l1/p2", 1000, temperature=None, **{"temperature@q": "BadTimeout"}))
    got = here.wait(2)
    assert sorted((t, json.loads(p), q) for t, p, q, _ in got) == [
        ("data/l1/p1/press", {"time": "2026-01-02T03:04:07Z", "temperature": 21.5, "on": False}, 1),
        ("data/l1/p2/press", {"time": "2026-01-02T03:04:07Z", "temperature": None, "temperature@q": "BadTimeout"}, 1)]
    caught_up(node, "out", 2)
    assert node.sql("SELECT count(*) FROM press") == [[3]], "what a sink publishes is not taken in again"


def test_kill_9_in_the_middle_loses_nothing_and_keeps_the_order_of_each_device(node):
    """The subscriber's session is kept, so what was confirmed reaches it; rows may come twice, none is missing."""
    devices, sent = 5, 0
    here = Client(node, "kept", clean=False)
    here.connect(expiry=3600)
    here.subscribe(("data/#", 1))
    here.close()
    write(node, "press", row("d0", 0, n=-1))
    sink(node, "out", table="press", **{"from": "beginning"}, batch={"rows": 300, "linger": "10ms"})
    dice = random.Random(7)
    for kill in range(5):
        caught_up(node, "out", 1)
        for _ in range(4):
            write(node, "press", *(row(f"d{i % devices}", i * 10, n=i) for i in range(sent, sent + 500)))
            sent += 500
        time.sleep(dice.random() * 0.1)
        if kill == 2:
            node.sql("CHECKPOINT")
        node.kill9()
        node.start()
        write(node, "press", row("d0", 10**6 + kill, n=-1))
    here = Client(node, "kept", clean=False, connect=False)
    here.connect(expiry=3600)
    stored = {n for n, in node.sql("SELECT n FROM press WHERE n >= 0")}
    assert stored, "rows survive"

    came = []

    def got():
        came.extend((m.topic, json.loads(m.payload)["n"]) for m in here.got[len(came):])
        return {n for _, n in came}

    wait_for(lambda: stored <= got(), LIMIT_S, "rows are missing")
    for device in range(devices):
        seen, first = set(), []
        for n in (n for topic, n in came if topic == f"data/d{device}/press"):
            if n not in seen:
                first.append(n)
            seen.add(n)
        assert first == sorted(first)


def test_a_sink_goes_on_where_it_was_after_it_was_off(node):
    write(node, "press", row("d", 0, n=0))
    here = Client(node, "here")
    here.subscribe(("data/#", 1))
    sink(node, "out", table="press", **{"from": "beginning"})
    here.wait(1)
    caught_up(node, "out", 1)
    here.close()
    sink(node, "out", 200, "PUT", table="press", enabled=False)
    wait_for(lambda: sinks(node, "out") is None, LIMIT_S, "it does not end")
    write(node, "press", *(row("d", 1 + n, n=n) for n in range(1, 50)))
    node.sql("CHECKPOINT")
    node.restart()
    here = Client(node, "here")
    here.subscribe(("data/#", 1))
    write(node, "press", row("d", 60, n=50))
    sink(node, "out", 200, "PUT", table="press")
    wait_for(lambda: {json.loads(m.payload)["n"] for m in here.got} >= set(range(1, 51)), LIMIT_S, "rows are missing")


def collect_messages(node, table, rows, count, **spec):
    """What a new sink publishes of these rows, as (topic, text)."""
    write(node, table, *rows)
    here = Client(node, "here")
    here.subscribe(("#", 1))
    sink(node, "out", table=table, **{"from": "beginning"}, **spec)
    got = [(topic, text) for topic, text, _, _ in here.wait(count)]
    time.sleep(0.5)
    assert len(here.got) == count
    return got


def test_columns_expressions_and_conditions(node):
    got = collect_messages(node, "press", [row("l1/p1", t, temperature=t, pressure=2 * t, note="x") for t in range(10)] + [row("l2/p1", 5, temperature=9.0)],
                           3, columns=["temperature", "temperature * 1.8 + 32 AS fahrenheit"], where="temperature >= 7", devices=["l1/+"])
    assert [json.loads(p) for _, p in got] == [{"time": f"2026-01-02T03:04:06.00{t}Z", "temperature": t, "fahrenheit": pytest.approx(t * 1.8 + 32)}
                                               for t in (7, 8, 9)]


def test_one_topic_a_column(node):
    got = collect_messages(node, "press", [row("l1/p1", 0, temperature=20.5, on=True, note="hot")], 3, mqtt={"format": "value"})
    assert sorted(got) == [("l1/p1/note", "hot"), ("l1/p1/on", "true"), ("l1/p1/temperature", "20.5")]


def test_rows_of_a_topic_together(node):
    got = collect_messages(node, "press", [row(d, t, n=t) for d in ("a", "b") for t in range(3)], 2,
                           mqtt={"format": "json-array", "topic": "out/{table}/{device}", "time": "ms"})
    assert sorted((t, json.loads(p)) for t, p in got) == [(f"out/press/{d}", [{"time": T0 + t, "n": t} for t in range(3)]) for d in ("a", "b")]


def test_csv(node):
    got = collect_messages(node, "press", [row("a", 0, n=1, note='say "hi", he said'), row("b", 0, n=2)], 1,
                           mqtt={"format": "csv", "topic": "out/{table}"})
    lines = got[0][1].splitlines()
    assert got[0][0] == "out/press" and sorted(lines[0].split(",")) == ["device", "n", "note", "time"]
    assert len(lines) == 3 and '"say ""hi"", he said"' in lines[1]


def test_labels_and_columns_in_topics(node):
    got = collect_messages(node, "press", [{**row("a", 0, n=1), "label.site": "sz"}, {**row("b", 0, n=2), "label.site": "bj"}], 2,
                           mqtt={"topic": "{label.site}/{n}/{device}"})
    assert sorted((t, json.loads(p)["n"]) for t, p in got) == [("bj/2/b", 2), ("sz/1/a", 1)]


def test_only_what_has_changed(node):
    got = collect_messages(node, "press", [row("a", t, slow=t // 5, always=1) for t in range(10)], 2, onChange=True)
    assert [json.loads(p) for _, p in got] == [{"time": "2026-01-02T03:04:06Z", "slow": 0, "always": 1},
                                               {"time": "2026-01-02T03:04:06.005Z", "slow": 1}]


def test_a_row_that_makes_no_topic_is_skipped_or_holds_up_the_rest(node):
    rows = [row("a", 0, n=1, where="x"), row("b", 0, n=2, where="+"), row("c", 0, n=3, where="y")]
    got = collect_messages(node, "press", rows, 2, mqtt={"topic": "t/{where}"}, onError="skip")
    assert sorted(t for t, _ in got) == ["t/x", "t/y"]
    assert sinks(node, "out")["skipped"] == 1 and "'t/+' is no topic" in sinks(node, "out")["error"]
    sink(node, "strict", table="press", **{"from": "beginning"}, mqtt={"topic": "u/{where}"})
    wait_for(lambda: (sinks(node, "strict") or {}).get("failures", 0) > 0, LIMIT_S, "no failure")
    assert sinks(node, "strict")["state"] == "failing"


def test_a_document_that_cannot_work_is_refused_with_the_way_out(node):
    assert "braces stand around a name" in sink(node, "x", 422, table="t", mqtt={"topic": "a/{device"})
    assert "needs {column}" in sink(node, "x", 422, table="t", mqtt={"topic": "a/{device}", "format": "value"})
    assert "makes no topic" in sink(node, "x", 422, table="t", mqtt={"topic": "a/+/{device}"})
    assert "spec.devices[0]" in sink(node, "x", 422, table="t", devices=["a#"])
    assert "did you mean" in sink(node, "x", 422, table="t", mqtt={"topics": "a"})


def test_an_expression_that_does_not_fit_is_told_and_tried_again(node):
    write(node, "press", row("a", 0, n=1))
    sink(node, "out", table="press", **{"from": "beginning"}, columns=["later"])
    wait_for(lambda: "later" in ((sinks(node, "out") or {}).get("error") or ""), LIMIT_S, "no error")
    here = Client(node, "here")
    here.subscribe(("data/#", 1))
    write(node, "press", row("a", 1, later=5))
    wait_for(lambda: any(json.loads(m.payload).get("later") == 5 for m in here.got), LIMIT_S, "it does not go on")


def test_a_comment_in_an_expression_ends_with_it(node):
    got = collect_messages(node, "press", [{**row("a", 0, n=1), "label.site": "sz"}], 1, columns=["n -- pieces"], where="n > 0 -- yet", mqtt={"topic": "{label.site}/{device}"})
    assert [(t, json.loads(p)["n"]) for t, p in got] == [("sz/a", 1)]


def test_an_expression_that_swallows_what_the_topic_needs_is_told(node):
    write(node, "press", row("a", 0, n=1))
    sink(node, "out", table="press", **{"from": "beginning"}, columns=["n FROM press /*"], where="*/ WHERE (1 = 1", mqtt={"topic": "{label.site}/{label.line}/{device}"})
    wait_for(lambda: "are no expressions" in ((sinks(node, "out") or {}).get("error") or ""), LIMIT_S, "it is not told")


def test_who_makes_a_sink_needs_the_rights_that_it_uses(node):
    write(node, "press", row("a", 0, n=1))
    base = "/apis/millrace.io/v1"
    for kind, name, spec in (("roles", "maker", {"rules": [{"verbs": ["get", "list", "create", "update"], "kinds": ["Sink"]},
                                                           {"verbs": ["publish"], "paths": ["out/#"]}]}),
                             ("users", "mia", {"roles": ["maker"], "password": "a-long-password-1"})):
        document = {"apiVersion": "millrace.io/v1", "kind": kind[:-1].title(), "metadata": {"name": name}, "spec": spec}
        status, text = node.request("POST", f"{base}/{kind}", json.dumps(document))
        assert status == 201, text
    document = {"apiVersion": "millrace.io/v1", "kind": "Sink", "metadata": {"name": "s"}, "spec": {"table": "press", "mqtt": {"topic": "out/{device}"}}}
    status, text = node.request("POST", API, json.dumps(document), token="mia:a-long-password-1")
    assert status == 403 and "may not query all of table press" in text


def test_a_remote_broker_that_is_away_gets_all_rows_when_it_is_back(node, mosquitto):  # noqa: F811
    peer = mosquitto()
    status, text = bridge(node, peer.port, [{"direction": "out", "filter": "up/#", "qos": 1}], name="cloud")
    assert status == 201, text
    connected(node, "cloud")
    write(node, "press", row("d", 0, n=0))
    sink(node, "out", table="press", **{"from": "beginning"}, batch={"rows": 500}, mqtt={"topic": "up/{device}", "bridge": "cloud"})
    caught_up(node, "out", 1)
    peer.end(9)
    for first in range(1, 15001, 500):
        write(node, "press", *(row("d", n, n=n) for n in range(first, first + 500)))
    wait_for(lambda: sinks(node, "out")["state"] == "waiting", LIMIT_S, f"it does not wait: {sinks(node, 'out')}")
    assert sinks(node, "out")["sent"] < 15000, "the rest stays in the table"
    assert sinks(node, "out")["lag_s"] > 0
    peer.start()
    there = Client(peer, "there", "3.1.1", user=None)
    there.subscribe(("up/#", 1))
    wait_for(lambda: len({json.loads(m.payload)["n"] for m in there.got}) >= 14500, 2 * LIMIT_S, "rows are missing")
    wait_for(lambda: max(json.loads(m.payload)["n"] for m in there.got) == 15000, LIMIT_S, "the last is missing")


SPARKPLUG = {"format": "sparkplug", "group": "g", "edge": "e"}


def test_an_edge_node_of_sparkplug_is_born_and_sends_by_alias(node):
    here = Client(node, "here")
    here.subscribe(("spBv1.0/#", 1))
    sink(node, "edge", table="press", **{"from": "beginning"}, mqtt=SPARKPLUG)
    write(node, "press", row("l1/p1", 0, temperature=20.5, n=-7, on=True, note="x"))
    wait_for(lambda: len(here.got) >= 2, LIMIT_S, "no births")
    write(node, "press", row("l1/p1", 1000, temperature=21.5), row("l1/p1", 2000, n=None, **{"n@q": "BadTimeout"}))
    wait_for(lambda: len(here.got) >= 4, LIMIT_S, "no data")
    assert [m.topic for m in here.got] == ["spBv1.0/g/NBIRTH/e", "spBv1.0/g/DBIRTH/e/l1:p1", "spBv1.0/g/DDATA/e/l1:p1", "spBv1.0/g/DDATA/e/l1:p1"]
    birth, device, first, second = (parse(m.payload) for m in here.got)
    assert [p.seq for p in (birth, device, first, second)] == [0, 1, 2, 3]
    assert {m.name for m in birth.metrics} == {"bdSeq", "Node Control/Rebirth"} and birth.metrics[0].datatype == 4
    by_name = {m.name: m for m in device.metrics}
    assert by_name["temperature"].double_value == 20.5 and by_name["on"].boolean_value is True and by_name["note"].string_value == "x"
    assert by_name["n"].long_value in (-7, 2**64 - 7) or by_name["n"].double_value == -7
    assert len({m.alias for m in device.metrics}) == 4 and {m.timestamp for m in device.metrics} == {T0}
    assert [(m.alias, m.name, m.double_value) for m in first.metrics] == [(by_name["temperature"].alias, "", 21.5)]
    assert [(m.alias, m.is_null) for m in second.metrics] == [(by_name["n"].alias, True)]
    assert second.metrics[0].properties.values[0].int_value == 0

    here.publish("spBv1.0/g/NCMD/e", payload({"name": "Node Control/Rebirth", "type": "Boolean", "value": True}))
    wait_for(lambda: len(here.got) >= 7, LIMIT_S, "no rebirth")
    again, device = (parse(m.payload) for m in here.got[5:7])
    assert [m.topic for m in here.got[5:7]] == ["spBv1.0/g/NBIRTH/e", "spBv1.0/g/DBIRTH/e/l1:p1"] and (again.seq, device.seq) == (0, 1)
    assert {m.name: m.double_value for m in device.metrics}["temperature"] == 21.5, "a birth tells the last values"

    write(node, "press", row("l1/p1", 3000, temperature=22.5, fresh=1.0))  # a new column: all is born again
    wait_for(lambda: len(here.got) >= 9, LIMIT_S, "no birth of the new metric")
    assert here.got[7].topic == "spBv1.0/g/NBIRTH/e" and "fresh" in {m.name for m in parse(here.got[8].payload).metrics}

    sink(node, "edge", 200, "PUT", table="press", enabled=False, mqtt=SPARKPLUG)
    wait_for(lambda: here.got[-1].topic == "spBv1.0/g/NDEATH/e", LIMIT_S, "no death")
    assert parse(here.got[-1].payload).metrics[0].long_value == birth.metrics[0].long_value
    assert not parse(here.got[-1].payload).HasField("seq")


def test_a_host_on_another_node_has_the_rows_of_an_edge_node(node, node_factory):
    host = mqtt_node(node_factory)
    status, text = bridge(node, host.mqtt_port, [{"direction": "both", "filter": "spBv1.0/#", "qos": 1}], name="up", user="admin", password=host.PASSWORD)
    assert status == 201, text
    connected(node, "up")
    write(node, "press", *(row(f"l1/p{d}", t * 1000, temperature=t + d / 10, on=t % 2 == 0, note=f"n{t}") for d in range(3) for t in range(50)))
    sink(node, "edge", table="press", **{"from": "beginning"}, mqtt={**SPARKPLUG, "bridge": "up"})
    caught_up(node, "edge", 150)
    stream(host, "plant", filter="spBv1.0/#", format="sparkplug", sparkplug={"rebirthInterval": "1s"})  # too late for the births: it asks
    write(node, "press", row("l1/p0", 60000, temperature=99.0, on=True, note="x"))
    wait_for(lambda: host.sql("SELECT count(*) FROM sys.tables WHERE name = 'plant'") == [[1]] and
             host.sql("SELECT count(DISTINCT device) FROM plant") == [[3]], LIMIT_S, "no births")
    write(node, "press", *(row(f"l1/p{d}", (70 + t) * 1000, temperature=t + d / 10, on=t % 2 == 0, note=f"n{t}") for d in range(3) for t in range(50)))
    text = 'SELECT time, temperature, "on", note FROM {} WHERE device = \'{}\' AND time >= \'2026-01-02T03:05:16Z\' ORDER BY time'
    for d in range(3):
        mine = node.sql(text.format("press", f"l1/p{d}"))
        assert len(mine) == 50
        wait_for(lambda: host.sql(text.format("plant", f"g/e/l1:p{d}")) == mine, LIMIT_S, "rows are missing")


def test_a_damaged_cursor_is_told_and_the_sink_begins_as_a_new_one(node):
    write(node, "press", row("d", 0, n=0))
    sink(node, "out", table="press", **{"from": "beginning"})
    caught_up(node, "out", 1)
    node.stop()
    folder = os.path.join(node.data, "sinks")
    (name,) = os.listdir(folder)
    with open(os.path.join(folder, name), "r+b") as file:
        file.seek(30)
        file.write(b"9")
    node.start()
    caught_up(node, "out", 1)
    assert "the file of its cursor is damaged" in node.log()


LINES = r"""
#include <millrace/sink.h>
#include <stdio.h>
#include <string.h>
struct lines { char path[400]; int refusals; };
static bool open_lines(void *state, const struct millrace_sink_config *c, char why[MILLRACE_SINK_WHY_BYTES])
{
    struct lines *l = state;
    for (size_t i = 0; i < c->option_count; i++)
        if (strcmp(c->options[i].name, "path") == 0) snprintf(l->path, sizeof l->path, "%s", c->options[i].text);
    if (!l->path[0]) snprintf(why, MILLRACE_SINK_WHY_BYTES, "needs the option path");
    return l->path[0] != 0;
}
static enum millrace_sink_answer take(void *state, const struct millrace_sink_batch *b, const struct millrace_sink_host *host, char why[MILLRACE_SINK_WHY_BYTES])
{
    struct lines *l = state;
    (void)host;
    if (l->refusals++ == 0) {
        snprintf(why, MILLRACE_SINK_WHY_BYTES, "not yet");
        return MILLRACE_SINK_RETRY;
    }
    FILE *out = fopen(l->path, "a");
    for (size_t r = 0; r < b->row_count; r++)
        fprintf(out, "%.*s %lld %s %g\n", (int)b->device[r].size, b->device[r].at, (long long)b->time_ns[r], b->columns[0].name,
                b->columns[0].null[r] ? -1.0 : ((const double *)b->columns[0].data)[r]);
    fclose(out);
    return MILLRACE_SINK_TAKEN;
}
static const struct millrace_sink sink = {.abi = MILLRACE_SINK_ABI, .size_bytes = sizeof sink, .name = "lines", .state_bytes = sizeof(struct lines),
                                          .rows_max = 3, .open = open_lines, .take = take};
const struct millrace_sink *millrace_sink_entry(void) { return &sink; }
"""


def node_with_sink(node_factory, folder, name, source):
    """A node that finds a sink of this name, made of `source`."""
    (folder / f"{name}.c").write_text(source)
    subprocess.run(["cc", "-shared", "-fPIC", "-I", os.path.join(ROOT, "include"), "-o", str(folder / f"millrace-sink-{name}.so"),
                    str(folder / f"{name}.c")], check=True)
    return node_factory(settings=[f"drivers={folder}"])


def test_a_sink_in_a_shared_object(node_factory, tmp_path):
    node = node_with_sink(node_factory, tmp_path, "lines", LINES)
    write(node, "press", *(row("d", t, temperature=t + 0.5) for t in range(10)))
    sink(node, "none", type="absent", table="press")
    sink(node, "out", type="lines", table="press", **{"from": "beginning"})
    for name, why in ("out", "needs the option path"), ("none", "millrace-sink-absent.so"):
        wait_for(lambda: why in ((sinks(node, name) or {}).get("error") or ""), LIMIT_S, f"{name}: no error")  # pylint: disable=cell-var-from-loop
    sink(node, "out", 200, "PUT", type="lines", table="press", options={"path": str(tmp_path / "out.txt")}, **{"from": "beginning"})
    wait_for(lambda: (sinks(node, "out") or {}).get("sent") == 10, LIMIT_S, f"not sent: {sinks(node, 'out')}")
    assert sinks(node, "out")["failures"] == 1 and sinks(node, "out")["error"] == "not yet"
    assert (tmp_path / "out.txt").read_text().splitlines() == [f"d {(T0 + t) * 1000000} temperature {t + 0.5:g}" for t in range(10)]


CARELESS = r"""
#include <millrace/sink.h>
#include <stdio.h>
#include <string.h>
struct careless { const char *what; };
static bool open_careless(void *state, const struct millrace_sink_config *c, char why[MILLRACE_SINK_WHY_BYTES])
{
    struct careless *s = state;
    size_t at = 0;
    for (size_t i = 0; i < c->option_count; i++)
        at += (size_t)snprintf(why + at, MILLRACE_SINK_WHY_BYTES - at, "%s=%s ", c->options[i].name, c->options[i].text);
    s->what = strstr(why, "what=shout") ? "shout" : strstr(why, "what=qos") ? "qos" : strstr(why, "what=nonsense") ? "nonsense" : "none";
    return strcmp(s->what, "none") != 0;
}
static enum millrace_sink_answer take(void *state, const struct millrace_sink_batch *b, const struct millrace_sink_host *host, char why[MILLRACE_SINK_WHY_BYTES])
{
    struct careless *s = state;
    const struct millrace_sink_message message = {.topic = {"out/x", 5}, .payload = {"x", 1}, .qos = 9};
    (void)b;
    if (strcmp(s->what, "nonsense") == 0) return (enum millrace_sink_answer)77;
    if (strcmp(s->what, "qos") == 0 && host->publish(host->host, &message)) return MILLRACE_SINK_TAKEN;
    memset(why, 'w', MILLRACE_SINK_WHY_BYTES);
    return MILLRACE_SINK_RETRY;
}
static const struct millrace_sink sink = {.abi = MILLRACE_SINK_ABI, .size_bytes = sizeof sink, .name = "careless", .state_bytes = sizeof(struct careless),
                                          .open = open_careless, .take = take};
const struct millrace_sink *millrace_sink_entry(void) { return &sink; }
"""


def test_a_careless_shared_object_hurts_nobody(node_factory, tmp_path):
    node = node_with_sink(node_factory, tmp_path, "careless", CARELESS)
    write(node, "press", row("d", 0, temperature=1.5))
    for what, options in (("none", {"flag": True, "off": False, "n": 5}), ("shout", {}), ("qos", {}), ("nonsense", {})):
        sink(node, what, type="careless", table="press", options={"what": what, **options}, **{"from": "beginning"})
        wait_for(lambda name=what: (sinks(node, name) or {}).get("failures"), LIMIT_S, f"{what} did not fail")
    assert sinks(node, "none")["error"].strip() == "what=none flag=true off=false n=5"
    assert sinks(node, "shout")["error"] == sinks(node, "qos")["error"] == "w" * 239, "all that it said, and no byte more"
    assert sinks(node, "nonsense")["error"] == "the sink takes no rows"
    assert "must be a plain value" in sink(node, "deep", 422, type="careless", table="press", options={"a": {"b": 1}})
