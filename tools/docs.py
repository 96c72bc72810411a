#!/usr/bin/python3
"""docs.py - brings the generated parts of the documentation up to date; `./dev docs` after a release build.

usage: docs.py [--check] [--build DIR]
    --check: change nothing; fail and name the files that are out of date
    --build: where the programs lie (build/release)

A Markdown file of the project may hold
    <!-- generated: build/release/PROGRAM ARGUMENTS -->
    …
    <!-- end generated -->
What stands between is replaced by what the command prints. Only programs of build/release/ are run, so a document cannot run
anything else.
"""
import argparse
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
SECTION = re.compile(r"(<!-- generated: build/release/([\w-]+(?: [^\n]*?)?) -->\n).*?(<!-- end generated -->)", re.S)


def fill(match, build):
    """A section with its command's present output."""
    program, *arguments = shlex.split(match.group(2))
    done = subprocess.run([os.path.join(build, program), *arguments], cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, check=True)
    return match.group(1) + "\n" + done.stdout.decode("utf-8") + "\n" + match.group(3)


def documents():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"], cwd=ROOT,
                            stdout=subprocess.PIPE, check=True, text=True).stdout
    return [name for name in listed.splitlines() if os.path.exists(os.path.join(ROOT, name))]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    options = parser.parse_args()
    stale = []
    for name in documents():
        path = os.path.join(ROOT, name)
        with open(path, encoding="utf-8") as source:
            text = source.read()
        fresh = SECTION.sub(lambda match: fill(match, os.path.abspath(options.build)), text)
        if fresh == text:
            continue
        stale.append(name)
        if not options.check:
            with open(path, "w", encoding="utf-8") as out:
                out.write(fresh)
    for name in stale:
        print(f"{name}: {'out of date, run ./dev docs' if options.check else 'brought up to date'}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
