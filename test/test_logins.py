"""Who guesses passwords is slowed down, and nobody else is: a name with failures waits in a line of its own."""
import contextlib
import json
import threading
import time

from conftest import HOST, Node
from mqtt_client import mqtt_node
from mqtt_wire import Wire

NAMES = 24
LIMIT_S = 3


def log_in(node, user, password):
    return node.request("POST", "/v1/login", json.dumps({"user": user, "password": password}), token=None)[0]


def time_of(call):
    began = time.monotonic()
    return call(), time.monotonic() - began


@contextlib.contextmanager
def guessing(turn, threads):
    """Many at once, each with one name, again and again while the test goes on."""
    ending = threading.Event()

    def guess(number):
        while not ending.is_set():
            turn(f"guess{number % NAMES}")

    running = [threading.Thread(target=guess, args=(number,), daemon=True) for number in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        ending.set()


def test_guesses_over_http_do_not_keep_others_out(node_factory):
    node = node_factory()
    with guessing(lambda name: log_in(node, name, "wrong"), 4 * NAMES):
        time.sleep(5)
        status, took_s = time_of(lambda: log_in(node, "admin", Node.PASSWORD))
    assert status == 200 and took_s < LIMIT_S, (status, took_s)


def connect(node, user, password, name):
    with contextlib.closing(Wire((HOST, node.mqtt_port), "5", timeout_s=60)) as wire:
        wire.send("CONNECT", id=name, user=user, password=password)
        answer = wire.receive(60)
        return dict(answer[1]).get("code") if answer else None


def test_guesses_over_mqtt_do_not_keep_others_out(node_factory):
    """Those that wait for their turn do not stand before others, either: five hundred are of one name."""
    node = mqtt_node(node_factory)
    waiting = [Wire((HOST, node.mqtt_port), "5", timeout_s=60) for _ in range(500)]
    for number, wire in enumerate(waiting):
        wire.send("CONNECT", id=f"w{number}", user="guess0", password="wrong")
    with guessing(lambda name: connect(node, name, "wrong", ""), 4 * NAMES):
        time.sleep(5)
        code, took_s = time_of(lambda: connect(node, "admin", Node.PASSWORD, "good"))
    for wire in waiting:
        wire.close()
    assert code == 0 and took_s < LIMIT_S, (code, took_s)
