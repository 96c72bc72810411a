"""Kind Stream: messages of any topic become rows of a table, in the formats that gateways speak."""
import base64
import json
import struct

import pytest

from conftest import wait_for
from mqtt_client import LIMIT_S, Client, mqtt_node
from sparkplug import BYTES, F64, I32, MESSAGE, TEXT, U64, classes_of, file_of, payload

API = "/apis/millrace.io/v1/namespaces/default/streams"
WRAPPED = {"Double": 1, "Float": 2, "Int64": 3, "UInt64": 4, "Int32": 5, "UInt32": 13, "Bool": 8, "String": 9, "Bytes": 12}  # wrappers.proto
TS = 1767323046000  # 2026-01-02T03:04:06Z


@pytest.fixture(name="node")
def node_fixture(node_factory):
    return mqtt_node(node_factory)


def stream(node, name, expect=201, **spec):
    """Makes a Stream; gives the answer."""
    document = {"apiVersion": "millrace.io/v1", "kind": "Stream", "metadata": {"name": name}, "spec": spec}
    status, text = node.request("POST", API, json.dumps(document), headers={"Content-Type": "application/json"})
    assert status == expect, text
    return text


def status_of(node, name):
    return json.loads(node.request("GET", f"{API}/{name}")[1]).get("status", {})


def dead(client):
    return sorted((m.topic, m.payload) for m in client.got if m.topic.startswith("$dead/"))


def test_json_paths_name_device_time_and_columns(node):
    stream(node, "press", filter="plant/+/+/up", device="{2}/{3}", table="presses", time={"path": "$.ts", "unit": "s"},
           columns=[{"name": "temperature", "path": "$.values.temp"}, {"name": "second", "path": "$.list[1]"},
                    {"name": "odd", "path": "$['a name']", "type": "text"}, {"name": "whole", "path": "$.n", "type": "bigint"}],
           labels=[{"name": "site", "value": "{1}-{$.site}"}])
    here = Client(node, "here")
    here.publish("plant/l3/p7/up", json.dumps({"ts": TS / 1000, "values": {"temp": 21.5}, "list": [1, 2], "a name": 7, "n": 3, "site": "sz"}), 1)
    assert node.sql("SELECT device, time, temperature, second, odd, whole FROM presses") == [
        ["l3/p7", "2026-01-02T03:04:06Z", 21.5, 2, "7", 3]]
    assert node.sql("SELECT labels FROM sys.devices WHERE device = 'l3/p7'")[0][0] in ({"site": "plant-sz"}, '{"site":"plant-sz"}')


def test_rows_of_a_list_inside_a_message(node):
    stream(node, "lists", filter="gw/#", rows="$.items[*]", device="{$.gw}/{@.id}", time={"path": "@.t"},
           columns=[{"name": "v", "path": "@.v"}, {"name": "batch", "path": "$.batch"}])
    here = Client(node, "here")
    here.publish("gw/a", json.dumps({"gw": "g1", "batch": 5, "items": [{"id": "d1", "t": TS, "v": 1}, {"id": "d2", "t": "2026-01-02T03:04:07Z", "v": 2}]}), 2)
    assert node.sql("SELECT device, time, v, batch FROM lists ORDER BY device") == [
        ["g1/d1", "2026-01-02T03:04:06Z", 1, 5], ["g1/d2", "2026-01-02T03:04:07Z", 2, 5]]


def test_without_columns_every_plain_member_is_one(node):
    stream(node, "all-members", filter="s/+", time={"path": "$.ts", "unit": "ms"})
    here = Client(node, "here")
    here.publish("s/d1", json.dumps({"ts": TS, "a/b": 1, "on": True, "deep": {"x": 1}, "w": [1, 2]}), 1)
    assert node.sql('SELECT device, time, "a.b", "on", w FROM all_members') == [["d1", "2026-01-02T03:04:06Z", 1, True, [1, 2]]]


