"""Commands of a Sparkplug host to an edge node that is a Sink: written as other commands are, if the document and the host's rights say so."""
import json

import pytest

from conftest import HOST, wait_for
from mqtt_client import LIMIT_S, Client
from sparkplug import parse, payload
from test_mqtt_commands import plant_fixture  # noqa: F401 (a fixture)
from test_rights import PASSWORD, Plant
from test_sinks import API, sink

PRESS = "spBv1.0/g/DCMD/e/press01"
NODE = "spBv1.0/g/NCMD/e"
EDGE = {"format": "sparkplug", "group": "g", "edge": "e"}


class Host:
    """A host application as the specification has it: metrics are known by their births, commands name them by alias."""

    def __init__(self, node, **login):
        self.client = Client(node, "host-" + login.get("user", "admin"), **login)
        self.client.subscribe(("spBv1.0/#", 1))
        self.client.publish(NODE, payload({"name": "Node Control/Rebirth", "type": "Boolean", "value": True}, ts=1), 1)
        wait_for(self.births, LIMIT_S, "no birth")

    def births(self):
        found = [parse(m.payload) for m in self.client.got if "/DBIRTH/" in m.topic]
        return {m.name: (m.alias, m.datatype) for p in found for m in p.metrics}

    def alias(self, name):
        return self.births()[name][0]

    def values(self, name):
        alias = self.alias(name)
        return [m.double_value if m.HasField("double_value") else m.boolean_value
                for got in self.client.got if "/DDATA/" in got.topic for m in parse(got.payload).metrics if m.alias == alias]

    def command(self, *metrics, topic=PRESS, **more):
        self.client.publish(topic, payload(*metrics, ts=1), 1, **more)


def refused(node):
    return [int(line.split()[-1]) for line in node.request("GET", "/metrics")[1].splitlines() if line.startswith("millrace_mqtt_commands_refused_total")][0]


def written(node):
    return node.sql("SELECT user, path, detail, outcome FROM sys.audit WHERE verb = 'write-point' ORDER BY time")


@pytest.fixture(name="host")
def host_fixture(plant):
    sink(plant, "edge", table="press", mqtt={**EDGE, "writes": True})
    wait_for(lambda: plant.sql("SELECT count(*) > 0 FROM press") == [[True]], LIMIT_S, "nothing is polled")
    return Host(plant)


def test_a_metric_is_written_by_its_alias_and_comes_back_as_data(plant, host):
    host.command({"alias": host.alias("setpoint"), "type": "Double", "value": 81.5}, {"alias": host.alias("lamp"), "type": "Boolean", "value": True})
    wait_for(lambda: plant.sql("SELECT last(setpoint), last(lamp) FROM press") == [[81.5, True]], LIMIT_S, "not written")
    wait_for(lambda: 81.5 in host.values("setpoint") and True in host.values("lamp"), LIMIT_S, "not told")
    details = written(plant)
    for outcome in ("asked", "ok"):
        assert ["admin", "press01", "setpoint = 81.5: Sparkplug command (Sink edge, MQTT client host-admin)", outcome] in details
    assert refused(plant) == 0


def test_names_are_understood_too_and_so_is_a_command_to_the_node(plant, host):
    host.command({"name": "setpoint", "type": "Int32", "value": 70})
    wait_for(lambda: plant.sql("SELECT last(setpoint) FROM press") == [[70]], LIMIT_S, "not written by name")
    host.command({"alias": host.alias("setpoint"), "type": "Double", "value": 71.5}, topic=NODE)
    wait_for(lambda: plant.sql("SELECT last(setpoint) FROM press") == [[71.5]], LIMIT_S, "not written by NCMD")
    host.command({"name": "press01/setpoint", "type": "Double", "value": 72.5}, topic=NODE)
    wait_for(lambda: plant.sql("SELECT last(setpoint) FROM press") == [[72.5]], LIMIT_S, "not written by NCMD and name")


