#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a file system does, it does through a tmemfs mount as well: owners,
# permissions, names, attributes, directories, bytes, mappings, programs and
# locks come out the same as on the lower file system, in each mode of
# coherency, with a store of its own and attached to tmemd.

. "$(dirname "$0")/lib.sh"
requires_root
requires_fuse

chmod 755 "$tmp"
mkdir "$tmp/reference"
fssemantics "$tmp/reference" >"$tmp/expected"
start_tmemd --config /dev/null --arena none --budget 64M

# Fail unless a mount with those options does all as its lower file system.
#   same_semantics NAME [tmemfs options]
same_semantics() {
	local name=$1
	shift
	mkdir "$tmp/$name" "$tmp/$name/lower" "$tmp/$name/mount"
	# As mount(8) would have it.
	mount_tmemfs "$tmp/$name/lower" "$tmp/$name/mount" -o dev,suid "$@"
	fssemantics "$tmp/$name/mount" >"$tmp/$name/found"
	diff "$tmp/expected" "$tmp/$name/found" >"$tmp/$name/diff" ||
		fail "$name: expected (<) and found (>) $(<"$tmp/$name/diff")"
	unmount "$tmp/$name/mount"
}

for mode in strict open exclusive; do
	same_semantics "embedded-$mode" --embedded -o "budget=64M,coherency=$mode"
	same_semantics "attached-$mode" -o "tmemd=$tmemd_socket,coherency=$mode"
done
same_semantics no-timeouts --embedded -o budget=64M,entry_timeout=0,attr_timeout=0
same_semantics one-thread --embedded -s -o budget=64M
