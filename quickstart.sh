#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# See tmem at work on this machine, with one command. Usage, and what it does
# to the machine: ./quickstart.sh --help
#
# Everything that is set up is first written down, with how it is undone, in a
# file of the run's directory. A second process, the guard, in a session of its
# own and deaf to Ctrl-C, waits for this script to end in whatever way, SIGKILL
# included, and then undoes all of it in reverse order. Nothing is taken down
# anywhere else, so the normal end tests the path that a killed run takes.

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
self=$top/quickstart.sh
build=$top/build-quickstart
. "$top/tests/lib/host.sh"

export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
lock=/run/tmem-quickstart.lock
sample_mib=1024   # most that is read of DIRECTORY,
sample_seconds=40 # and longest that reading it the first time may take
device_mib=1024   # the swap device
swap_mib=256      # the program that is swapped,
cgroup_mib=64     # and the memory it is allowed
need_mib=2048     # available memory below which nothing is swapped

usage() {
	cat <<'USAGE'
usage: sudo ./quickstart.sh [DIRECTORY]

Build tmem and show it at work on this machine:

 1. install the Debian packages it needs, and build it in build-quickstart/
 2. start a tmemd of its own
 3. mount tmemfs over DIRECTORY (/usr/share), in a mount namespace of its own
    where no other program sees it; read up to 1 GiB of the files below it cold
    and, the kernel's cache dropped, again warm; compare all checksums with
    those of the lower files
 4. make a 1 GiB tmem-nbd device, swap on it, and run a program in a memory
    cgroup of 64 MiB that writes 256 MiB, reads it back and checks it
 5. print what happened, and take everything down again, also on Ctrl-C

What other programs may notice: the kernel's caches are dropped three times
(/proc/sys/vm/drop_caches), and for some seconds there is one more swap device.
USAGE
}

die() {
	echo "quickstart.sh: $*" >&2
	exit 1
}

step() {
	printf '\n== %s\n' "$*"
}

# Write down how to undo what is about to be done; undoing must work whether
# or not that came about.
#   undo COMMAND...
undo() {
	printf '%q ' "$@" >>"$run/undo"
	echo >>"$run/undo"
}

# The guard ------------------------------------------------------------------

# Swap off, and wait for memory as long as that takes: until then pages are in
# the device, and its servers must live.
undo_swap() {
	local device said=
	if device=$(nbd_device_of "$run/swap"); then
		until swap_off "$device" 2>>"$run/guard.log"; do
			[[ -n $said ]] || echo "quickstart.sh: there is not enough memory to take $device out of swap: its servers stay until there is" >&2
			said=yes
			sleep 5
		done
	fi
	nbd_device_free "$run/swap"
}

undo_process() {
	local pid
	pid=$(cat "$run/$1.pid" 2>/dev/null) || return 0
	stop_process "$pid" 30
}

# Wait for the script to end or to say that it is over, then undo what it
# wrote down.
#   guard RUN PID
guard() {
	run=$1
	trap '' INT TERM HUP QUIT PIPE
	set +e
	while alive "$2" && [[ ! -e $run/over ]]; do
		sleep 0.2
	done
	local -a commands
	mapfile -t commands < <(tac "$run/undo")
	local command
	for command in "${commands[@]}"; do
		eval "$command" || echo "quickstart.sh: could not undo: $command" >&2
	done
	rm -rf --one-file-system "$run"
}

if [[ ${1:-} == --guard ]]; then
	guard "$2" "$3"
	exit
fi

# Options --------------------------------------------------------------------

directory=/usr/share
case ${1:-} in
-h | --help)
	usage
	exit 0
	;;
-*)
	usage >&2
	exit 2
	;;
?*) directory=$1 ;;
esac
(($# <= 1)) || {
	usage >&2
	exit 2
}
((EUID == 0)) || die "needs root, to mount and to swap: run sudo ./quickstart.sh"
[[ -d $directory ]] || die "$directory is no directory: give one whose files are to be read"
directory=$(realpath "$directory")
[[ $directory != / ]] || die "cannot mount over /: give a directory below it, such as /usr/share"
case $(findmnt -n -o FSTYPE -T "$directory") in
proc | sysfs | devtmpfs | devpts | debugfs | tracefs | cgroup | cgroup2 | securityfs | bpf | configfs | pstore | efivarfs)
	die "$directory holds no files but the kernel's own: give a directory on a disk"
	;;
