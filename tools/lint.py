#!/usr/bin/python3
"""lint.py - runs every check of the sources and says which complain; `./dev lint` after a debug build.

usage: lint.py --build DIR [--jobs N]      DIR: a configured build folder, for its compile_commands.json

The checks are the rows of `checks()`; each runs whatever the others found. What has not changed since it was last clean is
not given to clang-tidy again (stamps in DIR/lint), because it takes seconds a file.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))


def tracked(*patterns):
    """Files of the project by git's patterns, those not yet added included."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns], cwd=ROOT,
                            stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    return [name for name in listed if os.path.exists(os.path.join(ROOT, name))]


def c_files():
    return tracked("src/*.[ch]", "include/*.h", "plantsim/*.[ch]", "drivers/*.[ch]", "lib/*.[ch]")


def run(command):
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode == 0


# ---- clang-tidy, only over what changed ----

def headers_digest():
    """One digest of all headers and the configuration: a change there makes every file due."""
    digest = hashlib.sha256()
    for name in sorted(n for n in c_files() if n.endswith(".h")) + [".clang-tidy"]:
        with open(os.path.join(ROOT, name), "rb") as source:
            digest.update(name.encode() + b"\0" + source.read())
    return digest.digest()


def due_for_tidy(build, stamps):
    """(file, stamp) of the compiled sources whose stamp is not there."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        compiled = {os.path.realpath(os.path.join(c["directory"], c["file"])) for c in json.load(file)}
    common = headers_digest()
    for path in sorted(p for p in compiled if p.startswith(ROOT + os.sep)):
        with open(path, "rb") as source:
            stamp = hashlib.sha256(common + path.encode() + b"\0" + source.read()).hexdigest()
        if not os.path.exists(os.path.join(stamps, stamp)):
            yield path, stamp


def without_gcc_options(build, folder):
    """A copy of the compile commands without warning options that clang does not know."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    for entry in commands:
        entry["command"] = " ".join(word for word in entry["command"].split(" ") if not word.startswith(("-W", "ccache")))
    with open(os.path.join(folder, "compile_commands.json"), "w", encoding="utf-8") as out:
        json.dump(commands, out)


def check_tidy(options):
    stamps = os.path.join(options.build, "lint")
    os.makedirs(stamps, exist_ok=True)
    due = list(due_for_tidy(options.build, stamps))
    with tempfile.TemporaryDirectory() as folder:
        without_gcc_options(options.build, folder)
        good = True
        for first in range(0, len(due), options.jobs):
            running = [(stamp, subprocess.Popen(["clang-tidy", "--quiet", "-p", folder, path], cwd=ROOT,
                                                stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL))
                       for path, stamp in due[first:first + options.jobs]]
            for stamp, process in running:
                if process.wait() == 0:
                    open(os.path.join(stamps, stamp), "w", encoding="utf-8").close()
                else:
                    good = False
    return good


# ---- the others ----

def check_cppcheck(options):
    return run(["cppcheck", "--quiet", "--enable=warning,performance,portability", "--inline-suppr", "--std=c11",
                "--error-exitcode=1", "--suppress=missingIncludeSystem", "--suppress=normalCheckLevelMaxBranches",
                "--suppress=unknownMacro", "--suppress=readdirCalled",  # readdir_r is obsolete (glibc 2.24)
                "--library=posix", "-D_GNU_SOURCE", '-DMILLRACE_VERSION="0"', "-D__linux__", "-j",
                str(options.jobs), "-Isrc", "-Iinclude", "src", "plantsim"])


def check_shell(_options):
    scripts = ["dev", ".ci/run"] + tracked("tools/*.sh", "test/*.sh")
    return not shutil.which("shellcheck") or run(["shellcheck", *scripts])


def checks(options):
    """name, check: every row runs."""
    return [
        ("include rules", lambda: run([sys.executable, "tools/check_modules.py"])),
        ("size limits", lambda: run([sys.executable, "tools/check_sizes.py"])),
        ("clang-format", lambda: run(["clang-format", "--dry-run", "-Werror", *c_files()])),
        ("cppcheck", lambda: check_cppcheck(options)),
        ("clang-tidy", lambda: check_tidy(options)),
        ("shellcheck", lambda: check_shell(options)),
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    failed = []
    for name, check in checks(options):
        print(f"== {name}", flush=True)
        if not check():
            failed.append(name)
    print(f"lint: {'complaints of ' + ', '.join(failed) if failed else 'clean'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
