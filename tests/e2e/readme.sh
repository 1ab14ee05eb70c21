#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The examples in README.md do what they say: the blocks marked "<!-- run -->"
# are run in their order.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/examples-lib.sh"
requires_swap
requires_loop
requires_fuse
requires nbdfuse --version
examples_init

awk '/^```/ { inside = inside ? 0 : marked; marked = 0; next }
	inside
	/^<!-- run -->$/ { marked = 1 }' "$e2e_dir/../../README.md" >"$tmp/readme"
(($(grep -c . "$tmp/readme") >= 10)) || fail "README.md has lost its examples"
run_examples <"$tmp/readme"
