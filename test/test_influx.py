"""InfluxDB's clients as they are: Debian's influx shell, and the requests of Telegraf's two outputs.

What Telegraf sends is a fact read in its published source, influxdata/telegraf: plugins/outputs/influxdb/http.go at commit
0182f1bdaed6 (makeWriteURL: POST /write?db=, without precision, so ns; makeQueryRequest: POST /query with the form
q=CREATE DATABASE "name"; SetBasicAuth; 204 is success, else {"error": TEXT} is read) and plugins/outputs/influxdb_v2/http.go at
commit 01b9116edcaf (POST /api/v2/write?bucket=&org=, "Authorization: Token T", Content-Encoding gzip; a 4xx is dropped with the
answer's code and message in its log).
"""
import gzip
import json
import subprocess
import urllib.parse

from conftest import HOST, Node

TEXT = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "Telegraf"}
CPU = ("cpu,cpu=cpu-total,host=gw7 usage_user=1.5,usage_idle=98.25 1700000000000000000\n"
       "mem,host=gw7 used=123456i,free=99i,name=\"a b\",swapped=false 1700000000000000000\n")


def influx(node, *arguments):
    done = subprocess.run(["influx", "-host", HOST, "-port", str(node.port), "-username", "admin", "-password", Node.PASSWORD,
                           *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout


def namespace_rows(node, namespace, statement):
    status, answer = node.request("POST", f"/v1/sql?ns={namespace}", statement)
    assert status == 200, answer
    return json.loads(answer)["rows"]


def test_the_influx_shell_inserts(node_factory):
    node = node_factory()
    status, said = influx(node, "-database", "plant", "-execute", "INSERT press,device=p7 t=21.5,n=3i 1700000000000000000")
    assert status == 0, said
    assert namespace_rows(node, "plant", "SELECT device, t, n, time FROM press") == [["p7", 21.5, 3, "2023-11-14T22:13:20Z"]]
    _, said = influx(node, "-database", "plant", "-precision", "s", "-execute", "INSERT press,device=p7 t=text 1")
    assert "partial write" in said and "byte 19" in said, said  # its exit status is 0 all the same


def test_the_influx_shell_imports_a_file(node_factory, tmp_path):
    node = node_factory()
    lines = "\n".join(f"press,device=p{i % 10} t={i} {1700000000 + i}" for i in range(12000))
    file = tmp_path / "rows.txt"
    file.write_text("# DDL\nCREATE DATABASE plant\n# DML\n# CONTEXT-DATABASE: plant\n" + lines + "\n")
    status, said = influx(node, "-import", "-path", str(file), "-precision", "s")
    assert status == 0 and "Failed 0 inserts" in said, said
    assert namespace_rows(node, "plant", "SELECT count(*), sum(t), count(DISTINCT device) FROM press") == [[12000, 71994000, 10]]


def test_telegrafs_output_influxdb(node_factory):
    node = node_factory()
    form = dict(TEXT, **{"Content-Type": "application/x-www-form-urlencoded"})
    login = f"admin:{Node.PASSWORD}"
    body = urllib.parse.urlencode({"q": 'CREATE DATABASE "telegraf"'})
    status, answer = node.request("POST", "/query", body, token=login, headers=form)
    assert status == 200 and "error" not in json.loads(answer)["results"][0]
    assert node.request("POST", "/write?db=telegraf", CPU, token=login, headers=TEXT) == (204, "")
    zipped = dict(TEXT, **{"Content-Encoding": "gzip"})
    assert node.request("POST", "/write?consistency=any&db=telegraf", gzip.compress(CPU.replace("gw7", "gw8").encode()),
                        token=login, headers=zipped) == (204, "")
    assert namespace_rows(node, "telegraf", "SELECT device, host, usage_idle FROM cpu ORDER BY device") == [
        ["cpu-total/gw7", "gw7", 98.25], ["cpu-total/gw8", "gw8", 98.25]]
    assert namespace_rows(node, "telegraf", "SELECT used, name, swapped FROM mem WHERE host = 'gw7'") == [[123456, "a b", False]]
    status, answer = node.request("POST", "/write?db=telegraf", "cpu,host=gw7 usage_user=\"x\" 1\n", token=login, headers=TEXT)
    assert status == 400 and json.loads(answer)["error"].startswith("partial write"), answer
    status, answer = node.request("POST", "/query", body.replace("CREATE", "DROP"), token=login, headers=form)
    assert status == 400 and "/v1/sql" in json.loads(answer)["error"]


def test_telegrafs_output_influxdb_v2(node_factory):
    node = node_factory()
    headers = dict(TEXT, **{"Content-Encoding": "gzip", "Authorization": f"Token {node.token()}"})
    path = "/api/v2/write?bucket=telegraf&org=acme"
    assert node.request("POST", path, gzip.compress(CPU.encode()), token=None, headers=headers) == (204, "")
    assert namespace_rows(node, "telegraf", "SELECT device, usage_user FROM cpu") == [["cpu-total/gw7", 1.5]]
    bad = gzip.compress(b"cpu,host=gw7 usage_user=\n" + CPU.encode())
    status, answer = node.request("POST", path, bad, token=None, headers=headers)
    answer = json.loads(answer)
    assert status == 400 and answer["code"] == "invalid" and "line 1" in answer["message"], answer
    status, answer = node.request("POST", path, b"x", token=None, headers=dict(TEXT, Authorization="Token wrong"))
    assert status == 401 and json.loads(answer)["code"] == "unauthorized"
    status, answer = node.request("POST", "/api/v2/write?bucket=My_Bucket", b"x", headers=TEXT)
    assert status == 400 and "namespace 'My_Bucket'" in json.loads(answer)["message"]


def test_user_and_password_may_stand_where_influxdbs_clients_put_them(node_factory):
    node = node_factory()
    query = urllib.parse.urlencode({"db": "default", "u": "admin", "p": Node.PASSWORD, "precision": ""})
    assert node.request("POST", f"/write?{query}", "m,device=a t=1 1", token=None) == (204, "")
    assert node.request("POST", f"/write?u=x&p={node.token()}", "m,device=a t=2 2", token=None) == (204, "")
    both = {"Authorization": f"Token admin:{Node.PASSWORD}"}
    assert node.request("POST", "/api/v2/write?bucket=default/autogen&precision=s", "m,device=a t=3 3", token=None,
                        headers=both) == (204, "")
    assert node.sql("SELECT t FROM m ORDER BY time") == [[1], [2], [3]]
    status, answer = node.request("POST", "/write?u=admin&p=wrong", "m,device=a t=4 4", token=None)
    assert status == 401 and "password" in json.loads(answer)["error"]
    # Elsewhere a password in a URL, which proxies write into their logs, is no login.
    assert node.request("POST", f"/v1/sql?{query}", "SELECT 1", token=None)[0] == 401
    assert node.request("GET", "/ping", token=None)[0] == 204
    status, answer = node.request("GET", "/health", token=None)
    assert status == 200 and json.loads(answer)["status"] == "pass"
