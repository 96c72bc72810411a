#!/usr/bin/python3
"""run_fuzz.py - runs the fuzz targets and prints a table of executions and coverage; `./dev fuzz`.

usage: run_fuzz.py --build DIR [--jobs N] [TARGET] [SECONDS]      TARGET: by substring (all); SECONDS each (60)

A target is a program x_fuzz that Meson builds from x_fuzz.c. It starts from test/corpus/x/ (kept in the repository; with a
dictionary if test/corpus/x.dict exists) and from what earlier runs found, and writes new inputs to DIR/corpus/x/. The comment
    /* covers: src/module/part.c … */
in x_fuzz.c names the parser whose line coverage is printed. A finding leaves its input in DIR/findings/ and fails the run.
"""
import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
COVERS = re.compile(r"/\*\s*covers:\s*(.*?)\s*\*/", re.S)
WANTED_PERCENT = 80


def targets(build):
    """(name, program, sources that it covers) of each fuzz target."""
    listed = subprocess.run(["meson", "introspect", "--targets", build], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    for target in json.loads(listed):
        if not target["name"].endswith("_fuzz"):
            continue
        sources = [s for group in target["target_sources"] for s in group.get("sources", [])]
        covers = []
        for source in sources:
            with open(source, encoding="utf-8") as text:
                covers += [name for match in COVERS.finditer(text.read()) for name in match.group(1).split() if name != "*"]
        yield target["name"], target["filename"][0], covers


def coverage(program, profile, covers):
    """{source: percent of lines}; empty when the run left no profile."""
    if not covers or not os.path.exists(profile):
        return {}
    merged = profile + ".merged"
    subprocess.run(["llvm-profdata", "merge", "-sparse", profile, "-o", merged], check=True)
    told = subprocess.run(["llvm-cov", "export", "-summary-only", f"-instr-profile={merged}", program],
                          stdout=subprocess.PIPE, check=True).stdout
    lines = {os.path.relpath(os.path.realpath(f["filename"]), ROOT): f["summary"]["lines"]["percent"]
             for f in json.loads(told)["data"][0]["files"]}
    return {source: lines.get(source, 0.0) for source in covers}


def run_target(build, target, seconds):
    """Runs one target; gives its row of the table."""
    name, program, covers = target
    short = name.removesuffix("_fuzz")
    own = os.path.join(build, "corpus", short)
    findings = os.path.join(build, "findings", "")
    profile = os.path.join(build, "profiles", short)
    for folder in (own, findings, os.path.dirname(profile)):
        os.makedirs(folder, exist_ok=True)
    if os.path.exists(profile):
        os.unlink(profile)
    kept = os.path.join(ROOT, "test", "corpus", short)
    command = [program, own, *([kept] if os.path.isdir(kept) else []), f"-max_total_time={seconds}", "-print_final_stats=1",
               "-rss_limit_mb=2048", "-timeout=20", f"-artifact_prefix={findings}{short}-"]
    if os.path.exists(kept + ".dict"):
        command.append(f"-dict={kept}.dict")
    log_path = os.path.join(build, "findings", f"{short}.log")
    with open(log_path, "wb") as log:
        status = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
                                env=dict(os.environ, LLVM_PROFILE_FILE=profile)).returncode
    with open(log_path, encoding="utf-8", errors="replace") as log:
        text = log.read()
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", text))
    return {"name": short, "status": status, "text": text, "covers": covers,
            "executions": int(stats.get("number_of_executed_units", 0)),
            "rate": int(stats.get("average_exec_per_sec", 0)), "lines": coverage(program, profile, covers)}


def print_row(row, seconds):
    lines = ", ".join(f"{source} {percent:.1f} %{'' if percent >= WANTED_PERCENT else ' (below 80)'}"
                      for source, percent in sorted(row["lines"].items()))
    if not row["covers"]:
        lines = "names no parser: add /* covers: src/… */"
    print(f"{row['name']:<20} {seconds:>7} {row['executions']:>12} {row['rate']:>10}  "
          f"{'FINDING' if row['status'] else 'none':<8} {lines or '-'}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    numbers = [w for w in options.words if w.isdigit()]
    names = [w for w in options.words if not w.isdigit()]
    if len(numbers) > 1 or len(names) > 1:
        parser.error("one TARGET and one number of SECONDS at most")
    seconds = int(numbers[0]) if numbers else 60
    known = list(targets(build))
    chosen = [t for t in known if not names or names[0] in t[0]]
    if not chosen:
        print(f"no fuzz target{' ' + names[0] if names else ''}; there are: {' '.join(t[0] for t in known) or 'none'}",
              file=sys.stderr)
        return 2
    if subprocess.run(["ninja", "-C", build, "-j", str(options.jobs), "--quiet",
                       *(os.path.relpath(t[1], build) for t in chosen)], check=False).returncode != 0:
        return 1
    print(f"{'target':<20} {'seconds':>7} {'executions':>12} {'per second':>10}  {'findings':<8} line coverage")
    found = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for row in pool.map(lambda t: run_target(build, t, seconds), chosen):
            print_row(row, seconds)
            if row["status"]:
                found.append(row)
    for row in found:
        print(f"\n==== {row['name']} (input in {options.build}/findings/)\n" + "\n".join(row["text"].splitlines()[-60:]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
