#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The process that holds the pages is killed again and again while a client
# writes and trims: tmemd under its keeper, or tmem-nbd itself with an arena.
# Every page that was acknowledged reads back. The budget is so small that pages
# overflow and are written out all the time. rounds=N kills N times.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/nbd-lib.sh"
requires_root
rounds=${rounds:-${TMEM_TEST_FULL:+100}}
rounds=${rounds:-8}

start_lasting 8M

exec {progress}< <(exec nbd-prober "$nbd_socket" 16384 2>"$tmp/prober.log")
prober=$!
cleanup_fn stop_process "$prober"

# Wait until the prober has come N thousand writes further from now.
wait_progress() {
	local i line
	while read -r -t 0 <&"$progress"; do
		read -r line <&"$progress"
	done
	for ((i = 0; i < $1; i++)); do
		read -r -t 240 line <&"$progress" ||
			fail "the client made no progress"
	done
}

for ((round = 1; round <= rounds; round++)); do
	wait_progress $((1 + RANDOM % 3))
	kill -KILL "$victim"
	wait_for 10 gone "$victim" || fail "SIGKILL did not kill"
	start_victim 8M
done
wait_progress 1
kill -TERM "$prober"
line=
while [[ $line != verified* ]]; do
	read -r -t 240 line <&"$progress" ||
		fail "the client did not verify its pages"
done
echo "$line"
reconnects=${line#*writes, }
((${reconnects%% *} >= rounds)) ||
	fail "the client was cut off ${reconnects%% *} times, not $rounds"
(($(nbd_stat disk overflow_writes) > 0)) || fail "nothing overflowed"
(($(nbd_stat disk written_out) > 0)) || fail "nothing was written out"

# A store that comes back without its pages is not taken for the same one.
if [[ $where == hosted ]]; then
	end_server "$tmemd_pid"
	rm "$tmp/arena/arena"
	start_victim 8M
	wait_for 30 gone "$nbd_pid" ||
		fail "the keeper serves a device whose pages are gone"
	grep -q "no longer holds the device" "$tmp/nbd-disk.log" ||
		fail "the keeper did not say why it ended"
	[[ -s $tmp/overflow ]] || fail "the keeper removed a file with pages"
else
	end_server "$nbd_pid"
	rm "$tmp/arena/arena"
	! tmem-nbd --foreground --name disk --socket "$nbd_socket" --size 64M \
		--overflow "$tmp/overflow" --arena "$tmp/arena/arena" \
		2>"$tmp/refused" || fail "the overflow file was taken"
	grep -q "belongs to a device that this store does not hold" \
		"$tmp/refused" || fail "said: $(cat "$tmp/refused")"
fi
