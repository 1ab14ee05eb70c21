#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The functions that all end-to-end tests rely on: a test that fails, is
# skipped or is interrupted still cleans up, last first, and keeps its status.

. "$(dirname "$0")/lib.sh"

# Run a body as a test of its own; its status goes to $status, what it wrote
# to $tmp/out.
body() {
	printf '. %q\n%s\n' "$e2e_dir/lib.sh" "$1" >"$tmp/inner.sh"
	status=0
	bash "$tmp/inner.sh" >"$tmp/out" 2>&1 || status=$?
}

expect() {
	((status == $1)) || fail "status $status instead of $1: $(<"$tmp/out")"
	[[ $(grep -v '^inner:' "$tmp/out") == "$2" ]] ||
		fail "unexpected output: $(<"$tmp/out")"
}

two='cleanup_fn echo first; cleanup_fn echo "second one"'
undone=$'second one\nfirst'

body "$two"
expect 0 "$undone"
body "$two; fail broken"
expect 1 "$undone"
body "$two; false; echo not reached"
expect 1 "$undone"
body "$two; skip this machine has no such thing"
expect 77 "$undone"
grep -q 'skipped: this machine has no such thing' "$tmp/out" ||
	fail "a skip without its reason"
body "$two; kill -TERM \$\$; sleep 5"
expect 143 "$undone"
# Who read its output has gone.
body "cleanup_fn touch '$tmp/undone'; cleanup_fn echo unheard
	exec > >(exit) 2>&1; while :; do echo unheard; done"
((status == 141)) || fail "status $status instead of 141"
[[ -e $tmp/undone ]] || fail "clean-up ended when nobody listened"
body 'cleanup_fn false'
expect 1 ""

TMEM_TEST_NO_SKIP=1 body 'requires no-such-command-anywhere'
expect 1 ""
TMEM_TEST_NO_SKIP='' body 'requires no-such-command-anywhere'
expect 77 ""

# Swap that was left on is told before it spoils a test.
swaps() {
	printf '%s\n' "Filename Type Size Used Priority" "$@" >"$tmp/swaps"
}
swaps "/dev/zram0 partition 1000 0 100" "/swapfile file 1000 0 -2"
swap_is_free "$tmp/swaps" || fail "swap with other priorities is in the way"
swaps "/swapfile file 1000 0 -2" "/dev/nbd0 partition 1000 10 32767"
! swap_is_free "$tmp/swaps" 2>"$tmp/out" || fail "a first swap device is fine"
grep -q '"swapoff /dev/nbd0"' "$tmp/out" || fail "said: $(<"$tmp/out")"
swaps "/dev/loop-gone partition 1000 10 5"
! swap_is_free "$tmp/swaps" 2>"$tmp/out" || fail "a dead swap device is fine"
grep -q '"swapoff /dev/loop-gone"' "$tmp/out" || fail "said: $(<"$tmp/out")"

# shellcheck disable=SC2016 # for the inner test to expand
# A private directory is gone, and so is a server, once the test is.
body 'echo "$tmp" >'"$tmp"'/where; start_server pid x sleep 1000; echo "$pid" >'"$tmp"'/pid'
expect 0 ""
[[ ! -e $(<"$tmp/where") ]] || fail "$(<"$tmp/where") was left behind"
gone "$(<"$tmp/pid")" || fail "a server was left running"
