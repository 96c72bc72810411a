"""Line protocol over TCP (listen.line): streams of lines, cut anywhere, that nobody answers."""
import os
import socket
import ssl
import subprocess

import pytest

from conftest import HOST, Node, free_port, wait_for

WRITERS = """apiVersion: millrace.io/v1
kind: Role
metadata: {name: line-writer}
spec:
  rules: [{verbs: [ingest], kinds: [Table], namespaces: [default]}]
---
apiVersion: millrace.io/v1
kind: User
metadata: {name: anonymous}
spec: {roles: [line-writer]}
---
apiVersion: millrace.io/v1
kind: User
metadata: {name: gauge1}
spec: {roles: [line-writer]}
"""


@pytest.fixture(name="writers")
def writers_fixture(tmp_path):
    path = tmp_path / "writers.yaml"
    path.write_text(WRITERS)
    return str(path)


def metric(node, name):
    for line in node.request("GET", "/metrics")[1].splitlines():
        if line.startswith(name + " "):
            return int(line.split()[1])
    raise AssertionError(name)


def count(node):
    status, answer = node.request("POST", "/v1/sql", "SELECT count(*) FROM m")
    return int(answer.split('"rows":[[')[1].split("]")[0]) if status == 200 else 0


def test_lines_split_anywhere_arrive_whole(node_factory, writers):
    port = free_port()
    node = node_factory(manifests=[writers], settings=[f"listen.line={HOST}:{port}"])
    text = "".join(f"m,device=d{i % 7} v={i}i {1700000000000000000 + i}\n" for i in range(2000)).encode()
    with socket.create_connection((HOST, port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        at, step = 0, 1
        while at < len(text):
            client.sendall(text[at:at + step])
            at, step = at + step, step * 7 % 1009 + 1
    wait_for(lambda: count(node) == 2000, 20, "2000 rows")
    assert node.sql("SELECT sum(v), count(DISTINCT device) FROM m") == [[1999000, 7]]
    wait_for(lambda: metric(node, "millrace_line_connections") == 0, 5, "the connection is counted out")


def test_bad_lines_are_counted_and_told_and_half_a_line_is_not_taken(node_factory, writers):
    port = free_port()
    node = node_factory(manifests=[writers], settings=[f"listen.line={HOST}:{port}"])
    with socket.create_connection((HOST, port)) as client:
        client.sendall(b"m,device=a v=1 1\nm,device=a v=oops 2\nm,device=a v=3 3\nm,device=a v=4 41")
    wait_for(lambda: count(node) == 2, 20, "2 rows")
    said = wait_for(lambda: [line for line in node.log().splitlines() if "1 lines refused" in line], 5, "the line is told")[0]
    assert "byte 14" in said and "m,device=a v=oops 2" in said, said
    assert metric(node, "millrace_rows_refused_total") == 1
    with socket.create_connection((HOST, port)) as client:
        client.sendall(b"bad\n" * 5000)  # within the same second, or told with their number in the next
    wait_for(lambda: metric(node, "millrace_rows_refused_total") == 5001, 20, "all are counted")
    assert len([line for line in node.log().splitlines() if "lines refused" in line]) <= 20
    assert count(node) == 2  # "v=4 41" may have been v=4 410…: it is not a line


def test_a_fast_sender_is_slowed_down_and_nothing_is_lost(node_factory, writers):
    port = free_port()
    node = node_factory(manifests=[writers], settings=[f"listen.line={HOST}:{port}", "memory=32MiB"])
    rows, chunk = 120000, 5000
    with socket.create_connection((HOST, port)) as client:
        for at in range(0, rows, chunk):
            client.sendall("".join(f"m,device=d{i % 100} v={i},w=0.5 {1700000000000000000 + i}\n"
                                   for i in range(at, at + chunk)).encode())
    wait_for(lambda: count(node) == rows, 60, "all rows")
    assert "closed" not in node.log()


def test_a_line_without_an_end_ends_the_connection(node_factory, writers):
    port = free_port()
    node = node_factory(manifests=[writers], settings=[f"listen.line={HOST}:{port}"])
    with socket.create_connection((HOST, port)) as client:
        with pytest.raises(OSError):
            for _ in range(64):
                client.sendall(b"x" * 65536)
            client.settimeout(10)
            if not client.recv(1):
                raise ConnectionError
    assert "longer than 1 MiB" in node.log()


def test_anonymous_may_nothing_until_it_is_given(node_factory):
    port = free_port()
    node = node_factory(settings=[f"listen.line={HOST}:{port}"])
    with socket.create_connection((HOST, port)) as client:
        client.sendall(b"m,device=a v=1 1\n")
    wait_for(lambda: metric(node, "millrace_rows_refused_total") == 1, 10, "the row is refused")
    assert "anonymous" in node.log() and node.request("POST", "/v1/sql", "SELECT * FROM m")[0] != 200


def certificates(folder):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=plant", "-days", "2")
    for name, common in (("gauge", "gauge1"), ("other", "nobody"), ("server", "gw7")):
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={common}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                f"{name}.pem", "-days", "2")


def test_from_other_hosts_a_certificate_names_the_user(node_factory, writers, tmp_path):
    port = free_port()
    certificates(tmp_path)
    tls = [f"tls.{key}={tmp_path}/{name}" for key, name in (("cert", "server.pem"), ("key", "server.key"), ("ca", "ca.pem"))]
    node = node_factory(manifests=[writers], settings=[f"listen.line=0.0.0.0:{port}", *tls])

    def send(name, text):
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        context.check_hostname = False
        if name:
            context.load_cert_chain(str(tmp_path / f"{name}.pem"), str(tmp_path / f"{name}.key"))
        with socket.create_connection((HOST, port)) as raw, context.wrap_socket(raw) as client:
            client.sendall(text)
            try:
                client.unwrap()
            except OSError:
                pass

    send("gauge", b"m,device=a v=1 1\n")
    wait_for(lambda: count(node) == 1, 10, "the row")
    send("other", b"m,device=a v=2 2\n")
    wait_for(lambda: metric(node, "millrace_rows_refused_total") == 1, 10, "the row of a stranger is refused")
    try:
        send(None, b"m,device=a v=3 3\n")
    except OSError:
        pass
    wait_for(lambda: "certificate" in node.log().split("refused; the first")[-1], 10, "the handshake's failure is told")
    assert count(node) == 1
    bare = Node(str(tmp_path), settings=["listen.line=0.0.0.0:9009"])
    done = subprocess.run([*bare.command, "--check"], env=bare.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=30, check=False)
    assert done.returncode == 2 and "listen.line" in done.stdout and "tls.ca" in done.stdout, done.stdout
    assert not os.path.exists(os.path.join(bare.data, "access"))
