# SPDX-License-Identifier: GPL-2.0-or-later
#
# Functions of the end-to-end tests, which source this file first:
#
#	. "$(dirname "$0")/../e2e/lib.sh"
#
# A test runs in a private directory, $tmp, and is over when its script is:
# whatever it started through these functions is taken down in reverse order,
# however it ends. Servers run in sessions of their own, so that a signal to
# the test's process group (Ctrl-C, meson's time limit) reaches only the test,
# which then takes them down in order. Programs come from $TMEM_BUILD, the
# build directory, which meson sets.

set -euo pipefail

e2e_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$e2e_dir/../lib/host.sh"

: "${TMEM_BUILD:?is not set: run the tests by "meson test -C BUILD", or set it to the build directory}"
TMEM_BUILD=$(cd "$TMEM_BUILD" && pwd)
export PATH="$TMEM_BUILD/tmemd:$TMEM_BUILD/tmem-nbd:$TMEM_BUILD/tmemfs:$TMEM_BUILD/tmem-admin:$TMEM_BUILD/tests/e2e:$PATH:/usr/sbin:/sbin"
export LC_ALL=C TZ=UTC
# A sanitizer's finding must fail the test, not be a line in some log.
export ASAN_OPTIONS="abort_on_error=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="halt_on_error=1:abort_on_error=1:print_stacktrace=1:${UBSAN_OPTIONS:-}"
export TSAN_OPTIONS="halt_on_error=1:abort_on_error=1:${TSAN_OPTIONS:-}"

# Limits are there to end what hangs: a machine with much else to do is slow.
patience=5

test_name=$(basename "$0" .sh)

cleanups=()

# Run a command when the test ends, before those registered earlier.
cleanup_fn() {
	cleanups+=("$(printf '%q ' "$@")")
}

