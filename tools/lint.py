#!/usr/bin/python3
"""lint.py - runs every check of the sources and says which complain; `./dev lint` after a debug build.

usage: lint.py --build DIR [--jobs N]      DIR: a configured build folder, for its compile_commands.json

The checks are the rows of `checks()`; each runs whatever the others found. clang-tidy takes seconds a file, so what was clean
is not given to it again (stamps in DIR/lint) until the file, a header that it includes, its compile command or .clang-tidy
changes. cppcheck does the like by itself (DIR/cppcheck).
"""
import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import re
import shlex
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
    return tracked("src/*.[ch]", "include/*.h", "plantsim/*.[ch]", "drivers/*.[ch]", "lib/*.[ch]", "test/*.[ch]")


def run(command):
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode == 0


# ---- clang-tidy, only over what changed ----

def compile_commands(build):
    """One compile command a source, without options that clang does not know. What the debug build leaves out (fuzz targets,
    tools of the tests) has a plain one."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        built = {os.path.realpath(os.path.join(one["directory"], one["file"])): one for one in json.load(file)}
    for path in (os.path.join(ROOT, name) for name in c_files() if name.endswith(".c")):
        entry = built.get(path, {"directory": ROOT, "command": f"cc -Isrc -Iinclude -std=gnu11 -D_GNU_SOURCE -c {path}"})
        words = [word for word in entry["command"].split(" ") if not word.startswith(("-W", "ccache"))]
        yield {**entry, "file": path, "command": " ".join(words)}


def dependencies(build):
    """What each object was compiled from, the system's headers included, as ninja noted at the build."""
    listed = subprocess.run(["ninja", "-C", build, "-t", "deps"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    found, files = {}, []
    for line in listed.stdout.splitlines():
        if line.startswith(" "):
            files.append(os.path.join(ROOT, build, line.strip()))
        elif ": #deps" in line:
            files = found[line.split(": #deps")[0]] = []
    return found


def asked_dependencies(entry):
    """The same of a source that was not built."""
    options = shlex.split(re.split(" -(?:MD|c) ", entry["command"])[0])
    rule = subprocess.run([*options, "-M", entry["file"]], cwd=entry["directory"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return [os.path.join(entry["directory"], name) for name in rule.replace("\\\n", " ").split()[1:]]


@functools.lru_cache(maxsize=None)
def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).digest()


def stamp_of(entry, built_from, common):
    digest = hashlib.sha256(common + entry["command"].encode())
    for path in built_from.get(entry.get("output")) or asked_dependencies(entry):
        digest.update(digest_of(path))
    return digest.hexdigest()


def tidy(folder, path, stamp):
    """Whether the file is clean; then its stamp is made."""
    done = subprocess.run(["clang-tidy", "--quiet", "-p", folder, path], cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, text=True)
    print(done.stdout, end="", flush=True)
    if done.returncode == 0:
        open(stamp, "w", encoding="utf-8").close()
    return done.returncode == 0


def check_tidy(options):
    stamps = os.path.join(ROOT, options.build, "lint")
    os.makedirs(stamps, exist_ok=True)
    commands, built_from = list(compile_commands(options.build)), dependencies(options.build)
    version = subprocess.run(["clang-tidy", "--version"], stdout=subprocess.PIPE, check=True).stdout
    common = version + digest_of(os.path.join(ROOT, ".clang-tidy"))
    due = [(entry["file"], os.path.join(stamps, stamp_of(entry, built_from, common))) for entry in commands]
    due = [(path, stamp) for path, stamp in due if not os.path.exists(stamp)]
    print(f"{len(due)} of {len(commands)} files are due", flush=True)
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(options.jobs) as workers:
        with open(os.path.join(folder, "compile_commands.json"), "w", encoding="utf-8") as out:
            json.dump(commands, out)
        return all(list(workers.map(lambda one: tidy(folder, *one), due)))


# ---- the others ----

def check_cppcheck(options):
    """Its exit code says nothing of what it finds across files, so any word of it is a complaint."""
    known = os.path.join(ROOT, options.build, "cppcheck")  # what it knows of files that have not changed
    os.makedirs(known, exist_ok=True)
    done = subprocess.run(["cppcheck", f"--cppcheck-build-dir={known}", "--quiet", "--enable=warning,performance,portability",
                           "--inline-suppr", "--std=c11", "--suppress=missingIncludeSystem",
                           "--suppress=normalCheckLevelMaxBranches", "--suppress=unknownMacro",
                           "--suppress=readdirCalled",  # readdir_r is obsolete (glibc 2.24)
                           "--library=posix", "-D_GNU_SOURCE", '-DMILLRACE_VERSION="0"', "-D__linux__", "-j", str(options.jobs),
                           "-Isrc", "-Iinclude", "src", "plantsim", "drivers", "lib", "test"],
                          cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, text=True)
    print(done.stderr, end="", flush=True)
    return done.returncode == 0 and not done.stderr


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
