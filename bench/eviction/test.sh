#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The simulator finds the hits that can be counted by hand, and policies differ
# where they should.

set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

fail() {
	echo "$*" >&2
	exit 1
}

options=()

# hits POLICY PAGES [GUEST [KIND]]: a policy's line of the table
hits() {
	"$EVICTION" "${options[@]}" --store "$2" --guest "${3:-0}" "$tmp/trace" |
		awk -v policy="$1" -v kind="${4:-inclusive}" '
		/ pool, below / { on = index($0, kind) }
		on && $1 == policy { print $2 }'
}

expect() {
	local want=$1 got
	shift
	got=$(hits "$@")
	[[ $got == "$want" ]] || fail "$*: $got percent hits, not $want"
}

# Four pages, read twice, in a store of four, and in one of three.
printf 'r 1 0 4\nr 1 0 4\n' >"$tmp/trace"
for policy in fifo lru clock sieve 2q arc; do
	expect 50.00 $policy 4
	expect 0.00 $policy 2
done

# One that is read again before it goes: FIFO does not notice.
printf '%s\n' 'r 1 0 1' 'r 1 1 1' 'r 1 0 1' 'r 1 2 1' 'r 1 0 1' >"$tmp/trace"
expect 20.00 fifo 2
for policy in lru clock sieve; do
	expect 40.00 $policy 2
done

# What is written is not held, and what is gone neither.
printf '%s\n' 'r a 0 2' 'w a 0 1' 'r a 0 2' 'f a 1 99' 'r a 0 2' >"$tmp/trace"
expect 33.33 lru 8

# A guest of two pages reads three in turn: everything misses there. The store
# has what the guest gave up, be it as many pages as the guest lacks.
for _ in {1..10}; do echo 'r 1 0 3'; done >"$tmp/trace"
expect 90.00 lru 1 2 exclusive
expect 0.00 lru 1 2 inclusive

# A file that is read again and again, and others that are read once, between
# them more than the store holds: the file should stay.
for round in {1..40}; do
	echo 'r 1 0 1600'
	echo "r 2 $((round * 2000)) 1000"
	echo 'r 1 0 1600'
	echo "r 2 $((round * 2000 + 1000)) 1000"
done >"$tmp/trace"
best=$(hits s3fifo 2000)
store=$(hits store 2000)
lru=$(hits lru 2000)
awk -v best="$best" -v store="$store" -v lru="$lru" 'BEGIN {
	exit !(store > lru + 20 && store > best - 15)
}' || fail "a scan: $store percent hits; s3fifo has $best, lru $lru"

# The model does what a store does. Which gets a store samples its arena's
# secret decides: some may judge late, and have fewer hits.
options=(--real)
for _ in {1..6}; do
	real=$(hits real-store 2000)
	awk -v store="$store" -v real="$real" 'BEGIN {
		exit !(real > store - 3 && real < store + 3)
	}' && exit 0
done
fail "the model: $store percent hits, a store has $real"
