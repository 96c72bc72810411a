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
        # Written some time ago: the clock may be told to have jumped, as it is after 30 days away.
        assert not [row for row in node.sql("SHOW HEALTH") if row[1] != "clock"], "nothing is damaged"
    finally:
        node.stop()
