#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Exports that tmemd hosts: their pages live as long as their keepers, through
# restarts of tmemd, and longer only when told so.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
requires jq --version
requires nbdcopy --version
arena_mount

start() {
	start_tmemd --config /dev/null --arena "$arena_dir" --budget 64M \
		--grace "$1"
}
start_disk() {
	start_nbd disk --tmemd "$tmemd_socket" --size 16M "$@"
}
exports_are() {
	[[ $(stat_of '[.exports[].name] | join(" ")') == "$1" ]]
}
clients_are() {
	[[ $(stat_of '[.clients[].name] | sort | join(" ")') == "$1" ]]
}
holds_nothing() {
	(($(stat_of .host.persistent_pages) == 0))
}
holds_data() {
	nbdcopy "$nbd_uri" "$tmp/copy" && cmp "$tmp/data" "$tmp/copy"
}

# Half of it does not compress.
{ head -c 8M /dev/urandom && head -c 8M <(yes tmem); } >"$tmp/data"

start 60
start_disk
wait_for 30 exports_are disk || fail "the export is not listed"
[[ $(stat_of '.exports[0].keeper') == "$nbd_pid" ]] || fail "wrong keeper"
nbdcopy "$tmp/data" "$nbd_uri"
(($(stat_of .host.persistent_pages) >= 4096)) ||
	fail "the store does not hold the device's pages"
first_pid=$nbd_pid
refused 1 "is being served" tmem-nbd --foreground --name disk --size 16M \
	--tmemd "$tmemd_socket" --socket "$tmp/second.nbd"
exports_are disk || fail "a second export of the name disturbed the first"

# An administrator's settings reach it, and freezing it refuses its pages.
admin set --weight=77 disk
[[ $(client_of disk .weight) == 77 ]] || fail "the weight was not set"

# tmemd goes, killed or ended, and comes back: so does the keeper, with all
# pages there.
for signal in KILL TERM; do
	kill -$signal "$tmemd_pid"
	wait_for 30 gone "$tmemd_pid" || fail "tmemd did not end on SIG$signal"
	start 60
	wait_for 30 exports_are disk ||
		fail "the keeper did not come back after SIG$signal"
	holds_data || fail "pages were lost with SIG$signal"
done
[[ $nbd_pid == "$first_pid" ]] || fail "the keeper was another"

# Also to a store that takes no page: its record is there already.
admin freeze tmemd
kill -KILL "$tmemd_pid"
wait_for 30 gone "$tmemd_pid"
start 60
wait_for 30 exports_are disk ||
	fail "the keeper did not come back to a store that takes no page"
holds_data || fail "pages were lost in a store that takes no page"
admin thaw tmemd

# The keeper goes: so do the pages.
kill -KILL "$nbd_pid"
wait_for 30 exports_are "" || fail "the export outlived its keeper"
wait_for 30 clients_are tmemd || fail "the export's pages outlived its keeper"
wait_for 30 holds_nothing ||
	fail "$(stat_of .host.persistent_pages) persistent pages are left"

# A keeper in the background, in another directory than it was started in.
(
	cd "$tmp"
	tmem-nbd --name far --size 16M --socket far.nbd --pidfile far.pid \
		--tmemd "$(basename "$tmemd_socket")"
)
far_pid=$(<"$tmp/far.pid")
cleanup_fn stop_process "$far_pid"
wait_for 30 exports_are far
kill -KILL "$tmemd_pid"
wait_for 30 gone "$tmemd_pid"
start 60
wait_for 30 exports_are far ||
	fail "the keeper does not find the socket that it was given by a relative path"
stop_process "$far_pid"
wait_for 30 exports_are ""

# Unless they are to be kept.
start_disk --keep
nbdcopy "$tmp/data" "$nbd_uri"
kill -KILL "$nbd_pid"
wait_for 30 exports_are "" || fail "the export outlived its keeper"
kill -KILL "$tmemd_pid"
wait_for 30 gone "$tmemd_pid"
start 0
wait_for 30 clients_are "disk tmemd" ||
	fail "the kept pages are gone"
start_disk --keep
holds_data || fail "the kept pages are wrong"

# A keeper that does not come back in time loses them.
end_server "$nbd_pid"
admin flush --force disk
start_disk
nbdcopy "$tmp/data" "$nbd_uri"
kill -KILL "$tmemd_pid" "$nbd_pid"
wait_for 30 gone "$tmemd_pid"
start 0
wait_for 30 clients_are tmemd || fail "pages outlived an absent keeper"

# Nothing can be hosted while the store takes no page, and that is said.
admin freeze --all
refused 1 "thaw" tmem-nbd --foreground --name disk --size 16M \
	--tmemd "$tmemd_socket" --socket "$tmp/second.nbd"
admin thaw --all
start_disk
end_server "$nbd_pid"
end_server "$tmemd_pid"
