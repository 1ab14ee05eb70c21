#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tmemd is killed, or ended, and started again on its arena: persistent pages
# that had been acknowledged are there, ephemeral ones are not, and settings
# and authorisations are as they were.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
requires jq --version
arena_mount

start() {
	start_tmemd --config /dev/null --arena "$arena_dir" --budget 64M
}
uuid=00112233-4455-6677-8899-aabbccddeeff

start
[[ -f $arena_dir/arena ]] || fail "the arena's file is not in its directory"
refused 1 "another process has arena" tmemd --config /dev/null \
	--socket "$tmp/other.sock" --arena "$arena_dir"
attach swap
expect swap 0 pool pages persistent
expect swap 2000 put 0 2000
attach cache
expect cache 0 pool pages
expect cache 500 put 0 500
admin set --weight=321 swap
admin shared-auth shared-client $uuid

for signal in KILL TERM KILL; do
	kill -$signal "$tmemd_pid"
	wait_for 30 gone "$tmemd_pid" || fail "tmemd did not end on SIG$signal"
	expect swap "error ENOTCONN" get 0 1
	start
	grep -q 'arena reopened' "$tmp/tmemd.log" ||
		fail "the arena was not reopened"
	expect swap 0 reattach
	expect swap 2000 get 0 2000
	expect cache 0 reattach
	expect cache 0 get 0 500
	expect cache 500 put 0 500
	[[ $(client_of swap .weight) == 321 ]] || fail "the weight was forgotten"
	expect swap 500 flush 0 500
	expect swap 500 put 0 500
done
attach shared-client
expect shared-client 0 pool shared $uuid

# An ended one leaves no memory behind for ephemeral pages.
end_server "$tmemd_pid"
start
(($(stat_of .host.ephemeral_pages) == 0)) || fail "ephemeral pages outlived tmemd"

# A budget that the pages do not fit into: they are there all the same, and puts
# are refused until it is raised.
expect swap 0 reattach
expect swap 2000 get 0 2000
ask swap put 2000 8000
more=$answer
((more > 4000)) || fail "only $more of 8000 puts were stored"
end_server "$tmemd_pid"
start_tmemd --config /dev/null --arena "$arena_dir" --budget 4M
expect swap 0 reattach
expect swap 2000 get 0 2000
expect swap "$more" get 2000 8000
expect swap 0 put 20000 10
admin set --budget=64M
expect swap 10 put 20000 10

# A file that is no arena, and one that others could read, are left alone.
head -c 8192 /dev/urandom >"$arena_dir/noise"
chmod 600 "$arena_dir/noise"
before=$(sha256sum "$arena_dir/noise")
refused 1 "was not made by this version" tmemd --config /dev/null \
	--socket "$tmp/other.sock" --arena "$arena_dir/noise"
[[ $(sha256sum "$arena_dir/noise") == "$before" ]] ||
	fail "a file that is no arena was changed"
chmod 644 "$arena_dir/noise"
refused 1 "by other users" tmemd --config /dev/null \
	--socket "$tmp/other.sock" --arena "$arena_dir/noise"
