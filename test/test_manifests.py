"""Documents of files: what vanished stays until it is pruned, SIGHUP reads again, and tables change only as their rows allow."""
import json
import os
import signal
import subprocess
import time

import pytest
from conftest import free_port, wait_for

API = "/apis/millrace.io/v1"
HEAD = "apiVersion: millrace.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"
CONNECTION = '{driver: modbus, endpoint: "tcp://127.0.0.1:1", enabled: false}'
MERGE = {"Content-Type": "application/merge-patch+json"}


def doc(kind, name, spec):
    return HEAD.format(kind=kind, name=name, spec=spec)


@pytest.fixture(name="plant")
def plant_fixture(node_factory, tmp_path):
    path = tmp_path / "plant.yaml"
    path.write_text(doc("Connection", "a", CONNECTION) + doc("Connection", "b", CONNECTION) + doc("Table", "t", "{columns: [{name: x}]}"))
    node = node_factory(manifests=[str(path)])
    node.path = path
    node.names = lambda kind="connections": [item["metadata"]["name"] for item in
                                              json.loads(node.request("GET", f"{API}/{kind}")[1])["items"]]
    node.get = lambda kind, name: json.loads(node.request("GET", f"{API}/namespaces/default/{kind}/{name}")[1])
    return node


def test_what_vanished_stays_until_it_is_pruned(plant):
    uid = plant.get("connections", "b")["metadata"]["uid"]
    plant.stop()
    plant.path.write_text(doc("Connection", "b", CONNECTION))
    plant.start()
    assert plant.names() == ["a", "b"] and "Connection a stands in" in plant.log()
    assert plant.get("connections", "b")["metadata"]["uid"] == uid  # the same document as before the restart
    assert plant.request("DELETE", f"{API}/namespaces/default/connections/b")[0] == 403
    assert plant.sql("INSERT INTO t (device, x) VALUES ('d', 1)")
    plant.stop()
    plant.command.insert(2, "--prune")
    plant.start()
    assert plant.names() == ["b"] and plant.names("tables") == ["t"]
    assert plant.get("tables", "t")["metadata"]["owner"] == "api" and plant.sql("SELECT x FROM t") == [[1]]
    plant.command.remove("--prune")
    plant.restart()
    assert plant.names() == ["b"]


def test_what_vanished_can_be_deleted_through_the_api(plant):
    plant.stop()
    plant.path.write_text(doc("Connection", "b", CONNECTION))
    plant.start()
    assert plant.request("DELETE", f"{API}/namespaces/default/connections/a")[0] == 200
    plant.restart()
    assert plant.names() == ["b"]


def hup(node, says):
    before = node.log().count("reload:")
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: says in node.log() and node.log().count("reload:") > before, 10, f"the log does not say: {says}")


def test_sighup_takes_over_what_changed_or_nothing(plant):
    generation = plant.get("connections", "a")["metadata"]["generation"]
    plant.path.write_text(doc("Connection", "a", CONNECTION.replace(":1", ":7")) + doc("Connection", "c", CONNECTION))
    hup(plant, "reload: done")
    assert plant.names() == ["a", "b", "c"]
    now = plant.get("connections", "a")
    assert now["spec"]["endpoint"].endswith(":7") and now["metadata"]["generation"] == generation + 1
    plant.path.write_text(doc("Connection", "a", CONNECTION) + doc("Connection", "d", "{driver: modbus, enpoint: x}"))
    hup(plant, "did you mean 'endpoint'")
    assert plant.names() == ["a", "b", "c"] and plant.get("connections", "a")["spec"]["endpoint"].endswith(":7")
    plant.path.write_text(doc("Connection", "a", CONNECTION))
    plant.restart()
    assert plant.names() == ["a", "b", "c"]


def test_sighup_prunes_where_the_start_did_and_never_rows(plant):
    plant.stop()
    plant.command.insert(2, "--prune")
    plant.start()
    assert plant.sql("INSERT INTO t (device, x) VALUES ('d', 1)")
    plant.path.write_text(doc("Connection", "b", CONNECTION))
    hup(plant, "reload: done")
    assert plant.names() == ["b"] and plant.names("tables") == ["t"]
    assert plant.get("tables", "t")["metadata"]["owner"] == "api" and plant.sql("SELECT x FROM t") == [[1]]
    plant.restart()
    assert plant.names("tables") == ["t"] and plant.sql("SELECT x FROM t") == [[1]]


