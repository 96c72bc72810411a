"""Claims about tools/check_modules.py: each rule of the layering is seen to catch a breach of it."""
import os
import subprocess

import pytest

SCRIPT = os.path.join(os.path.dirname(__file__), "..", "tools", "check_modules.py")
MODULES = "base:\nos: base\nnet: base os\ncli: base os net\n"


def check(tmp_path, files, modules=MODULES):
    """Runs the script on a tree made of `files`; gives (exit status, output)."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "modules.txt").write_text(modules)
    for path, text in files.items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    done = subprocess.run(["/usr/bin/python3", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


def test_a_tree_that_keeps_the_rules_passes(tmp_path):
    status, output = check(tmp_path, {
        "src/base/mem.h": "", "src/base/mem_priv.h": "", "src/base/mem.c": '#include "base/mem.h"\n#include "mem_priv.h"\n',
        "src/os/real.c": '#include <uv.h>\n#include "base/mem.h"\nlong f(void) { return clock_gettime(0, 0); }\n',
        "src/net/deep/part.c": '#include "base/mem.h"\n#include <millrace/driver.h>\n',
        "include/millrace/driver.h": "", "src/cli/main.c": '#include <unistd.h>\n#include "millrace/driver.h"\n'})
    assert status == 0, output


@pytest.mark.parametrize("path,line,complaint", [
    ("src/base/a.c", '#include "net/h.h"', "base may not include net"),
    ("src/net/a.c", '#include "os/x_priv.h"', "private to os"),
    ("src/net/a.c", '#include "os/absent.h"', "no such header"),
    ("src/net/a.c", "#include <uv.h>", "libuv stays"),
    ("src/net/a.c", "#include <pthread.h>", "threads and locks"),
    ("src/net/a.c", "#include <sys/socket.h>", "sockets belong"),
    ("src/net/a.c", "#include <fcntl.h>", "files and descriptors"),
    ("src/net/a.c", "long t(void) { return time(NULL); }", "clocks are read"),
    ("src/net/a.c", "int r(void) { return rand(); }", "randomness comes"),
    ("src/odd/a.c", "", "folder odd does not stand"),
])
def test_each_breach_is_named_with_its_place(tmp_path, path, line, complaint):
    status, output = check(tmp_path, {"src/net/h.h": "", "src/os/x_priv.h": "", path: "\n" + line + "\n"})
    assert status == 1
    assert f"{path}:{2 if line else 1}: " in output and complaint in output


def test_comments_strings_and_members_are_no_calls(tmp_path):
    status, output = check(tmp_path, {
        "src/net/a.c": '/* time(NULL) */ const char *s = "rand()"; long f(struct c *c) { return c->time() + uptime(); }\n'
                       '// #include <uv.h>\n/*\n#include <pthread.h>\n*/\n'})
    assert status == 0, output


def test_tests_and_fuzz_targets_may_include_anything(tmp_path):
    status, output = check(tmp_path, {
        "src/net/h.h": "", "src/base/a_test.c": '#include "net/h.h"\n#include <pthread.h>\n',
        "src/base/a_fuzz.c": '#include "net/h.h"\n'})
    assert status == 0, output


@pytest.mark.parametrize("modules,complaint", [
    ("base: os\nos: base\n", "cycle: base -> os -> base"), ("base: lost\n", "not declared"), ("base:\nbase:\n", "twice")])
def test_a_wrong_module_list_is_refused(tmp_path, modules, complaint):
    status, output = check(tmp_path, {}, modules)
    assert status == 1 and complaint in output
