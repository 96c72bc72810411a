"""A paho client for tests of the broker, which keeps what it gets."""
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from conftest import HOST, free_port, wait_for

VERSIONS = {"3.1": paho.MQTTv31, "3.1.1": paho.MQTTv311, "5.0": paho.MQTTv5}
LIMIT_S = 20


def mqtt_node(node_factory, *settings, **more):
    """A node that listens for MQTT at node.mqtt_port."""
    port = free_port()
    node = node_factory(settings=[f"listen.mqtt={HOST}:{port}", *settings], **more)
    node.mqtt_port = port
    return node


class Client:
    """A paho client that keeps what it gets."""

    def __init__(self, node, name, version="5.0", clean=True, will=None, connect=True, user="admin", password=None):
        self.node, self.version, self.clean, self.got, self.reasons = node, version, clean, [], []
        extra = {} if version == "5.0" else {"clean_session": clean}
        self.paho = paho.Client(name, protocol=VERSIONS[version], **extra)
        if user is not None:
            self.paho.username_pw_set(user, node.PASSWORD if password is None else password)
        if will:
            self.paho.will_set(*will)
        self.paho.on_message = lambda c, u, m: self.got.append(m)
        self.paho.on_connect = lambda c, u, flags, reason, *more: self.reasons.append((getattr(reason, "value", reason), flags))
        self.acks, self.subscribed = set(), {}
        self.paho.on_publish = lambda c, u, mid: self.acks.add(mid)
        self.paho.on_subscribe = lambda c, u, mid, codes, *more: self.subscribed.update({mid: [getattr(x, "value", x) for x in codes]})
        if connect:
            self.connect()

    def connect(self, expiry=None):
        known, extra = len(self.reasons), {}
        if self.version == "5.0":
            properties = Properties(PacketTypes.CONNECT)
            if expiry is not None:
                properties.SessionExpiryInterval = expiry
            extra = {"clean_start": self.clean, "properties": properties}
        self.paho.connect(HOST, self.node.mqtt_port, **extra)
        self.paho.loop_start()
        wait_for(lambda: len(self.reasons) > known, LIMIT_S, "no CONNACK")
        return self.reasons[-1]

    def subscribe(self, *filters, **more):
        result, mid = self.paho.subscribe(list(filters), **more)
        assert result == 0
        wait_for(lambda: mid in self.subscribed, LIMIT_S, "no SUBACK")
        return self.subscribed[mid]

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        info = self.paho.publish(topic, payload, qos, retain, properties=properties)
        wait_for(lambda: info.mid in self.acks, LIMIT_S, f"{topic}: not acknowledged")

    def wait(self, count):
        wait_for(lambda: len(self.got) >= count, LIMIT_S, f"{count} messages")
        return [(m.topic, m.payload.decode(), m.qos, bool(m.retain)) for m in self.got]

    def close(self):
        self.paho.disconnect()
        self.paho.loop_stop()