@pytest.mark.parametrize("metric,topic", [
    ({"name": "nothing", "type": "Double", "value": 1.0}, PRESS), ({"alias": 999999, "type": "Double", "value": 1.0}, PRESS),
    ({"name": "setpoint", "type": "Double", "null": True}, PRESS), ({"name": "setpoint", "type": "String", "value": "x"}, PRESS),
    ({"name": "setpoint", "type": "Double", "value": 9999.0}, PRESS), ({"name": "fixed", "type": "Double", "value": 1.0}, PRESS),
    ({"name": "setpoint", "type": "Double", "value": 1.0}, PRESS + "x"), ({"name": "Node Control/Reboot", "type": "Boolean", "value": True}, NODE),
    ({"name": "setpoint", "type": "Double", "value": 1.0, "historical": True}, PRESS)])
def test_what_cannot_be_written_is_counted_and_told(plant, host, metric, topic):
    before = plant.sql("SELECT last(setpoint) FROM press")
    host.command(metric, topic=topic)
    wait_for(lambda: refused(plant) == 1, LIMIT_S, "not counted")
    wait_for(lambda: f"{topic} of admin (client host-admin): 1 refused" in plant.log(), LIMIT_S, "not told")
    host.command({"name": "setpoint", "type": "Double", "value": 50.0})
    wait_for(lambda: plant.sql("SELECT last(setpoint) FROM press") == [[50]], LIMIT_S, f"the next one is not taken; before: {before}")


def test_what_is_no_payload_and_what_is_retained_write_nothing(plant, host):
    host.client.publish(PRESS, b"\xff\xff", 1)
    wait_for(lambda: refused(plant) == 1, LIMIT_S, "not counted")
    host.client.publish(PRESS, payload({"name": "setpoint", "type": "Double", "value": 1.0}, ts=1), 1, True)
    wait_for(lambda: refused(plant) == 2, LIMIT_S, "not counted")
    assert "a retained message asks for nothing" in plant.log() and written(plant) == []


def test_a_sink_that_does_not_allow_it_writes_nothing(plant):
    sink(plant, "edge", table="press", mqtt=EDGE)
    wait_for(lambda: plant.sql("SELECT count(*) > 0 FROM press") == [[True]], LIMIT_S, "nothing is polled")
    host = Host(plant)
    host.command({"alias": host.alias("setpoint"), "type": "Double", "value": 81.5})
    wait_for(lambda: "does not say mqtt.writes: true" in plant.log(), LIMIT_S, "not told")
    assert refused(plant) == 1 and written(plant) == []


def test_who_may_publish_commands_but_not_write_the_device_is_refused_and_audited(plant, host):
    login = Plant(plant).user("eve", [{"verbs": ["publish", "subscribe"], "paths": ["spBv1.0/#"]}])
    eve = Host(plant, user="eve", password=PASSWORD)
    assert login == f"eve:{PASSWORD}"
    eve.command({"alias": host.alias("setpoint"), "type": "Double", "value": 81.5})
    wait_for(lambda: refused(plant) == 1, LIMIT_S, "not refused")
    wait_for(lambda: written(plant), LIMIT_S, "not audited")
    user, path, detail, outcome = written(plant)[0]
    assert (user, path) == ("eve", "press01") and detail.startswith("setpoint = 81.5") and "may not write-point" in outcome


def test_who_may_not_write_devices_makes_no_sink_that_does(plant):
    people = Plant(plant)
    maker = people.user("mia", [{"verbs": ["get", "create", "update"], "kinds": ["Sink"]}, {"verbs": ["query"], "kinds": ["Table"]},
                                {"verbs": ["publish"], "paths": ["spBv1.0/#"]}])
    document = {"apiVersion": "millrace.io/v1", "kind": "Sink", "metadata": {"name": "s"}, "spec": {"table": "press", "mqtt": {**EDGE, "writes": True}}}
    status, answer = people.call("POST", API, document, maker)
    assert status == 403 and "write-point" in answer["message"], answer
    document["spec"]["mqtt"]["writes"] = False
    assert people.call("POST", API, document, maker)[0] == 201
    document["spec"]["mqtt"]["writes"] = True
    assert people.call("PUT", API + "/s", document, maker)[0] == 403


def test_writes_are_of_plain_columns_of_a_table_only(plant):
    assert "columns must be plain names" in sink(plant, "x", 422, table="press", columns=["setpoint * 1.8 + 32 AS setpoint"], mqtt={**EDGE, "writes": True})
    assert "is of a table" in sink(plant, "x", 422, query="SELECT setpoint FROM press", mqtt={**EDGE, "writes": True})
    assert "is of format sparkplug" in sink(plant, "x", 422, table="press", mqtt={"writes": True})
