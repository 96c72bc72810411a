#!/usr/bin/python3
"""CSV in, by the command that people use: `./dev bench import`.

(a) The plant of `./dev bench store` (1,000 devices x 1,080 rows of 10 doubles, in order of time) as one file: rows per CPU-second of the
node's process, CHECKPOINT inside the measured span, so that all rows are in parts. (b) The same file sorted by device, as exports are.
(c) The public sets of ../shared/data, where they are (MILLRACE_SHARED names another folder): rows, refused rows, bytes a point in
parts after VACUUM, beside gzip -6 of the CSV divided by the same points.

MILLRACE_DEVICES, MILLRACE_STEPS, MILLRACE_RUNS make it larger or shorter, MILLRACE_MEMORY is the node's."""
import glob
import gzip
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))
from plant import COLUMNS, Plant  # noqa: E402
from programs import BUILD, ROOT, Node, commit, spread  # noqa: E402

DEVICES = int(os.environ.get("MILLRACE_DEVICES", "1000"))
STEPS = int(os.environ.get("MILLRACE_STEPS", "1080"))
MEMORY = os.environ.get("MILLRACE_MEMORY", "64MiB")
RUNS = int(os.environ.get("MILLRACE_RUNS", "5"))
SHARED = os.environ.get("MILLRACE_SHARED", os.path.join(ROOT, "..", "shared"))
HEADER = b"time,device," + b",".join(b"f%d" % c for c in range(COLUMNS)) + b"\n"
CMAPSS = ["--columns", "unit,cycle,o1,o2,o3," + ",".join(f"s{i}" for i in range(1, 22)), "--time", "cycle", "--time-format", "s",
          "--device", "unit", "--device-name", "engine"]

# set, files, what the command is told beside the table
SETS = [("SKAB", "skab/*.csv.gz", []), ("C-MAPSS FD001", "cmapss_fd001/t*_FD001.txt.gz", CMAPSS), ("NAB", "nab/*.csv", []),
        ("AI4I 2020", "ai4i2020/*.csv", ["--step", "1s", "--start", "2020-01-01"])]


def write_files(folder):
    """The plant in order of time, and by device."""
    by_time, by_device = os.path.join(folder, "time.csv"), os.path.join(folder, "device.csv")
    rows = []
    with open(by_time, "wb") as out:
        out.write(HEADER)
        for body, _ in Plant(DEVICES, STEPS).bodies("tsv"):
            text = body.replace(b"\t", b",")
            out.write(text)
            rows += text.splitlines(True)
    with open(by_device, "wb") as out:
        out.write(HEADER)
        out.writelines(sorted(rows, key=lambda row: row.split(b",", 2)[1]))
    return by_time, by_device


def run_import(node, path, table, options, folder):
    """(rows, refused)"""
    done = subprocess.run([os.path.join(BUILD, "millrace"), "import", path, "--table", table, "--json", "--restart", *options],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          env=dict(os.environ, MILLRACE_DATA=node.data, XDG_STATE_HOME=folder))
    if not done.stdout:
        sys.exit(f"{path}: {done.stderr.decode()}")
    told = json.loads(done.stdout)
    return told["rows"], told["refused"]


def parts_bytes(node):
    return sum(os.path.getsize(path) for path in glob.glob(os.path.join(node.data, "parts", "**"), recursive=True) if os.path.isfile(path))


def one_run(path):
    """Rows per CPU-second, peak MiB, bytes a point."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node(folder, settings=["memory=" + MEMORY]).start()
        before = node.cpu()
        rows, refused = run_import(node, path, "sensors", [], folder)
        node.sql("CHECKPOINT")
        used = node.cpu() - before
        peak = node.memory("VmHWM") / 1024
        count = node.sql("SELECT count(*) FROM sensors")[0][0]
        if refused or count != rows or rows != DEVICES * STEPS:
            sys.exit(f"{rows} rows, {refused} refused, {count} stored")
        node.sql("VACUUM")
        size = parts_bytes(node)
        node.stop()
    return rows / used, peak, size / rows / COLUMNS


def speed(name, path):
    runs = [one_run(path) for _ in range(RUNS)]
    rates, peaks, sizes = zip(*runs)
    print(f"{name:28} rows per CPU-second {spread(rates)} (goal 700,000)   peak MiB {spread(peaks)}   bytes a point {sizes[-1]:.3f}", flush=True)


def real_set(name, pattern, options):
    files = sorted(glob.glob(os.path.join(SHARED, "data", pattern)))
    if not files:
        print(f"{name:16} no {pattern} below ../shared/data")
        return
    rows = refused = packed = plain = 0
    with tempfile.TemporaryDirectory() as folder:
        node = Node(folder, settings=["memory=" + MEMORY]).start()
        for path in files:
            # Runs of one set repeat units and times: each file is a device of its own.
            stem = os.path.basename(path).split(".")[0]
            own = options if "--device-name" not in options else [stem if o == "engine" else o for o in options]
            got = run_import(node, path, "t", own, folder)
            rows, refused = rows + got[0], refused + got[1]
            with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
                text = file.read()
            plain += len(text)
            packed += len(gzip.compress(text, 6))
        node.sql("VACUUM")
        stored = node.sql("SELECT count(*) FROM t")[0][0]
        columns = [row[0] for row in node.sql("DESCRIBE t") if row[0] not in ("time", "device", "quality", "received")]
        points = sum(node.sql("SELECT " + ", ".join(f'count("{c}")' for c in columns) + " FROM t")[0])
        size = parts_bytes(node)
        node.stop()
    print(f"{name:16} {len(files):3} files  {rows:6} rows  {stored:6} stored  {refused} refused  {points:7} values  {size / points:.3f} bytes a value; "
          f"gzip -6 of the CSV {packed / points:.3f}, the CSV {plain / points:.2f}", flush=True)


def main():
    print(f"commit {commit()}; {DEVICES} devices x {STEPS} rows of {COLUMNS} doubles, {RUNS} runs", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        by_time, by_device = write_files(folder)
        print(f"file {os.path.getsize(by_time) / 1e6:.0f} MB")
        speed("(a) in order of time", by_time)
        speed("(b) device by device", by_device)
    for one in SETS:
        real_set(*one)


main()
