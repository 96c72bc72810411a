"""Kind Stream as a Sparkplug B host application: births, data by alias, deaths, rebirths. An independent library makes the payloads."""
import json
import struct

import pytest

from conftest import wait_for
from mqtt_client import LIMIT_S, Client, mqtt_node
from sparkplug import parse, payload
from test_streams import TS, dead, status_of, stream

BD = {"name": "bdSeq", "type": "Int64", "value": 7}
T6, T7 = "2026-01-02T03:04:06Z", "2026-01-02T03:04:07Z"


@pytest.fixture(name="node")
def node_fixture(node_factory):
    node = mqtt_node(node_factory)
    stream(node, "plant", filter="spBv1.0/#", format="sparkplug", sparkplug={"hostId": "here", "rebirthInterval": "2s"})
    return node


def commands(client):
    return [(m.topic, parse(m.payload).metrics[0].name, parse(m.payload).metrics[0].boolean_value) for m in client.got if "/NCMD/" in m.topic]


def test_births_name_what_aliases_bring(node):
    edge = Client(node, "edge")
    edge.publish("spBv1.0/g/NBIRTH/e", payload(BD, {"name": "Node Control/Rebirth", "type": "Boolean", "value": False},
                                               {"name": "up/time", "alias": 1, "type": "UInt32", "value": 4000000000}, seq=0, ts=TS), 1)
    edge.publish("spBv1.0/g/DBIRTH/e/d", payload(
        {"name": "temp", "alias": 2, "value": 1.5}, {"name": "n8", "alias": 3, "type": "Int8", "value": -5}, {"name": "n64", "alias": 4, "type": "Int64", "value": -2**40},
        {"name": "on", "alias": 5, "type": "Boolean", "value": True}, {"name": "text", "alias": 6, "type": "String", "value": "ü"},
        {"name": "when", "alias": 7, "type": "DateTime", "value": TS}, {"name": "f", "alias": 8, "type": "Float", "value": 0.5},
        {"name": "list", "alias": 9, "type": "Int16Array", "value": struct.pack("<2h", -1, 2)}, {"name": "bits", "alias": 10, "type": "BooleanArray", "value": struct.pack("<IB", 3, 0b10100000)},
        {"name": "u64", "alias": 11, "type": "UInt64", "value": 2**63}, seq=1, ts=TS), 1)
    edge.publish("spBv1.0/g/DDATA/e/d", payload({"alias": 2, "untyped": True, "value": 2.5}, {"alias": 2, "value": 9.0, "ts": TS - 1000, "historical": True},
                                                {"alias": 3, "type": "Int8", "null": True}, {"name": "gone", "type": "Double", "value": 1.0, "transient": True}, seq=2, ts=TS + 1000), 1)
    assert node.sql('SELECT "up.time" FROM plant WHERE device = \'g/e\'') == [[4000000000]]
    assert node.sql("SELECT time, temp, n8, n64, \"on\", text, \"when\", f, list, bits, u64 FROM plant WHERE device = 'g/e/d' ORDER BY time") == [
        ["2026-01-02T03:04:05Z", 9.0] + [None] * 9, [T6, 1.5, -5, -2**40, True, "ü", T6, 0.5, [-1, 2], [1, 0, 1], str(2**63)], [T7, 2.5] + [None] * 9]
    assert "gone" not in node.request("POST", "/v1/sql", "SELECT * FROM plant")[1]


def test_who_is_not_known_or_skips_a_number_is_asked_for_a_rebirth(node):
    edge = Client(node, "edge")
    edge.subscribe(("spBv1.0/+/NCMD/#", 1), ("$dead/#", 1))
    edge.publish("spBv1.0/g/NDATA/e", payload({"alias": 1, "untyped": True, "value": 1.0}, {"name": "named", "value": 2.0}, seq=5, ts=TS), 1)
    wait_for(lambda: len(edge.got) >= 2, LIMIT_S, "rebirth and dead letter")
    assert commands(edge) == [("spBv1.0/g/NCMD/e", "Node Control/Rebirth", True)] and dead(edge)[0][0] == "$dead/spBv1.0/g/NDATA/e"
    assert node.sql("SELECT named FROM plant") == [[2]]  # what says its name is stored all the same
    edge.publish("spBv1.0/g/NBIRTH/e", payload(BD, {"name": "v", "alias": 1, "value": 0.0}, seq=0, ts=TS), 1)
    for seq in (1, 2, 4, 7):  # two gaps, one question
        edge.publish("spBv1.0/g/NDATA/e", payload({"alias": 1, "value": float(seq)}, seq=seq, ts=TS + seq), 1)
    wait_for(lambda: len(commands(edge)) == 2, LIMIT_S, "the second question")
    assert node.sql("SELECT max(v), count(v) FROM plant") == [[7, 5]]
    edge.publish("spBv1.0/g/NBIRTH/e", payload(BD, {"name": "v", "alias": 1, "value": 0.0}, seq=255, ts=TS), 1)
    edge.publish("spBv1.0/g/NDATA/e", payload({"alias": 1, "value": 1.0}, seq=0, ts=TS), 1)
    assert len(commands(edge)) == 2


