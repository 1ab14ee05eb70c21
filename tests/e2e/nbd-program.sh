#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The tmem-nbd command: becoming a daemon, ending, what it refuses and what it
# says then, read-only and kept devices.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/nbd-lib.sh"

# refused TEXT [tmem-nbd options]: must fail, say TEXT, and leave no socket.
refused() {
	local text=$1
	shift
	! tmem-nbd --foreground --embedded "$@" >"$tmp/refused" 2>&1 ||
		fail "tmem-nbd $* was not refused"
	grep -qF -- "$text" "$tmp/refused" ||
		fail "tmem-nbd $* said: $(cat "$tmp/refused")"
}
socket=$tmp/a.nbd

# What is wrong on the command line.
refused "give the device a --size" --socket "$socket"
refused "'plenty' is no size" --size plenty
refused "a device's size is 512 bytes to 16T" --size 511 --socket "$socket"
refused "a device's size is 512 bytes to 16T" --size 17T --socket "$socket"
refused "multiple of 512" --size 10001 --socket "$socket"
refused "it needs at least 4M" --size 1M --budget 1M --socket "$socket"
refused "'zip' is none of" --size 1M --codec zip
refused "is not a number from 1 to 65536" --size 1M --max-connections 100000
refused "from 1 to 777, in octal" --size 1M --socket-mode 1000
refused "contradict" --size 1M --tmemd "$tmp/no.sock"
refused "'extra' is not an option" --size 1M extra
refused "printable characters" --size 1M --name "a b" --socket "$socket"
refused "is too long for a socket" --size 1M \
	--socket "$tmp/$(printf 'x%.0s' {1..120})"
refused "failed: No such file or directory" --size 1M \
	--socket "$tmp/no/such/dir/a.nbd"
[[ ! -e $socket ]] || fail "a failed start left its socket"
! tmem-nbd --size 1M --socket "$socket" --tmemd "$tmp/no.sock" \
	2>"$tmp/refused" || fail "served without the tmemd it was told to use"
grep -q "tmemd does not answer at $tmp/no.sock" "$tmp/refused" ||
	fail "said: $(cat "$tmp/refused")"
tmem-nbd --help | grep -q -- --overflow
[[ $(tmem-nbd --version) == "tmem-nbd "* ]]

# Files that are there are not overwritten.
echo precious >"$socket"
refused "is there and is no socket" --size 1M --socket "$socket"
[[ $(cat "$socket") == precious ]] || fail "a file was overwritten"
rm "$socket"
echo precious >"$tmp/file"
refused "not an overflow file" --size 1M --socket "$socket" \
	--overflow "$tmp/file"
[[ $(cat "$tmp/file") == precious ]] || fail "a file was overwritten"
refused "name a file in a file system on it" --size 1M --socket "$socket" \
	--overflow /dev/null
refused "opening the overflow file" --size 1M --socket "$socket" \
	--overflow "$tmp/no/such/file"

# A daemon: there when the command returns, gone with all it made on SIGTERM.
(
	cd "$tmp"
	tmem-nbd --embedded --size 1M --socket a.nbd --pidfile a.pid --name a \
		--overflow a.overflow
)
pid=$(cat "$tmp/a.pid")
cleanup_fn stop_process "$pid"
[[ $(nbdinfo --size "nbd+unix:///a?socket=$socket") == 1048576 ]]
[[ $(stat -c %a "$socket") == 600 ]] || fail "others may connect"
[[ $(readlink "/proc/$pid/cwd") == / && ! -t 0 ]]
refused "is in use by another server" --size 1M --socket "$socket"
refused "overflow file is in use" --size 1M --socket "$tmp/b.nbd" \
	--overflow "$tmp/a.overflow"
kill -TERM "$pid"
wait_for 10 gone "$pid" || fail "SIGTERM does not end it"
[[ ! -e $socket && ! -e $tmp/a.pid ]] || fail "it left something behind"
[[ ! -s $tmp/a.overflow ]] || fail "the overflow file still holds a device"

# A killed one leaves its socket, which the next replaces; its overflow file
# belongs to pages that are lost, and is only taken when told so.
start_nbd a --embedded --size 1M --overflow "$tmp/a.overflow" --socket-mode 660
[[ $(stat -c %a "$nbd_socket") == 660 ]] || fail "the socket's mode is wrong"
kill -KILL "$nbd_pid"
wait_for 10 gone "$nbd_pid"
[[ -S $nbd_socket ]] || fail "who removed the socket?"
refused "belongs to a device that this store does not hold" --size 1M \
	--socket "$nbd_socket" --overflow "$tmp/a.overflow"
start_nbd a --embedded --size 1M --overflow "$tmp/a.overflow" --reset
end_server "$nbd_pid"

