"""ARCHITECTURE.md's "life of one value" names file and function at each step: each must exist."""
import os
import re

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))


def life_of_one_value():
    with open(os.path.join(ROOT, "ARCHITECTURE.md"), encoding="utf-8") as file:
        text = file.read()
    section = text.split("## 2. The life of one value")[1].split("\n## ")[0]
    return re.findall(r"`([\w/.]+\.(?:c|ts))`(?: `(\w+)`)?", section)


def test_the_table_is_found():
    assert len(life_of_one_value()) >= 10


def test_every_file_and_function_of_the_life_of_one_value_exists():
    for path, function in life_of_one_value():
        full = os.path.join(ROOT, path)
        assert os.path.isfile(full), f"{path} does not exist"
        if function:
            with open(full, encoding="utf-8") as file:
                assert re.search(rf"^[\w\s*]*\b{function}\(", file.read(), re.M), f"{path} has no function {function}"
