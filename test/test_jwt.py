"""Tokens of another issuer (`access.jwt`) as HTTP bearers and MQTT passwords, with keys that come, go and run out."""
import base64
import datetime
import http.server
import ipaddress
import json
import signal
import ssl
import threading
import time

import pytest
from conftest import HOST, free_port, wait_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.x509.oid import NameOID
from mqtt_client import Client, mqtt_node

RULES = [{"verbs": ["publish", "subscribe"], "paths": ["own/%u/#"]}, {"verbs": ["query"], "kinds": ["Table"]}]


def encode(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


class Issuer:
    """Signs tokens with one key."""

    def __init__(self, algorithm, kid):
        self.algorithm, self.kid = algorithm, kid
        self.key = (rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else
                    ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate())

    def jwk(self):
        public = self.key.public_key()
        if self.algorithm == "EdDSA":
            raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": encode(raw)}
        n = public.public_numbers()
        if self.algorithm == "ES256":
            return {"kty": "EC", "crv": "P-256", "kid": self.kid, "x": encode(n.x.to_bytes(32, "big")), "y": encode(n.y.to_bytes(32, "big"))}
        return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.kid, "n": encode(n.n.to_bytes(256, "big")), "e": "AQAB"}

    def sign(self, text):
        if self.algorithm == "EdDSA":
            return self.key.sign(text)
        if self.algorithm == "RS256":
            return self.key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        r, s = utils.decode_dss_signature(self.key.sign(text, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def token(self, user, seconds=600, **more):
        claims = {"iss": "https://login.example", "aud": "millrace", "sub": user, "exp": time.time() + seconds, **more}
        header = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"}
        text = ".".join(encode(json.dumps(part).encode()) for part in (header, claims)).encode()
        return text.decode() + "." + encode(self.sign(text))


class Site:
    """A node that believes issuers, whose keys stand in a file."""

    def __init__(self, node_factory, folder, *issuers):
        self.file = folder / "keys.json"
        self.keep(*issuers)
        self.node = mqtt_node(node_factory, f"access.jwt.jwks={self.file}", "access.jwt.issuer=https://login.example",
                              "access.jwt.audience=millrace", "access.jwt.rolesClaim=groups", "access.jwt.clockSkew=0s")
        self.make("Role", "worker", {"rules": RULES})

    def make(self, kind, name, spec):
        document = {"apiVersion": "millrace.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        assert self.node.request("POST", f"/apis/millrace.io/v1/{kind.lower()}s", json.dumps(document))[0] == 201

    def keep(self, *issuers):
        self.file.write_text(json.dumps({"keys": [issuer.jwk() for issuer in issuers]}))

    def reload(self):
        done = self.node.log().count("reload: done")
        self.node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.node.log().count("reload: done") > done, 10, "no reload")

    def http(self, token):
        return self.node.request("GET", "/v1/mqtt/clients", token=None, headers={"Authorization": f"Bearer {token}"})[0]

    def mqtt(self, token, name="c"):
        return Client(self.node, name, user="whoever", password=token)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_token_logs_in_over_http_and_mqtt_with_the_roles_that_there_are(node_factory, tmp_path, algorithm):
    issuer = Issuer(algorithm, "k1")
    site = Site(node_factory, tmp_path, issuer)
    token = issuer.token("ann", groups=["worker", "nobody-knows-this-one"])
    assert site.http(token) == 200
    client = site.mqtt(token)
    assert client.reasons[-1][0] == 0
    assert client.subscribe(("own/ann/x", 1), ("own/bob/x", 1)) == [1, 135]
    assert site.node.sql("SELECT user FROM sys.mqtt_clients") == [["ann"]]
    assert site.mqtt(issuer.token("eve"), "d").subscribe(("own/eve/x", 0)) == [135], "no groups, no rights"
    stranger = Issuer(algorithm, "k1")
    for bad in (token[:-4] + "AAAA", stranger.token("ann", groups=["admin"]), issuer.token("ann", -1), issuer.token("ann", iss="x"),
                issuer.token("ann", aud="x"), token.split(".")[0] + ".e30."):
        assert site.http(bad) == 401
        assert site.mqtt(bad, "e").reasons[-1][0] != 0
    assert "a token was refused: " in site.node.log()


def test_the_command_line_takes_a_token_of_any_length(node_factory, tmp_path):
    issuer = Issuer("RS256", "one")
    site = Site(node_factory, tmp_path, issuer)
    site.make("Role", "reader", {"rules": [{"verbs": ["query"]}]})
    token = issuer.token("ann", groups=["reader"], more="x" * 2000)
    assert site.node.cli("sql", "--token", token, "SELECT 1") == (0, "1\n")
    assert site.node.cli("sql", "--token", token + "x" * 4096, "SELECT 1")[0] == 1


def test_what_a_user_is_denied_no_claim_gives(node_factory, tmp_path):
    issuer = Issuer("EdDSA", "k1")
    site = Site(node_factory, tmp_path, issuer)
    site.make("Role", "bounds", {"rules": [{"effect": "deny", "verbs": ["publish", "subscribe"], "paths": ["own/+/secret"]}]})
    site.make("User", "ann", {"roles": ["bounds"], "password": "a-word-that-is-long"})
    for user, codes in (("ann", [0, 135]), ("bob", [0, 0])):
        client = site.mqtt(issuer.token(user, groups=["worker"]), user)
        assert client.subscribe((f"own/{user}/x", 0), (f"own/{user}/secret", 0)) == codes


def test_a_wildcard_in_a_users_name_widens_no_topic(node_factory, tmp_path):
    issuer = Issuer("EdDSA", "k1")
    site = Site(node_factory, tmp_path, issuer)
    for name in ("#", "+", "a/b", "a/+", "ann/#"):
        client = site.mqtt(issuer.token(name, groups=["worker"]), "w")
        assert client.reasons[-1][0] == 0
        assert client.subscribe((f"own/{name}/x" if "#" not in name else "own/#", 0), ("own/+/x", 0), ("own/ann/x", 0)) == [135] * 3
        client.close()


def test_a_connection_ends_when_its_token_runs_out(node_factory, tmp_path):
    issuer = Issuer("ES256", "k1")
    site = Site(node_factory, tmp_path, issuer)
    token = issuer.token("ann", 4, groups=["worker"])
    client, longer = site.mqtt(token), site.mqtt(issuer.token("bob", groups=["worker"]), "longer")
    gone = []
    client.paho.on_disconnect = lambda *more: gone.append(time.monotonic())
    wait_for(lambda: gone, 20, "it stays after its token's end")
    client.paho.loop_stop()
    assert site.http(token) == 401 and longer.paho.is_connected()


def test_keys_are_exchanged_by_a_reload_and_a_damaged_file_lets_nobody_in(node_factory, tmp_path):
    old, new = Issuer("RS256", "old"), Issuer("ES256", "new")
    site = Site(node_factory, tmp_path, old)
    before = site.mqtt(old.token("ann", groups=["worker"]), "before")
    assert site.http(new.token("bob")) == 401
    site.keep(old, new)
    site.reload()
    assert site.http(new.token("bob")) == 200 and site.http(old.token("ann")) == 200
    assert before.paho.is_connected() and len(before.reasons) == 1
    ended = []
    before.paho.on_disconnect = lambda *more: ended.append(1)
    site.keep(new)
    site.reload()
    wait_for(lambda: ended, 20, "a connection outlives its key")
    before.paho.loop_stop()
    assert site.http(old.token("ann")) == 401 and site.http(new.token("bob")) == 200
    site.file.write_text("{\"keys\": [")
    site.reload()
    assert "tokens of that issuer let nobody in" in site.node.log()
    assert site.http(new.token("bob")) == 401 and site.node.request("GET", "/v1/mqtt/clients")[0] == 200


def test_a_disabled_user_stays_outside_whatever_his_token_says(node_factory, tmp_path):
    issuer = Issuer("EdDSA", "k1")
    site = Site(node_factory, tmp_path, issuer)
    user = {"apiVersion": "millrace.io/v1", "kind": "User", "metadata": {"name": "ann"}, "spec": {"roles": [], "disabled": True}}
    token = issuer.token("ann", groups=["worker"])
    assert site.http(token) == 200
    assert site.node.request("POST", "/apis/millrace.io/v1/users", json.dumps(user))[0] == 201
    assert site.http(token) == 401


class KeyServer:
    """An issuer's server for its keys, over HTTPS with a certificate of its own; counts who asks."""

    def __init__(self, folder, *issuers):
        self.folder, self.asked, self.answer, self.server = folder, [], None, None
        self.keep(*issuers)
        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keys")])
        now = datetime.datetime.utcnow()
        made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
                .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
                .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), False)
                .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
        self.ca = folder / "keys-ca.pem"
        self.ca.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (folder / "keys-key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.port = free_port()
        self.start()

    def keep(self, *issuers):
        self.answer = (200, json.dumps({"keys": [issuer.jwk() for issuer in issuers]}).encode())

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                status, body = outer.answer
                self.send_response(status)
                self.send_header("Location", f"https://{HOST}:{outer.port}/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((HOST, self.port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, self.folder / "keys-key.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def node(self, node_factory, *settings, ca=True):
        given = [f"access.jwt.jwks=https://{HOST}:{self.port}/certs", "access.jwt.issuer=https://login.example", "access.jwt.audience=millrace",
                 "access.jwt.clockSkew=0s", "access.jwt.rolesClaim=groups", *settings]
        return mqtt_node(node_factory, *given, *([f"access.jwt.jwksCa={self.ca}"] if ca else []))


def opens(node, token):
    return node.request("GET", "/v1/mqtt/clients", token=None, headers={"Authorization": f"Bearer {token}"})[0] == 200


@pytest.fixture(name="keys")
def keys_fixture(tmp_path):
    server = KeyServer(tmp_path, Issuer("EdDSA", "k1"))
    yield server
    server.stop()


def test_keys_are_fetched_and_again_when_a_token_names_another(node_factory, keys):
    old, new = Issuer("RS256", "old"), Issuer("ES256", "new")
    keys.keep(old)
    node = keys.node(node_factory)
    wait_for(lambda: opens(node, old.token("ann")), 10, "the keys are not fetched")
    assert keys.asked == ["/certs"]
    keys.keep(new)
    for _ in range(20):
        assert not opens(node, new.token("bob")) or len(keys.asked) == 2
    assert len(keys.asked) == 1, "strangers do not make it ask more often than every 10 s"
    wait_for(lambda: opens(node, new.token("bob")), 20, "a new key is not fetched")
    assert len(keys.asked) == 2 and not opens(node, old.token("ann"))


def test_keys_stay_when_their_server_is_away_or_says_something_else(node_factory, keys):
    issuer = Issuer("EdDSA", "k1")
    keys.keep(issuer)
    node = keys.node(node_factory, "access.jwt.jwksRefresh=1s")
    wait_for(lambda: opens(node, issuer.token("ann")), 10, "the keys are not fetched")
    for answer, said in (((200, b'{"keys": ['), "line 1"), ((500, b""), "status 500"), ((302, b""), "status 302"), ((200, b" " * 300000), "larger than 256 KiB")):
        keys.answer = answer
        wait_for(lambda: said in node.log(), 20, node.log)  # pylint: disable=cell-var-from-loop
        assert opens(node, issuer.token("ann")), answer
        keys.keep(issuer)
        known = node.log().count("/certs: fetched")
        wait_for(lambda: node.log().count("/certs: fetched") > known, 20, "it does not get well")  # pylint: disable=cell-var-from-loop
    keys.stop()
    wait_for(lambda: "what keys there were stay" in node.log().split("/certs: fetched")[-1], 20, "the absence is not told")
    assert opens(node, issuer.token("bob"))
    assert "/elsewhere" not in keys.asked, "no redirection is followed"
    keys.start()


def test_a_server_of_keys_that_nobody_vouches_for_gives_none(node_factory, keys):
    issuer = Issuer("EdDSA", "k1")
    keys.keep(issuer)
    node = keys.node(node_factory, ca=False)
    wait_for(lambda: "certificate" in node.log(), 20, "not told")
    assert not opens(node, issuer.token("ann")) and keys.asked == []


def test_keys_over_plain_http_are_refused(node_factory):
    node = node_factory(start=False, settings=["access.jwt.jwks=http://login.example/certs", "access.jwt.issuer=x", "access.jwt.audience=y"])
    node.spawn()
    assert node.process.wait(20) == 2 and "must be https" in node.log()
