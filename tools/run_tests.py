#!/usr/bin/python3
"""run_tests.py - runs Millrace's tests and counts them; `./dev test` after the build.

usage: run_tests.py --build DIR --seed N --limit SECONDS -- [NAME…]

Order: the include rules (nothing else is worth a look while they are broken), then the unit test programs that Meson knows and,
beside them, pytest on each file of test/. Each cmocka test case and each pytest item counts as one. NAME selects by substring of a unit test
program's name or of a pytest id. The last line printed is `N passed, N failed`, with `, N skipped` if there were any.

What must hold: a test that is not seen to pass has failed. So a program that crashes, runs out of time or plans more cases
than it reports adds a failure, a skip whose reason does not begin like a line of test/skips.txt is a failure, and so is a
selection that matches nothing.
A test that fails while others run beside it is run once more alone at the end, because two cores are sometimes late for a test
that watches the time: it has passed if it passes then, and is named as `unsteady`, below its output. Never run again are: what a
sanitizer or a broken invariant ended, what crashed or ran out of time, a case of the simulated world (whose clock is its own), and
more than MOST_AGAIN failures.
A unit test says why it skips by printing `# skip: REASON` before cmocka's skip().
"""
import argparse
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
TAP_CASE = re.compile(r"^(not ok|ok) (\d+)( # SKIP| -) (.*)$")
UNIT_LIMIT_S = 300
MOST_AGAIN = 4
NEVER_AGAIN = re.compile(r"Sanitizer|runtime error:|ended with status|broken invariant|MILLRACE_SIM_CASE")
TEST_LIMIT_S = 200  # of one test of pytest that does not say more
LONG_FILES = {f"test_{name}.py" for name in ("modbus_interop", "mqtt_wills", "mqtt_peers", "mqtt_queue", "mqtt_bridge", "mqtt_damage", "jwt",
                                             "mqtt_random_queues", "pack")}


class Tally:
    """What has happened so far, and the seconds that are left. Whoever adds or prints holds `lock`."""

    def __init__(self, limit_s):
        self.passed = self.failed = 0
        self.skipped = []  # reasons
        self.again = []  # (name, failures counted, function that runs it alone and gives (status, output, counted))
        self.deadline = time.monotonic() + limit_s
        self.lock = threading.Lock()

    def left_s(self):
        return max(1.0, self.deadline - time.monotonic())

    def add(self, passed, failed, skipped):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped


def run_limited(command, env, limit_s):
    """Runs `command` in a group of its own; gives (exit status or None on time-out, output)."""
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True, restore_signals=False)  # SIGPIPE stays ignored, as in the program
    try:
        output, _ = process.communicate(timeout=limit_s)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        status = None
    return status, output.decode("utf-8", "replace")


def test_environment(options):
    """The environment that every test gets."""
    return dict(os.environ, MILLRACE_TEST_SEED=str(options.seed), MILLRACE_TEST_BUILD=os.path.abspath(options.build),
                CMOCKA_MESSAGE_OUTPUT="TAP", ASAN_OPTIONS="detect_leaks=1:abort_on_error=0",
                UBSAN_OPTIONS="print_stacktrace=1", TSAN_OPTIONS=f"halt_on_error=1:suppressions={ROOT}/tools/tsan.supp", PYTHONDONTWRITEBYTECODE="1")


def count_tap(status, output):
    """Counts a unit program's TAP output as (passed, failed, skip reasons)."""
    plan, passed, failed, skipped, reason = None, 0, 0, [], None
    for line in output.splitlines():
        case = TAP_CASE.match(line)
        if re.match(r"^1\.\.\d+$", line):
            plan = (plan or 0) + int(line[3:])
        elif line.startswith("# skip: "):
            reason = line[8:]
        elif case and "SKIP" in case.group(3):
            skipped.append(reason or f"{case.group(4)} gave no reason")
            reason = None
        elif case:
            passed += case.group(1) == "ok"
            failed += case.group(1) != "ok"
    missing = (plan or 0) - passed - failed - len(skipped)
    if plan is None or missing > 0:
        failed += max(1, missing)
    elif status != 0 and failed == 0:
        failed += 1  # a leak found at exit, say
    return passed, failed, skipped


def run_modules(tally, options):
    status, output = run_limited([sys.executable, "tools/check_modules.py"], dict(os.environ), tally.left_s())
    print(output, end="")
    tally.add(status == 0, status != 0, [])
    return status == 0


def unit_programs(options):
    """(name, command) of the unit tests that Meson knows and the names select."""
    listed = subprocess.run(["meson", "introspect", "--tests", options.build], cwd=ROOT, check=True,
                            stdout=subprocess.PIPE).stdout
    tests = [(t["name"], t["cmd"]) for t in json.loads(listed) if "unit" in " ".join(t["suite"])]
    return [t for t in tests if not options.names or any(n in t[0] for n in options.names)]


def run_unit(tally, options):
    """All selected unit programs: half as many at a time as there are cores, and niced, as they only compute while the tests of
    running nodes watch the time."""
    env = test_environment(options)

    def run_alone(test):
        status, output = run_limited(["nice", "-n", "5", *test[1]], env, min(UNIT_LIMIT_S, tally.left_s()))
        return status, output, count_tap(status, output)

    def run_one(test):
        began = time.monotonic()
        status, output, counted = run_alone(test)
        if counted[1] and may_run_again(status, output):
            with tally.lock:
                tally.again.append((test[0], counted, lambda: run_alone(test)))
        return test[0], status, output, counted, time.monotonic() - began

    with concurrent.futures.ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2)) as pool:
        for name, status, output, counted, took_s in pool.map(run_one, unit_programs(options)):
            tell(tally, name, status, output, counted, took_s)