def test_csv_lines_become_rows(node):
    stream(node, "csv", filter="log/+", format="csv", csv={"delimiter": ";", "header": True}, time={"path": "$.when"},
           columns=[{"name": "t", "path": "$.temp"}, {"name": "serial", "path": "$.serial", "type": "text"}, {"name": "note", "path": "$.note"}])
    stream(node, "bare", filter="bare/+", format="csv", csv={"columns": ["ts", "x"]}, time={"path": "$.ts", "unit": "s"})
    here = Client(node, "here")
    here.publish("log/l1", 'when;temp;serial;note\n2026-01-02T03:04:06Z;1.5;0012;"a;b"\n2026-01-02T03:04:07Z;NULL;13;x\n', 1)
    here.publish("bare/l1", "1767323046,7\n1767323047,8", 1)
    assert node.sql("SELECT device, time, t, serial, note FROM csv ORDER BY time") == [
        ["l1", "2026-01-02T03:04:06Z", 1.5, "0012", "a;b"], ["l1", "2026-01-02T03:04:07Z", None, "13", "x"]]
    assert node.sql("SELECT x FROM bare ORDER BY time") == [[7], [8]]


def test_neuron_formats(node):
    stream(node, "neuron", filter="/neuron/#", format="neuron")
    here = Client(node, "here")
    base = {"node": "modbus", "group": "grp", "timestamp": TS}
    here.publish("/neuron/app/modbus/grp", json.dumps({**base, "values": {"tag0": 123, "tag/x": "t"}, "errors": {"tag1": 2014}, "metas": {}}), 1)
    here.publish("/neuron/app", json.dumps({**base, "timestamp": TS + 1000, "tags": [
        {"name": "tag0", "value": 5, "type": 2}, {"name": "tag1", "value": True}, {"name": "tag2", "error": 3}]}), 1)
    assert node.sql('SELECT device, time, tag0, "tag.x", tag1 FROM grp ORDER BY time') == [
        ["modbus", "2026-01-02T03:04:06Z", 123, "t", None], ["modbus", "2026-01-02T03:04:07Z", 5, None, True]]


def test_an_upload_of_errors_alone_says_why_it_makes_no_table(node):
    stream(node, "neuron", filter="/neuron/#", format="neuron")
    here, there = Client(node, "here"), Client(node, "there")
    there.subscribe(("$dead/#", 1))
    upload = {"node": "modbus", "group": "grp", "timestamp": TS, "values": {}, "errors": {"tag1": 3000}}
    here.publish("/neuron/app", json.dumps(upload), 1)
    there.wait(1)
    assert dict(there.got[0].properties.UserProperty)["reason"].startswith("there is no table grp, and the row has no value")
    here.publish("/neuron/app", json.dumps({**upload, "values": {"tag1": 5}, "errors": {}, "timestamp": TS + 1000}), 1)
    here.publish("/neuron/app", json.dumps({**upload, "timestamp": TS + 2000}), 1)
    assert node.sql("SELECT tag1, quality FROM grp ORDER BY time") == [[5, "Good"], [None, "BadCommunicationError"]]


def reading_set():
    """A FileDescriptorSet with most that proto3 has, and classes that write by it."""
    from google.protobuf import descriptor_pb2
    file = file_of("plant", {
        "Point": [("x", 1, F64), ("y", 2, I32)],
        "Reading": [("dev", 1, TEXT), ("ts", 2, U64), ("temp", 3, F64), ("zero", 4, I32), ("delta", 5, 18), ("raw", 6, BYTES), ("mode", 7, 14),
                    ("points", 8, "Point", "*"), ("list", 9, F64, "*"), ("tags", 10, "TagsEntry", "*"), ("when", 12, "Point"), ("maybe", 13, I32), ("fixed", 14, 15)],
    }, "proto3")
    reading = file.message_type[1]
    entry = reading.nested_type.add(name="TagsEntry")
    entry.field.add(name="key", number=1, type=TEXT, label=1)
    entry.field.add(name="value", number=2, type=I32, label=1)
    entry.options.map_entry = True
    file.enum_type.add(name="Mode").value.extend([descriptor_pb2.EnumValueDescriptorProto(name="OFF", number=0), descriptor_pb2.EnumValueDescriptorProto(name="AUTO", number=2)])
    fields = {f.name: f for f in reading.field}
    fields["tags"].type_name, fields["mode"].type_name = ".plant.Reading.TagsEntry", ".plant.Mode"
    fields["maybe"].proto3_optional, fields["maybe"].oneof_index = True, 0
    reading.oneof_decl.add(name="_maybe")
    assert fields["points"].type == MESSAGE
    return base64.b64encode(descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()).decode(), classes_of(file)["Reading"]


