#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# quickstart.sh on a small directory: it ends well with its table, a second one
# at the same time says why it does not run, and whether it ends by itself, by
# Ctrl-C or by SIGKILL in the middle of swapping, nothing of it is left and no
# server goes before swap is off.

. "$(dirname "$0")/lib.sh"
requires_swap
requires_loop
requires_fuse
requires_memory 2560

quickstart=$e2e_dir/../../quickstart.sh
mkdir "$tmp/files"
for i in {1..200}; do
	head -c $((i * 500)) "$quickstart" >"$tmp/files/script-$i"
	seq $((i * 100)) >"$tmp/files/numbers-$i"
done

# What a run leaves in the system while it is at work.
traces() {
	compgen -G '/var/tmp/tmem-quickstart.*'
	findmnt -rn -o TARGET | grep tmem-quickstart
	grep -l tmem-quickstart /sys/block/loop*/loop/backing_file
	find /sys/fs/cgroup -name 'tmem-quickstart-*'
	find /proc/[0-9]*/exe -lname '*/build-quickstart/*'
} 2>/dev/null

nothing_left() {
	[[ -z $(traces) ]]
}

# Start it, in a process group of its own as a shell's job would be.
start_quickstart() {
	env --default-signal setsid "$quickstart" "$tmp/files" \
		</dev/null >"$tmp/run.log" 2>&1 &
	run_pid=$!
	cleanup_fn stop_process "$run_pid" 30
}

# Wait for a part of the run, by what it says.
reached() {
	wait_for 300 said_or_ended "$1"
	grep -q "$1" "$tmp/run.log" || fail "it ended before \"$1\""
}
said_or_ended() {
	grep -q "$1" "$tmp/run.log" || gone "$run_pid"
}


nothing_left || fail "something of quickstart.sh is here already: $(traces)"

start_quickstart
reached "== starting tmemd"
if "$quickstart" "$tmp/files" >"$tmp/second.log" 2>&1; then
	fail "a second one ran at the same time"
fi
grep -q "another run is at work" "$tmp/second.log" ||
	fail "a second one did not say why it cannot run: $(<"$tmp/second.log")"
wait "$run_pid" || fail "it failed"
for words in "tmemfs, cold" "tmemfs, warm" "lower reads avoided" \
	"held for tmemfs" "read back and checked" "held for tmem-nbd"; do
	grep -q "^$words " "$tmp/run.log" || fail "its table has no line \"$words\""
done
nothing_left || fail "it left behind: $(traces)"

start_quickstart
reached "memory cgroup of"
kill -INT -- "-$run_pid"
status=0
wait "$run_pid" || status=$?
((status == 130)) || fail "it ended with $status on Ctrl-C"
nothing_left || fail "interrupted, it left behind: $(traces)"

# Killed while pages of its program are in swap.
start_quickstart
reached "memory cgroup of"
device=$(awk '/swapping on \/dev/ { print $NF }' "$tmp/run.log")
swapped_out() {
	awk -v device="$device" '$1 == device && $4 > 100000 { found = 1 }
		END { exit !found }' /proc/swaps
}
wait_for 60 swapped_out || fail "nothing was swapped out to $device"
run=$(compgen -G '/var/tmp/tmem-quickstart.*')
server=$(<"$run/tmemd.pid")
kill -KILL "$run_pid"
while swap_is_on "$device"; do
	alive "$server" || ! swap_is_on "$device" ||
		fail "the server went while $device was in swap"
done
wait_for 60 nothing_left || fail "killed, it left behind: $(traces)"
