"""`tls.clientCertificates`: whether clients of TLS listeners must show a certificate of `tls.ca`, or may."""
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

import pytest

import mqtt_wire as wire
from conftest import HOST, free_port, wait_for
from test_line_tcp import WRITERS, count


@pytest.fixture(name="site")
def site_fixture(node_factory, tmp_path):
    """Makes nodes with a CA, of which ann has a certificate; eve's is of somebody else."""
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, cwd=tmp_path, capture_output=True)

    for ca, who in (("ca", "gauge1"), ("other", "eve")):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-days", "2", "-subj", f"/CN={ca}")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2", "-out", f"{who}.pem")
    (tmp_path / "writers.yaml").write_text(WRITERS)

    def make(*settings):
        https, mqtts = free_port(), free_port()
        node = node_factory(manifests=[str(tmp_path / "writers.yaml")],
                            settings=[f"listen.https={HOST}:{https}", f"listen.mqtts={HOST}:{mqtts}", f"tls.ca={tmp_path}/ca.pem", *settings])
        node.https, node.mqtts, node.certificates = https, mqtts, tmp_path
        return node

    return make


def opens(node, who=None):
    """Whether /readyz answers over https."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if who:
        context.load_cert_chain(node.certificates / f"{who}.pem", node.certificates / f"{who}.key")
    try:
        with urllib.request.urlopen(f"https://{HOST}:{node.https}/readyz", timeout=10, context=context) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ssl.SSLError, ConnectionError):
        return False


def publishes(node, who=None, *login):
    """mosquitto_pub's exit code."""
    words = ["--cert", str(node.certificates / f"{who}.pem"), "--key", str(node.certificates / f"{who}.key")] if who else []
    done = subprocess.run(["mosquitto_pub", "-h", HOST, "-p", str(node.mqtts), "--cafile", f"{node.data}/tls-cert.pem", "--insecure", "-q", "1", "-V", "5",
                           "-i", who or "nobody", "-t", "a", "-m", "x", *words, *login], capture_output=True, timeout=20, check=False)
    return done.returncode


def test_with_a_ca_everybody_shows_a_certificate(site):
    node = site()
    assert not opens(node) and opens(node, "gauge1") and not opens(node, "eve")
    assert publishes(node, None, "-u", "admin", "-P", node.PASSWORD) != 0


def test_optional_certificates_name_the_user_and_without_one_a_password_does(site):
    node = site("tls.clientCertificates=optional")
    assert opens(node) and opens(node, "gauge1"), "browsers have no certificate"
    assert not opens(node, "eve"), "what is shown must hold"
    assert publishes(node, None, "-u", "admin", "-P", node.PASSWORD) == 0
    assert publishes(node, None, "-u", "admin", "-P", "wrong") != 0
    assert publishes(node) != 0, "nobody is nobody"
    with subprocess.Popen(["mosquitto_pub", "-h", HOST, "-p", str(node.mqtts), "--cafile", f"{node.data}/tls-cert.pem", "--insecure", "-V", "5", "-t", "x", "-l",
                           "--cert", str(node.certificates / "gauge1.pem"), "--key", str(node.certificates / "gauge1.key")], stdin=subprocess.PIPE) as known:
        wait_for(lambda: node.sql("SELECT user FROM sys.mqtt_clients") == [["gauge1"]], 10, "the certificate's name is not the user")
        known.kill()


def test_line_protocol_from_outside_demands_one_all_the_same(site):
    line = free_port()
    node = site("tls.clientCertificates=optional", f"listen.line=0.0.0.0:{line}")

    def send(who, text):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if who:
            context.load_cert_chain(node.certificates / f"{who}.pem", node.certificates / f"{who}.key")
        with socket.create_connection((HOST, line)) as raw, context.wrap_socket(raw) as client:
            try:
                client.sendall(text)
                client.unwrap()
            except OSError:
                pass

    send(None, b"m,device=a v=1 1\n")
    wait_for(lambda: "needs a client's certificate" in node.log(), 10, "not told")
    send("gauge1", b"m,device=a v=2 2\n")
    wait_for(lambda: count(node) == 1, 10, "the row")
    assert node.sql("SELECT v FROM m") == [[2]]


def test_the_key_means_nothing_without_a_ca(node_factory):
    node = node_factory(start=False, settings=["tls.clientCertificates=optional"])
    node.spawn()
    assert node.process.wait(20) == 2 and "tls.clientCertificates" in node.log()


PROXY_HEADER = b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11\0\x0c\xc0\0\x02\x09\x0a\0\0\1\xa0\xcd\x07\x5b"
HELLO = b"\x10\x0e\0\4MQTT\4\2\0\x3c\0\2c1"


