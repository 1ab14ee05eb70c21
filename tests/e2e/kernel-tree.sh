#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A real tree, the kernel's source, read through tmemfs: cold, warm, under a
# budget of a tenth of its size, and while files change beneath the mount and
# through it.

. "$(dirname "$0")/lib.sh"
requires_root
requires_fuse

kernel_source tree
mkdir "$tmp/mount" "$tmp/below"

# Read all of the tree through the mount; every byte must be the lower file's.
read_all() {
	sum_tree "$tmp/mount" >"$tmp/sums"
	cmp "$tmp/sums" "$tmp/lower.sums" ||
		fail "$1: $(diff "$tmp/sums" "$tmp/lower.sums" | head -n 6)"
}

sum_tree "$tree" >"$tmp/lower.sums"
bytes=$(find "$tree" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')

start_tmemd --budget 1G
mount_tmemfs "$tree" "$tmp/mount" -o "tmemd=$tmemd_socket"
read_all "cold"
store_settled
drop_caches
hits=$(stat_of .host.hits)
read_all "warm"
pages=$(stat_of .host.pages)
hits=$(($(stat_of .host.hits) - hits))
((hits * 100 >= pages * 90)) ||
	fail "the warm read found only $hits of the $pages pages held"
same_tree "$tree" "$tmp/mount" list_tree
unmount "$tmp/mount"
end_server "$tmemd_pid"

start_tmemd --budget $((bytes / 10))
mount_tmemfs "$tree" "$tmp/mount" -o "tmemd=$tmemd_socket"
read_all "cold, under a tenth of its size"
drop_caches
read_all "warm, under a tenth of its size"
used=$(stat_of .host.peak_used)
((used <= bytes / 10)) || fail "$used bytes used of a budget of $((bytes / 10))"
(($(stat_of .host.evictions) > 0)) || fail "nothing was evicted"
unmount "$tmp/mount"

# Changes. A part of the tree is copied, to be changed, and read all the time
# while two writers change files of their own, one beneath, one through the
# mount. After each change both sides must show the same bytes at once.
part=drivers/usb
[[ -z ${TMEM_TEST_FULL:-} ]] || part=drivers/net
rounds=${TMEM_TEST_FULL:+5000}
rounds=${rounds:-300}
copy_tree "$tree/$part" "$tmp/below/tree"
mount_tmemfs "$tmp/below/tree" "$tmp/mount" -o "tmemd=$tmemd_socket"

# Change a file in one of the ways that programs have.
change() {
	local file=$1 kind=$2 text=$3
	case $kind in
	0) printf '%s' "$text" >>"$file" ;;
	1) printf '%s' "$text" | dd of="$file" conv=notrunc bs=64 status=none ;;
	2) truncate --size=-100 "$file" 2>/dev/null || : >"$file" ;;
	3) printf '%s' "$text" >"$file.new" && mv "$file.new" "$file" ;;
	4)
		# The same size and the same time of modification.
		touch -r "$file" "$file.time"
		printf '%s' "$text" | dd of="$file" conv=notrunc bs=64 status=none
		touch -r "$file.time" "$file"
		rm "$file.time"
		;;
	5)
		cp -p "$file" "$file.old" && rm "$file"
		mv "$file.old" "$file"
		printf '%s' "$text" >>"$file"
		;;
	6) fallocate --punch-hole --offset 0 --length 4096 "$file" ;;
	esac
}

# writer NAME DIRECTORY FILES
writer() {
	local i file
	local -a files
	mapfile -t files <"$3"
	RANDOM=4711
	for ((i = 0; i < rounds; i++)); do
		file=${files[RANDOM % ${#files[@]}]}
		change "$2/$file" $((RANDOM % 7)) "$1 $i $RANDOM"
		cmp "$tmp/below/tree/$file" "$tmp/mount/$file" || {
			echo "$1: change $i of $file is not seen" >&2
			return 1
		}
	done
}

(cd "$tmp/below/tree" && find . -name '*.c') | sort >"$tmp/files"
awk 'NR % 2' "$tmp/files" >"$tmp/files.beneath"
awk 'NR % 2 == 0' "$tmp/files" >"$tmp/files.through"
writer beneath "$tmp/below/tree" "$tmp/files.beneath" &
beneath=$!
writer through "$tmp/mount" "$tmp/files.through" &
through=$!
reads=0
while alive "$beneath" || alive "$through"; do
	sum_tree "$tmp/mount" >/dev/null || true
	((++reads))
done
wait "$beneath" || fail "the writer beneath the mount saw old bytes"
wait "$through" || fail "the writer through the mount saw other bytes"
((reads > 0)) || fail "nothing was read meanwhile"
same_tree "$tmp/below/tree" "$tmp/mount" sum_tree
forget_mount "$tmp/below/tree" "$tmp/mount"
same_tree "$tmp/below/tree" "$tmp/mount"
