"""Stores written by every earlier format of parts, log, catalogue and registry open, with the same answers.

test/corpus/stores/format-N.tar.xz holds a data folder as a kill -9 left it (rows in parts and in the log, late rows, new
versions, every type, NULLs) and answers.json, what the program that wrote it said. Whoever changes a format adds one made
by the commit before."""
import json
import os
import tarfile

import pytest

from programs import Node, ROOT

FOLDER = os.path.join(ROOT, "test", "corpus", "stores")


@pytest.mark.parametrize("name", sorted(os.listdir(FOLDER)))
def test_a_store_of_an_earlier_format_opens_and_answers_the_same(name, tmp_path):
    with tarfile.open(os.path.join(FOLDER, name)) as archive:
        archive.extractall(tmp_path)
    with open(tmp_path / "answers.json", encoding="utf-8") as file:
        answers = json.load(file)
    node = Node(str(tmp_path), settings=["memory=32MiB"]).start()
    try:
        for statement, wanted in answers.items():
            assert node.sql(statement) == wanted, statement
        # Written more than a day ago: the clock is told of, as after every such time away.
        assert not [row for row in node.sql("SHOW HEALTH") if row[1] != "clock"], "nothing is damaged"
    finally:
        node.stop()


def test_who_confirms_the_clock_has_retention_go_on(tmp_path):
    """format-1's last time is long ago, as after a week in which the machine was off."""
    with tarfile.open(os.path.join(FOLDER, "format-1.tar.xz")) as archive:
        archive.extractall(tmp_path)
    node = Node(str(tmp_path), settings=["memory=32MiB"]).start()

    def is_told():
        told = any(row[1] == "clock" and "CONFIRM CLOCK" in row[2] for row in node.sql("SHOW HEALTH") if row)
        metrics = node.call("GET", "/metrics")[1].decode().splitlines()
        assert f"millrace_clock_trusted {int(not told)}" in metrics
        return told
    try:
        assert is_told() and "CONFIRM CLOCK" in (tmp_path / "node.log").read_text()
        status, text = node.call("POST", "/v1/sql", "CONFIRM")
        assert status == 400 and b"clock" in text.lower()
        assert is_told()
        node.sql("CONFIRM CLOCK")
        assert not is_told()
        node.stop()
        node.start()
        assert not is_told()
        audit = os.path.join(node.data, "audit")
        lines = "".join(open(os.path.join(audit, name), encoding="utf-8").read() for name in os.listdir(audit)).splitlines()
        assert [json.loads(line)["kind"] for line in lines if "CONFIRM CLOCK" in line] == ["Node"]
    finally:
        node.stop()