run_cleanups() {
	local status=$? i
	trap '' INT TERM HUP PIPE
	trap - EXIT
	set +e
	if ((status != 0 && status != 77)); then
		show_logs
	fi
	for ((i = ${#cleanups[@]} - 1; i >= 0; i--)); do
		eval "${cleanups[i]}" || {
			echo "$test_name: clean-up failed: ${cleanups[i]}" >&2
			((status == 0)) && status=1
		}
	done
	exit "$status"
}

# The servers' last words, for whoever reads why a test failed.
show_logs() {
	local log
	for log in "$tmp"/*.log; do
		[[ -s $log ]] || continue
		echo "--- $(basename "$log")"
		tail -n 40 "$log"
	done >&2
}

trap run_cleanups EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
trap 'exit 141' PIPE

# Not /tmp, which may be a tmpfs: too small, and unlike a disk.
tmp=$(mktemp -d "${TMPDIR:-/var/tmp}/tmem-test-$test_name.XXXXXX")
cleanup_fn rm -rf --one-file-system "$tmp"

fail() {
	echo "$test_name: $*" >&2
	exit 1
}

# This machine cannot run the test at all.
skip() {
	echo "$test_name: skipped: $*" >&2
	exit 77
}

# What test.sh provides may be missing only when somebody runs a test by hand.
skip_unless_provided() {
	[[ -z ${TMEM_TEST_NO_SKIP:-} ]] || fail "$*"
	skip "$*"
}

# The test needs a command to succeed, such as "fio --version".
requires() {
	"$@" </dev/null >/dev/null 2>&1 ||
		skip_unless_provided "'$*' does not work here: install the packages in packages.txt"
}

requires_root() {
	((EUID == 0)) || skip_unless_provided "needs root"
}

requires_fuse() {
	[[ -r /dev/fuse && -w /dev/fuse ]] ||
		skip "needs access to /dev/fuse"
	requires fusermount3 --version
}

requires_loop() {
	requires_root
	losetup --find >/dev/null 2>&1 || skip "needs loop devices"
}

requires_memcg() {
	requires_root
	memcg_root v1 >/dev/null || memcg_root v2 >/dev/null ||
		skip "needs a memory cgroup controller"
}

requires_swap() {
	requires_memcg
	[[ -e /proc/swaps ]] || skip "needs a kernel with swap"
	swap_is_free /proc/swaps || fail "another swap device is in the way"
}

# Needs MIB of available memory.
requires_memory() {
	local available
	available=$(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo)
	((available >= $1)) ||
		skip "needs $1 MiB of available memory, and $available are there"
}

# Have the programs where every user can run them: the build directory may be
# where only root gets to.
publish_programs() {
	local program
	chmod 755 "$tmp"
	for program in tmemd/tmemd tmemfs/tmemfs tmem-nbd/tmem-nbd \
		tmem-admin/tmem-admin tests/e2e/attacher; do
		install -D "$TMEM_BUILD/$program" "$tmp/build/$program"
		PATH=$tmp/build/${program%/*}:$PATH
	done
	TMEM_BUILD=$tmp/build
}

# Start a server in a session of its own, its output in $tmp/NAME.log, its
# process id in the variable VAR; stopped at the test's end.
#   start_server VAR NAME COMMAND...
start_server() {
	local -n pid_out=$1
	local log=$tmp/$2.log
	shift 2
	setsid "$@" </dev/null >>"$log" 2>&1 &
	pid_out=$!
	# So that the shell does not report its end when a test kills it.
	disown "$pid_out"
	cleanup_fn stop_process "$pid_out"
}

# Stop a server that must end by itself, with nothing of a sanitizer's.
#   end_server PID
end_server() {
	kill -TERM "$1" 2>/dev/null || fail "process $1 was gone already"
	wait_for 30 gone "$1" || fail "process $1 did not end on SIGTERM"
}

# A free loop device over a file, in the variable VAR.
#   loop_new VAR FILE [losetup options]
loop_new() {
	local -n device_out=$1
	local file=$2
	shift 2
	device_out=$(losetup --find --show "$@" "$file")
	cleanup_fn loop_free "$device_out"
}

loop_free() {
	losetup "$1" >/dev/null 2>&1 || return 0
	losetup --detach "$1"
}

# A memory cgroup of BYTES, its directory in the variable VAR.
#   cgroup_new VAR NAME BYTES
cgroup_new() {
	local -n cgroup_out=$1
	cgroup_out=$(memcg_path "tmem-$2-$$")
	cleanup_fn memcg_free "$cgroup_out"
	memcg_new "$cgroup_out"
	memcg_limit "$cgroup_out" "$3"
}

# Start a tmemd on a private socket, with the variables
#   tmemd_socket   where it listens
#   tmemd_pid      its process id
# and wait until it answers. A second call starts it again on that socket.
#   start_tmemd [tmemd options]
start_tmemd() {
	tmemd_socket=$tmp/tmemd.sock
	start_server tmemd_pid tmemd tmemd --socket "$tmemd_socket" "$@"
	wait_for 30 admin stats ||
		fail "tmemd did not come up: tmemd --socket $tmemd_socket $*"
}

# tmem-admin for the tmemd of start_tmemd.
admin() {
	tmem-admin --socket "$tmemd_socket" "$@"
}

# One number of "tmem-admin stats --json", by jq filter.
#   stat_of .host.used
stat_of() {
	admin stats --json | jq -er "$1"
}

# Start a tmem-nbd export in the foreground of a session of its own, with the
# variables
#   nbd_socket   its NBD socket
#   nbd_uri      the same as a URI
#   nbd_pid      the process id of the command
#   start_nbd NAME [tmem-nbd options]
start_nbd() {
	local name=$1
	shift
	nbd_socket=$tmp/$name.nbd
	nbd_uri="nbd+unix:///$name?socket=$nbd_socket"
	start_server nbd_pid "nbd-$name" tmem-nbd --foreground \
		--name "$name" --socket "$nbd_socket" "$@"
	wait_for 30 nbdinfo --size "$nbd_uri" ||
		fail "tmem-nbd did not come up: tmem-nbd --name $name $*"
}

# Mount tmemfs, its process id in tmemfs_pid; unmounted at the test's end.
#   mount_tmemfs SOURCE MOUNTPOINT [tmemfs options]
mount_tmemfs() {
	local source=$1 mountpoint=$2
	shift 2
	start_server tmemfs_pid "tmemfs-${mountpoint##*/}" \
		tmemfs -f "$@" "$source" "$mountpoint"
	cleanup_fn unmount "$mountpoint"
	wait_for 30 mounted "$mountpoint" ||
		fail "tmemfs did not mount: tmemfs $* $source $mountpoint"
}

# Whether tmemfs is mounted there.
mounted() {
	findmnt -rn -t fuse.tmemfs -M "$1"
}

# Unmount what mount_tmemfs mounted, if it still is.
unmount() {
	mounted "$1" >/dev/null || return 0
	if ((EUID == 0)); then
		umount "$1" || umount --lazy "$1"
	else
		fusermount3 -u "$1" || fusermount3 -uz "$1"
	fi
}

# Forget what the kernel has cached, so that the next read asks below.
drop_caches() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

# Forget what the kernel has cached of a mount. Attributes of its root, which is
# always in use, it keeps for their second.
#   forget_mount SOURCE MOUNTPOINT
forget_mount() {
	drop_caches
	wait_for 10 same_mtime "$1" "$2" ||
		fail "$2 was modified at another time than $1"
}
same_mtime() {
	[[ $(stat -c %y "$1") == "$(stat -c %y "$2")" ]]
}

# Checksums of a tree's files, by their names within it.
#   sum_tree DIRECTORY
sum_tree() {
	(cd "$1" && find . -type f -print0 | sort -z | sumfiles)
}

# Names, kinds, modes, owners, sizes, times and link targets of a tree, as text
# that two equal trees share.
#   list_tree DIRECTORY
list_tree() {
	(cd "$1" && find . -printf '%p %y %m %U:%G %s %T@ %l\n' |
		awk '$2 == "d" { $5 = "-" } { print }' | sort)
}

# Fail unless two trees are equal in all that some functions show of each: if
# none is given, list_tree and sum_tree.
#   same_tree A B [FUNCTION...]
same_tree() {
	local a=$1 b=$2 show
	shift 2
	(($#)) || set -- list_tree sum_tree
	for show; do
		"$show" "$a" >"$tmp/tree.a"
		"$show" "$b" >"$tmp/tree.b"
		diff -u "$tmp/tree.a" "$tmp/tree.b" >"$tmp/tree.diff" ||
			fail "$a and $b differ: $(head -n 20 "$tmp/tree.diff")"
	done
}

# A kernel's source tree, to be left as it is: Debian's linux-source-6.1,
# unpacked once into the cache folder, in the variable VAR.
#   kernel_source VAR
kernel_source() {
	local -n source_out=$1
	local cache=${TMEM_TEST_CACHE:-$TMEM_BUILD/cache}
	local archive=/usr/src/linux-source-6.1.tar.xz
	requires test -r "$archive"
	mkdir -p "$cache"
	source_out=$cache/linux-source-6.1
	(
		flock 9
		[[ ! -e $source_out.complete ]] || exit 0
		rm -rf "$source_out"
		tar -C "$cache" -xf "$archive"
		touch "$source_out.complete"
	) 9>"$cache/lock"
}

# A copy of a tree that may be changed.
#   copy_tree FROM TO
copy_tree() {
	cp -a --reflink=auto "$1" "$2"
}

# A copy of a tree whose files will only be read: further links to them where
# one file system holds both.
#   link_tree FROM TO
link_tree() {
	cp -al "$1" "$2" 2>/dev/null || {
		rm -rf "$2"
		copy_tree "$1" "$2"
	}
}

# Wait until the store has nothing left to do: puts that follow a read which
# has been answered, and work in the background, which leaves young pages alone
# for a second or two. Only where the budget has room for them to settle.
store_settled() {
	local before='' now quiet=0
	while ((quiet < 3)) &&
		now=$(stat_of '.host | "\(.puts) \(.used) \(.young_contents)"'); do
		[[ $now == "$before" && $now == *" 0" ]] || quiet=0
		before=$now
		((++quiet))
		sleep 1
	done
}
