#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemd is stopped, which is worse than killed: it is there, and connections to
# it are made, but it never answers. Who reads a mount then gets the right
# bytes, and waits no more than once until the mount gives tmemd up. When it
# goes on, the mount attaches again.

. "$(dirname "$0")/lib.sh"
requires_root
requires_fuse

rounds=1
[[ -z ${TMEM_TEST_FULL:-} ]] || rounds=20
files=200

mkdir "$tmp/lower" "$tmp/mount"
for ((i = 0; i < files; i++)); do
	head -c $((i * 512 + 77)) /dev/urandom >"$tmp/lower/$i"
done

start_tmemd --config /dev/null --arena none --budget 128M
mount_tmemfs "$tmp/lower" "$tmp/mount" -o "tmemd=$tmemd_socket"
# Runs before tmemd and the mount are taken down.
cleanup_fn kill -CONT "$tmemd_pid"

mount_is_attached() {
	(($(stat_of '[.clients[] | select(.connected)] | length') == 1))
}

# Read all anew and compare. The time limit is far more than one wait, and less
# than one for each file.
read_all() {
	drop_caches
	(cd "$tmp/mount" && find . -type f -print0 | sort -z |
		timeout 100 sumfiles) >"$tmp/sums" ||
		fail "reading failed or took too long, $1"
	sum_tree "$tmp/lower" | cmp - "$tmp/sums" ||
		fail "other bytes were read, $1"
}

for ((round = 0; round < rounds; round++)); do
	wait_for 60 mount_is_attached || fail "the mount did not attach"
	read_all "with tmemd"
	read_all "with tmemd, again"
	kill -STOP "$tmemd_pid"
	# So that old pages in the store have to be flushed, too.
	for ((i = 0; i < files; i += 2)); do
		echo "round $round" >>"$tmp/lower/$i"
	done
	read_all "with tmemd stopped"
	read_all "with tmemd stopped, again"
	kill -CONT "$tmemd_pid"
	read_all "with tmemd going on"
done
wait_for 60 mount_is_attached || fail "the mount did not attach in the end"
kill -STOP "$tmemd_pid"
unmount "$tmp/mount"
wait_for 60 gone "$tmemfs_pid" || fail "tmemfs does not end while tmemd is stopped"
