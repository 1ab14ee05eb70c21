#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Files are changed beneath a tmemfs mount and through it, in every way, while
# others read them: each read for which the mode of coherency promises it sees
# the change, whatever the store holds. Exclusive mounts are changed through
# only, as they promise.

. "$(dirname "$0")/lib.sh"
requires_root
requires_fuse

rounds=300
[[ -z ${TMEM_TEST_FULL:-} ]] || rounds=10000
seed=${TMEM_TEST_SEED:-$RANDOM}

# A few times smaller than the files, so that pages come and go.
start_tmemd --config /dev/null --arena none --budget 8M

#   changes_are_seen NAME MODE [tmemfs options]
changes_are_seen() {
	local name=$1 mode=$2
	shift 2
	mkdir "$tmp/$name" "$tmp/$name/lower" "$tmp/$name/mount"
	mount_tmemfs "$tmp/$name/lower" "$tmp/$name/mount" -o "coherency=$mode" "$@"
	echo "$name, seed $seed"
	fschanges "$tmp/$name/lower" "$tmp/$name/mount" "$mode" "$rounds" "$seed" ||
		fail "$name, seed $seed: a change was not seen"
	# An open mount shows old attributes for a while.
	forget_mount "$tmp/$name/lower" "$tmp/$name/mount"
	same_tree "$tmp/$name/lower" "$tmp/$name/mount"
}

for mode in strict open exclusive; do
	changes_are_seen "embedded-$mode" "$mode" --embedded -o budget=8M
	changes_are_seen "attached-$mode" "$mode" -o "tmemd=$tmemd_socket"
	# Otherwise nothing was tested but the lower file system.
	(($(stat_of .host.hits) > 0)) || fail "the store had no part in it"
done
