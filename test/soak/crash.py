#!/usr/bin/python3
"""Crash, torn, failing and full disk and failing memory at every single call: `./dev soak crash`.

Runs the simulated-world programs (store, registry, whole node) with every n of each fault over several seeds, two
programs at a time. A program stops at its first failing case
and prints it: MILLRACE_SIM_CASE="SEED FAULT N" runs it again; it then belongs into the known cases of that test.

MILLRACE_SIM_SEEDS sets the seeds of each program at once, MILLRACE_TEST_SEED the first seed, MILLRACE_TEST_BUILD the build.
The last line of the output is the row for docs/soak.md.
"""
import concurrent.futures
import datetime
import os
import random
import re
import subprocess
import sys
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("MILLRACE_TEST_BUILD", os.path.join(ROOT, "build", "release"))
CALLS = re.compile(r"seed (\d+), fault (\d+): of (\d+) calls one in 1")

# program, seeds: about equal times. The node's workload has thousands of allocations.
PROGRAMS = [("store_sim_test", 20), ("persist_sim_test", 20), ("node_sim_test", 4)]


def run(program, seeds, first_seed):
    """Gives (program, cases, seconds, failure text or None)."""
    environment = dict(os.environ, MILLRACE_TEST_SEED=str(first_seed),
                       MILLRACE_SIM_SEEDS=os.environ.get("MILLRACE_SIM_SEEDS", str(seeds)))
    begin = time.monotonic()
    result = subprocess.run([os.path.join(BUILD, "src", program)], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    cases = sum(int(calls) for _, _, calls in CALLS.findall(result.stdout))
    failure = None if result.returncode == 0 else result.stdout[-2000:]
    return program, cases, time.monotonic() - begin, failure


def main():
    programs = [program for program, _ in PROGRAMS]
    subprocess.run(["ninja", "-C", BUILD, "--quiet", *(f"src/{program}" for program in programs)], check=True)
    seed = int(os.environ.get("MILLRACE_TEST_SEED", random.randrange(1, 2**31)))
    print(f"first seed {seed}, {BUILD}", flush=True)
    shown, failed = [], False
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [pool.submit(run, program, seeds, seed) for program, seeds in PROGRAMS]
        for job in concurrent.futures.as_completed(jobs):
            program, cases, seconds, failure = job.result()
            print(f"{program}: {cases} cases in {seconds:.0f} s: {'FAILED' if failure else 'passed'}", flush=True)
            if failure:
                print(failure)
                failed = True
            shown.append(f"{program} {cases:,} cases")
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True,
                            check=False).stdout.strip()
    print(f"| {datetime.date.today()} | `crash`, every call | {commit} | {seed} | {', '.join(sorted(shown))}; "
          f"{'FAILED' if failed else 'none failed'} |")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