def test_sighup_names_what_needs_a_restart_and_renews_the_certificate(node_factory, tmp_path):
    def make_pair(name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", f"/CN={name}", "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")],
                       check=True, stderr=subprocess.DEVNULL)

    def subject():
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{https}"], input="", stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=20)
        return next(line for line in done.stdout.splitlines() if line.startswith("subject="))
    https, config = free_port(), tmp_path / "node.yaml"
    make_pair("first")
    tls = f"tls: {{cert: {tmp_path}/cert.pem, key: {tmp_path}/key.pem}}\n"
    config.write_text("memory: 64MiB\n" + tls)
    node = node_factory(settings=[f"listen.https=127.0.0.1:{https}"], start=False)
    node.command[2:2] = ["-c", str(config)]
    node.start()
    assert "first" in subject()
    make_pair("second")
    config.write_text("memory: 96MiB\n" + tls)
    hup(node, "memory changed from")
    wait_for(lambda: "reload: done" in node.log(), 10, "not done")
    assert "second" in subject() and "needs a restart" in node.log()
    config.write_text("memroy: 96MiB\n")
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "did you mean 'memory'" in node.log(), 10, "the wrong key is not told")
    assert "second" in subject() and node.request("GET", "/readyz")[0] == 200


# ---- tables ----


def table(columns, **spec):
    return json.dumps({"apiVersion": "millrace.io/v1", "kind": "Table", "metadata": {"name": "press"},
                       "spec": {"columns": [dict(zip(("name", "type", "unit"), column)) for column in columns], **spec}})


@pytest.fixture(name="put")
def put_fixture(node_factory):
    node = node_factory()
    tables = f"{API}/namespaces/default/tables"
    assert node.request("POST", tables, table([("a", "bigint"), ("b", "double")]))[0] == 201

    def put(columns, **spec):
        status, text = node.request("PUT", tables + "/press", table(columns, **spec))
        return status, json.loads(text).get("message", "")
    put.node = node
    return put


def test_a_document_adds_widens_and_describes(put):
    node = put.node
    wait_for(lambda: node.request("POST", "/write", "press,device=d a=1i,b=2")[0] == 204, 5, "no table")
    assert put([("a", "double", "°C"), ("b", "double", "bar"), ("c", "text")], retention="90d")[0] == 200
    wait_for(lambda: [row[:2] for row in node.sql("DESCRIBE press")][4:7] == [["a", "double"], ["b", "double"], ["c", "text"]], 5,
             "the table did not follow")
    assert "°C" in json.dumps(node.sql("DESCRIBE press"), ensure_ascii=False)
    assert node.sql("SELECT a, b, c FROM press") == [[1, 2, None]]


def test_a_document_that_would_lose_values_is_refused_with_the_way_out(put):
    node = put.node
    status, said = put([("a", "bigint")])
    assert status == 422 and "column 'b' is left out" in said and "RENAME COLUMN" in said, said
    status, said = put([("a", "text"), ("b", "double")])
    assert status == 422 and "spec.columns[0].type" in said and "only widening" in said, said
    status, said = put([("a", "bigint"), ("b", "double")], name="other")
    assert status == 422 and "spec.name" in said and "cannot be renamed" in said, said
    twin = table([("z", "double")], name="press").replace('"name": "press"}', '"name": "twin"}', 1)
    status, text = node.request("POST", f"{API}/namespaces/default/tables", twin)
    assert status == 422 and "belongs to Table press already" in text, text
    # What arrived by writing is no document's to mention.
    assert node.request("POST", "/write", "press,device=d a=1i,fresh=5")[0] == 204
    assert put([("a", "bigint"), ("b", "double")])[0] == 200
    assert node.sql("SELECT fresh FROM press") == [[5]]


def test_ddl_is_the_same_document_also_after_a_restart(put):
    node = put.node
    node.sql("ALTER TABLE press RENAME COLUMN b TO c")
    node.sql("ALTER TABLE press ADD COLUMN d text")
    node.restart()
    shown = json.loads(node.request("GET", f"{API}/namespaces/default/tables/press")[1])
    assert [column["name"] for column in shown["spec"]["columns"]] == ["a", "c", "d"]
    assert [row[0] for row in node.sql("DESCRIBE press")][-3:] == ["a", "c", "d"]
    node.sql("DROP TABLE press")
    node.restart()
    assert node.request("GET", f"{API}/namespaces/default/tables/press")[0] == 404


