#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Mounting tmemfs and ending it, as an administrator does: by the command, by
# mount(8), from fstab, by signals; with the options that FUSE programs have;
# and what is said when it cannot be.

# In a mount namespace of its own: mount(8) looks for tmemfs where it is
# installed, and other users may need another /dev/fuse.
if [[ -z ${own_namespace:-} ]] && unshare --mount true 2>/dev/null; then
	own_namespace=1 exec unshare --mount --propagation private bash "$0"
fi
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
. "$(dirname "$0")/mount-lib.sh"
requires_root
requires_fuse
requires setpriv --version
requires jq --version
[[ -n ${own_namespace:-} ]] || skip_unless_provided "needs a mount namespace"

src=$tmp/src mnt=$tmp/mnt
mkdir "$src" "$src/in" "$mnt" "$tmp/other"
seq 100000 >"$src/numbers"
echo "what the mount covers" >"$src/in/covered"
chmod 755 "$tmp"

# Fail unless the mount at a place has all of these options.
#   has_options PLACE OPTION...
has_options() {
	local place=$1 options option
	options=,$(findmnt -rnM "$place" -o OPTIONS),
	shift
	for option; do
		[[ $options == *,$option,* ]] ||
			fail "$place is not mounted with $option: $options"
	done
}

# Fail unless SOURCE is shown through the mount, which then goes.
#   good_mount PLACE
good_mount() {
	cmp "$src/numbers" "$1/numbers" || fail "$1 shows something else"
	umount "$1"
	wait_for 10 no_servers || fail "tmemfs goes on after umount"
}

# Help and version.
[[ $(tmemfs --version) == "tmemfs "[0-9]* && $(tmemfs -V) == "$(tmemfs --version)" ]]
tmemfs --help | grep -q -e "-o coherency=MODE"
[[ $(tmemfs -h) == "$(tmemfs --help)" ]] || fail "-h is not --help"

# What is wrong is named; the status is 1, and nothing stays.
refused 1 "give SOURCE and MOUNTPOINT" tmemfs
refused 1 "give SOURCE and MOUNTPOINT" tmemfs "$src"
refused 1 '"extra": one SOURCE' tmemfs "$src" "$mnt" extra
refused 1 "bogus" tmemfs -o bogus "$src" "$mnt"
refused 1 "--help lists the options" tmemfs --bogus "$src" "$mnt"
refused 1 "\"$tmp/no\": No such file" tmemfs "$tmp/no" "$mnt"
refused 1 "\"$tmp/no\": No such file" tmemfs "$src" "$tmp/no"
refused 1 "numbers: Not a directory" tmemfs "$src/numbers" "$mnt"
refused 1 "numbers: Not a directory" tmemfs "$src" "$src/numbers"
while read -r value words; do
	refused 1 "$words" tmemfs -o "$value" "$src" "$mnt"
done <<-EOF
	budget=1K "1K": give a size
	budget=much "much": give a size
	codec=zip "zip": use raw
	coherency=some "some": use strict
	entry_timeout=1s "1s": give seconds
	attr_timeout=-1 "-1": give seconds
	negative_timeout=nan "nan": give seconds
	coherency=strict,attr_timeout=2 "2": coherency=strict
	max_threads=0 "0": give 1
	max_threads=4x "4x": give 1
	name=a/b "a/b": use at most
	embedded,tmemd=/x "/x": leave one
	tmemd=$tmp/no.sock cannot attach to tmemd at $tmp/no.sock
	remount,ro "remount": unmount
EOF
[[ -z $(findmnt -rn -t fuse.tmemfs | grep "$tmp") ]] || fail "something was mounted"
no_servers || fail "something that was refused goes on"

# In the background: there when the command returns, in nobody's way, and gone
# with the mount.
(
	cd "$tmp"
	tmemfs --embedded src mnt <src/numbers >out 2>&1
)
[[ $(findmnt -rnM "$mnt" -o SOURCE,FSTYPE) == "$src fuse.tmemfs" ]]
pid=$(servers)
[[ $(readlink "/proc/$pid/"{cwd,fd/0,fd/1,fd/2}) == \
	$'/\n/dev/null\n/dev/null\n/dev/null' ]] ||
	fail "tmemfs holds on to where it was started"
exec {held}<"$mnt/numbers"
refused 32 "busy" umount "$mnt"
exec {held}<&-
good_mount "$mnt"

# Options.
tmemfs --embedded -o ro,nosuid,noexec,noatime,fsname=a\\,b,max_read=65536 \
	-o coherency=strict,codec=zstd,budget=8M,max_threads=2 "$src" "$mnt"
has_options "$mnt" ro nosuid nodev noexec noatime default_permissions \
	allow_other max_read=65536
[[ $(findmnt -rnM "$mnt" -o SOURCE) == a,b ]]
refused 1 "Read-only file system" touch "$mnt/x"
mount -i -o remount,rw "$mnt"
touch "$mnt/x"
rm "$src/x"
good_mount "$mnt"
tmemfs --embedded -s -o subtype=other,dev,suid "$src" "$mnt"
[[ $(findmnt -rnM "$mnt" -o FSTYPE) == fuse.other ]]
! [[ $(findmnt -rnM "$mnt" -o OPTIONS) =~ nodev|nosuid ]] ||
	fail "dev and suid are lost"
good_mount "$mnt"

