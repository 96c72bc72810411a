#!/usr/bin/python3
"""docs.py - brings the generated parts of the documentation up to date; `./dev docs` after a release build.

usage: docs.py [--check]      --check: change nothing; fail and name the files that are out of date

A Markdown file of the project may hold
    <!-- generated: build/release/PROGRAM ARGUMENTS -->
    …
    <!-- end generated -->
What stands between is replaced by what the command prints. Only programs of build/release/ are run, so a document cannot run
anything else.
"""
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
SECTION = re.compile(r"(<!-- generated: (build/release/[\w-]+(?: [^\n]*?)?) -->\n).*?(<!-- end generated -->)", re.S)


def fill(match):
    done = subprocess.run(shlex.split(match.group(2)), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return match.group(1) + "\n" + done.stdout.decode("utf-8") + "\n" + match.group(3)


def documents():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"], cwd=ROOT,
                            stdout=subprocess.PIPE, check=True, text=True).stdout
    return [name for name in listed.splitlines() if os.path.exists(os.path.join(ROOT, name))]


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        print("usage: docs.py [--check]", file=sys.stderr)
        return 2
    stale = []
    for name in documents():
        path = os.path.join(ROOT, name)
        with open(path, encoding="utf-8") as source:
            text = source.read()
        fresh = SECTION.sub(fill, text)
        if fresh == text:
            continue
        stale.append(name)
        if not check:
            with open(path, "w", encoding="utf-8") as out:
                out.write(fresh)
    for name in stale:
        print(f"{name}: {'out of date, run ./dev docs' if check else 'brought up to date'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
