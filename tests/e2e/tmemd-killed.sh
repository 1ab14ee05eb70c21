#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemd is killed, again and again, while a tmemfs mount is being read: no read
# fails or gives wrong bytes, with it, without it and after it has come back,
# when the mount attaches to it by itself and keeps its pages there again.

. "$(dirname "$0")/lib.sh"
requires_root
requires_fuse

rounds=5
[[ -z ${TMEM_TEST_FULL:-} ]] || rounds=100

mkdir "$tmp/lower" "$tmp/mount"
for i in {1..64}; do
	head -c $((i * 16384 + 77)) /dev/urandom >"$tmp/lower/$i"
done
sum_tree "$tmp/lower" >"$tmp/lower.sums"

start_tmemd --config /dev/null --arena none --budget 128M
mount_tmemfs "$tmp/lower" "$tmp/mount" -o "tmemd=$tmemd_socket"

# Read the tree until told to stop; each time round counts as a line.
read_on() {
	while [[ ! -e $tmp/stop ]]; do
		drop_caches
		sum_tree "$tmp/mount" >"$tmp/sums"
		cmp "$tmp/sums" "$tmp/lower.sums" >>"$tmp/reader.log" 2>&1 ||
			return 1
		echo read >>"$tmp/reads"
	done
}

: >"$tmp/reads"
read_on &
reader=$!
cleanup_fn touch "$tmp/stop"

# Two more whole reads end: one of them began after this was called.
two_more_reads() {
	local count
	count=$(($(wc -l <"$tmp/reads") + 2))
	wait_for 60 reads_or_ended "$count"
	alive "$reader" || fail "a read failed or gave other bytes, $1"
}
reads_or_ended() {
	(($(wc -l <"$tmp/reads") >= $1)) || gone "$reader"
}

mount_is_attached() {
	(($(stat_of '[.clients[] | select(.connected)] | length') == 1)) &&
		(($(stat_of .host.pages) > 0))
}

for ((round = 0; round < rounds; round++)); do
	wait_for 60 mount_is_attached || fail "the mount did not attach, round $round"
	two_more_reads "with tmemd"
	kill -KILL "$tmemd_pid"
	wait_for 10 gone "$tmemd_pid"
	two_more_reads "without tmemd"
	start_tmemd --config /dev/null --arena none --budget 128M
	two_more_reads "with tmemd back"
done
wait_for 60 mount_is_attached || fail "the mount did not attach in the end"
touch "$tmp/stop"
wait "$reader" || fail "the last read failed or gave other bytes"