def test_protobuf_messages_by_their_descriptor(node):
    descriptor, reading = reading_set()
    spec = {"format": "protobuf", "protobuf": {"descriptor": descriptor, "message": "plant.Reading"}}
    stream(node, "pb", filter="pb/+", device="{$.dev}", time={"path": "$.ts", "unit": "ms"}, **spec)
    stream(node, "points", filter="pb/#", rows="$.points[*]", columns=[{"name": "x", "path": "@.x"}, {"name": "y", "path": "@.y"}, {"name": "a", "path": "$.tags.a"}], **spec)
    sent = reading(dev="d1", ts=TS, temp=1.5, delta=-7, raw=b"\0\1", mode=2, points=[{"x": 1}, {"x": 2, "y": -3}], list=[1, 2], tags={"a": 5}, fixed=-9)
    here = Client(node, "here")
    here.publish("pb/q", sent.SerializeToString() + b"\xa2\x06\x01z", 1)  # with a field that nobody knows
    assert node.sql("SELECT device, time, temp, zero, delta, raw, mode, list, fixed FROM pb") == [
        ["d1", "2026-01-02T03:04:06Z", 1.5, 0, -7, "AAE=", "AUTO", [1, 2], -9]]
    assert "maybe" not in node.request("POST", "/v1/sql", "SELECT * FROM pb")[1]  # it has presence, and is not there
    assert node.sql("SELECT device, x, y, a FROM points ORDER BY x") == [["q", 1, 0, 5], ["q", 2, -3, 5]]
    here.subscribe(("$dead/#", 1))
    here.publish("pb/q", b"\x0a\xff", 1)
    wait_for(lambda: len(here.got) >= 2, LIMIT_S, "a dead letter of each Stream")
    assert "plant.Reading" in here.got[0].properties.UserProperty[0][1]


def test_of_a_oneof_the_last_one_counts_and_a_group_is_told(node):
    from google.protobuf import descriptor_pb2
    file = file_of("plant", {"Choice": [("a", 1, I32), ("b", 2, I32), ("c", 3, I32)]}, "proto3")
    for field in file.message_type[0].field[:2]:
        field.oneof_index = 0
    file.message_type[0].oneof_decl.add(name="kind")
    descriptor = base64.b64encode(descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()).decode()
    spec = {"filter": "one/+", "format": "protobuf", "protobuf": {"descriptor": descriptor, "message": "plant.Choice"}}

    def tried(payload):
        body = json.dumps({"spec": spec, "topic": "one/d", "payloadBase64": base64.b64encode(payload).decode()})
        return json.loads(node.request("POST", "/v1/streams/test", body, headers={"Content-Type": "application/json"})[1])
    for payload, columns in ((b"\x08\x01\x18\x09\x10\x02", {"b": 2, "c": 9}), (b"\x10\x02\x08\x01", {"a": 1, "c": 0}), (b"\x08\x01\x10\x02\x08\x03\x18\x09", {"a": 3, "c": 9})):
        assert tried(payload)["rows"][0]["columns"] == columns
    assert "group" in tried(b"\x08\x01\x1b\x1c")["error"]


