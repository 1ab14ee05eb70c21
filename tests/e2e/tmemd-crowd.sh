#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Users who take all the sessions and pools they can get leave some for each
# other, and for root.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
requires_root
requires python3 --version
requires jq --version

gid=$(id -g nobody)
chmod 755 "$tmp"
start_tmemd --config /dev/null --arena none --budget 64M \
	--group "$(getent group "$gid" | cut -d: -f1)"

# A user takes what is left of something, and holds it.
#   take UID SESSIONS POOLS-A-SESSION FLAGS
# The variable taken has how many pools that was.
take() {
	local out=$tmp/take.$1 in
	mkfifo "$out.in"
	python3 - "$tmemd_socket" "$gid" "$@" 3<"$out.in" >"$out" 2>"$out.log" \
		<<-'EOF' &
		import json, os, socket, sys
		path = sys.argv[1]
		gid, uid, sessions, pools, flags = map(int, sys.argv[2:])
		os.setgroups([])
		os.setgid(gid)
		os.setuid(uid)
		held = []
		taken = 0
		for i in range(sessions):
		    sock = socket.socket(socket.AF_UNIX)
		    sock.connect(path)
		    lines = sock.makefile()
		    def ask(op, **request):
		        sock.sendall(json.dumps({"tmem": 1, "op": op, **request})
		                     .encode() + b"\n")
		        return json.loads(lines.readline())["ok"]
		    if not ask("attach", name="client%d" % i):
		        break
		    held.append((sock, lines))
		    for j in range(pools):
		        taken += ask("pool-open", name="pool%d" % j, flags=flags)
		print(len(held), taken, flush=True)
		os.read(3, 1)
	EOF
	cleanup_fn stop_process $!
	disown $!
	exec {in}>"$out.in"
	hold=$in
	wait_for 60 test -s "$out" || fail "user $1 was not answered"
	read -r sessions taken <"$out"
}
nobody_connected() {
	[[ -z $(admin list --json | jq -r '.clients[] | select(.connected)') ]]
}

# All the sessions there are.
holds=()
for uid in {20000..20008}; do
	take "$uid" 100 0 0
	holds+=("$hold")
done
((sessions < 64)) || fail "there was no end to the sessions"
attach one
for hold in "${holds[@]}"; do
	exec {hold}>&-
done
detach one
wait_for 30 nobody_connected

# All the pools.
take 20100 64 64 0
((taken > 64)) || fail "a user has only $taken pools"
attach root
expect root 0 pool pages persistent
take 20101 64 64 0
((taken > 64)) || fail "another user has only $taken pools"
detach root
end_server "$tmemd_pid"

# More connections than tmemd has descriptors wait until others have gone, and
# it says so once, not ten times a second.
start_server tmemd_pid tmemd-few bash -c 'ulimit -n 40; exec "$@"' bash \
	tmemd --config /dev/null --arena none --budget 32M \
	--socket "$tmemd_socket"
wait_for 30 admin stats || fail "tmemd does not start with few descriptors"
python3 -c 'import signal, socket, sys
held = [socket.socket(socket.AF_UNIX) for i in range(60)]
for sock in held:
    sock.connect(sys.argv[1])
signal.pause()' "$tmemd_socket" &
cleanup_fn stop_process $!
disown $!
wait_for 30 grep -q "cannot accept" "$tmp/tmemd-few.log" ||
	fail "it is not said that descriptors have run out"
wait_for 60 admin stats || fail "tmemd did not recover from too many connections"
count=$(grep -c "cannot accept" "$tmp/tmemd-few.log")
((count < 10)) || fail "tmemd said $count times that it cannot accept"