def test_a_restart_forgets_births_and_asks_again(node):
    edge = Client(node, "edge")
    edge.publish("spBv1.0/g/NBIRTH/e", payload(BD, {"name": "v", "alias": 1, "value": 0.0}, seq=0, ts=TS), 1)
    edge.close()
    node.restart()
    edge = Client(node, "edge2")
    edge.subscribe(("spBv1.0/+/NCMD/#", 1))
    edge.publish("spBv1.0/g/NDATA/e", payload({"alias": 1, "value": 1.0}, seq=1, ts=TS + 1), 1)
    wait_for(lambda: commands(edge), LIMIT_S, "the question")


def test_deaths_make_values_bad(node):
    edge = Client(node, "edge", will=("spBv1.0/g/NDEATH/e", payload(BD), 1))
    edge.publish("spBv1.0/g/NBIRTH/e", payload(BD, {"name": "v", "value": 1.0}, seq=0, ts=TS), 1)
    edge.publish("spBv1.0/g/DBIRTH/e/d", payload({"name": "w", "value": 2.0}, {"name": "x", "value": 3.0}, seq=1, ts=TS), 1)
    other = Client(node, "other")
    other.publish("spBv1.0/g/NDEATH/e", payload({"name": "bdSeq", "type": "Int64", "value": 6}), 1)  # of an earlier connection
    assert node.sql("SELECT count(*) FROM plant") == [[2]]
    edge.publish("spBv1.0/g/DDEATH/e/d", payload(seq=2, ts=TS + 1000), 1)
    assert node.sql("SELECT time, w, x, quality FROM plant WHERE device = 'g/e/d' ORDER BY time DESC LIMIT 1") == [[T7, None, None, "BadNoCommunication"]]
    edge.paho._sock_close()
    wait_for(lambda: node.sql("SELECT count(*) FROM plant WHERE device = 'g/e'") == [[2]], LIMIT_S, "the node's death")
    assert node.sql("SELECT v FROM plant WHERE device = 'g/e' ORDER BY time DESC LIMIT 1") == [[None]]


def test_what_no_column_holds_is_a_dead_letter_of_its_message_alone(node):
    edge = Client(node, "edge")
    edge.subscribe(("$dead/#", 1))
    bad = payload(BD, {"name": "good", "value": 1.0}, {"name": "table", "type": "DataSet"}, {"name": "texts", "type": "StringArray", "value": b"a\0"}, seq=0, ts=TS)
    edge.publish("spBv1.0/g/NBIRTH/e", bad, 1)
    edge.publish("spBv1.0/g/NDATA/e", b"\xff\xff", 1)
    edge.publish("spBv1.0/g/XDATA/e", payload(), 1)
    wait_for(lambda: len(edge.got) >= 3, LIMIT_S, "dead letters")
    assert ("$dead/spBv1.0/g/NBIRTH/e", bad) in dead(edge) and len(dead(edge)) == 3
    assert "DataSet" in [text for m in edge.got for name, text in m.properties.UserProperty if m.topic.endswith("NBIRTH/e")][0]
    assert node.sql("SELECT good FROM plant") == [[1]]
    wait_for(lambda: status_of(node, "plant").get("refused") == 3, LIMIT_S, "status")


def test_qualities_of_metrics_are_kept(node):
    edge = Client(node, "edge")
    edge.publish("spBv1.0/g/NBIRTH/e", payload(BD, {"name": "a", "value": 1.0, "quality": 192}, {"name": "b", "value": 2.0, "quality": 500},
                                               {"name": "c", "value": 3.0, "quality": 0}, seq=0, ts=TS), 1)
    assert node.sql("SELECT a, b, c, quality FROM plant") == [[1, 2, None, "Bad"]]


def test_the_host_says_that_it_is_online(node):
    seen = Client(node, "seen")
    seen.subscribe(("spBv1.0/STATE/+", 1))
    topic, text, _, retained = seen.wait(1)[0]
    assert topic == "spBv1.0/STATE/here" and json.loads(text)["online"] is True and json.loads(text)["timestamp"] > TS and retained
    assert node.request("DELETE", "/apis/millrace.io/v1/namespaces/default/streams/plant")[0] == 200
    assert json.loads(seen.wait(2)[1][1])["online"] is False