def test_protobuf_wrappers_are_the_bare_value(node):
    from google.protobuf import descriptor_pb2
    wrappers = file_of("google.protobuf", {name + "Value": [("value", 1, kind)] for name, kind in WRAPPED.items()}, "proto3")
    state = file_of("plant", {"State": [(name.lower(), number, MESSAGE) for number, name in enumerate(WRAPPED, 1)]
                              + [("many", 20, MESSAGE, "*"), ("none", 21, MESSAGE)]}, "proto3")
    for field in state.message_type[0].field:
        field.type_name = f".google.protobuf.{dict((n.lower(), n) for n in WRAPPED).get(field.name, 'Double')}Value"
    descriptor = descriptor_pb2.FileDescriptorSet(file=[wrappers, state]).SerializeToString()
    stream(node, "wrapped", filter="w/+", format="protobuf", protobuf={"descriptor": base64.b64encode(descriptor).decode(), "message": "plant.State"},
           columns=[{"name": c, "path": f"$.{c}"} for c in ("double", "int64", "uint32", "bool", "string", "none")] + [{"name": "second", "path": "$.many[1]"}])
    here = Client(node, "here")
    here.publish("w/a", b"\x0a\x09\x09" + struct.pack("<d", 1.5) + b"\x1a\x02\x08\x07\x32\x00\x3a\x02\x08\x01\x42\x03\x0a\x01z"
                 b"\xa2\x01\x00\xa2\x01\x09\x09" + struct.pack("<d", 2.5), 1)
    assert node.sql('SELECT double, int64, uint32, "bool", string, second FROM wrapped') == [[1.5, 7, 0, True, "z", 2.5]]
    assert "none" not in node.request("POST", "/v1/sql", "SELECT * FROM wrapped")[1]  # absent is not zero


def test_what_does_not_fit_is_a_dead_letter_and_counted(node):
    stream(node, "strict", filter="in/+", columns=[{"name": "v", "path": "$.v", "type": "double"}])
    stream(node, "loose", filter="drop/+", onError="drop")
    there, here = Client(node, "there"), Client(node, "here")
    there.subscribe(("$dead/#", 1))
    here.publish("in/d", '{"v":1}', 1)
    bad = ["no json", '{"v":"x"}', '{"w":1}', '{"v":1} more', ""]
    for text in bad:
        here.publish("in/d", text, 1)
    here.publish("drop/d", "no json", 1)
    wait_for(lambda: len(there.got) >= len(bad), LIMIT_S, "dead letters")
    assert dead(there) == sorted(("$dead/in/d", p.encode()) for p in bad)
    assert all(why for m in there.got for name, why in m.properties.UserProperty if name == "reason")
    assert node.sql("SELECT v FROM strict") == [[1]]
    shown = wait_for(lambda: status_of(node, "strict") if status_of(node, "strict").get("refused") else None, LIMIT_S, "status")
    assert (shown["messages"], shown["rows"], shown["refused"]) == (len(bad) + 1, 1, len(bad)) and shown["lastError"]
    wait_for(lambda: status_of(node, "loose").get("refused") == 1, LIMIT_S, "the dropped one is counted")
    assert node.metric("millrace_stream_refused_total") == len(bad) + 1 and node.metric("millrace_stream_rows_total") == 1


def test_streams_change_without_a_session_noticing(node):
    there, here = Client(node, "there"), Client(node, "here")
    there.subscribe(("a/#", 1))
    here.publish("a/d", '{"v":0}', 1)
    stream(node, "one", filter="a/+", table="t1")
    stream(node, "two", filter="a/#", table="t2")
    here.publish("a/d", '{"v":1}', 1)
    patch = json.dumps({"spec": {"table": "t3"}})
    assert node.request("PATCH", f"{API}/one", patch, headers={"Content-Type": "application/merge-patch+json"})[0] == 200
    assert node.request("DELETE", f"{API}/two")[0] == 200
    here.publish("a/d", '{"v":2}', 1)
    assert [node.sql(f"SELECT v FROM {t}") for t in ("t1", "t2", "t3")] == [[[1]], [[1]], [[2]]]
    assert len(there.wait(3)) == 3 and len(there.reasons) == len(here.reasons) == 1


