"""`millrace test-stream`: what a Stream would make of a message, shown and not stored."""
import base64
import json
import subprocess

import pytest
from google.protobuf import descriptor_pb2

from mqtt_client import mqtt_node
from sparkplug import I32, file_of, payload
from test_streams import TS, stream

SPEC = {"filter": "plant/+/up", "device": "{2}", "table": "presses", "time": {"path": "$.ts", "unit": "s"},
        "columns": [{"name": "temperature", "path": "$.t"}], "labels": [{"name": "site", "value": "{1}"}]}


@pytest.fixture(name="node")
def node_fixture(node_factory):
    return mqtt_node(node_factory)


def trial(node, *arguments, text=b""):
    command = [node.millrace, "test-stream", *arguments, "--server", node.url, "--token", node.token()]
    done = subprocess.run(command, input=text, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_rows_of_a_message_are_shown_as_a_table_and_not_stored(node, tmp_path):
    stream(node, "press", **SPEC)
    code, out, err = trial(node, "press", "plant/p7/up", text=json.dumps({"ts": 1, "t": 21.5}).encode())
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines == [["TABLE", "DEVICE", "TIME", "LABEL.SITE", "TEMPERATURE"], ["presses", "p7", "1970-01-01T00:00:01Z", "plant", "21.5"]]
    file = tmp_path / "message.json"
    file.write_text('{"ts": 2, "t": 1}')
    assert "1970-01-01T00:00:02Z" in trial(node, "press", "plant/p7/up", "--payload", str(file))[1]
    found = json.loads(trial(node, "press", "plant/p7/up", "--payload", str(file), "--json")[1])
    assert found["rows"][0]["columns"] == {"temperature": 1}
    assert node.request("POST", "/v1/sql", "SELECT * FROM presses")[0] != 200, "nothing is stored"


def test_what_may_be_published_and_applied_can_be_tried(node):
    """Messages of up to 1 MiB, and descriptors of up to 512 KiB."""
    text = json.dumps({"ts": 1, "t": 21.5, "note": "x" * 900000}).encode()
    stream(node, "press", **SPEC)
    assert "21.5" in trial(node, "press", "plant/p7/up", text=text)[1]
    wide = file_of("plant", {"Wide": [(f"field_{number}", number, I32) for number in range(1, 15001)]}, "proto3")
    descriptor = descriptor_pb2.FileDescriptorSet(file=[wide]).SerializeToString()
    assert 300000 < len(descriptor) < 512 * 1024
    spec = {"filter": "w/+", "format": "protobuf", "columns": [{"name": "last", "path": "$.field_15000"}],
            "protobuf": {"descriptor": base64.b64encode(descriptor).decode(), "message": "plant.Wide"}}
    body = {"name": "wide", "spec": spec, "topic": "w/a", "payloadBase64": base64.b64encode(b"\x08\x01\xc0\xa9\x07\x05").decode()}
    status, said = node.request("POST", "/v1/streams/test", json.dumps(body))
    assert status == 200 and json.loads(said)["rows"][0]["columns"] == {"last": 5}, said[:300]


def test_the_table_is_called_as_the_stream(node, tmp_path):
    spec = {key: value for key, value in SPEC.items() if key != "table"}
    stream(node, "press-values", **spec)
    text = json.dumps({"ts": 1, "t": 21.5}).encode()
    assert trial(node, "press-values", "plant/p7/up", text=text)[1].splitlines()[1].split()[0] == "press_values"
    file = tmp_path / "other.json"
    file.write_text(json.dumps({"apiVersion": "millrace.io/v1", "kind": "Stream", "metadata": {"name": "other"}, "spec": spec}))
    assert trial(node, "plant/p7/up", "-f", str(file), text=text)[1].splitlines()[1].split()[0] == "other"


def test_a_stream_of_a_file_is_tried_before_it_is_applied(node, tmp_path):
    file = tmp_path / "streams.yaml"
    both = [{"apiVersion": "millrace.io/v1", "kind": "Stream", "metadata": {"name": name}, "spec": spec}
            for name, spec in (("a", SPEC), ("b", {"filter": "spBv1.0/#", "format": "sparkplug"}))]
    file.write_text("\n---\n".join(json.dumps(one) for one in both))
    message = b'{"ts": 1, "t": 5}'
    assert "several Streams" in trial(node, "plant/p/up", "-f", str(file), text=message)[2]
    assert "no such Stream" in trial(node, "c", "plant/p/up", "-f", str(file), text=message)[2]
    assert "presses" in trial(node, "a", "plant/p/up", "-f", str(file), text=message)[1]
    birth = payload({"name": "bdSeq", "type": "Int64", "value": 1}, {"name": "v", "alias": 1, "value": 2.5}, seq=0, ts=TS)
    code, out, _ = trial(node, "b", "spBv1.0/g/NBIRTH/e", "-f", str(file), text=birth)
    assert code == 0 and "g/e" in out and "2.5" in out, "payloads that are no text"
    assert node.request("GET", "/apis/millrace.io/v1/namespaces/default/streams/a")[0] == 404


def test_what_would_be_a_dead_letter_says_why_and_where(node, tmp_path):
    stream(node, "press", **SPEC)
    code, out, err = trial(node, "press", "plant/p7/up", text=b'{"ts": 1, "t": ')
    assert code == 1 and out == "" and "would be a dead letter: " in err
    assert any(c.isdigit() for c in err.split("dead letter: ")[1]), f"no place: {err}"
    assert trial(node, "nothing", "plant/p7/up", text=b"{}")[0] == 1
    assert "name a Stream" in trial(node, "plant/p7/up")[2]
    file = tmp_path / "bad.yaml"
    file.write_text(json.dumps({"apiVersion": "millrace.io/v1", "kind": "Stream", "metadata": {"name": "x"}, "spec": {**SPEC, "formats": "json"}}))
    assert "formats" in trial(node, "plant/p/up", "-f", str(file), text=b"{}")[2]
