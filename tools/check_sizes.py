#!/usr/bin/python3
"""check_sizes.py - holds the C sources to the size limits: they keep a file readable in one sitting and a function in one view.

usage: check_sizes.py [ROOT]      ROOT: the folder that holds src/ (default: the project)

A function over 100 lines or a file over 1,000 fails; over 60 and over 600 is a warning. A function that is one loop over a
table may be longer than 100 lines: it says so in a comment with the words "dispatch over a table", in it or just above it.
Functions are found by counting braces in text without comments, strings and preprocessor lines, so nothing need be installed;
the braces of `extern "C"`, structs and initialisers are told apart by what stands before them.
"""
import os
import re
import sys

FOLDERS = ("src", "include", "plantsim", "drivers", "lib")
FUNCTION_FAILS, FUNCTION_WARNS = 100, 60
FILE_FAILS, FILE_WARNS = 1000, 600
EXEMPT = "dispatch over a table"
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
FUNCTION_HEAD = re.compile(r"(\w+)\s*\([^=;]*\)\s*(?:__attribute__\s*\(\(.*?\)\)\s*)?$", re.S)


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def find_functions(text):
    """(name, first line, line count, exempt) of each function body at depth 0."""
    code = DIRECTIVE.sub(blank, NOT_CODE.sub(blank, text))
    depth, head_at, opened, name = 0, 0, 0, None
    for match in re.finditer(r"[{};]", code):
        at, sign = match.start(), match.group(0)
        if sign == "{":
            if depth == 0:
                found = FUNCTION_HEAD.search(code[head_at:at])
                name, opened = (found.group(1) if found else None), at
            depth += 1
        elif sign == "}":
            depth = max(0, depth - 1)
            if depth == 0:
                if name:
                    lines = code.count("\n", opened, at) + 1
                    yield name, code.count("\n", 0, opened) + 1, lines, EXEMPT in text[head_at:at]
                name, head_at = None, at + 1
        elif depth == 0:
            head_at = at + 1


def check_file(root, path):
    """(complaints, warnings) about one file."""
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as source:
        text = source.read()
    bad, warn = [], []
    lines = text.count("\n")
    if lines > FILE_WARNS:
        (bad if lines > FILE_FAILS else warn).append(f"{path}: {lines} lines (wanted {FILE_WARNS}, at most {FILE_FAILS})")
    for name, line, size, exempt in find_functions(text):
        if size > FUNCTION_WARNS and not exempt:
            (bad if size > FUNCTION_FAILS else warn).append(
                f"{path}:{line}: {name} has {size} lines (wanted {FUNCTION_WARNS}, at most {FUNCTION_FAILS})")
    return bad, warn


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    count, complaints, warnings = 0, [], []
    for folder in FOLDERS:
        for base, folders, files in os.walk(os.path.join(root, folder)):
            folders.sort()
            for name in sorted(files):
                if name.endswith((".c", ".h")):
                    count += 1
                    bad, warn = check_file(root, os.path.relpath(os.path.join(base, name), root))
                    complaints += bad
                    warnings += warn
    for line in warnings:
        print(f"warning: {line}")
    for line in complaints:
        print(line)
    print(f"check_sizes: {count} files, {len(complaints)} complaints, {len(warnings)} warnings")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
