#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemd in a small memory cgroup: the budget stays below its limit, whatever is
# asked for, and follows it; a full store is refused puts and is not killed.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
requires_memcg
requires jq --version

budget_is() {
	[[ $(stat_of .host.budget) == "$1" ]]
}

cgroup_new box tmemd $((96 << 20))
start_in_box() {
	tmemd_socket=$tmp/tmemd.sock
	start_server tmemd_pid tmemd bash -c \
		'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' bash "$box" \
		tmemd --config /dev/null --socket "$tmemd_socket" "$@"
	wait_for 30 admin stats || fail "tmemd did not come up"
}

start_in_box --arena none --budget 10G
budget_is $((64 << 20)) || fail "the budget is $(stat_of .host.budget)"
grep -q "the memory cgroup allows no more" "$tmp/tmemd.log" ||
	fail "it is not said why the budget is less than asked for"
admin set --budget=1G 2>"$tmp/clamped"
grep -q "64.0M: tmemd's memory cgroup" "$tmp/clamped" ||
	fail "tmem-admin does not say that the budget is clamped"
budget_is $((64 << 20)) || fail "the budget was raised past the cgroup's limit"

# 200 MiB of pages that compress little, to a budget of 64 MiB.
attach swap
expect swap 0 pool pages persistent
ask swap put 0 50000
stored=$answer
((stored > 5000 && stored < 50000)) || fail "$stored of 50000 puts were stored"
expect swap "$stored" get 0 50000
alive "$tmemd_pid" || fail "tmemd was killed"
((swap_used = $(stat_of .host.used), swap_used <= 64 << 20)) ||
	fail "the store uses $swap_used bytes"

# The limit changes: so does the budget.
expect swap "$stored" flush 0 50000
memcg_limit "$box" $((80 << 20))
wait_for 60 budget_is $((48 << 20)) ||
	fail "the budget did not follow the cgroup's limit down"
memcg_limit "$box" $((256 << 20))
wait_for 60 budget_is $((224 << 20)) ||
	fail "the budget did not follow the cgroup's limit up"
end_server "$tmemd_pid"

# No room for any store: that is said, not found out by being killed.
memcg_limit "$box" $((34 << 20))
refused 1 "raise memory.max" bash -c \
	'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' bash "$box" \
	tmemd --config /dev/null --socket "$tmp/small.sock" --arena none
