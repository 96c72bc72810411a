"""What the node itself publishes for a topic as long or as deep as a client's may be; client identifiers as long as they may be."""
import pytest
from conftest import wait_for
from mqtt_client import LIMIT_S, Client, mqtt_node

LONGEST, DEEPEST = 65000, 256
TOPICS = {
    "cmd": ("cmd/{}/p", "{}/reply"),  # a command is answered
    "data": ("data/{}", "$dead/{}"),  # what is no row is a dead letter
}


@pytest.mark.parametrize("kind", TOPICS)
@pytest.mark.parametrize("is_deep", [False, True], ids=["long", "deep"])
def test_what_is_made_of_the_longest_topic_is_kept(node_factory, kind, is_deep):
    node = mqtt_node(node_factory, f"mqtt.limits.topicLevels={DEEPEST}", "mqtt.maxPacket=1MiB")
    shape, answer = TOPICS[kind]
    around = shape.format("")
    topic = shape.format("x/" * (DEEPEST - 1 - around.count("/")) + "x" if is_deep else "x" * (LONGEST - len(around)))
    assert topic.count("/") + 1 == DEEPEST if is_deep else len(topic) == LONGEST
    wanted = [("cmd/#", 1), ("$dead/#", 1)]
    away, live = Client(node, "away", clean=False, connect=False), Client(node, "live")
    away.connect(expiry=600)
    for client in away, live:
        assert client.subscribe(*wanted) == [1, 1]
    away.close()
    live.publish(topic, "{", 1)

    def comes_to(client):
        wait_for(lambda: answer.format(topic) in [m.topic for m in client.got], LIMIT_S, "no answer")

    comes_to(live)
    live.publish("cmd/end", "", 1)  # on the disk with all that came before
    node.kill9()
    node.start()
    away = Client(node, "away", clean=False, connect=False)
    away.connect(expiry=600)
    comes_to(away)


@pytest.mark.parametrize("size", [255, 256, 65535])
def test_a_session_is_found_by_an_identifier_of_any_length(node_factory, size):
    node = mqtt_node(node_factory)
    name, twin = "é" * (size // 2) + "x" * (size % 2), "é" * (size // 2 - 1) + "yz" + "x" * (size % 2)  # told apart by their ends
    for client_id in name, twin:
        away = Client(node, client_id, clean=False, connect=False)
        away.connect(expiry=600)
        assert away.subscribe(("long/#", 1)) == [1]
        away.close()
    live = Client(node, "live")
    live.publish("long/x", "one", 1)
    live.close()
    node.kill9()
    node.start()
    away = Client(node, name, clean=False, connect=False)
    assert away.connect(expiry=600)[1]["session present"]
    assert [payload for _, payload, *_ in away.wait(1)] == ["one"]
    away.close()
    node.restart()
    assert sorted(node.sql("SELECT client FROM sys.mqtt_clients")) == sorted([[name], [twin]])
    if size == 65535:
        return
    assert node.cli("mqtt", "kick", twin, "--session")[0] == 0
    assert node.sql("SELECT client FROM sys.mqtt_clients") == [[name]]
