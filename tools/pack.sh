#!/usr/bin/env bash
# pack.sh - packs the release folder given as $1 into FOLDER/millrace-<version>-<arch>.tar.gz.
#
# The tar runs on any Linux with this or a newer glibc and nothing else installed: it holds the stripped program, what it
# loads on demand, every shared library of both but glibc's own (those must match the kernel's loader), and the libraries'
# licences. The program finds them by the rpath $ORIGIN/lib that the build gave it, which as DT_RPATH also serves libraries
# of libraries. $ORIGIN means nothing where /proc is not mounted, as in a bare chroot: there `millrace`, a script in front of
# the program, says where the libraries are. Same input, same bytes: times and owners are fixed.
# Called by `./dev build --release`.
set -euo pipefail
from=$1
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
version=$(sed -n "s/^ *version: '\(.*\)',/\1/p" meson.build | head -n 1)
name=millrace-$version-$(uname -m)
# What glibc brings, by soname.
glibc='^(ld-linux[a-z0-9_-]*|lib(c|m|dl|rt|pthread|resolv|util|nsl|anl|mvec|BrokenLocale|thread_db|nss_[a-z]+))\.so(\.[0-9]+)*$'

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
top=$stage/$name
mkdir -p "$top/lib" "$top/licenses"
install -m 755 -s "$from/millrace" "$top/millrace-program"
cat >"$top/millrace" <<'END'
#!/bin/sh
# Starts the program beside it. It finds its libraries by itself but where there is no /proc.
here=$(dirname "$(readlink -f "$0")")
[ -e /proc/self/exe ] || export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$here/millrace-program" "$@"
END
chmod 755 "$top/millrace"
for driver in "$from"/lib/*.so; do
    [ -e "$driver" ] && install -m 755 -s "$driver" "$top/lib/"
done
install -m 644 LICENSE "$top/LICENSE"

# ldd lists libraries of libraries too; it complains when there is no driver.
{ ldd "$from/millrace" "$from"/lib/*.so 2>/dev/null || true; } | sed -n 's/^.* => \(\/.*\) (0x.*$/\1/p' | sort -u | while read -r library; do
    soname=$(basename "$library")
    grep -qE "$glibc" <<<"$soname" && continue
    install -m 644 "$(readlink -f "$library")" "$top/lib/$soname"
    # A package may know the file by its name before /lib became a link to /usr/lib.
    real=$(readlink -f "$library")
    package=$({ dpkg -S "$real" || dpkg -S "${real#/usr}" || true; } 2>/dev/null | cut -d: -f1 | head -n 1)
    [ -z "$package" ] || cp -L "/usr/share/doc/$package/copyright" "$top/licenses/$package" 2>/dev/null || true
done

LD_LIBRARY_PATH='' ldd "$top/millrace-program" | grep 'not found' && { echo "pack: a library is missing" >&2; exit 1; }
when=$(git log -1 --format=%ct 2>/dev/null || echo 0)
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$when" -C "$stage" -cf - "$name" | gzip -n9 >"$from/$name.tar.gz.part"
mv "$from/$name.tar.gz.part" "$from/$name.tar.gz"
echo "$from/$name.tar.gz ($(du -k "$from/$name.tar.gz" | cut -f1) KiB)"