def test_wills_and_messages_over_http_are_taken_too(node):
    stream(node, "w", filter="w/+")
    dying = Client(node, "dying", will=("w/d1", '{"v":1}', 1))
    dying.paho._sock_close()
    body = json.dumps({"topic": "w/d2", "payload": '{"v":2}', "qos": 1})
    assert node.request("POST", "/v1/mqtt/publish", body, headers={"Content-Type": "application/json"})[0] == 200
    wait_for(lambda: node.sql("SELECT count(*) FROM sys.tables WHERE name = 'w'") == [[1]], LIMIT_S, "table")
    wait_for(lambda: node.sql("SELECT device, v FROM w ORDER BY device") == [["d1", 1], ["d2", 2]], LIMIT_S, "rows")


def test_acknowledged_messages_survive_kill_9(node):
    stream(node, "k", filter="k/+")
    here = Client(node, "here", "3.1.1")
    for number in range(300):
        here.publish("k/d", json.dumps({"n": number}), 1)
    node.kill9()
    node.start()
    assert node.sql("SELECT count(*), sum(n) FROM k") == [[300, 44850]]
    again = Client(node, "again")
    again.publish("k/d", '{"n":300}', 1)
    assert node.sql("SELECT count(*) FROM k") == [[301]]


def test_a_spec_can_be_tried_without_storing(node):
    def tried(**body):
        status, text = node.request("POST", "/v1/streams/test", json.dumps(body), headers={"Content-Type": "application/json"})
        return status, json.loads(text)
    spec = {"filter": "a/+", "time": {"path": "$.ts", "unit": "ms"}, "labels": [{"name": "l", "value": "{1}"}]}
    row = {"table": "test", "device": "d", "time": "2026-01-02T03:04:06Z", "labels": {"l": "a"}, "columns": {"v": 1, "w": None}}
    assert tried(spec=spec, topic="a/d", payload=json.dumps({"ts": TS, "v": 1, "w": None})) == (200, {"rows": [row]})
    assert tried(spec=spec, topic="a/d", payloadBase64=base64.b64encode(b"nothing").decode()) == (200, {"rows": [], "error": "byte 1: a value is expected"})
    sparkplug = {"filter": "spBv1.0/#", "format": "sparkplug"}
    status, answer = tried(spec=sparkplug, topic="spBv1.0/g/NBIRTH/e", payloadBase64=base64.b64encode(payload({"name": "x/y", "value": 2.5}, seq=0, ts=TS)).decode())
    assert status == 200 and answer["rows"][0]["columns"] == {"x.y": 2.5} and answer["rows"][0]["device"] == "g/e"
    assert tried(spec={"filter": "#/a"}, topic="a", payload="1")[0] == 400 and tried(topic="a")[0] == 400
    assert node.sql("SELECT count(*) FROM sys.tables WHERE name = 'test'") == [[0]]


@pytest.mark.parametrize("spec, where", [
    ({"filter": "a/#/b"}, "spec.filter"), ({"filter": "$dead/#"}, "spec.filter"), ({"filter": "a"}, "spec.device"),
    ({"filter": "a/+", "device": "{0}"}, "spec.device"), ({"filter": "a/+", "columns": [{"name": "v", "path": "v"}]}, "spec.columns[0].path"),
    ({"filter": "a/+", "columns": [{"name": "v", "path": "$.v", "type": "int61"}]}, "spec.columns[0].type"),
    ({"filter": "a/+", "rows": "$.x["}, "spec.rows"), ({"filter": "a/+", "format": "xml"}, "spec.format"),
    ({"filter": "a/+", "csv": {"delimiter": "::"}}, "spec.csv.delimiter"),
    ({"filter": "a/+", "format": "protobuf", "protobuf": {"descriptor": "!"}}, "spec.protobuf.descriptor"),
    ({"filter": "a/+", "format": "protobuf", "protobuf": {"descriptor": reading_set()[0], "message": "plant.Nothing"}}, "spec.protobuf.message"),
    ({"filter": "a/+", "format": "neuron", "columns": [{"name": "v", "path": "$.v"}]}, "spec.columns")])
def test_mistakes_are_told_with_their_place(node, spec, where):
    assert where in stream(node, "bad", expect=422, **spec)
