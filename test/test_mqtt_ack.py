"""When a message is acknowledged: on the disk, with the kernel, or in memory. A shim makes each sync slow, so that it shows; but
while a node starts and stops, where it is in nobody's way."""
import os
import subprocess
import time

import pytest

from conftest import HOST, free_port
from mqtt_bulk import Bulk

SLOW_S = 0.25
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
static void wait_a_bit(void) { struct timespec t = {0, %d}; if (access(getenv("SLOW_FILE"), F_OK) == 0) nanosleep(&t, 0); }
int fdatasync(int fd) { static int (*real)(int); if (!real) real = dlsym(RTLD_NEXT, "fdatasync"); wait_a_bit(); return real(fd); }
int fsync(int fd) { static int (*real)(int); if (!real) real = dlsym(RTLD_NEXT, "fsync"); wait_a_bit(); return real(fd); }
""" % int(SLOW_S * 1e9)


@pytest.fixture(name="shim", scope="module")
def shim_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shim")
    source, shim = folder / "shim.c", folder / "shim.so"
    source.write_text(SHIM, encoding="utf-8")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True)
    return shim


@pytest.fixture(name="slow")
def slow_fixture(node_factory, shim, tmp_path):
    """Makes nodes whose disk takes SLOW_S for a sync once they have started."""
    is_slow = tmp_path / "slow"
    env = {"LD_PRELOAD": str(shim), "SLOW_FILE": str(is_slow),
           "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}

    def make(settings=(), config=None):
        port = free_port()
        node = node_factory(settings=[f"listen.mqtt={HOST}:{port}", *settings], env=env, start=False)
        if config:
            node.command[2:2] = ["-c", config]
        node.mqtt_port = port
        node.start()
        is_slow.touch()
        return node
    yield make
    is_slow.unlink()


def publish_s(node, topic, name="p"):
    one = Bulk((HOST, node.mqtt_port), name, "admin", node.PASSWORD)
    begun = time.monotonic()
    one.publish(topic, [b"x"])
    took = time.monotonic() - begun
    one.close()
    return took


def keeper(node):
    one = Bulk((HOST, node.mqtt_port), "keeper", "admin", node.PASSWORD)
    one.subscribe("#")
    one.close()
    time.sleep(2.5 * SLOW_S)  # what the subscription writes is out of the way


@pytest.mark.parametrize("ack,waits", [("synced", True), ("written", False), ("memory", False)])
def test_an_acknowledgement_waits_for_what_the_setting_says(slow, ack, waits):
    node = slow(settings=[f"mqtt.ack={ack}"])
    keeper(node)
    took = min(publish_s(node, "a/b", f"p{i}") for i in range(3))
    assert (took >= SLOW_S) == waits, took


def test_written_survives_kill_9(slow):
    node = slow(settings=["mqtt.ack=written"])
    keeper(node)
    one = Bulk((HOST, node.mqtt_port), "p", "admin", node.PASSWORD)
    one.publish("a/b", [b"%d" % i for i in range(200)])
    node.kill9()
    node.start()
    got = Bulk((HOST, node.mqtt_port), "keeper", "admin", node.PASSWORD).receive(200)
    assert got == [b"%d" % i for i in range(200)]


def test_a_listener_has_its_own_setting(slow):
    node = slow(settings=["mqtt.ack=synced", "mqtt.ackListeners.mqtt=memory"])
    keeper(node)
    assert min(publish_s(node, "a/b", f"p{i}") for i in range(3)) < SLOW_S


def test_a_filter_of_a_shared_subscription_is_refused(node_factory, tmp_path):
    path = tmp_path / "node.yaml"
    path.write_text("mqtt:\n  ackTopics:\n    - {filter: $share/g/safe/#, ack: memory}\n", encoding="utf-8")
    node = node_factory(start=False)
    node.command[2:2] = ["-c", str(path)]
    node.spawn()
    assert node.process.wait(30) in (1, 2)
    assert "mqtt.ackTopics[0].filter" in node.log() and "$share/NAME/" in node.log()


def test_a_topic_counts_before_its_listener(slow, tmp_path):
    path = tmp_path / "node.yaml"
    path.write_text("mqtt:\n  ack: synced\n  ackListeners: {mqtt: memory}\n  ackTopics:\n    - {filter: safe/#, ack: synced}\n", encoding="utf-8")
    node = slow(config=str(path))
    keeper(node)
    assert min(publish_s(node, "quick/x", f"p{i}") for i in range(3)) < SLOW_S <= publish_s(node, "safe/x", "s")
