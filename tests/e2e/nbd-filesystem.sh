#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A file system on a loop device over the export: made, filled, unmounted,
# checked, mounted again, trimmed; most of its pages overflow.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/nbd-lib.sh"
requires_root
requires_fuse
requires_loop
requires nbdfuse --version
requires mkfs.ext4 -V

start_export disk --size 192M --overflow "$tmp/overflow"
mkdir -p "$tmp/device/mnt" "$tmp/mnt"
cleanup_fn nbd_device_free "$tmp/device"
nbdfuse_new "$nbd_socket" disk "$tmp/device/mnt" || fail "nbdfuse did not mount"
loop_new device "$tmp/device/mnt/nbd" --direct-io=on

mount_it() {
	mount -t ext4 "$device" "$tmp/mnt"
}
unmount_it() {
	mountpoint -q "$tmp/mnt" || return 0
	umount "$tmp/mnt"
}
check_it() {
	fsck.ext4 -f -n "$device" >"$tmp/fsck" 2>&1 ||
		fail "fsck: $(cat "$tmp/fsck")"
}

mkfs.ext4 -q -E nodiscard "$device"
check_it
mount_it
cleanup_fn unmount_it
cp -a /usr/include "$tmp/mnt/tree"
head -c 48M /dev/urandom >"$tmp/mnt/random"
sum=$(sha256sum <"$tmp/mnt/random")
rm -r "$tmp/mnt/tree/linux"
cp -a /usr/include/linux "$tmp/mnt/tree/linux"
touch -r /usr/include "$tmp/mnt/tree"
unmount_it
check_it
drop_caches
mount_it
same_tree /usr/include "$tmp/mnt/tree"
[[ $(sha256sum <"$tmp/mnt/random") == "$sum" ]] || fail "a file has changed"
mostly_overflowed disk

# What is deleted and trimmed takes no room any more.
before=$(du -k "$tmp/overflow" | cut -f1)
rm -r "$tmp/mnt/random"
sync
fstrim "$tmp/mnt"
after=$(du -k "$tmp/overflow" | cut -f1)
((after < before - 20000)) ||
	fail "the overflow file had $before KiB and has $after KiB after a trim"
same_tree /usr/include "$tmp/mnt/tree"
unmount_it
check_it
