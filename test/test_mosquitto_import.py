"""`millrace import mosquitto`: users of a Mosquitto broker log in here with the passwords they have, and may what they might."""
import json
import subprocess

import psycopg2
import pytest
from conftest import HOST, free_port
from mqtt_client import Client, mqtt_node
from programs import debian_program

ACL = """# who comes without a name
topic read news/#

user alice
topic line1/#
topic read line2/+/speed
topic deny line1/secret/#

user bob
topic write orders/new
topic deny orders/old
topic read dev/%u
topic read /leading

user Carol_3
topic #

pattern readwrite dev/%c/%u
pattern write $SYS/clients
pattern sideways x
"""


@pytest.fixture(name="files")
def files_fixture(tmp_path):
    acl, passwords = tmp_path / "acl", tmp_path / "passwd"
    acl.write_text(ACL)
    passwords.touch()
    for name, form in ("alice", "sha512-pbkdf2"), ("bob", "sha512"):
        subprocess.run([debian_program("mosquitto", "usr/bin/mosquitto_passwd"), "-H", form, "-b", passwords, name, f"{name}s-word"],
                       check=True, stderr=subprocess.DEVNULL)
    with open(passwords, "a", encoding="utf-8") as file:
        file.write("plain:unhashed\n")
    return ["import", "mosquitto", "--acl", str(acl), "--passwords", str(passwords)]


def user(node, name):
    status, text = node.request("GET", f"/apis/millrace.io/v1/users/{name}")
    return json.loads(text) if status == 200 else None


def test_a_dry_run_prints_documents_and_each_line_that_cannot_be_said(node_factory, files):
    node = mqtt_node(node_factory)
    code, said = node.cli(*files, "--dry-run")
    assert code == 0, said
    for line, why in ((5, None), (7, None), (10, None), (11, None), (12, "put a name in"), (13, None), (15, "Carol_3"), (20, "neither read")):
        told = [text for text in said.splitlines() if f"/acl:{line}: " in text]
        assert (len(told) == 1 and why in told[0]) if why else not told, (line, said)
    assert "plain' gets no password" in said and "Carol_3' is left out" in said
    assert "kind: Role" in said and "dev/%c/%u" in said and "/leading" in said and "mosquitto-pattern" in said
    assert user(node, "alice") is None


def test_imported_users_log_in_with_their_old_passwords_which_become_scram(node_factory, files):
    node = mqtt_node(node_factory)
    code, said = node.cli(*files)
    assert code == 0 and "4 users and 4 roles made" in said, said
    for name in "alice", "bob":
        wrong = Client(node, "x", user=name, password="another-word")
        assert wrong.reasons[-1][0] != 0
        client = Client(node, f"c-{name}", user=name, password=f"{name}s-word")
        assert client.reasons[-1][0] == 0, name
        # The right to publish goes on after the password's form has changed under the connection.
        assert client.subscribe((f"dev/c-{name}/{name}", 1), (f"dev/c-{name}/other", 1), ("dev/#", 1)) == [1, 135, 135]
        assert client.paho.is_connected() and len(client.reasons) == 1
        node.restart()
        again = Client(node, f"c-{name}", user=name, password=f"{name}s-word")
        assert again.reasons[-1][0] == 0, f"{name} after a restart"
        assert Client(node, "y", user=name, password="another-word").reasons[-1][0] != 0
    alice, admin = Client(node, "a", user="alice", password="alices-word"), Client(node, "admin")
    assert alice.subscribe(("line2/m1/speed", 0), ("line2/#", 0), ("line1/#", 0), ("line1/secret/x", 0)) == [0, 135, 0, 135]
    for topic in "line1/secret/x", "line1/y":
        admin.publish(topic, "1")
    assert alice.wait(1) == [("line1/y", "1", 0, False)], "what a line denies is taken out of a wider grant"
    bob = Client(node, "b", user="bob", password="bobs-word")
    assert bob.subscribe(("orders/new", 0), ("/leading", 0), ("leading", 0)) == [135, 0, 135]
    bob.publish("orders/new", "1", 1)


def test_the_first_login_turns_a_hash_into_scram(node_factory, files):
    port = free_port()
    node = mqtt_node(node_factory, f"listen.postgres={HOST}:{port}")
    assert node.cli(*files)[0] == 0

    def over_scram():
        try:
            psycopg2.connect(host=HOST, port=port, user="alice", password="alices-word", dbname="millrace", sslmode="disable").close()
            return True
        except psycopg2.OperationalError as error:
            assert "password" in str(error), error
            return False

    assert not over_scram(), "no SCRAM can be done with another broker's hash"
    assert Client(node, "x", user="alice", password="alices-word").reasons[-1][0] == 0
    assert over_scram()
    node.restart()
    assert over_scram(), "the document kept the old hash"


def test_importing_again_leaves_users_as_they_are(node_factory, files):
    node = mqtt_node(node_factory)
    assert node.cli(*files)[0] == 0
    assert node.cli("user", "disable", "bob")[0] == 0
    code, said = node.cli(*files)
    assert code == 0 and "user bob is there already and stays as it is" in said, said
    assert user(node, "bob")["spec"]["disabled"] is True


def roles(node, name):
    """{path: verbs, with a ! before those that are denied}"""
    status, text = node.request("GET", f"/apis/millrace.io/v1/roles/{name}")
    rules = json.loads(text)["spec"]["rules"] if status == 200 else []
    return {path: ("!" if rule.get("effect") == "deny" else "") + ",".join(rule["verbs"]) for rule in rules for path in rule["paths"]}


def test_nobody_gets_more_by_blanks_or_names(node_factory, tmp_path):
    """Mosquitto takes indented lines; and no user's grants become those of all, or of who has no login."""
    acl = tmp_path / "acl"
    acl.write_text("topic read open/#\nuser anonymous\ntopic secret/#\n user bob\ntopic a/#\n  topic deny a/x\nuser pattern\ntopic #\npattern read p/%u\n")
    node = mqtt_node(node_factory)
    code, said = node.cli("import", "mosquitto", "--acl", str(acl))
    assert code == 0 and "user 'anonymous' is left out" in said, said
    both = "publish,subscribe"
    assert roles(node, "mosquitto-anonymous") == {"open/#": "subscribe"}
    assert roles(node, "mosquitto-bob") == {"a/#": both, "a/x": "!" + both}
    assert roles(node, "mosquitto-pattern") == {"p/%u": "subscribe"}
    assert user(node, "pattern")["spec"]["roles"] == ["mosquitto--pattern", "mosquitto-pattern"]
    assert roles(node, "mosquitto--pattern") == {"#": both}


def test_importing_again_takes_away_what_is_no_longer_granted(node_factory, tmp_path):
    acl = tmp_path / "acl"
    node = mqtt_node(node_factory)
    for text, left in (("user bob\ntopic a/#\npattern read p/%u\n", 1), ("user bob\n", 0)):
        acl.write_text(text)
        code, said = node.cli("import", "mosquitto", "--acl", str(acl))
        assert code == 0, said
        assert len(roles(node, "mosquitto-bob")) == len(roles(node, "mosquitto-pattern")) == left
