"""A statement answers the same from memory, from parts and from statistics of blocks: VACUUM changes nothing that a reader sees."""
import math

from programs import Node

START = 1_700_000_000
WHERE = "time >= '2023-11-14T22:00:00Z' AND time < '2023-11-15T03:00:07Z'"
STATEMENTS = [
    "SELECT count(*), count(d), count(i), sum(i), sum(d), avg(i), avg(d), min(d), max(i), min(b), max(u), sum(u) FROM t",
    "SELECT device, first(d), last(d), first(i), last(b), max(time) FROM t GROUP BY device ORDER BY device",
    "SELECT device, first(d, time), last(d, time), min_by(d, i) FROM t GROUP BY device ORDER BY device",
    "SELECT count(*) FILTER (WHERE d > 20), sum(i) FILTER (WHERE b) FROM t",
    "SELECT count(*), avg(d) FROM t WHERE site = 'sz'",
    "SELECT count(*), avg(d) FROM t WHERE d > 20",
    "SELECT device, count(*), sum(i) FROM t WHERE d >= 25.3 AND 1000 > u GROUP BY device ORDER BY device",
    "SELECT count(*), sum(i), min(time) FROM t WHERE i > 3600",
    "SELECT count(*), max(d) FROM t WHERE d > 90 OR u = 5",
    "SELECT count(*) FROM t WHERE u = 1800",
    "SELECT device, time, d FROM t WHERE 25.25 < d AND b ORDER BY device, time",
    f"SELECT device, window_start, count(*), avg(d), sum(i), avg(d + i) FROM t WHERE {WHERE} PARTITION BY device WINDOW TUMBLE(20m) "
    "ORDER BY 1, 2",
    "SELECT device, window_start, sum(d), avg(u), first(u), last(u), min(i), max(i) FROM t WHERE time < '2023-11-15T02:17:41Z' "
    "PARTITION BY device WINDOW TUMBLE(70m) ORDER BY 1, 2",
    "SELECT count(DISTINCT i), stddev(d), median(d), percentile(d, 90), twa(d), spread(d) FROM t WHERE device = 'm0'",
    f"SELECT device, window_start, count(*), avg(d), last(i) FROM t WHERE {WHERE} PARTITION BY device WINDOW TUMBLE(1h) ORDER BY 1, 2",
    f"SELECT device, window_start, count(*), sum(i) FROM t WHERE {WHERE} PARTITION BY device WINDOW HOP(6h, 2h) ORDER BY 1, 2",
    "SELECT device, window_start, count(*), max(d) FROM t PARTITION BY device WINDOW SESSION(10m) ORDER BY 1, 2",
    "SELECT device, window_start, count(*) FROM t PARTITION BY device WINDOW COUNT(700) ORDER BY 1, 2",
    "SELECT device, window_start, count(*), sum(i) FROM t PARTITION BY device WINDOW STATE(b) ORDER BY 1, 2 LIMIT 40",
    "SELECT window_start, count(*), avg(d) FROM t WINDOW TUMBLE(1d) TIME ZONE 'Asia/Shanghai' ORDER BY 1",
    f"SELECT window_start, avg(d) FROM t WHERE {WHERE} WINDOW TUMBLE(30m) FILL(prev) ORDER BY 1",
    "SELECT site, count(*), quality(d) FROM t GROUP BY site, quality(d) ORDER BY 1, 3",
    "SELECT a.device, count(*), sum(a.i) FROM t a JOIN t b ON a.device = b.device AND a.time = b.time WHERE a.device = 'm1' "
    "GROUP BY a.device",
    "SELECT device, s FROM (SELECT device, sum(i) AS s, count(*) AS n FROM t GROUP BY device) q WHERE n > 10 ORDER BY 1",
    "SELECT sum(diff) FROM (SELECT diff(i) AS diff FROM t) q",
    "SELECT count(*), sum(i) FROM t HAVING count(*) > 1",
]


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a == b


def write(node, first, last, step=1):
    lines = []
    for s in range(first, last, step):
        for m in range(3):
            fields = [f"i={s * (m + 1)}i", f"u={s}u", f"b={'t' if s // 50 % 2 else 'f'}"]
            if m != 1 or s % 7:  # m1 lacks d now and then
                fields.append(f"d={round(20.3 + math.sin(s / 90 + m) * 5, 1 + m)}")
            gap = 3600 if s > 900 else 0
            lines.append(f"t,device=m{m},site={'sz' if m else 'bj'} {','.join(fields)} {START + s * 10 + gap}")
    assert node.call("POST", "/write?precision=s", "\n".join(lines).encode())[0] == 204


def test_statistics_answer_as_rows_do(tmp_path):
    node = Node(str(tmp_path)).start()
    write(node, 0, 1800)
    in_memory = {text: node.sql(text) for text in STATEMENTS}
    node.sql("VACUUM")
    plan = "\n".join(row[0] for row in node.sql("EXPLAIN ANALYZE SELECT count(*), avg(d) FROM t"))
    assert "blocks 0" in plan, "statistics were enough"
    for text in STATEMENTS:
        assert same(node.sql(text), in_memory[text]), text
    write(node, 300, 500, 3)  # the same rows again, over the parts
    for text in STATEMENTS:
        assert same(node.sql(text), in_memory[text]), text
    node.sql("DELETE FROM t WHERE i < 100 AND device = 'm1'")
    after_delete = {text: node.sql(text) for text in STATEMENTS}
    assert not same(after_delete[STATEMENTS[0]], in_memory[STATEMENTS[0]])
    node.sql("VACUUM")
    for text in STATEMENTS:
        assert same(node.sql(text), after_delete[text]), text
    node.stop()


def test_blocks_without_a_row_that_counts_are_passed_by_and_newer_rows_are_not(tmp_path):
    node = Node(str(tmp_path)).start()
    write(node, 0, 600)
    node.sql("VACUUM")

    def asked(condition):
        return [node.sql(f"SELECT count(*), sum(i) FROM t WHERE {condition}")[0],
                node.sql(f"EXPLAIN ANALYZE SELECT count(*), sum(i) FROM t WHERE {condition}")[-1][0]]

    for condition in ["d > 90", "d >= 90", "90 < d", "i < 0", "u = 600", "d > 90 AND u < 5"]:
        answer, plan = asked(condition)
        assert answer == [0, None] and "passed by 3;" in plan and "blocks 0," in plan, (condition, plan)
    for condition, wanted in [("u <= 0", 3), ("u < 1", 3), ("u >= 599", 3), ("u > 598", 3), ("u = 7", 3), ("i > 1796", 1)]:
        answer, plan = asked(condition)
        assert answer[0] == wanted, (condition, plan)
    assert "passed by 1;" in asked("i > 600")[1], "m0 has no more than 599"
    # A newer cell in memory, and then in a part of its own, inside the time of a block that would be passed by.
    for _ in range(2):
        assert node.call("POST", "/write?precision=s", f"t,device=m0,site=bj d=95.5 {START + 4500}".encode())[0] == 204
        assert asked("d > 90")[0] == [1, 450]
        assert node.sql("SELECT count(*) FROM t WHERE d > 90 AND u < 5") == [[0]]
        node.stop()
        node.start()
    node.sql("VACUUM")
    assert asked("d > 90")[0] == [1, 450]
    node.stop()
