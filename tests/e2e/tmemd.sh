#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemd starts, answers, reads its configuration again, and ends; what is wrong
# with how it is started is said, with the remedy, and harms nobody.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
requires jq --version

conf=$tmp/tmemd.conf
budget_is() {
	[[ $(stat_of .host.budget) == "$1" ]]
}

# What cannot work is refused before anything is touched.
refused 2 "Try 'tmemd --help'" tmemd --no-such-option
refused 2 "unexpected argument" tmemd something
echo 'budget = much' >"$conf"
refused 2 "$conf:1: " tmemd --config "$conf" --check-config
refused 2 "$conf:1: " tmemd --config "$conf" --socket "$tmp/none.sock"
refused 2 "such as 2G" tmemd --config "$conf" --check-config
refused 1 "give another with --config" tmemd --config "$tmp/no-such-file"
refused 2 "--budget" tmemd --config /dev/null --budget 1k
refused 1 "there is no group" tmemd --config /dev/null --arena none \
	--socket "$tmp/none.sock" --group no-such-group
[[ ! -e $tmp/none.sock ]] || fail "a tmemd that did not start left a socket"
touch "$tmp/file"
refused 1 "is no socket" tmemd --config /dev/null --arena none \
	--socket "$tmp/file"
python3 -c 'import signal, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
signal.pause()' "$tmp/datagrams" &
cleanup_fn stop_process $!
disown $!
wait_for 30 test -S "$tmp/datagrams"
refused 1 "another program" tmemd --config /dev/null --arena none \
	--socket "$tmp/datagrams"
[[ -S $tmp/datagrams ]] || fail "another program's socket was removed"
(
	ulimit -f 1024
	refused 1 "File too large" tmemd --config /dev/null --arena none \
		--socket "$tmp/none.sock"
)
refused 1 "directory that exists" tmemd --config /dev/null --arena none \
	--socket "$tmp/no/such/directory.sock"
[[ $(findmnt -no FSTYPE -T "$tmp") == tmpfs ]] ||
	refused 2 "not on a tmpfs" tmemd --config /dev/null \
		--socket "$tmp/none.sock" --arena "$tmp/on-disk"

# It starts with a file, and an option wins over it.
cat >"$conf" <<-EOF
	# a comment
	budget = 64M
	arena = none
	codec = zstd
EOF
tmemd --config "$conf" --check-config >/dev/null
start_tmemd --config "$conf" --budget 48M
budget_is $((48 << 20)) || fail "the option did not win over the file"
[[ $(stat -c %a "$tmemd_socket") == 600 ]] || fail "the socket's mode is wrong"
[[ $(<"$tmemd_socket.lock") == "$tmemd_pid" ]] || fail "no process id in the lock"

# A second one on the same socket is told who is there, and harms nothing.
refused 1 "process $tmemd_pid" tmemd --config /dev/null --arena none \
	--socket "$tmemd_socket"
budget_is $((48 << 20)) || fail "the first tmemd was disturbed"

# It ends, and takes its socket away.
end_server "$tmemd_pid"
[[ ! -e $tmemd_socket ]] || fail "the socket was left behind"
refused 3 "no tmemd listens on $tmemd_socket" admin stats

# A socket that a killed one left is no obstacle.
start_tmemd --config "$conf"
kill -KILL "$tmemd_pid"
wait_for 30 gone "$tmemd_pid"
[[ -S $tmemd_socket ]] || fail "the killed tmemd left no socket to test with"
refused 3 "start it" admin list
start_tmemd --config "$conf"

# The file is read again; a wrong one changes nothing.
sed -i 's/^budget.*/budget = 32M/' "$conf"
kill -HUP "$tmemd_pid"
wait_for 30 budget_is $((32 << 20)) || fail "SIGHUP did not set the budget"
echo 'budget = wrong' >"$conf"
kill -HUP "$tmemd_pid"
wait_for 30 grep -q 'going on as before' "$tmp/tmemd.log" ||
	fail "a wrong file was not reported"
budget_is $((32 << 20)) || fail "a wrong file changed the budget"
end_server "$tmemd_pid"

# In the background: the command returns once it answers.
tmemd --daemon --config /dev/null --arena none --budget 32M \
	--socket "$tmemd_socket"
tmemd_pid=$(<"$tmemd_socket.lock")
cleanup_fn stop_process "$tmemd_pid"
admin stats >/dev/null
refused 1 "process $tmemd_pid" tmemd --daemon --config /dev/null --arena none \
	--socket "$tmemd_socket"
end_server "$tmemd_pid"

# Also with no terminal, nor anything else, on its standard descriptors.
timeout 120 tmemd --daemon --config /dev/null --arena none --budget 32M \
	--socket "$tmemd_socket" <&- >&- 2>&- ||
	fail "it does not start with its standard descriptors closed"
tmemd_pid=$(<"$tmemd_socket.lock")
cleanup_fn stop_process "$tmemd_pid"
timeout 120 tmem-admin --socket "$tmemd_socket" stats >/dev/null ||
	fail "it does not answer when started with its descriptors closed"
end_server "$tmemd_pid"

# A file named from where it was started is found again from elsewhere.
echo 'budget = 32M' >"$conf"
(cd "$tmp" && tmemd --daemon --config "$(basename "$conf")" --arena none \
	--socket "$tmemd_socket")
tmemd_pid=$(<"$tmemd_socket.lock")
cleanup_fn stop_process "$tmemd_pid"
echo 'budget = 48M' >"$conf"
kill -HUP "$tmemd_pid"
wait_for 30 budget_is $((48 << 20)) ||
	fail "in the background, a relative --config is not read again"
end_server "$tmemd_pid"

# What systemd is told.
sock=$tmp/notify
python3 - "$sock" >"$tmp/notify.log" <<-'EOF' &
	import os, socket, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind(sys.argv[1])
	while True:
	    for line in s.recv(4096).decode().split("\n"):
	        print(line, flush=True)
	        if line == "STOPPING=1":
	            sys.exit()
EOF
wait_for 30 test -S "$sock"
export NOTIFY_SOCKET=$sock
start_tmemd --config /dev/null --arena none --budget 32M
kill -HUP "$tmemd_pid"
wait_for 30 grep -q '^RELOADING=1' "$tmp/notify.log" || fail "no RELOADING"
end_server "$tmemd_pid"
wait
for line in READY=1 MONOTONIC_USEC= STATUS= STOPPING=1; do
	grep -q "^$line" "$tmp/notify.log" || fail "systemd was not told $line"
done
unset NOTIFY_SOCKET
