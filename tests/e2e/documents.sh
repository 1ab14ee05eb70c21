#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Documents and code agree: each man page has the options that its program's
# --help has, and no others; each DESIGN.md maps all source files of its
# component; and pages that are referred to are there.

. "$(dirname "$0")/lib.sh"
requires groff --version
top=$(cd "$e2e_dir/../.." && pwd)
components="libtmemcore tmemd tmem-nbd tmemfs tmem-admin"
counters=$TMEM_BUILD/tmem-admin/tmem-counters.7

# The help of a program, and of its commands.
help_of() {
	"$1" --help
	[[ $1 == tmem-admin || $1 == tmem-nbd ]] || return 0
	"$1" --help | awk '/^  [a-z]/ { print $1 }' |
		while read -r command; do
			"$1" "$command" --help
		done
}

# Its options there, one a line: letters, words, and words after -o.
options_of_help() {
	grep -E '^ +-' | sed -E 's/([^ ])  .*/\1/' |
		grep -oE -e '-o [a-z_]+|--?[A-Za-z][a-z-]*' | sort -u
}

# The same of a man page's source: what is tagged as an option, or at least
# mentioned if it is a word.
options_of_page() {
	awk '/^\.Sh/ { options = $2 ~ /^(OPTIONS|ATTACHING)$/ }
		options && /^\.It Fl/ { gsub(/Fl o Cm /, "-o "); print }
		options && /^\.It Cm/ { gsub(/Cm /, "-o "); print }' "$1" |
		sed -e 's/Fl \\-/--/g' -e 's/Fl /-/g' |
		grep -oE -e '-o [a-z_]+|--?[A-Za-z][a-z-]*' || true
	grep -oE 'Fl \\-[a-z][a-z-]*' "$1" | sed 's/Fl \\-/--/'
}

for program in tmemd tmem-admin tmem-nbd tmemfs; do
	help_of $program | options_of_help >"$tmp/help"
	(($(wc -l <"$tmp/help") >= 8)) || fail "found no options in $program --help"
	options_of_page "$top/$program"/man/$program.[18] | sort -u >"$tmp/page"
	diff "$tmp/help" "$tmp/page" >"$tmp/diff" ||
		fail "--help (<) and the man page (>) of $program differ: $(<"$tmp/diff")"
done

for component in $components; do
	for source in "$top/$component"/src/*.c; do
		grep -qw "$(basename "$source")" "$top/$component/DESIGN.md" ||
			fail "$component/DESIGN.md does not map $(basename "$source")"
	done
	grep -oE '\b[a-z-]+\.[ch]\b' "$top/$component/DESIGN.md" | sort -u |
		while read -r source; do
			[[ -n $(find "$top" -path "$top/build*" -prune -o \
				-name "$source" -print) ]] ||
				fail "$component/DESIGN.md names $source, which is not there"
		done
done

# The page of counters, which is made by the build, and all pages there are.
[[ -z $(groff -mandoc -Tutf8 -ww -z "$counters" 2>&1) ]] ||
	fail "tmem-counters(7) is no good page"
(cd "$top" && find $components -path '*/man/*.[1-9]') >"$tmp/pages"
{
	sed 's,.*/,,' "$tmp/pages"
	echo tmem-counters.7
	grep -ohE 'tmem_[a-z_]+' "$top/libtmemcore/man/meson.build" | sed 's/$/.3/'
} | sort -u >"$tmp/there"
(
	cd "$top"
	xargs grep -hE '^\.Xr .*tmem' "$counters" <"$tmp/pages" |
		awk '{ print $2 "." $3 }'
	grep -ohE '\b(lib)?tmem[a-z_.-]*\([1-9]\)' README.md NEWS.md */*.md \
		*/src/*.[ch] libtmemcore/include/tmem/*.h | sed -E 's/\((.)\)/.\1/'
) | sort -u >"$tmp/referred"
(($(wc -l <"$tmp/referred") >= 10)) || fail "found no references"
comm -13 "$tmp/there" "$tmp/referred" >"$tmp/missing"
[[ ! -s $tmp/missing ]] || fail "there is no page $(<"$tmp/missing")"
