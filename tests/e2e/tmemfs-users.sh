#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemfs for an ordinary user, on directories of his own: what he may and may
# not do, and reads that the store answers, embedded and attached.

# In a mount namespace of its own, where /dev/fuse may be opened to all.
if [[ -z ${own_namespace:-} ]] && unshare --mount true 2>/dev/null; then
	own_namespace=1 exec unshare --mount --propagation private bash "$0"
fi
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
. "$(dirname "$0")/mount-lib.sh"
requires_root
requires_fuse
requires setpriv --version
[[ -n ${own_namespace:-} ]] || skip_unless_provided "needs a mount namespace"
publish_programs

src=$tmp/src mnt=$tmp/mnt
mkdir "$src" "$mnt" "$tmp/roots"
seq 1000000 >"$src/numbers"
echo secret >"$src/secret"
chmod 600 "$src/secret"
chown "$uid:$gid" "$src" "$mnt" "$src/numbers"

# Give all access to /dev/fuse, as udev does, or to root only.
#   fuse_device MODE
fuse_device() {
	mknod -m "$1" "$tmp/fuse-$1" c 10 229 2>/dev/null &&
		mount --bind "$tmp/fuse-$1" /dev/fuse ||
		skip "needs to make a device"
}

# Bytes that a process has read, of files and of requests.
bytes_read() {
	awk '$1 == "rchar:" { print $2 }' "/proc/$1/io"
}

# Read the user's file twice; the second time, the store has it.
#   read_twice
read_twice() {
	local pid before size
	pid=$(servers)
	size=$(stat -c %s "$src/numbers")
	drop_caches
	as_user cmp "$src/numbers" "$mnt/numbers"
	drop_caches
	before=$(bytes_read "$pid")
	as_user cmp "$src/numbers" "$mnt/numbers"
	(($(bytes_read "$pid") - before < size / 2)) ||
		fail "$(($(bytes_read "$pid") - before)) of $size bytes were read again"
}

fuse_device 600
refused 1 "must be able to read and write it" as_user tmemfs "$src" "$mnt"
umount /dev/fuse
fuse_device 666

# Embedded, since no tmemd is there for him; his alone, and as himself.
as_user tmemfs --embedded "$src" "$mnt"
[[ $(findmnt -rnM "$mnt" -o OPTIONS) == *user_id=$uid,* ]]
refused 2 "Permission denied" ls "$mnt"
refused 1 "Permission denied" as_user cat "$mnt/secret"
as_user touch "$mnt/new"
[[ $(stat -c %u:%g "$src/new") == "$uid:$gid" ]] || fail "it is another's"
refused 1 "not permitted" as_user chown 0 "$mnt/new"
as_user rm "$mnt/new"
read_twice
as_user fusermount3 -u "$mnt"
wait_for 10 no_servers

# What he has no right to.
refused 1 "no write access to mountpoint" as_user tmemfs --embedded "$src" "$tmp/roots"
grep -q user_allow_other <(grep -v '^#' /etc/fuse.conf 2>/dev/null) ||
	refused 1 "user_allow_other" as_user tmemfs --embedded -o allow_other "$src" "$mnt"

# His directory, mounted over itself.
as_user tmemfs --embedded "$src" "$src"
[[ $(as_user tail -n 1 "$src/numbers") == 1000000 ]]
as_user fusermount3 -u "$src"
wait_for 10 no_servers

# As fstab lets users do it.
if [[ -f /etc/fstab ]]; then
	mount --bind "$TMEM_BUILD/tmemfs" /usr/local/sbin
	echo "$src $mnt fuse.tmemfs user,noauto,embedded 0 0" >"$tmp/fstab"
	mount --bind "$tmp/fstab" /etc/fstab
	as_user mount "$mnt"
	as_user cmp "$src/numbers" "$mnt/numbers"
	as_user umount "$mnt"
	wait_for 10 no_servers
fi

# Attached, to a tmemd that lets his group in; named by a path that is not
# absolute. One that does not let him in is no tmemd for him.
start_tmemd --config /dev/null --arena none --budget 64M
refused 1 "Permission denied" as_user tmemfs -o "tmemd=$tmemd_socket" "$src" "$mnt"
end_server "$tmemd_pid"
group=$(getent group "$gid" | cut -d: -f1)
start_tmemd --config /dev/null --arena none --budget 64M --group "$group"
(
	cd "$tmp"
	as_user tmemfs -o "tmemd=$(basename "$tmemd_socket"),name=his" src mnt
)
[[ $(client_of his .uid) == "$uid" ]] || fail "he is not a client of tmemd's"
read_twice
(($(pool_of files .stats.hits) > 0)) || fail "tmemd has answered nothing"

# tmemd goes, reads go on, and it is found again.
end_server "$tmemd_pid"
drop_caches
as_user cmp "$src/numbers" "$mnt/numbers"
start_tmemd --config /dev/null --arena none --budget 64M --group "$group"
wait_for 30 client_of his .uid || fail "the mount does not attach again"
read_twice
as_user fusermount3 -u "$mnt"
wait_for 10 no_servers
end_server "$tmemd_pid"

# One of his own is found before the host's.
mkdir -m 700 "$tmp/run" "$tmp/run/tmem"
chown -R "$uid:$gid" "$tmp/run"
tmemd_socket=$tmp/run/tmem/tmemd.sock
start_server tmemd_pid his-tmemd setpriv --reuid "$uid" --regid "$gid" \
	--clear-groups tmemd --config /dev/null --budget 32M \
	--socket "$tmemd_socket"
wait_for 30 admin stats
as_user env XDG_RUNTIME_DIR="$tmp/run" tmemfs -o name=his "$src" "$mnt"
[[ $(client_of his .uid) == "$uid" ]] || fail "his own tmemd was not found"
as_user fusermount3 -u "$mnt"
wait_for 10 no_servers
