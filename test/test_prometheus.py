"""Prometheus' remote write 1.0: requests made here byte by byte, and Debian's prometheus as the sender."""
import json
import struct
import subprocess

from conftest import HOST, Node, die_with_parent, free_port, wait_for
from programs import debian_program

HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}
PATH = "/prometheus/api/v1/write"
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def message(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def series(labels, samples):
    body = b"".join(message(1, message(1, key.encode()) + message(2, value.encode())) for key, value in sorted(labels.items()))
    for value, time_ms in samples:
        bits = struct.pack("<Q", 0x7FF0000000000002) if value is STALE else struct.pack("<d", value)
        body += message(2, b"\x09" + bits + b"\x10" + varint(time_ms & (1 << 64) - 1))
    return message(1, body)


def snappy(text):
    """Literals only, which every decoder must take; copies are a unit test's and real Prometheus' business."""
    out = varint(len(text))
    for at in range(0, len(text), 60):
        piece = text[at:at + 60]
        out += bytes([len(piece) - 1 << 2]) + piece
    return out


def write(node, *all_series, query=""):
    return node.request("POST", PATH + query, snappy(b"".join(all_series)), headers=HEADERS)


def metric(node, name):
    return next(int(line.split()[1]) for line in node.request("GET", "/metrics")[1].splitlines() if line.startswith(name + " "))


def test_series_become_devices_and_late_samples_are_fine(node_factory):
    node = node_factory()
    cpu = {"__name__": "cpu_seconds", "instance": "gw7:9100", "job": "node"}
    assert write(node, series(dict(cpu, cpu="0"), [(1.5, 1700000002000), (2.5, 1700000003000)]),
                 series(dict(cpu, cpu="1"), [(9, 1700000002000)])) == (204, "")
    assert write(node, series(dict(cpu, cpu="0"), [(0.5, 1700000001000)])) == (204, "")
    assert node.sql("SELECT device, cpu, instance, value FROM cpu_seconds ORDER BY device, time") == [
        ["gw7:9100/0/node", "0", "gw7:9100", 0.5], ["gw7:9100/0/node", "0", "gw7:9100", 1.5],
        ["gw7:9100/0/node", "0", "gw7:9100", 2.5], ["gw7:9100/1/node", "1", "gw7:9100", 9]]
    assert node.sql("SELECT max(time) FROM cpu_seconds") == [["2023-11-14T22:13:23Z"]]


def test_what_a_path_cannot_hold_is_encoded_there_and_whole_in_the_label(node_factory):
    node = node_factory()
    labels = {"__name__": "lat_bucket", "le": "+Inf", "path": "/a/b", "device": "sda"}
    assert write(node, series(labels, [(7, 1000)])) == (204, "")
    assert node.sql("SELECT device, le, path FROM lat_bucket") == [["sda/%2BInf/%2Fa%2Fb", "+Inf", "/a/b"]]


def test_a_stale_marker_is_a_counted_null(node_factory):
    node = node_factory()
    assert write(node, series({"__name__": "up", "instance": "a"}, [(1, 1000), (STALE, 2000)])) == (204, "")
    assert node.sql("SELECT value, quality(value) FROM up ORDER BY time") == [[1, "Good"], [None, "BadNoCommunication"]]
    assert metric(node, "millrace_prometheus_stale_total") == 1


def test_a_bad_series_is_named_and_the_others_are_kept(node_factory):
    node = node_factory()
    status, answer = write(node, series({"instance": "a"}, [(1, 1)]), series({"__name__": "up", "instance": "a"}, [(1, 1000)]))
    assert status == 400 and "__name__" in json.loads(answer)["error"]["message"], answer
    assert node.sql("SELECT value FROM up") == [[1]]
    text = series({"__name__": "up", "instance": "a"}, [(1, 1000)])
    for body, headers, part in ((snappy(text)[:-3], HEADERS, "snappy"), (snappy(text[:-2]), HEADERS, "protobuf"),
                                (text, {}, "Content-Encoding: snappy"), (b"\xff\xff\xff\xff\x0f", HEADERS, "longer than"),
                                (snappy(text), dict(HEADERS, **{"Content-Type": "application/x-protobuf;proto="
                                                                                "io.prometheus.write.v2.Request"}), "1.0")):
        status, answer = node.request("POST", PATH, body, headers=headers)
        assert 400 <= status < 500 and part in answer, (part, status, answer)
    assert node.request("POST", PATH, snappy(text), token=None, headers=HEADERS)[0] == 401
    assert node.request("POST", "/write", snappy(text), headers=HEADERS)[0] == 415


def test_prometheus_itself_writes(node_factory, tmp_path):
    prometheus = debian_program("prometheus", "usr/bin/prometheus")
    node = node_factory()
    port = free_port()
    (tmp_path / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: self, static_configs: [{{targets: ['{HOST}:{port}']}}]}}]\n"
        f"remote_write: [{{url: '{node.url}{PATH}', basic_auth: {{username: admin, password: {Node.PASSWORD}}}, "
        "queue_config: {batch_send_deadline: 1s}}]\n")
    with open(tmp_path / "prometheus.log", "wb") as log:
        sender = subprocess.Popen([prometheus, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
                                   f"--web.listen-address={HOST}:{port}"], stdout=log, stderr=log, preexec_fn=die_with_parent)
    try:
        def answer(statement):  # a table may be there before its first row, and the row brings the labels
            status, text = node.request("POST", "/v1/sql", statement)
            return json.loads(text)["rows"] if status == 200 else None

        wait_for(lambda: answer("SELECT DISTINCT job, value FROM up WHERE value = 1") == [["self", 1]], 30, "its own series up")
        wait_for(lambda: answer("SELECT count(DISTINCT le) > 3 FROM prometheus_tsdb_compaction_duration_seconds_bucket") ==
                 [[True]], 30, "a histogram's buckets, each a device of its own")
        assert metric(node, "millrace_rows_refused_total") == 0
    finally:
        sender.kill()
        sender.wait()
