#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What libtmemcore installs, used as another project would: its symbols are
# what its headers declare, every function has a page, and the example in
# libtmemcore(3) builds with pkg-config and says what it should.
#
# usage: test_install.sh BUILD_DIRECTORY COMPILER...
set -euo pipefail

build=$1
shift
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

ninja -C "$build" >/dev/null
DESTDIR=$root meson install -C "$build" --no-rebuild --quiet

pc=$(find "$root" -name libtmemcore.pc)
export PKG_CONFIG_LIBDIR=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$root
read -ra cflags < <(pkg-config --cflags libtmemcore)
read -ra libs < <(pkg-config --libs libtmemcore)
libdir=$(find "$root" -name libtmemcore.so -printf %h)
include=$(find "$root" -path '*/include/tmem' -type d)

fail()
{
	echo "FAIL: $*" >&2
	exit 1
}

declared()
{
	printf '#include "%s"\n' "$include"/*.h |
		"$@" -I"${include%/tmem}" -E -P -x c - | tr '\n' ' ' |
		grep -oE 'tmem_[a-z0-9_]+(\(|\[)' | tr -d '([' | sort -u
}

symbols()
{
	nm -D --defined-only --with-symbol-versions "$libdir/libtmemcore.so" |
		sed -n 's/.* [TRD] \(tmem_[a-z0-9_]*\)@@TMEM_0\.1$/\1/p' |
		sort -u
}

declared "$@" >"$root/declared"
symbols >"$root/symbols"
[ "$(wc -l <"$root/declared")" -ge 30 ] || fail "headers declare nothing"
diff -u "$root/declared" "$root/symbols" ||
	fail "headers (-) and libtmemcore.map (+) disagree"
nm -D --defined-only "$libdir/libtmemcore.so" |
	grep -v -e 'tmem_' -e ' A TMEM_0.1' && fail "more than tmem_ is exported"

man3=$(find "$root" -path '*/man3' -type d)
while read -r name; do
	page=$man3/$name.3
	[ -e "$page" ] || fail "$name has no page"
	target=$(sed -n 's|^\.so man3/||p' "$page")
	grep -q "^\.Nm $name\b" "$man3/${target:-$name.3}" ||
		fail "${target:-$name.3} does not tell of $name"
done <"$root/declared"
if command -v groff >/dev/null; then
	for page in "$man3"/*.3; do
		(cd "$man3/.." && groff -s -mandoc -Tutf8 -ww "$page") 2>&1 \
			>/dev/null | grep . && fail "$page does not render"
	done
fi

sed -n '/^\.Sh EXAMPLES/,/^\.Sh/p' "$man3/libtmemcore.3" |
	sed -n '/^\.Bd/,/^\.Ed/{/^\./d;s/\\e/\\/g;p}' >"$root/example.c"
"$@" -Wall -Wextra -Werror "$root/example.c" -o "$root/example" \
	"${cflags[@]}" "${libs[@]}"
LD_LIBRARY_PATH=$libdir "$root/example" >"$root/said"
diff -u - "$root/said" <<'SAID'
stored
hello, fallow memory
gone
SAID
