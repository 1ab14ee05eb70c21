#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Other users: kept out, or let in by group to what is their own; and a tmemd
# of an ordinary user's own.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
requires_root
requires jq --version
requires setpriv --version
uid=65534 gid=$(id -g nobody)
group=$(getent group "$gid" | cut -d: -f1)
as_user() {
	setpriv --reuid "$uid" --regid "$gid" --clear-groups "$@"
}
publish_programs

start_tmemd --config /dev/null --arena none --budget 64M
attach root-client
expect root-client 0 pool secret persistent
expect root-client 100 put 0 100
refused 1 "permission denied" as_user tmem-admin --socket "$tmemd_socket" stats
refused 1 "error EACCES" as_user attacher "$tmemd_socket" guest
end_server "$tmemd_pid"

# By group: he may attach, and sees and changes nothing of others.
start_tmemd --config /dev/null --arena none --budget 64M --group "$group"
expect root-client 0 reattach
expect root-client 100 put 0 100
[[ $(stat -c %a:%G "$tmemd_socket") == "660:$group" ]] || fail "wrong mode"
attach guest as_user
expect guest 0 pool secret persistent
expect guest 0 get 0 100
expect guest 10 put 0 10
his() {
	as_user tmem-admin --socket "$tmemd_socket" "$@"
}
his stats --json |
	jq -e '.host == null and [.clients[].name] == ["guest"] and
		[.pools[].client] == ["guest"]' >/dev/null ||
	fail "a user sees what is not his: $(his stats --json)"
his stats | grep -q guest || fail "a user does not see his own"
while read -ra command; do
	refused 1 "for the administrator" his "${command[@]}"
done <<-EOF
	set --weight=1 guest
	set --budget=32M
	freeze guest
	thaw --all
	flush guest
	reclaim 1M
	freeable
	shared-auth guest 00112233-4455-6677-8899-aabbccddeeff
EOF
expect root-client 100 get 0 100

# His exports take no more than their part of tmemd's threads.
mkdir -m 700 "$tmp/his"
chown "$uid:$gid" "$tmp/his"
refused 1 "at most 64 connections" as_user tmem-nbd --foreground --name many \
	--size 16M --tmemd "$tmemd_socket" --socket "$tmp/his/many.nbd" \
	--max-connections 65

# Clients of one name are told apart by user.
attach both
attach both-guest as_user
expect both-guest 0 pool x
as_user attacher "$tmemd_socket" both </dev/null >"$tmp/both"
[[ $(<"$tmp/both") == 0 ]] || fail "a name was taken by another user's client"
end_server "$tmemd_pid"

# A user's own tmemd, which root may administer too.
mkdir -m 700 "$tmp/run"
chown "$uid:$gid" "$tmp/run"
tmemd_socket=$tmp/run/tmem/tmemd.sock
start_server tmemd_pid user-tmemd \
	setpriv --reuid "$uid" --regid "$gid" --clear-groups \
	env XDG_RUNTIME_DIR="$tmp/run" tmemd --config /dev/null --budget 32M
own() {
	as_user env XDG_RUNTIME_DIR="$tmp/run" tmem-admin "$@"
}
wait_for 30 own stats || fail "a user's own tmemd did not come up"
own set --budget=16M
[[ $(stat_of .host.budget) == $((16 << 20)) ]] || fail "the budget was not set"
attach own as_user
expect own 0 pool x
expect own 10 put 0 10
# His tmem-nbd finds it too.
start_server nbd_pid nbd-his setpriv --reuid "$uid" --regid "$gid" \
	--clear-groups env XDG_RUNTIME_DIR="$tmp/run" \
	tmem-nbd --foreground --name his --size 1M
serves_his() {
	[[ $(stat_of '.exports[].name') == his ]]
}
wait_for 30 serves_his || fail "his own tmemd does not serve his export"
end_server "$nbd_pid"
end_server "$tmemd_pid"
refused 2 "XDG_RUNTIME_DIR" as_user env -u XDG_RUNTIME_DIR tmemd --config /dev/null

# One who may have no more processes is told so, at the start and later. A user
# of no other processes: those count. Looking for leaks takes another one.
lonely() {
	env ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0" \
		setpriv --reuid 65432 --regid "$gid" --clear-groups "$@"
}
chmod 777 "$tmp"
refused 1 "more processes" lonely prlimit --nproc=1 tmemd --config /dev/null \
	--arena none --socket "$tmp/lonely.sock"
tmemd_socket=$tmp/lonely.sock
start_server tmemd_pid lonely-tmemd setpriv --reuid 65432 --regid "$gid" \
	--clear-groups tmemd --config /dev/null --arena none --budget 32M \
	--socket "$tmemd_socket"
wait_for 30 admin stats || fail "the lonely user's tmemd did not come up"
lonely prlimit --pid "$tmemd_pid" --nproc=1:
refused 1 "more processes" admin stats
lonely prlimit --pid "$tmemd_pid" --nproc=1000:
admin stats >/dev/null
end_server "$tmemd_pid"
