#!/usr/bin/python3
"""An idle node: `./dev bench idle`. Memory 60 s after ready and one login, size of the stripped program, time to ready."""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from programs import BUILD, Node, commit  # noqa: E402

WAIT_S = int(os.environ.get("MILLRACE_IDLE_SECONDS", "60"))


def main():
    print(f"commit {commit()}, {WAIT_S} s after ready")
    with tempfile.TemporaryDirectory() as folder:
        node = Node(folder).start()
        first = node.ready_s
        node.stop()
        node.start()
        second = node.ready_s
        node.call("POST", "/v1/login", b'{"user":"admin","password":"bench-password"}')
        node.call("GET", "/")
        time.sleep(WAIT_S)
        rss, peak, cpu = node.memory("VmRSS"), node.memory("VmHWM"), node.cpu()
        node.stop()
        stripped = os.path.join(folder, "millrace")
        subprocess.run(["strip", "-o", stripped, os.path.join(BUILD, "millrace")], check=True)
        size = os.path.getsize(stripped)
    print(f"ready, first start   {first:.3f} s   (budget 2)")
    print(f"ready, second start  {second:.3f} s   (budget 0.5)")
    print(f"VmRSS                {rss / 1024:.1f} MiB (budget 16), peak {peak / 1024:.1f} MiB")
    print(f"stripped program     {size / 1048576:.2f} MiB (budget 8)")
    print(f"CPU while idle       {cpu:.2f} s in {WAIT_S} s")


main()