@pytest.mark.parametrize("loops", [0, 2])
@pytest.mark.parametrize("proxy", [False, True])
def test_a_certificate_names_the_user_whoever_moves_the_bytes(site, loops, proxy):
    node = site("tls.clientCertificates=optional", f"mqtt.loops={loops}", f"mqtt.proxy={'true' if proxy else 'false'}")

    def code(who):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if who:
            context.load_cert_chain(node.certificates / f"{who}.pem", node.certificates / f"{who}.key")
        with socket.create_connection((HOST, node.mqtts), timeout=20) as peer:
            peer.sendall(PROXY_HEADER if proxy else b"")
            with context.wrap_socket(peer) as inner:
                inner.sendall(HELLO)
                return inner.recv(4)[3]

    assert code("gauge1") == 0 and code(None) != 0


def shown(port, name):
    """The common name of the certificate that a client gets which asks for `name`."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((HOST, port)) as plain, context.wrap_socket(plain, server_hostname=name) as stream:
        pem = ssl.DER_cert_to_PEM_cert(stream.getpeercert(binary_form=True))
    said = subprocess.run(["openssl", "x509", "-noout", "-subject", "-nameopt", "multiline"], input=pem, capture_output=True, text=True, check=True)
    return said.stdout.split("commonName")[1].split("=")[1].split()[0]


def test_a_client_is_shown_the_certificate_of_the_name_that_it_asks_for(node_factory, tmp_path):
    """SNI: of other keys, with a wildcard, and after a reload; who asks for no name or another one gets the first certificate."""
    def pair(name, *alternatives, kind=("-newkey", "rsa:2048")):
        subprocess.run(["openssl", "req", "-x509", *kind, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}",
                        "-addext", "subjectAltName=" + ",".join(f"DNS:{x}" for x in alternatives)], check=True, cwd=tmp_path, capture_output=True)
        return f"{{cert: {tmp_path}/{name}.pem, key: {tmp_path}/{name}.key}}"

    first, plant = pair("first", "first.test"), pair("plant", "plant.test", "*.line.test", kind=("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"))
    late = pair("late", "late.test")
    yaml, https, mqtts = tmp_path / "node.yaml", free_port(), free_port()

    def write(*more):
        yaml.write_text(f"tls: {first[:-1]}, certificates: [{', '.join(more)}]}}\n")

    write(plant)
    node = node_factory(settings=[f"listen.https={HOST}:{https}", f"listen.mqtts={HOST}:{mqtts}"], start=False)
    node.command += ["-c", str(yaml)]
    node.start()
    for port in https, mqtts:
        asked = {name: shown(port, name) for name in (None, "first.test", "plant.test", "a.line.test", "line.test", "late.test")}
        assert asked == {None: "first", "first.test": "first", "plant.test": "plant", "a.line.test": "plant", "line.test": "first", "late.test": "first"}
    write(plant, late)
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload: done" in node.log(), 10, "no reload")
    assert [shown(mqtts, name) for name in ("late.test", "plant.test", None)] == ["late", "plant", "first"]
    write(f"{{cert: {tmp_path}/late.pem, key: {tmp_path}/plant.key}}")
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "tls.certificates" in node.log(), 10, "a key that is not the certificate's is not told")
    assert shown(mqtts, "late.test") == "late"


ASKED = ["Acme/line 3/press", "Acme/line 4/press", "+/line 3/press", "//press", "%o/%d/%n", "only/Acme", "only/x", "only/", "only/+", "cn/press"]


@pytest.mark.parametrize("loops", [0, 1])
def test_rules_may_name_what_a_certificate_says_of_its_holder(node_factory, tmp_path, loops):
    """%n, %o and %d: common name, organization, organizational unit; what a certificate lacks, or what would be a wildcard, fits nothing."""
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, cwd=tmp_path, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
    subjects = {"all": "/O=Acme/OU=line 3/CN=press", "plain": "/CN=press", "wide": "/O=\\+/OU=#/CN=press"}
    for who, subject in subjects.items():
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", subject)
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-out", f"{who}.pem")
    (tmp_path / "roles.yaml").write_text("""
{apiVersion: millrace.io/v1, kind: Role, metadata: {name: press}, spec: {rules: [{verbs: [subscribe], paths: ["%o/%d/%n", "only/%o", "cn/%n"]}]}}
---
{apiVersion: millrace.io/v1, kind: User, metadata: {name: press}, spec: {roles: [press]}}
""")
    port = free_port()
    node_factory(manifests=[str(tmp_path / "roles.yaml")], settings=[f"listen.mqtts={HOST}:{port}", f"tls.ca={tmp_path}/ca.pem", f"mqtt.loops={loops}"])

    def granted(who):
        one = wire.Wire((HOST, port))
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(tmp_path / f"{who}.pem", tmp_path / f"{who}.key")
        one.socket = context.wrap_socket(one.socket)
        one.send("CONNECT", id=who)
        assert wire.get(one.receive()[1], "code") == 0
        one.send("SUBSCRIBE", ("id", 1), *(("filter", f"{topic}@0") for topic in ASKED))
        return [topic for topic, code in zip(ASKED, wire.get(one.receive()[1], "codes")) if code == 0]

    assert granted("all") == ["Acme/line 3/press", "only/Acme", "cn/press"]
    assert granted("plain") == granted("wide") == ["cn/press"]