esac

# One run at a time: each drops the kernel's caches and counts what the disks
# read. The guard holds the lock as well, until all is undone.
exec {lock_fd}>>"$lock"
flock --nonblock "$lock_fd" ||
	die "another run is at work or still being taken down (process $(tail -n 1 "$lock")): wait for it to end"
echo "$$" >"$lock"
swap_is_free /proc/swaps || die "another swap device is in the way"

run=$(mktemp -d /var/tmp/tmem-quickstart.XXXXXX)
: >"$run/undo"
setsid "$self" --guard "$run" "$$" &
guard_pid=$!

# The end, however it came: have the guard undo everything, and wait for that.
over() {
	local status=$?
	trap '' INT TERM HUP
	step "taking everything down"
	touch "$run/over"
	wait "$guard_pid" || status=1
	exit "$status"
}
trap over EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Run a command so that a signal to this script need not wait for its end.
interruptible() {
	"$@" <&0 &
	wait "$!"
}

# Start a server that the guard stops.
#   serve NAME COMMAND...
serve() {
	local name=$1
	shift
	undo undo_process "$name"
	(
		echo "$BASHPID" >"$run/$name.pid"
		echo "$BASHPID" >"$servers/cgroup.procs"
		exec setsid "$@" </dev/null >"$run/$name.log" 2>&1
	) &
	disown "$!"
	wait_for 60 test -s "$run/$name.pid"
}

# Wait for a server to be ready: COMMAND succeeds.
#   ready NAME COMMAND...
ready() {
	local name=$1
	shift
	wait_for 60 "$@" || die "$name did not come up: $(tail -n 5 "$run/$name.log")"
}

admin() {
	tmem-admin --socket "$run/tmemd.sock" "$@"
}

# A number of "tmem-admin stats --json", by jq filter.
stat_of() {
	admin stats --json | jq -er "$1"
}

available_mib() {
	awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo
}

