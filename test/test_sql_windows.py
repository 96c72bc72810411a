"""Windows over a whole node: what the engine's own tests cannot see, the zone files of the machine and rows of the store."""
import os

import pytest

DAY_MS = 86_400_000
MARCH_2026 = 1_774_569_600_000  # 2026-03-27T00:00:00Z, two days before Berlin's summer begins


@pytest.fixture
def node(node_factory):
    made = node_factory()
    text = "\n".join(f"m,device=d{d} v={d * 1000 + h} {MARCH_2026 + h * 3_600_000}" for d in (1, 2) for h in range(96))
    assert made.request("POST", "/write?precision=ms", text) == (204, "")
    return made


@pytest.mark.skipif(not os.path.exists("/usr/share/zoneinfo/Europe/Berlin"), reason="no time zone database")
def test_days_follow_the_zone_of_the_statement(node):
    hours = node.sql("SELECT window_start, window_end, count(*) FROM m WHERE device LIKE '%d1' "
                     "WINDOW TUMBLE(1d) TIME ZONE 'Europe/Berlin' ORDER BY 1")
    assert [row[2] for row in hours] == [23, 24, 23, 24, 2]
    assert hours[2][:2] == ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]


@pytest.mark.skipif(not os.path.exists("/usr/share/zoneinfo/Europe/Berlin"), reason="no time zone database")
def test_days_follow_the_zone_of_the_request(node):
    status, answer = node.request("POST", "/v1/sql?tz=Europe/Berlin", "SELECT date_trunc('day', CAST('2026-07-01T23:00:00Z' AS timestamp))")
    assert status == 200 and "2026-07-01T22:00:00Z" in answer
    status, answer = node.request("POST", "/v1/sql?tz=Nowhere", "SELECT 1")
    assert status == 400 and "is not known" in answer


def test_windows_of_stored_rows_before_and_after_a_restart(node):
    statements = [
        "SELECT device, window_start, twa(v), count(*) FROM m PARTITION BY device WINDOW TUMBLE(1d)",
        "SELECT window_start, sum(v) FROM m WINDOW HOP(2d, 1d) ORDER BY 1",
        "SELECT device, window_start, window_end, count(*) FROM m PARTITION BY device WINDOW SESSION(30m)",
        "SELECT window_start, avg(v) FROM m WHERE time < '2026-04-05' AND device LIKE '%d2' WINDOW TUMBLE(1d) FILL(prev)",
        "SELECT device, max(diff(v)), median(v), increase(v) FROM m GROUP BY device ORDER BY device",
    ]
    before = [node.sql(text) for text in statements]
    assert [len(rows) for rows in before] == [8, 5, 192, 9, 2]
    assert before[4][0][1:] == [1, 1047.5, 95]
    node.restart()
    assert [node.sql(text) for text in statements] == before
