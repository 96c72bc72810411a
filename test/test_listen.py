"""Where HTTP, PostgreSQL and line protocol are listened for changes with SIGHUP, and who is connected stays."""
import http.client
import os
import socket
import ssl
import urllib.request

import psycopg2
import pytest

from conftest import HOST, free_port, wait_for
from test_line_tcp import WRITERS, count
from test_mqtt_ops import hup

LIMIT_S = 20


@pytest.fixture(name="node")
def node_fixture(node_factory, tmp_path):
    node = node_factory(start=False)
    while "--set" in node.command:
        at = node.command.index("--set")
        del node.command[at:at + 2]
    node.yaml = tmp_path / "node.yaml"
    writers = tmp_path / "writers.yaml"
    writers.write_text(WRITERS)
    node.command += ["-c", str(node.yaml), str(writers)]
    write(node, http=node.port)
    node.start()
    return node


def write(node, **ports):
    lines = {"http": "off", "https": "off", "postgres": "off", "mqtt": "off", **{key: f"{HOST}:{port}" for key, port in ports.items()}}
    node.yaml.write_text("listen:\n" + "".join(f"  {key}: {place}\n" for key, place in lines.items()))
    if "http" in ports:
        node.port, node.url = ports["http"], f"http://{HOST}:{ports['http']}"


def answers(port):
    try:
        with socket.create_connection((HOST, port), LIMIT_S):
            return True
    except ConnectionRefusedError:
        return False


def server_file(node):
    with open(os.path.join(node.data, "server.txt"), encoding="utf-8") as file:
        return file.read()


def status(connection):
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_http_moves_and_connections_stay(node, tmp_path):
    first, second = node.port, free_port()
    here = http.client.HTTPConnection(HOST, first, timeout=LIMIT_S)
    assert status(here) == 200
    write(node, http=second)
    hup(node, "reload: done")
    assert not answers(first) and answers(second) and status(here) == 200
    assert f"listening on http://{HOST}:{second}" in node.log() and "restart" not in node.log()
    assert server_file(node) == f"http://{HOST}:{second}\n"
    assert node.sql("SELECT 1") == [[1]]
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        write(node, http=taken)
        hup(node, f"listen.http stays as it was: listen on {HOST}:{taken}")
    assert answers(second) and status(here) == 200


def test_https_comes_and_goes(node):
    port = free_port()
    write(node, http=node.port, https=port)
    hup(node, "reload: done")
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(f"https://{HOST}:{port}/readyz", context=trusting, timeout=LIMIT_S) as answer:
        assert answer.status == 200
    write(node, http=node.port)
    hup(node, "reload: listen.https is off now")
    assert not answers(port) and node.sql("SELECT 1") == [[1]]
    write(node, https=port)
    hup(node, "reload: listen.http is off now")
    wait_for(lambda: server_file(node) == f"https://{HOST}:{port}\n", LIMIT_S, "the file still says HTTP")
    assert answers(port)


def connect(node, port):
    return psycopg2.connect(host=HOST, port=port, user="admin", password=node.PASSWORD, dbname="default", connect_timeout=LIMIT_S)


def rows_of(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 7")
        return cursor.fetchall()


def test_postgresql_comes_moves_and_goes(node):
    first, second = free_port(), free_port()
    write(node, http=node.port, postgres=first)
    hup(node, "reload: done")
    here = connect(node, first)
    assert rows_of(here) == [(7,)]
    write(node, http=node.port, postgres=second)
    hup(node, "reload: done")
    assert not answers(first) and rows_of(here) == [(7,)] and rows_of(connect(node, second)) == [(7,)]
    left = node.port
    write(node, http=first, postgres=left)  # which HTTP leaves
    hup(node, "reload: done")
    assert rows_of(here) == [(7,)] and rows_of(connect(node, left)) == [(7,)]
    write(node, http=node.port)
    hup(node, "reload: listen.postgres is off now")
    with pytest.raises(psycopg2.OperationalError):
        rows_of(here)
    assert node.sql("SELECT 1") == [[1]]


def test_line_protocol_moves_and_connections_stay(node):
    first, second = free_port(), free_port()
    write(node, http=node.port, line=first)
    hup(node, "reload: done")
    with socket.create_connection((HOST, first), LIMIT_S) as here:
        here.sendall(b"m,device=d v=1\n")
        wait_for(lambda: count(node) == 1, LIMIT_S, "the first line")
        write(node, http=node.port, line=second)
        hup(node, "reload: done")
        assert not answers(first) and answers(second)
        here.sendall(b"m,device=d v=2\n")
        wait_for(lambda: count(node) == 2, LIMIT_S, "the second line")
    write(node, http=node.port)
    hup(node, "reload: listen.line is off now")
    assert not answers(second)


def test_what_only_a_restart_can_carry_out_is_named(node, tmp_path):
    node.yaml.write_text(node.yaml.read_text() + f"rollupRows: 7\ndrivers: {tmp_path}\nmemory: 96MiB\n")
    hup(node, "reload: done")
    for key in ("rollupRows changed from '500' to '7'", f"drivers changed from '' to '{tmp_path}'", "memory changed from"):
        assert f"reload: {key}" in node.log(), node.log()
