#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Each program's man page has the options that its --help has, and no others.

. "$(dirname "$0")/lib.sh"
top=$e2e_dir/../..

# The help of a program, and of its commands.
help_of() {
	"$1" --help
	[[ $1 == tmem-admin ]] || return 0
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
	awk '/^\.Sh/ { options = $2 == "OPTIONS" }
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
