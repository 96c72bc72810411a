"""Conditions on devices and labels alone are asked once a device: the answers are those of asking every row, and no row of
another device is read. The rules are computed here, in Python, over the same devices."""
import re

import pytest

from programs import Node

START = 1_700_000_000
SITES = [None, "sz", "7", "gz", "12", "名称"]
DEVICES = [(f"{'pump' if i % 3 else 'Press'}/{i:02d}", SITES[i % len(SITES)], 5 + i % 4) for i in range(60)]

CONDITIONS = [
    ("device LIKE 'pump/1%'", lambda d, s: d.startswith("pump/1")),
    ("device NOT LIKE 'pump/_5'", lambda d, s: not re.fullmatch(r"pump/.5", d)),
    ("device ILIKE 'PRESS%'", lambda d, s: d.lower().startswith("press")),
    ("device ~ '[05]$'", lambda d, s: d[-1] in "05"),
    ("upper(device) = 'PUMP/22'", lambda d, s: d == "pump/22"),
    ("device = 'pump/22'", lambda d, s: d == "pump/22"),
    ("'pump/22' = device", lambda d, s: d == "pump/22"),
    ("device = 'nobody'", lambda d, s: False),
    ("device IN ('pump/22', 'Press/03', 'nobody', 'pump/22')", lambda d, s: d in ("pump/22", "Press/03")),
    ("device IN ('pump/22') AND device IN ('Press/03')", lambda d, s: False),
    ("device <> 'pump/22'", lambda d, s: d != "pump/22"),
    ("device > 'pump/3' AND site = 'sz'", lambda d, s: d > "pump/3" and s == "sz"),
    ("site IS NULL", lambda d, s: s is None),
    ("site IS NOT NULL AND device LIKE '%1'", lambda d, s: s is not None and d.endswith("1")),
    ("site = 'sz' OR device = 'Press/00'", lambda d, s: s == "sz" or d == "Press/00"),
    ("site <> 'sz'", lambda d, s: s is not None and s != "sz"),
    ("coalesce(site, 'none') = 'none'", lambda d, s: s is None),
    ("length(site) = 2", lambda d, s: s is not None and len(s) == 2),
    ("CASE WHEN site IS NULL THEN true ELSE site = '7' END", lambda d, s: s in (None, "7")),
    ("device IN (SELECT device FROM chosen)", lambda d, s: d in ("pump/01", "Press/06")),
    ("device LIKE 'pump%' AND v >= 0", lambda d, s: d.startswith("pump")),
]


@pytest.fixture(scope="module", name="node")
def node_fixture(tmp_path_factory):
    node = Node(str(tmp_path_factory.mktemp("devices"))).start()
    for half in (0, 1):  # one in parts, one in memory
        lines = []
        for i, (device, site, rows) in enumerate(DEVICES):
            label = f",site={site}" if site else ""
            lines += [f"t,device={device}{label} v={i * 100 + k} {START + half * 1000 + k}" for k in range(rows)]
        assert node.call("POST", "/write?precision=s", "\n".join(lines).encode())[0] == 204
        if not half:
            node.sql("CHECKPOINT")
    lines = "\n".join(f"chosen,device={d} v=1 {START}" for d in ("pump/01", "Press/06", "nobody"))
    assert node.call("POST", "/write?precision=s", lines.encode())[0] == 204
    yield node
    node.stop()


@pytest.mark.parametrize("condition, rule", CONDITIONS, ids=[c for c, _ in CONDITIONS])
def test_the_rows_are_those_of_the_devices_that_match(node, condition, rule):
    wanted = [(d, 2 * rows) for d, s, rows in sorted(DEVICES) if rule(d, s)]
    assert node.sql(f"SELECT device, count(*) FROM t WHERE {condition} GROUP BY device ORDER BY device") == [list(w) for w in wanted]
    assert node.sql(f"SELECT count(v) FROM t WHERE {condition}") == [[sum(n for _, n in wanted)]]
    late = [(d, rows) for d, s, rows in sorted(DEVICES) if rule(d, s)]
    assert node.sql(f"SELECT device, count(*) FROM t WHERE ({condition}) AND time >= to_timestamp({START + 1000}) "
                    "GROUP BY device ORDER BY device") == [list(w) for w in late]


@pytest.mark.parametrize("condition, rule", [c for c in CONDITIONS if "v >=" not in c[0]], ids=lambda c: c if isinstance(c, str) else "")
def test_no_row_of_another_device_is_read(node, condition, rule):
    plan = "\n".join(row[0] for row in node.sql(f"EXPLAIN ANALYZE SELECT device, v FROM t WHERE {condition}"))
    read = int(re.search(r"rows read (\d+)", plan)[1])
    assert read == sum(2 * rows for d, s, rows in DEVICES if rule(d, s)), plan


def test_what_cannot_be_computed_for_a_device_is_an_error_only_where_it_has_rows(node):
    """site is no number for some: an error, as from its rows; outside of their times nobody asks."""
    status, said = node.call("POST", "/v1/sql", "SELECT count(*) FROM t WHERE CAST(site AS BIGINT) > 3")
    assert status == 400 and b"sz" in said, said
    assert node.sql("SELECT count(*) FROM t WHERE CAST(site AS BIGINT) > 3 AND device IN ('Press/12', 'pump/02')") == [[2 * DEVICES[2][2]]]
    assert node.sql("SELECT count(*) FROM t WHERE CAST(site AS BIGINT) > 3 AND time < to_timestamp(1000)") == [[0]]
