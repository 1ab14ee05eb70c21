# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the tests of mounting tmemfs share, besides lib.sh; to be sourced in a
# mount namespace of the test's own.

# Somebody else, who has no rights but his own.
uid=65534 gid=$(id -g nobody)
as_user() {
	setpriv --reuid "$uid" --regid "$gid" --clear-groups "$@"
}

# Nothing of this host's own tmemd, but room for another.
hide_host_tmemd() {
	[[ -d /run/tmem ]] || {
		mkdir /run/tmem
		cleanup_fn rmdir /run/tmem
	}
	mount -t tmpfs tmem-test /run/tmem
	cleanup_fn umount --lazy /run/tmem
}

# The tmemfs processes of this test.
servers() {
	local process
	for process in /proc/[0-9]*; do
		[[ $(readlink "$process/exe") == "$TMEM_BUILD/tmemfs/tmemfs" &&
			$process/ns/mnt -ef /proc/self/ns/mnt ]] &&
			alive "${process#/proc/}" && echo "${process#/proc/}"
	done 2>/dev/null || true
}

no_servers() {
	[[ -z $(servers) ]]
}

not_mounted() {
	! mounted "$1"
}

# Whatever is still mounted when the test ends.
unmount_all() {
	local place pid
	while read -r place; do
		umount --lazy "$place"
	done < <(findmnt -rn -o TARGET | grep "^$tmp/" | tac)
	for pid in $(servers); do
		stop_process "$pid"
	done
}
cleanup_fn unmount_all
