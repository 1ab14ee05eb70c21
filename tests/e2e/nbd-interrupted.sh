#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# fio verifies through QEMU's client, which connects again, while the process
# that holds the pages is killed or stopped at random: tmemd under its keeper,
# or tmem-nbd itself with an arena. rounds=N interrupts N times.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/nbd-lib.sh"
requires_root
requires fio --version
requires qemu-nbd --version
fio --enghelp 2>&1 | grep -qw nbd || skip_unless_provided "fio has no engine nbd"
rounds=${rounds:-${TMEM_TEST_FULL:+100}}
rounds=${rounds:-6}

start_lasting 16M

# Requests under way when the connection breaks are sent again when there is
# one, for as long as it takes.
proxy=$tmp/proxy.nbd
start_server proxy_pid proxy qemu-nbd --persistent --shared=8 --cache=none \
	--socket="$proxy" --image-opts \
	"driver=nbd,server.type=unix,server.path=$nbd_socket,export=disk,reconnect-delay=600"
proxy_uri="nbd+unix:///?socket=$proxy"
wait_for 60 nbdinfo --size "$proxy_uri" || fail "QEMU's client did not connect"

# Writes that are read back and compared, over and over, until told to end.
(
	cd "$tmp"
	while [[ ! -e stop ]]; do
		fio --name=verify --ioengine=nbd --uri="$proxy_uri" --size=64M \
			--rw=randwrite --bsrange=4k-32k --blockalign=4k --iodepth=16 \
			--verify=xxhash --verify_fatal=1 --verify_state_save=0 \
			--refill_buffers --buffer_compress_percentage=40 \
			--randseed="$RANDOM" >fio.txt 2>&1 || exit 1
		echo pass >>passes
	done
) &
fio=$!
cleanup_fn stop_process "$fio"
: >"$tmp/passes"

requests() {
	nbd_stat disk requests
}
# More requests are answered than were when this was called; a server that was
# started again counts from 0.
goes_on() {
	local before=$1 now
	gone "$fio" && return 0
	now=$(requests) && ((now > before))
}

for ((round = 1; round <= rounds; round++)); do
	wait_for 120 goes_on $((RANDOM % 3000)) ||
		fail "the client made no progress, round $round"
	alive "$fio" || fail "fio: $(cat "$tmp/fio.txt")"
	if ((round % 3)); then
		kill -KILL "$victim"
		wait_for 10 gone "$victim" || fail "SIGKILL did not kill"
		start_victim 16M
	else
		# Stopped, it answers nobody, and nobody loses anything.
		before=$(requests)
		kill -STOP "$victim"
		! timeout 1 nbdinfo --size "$nbd_uri" >/dev/null 2>&1 ||
			fail "a stopped server answers"
		kill -CONT "$victim"
		wait_for 120 goes_on "$before" ||
			fail "the client did not go on after SIGCONT"
	fi
done
touch "$tmp/stop"
wait "$fio" || fail "fio: $(grep -iE 'verify|error|fio:' "$tmp/fio.txt")"
(($(wc -l <"$tmp/passes") > 0)) || fail "fio verified nothing"
echo "interrupted $rounds times in $(wc -l <"$tmp/passes") passes"
end_server "$proxy_pid"
(($(nbd_stat disk overflow_errors) == 0)) || fail "the overflow file failed"
end_server "$nbd_pid"