def may_run_again(status, output):
    """Whether a failure may be the machine's: see above."""
    return status is not None and 0 <= status <= 125 and not NEVER_AGAIN.search(output)


def run_again(tally):
    """Runs what failed once more, one at a time, and puts it right in `tally` if it passes."""
    if len(tally.again) > MOST_AGAIN:
        return
    for name, before, run_alone in tally.again:
        status, output, counted = run_alone()
        if status == 0 and not counted[1]:
            tally.add(counted[0] - before[0], -before[1], counted[2][len(before[2]):])
            print(f"unsteady {name}: failed beside other tests (above), passed alone")
        else:
            print(f"{output}\nFAILED {name}: alone, too")
        sys.stdout.flush()


def tell(tally, name, status, output, counted, took_s):
    """Counts (passed, failed, skip reasons) of one program or file and prints its line, and its output if it failed."""
    with tally.lock:
        tally.add(*counted)
        if counted[1]:
            print(output, end="" if output.endswith("\n") else "\n")
            print(f"FAILED {name}: {'out of time' if status is None else f'exit status {status}'}")
        elif counted[0] or counted[2]:
            print(f"ok     {name} ({counted[0]}, {took_s:.1f} s)")
        sys.stdout.flush()


def skip_reason(element):
    """pytest's reason for one skip, without its place."""
    return (element.get("message") or "no reason").removeprefix("Skipped: ")


def run_pytest(tally, options):
    """The files of test/, some at a time: each is a pytest of its own, whose output is shown if it failed."""
    files = sorted(f for f in os.listdir(os.path.join(ROOT, "test")) if f.startswith("test_") and f.endswith(".py"))

    def run_items(items, selected):
        """pytest on files or tests: (exit status, output, counted, {test that failed: (0, 1, [])})."""
        with tempfile.TemporaryDirectory() as folder:
            report = os.path.join(folder, "report.xml")
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_LIMIT_S}", f"--junitxml={report}",
                       *items]
            for name in selected:
                command += ["--select", name]
            status, output = run_limited(command, test_environment(options), tally.left_s())
            return status, output, count_pytest(status, report), failed_tests(items[0].split("::")[0], report)

    def run_one(file):
        began = time.monotonic()
        status, output, counted, failed = run_items([os.path.join("test", file)], options.names)
        if len(failed) == counted[1] and may_run_again(status, output):
            with tally.lock:
                tally.again += [(test, (0, 1, []), lambda test=test: run_items([test], [])[:3]) for test in failed]
        tell(tally, file, status, output, counted, time.monotonic() - began)

    # The longest ones first, so that no core waits for the last of them: those known to be long, then the largest. Two more at a
    # time than there are cores, because a test of running nodes waits for most of its time.
    files.sort(key=lambda f: (f not in LONG_FILES, -os.path.getsize(os.path.join(ROOT, "test", f))))
    with concurrent.futures.ThreadPoolExecutor((os.cpu_count() or 1) + 2) as pool:
        list(pool.map(run_one, files))


def failed_tests(file, report):
    """pytest's names of the tests of one file that failed, each once."""
    if not os.path.exists(report):
        return []
    cases = xml.etree.ElementTree.parse(report).getroot().iter("testcase")
    return list(dict.fromkeys(f"{file}::{c.get('name')}" for c in cases if c.find("failure") is not None or c.find("error") is not None))


def count_pytest(status, report):
    """(passed, failed, reasons of skips) of one file."""
    if status is None or not os.path.exists(report):
        return 0, 1, []
    suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    bad = int(suite.get("failures")) + int(suite.get("errors"))
    skips = [skip_reason(e) for e in suite.iter("skipped") if e.get("type") == "pytest.skip"]
    passed = sum(1 for case in suite.iter("testcase")
                 if all(case.find(t) is None for t in ("failure", "error", "skipped")))
    if status not in (0, 1, 5) and not bad:
        bad = 1  # interrupted or broken: 5 is "no test selected"
    return passed, bad, skips


def judge_skips(tally):
    """Prints each reason once; reasons that test/skips.txt does not know are failures."""
    with open(os.path.join(ROOT, "test", "skips.txt"), encoding="utf-8") as lines:
        known = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for reason in sorted(set(tally.skipped)):
        count = tally.skipped.count(reason)
        expected = any(reason.startswith(k) for k in known)
        print(f"skipped {count}: {reason}{'' if expected else ' (not in test/skips.txt: counted as failed)'}")
        if not expected:
            tally.failed += count
            tally.skipped = [r for r in tally.skipped if r != reason]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--limit", type=float, required=True)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    tally = Tally(options.limit)
    print(f"seed {options.seed} (replay with ./dev test --seed {options.seed})")
    if run_modules(tally, options):
        with concurrent.futures.ThreadPoolExecutor(2) as both:
            for done in [both.submit(run_unit, tally, options), both.submit(run_pytest, tally, options)]:
                done.result()
        run_again(tally)
        if options.names and tally.passed + tally.failed + len(tally.skipped) == 1:
            print(f"no test matches {' '.join(options.names)}")
            tally.failed += 1
    judge_skips(tally)
    skipped = f", {len(tally.skipped)} skipped" if tally.skipped else ""
    print(f"{tally.passed} passed, {tally.failed} failed{skipped}")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
