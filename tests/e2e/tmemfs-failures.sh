#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What can go wrong beneath a mount: the lower disk is full, tmemfs may not
# write files so large, a file is truncated while it is read, and tmemfs is
# killed while files are written.

. "$(dirname "$0")/lib.sh"
requires_fuse
requires_loop

mkdir "$tmp/disk" "$tmp/mount"
truncate -s 32M "$tmp/image"
mkfs.ext4 -q "$tmp/image"
loop_new device "$tmp/image"
mount "$device" "$tmp/disk"
cleanup_fn umount "$tmp/disk"
head -c 1000000 /dev/urandom >"$tmp/megabyte"

# Make room, and wait until the kernel has let go of what was removed.
empty_disk() {
	rm -rf "$tmp/mount"/*
	wait_for 30 disk_has 20000000
}
disk_has() {
	(($(stat -f -c '%a * %S' "$tmp/disk") >= $1))
}

# A disk that is full says so to who writes, and keeps what was written.
disk_full() {
	local written=0
	while cp "$tmp/megabyte" "$tmp/mount/$written" 2>"$tmp/error"; do
		written=$((written + 1))
	done
	grep -q 'No space left on device' "$tmp/error" ||
		fail "a full disk is told as: $(<"$tmp/error")"
	((written >= 15)) || fail "the disk is full after $written MB"
	for ((i = 0; i < written; i++)); do
		cmp "$tmp/megabyte" "$tmp/mount/$i" || fail "file $i is damaged"
		cmp "$tmp/megabyte" "$tmp/disk/$i" || fail "lower file $i is damaged"
	done
	! fallocate -l 10M "$tmp/mount/allocated" 2>"$tmp/error" ||
		fail "10 MB were allocated on a full disk"
	grep -q 'No space left on device' "$tmp/error" ||
		fail "allocation on a full disk fails with: $(<"$tmp/error")"
	empty_disk
}

# A limit on the size of files that tmemfs was started under is an error for who
# writes past it, and no end of the mount.
file_size_limited() {
	prlimit --pid "$tmemfs_pid" --fsize=500000:unlimited
	! cp "$tmp/megabyte" "$tmp/mount/limited" 2>"$tmp/error" ||
		fail "more was written than tmemfs may"
	grep -q 'File too large' "$tmp/error" ||
		fail "a limit on the size of files is told as: $(<"$tmp/error")"
	prlimit --pid "$tmemfs_pid" --fsize=unlimited:unlimited
	cp "$tmp/megabyte" "$tmp/mount/limited"
	cmp "$tmp/megabyte" "$tmp/disk/limited" || fail "what was written is not there"
	empty_disk
}

# A file that shrinks and grows beneath is read without errors, and as it is in
# the end.
truncated_while_read() {
	local reader i
	head -c 8000000 /dev/urandom >"$tmp/disk/file"
	while [[ ! -e $tmp/stop ]]; do
		cat "$tmp/mount/file" || exit 1
	done >/dev/null 2>"$tmp/error" &
	reader=$!
	cleanup_fn touch "$tmp/stop"
	for i in {1..100}; do
		truncate -s "$((i * 777))" "$tmp/disk/file"
		truncate -s 8000000 "$tmp/disk/file"
	done
	touch "$tmp/stop"
	wait "$reader" || fail "reading failed: $(<"$tmp/error")"
	cmp "$tmp/disk/file" "$tmp/mount/file" || fail "other bytes are read in the end"
	rm "$tmp/stop"
	empty_disk
}

# Killed, tmemfs leaves no writer waiting; what was written is below, and a new
# mount goes on from there.
killed_while_written() {
	local writer
	cp "$tmp/megabyte" "$tmp/mount/first"
	for ((i = 0; ; i = (i + 1) % 10)); do
		cp "$tmp/megabyte" "$tmp/mount/$i" || exit 1
		touch "$tmp/written"
	done 2>"$tmp/error" &
	writer=$!
	wait_for 30 test -e "$tmp/written"
	kill -KILL "$tmemfs_pid"
	! wait "$writer" || fail "who wrote did not notice"
	grep -Eq 'Transport endpoint is not connected|Software caused connection abort' "$tmp/error" ||
		fail "who wrote was told: $(<"$tmp/error")"
	cmp "$tmp/megabyte" "$tmp/disk/first" || fail "what was written is not there"
	umount "$tmp/mount"
	rm "$tmp/written"
}

for mode in strict open exclusive; do
	mount_tmemfs "$tmp/disk" "$tmp/mount" --embedded -o "budget=16M,coherency=$mode"
	disk_full
	file_size_limited
	# Nobody but the mount may change what an exclusive one shows.
	[[ $mode == exclusive ]] || truncated_while_read
	killed_while_written
	mount_tmemfs "$tmp/disk" "$tmp/mount" --embedded -o "budget=16M,coherency=$mode"
	cmp "$tmp/megabyte" "$tmp/mount/first" || fail "a new mount shows something else"
	empty_disk
	unmount "$tmp/mount"
done
