"""Debian's kubectl is an ordinary client over https: get, apply, describe, watch, delete."""
import os
import subprocess
import time

import pytest
from conftest import wait_for
from programs import debian_program

HOST = "127.0.0.1"

CONNECTION = """apiVersion: millrace.io/v1
kind: Connection
metadata: {{name: kc, labels: {{site: sz}}}}
spec: {{driver: modbus, endpoint: "tcp://127.0.0.1:{port}", enabled: false}}
"""


@pytest.fixture(name="kubectl")
def kubectl_fixture(node_factory, tmp_path):
    kubectl_program = debian_program("kubernetes-client", "usr/bin/kubectl")
    from conftest import free_port
    port = free_port()
    node = node_factory(settings=[f"listen.https={HOST}:{port}"])

    def run(*arguments, check=True, background=False, token=None):
        command = [kubectl_program, "--server", f"https://{HOST}:{port}", "--certificate-authority",
                   os.path.join(node.data, "tls-cert.pem"), "--token", token or node.token(), *arguments]
        env = dict(os.environ, HOME=str(tmp_path), KUBECONFIG=str(tmp_path / "none"))
        if background:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, env=env, check=False)
        assert not check or done.returncode == 0, done.stdout
        return done.stdout
    run.node = node
    return run


def write(tmp_path, port):
    path = tmp_path / "connection.yaml"
    path.write_text(CONNECTION.format(port=port))
    return str(path)


def test_apply_get_describe_watch_and_delete(kubectl, tmp_path):
    assert "connection.millrace.io/kc created" in kubectl("apply", "-f", write(tmp_path, 1))
    assert "tcp://127.0.0.1:1" in kubectl("get", "connections")
    watch = kubectl("get", "connections", "-w", background=True)
    time.sleep(2)
    assert "connection.millrace.io/kc configured" in kubectl("apply", "-f", write(tmp_path, 2))
    assert "connection.millrace.io/kc unchanged" in kubectl("apply", "-f", write(tmp_path, 2))
    described = kubectl("describe", "connection", "kc")
    assert "Endpoint:  tcp://127.0.0.1:2" in described and "site=sz" in described
    assert "kc" in kubectl("get", "conn", "-l", "site=sz", "-o", "name")
    assert "kc" not in kubectl("get", "conn", "-l", "site!=sz", "-o", "name")
    assert "deleted" in kubectl("delete", "connection", "kc")
    assert "not found" in kubectl("get", "connection", "kc", check=False)
    watch.terminate()
    seen = watch.communicate()[0]
    assert "tcp://127.0.0.1:1" in seen and "tcp://127.0.0.1:2" in seen, seen


def test_a_wrong_document_is_refused_with_its_path(kubectl, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(CONNECTION.format(port=1).replace("enabled", "enabeld"))
    said = kubectl("apply", "-f", str(path), check=False)
    assert "spec.enabeld" in said and "did you mean 'enabled'" in said, said


IDENTITIES = """apiVersion: millrace.io/v1
kind: Role
metadata: {name: line1}
spec:
  rules:
    - {verbs: [get, list, watch], kinds: [Device], paths: ["line1/#"]}
    - {verbs: [create, update, get, list], kinds: [User, Role, Token]}
---
apiVersion: millrace.io/v1
kind: User
metadata: {name: eve}
spec: {roles: [line1], password: a-secret-password}
"""
TOKEN = """apiVersion: millrace.io/v1
kind: Token
metadata: {name: scada}
spec: {user: eve}
"""
DEVICE = """apiVersion: millrace.io/v1
kind: Device
metadata: {name: NAME}
spec: {path: PATH, table: t, connection: c}
---
"""


def put(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_users_roles_and_a_restricted_token(kubectl, tmp_path):
    said = kubectl("apply", "-f", put(tmp_path, "identities.yaml", IDENTITIES))
    assert "role.millrace.io/line1 created" in said and "user.millrace.io/eve created" in said
    shown = kubectl("get", "user", "eve", "-o", "yaml")
    assert "secret" not in shown and "SCRAM" not in shown and "line1" in kubectl("get", "users"), shown
    assert "eve" in kubectl("apply", "-f", put(tmp_path, "identities.yaml", IDENTITIES.replace("a-secret", "another")))
    assert kubectl.node.request("GET", "/v1/about", token="eve:another-password")[0] == 200
    # kubectl shows the answer to the request that made it: the one time that the secret can be seen
    token = kubectl("create", "-f", put(tmp_path, "token.yaml", TOKEN), "-o", "jsonpath={.status.token}")
    assert token.startswith("mr_") and token not in kubectl("get", "token", "scada", "-o", "yaml")

    devices = DEVICE.replace("NAME", "a").replace("PATH", "line1/a") + DEVICE.replace("NAME", "b").replace("PATH", "line2/b")
    kubectl("apply", "-f", put(tmp_path, "devices.yaml", devices))
    seen = kubectl("get", "devices", "-A", token=token)
    assert "line1/a" in seen and "line2/b" not in seen, seen
    watch = kubectl("get", "devices", "-w", background=True, token=token)
    assert "forbidden" in kubectl("get", "device", "b", check=False, token=token).lower()
    assert "forbidden" in kubectl("delete", "device", "a", check=False, token=token).lower()
    assert "forbidden" in kubectl("get", "connections", check=False, token=token).lower()
    wider = IDENTITIES.replace("line1/#", "#")
    assert "goes beyond its own" in kubectl("apply", "-f", put(tmp_path, "wider.yaml", wider), check=False, token=token)
    assert "goes beyond its own" in kubectl("apply", "-f", put(tmp_path, "me.yaml", IDENTITIES.replace("[line1]", "[admin]")),
                                           check=False, token=token)
    assert "last one" in kubectl("delete", "user", "admin", check=False)
    assert "belongs to the node itself" in kubectl("apply", "-f", put(tmp_path, "r.yaml", IDENTITIES.replace("{name: line1}", "{name: viewer}")), check=False)
    kubectl("delete", "token", "scada")
    assert watch.wait(20) is not None
    assert "line2" not in watch.communicate()[0]
    assert "Unauthorized" in kubectl("get", "devices", check=False, token=token) or \
        "logged in" in kubectl("get", "devices", check=False, token=token)


def test_the_nodes_own_document_takes_labels_only(kubectl):
    assert "labeled" in kubectl("label", "node.millrace.io", "edge", "site=sz")
    assert "site=sz" in kubectl("describe", "node.millrace.io", "edge")
    # the status comes with its next turn
    wait_for(lambda: all(key in kubectl("describe", "node.millrace.io", "edge") for key in ("Version:", "Durable:")), 5,
             "the node's status is not whole")
    assert "cannot" in kubectl("delete", "node.millrace.io", "edge", check=False) or \
        "own document" in kubectl("delete", "node.millrace.io", "edge", check=False)