# Who may come in: all, under the modes' rule; or nobody but root.
(umask 077 && echo secret >"$src/secret")
tmemfs --embedded "$src" "$mnt"
as_user cat "$mnt/numbers" >/dev/null || fail "others are kept out"
refused 1 "Permission denied" as_user cat "$mnt/secret"
good_mount "$mnt"
tmemfs --embedded -o allow_root "$src" "$mnt"
refused 1 "Permission denied" as_user cat "$mnt/numbers"
good_mount "$mnt"
rm "$src/secret"

# SOURCE itself, or a directory in it, as the mount point.
cp -a "$src" "$tmp/same"
tmemfs --embedded "$tmp/same" "$tmp/same"
cmp "$src/numbers" "$tmp/same/numbers"
echo through >"$tmp/same/new"
umount "$tmp/same"
[[ $(<"$tmp/same/new") == through ]] || fail "what was written is not below"
tmemfs --embedded "$src" "$src/in"
[[ $(ls "$src/in/in") == covered ]] || fail "the mount shows itself"
umount "$src/in"

# Where somebody is, who stays below.
(
	cd "$mnt"
	tmemfs --embedded "$src" .
	[[ ! -e numbers && -e ../mnt/numbers ]]
)
good_mount "$mnt"

# Without being told: in a store of its own, or in tmemd's if there is one.
hide_host_tmemd
tmemfs "$src" "$mnt"
good_mount "$mnt"
start_server pid tmemd tmemd --config /dev/null --arena none --budget 64M \
	--socket /run/tmem/tmemd.sock
wait_for 30 tmem-admin stats
tmemfs "$src" "$mnt"
tmem-admin list --json |
	jq -e --arg name "tmemfs${mnt//\//-}" '.clients[].name == $name' >/dev/null ||
	fail "the mount is no client of the tmemd that is there"
good_mount "$mnt"
end_server "$pid"

# Two of one source, of which one covers another mount.
tmemfs --embedded "$src" "$mnt"
tmemfs --embedded "$src" "$tmp/other"
tmemfs --embedded "$tmp/other" "$mnt"
echo one >"$mnt/shared"
[[ $(<"$tmp/other/shared") == one ]]
echo another >"$tmp/other/shared"
[[ $(<"$mnt/shared") == another ]] || fail "two mounts differ"
rm "$mnt/shared"
umount "$mnt"
# Its server still has both of the others open until it ends.
wait_for 10 umount "$mnt"
wait_for 10 umount "$tmp/other"
wait_for 10 no_servers || fail "a mount goes on"

# Signals end a mount, also one in use, with status 0. Files that are open then
# nobody closes; they end with the process, and are no leak.
for signal in TERM INT HUP; do
	env --default-signal ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0" \
		tmemfs -f --embedded "$src" "$mnt" 2>"$tmp/signal.log" &
	pid=$!
	cleanup_fn stop_process "$pid"
	wait_for 30 mounted "$mnt"
	exec {held}<"$mnt/numbers"
	kill -"$signal" "$pid"
	wait "$pid" || fail "SIG$signal ends it with status $?"
	! mounted "$mnt" || fail "SIG$signal does not unmount"
	exec {held}<&-
done

# Killed, it leaves a mount that no longer answers, and that can be removed.
mount_tmemfs "$src" "$mnt" --embedded -o attr_timeout=0
kill -KILL "$tmemfs_pid"
wait_for 10 gone "$tmemfs_pid"
refused 2 "not connected" ls "$mnt/"
refused 1 "umount --lazy" tmemfs --embedded "$src" "$mnt"
umount --lazy "$mnt"
tmemfs --embedded -o auto_unmount "$src" "$mnt"
cmp "$src/numbers" "$mnt/numbers"
kill -KILL "$(servers)"
wait_for 10 not_mounted "$mnt" || fail "auto_unmount does not"

# Over the libraries that it needs itself, to its very end.
start_server pid usr unshare --mount --propagation private \
	tmemfs -f --embedded /usr /usr
wait_for 30 nsenter --mount --target "$pid" \
	findmnt -rn -t fuse.tmemfs -M /usr
end_server "$pid"

# By mount(8), and from an fstab with the words that are there for others.
mount --bind "$TMEM_BUILD/tmemfs" /usr/local/sbin
mount -t fuse.tmemfs "$src" "$mnt" -o ro,embedded,coherency=exclusive
has_options "$mnt" ro default_permissions allow_other
good_mount "$mnt"
refused 1 "bogus" mount -t fuse.tmemfs "$src" "$mnt" -o bogus
refused 1 "$tmp/no" mount -t fuse.tmemfs "$tmp/no" "$mnt"
cat >"$tmp/fstab" <<-EOF
	$src  $mnt  fuse.tmemfs  defaults,nofail,_netdev,users,exec,embedded,budget=8M,x-systemd.after=tmemd.service,comment=x  0  0
	tmemfs#$src  $tmp/other  fuse  ro,noauto,nouser,embedded  0  0
EOF
mount --fstab "$tmp/fstab" "$tmp/other"
has_options "$tmp/other" ro
good_mount "$tmp/other"
mount --fstab "$tmp/fstab" --all
has_options "$mnt" rw nosuid nodev
mount --fstab "$tmp/fstab" --all
(($(findmnt -rn -t fuse.tmemfs | grep -c "^$mnt ") == 1)) ||
	fail "mounted once more by mount --all"
refused 1 "remount" mount --fstab "$tmp/fstab" -o remount,ro "$mnt"
good_mount "$mnt"
