#!/usr/bin/python3
"""check_modules.py - checks every #include and world-touching call in src/ against src/modules.txt.

usage: check_modules.py [ROOT]      ROOT: the folder that holds src/ (default: the project)

Why a script of its own: the layering is the project's skeleton, and a compiler does not see it. It runs as the first test,
so a wrong include fails before anything else does.

What must hold:
- modules.txt is acyclic, names only modules that it declares, and every folder of src/ stands in it;
- a project header is written "module/part/x.h" from src/ (or "x.h" beside the file), exists, and its module is in the list;
- `_priv.h` is included only inside its module;
- the world is reached through os/ and loop/: the rows of `RESERVED` name the headers and calls that only some modules use.
Tests (x_test.c, x_fuzz.c and x_testlib.[ch]) may include anything of the project; they are no part of the layers.
"""
import os
import re
import sys

# What is reserved: pattern of header or call, modules that may use it, why. Calls are matched in code without comments
# and strings.
RESERVED_HEADERS = [
    (r"uv\.h", {"os", "loop"}, "libuv stays behind os and loop"),
    (r"(pthread|threads|semaphore)\.h", {"os", "loop"}, "threads and locks exist in os and loop only"),
    (r"sys/(socket|un|epoll|eventfd|timerfd)\.h|netinet/.*|arpa/inet\.h|netdb\.h|poll\.h", {"os", "loop"},
     "sockets belong to os"),
    (r"fcntl\.h|unistd\.h|dirent\.h|sys/(stat|file|uio|mman)\.h|termios\.h", {"os", "cli"},
     "files and descriptors belong to os (the command line has its terminal)"),
]
RESERVED_CALLS = [
    (r"clock_gettime|gettimeofday|time|clock|timespec_get|nanosleep|usleep|sleep|clock_nanosleep", {"os", "loop"},
     "clocks are read by os and loop; ask the context's clock"),
    (r"pthread_\w+|thrd_\w+|mtx_\w+|uv_\w+", {"os", "loop"}, "threads exist in os and loop only"),
    (r"getrandom|getentropy|rand|srand|random|arc4random\w*", {"os"}, "randomness comes from os"),
]
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def read_modules(path):
    """modules.txt as {module: set of modules it may include}, and the complaints about the file itself."""
    allowed, errors = {}, []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.split("#", 1)[0].strip()
            if not line:
                continue
            name, colon, rest = line.partition(":")
            if not colon or name in allowed:
                errors.append(f"{path}:{number}: not 'module: modules', or named twice")
                continue
            allowed[name] = set(rest.split())
    for name, others in allowed.items():
        for other in sorted(others - set(allowed)):
            errors.append(f"{path}: {name} may include {other}, which is not declared")
    errors += [f"{path}: cycle: {' -> '.join(cycle)}" for cycle in find_cycles(allowed)]
    return allowed, errors


def find_cycles(allowed):
    """One path for each cycle met in a depth-first walk."""
    done, cycles = set(), []

    def walk(name, path):
        if name in path:
            cycles.append(path[path.index(name):] + [name])
        elif name not in done and name in allowed:
            for other in sorted(allowed[name]):
                walk(other, path + [name])
            done.add(name)

    for name in sorted(allowed):
        walk(name, [])
    return cycles


def blank_comments(text, strings):
    """Blanks comments, and strings too if asked, keeping line breaks so that line numbers stay true."""
    def blank(match):
        piece = match.group(0)
        return re.sub(r"[^\n]", " ", piece) if piece[0] == "/" or strings else piece
    return NOT_CODE.sub(blank, text)


def is_test(name):
    return re.search(r"_(test|fuzz|testlib)\.[ch]$", name) is not None


def is_generated(src, module, header):
    """Does the module's own meson.build make this header?"""
    build = os.path.join(src, module, "meson.build")
    if not os.path.isfile(build):
        return False
    with open(build, encoding="utf-8") as file:
        return f"output: '{header}'" in file.read()


def check_project_include(src, path, module, header, allowed):
    """The complaint about a quoted include of `path` (below src), or None."""
    beside = os.path.normpath(os.path.join(os.path.dirname(path), header))
    target = next((t for t in (beside, header, os.path.join("..", "include", header))
                   if os.path.isfile(os.path.join(src, t))), None)
    if target is None and is_generated(src, module, header):
        return None
    if target is None:
        return f'"{header}": no such header of the project'
    if target.startswith(".."):
        return None  # include/millrace/*.h: published interfaces, open to all
    owner = target.split(os.sep)[0]
    if owner == module:
        return None
    if target.endswith("_priv.h"):
        return f'"{header}" is private to {owner}'
    if owner not in allowed.get(module, set()):
        return f'"{header}": {module} may not include {owner} (src/modules.txt)'
    return None


def check_reserved(path, module, code, text):
    """Complaints about reserved headers and calls as (offset, message)."""
    for match in INCLUDE.finditer(text):
        for pattern, modules, why in RESERVED_HEADERS:
            if re.fullmatch(pattern, match.group(2)) and module not in modules:
                yield match.start(2), f"<{match.group(2)}>: {why}"
    for pattern, modules, why in RESERVED_CALLS:
        if module in modules:
            continue
        for match in re.finditer(rf"(?<![\w.>])\b(?:{pattern})[ \t]*\(", code):
            yield match.start(), f"{match.group(0)}): {why}"


def check_file(src, path, allowed):
    """Complaints about one file of src/, as text with its place."""
    module = path.split(os.sep)[0]
    with open(os.path.join(src, path), encoding="utf-8", errors="replace") as handle:
        raw = handle.read()
    text, code = blank_comments(raw, strings=False), blank_comments(raw, strings=True)
    found = []
    if module not in allowed:
        found.append((0, f"folder {module} does not stand in src/modules.txt"))
    elif not is_test(path):
        for match in INCLUDE.finditer(text):
            if match.group(1) == '"':
                complaint = check_project_include(src, path, module, match.group(2), allowed)
                if complaint:
                    found.append((match.start(), complaint))
        found += check_reserved(path, module, code, text)
    return [f"src/{path}:{raw.count(chr(10), 0, at) + 1}: {what}" for at, what in sorted(found)]


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    src = os.path.join(root, "src")
    allowed, errors = read_modules(os.path.join(src, "modules.txt"))
    count = 0
    for base, folders, files in os.walk(src):
        folders.sort()
        for name in sorted(files):
            path = os.path.relpath(os.path.join(base, name), src)
            if name.endswith((".c", ".h")) and os.sep in path:
                count += 1
                errors += check_file(src, path, allowed)
    for error in errors:
        print(error)
    print(f"check_modules: {count} files of {len(allowed)} modules, {len(errors)} complaints")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