# Read-only, with a limit on clients.
start_nbd a --embedded --size 1M --read-only --max-connections 2
nbdinfo --is readonly "$nbd_uri" || fail "it is not read-only"
! qemu-io -f raw -c "write 0 4k" "$nbd_uri" >/dev/null 2>&1 ||
	fail "it was written to"
qemu-io -r -f raw -c "read -P 0 0 1M" "$nbd_uri" >/dev/null
mkfifo "$tmp/hold.1" "$tmp/hold.2"
for i in 1 2; do
	qemu-io -r -f raw "$nbd_uri" <"$tmp/hold.$i" >"$tmp/held.$i" 2>&1 &
	client[i]=$!
	cleanup_fn stop_process "${client[i]}"
	# shellcheck disable=SC1083,SC2093 # a variable that gets a descriptor
	exec {hold[i]}>"$tmp/hold.$i"
	echo "read -P 0 0 4k" >&"${hold[i]}"
	wait_for 10 grep -q "read 4096/4096" "$tmp/held.$i" ||
		fail "client $i was not served"
done
! nbdinfo --size "$nbd_uri" 2>/dev/null || fail "a third client was served"
stop_process "${client[1]}"
wait_for 10 nbdinfo --size "$nbd_uri" || fail "nobody else is served any more"
stop_process "${client[2]}"
# shellcheck disable=SC1083,SC2093 # likewise
exec {hold[1]}>&- {hold[2]}>&-
end_server "$nbd_pid"

# Hosted: found without being told, kept when told, of one name only once.
where=hosted
start_export k --size 1M --keep
qemu-io -f raw -c "write -P 9 4k 8k" "$nbd_uri" >/dev/null
keeper=$nbd_pid
! tmem-nbd --foreground --size 1M --name k --socket "$socket" \
	--tmemd "$tmemd_socket" 2>"$tmp/refused" || fail "a name was taken twice"
grep -q 'k' "$tmp/refused"
[[ $(stat_of '.exports | length') == 1 ]]
end_server "$keeper"
[[ $(stat_of '.exports | length') == 0 ]] || fail "the export is still served"
start_export k --keep
[[ $(nbdinfo --size "$nbd_uri") == 1048576 ]] || fail "it has another size"
qemu-io -f raw -c "read -P 9 4k 8k" "$nbd_uri" >"$tmp/out"
! grep -i fail "$tmp/out" || fail "kept pages are not there"
end_server "$nbd_pid"
# It can grow, with all it holds, and stays so.
start_export k --keep --size 3M
for again in no yes; do
	[[ $(nbdinfo --size "$nbd_uri") == 3145728 ]] ||
		fail "it did not grow (started again: $again)"
	qemu-io -f raw -c "read -P 9 4k 8k" -c "read -P 0 1M 2M" "$nbd_uri" \
		>"$tmp/out"
	! grep -i fail "$tmp/out" || fail "a device that grew reads as another"
	[[ $again == yes ]] || {
		end_server "$nbd_pid"
		start_export k --keep
	}
done
end_server "$nbd_pid"
! tmem-nbd --foreground --keep --size 1M --name k --socket "$socket" \
	--tmemd "$tmemd_socket" 2>"$tmp/refused" || fail "a device shrank"
grep -q "can only grow" "$tmp/refused"
start_export k --size 3M
end_server "$nbd_pid"
start_export k --size 2M --codec zstd
[[ $(stat_of '.pools[] | select(.name == "nbd") | .compress') == zstd ]] ||
	fail "its pages are not compressed as told"
qemu-io -f raw -c "read -P 0 0 2M" "$nbd_uri" >"$tmp/out"
! grep -i fail "$tmp/out" || fail "pages are there that were not kept"
end_server "$nbd_pid"

# A keeper's memory is not swapped out, to its own device at worst: it is locked
# where tmemd's may be.
locked() {
	(($(awk '$1 == "VmLck:" { print $2 }' "/proc/$1/status") > 0))
}
start_export k --size 1M
! locked "$tmemd_pid" || locked "$nbd_pid" ||
	fail "the keeper's memory is not locked"
end_server "$nbd_pid"

# A limit on the size of files costs requests, and not the server.
start_export k --size 32M --overflow "$tmp/limited"
prlimit --pid "$tmemd_pid" --fsize=$((1 << 20))
head -c 32M /dev/urandom >"$tmp/data"
! nbdcopy "$tmp/data" "$nbd_uri" 2>/dev/null ||
	fail "slots behind the limit were written"
alive "$tmemd_pid" || fail "the limit killed tmemd"
(($(nbd_stat k overflow_errors) > 0)) || fail "nothing overflowed"
qemu-io -f raw -c "read 0 4k" "$nbd_uri" >/dev/null
end_server "$nbd_pid"
