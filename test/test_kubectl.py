"""Debian's kubectl is an ordinary client over https: get, apply, describe, watch, delete."""
import glob
import os
import shutil
import subprocess
import time

import pytest

HOST = "127.0.0.1"

CONNECTION = """apiVersion: millrace.io/v1
kind: Connection
metadata: {{name: kc, labels: {{site: sz}}}}
spec: {{driver: modbus, endpoint: "tcp://127.0.0.1:{port}", enabled: false}}
"""


@pytest.fixture(scope="module", name="kubectl_program")
def kubectl_program_fixture(tmp_path_factory):
    """The installed kubectl, or the package's unpacked (its path may belong to another package)."""
    found = shutil.which("kubectl")
    if found:
        return found
    folder = tmp_path_factory.mktemp("kubectl")
    subprocess.run(["apt-get", "download", "-q", "kubernetes-client"], cwd=folder, check=False, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    packages = glob.glob(str(folder / "kubernetes-client*.deb"))
    if not packages:
        pytest.skip("kubectl cannot be fetched")
    subprocess.run(["dpkg", "-x", packages[0], str(folder)], check=True)
    return str(folder / "usr/bin/kubectl")


@pytest.fixture(name="kubectl")
def kubectl_fixture(kubectl_program, node_factory, tmp_path):
    from conftest import free_port
    port = free_port()
    node = node_factory(settings=[f"listen.https={HOST}:{port}"])

    def run(*arguments, check=True, background=False):
        command = [kubectl_program, "--server", f"https://{HOST}:{port}", "--certificate-authority",
                   os.path.join(node.data, "tls-cert.pem"), "--token", node.token(), *arguments]
        env = dict(os.environ, HOME=str(tmp_path), KUBECONFIG=str(tmp_path / "none"))
        if background:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, env=env, check=False)
        assert not check or done.returncode == 0, done.stdout
        return done.stdout
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
