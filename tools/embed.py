#!/usr/bin/python3
"""embed.py OUT FILE... - writes a C file that holds the given files, gzipped, as `console_assets[]`.

Why in the program: a node is one binary; its console must be there without a folder beside it, and must be of the same
version. Why gzipped here: every browser takes gzip, so the server sends the stored bytes as they are, and nothing is
compressed at run time. The output depends on nothing but the input: no time stamp, files in order of their names.

Called by src/listeners/meson.build; the table's type and meaning are in src/listeners/assets.h.
"""
import gzip
import hashlib
import os
import sys

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
ETAG_DIGITS = 16  # of SHA-256: 64 bits tell one build's files from another's
BYTES_PER_LINE = 24


def content_type(path):
    suffix = os.path.splitext(path)[1]
    if suffix not in CONTENT_TYPES:
        sys.exit(f"embed.py: {path}: no content type for '{suffix}' (add it to CONTENT_TYPES)")
    return CONTENT_TYPES[suffix]


def c_bytes(data):
    lines = (data[i:i + BYTES_PER_LINE] for i in range(0, len(data), BYTES_PER_LINE))
    return ",\n    ".join(",".join(str(byte) for byte in line) for line in lines)


def c_file(paths):
    """The text of the C file; `paths` in the order in which they are to stand in the table."""
    arrays, rows = [], []
    for index, path in enumerate(paths):
        with open(path, "rb") as file:
            data = file.read()
        packed = gzip.compress(data, 9, mtime=0)
        etag = hashlib.sha256(data).hexdigest()[:ETAG_DIGITS]
        name = os.path.basename(path)
        arrays.append(f"static const unsigned char bytes_{index}[] = {{\n    {c_bytes(packed)}}};\n")
        rows.append(f'    {{"/{name}", "{content_type(name)}", "{etag}", bytes_{index}, sizeof bytes_{index}}},\n')
    return (
        "/* Made by tools/embed.py from console/dist; do not edit. */\n"
        '#include "listeners/assets.h"\n\n' + "\n".join(arrays) +
        "\nconst struct asset console_assets[] = {\n" + "".join(rows) + "};\n"
        f"const size_t console_asset_count = {len(rows)};\n")


def main(arguments):
    if len(arguments) < 2:
        sys.exit("usage: embed.py OUT FILE...")
    text = c_file(sorted(arguments[1:], key=os.path.basename))
    with open(arguments[0], "w", encoding="utf-8") as out:
        out.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
