"""The public sets of ../shared/data, where they are (MILLRACE_SHARED names another folder), as rows for any database: time in
seconds, one device a file or unit, numbers as they stand in the files. Columns that are no numbers are left out."""
import calendar
import csv
import glob
import gzip
import io
import os
import re
import time

START = 1_577_836_800  # 2020-01-01, for what has no time of its own


def text_of(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig") as file:
        return file.read()


def seconds(text):
    return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


class PublicSet:
    """`rows`: (seconds, device, [number as text, …]) in order of time within a device."""
    def __init__(self, name, columns, rows):
        self.name, self.columns, self.rows = name, columns, rows

    def values(self):
        return len(self.rows) * self.columns

    def bodies(self, style, size=10_000):
        for first in range(0, len(self.rows), size):
            lines = []
            for stamp, device, values in self.rows[first:first + size]:
                if style == "line":
                    lines.append(f"sensors,device={device} " + ",".join(f"f{c}={v}" for c, v in enumerate(values)) + f" {stamp}")
                else:
                    lines.append("\t".join([str(stamp), device, *values]))
            yield ("\n".join(lines) + "\n").encode(), len(lines)


def skab(folder):
    rows = []
    for path in sorted(glob.glob(os.path.join(folder, "skab", "*.csv.gz"))):
        device = os.path.basename(path).split(".")[0]
        found = {}  # one value a moment: the last, as a store keeps it
        for row in csv.reader(io.StringIO(text_of(path)), delimiter=";"):
            if row[0] != "datetime":
                found[seconds(row[0])] = row[1:9]
        rows += [(stamp, device, values) for stamp, values in sorted(found.items())]
    return PublicSet("SKAB", 8, rows)


def cmapss(folder):
    rows = []
    for kind in ("train", "test"):
        path = os.path.join(folder, "cmapss_fd001", f"{kind}_FD001.txt.gz")
        for line in text_of(path).splitlines() if os.path.exists(path) else []:
            unit, cycle, *values = line.split()
            rows.append((START + int(cycle), f"{kind}{unit}", values))
    return PublicSet("C-MAPSS FD001", 24, rows)


def nab(folder):
    rows = []
    for path in sorted(glob.glob(os.path.join(folder, "nab", "*.csv"))):
        found = {}
        for stamp, value in list(csv.reader(io.StringIO(text_of(path))))[1:]:
            found[seconds(stamp)] = [value]
        rows += [(stamp, re.sub(r"_.*", "", os.path.basename(path)), values) for stamp, values in sorted(found.items())]
    return PublicSet("NAB", 1, rows)


def ai4i(folder):
    path = os.path.join(folder, "ai4i2020", "ai4i2020.csv")
    table = list(csv.reader(io.StringIO(text_of(path))))[1:] if os.path.exists(path) else []
    return PublicSet("AI4I 2020", 11, [(START + i, "mill", row[3:14]) for i, row in enumerate(table)])


def public_sets(folder):
    return [one for one in (make(folder) for make in (skab, cmapss, nab, ai4i)) if one.rows]
