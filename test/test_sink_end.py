"""What Sinks do when their node stops: last words are said, and one that hangs is left behind."""
import os
import time

import pytest

from conftest import wait_for
from mqtt_client import LIMIT_S, Client, mqtt_node
from test_sinks import SPARKPLUG, node_with_sink, row, sink, sinks, write

HANGS = r"""
#include <millrace/sink.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
struct hangs { char where[16], path[200]; };
static void hang(const struct hangs *s, const char *where)
{
    if (strcmp(s->where, where)) return;
    FILE *f = fopen(s->path, "w");
    if (f) fclose(f);
    sleep(SECONDS);
}
static bool open_hangs(void *state, const struct millrace_sink_config *c, char why[MILLRACE_SINK_WHY_BYTES])
{
    struct hangs *s = state;
    for (size_t i = 0; i < c->option_count; i++)
        snprintf(strcmp(c->options[i].name, "path") ? s->where : s->path, strcmp(c->options[i].name, "path") ? 16 : 200, "%s", c->options[i].text);
    hang(s, "open");
    return true;
}
static enum millrace_sink_answer take(void *state, const struct millrace_sink_batch *b, const struct millrace_sink_host *host, char why[MILLRACE_SINK_WHY_BYTES])
{
    const struct millrace_sink_message message = {.topic = {"out/x", 5}, .payload = {"x", 1}};
    (void)b;
    hang(state, "take");
    return host->publish(host->host, &message) ? MILLRACE_SINK_TAKEN : MILLRACE_SINK_RETRY;
}
static void close_hangs(void *state) { hang(state, "close"); }
static const struct millrace_sink sink = {.abi = MILLRACE_SINK_ABI, .size_bytes = sizeof sink, .name = "hangs", .state_bytes = sizeof(struct hangs),
                                          .open = open_hangs, .close = close_hangs, .take = take};
const struct millrace_sink *millrace_sink_entry(void) { return &sink; }
"""


def stopped_within(node, limit_s):
    begun = time.monotonic()
    assert node.stop() == 0, node.log()
    took = time.monotonic() - begun
    assert took < limit_s, f"{took} s"
    return took


@pytest.mark.parametrize("where", ["open", "take", "close"])
def test_a_node_stops_without_a_sink_that_never_returns_and_says_which(node_factory, tmp_path, where):
    node = node_with_sink(node_factory, tmp_path, "hangs", HANGS.replace("SECONDS", "3600"))
    write(node, "press", *(row("d", t, temperature=1.5) for t in range(10)))
    for name in ("stuck", "stuck2"):
        flag = str(tmp_path / name)
        sink(node, name, type="hangs", table="press", options={"where": where, "path": flag}, **{"from": "beginning"})
        wait_for(lambda: os.path.exists(flag) if where != "close" else sinks(node, name)["sent"] == 10, LIMIT_S, "does not begin")  # pylint: disable=cell-var-from-loop
    stopped_within(node, 5)
    assert node.log().count("type hangs has not returned from a call for 3 s") == 2 and "stuck2" in node.log()
    node.start()  # and it begins again


def test_a_sink_that_returns_in_time_is_waited_for(node_factory, tmp_path):
    node = node_with_sink(node_factory, tmp_path, "hangs", HANGS.replace("SECONDS", "1"))
    write(node, "press", row("d", 0, temperature=1.5))
    flag = str(tmp_path / "hangs.txt")
    sink(node, "slow", type="hangs", table="press", options={"where": "take", "path": flag}, **{"from": "beginning"})
    wait_for(lambda: os.path.exists(flag), LIMIT_S, "does not begin")
    stopped_within(node, 5)
    assert "has not returned" not in node.log()


def test_a_sink_that_returns_while_the_node_goes_down_touches_nothing(node_factory, tmp_path):
    """It comes back from its call when it was given up, at about the time when all else is taken down."""
    for tenths in (29, 31, 33):
        node = node_with_sink(node_factory, tmp_path, "hangs", HANGS.replace("sleep(SECONDS)", f"usleep({tenths}00000)"))
        write(node, "press", row("d", 0, temperature=1.5))
        flag = str(tmp_path / f"hangs{tenths}.txt")
        sink(node, "slow", type="hangs", table="press", options={"where": "take", "path": flag}, **{"from": "beginning"})
        wait_for(lambda: os.path.exists(flag), LIMIT_S, "does not begin")  # pylint: disable=cell-var-from-loop
        stopped_within(node, 5)


def test_an_edge_node_in_the_middle_of_its_work_says_that_it_goes(node_factory):
    """Whatever its Sink does when the node stops: the death is in the broker, behind all data."""
    node = mqtt_node(node_factory)
    write(node, "press", *(row("d", t, n=t) for t in range(5)))
    host = Client(node, "host", clean=False, connect=False)
    host.connect(expiry=3600)
    host.subscribe(("spBv1.0/#", 1))
    sink(node, "edge", table="press", **{"from": "beginning"}, batch={"rows": 200, "linger": "10ms"}, mqtt=SPARKPLUG)
    wait_for(lambda: len(host.got) >= 2, LIMIT_S, "no births")
    for turn in range(6):
        known = len(host.got)
        write(node, "press", *(row(f"d{i % 7}", turn * 10**6 + i, n=i) for i in range(4000)))
        wait_for(lambda: len(host.got) > known + 3, LIMIT_S, "no data")  # pylint: disable=cell-var-from-loop
        time.sleep(turn * 0.003)
        host.close()
        assert node.stop() == 0
        node.start()
        host = Client(node, "host", clean=False, connect=False)
        host.got.append(None)
        host.connect(expiry=3600)
        write(node, "press", row("last", turn, n=0))
        topics = lambda: [m.topic.split("/")[2] for m in host.got if m]  # pylint: disable=cell-var-from-loop,unnecessary-lambda-assignment
        wait_for(lambda: "NBIRTH" in topics(), LIMIT_S, f"turn {turn}: not born again")
        before = topics()[:topics().index("NBIRTH")]
        assert before and before[-1] == "NDEATH" and before.count("NDEATH") == 1, f"turn {turn}: {before[-5:]}"
