"""Claims about how tools/run_tests.py counts, so that a test that was not seen to pass is never counted as passed."""
import importlib.util
import os
import sys

import pytest

from conftest import ROOT


@pytest.fixture
def runner(monkeypatch):
    spec = importlib.util.spec_from_file_location("run_tests", os.path.join(ROOT, "tools", "run_tests.py"))
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "run_tests", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("status,output,counted", [
    (0, "1..2\nok 1 - a\nok 2 - b\n", (2, 0, [])),
    (1, "1..2\nok 1 - a\nnot ok 2 - b\n", (1, 1, [])),
    (0, "1..2\nok 1 - a\n# skip: no device\nnot ok 2 # SKIP b\n", (1, 0, ["no device"])),
    (0, "1..1\nnot ok 1 # SKIP b\n", (0, 0, ["b gave no reason"])),
    (-11, "1..3\nok 1 - a\n", (1, 2, [])),                    # crashed: what did not report has failed
    (None, "1..1\n", (0, 1, [])),                             # out of time
    (1, "1..1\nok 1 - a\nLeakSanitizer: detected\n", (1, 1, [])),
    (127, "", (0, 1, [])),                                    # did not even start
    (0, "1..1\nok 1 - a\n1..1\nok 1 - b\n", (2, 0, [])),      # two groups in one program
])
def test_unit_programs_are_counted_by_case(runner, status, output, counted):
    assert runner.count_tap(status, output) == counted


def junit(tmp_path, cases, failures=0, errors=0):
    path = tmp_path / "report.xml"
    path.write_text(f'<testsuites><testsuite failures="{failures}" errors="{errors}">{cases}</testsuite></testsuites>')
    return str(path)


def test_pytest_is_counted_by_its_report(runner, tmp_path):
    report = junit(tmp_path, '<testcase/><testcase><failure/></testcase>'
                   '<testcase><skipped type="pytest.skip" message="no device"/></testcase>', failures=1)
    assert runner.count_pytest(1, report) == (1, 1, ["no device"])


@pytest.mark.parametrize("status", [2, 3, 4, -9, None])
def test_a_pytest_that_broke_off_has_failed(runner, tmp_path, status):
    assert runner.count_pytest(status, junit(tmp_path, "<testcase/>"))[1] == 1


def test_a_skip_for_an_unknown_reason_has_failed(runner):
    tally = runner.Tally(10)
    tally.skipped = ["no device", "no privilege to make a network namespace", "it rains", "it rains"]
    runner.judge_skips(tally)
    assert (tally.failed, len(tally.skipped)) == (2, 2)


@pytest.mark.parametrize("status,output,may", [
    (1, "E  assert 2 <= 1\n", True),
    (1, "==7==ERROR: AddressSanitizer: heap-use-after-free\n", False),
    (1, "x.c:3:5: runtime error: signed integer overflow\n", False),
    (1, "E  Failed: millrace ended with status -6\n", False),
    (1, "millrace: src/x.c:7: broken invariant: n > 0\n", False),
    (1, 'MILLRACE_SIM_CASE="1 3 1869"\n', False),
    (-13, "", False),
    (None, "", False),
])
def test_what_a_machine_cannot_be_blamed_for_is_never_run_again(runner, status, output, may):
    assert runner.may_run_again(status, output) is may


@pytest.mark.parametrize("second,left", [((0, "", (1, 0, [])), (1, 0)), ((1, "why", (0, 1, [])), (0, 1))])
def test_a_failure_is_put_right_only_by_passing_alone(runner, capsys, second, left):
    tally = runner.Tally(10)
    tally.add(0, 1, [])
    tally.again = [("test/test_x.py::test_y", (0, 1, []), lambda: second)]
    runner.run_again(tally)
    assert (tally.passed, tally.failed) == left
    assert ("unsteady test/test_x.py::test_y" in capsys.readouterr().out) is (left == (1, 0))


def test_many_failures_are_not_run_again(runner):
    tally = runner.Tally(10)
    tally.add(0, 5, [])
    tally.again = [(f"test/test_x.py::test_{i}", (0, 1, []), lambda: (0, "", (1, 0, []))) for i in range(5)]
    runner.run_again(tally)
    assert (tally.passed, tally.failed) == (0, 5)


def test_the_tests_that_failed_are_known_by_name(runner, tmp_path):
    report = junit(tmp_path, '<testcase name="a"/><testcase name="b[1]"><failure/></testcase>'
                   '<testcase name="c"><failure/></testcase><testcase name="c"><error/></testcase>', failures=2, errors=1)
    assert runner.failed_tests("test/test_x.py", report) == ["test/test_x.py::b[1]", "test/test_x.py::c"]
