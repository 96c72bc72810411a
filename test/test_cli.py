"""The command line as a new user meets it: each verb, its exit codes (0 done, 1 failed, 2 usage) and what it says when wrong."""
import fcntl
import http.server
import json
import os
import pty
import signal
import subprocess
import termios
import threading
import time

import pytest

from conftest import HOST, free_port, wait_for

MANIFEST = """apiVersion: millrace.io/v1
kind: Connection
metadata: {name: plc, labels: {site: sz}}
spec: {driver: modbus, endpoint: "tcp://127.0.0.1:1", enabled: false}
---
apiVersion: millrace.io/v1
kind: Table
metadata: {name: press}
spec: {columns: [{name: temperature, type: double, unit: "°C"}]}
---
apiVersion: millrace.io/v1
kind: Device
metadata: {name: press01, labels: {site: sz}}
spec: {path: line1/press01, table: press, connection: plc, points: [{column: temperature, address: "1!400001"}]}
"""


@pytest.fixture(name="millrace")
def millrace_fixture(node_factory):
    """millrace(ARGUMENTS…, code=0, stdin="") gives (stdout, stderr)."""
    node = node_factory()

    def run(*arguments, code=0, stdin="", env=None):
        done = subprocess.run([node.millrace, *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=60, check=False, env=dict(os.environ, MILLRACE_DATA=node.data, **(env or {})))
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout, done.stderr
    run.node = node
    return run


class StatusChanges(http.server.BaseHTTPRequestHandler):
    """A node's API in which every document gets a new status between two requests, and so a new version."""
    version, document = 1, {"kind": "Table", "metadata": {"name": "t", "namespace": "default", "generation": 1}, "spec": {}}

    def answer(self):
        StatusChanges.version += 1
        document = json.loads(json.dumps(self.document))
        document["metadata"]["resourceVersion"] = str(self.version)
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer()

    def do_PUT(self):
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if given["spec"] != self.document["spec"]:
            self.document["metadata"]["generation"] += 1
        self.document["spec"], self.document["metadata"]["annotations"] = given["spec"], given["metadata"]["annotations"]
        self.answer()

    def log_message(self, *_):
        pass


def write(folder, name, text):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_new_status_is_no_change_of_the_document(millrace, tmp_path):
    server = http.server.HTTPServer((HOST, 0), StatusChanges)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def said(name, retention):
        text = f"apiVersion: millrace.io/v1\nkind: Table\nmetadata: {{name: t}}\nspec: {{retention: {retention}}}\n"
        return millrace("apply", "-f", write(tmp_path / "m", name, text), "--server", f"http://{HOST}:{server.server_port}", "--token", "any")[0]
    try:
        assert [said("a", "1d"), said("a", "1d"), said("a", "2d"), said("a", "2d")] == [f"table/t {x}\n" for x in
                                                                                       ("configured", "unchanged", "configured", "unchanged")]
        assert [said("b", "2d"), said("b", "2d")] == ["table/t configured\n", "table/t unchanged\n"], "of another set"
    finally:
        server.shutdown()
        server.server_close()


def test_apply_get_describe_and_delete(millrace, tmp_path):
    path = write(tmp_path / "m", "plant.yaml", MANIFEST)
    out, _ = millrace("apply", "-f", path, "--dry-run")
    assert "connection/plc created (dry run)" in out
    assert millrace("get", "devices")[1] == "No devices found.\n"
    out, _ = millrace("apply", "-f", str(tmp_path / "m"))
    assert out == "connection/plc created\ntable/press created\ndevice/press01 created\n"
    assert millrace("apply", "-f", str(tmp_path / "m"))[0].count("unchanged") == 3
    write(tmp_path / "m", "plant.yaml", MANIFEST.replace("127.0.0.1:1", "127.0.0.1:2"))
    out, _ = millrace("apply", "-f", str(tmp_path / "m"))
    assert out == "connection/plc configured\ntable/press unchanged\ndevice/press01 unchanged\n"

    lines = millrace("get", "dev")[0].splitlines()
    assert lines[0].split()[:4] == ["NAME", "PATH", "TABLE", "CONNECTION"] and lines[1].split()[:3] == ["press01", "line1/press01", "press"]
    assert "LAST ROW" in millrace("get", "Devices", "-o", "wide")[0]
    assert millrace("get", "devices", "-o", "name", "-l", "site=sz")[0] == "device/press01\n"
    assert millrace("get", "devices", "-l", "site!=sz")[1] == "No devices found.\n"
    assert json.loads(millrace("get", "device/press01", "-o", "json")[0])["spec"]["path"] == "line1/press01"
    assert "  path: line1/press01" in millrace("get", "device", "press01", "-o", "yaml")[0]
    limit = time.monotonic() + 5
    while "Conditions:" not in (out := millrace("describe", "connection", "plc")[0]) and time.monotonic() < limit:
        time.sleep(0.1)  # its status follows within a second
    assert "Endpoint:  tcp://127.0.0.1:2" in out and "State:  disabled" in out and "Conditions:" in out, out
    assert millrace("delete", "device", "press01")[0] == "device/press01 deleted\n"
    assert "not found" in millrace("delete", "device", "press01", code=1)[1]
    assert millrace("delete", "device", "press01", "--ignore-not-found")[0] == ""
    assert "not found" in millrace("get", "device", "press01", code=1)[1]
    out, err = millrace("delete", "-f", path, code=1)
    assert out == "table/press deleted\nconnection/plc deleted\n" and "press01" in err


def test_what_get_prints_can_be_applied_again(millrace, tmp_path):
    millrace("apply", "-f", "-", stdin=MANIFEST)
    text = millrace("get", "device", "press01", "-o", "yaml")[0]
    assert "device/press01 configured" in millrace("apply", "-f", "-", stdin=text.replace("line1/press01", "line1/moved"))[0]
    everything = millrace("get", "devices", "-o", "yaml")[0]
    assert "line1/moved" in everything and "device/press01" in millrace("apply", "-f", write(tmp_path, "back.yaml", everything))[0]


def test_prune_takes_away_what_left_the_files_and_nothing_else(millrace, tmp_path):
    plant, other = tmp_path / "plant", tmp_path / "other"
    write(plant, "a.yaml", MANIFEST)
    write(other, "b.yaml", MANIFEST.split("---")[0].replace("plc", "other"))
    millrace("apply", "-f", str(plant))
    millrace("apply", "-f", str(other))
    write(plant, "a.yaml", "---".join(MANIFEST.split("---")[:2]))
    assert "pruned" not in millrace("apply", "-f", str(plant))[0]
    assert "device/press01 pruned (dry run)" in millrace("apply", "-f", str(plant), "--prune", "--dry-run")[0]
    assert "device/press01 pruned\n" in millrace("apply", "-f", str(plant), "--prune")[0]
    assert millrace("get", "connections", "-o", "name")[0] == "connection/other\nconnection/plc\n"


def test_mistakes_are_told_with_the_way_out(millrace, tmp_path):
    cases = ((("get", "devcies"), 2, "did you mean devices?"), (("get", "xyzzy"), 2, "tokens, views, streams, bridges and sinks"),
             (("get", "devices", "-o", "yml"), 2, "did you mean yaml?"),
             (("gte", "devices"), 2, "did you mean get?"), (("get",), 2, "usage: millrace get"),
             (("get", "devices", "--selector", "a"), 2, "unknown option"), (("apply",), 2, "-f plant.yaml"),
             (("apply", "-f", str(tmp_path / "none.yaml")), 2, "No such file"), (("delete", "device"), 2, "KIND NAME"),
             (("user", "ad", "x"), 2, "did you mean add?"), (("user", "add"), 2, "usage: millrace user add NAME"),
             (("user", "add", "joe"), 2, "--role viewer"), (("token", "create", "t"), 2, "--user NAME"),
             (("token", "create", "t", "--user", "admin", "--ttl", "soon"), 2, "such as 12h"), (("explain", "devicse"), 2, "did you mean"),
             (("explain", "device.pionts"), 2, "did you mean points?"), (("get", "users", "--token", "wrong"), 1, "token is unknown"),
             (("get", "users", "--server", "http://127.0.0.1:1"), 1, "cannot reach"), (("get", "users", "--server", "x"), 2, "http://HOST:PORT"))
    for arguments, code, part in cases:
        _, err = millrace(*arguments, code=code)
        assert part in err, (arguments, err)
    wrong = write(tmp_path, "wrong.yaml", MANIFEST.replace("enabled", "enabeld"))
    _, err = millrace("apply", "-f", wrong, code=2)
    assert "wrong.yaml:4:" in err and "did you mean 'enabled'" in err, err
    assert millrace("get", "tables")[1] == "No tables found.\n"  # nothing of the file was sent
    for command in ("apply", "get", "user", "token", "kubeconfig", "delete", "describe", "watch", "explain", "run"):
        assert f"usage: millrace {command}" in millrace(command, "--help")[0]


def test_explain(millrace):
    assert "metadata.name of the Connection" in millrace("explain", "device")[0]
    assert "address in the equipment" in millrace("explain", "device.spec.points")[0]
    out, _ = millrace("explain", "device.points.access")
    assert out.split("\n")[1:4] == ["  r", "  rw", "  w"]


def test_users_and_tokens(millrace):
    made = json.loads(millrace("user", "add", "joe", "--role", "viewer", "--json")[0])
    assert made["name"] == "joe" and len(made["password"]) == 19
    assert millrace("user", "add", "eve", "--role", "operator", "--role", "viewer", "--password-stdin", stdin="s3cret\n")[0] == "eve added\n"
    status, _ = millrace.node.request("GET", "/v1/about", token="eve:s3cret")
    assert status == 200 and millrace.node.request("GET", "/v1/about", token="joe:" + made["password"])[0] == 200
    out, _ = millrace("user", "list")
    assert [line.split()[:2] for line in out.splitlines()] == [["NAME", "ROLES"], ["admin", "admin"], ["eve", "operator,viewer"],
                                                               ["joe", "viewer"]]
    assert "already exists" in millrace("user", "add", "eve", "--role", "viewer", code=1)[1]
    assert millrace("user", "passwd", "eve", "--password-stdin", stdin="n3w\n")[0] == "eve has a new password\n"
    assert millrace.node.request("GET", "/v1/about", token="eve:s3cret")[0] == 401
    assert millrace.node.request("GET", "/v1/about", token="eve:n3w")[0] == 200
    assert millrace("user", "disable", "eve")[0] == "eve disabled\n"
    assert millrace.node.request("GET", "/v1/about", token="eve:n3w")[0] == 401
    assert millrace("user", "enable", "eve")[0] == "eve enabled\n"
    assert "last one" in millrace("user", "disable", "admin", code=1)[1]
    assert "last one" in millrace("user", "delete", "admin", code=1)[1]

    out, _ = millrace("token", "create", "scada", "--user", "eve", "--role", "viewer", "--ttl", "1h", "--description", "SCADA")
    token = out.splitlines()[1].rsplit(" ", 1)[1]
    assert out.startswith("scada created\ntoken (shown once): mr_")
    assert json.loads(millrace("get", "nodes", "-o", "json", "--token", token)[0])["items"]
    assert "may not list User" in millrace("get", "users", "--token", token, code=1)[1]
    listed = json.loads(millrace("token", "list", "--json")[0])
    assert listed[0]["spec"]["user"] == "eve" and "hash" not in listed[0]["spec"] and "token" not in json.dumps(listed[0].get("status", {}))
    assert millrace("token", "revoke", "scada")[0] == "scada revoked\n"
    assert "token is unknown" in millrace("get", "nodes", "--token", token, code=1)[1]
    assert millrace("user", "delete", "eve")[0] == "eve deleted\n"


@pytest.mark.parametrize("server, says", [
    ("gw7:8420", "such as http://gw7:8420"), ("ftp://gw7", "must be http://HOST:PORT"), ("https://", "no host"), ("http://:8420", "no host"),
    ("http://.", "no host"), ("http://gw7:", "the port behind ':' is missing"), ("http://gw7:84200", "port '84200' must be"), ("http://gw7:x", "port 'x' must be"),
    ("http://gw7:8420/console", "leave out '/console'"), ("http://gw7?a=b", "leave out '?a=b'"), ("http://::1:8420", "stands in brackets, such as http://[::1]:8420"),
    ("http://[::1", "']' behind the address is missing"), ("http://[::1]8420", "behind ']' comes :PORT"), ("http://[]", "no host"),
    ("http://joe:secret@gw7:8420", "log in with --token"), ("http://gw 7", "byte 10 is none"), ("http://gw7\r\nX: y", "byte 11 is none"),
    ("http://" + "a" * 300, "longer than 255")])
def test_a_server_that_is_none_is_refused_with_the_way_out(millrace, server, says):
    said = millrace("get", "nodes", "--server", server, code=2)[1]
    assert says in said and "secret" not in said, said


@pytest.mark.parametrize("server, says", [("https://127.0.0.1", "(port 443, since it names none; a node's own is 8443)"), ("http://[::1]", "(port 80, since it names none"),
                                          ("HTTP://localhost.", "(port 80, ")])
def test_a_server_without_a_port_is_the_schemes_and_says_so(millrace, server, says):
    assert says in millrace("get", "nodes", "--server", server, code=1)[1]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"])
def test_every_spelling_of_this_machine_reaches_the_node_by_tls(node_factory, host):
    port = free_port()
    node = node_factory(settings=[f"listen.https={'[::1]' if host == '[::1]' else '127.0.0.1'}:{port}"])
    done = subprocess.run([node.millrace, "get", "nodes", "--server", f"https://{host}:{port}/", "--data", node.data], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("ends", ["\x03", "\x1c", "hangs up", "answers"])
def test_a_terminal_shows_again_what_is_typed_whatever_ends_the_password_prompt(millrace, ends):
    master, slave = pty.openpty()
    shown = termios.tcgetattr(slave)[3] & termios.ECHO

    def own_terminal():
        for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):  # by whoever runs the tests in the background
            signal.signal(ignored, signal.SIG_DFL)
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    with subprocess.Popen([millrace.node.millrace, "user", "verifier"], stdin=slave, stdout=subprocess.PIPE, stderr=slave, preexec_fn=own_terminal) as asking:
        try:
            wait_for(lambda: not termios.tcgetattr(slave)[3] & termios.ECHO, 20, "the password would be seen")
            if ends == "hangs up":
                asking.send_signal(signal.SIGHUP)
            else:
                os.write(master, b"a password\n" if ends == "answers" else ends.encode())
            out = asking.communicate(timeout=20)[0]
        finally:
            asking.kill()
    assert shown and termios.tcgetattr(slave)[3] & termios.ECHO, "the terminal stays dumb"
    want = {"\x03": -signal.SIGINT, "\x1c": -signal.SIGQUIT, "hangs up": -signal.SIGHUP, "answers": 0}[ends]
    assert asking.returncode == want and out.startswith(b"SCRAM-SHA-256$") == (want == 0)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("line", ["a" * 256 + "\n", "a" * 300 + "\n", "a" * 600])
def test_a_password_that_is_too_long_is_refused_and_not_cut(millrace, line):
    assert "255" in millrace("user", "add", "eve", "--role", "viewer", "--password-stdin", stdin=line, code=2)[1]
    assert "255" in millrace("user", "verifier", stdin=line, code=2)[1]
    assert millrace("user", "add", "eve", "--role", "viewer", "--password-stdin", stdin="a" * 255 + "\n")[0] == "eve added\n"
    assert millrace.node.request("GET", "/v1/about", token="eve:" + "a" * 255)[0] == 200


class Stranger(http.server.BaseHTTPRequestHandler):
    """Another machine that somebody names by mistake, or that answers in the name of one."""
    heard = []

    def do_GET(self):
        Stranger.heard.append(self.headers["Authorization"])
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_the_data_folders_token_goes_to_no_other_machine(millrace):
    with http.server.HTTPServer(("127.0.0.2", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.2:{server.server_port}"
        millrace("get", "nodes", "--server", url, code=1)
        millrace("get", "nodes", code=1, env={"MILLRACE_SERVER": url})
        millrace("get", "nodes", "--server", url, "--token", "mine", code=1)
        millrace("get", "nodes", "--server", url, "--data", millrace.node.data, code=1)  # whoever names both means it
        server.shutdown()
    assert Stranger.heard == [None, None, "Bearer mine", "Bearer " + millrace.node.token()]


def test_what_is_too_much_is_refused_and_not_left_out(millrace):
    assert "64" in millrace("sql", *["-c", "SELECT 1"] * 65, code=2)[1]
    assert "64" in millrace("run", "--check", *["--set", "memory=64MiB"] * 64, "--set", "nonsense=1", code=2)[1]


def test_a_namespace_is_one_part_of_the_address(millrace):
    for command in (("sql", "-n", "no/such&ns=default", "SELECT 1"), ("export", "-n", "no/such&ns=default", "--query", "SELECT 1")):
        assert "no/such&ns=default" in millrace(*command, code=1)[1]


def test_a_backups_folder_of_any_name_is_json(millrace, tmp_path):
    folder = str(tmp_path / 'a "quoted" \\ folder')
    assert json.loads(millrace("backup", "--to", folder, "--json")[0])["to"] == folder


def test_a_user_of_a_manifest_has_a_verifier_and_no_password(millrace, node_factory, tmp_path):
    verifier = millrace("user", "verifier", stdin="from-a-file\n")[0].strip()
    text = "apiVersion: millrace.io/v1\nkind: User\nmetadata: {name: joe}\nspec: {roles: [viewer], KEY: \"VALUE\"}\n"
    good = write(tmp_path, "user.yaml", text.replace("KEY", "verifier").replace("VALUE", verifier))
    node = node_factory(manifests=[good])
    assert node.request("GET", "/v1/about", token="joe:from-a-file")[0] == 200
    assert node.request("DELETE", "/apis/millrace.io/v1/users/joe")[0] == 403  # it belongs to the file
    bad = write(tmp_path, "bad.yaml", text.replace("KEY", "password").replace("VALUE", "plain"))
    _, err = millrace("run", "--check", bad, code=2)
    assert "spec.password" in err and "verifier" in err and "plain" not in err


def test_watch_goes_on_with_every_change(millrace):
    watch = subprocess.Popen([millrace.node.millrace, "watch", "connections"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=dict(os.environ, MILLRACE_DATA=millrace.node.data))
    seen = []
    threading.Thread(target=lambda: seen.extend(watch.stdout), daemon=True).start()
    time.sleep(1)
    millrace("apply", "-f", "-", stdin=MANIFEST.split("---")[0])
    millrace("delete", "connection", "plc")
    limit = time.monotonic() + 10
    while "(deleted)\n" not in seen and time.monotonic() < limit:
        time.sleep(0.05)
    watch.terminate()
    assert seen[0].startswith("plc") and "tcp://127.0.0.1:1" in seen[0] and seen[-1] == "(deleted)\n", seen


def test_https_with_the_nodes_own_certificate_and_kubeconfig(node_factory):
    node = node_factory(settings=["listen.http=off", "listen.https=127.0.0.1:0"], start=False)
    node.spawn()
    env = dict(os.environ, MILLRACE_DATA=node.data)
    for _ in range(200):
        done = subprocess.run([node.millrace, "kubeconfig"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, check=False)
        if done.returncode == 0:
            break
        time.sleep(0.1)
    assert done.returncode == 0 and "server: https://127.0.0.1:" in done.stdout and "certificate-authority-data: LS0tLS1CRUdJTi" in done.stdout
    assert "token: mr_" in done.stdout, done.stderr


def test_a_bit_with_a_byte_order_is_refused_with_object_place_and_way_out(millrace, tmp_path):
    path = tmp_path / "bit.yaml"
    path.write_text(MANIFEST.replace('address: "1!400001"', 'address: "1!400001.3", type: bit, order: BA'))
    said = millrace("apply", "-f", str(path), code=1)[1]
    assert "press01" in said and "spec.points[0]" in said and "low byte first, name bit 1!400001.11" in said, said
