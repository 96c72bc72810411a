#!/usr/bin/python3
"""The historian beside the databases that a plant would otherwise install: `./dev bench store`.

Rows in (CPU of the whole server process), bytes a point on disk, statements after a restart (median of 7; the time bound moves
by a prime number of seconds each run), all peers in the same run, answers checked against an independent calculation. Then the
public sets of ../shared/data, where they are: bytes a value in each.

MILLRACE_PEERS=name,… chooses; MILLRACE_DEVICES, MILLRACE_STEPS, MILLRACE_RUNS make it larger or shorter."""
import math
import os
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))
import peers as all_peers  # noqa: E402
from plant import COLUMNS, START, Plant  # noqa: E402
from programs import ROOT, commit, spread  # noqa: E402
from public_sets import public_sets  # noqa: E402

DEVICES = int(os.environ.get("MILLRACE_DEVICES", "1000"))
STEPS = int(os.environ.get("MILLRACE_STEPS", "1080"))
RUNS = int(os.environ.get("MILLRACE_RUNS", "5"))
NAMES = os.environ.get("MILLRACE_PEERS", ",".join(peer.name for peer in all_peers.PEERS)).split(",")
SHARED = os.environ.get("MILLRACE_SHARED", os.path.join(ROOT, "..", "shared"))
PRIME_S = 17


def same(a, b, digits):
    """Answers, whatever their shape."""
    if isinstance(b, dict):
        return set(a) == set(b) and all(same(a[key], b[key], digits) for key in b)
    if isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y, digits) for x, y in zip(a, b))
    return a is not None and b is not None and math.isclose(a, b, rel_tol=digits, abs_tol=digits)


def inner(answer):
    """A windowed answer without its first and its last window."""
    starts = sorted({key[1] if isinstance(key, tuple) else key for key in answer})
    return {key: value for key, value in answer.items() if starts[0] < (key[1] if isinstance(key, tuple) else key) < starts[-1]}


def is_right(peer, given, wanted):
    windowed = isinstance(wanted, dict) and not isinstance(next(iter(wanted)), str)
    if windowed and peer.whole_windows:
        wanted = inner(wanted)
        given = {key: value for key, value in given.items() if key in wanted}
    return same(given, wanted, peer.digits)


STATEMENTS = [
    ("last of all devices", 1, lambda p, to: p.last(to), lambda plant, to: plant.last(to)),
    ("1 device, 1 h by minute", 0.3, lambda p, to: p.by_minute("d00007", to), lambda plant, to: plant.by_minute(7, to)),
    ("5 averages of all devices by hour", 20, lambda p, to: p.by_hour(to), lambda plant, to: plant.by_hour(to)),
    ("threshold over all", 60, lambda p, to: p.above(to, 2, 60), lambda plant, to: plant.above(to, 2, 60)),
    ("count and 10 averages", 40, lambda p, to: p.averages(to), lambda plant, to: plant.averages(to)),
]


def load(peer, bodies):
    before, rows = peer.cpu(), 0
    for body, count in bodies[peer.style]:
        peer.insert(body)
        rows += count
    return rows, peer.cpu() - before


def fill_all(plant, bodies, folder):
    """RUNS times each, interleaved; the last one's folder stays for the statements."""
    rates, peaks, kept = {}, {}, {}
    for run in range(RUNS):
        for kind in all_peers.PEERS:
            if kind.name not in NAMES:
                continue
            peer = kind(os.path.join(folder, f"{kind.name}-{run}"))
            peer.start_s = START
            peer.start()
            peer.prepare(COLUMNS)
            rows, used = load(peer, bodies)
            rates.setdefault(kind.name, []).append(rows / used)
            peaks.setdefault(kind.name, []).append(peer.peak_mib())
            if run + 1 < RUNS:
                peer.stop()
                continue
            peer.settle()
            size = peer.size()
            peer.stop()
            peer.start()
            kept[kind.name] = (peer, size / (rows * COLUMNS))
    return rates, peaks, kept


def ask(peer, plant, statement):
    """CPU and wall milliseconds; whether every answer was right."""
    _, _, question, answer = statement
    cpu, right = [], True
    for number in range(7):
        to = int(plant.times[-1]) + 1 - number * PRIME_S
        right &= is_right(peer, question(peer, to), answer(plant, to))
        repeats, before = 0, peer.cpu()
        while repeats < 3 or (peer.cpu() - before < 0.2 and repeats < 400):
            question(peer, to)
            repeats += 1
        cpu.append((peer.cpu() - before) / repeats * 1000)
    return cpu, right


def fill_public(one, folder):
    """Bytes a value of one public set in every peer."""
    answer = []
    for kind in all_peers.PEERS:
        if kind.name not in NAMES:
            continue
        peer = kind(os.path.join(folder, f"{kind.name}-{one.name.split()[0]}"))
        peer.start()
        peer.prepare(one.columns)
        for body, _ in one.bodies(peer.style):
            peer.insert(body)
        peer.settle()
        count = peer.count()
        if count != len(one.rows):
            sys.exit(f"{kind.name}: {count} rows of {one.name} are there, {len(one.rows)} were sent")
        answer.append(f"{kind.name} {peer.size() / one.values():.3f}")
        peer.stop()
    return answer


def main():
    all_peers.install(NAMES)
    print(f"commit {commit()}; {DEVICES} devices x {STEPS} rows of {COLUMNS} doubles, {RUNS} runs in turn", flush=True)
    plant = Plant(DEVICES, STEPS)
    bodies = {style: list(plant.bodies(style)) for style in ("line", "tsv")}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        rates, peaks, kept = fill_all(plant, bodies, folder)
        for name in kept:
            print(f"{name}: {kept[name][0].version()}")
        print(f"\n{'':18} {'rows per CPU-second':40} {'peak MiB':26} bytes a point")
        for name in kept:
            print(f"{name:18} {spread(rates[name]):40} {spread(peaks[name]):26} {kept[name][1]:.3f}")
        if "millrace" in kept:
            own = statistics.median(rates["millrace"])
            for name in kept:
                if name != "millrace":
                    print(f"millrace : {name:18} rows {own / statistics.median(rates[name]):.2f}x, "
                          f"bytes {kept['millrace'][1] / kept[name][1]:.2f}x")
        for statement in STATEMENTS:
            print(f"\n{statement[0]} (budget {statement[1]} ms)")
            for name, (peer, _) in kept.items():
                try:
                    cpu, right = ask(peer, plant, statement)
                    print(f"  {name:18} {spread(cpu):34} ms CPU{'' if right else '   WRONG ANSWER'}", flush=True)
                except (RuntimeError, KeyError, IndexError) as error:
                    print(f"  {name:18} {error}", flush=True)
        for peer, _ in kept.values():
            peer.stop()
        print("\npublic sets, bytes a value")
        for one in public_sets(os.path.join(SHARED, "data")):
            print(f"  {one.name:14} {len(one.rows)} rows of {one.columns}: " + ", ".join(fill_public(one, folder)), flush=True)


if __name__ == "__main__":
    main()
