#!/usr/bin/python3
"""Number conversion against libc on 10^8 values: `./dev soak numbers`.

Runs the unit test of src/base/num.c from the release build with the full count and a fresh, printed seed.
"""
import os
import random
import subprocess
import sys

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))


def main():
    build = os.path.join(ROOT, "build", "release")
    subprocess.run(["ninja", "-C", build, "src/num_test"], check=True, stdout=subprocess.DEVNULL)
    count = os.environ.get("MILLRACE_NUMBERS", "100000000")
    seed = os.environ.get("MILLRACE_TEST_SEED", str(random.getrandbits(32)))
    print(f"{count} values each way, seed {seed}", flush=True)
    return subprocess.run([os.path.join(build, "src", "num_test")],
                          env=dict(os.environ, MILLRACE_NUMBERS=count, MILLRACE_TEST_SEED=seed), check=False).returncode


sys.exit(main())