def test_a_deleted_document_takes_its_table_along(put):
    node = put.node
    node.sql("INSERT INTO press (device, a) VALUES ('d', 1)")
    assert node.request("DELETE", f"{API}/namespaces/default/tables/press")[0] == 200
    wait_for(lambda: node.request("POST", "/v1/sql", "SELECT * FROM press")[0] == 404, 5, "the table is still there")
    node.restart()
    assert node.request("POST", "/v1/sql", "SELECT * FROM press")[0] == 404


def test_every_table_has_a_document_of_its_own(put):
    """SQL names that one metadata.name could stand for, or none: nothing is put over another table's document."""
    node, tables = put.node, f"{API}/namespaces/default/tables"
    mine = table([("z", "double")], name="mine").replace('"name": "press"}', '"name": "taken"}', 1)
    assert node.request("POST", tables, mine)[0] == 201
    sql_names = ["Temp", "temp", "TEMP", "a-b", "a.b", "a_b", "trailing_", "_", "温度", "taken", "x" * 255]
    assert node.request("POST", "/write", "\n".join(f"{name},device=d v=1 1" for name in sql_names))[0] == 204
    node.sql('CREATE TABLE "Made" (a double)')

    def documents():
        items = json.loads(node.request("GET", tables)[1])["items"]
        named = {item["spec"].get("name", item["metadata"]["name"]): item["metadata"]["name"] for item in items}
        assert len(named) == len(items)
        return named
    node.restart()
    before = documents()
    assert set(before) == {*sql_names, "press", "mine", "Made"}
    assert (before["mine"], before["temp"], before["a_b"]) == ("taken", "temp", "a-b")
    assert before["Temp"].startswith("temp-") and before["Made"].startswith("made-") and before["taken"].startswith("taken-")
    node.restart()
    assert documents() == before and "has no document" not in node.log()
    assert node.request("DELETE", f"{tables}/temp")[0] == 200
    wait_for(lambda: node.request("POST", "/v1/sql", "SELECT * FROM temp")[0] == 404, 5, "the table is still there")
    assert [node.sql(f'SELECT v FROM "{name}"') for name in ("Temp", "TEMP", "taken")] == [[[1]]] * 3
    assert node.request("DELETE", f"{tables}/{before['Temp']}")[0] == 200
    wait_for(lambda: node.request("POST", "/v1/sql", 'SELECT * FROM "Temp"')[0] == 404, 5, "the table is still there")
    assert node.sql('SELECT v FROM "TEMP"') == [[1]]


def test_a_table_of_a_file_is_changed_in_the_file(plant):
    status, text = plant.request("POST", "/v1/sql", "ALTER TABLE t ADD COLUMN y double")
    assert status == 409 and str(plant.path) in text, text
    plant.path.write_text(plant.path.read_text().replace("{name: x}", "{name: y}"))
    hup(plant, "reload: done")
    assert [row[0] for row in plant.sql("DESCRIBE t")][-2:] == ["x", "y"]

    def applied():
        return (plant.get("tables", "t").get("status", {}).get("conditions") or [{}])[0]
    wait_for(lambda: applied().get("status") == "False", 15, "the table's condition does not tell")
    assert "column 'x' is left out" in applied()["message"]


def test_durability_interval_does_not_wait_for_the_disk(put):
    assert put([("a", "bigint"), ("b", "double")], durability="interval 500ms")[0] == 422
    assert put([("a", "bigint"), ("b", "double")], durability="interval 10s")[0] == 200
    wait_for(lambda: put.node.request("POST", "/write", "press,device=d a=1i")[0] == 204, 5, "not written")
    assert put.node.sql("SELECT a FROM press") == [[1]]


def test_a_document_of_a_hundred_thousand_keys_is_refused_in_a_moment(node_factory):
    node = node_factory()
    for metadata, spec in ((range(0), range(100_000)), (range(100_000), range(0))):
        labels, keys = ({f"k{i}": "1" for i in r} for r in (metadata, spec))
        document = {"apiVersion": "millrace.io/v1", "kind": "Table", "metadata": {"name": "t", "labels": labels}, "spec": keys}
        begun = time.monotonic()
        node.request("POST", "/apis/millrace.io/v1/namespaces/default/tables", json.dumps(document), headers={"Content-Type": "application/json"})
        assert time.monotonic() - begun < 10
        document["metadata"]["labels"] = dict(reversed(labels.items()))
        node.request("PUT", "/apis/millrace.io/v1/namespaces/default/tables/t", json.dumps(document), headers={"Content-Type": "application/json"})
        assert time.monotonic() - begun < 10
    assert node.alive()
