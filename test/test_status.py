"""Status of documents: it follows the equipment within a second or two, and writing it is the node's alone."""
import json

import pytest

from conftest import Plantsim, plant_manifests, wait_for

API = "/apis/millrace.io/v1"


def get(node, path):
    status, text = node.request("GET", f"{API}/{path}")
    assert status == 200, text
    return json.loads(text)


def condition(document):
    return (document.get("status", {}).get("conditions") or [{}])[0]


@pytest.fixture(name="steady", scope="module")
def steady_fixture(shared_node_factory, tmp_path_factory):
    """A node whose plant goes on all the time: one for all that only look, since what they wait for takes it ten seconds."""
    folder = tmp_path_factory.mktemp("plant")
    plant = Plantsim(str(folder))
    plant.start()
    yield shared_node_factory(manifests=plant_manifests(plant, folder))
    plant.stop()


def test_status_follows_the_equipment(node, plantsim):
    device = "namespaces/default/devices/press01"
    wait_for(lambda: condition(get(node, device)).get("status") == "True", 15, "press01 is not ready")
    shown = get(node, device)
    assert shown["status"]["good"] > 0 and shown["status"]["bad"] == 0 and shown["status"]["lastRow"].endswith("Z")
    assert shown["metadata"]["generation"] == 1
    connection = "namespaces/default/connections/" + shown["spec"]["connection"]
    line = get(node, connection)
    assert line["status"]["state"] == "connected" and condition(line)["reason"] == "Connected" and line["status"]["roundTripMs"] >= 0
    plantsim.stop()
    wait_for(lambda: condition(get(node, device)).get("status") == "False", 15, "press01 is still ready")
    wait_for(lambda: get(node, connection)["status"]["state"] != "connected", 15, "the connection is still there")
    line = get(node, connection)
    assert line["status"]["lastError"] and condition(line)["message"] and line["metadata"]["generation"] == 1
    since = condition(get(node, device))["lastTransitionTime"]
    plantsim.start()
    wait_for(lambda: condition(get(node, device)).get("status") == "True", 20, "press01 is not ready again")
    assert condition(get(node, device))["lastTransitionTime"] >= since
    table = get(node, "namespaces/default/tables/" + shown["spec"]["table"])
    wait_for(lambda: get(node, "namespaces/default/tables/" + table["metadata"]["name"]).get("status", {}).get("devices", 0) > 0, 15,
             "the table shows no devices")


def test_a_status_that_only_grows_older_is_told_every_ten_seconds(steady):
    node = steady
    device = "namespaces/default/devices/press01"
    wait_for(lambda: condition(get(node, device)).get("status") == "True", 15, "press01 is not ready")
    versions = set()

    def enough():
        shown = get(node, device)
        versions.add(shown["metadata"]["resourceVersion"])
        return len(versions) > 2
    try:
        wait_for(enough, 8, "few versions, as it should be")
    except BaseException as done:  # pytest.fail's exception: the claim is that it comes
        assert "few versions" in str(done)
    assert len(versions) <= 2, versions


def test_the_node_says_how_it_is(steady):
    node = steady
    wait_for(lambda: "status" in get(node, "nodes/edge"), 5, "no status")
    status = get(node, "nodes/edge")["status"]
    assert status["address"] == node.url and status["tier"] == "edge" and condition({"status": status})["status"] == "True"
    wait_for(lambda: get(node, "nodes/edge")["status"]["positions"]["applied"] > 0, 15, "no position")
    status = get(node, "nodes/edge")["status"]
    assert 0 < status["memoryUsed"] < status["memoryLimit"] and status["uptime"]