# Requests and KiB that the disk below a directory has read so far, as the
# kernel counts them; where that is no one disk (tmpfs, a network, btrfs over
# several), of all disks.
#   disk_reads DIRECTORY
disk_reads() {
	local disk
	disk=/sys/dev/block/$(stat -c %Hd:%Ld "$1")
	if [[ -e $disk ]]; then
		cat "$disk/stat"
	else
		for disk in /sys/block/*; do
			[[ ! -e $disk/device ]] || cat "$disk/stat"
		done
	fi | awk '{ requests += $1; kib += $3 / 2 }
		END { print requests, int(kib) }'
}

drop_caches() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

# The files, through tmemfs ---------------------------------------------------

# A command in the mount namespace where tmemfs covers the directory.
in_mount() {
	nsenter --mount --root --target "$(<"$run/tmemfs.pid")" -- "$@"
}

# Read the files of the sample, the kernel's cache dropped; checksums go to
# $run/LABEL.sums, and files, bytes, seconds, disk requests and disk KiB to
# $run/LABEL.
#   read_files LABEL COMMAND...
read_files() {
	local label=$1 read_before kib_before read_after kib_after
	shift
	drop_caches
	read -r read_before kib_before < <(disk_reads "$directory")
	interruptible "$@" --progress --summary "$run/summary" \
		<"$run/names" >"$run/$label.sums"
	read -r read_after kib_after < <(disk_reads "$directory")
	echo "$(<"$run/summary") $((read_after - read_before)) $((kib_after - kib_before))" \
		>"$run/$label"
}

# The checksums that reading through tmemfs gave must be those of the lower
# files, unless a lower file has changed since it was read.
#   compare_sums LABEL
compare_sums() {
	cmp -s "$run/lower.sums" "$run/$1.sums" && return 0
	diff --unchanged-line-format= --old-line-format=%L --new-line-format= \
		"$run/lower.sums" "$run/$1.sums" >"$run/suspects" || true
	cut -d ' ' -f 2- "$run/suspects" | tr '\n' '\0' |
		sumfiles >"$run/again.sums"
	if grep -Fxf "$run/again.sums" "$run/suspects" >"$run/wrong"; then
		head "$run/wrong" >&2
		die "reading through tmemfs ($1) gave other bytes than these lower files hold"
	fi
	echo "   ($(wc -l <"$run/suspects") files changed while they were read, and do not count)"
}

# Puts may follow a read that has been answered, and what they put is
# compressed in the background: wait until both are through, or for 15 s.
puts_settled() {
	local before='' now tries=30
	while now=$(stat_of '.host | "\(.puts) \(.young_contents)"') &&
		[[ $now != "$before" || $now != *" 0" ]] && ((--tries)); do
		before=$now
		sleep 0.5
	done
}

part_files() {
	step "reading the files below $directory without tmemfs"
	find "$directory" -xdev -type f -size +0 ! -path $'*\n*' -print0 \
		>"$run/all" || true
	[[ -s $run/all ]] || die "there are no files below $directory to read: empty ones, those on other file systems, and names with a line break do not count"
	cp "$run/all" "$run/names"
	read_files lower sumfiles --bytes $((sample_mib << 20)) \
		--seconds "$sample_seconds"
	local files bytes
	read -r files bytes _ <"$run/lower"
	head -z -n "$files" "$run/all" >"$run/names"
	cmp -s "$run/names" "$run/all" ||
		echo "   (the first $files of $(tr -dc '\0' <"$run/all" | wc -c) files, $((bytes >> 20)) MiB, are enough to show it)"

	step "reading them cold through tmemfs, mounted over $directory"
	serve tmemfs unshare --mount --propagation private \
		tmemfs -f -o "tmemd=$run/tmemd.sock" "$directory" "$directory"
	ready tmemfs in_mount findmnt -rn -t fuse.tmemfs -M "$directory"
	read_files cold in_mount sumfiles
	compare_sums cold
	puts_settled
	stat_of '"\(.host.pages) \(.host.used)"' >"$run/held"

	step "reading them again, warm"
	read_files warm in_mount sumfiles
	compare_sums warm
	undo_process tmemfs
}

# The swap device --------------------------------------------------------------

# While the program runs, tell how much of it is in swap.
watch_program() {
	while alive "$1"; do
		if [[ -t 1 ]]; then
			printf '\r   %4d MiB of the program are in swap' \
				$(($(memcg_swapped "$program" || echo 0) >> 20))
		fi
		sleep 0.5
	done
	[[ ! -t 1 ]] || printf '\r\033[K'
}

# MiB read from a block device and written to it so far.
device_moved() {
	awk '{ print int($3 / 2048), int($7 / 2048) }' \
		"/sys/block/${1#/dev/}/stat"
}

part_swap() {
	local device before after
	step "making a $device_mib MiB tmem-nbd device and swapping on it"
	serve tmem-nbd tmem-nbd --foreground --tmemd "$run/tmemd.sock" \
		--name quickstart --size "${device_mib}M" \
		--socket "$run/nbd.sock" --overflow "$run/overflow"
	ready tmem-nbd nbdinfo --size \
		"nbd+unix:///quickstart?socket=$run/nbd.sock"
	undo undo_swap
	(
		echo "$BASHPID" >"$servers/cgroup.procs"
		nbd_device_new "$run/nbd.sock" quickstart "$run/swap"
	)
	device=$(nbd_device_of "$run/swap")
	swap_on "$device"
	before=$(device_moved "$device")
	echo "   swapping on $device"

	step "running a program of $swap_mib MiB in a memory cgroup of $cgroup_mib MiB"
	undo memcg_free "$program"
	memcg_new "$program"
	memcg_limit "$program" $((cgroup_mib << 20))
	mkfifo "$run/go"
	exec {go}<>"$run/go"
	memcg_run "$program" swapper --mib "$swap_mib" --hold \
		<&"$go" >"$run/swapper" 2>&1 &
	local pid=$!
	wait_for 600 grep -q '^fill' "$run/swapper" ||
		die "the program did not come far: $(<"$run/swapper")"
	puts_settled
	stat_of '"\(.host.persistent_pages) \(.host.used)"' >"$run/swapped"
	echo >&"$go"
	watch_program "$pid"
	wait "$pid" || die "the program failed: $(tail -n 3 "$run/swapper")"
	after=$(device_moved "$device")
	echo "$before $after" >"$run/moved"
}

# What happened -----------------------------------------------------------------

# SECONDS, BYTES: "3.2 s   260 MB/s"
speed() {
	awk -v s="$1" -v b="$2" 'BEGIN {
		printf "%7.1f s %6.0f MB/s", s, b / 1e6 / (s + 1e-9) }'
}

# One row on reading, from what read_files noted.
#   row_read TEXT LABEL
row_read() {
	local bytes seconds requests kib
	read -r _ bytes seconds requests kib <"$run/$2"
	printf '%-28s %s %9d %8d MiB\n' "$1" "$(speed "$seconds" "$bytes")" \
		"$requests" $((kib >> 10))
}

# Pages held and bytes used, from a file with the two.
#   row_held TEXT FILE
row_held() {
	local pages used
	read -r pages used <"$2"
	awk -v text="$1" -v p="$pages" -v u="$used" 'BEGIN {
		printf "%-28s %9d pages (%d MiB) in %.1f MiB: ratio %.2f\n",
			text, p, p / 256, u / 1048576, p * 4096 / u }'
}

# One row on the program, from the line of its output that begins with STEP.
#   row_program TEXT STEP MIB
row_program() {
	local seconds
	seconds=$(awk -v step="$2" '$1 == step { print $2 }' "$run/swapper")
	printf '%-28s %s %22s\n' "$1" \
		"$(speed "$seconds" $((swap_mib << 20)))" "$3"
}

print_table() {
	local cold_requests cold_kib warm_requests warm_kib
	local in_before out_before in out
	read -r _ _ _ cold_requests cold_kib <"$run/cold"
	read -r _ _ _ warm_requests warm_kib <"$run/warm"
	local files bytes
	read -r files bytes _ <"$run/lower"
	printf '\n%d files, %d MiB, below %s:\n' "$files" $((bytes >> 20)) \
		"$directory"
	printf '%-28s %9s %11s %9s %12s\n' "" time speed requests "from disk"
	row_read "lower files, no tmem" lower
	row_read "tmemfs, cold" cold
	row_read "tmemfs, warm" warm
	printf '%-28s %31d %8d MiB\n' "lower reads avoided" \
		$((cold_requests - warm_requests)) \
		$(((cold_kib - warm_kib) >> 10))
	row_held "held for tmemfs" "$run/held"
	[[ -e $run/moved ]] || return 0
	read -r in_before out_before in out <"$run/moved"
	printf '\n%d MiB of memory in a memory cgroup of %d MiB:\n' \
		"$swap_mib" "$cgroup_mib"
	printf '%-28s %9s %11s %22s\n' "" time speed swapped
	row_program "written" fill "$((out - out_before)) MiB out"
	row_program "read back and checked" check "$((in - in_before)) MiB in"
	row_held "held for tmem-nbd" "$run/swapped"
}

# ------------------------------------------------------------------------------

step "installing packages and building"
packages_install "$top/packages.txt" build run
setup=(meson setup "$build" "$top" --buildtype=release -Dtests=disabled)
[[ ! -e $build/build.ninja ]] || setup+=(--reconfigure)
if ! "${setup[@]}" >"$run/build" 2>&1 ||
	! interruptible ninja -C "$build" >>"$run/build" 2>&1; then
	tail -n 20 "$run/build" >&2
	die "the build failed"
fi
# Whoever owns the source can remove what root has built in it.
chown -R --reference="$top" "$build"
for part in tmemd tmem-nbd tmemfs tmem-admin tests/e2e; do
	PATH=$build/$part:$PATH
done

step "starting tmemd"
servers=$(memcg_path "tmem-quickstart-$$-servers")
program=$(memcg_path "tmem-quickstart-$$-program")
undo memcg_free "$servers"
memcg_new "$servers"
memcg_noswap "$servers"
serve tmemd tmemd --config /dev/null --socket "$run/tmemd.sock" --arena none
ready tmemd admin stats

part_files
refused=
if (($(available_mib) < need_mib)); then
	refused="swapping was refused: it takes $need_mib MiB of available memory, and there are $(available_mib)"
else
	part_swap
fi
print_table
[[ -z $refused ]] || die "$refused"
