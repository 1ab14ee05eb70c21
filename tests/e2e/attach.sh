#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# "tmem-nbd attach" and "detach": a device and swap are made, found again and
# taken down; what is in the way is said, and what was begun is undone. Through
# nbdfuse and a loop device: guest-swap.sh has the kernel's nbd.

. "$(dirname "$0")/lib.sh"
requires_loop
requires_fuse
requires_swap
requires nbdfuse --version

name=attach-$$
mount=/run/tmem/$name.mount
record=/run/tmem/$name.attached
attach() {
	tmem-nbd attach --fuse --socket "$nbd_socket" "$@" "$name"
}
detach_if_attached() {
	! mountpoint -q "$tmp/mnt" || umount "$tmp/mnt"
	[[ ! -s $record ]] || tmem-nbd detach --force "$name"
}
# Must fail, and say TEXT: refused TEXT COMMAND...
refused() {
	local text=$1
	shift
	! "$@" >"$tmp/refused" 2>&1 || fail "$* was not refused"
	grep -qF -- "$text" "$tmp/refused" ||
		fail "$* said: $(cat "$tmp/refused")"
}
nothing_is_left() {
	[[ ! -e $record && ! -e $mount ]] || fail "$record or $mount is left"
	! losetup -nl -O BACK-FILE | grep -qF "$mount" ||
		fail "a loop device is left"
	! pgrep -f "nbdfuse $mount" >/dev/null || fail "nbdfuse is left"
}

# The command line, and a server that is not there.
tmem-nbd attach --help | grep -q "^Usage: tmem-nbd attach" || fail "no help"
tmem-nbd detach --help | grep -q "^Usage: tmem-nbd detach" || fail "no help"
refused "is not a number from 0 to 32767" tmem-nbd attach --priority 32768
refused "is no /dev/nbd0" tmem-nbd attach --device /dev/sda
refused "leave --device out" tmem-nbd attach --fuse --device /dev/nbd0
refused "one name" tmem-nbd attach a b
refused "one name" tmem-nbd detach ../a
refused "is not attached" tmem-nbd detach "$name"
nbd_socket=$tmp/no.nbd
refused "nobody serves at" attach
nothing_is_left

# A device, with swap on it at last.
start_nbd "$name" --embedded --budget 32M --size 64M --overflow "$tmp/overflow"
cleanup_fn detach_if_attached
device=$(attach --priority 3) || fail "attaching failed"
[[ $(awk -v device="$device" '$1 == device { print $5 }' /proc/swaps) == 3 ]] ||
	fail "no swap on $device: $(</proc/swaps)"
[[ $(cat "/sys/block/${device##*/}/loop/dio") == 1 ]] ||
	fail "$device goes through the page cache"
refused "is attached already, as $device" attach
exec {lock}<"$record"
flock "$lock"
refused "just now" tmem-nbd detach "$name"
exec {lock}<&-
tmem-nbd detach "$name" || fail "detaching failed"
! swap_is_on "$device" || fail "swap on $device is still on"
nothing_is_left

# Attached again, it is swap already; a file system is left alone.
device=$(attach) || fail "attaching again failed"
tmem-nbd detach "$name"
device=$(attach --no-swap) || fail "attaching without swap failed"
! swap_is_on "$device" || fail "--no-swap began swap"
mkfs.ext4 -q "$device"
mkdir "$tmp/mnt"
mount "$device" "$tmp/mnt"
refused "is in use" tmem-nbd detach "$name"
umount "$tmp/mnt"
tmem-nbd detach "$name" || fail "detaching failed after umount"
refused "holds data that is not swap" attach
nothing_is_left

# What was begun is undone where a step fails: there is no mkswap.
mkdir "$tmp/bin"
ln -s "$(command -v nbdfuse)" "$(command -v fusermount3)" "$(command -v mv)" \
	"$tmp/bin/"
command=$(command -v tmem-nbd)
end_server "$nbd_pid"
start_nbd "$name" --embedded --budget 32M --size 64M --overflow "$tmp/overflow"
refused "there is no program mkswap" env PATH="$tmp/bin" "$command" attach \
	--fuse --socket "$nbd_socket" "$name"
nothing_is_left
# And where a signal comes: while mkswap runs, which this one does for long.
cat >"$tmp/bin/mkswap" <<-MKSWAP
	#!/bin/bash
	echo \$\$ >"$tmp/begun.part"
	mv "$tmp/begun.part" "$tmp/begun"
	exec $(command -v sleep) 600
MKSWAP
chmod +x "$tmp/bin/mkswap"
PATH=$tmp/bin "$command" attach --fuse --socket "$nbd_socket" "$name" \
	>"$tmp/interrupted" 2>&1 &
pid=$!
wait_for 60 test -e "$tmp/begun" || fail "it did not get to mkswap"
kill -INT "$pid"
! wait "$pid" || fail "an interrupted attach says it succeeded"
grep -q "interrupted: undoing" "$tmp/interrupted" ||
	fail "it said: $(cat "$tmp/interrupted")"
nothing_is_left

# One that is killed leaves what it has made, and the next finds it: killed with
# a mount, a device that it had no time to remember, and one that it had.
killed_once() {
	rm -f "$tmp/begun"
	PATH=$tmp/bin:$PATH "$command" attach --fuse --socket "$nbd_socket" \
		"$name" >"$tmp/killed" 2>&1 &
	pid=$!
	wait_for 60 "$@" || fail "it did not get there: $(cat "$tmp/killed")"
	kill -KILL "$pid"
	! wait "$pid" || fail "a killed attach says it succeeded"
}
rm "$tmp/bin/nbdfuse"
cat >"$tmp/bin/nbdfuse" <<-NBDFUSE
	#!/bin/bash
	: >"$tmp/begun"
	sleep 1
	exec $(command -v nbdfuse) "\$@"
NBDFUSE
chmod +x "$tmp/bin/nbdfuse"
killed_once test -e "$tmp/begun"
wait_for 60 mountpoint -q "$mount" || fail "nbdfuse did not mount"
tmem-nbd detach "$name" || fail "detaching a mount failed"
nothing_is_left
killed_once test -e "$tmp/begun"
wait_for 60 mountpoint -q "$mount" || fail "nbdfuse did not mount"
attach || fail "attaching over a mount failed"
tmem-nbd detach "$name" || fail "detaching failed"
nothing_is_left
ln -sf "$(command -v nbdfuse)" "$tmp/bin/nbdfuse"
killed_once test -e "$tmp/begun"
kill "$(<"$tmp/begun")"
refused "is attached already" attach
: >"$record"
refused "is attached already" attach
tmem-nbd detach "$name" || fail "detaching what was forgotten failed"
nothing_is_left

# Nobody but root.
chmod 755 "$tmp"
install -m 755 "$command" "$tmp/tmem-nbd"
refused "use sudo" setpriv --reuid 1234 --clear-groups "$tmp/tmem-nbd" \
	attach "$name"
refused "use sudo" setpriv --reuid 1234 --clear-groups "$tmp/tmem-nbd" \
	detach "$name"
